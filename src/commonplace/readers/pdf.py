"""PDF: the text of each page with its boxes, the figures on it, and the page's picture where it has no text.

Where drawn figures are is said by :mod:`~commonplace.readers.pdf_vectors`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from ctypes import byref, create_string_buffer
from itertools import islice
from typing import Any

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium
from numpy.typing import NDArray

from commonplace.errors import ReadError
from commonplace.readers.metadata import names_in
from commonplace.readers.ocr import with_words
from commonplace.readers.parts import File, ImageBlock, Part, TextBlock, union
from commonplace.readers.pdf_images import RasterFigure, fractions, page_part, raster_figures, render
from commonplace.readers.pdf_text import CAPTION, Line, PageText, running_lines
from commonplace.readers.pdf_vectors import area, drawn, grids, on_page, share
from commonplace.types import Box, Span

__all__ = ["page_pixels", "read_pdf"]

_WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
_MAX_AREA = 0.85  # of the page; a larger one behind text is a scan or a background
_FILLED = 0.4  # of the page: figures that fill so much of a page without text are all there is on it
_STAMP = 200  # characters; less text than that over a scan is a stamp or a filled-in name, not the scan's own text
_LONG_HEADING = 120  # characters
_ENTRIES = 20_000  # of an outline
_LARGER = 1.13  # times the size of the text: a heading
_NUMBERED = re.compile(r"(\d{1,3}(?:\.\d{1,3})*)\.?\s+\w")
_NOTES = {
    pdfium.FPDF_ANNOT_TEXT, pdfium.FPDF_ANNOT_FREETEXT, pdfium.FPDF_ANNOT_HIGHLIGHT, pdfium.FPDF_ANNOT_UNDERLINE,
    pdfium.FPDF_ANNOT_SQUIGGLY, pdfium.FPDF_ANNOT_STRIKEOUT, pdfium.FPDF_ANNOT_CARET, pdfium.FPDF_ANNOT_STAMP,
    pdfium.FPDF_ANNOT_INK, pdfium.FPDF_ANNOT_SQUARE, pdfium.FPDF_ANNOT_CIRCLE, pdfium.FPDF_ANNOT_LINE,
}  # fmt: skip
_MAX_NOTES = 500  # on one page
_TITLE_JUNK = re.compile(r"^(microsoft \w+ - )+|\.(docx?|pptx?|xlsx?|odt|tex|dvi|pdf|indd|rtf|qxd)$", re.IGNORECASE)
_NO_TITLE = re.compile(r"\W*|untitled.*|(document|title|unknown|slide|presentation|no title)\s*\d*", re.IGNORECASE)


def page_pixels(data: bytes, number: int, side: int) -> NDArray[np.uint8]:
    """Return page ``number`` (from 1) of a PDF as RGB pixels (height, width, 3), about ``side`` on the longer side."""
    with _opened(data) as document:
        if not 1 <= number <= len(document):
            raise ReadError(f"has no page {number}; it has changed: add it again")
        try:
            return page_part(document[number - 1], _WHOLE, side)
        except pypdfium2.PdfiumError:
            raise ReadError(f"page {number} cannot be drawn; save or print it anew and add it again") from None


def _opened(data: bytes) -> Any:
    with suppress(pypdfium2.PdfiumError):
        return pypdfium2.PdfDocument(data)
    with suppress(pypdfium2.PdfiumError):  # where PDFium gives no reason, its last one stands: another file's, perhaps
        pypdfium2.PdfDocument(b"no PDF")
    try:
        return pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if getattr(error, "err_code", None) == pdfium.FPDF_ERR_PASSWORD:
            raise ReadError("protected by a password; remove the password and add it again") from None
        raise ReadError("a damaged PDF that cannot be opened; save or print it anew and add it again") from None


def read_pdf(file: File) -> Iterator[Part]:
    """Yield the parts of the pages in order; a page that cannot be read becomes a problem of the file."""
    with _opened(file.data) as document:
        file.title = _title(document)
        _describe(document, file)
        bad: list[int] = []
        seen: set[bytes] = set()
        running = running_lines(document)
        headings = _Headings(_outline(document))
        count = len(document)
        for index in range(count):
            try:
                yield from _page(document, index, file, seen, running, headings)
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


def _describe(document: Any, file: File) -> None:
    """State what the document says of itself."""
    named = {"Author": ("author", ";"), "Keywords": ("keyword", ",;"), "Subject": ("subject", "")}
    for name, (key, marks) in {**named, "CreationDate": ("created", ""), "ModDate": ("modified", "")}.items():
        with suppress(pypdfium2.PdfiumError, UnicodeError):
            words = document.get_metadata_value(name)
            file.state(key, *(names_in(words, marks) if marks else [words]))
    length = pdfium.FPDFCatalog_GetLanguage(document, None, 0)
    if 2 < length < 1000:
        buffer = create_string_buffer(length)
        pdfium.FPDFCatalog_GetLanguage(document, _wide(buffer), length)
        file.state("language", buffer.raw[: length - 2].decode("utf-16-le", "replace"))


def _outline(document: Any) -> dict[int, set[str]]:
    """Return page (from 0) -> the headings that the document's outline says stand there, letters and digits only."""
    found: dict[int, set[str]] = {}
    try:
        for entry in islice(document.get_toc(), _ENTRIES):
            place = entry.get_dest()
            page = place.get_index() if place is not None else None
            if page is not None:
                found.setdefault(page, set()).add(_bare(entry.get_title()))
    except (pypdfium2.PdfiumError, UnicodeError, RecursionError):
        pass
    return found


