"""OpenDocument texts, slides and sheets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from commonplace.readers import ReadOptions, read
from commonplace.types import ParsedDocument
from tests.readers.make_office import packed

NAMES = (
    'xmlns:text="t" xmlns:table="b" xmlns:draw="d" xmlns:office="o" xmlns:xlink="l" xmlns:svg="s" xmlns:style="y" '
    'xmlns:dc="c" xmlns:presentation="p" xmlns:chart="h" xmlns:fo="f"'
)
Reader = Callable[..., ParsedDocument]


@pytest.fixture
def document(tmp_path: Path, options: ReadOptions) -> Reader:
    def read_body(body: str, styles: str = "", masters: str = "", kind: str = "text", **parts: str) -> ParsedDocument:
        suffix = {"text": "odt", "presentation": "odp", "spreadsheet": "ods"}[kind]
        content = (
            f"<office:doc {NAMES}><office:automatic-styles>{styles}</office:automatic-styles>"
            f"<office:body><office:{kind}>{body}</office:{kind}></office:body></office:doc>"
        )
        members: dict[str, str | bytes] = {
            "mimetype": f"application/vnd.oasis.opendocument.{kind}",
            "content.xml": content,
            "styles.xml": f"<office:doc {NAMES}>{masters}</office:doc>",
        }
        members.update({name.replace("__", "/") + ".xml": text for name, text in parts.items()})
        path = tmp_path / f"a.{suffix}"
        path.write_bytes(packed(members))
        return read(path, options)

    return read_body


def text_of(parsed: ParsedDocument) -> str:
    return "\n".join(item.text or "" for item in parsed.items)


def p(words: str, more: str = "") -> str:
    return f"<text:p {more}>{words}</text:p>"


def test_lists_and_headings_are_numbered(document: Reader) -> None:
    styles = (
        '<text:list-style style:name="L"><text:list-level-style-number text:level="1" style:num-format="A" '
        'style:num-suffix=")" text:start-value="2"/><text:list-level-style-number text:level="2" '
        'style:num-format="1" text:display-levels="2"/></text:list-style>'
    )
    level = '<text:outline-level-style text:level="1" style:num-format="I" style:num-suffix="."/>'
    outline = f"<text:outline-style>{level}</text:outline-style>"
    inner = f"<text:list><text:list-item>{p('Two a')}</text:list-item></text:list>"
    body = (
        '<text:h text:outline-level="1">Rules</text:h>'
        f'<text:list text:style-name="L"><text:list-item>{p("One")}</text:list-item>'
        f"<text:list-item>{p('Two')}{inner}</text:list-item></text:list>{p('Between.')}"
        f'<text:list text:style-name="L" text:continue-numbering="true"><text:list-item>{p("Three")}</text:list-item>'
        "</text:list>"
    )
    parsed = document(body, styles, outline)
    assert text_of(parsed).split() == ["B)", "One", "C)", "Two", "C.1", "Two", "a", "Between.", "D)", "Three"]
    assert parsed.items[0].title == "I. Rules"


def test_notes_comments_marks_and_hidden_text(document: Reader) -> None:
    styles = (
        '<style:style style:name="Up"><style:text-properties style:text-position="super 58%"/></style:style>'
        '<style:style style:name="No"><style:text-properties text:display="none"/></style:style>'
    )
    master = f"<style:master-page><style:header>{p('File QX-2')}</style:header></style:master-page>"
    note = (
        "<text:note><text:note-citation>1</text:note-citation><text:note-body>" + p("A note.") + "</text:note-body>"
        "</text:note>"
    )
    comment = (
        f"<office:annotation><dc:creator>Ann</dc:creator><dc:date>2031-05-01</dc:date>{p('Why?')}</office:annotation>"
    )
    raised = '10<text:span text:style-name="Up">4</text:span>'
    hidden = '<text:span text:style-name="No">secret</text:span>'
    parsed = document(p(f"Take {raised} cells.{note}{comment}{hidden}"), styles, master)
    assert text_of(parsed) == (
        "Header: File QX-2\n\nTake 10^4 cells. [1]\n\n[1] A note.\nComment by Ann, 2031-05-01: Why?"
    )


def cell(words: str, more: str = "") -> str:
    return f"<table:table-cell {more}>{p(words) if words else ''}</table:table-cell>"


COVERED = "<table:covered-table-cell/>"


def test_merged_and_nested_cells(document: Reader) -> None:
    inner = f"<table:table><table:table-row>{cell('Rye')}{cell('200')}</table:table-row></table:table>"
    tall = cell("Mower", 'table:number-rows-spanned="2"')
    rows = (
        f"<table:table-row>{cell('Engine')}{cell('Part')}</table:table-row>"
        f"<table:table-row>{tall}{cell('Blade')}</table:table-row>"
        f"<table:table-row>{COVERED}<table:table-cell>{inner}</table:table-cell></table:table-row>"
    )
    assert text_of(document(f"<table:table>{rows}</table:table>")) == (
        "| Engine | Part |\n|---|---|\n| Mower | Blade |\n| Mower | Rye: 200 |"
    )


def test_formulas_and_charts_are_read(document: Reader) -> None:
    math = "<math><semantics><mrow><mi>E</mi><mo>=</mo><msup><mi>c</mi><mn>2</mn></msup></mrow></semantics></math>"
    rows = "".join(f"<table:table-row>{cell(a)}{cell(b)}</table:table-row>" for a, b in (("", "Oil"), ("May", "5")))
    chart = (
        f"<office:doc {NAMES}><office:body><office:chart><chart:chart chart:class='chart:bar'><chart:title>{p('Use')}"
        f"</chart:title><table:table>{rows}</table:table></chart:chart></office:chart></office:body></office:doc>"
    )

    def frame(number: int) -> str:
        return f'<draw:frame><draw:object xlink:href="./Object {number}"/><draw:image xlink:href="./x"/></draw:frame>'

    parsed = document(
        p(f"So {frame(1)} holds.") + p(frame(2)), **{"Object 1__content": math, "Object 2__content": chart}
    )
    assert text_of(parsed) == "So E=c^2 holds.\n|  | Oil |\n|---|---|\n| May | 5 |"
    assert parsed.items[1].title == "Bar chart: Use"


def test_slides_are_read_from_the_top(document: Reader) -> None:
    def box(words: str, top: int, kind: str = "") -> str:
        place = f'svg:x="2cm" svg:y="{top}cm" svg:width="9cm" svg:height="2cm" presentation:class="{kind}"'
        return f"<draw:frame {place}><draw:text-box>{p(words)}</draw:text-box></draw:frame>"

    page = f"<draw:page>{box('Then this.', 12)}{box('First this.', 6)}{box('Steps', 1, 'title')}</draw:page>"
    parsed = document(page, kind="presentation")
    assert text_of(parsed) == "First this.\n\nThen this." and parsed.items[0].title == "Steps"


def test_sheets_show_what_their_cells_show(document: Reader) -> None:
    style = '<style:style style:name="H"><style:table-properties table:display="false"/></style:style>'
    value = 'office:value-type="percentage" office:value="0.07"'
    comment = f"<office:annotation><dc:creator>Bo</dc:creator>{p('Why?')}</office:annotation>"
    rows = (
        '<table:table-row table:number-rows-repeated="3"><table:table-cell table:number-columns-repeated="16384"/>'
        "</table:table-row>"
        f"<table:table-row>{cell('City')}{cell('Rate')}{cell('Sum')}</table:table-row>"
        f"<table:table-row>{cell('Ulm')}<table:table-cell {value}>{p('7%')}{comment}</table:table-cell>"
        '<table:table-cell table:formula="of:=A1+B1"/></table:table-row>'
    )
    parsed = document(
        f'<table:table table:name="S" table:style-name="H">{rows}</table:table>', style, kind="spreadsheet"
    )
    assert [(item.title, item.text) for item in parsed.items] == [
        ("S (hidden sheet)", "| City | Rate | Sum |\n|---|---|---|\n| Ulm | 7% | =A1+B1 |"),
        ("S (hidden sheet)", "Comment by Bo: Why?"),
    ]
    assert parsed.document.status == "partial"
