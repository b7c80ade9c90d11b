"""The vector indexes of a local store, one for each partition."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from commonplace.store.database import abandoned
from commonplace.store.vector_index import FOLDER, Settings, VectorIndex, blocks, check_space, stray

__all__ = ["Partitions"]

REMOVED_KEPT = 100_000  # lines of the removal log


class Partitions:
    """The indexes by partition, created at first use. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._indexes: dict[str, VectorIndex] = {}

    def __getitem__(self, name: str) -> VectorIndex:
        with self._lock:
            if name not in self._indexes:
                self._indexes[name] = VectorIndex(name, self._settings)
            return self._indexes[name]

    def keep(self) -> None:
        """Let this thread's snapshot use the indexes as they are now, also if another thread follows a later change."""
        with self._lock:
            indexes = list(self._indexes.values())
        for index in indexes:
            index.index_view()

    def names(self) -> list[str]:
        """Return the partitions that are not empty. The query takes one index lookup for each, not a full scan."""
        statement = (
            "WITH RECURSIVE p (name) AS (SELECT min(partition) FROM views UNION ALL "
            "SELECT (SELECT min(partition) FROM views WHERE partition > name) FROM p WHERE name IS NOT NULL) "
            "SELECT name FROM p WHERE name IS NOT NULL"
        )
        return [name for (name,) in self._settings.database.all(statement)]

    def forget(self) -> None:
        """Drop the indexes' data from memory. The next search maps their files again."""
        with self._lock:
            for index in self._indexes.values():
                index.forget()

    def close(self) -> None:
        """Stop threads that write, and close the files."""
        with self._lock:
            indexes = list(self._indexes.values())
            self._indexes.clear()
        for index in indexes:
            index.close()

    def flush(self, *, always: bool = False) -> None:
        """Update the index files, and delete the lines of the removal log that every index file has followed.

        ``always`` rewrites the files even after few changes.
        """
        database, folder = self._settings.database, self._settings.folder
        names = self.names()
        for name in names:
            self[name].flush(always=always)
        for path in (*stray(folder, names), *abandoned(folder), *abandoned(folder / FOLDER)):
            path.unlink(missing_ok=True)
        if database.all("SELECT count(*) FROM removed")[0][0] > REMOVED_KEPT:
            with database.write() as connection:
                (last,) = connection.execute("SELECT max(key) FROM removed").fetchone()
                followed = [index.followed() for index in self._indexes.values()]
                until = min([last, *(line for line in followed if line is not None)])
                connection.execute("DELETE FROM removed WHERE key <= ?", (until,))
                connection.execute("INSERT OR REPLACE INTO meta VALUES ('trimmed', ?)", (str(until),))

    def stored(self, name: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return item keys (n,) and stored vectors (n, dim) of a partition, ordered by key, without damaged vectors."""
        raw = replace(self._settings, prepare=lambda partition, vectors: (vectors, None))
        with self._settings.database.snapshot() as database:
            check_space(database, self._settings)
            pieces = [(keys, rows) for keys, rows, _ in blocks(database, name, 0, raw)]
        keys = np.concatenate([keys for keys, _ in pieces] or [np.empty(0, np.int64)])
        rows = np.concatenate([rows for _, rows in pieces] or [np.empty((0, self._settings.dim), np.float32)])
        intact = ~np.isnan(rows).any(axis=1)
        return (keys, rows) if intact.all() else (keys[intact], rows[intact])
