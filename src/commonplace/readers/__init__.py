"""Readers: each takes a file and returns a :class:`~commonplace.types.ParsedDocument`.

A reader is one function that takes a :class:`File` and yields :class:`TextBlock` and :class:`ImageBlock`. It is listed
in :data:`~commonplace.readers.formats.FORMATS` or registered as an entry point of the group ``commonplace.readers``,
named after its media type. This module does what all readers share: chunks, ids, hashes and stamps.
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
from commonplace.readers.chunks import Chunker, shared_chunker
from commonplace.readers.formats import HEAD, SUFFIXES, format_of, is_offered, media_type, read_whole, sniff
from commonplace.readers.metadata import normalise_metadata
from commonplace.readers.ocr import are_readable
from commonplace.readers.parts import (
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
from commonplace.types import Document, Item, Modality, ParsedDocument, Picture, Span, stable_id

__all__ = [
    "SUFFIXES",
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
    """Read one file and return its document, its items in reading order, and their pictures.

    ``root`` is the folder that was added (default: the file's own folder). Pictures that a page shows are read only
    from inside it.

    Raises:
        ReadError: the file cannot be read, is empty, damaged or too large, its type is not supported, or it changed
            while it was read.
    """
    absolute = Path(os.path.abspath(path))
    file = _open(absolute, Path(os.path.abspath(root)) if root is not None else absolute.parent, options)
    reader = format_of(file.media_type)
    assert reader is not None  # _open checked it
    uri = absolute.resolve().as_uri()
    document = Document(stable_id(uri), uri, str(absolute), file.media_type)
    chunker = shared_chunker(options.tokenizer, options.max_tokens)
    try:
        items, pictures = _items(document, file, reader.load()(file), chunker)
    except RecursionError:
        raise ReadError("its parts are nested too deeply; save a simpler copy and add it again") from None
    if stamp(file.watched) != render_stamp(file.watched):
        raise ReadError("changed while it was read; add it again")

    if not items:
        file.problems.append("it has no text and no picture large enough to search; check that this is the right file")
    document = replace(
        document,
        content_hash=_content_hash(file.data),
        title=_clean(file.title),
        status="partial" if file.problems else "ok",
        error=_summary(file.problems),
        stamp=render_stamp(file.watched),
        items=len(items),
        metadata=normalise_metadata(file.metadata, _modified_time(file)),
    )
    return ParsedDocument(document, tuple(replace(item, document=document) for item in items), pictures)


def page_of(path: str | Path, number: int | None, side: int, options: ReadOptions) -> tuple[NDArray[np.uint8], str]:
    """Render page ``number`` of a PDF (from 1), or a picture file where ``number`` is None.

    Returns RGB pixels of shape (height, width, 3) and the content hash of the file. The longer side has about ``side``
    pixels; a picture is never enlarged.

    Raises:
        ReadError: the file cannot be read, or has no such page.
    """
    data = read_whole(Path(path), options.max_bytes)
    kind = sniff(data[:HEAD], Path(path).name)
    if kind == "application/pdf" and number is not None:
        from commonplace.readers.pdf import page_pixels

        return page_pixels(data, number, side), _content_hash(data)
    return load_picture(data, side=side, max_pixels=options.max_pixels).pixels, _content_hash(data)


def _content_hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=32).hexdigest()


def _modified_time(file: File) -> float | None:
    """Return when the file was last modified, in seconds since 1970."""
    size_and_times = file.watched[os.path.abspath(file.path)]
    return size_and_times[1] / 1e9 if size_and_times else None


def _open(path: Path, root: Path, options: ReadOptions) -> File:
    """Return the file with its bytes and media type. Its stamp is taken before it is read, so a change is noticed."""
    quota = Quota(options.max_bytes, deadline=monotonic() + options.seconds, ocr_seconds=options.ocr_seconds)
    watched = File(path, root, b"", "", options, quota=quota)
    watched.watch(path)
    data = read_whole(path, options.max_bytes)
    kind = sniff(data[:HEAD], path.name)
    if kind is None or format_of(kind) is None:
        raise ReadError(
            "its file type is not supported (text, web, office, mail, PDF and picture files are); convert it"
        )
    return replace(watched, data=data, media_type=kind)


def _items(
    document: Document, file: File, parts: Iterable[Part], chunker: Chunker
) -> tuple[list[Item], dict[str, Picture]]:
    items: list[Item] = []
    member_order: dict[str | None, int] = {}
    dropped = 0
    pictures: dict[str, Picture] = {}
    uses: dict[str, int] = {}

    def add_item(
        span: Span, text: str | None, title: str | None, picture: str | None, ocr_start: int | None = None
    ) -> None:
        modality: Modality = "text" if picture is None else "image"
        key = stable_id(document.id, modality, _span_key(span))
        use = uses[key] = uses.get(key, 0) + 1
        identity = key if use == 1 else stable_id(key, use)
        span = replace(span, ocr_start=ocr_start)
        items.append(Item(identity, document, modality, span, text, title, picture))

    for part in parts:
        title = chunker.title(_clean(part.title))
        member = part.span.member if isinstance(part, ImageBlock) else part.member
        member_order.setdefault(_clean(member), len(member_order))
        if isinstance(part, ImageBlock):
            key = _picture_key(part.picture)
            if key not in pictures and len(pictures) >= file.options.max_pictures:
                dropped += 1
                continue
            pictures.setdefault(key, part.picture)
            text, ocr_start = _image_text(part)
            text = chunker.caption(text, title)
            add_item(part.span, text, title, key, ocr_start if ocr_start < len(text or "") else None)
            continue
        for start, end in chunker.chunks(
            part.text, title, markdown=part.markdown, split_as=part.split_as, keep_together=part.keep_together
        ):
            box = part.locate(start, end) if part.locate else None
            span = Span(part.start + start, part.start + end, page=part.page, box=box, member=_clean(part.member))
            add_item(span, part.text[start:end], title, None, 0 if part.from_ocr else None)

    # A picture follows the chunk that it stands in. Sorting is stable: all other items keep the reader's order.
    def reading_position(item: Item) -> tuple[int, int, float]:
        span = item.span
        return member_order[span.member], span.page or 0, float("inf") if span.start is None else span.start

    items.sort(key=reading_position)
    if dropped:
        file.problems.append(
            f"{dropped} pictures over the limit of {file.options.max_pictures} were left out; split it"
        )
    return items, pictures


def _image_text(block: ImageBlock) -> tuple[str | None, int]:
    """Return a picture's caption and OCR text as one text, and the offset at which the OCR text begins."""
    caption, ocr_text = _clean(block.caption), _clean(block.ocr_text)
    text = f"{caption}. {ocr_text}" if caption and ocr_text else caption or ocr_text
    return text, len(text or "") - len(ocr_text or "")


def _span_key(span: Span) -> str:
    return json.dumps(span.dict(), sort_keys=True)


def _picture_key(picture: Picture) -> str:
    digest = hashlib.blake2b(repr(picture.pixels.shape).encode(), digest_size=20)
    digest.update(np.ascontiguousarray(picture.pixels).data)
    return digest.hexdigest()


def _clean(text: str | None) -> str | None:
    """Return ``text`` on one line, with lone surrogates and zero characters replaced, so that it can be stored."""
    if text is None:
        return None
    encodable = text.encode("utf-8", "replace").decode("utf-8").replace("\0", " ")
    return " ".join(encodable.split()) or None


def _summary(problems: list[str]) -> str | None:
    if not problems:
        return None
    summary = "; ".join(" ".join(problem.split()) for problem in problems[:5])
    return summary + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
