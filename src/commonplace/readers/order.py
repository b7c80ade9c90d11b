"""The order in which a person reads what stands on a page: columns one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from commonplace.types import Box

__all__ = ["interleaves", "reading_order"]

_STEPS = 100  # places across a page where a gutter may be
_CROSSING = 0.25  # of the lines may cross a gutter: titles, figures and feet over both columns
_SIDE = 0.2  # of the lines must stand on either side of one
_ROWS = 5  # of either column
_FULL = 0.8  # of its column's width: a line of running text
_DEEP = 6  # columns in columns


def reading_order(boxes: Sequence[Box]) -> list[int]:
    """Return the places of ``boxes`` in the order of reading, from the top left.

    A gutter is where few lines cross and many stand on either side, side by side. Lines that cross it part what is
    above from what is below; between two of them the left column is read before the right one.
    """
    return _ordered(boxes, sorted(range(len(boxes)), key=lambda at: _row(boxes[at])), 0)


def interleaves(boxes: Sequence[Box]) -> bool:
    """Return whether lines that stand in two columns come row by row, as if nothing parted the columns.

    ``boxes`` are pieces of lines in the order of the file. Columns are running text: their lines fill them. The cells
    of a table do not, and belong together row by row.
    """
    gutter = _gutter(list(boxes)) if len(boxes) >= 2 * _ROWS else None
    if gutter is None:
        return False
    sides = [box[2] <= gutter for box in boxes if box[2] <= gutter or box[0] >= gutter]
    changes = sum(one != other for one, other in pairwise(sides))
    fewer = min(sides.count(True), sides.count(False))
    left = [box for box in boxes if box[2] <= gutter]
    right = [box for box in boxes if box[0] >= gutter]
    return changes >= fewer >= _ROWS and _is_filled(left) and _is_filled(right)


def _is_filled(column: list[Box]) -> bool:
    reach = max(box[2] for box in column) - min(box[0] for box in column)
    return sum(box[2] - box[0] > _FULL * reach for box in column) > 0.5 * len(column)


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
