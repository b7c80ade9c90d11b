"""Selects the items to show: near-duplicates become one hit and, on request, the hits are diversified.

The pictures of one shot of a video are one hit, too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from commonplace.retrieval.fusion import Ranking
from commonplace.store import SIGNATURE_SIDE, SearchStore, array_of
from commonplace.types import Item

__all__ = ["COPY", "diversify", "near_duplicates_of", "overlap"]

COPY = 2.0
"""Two pictures are near-duplicates up to this mean difference (0 to 255) of their signatures' pixels. Photographs
saved again at half the size or at JPEG quality 50 stay below it. Of 2,500 product pictures only true duplicates do.
Vectors cannot decide this: a duplicate may have a cosine of .75, and another shirt a cosine of .98."""
MIN_SIMILARITY = 0.6
"""Two pictures are compared by pixels only from this cosine on."""
LEAST_SHARED = 0.5
"""Two passages are near-duplicates if they share at least this part (0 to 1) of the shorter one."""


ReadItems = Callable[[Sequence[str]], Mapping[str, Item]]
"""Returns the items with these ids, by id, without removed and damaged ones."""


def diversify(
    store: SearchStore, read_items: ReadItems, ids: Sequence[str], order: NDArray[np.float64], k: int, ranking: Ranking
) -> list[tuple[int, Item, tuple[Item, ...]]]:
    """Return up to ``k`` of the ranked items ``ids`` (n): place in the ranking, item, and the item's near-duplicates.

    ``order`` (n,) are the scores of ``ids``, in descending order. The first 3 ``k`` + 20 candidates are searched for
    near-duplicates, and diversified if ``ranking.diversity`` is set. Only these candidates are read from the store. The
    next candidate replaces an item that is damaged or was removed meanwhile.
    """
    near = 3 * k + 20 if ranking.collapse or ranking.diversity else k
    readable = _readable(read_items, ids, near)
    head = list(islice(readable, near))
    places = [place for place, _ in head]
    items = [item for _, item in head]
    similarity = _Similarity(store, items)
    copies: dict[int, list[int]] = {}
    firsts_by_mark: dict[object, list[int]] = {}  # near-duplicates share a mark with the first of them
    for n, item in enumerate(items):
        marks = _shared(item) if ranking.collapse else {}
        among = dict.fromkeys(first for mark in marks for first in firsts_by_mark.get(mark, ()))
        first = _first_copy(items, n, among, similarity)
        if first is None:
            copies[n] = []
            for mark in marks:
                firsts_by_mark.setdefault(mark, []).append(n)
        else:
            copies[first].append(n)
    firsts = list(copies)
    if ranking.diversity and firsts:
        firsts = _marginal(firsts, order[places], similarity, k, ranking.diversity)
    chosen = [(places[n], items[n], tuple(items[copy] for copy in copies[n])) for n in firsts[:k]]
    return chosen + [(place, item, ()) for place, item in islice(readable, k - len(chosen))]  # after the head


def _readable(read_items: ReadItems, ids: Sequence[str], step: int) -> Iterator[tuple[int, Item]]:
    """Yield place and item of each readable item; ``step`` is the number of items read at once."""
    for start in range(0, len(ids), step):
        items = read_items(ids[start : start + step])
        for place, id_ in enumerate(ids[start : start + step], start=start):
            if id_ in items:
                yield place, items[id_]


class _Similarity:
    """Cosines between candidates, by partition; 0 if one of two candidates has no view in the partition."""

    def __init__(self, store: SearchStore, items: Sequence[Item]) -> None:
        self._store = store
        self._items = items
        self._signatures: dict[str, _Signature] | None = None
        self._cosines: dict[str, list[list[float]]] = {}

    def of(self, partition: str, n: int) -> list[float]:
        """Return the cosines of candidate ``n`` with all candidates."""
        if partition not in self._cosines:  # most searches need one partition at most
            rows = self._store.vectors(partition, [item.id for item in self._items])
            # A few rows: threads of BLAS would cost more than they save.
            self._cosines[partition] = np.einsum(
                "id,jd->ij", rows, rows
            ).tolist()  # an item without a view has a row of zeros
        return self._cosines[partition][n]

    def same_picture(self, first: Item, second: Item) -> bool:
        """Return whether two items show the same picture, saved twice."""
        if self._signatures is None:  # many searches need none
            self._signatures = _signatures(self._store, self._items)
        a, b = (self._signatures.get(item.picture or "") for item in (first, second))
        return a is not None and b is not None and _same(a, b)

    def highest(self, first: int, second: int) -> float:
        """Return the highest cosine of two candidates in any partition."""
        return max(self.of(partition, first)[second] for partition in ("text", "image"))


def near_duplicates_of(store: SearchStore, pixels: NDArray[np.uint8], items: Collection[Item]) -> list[str]:
    """Return the ids of those items that are near-duplicates of the picture ``pixels`` (height, width, 3)."""
    from PIL import Image

    side = (SIGNATURE_SIDE, SIGNATURE_SIDE)
    query = _Signature.of(np.asarray(Image.fromarray(pixels).resize(side, Image.Resampling.BOX), np.int16))
    same = {name for name, stored in _signatures(store, items).items() if _same(query, stored)}
    return [item.id for item in items if item.picture in same]


class _Signature(NamedTuple):
    """The signature (side, side, 3) of a picture, and the sum of its values."""

    pixels: NDArray[np.int16]
    total: int

    @classmethod
    def of(cls, pixels: NDArray[np.int16]) -> _Signature:
        return cls(pixels, int(pixels.sum()))


def _signatures(store: SearchStore, items: Iterable[Item]) -> dict[str, _Signature]:
    """Return the signatures of the items' pictures, by content hash, without unreadable ones."""
    names = dict.fromkeys(item.picture for item in items if item.picture is not None)
    read = {name: _signature_of(signature) for name, signature in store.signatures(list(names)).items()}
    return {name: signature for name, signature in read.items() if signature is not None}


