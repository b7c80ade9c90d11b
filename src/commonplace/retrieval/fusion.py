"""Late fusion: several ranked lists into one, where an channel that an item cannot have costs it nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from commonplace.errors import QueryError
from commonplace.retrieval.calibration import LEXICAL, Calibration
from commonplace.store import RankedList
from commonplace.types import ScoreComponent

__all__ = ["METHODS", "ChannelScores", "Fused", "Ranking", "fuse"]

METHODS = ("calibrated", "rrf", "relative", "distribution")
Floats = NDArray[np.float64]
_KINDS = {"scene": "image"}  # the kind of a view whose name does not say it
SURE = 5.0
"""Log-odds, at least, of the picture itself, asked with it alone."""
FLOOR = 0.01
"""Evidence in a view, as a share of what chance would give, below which it is not called any rarer."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """How a question is asked and its lists are fused. Raises QueryError for values out of range.

    ``method``: ``evidence`` adds up each channel's log-odds (see :class:`commonplace.retrieval.Calibration`); the
    others average values in [0, 1]: ``rrf`` 1 / (``rrf_k`` + rank) (Cormack, Clarke and Büttcher 2009), ``relative``
    the score's place between the list's lowest and highest, ``distribution`` its place between three standard
    deviations below and above the list's mean. ``weights``: by channel, 1 where not named, 0 leaves the channel out.
    ``modality_bias``: by view (``text``, ``image``), log-odds given to what is found by it; evidence only.
    ``question``: words and picture asked ``late`` (each in channels of its own) or as one vector, ``sum`` or
    ``slerp``, with the picture's share ``picture_weight``. ``views``: an item's views ``separate``, or one vector
    an item: ``fused`` (``alpha`` text + (1 - ``alpha``) image) or ``concat``. ``depth``: hits taken from an channel.
    ``negative_weight``: how heavily what is not wanted counts. ``temperature`` > 1 makes confidences more cautious.
    ``collapse`` shows near-copies as one hit. ``diversity`` in [0, 1): how much likeness to better hits costs a hit
    (maximal marginal relevance, Carbonell and Goldstein 1998); 0 leaves the order alone.
    """

    method: Literal["calibrated", "rrf", "relative", "distribution"] = "calibrated"
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
        for name, least, most in (
            ("picture_weight", 0, 1),
            ("alpha", 0, 1),
            ("negative_weight", 0, 1e6),
            ("temperature", 1e-3, 1e3),
            ("diversity", 0, 0.999),
        ):
            _between(name, getattr(self, name), least, most)
        for name, least, most in (("rrf_k", 0, 1_000_000), ("depth", 1, 10_000)):
            if not isinstance(getattr(self, name), int) or not least <= getattr(self, name) <= most:
                raise QueryError(f"{name} is {getattr(self, name)}: it must be a whole number, {least} to {most}")
        for channel, weight in self.weights.items():
            _between(f"the weight of {channel}", weight, 0, 1e6)
        for view, gift in self.modality_bias.items():
            _one_of("modality_bias", view, ("text", "image"))
            _between(f"favour of {view}", gift, -100, 100)

    def json(self) -> str:
        """Return the ranking as a JSON object: what differs from the default."""
        default = Ranking()
        differs = {one.name: getattr(self, one.name) for one in fields(self)}
        return json.dumps({name: value for name, value in differs.items() if value != getattr(default, name)})

    @classmethod
    def from_json(cls, text: str | None) -> Ranking:
        """Return the ranking that :meth:`json` described; the default for None. Raises QueryError."""
        try:
            return cls(**json.loads(text or "{}"))
        except (AttributeError, RecursionError, TypeError, ValueError) as problem:
            raise QueryError(f"the stored ranking cannot be used ({problem}): tune again, or reset it") from problem

    def weight(self, channel: str) -> float:
        """Return the weight of ``channel``."""
        return self.weights.get(channel, 1.0)


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise QueryError(f"{name} is {value!r}: choose one of {', '.join(allowed)}")


def _between(name: str, value: Any, least: float, most: float) -> None:
    if not isinstance(value, (int, float)) or not least <= value <= most:
        raise QueryError(f"{name} is {value}: it must be a number from {least:g} to {most:g}")


@dataclass(frozen=True, slots=True)
class ChannelScores:
    """An channel's word on the candidates (n,): raw ``scores``, NaN where the item has no such view, and ``ranks`` in
    the channel's list ``ranked`` (from 1; 0 where it is not on it)."""

    ranked: RankedList
    scores: Floats
    ranks: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Lines:
    """Lines of every candidate's score breakdown by channel: the weight and what it adds, (n,) each."""

    weights: Mapping[str, Floats]
    adds: dict[str, Floats]


