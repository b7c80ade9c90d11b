"""The vectors of one partition in memory, served by FAISS: a cache of what SQLite holds."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonplace.store.base import Ranked

__all__ = ["Index"]

SAMPLE = 4096
"""Rows that a question is compared with to learn what chance gives; evenly spaced, so the same every time."""
GATHER_SHARE = 0.1
"""Below this share of allowed rows they are gathered and scored by NumPy: as exact as the scan, and faster."""


class Index:
    """Exact inner-product search over rows that belong to items; an item scores as its best row.

    ``keys[i]`` is the item of row ``i``; rows of one item stand together. ``offsets[i]``, where given, is taken
    off the score of row ``i`` when a search asks for it: it is one more column, which the question multiplies by one
    or by nothing.
    """

    def __init__(
        self, keys: NDArray[np.int64], vectors: NDArray[np.float32], offsets: NDArray[np.float32] | None = None
    ) -> None:
        import faiss

        self.keys = keys
        self._offsets = offsets is not None
        if offsets is not None:
            vectors = np.ascontiguousarray(np.column_stack([vectors, -offsets]), dtype=np.float32)
        self._several = 1  # the most rows one item has
        if len(keys):
            self._several = int(np.unique(keys, return_counts=True)[1].max())
        self._flat: Any = faiss.IndexFlatIP(vectors.shape[1])
        self._flat.add(vectors)

    def __len__(self) -> int:
        return len(self.keys)

    def vectors(self) -> NDArray[np.float32]:
        """Return the rows (n, dim), not copied."""
        import faiss

        count = self._flat.ntotal * self._flat.d
        rows = faiss.rev_swig_ptr(self._flat.get_xb(), count) if count else np.empty(0, np.float32)
        return np.asarray(rows, dtype=np.float32).reshape(-1, self._flat.d)

    def search(
        self, query: NDArray[np.float32], k: int, allowed: NDArray[np.int64] | None, *, offset: bool = False
    ) -> Ranked:
        """Return the best ``k`` items for ``query`` (dim,); ``allowed`` holds the sorted keys that may be found."""
        import faiss

        query = self._whole(query, offset)
        chance = self._chance(query)
        if allowed is None:
            wanted = min(k * self._several, len(self.keys))
            scores, rows = self._flat.search(query[None], wanted) if wanted else _nothing()
            return self._best(rows[0], scores[0], k, chance)
        rows = np.flatnonzero(np.isin(self.keys, allowed))
        if len(rows) <= GATHER_SHARE * len(self.keys):
            return self._best(rows, self.vectors()[rows] @ query, k, chance)
        wanted = min(k * self._several, len(rows))
        parameters: Any = faiss.SearchParameters
        only = parameters(sel=faiss.IDSelectorBatch(rows))
        scores, rows = self._flat.search(query[None], wanted, params=only)
        return self._best(rows[0], scores[0], k, chance)

    def score(
        self, query: NDArray[np.float32], keys: NDArray[np.int64], *, offset: bool = False
    ) -> NDArray[np.float64]:
        """Return the score (n,) of each item with these sorted keys, NaN where it has no row."""
        rows = np.flatnonzero(np.isin(self.keys, keys))
        found = self.vectors()[rows] @ self._whole(query, offset)
        scores = np.full(len(keys), -np.inf)
        np.maximum.at(scores, np.searchsorted(keys, self.keys[rows]), found)
        return np.where(np.isfinite(scores), scores, np.nan)

    def gather(self, keys: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the first row (n, dim) of each item with these keys, zeros where it has none."""
        rows = np.searchsorted(self.keys, keys)
        there = np.minimum(rows, max(len(self.keys) - 1, 0))
        width = self._flat.d - self._offsets
        found = np.zeros((len(keys), width), np.float32)
        if len(self.keys):
            has = self.keys[there] == keys
            found[has] = self.vectors()[there[has], :width]
        return found

    def _whole(self, query: NDArray[np.float32], offset: bool) -> NDArray[np.float32]:
        return np.append(query, np.float32(offset)) if self._offsets else query

    def _chance(self, query: NDArray[np.float32]) -> tuple[int, float, float]:
        """Return the number of rows, and mean and standard deviation of the query's scores over a sample of them."""
        count = len(self.keys)
        if not count:
            return 0, 0.0, 0.0
        scores = self._sample @ query
        return count, float(scores.mean()), float(scores.std())

    @cached_property
    def _sample(self) -> NDArray[np.float32]:
        count = len(self.keys)
        return self.vectors()[np.linspace(0, count - 1, min(count, SAMPLE)).astype(np.int64)]

    def _best(
        self, rows: NDArray[np.int64], scores: NDArray[np.float32], k: int, chance: tuple[int, float, float]
    ) -> Ranked:
        """Return the ``k`` best items among scored rows, ties by key."""
        keys = self.keys[rows]
        order = np.lexsort((keys, -scores))
        keys, scores = keys[order], scores[order]
        first = np.sort(np.unique(keys, return_index=True)[1])[:k]
        return Ranked(keys[first], scores[first].astype(np.float32), 1.0, *chance)


def _nothing() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    return np.empty((1, 0), np.float32), np.empty((1, 0), np.int64)
