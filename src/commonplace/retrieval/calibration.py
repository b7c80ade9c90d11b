"""What a raw score is worth: from cosines and BM25 scores to log-odds that can be added and compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonplace.channels import BOTH, IMAGE_TO_SEMANTIC, ITEM
from commonplace.store import RankedList
from commonplace.types import TEXT

__all__ = ["LEXICAL", "SEMANTIC", "Calibration", "Curve", "ScoreStats", "z_score"]

LEXICAL = "lexical"
SEMANTIC = IMAGE_TO_SEMANTIC
"""Pictures by what they show, in the joint space, where ``image->image`` compares how they look."""
SHRINK = 100
"""Rows that the model's own background counts as when it is mixed with a collection's statistics: a folder of ten
pictures says little about what unrelated pictures look like."""
RELATED = 3.3
"""Standard deviations above the background at which related pairs are assumed, for a channel that was not measured."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ScoreStats:
    """What the cosines of a channel look like in the development data of a model.

    The background are pairs that have nothing to do with each other: their mean and standard deviation, and their
    99th percentile ``background_p99``. ``related_mean`` and ``related_std`` are those of pairs that belong together.
    """

    background_p99: float
    related_mean: float
    related_std: float
    background_mean: float = 0.0
    background_std: float = 0.1

    @classmethod
    def estimated(cls, mean: float, std: float) -> ScoreStats:
        """Return an estimate for a channel of which only a collection's own scores are known, most of them background:
        their ``mean`` and ``std``."""
        std = max(std, 0.01)  # cosines that differ by less tell nothing apart
        return cls(mean + 2.33 * std, mean + RELATED * std, std, mean, std)


UNMEASURED = ScoreStats(0.4, 0.6, 0.15)
"""For a single cosine of a channel that nothing is known about."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A rising line through knots: what a value is worth in log-odds. Beyond the knots its ends are extended."""

    at: tuple[float, ...]
    log_odds: tuple[float, ...]

    def __call__(self, values: NDArray[Any]) -> Floats:
        """Return the log-odds of each value, in the same shape."""
        x, y = np.asarray(self.at), np.asarray(self.log_odds)
        first_slope, last_slope = (y[1] - y[0]) / (x[1] - x[0]), (y[-1] - y[-2]) / (x[-1] - x[-2])
        log_odds = np.interp(values, x, y)
        log_odds = np.where(values < x[0], y[0] + (values - x[0]) * first_slope, log_odds)
        return np.asarray(np.where(values > x[-1], y[-1] + (values - x[-1]) * last_slope, log_odds), np.float64)


def z_score(scores: NDArray[Any], count: int, mean: float, std: float, stats: ScoreStats) -> Floats:
    """Return by how many standard deviations each score exceeds the background.

    ``mean`` and ``std`` are those of this query's scores over the ``count`` rows of the partition. Nearly all of these
    rows are unrelated to the query. They are mixed by count with the background of the model. Where the model's
    background is higher or wider, it is used as it is: in a collection about another subject, the best of many
    unrelated items is still unrelated.
    """
    total = count + SHRINK
    centre = (count * mean + SHRINK * stats.background_mean) / total
    width = ((count * std**2 + SHRINK * stats.background_std**2) / total) ** 0.5
    centre, width = max(centre, stats.background_mean), max(width, stats.background_std, 1e-6)
    return np.asarray((np.asarray(scores, np.float64) - centre) / width)


