"""Changes the model of a local store. New vectors go to shadow tables, which then swap with the searched tables."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from commonplace.errors import CollectionError
from commonplace.i18n import _
from commonplace.store.base import StoreSpace
from commonplace.store.local import LocalStore
from commonplace.store.locks import maintenance_lock
from commonplace.store.reading import items_by_key, known_vectors
from commonplace.store.rows import from_sql, to_sql
from commonplace.store.schema import number
from commonplace.store.vectors import clear_shadow, put_vectors, storable
from commonplace.types import Item, ViewVectors

__all__ = [
    "Embed",
    "Keyed",
    "LocalModels",
    "Migration",
    "MigrationBatch",
    "ModelMigration",
    "Needs",
    "Shadow",
    "StoreModels",
    "abort",
    "check_batch",
    "other",
]

Keyed = list[tuple[int, Item | None]]
"""Items with their keys, which grow; None for a damaged item, which searches leave out, too."""
Needs = Callable[[Item], frozenset[str]]
"""Returns the partitions in which an item needs a view; see ``commonplace.space.Space.partitions_of``."""


@dataclass(frozen=True, slots=True)
class Shadow:
    """The other model of a collection: its name, fingerprint and folder (empty for the shipped model).

    ``served`` tells that it was the collection's model before a migration, and that its vectors are kept for an undo.
    """

    name: str
    fingerprint: str
    model: str
    served: bool = False


@dataclass(frozen=True, slots=True)
class MigrationBatch:
    """A batch of item vectors, with the ``keys`` of the items by id. It completes all items up to the key ``until``."""

    until: int
    keys: Mapping[str, int]
    vectors: Sequence[ViewVectors]


Embed = Callable[[Keyed], Iterable[MigrationBatch]]
"""Returns the vectors of items in batches that never split a document."""


class ModelMigration(Protocol):
    """A migration of a store to another model, which is the current one after ``finish()``."""

    @property
    def done(self) -> bool:
        """Whether there is certainly nothing to do."""

    def progress(self) -> tuple[int, int]:
        """Return the number of embedded items and the total number of items."""

    def waiting(self, count: int) -> Keyed:
        """Return the next items to embed, about ``count``; fewer are the last ones. Documents are never split."""

    def stored_vectors(self, partition: str, views: Sequence[str]) -> Mapping[str, NDArray[np.float32]]:
        """Return the vectors (dim,) of the new model that are already stored, by view hash."""

    def put(self, batch: MigrationBatch) -> None:
        """Store one batch of ``waiting()``, in its order. Raises CollectionError."""

    def finish(self, embed: Embed) -> bool:
        """Embed the last items and change the model. Returns False, and does nothing, if too many items are left."""


class StoreModels(Protocol):
    """The models of a store: the current one, another one, and the change from one to the other."""

    def made_with(self) -> str:
        """Return the name of the current model."""

    def other(self) -> Shadow | None:
        """Return the goal of an unfinished migration, or the model before the last one; None if there is neither."""

    def abort(self) -> None:
        """Delete the vectors of an unfinished migration. Raises CollectionError if another process is migrating."""

    def migration(self, goal: Shadow, space: StoreSpace, needs: Needs) -> AbstractContextManager[ModelMigration]:
        """Start or resume a migration. Vectors of any third model are deleted.

        Raises CollectionError if another process is migrating.
        """


class LocalModels:
    """The models of a local store; see ``StoreModels``."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store

    def made_with(self) -> str:
        """Return the name of the current model."""
        return self._store.made_with()

    def other(self) -> Shadow | None:
        """Return the other model; None if there is none."""
        return other(self._store)

    def abort(self) -> None:
        """Delete the vectors of an unfinished migration."""
        abort(self._store)

    def migration(self, goal: Shadow, space: StoreSpace, needs: Needs) -> AbstractContextManager[ModelMigration]:
        """Start or resume a migration. Its items are found by their keys, so ``needs`` is not asked."""
        return Migration.of(self._store, goal, space.dim)


