"""What stands beside a picture in its document: the passage around it, or the nearest one on its page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from commonplace.store import Store
from commonplace.types import TEXT, Item

__all__ = ["Beside", "passages_beside"]

FARTHEST = 2000  # characters between a picture and a passage that still stands beside it


@dataclass(frozen=True, slots=True)
class Beside:
    """A passage beside a picture, and the characters (start, end) of the picture in its text; None if unknown.

    Both are below 0 or beyond the text if the picture stands before or after it.
    """

    passage: Item
    picture: tuple[int, int] | None


def passages_beside(store: Store, pictures: Iterable[Item]) -> list[Beside]:
    """Return one passage beside each of these pictures that stands in a document with text, without repetition."""
    by_passage: dict[str, Beside] = {}
    for picture in pictures:
        if picture.document.media_type.startswith("image/"):  # the words read in a picture do not stand beside it
            continue
        beside = _beside(picture, store.items_of(picture.document.id))
        if beside is not None:
            by_passage.setdefault(beside.passage.id, beside)
    return list(by_passage.values())


def _beside(picture: Item, items: Sequence[Item]) -> Beside | None:
    place = next((at for at, item in enumerate(items) if item.id == picture.id), 0)
    span = picture.span
    choices: list[tuple[float, int, Beside]] = []
    for at, item in enumerate(items):
        other = item.span
        if item.modality != TEXT or not item.text or (other.member, other.page) != (span.member, span.page):
            continue
        if None in (span.start, span.end, other.start, other.end):
            choices.append((_apart(picture, item), abs(at - place), Beside(item, None)))
            continue
        assert span.start is not None and span.end is not None
        assert other.start is not None and other.end is not None
        gap = max(other.start - span.start, span.start - other.end, 0)
        if gap <= FARTHEST:
            where = (span.start - other.start, span.end - other.start)
            choices.append((float(gap), abs(at - place), Beside(item, where)))
    return min(choices, key=lambda choice: choice[:2])[2] if choices else None


def _apart(picture: Item, passage: Item) -> float:
    """Return how far apart two boxes of a page are from top to bottom, in [0, 1]; 0 if one has no box."""
    if picture.span.box is None or passage.span.box is None:
        return 0.0
    (_, top, _, bottom), (_, other_top, _, other_bottom) = picture.span.box, passage.span.box
    return max(other_top - bottom, top - other_bottom, 0.0)
