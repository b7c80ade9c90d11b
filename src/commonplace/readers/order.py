"""Reading order of lines on a page (columns one after the other) and of shapes on a slide."""

from __future__ import annotations

from collections.abc import Sequence, Set
from itertools import pairwise

from commonplace.types import Box

__all__ = ["interleaves", "reading_order", "shape_order"]

_GUTTER_STEPS = 100  # positions across a page that are tested as gutter
_MAX_CROSSING = 0.25  # share of the lines that may cross a gutter: titles, figures and footers over both columns
_MIN_SIDE_SHARE = 0.2  # share of the lines that must lie on each side of a gutter
_MIN_COLUMN_LINES = 5  # lines in each column
_FILLED_WIDTH = 0.8  # share of the column's width that a line of running text fills
_MAX_DEPTH = 6  # levels of columns inside columns
_MAX_CUTS = 20  # of a slide into parts, each inside another
_OVERLAP = 0.015  # share of the slide by which shapes one below the other may overlap
_ASPECT = 1.6  # width of a slide by its height, about: gaps between columns are shares of the width


def reading_order(boxes: Sequence[Box]) -> list[int]:
    """Return the indices of ``boxes`` in reading order, from the top left.

    A gutter is a vertical strip that few lines cross, with many lines on each side. Lines that cross it separate the
    page into sections; in each section the left column is read before the right one.
    """
    return _order_columns(boxes, sorted(range(len(boxes)), key=lambda index: _row_key(boxes[index])), 0)


def interleaves(boxes: Sequence[Box]) -> bool:
    """Return whether a page has two columns of text that the file stores row by row.

    ``boxes`` are pieces of lines in the order of the file. The lines of running text fill their column. The cells of a
    table do not, and are read row by row.
    """
    gutter = _gutter(list(boxes)) if len(boxes) >= 2 * _MIN_COLUMN_LINES else None
    if gutter is None:
        return False
    sides = [box[2] <= gutter for box in boxes if box[2] <= gutter or box[0] >= gutter]
    changes = sum(is_left != next_is_left for is_left, next_is_left in pairwise(sides))
    fewer = min(sides.count(True), sides.count(False))
    left = [box for box in boxes if box[2] <= gutter]
    right = [box for box in boxes if box[0] >= gutter]
    return changes >= fewer >= _MIN_COLUMN_LINES and _is_filled(left) and _is_filled(right)


def _is_filled(column: list[Box]) -> bool:
    reach = max(box[2] for box in column) - min(box[0] for box in column)
    return sum(box[2] - box[0] > _FILLED_WIDTH * reach for box in column) > 0.5 * len(column)


def _row_key(box: Box) -> tuple[float, float]:
    return (box[1] + box[3]) / 2, box[0]


def _order_columns(boxes: Sequence[Box], indices: list[int], depth: int) -> list[int]:
    gutter = _gutter([boxes[index] for index in indices]) if depth < _MAX_DEPTH and len(indices) >= 6 else None
    if gutter is None:
        return _order_rows(boxes, indices)
    order: list[int] = []
    left: list[int] = []
    right: list[int] = []
    for index in indices:
        if boxes[index][2] <= gutter:
            left.append(index)
        elif boxes[index][0] >= gutter:
            right.append(index)
        else:
            order += _order_columns(boxes, left, depth + 1) + _order_columns(boxes, right, depth + 1) + [index]
            left, right = [], []
    return order + _order_columns(boxes, left, depth + 1) + _order_columns(boxes, right, depth + 1)


def _order_rows(boxes: Sequence[Box], indices: list[int]) -> list[int]:
    """Return ``indices``, sorted from the top, with boxes on one line sorted from left to right."""
    order: list[int] = []
    line: list[int] = []
    for index in indices:
        if line and (boxes[index][1] + boxes[index][3]) / 2 > boxes[line[0]][3]:
            order += sorted(line, key=lambda index: boxes[index][0])
            line = []
        line.append(index)
    return order + sorted(line, key=lambda index: boxes[index][0])


def _gutter(boxes: list[Box]) -> float | None:
    """Return the x position between columns that the fewest lines cross; None for a single column.

    Among equal positions it is the middle one.
    """
    first, last = min(box[0] for box in boxes), max(box[2] for box in boxes)
    candidates: list[tuple[int, float]] = []
    for step in range(1, _GUTTER_STEPS):
        position = first + (last - first) * step / _GUTTER_STEPS
        left = [box for box in boxes if box[2] <= position]
        right = [box for box in boxes if box[0] >= position]
        crossing = len(boxes) - len(left) - len(right)
        if crossing > _MAX_CROSSING * len(boxes) or min(len(left), len(right)) < max(2, _MIN_SIDE_SHARE * len(boxes)):
            continue
        shared_height = min(max(b[3] for b in left), max(b[3] for b in right)) - max(
            min(b[1] for b in left), min(b[1] for b in right)
        )
        if shared_height <= 0 or not _are_columns(left, right):
            continue
        candidates.append((crossing, position))
    if not candidates:
        return None
    fewest = min(candidates)[0]
    positions = [position for crossing, position in candidates if crossing == fewest]
    return positions[len(positions) // 2]


def _are_columns(left: list[Box], right: list[Box]) -> bool:
    """Return whether both sides are running text; the cells of a table are shorter."""
    return all(sum(box[2] - box[0] for box in side) / len(side) > 0.15 for side in (left, right))


def shape_order(boxes: Sequence[Box | None], *, backgrounds: Set[int] = frozenset()) -> list[int]:
    """Return the indices of shapes in reading order. A shape without a place follows the one before it in the file.

    A background picture comes first, and hides no gap between the others.
    """
    leaders = [index for index, box in enumerate(boxes) if box is not None]
    followers: dict[int, list[int]] = {}
    order: list[int] = []
    leader = -1
    for index, box in enumerate(boxes):
        if box is not None:
            leader = index
        elif leader < 0:
            order.append(index)
        else:
            followers.setdefault(leader, []).append(index)
    ordered = _cut(boxes, [index for index in leaders if index not in backgrounds], 0)
    for index in [*(index for index in leaders if index in backgrounds), *ordered]:
        order += [index, *followers.get(index, [])]
    return order


def _cut(boxes: Sequence[Box | None], indices: list[int], depth: int) -> list[int]:
    """Order shapes by cutting the slide at its widest gap, again and again: rows from the top, columns from left."""
    placed = [(index, box) for index in indices if (box := boxes[index]) is not None]
    if len(placed) < 2 or depth > _MAX_CUTS:
        return [index for index, _ in sorted(placed, key=lambda entry: (entry[1][1], entry[1][0]))]
    best: tuple[float, int, float] | None = None
    for axis in (1, 0):
        edges = sorted((box[axis], box[axis + 2]) for _, box in placed)
        reach = edges[0][1]
        for low, high in edges[1:]:
            gap = (low - reach) * (1.0 if axis else _ASPECT)
            if gap > -_OVERLAP and (best is None or gap > best[0]):
                best = (gap, axis, (low + reach) / 2)
            reach = max(reach, high)
    if best is None:
        return [index for index, _ in sorted(placed, key=lambda entry: (round(entry[1][1], 2), entry[1][0]))]
    _, axis, at = best
    before = [index for index, box in placed if (box[axis] + box[axis + 2]) / 2 < at]
    after = [index for index, box in placed if (box[axis] + box[axis + 2]) / 2 >= at]
    if not before or not after:
        return [index for index, _ in sorted(placed, key=lambda entry: (entry[1][1], entry[1][0]))]
    return _cut(boxes, before, depth + 1) + _cut(boxes, after, depth + 1)
