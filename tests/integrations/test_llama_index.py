"""LlamaIndex: a collection as a multi-modal retriever."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

pytest.importorskip("llama_index.core", reason="LlamaIndex is not installed (extra llama-index; make test-frameworks)")

from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import ImageDocument, ImageNode, MetadataMode, NodeWithScore, QueryBundle, TextNode
from llama_index.core.vector_stores import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

import commonplace as cp
from commonplace.integrations.llama_index import CommonplaceMultiModalRetriever
from tests.integrations.conftest import colour

QUESTION = "Which pump needs the blue seal?"


@pytest.fixture
def red(tmp_path: Path) -> Path:
    """A picture file like the red square of the library."""
    Image.fromarray(colour(190, 40, 40)).save(tmp_path / "query.png")
    return tmp_path / "query.png"


def documents(nodes: list[NodeWithScore]) -> list[str]:
    return [node.metadata["document_id"] for node in nodes]


def test_a_result_says_where_it_is(filled: cp.Collection) -> None:
    retriever = CommonplaceMultiModalRetriever(filled, similarity_top_k=4)
    nodes = retriever.retrieve(QUESTION)
    assert len(nodes) == 4 and [node.score for node in nodes] == sorted((node.score for node in nodes), reverse=True)
    node = nodes[0].node
    assert isinstance(node, TextNode) and node.text == "The north pump needs the blue seal."
    assert node.ref_doc_id == node.metadata["document_id"] == "pump" and node.node_id == node.metadata["item_id"]
    assert node.metadata["source"] == "record:pump" and node.metadata["modality"] == "text"
    assert nodes[0].score == node.metadata["score"] and node.metadata["breakdown"][0]["channel"]
    shown = node.get_content(metadata_mode=MetadataMode.LLM)
    assert "team: water" in shown and "breakdown" not in shown


def test_a_page_has_its_place(kb: cp.Collection, tmp_path: Path) -> None:
    pages = [Image.new("RGB", (600, 800), "white") for _number in range(2)]
    for page, ink in zip(pages, ("blue", "red"), strict=True):
        ImageDraw.Draw(page).ellipse((100, 200, 500, 600), fill=ink)
        ImageDraw.Draw(page).line((50, 50, 550, 750), fill="black", width=9)
    pages[0].save(tmp_path / "scan.pdf", save_all=True, append_images=pages[1:])
    kb.add(tmp_path / "scan.pdf", workers=1, progress=False)
    nodes = CommonplaceMultiModalRetriever(kb).retrieve("a red square")
    (node,) = (node for node in nodes if node.metadata["page"] == 2)
    assert isinstance(node.node, ImageNode) and len(node.metadata["box"]) == 4
    assert Path(str(node.node.image_path)).is_file() and node.metadata["source"] == str(tmp_path / "scan.pdf")


def test_a_picture_is_a_query(filled: cp.Collection, red: Path) -> None:
    retriever = CommonplaceMultiModalRetriever(filled, similarity_top_k=1)
    buffer = io.BytesIO()
    Image.open(red).save(buffer, "JPEG")
    encoded = base64.b64encode(buffer.getvalue()).decode()
    for query in (
        QueryBundle("", image_path=str(red)),
        QueryBundle("a red square", image_path=str(red)),
        ImageNode(image_path=str(red)),
        ImageNode(image=encoded),
        ImageDocument(image_path=str(red)),
    ):
        (node,) = retriever.retrieve(query)
        assert documents([node]) == ["red"] and isinstance(node.node, ImageNode)
        assert node.node.text == "a red square" and Path(str(node.node.image_path)).is_file()
    assert documents(retriever.image_to_image_retrieve(str(red))) == ["red"]


def test_a_picture_is_never_fetched(filled: cp.Collection) -> None:
    retriever = CommonplaceMultiModalRetriever(filled)
    with pytest.raises(cp.QueryError, match="no picture here"):
        retriever.retrieve(ImageNode(image_url="http://192.0.2.1/a.png"))
    with pytest.raises(cp.ReadError, match="no picture"):
        retriever.retrieve(QueryBundle("", image_path="http://192.0.2.1/a.png"))
    with pytest.raises(cp.QueryError, match="no base64"):
        retriever.retrieve(ImageNode(image="?"))
    with pytest.raises(cp.QueryError, match="QueryBundle"):
        retriever.retrieve(TextNode(text="pump"))  # type: ignore[arg-type]


async def test_one_modality_also_without_waiting(filled: cp.Collection, red: Path) -> None:
    retriever = CommonplaceMultiModalRetriever(filled)
    texts = await retriever.atext_retrieve(QUESTION)
    assert documents(texts)[0] == "pump" and {node.metadata["modality"] for node in texts} == {"text"}
    pictures = await retriever.atext_to_image_retrieve("a blue square")
    assert documents(pictures)[0] == "blue" and all(isinstance(node.node, ImageNode) for node in pictures)
    assert documents(await retriever.aimage_to_image_retrieve(str(red)))[0] == "red"
    assert documents(await retriever.aretrieve(QUESTION)) == documents(retriever.retrieve(QUESTION))


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([MetadataFilter(key="team", value="water")], {"pump", "boiler"}),
        ([MetadataFilter(key="team", value="WATER")], set()),
        ([MetadataFilter(key="team", value=["water", "paint"], operator=FilterOperator.IN),
          MetadataFilter(key="year", value=2020, operator=FilterOperator.LT)], {"boiler"}),
        ([MetadataFilter(key="team", value="water", operator=FilterOperator.NE)], {"pay", "yard", "red", "blue"}),
        ([MetadataFilter(key="team", value="ain", operator=FilterOperator.TEXT_MATCH)], {"red", "blue"}),
        ([MetadataFilter(key="year", value=None, operator=FilterOperator.IS_EMPTY)], {"pay", "red", "blue"}),
        ([MetadataFilter(key="year", value="x", operator=FilterOperator.GT)], set()),
        ([MetadataFilter(key="modality", value="image")], {"red", "blue"}),
    ],
)  # fmt: skip
def test_filters_mean_what_llama_index_says(
    filled: cp.Collection, filters: list[MetadataFilter], expected: set[str]
) -> None:
    retriever = CommonplaceMultiModalRetriever(filled, filters=MetadataFilters(filters=filters))
    assert set(documents(retriever.retrieve("pump"))) == expected


def test_filters_of_which_one_must_be_met(filled: cp.Collection) -> None:
    either = [MetadataFilter(key="team", value="paint"), MetadataFilter(key="year", value=2024)]
    filters = MetadataFilters(filters=either, condition=FilterCondition.OR)
    retriever = CommonplaceMultiModalRetriever(filled, filters=filters, options={"where": {"team": ["water", "paint"]}})
    assert set(documents(retriever.retrieve("pump"))) == {"pump", "red", "blue"}


def test_a_query_engine_answers_from_it(filled: cp.Collection) -> None:
    retriever = CommonplaceMultiModalRetriever(filled, 2, options={"modality": "text"})
    response = RetrieverQueryEngine.from_args(retriever, llm=MockLLM()).query(QUESTION)  # the model repeats its prompt
    assert documents(response.source_nodes)[0] == "pump"
    assert "The north pump needs the blue seal." in str(response) and "breakdown" not in str(response)
