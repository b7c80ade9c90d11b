"""Reads what a language model writes, piece by piece: sentences, lists, tables, listings, and the evidence they cite.

What the model wrote is never changed. Only citation markers, the fences of listings and white space between the parts
are left out.
"""

from __future__ import annotations

import itertools
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from commonplace.generation.claims import claim
from commonplace.generation.parts import Abstention, Cell, Layout, ShownImage, Statement
from commonplace.generation.prompt import NO_ANSWER
from commonplace.generation.sentences import segment
from commonplace.i18n import N_, _

__all__ = ["SentenceParser", "is_looping", "without_thoughts"]

NO_ANSWER_FOUND = N_("The language model found no answer in the evidence.")
LOOP_CHARS, LOOP_TIMES = 200, 4  # characters that a loop has at least, in all, and how often its text repeats
LONGEST_RANGE = 20  # citations in a range such as [1-5]; a longer range counts as its two ends
LONGEST_SPAN = 500  # characters of inline code that is waited for

Parsed = Statement | ShownImage | Abstention

_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_NUMBERS = r"\d{1,6}(?:\s{0,3}(?:[,;、]|and|-|–)\s{0,3}\d{1,6})*"
_BEFORE = r"[\[【]\s{0,3}(?:\^|evidence|source|passage|picture|doc(?:ument)?)?\s{0,3}#?"
_AFTER = r"(?:\s{0,3}[†:][^\]】\n]{0,80})?\s{0,3}[\]】]"
_ONE_MARKER = re.compile(f"{_BEFORE}({_NUMBERS}){_AFTER}", re.IGNORECASE)
_MARKERS = re.compile(
    rf"{_BEFORE}{_NUMBERS}{_AFTER}(?:[ \t]{{0,3}}[,;、]?[ \t]{{0,3}}{_BEFORE}{_NUMBERS}{_AFTER})*", re.IGNORECASE
)
_OPEN_BRACKET = re.compile(r"[\[【][^\]】\n]{0,100}$")
_INLINE_CODE = re.compile(r"(?<!`)(`+)(?!`)[^\n]{1,500}?(?<!`)\1(?!`)")
_STOP = re.compile(r"[.!?。！？…][\"'”’)\]*_`]*\s*$")
_DESCRIPTION = re.compile(
    rf"^\s*[-*]?\s*(?:picture|image|figure|图片?|圖)\s*{_ONE_MARKER.pattern}\s*[:：]\s*(.+)$", re.IGNORECASE
)
_BULLET = re.compile(r"[ \t]*(?:[-*+•·●▪◦–]|\d{1,3}[.)、．]|[（(]\d{1,2}[）)])(?:[ \t]+|(?<=[、．）•]))(?=\S)")
_HEADING = re.compile(r"[ \t]{0,3}#{1,6}[ \t]+\S")
_FENCE = re.compile(r"([ \t>]*)(`{3,}|~{3,})[^`]*$")
_ROW = re.compile(r"[ \t]*\|")
_RULE = re.compile(r"[ \t]*\|?[ \t]*:?-{2,}:?[ \t]*(?:\|[ \t]*:?-{2,}:?[ \t]*)*\|?[ \t]*$")
_MAY_BE_STRUCTURE = re.compile(r"[ \t]*(?:[|#`~]|[-*]?\s*(?:picture|image|figure|图|圖))", re.IGNORECASE)
_BEGINS_WORD = re.compile(r"\w|[\"'“‘(（`*_$/\\]+\w|\.[a-z_]")
_CELL_BORDER = re.compile(r"(?<!\\)\|")


@dataclass(slots=True)
class _Line:
    """A text without its markers (``clean``), with the markers' numbers and where in the clean text they stood."""

    clean: str = ""
    markers: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)
    kept: list[tuple[int, int]] = field(default_factory=list)  # (offset in the clean text, offset in the raw text)

    def raw(self, offset: int) -> int:
        """Return the offset in the raw text of an offset in the clean text; after a marker that stands there."""
        clean, raw = self.kept[bisect_right(self.kept, (offset, 1 << 60)) - 1]
        return raw + offset - clean

    def numbers(self, start: int, end: int, *, first: bool) -> tuple[int, ...]:
        """Return the numbers of the markers after ``start`` up to ``end``; with ``first`` also those before."""
        inside = (numbers for at, numbers in self.markers if (first or at > start) and at <= end)
        return tuple(itertools.chain.from_iterable(inside))


@dataclass(frozen=True, slots=True)
class _Cited:
    """The hits that markers cite, and how many of the markers name no evidence (``invalid``)."""

    hits: tuple[int, ...]
    invalid: int


