"""Documents with all that is theirs, put and deleted inside of a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from commonplace.errors import CollectionError
from commonplace.store.rows import DOCUMENT, maybe, row_of_document, row_of_item
from commonplace.store.schema import checksum, facts_of
from commonplace.store.vectors import put_vectors
from commonplace.text import index_words
from commonplace.types import Document, ParsedDocument, ViewVectors, text_view

__all__ = ["check_vectors", "delete", "put", "put_document", "sweep"]


@dataclass(slots=True)
class Gone:
    """What a deletion may have left without an owner."""

    documents: int = 0
    views: set[tuple[str, str]] = field(default_factory=set)
    pictures: set[str] = field(default_factory=set)


def put(database: sqlite3.Connection, parsed: Sequence[ParsedDocument], vectors: Sequence[ViewVectors]) -> None:
    """Put documents that are not there, their items, words, pictures and vectors."""
    (last,) = database.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'items'").fetchone()
    keys: dict[str, int] = {}
    items: list[tuple[Any, ...]] = []
    words: list[tuple[int, str]] = []
    pictures: list[tuple[Any, ...]] = []
    for reading in parsed:
        document = put_document(database, reading.document)
        for name, one in reading.pictures.items():
            row = (one.thumbnail, one.width, one.height)
            pictures.append((name, *row, checksum(*row)))
        for item in reading.items:
            last += 1
            keys[item.id] = last
            items.append((last, *row_of_item(item, document)))
            view = text_view(item.text, item.title)
            if view is not None:
                words.append((last, index_words(view)))
    database.executemany("INSERT OR IGNORE INTO pictures VALUES (?, ?, ?, ?, ?)", pictures)
    database.executemany("INSERT INTO items VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", items)
    database.executemany("INSERT INTO lexicon (rowid, words) VALUES (?, ?)", words)
    for rows in vectors:
        put_vectors(database, rows, keys)


def put_document(database: sqlite3.Connection, document: Document) -> int:
    """Put the row of a document and its facts; return its key."""
    values = row_of_document(document)
    names = f"{DOCUMENT.replace('d.', '')}, checksum"
    marks = ", ".join("?" * (len(values) + 1))
    row = (*values, checksum(*values))
    key = int(database.execute(f"INSERT INTO documents ({names}) VALUES ({marks})", row).lastrowid or 0)
    facts = ((key, *fact) for fact in sorted(facts_of(values[5], values[10])))
    database.executemany("INSERT INTO facts VALUES (?, ?, ?)", facts)
    return key


def delete(database: sqlite3.Connection, ids: Sequence[str]) -> Gone:
    """Delete documents, their items and words; return what may now belong to nobody, for :func:`sweep`."""
    gone = Gone()
    for id_ in ids:
        rows = database.execute(
            "SELECT i.key, i.text, i.title, i.picture FROM items i JOIN documents d ON i.document = d.key "
            "WHERE d.id = ?",
            (id_,),
        ).fetchall()
        for key, text, title, picture in rows:
            gone.views.update(database.execute("SELECT partition, view FROM views WHERE item = ?", (key,)))
            gone.views.update(database.execute("SELECT partition, view FROM beside_views WHERE item = ?", (key,)))
            if picture:
                gone.pictures.add(picture)
            view = text_view(maybe(text), maybe(title))
            if view is not None:
                database.execute(
                    "INSERT INTO lexicon (lexicon, rowid, words) VALUES ('delete', ?, ?)",
                    (key, index_words(view)),
                )
        database.executemany("INSERT INTO removed (item) VALUES (?)", [(row[0],) for row in rows])
        gone.documents += database.execute("DELETE FROM documents WHERE id = ?", (id_,)).rowcount
    return gone


def sweep(database: sqlite3.Connection, gone: Gone) -> None:
    """Drop the vectors and pictures of deleted items that no other item refers to."""
    for shadow in ("", "beside_"):
        database.executemany(
            f"DELETE FROM {shadow}vectors WHERE partition = ?1 AND view = ?2 AND NOT EXISTS "
            f"(SELECT 1 FROM {shadow}views WHERE partition = ?1 AND view = ?2)",
            sorted(gone.views, key=repr),
        )
    database.executemany(
        "DELETE FROM pictures WHERE hash = ?1 AND NOT EXISTS (SELECT 1 FROM items WHERE picture = ?1)",
        [(picture,) for picture in sorted(gone.pictures, key=repr)],
    )


def check_vectors(rows: ViewVectors, parsed: Sequence[ParsedDocument], dim: int) -> None:
    """Raise CollectionError where vectors are not of ``dim`` dimensions or not numbers."""
    if rows.vectors.shape != (len(rows.item_ids), dim):
        raise CollectionError(
            f"vectors of shape {rows.vectors.shape} do not fit {len(rows.item_ids)} items of {dim} "
            f"dimensions ({_paths(rows.item_ids, parsed)}): the model is not the one that the collection was "
            "made with; nothing was stored"
        )
    bad = np.flatnonzero(~np.isfinite(rows.vectors).all(axis=1))
    if len(bad):
        raise CollectionError(
            f"the model gave vectors that are not numbers ({rows.partition}) for "
            f"{_paths([rows.item_ids[row] for row in bad], parsed)}: nothing was stored; leave that file out, or "
            "try another model"
        )


def _paths(ids: Sequence[str], parsed: Sequence[ParsedDocument]) -> str:
    """Return the paths of the documents that these items belong to, three of them at most."""
    wanted = set(ids)
    paths = [one.document.path for one in parsed if any(item.id in wanted for item in one.items)]
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return ", ".join(paths[:3]) + more or "no document of this batch"
