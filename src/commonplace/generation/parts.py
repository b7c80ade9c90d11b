"""The input and output of a generator: a request with its evidence, and the parts of an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from commonplace.errors import GeneratorError
from commonplace.i18n import _
from commonplace.space import QueryVectors
from commonplace.text import language_of
from commonplace.types import Hit, Note

__all__ = ["Abstention", "Cell", "Generator", "Layout", "Part", "Request", "ShownImage", "Statement", "generated"]

Layout = Literal["sentence", "item", "row"]
"""How a statement stands: in a paragraph, as a list item with its bullet or number, or as a row of a table."""


def _no_crop(picture: str) -> bytes | None:
    return None


@dataclass(frozen=True, slots=True)
class Request:
    """A question with its evidence: the ranked hits, best first.

    ``relevant_images`` are the numbers (from 0) of the hits whose pictures are relevant by their own score, best
    first. ``picture`` holds the pixels of a picture that is part of the question, (height, width, 3) uint8. ``crop``
    returns the stored JPEG of a hit's picture by its content hash. ``searched_as`` is the question in full, if it is a
    follow-up. ``history`` are the earlier (question, answer) pairs of the conversation, oldest first.
    """

    question: str
    vectors: QueryVectors
    hits: Sequence[Hit]
    relevant_images: Sequence[int] = ()
    picture: NDArray[np.uint8] | None = None
    crop: Callable[[str], bytes | None] = _no_crop
    searched_as: str | None = None
    history: Sequence[tuple[str, str]] = ()

    @property
    def full_question(self) -> str:
        """The question as it makes sense without the conversation before it."""
        return self.searched_as or self.question

    @property
    def language(self) -> str | None:
        """The language of the question (BCP 47), in which reasons and notes are written; None if it does not tell."""
        return language_of(self.question)


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table: the name of its column (empty if it has none), its text, and the hits that it cites."""

    column: str
    text: str
    hits: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Statement:
    """A sentence that cites the hits numbered ``hits`` (from 0).

    A quoted sentence has one hit; ``start`` and ``end`` are its characters in the text of that hit.
    ``mark`` is that of a list's item, such as ``1.``, and stands before the text; it is not checked.
    ``invalid_citations`` counts its markers with the number of no hit. ``starts_paragraph``: whether a paragraph
    begins with it. ``code``: whether it is a listing, with its line breaks.

    ``layout`` says how it stands. ``leads``: whether it only leads to what follows, such as a heading, the line before
    a list, or the names of a table's columns; it claims nothing by itself. ``context`` holds the lines that lead to
    it. ``cells`` are those of a row.
    """

    text: str
    hits: tuple[int, ...] = ()
    start: int | None = None
    end: int | None = None
    invalid_citations: int = 0
    starts_paragraph: bool = False
    code: bool = False
    mark: str = ""
    layout: Layout = "sentence"
    leads: bool = False
    context: str = ""
    cells: tuple[Cell, ...] = ()


@dataclass(frozen=True, slots=True)
class ShownImage:
    """The picture of hit number ``hit``, to be shown here. ``text``: a description by a model that saw it, or None."""

    hit: int
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Abstention:
    """There is no answer, for this reason."""

    reason: str


Part = Statement | ShownImage | Note | Abstention


class Generator(Protocol):
    """Writes an answer from ranked hits."""

    @property
    def name(self) -> str:
        """The name of the generator, for people."""

    @property
    def fallback(self) -> bool:
        """Whether the extractive answer may replace that of this generator if it fails."""

    def generate(self, request: Request) -> Iterator[Part]:
        """Yield the parts of the answer as they are written; closing the iterator stops the generator.

        Raises GeneratorError if there is no answer.
        """


def generated(generator: Generator, replacement: Generator, request: Request) -> Iterator[Part]:
    """Yield the answer of ``generator``. If it fails and allows a fallback, yield a note and the replacement's answer.

    Raises GeneratorError if the generator fails and allows no fallback.
    """
    try:
        yield from generator.generate(request)
    except GeneratorError as problem:
        if not generator.fallback:
            raise
        note = _("{name} gave no answer, so this one is {replacement}: {problem}", request.language)
        yield Note(note.format(name=generator.name, replacement=replacement.name, problem=problem), restart=True)
        yield from replacement.generate(request)
