"""Binary codes of rows; where there are many, in IVF cells of rows that lie together, of which a query probes some.

The cells are an inverted file (Sivic and Zisserman 2003; Jégou, Douze and Schmid 2011) around the centroids of
``faiss.Kmeans``. Instead of a fixed ``nprobe``, a query probes every cell whose centroid lies within
``probe_radius`` of the nearest one. A query among the rows probes few cells, one far from all rows probes many. So
queries of other kinds than the measured ones need the same radius, where they would need several times as many cells.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from commonplace.store.options import DEFAULT, StoreOptions

__all__ = [
    "MANY",
    "ROWS_PER_CENTROID",
    "Cells",
    "Codes",
    "cells_for",
    "code_bytes",
    "encode",
    "nearest",
    "probe_radius_for",
    "train",
]

MANY = 100
"""Hits that the probe radius is measured for, besides ten."""

MOST_HITS = 2 * MANY
"""Hits above which the measured radius says nothing: all codes are read."""

MOST_CELLS = 2048

ROWS_PER_CENTROID = 32
"""Rows of the sample that centroids are trained with, for each cell."""

ITERATIONS = 4
"""Iterations of k-means. Eight gave no visible gain over four, and take twice as long."""

LEAST_ROWS = 4
"""Rows of the sample that a centroid must stand for."""

COPIED = 1 << 18
"""Codes of probed cells that are copied together at once: 16 MB of them."""


def code_bytes(dim: int) -> int:
    """Return the bytes of a code: at least ``dim`` bits, in a length that FAISS compares in registers."""
    least = -(-dim // 8)
    return next((size for size in (4, 8, 16, 32, 64) if size >= least), -(-least // 4) * 4)


def encode(rows: NDArray[np.float32], centre: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the signs of ``rows`` (n, dim) less ``centre`` as bits (n, bytes).

    The bits beyond ``dim`` hold the signs of sums of three values each: a quarter fewer candidates for the same recall,
    at no cost.
    """
    centred = rows - centre
    return np.packbits(np.hstack([centred > 0, _sums_of_three(centred) > 0]), axis=1)


