"""OpenDocument texts, presentations and sheets (ISO/IEC 26300)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from commonplace.i18n import _
from commonplace.readers.blocks import EncodedPicture, Heading, LayoutBlock, Paragraph, Table, clean_alt_text, lay_out
from commonplace.readers.docx import embedded_picture
from commonplace.readers.equations import equation
from commonplace.readers.grids import Grid, block_text, cell_text
from commonplace.readers.odf_styles import ListStyle, OdfStyles
from commonplace.readers.order import shape_order
from commonplace.readers.parts import File, Part
from commonplace.readers.regions import Range, SheetGrid
from commonplace.readers.runs import RunText
from commonplace.readers.zipxml import Package, attribute, children_of, first_child, local_name, read_core_metadata
from commonplace.types import Box

__all__ = ["read_odf", "sheet_blocks"]

_IGNORED = {
    "tracked-changes", "forms", "sequence-decls", "variable-decls", "user-field-decls", "desc", "title", "hidden-text",
    "dde-connection-decls", "settings", "tracked-change", "soft-page-break", "shapes",
}  # fmt: skip
_MAX_DEPTH = 60
_MAX_REPEATED = 1_000  # repetitions of one row or cell with content
_MAX_COLUMNS, _MAX_ROWS = 1_000, 200_000
_LONG_NESTED = 400  # characters; a cell with a longer table in it belongs to a table that only lays out the page
_LENGTH = re.compile(r"(-?\d+(?:\.\d+)?)(cm|mm|in|pt|pc|px)?")
_UNITS = {"cm": 1.0, "mm": 0.1, "in": 2.54, "pt": 2.54 / 72, "pc": 2.54 / 6, "px": 2.54 / 96}
_PAGE = (28.0, 21.0)  # cm; a slide, where its size is not known


def read_odf(file: File) -> Iterator[Part]:
    """Yield the parts of a text in order, with headers and footers once; of a presentation, slide by slide."""
    package = Package(file)
    read_core_metadata(file, package.optional("meta.xml"), date=("modified", ""))
    root = package.xml("content.xml")
    body = next((element for element in root.iter() if local_name(element) == "body"), root)
    pages = [element for element in body.iter() if local_name(element) == "page"]
    reader = _Reader(file, package, root)
    if not pages:
        yield from lay_out(file, reader.text(body))
    for number, page in enumerate(pages, 1):
        title, blocks = reader.slide(page)
        if title and file.title is None:
            file.title = title
        if title and not blocks:
            blocks, title = [Paragraph(title)], None
        yield from lay_out(file, blocks, page=number, title=title)


def sheet_blocks(file: File, package: Package) -> Iterator[LayoutBlock]:
    """Yield the sheets of a spreadsheet as their cells show them."""
    root = package.xml("content.xml")
    body = next((element for element in root.iter() if local_name(element) == "spreadsheet"), root)
    reader = _Reader(file, package, root)
    for table in children_of(body, "table"):
        yield from reader.sheet(table)


@dataclass(slots=True)
class _List:
    """A list while it is read; lists inside it share its counters, by level from 1."""

    style: ListStyle
    level: int
    counters: dict[int, int] = field(default_factory=dict)


class _Reader:
    def __init__(self, file: File, package: Package, root: Element) -> None:
        self._file, self._package = file, package
        styles = package.optional("styles.xml")
        self._masters = styles
        self._styles = OdfStyles(root, styles)
        self._lists: dict[str, dict[int, int]] = {}  # counters of the last list of each style
        self._outline: dict[int, int] = {}

    def text(self, body: Element) -> Iterator[LayoutBlock]:
        yield from self._running_heads()
        yield from self.blocks(body, 0)

    def _running_heads(self) -> Iterator[LayoutBlock]:
        written: set[str] = set()
        for element in self._masters.iter() if self._masters is not None else ():
            kind = local_name(element).partition("-")[0]
            if kind not in ("header", "footer") or local_name(element).endswith(("style", "properties")):
                continue
            texts = [block_text(block) for block in self.blocks(element, 1)]
            text = f"{kind.capitalize()}: {'; '.join(filter(None, texts))}"
            if any(map(str.isalnum, text.partition(": ")[2])) and text not in written:
                written.add(text)
                yield Paragraph(text, list_item=True)

    def blocks(self, parent: Iterable[Element], depth: int, in_list: _List | None = None) -> Iterator[LayoutBlock]:
        if depth > _MAX_DEPTH:
            return
        for child in parent:
            name = local_name(child)
            if name in ("h", "p"):
                yield from self._paragraph(child, depth, None)
            elif name == "list":
                yield from self._list(child, depth, in_list)
            elif name == "table":
                yield from self._table(child, depth)
            elif name in ("frame", "custom-shape", "rect", "ellipse", "line", "connector"):
                yield from self._frame(child, depth)
            elif name == "annotation":
                yield from self._comment(child, depth)
            elif name == "notes":
                notes = [block.text for block in self.blocks(child, depth + 1) if isinstance(block, Paragraph)]
                if notes:
                    yield Paragraph("Notes: " + "\n".join(notes))
            elif name not in _IGNORED:
                yield from self.blocks(child, depth + 1, in_list)

    def _paragraph(self, element: Element, depth: int, label: str | None) -> Iterator[LayoutBlock]:
        """Yield a paragraph or a heading; ``label`` is its number in a list, None outside of one."""
        text = RunText()
        hanging: list[LayoutBlock] = []
        style = attribute(element, "style-name") or ""
        if not self._styles.is_hidden(style):
            self._runs(element, text, hanging, depth)
        words = text.text
        level = self._styles.title_level(style)
        if local_name(element) == "h":
            number = attribute(element, "outline-level") or "1"
            level = int(number) if number.isdecimal() and 0 < int(number[:2]) < 11 else 1
            if words and not label and attribute(element, "is-list-header") != "true":
                label = self._outline_label(level)
        if words and level is not None:
            yield Heading(f"{label} {words}" if label and label != "-" else words, level)
        elif words:
            yield Paragraph(
                f"{label} {words}" if label else words,
                list_item=label is not None,
                caption=self._styles.is_caption(style),
            )
        yield from hanging

    def _outline_label(self, level: int) -> str:
        self._outline[level] = self._outline.get(level, self._styles.outline.start(level) - 1) + 1
        for deeper in [key for key in self._outline if key > level]:
            del self._outline[deeper]
        label = self._styles.outline.label(level, self._outline)
        return "" if label == "-" else label

    def _list(self, element: Element, depth: int, outer: _List | None) -> Iterator[LayoutBlock]:
        name = attribute(element, "style-name")
        style = self._styles.list_style(name) if name or outer is None else outer.style
        level = outer.level + 1 if outer is not None else 1
        goes_on = attribute(element, "continue-numbering") == "true" or attribute(element, "continue-list")
        if outer is not None:
            counters = outer.counters
        else:
            counters = self._lists.get(name or "", {}) if goes_on else {}
            self._lists[name or ""] = counters
        for deeper in [key for key in counters if key > level or (key == level and outer is not None and not goes_on)]:
            del counters[deeper]
        current = _List(style, level, counters)
        for item in element:
            label: str | None = ""
            if local_name(item) == "list-item":
                is_nested = not any(local_name(child) in ("p", "h") for child in item)
                start = attribute(item, "start-value") or ""
                if start.isdecimal() and len(start) < 9:
                    counters[level] = int(start)
                elif not is_nested:
                    counters[level] = counters.get(level, style.start(level) - 1) + 1
                label = "" if is_nested else style.label(level, counters)
            for child in item:
                if local_name(child) in ("p", "h"):
                    yield from self._paragraph(child, depth + 1, label)
                    label = ""
                elif local_name(child) == "list" and depth < _MAX_DEPTH:
                    yield from self._list(child, depth + 1, current)
                elif local_name(child) == "table":
                    yield from self._table(child, depth + 1)

    def _runs(
        self, element: Element, text: RunText, hanging: list[LayoutBlock], depth: int, position: str = ""
    ) -> None:
        text.add((element.text or "").replace("\n", " "), position)
        for child in element:
            name = local_name(child)
            if name in ("tab", "s"):
                text.add(" ")
            elif name == "line-break":
                text.add("\n")
            elif name == "note":
                body = first_child(child, "note-body")
                citation = first_child(child, "note-citation")
                mark = "".join(citation.itertext()).strip() if citation is not None else "*"
                text.note(mark)
                notes = self.blocks(body, depth + 1) if body is not None else ()
                for number, block in enumerate(notes):
                    words = block_text(block)
                    hanging.append(Paragraph(words if number else f"[{mark}] {words}", list_item=True))
            elif name == "annotation":
                hanging += self._comment(child, depth)
            elif name == "ruby":
                base, reading = (first_child(child, part) for part in ("ruby-base", "ruby-text"))
                text.ruby(*("".join(part.itertext()) if part is not None else "" for part in (base, reading)))
            elif name == "content-control" and attribute(child, "checkbox") == "true":
                text.add("[x]" if attribute(child, "checked") == "true" else "[ ]")
            elif name in ("frame", "custom-shape", "rect", "ellipse"):
                formula = self._formula(child)
                if formula:
                    text.add(f" {formula} ")
                else:
                    hanging += self._frame(child, depth)
            elif name == "page-number":
                pass
            elif name not in _IGNORED and depth < _MAX_DEPTH:
                style = attribute(child, "style-name") if name == "span" else None
                if style is None or not self._styles.is_hidden(style):
                    raised = self._styles.position(style) if style else ""
                    self._runs(child, text, hanging, depth + 1, raised or position)
            text.add((child.tail or "").replace("\n", " "), position)

    def _comment(self, element: Element, depth: int) -> Iterator[Paragraph]:
        author, written = (
            "".join(part.itertext()).strip() if part is not None else ""
            for part in (first_child(element, "creator"), first_child(element, "date"))
        )
        words = " ".join(block_text(block) for block in self.blocks(element, depth + 1))
        if words:
            signed = f" by {author}" if author else ""
            yield Paragraph(f"Comment{signed}{f', {written}' if written else ''}: {words}", list_item=True)

    def _object(self, frame: Element) -> Element | None:
        """Return the root of the formula or chart in a frame."""
        embedded = first_child(frame, "object")
        if embedded is None:
            return None
        inner = next((child for child in embedded.iter() if local_name(child) == "math"), None)
        if inner is not None:
            return inner
        folder = self._package.resolve("", attribute(embedded, "href") or "")
        return self._package.optional(f"{folder}/content.xml")

    def _formula(self, frame: Element) -> str:
        root = self._object(frame)
        return equation(root) if root is not None and local_name(root) == "math" else ""

    def _frame(self, frame: Element, depth: int) -> Iterator[LayoutBlock]:
        parts = {local_name(child): child for child in frame}
        descriptions = [
            " ".join("".join(parts[name].itertext()).split()) for name in ("title", "desc") if name in parts
        ]
        description = ". ".join(filter(None, descriptions))
        formula = self._formula(frame)
        root = self._object(frame) if not formula else None
        charts = list(self._chart(root)) if root is not None else []
        if formula:
            yield Paragraph(formula)
        yield from charts
        if "image" in parts and not formula and not charts:
            member = self._package.resolve("", attribute(parts["image"], "href") or "")
            if member in self._package.names:
                yield from embedded_picture(self._file, self._package, member, description)
            elif clean_alt_text(description):  # the picture is not in the file: what it shows is all there is
                yield Paragraph(f"[{clean_alt_text(description)}]")
        for child in frame:
            if local_name(child) == "table":
                yield from self._table(child, depth)
            elif local_name(child) == "text-box":
                yield from self.blocks(child, depth + 1)
            elif local_name(child) in ("p", "h", "list"):
                yield from self.blocks(frame, depth + 1)
                break

    def _chart(self, root: Element) -> Iterator[LayoutBlock]:
        chart = next(
            (element for element in root.iter() if local_name(element) == "chart" and attribute(element, "class")), None
        )
        if chart is None:
            return
        kind = (attribute(chart, "class") or "").rpartition(":")[2].capitalize()
        title = _title(chart)
        axes = [_title(axis) for axis in chart.iter() if local_name(axis) == "axis"]
        caption = f"{kind} chart" if kind else "Chart"
        caption += f": {title}" if title else ""
        caption += f" (axes: {'; '.join(filter(None, axes))})" if any(axes) else ""
        tables = [block for table in children_of(chart, "table") for block in self._table(table, 1)]
        yield Paragraph(caption, caption=bool(tables))
        yield from tables

    def _table(self, table: Element, depth: int) -> Iterator[LayoutBlock]:
        grid = Grid()
        pictures: list[LayoutBlock] = []
        all_blocks: list[LayoutBlock] = []
        lays_out_page, number, heads = False, 0, 0
        for row, is_head in _rows(table, 0):
            for _time in range(min(_MAX_REPEATED, _repeated(row, "number-rows-repeated"))):
                column = 0
                for cell in row:
                    times = _repeated(cell, "number-columns-repeated")
                    if local_name(cell) == "table-cell":
                        blocks = list(self.blocks(cell, depth + 1))
                        nested = [cell_text(block) for block in blocks if isinstance(block, Table)]
                        lays_out_page = lays_out_page or any(len(text) > _LONG_NESTED for text in nested)
                        all_blocks += blocks
                        pictures += [block for block in blocks if isinstance(block, EncodedPicture)]
                        text = " ".join(filter(None, map(block_text, blocks)))
                        height, width = (_repeated(cell, f"number-{part}-spanned") for part in ("rows", "columns"))
                        for again in range(min(_MAX_REPEATED, times) if text else 0):
                            grid.place(number, column + again, text, height=height, width=width)
                    column += times
                heads += is_head and heads == number
                number += 1
        if lays_out_page or grid.is_single_column:
            yield from all_blocks  # a frame around other content
            return
        yield from grid.blocks(head_rows=heads if heads > 1 else None)
        yield from pictures

    def slide(self, page: Element) -> tuple[str | None, list[LayoutBlock]]:
        """Return the title and the blocks of a slide as a person reads it, its notes last."""
        title: str | None = None
        pieces: list[tuple[Box | None, list[LayoutBlock]]] = []
        notes: list[LayoutBlock] = []
        for shape in page:
            blocks = list(self.blocks([shape], 0))
            kind = attribute(shape, "class")
            if local_name(shape) == "notes":
                notes += blocks
            elif kind == "title" and title is None and blocks:
                title = " ".join(block_text(block) for block in blocks)
            elif kind not in ("page-number", "date-time") and blocks:
                pieces.append((_place(shape), blocks))
        ordered = [block for index in shape_order([box for box, blocks in pieces]) for block in pieces[index][1]]
        return title, ordered + notes

    def sheet(self, table: Element) -> Iterator[LayoutBlock]:
        """Yield a sheet of a spreadsheet: tables where they are, then what lies on it, and comments."""
        name = attribute(table, "name") or ""
        is_hidden = not self._styles.is_displayed(attribute(table, "style-name") or "")
        yield Heading(f"{name} (hidden sheet)" if is_hidden else name)
        rows: list[list[str]] = []
        merged: list[Range] = []
        others: list[LayoutBlock] = []
        unread, empty, formulas = 0, 0, 0
        for row, _is_head in _rows(table, 0):
            times = _repeated(row, "number-rows-repeated")
            texts: list[str] = []
            column = 0
            for cell in row:
                across = _repeated(cell, "number-columns-repeated")
                if local_name(cell) == "table-cell":
                    blocks = list(self.blocks(cell, 1))
                    lines = [block.text for block in blocks if isinstance(block, Paragraph) and not _is_comment(block)]
                    text = " ".join(lines)
                    if not text and attribute(cell, "formula") and attribute(cell, "value-type") is None:
                        text = (attribute(cell, "formula") or "").partition(":")[2]
                        formulas += 1
                    others += [block for block in blocks if _is_comment(block) or not isinstance(block, Paragraph)]
                    if text and column < _MAX_COLUMNS:
                        texts += [""] * (column - len(texts)) + [text] * min(across, _MAX_COLUMNS - column)
                        high, wide = (_repeated(cell, f"number-{part}-spanned") for part in ("rows", "columns"))
                        if high > 1 or wide > 1:
                            at = len(rows) + empty
                            merged.append((at, column, at + high - 1, column + wide - 1))
                column += across
            if not texts:
                empty += times
                continue
            rows += [[] for _ in range(min(empty, _MAX_ROWS - len(rows)))]
            empty = 0
            kept = min(times, _MAX_ROWS - len(rows))
            unread += times - kept
            rows += [texts] * kept
        if unread:
            message = _("only the first {max_rows:,} rows of sheet {name} were read; split it")
            self._file.problems.append(message.format(max_rows=_MAX_ROWS, name=name))
        if formulas:
            message = _(
                "{count} formulas of sheet {name} have no stored result and are shown as they are written; open it in "
                "a spreadsheet program, save it, and add it again"
            )
            self._file.problems.append(message.format(count=formulas, name=name))
        width = max(map(len, rows), default=0)
        yield from SheetGrid([cells + [""] * (width - len(cells)) for cells in rows], merged=merged).blocks()
        yield from others
        for shapes in children_of(table, "shapes"):
            yield from self.blocks(shapes, 1)


def _is_comment(block: LayoutBlock) -> bool:
    return isinstance(block, Paragraph) and block.list_item and block.text.startswith("Comment")


def _title(element: Element) -> str:
    title = first_child(element, "title")
    return " ".join("".join(title.itertext()).split()) if title is not None else ""


def _rows(element: Element, depth: int) -> Iterator[tuple[Element, bool]]:
    """Yield the rows of a table, not those of tables in its cells, and whether each is in its head."""
    for child in element:
        name = local_name(child)
        if name == "table-row":
            yield child, local_name(element) == "table-header-rows"
        elif name in ("table-rows", "table-header-rows", "table-row-group") and depth < _MAX_DEPTH:
            yield from _rows(child, depth + 1)


def _repeated(element: Element, name: str) -> int:
    value = attribute(element, name) or ""
    return max(1, int(value)) if value.isdecimal() and len(value) < 8 else 1


def _place(shape: Element) -> Box | None:
    """Return where a shape is, as shares of an ordinary slide."""
    values = [_LENGTH.fullmatch(attribute(shape, name) or "") for name in ("x", "y", "width", "height")]
    if not all(values):
        return None
    left, top, width, height = (
        float(match[1]) * _UNITS.get(match[2] or "cm", 1.0) for match in values if match is not None
    )
    return left / _PAGE[0], top / _PAGE[1], (left + width) / _PAGE[0], (top + height) / _PAGE[1]
