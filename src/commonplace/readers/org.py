"""Org: headings, paragraphs, lists, tables, code, and local pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator

from commonplace.readers.blocks import Heading, LayoutBlock, Paragraph, Table, lay_out
from commonplace.readers.markup import picture_blocks
from commonplace.readers.parts import File, Part
from commonplace.readers.text import decode

__all__ = ["read_org"]

_HEADING = re.compile(r"(\*+)[ \t]+(.*?)(?:[ \t]+(:[\w@#%:]+:))?[ \t]*$")
_KEYWORD = re.compile(r"[ \t]*#\+(\w+):[ \t]*(.*)", re.IGNORECASE)
_BEGIN = re.compile(r"[ \t]*#\+begin_(\w+)", re.IGNORECASE)
_DRAWER = re.compile(r"[ \t]*:(PROPERTIES|LOGBOOK):[ \t]*$", re.IGNORECASE)
_ITEM = re.compile(r"([ \t]*)(?:[-+]|[ \t]\*|\d+[.)])[ \t]+\S")
_LINK = re.compile(r"\[\[([^\[\]]+)\](?:\[([^\[\]]+)\])?\]")
_PICTURE = re.compile(
    r"\[\[(?:file:)?([^\[\]:]+\.(?:png|jpe?g|gif|webp|bmp|tiff?))\](?:\[([^\[\]]*)\])?\]", re.IGNORECASE
)
_EMPHASIS = re.compile(r"(?<![\w*/=~+_])([*/=~+_])(?=\S)([^\n]{0,300}?\S)\1(?![\w*/=~+_])")
_FOOTNOTE = re.compile(r"\[fn:[\w-]*:?([^\]]*)\]")
_METADATA = {
    "author": "author",
    "date": "created",
    "keywords": "keyword",
    "filetags": "keyword",
    "language": "language",
}
_VERSE = {"quote", "verse", "center", "note", "warning", "tip"}


def read_org(file: File) -> Iterator[Part]:
    """Yield the text under its headings."""
    text, problem = decode(file.data)
    if problem:
        file.problems.append(problem)
    yield from lay_out(file, _blocks(file, text.splitlines()))


def _blocks(file: File, lines: list[str]) -> Iterator[LayoutBlock]:
    pending: list[str] = []
    is_item = False
    at = 0
    while at <= len(lines):
        line = lines[at].rstrip() if at < len(lines) else ""
        at += 1
        begins, end = _begins(line), at
        if pending and (not line.strip() or begins or _ITEM.match(line)):
            yield Paragraph(_inline(" ".join([pending[0], *(part.strip() for part in pending[1:])])), list_item=is_item)
            pending = []
        if begins == "heading" and (heading := _HEADING.match(line)):
            tags = heading[3].strip(":").replace(":", ", ") if heading[3] else ""
            yield Heading(_inline(heading[2]), min(9, len(heading[1])))
            if tags:
                yield Paragraph(f"Tags: {tags}", list_item=True)
        elif begins == "table":
            while end < len(lines) and lines[end].lstrip().startswith("|"):
                end += 1
            yield Table(_rows(lines[at - 1 : end]))
        elif begins == "block" and (begin := _BEGIN.match(line)):
            close = f"#+end_{begin[1]}".lower()
            last = next((n for n in range(at, len(lines)) if lines[n].strip().lower() == close), None)
            if last is not None and begin[1].lower() not in _VERSE:
                yield Paragraph("" if begin[1].lower() == "comment" else "\n".join(lines[at:last]))
                end = last + 1
        elif begins == "drawer":
            last = next((n for n in range(at, len(lines)) if lines[n].strip().lower() == ":end:"), None)
            end = at if last is None else last + 1
        elif begins == "keyword" and (keyword := _KEYWORD.match(line)):
            yield from _keyword(file, keyword[1].lower(), keyword[2].strip())
        elif begins == "picture" and (picture := _PICTURE.match(line.strip())):
            yield from picture_blocks(file, [picture[1]], picture[2] or "")
        elif line.strip() and begins is None:
            if not pending:
                is_item = _ITEM.match(line) is not None
            pending.append(line if is_item and not pending else line.strip())
        at = end


def _begins(line: str) -> str | None:
    """Return what begins with a line; None for a line of a paragraph or list."""
    stripped = line.lstrip()
    if _HEADING.match(line):
        return "heading"
    if stripped.startswith("|"):
        return "table"
    if _BEGIN.match(line):
        return "block"
    if _DRAWER.match(line):
        return "drawer"
    if _KEYWORD.match(line):
        return "keyword"
    if _PICTURE.fullmatch(stripped.rstrip()):
        return "picture"
    return "comment" if stripped.startswith(("# ", "#+end_", "#+END_", "-----")) or stripped == "#" else None


def _keyword(file: File, name: str, value: str) -> Iterator[LayoutBlock]:
    if name == "title":
        file.title = file.title or value
    elif name in _METADATA:
        values = (
            re.split(r"[:,\s]+", value)
            if _METADATA[name] == "keyword"
            else [value.strip("<>[]")[: 10 if name == "date" else None]]
        )
        file.add_metadata(_METADATA[name], *filter(None, values))
    elif name == "caption":
        yield Paragraph(_inline(value), caption=True)
    elif name in ("description", "subtitle"):
        yield Paragraph(value)


def _rows(lines: list[str]) -> list[list[str]]:
    cells = [line.strip().strip("|").split("|") for line in lines if not re.match(r"\s*\|[-+|]*$", line)]
    return [[_inline(cell.strip()) for cell in row] for row in cells]


def _inline(text: str) -> str:
    text = _LINK.sub(lambda match: match[2] or match[1], text)
    text = _FOOTNOTE.sub(lambda match: f" [{match[1].strip()}]" if match[1].strip() else "", text)
    return _EMPHASIS.sub(r"\2", text)
