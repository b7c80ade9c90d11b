"""Maintenance of a collection's files: check, back up, shrink, change the model."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from commonplace._session import Parts, Session
from commonplace.encoders import Model
from commonplace.errors import CollectionError, ModelError, QueryError
from commonplace.indexer import canonical_path
from commonplace.migrate import Migrated, migrate, model_for, store_for
from commonplace.space import open_space
from commonplace.store import Finding, StoreMaintenance

__all__ = ["Maintenance", "status"]


class Maintenance:
    """Looks after the files of a collection: ``commonplace.Collection.maintenance``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def doctor(self, *, repair: bool = False) -> list[Finding]:
        """Return what is wrong with the collection's files, the most serious first.

        ``repair`` rebuilds what is derived from other data. It never deletes stored documents or vectors: searches
        leave damaged ones out, and the finding says how to get them back.
        """
        with self._session.use() as parts:
            findings = _local(parts).doctor(repair=repair)
            try:
                parts.space.verify()
            except ModelError as problem:
                what, _, remedy = str(problem).rpartition(": ")
                findings.insert(0, Finding(what, 1, remedy))
            return [*findings, *parts.crops.check(repair=repair)]

    def backup(self, file: str | os.PathLike[str]) -> int:
        """Write the collection into one new file, also while it is in use; return the size of the file in bytes.

        Raises CollectionError where the file exists or cannot be written.
        """
        with self._session.use() as parts:
            return _local(parts).backup(canonical_path(file, CollectionError))

    def restore(self, file: str | os.PathLike[str], *, replace: bool = False) -> None:
        """Take over the contents of a backup.

        Raises CollectionError where ``file`` is no backup, or where the collection holds documents and ``replace`` is
        not set.
        """
        with self._session.use() as parts:
            before = [document.id for document in parts.store.documents()]
            _local(parts).restore(canonical_path(file, CollectionError), replace=replace)
            parts.crops.remove(before)
            parts.crops.prune()
        self._session.refresh()

    def vacuum(self) -> int:
        """Remove every trace of deleted documents and return the freed bytes.

        The vectors that ``migrate()`` kept for ``undo`` are removed too.
        """
        before = folder_size(self._session.folder)
        with self._session.use() as parts:
            _local(parts).vacuum()
        return before - folder_size(self._session.folder)

    def compress(self, recall: float | None = 0.99) -> dict[str, dict[str, Any]]:
        """Search smaller vectors: int8 instead of float16, where that keeps ``recall``, 0.5 to 1.

        The recall of the exact ten best is measured on this collection. None goes back to the vectors as they are.
        Returns type, recall and number of measured rows of each vector index with at least 50,000 rows; smaller ones
        gain nothing. The stored vectors stay as they are, so this can be undone.

        Raises QueryError for a recall out of range.
        """
        if recall is not None and not 0.5 <= recall <= 1:
            raise QueryError(f"recall is {recall}: choose .5 to 1")
        with self._session.use() as parts:
            choices = _local(parts).compress(recall)
        return {
            name: {"type": choice.kind, "recall": choice.recall, "rows": choice.rows}
            for name, choice in choices.items()
        }

    def migrate(
        self,
        model: str | os.PathLike[str] | Model | None = None,
        *,
        undo: bool = False,
        workers: int | None = None,
        progress: bool | None = None,
    ) -> Migrated:
        """Change the collection to another model (a bundle's folder or name; default: the shipped one), or ``undo``.

        Searches use the old vectors until the new ones are complete. After an interruption the next call continues.
        Raises CollectionError for a store that is not kept in files here.
        See ``commonplace.migrate.migrate`` for what is embedded from what, what is kept and what is raised.
        """
        folder = self._session.folder
        with self._session.use() as parts:
            _local(parts)
        with self._session.changing():
            report = migrate(folder, model, undo=undo, workers=workers, progress=progress)
            space = open_space(model_for(folder, model if isinstance(model, Model) else None))
            self._session.replace(store_for(folder, space), space)
        return report


def _local(parts: Parts) -> StoreMaintenance:
    """Return the upkeep of the store's files. Raises CollectionError for a store that has none here."""
    if parts.store.maintenance is None:
        raise CollectionError("this store is not kept in files here: look after it where it runs")
    return parts.store.maintenance


def status(parts: Parts) -> dict[str, Any]:
    """Return counts, model, size on disk in bytes and the indexes; see ``commonplace.Collection.status()``."""
    space = parts.space
    upkeep = {} if parts.store.maintenance is None else parts.store.maintenance.status()
    return {
        "collection": str(parts.folder),
        "model": {"name": space.name, "fingerprint": space.fingerprint, "dim": space.dim},
        "bytes": folder_size(parts.folder),
        **parts.store.counts(),
        **upkeep,
    }


def folder_size(folder: Path) -> int:
    """Return the bytes of all files below a folder; a file that disappears meanwhile counts nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.stat(os.path.join(parent, name)).st_size
    return total
