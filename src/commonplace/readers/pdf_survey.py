"""A first look at all pages of a PDF: the sizes of its fonts, its words, and the lines that run through its pages."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pypdfium2

from commonplace.readers.parts import Quota
from commonplace.readers.pdf_glyphs import OBLIQUE, PageGlyphs, Word
from commonplace.readers.pdf_layout import TextRow, rows_of, segments_of, upright

__all__ = ["Survey"]

_MARGIN_BAND = 0.12  # share of the page height at top and bottom that holds running headers and footers
_MAX_MARGIN_ROWS = 4  # rows there that may be running lines
_MIN_RUNNING_PAGES = 3  # pages that must have the same line there
_TITLE_SIZE = 1.25  # times the size of the body text; a numbered row of this size is a title
_MAX_STAMP_WORDS = 12  # words of a watermark
_MAX_PAGES = 2000
_MAX_KEPT_WORDS = 80_000  # words of pages that are kept in memory until they are read
_NUMBER = re.compile(r"\d+")
_ROMAN = re.compile(r"\W*([ivxlc]{1,7}|[IVXLC]{1,7})\W*")
_ROMAN_DIGITS = {"i": 1, "v": 5, "x": 10, "l": 50, "c": 100}
_PAGE_WORDS = re.compile(
    r"\b(page|pages|of|seite|von|pagina|página|di|de|p|pg|slide)\b|第|页|頁|共|\W|\d", re.IGNORECASE
)
_COMPOUND = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)+")


@dataclass(slots=True)
class _MarginRow:
    """A row that may run through pages: what it says with "#" for its numbers, these, and where its words begin."""

    key: tuple[str, int]
    numbers: tuple[int, ...]
    firsts: frozenset[int]
    size: float


@dataclass(slots=True)
class Survey:
    """What the pages of a document have in common. ``read()`` makes it, as far as the time allows."""

    sizes: Counter[float] = field(default_factory=Counter)  # characters of each font size
    bold: Counter[float] = field(default_factory=Counter)  # of these the bold ones
    vocabulary: set[str] = field(default_factory=set)  # words with hyphens, which no line end parted
    _rows: dict[int, list[_MarginRow]] = field(default_factory=dict)
    _kept: dict[int, PageGlyphs] = field(default_factory=dict)
    _kept_words: int = 0
    _left_out: dict[int, set[int]] | None = None
    _shown_once: dict[int, list[set[int]]] = field(default_factory=dict)

    def read(self, document: Any, count: int, quota: Quota, is_tagged: bool) -> None:
        """Look at the first ``count`` pages, for at most a third of the document's time."""
        for index in range(min(count, _MAX_PAGES)):
            if quota.share_left < 2 / 3:
                break
            try:
                page = document[index]
                textpage = page.get_textpage()
                glyphs = PageGlyphs(page, textpage, is_tagged)
                textpage.close()
                page.close()
                self.add_page(index, glyphs)
                self._keep(index, glyphs)
            except (pypdfium2.PdfiumError, UnicodeError, ValueError):
                pass
            quota.look()

    def add_page(self, index: int, glyphs: PageGlyphs) -> None:
        """Add what a page has, unless it was added before."""
        if index in self._rows:
            return
        for word in glyphs.words:
            size = round(word.size, 1)
            self.sizes[size] += len(word.text)
            if word.bold:
                self.bold[size] += len(word.text)
            if "-" in word.text[1:-1]:
                self.vocabulary.update(match.casefold() for match in _COMPOUND.findall(word.text))
        self._rows[index] = _margin_rows(glyphs)

    def _keep(self, index: int, glyphs: PageGlyphs) -> None:
        if self._kept_words < _MAX_KEPT_WORDS:
            self._kept[index] = glyphs
            self._kept_words += len(glyphs.words)

    def take(self, index: int) -> PageGlyphs | None:
        """Return the page if it was kept, and let go of it."""
        return self._kept.pop(index, None)

    @property
    def body_size(self) -> float:
        """The font size of most characters."""
        return self.sizes.most_common(1)[0][0] if self.sizes else 10.0

    @property
    def is_mostly_bold(self) -> bool:
        """Whether most text of the body's size is bold."""
        size = self.body_size
        return self.bold[size] > 0.5 * self.sizes[size]

    def left_out(self, index: int) -> set[int]:
        """Return the first characters of the words of a page that are of running lines."""
        if self._left_out is None:
            self._find_running()
        assert self._left_out is not None
        return self._left_out.get(index, set())

    def shown_once(self, index: int) -> list[set[int]]:
        """Return the running lines that stand on a page for the first time, as the first characters of their words."""
        self.left_out(index)
        return self._shown_once.get(index, [])

    def _find_running(self) -> None:
        """Find the rows that stand in one place on several pages and differ by no more than the page's number."""
        self._left_out = {}
        by_key: dict[tuple[str, int], list[tuple[int, _MarginRow]]] = {}
        for index, rows in self._rows.items():
            for row in rows:
                by_key.setdefault(row.key, []).append((index, row))
        for (pattern, _), members in by_key.items():
            if len(members) < _MIN_RUNNING_PAGES:
                continue
            name = _PAGE_WORDS.sub("", pattern.replace("#", ""))
            if "#" in pattern and name and members[0][1].size > _TITLE_SIZE * self.body_size:
                continue  # numbered titles, as of slides
            fits = _numbers_that_run(members, 3 * len(self._rows) + 50 if name else 10_000)
            shown = not name
            for index, row in members:
                if not fits(index, row):
                    continue
                self._left_out.setdefault(index, set()).update(row.firsts)
                if not shown:
                    shown = True
                    self._shown_once.setdefault(index, []).append(set(row.firsts))


