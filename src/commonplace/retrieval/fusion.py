"""Late fusion: several ranked lists into one, where an arm that an item cannot have costs it nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from commonplace.errors import QuestionError
from commonplace.store import Ranked
from commonplace.types import ArmScore

__all__ = ["LEXICAL", "Evidence", "Ranking", "fuse"]

LEXICAL = "lexical"

Evidence = Callable[[str, Ranked], NDArray[np.float64]]
"""Maps an arm's raw scores to values in [0, 1] that may be compared between arms."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """How a question is asked and its lists are fused. Raises QuestionError for values out of range.

    ``method``: ``weighted`` sums each arm's evidence in [0, 1]; ``rrf`` sums 1 / (``rrf_k`` + rank) (Cormack,
    Clarke and Büttcher 2009). ``weights``: by arm, 1 where not named, 0 leaves the arm out.
    ``question``: words and picture asked ``late`` (each in arms of its own) or as one vector, ``sum`` or
    ``slerp``, with the picture's share ``picture_weight``. ``views``: an item's views ``separate``, or one vector
    an item: ``fused`` (``alpha`` text + (1 - ``alpha``) image) or ``concat``. ``depth``: hits taken from an arm.
    """

    method: Literal["weighted", "rrf"] = "weighted"
    rrf_k: int = 60
    weights: Mapping[str, float] = field(default_factory=dict)
    question: Literal["late", "sum", "slerp"] = "late"
    picture_weight: float = 0.5
    views: Literal["separate", "fused", "concat"] = "separate"
    alpha: float = 0.5
    depth: int = 100

    def __post_init__(self) -> None:
        _one_of("method", self.method, ("weighted", "rrf"))
        _one_of("question", self.question, ("late", "sum", "slerp"))
        _one_of("views", self.views, ("separate", "fused", "concat"))
        for name in ("picture_weight", "alpha"):
            if not 0 <= getattr(self, name) <= 1:
                raise QuestionError(f"{name} is {getattr(self, name)}: it must be between 0 and 1")
        for name, least, most in (("rrf_k", 0, 1_000_000), ("depth", 1, 10_000)):
            if not isinstance(getattr(self, name), int) or not least <= getattr(self, name) <= most:
                raise QuestionError(f"{name} is {getattr(self, name)}: it must be a whole number, {least} to {most}")
        for arm, weight in self.weights.items():
            if not isinstance(weight, (int, float)) or not 0 <= weight <= 1e6:
                raise QuestionError(f"the weight of {arm} is {weight}: it must be a number from 0 to 1,000,000")

    def weight(self, arm: str) -> float:
        """Return the weight of ``arm``."""
        return self.weights.get(arm, 1.0)


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise QuestionError(f"{name} is {value!r}: choose one of {', '.join(allowed)}")


def fuse(
    lists: Mapping[str, Ranked],
    possible: Callable[[int], Collection[str]],
    ranking: Ranking,
    evidence: Evidence,
) -> dict[int, tuple[ArmScore, ...]]:
    """Return the ledger of every item (by key) that is in any list; contributions sum to its score, in [0, 1].

    For each part of the question (words, picture) an item is as good as its best view: a picture is not punished for
    a caption that says something else, nor for having none. Within a view the arms' values are averaged by weight;
    an arm that the item could have had (``possible(key)``) and is not listed by counts as nothing found, one it
    cannot have costs nothing. Arms of the other views stand in the ledger with weight 0.
    """
    lines: dict[int, list[tuple[str, float, int, float]]] = {}
    for arm, ranked in lists.items():
        if ranking.method == "rrf":
            values = 1.0 / (ranking.rrf_k + np.arange(1, len(ranked.keys) + 1))
        else:
            values = evidence(arm, ranked)
        rows = zip(ranked.keys.tolist(), ranked.scores.tolist(), values.tolist(), strict=True)
        for rank, (key, score, value) in enumerate(rows, start=1):
            lines.setdefault(key, []).append((arm, score, rank, value))
    place = {arm: _place(arm, lists) for arm in lists}
    ledgers = {}
    for key, found in lines.items():
        values_of = {arm: value for arm, _, _, value in found}
        arms = {arm for arm in possible(key) if arm in lists} | set(values_of)
        shares = _shares(arms, values_of, place, ranking)
        ledgers[key] = tuple(
            ArmScore(arm, score, rank, shares[arm], shares[arm] * value) for arm, score, rank, value in found
        )
    return ledgers


def _place(arm: str, arms: Collection[str]) -> tuple[str, str]:
    """Return the part of the question that an arm asks with and the view that it asks; words belong to the text."""
    if arm != LEXICAL:
        asked, _, view = arm.partition("->")
        return asked, view
    dense = [one.partition("->") for one in arms if one != LEXICAL]
    asked = "both" if any(one[0] == "both" for one in dense) else "text"
    return asked, "item" if any(one[2] == "item" for one in dense) else "text"


def _shares(
    arms: Collection[str], values: Mapping[str, float], place: Mapping[str, tuple[str, str]], ranking: Ranking
) -> dict[str, float]:
    """Return each arm's share in an item's score: the shares of the best views' arms sum to 1, all others are 0."""
    parts: dict[str, dict[str, list[str]]] = {}
    for arm in sorted(arms):
        part, view = place[arm]
        parts.setdefault(part, {}).setdefault(view, []).append(arm)

    def worth(own: list[str]) -> float:
        total = math.fsum(ranking.weight(arm) for arm in own)
        return math.fsum(ranking.weight(arm) * values.get(arm, 0.0) for arm in own) / total

    best = [max(views.values(), key=worth) for views in parts.values()]
    weights = [max(ranking.weight(arm) for arm in own) for own in best]
    shares = dict.fromkeys(arms, 0.0)
    for own, weight in zip(best, weights, strict=True):
        total = math.fsum(ranking.weight(arm) for arm in own)
        for arm in own:
            shares[arm] = weight / math.fsum(weights) * ranking.weight(arm) / total
    return shares