class Fused:
    """The candidates' scores and confidences (n,), and the score breakdown of each. Higher is better.

    ``order`` is what to sort by: the score without the rounding at either end of [0, 1].
    """

    def __init__(
        self,
        channels: Mapping[str, ChannelScores],
        ranking: Ranking,
        evidence: Calibration,
        items: int,
        near_duplicates: NDArray[np.bool_] | None,
    ) -> None:
        self._channels = channels
        self._ranking = ranking
        odds = _add_up(channels, ranking, evidence, items)
        if near_duplicates is not None:
            short = SURE - sum(odds.adds.values(), np.zeros(1))
            odds.adds["near_duplicate"] = np.where(near_duplicates, np.maximum(short, 0.0), 0.0)
        total = sum(odds.adds.values(), np.zeros(1))
        self.confidence = _sigmoid(total / ranking.temperature)
        self._lines = odds if ranking.method == "calibrated" else _average(channels, ranking)
        self.order = total if ranking.method == "calibrated" else sum(self._lines.adds.values(), np.zeros(1))

    @property
    def calibrated(self) -> bool:
        """Whether the score is the confidence: the probability that the item is relevant."""
        return self._ranking.method == "calibrated"

    def score(self, breakdown: tuple[ScoreComponent, ...]) -> float:
        """Return the score in [0, 1] that a score breakdown accounts for."""
        total = math.fsum(line.contribution for line in breakdown)
        if not self.calibrated:
            return total
        return float(_sigmoid(np.array(total / self._ranking.temperature)))

    def breakdown(self, i: int) -> tuple[ScoreComponent, ...]:
        """Return what makes the score of candidate ``i``: a line an channel, then those of the search as a whole."""
        lines = []
        for name, adds in self._lines.adds.items():
            channel = self._channels.get(name)
            if channel is None:
                if adds[i]:
                    lines.append(ScoreComponent(name, float(adds[i]), 0, 1.0, float(adds[i])))
            elif not math.isnan(channel.scores[i]):
                weight = float(self._lines.weights[name][i])
                lines.append(
                    ScoreComponent(name, float(channel.scores[i]), int(channel.ranks[i]), weight, float(adds[i]))
                )
        return tuple(lines)


def fuse(
    channels: Mapping[str, ChannelScores],
    ranking: Ranking,
    evidence: Calibration,
    items: int,
    near_duplicates: NDArray[np.bool_] | None = None,
) -> Fused:
    """Return the candidates fused; ``items`` is how many items there were to find among, ``near_duplicates`` (n,)
    which of them are the picture that is asked with.

    For each part of the question (words, picture) an item is as good as its best view: a picture is not punished for
    a caption that says something else, nor for having none. An channel that an item cannot have (a score of NaN)
    costs it nothing; one that it could have had and is not listed by counts as what it is.
    """
    return Fused(channels, ranking, evidence, items, near_duplicates)


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -700, 700))), np.float64)


def _parts(channels: Mapping[str, ChannelScores]) -> dict[str, dict[str, list[str]]]:
    """Return the channels by the part of the question that they ask with and the view that they ask; words belong to
    the text, and to what is not wanted of it."""
    parts: dict[str, dict[str, list[str]]] = {}
    dense = [channel.partition("->") for channel in channels if not channel.endswith(LEXICAL)]
    for channel in channels:
        asked, _, view = channel.partition("->")
        if channel.endswith(LEXICAL):
            no = channel.removesuffix(LEXICAL)
            asked = f"{no}both" if any(one[0] == f"{no}both" for one in dense) else f"{no}text"
            view = "item" if any(one[2] == "item" for one in dense) else "text"
        parts.setdefault(asked, {}).setdefault(view, []).append(channel)
    return parts


