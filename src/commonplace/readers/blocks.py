"""What flows: headings, words, tables and pictures one after the other become passages and figures.

A format that has no pages of its own (a web page, a word processor's file, a sheet) only says what comes next; titles,
offsets, captions and tables are made here, once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from commonplace.errors import ReadError
from commonplace.readers.chunks import chunker
from commonplace.readers.ocr import with_words
from commonplace.readers.parts import File, ImageBlock, Part, TextBlock, union
from commonplace.readers.pictures import load_picture
from commonplace.types import Box, Span

__all__ = ["CAPTION", "ICON", "Block", "Heading", "Shown", "Table", "Words", "clean_alt_text", "lay_out"]

#: How a caption begins.
CAPTION = re.compile(r"(figure|fig\.|image|photo|plate|chart|abbildung|abb\.|图|圖)\s*[\dIVXA-Z]", re.IGNORECASE)
ICON = 24  # pixels; a smaller picture is a bullet or a badge

_BARE = re.compile(  # what programs write where a description belongs
    r"((image|img|picture|pic|photo|screenshot|figure|graphic|grafik|bild|logo|icon|alt|alt text|untitled|图片|圖片)?"
    r"[\s\d._-]*|\S+\.(png|jpe?g|gif|bmp|tiff?|webp|emf|wmf))",
    re.IGNORECASE,
)
_LONG_HEADING = 120  # characters; a longer one is a paragraph in disguise and stays in the text
_LONG_CAPTION = 400
_WIDE = 60  # columns of a table that can be read as one


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of ``level`` 1 (the highest) to 9."""

    words: str
    level: int = 1
    box: Box | None = None


@dataclass(frozen=True, slots=True)
class Words:
    """A paragraph; ``item`` stands close to those beside it (a list), ``caption`` belongs to the picture beside it."""

    words: str
    item: bool = False
    caption: bool = False
    box: Box | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table by rows, the head first."""

    rows: Sequence[Sequence[str]]
    box: Box | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture file's bytes, what is said of it, and what to call it where it cannot be read."""

    data: bytes
    words: str = ""
    name: str = "picture"
    box: Box | None = None


Block = Heading | Words | Table | Shown


def clean_alt_text(words: str | None) -> str:
    """Return ``words`` on one line, or nothing where they are only what a program calls any picture."""
    plain = " ".join((words or "").split())
    return "" if _BARE.fullmatch(plain) else plain


def lay_out(
    file: File, blocks: Iterable[Block], *, page: int | None = None, title: str | None = None
) -> Iterator[Part]:
    """Yield the parts that ``blocks`` make, under their headings ("A > B") and, on top, ``title``.

    Offsets count in what the reader wrote out: paragraphs with an empty line between them, tables as Markdown. A table
    is cut into groups of rows that each fit a chunk, with its head over each. A picture's caption is what its
    format says of it and the caption beside it. ``file.title`` becomes the first heading where it is not set.
    """
    flow = _Flow(file, page, title)
    before: Block | None = None
    current: Block | None = None
    for after in chain((block for block in blocks if _is_something(block)), [None]):
        if current is not None:
            yield from flow.take(before, current, after)
            before = current
        current = after
    yield from flow.end()


def _is_something(block: Block) -> bool:
    if isinstance(block, (Heading, Words)):
        return bool(block.words.strip())
    return bool(block.rows if isinstance(block, Table) else block.data)