def _numbers_that_run(members: list[tuple[int, _MarginRow]], reach: int) -> Callable[[int, _MarginRow], bool]:
    """Return a test whether a row's numbers are the same as on other pages, or those of the pages.

    The number of a page is that of its place in the file, give or take ``reach``: the others are content, as of an
    invoice on each page.
    """
    constants: list[tuple[set[int], set[int]]] = []
    for place in range(len(members[0][1].numbers)):
        same = Counter(row.numbers[place] for _, row in members)
        grown = Counter(row.numbers[place] - index for index, row in members)
        constants.append(
            (
                {number for number, count in same.items() if count >= _MIN_RUNNING_PAGES},
                {n for n, count in grown.items() if count >= _MIN_RUNNING_PAGES and abs(n) <= reach},
            )
        )

    def fits(index: int, row: _MarginRow) -> bool:
        return all(
            number in same or number - index in grown
            for number, (same, grown) in zip(row.numbers, constants, strict=True)
        )

    return fits


def _margin_rows(glyphs: PageGlyphs) -> list[_MarginRow]:
    turns = Counter(word.turn for word in glyphs.words if word.turn != OBLIQUE)
    rows: list[_MarginRow] = []
    if turns:
        turn = max(turns, key=lambda turn: turns[turn])
        words = [word for word in glyphs.words if word.turn == turn]
        height = glyphs.height if turn in (0, 2) else glyphs.width
        upright_words = upright(words, turn, glyphs.width, glyphs.height)
        high, low = _MARGIN_BAND * height, (1 - _MARGIN_BAND) * height
        top = rows_of(segments_of([word for word in upright_words if word.base < high]))[:_MAX_MARGIN_ROWS]
        bottom = rows_of(segments_of([word for word in upright_words if word.base - word.size > low]))
        rows += [_margin_row(row) for row in (*top, *bottom[-_MAX_MARGIN_ROWS:])]
    sizes = Counter(round(word.size) for word in glyphs.words)
    usual = sizes.most_common(1)[0][0] if sizes else 0
    oblique = [word for word in glyphs.words if word.turn == OBLIQUE]
    large = [word for word in glyphs.words if word.turn != OBLIQUE and word.size > 2 * usual]
    for stamp in (oblique, large):
        if stamp and len(stamp) <= _MAX_STAMP_WORDS:  # a watermark stands anywhere
            text = " ".join(word.text for word in stamp)
            place = -1 - round(stamp[0].base / 6)
            if not any(map(str.isdigit, text)):
                rows.append(_MarginRow((text, place), (), frozenset(word.first for word in stamp), stamp[0].size))
    return rows


def _margin_row(row: TextRow) -> _MarginRow:
    words: list[Word] = row.words
    text = " ".join(word.text for word in words)
    firsts = frozenset(word.first for word in words)
    roman = _ROMAN.fullmatch(text)
    if roman:
        return _MarginRow(("#", 0), (_roman(roman[1]),), firsts, row.size)
    pattern = _NUMBER.sub("#", text)
    place = 0 if re.fullmatch(r"\W*#\W*", pattern) else round(row.base / 6)  # a page number runs at any height
    return _MarginRow((pattern, place), tuple(int(n[:9]) for n in _NUMBER.findall(text)), firsts, row.size)


def _roman(text: str) -> int:
    total = 0
    digits = [_ROMAN_DIGITS[letter] for letter in text.lower()]
    for digit, after in zip(digits, [*digits[1:], 0], strict=True):
        total += -digit if digit < after else digit
    return total
