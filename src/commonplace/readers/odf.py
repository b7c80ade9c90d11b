"""OpenDocument texts and presentations (ISO/IEC 26300)."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element

from commonplace.readers.blocks import EncodedPicture, Heading, LayoutBlock, Paragraph, Table, lay_out
from commonplace.readers.docx import embedded_picture
from commonplace.readers.parts import File, Part
from commonplace.readers.zipxml import Package, attribute, local_name, read_core_metadata

__all__ = ["read_odf"]

_IGNORED = {"tracked-changes", "annotation", "forms", "sequence-decls", "variable-decls", "user-field-decls", "desc"}
_MAX_DEPTH = 60
_MAX_REPEATED = 60  # repetitions of one cell; empty columns are stored as one repeated cell


def read_odf(file: File) -> Iterator[Part]:
    """Yield the parts of a text in order; of a presentation, slide by slide."""
    package = Package(file)
    read_core_metadata(file, package.optional("meta.xml"), date=("modified", ""))
    root = package.xml("content.xml")
    body = next((element for element in root.iter() if local_name(element) == "body"), root)
    pages = [element for element in body.iter() if local_name(element) == "page"]
    reader = _Reader(file, package)
    if not pages:
        yield from lay_out(file, reader.blocks(body, 0))
    for number, page in enumerate(pages, 1):
        yield from lay_out(file, reader.blocks(page, 0), page=number)


class _Reader:
    def __init__(self, file: File, package: Package) -> None:
        self._file, self._package = file, package

    def blocks(self, parent: Element, depth: int, in_list: bool = False) -> Iterator[LayoutBlock]:
        if depth > _MAX_DEPTH:
            return
        for child in parent:
            name = local_name(child)
            if name in ("h", "p"):
                text: list[str] = []
                hanging: list[LayoutBlock] = []
                self._runs(child, text, hanging, depth)
                paragraph_text = "\n".join(" ".join(line.split()) for line in "".join(text).split("\n")).strip()
                level = attribute(child, "outline-level") or "1"
                if paragraph_text and name == "h":
                    yield Heading(paragraph_text, int(level) if level.isdecimal() and len(level) < 3 else 1)
                elif paragraph_text:
                    yield Paragraph(f"- {paragraph_text}" if in_list else paragraph_text, list_item=in_list)
                yield from hanging
            elif name == "table":
                yield from self._table(child, depth)
            elif name == "frame":
                yield from self._frame(child, depth)
            elif name == "notes":
                notes = [block.text for block in self.blocks(child, depth + 1) if isinstance(block, Paragraph)]
                if notes:
                    yield Paragraph("Notes: " + "\n".join(notes))
            elif name not in _IGNORED:
                yield from self.blocks(child, depth + 1, in_list or name == "list")

    def _runs(self, element: Element, text: list[str], hanging: list[LayoutBlock], depth: int) -> None:
        text.append((element.text or "").replace("\n", " "))
        for child in element:
            name = local_name(child)
            if name in ("tab", "s"):
                text.append(" ")
            elif name == "line-break":
                text.append("\n")
            elif name == "frame":
                hanging += self._frame(child, depth)
            elif name == "note":
                hanging += [
                    Paragraph(block.text, list_item=True)
                    for block in self.blocks(child, depth + 1)
                    if isinstance(block, Paragraph)
                ]
            elif name not in _IGNORED and depth < _MAX_DEPTH:
                self._runs(child, text, hanging, depth + 1)
            text.append((child.tail or "").replace("\n", " "))

    def _frame(self, frame: Element, depth: int) -> Iterator[LayoutBlock]:
        parts = {local_name(child): child for child in frame}
        descriptions = [
            " ".join("".join(parts[name].itertext()).split()) for name in ("title", "desc") if name in parts
        ]
        if "image" in parts:
            member = self._package.resolve("", attribute(parts["image"], "href") or "")
            if member in self._package.names:
                yield from embedded_picture(self._file, self._package, member, ". ".join(filter(None, descriptions)))
        for name in ("text-box", "table"):
            if name in parts:
                yield from self._table(parts[name], depth) if name == "table" else self.blocks(parts[name], depth + 1)

    def _table(self, table: Element, depth: int) -> Iterator[LayoutBlock]:
        rows: list[list[str]] = []
        pictures: list[LayoutBlock] = []
        for row in (element for element in table.iter() if local_name(element) == "table-row"):
            cells: list[str] = []
            for cell in row:
                if local_name(cell) not in ("table-cell", "covered-table-cell"):
                    continue
                blocks = list(self.blocks(cell, depth + 1))
                cell_text = " ".join(block.text for block in blocks if isinstance(block, (Paragraph, Heading)))
                pictures += [block for block in blocks if isinstance(block, EncodedPicture)]
                times = attribute(cell, "number-columns-repeated") or "1"
                cells += [cell_text] * min(_MAX_REPEATED, int(times) if times.isdecimal() and len(times) < 6 else 1)
            rows.append(cells)
        yield Table(rows)
        yield from pictures
