"""The drawn strokes of a PDF page, and the drawings among them: groups that are not tables, frames or rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ctypes import byref, c_float, c_int, c_uint
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pypdfium2.raw as pdfium

from commonplace.readers.parts import bounding_box
from commonplace.readers.pdf_glyphs import page_transform
from commonplace.types import Box

__all__ = ["Stroke", "area", "find_drawings", "group_strokes", "overlap_share", "page_strokes"]

_MAX_OBJECTS = 4000  # paths examined per page; a map has hundreds of thousands, and these suffice to locate it
_GRID_CELLS = 160  # cells across and down of the grid by which strokes are grouped
_MAX_FORM_DEPTH = 12
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
    transform, width, height = page_transform(page)
    to_page = tuple(transform.reshape(-1).tolist())
    strokes: list[Stroke] = []
    drawn = _drawn_objects(pdfium.FPDFPage_CountObjects, pdfium.FPDFPage_GetObject, page, to_page, 0)
    edges = tuple(c_float() for _ in range(4))
    pointers = tuple(map(byref, edges))
    for shape, kind, matrix in islice(drawn, _MAX_OBJECTS):
        is_path = kind == pdfium.FPDF_PAGEOBJ_PATH
        if (is_path and not _is_visible(shape)) or not pdfium.FPDFPageObj_GetBounds(shape, *pointers):
            continue
        left, bottom, right, top = (edge.value for edge in edges)
        box = _page_box(matrix, ((left, bottom), (right, bottom), (left, top), (right, top)), width, height)
        if box is None:
            continue
        if not is_path:
            name = "shape"
        elif min(box[2] - box[0], box[3] - box[1]) < _RULE_WIDTH:
            name = "rule"
        else:
            name = "box" if _is_rectangle(shape) else "shape"
        strokes.append(Stroke(box, name))
    for number in range(min(_MAX_OBJECTS, max(0, pdfium.FPDFPage_GetAnnotCount(page)))):
        annotation, rect = pdfium.FPDFPage_GetAnnot(page, number), pdfium.FS_RECTF()
        if pdfium.FPDFAnnot_GetSubtype(annotation) in _DRAWN_ANNOTATIONS and pdfium.FPDFAnnot_GetRect(annotation, rect):
            note_box = _page_box(to_page, ((rect.left, rect.bottom), (rect.right, rect.top)), width, height)
            if note_box is not None:
                strokes.append(Stroke(note_box, "note"))
        pdfium.FPDFPage_CloseAnnot(annotation)
    return strokes


def _drawn_objects(
    count_of: Any, object_of: Any, holder: Any, matrix: tuple[float, ...], depth: int
) -> Iterator[tuple[Any, int, tuple[float, ...]]]:
    """Yield the paths and shadings with their kind and the matrix that leads from them to the page as shown."""
    for number in range(count_of(holder)):
        drawn = object_of(holder, number)
        kind = pdfium.FPDFPageObj_GetType(drawn)
        if kind in (pdfium.FPDF_PAGEOBJ_PATH, pdfium.FPDF_PAGEOBJ_SHADING):
            yield drawn, kind, matrix
        elif kind == pdfium.FPDF_PAGEOBJ_FORM and depth < _MAX_FORM_DEPTH:
            inner = pdfium.FS_MATRIX()
            if pdfium.FPDFPageObj_GetMatrix(drawn, inner):
                a, b, c, d, e, f = matrix
                inside = (
                    inner.a * a + inner.b * c, inner.a * b + inner.b * d,
                    inner.c * a + inner.d * c, inner.c * b + inner.d * d,
                    inner.e * a + inner.f * c + e, inner.e * b + inner.f * d + f,
                )  # fmt: skip
                yield from _drawn_objects(
                    pdfium.FPDFFormObj_CountObjects, pdfium.FPDFFormObj_GetObject, drawn, inside, depth + 1
                )


def _page_box(
    matrix: tuple[float, ...], points: Iterable[tuple[float, float]], width: float, height: float
) -> Box | None:
    """Return the box around points in shares of the page as shown; None where it is off the page."""
    a, b, c, d, e, f = matrix
    places = [((a * x + c * y + e) / width, (b * x + d * y + f) / height) for x, y in points]
    xs = [min(1.0, max(0.0, x)) for x, _ in places]
    ys = [min(1.0, max(0.0, y)) for _, y in places]
    box = min(xs), min(ys), max(xs), max(ys)
    outside = box[0] >= 1 or box[1] >= 1 or box[2] <= 0 or box[3] <= 0
    return None if outside or (box[2] - box[0] <= 0 and box[3] - box[1] <= 0) else box


_COLOUR = tuple(c_uint() for _ in range(4))
_MODE = c_int(), c_int()


def _is_visible(path: Any) -> bool:
    fill, stroke = _MODE
    if not pdfium.FPDFPath_GetDrawMode(path, fill, stroke) or not (fill.value or stroke.value):
        return False
    get_colour = pdfium.FPDFPageObj_GetStrokeColor if stroke.value else pdfium.FPDFPageObj_GetFillColor
    if not get_colour(path, *_COLOUR):
        return True
    red, green, blue, alpha = (channel.value for channel in _COLOUR)
    return alpha > 0 and min(red, green, blue) < 250


def _is_rectangle(path: Any) -> bool:
    count = pdfium.FPDFPath_CountSegments(path)
    if not 4 <= count <= 6:
        return False
    x, y = c_float(), c_float()
    before: tuple[float, float] | None = None
    for number in range(count):
        segment = pdfium.FPDFPath_GetPathSegment(path, number)
        if pdfium.FPDFPathSegment_GetType(segment) == pdfium.FPDF_SEGMENT_BEZIERTO:
            return False
        pdfium.FPDFPathSegment_GetPoint(segment, x, y)
        place = x.value, y.value
        if before is not None and abs(before[0] - place[0]) >= 0.01 and abs(before[1] - place[1]) >= 0.01:
            return False
        before = place
    return True


def find_drawings(strokes: list[Stroke], pictures: list[Box], lines: list[tuple[Box, int]]) -> list[Box]:
    """Return the boxes of the drawings among ``strokes``, including their labels.

    ``pictures`` are the boxes of raster pictures on the page; ``lines`` are its lines of text with their lengths.
    """
    strokes = [stroke for stroke in strokes if area(stroke.box) <= _MAX_AREA]
    groups = group_strokes([stroke for stroke in strokes if stroke.kind != "note"])
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


def group_strokes(strokes: list[Stroke]) -> list[list[Stroke]]:
    """Group the strokes that touch, or nearly touch, each other."""
    if not strokes:
        return []
    boxes = np.array([stroke.box for stroke in strokes])
    cells = np.concatenate([np.floor(boxes[:, :2] * _GRID_CELLS), np.floor(boxes[:, 2:] * _GRID_CELLS)], axis=1)
    unique, inverse = np.unique(cells, axis=0, return_inverse=True)  # drawings repeat strokes in one place
    inverse = inverse.reshape(-1)
    label = np.full(len(unique), -1)
    count = 0
    for seed in range(len(unique)):
        if label[seed] >= 0:
            continue
        label[seed] = count
        queue = [seed]
        while queue:
            left, top, right, bottom = unique[queue.pop()]
            near = (
                (label < 0)
                & (unique[:, 0] <= right + _GRID_REACH)
                & (unique[:, 2] >= left - _GRID_REACH)
                & (unique[:, 1] <= bottom + _GRID_REACH)
                & (unique[:, 3] >= top - _GRID_REACH)
            )
            touching = np.flatnonzero(near)
            label[touching] = count
            queue += touching.tolist()
        count += 1
    groups: list[list[Stroke]] = [[] for _ in range(count)]
    for stroke, number in zip(strokes, label[inverse].tolist(), strict=True):
        groups[number].append(stroke)
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
