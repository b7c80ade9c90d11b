"""Conversion of documents, items and filters to SQL rows and conditions."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from typing import Any

from commonplace.metadata import Metadata, padded
from commonplace.paths import spellings
from commonplace.store.schema import checksum
from commonplace.types import Condition, Document, Filter, Item

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

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
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
        Metadata.from_json(text_of(metadata)),
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
        document.metadata.to_json(),
    )


def row_of_item(item: Item, document: int) -> tuple[Any, ...]:
    span = json.dumps(item.span.dict(), separators=(",", ":"))
    values = (item.id, document, item.modality, span, printable(item.text), printable(item.title), item.picture)
    return (*values, checksum(*values))


def condition_of(where: Filter, *, by_value: bool = False) -> tuple[str, tuple[Any, ...]]:
    """Return a filter as an SQL condition over items ``i`` and documents ``d``, with its parameters.

    ``by_value`` suits a query over the whole collection: it reads the index of metadata values once. Otherwise the
    query looks up the metadata of each document that it reads.
    """
    parts: list[str] = []
    values: list[Any] = []
    if where.modality:
        parts.append("i.modality = ?")
        values.append(where.modality)
    if where.media_type:
        parts.append("d.media_type GLOB ?")
        values.append(where.media_type)
    if where.path:
        alternatives = [_path_condition(form) for form in spellings(where.path)]
        parts.append(f"({' OR '.join(part for part, _paths in alternatives)})")
        values += [path for _part, paths in alternatives for path in paths]
    conditions = list(where.metadata)
    for date, operator in ((where.after, ">="), (where.before, "<")):
        if date:
            conditions.append(Condition("date", "date", (((operator, padded(date)),),)))  # type: ignore[arg-type]
    for condition in conditions:
        part, compared = _metadata_condition(condition, by_value)
        parts.append(part)
        values += compared
    return " AND ".join(parts), tuple(to_sql(value) if isinstance(value, str) else value for value in values)


def _path_condition(path: str) -> tuple[str, list[Any]]:
    # A record's URI is absolute too, but a file may have a colon in its name.
    is_uri = _SCHEME.match(path) is not None
    if any(mark in path for mark in "*?["):
        if is_uri:
            return "(d.path GLOB ? OR d.path GLOB ?)", [path, f"*/{path}"]
        return "d.path GLOB ?", [path if path[0] in "/*" else f"*/{path}"]
    folder = path.rstrip("/") + "/"
    below = "(d.path = ? OR substr(d.path, 1, ?) = ?)"
    if path.startswith("/"):
        return below, [path.rstrip("/"), len(folder), folder]
    anywhere = "instr(d.path || '/', ?) > 0"
    if is_uri:
        return f"({below} OR {anywhere})", [path.rstrip("/"), len(folder), folder, f"/{folder}"]
    return anywhere, [f"/{folder}"]


def _metadata_condition(condition: Condition, by_value: bool) -> tuple[str, list[Any]]:
    alternatives, values = [], []
    for comparisons in condition.alternatives:
        alternatives.append(" AND ".join(f"m.value {operator.upper()} ?" for operator, _ in comparisons))
        values += [value for _, value in comparisons]
    compared = f"m.key = ? AND m.type = ? AND ({' OR '.join(alternatives)})"
    if by_value:
        part = f"d.key IN (SELECT m.document FROM metadata m WHERE {compared})"
    else:
        part = f"EXISTS (SELECT 1 FROM metadata m WHERE m.document = d.key AND {compared})"
    return part, [condition.key, condition.type, *values]


def to_sql(path: str) -> str | bytes:
    """Return a path in a form that SQLite can store: text, or a blob if its bytes are not UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return os.fsencode(path)
    return path


def from_sql(path: object) -> str:
    return os.fsdecode(path) if isinstance(path, bytes) else text_of(path)


def text_of(value: object) -> str:
    """Return the value of a text column as text. A damaged value is converted; the row's checksum reveals it."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else str(value)


def maybe(value: object) -> str | None:
    """Return the value as ``text_of`` does; None for None."""
    return None if value is None else text_of(value)


def printable(text: str | None) -> str | None:
    """Return ``text`` without lone surrogates, which SQLite cannot store."""
    return text and text.encode("utf-8", "replace").decode()
