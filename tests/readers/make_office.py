"""Office files made on the spot, as small as their formats allow: every part is visible here."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
A = 'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"'
P = 'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main"'
R = 'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
_KIND = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def packed(parts: Mapping[str, str | bytes]) -> bytes:
    """Return a ZIP of these members."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as package:
        for name, body in parts.items():
            package.writestr(name, body, zipfile.ZIP_STORED if name == "mimetype" else None)
    return out.getvalue()


def related(**targets: str) -> str:
    """Return a part of relations: id="kind target"."""
    rows = []
    for key, relation in targets.items():
        kind, target, *outside = relation.split()
        mode = ' TargetMode="External"' if outside else ""
        rows.append(f'<Relationship Id="{key}" Type="{_KIND}/{kind}" Target="{target}"{mode}/>')
    return f'<Relationships xmlns="x">{"".join(rows)}</Relationships>'


def paragraph(words: str, style: str = "", inside: str = "") -> str:
    """Return a paragraph of a Word file."""
    head = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{head}<w:r><w:t>{words}</w:t>{inside}</w:r></w:p>"


def drawing(relation: str, words: str) -> str:
    """Return a picture in a Word file's run."""
    return f'<w:drawing><x:docPr xmlns:x="x" descr="{words}"/><a:blip {A} r:embed="{relation}"/></w:drawing>'


def table(*rows: str) -> str:
    """Return a Word table; cells are parted by "|"."""
    cells = ("".join(f"<w:tc>{paragraph(cell)}</w:tc>" for cell in row.split("|")) for row in rows)
    return "<w:tbl>" + "".join(f"<w:tr>{row}</w:tr>" for row in cells) + "</w:tbl>"


def docx(body: str, pictures: Mapping[str, bytes] | None = None, **more: str | bytes) -> bytes:
    """Return a Word file; pictures are media names with their bytes, their relation ids r1, r2, ..."""
    styles = "".join(
        f'<w:style w:type="paragraph" w:styleId="{key}"><w:name w:val="{name}"/></w:style>'
        for key, name in (("H1", "heading 1"), ("H2", "heading 2"), ("Cap", "caption"))
    )
    styles += '<w:style w:type="paragraph" w:styleId="Mine"><w:name w:val="mine"/><w:basedOn w:val="H2"/></w:style>'
    images = {f"r{number}": f"image media/{name}" for number, name in enumerate(pictures or {}, 1)}
    return packed(
        {
            "[Content_Types].xml": "<Types/>",
            "_rels/.rels": related(r1="officeDocument word/document.xml"),
            "word/document.xml": f"<w:document {W} {R}><w:body>{body}</w:body></w:document>",
            "word/styles.xml": f"<w:styles {W}>{styles}</w:styles>",
            "word/_rels/document.xml.rels": related(
                s="styles styles.xml", out="image http://x/a.png outside", **images
            ),
            **{f"word/media/{name}": data for name, data in (pictures or {}).items()},
            **more,
        }
    )


def shape(words: str, kind: str = "", place: tuple[int, int, int, int] | None = None) -> str:
    """Return a shape of a slide that is 1000 x 500 units large."""
    holder = f'<p:nvSpPr><p:nvPr><p:ph type="{kind}"/></p:nvPr></p:nvSpPr>' if kind else ""
    lines = "".join(f"<a:p><a:r><a:t>{line}</a:t></a:r></a:p>" for line in words.split("\n"))
    return f"<p:sp>{holder}<p:spPr>{_place(place)}</p:spPr><p:txBody>{lines}</p:txBody></p:sp>"


def _place(place: tuple[int, int, int, int] | None) -> str:
    if place is None:
        return ""
    x, y, width, height = place
    return f'<a:xfrm><a:off x="{x}" y="{y}"/><a:ext cx="{width}" cy="{height}"/></a:xfrm>'


def picture_shape(relation: str, words: str, place: tuple[int, int, int, int]) -> str:
    """Return a picture on a slide."""
    return (
        f'<p:pic><p:nvPicPr><p:cNvPr descr="{words}"/></p:nvPicPr>'
        f'<p:blipFill><a:blip r:embed="{relation}"/></p:blipFill>'
        f"<p:spPr>{_place(place)}</p:spPr></p:pic>"
    )


