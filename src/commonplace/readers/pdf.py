"""PDF: the text of each page with its boxes, the figures on it, and the page's picture where it has no text."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from ctypes import c_double, c_int
from dataclasses import dataclass
from typing import Any

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium
from numpy.typing import NDArray

from commonplace.errors import ReadError
from commonplace.readers.parts import Figure, File, Part, Passage
from commonplace.readers.pictures import picture_of
from commonplace.types import Box, Picture, Span

__all__ = ["read_pdf"]

_WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
_UNITS = 100_000  # device units by which PDFium maps a page to fractions
_MIN_AREA = 0.005  # of the page; a smaller picture is a logo, a bullet or a rule
_MAX_AREA = 0.85  # of the page; a larger one behind text is a scan or a background
_STAMP = 200  # characters; less text than that over a scan is a stamp or a filled-in name, not the scan's own text
_MAX_SHAPE = 12  # longer than that many times its width is a rule
_MAX_OBJECTS = 1000  # pictures looked at on one page: some drawings are made of tens of thousands
_CAPTION_REACH = 0.08  # of the page height, between a figure and its caption
_CAPTION = re.compile(r"\s*(figure|fig\.?|photo|image|plate|abbildung|abb\.?|图|圖)\s*[\dIVXA-Z]", re.IGNORECASE)
_TITLE_JUNK = re.compile(r"^(microsoft \w+ - )+|\.(docx?|pptx?|xlsx?|odt|tex|dvi|pdf|indd|rtf|qxd)$", re.IGNORECASE)
_NO_TITLE = re.compile(r"\W*|untitled.*|(document|title|unknown|slide|presentation|no title)\s*\d*", re.IGNORECASE)


def read_pdf(file: File) -> Iterator[Part]:
    """Yield the parts of the pages in order; a page that cannot be read becomes a problem of the file."""
    try:
        document = pypdfium2.PdfDocument(file.data)
    except pypdfium2.PdfiumError as error:
        if getattr(error, "err_code", None) == pdfium.FPDF_ERR_PASSWORD:
            raise ReadError("protected by a password; remove the password and add it again") from None
        raise ReadError("a damaged PDF that cannot be opened; save or print it anew and add it again") from None
    with document:
        file.title = _title(document)
        bad: list[int] = []
        seen: set[bytes] = set()
        count = len(document)
        for index in range(count):
            try:
                yield from _page(document, index, file, seen)
            except MemoryError:
                raise
            except Exception:  # whatever is wrong with one page, the others are kept
                bad.append(index + 1)
        if count == 0 or len(bad) == count:
            raise ReadError("a damaged PDF without a page that can be read; save or print it anew and add it again")
        if bad:
            some = ", ".join(map(str, bad[:10])) + (" and more" if len(bad) > 10 else "")
            file.problems.append(f"{len(bad)} of {count} pages cannot be read (page {some})")


def _title(document: Any) -> str | None:
    try:
        stated = " ".join(document.get_metadata_value("Title").split())
    except (pypdfium2.PdfiumError, UnicodeError):
        return None
    words = _TITLE_JUNK.sub("", stated).strip()
    return None if _NO_TITLE.fullmatch(words) else words


def _page(document: Any, index: int, file: File, seen: set[bytes]) -> Iterator[Part]:
    page = document[index]
    try:
        number = index + 1
        textpage = page.get_textpage()
        text = _PageText(page, textpage)
        written = len("".join(text.text.split()))
        if written:
            yield Passage(text.text, page=number, split_as=text.flow, locate=text.box)
        figures = _figures(page)
        background = [found for found in figures if _area(found.box) > _MAX_AREA]
        figures = [found for found in figures if found not in background]
        if not written or (background and written < _STAMP):
            picture = _render(page, _WHOLE, file, None)
            if picture is not None:
                yield Figure(picture, Span(page=number, box=_WHOLE))
            if len(figures) < 2:  # what there is fills the page's picture
                return
        for found in figures:
            if found.key in seen:
                continue  # a logo that stands on every page is one picture
            seen.add(found.key)
            picture = _render(page, found.box, file, found.size)
            if picture is not None:
                yield Figure(picture, Span(page=number, box=found.box), caption=text.caption(found.box))
    finally:
        page.close()


class _PageText:
    """The text of one page, each character with its place.

    ``text`` has a line end where the page has one and an empty line between paragraphs; ``flow`` is the same with
    spaces for the line ends inside a paragraph.
    """

    def __init__(self, page: Any, textpage: Any) -> None:
        self._page, self._textpage = page, textpage
        characters, self._index = _characters(textpage)
        self.text, self._index, self._lines = self._paragraphs(characters, self._index)
        self.flow = re.sub(r"(?<!\n)\n(?!\n)", " ", self.text)

    def box(self, start: int, end: int) -> Box | None:
        """Return the box around the characters ``text[start:end]``; None where they have no place."""
        first, last = self._index[start], self._index[end - 1]
        count = pdfium.FPDFText_CountRects(self._textpage, first, last - first + 1)
        left, top, right, bottom = c_double(), c_double(), c_double(), c_double()
        boxes = []
        for rect in range(max(0, count)):
            if pdfium.FPDFText_GetRect(self._textpage, rect, left, top, right, bottom):
                boxes.append(_fractions(self._page, left.value, bottom.value, right.value, top.value))
        return _union(boxes)

    def caption(self, figure: Box) -> str | None:
        """Return the paragraph that begins like "Figure 3" and stands nearest under or over the box ``figure``."""
        best: tuple[float, str] | None = None
        for start, end in self._lines:
            if not _CAPTION.match(self.text, start, end):
                continue
            box = self.box(start, end)
            if box is None or min(box[2], figure[2]) <= max(box[0], figure[0]):
                continue
            under, over = box[1] - figure[3], figure[1] - box[3]
            distance = max(under, over)
            if distance > _CAPTION_REACH or (best is not None and abs(distance) >= best[0]):
                continue
            stop = self.text.find("\n\n", start)
            best = abs(distance), " ".join(self.text[start : None if stop < 0 else stop].split())
        return best[1] if best else None

    def _paragraphs(self, characters: list[str], index: list[int]) -> tuple[str, list[int], list[tuple[int, int]]]:
        """Return text and character indices with one more line end between paragraphs, and the lines' offsets."""
        out: list[str] = []
        places: list[int] = []
        lines: list[tuple[int, int]] = []
        above: _Line | None = None
        start = 0
        for end in [*(i for i, c in enumerate(characters) if c == "\n"), len(characters)]:
            ink = [i for i in range(start, end) if not characters[i].isspace()]
            if ink:
                here = self._line(index[ink[0]], index[ink[-1]], len(ink))
                if above is not None and here is not None and _new_paragraph(above, here):
                    out.append("\n")
                    places.append(index[ink[0]])
                above = here or above
                lines.append((len(out), len(out) + end - start))
            out.extend(characters[start : end + 1])
            places.extend(index[start : end + 1])
            start = end + 1
        return "".join(out), places, lines

    def _line(self, first: int, last: int, length: int) -> _Line | None:
        one, other = pdfium.FS_RECTF(), pdfium.FS_RECTF()
        for character, rect in ((first, one), (last, other)):
            if not pdfium.FPDFText_GetLooseCharBox(self._textpage, character, rect) or rect.top <= rect.bottom:
                return None
        return _Line(one.left, one.top, one.top - one.bottom, other.bottom, length)


