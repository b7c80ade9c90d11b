"""The library: the collections that a server serves, by name. Each is opened once, when it is first used."""

from __future__ import annotations

import os
import re
import shutil
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path

from commonplace.collection import Collection
from commonplace.encoders import DEFAULT_BUNDLE
from commonplace.encoders.packaged import packaged
from commonplace.encoders.presets import installed
from commonplace.errors import CollectionError
from commonplace.generation import Generator
from commonplace.i18n import _
from commonplace.opening import open_collection
from commonplace.places import FolderPlace, place_of
from commonplace.server.problems import BadRequest, Conflict, NotFound

__all__ = ["Library"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Library:
    """Collections by name. Safe for several threads.

    ``places`` are folders or URLs of collections. ``folder``, if given, is a folder whose subfolders are further
    collections; only there can collections be created and removed. ``model`` is the model of new collections.
    ``generator`` writes the answers (default: the extractive one).
    """

    def __init__(
        self,
        places: Mapping[str, str] | None = None,
        folder: str | os.PathLike[str] | None = None,
        *,
        model: str | None = None,
        generator: Generator | None = None,
        token: str | None = None,
    ) -> None:
        self._places = dict(places or {})
        self._folder = None if folder is None else Path(folder)
        self._model, self._generator, self._token = model, generator, token
        self._open: dict[str, Collection] = {}
        self._folders: dict[str, tuple[int, int]] = {}  # device and inode of what is open
        self._lock = threading.RLock()
        for name in self._places:
            _check_name(name)

    @property
    def is_growing(self) -> bool:
        """Whether collections can be created and removed."""
        return self._folder is not None

    @property
    def generator(self) -> Generator | None:
        """What writes the answers; None for the extractive one."""
        return self._generator

    def names(self) -> list[str]:
        """Return the names of the collections, sorted."""
        names = set(self._places)
        if self._folder is not None and self._folder.is_dir():
            with os.scandir(self._folder) as entries:
                names.update(
                    entry.name for entry in entries if _NAME.fullmatch(entry.name) and _is_collection(Path(entry.path))
                )
        return sorted(names)

    def get(self, name: str) -> Collection:
        """Return a collection, which is opened if it is not yet. Raises NotFound if there is none of this name."""
        with self._lock:
            if name in self._folders and self._folders[name] != _identity(self._path(name)):
                # Another process of the server removed it, and perhaps made a new one of this name.
                del self._folders[name]
                self._open.pop(name).close()
            if name not in self._open:
                if name not in self.names():
                    raise NotFound(_("there is no collection {name!r:.80}").format(name=name))
                self._opened(name, self._places.get(name) or str(self._path(name)))
            return self._open[name]

    def create(self, name: str, model: str | None = None) -> Collection:
        """Create a collection.

        ``model`` is a model of this machine by name, never by path. Raises Conflict if the name is taken, or no
        collection can be created here, and BadRequest for an unknown model.
        """
        _check_name(name)
        models = [DEFAULT_BUNDLE.name, *packaged(), *installed()]
        if model is not None and model not in models:
            raise BadRequest(
                _("there is no model {model!r:.80}: choose from {names}").format(model=model, names=", ".join(models))
            )
        with self._lock:
            if self._folder is None:
                raise Conflict(_("this server has fixed collections: start it with --collections FOLDER"))
            if name in self.names() or self._path(name).exists():
                raise Conflict(_("there is a collection {name}: choose another name").format(name=name))
            self._opened(name, str(self._path(name)), model)
            return self._open[name]

    def remove(self, name: str) -> None:
        """Remove a collection with everything in it. Raises NotFound, or Conflict if it is a fixed one."""
        with self._lock:
            if name not in self.names():
                raise NotFound(_("there is no collection {name!r:.80}").format(name=name))
            if name in self._places:
                raise Conflict(_("the collection {name} is a fixed one: remove it on the server").format(name=name))
            self._folders.pop(name, None)
            if collection := self._open.pop(name, None):
                collection.close()
            # It is gone at once, also for other processes of the server, which may have files of it open.
            removed = self._path(name).with_name(f".removed-{uuid.uuid4().hex}")
            self._path(name).rename(removed)
            shutil.rmtree(removed)

    def close(self) -> None:
        """Close all collections."""
        with self._lock:
            for collection in self._open.values():
                collection.close()
            self._open.clear()
            self._folders.clear()

    def _opened(self, name: str, place: str, model: str | None = None) -> None:
        self._open[name] = open_collection(place, model=model or self._model_of(place), token=self._token)
        self._open[name].generator = self._generator
        if name not in self._places and (identity := _identity(self._path(name))) is not None:
            self._folders[name] = identity

    def _path(self, name: str) -> Path:
        if self._folder is None or not _NAME.fullmatch(name):
            raise NotFound(_("there is no collection {name!r:.80}").format(name=name))
        return self._folder / name

    def _model_of(self, place: str) -> str | None:
        """Return the model for a collection: its own, if it exists already."""
        return None if place_of(place, token=self._token).exists() else self._model


def _identity(folder: Path) -> tuple[int, int] | None:
    """Return the device and the inode of a folder; None if there is none."""
    try:
        state = folder.stat()
    except FileNotFoundError:
        return None
    return state.st_dev, state.st_ino


def _is_collection(folder: Path) -> bool:
    return not folder.is_symlink() and folder.is_dir() and FolderPlace(folder).exists()


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise CollectionError(
            _("{name!r:.80} is no name of a collection: use letters, digits, and . _ - between them").format(name=name)
        )
