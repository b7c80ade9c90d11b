"""Spreadsheets: CSV in any dialect, and the sheets of Excel and OpenDocument workbooks."""

from __future__ import annotations

import csv
import datetime
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

from commonplace.errors import ReadError
from commonplace.i18n import _
from commonplace.readers.blocks import Heading, LayoutBlock, Paragraph, Table, lay_out
from commonplace.readers.grids import has_head
from commonplace.readers.number_formats import formatted
from commonplace.readers.odf import sheet_blocks
from commonplace.readers.parts import File, Part
from commonplace.readers.regions import SheetGrid
from commonplace.readers.text import decode
from commonplace.readers.workbooks import SheetParts, WorkbookParts, column_name, column_of
from commonplace.readers.zipxml import Package, read_core_metadata

__all__ = ["read_csv", "read_workbook"]

_DELIMITERS = ",;\t|"
_MAX_CELL = 1_000_000  # characters of one cell
_MAX_ROWS = 200_000  # rows of a sheet
# Cells of a sheet, empty ones included: where memory is too small for them, calamine aborts the process.
_MAX_CELLS = 30_000_000
_FILLED_CELL = rb'<(?:\w+:)?c [^>]{0,99}?\br="%s"[^>]{0,99}(?<!/)>'  # an XLSX cell with content
_WIDE_CELLS = re.compile(_FILLED_CELL % rb"([A-Z]{2,3})\d{1,7}")
_ROW_NUMBERS = re.compile(_FILLED_CELL % rb"[A-Z]{1,3}(\d{1,7})")
_MAX_OPEN_DOCUMENT = 50_000_000  # bytes of XML; of a larger one only the values are read
_XLSX_ROWS = 1_048_576
_MAX_COLUMNS = 1_000


def read_csv(file: File) -> Iterator[Part]:
    """Yield the table in groups of rows, with the first row repeated as header of each group."""
    text, problem = decode(file.data)
    if problem:
        file.problems.append(problem)
    csv.field_size_limit(_MAX_CELL)
    separator = re.match(r"sep=(.)\r?\n", text)  # how Excel declares the delimiter
    if separator:
        text = text[separator.end() :]
    delimiter = separator[1] if separator else _delimiter(text)
    rows: list[list[str]] = []
    too_wide = False
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            too_wide = too_wide or len(row) > _MAX_COLUMNS
            rows.append(row[:_MAX_COLUMNS])
            if len(rows) > _MAX_ROWS:
                file.problems.append(
                    _("only the first {max_rows:,} rows were read; split it").format(max_rows=_MAX_ROWS)
                )
                break
    except csv.Error as error:
        raise ReadError(_("cannot be read as a table ({error}); save a new copy as CSV").format(error=error)) from None
    if too_wide:
        file.problems.append(
            _("only the first {max_columns:,} columns were read; split it").format(max_columns=_MAX_COLUMNS)
        )
    yield from lay_out(file, _tables(rows))


def _delimiter(text: str) -> str:
    """Return the delimiter that gives most rows at the beginning the same length over one cell; else a comma."""
    sample = text[:20_000].rpartition("\n")[0] or text[:20_000]
    best_delimiter, best_score = ",", 0.0
    for delimiter in _DELIMITERS:
        try:
            lengths = [len(row) for row in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter) if row]
        except csv.Error:
            continue
        multi_cell = [length for length in lengths if length > 1]
        if not multi_cell:
            continue
        common_length = max(set(multi_cell), key=multi_cell.count)
        score = multi_cell.count(common_length) / len(lengths) + 0.01 * min(common_length, 20)
        if score > best_score:
            best_delimiter, best_score = delimiter, score
    return best_delimiter


