"""A search: queries all channels in parallel, fuses their lists, and explains each score."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from commonplace.channels import BOTH, CHANGED_TO_IMAGE, ITEM, JOINT, TEXT_TO_TEXT, ChannelSpec
from commonplace.errors import QueryError
from commonplace.i18n import _
from commonplace.retrieval.calibration import LEXICAL, Calibration
from commonplace.retrieval.diversify import MIN_SIMILARITY, diversify, near_duplicates_of
from commonplace.retrieval.fusion import NEGATIVE, ChannelScores, Fused, Ranking, fuse
from commonplace.retrieval.lookups import lookup
from commonplace.retrieval.shared import shared_reads, snapshot_of
from commonplace.space import QueryVectors
from commonplace.store import RankedList, Sample, SearchStore, Store
from commonplace.text import asks
from commonplace.types import IMAGE, TEXT, Filter, Item, ScoreComponent

__all__ = ["EncodedQuery", "RankedItem", "candidates", "compose", "search"]

Vector = NDArray[np.float32]
COPIES = 20
"""Number of the most similar pictures that are compared with the query's own picture by pixels."""
LOOKED_AT = 40
"""Number of the best items by words, and of the best paths, in which a query is looked up as written."""
CHANGED_SHARE = 0.35
"""Share of the picture in a picture that words change, at a ``Ranking.picture_weight`` of one half."""
IN_TURN = 10_000
"""Items of a local collection up to which the channels are searched in turn: each takes less than a thread costs."""
THREADS = 32  # that search channels, of all searches at the same time; a server's answers take them long
_PATHS = "paths"  # beside the names of channels
SAMPLE = 2048
"""Number of sampled rows that the background scores of a query are estimated from."""


@dataclass(frozen=True, slots=True)
class EncodedQuery:
    """An encoded query: its words and vectors, and the words and vectors of its negative part.

    ``means`` (dim,) are the mean query vectors, by ``text`` and ``image``. They are subtracted before words and picture
    are combined into one vector, and before early-fused views are searched. ``text_hubness`` returns the hubness (n,)
    of texts (n, dim), to be subtracted from their cosines with words; None if there is none. ``picture``
    (height, width, 3) are the pixels of the query's picture.
    """

    words: str | None
    vectors: QueryVectors
    negative_text: str | None = None
    negative_vectors: QueryVectors = field(default_factory=QueryVectors)
    means: Mapping[str, Vector] = field(default_factory=dict)
    text_hubness: Callable[[Vector], Vector | None] = lambda _: None
    picture: NDArray[np.uint8] | None = None

    @property
    def words_only(self) -> bool:
        """Whether the query consists of words, without a picture or another part."""
        return bool(self.words) and all(spec.asked_by == TEXT for spec, _ in self.vectors.channels)

    @property
    def changes_picture(self) -> bool:
        """Whether the query consists of a picture and of words that change it, rather than ask about it."""
        parts = {spec.asked_by for spec, _ in self.vectors.channels}
        return bool(self.words) and parts == set(JOINT) and not asks(self.words or "")


@dataclass(frozen=True, slots=True)
class RankedItem:
    """A ranked item with its near-duplicates. ``score`` and ``confidence``, the probability that it is relevant, are in
    [0, 1]."""

    item: Item
    score: float
    confidence: float
    breakdown: tuple[ScoreComponent, ...]
    near_duplicates: tuple[Item, ...] = ()


def compose(text: Vector, image: Vector, weight: float, how: Literal["sum", "slerp"]) -> Vector:
    """Return one unit vector (dim,) for words and a picture; ``weight`` in [0, 1] is the weight of the picture.

    ``slerp`` is spherical interpolation from the words to the picture (Shoemake 1985; for composed queries Jang et al.
    2024). ``sum`` is the normalised weighted mean.
    """
    both = (1 - weight) * text + weight * image
    if how == "slerp":
        angle = math.acos(min(1.0, max(-1.0, float(text @ image))))
        if math.sin(angle) > 1e-3:  # equal or opposite vectors define no great circle
            both = (math.sin((1 - weight) * angle) * text + math.sin(weight * angle) * image) / math.sin(angle)
    length = float(np.linalg.norm(both))
    return np.asarray(both / length, dtype=np.float32) if length > 1e-6 else text


@dataclass(frozen=True, slots=True)
class _Channel:
    """The two queries of a channel: ``ask`` returns its ranked list, ``score`` the scores (n,) of given items."""

    ask: Callable[[], RankedList]
    score: Callable[[Sequence[str]], NDArray[np.float64]] | None  # None: items that are not listed have no score
    view: str


