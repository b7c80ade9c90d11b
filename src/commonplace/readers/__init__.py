"""Readers: a file goes in, a :class:`~commonplace.types.ParsedDocument` comes out.

A format is one module with one function that takes a :class:`File` and yields :class:`TextBlock`,
:class:`ImageBlock` and, for other modalities, :class:`ContentBlock`; it is named in
:data:`~commonplace.readers.formats.FORMATS` or by an entry point of the group ``commonplace.readers`` whose name is the
media type. Everything that formats share (chunks, ids, hashes, stamps) happens here, once.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from commonplace.errors import ReadError
from commonplace.readers.chunks import Chunker, chunker
from commonplace.readers.formats import HEAD, SUFFIXES, format_of, is_offered, media_type, read_whole, sniff
from commonplace.readers.metadata import described
from commonplace.readers.ocr import are_readable
from commonplace.readers.parts import (
    ContentBlock,
    File,
    ImageBlock,
    Part,
    Quota,
    ReadOptions,
    TextBlock,
    render_stamp,
    stamp,
    stamp_paths,
)
from commonplace.readers.pictures import load_picture
from commonplace.types import (
    IMAGE,
    TEXT,
    Content,
    Document,
    Item,
    Modality,
    ParsedDocument,
    Picture,
    Span,
    stable_id,
)

__all__ = [
    "SUFFIXES",
    "ContentBlock",
    "File",
    "ImageBlock",
    "Part",
    "ReadOptions",
    "TextBlock",
    "are_readable",
    "is_offered",
    "load_picture",
    "media_type",
    "page_of",
    "read",
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
    cutter = chunker(options.tokenizer, options.max_tokens)
    try:
        items, pictures, contents = _items(document, file, found.load()(file), cutter)
    except RecursionError:
        raise ReadError("parts inside of parts past all sense; save it anew and add it again") from None
    if stamp(file.watched) != render_stamp(file.watched):
        raise ReadError("changed while it was read; add it again")

    if not items:
        file.problems.append("nothing in it can be found: no text and no picture of any size")
    document = replace(
        document,
        content_hash=_content_hash(file.data),
        title=_clean(file.title),
        status="partial" if file.problems else "ok",
        error=_summary(file.problems),
        stamp=render_stamp(file.watched),
        items=len(items),
        metadata=described(file.metadata, _changed(file)),
    )
    return ParsedDocument(document, tuple(replace(item, document=document) for item in items), pictures, contents)


def page_of(path: str | Path, number: int | None, side: int, options: ReadOptions) -> tuple[NDArray[np.uint8], str]:
    """Return a page of a PDF (from 1), or where ``number`` is None a picture, as it is shown, with the content hash.

    RGB pixels (height, width, 3), about ``side`` on the longer side (a picture is never enlarged). Raises ReadError.
    """
    data = read_whole(Path(path), options.max_bytes)
    kind = sniff(data[:HEAD], Path(path).name)
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
) -> tuple[list[Item], dict[str, Picture], dict[str, Content]]:
    items: list[Item] = []
    contents: dict[str, Content] = {}
    members: dict[str | None, int] = {}
    left = 0
    pictures: dict[str, Picture] = {}
    taken: dict[str, int] = {}

    def add(
        span: Span,
        text: str | None,
        title: str | None,
        picture: str | None,
        ocr_start: int | None = None,
        modality: Modality | None = None,
    ) -> str:
        modality = modality or (TEXT if picture is None else IMAGE)
        key = stable_id(document.id, modality, _canonical(span))
        again = taken[key] = taken.get(key, 0) + 1
        identity = key if again == 1 else stable_id(key, again)
        span = replace(span, ocr_start=ocr_start)
        items.append(Item(identity, document, modality, span, text, title, picture))
        return identity

    for part in parts:
        title = cutter.title(_clean(part.title))
        member = part.member if isinstance(part, TextBlock) else part.span.member
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
        if isinstance(part, ContentBlock):
            text = cutter.caption(_clean(part.text), title)
            contents[add(part.span, text, title, None, modality=part.modality)] = part.content
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
    return items, pictures, contents


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
