"""Find the ranking that suits a collection from a few labelled questions, and keep it only where it is better."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from commonplace.errors import QueryError
from commonplace.evaluation.metrics import bootstrap, ndcg, randomisation_test
from commonplace.evaluation.queries import Bound, LabelledQuery, bind, load_queries
from commonplace.retrieval import LEXICAL, METHODS, Calibration, ChannelScores, Ranking, fuse
from commonplace.types import stable_id

if TYPE_CHECKING:
    from commonplace.collection import Collection

__all__ = ["Tuning", "thumbs", "tune"]

FEWEST = 10
"""Labelled questions below which no choice is better than a guess."""
SIGNIFICANT = 0.05
FACTORS = (0.0, 0.25, 0.5, 2.0, 4.0)  # an channel's weight times one of these
BIASES = (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0)  # log-odds for pictures
TEMPERATURES = (0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 3.0)
SHIFTS = tuple(np.arange(-3, 3.25, 0.25).tolist())
CAUTION = 0.002
"""nDCG that a further change has to earn on the questions it is chosen by: what is not needed stays as it was."""
SWEEPS = 2
TOP = 10  # hits of an channel that are compared with another's
LEAST_EXPECTED = 3.0  # hits in common by chance, over all questions, below which two channels are not compared


@dataclass(frozen=True, slots=True)
class Tuning:
    """What tuning found. nDCG@``k`` in [0, 1] is that of questions a ranking was not chosen by (cross-validated).

    ``before`` and ``after`` are means over ``questions``; ``low`` and ``high`` bound their difference (95% bootstrap
    interval), ``p`` is that of a one-sided paired randomisation test. ``kept``: whether ``ranking`` was stored.
    ``broken``: channels that it leaves out because what they find has nothing in common with what others find.
    """

    ranking: Ranking
    questions: int
    k: int
    before: float
    after: float
    low: float
    high: float
    p: float
    kept: bool
    broken: tuple[str, ...] = ()

    def __str__(self) -> str:
        change = f"nDCG@{self.k} {self.before:.3f} -> {self.after:.3f} on {self.questions} questions held out in turn"
        change += f" (change {self.low:+.3f} to {self.high:+.3f}, p = {self.p:.3f})"
        if self.broken:
            change += f"; {', '.join(self.broken)} agrees with no other channel and is worse alone"
        if self.kept:
            return f"{change}: kept {self.ranking.json()}"
        return f"{change}: not surely better, so the ranking stays as it was"


@dataclass(frozen=True, slots=True)
class Case:
    """A question's candidates: item ids, what each channel says of them and is worth for this question, and the
    grades."""

    ids: Sequence[str]
    channels: Mapping[str, ChannelScores]
    evidence: Calibration
    size: int
    grades: Mapping[str, float]


def tune(
    collection: Collection,
    labels: str | os.PathLike[str] | Sequence[LabelledQuery],
    *,
    k: int = 10,
    folds: int = 5,
    seed: int = 0,
    keep: bool = True,
    progress: bool | None = None,
) -> Tuning:
    """Choose method, weights and confidence for a collection by labelled questions; store them if they are better.

    ``labels`` is a JSON Lines file as for :func:`commonplace.evaluation.evaluate`, or questions. Two channels whose
    first hits have no more in common than chance gives: one of them is broken. Where the labels are answered
    significantly better without the one than without the other, it is left out, unless that is worse than all
    channels together by more than a standard error. From there coordinate ascent on nDCG@``k`` chooses;
    ``folds``-fold cross-validation judges the way of choosing, so that the questions it is judged by had no say, and
    its gain has to be significant (one-sided paired randomisation test, p < .05). What is better is stored with the
    collection (``keep``). For fusion by evidence, temperature and level of the confidences are fitted as well (Platt
    1999); items without a label count as not relevant.

    Raises QueryError for fewer than 10 questions, labels that name nothing, and as
    :func:`commonplace.evaluation.load_queries`.
    """
    asked = load_queries(labels) if isinstance(labels, (str, os.PathLike)) else list(labels)
    if len(asked) < FEWEST:
        count = "1 labelled question is" if len(asked) == 1 else f"{len(asked)} labelled questions are"
        raise QueryError(f"{count} too few to tune by: label at least {FEWEST}")
    if not 2 <= folds <= len(asked):
        raise QueryError(f"folds is {folds}: choose 2 to the number of questions")
    bound = bind(collection.store, asked)
    cases = [case_of(collection, one) for one in _bar(bound, progress)]
    found = judged(cases, k=k, folds=folds, seed=seed)
    if found.kept and keep:
        collection.ranking = found.ranking
    return replace(found, kept=found.kept and keep)


def thumbs(collection: Collection) -> list[LabelledQuery]:
    """Return the questions that thumbs up and down were given to; those without any thumb up say nothing to rank by."""
    found: dict[tuple[str | None, str | None], dict[str, float]] = {}
    for text, image, item, good in collection.labels():
        if good:
            found.setdefault((text, image), {})[item] = 1.0
    return [
        LabelledQuery(stable_id("question", text, image), relevant, text, Path(image) if image else None)
        for (text, image), relevant in found.items()
    ]


def judged(cases: Sequence[Case], *, k: int = 10, folds: int = 5, seed: int = 0) -> Tuning:
    """Return the ranking chosen by these cases, judged by cross-validation; ``kept``: whether it is worth keeping."""
    own = np.random.default_rng(seed).permutation(len(cases)) % folds
    start = Ranking()
    before = np.array([worth(case, start, k) for case in cases])
    sound, climbed = before.copy(), before.copy()
    for fold in range(folds):
        train = [case for case, f in zip(cases, own, strict=True) if f != fold]
        base = _sound(train, start, k)
        chosen = _choose(train, base, k)
        for i in np.flatnonzero(own == fold).tolist():
            sound[i], climbed[i] = (worth(cases[i], ranking, k) for ranking in (base, chosen))
    ranking = _sound(cases, start, k)
    broken = tuple(channel for channel in ranking.weights if ranking.weight(channel) == 0)
    climbs = _p(climbed - sound) < SIGNIFICANT
    if climbs:
        ranking = _choose(cases, ranking, k)
    better = climbs or bool(broken)
    if better and ranking.method == "calibrated":
        ranking = _confident(cases, ranking, k)
    after = climbed if climbs or not broken else sound
    interval = bootstrap(after - before, seed=seed)
    low, high = (interval.mean if edge is None else edge for edge in (interval.low, interval.high))
    p = _p(after - before)
    return Tuning(ranking, len(cases), k, float(before.mean()), float(after.mean()), low, high, p, better, broken)


def _p(differences: NDArray[np.float64]) -> float:
    """Return the one-sided p-value: the question is whether it is better, not whether it differs."""
    return randomisation_test(differences) / 2 if differences.mean() > 0 else 1.0


def _bar(bound: Sequence[Bound], progress: bool | None) -> Iterable[Bound]:
    from tqdm import tqdm

    bar: Iterable[Bound] = tqdm(bound, unit="question", disable=None if progress is None else not progress)
    return bar


def case_of(collection: Collection, bound: Bound) -> Case:
    """Return what the default search would fuse for a question tied to the collection's items."""
    one = bound.question
    ids, channels, evidence = collection.candidates(one.text, image=one.image)
    return Case(ids, channels, evidence, collection.store.count(), bound.grades)