@dataclass(frozen=True, slots=True)
class _Line:
    """A line by its first and last character, in PDF units (y grows upwards).

    A word broken over two lines makes one line of them: ``top`` is then the first's and ``bottom`` the second's.
    """

    left: float
    top: float
    height: float  # of the first character
    bottom: float
    length: int


def _new_paragraph(above: _Line, here: _Line) -> bool:
    resized = max(above.height, here.height) > 1.2 * min(above.height, here.height)
    return (
        above.bottom - here.top > 0.5 * here.height  # white between the lines
        or here.top > above.top + above.height  # back up: the next column
        or (resized and min(above.length, here.length) > 3)  # a heading, not the mark of a footnote
        or here.height < here.left - above.left < 6 * here.height  # an indented first line
    )


def _characters(textpage: Any) -> tuple[list[str], list[int]]:
    """Return the characters of a page and for each its index in PDFium's list.

    Line ends are "\\n". A word broken at a line's end is joined; a pair of surrogates is one character.
    """
    unicode = pdfium.FPDFText_GetUnicode
    codes = [unicode(textpage, i) for i in range(max(0, textpage.count_chars()))]
    characters: list[str] = []
    index: list[int] = []
    for i, code in enumerate(codes):
        if code in (0x02, 0xFFFE, 0xAD):  # PDFium's sign for a hyphen at a line's end
            if i + 1 < len(codes) and chr(codes[i - 1]).islower() and chr(codes[i + 1]).islower():
                continue
            code = 0x2D
        if 0xDC00 <= code < 0xE000 and i and 0xD800 <= codes[i - 1] < 0xDC00:
            characters[-1] = chr(0x10000 + ((codes[i - 1] - 0xD800) << 10) + code - 0xDC00)
            continue
        if code == 0x0D or code == 0:
            continue
        if 0xD800 <= code < 0xE000 or code > 0x10FFFF:
            code = 0xFFFD
        characters.append(chr(code))
        index.append(i)
    return characters, index


@dataclass(slots=True)
class _Found:
    """A figure: its box on the page, its size in stored pixels, and a key that equal pictures share."""

    box: Box
    size: tuple[int, int]
    key: bytes


