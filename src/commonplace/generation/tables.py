"""The rows of the tables in a passage, each with the names of its columns. Readers write tables as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Row", "rows_of"]

LONGEST_NAME = 60  # characters of a column's name; a longer cell is content
_CELL = re.compile(r"(?<!\\)\|")
_RULE = re.compile(r"^[ \t]*\|?[ \t]*:?-{3,}[-:| \t]*$")


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table: its characters ``start`` to ``end`` in the text, its cells, and the names of its columns.

    ``columns`` has as many entries as ``cells``; an entry is empty if the column has no name. ``first`` is the number
    of the row in its table, from 0; the rows of a table share ``table``, the offset at which it begins.
    """

    start: int
    end: int
    cells: tuple[str, ...]
    columns: tuple[str, ...]
    table: int
    first: int

    @property
    def text(self) -> str:
        """The row as a line of text, with the names of its columns: ``Part: bolt M6; Weight: 12 g``."""
        pairs = zip(self.columns, self.cells, strict=True)
        return "; ".join(f"{name}: {cell}" if name else cell for name, cell in pairs if cell)


def rows_of(text: str) -> Iterator[Row]:
    """Yield the rows of a text's tables in order, without the rows of column names and of rules."""
    lines: list[tuple[int, str]] = []
    at = 0
    for line in [*text.split("\n"), ""]:
        if line.lstrip().startswith("|"):
            lines.append((at, line))
        elif lines:
            yield from _rows(lines)
            lines = []
        at += len(line) + 1


def _rows(lines: list[tuple[int, str]]) -> Iterator[Row]:
    ruled = len(lines) > 1 and _RULE.match(lines[1][1]) is not None
    names = _cells(lines[0][1]) if ruled else ()
    if not all(len(name) <= LONGEST_NAME for name in names) or len(set(filter(None, names))) < 2:
        names = ()  # no table with named columns
    for number, (start, line) in enumerate(lines[2:] if ruled else lines):
        cells = _cells(line)
        if _RULE.match(line) or not any(map(str.isalnum, line)):
            continue
        columns = tuple(names[i] if i < len(names) else "" for i in range(len(cells)))
        begin = start + len(line) - len(line.lstrip())
        yield Row(begin, start + len(line.rstrip()), cells, columns, lines[0][0], number)


def _cells(line: str) -> tuple[str, ...]:
    cells = [" ".join(cell.replace("\\|", "|").split()) for cell in _CELL.split(line.strip())]
    return tuple(cells[1:-1] if len(cells) > 2 and not cells[-1] else cells[1:])