class _Measured:
    """A store that adds statistics to its ranked lists: the mean and standard deviation of the query's scores over a
    sample of the partition's rows."""

    def __init__(self, store: SearchStore) -> None:
        self._store = store
        self.score, self.vectors, self.sample = store.score, store.vectors, store.sample
        self.signatures = store.signatures

    def search(self, partition: str, query: Vector, k: int, where: Filter, *, cross_modal: bool = False) -> RankedList:
        ranked = self._store.search(partition, query, k, where, cross_modal=cross_modal)
        return _with_statistics(ranked, query, self._store.sample(partition, SAMPLE), cross_modal)

    # The methods below are looked up when they are called: a store without the capability need not have them.

    def snapshot(self) -> AbstractContextManager[None]:
        return self._store.snapshot()

    def search_text(self, text: str, k: int, where: Filter) -> RankedList:
        return self._store.search_text(text, k, where)

    def search_paths(self, text: str, k: int, where: Filter) -> RankedList:
        return self._store.search_paths(text, k, where)

    def occurrences(self, phrases: Sequence[str]) -> dict[str, int]:
        return self._store.occurrences(phrases)

    def score_fused(self, query: Vector, ids: Sequence[str], *, alpha: float | None) -> NDArray[np.float64]:
        return self._store.score_fused(query, ids, alpha=alpha)

    def sample_fused(self, n: int, *, alpha: float | None) -> Sample:
        return self._store.sample_fused(n, alpha=alpha)

    def search_fused(self, query: Vector, k: int, where: Filter, alpha: float | None) -> RankedList:
        ranked = self._store.search_fused(query, k, where, alpha)
        return _with_statistics(ranked, query, self._store.sample_fused(SAMPLE, alpha=alpha), False)


def _with_statistics(ranked: RankedList, query: Vector, sample: Sample, cross_modal: bool) -> RankedList:
    if not len(sample.vectors):
        return ranked
    scores = np.einsum("ij,j->i", sample.vectors, query)  # BLAS's own threads would slow down the other channels
    if cross_modal and sample.offsets is not None:
        scores = scores - sample.offsets
    return replace(ranked, count=sample.total, mean=float(scores.mean()), std=float(scores.std()))


def candidates(
    store: Store, query: EncodedQuery, *, k: int, where: Filter, ranking: Ranking
) -> tuple[list[str], dict[str, ChannelScores]]:
    """Return the sorted ids (n) of the items that any channel lists, and each channel's scores of them.

    An item on one channel's list is also scored by every other channel that has a
    view of it. Raises QueryError if the ranking needs a feature that the store lacks.
    """
    with snapshot_of(store):
        return _candidates(shared_reads(store), query, k, where, ranking)


def _candidates(
    store: Store, query: EncodedQuery, k: int, where: Filter, ranking: Ranking
) -> tuple[list[str], dict[str, ChannelScores]]:
    if ranking.views != "separate" and not store.capabilities.early_fusion:
        raise QueryError(_("this store cannot fuse the views of an item early: leave out views"))
    channels = _channels(_Measured(store), query, where, ranking, max(ranking.depth, k))
    channels = {
        name: channel
        for name, channel in channels.items()
        if ranking.weight(name) > 0 and (store.capabilities.lexical or not name.endswith(LEXICAL))
    }
    wanted = [name for name in channels if not name.startswith(NEGATIVE)]
    if not wanted:
        return [], {}
    looked_up = (query.words or "") if LEXICAL in channels and query.words_only else ""
    asks = {name: channel.ask for name, channel in channels.items()}
    if looked_up and store.capabilities.paths:
        asks[_PATHS] = partial(store.search_paths, looked_up, LOOKED_AT, where)
    lists = _answers(store, asks)
    by_path = lists.pop(_PATHS, RankedList())
    listed = sorted({id_ for name in wanted for id_ in lists[name].ids} | set(by_path.ids))
    views = store.views(listed)  # leaves out items that were removed meanwhile
    ids = [id_ for id_ in listed if id_ in views]
    place = {id_: n for n, id_ in enumerate(ids)}
    has = {
        view: np.array([_has(views[id_], view) for id_ in ids], bool)
        for view in {channel.view for channel in channels.values()}
    }
    scored = {name: _scored(channel, lists[name], ids, place, has[channel.view]) for name, channel in channels.items()}
    if looked_up:
        by_words = _first(lists[LEXICAL], LOOKED_AT)
        items = store.items(sorted({*by_words.ids, *by_path.ids}))
        finds = lookup(looked_up, by_words, by_path, ids, items)
        scored[LEXICAL] = replace(scored[LEXICAL], lookup=finds)
    return ids, scored


