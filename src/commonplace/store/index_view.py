"""One partition at one moment: mapped rows with codes, rows in memory, and which of them are gone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from commonplace.store.base import Sample
from commonplace.store.codes import MANY, Codes
from commonplace.store.index_file import BLOCK, Block, Damaged, IndexFile, Measured

__all__ = ["CODES_FROM", "IndexView", "Measure", "RankedKeys", "Selection"]

CODES_FROM = 50_000
"""Rows from which a snapshot gets codes: below, a scan of the rows costs no more than codes and candidates do."""

GATHER_SHARE = 0.1
"""Below this share of allowed rows they are gathered and scored, above it all rows are scanned: equally fast here."""

GATHER_ROWS = 4096
"""So few allowed rows are gathered and scored even where there are codes: exact, and about as fast."""

SCAN_SHARE = 1 / 8
"""Candidates beyond this share of the rows are not worth picking: the rows are scanned."""

RESIDENT = 256 << 20  # bytes of mapped rows that a scan may leave in this process

DEPTHS = (4, 8, 16, 32, 64, 128, 256, 512)
"""Candidates for each hit wanted, tried until the codes reach the recall that is asked for."""

MARGIN = 8
"""Times more candidates than the measured questions need for .99: they come from one collection of captions and
pictures, and questions of another kind were seen to need up to fourteen times as many codes for the same recall. For a
higher recall the two are further apart; see :func:`margin`."""

SHORT_SHARE = 4
"""Short rows have a quarter of the numbers; an eighth would need four times as many candidates."""
SHORT_MARGIN = 2
"""The same as MARGIN for short rows: other questions were seen to need as many candidates as those measured with."""
PROJECTED_FROM = 16_384  # rows that the maps to short rows are made from
RIDGE = 0.01  # how much of the questions' spread is taken to point anywhere: what few questions do not tell

TEXT = "text"  # the partition that is asked in many ways

HITS = 100
"""Hits that a search's channel asks for: codes must serve so many too, or short rows are tried."""

SHARE = 1 / 4
"""Share of the candidates by codes that are scored exactly: measured questions need a twentieth, others an eighth."""

MEASURED = 256  # questions of each direction that recall is measured with


class RankedKeys(NamedTuple):
    """Item keys (n,), which stay inside of the local store, and raw scores (n,), best first."""

    keys: NDArray[np.int64]
    scores: NDArray[np.float32]


