"""The write transaction: every change to a collection's contents goes through it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from commonplace.store.database import write_commit_marker
from commonplace.store.vector_index import Settings, check_space, now

__all__ = ["transaction"]


@contextmanager
def transaction(settings: Settings) -> Iterator[sqlite3.Connection]:
    """Lend a connection in one write transaction that increments the generation.

    The new generation tells every process that its indexes are out of date. Raises ModelMismatch if the collection was
    migrated to another model since it was opened, and CollectionError if it cannot be written.
    """
    with settings.database.write() as database:
        check_space(database, settings)
        yield database
        database.execute("UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE name = 'generation'")
        reached = now(database)
    write_commit_marker(settings.folder, *reached)
