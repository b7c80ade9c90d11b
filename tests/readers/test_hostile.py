"""Files made to exhaust a reader: each is read within limits, or refused with a clear reason."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pypdfium2
import pytest

from commonplace.errors import ReadError
from commonplace.ingest import Pool
from commonplace.ingest.walk import Source
from commonplace.readers import ReadOptions, read
from commonplace.readers.pdf_headings import read_outline
from commonplace.types import ParsedDocument
from tests.readers.make_office import docx, packed, paragraph, xlsx

Read = Callable[[str, str | bytes], ParsedDocument | ReadError]
SECONDS = 30.0  # a worker's limit here; each of these took a minute and more, or all memory


@pytest.fixture
def outcome(tmp_path: Path, options: ReadOptions) -> Read:
    def read_file(name: str, content: str | bytes) -> ParsedDocument | ReadError:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        with Pool(replace(options, seconds=SECONDS), 1) as pool:
            ((_, result),) = pool.read([Source(path, tmp_path)])
        return result

    return read_file


def test_deeply_nested_elements_are_refused(outcome: Read) -> None:
    for element in ("<div>", "<ul><li>", "<x-y>"):
        result = outcome("a.html", f"<body>{element * 100_000}The seal is blue.")
        assert isinstance(result, ReadError) and "nested too deeply; save a simpler copy" in str(result)
    honest = "<br><p>A line.<li><b>Another.</b>" * 3_000  # most of it without an end, as in pages of old
    result = outcome("b.html", f"<body>{honest}{'<div>' * 400}The seal is blue.")
    assert isinstance(result, ParsedDocument) and any("seal is blue" in (item.text or "") for item in result.items)


def test_nested_tables_are_read_once(outcome: Read) -> None:
    deep = "<w:tbl><w:tr><w:tc>" * 11 + paragraph("The seal is blue.") + "</w:tc></w:tr></w:tbl>" * 11
    pile = "<w:tbl><w:tr><w:tc>" * 20_000 + "</w:tc></w:tr></w:tbl>" * 20_000
    result = outcome("a.docx", docx(deep * 60 + pile))
    assert isinstance(result, ParsedDocument)
    assert sum((item.text or "").count("The seal is blue.") for item in result.items) == 60


def test_an_endless_header_is_cut(outcome: Read) -> None:
    to = ", ".join(f"a{number}@x.org" for number in range(100_000))
    result = outcome(
        "a.eml", f"From: ann@x.org\r\nTo: {to}\r\nSubject: {'=?utf-8?q?a?= ' * 200_000}\r\n\r\nThe seal is blue."
    )
    assert isinstance(result, ParsedDocument) and any("seal is blue" in (item.text or "") for item in result.items)
    metadata = result.document.metadata
    assert metadata["from"] == ["ann@x.org"] and len(metadata["to"]) == 20  # type: ignore[arg-type]


def test_a_sheet_with_a_cell_far_out_costs_only_itself(outcome: Read) -> None:
    with zipfile.ZipFile(
        io.BytesIO(xlsx(Far=[["a", "b"], [1, 2]], Near=[["pump", "seal"], ["north", "blue"]]))
    ) as book:
        parts = {name: book.read(name) for name in book.namelist()}
    far = next(name for name, body in parts.items() if b">a<" in body)

    def with_row(row: bytes) -> ParsedDocument | ReadError:
        return outcome("a.xlsx", packed({**parts, far: parts[far].replace(b"</sheetData>", row + b"</sheetData>")}))

    result = with_row(b'<row r="1048576"><c r="XFD1048576"><v>7</v></c></row>')
    assert isinstance(result, ParsedDocument) and result.document.status == "partial"
    assert "sheet Far was skipped because it has cells far away from its table; delete these" in (
        result.document.error or ""
    )
    assert any("blue" in (item.text or "") for item in result.items)
    result = with_row(b'<row r="1048576"><c r="XFD1048576" s="1"/></row>')  # only its look: nothing is in it
    assert isinstance(result, ParsedDocument) and result.document.status == "ok"


def test_rows_that_are_left_out_are_reported(
    tmp_path: Path, options: ReadOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("commonplace.readers.sheets._MAX_ROWS", 3)
    for rows, error in ((3, None), (4, "only the first 3 rows of sheet One were read; split it")):
        (tmp_path / "a.xlsx").write_bytes(xlsx(One=[["pump", "seal"]] * rows))
        assert read(tmp_path / "a.xlsx", options).document.error == error


def test_the_output_of_a_notebook_cell_is_limited(outcome: Read) -> None:
    outputs = [{"output_type": "stream", "text": [f"epoch {number}\n"]} for number in range(100_000)]
    cells = [
        {"cell_type": "code", "source": "train()", "outputs": outputs},
        {"cell_type": "markdown", "source": "# End"},
    ]
    result = outcome("a.ipynb", json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    assert isinstance(result, ParsedDocument) and sum(len(item.text or "") for item in result.items) < 15_000


def test_an_endless_outline_is_cut() -> None:
    count = 21_000
    objects = [
        "<< /Type /Catalog /Pages 2 0 R /Outlines 4 0 R >>", "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] >>", f"<< /First 5 0 R /Last {4 + count} 0 R >>",
        *(f"<< /Title (Heading {n}) /Parent 4 0 R /Next {6 + n} 0 R /Dest [3 0 R /Fit] >>" for n in range(count)),
    ]  # fmt: skip
    body = "%PDF-1.4\n" + "".join(f"{n} 0 obj\n{body}\nendobj\n" for n, body in enumerate(objects, 1))
    document = pypdfium2.PdfDocument(f"{body}trailer << /Size {count + 5} /Root 1 0 R >>\n%%EOF".encode())
    assert len(read_outline(document)[0]) == 20_000
