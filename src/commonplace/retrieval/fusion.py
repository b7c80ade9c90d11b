"""Late fusion of several ranked lists into one. An item is not penalised for views that it does not have."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from commonplace.channels import BOTH, CHANGED_TO_IMAGE, ITEM, known_modalities, modality_of
from commonplace.errors import QueryError
from commonplace.i18n import _
from commonplace.retrieval.calibration import LEXICAL, Calibration
from commonplace.retrieval.lookups import Lookup
from commonplace.store import RankedList
from commonplace.types import IMAGE, TEXT, ScoreComponent

__all__ = ["METHODS", "ChannelScores", "Fused", "Ranking", "fuse", "weighted_mean"]

METHODS = ("calibrated", "rrf")
NEGATIVE = "not "
"""Prefix of the channels of a negative query part."""
Floats = NDArray[np.float64]
DUPLICATE_LOG_ODDS = 5.0
"""Minimum log-odds of a near-duplicate of the query picture, if the query is only a picture, or asks about it."""
UNCHANGED_LOG_ODDS = -7.0
"""Maximum log-odds of a near-duplicate of the query picture, if words change it: it was not changed."""
NAMED_LOG_ODDS = 2.2
"""Minimum log-odds by meaning of a file whose name is the query."""
AHEAD = 0.1
"""By how much, in log-odds, such a file is ahead of what is found by meaning."""
MIN_DENSITY = 0.01
"""Lower limit of a view's mean likelihood ratio in the density term."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """The parameters of ranking: how a query is searched and how its lists are fused.

    Raises QueryError for values out of range.

    - ``method``: ``calibrated`` adds the log-odds of the channels (``commonplace.retrieval.Calibration``); ``rrf``
      averages 1 / (``rrf_k`` + rank) (Cormack, Clarke and Büttcher 2009).
    - ``weights``: by channel. The default is 1; 0 leaves the channel out.
    - ``modality_bias``: by modality of the matching view (``text``, ``image``), a number of log-odds that is added.
      Only for ``calibrated``.
    - ``question``: ``late`` searches words and picture in separate channels. ``sum`` and ``slerp`` combine them into
      one vector, in which the picture has the weight ``picture_weight``.
    - ``views``: ``separate`` views of an item, or one vector per item: ``fused`` (``alpha`` text +
      (1 - ``alpha``) image) or ``concat``.
    - ``depth``: the number of hits taken from each channel.
    - ``negative_weight``: the weight of the negative part of a query.
    - ``temperature``: values above 1 make confidences more cautious.
    - ``collapse``: show near-duplicates as one hit.
    - ``diversity`` in [0, 1): the penalty for similarity to better hits (maximal marginal relevance, Carbonell
      and Goldstein 1998); 0 keeps the order.
    """

    method: Literal["calibrated", "rrf"] = "calibrated"
    rrf_k: int = 60
    weights: Mapping[str, float] = field(default_factory=dict)
    modality_bias: Mapping[str, float] = field(default_factory=dict)
    question: Literal["late", "sum", "slerp"] = "late"
    picture_weight: float = 0.5
    views: Literal["separate", "fused", "concat"] = "separate"
    alpha: float = 0.5
    depth: int = 100
    negative_weight: float = 1.0
    temperature: float = 1.0
    collapse: bool = True
    diversity: float = 0.0

    def __post_init__(self) -> None:
        _one_of("method", self.method, METHODS)
        _one_of("question", self.question, ("late", "sum", "slerp"))
        _one_of("views", self.views, ("separate", "fused", "concat"))
        for name, low, high in (
            ("picture_weight", 0, 1),
            ("alpha", 0, 1),
            ("negative_weight", 0, 1e6),
            ("temperature", 1e-3, 1e3),
            ("diversity", 0, 0.999),
        ):
            _between(name, getattr(self, name), low, high)
        for name, low, high in (("rrf_k", 0, 1_000_000), ("depth", 1, 10_000)):
            if not isinstance(getattr(self, name), int) or not low <= getattr(self, name) <= high:
                raise QueryError(
                    _("{name} is {value}: it must be a whole number, {low} to {high}").format(
                        name=name, value=getattr(self, name), low=low, high=high
                    )
                )
        for channel, weight in self.weights.items():
            _between(_("the weight of {channel}").format(channel=channel), weight, 0, 1e6)
        for modality, bias in self.modality_bias.items():
            _one_of("modality_bias", modality, known_modalities())
            _between(_("the modality_bias of {modality}").format(modality=modality), bias, -100, 100)

    def json(self) -> str:
        """Return the ranking as a JSON object of the values that differ from the default."""
        default = Ranking()
        values = {setting.name: getattr(self, setting.name) for setting in fields(self)}
        return json.dumps({name: value for name, value in values.items() if value != getattr(default, name)})

    @classmethod
    def from_json(cls, text: str | None) -> Ranking:
        """Return the ranking from the result of ``json()``; the default for None. Raises QueryError."""
        try:
            return cls(**json.loads(text or "{}"))
        except (AttributeError, RecursionError, TypeError, ValueError) as problem:
            raise QueryError(
                _("the stored ranking cannot be used ({problem}): tune again, or reset it").format(problem=problem)
            ) from problem

    @property
    def fuses_late(self) -> bool:
        """Whether the parts of a query and the views of an item have separate channels, whose evidence is added."""
        return (self.method, self.question, self.views) == ("calibrated", "late", "separate")

    def weight(self, channel: str) -> float:
        """Return the weight of ``channel``."""
        return self.weights.get(channel, 1.0)


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise QueryError(
            _("{name} is {value!r}: choose one of {allowed}").format(name=name, value=value, allowed=", ".join(allowed))
        )


def _between(name: str, value: Any, low: float, high: float) -> None:
    if not isinstance(value, (int, float)) or not low <= value <= high:
        raise QueryError(
            _("{name} is {value}: it must be a number from {low:g} to {high:g}").format(
                name=name, value=value, low=low, high=high
            )
        )


@dataclass(frozen=True, slots=True)
class ChannelScores:
    """The scores and ranks of a channel for all candidates (n,).

    ``scores`` are raw scores; NaN if an item has no such view. ``ranks`` are the ranks in the channel's list
    ``ranked``, from 1; 0 if the item is not listed. ``lookup``, of the lexical channel: what the query finds
    as written.
    """

    ranked: RankedList
    scores: Floats
    ranks: NDArray[np.int64]
    lookup: Lookup | None = None

    def of(self, chosen: NDArray[np.int64]) -> ChannelScores:
        """Return the scores of the candidates at these indices (m,)."""
        lookup = self.lookup and self.lookup.of(chosen)
        return ChannelScores(self.ranked, self.scores[chosen], self.ranks[chosen], lookup)


@dataclass(frozen=True, slots=True)
class _Lines:
    """The score breakdowns of all candidates: weights (n,) by channel, and contributions (n,) by line."""

    weights: dict[str, Floats]
    contributions: dict[str, Floats]

    @property
    def total(self) -> Floats:
        return sum(self.contributions.values(), np.zeros(1))


class Fused:
    """The candidates' scores and confidences (n,), and the score breakdown of each. Higher is better.

    ``order`` (n,) is the sort key: log-odds, or the score itself for ``rrf``. Unlike probabilities, log-odds do not
    round to 0 or 1.
    """

    def __init__(
        self,
        channels: Mapping[str, ChannelScores],
        ranking: Ranking,
        calibration: Calibration,
        items: int,
        near_duplicates: NDArray[np.bool_] | None,
        own_picture_fits: bool,
    ) -> None:
        self._channels = channels
        self._ranking = ranking
        lines = _add_log_odds(channels, ranking, calibration, items)
        if near_duplicates is not None:
            if own_picture_fits:
                shift = np.maximum(DUPLICATE_LOG_ODDS - lines.total, 0.0)
            else:
                shift = np.minimum(UNCHANGED_LOG_ODDS - lines.total, 0.0)
            lines.contributions["near_duplicate"] = np.where(near_duplicates, shift, 0.0)
        total = lines.total
        self.confidence = _sigmoid(total / ranking.temperature)
        if not self.calibrated:
            values = {name: _reciprocal_ranks(channel, ranking.rrf_k) for name, channel in channels.items()}
            lines = weighted_mean(channels, ranking, values)
        self._lines = lines
        self.order = lines.total

    @property
    def calibrated(self) -> bool:
        """Whether the score is the confidence: the probability that the item is relevant."""
        return self._ranking.method == "calibrated"

    def score(self, breakdown: tuple[ScoreComponent, ...]) -> float:
        """Return the score in [0, 1] that follows from a score breakdown."""
        total = math.fsum(line.contribution for line in breakdown)
        if not self.calibrated:
            return total
        return float(_sigmoid(np.array(total / self._ranking.temperature)))

    def breakdown(self, i: int) -> tuple[ScoreComponent, ...]:
        """Return the score breakdown of candidate ``i``: a line for each channel, then the general lines."""
        lines = []
        for name, contributions in self._lines.contributions.items():
            contribution = float(contributions[i])
            channel = self._channels.get(name)
            if channel is None:
                if contribution:
                    lines.append(ScoreComponent(name, contribution, 0, 1.0, contribution))
            elif not math.isnan(channel.scores[i]):
                weight = float(self._lines.weights[name][i])
                score, rank = float(channel.scores[i]), int(channel.ranks[i])
                lines.append(ScoreComponent(name, score, rank, weight, contribution))
        return tuple(lines)


def fuse(
    channels: Mapping[str, ChannelScores],
    ranking: Ranking,
    calibration: Calibration,
    items: int,
    near_duplicates: NDArray[np.bool_] | None = None,
    *,
    own_picture_fits: bool = True,
) -> Fused:
    """Fuse the scores of all channels and return the fused candidates.

    ``items`` is the number of searched items. ``near_duplicates`` (n,) marks candidates that are near-duplicates of the
    query picture. They are relevant if the query is only the picture or asks about it (``own_picture_fits``), and
    irrelevant if its words change the picture.

    For each part of the query (words, picture), the score of an item is that of its best view. A picture is penalised
    neither for an unrelated caption nor for a missing one. A channel without a view of the item (a score of NaN) has no
    effect. Any other channel contributes its score, even if the item is not on its list.
    """
    return Fused(channels, ranking, calibration, items, near_duplicates, own_picture_fits)


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -700, 700))), np.float64)


Parts = dict[str, dict[str, list[str]]]


def _parts(channels: Iterable[str]) -> Parts:
    """Return the names of channels by part of the query, and then by the view that they search.

    The lexical channel belongs to the words of the query and to the text view of items.
    """
    parts: Parts = {}
    names = list(channels)
    dense = [name.partition("->") for name in names if not name.endswith(LEXICAL)]
    for name in names:
        part, _, view = name.partition("->")
        if name.endswith(LEXICAL):
            prefix = name.removesuffix(LEXICAL)
            composed = any(other == f"{prefix}{BOTH}" for other, _, _ in dense)
            part = f"{prefix}{BOTH if composed else TEXT}"
            view = ITEM if any(other == ITEM for _, _, other in dense) else TEXT
        parts.setdefault(part, {}).setdefault(view, []).append(name)
    return parts


def _part_weights(parts: Sequence[str], picture_weight: float) -> dict[str, float]:
    """Return the weight of each part of a query; the mean is 1.

    The words of a query have the weight 1 - ``picture_weight``, any other part ``picture_weight``.
    """
    weights = {part: 1 - picture_weight if part in (TEXT, BOTH) else picture_weight for part in parts}
    total = sum(weights.values())
    if len(parts) < 2 or not total:
        return dict.fromkeys(parts, 1.0)
    return {part: len(parts) * weight / total for part, weight in weights.items()}


def _add_log_odds(
    channels: Mapping[str, ChannelScores], ranking: Ranking, calibration: Calibration, items: int
) -> _Lines:
    """Return the breakdowns of the calibrated method. Their sum is the log-odds that the item is relevant."""
    n = len(next(iter(channels.values())).scores)
    changed = channels.get(CHANGED_TO_IMAGE)
    parts = _parts(name for name in channels if name != CHANGED_TO_IMAGE)
    wanted = [part for part in parts if not part.startswith(NEGATIVE)]
    scales = _part_weights(wanted, ranking.picture_weight)
    lines = _Lines(
        {channel: np.zeros(n) for channel in channels},
        {channel: np.zeros(n) for channel in channels} | {"match_density": np.zeros(n), "modality_bias": np.zeros(n)},
    )
    part_sums = {}
    for part, views in parts.items():
        by_view = {
            view: _view_of(names, channels, ranking, calibration, items, match_density=part in scales)
            for view, names in views.items()
        }
        if part in scales:
            part_sums[part] = _add_part(lines, by_view, ranking.modality_bias, scales[part], n)
        else:
            _subtract_part(lines, by_view, ranking.negative_weight)
    contributions = lines.contributions
    if len(wanted) > 1:
        part_odds = [part_sums[part] + math.log(calibration.part_prior) for part in wanted]
        contributions["prior"] = np.full(n, len(wanted) * math.log(calibration.part_prior))
        contributions["together"] = _all_of(part_odds) - sum(part_odds)
    else:
        contributions["prior"] = np.full(n, math.log(calibration.expected_relevant) - math.log(items + 1))
        lexical = channels.get(LEXICAL)
        if lexical is not None and lexical.lookup is not None and ranking.weight(LEXICAL) > 0:
            contributions["as_written"] = _as_written(lexical.lookup, lines.total, calibration)
    if changed is not None:
        _set_changed(lines, changed, ranking, calibration, items)
    return lines


def _set_changed(lines: _Lines, changed: ChannelScores, ranking: Ranking, calibration: Calibration, items: int) -> None:
    """Judge pictures by the query's picture as its words change it, and lower the odds of everything else.

    A changed picture asks for pictures. A text needs so much more evidence of its own.
    """
    is_picture = ~np.isnan(changed.scores)
    weight = ranking.weight(CHANGED_TO_IMAGE)
    value = weight * calibration.log_odds(CHANGED_TO_IMAGE, changed.ranked, np.nan_to_num(changed.scores))
    by_changed = {
        CHANGED_TO_IMAGE: value,
        "modality_bias": np.full(len(value), ranking.modality_bias.get(IMAGE, 0.0)),
        "prior": np.full(len(value), calibration.changed_prior(items)),
    }
    for name, contributions in lines.contributions.items():
        if not name.startswith(NEGATIVE):
            others = contributions + math.log(calibration.changed[1]) if name == "prior" else contributions
            lines.contributions[name] = np.where(is_picture, by_changed.get(name, 0.0), others)
    for name, weights in lines.weights.items():
        if not name.startswith(NEGATIVE):
            lines.weights[name] = np.where(is_picture, weight if name == CHANGED_TO_IMAGE else 0.0, weights)


def _as_written(lookup: Lookup, log_odds: Floats, calibration: Calibration) -> Floats:
    """Return what a lookup adds to the ``log_odds`` (n,) of relevance of the candidates.

    The query looks up what is written with the probability L, otherwise it is meant by its meaning. In the first case
    an item that contains all of it is relevant, or one of its ``rivals`` is, and no other item. So the probability of
    relevance is L * share + (1 - L) * p, with the probability p by meaning. The better the meaning finds an item that
    does not contain the words, the less likely is a lookup, unless the query is literal. A file whose name is the query
    is no less relevant than what is found by meaning.
    """
    best = lookup.best()
    if not best.any():
        return np.zeros(len(log_odds))
    rivals = float(lookup.rivals[best].max())
    by_meaning = 0.0 if lookup.literal else float(_sigmoid(log_odds[~best]).max(initial=0.0))
    likely = calibration.lookup_probability(float(lookup.coverage.max()), rivals) * (1 - by_meaning)
    share = np.where(best, np.minimum(1.0, calibration.expected_relevant / lookup.rivals), 0.0)
    least = max(NAMED_LOG_ODDS, float(log_odds[~best].max(initial=-np.inf)) + AHEAD)
    meant = np.where(lookup.named, np.maximum(log_odds, least), log_odds)
    with np.errstate(divide="ignore"):
        yes = np.logaddexp(np.log(likely * share), math.log1p(-likely) - np.logaddexp(0, -meant))
        no = np.logaddexp(np.log(likely * (1 - share)), math.log1p(-likely) - np.logaddexp(0, meant))
    return np.asarray(yes - no - log_odds, np.float64)


def _add_part(
    lines: _Lines, by_view: Mapping[str, _View], modality_bias: Mapping[str, float], scale: float, n: int
) -> Floats:
    """Add a positive part of the query to the breakdowns, by each item's best view; return the part's sums (n,)."""
    biases = {view: _bias(by_view[view], modality_bias) for view in by_view}
    totals = np.array([by_view[view].total + biases[view] for view in by_view])
    best = totals.argmax(axis=0)
    part_sum = np.zeros(n)
    contributions = lines.contributions
    for row, (view, scores) in enumerate(by_view.items()):
        chosen = (best == row) & np.isfinite(scores.total)
        _set_terms(lines, scores, chosen, scale)
        density = np.where(chosen, scale * scores.match_density, 0.0)
        contributions["match_density"] = contributions["match_density"] - density
        contributions["modality_bias"] = contributions["modality_bias"] + np.where(chosen, biases[view], 0.0)
        value = scale * np.where(chosen, scores.total, 0.0) + biases[view]
        part_sum = np.where(chosen, value, part_sum)
    return part_sum


def _subtract_part(lines: _Lines, by_view: Mapping[str, _View], negative_weight: float) -> None:
    """Subtract a negative part of the query from the breakdowns of items that match it."""
    best = np.array([scores.total for scores in by_view.values()]).argmax(axis=0)
    for row, scores in enumerate(by_view.values()):
        # An item that does not match the negative part gets no bonus for it.
        chosen = (best == row) & np.isfinite(scores.total) & (scores.total > 0)
        _set_terms(lines, scores, chosen, -negative_weight)


def _set_terms(lines: _Lines, scores: _View, chosen: NDArray[np.bool_], scale: float) -> None:
    for channel, (weight, log_odds) in scores.terms.items():
        lines.weights[channel] = np.where(chosen, scale * weight, lines.weights[channel])
        lines.contributions[channel] = np.where(chosen, scale * log_odds, lines.contributions[channel])


def _all_of(log_odds: Sequence[Floats]) -> Floats:
    """Return the log-odds (n,) that several independent events all occur, from the log-odds of each."""
    log_probability = -sum((np.logaddexp(0, -odds) for odds in log_odds), np.zeros(1))
    return np.asarray(log_probability - np.log(-np.expm1(np.minimum(log_probability, -1e-300))), np.float64)


@dataclass(frozen=True, slots=True)
class _View:
    """The scores of one view: weight (n,) and log-odds (n,) by channel, the density term, and the sum (n,)."""

    terms: Mapping[str, tuple[Floats, Floats]]
    match_density: float
    total: Floats  # -inf if the item has no such view


def _bias(scores: _View, modality_bias: Mapping[str, float]) -> float:
    """Return the modality bias of a view, in log-odds."""
    dense = next((channel for channel in scores.terms if not channel.endswith(LEXICAL)), None)
    return modality_bias.get(TEXT if dense is None else modality_of(dense), 0.0)


def _view_of(
    names: list[str],
    channels: Mapping[str, ChannelScores],
    ranking: Ranking,
    calibration: Calibration,
    items: int,
    *,
    match_density: bool,
) -> _View:
    log_odds = {name: calibration.log_odds(name, channels[name].ranked, channels[name].scores) for name in names}
    has = {name: ~np.isnan(channels[name].scores) for name in names}
    lexical = [name for name in names if name.endswith(LEXICAL)]
    dense = [name for name in names if not name.endswith(LEXICAL)]
    has_both = np.logical_and.reduce([has[name] for name in names]) if lexical and dense else np.zeros(1, bool)
    by_words, by_meaning, base = calibration.joint
    terms = {}
    for name in names:
        weight, value = np.full(len(has[name]), by_meaning), log_odds[name]
        if name in lexical:
            match_share = calibration.match_share(channels[name].ranked, channels[name].scores)
            weight = by_words * np.minimum(match_share, 1.0)
            value = np.where(has_both, np.maximum(value, 0.0), value)
        weight = np.where(has[name], np.where(has_both, weight, 1.0) * ranking.weight(name), 0.0)
        value = weight * np.where(has[name], value, 0.0)
        if name in lexical:
            value = value + np.where(has_both, base * ranking.weight(name), 0.0)
        terms[name] = (weight, value)
    total = sum((value for _, value in terms.values()), np.zeros(1))
    has_any = np.logical_or.reduce([has[name] for name in names])
    density = 0.0
    if match_density and has_any.any():
        rows = max((channels[name].ranked.count for name in dense), default=0) or items
        mean_ratio = float(np.exp(np.clip(total[has_any], -50, 50)).sum()) / max(rows, 1)
        density = calibration.match_density * math.log(max(mean_ratio, MIN_DENSITY))
    return _View(terms, density, np.where(has_any, total - density, -np.inf))


def weighted_mean(
    channels: Mapping[str, ChannelScores], ranking: Ranking, values: Mapping[str, NDArray[np.float64]]
) -> _Lines:
    """Return the breakdowns of a weighted mean of the channels' ``values`` (n,), each in [0, 1].

    A contribution is a channel's value times its share. The shares of the channels of the best views sum to 1.
    """
    n = len(next(iter(channels.values())).scores)
    has = {name: ~np.isnan(channel.scores) for name, channel in channels.items()}
    shares = {name: np.zeros(n) for name in channels}
    total_weight = np.zeros(n)  # sum of the weights of an item's parts
    for part, views in _parts(channels).items():
        negative = part.startswith(NEGATIVE)
        weighted = {name: has[name] * ranking.weight(name) for names in views.values() for name in names}
        sums = {view: sum((weighted[name] for name in names), np.zeros(n)) for view, names in views.items()}
        means = []
        for view, names in views.items():
            total = sum((weighted[name] * np.nan_to_num(values[name]) for name in names), np.zeros(n))
            means.append(np.where(sums[view] > 0, total / np.maximum(sums[view], 1e-300), -1.0))
        best = np.array(means).argmax(axis=0)
        for row, (view, names) in enumerate(views.items()):
            chosen = (best == row) & (sums[view] > 0)
            heaviest = np.max([weighted[name] for name in names], axis=0)
            if negative:
                heaviest = heaviest * ranking.negative_weight
            else:
                total_weight = total_weight + np.where(chosen, heaviest, 0.0)
            for name in names:
                share = heaviest * weighted[name] / np.maximum(sums[view], 1e-300)
                shares[name] = np.where(chosen, -share if negative else share, shares[name])
    shares = {name: share / np.maximum(total_weight, 1e-300) for name, share in shares.items()}
    return _Lines(shares, {name: shares[name] * np.nan_to_num(values[name]) for name in channels})


def _reciprocal_ranks(channel: ChannelScores, rrf_k: int) -> Floats:
    """Return 1 / (``rrf_k`` + rank) (n,); 0 for items that are not listed."""
    return np.where(channel.ranks > 0, 1.0 / (rrf_k + np.maximum(channel.ranks, 1)), 0.0)
