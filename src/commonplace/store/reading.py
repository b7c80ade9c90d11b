"""Reads documents, items, pictures and labels from the tables."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonplace.metadata import TYPES, MetadataType
from commonplace.store.database import Database
from commonplace.store.item_ids import in_pieces, is_text
from commonplace.store.rows import DOCUMENT, condition_of, document_of, from_sql, text_of, to_sql
from commonplace.store.schema import checksum, original_checksum
from commonplace.store.vectors import vectors_of
from commonplace.types import Document, Filter, Item, Span, Status, ViewVectors

__all__ = [
    "counts",
    "documents",
    "items_by_key",
    "items_of",
    "known_vectors",
    "labels",
    "metadata_keys",
    "metadata_types",
    "original",
    "picture_sizes",
    "pictures",
    "put_label",
    "settings",
    "signatures",
    "thumbnail",
    "types_in_use",
    "views_of",
]

log = logging.getLogger("commonplace")

PAGE = 1000  # number of documents that are read at once
LABELS = (
    "CREATE TABLE IF NOT EXISTS labels (text TEXT NOT NULL, image TEXT NOT NULL, item TEXT NOT NULL, "
    "good INTEGER NOT NULL, PRIMARY KEY (text, image, item))"
)

Condition = tuple[str, tuple[Any, ...]]


# --- documents -----------------------------------------------------------------------------------------------


def documents(
    database: Database,
    ids: Sequence[str] | None,
    below: str | None,
    content_hash: str | None,
    status: Status | None,
    where: Filter | None,
) -> Iterator[Document]:
    """Yield the documents that meet all conditions, ordered by path; see ``commonplace.store.Store.documents()``."""
    conditions = list(_conditions(content_hash, status, where))
    if ids is not None:
        usable = [id_ for id_ in ids if "\0" not in id_]  # SQLite cuts the values of JSON at a zero character
        conditions.append(("d.id IN (SELECT value FROM json_each(?))", (json.dumps(usable),)))
    few = ids is not None or content_hash is not None
    if below is None:
        yield from _page_by_page(database, conditions, few)
        return
    try:
        os.fsencode(below)
    except UnicodeEncodeError:  # no file can have such a name
        return
    path = below.rstrip(os.sep) or os.sep
    folder = path.rstrip(os.sep) + os.sep
    # Two ranges of the index on paths; the character after the separator ends the second.
    file = ("d.path = ?", (to_sql(path),))
    inside = ("d.path >= ? AND d.path < ?", (to_sql(folder), to_sql(folder[:-1] + chr(ord(os.sep) + 1))))
    for place in (file, inside):
        yield from _page_by_page(database, [place, *conditions], few)


def _conditions(content_hash: str | None, status: Status | None, where: Filter | None) -> Iterator[Condition]:
    if content_hash is not None:
        yield "d.content_hash = ?", (content_hash,)
    if status is not None:
        yield "d.status = ?", (status,)
    if where is not None:
        if where.modality:
            shows = "EXISTS (SELECT 1 FROM items i WHERE i.document = d.key AND i.modality = ?)"
            yield shows, (where.modality,)
        condition, values = condition_of(replace(where, modality=None), by_value=True)
        if condition:
            yield condition, values


def _page_by_page(database: Database, conditions: Sequence[Condition], few: bool) -> Iterator[Document]:
    """Yield documents ordered by path. With ``few`` matches, which another index finds, a plus sign in the SQL keeps
    SQLite from scanning the index on paths."""
    order = "+d.path, d.id" if few else "d.path, d.id"
    after: Condition | None = None
    while True:
        parts = [*conditions, *([after] if after else [])]
        clause = f"WHERE {' AND '.join(part for part, _ in parts)} " if parts else ""
        values = tuple(value for _, part_values in parts for value in part_values)
        limit = "" if few else f" LIMIT {PAGE}"
        rows = database.all(f"SELECT {DOCUMENT} FROM documents d {clause}ORDER BY {order}{limit}", values)
        yield from map(document_of, rows)
        if few or len(rows) < PAGE:
            return
        after = ("(d.path, d.id) > (?, ?)", (rows[-1][2], rows[-1][0]))


def original(database: Database, document: str) -> bytes | None:
    """Return the original content of a record; None for a file, and if the content is damaged."""
    statement = (
        "SELECT o.media_type, o.data, o.checksum FROM originals o JOIN documents d ON d.key = o.document WHERE d.id = ?"
    )
    for media_type, data, expected in database.all(statement, (document,)):
        if isinstance(data, bytes) and original_checksum(media_type, data) == expected:
            return data
        log.warning("the content of %s is damaged: run `commonplace doctor`", document)
    return None


def metadata_types(database: Database, keys: Iterable[str], without: Iterable[str]) -> dict[str, MetadataType]:
    """Return the type of each of these metadata keys that is in use, without counting the documents ``without``."""
    with database.snapshot() as connection:
        return types_in_use(connection, keys, without)


def types_in_use(
    connection: sqlite3.Connection, keys: Iterable[str], without: Iterable[str] = ()
) -> dict[str, MetadataType]:
    """Return the type of each of these metadata keys that is in use, without counting the documents ``without``."""
    ids = json.dumps(list(without))
    documents = connection.execute("SELECT key FROM documents WHERE id IN (SELECT value FROM json_each(?))", (ids,))
    left_out = json.dumps([document for (document,) in documents])
    statement = "SELECT type FROM metadata WHERE key = ? AND document NOT IN (SELECT value FROM json_each(?)) LIMIT 1"
    rows = {key: connection.execute(statement, (to_sql(key), left_out)).fetchone() for key in keys}
    return {key: row[0] for key, row in rows.items() if row is not None and row[0] in TYPES}


def metadata_keys(database: Database) -> dict[str, int]:
    """Return the number of documents that have each metadata key (in lower case), the most frequent key first."""
    statement = "SELECT key, count(DISTINCT document) FROM metadata GROUP BY key ORDER BY 2 DESC, 1"
    return {text_of(key): count for key, count in database.all(statement)}


def counts(database: Database, names: Sequence[str] = ()) -> dict[str, dict[str, int]]:
    """Return the number of documents (by status), items (by modality) and vectors (by partition)."""
    statements = {
        "documents": "SELECT status, count(*) FROM documents GROUP BY status",
        "items": "SELECT modality, count(*) FROM items GROUP BY modality",
        "vectors": "SELECT partition, count(*) FROM views GROUP BY partition",
    }
    return {
        name: {text_of(kind): count for kind, count in database.all(statement)}
        for name, statement in statements.items()
        if not names or name in names
    }


# --- items ---------------------------------------------------------------------------------------------------


def items_by_key(database: Database, keys: Sequence[int]) -> dict[int, Item]:
    """Return the items with these keys. Removed items are absent. Damaged items are absent too, and logged."""
    damaged: set[object] = set()
    statement = "SELECT checksum, item, partition, view FROM views WHERE item IN (%s)"
    for expected, *view in in_pieces(database, statement, keys):
        if checksum(*view) != expected:
            damaged.add(view[0])
    statement = (
        "SELECT i.key, i.id, i.document, i.modality, i.span, i.text, i.title, i.picture, i.checksum, d.checksum, "
        f"{DOCUMENT} FROM items i JOIN documents d ON i.document = d.key WHERE i.key IN (%s)"
    )
    rows: list[tuple[Any, ...]] = in_pieces(database, statement, keys)
    items: dict[int, Item] = {}
    documents: dict[int, Document | None] = {}  # None: damaged
    for key, id_, owner, modality, span, text, title, picture, item_sum, document_sum, *document_row in rows:
        if owner not in documents:
            documents[owner] = document_of(document_row) if checksum(*document_row) == document_sum else None
        document = documents[owner]
        intact = checksum(id_, owner, modality, span, text, title, picture) == item_sum and key not in damaged
        if document is None or not intact:
            log.warning("item %s is damaged and left out: run `commonplace doctor`", id_)
            continue
        items[key] = Item(id_, document, modality, Span.from_dict(json.loads(span)), text, title, picture)
    return items


def items_of(database: Database, document: str) -> list[Item]:
    """Return the items of the document with this id, in reading order."""
    if not is_text(document):
        return []
    statement = "SELECT i.key FROM items i JOIN documents d ON i.document = d.key WHERE d.id = ? ORDER BY i.key"
    keys = [key for (key,) in database.all(statement, (document,))]
    items = items_by_key(database, keys)
    return [items[key] for key in keys if key in items]


def views_of(database: Database, dim: int, ids: Sequence[str]) -> list[ViewVectors]:
    """Return all views of items with their vectors; see ``commonplace.store.Store.views_of()``."""
    statement = (
        "SELECT i.id, v.item, v.partition, v.view, v.checksum FROM items i JOIN views v ON v.item = i.key "
        "WHERE i.id IN (%s)"
    )
    views: dict[str, list[tuple[str, str]]] = {}
    for id_, *view, expected in in_pieces(database, statement, [id_ for id_ in dict.fromkeys(ids) if is_text(id_)]):
        if checksum(*view) == expected:
            views.setdefault(view[1], []).append((id_, view[2]))
    result = []
    for partition in sorted(views):
        vectors = known_vectors(database, "vectors", dim, partition, sorted({view for _, view in views[partition]}))
        rows = sorted(row for row in views[partition] if row[1] in vectors)
        if rows:
            items, hashes = zip(*rows, strict=True)
            result.append(ViewVectors(partition, items, hashes, np.array([vectors[view] for view in hashes])))
    return result


def known_vectors(
    database: Database, table: str, dim: int, partition: str, views: Sequence[str]
) -> dict[str, NDArray[np.float32]]:
    """Return the vectors (dim,) that a table has for these view hashes, by hash, without damaged vectors."""
    statement = f"SELECT view, vector, checksum FROM {table} WHERE partition = ? AND view IN (%s)"
    rows = in_pieces(database, statement, views, (partition,))
    vectors, damaged = vectors_of([row[1] for row in rows], [row[2] for row in rows], dim)
    left_out = set(damaged.tolist())
    return {row[0]: vector for n, (row, vector) in enumerate(zip(rows, vectors, strict=True)) if n not in left_out}


# --- pictures ------------------------------------------------------------------------------------------------


def pictures(database: Database, ids: Iterable[str]) -> list[str]:
    """Return the content hashes of the pictures that occur in these documents and in no other document."""
    documents = set(ids)
    shows = "SELECT i.picture, d.id FROM items i JOIN documents d ON i.document = d.key WHERE i.picture IS NOT NULL"
    shown = {str(picture) for picture, _ in in_pieces(database, f"{shows} AND d.id IN (%s)", sorted(documents))}
    by_all = in_pieces(database, f"{shows} AND i.picture IN (%s)", sorted(shown))
    return sorted(shown - {str(picture) for picture, document in by_all if document not in documents})


def thumbnail(database: Database, picture: str) -> bytes | None:
    """Return the JPEG of the picture with this content hash; None if it is absent or damaged."""
    statement = "SELECT checksum, thumbnail, width, height FROM pictures WHERE hash = ?"
    for expected, *values in database.all(statement, (picture,)):
        if checksum(*values) == expected:
            return bytes(values[0])
        log.warning("the thumbnail of picture %s is damaged: run `commonplace doctor`", picture)
    return None


def signatures(database: Database, pictures: Sequence[str]) -> dict[str, bytes]:
    """Return the signatures of pictures by content hash. Damaged ones are absent, and logged."""
    statement = "SELECT picture, pixels, checksum FROM signatures WHERE picture IN (%s)"
    kept: dict[str, bytes] = {}
    for name, pixels, expected in in_pieces(database, statement, [name for name in pictures if is_text(name)]):
        if checksum(name, pixels) == expected:
            kept[name] = pixels
        else:
            log.warning("the signature of picture %s is damaged: run `commonplace doctor`", name)
    return kept


def picture_sizes(database: Database, pictures: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Return the original width and height of pictures in pixels, by content hash, without damaged pictures."""
    statement = "SELECT hash, checksum, thumbnail, width, height FROM pictures WHERE hash IN (%s)"
    rows = in_pieces(database, statement, [name for name in dict.fromkeys(pictures) if is_text(name)])
    return {name: (values[1], values[2]) for name, expected, *values in rows if checksum(*values) == expected}


# --- settings and labels ---------------------------------------------------------------------------------------


def settings(database: Database) -> dict[str, str]:
    """Return all settings by name."""
    rows = database.all("SELECT substr(name, 9), value FROM meta WHERE name LIKE 'setting:%'")
    return {text_of(name): text_of(value) for name, value in rows}


def put_label(database: Database, text: str, image: str, item: str, good: bool) -> None:
    """Store whether an item answers a query."""
    with database.write() as connection:
        connection.execute(LABELS)
        connection.execute("INSERT OR REPLACE INTO labels VALUES (?, ?, ?, ?)", (text, to_sql(image), item, int(good)))


def labels(database: Database) -> list[tuple[str, str, str, bool]]:
    """Return the labels of items that still exist."""
    if not database.all("SELECT 1 FROM sqlite_master WHERE name = 'labels'"):
        return []
    rows = database.all(
        "SELECT l.text, l.image, l.item, l.good FROM labels l JOIN items i ON i.id = l.item ORDER BY l.rowid"
    )
    return [(text, from_sql(image), item, bool(good)) for text, image, item, good in rows]