class Migration:
    """A migration of a collection to another model; ``of()`` creates it.

    Items are embedded in the order of their keys, and keys are never reused. So every item with a higher key than the
    last finished item is still to do, whichever process added it. Removing an item deletes it from both models' tables.
    A crash leaves only complete batches, and the searched vectors change in one transaction.
    """

    def __init__(self, store: LocalStore, goal: Shadow, dim: int) -> None:
        self._database = store._database
        self._goal = goal
        self._dim = dim
        self._tail = store._settings.options.migration_tail

    @classmethod
    @contextmanager
    def of(cls, store: LocalStore, goal: Shadow, dim: int) -> Iterator[Migration]:
        """Start or resume a migration to ``goal`` and yield it. Shadow vectors of any third model are deleted.

        Raises CollectionError if another process holds the maintenance lock.
        """
        with maintenance_lock(store._folder):
            with store._database.write() as database:
                if current(database) != goal.fingerprint:
                    present = shadow(database)
                    if present is None or present.fingerprint != goal.fingerprint:
                        clear_shadow(database)
                        _put(database, {"shadow:last": "0"})
                    _put(database, {f"shadow:{name}": value for name, value in _rows(goal).items()})
            yield cls(store, goal, dim)

    @property
    def done(self) -> bool:
        """Whether this is already the collection's current model."""
        with self._database.snapshot() as database:
            return current(database) == self._goal.fingerprint

    def progress(self) -> tuple[int, int]:
        """Return the number of embedded items and the total number of items."""
        with self._database.snapshot() as database:
            ((total,),) = database.execute("SELECT count(*) FROM items")
            ((done,),) = database.execute("SELECT count(*) FROM items WHERE key <= ?", (_last(database),))
        return done, total

    def waiting(self, count: int) -> Keyed:
        """Return the next ``count`` items to embed, with their keys; None for a damaged item.

        Documents are never split, so the list may be longer.
        """
        with self._database.snapshot() as database:
            question = "SELECT key, document FROM items WHERE key > ? ORDER BY key LIMIT ?"
            rows = database.execute(question, (_last(database), count)).fetchall()
            if len(rows) == count:
                question = "SELECT key, document FROM items WHERE document = ? AND key > ? ORDER BY key"
                rows += database.execute(question, (rows[-1][1], rows[-1][0])).fetchall()
            keys = [row[0] for row in rows]
            items = items_by_key(self._database, keys)
            return [(key, items.get(key)) for key in keys]

    def stored_vectors(self, partition: str, views: Sequence[str]) -> Mapping[str, NDArray[np.float32]]:
        """Return the vectors (dim,) of the new model that are already stored, by view hash."""
        return known_vectors(self._database, "shadow_vectors", self._dim, partition, views)

    def put(self, batch: MigrationBatch) -> None:
        """Commit one batch. Items that were removed meanwhile are left out. Raises CollectionError."""
        with self._database.write() as database:
            self._put(database, batch)

    def finish(self, embed: Embed) -> bool:
        """Embed the last items and swap the models, while no other process can write.

        Returns False, and does nothing, if more than ``StoreOptions.migration_tail`` items are left.
        """
        with self._database.write() as database:
            rest = self.waiting(self._tail + 1)
            if len(rest) > self._tail:
                return False
            for batch in embed(rest):
                self._put(database, batch)
            swap(database)
        return True

    def _put(self, database: sqlite3.Connection, batch: MigrationBatch) -> None:
        goal = shadow(database)
        if goal is None or goal.fingerprint != self._goal.fingerprint:  # by a program that ignores the lock
            raise CollectionError(
                _(
                    "another process deleted the new vectors of {name}: searches still use the old model; "
                    "run `commonplace migrate` again"
                ).format(name=self._goal.name)
            )
        present = {
            item
            for item, key in batch.keys.items()
            if database.execute("SELECT 1 FROM items WHERE key = ?", (key,)).fetchone()
        }
        for rows in batch.vectors:
            check_batch(self._goal, self._dim, rows)
            kept = [n for n, item in enumerate(rows.item_ids) if item in present]
            items, views = tuple(rows.item_ids[n] for n in kept), tuple(rows.views[n] for n in kept)
            put_vectors(database, ViewVectors(rows.partition, items, views, rows.vectors[kept]), batch.keys, "shadow_")
        _put(database, {"shadow:last": str(max(batch.until, _last(database)))})


