"""Layout blocks: a sequence of headings, paragraphs, tables and pictures becomes text blocks and image blocks.

Formats without fixed pages (web pages, word processor files, sheets) are a stream of such blocks. Their readers only
yield the blocks in order. This module makes titles, offsets, captions and tables.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from commonplace.errors import ReadError
from commonplace.i18n import _
from commonplace.readers.chunks import shared_chunker
from commonplace.readers.ocr import with_ocr
from commonplace.readers.parts import File, ImageBlock, Part, TextBlock, bounding_box
from commonplace.readers.pictures import load_picture, picture_in
from commonplace.types import Box, Span

__all__ = [
    "CAPTION",
    "ICON",
    "EncodedPicture",
    "Heading",
    "LayoutBlock",
    "Paragraph",
    "Table",
    "clean_alt_text",
    "lay_out",
    "row_groups",
]

#: Matches the beginning of a caption.
CAPTION = re.compile(r"(figure|fig\.|image|photo|plate|chart|abbildung|abb\.|图|圖)\s*[\dIVXA-Z]", re.IGNORECASE)
_TABLE_CAPTION = re.compile(r"(table|tab\.|tabelle|tableau|tabla|表)\s*[\dIVXA-Z]", re.IGNORECASE)
_SENTENCE_ENDS = (".", "!", "?", "。", "！", "？", "…")
ICON = 24  # pixels; a smaller picture is a bullet or a badge

_PLACEHOLDER = re.compile(  # placeholders that programs write instead of a description
    r"((image|img|picture|pic|photo|screenshot|figure|graphic|grafik|bild|logo|icon|alt|alt text|untitled|图片|圖片)?"
    r"[\s\d._-]*|\S+\.(png|jpe?g|gif|bmp|tiff?|webp|emf|wmf))",
    re.IGNORECASE,
)
_MAX_HEADING = 120  # characters; a longer heading is treated as a paragraph
_MAX_CAPTION = 400
_MAX_COLUMNS = 60  # columns; a wider table is written as records, not as a Markdown table


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of ``level`` 1 (the highest) to 9."""

    text: str
    level: int = 1
    box: Box | None = None


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph. ``list_item``: no empty line before the next item. ``caption``: it describes an adjacent picture.
    ``row``: the row of a sheet that it is."""

    text: str
    list_item: bool = False
    caption: bool = False
    box: Box | None = None
    row: int | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table as rows of cells; the first is row ``row`` of a sheet, and the header unless ``has_head`` is false."""

    rows: Sequence[Sequence[str]]
    box: Box | None = None
    row: int | None = None
    has_head: bool = True


@dataclass(frozen=True, slots=True)
class EncodedPicture:
    """The bytes of a picture file, its description, and its name in error messages."""

    data: bytes
    description: str = ""
    name: str = "picture"
    box: Box | None = None


LayoutBlock = Heading | Paragraph | Table | EncodedPicture


def clean_alt_text(text: str | None) -> str:
    """Return ``text`` on one line; empty where it is only a placeholder such as "image1.png"."""
    description = " ".join((text or "").split())
    return "" if _PLACEHOLDER.fullmatch(description) else description


def lay_out(
    file: File, blocks: Iterable[LayoutBlock], *, page: int | None = None, title: str | None = None
) -> Iterator[Part]:
    """Yield the parts that ``blocks`` make, each titled by the headings above it ("A > B"), preceded by ``title``.

    Offsets count in the text as written here: an empty line between paragraphs, tables as Markdown. A long table is
    cut into groups of rows that each fit a chunk and repeat the header. A picture's caption joins its description
    and the caption next to it. ``file.title`` becomes the first heading where it is not set.
    """
    layout = _Layout(file, page, title)
    previous: LayoutBlock | None = None
    current: LayoutBlock | None = None
    for following in chain((block for block in blocks if _is_not_empty(block)), [None]):
        if current is not None:
            yield from layout.take(previous, current, following)
            previous = current
        current = following
    yield from layout.end()


def _is_not_empty(block: LayoutBlock) -> bool:
    if isinstance(block, (Heading, Paragraph)):
        return bool(block.text.strip())
    return bool(block.rows if isinstance(block, Table) else block.data)


