"""Measures the search parameters of a new index file, so that real queries reach the target recall."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonplace.store.codes import MANY, Codes
from commonplace.store.index_file import BLOCK, IndexFile, Measured
from commonplace.store.index_view import SCAN_SHARE, direction
from commonplace.store.options import StoreOptions
from commonplace.store.projection import projections

__all__ = ["Measure"]

OVERSAMPLING = (4, 8, 16, 32, 64, 128, 256, 512)
"""Numbers of candidates per wanted hit, tried in this order until one reaches the target recall."""

TEXT = "text"  # the partition that is searched with queries of many kinds

MEASURED = 256
"""Number of queries of each direction that recall is measured with."""


def margin(target: float, least: float) -> float:
    """Return the safety factor on the number of candidates that the measured queries need.

    It is ``least`` up to a recall of .99 and grows to four times ``least``. From a recall of .99 to .999, measured
    queries needed 1.5 times as many candidates, and other queries four times as many.
    """
    return least * float(min(4.0, max(1.0, (0.01 / max(1 - target, 1e-9)) ** 0.6)))


class Measure:
    """Measures the recall@10 of candidates by codes or by projected vectors.

    ``ask(cross_modal)`` returns queries (n, dim) of that direction, or None. A direction without queries is not
    measured and gets no oversampling, so searches scan all rows. ``target`` is the wanted recall, 0 to 1.
    """

    def __init__(
        self,
        ask: Callable[[bool], NDArray[np.float32] | None],
        target: float,
        stop: Callable[[], bool],
        options: StoreOptions,
    ) -> None:
        self._ask, self._target, self._stop, self._options = ask, target, stop, options
        self._exact: dict[bool, tuple[NDArray[np.float32], NDArray[np.int64]] | None] = {}

    def __call__(self, base: IndexFile) -> Measured:
        """Return the oversampling that reaches the target with a safety ``margin``, and the recall that it reaches."""
        measured = Measured({}, {})
        for cross_modal in (False, True):
            queries = self._queries(base, cross_modal) if base.codes is not None else None
            if queries is not None and not self._stop():
                self._measure(base, cross_modal, *queries, measured)
        return measured

    def _measure(
        self,
        base: IndexFile,
        cross_modal: bool,
        queries: NDArray[np.float32],
        best: NDArray[np.int64],
        measured: Measured,
    ) -> None:
        """Add the measurements of one direction, from queries (n, dim) and the places (n, k) of their best rows."""
        way = direction(cross_modal)
        projected = way in base.info.projected
        options = self._options
        more = margin(self._target, options.projected_margin if projected else options.code_margin)
        hits = 10 if projected else options.hits
        affordable = [factor for factor in OVERSAMPLING if hits * factor * more <= len(base) * SCAN_SHARE]
        count = min(math.ceil(10 * more * max(affordable, default=1)), len(base))
        candidates = self._candidates(base, queries, count, cross_modal)
        # Candidates are scored exactly, so a search returns every best row that is among them.
        ranks = [np.flatnonzero(np.isin(row, ten)) for row, ten in zip(candidates, best[:, :10], strict=True)]

        def reached(count: float) -> float:
            return float(np.mean([(rank < count).sum() for rank in ranks]) / min(10, best.shape[1]))

        factor = next((factor for factor in affordable if reached(10 * factor) >= self._target), None)
        if factor is not None:
            measured.oversampling[way] = factor * more
            measured.recall[way] = reached(10 * factor * more)
            if not projected:
                self._measure_codes(base, way, queries, best, measured)
            return
        measured.oversampling[way], measured.recall[way] = 0, 1.0
        # Projected vectors are fitted to queries. Pictures are searched with captions or pictures, so they are safe.
        # Texts are searched with queries of many kinds, and queries unlike captions lose recall (.966 instead of .999).
        if (cross_modal or base.info.partition != TEXT) and not projected:
            measured.projections[way] = projections(base, queries if cross_modal else None)

    def _measure_codes(
        self,
        base: IndexFile,
        way: str,
        queries: NDArray[np.float32],
        best: NDArray[np.int64],
        measured: Measured,
    ) -> None:
        """Add the cheapest probe radius and rescore fraction with which the codes still reach the target."""
        assert base.codes is not None
        radii = self._probe_radii(base.codes, queries, best)
        fraction = self._options.rescore_fraction
        for radius, share in ((radii, fraction), (None, fraction), (radii, 1.0)):
            if self._stop():
                return
            oversampling = measured.oversampling[way]
            recall = self._recall(base, base.codes, queries, best[:, :10], oversampling, radius, share)
            # A hundred hits have another probe radius than ten.
            recall_of_many = self._recall(base, base.codes, queries[::4], best[::4], oversampling, radius, share)
            if min(recall, recall_of_many) >= self._target:
                measured.rescore_fraction[way], measured.recall[way] = share, recall
                if radius is not None:
                    measured.probe_radius[way] = radius
                return

    def _queries(self, base: IndexFile, cross_modal: bool) -> tuple[NDArray[np.float32], NDArray[np.int64]] | None:
        """Return queries (n, dim) and the places (n, k) of their exact best rows, computed once.

        ``k`` is ten, or ``MANY`` if there are IVF cells.
        """
        if cross_modal not in self._exact:
            vectors = self._ask(cross_modal)
            if vectors is None or not len(vectors):
                self._exact[cross_modal] = None
            else:
                k = MANY if base.info.cells else 10
                step = max(1, len(vectors) // MEASURED)
                queries = np.ascontiguousarray(vectors[::step][:MEASURED], dtype=np.float32)
                self._exact[cross_modal] = (queries, _exact(base, queries, k, cross_modal, self._stop))
        return self._exact[cross_modal]

    def _probe_radii(self, codes: Codes, queries: NDArray[np.float32], best: NDArray[np.int64]) -> list[float] | None:
        """Return the probe radii that cover the ten best rows and the ``MANY`` best rows; None without cells.

        They use only half of the recall loss that the target allows. The other half is left for queries of other
        kinds.
        """
        cells = codes.cells
        if cells is None:
            return None
        sizes = np.diff(cells.starts)
        owners = np.empty(len(codes), np.int64)
        owners[codes.rows(np.arange(len(codes)))] = np.repeat(np.arange(len(sizes)), sizes)
        distances = cells.distances(queries)
        further = distances - np.where(sizes > 0, distances, np.inf).min(axis=1, keepdims=True)
        needed = np.take_along_axis(further, owners[best], axis=1)
        share = 1 - (1 - self._target) / 2
        ten, many = (float(np.quantile(needed[:, :k], share, method="higher")) for k in (10, MANY))
        return [ten, max(ten, many)]

    def _recall(
        self,
        base: IndexFile,
        codes: Codes,
        queries: NDArray[np.float32],
        best: NDArray[np.int64],
        oversampling: float,
        radii: list[float] | None,
        share: float,
    ) -> float:
        """Return the share (0 to 1) of the best rows (n, hits) among the candidates of a search for ``hits`` hits."""
        hits = best.shape[1]
        count = math.ceil(hits * oversampling)
        shares = []
        for query, places in zip(queries, best, strict=True):
            candidates = codes.nearest(query, base.centre, count, radii, hits, self._options)
            rescored = codes.rescored(query, base.centre, candidates, math.ceil(count * share))
            shares.append(np.isin(places, codes.rows(rescored)).mean())
        return float(np.mean(shares))

    def _candidates(
        self, base: IndexFile, queries: NDArray[np.float32], count: int, cross_modal: bool
    ) -> NDArray[np.int64]:
        """Return the places (queries, count) of candidates, the most likely first."""
        way = direction(cross_modal)
        if way not in base.info.projected:
            assert base.codes is not None
            return base.codes.rows(base.codes.ranked(queries, base.centre, count))
        projection, projected = base.projected(way)
        offsets = base.offsets if cross_modal and base.offsets is not None else None
        candidates = []
        for query in queries:
            worst_first = (0 if offsets is None else offsets) - projected @ (projection @ query)  # NaN sorts last
            near = np.argpartition(worst_first, count - 1)[:count]
            candidates.append(near[np.argsort(worst_first[near], kind="stable")])
        base.release()
        return np.stack(candidates)


def _exact(
    base: IndexFile, queries: NDArray[np.float32], k: int, cross_modal: bool, stop: Callable[[], bool]
) -> NDArray[np.int64]:
    """Return the places (queries, k) of the exact best rows; incomplete if ``stop`` ended the work."""
    best = np.empty((len(queries), 0), np.int64)
    best_scores = np.empty((len(queries), 0), np.float32)
    for i in range(0, len(base), BLOCK):
        rows = base.part(i)
        scores: Any = queries @ rows.T
        if cross_modal and base.offsets is not None:
            scores -= base.offsets[i : i + BLOCK]
        scores = np.where(np.isnan(scores), -np.inf, scores)
        exact = np.argpartition(-scores, min(k, scores.shape[1]) - 1, axis=1)[:, :k]
        best = np.hstack([best, exact + i])
        best_scores = np.hstack([best_scores, np.take_along_axis(scores, exact, axis=1)])
        keep = np.argsort(-best_scores, axis=1, kind="stable")[:, :k]
        best = np.take_along_axis(best, keep, axis=1)
        best_scores = np.take_along_axis(best_scores, keep, axis=1)
        base.release()
        if stop():
            break
    return best
