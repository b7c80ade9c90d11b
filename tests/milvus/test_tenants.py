"""Runs the store contract over one of two tenants of a shared collection, in Milvus Lite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("pymilvus", reason="needs the extra milvus")

from commonplace.store.milvus.store import MilvusStore

from ..store.contract import StoreContract, parsed, vectors_of
from ..store.milvus.test_contract import open_store


class TestTenant(StoreContract):
    """One of two tenants of a shared collection. The other has documents with the same ids, words and pictures."""

    @pytest.fixture(autouse=True)
    def neighbour(self, tmp_path: Path) -> Iterator[None]:
        store = open_store(tmp_path / "store", "other")
        documents = [parsed("/a.txt", "blue pump of another tenant", picture="p"), parsed("/0/0.txt", "red seal")]
        store.add(documents, vectors_of(documents))
        yield
        assert {document.path for document in store.documents()} == {"/a.txt", "/0/0.txt"} and store.count() == 3
        assert store.thumbnail("p") == b"jpeg of p" and store.maintenance.doctor() == []
        store.close()

    def make(self, folder: Path) -> MilvusStore:
        return open_store(folder, "mine")
