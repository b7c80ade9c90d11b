"""Spreadsheets: cells as they are shown, tables where they are, and what lies beside them."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

import pytest

from commonplace.readers import ReadOptions, read
from commonplace.readers.number_formats import formatted, has_decimal_comma
from commonplace.readers.regions import SheetGrid
from commonplace.types import ParsedDocument
from tests.readers.make_office import R, packed, related

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
Reader = Callable[..., ParsedDocument]


@pytest.mark.parametrize(
    ("value", "code", "comma", "shown"),
    [
        (0.07, "0%", False, "7%"),
        (4109, "00000", False, "04109"),
        (1234.5, '#,##0.00 "€"', True, "1.234,50 €"),
        (1234.5, "[$€-407] #,##0.00", True, "€ 1.234,50"),
        (-5.5, "#,##0.00;[Red](#,##0.00)", False, "(5.50)"),
        (0, '0.0;-0.0;"none"', False, "none"),
        (1234567, '#,##0,"k"', False, "1,235k"),
        (5551234, "000-0000", False, "555-1234"),
        (0.000123, "0.00E+00", False, "1.23E-04"),
        (12, '0 "kg"', False, "12 kg"),
        (datetime.datetime(2024, 3, 1), "dd.mm.yyyy", False, "01.03.2024"),
        (datetime.datetime(2024, 3, 1, 15, 4), "d mmm yyyy h:mm AM/PM", False, "1 Mar 2024 3:04 PM"),
        (datetime.time(7, 30), "hh:mm", False, "07:30"),
        (datetime.timedelta(hours=30, minutes=5), "[h]:mm", False, "30:05"),
        (45352, 'yyyy"年"m"月"d"日"', False, "2024年3月1日"),
        (3, "General", False, None),
        (1.5, "# ?/?", False, None),
    ],
)
def test_number_formats(value: float, code: str, comma: bool, shown: str | None) -> None:
    assert formatted(value, code, comma=comma) == shown


def test_the_decimal_sign_follows_the_country_of_the_formats() -> None:
    assert has_decimal_comma(["dd.mm.yyyy"]) and has_decimal_comma(["#,##0.00 [$€-407]"])
    assert not has_decimal_comma(["yyyy-mm-dd", "0.00"]) and not has_decimal_comma(["dd.mm.yyyy", "[$-409]mmm"])


@pytest.fixture
def book(tmp_path: Path, options: ReadOptions) -> Reader:
    def read_sheet(
        cells: str, after: str = "", before: str = "", state: str = "visible", sheet: dict[str, str] | None = None,
        **parts: str,
    ) -> ParsedDocument:  # fmt: skip
        formats = '<numFmts><numFmt numFmtId="170" formatCode="000"/><numFmt numFmtId="171" formatCode="0%"/></numFmts>'
        styles = f'{formats}<cellXfs><xf numFmtId="0"/><xf numFmtId="170"/><xf numFmtId="171"/></cellXfs>'
        head = 'xmlns="http://schemas.openxmlformats.org/package/2006/'
        members: dict[str, str | bytes] = {
            "[Content_Types].xml": f'<Types {head}content-types"/>',
            "_rels/.rels": related(r1="officeDocument xl/workbook.xml"),
            "xl/workbook.xml": f'<workbook xmlns="{MAIN}" {R}><sheets><sheet name="S" sheetId="1" state="{state}" '
            'r:id="r1"/></sheets></workbook>',
            "xl/_rels/workbook.xml.rels": related(
                r1="worksheet worksheets/s.xml", r2="styles styles.xml", r3="sharedStrings sharedStrings.xml"
            ).replace('xmlns="x"', f'{head}relationships"'),
            "xl/styles.xml": f'<styleSheet xmlns="{MAIN}">{styles}</styleSheet>',
            "xl/worksheets/s.xml": f'<worksheet xmlns="{MAIN}"><sheetData>{cells}</sheetData>{after}</worksheet>',
            "xl/worksheets/_rels/s.xml.rels": related(**(sheet or {})),
        }
        members.update({f"xl/{name}" if "." in name else f"xl/{name}.xml": text for name, text in parts.items()})
        path = tmp_path / "a.xlsx"
        path.write_bytes(packed(members))
        return read(path, options)

    return read_sheet


def row(number: int, *values: str | float | tuple[float, int] | None) -> str:
    """Return a row; (value, style) has a number format, a text that begins with "=" is a formula without a value."""
    cells = ""
    for column, value in enumerate(values):
        at = f'r="{chr(65 + column)}{number}"'
        if isinstance(value, str) and value.startswith("="):
            cells += f"<c {at}><f>{value[1:]}</f><v></v></c>"
        elif isinstance(value, str):
            cells += f'<c {at} t="inlineStr"><is><t>{value}</t></is></c>'
        elif isinstance(value, tuple):
            cells += f'<c {at} s="{value[1]}"><v>{value[0]}</v></c>'
        elif value is not None:
            cells += f"<c {at}><v>{value}</v></c>"
    return f'<row r="{number}">{cells}</row>'


def texts(parsed: ParsedDocument) -> list[str]:
    return [item.text or "" for item in parsed.items]


def test_cells_are_read_as_they_are_shown(book: Reader) -> None:
    parsed = book(row(1, "Code", "Rate", "Both") + row(2, (7, 1), (0.25, 2), "=A2*B2"))
    assert texts(parsed) == ["| Code | Rate | Both |\n|---|---|---|\n| 007 | 25% | =A2*B2 |"]
    assert parsed.document.status == "partial"
    assert "1 formulas of sheet S have no stored result" in (parsed.document.error or "")


def test_merged_cells_and_titles_of_sheets(book: Reader) -> None:
    cells = row(1, "Prices") + row(2, "Engine", "Part") + row(3, "Mower", "Blade") + row(4, None, "Belt")
    merges = '<mergeCells><mergeCell ref="A1:B1"/><mergeCell ref="A3:A4"/></mergeCells>'
    parsed = book(cells, merges, state="hidden")
    assert texts(parsed) == ["| Engine | Part |\n|---|---|\n| Mower | Blade |\n| Mower | Belt |"]
    assert parsed.items[0].title == "S (hidden sheet) > Prices"


def test_comments_charts_and_boxes_are_read(book: Reader) -> None:
    chart = (
        '<c:chartSpace xmlns:c="c"><c:chart><c:plotArea><c:lineChart><c:ser><c:tx><c:v>Oil</c:v></c:tx><c:cat>'
        '<c:pt idx="0"><c:v>May</c:v></c:pt></c:cat><c:val>'
        '<c:pt idx="0"><c:v>5</c:v></c:pt></c:val></c:ser></c:lineChart></c:plotArea></c:chart></c:chartSpace>'
    )
    drawing = (
        '<wsDr xmlns:a="a"><anchor><from><row>9</row></from><graphicFrame><chart xmlns:r="r" r:id="ch"/></graphicFrame>'
        "</anchor><anchor><from><row>2</row></from><sp><txBody><a:p><a:r><a:t>Mind the oil."
        "</a:t></a:r></a:p></txBody></sp></anchor></wsDr>"
    )
    comments = (
        '<comments><authors><author>Ann</author></authors><commentList><comment ref="B2" authorId="0"><text><t>Ask Bo.'
        "</t></text></comment></commentList></comments>"
    )
    parsed = book(
        row(1, "Name", "Shift") + row(2, "Cleo", "late"),
        sheet={"d": "drawing ../drawing.xml", "c": "comments ../comments.xml"},
        drawing=drawing,
        comments=comments,
        chart=chart,
        **{"_rels/drawing.xml.rels": related(ch="chart chart.xml")},
    )
    assert texts(parsed)[1] == "Comment on B2 (Cleo, late) by Ann: Ask Bo.\n\nMind the oil."
    assert texts(parsed)[2] == "|  | Oil |\n|---|---|\n| May | 5 |" and parsed.items[2].title == "S > Line chart"


def tables_of(grid: SheetGrid) -> list[list[list[str]]]:
    return [[list(cells) for cells in block.rows] for block in grid.blocks() if hasattr(block, "rows")]


def test_tables_side_by_side_are_apart() -> None:
    rows = [
        ["Item", "Euros", "", "Name", "Town", ""],
        ["Oil", "5", "", "Ann", "Kiel", ""],
        ["Tar", "7", "", "Bo", "Bonn", ""],
        ["", "", "", "Cy", "Ulm", ""],
    ]
    assert tables_of(SheetGrid(rows)) == [
        [["Item", "Euros"], ["Oil", "5"], ["Tar", "7"]],
        [["Name", "Town"], ["Ann", "Kiel"], ["Bo", "Bonn"], ["Cy", "Ulm"]],
    ]


def test_large_tables_lose_no_cell_and_no_label() -> None:
    rows = [["Engine", "Part", "Euros"], *([f"m{n}" if n % 2 else "", f"p{n}", str(n)] for n in range(1, 70_001))]
    merged = [(number, 0, number + 1, 0) for number in range(1, 70_000, 2)]
    (table,) = tables_of(SheetGrid(rows, merged=merged))
    assert len(table) == 70_001 and table[2] == ["m1", "p2", "2"] and table[-1] == ["m69999", "p70000", "70000"]


def test_an_empty_column_inside_a_table_does_not_part_it() -> None:
    rows = [["Item", "2023", "", "Sum", "Share"], ["Oil", "5", "", "9", "1%"], ["Tar", "7", "", "8", "2%"]]
    assert len(tables_of(SheetGrid(rows))) == 1


def test_a_head_only_where_there_is_one(tmp_path: Path, options: ReadOptions) -> None:
    blocks = list(SheetGrid([["Rent", "700"], ["Water", "30"]]).blocks())
    assert [getattr(block, "has_head", None) for block in blocks] == [False]
    years = list(SheetGrid([["Item", "2023"], ["Water", "30"]]).blocks())
    assert [getattr(block, "has_head", None) for block in years] == [True]
    sizes = list(SheetGrid([["Size", "36", "37", "38"], ["Pairs", "4", "9", "2"]]).blocks())
    assert [getattr(block, "has_head", None) for block in sizes] == [True]
    (tmp_path / "a.csv").write_text("Rent,700\nWater,30\n")
    assert read(tmp_path / "a.csv", options).items[0].text == "|  |  |\n|---|---|\n| Rent | 700 |\n| Water | 30 |"


def test_raised_marks_in_cells_stay_apart(book: Reader) -> None:
    run = '<r><t>Pond of 10</t></r><r><rPr><vertAlign val="superscript"/></rPr><t>6</t></r>'
    run += '<r><t xml:space="preserve"> l</t></r>'
    cells = '<row r="1"><c r="A1" t="s"><v>0</v></c></row>'
    parsed = book(cells, sharedStrings=f'<sst xmlns="{MAIN}"><si>{run}</si></sst>')
    assert texts(parsed) == ["Pond of 10^6 l"]


def test_declared_tables_and_frozen_rows_say_what_the_head_is() -> None:
    rows = [["1", "2"], ["3", "4"], ["5", "6"]]
    named = list(SheetGrid(rows, tables={(1, 0, 2, 1): 1}).blocks())
    assert [getattr(block, "has_head", None) for block in named] == [None, True]
    frozen = list(SheetGrid(rows, frozen_rows=1).blocks())
    assert [getattr(block, "has_head", None) for block in frozen] == [True]
