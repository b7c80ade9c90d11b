"""Readers: a file goes in, a :class:`~commonplace.types.ParsedDocument` comes out.

A format is one module with one function that takes a :class:`File` and yields :class:`TextBlock` and
:class:`ImageBlock`; it is named in :data:`~commonplace.readers.formats.FORMATS` or by an entry point of the group
``commonplace.readers`` whose name is the media type. Everything that formats share (chunks, ids, hashes, stamps)
happens here, once.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from commonplace.errors import ReadError
from commonplace.metadata import Metadata
from commonplace.readers.chunks import Chunker, chunker
from commonplace.readers.formats import HEAD, SUFFIXES, format_of, is_offered, media_type, read_whole, sniff
from commonplace.readers.metadata import described
from commonplace.readers.ocr import are_readable
from commonplace.readers.parts import (
    File,
    ImageBlock,
    Part,
    Quota,
    ReadOptions,
    RecordContent,
    TextBlock,
    render_stamp,
    stamp,
    stamp_paths,
)
from commonplace.readers.pictures import load_picture
from commonplace.types import Document, Item, Modality, ParsedDocument, Picture, Span, stable_id

__all__ = [
    "SUFFIXES",
    "File",
    "ImageBlock",
    "Part",
    "ReadOptions",
    "RecordContent",
    "TextBlock",
    "are_readable",
    "is_offered",
    "load_picture",
    "media_type",
    "page_of",
    "read",
    "read_content",
    "stamp",
    "stamp_paths",
]


def read(path: str | Path, options: ReadOptions, root: str | Path | None = None) -> ParsedDocument:
    """Read one file completely: its document, its items in reading order, and their pictures.

    ``root`` is the folder that was added (default: the file's own): pictures that a page shows are taken from inside
    it only.

    Raises:
        ReadError: it cannot be read, is empty, of no type we know, damaged, too large, or changed meanwhile.
    """
    name = Path(os.path.abspath(path))
    file = _open(name, Path(os.path.abspath(root)) if root is not None else name.parent, options)
    found = format_of(file.media_type)
    assert found is not None  # _open asked
    uri = name.resolve().as_uri()
    document = Document(stable_id(uri), uri, str(name), file.media_type)
    items, pictures = _items_of(document, file, found.load()(file))
    if stamp(file.watched) != render_stamp(file.watched):
        raise ReadError("changed while it was read; add it again")
    document = replace(
        document,
        title=_clean(file.title),
        stamp=render_stamp(file.watched),
        metadata=Metadata.of_file(described(file.metadata, _changed(file))),
    )
    return _parsed(document, file, items, pictures)


def read_content(content: RecordContent, options: ReadOptions) -> ParsedDocument:
    """Read the content of a record as a file of that content and name would be read.

    What the user gave goes before what the content says of itself: title, caption, each key of the metadata. Pictures
    that a page only links to are not read, as there is no folder around it.

    Raises:
        ReadError: as for :func:`read`, and where a picture is asked for and the bytes are none.
    """
    document = content.document
    if content.data is None:
        data, kind = (content.text or "").encode("utf-8", "replace"), "text/plain"
    else:
        data = content.data
        kind = document.media_type or sniff(data[:HEAD], content.name) or ""
        if not data:
            raise ReadError("is empty: there is nothing to read")
        if len(data) > options.max_bytes:
            size = len(data) / 2**20
            raise ReadError(f"{size:.0f} MB, over the limit of {options.max_bytes / 2**20:.0f} MB; split it")
    if content.is_picture and not kind.startswith("image/"):
        raise ReadError("its image is no picture of a known format (JPEG, PNG, WebP, GIF, BMP, TIFF); convert it")
    found = format_of(kind)
    if found is None:
        raise ReadError("no type of file that is read (text, web, office, mail, PDF and pictures are); convert it")
    quota = Quota(options.max_bytes, until=monotonic() + options.seconds, words=options.words)
    # A depth of one: there are no files beside it, and its path is only a name.
    path = Path(os.path.basename(content.name) or "record")
    file = File(path, path.parent, data, kind, options, depth=1, quota=quota)
    document = replace(document, media_type=kind)
    parts = _titled(content, data) if content.data is None else found.load()(file)
    if content.is_picture:
        parts = (_captioned(part, content.text, document.title) for part in parts)
    items, pictures = _items_of(document, file, parts)
    own = Metadata.of_file(described(file.metadata, None))
    if "date" in document.metadata:
        own = own.without(["dated"])
    document = replace(document, title=document.title or _clean(file.title), metadata=own.merged(document.metadata))
    return _parsed(document, file, items, pictures)


def _titled(content: RecordContent, data: bytes) -> Iterator[Part]:
    """Yield the text of a record, in the characters that can be stored, under the record's title."""
    yield TextBlock(data.decode().replace("\0", "\ufffd"), title=content.document.title)


def _captioned(part: Part, caption: str | None, title: str | None) -> Part:
    if not isinstance(part, ImageBlock):
        return part
    return replace(part, caption=caption or part.caption, title=part.title or title)


def _items_of(document: Document, file: File, parts: Iterable[Part]) -> tuple[list[Item], dict[str, Picture]]:
    """Return the items of a document and its pictures; what is wrong with them is noted in ``file.problems``."""
    cutter = chunker(file.options.tokenizer, file.options.max_tokens)
    try:
        items, pictures = _items(document, file, parts, cutter)
    except RecursionError:
        raise ReadError("parts inside of parts past all sense; save it anew and add it again") from None
    if not items:
        file.problems.append("nothing in it can be found: no text and no picture of any size")
    return items, pictures


def _parsed(document: Document, file: File, items: list[Item], pictures: dict[str, Picture]) -> ParsedDocument:
    document = replace(
        document,
        content_hash=_content_hash(file.data),
        status="partial" if file.problems else "ok",
        error=_summary(file.problems),
        items=len(items),
    )
    return ParsedDocument(document, tuple(replace(item, document=document) for item in items), pictures)


def page_of(
    source: str | Path | bytes, number: int | None, side: int, options: ReadOptions
) -> tuple[NDArray[np.uint8], str]:
    """Return a page of a PDF (from 1), or where ``number`` is None a picture, as it is shown, with the content hash.

    ``source`` is a path, or the bytes of a file. Returns RGB pixels (height, width, 3), about ``side`` on the longer
    side (a picture is never enlarged). Raises ReadError.
    """
    data = source if isinstance(source, bytes) else read_whole(Path(source), options.max_bytes)
    kind = sniff(data[:HEAD], "" if isinstance(source, bytes) else Path(source).name)
    if kind == "application/pdf" and number is not None:
        from commonplace.readers.pdf import page_pixels

        return page_pixels(data, number, side), _content_hash(data)
    return load_picture(data, side=side, max_pixels=options.max_pixels).pixels, _content_hash(data)


def _content_hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=32).hexdigest()


