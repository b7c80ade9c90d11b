"""Which of the ranked items to show: near-copies as one, and, on request, not ten times the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from commonplace.retrieval.fusion import Ranking
from commonplace.store import Entry, Store
from commonplace.types import Item

__all__ = ["COPY", "diversify", "near_duplicates_of", "overlap"]

SIDE = 16
COPY = 2.0
"""Mean difference, of 255, of two pictures shrunk to SIDE x SIDE, up to which they are near-copies. Photographs saved
again at half the size or at JPEG quality 50 stay below it; of 2,500 product pictures only those do that show the
same picture. Vectors cannot tell: a copy may have a cosine of .75, and another shirt one of .98."""
MIN_SIMILARITY = 0.6
"""The cosine from which two pictures are compared at all."""
LEAST_SHARED = 0.5
"""The share of the shorter of two passages that the other holds as well, from which they are one."""


def diversify(
    store: Store, keys: NDArray[np.int64], order: NDArray[np.float64], *, k: int, ranking: Ranking
) -> list[tuple[int, Entry, tuple[Entry, ...]]]:
    """Return up to ``k`` of the ranked ``keys`` (n,): place, entry, and the entries of its near-copies.

    ``order`` (n,) are the scores that ``keys`` are sorted by, falling. Copies are looked for among the first
    3 ``k`` + 20 candidates; with ``ranking.diversity`` the choice is among those, too. Only what may be shown is read
    whole; what is damaged or was removed meanwhile makes room for the next.
    """
    near = 3 * k + 20 if ranking.collapse or ranking.diversity else k
    whole = _whole(store, keys, near)
    first = list(islice(whole, near))
    places = [at for at, _ in first]
    items = [entry.item for _, entry in first]
    alike = _Likeness(store, keys[places])
    near_duplicates: dict[int, list[int]] = {}
    firsts_of: dict[object, list[int]] = {}  # by what a copy must share with its first
    for n, item in enumerate(items):
        shared = _shared(item) if ranking.collapse else {}
        among = dict.fromkeys(one for key in shared for one in firsts_of.get(key, ()))
        same = _first_copy(items, n, among, alike)
        if same is None:
            near_duplicates[n] = []
            for key in shared:
                firsts_of.setdefault(key, []).append(n)
        else:
            near_duplicates[same].append(n)
    firsts = list(near_duplicates)
    if ranking.diversity and firsts:
        firsts = _marginal(firsts, order[places], alike, k, ranking.diversity)
    chosen = [(*first[n], tuple(first[one][1] for one in near_duplicates[n])) for n in firsts[:k]]
    return chosen + [(at, entry, ()) for at, entry in islice(whole, k - len(chosen))]  # beyond what was looked through


def _whole(store: Store, keys: NDArray[np.int64], step: int) -> Iterator[tuple[int, Entry]]:
    """Yield place and entry of every item that can be read, a ``step`` of them at a time."""
    for start in range(0, len(keys), step):
        entries = store.entries(keys[start : start + step].tolist())
        for at, key in enumerate(keys[start : start + step].tolist(), start=start):
            if key in entries:
                yield at, entries[key]


class _Likeness:
    """Cosines between candidates, by partition, where both have a view in it."""

    def __init__(self, store: Store, keys: NDArray[np.int64]) -> None:
        self._store = store
        self._keys = keys
        self._small: dict[str, NDArray[np.int16] | None] = {}
        self._cosines: dict[str, list[list[float]]] = {}

    def of(self, partition: str, one: int) -> list[float]:
        """Return the cosines of one candidate with each."""
        if partition not in self._cosines:  # most searches need one of them at most
            rows = self._store.gather(partition, self._keys)
            self._cosines[partition] = (rows @ rows.T).tolist()  # rows of zeros where there is no view
        return self._cosines[partition][one]

    def look_the_same(self, one: Item, other: Item) -> bool:
        """Return whether two pictures are one, saved twice."""
        a, b = self._shrunk(one.picture), self._shrunk(other.picture)
        return a is not None and b is not None and _same(a, b)

    def _shrunk(self, picture: str | None) -> NDArray[np.int16] | None:
        if picture is None:
            return None
        if picture not in self._small:
            self._small[picture] = _shrink(self._store.thumbnail(picture))
        return self._small[picture]

    def any(self, one: int, other: int) -> float:
        return max(self.of(partition, one)[other] for partition in ("text", "image"))


def near_duplicates_of(store: Store, pixels: NDArray[np.uint8], keys: Sequence[int]) -> list[int]:
    """Return which of the items ``keys`` show the picture ``pixels`` (height, width, 3), saved once more."""
    from PIL import Image

    asked = np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BOX), np.int16)
    found = []
    for key, entry in store.entries(list(keys)).items():
        own = _shrink(store.thumbnail(entry.item.picture)) if entry.item.picture is not None else None
        if own is not None and _same(asked, own):
            found.append(key)
    return found


def _same(one: NDArray[np.int16], other: NDArray[np.int16]) -> bool:
    return float(np.abs(one - other).mean()) <= COPY


def _shrink(jpeg: bytes | None) -> NDArray[np.int16] | None:
    """Return a thumbnail's pixels at SIDE x SIDE; None where there is none that can be read."""
    import io

    from PIL import Image

    try:
        with Image.open(io.BytesIO(jpeg or b"")) as image:
            image.draft("RGB", (8 * SIDE, 8 * SIDE))  # decodes at a fraction of the size
            return np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX), np.int16)
    except (OSError, ValueError):
        return None


