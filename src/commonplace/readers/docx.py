"""Word files (Office Open XML, ECMA-376): paragraphs, lists, tables, text boxes, notes, and their pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from commonplace.errors import ReadError
from commonplace.readers.blocks import Block, Heading, Shown, Table, Words, lay_out
from commonplace.readers.parts import File, Part
from commonplace.readers.zipxml import Package, attribute, describe, local

__all__ = ["embedded_picture", "read_docx"]

_HEADING = re.compile(r"(?:heading|überschrift|titre|标题|標題)\s*([1-9])", re.IGNORECASE)
_UNSEEN = {"del", "moveFrom", "instrText", "delText", "rPr", "pPr", "fldData", "Fallback", "annotationRef"}
_MAX_DEPTH = 12  # tables in tables in text boxes


def read_docx(file: File) -> Iterator[Part]:
    """Yield the body's parts in order, then the notes; what changes have deleted is not read."""
    package = Package(file)
    main = next((name for kind, name in package.related("").values() if kind == "officeDocument"), "word/document.xml")
    describe(file, package.optional("docProps/core.xml"))
    yield from lay_out(file, _Body(file, package, main).blocks())


def embedded_picture(file: File, package: Package, name: str, words: str) -> Iterator[Shown]:
    """Yield the picture that the package holds as ``name``; one that cannot be unpacked is a problem of the file."""
    try:
        yield Shown(package.read(name), words, name.rpartition("/")[2])
    except ReadError as error:
        file.problems.append(f"picture {name}: {error}")


class _Body:
    def __init__(self, file: File, package: Package, main: str) -> None:
        self._file, self._package, self._main = file, package, main
        self._related = package.related(main)
        self._levels = self._styles()

    def blocks(self) -> Iterator[Block]:
        root = self._package.xml(self._main)
        body = next((child for child in root if local(child) == "body"), root)
        yield from self._blocks(body, 0)
        for kind in ("footnotes", "endnotes"):
            for related, name in self._related.values():
                notes = self._package.optional(name) if related == kind else None
                for note in notes if notes is not None else ():
                    if attribute(note, "type") is None:  # the others are rules and continuation marks
                        for block in self._blocks(note, 1):
                            yield Words(block.words, item=True) if isinstance(block, Words) else block

    def _styles(self) -> dict[str, int | str]:
        """Return style id -> level of heading, or "caption"; what a style is based on passes on to it."""
        name = next((name for kind, name in self._related.values() if kind == "styles"), "word/styles.xml")
        root = self._package.optional(name)
        levels: dict[str, int | str] = {}
        based: dict[str, str] = {}
        for style in root if root is not None else ():
            if local(style) != "style" or attribute(style, "type") != "paragraph":
                continue
            known = attribute(style, "styleId") or ""
            for child in style:
                value = attribute(child, "val") or ""
                if local(child) == "name":
                    heading = _HEADING.match(value)
                    if heading:
                        levels[known] = int(heading[1])
                    elif value.lower() in ("title", "caption"):
                        levels[known] = 1 if value.lower() == "title" else "caption"
                elif local(child) == "basedOn":
                    based[known] = value
                elif local(child) == "pPr" and known not in levels:
                    outline = next((attribute(one, "val") for one in child if local(one) == "outlineLvl"), None)
                    if outline and outline.isdecimal() and int(outline) < 9:
                        levels[known] = int(outline) + 1
        for known in based:
            above, steps = known, 0
            while above not in levels and above in based and steps < 20:
                above, steps = based[above], steps + 1
            if above in levels:
                levels[known] = levels[above]
        return levels

    def _blocks(self, parent: Element, depth: int) -> Iterator[Block]:
        if depth > _MAX_DEPTH:
            return
        for child in parent:
            name = local(child)
            if name == "p":
                yield from self._paragraph(child, depth)
            elif name == "tbl":
                yield from self._table(child, depth)
            elif name in ("sdt", "sdtContent", "ins", "moveTo", "customXml", "smartTag", "AlternateContent", "Choice"):
                yield from self._blocks(child, depth)

    def _paragraph(self, paragraph: Element, depth: int) -> Iterator[Block]:
        style, level, listed = "", None, False
        for one in next((child for child in paragraph if local(child) == "pPr"), ()):
            if local(one) == "pStyle":
                style = attribute(one, "val") or ""
            elif local(one) == "outlineLvl" and (attribute(one, "val") or "9") in "012345678":
                level = int(attribute(one, "val") or 0) + 1
            elif local(one) == "numPr":
                listed = True
        known = self._levels.get(style)
        text: list[str] = []
        after: list[Block] = []
        self._runs(paragraph, text, after, depth)
        lines = "\n".join(" ".join(line.split()) for line in "".join(text).split("\n"))
        words = lines.strip()
        level = level or (known if isinstance(known, int) else None)
        if words and level is not None:
            yield Heading(words, level)
        elif words:
            yield Words(f"- {words}" if listed else words, item=listed, caption=known == "caption")
        yield from after

    def _runs(self, element: Element, text: list[str], after: list[Block], depth: int) -> None:
        """Gather the words of a paragraph, and what hangs in it."""
        for child in element:
            name = local(child)
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
                after += self._blocks(child, depth + 1)
            elif name in ("drawing", "pict", "object"):
                after += self._drawing(child, depth)
            elif name not in _UNSEEN:
                self._runs(child, text, after, depth)

    def _drawing(self, drawing: Element, depth: int) -> Iterator[Block]:
        words = ""
        for one in drawing.iter():
            name = local(one)
            if name in ("docPr", "cNvPr", "shape") and not words:
                words = attribute(one, "descr") or attribute(one, "alt") or attribute(one, "title") or ""
            elif name in ("blip", "imagedata"):
                relation = attribute(one, "embed") or attribute(one, "id") or ""
                kind, member = self._related.get(relation, ("", ""))
                if kind == "image":
                    yield from embedded_picture(self._file, self._package, member, words)
            elif name == "txbxContent":
                yield from self._blocks(one, depth + 1)

    def _table(self, table: Element, depth: int) -> Iterator[Block]:
        rows: list[list[str]] = []
        beside: list[Block] = []
        flat = True
        everything: list[Block] = []  # read once: twice would be a thousand times in the tenth table inside of another
        for row in _inside(table, "tr"):
            cells: list[str] = []
            for cell in _inside(row, "tc"):
                inside = list(self._blocks(cell, depth + 1))
                everything += inside
                flat = flat and not any(isinstance(one, Table) for one in inside)
                cells.append(" ".join(one.words for one in inside if isinstance(one, (Words, Heading))))
                beside += [one for one in inside if isinstance(one, Shown)]
                look = next((one for one in cell if local(one) == "tcPr"), ())
                span = next((attribute(one, "val") for one in look if local(one) == "gridSpan"), None)
                if span and span.isdecimal() and len(span) < 4:
                    cells += [""] * (min(60, int(span)) - 1)
            rows.append(cells)
        if flat and max(map(len, rows), default=0) > 1:
            yield Table(rows)
            yield from beside
            return
        yield from everything  # a frame around other things


def _inside(element: Element, name: str) -> list[Element]:
    """Return the children called ``name``, those in content controls among them."""
    found: list[Element] = []
    for child in element:
        if local(child) == name:
            found.append(child)
        elif local(child) in ("sdt", "sdtContent", "ins", "customXml"):
            found += _inside(child, name)
    return found
