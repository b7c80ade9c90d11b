"""Which of the ranked items to show: near-copies as one, and, on request, not ten times the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from commonplace.retrieval.fusion import Ranking
from commonplace.store import Entry, Store
from commonplace.types import Item

__all__ = ["COPY", "choose", "overlap"]

SIDE = 16
COPY = 2.0
"""Mean difference, of 255, of two pictures shrunk to SIDE x SIDE, up to which they are near-copies. Photographs saved
again at half the size or at JPEG quality 50 stay below it; of 2,500 product pictures only those do that show the
same picture. Vectors cannot tell: a copy may have a cosine of .75, and another shirt one of .98."""
WORTH_A_LOOK = 0.6
"""The cosine from which two pictures are compared at all."""
LEAST_SHARED = 0.5
"""The share of the shorter of two passages that the other holds as well, from which they are one."""


def choose(
    store: Store,
    keys: Sequence[int],
    order: NDArray[np.float64],
    entries: Mapping[int, Entry],
    *,
    k: int,
    ranking: Ranking,
) -> list[tuple[int, tuple[int, ...]]]:
    """Return up to ``k`` of the ranked ``keys`` by their place, each with the keys of its near-copies.

    ``order`` (n,) are the scores that ``keys`` are sorted by, falling. Copies are looked for among the first
    3 ``k`` + 20 candidates; with ``ranking.diversity`` the choice is among those, too.
    """
    if not ranking.collapse and not ranking.diversity:
        return [(at, ()) for at in range(min(k, len(keys)))]
    near = min(len(keys), 3 * k + 20)
    items = [entries[key].item for key in keys[:near]]
    alike = _Likeness(store, keys[:near])
    copies: dict[int, list[int]] = {}
    firsts_of: dict[object, list[int]] = {}  # by what a copy must share with its first
    for at, item in enumerate(items):
        shared = _shared(item) if ranking.collapse else {}
        among = dict.fromkeys(one for key in shared for one in firsts_of.get(key, ()))
        same = next((one for one in among if _copy(items[one], item, alike, one, at)), None)
        if same is None:
            copies[at] = []
            for key in shared:
                firsts_of.setdefault(key, []).append(at)
        else:
            copies[same].append(keys[at])
    firsts = list(copies)
    if ranking.diversity:
        firsts = _marginal(firsts, order[:near], alike, k, ranking.diversity)
    chosen = [(at, tuple(copies[at])) for at in firsts[:k]]
    rest = range(near, min(len(keys), near + k - len(chosen)))  # beyond what was looked through
    return chosen + [(at, ()) for at in rest]


class _Likeness:
    """Cosines between candidates, by partition, where both have a view in it."""

    def __init__(self, store: Store, keys: Sequence[int]) -> None:
        self._store = store
        self._keys = np.array(keys, np.int64)
        self._small: dict[str, NDArray[np.int16] | None] = {}
        self._cosines: dict[str, NDArray[np.float32]] = {}

    def of(self, partition: str, one: int, other: int) -> float:
        if partition not in self._cosines:  # most searches need one of them at most
            rows = self._store.gather(partition, self._keys)
            self._cosines[partition] = rows @ rows.T  # rows of zeros where there is no view
        return float(self._cosines[partition][one, other])

    def look_the_same(self, one: Item, other: Item, i: int, j: int) -> bool:
        """Return whether two pictures with these places are one, saved twice."""
        if self.of("image", i, j) < WORTH_A_LOOK:
            return False
        a, b = self._shrunk(one.picture), self._shrunk(other.picture)
        return a is not None and b is not None and float(np.abs(a - b).mean()) <= COPY

    def _shrunk(self, picture: str | None) -> NDArray[np.int16] | None:
        if picture is None:
            return None
        if picture not in self._small:
            self._small[picture] = _shrink(self._store.thumbnail(picture))
        return self._small[picture]

    def any(self, one: int, other: int) -> float:
        return max(self.of(partition, one, other) for partition in ("text", "image"))


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
    place = (item.modality, item.document.id, item.span.member, item.span.page)
    return dict.fromkeys([(item.modality, _words(item)), place])


def _copy(one: Item, other: Item, alike: _Likeness, i: int, j: int) -> bool:
    """Return whether two items show or say the same: the user would call the second a repetition."""
    if one.picture is not None or other.picture is not None:
        return one.picture == other.picture or alike.look_the_same(one, other, i, j)
    return overlap(one, other) >= LEAST_SHARED or _words(one) == _words(other)


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
