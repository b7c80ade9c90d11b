"""Crops: pictures of a collection that are written to files, so that they can be shown."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from commonplace.errors import CollectionError
from commonplace.i18n import _
from commonplace.store import Finding, Store, abandoned, thumbnail_if_reached
from commonplace.types import Item

__all__ = ["Crops"]

log = logging.getLogger("commonplace")

READERS = 8  # pictures of a bucket that are read at once
_HASH = re.compile(r"[0-9a-f]{40}")


class Crops:
    """The folder ``crops`` of a collection. A picture without its own file is written here when it is first shown."""

    def __init__(self, folder: Path, store: Store) -> None:
        self._folder = folder / "crops"
        self._store = store

    def show(self, item: Item) -> str | None:
        """Return the path of a file with the item's picture: the document itself, or its crop. None without one."""
        if item.picture is None:
            return None
        document = item.document
        if document.is_file and document.media_type.startswith("image/") and os.path.exists(document.path):
            return str(document.path)
        path = self._folder / f"{item.picture}.jpg"
        if not self._store.capabilities.files and path.is_file():
            return str(path.resolve())  # a bucket takes some milliseconds for each picture
        thumbnail = thumbnail_if_reached(self._store, item.picture)
        if thumbnail is None:
            return None
        if not _is(path, thumbnail) and not self._write(path, thumbnail):
            return None
        return str(path.resolve())

    def show_all(self, items: Sequence[Item]) -> list[str | None]:
        """Return what ``show()`` returns for each item. Pictures that are kept elsewhere are read at once."""
        if self._store.capabilities.files or len(items) < 2:
            return [self.show(item) for item in items]
        with ThreadPoolExecutor(READERS, "commonplace-crops") as readers:
            return list(readers.map(self.show, items))

    def _write(self, path: Path, content: bytes) -> bool:
        """Write a file atomically; return False, with a warning, if that fails."""
        # Two threads may write the same picture at once.
        part = path.with_suffix(f".{threading.get_ident()}.{os.getpid()}.part")
        for last in (False, True):
            try:
                path.parent.mkdir(exist_ok=True)
                with part.open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                part.replace(path)
                return True
            except OSError as problem:
                if isinstance(problem, FileNotFoundError) and not last:
                    continue  # an `add` has just removed the empty folder
                log.warning("the picture %s could not be written (%s)", path, problem.strerror)
                with suppress(OSError):
                    part.unlink(missing_ok=True)
        return False

    def remove(self, ids: Iterable[str]) -> None:
        """Remove the crops of these documents' pictures. Call it before removing the documents.

        If the process is killed in between, the crops are written again when needed, and no crop of a removed document
        remains. Raises CollectionError if the folder is not writable.
        """
        try:
            for picture in self._store.pictures(ids):
                (self._folder / f"{picture}.jpg").unlink(missing_ok=True)
        except OSError as problem:
            raise CollectionError(
                _("{folder} cannot be written to ({reason}): check its permissions").format(
                    folder=self._folder, reason=problem.strerror
                )
            ) from problem

    def prune(self) -> None:
        """Remove the crops whose picture is no longer in the collection."""
        names = [file.stem for file in self._folder.glob("*.jpg") if _HASH.fullmatch(file.stem)]
        existing = self._store.picture_sizes(names)  # in one call; a store may not know all sizes
        for name in names:
            if name not in existing and self._store.thumbnail(name) is None:
                (self._folder / f"{name}.jpg").unlink(missing_ok=True)
        for file in abandoned(self._folder):
            file.unlink(missing_ok=True)
        with suppress(OSError):  # the folder does not exist, or is not empty
            self._folder.rmdir()

    def check(self, *, repair: bool = False) -> list[Finding]:
        """Return the damaged or outdated crops as a finding; ``repair`` removes them."""
        files = [file for file in self._folder.glob("*.jpg") if _HASH.fullmatch(file.stem)]
        wrong = [file for file in files if not _is(file, self._store.thumbnail(file.stem) or b"")]
        for file in wrong if repair else ():
            file.unlink(missing_ok=True)
        what = _("crops that differ from the pictures in the collection")
        remedy = _("rewritten when they are shown next")
        return [Finding(f"{what} ({wrong[0].name})", len(wrong), remedy, repair)] if wrong else []


def _is(path: Path, content: bytes) -> bool:
    """Return whether a file has exactly this content."""
    try:
        return path.read_bytes() == content
    except OSError:
        return False
