"""The vectors of one partition in memory, served by FAISS: a cache of what SQLite holds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonplace.store.base import Ranked

__all__ = ["Index"]

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

        if self._offsets:
            query = np.append(query, np.float32(offset))
        if allowed is None:
            wanted = min(k * self._several, len(self.keys))
            scores, rows = self._flat.search(query[None], wanted) if wanted else _nothing()
            return self._best(rows[0], scores[0], k)
        rows = np.flatnonzero(np.isin(self.keys, allowed))
        if len(rows) <= GATHER_SHARE * len(self.keys):
            return self._best(rows, self.vectors()[rows] @ query, k)
        wanted = min(k * self._several, len(rows))
        parameters: Any = faiss.SearchParameters
        only = parameters(sel=faiss.IDSelectorBatch(rows))
        scores, rows = self._flat.search(query[None], wanted, params=only)
        return self._best(rows[0], scores[0], k)

    def _best(self, rows: NDArray[np.int64], scores: NDArray[np.float32], k: int) -> Ranked:
        """Return the ``k`` best items among scored rows, ties by key."""
        keys = self.keys[rows]
        order = np.lexsort((keys, -scores))
        keys, scores = keys[order], scores[order]
        first = np.sort(np.unique(keys, return_index=True)[1])[:k]
        return Ranked(keys[first], scores[first].astype(np.float32))


def _nothing() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    return np.empty((1, 0), np.float32), np.empty((1, 0), np.int64)
