"""Reranking: the best passages of a search are read again, more slowly, and change places among themselves."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from commonplace.errors import ModelError
from commonplace.space import Space
from commonplace.store.segment import question_words
from commonplace.types import Hit, ScoreComponent

__all__ = ["RERANK", "LateInteraction", "Reranker", "rerank"]

RERANK = "rerank:"  # what the channel of a reranker's line in the score breakdown begins with


class Reranker(Protocol):
    """Reads a question beside texts and says which fit it best."""

    @property
    def name(self) -> str:
        """What its line in the score breakdown is called."""

    @property
    def depth(self) -> int:
        """How many hits are read again."""

    @property
    def share(self) -> float:
        """Its part in the new order, in (0, 1]; the rest is the first search's."""

    def reads(self, text: str) -> bool:
        """Return whether it can make anything of a question."""

    def scores(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one score for each text, shape (n,): higher is better, comparable for this question only."""


def rerank(reranker: Reranker, question: str, hits: Sequence[Hit]) -> list[Hit]:
    """Return the hits with the passages among the first ``reranker.depth`` in a new order.

    Passages change places among themselves: a hit that is no passage (a picture, with or without a caption) keeps its
    place and its score, and so does all that lies deeper. A passage takes over score and confidence of its new place,
    so that they fall with rank as before; its score breakdown gains a line ``rerank:<name>`` with the reranker's raw
    score, the rank by that alone, weight 1, and the difference that the new place makes: the score breakdown still
    accounts for the score.

    The order is by ``share`` times the reranker's score plus the rest times what the first search's score breakdown
    sums to, both standardised over these passages; ties keep their order. Raises ModelError where a score is not a
    number.
    """
    places = [n for n, hit in enumerate(hits[: reranker.depth]) if hit.item.modality == "text" and hit.item.text]
    if len(places) < 2 or not question:
        return list(hits)
    passages = [hits[n] for n in places]
    scores = np.asarray(reranker.scores(question, [hit.item.text_view or "" for hit in passages]), dtype=np.float64)
    if scores.shape != (len(passages),) or not np.isfinite(scores).all():
        raise ModelError(
            f"the reranker {reranker.name} gave no number for each of {len(passages)} passages: choose another"
        )
    totals = [math.fsum(line.contribution for line in hit.breakdown) for hit in passages]
    blend = reranker.share * _standard(scores) + (1 - reranker.share) * _standard(np.array(totals))
    rank = np.empty(len(passages), dtype=np.int64)
    rank[np.argsort(-scores, kind="stable")] = np.arange(1, len(passages) + 1)
    ordered = list(hits)
    for n, i in enumerate(np.argsort(-blend, kind="stable").tolist()):
        place, hit = hits[places[n]], passages[i]
        line = ScoreComponent(RERANK + reranker.name, float(scores[i]), int(rank[i]), 1.0, totals[n] - totals[i])
        ordered[places[n]] = replace(
            hit, score=place.score, confidence=place.confidence, breakdown=(*hit.breakdown, line)
        )
    return ordered


def _standard(values: NDArray[np.float64]) -> NDArray[np.float64]:
    spread = float(values.std())
    return (values - values.mean()) / spread if spread > 1e-9 else np.zeros_like(values)


class LateInteraction:
    """The bundled text tower as reranker: each telling word of the question looks for its best match in the passage.

    The score is the mean over the question's tokens of the highest cosine with any token of the passage (MaxSim,
    Khattab and Zaharia 2020), in [-1, 1]; tokens of words that say nothing about the subject are left out. MiniLM was
    not trained for this: alone it ranks worse than the first search, with half the say each the two are better than
    either (benchmarks/results/rerank.md).
    """

    name = "maxsim"
    depth = 30
    share = 0.5

    def __init__(self, space: Space) -> None:
        self._space = space

    def reads(self, text: str) -> bool:
        """Return whether the text tower knows enough of the words in ``text``."""
        return self._space.reads(text)

    def scores(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the mean cosine of the question's tokens with their best matches in each text, shape (n,)."""
        tower = self._space.text
        if tower is None:
            raise ModelError(f"the model {self._space.name} reads no text: choose another reranker")
        (asked,) = tower.tokens([question], "query")
        passages = [one.vectors for one in tower.tokens(texts)]
        content_words = _content_words(question, asked.spans)
        query = _unit(asked.vectors[content_words])
        if not len(query):
            return np.zeros(len(texts), dtype=np.float32)
        best = [(query @ _unit(one).T).max(axis=1).mean() if len(one) else -1.0 for one in passages]
        return np.array(best, dtype=np.float32)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), dtype=np.float32)


_WORD = re.compile(r"\w+")


def _content_words(question: str, spans: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which tokens belong to words that the lexical search would look for; all where there are none."""
    wanted = {phrase.strip('"*').lower() for phrase in question_words(question)}
    places = [match.span() for match in _WORD.finditer(question) if match.group().lower() in wanted]
    found = np.array([any(start < end and a <= start and end <= b for a, b in places) for start, end in spans], bool)
    return found if found.any() else np.ones(len(spans), dtype=bool)
