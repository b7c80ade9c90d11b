"""Search by vectors in Milvus, with filters; and what word search and early fusion share with it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from commonplace.store.base import RankedList, Sample, StoreSpace
from commonplace.store.milvus.connection import MOST, Connection
from commonplace.store.milvus.expressions import quoted, split_any_of
from commonplace.store.milvus.indexes import IndexKind
from commonplace.store.milvus.layout import Layout
from commonplace.store.milvus.matching import allows
from commonplace.store.milvus.reading import TRIES, Documents
from commonplace.store.milvus.records import is_current
from commonplace.store.milvus.snapshot import Snapshot, Snapshots
from commonplace.types import Filter

__all__ = ["FIELDS", "MAX_HITS", "FilteredSearch", "Samples", "VectorSearch", "ranked_list"]

T = TypeVar("T")
Vector = NDArray[np.float32]
ScoredRow = tuple[str, float, Any]
"""An item's id, its score and its row."""
Ask = Callable[[str, int, Snapshot], list[Any]]
"""Returns the best hits for an expression, a limit and a snapshot."""
FIELDS = ("item", "document", "generation", "modality")
VIEW_FIELDS = ("id", "item", "document", "generation", "view", "vector")
SPARE = 8
"""Number of rows that are asked for beyond ``k``, for items with several views and rows of replaced documents."""
MAX_HITS = MOST - SPARE
FEW_ROWS = 1000
"""Up to this number, the rows that a filter allows are scored here, and not searched in an index."""
SAME_SEARCH = 1.0
"""Seconds within which a search of a partition and a reading of items may belong to one search."""
STALE = 0.02
"""Relative change of the number of rows after which a sample is read again."""
SMALL = 5000
"""Up to this number of rows, a sample is read again after every change."""


class FilteredSearch:
    """Repeats a search with more rows until enough of them are allowed by a filter, and current."""

    def __init__(self, documents: Documents, snapshots: Snapshots) -> None:
        self._documents, self._snapshots = documents, snapshots

    def best(self, ask: Ask, k: int, where: Filter, snapshot: Snapshot) -> list[ScoredRow]:
        """Return the best row of each of at least ``k`` items, if there are so many.

        ``ask`` returns the best hits for an expression, a limit and a snapshot. Rows of replaced documents are left
        out. If a document was replaced in between, the search is repeated.
        """
        for _ in range(TRIES):
            rows, is_torn = self._of_filter(ask, k, where, snapshot)
            newer = self._snapshots.fresh(within=0) if is_torn else snapshot
            if newer is snapshot:
                break
            snapshot = newer
        return rows

    def _of_filter(self, ask: Ask, k: int, where: Filter, snapshot: Snapshot) -> tuple[list[ScoredRow], bool]:
        """Return the best rows, and whether others were left out that are not of a current document.

        The server's expression may allow more than the filter. If few hits are allowed, the filter's documents are
        listed in the expression instead.
        """
        compiled = self._documents.compiled(where)
        limit = min(k + SPARE, MOST)
        while True:
            hits = ask(compiled.expression, limit, snapshot)
            best, is_torn = self._allowed(hits, where, compiled.exact, snapshot)
            if len(best) >= k or len(hits) < limit or (limit == MOST and compiled.exact):
                return best, is_torn
            if not compiled.exact and (limit == MOST or limit > 64 * k):
                return self._of_documents(ask, k, where, snapshot), is_torn
            limit = min(4 * limit, MOST)

    def _of_documents(self, ask: Ask, k: int, where: Filter, snapshot: Snapshot) -> list[ScoredRow]:
        """Search in the documents that a filter allows, which are listed in expressions."""
        modality = f" and modality == {quoted(where.modality)}" if where.modality else ""
        best: dict[str, ScoredRow] = {}
        for expression in split_any_of("document", self._documents.resolved(snapshot, where)):
            hits = ask(expression + modality, min(2 * k + SPARE, MOST), snapshot)
            for row in self._allowed(hits, where, True, snapshot)[0]:
                if row[0] not in best or row[1] > best[row[0]][1]:
                    best[row[0]] = row
        return list(best.values())

    @staticmethod
    def _allowed(hits: Sequence[Any], where: Filter, exact: bool, snapshot: Snapshot) -> tuple[list[ScoredRow], bool]:
        """Return the best row of each item that is current and allowed, and whether any row is not current."""
        documents = snapshot.documents(hit["entity"]["document"] for hit in hits)
        best: dict[str, ScoredRow] = {}
        is_torn = False
        for hit in hits:
            row = hit["entity"]
            if not is_current(row, documents):
                is_torn = True
                continue
            if not exact and not allows(where, row["modality"], documents[row["document"]].document):
                continue
            score = float(hit["distance"])
            if row["item"] not in best or score > best[row["item"]][1]:
                best[row["item"]] = (row["item"], score, row)
        return list(best.values()), is_torn


