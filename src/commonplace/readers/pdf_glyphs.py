"""The characters of a PDF page in bulk, and the words that they make, each with its place, size and weight.

All coordinates are points of the page as shown, with its rotation and crop box applied; y grows downwards.
"""

from __future__ import annotations

import re
from ctypes import (
    CFUNCTYPE,
    POINTER,
    addressof,
    byref,
    c_double,
    c_float,
    c_int,
    c_ushort,
    c_void_p,
    cast,
    create_string_buffer,
)
from dataclasses import dataclass
from itertools import repeat
from math import atan2, degrees, hypot
from typing import Any

import numpy as np
import pypdfium2.raw as pdfium
from numpy.typing import NDArray

from commonplace.types import Box

__all__ = ["OBLIQUE", "PageGlyphs", "Word", "page_transform"]

OBLIQUE = -1  # the `turn` of a word that is turned by no right angle

_DEVICE_UNITS = 1_000_000  # device units across a page, used to convert coordinates
_HYPHENS = str.maketrans({"\x02": "-", "\ufffe": "-", "\0": " ", "\r": " "})  # PDFium marks hyphens at line ends so
_BOLD = re.compile(rb"bold|black|heavy|[A-Z]BX[A-Z]*\d|[-,]Bd|semibd|-Medi$|demi", re.IGNORECASE)
_WORD = re.compile(r"\S+")
_SPACES = (9, 10, 11, 12, 13, 32, 160, 0x2028, 0x2029, 0x3000)
_STRAIGHT = 0.06  # quarter turns; text is straight up to this

_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]{2,}")


def _raw(function: Any, result: Any, *arguments: Any) -> Any:
    """Return a function of PDFium that takes addresses as integers: a call costs a third of a declared one."""
    return CFUNCTYPE(result, *arguments)(cast(function, c_void_p).value or 0)


_char_box = _raw(pdfium.FPDFText_GetLooseCharBox, c_int, c_void_p, c_int, c_void_p)
_char_origin = _raw(pdfium.FPDFText_GetCharOrigin, c_int, c_void_p, c_int, c_void_p, c_void_p)
_char_matrix = _raw(pdfium.FPDFText_GetMatrix, c_int, c_void_p, c_int, c_void_p)
_unicode = _raw(pdfium.FPDFText_GetUnicode, c_int, c_void_p, c_int)
_font_size = _raw(pdfium.FPDFText_GetFontSize, c_double, c_void_p, c_int)
_text_object = _raw(pdfium.FPDFText_GetTextObject, c_void_p, c_void_p, c_int)
_font = _raw(pdfium.FPDFTextObj_GetFont, c_void_p, c_void_p)
_mark = _raw(pdfium.FPDFPageObj_GetMarkedContentID, c_int, c_void_p)


@dataclass(slots=True)
class Word:
    """Characters without white space between them: ``text`` is of the characters ``first`` to ``end`` of the page.

    ``base`` is the height of the baseline, and ``size`` that of the font. ``turn`` counts quarter turns clockwise.
    ``breaks``: PDFium begins a line with it; ``glued``: no white space stands before it. ``mark`` is the number of the
    tagged content it is a part of, or -1. ``shift`` is 1 for raised characters, -1 for lowered ones.
    """

    text: str
    first: int
    end: int
    left: float
    top: float
    right: float
    bottom: float
    base: float
    size: float
    bold: bool
    turn: int
    mark: int
    breaks: bool
    glued: bool
    shift: int = 0


@dataclass(frozen=True, slots=True)
class _Style:
    """What the characters of one text object have in common."""

    size: float
    bold: bool
    turn: int
    mark: int


def page_transform(page: Any) -> tuple[NDArray[np.float64], float, float]:
    """Return the matrix (3, 2) from PDF coordinates to points of the page as shown, and its width and height."""
    width, height = max(1e-3, page.get_width()), max(1e-3, page.get_height())
    left, bottom, right, top = page.get_bbox()
    x, y = c_int(), c_int()
    corners = []
    for page_x, page_y in ((left, bottom), (right, bottom), (left, top)):
        pdfium.FPDF_PageToDevice(page, 0, 0, _DEVICE_UNITS, _DEVICE_UNITS, 0, page_x, page_y, byref(x), byref(y))
        corners.append((x.value * width / _DEVICE_UNITS, y.value * height / _DEVICE_UNITS))
    (x0, y0), (x1, y1), (x2, y2) = corners
    across, up = max(1e-6, right - left), max(1e-6, top - bottom)
    matrix = np.array([[(x1 - x0) / across, (y1 - y0) / across], [(x2 - x0) / up, (y2 - y0) / up], [0, 0]])
    matrix[2] = (x0 - left * matrix[0, 0] - bottom * matrix[1, 0], y0 - left * matrix[0, 1] - bottom * matrix[1, 1])
    return matrix, width, height


