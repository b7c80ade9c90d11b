"""The text of a PDF page: paragraphs and tables in reading order; each character has a box."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from statistics import median

from commonplace.readers.pdf_glyphs import OBLIQUE, PageGlyphs, Word
from commonplace.readers.pdf_layout import Segment, TextRow, regions, rows_of, segments_of, upright
from commonplace.readers.pdf_tables import PageTable, Rule, find_grids, open_tables, rules_of, table_of
from commonplace.readers.pdf_vectors import Stroke
from commonplace.types import Box

__all__ = ["CAPTION", "PageParagraph", "PageText", "PlacedText"]

_CAPTION_REACH = 0.08  # share of the page height; the largest gap between a figure and its caption
CAPTION = re.compile(
    r"\s*(figure|fig\.?|photo|image|plate|chart|scheme|diagram|abbildung|abb\.?|图|圖)\s*([\dIVX]+|[A-Z]\b)",
    re.IGNORECASE,
)
_CAPTION_LINE = re.compile(CAPTION.pattern + r"\s*[.:：]\s*\S", re.IGNORECASE)
"""A line that begins a caption, and not a sentence that speaks of a figure."""
_INVISIBLE = "\u200b\u2060\ufeff"
_SPACELESS = re.compile("[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]")  # scripts without spaces
_BULLET = re.compile(r"[•●▪■◦‣·–—*➢✓\u25aa\uf0b7]|[-o]$|\(?(\d{1,2}|[a-zA-Z]|[ivx]{1,4})[.)]$")
_NOTE_MARK = re.compile(r"\[?\(?(\d{1,3})\)?\]?[.,;]?")
_SIGNED = re.compile(r"[-–−+]?\d+(\.\d+)?")
_UNITS = re.compile(r"(?:^|[\d\s/·*(])(m|cm|mm|km|µm|nm|ft|in|yd|mi|s|h|kg|g|l|dm|J|W|K|Pa|N)$")
_HYPHENS = "-‐\u00ad"  # at the end of a line


@dataclass(slots=True)
class PlacedText:
    """Text with the index of the PDFium character that each of its characters comes from."""

    characters: list[str] = field(default_factory=list)
    indices: list[int] = field(default_factory=list)

    def add(self, text: str, first: int, step: int = 1) -> None:
        """Add text from character ``first``; with ``step`` 0 all of it comes from that one."""
        self.characters.extend(text)
        self.indices.extend(range(first, first + len(text)) if step else [first] * len(text))

    def extend(self, other: PlacedText, between: str = "") -> None:
        """Add another text after ``between``."""
        if between and other.indices:
            self.add(between, other.indices[0], 0)
        self.characters += other.characters
        self.indices += other.indices

    def cut(self) -> None:
        """Drop the last character."""
        self.characters.pop()
        self.indices.pop()

    @property
    def text(self) -> str:
        return "".join(self.characters)


@dataclass(slots=True)
class PageParagraph:
    """A paragraph or a table of a page. ``cells`` are those of a table; ``rows`` are the lines of a paragraph.

    ``is_list_item`` and ``is_oblique`` (turned by no right angle, as a watermark is) say what else it is; ``is_full``:
    its last line reaches the edge of its column; ``gap`` is the space above it in points.
    """

    written: PlacedText
    rows: list[TextRow]
    size: float = 0.0
    bold: bool = False
    marks: frozenset[int] = frozenset()
    cells: list[list[PlacedText]] | None = None
    table_box: Box | None = None
    is_list_item: bool = False
    is_oblique: bool = False
    is_full: bool = False
    gap: float = 0.0
    column: int = 0

    @property
    def text(self) -> str:
        return self.written.text


class PageText:
    """The paragraphs and tables of one page in reading order, without the words that begin at ``left_out``."""

    def __init__(
        self,
        glyphs: PageGlyphs,
        strokes: list[Stroke],
        left_out: AbstractSet[int] = frozenset(),
        vocabulary: AbstractSet[str] = frozenset(),
    ) -> None:
        self._glyphs = glyphs
        self._vocabulary = vocabulary
        self._titles: list[tuple[Box, str]] = []
        words = _without_leaders([word for word in glyphs.words if word.first not in left_out])
        grids: list[tuple[PageTable, set[int]]] = []
        used: set[int] = set()
        for grid in find_grids(strokes, glyphs.width, glyphs.height):
            table = table_of(grid, [word for word in words if word.first not in used])
            if table is not None:
                grids.append(table)
                used |= table[1]
        rest = [word for word in words if word.first not in used]
        across, _ = rules_of([s for s in strokes if s.kind in ("rule", "box")], glyphs.width, glyphs.height)
        self.rows: list[TextRow] = []
        self.paragraphs: list[PageParagraph] = []
        self._notes = _note_numbers(rest)
        turns = Counter(word.turn for word in rest)
        groups = sorted(set(turns) | ({0} if grids else set()), key=lambda turn: (turn == OBLIQUE, -turns[turn], turn))
        for turn in groups:
            members = [word for word in rest if word.turn == turn]
            if turn == OBLIQUE:
                self.paragraphs += self._oblique(members)
                continue
            members = upright(members, turn, glyphs.width, glyphs.height)
            tables = [table for table, _ in grids] if turn == 0 else []
            self.paragraphs += self._flow(members, tables, across if turn == 0 else [], turn)
        self.paragraphs = _notes_last(self.paragraphs)

    def box(self, indices: Iterable[int]) -> Box | None:
        """Return the box around characters; None where they have no box."""
        return self._glyphs.box(list(indices))

    def plain(self, left_out: set[int]) -> str:
        """Return PDFium's own text of the page, without the words that begin at ``left_out``."""
        text = self._glyphs.text
        if not left_out:
            return text
        ends = {word.first: word.end for word in self._glyphs.words}
        kept, start = [], 0
        for first in sorted(left_out):
            kept.append(text[start:first])
            start = ends.get(first, first)
        return " ".join([*kept, text[start:]])

    def boxes(self) -> list[tuple[Box, int]]:
        """Return the box and the number of characters of each line."""
        share = self._glyphs.share
        return [(share((row.left, row.top, row.right, row.bottom)), row.length) for row in self.rows]

    @property
    def table_boxes(self) -> list[Box]:
        """The boxes of the tables."""
        return [paragraph.table_box for paragraph in self.paragraphs if paragraph.table_box is not None]

    def set_title(self, paragraph: PageParagraph, title: str | None) -> None:
        """Record that ``title`` is the title of what follows a paragraph."""
        box = self.box(paragraph.written.indices)
        if title and box:
            self._titles.append((box, title))

    def title_above(self, figure: Box) -> str | None:
        """Return the title of the last heading above ``figure``, without headings to the right of it."""
        above = [title for box, title in self._titles if box[3] <= figure[1] + 0.01 and box[0] < figure[2]]
        return above[-1] if above else None

    def caption_near(self, figure: Box) -> str | None:
        """Return the paragraph nearest above or below the box ``figure`` that begins like "Figure 3"."""
        nearest: tuple[float, str] | None = None
        for paragraph in self.paragraphs:
            text = paragraph.text
            if not CAPTION.match(text):
                continue
            box = self.box(paragraph.written.indices)
            if box is None or min(box[2], figure[2]) <= max(box[0], figure[0]):
                continue
            distance = max(box[1] - figure[3], figure[1] - box[3])
            if distance <= _CAPTION_REACH and (nearest is None or abs(distance) < nearest[0]):
                nearest = abs(distance), " ".join(text.split())
        return nearest[1] if nearest else None

    def _oblique(self, words: list[Word]) -> list[PageParagraph]:
        lines: list[list[Word]] = []
        for word in words:
            if word.breaks or not lines:
                lines.append([])
            lines[-1].append(word)
        paragraphs = []
        for line in lines:
            written = PlacedText()
            for word in line:
                if written.characters and not word.glued:
                    written.add(" ", word.first, 0)
                written.add(word.text, word.first)
            paragraphs.append(PageParagraph(written, [], line[0].size, is_oblique=True))
        return paragraphs

    def _flow(self, words: list[Word], tables: list[PageTable], across: list[Rule], turn: int) -> list[PageParagraph]:
        """Return the paragraphs and tables of text of one direction, in reading order."""
        segments = _with_initials(segments_of(words))
        stand_ins = [_table_segment(table) for table in tables]
        placed = {id(segment): table for segment, table in zip(stand_ins, tables, strict=True)}
        paragraphs: list[PageParagraph] = []
        for column, group in enumerate(regions([*segments, *stand_ins])):
            rows = rows_of([segment for segment in group if id(segment) not in placed])
            if turn == 0:
                self.rows += rows
            marks = [(segment.top, placed[id(segment)]) for segment in group if id(segment) in placed]
            blocks: list[tuple[float, list[TextRow] | PageTable]] = [(top, table) for top, table in marks]
            start = 0
            for first, end, table in [*open_tables(rows, across), (len(rows), len(rows), None)]:
                blocks += _runs(rows[start:first], [top for top, _ in marks])
                if table is not None:
                    blocks.append((rows[first].base, table))
                start = end
            for _, block in sorted(blocks, key=lambda block: block[0]):
                parts = [self._table(block)] if isinstance(block, PageTable) else self._paragraphs(block)
                for paragraph in parts:
                    paragraph.column = column
                paragraphs += parts
        return paragraphs

    def _table(self, table: PageTable) -> PageParagraph:
        cells = [[self._cell(words) for words in row] for row in table.cells]
        written = PlacedText()
        for row in cells:
            for cell in row:
                if cell.characters:
                    written.extend(cell, "\n" if cell is row[0] and written.characters else " ")
        words = [word for row in table.cells for cell in row for word in cell]
        size = median(word.size for word in words)
        return PageParagraph(written, [], size, cells=cells, table_box=self._glyphs.share(table.box))

    def _cell(self, words: list[Word]) -> PlacedText:
        written = PlacedText()
        for turn in sorted({word.turn for word in words}):
            members = upright([w for w in words if w.turn == turn], turn, self._glyphs.width, self._glyphs.height)
            for row in rows_of(segments_of(members)):
                line = self._line(row)
                written.extend(line, _between(written, line) if written.characters else "")
        return written

    def _paragraphs(self, rows: list[TextRow]) -> list[PageParagraph]:
        """Return the paragraphs of rows that stand below each other."""
        if not rows:
            return []
        pitches = [below.base - above.base for above, below in itertools.pairwise(rows)]
        groups: list[list[TextRow]] = []
        for number, row in enumerate(rows):
            if groups and not _begins(rows, number, pitches):
                groups[-1].append(row)
            else:
                groups.append([row])
        left, right = min(row.left for row in rows), max(row.right for row in rows)
        paragraphs = []
        above: TextRow | None = None
        for group in groups:
            paragraph = self._paragraph(group, left, right)
            paragraph.gap = group[0].base - above.base if above is not None else 1000.0
            paragraphs.append(paragraph)
            above = group[-1]
        return paragraphs

    def _paragraph(self, rows: list[TextRow], left: float, right: float) -> PageParagraph:
        written = PlacedText()
        before: TextRow | None = None
        for row in rows:
            line = self._line(row)
            if before is not None:
                wrapped = _is_wrapped(before, row, left, right)
                if wrapped and self._is_broken_word(written, line):
                    written.cut()
                    written.extend(line)
                else:
                    written.extend(line, _between(written, line) if wrapped else "\n")
            else:
                written = line
            before = row
        length = sum(row.length for row in rows)
        sizes: Counter[float] = Counter()
        for row in rows:
            sizes[row.size] += row.length
        bold = sum(row.length for row in rows if row.bold) > 0.85 * length
        marks = frozenset(word.mark for row in rows for word in row.words if word.mark >= 0)
        is_full = rows[-1].right > right - 1.5 * rows[-1].size and right - left > 12 * rows[-1].size
        first = rows[0].words[0].text
        return PageParagraph(
            written,
            rows,
            sizes.most_common(1)[0][0],
            bold,
            marks,
            is_list_item=_BULLET.match(first) is not None,
            is_full=is_full,
        )

    def _is_broken_word(self, written: PlacedText, line: PlacedText) -> bool:
        """Return whether a hyphen at the end of a line parts a word that has none."""
        text = "".join(written.characters[-40:])
        if text[-1:] not in _HYPHENS or len(text) < 2 or not text[-2].isalpha() or not line.characters:
            return False
        if not line.characters[0].islower() or not text[-2].islower():
            return False
        begin = re.split(r"\s", text[:-1])[-1]
        rest = re.split(r"[^\w-]", line.text[:40])[0]
        return f"{begin}-{rest}".casefold() not in self._vocabulary

    def _line(self, row: TextRow) -> PlacedText:
        """Return the text of a row; raised characters stand apart, lines of dots are left out."""
        written = PlacedText()
        before: Word | None = None
        words = row.words
        number = 0
        while number < len(words):
            word = words[number]
            if word.shift:
                end = number + 1
                while end < len(words) and words[end].shift == word.shift and _is_glued(words[end - 1], words[end]):
                    end += 1
                self._shifted(written, words[number:end], before, words[end] if end < len(words) else None)
                before, number = words[end - 1], end
                continue
            if before is not None and not _is_glued(before, word):
                gap = "" if not before.breaks and _is_spaceless(before, word) else " "
                written.add(gap, word.first, 0)
            _add_word(written, word)
            before, number = word, number + 1
        return written

    def _shifted(self, written: PlacedText, words: list[Word], before: Word | None, after: Word | None) -> None:
        """Add raised or lowered words: an exponent as "10^6", the number of a note as "250 [3]"."""
        text = "".join(word.text for word in words)
        first = words[0]
        glue = before is not None and _is_glued(before, first)
        is_fraction = after is not None and after.text[:1] in "⁄∕/" and _is_glued(words[-1], after)
        if first.shift < 0 or is_fraction or not any(map(str.isalnum, text)) or (before is None and len(text) > 4):
            if is_fraction and written.characters and written.characters[-1].isdigit():
                glue = False
            if before is not None and not glue:
                written.add(" ", first.first, 0)
            for word in words:
                _add_word(written, word)
            return
        mark = _NOTE_MARK.fullmatch(text)
        base = "".join(written.characters[-8:])
        is_note = mark is not None and (
            before is None
            or mark[1] in self._notes
            or not (base[-1:].isdigit() or _UNITS.search(base) or re.search(r"(?:^|[^\w])\w$|[)\]]$", base))
        )
        if is_note and re.search(r"(?:^|\D)10$|[×x*·]\s?10$", base) and mark is not None and mark[1] not in self._notes:
            is_note = False
        if is_note and mark is not None:
            opening = "[" if not written.characters or written.characters[-1].isspace() else " ["
            written.add(opening, first.first, 0)
            for word in words:
                for offset, character in enumerate(word.text):
                    if character.isdigit():
                        written.add(character, word.first + offset)
            written.add("]" + ("" if after is None or not _is_glued(words[-1], after) else " "), words[-1].end - 1, 0)
            if text[-1:] in ".,;":
                if written.characters[-1] == " ":
                    written.cut()
                written.add(text[-1], words[-1].end - 1, 0)
            return
        if _SIGNED.fullmatch(text) or (base[-1:].isdigit() and not text.isalpha()) or len(text) == 1:
            if glue and (base[-1:].isalnum() or base[-1:] in ")]"):
                written.add("^", first.first, 0)
            elif written.characters and not glue:
                written.add(" ", first.first, 0)
        elif before is not None and not glue:
            written.add(" ", first.first, 0)
        for word in words:
            _add_word(written, word)
        if after is not None and _is_glued(words[-1], after) and after.text[:1].isalnum() and text[-1:].isdigit():
            written.add(" ", after.first, 0)


