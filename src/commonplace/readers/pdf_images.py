"""Raster pictures on a PDF page, and rendering of pages. See ``pdf_vectors`` for drawings."""

from __future__ import annotations

import hashlib
from ctypes import c_int
from dataclasses import dataclass
from typing import Any

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium
from numpy.typing import NDArray
from PIL import Image

from commonplace.readers.parts import File, bounding_box
from commonplace.readers.pdf_vectors import area
from commonplace.readers.pictures import picture_of
from commonplace.types import Box, Picture

__all__ = ["PageFigure", "page_figures", "page_fractions", "render_picture", "render_pixels"]

_DEVICE_UNITS = 100_000  # device units across a page, used to convert coordinates to fractions
_MIN_AREA = 0.005  # share of the page; a smaller picture is a logo, a bullet or a rule
_MAX_ASPECT = 12  # ratio of the sides; above it the picture is a rule
_MAX_FORM_DEPTH = 12
_MAX_OBJECTS = 1000  # pictures examined per page; some drawings consist of tens of thousands


@dataclass(slots=True)
class PageFigure:
    """A figure: its box on the page, its size in stored pixels (0 for a drawing), and a hash of its pixels."""

    box: Box
    size: tuple[int, int] = (0, 0)
    key: bytes = b""


def page_figures(page: Any) -> list[PageFigure]:
    """Return the raster pictures on a page. Pictures that touch are merged: many programs store them in strips."""
    figures: list[PageFigure] = []
    if not _has_pictures(pdfium.FPDFPage_CountObjects, pdfium.FPDFPage_GetObject, page, 0):
        return figures  # objects of pypdfium2 cost thirty times as much, and drawings have thousands
    for number, image in enumerate(page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_IMAGE])):
        if number >= _MAX_OBJECTS:
            break
        try:
            box, size = _image_box(page, image), image.get_px_size()
        except pypdfium2.PdfiumError:
            continue  # a damaged picture must not cost the rest of the page
        if box is not None:
            key = hashlib.blake2b(repr(size).encode() + bytes(image.get_data()), digest_size=16).digest()
            _merge(figures, PageFigure(box, size, key))
    return [figure for figure in figures if _is_figure(page, figure)]


def _has_pictures(count_of: Any, object_of: Any, holder: Any, depth: int) -> bool:
    for number in range(count_of(holder)):
        drawn = object_of(holder, number)
        kind = pdfium.FPDFPageObj_GetType(drawn)
        if kind == pdfium.FPDF_PAGEOBJ_IMAGE:
            return True
        if kind == pdfium.FPDF_PAGEOBJ_FORM and depth < _MAX_FORM_DEPTH:
            inner = pdfium.FPDFFormObj_CountObjects, pdfium.FPDFFormObj_GetObject
            if _has_pictures(*inner, drawn, depth + 1):
                return True
    return False


def _merge(figures: list[PageFigure], new: PageFigure) -> None:
    """Add ``new`` to ``figures``, merged with all that it touches."""
    touching = [other for other in figures if _touch(other.box, new.box)]
    for other in touching:
        figures.remove(other)
        joined = bounding_box([other.box, new.box])
        assert joined is not None
        # the finer of the two resolutions applies to the merged picture
        scale = (
            max(figure.size[0] / max(1e-6, figure.box[2] - figure.box[0]) for figure in (other, new)),
            max(figure.size[1] / max(1e-6, figure.box[3] - figure.box[1]) for figure in (other, new)),
        )
        size = round(scale[0] * (joined[2] - joined[0])), round(scale[1] * (joined[3] - joined[1]))
        new = PageFigure(joined, size, hashlib.blake2b(other.key + new.key, digest_size=16).digest())
    figures.append(new)


def _touch(box: Box, other: Box) -> bool:
    tolerance = 0.001
    return (
        box[0] <= other[2] + tolerance
        and other[0] <= box[2] + tolerance
        and box[1] <= other[3] + tolerance
        and other[1] <= box[3] + tolerance
    )


def _is_figure(page: Any, figure: PageFigure) -> bool:
    width = (figure.box[2] - figure.box[0]) * page.get_width()
    height = (figure.box[3] - figure.box[1]) * page.get_height()
    if min(width, height) <= 0 or max(width, height) > _MAX_ASPECT * min(width, height):
        return False
    return area(figure.box) >= _MIN_AREA and min(figure.size) >= 8


def _image_box(page: Any, image: Any) -> Box | None:
    """Return the box of an image object on the page, also inside form objects; None where it is off the page."""
    points = image.get_quad_points()
    holder = image.container
    while holder is not None:
        matrix = holder.get_matrix()
        points = [matrix.on_point(x, y) for x, y in points]
        holder = holder.container
    xs, ys = [x for x, _ in points], [y for _, y in points]
    left, top, right, bottom = page_fractions(page, min(xs), min(ys), max(xs), max(ys))
    return (left, top, right, bottom) if left < right and top < bottom else None


def render_picture(page: Any, box: Box, file: File, size: tuple[int, int] | None) -> Picture | None:
    """Render the page inside ``box`` as a picture; None where it has a single colour.

    ``size`` is the size of the stored picture there in pixels; None for a drawing, which has no fixed size.
    """
    max_side = file.options.picture_side
    side = float(max_side)
    if size is not None:
        longest = max((box[2] - box[0]) * page.get_width(), (box[3] - box[1]) * page.get_height())
        side = min(side, max(*size, 2 * longest))  # letters drawn over the picture may be finer than its pixels
    pixels = np.ascontiguousarray(render_pixels(page, box, side)[:max_side, :max_side])  # PDFium rounds up by one pixel
    if all(high - low < 8 for low, high in Image.fromarray(pixels).getextrema()):  # type: ignore[misc]
        return None
    pixel_height, pixel_width = pixels.shape[:2]
    width, height = size or (pixel_width, pixel_height)
    return picture_of(pixels, width, height, file.options.thumbnail_side)


def render_pixels(page: Any, box: Box, side: float) -> NDArray[np.uint8]:
    """Render the page inside ``box`` as RGB pixels with about ``side`` on the longer side."""
    page_width, page_height = page.get_width(), page.get_height()
    crop = (box[0] * page_width, (1 - box[3]) * page_height, (1 - box[2]) * page_width, box[1] * page_height)
    longest = max((box[2] - box[0]) * page_width, (box[3] - box[1]) * page_height)
    bitmap = page.render(scale=side / longest, crop=crop, rev_byteorder=True, may_draw_forms=False)
    try:
        pixels: NDArray[np.uint8] = bitmap.to_numpy()
        if pixels.ndim == 2:
            pixels = pixels[..., None]
        return np.broadcast_to(pixels[..., :3], (*pixels.shape[:2], 3)).copy()
    finally:
        bitmap.close()


def page_fractions(page: Any, left: float, bottom: float, right: float, top: float) -> Box:
    """Convert PDF coordinates to fractions of the page as shown, with its rotation and crop box applied."""
    device_x, device_y = c_int(), c_int()
    xs: list[float] = []
    ys: list[float] = []
    for page_x, page_y in ((left, bottom), (right, top)):
        pdfium.FPDF_PageToDevice(page, 0, 0, _DEVICE_UNITS, _DEVICE_UNITS, 0, page_x, page_y, device_x, device_y)
        xs.append(min(1.0, max(0.0, device_x.value / _DEVICE_UNITS)))
        ys.append(min(1.0, max(0.0, device_y.value / _DEVICE_UNITS)))
    return min(xs), min(ys), max(xs), max(ys)
