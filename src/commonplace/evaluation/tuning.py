"""Tuning: choose the ranking of a collection by a few labelled queries, and keep it only if it is better."""

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
from commonplace.evaluation.metrics import bootstrap, ndcg, randomisation_test, ties_last
from commonplace.evaluation.queries import JudgedQuery, LabelledQuery, judge_queries, load_queries
from commonplace.i18n import _, ngettext
from commonplace.retrieval import LEXICAL, METHODS, Calibration, ChannelScores, Ranking, fuse
from commonplace.types import stable_id

if TYPE_CHECKING:
    from commonplace.collection import Collection

__all__ = ["Tuning", "feedback_queries", "tune"]

FEWEST = 10
"""Labelled queries below which no choice is better than a guess."""
SIGNIFICANT = 0.05
FACTORS = (0.0, 0.25, 0.5, 2.0, 4.0)  # a channel's weight times one of these
BIASES = (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0)  # log-odds for pictures
TEMPERATURES = (0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 3.0)
SHIFTS = tuple(np.arange(-3, 3.25, 0.25).tolist())
CAUTION = 0.002
"""The nDCG that each further change must gain on the training queries, so that needless changes are not made."""
SWEEPS = 2
TOP = 10  # first hits of a channel that are compared with those of another
LEAST_EXPECTED = 3.0  # common hits expected by chance, over all queries, below which two channels are not compared


@dataclass(frozen=True, slots=True)
class Tuning:
    """The result of tuning. Each nDCG@``k`` in [0, 1] comes from cross-validation, that is, from held-out queries.

    ``before`` and ``after`` are means over ``queries``; ``low`` and ``high`` bound their difference (95% bootstrap
    interval), and ``p`` is the p-value of a one-sided paired randomisation test. ``kept``: whether ``ranking`` was
    stored. ``broken``: channels that it leaves out because their hits have nothing in common with those of others.
    """

    ranking: Ranking
    queries: int
    k: int
    before: float
    after: float
    low: float
    high: float
    p: float
    kept: bool
    broken: tuple[str, ...] = ()

    def __str__(self) -> str:
        change = _("nDCG@{k} {before:.3f} -> {after:.3f} on {queries} queries held out in turn").format(
            k=self.k, before=self.before, after=self.after, queries=self.queries
        )
        change += _(" (change {low:+.3f} to {high:+.3f}, p = {p:.3f})").format(low=self.low, high=self.high, p=self.p)
        if self.broken:
            change += _("; left out because no other channel agrees: {broken}").format(broken=", ".join(self.broken))
        if self.kept:
            return _("{change}: kept {ranking}").format(change=change, ranking=self.ranking.json())
        return _("{change}: not significantly better, so the ranking stays as it was").format(change=change)


@dataclass(frozen=True, slots=True)
class QueryCandidates:
    """The candidates of one query: item ids, the scores of each channel, and the relevance judgments by item id.

    ``calibration`` is that of the query; ``size`` is the number of items in the collection; ``dim`` is the number of
    dimensions of the vectors that were compared.
    """

    ids: Sequence[str]
    channels: Mapping[str, ChannelScores]
    calibration: Calibration
    size: int
    grades: Mapping[str, float]
    dim: int


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
    """Choose fusion method, weights and confidence of a collection by labelled queries; store them if better.

    ``labels`` is a JSON Lines file as for ``commonplace.evaluation.evaluate``, or a sequence of queries. The steps:

    1. If the first hits of two channels have no more in common than expected by chance, one of the two is broken. If
       nDCG without the one is significantly better than without the other, the one is left out. It is not left out if
       all channels together are better by more than a standard error.
    2. Coordinate ascent on nDCG@``k`` chooses the method and the weights. ``folds``-fold cross-validation measures the
       gain on held-out queries. The gain must be significant (one-sided paired randomisation test, p < .05).
    3. For calibrated fusion, temperature and level of the confidences are fitted (Platt 1999). Items without a label
       count as not relevant.

    A better ranking is stored with the collection, unless ``keep`` is False. Raises QueryError for fewer than 10
    queries, labels that match nothing, or a wrong number of folds. Also raises what
    ``commonplace.evaluation.load_queries`` raises.
    """
    queries = load_queries(labels) if isinstance(labels, (str, os.PathLike)) else list(labels)
    if len(queries) < FEWEST:
        raise QueryError(
            ngettext(
                "{count} labelled query is too few for tuning: label at least {fewest}",
                "{count} labelled queries are too few for tuning: label at least {fewest}",
                len(queries),
            ).format(count=len(queries), fewest=FEWEST)
        )
    if not 2 <= folds <= len(queries):
        raise QueryError(
            _("folds is {folds}: choose 2 to {count}, the number of queries").format(folds=folds, count=len(queries))
        )
    judged_queries = judge_queries(collection.store, queries)
    cases = [candidates_of(collection, judged) for judged in _bar(judged_queries, progress)]
    tuning = choose_ranking(cases, k=k, folds=folds, seed=seed)
    if tuning.kept and keep:
        collection.ranking = tuning.ranking
    return replace(tuning, kept=tuning.kept and keep)


