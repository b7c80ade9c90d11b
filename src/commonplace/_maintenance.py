"""Maintenance of a collection: check, back up, copy, shrink, change the model."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from commonplace._session import Parts, Session
from commonplace.encoders import Model
from commonplace.errors import CollectionError, ModelError, QueryError
from commonplace.i18n import _
from commonplace.metadata import UNREAD_SPEECH
from commonplace.paths import canonical_path
from commonplace.places import FolderPlace, Place, model_for, place_of, store_for
from commonplace.space import open_space
from commonplace.store import FileMaintenance, Finding, Store, StoreMaintenance
from commonplace.types import Condition, Filter

if TYPE_CHECKING:  # a search needs neither
    from commonplace.copying import Copied
    from commonplace.migrate import Migrated

__all__ = ["Maintenance", "status"]


class Maintenance:
    """Looks after the files of a collection: ``commonplace.Collection.maintenance``."""

    def __init__(self, session: Session, place: Place[Store]) -> None:
        self._session, self._place = session, place

    def doctor(self, *, repair: bool = False) -> list[Finding]:
        """Return what is wrong with the collection's files, the most serious first.

        ``repair`` rebuilds what is derived from other data. It never deletes stored documents or vectors: searches
        leave damaged ones out, and the finding says how to get them back.
        """
        with self._session.use() as parts:
            findings = _upkeep(parts).doctor(repair=repair)
            try:
                parts.space.verify()
            except ModelError as problem:
                what, remedy = re.split(r": (?!.*: )|：(?!.*：)", str(problem), maxsplit=1)
                findings.insert(0, Finding(what, 1, remedy))
            return [*findings, *parts.crops.check(repair=repair)]

    def backup(self, file: str | os.PathLike[str]) -> int:
        """Write the collection into one new file, also while it is in use; return the size of the file in bytes.

        Raises CollectionError where the file exists or cannot be written.
        """
        with self._session.use() as parts:
            return _files(parts).backup(canonical_path(file, CollectionError))

    def restore(self, file: str | os.PathLike[str], *, replace: bool = False) -> None:
        """Take over the contents of a backup.

        Raises CollectionError where ``file`` is no backup, or where the collection holds documents and ``replace`` is
        not set.
        """
        with self._session.use() as parts:
            files = _files(parts)
            before = [document.id for document in parts.store.documents()]
            files.restore(canonical_path(file, CollectionError), replace=replace)
            parts.crops.remove(before)
            parts.crops.prune()
        self._session.refresh()

    def vacuum(self) -> int:
        """Remove every trace of deleted documents and return the bytes that were freed on this machine.

        The vectors that ``migrate()`` kept for ``undo`` are removed too. Raises CollectionError while another process
        is migrating.
        """
        with self._session.use() as parts:
            upkeep = _upkeep(parts)
            folders = [path for path in upkeep.paths() if not {*path.parents} & {*upkeep.paths()}]
            before = sum(map(folder_size, folders))
            upkeep.vacuum()
            return before - sum(map(folder_size, folders))

    def compress(self, recall: float | None = 0.99) -> dict[str, dict[str, Any]]:
        """Search smaller vectors: int8 instead of float16, where that keeps ``recall``, 0.5 to 1.

        The recall of the exact ten best is measured on this collection. None goes back to the vectors as they are.
        Returns type, recall and number of measured rows of each vector index with at least 50,000 rows; smaller ones
        gain nothing. The stored vectors stay as they are, so this can be undone.

        Raises QueryError for a recall out of range.
        """
        if recall is not None and not 0.5 <= recall <= 1:
            raise QueryError(_("recall is {recall}: choose .5 to 1").format(recall=recall))
        with self._session.use() as parts:
            choices = _upkeep(parts).compress(recall)
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
        Raises CollectionError for a store that is neither in files here nor in Milvus.
        See ``commonplace.migrate.migrate`` for what is embedded from what, what is kept and what is raised.
        """
        from commonplace.migrate import NO_FILES, migrate

        place = self._place
        with self._session.use() as parts:
            if isinstance(place, FolderPlace) and not parts.store.capabilities.files:
                raise CollectionError(_(NO_FILES).format(name=parts.name))
        with self._session.changing():
            report = migrate(place, model, undo=undo, workers=workers, progress=progress)
            space = open_space(model_for(place, model if isinstance(model, Model) else None))
            self._session.replace(store_for(place, space), space)
        return report

    def copy_to(
        self,
        target: str | os.PathLike[str],
        *,
        blobs: str | None = None,
        token: str | None = None,
        progress: bool | None = None,
    ) -> Copied:
        """Copy the collection to another folder or server, without embedding anything again; return what was copied.

        ``target``, ``blobs`` and ``token`` are as for ``commonplace.open``. Documents that the target has already are
        left alone, so that an interrupted copy continues, and its other documents are kept. Labels and the ranking are
        copied too. ``progress`` shows a bar (default: where standard error is a terminal).

        Raises CollectionError where the target cannot be used, ModelMismatch where it was made with another model.
        """
        from commonplace.copying import copy

        place = place_of(target, blobs=blobs, token=token)
        with self._session.use() as parts:
            if place.name == parts.name:
                raise CollectionError(
                    _("{name} cannot be copied onto itself: give another target").format(name=place.name)
                )
            store = store_for(place, parts.space)
            try:
                return copy(parts.store, store, parts.space, progress=progress)
            finally:
                store.close()


def _upkeep(parts: Parts) -> StoreMaintenance:
    """Return the maintenance of the store. Raises CollectionError for a store that has none here."""
    if parts.store.maintenance is None:
        raise CollectionError(_("{name} is not kept here: look after it where it runs").format(name=parts.name))
    return parts.store.maintenance


def _files(parts: Parts) -> FileMaintenance:
    """Return the maintenance of the collection's files. Raises CollectionError if there are none here."""
    if parts.store.maintenance is None or not parts.store.capabilities.files:
        raise CollectionError(
            _(
                "{name} is not kept in files here: look after it where it runs, or copy it to a folder with "
                "`commonplace copy`"
            ).format(name=parts.name)
        )
    return cast(FileMaintenance, parts.store.maintenance)


def status(parts: Parts) -> dict[str, Any]:
    """Return counts, model, size of a folder in bytes and the indexes; see ``commonplace.Collection.status()``."""
    space = parts.space
    upkeep = {} if parts.store.maintenance is None else parts.store.maintenance.status()
    size = {"bytes": folder_size(parts.folder)} if parts.store.capabilities.files else {}
    return {
        "collection": parts.name,
        "model": {"name": space.name, "fingerprint": space.fingerprint, "dim": space.dim},
        **size,
        **parts.store.counts(),
        **({"unread_speech": unread} if (unread := _unread_speech(parts.store)) else {}),
        **upkeep,
    }


def _unread_speech(store: Store) -> int:
    """Return the number of documents whose speech awaits a model."""
    where = Filter(metadata=(Condition(UNREAD_SPEECH, "text", ((("glob", "*"),),)),))
    return sum(1 for _document in store.documents(where=where))


def folder_size(folder: Path) -> int:
    """Return the bytes of all files below a folder; a file that disappears meanwhile counts nothing."""
    total = 0
    for parent, _folders, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.stat(os.path.join(parent, name)).st_size
    return total
