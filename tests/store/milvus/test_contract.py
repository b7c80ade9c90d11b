"""Runs the store contract over Milvus Lite."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("pymilvus", reason="needs the extra milvus")

from commonplace.store import StoreSpace
from commonplace.store.milvus.address import MilvusAddress
from commonplace.store.milvus.store import MilvusStore

from ..contract import DIM, StoreContract, hubness


def open_store(folder: Path, tenant: str | None = None) -> MilvusStore:
    folder.mkdir(exist_ok=True)
    address = replace(MilvusAddress.parse(f"milvus-lite://{folder}/notes.db"), tenant=tenant)
    return MilvusStore(address, StoreSpace("test", "f1", DIM, offset=hubness))


class TestMilvusLite(StoreContract):
    def make(self, folder: Path) -> MilvusStore:
        return open_store(folder)