_LINE = Curve((0.0, 6.0), (-4.0, 7.0))
"""From z-score to log-odds for a channel without a curve: close to the curve of every channel that was measured."""
_LEXICAL_LINE = Curve((0.0, 1.0), (-3.0, 6.0))
"""From the share of a full match to log-odds, for a model that brings no curve for it."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the scores of each channel mean, from ``bundle.json``. It is used at query time only: no index holds it.

    The log-odds of a score are a log-likelihood ratio (natural logarithm): how much more likely the score is for an
    item that answers than for one that does not. Ratios of several channels add up (Good 1950); with the prior odds
    they give the probability that the item is relevant.

    - ``score_stats``: the cosines of each channel. A channel that is absent is estimated from the collection itself.
    - ``curves``: from z-score to log-odds, by isotonic regression on development data. Absent: a common line.
    - ``joint``: a text can match by words and by meaning, which partly say the same. Words then count by the first
      number times their share of a full match, and never against the text; meaning counts by the second number; the
      third is added.
    - ``match_density``: the power of the mean likelihood ratio of a view that is subtracted. It lowers scores where
      many items match, and raises them where few do.
    - ``expected_relevant``: how many items answer a query, as a rule.
    - ``short_query``: a query shorter than the first number asks for a kind of thing instead of one thing (see
      ``for_query()``); at the second number it does so fully, and the third is the share of all items that answer.
    - ``part_prior``: for a query of several parts (words and a picture), the share of all items that fit one part.
    """

    score_stats: Mapping[str, ScoreStats]
    curves: Mapping[str, Curve] = field(default_factory=dict)
    joint: tuple[float, float, float] = (0.5, 1.0, 0.25)  # words, meaning, added constant
    match_density: float = 0.5
    expected_relevant: float = 1.0
    short_query: tuple[float, float, float] = (0.15, 0.45, 0.02)
    part_prior: float = 0.1

    @classmethod
    def from_bundle(cls, spec: Mapping[str, Any]) -> Calibration:
        """Return what a ``bundle.json`` says of its channels; what it lacks is estimated at query time."""
        calibration = spec.get("calibration") or {}
        measured = dict(spec.get("score_stats") or {})
        if "image->image" in measured:  # a model that was not measured for meaning: as for looks
            measured = {SEMANTIC: measured["image->image"]} | measured
        score_stats = {}
        for channel, stats in measured.items():
            unrelated, related = stats["unrelated"], stats["related"]
            background = calibration.get("background", {}).get(channel, unrelated)
            score_stats[channel] = ScoreStats(
                unrelated["quantiles"]["0.99"], related["mean"], related["std"], background["mean"], background["std"]
            )
        curves = {
            channel: Curve(tuple(curve["at"]), tuple(curve["log_odds"]))
            for channel, curve in calibration.get("curves", {}).items()
        }
        curves = {SEMANTIC: curves["image->image"]} | curves if "image->image" in curves else curves
        names = ("match_density", "expected_relevant", "part_prior")
        settings: dict[str, Any] = {name: calibration[name] for name in names if name in calibration}
        if "joint" in calibration:
            settings["joint"] = tuple(calibration["joint"][name] for name in ("words", "meaning", "base"))
        if "short_query" in calibration:
            settings["short_query"] = tuple(calibration["short_query"][name] for name in ("from", "to", "share"))
        return cls(score_stats, curves, **settings)

    def for_query(self, query_shortness: float, items: int) -> Calibration:
        """Return the calibration for a query of this shortness, in [0, 1], among ``items`` items.

        "Dog" is answered by every picture of a dog. Many matches are no sign of chance there, and more answers are
        expected.
        """
        low, high, share = self.short_query
        generic = min(max((query_shortness - low) / (high - low), 0.0), 1.0)  # how much it asks for a kind of thing
        if not generic:
            return self
        return replace(
            self,
            match_density=self.match_density * (1 - generic),
            expected_relevant=self.expected_relevant + generic * share * items,
        )

    def log_odds(self, channel: str, ranked: RankedList, scores: NDArray[Any] | None = None) -> Floats:
        """Return the log-odds of the ``scores`` (n,) of a channel (default: those of the list).

        BM25 scores count by their share of a full match, cosines by their z-score.
        """
        scores = ranked.scores if scores is None else scores
        if channel.endswith(LEXICAL):
            return self.curves.get(LEXICAL, _LEXICAL_LINE)(self.match_share(ranked, scores))
        name = self._name(channel)
        stats = self.score_stats.get(name) or ScoreStats.estimated(ranked.mean, ranked.std)
        return self.curves.get(name, _LINE)(z_score(scores, ranked.count, ranked.mean, ranked.std, stats))

    @staticmethod
    def match_share(ranked: RankedList, scores: NDArray[Any]) -> Floats:
        """Return the BM25 scores as a share of a full match, in [0, 1.5]."""
        return np.minimum(np.asarray(scores, np.float64) / max(ranked.full, 1e-6), 1.5)

    def nearness(self, channel: str, cosines: NDArray[np.float32]) -> Floats:
        """Return values in [0, 1] for cosines (n,) of a channel alone, by a logistic curve.

        One half lies midway between the 99th percentile of unrelated pairs and the mean of related pairs. The width is
        two thirds of the standard deviation of related pairs, so that it separates the good from the better.
        """
        stats = self.score_stats.get(self._name(channel), UNMEASURED)
        middle = (stats.background_p99 + stats.related_mean) / 2
        return np.asarray(
            1 / (1 + np.exp((middle - cosines.astype(np.float64)) / (stats.related_std / 1.5))), np.float64
        )

    @staticmethod
    def _name(channel: str) -> str:
        """Return the channel whose statistics are used: a vector composed of words and picture, and one fused of two
        views, have none of their own."""
        part, view = channel.removeprefix("not ").split("->")
        part = TEXT if part == BOTH else part
        return f"{part}->{part if view == ITEM else view}"
