"""Runs the contract over every store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from commonplace.collection import Collection
from commonplace.encoders import Model
from commonplace.errors import CollectionError, ModelMismatch, QueryError
from commonplace.retrieval import Ranking
from commonplace.space import Space, open_space
from commonplace.store import LocalStore, Store, StoreSpace

from .contract import DIM, StoreContract, hubness
from .memory_store import MemoryStore


class TestLocalStore(StoreContract):
    tolerance = 1e-3  # vectors are stored as float16

    def make(self, folder: Path) -> LocalStore:
        return LocalStore(folder, StoreSpace("test", "f1", DIM, offset=hubness))


class TestMemoryStore(StoreContract):
    """An eventually consistent store without full-text search, early fusion and maintenance."""

    persistent = False

    def make(self, folder: Path) -> MemoryStore:
        return MemoryStore(DIM, offset=hubness)

    def settle(self, store: Store) -> None:
        assert isinstance(store, MemoryStore)
        store.settle()


def test_a_collection_refuses_a_store_with_vectors_of_another_model(space: Space, tmp_path: Path) -> None:
    store = MemoryStore(space.dim)
    Collection(store, space, tmp_path / "kb")
    store.settle()
    Collection(store, space, tmp_path / "kb")
    other = open_space(Model(text=Letters(), name="letters"))
    with pytest.raises(ModelMismatch, match=r"holds vectors of the model \w+, not of letters"):
        Collection(store, other, tmp_path / "kb")


class Letters:
    """An encoder of texts: how often each letter occurs."""

    dim = 26
    fingerprint = "letters-1"

    def encode(self, views: Sequence[str], role: str = "document") -> NDArray[np.float32]:
        return np.array([[text.count(chr(97 + at)) + 0.01 for at in range(26)] for text in views], np.float32)


def test_a_collection_without_full_text_searches_and_notes_what_is_missing(
    space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("search_text", "search_fused", "score_fused", "sample_fused"):
        monkeypatch.delattr(MemoryStore, name)  # its capabilities say that nobody calls them
    notes = tmp_path / "notes"
    notes.mkdir()
    for name, text in (("pump", "The south pump runs dry."), ("snow", "Snow fell in the north all night.")):
        (notes / f"{name}.txt").write_text(text, encoding="utf-8")
    Image.new("RGB", (64, 64), "red").save(notes / "red.png")
    store = MemoryStore(space.dim, offset=space.offset)
    with Collection(store, space, tmp_path / "kb") as collection:
        (tmp_path / "kb").mkdir()
        assert collection.add(notes, workers=1, progress=False).added == 3
        assert not collection.search("which pump has no water?")  # not visible yet
        store.settle()
        assert collection.add(notes, workers=1, progress=False).unchanged == 3
        hits = collection.search("which pump has no water?")
        assert Path(hits[0].item.document.path).name == "pump.txt" and 0 < hits[0].confidence <= 1
        assert hits.notes == ("no lexical search: this store cannot search words",)
        assert {component.channel for component in hits[0].breakdown} >= {"text->text"}
        assert all(component.channel != "lexical" for hit in hits for component in hit.breakdown)
        picture = collection.search(image=notes / "red.png", k=1)
        assert Path(picture[0].item.document.path).name == "red.png" and picture.notes == ()
        assert collection.ask("which pump has no water?").citations
        assert (
            collection.status()["items"] == {"text": 2, "image": 1}
            and collection.find(notes / "pump.txt").status == "ok"
        )
        with pytest.raises(QueryError, match="cannot fuse"):
            collection.search("pump", ranking=Ranking(views="fused"))
        with pytest.raises(CollectionError, match="where it runs"):
            collection.maintenance.vacuum()
        with pytest.raises(CollectionError, match="where it runs"):
            collection.maintenance.migrate()
        assert collection.remove(notes / "pump.txt") == 1
        store.settle()
        assert [Path(document.path).name for document in collection.documents()] == ["red.png", "snow.txt"]