class SentenceParser:
    """Reads what a model writes, piece by piece, as statements with the evidence that they cite.

    A statement is a sentence, a list item (with its bullet or number), a row of a table (as Markdown; the names of its
    columns come first, as a row by themselves), or a listing. ``evidence`` holds, for the markers [1], [2] and so on,
    the numbers (from 0) of the hits. Markers may stand before or after the full stop, in square or Chinese brackets,
    several in one bracket; in code they are no markers. A marker without evidence is removed and counted as invalid.
    The text between ``<think>`` and ``</think>`` is skipped. A line ``Picture [n]: ...`` describes a picture.
    ``language`` is that of the question, in which an abstention gives its reason.
    """

    def __init__(self, evidence: Sequence[int], language: str | None = None) -> None:
        self._evidence = tuple(evidence)
        self._language = language
        self._text = ""
        self._thinking = False
        self._starts_paragraph = False
        self._line_begun = False  # whether sentences of the current line have been yielded
        self._fence: tuple[str, str] | None = None  # the indentation and the marks of an open fence
        self._code: list[str] = []
        self._header: str | None = None  # the first line of a table, until the next line tells what it is
        self._columns: tuple[str, ...] | None = None
        self._held: Statement | None = None  # a line that leads to what follows, or a listing whose marker may follow
        self._leads: list[tuple[int, Statement]] = []  # the lines that lead to what is read now, with their indentation
        self._led: str = ""  # what they lead to: item, row or code
        self.abstained = False
        """Whether the model wrote that there is no answer."""

    def feed(self, piece: str) -> Iterator[Parsed]:
        """Yield the statements that this piece completes."""
        self._text += piece
        self._skip_thoughts()
        if self._thinking:
            return
        while "\n" in self._text:
            line, self._text = self._text.split("\n", 1)
            yield from self._line(line.removesuffix("\r"))
        if self._fence is None and any(c in ".!?。！？…" for c in self._text):
            yield from self._begun_line()

    def end(self, *, complete: bool = True) -> Iterator[Parsed]:
        """Yield the rest; an unfinished last sentence only if the text is ``complete``, that is, not cut short."""
        if self._thinking:
            return
        text, self._text = self._text, ""
        if complete or (self._fence is None and not _ROW.match(text)):
            yield from self._line(text, complete=complete)
        if self._fence is not None:
            yield from self._end_fence()
        yield from self._end_table()
        yield from self._released_held()

    def _skip_thoughts(self) -> None:
        if self._thinking or self._text.lstrip().startswith("<think>"):
            _, closed, rest = self._text.partition("</think>")
            self._thinking = not closed
            # A tag may arrive in two pieces, so keep what may be the beginning of one.
            self._text = rest if closed else "<think>" + self._text[-8:].removeprefix("<think>")

    # --- lines -----------------------------------------------------------------------------------------------

    def _begun_line(self) -> Iterator[Parsed]:
        """Yield the complete sentences of a line that is still being written."""
        text = self._text
        if not self._line_begun and _MAY_BE_STRUCTURE.match(text):
            return
        if _OPEN_BRACKET.search(text) or ("`" in text[-LONGEST_SPAN:] and text.count("`") % 2):
            return
        line = _without_markers(text)
        spans = _sentences(line.clean, 0 if self._line_begun else _bullet_end(line.clean))
        # A sentence is complete once the next one has begun.
        if len(spans) < 2 or not re.search(r"\w{2}", line.clean[slice(*spans[-1])]):
            return
        yield from self._prose(line, spans[:-1], spans[-1][0])
        self._text = text[line.raw(spans[-1][0]) :]
        self._line_begun = True

    def _line(self, text: str, *, complete: bool = True) -> Iterator[Parsed]:
        """Yield the statements of a line, or of the rest of one."""
        if self._fence is not None:
            indent, marks = self._fence
            if re.fullmatch(rf"[ \t>]*{re.escape(marks[0])}{{{len(marks)},}}[ \t]*({_MARKERS.pattern})?[ \t]*", text):
                yield from self._end_fence(text)
            else:
                self._code.append(text[len(indent) :] if text.startswith(indent) else text.lstrip(" \t"))
            return
        if self._line_begun:
            yield from self._prose_line(text, complete)
        elif match := _FENCE.match(text):
            yield from self._end_table()
            self._fence = match[1], match[2]
        elif _ROW.match(text):
            yield from self._row(text)
        else:
            yield from self._end_table()
            if match := _DESCRIPTION.match(text):
                yield from self._description(match, text)
            else:
                yield from self._prose_line(text, complete)
        self._line_begun = False
        self._starts_paragraph = True

    def _prose_line(self, text: str, complete: bool) -> Iterator[Parsed]:
        line = _without_markers(text)
        spans = _sentences(line.clean, 0 if self._line_begun else _bullet_end(line.clean))
        if spans and not complete and not _STOP.search(line.clean[slice(*spans[-1])]):
            spans.pop()
        if not spans and line.markers and self._held is not None and self._held.code:
            # The marker of a listing stands on a line of its own.
            cited = self._cited(line.numbers(0, len(line.clean), first=True))
            self._held = replace(self._held, hits=cited.hits, invalid_citations=cited.invalid)
            return
        yield from self._prose(line, spans, len(line.clean))

    def _prose(self, line: _Line, spans: Sequence[tuple[int, int]], until: int) -> Iterator[Parsed]:
        """Yield the sentences at these spans of a line; the first with the bullet or number of a list item.

        ``until`` is where the markers of the last one end.
        """
        followers = [*(start for start, _end in spans[1:]), until]
        for (start, end), follower in zip(spans, followers, strict=False):
            opens = not self._line_begun
            self._line_begun = True
            text = line.clean[0 if opens else start : end]
            item = opens and _bullet_end(text) > 0
            cited = self._cited(line.numbers(start, follower, first=opens))
            statement = Statement(
                text if item else text.strip(),
                cited.hits,
                invalid_citations=cited.invalid,
                starts_paragraph=self._starts_paragraph or item,
                layout="item" if item else "sentence",
                leads=bool(opens and _HEADING.match(text)),
            )
            self._starts_paragraph = False
            yield from self._release(statement, len(text) - len(text.lstrip()))

    def _description(self, match: re.Match[str], text: str) -> Iterator[Parsed]:
        cited = self._cited(tuple(_numbers(match[1])))
        if cited.hits:
            yield from self._released_held()
            yield ShownImage(cited.hits[0], _without_markers(match[2]).clean.strip())
        else:
            yield from self._prose_line(text, complete=True)

    # --- tables and listings ---------------------------------------------------------------------------------

    def _row(self, text: str) -> Iterator[Parsed]:
        if self._columns is None and self._header is None:
            self._header = text
        elif self._columns is None and self._header is not None and _RULE.match(text):
            header, self._header = self._header, None
            self._columns = tuple(_without_markers(cell).clean.strip() for cell in _cells(header))
            names = _without_markers(header)
            cited = self._cited(names.numbers(0, len(names.clean), first=True))
            lines = f"{names.clean.rstrip()}\n{text.rstrip()}"
            yield from self._release(self._row_statement(lines, cited, leads=True), 0)
        else:
            columns = self._columns or ()
            yield from self._end_table()
            self._columns = columns
            yield from self._released_row(text)

    def _end_table(self) -> Iterator[Parsed]:
        header, self._header = self._header, None
        if header is not None:  # a table of one row, without names of columns
            yield from self._released_row(header)
        self._columns = None

    def _released_row(self, text: str) -> Iterator[Parsed]:
        columns = self._columns or ()
        cells = []
        for n, raw in enumerate(_cells(text)):
            cell = _without_markers(raw)
            cited = self._cited(cell.numbers(0, len(cell.clean), first=True))
            if cell.clean.strip() or n < len(columns):  # else a marker after the last cell
                cells.append(Cell(columns[n] if n < len(columns) else "", cell.clean.strip(), cited.hits))
        line = _without_markers(text)
        cited = self._cited(line.numbers(0, len(line.clean), first=True))
        yield from self._release(self._row_statement(line.clean.rstrip(), cited, cells=tuple(cells)), 0)

    @staticmethod
    def _row_statement(text: str, cited: _Cited, *, leads: bool = False, cells: tuple[Cell, ...] = ()) -> Statement:
        return Statement(
            text,
            cited.hits,
            invalid_citations=cited.invalid,
            starts_paragraph=True,
            layout="row",
            leads=leads,
            cells=cells,
        )

    def _end_fence(self, closing: str = "") -> Iterator[Parsed]:
        numbers = [number for match in _ONE_MARKER.finditer(closing) for number in _numbers(match[1])]
        code, self._code, self._fence = "\n".join(self._code), [], None
        if any(map(str.isalnum, code)):
            cited = self._cited(tuple(numbers))
            yield from self._release(Statement(code, cited.hits, invalid_citations=cited.invalid, code=True), 0)

    # --- statements ------------------------------------------------------------------------------------------

    def _cited(self, numbers: tuple[int, ...]) -> _Cited:
        valid = [n for n in numbers if 1 <= n <= len(self._evidence)]
        return _Cited(tuple(dict.fromkeys(self._evidence[n - 1] for n in valid)), len(numbers) - len(valid))

    def _released_held(self) -> Iterator[Statement]:
        held, self._held = self._held, None
        if held is not None:
            yield held

    def _release(self, statement: Statement, indent: int) -> Iterator[Parsed]:
        """Yield a statement, after the one that was held; or hold it, until what follows tells its part."""
        part: Layout | Literal["code"] = "code" if statement.code else statement.layout
        if part != "sentence" and part != self._led and not (self._held is not None and self._held.layout == part):
            self._leads = []  # a table after a list has its own lead
        if self._held is not None:
            held, self._held = self._held, None
            if part != "sentence" and not held.code:
                if held.layout != "row":
                    self._leads.append((-1 if held.layout == "sentence" else _indent(held.text), held))
                held = replace(held, leads=True, hits=held.hits or statement.hits)
            yield held
        if part != "sentence":
            self._led = part
            while self._leads and self._leads[-1][0] >= indent and self._leads[-1][1].layout == "item":
                self._leads.pop()
            if self._leads:
                context = " ".join(claim(lead.text) for _indent_, lead in self._leads)
                statement = replace(statement, context=context, hits=statement.hits or self._leads[-1][1].hits)
        elif statement.starts_paragraph or statement.leads:
            self._leads = []
        if claim(statement.text).upper().startswith(NO_ANSWER):
            self.abstained = True
            yield Abstention(_(NO_ANSWER_FOUND, self._language))
        elif part == "code" or (statement.leads if part == "row" else statement.text[-1] in ":："):
            self._held = statement
        else:
            yield statement


