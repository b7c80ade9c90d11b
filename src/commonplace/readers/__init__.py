"""Readers: each takes a file and returns a ``ParsedDocument``.

A reader is one function that takes a ``File`` and yields ``TextBlock``, ``ImageBlock`` and, for other
modalities, ``ContentBlock``. It is listed in ``FORMATS`` or registered as an entry point of the group
``commonplace.readers``, named after its media type or suffix. This module does what all readers share: chunks, ids,
hashes and stamps.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from commonplace.errors import ReadError
from commonplace.i18n import _
from commonplace.metadata import Metadata
from commonplace.readers.chunks import Chunker, shared_chunker
from commonplace.readers.encodings import decode_as
from commonplace.readers.formats import (
    HEAD,
    SUFFIXES,
    format_of,
    is_offered,
    is_offered_name,
    is_streamed,
    load_reader,
    media_type,
    open_regular,
    read_whole,
    sniff,
)
from commonplace.readers.metadata import normalise_metadata
from commonplace.readers.ocr import are_readable
from commonplace.readers.parts import (
    SECONDS,
    ContentBlock,
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
from commonplace.readers.speech import is_speech_readable, speech_folder
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
    "SECONDS",
    "SUFFIXES",
    "ContentBlock",
    "File",
    "ImageBlock",
    "Part",
    "Quota",
    "ReadOptions",
    "RecordContent",
    "TextBlock",
    "are_readable",
    "is_offered",
    "is_offered_name",
    "is_speech_readable",
    "load_picture",
    "media_type",
    "page_of",
    "read",
    "read_content",
    "speech_folder",
    "stamp",
    "stamp_paths",
]


_PIECE = 2**20  # bytes of a large file that are read at once
_TEXT_TYPES = frozenset(f"application/{kind}" for kind in ("json", "xml", "yaml", "toml", "xhtml+xml"))


def read(
    path: str | Path, options: ReadOptions, root: str | Path | None = None, quota: Quota | None = None
) -> ParsedDocument:
    """Read one file and return its document, its items in reading order, and their pictures.

    ``root`` is the folder that was added (default: the file's own folder). Pictures that a page shows are read only
    from inside it. ``quota`` is what reading may use (default: what ``options`` allow). Where it is used up, what was
    read is returned, with the status ``partial``.

    Raises:
        ReadError: the file cannot be read, is empty, damaged or too large, its type is not supported, or it changed
            while it was read.
    """
    absolute = Path(os.path.abspath(path))
    quota = quota or Quota.of(options)
    file = _open(absolute, Path(os.path.abspath(root)) if root is not None else absolute.parent, options, quota)
    reader = format_of(file.media_type)
    assert reader is not None  # _open checked it
    uri = absolute.resolve().as_uri()
    document = Document(stable_id(uri), uri, str(absolute), file.media_type)
    items = _items_of(document, file, load_reader(reader)(file))
    if stamp(file.watched) != render_stamp(file.watched):
        raise ReadError(_("changed while it was read; add it again"))
    document = replace(
        document,
        title=_clean(file.title),
        stamp=render_stamp(file.watched),
        metadata=_stated(file, _modified_time(file), items[0]),
    )
    return _parsed(document, file, *items)


def read_content(content: RecordContent, options: ReadOptions, quota: Quota | None = None) -> ParsedDocument:
    """Read the content of a record as a file of that content and name would be read.

    What the user gave goes before what the content says of itself: title, caption, each key of the metadata. Pictures
    that a page only links to are not read, as there is no folder around it.

    Raises:
        ReadError: as for ``read``, and where a picture is asked for and the bytes are none.
    """
    document = content.document
    if content.data is None:
        data, kind = (content.text or "").encode("utf-8", "replace"), "text/plain"
    else:
        data = content.data
        kind = document.media_type or sniff(data[:HEAD], content.name) or ""
        if not data:
            raise ReadError(_("is empty: there is nothing to read"))
        if len(data) > options.max_bytes:
            size = len(data) / 2**20
            raise ReadError(
                _("{size:.0f} MB, over the limit of {max_bytes:.0f} MB; split it").format(
                    size=size, max_bytes=options.max_bytes / 2**20
                )
            )
    if content.is_picture and not kind.startswith("image/"):
        raise ReadError(_("its image is no picture of a known format (JPEG, PNG, WebP, GIF, BMP, TIFF); convert it"))
    reader = format_of(kind)
    if reader is None:
        raise ReadError(_("no type of file that is read (text, web, office, mail, PDF and pictures are); convert it"))
    # A depth of one: there are no files beside it, and its path is only a name.
    path = Path(os.path.basename(content.name) or "record")
    file = File(path, path.parent, data, kind, options, depth=1, quota=quota or Quota.of(options))
    document = replace(document, media_type=kind)
    parts = _titled(content, data) if content.data is None else load_reader(reader)(file)
    if content.is_picture:
        parts = (_captioned(part, content.text, document.title) for part in parts)
    items = _items_of(document, file, parts)
    stated = _stated(file, content.modified, items[0])
    if "date" in document.metadata:
        stated = stated.without(["dated"])
    document = replace(document, title=document.title or _clean(file.title), metadata=stated.merged(document.metadata))
    return _parsed(document, file, *items)


def _stated(file: File, modified_at: float | None, items: Sequence[Item]) -> Metadata:
    """Return what a file says of itself, in its metadata and by the language of its items' texts."""
    return Metadata.of_file(normalise_metadata(file.metadata, modified_at, [item.text for item in items if item.text]))


def _titled(content: RecordContent, data: bytes) -> Iterator[Part]:
    """Yield the text of a record, in the characters that can be stored, under the record's title."""
    yield TextBlock(data.decode().replace("\0", "\ufffd"), title=content.document.title)


def _captioned(part: Part, caption: str | None, title: str | None) -> Part:
    if not isinstance(part, ImageBlock):
        return part
    return replace(part, caption=caption or part.caption, title=part.title or title)


_Items = tuple[list[Item], dict[str, Picture], dict[str, Content]]
"""The items of a document, its pictures by content hash, and contents of other modalities by item id."""


def _items_of(document: Document, file: File, parts: Iterable[Part]) -> _Items:
    """Return what a document holds; what is wrong with it is noted in ``file.problems``."""
    chunker = shared_chunker(file.options.tokenizer, file.options.max_tokens)
    try:
        items = _items(document, file, parts, chunker)
    except RecursionError:
        raise ReadError(_("its parts are nested too deeply; save a simpler copy and add it again")) from None
    if not items[0]:
        file.problems.append(
            _("it has no text and no picture large enough to search; check that this is the right file")
        )
    return items


def _parsed(
    document: Document, file: File, items: list[Item], pictures: dict[str, Picture], contents: dict[str, Content]
) -> ParsedDocument:
    document = replace(
        document,
        content_hash=_hash_of(file),
        status="partial" if file.problems else "ok",
        error=_summary(file.problems),
        items=len(items),
    )
    return ParsedDocument(document, tuple(replace(item, document=document) for item in items), pictures, contents)


def page_of(
    source: str | Path | bytes, number: int | None, side: int, options: ReadOptions
) -> tuple[NDArray[np.uint8], str]:
    """Render page ``number`` (from 1) of a PDF or of a picture file, whose first page it is where ``number`` is None.

    ``source`` is a path, or the bytes of a file. Returns RGB pixels of shape (height, width, 3) and the content hash of
    the file. The longer side has about ``side`` pixels; a picture is never enlarged.

    Raises:
        ReadError: the file cannot be read, or has no such page.
    """
    data = source if isinstance(source, bytes) else read_whole(Path(source), options.max_bytes)
    kind = sniff(data[:HEAD], "" if isinstance(source, bytes) else Path(source).name)
    if kind == "application/pdf" and number is not None:
        from commonplace.readers.pdf import page_pixels

        return page_pixels(data, number, side), _content_hash(data)
    frame = (number or 1) - 1
    return load_picture(data, side=side, max_pixels=options.max_pixels, frame=frame).pixels, _content_hash(data)


def _in_utf8(data: bytes, name: str, options: ReadOptions) -> tuple[bytes, str | None]:
    """Return the data of a file and its media type. Where the user said the encoding of a text, it becomes UTF-8."""
    kind = sniff(data[:HEAD], name)
    if options.encoding and (kind is None or kind.startswith("text/") or kind in _TEXT_TYPES) and kind != "text/rtf":
        text, _invalid = decode_as(data, options.encoding) or ("", 0)
        data = codecs.BOM_UTF8 + text.encode("utf-8", "replace")
        kind = sniff(data[:HEAD], name)
    return data, kind


def _content_hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=32).hexdigest()