def _answers(store: Store, asks: Mapping[str, Callable[[], RankedList]]) -> dict[str, RankedList]:
    """Return what each function returns; all at once where that pays, the first one in this thread."""
    if len(asks) < 2 or (store.capabilities.files and store.count() <= IN_TURN):
        return {name: ask() for name, ask in asks.items()}
    (first, ask_first), *others = asks.items()
    futures = {name: _channel_threads().submit(ask) for name, ask in others}
    try:
        answers = {first: ask_first()}
    finally:
        wait(futures.values())  # nothing goes on with a store that the caller may close
    return answers | {name: future.result() for name, future in futures.items()}


@cache
def _channel_threads() -> ThreadPoolExecutor:
    """Return the threads of all searches of this process. What runs in them waits for none of them."""
    return ThreadPoolExecutor(THREADS, "commonplace-channels")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_channel_threads.cache_clear)  # threads do not survive a fork


def _first(ranked: RankedList, k: int) -> RankedList:
    return replace(ranked, ids=ranked.ids[:k], scores=ranked.scores[:k])


def _scored(
    channel: _Channel, ranked: RankedList, ids: Sequence[str], place: Mapping[str, int], has_view: NDArray[np.bool_]
) -> ChannelScores:
    """Return a channel's scores (n,) of the items ``ids`` (n), by id at ``place``; which of them ``has_view`` (n,)."""
    scores = np.full(len(ids), np.nan)
    ranks = np.zeros(len(ids), np.int64)
    for rank, (id_, score) in enumerate(zip(ranked.ids, ranked.scores.tolist(), strict=True), start=1):
        if (n := place.get(id_)) is not None:
            scores[n], ranks[n] = score, rank
    missing = has_view & (ranks == 0)
    if missing.any():
        unlisted = np.flatnonzero(missing)
        scores[unlisted] = 0.0 if channel.score is None else channel.score([ids[n] for n in unlisted.tolist()])
    return ChannelScores(ranked, scores, ranks)


def _has(partitions: frozenset[str], view: str) -> bool:
    return bool(partitions & {TEXT, IMAGE}) if view == ITEM else view in partitions


def search(
    store: Store, query: EncodedQuery, calibration: Calibration, *, k: int, where: Filter, ranking: Ranking
) -> list[RankedItem]:
    """Return the best ``k`` items, best first; ties are ordered by item id. They are read in one snapshot of the store.

    Where the channels run in threads, a list may come of a later state: what the snapshot lacks is left out.
    """
    with snapshot_of(store):
        return _search(shared_reads(store), query, calibration, k, where, ranking)


def _search(
    store: Store, query: EncodedQuery, calibration: Calibration, k: int, where: Filter, ranking: Ranking
) -> list[RankedItem]:
    ids, channels = _candidates(store, query, k, where, ranking)
    if not ids:
        return []
    # A filter by modality chooses what is shown. It makes no item more likely: confidences stay on one scale.
    size = store.count(replace(where, modality=None))
    fused = fuse(
        channels,
        ranking,
        calibration.for_vectors(query.vectors, size),
        size,
        _near_duplicates(store, query, ids, channels, ranking),
        own_picture_fits=not query.changes_picture,
    )
    order = sorted(range(len(ids)), key=lambda n: (-fused.order[n], ids[n]))
    chosen = diversify(store, store.items, [ids[n] for n in order], fused.order[order], k, ranking)
    return [_ranked_item(fused, order[place], item, copies) for place, item, copies in chosen]


def _near_duplicates(
    store: Store,
    query: EncodedQuery,
    ids: Sequence[str],
    channels: Mapping[str, ChannelScores],
    ranking: Ranking,
) -> NDArray[np.bool_] | None:
    """Return which candidates (n,) are near-duplicates of the query picture; None if that does not matter.

    It does not matter if the user chose to combine words and picture into one vector.
    """
    similar = channels.get("image->image")
    if query.picture is None or similar is None or (query.words and ranking.question != "late"):
        return None
    near = np.flatnonzero(np.nan_to_num(similar.scores, nan=-1.0) >= MIN_SIMILARITY)
    near = near[np.argsort(-similar.scores[near], kind="stable")][:COPIES]
    similar_items = store.items([ids[n] for n in near.tolist()])
    copies = set(near_duplicates_of(store, query.picture, similar_items.values()))
    return np.fromiter((id_ in copies for id_ in ids), bool, len(ids))


def _ranked_item(fused: Fused, n: int, item: Item, near_duplicates: tuple[Item, ...]) -> RankedItem:
    breakdown = fused.breakdown(n)
    score = fused.score(breakdown)
    confidence = score if fused.calibrated else float(fused.confidence[n])
    return RankedItem(item, score, confidence, breakdown, near_duplicates)