def _bare(words: str) -> str:
    return "".join(filter(str.isalnum, words)).casefold()


class _Headings:
    """The headings above where the reading has come to, and what tells a heading from the text."""

    def __init__(self, outline: dict[int, set[str]]) -> None:
        self._outline = outline
        self._sizes: Counter[float] = Counter()
        self._bold = 0
        self._path: list[tuple[float, int, str]] = []  # size, depth of its number, words

    @property
    def title(self) -> str | None:
        return " > ".join(words for _, _, words in self._path) or None

    def learn(self, lines: list[Line]) -> None:
        """Take note of the sizes that the text of a page has."""
        for line in lines:
            self._sizes[round(line.height, 1)] += line.length
            self._bold += line.length if line.bold else -line.length

    def is_heading(self, index: int, words: str, lines: list[Line]) -> bool:
        """Return whether a paragraph is a heading: in the outline, larger than the text, or bold where that is not."""
        letters = sum(map(str.isalpha, words))
        if len(words) > _LONG_HEADING or letters < 3 or letters < 0.5 * len(words) or "@" in words:
            return False
        if CAPTION.match(words):
            return False
        if _bare(words) in self._outline.get(index, ()):
            return True
        size = self._sizes.most_common(1)[0][0]
        if len(lines) > 2 or words[-1:] in ".,;:" or words[:1] in "•●-*–▪":
            return False
        larger = min(line.height for line in lines) >= _LARGER * size
        bold = all(line.bold for line in lines) and self._bold < 0 and words[:1].isupper() | words[:1].isdigit()
        return larger or (bold and min(line.height for line in lines) >= 0.97 * size)

    def enter(self, words: str, lines: list[Line]) -> None:
        """Go under a heading; one as large as those before, or larger, ends their sections."""
        numbered = _NUMBERED.match(words)
        depth = len(numbered[1].split(".")) if numbered else 0
        size = lines[0].height
        kept = [
            (above, number, name)
            for above, number, name in self._path
            if above > 1.04 * size or (above > 0.96 * size and number and depth > number)
        ]
        self._path = [*kept[-3:], (size, depth, words)]

    def leave(self) -> None:
        """Forget the last heading: nothing stands under it."""
        self._path = self._path[:-1]


