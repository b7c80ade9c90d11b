"""Tables: comma-separated values in any dialect, and the sheets of Excel and OpenDocument workbooks."""

from __future__ import annotations

import csv
import datetime
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

from commonplace.errors import ReadError
from commonplace.readers.blocks import Block, Heading, Table, Words, lay_out
from commonplace.readers.docx import embedded_picture
from commonplace.readers.parts import File, Part
from commonplace.readers.text import decode
from commonplace.readers.zipxml import Package, attribute, describe, local

__all__ = ["read_csv", "read_workbook"]

_DELIMITERS = ",;\t|"
_LONGEST = 1_000_000  # characters of one cell
_ROWS = 200_000  # of a sheet
_CELLS = 30_000_000  # of a sheet, empty ones too: where there is no room for these, calamine ends the process
_FILLED = rb'<(?:\w+:)?c [^>]{0,99}?\br="%s"[^>]{0,99}(?<!/)>'  # a cell of an XLSX that holds something
_WIDE = re.compile(_FILLED % rb"([A-Z]{2,3})\d{1,7}")
_HIGH = re.compile(_FILLED % rb"[A-Z]{1,3}(\d{1,7})")
_ROWS_AT_MOST = 1_048_576
_COLUMNS = 1_000


def read_csv(file: File) -> Iterator[Part]:
    """Yield the table in groups of rows, the first row over each group."""
    text, problem = decode(file.data)
    if problem:
        file.problems.append(problem)
    csv.field_size_limit(_LONGEST)
    separator = re.match(r"sep=(.)\r?\n", text)  # Excel's own way to say it
    if separator:
        text = text[separator.end() :]
    delimiter = separator[1] if separator else _delimiter(text)
    rows: list[list[str]] = []
    wide = False
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            wide = wide or len(row) > _COLUMNS
            rows.append(row[:_COLUMNS])
            if len(rows) > _ROWS:
                file.problems.append(f"only the first {_ROWS:,} rows are kept; split it")
                break
    except csv.Error as error:
        raise ReadError(f"no table that can be read ({error}); save it anew as CSV") from None
    if wide:
        file.problems.append(f"only the first {_COLUMNS:,} columns are kept; split it")
    yield from lay_out(file, _tables(rows))


def _delimiter(text: str) -> str:
    """Return the delimiter that makes most rows of the beginning equally long, above one cell; else a comma."""
    sample = text[:20_000].rpartition("\n")[0] or text[:20_000]
    best, most = ",", 0.0
    for delimiter in _DELIMITERS:
        try:
            lengths = [len(row) for row in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter) if row]
        except csv.Error:
            continue
        wide = [length for length in lengths if length > 1]
        if not wide:
            continue
        usual = max(set(wide), key=wide.count)
        score = wide.count(usual) / len(lengths) + 0.01 * min(usual, 20)
        if score > most:
            best, most = delimiter, score
    return best


def read_workbook(file: File) -> Iterator[Part]:
    """Yield the sheets of a workbook (XLSX, XLSM, XLSB, XLS, ODS) by the values that its cells show."""
    from python_calamine import CalamineError, CalamineWorkbook, PasswordError

    pictures: dict[str, list[tuple[str, str]]] = {}
    package: Package | None = None
    if file.data.startswith(b"PK"):
        package = Package(file)
        for name in package.names:  # calamine unpacks by itself: what it may unpack is asked here
            file.quota.bytes -= package.size(name)
        if file.quota.bytes < 0:
            raise ReadError("more than may be unpacked of one file; save its sheets one by one")
        describe(file, package.optional("docProps/core.xml"))
        if file.title is None and not file.metadata:  # an ODS
            describe(file, package.optional("meta.xml"), date=("modified", ""))
        pictures = _pictures(package)
    try:
        book = CalamineWorkbook.from_filelike(io.BytesIO(file.data))
    except PasswordError:
        raise ReadError("protected by a password; remove the password and add it again") from None
    except (CalamineError, OSError, ValueError) as error:
        if b"E\0n\0c\0r\0y\0p\0t\0" in file.data:
            raise ReadError("protected by a password; remove the password and add it again") from None
        detail = " ".join(str(error).split())[:100]
        raise ReadError(f"a workbook that cannot be opened ({detail}); save it anew and add it again") from None
    yield from lay_out(file, _sheets(file, package, book, pictures))


