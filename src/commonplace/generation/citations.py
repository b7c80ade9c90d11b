"""A generator's draft becomes an answer: markers numbered, each followed home to its span."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

from commonplace.types import Answer, Block, Citation, Hit, Span

__all__ = ["Draft", "Shown", "Statement", "cite"]


@dataclass(frozen=True, slots=True)
class Statement:
    """A sentence that rests on hit number ``hit``; ``start`` and ``end`` bound its words in the item's text."""

    text: str
    hit: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture that belongs in the answer: the picture of hit number ``hit``."""

    hit: int


@dataclass(frozen=True, slots=True)
class Draft:
    """What a generator wrote, in reading order, or the reason why it wrote nothing."""

    question: str
    parts: tuple[Statement | Shown, ...] = ()
    reason: str | None = None


def cite(draft: Draft, hits: Sequence[Hit]) -> Answer:
    """Return the answer with citations numbered in order of appearance; a span cited twice keeps its number."""
    if draft.reason is not None:
        return Answer(draft.question, (), (), tuple(hits), abstained=True, reason=draft.reason)
    citations: dict[tuple[int, Span], Citation] = {}
    blocks = []
    for part in draft.parts:
        hit = hits[part.hit]
        span = hit.item.span
        if isinstance(part, Statement):
            if span.start is not None:
                span = replace(span, start=span.start + part.start, end=span.start + part.end)
            one = citations.setdefault((part.hit, span), Citation(len(citations) + 1, hit, part.text, span))
            blocks.append(Block("text", part.text, (one.number,)))
        else:
            one = citations.setdefault((part.hit, span), Citation(len(citations) + 1, hit, hit.item.text, span))
            blocks.append(Block("image", caption(hit), (one.number,)))
    return Answer(draft.question, tuple(blocks), tuple(citations.values()), tuple(hits))


def caption(hit: Hit) -> str:
    """Return what to write under a picture: its caption, else its file's name."""
    return " ".join((hit.item.text or "").split()) or PurePath(hit.item.document.path).name
