"""What several searches of one call read of a store: each item once, and of one state while a search goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from commonplace.store import Store
from commonplace.types import Filter, Item

__all__ = ["shared_reads", "snapshot_of"]

T = TypeVar("T")

MOST = 20_000
"""Number of items of which each kind of data is kept during a call. What is beyond is read again."""


def shared_reads(store: Store) -> Store:
    """Return a view of ``store`` for the searches of one call. What one of them reads of an item, others do not again.

    It holds no snapshot: a call may take long, with many searches. Drop the view after the call. The view of a view is
    itself.
    """
    return store if isinstance(store, _SharedReads) else cast(Store, _SharedReads(store))


def snapshot_of(store: Store) -> AbstractContextManager[None]:
    """Return ``store.snapshot()``, or nothing to wait for where the store has no snapshots."""
    return store.snapshot() if store.capabilities.snapshots else nullcontext()


class _SharedReads:
    """A store that keeps what was read of each item. Safe for several threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._items: dict[str, Item | None] = {}
        self._views: dict[str, frozenset[str] | None] = {}
        self._signatures: dict[str, bytes | None] = {}
        self._vectors: dict[str, dict[str, NDArray[np.float32] | None]] = {}
        self._counts: dict[Filter | None, int] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def items(self, ids: Sequence[str]) -> dict[str, Item]:
        return _kept(self._items, ids, self._store.items)

    def views(self, ids: Sequence[str]) -> dict[str, frozenset[str]]:
        return _kept(self._views, ids, self._store.views)

    def signatures(self, pictures: Sequence[str]) -> dict[str, bytes]:
        return _kept(self._signatures, pictures, self._store.signatures)

    def vectors(self, partition: str, ids: Sequence[str]) -> NDArray[np.float32]:
        def read(missing: Sequence[str]) -> dict[str, NDArray[np.float32]]:
            return dict(zip(missing, self._store.vectors(partition, missing), strict=True))

        if not len(ids):
            return self._store.vectors(partition, ids)
        rows = _kept(self._vectors.setdefault(partition, {}), ids, read)
        return np.stack([rows[id_] for id_ in ids])

    def count(self, where: Filter | None = None) -> int:
        if where not in self._counts:
            self._counts[where] = self._store.count(where)
        return self._counts[where]


def _kept(
    kept: dict[str, T | None], names: Sequence[str], read: Callable[[Sequence[str]], Mapping[str, T]]
) -> dict[str, T]:
    """Return what ``read`` returns for ``names``, which is called for those only that were not read before."""
    missing = [name for name in dict.fromkeys(names) if name not in kept]
    new: dict[str, T | None] = {**dict.fromkeys(missing), **read(missing)} if missing else {}
    if len(kept) < MOST:
        kept.update(new)
    values = ((name, new[name] if name in new else kept[name]) for name in names)
    return {name: value for name, value in values if value is not None}
