"""Deletion: which documents below a folder have lost their file, and whether that may be believed.

A folder that cannot be reached looks like a folder whose files were deleted. So nothing is removed where the folder is
gone or unreadable, or where the disk that held the files is not mounted; and where most files of a folder are gone at
once, somebody has to say that this is meant.
"""

from __future__ import annotations

import json
import os
import stat
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

from commonplace.i18n import _, system_reason
from commonplace.paths import canonical_path, document_id, is_inside, spellings
from commonplace.store import Store
from commonplace.types import Document

__all__ = ["MANY", "Deletable", "Mounts", "find_gone", "is_gone"]

MANY = 20
"""Number of documents from which on it is asked whether a deletion is meant: if they are more than half of a folder's,
or all that an emptied folder had.
"""
_MOUNTS = "mounts"  # the setting that names the mount points below which files were seen


@dataclass(slots=True)
class Deletable:
    """The documents that may be removed, by id, and the folders where none is, each with the reason.

    ``renamed`` says that a file lost the name that its document shows, but is still there: under another name, which a
    walk through the whole folder finds.
    """

    ids: list[str] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    renamed: bool = False


def is_gone(document: Document) -> bool:
    """Return whether the file of a document is no longer at its path. What cannot be told counts as still there.

    A broken link counts as still there: its file may be on a disk that is not mounted.
    """
    try:
        state = os.stat(document.path)
    except (FileNotFoundError, NotADirectoryError):
        return not os.path.islink(document.path)
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(state.st_mode) or document_id(Path(document.path)) != document.id


class Mounts:
    """The mount points below which the files of a collection were seen: an empty one is a disk that is missing."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._points: list[str] = sorted(json.loads(store.setting(_MOUNTS) or "[]"), key=len, reverse=True)

    def missing(self, path: str) -> str | None:
        """Return the mount point that held a file if nothing is mounted there now; None otherwise."""
        if not self._points:
            return None
        real = str(canonical_path(path))
        point = next((point for point in self._points if is_inside(real, point)), None)
        return None if point is None or os.path.ismount(point) else point

    def note(self, paths: Iterable[str]) -> None:
        """Remember the mount points of files that exist. One that holds files without being mounted is forgotten."""
        folders = {os.path.realpath(folder) for folder in {os.path.dirname(path) for path in paths}}
        mounted = {point for folder in folders for point in _mounts_above(folder)}
        kept = {
            point
            for point in self._points
            if os.path.ismount(point) or not any(is_inside(folder, point) for folder in folders)
        }
        points = sorted(mounted | kept)
        if points != sorted(self._points):
            self._store.set_setting(_MOUNTS, json.dumps(points))


def find_gone(
    store: Store, folders: Sequence[str], *, only: Collection[str] | None = None, many: bool = False
) -> Deletable:
    """Return the documents of files whose file is gone, at or below absolute paths of folders.

    ``only`` limits the search to documents at or below these paths. ``many`` allows a mass deletion.
    """
    gone, mounts = Deletable(), Mounts(store)
    for folder in folders:
        if reason := _unreachable(folder):
            if next(_below(store, folder), None) is not None:
                gone.refused.append((folder, reason))
            continue
        places = [folder] if only is None else [path for path in only if is_inside(path, folder)]
        documents = {document.id: document for place in places for document in _below(store, place)}
        lost = {id_: document for id_, document in documents.items() if is_gone(document)}
        if only is None:
            mounts.note(document.path for id_, document in documents.items() if id_ not in lost)
        else:
            renamed = {id_ for id_, document in lost.items() if _is_renamed(document)}
            gone.renamed |= bool(renamed)
            lost = {id_: document for id_, document in lost.items() if id_ not in renamed}
        allowed = _without_missing_disks(lost, mounts, gone)
        if len(allowed) >= MANY and not many and (reason := _mass_deletion(store, folder, allowed.values())):
            gone.refused.append((folder, reason))
        else:
            gone.ids += allowed
    return gone


def _unreachable(folder: str) -> str | None:
    """Return why a folder cannot be looked into; None where it can."""
    try:
        with os.scandir(folder):
            return None
    except (FileNotFoundError, NotADirectoryError):
        return _("the folder is gone; if that is meant: `commonplace remove {folder}`").format(folder=folder)
    except OSError as problem:
        return _("the folder cannot be read ({reason}); make it readable").format(reason=system_reason(problem))


def _below(store: Store, path: str) -> Iterator[Document]:
    """Yield the documents of files at or below a path, however it is written."""
    forms = dict.fromkeys(form for name in (path, os.path.realpath(path)) for form in spellings(name))
    for form in forms:
        for document in store.documents(below=form):
            if document.is_file:
                yield document


def _is_renamed(document: Document) -> bool:
    """Return whether a file that lost the name of its document is still there, perhaps under another name."""
    real = Path(os.fsdecode(unquote_to_bytes(urlsplit(document.uri).path)))
    return real.is_file() and document_id(real) == document.id


def _without_missing_disks(lost: dict[str, Document], mounts: Mounts, gone: Deletable) -> dict[str, Document]:
    """Return the documents that were not on a disk that is missing now, and note these disks in ``gone``."""
    points = {id_: mounts.missing(document.path) for id_, document in lost.items()}
    counts = Counter(point for point in points.values() if point is not None)
    for point, count in sorted(counts.items()):
        gone.refused.append(
            (point, _("nothing is mounted there; the {count} documents of that disk are kept").format(count=count))
        )
    return {id_: document for id_, document in lost.items() if points[id_] is None}


def _mass_deletion(store: Store, folder: str, lost: Collection[Document]) -> str | None:
    """Return why the loss of many documents may not be meant; None where it is an ordinary one."""
    total = len({document.id for document in _below(store, folder)})
    emptied = Counter(_nearest_folder(document.path) for document in lost)
    if 2 * len(lost) <= total and not any(count >= MANY and not os.listdir(path) for path, count in emptied.items()):
        return None
    return _(
        "the files of {count} of its {total} documents are gone; is a disk missing? If it is meant: "
        "`commonplace add --delete --delete-many {folder}`"
    ).format(count=len(lost), total=total, folder=folder)


def _nearest_folder(path: str) -> str:
    """Return the innermost folder above a path that exists."""
    folder = os.path.dirname(path)
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return folder


def _mounts_above(folder: str) -> Iterator[str]:
    """Yield the mount point of a folder; none for the root of the file system, which is always there."""
    while folder != os.path.dirname(folder):
        if os.path.ismount(folder):
            yield folder
            return
        folder = os.path.dirname(folder)
