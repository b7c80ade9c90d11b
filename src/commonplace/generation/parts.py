"""What goes into a generator and what comes out: a request with its evidence, an answer part by part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from commonplace.errors import GeneratorError
from commonplace.space import QueryVectors
from commonplace.types import Hit, Note

__all__ = ["Generator", "Nothing", "Part", "Request", "Shown", "Statement", "generated"]


def _no_crop(picture: str) -> bytes | None:
    return None


@dataclass(frozen=True, slots=True)
class Request:
    """A question with its evidence: the ranked hits, best first.

    ``relevant_images`` are the numbers of the hits whose pictures answer by their own evidence, best first.
    ``picture`` holds the question's own pixels, (height, width, 3) uint8; ``crop`` returns the stored JPEG of a hit's
    picture by its content hash.
    """

    question: str
    vectors: QueryVectors
    hits: Sequence[Hit]
    relevant_images: Sequence[int] = ()
    picture: NDArray[np.uint8] | None = None
    crop: Callable[[str], bytes | None] = _no_crop


@dataclass(frozen=True, slots=True)
class Statement:
    """A sentence that rests on the hits numbered ``hits`` (from 0).

    ``start`` and ``end`` bound its words in the text of its only hit, where they were taken from it;
    ``invalid_citations`` counts its markers that named no evidence. ``starts_paragraph`` begins a paragraph. ``code``
    is a listing, line by line.
    """

    text: str
    hits: tuple[int, ...] = ()
    start: int | None = None
    end: int | None = None
    invalid_citations: int = 0
    starts_paragraph: bool = False
    code: bool = False


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture that belongs here: that of hit number ``hit``; ``text`` describes it, where a machine has seen it."""

    hit: int
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Nothing:
    """There is no answer, and why."""

    reason: str


Part = Statement | Shown | Note | Nothing


class Generator(Protocol):
    """Writes an answer from ranked hits."""

    @property
    def name(self) -> str:
        """What wrote the answer, for people."""

    @property
    def fallback(self) -> bool:
        """Whether the extractive answer may stand in where this generator fails."""

    def generate(self, request: Request) -> Iterator[Part]:
        """Yield the parts of the answer as they are written; closing the iterator stops the work.

        Raises GeneratorError where no answer can be had.
        """


def generated(generator: Generator, instead: Generator, request: Request) -> Iterator[Part]:
    """Yield the answer; where the generator fails and allows it, a note with the reason and what ``instead`` says."""
    try:
        yield from generator.generate(request)
    except GeneratorError as problem:
        if not generator.fallback:
            raise
        yield Note(f"{generator.name} gave no answer, so this one is {instead.name}: {problem}", restart=True)
        yield from instead.generate(request)
