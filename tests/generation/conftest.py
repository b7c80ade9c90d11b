"""Fixtures for the tests of answers: passages, and questions to the untrustworthy server in another process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from commonplace.generation import ChatGenerator, GroundingChecker, Request, cite, generated, relevant_images
from commonplace.generation.extractive import ExtractiveGenerator
from commonplace.retrieval import Calibration
from commonplace.space import Space
from commonplace.types import Answer, Document, Hit, Item, Query, ScoreComponent, Span

PASSAGES = (
    "The north pump needs the blue seal and runs at 9 bar. The south pump runs at 6 bar. It must not run dry.",
    "Reuben Harrow built the mill in 1893. Harriet Lowe sold it on 4 May 1921 for 1,200 pounds.",
    "The garden has 14 apple trees, none of which was planted before 1950.",
)


def hit(
    number: int,
    text: str | None,
    *,
    title: str | None = None,
    name: str | None = None,
    picture: str | None = None,
    near: float = 0.0,
) -> Hit:
    path = name or f"/docs/{number}.md"
    document = Document(f"d{number}", f"file:///{number}", path, "image/png" if picture else "text/plain")
    span = Span() if picture else Span(start=0, end=len(text or ""))
    item = Item(f"i{number}", document, "image" if picture else "text", span, text, title, picture)
    channels = (
        (ScoreComponent("text->image", near, 1, 1.0, 0.5),)
        if picture
        else (ScoreComponent("lexical", 1.0, 1, 1.0, 0.5),)
    )
    return Hit(item, 0.9, channels, path if picture else None, confidence=0.9)


Ask = Callable[..., Answer]


@pytest.fixture(scope="session")
def calibration(space: Space) -> Calibration:
    return Calibration.from_bundle(space.bundle.spec)


@pytest.fixture
def ask(space: Space, calibration: Calibration, liar: str) -> Ask:
    """Ask a model of the untrustworthy server about passages, from the generator to the checked answer."""

    def one(
        model: str,
        hits: Sequence[Hit] | None = None,
        question: str = "Which seal does the north pump need?",
        crop: Callable[[str], bytes | None] = lambda _: None,
        **settings: Any,
    ) -> Answer:
        hits = [hit(n, text) for n, text in enumerate(PASSAGES)] if hits is None else hits
        generator = ChatGenerator(model, **{"base_url": liar, "timeout": 5.0, "fallback": False, **settings})
        vectors = space.encode_query(Query(question))
        request = Request(question, vectors, hits, relevant_images(calibration, question, hits), crop=crop)
        parts = generated(generator, ExtractiveGenerator(space, calibration), request)
        *_, answer = cite(parts, request, GroundingChecker(space, calibration, hits), by=generator.name)
        assert isinstance(answer, Answer)
        return answer

    return one
