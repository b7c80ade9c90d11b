"""The local store. SQLite holds all data; the index files are a cache that can always be rebuilt from it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from commonplace.errors import CollectionError
from commonplace.i18n import _, system_reason
from commonplace.metadata import FILE_KEYS, MetadataType, differing_types
from commonplace.store import reading
from commonplace.store.base import Capabilities, MetadataTypeError, StoreSpace
from commonplace.store.database import Database, one_machine
from commonplace.store.lexical import merge_words
from commonplace.store.local_search import LocalSearch
from commonplace.store.maintenance import LocalMaintenance
from commonplace.store.opening import ready
from commonplace.store.options import DEFAULT, StoreOptions
from commonplace.store.rows import DOCUMENT, document_of, printable, row_of_document
from commonplace.store.schema import checksum
from commonplace.store.transaction import transaction
from commonplace.store.vector_index import Settings, check_space
from commonplace.store.writing import check_vectors, delete, put, put_document, signatures_of, sweep
from commonplace.types import Document, Filter, Item, ParsedDocument, Status, ViewVectors

__all__ = ["LocalStore"]

MERGED = 100_000
"""Up to this number of items, a removal also merges the word index, so that no removed word stays on disk. With more
items a merge takes seconds, and only ``vacuum`` does it."""


class LocalStore(LocalSearch):
    """A store in one folder: ``collection.db`` (SQLite, WAL), and index files below ``index/`` that can be rebuilt.

    Thread-safe; many processes may read while one writes. Indexes reach a recall@10 of ``recall`` (0 to 1), measured
    with the queries of ``space``. ``options`` decide when index files are written and how they are searched.

    Raises VersionError if the collection has another schema, ModelMismatch if it was made with another model, and
    CollectionError if the folder cannot be used.
    """

    def __init__(
        self, folder: Path, space: StoreSpace, *, recall: float = 0.99, options: StoreOptions = DEFAULT
    ) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise CollectionError(
                _("the collection folder {folder} cannot be used ({reason}): choose another with --collection").format(
                    folder=folder, reason=system_reason(problem)
                )
            ) from problem
        one_machine(folder)
        offset = space.offset
        settings = Settings(
            Database(folder / "collection.db"),
            folder,
            space.dim,
            space.prepare or (lambda partition, vectors: (vectors, offset(partition, vectors))),
            space.state,
            space.questions,
            recall,
            space.fingerprint,
            options,
        )
        super().__init__(settings, space.means)
        self.capabilities = Capabilities(snapshots=True)
        self.maintenance = LocalMaintenance(settings, self._partitions, space.name, space.model, self._forget)
        self._folder = folder
        ready(settings, space.name, space.model)

    def close(self) -> None:
        """Close the store; any use afterwards raises CollectionError."""
        self._filters.forget()
        self._ids.forget()
        self._fused.forget()
        self._partitions.close()
        self._database.close()

    # --- writing ---------------------------------------------------------------------------------------------

    def add(
        self, parsed: Sequence[ParsedDocument], vectors: Sequence[ViewVectors], replaces: Sequence[str] = ()
    ) -> None:
        """Add complete documents with their items' vectors, in one transaction; see ``commonplace.store.Store.add()``.

        Raises CollectionError, and stores nothing, if a vector has the wrong length or contains a value that is not a
        finite number. Raises MetadataTypeError, and stores nothing, if a metadata key would get a second type.
        """
        for rows in vectors:
            check_vectors(rows, parsed, self._settings.dim)
        signatures = signatures_of(parsed)  # before the transaction: others may write meanwhile
        with transaction(self._settings) as database:
            gone = delete(database, [*replaces, *(parsed_document.document.id for parsed_document in parsed)])
            _check_metadata_types(database, [parsed_document.document for parsed_document in parsed])
            put(database, parsed, vectors, signatures, gone)
            sweep(database, gone)

    def update(self, documents: Sequence[Document]) -> None:
        """Update status, error and stamp of documents and keep their items. New documents are added without items."""
        with transaction(self._settings) as database:
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
        """Remove the documents with these ids and everything that belongs to them; return the number removed."""
        with transaction(self._settings) as database:
            gone = delete(database, list(ids))
            sweep(database, gone)
            # The word index keeps deleted words on disk until its segments are merged.
            if gone.documents and _at_most(database, "items", MERGED):
                merge_words(database)
        if gone.documents:
            self.maintenance.checkpoint()
        return gone.documents

    def set_setting(self, name: str, value: str | None) -> None:
        """Store a text under a name. It is valid for as long as this model is in use; None deletes it."""
        with self._database.write() as database:
            check_space(database, self._settings)
            database.execute("DELETE FROM meta WHERE name = ?", (f"setting:{name}",))
            if value is not None:
                database.execute("INSERT INTO meta VALUES (?, ?)", (f"setting:{name}", value))

    def label(self, text: str, image: str, item: str, good: bool) -> None:
        """Store whether an item answers a query (its words and the path of its picture; either may be empty)."""
        reading.put_label(self._database, text, image, item, good)

    # --- reading ---------------------------------------------------------------------------------------------

    def setting(self, name: str) -> str | None:
        """Return the text that ``set_setting()`` stored under this name; None if there is none."""
        rows = self._database.all("SELECT value FROM meta WHERE name = ?", (f"setting:{name}",))
        return str(rows[0][0]) if rows else None

    def settings(self) -> dict[str, str]:
        """Return all texts that ``set_setting()`` stored, by name."""
        return reading.settings(self._database)

    def labels(self) -> list[tuple[str, str, str, bool]]:
        """Return the labels of items that still exist: words, path of the picture, item id, whether it is relevant."""
        return reading.labels(self._database)

    def documents(
        self,
        *,
        ids: Sequence[str] | None = None,
        below: str | None = None,
        content_hash: str | None = None,
        status: Status | None = None,
        where: Filter | None = None,
    ) -> Iterator[Document]:
        """Yield the documents that meet all conditions, by path; see ``commonplace.store.Store.documents()``."""
        return reading.documents(self._database, ids, below, content_hash, status, where)

    def items(self, ids: Sequence[str]) -> dict[str, Item]:
        """Return the items with these ids, by id. Removed and damaged items are absent."""
        keys = self._ids.keys(ids)
        items = reading.items_by_key(self._database, keys[keys >= 0].tolist())
        return {item.id: item for item in items.values()}

    def items_of(self, document: str) -> list[Item]:
        """Return the items of the document with this id, in reading order."""
        return reading.items_of(self._database, document)

    def pictures(self, ids: Iterable[str]) -> list[str]:
        """Return the content hashes of the pictures that occur in these documents and in no other document."""
        return reading.pictures(self._database, ids)

    def thumbnail(self, picture: str) -> bytes | None:
        """Return the JPEG of the picture with this content hash; None if it is absent or damaged."""
        return reading.thumbnail(self._database, picture)

    def signatures(self, pictures: Sequence[str]) -> dict[str, bytes]:
        """Return the signatures of pictures by content hash, without those of damaged pictures."""
        return reading.signatures(self._database, pictures)

    def picture_sizes(self, pictures: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Return the original width and height of pictures in pixels, by content hash, without damaged pictures."""
        return reading.picture_sizes(self._database, pictures)

    def original(self, document: str) -> bytes | None:
        """Return the original content of a record; None for a file, and if the content is damaged."""
        return reading.original(self._database, document)

    def metadata_types(self, keys: Iterable[str], *, without: Iterable[str] = ()) -> dict[str, MetadataType]:
        """Return the type of each of these metadata keys that is in use, without counting the documents ``without``."""
        return reading.metadata_types(self._database, keys, without)

    def metadata_keys(self) -> dict[str, int]:
        """Return the number of documents that have each metadata key, the most frequent key first."""
        return reading.metadata_keys(self._database)

    def views(self, ids: Sequence[str]) -> dict[str, frozenset[str]]:
        """Return by item id the partitions in which each of these items has a view (``lexical`` for words)."""
        return self._ids.views(ids)

    def views_of(self, ids: Sequence[str]) -> list[ViewVectors]:
        """Return all intact views of items with their vectors; see ``commonplace.store.Store.views_of()``."""
        with self._database.snapshot() as database:
            check_space(database, self._settings)
            return reading.views_of(self._database, self._settings.dim, ids)

    def stored_vectors(self, partition: str, views: Sequence[str]) -> Mapping[str, NDArray[np.float32]]:
        """Return the vectors (dim,) that are already stored for these view hashes, by hash."""
        with self._database.snapshot() as database:
            check_space(database, self._settings)
            return reading.known_vectors(self._database, "vectors", self._settings.dim, partition, views)

    def counts(self, *names: str) -> dict[str, dict[str, int]]:
        """Return the number of documents (by status), items (by modality) and vectors (by partition)."""
        return reading.counts(self._database, names)

    def made_with(self) -> str:
        """Return the name of the collection's current model."""
        return str(self._database.all("SELECT value FROM meta WHERE name = 'space'")[0][0])


def _check_metadata_types(database: sqlite3.Connection, documents: Sequence[Document]) -> None:
    """Raise MetadataTypeError for the first new document with a key of another type. Replaced documents are gone."""
    keys = {key for document in documents for key in document.metadata.types()} - FILE_KEYS.keys()
    used = reading.types_in_use(database, keys)
    metadata = {document.id: document.metadata for document in documents}
    for id_, differing in differing_types(metadata.items(), used):
        raise MetadataTypeError(id_, metadata[id_], differing)


def _at_most(database: sqlite3.Connection, table: str, most: int) -> bool:
    """Return whether a table has at most ``most`` rows, without counting all rows."""
    return database.execute(f"SELECT 1 FROM {table} LIMIT 1 OFFSET ?", (most,)).fetchone() is None
