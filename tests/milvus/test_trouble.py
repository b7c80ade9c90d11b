"""A server that is frozen, killed, started again, or not there at all; and limits of servers."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pymilvus", reason="needs the extra milvus")

from dataclasses import replace

from commonplace.errors import CollectionError, ModelMismatch
from commonplace.metadata import Metadata
from commonplace.store import StoreSpace
from commonplace.store.milvus.address import MilvusAddress
from commonplace.store.milvus.store import MilvusStore
from commonplace.types import Filter, stable_id
from tests.milvus_server import MilvusServer

from ..store.contract import DIM, parsed, vector, vectors_of
from .common import SPACE, collection_name, open_store

KILLS = 50 if os.environ.get("COMMONPLACE_LONG") == "1" else 1


def test_a_frozen_server_costs_the_timeout_and_one_line(
    milvus_server: MilvusServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with collection_name(milvus_server.uri) as name:
        store = open_store(milvus_server.uri, name, tmp_path, timeout=2)
        documents = [parsed("/a.txt", "words")]
        store.add(documents, vectors_of(documents))
        milvus_server.pause()
        try:
            with caplog.at_level(logging.DEBUG), pytest.raises(CollectionError, match="did not answer within 2 s") as e:
                store.search("text", vector("text", "words"), 1, Filter())
            assert "\n" not in str(e.value)
        finally:
            milvus_server.resume()
        assert store.search("text", vector("text", "words"), 1, Filter()).ids
        assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert "Traceback" not in "".join(capfd.readouterr())
        store.close()


@pytest.mark.parametrize("kill", range(KILLS))
def test_a_killed_server_loses_nothing_and_is_found_again(
    milvus_server: MilvusServer, tmp_path: Path, kill: int
) -> None:
    with collection_name(milvus_server.uri) as name:
        store = open_store(milvus_server.uri, name, tmp_path, timeout=60)
        acknowledged = 0
        for number in range(3 + kill % 5):
            documents = [parsed(f"/{number}.txt", f"words {number}", picture=f"p{number}")]
            store.add(documents, vectors_of(documents))
            acknowledged += 1
        milvus_server.kill()
        milvus_server.start()
        for number in range(acknowledged):
            ranked = store.search("text", vector("text", f"words {number}"), 1, Filter())
            assert store.items(ranked.ids)[ranked.ids[0]].text == f"words {number}"
        assert store.count() == 2 * acknowledged and store.maintenance.doctor() == []
        store.close()


def test_no_server_is_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    address = MilvusAddress("http://127.0.0.1:9", "notes", timeout=2)
    with pytest.raises(CollectionError, match=r"no Milvus server answers|did not answer") as error:
        MilvusStore(address, SPACE)
    assert "\n" not in str(error.value) and not [r for r in caplog.records if r.levelno >= logging.WARNING]


def test_another_model_is_refused(milvus_uri: str, tmp_path: Path) -> None:
    with collection_name(milvus_uri) as name:
        open_store(milvus_uri, name, tmp_path).close()
        with pytest.raises(ModelMismatch, match=r"made with the model test \(f1\)"):
            open_store(milvus_uri, name, tmp_path, space=StoreSpace("other", "f2", DIM))
        open_store(milvus_uri, name, tmp_path, space=StoreSpace("", None, DIM)).close()


def test_long_texts_and_names_are_stored_whole(milvus_uri: str, tmp_path: Path) -> None:
    """Fields of a server hold 65,535 bytes, and a Chinese character has three."""
    text = "".join(chr(0x4E00 + n % 5000) for n in range(50_000)) + "\U0001f40b\ud800 end"
    metadata = Metadata({"abstract": [f"{n} " + "词" * 3000 for n in range(30)], "year": 2024})
    with collection_name(milvus_uri) as name:
        store = open_store(milvus_uri, name, tmp_path)
        document = parsed("/a\udcff.txt", text, "short", metadata=metadata, stamp="x" * 100_000)
        store.add([document], vectors_of([document])[:0])
        (stored,) = store.documents()
        assert stored.metadata == metadata and len(stored.stamp) == 100_000 and stored.path == "/a\udcff.txt"
        (long, _) = store.items_of(stored.id)
        assert long.text == text.encode("utf-8", "replace").decode()
        assert store.count(Filter(path="/a\udcff.txt")) == 2
        store.add([replace(document, items=document.items[1:])], [])  # its pieces go with it
        assert store.count() == 1 and store.maintenance.doctor() == []
        store.set_setting("long", "设" * 60_000)
        store.set_setting("long", "置" * 70_000)
        assert store.setting("long") == "置" * 70_000
        store.close()


def test_a_batch_of_many_rows_is_split(milvus_uri: str, tmp_path: Path) -> None:
    dim = 2048  # 8 KB a row: the batch takes 80 MB, and servers refuse 64
    space = StoreSpace("wide", "f1", dim)
    rng = np.random.default_rng(0)
    with collection_name(milvus_uri) as name:
        store = open_store(milvus_uri, name, tmp_path, space=space, timeout=30)
        document = parsed("/a.txt", *(f"words {n}" for n in range(10_000)))
        (rows,) = vectors_of([document])
        values = rng.standard_normal((10_000, dim)).astype(np.float32)
        store.add([document], [replace(rows, vectors=values / np.linalg.norm(values, axis=1, keepdims=True))])
        assert store.count() == 10_000 and store.counts("vectors")["vectors"] == {"text": 10_000}
        assert store.remove([stable_id("/a.txt")]) == 1 and store.count() == 0
        store.close()


def test_another_kind_of_index_is_built_and_measured(milvus_uri: str, tmp_path: Path) -> None:
    dim, count = 32, 21_000
    rng = np.random.default_rng(1)
    centres = rng.standard_normal((100, dim))

    def drawn(number: int) -> np.ndarray:
        rows = centres[rng.integers(100, size=number)] + 0.8 * rng.standard_normal((number, dim))
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    queries, values = drawn(40), drawn(count)
    space = StoreSpace("drawn", "f1", dim, questions=lambda partition, cross: None if cross else queries)
    with collection_name(milvus_uri) as name:
        store = MilvusStore(MilvusAddress(milvus_uri, name, timeout=60), space)
        document = parsed("/a.txt", *(f"words {n}" for n in range(count)))
        (rows,) = vectors_of([document])
        store.add([document], [replace(rows, vectors=values)])
        store.maintenance.checkpoint()
        assert store.maintenance.status()["indexes"]["text"]["type"] == "HNSW"
        choice = store.maintenance.compress(0.9)["text"]
        assert choice.kind.startswith("IVF") and min(choice.recall.values()) >= 0.9
        index = store.maintenance.status()["indexes"]["text"]
        assert index["type"] == choice.kind and index["recall"] == choice.recall
        ids = np.array(rows.item_ids)
        truth = [set(ids[np.argsort(-(values @ query))[:10]]) for query in queries]
        best = [set(store.search("text", query, 10, Filter()).ids) for query in queries]
        assert np.mean([len(a & b) / 10 for a, b in zip(truth, best, strict=True)]) > 0.85
        assert store.maintenance.compress(None) == {}
        assert store.maintenance.status()["indexes"]["text"]["type"] == "HNSW"
        store.close()
