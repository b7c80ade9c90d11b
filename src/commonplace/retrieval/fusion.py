"""Late fusion: several ranked lists into one, where an arm that an item cannot have costs it nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from commonplace.errors import QuestionError
from commonplace.retrieval.evidence import LEXICAL, Evidence
from commonplace.store import Ranked
from commonplace.types import ArmScore

__all__ = ["METHODS", "Fused", "Ranking", "Scored", "fuse"]

METHODS = ("evidence", "rrf", "relative", "distribution")
Floats = NDArray[np.float64]
_KINDS = {"scene": "image"}  # the kind of a view whose name does not say it
SURE = 5.0
"""Log-odds, at least, of the picture itself, asked with it alone."""
FLOOR = 0.01
"""Evidence in a view, as a share of what chance would give, below which it is not called any rarer."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """How a question is asked and its lists are fused. Raises QuestionError for values out of range.

    ``method``: ``evidence`` adds up each arm's log-odds (see :class:`commonplace.retrieval.Evidence`); the others
    average values in [0, 1]: ``rrf`` 1 / (``rrf_k`` + rank) (Cormack, Clarke and Büttcher 2009), ``relative`` the
    score's place between the list's lowest and highest, ``distribution`` its place between three standard deviations
    below and above the list's mean. ``weights``: by arm, 1 where not named, 0 leaves the arm out. ``favour``: by view
    (``text``, ``image``), log-odds given to what is found by it; evidence only.
    ``question``: words and picture asked ``late`` (each in arms of its own) or as one vector, ``sum`` or
    ``slerp``, with the picture's share ``picture_weight``. ``views``: an item's views ``separate``, or one vector
    an item: ``fused`` (``alpha`` text + (1 - ``alpha``) image) or ``concat``. ``depth``: hits taken from an arm.
    ``against``: how heavily what is not wanted counts. ``temperature`` > 1 makes confidences more cautious.
    ``collapse`` shows near-copies as one hit. ``diversity`` in [0, 1): how much likeness to better hits costs a hit
    (maximal marginal relevance, Carbonell and Goldstein 1998); 0 leaves the order alone.
    """

    method: Literal["evidence", "rrf", "relative", "distribution"] = "evidence"
    rrf_k: int = 60
    weights: Mapping[str, float] = field(default_factory=dict)
    favour: Mapping[str, float] = field(default_factory=dict)
    question: Literal["late", "sum", "slerp"] = "late"
    picture_weight: float = 0.5
    views: Literal["separate", "fused", "concat"] = "separate"
    alpha: float = 0.5
    depth: int = 100
    against: float = 1.0
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
            ("against", 0, 1e6),
            ("temperature", 1e-3, 1e3),
            ("diversity", 0, 0.999),
        ):
            _between(name, getattr(self, name), least, most)
        for name, least, most in (("rrf_k", 0, 1_000_000), ("depth", 1, 10_000)):
            if not isinstance(getattr(self, name), int) or not least <= getattr(self, name) <= most:
                raise QuestionError(f"{name} is {getattr(self, name)}: it must be a whole number, {least} to {most}")
        for arm, weight in self.weights.items():
            _between(f"the weight of {arm}", weight, 0, 1e6)
        for view, gift in self.favour.items():
            _one_of("favour", view, ("text", "image"))
            _between(f"favour of {view}", gift, -100, 100)

    def json(self) -> str:
        """Return the ranking as a JSON object: what differs from the default."""
        default = Ranking()
        differs = {one.name: getattr(self, one.name) for one in fields(self)}
        return json.dumps({name: value for name, value in differs.items() if value != getattr(default, name)})

    @classmethod
    def from_json(cls, text: str | None) -> Ranking:
        """Return the ranking that :meth:`json` described; the default for None. Raises QuestionError."""
        try:
            return cls(**json.loads(text or "{}"))
        except (AttributeError, RecursionError, TypeError, ValueError) as problem:
            raise QuestionError(f"the stored ranking cannot be used ({problem}): tune again, or reset it") from problem

    def weight(self, arm: str) -> float:
        """Return the weight of ``arm``."""
        return self.weights.get(arm, 1.0)


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise QuestionError(f"{name} is {value!r}: choose one of {', '.join(allowed)}")


def _between(name: str, value: Any, least: float, most: float) -> None:
    if not isinstance(value, (int, float)) or not least <= value <= most:
        raise QuestionError(f"{name} is {value}: it must be a number from {least:g} to {most:g}")


@dataclass(frozen=True, slots=True)
class Scored:
    """An arm's word on the candidates (n,): raw ``scores``, NaN where the item has no such view, and ``ranks`` in the
    arm's list ``ranked`` (from 1; 0 where it is not on it)."""

    ranked: Ranked
    scores: Floats
    ranks: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Lines:
    """Lines of every candidate's ledger by arm: the weight and what it adds, (n,) each."""

    weights: Mapping[str, Floats]
    adds: dict[str, Floats]