def feedback_queries(collection: Collection) -> list[LabelledQuery]:
    """Return the queries that users gave positive feedback on (see ``commonplace.Collection.label()``).

    Negative feedback alone gives no relevant item, so queries without positive feedback are left out.
    """
    relevant_of: dict[tuple[str | None, str | None], dict[str, float]] = {}
    for text, image, item, good in collection.labels():
        if good:
            relevant_of.setdefault((text, image), {})[item] = 1.0
    return [
        LabelledQuery(stable_id("query", text, image), relevant, text, Path(image) if image else None)
        for (text, image), relevant in relevant_of.items()
    ]


def choose_ranking(cases: Sequence[QueryCandidates], *, k: int = 10, folds: int = 5, seed: int = 0) -> Tuning:
    """Return the best ranking for these cases, judged by cross-validation; ``kept``: whether it is worth storing."""
    fold_of = np.random.default_rng(seed).permutation(len(cases)) % folds
    start = Ranking()
    before = np.array([ndcg_of(case, start, k) for case in cases])
    repaired, climbed = before.copy(), before.copy()
    for fold in range(folds):
        train = [case for case, own_fold in zip(cases, fold_of, strict=True) if own_fold != fold]
        base = _without_broken_channel(train, start, k)
        chosen = _coordinate_ascent(train, base, k)
        for i in np.flatnonzero(fold_of == fold).tolist():
            repaired[i], climbed[i] = (ndcg_of(cases[i], ranking, k) for ranking in (base, chosen))
    ranking = _without_broken_channel(cases, start, k)
    broken = tuple(channel for channel in ranking.weights if ranking.weight(channel) == 0)
    climbs = _p_value(climbed - repaired) < SIGNIFICANT
    if climbs:
        ranking = _coordinate_ascent(cases, ranking, k)
    better = climbs or bool(broken)
    if better and ranking.method == "calibrated":
        ranking = _with_fitted_confidence(cases, ranking, k)
    after = climbed if climbs or not broken else repaired
    interval = bootstrap(after - before, seed=seed)
    low, high = (interval.mean if edge is None else edge for edge in (interval.low, interval.high))
    p = _p_value(after - before)
    return Tuning(ranking, len(cases), k, float(before.mean()), float(after.mean()), low, high, p, better, broken)


def _p_value(differences: NDArray[np.float64]) -> float:
    """Return the one-sided p-value: whether the mean difference is above 0, not whether it differs from 0."""
    return randomisation_test(differences) / 2 if differences.mean() > 0 else 1.0


def _bar(judged_queries: Sequence[JudgedQuery], progress: bool | None) -> Iterable[JudgedQuery]:
    from tqdm import tqdm

    bar: Iterable[JudgedQuery] = tqdm(
        judged_queries, unit=_("query"), disable=None if progress is None else not progress
    )
    return bar


def candidates_of(collection: Collection, judged: JudgedQuery) -> QueryCandidates:
    """Return the candidates that the default search would fuse for a query."""
    query = judged.query
    ids, channels, calibration = collection.candidates(query.text, image=query.image)
    return QueryCandidates(ids, channels, calibration, collection.store.count(), judged.grades, collection.space.dim)


def _ordered(case: QueryCandidates, ranking: Ranking) -> tuple[list[int], NDArray[np.float64]]:
    """Return the indices of the candidates, best first, and the log-odds of each candidate."""
    channels = {name: channel for name, channel in case.channels.items() if ranking.weight(name) > 0}
    if not channels or not case.ids:
        return [], np.zeros(0)
    fused = fuse(channels, ranking, case.calibration, case.size)
    is_scored = np.logical_or.reduce([~np.isnan(channel.scores) for channel in channels.values()])
    order = sorted(np.flatnonzero(is_scored).tolist(), key=lambda i: (-fused.order[i], case.ids[i]))
    return order, fused.order


def ndcg_of(case: QueryCandidates, ranking: Ranking, k: int = 10) -> float:
    """Return nDCG@``k`` in [0, 1] of the candidates under a ranking."""
    order, _ = _ordered(case, ranking)
    first = order[: k + 1]
    channels = {name: channel.scores for name, channel in case.channels.items() if ranking.weight(name) > 0}
    scores = [{name: float(of[i]) for name, of in channels.items() if not math.isnan(of[i])} for i in first]
    return ndcg(ties_last([case.ids[i] for i in first], scores, case.grades, k, case.dim), case.grades, k)


