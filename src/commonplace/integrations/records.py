"""Texts and pictures of a framework as records: an id and any metadata go in, and the same come out."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from commonplace.collection import Collection
from commonplace.errors import CollectionError, ReadError
from commonplace.filters import filter_of
from commonplace.i18n import _
from commonplace.metadata import FILE_KEYS, MAX_KEYS, MAX_TEXT, Metadata, MetadataType
from commonplace.opening import open_collection
from commonplace.records import MAX_TITLE, Record
from commonplace.types import Document, Item

__all__ = [
    "FrameworkRecord",
    "add_entries",
    "is_single",
    "metadata_of",
    "opened",
    "remove_ids",
    "rest_has_key",
    "text_of",
]

ADDED, REST_KEYS = "framework_metadata", "framework_keys"
"""Metadata keys of a record that a framework added. The first has JSON in pieces: the names of the other keys that were
given, and what no filter can compare. The second has the names of the latter."""
_SHOWN = 3  # failures that an error names
_MOST = MAX_KEYS - 2  # keys that filters can compare, of one record


@dataclass(frozen=True, slots=True)
class FrameworkRecord:
    """A text, a picture with its caption, or the bytes of a file, as a framework adds it."""

    id: str
    text: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    image: Any = None
    data: bytes | None = None
    name: str | None = None


def opened(collection: str | os.PathLike[str] | Collection) -> Collection:
    """Return an open collection as it is, or open the one in this folder or at this address."""
    return collection if isinstance(collection, Collection) else open_collection(collection)


def add_entries(collection: Collection, entries: Sequence[FrameworkRecord]) -> None:
    """Add entries as records. One with the id of a document replaces it; of equal ids the last one counts.

    Raises CollectionError with the reasons for those that could not be added; the others are.
    """
    last = {entry.id: entry for entry in entries}
    keys = {key.casefold() for entry in last.values() for key in entry.metadata if isinstance(key, str)}
    types = collection.store.metadata_types(sorted(keys), without=list(last))
    records = [_record(entry, types) for entry in last.values()]
    report = collection.add(records, workers=1, progress=False)
    if report.failed:
        reasons = [f"{name}: {reason}" for name, reason in report.failed[:_SHOWN]]
        if len(report.failed) > _SHOWN:
            reasons.append(_("and {count} more").format(count=len(report.failed) - _SHOWN))
        raise CollectionError(
            _("{failed} of {count} could not be added: {reasons}").format(
                failed=len(report.failed), count=len(records), reasons="; ".join(reasons)
            )
        )


def remove_ids(collection: Collection, ids: Iterable[str]) -> int:
    """Remove the documents with exactly these ids, and return how many there were.

    ``Collection.remove()`` also takes paths and patterns; the id of a caller is neither.
    """
    existing = [document.id for document in collection.store.documents(ids=list(ids))]
    return collection.remove(*existing) if existing else 0


def metadata_of(document: Document, *, detected: bool = False) -> dict[str, Any]:
    """Return the metadata that a document was added with, as JSON values; dates are ISO 8601 text.

    ``detected`` adds what was read from the content, such as its language. Of a document that no framework added it is
    always there.
    """
    values = document.metadata.dict()
    values.pop(REST_KEYS, None)
    pieces = values.pop(ADDED, None)
    if not isinstance(pieces, list) or not document.is_record:
        return values
    try:
        added = json.loads("".join(map(str, pieces)))
        keys, rest = set(added["keys"]), dict(added["rest"])
    except (ValueError, TypeError, KeyError):  # another program uses this key
        return values
    return {key: value for key, value in values.items() if detected or key in keys} | rest


def rest_has_key(collection: Collection, key: str) -> bool:
    """Return whether a document has this key where filters of the collection cannot see it."""
    allowed = filter_of(None, None, None, None, None, {REST_KEYS: key}, collection.store.metadata_types)
    return next(iter(collection.store.documents(where=allowed)), None) is not None


def is_single(document: Document) -> bool:
    """Return whether a document is one result under its own id: a record that is a text or a picture."""
    return document.is_record and (document.media_type == "text/plain" or document.media_type.startswith("image/"))


def text_of(collection: Collection, document: Document) -> str:
    """Return the text of a document: of a text or picture record as it was given, else what was read of it."""
    if document.is_record and document.media_type == "text/plain":
        original = collection.store.original(document.id)
        if original is not None:
            return original.decode("utf-8", "replace")
    items = collection.items(document)
    if document.is_record and document.media_type.startswith("image/"):
        return "\n\n".join(filter(None, map(_caption, items)))
    return "\n\n".join(item.text for item in items if item.text)


def _caption(item: Item) -> str:
    """Return the caption of a picture as it was given, without the words that were read in the picture."""
    text, start = item.text or "", item.span.ocr_start
    return text if start is None else text[:start].removesuffix(". ")


def _record(entry: FrameworkRecord, types: dict[str, MetadataType]) -> Record:
    """Return an entry as a record. ``types`` are those that keys have so far; those of the entry are added."""
    filterable: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for key, value in entry.metadata.items():
        key_types = _types(key, value)
        if (
            key_types is None
            or key in (ADDED, REST_KEYS)
            or len(filterable) == _MOST
            or key.casefold() in map(str.casefold, filterable)
            or any(type_ != FILE_KEYS.get(name, types.get(name, type_)) for name, type_ in key_types.items())
        ):
            rest[key] = value
        else:
            filterable[key] = value
            types |= key_types
    written = json.dumps({"keys": list(filterable), "rest": rest}, default=str)
    pieces = [written[start : start + MAX_TEXT] for start in range(0, len(written), MAX_TEXT)]
    names = [name for name in map(str, rest) if _types(REST_KEYS, name) is not None]
    title = entry.metadata.get("title")
    has_title = isinstance(title, str) and title.strip() and title.isprintable() and len(title) <= MAX_TITLE
    return Record(
        entry.text,
        image=entry.image,
        data=entry.data,
        name=entry.name,
        id=entry.id,
        title=title if has_title else None,
        metadata={**filterable, ADDED: pieces, **({REST_KEYS: names} if names else {})},
    )


def _types(key: str, value: object) -> dict[str, MetadataType] | None:
    """Return the type of a key with this value; None where a collection cannot store and compare it."""
    try:
        metadata = Metadata({key: value})
    except ReadError:
        return None
    return metadata.types()
