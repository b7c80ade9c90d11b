"""Reading labelled queries, and resolving their labels to real items."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import commonplace as cp
from commonplace.errors import QueryError, ReadError
from commonplace.evaluation import LabelledQuery, load_queries
from commonplace.evaluation.queries import judge_queries

from .conftest import QUESTIONS

Write = Callable[..., Path]
ASK = {"text": "snow", "relevant": {"weather.txt": 1}}


def items(kb: cp.Collection) -> dict[str, cp.Item]:
    """Return every item of the collection by id; two searches find them all."""
    hits = [*kb.search("pump snow ball", k=50), *kb.search("水泵", k=50)]
    return {hit.item.id: hit.item for hit in hits}


def named(kb: cp.Collection, label: str, folder: Path) -> list[cp.Item]:
    """Return the items that a label names."""
    (bound,) = judge_queries(kb.store, [LabelledQuery("q", {label: 1.0}, "words", folder=folder)])
    items_by_id = items(kb)
    return sorted((items_by_id[id_] for id_ in bound.grades), key=lambda item: (item.modality, item.span.start or 0))


@pytest.mark.parametrize("damage", ["text = 'a lie'", "key = 1 << 50", "document = 999"])
def test_a_damaged_item_is_left_out_of_labels(tmp_path: Path, damage: str) -> None:
    """One item that is not what was stored must not keep the others from being found."""
    for name in ("snow", "pump", "brass"):
        (tmp_path / f"{name}.txt").write_text(f"Only this file is about {name}.")
    with cp.open(tmp_path / "kb") as kb:
        kb.add(*tmp_path.glob("*.txt"), workers=1, progress=False)
        connection = sqlite3.connect(tmp_path / "kb" / "collection.db", isolation_level=None)
        connection.execute(f"UPDATE items SET {damage} WHERE text LIKE '%brass%'")
        connection.close()
        queries = [LabelledQuery(name, {f"{name}.txt": 1}, name, folder=tmp_path) for name in ("snow", "pump")]
        assert [len(judged.grades) for judged in judge_queries(kb.store, queries)] == [1, 1]
        if damage != "key = 1 << 50":  # the key is in no checksum: the item is whole
            with pytest.raises(QueryError, match="brass"):
                judge_queries(kb.store, [LabelledQuery("brass", {"brass.txt": 1}, "brass", folder=tmp_path)])


def test_a_file_is_read_as_it_is_written(write: Write, folder: Path) -> None:
    path = write(*QUESTIONS, "", "  ")
    queries = load_queries(path)
    assert [query.id for query in queries] == [query["id"] for query in QUESTIONS]
    assert [query.line for query in queries] == list(range(1, 8))
    assert queries[0].text == "Which seal does the north pump need?" and queries[0].image is None
    assert queries[5].image == folder / "pictures" / "box.png" and queries[5].relevant == {"pictures/ball.png": 3.0}
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))  # as Windows writes it
    assert load_queries(path) == queries


def test_a_query_without_an_id_gets_a_stable_one(write: Write) -> None:
    (first,) = load_queries(write(ASK))
    (second,) = load_queries(write("", {**ASK, "relevant": {"zh.txt": 2}}))
    (other,) = load_queries(write({**ASK, "text": "rain"}))
    assert first.id == second.id != other.id


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{text: 1}", "not JSON"),
        ('{"text": "a", "text": "b", "relevant": {"weather.txt": 1}}', "'text' occurs twice"),
        ('{"text": "a", "relevant": {"weather.txt": 1, "weather.txt": 2}}', "'weather.txt' occurs twice"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "no JSON object"),
        ({"relevant": {"weather.txt": 1}}, "the query is empty"),
        ({"text": "  ", "relevant": {"weather.txt": 1}}, "the query is empty"),
        ({"text": "snow"}, "nothing is relevant"),
        ({"text": "snow", "relevant": {}}, "nothing is relevant"),
        ({"text": "snow", "relevant": ["weather.txt"]}, "nothing is relevant"),
        ({"text": 3, "relevant": {"weather.txt": 1}}, "'text' is no string"),
        ({**ASK, "image": "pictures/gone.png"}, "no picture pictures/gone.png"),
        ({**ASK, "image": "pictures"}, "no picture pictures"),
        ({**ASK, "image": "a\x00b"}, "no picture"),
        ({**ASK, "direction": "sideways"}, "'direction' is 'sideways'"),
        ({**ASK, "relevent": {}}, "unknown field 'relevent'"),
        *(
            ({"text": "snow", "relevant": {"weather.txt": grade}}, "grade of 'weather.txt'")
            for grade in (0, -1, True, "1", None, float("nan"), float("inf"), 10**400, 1e10)
        ),
    ],
)
def test_an_invalid_line_is_refused_with_its_number(write: Write, line: Any, says: str) -> None:
    path = write(ASK, "", line)
    with pytest.raises(QueryError) as caught:
        load_queries(path)
    message = str(caught.value)
    assert message.startswith(f"{path.name}, line 3: ") and says in message and "\n" not in message


def test_a_repeated_id_names_both_lines(write: Write) -> None:
    with pytest.raises(QueryError, match=r"line 2: .* already in line 1"):
        load_queries(write({**ASK, "id": "a"}, {**ASK, "id": "a", "text": "rain"}))
    with pytest.raises(QueryError, match=r"line 2: .* already in line 1"):
        load_queries(write(ASK, ASK))


def test_an_empty_an_absent_and_a_foreign_file_are_refused(write: Write, folder: Path) -> None:
    with pytest.raises(QueryError, match="holds no queries"):
        load_queries(write("", " "))
    with pytest.raises(ReadError, match="cannot be read"):
        load_queries(folder / "gone.jsonl")
    with pytest.raises(ReadError, match="not UTF-8"):
        load_queries(folder / "pictures" / "ball.png")


# --- labels --------------------------------------------------------------------------------------------------


def test_a_path_and_a_document_id_name_every_item_of_it(kb: cp.Collection, folder: Path) -> None:
    (document,) = (document for document in kb.documents() if document.path.endswith("pumps.md"))
    by_path = named(kb, "pumps.md", folder)
    assert len(by_path) == document.items >= 2
    assert {item.modality for item in by_path} == {"text", "image"}
    for label in (document.id, document.path, "./pictures/../pumps.md"):
        assert named(kb, label, folder) == by_path


def test_a_fragment_names_the_picture_or_the_passage(kb: cp.Collection, folder: Path) -> None:
    (picture,) = named(kb, "pumps.md#image", folder)
    assert picture.modality == "image" and picture.text == "A red ball on white"
    assert all(item.modality == "text" for item in named(kb, "pumps.md#text", folder))
    passages = named(kb, "pumps.md#text=north  pump needs the\nblue seal", folder)
    assert passages and all("blue seal" in (item.text or "") for item in passages)
    assert named(kb, "pumps.md#image=red ball", folder) == [picture]
    assert named(kb, f"{picture.id}#image", folder) == named(kb, picture.id, folder) == [picture]


def test_items_without_vectors_can_be_labelled(kb: cp.Collection, folder: Path) -> None:
    (passage,) = named(kb, "zh.txt", folder)
    assert "密封圈" in (passage.text or "")


def test_a_document_is_known_through_a_link_and_by_a_name_with_a_hash(kb: cp.Collection, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "odd#text=1.txt").write_text("A lighthouse keeper.", encoding="utf-8")
    (tmp_path / "link").symlink_to(tmp_path / "notes", target_is_directory=True)
    with cp.open(tmp_path / "kb") as other:
        other.add(tmp_path / "notes", workers=1, progress=False)
        for label in ("notes/odd#text=1.txt", "link/odd#text=1.txt", "link/odd#text=1.txt#text=keeper"):
            (bound,) = judge_queries(other.store, [LabelledQuery("q", {label: 1.0}, "words", folder=tmp_path)])
            assert len(bound.grades) == 1


def test_items_after_removed_ones_are_found(tmp_path: Path) -> None:
    for number in range(8):
        (tmp_path / f"{number}.txt").write_text(f"Note number {number}.", encoding="utf-8")
    with cp.open(tmp_path / "kb") as kb:
        kb.add(tmp_path, workers=1, progress=False)
        kb.remove(*(tmp_path / f"{number}.txt" for number in range(6)))
        (bound,) = judge_queries(kb.store, [LabelledQuery("q", {"7.txt": 1.0}, "words", folder=tmp_path)])
        assert len(bound.grades) == 1


def test_labels_that_match_nothing_are_counted_and_listed(kb: cp.Collection, write: Write) -> None:
    labels = ["gone.txt", "pumps.md#video", "pumps.md#text=no such words", "pumps.md#text=", "", "a\x00b", "\ud800"]
    path = write(ASK, {"text": "x", "relevant": {"weather.txt": 1, **dict.fromkeys(labels, 1)}})
    with pytest.raises(QueryError) as caught:
        judge_queries(kb.store, load_queries(path))
    message = str(caught.value)
    assert message.startswith("7 labels match nothing") and "'gone.txt' (line 2)" in message
    assert "and 2 more" in message and "weather.txt" not in message and "\n" not in message
    with pytest.raises(QueryError, match="1 label matches nothing"):
        judge_queries(kb.store, [LabelledQuery("q", {"gone.txt": 1.0}, "words")])


def test_the_highest_of_several_grades_counts(kb: cp.Collection, folder: Path) -> None:
    relevant = {"pumps.md": 1.0, "pumps.md#image": 3.0}
    (bound,) = judge_queries(kb.store, [LabelledQuery("q", relevant, "words", folder=folder)])
    (picture,) = named(kb, "pumps.md#image", folder)
    assert bound.grades[picture.id] == 3.0
    assert {grade for id_, grade in bound.grades.items() if id_ != picture.id} == {1.0}
    assert bound.best_modalities == {"image"} and bound.direction == "mixed"


def test_the_direction_follows_from_query_and_relevant_items(kb: cp.Collection, write: Write) -> None:
    extra = {"id": "said", "text": "pumps", "relevant": {"pumps.md": 1}, "direction": "text->text"}
    judged = judge_queries(kb.store, load_queries(write(*QUESTIONS, extra)))
    assert {judged_query.query.id: judged_query.direction for judged_query in judged} == {
        "seal": "text->text",
        "snow": "text->text",
        "ball": "text->image",
        "box": "image->image",
        "what": "image->text",
        "both": "composed",
        "any": "mixed",
        "said": "text->text",
    }
