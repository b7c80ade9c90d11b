"""Pictures of a collection written out as files, to be shown."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from commonplace.errors import CollectionError
from commonplace.store import Finding, Store, abandoned
from commonplace.types import Item

__all__ = ["Crops"]

log = logging.getLogger("commonplace")

_HASH = re.compile(r"[0-9a-f]{40}")


class Crops:
    """The folder ``crops`` of a collection: a picture that is no file of its own is written here when it is shown."""

    def __init__(self, folder: Path, store: Store) -> None:
        self._folder = folder / "crops"
        self._store = store

    def show(self, item: Item) -> str | None:
        """Return the path of a file that shows the item's picture: the document itself, or its crop written out."""
        if item.picture is None:
            return None
        document = item.document
        if document.is_file and document.media_type.startswith("image/") and os.path.exists(document.path):
            return str(document.path)
        path = self._folder / f"{item.picture}.jpg"
        thumbnail = self._store.thumbnail(item.picture)
        if thumbnail is None:
            return None
        if not _is(path, thumbnail) and not self._write(path, thumbnail):
            return None
        return str(path.resolve())

    def _write(self, path: Path, content: bytes) -> bool:
        """Write a whole file; return False, with a warning, where that fails."""
        # Two threads may write out one picture at once.
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
                    continue  # an add tidied the empty folder away just then
                log.warning("the picture %s could not be written out (%s)", path, problem.strerror)
                with suppress(OSError):
                    part.unlink(missing_ok=True)
        return False

    def remove(self, ids: Iterable[str]) -> None:
        """Remove the crops of these documents' pictures; to be called before the documents are removed.

        Killed in between, the process leaves documents without crops, which are written again, and no crop of a
        document that is gone.
        """
        try:
            for picture in self._store.pictures(ids):
                (self._folder / f"{picture}.jpg").unlink(missing_ok=True)
        except OSError as problem:
            raise CollectionError(
                f"{self._folder} cannot be written to ({problem.strerror}): check its permissions"
            ) from problem

    def prune(self) -> None:
        """Remove the crops that were written out to be shown and whose picture the collection no longer holds."""
        for file in self._folder.glob("*.jpg"):
            if _HASH.fullmatch(file.stem) and self._store.thumbnail(file.stem) is None:
                file.unlink(missing_ok=True)
        for file in abandoned(self._folder):
            file.unlink(missing_ok=True)
        with suppress(OSError):  # not there, or not empty
            self._folder.rmdir()

    def check(self, *, repair: bool = False) -> list[Finding]:
        """Return what is wrong with the files that were written out; ``repair`` removes those."""
        files = [file for file in self._folder.glob("*.jpg") if _HASH.fullmatch(file.stem)]
        wrong = [file for file in files if not _is(file, self._store.thumbnail(file.stem) or b"")]
        for file in wrong if repair else ():
            file.unlink(missing_ok=True)
        what = "pictures written out that are not what the collection holds"
        remedy = "written again when they are shown next"
        return [Finding(f"{what} ({wrong[0].name})", len(wrong), remedy, repair)] if wrong else []


def _is(path: Path, content: bytes) -> bool:
    """Return whether a file holds just this."""
    try:
        return path.read_bytes() == content
    except OSError:
        return False
