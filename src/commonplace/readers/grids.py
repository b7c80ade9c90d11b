"""Tables with merged cells: each row has the label of every cell that reaches over it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from commonplace.readers.blocks import EncodedPicture, LayoutBlock, Paragraph, Table, clean_alt_text
from commonplace.types import Box

__all__ = ["Grid", "block_text", "cell_text", "has_head", "is_number"]

_PLAIN = re.compile(r"\d{1,12}(\.\d{1,6})?")
_NUMBER = re.compile(r"[-+−(]?[\d.,'’\s]*\d[\d.,'’\s]*\)?\s?(%|[€$£¥]|EUR|USD|CHF)?|[€$£¥]\s?[\d.,'’]+")
_YEAR = re.compile(r"(1[89]|20|21)\d\d")
_MAX_HEIGHT, _MAX_WIDTH = 20_000, 1_000  # rows and columns that a merged cell may reach over
_MAX_CELLS = 2_000_000
_LONG_DOWN, _LONG_ACROSS = 200, 80  # characters; a longer text of a merged cell is not repeated
_MAX_HEAD_ROWS = 4


@dataclass(slots=True, eq=False)
class _GridCell:
    text: str
    row: int
    column: int
    width: int


class Grid:
    """The cells of a table by row and column, from 0. A merged cell covers several places."""

    def __init__(self) -> None:
        self._cells: dict[tuple[int, int], _GridCell] = {}
        self._height = self._width = 0

    def place(self, row: int, column: int, text: str, *, height: int = 1, width: int = 1) -> None:
        """Put a cell at a place; what it covers is not overwritten later."""
        height, width = max(1, min(height, _MAX_HEIGHT)), max(1, min(width, _MAX_WIDTH))
        cell = _GridCell(" ".join(text.split()), row, column, width)
        for down in range(height):
            self._cover(row + down, cell)

    def extend_down(self, row: int, column: int) -> None:
        """Let the cell above this place reach one row further down."""
        above = self._cells.get((row - 1, column))
        if above is not None and above.column == column:
            self._cover(row, above)

    def extend_across(self, row: int, column: int) -> None:
        """Let the cell before this place reach one column further."""
        before = self._cells.get((row, column - 1))
        if before is not None and before.row == row:
            before.width = max(before.width, column - before.column + 1)
            self._cells.setdefault((row, column), before)

    def _cover(self, row: int, cell: _GridCell) -> None:
        if len(self._cells) + cell.width > _MAX_CELLS:
            return
        for column in range(cell.column, cell.column + cell.width):
            self._cells.setdefault((row, column), cell)
        if cell.text:  # a cell that only covers empty rows does not make the table longer
            self._height = max(self._height, cell.row + 1)
            self._width = max(self._width, cell.column + cell.width)

    @property
    def is_single_column(self) -> bool:
        """Whether the table is no more than a frame around other content."""
        return len({cell.column for cell in self._cells.values()}) < 2

    def blocks(
        self, *, head_rows: int | None = None, box: Box | None = None, row: int | None = None
    ) -> Iterator[Paragraph | Table]:
        """Yield the table, after the rows at its top that are one cell over its full width.

        ``head_rows``: how many rows are its head, 0 for none; None finds out. Several become one: "2023 Units".
        ``row`` is the number of its first row in a sheet.
        """
        first = 0
        while first < self._height - 1 and self._is_full_width(first):
            cell = self._cells[first, 0]
            if cell.row == first:
                yield Paragraph(cell.text, list_item=True, box=box, row=None if row is None else row + first)
            first += 1
        if head_rows is None:
            is_named = has_head([self._labels(number) for number in range(first, min(first + 2, self._height))])
        else:
            is_named = head_rows > 0
        rows = [self._texts(number, across=is_named) for number in range(first, self._height)]
        count = self._head_rows(first) if head_rows is None else max(0, head_rows - first)
        if 1 < count < len(rows):
            heads = [self._labels(number) for number in range(first, first + count)]
            rows = [[" ".join(dict.fromkeys(filter(None, names))) for names in zip(*heads, strict=True)], *rows[count:]]
            first += count - 1
        kept = [column for column in range(self._width) if self._begins_a_cell(column)]
        if rows:
            cells = [[texts[column] for column in kept] for texts in rows]
            yield Table(cells, box, None if row is None else row + first, has_head=is_named)

    def _is_full_width(self, row: int) -> bool:
        cell = self._cells.get((row, 0))
        return cell is not None and self._width > 1 and cell.width >= self._width and bool(cell.text)

    def _begins_a_cell(self, column: int) -> bool:
        """Whether any cell begins in this column; if none does, it only splits the cells left of it."""
        return any(
            cell is not None and cell.column == column
            for cell in (self._cells.get((row, column)) for row in range(self._height))
        )

    def _texts(self, row: int, *, across: bool) -> list[str]:
        """Return a row; ``across``: a cell over several columns stands in each of them."""
        texts = []
        cells = [self._cells.get((row, column)) for column in range(self._width)]
        is_alone = len({id(cell) for cell in cells if cell is not None and cell.text}) < 2  # the title of some rows
        for column, cell in enumerate(cells):
            text = cell.text if cell is not None else ""
            if cell is not None and (
                (cell.row < row and len(text) > _LONG_DOWN)
                or (cell.column < column and (len(text) > _LONG_ACROSS or is_alone or not across))
            ):
                text = ""
            texts.append(text)
        return texts

    def _labels(self, row: int) -> list[str]:
        return [cell.text if (cell := self._cells.get((row, column))) else "" for column in range(self._width)]

    def _head_rows(self, first: int) -> int:
        """Return how many rows name the columns: more than one where the first has names over several columns.

        Its other cells then reach down to the last row of the head, or are empty.
        """
        top = [self._cells.get((first, column)) for column in range(self._width)]
        if not any(cell is not None and cell.text and 1 < cell.width < self._width for cell in top):
            return 1
        depths, is_open = [1], False
        for column, cell in enumerate(top):
            depth = 1
            while cell is not None and depth <= _MAX_HEAD_ROWS and self._cells.get((first + depth, column)) is cell:
                depth += 1
            if cell is not None and cell.width == 1 and cell.text:
                depths.append(depth)
            is_open = is_open or cell is None or not cell.text
        depth = max(depths)
        if depth == 1 and is_open:
            below = [text for text in self._labels(first + 1) if text]
            named = len(below) == self._width and len(set(below)) > 1 and all(any(map(str.isalpha, t)) for t in below)
            depth = 2 if named else 1
        return depth if depth <= _MAX_HEAD_ROWS and first + depth < self._height else 1


def cell_text(table: Table) -> str:
    """Return a table that stands inside a cell on one line: "Bread: 220 degrees; Cake: 180 degrees"."""
    lines = []
    for row in table.rows:
        texts = [" ".join(str(cell).split()) for cell in row]
        head, *rest = list(filter(None, texts)) or [""]
        lines.append(f"{head}: {', '.join(rest)}" if rest else head)
    return "; ".join(filter(None, lines))


def block_text(block: LayoutBlock) -> str:
    """Return the text of a block on its own: of a table on one line, of a picture what it shows."""
    if isinstance(block, EncodedPicture):
        description = clean_alt_text(block.description)
        return f"[{description}]" if description else ""
    return cell_text(block) if isinstance(block, Table) else block.text


def is_number(text: str) -> bool:
    """Return whether a cell shows a number, with its sign, unit of money or percent."""
    return _NUMBER.fullmatch(text.strip()) is not None


def has_head(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether the first row names the columns: it has no number over another one.

    Years are names, and so are numbers that go on by one step: sizes 36, 37, 38.
    """
    if len(rows) < 2:
        return False
    named = [cell.strip() for cell in rows[0] if cell.strip()]
    numbers = [float(cell) for cell in named if _PLAIN.fullmatch(cell)]
    steps = {round(after - before, 6) for before, after in pairwise(numbers)}
    if len(numbers) > 2 and len(steps) == 1 and steps != {0.0} and len(numbers) >= len(named) - 1:
        return len(numbers) < len(named)
    for first, second in zip(rows[0], rows[1], strict=False):
        if is_number(first) and not _YEAR.fullmatch(first.strip()) and (is_number(second) or not second.strip()):
            return False
    return bool(named) and not all(map(is_number, named))
