"""Where the tables of a sheet are: parts of it with empty rows and columns between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from commonplace.readers.blocks import LayoutBlock, Paragraph, Table
from commonplace.readers.grids import Grid, has_head, is_number

__all__ = ["SheetGrid"]

_MAX_DEPTH = 40
_LARGE = 200_000  # cells of a table that is kept row by row, not cell by cell

Range = tuple[int, int, int, int]


@dataclass(slots=True)
class SheetGrid:
    """The texts of a sheet by row, from its first row and column that are used.

    ``first`` is the number of the first row, from 1, and ``left`` the number of the first column, from 0.
    ``merged`` and ``tables`` are ranges in the sheet; ``tables`` says how many rows of each are its head.
    """

    rows: Sequence[Sequence[str]]
    first: int = 1
    left: int = 0
    merged: Sequence[Range] = ()
    tables: Mapping[Range, int] = field(default_factory=dict)
    frozen_rows: int = 0
    _spans: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict, init=False)
    _covered: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        height, width = len(self.rows), max(map(len, self.rows), default=0)
        for top, left, bottom, right in self.merged:
            row, column = top - self.first + 1, left - self.left
            last_row, last_column = min(bottom - self.first + 1, height - 1), min(right - self.left, width - 1)
            if row < 0 or column < 0 or last_row < row or last_column < column or not self._text(row, column):
                continue
            if (last_row - row + 1) * (last_column - column + 1) > _LARGE:
                continue  # no label reaches that far
            self._spans[row, column] = (last_row - row + 1, last_column - column + 1)
            for down in range(row, last_row + 1):
                for across in range(column, last_column + 1):
                    self._covered[down, across] = (row, column)

    def blocks(self) -> Iterator[LayoutBlock]:
        """Yield the tables and lone cells, from the top, those side by side from the left."""
        height, width = len(self.rows), max(map(len, self.rows), default=0)
        declared = []
        taken: list[Range] = []
        for (top, left, bottom, right), head_rows in self.tables.items():
            row, column = top - self.first + 1, left - self.left
            area = (
                max(0, row),
                max(0, column),
                min(bottom - self.first + 1, height - 1),
                min(right - self.left, width - 1),
            )
            if area[0] <= area[2] and area[1] <= area[3]:
                declared.append((area, head_rows))
                taken.append(area)
        regions: list[tuple[Range, int | None]] = list(declared)
        regions += [(area, None) for area in self._cut((0, 0, height - 1, width - 1), taken, 0)]
        for area, known_head in sorted(regions, key=lambda region: region[0]):
            yield from self._region(area, known_head, taken if known_head is None else ())

    def _text(self, row: int, column: int) -> str:
        cells = self.rows[row] if row < len(self.rows) else ()
        return cells[column].strip() if column < len(cells) else ""

    def _is_filled(self, row: int, column: int, taken: Sequence[Range]) -> bool:
        if taken and _is_in(row, column, taken):
            return False
        return bool(self._text(row, column)) or (row, column) in self._covered

    def _cut(self, area: Range, taken: Sequence[Range], depth: int) -> Iterator[Range]:
        """Yield the parts of an area with empty rows between them, then of each those with empty columns between."""
        top, left, bottom, right = area
        band: int | None = None
        for row in range(top, bottom + 2):
            cells = self.rows[row] if row <= bottom else ()
            filled = row <= bottom and (
                any(cell.strip() for cell in cells[left : right + 1])
                if not taken and not self._covered
                else any(self._is_filled(row, column, taken) for column in range(left, right + 1))
            )
            if filled and band is None:
                band = row
            elif not filled and band is not None:
                yield from self._cut_columns((band, left, row - 1, right), taken, depth)
                band = None

    def _cut_columns(self, area: Range, taken: Sequence[Range], depth: int) -> Iterator[Range]:
        top, left, bottom, right = area
        filled = [
            any(self._is_filled(row, column, taken) for row in range(top, bottom + 1))
            for column in range(left, right + 1)
        ]
        columns = [left + number for number, is_filled in enumerate(filled) if is_filled]
        for before, after in pairwise(columns):
            if after - before > 1 and depth < _MAX_DEPTH:
                sides = (top, columns[0], bottom, before), (top, after, bottom, columns[-1])
                if self._are_apart(*sides, taken, after - before):
                    for side in sides:
                        yield from self._cut(side, taken, depth + 1)
                    return
        yield (top, columns[0], bottom, columns[-1])

    def _are_apart(self, left: Range, right: Range, taken: Sequence[Range], gap: int) -> bool:
        """Whether two parts side by side are tables of their own, and no table with an empty column in it."""
        extents = []
        for top, first, bottom, last in (left, right):
            rows = [
                row
                for row in range(top, bottom + 1)
                if any(self._is_filled(row, column, taken) for column in range(first, last + 1))
            ]
            columns = [
                column
                for column in range(first, last + 1)
                if any(self._is_filled(row, column, taken) for row in range(top, bottom + 1))
            ]
            if len(rows) < 2 or len(columns) < 2:
                return False
            extents.append((rows[0], rows[-1]))
        if extents[0] != extents[1]:
            return True
        names = [self._text(extents[0][0], side[1]) for side in (left, right)]
        labels = [self._text(row, right[1]) for row in range(extents[1][0] + 1, extents[1][1] + 1)]
        labels = [label for label in labels if label]
        return names[0] == names[1] or (bool(labels) and sum(map(is_number, labels)) * 2 < len(labels) and gap > 1)

    def _region(self, area: Range, head_rows: int | None, taken: Sequence[Range]) -> Iterator[LayoutBlock]:
        """Yield a part of the sheet: lines with one cell as paragraphs until a table begins, then the table."""
        top, left, bottom, right = area
        while head_rows is None and top <= bottom:
            cells = {
                self._covered.get((top, column), (top, column))
                for column in range(left, right + 1)
                if self._is_filled(top, column, taken)
            }
            if len(cells) > 1:
                break
            place = next(iter(cells), None)
            if place is not None and place[0] == top:
                yield Paragraph(self._text(*place), list_item=True, row=top + self.first)
            top += 1
        if top > bottom:
            return
        rows = [[self._text(row, column) for column in range(left, right + 1)] for row in range(top, bottom + 1)]
        if len(rows) == 1:
            yield Paragraph(" | ".join(filter(None, rows[0])), list_item=True, row=top + self.first)
            return
        if head_rows is None:
            frozen = self.frozen_rows - (top + self.first - 1)
            head_rows = frozen if 0 < frozen < 4 and frozen < len(rows) else None
        spans = [(at, span) for at, span in self._spans.items() if top <= at[0] <= bottom and left <= at[1] <= right]
        if len(rows) * len(rows[0]) > _LARGE:  # its merged cells are filled in place
            for (row, column), (height, width) in spans:
                for down in range(row, min(row + height, bottom + 1)):
                    for across in range(column, min(column + width, right + 1)):
                        rows[down - top][across - left] = self._text(row, column)
            is_named = has_head(rows) if head_rows is None else head_rows > 0
            yield Table(rows, row=top + self.first, has_head=is_named)
            return
        grid = Grid()
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                text = "" if taken and _is_in(row, column, taken) else self._text(row, column)
                height, width = self._spans.get((row, column), (1, 1))
                if text:
                    grid.place(row - top, column - left, text, height=height, width=width)
        yield from grid.blocks(head_rows=head_rows, row=top + self.first)


def _is_in(row: int, column: int, areas: Sequence[Range]) -> bool:
    return any(top <= row <= bottom and left <= column <= right for top, left, bottom, right in areas)
