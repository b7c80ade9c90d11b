"""From one space to another: the new vectors are put beside those that are searched, then both change places."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from commonplace.errors import CollectionError
from commonplace.store.local import LocalStore
from commonplace.store.reading import items_by_key, known_vectors
from commonplace.store.rows import from_sql, to_sql
from commonplace.store.schema import number
from commonplace.store.vector_index import maintenance_lock
from commonplace.store.vectors import clear_shadow, put_vectors
from commonplace.types import Item, ViewVectors

__all__ = ["Batch", "Migration", "Shadow", "abort", "other"]

FEW = 256
"""Items that are embedded while nobody else may write, so that a process that keeps adding cannot put off the end."""


@dataclass(frozen=True, slots=True)
class Shadow:
    """The other space of a collection: name, fingerprint and folder (empty: shipped) of its model; whether it was
    searched once, and is kept to go back to."""

    name: str
    fingerprint: str
    model: str
    served: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """Vectors of items by key; with them everything up to the key ``until`` is done."""

    until: int
    keys: Mapping[str, int]
    vectors: Sequence[ViewVectors]


class Migration:
    """One collection on its way to the space of another model; made by :meth:`of`.

    Items are embedded in the order of their keys, and keys are never used again: what has a higher key than the last
    that is done is still to do, whoever added it. What is removed goes from both spaces at once. A crash leaves whole
    batches, and what the collection is searched with changes in one transaction.
    """

    def __init__(self, store: LocalStore, goal: Shadow, dim: int) -> None:
        self._database = store._database
        self._goal = goal
        self._dim = dim

    @classmethod
    @contextmanager
    def of(cls, store: LocalStore, goal: Shadow, dim: int) -> Iterator[Migration]:
        """Lend a migration to ``goal``, begun or gone on with. Raises CollectionError where another process keeps
        house.

        The vectors of any third space are let go of.
        """
        with maintenance_lock(store._folder):
            with store._database.write() as database:
                if current(database) != goal.fingerprint:
                    there = shadow(database)
                    if there is None or there.fingerprint != goal.fingerprint:
                        clear_shadow(database)
                        _put(database, {"beside:last": "0"})
                    _put(database, {f"beside:{name}": value for name, value in _rows(goal).items()})
            yield cls(store, goal, dim)

    @property
    def done(self) -> bool:
        """Whether the collection is searched in this space already."""
        with self._database.snapshot() as database:
            return current(database) == self._goal.fingerprint

    def progress(self) -> tuple[int, int]:
        """Return how many items are embedded, and of how many."""
        with self._database.snapshot() as database:
            ((total,),) = database.execute("SELECT count(*) FROM items")
            ((done,),) = database.execute("SELECT count(*) FROM items WHERE key <= ?", (_last(database),))
        return done, total

    def waiting(self, count: int) -> list[tuple[int, Item | None]]:
        """Return about ``count`` items that are still to do, by key, whole documents; None for a damaged one."""
        with self._database.snapshot() as database:
            question = "SELECT key, document FROM items WHERE key > ? ORDER BY key LIMIT ?"
            rows = database.execute(question, (_last(database), count)).fetchall()
            if len(rows) == count:
                question = "SELECT key, document FROM items WHERE document = ? AND key > ? ORDER BY key"
                rows += database.execute(question, (rows[-1][1], rows[-1][0])).fetchall()
            keys = [row[0] for row in rows]
            items = items_by_key(self._database, keys)
            return [(key, items.get(key)) for key in keys]

    def known(self, partition: str, views: Sequence[str]) -> Mapping[str, NDArray[np.float32]]:
        """Return the vectors of the new space that are already there for these view hashes."""
        return known_vectors(self._database, "beside_vectors", self._dim, partition, views)

    def put(self, batch: Batch) -> None:
        """Commit one batch; items that were removed meanwhile are left out."""
        with self._database.write() as database:
            self._put(database, batch)

    def finish(self, embed: Callable[[list[tuple[int, Item | None]]], Iterable[Batch]]) -> bool:
        """Embed the few items that are left and change over, while nobody else writes; False where there are many."""
        with self._database.write() as database:
            rest = self.waiting(FEW + 1)
            if len(rest) > FEW:
                return False
            for batch in embed(rest):
                self._put(database, batch)
            swap(database)
        return True

    def _put(self, database: sqlite3.Connection, batch: Batch) -> None:
        goal = shadow(database)
        if goal is None or goal.fingerprint != self._goal.fingerprint:  # by a program that takes no lock
            raise CollectionError(
                f"another process let go of the vectors of {self._goal.name} meanwhile: nothing that is searched has "
                "changed; run `commonplace migrate` again"
            )
        there = {
            item
            for item, key in batch.keys.items()
            if database.execute("SELECT 1 FROM items WHERE key = ?", (key,)).fetchone()
        }
        for rows in batch.vectors:
            if rows.vectors.shape != (len(rows.item_ids), self._dim) or not np.isfinite(rows.vectors).all():
                raise CollectionError(
                    f"the model {self._goal.name} gave vectors of shape {rows.vectors.shape} that are not numbers, or "
                    f"not of {self._dim} dimensions: nothing has changed; try another model"
                )
            mine = [n for n, item in enumerate(rows.item_ids) if item in there]
            items, views = tuple(rows.item_ids[n] for n in mine), tuple(rows.views[n] for n in mine)
            put_vectors(database, ViewVectors(rows.partition, items, views, rows.vectors[mine]), batch.keys, "beside_")
        _put(database, {"beside:last": str(max(batch.until, _last(database)))})


def abort(store: LocalStore) -> None:
    """Let go of an unfinished migration."""
    with maintenance_lock(store._folder), store._database.write() as database:
        there = shadow(database)
        if there is not None and not there.served:
            clear_shadow(database)


def current(database: sqlite3.Connection) -> str:
    """Return the fingerprint of the space that the collection is searched in."""
    row = database.execute("SELECT value FROM meta WHERE name = 'fingerprint'").fetchone()
    if row is None:
        raise sqlite3.DatabaseError("its notes are malformed")
    return str(row[0])


def other(store: LocalStore) -> Shadow | None:
    """Return the other space of a collection: the one it is being migrated to, or was migrated from."""
    with store._database.snapshot() as database:
        return shadow(database)


def shadow(database: sqlite3.Connection) -> Shadow | None:
    """Return the other space of the collection."""
    made = {name.removeprefix("beside:"): value for name, value in _meta(database) if name.startswith("beside:")}
    if not made:
        return None
    return Shadow(made.get("space", ""), made.get("fingerprint", ""), from_sql(made.get("model", "")), "served" in made)


def swap(database: sqlite3.Connection) -> None:
    """Let the two spaces change places: vectors, model, and the settings that were fitted to either."""
    made = dict(_meta(database))
    own = {n: v for n, v in made.items() if n in ("space", "fingerprint", "model") or n.startswith("setting:")}
    other = {n.removeprefix("beside:"): v for n, v in made.items() if n.startswith("beside:")}
    (last,) = database.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'items'").fetchone()
    database.executemany("DELETE FROM meta WHERE name = ?", [(n,) for n in (*own, *(f"beside:{n}" for n in other))])
    _put(database, {n: v for n, v in other.items() if n not in ("last", "served")})
    _put(database, {f"beside:{n}": v for n, v in own.items()} | {"beside:last": str(last), "beside:served": "1"})
    for table in ("views", "vectors"):
        database.execute(f"ALTER TABLE {table} RENAME TO changing")
        database.execute(f"ALTER TABLE beside_{table} RENAME TO {table}")
        database.execute(f"ALTER TABLE changing RENAME TO beside_{table}")
    # Nothing that was derived from the other vectors may be used.
    _put(database, {"lineage": secrets.token_hex(10)})
    database.execute("UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE name = 'generation'")


def _rows(space: Shadow) -> dict[str, str | bytes]:
    return {"space": space.name, "fingerprint": space.fingerprint, "model": to_sql(space.model)}


def _meta(database: sqlite3.Connection) -> list[tuple[str, str]]:
    return database.execute("SELECT name, value FROM meta").fetchall()


def _last(database: sqlite3.Connection) -> int:
    """Return the key up to which all items are embedded beside."""
    row = database.execute("SELECT value FROM meta WHERE name = 'beside:last'").fetchone()
    return (number(row[0]) or 0) if row else 0


def _put(database: sqlite3.Connection, values: Mapping[str, str | bytes]) -> None:
    database.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values.items())
