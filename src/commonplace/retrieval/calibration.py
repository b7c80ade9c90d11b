"""What a raw score is worth: from cosines and word scores to log-odds that may be added and compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonplace.errors import ModelError
from commonplace.store import RankedList

__all__ = ["LEXICAL", "SEMANTIC", "Calibration", "Curve", "ScoreStats", "z_score"]

LEXICAL = "lexical"
CHANNELS = ("text->text", "text->image", "image->text", "image->image")
SEMANTIC = "image->semantic"
"""Pictures by what they show, in the joint space, where ``image->image`` compares their looks."""
SHRINK = 100
"""Rows of the bundle's own background that a collection's statistics are mixed with: a folder of ten pictures says
little about what unrelated pictures look like."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ScoreStats:
    """What an channel's cosines look like in the bundle's development data.

    ``chance`` is reached by one in a hundred pairs that have nothing to do with each other, whose mean and standard
    deviation are ``unrelated`` and ``spread``; ``mean`` and ``std`` are those of pairs that belong together.
    """

    chance: float
    mean: float
    std: float
    unrelated: float = 0.0
    spread: float = 0.1


@dataclass(frozen=True, slots=True)
class Curve:
    """A rising line through knots: what a value is worth in log-odds. Beyond the knots it goes on as at its ends."""

    at: tuple[float, ...]
    log_odds: tuple[float, ...]

    def __call__(self, values: NDArray[Any]) -> Floats:
        x, y = np.asarray(self.at), np.asarray(self.log_odds)
        below, above = (y[1] - y[0]) / (x[1] - x[0]), (y[-1] - y[-2]) / (x[-1] - x[-2])
        inside = np.interp(values, x, y)
        inside = np.where(values < x[0], y[0] + (values - x[0]) * below, inside)
        return np.asarray(np.where(values > x[-1], y[-1] + (values - x[-1]) * above, inside), np.float64)


def z_score(scores: NDArray[Any], count: int, mean: float, std: float, known: ScoreStats) -> Floats:
    """Return by how many standard deviations each score exceeds what unrelated items reach.

    ``mean`` and ``std`` are those of this question's scores over the ``count`` rows of the partition, nearly all of
    which have nothing to do with it; they are mixed with the bundle's background by count. Where the background is
    higher or wider it stands: in a collection on another subject the best of nothing is no find.
    """
    total = count + SHRINK
    centre = (count * mean + SHRINK * known.unrelated) / total
    width = ((count * std**2 + SHRINK * known.spread**2) / total) ** 0.5
    centre, width = max(centre, known.unrelated), max(width, known.spread, 1e-6)
    return np.asarray((np.asarray(scores, np.float64) - centre) / width)


