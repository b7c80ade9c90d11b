"""Word files: what a person sees of them is read, as what it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from commonplace.readers import ReadOptions, read
from commonplace.types import ParsedDocument
from tests.readers.make_office import A, R, W, docx, paragraph, related

M = 'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"'
Reader = Callable[..., ParsedDocument]


@pytest.fixture
def word(tmp_path: Path, options: ReadOptions) -> Reader:
    def read_body(body: str, **parts: str) -> ParsedDocument:
        path = tmp_path / "a.docx"
        names = {f"word/{name}.xml": text for name, text in parts.items()}
        kinds = {"header1": "header", "footer1": "footer", "chart1": "chart", "data1": "diagramData"}
        relations = related(**{name: f"{kinds.get(name, name)} {name}.xml" for name in ("styles", *parts)})
        path.write_bytes(docx(body, **names, **{"word/_rels/document.xml.rels": relations}))
        return read(path, options)

    return read_body


def text_of(parsed: ParsedDocument) -> str:
    return "\n".join(item.text or "" for item in parsed.items)


def run(words: str, properties: str = "") -> str:
    return f'<w:r><w:rPr>{properties}</w:rPr><w:t xml:space="preserve">{words}</w:t></w:r>'


def cell(words: str, properties: str = "", inside: str = "") -> str:
    return f"<w:tc><w:tcPr>{properties}</w:tcPr>{inside}{paragraph(words)}</w:tc>"


def prop(name: str, value: str) -> str:
    return f'<w:{name} w:val="{value}"/>'


RAISED = prop("vertAlign", "superscript")


def test_rows_under_a_merged_cell_have_its_label(word: Reader) -> None:
    body = (
        f"<w:tbl><w:tr>{cell('Engine')}{cell('Part')}{cell('Euros')}</w:tr>"
        f"<w:tr>{cell('Mower', prop('vMerge', 'restart'))}{cell('Blade')}{cell('20')}</w:tr>"
        f"<w:tr>{cell('', '<w:vMerge/>')}{cell('Belt')}{cell('8')}</w:tr>"
        f'<w:tr><w:trPr><w:gridBefore w:val="1"/></w:trPr>{cell("Any", prop("gridSpan", "2"))}</w:tr></w:tbl>'
    )
    assert text_of(word(body)) == (
        "| Engine | Part | Euros |\n|---|---|---|\n| Mower | Blade | 20 |\n| Mower | Belt | 8 |\n|  | Any |  |"
    )


def test_names_over_several_columns_join_the_names_below(word: Reader) -> None:
    wide = prop("gridSpan", "2")
    body = (
        f"<w:tbl><w:tr>{cell('Region', prop('vMerge', 'restart'))}{cell('2023', wide)}{cell('2024', wide)}</w:tr>"
        f"<w:tr>{cell('', '<w:vMerge/>')}{cell('Units')}{cell('Euros')}{cell('Units')}{cell('Euros')}</w:tr>"
        f"<w:tr>{''.join(map(cell, ('North', '10', '99', '12', '130')))}</w:tr></w:tbl>"
    )
    assert text_of(word(body)).splitlines()[0] == "| Region | 2023 Units | 2023 Euros | 2024 Units | 2024 Euros |"


def test_a_table_in_a_cell_stays_in_its_row(word: Reader) -> None:
    inner = f"<w:tbl><w:tr>{cell('Rye')}{cell('200')}</w:tr><w:tr>{cell('Pie')}{cell('170')}</w:tr></w:tbl>"
    body = (
        f"<w:tbl><w:tr>{cell('Device')}{cell('Heat')}</w:tr><w:tr>{cell('Oven')}{cell('', inside=inner)}</w:tr></w:tbl>"
    )
    assert text_of(word(body)).endswith("| Oven | Rye: 200; Pie: 170 |")


def test_a_sentence_before_a_table_is_no_title(word: Reader) -> None:
    grid = f"<w:tbl><w:tr>{cell('Room')}{cell('Size')}</w:tr><w:tr>{cell('Attic')}{cell('9')}</w:tr></w:tbl>"
    parsed = word(paragraph("The flat costs 700 euros.") + grid + paragraph("Rooms", "H1") + paragraph("Sizes") + grid)
    assert [item.title for item in parsed.items] == [None, None, "Rooms > Sizes"]
    assert parsed.items[0].text == "The flat costs 700 euros."


def test_marks_stay_apart(word: Reader) -> None:
    body = (
        f"<w:p>{run('About 10')}{run('7', RAISED)}{run(' cells cost 300')}{run('2', RAISED)}{run(' euros on the 5')}"
        f"{run('th', RAISED)}{run(' for 8 m')}{run('2', RAISED)}{run(' of H')}"
        f"{run('2', prop('vertAlign', 'subscript'))}"
        f"{run('O.')}</w:p>"
    )
    assert text_of(word(body)) == "About 10^7 cells cost 300 [2] euros on the 5th for 8 m^2 of H2O."


NUMBERING = (
    f'<w:numbering {W}><w:abstractNum w:abstractNumId="1">'
    '<w:lvl w:ilvl="0"><w:start w:val="1"/><w:numFmt w:val="upperRoman"/><w:lvlText w:val="Part %1"/></w:lvl>'
    '<w:lvl w:ilvl="1"><w:start w:val="1"/><w:numFmt w:val="decimal"/><w:isLgl/><w:lvlText w:val="%1.%2"/></w:lvl>'
    '</w:abstractNum><w:abstractNum w:abstractNumId="2"><w:lvl w:ilvl="0"><w:numFmt w:val="bullet"/></w:lvl>'
    '</w:abstractNum><w:num w:numId="5"><w:abstractNumId w:val="1"/></w:num>'
    '<w:num w:numId="6"><w:abstractNumId w:val="2"/></w:num><w:num w:numId="7"><w:abstractNumId w:val="1"/>'
    '<w:lvlOverride w:ilvl="0"><w:startOverride w:val="9"/></w:lvlOverride></w:num></w:numbering>'
)


def numbered(words: str, number: int, level: int, style: str = "") -> str:
    head = f'<w:pStyle w:val="{style}"/>' if style else ""
    place = prop("ilvl", str(level)) + prop("numId", str(number))
    return f"<w:p><w:pPr>{head}<w:numPr>{place}</w:numPr></w:pPr>{run(words)}</w:p>"


def test_automatic_numbers_are_computed(word: Reader) -> None:
    body = (
        numbered("Rent", 5, 0) + numbered("Due.", 5, 1) + numbered("Late.", 5, 1) + numbered("Use", 5, 0, "H1")
        + numbered("Quiet.", 5, 1) + numbered("A point.", 6, 0) + numbered("Anew", 7, 0)
    )  # fmt: skip
    parsed = word(body, numbering=NUMBERING)
    assert text_of(parsed).split("\n") == [
        "Part I Rent", "1.1 Due.", "1.2 Late.", "2.1 Quiet.", "- A point.", "Part IX Anew",
    ]  # fmt: skip
    assert parsed.items[-1].title == "Part II Use"


def test_headers_notes_and_comments_are_read_where_they_stand(word: Reader) -> None:
    body = (
        f'<w:p>{run("First.")}<w:r><w:footnoteReference w:id="2"/></w:r><w:r><w:commentReference w:id="0"/></w:r></w:p>'
        + paragraph("Second.")
    )
    page = '<w:r><w:fldChar w:fldCharType="begin"/></w:r><w:r><w:instrText> PAGE </w:instrText></w:r>'
    page += f'<w:r><w:fldChar w:fldCharType="separate"/></w:r>{run("7")}<w:r><w:fldChar w:fldCharType="end"/></w:r>'
    parsed = word(
        body,
        header1=f"<w:hdr {W}><w:p>{run('File QX-1')}</w:p></w:hdr>",
        footer1=f"<w:ftr {W}><w:p>{page}</w:p></w:ftr>",
        footnotes=f'<w:footnotes {W}><w:footnote w:id="2">{paragraph("A note.")}</w:footnote></w:footnotes>',
        comments=f'<w:comments {W}><w:comment w:id="0" w:author="Ann">{paragraph("Why?")}</w:comment></w:comments>',
    )
    assert text_of(parsed) == "Header: File QX-1\n\nFirst. [1]\n\n[1] A note.\nComment by Ann: Why?\n\nSecond."


def test_boxes_choices_and_hidden_text(word: Reader) -> None:
    box = '<w14:checkbox xmlns:w14="x"><w14:checked w14:val="1"/></w14:checkbox>'
    control = f"<w:sdt><w:sdtPr>{box}</w:sdtPr><w:sdtContent>{run('☒')}</w:sdtContent></w:sdt>"
    drawn = '<w:r><w:sym w:font="Wingdings" w:char="F0A8"/></w:r>'
    choice = (
        '<w:r><w:fldChar w:fldCharType="begin"><w:ffData><w:ddList><w:result w:val="1"/><w:listEntry w:val="red"/>'
        '<w:listEntry w:val="blue"/></w:ddList></w:ffData></w:fldChar></w:r><w:r><w:fldChar w:fldCharType="end"/></w:r>'
    )
    body = (
        f"<w:p>{control}{run(' Paid')}</w:p><w:p>{drawn}{run(' Signed')}</w:p>"
        f"<w:p>{run('Colour: ')}{choice}{run(' secret', '<w:vanish/>')}</w:p>"
    )
    assert text_of(word(body)) == "[x] Paid\n\n[ ] Signed\n\nColour: blue"


def test_equations_are_text(word: Reader) -> None:
    def r(words: str) -> str:
        return f"<m:r><m:t>{words}</m:t></m:r>"

    power = f"<m:sSup><m:e>{r('c')}</m:e><m:sup>{r('2')}</m:sup></m:sSup>"
    fraction = f"<m:f><m:num>{r('a')}</m:num><m:den>{r('b')}</m:den></m:f>"
    body = f"<w:p>{run('It is ')}<m:oMath {M}>{r('E=')}{fraction}{power}</m:oMath></w:p>"
    assert text_of(word(body)) == "It is E=\\frac{a}{b}c^2"


C = 'xmlns:c="http://schemas.openxmlformats.org/drawingml/2006/chart"'


def chart(*series: tuple[str, list[tuple[str, str]]], title: str = "") -> str:
    """Return a bar chart with cached values."""
    columns = ""
    for name, points in series:
        labels = "".join(f'<c:pt idx="{n}"><c:v>{label}</c:v></c:pt>' for n, (label, _) in enumerate(points))
        values = "".join(f'<c:pt idx="{n}"><c:v>{value}</c:v></c:pt>' for n, (_, value) in enumerate(points))
        columns += (
            f"<c:ser><c:tx><c:strRef><c:strCache><c:pt idx='0'><c:v>{name}</c:v></c:pt></c:strCache></c:strRef></c:tx>"
            f"<c:cat><c:strRef><c:strCache>{labels}</c:strCache></c:strRef></c:cat>"
            f"<c:val><c:numRef><c:numCache><c:formatCode>0%</c:formatCode>{values}</c:numCache></c:numRef></c:val></c:ser>"
        )
    rich = f"<c:tx><c:rich><a:p><a:r><a:t>{title}</a:t></a:r></a:p></c:rich></c:tx>"
    axis = "<c:catAx><c:title><c:tx><c:rich><a:p><a:r><a:t>Year</a:t></a:r></a:p></c:rich></c:tx></c:title></c:catAx>"
    return (
        f"<c:chartSpace {C} {A}><c:chart><c:title>{rich}</c:title><c:plotArea><c:barChart>{columns}</c:barChart>{axis}"
        "</c:plotArea></c:chart></c:chartSpace>"
    )


def test_charts_are_tables_and_diagrams_lists(word: Reader) -> None:
    shown = f'<w:drawing><c:chart {C} {R} r:id="chart1"/></w:drawing>'
    art = '<w:drawing><d:relIds xmlns:d="d" {R} r:dm="data1"/></w:drawing>'.replace("{R}", R)
    points = "".join(
        f'<d:pt modelId="{key}"><d:t><a:p><a:r><a:t>{words}</a:t></a:r></a:p></d:t></d:pt>'
        for key, words in (("2", "Close"), ("1", "Open"), ("0", ""))
    )
    links = '<d:cxn srcId="0" destId="1" srcOrd="0"/><d:cxn srcId="0" destId="2" srcOrd="1"/>'
    parsed = word(
        paragraph("See:", inside=shown) + paragraph("Steps:", inside=art),
        chart1=chart(("Oil", [("2021", "0.25"), ("2022", "0.5")]), title="Share"),
        data1=f'<d:dataModel xmlns:d="d" {A}>{points}{links}</d:dataModel>',
    )
    assert text_of(parsed).split("\n") == [
        "See:", "|  | Oil |", "|---|---|", "| 2021 | 25% |", "| 2022 | 50% |", "Steps:", "", "- Open", "- Close",
    ]  # fmt: skip
    assert parsed.items[1].title == "Bar chart: Share (axes: Year)"


def test_text_boxes_are_read_once_and_parts_that_are_not_are_named(word: Reader) -> None:
    box = f"<w:txbxContent>{paragraph('Boxed.')}</w:txbxContent>"
    drawn = (
        '<mc:AlternateContent xmlns:mc="mc"><mc:Choice><w:drawing><s>' + box + "</s></w:drawing></mc:Choice>"
        f"<mc:Fallback><w:pict>{box}</w:pict></mc:Fallback></mc:AlternateContent>"
    )
    parsed = word(paragraph("Body.", inside=drawn) + f'<w:altChunk {R} r:id="extra"/>', extra="<p/>")
    assert text_of(parsed) == "Body.\n\nBoxed."
    assert parsed.document.status == "partial" and "extra.xml inside it is not read" in (parsed.document.error or "")


def test_a_damaged_part_is_named(word: Reader) -> None:
    parsed = word(paragraph("Body."), footnotes="<w:footnotes")
    assert text_of(parsed) == "Body." and "word/footnotes.xml is damaged" in (parsed.document.error or "")


def test_drop_caps_readings_and_deleted_ends_join_what_follows(word: Reader) -> None:
    ruby = "".join(
        f"<w:r><w:ruby><w:rt>{run(reading)}</w:rt><w:rubyBase>{run(base)}</w:rubyBase></w:ruby></w:r>"
        for base, reading in (("東", "とう"), ("京", "きょう"))
    )
    body = (
        f'<w:p><w:pPr><w:framePr w:dropCap="drop"/></w:pPr>{run("W")}</w:p><w:p>{run("ords. ")}{ruby}</w:p>'
        f"<w:p><w:pPr><w:rPr><w:del/></w:rPr></w:pPr>{run('Half ')}</w:p><w:p>{run(' and half.')}</w:p>"
    )
    assert text_of(word(body)).split("\n\n") == ["Words. 東京(とうきょう)", "Half and half."]
