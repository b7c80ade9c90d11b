"""Runs the contract over every store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from commonplace.collection import Collection
from commonplace.crops import Crops
from commonplace.encoders import Model
from commonplace.errors import CollectionError, ModelMismatch, QueryError
from commonplace.retrieval import Ranking
from commonplace.space import Space, open_space
from commonplace.store import LocalStore, Store, StoreSpace

from .contract import DIM, StoreContract, hubness, parsed, vectors_of
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
    for name in ("search_text", "search_paths", "occurrences", "search_fused", "score_fused", "sample_fused"):
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
        unknown, _missing = collection.search("насос гудит ночью").notes  # in letters that the model does not know
        assert unknown.split(": ")[1].startswith("they were not searched")
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


class SharedStore(MemoryStore):
    capabilities = replace(MemoryStore.capabilities, shared=True)


def test_files_that_are_missing_here_may_exist_on_another_machine(space: Space, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text("The same words.", encoding="utf-8")
    store = SharedStore(space.dim)
    with Collection(store, space, tmp_path / "kb") as collection:
        assert collection.add(tmp_path / "one", workers=1, progress=False).added == 1
        store.settle()
        (tmp_path / "one" / "a.txt").unlink()  # as if it were on another machine
        report = collection.add(tmp_path / "two", workers=1, progress=False)
        store.settle()
        assert (report.added, report.moved, len(collection)) == (1, 0, 2)
        with pytest.raises(CollectionError, match="files of other machines"):
            collection.remove(missing=True)
        assert collection.remove(tmp_path / "one") == 1


class CountingStore(MemoryStore):
    """A store that counts the pictures that are read, because a bucket takes milliseconds for each."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.read: list[str] = []

    def thumbnail(self, picture: str) -> bytes | None:
        self.read.append(picture)
        return super().thumbnail(picture)


def test_pictures_of_a_bucket_are_read_once(tmp_path: Path) -> None:
    store = CountingStore(DIM)
    names = [f"{n:040x}" for n in range(3)]
    documents = [parsed(f"/{name}.pdf", picture=name, media_type="application/pdf") for name in names]
    store.add(documents, vectors_of(documents))
    store.settle()
    crops = Crops(tmp_path, store)
    paths = crops.show_all([document.items[0] for document in documents])
    assert [Path(path).read_bytes() for path in paths if path] == [b"jpeg of " + name.encode() for name in names]
    assert len(store.read) == 3
    assert [crops.show(document.items[0]) for document in documents] == paths and len(store.read) == 3
    crops.prune()
    assert len(store.read) == 3 and all(Path(path).exists() for path in paths if path)
    store.remove([documents[0].document.id])
    store.settle()
    crops.prune()
    assert [Path(path).exists() for path in paths if path] == [False, True, True] and len(store.read) == 4
    Path(paths[1]).write_bytes(b"damaged")  # type: ignore[arg-type]
    (finding,) = crops.check(repair=True)
    assert finding.count == 1 and not Path(paths[1]).exists()  # type: ignore[arg-type]


class UnreachedPictures(MemoryStore):
    """A store whose pictures are in a bucket that does not answer."""

    def thumbnail(self, picture: str) -> bytes | None:
        raise CollectionError("the blobs did not answer")


def test_a_search_goes_on_without_pictures_that_cannot_be_reached(
    space: Space, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Image.new("RGB", (64, 64), "red").save(tmp_path / "red.png")
    (tmp_path / "page.md").write_text("A red square.\n\n![A red square](red.png)\n", encoding="utf-8")
    store = UnreachedPictures(space.dim, offset=space.offset)
    with Collection(store, space, tmp_path / "kb") as collection:
        collection.add(tmp_path / "page.md", workers=1, progress=False)
        store.settle()
        hits = collection.search("a red square", image=tmp_path / "red.png")
        assert {hit.item.modality for hit in hits} == {"text", "image"} and all(hit.image is None for hit in hits)
        assert "is left out: the blobs did not answer" in caplog.text
        assert collection.ask("Which square is red?", image=tmp_path / "red.png").blocks is not None
