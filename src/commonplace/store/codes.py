"""Binary codes of rows; where there are many, in lists of rows that lie together, of which a question reads the near
ones.

The lists are an inverted file (Sivic and Zisserman 2003; Jégou, Douze and Schmid 2011) around the centroids of
:class:`faiss.Kmeans`. A question reads no fixed number of them but all whose centroid is no further than the nearest
one's and a *gap*: one in the midst of the rows reads few, one far from all reads many, so that questions of other kinds
than those measured with need the same gap where they would need several times as many lists.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

__all__ = ["LISTS_FROM", "MANY", "Codes", "Lists", "code_bytes", "encode", "gap_for", "lists_for", "nearest", "train"]

LISTS_FROM = 200_000
"""Codes from which lists are worth their centroids: here they save a tenth of a search, of a million two thirds."""

MANY = 100
"""Hits that the gap of lists is measured for, besides ten."""

MOST_HITS = 2 * MANY
"""Hits beyond which what was measured says nothing: all codes are read."""

MOST_LISTS = 2048
EACH = 32
"""Rows a list that centroids are trained with."""

ROUNDS = 4
"""Rounds of training: eight bring centroids no nearer to the rows that shows, and take twice as long."""

MEANT = 4
"""Rows of the training that a centroid stands for, at the least."""

READ_SHARE = 0.3
"""Where near lists hold more than this share of the codes, all are read: that needs no copy."""

COPIED = 1 << 18
"""Codes of lists that are copied together at once: 16 MB of them."""

ROOM = 4
"""Codes that are read for each candidate wanted, at the least."""

SPLIT_FROM = 2_000_000
"""Codes from which two threads look at a half each: a million take one of them 2.4 ms, and on a busy machine the other
would be waited for."""


def code_bytes(dim: int) -> int:
    """Return the bytes of a code: of at least ``dim`` bits, and of a length that FAISS compares in registers."""
    least = -(-dim // 8)
    return next((size for size in (4, 8, 16, 32, 64) if size >= least), -(-least // 4) * 4)


def encode(rows: NDArray[np.float32], centre: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the signs of ``rows`` (n, dim) less ``centre`` as bits (n, bytes).

    What room a code has beyond ``dim`` bits holds the signs of sums of three values each: a quarter fewer candidates
    for the same recall, for nothing.
    """
    near = rows - centre
    return np.packbits(np.hstack([near > 0, _threes(near) > 0]), axis=1)


