"""Writes documents: rows of a new generation first, then the document that names it, then the old rows are deleted.

A write that is cut off at any point leaves the old or the new document. Its intent tells which rows to delete.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from time import time, time_ns
from typing import Any

import numpy as np

from commonplace.errors import CollectionError
from commonplace.i18n import _
from commonplace.store.base import StoreSpace
from commonplace.store.milvus import sweeping
from commonplace.store.milvus.connection import Connection
from commonplace.store.milvus.expressions import storable
from commonplace.store.milvus.layout import Layout
from commonplace.store.milvus.records import ANCHOR, Intent, Records, row_size
from commonplace.store.milvus.rows import FilterFields, StoredDocument, StoredItem, body_of, key_of, place_of, tag_of
from commonplace.store.milvus.snapshot import Snapshot, Snapshots
from commonplace.store.milvus.sweeping import ORIGINALS, PICTURES, Sweeper
from commonplace.store.milvus.words import IndexedWords, WordSplitter
from commonplace.store.signatures import signature_of
from commonplace.types import Document, Item, ParsedDocument, ViewVectors

__all__ = ["Owner", "Writer"]

NO_WORDS = -1
"""Length of an item without text."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The document of some rows: its filter fields and its generation."""

    fields: Mapping[str, Any]
    generation: str


