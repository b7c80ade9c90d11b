"""Where a PDF page has drawings (paths that lie together and are neither table, frame nor rule), and ruled tables."""

from __future__ import annotations

from collections import deque
from ctypes import c_float, c_int, c_uint
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium

from commonplace.readers.parts import union
from commonplace.types import Box

__all__ = ["Grid", "Stroke", "area", "drawn", "grids", "on_page", "share"]

_MAX_OBJECTS = 4000  # looked at on one page: maps have hundreds of thousands, and these tell where they are
_GRID = 160  # cells across and down in which what lies together is found
_NEAR = 1  # cells between what lies together
_MIN_AREA = 0.004  # of the page; a smaller drawing is an icon, a bullet or a rule
_MAX_AREA = 0.85  # of the page; a larger one is a background
_MIN_SIDE = 0.035
_MAX_SHAPE = 10  # longer than that many times its width is a rule or an ornament
_THIN = 0.004  # of the page: a rule
_TEXT = 0.30  # of a drawing: under more text than that it is a frame or a table
_LABEL = 28  # characters; the longest line beside a drawing that is one of its labels
_REACH = 0.02  # of the page, between a drawing and its labels

_DRAWN = {
    pdfium.FPDF_ANNOT_STAMP, pdfium.FPDF_ANNOT_INK, pdfium.FPDF_ANNOT_POLYGON, pdfium.FPDF_ANNOT_POLYLINE,
    pdfium.FPDF_ANNOT_SQUARE, pdfium.FPDF_ANNOT_CIRCLE, pdfium.FPDF_ANNOT_LINE,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stroke:
    """One thing drawn on a page: its box, and whether it is a ``rule``, a ``box``, a ``shape`` of any other kind, or
    a ``note``, drawn on the page by a reader of it.
    """

    box: Box
    kind: str


def on_page(page: Any) -> list[Stroke]:
    """Return what paths and shadings draw on a page, through the forms that hold them, but for what is invisible."""
    found: list[Stroke] = []
    kinds = [pdfium.FPDF_PAGEOBJ_PATH, pdfium.FPDF_PAGEOBJ_SHADING]
    left, bottom, right, top = page.get_bbox()
    width, height = max(1e-6, right - left), max(1e-6, top - bottom)
    for number, thing in enumerate(page.get_objects(filter=kinds)):
        if number >= _MAX_OBJECTS:
            break
        try:
            if thing.type == pdfium.FPDF_PAGEOBJ_PATH and not _is_visible(thing):
                continue
            edges = thing.get_bounds()
            points = [(x, y) for x in (edges[0], edges[2]) for y in (edges[1], edges[3])]
            holder = thing.container
            while holder is not None:
                matrix = holder.get_matrix()
                points = [matrix.on_point(x, y) for x, y in points]
                holder = holder.container
        except pypdfium2.PdfiumError:
            continue
        box = _upright(page, points, left, bottom, width, height)
        if box is None:
            continue
        across, down = box[2] - box[0], box[3] - box[1]
        if thing.type == pdfium.FPDF_PAGEOBJ_SHADING:
            kind = "shape"
        elif min(across, down) < _THIN:
            kind = "rule"
        else:
            kind = "box" if _is_rectangle(thing) else "shape"
        found.append(Stroke(box, kind))
    for number in range(min(_MAX_OBJECTS, max(0, pdfium.FPDFPage_GetAnnotCount(page)))):
        annotation, rect = pdfium.FPDFPage_GetAnnot(page, number), pdfium.FS_RECTF()
        if pdfium.FPDFAnnot_GetSubtype(annotation) in _DRAWN and pdfium.FPDFAnnot_GetRect(annotation, rect):
            corners = [(rect.left, rect.bottom), (rect.right, rect.top)]
            place = _upright(page, corners, left, bottom, width, height)
            if place is not None:
                found.append(Stroke(place, "note"))
        pdfium.FPDFPage_CloseAnnot(annotation)
    return found


def _upright(
    page: Any, points: list[tuple[float, float]], left: float, bottom: float, width: float, height: float
) -> Box | None:
    xs = [min(1.0, max(0.0, (x - left) / width)) for x, _ in points]
    ys = [min(1.0, max(0.0, 1 - (y - bottom) / height)) for _, y in points]
    box = min(xs), min(ys), max(xs), max(ys)
    turn = page.get_rotation()
    if turn == 90:
        box = 1 - box[3], box[0], 1 - box[1], box[2]
    elif turn == 180:
        box = 1 - box[2], 1 - box[3], 1 - box[0], 1 - box[1]
    elif turn == 270:
        box = box[1], 1 - box[2], box[3], 1 - box[0]
    outside = box[0] >= 1 or box[1] >= 1 or box[2] <= 0 or box[3] <= 0
    return None if outside or (box[2] - box[0] <= 0 and box[3] - box[1] <= 0) else box


def _is_visible(path: Any) -> bool:
    fill, stroke = c_int(), c_int()
    if not pdfium.FPDFPath_GetDrawMode(path, fill, stroke) or not (fill.value or stroke.value):
        return False
    colour = [c_uint() for _ in range(4)]
    look = pdfium.FPDFPageObj_GetStrokeColor if stroke.value else pdfium.FPDFPageObj_GetFillColor
    if not look(path, *colour):
        return True
    red, green, blue, alpha = (one.value for one in colour)
    return alpha > 0 and min(red, green, blue) < 250


def _is_rectangle(path: Any) -> bool:
    count = pdfium.FPDFPath_CountSegments(path)
    if not 4 <= count <= 6:
        return False
    points = []
    for number in range(count):
        segment = pdfium.FPDFPath_GetPathSegment(path, number)
        if pdfium.FPDFPathSegment_GetType(segment) == pdfium.FPDF_SEGMENT_BEZIERTO:
            return False
        x, y = c_float(), c_float()
        pdfium.FPDFPathSegment_GetPoint(segment, x, y)
        points.append((x.value, y.value))
    return all(abs(a[0] - b[0]) < 0.01 or abs(a[1] - b[1]) < 0.01 for a, b in pairwise(points))


def drawn(strokes: list[Stroke], pictures: list[Box], lines: list[tuple[Box, int]]) -> list[Box]:
    """Return the boxes of the drawings among ``strokes``, with the labels that stand at them.

    ``pictures`` are the raster figures of the page, ``lines`` its lines of text with their lengths.
    """
    strokes = [one for one in strokes if area(one.box) <= _MAX_AREA]
    groups = _together([one for one in strokes if one.kind != "note"])
    groups += [[one] for one in strokes if one.kind == "note"]
    found: list[Box] = []
    for members in groups:
        box = union(one.box for one in members)
        assert box is not None
        if any(share(box, picture) > 0.5 for picture in pictures) or not _is_drawing(members, box, lines):
            continue
        if sum(share(picture, box) > 0.5 for picture in pictures) > 1:
            continue  # it holds pictures together: a page's own furniture
        found.append(_with_labels(box, lines))
    return _apart(found)


@dataclass(frozen=True, slots=True)
class Grid:
    """The rules of a table: the edges of its columns from the left and of its rows from the top."""

    across: tuple[float, ...]
    down: tuple[float, ...]

    @property
    def box(self) -> Box:
        """The whole table."""
        return self.across[0], self.down[0], self.across[-1], self.down[-1]


def grids(strokes: list[Stroke]) -> list[Grid]:
    """Return the tables that are ruled on all sides: at least two rows and columns, most rules as long as the table."""
    found = []
    for members in _together([one for one in strokes if one.kind in ("rule", "box") and area(one.box) <= _MAX_AREA]):
        box = union(one.box for one in members)
        assert box is not None
        upright: list[tuple[float, float, float]] = []  # position, and from where to where
        level: list[tuple[float, float, float]] = []
        for one in members:
            left, top, right, bottom = one.box
            if one.kind == "box":
                upright += [(left, top, bottom), (right, top, bottom)]
                level += [(top, left, right), (bottom, left, right)]
            elif bottom - top > right - left:
                upright.append(((left + right) / 2, top, bottom))
            else:
                level.append(((top + bottom) / 2, left, right))
        across, down = _edges(upright, box[3] - box[1]), _edges(level, box[2] - box[0])
        if 3 <= len(across) <= 40 and 3 <= len(down) <= 200:
            found.append(Grid(across, down))
    return found


def _edges(rules: list[tuple[float, float, float]], length: float) -> tuple[float, ...]:
    """Return the positions, in order, at which rules cover at least half of ``length``."""
    places: list[list[tuple[float, float, float]]] = []
    for rule in sorted(rules):
        if places and rule[0] - places[-1][0][0] < 2 * _THIN:
            places[-1].append(rule)
        else:
            places.append([rule])
    kept = []
    for place in places:
        covered, reach = 0.0, -1.0
        for _, start, end in sorted(place, key=lambda rule: rule[1:]):
            covered += max(0.0, end - max(start, reach))
            reach = max(reach, end)
        if covered >= 0.5 * length:
            kept.append(sum(rule[0] for rule in place) / len(place))
    return tuple(kept)


def _together(strokes: list[Stroke]) -> list[list[Stroke]]:
    """Return the strokes by what lies together on a coarse grid."""
    if not strokes:
        return []
    grid = np.zeros((_GRID, _GRID), bool)
    cells = []
    for one in strokes:
        left, top, right, bottom = (min(_GRID - 1, int(edge * _GRID)) for edge in one.box)
        cells.append((top, left))
        grid[max(0, top - _NEAR) : bottom + 1 + _NEAR, max(0, left - _NEAR) : right + 1 + _NEAR] = True
    label = np.zeros((_GRID, _GRID), np.int32)
    count = 0
    for top, left in cells:
        if label[top, left]:
            continue
        count += 1
        label[top, left] = count
        queue = deque([(top, left)])
        while queue:
            y, x = queue.popleft()
            for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if 0 <= v < _GRID and 0 <= u < _GRID and grid[v, u] and not label[v, u]:
                    label[v, u] = count
                    queue.append((v, u))
    groups: list[list[Stroke]] = [[] for _ in range(count)]
    for one, (top, left) in zip(strokes, cells, strict=True):
        groups[label[top, left] - 1].append(one)
    return groups


def _is_drawing(members: list[Stroke], box: Box, lines: list[tuple[Box, int]]) -> bool:
    width, height = box[2] - box[0], box[3] - box[1]
    if not _MIN_AREA <= width * height <= _MAX_AREA or min(width, height) < _MIN_SIDE:
        return False
    if max(width, height) > _MAX_SHAPE * min(width, height):
        return False
    text = sum(_overlap(box, line) for line, _ in lines) / (width * height)
    shapes = [one for one in members if one.kind in ("shape", "note")]
    boxes = [one for one in members if one.kind == "box"]
    if not shapes:
        # rules and boxes alone: bars of a chart have little text on them, a table is full of it
        sides = {(round(one.box[2] - one.box[0], 2), round(one.box[3] - one.box[1], 2)) for one in boxes}
        return len(boxes) >= 4 and len(sides) >= 3 and text < _TEXT / 3
    covered = union(one.box for one in shapes)
    assert covered is not None
    if len(members) < 3:  # one or two alone: a background, unless there is nothing on it
        return text < _TEXT / 6 and area(covered) > 0.3 * width * height
    return text < _TEXT


def _with_labels(box: Box, lines: list[tuple[Box, int]]) -> Box:
    """Return ``box`` widened to the short lines that stand at its sides, such as those of an axis."""
    near = box[0] - _REACH, box[1] - _REACH, box[2] + _REACH, box[3] + _REACH
    labels = [line for line, length in lines if length <= _LABEL and share(line, near) > 0.5]
    return union([box, *labels]) or box


def _apart(boxes: list[Box]) -> list[Box]:
    """Return the boxes, those that overlap joined."""
    found: list[Box] = []
    for box in boxes:
        touching = [other for other in found if _overlap(box, other) > 0]
        for other in touching:
            found.remove(other)
        found.append(union([box, *touching]) or box)
    return found


def area(box: Box) -> float:
    """Return the area of a box, as a share of the page where the box is in fractions of it."""
    return (box[2] - box[0]) * (box[3] - box[1])


def _overlap(one: Box, other: Box) -> float:
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    return across * down if across > 0 and down > 0 else 0.0


def share(one: Box, other: Box) -> float:
    """Return how much of ``one`` lies in ``other``, in [0, 1]."""
    return _overlap(one, other) / max(1e-9, area(one))