def _page(
    document: Any, index: int, file: File, seen: set[bytes], running: set[str], headings: _Headings
) -> Iterator[Part]:
    page = document[index]
    try:
        number = index + 1
        textpage = page.get_textpage()
        strokes = on_page(page)
        text = PageText(page, textpage, running, grids(strokes))
        written = len("".join(text.text.split()))
        headings.learn(text.lines)
        at_top = headings.title
        if written:
            yield from _sections(text, index, file, headings)
        at = len(text.text) + 2  # what is not in the page's text comes after it
        notes = _notes(page)
        if notes:
            words, places = "\n".join(said for said, _ in notes), [box for _, box in notes]
            yield TextBlock(words, at, headings.title, number, locate=lambda *_: union(places))
            at += len(words) + 2
        figures = raster_figures(page)
        for box in drawn(strokes, [found.box for found in figures], text.boxes()):
            figures = [found for found in figures if share(found.box, box) <= 0.8]  # it is a part of the drawing
            figures.append(RasterFigure(box))
        background = [found for found in figures if area(found.box) > _MAX_AREA]
        figures = [found for found in figures if found not in background]
        searched = False  # the words of the whole page are read once
        if (not written and sum(area(found.box) for found in figures) < _FILLED) or (background and written < _STAMP):
            picture = render(page, _WHOLE, file, None)
            if picture is not None:
                whole = ImageBlock(picture, Span(page=number, box=_WHOLE), title=at_top)
                for part in with_words(file, whole, lambda side: page_part(page, _WHOLE, side), start=at, gated=False):
                    at += len(part.text) + 2 if isinstance(part, TextBlock) else 0
                    yield part
                searched = True
        for found in figures:
            if found.key and found.key in seen:
                continue  # a logo that stands on every page is one picture
            seen.add(found.key)
            picture = render(page, found.box, file, found.size if any(found.size) else None)
            if picture is not None:
                title = text.titled(found.box) or at_top
                figure = ImageBlock(picture, Span(page=number, box=found.box), text.caption(found.box), title)
                if searched or not any(found.size):  # the letters of a drawing are the page's own
                    yield figure
                    continue

                def larger(side: int, box: Box = found.box) -> NDArray[np.uint8]:
                    return page_part(page, box, side)

                for part in with_words(file, figure, larger, start=at):
                    at += len(part.text) + 2 if isinstance(part, TextBlock) else 0
                    yield part
    finally:
        page.close()


def _sections(text: PageText, index: int, file: File, headings: _Headings) -> Iterator[TextBlock]:
    """Yield the text of a page by its headings; one that nothing stands under stays in the text."""
    start, bare = 0, False

    def passage(first: int, last: int) -> TextBlock:
        def locate(one: int, other: int) -> Box | None:
            return text.box(first + one, first + other)

        whole, flow = text.text[first:last], text.flow[first:last]
        return TextBlock(whole, first, headings.title, index + 1, split_as=flow, locate=locate)

    first = 0
    for first, last, lines in text.paragraphs():
        words = " ".join(text.text[first:last].split())
        if not headings.is_heading(index, words, lines):
            bare = False
            continue
        if text.text[start:first].strip():
            yield passage(start, first)
        headings.enter(words, lines)
        text.note(lines, headings.title)
        if file.title is None:
            file.title = words
        start, bare = last, True
    if text.text[start:].strip():
        yield passage(start, len(text.text))
    elif bare:
        headings.leave()
        yield passage(first, len(text.text))


def _notes(page: Any) -> list[tuple[str, Box | None]]:
    """Return what is written into the page's annotations and form fields, each with its place."""
    found: list[tuple[str, Box | None]] = []
    for number in range(min(_MAX_NOTES, max(0, pdfium.FPDFPage_GetAnnotCount(page)))):
        annotation = pdfium.FPDFPage_GetAnnot(page, number)
        if not annotation:
            continue
        try:
            kind = pdfium.FPDFAnnot_GetSubtype(annotation)
            if kind == pdfium.FPDF_ANNOT_WIDGET:
                name, value = (_string(annotation, key) for key in (b"TU", b"V"))
                name = name or _string(annotation, b"T")
                said = f"{name}: {value}" if name and value and value not in ("Off", "/Off") else ""
            else:
                said = f"Note: {words}" if kind in _NOTES and (words := _string(annotation, b"Contents")) else ""
            if said:
                rect = pdfium.FS_RECTF()
                place = None
                if pdfium.FPDFAnnot_GetRect(annotation, byref(rect)):
                    place = fractions(page, rect.left, rect.bottom, rect.right, rect.top)
                found.append((said, place))
        finally:
            pdfium.FPDFPage_CloseAnnot(annotation)
    return found


def _string(annotation: Any, key: bytes) -> str:
    length = pdfium.FPDFAnnot_GetStringValue(annotation, key, None, 0)
    if not 2 < length < 100_000:
        return ""
    buffer = create_string_buffer(length)
    pdfium.FPDFAnnot_GetStringValue(annotation, key, _wide(buffer), length)
    return " ".join(buffer.raw[: length - 2].decode("utf-16-le", "replace").replace("\0", " ").split())


def _wide(buffer: Any) -> Any:
    from ctypes import POINTER, c_ushort, cast

    return cast(buffer, POINTER(c_ushort))
