"""Reranking: a slower model scores the best passages of a search again, and reorders them among themselves."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from commonplace.errors import ModelError
from commonplace.i18n import _
from commonplace.space import Space
from commonplace.text import query_words
from commonplace.types import Hit, ScoreComponent

__all__ = ["RERANK", "LateInteraction", "Reranker", "rerank"]

RERANK = "rerank:"  # prefix of a reranker's channel in the score breakdown


class Reranker(Protocol):
    """The protocol of a reranker: scores each text together with the query."""

    @property
    def name(self) -> str:
        """The name of its line in the score breakdown."""

    @property
    def depth(self) -> int:
        """The number of hits that are scored again."""

    @property
    def share(self) -> float:
        """The reranker's weight in the new order, in (0, 1]; the first search has the rest."""

    def reads(self, text: str) -> bool:
        """Return whether the model knows enough words of a query."""

    def scores(self, query: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one score for each text (n,): higher is better. Scores are comparable for one query only."""


def rerank(reranker: Reranker, query: str, hits: Sequence[Hit]) -> list[Hit]:
    """Return the hits with the passages among the first ``reranker.depth`` in a new order.

    Only passages change places. A picture, with or without a caption, keeps its place and its score. So does every hit
    below that depth. A passage takes the score and confidence of its new place, so that scores still decrease with
    rank. Its score breakdown gains a line ``rerank:<name>``: the reranker's raw score, the rank by that score, weight
    1, and the difference to the score of the new place. So the breakdown still adds up to the score.

    The sort key is ``share`` times the reranker's score plus (1 - ``share``) times the sum of the first search's
    breakdown. Both are standardised over these passages; ties keep their order. Raises ModelError if a score is not a
    finite number.
    """
    places = [n for n, hit in enumerate(hits[: reranker.depth]) if hit.item.modality == "text" and hit.item.text]
    if len(places) < 2 or not query:
        return list(hits)
    passages = [hits[n] for n in places]
    scores = np.asarray(reranker.scores(query, [hit.item.text_view or "" for hit in passages]), dtype=np.float64)
    if scores.shape != (len(passages),) or not np.isfinite(scores).all():
        raise ModelError(
            _("the reranker {name} did not return a number for each of {count} passages: choose another").format(
                name=reranker.name, count=len(passages)
            )
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
    """The bundled text encoder as reranker: it matches each content word of the query with the passage's tokens.

    The score is the mean, over the query's tokens, of the highest cosine with any token of the passage (MaxSim, Khattab
    and Zaharia 2020). It is in [-1, 1]; stop words are left out. MiniLM was not trained for this, and alone it ranks
    worse than the first search. With half the weight each, both together rank better than either
    (benchmarks/results/rerank.md).
    """

    name = "maxsim"
    depth = 30
    share = 0.5

    def __init__(self, space: Space) -> None:
        self._space = space

    def reads(self, text: str) -> bool:
        """Return whether the text encoder knows enough words of ``text``."""
        return self._space.reads(text)

    def scores(self, query: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return for each text (n,) the mean cosine of the query's tokens with their best matches."""
        tower = self._space.text
        if tower is None:
            raise ModelError(
                _("the model {name} cannot encode text: choose another reranker").format(name=self._space.name)
            )
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
    """Return for each token (n,) whether it belongs to a content word of the query; all tokens if it has none.

    ``spans`` (n, 2) are the tokens' character ranges.
    """
    wanted = {phrase.strip('"*').lower() for phrase in query_words(query)}
    words = [match.span() for match in _WORD.finditer(query) if match.group().lower() in wanted]
    inside = np.array([any(start < end and a <= start and end <= b for a, b in words) for start, end in spans], bool)
    return inside if inside.any() else np.ones(len(spans), dtype=bool)
