"""Maintenance of a local collection: damage, backups, unused room, compression, index files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from commonplace.errors import CollectionError
from commonplace.store.backup import backup, copy_into, restored
from commonplace.store.base import Finding
from commonplace.store.compression import Compression, choose, compression_of, set_compression
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
    """What only a local store needs done to its files; ``store.maintenance``.

    What changes a collection in several transactions holds the maintenance lock: one process at a time. Searches go
    on meanwhile. ``space`` and ``model`` are the name and the folder of the model; ``forget`` drops what the store
    derived from its database.
    """

    def __init__(
        self, settings: Settings, partitions: Partitions, space: str, model: str, forget: Callable[[], None]
    ) -> None:
        self._settings, self._database, self._folder = settings, settings.database, settings.folder
        self._partitions = partitions
        self._space, self._model = space, model
        self._forget = forget

    def doctor(self, *, repair: bool = False) -> list[Finding]:
        """Return what is wrong with the collection, the gravest first; ``repair`` rebuilds what is derived."""
        if not repair:
            return Doctor(self._settings, repair=False).run()
        with maintenance_lock(self._folder):
            findings = Doctor(self._settings, repair=True).run()
            if findings:
                self._forget()
                self.checkpoint()
        return findings

    def backup(self, file: Path) -> int:
        """Write the collection into one new file while others read and write; return its bytes.

        Raises CollectionError where the file exists or cannot be written.
        """
        return backup(self._database, file)

    def restore(self, file: Path, *, replace: bool = False) -> None:
        """Put the collection of a backup in this one's place, in one step and for every process.

        Raises CollectionError where the file is no whole backup, or where this collection holds documents and
        ``replace`` is not given; ModelMismatch and VersionError as opening does.
        """
        ((count,),) = self._database.all("SELECT count(*) FROM documents")
        if count and not replace:
            raise CollectionError(f"the collection holds {count} documents: --replace puts the backup in their place")
        if not self._database.writable:
            raise CollectionError(f"{self._folder} cannot be written to: check its permissions")
        fingerprint = self._settings.fingerprint or ""
        with maintenance_lock(self._folder):
            with restored(file, self._folder, self._space, fingerprint) as source, self._database.session() as target:
                copy_into(source, target)
            ready(self._settings, self._space, self._model)
            self._forget()
            self.checkpoint()

    def vacuum(self) -> None:
        """Give back the room of what was removed: merge the word index, rewrite the file and the index files.

        What belongs to no document is deleted, and the vectors of an earlier model: a migration cannot be undone
        afterwards.
        """
        with maintenance_lock(self._folder):
            with transaction(self._settings) as database:
                if database.execute("SELECT 1 FROM meta WHERE name = 'shadow:served'").fetchone():
                    clear_shadow(database)
                sweep_all(database)
                database.execute("INSERT INTO lexicon (lexicon) VALUES ('optimize')")
            self._database.all("VACUUM")
            self._partitions.flush(always=True)
            self._database.all("PRAGMA wal_checkpoint(TRUNCATE)")

    def compress(self, recall: float | None) -> dict[str, Compression]:
        """Search the smallest kind of row that reaches ``recall``, 0 to 1, of the ten best; None: rows as they are.

        Recall is measured on this collection, with the queries that the model brings. Returns the choice by partition,
        of those with 50,000 rows or more: smaller ones gain nothing. A part of the ranking state: every process
        follows. The vectors in the database stay as they are.
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
        """Move what was committed from SQLite's log into its file, and bring the index files in line with it."""
        # First: while an index file is being written, the reading for it keeps SQLite from emptying its log.
        self._partitions.flush()
        self._database.all("PRAGMA wal_checkpoint(TRUNCATE)")

    def status(self) -> dict[str, Any]:
        """Return what each partition is searched with (``indexes``), and the other model if any (``shadow``)."""
        shadow = self.shadow()
        return {"indexes": self.indexes(), **({} if shadow is None else {"shadow": shadow})}

    def indexes(self) -> dict[str, dict[str, Any]]:
        """Return what each partition is searched with: see ``VectorIndex.status()``."""
        return {name: self._partitions[name].status() for name in self._partitions.names()}

    def shadow(self) -> dict[str, Any] | None:
        """Return model, fingerprint, vectors and bytes of the other model; None where there is none.

        ``unfinished`` says that a migration to it was interrupted; else it is kept for an undo.
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
