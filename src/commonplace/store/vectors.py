"""The storage format of vectors in the database: float16, each with a checksum.

float16 halves the size, with a recall@10 of .9996 to 1.0 (``benchmarks/results/float16.md``).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from commonplace.store.index_file import sums
from commonplace.store.schema import checksum
from commonplace.types import ViewVectors

__all__ = ["LARGEST", "blobs_of", "clear_shadow", "damaged", "put_vectors", "storable", "vectors_of"]

KIND = np.dtype("<f2")
LARGEST = float(np.finfo(KIND).max)
"""The largest value that a stored vector can contain."""


def blobs_of(vectors: NDArray[np.float32]) -> tuple[list[bytes], list[int]]:
    """Return vectors (n, dim) as n float16 blobs, and the n checksums of the vectors read back from them."""
    stored = np.ascontiguousarray(vectors, dtype=KIND)
    return [row.tobytes() for row in stored], sums(stored.astype("<f4")).tolist()


def vectors_of(
    blobs: Sequence[object], checksums: Sequence[object], dim: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the stored vectors (n, dim), and the positions of damaged ones, whose rows are zeros."""
    vectors, readable_rows = np.zeros((len(blobs), dim), np.float32), np.zeros(len(blobs), bool)
    width = KIND.itemsize * dim
    readable = {row: blob for row, blob in enumerate(blobs) if isinstance(blob, bytes) and len(blob) == width}
    if readable:
        vectors[[*readable]] = np.frombuffer(b"".join(readable.values()), KIND).reshape(-1, dim)
        readable_rows[[*readable]] = True
    expected = np.fromiter((value if _is_sum(value) else -1 for value in checksums), np.int64, len(checksums))
    bad = np.flatnonzero(~readable_rows | (sums(vectors) != expected))
    vectors[bad] = 0
    return vectors, bad


def _is_sum(value: object) -> bool:
    """Return whether a value can be a checksum. A damaged row may contain any value."""
    return isinstance(value, int) and 0 <= value < 1 << 32


def storable(vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return for each of the vectors (n, dim) whether float16 can store all of its values."""
    return np.asarray((np.abs(vectors) <= LARGEST).all(axis=1))  # False for NaN


def damaged(blobs: Sequence[object], checksums: Sequence[object], dim: int = 0) -> list[int]:
    """Return the positions of damaged vectors, or vectors with non-finite values; ``dim`` 0 allows any dimension."""
    lengths = [len(blob) if isinstance(blob, bytes) else 0 for blob in blobs]
    good: set[int] = set()
    for length in {dim * KIND.itemsize} if dim else set(lengths) - {0}:
        rows = [row for row, size in enumerate(lengths) if size == length]
        vectors, bad = vectors_of([blobs[n] for n in rows], [checksums[n] for n in rows], length // KIND.itemsize)
        broken = {*bad.tolist(), *np.flatnonzero(~np.isfinite(vectors).all(axis=1)).tolist()}
        good.update(row for n, row in enumerate(rows) if n not in broken)
    return [row for row in range(len(blobs)) if row not in good]


def put_vectors(database: sqlite3.Connection, rows: ViewVectors, keys: Mapping[str, int], shadow: str = "") -> None:
    """Store the vectors and views of items, whose ``keys`` are by id; ``shadow`` is the prefix of the table names."""
    blobs, checksums = blobs_of(rows.vectors)
    database.executemany(
        # An existing vector that differs is damaged, so the new one replaces it.
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
    """Delete the vectors and the settings of the other model."""
    database.execute("DELETE FROM shadow_views")
    database.execute("DELETE FROM shadow_vectors")
    database.execute("DELETE FROM meta WHERE name LIKE 'shadow:%'")
