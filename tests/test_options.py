"""Options of a search as one object, many queries at once, vectors of the space and searches by a vector."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import commonplace as cp
from commonplace.options import AskRequest, SearchRequest
from tests.collection.common import PUMP, draw


@pytest.fixture(scope="module")
def kb(tmp_path_factory: pytest.TempPathFactory) -> cp.Collection:
    folder = tmp_path_factory.mktemp("options") / "notes"
    folder.mkdir()
    (folder / "pumps.md").write_text(PUMP, encoding="utf-8")
    (folder / "weather.txt").write_text("Snow fell on the mountains all night long.", encoding="utf-8")
    draw(folder / "ball.png", "red")
    draw(folder / "box.png", "blue", "rectangle")
    collection = cp.open(folder.parent / "kb")
    assert collection.add(folder, workers=1, progress=False).added == 4
    return collection


def picture(kb: cp.Collection, name: str) -> Path:
    return kb.folder.parent / "notes" / name


def summary(hits: cp.Hits) -> list[tuple[str, float, list[str]]]:
    return [(hit.item.id, round(hit.score, 4), [line.channel for line in hit.breakdown]) for hit in hits]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modalty": "text"}, "did you mean modality"),
        ({"kk": 3}, "did you mean k"),
        ({"Path": "x"}, "did you mean path"),
        ({"nli": "x"}, "choose from k, modality"),
        ({"k": "3"}, "k is '3'"),
        ({"k": True}, "k is True"),
        ({"min_confidence": "high"}, "min_confidence is 'high'"),
        ({"min_confidence": None}, "min_confidence is None"),
        ({"ranking": "rrf"}, "give a commonplace.Ranking"),
        ({"rerank": 5}, "rerank is 5"),
        ({"negative": 5}, "negative is 5"),
        ({"modality": ["text"]}, "choose text, image or audio"),
        ({"media_type": 5}, "media_type is 5"),
        ({"where": "author"}, "where is 'author'"),
        ({"after": "soon"}, "soon"),
    ],
)
def test_wrong_options_are_named(kb: cp.Collection, options: dict[str, Any], message: str) -> None:
    with pytest.raises(cp.QueryError) as error:
        kb.search("pump", **options)
    assert message in str(error.value) and "\n" not in str(error.value)
    if "nli" not in options:
        for call in (kb.ask, kb.stream):  # a stream raises the error before it is iterated
            with pytest.raises(cp.QueryError):
                call("pump", **options)
        with pytest.raises(cp.QueryError):
            kb.chat(**options)


def test_options_of_an_answer(kb: cp.Collection) -> None:
    for wrong, message in (({"nli": 3}, "nli is 3"), ({"searched_as": 3}, "searched_as is 3")):
        with pytest.raises(cp.QueryError, match=message):
            kb.ask("pump", **wrong)  # type: ignore[arg-type]
    options: cp.AskOptions = {"k": 2, "modality": "text"}
    answer = kb.ask("Which pump needs the blue seal?", **options)
    assert len(answer.hits) == 2 and not answer.abstained
    answer = kb.ask("And that?", searched_as="Which pump needs the blue seal?")
    assert answer.searched_as and answer.question == "And that?" and "blue" in answer.blocks[0].text


def test_requests_are_frozen_and_have_every_option() -> None:
    request = SearchRequest.of({"k": 3, "path": "*.md", "after": "2024"})
    assert (request.k, request.where.path, request.where.after) == (3, "*.md", "2024")
    assert AskRequest.of({}).k == 12 and SearchRequest.of({}).k == 10
    with pytest.raises(AttributeError):
        request.k = 4  # type: ignore[misc]


def test_the_docstring_of_search_lists_every_option() -> None:
    text = inspect.getdoc(cp.Collection.search) or ""
    for name in cp.SearchOptions.__annotations__:
        assert f"  {name}" in text or f", {name} " in text, name
    assert "**options" in str(inspect.signature(cp.Collection.search))
    assert set(cp.AskOptions.__annotations__) - set(cp.SearchOptions.__annotations__) == {
        "history",
        "nli",
        "searched_as",
    }


def test_many_queries_are_encoded_in_one_batch(kb: cp.Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    queries = ["blue seal", cp.Query("a red ball"), cp.Query(image=picture(kb, "box.png")),
               cp.Query("the same, but round", picture(kb, "box.png").read_bytes())]  # fmt: skip
    single = [kb.search(queries[0], k=3), kb.search("a red ball", k=3), kb.search(image=picture(kb, "box.png"), k=3),
              kb.search("the same, but round", image=picture(kb, "box.png"), k=3)]  # fmt: skip
    calls: list[int] = []
    assert kb.space.text is not None
    encode = kb.space.text.encode

    def counting(texts: list[str], role: Any = "document") -> Any:
        calls.append(len(texts))
        return encode(texts, role)

    monkeypatch.setattr(kb.space.text, "encode", counting)
    many = kb.search(queries, k=3)
    assert calls == [3]
    assert [summary(hits) for hits in many] == [summary(hits) for hits in single]
    assert kb.search([]) == [] and [len(hits) for hits in kb.search(("snow",), k=1)] == [1]
    assert kb.search(["x", "seal"], modality="text", negative="north")[1][0].item.modality == "text"


def test_wrong_lists_of_queries(kb: cp.Collection) -> None:
    for wrong, message in ((["pump", ""], "empty"), (["pump", None], "empty"), (["pump", 5], "the query is 5"),
                           (5, "the query is 5"), (b"pump", "the query is b'pump'")):  # fmt: skip
        with pytest.raises(cp.QueryError, match=message):
            kb.search(wrong)  # type: ignore[call-overload]
    with pytest.raises(cp.QueryError, match="takes no image"):
        kb.search(["pump"], image=picture(kb, "box.png"))  # type: ignore[call-overload]


def test_texts_and_pictures_as_vectors(kb: cp.Collection) -> None:
    queries = kb.embed_texts(["blue seal", "snow in the mountains"])
    documents = kb.embed_texts(["The north pump needs the blue seal."], role="document")
    path = picture(kb, "ball.png")
    images = kb.embed_images([path, str(path), path.read_bytes(), Image.open(path), np.asarray(Image.open(path))])
    for rows, count in ((queries, 2), (documents, 1), (images, 5)):
        assert rows.shape == (count, kb.space.dim) and rows.dtype == np.float32
        assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert np.allclose(images, images[0], atol=1e-5)
    assert (queries @ documents[0]).argmax() == 0
    assert kb.embed_texts([]).shape == (0, kb.space.dim) == kb.embed_images([]).shape
    shown = kb.embed_texts(["a red circle on white", "a page of a newspaper"]) @ images[0]
    assert shown[0] > shown[1]
    for wrong in ("a string", [5]):
        with pytest.raises(cp.QueryError, match="list of strings"):
            kb.embed_texts(wrong)  # type: ignore[arg-type]
    with pytest.raises(cp.QueryError, match="role"):
        kb.embed_texts(["x"], role="answer")  # type: ignore[arg-type]
    with pytest.raises(cp.QueryError, match="channel"):
        kb.embed_texts(["x"], channel="smell")  # type: ignore[arg-type]
    for bad in (path.name, 5, np.zeros((4, 4), np.uint8)):
        with pytest.raises(cp.CommonplaceError):
            kb.embed_images([bad])
    with pytest.raises(cp.QueryError, match="list of pictures"):
        kb.embed_images(str(path))


def test_one_vector_index_is_searched_by_a_vector(kb: cp.Collection) -> None:
    query = kb.embed_texts(["which gasket does the northern pump take"])[0]
    hits = kb.search(vector=7 * query, channel="text", k=2)  # its length does not matter
    assert "blue seal" in (hits[0].item.text or "") and len(hits) == 2
    row = kb.embed_texts([hits[0].item.text_view or ""], role="document")[0]
    for hit in hits:
        (line,) = hit.breakdown
        assert line.channel == "vector->text" and math.fsum([line.contribution]) == hit.score == (1 + line.score) / 2
    assert hits[0].breakdown[0].score == pytest.approx(float(row @ query), abs=2e-3)  # rows may be kept as float16
    assert [hit.breakdown[0].rank for hit in hits] == [1, 2]
    picture_row = kb.embed_images([picture(kb, "box.png")])[0]
    (hit,) = kb.search(vector=picture_row.tolist(), channel="image", k=1)
    assert hit.item.document.path.endswith("box.png") and hit.score == pytest.approx(1, abs=1e-3) and hit.image
    assert kb.search(vector=query, channel="text", path="*.txt")[0].item.document.path.endswith("weather.txt")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vector": [1.0, 2.0], "channel": "text"}, r"shape \(2,\): this collection's vectors have shape \(384,\)"),
        ({"vector": [math.nan] * 384, "channel": "text"}, "not finite"),
        ({"vector": [0.0] * 384, "channel": "text"}, "zero"),
        ({"vector": "words", "channel": "text"}, "give 384 numbers"),
        ({"vector": [1.0] * 384, "channel": "smell"}, "choose from text, image"),
        ({"vector": [1.0] * 384}, "choose from text, image"),
        ({"channel": "text"}, "give vector"),
        ({"vector": [1.0] * 384, "channel": "text", "text": "pump"}, "takes no text"),
        ({"vector": [1.0] * 384, "channel": "text", "min_confidence": 0.5}, "k and filters only"),
    ],
)
def test_wrong_vectors(kb: cp.Collection, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(cp.QueryError, match=message):
        kb.search(**arguments)
