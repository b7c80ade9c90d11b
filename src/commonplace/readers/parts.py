"""The interface between the common code and a reader: a file goes in, text blocks and image blocks come out."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from commonplace.types import Box, Content, Document, Picture, Span

__all__ = [
    "ContentBlock",
    "File",
    "ImageBlock",
    "Part",
    "Quota",
    "ReadOptions",
    "RecordContent",
    "TextBlock",
    "bounding_box",
    "stamp",
    "stamp_paths",
]

PICTURE_SIDE = 640
THUMBNAIL_SIDE = 320
MAX_PIXELS = 178_000_000
MAX_BYTES = 512 * 1024 * 1024
MAX_PICTURES = 500


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How files are read.

    ``tokenizer`` is the path of a ``tokenizer.json`` (Hugging Face format). ``max_tokens`` is the limit of the text
    encoder, special tokens included: no text view is longer. Pictures are reduced, never enlarged, until the
    longer side is at most ``picture_side`` pixels. Pictures over ``max_pixels`` and files over ``max_bytes`` (packed
    or unpacked) are refused. At most ``max_pictures`` are kept per document. After ``seconds`` a reader of an archive
    or a mail stops before the next file inside, and keeps what it has read. OCR gets ``ocr_seconds`` per document,
    which do not count as ``seconds``; it needs the extra ``ocr``.
    """

    tokenizer: str
    max_tokens: int
    picture_side: int = PICTURE_SIDE
    thumbnail_side: int = THUMBNAIL_SIDE
    max_pixels: int = MAX_PIXELS
    max_bytes: int = MAX_BYTES
    max_pictures: int = MAX_PICTURES
    seconds: float = 40.0
    ocr_seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.max_tokens < 16:
            raise ValueError(f"max_tokens is {self.max_tokens}; at least 16 are needed")
        if min(self.picture_side, self.thumbnail_side, self.max_pixels, self.max_bytes, self.max_pictures) < 1:
            raise ValueError("picture_side, thumbnail_side, max_pixels, max_bytes and max_pictures must be positive")


@dataclass(slots=True)
class Quota:
    """What one document may still use, including all files inside it: files and bytes to unpack, and time."""

    bytes: int = MAX_BYTES
    files: int = 10_000
    deadline: float = float("inf")  # time.monotonic()
    ocr_seconds: float = 0.0  # seconds left for OCR

    @property
    def time_is_up(self) -> bool:
        """Whether the time for the document is used up."""
        return time.monotonic() > self.deadline


@dataclass(slots=True)
class File:
    """One file that a reader reads: its bytes, and what the reader reports about it.

    ``root`` is the folder that was added: nothing outside it may be shown. A reader sets ``title``, adds metadata with
    ``add_metadata()``, and appends to ``problems`` what it had to leave out; the document's status is then
    ``partial``. It calls ``watch()`` before it opens another file that the document shows. ``depth`` counts the
    files around this one (an archive, a mail). Where it is not 0, the file is not on the disk and ``path`` is only a
    name.
    """

    path: Path
    root: Path
    data: bytes
    media_type: str
    options: ReadOptions
    title: str | None = None
    problems: list[str] = field(default_factory=list)
    metadata: dict[str, list[object]] = field(default_factory=dict)
    watched: dict[str, list[int]] = field(default_factory=dict)
    depth: int = 0
    quota: Quota = field(default_factory=Quota)

    def add_metadata(self, key: str, *values: object) -> None:
        """Add metadata that the file declares, unchecked: it is checked later. None and "" are ignored."""
        present = [value for value in values if value is not None and value != ""]
        if present:
            self.metadata.setdefault(key, []).extend(present)

    def watch(self, path: Path) -> None:
        """Make the document depend on ``path``, which may be missing: it is read again when that file changes."""
        name = os.path.abspath(path)
        self.watched.setdefault(name, _file_state(name))


@dataclass(frozen=True, slots=True)
class TextBlock:
    """A piece of text to be cut into chunks.

    ``start`` is the offset of ``text`` in the document's decoded text, or in that of its page. ``split_as`` is a text
    of the same length whose boundaries are used instead, for instance without the line ends of a typeset page.
    ``locate`` takes start and end in ``text`` and returns a box on the page; it is called before the next part is
    requested. ``member`` names the file inside the document that contains the text. ``keep_together``: one chunk if it
    fits ``max_tokens``, even over the target size. ``from_ocr``: the text was read from pixels.
    """

    text: str
    start: int = 0
    title: str | None = None
    page: int | None = None
    markdown: bool = False
    split_as: str | None = None
    locate: Callable[[int, int], Box | None] | None = None
    member: str | None = None
    keep_together: bool = False
    from_ocr: bool = False


@dataclass(frozen=True, slots=True)
class ImageBlock:
    """A picture with its position, its caption if it has one, and its ``ocr_text``."""

    picture: Picture
    span: Span
    caption: str | None = None
    title: str | None = None
    ocr_text: str | None = None


@dataclass(frozen=True, slots=True)
class ContentBlock:
    """A content of another modality than text and picture, as its encoder reads it, with its place and, where there are
    any, words about it. See ``commonplace.channels`` for how an installed package adds a modality."""

    modality: str
    content: Content
    span: Span = field(default_factory=Span)
    text: str | None = None
    title: str | None = None


Part = TextBlock | ImageBlock | ContentBlock


@dataclass(frozen=True, slots=True)
class RecordContent:
    """The content of a record, to be read like a file: ``data``, the bytes of a file, or else ``text``.

    ``document`` holds what the user gave: id, URI, title, metadata. Its media type is empty where ``data`` and
    ``name`` decide it; ``is_picture`` refuses any but a picture, whose caption ``text`` is. ``modified`` is when the
    content was modified, in seconds since 1970; None where it is not known.
    """

    document: Document
    data: bytes | None = field(default=None, repr=False)
    text: str | None = field(default=None, repr=False)
    name: str = ""
    is_picture: bool = False
    modified: float | None = None


def _file_state(path: str) -> list[int]:
    try:
        status = os.stat(path)
    except OSError:
        return []  # a missing file: its appearance counts as a change
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def stamp(paths: Iterable[str | Path]) -> str:
    """Return the state of ``paths`` as JSON text: ``[[path, size, mtime_ns, ctime_ns, inode], ...]``.

    A missing file has only its path. Equal stamps mean that no file needs to be read again.
    """
    return render_stamp({name: _file_state(name) for name in (os.path.abspath(path) for path in paths)})


def render_stamp(states: dict[str, list[int]]) -> str:
    return json.dumps([[name, *state] for name, state in states.items()])


def stamp_paths(text: str) -> list[str]:
    """Return the paths in a stamp; none for an empty stamp."""
    return [entry[0] for entry in json.loads(text)] if text else []


def bounding_box(boxes: Iterable[Box | None]) -> Box | None:
    """Return the box around ``boxes``; None where all are None or there are none."""
    present = [box for box in boxes if box is not None]
    if not present:
        return None
    lefts, tops, rights, bottoms = zip(*present, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)
