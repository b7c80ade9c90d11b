"""The interface between the common code and a reader: a file goes in, text blocks and image blocks come out."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from commonplace.i18n import _
from commonplace.readers.encodings import codec_of
from commonplace.readers.formats import open_regular
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
SECONDS = 300.0
_SPEECH_STEP = 600.0


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How files are read.

    ``tokenizer`` is the path of a ``tokenizer.json`` (Hugging Face format). ``max_tokens`` is the limit of the text
    encoder, special tokens included: no text view is longer. Pictures are reduced, never enlarged, until the
    longer side is at most ``picture_side`` pixels. Pictures over ``max_pixels`` and files over ``max_bytes`` (packed
    or unpacked) are refused. At most ``max_pictures`` are kept per document. After ``seconds`` of processor time the
    reader stops before the next page or part, and what it has read is kept. OCR gets ``ocr_seconds`` of processor time
    per document, which do not count as ``seconds``; it needs the extra ``ocr``. In the same way speech gets
    ``speech_seconds``; it needs the extra ``speech``. ``speech_model`` is the folder of a Whisper model; where it is
    empty, it is only noted where there is speech. For models that embed sound, it is also given in pieces of
    ``sound_seconds`` with ``sound_rate`` samples a second; 0 for others. ``encoding`` is that of text files, web
    pages and tables, whatever they say of themselves; where it is empty, it is detected.
    """

    tokenizer: str
    max_tokens: int
    picture_side: int = PICTURE_SIDE
    thumbnail_side: int = THUMBNAIL_SIDE
    max_pixels: int = MAX_PIXELS
    max_bytes: int = MAX_BYTES
    max_pictures: int = MAX_PICTURES
    seconds: float = SECONDS
    ocr_seconds: float = 0.0
    encoding: str = ""
    speech_seconds: float = 0.0
    speech_model: str = ""
    sound_rate: int = 0
    sound_seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.encoding and codec_of(self.encoding) is None:
            raise ValueError(f"no encoding has the name {self.encoding!r}")
        if self.max_tokens < 16:
            raise ValueError(f"max_tokens is {self.max_tokens}; at least 16 are needed")
        if min(self.picture_side, self.thumbnail_side, self.max_pixels, self.max_bytes, self.max_pictures) < 1:
            raise ValueError("picture_side, thumbnail_side, max_pixels, max_bytes and max_pictures must be positive")
        if not 0 < self.seconds < float("inf"):
            raise ValueError("seconds must be positive and finite")

    @property
    def step_seconds(self) -> float:
        """Processor time that one page or part may take: a fifth of ``seconds``, but not less than a minute of it.

        A large model may take minutes for half a minute of speech.
        """
        if self.speech_model:
            return max(_SPEECH_STEP, self.seconds / 5)
        return max(1.0, self.seconds / 5, min(60.0, self.seconds))


