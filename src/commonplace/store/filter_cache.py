"""Filters as the item keys that they allow, kept from one search to the next."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass

import numpy as np

from commonplace.store.database import Database
from commonplace.store.index_view import Selection
from commonplace.store.rows import condition_of
from commonplace.store.vector_index import followed_to, now, removed_since, trimmed_to
from commonplace.types import Filter

__all__ = ["FilterCache"]

FILTERS = 64 << 20  # bytes of allowed keys, and what is derived from them, that are kept


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a filter allowed at one moment: of a history, after so many changes, up to a key and a line of the removal
    log."""

    lineage: str
    generation: int
    newest: int
    removed: int
    found: Selection


class FilterCache:
    """The keys that filters allow in one collection. Safe for threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._kept: dict[Filter, _Kept] = {}  # the latest used last

    def forget(self) -> None:
        """Let go of all that was found."""
        with self._lock:
            self._kept.clear()

    def of(self, where: Filter) -> Selection | None:
        """Return the keys that a filter allows, None for all.

        Keys are never used again, and an item's document, path and kinds never change; so only newer keys are looked
        up the next time, and those taken off that were removed since.
        """
        if not condition_of(where)[0]:
            return None
        with self._lock, self._database.snapshot() as database:
            lineage, generation = now(database)
            kept = self._kept.pop(where, None)
            if kept is None or (kept.lineage, kept.generation) != (lineage, generation):
                kept = self._followed(database, where, None if kept is None or kept.lineage != lineage else kept)
            self._kept[where] = kept
            held = sum(one.found.bytes for one in self._kept.values())
            while held > FILTERS and len(self._kept) > 1:
                held -= self._kept.pop(next(iter(self._kept))).found.bytes
            return kept.found

    @staticmethod
    def _followed(database: sqlite3.Connection, where: Filter, known: _Kept | None) -> _Kept:
        """Return what a filter allows in this transaction, from what was ``known`` earlier in the same lineage."""
        condition, values = condition_of(where, whole=True)
        lineage, generation = now(database)
        removed = followed_to(database)
        (newest,) = database.execute("SELECT coalesce(max(key), 0) FROM items").fetchone()
        found, last = Selection(np.empty(0, np.int64)), 0
        if known is not None and known.removed >= trimmed_to(database):
            found, last = known.found.less(removed_since(database, known.removed)[:, 1]), known.newest
        if last < newest:
            rows = database.execute(
                # By document and then its items, over indexes alone; the modality alone has an index of its own.
                "SELECT i.key FROM items i WHERE i.modality = ? AND i.key > ?"
                if condition == "i.modality = ?"
                else "SELECT i.key FROM documents d CROSS JOIN items i ON i.document = d.key "
                f"WHERE {condition} AND i.key > ?",
                (*values, last),
            )
            new = np.fromiter((row[0] for row in rows), dtype=np.int64)
            new.sort()
            found = found.more(new) if len(new) else found
        return _Kept(lineage, generation, newest, removed, found)
