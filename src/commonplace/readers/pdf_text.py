"""The text of a PDF page in paragraphs and columns, without running headers and footers; each character has a box."""

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
from commonplace.readers.parts import Quota, bounding_box
from commonplace.readers.pdf_images import page_fractions
from commonplace.readers.pdf_vectors import RuledTable
from commonplace.types import Box

__all__ = ["CAPTION", "PageText", "TextLine", "running_lines"]

_CAPTION_REACH = 0.08  # share of the page height; the largest gap between a figure and its caption
CAPTION = re.compile(
    r"\s*(figure|fig\.?|photo|image|plate|chart|scheme|diagram|abbildung|abb\.?|图|圖)\s*([\dIVX]+|[A-Z]\b)",
    re.IGNORECASE,
)
_MARGIN_BAND = 0.09  # share of the page height at top and bottom that holds running headers and footers
_MIN_RUNNING_PAGES = 3  # pages that must have the same line there
_NUMBER = re.compile(r"\d+|\b[ivxlc]+\b", re.IGNORECASE)
_MAX_RUN_GAP = 4  # characters that may be missing inside a run: a hyphen and its line end


def running_lines(document: Any, count: int, quota: Quota) -> set[str]:
    """Return the lines at the top or bottom of several of the first ``count`` pages, with numbers replaced by "#".

    They are looked at for at most a third of the document's time.
    """
    pages: Counter[str] = Counter()
    if count < _MIN_RUNNING_PAGES:
        return set()
    for index in range(min(count, 2000)):
        if quota.share_left < 2 / 3:
            break
        try:
            page = document[index]
            textpage = page.get_textpage()
            left, bottom, right, top = page.get_bbox()
            high = _MARGIN_BAND * (top - bottom)
            lines = textpage.get_text_bounded(left, top - high, right, top).splitlines()
            lines += textpage.get_text_bounded(left, bottom, right, bottom + high).splitlines()
            last = textpage.get_text_range().rstrip().rpartition("\n")[2]
            pages.update({_pattern(line) for line in lines if line.strip()} | {"\n" + _pattern(last)})
            textpage.close()
            page.close()
        except (pypdfium2.PdfiumError, UnicodeError):
            pass
        quota.look()
    return {line for line, count in pages.items() if count >= _MIN_RUNNING_PAGES}


def _pattern(line: str) -> str:
    return " ".join(_NUMBER.sub("#", line).split())


