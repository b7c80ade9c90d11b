"""Presentations (Office Open XML, ECMA-376): each slide is a page with shapes, tables, pictures and notes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from commonplace.errors import ReadError
from commonplace.i18n import _
from commonplace.readers.blocks import EncodedPicture, LayoutBlock, Paragraph, Table, lay_out
from commonplace.readers.docx import embedded_picture
from commonplace.readers.parts import File, Part
from commonplace.readers.zipxml import Package, attribute, local_name, read_core_metadata
from commonplace.types import Box

__all__ = ["read_pptx"]

_TITLE_TYPES = {"title", "ctrTitle"}
_IGNORED_TYPES = {"sldNum", "dt", "ftr", "hdr", "sldImg"}  # numbers, dates and footers that are repeated on every slide
_MAX_DEPTH = 20  # levels of groups inside groups


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
    for page, name in enumerate(slides, 1):
        try:
            title, blocks = _slide(file, package, name, slide_frame)
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
    file: File, package: Package, name: str, slide_frame: _CoordinateFrame
) -> tuple[str | None, list[LayoutBlock]]:
    root = package.xml(name)
    related = package.related(name)
    tree = next((element for element in root.iter() if local_name(element) == "spTree"), root)
    shapes = _Shapes(file, package, related)
    blocks = list(shapes.blocks(tree, slide_frame, 0))
    for kind, member in related.values():
        notes = package.optional(member) if kind == "notesSlide" else None
        if notes is not None:
            note_texts = [
                block.text
                for block in _Shapes(file, package, {}).blocks(notes, slide_frame, 0)
                if isinstance(block, Paragraph)
            ]
            if note_texts:
                blocks.append(Paragraph("Notes: " + "\n".join(note_texts)))
    return shapes.title, blocks


class _Shapes:
    def __init__(self, file: File, package: Package, related: dict[str, tuple[str, str]]) -> None:
        self._file, self._package, self._related = file, package, related
        self.title: str | None = None

    def blocks(self, parent: Element, frame: _CoordinateFrame, depth: int) -> Iterator[LayoutBlock]:
        for shape in parent:
            name = local_name(shape)
            if name == "sp" or name == "cxnSp":
                yield from self._text(shape, frame)
            elif name == "pic":
                yield from self._picture(shape, frame)
            elif name == "graphicFrame":
                yield from self._graphic(shape, frame)
            elif name in ("grpSp", "AlternateContent", "Choice", "cSld", "spTree") and depth < _MAX_DEPTH:
                yield from self.blocks(shape, _group_frame(shape, frame) if name == "grpSp" else frame, depth + 1)

    def _text(self, shape: Element, frame: _CoordinateFrame) -> Iterator[LayoutBlock]:
        placeholder = next((element for element in shape.iter() if local_name(element) == "ph"), None)
        kind = attribute(placeholder, "type") or ""
        if kind in _IGNORED_TYPES:
            return
        box = _shape_box(shape, frame)
        for fill in (element for element in shape.iter() if local_name(element) == "blip"):
            yield from self._fill_picture(fill, shape, box)
        lines = list(_paragraphs(shape))
        if kind in _TITLE_TYPES and lines and self.title is None:
            self.title = " ".join(lines)
            return
        for number, line in enumerate(lines):
            yield Paragraph(line, list_item=number > 0 or len(lines) > 1, box=box)

    def _picture(self, shape: Element, frame: _CoordinateFrame) -> Iterator[LayoutBlock]:
        for blip in (element for element in shape.iter() if local_name(element) == "blip"):
            yield from self._fill_picture(blip, shape, _shape_box(shape, frame))

    def _fill_picture(self, blip: Element, shape: Element, box: Box | None) -> Iterator[EncodedPicture]:
        properties = next((element for element in shape.iter() if local_name(element) == "cNvPr"), None)
        description = attribute(properties, "descr") or attribute(properties, "title") or ""
        kind, member = self._related.get(attribute(blip, "embed") or "", ("", ""))
        if kind == "image":
            for picture in embedded_picture(self._file, self._package, member, description):
                yield EncodedPicture(picture.data, picture.description, picture.name, box)

    def _graphic(self, shape: Element, frame: _CoordinateFrame) -> Iterator[LayoutBlock]:
        box = _shape_box(shape, frame)
        for table in (element for element in shape.iter() if local_name(element) == "tbl"):
            rows = [row for row in table if local_name(row) == "tr"]
            yield Table(
                [[" ".join(_paragraphs(cell)) for cell in row if local_name(cell) == "tc"] for row in rows], box
            )
        for element in shape.iter():
            if local_name(element) in ("chart", "relIds"):  # of a chart or a SmartArt diagram only the text is read
                relation = attribute(element, "id") or attribute(element, "dm") or ""
                part = self._package.optional(self._related.get(relation, ("", ""))[1])
                if part is not None:
                    texts = dict.fromkeys(text for text in _texts_in(part) if not _is_number(text))
                    if texts:
                        yield Paragraph("; ".join(texts), box=box)


def _texts_in(part: Element) -> Iterator[str]:
    for element in part.iter():
        if local_name(element) == "p":
            yield " ".join("".join(run.text or "" for run in element.iter() if local_name(run) == "t").split())
        elif local_name(element) == "v":
            yield " ".join((element.text or "").split())


def _is_number(text: str) -> bool:
    return not any(map(str.isalpha, text))


def _paragraphs(shape: Element) -> Iterator[str]:
    for paragraph in (element for element in shape.iter() if local_name(element) == "p"):
        text = "".join(
            "\n" if local_name(run) == "br" else (run.text or "")
            for run in paragraph.iter()
            if local_name(run) in ("t", "br")
        )
        line = " ".join(text.split())
        if line:
            yield line


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
