"""The local store: SQLite is the truth, FAISS a cache that can always be rebuilt from it."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonplace.errors import CollectionError
from commonplace.store.base import Entry, Offset, Prepare, Questions, RankedList
from commonplace.store.database import Database, one_machine
from commonplace.store.filter_cache import FilterCache
from commonplace.store.fused import KINDS, fuse, question_of
from commonplace.store.index_view import IndexView
from commonplace.store.maintenance import LocalMaintenance
from commonplace.store.opening import ready
from commonplace.store.options import DEFAULT, StoreOptions
from commonplace.store.partitions import Partitions
from commonplace.store.rows import (
    DOCUMENT,
    condition_of,
    document_of,
    from_sql,
    printable,
    row_of_document,
    text_of,
    to_sql,
)
from commonplace.store.schema import checksum
from commonplace.store.segment import question_words
from commonplace.store.transaction import transaction
from commonplace.store.vector_index import Settings, VectorIndex, check_space, now
from commonplace.store.vectors import vectors_of
from commonplace.store.words import search_words
from commonplace.store.writing import check_vectors, delete, put, put_document, sweep
from commonplace.types import Document, Filter, Item, ParsedDocument, Span, Status, ViewVectors

__all__ = ["LocalStore"]

log = logging.getLogger("commonplace")

LABELS = (
    "CREATE TABLE IF NOT EXISTS labels (text TEXT NOT NULL, image TEXT NOT NULL, item TEXT NOT NULL, "
    "good INTEGER NOT NULL, PRIMARY KEY (text, image, item))"
)
CHUNK = 500  # values in one IN (...) list
WORDS_MERGED = 100_000
"""Items up to which a removal merges the word index at once, so that no removed word stays on disk; with more it would
take seconds, and `vacuum` does it."""


class LocalStore:
    """One folder: ``collection.db`` (SQLite, WAL) and snapshots below ``index/``, which can always be made anew.

    Safe for threads; many processes may read beside one writer. ``prepare`` makes the rows that are searched from raw
    vectors, ``state`` names the version of the ranking state it stands for; ``offset`` is the shorter form for raw rows
    with offsets. ``questions`` gives real question vectors to measure recall with: without them no index but an exact
    one is used; with them the one that reaches ``recall`` of the exact best ten. ``model`` is the folder of the model,
    kept for the next opening; empty for the one that is shipped.

    Raises VersionError and ModelMismatch where the folder was made by a newer version or for another space; with
    ``fingerprint`` None the space is whichever it is, for what needs no vectors.
    """

    def __init__(
        self,
        folder: Path,
        *,
        space: str,
        fingerprint: str | None,
        dim: int,
        model: str = "",
        offset: Offset = lambda partition, vectors: None,
        means: Mapping[str, NDArray[np.float32]] | None = None,
        prepare: Prepare | None = None,
        state: str = "",
        questions: Questions = lambda partition, offset: None,
        recall: float = 0.99,
        options: StoreOptions = DEFAULT,
    ) -> None:
        self._dim = dim
        self._means = means or {}
        self._folder = folder
        self._lock = threading.RLock()
        self._counted: dict[str, tuple[str, int, int]] = {}  # lineage, generation, rows; by table
        self._fused: tuple[str, int, str, IndexView] | None = None  # lineage, generation, name
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise CollectionError(
                f"the collection folder {folder} cannot be used ({problem.strerror}): choose another with --collection"
            ) from problem
        one_machine(folder)
        self._database = Database(folder / "collection.db")
        self._selections = FilterCache(self._database)
        self._settings = Settings(
            self._database,
            folder,
            dim,
            prepare or (lambda partition, vectors: (vectors, offset(partition, vectors))),
            state,
            questions,
            recall,
            fingerprint,
            options,
        )
        self._partitions = Partitions(self._settings)
        self.maintenance = LocalMaintenance(self._settings, self._partitions, space, model, self._forget)
        ready(self._settings, space, model)

    def _write(self) -> AbstractContextManager[sqlite3.Connection]:
        return transaction(self._settings)

    def close(self) -> None:
        """Close the store; any use afterwards raises CollectionError."""
        with self._lock:
            self._fused = None
        self._selections.forget()
        self._partitions.close()
        self._database.close()

    # --- writing ---------------------------------------------------------------------------------------------

    def add(
        self, parsed: Sequence[ParsedDocument], vectors: Sequence[ViewVectors], instead: Sequence[str] = ()
    ) -> None:
        """Put whole documents with their items' vectors, in one transaction, replacing earlier versions of them.

        ``instead`` names further documents to remove in the same transaction: those that were moved. Raises
        CollectionError, and puts nothing, where a vector has the wrong length or is not numbers.
        """
        for rows in vectors:
            check_vectors(rows, parsed, self._dim)
        with self._write() as database:
            gone = delete(database, [*instead, *(reading.document.id for reading in parsed)])
            put(database, parsed, vectors, gone)
            sweep(database, gone)

    def note(self, documents: Sequence[Document]) -> None:
        """Update what is known of documents (stamp, status, error) and keep their items; new ones are put bare."""
        with self._write() as database:
            for document in documents:
                row = database.execute(f"SELECT {DOCUMENT} FROM documents d WHERE d.id = ?", (document.id,)).fetchone()
                if row is None:
                    put_document(database, document)
                    continue
                new = replace(document_of(row), stamp=document.stamp, status=document.status, error=document.error)
                values = row_of_document(new)
                database.execute(
                    "UPDATE documents SET stamp = ?, status = ?, error = ?, checksum = ? WHERE id = ?",
                    (new.stamp, new.status, printable(new.error), checksum(*values), new.id),
                )

    def remove(self, ids: Iterable[str]) -> int:
        """Remove the documents with these ids and all that was theirs; return how many there were."""
        with self._write() as database:
            gone = delete(database, list(ids))
            sweep(database, gone)
            # The word index keeps deleted words on disk until its segments are merged.
            if gone.documents and _few(database, "items", WORDS_MERGED):
                database.execute("INSERT INTO lexicon (lexicon) VALUES ('optimize')")
        if gone.documents:
            self.maintenance.checkpoint()
        return gone.documents

    def _forget(self) -> None:
        """Let go of everything derived from the database."""
        self._selections.forget()
        with self._lock:
            self._fused = None
        self._partitions.forget()

    # --- reading ---------------------------------------------------------------------------------------------

    def known(self, partition: str, views: Sequence[str]) -> Mapping[str, NDArray[np.float32]]:
        """Return the vectors already held for these view hashes."""
        with self._database.snapshot() as database:
            check_space(database, self._settings)
            return self._known("vectors", self._dim, partition, views)

    def _known(self, table: str, dim: int, partition: str, views: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        question = f"SELECT view, vector, checksum FROM {table} WHERE partition = ? AND view IN (%s)"
        rows = list(self._rows(question, views, (partition,)))
        found, bad = vectors_of([row[1] for row in rows], [row[2] for row in rows], dim)
        damaged = set(bad.tolist())
        return {row[0]: vector for n, (row, vector) in enumerate(zip(rows, found, strict=True)) if n not in damaged}

    def documents(
        self,
        *,
        ids: Sequence[str] | None = None,
        below: str | None = None,
        content_hash: str | None = None,
        status: Status | None = None,
    ) -> list[Document]:
        """Return documents by path: those with these ids, at or below this path, with this content, of this status.

        Conditions add up; without any, all documents.
        """
        conditions: list[str] = []
        values: list[Any] = []
        if below is not None:
            folder = below.rstrip(os.sep) + os.sep
            # A range of the index on paths; the character after the separator ends it.
            conditions.append("(d.path = ? OR (d.path >= ? AND d.path < ?))")
            values += [to_sql(below), to_sql(folder), to_sql(folder[:-1] + chr(ord(os.sep) + 1))]
        for column, value in (("content_hash", content_hash), ("status", status)):
            if value is not None:
                conditions.append(f"d.{column} = ?")
                values.append(value)
        if ids is not None:
            conditions.append("d.id IN (SELECT value FROM json_each(?))")
            values.append(json.dumps(list(ids)))
        where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
        rows = self._database.all(f"SELECT {DOCUMENT} FROM documents d {where}ORDER BY d.path, d.id", tuple(values))
        return [document_of(row) for row in rows]

    def document(self, id_: str) -> Document | None:
        """Return the document with this id."""
        rows = self._database.all(f"SELECT {DOCUMENT} FROM documents d WHERE d.id = ?", (id_,))
        return document_of(rows[0]) if rows else None

    def pictures(self, ids: Iterable[str]) -> list[str]:
        """Return the content hashes of the pictures that these documents show, and no other document does."""
        own = set(ids)
        shows = "SELECT i.picture, d.id FROM items i JOIN documents d ON i.document = d.key WHERE i.picture IS NOT NULL"
        mine = {picture for picture, _ in self._rows(f"{shows} AND d.id IN (%s)", sorted(own))}
        shared = {
            one for one, document in self._rows(f"{shows} AND i.picture IN (%s)", sorted(mine)) if document not in own
        }
        return sorted(mine - shared)

    def with_content(self, content_hash: str) -> list[Document]:
        """Return the documents whose bytes have this hash."""
        rows = self._database.all(f"SELECT {DOCUMENT} FROM documents d WHERE d.content_hash = ?", (content_hash,))
        return [document_of(row) for row in rows]

    def setting(self, name: str) -> str | None:
        """Return what :meth:`set_setting` kept with the collection under this name."""
        rows = self._database.all("SELECT value FROM meta WHERE name = ?", (f"setting:{name}",))
        return str(rows[0][0]) if rows else None

    def set_setting(self, name: str, value: str | None) -> None:
        """Keep a text with the collection, for as long as it is searched with this model; None forgets it."""
        with self._database.write() as database:
            check_space(database, self._settings)
            database.execute("DELETE FROM meta WHERE name = ?", (f"setting:{name}",))
            if value is not None:
                database.execute("INSERT INTO meta VALUES (?, ?)", (f"setting:{name}", value))

    def item(self, id_: str) -> Item | None:
        """Return the item with this id."""
        keys = [key for (key,) in self._database.all("SELECT key FROM items WHERE id = ?", (id_,))]
        return next((entry.item for entry in self.entries(keys).values()), None)

    def items(self, document: str) -> list[Item]:
        """Return the items of the document with this id, in reading order."""
        question = "SELECT i.key FROM items i JOIN documents d ON i.document = d.key WHERE d.id = ? ORDER BY i.key"
        keys = [key for (key,) in self._database.all(question, (document,))]
        found = self.entries(keys)
        return [found[key].item for key in keys if key in found]

    def label(self, text: str, image: str, item: str, good: bool) -> None:
        """Keep whether an item answers a question (words, path of a picture; empty where absent)."""
        with self._database.write() as database:
            database.execute(LABELS)
            database.execute(
                "INSERT OR REPLACE INTO labels VALUES (?, ?, ?, ?)", (text, to_sql(image), item, int(good))
            )

    def labels(self) -> list[tuple[str, str, str, bool]]:
        """Return what :meth:`label` kept of items that are still there."""
        if not self._database.all("SELECT 1 FROM sqlite_master WHERE name = 'labels'"):
            return []
        rows = self._database.all(
            "SELECT l.text, l.image, l.item, l.good FROM labels l JOIN items i ON i.id = l.item ORDER BY l.rowid"
        )
        return [(text, from_sql(image), item, bool(good)) for text, image, item, good in rows]

    def counts(self) -> dict[str, dict[str, int]]:
        """Return how many documents (by status), items (by modality) and vectors (by partition) there are."""
        questions = {
            "documents": "SELECT status, count(*) FROM documents GROUP BY status",
            "items": "SELECT modality, count(*) FROM items GROUP BY modality",
            "vectors": "SELECT partition, count(*) FROM views GROUP BY partition",
        }
        return {
            name: {text_of(kind): count for kind, count in self._database.all(question)}
            for name, question in questions.items()
        }

    def made_with(self) -> str:
        """Return the name of the model whose vectors the collection is searched with."""
        return str(self._database.all("SELECT value FROM meta WHERE name = 'space'")[0][0])

    def views(self, keys: Sequence[int]) -> dict[int, tuple[str, frozenset[str]]]:
        """Return ids and partitions by key; see :class:`commonplace.store.Store`."""
        question = (
            "SELECT i.key, i.id, i.text <> '', group_concat(v.partition, char(31)) FROM items i "
            "LEFT JOIN views v ON v.item = i.key WHERE i.key IN (%s) GROUP BY i.key"
        )
        return {
            key: (id_, frozenset([*(own.split("\x1f") if own else ()), *(("lexical",) if words else ())]))
            for key, id_, words, own in self._rows(question, [int(key) for key in keys])
        }

    def entries(self, keys: Sequence[int]) -> dict[int, Entry]:
        """Return the items with these keys; a key that is gone is absent."""
        wanted = [int(key) for key in keys]
        partitions: dict[int, set[str]] = {}
        strange: set[int] = set()
        question = "SELECT checksum, item, partition, view FROM views WHERE item IN (%s)"
        for expected, key, partition, view in self._rows(question, wanted):
            partitions.setdefault(key, set()).add(partition)
            if checksum(key, partition, view) != expected:
                strange.add(key)
        found: dict[int, Entry] = {}
        rows = self._rows(
            "SELECT i.key, i.id, i.document, i.modality, i.span, i.text, i.title, i.picture, i.checksum, d.checksum, "
            + DOCUMENT
            + " FROM items i JOIN documents d ON i.document = d.key WHERE i.key IN (%s)",
            wanted,
        )
        for key, id_, owner, modality, span, text, title, picture, own_sum, document_sum, *document in rows:
            item_sum = checksum(id_, owner, modality, span, text, title, picture)
            if (item_sum, checksum(*document)) != (own_sum, document_sum) or key in strange:
                log.warning("item %s is damaged and left out: run `commonplace doctor`", id_)
                continue
            item = Item(id_, document_of(document), modality, Span.from_dict(json.loads(span)), text, title, picture)
            own = partitions.get(key, set())
            found[key] = Entry(item, frozenset(own | {"lexical"} if text else own))
        return found

    def thumbnail(self, picture: str) -> bytes | None:
        """Return the JPEG of the picture with this content hash."""
        question = "SELECT checksum, thumbnail, width, height FROM pictures WHERE hash = ?"
        for expected, *values in self._database.all(question, (picture,)):
            if checksum(*values) == expected:
                return bytes(values[0])
            log.warning("the thumbnail of picture %s is damaged: run `commonplace doctor`", picture)
        return None

    def _rows(self, question: str, values: Sequence[Any], before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        """Run a question with one ``IN (%s)`` list, in pieces that every SQLite takes."""
        for i in range(0, len(values), CHUNK):
            piece = values[i : i + CHUNK]
            yield from self._database.all(question % ",".join("?" * len(piece)), (*before, *piece))

    # --- searching -------------------------------------------------------------------------------------------

    def search(
        self, partition: str, query: NDArray[np.float32], k: int, where: Filter, *, offset: bool = False
    ) -> RankedList:
        """Return the ``k`` items of ``partition`` whose best view has the highest inner product with ``query``."""
        return self._partition(partition).search(query, k, self._selections.of(where), cross_modal=offset)

    def search_fused(self, query: NDArray[np.float32], k: int, where: Filter, alpha: float | None) -> RankedList:
        """Return the ``k`` best items over one early-fused vector each; see :class:`commonplace.store.Store`."""
        name, query = question_of(query, alpha)
        return self._fused_index(name, alpha).search(query, k, self._selections.of(where))

    def score(
        self, partition: str, query: NDArray[np.float32], keys: NDArray[np.int64], *, offset: bool = False
    ) -> NDArray[np.float64]:
        """Return the scores (n,) that :meth:`search` would give these items (sorted keys), NaN without such a view."""
        return self._partition(partition).score(query, keys, cross_modal=offset)

    def score_fused(
        self, query: NDArray[np.float32], keys: NDArray[np.int64], *, alpha: float | None
    ) -> NDArray[np.float64]:
        """Return the scores (n,) that :meth:`search_fused` would give these items (sorted keys)."""
        name, query = question_of(query, alpha)
        return self._fused_index(name, alpha).score(query, keys)

    def gather(self, partition: str, keys: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return one vector (n, dim) for each item: its first view in the partition, zeros where it has none."""
        return self._partition(partition).gather(keys)

    def size(self, where: Filter | None = None) -> int:
        """Return how many items ``where`` allows (default: all)."""
        allowed = self._selections.of(where or Filter())
        return self._total("items", "key") if allowed is None else len(allowed.keys)

    def search_words(self, question: str, k: int, where: Filter) -> RankedList:
        """Return the ``k`` items with the highest BM25 score (k1 = 1.2, b = .75) for any word of ``question``."""
        words = question_words(question)
        if not words:
            return RankedList(np.empty(0, np.int64), np.empty(0, np.float32))
        condition, values = condition_of(where)
        with self._database.snapshot() as database:
            total = self._total("lexicon_docsize", "*")
            return search_words(database, words, k, condition, values, total)

    def _total(self, table: str, column: str) -> int:
        """Return how many rows a table has: counted once a generation, as a million takes milliseconds."""
        with self._lock, self._database.snapshot() as database:
            here = now(database)
            if self._counted.get(table, ("", 0, 0))[:2] != here:
                ((count,),) = database.execute(f"SELECT count({column}) FROM {table}")
                self._counted[table] = (*here, count)
            return self._counted[table][2]

    def _partition(self, name: str) -> VectorIndex:
        return self._partitions[name]

    def _fused_index(self, name: str, alpha: float | None) -> IndexView:
        """Return the index of views fused early: in memory, the last weight alone, built anew after a change."""
        with self._lock, self._database.snapshot() as database:
            check_space(database, self._settings)
            lineage, generation = now(database)
            if self._fused is None or self._fused[:3] != (lineage, generation, name):
                self._fused = None  # before the next one is made: it is a copy of every vector
                views = {kind: self.vectors(kind) for kind in KINDS}
                self._fused = (lineage, generation, name, IndexView(None, *fuse(views, self._means, alpha)))
            return self._fused[3]

    def vectors(self, partition: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the item keys (n,) and vectors (n, dim) of a partition, in the order of the keys."""
        return self._partitions.stored(partition)


def _few(database: sqlite3.Connection, table: str, most: int) -> bool:
    """Return whether a table has at most so many rows, without counting them all."""
    return database.execute(f"SELECT 1 FROM {table} LIMIT 1 OFFSET ?", (most,)).fetchone() is None
