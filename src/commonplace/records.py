"""Records: documents that come from memory, not from files. What a user gives, checked, as content to be read."""

from __future__ import annotations

import hashlib
import io
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from commonplace.errors import CommonplaceError, ReadError
from commonplace.i18n import _
from commonplace.metadata import FILE_KEYS, Metadata, explain_differing
from commonplace.paths import checked_path
from commonplace.types import Document, stable_id

if TYPE_CHECKING:  # a search needs no readers
    from commonplace.readers import RecordContent

__all__ = ["Checker", "Record", "Source", "elements", "label"]

MAX_ID, MAX_NAME, MAX_TITLE, MAX_URI = 200, 255, 1_000, 2_000  # characters
MAX_TEXT = 20 * 1024**2  # bytes of a record's text in UTF-8
MAX_PIXELS = 178_000_000  # of a picture that is given as pixels
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


@dataclass(frozen=True, eq=False)
class Record:
    """A document from memory: text, a picture, or the bytes of a file, with an id and metadata of one's own.

    Give exactly one kind of content. ``text`` is read like a text file. ``image`` is a picture (an RGB ``uint8`` array
    of shape (height, width, 3), a PIL image, a path, or the bytes of a picture file), and ``text`` its caption.
    ``data`` is the bytes of a file, and ``name`` its file name, whose ending helps to tell the format.

    ``id`` is what the record is known by: adding the same id again replaces it (default: derived from content and
    name). ``title`` is its title. ``metadata`` maps keys to text, numbers, dates, booleans, or lists of one of these.
    ``uri`` is where it comes from, such as a web address; it is shown as the document's path (default: ``record:ID``).

    A record is checked when it is added, not when it is made: see ``commonplace.Collection.add()``.
    """

    text: str | None = None
    image: Any = field(default=None, repr=False, kw_only=True)
    data: bytes | None = field(default=None, repr=False, kw_only=True)
    name: str | None = field(default=None, kw_only=True)
    id: str | None = field(default=None, kw_only=True)
    title: str | None = field(default=None, kw_only=True)
    metadata: Mapping[str, Any] | None = field(default=None, kw_only=True)
    uri: str | None = field(default=None, kw_only=True)


Source = str | os.PathLike[str] | Record
"""What can be added: the path or URL of a file or folder, or a record."""


def elements(source: Any) -> Iterator[Any]:
    """Yield what an argument of ``add`` stands for: itself, or each element where it is an iterable of sources."""
    if isinstance(source, (str, bytes, bytearray, os.PathLike, Record, Mapping)) or not isinstance(source, Iterable):
        yield source
    else:
        yield from source


