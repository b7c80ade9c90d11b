"""The local store: SQLite is the truth, FAISS a cache that can always be rebuilt from it."""

from __future__ import annotations

import json
import math
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonplace.errors import CollectionError, ModelMismatch, VersionError
from commonplace.store.base import Entry, Offset, Ranked
from commonplace.store.database import Database
from commonplace.store.index import Index
from commonplace.store.segment import index_words, question_words
from commonplace.types import Document, Filter, Item, Reading, Span, ViewVectors, text_view

__all__ = ["LocalStore"]

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE documents (
    key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, uri TEXT NOT NULL, path TEXT NOT NULL,
    media_type TEXT NOT NULL, content_hash TEXT NOT NULL, title TEXT, status TEXT NOT NULL, error TEXT,
    stamp TEXT NOT NULL, items INTEGER NOT NULL);
CREATE TABLE items (
    key INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,  -- never used again: a search may hold it
    document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
    modality TEXT NOT NULL, span TEXT NOT NULL, text TEXT, title TEXT, picture TEXT);
CREATE INDEX items_document ON items (document);
CREATE INDEX items_picture ON items (picture);
CREATE TABLE views (
    item INTEGER NOT NULL REFERENCES items ON DELETE CASCADE, partition TEXT NOT NULL, view TEXT NOT NULL,
    PRIMARY KEY (item, partition, view)) WITHOUT ROWID;
CREATE INDEX views_view ON views (partition, view);
CREATE TABLE vectors (
    partition TEXT NOT NULL, view TEXT NOT NULL, vector BLOB NOT NULL, PRIMARY KEY (partition, view));
CREATE TABLE pictures (hash TEXT PRIMARY KEY, thumbnail BLOB NOT NULL, width INTEGER, height INTEGER);
CREATE VIRTUAL TABLE lexicon USING fts5 (
    words, content='', tokenize="porter unicode61 remove_diacritics 2 categories 'L* N* Co Mn Mc'");