def _ordered(case: Case, ranking: Ranking) -> tuple[list[int], NDArray[np.float64]]:
    """Return the candidates by place, best first, and the log-odds of each."""
    channels = {name: channel for name, channel in case.channels.items() if ranking.weight(name) > 0}
    if not channels or not case.ids:
        return [], np.zeros(0)
    fused = fuse(channels, ranking, case.evidence, case.size)
    has = np.logical_or.reduce([~np.isnan(channel.scores) for channel in channels.values()])
    order = sorted(np.flatnonzero(has).tolist(), key=lambda i: (-fused.order[i], case.ids[i]))
    return order, fused.order


def worth(case: Case, ranking: Ranking, k: int = 10) -> float:
    """Return the case's nDCG@``k`` under a ranking, in [0, 1]."""
    order, _ = _ordered(case, ranking)
    return ndcg([case.ids[i] for i in order[:k]], case.grades, k)


def _choose(cases: Sequence[Case], start: Ranking, k: int) -> Ranking:
    """Return the best ranking that coordinate ascent finds: the method first, then one weight after the other."""

    def value_of(ranking: Ranking) -> float:
        changes = len(ranking.weights) + len(ranking.modality_bias) + (ranking.method != start.method)
        return math.fsum(worth(case, ranking, k) for case in cases) / len(cases) - CAUTION * changes

    channels = sorted({channel for case in cases for channel in case.channels})
    best = max((replace(start, method=method) for method in METHODS), key=value_of)  # type: ignore[arg-type]
    steps: list[Callable[[Ranking], list[Ranking]]] = [
        *(
            lambda ranking, channel=channel: [_weighted(ranking, channel, factor) for factor in FACTORS]
            for channel in channels
        ),
        lambda ranking: (
            [replace(ranking, modality_bias={"image": gift}) for gift in BIASES] if _mixed(channels) else []
        ),
    ]
    best_worth = value_of(best)
    for _ in range(SWEEPS):
        before = best
        for step in steps:
            for ranking in step(best):
                if all(ranking.weight(channel) == 0 for channel in channels):
                    continue
                value = value_of(ranking)
                if value > best_worth + 1e-12:
                    best, best_worth = ranking, value
        if best == before:
            break
    return best