class PageGlyphs:
    """The characters of a page. ``text`` has one for each character of PDFium; ``words`` are in PDFium's order."""

    def __init__(self, page: Any, textpage: Any, is_tagged: bool = False) -> None:
        self._matrix, self.width, self.height = page_transform(page)
        self._across, self._up = self._matrix[0].tolist(), self._matrix[1].tolist()
        self._is_tagged = is_tagged
        self._bold: dict[int, bool] = {}  # by font
        handle = cast(textpage.raw, c_void_p).value or 0
        count = max(0, textpage.count_chars())
        self._boxes = self._char_boxes(handle, count)
        self.text = _in_reading_order(self._visible(_page_text(textpage, handle, count)), self._boxes)
        self.words = self._words(handle) if count else []

    def box(self, indices: list[int]) -> Box | None:
        """Return the box around characters, as shares of the page; None where they have none."""
        boxes = self._boxes[indices]
        boxes = boxes[(boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])]
        if not len(boxes):
            return None
        return self.share((*boxes[:, :2].min(0).tolist(), *boxes[:, 2:].max(0).tolist()))

    def share(self, box: tuple[float, ...]) -> Box:
        """Return a box in points as shares of the page."""
        left, top, right, bottom = box
        width, height = self.width, self.height
        return _unit(left / width), _unit(top / height), _unit(right / width), _unit(bottom / height)

    def _visible(self, text: str) -> str:
        """Return the text with soft hyphens that have a width as hyphens, and others as what is left out later."""
        if "\xad" not in text:
            return text
        widths = (self._boxes[:, 2] - self._boxes[:, 0]).tolist()
        return "".join(
            ("-" if width > 0.5 else "\u2060") if character == "\xad" else character
            for character, width in zip(text, widths, strict=True)
        )

    def _char_boxes(self, handle: int, count: int) -> NDArray[np.float32]:
        raw = np.zeros((count, 4), np.float32)  # left, top, right, bottom, with y upwards
        address = raw.ctypes.data
        for _ in map(_char_box, repeat(handle), range(count), range(address, address + 16 * count, 16)):
            pass
        matrix = self._matrix.astype(np.float32)
        first, second = raw[:, :2] @ matrix[:2] + matrix[2], raw[:, 2:] @ matrix[:2] + matrix[2]
        return np.concatenate([np.minimum(first, second), np.maximum(first, second)], axis=1)

    def _words(self, handle: int) -> list[Word]:
        text = self.text
        cuts = _cuts(text, self._boxes)
        cut, cut_count = 0, len(cuts)
        bounds: list[tuple[int, int, bool, bool]] = []
        end = 0
        for match in _WORD.finditer(text):
            breaks = not bounds or "\n" in text[end : match.start()]
            first, end = match.span()
            start = first
            while cut < cut_count and cuts[cut] < end:
                if cuts[cut] > start:
                    bounds.append((start, cuts[cut], start != first, breaks))
                    start, breaks = cuts[cut], False
                cut += 1
            bounds.append((start, end, start != first, breaks))
        if not bounds:
            return []
        starts = np.array([bound[0] for bound in bounds])
        spread = self._boxes.copy()  # white space, which lies between two words, has no place in either
        empty = np.isin(np.frombuffer(text.encode("utf-32-le", "replace"), np.uint32), _SPACES)
        empty |= spread[:, 2] <= spread[:, 0]
        spread[empty, :2], spread[empty, 2:] = np.inf, -np.inf
        lows = np.minimum.reduceat(spread[:, :2], starts, axis=0).tolist()
        highs = np.maximum.reduceat(spread[:, 2:], starts, axis=0).tolist()
        styles: dict[int, _Style] = {}
        origin = (c_double * 2)()
        at_x, at_y = addressof(origin), addressof(origin) + 8
        (a, b), (c, d), (e, f) = self._matrix.tolist()
        style: _Style | None = None
        words: list[Word] = []
        for (first, end, glued, breaks), (left, top), (right, bottom) in zip(bounds, lows, highs, strict=True):
            address = _text_object(handle, first) or 0
            if address or style is None:
                style = styles.get(address)
                if style is None:
                    style = styles[address] = self._style(handle, first, address)
            _char_origin(handle, first, at_x, at_y)
            x, y = origin
            x, y = a * x + c * y + e, b * x + d * y + f
            if left > right:  # no character has a width
                left, top, right, bottom = x, y - style.size, x, y
            size = style.size if style.size > 0.5 else max(1.0, bottom - top)
            base = x if style.turn in (1, 3) else y
            words.append(
                Word(text[first:end], first, end, left, top, right, bottom, base, size, style.bold, style.turn,
                     style.mark, breaks, glued)
            )  # fmt: skip
        return words

    def _style(self, handle: int, index: int, address: int) -> _Style:
        matrix = (c_float * 6)()
        size, turn = _font_size(handle, index), 0
        if _char_matrix(handle, index, addressof(matrix)):
            a, b, c, d, _, _ = matrix
            size *= hypot(c, d)
            across, down = (a * self._across[0] + b * self._up[0]), (a * self._across[1] + b * self._up[1])
            quarters = degrees(atan2(down, across)) / 90 if across or down else 0.0
            turn = round(quarters) % 4 if abs(quarters - round(quarters)) < _STRAIGHT else OBLIQUE
        if not address:
            return _Style(size, False, turn, -1)
        font = _font(address) or 0
        if font not in self._bold:
            self._bold[font] = _is_bold(font)
        return _Style(size, self._bold[font], turn, _mark(address) if self._is_tagged else -1)