def ranked_list(rows: Iterable[ScoredRow], k: int, full_match_score: float = 1.0) -> RankedList:
    """Return the best ``k`` rows as a ranked list; equal scores are ordered by id."""
    ordered = sorted(rows, key=lambda row: (-row[1], row[0]))[:k]
    scores = np.array([row[1] for row in ordered], np.float32)
    return RankedList(tuple(row[0] for row in ordered), scores, full_match_score)


class Samples:
    """Even samples of the rows of Milvus collections. They are kept until a collection has changed noticeably."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._kept: dict[Any, tuple[Any, Any]] = {}

    def total(self, name: str, snapshot: Snapshot, expression: str = "") -> int:
        """Return the number of rows of a collection that meet an expression."""
        return snapshot.once(
            ("rows", name, expression), lambda: self._connection.count(name, expression, snapshot.since)
        )

    def rows(self, name: str, n: int, total: int, fields: Sequence[str], snapshot: Snapshot) -> list[Any]:
        """Return about ``n`` rows of a collection, ordered by primary key: those below a threshold of ``place``."""
        expression = "place >= 0" if total <= n else f"place < {int(n / total * 2**31)}"
        rows = self._connection.all(name, expression, fields, snapshot.since)
        return sorted(rows, key=lambda row: str(row["id"]))

    def kept(self, key: Any, total: int, snapshot: Snapshot, read: Callable[[], Any]) -> Any:
        """Return what was read for ``key`` before, unless the number of rows has changed noticeably since."""
        with self._lock:
            before = self._kept.get(key)
        stamp = total if total > SMALL else (total, snapshot.since)
        if before is not None:
            is_large = isinstance(stamp, int) and isinstance(before[0], int)
            if before[0] == stamp or (is_large and abs(before[0] - total) <= STALE * total):
                return before[1]
        value = read()
        with self._lock:
            self._kept[key] = (stamp, value)
        return value


@dataclass(frozen=True, slots=True)
class _View:
    """A view of an item: its number, its hash, and its row (dim + 1,)."""

    number: int
    name: str
    row: Vector


class VectorSearch:
    """Searches the partitions of vectors of one model. Thread-safe.

    A row holds the vector and the negative hubness offset. A query is extended by 1 across modalities, and by 0 within
    one, so the inner product is the score of ``commonplace.store.SearchStore.search``.
    """

    def __init__(
        self,
        connection: Connection,
        layout: Layout,
        snapshots: Snapshots,
        filtered: FilteredSearch,
        samples: Samples,
        space: StoreSpace,
    ) -> None:
        self._connection, self._layout, self._snapshots = connection, layout, snapshots
        self._filtered, self._samples, self._space = filtered, samples, space
        self._searched: dict[str, float] = {}  # when each partition was searched last
        self.breadths: dict[str, int] = {}
        """The breadth of the search in each partition's index, by partition; measured by the maintenance."""

    def collection(self, partition: str) -> str:
        """Return the name of the collection with a partition's vectors; it may not exist."""
        return self._layout.vectors(partition, self._space.fingerprint or "", self._space.dim)

    def _scored(self, name: str, query: Vector, expression: str, snapshot: Snapshot) -> list[Any]:
        """Return all rows that meet an expression as hits with exact scores.

        A server searches rows that it has not sealed yet by coarse lists, and so misses most of what a narrow filter
        allows.
        """
        rows = self._connection.all(name, expression, [*FIELDS, "vector"], snapshot.since)
        scores = np.array([row["vector"] for row in rows], np.float32).reshape(len(rows), len(query)) @ query
        return [{"entity": row, "distance": score} for row, score in zip(rows, scores.tolist(), strict=True)]

    def is_outdated(self, name: str) -> bool:
        """Return whether the hubness offsets of a collection were computed with another version of the model."""
        return self._layout.computed_with(name)[1] != self._space.state

    def new_rows(self, name: str) -> int:
        """Return the number of rows that this process has written to a collection since the server sealed them."""
        return self._layout.new_rows.get(name, 0)

    def sealed(self, name: str) -> None:
        """Count the new rows of a collection from now on."""
        self._layout.new_rows.pop(name, None)

    def kind(self, partition: str) -> IndexKind:
        """Return the kind of the index of a partition's vectors."""
        return self._layout.index_kind(self.collection(partition))

    def change_kind(self, partition: str, kind: IndexKind, rows: int) -> None:
        """Build another kind of index for a partition; see ``Layout.change_index()``."""
        if self.kind(partition) is not kind:
            self._layout.change_index(self.collection(partition), kind, rows)

    def search(
        self,
        partition: str,
        query: Vector,
        k: int,
        where: Filter,
        *,
        cross_modal: bool,
        breadth: int | None = None,
    ) -> RankedList:
        """Return the best ``k`` items of a partition; see ``commonplace.store.SearchStore.search``.

        ``breadth`` is the breadth of the search in the index (default: as measured).
        """
        name = self.collection(partition)
        snapshot = self._snapshots.fresh()
        if not self._layout.is_there(name):
            return RankedList()
        self._searched[partition] = monotonic()
        kind, chosen = self._layout.index_kind(name), breadth or self.breadths.get(partition)

        extended = _extended(query, cross_modal)

        def ask(expression: str, limit: int, snapshot: Snapshot) -> list[Any]:
            is_narrow = expression and kind.breadth
            if is_narrow and self._samples.total(name, snapshot, expression) <= FEW_ROWS:
                return self._scored(name, extended, expression, snapshot)
            return self._connection.search(
                name,
                "vector",
                extended,
                expression=expression,
                limit=limit,
                parameters=kind.search_parameters(chosen, limit),
                fields=FIELDS,
                since=snapshot.since,
            )

        return ranked_list(self._filtered.best(ask, k, where, snapshot), k)

    def read_ahead(self, ids: Sequence[str], snapshot: Snapshot, others: Callable[[], T]) -> T:
        """Read the rows of a search's items in all its partitions at once, together with ``others``; return these.

        The next steps of the search need the rows. A server answers several reads in the time of one; Milvus Lite does
        not.
        """
        since = monotonic() - SAME_SEARCH
        partitions = [name for name, at in list(self._searched.items()) if at > since]
        if self._connection.features.lite or not partitions:
            return others()
        with ThreadPoolExecutor(max_workers=len(partitions)) as pool:
            reads = [pool.submit(self._views, partition, ids, snapshot) for partition in partitions]
            result = others()
            for read in reads:
                read.result()
        return result

    # --- given items -----------------------------------------------------------------------------------------

    def score(self, partition: str, query: Vector, ids: Sequence[str], *, cross_modal: bool) -> NDArray[np.float64]:
        """Return the scores (n,) of items; see ``commonplace.store.SearchStore.score``."""
        extended = _extended(query, cross_modal)
        rows = self.rows_of(partition, ids, self._snapshots.recent())
        return np.array([float((rows[id_] @ extended).max()) if id_ in rows else np.nan for id_ in ids], np.float64)

    def vectors(self, partition: str, ids: Sequence[str]) -> Vector:
        """Return one vector for each item (n, dim); zeros for an item without a view in the partition."""
        rows = self.rows_of(partition, ids, self._snapshots.recent())
        vectors = np.zeros((len(ids), self._space.dim), np.float32)
        for place, id_ in enumerate(ids):
            if id_ in rows:
                vectors[place] = rows[id_][0, :-1]
        return vectors

    def views_of(self, partition: str, ids: Sequence[str], snapshot: Snapshot) -> list[tuple[str, str, Vector]]:
        """Return item id, view hash and vector (dim,) of each view of these items, ordered by item and view."""
        by_item = self._views(partition, ids, snapshot)
        views = [(item, view.name, view.row[:-1]) for item, of_item in by_item.items() for view in of_item]
        return sorted(views, key=lambda view: view[:2])

    def rows_of(self, partition: str, ids: Sequence[str], snapshot: Snapshot) -> dict[str, Vector]:
        """Return the stored rows (views, dim + 1) of these items in a partition, by item; first view first."""
        by_item = self._views(partition, ids, snapshot)
        return {item: np.array([view.row for view in of_item], np.float32) for item, of_item in by_item.items()}

    def _views(self, partition: str, ids: Sequence[str], snapshot: Snapshot) -> dict[str, list[_View]]:
        """Return the views of these items in a partition, by item; first view first."""
        name = self.collection(partition)
        if not self._layout.is_there(name):
            return {}

        def read(missing: list[str]) -> dict[str, list[_View]]:
            rows = [
                row
                for expression in split_any_of("item", missing)
                for row in self._connection.all(name, expression, VIEW_FIELDS, snapshot.since)
            ]
            documents = snapshot.documents(row["document"] for row in rows)
            views: dict[str, list[_View]] = {}
            for row in rows:
                if is_current(row, documents):
                    number = int(row["id"].rpartition(":")[2])
                    vector = np.array(row["vector"], np.float32)
                    views.setdefault(row["item"], []).append(_View(number, row["view"], vector))
            return {item: sorted(of_item, key=lambda view: view.number) for item, of_item in views.items()}

        return snapshot.looked_up(name, ids, read)

    # --- samples ---------------------------------------------------------------------------------------------

    def sample(self, partition: str, n: int) -> Sample:
        """Return about ``n`` evenly chosen rows of a partition; see ``commonplace.store.SearchStore.sample``."""
        name = self.collection(partition)
        snapshot = self._snapshots.recent()
        if not self._layout.is_there(name):
            return Sample(np.zeros((0, self._space.dim), np.float32))
        total = self._samples.total(name, snapshot)

        def read() -> Sample:
            rows = self._samples.rows(name, n, total, ["id", "vector"], snapshot)
            extended = np.array([row["vector"] for row in rows], np.float32).reshape(-1, self._space.dim + 1)
            has_offsets = self._space.offset(partition, extended[:1, :-1]) is not None
            return Sample(extended[:, :-1], -extended[:, -1] if has_offsets else None, total)

        sample: Sample = self._samples.kept((name, n), total, snapshot, read)
        return Sample(sample.vectors, sample.offsets, total)


def _extended(query: Vector, cross_modal: bool) -> Vector:
    """Return a query (dim,) as one of stored rows (dim + 1,)."""
    return np.append(query, np.float32(cross_modal)).astype(np.float32)
