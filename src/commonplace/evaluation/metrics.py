"""Measures of a ranked list, bootstrap intervals of their means, and a paired significance test.

A ranked list is a sequence of distinct ids, best first. Grades map relevant ids to numbers > 0; other ids are not
relevant. All measures lie in [0, 1]. A list may be shorter than ``k``: missing places count as not relevant.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from commonplace.errors import QueryError
from commonplace.i18n import _

__all__ = [
    "Interval",
    "bootstrap",
    "modality_share",
    "ndcg",
    "randomisation_test",
    "recall",
    "reciprocal_rank",
    "right_modality",
    "rounding",
    "ties_last",
]

ROUNDS = 2000
BLOCK = 4_000_000  # numbers drawn at a time


def recall(ranked: Sequence[str], grades: Mapping[str, float], k: int) -> float:
    """Return the share of the relevant ids that stand in the first ``k`` (trec_eval's ``recall_k``).

    With more than ``k`` relevant ids it cannot reach 1. Raises QueryError where ``k`` < 1, an id comes twice or
    nothing is relevant.
    """
    _check(ranked, grades, k)
    return sum(name in grades for name in ranked[:k]) / len(grades)


def ndcg(
    ranked: Sequence[str],
    grades: Mapping[str, float],
    k: int,
    *,
    gains: Literal["linear", "exponential"] = "linear",
) -> float:
    """Return the normalised discounted cumulative gain of the first ``k``.

    DCG@k = sum over ranks i = 1..k of gain(grade_i) / log2(i + 1), divided by that of the best possible order
    (Järvelin and Kekäläinen 2002, with the discount of Burges et al. 2005). ``linear`` gains are the grades
    themselves, as in trec_eval's ``ndcg_cut_k``; ``exponential`` ones are 2^grade - 1 (Burges et al. 2005).
    Raises QueryError as ``recall``.
    """
    _check(ranked, grades, k)
    if gains not in ("linear", "exponential"):
        raise QueryError(_("gains is {gains!r}: choose linear or exponential").format(gains=gains))
    best = max(grades.values())

    def gain(grade: float) -> float:
        # Both are divided by a constant that cancels out (best, 2^best), so that no grade overflows.
        return grade / best if gains == "linear" else -math.expm1(-grade * math.log(2)) * 2.0 ** (grade - best)

    gained = [gain(grades[name]) if name in grades else 0.0 for name in ranked[:k]]
    ideal = [gain(grade) for grade in sorted(grades.values(), reverse=True)[:k]]
    return min(_discounted(gained) / _discounted(ideal), 1.0)


def _discounted(gains: Sequence[float]) -> float:
    return math.fsum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))


def reciprocal_rank(ranked: Sequence[str], grades: Mapping[str, float], k: int) -> float:
    """Return 1 / the rank (from 1) of the first relevant id, 0 where the first ``k`` hold none.

    Its mean is the MRR (Voorhees 1999; trec_eval's ``recip_rank`` of a list cut at ``k``). Raises QueryError as
    ``recall``.
    """
    _check(ranked, grades, k)
    return next((1 / rank for rank, name in enumerate(ranked[:k], start=1) if name in grades), 0.0)


def right_modality(modalities: Sequence[str], wanted: Collection[str]) -> float | None:
    """Return 1 where the first hit has the wanted modality, 0 where it has not or nothing was found.

    ``modalities`` are those of the hits, best first; ``wanted`` those of the most relevant items. None where these
    are of several modalities, so that none of them is the right one. The mean is the modality accuracy.
    """
    if len(set(wanted)) != 1:
        return None
    return float(bool(modalities) and modalities[0] in wanted)


def modality_share(modalities: Sequence[str], modality: str, k: int) -> float | None:
    """Return the share of ``modality`` among the first ``k`` hits; None where there are no hits."""
    first = modalities[:k]
    return sum(hit_modality == modality for hit_modality in first) / len(first) if first else None


def rounding(dim: int) -> float:
    """Return how far apart two scores may lie that are equal but for rounding: inner products of unit rows (dim,).

    The error of a float32 product of n terms stays below L sqrt(n) u, u = 2^-24, but for a probability of about
    2 exp(-L^2 / 2) (Higham and Mary 2019). With L = 4 for each of the two scores that is 4 sqrt(dim) 2^-23: 9.3e-6 for
    384 dimensions. Which products differ at all, and by how much, depends on the processor's instructions.
    """
    return 4 * math.sqrt(dim) * float(np.finfo(np.float32).eps)


def ties_last(
    ranked: Sequence[str], scores: Sequence[Mapping[str, float]], grades: Mapping[str, float], k: int, dim: int
) -> list[str]:
    """Return the first ``k`` ids as measures should see them: of ids that tie, the least relevant comes first.

    ``scores`` are the raw scores of each id by channel. Ids that follow each other tie where all of these are equal
    within ``rounding`` of ``dim`` (relative to scores above 1). A tie that goes on after ``k`` hides which of its
    ids belong to the first ``k``: relevant ones of it are left out. Give more than ``k`` ids where there are more.
    """
    limit = rounding(dim)

    def same(first: Mapping[str, float], other: Mapping[str, float]) -> bool:
        return first.keys() == other.keys() and all(
            math.isclose(score, other[channel], rel_tol=limit, abs_tol=limit) for channel, score in first.items()
        )

    ordered: list[str] = []
    start = 0
    while start < min(k, len(ranked)):
        end = start + 1
        while end < len(ranked) and same(scores[start], scores[end]):
            end += 1
        group = sorted(ranked[start:end], key=lambda name: grades.get(name, 0.0))
        cut = end > k
        ordered += [name for name in group if not (cut and name in grades)]
        start = end
    return ordered[:k]


def _check(ranked: Sequence[str], grades: Mapping[str, float], k: int) -> None:
    if k < 1:
        raise QueryError(_("k is {k}: ask for at least one hit").format(k=k))
    if not grades:
        raise QueryError(_("nothing is relevant: a query needs at least one relevant item"))
    if not all(grade > 0 and math.isfinite(grade) for grade in grades.values()):
        raise QueryError(_("a grade is no finite number above 0: leave out what is not relevant"))
    if len(set(ranked)) < len(ranked):
        raise QueryError(_("a ranked list holds an id twice: each may stand in it once"))


# --- uncertainty ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over ``count`` queries with its confidence limits, which are None if ``count`` < 2."""

    mean: float
    low: float | None
    high: float | None
    count: int

    def dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return {"mean": self.mean, "low": self.low, "high": self.high, "count": self.count}


def bootstrap(values: ArrayLike, *, confidence: float = 0.95, rounds: int = ROUNDS, seed: int = 0) -> Interval:
    """Return the mean of ``values`` (n,), one per query, with its percentile bootstrap interval.

    The queries are resampled with replacement ``rounds`` times (Efron and Tibshirani 1993, chapter 13). To compare two
    runs, give the differences by query: the interval is then paired (Sakai 2006). One value has no limits.
    Deterministic for a ``seed``. Raises QueryError for no values, values that are not finite, fewer than 100
    rounds or a confidence outside (0, 1).
    """
    numbers = _finite(values)
    if not 0 < confidence < 1:
        raise QueryError(_("confidence is {confidence}: it must be between 0 and 1").format(confidence=confidence))
    if rounds < 100:
        raise QueryError(_("rounds is {rounds}: a bootstrap needs at least 100").format(rounds=rounds))
    count = len(numbers)
    mean = math.fsum(numbers) / count
    if count < 2:
        return Interval(mean, None, None, count)
    random = np.random.default_rng(seed)
    means = np.empty(rounds)
    step = max(1, BLOCK // count)
    for start in range(0, rounds, step):
        drawn = random.integers(0, count, (min(step, rounds - start), count))
        means[start : start + step] = numbers[drawn].mean(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(mean, float(low), float(high), count)


def randomisation_test(differences: ArrayLike, *, rounds: int = ROUNDS, seed: int = 0) -> float:
    """Return the two-sided p-value of a paired randomisation test over ``differences`` (n,), one per query.

    Were the two runs alike, each difference could as well have the other sign: p is the share of sign patterns whose
    mean is at least as far from 0 (Fisher 1935; for retrieval Smucker, Allan and Carterette 2007). All 2^n patterns
    are tried where they are no more than ``rounds``; else ``rounds`` random ones are drawn and the observed one is
    counted with them, so that p is never 0 (Phipson and Smyth 2010). In (0, 1]; deterministic for a ``seed``.
    Raises QueryError for no differences, differences that are not finite, or fewer than 100 rounds.
    """
    numbers = _finite(differences)
    if rounds < 100:
        raise QueryError(_("rounds is {rounds}: the test needs at least 100").format(rounds=rounds))
    count = len(numbers)
    limit = abs(numbers.sum()) - 1e-9 * np.abs(numbers).sum()  # sums of the same numbers differ in their last digits
    if count < 63 and 2**count <= rounds:
        patterns = np.arange(2**count)[:, None] >> np.arange(count) & 1
        return float((np.abs((1 - 2 * patterns) @ numbers) >= limit).mean())
    random = np.random.default_rng(seed)
    extreme = 0
    step = max(1, BLOCK // count)
    for start in range(0, rounds, step):
        signs = 1 - 2 * random.integers(0, 2, (min(step, rounds - start), count), dtype=np.int8)
        extreme += int((np.abs(signs @ numbers) >= limit).sum())
    return (extreme + 1) / (rounds + 1)


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not len(numbers):
        raise QueryError(_("there are no values: give one number per query"))
    if not np.isfinite(numbers).all():
        raise QueryError(_("a value is not a finite number: leave out queries that have none"))
    return numbers
