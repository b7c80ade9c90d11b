"""Slides (Office Open XML, ECMA-376): each is a page with its shapes, tables, pictures and notes, each in its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from commonplace.errors import ReadError
from commonplace.readers.blocks import Block, Shown, Table, Words, lay_out
from commonplace.readers.docx import embedded_picture
from commonplace.readers.parts import File, Part
from commonplace.readers.zipxml import Package, attribute, describe, local
from commonplace.types import Box

__all__ = ["read_pptx"]

_TITLES = {"title", "ctrTitle"}
_FURNITURE = {"sldNum", "dt", "ftr", "hdr", "sldImg"}  # numbers, dates and footers that stand on every slide
_MAX_DEPTH = 20  # groups in groups


@dataclass(frozen=True, slots=True)
class _Frame:
    """From the coordinates of a group (or the slide) to fractions of the slide."""

    scale: tuple[float, float]
    shift: tuple[float, float]

    def box(self, left: float, top: float, width: float, height: float) -> Box | None:
        across = sorted((left * self.scale[0] + self.shift[0], (left + width) * self.scale[0] + self.shift[0]))
        down = sorted((top * self.scale[1] + self.shift[1], (top + height) * self.scale[1] + self.shift[1]))
        edges = [min(1.0, max(0.0, edge)) for edge in (across[0], down[0], across[1], down[1])]
        return (edges[0], edges[1], edges[2], edges[3]) if edges[0] < edges[2] and edges[1] < edges[3] else None


def read_pptx(file: File) -> Iterator[Part]:
    """Yield the slides in order, each under its title, its notes at its end."""
    package = Package(file)
    main = next(
        (name for kind, name in package.related("").values() if kind == "officeDocument"), "ppt/presentation.xml"
    )
    describe(file, package.optional("docProps/core.xml"))
    root = package.xml(main)
    related = package.related(main)
    size = next((one for one in root.iter() if local(one) == "sldSz"), None)
    width, height = (max(1.0, _number(size, name)) for name in ("cx", "cy"))
    whole = _Frame((1 / width, 1 / height), (0.0, 0.0))
    slides = [related.get(one.get(_ID, ""), ("", ""))[1] for one in root.iter() if local(one) == "sldId"]
    bad: list[int] = []
    for page, name in enumerate(slides, 1):
        try:
            title, blocks = _slide(file, package, name, whole)
        except ReadError:
            bad.append(page)
            continue
        if title and file.title is None:
            file.title = title
        if title and not blocks:
            blocks, title = [Words(title)], None
        yield from lay_out(file, blocks, page=page, title=title)
    if slides and len(bad) == len(slides):
        raise ReadError("a damaged presentation without a slide that can be read; save it anew and add it again")
    if bad:
        file.problems.append(f"{len(bad)} of {len(slides)} slides cannot be read ({', '.join(map(str, bad[:10]))})")


_ID = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"


def _slide(file: File, package: Package, name: str, whole: _Frame) -> tuple[str | None, list[Block]]:
    root = package.xml(name)
    related = package.related(name)
    tree = next((one for one in root.iter() if local(one) == "spTree"), root)
    shapes = _Shapes(file, package, related)
    blocks = list(shapes.blocks(tree, whole, 0))
    for kind, member in related.values():
        notes = package.optional(member) if kind == "notesSlide" else None
        if notes is not None:
            said = [one.words for one in _Shapes(file, package, {}).blocks(notes, whole, 0) if isinstance(one, Words)]
            if said:
                blocks.append(Words("Notes: " + "\n".join(said)))
    return shapes.title, blocks


class _Shapes:
    def __init__(self, file: File, package: Package, related: dict[str, tuple[str, str]]) -> None:
        self._file, self._package, self._related = file, package, related
        self.title: str | None = None

    def blocks(self, parent: Element, frame: _Frame, depth: int) -> Iterator[Block]:
        for shape in parent:
            name = local(shape)
            if name == "sp" or name == "cxnSp":
                yield from self._text(shape, frame)
            elif name == "pic":
                yield from self._picture(shape, frame)
            elif name == "graphicFrame":
                yield from self._graphic(shape, frame)
            elif name in ("grpSp", "AlternateContent", "Choice", "cSld", "spTree") and depth < _MAX_DEPTH:
                yield from self.blocks(shape, _group(shape, frame) if name == "grpSp" else frame, depth + 1)

    def _text(self, shape: Element, frame: _Frame) -> Iterator[Block]:
        holder = next((one for one in shape.iter() if local(one) == "ph"), None)
        kind = attribute(holder, "type") or ""
        if kind in _FURNITURE:
            return
        box = _place(shape, frame)
        for fill in (one for one in shape.iter() if local(one) == "blip"):
            yield from self._shown(fill, shape, box)
        lines = list(_paragraphs(shape))
        if kind in _TITLES and lines and self.title is None:
            self.title = " ".join(lines)
            return
        for number, line in enumerate(lines):
            yield Words(line, item=number > 0 or len(lines) > 1, box=box)

    def _picture(self, shape: Element, frame: _Frame) -> Iterator[Block]:
        for blip in (one for one in shape.iter() if local(one) == "blip"):
            yield from self._shown(blip, shape, _place(shape, frame))

    def _shown(self, blip: Element, shape: Element, box: Box | None) -> Iterator[Shown]:
        described = next((one for one in shape.iter() if local(one) == "cNvPr"), None)
        words = attribute(described, "descr") or attribute(described, "title") or ""
        kind, member = self._related.get(attribute(blip, "embed") or "", ("", ""))
        if kind == "image":
            for shown in embedded_picture(self._file, self._package, member, words):
                yield Shown(shown.data, shown.words, shown.name, box)

    def _graphic(self, shape: Element, frame: _Frame) -> Iterator[Block]:
        box = _place(shape, frame)
        for table in (one for one in shape.iter() if local(one) == "tbl"):
            rows = [row for row in table if local(row) == "tr"]
            yield Table([[" ".join(_paragraphs(cell)) for cell in row if local(cell) == "tc"] for row in rows], box)
        for one in shape.iter():
            if local(one) in ("chart", "relIds"):  # a chart, a diagram (SmartArt): its words, not its drawing
                relation = attribute(one, "id") or attribute(one, "dm") or ""
                part = self._package.optional(self._related.get(relation, ("", ""))[1])
                if part is not None:
                    words = dict.fromkeys(w for w in _words_in(part) if not _is_number(w))
                    if words:
                        yield Words("; ".join(words), box=box)


def _words_in(part: Element) -> Iterator[str]:
    for one in part.iter():
        if local(one) == "p":
            yield " ".join("".join(t.text or "" for t in one.iter() if local(t) == "t").split())
        elif local(one) == "v":
            yield " ".join((one.text or "").split())


def _is_number(words: str) -> bool:
    return not any(map(str.isalpha, words))


def _paragraphs(shape: Element) -> Iterator[str]:
    for paragraph in (one for one in shape.iter() if local(one) == "p"):
        text = "".join(
            "\n" if local(one) == "br" else (one.text or "") for one in paragraph.iter() if local(one) in ("t", "br")
        )
        words = " ".join(text.split())
        if words:
            yield words


def _group(shape: Element, frame: _Frame) -> _Frame:
    transform = next((one for one in shape.iter() if local(one) == "xfrm"), None)
    parts = {local(one): one for one in transform if transform is not None} if transform is not None else {}
    if not {"off", "ext", "chOff", "chExt"} <= parts.keys():
        return frame
    scale, shift = [], []
    for axis, (along, size) in enumerate((("x", "cx"), ("y", "cy"))):
        inner = _number(parts["chExt"], size) or 1.0
        ratio = _number(parts["ext"], size) / inner
        start = _number(parts["off"], along) - _number(parts["chOff"], along) * ratio
        scale.append(frame.scale[axis] * ratio)
        shift.append(frame.shift[axis] + start * frame.scale[axis])
    return _Frame((scale[0], scale[1]), (shift[0], shift[1]))


def _place(shape: Element, frame: _Frame) -> Box | None:
    """Return the shape's own place; None where it takes that of its layout."""
    for transform in (one for one in shape.iter() if local(one) == "xfrm"):
        parts = {local(one): one for one in transform}
        if {"off", "ext"} <= parts.keys():
            place = [_number(parts["off"], "x"), _number(parts["off"], "y")]
            return frame.box(place[0], place[1], _number(parts["ext"], "cx"), _number(parts["ext"], "cy"))
    return None


def _number(element: Element | None, name: str) -> float:
    try:
        return float(int(attribute(element, name) or "0"))
    except (ValueError, OverflowError):
        return 0.0
