"""AsciiDoc: headings, paragraphs, numbered lists, tables, code, callouts and local pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator

from commonplace.readers.blocks import Heading, LayoutBlock, Paragraph, Table, lay_out
from commonplace.readers.markup import Counters, picture_blocks
from commonplace.readers.parts import File, Part
from commonplace.readers.text import decode

__all__ = ["read_asciidoc"]

_HEADING = re.compile(r"(={1,6}|#{1,6})[ \t]+(\S.*)")
_ATTRIBUTE = re.compile(r":([\w-]+)!?:(?:[ \t]+(.*))?$")
_ITEM = re.compile(r"[ \t]*(\*{1,6}|-|\.{1,6}|\d+\.)[ \t]+(\S.*)")
_TERM = re.compile(r"[ \t]*(\S.{0,200}?)(:{2,4}|;;)(?:[ \t]+(\S.*))?$")
_PICTURE = re.compile(r"image::?([^\s\[]+)\[([^\]]*)\]")
_BLOCK = re.compile(r"(-{4,}|\.{4,}|={4,}|\*{4,}|_{4,}|\+{4,}|/{4,}|--|```.*)$")
_TABLE = re.compile(r"[|,:!]={3,}$")
_CELL = re.compile(r"(?:(?:\d+|\d*\.\d+|\d+\.\d+)([+*])|[<^>.]*[aehlmsd]?)?\|")
_SPAN = re.compile(r"(\d+)(?:\.\d+)?\+")
_ADMONITION = re.compile(r"(NOTE|TIP|IMPORTANT|WARNING|CAUTION)$")
_INLINE = (
    (re.compile(r"\bfootnote:[\w-]*\[([^\]]*)\]"), r" [\1]"),
    (re.compile(r"(?:link:|mailto:|xref:)[^\s\[]{1,500}\[([^\]]{1,300}?)(?:\^|,[^\]]{0,300})?\]"), r"\1"),
    (re.compile(r"(?:https?|ftp)://[^\s\[<>]{1,500}\[([^\]]{1,300}?)(?:\^|,[^\]]{0,300})?\]"), r"\1"),
    (re.compile(r"<<[^<>,]+,\s*([^<>]+)>>"), r"\1"),
    (re.compile(r"<<([^<>]+)>>"), r"\1"),
    (re.compile(r"\[\[[^\[\]]*\]\]|\(\(\([^()]*\)\)\)"), ""),
    (re.compile(r"\(\(([^()]*)\)\)"), r"\1"),
    (re.compile(r"(?:stem|latexmath|asciimath|kbd|btn|menu|pass|icon):[\w,-]*\[([^\]]*)\]"), r"\1"),
    (re.compile(r"\[[.#%][^\]]*\](?=[#*_`])"), ""),
    (re.compile(r"(?<!\w)([*_`#+]{1,2})(?=\S)(.{1,300}?)(?<=\S)\1(?!\w)"), r"\2"),
    (re.compile(r"[ \t]\+$"), ""),
)


def read_asciidoc(file: File) -> Iterator[Part]:
    """Yield the text under its headings."""
    text, problem = decode(file.data)
    if problem:
        file.problems.append(problem)
    yield from lay_out(file, _Reader(file, text.splitlines()).blocks())


class _Reader:
    """Goes through the lines once; ``_at`` is the number of the next."""

    def __init__(self, file: File, lines: list[str]) -> None:
        self._file, self._lines, self._at = file, lines, 0
        self._attributes: dict[str, str] = {}
        self._counters = Counters()
        self._style = ""  # what stands in brackets above the next block

    def blocks(self) -> Iterator[LayoutBlock]:
        paragraph: list[str] = []
        is_item = False
        while self._at < len(self._lines):
            line = self._lines[self._at].rstrip()
            self._at += 1
            blocks = self._block(line, bool(paragraph))
            if blocks is None:
                paragraph.append(line.strip())
                continue
            if paragraph:
                yield self._paragraph(paragraph, is_item)
                paragraph = []
            is_item = False
            if item := _ITEM.match(line) if blocks == [] else None:
                paragraph, is_item = [self._item(item)], True
                continue
            yield from blocks
        if paragraph:
            yield self._paragraph(paragraph, is_item)

    def _block(self, line: str, in_paragraph: bool) -> list[LayoutBlock] | None:
        """Return the blocks that begin with a line; None for a line of a paragraph."""
        if not line or line == "+":
            return [Paragraph("")]
        if line.startswith("//") and not line.startswith("///"):
            return [Paragraph("")]
        if heading := _HEADING.fullmatch(line):
            self._counters.reset()
            return [Heading(self._inline(heading[2]), len(heading[1]))]
        if attribute := _ATTRIBUTE.match(line):
            self._attributes[attribute[1]] = attribute[2] or ""
            if attribute[1] in ("author", "keywords", "description"):
                key = {"keywords": "keyword", "description": "summary"}.get(attribute[1], attribute[1])
                self._file.add_metadata(key, attribute[2])
            return [Paragraph(attribute[2] or "")] if attribute[1] == "description" else [Paragraph("")]
        if _TABLE.match(line):
            return [Table(self._table(line))]
        if _BLOCK.match(line):
            return self._delimited(line)
        if line.startswith("[") and line.endswith("]"):
            self._style = line[1:-1]
            admonition = _ADMONITION.match(self._style)
            return [Paragraph(f"{admonition[1]}:", list_item=True)] if admonition else [Paragraph("")]
        if line.startswith(".") and len(line) > 1 and line[1] not in ". \t":
            return [Paragraph(self._inline(line[1:]), caption=True)]
        if picture := _PICTURE.match(line):
            description = picture[2].split(",")[0].strip('"')
            return list(picture_blocks(self._file, [self._picture(picture[1])], description)) or [
                Paragraph(description)
            ]
        if _ITEM.match(line):
            return []
        if not in_paragraph and (term := _TERM.match(line)) and "://" not in term[1]:
            return [Paragraph(f"{self._inline(term[1])}: {self._inline(term[3] or '')}".strip(), list_item=True)]
        if line.startswith(("'''", "<<<")) or re.fullmatch(r"\w+::\S*\[.*\]", line):
            return [Paragraph("" if line.startswith(("'''", "<<<")) else line)]
        return None

    def _picture(self, target: str) -> str:
        folder = self._attributes.get("imagesdir", "")
        return f"{folder.rstrip('/')}/{target}" if folder and "://" not in target else target

    def _delimited(self, line: str) -> list[LayoutBlock]:
        """Return a block between two equal lines: as it is written, or as further blocks."""
        close = "```" if line.startswith("```") else line
        end = next((n for n in range(self._at, len(self._lines)) if self._lines[n].rstrip() == close), None)
        if end is None or line == "--" or line[0] in "=*_":
            return [Paragraph("")]  # what stands inside is read as if there were no frame
        content = "\n".join(self._lines[self._at : end])
        self._at = end + 1
        return [Paragraph("" if line.startswith("////") else content)]

    def _paragraph(self, lines: list[str], is_item: bool) -> Paragraph:
        return Paragraph(self._inline(" ".join(lines)), list_item=is_item)

    def _item(self, item: re.Match[str]) -> str:
        mark, depth = item[1], len(item[1])
        if mark.startswith("."):
            start = re.search(r"start=\"?(\d+)", self._style)
            number = self._counters.next(depth, int(start[1]) if start else None)
            self._style = ""
            return f"{'  ' * (depth - 1)}{number}. {item[2]}"
        return f"{'  ' * (depth - 1)}- {item[2]}" if not mark[0].isdigit() else f"{mark} {item[2]}"

    def _table(self, mark: str) -> list[list[str]]:
        """Return the rows of a table. ``cols``, or its first line of cells, tells the number of columns."""
        columns = self._columns()
        cells: list[str] = []
        rows: list[list[str]] = []
        while self._at < len(self._lines):
            line = self._lines[self._at].rstrip()
            self._at += 1
            if line == mark:
                break
            if mark[0] in ",:":
                rows.append(line.split(mark[0]))
                continue
            ends = [match for match in _CELL.finditer(line) if match.start() == 0 or line[match.start() - 1] != "\\"]
            if not ends:
                if cells and line.strip():
                    cells[-1] = f"{cells[-1]} {line.strip()}"
                continue
            starts = [*(match.start() for match in ends[1:]), len(line)]
            for match, end in zip(ends, starts, strict=True):
                span = _SPAN.match(match[0])
                cells += [line[match.end() : end].strip(), *[""] * (min(int(span[1]), 100) - 1 if span else 0)]
            columns = columns or len(cells)
        rows += [cells[start : start + columns] for start in range(0, len(cells), columns)] if columns else []
        return [[self._inline(cell) for cell in row] for row in rows]

    def _columns(self) -> int:
        match = re.search(r"cols=(?:\"([^\"]*)\"|([^,\]]+))", self._style)
        self._style = ""
        if not match:
            return 0
        repeated = re.match(r"(\d+)\*", match[1] or match[2])
        return int(repeated[1]) if repeated else len(re.split(r"[,;]", match[1] or match[2]))

    def _inline(self, text: str) -> str:
        text = re.sub(r"\{([\w-]+)\}", lambda match: self._attributes.get(match[1], match[0]), text)
        for pattern, replacement in _INLINE:
            text = pattern.sub(replacement, text)
        return text.strip("\n")
