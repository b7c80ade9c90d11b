"""Raster pictures on a PDF page, and the page as pixels. Drawings: :mod:`~commonplace.readers.pdf_vectors`."""

from __future__ import annotations

import hashlib
from ctypes import c_int
from dataclasses import dataclass
from typing import Any

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium
from numpy.typing import NDArray

from commonplace.readers.parts import File, union
from commonplace.readers.pdf_vectors import area
from commonplace.readers.pictures import picture_of
from commonplace.types import Box, Picture

__all__ = ["RasterFigure", "fractions", "page_part", "raster_figures", "render"]

_UNITS = 100_000  # device units by which PDFium maps a page to fractions
_MIN_AREA = 0.005  # of the page; a smaller picture is a logo, a bullet or a rule
_MAX_SHAPE = 12  # longer than that many times its width is a rule
_MAX_OBJECTS = 1000  # pictures looked at on one page: some drawings are made of tens of thousands


@dataclass(slots=True)
class RasterFigure:
    """A figure: its box on the page, its size in stored pixels (none: drawn), and a key that equal pictures share."""

    box: Box
    size: tuple[int, int] = (0, 0)
    key: bytes = b""


def raster_figures(page: Any) -> list[RasterFigure]:
    """Return the raster pictures on a page; those that touch are one (many programs store pictures in strips)."""
    found: list[RasterFigure] = []
    for number, image in enumerate(page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_IMAGE])):
        if number >= _MAX_OBJECTS:
            break
        try:
            box, size = _place(page, image), image.get_px_size()
        except pypdfium2.PdfiumError:
            continue  # a damaged picture: the rest of the page is whole
        if box is not None:
            key = hashlib.blake2b(repr(size).encode() + bytes(image.get_data()), digest_size=16).digest()
            _merge(found, RasterFigure(box, size, key))
    return [figure for figure in found if _is_figure(page, figure)]


def _merge(found: list[RasterFigure], new: RasterFigure) -> None:
    """Add ``new`` to ``found``, joined with all that it touches."""
    touching = [other for other in found if _touch(other.box, new.box)]
    for other in touching:
        found.remove(other)
        joined = union([other.box, new.box])
        assert joined is not None
        # the finer of the two scales tells how many pixels the whole has
        scale = (
            max(one.size[0] / max(1e-6, one.box[2] - one.box[0]) for one in (other, new)),
            max(one.size[1] / max(1e-6, one.box[3] - one.box[1]) for one in (other, new)),
        )
        size = round(scale[0] * (joined[2] - joined[0])), round(scale[1] * (joined[3] - joined[1]))
        new = RasterFigure(joined, size, hashlib.blake2b(other.key + new.key, digest_size=16).digest())
    found.append(new)


def _touch(one: Box, other: Box) -> bool:
    near = 0.001
    return (
        one[0] <= other[2] + near
        and other[0] <= one[2] + near
        and one[1] <= other[3] + near
        and other[1] <= one[3] + near
    )


def _is_figure(page: Any, found: RasterFigure) -> bool:
    width = (found.box[2] - found.box[0]) * page.get_width()
    height = (found.box[3] - found.box[1]) * page.get_height()
    if min(width, height) <= 0 or max(width, height) > _MAX_SHAPE * min(width, height):
        return False
    return area(found.box) >= _MIN_AREA and min(found.size) >= 8


def _place(page: Any, image: Any) -> Box | None:
    """Return the box of an image object on the page, through the forms that hold it; None where it is outside."""
    points = image.get_quad_points()
    holder = image.container
    while holder is not None:
        matrix = holder.get_matrix()
        points = [matrix.on_point(x, y) for x, y in points]
        holder = holder.container
    across, up = [x for x, _ in points], [y for _, y in points]
    left, top, right, bottom = fractions(page, min(across), min(up), max(across), max(up))
    return (left, top, right, bottom) if left < right and top < bottom else None


def render(page: Any, box: Box, file: File, size: tuple[int, int] | None) -> Picture | None:
    """Return the page inside ``box`` as a picture; None where it is a single colour.

    ``size`` is how many pixels are stored there (None: a drawing, which has any number).
    """
    most = file.options.picture_side
    side = float(most)
    if size is not None:
        longest = max((box[2] - box[0]) * page.get_width(), (box[3] - box[1]) * page.get_height())
        side = min(side, max(*size, 2 * longest))  # drawn over it there may be letters finer than its pixels
    pixels = np.ascontiguousarray(page_part(page, box, side)[:most, :most])  # PDFium rounds up: a pixel too large
    if (np.ptp(pixels.reshape(-1, 3), axis=0) < 8).all():
        return None
    high, wide = pixels.shape[:2]
    width, height = size or (wide, high)
    return picture_of(pixels, width, height, file.options.thumbnail_side)


def page_part(page: Any, box: Box, side: float) -> NDArray[np.uint8]:
    """Return the page inside ``box`` as RGB pixels with about ``side`` on the longer side."""
    across, down = page.get_width(), page.get_height()
    crop = (box[0] * across, (1 - box[3]) * down, (1 - box[2]) * across, box[1] * down)
    longest = max((box[2] - box[0]) * across, (box[3] - box[1]) * down)
    bitmap = page.render(scale=side / longest, crop=crop, rev_byteorder=True, may_draw_forms=False)
    try:
        pixels: NDArray[np.uint8] = bitmap.to_numpy()
        if pixels.ndim == 2:
            pixels = pixels[..., None]
        return np.broadcast_to(pixels[..., :3], (*pixels.shape[:2], 3)).copy()
    finally:
        bitmap.close()


def fractions(page: Any, left: float, bottom: float, right: float, top: float) -> Box:
    """Return PDF coordinates as fractions of the page as shown, its rotation and crop box applied."""
    x, y = c_int(), c_int()
    across: list[float] = []
    down: list[float] = []
    for one, other in ((left, bottom), (right, top)):
        pdfium.FPDF_PageToDevice(page, 0, 0, _UNITS, _UNITS, 0, one, other, x, y)
        across.append(min(1.0, max(0.0, x.value / _UNITS)))
        down.append(min(1.0, max(0.0, y.value / _UNITS)))
    return min(across), min(down), max(across), max(down)