@lru_cache(2048)  # of the bytes alone; 4 MB
def _signature_of(signature: bytes) -> _Signature | None:
    pixels = array_of(signature)
    return None if pixels is None else _Signature.of(pixels)


def _same(first: _Signature, second: _Signature) -> bool:
    if abs(first.total - second.total) > COPY * first.pixels.size:  # most pictures differ in their brightness
        return False
    return float(np.abs(first.pixels - second.pixels).mean()) <= COPY


def _shared(item: Item) -> dict[object, None]:
    """Return the marks of an item. Near-duplicates have at least one mark in common."""
    if item.picture is not None:
        return {item.modality: None}
    if not item.text:  # another modality, for which near-duplicates cannot be detected
        return {}
    place = (item.modality, item.document.id, item.span.member, item.span.page)
    return dict.fromkeys([(item.modality, _words(item)), place])


def _first_copy(items: Sequence[Item], n: int, among: Iterable[int], similarity: _Similarity) -> int | None:
    """Return the first of the items ``among`` that item ``n`` is a near-duplicate of; None if there is none."""
    item = items[n]
    if item.picture is None:
        words = _words(item)
        return next((i for i in among if overlap(items[i], item) >= LEAST_SHARED or _words(items[i]) == words), None)
    cosines = similarity.of("image", n)
    for i in among:
        if items[i].picture == item.picture or _of_one_shot(items[i], item):
            return i
        if cosines[i] >= MIN_SIMILARITY and similarity.same_picture(items[i], item):
            return i
    return None


def _of_one_shot(first: Item, second: Item) -> bool:
    """Return whether two pictures stand for the same seconds of a video."""
    a, b = first.span, second.span
    if a.begin is None or first.document.id != second.document.id:
        return False
    return (a.member, a.begin, a.finish) == (b.member, b.begin, b.finish)


def _words(item: Item) -> str:
    return " ".join((item.text or "").split()).casefold()


def overlap(first: Item, second: Item) -> float:
    """Return the overlap of two passages of one document, as a share of the shorter one, in [0, 1]."""
    a, b = first.span, second.span
    if (first.document.id, a.member, a.page) != (second.document.id, b.member, b.page):
        return 0.0
    if None in (a.start, a.end, b.start, b.end):
        return 0.0
    assert a.start is not None and a.end is not None and b.start is not None and b.end is not None
    shorter = min(a.end - a.start, b.end - b.start)
    return max(0, min(a.end, b.end) - max(a.start, b.start)) / shorter if shorter > 0 else 0.0


def _marginal(
    firsts: Sequence[int], order: NDArray[np.float64], similarity: _Similarity, k: int, diversity: float
) -> list[int]:
    """Return up to ``k`` candidates by maximal marginal relevance: relevance minus similarity to earlier choices."""
    low, high = float(order.min()), float(order.max())
    relevance = (order - low) / (high - low) if high > low else np.ones(len(order))
    left = list(firsts)
    chosen: list[int] = []

    def marginal_relevance(n: int) -> tuple[float, int]:
        most = max((similarity.highest(n, earlier) for earlier in chosen), default=0.0)
        return (1 - diversity) * relevance[n] - diversity * most, -n

    while left and len(chosen) < k:
        best = max(left, key=marginal_relevance)
        chosen.append(best)
        left.remove(best)
    return chosen