class _Layout:
    def __init__(self, file: File, page: int | None, title: str | None) -> None:
        self._file, self._page, self._page_title = file, page, title
        self._chunker = shared_chunker(file.options.tokenizer, file.options.max_tokens)
        self._heading_path: list[tuple[int, str]] = []
        self._heading_is_empty = False  # no block has followed the last heading yet
        self._offset = 0
        self._pending: list[Paragraph] = []
        self._picture_keys: set[bytes] = set()

    def take(self, previous: LayoutBlock | None, block: LayoutBlock, following: LayoutBlock | None) -> Iterator[Part]:
        if isinstance(block, Heading):
            text = " ".join(block.text.split())
            deeper = self._heading_path and block.level > self._heading_path[-1][0]
            yield from self._flush(deeper=bool(deeper))
            if len(text) > _MAX_HEADING:
                self._pending.append(Paragraph(text, box=block.box))
                self._heading_is_empty = False
                return
            self._heading_path = [
                *((level, name) for level, name in self._heading_path if level < block.level),
                (block.level, text),
            ]
            self._heading_is_empty = True
            if self._file.title is None:
                self._file.title = text
        elif isinstance(block, Paragraph):
            self._pending.append(block)
            self._heading_is_empty = False
        elif isinstance(block, Table):
            yield from self._table(block)
        else:
            yield from self._image_block(previous, block, following)

    def end(self) -> Iterator[Part]:
        yield from self._flush()

    def _title(self, path: Sequence[tuple[int, str]]) -> str | None:
        names = ([self._page_title] if self._page_title else []) + [name for _, name in path]
        return " > ".join(names) or None

    def _flush(self, deeper: bool = False) -> Iterator[Part]:
        """Yield the waiting paragraphs as one text block; a heading without content becomes a text block itself."""
        if self._heading_is_empty and not deeper and self._heading_path:
            (_, heading), path = self._heading_path[-1], self._heading_path[:-1]
            yield self._text_block(heading, path, None)
        self._heading_is_empty = False
        if not self._pending:
            return
        text, boxes = "", []
        for number, paragraph in enumerate(self._pending):
            if number:
                text += "\n" if paragraph.list_item and self._pending[number - 1].list_item else "\n\n"
            boxes.append((len(text), paragraph.box))
            text += paragraph.text.strip("\n")
        rows = [paragraph.row for paragraph in self._pending]
        first = rows[0]
        together = first is not None and rows == list(range(first, first + len(rows))) and "\n\n" not in text
        self._pending = []
        yield self._text_block(text, self._heading_path, boxes, first if together or len(rows) == 1 else None)

    def _text_block(
        self,
        text: str,
        path: Sequence[tuple[int, str]],
        boxes: list[tuple[int, Box | None]] | None,
        row: int | None = None,
    ) -> TextBlock:
        start, self._offset = self._offset, self._offset + len(text) + 2

        def locate(first: int, last: int) -> Box | None:
            assert boxes is not None
            ends = [offset for offset, _ in boxes[1:]] + [len(text)]
            return bounding_box(
                box for (offset, box), end in zip(boxes, ends, strict=True) if offset < last and end > first
            )

        boxed = boxes is not None and any(box for _, box in boxes)
        return TextBlock(text, start, self._title(path), self._page, locate=locate if boxed else None, row=row)

    def _table(self, table: Table) -> Iterator[Part]:
        rows = _trim(table.rows)
        if not rows:
            return
        if len(rows) == 1 or len(rows[0]) == 1:
            self._pending += [
                Paragraph(
                    " | ".join(filter(None, row)),
                    list_item=True,
                    box=table.box,
                    row=None if table.row is None else table.row + n,
                )
                for n, row in enumerate(rows)
            ]
            self._heading_is_empty = False
            return
        path = self._heading_path
        last = self._pending[-1] if self._pending else None
        if last is not None and (
            (last.caption and len(last.text) <= _MAX_HEADING) or (len(self._pending) == 1 and _names_a_table(last.text))
        ):
            self._pending.pop()
            caption = " ".join(last.text.split())
            path = path if path and path[-1][1] == caption else [*path, (9, caption)]
        yield from self._flush(deeper=True)
        title = self._chunker.title(self._title(path))
        row = None if table.row is None else table.row + table.has_head
        rows = rows if table.has_head else [[""] * len(rows[0]), *rows]
        for text, count in row_groups(rows, self._chunker.room(title), self._chunker.count):
            yield self._text_block(text, path, [(0, table.box)], row)
            row = None if row is None else row + count

    def _image_block(
        self, previous: LayoutBlock | None, encoded: EncodedPicture, following: LayoutBlock | None
    ) -> Iterator[Part]:
        texts = [clean_alt_text(encoded.description)]
        adjacent = (
            [following]
            if isinstance(following, Paragraph) and (following.caption or CAPTION.match(following.text.strip()))
            else []
        )
        if not adjacent and isinstance(previous, Paragraph) and previous.caption:
            adjacent = [previous]
        texts += [" ".join(paragraph.text.split()) for paragraph in adjacent if len(paragraph.text) <= _MAX_CAPTION]
        caption = ". ".join(text for index, text in enumerate(texts) if text and text not in texts[index + 1 :]) or None
        key = hashlib.blake2b(
            encoded.data + b"\0" + (caption or "").encode("utf-8", "replace"), digest_size=16
        ).digest()
        if key in self._picture_keys:
            return  # a logo that is repeated in the document counts once
        self._picture_keys.add(key)
        try:
            picture = picture_in(self._file, encoded.data)
        except ReadError as error:
            self._file.problems.append(_("picture {name}: {error}").format(name=encoded.name, error=error))
            return
        if max(picture.width, picture.height) < ICON:
            return
        pending_length = sum(len(paragraph.text) + 2 for paragraph in self._pending)
        offset = self._offset + pending_length
        span = Span(offset, offset, page=self._page, box=encoded.box)
        block = ImageBlock(picture, span, caption, self._title(self._heading_path))
        # offsets of OCR text count in the picture, not in the document: the picture is a member of its own
        member = f"{encoded.name} {len(self._picture_keys)}"
        yield from with_ocr(self._file, block, lambda side: load_picture(encoded.data, side=side).pixels, member=member)


