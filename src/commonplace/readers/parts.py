"""What passes between the common code and a format: a file goes in, passages and figures come out."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from commonplace.types import Box, Document, Picture, Span

__all__ = [
    "File",
    "ImageBlock",
    "Part",
    "Quota",
    "ReadOptions",
    "RecordContent",
    "TextBlock",
    "stamp",
    "stamp_paths",
    "union",
]

PICTURE_SIDE = 640
THUMBNAIL_SIDE = 320
MAX_PIXELS = 178_000_000
MAX_BYTES = 512 * 1024 * 1024
MAX_PICTURES = 500


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How files are read.

    ``tokenizer`` is the path of a ``tokenizer.json`` (Hugging Face format) and ``max_tokens`` the text tower's
    limit with its special tokens: no text view encodes to more. Pictures are reduced, never enlarged, until the
    longer side is at most ``picture_side`` pixels. Pictures over ``max_pixels`` and files over ``max_bytes`` (packed
    or unpacked) are refused; ``max_pictures`` of a document are kept. After ``seconds`` a format that holds others
    stops at the next of them, so that what was read until then is kept. Words in pictures are recognised
    for ``words`` seconds a document, which do not count among the others and need the extra ``ocr``.
    """

    tokenizer: str
    max_tokens: int
    picture_side: int = PICTURE_SIDE
    thumbnail_side: int = THUMBNAIL_SIDE
    max_pixels: int = MAX_PIXELS
    max_bytes: int = MAX_BYTES
    max_pictures: int = MAX_PICTURES
    seconds: float = 40.0
    words: float = 0.0

    def __post_init__(self) -> None:
        if self.max_tokens < 16:
            raise ValueError(f"max_tokens is {self.max_tokens}; at least 16 are needed")
        if min(self.picture_side, self.thumbnail_side, self.max_pixels, self.max_bytes, self.max_pictures) < 1:
            raise ValueError("picture_side, thumbnail_side, max_pixels, max_bytes and max_pictures must be positive")


@dataclass(slots=True)
class Quota:
    """What may still be unpacked of one document, through all that it holds: files, and their bytes together."""

    bytes: int = MAX_BYTES
    files: int = 10_000
    until: float = float("inf")  # time.monotonic()
    words: float = 0.0  # seconds for the words in pictures

    @property
    def late(self) -> bool:
        """Whether the time for one document is nearly up."""
        return time.monotonic() > self.until


@dataclass(slots=True)
class File:
    """One file in the hands of a format: its bytes, and where the format notes what it learns on the way.

    ``root`` is the folder that was added: nothing outside it may be shown. A format sets ``title``, says by
    :meth:`state` what the file says of itself, and appends to ``problems`` what it had to leave out (the document's
    status is then ``partial``); another file that the document shows is announced with :meth:`watch` before it is
    opened. ``depth`` counts the files around this one (an archive, a mail): it has no neighbours on the disk then, and
    ``path`` is only a name.
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

    def state(self, key: str, *values: object) -> None:
        """Note what the file says of itself, as it stands there: it is checked later. None and "" are nothing."""
        known = [value for value in values if value is not None and value != ""]
        if known:
            self.metadata.setdefault(key, []).extend(known)

    def watch(self, path: Path) -> None:
        """Make the document depend on ``path`` (which may be missing): it is read again when that changes."""
        name = os.path.abspath(path)
        self.watched.setdefault(name, _state(name))


@dataclass(frozen=True, slots=True)
class TextBlock:
    """A stretch of text to be cut into chunks.

    ``start`` is the offset of ``text`` in the document's decoded text (or its page's). ``split_as`` is a text of
    the same length whose boundaries count in place of ``text``'s own, for instance without the line ends of a
    typeset page. ``locate`` turns offsets into ``text`` into a box on the page; it is called before the next part is
    asked for. ``member`` names the file inside the document that it stands in. ``whole`` is one chunk wherever the
    tower takes it, however full. ``ocr_start``: nobody wrote it, it was read in pixels.
    """

    text: str
    start: int = 0
    title: str | None = None
    page: int | None = None
    markdown: bool = False
    split_as: str | None = None
    locate: Callable[[int, int], Box | None] | None = None
    member: str | None = None
    whole: bool = False
    ocr_start: bool = False


@dataclass(frozen=True, slots=True)
class ImageBlock:
    """A picture with its place, its caption where somebody wrote one, and the ``words`` that were read in it."""

    picture: Picture
    span: Span
    caption: str | None = None
    title: str | None = None
    words: str | None = None


Part = TextBlock | ImageBlock


@dataclass(frozen=True, slots=True)
class RecordContent:
    """The content of a record, to be read like a file: ``data``, the bytes of a file, or else ``text``.

    ``document`` holds what the user gave: id, URI, title, metadata. Its media type is empty where ``data`` and
    ``name`` decide it; ``is_picture`` refuses any but a picture, whose caption ``text`` is.
    """

    document: Document
    data: bytes | None = field(default=None, repr=False)
    text: str | None = field(default=None, repr=False)
    name: str = ""
    is_picture: bool = False


def _state(path: str) -> list[int]:
    try:
        found = os.stat(path)
    except OSError:
        return []  # missing: it counts as a change when it appears
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def stamp(paths: Iterable[str | Path]) -> str:
    """Return the file system's word on ``paths`` as JSON text: ``[[path, size, mtime_ns, ctime_ns, inode], ...]``.

    A missing file stands with its path alone. Two equal stamps mean that nothing needs reading again.
    """
    return render_stamp({name: _state(name) for name in (os.path.abspath(path) for path in paths)})


def render_stamp(states: dict[str, list[int]]) -> str:
    return json.dumps([[name, *state] for name, state in states.items()])


def stamp_paths(text: str) -> list[str]:
    """Return the paths that a stamp speaks of; an empty stamp speaks of none."""
    return [entry[0] for entry in json.loads(text)] if text else []


def union(boxes: Iterable[Box | None]) -> Box | None:
    """Return the box around ``boxes``, None where there is none."""
    found = [box for box in boxes if box is not None]
    if not found:
        return None
    lefts, tops, rights, bottoms = zip(*found, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)