class Fused:
    """The candidates' scores and confidences (n,), and the ledger of each. Higher is better.

    ``order`` is what to sort by: the score without the rounding at either end of [0, 1].
    """

    def __init__(
        self,
        arms: Mapping[str, Scored],
        ranking: Ranking,
        evidence: Evidence,
        items: int,
        copies: NDArray[np.bool_] | None,
    ) -> None:
        self._arms = arms
        self._ranking = ranking
        odds = _add_up(arms, ranking, evidence, items)
        if copies is not None:
            short = SURE - sum(odds.adds.values(), np.zeros(1))
            odds.adds["copy"] = np.where(copies, np.maximum(short, 0.0), 0.0)
        total = sum(odds.adds.values(), np.zeros(1))
        self.confidence = _sigmoid(total / ranking.temperature)
        self._lines = odds if ranking.method == "evidence" else _average(arms, ranking)
        self.order = total if ranking.method == "evidence" else sum(self._lines.adds.values(), np.zeros(1))

    @property
    def calibrated(self) -> bool:
        """Whether the score is the confidence: the probability that the item is relevant."""
        return self._ranking.method == "evidence"

    def score(self, ledger: tuple[ArmScore, ...]) -> float:
        """Return the score in [0, 1] that a ledger accounts for."""
        total = math.fsum(line.contribution for line in ledger)
        if not self.calibrated:
            return total
        return float(_sigmoid(np.array(total / self._ranking.temperature)))

    def ledger(self, i: int) -> tuple[ArmScore, ...]:
        """Return what makes the score of candidate ``i``: a line an arm, then those of the search as a whole."""
        lines = []
        for name, adds in self._lines.adds.items():
            arm = self._arms.get(name)
            if arm is None:
                if adds[i]:
                    lines.append(ArmScore(name, float(adds[i]), 0, 1.0, float(adds[i])))
            elif not math.isnan(arm.scores[i]):
                weight = float(self._lines.weights[name][i])
                lines.append(ArmScore(name, float(arm.scores[i]), int(arm.ranks[i]), weight, float(adds[i])))
        return tuple(lines)


def fuse(
    arms: Mapping[str, Scored],
    ranking: Ranking,
    evidence: Evidence,
    items: int,
    copies: NDArray[np.bool_] | None = None,
) -> Fused:
    """Return the candidates fused; ``items`` is how many items there were to find among, ``copies`` (n,) which of them
    are the picture that is asked with.

    For each part of the question (words, picture) an item is as good as its best view: a picture is not punished for
    a caption that says something else, nor for having none. An arm that an item cannot have (a score of NaN) costs it
    nothing; one that it could have had and is not listed by counts as what it is.
    """
    return Fused(arms, ranking, evidence, items, copies)


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -700, 700))), np.float64)


def _parts(arms: Mapping[str, Scored]) -> dict[str, dict[str, list[str]]]:
    """Return the arms by the part of the question that they ask with and the view that they ask; words belong to
    the text, and to what is not wanted of it."""
    parts: dict[str, dict[str, list[str]]] = {}
    dense = [arm.partition("->") for arm in arms if not arm.endswith(LEXICAL)]
    for arm in arms:
        asked, _, view = arm.partition("->")
        if arm.endswith(LEXICAL):
            no = arm.removesuffix(LEXICAL)
            asked = f"{no}both" if any(one[0] == f"{no}both" for one in dense) else f"{no}text"
            view = "item" if any(one[2] == "item" for one in dense) else "text"
        parts.setdefault(asked, {}).setdefault(view, []).append(arm)
    return parts


def _add_up(arms: Mapping[str, Scored], ranking: Ranking, evidence: Evidence, items: int) -> _Lines:
    """Return the ledgers of evidence: log-odds that sum to those of the item being relevant."""
    n = len(next(iter(arms.values())).scores)
    parts = _parts(arms)
    wanted = [part for part in parts if not part.startswith("not ")]
    sums: dict[str, Floats] = {}  # by part
    weights = {arm: np.zeros(n) for arm in arms}
    adds = {arm: np.zeros(n) for arm in arms} | {"crowd": np.zeros(n), "favour": np.zeros(n)}
    for part, views in parts.items():
        no = part.startswith("not ")
        own = {view: _view(names, arms, ranking, evidence, items, crowd=not no) for view, names in views.items()}
        names = list(own)
        gifts = {view: 0.0 if no else ranking.favour.get(_KINDS.get(view, view), 0.0) for view in names}
        totals = np.array([own[view].total + gifts[view] for view in names])
        best = totals.argmax(axis=0)
        scale = 1.0
        if len(wanted) > 1 and not no:  # words and picture: their shares, so that each counts once where they are even
            scale = 2 * (ranking.picture_weight if part == "image" else 1 - ranking.picture_weight)
        for at, view in enumerate(names):
            won = (best == at) & np.isfinite(own[view].total)
            if no:  # what is unlike the unwanted is not made better by it
                won &= own[view].total > 0
                scale = -ranking.against
            for arm, (share, value) in own[view].terms.items():
                weights[arm] = np.where(won, scale * share, weights[arm])
                adds[arm] = np.where(won, scale * value, adds[arm])
            if not no:
                adds["crowd"] = adds["crowd"] - np.where(won, scale * own[view].crowd, 0.0)
                adds["favour"] = adds["favour"] + np.where(won, gifts[view], 0.0)
                found = scale * np.where(won, own[view].total, 0.0) + gifts[view]
                sums[part] = np.where(won, found, sums.get(part, np.zeros(n)))
    if len(wanted) > 1:
        each = [sums[part] + math.log(evidence.part) for part in wanted]
        adds["prior"] = np.full(n, len(wanted) * math.log(evidence.part))
        adds["together"] = _both(each) - sum(each)
    else:
        adds["prior"] = np.full(n, math.log(evidence.expected) - math.log(items + 1))
    return _Lines(weights, adds)