def _threes(near: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return sums of three values each (n, bits to spare)."""
    dim = near.shape[1]
    spare = 8 * code_bytes(dim) - dim
    one = np.arange(spare)
    return near[:, one % dim] + near[:, (one + spare) % dim] - near[:, (one + 2 * spare) % dim]


def lists_for(rows: int) -> int:
    """Return how many lists so many rows are kept in: about their root, 0 where all codes are read."""
    return min(MOST_LISTS, 2 ** round(math.log2(rows) / 2)) if rows >= LISTS_FROM else 0


def train(sample: NDArray[np.float32], lists: int, stop: Callable[[], bool] = lambda: False) -> NDArray[np.float32]:
    """Return centroids (lists, dim) for rows of which ``sample`` (n, dim) is one, the same every time; of no more
    rounds than begun where ``stop`` says so. Those that stand for fewer than :data:`MEANT` rows are left out."""
    import faiss

    means = faiss.Kmeans(sample.shape[1], lists, niter=1, seed=0, min_points_per_centroid=1)
    for _ in range(ROUNDS):
        means.train(sample, init_centroids=means.centroids)  # one round: a million rows' takes half a second
        if stop():
            break
    centroids = np.asarray(means.centroids, np.float32)
    # A centroid of one row is that row, and would stay in the file when it is removed.
    own = np.bincount(Lists(centroids, np.zeros(lists + 1, np.int64)).of(sample), minlength=lists)
    return centroids[own >= MEANT] if (own >= MEANT).any() else centroids.mean(axis=0, keepdims=True)


@dataclass(frozen=True)
class Lists:
    """Which codes stand together: those from ``starts[i]`` to ``starts[i + 1]`` are of rows near ``centroids[i]``."""

    centroids: NDArray[np.float32]
    starts: NDArray[np.int64]

    @cached_property
    def _half(self) -> NDArray[np.float32]:
        return np.asarray(np.einsum("ij,ij->i", self.centroids, self.centroids) / 2, np.float32)

    def distances(self, questions: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return half the squared distance (n, lists) of questions to centroids, less a constant for each question."""
        return self._half - questions @ self.centroids.T

    def of(self, rows: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the list (n,) that each row belongs to."""
        step = 2048  # of their distances to all centroids no more are held
        found = [np.argmin(self.distances(rows[i : i + step]), axis=1) for i in range(0, len(rows), step)]
        return np.concatenate([np.empty(0, np.int64), *found])

    def near(
        self, query: NDArray[np.float32], gaps: Sequence[float], hits: float, least: int
    ) -> NDArray[np.int64] | None:
        """Return the lists that so many ``hits`` are to be looked for in, and so many more that there are ``least``
        codes; None where that is a large share of all. See :func:`gap_for`."""
        if hits > MOST_HITS:
            return None
        sizes = np.diff(self.starts)
        distances = np.where(sizes > 0, self.distances(query[None])[0], np.inf)
        chosen = distances <= distances.min() + gap_for(gaps, hits)
        if sizes[chosen].sum() < least:
            order = np.argsort(distances, kind="stable")
            enough = int(np.searchsorted(np.cumsum(sizes[order]), least)) + 1
            chosen[order[:enough]] = True
        return None if sizes[chosen].sum() > READ_SHARE * self.starts[-1] else np.flatnonzero(chosen)


def gap_for(gaps: Sequence[float], hits: float) -> float:
    """Return how much further than the nearest list one may lie that so many hits are looked for in: by the logarithm
    of these, between and beyond what ``gaps`` say of ten and of :data:`MANY`."""
    ten, many = gaps
    return ten + (many - ten) * math.log(max(hits, 10) / 10) / math.log(MANY / 10)


@dataclass(frozen=True, slots=True)
class Codes:
    """Codes ``bits`` (n, bytes) of rows at ``places`` (n,); None: in the order of the rows."""

    bits: NDArray[np.uint8]
    places: NDArray[np.int32] | None = None
    lists: Lists | None = None

    def __len__(self) -> int:
        return len(self.bits)

    @property
    def nbytes(self) -> int:
        """What this holds in memory."""
        return self.bits.nbytes + (0 if self.places is None else self.places.nbytes)

    def where(self, at: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where the codes (n,) of the rows at ``at`` (ascending) stand."""
        if self.places is None:
            return at
        found = np.flatnonzero(np.isin(self.places, at))
        return found[np.argsort(self.places[found])]

    def among(self, at: NDArray[np.int64]) -> Codes:
        """Return a copy of those of the rows at ``at`` (ascending), without lists: where a filter takes away what lies
        near a question, how far lists were seen to lie says nothing."""
        if self.places is None:
            return Codes(self.bits[at], at.astype(np.int32))
        wanted = np.zeros(len(self), dtype=bool)
        wanted[at] = True
        kept = np.flatnonzero(wanted[self.places])
        return Codes(self.bits[kept], self.places[kept])

    def ranked(self, questions: NDArray[np.float32], centre: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """Return which ``count`` codes (n, count) are nearest to those of questions (n, dim), near ones first."""
        return nearest(self.bits, encode(questions, centre), min(count, len(self)))

    def nearest(
        self,
        query: NDArray[np.float32],
        centre: NDArray[np.float32],
        count: int,
        gaps: Sequence[float] | None = None,
        hits: float = 10,
    ) -> NDArray[np.int64]:
        """Return the same (count,) for one question (dim,), of all lists, or with ``gaps`` of those that so many
        ``hits`` are to be looked for in."""
        near = self.lists.near(query, gaps, hits, ROOM * count) if self.lists is not None and gaps else None
        if near is None or self.lists is None:
            return np.asarray(self.ranked(query[None], centre, count)[0], np.int64)
        code = encode(query[None], centre)
        starts, ends = self.lists.starts[near], self.lists.starts[near + 1]
        pieces = np.cumsum(ends - starts) // COPIED
        distances, found = [], []
        for piece in np.unique(pieces):
            own = pieces == piece
            bits = np.concatenate([self.bits[i:j] for i, j in zip(starts[own], ends[own], strict=True)])
            apart, at = _nearest_alone(bits, code, min(count, len(bits)))
            # Back from where a code stands among those read to where it stands among all.
            read = np.cumsum(ends[own] - starts[own])
            one = np.searchsorted(read, at[0], "right")
            distances.append(apart[0])
            found.append(at[0] - read[one] + ends[own][one])
        order = np.argsort(np.concatenate(distances), kind="stable")[:count]
        return np.asarray(np.concatenate(found)[order], np.int64)

    def sifted(
        self, query: NDArray[np.float32], centre: NDArray[np.float32], codes: NDArray[np.int64], count: int
    ) -> NDArray[np.int64]:
        """Return the ``count`` of these ``codes`` whose bits agree best with the numbers of the question (dim,), not
        with its bits alone: they need to be two to four times fewer for the same recall."""
        if count >= len(codes):
            return codes
        near = (query - centre)[None]
        weights = np.hstack([near, _threes(near) / 3])[0]  # a sum's sign says a third as much of each of its values
        step = 1024  # signs of so many fit the processor's cache
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


def nearest(codes: NDArray[np.uint8], questions: NDArray[np.uint8], count: int) -> NDArray[np.int64]:
    """Return the places (questions, count) of the codes with the smallest Hamming distances, near ones first."""
    if len(questions) > 1:
        return _nearest(codes, questions, count)[1]
    if len(codes) < SPLIT_FROM:
        return _nearest_alone(codes, questions, count)[1]
    half = len(codes) // 2
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(_nearest_alone, codes[half:], questions, count)
        distances, places = _nearest_alone(codes[:half], questions, count)
        more, others = second.result()
    distances, places = np.hstack([distances, more]), np.hstack([places, others + half])
    order = np.argsort(distances, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(places, order, axis=1)


def _nearest(
    codes: NDArray[np.uint8], questions: NDArray[np.uint8], count: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    import faiss

    found: tuple[NDArray[np.int32], NDArray[np.int64]] = faiss.knn_hamming(questions, codes, count, variant="mc")
    return found


def _nearest_alone(
    codes: NDArray[np.uint8], questions: NDArray[np.uint8], count: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """One question is one thread's work: on a busy machine FAISS's others would be waited for."""
    import faiss

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        return _nearest(codes, questions, count)
    finally:
        faiss.omp_set_num_threads(threads)