def read_workbook(file: File) -> Iterator[Part]:
    """Yield the sheets of a workbook (XLSX, XLSM, XLSB, XLS, ODS) as their cells show them."""
    from python_calamine import CalamineError, CalamineWorkbook, PasswordError

    package: Package | None = None
    if file.data.startswith(b"PK"):
        package = Package(file)
        for name in package.names:  # calamine unpacks by itself, so its quota is checked here
            file.quota.bytes -= package.size(name)
        if file.quota.bytes < 0:
            raise ReadError(_("larger than the limit on unpacked data; save its sheets one by one"))
        read_core_metadata(file, package.optional("docProps/core.xml"))
        if file.title is None and not file.metadata:  # an ODS
            read_core_metadata(file, package.optional("meta.xml"), date=("modified", ""))
    if package is not None and _is_small_open_document(package):
        yield from lay_out(file, sheet_blocks(file, package))
        return
    try:
        book = CalamineWorkbook.from_filelike(io.BytesIO(file.data))
    except PasswordError:
        raise ReadError(_("protected by a password; remove the password and add it again")) from None
    except (CalamineError, OSError, ValueError) as error:
        if b"E\0n\0c\0r\0y\0p\0t\0" in file.data:
            raise ReadError(_("protected by a password; remove the password and add it again")) from None
        detail = " ".join(str(error).split())[:100]
        raise ReadError(
            _("a workbook that cannot be opened ({detail}); save a new copy and add it again").format(detail=detail)
        ) from None
    yield from lay_out(file, _sheets(file, package, book))


def _is_small_open_document(package: Package) -> bool:
    """Return whether a workbook is an OpenDocument sheet, which holds its cells as they are shown, of a common size."""
    return "content.xml" in package.names and package.size("content.xml") <= _MAX_OPEN_DOCUMENT


