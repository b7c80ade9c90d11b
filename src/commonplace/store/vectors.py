"""Vectors as the database holds them: float32 or, on request, float16, which of the two says a blob's length."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager

import numpy as np
from numpy.typing import NDArray

from commonplace.store.compression import STORED, compression_of
from commonplace.store.index_file import KINDS, sums
from commonplace.store.schema import checksum
from commonplace.types import ViewVectors

__all__ = ["blobs_of", "clear_shadow", "damaged", "drop_raw", "put_vectors", "vectors_of"]

BATCH = 8192  # vectors that are rewritten in one transaction


def blobs_of(vectors: NDArray[np.float32], kind: str) -> tuple[list[bytes], list[int]]:
    """Return the blobs (n) of vectors (n, dim) kept as ``kind``, and the checksums (n) of what is read from them."""
    kept = np.ascontiguousarray(vectors, dtype=KINDS[kind])
    return [one.tobytes() for one in kept], sums(kept.astype("<f4")).tolist()


def vectors_of(
    blobs: Sequence[object], checksums: Sequence[object], dim: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return vectors (n, dim) as they were stored, and which of them are damaged (those are zeros)."""
    found, whole = np.zeros((len(blobs), dim), np.float32), np.zeros(len(blobs), bool)
    for kind in ("float32", "float16"):
        width = np.dtype(KINDS[kind]).itemsize * dim
        own = {n: blob for n, blob in enumerate(blobs) if isinstance(blob, bytes) and len(blob) == width}
        if own:
            found[[*own]] = np.frombuffer(b"".join(own.values()), KINDS[kind]).reshape(-1, dim)
            whole[[*own]] = True
    stored = np.fromiter((value if _is_sum(value) else -1 for value in checksums), np.int64, len(checksums))
    bad = np.flatnonzero(~whole | (sums(found) != stored))
    found[bad] = 0
    return found, bad


def _is_sum(value: object) -> bool:
    """Return whether a value may be a checksum: a damaged one may be anything."""
    return isinstance(value, int) and 0 <= value < 1 << 32


def damaged(blobs: Sequence[object], checksums: Sequence[object]) -> list[int]:
    """Return which vectors, of whatever dimension, are not what was stored or not numbers."""
    good: set[int] = set()
    lengths = [len(blob) if isinstance(blob, bytes) else 0 for blob in blobs]
    for length in set(lengths) - {0}:
        own = [n for n, one in enumerate(lengths) if one == length]
        for dim in {length // 4, length // 2} - {0}:
            values, bad = vectors_of([blobs[n] for n in own], [checksums[n] for n in own], dim)
            left = np.delete(np.arange(len(own)), np.union1d(bad, np.flatnonzero(~np.isfinite(values).all(axis=1))))
            good.update(own[n] for n in left)
    return [n for n in range(len(blobs)) if n not in good]


def put_vectors(database: sqlite3.Connection, rows: ViewVectors, keys: Mapping[str, int], shadow: str = "") -> None:
    """Put the vectors and views of the items with these ``keys`` into the tables whose names begin with ``shadow``."""
    held = compression_of(database, f"{shadow.replace('_', ':')}{STORED}").get(rows.partition)
    blobs, checksums = blobs_of(rows.vectors, "float32" if held is None else held.kind)
    database.executemany(
        # One that is there and is another is damaged, or raw where the others are float16: this one is as good as new.
        f"INSERT INTO {shadow}vectors VALUES (?, ?, ?, ?) ON CONFLICT (partition, view) DO UPDATE SET "
        "vector = excluded.vector, checksum = excluded.checksum "
        "WHERE vector IS NOT excluded.vector OR checksum IS NOT excluded.checksum",
        zip([rows.partition] * len(rows.views), rows.views, blobs, checksums, strict=True),
    )
    views = [(keys[item], rows.partition, view) for item, view in zip(rows.item_ids, rows.views, strict=True)]
    database.executemany(
        f"INSERT OR IGNORE INTO {shadow}views VALUES (?, ?, ?, ?)", ((*view, checksum(*view)) for view in views)
    )


def clear_shadow(database: sqlite3.Connection) -> None:
    """Let go of the vectors of the other space."""
    database.execute("DELETE FROM beside_views")
    database.execute("DELETE FROM beside_vectors")
    database.execute("DELETE FROM meta WHERE name LIKE 'beside:%'")


def drop_raw(
    write: Callable[[], AbstractContextManager[sqlite3.Connection]], partitions: Iterable[str], dim: int
) -> None:
    """Keep the vectors (dim) of these partitions as float16, a batch a transaction; damaged ones stay as they are.

    Killed at any moment it leaves vectors of both kinds, and the next call goes on.
    """
    for name in partitions:
        # Again until a walk finds none: the row ids by which it goes may be others after a VACUUM by another process.
        while _walk(write, name, dim):
            pass


def _walk(write: Callable[[], AbstractContextManager[sqlite3.Connection]], partition: str, dim: int) -> int:
    """Rewrite a partition in the order of the table; return how many vectors were raw."""
    count = after = 0
    while True:
        with write() as database:
            rows = database.execute(
                "SELECT rowid, vector, checksum FROM vectors WHERE rowid > ? AND +partition = ? "
                "AND length(vector) = ? ORDER BY rowid LIMIT ?",
                (after, partition, 4 * dim, BATCH),
            ).fetchall()
            values, bad = vectors_of([row[1] for row in rows], [row[2] for row in rows], dim)
            blobs, checksums = blobs_of(values, "float16")
            whole = np.delete(np.arange(len(rows)), bad).tolist()
            database.executemany(
                "UPDATE vectors SET vector = ?, checksum = ? WHERE rowid = ?",
                [(blobs[n], checksums[n], rows[n][0]) for n in whole],
            )
        if not rows:
            return count
        count, after = count + len(whole), rows[-1][0]