@dataclass(slots=True)
class Quota:
    """What one document may still use, including all files inside it: files and bytes to unpack, and time.

    Time is that of the processor in the reader's thread: other work on the machine costs a document nothing. Each page
    and each part that was read is a step. A reader may also look at all pages first. ``on_progress`` is called after
    each, with the numbers of steps and of pages looked at. Where an earlier attempt failed (``failure`` says how),
    reading ends after ``last_step`` steps, and pages from number ``last_page`` (from 0) on are not opened.
    """

    bytes: int = MAX_BYTES
    files: int = 10_000
    seconds: float = float("inf")  # the whole limit, for messages
    deadline: float = float("inf")  # time.thread_time()
    ocr_seconds: float = 0.0  # seconds left for OCR
    speech_seconds: float = 0.0  # seconds left for speech
    last_step: int | None = None
    last_page: int | None = None
    failure: str = ""
    on_progress: Callable[[int, int], None] | None = None
    steps: int = 0
    looked_at: int = 0

    @classmethod
    def of(
        cls,
        options: ReadOptions,
        on_progress: Callable[[int, int], None] | None = None,
        *,
        last_step: int | None = None,
        last_page: int | None = None,
        failure: str = "",
    ) -> Quota:
        """Return the quota of a document whose reading begins now."""
        seconds = options.seconds
        return cls(
            options.max_bytes,
            seconds=seconds,
            deadline=time.thread_time() + seconds,
            ocr_seconds=options.ocr_seconds,
            speech_seconds=options.speech_seconds,
            on_progress=on_progress,
            last_step=last_step,
            last_page=last_page,
            failure=failure,
        )

    def step(self) -> None:
        """Count a page or a part as read."""
        self.steps += 1
        if self.on_progress is not None:
            self.on_progress(self.steps, self.looked_at)

    def look(self) -> None:
        """Count a page as looked at, before any is read."""
        self.looked_at += 1
        if self.on_progress is not None:
            self.on_progress(self.steps, self.looked_at)

    @property
    def share_left(self) -> float:
        """The share of the document's time that is left, up to 1; below 0 where it is over."""
        return 1.0 if self.seconds == float("inf") else (self.deadline - time.thread_time()) / self.seconds

    @property
    def was_last_step(self) -> bool:
        """Whether the next page or part must not be tried."""
        return self.last_step is not None and self.steps >= self.last_step

    @property
    def is_used_up(self) -> bool:
        """Whether the reader must stop before the next page or part."""
        return self.was_last_step or self.share_left < 0

    @property
    def reason(self) -> str:
        """Why the reader must stop, and what to do about it."""
        if self.failure and self.share_left >= 0:
            return self.failure
        reason = _("the time limit of {seconds:g} s was reached; add it with --retry-failed and a larger --time-limit")
        return reason.format(seconds=self.seconds)


@dataclass(slots=True)
class File:
    """One file that a reader reads: its bytes, and what the reader reports about it.

    ``root`` is the folder that was added: nothing outside it may be shown. A reader sets ``title``, adds metadata with
    ``add_metadata()``, and appends to ``problems`` what it had to leave out; the document's status is then
    ``partial``. It calls ``watch()`` before it opens another file that the document shows. ``depth`` counts the
    files around this one (an archive, a mail). Where it is not 0, the file is not on the disk and ``path`` is only a
    name. A reader that looks at the quota between pages itself sets ``has_pages``. A video on the disk is not read
    ahead: ``data`` is empty, and ``open()`` gives its bytes.
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
    has_pages: bool = False

    def add_metadata(self, key: str, *values: object) -> None:
        """Add metadata that the file declares, unchecked: it is checked later. None and "" are ignored."""
        present = [value for value in values if value is not None and value != ""]
        if present:
            self.metadata.setdefault(key, []).extend(present)

    def open(self) -> BinaryIO:
        """Return a stream of the file's bytes. Raises ReadError where it cannot be opened."""
        return open_regular(self.path) if not self.depth and not self.data else io.BytesIO(self.data)

    def watch(self, path: Path) -> None:
        """Make the document depend on ``path``, which may be missing: it is read again when that file changes."""
        name = os.path.abspath(path)
        self.watched.setdefault(name, _file_state(name))


@dataclass(frozen=True, slots=True)
class TextBlock:
    """A piece of text to be cut into chunks.

    ``start`` is the offset of ``text`` in the document's decoded text, or in that of its page. ``split_as`` is a text
    of the same length whose boundaries are used instead, for instance without the line ends of a typeset page.
    ``locate`` takes start and end in ``text`` and returns a box on the page; ``times`` returns the seconds from which
    and until which they are shown or said. Both are called before the next part is requested. ``member`` names the
    file inside the document that contains the text. ``keep_together``: one chunk if it
    fits ``max_tokens``, even over the target size. ``from_ocr``: the text was read from pixels. ``line`` (from 1) is
    the line of the file that ``text`` begins at, if its lines are those of the file. ``row`` (from 1) is the row of a
    sheet that its first row is, without a repeated header.
    """

    text: str
    start: int = 0
    title: str | None = None
    page: int | None = None
    markdown: bool = False
    split_as: str | None = None
    locate: Callable[[int, int], Box | None] | None = None
    times: Callable[[int, int], tuple[float, float]] | None = None
    member: str | None = None
    keep_together: bool = False
    from_ocr: bool = False
    line: int | None = None
    row: int | None = None


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