def _hash_of(file: File) -> str:
    digest = hashlib.blake2b(digest_size=32)
    with file.open() as stream:
        while piece := stream.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _modified_time(file: File) -> float | None:
    """Return when the file was last modified, in seconds since 1970."""
    size_and_times = file.watched[os.path.abspath(file.path)]
    return size_and_times[1] / 1e9 if size_and_times else None


def _open(path: Path, root: Path, options: ReadOptions, quota: Quota) -> File:
    """Return the file with its bytes and media type. Its stamp is taken before it is read, so a change is noticed."""
    watched = File(path, root, b"", "", options, quota=quota)
    watched.watch(path)
    with open_regular(path) as stream:
        kind = sniff(stream.read(HEAD), path.name)
    data = b""
    if kind is None or not is_streamed(kind):
        data, kind = _in_utf8(read_whole(path, options.max_bytes), path.name, options)
    if kind is None or format_of(kind) is None:
        raise ReadError(
            _("its file type is not supported (text, web, office, mail, PDF and picture files are); convert it")
        )
    return replace(watched, data=data, media_type=kind)


def _items(document: Document, file: File, parts: Iterable[Part], chunker: Chunker) -> _Items:
    items: list[Item] = []
    contents: dict[str, Content] = {}
    member_order: dict[str | None, int] = {}
    dropped = 0
    pictures: dict[str, Picture] = {}
    uses: dict[str, int] = {}
    counted: tuple[Part | None, int, int] = (None, 0, 0)  # a text block, a place in it, and the line of the file there

    def add_item(
        span: Span,
        text: str | None,
        title: str | None,
        picture: str | None,
        ocr_start: int | None = None,
        modality: Modality | None = None,
        line: int | None = None,
        row: int | None = None,
    ) -> str:
        modality = modality or (TEXT if picture is None else IMAGE)
        key = stable_id(document.id, modality, _span_key(span))
        use = uses[key] = uses.get(key, 0) + 1
        identity = key if use == 1 else stable_id(key, use)
        span = replace(span, ocr_start=ocr_start, line=line, row=row)  # no part of the identity
        items.append(Item(identity, document, modality, span, text, title, picture))
        return identity

    for part, title, bounds in _within_quota(file, _pieces(parts, chunker)):
        member = part.member if isinstance(part, TextBlock) else part.span.member
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
        if isinstance(part, ContentBlock):
            text = chunker.caption(_clean(part.text), title)
            contents[add_item(part.span, text, title, None, modality=part.modality)] = part.content
            continue
        if bounds is not None:
            start, end = bounds
            box = part.locate(start, end) if part.locate else None
            begin, finish = part.times(start, end) if part.times else (None, None)
            span = Span(part.start + start, part.start + end, part.page, box, begin, finish, _clean(part.member))
            if part.line is None:
                line = None
            else:  # counted on from the last chunk: a file may have a million
                at, line = counted[1:] if counted[0] is part and counted[1] <= start else (0, part.line)
                line += part.text.count("\n", at, start)
                counted = part, start, line
            row = part.row
            if row is not None and start:
                row += part.text.count("\n", 0, start)
            add_item(span, part.text[start:end], title, None, 0 if part.from_ocr else None, line=line, row=row)

    # A picture follows the chunk that it stands in. Sorting is stable: all other items keep the reader's order.
    def reading_position(item: Item) -> tuple[int, float, float]:
        span = item.span
        if span.begin is not None:
            return member_order[span.member], span.begin, 0.0
        return member_order[span.member], span.page or 0, float("inf") if span.start is None else span.start

    items.sort(key=reading_position)
    if dropped:
        file.problems.append(
            _("{dropped} pictures over the limit of {max_pictures} were left out; split it").format(
                dropped=dropped, max_pictures=file.options.max_pictures
            )
        )
    return items, pictures, contents