class Selection:
    """Item keys that a filter allows, ascending, with what was derived from them for a snapshot. Safe for threads."""

    def __init__(self, keys: NDArray[np.int64]) -> None:
        self.keys = keys
        self._derived: tuple[IndexFile, NDArray[np.int64], Codes | None] | None = None

    @property
    def bytes(self) -> int:
        """What this holds in memory."""
        derived = self._derived
        own = self.keys.nbytes
        if derived is not None:
            own += derived[1].nbytes + (0 if derived[2] is None else derived[2].nbytes)
        return own

    def more(self, keys: NDArray[np.int64]) -> Selection:
        """Return this selection with higher keys added."""
        grown = Selection(np.concatenate([self.keys, keys]))
        if self._derived is not None and len(keys) and self._derived[0].info.last < keys[0]:
            grown._derived = self._derived  # keys that are new stand in no snapshot that is older
        return grown

    def less(self, keys: NDArray[np.int64]) -> Selection:
        """Return this selection without these keys."""
        left = self.keys[~np.isin(self.keys, keys)] if len(keys) else self.keys
        return self if len(left) == len(self.keys) else Selection(left)  # what was derived stays, where it may

    def among(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the places in ``keys`` (ascending, with repetitions) of those that are allowed."""
        if not len(self.keys) or not len(keys):
            return np.empty(0, np.int64)
        if len(self.keys) * 16 < len(keys):
            first = np.searchsorted(keys, self.keys, "left")
            count = np.searchsorted(keys, self.keys, "right") - first
            return np.repeat(first - np.cumsum(count) + count, count) + np.arange(count.sum())
        table = np.zeros(int(max(keys[-1], self.keys[-1])) + 1, dtype=bool)
        table[self.keys] = True
        return np.flatnonzero(table[keys])

    def within(self, base: IndexFile) -> tuple[NDArray[np.int64], Codes | None]:
        """Return the places of the allowed rows of ``base``, and a copy of their codes where these are many."""
        derived = self._derived
        if derived is None or derived[0] is not base:
            at = self.among(base.keys)
            many = base.codes is not None and GATHER_ROWS < len(at) < len(base)
            codes = base.codes.among(at) if many and base.codes is not None else None
            derived = self._derived = (base, at, codes)
        return derived[1], derived[2]


class IndexView:
    """Inner-product search over rows that belong to items; an item scores as its best row.

    ``base`` holds the rows of a snapshot; ``keys`` (n,), ``rows`` (n, dim) and ``offsets`` those in memory; ``rest``
    streams further ones that are too many for it. ``gone`` are keys (ascending) of removed items. ``several`` is the
    most rows that one item in memory has.

    Scores are exact: a row's inner product with the question less, where a search asks for it, its offset. Without
    codes the list is exact too; with codes the candidates reach the recall that the snapshot's build measured.
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
        rest: Callable[[], Iterator[Block]] | None = None,
    ) -> None:
        self.base, self.keys, self.rows, self.offsets, self.rest = base, keys, rows, offsets, rest
        self.gone = np.empty(0, np.int64) if gone is None else gone
        self._samples: dict[int, Sample] = {}
        self._several = max(several, base.info.several if base is not None else 1)
        self.dead = Selection(self.gone).among(base.keys) if base is not None else np.empty(0, np.int64)
        """Places in ``base`` of the rows that are gone."""

    def __len__(self) -> int:
        """Rows that can be found, without those of ``rest``."""
        dead = len(Selection(self.gone).among(self.keys))
        return (0 if self.base is None else len(self.base) - len(self.dead)) + len(self.keys) - dead

    def search(
        self, query: NDArray[np.float32], k: int, allowed: Selection | None, *, offset: bool = False
    ) -> RankedKeys:
        """Return the best ``k`` items for ``query`` (dim,), ties by key. Raises Damaged where the snapshot is."""
        wanted = k * self._several
        found = []
        if self.base is not None and len(self.base):
            found.append(self._mapped(self.base, query, wanted, allowed, offset))
        if len(self.keys):
            found.append(self._scan((self.keys, self.rows, self.offsets), query, wanted, allowed, offset))
        for block in self.rest() if self.rest is not None else ():
            several = int(np.unique(block[0], return_counts=True)[1].max())
            found.append(self._scan(block, query, k * several, allowed, offset))
        if not found:
            return RankedKeys(np.empty(0, np.int64), NO_SCORES)
        keys = np.concatenate([keys for keys, _ in found])
        scores = np.concatenate([scores for _, scores in found])
        order = np.lexsort((keys, -scores))
        keys, scores = keys[order], scores[order]
        first = np.sort(np.unique(keys, return_index=True)[1])[:k]
        return RankedKeys(keys[first], scores[first].astype(np.float32))

    def score(
        self, query: NDArray[np.float32], keys: NDArray[np.int64], *, offset: bool = False
    ) -> NDArray[np.float64]:
        """Return the score (n,) of each item with these sorted keys, NaN where it has no row. Raises Damaged."""
        found = np.full(len(keys), -np.inf)
        for own, rows, offsets in self._of(Selection(keys)):
            scores = products(rows, query) - (offsets if offset and offsets is not None else 0)
            np.fmax.at(found, np.searchsorted(keys, own), scores)  # of a damaged row's NaN nothing is heard
        return np.where(np.isfinite(found), found, np.nan)

    def gather(self, keys: NDArray[np.int64], dim: int) -> NDArray[np.float32]:
        """Return one row (n, dim) of each item with these keys, zeros where it has none. Raises Damaged."""
        order = np.argsort(keys)
        ascending = keys[order]
        found = np.zeros((len(keys), dim), np.float32)
        for own, rows, _ in self._of(Selection(ascending)):
            found[order[np.searchsorted(ascending, own)]] = np.nan_to_num(rows)
        return found

    def _of(self, wanted: Selection) -> Iterator[Block]:
        """Yield the rows of these items that are not gone, wherever they stand."""
        if self.base is not None:
            at = np.setdiff1d(wanted.among(self.base.keys), self.dead)
            if not self.base.good(at).all():
                raise Damaged("a row is not what was written")
            offsets = None if self.base.offsets is None else self.base.offsets[at]
            yield self.base.keys[at], self.base.take(at), offsets
        gone = Selection(self.gone)
        for keys, rows, more in ((self.keys, self.rows, self.offsets), *(self.rest() if self.rest is not None else ())):
            at = np.setdiff1d(wanted.among(keys), gone.among(keys))
            yield keys[at], rows[at], None if more is None else more[at]

    def sample(self, n: int) -> Sample:
        """Return ``n`` evenly spaced rows of those in the snapshot and in memory, without removed and damaged ones."""
        if n not in self._samples:
            vectors, offsets = self._spaced(n)
            self._samples[n] = Sample(vectors, offsets, len(self) if len(vectors) else 0)
        return self._samples[n]

    def _spaced(self, n: int) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        mapped = 0 if self.base is None else len(self.base)
        total = mapped + len(self.keys)
        at = np.linspace(0, total - 1, min(total, n)).astype(np.int64) if total else np.empty(0, np.int64)
        first, second = np.setdiff1d(at[at < mapped], self.dead), at[at >= mapped] - mapped
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
        self, block: Block, query: NDArray[np.float32], wanted: int, allowed: Selection | None, offset: bool
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        keys, rows, offsets = block
        scores = products(rows, query)
        if offset and offsets is not None:
            scores -= offsets
        scores[Selection(self.gone).among(keys)] = -np.inf
        at = None if allowed is None else allowed.among(keys)
        best = top(scores, wanted, at)
        return keys[best], scores[best]

    def _mapped(
        self, base: IndexFile, query: NDArray[np.float32], wanted: int, allowed: Selection | None, offset: bool
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        at, codes = (None, base.codes) if allowed is None else allowed.within(base)
        if at is not None and len(at) == len(base):
            at, codes = None, base.codes
        way = direction(offset)
        count = math.ceil(base.info.depths.get(way, 0) * wanted)
        rows = len(base) if at is None else len(at)
        candidates = None
        if at is not None and len(at) <= max(count, GATHER_ROWS):
            candidates = at
        elif way in base.info.short:
            if 0 < count <= rows * SCAN_SHARE and (at is None or len(at) > GATHER_SHARE * len(base)):
                candidates = self._by_short(base, way, query, count, at)
        elif codes is not None and 0 < count <= rows * SCAN_SHARE:
            candidates = self._candidates(base, codes, query, wanted, count, way)
        if candidates is None and at is not None and len(at) <= GATHER_SHARE * len(base):
            candidates = at
        if candidates is None:
            scores = _all_products(base, query)
            if offset and base.offsets is not None:
                scores -= base.offsets
            scores[self.dead] = -np.inf
            best = top(scores, wanted, at)
            scores = scores[best]
            if base.size > RESIDENT:
                base.release()
        else:
            candidates = candidates[~np.isin(candidates, self.dead)] if len(self.dead) else candidates
            # In pieces: a filter may leave a tenth of a million rows.
            pieces = range(0, len(candidates), BLOCK)
            scores = np.concatenate(
                [products(base.take(candidates[i : i + BLOCK]), query) for i in pieces] or [NO_SCORES]
            )
            if offset and base.offsets is not None:
                scores -= base.offsets[candidates]
            best = top(scores, wanted)
            best, scores = candidates[best], scores[best]
        if not base.good(best).all():
            raise Damaged("a row is not what was written")
        return base.keys[best], scores

    def _by_short(
        self, base: IndexFile, way: str, query: NDArray[np.float32], count: int, at: NDArray[np.int64] | None
    ) -> NDArray[np.int64]:
        """Return the places of the ``count`` rows that score best by their short rows, of these places or of all."""
        aim, short = base.short(way)
        scores = products(short, aim @ query)
        if way == direction(True) and base.offsets is not None:
            scores -= base.offsets
        scores[self.dead] = -np.inf
        if short.nbytes > RESIDENT:
            base.release()
        return top(scores, count, at)

    def _candidates(
        self, base: IndexFile, codes: Codes, query: NDArray[np.float32], wanted: int, count: int, way: str
    ) -> NDArray[np.int64] | None:
        """Return the places of rows near the question by their codes; None where too many are gone."""
        slack = min(len(self.dead), count)
        gaps = None if codes.lists is None else base.info.gaps.get(way)  # under a filter there are no lists
        found = codes.nearest(query, base.centre, count + slack, gaps, wanted)
        if slack:
            gone = np.isin(codes.rows(found), self.dead)
            ahead = int(gone[np.cumsum(~gone) < 8 * wanted].sum())
            if gaps and ahead > wanted:  # much that is alike was removed: what is asked for lies behind that
                further = gaps if wanted + ahead <= MANY else None
                found = codes.nearest(query, base.centre, count + slack, further, wanted + ahead)
                gone = np.isin(codes.rows(found), self.dead)
            found = found[~gone][:count]
            if len(found) < count:
                return None
        return codes.rows(codes.sifted(query, base.centre, found, math.ceil(count * base.info.shares.get(way, 1))))


NO_SCORES = np.empty(0, np.float32)


def products(rows: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the inner products (n,) of rows (n, dim) with a question."""
    # The channels of a search run side by side already: BLAS's own threads pay only for what exceeds the caches.
    return np.einsum("ij,j->i", rows, query) if len(rows) <= BLOCK * 4 else rows @ query


def _all_products(base: IndexFile, query: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the inner products (n,) of all rows of a snapshot with a question."""
    whole = base.whole
    if whole is not None:
        return products(whole, query)
    return np.concatenate([base.part(i) @ query for i in range(0, len(base), BLOCK)])


def direction(offset: bool) -> str:
    """Return the name of a direction: questions of the ``same`` kind as the partition, or of the ``other``."""
    return "other" if offset else "same"


def top(scores: NDArray[np.float32], count: int, at: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Return the places of the ``count`` highest scores and of all that equal the last of them; never NaN or -inf.

    With ``at`` only these places count.
    """
    worst_first = -(scores if at is None else scores[at])  # NaN sorts last
    if count < len(worst_first):
        limit = np.partition(worst_first, count - 1)[count - 1]
        best = np.flatnonzero(worst_first <= (limit if limit == limit else np.inf))
    else:
        best = np.arange(len(worst_first))
    best = best[worst_first[best] < np.inf]
    return best if at is None else at[best]


def margin(target: float, least: float) -> float:
    """Return how many times more candidates are taken than measured questions need: ``least`` up to a recall of .99.

    Between recalls of .99 and .999 the measured questions needed half as many again, others four times as many.
    """
    return least * float(min(4.0, max(1.0, (0.01 / max(1 - target, 1e-9)) ** 0.6)))


class Measure:
    """Measures what a new snapshot's codes, and where those fail its short rows, find of the exact best ten.

    ``ask(offset)`` returns questions (n, dim) of that direction, or None. A direction without questions gets no
    depth: what was not measured is scanned.
    """

    def __init__(
        self, ask: Callable[[bool], NDArray[np.float32] | None], target: float, stop: Callable[[], bool]
    ) -> None:
        self._ask, self._target, self._stop = ask, target, stop
        self._known: dict[bool, tuple[NDArray[np.float32], NDArray[np.int64]] | None] = {}

    def __call__(self, base: IndexFile) -> Measured:
        """Return the depths that reach the target recall with :func:`margin`, and the recall that those reach."""
        depths: dict[str, float] = {}
        recall: dict[str, float] = {}
        gaps: dict[str, list[float]] = {}
        shares: dict[str, float] = {}
        shorten = {}
        for offset in (False, True):
            known = self._questions(base, offset) if base.codes is not None else None
            if known is None or self._stop():
                continue
            questions, many = known
            exact = many[:, :10]
            way = direction(offset)
            short = way in base.info.short
            more = margin(self._target, SHORT_MARGIN if short else MARGIN)
            least = 10 if short else HITS
            worth = [depth for depth in DEPTHS if least * depth * more <= len(base) * SCAN_SHARE]
            most = math.ceil(10 * more * max(worth, default=1))
            found = self._candidates(base, questions, min(most, len(base)), offset)
            # The candidates are scored exactly: what is among them is found.
            places = [np.flatnonzero(np.isin(row, best)) for row, best in zip(found, exact, strict=True)]

            def reached(count: float, places: list[NDArray[np.int64]] = places, k: int = exact.shape[1]) -> float:
                return float(np.mean([(place < count).sum() for place in places]) / k)

            enough = [depth for depth in worth if reached(10 * depth) >= self._target]
            if enough:
                depths[way] = enough[0] * more
                recall[way] = reached(10 * depths[way])
                if not short and base.codes is not None:
                    own = self._gaps(base.codes, questions, many)
                    for gap, share in ((own, SHARE), (None, SHARE), (own, 1.0)):
                        if self._stop():
                            break
                        hits = self._hits(base, base.codes, questions, exact, depths[way], gap, share)
                        # A hundred hits are sought in another gap.
                        more_hits = self._hits(base, base.codes, questions[::4], many[::4], depths[way], gap, share)
                        if min(hits, more_hits) >= self._target:
                            shares[way], recall[way] = share, hits
                            gaps |= {} if gap is None else {way: gap}
                            break
            else:
                depths[way], recall[way] = 0, 1.0
                # Short rows are cut to the measure of the questions they are made from. Pictures are asked for with
                # captions, looks with pictures; texts in many ways, and what is unlike captions loses by it (.966 for
                # .999).
                if (offset or base.info.partition != TEXT) and not short:
                    shorten[way] = shortening(base, questions if offset else None)
        return Measured(depths, recall, gaps, shares, shorten)

    def _questions(self, base: IndexFile, offset: bool) -> tuple[NDArray[np.float32], NDArray[np.int64]] | None:
        """Return questions (n, dim) and the places (n, k) of their exact best rows, found once: of ten, or where there
        are lists of :data:`MANY`."""
        if offset not in self._known:
            asked = self._ask(offset)
            if asked is None or not len(asked):
                self._known[offset] = None
            else:
                k = MANY if base.info.lists else 10
                step = max(1, len(asked) // MEASURED)
                questions = np.ascontiguousarray(asked[::step][:MEASURED], dtype=np.float32)
                self._known[offset] = (questions, _exact(base, questions, k, offset, self._stop))
        return self._known[offset]

    def _gaps(self, codes: Codes, questions: NDArray[np.float32], exact: NDArray[np.int64]) -> list[float] | None:
        """Return how far lists may lie so that the best ten, and the best :data:`MANY`, are in them; what is missed may
        be half of what the target allows, for questions of other kinds. None where there are no lists."""
        lists = codes.lists
        if lists is None:
            return None
        sizes = np.diff(lists.starts)
        owners = np.empty(len(codes), np.int64)
        owners[codes.rows(np.arange(len(codes)))] = np.repeat(np.arange(len(sizes)), sizes)
        distances = lists.distances(questions)
        further = distances - np.where(sizes > 0, distances, np.inf).min(axis=1, keepdims=True)
        needed = np.take_along_axis(further, owners[exact], axis=1)
        share = 1 - (1 - self._target) / 2
        ten, most = (float(np.quantile(needed[:, :k], share, method="higher")) for k in (10, MANY))
        return [ten, max(ten, most)]

    def _hits(
        self,
        base: IndexFile,
        codes: Codes,
        questions: NDArray[np.float32],
        exact: NDArray[np.int64],
        depth: float,
        gaps: list[float] | None,
        share: float,
    ) -> float:
        """Return what share of the exact best (n, hits) is among the candidates of a search for so many."""
        hits = exact.shape[1]
        count = math.ceil(hits * depth)
        found = []
        for query, best in zip(questions, exact, strict=True):
            near = codes.nearest(query, base.centre, count, gaps, hits)
            kept = codes.sifted(query, base.centre, near, math.ceil(count * share))
            found.append(np.isin(best, codes.rows(kept)).mean())
        return float(np.mean(found))

    def _candidates(
        self, base: IndexFile, questions: NDArray[np.float32], count: int, offset: bool
    ) -> NDArray[np.int64]:
        """Return the places (questions, count) of candidates, the likeliest first."""
        way = direction(offset)
        if way not in base.info.short:
            assert base.codes is not None
            return base.codes.rows(base.codes.ranked(questions, base.centre, count))
        aim, short = base.short(way)
        offsets = base.offsets if offset and base.offsets is not None else None
        found = []
        for query in questions:
            worst_first = (0 if offsets is None else offsets) - short @ (aim @ query)  # NaN sorts last
            near = np.argpartition(worst_first, count - 1)[:count]
            found.append(near[np.argsort(worst_first[near], kind="stable")])
        base.release()
        return np.stack(found)


def shortening(
    base: IndexFile, questions: NDArray[np.float32] | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return maps (dim, short) of questions and of rows whose products stand nearest to the true inner products.
    Without ``questions`` the rows stand for them, as looks do: they are many more, so that nothing is fitted to few.

    Principal components keep what the rows differ in; what matters is that in which they differ *for the questions
    asked*, and questions in words lie in other directions than pictures do. With the second moments Q of questions and
    the covariance R of rows the best maps of a given length, in the mean square of the products, come from the
    singular values of sqrt(Q) sqrt(R).
    """
    at = np.linspace(0, len(base) - 1, min(len(base), PROJECTED_FROM)).astype(np.int64)
    rows = np.asarray(base.take(at), np.float64)
    rows = rows[np.isfinite(rows).all(axis=1)]
    asking = rows if questions is None else np.asarray(questions, np.float64)
    dim = rows.shape[1]
    asked = asking.T @ asking / len(asking)
    asked += np.eye(dim) * RIDGE * np.trace(asked) / dim
    spread = np.cov(rows.T) + np.eye(dim) * 1e-9
    (of_questions, back), (of_rows, rows_back) = _root(asked), _root(spread)
    left, weight, right = np.linalg.svd(of_questions @ of_rows)
    short = max(8, -(-dim // (8 * SHORT_SHARE)) * 8)
    half = np.sqrt(weight[:short])
    return np.asarray(back @ left[:, :short] * half, np.float32), np.asarray(
        rows_back @ right[:short].T * half, np.float32
    )


def _root(matrix: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the square root of a symmetric positive matrix and that root's inverse."""
    values, vectors = np.linalg.eigh(matrix)
    root = np.sqrt(np.maximum(values, 1e-12))
    return (vectors * root) @ vectors.T, (vectors / root) @ vectors.T


def _exact(
    base: IndexFile, questions: NDArray[np.float32], k: int, offset: bool, stop: Callable[[], bool]
) -> NDArray[np.int64]:
    """Return the places (questions, k) of the exact best rows; no more than begun where ``stop`` says so."""
    best = np.empty((len(questions), 0), np.int64)
    best_scores = np.empty((len(questions), 0), np.float32)
    for i in range(0, len(base), BLOCK):
        rows = base.part(i)
        scores: Any = questions @ rows.T
        if offset and base.offsets is not None:
            scores -= base.offsets[i : i + BLOCK]
        scores = np.where(np.isnan(scores), -np.inf, scores)
        own = np.argpartition(-scores, min(k, scores.shape[1]) - 1, axis=1)[:, :k]
        best = np.hstack([best, own + i])
        best_scores = np.hstack([best_scores, np.take_along_axis(scores, own, axis=1)])
        keep = np.argsort(-best_scores, axis=1, kind="stable")[:, :k]
        best = np.take_along_axis(best, keep, axis=1)
        best_scores = np.take_along_axis(best_scores, keep, axis=1)
        base.release()
        if stop():
            break
    return best
