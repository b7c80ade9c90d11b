"""Word files (Office Open XML, ECMA-376): numbered paragraphs, tables, text boxes, notes, comments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from commonplace.errors import ReadError
from commonplace.i18n import _
from commonplace.readers.blocks import EncodedPicture, Heading, LayoutBlock, Paragraph, Table, clean_alt_text, lay_out
from commonplace.readers.drawings import chart_blocks, diagram_blocks
from commonplace.readers.equations import equation
from commonplace.readers.grids import Grid, block_text, cell_text
from commonplace.readers.metafiles import read_metafile
from commonplace.readers.numbering import format_number
from commonplace.readers.parts import File, Part
from commonplace.readers.runs import RunText, symbol
from commonplace.readers.word_styles import Numbers, Style, read_styles
from commonplace.readers.zipxml import Package, attribute, children_of, first_child, local_name, read_core_metadata
from commonplace.types import Box

__all__ = ["embedded_picture", "read_docx", "readable_picture"]

_IGNORED = {
    "del", "moveFrom", "instrText", "delText", "delInstrText", "rPr", "pPr", "fldData", "annotationRef", "sdtPr",
    "footnoteRef", "endnoteRef", "lastRenderedPageBreak",
}  # fmt: skip
_CONTAINERS = ("sdt", "sdtContent", "ins", "moveTo", "customXml", "smartTag", "AlternateContent", "Choice")
_MAX_DEPTH = 12  # levels of tables and text boxes inside each other
_LONG_NESTED = 400  # characters; a cell with a longer table in it belongs to a table that only lays out the page
_PAGE_FIELD = re.compile(r"\s*(PAGE|NUMPAGES|SECTIONPAGES|SECTION)\b", re.IGNORECASE)
_OFF = ("0", "false", "off", "none")
_CHECKED = {True: "[x]", False: "[ ]"}


def read_docx(file: File) -> Iterator[Part]:
    """Yield headers and footers, each once, then the body in order with notes and comments where they stand.

    Deleted text of tracked changes and hidden text are skipped.
    """
    package = Package(file)
    main = next((name for kind, name in package.related("").values() if kind == "officeDocument"), "word/document.xml")
    read_core_metadata(file, package.optional("docProps/core.xml"))
    yield from lay_out(file, _Document(file, package, main).blocks())


def embedded_picture(
    file: File, package: Package, name: str, description: str, box: Box | None = None
) -> Iterator[EncodedPicture | Paragraph]:
    """Yield the picture stored as ``name`` in the package; where it cannot be unpacked, note a problem instead."""
    try:
        data = package.read(name)
    except ReadError as error:
        file.problems.append(_("picture {name}: {error}").format(name=name, error=error))
        return
    yield from readable_picture(file, EncodedPicture(data, description, name.rpartition("/")[2], box))


def readable_picture(file: File, picture: EncodedPicture) -> Iterator[EncodedPicture | Paragraph]:
    """Yield a picture; of a Windows metafile its words and its bitmap, with a note where it has no bitmap."""
    metafile = read_metafile(picture.data)
    if metafile is None:
        yield picture
        return
    if metafile.bitmap:
        yield EncodedPicture(metafile.bitmap, picture.description, picture.name, picture.box)
    elif clean_alt_text(picture.description):
        yield Paragraph(f"[{clean_alt_text(picture.description)}]", box=picture.box)
    if metafile.text:
        yield Paragraph(metafile.text, box=picture.box)
    if not metafile.bitmap:
        file.problems.append(
            _("picture {name}: a drawing (EMF or WMF) of which only the words are read; save it as PNG").format(
                name=picture.name
            )
        )


@dataclass(slots=True)
class _Line:
    """A paragraph while it is read: its text, what hangs on it, and the state of its fields."""

    text: RunText = field(default_factory=RunText)
    hanging: list[LayoutBlock] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)  # instructions of the open fields, innermost last
    showing: list[bool] = field(default_factory=list)  # whether the result of each of these is reached
    is_hidden: bool = False  # by the paragraph's style

    @property
    def is_page_number(self) -> bool:
        return any(_PAGE_FIELD.match(instruction) for instruction in self.fields)


class _Document:
    def __init__(self, file: File, package: Package, main: str) -> None:
        self._file, self._package, self._main = file, package, main
        self._related = self._body_related = package.related(main)
        styles = package.optional(self._member("styles") or "word/styles.xml")
        self._styles: dict[str, Style] = read_styles(styles)
        self._numbers = Numbers(package.optional(self._member("numbering") or "word/numbering.xml"), self._styles)
        self._notes = {kind: self._by_id(kind + "s", kind) for kind in ("footnote", "endnote", "comment")}
        self._note_count = {"footnote": 0, "endnote": 0}
        self._begun = ""  # the text of a paragraph that the next one goes on, and its style
        self._unread: set[str] = set()

    def _member(self, kind: str) -> str | None:
        return next((name for relation, name in self._body_related.values() if relation == kind), None)

    def _by_id(self, part: str, name: str) -> dict[str, tuple[Element, dict[str, tuple[str, str]]]]:
        """Return notes or comments by id, with the relations of their part. Separator lines have a type."""
        member = self._member(part)
        root = self._package.optional(member) if member else None
        related = self._package.related(member) if member else {}
        return {
            attribute(note, "id") or "": (note, related)
            for note in children_of(root, name)
            if attribute(note, "type") in (None, "normal")
        }

    def blocks(self) -> Iterator[LayoutBlock]:
        root = self._package.xml(self._main)
        body = first_child(root, "body")
        yield from self._running_heads()
        yield from self._blocks(body if body is not None else root, 0)
        yield from self._end_begun()
        for kind in ("footnote", "endnote", "comment"):  # those that no text refers to
            for key in list(self._notes[kind]):
                yield from self._note(kind, key, 1, "")

    def _running_heads(self) -> Iterator[LayoutBlock]:
        """Yield the headers and footers, each text once; numbers of pages are left out."""
        written: set[str] = set()
        for kind, name in sorted(self._body_related.values(), key=lambda relation: relation[0] != "header"):
            root = self._package.optional(name) if kind in ("header", "footer") else None
            if root is None:
                continue
            for mark in (element for element in root.iter() if local_name(element) == "textpath"):
                yield from self._once(f"Watermark: {attribute(mark, 'string') or ''}", written)
            self._related = self._package.related(name)
            blocks = [*self._blocks(root, 1), *self._end_begun()]
            self._related = self._body_related
            texts = [block_text(block) for block in blocks if not isinstance(block, EncodedPicture)]
            yield from self._once(f"{kind.capitalize()}: {'; '.join(filter(None, texts))}", written)
            yield from (block for block in blocks if isinstance(block, EncodedPicture))

    @staticmethod
    def _once(text: str, written: set[str]) -> Iterator[Paragraph]:
        if text not in written and text.partition(": ")[2].strip(" -–—|/;"):
            written.add(text)
            yield Paragraph(text, list_item=True)

    def _note(self, kind: str, key: str, depth: int, mark: str) -> Iterator[LayoutBlock]:
        """Yield a note or a comment; each stands once, where it is referred to first."""
        note, related = self._notes[kind].pop(key, (None, {}))
        if note is None or depth > _MAX_DEPTH:
            return
        before, self._related = self._related, related
        blocks = list(self._blocks(note, depth))
        self._related = before
        text = "\n".join(block.text for block in blocks if isinstance(block, (Paragraph, Heading)))
        if text and kind == "comment":
            author, initials = attribute(note, "author") or "?", attribute(note, "initials")
            signed = author + (f" ({initials})" if initials and initials != author else "")
            written = attribute(note, "date")
            yield Paragraph(f"Comment by {signed}{f', {written}' if written else ''}: {text}", list_item=True)
        elif text:
            yield Paragraph(f"[{mark}] {text}" if mark else text, list_item=True)
        yield from (block for block in blocks if isinstance(block, (Table, EncodedPicture)))

    def _blocks(self, parent: Element, depth: int) -> Iterator[LayoutBlock]:
        if depth > _MAX_DEPTH:
            return
        for child in parent:
            name = local_name(child)
            if name == "p":
                yield from self._paragraph(child, depth)
            elif name == "tbl":
                yield from self._end_begun()
                yield from self._table(child, depth)
            elif name == "oMathPara":
                yield Paragraph(equation(child))
            elif name == "altChunk":
                self._leave_out(self._related.get(attribute(child, "id") or "", ("", ""))[1])
            elif name in _CONTAINERS:
                yield from self._blocks(child, depth)

    def _end_begun(self) -> Iterator[LayoutBlock]:
        begun, self._begun = self._begun, ""
        if begun.strip():
            yield Paragraph(RunText(begun).text)

    def _leave_out(self, member: str) -> None:
        """Note once that a part of the document is not read."""
        if member and member not in self._unread:
            self._unread.add(member)
            self._file.problems.append(
                _("{name} inside it is not read; save it as a file of its own").format(name=member.rpartition("/")[2])
            )

    def _paragraph(self, paragraph: Element, depth: int) -> Iterator[LayoutBlock]:
        properties = first_child(paragraph, "pPr")
        style = self._styles.get(attribute(first_child(properties, "pStyle"), "val") or "") or self._styles.get("")
        style = style or Style()
        outline = attribute(first_child(properties, "outlineLvl"), "val") or ""
        level = int(outline) + 1 if outline in tuple("012345678") else style.level
        line = _Line(RunText(self._begun), is_hidden=style.is_hidden)
        self._runs(paragraph, line, depth)
        text = line.text.text
        self._begun = ""
        marks = first_child(properties, "rPr")
        frame = first_child(properties, "framePr")
        if text and (
            attribute(frame, "dropCap") in ("drop", "margin")
            or any(
                local_name(mark) in ("del", "moveFrom", "specVanish") for mark in (marks if marks is not None else ())
            )
        ):
            self._begun = (
                line.text.raw
            )  # a drop cap, or a paragraph whose end was deleted: the next one goes on with it
            yield from line.hanging
            return
        if text:
            label = self._numbers.label(properties, style)
            text = f"{label} {text}" if label else text
            if level is not None:
                yield Heading(text.replace("- ", "", 1) if label == "-" else text, level)
            else:
                yield Paragraph(text, list_item=bool(label), caption=style.is_caption)
        yield from line.hanging

    def _runs(self, element: Element, line: _Line, depth: int) -> None:
        """Collect the text of a paragraph, and what hangs on it: drawings, text boxes, notes and comments."""
        for child in element:
            name = local_name(child)
            if name == "r":
                properties = first_child(child, "rPr")
                style = self._styles.get(attribute(first_child(properties, "rStyle"), "val") or "")
                hidden = _switch(properties, "vanish")
                is_hidden = hidden if hidden is not None else (style.is_hidden if style else line.is_hidden)
                if not is_hidden or first_child(child, "fldChar") is not None:
                    raised = attribute(first_child(properties, "vertAlign"), "val") or (style.position if style else "")
                    self._run(child, line, depth, {"superscript": "super", "subscript": "sub"}.get(raised, ""))
            elif name in ("oMath", "oMathPara"):
                line.text.add(f" {equation(child)} ")
            elif name == "fldSimple":
                if not _PAGE_FIELD.match(attribute(child, "instr") or ""):
                    self._runs(child, line, depth)
            elif name == "sdt":
                self._control(child, line, depth)
            elif name == "ruby":
                self._ruby(child, line, depth)
            elif name not in _IGNORED:
                self._runs(child, line, depth)

    def _run(self, run: Element, line: _Line, depth: int, position: str) -> None:
        for child in run:
            name = local_name(child)
            if name == "t":
                if not line.is_page_number:
                    line.text.add(child.text or "", position)
            elif name in ("tab", "ptab"):
                line.text.add("\t")
            elif name in ("br", "cr"):
                line.text.add("\n")
            elif name == "noBreakHyphen":
                line.text.add("-", position)
            elif name == "sym":
                code = attribute(child, "char") or ""
                drawn = (
                    symbol(attribute(child, "font") or "", int(code, 16))
                    if re.fullmatch("[0-9A-Fa-f]{1,6}", code)
                    else ""
                )
                line.text.add(drawn or " ", position)
            elif name == "instrText":
                if line.fields and not line.showing[-1]:
                    line.fields[-1] += child.text or ""
            elif name == "fldChar":
                self._field(child, line)
            elif name in ("footnoteReference", "endnoteReference"):
                self._refer(child, name.removesuffix("Reference"), line, depth)
            elif name == "commentReference":
                line.hanging += self._note("comment", attribute(child, "id") or "", depth + 1, "")
            elif name == "ruby":
                self._ruby(child, line, depth)
            elif name == "AlternateContent":
                self._alternatives(child, line, depth)
            elif name in ("drawing", "pict", "object"):
                line.hanging += self._drawing(child, depth, "")
            elif name not in _IGNORED:
                self._runs(child, line, depth)

    def _alternatives(self, element: Element, line: _Line, depth: int) -> None:
        """Read the newer form of a drawing; where nothing in it can be read, the older one."""
        for name in ("Choice", "Fallback"):
            for alternative in children_of(element, name):
                inner = _Line()
                self._run(alternative, inner, depth, "")
                if inner.text.text or inner.hanging:
                    line.text.add(inner.text.text)
                    line.hanging += inner.hanging
                    return

    @staticmethod
    def _field(mark: Element, line: _Line) -> None:
        kind = attribute(mark, "fldCharType")
        if kind == "begin":
            line.fields.append("")
            line.showing.append(False)
            data = first_child(mark, "ffData")
            box, choices = first_child(data, "checkBox"), first_child(data, "ddList")
            if box is not None:
                checked = _switch(box, "checked")
                line.text.add(_CHECKED[bool(_switch(box, "default") if checked is None else checked)])
            elif choices is not None:
                entries = [attribute(entry, "val") or "" for entry in children_of(choices, "listEntry")]
                number = attribute(first_child(choices, "result"), "val") or attribute(
                    first_child(choices, "default"), "val"
                )
                index = int(number) if number and number.isdecimal() and len(number) < 5 else 0
                line.text.add(entries[index] if index < len(entries) else "")
        elif kind == "separate" and line.showing:
            line.showing[-1] = True
        elif kind == "end" and line.fields:
            line.fields.pop()
            line.showing.pop()

    def _refer(self, reference: Element, kind: str, line: _Line, depth: int) -> None:
        key = attribute(reference, "id") or ""
        if key not in self._notes[kind]:
            return
        self._note_count[kind] += 1
        mark = format_number(self._note_count[kind], "decimal" if kind == "footnote" else "lowerRoman")
        if attribute(reference, "customMarkFollows") in (None, *_OFF):
            line.text.note(mark)
        line.hanging += self._note(kind, key, depth + 1, mark)

    def _control(self, control: Element, line: _Line, depth: int) -> None:
        """Read a content control: a box as ticked or not, else the text that it shows."""
        box = first_child(first_child(control, "sdtPr"), "checkbox")
        if box is not None:
            line.text.add(_CHECKED[bool(_switch(box, "checked"))])
            return
        self._runs(control, line, depth)

    def _ruby(self, ruby: Element, line: _Line, depth: int) -> None:
        texts = []
        for name in ("rubyBase", "rt"):
            inner = _Line()
            part = first_child(ruby, name)
            if part is not None and depth < _MAX_DEPTH:
                self._runs(part, inner, depth + 1)
            texts.append(inner.text.text)
        line.text.ruby(texts[0], texts[1])

    def _drawing(self, drawing: Element, depth: int, description: str) -> Iterator[LayoutBlock]:
        for element in drawing:
            name = local_name(element)
            if name in ("docPr", "cNvPr", "shape", "rect"):
                description = (
                    attribute(element, "descr")
                    or attribute(element, "alt")
                    or attribute(element, "title")
                    or description
                )
            if name in ("blip", "imagedata"):
                yield from self._picture(element, description)
            elif name == "txbxContent":
                yield from self._blocks(element, depth + 1)
                yield from self._end_begun()
            elif name == "textpath" and attribute(element, "string"):
                yield Paragraph(attribute(element, "string") or "")
            elif name == "chart":
                yield from chart_blocks_of(self._package, self._related, attribute(element, "id"))
            elif name == "relIds":
                root = self._package.optional(self._related.get(attribute(element, "dm") or "", ("", ""))[1])
                yield from diagram_blocks(root) if root is not None else ()
            elif name == "AlternateContent":
                for alternative in (*children_of(element, "Choice"), *children_of(element, "Fallback")):
                    blocks = list(self._drawing(alternative, depth, description))
                    yield from blocks
                    if blocks:
                        break
            elif name not in ("Fallback", "binData"):
                yield from self._drawing(element, depth, description)

    def _picture(self, element: Element, description: str) -> Iterator[LayoutBlock]:
        relation = attribute(element, "embed") or attribute(element, "id") or ""
        kind, member = self._related.get(relation, ("", ""))
        if kind == "image":
            yield from embedded_picture(self._file, self._package, member, description)
        elif clean_alt_text(description):  # the picture is not in the file: what it shows is all there is
            yield Paragraph(f"[{clean_alt_text(description)}]")

    def _table(self, table: Element, depth: int) -> Iterator[LayoutBlock]:
        grid = Grid()
        pictures: list[LayoutBlock] = []
        # Cells are read once: reading twice per level would read the tenth nested table a thousand times.
        all_blocks: list[LayoutBlock] = []
        lays_out_page, head_rows = False, 0
        for number, row in enumerate(_within(table, "tr")):
            properties = first_child(row, "trPr")
            if first_child(properties, "del") is not None:
                continue
            if _switch(properties, "tblHeader") and head_rows == number:
                head_rows += 1
            column = _count(first_child(properties, "gridBefore"))
            for cell in _within(row, "tc"):
                details = first_child(cell, "tcPr")
                width = _count(first_child(details, "gridSpan")) or 1
                merge = first_child(details, "vMerge")
                across = attribute(first_child(details, "hMerge"), "val") or "continue"
                blocks = [*self._blocks(cell, depth + 1), *self._end_begun()]
                nested = [cell_text(block) for block in blocks if isinstance(block, Table)]
                lays_out_page = lays_out_page or any(len(text) > _LONG_NESTED for text in nested)
                all_blocks += blocks
                pictures += [block for block in blocks if isinstance(block, EncodedPicture)]
                if merge is not None and (attribute(merge, "val") or "continue") == "continue":
                    grid.extend_down(number, column)
                elif first_child(details, "hMerge") is None or across != "continue":
                    grid.place(number, column, " ".join(filter(None, map(block_text, blocks))), width=width)
                column += width
        if lays_out_page or grid.is_single_column:
            yield from all_blocks  # a frame around other content
            return
        yield from grid.blocks(head_rows=head_rows if head_rows > 1 else None)
        yield from pictures


def chart_blocks_of(
    package: Package, related: dict[str, tuple[str, str]], relation: str | None
) -> Iterator[LayoutBlock]:
    """Yield the chart that a drawing shows by its relation."""
    root = package.optional(related.get(relation or "", ("", ""))[1])
    yield from chart_blocks(root) if root is not None else ()


def _count(element: Element | None) -> int:
    value = attribute(element, "val") or ""
    return min(1000, int(value)) if value.isdecimal() and len(value) < 6 else 0


def _switch(element: Element | None, name: str) -> bool | None:
    """Return an on/off property, a child of ``element``; None where it is not set."""
    child = first_child(element, name)
    return attribute(child, "val") not in _OFF if child is not None else None


def _within(element: Element, name: str) -> list[Element]:
    """Return the children called ``name``, including those inside content controls."""
    children: list[Element] = []
    for child in element:
        if local_name(child) == name:
            children.append(child)
        elif local_name(child) in ("sdt", "sdtContent", "ins", "customXml"):
            children += _within(child, name)
    return children
