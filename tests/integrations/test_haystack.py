"""Haystack: its public tests of document stores, and what a collection gives beyond them."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("haystack", reason="Haystack is not installed (extra haystack; make test-frameworks)")

from haystack import Document, Pipeline
from haystack.dataclasses import ByteStream
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy
from haystack.testing.document_store import DocumentStoreBaseTests
from haystack.testing.document_store_async import (
    CountDocumentsAsyncTest,
    DeleteDocumentsAsyncTest,
    WriteDocumentsAsyncTest,
)

import commonplace as cp
from commonplace.integrations.haystack import CommonplaceDocumentStore, CommonplaceHybridRetriever
from tests.integrations.conftest import colour


class Standard:
    """A new store for each test. Documents come by path, and without the embeddings that the tests made up."""

    @pytest.fixture
    def document_store(self, kb: cp.Collection) -> CommonplaceDocumentStore:
        return CommonplaceDocumentStore(kb)

    @staticmethod
    def assert_documents_are_equal(received: list[Document], expected: list[Document]) -> None:
        bare = [replace(document, embedding=None) for document in expected]
        assert sorted(received, key=lambda document: document.id) == sorted(bare, key=lambda document: document.id)


class TestDocumentStoreStandard(Standard, DocumentStoreBaseTests):
    def test_write_documents(self, document_store: CommonplaceDocumentStore) -> None:
        """Haystack leaves the default policy to the store: an id that exists is an error."""
        document = Document(content="test doc")
        assert document_store.write_documents([document]) == 1
        with pytest.raises(DuplicateDocumentError):
            document_store.write_documents([document])
        self.assert_documents_are_equal(document_store.filter_documents(), [document])


class TestAsyncDocumentStoreStandard(
    Standard, CountDocumentsAsyncTest, DeleteDocumentsAsyncTest, WriteDocumentsAsyncTest
):
    async def test_write_documents_async(self, document_store: CommonplaceDocumentStore) -> None:
        document = Document(content="test doc")
        assert await document_store.write_documents_async([document]) == 1
        with pytest.raises(DuplicateDocumentError):
            await document_store.write_documents_async([document])
        self.assert_documents_are_equal(await document_store.filter_documents_async(), [document])


@pytest.fixture(scope="module")
def store(filled: cp.Collection) -> CommonplaceDocumentStore:
    return CommonplaceDocumentStore(filled)


def ids(found: dict[str, list[Document]]) -> list[str]:
    return [document.id for document in found["documents"]]


def test_pictures_and_files_are_written(kb: cp.Collection) -> None:
    store = CommonplaceDocumentStore(kb)
    buffer = io.BytesIO()
    Image.fromarray(colour(0, 150, 0)).save(buffer, "PNG")
    picture = Document(
        content="a green square", blob=ByteStream(buffer.getvalue(), mime_type="image/png"), meta={"n": 1}
    )
    page = Document(
        blob=ByteStream(b"<p>The pump stands in the yard.", mime_type="text/html"), meta={"file_path": "a/b.html"}
    )
    assert store.write_documents([picture, page]) == 2
    assert {document.id: document for document in store.filter_documents()} == {picture.id: picture, page.id: page}
    retriever = CommonplaceHybridRetriever(store, top_k=1)
    (hit,) = retriever.run("a green square")["documents"]
    assert hit.id == picture.id and Path(hit.meta["file_path"]).is_file() and hit.meta["n"] == 1
    (hit,) = retriever.run("Where is the pump?")["documents"]
    assert hit.meta["document_id"] == page.id and hit.content == "The pump stands in the yard."
    assert store.filter_documents({"field": "meta.n", "operator": "==", "value": 1}) == [picture]


def test_policies_for_ids_that_exist(kb: cp.Collection) -> None:
    store = CommonplaceDocumentStore(kb)
    first, second = Document(id="1", content="a pump"), Document(id="1", content="a boiler")
    with pytest.raises(DuplicateDocumentError, match="two documents with the id 1"):
        store.write_documents([first, second])
    assert store.count_documents() == 0
    assert store.write_documents([first, second], DuplicatePolicy.SKIP) == 1
    assert store.filter_documents() == [first]
    assert store.write_documents([first, second], DuplicatePolicy.OVERWRITE) == 2
    assert store.filter_documents() == [second]
    store.delete_documents(["*", "?"])
    assert store.count_documents() == 1


def test_files_of_the_collection_are_documents(kb: cp.Collection, tmp_path: Path) -> None:
    (tmp_path / "guide.md").write_text("# Pumps\n\nThe pump needs a blue seal.", encoding="utf-8")
    kb.add(tmp_path / "guide.md", workers=1, progress=False)
    (document,) = CommonplaceDocumentStore(kb).filter_documents()
    assert document.content == "The pump needs a blue seal." and document.meta["source"] == str(tmp_path / "guide.md")


def test_a_pipeline_finds_and_is_stored(store: CommonplaceDocumentStore) -> None:
    pipeline = Pipeline()
    pipeline.add_component("retriever", CommonplaceHybridRetriever(store, top_k=2))
    loaded = Pipeline.loads(pipeline.dumps(), allowed_modules=["commonplace.integrations.haystack"])
    for run in (pipeline, loaded):
        found = run.run({"retriever": {"query": "Which pump needs the blue seal?"}})["retriever"]
        first = found["documents"][0]
        assert first.id == "pump" and first.content == "The north pump needs the blue seal." and len(ids(found)) == 2
        assert first.score == first.meta["score"] and 0.5 < first.score <= 1
        assert (first.meta["source"], first.meta["modality"], first.meta["team"]) == ("record:pump", "text", "water")
        assert first.meta["item_id"] and first.meta["breakdown"][0]["channel"]


async def test_a_picture_is_a_query(store: CommonplaceDocumentStore) -> None:
    buffer = io.BytesIO()
    Image.fromarray(colour(190, 40, 40)).save(buffer, "PNG")
    retriever = CommonplaceHybridRetriever(store, top_k=1)
    assert ids(retriever.run(image=ByteStream(buffer.getvalue()))) == ["red"]
    assert ids(await retriever.run_async("a square", image=buffer.getvalue())) == ["red"]
    assert ids(retriever.run("a square", top_k=0)) == []


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"field": "meta.team", "operator": "==", "value": "water"}, {"pump", "boiler"}),
        ({"field": "meta.team", "operator": "!=", "value": "water"}, {"pay", "yard", "red", "blue"}),
        ({"operator": "OR", "conditions": [
            {"field": "meta.team", "operator": "==", "value": "paint"},
            {"field": "meta.year", "operator": ">", "value": 2023}]}, {"pump", "red", "blue"}),
        ({"operator": "AND", "conditions": [
            {"field": "meta.team", "operator": "in", "value": ["water", "office"]},
            {"operator": "NOT", "conditions": [{"field": "meta.year", "operator": "==", "value": 2024}]},
        ]}, {"pay", "boiler", "yard"}),
    ],
)  # fmt: skip
def test_filters_narrow_the_search(
    store: CommonplaceDocumentStore, filters: dict[str, Any], expected: set[str]
) -> None:
    assert set(ids(CommonplaceHybridRetriever(store).run("pump", filters=filters))) == expected
    assert {document.id for document in store.filter_documents(filters)} == expected


def test_a_filter_sees_what_the_collection_cannot_compare(kb: cp.Collection) -> None:
    store = CommonplaceDocumentStore(kb)
    metas: list[dict[str, Any]] = [{"code": "x"}, {"Code": "x", "code": "y"}, {"code": 3}]
    written = [Document(id=str(n), content=f"pump {n}", meta=meta) for n, meta in enumerate(metas)]
    store.write_documents(written)
    retriever = CommonplaceHybridRetriever(store)
    for document in written:
        filters = {"field": "meta.code", "operator": "==", "value": document.meta["code"]}
        assert store.filter_documents(filters) == [document]
        assert ids(retriever.run("pump", filters=filters)) == [document.id]