def _add_word(written: PlacedText, word: Word) -> None:
    if any(mark in word.text for mark in _INVISIBLE):
        for offset, character in enumerate(word.text):
            if character not in _INVISIBLE:
                written.add(character, word.first + offset)
    else:
        written.add(word.text, word.first)


def _is_glued(before: Word, word: Word) -> bool:
    """Return whether no space stands between two words of a row."""
    size = min(before.size, word.size)
    gap = max(word.left - before.right, before.left - word.right)
    if word.glued and before.end == word.first:
        return gap < 0.35 * size or before.turn != word.turn
    return gap < 0.08 * size and word.breaks and gap > -0.5 * size


def _is_spaceless(before: Word, word: Word) -> bool:
    """Return whether two words are of a script without spaces, with no visible gap between them."""
    gap = max(word.left - before.right, before.left - word.right)
    return (
        gap < 0.2 * word.size
        and _SPACELESS.match(before.text[-1]) is not None
        and _SPACELESS.match(word.text[0]) is not None
    )


def _between(written: PlacedText, line: PlacedText) -> str:
    """Return what joins two lines of a paragraph: a space, but nothing inside a script without spaces."""
    if not written.characters or not line.characters:
        return ""
    return "" if _SPACELESS.match(written.characters[-1]) and _SPACELESS.match(line.characters[0]) else " "