def _is_bold(address: int) -> bool:
    if not address:
        return False
    font = cast(c_void_p(address), pdfium.FPDF_FONT)
    if pdfium.FPDFFont_GetWeight(font) >= 600:
        return True
    name = create_string_buffer(128)
    return pdfium.FPDFFont_GetBaseFontName(font, name, 128) > 0 and _BOLD.search(name.value) is not None


def _unit(value: float) -> float:
    return min(1.0, max(0.0, value))


def _page_text(textpage: Any, handle: int, count: int) -> str:
    """Return one character for each of PDFium's; line ends are "\\n"."""
    if not count:
        return ""
    buffer = create_string_buffer(2 * count + 2)
    length = pdfium.FPDFText_GetText(textpage, 0, count, cast(buffer, POINTER(c_ushort))) - 1
    text = buffer.raw[: 2 * max(0, length)].decode("utf-16-le", "replace")
    if len(text) != count:  # characters outside the basic plane, or some without a Unicode value
        codes = [_unicode(handle, index) for index in range(count)]
        text = "".join(map(chr, (code if 0 <= code <= 0x10FFFF else 0xFFFD for code in codes)))
        if any(0xD800 <= code < 0xE000 for code in codes):
            text = _join_surrogates(text)
    return text.translate(_HYPHENS)


def _join_surrogates(text: str) -> str:
    """Return the text with pairs of surrogates as a character and an invisible one, and lone ones replaced."""
    pair = re.compile("([\ud800-\udbff])([\udc00-\udfff])|[\ud800-\udfff]")

    def joined(match: re.Match[str]) -> str:
        if match[1] is None:
            return "\ufffd"
        return chr(0x10000 + ((ord(match[1]) - 0xD800) << 10) + ord(match[2]) - 0xDC00) + "\u2060"

    return pair.sub(joined, text)


def _in_reading_order(text: str, boxes: NDArray[np.float32]) -> str:
    """Return the text with the letters of a ligature of a script that runs from right to left in order.

    PDFium turns the whole word, and with it the letters that one character stands for, such as lam and alef.
    """

    def turned(match: re.Match[str]) -> str:
        first, end = match.span()
        letters = list(match[0])
        for index in range(first + 1, end):
            if (boxes[index] == boxes[index - 1]).all() and boxes[index][2] > boxes[index][0]:
                letters[index - first - 1], letters[index - first] = letters[index - first], letters[index - first - 1]
        return "".join(letters)

    return _RIGHT_TO_LEFT.sub(turned, text)


def _cuts(text: str, boxes: NDArray[np.float32]) -> list[int]:
    """Return where a word may have to be cut: at a jump to the side, or at a change of height or size."""
    if len(text) < 2:
        return []
    before, after = boxes[:-1], boxes[1:]
    height = np.maximum(1e-3, np.maximum(before[:, 3] - before[:, 1], after[:, 3] - after[:, 1]))
    apart = np.maximum(after[:, 0] - before[:, 2], before[:, 0] - after[:, 2])
    moved = np.maximum(abs(after[:, 3] - before[:, 3]), abs(after[:, 1] - before[:, 1]))
    is_cut = (apart > 0.6 * height) | (moved > 0.1 * height)
    # characters that stand one above the other are of turned text; a line may end without white space, at a hyphen
    level = np.minimum(before[:, 3], after[:, 3]) > np.maximum(before[:, 1], after[:, 1])
    has_size = (before[:, 2] > before[:, 0]) & (after[:, 2] > after[:, 0]) & (level | (apart > 0))
    cuts: list[int] = (np.flatnonzero(is_cut & has_size) + 1).tolist()
    return cuts
