"""The ordinary folders as files: texts in the repository become office files, mails, notebooks, PDFs and pictures.

A folder is one text, ``ordinary/NAME.txt``: ``%%% PATH`` begins a file. What stands below it is the file itself, except
for formats that are made from it here:

- docx, pdf: Markdown with headings, lists, tables and paragraphs;
- pptx: the same, a heading begins a slide, a paragraph that begins with ``Notes:`` is the speaker's note;
- xlsx: ``# SHEET`` and rows of CSV; ISO dates become dates, numbers numbers;
- ipynb: Markdown with fences of ``python``, and of ``output`` for what a cell printed;
- eml: headers, an empty line, the body;
- png: JSON for a plot (``bar``, ``line``) or a plan (``rooms``); jpg: ``photo NAME`` of the development data, left out
  where that is absent.
"""

from __future__ import annotations

import csv
import datetime
import io
import json
import math
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from html import escape
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

FOLDERS = Path(__file__).resolve().parent / "ordinary"
_OFFICE = "http://schemas.openxmlformats.org"
_RELATIONS = f"{_OFFICE}/officeDocument/2006/relationships"


@dataclass(frozen=True)
class Part:
    """A piece of a text: a ``heading`` (level 1 to 3), ``item``, ``step``, ``paragraph``, ``code`` or ``table``."""

    kind: str
    text: str = ""
    level: int = 0
    rows: tuple[tuple[str, ...], ...] = ()


def sources(folder: str) -> dict[str, str]:
    """Return the sources of a folder: path -> text."""
    parts = re.split(r"^%%% (.+)\n", (FOLDERS / f"{folder}.txt").read_text(encoding="utf-8"), flags=re.M)[1:]
    return {path.strip(): text.strip("\n") + "\n" for path, text in zip(parts[::2], parts[1::2], strict=True)}


def make(folder: str, to: Path, photographs: Path | None) -> list[str]:
    """Write a folder's files below ``to``; return the paths left out because their photograph is not here."""
    missing = []
    for path, text in sources(folder).items():
        file = to / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".jpg":
            photograph = (photographs or Path()) / text.split()[1]
            if photographs is None or not photograph.exists():
                missing.append(path)
            else:
                shutil.copyfile(photograph, file)
        elif file.suffix in _MAKERS:
            file.write_bytes(_MAKERS[file.suffix](text))
        else:
            file.write_text(text, encoding="utf-8")
    return missing


def _cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in line.strip().strip("|").split("|"))


def _parts(text: str) -> Iterator[Part]:
    """Yield the pieces of a small Markdown."""
    for chunk in re.split(r"\n{2,}(?=\S)|\n(?=#)|(?<=\n)(?=```)", text.strip("\n")):
        lines = chunk.strip("\n").split("\n")
        if lines[0].startswith("```"):
            yield Part("code", "\n".join(lines[1:]).removesuffix("```").rstrip("\n"))
            continue
        if heading := re.match(r"(#+) (.*)", lines[0]):
            yield Part("heading", heading[2], len(heading[1]))
            lines = lines[1:]
        table = [line for line in lines if line.startswith("|")]
        if table:
            yield Part("table", rows=tuple(_cells(line) for line in table if not set(line) <= set("|-: ")))
            continue
        paragraph: list[str] = []
        for line in lines:
            if item := re.match(r"- (.*)|(\d+\. .*)", line):
                if paragraph:
                    yield Part("paragraph", " ".join(paragraph))
                    paragraph = []
                yield Part("item" if item[1] else "step", item[1] or item[2])
            elif line.strip():
                paragraph.append(line.strip())
        if paragraph:
            yield Part("paragraph", " ".join(paragraph))


