"""Changes the model of a collection in Milvus. New vectors go to collections of their own, beside the searched ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import sleep, time

import numpy as np
from numpy.typing import NDArray

from commonplace.store.base import StoreSpace
from commonplace.store.migration import Embed, Keyed, MigrationBatch, Needs, Shadow, check_batch
from commonplace.store.milvus.expressions import split_any_of
from commonplace.store.milvus.lease import Lease
from commonplace.store.milvus.rows import StoredItem, key_of
from commonplace.store.milvus.snapshot import Snapshot
from commonplace.store.milvus.store import MilvusStore
from commonplace.store.milvus.writing import Owner, Writer
from commonplace.types import Item

__all__ = ["MilvusMigration", "MilvusModels"]

AT_ONCE = 64  # number of documents whose items are read at once
TAIL = 16
"""With up to this number of documents to do, the model is changed; documents that came meanwhile are done after it."""
PAGE = 2048  # number of items that are embedded at once at the end
GRACE = 60.0
"""Age in seconds up to which a writer that had begun before the change is waited for."""
WAIT = 0.1  # seconds between two looks for these writers


class MilvusModels:
    """The models of an open Milvus store; see ``commonplace.store.StoreModels``."""

    def __init__(self, store: MilvusStore) -> None:
        self._store = store

    def made_with(self) -> str:
        """Return the name of the current model."""
        return self._store.models.current().name

    def other(self) -> Shadow | None:
        """Return the goal of an unfinished migration, or the model before the last one; None if there is neither."""
        return self._store.models.other()

    def abort(self) -> None:
        """Delete the vectors of an unfinished migration. Raises CollectionError if another process is migrating."""
        models = self._store.models
        with models.leased():
            other = models.other()
            if other is not None and not other.served:
                models.drop_except({models.current().fingerprint})
                models.set_other(None)

    @contextmanager
    def migration(self, goal: Shadow, space: StoreSpace, needs: Needs) -> Iterator[MilvusMigration]:
        """Start or resume a migration. The vectors of all models but the current one and ``goal`` are dropped.

        Raises CollectionError if another process is migrating.
        """
        models = self._store.models
        with models.leased() as lease:
            current, other = models.current(), models.other()
            if current.fingerprint != goal.fingerprint:
                served = other is not None and other.fingerprint == goal.fingerprint and other.served
                models.set_other(Shadow(goal.name, goal.fingerprint, goal.model, served))
                models.drop_except({current.fingerprint, goal.fingerprint})
            yield MilvusMigration(self._store, goal, space, needs, lease)


class MilvusMigration:
    """A migration of a collection to another model; ``MilvusModels.migration()`` creates it.

    To do are the documents whose items lack vectors of the new model. Nothing else is remembered, so an interrupted
    migration resumes, and documents are found whichever process adds them. Vectors are written with the generation of
    their document: when it is replaced or removed, they go with its other rows. ``done`` is always False: documents
    are looked for also when the model is already the current one.
    """

    done = False

    def __init__(self, store: MilvusStore, goal: Shadow, space: StoreSpace, needs: Needs, lease: Lease) -> None:
        self._goal, self._space, self._needs, self._lease = goal, space, needs, lease
        self._models, self._documents, self._snapshots = store.models, store._documents, store._snapshots
        self._connection, self._layout = store._connection, store._layout
        self._records, self._sweeper = store._records, store._sweeper
        self._writer = Writer(self._connection, self._layout, self._records, self._snapshots, self._sweeper, space)
        self._finished: dict[str, str] = {}  # the generation of each finished document, by its key
        self._waiting: deque[str] | None = None  # keys of documents that are still to do
        self._handed_out: deque[tuple[int, str, str]] = deque()  # number of the last item, key and generation
        self._owners: dict[str, tuple[Owner, str]] = {}  # document and modality of each item that is handed out
        self._number = 0
        self._skipped = 0
        self._total = self._connection.count(self._layout.items, "", -1)

    def progress(self) -> tuple[int, int]:
        """Return the number of items that have vectors of the new model, and the total number of items."""
        finished = self._skipped + self._number - len(self._owners)
        return finished, max(self._total, finished)

    def stored_vectors(self, partition: str, views: Sequence[str]) -> Mapping[str, NDArray[np.float32]]:
        """Return the vectors (dim,) of the new model that are already stored, by view hash."""
        name = self._layout.vectors(partition, self._goal.fingerprint, self._space.dim)
        return self._documents.vectors_by_view(name, views)

    def waiting(self, count: int) -> Keyed:
        """Return the next items to embed, about ``count``, with numbers in growing order. Documents are never split.

        Fewer items are the last ones that are known.
        """
        if self._waiting is None:
            self._waiting = self._to_do()
        snapshot = self._snapshots.of_now()
        page: Keyed = []
        while self._waiting and len(page) < count:
            keys = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
            page += self._incomplete(snapshot, keys)
        return page

    def put(self, batch: MigrationBatch) -> None:
        """Write one batch. Raises CollectionError for unusable vectors, and if another process is migrating."""
        self._lease.check()
        for rows in batch.vectors:
            check_batch(self._goal, self._space.dim, rows)
        self._writer.put_views(batch.vectors, self._owners)
        while self._handed_out and self._handed_out[0][0] <= batch.until:
            _, key, generation = self._handed_out.popleft()
            self._finished[key] = generation
        for item in batch.keys:
            self._owners.pop(item, None)

    def finish(self, embed: Embed) -> bool:
        """Embed the last documents, change the model, and embed documents that were committed meanwhile.

        Returns False, and does nothing, if more than a few documents are left.
        """
        self._waiting = self._to_do()
        if len(self._waiting) > TAIL:
            return False
        self._embed_rest(embed)
        self._snapshots.publish()
        if self._models.current().fingerprint != self._goal.fingerprint:
            self._lease.check()
            self._models.switch(self._goal, self._space.dim)
        self._settle(embed)
        self._snapshots.publish()
        return True

    # --- what is to do ---------------------------------------------------------------------------------------

    def _to_do(self) -> deque[str]:
        """Return the keys of documents that are not finished, and delete vectors of those that are gone or replaced."""
        since = self._snapshots.of_now().since
        fields = ["id", "document", "generation"]
        rows = self._connection.all(self._layout.name, 'kind == "document"', fields, since)
        current = {row["document"]: row["generation"] for row in rows}
        outdated = [key for key, generation in self._finished.items() if current.get(key) != generation]
        for start in range(0, len(outdated), AT_ONCE):
            self._sweeper.sweep(outdated[start : start + AT_ONCE])
        for key in outdated:
            del self._finished[key]
        return deque(sorted(current.keys() - self._finished.keys()))

    def _incomplete(self, snapshot: Snapshot, keys: Sequence[str]) -> Iterator[tuple[int, Item | None]]:
        """Yield the items of those of these documents that lack vectors; the others are finished."""
        of_document: dict[str, list[StoredItem]] = {}
        for stored in self._documents.current_items(snapshot, split_any_of("document", list(keys))):
            of_document.setdefault(key_of(stored.item.document.id), []).append(stored)
        views = self._views(snapshot, keys)
        for key, document in snapshot.documents(keys).items():
            generation = document.generation
            items = [stored.item for stored in sorted(of_document.get(key, []), key=lambda stored: stored.number)]
            if all(self._needs(item) <= views.get((item.id, generation), set()) for item in items):
                self._finished[key] = generation
                self._skipped += len(items)
                continue
            owner = self._writer.owner(document.document, generation)
            for item in items:
                self._number += 1
                self._owners[item.id] = (owner, item.modality)
                yield self._number, item
            self._handed_out.append((self._number, key, generation))

    def _views(self, snapshot: Snapshot, keys: Sequence[str]) -> dict[tuple[str, str], set[str]]:
        """Return the partitions with vectors of the new model for the items of documents, by item and generation."""
        views: dict[tuple[str, str], set[str]] = {}
        for partition, name in self._models.vectors(self._goal.fingerprint).items():
            for expression in split_any_of("document", list(keys)):
                for row in self._connection.all(name, expression, ["id", "item", "generation"], snapshot.since):
                    views.setdefault((row["item"], row["generation"]), set()).add(partition)
        return views

    # --- the end ---------------------------------------------------------------------------------------------

    def _embed_rest(self, embed: Embed) -> bool:
        """Embed everything that is known to be to do; return whether there was anything."""
        has_any = False
        while page := self.waiting(PAGE):
            has_any = True
            for batch in embed(page):
                self.put(batch)
        return has_any

    def _settle(self, embed: Embed) -> None:
        """Embed documents of writers that had begun before the model was changed, until none of them is left.

        A writer writes down its intent before it looks at the model for the last time. So those that have seen the old
        model are in the list of intents now.
        """
        begun = self._at_work()
        while True:
            is_waiting = bool(begun & self._at_work())
            self._waiting = self._to_do()
            has_any = self._embed_rest(embed)
            if is_waiting:
                sleep(WAIT)
            elif not has_any:
                return

    def _at_work(self) -> set[str]:
        """Return the generations that are being written."""
        intents = self._records.intents(self._connection.now() or -1)
        return {
            intent.generation
            for intent in intents
            if intent.documents and not intent.committed and time() - intent.at < GRACE
        }