def _add_up(channels: Mapping[str, ChannelScores], ranking: Ranking, evidence: Calibration, items: int) -> _Lines:
    """Return the breakdowns of evidence: log-odds that sum to those of the item being relevant."""
    n = len(next(iter(channels.values())).scores)
    parts = _parts(channels)
    wanted = [part for part in parts if not part.startswith("not ")]
    sums: dict[str, Floats] = {}  # by part
    weights = {channel: np.zeros(n) for channel in channels}
    adds = {channel: np.zeros(n) for channel in channels} | {"match_density": np.zeros(n), "modality_bias": np.zeros(n)}
    for part, views in parts.items():
        no = part.startswith("not ")
        own = {
            view: _view(names, channels, ranking, evidence, items, match_density=not no)
            for view, names in views.items()
        }
        names = list(own)
        biases = {view: 0.0 if no else ranking.modality_bias.get(_KINDS.get(view, view), 0.0) for view in names}
        totals = np.array([own[view].total + biases[view] for view in names])
        best = totals.argmax(axis=0)
        scale = 1.0
        if len(wanted) > 1 and not no:  # words and picture: their shares, so that each counts once where they are even
            scale = 2 * (ranking.picture_weight if part == "image" else 1 - ranking.picture_weight)
        for at, view in enumerate(names):
            won = (best == at) & np.isfinite(own[view].total)
            if no:  # what is unlike the unwanted is not made better by it
                won &= own[view].total > 0
                scale = -ranking.negative_weight
            for channel, (share, value) in own[view].terms.items():
                weights[channel] = np.where(won, scale * share, weights[channel])
                adds[channel] = np.where(won, scale * value, adds[channel])
            if not no:
                adds["match_density"] = adds["match_density"] - np.where(won, scale * own[view].match_density, 0.0)
                adds["modality_bias"] = adds["modality_bias"] + np.where(won, biases[view], 0.0)
                found = scale * np.where(won, own[view].total, 0.0) + biases[view]
                sums[part] = np.where(won, found, sums.get(part, np.zeros(n)))
    if len(wanted) > 1:
        each = [sums[part] + math.log(evidence.part_prior) for part in wanted]
        adds["prior"] = np.full(n, len(wanted) * math.log(evidence.part_prior))
        adds["together"] = _both(each) - sum(each)
    else:
        adds["prior"] = np.full(n, math.log(evidence.expected_relevant) - math.log(items + 1))
    return _Lines(weights, adds)


def _both(log_odds: Sequence[Floats]) -> Floats:
    """Return the log-odds (n,) of all of several independent things being so, from those of each."""
    sure = -sum((np.logaddexp(0, -each) for each in log_odds), np.zeros(1))  # the logarithm of the probability
    return np.asarray(sure - np.log(-np.expm1(np.minimum(sure, -1e-300))), np.float64)


@dataclass(frozen=True, slots=True)
class _View:
    """A view's evidence: what each channel adds (weight and log-odds), what the crowd takes, and the sum (n,)."""

    terms: Mapping[str, tuple[Floats, Floats]]
    match_density: float
    total: Floats  # -inf where the item has no such view


