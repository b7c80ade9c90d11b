"""Binary codes of rows. In a large partition the codes are grouped into IVF cells, and a query probes some of them.

The cells are an inverted file (Sivic and Zisserman 2003; Jégou, Douze and Schmid 2011) around the centroids of
``faiss.Kmeans``. Instead of a fixed ``nprobe``, a query probes every cell whose centroid lies within
``probe_radius`` of the nearest centroid. A query close to the rows probes few cells; a query far from all rows probes
many. Queries unlike the measured ones need the same radius, but would need several times as large a fixed ``nprobe``.
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
"""The second number of hits, after ten, that a probe radius is measured for."""

MOST_HITS = 2 * MANY
"""Above this number of hits the measured probe radius does not apply, and all codes are read."""

MOST_CELLS = 2048

ROWS_PER_CENTROID = 32
"""Number of training rows for each IVF cell."""

ITERATIONS = 4
"""Iterations of k-means. Eight gave no visible gain over four, and take twice as long."""

LEAST_ROWS = 4
"""A centroid is kept if at least this number of training rows belong to its cell."""

COPIED = 1 << 18
"""Number of codes of probed cells that are copied at once: 16 MB."""


def code_bytes(dim: int) -> int:
    """Return the length of a code in bytes: at least ``dim`` bits, in a length that FAISS compares in registers."""
    least = -(-dim // 8)
    return next((size for size in (4, 8, 16, 32, 64) if size >= least), -(-least // 4) * 4)


def encode(rows: NDArray[np.float32], centre: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the signs of ``rows`` (n, dim) minus ``centre`` (dim,), packed as bits (n, bytes).

    The bits beyond ``dim`` hold the signs of sums of three values each. With them the same recall needs a quarter fewer
    candidates, at no cost.
    """
    centred = rows - centre
    return np.packbits(np.hstack([centred > 0, _sums_of_three(centred) > 0]), axis=1)