def _both(log_odds: Sequence[Floats]) -> Floats:
    """Return the log-odds (n,) of all of several independent things being so, from those of each."""
    sure = -sum((np.logaddexp(0, -each) for each in log_odds), np.zeros(1))  # the logarithm of the probability
    return np.asarray(sure - np.log(-np.expm1(np.minimum(sure, -1e-300))), np.float64)


@dataclass(frozen=True, slots=True)
class _View:
    """A view's evidence: what each arm adds (weight and log-odds), what the crowd takes, and the sum (n,)."""

    terms: Mapping[str, tuple[Floats, Floats]]
    crowd: float
    total: Floats  # -inf where the item has no such view


def _view(
    names: list[str], arms: Mapping[str, Scored], ranking: Ranking, evidence: Evidence, items: int, *, crowd: bool
) -> _View:
    values = {name: evidence.log_odds(name, arms[name].ranked, arms[name].scores) for name in names}
    has = {name: ~np.isnan(arms[name].scores) for name in names}
    lexical = [name for name in names if name.endswith(LEXICAL)]
    meaning = [name for name in names if not name.endswith(LEXICAL)]
    both = np.logical_and.reduce([has[name] for name in names]) if lexical and meaning else np.zeros(1, bool)
    words, near, base = evidence.joint
    terms = {}
    for name in names:
        share, value = np.full(len(has[name]), near), values[name]
        if name in lexical:
            share = words * np.minimum(evidence.share(arms[name].ranked, arms[name].scores), 1.0)
            value = np.where(both, np.maximum(value, 0.0), value)
        share = np.where(has[name], np.where(both, share, 1.0) * ranking.weight(name), 0.0)
        value = share * np.where(has[name], value, 0.0)
        if name in lexical:
            value = value + np.where(both, base * ranking.weight(name), 0.0)
        terms[name] = (share, value)
    total = sum((value for _, value in terms.values()), np.zeros(1))
    any_ = np.logical_or.reduce([has[name] for name in names])
    taken = 0.0
    if crowd and any_.any():
        rows = max((arms[name].ranked.count for name in meaning), default=0) or items
        mass = float(np.exp(np.clip(total[any_], -50, 50)).sum()) / max(rows, 1)
        taken = evidence.crowd * math.log(max(mass, FLOOR))
    return _View(terms, taken, np.where(any_, total - taken, -np.inf))


def _average(arms: Mapping[str, Scored], ranking: Ranking) -> _Lines:
    """Return the ledgers of the other methods: each arm's value in [0, 1] times its share; the shares of the best
    views' arms sum to 1."""
    n = len(next(iter(arms.values())).scores)
    values = {name: _value(arm, ranking) for name, arm in arms.items()}
    has = {name: ~np.isnan(arm.scores) for name, arm in arms.items()}
    weights = {name: np.zeros(n) for name in arms}
    heaviness = np.zeros(n)  # of an item's parts together
    for part, views in _parts(arms).items():
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
                heaviest = heaviest * ranking.against
            else:
                heaviness = heaviness + np.where(won, heaviest, 0.0)
            for name in own:
                share = heaviest * has[name] * ranking.weight(name) / np.maximum(sums[view], 1e-300)
                weights[name] = np.where(won, -share if part.startswith("not ") else share, weights[name])
    shares = {name: weight / np.maximum(heaviness, 1e-300) for name, weight in weights.items()}
    return _Lines(shares, {name: shares[name] * np.nan_to_num(values[name]) for name in arms})


def _value(arm: Scored, ranking: Ranking) -> Floats:
    """Return an arm's values in [0, 1] by method; 0 for what is not on its list."""
    listed = arm.ranks > 0
    if ranking.method == "rrf":
        return np.where(listed, 1.0 / (ranking.rrf_k + np.maximum(arm.ranks, 1)), 0.0)
    scores = arm.ranked.scores.astype(np.float64)
    if not len(scores):
        return np.zeros(len(arm.scores))
    if ranking.method == "relative":
        low, high = scores.min(), scores.max()
    else:
        low, high = scores.mean() - 3 * scores.std(), scores.mean() + 3 * scores.std()
    if high - low < 1e-12:  # all the same: nothing tells them apart
        return np.where(listed, 1.0 if ranking.method == "relative" else 0.5, 0.0)
    return np.where(listed, np.clip((np.nan_to_num(arm.scores) - low) / (high - low), 0.0, 1.0), 0.0)
