"""What a collection has open: its store, its space, and what is derived from both."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from commonplace.crops import Crops
from commonplace.errors import ModelMismatch
from commonplace.i18n import _
from commonplace.retrieval import Calibration
from commonplace.retrieval.background import learned
from commonplace.space import Space
from commonplace.store import Store

if TYPE_CHECKING:  # a search needs no generator
    from commonplace.generation import ExtractiveGenerator

__all__ = ["Parts", "Session"]

T = TypeVar("T")

FINGERPRINT = "fingerprint"
"""The setting that names the model of a store that does not check it itself."""


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of an open collection that belong together. ``name`` is its folder, or its URL without secrets."""

    name: str
    folder: Path
    store: Store
    space: Space
    crops: Crops
    calibration: Calibration
    query_means: Mapping[str, NDArray[np.float32]]

    @classmethod
    def of(cls, name: str, folder: Path, store: Store, space: Space) -> Parts:
        """Derive all parts from a store and a space."""
        calibration = Calibration.from_bundle(learned(space, store))
        return cls(name, folder, store, space, Crops(folder, store), calibration, space.means("query"))

    @cached_property
    def extractive(self) -> ExtractiveGenerator:
        """The generator that quotes sentences. It is made for the first answer."""
        from commonplace.generation import ExtractiveGenerator

        return ExtractiveGenerator(self.space, self.calibration)

    def forget(self) -> None:
        """Drop what was kept of documents that were removed."""
        if "extractive" in vars(self):
            self.extractive.forget()


def check_fingerprint(store: Store, space: Space) -> None:
    """Raise ModelMismatch if a store that does not check its model holds the vectors of another one.

    For such a store the fingerprint is kept as a setting.
    """
    if store.capabilities.guards_model:
        return
    stored = store.setting(FINGERPRINT)
    if stored is None:
        store.set_setting(FINGERPRINT, space.fingerprint)
    elif stored != space.fingerprint:
        raise ModelMismatch(
            _(
                "the store holds vectors of the model {stored}, not of {name} ({fingerprint}): open it with "
                "that model, or add the documents to an empty store"
            ).format(stored=stored, name=space.name, fingerprint=space.fingerprint)
        )


class Session:
    """Holds the current ``Parts``, and replaces them all at once. Safe for several threads."""

    def __init__(self, name: str, folder: Path, store: Store, space: Space) -> None:
        self.folder = folder
        self.adding = threading.RLock()
        """Held while files and records are added: one call of this process at a time."""
        self.parts = Parts.of(name, folder, store, space)
        self._lock = threading.Condition()
        self._changing = 0
        self._users: Counter[Store] = Counter()
        self._retired: set[Store] = set()

    @contextmanager
    def use(self) -> Iterator[Parts]:
        """Lend the parts. Their store stays open until they are returned, even if ``replace()`` came in between."""
        with self._lock:
            parts = self.parts
            self._users[parts.store] += 1
        try:
            yield parts
        finally:
            with self._lock:
                self._users[parts.store] -= 1
                unused = parts.store in self._retired and not self._users[parts.store]
                if unused:
                    self._retired.remove(parts.store)
            if unused:
                parts.store.close()

    def run(self, function: Callable[[Parts], T]) -> T:
        """Return what a function makes of the parts; it is called again where a migration came in between."""
        while True:
            with self.use() as parts:
                try:
                    return function(parts)
                except ModelMismatch:
                    if not self.replaced(parts):
                        raise

    def replaced(self, parts: Parts) -> bool:
        """Return whether these parts have been replaced; waits for a migration of this session to end."""
        with self._lock:
            self._lock.wait_for(lambda: not self._changing)
            return self.parts.store is not parts.store

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Mark the time in which the files change to another model; ``replace()`` is called within."""
        with self._lock:
            self._changing += 1
        try:
            yield
        finally:
            with self._lock:
                self._changing -= 1
                self._lock.notify_all()

    def refresh(self) -> None:
        """Derive the parts anew, after the contents of the store have changed."""
        self.parts = Parts.of(self.parts.name, self.folder, self.parts.store, self.parts.space)

    def replace(self, store: Store, space: Space) -> None:
        """Go on with another store and space; the old store is closed as soon as nobody uses it."""
        parts = Parts.of(self.parts.name, self.folder, store, space)
        with self._lock:
            before, self.parts = self.parts.store, parts
            used = bool(self._users[before])
            if used:
                self._retired.add(before)
        if not used:
            before.close()
