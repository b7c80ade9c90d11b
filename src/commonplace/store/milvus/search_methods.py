"""The methods of a Milvus store that a search calls."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

import numpy as np
from numpy.typing import NDArray

from commonplace.store.base import RankedList, Sample
from commonplace.store.milvus.fused_search import FusedSearch
from commonplace.store.milvus.searching import VectorSearch
from commonplace.store.milvus.word_search import WordSearch
from commonplace.types import Filter

__all__ = ["MilvusSearch"]


class MilvusSearch:
    """Searches by vectors, by words and by early-fused views; see ``commonplace.store.SearchStore``. Thread-safe."""

    _vectors: VectorSearch
    _words: WordSearch
    _fused: FusedSearch

    def snapshot(self) -> AbstractContextManager[None]:
        """Milvus has no read transactions: ``capabilities.snapshots`` is False."""
        raise NotImplementedError("capabilities.snapshots is False")

    # --- searching -------------------------------------------------------------------------------------------

    def search(
        self, partition: str, query: NDArray[np.float32], k: int, where: Filter, *, cross_modal: bool = False
    ) -> RankedList:
        """Return the ``k`` best items of a partition; see ``commonplace.store.SearchStore.search``."""
        return self._vectors.search(partition, query, k, where, cross_modal=cross_modal)

    def search_text(self, text: str, k: int, where: Filter) -> RankedList:
        """Return the ``k`` items with the highest BM25 score for any word of ``text``."""
        return self._words.search(text, k, where)

    def search_paths(self, text: str, k: int, where: Filter) -> RankedList:
        """Milvus has no index over paths: ``capabilities.paths`` is False."""
        raise NotImplementedError("capabilities.paths is False")

    def occurrences(self, phrases: Sequence[str]) -> dict[str, int]:
        """Milvus keeps hashes of words, not the words: ``capabilities.spelling`` is False."""
        raise NotImplementedError("capabilities.spelling is False")

    def search_fused(self, query: NDArray[np.float32], k: int, where: Filter, alpha: float | None) -> RankedList:
        """Return the ``k`` best items by early fusion; see ``commonplace.store.SearchStore.search_fused``."""
        return self._fused.search(query, k, where, alpha)

    def score(
        self, partition: str, query: NDArray[np.float32], ids: Sequence[str], *, cross_modal: bool = False
    ) -> NDArray[np.float64]:
        """Return the scores (n,) that ``search()`` would give these items; NaN if an item has no view there."""
        return self._vectors.score(partition, query, ids, cross_modal=cross_modal)

    def score_fused(
        self, query: NDArray[np.float32], ids: Sequence[str], *, alpha: float | None
    ) -> NDArray[np.float64]:
        """Return the scores (n,) that ``search_fused()`` would give these items."""
        return self._fused.score(query, ids, alpha=alpha)

    def vectors(self, partition: str, ids: Sequence[str]) -> NDArray[np.float32]:
        """Return one vector for each item, as an array (n, dim)."""
        return self._vectors.vectors(partition, ids)

    def sample(self, partition: str, n: int) -> Sample:
        """Return about ``n`` evenly chosen rows of a partition."""
        return self._vectors.sample(partition, n)

    def sample_fused(self, n: int, *, alpha: float | None) -> Sample:
        """Return about ``n`` evenly chosen early-fused rows."""
        return self._fused.sample(n, alpha)
