"""Collections on a real server, for its tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import time_ns

from commonplace.store import StoreSpace
from commonplace.store.milvus.address import MilvusAddress
from commonplace.store.milvus.blobs import Blobs
from commonplace.store.milvus.store import MilvusStore

from ..store.contract import DIM, hubness

SPACE = StoreSpace("test", "f1", DIM, offset=hubness)


def open_store(uri: str, name: str, folder: Path, *, space: StoreSpace = SPACE, timeout: float = 10.0) -> MilvusStore:
    """Open a collection on a server, with its pictures in ``folder``; its vectors are searched exactly."""
    tenant = name.partition("?tenant=")[2] or None
    address = MilvusAddress(uri, name.partition("?")[0], tenant, timeout=timeout)
    return MilvusStore(address, space, blobs=Blobs.open(f"file://{folder}/blobs"), exact=True)


@contextmanager
def collection_name(uri: str) -> Iterator[str]:
    """Lend a new name of a collection; what is stored under it is dropped in the end."""
    from pymilvus import MilvusClient

    name = f"t{time_ns():x}"
    yield name
    client = MilvusClient(uri=uri, timeout=30)
    for collection in client.list_collections():
        if collection == name or collection.startswith(f"{name}__"):
            client.drop_collection(collection)
    client.close()
