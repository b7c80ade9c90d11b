"""Presentations (Office Open XML, ECMA-376): each slide is a page, read as a person reads it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from commonplace.errors import ReadError
from commonplace.i18n import _
from commonplace.readers.blocks import EncodedPicture, LayoutBlock, Paragraph, clean_alt_text, lay_out
from commonplace.readers.docx import embedded_picture
from commonplace.readers.drawings import chart_blocks, diagram_blocks, drawing_paragraph
from commonplace.readers.grids import Grid
from commonplace.readers.numbering import format_number
from commonplace.readers.order import shape_order
from commonplace.readers.parts import File, Part, bounding_box
from commonplace.readers.zipxml import Package, attribute, children_of, first_child, local_name, read_core_metadata
from commonplace.types import Box

__all__ = ["read_pptx"]

_TITLE_TYPES = {"title", "ctrTitle"}
_IGNORED_TYPES = {"sldNum", "dt", "ftr", "hdr", "sldImg"}  # numbers, dates and footers that are repeated on every slide
_MAX_DEPTH = 20  # levels of groups inside groups
_BACKGROUND = 0.6  # share of the slide that a background picture covers


@dataclass(frozen=True, slots=True)
class _CoordinateFrame:
    """Converts coordinates of a group (or of the slide) to fractions of the slide."""

    scale: tuple[float, float]
    shift: tuple[float, float]

    def box(self, left: float, top: float, width: float, height: float) -> Box | None:
        xs = sorted((left * self.scale[0] + self.shift[0], (left + width) * self.scale[0] + self.shift[0]))
        ys = sorted((top * self.scale[1] + self.shift[1], (top + height) * self.scale[1] + self.shift[1]))
        edges = [min(1.0, max(0.0, edge)) for edge in (xs[0], ys[0], xs[1], ys[1])]
        return (edges[0], edges[1], edges[2], edges[3]) if edges[0] < edges[2] and edges[1] < edges[3] else None


def read_pptx(file: File) -> Iterator[Part]:
    """Yield the slides in order, each titled by its title, with its notes at the end."""
    package = Package(file)
    main = next(
        (name for kind, name in package.related("").values() if kind == "officeDocument"), "ppt/presentation.xml"
    )
    read_core_metadata(file, package.optional("docProps/core.xml"))
    root = package.xml(main)
    related = package.related(main)
    size = next((element for element in root.iter() if local_name(element) == "sldSz"), None)
    width, height = (max(1.0, _number(size, name)) for name in ("cx", "cy"))
    slide_frame = _CoordinateFrame((1 / width, 1 / height), (0.0, 0.0))
    slides = [
        related.get(element.get(_RELATION_ID, ""), ("", ""))[1]
        for element in root.iter()
        if local_name(element) == "sldId"
    ]
    unreadable: list[int] = []
    deck = _Deck(package, related)
    for page, name in enumerate(slides, 1):
        try:
            title, blocks = _slide(file, package, name, slide_frame, deck)
        except ReadError:
            unreadable.append(page)
            continue
        if title and file.title is None:
            file.title = title
        if title and not blocks:
            blocks, title = [Paragraph(title)], None
        yield from lay_out(file, blocks, page=page, title=title)
    if slides and len(unreadable) == len(slides):
        raise ReadError(_("a damaged presentation: no slide can be read; save a new copy and add it again"))
    if unreadable:
        file.problems.append(
            _("{count} of {total} slides cannot be read ({unreadable}); save a new copy and add it again").format(
                count=len(unreadable), total=len(slides), unreadable=", ".join(map(str, unreadable[:10]))
            )
        )


_RELATION_ID = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"


def _slide(
    file: File, package: Package, name: str, slide_frame: _CoordinateFrame, deck: _Deck
) -> tuple[str | None, list[LayoutBlock]]:
    root = package.xml(name)
    related = package.related(name)
    tree = next((element for element in root.iter() if local_name(element) == "spTree"), root)
    layout = next((member for kind, member in related.values() if kind == "slideLayout"), "")
    shapes = _Shapes(file, package, related, deck.places(layout, slide_frame))
    blocks = list(shapes.blocks(tree, slide_frame, 0))
    for text in [*shapes.footers, *deck.fixed_texts(layout)]:
        if text not in deck.footers:
            deck.footers.add(text)
            blocks.append(Paragraph(f"Footer: {text}"))
    for kind, member in related.values():
        notes = package.optional(member) if kind == "notesSlide" else None
        if notes is not None:
            note_texts = [
                block.text
                for block in _Shapes(file, package, {}, {}).blocks(notes, slide_frame, 0)
                if isinstance(block, Paragraph)
            ]
            if note_texts:
                blocks.append(Paragraph("Notes: " + "\n".join(note_texts)))
        comments = package.optional(member) if kind == "comments" else None
        blocks += _comments(comments, deck.authors) if comments is not None else ()
    return shapes.title, blocks


def _comments(root: Element, authors: dict[str, str]) -> Iterator[Paragraph]:
    """Yield comments and the replies to them, of the older and the newer kind."""
    for comment in root.iter():
        if local_name(comment) in ("cm", "reply"):
            older = first_child(comment, "text")
            body = first_child(comment, "txBody")
            lines = [older.text or ""] if older is not None else [*map(drawing_paragraph, children_of(body, "p"))]
            words = " ".join(" ".join(lines).split())
            author = authors.get(attribute(comment, "authorId") or "", "?")
            written = attribute(comment, "dt") or attribute(comment, "created")
            if words:
                yield Paragraph(f"Comment by {author}{f', {written}' if written else ''}: {words}", list_item=True)


class _Deck:
    """What the slides of a presentation share: layouts, authors of comments, and the footers that were read."""

    def __init__(self, package: Package, related: dict[str, tuple[str, str]]) -> None:
        self._package = package
        self._places: dict[str, dict[str, Box]] = {}
        self.footers: set[str] = set()
        self.authors: dict[str, str] = {}
        for kind, member in related.values():
            root = package.optional(member) if kind in ("commentAuthors", "authors") else None
            for author in root if root is not None else ():
                name, initials = attribute(author, "name") or "?", attribute(author, "initials")
                signed = f"{name} ({initials})" if initials and initials != name else name
                self.authors[attribute(author, "id") or ""] = signed

    def _trees(self, layout: str) -> Iterator[Element]:
        """Yield the layout and its master."""
        root = self._package.optional(layout)
        masters = self._package.related(layout).values() if root is not None else ()
        master = next((member for kind, member in masters if kind == "slideMaster"), "")
        for tree in (root, self._package.optional(master)):
            if tree is not None:
                yield tree

    def places(self, layout: str, frame: _CoordinateFrame) -> dict[str, Box]:
        """Return where the placeholders of a layout are, by index ("#1") and by type."""
        if layout not in self._places:
            places = self._places[layout] = {}
            for tree in self._trees(layout):
                for shape in (element for element in tree.iter() if local_name(element) in ("sp", "pic")):
                    holder = next((element for element in shape.iter() if local_name(element) == "ph"), None)
                    box = _shape_box(shape, frame)
                    if holder is not None and box is not None:
                        for key in (f"#{attribute(holder, 'idx')}", attribute(holder, "type") or "body"):
                            places.setdefault(key, box)
        return self._places[layout]

    def fixed_texts(self, layout: str) -> list[str]:
        """Return the texts that a layout and its master show on every slide."""
        texts = []
        for tree in self._trees(layout):
            for shape in (element for element in tree.iter() if local_name(element) == "sp"):
                if all(local_name(element) != "ph" for element in shape.iter()):
                    texts.append(" ".join(text for text, _ in _paragraphs(shape)))
        return list(filter(None, texts))


class _Shapes:
    def __init__(
        self, file: File, package: Package, related: dict[str, tuple[str, str]], places: dict[str, Box]
    ) -> None:
        self._file, self._package, self._related, self._places = file, package, related, places
        self.title: str | None = None
        self.footers: list[str] = []

    def blocks(self, parent: Element, frame: _CoordinateFrame, depth: int) -> Iterator[LayoutBlock]:
        """Yield the blocks of the shapes as a person reads them, by where they are; a group is read as a whole."""
        pieces: list[tuple[Box | None, list[LayoutBlock]]] = []
        for shape in parent:
            blocks = list(self._shape(shape, frame, depth))
            if blocks:
                box = bounding_box(block.box for block in blocks)
                pieces.append((box, blocks))
        boxes = [box for box, blocks in pieces]
        backgrounds = {
            index
            for index, (box, blocks) in enumerate(pieces)
            if box is not None
            and (box[2] - box[0]) * (box[3] - box[1]) > _BACKGROUND
            and all(isinstance(block, EncodedPicture) for block in blocks)
        }
        for index in shape_order(boxes, backgrounds=backgrounds):
            yield from pieces[index][1]

    def _shape(self, shape: Element, frame: _CoordinateFrame, depth: int) -> Iterator[LayoutBlock]:
        name = local_name(shape)
        if attribute(_properties(shape), "hidden") in ("1", "true"):
            return
        if name in ("sp", "cxnSp"):
            yield from self._text(shape, frame)
        elif name == "pic":
            yield from self._picture(shape, frame)
        elif name == "graphicFrame":
            yield from self._graphic(shape, frame)
        elif name == "AlternateContent" and depth < _MAX_DEPTH:
            for alternative in (*children_of(shape, "Choice"), *children_of(shape, "Fallback")):
                blocks = list(self.blocks(alternative, frame, depth + 1))
                yield from blocks
                if blocks:
                    break
        elif name in ("grpSp", "cSld", "spTree") and depth < _MAX_DEPTH:
            yield from self.blocks(shape, _group_frame(shape, frame) if name == "grpSp" else frame, depth + 1)

    def _box(self, shape: Element, frame: _CoordinateFrame) -> Box | None:
        """Return where a shape is; a placeholder without a place of its own is where the layout puts it."""
        holder = next((element for element in shape.iter() if local_name(element) == "ph"), None)
        box = _shape_box(shape, frame)
        if box is None and holder is not None:
            kind = attribute(holder, "type") or "body"
            box = self._places.get(f"#{attribute(holder, 'idx')}") or self._places.get(kind)
        return box

    def _text(self, shape: Element, frame: _CoordinateFrame) -> Iterator[LayoutBlock]:
        placeholder = next((element for element in shape.iter() if local_name(element) == "ph"), None)
        kind = attribute(placeholder, "type") or ""
        lines = list(_paragraphs(shape))
        if kind in _IGNORED_TYPES:
            self.footers += [text for text, _ in lines if kind == "ftr"]
            return
        box = self._box(shape, frame)
        for fill in (element for element in shape.iter() if local_name(element) == "blip"):
            yield from self._fill_picture(fill, shape, box)
        if kind in _TITLE_TYPES and lines and self.title is None:
            self.title = " ".join(text for text, _ in lines)
            return
        for number, (text, label) in enumerate(lines):
            line = f"{label} {text}" if label else text
            yield Paragraph(line, list_item=number > 0 or len(lines) > 1, box=box)

    def _picture(self, shape: Element, frame: _CoordinateFrame) -> Iterator[LayoutBlock]:
        for blip in (element for element in shape.iter() if local_name(element) == "blip"):
            yield from self._fill_picture(blip, shape, self._box(shape, frame))

    def _fill_picture(self, blip: Element, shape: Element, box: Box | None) -> Iterator[LayoutBlock]:
        properties = _properties(shape)
        description = attribute(properties, "descr") or attribute(properties, "title") or ""
        kind, member = self._related.get(attribute(blip, "embed") or "", ("", ""))
        if kind == "image":
            yield from embedded_picture(self._file, self._package, member, description, box)
        elif clean_alt_text(description):  # the picture is not in the file: what it shows is all there is
            yield Paragraph(f"[{clean_alt_text(description)}]", box=box)

    def _graphic(self, shape: Element, frame: _CoordinateFrame) -> Iterator[LayoutBlock]:
        box = self._box(shape, frame)
        for element in shape.iter():
            name = local_name(element)
            if name == "tbl":
                yield from _table(element, box)
            elif name in ("chart", "relIds"):
                relation = attribute(element, "id") or attribute(element, "dm") or ""
                part = self._package.optional(self._related.get(relation, ("", ""))[1])
                if part is not None:
                    yield from chart_blocks(part, box) if name == "chart" else diagram_blocks(part, box)
            elif name == "blip":  # the picture that stands for an embedded object
                yield from self._fill_picture(element, shape, box)


def _properties(shape: Element) -> Element | None:
    """Return the name, description and visibility of a shape."""
    for child in shape:
        if local_name(child).startswith("nv"):
            return first_child(child, "cNvPr")
    return None


def _table(table: Element, box: Box | None) -> Iterator[LayoutBlock]:
    grid = Grid()
    for number, row in enumerate(children_of(table, "tr")):
        for column, cell in enumerate(children_of(row, "tc")):
            if attribute(cell, "hMerge") not in ("1", "true") and attribute(cell, "vMerge") not in ("1", "true"):
                height, width = (int(_number(cell, name)) or 1 for name in ("rowSpan", "gridSpan"))
                text = " ".join(f"{label} {line}" if label else line for line, label in _paragraphs(cell))
                grid.place(number, column, text, height=height, width=width)
    yield from grid.blocks(box=box)


def _paragraphs(shape: Element) -> Iterator[tuple[str, str]]:
    """Yield the paragraphs of a shape or a cell, each with its automatic number."""
    counters: dict[int, int] = {}
    for paragraph in (element for element in shape.iter() if local_name(element) == "p"):
        text = " ".join(drawing_paragraph(paragraph).split())
        if not text:
            continue
        properties = first_child(paragraph, "pPr")
        level = int(_number(properties, "lvl"))
        numbered = first_child(properties, "buAutoNum")
        for deeper in [key for key in counters if key > level or (key == level and numbered is None)]:
            del counters[deeper]
        label = ""
        if numbered is not None:
            first = int(_number(numbered, "startAt")) or 1
            counters[level] = counters.get(level, first - 1) + 1
            label = _number_label(counters[level], attribute(numbered, "type") or "")
        yield text, label


def _number_label(number: int, kind: str) -> str:
    for ending, shown in (("ParenBoth", "({})"), ("ParenR", "{})"), ("Period", "{}."), ("Minus", "- {} -")):
        if kind.endswith(ending):
            return shown.format(format_number(number, kind.removesuffix(ending)))
    return format_number(number, kind.removesuffix("Plain"))


def _group_frame(shape: Element, frame: _CoordinateFrame) -> _CoordinateFrame:
    transform = next((element for element in shape.iter() if local_name(element) == "xfrm"), None)
    children = (
        {local_name(child): child for child in transform if transform is not None} if transform is not None else {}
    )
    if not {"off", "ext", "chOff", "chExt"} <= children.keys():
        return frame
    scale, shift = [], []
    for axis, (offset_name, size_name) in enumerate((("x", "cx"), ("y", "cy"))):
        inner = _number(children["chExt"], size_name) or 1.0
        ratio = _number(children["ext"], size_name) / inner
        start = _number(children["off"], offset_name) - _number(children["chOff"], offset_name) * ratio
        scale.append(frame.scale[axis] * ratio)
        shift.append(frame.shift[axis] + start * frame.scale[axis])
    return _CoordinateFrame((scale[0], scale[1]), (shift[0], shift[1]))


def _shape_box(shape: Element, frame: _CoordinateFrame) -> Box | None:
    """Return the box of a shape; None where the slide layout defines it."""
    for transform in (element for element in shape.iter() if local_name(element) == "xfrm"):
        children = {local_name(child): child for child in transform}
        if {"off", "ext"} <= children.keys():
            offset = [_number(children["off"], "x"), _number(children["off"], "y")]
            return frame.box(offset[0], offset[1], _number(children["ext"], "cx"), _number(children["ext"], "cy"))
    return None


def _number(element: Element | None, name: str) -> float:
    try:
        return float(int(attribute(element, name) or "0"))
    except (ValueError, OverflowError):
        return 0.0
