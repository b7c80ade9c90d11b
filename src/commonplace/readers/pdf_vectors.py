"""Vector drawings on a PDF page (groups of paths that are not tables, frames or rules), and ruled tables."""

from __future__ import annotations

from collections import deque
from ctypes import c_float, c_int, c_uint
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium

from commonplace.readers.parts import bounding_box
from commonplace.types import Box

__all__ = ["RuledTable", "Stroke", "area", "find_drawings", "find_ruled_tables", "overlap_share", "page_strokes"]

_MAX_OBJECTS = 4000  # paths examined per page; a map has hundreds of thousands, and these suffice to locate it
_GRID_CELLS = 160  # cells across and down of the grid by which strokes are grouped
_GRID_REACH = 1  # cells between strokes of one group
_MIN_AREA = 0.004  # share of the page; a smaller drawing is an icon, a bullet or a rule
_MAX_AREA = 0.85  # share of the page; a larger drawing is a background
_MIN_SIDE = 0.035
_MAX_ASPECT = 10  # ratio of the sides; above it the drawing is a rule or an ornament
_RULE_WIDTH = 0.004  # share of the page; a thinner stroke is a rule
_MAX_TEXT_SHARE = 0.30  # share of a drawing that is covered by text; above it the drawing is a frame or a table
_MAX_LABEL = 28  # characters; a longer line next to a drawing is not a label
_LABEL_REACH = 0.02  # share of the page; the largest gap between a drawing and its labels

