"""``ask`` and ``chat``: answers while they are written, their sources below."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from commonplace.atomic import atomic_write
from commonplace.cli.common import answer_options, filter_options, filters_of, open_, question_options, spare
from commonplace.cli.printing import fill, print_json, short
from commonplace.types import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from commonplace.types import Answer, Block


def verbs(verb: Any) -> None:
    """Add the verbs of this group to the command."""
    ask = verb(
        "ask",
        _ask,
        "answer a question with sentences and pictures, each with its source",
        'commonplace ask "Which pump needs the blue seal?"',
    )
    ask.add_argument("text", metavar="TEXT", nargs="+")
    question_options(ask)
    answer_options(ask)
    ask.add_argument("--html", metavar="FILE", help="write the answer as one HTML page that needs nothing else")

    talk = verb(
        "chat",
        _chat,
        "ask questions that build on each other; one a line, `/image FILE` before it for a picture, `/quit` to end",
        "commonplace chat",
    )
    filter_options(talk)
    answer_options(talk)


def _ask(options: argparse.Namespace) -> int:
    with open_(options) as kb:
        spare(kb, options.html)
        parts = kb.stream(
            " ".join(options.text),
            image=options.image,
            **filters_of(options),
            negative=options.negative,
            negative_image=options.not_image,
            min_confidence=options.min_confidence,
            rerank=options.rerank,
            nli=options.nli,
        )
        answer = _tell(parts, quiet=options.json)
    if options.json:
        for note in answer.notes:
            print(f"note: {printable(note)}", file=sys.stderr)
        print_json(answer.dict())
    if options.html is not None:
        with atomic_write(options.html, "the page") as file:
            file.write(answer.html().encode("utf-8", "replace"))
        print(f"page: {short(options.html)}", file=sys.stderr)
    return 0


def _chat(options: argparse.Namespace) -> int:
    from commonplace.errors import CommonplaceError

    image: str | None = None
    prompt = sys.stdin.isatty()
    with open_(options) as kb:
        talk = kb.chat(nli=options.nli, **filters_of(options))
        while True:
            if prompt:
                print("> ", end="", flush=True)
            line = sys.stdin.readline()
            text = line.strip()
            if not line or text in ("/quit", "/exit"):
                return 0
            if text.startswith("/image "):
                image = text.removeprefix("/image ").strip()
                found = os.path.isfile(os.path.expanduser(image))
                said = "goes with the next question" if found else "is no file: check the name"
                print(f"note: {printable(image)} {said}", file=sys.stderr)
                image = image if found else None
                continue
            if text.startswith("/"):
                print("note: there are /image FILE (for the next question) and /quit", file=sys.stderr)
                continue
            if not text:
                continue
            try:
                _tell(talk.stream(text, image=image))
            except CommonplaceError as problem:  # one bad question ends no conversation
                print(f"commonplace: {printable(str(problem))}", file=sys.stderr)
            image = None
            print()


def _tell(parts: Iterator[Any], *, quiet: bool = False) -> Answer:
    """Print an answer while it is written, its sources below; return it."""
    from commonplace.types import Answer, Block, Note

    shown = False
    for part in parts:
        if isinstance(part, Answer):
            if not quiet:
                for note in part.notes:
                    print(f"note: {printable(note)}", file=sys.stderr)
                if part.searched:
                    print(f"note: searched for: {printable(part.searched)}", file=sys.stderr)
                print(part.reason or "" if part.abstained else "\n" + _sources(part), flush=True)
            return part
        if isinstance(part, Note) and part.restart and shown:
            print("(what stands above is taken back: see the note)", flush=True)
        elif isinstance(part, Block) and not quiet:
            shown = True
            print(_block(part), flush=True)
    raise AssertionError("a stream ends with its answer")


def render(answer: Answer) -> str:
    """Return an answer as plain text for a terminal: sentences and pictures with [n], sources below."""
    if answer.abstained:
        return answer.reason or ""
    return "\n".join([*map(_block, answer.blocks), "", _sources(answer)])


def _block(block: Block) -> str:
    marks = "".join(f" [{number}]" for number in block.citations)
    if block.kind == "code":
        support_note = f" {printable(block.support_note)}" if block.support_note else ""
        return "\n".join([*(f"    {line}".rstrip() for line in block.lines), marks.strip() + support_note])
    text = printable(block.shown) + marks + (f" {printable(block.support_note)}" if block.support_note else "")
    if block.kind == "image":
        return f"[picture] {text}\n          {short(block.image or '')}"
    return fill(text)


def _sources(answer: Answer) -> str:
    return "\n".join(
        f"[{one.number}] {one.place.replace(one.hit.item.document.path, short(one.hit.item.document.path), 1)}"
        for one in answer.citations
    )
