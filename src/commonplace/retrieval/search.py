"""Ask every arm at once, fuse, and keep the account."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from commonplace.retrieval.evidence import LEXICAL, SCENE, Evidence
from commonplace.retrieval.fusion import Fused, Ranking, Scored, fuse
from commonplace.retrieval.variety import WORTH_A_LOOK, choose, copies_of
from commonplace.space import QuestionVectors
from commonplace.store import Entry, Ranked, Store
from commonplace.types import ArmScore, Filter

__all__ = ["Asked", "Found", "candidates", "compose", "search"]

Vector = NDArray[np.float32]
COPIES = 20
"""How many of the likest pictures are compared with the question's own, point by point."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What to search for: words as they are written, the question's vectors, and the same of what is not wanted.

    ``means`` are the average question's vectors, by ``text`` and ``image``: taken off before words and a picture
    become one vector, and before a vector fused from two views is asked. ``commonness`` returns what is taken off the
    cosines of texts (n, dim) with words, or None. ``picture`` (height, width, 3) are the pixels of a question that is a
    picture alone.
    """

    words: str | None
    vectors: QuestionVectors
    not_words: str | None = None
    not_vectors: QuestionVectors = field(default_factory=QuestionVectors)
    means: Mapping[str, Vector] = field(default_factory=dict)
    commonness: Callable[[Vector], Vector | None] = lambda _: None
    picture: NDArray[np.uint8] | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """An item of the store with its score in [0, 1], the probability that it is relevant, its ledger, and the
    near-copies of it that were found as well."""

    key: int
    entry: Entry
    score: float
    confidence: float
    arms: tuple[ArmScore, ...]
    copies: tuple[Entry, ...] = ()


def compose(text: Vector, image: Vector, weight: float, how: Literal["sum", "slerp"]) -> Vector:
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


@dataclass(frozen=True, slots=True)
class _Arm:
    """How to ask an arm: for its list, and for given items."""

    ask: Callable[[], Ranked]
    score: Callable[[NDArray[np.int64]], NDArray[np.float64]] | None  # None: what is not listed scores nothing
    view: str


def candidates(
    store: Store, asked: Asked, *, k: int, where: Filter, ranking: Ranking
) -> tuple[list[str], NDArray[np.int64], dict[str, Scored]]:
    """Return the ids of the items that any arm lists, their keys (n,) in order, and what each arm says of them.

    The arms are asked in parallel threads. An item that one arm lists is scored by every other that it can have.
    """
    arms = _arms(store, asked, where, ranking, max(ranking.depth, k))
    arms = {name: arm for name, arm in arms.items() if ranking.weight(name) > 0}
    wanted = [name for name in arms if not name.startswith("not ")]
    if not wanted:
        return [], np.empty(0, np.int64), {}
    with ThreadPoolExecutor(max_workers=len(arms)) as pool:
        futures = {name: pool.submit(arm.ask) for name, arm in arms.items()}
        lists = {name: future.result() for name, future in futures.items()}
    listed = np.unique(np.concatenate([lists[name].keys for name in wanted]))
    views = store.views(listed.tolist())  # without what was removed since the index was asked
    keys = np.array([key for key in listed.tolist() if key in views], np.int64)
    own = [views[key][1] for key in keys.tolist()]
    scored = {name: _scored(arm, lists[name], keys, own) for name, arm in arms.items()}
    return [views[key][0] for key in keys.tolist()], keys, scored


def _scored(arm: _Arm, ranked: Ranked, keys: NDArray[np.int64], views: Sequence[frozenset[str]]) -> Scored:
    """Return what an arm says of the items with these ``keys`` (n,), sorted, and ``views``."""
    scores = np.full(len(keys), np.nan)
    ranks = np.zeros(len(keys), np.int64)
    at = np.searchsorted(keys, ranked.keys)
    here = (at < len(keys)) & (np.append(keys, -1)[at] == ranked.keys)
    ranks[at[here]] = np.flatnonzero(here) + 1
    scores[at[here]] = ranked.scores[here]
    missing = np.fromiter((_has(own, arm.view) for own in views), bool, len(keys)) & (ranks == 0)
    if missing.any():
        scores[missing] = 0.0 if arm.score is None else arm.score(keys[missing])
    return Scored(ranked, scores, ranks)


def _has(partitions: frozenset[str], view: str) -> bool:
    return bool(partitions & {"text", "image"}) if view == "item" else view in partitions


def search(store: Store, asked: Asked, evidence: Evidence, *, k: int, where: Filter, ranking: Ranking) -> list[Found]:
    """Return the best ``k`` items, best first, ties by item id."""
    ids, keys, arms = candidates(store, asked, k=k, where=where, ranking=ranking)
    if not len(keys):
        return []
    size = store.size(where)
    fused = fuse(arms, ranking, evidence.of(asked.vectors.brevity, size), size, _copies(store, asked, keys, arms))
    order = sorted(range(len(keys)), key=lambda i: (-fused.order[i], ids[i]))
    chosen = choose(store, keys[order], fused.order[order], k=k, ranking=ranking)
    return [_found(fused, order[at], int(keys[order[at]]), entry, copies) for at, entry, copies in chosen]


def _copies(
    store: Store, asked: Asked, keys: NDArray[np.int64], arms: Mapping[str, Scored]
) -> NDArray[np.bool_] | None:
    """Return which candidates (n,) are the picture that is asked with; None where words ask, too."""
    alike = arms.get("image->image")
    if asked.picture is None or alike is None:
        return None
    near = np.flatnonzero(np.nan_to_num(alike.scores, nan=-1.0) >= WORTH_A_LOOK)
    near = near[np.argsort(-alike.scores[near], kind="stable")][:COPIES]
    return np.isin(keys, copies_of(store, asked.picture, keys[near].tolist()))


def _found(fused: Fused, i: int, key: int, entry: Entry, copies: tuple[Entry, ...]) -> Found:
    ledger = fused.ledger(i)
    score = fused.score(ledger)
    confidence = score if fused.calibrated else float(fused.confidence[i])
    return Found(key, entry, score, confidence, ledger, copies)


def _arms(store: Store, asked: Asked, where: Filter, ranking: Ranking, depth: int) -> dict[str, _Arm]:
    """Return how to ask each arm. ``both`` is words and picture as one vector, ``item`` one vector an item."""
    arms: dict[str, _Arm] = {}
    for no, words, vectors in (("", asked.words, asked.vectors), ("not ", asked.not_words, asked.not_vectors)):
        if words:
            arms[no + LEXICAL] = _Arm(partial(store.search_words, words, depth, where), None, "lexical")
        parts = {name: vector for name in ("text", "image") if (vector := getattr(vectors, name)) is not None}
        if len(parts) == 2 and ranking.question != "late":
            text, image = (_less(parts[name], asked.means.get(name)) for name in ("text", "image"))
            parts = {"both": compose(text, image, ranking.picture_weight, ranking.question)}
        for name, vector in parts.items():
            if ranking.views != "separate":
                alpha = ranking.alpha if ranking.views == "fused" else None
                centred = vector if name == "both" else _less(vector, asked.means.get(name))
                arms[f"{no}{name}->item"] = _Arm(
                    partial(store.search_fused, centred, depth, where, alpha),
                    partial(store.score_fused, centred, alpha=alpha),
                    "item",
                )
                continue
            for partition in ("text", "image"):
                # Words and picture in one vector ask with words: their cosines are judged as those of words are.
                crosses = ("image" if name == "image" else "text") != partition
                inside, asks = partition, vector
                if name == partition == "image" and vectors.look is not None:
                    inside, asks = "look", vectors.look  # pictures are compared by their looks, where these are known
                if vectors.divided and crosses:
                    if vectors.across is None and name == "text":
                        continue  # words and pictures have no common space
                    inside, asks = ("image", vectors.across) if name == "text" else ("across", vector)
                arm = _Arm(
                    partial(store.search, inside, asks, depth, where, offset=crosses),
                    partial(store.score, inside, asks, offset=crosses),
                    partition,
                )
                own = name == partition == "text"
                arms[f"{no}{name}->{partition}"] = _uncommon(store, arm, asked.commonness) if own else arm
            if name == "image" and vectors.look is not None and len(parts) > 1:
                # A picture that words change is meant for what it shows as well as for its looks.
                arms[no + SCENE] = _Arm(
                    partial(store.search, "image", vector, depth, where),
                    partial(store.score, "image", vector),
                    "image",
                )
    return arms


def _uncommon(store: Store, arm: _Arm, commonness: Callable[[Vector], Vector | None]) -> _Arm:
    """Return an arm that asks texts with words, less what each text owes to being like all texts.

    The list is put in its new order; what lay beyond its end by cosine stays there. An item with several views counts
    as its first.
    """
    asks, score = arm.ask, arm.score
    assert score is not None

    def taken(keys: NDArray[np.int64]) -> Vector | float:
        found = commonness(store.gather("text", keys))
        return 0.0 if found is None else found

    def ask() -> Ranked:
        listed = asks()
        scores = listed.scores - taken(listed.keys)
        best = np.lexsort((listed.keys, -scores))
        return replace(listed, keys=listed.keys[best], scores=scores[best])

    return replace(arm, ask=ask, score=lambda keys: score(keys) - taken(keys))


def _less(vector: Vector, mean: Vector | None) -> Vector:
    """Return the vector without the mean of its kind, in unit length."""
    if mean is None:
        return vector
    less = vector - mean
    return np.asarray(less / max(float(np.linalg.norm(less)), 1e-6), np.float32)
