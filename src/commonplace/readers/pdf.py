"""PDF: the text of each page with its boxes, the figures on it, and the page's picture where it has no text.

Where drawn figures are is said by :mod:`~commonplace.readers.drawings`.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from ctypes import byref, c_double, c_int, create_string_buffer
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium
from numpy.typing import NDArray

from commonplace.errors import ReadError
from commonplace.readers.drawings import Grid, drawn, grids, on_page
from commonplace.readers.metadata import names_in
from commonplace.readers.order import interleaves, reading_order
from commonplace.readers.parts import Figure, File, Part, Passage, union
from commonplace.readers.pictures import picture_of
from commonplace.readers.words import with_words
from commonplace.types import Box, Picture, Span

__all__ = ["page_pixels", "read_pdf"]

_WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
_UNITS = 100_000  # device units by which PDFium maps a page to fractions
_MIN_AREA = 0.005  # of the page; a smaller picture is a logo, a bullet or a rule
_MAX_AREA = 0.85  # of the page; a larger one behind text is a scan or a background
_FILLED = 0.4  # of the page: figures that fill so much of a page without text are all there is on it
_STAMP = 200  # characters; less text than that over a scan is a stamp or a filled-in name, not the scan's own text
_MAX_SHAPE = 12  # longer than that many times its width is a rule
_MAX_OBJECTS = 1000  # pictures looked at on one page: some drawings are made of tens of thousands
_CAPTION_REACH = 0.08  # of the page height, between a figure and its caption
_CAPTION = re.compile(
    r"\s*(figure|fig\.?|photo|image|plate|chart|scheme|diagram|abbildung|abb\.?|图|圖)\s*([\dIVX]+|[A-Z]\b)",
    re.IGNORECASE,
)
_BAND = 0.09  # of the page height, at its top and its end: where running heads and feet stand
_RUNNING = 3  # pages with the same line there
_NUMBER = re.compile(r"\d+|\b[ivxlc]+\b", re.IGNORECASE)
_JOINED = 4  # characters between two that stand together: a hyphen and the end of its line
_LONG_HEADING = 120  # characters
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
            return _pixels(document[number - 1], _WHOLE, side)
        except pypdfium2.PdfiumError:
            raise ReadError(f"page {number} cannot be drawn; save or print it anew and add it again") from None


def _opened(data: bytes) -> Any:
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
        running = _running(document)
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
        for entry in document.get_toc():
            place = entry.get_dest()
            page = place.get_index() if place is not None else None
            if page is not None:
                found.setdefault(page, set()).add(_bare(entry.get_title()))
    except (pypdfium2.PdfiumError, UnicodeError, RecursionError):
        pass
    return found


def _bare(words: str) -> str:
    return "".join(filter(str.isalnum, words)).casefold()


def _running(document: Any) -> set[str]:
    """Return the lines that stand at the top or the end of several pages, numbers taken out."""
    pages: Counter[str] = Counter()
    if len(document) < _RUNNING:
        return set()
    for index in range(min(len(document), 2000)):
        try:
            page = document[index]
            textpage = page.get_textpage()
            left, bottom, right, top = page.get_bbox()
            high = _BAND * (top - bottom)
            lines = textpage.get_text_bounded(left, top - high, right, top).splitlines()
            lines += textpage.get_text_bounded(left, bottom, right, bottom + high).splitlines()
            last = textpage.get_text_range().rstrip().rpartition("\n")[2]
            pages.update({_pattern(line) for line in lines if line.strip()} | {"\n" + _pattern(last)})
            textpage.close()
            page.close()
        except (pypdfium2.PdfiumError, UnicodeError):
            continue
    return {line for line, count in pages.items() if count >= _RUNNING}


def _pattern(line: str) -> str:
    return " ".join(_NUMBER.sub("#", line).split())


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

    def learn(self, lines: list[_Line]) -> None:
        """Take note of the sizes that the text of a page has."""
        for line in lines:
            self._sizes[round(line.height, 1)] += line.length
            self._bold += line.length if line.bold else -line.length

    def is_heading(self, index: int, words: str, lines: list[_Line]) -> bool:
        """Return whether a paragraph is a heading: in the outline, larger than the text, or bold where that is not."""
        letters = sum(map(str.isalpha, words))
        if len(words) > _LONG_HEADING or letters < 3 or letters < 0.5 * len(words) or "@" in words:
            return False
        if _CAPTION.match(words):
            return False
        if _bare(words) in self._outline.get(index, ()):
            return True
        size = self._sizes.most_common(1)[0][0]
        if len(lines) > 2 or words[-1:] in ".,;:" or words[:1] in "•●-*–▪":
            return False
        larger = min(line.height for line in lines) >= _LARGER * size
        bold = all(line.bold for line in lines) and self._bold < 0 and words[:1].isupper() | words[:1].isdigit()
        return larger or (bold and min(line.height for line in lines) >= 0.97 * size)

    def enter(self, words: str, lines: list[_Line]) -> None:
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
        text = _PageText(page, textpage, running, grids(strokes))
        written = len("".join(text.text.split()))
        headings.learn(text.lines)
        at_top = headings.title
        if written:
            yield from _sections(text, index, file, headings)
        at = len(text.text) + 2  # what is not in the page's text comes after it
        notes = _notes(page)
        if notes:
            words, places = "\n".join(said for said, _ in notes), [box for _, box in notes]
            yield Passage(words, at, headings.title, number, locate=lambda *_: union(places))
            at += len(words) + 2
        figures = _figures(page)
        for box in drawn(strokes, [found.box for found in figures], text.boxes()):
            figures = [found for found in figures if not _inside(found.box, box)]  # it is a part of the drawing
            figures.append(_Found(box))
        background = [found for found in figures if _area(found.box) > _MAX_AREA]
        figures = [found for found in figures if found not in background]
        searched = False  # the words of the whole page are read once
        if (not written and sum(_area(found.box) for found in figures) < _FILLED) or (background and written < _STAMP):
            picture = _render(page, _WHOLE, file, None)
            if picture is not None:
                whole = Figure(picture, Span(page=number, box=_WHOLE), title=at_top)
                for part in with_words(file, whole, lambda side: _pixels(page, _WHOLE, side), start=at, gated=False):
                    at += len(part.text) + 2 if isinstance(part, Passage) else 0
                    yield part
                searched = True
        for found in figures:
            if found.key and found.key in seen:
                continue  # a logo that stands on every page is one picture
            seen.add(found.key)
            picture = _render(page, found.box, file, found.size if any(found.size) else None)
            if picture is not None:
                title = text.titled(found.box) or at_top
                figure = Figure(picture, Span(page=number, box=found.box), text.caption(found.box), title)
                if searched or not any(found.size):  # the letters of a drawing are the page's own
                    yield figure
                    continue

                def larger(side: int, box: Box = found.box) -> NDArray[np.uint8]:
                    return _pixels(page, box, side)

                for part in with_words(file, figure, larger, start=at):
                    at += len(part.text) + 2 if isinstance(part, Passage) else 0
                    yield part
    finally:
        page.close()


def _sections(text: _PageText, index: int, file: File, headings: _Headings) -> Iterator[Passage]:
    """Yield the text of a page by its headings; one that nothing stands under stays in the text."""
    start, bare = 0, False

    def passage(first: int, last: int) -> Passage:
        def locate(one: int, other: int) -> Box | None:
            return text.box(first + one, first + other)

        whole, flow = text.text[first:last], text.flow[first:last]
        return Passage(whole, first, headings.title, index + 1, split_as=flow, locate=locate)

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
                    place = _fractions(page, rect.left, rect.bottom, rect.right, rect.top)
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


class _PageText:
    """The text of one page, each character with its place.

    ``text`` has a line end where the page has one and an empty line between paragraphs; ``flow`` is the same with
    spaces for the line ends inside a paragraph.
    """

    def __init__(self, page: Any, textpage: Any, running: set[str], tables: list[Grid]) -> None:
        self._page, self._textpage = page, textpage
        self._titles: list[tuple[Box, str]] = []
        characters, index = _characters(textpage)
        order = self._columns(characters, index)
        self._reordered = order is not None
        if order is not None:
            characters, index = [c for c, _ in order], [place for _, place in order]
        self._tables: list[tuple[int, int]] = []  # offsets
        self.text, self._index, self.lines = self._laid_out(characters, index, running, tables)
        self.flow = re.sub(r"(?<!\n)\n(?!\n)", " ", self.text)
        for start, end in self._tables:  # a row is a line
            self.flow = self.flow[:start] + self.text[start:end] + self.flow[end:]

    def box(self, start: int, end: int) -> Box | None:
        """Return the box around the characters ``text[start:end]``; None where they have no place."""
        left, top, right, bottom = c_double(), c_double(), c_double(), c_double()
        boxes = []
        for first, last in self._runs(start, end):
            count = pdfium.FPDFText_CountRects(self._textpage, first, last - first + 1)
            for rect in range(max(0, count)):
                if pdfium.FPDFText_GetRect(self._textpage, rect, left, top, right, bottom):
                    boxes.append(_fractions(self._page, left.value, bottom.value, right.value, top.value))
        return union(boxes)

    def _runs(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield first and last of PDFium's characters that stand together in ``text[start:end]``."""
        if not self._reordered:
            yield self._index[start], self._index[end - 1]
            return
        first = last = self._index[start]
        for place in self._index[start + 1 : end]:
            if not last <= place <= last + _JOINED:
                yield first, last
                first = place
            last = place
        yield first, last

    def _columns(self, characters: list[str], index: list[int]) -> list[tuple[str, int]] | None:
        """Return the characters column by column, each with its index, where the file has them row by row; else None.

        Pieces of lines are what stands between gaps wider than a letter is high.
        """
        pieces: list[tuple[int, int, Box]] = []  # first, end, place
        one, other = pdfium.FS_RECTF(), pdfium.FS_RECTF()

        def placed(at: int, rect: Any) -> bool:
            return bool(pdfium.FPDFText_GetLooseCharBox(self._textpage, index[at], rect)) and rect.top > rect.bottom

        split = False
        for start, end in _lines(characters):
            cuts = [start]
            for at in range(start + 1, end - 1):
                if characters[at] == " " and placed(at - 1, one) and placed(at + 1, other):
                    gap = max(other.left - one.right, one.bottom - other.top)
                    if gap > one.top - one.bottom:
                        cuts.append(at + 1)
            split = split or len(cuts) > 1
            for first, last in zip(cuts, [*cuts[1:], end], strict=True):
                ink = [at for at in range(first, last) if not characters[at].isspace()]
                if ink and placed(ink[0], one) and placed(ink[-1], other):
                    box = _fractions(self._page, one.left, one.bottom, other.right, one.top)
                    pieces.append((first, last, box))
        if not split or not interleaves([box for *_, box in pieces]):
            return None
        out: list[tuple[str, int]] = []
        for piece in reading_order([box for *_, box in pieces]):
            first, last, _ = pieces[piece]
            out += zip(characters[first:last], index[first:last], strict=True)
            out.append(("\n", index[last - 1]))
        return out

    def paragraphs(self) -> list[tuple[int, int, list[_Line]]]:
        """Return start, end and lines of each paragraph; lines of unlike size or weight are apart."""
        found: list[tuple[int, int, list[_Line]]] = []
        for line in self.lines:
            if found:
                start, end, lines = found[-1]
                alike = abs(line.height - lines[-1].height) < 0.05 * line.height and line.bold == lines[-1].bold
                if alike and "\n\n" not in self.text[end : line.start]:
                    found[-1] = start, line.end, [*lines, line]
                    continue
            found.append((line.start, line.end, [line]))
        return found

    def boxes(self) -> list[tuple[Box, int]]:
        """Return the box of each line, and how many characters it has."""
        page = self._page
        return [(_fractions(page, one.left, one.bottom, one.right, one.top), one.length) for one in self.lines]

    def note(self, lines: list[_Line], title: str | None) -> None:
        """Keep in mind that from these lines on ``title`` is the title."""
        one = lines[0]
        if title:
            self._titles.append((_fractions(self._page, one.left, one.bottom, one.right, one.top), title))

    def titled(self, figure: Box) -> str | None:
        """Return the title of the last heading that stands above ``figure`` and not beside it."""
        above = [title for box, title in self._titles if box[3] <= figure[1] + 0.01 and box[0] < figure[2]]
        return above[-1] if above else None

    def caption(self, figure: Box) -> str | None:
        """Return the paragraph that begins like "Figure 3" and stands nearest under or over the box ``figure``."""
        best: tuple[float, str] | None = None
        for line in self.lines:
            start, end = line.start, line.end
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

    def _laid_out(
        self, characters: list[str], index: list[int], running: set[str], tables: list[Grid]
    ) -> tuple[str, list[int], list[_Line]]:
        """Return text and character indices with one more line end between paragraphs, and the lines.

        Running heads and feet are left out; a ruled table stands as Markdown where its first line stood.
        """
        out: list[str] = []
        places: list[int] = []
        lines: list[_Line] = []
        written = [self._table(table, characters, index) for table in tables]
        shown = [(table, rows) for table, rows in zip(tables, written, strict=True) if rows]
        done: set[int] = set()
        for start, end in _lines(characters):
            ink = [i for i in range(start, end) if not characters[i].isspace()]
            here = self._line(index[ink[0]], index[ink[-1]], len(ink)) if ink else None
            words = "".join(characters[start:end])
            if here is not None and running and self._is_running(here, words, end == len(characters), running):
                continue
            holder = self._holder(here, shown) if here is not None else None
            if holder is not None:
                if holder not in done:
                    done.add(holder)
                    rows = shown[holder][1]
                    before = [("\n", rows[0][1])] if out and out[-1] == "\n" else []
                    first = len(out) + len(before)
                    for character, place in [*before, *rows, ("\n", rows[-1][1]), ("\n", rows[-1][1])]:
                        out.append(character)
                        places.append(place)
                    self._tables.append((first, first + len(rows)))
                continue
            if here is not None:
                if lines and _new_paragraph(lines[-1], here):
                    out.append("\n")
                    places.append(index[ink[0]])
                first = len(out) + ink[0] - start
                lines.append(replace(here, start=first, end=first + ink[-1] - ink[0] + 1))
            out.extend(characters[start : end + 1])
            places.extend(index[start : end + 1])
        return "".join(out), places, lines

    def _holder(self, line: _Line, tables: list[tuple[Grid, list[tuple[str, int]]]]) -> int | None:
        """Return which table holds the middle of a line."""
        if not tables:
            return None
        left, top, right, bottom = _fractions(self._page, line.left, line.bottom, line.right, line.top)
        across, down = (left + right) / 2, (top + bottom) / 2
        for number, (table, _) in enumerate(tables):
            box = table.box
            if box[0] <= across <= box[2] and box[1] <= down <= box[3]:
                return number
        return None

    def _table(self, table: Grid, characters: list[str], index: list[int]) -> list[tuple[str, int]]:
        """Return a table as Markdown, each character with its index; nothing where half of its cells are empty."""
        cells: dict[tuple[int, int], list[tuple[str, int]]] = {}
        rect = pdfium.FS_RECTF()
        box, last = table.box, None
        for character, place in zip(characters, index, strict=True):
            if character.isspace():
                if last is not None and cells[last][-1][0] != " ":
                    cells[last].append((" ", place))
                continue
            if not pdfium.FPDFText_GetLooseCharBox(self._textpage, place, rect):
                continue
            left, top, right, bottom = _fractions(self._page, rect.left, rect.bottom, rect.right, rect.top)
            across, down = (left + right) / 2, (top + bottom) / 2
            if not (box[0] <= across <= box[2] and box[1] <= down <= box[3]):
                last = None
                continue
            row, column = bisect(table.down, down) - 1, bisect(table.across, across) - 1
            here = min(row, len(table.down) - 2), min(column, len(table.across) - 2)
            if last is None or cells[last][-1][0] == " " or last[0] != here[0]:  # a word is not cut by a rule
                last = here
            cells.setdefault(last, []).append((character, place))
        rows, columns = len(table.down) - 1, len(table.across) - 1
        if len(cells) < 0.5 * rows * columns:
            return []
        out: list[tuple[str, int]] = []
        near = next(iter(cells.values()))[0][1]
        for row in range(rows):
            for column in range(columns):
                words = cells.get((row, column), [])
                while words and words[-1][0] == " ":
                    words.pop()
                near = words[0][1] if words else near
                out += [(mark, near) for mark in ("| " if column == 0 else " | ")]
                for character, place in words:
                    out += [("\\", place), ("|", place)] if character == "|" else [(character, place)]
                near = words[-1][1] if words else near
            out += [(mark, near) for mark in " |" + ("\n" if row < rows - 1 else "")]
            if row == 0:
                out += [(mark, near) for mark in "|" + "---|" * columns + "\n"]
        return out

    def _is_running(self, line: _Line, words: str, last: bool, running: set[str]) -> bool:
        if last and _pattern(words) == "#":  # a page's number, wherever it stands
            return "\n#" in running
        if _pattern(words) not in running:
            return False
        _, top, _, bottom = _fractions(self._page, line.left, line.bottom, line.right, line.top)
        return (top + bottom) / 2 < _BAND or (top + bottom) / 2 > 1 - _BAND

    def _line(self, first: int, last: int, length: int) -> _Line | None:
        one, other = pdfium.FS_RECTF(), pdfium.FS_RECTF()
        for character, rect in ((first, one), (last, other)):
            if not pdfium.FPDFText_GetLooseCharBox(self._textpage, character, rect) or rect.top <= rect.bottom:
                return None
        bold = self._is_bold(first)
        return _Line(one.left, one.top, one.top - one.bottom, other.bottom, length, other.right, bold)

    def _is_bold(self, character: int) -> bool:
        if pdfium.FPDFText_GetFontWeight(self._textpage, character) >= 600:
            return True
        name = create_string_buffer(128)
        length = pdfium.FPDFText_GetFontInfo(self._textpage, character, name, 128, c_int())
        return length > 0 and re.search(rb"bold|black|heavy|CMBX|[-,]Bd", name.value, re.IGNORECASE) is not None


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
    right: float = 0.0
    bold: bool = False
    start: int = 0  # offsets in the page's text
    end: int = 0


