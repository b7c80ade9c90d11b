"""OpenDocument texts and slides (ISO/IEC 26300), read from their XML."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element

from commonplace.readers.blocks import Block, Heading, Shown, Table, Words, lay_out
from commonplace.readers.docx import embedded_picture
from commonplace.readers.parts import File, Part
from commonplace.readers.zipxml import Package, attribute, describe, local

__all__ = ["read_odf"]

_UNSEEN = {"tracked-changes", "annotation", "forms", "sequence-decls", "variable-decls", "user-field-decls", "desc"}
_MAX_DEPTH = 60
_REPEATED = 60  # of one cell: empty columns are stored as one cell repeated


def read_odf(file: File) -> Iterator[Part]:
    """Yield the parts of the text in order or, of a presentation, slide by slide."""
    package = Package(file)
    describe(file, package.optional("meta.xml"), date=("modified", ""))
    root = package.xml("content.xml")
    body = next((one for one in root.iter() if local(one) == "body"), root)
    pages = [one for one in body.iter() if local(one) == "page"]
    reader = _Reader(file, package)
    if not pages:
        yield from lay_out(file, reader.blocks(body, 0))
    for number, page in enumerate(pages, 1):
        yield from lay_out(file, reader.blocks(page, 0), page=number)


class _Reader:
    def __init__(self, file: File, package: Package) -> None:
        self._file, self._package = file, package

    def blocks(self, parent: Element, depth: int, listed: bool = False) -> Iterator[Block]:
        if depth > _MAX_DEPTH:
            return
        for child in parent:
            name = local(child)
            if name in ("h", "p"):
                text: list[str] = []
                after: list[Block] = []
                self._runs(child, text, after, depth)
                words = "\n".join(" ".join(line.split()) for line in "".join(text).split("\n")).strip()
                level = attribute(child, "outline-level") or "1"
                if words and name == "h":
                    yield Heading(words, int(level) if level.isdecimal() and len(level) < 3 else 1)
                elif words:
                    yield Words(f"- {words}" if listed else words, item=listed)
                yield from after
            elif name == "table":
                yield from self._table(child, depth)
            elif name == "frame":
                yield from self._frame(child, depth)
            elif name == "notes":
                said = [one.words for one in self.blocks(child, depth + 1) if isinstance(one, Words)]
                if said:
                    yield Words("Notes: " + "\n".join(said))
            elif name not in _UNSEEN:
                yield from self.blocks(child, depth + 1, listed or name == "list")

    def _runs(self, element: Element, text: list[str], after: list[Block], depth: int) -> None:
        text.append((element.text or "").replace("\n", " "))
        for child in element:
            name = local(child)
            if name in ("tab", "s"):
                text.append(" ")
            elif name == "line-break":
                text.append("\n")
            elif name == "frame":
                after += self._frame(child, depth)
            elif name == "note":
                after += [
                    Words(one.words, item=True) for one in self.blocks(child, depth + 1) if isinstance(one, Words)
                ]
            elif name not in _UNSEEN and depth < _MAX_DEPTH:
                self._runs(child, text, after, depth + 1)
            text.append((child.tail or "").replace("\n", " "))

    def _frame(self, frame: Element, depth: int) -> Iterator[Block]:
        parts = {local(one): one for one in frame}
        said = [" ".join("".join(parts[name].itertext()).split()) for name in ("title", "desc") if name in parts]
        if "image" in parts:
            member = self._package.resolve("", attribute(parts["image"], "href") or "")
            if member in self._package.names:
                yield from embedded_picture(self._file, self._package, member, ". ".join(filter(None, said)))
        for name in ("text-box", "table"):
            if name in parts:
                yield from self._table(parts[name], depth) if name == "table" else self.blocks(parts[name], depth + 1)

    def _table(self, table: Element, depth: int) -> Iterator[Block]:
        rows: list[list[str]] = []
        beside: list[Block] = []
        for row in (one for one in table.iter() if local(one) == "table-row"):
            cells: list[str] = []
            for cell in row:
                if local(cell) not in ("table-cell", "covered-table-cell"):
                    continue
                inside = list(self.blocks(cell, depth + 1))
                words = " ".join(one.words for one in inside if isinstance(one, (Words, Heading)))
                beside += [one for one in inside if isinstance(one, Shown)]
                times = attribute(cell, "number-columns-repeated") or "1"
                cells += [words] * min(_REPEATED, int(times) if times.isdecimal() and len(times) < 6 else 1)
            rows.append(cells)
        yield Table(rows)
        yield from beside
