"""The contract over every store."""

from __future__ import annotations

from pathlib import Path

from commonplace.store import LocalStore, Store

from .contract import DIM, StoreContract, hubness
from .memory_store import MemoryStore


class TestLocalStore(StoreContract):
    tolerance = 1e-3  # vectors are stored as float16

    def make(self, folder: Path) -> LocalStore:
        return LocalStore(folder, space="test", fingerprint="f1", dim=DIM, offset=hubness)


class TestMemoryStore(StoreContract):
    """Eventually consistent, and without words, early fusion and maintenance."""

    persistent = False

    def make(self, folder: Path) -> MemoryStore:
        return MemoryStore(DIM, offset=hubness)

    def settle(self, store: Store) -> None:
        assert isinstance(store, MemoryStore)
        store.settle()
