"""Which paragraphs of a PDF are headings: by its outline, its tags, and the fonts of the whole document."""

from __future__ import annotations

import re
from ctypes import POINTER, c_ushort, cast, create_string_buffer
from itertools import islice
from typing import Any

import pypdfium2
import pypdfium2.raw as pdfium

from commonplace.readers.pdf_survey import Survey
from commonplace.readers.pdf_text import CAPTION, PageParagraph

__all__ = ["HeadingTracker", "page_tags", "read_outline"]

_MAX_HEADING = 160  # characters
_MAX_OUTLINE_ENTRIES = 20_000
_SIZE_RATIO = 1.13  # times the size of the body text: a heading
_SECTION_NUMBER = re.compile(r"(\d{1,3}(?:\.\d{1,3})*)\.?\s+\w")
_NUMBERED = re.compile(r"(\d{1,2}(\.\d{1,2}){0,3}\.?|[IVX]{1,5}\.|[A-Z]\.)\s+[^\W\d_]")
_TABLE_CAPTION = re.compile(r"\s*(table|tabelle|tableau|tabla|表|listing|algorithm)\s*[\dIVX]", re.IGNORECASE)
_HEADING_TAGS = {"H": 1, "H1": 1, "H2": 2, "H3": 3, "H4": 4, "H5": 5, "H6": 6, "Title": 1}
_MAX_ELEMENTS = 20_000  # tagged elements of one page


def read_outline(document: Any) -> dict[int, set[str]]:
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


def page_tags(page: Any) -> dict[int, str]:
    """Return the type of element ("H1", "P", "TD") that each piece of tagged content of a page belongs to."""
    tags: dict[int, str] = {}
    tree = pdfium.FPDF_StructTree_GetForPage(page)
    if not tree:
        return tags
    try:
        stack: list[tuple[Any, str]] = [
            (pdfium.FPDF_StructTree_GetChildAtIndex(tree, number), "")
            for number in range(max(0, pdfium.FPDF_StructTree_CountChildren(tree)))
        ]
        for _ in range(_MAX_ELEMENTS):
            if not stack:
                break
            element, above = stack.pop()
            if not element:
                continue
            name = _tag_name(element)
            name = name if name in _HEADING_TAGS else above if above in _HEADING_TAGS else name
            for number in range(max(0, pdfium.FPDF_StructElement_GetMarkedContentIdCount(element))):
                mark = pdfium.FPDF_StructElement_GetMarkedContentIdAtIndex(element, number)
                if mark >= 0:
                    tags[mark] = name
            stack += [
                (pdfium.FPDF_StructElement_GetChildAtIndex(element, number), name)
                for number in range(max(0, pdfium.FPDF_StructElement_CountChildren(element)))
            ]
    finally:
        pdfium.FPDF_StructTree_Close(tree)
    return tags


def _tag_name(element: Any) -> str:
    buffer = create_string_buffer(128)
    length = pdfium.FPDF_StructElement_GetType(element, cast(buffer, POINTER(c_ushort)), 128)
    return buffer.raw[: max(0, min(128, length) - 2)].decode("utf-16-le", "replace")


class HeadingTracker:
    """Tracks the headings above the current position, and decides what is a heading."""

    def __init__(self, outline: dict[int, set[str]], survey: Survey) -> None:
        self._outline = outline
        self._survey = survey
        self._path: list[tuple[float, int, str]] = []  # font size, depth of the section number, text

    @property
    def title(self) -> str | None:
        return " > ".join(heading for _, _, heading in self._path) or None

    def is_heading(
        self, index: int, paragraph: PageParagraph, after: PageParagraph | None, tags: dict[int, str]
    ) -> bool:
        """Return whether a paragraph is a heading.

        A heading is in the outline, tagged, larger than the body text, or bold where most of the body text is not.
        """
        if paragraph.cells is not None or paragraph.is_oblique:
            return False
        text = " ".join(paragraph.text.split())
        letters = sum(map(str.isalpha, text))
        if len(text) > _MAX_HEADING or letters < 2 or letters < 0.4 * len(text) or "@" in text:
            return False
        if CAPTION.match(text) or _TABLE_CAPTION.match(text):
            return False
        if _heading_key(text) in self._outline.get(index, ()):
            return True
        if paragraph.marks and all(tags.get(mark) in _HEADING_TAGS for mark in paragraph.marks):
            return True
        size, body = paragraph.size, self._survey.body_size
        if len(paragraph.rows) > 3 or text[-1:] in ".,;" or text[:1] in "•●-*–▪·○◦" or not _may_begin(text):
            return False
        if text[-1:] == ":" and size < 1.25 * body:
            return False
        if any(len(row.segments) > 2 for row in paragraph.rows) or (after is None and letters < 3):
            return False
        if size >= _SIZE_RATIO * body:
            return True
        if size < 0.97 * body:
            return False
        if paragraph.bold and not self._survey.is_mostly_bold and len(paragraph.rows) <= 2:
            return not self._runs_on(paragraph, after)
        return False

    def _runs_on(self, paragraph: PageParagraph, after: PageParagraph | None) -> bool:
        """Return whether the sentence of a paragraph goes on in the next, as where only its first line is bold."""
        if after is None or not after.rows or not paragraph.rows or not paragraph.is_full:
            return False
        gap = after.rows[0].base - paragraph.rows[-1].base
        return after.column == paragraph.column and 0 < gap < 1.5 * paragraph.size and after.text[:1].islower()

    def begin_section(self, text: str, paragraph: PageParagraph) -> None:
        """Begin the section of a heading; this ends the sections of headings of the same or a smaller size."""
        section_number = _SECTION_NUMBER.match(text)
        depth = len(section_number[1].split(".")) if section_number else 0
        size = paragraph.size * (1.0 if paragraph.bold else 0.995)
        ancestors = [
            (ancestor_size, number, name)
            for ancestor_size, number, name in self._path
            if ancestor_size > 1.04 * size or (ancestor_size > 0.96 * size and number and depth > number)
        ]
        self._path = [*ancestors[-3:], (size, depth, text)]


def _may_begin(text: str) -> bool:
    """Return whether a heading may begin so: not in the middle of a sentence."""
    return not (text[:1].islower() and len(text) > 40)
