"""Ask every channel at once, fuse, and keep the account."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from commonplace.channels import BOTH, ITEM, JOINT, TEXT_TO_TEXT, ChannelSpec
from commonplace.retrieval.calibration import LEXICAL, Calibration
from commonplace.retrieval.diversify import MIN_SIMILARITY, diversify, near_duplicates_of
from commonplace.retrieval.fusion import NEGATIVE, ChannelScores, Fused, Ranking, fuse
from commonplace.space import QueryVectors
from commonplace.store import Entry, RankedList, Store
from commonplace.types import IMAGE, TEXT, Filter, ScoreComponent

__all__ = ["EncodedQuery", "RankedItem", "candidates", "compose", "search"]

Vector = NDArray[np.float32]
COPIES = 20
"""How many of the likest pictures are compared with the question's own, point by point."""


@dataclass(frozen=True, slots=True)
class EncodedQuery:
    """What to search for: words as they are written, the question's vectors, and the same of what is not wanted.

    ``means`` are the average question's vectors, by ``text`` and ``image``: taken off before words and a picture
    become one vector, and before a vector fused from two views is asked. ``text_hubness`` returns what is taken off the
    cosines of texts (n, dim) with words, or None. ``picture`` (height, width, 3) are the pixels of a question that is a
    picture alone.
    """

    words: str | None
    vectors: QueryVectors
    negative_text: str | None = None
    negative_vectors: QueryVectors = field(default_factory=QueryVectors)
    means: Mapping[str, Vector] = field(default_factory=dict)
    text_hubness: Callable[[Vector], Vector | None] = lambda _: None
    picture: NDArray[np.uint8] | None = None


@dataclass(frozen=True, slots=True)
class RankedItem:
    """An item of the store with its score in [0, 1], the probability that it is relevant, its score breakdown, and the
    near-copies of it that were found as well."""

    key: int
    entry: Entry
    score: float
    confidence: float
    breakdown: tuple[ScoreComponent, ...]
    near_duplicates: tuple[Entry, ...] = ()


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
class _Channel:
    """How to ask an channel: for its list, and for given items."""

    ask: Callable[[], RankedList]
    score: Callable[[NDArray[np.int64]], NDArray[np.float64]] | None  # None: what is not listed scores nothing
    view: str


def candidates(
    store: Store, asked: EncodedQuery, *, k: int, where: Filter, ranking: Ranking
) -> tuple[list[str], NDArray[np.int64], dict[str, ChannelScores]]:
    """Return the ids of the items that any channel lists, their keys (n,) in order, and what each channel says of them.

    The channels are asked in parallel threads. An item that one channel lists is scored by every other that it can
    have.
    """
    channels = _channels(store, asked, where, ranking, max(ranking.depth, k))
    channels = {name: channel for name, channel in channels.items() if ranking.weight(name) > 0}
    wanted = [name for name in channels if not name.startswith(NEGATIVE)]
    if not wanted:
        return [], np.empty(0, np.int64), {}
    with ThreadPoolExecutor(max_workers=len(channels)) as pool:
        futures = {name: pool.submit(channel.ask) for name, channel in channels.items()}
        lists = {name: future.result() for name, future in futures.items()}
    listed = np.unique(np.concatenate([lists[name].keys for name in wanted]))
    views = store.views(listed.tolist())  # without what was removed since the index was asked
    keys = np.array([key for key in listed.tolist() if key in views], np.int64)
    own = [views[key][1] for key in keys.tolist()]
    scored = {name: _scored(channel, lists[name], keys, own) for name, channel in channels.items()}
    return [views[key][0] for key in keys.tolist()], keys, scored


def _scored(
    channel: _Channel, ranked: RankedList, keys: NDArray[np.int64], views: Sequence[frozenset[str]]
) -> ChannelScores:
    """Return what an channel says of the items with these ``keys`` (n,), sorted, and ``views``."""
    scores = np.full(len(keys), np.nan)
    ranks = np.zeros(len(keys), np.int64)
    at = np.searchsorted(keys, ranked.keys)
    here = (at < len(keys)) & (np.append(keys, -1)[at] == ranked.keys)
    ranks[at[here]] = np.flatnonzero(here) + 1
    scores[at[here]] = ranked.scores[here]
    missing = np.fromiter((_has(own, channel.view) for own in views), bool, len(keys)) & (ranks == 0)
    if missing.any():
        scores[missing] = 0.0 if channel.score is None else channel.score(keys[missing])
    return ChannelScores(ranked, scores, ranks)


def _has(partitions: frozenset[str], view: str) -> bool:
    return bool(partitions & {TEXT, IMAGE}) if view == ITEM else view in partitions


def search(
    store: Store, asked: EncodedQuery, calibration: Calibration, *, k: int, where: Filter, ranking: Ranking
) -> list[RankedItem]:
    """Return the best ``k`` items, best first, ties by item id."""
    ids, keys, channels = candidates(store, asked, k=k, where=where, ranking=ranking)
    if not len(keys):
        return []
    size = store.size(where)
    fused = fuse(
        channels,
        ranking,
        calibration.for_query(asked.vectors.query_shortness, size),
        size,
        _near_duplicates(store, asked, keys, channels),
    )
    order = sorted(range(len(keys)), key=lambda i: (-fused.order[i], ids[i]))
    chosen = diversify(store, keys[order], fused.order[order], k=k, ranking=ranking)
    return [
        _found(fused, order[at], int(keys[order[at]]), entry, near_duplicates) for at, entry, near_duplicates in chosen
    ]