class Writer:
    """Writes and removes documents. Thread-safe; many writers in many processes may work at once."""

    def __init__(
        self,
        connection: Connection,
        layout: Layout,
        records: Records,
        snapshots: Snapshots,
        sweeper: Sweeper,
        space: StoreSpace,
    ) -> None:
        self._connection, self._layout, self._records = connection, layout, records
        self._snapshots, self._sweeper, self._space = snapshots, sweeper, space
        self._words = WordSplitter()

    # --- documents -------------------------------------------------------------------------------------------

    def add(self, parsed: Sequence[ParsedDocument], vectors: Sequence[ViewVectors], replaces: Sequence[str]) -> None:
        """Add documents with their vectors; see ``commonplace.store.Store.add()``."""
        unique = {key_of(document.document.id): document for document in parsed}
        removed = {key_of(id_) for id_ in replaces} - unique.keys()
        self._check_blobs(unique.values())
        snapshot = self._snapshots.fresh()
        before = snapshot.documents([*unique, *removed])
        intent = Intent(_generation(), list(unique), sorted(removed & before.keys()), time())
        if not intent.touched:
            return
        self._records.put("intent", intent.generation, intent.body(), snapshot.since)
        try:
            self._put_blobs(unique.values())
            stored = [_stored(document, intent.generation) for document in unique.values()]
            self._put_items(unique.values(), intent.generation, vectors)
            self._put_vectors(unique.values(), intent.generation, vectors)
            self._check_lease(intent)
            # Another process may have added the same documents meanwhile: its rows are replaced, too.
            before = {**before, **self._snapshots.fresh(within=0).documents([*unique, *removed])}
        except BaseException:
            with suppress(CollectionError):  # otherwise the doctor does it later
                self._sweeper.clean_up([intent])
            raise
        # If this raises an error, the server may have committed nevertheless. The doctor finishes what is left then.
        self._commit(stored, intent)
        self._restore_blobs(unique.values())
        self._finish(intent, before, snapshot)

    def update(self, documents: Sequence[Document]) -> None:
        """Update status, error and stamp; see ``commonplace.store.Store.update()``.

        They are rows of their own, so that the row of a document is written by ``add()`` alone. Otherwise an update
        could undo what another process adds at the same time.
        """
        if not documents:
            return
        snapshot = self._snapshots.fresh()
        before = snapshot.documents(key_of(document.id) for document in documents)
        states = {}
        for document in documents:
            old = before.get(key_of(document.id), StoredDocument(document, ""))
            changed = replace(old.document, status=document.status, error=document.error, stamp=document.stamp)
            states[key_of(document.id)] = replace(old, document=changed).body()
        self._records.put_all("state", states, snapshot.since)
        self._snapshots.publish()

    def remove(self, ids: Iterable[str]) -> int:
        """Remove documents; see ``commonplace.store.Store.remove()``."""
        snapshot = self._snapshots.fresh()
        before = snapshot.documents(key_of(id_) for id_ in ids)
        if not before:
            return 0
        intent = Intent(_generation(), [], sorted(before), time())
        self._records.put("intent", intent.generation, intent.body(), snapshot.since)
        self._commit([], intent)
        self._finish(intent, before, snapshot)
        return len(before)

    # --- the steps of a write --------------------------------------------------------------------------------

    def _check_lease(self, intent: Intent) -> None:
        """Raise CollectionError if this process stood still for so long that another may have removed its rows."""
        is_late = time() - intent.at > sweeping.LEASE / 2
        if is_late and self._records.body("intent", intent.generation, self._connection.now()) is None:
            raise CollectionError(_("this process was stopped for too long while it wrote: add the documents again"))

    def _commit(self, stored: Sequence[StoredDocument], intent: Intent) -> None:
        """Write the documents, which makes their new rows valid, delete what is removed, and tell other processes."""
        self._records.put_documents(stored, replace(intent, committed=True))
        self._records.delete("document", intent.removes)
        self._records.delete("state", intent.touched, self._snapshots.newest().since)
        self._snapshots.publish()

    def _finish(self, intent: Intent, before: Mapping[str, StoredDocument], snapshot: Snapshot) -> None:
        """Delete what the write has replaced, and then its intent.

        If other processes have committed since ``snapshot``, they may have written the same documents: then all rows
        of these documents are looked at.
        """
        is_alone = self._snapshots.of_others(snapshot) == self._snapshots.of_others(self._snapshots.newest())
        if not is_alone:
            self._sweeper.sweep(intent.touched, [intent.generation])
        else:
            generations = {document.generation for document in before.values()} - {""}
            if generations:
                self._sweeper.delete_generations(intent.touched, generations)
        self._sweeper.delete_originals(before.values())
        self._records.delete("intent", [intent.generation])
        if before or not is_alone:
            self._snapshots.publish()

    # --- pictures and contents -------------------------------------------------------------------------------

    def _check_blobs(self, parsed: Iterable[ParsedDocument]) -> None:
        """Raise CollectionError if documents have pictures or contents, and there is no place for them."""
        if self._sweeper.blobs is None and any(document.pictures or document.original for document in parsed):
            raise CollectionError(
                _(
                    "the collection {url} has no place for pictures and contents of records: "
                    "give one with --blobs URL, such as s3://bucket/folder or file:///shared/folder; nothing was stored"
                ).format(url=self._connection.address.url)
            )

    def _put_blobs(self, parsed: Iterable[ParsedDocument]) -> None:
        if self._sweeper.blobs is None:
            return
        for document in parsed:
            for name, picture in document.pictures.items():
                self._sweeper.blobs.put(PICTURES, name, picture.thumbnail)
            if document.original is not None:
                self._sweeper.blobs.put(ORIGINALS, _original_name(document), document.original.data)

    def _restore_blobs(self, parsed: Iterable[ParsedDocument]) -> None:
        """Write pictures and contents again that another process has removed because no document used them yet."""
        if self._sweeper.blobs is None:
            return
        for document in parsed:
            for name, picture in document.pictures.items():
                if not self._sweeper.blobs.has(PICTURES, name):
                    self._sweeper.blobs.put(PICTURES, name, picture.thumbnail)
            if document.original is not None and not self._sweeper.blobs.has(ORIGINALS, _original_name(document)):
                self._sweeper.blobs.put(ORIGINALS, _original_name(document), document.original.data)

    # --- items -----------------------------------------------------------------------------------------------

    def _put_items(self, parsed: Iterable[ParsedDocument], generation: str, vectors: Sequence[ViewVectors]) -> None:
        partitions: dict[str, list[str]] = {}
        for rows in vectors:
            for id_ in dict.fromkeys(rows.item_ids):
                partitions.setdefault(id_, []).append(rows.partition)
        item_rows: list[dict[str, Any]] = []
        tag = tag_of(self._space.fingerprint or "")
        for document in parsed:
            owner = self.owner(document.document, generation)
            words = self._words_of(document.items)
            signatures = {name: signature_of(shown.thumbnail) for name, shown in document.pictures.items()}
            for number, (item, of_item) in enumerate(zip(document.items, words, strict=True)):
                picture = document.pictures.get(item.picture or "")
                size = (picture.width, picture.height) if picture is not None else None
                signature = signatures.get(item.picture or "", b"")
                stored = StoredItem(item, number, partitions.get(item.id, ()), size, tag, signature)
                item_rows.append(self._item_row(stored, owner, of_item))
        self._connection.upsert(self._layout.items, item_rows, row_size)

    def _words_of(self, items: Sequence[Item]) -> list[IndexedWords | None]:
        """Return the words of items; None for each if the server cannot search words."""
        if not self._connection.features.sparse:
            return [None] * len(items)
        return list(self._words.of([item.text_view for item in items]))

    def _item_row(self, stored: StoredItem, owner: Owner, words: IndexedWords | None) -> dict[str, Any]:
        """Return the row of an item, after the pieces of its text were written if it is long."""
        item = stored.item
        body = body_of(stored.body(), item.id, owner.generation)
        self._records.put_pieces(body.pieces, owner.fields["document"], owner.generation)
        row: dict[str, Any] = {
            **owner.fields,
            "id": self._row_key(item.id, owner.generation),
            "item": storable(item.id),
            "modality": item.modality,
            "picture": item.picture or "",
            "place": place_of(item.id),
            "length": NO_WORDS,
            "body": body.text,
        }
        if words is None:
            return {**row, "anchor": ANCHOR}
        length = NO_WORDS if item.text_view is None else words.length
        return {**row, "length": length, "terms": list(words.counts), "words": words.vector()}

    def owner(self, document: Document, generation: str) -> Owner:
        """Return what the rows of a generation of a document belong to."""
        return Owner(FilterFields.of(document, generation, self._records.tenant).fields, generation)

    def _row_key(self, item: str, generation: str) -> str:
        tenant = self._records.tenant
        return f"{tenant}/{item}:{generation}" if tenant else f"{item}:{generation}"

    # --- vectors ---------------------------------------------------------------------------------------------

    def _put_vectors(self, parsed: Iterable[ParsedDocument], generation: str, vectors: Sequence[ViewVectors]) -> None:
        owners = {}
        for document in parsed:
            owner = self.owner(document.document, generation)
            owners.update({item.id: (owner, item.modality) for item in document.items})
        self.put_views(vectors, owners)

    def put_views(self, vectors: Sequence[ViewVectors], owners: Mapping[str, tuple[Owner, str]]) -> None:
        """Write the vectors of items. ``owners`` are, by item id, its document and its modality."""
        space = self._space
        partitions = [rows.partition for rows in vectors if len(rows.item_ids)]
        self._layout.create_vectors(dict.fromkeys(partitions), space.fingerprint or "", space.state, space.dim)
        for rows in vectors:
            if len(rows.item_ids):
                self._put_partition(rows, owners)

    def _put_partition(self, rows: ViewVectors, owners: Mapping[str, tuple[Owner, str]]) -> None:
        """Write the vectors of a partition. ``owners`` are, by item id, its document and its modality."""
        space = self._space
        offsets = space.offset(rows.partition, rows.vectors)
        last = np.zeros(len(rows.vectors), np.float32) if offsets is None else -np.asarray(offsets, np.float32)
        wide = np.concatenate([rows.vectors, last[:, None]], axis=1).astype(np.float32)
        numbers: dict[str, int] = {}
        view_rows = []
        for item, view, vector in zip(rows.item_ids, rows.views, wide, strict=True):
            owner, modality = owners[item]
            number = numbers[item] = numbers.get(item, -1) + 1
            view_rows.append(
                {
                    **owner.fields,
                    "id": f"{self._row_key(item, owner.generation)}:{number}",
                    "item": storable(item),
                    "modality": modality,
                    "view": view,
                    "place": place_of(f"{item}:{number}"),
                    "vector": vector,
                }
            )
        name = self._layout.vectors(rows.partition, space.fingerprint or "", space.dim)
        self._connection.upsert(name, view_rows, row_size)
        self._layout.new_rows[name] = self._layout.new_rows.get(name, 0) + len(view_rows)


def _generation() -> str:
    """Return a new name of a generation; later ones sort later."""
    return f"{time_ns():016x}{os.urandom(4).hex()}"


def _stored(parsed: ParsedDocument, generation: str) -> StoredDocument:
    modalities: dict[str, int] = {}
    for item in parsed.items:
        modalities[item.modality] = modalities.get(item.modality, 0) + 1
    original = None if parsed.original is None else _original_name(parsed)
    return StoredDocument(parsed.document, generation, modalities, original)


def _original_name(parsed: ParsedDocument) -> str:
    """Return the name of a record's content: it depends on the record's id and the content."""
    assert parsed.original is not None
    id_ = parsed.document.id.encode("utf-8", "surrogatepass")
    return hashlib.sha256(id_ + b"\0" + parsed.original.data).hexdigest()