def _package(parts: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as package:
        for name, body in parts.items():
            package.writestr(name, body)
    return out.getvalue()


def _related(**targets: str) -> str:
    """Return a part of relations; each target is "kind path"."""
    rows = "".join(
        f'<Relationship Id="{key}" Type="{_RELATIONS}/{target.split()[0]}" Target="{target.split()[1]}"/>'
        for key, target in targets.items()
    )
    return f'<Relationships xmlns="{_OFFICE}/package/2006/relationships">{rows}</Relationships>'


def _types(**parts: str) -> str:
    """Return the content types of a package; ``main`` is the path of its main part."""
    rows = "".join(f'<Override PartName="{path}" ContentType="{kind}"/>' for kind, path in parts.items())
    return (
        f'<Types xmlns="{_OFFICE}/package/2006/content-types"><Default Extension="xml" ContentType="application/xml"/>'
        f'<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>{rows}</Types>'
    )


def _docx(text: str) -> bytes:
    def run(words: str, style: str = "", listed: bool = False) -> str:
        numbered = '<w:numPr><w:ilvl w:val="0"/><w:numId w:val="1"/></w:numPr>' if listed else ""
        named = f'<w:pStyle w:val="{style}"/>' if style else ""
        return f'<w:p><w:pPr>{named}{numbered}</w:pPr><w:r><w:t xml:space="preserve">{escape(words)}</w:t></w:r></w:p>'

    body = []
    for part in _parts(text):
        if part.kind == "table":
            rows = ("".join(f"<w:tc>{run(cell)}</w:tc>" for cell in row) for row in part.rows)
            body.append("<w:tbl>" + "".join(f"<w:tr>{row}</w:tr>" for row in rows) + "</w:tbl>")
        elif part.kind == "heading":
            body.append(run(part.text, f"Heading{part.level}"))
        else:
            body.append(run(part.text, listed=part.kind == "item"))
    styles = "".join(
        f'<w:style w:type="paragraph" w:styleId="Heading{n}"><w:name w:val="heading {n}"/></w:style>' for n in (1, 2, 3)
    )
    main = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    return _package(
        {
            "[Content_Types].xml": _types(**{kind: "/word/document.xml"}),
            "_rels/.rels": _related(r1="officeDocument word/document.xml"),
            "word/document.xml": f"<w:document {main}><w:body>{''.join(body)}</w:body></w:document>",
            "word/styles.xml": f"<w:styles {main}>{styles}</w:styles>",
            "word/_rels/document.xml.rels": _related(s="styles styles.xml"),
        }
    )


def _pptx(text: str) -> bytes:
    slides: list[tuple[str, list[str], list[str]]] = []
    for part in _parts(text):
        if part.kind == "heading":
            slides.append((part.text, [], []))
        elif part.text.startswith("Notes:"):
            slides[-1][2].append(part.text.removeprefix("Notes:").strip())
        else:
            slides[-1][1].append(part.text)

    def shape(lines: list[str], kind: str) -> str:
        words = "".join(f"<a:p><a:r><a:t>{escape(line)}</a:t></a:r></a:p>" for line in lines)
        holder = f'<p:nvSpPr><p:nvPr><p:ph type="{kind}"/></p:nvPr></p:nvSpPr>'
        return f"<p:sp>{holder}<p:spPr/><p:txBody>{words}</p:txBody></p:sp>"

    names = (
        'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main" '
        f'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" xmlns:r="{_RELATIONS}"'
    )
    kind = "application/vnd.openxmlformats-officedocument.presentationml.presentation.main+xml"
    numbers = range(1, len(slides) + 1)
    parts = {
        "[Content_Types].xml": _types(**{kind: "/ppt/presentation.xml"}),
        "_rels/.rels": _related(r1="officeDocument ppt/presentation.xml"),
        "ppt/_rels/presentation.xml.rels": _related(**{f"s{n}": f"slide slides/slide{n}.xml" for n in numbers}),
        "ppt/presentation.xml": f"<p:presentation {names}><p:sldIdLst>"
        + "".join(f'<p:sldId id="{255 + n}" r:id="s{n}"/>' for n in numbers)
        + '</p:sldIdLst><p:sldSz cx="1000" cy="500"/></p:presentation>',
    }
    for n, (title, lines, notes) in enumerate(slides, 1):
        tree = shape([title], "title") + shape(lines, "body")
        parts[f"ppt/slides/slide{n}.xml"] = f"<p:sld {names}><p:cSld><p:spTree>{tree}</p:spTree></p:cSld></p:sld>"
        if notes:
            tree = shape(notes, "body")
            parts[f"ppt/notesSlides/notes{n}.xml"] = (
                f"<p:notes {names}><p:cSld><p:spTree>{tree}</p:spTree></p:cSld></p:notes>"
            )
            parts[f"ppt/slides/_rels/slide{n}.xml.rels"] = _related(n=f"notesSlide ../notesSlides/notes{n}.xml")
    return _package(parts)


def _xlsx(text: str) -> bytes:
    sheets = re.split(r"^# (.+)\n", text, flags=re.M)[1:]
    named = dict(zip(sheets[::2], sheets[1::2], strict=True))
    main = f'xmlns="{_OFFICE}/spreadsheetml/2006/main"'

    def cell(value: str, at: str) -> str:
        if re.fullmatch(r"-?\d+(\.\d+)?", value) and not re.match(r"-?0\d", value):
            return f'<c r="{at}"><v>{value}</v></c>'
        if re.fullmatch(r"\d{4}-\d\d-\d\d", value):
            days = (datetime.date.fromisoformat(value) - datetime.date(1899, 12, 30)).days
            return f'<c r="{at}" s="1"><v>{days}</v></c>'
        return f'<c r="{at}" t="inlineStr"><is><t>{escape(value)}</t></is></c>'

    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"
    relations = {f"r{n}": f"worksheet worksheets/sheet{n}.xml" for n in range(1, len(named) + 1)}
    styles = (
        '<fonts count="1"><font/></fonts><fills count="1"><fill/></fills><borders count="1"><border/></borders>'
        '<cellStyleXfs count="1"><xf/></cellStyleXfs><cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs>'
    )
    parts = {
        "[Content_Types].xml": _types(**{kind: "/xl/workbook.xml"}),
        "_rels/.rels": _related(r1="officeDocument xl/workbook.xml"),
        "xl/_rels/workbook.xml.rels": _related(s="styles styles.xml", **relations),
        "xl/styles.xml": f"<styleSheet {main}>{styles}</styleSheet>",
        "xl/workbook.xml": f'<workbook {main} xmlns:r="{_RELATIONS}"><sheets>'
        + "".join(f'<sheet name="{escape(name)}" sheetId="{n}" r:id="r{n}"/>' for n, name in enumerate(named, 1))
        + "</sheets></workbook>",
    }
    for n, body in enumerate(named.values(), 1):
        rows = []
        for row, values in enumerate(csv.reader(io.StringIO(body.strip("\n"))), 1):
            cells = "".join(cell(value, f"{chr(65 + column)}{row}") for column, value in enumerate(values) if value)
            rows.append(f'<row r="{row}">{cells}</row>')
        parts[f"xl/worksheets/sheet{n}.xml"] = f"<worksheet {main}><sheetData>{''.join(rows)}</sheetData></worksheet>"
    return _package(parts)


_SIZES = {"heading": (0, 18, 14, 12), "paragraph": (11,), "item": (11,), "step": (11,), "code": (10,), "table": (10,)}
_WIDTH, _HEIGHT, _MARGIN = 595, 842, 60  # points of an A4 page


def _pdf(text: str) -> bytes:
    """Return a PDF with the text in Helvetica (Latin letters), lines broken, tables in columns."""
    lines: list[tuple[int, list[tuple[float, str]]]] = []  # size, runs by their x
    for part in _parts(text):
        size = _SIZES[part.kind][part.level]
        room = int((_WIDTH - 2 * _MARGIN) / (size * 0.5))
        if part.kind == "table":
            width = (_WIDTH - 2 * _MARGIN) / max(map(len, part.rows))
            lines += [(size, [(_MARGIN + n * width, cell) for n, cell in enumerate(row)]) for row in part.rows]
        elif part.kind == "code":
            lines += [(size, [(_MARGIN, line)]) for line in part.text.split("\n")]
        else:
            words, line = (f"\x95 {part.text}" if part.kind == "item" else part.text).split(), ""
            for word in words:
                if line and len(line) + 1 + len(word) > room:
                    lines.append((size, [(_MARGIN, line)]))
                    line = word
                else:
                    line = f"{line} {word}".strip()
            lines.append((size, [(_MARGIN, line)]))
        lines.append((6, []))  # space below
    pages: list[list[str]] = [[]]
    y = float(_HEIGHT - _MARGIN)
    for size, runs in lines:
        y -= size * 1.35
        if y < _MARGIN:
            pages.append([])
            y = _HEIGHT - _MARGIN - size * 1.35
        for x, words in runs:
            shown = re.sub(r"([\\()])", r"\\\1", words)
            pages[-1].append(f"BT /F{2 if size > 11 else 1} {size} Tf {x:.0f} {y:.0f} Td ({shown}) Tj ET")
    font = "<</Type/Font/Subtype/Type1/BaseFont/{}/Encoding/WinAnsiEncoding>>"
    kids = " ".join(f"{5 + 2 * n} 0 R" for n in range(len(pages)))
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}>>",
        font.format("Helvetica"),
        font.format("Helvetica-Bold"),
    ]
    for n, page in enumerate(pages):
        stream = "\n".join(page)
        objects.append(
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 {_WIDTH} {_HEIGHT}]/Contents {6 + 2 * n} 0 R"
            "/Resources<</Font<</F1 3 0 R/F2 4 0 R>>>>>>"
        )
        objects.append(f"<</Length {len(_latin(stream))}>>stream\n{stream}\nendstream")
    out, offsets = b"%PDF-1.4\n", []
    for n, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += _latin(f"{n} 0 obj\n{body}\nendobj\n")
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    count = len(objects) + 1
    trailer = f"xref\n0 {count}\n0000000000 65535 f \n{table}trailer<</Size {count}/Root 1 0 R>>\nstartxref\n{len(out)}\n%%EOF\n"
    return out + trailer.encode()