def _shown(cell: Any) -> str:
    if isinstance(cell, bool):
        return str(cell).upper()
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else f"{cell:.10g}"
    if isinstance(cell, datetime.datetime):
        midnight = cell.time() == datetime.time()
        return cell.date().isoformat() if midnight else cell.isoformat(" ", "minutes")
    return str(cell)


def _sheets(
    file: File, package: Package | None, book: Any, pictures: dict[str, list[tuple[str, str]]]
) -> Iterator[Block]:
    from python_calamine import CalamineError

    bad: list[str] = []
    members = dict(_members(package)) if package is not None else {}
    for name in book.sheet_names:
        if package is not None and name in members and _is_too_far(file, package, members[name]):
            file.problems.append(f"sheet {name} has cells too far from its table; delete these and add it again")
            continue
        try:
            sheet = book.get_sheet_by_name(name)
            rows = [[_shown(cell) for cell in row] for row in sheet.to_python(nrows=_ROWS)]
        except (CalamineError, OSError, ValueError):
            bad.append(name)
            continue
        if sheet.height > _ROWS:
            file.problems.append(f"only the first {_ROWS:,} rows of sheet {name} are kept; split it")
        yield Heading(name)
        yield from _tables(rows)
        for member, words in pictures.get(name, []):
            if package is not None:
                yield from embedded_picture(file, package, member, words)
    if bad:
        file.problems.append(f"{len(bad)} of {len(book.sheet_names)} sheets cannot be read ({', '.join(bad[:5])})")


def _tables(rows: Sequence[Sequence[str]]) -> Iterator[Block]:
    """Yield what stands on a sheet: blocks of rows with an empty row between them, lone cells as words."""
    block: list[Sequence[str]] = []
    for row in [*rows, ()]:
        filled = [cell for cell in row if str(cell).strip()]
        if len(filled) > 1 or (filled and len(block) > 1):
            block.append(row)
            continue
        if len(block) == 1:
            yield Words(" | ".join(filter(None, map(str, block[0]))), item=True)
        elif block:
            yield Table(block)
        block = []
        if filled:
            yield Words(filled[0], item=True)


def _pictures(package: Package) -> dict[str, list[tuple[str, str]]]:
    """Return sheet name -> its pictures: member and description."""
    found: dict[str, list[tuple[str, str]]] = {}
    for name, member in _members(package):
        for kind, drawing in package.related(member).values():
            root = package.optional(drawing) if kind == "drawing" else None
            images = package.related(drawing)
            for picture in (one for one in root.iter() if local(one) == "pic") if root is not None else ():
                described = next((one for one in picture.iter() if local(one) == "cNvPr"), None)
                blip = next((one for one in picture.iter() if local(one) == "blip"), None)
                kind, image = images.get(attribute(blip, "embed") or "", ("", ""))
                if kind == "image":
                    words = attribute(described, "descr") or ""
                    found.setdefault(name, []).append((image, words))
    return found


def _members(package: Package) -> Iterator[tuple[str, str]]:
    """Yield the sheets of an XLSX: name and member."""
    book = package.optional("xl/workbook.xml")
    related = package.related("xl/workbook.xml")
    for sheet in (one for one in book.iter() if local(one) == "sheet") if book is not None else ():
        yield attribute(sheet, "name") or "", related.get(attribute(sheet, "id") or "", ("", ""))[1]


def _is_too_far(file: File, package: Package, member: str) -> bool:
    """Return whether a sheet of an XLSX spans more cells, empty or not, than there is room for."""
    if not member.endswith(".xml") or member not in package.names:
        return False
    data = package.read(member)
    file.quota.bytes += len(data)  # it was counted already
    width = max(map(_column, set(_WIDE.findall(data))), default=26)
    return width * _ROWS_AT_MOST > _CELLS and width * max(map(int, _HIGH.findall(data))) > _CELLS


def _column(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = 26 * number + letter - 64
    return number