def _coordinate_ascent(cases: Sequence[QueryCandidates], start: Ranking, k: int) -> Ranking:
    """Return the best ranking by coordinate ascent: the method first, then one weight after the other."""

    def value_of(ranking: Ranking) -> float:
        changes = len(ranking.weights) + len(ranking.modality_bias) + (ranking.method != start.method)
        return math.fsum(ndcg_of(case, ranking, k) for case in cases) / len(cases) - CAUTION * changes

    channels = sorted({channel for case in cases for channel in case.channels})
    image_biases = BIASES if _has_text_and_image(channels) else ()
    best = max((replace(start, method=method) for method in METHODS), key=value_of)  # type: ignore[arg-type]
    steps: list[Callable[[Ranking], list[Ranking]]] = [
        *(
            lambda ranking, channel=channel: [_weighted(ranking, channel, factor) for factor in FACTORS]
            for channel in channels
        ),
        lambda ranking: [replace(ranking, modality_bias={"image": bias}) for bias in image_biases],
    ]
    best_value = value_of(best)
    for _sweep in range(SWEEPS):
        before = best
        for step in steps:
            for ranking in step(best):
                if all(ranking.weight(channel) == 0 for channel in channels):
                    continue
                value = value_of(ranking)
                if value > best_value + 1e-12:
                    best, best_value = ranking, value
        if best == before:
            break
    return best


def _without_broken_channel(cases: Sequence[QueryCandidates], start: Ranking, k: int) -> Ranking:
    """Return ``start`` without a broken channel, if there is one: see ``tune``."""
    before = np.array([ndcg_of(case, start, k) for case in cases])
    options = [_weighted(start, channel, 0.0) for channel in _disagreeing_channels(cases)]
    channels = {channel for case in cases for channel in case.channels}
    options = [option for option in options if any(option.weight(channel) > 0 for channel in channels)]
    after = [np.array([ndcg_of(case, option, k) for case in cases]) for option in options]
    if not options:
        return start
    best, *others = sorted(range(len(options)), key=lambda i: -after[i].mean())
    if others and _p_value(after[best] - after[others[0]]) >= SIGNIFICANT:
        return start  # two channels disagree, and the labels cannot tell which one is broken
    gains = after[best] - before
    return options[best] if gains.mean() >= -gains.std() / len(gains) ** 0.5 else start


def _disagreeing_channels(cases: Sequence[QueryCandidates]) -> list[str]:
    """Return the channels whose first hits have no more in common with any other channel than expected by chance.

    "More" means by three standard deviations of a Poisson count. Only items that both channels score are compared, so
    that a channel of texts and one of pictures do not count as disagreeing.
    """
    channels = sorted({channel for case in cases for channel in case.channels})
    agreements: dict[str, list[bool]] = {channel: [] for channel in channels}
    for first, second in itertools.combinations(channels, 2):
        shared = expected = 0.0
        for case in cases:
            if first in case.channels and second in case.channels:
                pair = (case.channels[first], case.channels[second])
                both = ~np.isnan(pair[0].scores) & ~np.isnan(pair[1].scores)
                first_top, second_top = (_top(channel, both) for channel in pair)
                shared += len(first_top & second_top)
                expected += len(first_top) * len(second_top) / max(both.sum(), 1)
        if expected >= LEAST_EXPECTED:
            agree = shared - expected > 3 * expected**0.5
            agreements[first].append(agree)
            agreements[second].append(agree)
    return [channel for channel in channels if agreements[channel] and not any(agreements[channel])]


def _top(channel: ChannelScores, comparable: NDArray[np.bool_]) -> set[int]:
    """Return the first TOP candidates in the channel's list among the ``comparable`` ones."""
    listed = np.flatnonzero(comparable & (channel.ranks > 0))
    return set(listed[np.argsort(channel.ranks[listed])][:TOP].tolist())


def _weighted(ranking: Ranking, channel: str, factor: float) -> Ranking:
    return replace(ranking, weights={**ranking.weights, channel: min(ranking.weight(channel) * factor, 1e3)})


def _has_text_and_image(channels: Iterable[str]) -> bool:
    views = {"text" if channel == LEXICAL else channel.split("->")[-1] for channel in channels}
    return views >= {"text", "image"}


def _with_fitted_confidence(cases: Sequence[QueryCandidates], ranking: Ranking, k: int) -> Ranking:
    """Return the ranking with the temperature and level of its confidences fitted to the labels (least log loss)."""
    log_odds, relevant = [], []
    for case in cases:
        order, totals = _ordered(case, ranking)
        for i in order[:k]:
            log_odds.append(totals[i])
            relevant.append(case.ids[i] in case.grades)
    x, y = np.array(log_odds), np.array(relevant)

    def loss(temperature: float, shift: float) -> float:
        z = (x + shift) / temperature
        return float(np.mean(np.logaddexp(0, z) - y * z))

    temperature, shift = min(itertools.product(TEMPERATURES, SHIFTS), key=lambda pair: loss(*pair))
    biases = {view: ranking.modality_bias.get(view, 0.0) + shift for view in ("text", "image")}
    nonzero = {view: bias for view, bias in biases.items() if bias}
    return replace(ranking, temperature=temperature, modality_bias=nonzero)
