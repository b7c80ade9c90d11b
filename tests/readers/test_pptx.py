"""Presentations: slides as a person reads them, with what their makers wrote about them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from commonplace.readers import ReadOptions, read
from commonplace.types import ParsedDocument
from tests.readers.make_office import A, P, R, packed, pptx, related, shape

Reader = Callable[..., ParsedDocument]


@pytest.fixture
def deck(tmp_path: Path, options: ReadOptions) -> Reader:
    def read_slide(shapes: str, slide_relations: dict[str, str] | None = None, **parts: str) -> ParsedDocument:
        with zipfile.ZipFile(io.BytesIO(pptx((shapes, "")))) as package:
            members: dict[str, str | bytes] = {name: package.read(name) for name in package.namelist()}
        members["ppt/slides/_rels/slide1.xml.rels"] = related(**(slide_relations or {}))
        members["ppt/_rels/presentation.xml.rels"] = related(
            s1="slide slides/slide1.xml", a="commentAuthors authors.xml"
        )
        members.update({f"ppt/{name}.xml": text for name, text in parts.items()})
        path = tmp_path / "a.pptx"
        path.write_bytes(packed(members))
        return read(path, options)

    return read_slide


def text_of(parsed: ParsedDocument) -> str:
    return "\n".join(item.text or "" for item in parsed.items)


def lines(*texts: str, place: tuple[int, int, int, int]) -> str:
    return shape("\n".join(texts), place=place)


def test_shapes_are_read_by_their_places_not_by_their_age(deck: Reader) -> None:
    shapes = (
        lines("Right, low.", place=(600, 300, 300, 80)) + lines("Left, low.", place=(50, 300, 300, 80))
        + lines("Right, high.", place=(600, 150, 300, 80)) + lines("Left, high.", place=(50, 150, 300, 80))
        + lines("Over both.", place=(50, 10, 850, 60))
    )  # fmt: skip
    assert text_of(deck(shapes)).split("\n\n") == [
        "Over both.", "Left, high.", "Left, low.", "Right, high.", "Right, low.",
    ]  # fmt: skip


def test_placeholders_stand_where_the_layout_puts_them(deck: Reader) -> None:
    def holder(index: int, place: str = "") -> str:
        return f'<p:sp><p:nvSpPr><p:nvPr><p:ph idx="{index}"/></p:nvPr></p:nvSpPr><p:spPr>{place}</p:spPr>'

    places = [f'<a:xfrm><a:off x="0" y="{top}"/><a:ext cx="900" cy="90"/></a:xfrm>' for top in (300, 100)]
    layout = (
        f"<p:sldLayout {P} {A}><p:cSld><p:spTree>"
        + "".join(holder(number, place) + "</p:sp>" for number, place in enumerate(places, 1))
        + shape("Always here")
        + "</p:spTree></p:cSld></p:sldLayout>"
    )
    words = "".join(
        holder(number) + f"<p:txBody><a:p><a:r><a:t>{text}</a:t></a:r></a:p></p:txBody></p:sp>"
        for number, text in ((1, "Below."), (2, "Above."))
    )
    parsed = deck(words, {"l": "slideLayout ../layout.xml"}, layout=layout)
    assert text_of(parsed).split("\n\n") == ["Above.", "Below.", "Footer: Always here"]


def test_merged_cells_numbers_and_raised_marks(deck: Reader) -> None:
    def cell(words: str, more: str = "") -> str:
        return f"<a:tc {more}><a:txBody><a:p><a:r><a:t>{words}</a:t></a:r></a:p></a:txBody></a:tc>"

    rows = (
        "<a:tr>"
        + cell("Engine")
        + cell("Part")
        + "</a:tr><a:tr>"
        + cell("Mower", 'rowSpan="2"')
        + cell("Blade")
        + "</a:tr><a:tr>"
        + cell("", 'vMerge="1"')
        + cell("Belt")
        + "</a:tr>"
    )
    number = '<a:pPr><a:buAutoNum type="arabicParenR" startAt="3"/></a:pPr>'
    raised = '<a:r><a:rPr baseline="30000"/><a:t>6</a:t></a:r>'
    listed = (
        f"<p:sp><p:txBody><a:p>{number}<a:r><a:t>Open.</a:t></a:r></a:p>"
        f"<a:p>{number}<a:r><a:t>Take 10</a:t></a:r>{raised}<a:r><a:t> cells.</a:t></a:r></a:p></p:txBody></p:sp>"
    )
    parsed = deck(f"<p:graphicFrame><a:tbl>{rows}</a:tbl></p:graphicFrame>{listed}")
    assert text_of(parsed) == (
        "| Engine | Part |\n|---|---|\n| Mower | Blade |\n| Mower | Belt |\n3) Open.\n4) Take 10^6 cells."
    )


def test_comments_footers_and_charts(deck: Reader) -> None:
    points = '<c:pt idx="0"><c:v>Q1</c:v></c:pt>', '<c:pt idx="0"><c:v>12</c:v></c:pt>'
    chart = (
        '<c:chartSpace xmlns:c="c"><c:chart><c:plotArea><c:pieChart><c:ser><c:tx><c:v>Oil</c:v></c:tx>'
        f"<c:cat>{points[0]}</c:cat><c:val>{points[1]}</c:val></c:ser></c:pieChart></c:plotArea></c:chart></c:chartSpace>"
    )
    shapes = shape("Only in 2031", "ftr") + f'<p:graphicFrame><c:chart xmlns:c="c" {R} r:id="ch"/></p:graphicFrame>'
    parsed = deck(
        shapes,
        {"ch": "chart ../chart.xml", "co": "comments ../comments.xml"},
        chart=chart,
        comments=f'<p:cmLst {P}><p:cm authorId="4" dt="2031-05-01"><p:text>Is it so?</p:text></p:cm></p:cmLst>',
        authors=f'<p:cmAuthorLst {P}><p:cmAuthor id="4" name="Ann Low" initials="AL"/></p:cmAuthorLst>',
    )
    assert parsed.items[0].title == "Pie chart"
    assert text_of(parsed) == (
        "|  | Oil |\n|---|---|\n| Q1 | 12 |\nFooter: Only in 2031\n\nComment by Ann Low (AL), 2031-05-01: Is it so?"
    )
