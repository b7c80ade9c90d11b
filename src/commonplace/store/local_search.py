"""Search in a local store: by vectors and by words, with filters."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from commonplace.store.base import RankedList, Sample
from commonplace.store.filter_cache import FilterCache
from commonplace.store.fused import FusedIndex
from commonplace.store.index_view import IndexView, RankedKeys
from commonplace.store.item_ids import ItemIds
from commonplace.store.lexical import LexicalMatches, count_occurrences, search_lexical, search_paths
from commonplace.store.partitions import Partitions
from commonplace.store.rows import condition_of
from commonplace.store.vector_index import Settings, VectorIndex, generation_of
from commonplace.text import query_words
from commonplace.types import Filter

__all__ = ["LocalSearch"]


class LocalSearch:
    """Search by SQLite's full-text index and one vector index per partition; see ``commonplace.store.SearchStore``.

    The indexes use integer keys of items, which never leave this class. Thread-safe.
    """

    def __init__(self, settings: Settings, means: Mapping[str, NDArray[np.float32]]) -> None:
        self._settings = settings
        self._database = settings.database
        self._partitions = Partitions(settings)
        self._fused = FusedIndex(settings, self._partitions, means)
        self._filters = FilterCache(settings.database)
        self._ids = ItemIds(settings.database)
        self._lock = threading.RLock()
        self._counted: dict[str, tuple[str, int, int]] = {}  # lineage, generation, rows; by table

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let this thread read one state of the store; see ``commonplace.store.SearchStore.snapshot()``."""
        with self._database.snapshot():
            self._partitions.keep()
            yield

    def search(
        self, partition: str, query: NDArray[np.float32], k: int, where: Filter, *, cross_modal: bool = False
    ) -> RankedList:
        """Return the ``k`` items of ``partition`` whose best view has the highest inner product with ``query``."""
        return self._ranked(
            self._partitions[partition].search(query, k, self._filters.of(where), cross_modal=cross_modal)
        )

    def search_text(self, text: str, k: int, where: Filter) -> RankedList:
        """Return the ``k`` items with the highest BM25 score (k1 = 1.2, b = .75) for any word of ``text``."""
        phrases = query_words(text)
        if not phrases:
            return RankedList()
        condition, values = condition_of(where)
        with self._database.snapshot() as database:
            total = self._rows_of("lexicon_docsize", "*")
            return self._with_idf(search_lexical(database, phrases, k, condition, values, total))

    def search_paths(self, text: str, k: int, where: Filter) -> RankedList:
        """Return the first item of each of the ``k`` documents whose path has the highest BM25 score for ``text``."""
        phrases = query_words(text)
        if not phrases:
            return RankedList()
        condition, values = condition_of(where)
        with self._database.snapshot() as database:
            total = self._rows_of("documents", "*")
            return self._with_idf(search_paths(database, phrases, k, condition, values, total))

    def occurrences(self, phrases: Sequence[str]) -> dict[str, int]:
        """Return how many texts and paths contain each phrase; see ``commonplace.store.SearchStore.occurrences()``."""
        with self._database.snapshot() as database:
            return count_occurrences(database, phrases)

    def search_fused(self, query: NDArray[np.float32], k: int, where: Filter, alpha: float | None) -> RankedList:
        """Return the ``k`` best items by early-fused vectors; see ``commonplace.store.SearchStore``."""
        return self._ranked(self._fused.of(alpha).search(query, k, self._filters.of(where)))

    def score(
        self, partition: str, query: NDArray[np.float32], ids: Sequence[str], *, cross_modal: bool = False
    ) -> NDArray[np.float64]:
        """Return the scores (n,) that ``search()`` would give these items; NaN if an item has no view there."""
        return self._scores(self._partitions[partition], query, ids, cross_modal)

    def score_fused(
        self, query: NDArray[np.float32], ids: Sequence[str], *, alpha: float | None
    ) -> NDArray[np.float64]:
        """Return the scores (n,) that ``search_fused()`` would give these items."""
        return self._scores(self._fused.of(alpha), query, ids, False)

    def vectors(self, partition: str, ids: Sequence[str]) -> NDArray[np.float32]:
        """Return one vector for each item (n, dim), of one of its views in the partition; zeros if it has none."""
        keys = self._ids.keys(ids)
        each, place = np.unique(keys[keys >= 0], return_inverse=True)
        vectors = np.zeros((len(keys), self._settings.dim), np.float32)
        vectors[keys >= 0] = self._partitions[partition].gather(each)[place]
        return vectors

    def sample(self, partition: str, n: int) -> Sample:
        """Return about ``n`` evenly spaced rows of a partition. They are read once for each state of the index."""
        return self._partitions[partition].sample(n)

    def sample_fused(self, n: int, *, alpha: float | None) -> Sample:
        """Return about ``n`` evenly spaced early-fused rows."""
        return self._fused.of(alpha).sample(n)

    def count(self, where: Filter | None = None) -> int:
        """Return the number of items that ``where`` allows (default: all)."""
        allowed = self._filters.of(where or Filter())
        return self._rows_of("items", "key") if allowed is None else len(allowed.keys)

    def _forget(self) -> None:
        """Drop all data that was derived from the database."""
        self._filters.forget()
        self._ids.forget()
        self._fused.forget()
        self._partitions.forget()

    def _ranked(self, ranked: RankedKeys, full_match_score: float = 1.0) -> RankedList:
        """Return the ranked list with ids, without items removed meanwhile; equal scores are ordered by id."""
        ids = self._ids.ids(ranked.keys.tolist())
        scores = ranked.scores.tolist()
        rows = sorted((-score, id_) for id_, score in zip(ids, scores, strict=True) if id_ is not None)
        scores = -np.array([score for score, _ in rows], np.float32)
        return RankedList(tuple(id_ for _, id_ in rows), scores, full_match_score)

    def _with_idf(self, matches: LexicalMatches) -> RankedList:
        return replace(self._ranked(matches.ranked, math.fsum(matches.idf.values())), idf=matches.idf)

    def _scores(
        self, index: VectorIndex | IndexView, query: NDArray[np.float32], ids: Sequence[str], cross_modal: bool
    ) -> NDArray[np.float64]:
        keys = self._ids.keys(ids)
        ascending, place = np.unique(keys[keys >= 0], return_inverse=True)  # indexes need sorted keys
        scores = np.full(len(keys), np.nan)
        scores[keys >= 0] = index.score(query, ascending, cross_modal=cross_modal)[place]
        return scores

    def _rows_of(self, table: str, column: str) -> int:
        """Return the number of rows of a table, counted once per generation: a million rows take milliseconds."""
        with self._lock, self._database.snapshot() as database:
            current = generation_of(self._database)
            if self._counted.get(table, ("", 0, 0))[:2] != current:
                ((count,),) = database.execute(f"SELECT count({column}) FROM {table}")
                self._counted[table] = (*current, count)
            return self._counted[table][2]