def _latin(text: str) -> bytes:
    return text.replace("\x95", "•").encode("cp1252")


def _ipynb(text: str) -> bytes:
    cells: list[dict[str, object]] = []
    for kind, body in re.findall(r"```(python|output)\n(.*?)```|\Z", text, flags=re.S):
        if kind == "output":
            stream = {"output_type": "stream", "name": "stdout", "text": body.splitlines(keepends=True)}
            cells[-1]["outputs"] = [stream]
            continue
        words, mark, text = text.partition(f"```python\n{body}```") if kind else (text, "", "")
        words = re.sub(r"```output\n.*?```", "", words, flags=re.S).strip()
        if words:
            cells.append({"cell_type": "markdown", "metadata": {}, "source": words.splitlines(keepends=True)})
        if mark:
            source = body.rstrip("\n").splitlines(keepends=True)
            cells.append(
                {"cell_type": "code", "metadata": {}, "execution_count": 1, "source": source, "outputs": list[object]()}
            )
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(notebook, ensure_ascii=False, indent=1).encode()


def _eml(text: str) -> bytes:
    head, _, body = text.partition("\n\n")
    message = EmailMessage()
    for line in head.split("\n"):
        name, _, value = line.partition(": ")
        message[name] = value
    message.set_content(body)
    return message.as_bytes()