def _view(
    names: list[str],
    channels: Mapping[str, ChannelScores],
    ranking: Ranking,
    evidence: Calibration,
    items: int,
    *,
    match_density: bool,
) -> _View:
    values = {name: evidence.log_odds(name, channels[name].ranked, channels[name].scores) for name in names}
    has = {name: ~np.isnan(channels[name].scores) for name in names}
    lexical = [name for name in names if name.endswith(LEXICAL)]
    meaning = [name for name in names if not name.endswith(LEXICAL)]
    both = np.logical_and.reduce([has[name] for name in names]) if lexical and meaning else np.zeros(1, bool)
    words, near, base = evidence.joint
    terms = {}
    for name in names:
        share, value = np.full(len(has[name]), near), values[name]
        if name in lexical:
            share = words * np.minimum(evidence.share(channels[name].ranked, channels[name].scores), 1.0)
            value = np.where(both, np.maximum(value, 0.0), value)
        share = np.where(has[name], np.where(both, share, 1.0) * ranking.weight(name), 0.0)
        value = share * np.where(has[name], value, 0.0)
        if name in lexical:
            value = value + np.where(both, base * ranking.weight(name), 0.0)
        terms[name] = (share, value)
    total = sum((value for _, value in terms.values()), np.zeros(1))
    any_ = np.logical_or.reduce([has[name] for name in names])
    taken = 0.0
    if match_density and any_.any():
        rows = max((channels[name].ranked.count for name in meaning), default=0) or items
        mass = float(np.exp(np.clip(total[any_], -50, 50)).sum()) / max(rows, 1)
        taken = evidence.match_density * math.log(max(mass, FLOOR))
    return _View(terms, taken, np.where(any_, total - taken, -np.inf))


def _average(channels: Mapping[str, ChannelScores], ranking: Ranking) -> _Lines:
    """Return the breakdowns of the other methods: each channel's value in [0, 1] times its share; the shares of the
    best views' channels sum to 1."""
    n = len(next(iter(channels.values())).scores)
    values = {name: _value(channel, ranking) for name, channel in channels.items()}
    has = {name: ~np.isnan(channel.scores) for name, channel in channels.items()}
    weights = {name: np.zeros(n) for name in channels}
    heaviness = np.zeros(n)  # of an item's parts together
    for part, views in _parts(channels).items():
        sums = {v: sum((has[a] * ranking.weight(a) for a in own), np.zeros(n)) for v, own in views.items()}
        worth = np.array(
            [
                np.where(
                    sums[v] > 0,
                    sum((has[a] * ranking.weight(a) * np.nan_to_num(values[a]) for a in own), np.zeros(n))
                    / np.maximum(sums[v], 1e-300),
                    -1.0,
                )
                for v, own in views.items()
            ]
        )
        best = worth.argmax(axis=0)
        for at, (view, own) in enumerate(views.items()):
            won = (best == at) & (sums[view] > 0)
            heaviest = np.max([has[a] * ranking.weight(a) for a in own], axis=0)
            if part.startswith("not "):
                heaviest = heaviest * ranking.negative_weight
            else:
                heaviness = heaviness + np.where(won, heaviest, 0.0)
            for name in own:
                share = heaviest * has[name] * ranking.weight(name) / np.maximum(sums[view], 1e-300)
                weights[name] = np.where(won, -share if part.startswith("not ") else share, weights[name])
    shares = {name: weight / np.maximum(heaviness, 1e-300) for name, weight in weights.items()}
    return _Lines(shares, {name: shares[name] * np.nan_to_num(values[name]) for name in channels})


def _value(channel: ChannelScores, ranking: Ranking) -> Floats:
    """Return an channel's values in [0, 1] by method; 0 for what is not on its list."""
    listed = channel.ranks > 0
    if ranking.method == "rrf":
        return np.where(listed, 1.0 / (ranking.rrf_k + np.maximum(channel.ranks, 1)), 0.0)
    scores = channel.ranked.scores.astype(np.float64)
    if not len(scores):
        return np.zeros(len(channel.scores))
    if ranking.method == "relative":
        low, high = scores.min(), scores.max()
    else:
        low, high = scores.mean() - 3 * scores.std(), scores.mean() + 3 * scores.std()
    if high - low < 1e-12:  # all the same: nothing tells them apart
        return np.where(listed, 1.0 if ranking.method == "relative" else 0.5, 0.0)
    return np.where(listed, np.clip((np.nan_to_num(channel.scores) - low) / (high - low), 0.0, 1.0), 0.0)
