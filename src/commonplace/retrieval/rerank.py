"""Reranking: a slower model scores the best passages of a search again, and they change places among themselves."""

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
from commonplace.text import query_words
from commonplace.types import Hit, ScoreComponent

__all__ = ["RERANK", "LateInteraction", "Reranker", "rerank"]

RERANK = "rerank:"  # prefix of a reranker's channel in the score breakdown


class Reranker(Protocol):
    """Scores texts for a query by reading each beside it."""

    @property
    def name(self) -> str:
        """The name of its line in the score breakdown."""

    @property
    def depth(self) -> int:
        """How many hits are scored again."""

    @property
    def share(self) -> float:
        """Its weight in the new order, in (0, 1]; the first search has the rest."""

    def reads(self, text: str) -> bool:
        """Return whether the model knows enough of a query's words."""

    def scores(self, query: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one score for each text, shape (n,): higher is better, comparable for this query only."""


def rerank(reranker: Reranker, query: str, hits: Sequence[Hit]) -> list[Hit]:
    """Return the hits with the passages among the first ``reranker.depth`` in a new order.

    Passages change places among themselves. A hit that is no passage (a picture, with or without a caption) keeps its
    place and its score, and so does every hit below that depth. A passage takes over score and confidence of its new
    place, so that they fall with rank as before. Its score breakdown gains a line ``rerank:<name>`` with the
    reranker's raw score, the rank by that alone, weight 1, and the difference that the new place makes: the breakdown
    still accounts for the score.

    The order is by ``share`` times the reranker's score plus the rest times the sum of the first search's breakdown,
    both standardised over these passages; ties keep their order. Raises ModelError where a score is not a number.
    """
    places = [n for n, hit in enumerate(hits[: reranker.depth]) if hit.item.modality == "text" and hit.item.text]
    if len(places) < 2 or not query:
        return list(hits)
    passages = [hits[n] for n in places]
    scores = np.asarray(reranker.scores(query, [hit.item.text_view or "" for hit in passages]), dtype=np.float64)
    if scores.shape != (len(passages),) or not np.isfinite(scores).all():
        raise ModelError(
            f"the reranker {reranker.name} gave no number for each of {len(passages)} passages: choose another"
        )
    totals = [math.fsum(component.contribution for component in hit.breakdown) for hit in passages]
    blend = reranker.share * _standard(scores) + (1 - reranker.share) * _standard(np.array(totals))
    rank = np.empty(len(passages), dtype=np.int64)
    rank[np.argsort(-scores, kind="stable")] = np.arange(1, len(passages) + 1)
    ordered = list(hits)
    for n, i in enumerate(np.argsort(-blend, kind="stable").tolist()):
        place, hit = hits[places[n]], passages[i]
        component = ScoreComponent(RERANK + reranker.name, float(scores[i]), int(rank[i]), 1.0, totals[n] - totals[i])
        ordered[places[n]] = replace(
            hit, score=place.score, confidence=place.confidence, breakdown=(*hit.breakdown, component)
        )
    return ordered


def _standard(values: NDArray[np.float64]) -> NDArray[np.float64]:
    spread = float(values.std())
    return (values - values.mean()) / spread if spread > 1e-9 else np.zeros_like(values)


class LateInteraction:
    """The bundled text encoder as reranker: each content word of the query is matched with the passage's tokens.

    The score is the mean over the query's tokens of the highest cosine with any token of the passage (MaxSim, Khattab
    and Zaharia 2020), in [-1, 1]; stop words are left out. MiniLM was not trained for this: alone it ranks worse than
    the first search, but with half the weight each the two are better than either (benchmarks/results/rerank.md).
    """

    name = "maxsim"
    depth = 30
    share = 0.5

    def __init__(self, space: Space) -> None:
        self._space = space

    def reads(self, text: str) -> bool:
        """Return whether the text encoder knows enough of the words in ``text``."""
        return self._space.reads(text)

    def scores(self, query: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the mean cosine of the query's tokens with their best matches in each text, shape (n,)."""
        tower = self._space.text
        if tower is None:
            raise ModelError(f"the model {self._space.name} reads no text: choose another reranker")
        (encoded,) = tower.tokens([query], "query")
        passages = [passage.vectors for passage in tower.tokens(texts)]
        tokens = _unit(encoded.vectors[_content_tokens(query, encoded.spans)])
        if not len(tokens):
            return np.zeros(len(texts), dtype=np.float32)
        best = [(tokens @ _unit(rows).T).max(axis=1).mean() if len(rows) else -1.0 for rows in passages]
        return np.array(best, dtype=np.float32)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), dtype=np.float32)


_WORD = re.compile(r"\w+")


def _content_tokens(query: str, spans: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which tokens (n,) with these ``spans`` (n, 2) belong to words that a lexical search would look for; all
    where there are none."""
    wanted = {phrase.strip('"*').lower() for phrase in query_words(query)}
    words = [match.span() for match in _WORD.finditer(query) if match.group().lower() in wanted]
    inside = np.array([any(start < end and a <= start and end <= b for a, b in words) for start, end in spans], bool)
    return inside if inside.any() else np.ones(len(spans), dtype=bool)