def _names_a_table(text: str) -> bool:
    """Return whether the only line between a heading and a table is the table's caption; a sentence is content."""
    line = text.strip()
    return len(line) <= _MAX_HEADING and (_TABLE_CAPTION.match(line) is not None or not line.endswith(_SENTENCE_ENDS))


def _trim(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the rows with cells on one line, padded to one length, without empty rows and columns."""
    cleaned = [[" ".join(str(cell).split()) for cell in row] for row in rows]
    cleaned = [row for row in cleaned if any(row)]
    width = max((len(row) for row in cleaned), default=0)
    cleaned = [row + [""] * (width - len(row)) for row in cleaned]
    columns = [column for column in range(width) if any(row[column] for row in cleaned)]
    return [[row[column] for column in columns] for row in cleaned]


def row_groups(rows: list[list[str]], room: int, count: Callable[[str], int]) -> Iterator[tuple[str, int]]:
    """Yield Markdown tables of as many rows as fit into ``room`` tokens, each with the header, and how many these are.

    A wide table is written as one line of "header: cell" pairs per row.
    """
    header = "| " + " | ".join(map(_escape_cell, rows[0])) + " |\n" + "|" + "---|" * len(rows[0])
    header_tokens = count(header)
    if header_tokens > room // 2 or len(rows[0]) > _MAX_COLUMNS:
        lines, header_tokens, header = [_record(rows[0], row) for row in rows[1:]], 0, ""
    else:
        lines = ["| " + " | ".join(map(_escape_cell, row)) + " |" for row in rows[1:]]
    group_lines: list[str] = []
    tokens = header_tokens
    for line, line_tokens in zip(lines, map(count, lines), strict=True):
        if group_lines and tokens + line_tokens > room:
            yield "\n".join([header, *group_lines] if header else group_lines), len(group_lines)
            group_lines, tokens = [], header_tokens
        group_lines.append(line)
        tokens += line_tokens
    if group_lines:
        yield "\n".join([header, *group_lines] if header else group_lines), len(group_lines)


def _escape_cell(text: str) -> str:
    return text.replace("|", "\\|")


def _record(head: list[str], row: list[str]) -> str:
    cells = (f"{name}: {cell}" if name else cell for name, cell in zip(head, row, strict=True) if cell)
    return "; ".join(cells)
