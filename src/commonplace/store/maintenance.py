"""Upkeep of a local store: what only files on this machine need."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from commonplace.errors import CollectionError
from commonplace.store.base import Finding
from commonplace.store.compression import DROPPING, STORED, Compression, chosen, compression_of, keep
from commonplace.store.opening import ready
from commonplace.store.partitions import Partitions
from commonplace.store.transaction import transaction
from commonplace.store.upkeep import Doctor, backup, copy_into, restored
from commonplace.store.vector_index import Settings, maintenance_lock
from commonplace.store.vectors import clear_shadow, drop_raw

__all__ = ["LocalMaintenance"]


class LocalMaintenance:
    """Checks, copies and shrinks the files of a store; see :class:`commonplace.store.Maintenance`.

    ``space`` and ``model`` are the model's name and folder; ``forget`` lets go of what the store derived from its
    database.
    """

    def __init__(
        self,
        settings: Settings,
        partitions: Partitions,
        space: str,
        model: str,
        forget: Callable[[], None],
    ) -> None:
        self._settings, self._database, self._folder = settings, settings.database, settings.folder
        self._partitions = partitions
        self._space, self._model = space, model
        self._forget = forget

    def checkpoint(self) -> None:
        """Move what was committed from SQLite's log into its file, and bring the index files in line with it."""
        self._partitions.flush()  # first: while an index file is being written, its reading keeps the log from emptying
        self._database.all("PRAGMA wal_checkpoint(TRUNCATE)")

    def vacuum(self) -> None:
        """Give back the room of what was removed: merge the word index, rewrite the database, make the index files
        anew.

        The vectors of the model before this one go too: a migration cannot be undone afterwards.
        """
        with maintenance_lock(self._folder):
            with transaction(self._settings) as database:
                if _meta(database, "beside:served"):
                    clear_shadow(database)
                database.execute("INSERT INTO lexicon (lexicon) VALUES ('optimize')")
            self._shrink()

    def _shrink(self) -> None:
        self._database.all("VACUUM")
        self._partitions.flush(always=True)
        self._database.all("PRAGMA wal_checkpoint(TRUNCATE)")

    def compress(self, recall: float | None) -> dict[str, Compression]:
        """Keep the rows that are searched as the smallest type that reaches ``recall`` of the exact best ten, measured
        on this collection; None: as they are. Returns the choice by partition: those of 50,000 rows or more.

        A part of the ranking state: every process follows. The vectors in the database stay as they are.
        """
        names = self._partitions.names()
        measured = {} if recall is None else {name: self._partitions[name].measure() for name in names}
        made = {name: choice for name, kinds in measured.items() if (choice := chosen(kinds, recall or 0)) is not None}
        with transaction(self._settings) as database:
            before = compression_of(database)
            keep(database, made)
        for name in self._partitions.names():
            kinds = {choices[name].kind if name in choices else "float32" for choices in (before, made)}
            self._partitions[name].flush(always=len(kinds) > 1)
        return made

    def drop_raw(self, recall: float) -> dict[str, Compression]:
        """Keep the vectors in the database as float16 alone, these and those that are added from now on, and search
        the smallest rows made of them, as :meth:`compress` does. Returns by partition what that keeps of the recall.

        The recall is measured against the raw vectors before they go. Where one partition falls under ``recall``,
        CollectionError is raised and nothing has changed; a partition all of whose vectors are damaged stays as it is.
        Done in bounded transactions: after an interruption vectors of both types are there, all are searched, and the
        next call goes on. It cannot be undone.
        """
        with maintenance_lock(self._folder):
            return self._drop_raw(recall)

    def _drop_raw(self, recall: float) -> dict[str, Compression]:
        names = self._partitions.names()
        with self._database.snapshot() as database:
            held = compression_of(database, STORED)
        measured = {name: self._partitions[name].measure(halved=name not in held) for name in names}
        new = {
            name: replace(kinds["float32"], kind="float16")
            for name, kinds in measured.items()
            if name not in held and kinds
        }
        for name, choice in new.items():
            kept = min(choice.recall.values())
            if kept < recall:
                raise CollectionError(
                    f"the raw vectors stay: as float16 those of {name} would keep a recall of {kept:.4f}, and "
                    f"{recall:g} is asked for: ask for less with --recall"
                )
        with transaction(self._settings) as database:  # from here on what is added is float16 too
            keep(database, held | new, STORED)
            database.execute("INSERT OR REPLACE INTO meta VALUES (?, '1')", (DROPPING,))
        drop_raw(lambda: transaction(self._settings), held | new, self._settings.dim)
        best = {name: chosen(kinds, recall) for name, kinds in measured.items() if len(kinds) > 1}
        with transaction(self._settings) as database:  # nothing that was made of the raw vectors may be used
            database.execute("DELETE FROM meta WHERE name = ?", (DROPPING,))
            database.execute("UPDATE meta SET value = ? WHERE name = 'lineage'", (secrets.token_hex(10),))
            keep(database, {name: choice for name, choice in best.items() if choice is not None})
        self._shrink()
        return held | new

    def doctor(self, *, repair: bool = False) -> list[Finding]:
        """Return what is wrong with the collection, the gravest first; ``repair`` mends what needs no embedding."""
        if not repair:
            return Doctor(self._settings, repair=False).run()
        with maintenance_lock(self._folder):
            findings = Doctor(self._settings, repair=True).run()
            if findings:
                self._forget()
                self.checkpoint()
        return findings

    def backup(self, file: Path) -> int:
        """Write the collection into one new file, while it is used; return its bytes. See :func:`upkeep.backup`."""
        return backup(self._database, file)

    def restore(self, file: Path, *, replace: bool = False) -> None:
        """Put the collection of a backup in this one's place, at once and for every process.

        Raises CollectionError where the file is no whole backup, or where this collection holds documents and
        ``replace`` is not given; ModelMismatch, VersionError as opening does.
        """
        ((count,),) = self._database.all("SELECT count(*) FROM documents")
        if count and not replace:
            raise CollectionError(f"the collection holds {count} documents: --replace puts the backup in their place")
        if not self._database.writable:
            raise CollectionError(f"{self._folder} cannot be written to: check its permissions")
        fingerprint = self._settings.fingerprint or ""
        with maintenance_lock(self._folder):
            with restored(file, self._folder, self._space, fingerprint) as source, self._database.session() as database:
                copy_into(source, database)
            ready(self._settings, self._space, self._model)
            self._forget()
            self.checkpoint()

    def status(self) -> dict[str, Any]:
        """Return what each partition is searched with (``indexes``, see :meth:`VectorIndex.status`) and, where there
        are vectors of another model, what they are (``beside``, see :meth:`shadow`)."""
        shadow = self.shadow()
        return {"indexes": self.indexes(), **({} if shadow is None else {"beside": shadow})}

    def indexes(self) -> dict[str, dict[str, Any]]:
        """Return what each partition is searched with: see :meth:`VectorIndex.status`."""
        return {name: self._partitions[name].status() for name in self._partitions.names()}

    def shadow(self) -> dict[str, Any] | None:
        """Return what there is of another space: its model, whether it is ``unfinished`` or kept for an undo, bytes."""
        made = dict(self._database.all("SELECT name, value FROM meta WHERE name LIKE 'beside:%'"))
        if not made:
            return None
        ((count,),) = self._database.all("SELECT count(*) FROM beside_vectors")
        width = self._database.all("SELECT length(vector) FROM beside_vectors LIMIT 1")
        return {
            "model": made.get("beside:space", ""),
            "fingerprint": made.get("beside:fingerprint", ""),
            "unfinished": "beside:served" not in made,
            "vectors": count,
            "bytes": count * width[0][0] if width else 0,
        }


def _meta(database: sqlite3.Connection, name: str) -> str:
    row = database.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return str(row[0]) if row else ""
