"""A view of one partition at one moment: the rows of its index file, rows in memory, and the removed items."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from commonplace.i18n import _
from commonplace.store.base import Sample
from commonplace.store.codes import MANY, Codes
from commonplace.store.index_file import BLOCK, Block, Damaged, IndexFile
from commonplace.store.options import DEFAULT, StoreOptions

__all__ = ["SCAN_SHARE", "IndexView", "RankedKeys", "Selection", "direction", "products", "top"]

GATHER_SHARE = 0.1
"""Up to this share (0 to 1) of allowed rows, only those are scored; above it, a scan of all rows is as fast."""

SCAN_SHARE = 1 / 8
"""Above this share (0 to 1) of candidates among the rows, a scan of all rows is used instead."""

RESIDENT = 256 << 20
"""Maximum size in bytes of the mapped rows that a scan may leave in this process's memory."""


class RankedKeys(NamedTuple):
    """Item keys (n,) and raw scores (n,), best first. The keys are internal to the local store."""

    keys: NDArray[np.int64]
    scores: NDArray[np.float32]


class Selection:
    """The item keys that a filter allows, ascending, with cached data for one index file. Thread-safe."""

    def __init__(self, keys: NDArray[np.int64]) -> None:
        self.keys = keys
        self._derived: tuple[IndexFile, NDArray[np.int64], Codes | None] | None = None

    @property
    def bytes(self) -> int:
        """Memory size of the selection in bytes."""
        derived = self._derived
        key_bytes = self.keys.nbytes
        if derived is not None:
            key_bytes += derived[1].nbytes + (0 if derived[2] is None else derived[2].nbytes)
        return key_bytes

    def more(self, keys: NDArray[np.int64]) -> Selection:
        """Return this selection with higher keys added."""
        grown = Selection(np.concatenate([self.keys, keys]))
        if self._derived is not None and len(keys) and self._derived[0].info.last < keys[0]:
            grown._derived = self._derived  # an older index file does not contain the new keys
        return grown

    def less(self, keys: NDArray[np.int64]) -> Selection:
        """Return this selection without these keys."""
        left = self.keys[~np.isin(self.keys, keys)] if len(keys) else self.keys
        return self if len(left) == len(self.keys) else Selection(left)  # an unchanged selection keeps its cache

    def among(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the places in ``keys`` (ascending, with repetitions) of the allowed keys."""
        if not len(self.keys) or not len(keys):
            return np.empty(0, np.int64)
        if len(self.keys) * 16 < len(keys):
            first = np.searchsorted(keys, self.keys, "left")
            count = np.searchsorted(keys, self.keys, "right") - first
            return np.repeat(first - np.cumsum(count) + count, count) + np.arange(count.sum())
        table = np.zeros(int(max(keys[-1], self.keys[-1])) + 1, dtype=bool)
        table[self.keys] = True
        return np.flatnonzero(table[keys])

    def within(self, base: IndexFile, options: StoreOptions = DEFAULT) -> tuple[NDArray[np.int64], Codes | None]:
        """Return the places of the allowed rows of ``base``, and a copy of their codes if there are many."""
        derived = self._derived
        if derived is None or derived[0] is not base:
            at = self.among(base.keys)
            many = base.codes is not None and options.gather_rows < len(at) < len(base)
            codes = base.codes.among(at) if many and base.codes is not None else None
            derived = self._derived = (base, at, codes)
        return derived[1], derived[2]


class IndexView:
    """Inner-product search over rows that belong to items. An item's score is that of its best row.

    ``base`` has the rows of an index file. ``keys`` (n,), ``rows`` (n, dim) and ``offsets`` (n,) are rows in memory.
    ``overflow`` streams further rows that do not fit into memory. ``gone`` are the keys (ascending) of removed items.
    ``several`` is the largest number of rows of one item in memory.

    Scores are exact: a row's inner product with the query, minus the row's offset in a cross-modal search. Without
    codes the ranking is exact too. With codes it reaches the recall that was measured when the file was built.
    """

    def __init__(
        self,
        base: IndexFile | None,
        keys: NDArray[np.int64],
        rows: NDArray[np.float32],
        offsets: NDArray[np.float32] | None = None,
        *,
        gone: NDArray[np.int64] | None = None,
        several: int = 1,
        overflow: Callable[[], Iterator[Block]] | None = None,
        options: StoreOptions = DEFAULT,
    ) -> None:
        self.base, self.keys, self.rows, self.offsets, self.overflow = base, keys, rows, offsets, overflow
        self._options = options
        self.gone = np.empty(0, np.int64) if gone is None else gone
        self._samples: dict[int, Sample] = {}
        self._several = max(several, base.info.several if base is not None else 1)
        self.deleted = Selection(self.gone).among(base.keys) if base is not None else np.empty(0, np.int64)
        """The places in ``base`` of the rows of removed items."""

    def __len__(self) -> int:
        """The number of searchable rows, without those of ``overflow``."""
        removed = len(Selection(self.gone).among(self.keys))
        return (0 if self.base is None else len(self.base) - len(self.deleted)) + len(self.keys) - removed

    def search(
        self, query: NDArray[np.float32], k: int, allowed: Selection | None, *, cross_modal: bool = False
    ) -> RankedKeys:
        """Return the best ``k`` items for ``query`` (dim,), ties by key. Raises Damaged if the file is damaged."""
        wanted = k * self._several
        parts = []
        if self.base is not None and len(self.base):
            parts.append(self._mapped(self.base, query, wanted, allowed, cross_modal))
        if len(self.keys):
            parts.append(self._scan((self.keys, self.rows, self.offsets), query, wanted, allowed, cross_modal))
        for block in self.overflow() if self.overflow is not None else ():
            several = int(np.unique(block[0], return_counts=True)[1].max())
            parts.append(self._scan(block, query, k * several, allowed, cross_modal))
        if not parts:
            return RankedKeys(np.empty(0, np.int64), NO_SCORES)
        keys = np.concatenate([keys for keys, _ in parts])
        scores = np.concatenate([scores for _, scores in parts])
        order = np.lexsort((keys, -scores))
        keys, scores = keys[order], scores[order]
        first = np.sort(np.unique(keys, return_index=True)[1])[:k]
        return RankedKeys(keys[first], scores[first].astype(np.float32))

    def score(
        self, query: NDArray[np.float32], keys: NDArray[np.int64], *, cross_modal: bool = False
    ) -> NDArray[np.float64]:
        """Return the scores (n,) of the items with these sorted keys; NaN for an item without rows. Raises Damaged."""
        best_scores = np.full(len(keys), -np.inf)
        for part_keys, rows, offsets in self._of(Selection(keys)):
            scores = products(rows, query) - (offsets if cross_modal and offsets is not None else 0)
            np.fmax.at(best_scores, np.searchsorted(keys, part_keys), scores)  # ignores the NaN of a damaged row
        return np.where(np.isfinite(best_scores), best_scores, np.nan)

    def gather(self, keys: NDArray[np.int64], dim: int) -> NDArray[np.float32]:
        """Return one row for each item with these keys (n, dim); zeros for an item without rows. Raises Damaged."""
        order = np.argsort(keys)
        ascending = keys[order]
        vectors = np.zeros((len(keys), dim), np.float32)
        for part_keys, rows, _sums in self._of(Selection(ascending)):
            vectors[order[np.searchsorted(ascending, part_keys)]] = np.nan_to_num(rows)
        return vectors

    def _of(self, wanted: Selection) -> Iterator[Block]:
        """Yield the rows of these items from the index file, from memory and from the overflow."""
        if self.base is not None:
            at = np.setdiff1d(wanted.among(self.base.keys), self.deleted)
            if not self.base.good(at).all():
                raise Damaged(_("the checksum of a row is wrong"))
            offsets = None if self.base.offsets is None else self.base.offsets[at]
            yield self.base.keys[at], self.base.take(at), offsets
        gone = Selection(self.gone)
        for keys, rows, more in (
            (self.keys, self.rows, self.offsets),
            *(self.overflow() if self.overflow is not None else ()),
        ):
            at = np.setdiff1d(wanted.among(keys), gone.among(keys))
            yield keys[at], rows[at], None if more is None else more[at]

    def sample(self, n: int) -> Sample:
        """Return about ``n`` evenly spaced rows of the index file and of memory, without removed and damaged rows."""
        if n not in self._samples:
            vectors, offsets = self._spaced(n)
            self._samples[n] = Sample(vectors, offsets, len(self) if len(vectors) else 0)
        return self._samples[n]

    def _spaced(self, n: int) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        mapped = 0 if self.base is None else len(self.base)
        total = mapped + len(self.keys)
        at = np.linspace(0, total - 1, min(total, n)).astype(np.int64) if total else np.empty(0, np.int64)
        first, second = np.setdiff1d(at[at < mapped], self.deleted), at[at >= mapped] - mapped
        second = np.setdiff1d(second, Selection(self.gone).among(self.keys))
        rows, offsets = self.rows[second], None if self.offsets is None else self.offsets[second]
        if self.base is not None:
            rows = np.concatenate([self.base.take(first), rows])
            if self.base.offsets is not None:
                offsets = np.concatenate(
                    [self.base.offsets[first], np.zeros(len(second)) if offsets is None else offsets]
                )
        fine = np.isfinite(rows).all(axis=1)
        return rows[fine], None if offsets is None else np.asarray(offsets[fine], np.float32)

    def _scan(
        self, block: Block, query: NDArray[np.float32], wanted: int, allowed: Selection | None, cross_modal: bool
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        keys, rows, offsets = block
        scores = products(rows, query)
        if cross_modal and offsets is not None:
            scores -= offsets
        scores[Selection(self.gone).among(keys)] = -np.inf
        at = None if allowed is None else allowed.among(keys)
        best = top(scores, wanted, at)
        return keys[best], scores[best]

    def _mapped(
        self, base: IndexFile, query: NDArray[np.float32], wanted: int, allowed: Selection | None, cross_modal: bool
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        at, codes = (None, base.codes) if allowed is None else allowed.within(base, self._options)
        if at is not None and len(at) == len(base):
            at, codes = None, base.codes
        way = direction(cross_modal)
        count = math.ceil(base.info.oversampling.get(way, 0) * wanted)
        rows = len(base) if at is None else len(at)
        candidates = None
        if at is not None and len(at) <= max(count, self._options.gather_rows):
            candidates = at
        elif way in base.info.projected:
            if 0 < count <= rows * SCAN_SHARE and (at is None or len(at) > GATHER_SHARE * len(base)):
                candidates = self._by_projection(base, way, query, count, at)
        elif codes is not None and 0 < count <= rows * SCAN_SHARE:
            candidates = self._candidates(base, codes, query, wanted, count, way)
        if candidates is None and at is not None and len(at) <= GATHER_SHARE * len(base):
            candidates = at
        if candidates is None:
            scores = _all_products(base, query)
            if cross_modal and base.offsets is not None:
                scores -= base.offsets
            scores[self.deleted] = -np.inf
            best = top(scores, wanted, at)
            scores = scores[best]
            if base.size > RESIDENT:
                base.release()
        else:
            candidates = candidates[~np.isin(candidates, self.deleted)] if len(self.deleted) else candidates
            # Work in pieces, because a filter may allow 100,000 rows.
            pieces = range(0, len(candidates), BLOCK)
            scores = np.concatenate(
                [products(base.take(candidates[i : i + BLOCK]), query) for i in pieces] or [NO_SCORES]
            )
            if cross_modal and base.offsets is not None:
                scores -= base.offsets[candidates]
            best = top(scores, wanted)
            best, scores = candidates[best], scores[best]
        if not base.good(best).all():
            raise Damaged(_("the checksum of a row is wrong"))
        return base.keys[best], scores

    def _by_projection(
        self, base: IndexFile, way: str, query: NDArray[np.float32], count: int, at: NDArray[np.int64] | None
    ) -> NDArray[np.int64]:
        """Return the places of the ``count`` best rows by projected vectors, among the places ``at`` (None: all)."""
        projection, projected = base.projected(way)
        scores = products(projected, projection @ query)
        if way == direction(True) and base.offsets is not None:
            scores -= base.offsets
        scores[self.deleted] = -np.inf
        if projected.nbytes > RESIDENT:
            base.release()
        return top(scores, count, at)

    def _candidates(
        self, base: IndexFile, codes: Codes, query: NDArray[np.float32], wanted: int, count: int, way: str
    ) -> NDArray[np.int64] | None:
        """Return the places of candidate rows by binary codes; None if too many of the candidates were removed."""
        slack = min(len(self.deleted), count)
        radii = None if codes.cells is None else base.info.probe_radius.get(way)  # filtered codes have no cells
        nearest = codes.nearest(query, base.centre, count + slack, radii, wanted, self._options)
        if slack:
            removed = np.isin(codes.rows(nearest), self.deleted)
            ahead = int(removed[np.cumsum(~removed) < 8 * wanted].sum())
            if radii and ahead > wanted:  # many similar rows were removed, and the hits rank below them
                further = radii if wanted + ahead <= MANY else None
                nearest = codes.nearest(query, base.centre, count + slack, further, wanted + ahead, self._options)
                removed = np.isin(codes.rows(nearest), self.deleted)
            nearest = nearest[~removed][:count]
            if len(nearest) < count:
                return None
        rescored = math.ceil(count * base.info.rescore_fraction.get(way, 1))
        return codes.rows(codes.rescored(query, base.centre, nearest, rescored))


NO_SCORES = np.empty(0, np.float32)


def products(rows: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the inner products (n,) of rows (n, dim) with a query."""
    # The channels of a search run in parallel already: BLAS threads help only if the rows exceed the CPU caches.
    return np.einsum("ij,j->i", rows, query) if len(rows) <= BLOCK * 4 else rows @ query


def _all_products(base: IndexFile, query: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the inner products (n,) of all rows of an index file with a query."""
    rows = base.float32_rows
    if rows is not None:
        return products(rows, query)
    return np.concatenate([base.part(i) @ query for i in range(0, len(base), BLOCK)])


def direction(cross_modal: bool) -> str:
    """Return the name of a direction: queries of the ``same`` modality as the partition, or of ``other`` modality."""
    return "other" if cross_modal else "same"


def top(scores: NDArray[np.float32], count: int, at: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Return the places of the ``count`` highest scores, plus all places that tie with the last of them.

    Scores of NaN or -inf are left out. With ``at`` only these places are considered.
    """
    worst_first = -(scores if at is None else scores[at])  # NaN sorts last
    if count < len(worst_first):
        limit = np.partition(worst_first, count - 1)[count - 1]
        best = np.flatnonzero(worst_first <= (limit if limit == limit else np.inf))
    else:
        best = np.arange(len(worst_first))
    best = best[worst_first[best] < np.inf]
    return best if at is None else at[best]