def _near_duplicates(
    store: Store, asked: EncodedQuery, keys: NDArray[np.int64], channels: Mapping[str, ChannelScores]
) -> NDArray[np.bool_] | None:
    """Return which candidates (n,) are the picture that is asked with; None where words ask, too."""
    alike = channels.get("image->image")
    if asked.picture is None or alike is None:
        return None
    near = np.flatnonzero(np.nan_to_num(alike.scores, nan=-1.0) >= MIN_SIMILARITY)
    near = near[np.argsort(-alike.scores[near], kind="stable")][:COPIES]
    return np.isin(keys, near_duplicates_of(store, asked.picture, keys[near].tolist()))


def _found(fused: Fused, i: int, key: int, entry: Entry, near_duplicates: tuple[Entry, ...]) -> RankedItem:
    breakdown = fused.breakdown(i)
    score = fused.score(breakdown)
    confidence = score if fused.calibrated else float(fused.confidence[i])
    return RankedItem(key, entry, score, confidence, breakdown, near_duplicates)


def _channels(store: Store, asked: EncodedQuery, where: Filter, ranking: Ranking, depth: int) -> dict[str, _Channel]:
    """Return how to ask each channel, by name, in the order of score breakdowns.

    The query says which channels it asks; early fusion composes its words and picture into one vector (``both``), or
    asks one vector an item (``item``) in place of its views.
    """
    channels: dict[str, _Channel] = {}
    sides = (("", asked.words, asked.vectors), (NEGATIVE, asked.negative_text, asked.negative_vectors))
    for prefix, words, vectors in sides:
        if words:
            channels[prefix + LEXICAL] = _Channel(partial(store.search_words, words, depth, where), None, "lexical")
        joint = {part: vector for part in JOINT if (vector := vectors.by_encoder.get(part)) is not None}
        composed = None
        if len(joint) > 1 and ranking.question != "late":
            text, image = (_less(joint[part], asked.means.get(part)) for part in JOINT)
            composed = compose(text, image, ranking.picture_weight, ranking.question)
        fused: set[str] = set()  # parts that ask one vector an item
        for spec, vector in vectors.channels:
            part = spec.asked_by
            if composed is not None and part in JOINT:
                if spec.joint and part != TEXT:  # one vector asks as words do, and is judged as words are
                    continue
                part, vector = BOTH, composed if spec.joint else vector
            if ranking.views != "separate" and spec.joint and spec.asked_by in joint:
                if part not in fused:
                    fused.add(part)
                    centred = composed if composed is not None else _less(joint[part], asked.means.get(part))
                    alpha = ranking.alpha if ranking.views == "fused" else None
                    channels[f"{prefix}{part}->{ITEM}"] = _fused_channel(store, centred, depth, where, alpha)
                continue
            channel = _dense_channel(store, spec, vector, depth, where)
            if spec.name == TEXT_TO_TEXT and part == TEXT:
                channel = _uncommon(store, channel, asked.text_hubness)
            channels[prefix + part + spec.name.removeprefix(spec.asked_by)] = channel
    return channels


def _dense_channel(store: Store, spec: ChannelSpec, vector: Vector, depth: int, where: Filter) -> _Channel:
    """Return how to ask the partition of a channel with a vector."""
    return _Channel(
        partial(store.search, spec.view, vector, depth, where, offset=spec.cross_modal),
        partial(store.score, spec.view, vector, offset=spec.cross_modal),
        spec.view,
    )


def _fused_channel(store: Store, vector: Vector, depth: int, where: Filter, alpha: float | None) -> _Channel:
    """Return how to ask the vectors that the views of an item were fused into."""
    return _Channel(
        partial(store.search_fused, vector, depth, where, alpha), partial(store.score_fused, vector, alpha=alpha), ITEM
    )


def _uncommon(store: Store, channel: _Channel, text_hubness: Callable[[Vector], Vector | None]) -> _Channel:
    """Return an channel that asks texts with words, less what each text owes to being like all texts.

    The list is put in its new order; what lay beyond its end by cosine stays there. An item with several views counts
    as its first.
    """
    asks, score = channel.ask, channel.score
    assert score is not None

    def taken(keys: NDArray[np.int64]) -> Vector | float:
        found = text_hubness(store.gather("text", keys))
        return 0.0 if found is None else found

    def ask() -> RankedList:
        listed = asks()
        scores = listed.scores - taken(listed.keys)
        best = np.lexsort((listed.keys, -scores))
        return replace(listed, keys=listed.keys[best], scores=scores[best])

    return replace(channel, ask=ask, score=lambda keys: score(keys) - taken(keys))


def _less(vector: Vector, mean: Vector | None) -> Vector:
    """Return the vector without the mean of its kind, in unit length."""
    if mean is None:
        return vector
    less = vector - mean
    return np.asarray(less / max(float(np.linalg.norm(less)), 1e-6), np.float32)