_LINE = Curve((0.0, 6.0), (-4.0, 7.0))
"""For a bundle without curves of its own: about what every channel that was measured has."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """How much each channel's score tells, from ``bundle.json``; a part of the ranking state, not of the vectors.

    Evidence is a log-likelihood ratio (natural logarithm): how much likelier the score is for an item that answers
    than for one that does not. It adds up (Good 1950), and with the odds before the search it gives the probability
    that the item is relevant. ``curves`` were learned by isotonic regression on development data. ``joint``: where
    a text is asked by words and by meaning, which say partly the same, words count by the first number times their
    share of a full match and never against the text (a few words in common tell nothing new, all of them do), meaning
    by the second, and the third is added. ``match_density``: where much in a view
    matches, each match is worth less, and where little does more, by this power of the view's mean likelihood ratio.
    ``expected_relevant``: how many items answer a question, as a rule. ``short_query``: a question that reads shorter
    than the first number names a kind of thing rather than one (see :meth:`of`); one of the second number does so
    wholly, and then the third is the share of all items that answer. ``part_prior``: of a question of words and a
    picture, the share of all items that fit one of the two; what answers fits both.
    """

    channels: Mapping[str, ScoreStats]
    curves: Mapping[str, Curve] = field(default_factory=dict)
    joint: tuple[float, float, float] = (0.5, 1.0, 0.25)  # words, meaning, and what is added
    match_density: float = 0.5
    expected_relevant: float = 1.0
    short_query: tuple[float, float, float] = (0.15, 0.45, 0.02)
    part_prior: float = 0.1

    @classmethod
    def from_bundle(cls, spec: Mapping[str, Any]) -> Calibration:
        """Return what ``bundle.json`` knows of its channels; curves it lacks are taken from a common line.

        Raises ModelError where it does not say what cosines look like: scores would mean nothing.
        """
        missing = [channel for channel in CHANNELS if channel not in spec.get("score_stats", {})]
        if missing:
            raise ModelError(
                f"the model {spec.get('name')} does not say what cosines of {', '.join(missing)} look like "
                "(background in bundle.json): install it again, or choose another"
            )
        learned = spec.get("calibration") or {}
        channels = {}
        known = spec["score_stats"]
        known = {SEMANTIC: known["image->image"]} | known  # a model that was not measured for it: as for looks
        for channel, found in known.items():
            unrelated, related = found["unrelated"], found["related"]
            chance = learned.get("background", {}).get(channel, unrelated)
            channels[channel] = ScoreStats(
                unrelated["quantiles"]["0.99"], related["mean"], related["std"], chance["mean"], chance["std"]
            )
        curves = {
            channel: Curve(tuple(curve["at"]), tuple(curve["log_odds"]))
            for channel, curve in learned.get("curves", {}).items()
        }
        curves = {SEMANTIC: curves["image->image"]} | curves if "image->image" in curves else curves
        settings = {
            name: learned[name] for name in ("match_density", "expected_relevant", "part_prior") if name in learned
        }
        if "joint" in learned:
            settings["joint"] = tuple(learned["joint"][name] for name in ("words", "meaning", "base"))
        if "short_query" in learned:
            settings["short_query"] = tuple(learned["short_query"][name] for name in ("from", "to", "share"))
        return cls(channels, curves, **settings)

    def of(self, query_shortness: float, items: int) -> Calibration:
        """Return the evidence as it counts for a question that reads as short as ``query_shortness`` in [0, 1], among
        ``items``.

        "Dog" is answered by every picture of one: many matches are no sign of chance there, and more are expected.
        """
        low, high, share = self.short_query
        kind = min(max((query_shortness - low) / (high - low), 0.0), 1.0)
        if not kind:
            return self
        return replace(
            self,
            match_density=self.match_density * (1 - kind),
            expected_relevant=self.expected_relevant + kind * share * items,
        )

    def log_odds(self, channel: str, ranked: RankedList, scores: NDArray[Any] | None = None) -> Floats:
        """Return the evidence of an channel's ``scores`` (default: the list's); of words by their share of a full
        match."""
        scores = ranked.scores if scores is None else scores
        if channel.endswith(LEXICAL):
            return self.curves.get(LEXICAL, Curve((0.0, 1.0), (-3.0, 6.0)))(self.share(ranked, scores))
        name = self._name(channel)
        z = z_score(scores, ranked.count, ranked.mean, ranked.std, self.channels[name])
        return self.curves.get(name, _LINE)(z)

    @staticmethod
    def share(ranked: RankedList, scores: NDArray[Any]) -> Floats:
        """Return what share of a full match the scores of words are, in [0, 1.5]."""
        return np.minimum(np.asarray(scores, np.float64) / max(ranked.full, 1e-6), 1.5)

    def nearness(self, channel: str, cosines: NDArray[np.float32]) -> Floats:
        """Return values in [0, 1] for an channel's cosines alone, by a logistic curve.

        One half stands midway between what unrelated pairs reach by chance and what related pairs have on average;
        the width is two thirds of the spread of related pairs, so that it tells the good from the better.
        """
        known = self.channels[self._name(channel)]
        middle = (known.chance + known.mean) / 2
        return np.asarray(1 / (1 + np.exp((middle - cosines.astype(np.float64)) / (known.std / 1.5))), np.float64)

    @staticmethod
    def _name(channel: str) -> str:
        """Return the channel whose cosines these are judged as: a vector of words and picture, and one fused of two
        views, have none of their own."""
        asked, partition = channel.removeprefix("not ").split("->")
        asked = "text" if asked == "both" else asked
        return f"{asked}->{asked if partition == 'item' else partition}"
