"""Maintenance of a local collection: damage, backups, unused disk space, compression, index files."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from commonplace.errors import CollectionError
from commonplace.i18n import _
from commonplace.store.backup import backup, copy_into, restored
from commonplace.store.base import Finding
from commonplace.store.compression import Compression, choose, compression_of, set_compression
from commonplace.store.lexical import merge_some_words, merge_words
from commonplace.store.locks import maintenance_lock
from commonplace.store.opening import ready
from commonplace.store.partitions import Partitions
from commonplace.store.transaction import transaction
from commonplace.store.upkeep import Doctor
from commonplace.store.vector_index import Settings
from commonplace.store.vectors import clear_shadow
from commonplace.store.writing import sweep_all

__all__ = ["LocalMaintenance"]


class LocalMaintenance:
    """Maintenance of a local store's files; the ``maintenance`` attribute of a store.

    Operations of several transactions hold the maintenance lock, so that only one process runs them at a time. Searches
    continue meanwhile. ``space`` and ``model`` are the name and the folder of the model. ``forget`` drops the data that
    the store derived from its database.
    """

    def __init__(
        self, settings: Settings, partitions: Partitions, space: str, model: str, forget: Callable[[], None]
    ) -> None:
        self._settings, self._database, self._folder = settings, settings.database, settings.folder
        self._partitions = partitions
        self._space, self._model = space, model
        self._forget = forget

    def paths(self) -> tuple[Path, ...]:
        """Return the collection's folder."""
        return (self._folder,)

    def doctor(self, *, repair: bool = False) -> list[Finding]:
        """Return the problems of the collection, the most serious first. ``repair`` rebuilds derived data.

        Raises CollectionError if the database cannot be read, or the store was closed.
        """
        self._database.check_open()
        if not repair:
            return Doctor(self._settings, repair=False).run()
        with maintenance_lock(self._folder):
            findings = Doctor(self._settings, repair=True).run()
            if findings:
                self._forget()
                self.checkpoint()
        return findings

    def backup(self, file: Path) -> int:
        """Write the collection into one new file and return its size in bytes; others may read and write meanwhile.

        Raises CollectionError if the file exists or cannot be written.
        """
        return backup(self._database, file)

    def restore(self, file: Path, *, replace: bool = False) -> None:
        """Replace this collection with a backup, in one step and for every process.

        Raises CollectionError if the file is not a complete backup, or if this collection contains documents and
        ``replace`` is False. Raises ModelMismatch if the backup was made with another model, and VersionError if it has
        another schema.
        """
        ((count,),) = self._database.all("SELECT count(*) FROM documents")
        if count and not replace:
            raise CollectionError(
                _("the collection contains {count} documents: use --replace to replace them").format(count=count)
            )
        if not self._database.writable:
            raise CollectionError(_("{folder} cannot be written to: check its permissions").format(folder=self._folder))
        fingerprint = self._settings.fingerprint or ""
        with maintenance_lock(self._folder):
            with restored(file, self._folder, self._space, fingerprint) as source, self._database.session() as target:
                copy_into(source, target)
            ready(self._settings, self._space, self._model)
            self._forget()
            self.checkpoint()

    def vacuum(self) -> None:
        """Free the disk space of removed data: merge the word index, rewrite the database and the index files.

        Data that belongs to no document is deleted. So are the vectors of an earlier model: a migration cannot be
        undone afterwards.
        """
        with maintenance_lock(self._folder):
            with transaction(self._settings) as database:
                if database.execute("SELECT 1 FROM meta WHERE name = 'shadow:served'").fetchone():
                    clear_shadow(database)
                sweep_all(database)
                merge_words(database)
            self._database.all("VACUUM")
            self._partitions.flush(always=True)
            self._database.all("PRAGMA wal_checkpoint(TRUNCATE)")

    def compress(self, recall: float | None) -> dict[str, Compression]:
        """Search with the smallest row type that reaches a recall@10 of ``recall`` (0 to 1); None turns it off.

        Recall is measured on this collection, with the queries that the model provides. Returns the choice by
        partition. Partitions with fewer than 50,000 rows gain nothing and are left out. The choice is part of the
        ranking state, so every process uses it. The vectors in the database do not change.
        """
        names = self._partitions.names()
        measured = {} if recall is None else {name: self._partitions[name].measure() for name in names}
        chosen = {name: best for name, kinds in measured.items() if (best := choose(kinds, recall or 0)) is not None}
        with transaction(self._settings) as database:
            before = compression_of(database)
            set_compression(database, chosen)
        for name in names:
            kinds = {choices[name].kind if name in choices else "float32" for choices in (before, chosen)}
            self._partitions[name].flush(always=len(kinds) > 1)
        return chosen

    def checkpoint(self) -> None:
        """Move committed changes from SQLite's log into its main file, and update the index files."""
        with suppress(CollectionError), self._database.write() as database:  # another process may be writing for long
            merge_some_words(database)
        # Index files first: the read transaction of a running build keeps SQLite from emptying its log.
        self._partitions.flush()
        self._database.all("PRAGMA wal_checkpoint(TRUNCATE)")

    def status(self) -> dict[str, Any]:
        """Return the state of each partition's index (``indexes``), and the other model if any (``shadow``)."""
        shadow = self.shadow()
        return {"indexes": self.indexes(), **({} if shadow is None else {"shadow": shadow})}

    def indexes(self) -> dict[str, dict[str, Any]]:
        """Return the state of each partition's index; see ``VectorIndex.status()``."""
        return {name: self._partitions[name].status() for name in self._partitions.names()}

    def shadow(self) -> dict[str, Any] | None:
        """Return name, fingerprint, number of vectors and bytes of the other model; None if there is none.

        ``unfinished`` tells that a migration to it was interrupted; otherwise it is kept for an undo.
        """
        facts = dict(self._database.all("SELECT name, value FROM meta WHERE name LIKE 'shadow:%'"))
        if not facts:
            return None
        ((count, size),) = self._database.all("SELECT count(*), total(length(vector)) FROM shadow_vectors")
        return {
            "model": facts.get("shadow:space", ""),
            "fingerprint": facts.get("shadow:fingerprint", ""),
            "unfinished": "shadow:served" not in facts,
            "vectors": count,
            "bytes": int(size),
        }
