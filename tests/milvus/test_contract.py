"""Runs the store contract over a real Milvus server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("pymilvus", reason="needs the extra milvus")

from commonplace.store.milvus.store import MilvusStore

from ..store.contract import StoreContract
from .common import collection_name, open_store


class TestMilvusServer(StoreContract):
    @pytest.fixture(autouse=True)
    def server(self, milvus_uri: str) -> Iterator[None]:
        self.uri = milvus_uri
        with collection_name(milvus_uri) as self.name:
            yield

    def make(self, folder: Path) -> MilvusStore:
        return open_store(self.uri, self.name, folder)
