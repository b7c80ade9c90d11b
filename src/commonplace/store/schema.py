"""The tables of a collection, by version, and the checksum that each row carries."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

__all__ = [
    "LEXICON",
    "SCHEMA",
    "SCHEMA_VERSION",
    "UPGRADES",
    "checksum",
    "facts_of",
    "fill",
    "metadata_of",
    "number",
    "padded",
    "pairs",
    "seal",
    "sealed",
    "unlike",
]

SCHEMA_VERSION = 5
SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE documents (
    key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, uri TEXT NOT NULL, path TEXT NOT NULL,
    media_type TEXT NOT NULL, content_hash TEXT NOT NULL, title TEXT, status TEXT NOT NULL, error TEXT,
    stamp TEXT NOT NULL, items INTEGER NOT NULL, metadata TEXT NOT NULL DEFAULT '[]', checksum INTEGER NOT NULL);
CREATE INDEX documents_path ON documents (path, id);
CREATE INDEX documents_content ON documents (content_hash);
CREATE TABLE items (
    key INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,  -- never used again: a search may hold it
    document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
    modality TEXT NOT NULL, span TEXT NOT NULL, text TEXT, title TEXT, picture TEXT,
    checksum INTEGER NOT NULL);
CREATE INDEX items_document ON items (document, modality);
CREATE INDEX items_modality ON items (modality);
CREATE INDEX items_picture ON items (picture) WHERE picture IS NOT NULL;
CREATE TABLE removed (  -- by which indexes follow
    key INTEGER PRIMARY KEY AUTOINCREMENT, item INTEGER NOT NULL);
CREATE TABLE views (
    item INTEGER NOT NULL REFERENCES items ON DELETE CASCADE, partition TEXT NOT NULL, view TEXT NOT NULL,
    checksum INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (item, partition, view)) WITHOUT ROWID;
CREATE INDEX views_view ON views (partition, view);
CREATE TABLE vectors (
    partition TEXT NOT NULL, view TEXT NOT NULL, vector BLOB NOT NULL, checksum INTEGER NOT NULL,
    PRIMARY KEY (partition, view));
CREATE TABLE pictures (
    hash TEXT PRIMARY KEY, thumbnail BLOB NOT NULL, width INTEGER, height INTEGER, checksum INTEGER NOT NULL);
"""
SHADOW = """
CREATE TABLE beside_views (  -- of the space that the collection is being migrated to, or was migrated from
    item INTEGER NOT NULL REFERENCES items ON DELETE CASCADE, partition TEXT NOT NULL, view TEXT NOT NULL,
    checksum INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (item, partition, view)) WITHOUT ROWID;
CREATE INDEX beside_views_view ON beside_views (partition, view);
CREATE TABLE beside_vectors (
    partition TEXT NOT NULL, view TEXT NOT NULL, vector BLOB NOT NULL, checksum INTEGER NOT NULL,
    PRIMARY KEY (partition, view));
"""
FACTS = """
CREATE TABLE facts (  -- metadata and title as filters ask for them: made of the documents, and can be made anew
    document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE, key TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (document, key, value)) WITHOUT ROWID;
"""
SCHEMA += SHADOW + FACTS
LEXICON = """CREATE VIRTUAL TABLE {} USING fts5 (
    words, content='', tokenize="porter unicode61 remove_diacritics 2 categories 'L* N* Co Mn Mc'")"""
"""Full text over words that :func:`commonplace.text.index_words` made; the text itself stands in items."""

UPGRADES = {
    1: """
ALTER TABLE documents ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
ALTER TABLE items ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
ALTER TABLE vectors ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
ALTER TABLE pictures ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
DROP INDEX items_document;
DROP INDEX items_picture;
CREATE INDEX items_document ON items (document, modality);
CREATE INDEX items_modality ON items (modality);
CREATE INDEX items_picture ON items (picture) WHERE picture IS NOT NULL;
CREATE TABLE removed (key INTEGER PRIMARY KEY AUTOINCREMENT, item INTEGER NOT NULL);
INSERT INTO meta VALUES ('lineage', lower(hex(randomblob(10))));
UPDATE documents SET checksum =
    checksum_of(id, uri, path, media_type, content_hash, title, status, error, stamp, items);
UPDATE items SET checksum = checksum_of(id, document, modality, span, text, title, picture);
UPDATE vectors SET checksum = checksum_of_vector(vector);
UPDATE pictures SET checksum = checksum_of(thumbnail, width, height);
""",
    2: """
ALTER TABLE views ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
UPDATE views SET checksum = checksum_of(item, partition, view);
"""
    + SHADOW.lstrip(),
    3: """
ALTER TABLE documents ADD COLUMN metadata TEXT NOT NULL DEFAULT '[]';
UPDATE documents SET metadata = metadata_of(stamp), checksum = CASE checksum  -- a damaged row stays one
    WHEN checksum_of(id, uri, path, media_type, content_hash, title, status, error, stamp, items)
    THEN checksum_of(id, uri, path, media_type, content_hash, title, status, error, stamp, items, metadata_of(stamp))
    ELSE checksum END;
"""
    + FACTS.lstrip(),
    4: "",  # vectors may be float16: an older program would take them for damaged
}
"""What makes a collection of each older schema one of the next; :func:`fill` then fills the facts."""


def checksum(*values: Any) -> int:
    """Return the CRC of the values of a row, text, bytes, numbers and None, as SQLite gives them back."""
    return zlib.crc32(repr(values).encode("utf-8", "surrogatepass"))


def number(noted: object) -> int | None:
    """Return a number (0 or more) that ``meta`` holds as text; None where that is damaged."""
    text = str(noted)
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def pairs(metadata: str) -> tuple[tuple[str, str], ...]:
    """Return the metadata that a row holds; none where that is damaged: its checksum tells."""
    with suppress(ValueError, TypeError):
        return tuple((str(key), str(value)) for key, value in json.loads(metadata))
    return ()


def metadata_of(stamp: str) -> str:
    """Return what a document of the third schema is known by without reading it again: its file's own date."""
    with suppress(ValueError, TypeError, LookupError, OverflowError, OSError, RecursionError):
        date = datetime.fromtimestamp(json.loads(stamp)[0][2] // 1_000_000_000).isoformat()
        return json.dumps([["date", date], ["dated", "file"]])
    return "[]"


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