class _Flow:
    def __init__(self, file: File, page: int | None, title: str | None) -> None:
        self._file, self._page, self._above = file, page, title
        self._cutter = chunker(file.options.tokenizer, file.options.max_tokens)
        self._path: list[tuple[int, str]] = []
        self._bare = False  # nothing stands under the last heading yet
        self._at = 0
        self._waiting: list[Words] = []
        self._seen: set[bytes] = set()

    def take(self, before: Block | None, block: Block, after: Block | None) -> Iterator[Part]:
        if isinstance(block, Heading):
            words = " ".join(block.words.split())
            deeper = self._path and block.level > self._path[-1][0]
            yield from self._flush(deeper=bool(deeper))
            if len(words) > _LONG_HEADING:
                self._waiting.append(Words(words, box=block.box))
                self._bare = False
                return
            self._path = [*((level, name) for level, name in self._path if level < block.level), (block.level, words)]
            self._bare = True
            if self._file.title is None:
                self._file.title = words
        elif isinstance(block, Words):
            self._waiting.append(block)
            self._bare = False
        elif isinstance(block, Table):
            yield from self._table(block)
        else:
            yield from self._figure(before, block, after)

    def end(self) -> Iterator[Part]:
        yield from self._flush()

    def _title(self, path: Sequence[tuple[int, str]]) -> str | None:
        names = ([self._above] if self._above else []) + [name for _, name in path]
        return " > ".join(names) or None

    def _flush(self, deeper: bool = False) -> Iterator[Part]:
        """Yield what waits as one passage; a heading that nothing stands under is all there is of its section."""
        if self._bare and not deeper and self._path:
            (_, words), path = self._path[-1], self._path[:-1]
            yield self._passage(words, path, None)
        self._bare = False
        if not self._waiting:
            return
        text, places = "", []
        for number, one in enumerate(self._waiting):
            if number:
                text += "\n" if one.item and self._waiting[number - 1].item else "\n\n"
            places.append((len(text), one.box))
            text += one.words.strip("\n")
        self._waiting = []
        yield self._passage(text, self._path, places)

    def _passage(
        self, text: str, path: Sequence[tuple[int, str]], places: list[tuple[int, Box | None]] | None
    ) -> TextBlock:
        start, self._at = self._at, self._at + len(text) + 2

        def locate(first: int, last: int) -> Box | None:
            assert places is not None
            ends = [place for place, _ in places[1:]] + [len(text)]
            return union(box for (place, box), end in zip(places, ends, strict=True) if place < last and end > first)

        boxed = places is not None and any(box for _, box in places)
        return TextBlock(text, start, self._title(path), self._page, locate=locate if boxed else None)

    def _table(self, table: Table) -> Iterator[Part]:
        rows = _trimmed(table.rows)
        if not rows:
            return
        if len(rows) == 1 or len(rows[0]) == 1:
            self._waiting += [Words(" | ".join(filter(None, row)), item=True, box=table.box) for row in rows]
            self._bare = False
            return
        path = self._path
        if len(self._waiting) == 1 and len(self._waiting[0].words) <= _LONG_HEADING:
            # a short line between a heading and a table says what the table is about
            words = " ".join(self._waiting.pop().words.split())
            path = path if path and path[-1][1] == words else [*path, (9, words)]
        yield from self._flush(deeper=True)
        title = self._cutter.title(self._title(path))
        for text in _groups(rows, self._cutter.room(title), self._cutter.count):
            yield self._passage(text, path, [(0, table.box)])

    def _figure(self, before: Block | None, shown: Shown, after: Block | None) -> Iterator[Part]:
        said = [clean_alt_text(shown.words)]
        beside = [after] if isinstance(after, Words) and (after.caption or CAPTION.match(after.words.strip())) else []
        if not beside and isinstance(before, Words) and before.caption:
            beside = [before]
        said += [" ".join(one.words.split()) for one in beside if len(one.words) <= _LONG_CAPTION]
        caption = ". ".join(words for at, words in enumerate(said) if words and words not in said[at + 1 :]) or None
        key = hashlib.blake2b(shown.data + b"\0" + (caption or "").encode("utf-8", "replace"), digest_size=16).digest()
        if key in self._seen:
            return  # a logo that stands in many places is one picture
        self._seen.add(key)
        options = self._file.options
        try:
            picture = load_picture(
                shown.data,
                side=options.picture_side,
                thumbnail_side=options.thumbnail_side,
                max_pixels=options.max_pixels,
            )
        except ReadError as error:
            self._file.problems.append(f"picture {shown.name}: {error}")
            return
        if max(picture.width, picture.height) < ICON:
            return
        held = sum(len(one.words) + 2 for one in self._waiting)
        place = self._at + held
        span = Span(place, place, page=self._page, box=shown.box)
        figure = ImageBlock(picture, span, caption, self._title(self._path))
        # what is read in a picture counts in that picture: the document's own offsets are taken
        member = f"{shown.name} {len(self._seen)}"
        yield from with_words(
            self._file, figure, lambda side: load_picture(shown.data, side=side).pixels, member=member
        )


def _trimmed(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the rows on one line each, as long as each other, without what is empty throughout."""
    plain = [[" ".join(str(cell).split()) for cell in row] for row in rows]
    plain = [row for row in plain if any(row)]
    width = max((len(row) for row in plain), default=0)
    plain = [row + [""] * (width - len(row)) for row in plain]
    kept = [column for column in range(width) if any(row[column] for row in plain)]
    return [[row[column] for column in kept] for row in plain]


def _groups(rows: list[list[str]], room: int, count: Callable[[str], int]) -> Iterator[str]:
    """Yield Markdown tables of as many rows as ``room`` tokens hold, each with the head; wide rows as "head: cell"."""
    head = "| " + " | ".join(map(_cell, rows[0])) + " |\n" + "|" + "---|" * len(rows[0])
    top = count(head)
    if top > room // 2 or len(rows[0]) > _WIDE:
        lines, top, head = [_record(rows[0], row) for row in rows[1:]], 0, ""
    else:
        lines = ["| " + " | ".join(map(_cell, row)) + " |" for row in rows[1:]]
    group: list[str] = []
    taken = top
    for line, cost in zip(lines, map(count, lines), strict=True):
        if group and taken + cost > room:
            yield "\n".join([head, *group] if head else group)
            group, taken = [], top
        group.append(line)
        taken += cost
    if group:
        yield "\n".join([head, *group] if head else group)


def _cell(words: str) -> str:
    return words.replace("|", "\\|")


def _record(head: list[str], row: list[str]) -> str:
    cells = (f"{name}: {cell}" if name else cell for name, cell in zip(head, row, strict=True) if cell)
    return "; ".join(cells)