def _indent(text: str) -> int:
    return len(text) - len(text.lstrip())


def _bullet_end(text: str) -> int:
    """Return where the bullet or number of a list item ends; 0 if the text is none."""
    match = _BULLET.match(text)
    return match.end() if match else 0


def _sentences(text: str, start: int) -> list[tuple[int, int]]:
    """Return the spans of the sentences from ``start`` on; marks without words belong to the sentence before them."""
    spans: list[tuple[int, int]] = []
    at = start
    for sentence in segment(text[start:]):
        begin = at + len(sentence) - len(sentence.lstrip())
        end = at + len(sentence.rstrip())
        at += len(sentence)
        if begin >= end:
            continue
        if any(map(str.isalnum, sentence)) and not (spans and not _has_words(text, spans[-1])):
            spans.append((begin, end))
        elif spans:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((begin, end))
    return [span for span in spans if _has_words(text, span)]


def _has_words(text: str, span: tuple[int, int]) -> bool:
    return any(map(str.isalnum, text[slice(*span)]))


def _without_markers(text: str) -> _Line:
    """Return a text without its citation markers and the space that belongs to them; markers in code stay."""
    line, at = _Line(), 0
    code = [match.span() for match in _INLINE_CODE.finditer(text)]

    def keep(start: int, end: int) -> None:
        line.kept.append((len(line.clean), start))
        line.clean += text[start:end]

    for match in _MARKERS.finditer(text):
        start, end = match.span()
        if any(first <= start < last for first, last in code):
            continue
        before = text[at:start].rstrip(" \t")
        if not (line.clean + before).strip():  # the marker stands first
            keep(at, start)
            end += len(text[end:]) - len(text[end:].lstrip(" \t"))
        elif _BEGINS_WORD.match(text, end):
            keep(at, start)
        else:
            keep(at, at + len(before))
        numbers = [number for marker in _ONE_MARKER.finditer(match.group()) for number in _numbers(marker[1])]
        line.markers.append((len(line.clean), tuple(numbers)))
        at = end
    keep(at, len(text))
    return line