_FENCE = re.compile(r"\s*(?:```|~~~)[^\n`~]*\s*")
"""The mark that opens or closes a listing, alone: a listing too long for a chunk is cut after it."""
_Piece = tuple[Part, str | None, tuple[int, int] | None]
"""A part with its title and, of a text, the start and end of a chunk."""


def _pieces(parts: Iterable[Part], chunker: Chunker) -> Iterator[_Piece]:
    """Yield each part; a text once for each of its chunks, or once without bounds if it has none."""
    try:
        for part in parts:
            title = chunker.title(_clean(part.title))
            chunks: Iterable[tuple[int, int]] = ()
            if isinstance(part, TextBlock):
                chunks = chunker.chunks(
                    part.text, title, markdown=part.markdown, split_as=part.split_as, keep_together=part.keep_together
                )
            bounds = None
            for bounds in chunks:
                if not (isinstance(part, TextBlock) and part.markdown and _FENCE.fullmatch(part.text, *bounds)):
                    yield part, title, bounds
            if bounds is None:
                yield part, title, None
    finally:
        if isinstance(parts, Generator):
            parts.close()  # the reader may note where it stopped


def _within_quota(file: File, pieces: Iterator[_Piece]) -> Iterator[_Piece]:
    """Yield the pieces until the file's quota is used up; what is then not read is noted as a problem of the file."""
    quota, noted = file.quota, len(file.problems)
    for piece in pieces:
        if quota.steps and not file.has_pages and quota.is_used_up:
            break
        yield piece
        quota.step()
        if quota.was_last_step:
            break
    else:
        return
    if isinstance(pieces, Generator):
        pieces.close()
    if len(file.problems) == noted:
        file.problems.append(_("only its beginning was read: {reason}").format(reason=quota.reason))


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
    summary = _("; ").join(" ".join(problem.split()) for problem in problems[:5])
    return summary + (_("; and {count} more").format(count=len(problems) - 5) if len(problems) > 5 else "")
