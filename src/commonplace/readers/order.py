"""The order in which a person reads what stands on a page: columns one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from commonplace.types import Box

__all__ = ["reading_order"]

_STEPS = 100  # places across a page where a gutter may be
_CROSSING = 0.25  # of the lines may cross a gutter: titles, figures and feet over both columns
_SIDE = 0.2  # of the lines must stand on either side of one
_DEEP = 6  # columns in columns


def reading_order(boxes: Sequence[Box]) -> list[int]:
    """Return the places of ``boxes`` in the order of reading, from the top left.

    A gutter is where few lines cross and many stand on either side, side by side. Lines that cross it part what is
    above from what is below; between two of them the left column is read before the right one.
    """
    return _ordered(boxes, sorted(range(len(boxes)), key=lambda at: _row(boxes[at])), 0)


def _row(box: Box) -> tuple[float, float]:
    return (box[1] + box[3]) / 2, box[0]


def _ordered(boxes: Sequence[Box], places: list[int], depth: int) -> list[int]:
    gutter = _gutter([boxes[at] for at in places]) if depth < _DEEP and len(places) >= 6 else None
    if gutter is None:
        return _rows(boxes, places)
    order: list[int] = []
    left: list[int] = []
    right: list[int] = []
    for at in places:
        if boxes[at][2] <= gutter:
            left.append(at)
        elif boxes[at][0] >= gutter:
            right.append(at)
        else:
            order += _ordered(boxes, left, depth + 1) + _ordered(boxes, right, depth + 1) + [at]
            left, right = [], []
    return order + _ordered(boxes, left, depth + 1) + _ordered(boxes, right, depth + 1)


def _rows(boxes: Sequence[Box], places: list[int]) -> list[int]:
    """Return ``places``, sorted from the top, with those on one line from left to right."""
    order: list[int] = []
    line: list[int] = []
    for at in places:
        if line and (boxes[at][1] + boxes[at][3]) / 2 > boxes[line[0]][3]:
            order += sorted(line, key=lambda one: boxes[one][0])
            line = []
        line.append(at)
    return order + sorted(line, key=lambda one: boxes[one][0])


def _gutter(boxes: list[Box]) -> float | None:
    """Return where between columns the fewest lines cross, the middle of the widest such place; None for one column."""
    first, last = min(box[0] for box in boxes), max(box[2] for box in boxes)
    best: list[tuple[int, float]] = []
    for step in range(1, _STEPS):
        at = first + (last - first) * step / _STEPS
        left = [box for box in boxes if box[2] <= at]
        right = [box for box in boxes if box[0] >= at]
        crossing = len(boxes) - len(left) - len(right)
        if crossing > _CROSSING * len(boxes) or min(len(left), len(right)) < max(2, _SIDE * len(boxes)):
            continue
        down = min(max(b[3] for b in left), max(b[3] for b in right)) - max(
            min(b[1] for b in left), min(b[1] for b in right)
        )
        if down <= 0 or not _are_columns(left, right):
            continue
        best.append((crossing, at))
    if not best:
        return None
    fewest = min(best)[0]
    places = [at for crossing, at in best if crossing == fewest]
    return places[len(places) // 2]


def _are_columns(left: list[Box], right: list[Box]) -> bool:
    """Return whether both sides are running text: the cells of a table are short and stand apart."""
    return all(sum(box[2] - box[0] for box in side) / len(side) > 0.15 for side in (left, right))