def _sums_of_three(centred: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return sums of three values each (n, number of spare bits)."""
    dim = centred.shape[1]
    spare = 8 * code_bytes(dim) - dim
    column = np.arange(spare)
    return centred[:, column % dim] + centred[:, (column + spare) % dim] - centred[:, (column + 2 * spare) % dim]


def cells_for(rows: int, options: StoreOptions = DEFAULT) -> int:
    """Return the number of IVF cells for this number of rows, about its square root; 0 if all codes are read."""
    return min(MOST_CELLS, 2 ** round(math.log2(rows) / 2)) if rows >= options.cells_from else 0


def train(sample: NDArray[np.float32], cells: int, stop: Callable[[], bool] = lambda: False) -> NDArray[np.float32]:
    """Return at most ``cells`` centroids (cells, dim) of a sample of the rows (n, dim).

    The result is deterministic. Centroids of cells with fewer than ``LEAST_ROWS`` rows are left out. Training ends
    after the current iteration if ``stop`` returns True.
    """
    import faiss

    means = faiss.Kmeans(sample.shape[1], cells, niter=1, seed=0, min_points_per_centroid=1)
    for _ in range(ITERATIONS):
        means.train(sample, init_centroids=means.centroids)  # one iteration: half a second for a million rows
        if stop():
            break
    centroids = np.asarray(means.centroids, np.float32)
    # The centroid of a single row equals that row, and would stay in the file after the row was removed.
    sizes = np.bincount(Cells(centroids, np.zeros(cells + 1, np.int64)).of(sample), minlength=cells)
    kept = sizes >= LEAST_ROWS
    return centroids[kept] if kept.any() else centroids.mean(axis=0, keepdims=True)


@dataclass(frozen=True)
class Cells:
    """IVF cells: cell ``i`` contains the codes from ``starts[i]`` to ``starts[i + 1]``.

    ``centroids`` (cells, dim); ``starts`` (cells + 1,).
    """

    centroids: NDArray[np.float32]
    starts: NDArray[np.int64]

    @cached_property
    def _half_norms(self) -> NDArray[np.float32]:
        return np.asarray(np.einsum("ij,ij->i", self.centroids, self.centroids) / 2, np.float32)

    def distances(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return half the squared distance (n, cells) of queries to centroids, minus a constant for each query."""
        return self._half_norms - queries @ self.centroids.T

    def of(self, rows: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the number of the cell (n,) that each row belongs to."""
        step = 2048  # rows whose distances to all centroids are in memory at once
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
        """Return the cells to probe for this number of ``hits``, and as many further cells as ``least`` codes need.

        ``radii`` are the probe radii for ten hits and for ``MANY``. Returns None if all codes should be read: when the
        cells contain a large share of the codes, or more than ``MOST_HITS`` hits are wanted.
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
    """Return the probe radius for a number of hits.

    It is interpolated, or extrapolated, over the logarithm of ``hits`` from the ``radii`` measured for ten hits and for
    ``MANY``.
    """
    ten, many = radii
    return ten + (many - ten) * math.log(max(hits, 10) / 10) / math.log(MANY / 10)


@dataclass(frozen=True, slots=True)
class Codes:
    """Binary codes ``bits`` (n, bytes). ``places`` (n,) are the places of their rows; None means row order."""

    bits: NDArray[np.uint8]
    places: NDArray[np.int32] | None = None
    cells: Cells | None = None

    def __len__(self) -> int:
        return len(self.bits)

    @property
    def nbytes(self) -> int:
        """Memory size of the codes in bytes."""
        return self.bits.nbytes + (0 if self.places is None else self.places.nbytes)

    def where(self, at: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the positions (n,) of the codes of the rows at ``at`` (ascending)."""
        if self.places is None:
            return at
        positions = np.flatnonzero(np.isin(self.places, at))
        return positions[np.argsort(self.places[positions])]

    def among(self, at: NDArray[np.int64]) -> Codes:
        """Return a copy of the codes of the rows at ``at`` (ascending), without cells.

        A filter may exclude the rows near a query, so the measured probe radius does not apply to a selection.
        """
        if self.places is None:
            return Codes(self.bits[at], at.astype(np.int32))
        wanted = np.zeros(len(self), dtype=bool)
        wanted[at] = True
        kept = np.flatnonzero(wanted[self.places])
        return Codes(self.bits[kept], self.places[kept])

    def ranked(self, queries: NDArray[np.float32], centre: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """Return the positions (n, count) of the codes nearest to those of the queries (n, dim), nearest first."""
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
        """Return the positions (count,) of the codes nearest to that of one query (dim,), nearest first.

        With ``radii`` only the cells that ``Cells.probe()`` selects for this number of ``hits`` are read.
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
            # Convert positions among the codes that were read into positions among all codes.
            read = np.cumsum(ends[in_piece] - starts[in_piece])
            cell = np.searchsorted(read, at[0], "right")
            distances.append(apart[0])
            positions.append(at[0] - read[cell] + ends[in_piece][cell])
        order = np.argsort(np.concatenate(distances), kind="stable")[:count]
        return np.asarray(np.concatenate(positions)[order], np.int64)

    def rescored(
        self, query: NDArray[np.float32], centre: NDArray[np.float32], codes: NDArray[np.int64], count: int
    ) -> NDArray[np.int64]:
        """Return the ``count`` of these ``codes`` whose bits agree best with the values of the query (dim,).

        The query's values, unlike its bits alone, reach the same recall with two to four times fewer candidates.
        """
        if count >= len(codes):
            return codes
        centred = (query - centre)[None]
        # The sign of a sum of three values carries a third as much information about each of them.
        weights = np.hstack([centred, _sums_of_three(centred) / 3])[0]
        step = 1024  # codes whose unpacked signs fit into the processor's cache
        scores = np.concatenate(
            [
                np.unpackbits(self.bits[codes[i : i + step]], axis=1).astype(np.float32) @ weights
                for i in range(0, len(codes), step)
            ]
        )
        return codes[np.argpartition(-scores, count - 1)[:count]]

    def rows(self, codes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the places of the rows of these codes."""
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
    """Run one query in one thread: on a busy machine the query would wait for FAISS's other threads."""
    import faiss

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        return _nearest(codes, queries, count)
    finally:
        faiss.omp_set_num_threads(threads)
