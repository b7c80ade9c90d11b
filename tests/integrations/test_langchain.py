"""LangChain: its standard tests, and what a collection gives beyond them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langchain_core", reason="LangChain is not installed (extra langchain; make test-frameworks)")
pytest.importorskip("langchain_tests", reason="langchain-tests is not installed (make test-frameworks)")

from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import (
    EmbeddingsIntegrationTests,
    RetrieversIntegrationTests,
    VectorStoreIntegrationTests,
)

import commonplace as cp
from commonplace.integrations.langchain import CommonplaceEmbeddings, CommonplaceRetriever, CommonplaceVectorStore
from tests.integrations.conftest import colour


class TestVectorStoreStandard(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> Iterator[VectorStore]:
        with cp.open(tmp_path / "kb") as collection:
            yield CommonplaceVectorStore(collection)


class TestRetrieverStandard(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def collection(self, filled: cp.Collection) -> None:
        self.opened = filled

    @property
    def retriever_constructor(self) -> type[CommonplaceRetriever]:
        return CommonplaceRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"collection": self.opened}

    @property
    def retriever_query_example(self) -> str:
        return "Which pump needs the blue seal?"


class TestEmbeddingsStandard(EmbeddingsIntegrationTests):
    @pytest.fixture(autouse=True)
    def collection(self, kb: cp.Collection) -> None:
        self.opened = kb

    @property
    def embeddings_class(self) -> type[CommonplaceEmbeddings]:
        return CommonplaceEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"collection": self.opened}


class TestRecords:
    """Texts that LangChain adds are records of the collection."""

    def test_what_is_added_comes_back_as_it_was(self, kb: cp.Collection) -> None:
        store = CommonplaceVectorStore(kb)
        text = "  The north pump\n\nneeds the blue seal.\n"
        metadata = {
            "title": "Pumps",
            "year": 2024,
            "draft": False,
            "tags": ["a", "b"],
            "nothing": None,
            "nested": {"page": [1, "two"]},
            "created": "2024-05-31T10:00",
            "long": "x" * 9_000,
        }
        (id_,) = store.add_texts([text], [metadata], ids=["pumps/*.md"])
        (document,) = store.similarity_search("blue seal", k=1)
        assert (document.id, document.page_content, document.metadata) == (id_, text, metadata)
        assert store.get_by_ids([id_]) == [document]
        assert kb.get(id_) is not None and kb.search("blue seal")[0].item.document.title == "Pumps"

    def test_a_key_of_two_types_loses_no_text(self, kb: cp.Collection) -> None:
        store = CommonplaceVectorStore(kb)
        store.add_texts(["first page", "second page"], [{"page": "i"}, {"page": 2}], ids=["a", "b"])
        assert [document.metadata for document in store.get_by_ids(["b", "a"])] == [{"page": 2}, {"page": "i"}]
        assert [document.id for document in store.similarity_search("page", k=9, filter={"page": "i"})] == ["a"]

    def test_equal_texts_are_each_found(self, kb: cp.Collection) -> None:
        store = CommonplaceVectorStore(kb)
        ids = store.add_texts(["the same text"] * 3)
        assert {document.id for document in store.similarity_search("the same text", k=3)} == set(ids)

    def test_a_long_text_is_one_result(self, kb: cp.Collection) -> None:
        store = CommonplaceVectorStore(kb)
        text = "\n\n".join(f"Paragraph {number} tells of the pump and of its seal. " * 20 for number in range(6))
        store.add_texts([text, "Nothing else is here."], ids=["long", "short"])
        assert len(kb.items(kb.documents("long")[0])) > 2
        found = store.similarity_search("pump seal", k=2)
        assert [document.id for document in found] == ["long", "short"] and found[0].page_content == text

    def test_deleting_takes_ids_not_patterns(self, kb: cp.Collection) -> None:
        store = CommonplaceVectorStore(kb)
        store.add_texts(["one", "two", "three"], ids=["a", "b", "*"])
        store.delete(["*"])
        store.delete(["*", "?", ""])
        assert len(kb) == 2
        store.delete()
        assert len(kb) == 0

    def test_what_cannot_be_added_is_an_error_and_the_others_are_added(self, kb: cp.Collection) -> None:
        store = CommonplaceVectorStore(kb)
        with pytest.raises(cp.CollectionError, match=r"1 of 2 could not be added: record:b: its text is empty"):
            store.add_texts(["good", " "], ids=["a", "b"])
        assert "a" in kb and "b" not in kb
        with pytest.raises(ValueError, match="metadatas has 1 elements for 2"):
            store.add_texts(["one", "two"], [{}])

    def test_passages_of_files_are_removed_by_document(self, kb: cp.Collection, tmp_path: Path) -> None:
        (tmp_path / "guide.md").write_text("---\nauthor: Ada\n---\n# Pumps\n\nThe pump needs a blue seal.")
        kb.add(tmp_path / "guide.md", workers=1, progress=False)
        store = CommonplaceVectorStore(kb)
        (passage,) = store.similarity_search("blue seal", k=1)
        assert passage.metadata["source"] == str(tmp_path / "guide.md") and passage.metadata["author"] == ["Ada"]
        assert 0 < passage.metadata["score"] <= 1 and passage.metadata["headings"] == "Pumps"
        (same,) = store.get_by_ids([passage.id])
        assert same.page_content == passage.page_content and "score" not in same.metadata
        with pytest.raises(cp.QueryError, match="is a passage of"):
            store.delete([passage.id])
        store.delete([passage.metadata["document_id"]])
        assert len(kb) == 0

    def test_a_collection_embeds_with_its_own_model(self, tmp_path: Path) -> None:
        with pytest.raises(cp.QueryError, match="its own model"):
            CommonplaceVectorStore.from_texts(["a"], VectorStoreIntegrationTests.get_embeddings(), collection="kb")
        with pytest.raises(cp.QueryError, match="which collection"):
            CommonplaceVectorStore.from_texts(["a"])
        store = CommonplaceVectorStore.from_texts(["a pump"], None, [{"n": 1}], collection=str(tmp_path / "kb"))
        with store.collection:
            (document,) = CommonplaceVectorStore.from_documents(
                store.similarity_search("pump"), store.embeddings, collection=store.collection
            ).similarity_search("pump")
            assert document.metadata == {"n": 1} and len(store.collection) == 1


class TestSearches:
    def test_filters_are_those_of_the_collection(self, filled: cp.Collection) -> None:
        store = CommonplaceVectorStore(filled)

        def ids(filter_: Any) -> set[str | None]:
            return {document.id for document in store.similarity_search("pump", k=9, filter=filter_)}

        assert ids({"team": "water"}) == {"pump", "boiler"} == ids({"team": "WAT*"})
        assert ids({"year": {"$gte": 2020}}) == {"pump", "yard"} == ids({"year": {">=": 2020}})
        assert ids({"$and": [{"team": {"$in": ["water", "paint"]}}, {"year": {"$lt": 2020}}]}) == {"boiler"}
        assert ids(lambda document: document.metadata.get("team") != "water") == {"pay", "yard", "red", "blue"}
        with pytest.raises(cp.QueryError, match=r"'\$ne'.*use \$and, \$eq"):
            ids({"team": {"$ne": "water"}})
        assert {d.id for d in store.similarity_search("x", filter={"team": "water"}, where={"year": 2024})} == {"pump"}

    def test_a_picture_is_searched_with_and_without_words(self, filled: cp.Collection) -> None:
        store = CommonplaceVectorStore(filled)
        (document,) = store.similarity_search_by_image(colour(190, 40, 40), k=1)
        assert document.id == "red" and document.page_content == "a red square"
        assert Path(document.metadata["image"]).is_file() and document.metadata["modality"] == "image"
        retriever = CommonplaceRetriever(collection=filled)
        (document,) = retriever.invoke("", image=colour(40, 40, 190), k=1)
        assert document.metadata["document_id"] == "blue"

    def test_pictures_can_be_added(self, kb: cp.Collection) -> None:
        store = CommonplaceVectorStore(kb)
        store.add_images([colour(0, 150, 0)], [{"shelf": 3}], captions=["a green square"], ids=["green"])
        (document,) = store.similarity_search("green", k=1, filter={"shelf": 3})
        assert document.id == "green" and document.metadata["shelf"] == 3
        assert store.get_by_ids(["green"])[0].page_content == "a green square"

    def test_scores_are_probabilities(self, filled: cp.Collection) -> None:
        store = CommonplaceVectorStore(filled)
        found = store.similarity_search_with_relevance_scores("Which pump needs the blue seal?", k=4)
        assert found[0][0].id == "pump" and found[0][1] > 0.5 and all(0 <= score <= 1 for _document, score in found)
        retriever = store.as_retriever(search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.5})
        assert [document.id for document in retriever.invoke("Which pump needs the blue seal?")] == ["pump"]
        by_vector = store.similarity_search_by_vector(store.embeddings.embed_query("a pump that needs a seal"), k=1)
        assert [document.id for document in by_vector] == ["pump"]

    def test_results_may_have_to_differ(self, kb: cp.Collection) -> None:
        store = CommonplaceVectorStore(kb)
        store.add_texts(
            ["The pump needs a blue seal.", "The pump needs one blue seal.", "A pump stands in the yard."],
            ids=["a", "b", "c"],
        )
        close = store.max_marginal_relevance_search("the pump needs a blue seal", k=2, lambda_mult=1.0)
        assert {document.id for document in close} == {"a", "b"}
        apart = store.max_marginal_relevance_search("the pump needs a blue seal", k=2, lambda_mult=0.0)
        assert {document.id for document in apart} >= {"c"}

    def test_the_retriever_says_where_each_result_is(self, filled: cp.Collection) -> None:
        retriever = CommonplaceRetriever(collection=filled, k=2, options={"modality": "text"})
        first, second = retriever.invoke("Which pump needs the blue seal?")
        assert first.page_content.startswith("The north pump") and first.id == first.metadata["item_id"]
        metadata = first.metadata
        assert (metadata["source"], metadata["document_id"], metadata["team"]) == ("record:pump", "pump", "water")
        assert metadata["modality"] == second.metadata["modality"] == "text"
        assert metadata["score"] == pytest.approx(metadata["confidence"])
        assert {"channel", "contribution"} <= set(metadata["breakdown"][0])
        store = CommonplaceVectorStore(filled, details=True)
        assert store.similarity_search("blue seal", k=1)[0].metadata["item_id"] == first.id
        json.dumps(metadata)

    def test_an_unknown_option_is_an_error(self, filled: cp.Collection) -> None:
        with pytest.raises(cp.QueryError, match="no option 'fetch'"):
            CommonplaceRetriever(collection=filled).invoke("pump", fetch=3)
