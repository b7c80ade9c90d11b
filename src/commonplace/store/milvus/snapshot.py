"""What a read sees: everything that any process had committed before it, and documents that are looked up once."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterable, Mapping
from time import monotonic, time, time_ns
from typing import Any, TypeVar

from commonplace.errors import CollectionError
from commonplace.store.milvus.connection import Connection
from commonplace.store.milvus.layout import Layout
from commonplace.store.milvus.records import Records
from commonplace.store.milvus.rows import StoredDocument

__all__ = ["LEASE", "Snapshot", "Snapshots"]

T = TypeVar("T")

LEASE = ".lease"
"""End of the name of a property that is renewed while a model changes; it says nothing about the contents."""
COMMIT = "commit."
"""Beginning of the properties with the newest commit of each writer."""
KEPT = 5_000  # of documents, items and vectors each
AT_ONCE = 0.005
"""Seconds within which several reads share one look for new commits: the channels of a search begin at once."""
RECENT = 0.25
OLDEST = 2.0  # seconds after which a snapshot is replaced, in case that a writer died before it told of its commit
DAY = 24 * 3600


class Snapshot:
    """The state of a collection at the newest commit that was known when it was made.

    ``since`` is the timestamp up to which reads see all writes. Documents are looked up once, and then kept.
    """

    def __init__(self, records: Records, properties: Mapping[str, str], since: int) -> None:
        self.properties, self.since = properties, since
        self.created_at = monotonic()
        self._records = records
        self._kept: dict[str, dict[str, Any]] = {}
        self._values: dict[Any, Any] = {}
        self._lock = threading.Lock()

    def documents(self, keys: Iterable[str]) -> dict[str, StoredDocument]:
        """Return the current documents with these keys (see ``key_of``), by key. Removed documents are absent."""
        return self.looked_up("documents", keys, lambda missing: self._records.documents(missing, self.since))

    def looked_up(
        self, kind: str, keys: Iterable[str], look_up: Callable[[list[str]], Mapping[str, T]]
    ) -> dict[str, T]:
        """Return what was looked up for these keys, now or before. ``look_up`` returns only what exists.

        ``kind`` separates what is looked up in different ways.
        """
        kept = self._kept.setdefault(kind, {})
        unique = list(dict.fromkeys(keys))
        missing = [key for key in unique if key not in kept]
        if missing:
            new = look_up(missing)
            self.keep(kind, new)  # what is absent is looked up again: another process may have added it
            return {key: value for key in unique if (value := new.get(key, kept.get(key))) is not None}
        return {key: kept[key] for key in unique}

    def keep(self, kind: str, values: Mapping[str, Any]) -> None:
        """Keep what has been read for some keys."""
        kept = self._kept.setdefault(kind, {})
        with self._lock:
            if len(kept) > KEPT:
                kept = self._kept[kind] = {}
            kept.update(values)

    def once(self, name: Any, value: Callable[[], T]) -> T:
        """Return a value that is computed once for this snapshot."""
        if name not in self._values:
            self._values[name] = value()
        result: T = self._values[name]
        return result


class Snapshots:
    """Makes snapshots, and tells other processes of the commits of this one.

    Each writer keeps the timestamp of its newest commit in a property of the collection of documents. Reading the
    properties costs about a millisecond; a strongly consistent read would wait for 200 to 400 ms.

    ``check`` raises ModelMismatch if the model in the properties is no longer the one that this process uses.
    """

    def __init__(
        self, connection: Connection, layout: Layout, records: Records, check: Callable[[Mapping[str, str]], None]
    ) -> None:
        self._connection, self._layout, self._records, self._check = connection, layout, records, check
        self._lock = threading.Lock()
        self._current: Snapshot | None = None
        self._looked = 0.0
        self._slot = ""
        self._committed = 0
        self._owner = f"{os.getpid():x}-{time_ns():x}"
        self._is_alone = connection.features.lite  # no other process can write

    def fresh(self, within: float = AT_ONCE) -> Snapshot:
        """Return a snapshot that contains every commit that ended ``within`` seconds before this call or earlier.

        Raises ModelMismatch if the collection was migrated to another model.
        """
        snapshot = self.newest(within)
        self._check(snapshot.properties)
        return snapshot

    def newest(self, within: float = AT_ONCE) -> Snapshot:
        """Return the snapshot of ``fresh()`` whatever the model is: for the end of a write."""
        called_at = monotonic()
        with self._lock:
            current = self._current
            if current is not None and self._looked >= called_at - within:
                return current
            looked = self._looked = monotonic()
            properties = self._layout.properties()
            properties = {name: value for name, value in properties.items() if not name.endswith(LEASE)}
            is_young = looked - (current.created_at if current is not None else 0.0) < OLDEST
            if current is not None and properties == current.properties and (is_young or self._is_alone):
                return current
            since = max([self._committed, *(self._timestamp(value) for value in _slots(properties).values())])
            self._current = Snapshot(self._records, properties, since)
            return self._current

    def of_now(self) -> Snapshot:
        """Return a snapshot that contains also commits that their writers have not told of yet."""
        return Snapshot(self._records, self._layout.properties(), self._connection.now() or -1)

    def recent(self) -> Snapshot:
        """Return a snapshot that is at most ``RECENT`` seconds old: for the later steps of a search."""
        current = self._current
        return current if current is not None and monotonic() - self._looked < RECENT else self.fresh()

    def publish(self) -> None:
        """Tell all processes that this one has just committed."""
        timestamp = self._connection.now() or time_ns()
        with self._lock:
            self._committed = max(timestamp, self._committed + 1)
            if not self._slot or self._owner not in self._layout.properties().get(self._slot, self._owner):
                self._slot = self._free_slot()  # it has none, or another process has taken it over
            self._layout.set_properties({self._slot: f"{self._committed} {self._owner} {time_ns() // 10**9}"})
            self._current = None

    def of_others(self, snapshot: Snapshot) -> dict[str, str]:
        """Return the newest commits of other writers."""
        return {name: value for name, value in _slots(snapshot.properties).items() if name != self._slot}

    def release(self) -> None:
        """Give the property of this writer to the next one."""
        if self._slot:
            try:
                self._layout.set_properties({self._slot: f"{self._committed} free {time_ns() // 10**9}"})
            except CollectionError:  # it can be taken over after a day
                return
            self._slot = ""

    def _free_slot(self) -> str:
        """Return a property that a former writer has left; without one a new property.

        Servers cannot delete properties, so their number would grow with each writer.
        """
        slots = _slots(self._layout.properties())
        now = time_ns() // 10**9
        names = [name for name, value in slots.items() if _is_free(value, now)]
        if not names:
            return f"{COMMIT}{self._owner}"
        self._committed = max([self._committed, *(self._timestamp(value) for value in slots.values())])
        return random.choice(names)

    def _timestamp(self, value: str) -> int:
        """Return the timestamp of a writer's newest commit; 0 if the property holds no possible one."""
        number = value.split(" ")[0]
        if not number.isdecimal() or len(number) > 19:
            return 0
        milliseconds = int(number) >> 18  # of a server's timestamp
        is_future = self._connection.features.timestamps and milliseconds > 1000 * (time() + DAY)
        return 0 if is_future else int(number)


def _slots(properties: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in properties.items() if name.startswith(COMMIT)}


def _is_free(value: str, now: int) -> bool:
    """Return whether a writer has given its property back a minute ago, or has not used it for a day."""
    _, owner, at = (*value.split(" "), "", "", "")[:3]
    return at.isdecimal() and now - int(at) > (60 if owner == "free" else DAY)
