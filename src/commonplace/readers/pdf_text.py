"""The text of a PDF page: each character with its place, in paragraphs and columns, less what runs over all pages."""

from __future__ import annotations

import re
from bisect import bisect
from collections import Counter
from collections.abc import Iterator
from ctypes import c_double, c_int, create_string_buffer
from dataclasses import dataclass, replace
from typing import Any

import pypdfium2
import pypdfium2.raw as pdfium

from commonplace.readers.order import interleaves, reading_order
from commonplace.readers.parts import union
from commonplace.readers.pdf_images import fractions
from commonplace.readers.pdf_vectors import Grid
from commonplace.types import Box

__all__ = ["CAPTION", "Line", "PageText", "running_lines"]

_CAPTION_REACH = 0.08  # of the page height, between a figure and its caption
CAPTION = re.compile(
    r"\s*(figure|fig\.?|photo|image|plate|chart|scheme|diagram|abbildung|abb\.?|图|圖)\s*([\dIVX]+|[A-Z]\b)",
    re.IGNORECASE,
)
_BAND = 0.09  # of the page height, at its top and its end: where running heads and feet stand
_RUNNING = 3  # pages with the same line there
_NUMBER = re.compile(r"\d+|\b[ivxlc]+\b", re.IGNORECASE)
_JOINED = 4  # characters between two that stand together: a hyphen and the end of its line


def running_lines(document: Any) -> set[str]:
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


class PageText:
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
                    boxes.append(fractions(self._page, left.value, bottom.value, right.value, top.value))
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
                    box = fractions(self._page, one.left, one.bottom, other.right, one.top)
                    pieces.append((first, last, box))
        if not split or not interleaves([box for *_, box in pieces]):
            return None
        out: list[tuple[str, int]] = []
        for piece in reading_order([box for *_, box in pieces]):
            first, last, _ = pieces[piece]
            out += zip(characters[first:last], index[first:last], strict=True)
            out.append(("\n", index[last - 1]))
        return out

    def paragraphs(self) -> list[tuple[int, int, list[Line]]]:
        """Return start, end and lines of each paragraph; lines of unlike size or weight are apart."""
        found: list[tuple[int, int, list[Line]]] = []
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
        return [(fractions(page, one.left, one.bottom, one.right, one.top), one.length) for one in self.lines]

    def note(self, lines: list[Line], title: str | None) -> None:
        """Keep in mind that from these lines on ``title`` is the title."""
        one = lines[0]
        if title:
            self._titles.append((fractions(self._page, one.left, one.bottom, one.right, one.top), title))

    def titled(self, figure: Box) -> str | None:
        """Return the title of the last heading that stands above ``figure`` and not beside it."""
        above = [title for box, title in self._titles if box[3] <= figure[1] + 0.01 and box[0] < figure[2]]
        return above[-1] if above else None

    def caption(self, figure: Box) -> str | None:
        """Return the paragraph that begins like "Figure 3" and stands nearest under or over the box ``figure``."""
        best: tuple[float, str] | None = None
        for line in self.lines:
            start, end = line.start, line.end
            if not CAPTION.match(self.text, start, end):
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
    ) -> tuple[str, list[int], list[Line]]:
        """Return text and character indices with one more line end between paragraphs, and the lines.

        Running heads and feet are left out; a ruled table stands as Markdown where its first line stood.
        """
        out: list[str] = []
        places: list[int] = []
        lines: list[Line] = []
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

    def _holder(self, line: Line, tables: list[tuple[Grid, list[tuple[str, int]]]]) -> int | None:
        """Return which table holds the middle of a line."""
        if not tables:
            return None
        left, top, right, bottom = fractions(self._page, line.left, line.bottom, line.right, line.top)
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
            left, top, right, bottom = fractions(self._page, rect.left, rect.bottom, rect.right, rect.top)
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

    def _is_running(self, line: Line, words: str, last: bool, running: set[str]) -> bool:
        if last and _pattern(words) == "#":  # a page's number, wherever it stands
            return "\n#" in running
        if _pattern(words) not in running:
            return False
        _, top, _, bottom = fractions(self._page, line.left, line.bottom, line.right, line.top)
        return (top + bottom) / 2 < _BAND or (top + bottom) / 2 > 1 - _BAND

    def _line(self, first: int, last: int, length: int) -> Line | None:
        one, other = pdfium.FS_RECTF(), pdfium.FS_RECTF()
        for character, rect in ((first, one), (last, other)):
            if not pdfium.FPDFText_GetLooseCharBox(self._textpage, character, rect) or rect.top <= rect.bottom:
                return None
        bold = self._is_bold(first)
        return Line(one.left, one.top, one.top - one.bottom, other.bottom, length, other.right, bold)

    def _is_bold(self, character: int) -> bool:
        if pdfium.FPDFText_GetFontWeight(self._textpage, character) >= 600:
            return True
        name = create_string_buffer(128)
        length = pdfium.FPDFText_GetFontInfo(self._textpage, character, name, 128, c_int())
        return length > 0 and re.search(rb"bold|black|heavy|CMBX|[-,]Bd", name.value, re.IGNORECASE) is not None


@dataclass(frozen=True, slots=True)
class Line:
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


def _new_paragraph(above: Line, here: Line) -> bool:
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