class Checker:
    """Turns the records of one ``add`` into content to be read."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}  # the stamp of each record so far

    def content(self, record: object) -> RecordContent | None:
        """Return the content of a record; None for one without an id that was there before, unchanged.

        Raises ReadError for a record that cannot be added.
        """
        if not isinstance(record, Record):
            raise ReadError(
                _("{record} is of type {type}: give a path or a Record").format(
                    record=_short(record), type=type(record).__name__
                )
            )
        try:
            content = _content_of(record)
        except CommonplaceError:
            raise
        except Exception as problem:  # a record may hold objects of the caller, whose methods may raise anything
            name = type(problem).__name__
            raise ReadError(
                _("an object that it holds raised {name}: give plain values").format(name=name)
            ) from problem
        id_, metadata, stamp = content.document.id, content.document.metadata, content.document.stamp
        if id_ in self._ids:
            if record.id is None and self._ids[id_] == stamp:
                return None
            what = _("its id was") if record.id is not None else _("a record of the same content and without an id was")
            raise ReadError(_("{what} given before in this call: give each record an id of its own").format(what=what))
        types = metadata.types()
        if wrong := {key: FILE_KEYS[key] for key in types.keys() & FILE_KEYS.keys() if types[key] != FILE_KEYS[key]}:
            raise ReadError(explain_differing(metadata, wrong))
        self._ids[id_] = stamp
        return content


def label(record: object, number: int) -> str:
    """Return what to call a record in a report: its id or URI where it has a good one, else its place in the call."""
    for name, value in (("id", record.id), ("uri", record.uri)) if isinstance(record, Record) else ():
        if isinstance(value, str) and 0 < len(value) <= MAX_ID and value.isprintable():
            return f"record:{value}" if name == "id" else value
    return _("record {number} of this call").format(number=number)


def _content_of(record: Record) -> RecordContent:
    """Return the content of a record without a comparison with other records. Raises ReadError if it is not valid."""
    from commonplace.readers import RecordContent

    data, text, name, is_picture = _content(record)
    id_ = _id(record.id) if record.id is not None else _derived_id(record, data, text, name)
    metadata = Metadata(record.metadata)
    title = _line("title", record.title, MAX_TITLE)
    uri = _uri(record.uri) or f"record:{id_}"
    stamp = "record:" + _digest(data or b"", text or "", name, title or "", uri, metadata.to_json())
    document = Document(id_, uri, uri, "", title=title, stamp=stamp, metadata=metadata)
    return RecordContent(document, data, text, name, is_picture)


def _content(record: Record) -> tuple[bytes | None, str | None, str, bool]:
    """Return bytes, text, name and whether it is a picture; ReadError where the parts contradict each other."""
    text = record.text
    if text is not None and not isinstance(text, str):
        raise ReadError(_("its text is of type {type}: give a str").format(type=type(text).__name__))
    if record.image is not None and record.data is not None:
        raise ReadError(_("it has both image and data: give one of them"))
    if record.data is not None and text is not None:
        raise ReadError(_("it has both data and text: give one of them"))
    if record.data is None and record.name is not None:
        raise ReadError(_("it has a name, which only data can have: give data, or give the name as title"))
    if text is not None and len(text.encode("utf-8", "replace")) > MAX_TEXT:
        size = len(text.encode("utf-8", "replace")) / 1024**2
        raise ReadError(
            _("its text has {size:.0f} MB, over the limit of {max_text} MB: split it").format(
                size=size, max_text=MAX_TEXT // 1024**2
            )
        )
    if record.image is not None:
        return _picture(record.image), text, "", True
    if record.data is not None:
        if not isinstance(record.data, (bytes, bytearray, memoryview)):
            raise ReadError(_("its data is of type {type}: give bytes").format(type=type(record.data).__name__))
        if not len(record.data):
            raise ReadError(_("its data is empty: there is nothing to read"))
        return bytes(record.data), None, _line("name", record.name, MAX_NAME) or "", False
    if text is None:
        raise ReadError(_("it has no content: give text, image or data"))
    if not text.strip():
        raise ReadError(_("its text is empty: there is nothing to find"))
    return None, text, "", False


def _picture(image: Any) -> bytes:
    """Return the bytes of a picture file: as given, or a PNG of the same pixels."""
    from commonplace.readers.formats import read_whole
    from commonplace.readers.parts import MAX_BYTES

    if isinstance(image, (bytes, bytearray, memoryview)):
        if not len(image):
            raise ReadError(_("its image is empty: there is nothing to see"))
        return bytes(image)
    if isinstance(image, (str, os.PathLike)):
        try:
            path = checked_path(image, ReadError)
        except ReadError as problem:
            raise ReadError(_("its image is no valid path: {problem}").format(problem=problem)) from None
        try:
            return read_whole(Path(path), MAX_BYTES)
        except ReadError as problem:
            raise ReadError(_("its image {path:.200}: {problem}").format(path=path, problem=problem)) from None
    from PIL import Image

    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise ReadError(
                _(
                    "its image is an array of shape {shape} and type {dtype}: give RGB uint8 of shape "
                    "(height, width, 3)"
                ).format(shape=image.shape, dtype=image.dtype)
            )
        image = Image.fromarray(np.ascontiguousarray(image))
    if not isinstance(image, Image.Image):
        raise ReadError(
            _("its image is of type {type}: give an RGB array, PIL image, path or bytes").format(
                type=type(image).__name__
            )
        )
    if image.width * image.height > MAX_PIXELS:
        raise ReadError(
            _("its image has more than {max_pixels:.0f} megapixels: reduce it").format(max_pixels=MAX_PIXELS / 1e6)
        )
    buffer = io.BytesIO()
    try:
        if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
            image = image.convert("RGB")
        image.save(buffer, "PNG", compress_level=3, exif=image.getexif())
    except Exception as problem:  # Pillow raises nearly everything, as pixels may be read only now
        raise ReadError(
            _("its image cannot be read ({problem})").format(problem=" ".join(str(problem).split())[:120])
        ) from None
    return buffer.getvalue()


def _id(value: object) -> str:
    if not isinstance(value, str):
        raise ReadError(_("its id is {value!r:.60}: give text").format(value=value))
    if not value.strip():
        raise ReadError(_("its id is empty: leave it out, or give text"))
    if len(value) > MAX_ID:
        raise ReadError(
            _("its id has {count:,} characters: use {max_id} at most").format(count=len(value), max_id=MAX_ID)
        )
    _check_characters("id", value)
    return value


def _derived_id(record: Record, data: bytes | None, text: str | None, name: str) -> str:
    """Return an id that depends on the content and the name alone."""
    pixels = record.image
    if isinstance(pixels, np.ndarray):  # not its PNG, which another version of Pillow may write in other bytes
        data = repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()
    return stable_id("record", _digest(data or b"", text or "", name))


def _uri(value: object) -> str | None:
    uri = _line("uri", value, MAX_URI)
    if uri is None:
        return None
    if not _SCHEME.match(uri) or any(character.isspace() for character in uri):
        raise ReadError(
            _("its uri {uri!r:.60} is none: begin it with a scheme, such as https:, and leave out spaces").format(
                uri=uri
            )
        )
    if uri.casefold().startswith("file:"):
        raise ReadError(
            _("its uri {uri!r:.60} is of a file: add the file itself, or use another scheme").format(uri=uri)
        )
    return uri


def _line(what: str, value: object, longest: int) -> str | None:
    """Return a short text of a record; None where there is none."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise ReadError(_("its {what} is of type {type}: give text").format(what=what, type=type(value).__name__))
    if len(value) > longest:
        raise ReadError(
            _("its {what} has {count:,} characters: use {longest:,} at most").format(
                what=what, count=len(value), longest=longest
            )
        )
    _check_characters(what, value)
    return value.strip() or None


def _check_characters(what: str, text: str) -> None:
    kinds = {unicodedata.category(character) for character in text}
    if "Cs" in kinds:
        raise ReadError(
            _("its {what} {text!r:.60} holds half of a surrogate pair, which is no character: leave it out").format(
                what=what, text=text
            )
        )
    if "Cc" in kinds:
        raise ReadError(
            _("its {what} {text!r:.60} holds control characters: leave them out").format(what=what, text=text)
        )


def _digest(*parts: str | bytes) -> str:
    """Return a hash of parts of any length, each told apart from the next."""
    digest = hashlib.blake2b(digest_size=20)
    for part in parts:
        encoded = part if isinstance(part, bytes) else part.encode("utf-8", "replace")
        digest.update(len(encoded).to_bytes(8, "little"))
        digest.update(encoded)
    return digest.hexdigest()


def _short(value: object) -> str:
    try:
        shown = repr(value)
    except Exception:  # __repr__ is code of the caller
        return _("an element")
    return shown if len(shown) <= 60 else shown[:60] + "…"