def _new_paragraph(above: _Line, here: _Line) -> bool:
    resized = max(above.height, here.height) > 1.2 * min(above.height, here.height)
    return (
        above.bottom - here.top > 0.5 * here.height  # white between the lines
        or here.top > above.top + above.height  # back up: the next column
        or (resized and min(above.length, here.length) > 3)  # a heading, not the mark of a footnote
        or here.height < here.left - above.left < 6 * here.height  # an indented first line
    )


def _lines(characters: list[str]) -> Iterator[tuple[int, int]]:
    """Yield start and end of each line."""
    start = 0
    for end in [*(at for at, character in enumerate(characters) if character == "\n"), len(characters)]:
        yield start, end
        start = end + 1


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
    """A figure: its box on the page, its size in stored pixels (none: drawn), and a key that equal pictures share."""

    box: Box
    size: tuple[int, int] = (0, 0)
    key: bytes = b""


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
        joined = union([other.box, new.box])
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
    return _area(found.box) >= _MIN_AREA and min(found.size) >= 8


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
    most = file.options.picture_side
    side = float(most)
    if size is not None:
        longest = max((box[2] - box[0]) * page.get_width(), (box[3] - box[1]) * page.get_height())
        side = min(side, max(*size, 2 * longest))  # drawn over it there may be letters finer than its pixels
    pixels = np.ascontiguousarray(_pixels(page, box, side)[:most, :most])  # PDFium rounds up: a pixel too large
    if (np.ptp(pixels.reshape(-1, 3), axis=0) < 8).all():
        return None
    high, wide = pixels.shape[:2]
    width, height = size or (wide, high)
    return picture_of(pixels, width, height, file.options.thumbnail_side)


def _pixels(page: Any, box: Box, side: float) -> NDArray[np.uint8]:
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


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _inside(one: Box, other: Box) -> bool:
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, across) * max(0.0, down) > 0.8 * _area(one)