def _without_leaders(words: list[Word]) -> list[Word]:
    """Return the words without the rows of dots or lines that lead the eye to a number, or are there to write on."""
    kept: list[Word] = []
    dots = 0  # single dots at the end of those that are kept
    for word in words:
        if word.text[-3:] in ("...", "···", "___") or "…" in word.text or word.text in ".·_":
            text = word.text.rstrip(".·…_")
            if not text and (len(word.text) > 3 or word.text in ".·_"):
                dots = dots + 1 if len(word.text) == 1 else 0
                if len(word.text) > 3:
                    continue
                kept.append(word)
                if dots >= 3:
                    del kept[-dots:]
                    dots = 0
                continue
            if text and len(word.text) - len(text) > 3:
                width = (word.right - word.left) * len(text) / len(word.text)
                word = replace(word, text=text, end=word.first + len(text), right=word.left + width)
        dots = 0
        kept.append(word)
    return kept


def _table_segment(table: PageTable) -> Segment:
    """Return a stand-in for a table among the pieces of lines."""
    left, top, right, _ = table.box
    length = sum(len(word.text) for row in table.cells for cell in row for word in cell)
    return Segment([], left, top, right, top, top + 0.01, 1.0, False, length, False)


def _runs(rows: list[TextRow], tops: list[float]) -> list[tuple[float, list[TextRow] | PageTable]]:
    """Return the rows in runs between the tables that begin at ``tops``."""
    runs: dict[int, list[TextRow]] = {}
    for row in rows:
        runs.setdefault(sum(top < row.base for top in tops), []).append(row)
    return [(run[0].base, run) for run in runs.values()]


