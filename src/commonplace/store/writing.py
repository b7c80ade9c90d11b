"""Adds and deletes documents with their items, words, pictures and vectors, inside a transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from commonplace.errors import CollectionError
from commonplace.i18n import _
from commonplace.store.rows import DOCUMENT, maybe, printable, row_of_document, row_of_item
from commonplace.store.schema import checksum, metadata_rows, original_checksum
from commonplace.store.signatures import signature_of
from commonplace.store.vectors import LARGEST, put_vectors, storable
from commonplace.text import index_words, path_words
from commonplace.types import Document, ParsedDocument, ViewVectors, text_view

__all__ = ["check_vectors", "delete", "put", "put_document", "signatures_of", "sweep", "sweep_all"]

ITEM = "i.key, i.checksum, i.id, i.document, i.modality, i.span, i.text, i.title, i.picture"


@dataclass(slots=True)
class Gone:
    """Data that may be orphaned after a deletion: views (partition, view hash) and picture hashes."""

    documents: int = 0
    views: set[tuple[str, str]] = field(default_factory=set)
    pictures: set[str] = field(default_factory=set)


def signatures_of(parsed: Sequence[ParsedDocument]) -> dict[str, bytes]:
    """Return the signature of each picture of these documents, by content hash."""
    pictures = {name: picture for document in parsed for name, picture in document.pictures.items()}
    return {name: signature_of(picture.thumbnail) for name, picture in pictures.items()}


def put(
    database: sqlite3.Connection,
    parsed: Sequence[ParsedDocument],
    vectors: Sequence[ViewVectors],
    signatures: Mapping[str, bytes],
    gone: Gone,
) -> None:
    """Add new documents with their items, words, pictures, their ``signatures_of``, and vectors.

    Views and pictures of items that had to be deleted first are added to ``gone``.
    """
    _delete_strays(database, parsed, gone)
    (last,) = database.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'items'").fetchone()
    keys: dict[str, int] = {}
    items: list[tuple[Any, ...]] = []
    words: list[tuple[int, str]] = []
    pictures: list[tuple[Any, ...]] = []
    for document in parsed:
        document_key = put_document(database, document.document)
        if (original := document.original) is not None:
            check = original_checksum(original.media_type, original.data)
            original_row = (document_key, original.media_type, original.data, check)
            database.execute("INSERT INTO originals VALUES (?, ?, ?, ?)", original_row)
        for name, picture in document.pictures.items():
            row = (picture.thumbnail, picture.width, picture.height)
            pictures.append((name, *row, checksum(*row)))
        for item in document.items:
            last += 1
            keys[item.id] = last
            items.append((last, *row_of_item(item, document_key)))
            view = text_view(item.text, item.title)
            if view is not None:
                words.append((last, index_words(view)))
    database.executemany(
        # An existing thumbnail that differs is damaged, so the new one replaces it.
        "INSERT INTO pictures VALUES (?, ?, ?, ?, ?) ON CONFLICT (hash) DO UPDATE SET thumbnail = excluded.thumbnail, "
        "width = excluded.width, height = excluded.height, checksum = excluded.checksum "
        "WHERE checksum IS NOT excluded.checksum OR thumbnail IS NOT excluded.thumbnail "
        "OR width IS NOT excluded.width OR height IS NOT excluded.height",
        pictures,
    )
    rows = ((name, pixels, checksum(name, pixels)) for name, pixels in signatures.items())
    database.executemany("INSERT OR REPLACE INTO signatures VALUES (?, ?, ?)", rows)
    # A remaining item with one of these ids is damaged: it lost its document, which is being added again.
    ids = [(item[1],) for item in items]
    database.executemany("INSERT INTO removed (item) SELECT key FROM items WHERE id = ?", ids)
    database.executemany("DELETE FROM items WHERE id = ?", ids)
    database.executemany("INSERT INTO items VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", items)
    database.executemany("INSERT INTO lexicon (rowid, words) VALUES (?, ?)", words)
    for view_vectors in vectors:
        put_vectors(database, view_vectors, keys)


def _delete_strays(database: sqlite3.Connection, parsed: Sequence[ParsedDocument], gone: Gone) -> None:
    """Delete old items that have the ids of new ones: damage moved them to another document, or to none."""
    ids = json.dumps([item.id for document in parsed for item in document.items])
    rows = database.execute(f"SELECT {ITEM} FROM items i WHERE i.id IN (SELECT value FROM json_each(?))", (ids,))
    _delete_items(database, rows.fetchall(), gone)
    database.execute("DELETE FROM items WHERE id IN (SELECT value FROM json_each(?))", (ids,))


def put_document(database: sqlite3.Connection, document: Document) -> int:
    """Add the row of a document and its metadata rows; return its key."""
    values = row_of_document(document)
    names = f"{DOCUMENT.replace('d.', '')}, checksum"
    marks = ", ".join("?" * (len(values) + 1))
    row = (*values, checksum(*values))
    key = int(database.execute(f"INSERT INTO documents ({names}) VALUES ({marks})", row).lastrowid or 0)
    rows = ((key, *metadata) for metadata in metadata_rows(values[5], values[10]))
    database.executemany("INSERT INTO metadata VALUES (?, ?, ?, ?)", rows)
    database.execute(
        "INSERT INTO paths (rowid, words) VALUES (?, ?)", (key, path_words(printable(document.path) or ""))
    )
    return key


def delete(database: sqlite3.Connection, ids: Sequence[str]) -> Gone:
    """Delete documents, their items and words; return the data that may now be orphaned, for ``sweep``."""
    gone = Gone()
    for id_ in ids:
        rows = database.execute(
            f"SELECT {ITEM} FROM items i JOIN documents d ON i.document = d.key WHERE d.id = ?", (id_,)
        ).fetchall()
        _delete_items(database, rows, gone)
        database.execute("DELETE FROM paths WHERE rowid IN (SELECT key FROM documents WHERE id = ?)", (id_,))
        gone.documents += database.execute("DELETE FROM documents WHERE id = ?", (id_,)).rowcount
    return gone


def _delete_items(database: sqlite3.Connection, rows: Sequence[tuple[Any, ...]], gone: Gone) -> None:
    """Delete the words of items (columns ``ITEM``) and log their removal. Their rows are deleted with the document.

    FTS5 needs the exact words to delete them. So the words of a damaged item stay, until ``doctor`` rebuilds the index.
    """
    for key, expected, *values in rows:
        text, title, picture = values[-3:]
        for table in ("views", "shadow_views"):
            gone.views.update(database.execute(f"SELECT partition, view FROM {table} WHERE item = ?", (key,)))
        if picture:
            gone.pictures.add(picture)
        view = text_view(maybe(text), maybe(title))
        if view is not None and checksum(*values) == expected:
            database.execute(
                "INSERT INTO lexicon (lexicon, rowid, words) VALUES ('delete', ?, ?)", (key, index_words(view))
            )
    database.executemany("INSERT INTO removed (item) VALUES (?)", [(row[0],) for row in rows])


def sweep(database: sqlite3.Connection, gone: Gone) -> None:
    """Delete the vectors and pictures of deleted items that no other item uses."""
    for shadow in ("", "shadow_"):
        database.executemany(
            f"DELETE FROM {shadow}vectors WHERE partition = ?1 AND view = ?2 AND NOT EXISTS "
            f"(SELECT 1 FROM {shadow}views WHERE partition = ?1 AND view = ?2)",
            sorted(gone.views, key=repr),
        )
    database.executemany(
        "DELETE FROM pictures WHERE hash = ?1 AND NOT EXISTS (SELECT 1 FROM items WHERE picture = ?1)",
        [(picture,) for picture in sorted(gone.pictures, key=repr)],
    )


def sweep_all(database: sqlite3.Connection) -> None:
    """Delete all orphans: items without a document, views without an item, and unused vectors and pictures."""
    rows = database.execute(f"SELECT {ITEM} FROM items i WHERE i.document NOT IN (SELECT key FROM documents)")
    _delete_items(database, rows.fetchall(), Gone())
    database.execute("DELETE FROM items WHERE document NOT IN (SELECT key FROM documents)")
    for shadow in ("", "shadow_"):
        database.execute(f"DELETE FROM {shadow}views WHERE item NOT IN (SELECT key FROM items)")
        database.execute(
            f"DELETE FROM {shadow}vectors WHERE NOT EXISTS (SELECT 1 FROM {shadow}views v "
            f"WHERE v.partition = {shadow}vectors.partition AND v.view = {shadow}vectors.view)"
        )
    database.execute("DELETE FROM pictures WHERE NOT EXISTS (SELECT 1 FROM items WHERE picture = hash)")
    database.execute("DELETE FROM signatures WHERE picture NOT IN (SELECT hash FROM pictures)")


def check_vectors(rows: ViewVectors, parsed: Sequence[ParsedDocument], dim: int) -> None:
    """Raise CollectionError if vectors do not have ``dim`` dimensions, or have values that cannot be stored."""
    if rows.vectors.shape != (len(rows.item_ids), dim):
        raise CollectionError(
            _(
                "vectors of shape {shape} do not fit {count} items of {dim} "
                "dimensions ({paths}): the model is not the one that the collection was "
                "made with; nothing was stored"
            ).format(shape=rows.vectors.shape, count=len(rows.item_ids), dim=dim, paths=_paths(rows.item_ids, parsed))
        )
    bad = np.flatnonzero(~storable(rows.vectors))
    if len(bad):
        raise CollectionError(
            _(
                "the model returned vectors ({partition}) with values that are not numbers below {largest:g} for "
                "{paths}: nothing was stored; leave that file out, or "
                "try another model"
            ).format(
                partition=rows.partition, largest=LARGEST, paths=_paths([rows.item_ids[row] for row in bad], parsed)
            )
        )


def _paths(ids: Sequence[str], parsed: Sequence[ParsedDocument]) -> str:
    """Return at most three paths of the documents of these items, and the number of further ones."""
    wanted = set(ids)
    paths = [document.document.path for document in parsed if any(item.id in wanted for item in document.items)]
    more = _(" and {count} more").format(count=len(paths) - 3) if len(paths) > 3 else ""
    return ", ".join(paths[:3]) + more or _("no document of this batch")