def _cell_text(cell: Any, code: str | None = None, *, comma: bool = False) -> str:
    """Return what a cell shows; ``code`` is its number format."""
    if isinstance(cell, bool):
        return str(cell).upper()
    shown = formatted(cell, code, comma=comma) if code and not isinstance(cell, str) else None
    if shown is not None:
        return shown
    if isinstance(cell, float):
        text = str(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else f"{cell:.10g}"
        return text.replace(".", ",") if comma else text
    if isinstance(cell, datetime.datetime):
        midnight = cell.time() == datetime.time()
        return cell.date().isoformat() if midnight else cell.isoformat(" ", "minutes")
    return str(cell)


def _sheets(file: File, package: Package | None, book: Any) -> Iterator[LayoutBlock]:
    from python_calamine import CalamineError

    unreadable: list[str] = []
    workbook = WorkbookParts(file, package) if package is not None else None
    hidden = {sheet.name for sheet in workbook.sheets.values() if sheet.is_hidden} if workbook is not None else set()
    for name in [*book.sheet_names, *_chart_sheets(workbook, book.sheet_names)]:
        sheet_part = workbook.sheets.get(name) if workbook is not None else None
        yield Heading(f"{name} (hidden sheet)" if name in hidden else name)
        if workbook is not None and sheet_part is not None and sheet_part.is_chart:
            yield from workbook.drawn(name)
            continue
        if package is not None and sheet_part is not None and _spans_too_many_cells(file, package, sheet_part.member):
            file.problems.append(
                _(
                    "sheet {name} was skipped because it has cells far away from its table; delete these and add "
                    "it again"
                ).format(name=name)
            )
            continue
        try:
            sheet = book.get_sheet_by_name(name)
            rows = sheet.to_python(nrows=_MAX_ROWS)
        except (CalamineError, OSError, ValueError):
            unreadable.append(name)
            continue
        if sheet.height > _MAX_ROWS:
            file.problems.append(
                _("only the first {max_rows:,} rows of sheet {name} were read; split it").format(
                    max_rows=_MAX_ROWS, name=name
                )
            )
        parts = workbook.parts(name) if workbook is not None else SheetParts()
        comma = workbook is not None and workbook.has_comma
        marked = workbook.marked_texts if workbook is not None else {}
        yield from _sheet_blocks(file, name, sheet, rows, parts, comma, marked)
        if workbook is not None:
            yield from workbook.drawn(name)
    if unreadable:
        file.problems.append(
            _("{count} of {total} sheets cannot be read ({unreadable}); save a new copy and add it again").format(
                count=len(unreadable), total=len(book.sheet_names), unreadable=", ".join(unreadable[:5])
            )
        )


def _chart_sheets(workbook: WorkbookParts | None, names: list[str]) -> list[str]:
    sheets = workbook.sheets.values() if workbook is not None else ()
    return [sheet.name for sheet in sheets if sheet.is_chart and sheet.name not in names]


def _sheet_blocks(
    file: File, name: str, sheet: Any, values: list[list[Any]], parts: SheetParts, comma: bool, marked: dict[str, str]
) -> Iterator[LayoutBlock]:
    """Yield the tables of a sheet as its cells show them, then the comments on its cells."""
    top, left = sheet.start or (0, 0)  # empty rows above are left out
    formats = parts.formats
    rows = [
        [_cell_text(cell, formats.get((row, column)), comma=comma) for column, cell in enumerate(cells, left)]
        for row, cells in enumerate(values, top)
    ]
    if marked:
        rows = [[marked.get(cell, cell) for cell in cells] for cells in rows]
    for (row, column), formula in parts.formulas.items():
        if top <= row < top + len(rows) and left <= column < left + len(rows[row - top]):
            cells = rows[row - top]
            cells[column - left] = cells[column - left] or formula
    if parts.formulas:
        file.problems.append(
            _(
                "{count} formulas of sheet {name} have no stored result and are shown as they are written; open it in "
                "a spreadsheet program, save it, and add it again"
            ).format(count=len(parts.formulas), name=name)
        )
    merged = [(*begin, *end) for begin, end in (sheet.merged_cell_ranges or ())]
    grid = SheetGrid(rows, top + 1, left, merged, parts.tables, parts.frozen_rows)
    yield from grid.blocks()
    for (row, column), author, text in parts.comments:
        cells = rows[row - top] if top <= row < top + len(rows) else []
        label = next(filter(None, cells), "")
        cell = cells[column - left] if left <= column < left + len(cells) else ""
        about = ", ".join(dict.fromkeys(filter(None, (label, cell))))
        signed = f" by {author}" if author and not author.startswith("tc=") else ""
        place = f"{column_name(column)}{row + 1}"
        yield Paragraph(f"Comment on {place}{f' ({about})' if about else ''}{signed}: {text}", list_item=True)


def _tables(rows: Sequence[Sequence[str]]) -> Iterator[LayoutBlock]:
    """Yield the blocks of a CSV: groups of rows between empty rows as tables, single cells as paragraphs."""
    table_rows: list[Sequence[str]] = []
    for number, row in enumerate([*rows, ()], start=1):
        filled = [cell for cell in row if str(cell).strip()]
        if len(filled) > 1 or (filled and len(table_rows) > 1):
            table_rows.append(row)
            continue
        if len(table_rows) == 1:
            yield Paragraph(" | ".join(filter(None, map(str, table_rows[0]))), list_item=True, row=number - 1)
        elif table_rows:
            yield Table(table_rows, row=number - len(table_rows), has_head=has_head(table_rows))
        table_rows = []
        if filled:
            yield Paragraph(filled[0], list_item=True, row=number)


def _spans_too_many_cells(file: File, package: Package, member: str) -> bool:
    """Return whether an XLSX sheet spans more cells, empty ones included, than the limit."""
    if not member.endswith(".xml") or member not in package.names:
        return False
    data = package.read(member)
    file.quota.bytes += len(data)  # it is already counted in the quota
    width = max((column_of(letters.decode()) + 1 for letters in set(_WIDE_CELLS.findall(data))), default=26)
    return width * _XLSX_ROWS > _MAX_CELLS and width * max(map(int, _ROW_NUMBERS.findall(data))) > _MAX_CELLS
