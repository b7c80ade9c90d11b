"""Conversion between item ids and the integer keys of the local store's rows, and which views an item has."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonplace.store.database import Database
from commonplace.store.vector_index import generation_of

__all__ = ["ItemIds", "in_pieces", "is_text"]

LONGEST = 500  # values in one IN (...) list: every SQLite version accepts this number
REMEMBERED = 50_000  # maximum number of ids in each of three dictionaries: about 15 MB
_VIEWS = (
    "SELECT i.id, i.text <> '', group_concat(v.partition, char(31)) FROM items i "
    "LEFT JOIN views v ON v.item = i.key WHERE i.id IN (%s) GROUP BY i.key"
)


class ItemIds:
    """Looks up ids by key, and keys and views by id, and caches all three. Thread-safe.

    A key never gets another id within one lineage. An id gets a new key when its document is added again. So keys and
    views are cached for one generation only.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._lineage = ""
        self._generation = -1
        self._ids: dict[int, str] = {}
        self._keys: dict[str, int] = {}
        self._views: dict[str, frozenset[str]] = {}

    def forget(self) -> None:
        """Clear the cache."""
        with self._lock:
            self._lineage, self._generation = "", -1
            self._ids, self._keys, self._views = {}, {}, {}

    def ids(self, keys: Sequence[int]) -> list[str | None]:
        """Return the ids (n,) of the items with these keys; None for a removed item."""
        ids, *_ = self._remembered()
        missing = [key for key in keys if key not in ids]
        if missing:
            ids.update(in_pieces(self._database, "SELECT key, id FROM items WHERE key IN (%s)", missing))
        return [ids.get(key) for key in keys]

    def keys(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Return the keys (n,) of the items with these ids; -1 for an item that does not exist."""
        _, keys, _ = self._remembered()
        missing = [id_ for id_ in ids if id_ not in keys and is_text(id_)]
        if missing:
            keys.update(in_pieces(self._database, "SELECT id, key FROM items WHERE id IN (%s)", missing))
        return np.fromiter((keys.get(id_, -1) for id_ in ids), np.int64, len(ids))

    def views(self, ids: Sequence[str]) -> dict[str, frozenset[str]]:
        """Return by id the partitions in which each item has a view, and ``lexical`` if it has words."""
        *_, views = self._remembered()
        missing = [id_ for id_ in ids if id_ not in views and is_text(id_)]
        if missing:
            for id_, has_words, partitions in in_pieces(self._database, _VIEWS, missing):
                named = partitions.split("\x1f") if partitions else []
                views[id_] = frozenset([*named, "lexical"] if has_words else named)
        return {id_: views[id_] for id_ in ids if id_ in views}

    def _remembered(self) -> tuple[dict[int, str], dict[str, int], dict[str, frozenset[str]]]:
        """Return the dictionaries, without entries that are out of date."""
        with self._lock:
            lineage, generation = generation_of(self._database)
            if lineage != self._lineage or len(self._ids) > REMEMBERED:
                self._ids = {}
            old = (lineage, generation) != (self._lineage, self._generation)
            if old or max(len(self._keys), len(self._views)) > REMEMBERED:
                self._keys, self._views = {}, {}
            self._lineage, self._generation = lineage, generation
            return self._ids, self._keys, self._views


def is_text(text: str) -> bool:
    """Return whether SQLite can store a text. It cannot store lone surrogates, so no id contains them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def in_pieces(
    database: Database, statement: str, values: Sequence[object], before: tuple[object, ...] = ()
) -> list[tuple[Any, ...]]:
    """Run a statement with an ``IN (%s)`` list once for each piece of ``values``, and return all rows.

    ``before`` are the parameters before the list.
    """
    rows: list[tuple[Any, ...]] = []
    for start in range(0, len(values), LONGEST):
        piece = values[start : start + LONGEST]
        rows += database.all(statement % ",".join("?" * len(piece)), (*before, *piece))
    return rows