def _with_initials(segments: list[Segment]) -> list[Segment]:
    """Return the pieces with each letter that hangs over several lines joined to the word that it begins."""
    initials = [
        segment
        for segment in segments
        if segment.length <= 2 and segment.words[0].text[:1].isalpha() and segment.size > 14
    ]
    joined: set[int] = set()
    for initial in initials:
        beside = [
            other
            for other in segments
            if other is not initial
            and other.size < initial.size / 1.6
            and -0.1 * initial.size < other.left - initial.right < 0.6 * initial.size
            and initial.base - initial.size < other.base < initial.base + 0.15 * initial.size
        ]
        if len(beside) < 2:
            continue
        first = min(beside, key=lambda other: other.base)
        letter = initial.words[-1]
        letter.breaks, letter.shift = True, 0
        word = first.words[0]
        letter.base, letter.top, letter.bottom, letter.size = word.base, word.top, word.bottom, word.size
        # "A", "I" may be words of their own: then a space is left after them
        is_word = letter.text in ("A", "I", "O") and first.left - initial.right > 0.12 * initial.size
        word.glued, word.breaks = not is_word, not is_word
        letter.right = word.left - (0.3 * word.size if is_word else 0)
        first.words = [*initial.words, *first.words]
        first.left = initial.left
        first.length += initial.length
        joined.add(id(initial))
    return [segment for segment in segments if id(segment) not in joined]


