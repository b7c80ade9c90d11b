"""Word files (Office Open XML, ECMA-376): paragraphs, lists, tables, text boxes, notes, and their pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from commonplace.errors import ReadError
from commonplace.i18n import _
from commonplace.readers.blocks import EncodedPicture, Heading, LayoutBlock, Paragraph, Table, lay_out
from commonplace.readers.parts import File, Part
from commonplace.readers.zipxml import Package, attribute, local_name, read_core_metadata

__all__ = ["embedded_picture", "read_docx"]

_HEADING = re.compile(r"(?:heading|überschrift|titre|标题|標題)\s*([1-9])", re.IGNORECASE)
_IGNORED = {"del", "moveFrom", "instrText", "delText", "rPr", "pPr", "fldData", "Fallback", "annotationRef"}
_MAX_DEPTH = 12  # levels of tables and text boxes inside each other


def read_docx(file: File) -> Iterator[Part]:
    """Yield the parts of the body in order, then the notes. Deleted text of tracked changes is skipped."""
    package = Package(file)
    main = next((name for kind, name in package.related("").values() if kind == "officeDocument"), "word/document.xml")
    read_core_metadata(file, package.optional("docProps/core.xml"))
    yield from lay_out(file, _Body(file, package, main).blocks())


def embedded_picture(file: File, package: Package, name: str, description: str) -> Iterator[EncodedPicture]:
    """Yield the picture stored as ``name`` in the package; where it cannot be unpacked, note a problem instead."""
    try:
        yield EncodedPicture(package.read(name), description, name.rpartition("/")[2])
    except ReadError as error:
        file.problems.append(_("picture {name}: {error}").format(name=name, error=error))


class _Body:
    def __init__(self, file: File, package: Package, main: str) -> None:
        self._file, self._package, self._main = file, package, main
        self._related = package.related(main)
        self._levels = self._styles()

    def blocks(self) -> Iterator[LayoutBlock]:
        root = self._package.xml(self._main)
        body = next((child for child in root if local_name(child) == "body"), root)
        yield from self._blocks(body, 0)
        for kind in ("footnotes", "endnotes"):
            for relation, name in self._related.values():
                notes = self._package.optional(name) if relation == kind else None
                for note in notes if notes is not None else ():
                    if attribute(note, "type") is None:  # typed notes are separator lines and continuation marks
                        for block in self._blocks(note, 1):
                            yield Paragraph(block.text, list_item=True) if isinstance(block, Paragraph) else block

    def _styles(self) -> dict[str, int | str]:
        """Return a dict from style id to heading level or "caption"; a style inherits from its base style."""
        name = next((name for kind, name in self._related.values() if kind == "styles"), "word/styles.xml")
        root = self._package.optional(name)
        levels: dict[str, int | str] = {}
        base_styles: dict[str, str] = {}
        for style in root if root is not None else ():
            if local_name(style) != "style" or attribute(style, "type") != "paragraph":
                continue
            style_id = attribute(style, "styleId") or ""
            for child in style:
                value = attribute(child, "val") or ""
                if local_name(child) == "name":
                    heading = _HEADING.match(value)
                    if heading:
                        levels[style_id] = int(heading[1])
                    elif value.lower() in ("title", "caption"):
                        levels[style_id] = 1 if value.lower() == "title" else "caption"
                elif local_name(child) == "basedOn":
                    base_styles[style_id] = value
                elif local_name(child) == "pPr" and style_id not in levels:
                    outline = next(
                        (attribute(detail, "val") for detail in child if local_name(detail) == "outlineLvl"), None
                    )
                    if outline and outline.isdecimal() and int(outline) < 9:
                        levels[style_id] = int(outline) + 1
        for style_id in base_styles:
            ancestor, steps = style_id, 0
            while ancestor not in levels and ancestor in base_styles and steps < 20:
                ancestor, steps = base_styles[ancestor], steps + 1
            if ancestor in levels:
                levels[style_id] = levels[ancestor]
        return levels

    def _blocks(self, parent: Element, depth: int) -> Iterator[LayoutBlock]:
        if depth > _MAX_DEPTH:
            return
        for child in parent:
            name = local_name(child)
            if name == "p":
                yield from self._paragraph(child, depth)
            elif name == "tbl":
                yield from self._table(child, depth)
            elif name in ("sdt", "sdtContent", "ins", "moveTo", "customXml", "smartTag", "AlternateContent", "Choice"):
                yield from self._blocks(child, depth)

    def _paragraph(self, paragraph: Element, depth: int) -> Iterator[LayoutBlock]:
        style, level, list_item = "", None, False
        for detail in next((child for child in paragraph if local_name(child) == "pPr"), ()):
            if local_name(detail) == "pStyle":
                style = attribute(detail, "val") or ""
            elif local_name(detail) == "outlineLvl" and (attribute(detail, "val") or "9") in "012345678":
                level = int(attribute(detail, "val") or 0) + 1
            elif local_name(detail) == "numPr":
                list_item = True
        style_level = self._levels.get(style)
        text: list[str] = []
        hanging: list[LayoutBlock] = []
        self._runs(paragraph, text, hanging, depth)
        lines = "\n".join(" ".join(line.split()) for line in "".join(text).split("\n"))
        paragraph_text = lines.strip()
        level = level or (style_level if isinstance(style_level, int) else None)
        if paragraph_text and level is not None:
            yield Heading(paragraph_text, level)
        elif paragraph_text:
            yield Paragraph(
                f"- {paragraph_text}" if list_item else paragraph_text,
                list_item=list_item,
                caption=style_level == "caption",
            )
        yield from hanging

    def _runs(self, element: Element, text: list[str], hanging: list[LayoutBlock], depth: int) -> None:
        """Collect the text of a paragraph in ``text``, and its drawings and text boxes in ``hanging``."""
        for child in element:
            name = local_name(child)
            if name == "t":
                text.append(child.text or "")
            elif name in ("tab", "ptab"):
                text.append("\t")
            elif name in ("br", "cr"):
                text.append("\n")
            elif name in ("noBreakHyphen", "softHyphen"):
                text.append("-" if name == "noBreakHyphen" else "")
            elif name == "sym":
                text.append(" ")
            elif name == "txbxContent":
                hanging += self._blocks(child, depth + 1)
            elif name in ("drawing", "pict", "object"):
                hanging += self._drawing(child, depth)
            elif name not in _IGNORED:
                self._runs(child, text, hanging, depth)

    def _drawing(self, drawing: Element, depth: int) -> Iterator[LayoutBlock]:
        description = ""
        for element in drawing.iter():
            name = local_name(element)
            if name in ("docPr", "cNvPr", "shape") and not description:
                description = (
                    attribute(element, "descr") or attribute(element, "alt") or attribute(element, "title") or ""
                )
            elif name in ("blip", "imagedata"):
                relation = attribute(element, "embed") or attribute(element, "id") or ""
                kind, member = self._related.get(relation, ("", ""))
                if kind == "image":
                    yield from embedded_picture(self._file, self._package, member, description)
            elif name == "txbxContent":
                yield from self._blocks(element, depth + 1)

    def _table(self, table: Element, depth: int) -> Iterator[LayoutBlock]:
        rows: list[list[str]] = []
        pictures: list[LayoutBlock] = []
        flat = True
        # Cells are read once: reading twice per level would read the tenth nested table a thousand times.
        all_blocks: list[LayoutBlock] = []
        for row in _children(table, "tr"):
            cells: list[str] = []
            for cell in _children(row, "tc"):
                blocks = list(self._blocks(cell, depth + 1))
                all_blocks += blocks
                flat = flat and not any(isinstance(block, Table) for block in blocks)
                cells.append(" ".join(block.text for block in blocks if isinstance(block, (Paragraph, Heading))))
                pictures += [block for block in blocks if isinstance(block, EncodedPicture)]
                cell_properties = next((child for child in cell if local_name(child) == "tcPr"), ())
                span = next(
                    (attribute(child, "val") for child in cell_properties if local_name(child) == "gridSpan"), None
                )
                if span and span.isdecimal() and len(span) < 4:
                    cells += [""] * (min(60, int(span)) - 1)
            rows.append(cells)
        if flat and max(map(len, rows), default=0) > 1:
            yield Table(rows)
            yield from pictures
            return
        yield from all_blocks  # a layout table: a frame around other content


def _children(element: Element, name: str) -> list[Element]:
    """Return the children called ``name``, including those inside content controls."""
    children: list[Element] = []
    for child in element:
        if local_name(child) == name:
            children.append(child)
        elif local_name(child) in ("sdt", "sdtContent", "ins", "customXml"):
            children += _children(child, name)
    return children
