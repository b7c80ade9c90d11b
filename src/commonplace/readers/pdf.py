"""PDF: the text of each page with its boxes, its figures, and a picture of the page where it has no text.

``pdf_vectors`` finds figures that are drawn with lines and shapes.
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
from commonplace.i18n import _
from commonplace.readers.metadata import split_names
from commonplace.readers.ocr import with_ocr
from commonplace.readers.parts import File, ImageBlock, Part, TextBlock, bounding_box
from commonplace.readers.pdf_images import PageFigure, page_figures, page_fractions, render_picture, render_pixels
from commonplace.readers.pdf_text import CAPTION, PageText, TextLine, running_lines
from commonplace.readers.pdf_vectors import area, find_drawings, find_ruled_tables, overlap_share, page_strokes
from commonplace.types import Box, Span

__all__ = ["page_pixels", "read_pdf"]

_FULL_PAGE: Box = (0.0, 0.0, 1.0, 1.0)
_MAX_FIGURE_AREA = 0.85  # share of the page; a larger figure behind text is a scan or a background
_FIGURES_FILL_PAGE = (
    0.4  # share of a page without text that its figures fill: above it the page needs no picture of its own
)
_MAX_STAMP_TEXT = (
    200  # characters; a scan with less text over it (a stamp, a filled-in name) is treated as having no text
)
_MAX_HEADING = 120  # characters
_MAX_OUTLINE_ENTRIES = 20_000  # entries of an outline
_HEADING_SIZE_RATIO = 1.13  # times the size of the body text: a heading
_SECTION_NUMBER = re.compile(r"(\d{1,3}(?:\.\d{1,3})*)\.?\s+\w")
_NOTES = {
    pdfium.FPDF_ANNOT_TEXT, pdfium.FPDF_ANNOT_FREETEXT, pdfium.FPDF_ANNOT_HIGHLIGHT, pdfium.FPDF_ANNOT_UNDERLINE,
    pdfium.FPDF_ANNOT_SQUIGGLY, pdfium.FPDF_ANNOT_STRIKEOUT, pdfium.FPDF_ANNOT_CARET, pdfium.FPDF_ANNOT_STAMP,
    pdfium.FPDF_ANNOT_INK, pdfium.FPDF_ANNOT_SQUARE, pdfium.FPDF_ANNOT_CIRCLE, pdfium.FPDF_ANNOT_LINE,
}  # fmt: skip
_MAX_NOTES = 500  # on one page
_TITLE_JUNK = re.compile(r"^(microsoft \w+ - )+|\.(docx?|pptx?|xlsx?|odt|tex|dvi|pdf|indd|rtf|qxd)$", re.IGNORECASE)
_NO_TITLE = re.compile(r"\W*|untitled.*|(document|title|unknown|slide|presentation|no title)\s*\d*", re.IGNORECASE)


def page_pixels(data: bytes, number: int, side: int) -> NDArray[np.uint8]:
    """Render page ``number`` (from 1) of a PDF as RGB pixels (height, width, 3).

    The longer side has about ``side`` pixels. Raises ReadError where there is no such page or it cannot be rendered.
    """
    with _open_document(data) as document:
        if not 1 <= number <= len(document):
            raise ReadError(_("has no page {number}, so the file has changed; add it again").format(number=number))
        try:
            return render_pixels(document[number - 1], _FULL_PAGE, side)
        except pypdfium2.PdfiumError:
            raise ReadError(
                _("page {number} cannot be rendered; save or print a new copy and add it again").format(number=number)
            ) from None


def _open_document(data: bytes) -> Any:
    with suppress(pypdfium2.PdfiumError):
        return pypdfium2.PdfDocument(data)
    with suppress(pypdfium2.PdfiumError):  # resets PDFium's error code, which may be left from another file
        pypdfium2.PdfDocument(b"no PDF")
    try:
        return pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if getattr(error, "err_code", None) == pdfium.FPDF_ERR_PASSWORD:
            raise ReadError(_("protected by a password; remove the password and add it again")) from None
        raise ReadError(_("a damaged PDF that cannot be opened; save or print a new copy and add it again")) from None


def read_pdf(file: File) -> Iterator[Part]:
    """Yield the parts of the pages in order; a page that cannot be read is reported as a problem."""
    with _open_document(file.data) as document:
        file.title = _title(document)
        _read_metadata(document, file)
        unreadable: list[int] = []
        picture_keys: set[bytes] = set()
        count = len(document)
        openable = count if file.quota.last_page is None else min(count, file.quota.last_page)
        running_patterns = running_lines(document, openable, file.quota)
        headings = _HeadingTracker(_outline(document))
        file.has_pages = True
        read = 0
        try:
            for index in range(openable):
                if index and file.quota.is_used_up:
                    break
                try:
                    yield from _page(document, index, file, picture_keys, running_patterns, headings)
                except MemoryError:
                    raise
                except Exception:  # one damaged page must not cost the others
                    unreadable.append(index + 1)
                read += 1
                file.quota.step()
        finally:  # also where the common code stops within a page
            if read < count:
                pages_read = _("{read} of {total} pages were read: {reason}")
                file.problems.append(pages_read.format(read=read, total=count, reason=file.quota.reason))
        if count == 0 or len(unreadable) == count:
            raise ReadError(_("a damaged PDF: no page can be read; save or print a new copy and add it again"))
        if unreadable:
            page_list = ", ".join(map(str, unreadable[:10])) + (_(" and more") if len(unreadable) > 10 else "")
            file.problems.append(
                _("{count} of {total} pages cannot be read (page {page_list}); save or print a new copy").format(
                    count=len(unreadable), total=count, page_list=page_list
                )
            )


def _title(document: Any) -> str | None:
    try:
        raw = " ".join(document.get_metadata_value("Title").split())
    except (pypdfium2.PdfiumError, UnicodeError):
        return None
    title = _TITLE_JUNK.sub("", raw).strip()
    return None if _NO_TITLE.fullmatch(title) else title


def _read_metadata(document: Any, file: File) -> None:
    """Add the metadata that the document declares."""
    list_keys = {"Author": ("author", ";"), "Keywords": ("keyword", ",;"), "Subject": ("subject", "")}
    for name, (key, separators) in {**list_keys, "CreationDate": ("created", ""), "ModDate": ("modified", "")}.items():
        with suppress(pypdfium2.PdfiumError, UnicodeError):
            value = document.get_metadata_value(name)
            file.add_metadata(key, *(split_names(value, separators) if separators else [value]))
    length = pdfium.FPDFCatalog_GetLanguage(document, None, 0)
    if 2 < length < 1000:
        buffer = create_string_buffer(length)
        pdfium.FPDFCatalog_GetLanguage(document, _as_utf16_buffer(buffer), length)
        file.add_metadata("language", buffer.raw[: length - 2].decode("utf-16-le", "replace"))


def _outline(document: Any) -> dict[int, set[str]]:
    """Return a dict from page (from 0) to the headings that the outline has there, as letters and digits only."""
    headings: dict[int, set[str]] = {}
    try:
        for entry in islice(document.get_toc(), _MAX_OUTLINE_ENTRIES):
            destination = entry.get_dest()
            page = destination.get_index() if destination is not None else None
            if page is not None:
                headings.setdefault(page, set()).add(_heading_key(entry.get_title()))
    except (pypdfium2.PdfiumError, UnicodeError, RecursionError):
        pass
    return headings


def _heading_key(text: str) -> str:
    return "".join(filter(str.isalnum, text)).casefold()


class _HeadingTracker:
    """Tracks the headings above the current position, and decides what is a heading."""

    def __init__(self, outline: dict[int, set[str]]) -> None:
        self._outline = outline
        self._sizes: Counter[float] = Counter()
        self._bold = 0
        self._path: list[tuple[float, int, str]] = []  # font size, depth of the section number, text

    @property
    def title(self) -> str | None:
        return " > ".join(heading for _, _, heading in self._path) or None

    def count_sizes(self, lines: list[TextLine]) -> None:
        """Count the font sizes and weights of the text of a page."""
        for line in lines:
            self._sizes[round(line.height, 1)] += line.length
            self._bold += line.length if line.bold else -line.length

    def is_heading(self, index: int, text: str, lines: list[TextLine]) -> bool:
        """Return whether a paragraph is a heading.

        A heading is in the outline, larger than the body text, or bold where most of the body text is not.
        """
        letters = sum(map(str.isalpha, text))
        if len(text) > _MAX_HEADING or letters < 3 or letters < 0.5 * len(text) or "@" in text:
            return False
        if CAPTION.match(text):
            return False
        if _heading_key(text) in self._outline.get(index, ()):
            return True
        size = self._sizes.most_common(1)[0][0]
        if len(lines) > 2 or text[-1:] in ".,;:" or text[:1] in "•●-*–▪":
            return False
        larger = min(line.height for line in lines) >= _HEADING_SIZE_RATIO * size
        bold = all(line.bold for line in lines) and self._bold < 0 and text[:1].isupper() | text[:1].isdigit()
        return larger or (bold and min(line.height for line in lines) >= 0.97 * size)

    def begin_section(self, text: str, lines: list[TextLine]) -> None:
        """Begin the section of a heading; this ends the sections of headings of the same or a smaller size."""
        section_number = _SECTION_NUMBER.match(text)
        depth = len(section_number[1].split(".")) if section_number else 0
        size = lines[0].height
        ancestors = [
            (ancestor_size, number, name)
            for ancestor_size, number, name in self._path
            if ancestor_size > 1.04 * size or (ancestor_size > 0.96 * size and number and depth > number)
        ]
        self._path = [*ancestors[-3:], (size, depth, text)]

    def drop_last(self) -> None:
        """Drop the last heading, because it has no content."""
        self._path = self._path[:-1]


def _page(
    document: Any,
    index: int,
    file: File,
    picture_keys: set[bytes],
    running_patterns: set[str],
    headings: _HeadingTracker,
) -> Iterator[Part]:
    page = document[index]
    try:
        number = index + 1
        textpage = page.get_textpage()
        strokes = page_strokes(page)
        text = PageText(page, textpage, running_patterns, find_ruled_tables(strokes))
        text_length = len("".join(text.text.split()))  # without white space
        headings.count_sizes(text.lines)
        title_at_top = headings.title
        if text_length:
            yield from _sections(text, index, file, headings)
        offset = len(text.text) + 2  # offsets of notes and OCR text continue after the page's text
        notes = _notes(page)
        if notes:
            notes_text, note_boxes = "\n".join(note for note, _ in notes), [box for _, box in notes]
            yield TextBlock(notes_text, offset, headings.title, number, locate=lambda *_: bounding_box(note_boxes))
            offset += len(notes_text) + 2
        figures = page_figures(page)
        for box in find_drawings(strokes, [figure.box for figure in figures], text.boxes()):
            # a picture that lies in a drawing is a part of it
            figures = [figure for figure in figures if overlap_share(figure.box, box) <= 0.8]
            figures.append(PageFigure(box))
        backgrounds = [figure for figure in figures if area(figure.box) > _MAX_FIGURE_AREA]
        figures = [figure for figure in figures if figure not in backgrounds]
        page_was_read = False  # OCR reads the whole page at most once
        if (not text_length and sum(area(figure.box) for figure in figures) < _FIGURES_FILL_PAGE) or (
            backgrounds and text_length < _MAX_STAMP_TEXT
        ):
            picture = render_picture(page, _FULL_PAGE, file, None)
            if picture is not None:
                page_image = ImageBlock(picture, Span(page=number, box=_FULL_PAGE), title=title_at_top)
                for part in with_ocr(
                    file,
                    page_image,
                    lambda side: render_pixels(page, _FULL_PAGE, side),
                    start=offset,
                    check_first=False,
                ):
                    offset += len(part.text) + 2 if isinstance(part, TextBlock) else 0
                    yield part
                page_was_read = True
        for figure in figures:
            if figure.key and figure.key in picture_keys:
                continue  # a logo that is repeated on pages counts once
            picture_keys.add(figure.key)
            picture = render_picture(page, figure.box, file, figure.size if any(figure.size) else None)
            if picture is not None:
                title = text.title_above(figure.box) or title_at_top
                block = ImageBlock(picture, Span(page=number, box=figure.box), text.caption_near(figure.box), title)
                if page_was_read or not any(figure.size):  # the text of a drawing is part of the page's text
                    yield block
                    continue

                def render_figure(side: int, box: Box = figure.box) -> NDArray[np.uint8]:
                    return render_pixels(page, box, side)

                for part in with_ocr(file, block, render_figure, start=offset):
                    offset += len(part.text) + 2 if isinstance(part, TextBlock) else 0
                    yield part
    finally:
        page.close()


def _sections(text: PageText, index: int, file: File, headings: _HeadingTracker) -> Iterator[TextBlock]:
    """Yield the text of a page, one text block per section; a last heading without content stays in the text."""
    start, after_heading = 0, False

    def text_block(first: int, last: int) -> TextBlock:
        def locate(local_start: int, local_end: int) -> Box | None:
            return text.box(first + local_start, first + local_end)

        block_text, unwrapped = text.text[first:last], text.unwrapped[first:last]
        return TextBlock(block_text, first, headings.title, index + 1, split_as=unwrapped, locate=locate)

    first = 0
    for first, last, lines in text.paragraphs():
        heading = " ".join(text.text[first:last].split())
        if not headings.is_heading(index, heading, lines):
            after_heading = False
            continue
        if text.text[start:first].strip():
            yield text_block(start, first)
        headings.begin_section(heading, lines)
        text.set_title(lines, headings.title)
        if file.title is None:
            file.title = heading
        start, after_heading = last, True
    if text.text[start:].strip():
        yield text_block(start, len(text.text))
    elif after_heading:
        headings.drop_last()
        yield text_block(first, len(text.text))


def _notes(page: Any) -> list[tuple[str, Box | None]]:
    """Return the texts of the page's annotations and form fields, each with its box."""
    notes: list[tuple[str, Box | None]] = []
    for number in range(min(_MAX_NOTES, max(0, pdfium.FPDFPage_GetAnnotCount(page)))):
        annotation = pdfium.FPDFPage_GetAnnot(page, number)
        if not annotation:
            continue
        try:
            kind = pdfium.FPDFAnnot_GetSubtype(annotation)
            if kind == pdfium.FPDF_ANNOT_WIDGET:
                name, value = (_annotation_text(annotation, key) for key in (b"TU", b"V"))
                name = name or _annotation_text(annotation, b"T")
                note_text = f"{name}: {value}" if name and value and value not in ("Off", "/Off") else ""
            else:
                note_text = (
                    f"Note: {contents}"
                    if kind in _NOTES and (contents := _annotation_text(annotation, b"Contents"))
                    else ""
                )
            if note_text:
                rect = pdfium.FS_RECTF()
                box = None
                if pdfium.FPDFAnnot_GetRect(annotation, byref(rect)):
                    box = page_fractions(page, rect.left, rect.bottom, rect.right, rect.top)
                notes.append((note_text, box))
        finally:
            pdfium.FPDFPage_CloseAnnot(annotation)
    return notes


def _annotation_text(annotation: Any, key: bytes) -> str:
    length = pdfium.FPDFAnnot_GetStringValue(annotation, key, None, 0)
    if not 2 < length < 100_000:
        return ""
    buffer = create_string_buffer(length)
    pdfium.FPDFAnnot_GetStringValue(annotation, key, _as_utf16_buffer(buffer), length)
    return " ".join(buffer.raw[: length - 2].decode("utf-16-le", "replace").replace("\0", " ").split())


def _as_utf16_buffer(buffer: Any) -> Any:
    from ctypes import POINTER, c_ushort, cast

    return cast(buffer, POINTER(c_ushort))
