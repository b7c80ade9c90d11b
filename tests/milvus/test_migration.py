"""Migration on a real server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pymilvus", reason="needs the extra milvus")

from commonplace.store import StoreSpace
from commonplace.store.milvus.address import MilvusAddress
from commonplace.store.milvus.connection import Connection
from commonplace.store.milvus.store import MilvusStore

from ..store.milvus.test_migration import _own_cache, check_migration, folder  # noqa: F401  # the fixtures
from .common import collection_name


def test_migrate_and_undo(milvus_uri: str, tmp_path: Path, folder: Path) -> None:  # noqa: F811
    host = milvus_uri.partition("://")[2]
    with collection_name(milvus_uri) as name, collection_name(milvus_uri) as other:
        check_migration(f"milvus://{host}/{name}", f"milvus://{host}/{other}", folder, str(tmp_path / "blobs"))


def test_collections_without_indexes_disturb_nobody(milvus_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    call = Connection.call

    def cut_off(self: Connection, method: str, *values: Any, **options: Any) -> Any:
        if method == "create_index":
            raise KeyboardInterrupt
        return call(self, method, *values, **options)

    with collection_name(milvus_uri) as name:
        address = MilvusAddress(milvus_uri, name)
        with monkeypatch.context() as patch:
            patch.setattr(Connection, "call", cut_off)
            with pytest.raises(KeyboardInterrupt):
                MilvusStore(address, StoreSpace("old", "f", 4))
        store = MilvusStore(address, StoreSpace("old", "f", 4))
        with monkeypatch.context() as patch:
            patch.setattr(Connection, "call", cut_off)
            with pytest.raises(KeyboardInterrupt):
                store._layout.create_vectors(["text"], "g", "", 4)
        assert store._layout.of_vectors() == [] and store.counts("items") == {"items": {}}
        store.close()