class PageText:
    """The text of one page, with the PDFium index of each character.

    ``text`` has the line ends of the page and an empty line between paragraphs. ``unwrapped`` is the same with spaces
    in place of the line ends inside paragraphs.
    """

    def __init__(self, page: Any, textpage: Any, running: set[str], tables: list[RuledTable]) -> None:
        self._page, self._textpage = page, textpage
        self._titles: list[tuple[Box, str]] = []
        characters, char_indices = _page_characters(textpage)
        reordered = self._in_column_order(characters, char_indices)
        self._reordered = reordered is not None
        if reordered is not None:
            characters, char_indices = [c for c, _ in reordered], [char_index for _, char_index in reordered]
        self._table_ranges: list[tuple[int, int]] = []  # offsets
        self.text, self._char_indices, self.lines = self._lay_out(characters, char_indices, running, tables)
        self.unwrapped = re.sub(r"(?<!\n)\n(?!\n)", " ", self.text)
        for start, end in self._table_ranges:  # the rows of a table stay on lines of their own
            self.unwrapped = self.unwrapped[:start] + self.text[start:end] + self.unwrapped[end:]

    def box(self, start: int, end: int) -> Box | None:
        """Return the box around the characters ``text[start:end]``; None where they have no box."""
        left, top, right, bottom = c_double(), c_double(), c_double(), c_double()
        boxes = []
        for first, last in self._runs(start, end):
            count = pdfium.FPDFText_CountRects(self._textpage, first, last - first + 1)
            for rect in range(max(0, count)):
                if pdfium.FPDFText_GetRect(self._textpage, rect, left, top, right, bottom):
                    boxes.append(page_fractions(self._page, left.value, bottom.value, right.value, top.value))
        return bounding_box(boxes)

    def _runs(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the first and last PDFium index of each run of adjacent characters in ``text[start:end]``."""
        if not self._reordered:
            yield self._char_indices[start], self._char_indices[end - 1]
            return
        first = last = self._char_indices[start]
        for char_index in self._char_indices[start + 1 : end]:
            if not last <= char_index <= last + _MAX_RUN_GAP:
                yield first, last
                first = char_index
            last = char_index
        yield first, last

    def _in_column_order(self, characters: list[str], char_indices: list[int]) -> list[tuple[str, int]] | None:
        """Return the characters (with index) column by column where the file has them row by row; else None.

        Lines are split into pieces at gaps that are wider than a letter is high.
        """
        pieces: list[tuple[int, int, Box]] = []  # first, end, box
        first_box, last_box = pdfium.FS_RECTF(), pdfium.FS_RECTF()

        def char_box(position: int, rect: Any) -> bool:
            return (
                bool(pdfium.FPDFText_GetLooseCharBox(self._textpage, char_indices[position], rect))
                and rect.top > rect.bottom
            )

        split = False
        for start, end in _line_ranges(characters):
            cuts = [start]
            for position in range(start + 1, end - 1):
                if (
                    characters[position] == " "
                    and char_box(position - 1, first_box)
                    and char_box(position + 1, last_box)
                ):
                    gap = max(last_box.left - first_box.right, first_box.bottom - last_box.top)
                    if gap > first_box.top - first_box.bottom:
                        cuts.append(position + 1)
            split = split or len(cuts) > 1
            for first, last in zip(cuts, [*cuts[1:], end], strict=True):
                visible = [position for position in range(first, last) if not characters[position].isspace()]
                if visible and char_box(visible[0], first_box) and char_box(visible[-1], last_box):
                    box = page_fractions(self._page, first_box.left, first_box.bottom, last_box.right, first_box.top)
                    pieces.append((first, last, box))
        if not split or not interleaves([box for *_, box in pieces]):
            return None
        reordered: list[tuple[str, int]] = []
        for piece in reading_order([box for *_, box in pieces]):
            first, last, _ = pieces[piece]
            reordered += zip(characters[first:last], char_indices[first:last], strict=True)
            reordered.append(("\n", char_indices[last - 1]))
        return reordered

    def paragraphs(self) -> list[tuple[int, int, list[TextLine]]]:
        """Return start, end and lines of each paragraph; a change of size or weight begins a new one."""
        spans: list[tuple[int, int, list[TextLine]]] = []
        for line in self.lines:
            if spans:
                start, end, lines = spans[-1]
                alike = abs(line.height - lines[-1].height) < 0.05 * line.height and line.bold == lines[-1].bold
                if alike and "\n\n" not in self.text[end : line.start]:
                    spans[-1] = start, line.end, [*lines, line]
                    continue
            spans.append((line.start, line.end, [line]))
        return spans

    def boxes(self) -> list[tuple[Box, int]]:
        """Return the box and the number of characters of each line."""
        page = self._page
        return [
            (page_fractions(page, line.left, line.bottom, line.right, line.top), line.length) for line in self.lines
        ]

    def set_title(self, lines: list[TextLine], title: str | None) -> None:
        """Record that ``title`` is the title of what follows these lines."""
        line = lines[0]
        if title:
            self._titles.append((page_fractions(self._page, line.left, line.bottom, line.right, line.top), title))

    def title_above(self, figure: Box) -> str | None:
        """Return the title of the last heading above ``figure``, without headings to the right of it."""
        above = [title for box, title in self._titles if box[3] <= figure[1] + 0.01 and box[0] < figure[2]]
        return above[-1] if above else None

    def caption_near(self, figure: Box) -> str | None:
        """Return the paragraph nearest above or below the box ``figure`` that begins like "Figure 3"."""
        nearest: tuple[float, str] | None = None
        for line in self.lines:
            start, end = line.start, line.end
            if not CAPTION.match(self.text, start, end):
                continue
            box = self.box(start, end)
            if box is None or min(box[2], figure[2]) <= max(box[0], figure[0]):
                continue
            under, over = box[1] - figure[3], figure[1] - box[3]
            distance = max(under, over)
            if distance > _CAPTION_REACH or (nearest is not None and abs(distance) >= nearest[0]):
                continue
            stop = self.text.find("\n\n", start)
            nearest = abs(distance), " ".join(self.text[start : None if stop < 0 else stop].split())
        return nearest[1] if nearest else None

    def _lay_out(
        self, characters: list[str], char_indices: list[int], running: set[str], tables: list[RuledTable]
    ) -> tuple[str, list[int], list[TextLine]]:
        """Return the text, the PDFium index of each character, and the lines.

        Paragraphs get an empty line between them. Running headers and footers are left out. A ruled table replaces its
        lines as Markdown.
        """
        characters_out: list[str] = []
        indices_out: list[int] = []
        lines: list[TextLine] = []
        table_texts = [self._table(table, characters, char_indices) for table in tables]
        filled_tables = [
            (table, table_characters)
            for table, table_characters in zip(tables, table_texts, strict=True)
            if table_characters
        ]
        placed_tables: set[int] = set()
        for start, end in _line_ranges(characters):
            visible = [position for position in range(start, end) if not characters[position].isspace()]
            line = self._line(char_indices[visible[0]], char_indices[visible[-1]], len(visible)) if visible else None
            line_text = "".join(characters[start:end])
            if line is not None and running and self._is_running(line, line_text, end == len(characters), running):
                continue
            table_number = self._table_at(line, filled_tables) if line is not None else None
            if table_number is not None:
                if table_number not in placed_tables:
                    placed_tables.add(table_number)
                    table_characters = filled_tables[table_number][1]
                    line_break = (
                        [("\n", table_characters[0][1])] if characters_out and characters_out[-1] == "\n" else []
                    )
                    first = len(characters_out) + len(line_break)
                    for character, char_index in [
                        *line_break,
                        *table_characters,
                        ("\n", table_characters[-1][1]),
                        ("\n", table_characters[-1][1]),
                    ]:
                        characters_out.append(character)
                        indices_out.append(char_index)
                    self._table_ranges.append((first, first + len(table_characters)))
                continue
            if line is not None:
                if lines and _begins_paragraph(lines[-1], line):
                    characters_out.append("\n")
                    indices_out.append(char_indices[visible[0]])
                first = len(characters_out) + visible[0] - start
                lines.append(replace(line, start=first, end=first + visible[-1] - visible[0] + 1))
            characters_out.extend(characters[start : end + 1])
            indices_out.extend(char_indices[start : end + 1])
        return "".join(characters_out), indices_out, lines

    def _table_at(self, line: TextLine, tables: list[tuple[RuledTable, list[tuple[str, int]]]]) -> int | None:
        """Return the number of the table that contains the middle of a line, or None."""
        if not tables:
            return None
        left, top, right, bottom = page_fractions(self._page, line.left, line.bottom, line.right, line.top)
        x, y = (left + right) / 2, (top + bottom) / 2
        for number, (table, _) in enumerate(tables):
            box = table.box
            if box[0] <= x <= box[2] and box[1] <= y <= box[3]:
                return number
        return None

    def _table(self, table: RuledTable, characters: list[str], char_indices: list[int]) -> list[tuple[str, int]]:
        """Return a table as Markdown, each character with its index; empty where more than half of its cells are."""
        cells: dict[tuple[int, int], list[tuple[str, int]]] = {}
        rect = pdfium.FS_RECTF()
        box, current_cell = table.box, None
        for character, char_index in zip(characters, char_indices, strict=True):
            if character.isspace():
                if current_cell is not None and cells[current_cell][-1][0] != " ":
                    cells[current_cell].append((" ", char_index))
                continue
            if not pdfium.FPDFText_GetLooseCharBox(self._textpage, char_index, rect):
                continue
            left, top, right, bottom = page_fractions(self._page, rect.left, rect.bottom, rect.right, rect.top)
            x, y = (left + right) / 2, (top + bottom) / 2
            if not (box[0] <= x <= box[2] and box[1] <= y <= box[3]):
                current_cell = None
                continue
            row, column = bisect(table.row_edges, y) - 1, bisect(table.column_edges, x) - 1
            cell = min(row, len(table.row_edges) - 2), min(column, len(table.column_edges) - 2)
            # a word that crosses a rule stays in one cell
            if current_cell is None or cells[current_cell][-1][0] == " " or current_cell[0] != cell[0]:
                current_cell = cell
            cells.setdefault(current_cell, []).append((character, char_index))
        rows, columns = len(table.row_edges) - 1, len(table.column_edges) - 1
        if len(cells) < 0.5 * rows * columns:
            return []
        table_characters: list[tuple[str, int]] = []
        nearest_index = next(iter(cells.values()))[0][1]
        for row in range(rows):
            for column in range(columns):
                cell_characters = cells.get((row, column), [])
                while cell_characters and cell_characters[-1][0] == " ":
                    cell_characters.pop()
                nearest_index = cell_characters[0][1] if cell_characters else nearest_index
                table_characters += [(mark, nearest_index) for mark in ("| " if column == 0 else " | ")]
                for character, char_index in cell_characters:
                    table_characters += (
                        [("\\", char_index), ("|", char_index)] if character == "|" else [(character, char_index)]
                    )
                nearest_index = cell_characters[-1][1] if cell_characters else nearest_index
            table_characters += [(mark, nearest_index) for mark in " |" + ("\n" if row < rows - 1 else "")]
            if row == 0:
                table_characters += [(mark, nearest_index) for mark in "|" + "---|" * columns + "\n"]
        return table_characters

    def _is_running(self, line: TextLine, text: str, last: bool, running: set[str]) -> bool:
        if last and _pattern(text) == "#":  # a page number as the last line, at any height
            return "\n#" in running
        if _pattern(text) not in running:
            return False
        _, top, _, bottom = page_fractions(self._page, line.left, line.bottom, line.right, line.top)
        return (top + bottom) / 2 < _MARGIN_BAND or (top + bottom) / 2 > 1 - _MARGIN_BAND

    def _line(self, first: int, last: int, length: int) -> TextLine | None:
        first_box, last_box = pdfium.FS_RECTF(), pdfium.FS_RECTF()
        for character, rect in ((first, first_box), (last, last_box)):
            if not pdfium.FPDFText_GetLooseCharBox(self._textpage, character, rect) or rect.top <= rect.bottom:
                return None
        bold = self._is_bold(first)
        return TextLine(
            first_box.left,
            first_box.top,
            first_box.top - first_box.bottom,
            last_box.bottom,
            length,
            last_box.right,
            bold,
        )

    def _is_bold(self, character: int) -> bool:
        if pdfium.FPDFText_GetFontWeight(self._textpage, character) >= 600:
            return True
        name = create_string_buffer(128)
        length = pdfium.FPDFText_GetFontInfo(self._textpage, character, name, 128, c_int())
        return length > 0 and re.search(rb"bold|black|heavy|CMBX|[-,]Bd", name.value, re.IGNORECASE) is not None


@dataclass(frozen=True, slots=True)
class TextLine:
    """A line, measured by its first and last character, in PDF units (y grows upwards).

    Two lines joined by a hyphenated word count as one: ``top`` is of the first line and ``bottom`` of the second.
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


def _begins_paragraph(above: TextLine, line: TextLine) -> bool:
    resized = max(above.height, line.height) > 1.2 * min(above.height, line.height)
    return (
        above.bottom - line.top > 0.5 * line.height  # a gap between the lines
        or line.top > above.top + above.height  # back up: the next column
        or (resized and min(above.length, line.length) > 3)  # a heading, not a footnote mark
        or line.height < line.left - above.left < 6 * line.height  # an indented first line
    )


def _line_ranges(characters: list[str]) -> Iterator[tuple[int, int]]:
    """Yield start and end of each line."""
    start = 0
    for end in [*(position for position, character in enumerate(characters) if character == "\n"), len(characters)]:
        yield start, end
        start = end + 1


def _page_characters(textpage: Any) -> tuple[list[str], list[int]]:
    """Return the characters of a page, and the PDFium index of each.

    Line ends are "\\n". Words hyphenated at a line end are joined; surrogate pairs become one character.
    """
    unicode = pdfium.FPDFText_GetUnicode
    codes = [unicode(textpage, index) for index in range(max(0, textpage.count_chars()))]
    characters: list[str] = []
    char_indices: list[int] = []
    for index, code in enumerate(codes):
        if code in (0x02, 0xFFFE, 0xAD):  # how PDFium marks a hyphen at a line end
            if index + 1 < len(codes) and chr(codes[index - 1]).islower() and chr(codes[index + 1]).islower():
                continue
            code = 0x2D
        if 0xDC00 <= code < 0xE000 and index and 0xD800 <= codes[index - 1] < 0xDC00:
            characters[-1] = chr(0x10000 + ((codes[index - 1] - 0xD800) << 10) + code - 0xDC00)
            continue
        if code == 0x0D or code == 0:
            continue
        if 0xD800 <= code < 0xE000 or code > 0x10FFFF:
            code = 0xFFFD
        characters.append(chr(code))
        char_indices.append(index)
    return characters, char_indices