def _shared(item: Item) -> dict[object, None]:
    """Return what two items must have one of in common to be copies."""
    if item.picture is not None:
        return {item.modality: None}
    if not item.text:  # a content of another modality, of which nothing says whether two are the same
        return {}
    place = (item.modality, item.document.id, item.span.member, item.span.page)
    return dict.fromkeys([(item.modality, _words(item)), place])


def _first_copy(items: Sequence[Item], n: int, among: Iterable[int], alike: _Likeness) -> int | None:
    """Return the first of ``among`` that shows or says what item ``n`` does: the user would call it a repetition."""
    item = items[n]
    if item.picture is None:
        words = _words(item)
        return next((i for i in among if overlap(items[i], item) >= LEAST_SHARED or _words(items[i]) == words), None)
    near = alike.of("image", n)
    for i in among:
        if items[i].picture == item.picture or (near[i] >= MIN_SIMILARITY and alike.look_the_same(items[i], item)):
            return i
    return None


def _words(item: Item) -> str:
    return " ".join((item.text or "").split()).casefold()


def overlap(one: Item, other: Item) -> float:
    """Return the share of the shorter of two passages of one document that lies in the other, in [0, 1]."""
    a, b = one.span, other.span
    if (one.document.id, a.member, a.page) != (other.document.id, b.member, b.page):
        return 0.0
    if None in (a.start, a.end, b.start, b.end):
        return 0.0
    assert a.start is not None and a.end is not None and b.start is not None and b.end is not None
    shorter = min(a.end - a.start, b.end - b.start)
    return max(0, min(a.end, b.end) - max(a.start, b.start)) / shorter if shorter > 0 else 0.0


def _marginal(
    firsts: Sequence[int], order: NDArray[np.float64], alike: _Likeness, k: int, diversity: float
) -> list[int]:
    """Return up to ``k`` places, each the best of those left less its likeness to the ones before."""
    low, high = float(order.min()), float(order.max())
    worth = (order - low) / (high - low) if high > low else np.ones(len(order))
    left = list(firsts)
    chosen: list[int] = []
    while left and len(chosen) < k:
        best = max(
            left,
            key=lambda at: (
                (1 - diversity) * worth[at] - diversity * max((alike.any(at, one) for one in chosen), default=0.0),
                -at,
            ),
        )
        chosen.append(best)
        left.remove(best)
    return chosen