def _numbers(marker: str) -> Iterator[int]:
    """Yield the numbers of a marker such as ``1, 3-5``."""
    for part in re.split(r"\s*(?:[,;、]|and)\s*", marker, flags=re.IGNORECASE):
        first, *last = (int(number) for number in re.split(r"\s*[-–]\s*", part))
        in_range = bool(last) and first <= last[0] <= first + LONGEST_RANGE
        yield from range(first, last[0] + 1) if in_range else [first, *last]


def _cells(row: str) -> list[str]:
    """Return the cells of a row of a Markdown table, as written."""
    cells = _CELL_BORDER.split(row.strip())[1:]
    return cells[:-1] if cells and not cells[-1].strip() else cells


def without_thoughts(text: str) -> str:
    """Return what a model wrote without the text between ``<think>`` and ``</think>``."""
    return _THOUGHT.sub("", text)


def is_looping(text: str) -> bool:
    """Return whether a text ends in the same stretch four times in a row, at least 200 characters in all."""
    reverse = text[::-1]
    border = [0] * len(reverse)  # the longest border of each prefix (Knuth, Morris and Pratt 1977)
    length = 0
    for i in range(1, len(reverse)):
        while length and reverse[i] != reverse[length]:
            length = border[length - 1]
        length += reverse[i] == reverse[length]
        border[i] = length
        if i + 1 >= LOOP_CHARS and i + 1 >= LOOP_TIMES * (i + 1 - length):
            return True
    return False
