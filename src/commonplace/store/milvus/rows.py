"""Conversion of documents and items to rows of Milvus and back."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from commonplace.metadata import Metadata
from commonplace.store.milvus.expressions import filter_fields, storable
from commonplace.store.milvus.layout import BODY
from commonplace.store.rows import printable
from commonplace.types import Document, Item, Span, stable_id

__all__ = [
    "Body",
    "FilterFields",
    "StoredDocument",
    "StoredItem",
    "body_of",
    "key_of",
    "pieces_of",
    "place_of",
    "tag_of",
]

LONGEST_KEY = 128


def key_of(id_: str) -> str:
    """Return an id as it is used in keys and fields: unchanged if it is short and plain, otherwise its hash."""
    if len(id_) <= LONGEST_KEY and id_.isascii() and id_.isprintable() and not id_.startswith("~"):
        return id_
    return f"~{stable_id(id_)}"


def place_of(key: str) -> int:
    """Return a number in [0, 2**31) that depends only on a key. Rows below a threshold are an even sample."""
    return zlib.crc32(key.encode("utf-8", "surrogatepass")) >> 1


def tag_of(fingerprint: str) -> str:
    """Return a short hash that marks what belongs to a model: its settings, and the views of items."""
    return stable_id(fingerprint)[:12]


@dataclass(frozen=True, slots=True)
class FilterFields:
    """The fields of a row by which expressions select: they are those of its document."""

    fields: Mapping[str, Any]

    @classmethod
    def of(cls, document: Document, generation: str, tenant: str) -> FilterFields:
        """Return the fields of the rows of a document."""
        return cls(
            {
                "tenant": tenant,
                "document": key_of(document.id),
                "generation": generation,
                "media_type": storable(document.media_type)[:250],
                "path": storable(document.path),
                "filters": filter_fields(document),
            }
        )


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document as it is stored: its current generation, the number of items by modality, and its original's name."""

    document: Document
    generation: str
    modalities: Mapping[str, int] = field(default_factory=dict)
    original: str | None = None

    def body(self) -> dict[str, Any]:
        """Return the document as JSON values."""
        document = self.document
        values = {
            "id": document.id,
            "uri": document.uri,
            "path": document.path,
            "type": document.media_type,
            "hash": document.content_hash,
            "title": printable(document.title),
            "status": document.status,
            "error": printable(document.error),
            "stamp": document.stamp,
            "items": document.items,
            "metadata": document.metadata.to_json(),
            "modalities": dict(self.modalities),
            "original": self.original,
            "generation": self.generation,
        }
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> StoredDocument:
        """Return the document of ``body()``."""
        document = Document(
            body["id"],
            body.get("uri", ""),
            body.get("path", ""),
            body.get("type", ""),
            body.get("hash", ""),
            body.get("title"),
            body.get("status", "ok"),
            body.get("error"),
            body.get("stamp", ""),
            body.get("items", 0),
            Metadata.from_json(body.get("metadata", "[]")),
        )
        return cls(document, body.get("generation", ""), body.get("modalities", {}), body.get("original"))


@dataclass(frozen=True, slots=True)
class StoredItem:
    """An item as it is stored, without its document.

    ``views`` are its partitions when it was added, with the model ``tag`` (see ``tag_of``). ``size`` and ``signature``
    are its picture's.
    """

    item: Item
    number: int
    views: Sequence[str] = ()
    size: tuple[int, int] | None = None
    tag: str = ""
    signature: bytes = b""

    def body(self) -> dict[str, Any]:
        """Return the item as JSON values."""
        item = self.item
        values = {
            "id": item.id,
            "modality": item.modality,
            "span": item.span.dict(),
            "text": printable(item.text),
            "title": printable(item.title),
            "picture": item.picture,
            "number": self.number,
            "views": list(self.views),
            "size": self.size,
            "tag": self.tag,
            "signature": base64.b64encode(self.signature).decode() or None,
        }
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def of(cls, body: Mapping[str, Any], document: Document) -> StoredItem:
        """Return the item of ``body()``."""
        item = Item(
            body["id"],
            document,
            body["modality"],
            Span.from_dict(body["span"]),
            body.get("text"),
            body.get("title"),
            body.get("picture"),
        )
        size = body.get("size")
        return cls(
            item,
            body.get("number", 0),
            tuple(body.get("views", ())),
            tuple(size) if size else None,
            body.get("tag", ""),
            base64.b64decode(body.get("signature", "")),
        )


# --- bodies --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Body:
    """A JSON text in one field, or in ``pieces`` where it is too long for one; then ``text`` names them."""

    text: str
    pieces: Mapping[str, str] = field(default_factory=dict)


def body_of(values: Mapping[str, Any], key: str, token: str) -> Body:
    """Return JSON values as the text of a row. Long ones are split into pieces, named by ``key`` and ``token``.

    A field holds 65,535 bytes. Lone surrogates, which are no valid UTF-8, are written as escapes.
    """
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        text = json.dumps(values, separators=(",", ":"))
        size = len(text)
    if size <= BODY:
        return Body(text)
    pieces = {f"{key}/{token}/{number}": piece for number, piece in enumerate(_split(text))}
    return Body(json.dumps({"pieces": list(pieces)}), pieces)


def pieces_of(body: Mapping[str, Any]) -> list[str]:
    """Return the names of the pieces of a parsed text; empty if it is whole."""
    return list(body.get("pieces", ())) if len(body) == 1 else []


def _split(text: str) -> Iterator[str]:
    """Yield pieces of at most ``BODY`` bytes: a character has at most four."""
    start = 0
    while start < len(text):
        end = start + BODY // 4
        yield text[start:end]
        start = end
