"""A cache of the item keys that each filter allows, kept between searches."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass

import numpy as np

from commonplace.store.database import Database
from commonplace.store.index_view import Selection
from commonplace.store.rows import condition_of
from commonplace.store.vector_index import followed_to, generation_of, now, removed_since, trimmed_to
from commonplace.types import Filter

__all__ = ["FilterCache"]

KEPT = 64 << 20  # maximum size in bytes of the cached keys and of the data derived from them


@dataclass(frozen=True, slots=True)
class _Entry:
    """The keys that a filter allowed at one generation of a lineage.

    ``newest`` is the highest item key at that time; ``removed`` is the last line of the removal log.
    """

    lineage: str
    generation: int
    newest: int
    removed: int
    selection: Selection


class FilterCache:
    """The item keys that filters allow in one collection. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._entries: dict[Filter, _Entry] = {}  # the most recently used last

    def forget(self) -> None:
        """Drop all entries."""
        with self._lock:
            self._entries.clear()

    def of(self, where: Filter) -> Selection | None:
        """Return the keys that a filter allows; None for all.

        Keys are never reused, and the filtered properties of an item never change. So a later call looks up only newer
        keys, and takes away the keys that were removed since.
        """
        return self._database.once((self, where), lambda: self._of(where)) if condition_of(where)[0] else None

    def _of(self, where: Filter) -> Selection:
        with self._lock, self._database.snapshot() as database:
            lineage, generation = generation_of(self._database)
            entry = self._entries.pop(where, None)
            if entry is not None and entry.lineage == lineage and entry.generation > generation:
                self._entries[where] = entry  # followed for a search that began later: it is not led back
                return self._followed(database, where, None).selection
            if entry is None or (entry.lineage, entry.generation) != (lineage, generation):
                usable = entry is not None and entry.lineage == lineage
                entry = self._followed(database, where, entry if usable else None)
            self._entries[where] = entry
            held = sum(kept.selection.bytes for kept in self._entries.values())
            while held > KEPT and len(self._entries) > 1:
                held -= self._entries.pop(next(iter(self._entries))).selection.bytes
            return entry.selection

    @staticmethod
    def _followed(database: sqlite3.Connection, where: Filter, earlier: _Entry | None) -> _Entry:
        """Return the entry of a filter in this transaction, updated from an ``earlier`` entry of the same lineage."""
        condition, values = condition_of(where, by_value=True)
        lineage, generation = now(database)
        removed = followed_to(database)
        (newest,) = database.execute("SELECT coalesce(max(key), 0) FROM items").fetchone()
        selection, last = Selection(np.empty(0, np.int64)), 0
        if earlier is not None and earlier.removed >= trimmed_to(database):
            gone = removed_since(database, earlier.removed)[:, 1]
            selection, last = earlier.selection.less(gone), earlier.newest
        if last < newest:
            rows = database.execute(
                # Go from documents to their items, by indexes only. A filter by modality alone has its own index.
                "SELECT i.key FROM items i WHERE i.modality = ? AND i.key > ?"
                if condition == "i.modality = ?"
                else "SELECT i.key FROM documents d CROSS JOIN items i ON i.document = d.key "
                f"WHERE {condition} AND i.key > ?",
                (*values, last),
            )
            added = np.fromiter((row[0] for row in rows), dtype=np.int64)
            added.sort()
            selection = selection.more(added) if len(added) else selection
        return _Entry(lineage, generation, newest, removed, selection)