def _begins(rows: list[TextRow], number: int, pitches: list[float]) -> bool:
    """Return whether a row begins a paragraph: a change of size or weight, a gap above it, a bullet, an indent."""
    above, row = rows[number - 1], rows[number]
    pitch = pitches[number - 1]
    longer = min(above.length, row.length)
    if abs(above.size - row.size) > 0.06 * max(above.size, row.size) and longer > 1:
        return True
    if above.bold != row.bold and longer > 1:
        return True
    if _BULLET.match(row.words[0].text) and len(row.words) > 1:
        return True
    # Labels of a drawing stand close above its caption, in letters of much the same size.
    if above.right < row.right - 2 * row.size and _CAPTION_LINE.match(" ".join(word.text for word in row.words[:4])):
        return True
    near = [p for p in pitches[max(0, number - 6) : number + 6] if p > 0.7 * row.size]
    usual = min(max(sorted(near)[len(near) // 3] if near else pitch, 0.9 * row.size), 2.2 * row.size)
    if pitch > max(1.22 * usual, usual + 0.22 * row.size):
        return True
    indent = row.left - above.left
    following = rows[number + 1] if number + 1 < len(rows) else None
    return (
        0.8 * row.size < indent < 6 * row.size
        and row.segments[0].is_rtl is False
        and (following is None or following.left < row.left - 0.6 * row.size)
        and not _BULLET.match(above.words[0].text)
        and len(above.segments) == 1
        and row.length > 20
    )


def _is_wrapped(above: TextRow, row: TextRow, left: float, right: float) -> bool:
    """Return whether a line ended because the next word did not fit."""
    if len(above.segments) > 2 or len(row.segments) > 2:
        return False
    word = row.words[0]
    if row.segments[0].is_rtl:
        return above.left - (word.right - word.left) - 0.3 * row.size < left + 0.6 * row.size
    first_part = word.right - word.left
    if _SPACELESS.match(word.text):
        first_part = first_part / max(1, len(word.text)) * 2
    # a gap before the last piece: a number at the edge of the column, as in a list of contents
    if len(above.segments) == 2 and above.segments[1].length <= 5:
        return False
    return above.right + first_part + 0.3 * row.size > right - 0.6 * row.size


def _note_numbers(words: Sequence[Word]) -> set[str]:
    """Return the numbers of the notes at the foot of the page: they begin lines in small print."""
    sizes: Counter[float] = Counter()
    for word in words:
        sizes[round(word.size, 1)] += len(word.text)
    if not sizes:
        return set()
    body = sizes.most_common(1)[0][0]
    numbers = set()
    for word, after in itertools.pairwise(words):
        if word.breaks and word.size < 0.93 * body and (mark := _NOTE_MARK.fullmatch(word.text)):
            raised = after.base - word.base > 0.1 * after.size and not after.breaks
            if raised or (not after.breaks and after.text[:1].isalpha() and word.text[:1] != "("):
                numbers.add(mark[1])
    return numbers


def _notes_last(paragraphs: list[PageParagraph]) -> list[PageParagraph]:
    """Return the paragraphs with the notes at the foot of a column at the end of the page."""
    columns = {paragraph.column for paragraph in paragraphs}
    if len(columns) < 2:
        return paragraphs
    sizes: Counter[float] = Counter()
    for paragraph in paragraphs:
        sizes[round(paragraph.size, 1)] += len(paragraph.written.characters)
    body = sizes.most_common(1)[0][0]
    notes: list[PageParagraph] = []
    for column in sorted(columns):
        members = [p for p in paragraphs if p.column == column and not p.is_oblique]
        for position, paragraph in enumerate(members):
            rest = members[position:]
            if (
                re.match(r"\[?\d{1,3}\]?[.)]?\s|[*†‡]", paragraph.text)
                and all(p.size < 0.93 * body and p.cells is None for p in rest)
                and position
            ):
                notes += rest
                break
    moved = {id(paragraph) for paragraph in notes}
    return [paragraph for paragraph in paragraphs if id(paragraph) not in moved] + notes