def _sums_of_three(centred: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return sums of three values each (n, bits to spare)."""
    dim = centred.shape[1]
    spare = 8 * code_bytes(dim) - dim
    column = np.arange(spare)
    return centred[:, column % dim] + centred[:, (column + spare) % dim] - centred[:, (column + 2 * spare) % dim]


def cells_for(rows: int, options: StoreOptions = DEFAULT) -> int:
    """Return the number of IVF cells for so many rows, about their square root; 0 where all codes are read."""
    return min(MOST_CELLS, 2 ** round(math.log2(rows) / 2)) if rows >= options.cells_from else 0


def train(sample: NDArray[np.float32], cells: int, stop: Callable[[], bool] = lambda: False) -> NDArray[np.float32]:
    """Return centroids (at most ``cells``, dim) of a sample of the rows (n, dim); the same for the same sample.

    Centroids that stand for fewer than ``LEAST_ROWS`` rows are left out. Where ``stop`` says so, no further
    iteration is begun.
    """
    import faiss

    means = faiss.Kmeans(sample.shape[1], cells, niter=1, seed=0, min_points_per_centroid=1)
    for _ in range(ITERATIONS):
        means.train(sample, init_centroids=means.centroids)  # one iteration: of a million rows, half a second
        if stop():
            break
    centroids = np.asarray(means.centroids, np.float32)
    # A centroid of one row is that row, and would stay in the file when the row is removed.
    sizes = np.bincount(Cells(centroids, np.zeros(cells + 1, np.int64)).of(sample), minlength=cells)
    kept = sizes >= LEAST_ROWS
    return centroids[kept] if kept.any() else centroids.mean(axis=0, keepdims=True)


@dataclass(frozen=True)
class Cells:
    """IVF cells: the codes from ``starts[i]`` to ``starts[i + 1]`` are of rows near ``centroids[i]``."""

    centroids: NDArray[np.float32]
    starts: NDArray[np.int64]

    @cached_property
    def _half_norms(self) -> NDArray[np.float32]:
        return np.asarray(np.einsum("ij,ij->i", self.centroids, self.centroids) / 2, np.float32)

    def distances(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return half the squared distance (n, cells) of queries to centroids, less a constant for each query."""
        return self._half_norms - queries @ self.centroids.T

    def of(self, rows: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the cell (n,) that each row belongs to."""
        step = 2048  # rows whose distances to all centroids are held at once
        cells = [np.argmin(self.distances(rows[i : i + step]), axis=1) for i in range(0, len(rows), step)]
        return np.concatenate([np.empty(0, np.int64), *cells])

    def probe(
        self,
        query: NDArray[np.float32],
        radii: Sequence[float],
        hits: float,
        least: int,
        options: StoreOptions = DEFAULT,
    ) -> NDArray[np.int64] | None:
        """Return the cells to probe for so many ``hits``, and so many more that they hold ``least`` codes.

        ``radii`` are the probe radii for ten hits and for ``MANY``. None where all codes are to be read: the cells
        hold a large share of them, or so many hits were not measured.
        """
        if hits > MOST_HITS:
            return None
        sizes = np.diff(self.starts)
        distances = np.where(sizes > 0, self.distances(query[None])[0], np.inf)
        probed = distances <= distances.min() + probe_radius_for(radii, hits)
        if sizes[probed].sum() < least:
            order = np.argsort(distances, kind="stable")
            enough = int(np.searchsorted(np.cumsum(sizes[order]), least)) + 1
            probed[order[:enough]] = True
        return None if sizes[probed].sum() > options.probe_share * self.starts[-1] else np.flatnonzero(probed)


def probe_radius_for(radii: Sequence[float], hits: float) -> float:
    """Return how much further than the nearest cell a cell may lie that is probed for so many hits.

    By the logarithm of the hits, between and beyond the ``radii`` measured for ten hits and for ``MANY``.
    """
    ten, many = radii
    return ten + (many - ten) * math.log(max(hits, 10) / 10) / math.log(MANY / 10)


@dataclass(frozen=True, slots=True)
class Codes:
    """Codes ``bits`` (n, bytes) of the rows at ``places`` (n,); ``places`` None: in the order of the rows."""

    bits: NDArray[np.uint8]
    places: NDArray[np.int32] | None = None
    cells: Cells | None = None

    def __len__(self) -> int:
        return len(self.bits)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that this holds."""
        return self.bits.nbytes + (0 if self.places is None else self.places.nbytes)

    def where(self, at: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the positions (n,) of the codes of the rows at ``at`` (ascending)."""
        if self.places is None:
            return at
        positions = np.flatnonzero(np.isin(self.places, at))
        return positions[np.argsort(self.places[positions])]

    def among(self, at: NDArray[np.int64]) -> Codes:
        """Return a copy of the codes of the rows at ``at`` (ascending), without cells.

        A filter may take away the rows near a query: then the measured probe radius says nothing.
        """
        if self.places is None:
            return Codes(self.bits[at], at.astype(np.int32))
        wanted = np.zeros(len(self), dtype=bool)
        wanted[at] = True
        kept = np.flatnonzero(wanted[self.places])
        return Codes(self.bits[kept], self.places[kept])

    def ranked(self, queries: NDArray[np.float32], centre: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """Return the ``count`` codes (n, count) nearest to those of the queries (n, dim), nearest first."""
        return nearest(self.bits, encode(queries, centre), min(count, len(self)))

    def nearest(
        self,
        query: NDArray[np.float32],
        centre: NDArray[np.float32],
        count: int,
        radii: Sequence[float] | None = None,
        hits: float = 10,
        options: StoreOptions = DEFAULT,
    ) -> NDArray[np.int64]:
        """Return the ``count`` codes (count,) nearest to that of one query (dim,), nearest first.

        With ``radii`` only the cells are read that ``Cells.probe()`` names for so many ``hits``.
        """
        probed = None
        if self.cells is not None and radii:
            probed = self.cells.probe(query, radii, hits, options.codes_per_candidate * count, options)
        code = encode(query[None], centre)
        if probed is None or self.cells is None:
            nearest_rows = nearest(self.bits, code, min(count, len(self)), options.split_from)
            return np.asarray(nearest_rows[0], np.int64)
        starts, ends = self.cells.starts[probed], self.cells.starts[probed + 1]
        pieces = np.cumsum(ends - starts) // COPIED
        distances, positions = [], []
        for piece in np.unique(pieces):
            in_piece = pieces == piece
            bits = np.concatenate([self.bits[i:j] for i, j in zip(starts[in_piece], ends[in_piece], strict=True)])
            apart, at = _nearest_in_one_thread(bits, code, min(count, len(bits)))
            # From the position among the codes that were read back to the position among all codes.
            read = np.cumsum(ends[in_piece] - starts[in_piece])
            cell = np.searchsorted(read, at[0], "right")
            distances.append(apart[0])
            positions.append(at[0] - read[cell] + ends[in_piece][cell])
        order = np.argsort(np.concatenate(distances), kind="stable")[:count]
        return np.asarray(np.concatenate(positions)[order], np.int64)

    def rescored(
        self, query: NDArray[np.float32], centre: NDArray[np.float32], codes: NDArray[np.int64], count: int
    ) -> NDArray[np.int64]:
        """Return the ``count`` of these ``codes`` whose bits agree best with the numbers of the query (dim,).

        By the numbers, not by the query's bits alone, two to four times fewer candidates give the same recall.
        """
        if count >= len(codes):
            return codes
        centred = (query - centre)[None]
        # The sign of a sum of three says a third as much about each of its values.
        weights = np.hstack([centred, _sums_of_three(centred) / 3])[0]
        step = 1024  # codes whose signs fit the processor's cache
        scores = np.concatenate(
            [
                np.unpackbits(self.bits[codes[i : i + step]], axis=1).astype(np.float32) @ weights
                for i in range(0, len(codes), step)
            ]
        )
        return codes[np.argpartition(-scores, count - 1)[:count]]

    def rows(self, codes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the places of the rows that have these codes."""
        return codes if self.places is None else np.asarray(self.places[codes], np.int64)


def nearest(
    codes: NDArray[np.uint8], queries: NDArray[np.uint8], count: int, split_from: int = DEFAULT.split_from
) -> NDArray[np.int64]:
    """Return the positions (queries, count) of the codes with the smallest Hamming distances, nearest first."""
    if len(queries) > 1:
        return _nearest(codes, queries, count)[1]
    if len(codes) < split_from:
        return _nearest_in_one_thread(codes, queries, count)[1]
    half = len(codes) // 2
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(_nearest_in_one_thread, codes[half:], queries, count)
        distances, positions = _nearest_in_one_thread(codes[:half], queries, count)
        more_distances, more_positions = second.result()
    distances, positions = np.hstack([distances, more_distances]), np.hstack([positions, more_positions + half])
    order = np.argsort(distances, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(positions, order, axis=1)


def _nearest(
    codes: NDArray[np.uint8], queries: NDArray[np.uint8], count: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    import faiss

    result: tuple[NDArray[np.int32], NDArray[np.int64]] = faiss.knn_hamming(queries, codes, count, variant="mc")
    return result


def _nearest_in_one_thread(
    codes: NDArray[np.uint8], queries: NDArray[np.uint8], count: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """One query is one thread's work: on a busy machine FAISS's other threads would be waited for."""
    import faiss

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        return _nearest(codes, queries, count)
    finally:
        faiss.omp_set_num_threads(threads)
