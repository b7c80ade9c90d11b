"""Filters as the item keys that they allow, kept from one search to the next."""

from __future__ import annotations

import threading

import numpy as np

from commonplace.store.database import Database
from commonplace.store.index import Selection
from commonplace.store.partition import followed_to, now, removed_since, trimmed_to
from commonplace.store.rows import condition_of
from commonplace.types import Filter

__all__ = ["Selections"]

FILTERS = 64 << 20  # bytes of allowed keys, and what is derived from them, that are kept


class Selections:
    """The keys that filters allow in one collection. Safe for threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        # Lineage, highest key and last line of the removal log; the latest used last.
        self._kept: dict[Filter, tuple[str, int, int, Selection]] = {}

    def forget(self) -> None:
        """Let go of all that was found."""
        with self._lock:
            self._kept.clear()

    def of(self, where: Filter) -> Selection | None:
        """Return the keys that a filter allows, None for all.

        Keys are never used again, and an item's document, path and kinds never change; so only newer keys are looked
        up the next time, and those taken off that were removed since.
        """
        condition, values = condition_of(where)
        if not condition:
            return None
        with self._lock, self._database.snapshot() as database:
            lineage = now(database)[0]
            trimmed, removed = trimmed_to(database), followed_to(database)
            (newest,) = database.execute("SELECT coalesce(max(key), 0) FROM items").fetchone()
            known = self._kept.pop(where, None)
            found, last = Selection(np.empty(0, np.int64)), 0
            if known is not None and known[0] == lineage and known[2] >= trimmed:
                _, last, followed, found = known
                if followed < removed:
                    found = found.less(removed_since(database, followed)[:, 1])
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
            self._kept[where] = (lineage, newest, removed, found)
            held = sum(one.bytes for *_, one in self._kept.values())
            while held > FILTERS and len(self._kept) > 1:
                *_, oldest = self._kept.pop(next(iter(self._kept)))
                held -= oldest.bytes
            return found