def _changed(file: File) -> float | None:
    """Return when the file itself was changed last, in seconds since 1970."""
    size_and_times = file.watched[os.path.abspath(file.path)]
    return size_and_times[1] / 1e9 if size_and_times else None


def _open(name: Path, root: Path, options: ReadOptions) -> File:
    """Return the file with its bytes and its media type, watched from before the first byte."""
    quota = Quota(options.max_bytes, until=monotonic() + options.seconds, words=options.words)
    watched = File(name, root, b"", "", options, quota=quota)
    watched.watch(name)
    data = read_whole(name, options.max_bytes)
    kind = sniff(data[:HEAD], name.name)
    if kind is None or format_of(kind) is None:
        raise ReadError("no type of file that is read (text, web, office, mail, PDF and pictures are); convert it")
    return replace(watched, data=data, media_type=kind)


def _items(
    document: Document, file: File, parts: Iterable[Part], cutter: Chunker
) -> tuple[list[Item], dict[str, Picture]]:
    items: list[Item] = []
    members: dict[str | None, int] = {}
    left = 0
    pictures: dict[str, Picture] = {}
    taken: dict[str, int] = {}

    def add(span: Span, text: str | None, title: str | None, picture: str | None, ocr_start: int | None = None) -> None:
        modality: Modality = "text" if picture is None else "image"
        key = stable_id(document.id, modality, _canonical(span))
        again = taken[key] = taken.get(key, 0) + 1
        identity = key if again == 1 else stable_id(key, again)
        span = replace(span, ocr_start=ocr_start)
        items.append(Item(identity, document, modality, span, text, title, picture))

    for part in parts:
        title = cutter.title(_clean(part.title))
        member = part.span.member if isinstance(part, ImageBlock) else part.member
        members.setdefault(_clean(member), len(members))
        if isinstance(part, ImageBlock):
            key = _pixels_hash(part.picture)
            if key not in pictures and len(pictures) >= file.options.max_pictures:
                left += 1
                continue
            pictures.setdefault(key, part.picture)
            text, ocr_start = _described(part)
            text = cutter.caption(text, title)
            add(part.span, text, title, key, ocr_start if ocr_start < len(text or "") else None)
            continue
        for start, end in cutter.chunks(
            part.text, title, markdown=part.markdown, split_as=part.split_as, whole=part.whole
        ):
            box = part.locate(start, end) if part.locate else None
            span = Span(part.start + start, part.start + end, page=part.page, box=box, member=_clean(part.member))
            add(span, part.text[start:end], title, None, 0 if part.ocr_start else None)

    # a figure follows the chunk that it stands in; sorting is stable, so all else keeps the reader's order
    def place(item: Item) -> tuple[int, int, float]:
        span = item.span
        return members[span.member], span.page or 0, float("inf") if span.start is None else span.start

    items.sort(key=place)
    if left:
        file.problems.append(f"{left} more pictures than the {file.options.max_pictures} that are kept; split it")
    return items, pictures


def _described(figure: ImageBlock) -> tuple[str | None, int]:
    """Return a picture's caption and the words in it as one text, and where in it the words begin."""
    caption, words = _clean(figure.caption), _clean(figure.words)
    text = f"{caption}. {words}" if caption and words else caption or words
    return text, len(text or "") - len(words or "")


def _canonical(span: Span) -> str:
    return json.dumps(span.dict(), sort_keys=True)


def _pixels_hash(picture: Picture) -> str:
    digest = hashlib.blake2b(repr(picture.pixels.shape).encode(), digest_size=20)
    digest.update(np.ascontiguousarray(picture.pixels).data)
    return digest.hexdigest()


def _clean(words: str | None) -> str | None:
    """Return words on one line and fit to be stored: half surrogate pairs and zero characters replaced."""
    if words is None:
        return None
    whole = words.encode("utf-8", "replace").decode("utf-8").replace("\0", " ")
    return " ".join(whole.split()) or None


def _summary(problems: list[str]) -> str | None:
    if not problems:
        return None
    shown = "; ".join(" ".join(problem.split()) for problem in problems[:5])
    return shown + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
