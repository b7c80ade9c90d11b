"""Documents, items and filters as rows and conditions of SQL."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from commonplace.store.schema import checksum, padded, pairs
from commonplace.types import Document, Filter, Item

__all__ = [
    "DOCUMENT",
    "condition_of",
    "document_of",
    "from_sql",
    "maybe",
    "printable",
    "row_of_document",
    "row_of_item",
    "text_of",
    "to_sql",
]

DOCUMENT = "d.id, d.uri, d.path, d.media_type, d.content_hash, d.title, d.status, d.error, d.stamp, d.items, d.metadata"


def document_of(row: Sequence[Any]) -> Document:
    id_, uri, path, kind, content, title, status, error, stamp, items, metadata = row
    return Document(
        text_of(id_),
        text_of(uri),
        from_sql(path),
        text_of(kind),
        text_of(content),
        maybe(title),
        status if status in ("ok", "partial") else "failed",
        maybe(error),
        text_of(stamp),
        items if isinstance(items, int) else 0,
        pairs(metadata),
    )


def row_of_document(document: Document) -> tuple[Any, ...]:
    return (
        document.id,
        document.uri,
        to_sql(document.path),
        document.media_type,
        document.content_hash,
        printable(document.title),
        document.status,
        printable(document.error),
        document.stamp,
        document.items,
        json.dumps(document.metadata),
    )


def row_of_item(item: Item, document: int) -> tuple[Any, ...]:
    span = json.dumps(item.span.dict(), separators=(",", ":"))
    values = (item.id, document, item.modality, span, printable(item.text), printable(item.title), item.picture)
    return (*values, checksum(*values))


def condition_of(where: Filter) -> tuple[str, tuple[Any, ...]]:
    """Return the SQL condition over items ``i`` and documents ``d`` that says what ``where`` says."""
    parts: list[str] = []
    values: list[Any] = []
    if where.modality:
        parts.append("i.modality = ?")
        values.append(where.modality)
    if where.media_type:
        parts.append("d.media_type GLOB ?")
        values.append(where.media_type)
    if where.path:
        if any(mark in where.path for mark in "*?["):
            parts.append("d.path GLOB ?")
            values.append(where.path if where.path[0] in "/*" else f"*/{where.path}")
        elif where.path.startswith("/"):
            folder = where.path.rstrip("/") + "/"
            parts.append("(d.path = ? OR substr(d.path, 1, ?) = ?)")
            values += [where.path.rstrip("/"), len(folder), folder]
        else:
            parts.append("instr(d.path || '/', ?) > 0")
            values.append(f"/{where.path.rstrip('/')}/")
    fact = "EXISTS (SELECT 1 FROM facts f WHERE f.document = d.key AND f.key = ? AND"
    for date, order in ((where.after, ">="), (where.before, "<")):
        if date:
            parts.append(f"{fact} f.value {order} ?)")
            values += ["date", padded(date)]
    for key, allowed in where.stated:
        parts.append(f"{fact} ({' OR '.join(['f.value GLOB ?'] * len(allowed))}))")
        values += [key, *(one.casefold().replace("[", "[[]") for one in allowed)]
    return " AND ".join(parts), tuple(to_sql(value) if isinstance(value, str) else value for value in values)


def to_sql(path: str) -> str | bytes:
    """Return a path as SQLite can hold it: one whose bytes are not UTF-8 becomes a blob."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return os.fsencode(path)
    return path


def from_sql(path: object) -> str:
    return os.fsdecode(path) if isinstance(path, bytes) else text_of(path)


def text_of(value: object) -> str:
    """Return a column of texts as text, whatever damage put there: the row's checksum tells."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else str(value)


def maybe(value: object) -> str | None:
    """Return what :func:`text_of` does, and None where there is nothing."""
    return None if value is None else text_of(value)


def printable(text: str | None) -> str | None:
    """Return ``text`` without lone surrogates, which SQLite cannot hold."""
    return text and text.encode("utf-8", "replace").decode()