def pptx(*slides: tuple[str, str], picture: bytes | None = None) -> bytes:
    """Return a presentation of slides (shapes, notes); the picture has the relation id "pic"."""
    parts: dict[str, str | bytes] = {
        "[Content_Types].xml": "<Types/>",
        "_rels/.rels": related(r1="officeDocument ppt/presentation.xml"),
        "ppt/_rels/presentation.xml.rels": related(
            **{f"s{number}": f"slide slides/slide{number}.xml" for number in range(1, len(slides) + 1)}
        ),
        "ppt/presentation.xml": f"<p:presentation {P} {R}><p:sldIdLst>"
        + "".join(f'<p:sldId r:id="s{number}"/>' for number in range(1, len(slides) + 1))
        + '</p:sldIdLst><p:sldSz cx="1000" cy="500"/></p:presentation>',
    }
    for number, (shapes, notes) in enumerate(slides, 1):
        tree = f"<p:cSld><p:spTree>{shapes}</p:spTree></p:cSld>"
        parts[f"ppt/slides/slide{number}.xml"] = f"<p:sld {P} {A} {R}>{tree}</p:sld>"
        targets = {"pic": "image ../media/image1.png"}
        if notes:
            targets["n"] = f"notesSlide ../notesSlides/notes{number}.xml"
            tree = f"<p:cSld><p:spTree>{shape(notes, 'body')}{shape('7', 'sldNum')}</p:spTree></p:cSld>"
            parts[f"ppt/notesSlides/notes{number}.xml"] = f"<p:notes {P} {A}>{tree}</p:notes>"
        parts[f"ppt/slides/_rels/slide{number}.xml.rels"] = related(**targets)
    if picture:
        parts["ppt/media/image1.png"] = picture
    return packed(parts)


def xlsx(**sheets: list[list[str | float]]) -> bytes:
    """Return a workbook by sheet name and rows."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    parts: dict[str, str | bytes] = {
        "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>',
        "_rels/.rels": related(r1="officeDocument xl/workbook.xml"),
        "xl/_rels/workbook.xml.rels": related(
            **{f"r{number}": f"worksheet worksheets/sheet{number}.xml" for number in range(1, len(sheets) + 1)}
        ).replace('xmlns="x"', 'xmlns="http://schemas.openxmlformats.org/package/2006/relationships"'),
        "xl/workbook.xml": f'<workbook xmlns="{main}" {R}><sheets>'
        + "".join(f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"/>' for n, name in enumerate(sheets, 1))
        + "</sheets></workbook>",
    }
    for number, rows in enumerate(sheets.values(), 1):
        lines = []
        for at, row in enumerate(rows, 1):
            cells = (
                f'<c r="{chr(65 + column)}{at}" t="inlineStr"><is><t>{cell}</t></is></c>'
                if isinstance(cell, str)
                else f'<c r="{chr(65 + column)}{at}"><v>{cell}</v></c>'
                for column, cell in enumerate(row)
                if cell != ""
            )
            lines.append(f'<row r="{at}">{"".join(cells)}</row>')
        parts[f"xl/worksheets/sheet{number}.xml"] = (
            f'<worksheet xmlns="{main}"><sheetData>{"".join(lines)}</sheetData></worksheet>'
        )
    return packed(parts)


def epub(*chapters: str, pictures: Mapping[str, bytes] | None = None, locked: bool = False) -> bytes:
    """Return a book of chapters in XHTML; pictures lie beside them."""
    items = "".join(f'<item id="c{n}" href="text/c{n}.xhtml" media-type="x"/>' for n in range(len(chapters)))
    spine = "".join(f'<itemref idref="c{n}"/>' for n in range(len(chapters)))
    parts: dict[str, str | bytes] = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": '<container><rootfiles><rootfile full-path="OPS/book.opf"/></rootfiles></container>',
        "OPS/book.opf": f"<package><metadata><title>The book</title></metadata><manifest>{items}</manifest>"
        f"<spine>{spine}</spine></package>",
        **{f"OPS/text/c{number}.xhtml": chapter for number, chapter in enumerate(chapters)},
        **{f"OPS/text/{name}": data for name, data in (pictures or {}).items()},
    }
    if locked:
        parts["META-INF/encryption.xml"] = '<e><EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes"/></e>'
    return packed(parts)


def odt(body: str, pictures: Mapping[str, bytes] | None = None) -> bytes:
    """Return an OpenDocument text."""
    names = 'xmlns:text="t" xmlns:table="b" xmlns:draw="d" xmlns:office="o" xmlns:xlink="l" xmlns:svg="s"'
    content = f"<office:doc {names}><office:body><office:text>{body}</office:text></office:body></office:doc>"
    return packed(
        {
            "mimetype": "application/vnd.oasis.opendocument.text",
            "content.xml": content,
            "meta.xml": "<m><title>The text</title></m>",
            **{f"Pictures/{name}": data for name, data in (pictures or {}).items()},
        }
    )