"""
LABELS = (
    "CREATE TABLE IF NOT EXISTS labels (text TEXT NOT NULL, image TEXT NOT NULL, item TEXT NOT NULL, "
    "good INTEGER NOT NULL, PRIMARY KEY (text, image, item))"
)
CHUNK = 500  # values in one IN (...) list
SHRINK = 50  # vectors that the model's own mean counts as, beside a collection's


class LocalStore:
    """One folder: ``collection.db`` (SQLite, WAL). Safe for threads; many processes may read beside one writer.

    Raises VersionError and ModelMismatch where the folder was made by a newer version or for another space.
    """

    def __init__(
        self,
        folder: Path,
        *,
        space: str,
        fingerprint: str,
        dim: int,
        offset: Offset = lambda partition, vectors: None,
        means: Mapping[str, NDArray[np.float32]] | None = None,
    ) -> None:
        self._dim = dim
        self._offset = offset
        self._means = means or {}
        self._lock = threading.RLock()
        self._indexes: dict[str, Index] = {}
        self._seen = ""  # the generation of the collection that the indexes were built from
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise CollectionError(
                f"the collection folder {folder} cannot be used ({problem.strerror}): choose another with --collection"
            ) from problem
        self._database = Database(folder / "collection.db")
        self._prepare(folder, space, fingerprint)

    def _prepare(self, folder: Path, space: str, fingerprint: str) -> None:
        """Make the tables where there are none; refuse what another version, model or program made."""
        version = self._version()
        if version == 0:
            with self._database.write() as database:
                if self._version() == 0:  # nobody else was faster
                    for statement in SCHEMA.split(";\n"):
                        database.execute(statement)
                    database.executemany(
                        "INSERT INTO meta VALUES (?, ?)",
                        [("space", space), ("fingerprint", fingerprint), ("generation", "0")],
                    )
                    database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            version = self._version()
        if version > SCHEMA_VERSION:
            raise VersionError(
                f"the collection at {folder} was made by a newer Commonplace (its schema is {version}, "
                f"this one reads {SCHEMA_VERSION}): upgrade with pip install --upgrade commonplace"
            )
        made = dict(self._database.all("SELECT name, value FROM meta"))
        if made.get("fingerprint") != fingerprint:
            raise ModelMismatch(
                f"the collection at {folder} was made with the model {made.get('space')} "
                f"({made.get('fingerprint')}), not {space} ({fingerprint}): open it with that model, or add the files "
                "to a new collection"
            )

    def _version(self) -> int:
        ((version,),) = self._database.all("PRAGMA user_version")
        if version == 0 and self._database.all("SELECT 1 FROM sqlite_master LIMIT 1"):
            raise CollectionError(
                f"{self._database.path} is another program's database: choose another folder with --collection"
            )
        return int(version)

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        """One writing transaction; every process learns from the new generation that its indexes are out of date."""
        with self._database.write() as database:
            yield database
            database.execute("UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE name = 'generation'")

    def close(self) -> None:
        """Close the store; any use afterwards raises CollectionError."""
        self._database.close()
        with self._lock:
            self._indexes.clear()

    # --- writing ---------------------------------------------------------------------------------------------

    def add(self, readings: Sequence[Reading], vectors: Sequence[ViewVectors], instead: Sequence[str] = ()) -> None:
        """Put whole documents with their items' vectors, in one transaction, replacing earlier versions of them.

        ``instead`` names further documents to remove in the same transaction: those that were moved.
        """
        with self._write() as database:
            old = self._delete(database, [*instead, *(reading.document.id for reading in readings)])
            keys: dict[str, int] = {}
            for reading in readings:
                document = self._put_document(database, reading.document)
                for name, picture in reading.pictures.items():
                    database.execute(
                        "INSERT OR IGNORE INTO pictures VALUES (?, ?, ?, ?)",
                        (name, picture.thumbnail, picture.width, picture.height),
                    )
                for item in reading.items:
                    keys[item.id] = self._put_item(database, document, item)
            for rows in vectors:
                self._check(rows)
                database.executemany(
                    "INSERT OR IGNORE INTO vectors VALUES (?, ?, ?)",
                    (
                        (rows.partition, view, vector.astype("<f4").tobytes())
                        for view, vector in zip(rows.views, rows.vectors, strict=True)
                    ),
                )
                database.executemany(
                    "INSERT OR IGNORE INTO views VALUES (?, ?, ?)",
                    ((keys[item], rows.partition, view) for item, view in zip(rows.item_ids, rows.views, strict=True)),
                )
            self._sweep(database, old)

    def _check(self, rows: ViewVectors) -> None:
        if rows.vectors.shape != (len(rows.item_ids), self._dim):
            raise CollectionError(
                f"vectors of shape {rows.vectors.shape} do not fit {len(rows.item_ids)} items of {self._dim} "
                "dimensions: the model is not the one that the collection was made with"
            )
        if not np.isfinite(rows.vectors).all():
            raise CollectionError(f"the model gave vectors that are not numbers ({rows.partition}): nothing was stored")

    @staticmethod
    def _put_document(database: sqlite3.Connection, document: Document) -> int:
        values = (
            document.id,
            document.uri,
            _to_sql(document.path),
            document.media_type,
            document.content_hash,
            _printable(document.title),
            document.status,
            _printable(document.error),
            document.stamp,
            document.items,
        )
        marks = ", ".join("?" * len(values))
        return int(database.execute(f"INSERT INTO documents VALUES (NULL, {marks})", values).lastrowid or 0)

    @staticmethod
    def _put_item(database: sqlite3.Connection, document: int, item: Item) -> int:
        span = json.dumps(item.span.dict(), separators=(",", ":"))
        values = (
            item.id,
            document,
            item.modality,
            span,
            _printable(item.text),
            _printable(item.title),
            item.picture,
        )
        key = int(database.execute("INSERT INTO items VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)", values).lastrowid or 0)
        view = text_view(item.text, item.title)
        if view is not None:
            database.execute("INSERT INTO lexicon (rowid, words) VALUES (?, ?)", (key, index_words(view)))
        return key

    def note(self, documents: Sequence[Document]) -> None:
        """Update what is known of documents (stamp, status, error) and keep their items; new ones are put bare."""
        with self._write() as database:
            for document in documents:
                changed = database.execute(
                    "UPDATE documents SET stamp = ?, status = ?, error = ? WHERE id = ?",
                    (document.stamp, document.status, _printable(document.error), document.id),
                ).rowcount
                if not changed:
                    self._put_document(database, document)

    def remove(self, ids: Iterable[str]) -> int:
        """Remove the documents with these ids and all that was theirs; return how many there were."""
        with self._write() as database:
            old = self._delete(database, list(ids))
            self._sweep(database, old)
            if old.documents:  # the word index keeps deleted words on disk until its segments are merged
                database.execute("INSERT INTO lexicon (lexicon) VALUES ('optimize')")
        if old.documents:
            self.checkpoint()
        return old.documents

    def checkpoint(self) -> None:
        """Move what was committed from SQLite's log into its file, and empty the log."""
        self._database.all("PRAGMA wal_checkpoint(TRUNCATE)")

    @staticmethod
    def _delete(database: sqlite3.Connection, ids: Sequence[str]) -> _Gone:
        """Delete documents, their items and words; return what may now belong to nobody, for :meth:`_sweep`."""
        gone = _Gone()
        for id_ in ids:
            rows = database.execute(
                "SELECT i.key, i.text, i.title, i.picture FROM items i JOIN documents d ON i.document = d.key "
                "WHERE d.id = ?",
                (id_,),
            ).fetchall()
            for key, text, title, picture in rows:
                gone.views.update(database.execute("SELECT partition, view FROM views WHERE item = ?", (key,)))
                if picture:
                    gone.pictures.add(picture)
                view = text_view(text, title)
                if view is not None:
                    database.execute(
                        "INSERT INTO lexicon (lexicon, rowid, words) VALUES ('delete', ?, ?)",
                        (key, index_words(view)),
                    )
            gone.documents += database.execute("DELETE FROM documents WHERE id = ?", (id_,)).rowcount
        return gone

    @staticmethod
    def _sweep(database: sqlite3.Connection, gone: _Gone) -> None:
        """Drop the vectors and pictures of deleted items that no other item refers to."""
        database.executemany(
            "DELETE FROM vectors WHERE partition = ?1 AND view = ?2 AND NOT EXISTS "
            "(SELECT 1 FROM views WHERE partition = ?1 AND view = ?2)",
            sorted(gone.views),
        )
        database.executemany(
            "DELETE FROM pictures WHERE hash = ?1 AND NOT EXISTS (SELECT 1 FROM items WHERE picture = ?1)",
            [(picture,) for picture in sorted(gone.pictures)],
        )

    # --- reading ---------------------------------------------------------------------------------------------

    def known(self, partition: str, views: Sequence[str]) -> Mapping[str, NDArray[np.float32]]:
        """Return the vectors already held for these view hashes."""
        rows = self._rows("SELECT view, vector FROM vectors WHERE partition = ? AND view IN (%s)", views, (partition,))
        return {view: np.frombuffer(vector, dtype="<f4").astype(np.float32) for view, vector in rows}

    def documents(self) -> list[Document]:
        """Return all documents, by path."""
        rows = self._database.all(f"SELECT {_DOCUMENT} FROM documents d ORDER BY d.path, d.id")
        return [_document(row) for row in rows]

    def document(self, id_: str) -> Document | None:
        """Return the document with this id."""
        rows = self._database.all(f"SELECT {_DOCUMENT} FROM documents d WHERE d.id = ?", (id_,))
        return _document(rows[0]) if rows else None

    def with_content(self, content_hash: str) -> list[Document]:
        """Return the documents whose bytes have this hash."""
        rows = self._database.all(f"SELECT {_DOCUMENT} FROM documents d WHERE d.content_hash = ?", (content_hash,))
        return [_document(row) for row in rows]

    def setting(self, name: str) -> str | None:
        """Return what :meth:`set_setting` kept with the collection under this name."""
        rows = self._database.all("SELECT value FROM meta WHERE name = ?", (f"setting:{name}",))
        return str(rows[0][0]) if rows else None

    def set_setting(self, name: str, value: str | None) -> None:
        """Keep a text with the collection; None forgets it."""
        with self._database.write() as database:
            database.execute("DELETE FROM meta WHERE name = ?", (f"setting:{name}",))
            if value is not None:
                database.execute("INSERT INTO meta VALUES (?, ?)", (f"setting:{name}", value))

    def holds(self, item: str) -> bool:
        """Return whether there is an item with this id."""
        return bool(self._database.all("SELECT 1 FROM items WHERE id = ?", (item,)))

    def label(self, text: str, image: str, item: str, good: bool) -> None:
        """Keep whether an item answers a question (words, path of a picture; empty where absent)."""
        with self._database.write() as database:
            database.execute(LABELS)
            database.execute(
                "INSERT OR REPLACE INTO labels VALUES (?, ?, ?, ?)", (text, _to_sql(image), item, int(good))
            )

    def labels(self) -> list[tuple[str, str, str, bool]]:
        """Return what :meth:`label` kept of items that are still there."""
        if not self._database.all("SELECT 1 FROM sqlite_master WHERE name = 'labels'"):
            return []
        rows = self._database.all(
            "SELECT l.text, l.image, l.item, l.good FROM labels l JOIN items i ON i.id = l.item ORDER BY l.rowid"
        )
        return [(text, _from_sql(image), item, bool(good)) for text, image, item, good in rows]

    def counts(self) -> dict[str, dict[str, int]]:
        """Return how many documents (by status), items (by modality) and vectors (by partition) there are."""
        questions = {
            "documents": "SELECT status, count(*) FROM documents GROUP BY status",
            "items": "SELECT modality, count(*) FROM items GROUP BY modality",
            "vectors": "SELECT partition, count(*) FROM views GROUP BY partition",
        }
        return {name: dict(self._database.all(question)) for name, question in questions.items()}

    def entries(self, keys: Sequence[int]) -> dict[int, Entry]:
        """Return the items with these keys; a key that is gone is absent."""
        wanted = [int(key) for key in keys]
        partitions: dict[int, set[str]] = {}
        for key, partition in self._rows("SELECT DISTINCT item, partition FROM views WHERE item IN (%s)", wanted):
            partitions.setdefault(key, set()).add(partition)
        found: dict[int, Entry] = {}
        rows = self._rows(
            "SELECT i.key, i.id, i.modality, i.span, i.text, i.title, i.picture, " + _DOCUMENT + " "
            "FROM items i JOIN documents d ON i.document = d.key WHERE i.key IN (%s)",
            wanted,
        )
        for key, id_, modality, span, text, title, picture, *document in rows:
            item = Item(id_, _document(document), modality, Span.from_dict(json.loads(span)), text, title, picture)
            own = partitions.get(key, set())
            found[key] = Entry(item, frozenset(own | {"lexical"} if text else own))
        return found

    def thumbnail(self, picture: str) -> bytes | None:
        """Return the JPEG of the picture with this content hash."""
        rows = self._database.all("SELECT thumbnail FROM pictures WHERE hash = ?", (picture,))
        return bytes(rows[0][0]) if rows else None

    def _rows(self, question: str, values: Sequence[Any], before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        """Run a question with one ``IN (%s)`` list, in pieces that every SQLite takes."""
        for i in range(0, len(values), CHUNK):
            piece = values[i : i + CHUNK]
            yield from self._database.all(question % ",".join("?" * len(piece)), (*before, *piece))

    # --- searching -------------------------------------------------------------------------------------------

    def search(
        self, partition: str, query: NDArray[np.float32], k: int, where: Filter, *, offset: bool = False
    ) -> Ranked:
        """Return the ``k`` items of ``partition`` whose best view has the highest inner product with ``query``."""
        return self._index(partition).search(query, k, self._allowed(where), offset=offset)

    def search_fused(self, query: NDArray[np.float32], k: int, where: Filter, alpha: float | None) -> Ranked:
        """Return the ``k`` best items over one early-fused vector each; see :class:`commonplace.store.Store`."""
        name, query = _fused(query, alpha)
        return self._index(name, alpha).search(query, k, self._allowed(where))

    def score(
        self, partition: str, query: NDArray[np.float32], keys: NDArray[np.int64], *, offset: bool = False
    ) -> NDArray[np.float64]:
        """Return the scores (n,) that :meth:`search` would give these items (sorted keys), NaN without such a view."""
        return self._index(partition).score(query, keys, offset=offset)

    def score_fused(
        self, query: NDArray[np.float32], keys: NDArray[np.int64], *, alpha: float | None
    ) -> NDArray[np.float64]:
        """Return the scores (n,) that :meth:`search_fused` would give these items (sorted keys)."""
        name, query = _fused(query, alpha)
        return self._index(name, alpha).score(query, keys)

    def gather(self, partition: str, keys: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return one vector (n, dim) for each item: its first view in the partition, zeros where it has none."""
        return self._index(partition).gather(keys)

    def size(self, where: Filter | None = None) -> int:
        """Return how many items ``where`` allows (default: all)."""
        condition, values = _condition(where or Filter())
        join = f" JOIN documents d ON d.key = i.document WHERE {condition}" if condition else ""
        ((count,),) = self._database.all(f"SELECT count(*) FROM items i{join}", values)
        return int(count)

    def search_words(self, question: str, k: int, where: Filter) -> Ranked:
        """Return the ``k`` items with the highest BM25 score (k1 = 1.2, b = .75) for any word of ``question``."""
        words = question_words(question)
        if not words:
            return Ranked(np.empty(0, np.int64), np.empty(0, np.float32))
        condition, values = _condition(where)
        join = (
            f"JOIN items i ON i.key = w.rowid JOIN documents d ON d.key = i.document WHERE {condition} AND"
            if condition
            else "WHERE"
        )
        rows = self._database.all(
            f"SELECT w.rowid, bm25(lexicon) AS score FROM lexicon w {join} lexicon MATCH ? "
            "ORDER BY score, w.rowid LIMIT ?",
            (*values, " OR ".join(words), k),
        )
        keys = np.array([row[0] for row in rows], dtype=np.int64)
        scores = np.array([-row[1] for row in rows], dtype=np.float32)
        return Ranked(keys, scores, self._full_match(words))

    def _full_match(self, words: Sequence[str]) -> float:
        """Return the sum of the words' inverse document frequencies as FTS5's BM25 weighs them, each at least 1e-6."""
        ((total,),) = self._database.all("SELECT count(*) FROM lexicon_docsize")
        having = [
            self._database.all("SELECT count(*) FROM lexicon WHERE lexicon MATCH ?", (word,))[0][0] for word in words
        ]
        return math.fsum(max(math.log((total - one + 0.5) / (one + 0.5)), 1e-6) for one in having)

    def _allowed(self, where: Filter) -> NDArray[np.int64] | None:
        condition, values = _condition(where)
        if not condition:
            return None
        rows = self._database.all(
            f"SELECT i.key FROM items i JOIN documents d ON d.key = i.document WHERE {condition} ORDER BY i.key",
            values,
        )
        return np.fromiter((row[0] for row in rows), dtype=np.int64)

    def _index(self, name: str, alpha: float | None = None) -> Index:
        """Return the index of a partition, or of views fused early, built anew where the collection has changed."""
        with self._lock, self._database.snapshot() as database:
            generation = database.execute("SELECT value FROM meta WHERE name = 'generation'").fetchone()[0]
            if generation != self._seen:
                self._indexes.clear()
                self._seen = generation
            if name not in self._indexes:
                if name.startswith("fused:"):
                    for other in [one for one in self._indexes if one.startswith("fused:")]:
                        del self._indexes[other]  # another weight is another copy of every vector
                    self._indexes[name] = Index(*self._fuse(alpha))
                else:
                    keys, vectors = self.vectors(name)
                    self._indexes[name] = Index(keys, vectors, self._offset(name, vectors))
            return self._indexes[name]

    def vectors(self, partition: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the item keys (n,) and vectors (n, dim) of a partition, in the order of the keys."""
        rows = self._database.all(
            "SELECT v.item, w.vector FROM views v JOIN vectors w ON w.partition = v.partition AND w.view = v.view "
            "WHERE v.partition = ? ORDER BY v.item",
            (partition,),
        )
        keys = np.array([row[0] for row in rows], dtype=np.int64)
        vectors = np.frombuffer(b"".join(row[1] for row in rows), dtype="<f4").reshape(-1, self._dim)
        return keys, vectors.astype(np.float32, copy=False)

    def _fuse(self, alpha: float | None) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return one vector an item from its text and image views: the weighted mean, or the two side by side."""
        means = {}
        for partition in ("text", "image"):
            keys, vectors = self.vectors(partition)
            if partition in self._means:  # the gap between kinds would else decide what is near
                vectors = vectors - self._centre(partition, vectors)
            own, first = np.unique(keys, return_index=True)
            sums = np.add.reduceat(vectors, first) if len(own) else vectors
            means[partition] = (own, sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12))
        keys = np.union1d(means["text"][0], means["image"][0])
        views = {}
        present = {}
        for partition, (own, vectors) in means.items():
            at = np.searchsorted(keys, own)
            views[partition] = np.zeros((len(keys), self._dim), dtype=np.float32)
            views[partition][at] = vectors
            present[partition] = np.zeros((len(keys), 1), dtype=bool)
            present[partition][at] = True
        # An absent view is no zero: the other stands in for it, so that an item is not punished for lacking one.
        text = np.where(present["text"], views["text"], views["image"])
        image = np.where(present["image"], views["image"], views["text"])
        if alpha is None:
            return keys, np.hstack([text, image]) * np.float32(np.sqrt(0.5))
        fused = alpha * text + (1 - alpha) * image
        return keys, np.asarray(fused / np.maximum(np.linalg.norm(fused, axis=1, keepdims=True), 1e-12), np.float32)

    def _centre(self, partition: str, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the mean of a partition's vectors, shrunk by count toward the one that the model came with."""
        total = vectors.sum(axis=0) + SHRINK * self._means[partition]
        return np.asarray(total / (len(vectors) + SHRINK), np.float32)


def _fused(query: NDArray[np.float32], alpha: float | None) -> tuple[str, NDArray[np.float32]]:
    """Return the name of the index of vectors fused early, and the query that it is asked with."""
    if alpha is None:
        return "fused:concat", np.concatenate([query, query]) * np.float32(np.sqrt(0.5))
    return f"fused:{alpha:.6f}", query


@dataclass(slots=True)
class _Gone:
    """What a deletion may have left without an owner."""

    documents: int = 0
    views: set[tuple[str, str]] = field(default_factory=set)
    pictures: set[str] = field(default_factory=set)


_DOCUMENT = "d.id, d.uri, d.path, d.media_type, d.content_hash, d.title, d.status, d.error, d.stamp, d.items"


def _document(row: Sequence[Any]) -> Document:
    id_, uri, path, *rest = row
    return Document(id_, uri, _from_sql(path), *rest)


def _condition(where: Filter) -> tuple[str, tuple[Any, ...]]:
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
    return " AND ".join(parts), tuple(_to_sql(value) if isinstance(value, str) else value for value in values)


def _to_sql(path: str) -> str | bytes:
    """Return a path as SQLite can hold it: one whose bytes are not UTF-8 becomes a blob."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return os.fsencode(path)
    return path


def _from_sql(path: str | bytes) -> str:
    return os.fsdecode(path) if isinstance(path, bytes) else path


def _printable(text: str | None) -> str | None:
    """Return ``text`` without lone surrogates, which SQLite cannot hold."""
    return text and text.encode("utf-8", "replace").decode()
