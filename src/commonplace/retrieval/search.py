"""Ask every arm at once, fuse, and keep the account."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from commonplace.retrieval.fusion import LEXICAL, Ranking, fuse
from commonplace.space import QuestionVectors
from commonplace.store import Entry, Ranked, Store
from commonplace.types import ArmScore, Filter

__all__ = ["Background", "Cosines", "Found", "compose", "search"]


@dataclass(frozen=True, slots=True)
class Cosines:
    """What an arm's cosines look like: ``chance`` is reached by one in a hundred pairs that have nothing to do with
    each other; ``mean`` and ``std`` are those of pairs that belong together."""

    chance: float
    mean: float
    std: float


@dataclass(frozen=True, slots=True)
class Background:
    """The cosines of each arm, from the model bundle: what makes a .25 of one comparable with a .6 of another."""

    arms: Mapping[str, Cosines]

    @classmethod
    def from_bundle(cls, spec: Mapping[str, Any]) -> Background:
        """Return the background that ``bundle.json`` describes."""
        return cls(
            {
                arm: Cosines(found["unrelated"]["quantiles"]["0.99"], found["related"]["mean"], found["related"]["std"])
                for arm, found in spec["background"].items()
            }
        )

    def evidence(self, arm: str, ranked: Ranked) -> NDArray[np.float64]:
        """Return values in [0, 1] for a list's raw scores.

        For words the share of a full match, so that a rare word counts and a missing one is missed.
        For cosines see :meth:`nearness`.
        """
        if arm == LEXICAL:
            return np.minimum(ranked.scores.astype(np.float64) / max(ranked.full, 1e-6), 1.0)
        return self.nearness(arm, ranked.scores)

    def nearness(self, arm: str, cosines: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return values in [0, 1] for an arm's cosines, by a logistic curve.

        One half stands midway between what unrelated pairs reach by chance and what related pairs have on average;
        the width is two thirds of the spread of related pairs, so that it tells the good from the better.
        """
        asked, partition = arm.split("->")
        # A question of words and picture, and a vector fused from two views, have no cosines of their own.
        asked = "text" if asked == "both" else asked
        partition = asked if partition == "item" else partition
        known = self.arms[f"{asked}->{partition}"]
        middle = (known.chance + known.mean) / 2
        return 1 / (1 + np.exp((middle - cosines.astype(np.float64)) / (known.std / 1.5)))


@dataclass(frozen=True, slots=True)
class Found:
    """An item of the store with its score and ledger."""

    key: int
    entry: Entry
    score: float
    arms: tuple[ArmScore, ...]


def compose(
    text: NDArray[np.float32], image: NDArray[np.float32], weight: float, how: Literal["sum", "slerp"]
) -> NDArray[np.float32]:
    """Return one unit vector for words and a picture; ``weight`` in [0, 1] is the picture's share.

    ``slerp`` goes that share of the great circle from the words to the picture (Shoemake 1985; for composed
    questions Jang et al. 2024); ``sum`` is the weighted mean, normalised.
    """
    both = (1 - weight) * text + weight * image
    if how == "slerp":
        angle = math.acos(min(1.0, max(-1.0, float(text @ image))))
        if math.sin(angle) > 1e-3:  # between equal or opposite vectors no great circle is marked
            both = (math.sin((1 - weight) * angle) * text + math.sin(weight * angle) * image) / math.sin(angle)
    length = float(np.linalg.norm(both))
    return np.asarray(both / length, dtype=np.float32) if length > 1e-6 else text


def search(
    store: Store,
    words: str | None,
    vectors: QuestionVectors,
    background: Background,
    *,
    k: int,
    where: Filter,
    ranking: Ranking,
) -> list[Found]:
    """Return the best ``k`` items, best first, ties by item id. The arms are asked in parallel threads."""
    tasks = _tasks(store, words, vectors, where, ranking, max(ranking.depth, k))
    tasks = {arm: task for arm, task in tasks.items() if ranking.weight(arm) > 0}
    if not tasks:
        return []
    with ThreadPoolExecutor(max_workers=len(tasks)) as pool:
        futures = {arm: pool.submit(task) for arm, task in tasks.items()}
        lists = {arm: future.result() for arm, future in futures.items()}
    entries = store.entries(sorted({int(key) for ranked in lists.values() for key in ranked.keys}))

    def possible(key: int) -> set[str]:
        views = entries[key].partitions if key in entries else frozenset()
        dense = bool(views & {"text", "image"})
        return {
            arm for arm in lists if (where_found := arm.split("->")[-1]) in views or (where_found == "item" and dense)
        }

    ledgers = fuse(lists, possible, ranking, background.evidence)
    found = [
        Found(key, entries[key], math.fsum(arm.contribution for arm in arms), arms)
        for key, arms in ledgers.items()
        if key in entries  # removed since the index was asked
    ]
    found.sort(key=lambda one: (-one.score, one.entry.item.id))
    return found[:k]


def _tasks(
    store: Store, words: str | None, vectors: QuestionVectors, where: Filter, ranking: Ranking, depth: int
) -> dict[str, Callable[[], Ranked]]:
    """Return what to ask, by arm. ``both`` is words and picture as one vector, ``item`` one vector an item."""
    tasks: dict[str, Callable[[], Ranked]] = {}
    if words:
        tasks[LEXICAL] = lambda: store.search_words(words, depth, where)
    asked: dict[str, NDArray[np.float32]] = {}
    if vectors.text is not None and vectors.image is not None and ranking.question != "late":
        asked["both"] = compose(vectors.text, vectors.image, ranking.picture_weight, ranking.question)
    else:
        asked |= {name: vector for name in ("text", "image") if (vector := getattr(vectors, name)) is not None}
    for name, vector in asked.items():
        if ranking.views == "separate":
            for partition in ("text", "image"):
                # Words and picture in one vector ask with words: their cosines are judged as those of words are.
                crosses = ("image" if name == "image" else "text") != partition
                tasks[f"{name}->{partition}"] = partial(store.search, partition, vector, depth, where, offset=crosses)
        else:
            alpha = ranking.alpha if ranking.views == "fused" else None
            tasks[f"{name}->item"] = partial(store.search_fused, vector, depth, where, alpha)
    return tasks