_DRAWN_ANNOTATIONS = {
    pdfium.FPDF_ANNOT_STAMP, pdfium.FPDF_ANNOT_INK, pdfium.FPDF_ANNOT_POLYGON, pdfium.FPDF_ANNOT_POLYLINE,
    pdfium.FPDF_ANNOT_SQUARE, pdfium.FPDF_ANNOT_CIRCLE, pdfium.FPDF_ANNOT_LINE,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stroke:
    """One drawn object: its box, and its kind: ``rule``, ``box``, ``shape`` (any other path) or ``note`` (an annotation
    that a person drew on the page).
    """

    box: Box
    kind: str


def page_strokes(page: Any) -> list[Stroke]:
    """Return the visible paths and shadings on a page, also those inside form objects, and drawn annotations."""
    strokes: list[Stroke] = []
    kinds = [pdfium.FPDF_PAGEOBJ_PATH, pdfium.FPDF_PAGEOBJ_SHADING]
    left, bottom, right, top = page.get_bbox()
    width, height = max(1e-6, right - left), max(1e-6, top - bottom)
    for number, shape in enumerate(page.get_objects(filter=kinds)):
        if number >= _MAX_OBJECTS:
            break
        try:
            if shape.type == pdfium.FPDF_PAGEOBJ_PATH and not _is_visible(shape):
                continue
            edges = shape.get_bounds()
            points = [(x, y) for x in (edges[0], edges[2]) for y in (edges[1], edges[3])]
            holder = shape.container
            while holder is not None:
                matrix = holder.get_matrix()
                points = [matrix.on_point(x, y) for x, y in points]
                holder = holder.container
        except pypdfium2.PdfiumError:
            continue
        box = _page_box(page, points, left, bottom, width, height)
        if box is None:
            continue
        width_share, height_share = box[2] - box[0], box[3] - box[1]
        if shape.type == pdfium.FPDF_PAGEOBJ_SHADING:
            kind = "shape"
        elif min(width_share, height_share) < _RULE_WIDTH:
            kind = "rule"
        else:
            kind = "box" if _is_rectangle(shape) else "shape"
        strokes.append(Stroke(box, kind))
    for number in range(min(_MAX_OBJECTS, max(0, pdfium.FPDFPage_GetAnnotCount(page)))):
        annotation, rect = pdfium.FPDFPage_GetAnnot(page, number), pdfium.FS_RECTF()
        if pdfium.FPDFAnnot_GetSubtype(annotation) in _DRAWN_ANNOTATIONS and pdfium.FPDFAnnot_GetRect(annotation, rect):
            corners = [(rect.left, rect.bottom), (rect.right, rect.top)]
            note_box = _page_box(page, corners, left, bottom, width, height)
            if note_box is not None:
                strokes.append(Stroke(note_box, "note"))
        pdfium.FPDFPage_CloseAnnot(annotation)
    return strokes


def _page_box(
    page: Any, points: list[tuple[float, float]], left: float, bottom: float, width: float, height: float
) -> Box | None:
    xs = [min(1.0, max(0.0, (x - left) / width)) for x, _ in points]
    ys = [min(1.0, max(0.0, 1 - (y - bottom) / height)) for _, y in points]
    box = min(xs), min(ys), max(xs), max(ys)
    rotation = page.get_rotation()
    if rotation == 90:
        box = 1 - box[3], box[0], 1 - box[1], box[2]
    elif rotation == 180:
        box = 1 - box[2], 1 - box[3], 1 - box[0], 1 - box[1]
    elif rotation == 270:
        box = box[1], 1 - box[2], box[3], 1 - box[0]
    outside = box[0] >= 1 or box[1] >= 1 or box[2] <= 0 or box[3] <= 0
    return None if outside or (box[2] - box[0] <= 0 and box[3] - box[1] <= 0) else box


def _is_visible(path: Any) -> bool:
    fill, stroke = c_int(), c_int()
    if not pdfium.FPDFPath_GetDrawMode(path, fill, stroke) or not (fill.value or stroke.value):
        return False
    colour = [c_uint() for _ in range(4)]
    get_colour = pdfium.FPDFPageObj_GetStrokeColor if stroke.value else pdfium.FPDFPageObj_GetFillColor
    if not get_colour(path, *colour):
        return True
    red, green, blue, alpha = (channel.value for channel in colour)
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


def find_drawings(strokes: list[Stroke], pictures: list[Box], lines: list[tuple[Box, int]]) -> list[Box]:
    """Return the boxes of the drawings among ``strokes``, including their labels.

    ``pictures`` are the boxes of raster pictures on the page; ``lines`` are its lines of text with their lengths.
    """
    strokes = [stroke for stroke in strokes if area(stroke.box) <= _MAX_AREA]
    groups = _group_strokes([stroke for stroke in strokes if stroke.kind != "note"])
    groups += [[stroke] for stroke in strokes if stroke.kind == "note"]
    drawings: list[Box] = []
    for members in groups:
        box = bounding_box(stroke.box for stroke in members)
        assert box is not None
        if any(overlap_share(box, picture) > 0.5 for picture in pictures) or not _is_drawing(members, box, lines):
            continue
        if sum(overlap_share(picture, box) > 0.5 for picture in pictures) > 1:
            continue  # it surrounds several pictures: part of the page layout
        drawings.append(_with_labels(box, lines))
    return _merge_overlapping(drawings)


@dataclass(frozen=True, slots=True)
class RuledTable:
    """A ruled table: the edges of its columns from the left, and of its rows from the top."""

    column_edges: tuple[float, ...]
    row_edges: tuple[float, ...]

    @property
    def box(self) -> Box:
        """The box of the table."""
        return self.column_edges[0], self.row_edges[0], self.column_edges[-1], self.row_edges[-1]


def find_ruled_tables(strokes: list[Stroke]) -> list[RuledTable]:
    """Return the tables with rules on all sides: at least two rows and columns, most rules as long as the table."""
    tables = []
    for members in _group_strokes(
        [stroke for stroke in strokes if stroke.kind in ("rule", "box") and area(stroke.box) <= _MAX_AREA]
    ):
        box = bounding_box(stroke.box for stroke in members)
        assert box is not None
        vertical: list[tuple[float, float, float]] = []  # position, start, end
        horizontal: list[tuple[float, float, float]] = []
        for stroke in members:
            left, top, right, bottom = stroke.box
            if stroke.kind == "box":
                vertical += [(left, top, bottom), (right, top, bottom)]
                horizontal += [(top, left, right), (bottom, left, right)]
            elif bottom - top > right - left:
                vertical.append(((left + right) / 2, top, bottom))
            else:
                horizontal.append(((top + bottom) / 2, left, right))
        column_edges, row_edges = (
            _rule_positions(vertical, box[3] - box[1]),
            _rule_positions(horizontal, box[2] - box[0]),
        )
        if 3 <= len(column_edges) <= 40 and 3 <= len(row_edges) <= 200:
            tables.append(RuledTable(column_edges, row_edges))
    return tables


def _rule_positions(rules: list[tuple[float, float, float]], length: float) -> tuple[float, ...]:
    """Return the sorted positions at which rules cover at least half of ``length``."""
    clusters: list[list[tuple[float, float, float]]] = []
    for rule in sorted(rules):
        if clusters and rule[0] - clusters[-1][0][0] < 2 * _RULE_WIDTH:
            clusters[-1].append(rule)
        else:
            clusters.append([rule])
    edges = []
    for cluster in clusters:
        covered, reach = 0.0, -1.0
        for _, start, end in sorted(cluster, key=lambda rule: rule[1:]):
            covered += max(0.0, end - max(start, reach))
            reach = max(reach, end)
        if covered >= 0.5 * length:
            edges.append(sum(rule[0] for rule in cluster) / len(cluster))
    return tuple(edges)


def _group_strokes(strokes: list[Stroke]) -> list[list[Stroke]]:
    """Group the strokes that are connected on a coarse grid."""
    if not strokes:
        return []
    grid = np.zeros((_GRID_CELLS, _GRID_CELLS), bool)
    cells = []
    for stroke in strokes:
        left, top, right, bottom = (min(_GRID_CELLS - 1, int(edge * _GRID_CELLS)) for edge in stroke.box)
        cells.append((top, left))
        grid[
            max(0, top - _GRID_REACH) : bottom + 1 + _GRID_REACH, max(0, left - _GRID_REACH) : right + 1 + _GRID_REACH
        ] = True
    label = np.zeros((_GRID_CELLS, _GRID_CELLS), np.int32)
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
                if 0 <= v < _GRID_CELLS and 0 <= u < _GRID_CELLS and grid[v, u] and not label[v, u]:
                    label[v, u] = count
                    queue.append((v, u))
    groups: list[list[Stroke]] = [[] for _ in range(count)]
    for stroke, (top, left) in zip(strokes, cells, strict=True):
        groups[label[top, left] - 1].append(stroke)
    return groups


def _is_drawing(members: list[Stroke], box: Box, lines: list[tuple[Box, int]]) -> bool:
    width, height = box[2] - box[0], box[3] - box[1]
    if not _MIN_AREA <= width * height <= _MAX_AREA or min(width, height) < _MIN_SIDE:
        return False
    if max(width, height) > _MAX_ASPECT * min(width, height):
        return False
    text = sum(_overlap(box, line) for line, _ in lines) / (width * height)
    shapes = [stroke for stroke in members if stroke.kind in ("shape", "note")]
    boxes = [stroke for stroke in members if stroke.kind == "box"]
    if not shapes:
        # only rules and boxes: the bars of a chart have little text on them, a table has much
        sides = {(round(stroke.box[2] - stroke.box[0], 2), round(stroke.box[3] - stroke.box[1], 2)) for stroke in boxes}
        return len(boxes) >= 4 and len(sides) >= 3 and text < _MAX_TEXT_SHARE / 3
    covered = bounding_box(stroke.box for stroke in shapes)
    assert covered is not None
    if len(members) < 3:  # one or two strokes: a background, unless there is no text on it
        return text < _MAX_TEXT_SHARE / 6 and area(covered) > 0.3 * width * height
    return text < _MAX_TEXT_SHARE


def _with_labels(box: Box, lines: list[tuple[Box, int]]) -> Box:
    """Return ``box`` enlarged to include short lines at its sides, such as axis labels."""
    near = box[0] - _LABEL_REACH, box[1] - _LABEL_REACH, box[2] + _LABEL_REACH, box[3] + _LABEL_REACH
    labels = [line for line, length in lines if length <= _MAX_LABEL and overlap_share(line, near) > 0.5]
    return bounding_box([box, *labels]) or box


def _merge_overlapping(boxes: list[Box]) -> list[Box]:
    """Return the boxes, with overlapping ones merged."""
    merged: list[Box] = []
    for box in boxes:
        touching = [other for other in merged if _overlap(box, other) > 0]
        for other in touching:
            merged.remove(other)
        merged.append(bounding_box([box, *touching]) or box)
    return merged


def area(box: Box) -> float:
    """Return the area of a box; a share of the page where the box is in fractions of the page."""
    return (box[2] - box[0]) * (box[3] - box[1])


def _overlap(box: Box, other: Box) -> float:
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    return width * height if width > 0 and height > 0 else 0.0


def overlap_share(box: Box, other: Box) -> float:
    """Return the share of ``box`` that lies in ``other``, in [0, 1]."""
    return _overlap(box, other) / max(1e-9, area(box))
