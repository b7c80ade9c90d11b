"""The tables of a collection, and the checksum that each row carries."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

__all__ = [
    "LEXICON",
    "SCHEMA",
    "SCHEMA_VERSION",
    "checksum",
    "facts_of",
    "fill",
    "number",
    "padded",
    "pairs",
    "seal",
    "sealed",
    "unlike",
]

SCHEMA_VERSION = 1
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
FACTS = """
CREATE TABLE facts (  -- metadata and title as filters read them: derived from the documents, can be rebuilt
    document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE, key TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (document, key, value)) WITHOUT ROWID;
"""
# The shadow tables hold the vectors of the model that the collection is being migrated to, or was migrated from.
SCHEMA += VECTORS.format("") + VECTORS.format("shadow_") + FACTS
LEXICON = """CREATE VIRTUAL TABLE {} USING fts5 (
    words, content='', tokenize="porter unicode61 remove_diacritics 2 categories 'L* N* Co Mn Mc'")"""
"""Full text over words that :func:`commonplace.text.index_words` made; the text itself stands in items."""


def checksum(*values: Any) -> int:
    """Return the CRC of the values of a row, text, bytes, numbers and None, as SQLite gives them back."""
    return zlib.crc32(repr(values).encode("utf-8", "surrogatepass"))


def number(value: object) -> int | None:
    """Return a number (0 or more) that ``meta`` holds as text; None where that is damaged."""
    text = str(value)
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def pairs(metadata: str) -> tuple[tuple[str, str], ...]:
    """Return the metadata that a row holds; none where that is damaged: its checksum tells."""
    with suppress(ValueError, TypeError):
        return tuple((str(key), str(value)) for key, value in json.loads(metadata))
    return ()


def padded(date: str) -> str:
    """Return the first second of a date, ISO 8601 or a beginning of it, so that dates compare as texts."""
    return date + "0001-01-01T00:00:00"[len(date) :]


def facts_of(title: str | None, metadata: str) -> set[tuple[str, str]]:
    """Return the keys and values by which filters find a document, letters folded."""
    stated = [*pairs(metadata), *([("title", title)] if title and isinstance(title, str) else [])]  # no damaged one
    return {(key, padded(value) if key == "date" else value.casefold()) for key, value in stated}


def fill(database: sqlite3.Connection) -> None:
    """Make all facts anew from the documents."""
    database.execute("DELETE FROM facts")
    rows = database.execute("SELECT key, title, metadata FROM documents").fetchall()
    facts = ((key, *fact) for key, title, metadata in rows for fact in sorted(facts_of(title, metadata)))
    database.executemany("INSERT INTO facts VALUES (?, ?, ?)", facts)


def unlike(database: sqlite3.Connection) -> Iterator[int]:
    """Yield the keys of documents whose facts are not what their rows say."""
    held: dict[int, set[tuple[str, str]]] = {}
    for document, key, value in database.execute("SELECT document, key, value FROM facts"):
        held.setdefault(document, set()).add((key, value))
    for document, title, metadata in database.execute("SELECT key, title, metadata FROM documents"):
        if held.pop(document, set()) != facts_of(title, metadata):
            yield document
    yield from held


def sealed(database: sqlite3.Connection) -> bool:
    """Return whether ``meta`` is what was written; the counters that change with every transaction are left out."""
    rows = database.execute("SELECT value FROM meta WHERE name = 'seal'").fetchone()
    return rows is not None and rows[0] == _seal(database)


def seal(database: sqlite3.Connection) -> None:
    """Put the checksum of ``meta`` into it."""
    database.execute("INSERT OR REPLACE INTO meta VALUES ('seal', ?)", (_seal(database),))


def _seal(database: sqlite3.Connection) -> str:
    rows = database.execute("SELECT name, value FROM meta WHERE name NOT IN ('generation', 'seal') ORDER BY name")
    return str(checksum(*(value for row in rows for value in row)))