def check_batch(goal: Shadow, dim: int, rows: ViewVectors) -> None:
    """Raise CollectionError if vectors of a new model cannot be stored."""
    if rows.vectors.shape != (len(rows.item_ids), dim) or not storable(rows.vectors).all():
        raise CollectionError(
            _(
                "the model {name} returned vectors of shape {shape} that are not finite numbers or not "
                "of {dim} dimensions: nothing has changed; try another model"
            ).format(name=goal.name, shape=rows.vectors.shape, dim=dim)
        )


def abort(store: LocalStore) -> None:
    """Delete the vectors of an unfinished migration."""
    with maintenance_lock(store._folder), store._database.write() as database:
        present = shadow(database)
        if present is not None and not present.served:
            clear_shadow(database)


def current(database: sqlite3.Connection) -> str:
    """Return the fingerprint of the collection's current model."""
    row = database.execute("SELECT value FROM meta WHERE name = 'fingerprint'").fetchone()
    if row is None:
        raise sqlite3.DatabaseError("its settings are malformed")
    return str(row[0])


def other(store: LocalStore) -> Shadow | None:
    """Return the other model of a collection: the target of an unfinished migration, or the previous model."""
    with store._database.snapshot() as database:
        return shadow(database)


def shadow(database: sqlite3.Connection) -> Shadow | None:
    """Return the other model of the collection; None if there is none."""
    shadow = {name.removeprefix("shadow:"): value for name, value in _meta(database) if name.startswith("shadow:")}
    if not shadow:
        return None
    return Shadow(
        shadow.get("space", ""), shadow.get("fingerprint", ""), from_sql(shadow.get("model", "")), "served" in shadow
    )


def swap(database: sqlite3.Connection) -> None:
    """Swap the two models: their vectors, names, and the settings that were tuned for them."""
    meta = dict(_meta(database))
    current_rows = {n: v for n, v in meta.items() if n in ("space", "fingerprint", "model") or n.startswith("setting:")}
    shadow_rows = {n.removeprefix("shadow:"): v for n, v in meta.items() if n.startswith("shadow:")}
    (last,) = database.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'items'").fetchone()
    database.executemany(
        "DELETE FROM meta WHERE name = ?", [(n,) for n in (*current_rows, *(f"shadow:{n}" for n in shadow_rows))]
    )
    _put(database, {n: v for n, v in shadow_rows.items() if n not in ("last", "served")})
    _put(
        database, {f"shadow:{n}": v for n, v in current_rows.items()} | {"shadow:last": str(last), "shadow:served": "1"}
    )
    for table in ("views", "vectors"):
        database.execute(f"ALTER TABLE {table} RENAME TO swapping")
        database.execute(f"ALTER TABLE shadow_{table} RENAME TO {table}")
        database.execute(f"ALTER TABLE swapping RENAME TO shadow_{table}")
    # Begin a new lineage, so that data derived from the old vectors is not used.
    _put(database, {"lineage": secrets.token_hex(10)})
    database.execute("UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE name = 'generation'")


def _rows(space: Shadow) -> dict[str, str | bytes]:
    return {"space": space.name, "fingerprint": space.fingerprint, "model": to_sql(space.model)}


def _meta(database: sqlite3.Connection) -> list[tuple[str, str]]:
    return database.execute("SELECT name, value FROM meta").fetchall()


def _last(database: sqlite3.Connection) -> int:
    """Return the key of the last item that is embedded with the other model."""
    row = database.execute("SELECT value FROM meta WHERE name = 'shadow:last'").fetchone()
    return (number(row[0]) or 0) if row else 0


def _put(database: sqlite3.Connection, values: Mapping[str, str | bytes]) -> None:
    database.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values.items())
