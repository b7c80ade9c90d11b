"""Where a draft becomes an answer: each sentence is checked against what it cites, each marker followed home."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePath
from typing import Literal

from commonplace.generation.grounding import GroundingChecker, Verdict
from commonplace.generation.parts import Nothing, Part, Request, Shown, Statement
from commonplace.types import Answer, Block, Citation, Hit, Note, Span, captions

__all__ = ["cite", "description"]

WROTE_NOTHING = "The language model wrote nothing that could be shown: ask again, or in other words."


class _Book:
    """The citations of one answer, numbered in order of appearance."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._made: dict[int, Citation] = {}
        self._bounds: dict[int, tuple[int, int]] = {}

    def number(self, hit: int, bounds: tuple[int, int] | None = None) -> int:
        """Return the number of a hit, one however often it is cited; its quote grows over all the words (``bounds``)
        that are cited of it."""
        found = self._request.hits[hit]
        item = found.item
        if hit not in self._made:
            crop = self._request.crop(item.picture) if item.picture is not None else None
            self._made[hit] = Citation(len(self._made) + 1, found, item.text, item.span, crop)
        if bounds is not None and item.text is not None:
            known = self._bounds.get(hit, bounds)
            start, end = self._bounds[hit] = min(bounds[0], known[0]), max(bounds[1], known[1])
            self._made[hit] = replace(self._made[hit], quote=item.text[start:end], span=_part(item.span, start, end))
        return self._made[hit].number

    @property
    def citations(self) -> tuple[Citation, ...]:
        return tuple(self._made.values())

    @property
    def confidence(self) -> float:
        return max((one.hit.confidence for one in self._made.values()), default=0.0)


def cite(
    parts: Iterator[Part], request: Request, judge: GroundingChecker, *, by: str = "extractive"
) -> Iterator[Block | Note | Answer]:
    """Yield each checked block of an answer as it is written, notes in between, and last the whole answer.

    A sentence is read against its evidence before it is shown. One without a marker is traced to the evidence that
    bears it out, if any does; a picture is shown once. A note with ``restart`` takes back the blocks before it.
    Citations are numbered in order of appearance.
    """
    book = _Book(request)
    blocks: list[Block] = []
    notes: list[str] = []
    shown: set[str | None] = set()
    invalid_citations = 0
    for part in parts:
        if isinstance(part, Nothing):
            if not blocks:
                yield Answer(
                    request.question,
                    (),
                    (),
                    tuple(request.hits),
                    True,
                    part.reason,
                    tuple(notes),
                    invalid_citations=invalid_citations,
                    generator=by,
                )
                return
            notes.append(part.reason)
        elif isinstance(part, Note):
            notes.append(part.text)
            if part.restart:
                book, blocks, invalid_citations, by = _Book(request), [], 0, "extractive"
                shown.clear()
            yield part
        elif isinstance(part, Shown):
            picture = request.hits[part.hit].item.picture
            if picture not in shown:
                shown.add(picture)
                hit = request.hits[part.hit]
                text, origin = description(hit, part.text)
                blocks.append(Block("image", text, (book.number(part.hit),), origin=origin, image=hit.image))
                yield blocks[-1]
        else:
            invalid_citations += part.invalid_citations
            blocks.append(_checked(part, judge, book))
            yield blocks[-1]
    if not blocks:
        yield Answer(
            request.question,
            (),
            (),
            tuple(request.hits),
            True,
            WROTE_NOTHING,
            tuple(notes),
            invalid_citations=invalid_citations,
            generator=by,
        )
        return
    said = [{"supported": 1.0, "weak": 0.5}.get(one.support or "", 0.0) for one in blocks if one.kind == "text"]
    confidence = book.confidence * (sum(said) / len(said) if said else 1.0)
    yield Answer(
        request.question,
        tuple(blocks),
        book.citations,
        tuple(request.hits),
        notes=tuple(notes),
        confidence=confidence,
        invalid_citations=invalid_citations,
        generator=by,
    )


def _checked(part: Statement, judge: GroundingChecker, book: _Book) -> Block:
    """Return a sentence with its verdict and the numbers of what it cites."""
    cited = tuple(dict.fromkeys(part.hits))
    taken = (part.start, part.end) if part.start is not None and part.end is not None else None
    if part.code:
        level, reason = judge.copied(cited)
        return Block("code", part.text, tuple(book.number(hit, taken) for hit in cited), level, reason)
    verdict: Verdict | None = None
    if not cited and (traced := judge.trace(part.text)) is not None:
        cited, verdict = (traced[0],), traced[1]
    verdict = verdict or judge.judge(part.text, cited)
    numbers = tuple(book.number(hit, taken or verdict.spans.get(hit)) for hit in cited)
    return Block("text", part.text, numbers, verdict.level, verdict.reason, starts_paragraph=part.starts_paragraph)


def _part(span: Span, start: int, end: int) -> Span:
    return span if span.start is None else replace(span, start=span.start + start, end=span.start + end)


def description(hit: Hit, machine: str | None = None) -> tuple[str, Literal["caption", "words", "machine", "name"]]:
    """Return what to write under a picture and where that comes from.

    Its caption; else the words that were read in it; else what a machine that saw it wrote; else the name of its file.
    """
    caption, words = captions(hit.item)
    if caption:
        return caption, "caption"
    if words:
        return words, "words"
    if machine := " ".join((machine or "").split()):
        return machine, "machine"
    return PurePath(hit.item.document.path).name, "name"