def _png(text: str) -> bytes:
    """Return a plot or a plan as a PNG file."""
    about = json.loads(text)
    out = io.BytesIO()
    if "rooms" in about:
        image = Image.new("RGB", (900, 620), "white")
        draw, font = ImageDraw.Draw(image), ImageFont.load_default(24)
        draw.text((40, 15), about["title"], fill="black", font=font)
        for name, left, top, right, bottom in about["rooms"]:
            draw.rectangle((left, top, right, bottom), outline="black", width=4)
            draw.text(((left + right) / 2, (top + bottom) / 2), name, fill="black", font=font, anchor="mm")
        image.save(out, "PNG")
        return out.getvalue()
    image = Image.new("RGB", (900, 620), "white")
    draw, font, small = ImageDraw.Draw(image), ImageFont.load_default(24), ImageFont.load_default(18)
    left, top, right, bottom = 110, 70, 860, 520
    lines = about.get("line", {})
    values = [*about.get("bar", {}).values(), *(value for points in lines.values() for _, value in points)]
    step = next(
        step for power in range(-3, 9) for step in (10**power, 2 * 10**power, 5 * 10**power) if max(values) <= 6 * step
    )
    highest = step * math.ceil(max(values) / step)

    def height(value: float) -> float:
        return bottom - (bottom - top) * value / highest

    draw.text(((left + right) / 2, 30), about["title"], fill="black", font=font, anchor="mm")
    draw.text((left, top - 14), about.get("y", ""), fill="black", font=small, anchor="lm")
    draw.text((right, bottom + 70), about.get("x", ""), fill="black", font=small, anchor="rm")
    for n in range(round(highest / step) + 1):
        draw.line((left, height(n * step), right, height(n * step)), fill="#cccccc")
        draw.text((left - 10, height(n * step)), f"{n * step:g}", fill="black", font=small, anchor="rm")
    for n, (name, value) in enumerate(about.get("bar", {}).items()):
        width = (right - left) / len(about["bar"])
        middle = left + (n + 0.5) * width
        draw.rectangle((middle - width / 3, height(value), middle + width / 3, bottom), fill="#4c78a8")
        draw.text((middle, bottom + 25), name, fill="black", font=small, anchor="mm")
    all_x = sorted({x for points in lines.values() for x, _ in points})
    for (name, points), colour in zip(lines.items(), ("#4c78a8", "#e45756", "#54a24b"), strict=False):
        place = [
            (left + (right - left) * (x - all_x[0]) / (all_x[-1] - all_x[0]), height(value)) for x, value in points
        ]
        draw.line(place, fill=colour, width=4)
        draw.text((place[-1][0] - 10, place[-1][1] - 22), name, fill=colour, font=small, anchor="rm")
    for x in all_x:
        at = left + (right - left) * (x - all_x[0]) / (all_x[-1] - all_x[0])
        draw.text((at, bottom + 25), f"{x:g}", fill="black", font=small, anchor="mm")
    image.save(out, "PNG")
    return out.getvalue()


_MAKERS: dict[str, Callable[[str], bytes]] = {
    ".docx": _docx,
    ".pptx": _pptx,
    ".xlsx": _xlsx,
    ".pdf": _pdf,
    ".ipynb": _ipynb,
    ".eml": _eml,
    ".png": _png,
}