def _channels(
    store: SearchStore, query: EncodedQuery, where: Filter, ranking: Ranking, depth: int
) -> dict[str, _Channel]:
    """Return the channels of a query by name, in the order of score breakdowns.

    The query determines its channels. Early fusion changes them: it combines words and picture into one vector
    (``both``), or searches one vector per item (``item``) instead of its views.
    """
    channels: dict[str, _Channel] = {}
    sides = (("", query.words, query.vectors), (NEGATIVE, query.negative_text, query.negative_vectors))
    for prefix, words, vectors in sides:
        if words:
            channels[prefix + LEXICAL] = _Channel(partial(store.search_text, words, depth, where), None, "lexical")
        joint = {part: vector for part in JOINT if (vector := vectors.by_encoder.get(part)) is not None}
        composed = None
        if len(joint) > 1 and ranking.question != "late":
            text, image = (_less(joint[part], query.means.get(part)) for part in JOINT)
            composed = compose(text, image, ranking.picture_weight, ranking.question)
        fused: set[str] = set()  # query parts that search one vector per item
        for spec, vector in vectors.channels:
            part = spec.asked_by
            if composed is not None and part in JOINT:
                if spec.joint and part != TEXT:  # a combined vector is searched and calibrated like words
                    continue
                part, vector = BOTH, composed if spec.joint else vector
            if ranking.views != "separate" and spec.joint and spec.asked_by in joint:
                if part not in fused:
                    fused.add(part)
                    centred = composed if composed is not None else _less(joint[part], query.means.get(part))
                    alpha = ranking.alpha if ranking.views == "fused" else None
                    channels[f"{prefix}{part}->{ITEM}"] = _fused_channel(store, centred, depth, where, alpha)
                continue
            channel = _dense_channel(store, spec, vector, depth, where)
            if spec.name == TEXT_TO_TEXT and part == TEXT:
                channel = _uncommon(store, channel, query.text_hubness)
            channels[prefix + part + spec.name.removeprefix(spec.asked_by)] = channel
    if query.vectors.change is not None and query.changes_picture and ranking.fuses_late:
        share = ranking.picture_weight * CHANGED_SHARE
        share /= share + (1 - ranking.picture_weight) * (1 - CHANGED_SHARE)
        changed = compose(*query.vectors.change, share, "sum")
        channels[CHANGED_TO_IMAGE] = _Channel(
            partial(store.search, IMAGE, changed, depth, where, cross_modal=True),
            partial(store.score, IMAGE, changed, cross_modal=True),
            IMAGE,
        )
    return channels


def _dense_channel(store: SearchStore, spec: ChannelSpec, vector: Vector, depth: int, where: Filter) -> _Channel:
    """Return a channel that searches its partition with a vector."""
    return _Channel(
        partial(store.search, spec.view, vector, depth, where, cross_modal=spec.cross_modal),
        partial(store.score, spec.view, vector, cross_modal=spec.cross_modal),
        spec.view,
    )


def _fused_channel(store: SearchStore, vector: Vector, depth: int, where: Filter, alpha: float | None) -> _Channel:
    """Return a channel that searches the early-fused vectors of items."""
    return _Channel(
        partial(store.search_fused, vector, depth, where, alpha), partial(store.score_fused, vector, alpha=alpha), ITEM
    )


def _uncommon(store: SearchStore, channel: _Channel, text_hubness: Callable[[Vector], Vector | None]) -> _Channel:
    """Return a channel that searches texts with words, and subtracts the hubness of each text from its score.

    The list is reordered by the new scores, but gains no items. If an item has several views, the hubness of one of
    them is used.
    """
    asks, score = channel.ask, channel.score
    assert score is not None

    def hubness_of(ids: Sequence[str]) -> Vector | float:
        hubness = text_hubness(store.vectors("text", ids))
        return 0.0 if hubness is None else hubness

    def ask() -> RankedList:
        ranked = asks()
        scores = ranked.scores - hubness_of(ranked.ids)
        order = sorted(range(len(scores)), key=lambda n: (-scores[n], ranked.ids[n]))
        return replace(ranked, ids=tuple(ranked.ids[n] for n in order), scores=scores[order])

    return replace(channel, ask=ask, score=lambda ids: score(ids) - hubness_of(ids))


def _less(vector: Vector, mean: Vector | None) -> Vector:
    """Return the vector minus the mean of its modality, normalised."""
    if mean is None:
        return vector
    less = vector - mean
    return np.asarray(less / max(float(np.linalg.norm(less)), 1e-6), np.float32)
