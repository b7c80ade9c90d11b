"""The tables of a collection, by version, and the checksum that each row carries."""

from __future__ import annotations

import sqlite3
import zlib
from typing import Any

__all__ = ["LEXICON", "SCHEMA", "SCHEMA_VERSION", "UPGRADES", "checksum", "seal", "sealed"]

SCHEMA_VERSION = 3
SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE documents (
    key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, uri TEXT NOT NULL, path TEXT NOT NULL,
    media_type TEXT NOT NULL, content_hash TEXT NOT NULL, title TEXT, status TEXT NOT NULL, error TEXT,
    stamp TEXT NOT NULL, items INTEGER NOT NULL, checksum INTEGER NOT NULL);
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
BESIDE = """
CREATE TABLE beside_views (  -- of the space that the collection is being migrated to, or was migrated from
    item INTEGER NOT NULL REFERENCES items ON DELETE CASCADE, partition TEXT NOT NULL, view TEXT NOT NULL,
    checksum INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (item, partition, view)) WITHOUT ROWID;
CREATE INDEX beside_views_view ON beside_views (partition, view);
CREATE TABLE beside_vectors (
    partition TEXT NOT NULL, view TEXT NOT NULL, vector BLOB NOT NULL, checksum INTEGER NOT NULL,
    PRIMARY KEY (partition, view));
"""
SCHEMA += BESIDE
LEXICON = """CREATE VIRTUAL TABLE {} USING fts5 (
    words, content='', tokenize="porter unicode61 remove_diacritics 2 categories 'L* N* Co Mn Mc'")"""
"""Full text over words that :func:`commonplace.store.segment.index_words` made; the text itself stands in items."""

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
    + BESIDE.lstrip(),
}
"""What makes a collection of each older schema one of the next."""


def checksum(*values: Any) -> int:
    """Return the CRC of the values of a row, text, bytes, numbers and None, as SQLite gives them back."""
    return zlib.crc32(repr(values).encode("utf-8", "surrogatepass"))


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
