"""``ask`` and ``chat``: print answers while they are generated, with their sources below."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from commonplace.cli.common import (
    answer_options,
    ask_options,
    filter_options,
    open_,
    query_options,
    refuse_own_file,
)
from commonplace.cli.printing import confidence, fill, linked, print_json, short
from commonplace.display import printable
from commonplace.i18n import _

if TYPE_CHECKING:
    from collections.abc import Iterator

    from commonplace.types import Answer, Block


def verbs(verb: Any) -> None:
    """Add the verbs of this group to the command."""
    verb(
        "ask",
        _ask,
        _("answer a question with sentences and pictures, each with its source"),
        'commonplace ask "Which pump needs the blue seal?"',
        _ask_options,
    )
    verb(
        "chat",
        _chat,
        _(
            "ask related questions, one per line; `/image FILE` adds a picture to the next question, `/quit` "
            "ends the chat"
        ),
        "commonplace chat",
        _chat_options,
    )


def _ask_options(ask: argparse.ArgumentParser) -> None:
    ask.add_argument("text", metavar="TEXT", nargs="*", help=_("the question; a picture alone needs none"))
    query_options(ask)
    _hits_option(ask)
    answer_options(ask)
    ask.add_argument("--html", metavar="FILE", help=_("write the answer as one self-contained HTML page"))


def _chat_options(chat: argparse.ArgumentParser) -> None:
    filter_options(chat)
    _hits_option(chat)
    answer_options(chat)


def _hits_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-k",
        type=int,
        default=argparse.SUPPRESS,
        metavar="N",
        help=_("number of hits that an answer is written from (default: 12)"),
    )


def _ask(options: argparse.Namespace) -> int:
    with open_(options) as kb:
        refuse_own_file(kb, options.html)
        parts = kb.stream(" ".join(options.text) or None, image=options.image, **ask_options(options))
        answer = _print_parts(parts, quiet=options.json)
    if options.json:
        for note in answer.notes:
            print(_("note: {note}").format(note=printable(note)), file=sys.stderr)
        print_json(answer.dict())
    if options.html is not None:
        from commonplace.atomic import atomic_write

        with atomic_write(options.html, _("the page")) as file:
            file.write(answer.html().encode("utf-8", "replace"))
        print(_("page: {html}").format(html=short(options.html)), file=sys.stderr)
    return 0


def _chat(options: argparse.Namespace) -> int:
    from commonplace.errors import CommonplaceError

    image: str | None = None
    prompt = sys.stdin.isatty()
    with open_(options) as kb:
        conversation = kb.chat(**ask_options(options))
        while True:
            if prompt:
                print("> ", end="", flush=True)
            line = sys.stdin.readline()
            text = line.strip()
            if not line or text in ("/quit", "/exit"):
                return 0
            if text.startswith("/image "):
                image = text.removeprefix("/image ").strip()
                exists = os.path.isfile(os.path.expanduser(image))
                state = (
                    _("note: {image} goes with the next question")
                    if exists
                    else _("note: {image} is no file: check the name")
                )
                print(state.format(image=printable(image)), file=sys.stderr)
                image = image if exists else None
                continue
            if text.startswith("/"):
                print(_("note: commands are /image FILE (for the next question) and /quit"), file=sys.stderr)
                continue
            if not text:
                continue
            try:
                _print_parts(conversation.stream(text, image=image))
            except CommonplaceError as problem:  # an error in one question does not end the conversation
                print(f"commonplace: {printable(str(problem))}", file=sys.stderr)
            image = None
            print()


def _print_parts(parts: Iterator[Any], *, quiet: bool = False) -> Answer:
    """Print an answer while it is generated, then its sources; return the answer."""
    from commonplace.types import Answer, Block, Note

    shown = False
    for part in parts:
        if isinstance(part, Answer):
            if not quiet:
                for note in part.notes:
                    print(_("note: {note}").format(note=printable(note)), file=sys.stderr)
                if part.searched_as:
                    print(
                        _("note: searched for: {searched_as}").format(searched_as=printable(part.searched_as)),
                        file=sys.stderr,
                    )
                print(part.reason or "" if part.abstained else "\n" + _sources(part), flush=True)
            return part
        if isinstance(part, Note) and part.restart and shown:
            print(_("(the text above is withdrawn: see the note)"), flush=True)
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
    if block.kind == "row":  # in one line each, so that the columns stay visible
        note = marks + (f" {printable(block.support_note)}" if block.support_note else "")
        return "\n".join([block.lines[0] + note, *block.lines[1:]])
    text = printable(block.shown) + marks + (f" {printable(block.support_note)}" if block.support_note else "")
    if block.kind == "image":
        return (
            _("[picture] {text}", block.question_language).format(text=text) + f"\n          {short(block.image or '')}"
        )
    return fill(text)


def _sources(answer: Answer) -> str:
    lines = []
    for citation in answer.citations:
        path = citation.hit.item.document.path
        shown = short(path) + printable(citation.place.removeprefix(path))
        lines.append(f"[{citation.number}]  {confidence(citation.hit)}  {linked(shown, citation.link)}")
    return "\n".join(lines)
