"""What calamine leaves out of an Excel workbook (ECMA-376 part 1, 18): formats, tables, comments, charts, boxes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from commonplace.errors import ReadError
from commonplace.readers.blocks import LayoutBlock, Paragraph
from commonplace.readers.docx import embedded_picture
from commonplace.readers.drawings import chart_blocks, diagram_blocks, drawing_paragraph
from commonplace.readers.number_formats import BUILT_IN, has_decimal_comma
from commonplace.readers.parts import File
from commonplace.readers.runs import RunText
from commonplace.readers.zipxml import Package, attribute, children_of, first_child, local_name

__all__ = ["Range", "SheetParts", "WorkbookParts", "column_name", "column_of"]

_CELL = re.compile(rb"<(?:\w+:)?c\s([^>]*?)(?:/>|>(.*?)</(?:\w+:)?c>)", re.DOTALL)
_PLACE = re.compile(rb'\br="([A-Z]{1,3})(\d{1,7})"')
_STYLE = re.compile(rb'\bs="(\d{1,6})"')
_FORMULA = re.compile(rb"<(?:\w+:)?f\b([^>]*?)(?:/>|>([^<]*)<)")
_VALUE = re.compile(rb"<(?:\w+:)?(?:v>[^<]|is\b)")
_SHARED = re.compile(rb'\bsi="(\d+)"')
_PANE = re.compile(rb"<(?:\w+:)?pane\s[^>]*>")
_RANGE = re.compile(r"\$?([A-Z]{1,3})\$?(\d{1,7})(?::\$?([A-Z]{1,3})\$?(\d{1,7}))?$")
_MAX_FORMULA = 300  # characters

Range = tuple[int, int, int, int]
"""Top row, left column, bottom row and right column, from 0, the last included."""


@dataclass(slots=True)
class SheetParts:
    """A sheet beside its values. Places are (row, column) from 0."""

    formats: dict[tuple[int, int], str] = field(default_factory=dict)
    formulas: dict[tuple[int, int], str] = field(default_factory=dict)  # those without a stored value
    tables: dict[Range, int] = field(default_factory=dict)  # the rows of each table's head
    frozen_rows: int = 0
    comments: list[tuple[tuple[int, int], str, str]] = field(default_factory=list)  # place, author, text


@dataclass(frozen=True, slots=True)
class _Sheet:
    name: str
    member: str
    is_hidden: bool
    is_chart: bool


class WorkbookParts:
    """The XML parts of an XLSX."""

    def __init__(self, file: File, package: Package) -> None:
        self._file, self._package = file, package
        self._related = package.related("xl/workbook.xml")
        self.sheets = {sheet.name: sheet for sheet in self._sheets()}
        self._codes, codes = self._formats()
        self.has_comma = has_decimal_comma(codes)
        self._persons = self._read_persons()
        self.marked_texts = self._marked_texts()

    def _sheets(self) -> Iterator[_Sheet]:
        workbook = self._package.optional("xl/workbook.xml")
        for sheet in workbook.iter() if workbook is not None else ():
            if local_name(sheet) == "sheet":
                kind, member = self._related.get(attribute(sheet, "id") or "", ("", ""))
                is_hidden = attribute(sheet, "state") in ("hidden", "veryHidden")
                yield _Sheet(attribute(sheet, "name") or "", member, is_hidden, kind == "chartsheet")

    def _formats(self) -> tuple[dict[int, str], list[str]]:
        """Return the number format of each cell style that has one, and all formats that the workbook defines."""
        name = next((name for kind, name in self._related.values() if kind == "styles"), "xl/styles.xml")
        root = self._package.optional(name)
        custom = {
            attribute(code, "numFmtId"): attribute(code, "formatCode") or ""
            for code in children_of(first_child(root, "numFmts"), "numFmt")
        }
        codes: dict[int, str] = {}
        for number, style in enumerate(children_of(first_child(root, "cellXfs"), "xf")):
            key = attribute(style, "numFmtId") or "0"
            built_in = BUILT_IN.get(int(key)) if key.isdecimal() and len(key) < 5 else None
            code = custom.get(key, built_in)
            if code and code != "General":
                codes[number] = code
        return codes, list(custom.values())

    def _marked_texts(self) -> dict[str, str]:
        """Return the texts with raised or lowered marks, as calamine reads them, with the marks apart."""
        name = next((name for kind, name in self._related.values() if kind == "sharedStrings"), "")
        try:
            data = self._package.read(name) if name in self._package.names else b""
        except ReadError:
            return {}
        self._file.quota.bytes += len(data)  # it is already counted in the quota
        root = self._package.optional(name) if b"vertAlign" in data else None
        texts: dict[str, str] = {}
        for item in children_of(root, "si"):
            text, plain = RunText(), ""
            for run in children_of(item, "r"):
                part = first_child(run, "t")
                words = (part.text or "") if part is not None else ""
                words = words if attribute(part, "space") == "preserve" else words.strip()
                raised = attribute(first_child(first_child(run, "rPr"), "vertAlign"), "val") or ""
                text.add(words, {"superscript": "super", "subscript": "sub"}.get(raised, ""))
                plain += words
            if plain and text.text != plain:
                texts[plain] = text.text
        return texts

    def _read_persons(self) -> dict[str, str]:
        names = {}
        for kind, member in self._related.values():
            root = self._package.optional(member) if kind == "person" else None
            for person in root if root is not None else ():
                names[attribute(person, "id") or ""] = attribute(person, "displayName") or ""
        return names

    def parts(self, name: str) -> SheetParts:
        """Return what a sheet has beside its values; as much of it as can be read."""
        parts = SheetParts()
        sheet = self.sheets.get(name)
        if sheet is None or not sheet.member.endswith(".xml") or sheet.member not in self._package.names:
            return parts
        try:
            data = self._package.read(sheet.member)
        except ReadError:
            return parts
        self._file.quota.bytes += len(data)  # it is already counted in the quota
        pane = _PANE.search(data)
        if pane is not None and b"frozen" in pane[0]:
            split = re.search(rb'\bySplit="(\d{1,4})"', pane[0])
            parts.frozen_rows = int(split[1]) if split else 0
        self._scan(data, parts)
        for kind, member in self._package.related(sheet.member).values():
            root = self._package.optional(member) if kind in ("table", "comments", "threadedComment") else None
            if root is None:
                continue
            if kind == "table":
                area = _area(attribute(root, "ref") or "")
                if area is not None:
                    parts.tables[area] = 0 if attribute(root, "headerRowCount") == "0" else 1
            else:
                self._add_comments(root, parts)
        return parts

    def _scan(self, data: bytes, parts: SheetParts) -> None:
        """Find cells with a number format, and formulas without a stored value."""
        shared: dict[bytes, tuple[str, str]] = {}
        if not self._codes and b"<f" not in data and b":f" not in data:
            return
        for match in _CELL.finditer(data):
            attributes, content = match.groups()
            if content is None:
                continue
            style = _STYLE.search(attributes)
            code = self._codes.get(int(style[1])) if style else None
            formula = _FORMULA.search(content)
            if code is None and formula is None:
                continue
            place = _PLACE.search(attributes)
            if place is None:
                continue
            at = (int(place[2]) - 1, column_of(place[1].decode()))
            if code is not None:
                parts.formats[at] = code
            if formula is not None:
                text = _unescaped(formula[2] or b"")
                index = _SHARED.search(formula[1])
                if index and text:
                    shared[index[1]] = text, (place[1] + place[2]).decode()
                elif index and index[1] in shared:
                    text = "{} as in {}".format(*shared[index[1]])
                if text and not _VALUE.search(content) and b't="str"' not in attributes:
                    parts.formulas[at] = f"={text}"

    def _add_comments(self, root: Element, parts: SheetParts) -> None:
        authors = ["".join(author.itertext()) for author in root.iter() if local_name(author) == "author"]
        threaded = {place for place, _, _ in parts.comments} if local_name(root) == "comments" else set()
        if local_name(root) == "ThreadedComments":
            places = {_place(attribute(comment, "ref") or "") for comment in root}
            parts.comments = [entry for entry in parts.comments if entry[0] not in places]
        for comment in root.iter():
            place = _place(attribute(comment, "ref") or "")
            if place is None or place in threaded:
                continue
            if local_name(comment) == "comment":
                index = attribute(comment, "authorId") or ""
                author = authors[int(index)] if index.isdecimal() and int(index[:6]) < len(authors) else ""
                words = [text.text or "" for text in comment.iter() if local_name(text) == "t"]
                parts.comments.append((place, author, " ".join("".join(words).split())))
            elif local_name(comment) == "threadedComment":
                words = [text for child in children_of(comment, "text") for text in child.itertext()]
                text = " ".join("".join(words).split())
                parts.comments.append((place, self._persons.get(attribute(comment, "personId") or "", ""), text))

    def drawn(self, name: str) -> Iterator[LayoutBlock]:
        """Yield the charts, text boxes and pictures that lie on a sheet, from the top."""
        sheet = self.sheets.get(name)
        for kind, member in self._package.related(sheet.member).values() if sheet is not None else ():
            root = self._package.optional(member) if kind == "drawing" else None
            related = self._package.related(member)
            anchors = sorted(root, key=_anchor) if root is not None else []
            for anchor in anchors:
                yield from self._shapes(anchor, related, "")

    def _shapes(self, parent: Element, related: dict[str, tuple[str, str]], description: str) -> Iterator[LayoutBlock]:
        for shape in parent:
            name = local_name(shape)
            if name.startswith("nv"):
                description = attribute(first_child(shape, "cNvPr"), "descr") or ""
            if name in ("chart", "relIds"):
                member = related.get(attribute(shape, "id") or attribute(shape, "dm") or "", ("", ""))[1]
                root = self._package.optional(member)
                if root is not None:
                    yield from chart_blocks(root) if name == "chart" else diagram_blocks(root)
            elif name == "blip":
                kind, image = related.get(attribute(shape, "embed") or "", ("", ""))
                if kind == "image":
                    yield from embedded_picture(self._file, self._package, image, description)
            elif name == "p":
                words = drawing_paragraph(shape)
                if words:
                    yield Paragraph(words)
            elif name != "Fallback":
                yield from self._shapes(shape, related, description)


def column_of(letters: str) -> int:
    """Return the number of a column from 0: A is 0, AA is 26."""
    number = 0
    for letter in letters:
        number = 26 * number + ord(letter) - 64
    return number - 1


def column_name(number: int) -> str:
    """Return the letters of a column, counted from 0."""
    letters = ""
    number += 1
    while number > 0:
        number, rest = divmod(number - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def _area(reference: str) -> Range | None:
    match = _RANGE.match(reference)
    if match is None:
        return None
    left, top = column_of(match[1]), int(match[2]) - 1
    return top, left, int(match[4] or match[2]) - 1, column_of(match[3] or match[1])


def _place(reference: str) -> tuple[int, int] | None:
    area = _area(reference)
    return area[:2] if area is not None else None


def _anchor(element: Element) -> tuple[int, int]:
    begin = first_child(element, "from")
    texts = [
        (child.text or "") if child is not None else ""
        for child in (first_child(begin, "row"), first_child(begin, "col"))
    ]
    row, column = (int(text) if text.isdecimal() and len(text) < 8 else 0 for text in texts)
    return row, column


def _unescaped(data: bytes) -> str:
    text = data.decode("utf-8", "replace")[:_MAX_FORMULA]
    for name, sign in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&apos;", "'"), ("&amp;", "&")):
        text = text.replace(name, sign)
    return " ".join(text.split())
