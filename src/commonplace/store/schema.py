"""The tables of a collection, and the checksums of their rows."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from typing import Any

from commonplace.metadata import Metadata, comparable

__all__ = [
    "LEXICON",
    "PATHS",
    "SCHEMA",
    "SCHEMA_VERSION",
    "checksum",
    "fill",
    "metadata_rows",
    "number",
    "original_checksum",
    "seal",
    "sealed",
    "unlike",
]

SCHEMA_VERSION = 3
SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE documents (
    key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, uri TEXT NOT NULL, path TEXT NOT NULL,
    media_type TEXT NOT NULL, content_hash TEXT NOT NULL, title TEXT, status TEXT NOT NULL, error TEXT,
    stamp TEXT NOT NULL, items INTEGER NOT NULL, metadata TEXT NOT NULL DEFAULT '[]', checksum INTEGER NOT NULL);
CREATE INDEX documents_path ON documents (path, id);
CREATE INDEX documents_content ON documents (content_hash);
CREATE TABLE items (
    key INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,  -- a key is never used again: a search may hold it
    document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
    modality TEXT NOT NULL, span TEXT NOT NULL, text TEXT, title TEXT, picture TEXT,
    checksum INTEGER NOT NULL);
CREATE INDEX items_document ON items (document, modality);
CREATE INDEX items_modality ON items (modality);
CREATE INDEX items_picture ON items (picture) WHERE picture IS NOT NULL;
CREATE TABLE removed (  -- the removal log: by it indexes learn which items are gone
    key INTEGER PRIMARY KEY AUTOINCREMENT, item INTEGER NOT NULL);
CREATE TABLE pictures (
    hash TEXT PRIMARY KEY, thumbnail BLOB NOT NULL, width INTEGER, height INTEGER, checksum INTEGER NOT NULL);
CREATE TABLE signatures (  -- derived from the thumbnails, can be rebuilt; apart from them, so that few pages are read
    picture TEXT PRIMARY KEY REFERENCES pictures ON DELETE CASCADE, pixels BLOB NOT NULL,
    checksum INTEGER NOT NULL) WITHOUT ROWID;
"""
VECTORS = """
CREATE TABLE {0}views (
    item INTEGER NOT NULL REFERENCES items ON DELETE CASCADE, partition TEXT NOT NULL, view TEXT NOT NULL,
    checksum INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (item, partition, view)) WITHOUT ROWID;
CREATE INDEX {0}views_view ON {0}views (partition, view);
CREATE TABLE {0}vectors (  -- float16; see commonplace.store.vectors
    partition TEXT NOT NULL, view TEXT NOT NULL, vector BLOB NOT NULL, checksum INTEGER NOT NULL,
    PRIMARY KEY (partition, view));
"""
METADATA = """
CREATE TABLE metadata (  -- metadata and title as filters compare them: derived from the documents, can be rebuilt
    document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE, key TEXT NOT NULL, type TEXT NOT NULL,
    value NOT NULL,  -- text or number, by the type
    PRIMARY KEY (document, key, type, value)) WITHOUT ROWID;
CREATE INDEX metadata_value ON metadata (key, type, value);
"""
ORIGINALS = """
CREATE TABLE originals (  -- the content of documents that have no file, as it was given
    document INTEGER PRIMARY KEY REFERENCES documents ON DELETE CASCADE, media_type TEXT NOT NULL,
    data BLOB NOT NULL, checksum INTEGER NOT NULL);
"""
# The shadow tables hold the vectors of the model that the collection is being migrated to, or was migrated from.
SCHEMA += VECTORS.format("") + VECTORS.format("shadow_") + METADATA + ORIGINALS
LEXICON = """CREATE VIRTUAL TABLE {} USING fts5 (
    words, content='', tokenize="porter unicode61 remove_diacritics 2 categories 'L* N* Co Mn Mc'")"""
"""The full-text index over words from ``commonplace.text.index_words``. The text itself is in the table ``items``."""

PATHS = """CREATE VIRTUAL TABLE {} USING fts5 (
    words, tokenize="porter unicode61 remove_diacritics 2 categories 'L* N* Co Mn Mc'")"""
"""The full-text index over the paths of documents, as words from ``commonplace.text.path_words``."""


def checksum(*values: Any) -> int:
    """Return the CRC of the values of a row as SQLite returns them: text, bytes, numbers and None."""
    return zlib.crc32(repr(values).encode("utf-8", "surrogatepass"))


def number(value: object) -> int | None:
    """Return a number (0 or more) that ``meta`` stores as text; None if it is damaged."""
    text = str(value)
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def metadata_rows(title: str | None, metadata: str) -> set[tuple[str, str, Any]]:
    """Return the keys, types and values by which filters find a document, including its title."""
    typed = Metadata.from_json(metadata if isinstance(metadata, str) else "")  # a damaged row may contain anything
    rows = typed.without(["title"]).rows()
    return rows | {("title", "text", comparable("text", title))} if title and isinstance(title, str) else rows


def original_checksum(media_type: object, data: object) -> int:
    """Return the checksum of a row of ``originals``; -1 if its data is damaged and not bytes."""
    return checksum(media_type, zlib.crc32(data)) if isinstance(data, bytes) else -1


def fill(database: sqlite3.Connection) -> None:
    """Rebuild the metadata table from the documents."""
    database.execute("DELETE FROM metadata")
    documents = database.execute("SELECT key, title, metadata FROM documents").fetchall()
    rows = ((key, *row) for key, title, metadata in documents for row in metadata_rows(title, metadata))
    database.executemany("INSERT INTO metadata VALUES (?, ?, ?, ?)", rows)


def unlike(database: sqlite3.Connection) -> Iterator[int]:
    """Yield the keys of documents whose rows in the metadata table differ from the documents' own metadata."""
    held: dict[int, set[tuple[str, str, Any]]] = {}
    for document, *row in database.execute("SELECT document, key, type, value FROM metadata"):
        held.setdefault(document, set()).add((row[0], row[1], row[2]))
    for document, title, metadata in database.execute("SELECT key, title, metadata FROM documents"):
        if held.pop(document, set()) != metadata_rows(title, metadata):
            yield document
    yield from held


def sealed(database: sqlite3.Connection) -> bool:
    """Return whether the checksum of ``meta`` is correct. The checksum leaves out the generation."""
    rows = database.execute("SELECT value FROM meta WHERE name = 'seal'").fetchone()
    return rows is not None and rows[0] == _seal(database)


def seal(database: sqlite3.Connection) -> None:
    """Store the checksum of ``meta`` in ``meta``."""
    database.execute("INSERT OR REPLACE INTO meta VALUES ('seal', ?)", (_seal(database),))


def _seal(database: sqlite3.Connection) -> str:
    rows = database.execute("SELECT name, value FROM meta WHERE name NOT IN ('generation', 'seal') ORDER BY name")
    return str(checksum(*(value for row in rows for value in row)))