def _figures(page: Any) -> list[_Found]:
    """Return the raster pictures on a page; those that touch are one (many programs store pictures in strips)."""
    found: list[_Found] = []
    for number, image in enumerate(page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_IMAGE])):
        if number >= _MAX_OBJECTS:
            break
        try:
            box, size = _place(page, image), image.get_px_size()
        except pypdfium2.PdfiumError:
            continue  # a damaged picture: the rest of the page is whole
        if box is not None:
            key = hashlib.blake2b(repr(size).encode() + bytes(image.get_data()), digest_size=16).digest()
            _merge(found, _Found(box, size, key))
    return [figure for figure in found if _is_figure(page, figure)]


def _merge(found: list[_Found], new: _Found) -> None:
    """Add ``new`` to ``found``, joined with all that it touches."""
    touching = [other for other in found if _touch(other.box, new.box)]
    for other in touching:
        found.remove(other)
        joined = _union([other.box, new.box])
        assert joined is not None
        # the finer of the two scales tells how many pixels the whole has
        scale = (
            max(one.size[0] / max(1e-6, one.box[2] - one.box[0]) for one in (other, new)),
            max(one.size[1] / max(1e-6, one.box[3] - one.box[1]) for one in (other, new)),
        )
        size = round(scale[0] * (joined[2] - joined[0])), round(scale[1] * (joined[3] - joined[1]))
        new = _Found(joined, size, hashlib.blake2b(other.key + new.key, digest_size=16).digest())
    found.append(new)


def _touch(one: Box, other: Box) -> bool:
    near = 0.001
    return (
        one[0] <= other[2] + near
        and other[0] <= one[2] + near
        and one[1] <= other[3] + near
        and other[1] <= one[3] + near
    )


def _is_figure(page: Any, found: _Found) -> bool:
    width = (found.box[2] - found.box[0]) * page.get_width()
    height = (found.box[3] - found.box[1]) * page.get_height()
    if min(width, height) <= 0 or max(width, height) > _MAX_SHAPE * min(width, height):
        return False
    return _area(found.box) >= _MIN_AREA and min(found.size) >= 16 and max(found.size) >= 48


def _place(page: Any, image: Any) -> Box | None:
    """Return the box of an image object on the page, through the forms that hold it; None where it is outside."""
    points = image.get_quad_points()
    holder = image.container
    while holder is not None:
        matrix = holder.get_matrix()
        points = [matrix.on_point(x, y) for x, y in points]
        holder = holder.container
    across, up = [x for x, _ in points], [y for _, y in points]
    left, top, right, bottom = _fractions(page, min(across), min(up), max(across), max(up))
    return (left, top, right, bottom) if left < right and top < bottom else None


def _render(page: Any, box: Box, file: File, size: tuple[int, int] | None) -> Picture | None:
    """Return the page inside ``box`` as a picture; None where it is a single colour.

    ``size`` is how many pixels are stored there (None: a drawing, which has any number).
    """
    across, down = page.get_width(), page.get_height()
    crop = (box[0] * across, (1 - box[3]) * down, (1 - box[2]) * across, box[1] * down)
    longest = max((box[2] - box[0]) * across, (box[3] - box[1]) * down)
    side = float(file.options.picture_side)
    if size is not None:
        side = min(side, max(*size, 2 * longest))  # drawn over it there may be letters finer than its pixels
    bitmap = page.render(scale=side / longest, crop=crop, rev_byteorder=True, may_draw_forms=False)
    try:
        pixels: NDArray[np.uint8] = bitmap.to_numpy()
        if pixels.ndim == 2:
            pixels = pixels[..., None]
        pixels = np.broadcast_to(pixels[..., :3], (*pixels.shape[:2], 3)).copy()
    finally:
        bitmap.close()
    most = file.options.picture_side
    pixels = np.ascontiguousarray(pixels[:most, :most])  # PDFium rounds up: it may be a pixel too large
    if (np.ptp(pixels.reshape(-1, 3), axis=0) < 8).all():
        return None
    high, wide = pixels.shape[:2]
    width, height = size or (wide, high)
    return picture_of(pixels, width, height, file.options.thumbnail_side)


def _fractions(page: Any, left: float, bottom: float, right: float, top: float) -> Box:
    """Return PDF coordinates as fractions of the page as shown, its rotation and crop box applied."""
    x, y = c_int(), c_int()
    across: list[float] = []
    down: list[float] = []
    for one, other in ((left, bottom), (right, top)):
        pdfium.FPDF_PageToDevice(page, 0, 0, _UNITS, _UNITS, 0, one, other, x, y)
        across.append(min(1.0, max(0.0, x.value / _UNITS)))
        down.append(min(1.0, max(0.0, y.value / _UNITS)))
    return min(across), min(down), max(across), max(down)


def _union(boxes: list[Box]) -> Box | None:
    if not boxes:
        return None
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
