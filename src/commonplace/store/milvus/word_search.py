"""Search by words in Milvus: the server's sparse index picks candidates, and their BM25 scores are computed here."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from commonplace.store.base import RankedList
from commonplace.store.milvus.connection import MOST, Connection
from commonplace.store.milvus.layout import Layout
from commonplace.store.milvus.searching import FIELDS, MAX_HITS, FilteredSearch, Samples, ranked_list
from commonplace.store.milvus.snapshot import Snapshot, Snapshots
from commonplace.store.milvus.words import QueryTerm, Weighted, WordSplitter, bm25_weight, query_vector, score
from commonplace.types import Filter

__all__ = ["WordSearch"]

FEW_MATCHES = 1000
"""Up to this number, a search for one word returns all items that contain it."""
SAMPLE = 10_000
"""Number of items that the mean length of texts is measured with."""
COMMON = 0.1
"""Share of items from which on a word's frequency is measured with the sample of items."""
REMEMBERED = 100_000  # words whose frequency is kept
HAS_TEXT = "length >= 0"


@dataclass(frozen=True, slots=True)
class _Texts:
    """Statistics of the items with text: their number, their mean length in words, and a sample of their terms."""

    total: int
    mean_length: float
    sample: tuple[frozenset[int], ...]


class WordSearch:
    """Searches the words of items. Thread-safe.

    The stored weight of a word is its BM25 weight for a text of usual length, and the query has the weights of rarity.
    So the server's inner product nearly is the BM25 score. The exact score needs the mean length of all texts.
    """

    def __init__(
        self,
        connection: Connection,
        layout: Layout,
        snapshots: Snapshots,
        filtered: FilteredSearch,
        samples: Samples,
    ) -> None:
        self._connection, self._layout, self._snapshots = connection, layout, snapshots
        self._filtered, self._samples = filtered, samples
        self._splitter = WordSplitter()
        self._frequencies: dict[QueryTerm, tuple[int, int]] = {}
        self._lock = threading.Lock()

    def search(self, text: str, k: int, where: Filter) -> RankedList:
        """Return the best ``k`` items by BM25; see ``commonplace.store.SearchStore.search_text``."""
        split = self._splitter.query(text)
        phrases = list(split.values())
        if not phrases:
            return RankedList()
        snapshot = self._snapshots.fresh()
        texts = self._texts(snapshot)
        matching = self._matching(phrases, texts, snapshot)
        weighted = [(phrase, bm25_weight(texts.total, matching[phrase])) for phrase in phrases]
        full_match_score = sum(weight for _, weight in weighted)
        idf = {phrase: weight for phrase, (_, weight) in zip(split, weighted, strict=True)}
        present = [pair for pair in weighted if matching[pair[0]]]
        if not present:
            return RankedList(full_match_score=full_match_score, idf=idf)

        def ask(expression: str, limit: int, snapshot: Snapshot) -> list[Any]:
            fields = [*FIELDS, "length", "words"]
            hits = self._hits(query_vector(present), expression, limit, fields, snapshot)
            return [_rescored(hit, present, texts.mean_length) for hit in hits]

        rows = self._filtered.best(ask, min(2 * k + 20, MAX_HITS), where, snapshot)
        ranked = ranked_list([row for row in rows if row[1] > 0], k, full_match_score)
        return replace(ranked, idf=idf)

    def _hits(
        self, query: dict[int, float], expression: str, limit: int, fields: Sequence[str], snapshot: Snapshot
    ) -> list[Any]:
        return self._connection.search(
            self._layout.items,
            "words",
            query,
            expression=expression,
            limit=limit,
            parameters={},
            fields=fields,
            since=snapshot.since,
        )

    def _texts(self, snapshot: Snapshot) -> _Texts:
        name = self._layout.items
        total = self._samples.total(name, snapshot, HAS_TEXT)

        def read() -> _Texts:
            rows = self._samples.rows(name, SAMPLE, total, ["id", "length", "terms"], snapshot)
            rows = [row for row in rows if row["length"] >= 0]
            mean_length = float(np.mean([row["length"] for row in rows])) if rows else 0.0
            return _Texts(total, mean_length, tuple(frozenset(row["terms"]) for row in rows))

        texts: _Texts = self._samples.kept("texts", total, snapshot, read)
        return _Texts(total, texts.mean_length, texts.sample)

    def _matching(self, phrases: Sequence[QueryTerm], texts: _Texts, snapshot: Snapshot) -> dict[QueryTerm, int]:
        """Return the number of items that contain each phrase."""
        unique = list(dict.fromkeys(phrases))
        in_sample = {phrase: sum(terms.issuperset(phrase.terms) for terms in texts.sample) for phrase in unique}
        if texts.total <= len(texts.sample):  # the sample is everything
            return in_sample
        counts: dict[QueryTerm, int] = {}
        for phrase in unique:
            total, count = self._frequencies.get(phrase, (-1, 0))
            share = in_sample[phrase] / max(len(texts.sample), 1)
            if total == texts.total:
                counts[phrase] = count
            elif share >= COMMON:
                counts[phrase] = round(share * texts.total)
        missing = [phrase for phrase in unique if phrase not in counts]
        if missing:
            with ThreadPoolExecutor(max_workers=min(8, len(missing))) as pool:
                numbers = list(pool.map(lambda phrase: self._frequency(phrase, snapshot), missing))
            counts.update(zip(missing, numbers, strict=True))
            with self._lock:
                if len(self._frequencies) > REMEMBERED:
                    self._frequencies.clear()
                self._frequencies.update({phrase: (texts.total, counts[phrase]) for phrase in missing})
        return counts

    def _frequency(self, phrase: QueryTerm, snapshot: Snapshot) -> int:
        """Return the number of items that contain a phrase: they are listed where they are few, otherwise counted."""
        limit = MOST if self._connection.features.lite else FEW_MATCHES
        terms = set(phrase.terms)
        if len(terms) == 1:
            hits = self._hits({terms.pop(): 1.0}, "", limit, ["length"], snapshot)
            if len(hits) < limit:
                return len(hits)
        contained = " and ".join(f"array_contains(terms, {term})" for term in phrase.terms)
        return self._connection.count(self._layout.items, contained, snapshot.since)


def _rescored(hit: Any, weighted: Sequence[Weighted], mean_length: float) -> dict[str, Any]:
    """Return a hit with its BM25 score as ``distance``."""
    row = hit["entity"]
    vector = {int(term): float(value) for term, value in row["words"].items()}
    return {"entity": row, "distance": score(vector, row["length"], weighted, mean_length)}