def _sound(cases: Sequence[Case], start: Ranking, k: int) -> Ranking:
    """Return ``start`` without a broken channel, if there is one: see :func:`tune`."""
    before = np.array([worth(case, start, k) for case in cases])
    options = [_weighted(start, channel, 0.0) for channel in _strangers(cases)]
    options = [one for one in options if any(one.weight(channel) > 0 for case in cases for channel in case.channels)]
    after = [np.array([worth(case, one, k) for case in cases]) for one in options]
    if not options:
        return start
    best, *others = sorted(range(len(options)), key=lambda at: -after[at].mean())
    if others and _p(after[best] - after[others[0]]) >= SIGNIFICANT:
        return start  # two that disagree, and the labels cannot tell which of them is wrong
    gains = after[best] - before
    return options[best] if gains.mean() >= -gains.std() / len(gains) ** 0.5 else start


def _strangers(cases: Sequence[Case]) -> list[str]:
    """Return the channels whose first hits have no more in common with any other channel's than chance gives.

    Only items that both channels can score are compared, so that words and pictures of different items do not count as
    strangers. "More": by three standard deviations of a Poisson count.
    """
    channels = sorted({channel for case in cases for channel in case.channels})
    alike: dict[str, list[bool]] = {channel: [] for channel in channels}
    for one, other in itertools.combinations(channels, 2):
        shared = expected = 0.0
        for case in cases:
            if one in case.channels and other in case.channels:
                pair = (case.channels[one], case.channels[other])
                both = ~np.isnan(pair[0].scores) & ~np.isnan(pair[1].scores)
                first, second = (_first(channel, both) for channel in pair)
                shared += len(first & second)
                expected += len(first) * len(second) / max(both.sum(), 1)
        if expected >= LEAST_EXPECTED:
            agree = shared - expected > 3 * expected**0.5
            alike[one].append(agree)
            alike[other].append(agree)
    return [channel for channel in channels if alike[channel] and not any(alike[channel])]


def _first(channel: ChannelScores, among: NDArray[np.bool_]) -> set[int]:
    """Return the first TOP of the candidates ``among`` that the channel lists."""
    listed = np.flatnonzero(among & (channel.ranks > 0))
    return set(listed[np.argsort(channel.ranks[listed])][:TOP].tolist())


def _weighted(ranking: Ranking, channel: str, factor: float) -> Ranking:
    return replace(ranking, weights={**ranking.weights, channel: min(ranking.weight(channel) * factor, 1e3)})


def _mixed(channels: Iterable[str]) -> bool:
    views = {"text" if channel == LEXICAL else channel.split("->")[-1] for channel in channels}
    return views >= {"text", "image"}


def _confident(cases: Sequence[Case], ranking: Ranking, k: int) -> Ranking:
    """Return the ranking with temperature and level of its confidences fitted to the labels (least log loss)."""
    odds, relevant = [], []
    for case in cases:
        order, totals = _ordered(case, ranking)
        for i in order[:k]:
            odds.append(totals[i])
            relevant.append(case.ids[i] in case.grades)
    x, y = np.array(odds), np.array(relevant)

    def loss(temperature: float, shift: float) -> float:
        z = (x + shift) / temperature
        return float(np.mean(np.logaddexp(0, z) - y * z))

    temperature, shift = min(((t, s) for t in TEMPERATURES for s in SHIFTS), key=lambda at: loss(*at))
    biases = {view: ranking.modality_bias.get(view, 0.0) + shift for view in ("text", "image")}
    return replace(ranking, temperature=temperature, modality_bias={v: g for v, g in biases.items() if g})
