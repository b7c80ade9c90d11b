"""The answer to a picture without words: the picture, what stands beside it, pictures like it, and what fits it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import numpy as np

from commonplace.generation.parts import Abstention, Part, Request, ShownImage, Statement
from commonplace.generation.prompt_injection import has_instructions
from commonplace.generation.relevance import PICTURES
from commonplace.generation.sentences import Sentence, quotable
from commonplace.i18n import N_, _
from commonplace.space import Space
from commonplace.types import TEXT

__all__ = ["PictureGenerator"]

MIN_CONFIDENCE = 0.5  # confidence from which a passage fits a picture by its own evidence
NOTHING_LIKE = N_(
    "Nothing in this collection is like this picture: add words to the question, or add documents "
    "(`commonplace status`)."
)


class PictureGenerator:
    """Shows the given picture where it is in the collection, quotes what stands beside it, and shows its likes.

    ``copies`` are the numbers of the hits that are the given picture. ``beside`` are the hits that stand beside it,
    each with the characters (start, end) of the picture in its text, or None.
    """

    name = "extractive"
    fallback = False

    def __init__(self, space: Space, copies: Collection[int], beside: Mapping[int, tuple[int, int] | None]) -> None:
        self._space = space
        self._copies = copies
        self._beside = beside

    def generate(self, request: Request) -> Iterator[Part]:
        """Yield pictures and sentences from the ranked hits, or an abstention with the reason."""
        likes = [n for n in request.relevant_images if n not in self._copies]
        pictures = [*sorted(self._copies)[:1], *likes][:PICTURES]
        first, others = (pictures[:1], pictures[1:]) if self._copies else ([], pictures)
        parts: list[Part] = [ShownImage(n) for n in first]
        for n, picture in self._beside.items():
            parts += _statements(_around(_plain(request, n), picture))
        for n, hit in enumerate(request.hits):
            if hit.item.modality == TEXT and n not in self._beside and hit.confidence >= MIN_CONFIDENCE:
                parts += _statements(self._nearest(_plain(request, n), request))
        parts += [ShownImage(n) for n in others]
        yield from parts or [Abstention(_(NOTHING_LIKE, request.language))]

    def _nearest(self, sentences: list[Sentence], request: Request) -> list[Sentence]:
        """Return the sentence that is nearest to the picture; none if no encoder compares them."""
        rows = self._space.embed([sentence.text for sentence in sentences], "image") if sentences else None
        if rows is None or request.vectors.image is None:
            return sentences[:1]
        return [sentences[int(np.argmax(rows @ request.vectors.image))]]


def _plain(request: Request, n: int) -> list[Sentence]:
    """Return the sentences of a hit that may be quoted."""
    return [sentence for sentence in quotable(n, request.hits[n].item) if not has_instructions(sentence.text)]


def _around(sentences: list[Sentence], picture: tuple[int, int] | None) -> list[Sentence]:
    """Return the sentence before a picture and the one after it; the first one if the picture's place is unknown."""
    if picture is None:
        return sentences[:1]
    start, end = picture
    before = [sentence for sentence in sentences if sentence.end <= start]
    after = [sentence for sentence in sentences if sentence.start >= end]
    return before[-1:] + after[:1]


def _statements(sentences: list[Sentence]) -> Iterator[Statement]:
    for i, sentence in enumerate(sentences):
        yield Statement(sentence.text, (sentence.hit,), sentence.start, sentence.end, starts_paragraph=not i)
