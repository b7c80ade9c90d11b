"""Reading labelled questions, and tying their labels to real items."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import commonplace as cp
from commonplace.errors import QueryError, ReadError
from commonplace.evaluation import LabelledQuery, load_queries
from commonplace.evaluation.queries import bind

from .conftest import QUESTIONS

Write = Callable[..., Path]
ASK = {"text": "snow", "relevant": {"weather.txt": 1}}


def items(kb: cp.Collection) -> dict[str, cp.Item]:
    """Every item of the collection, found by searching."""
    hits = [*kb.search("pump snow ball", k=50), *kb.search("水泵", k=50)]
    return {hit.item.id: hit.item for hit in hits}


def named(kb: cp.Collection, label: str, folder: Path) -> list[cp.Item]:
    """The items that one label names."""
    (bound,) = bind(kb.store, [LabelledQuery("q", {label: 1.0}, "words", folder=folder)])
    known = items(kb)
    return sorted((known[id_] for id_ in bound.grades), key=lambda item: (item.modality, item.span.start or 0))


def test_a_file_is_read_as_it_is_written(write: Write, folder: Path) -> None:
    path = write(*QUESTIONS, "", "  ")
    found = load_queries(path)
    assert [one.id for one in found] == [one["id"] for one in QUESTIONS]
    assert [one.line for one in found] == list(range(1, 8))
    assert found[0].text == "Which seal does the north pump need?" and found[0].image is None
    assert found[5].image == folder / "pictures" / "box.png" and found[5].relevant == {"pictures/ball.png": 3.0}
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))  # as Windows writes it
    assert load_queries(path) == found


def test_a_question_without_an_id_gets_the_same_one_every_time(write: Write) -> None:
    (first,) = load_queries(write(ASK))
    (second,) = load_queries(write("", {**ASK, "relevant": {"zh.txt": 2}}))
    (other,) = load_queries(write({**ASK, "text": "rain"}))
    assert first.id == second.id != other.id


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{text: 1}", "not JSON"),
        ('{"text": "a", "text": "b", "relevant": {"weather.txt": 1}}', "'text' comes twice"),
        ('{"text": "a", "relevant": {"weather.txt": 1, "weather.txt": 2}}', "'weather.txt' comes twice"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "a question is a JSON object"),
        ({"relevant": {"weather.txt": 1}}, "there is no question"),
        ({"text": "  ", "relevant": {"weather.txt": 1}}, "there is no question"),
        ({"text": "snow"}, "nothing is relevant"),
        ({"text": "snow", "relevant": {}}, "nothing is relevant"),
        ({"text": "snow", "relevant": ["weather.txt"]}, "nothing is relevant"),
        ({"text": 3, "relevant": {"weather.txt": 1}}, "'text' must be a string"),
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
def test_a_line_that_is_no_question_is_refused_with_its_number(write: Write, line: Any, says: str) -> None:
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
    with pytest.raises(QueryError, match="holds no questions"):
        load_queries(write("", " "))
    with pytest.raises(ReadError, match="cannot be read"):
        load_queries(folder / "gone.jsonl")
    with pytest.raises(ReadError, match="not UTF-8"):
        load_queries(folder / "pictures" / "ball.png")


# --- labels --------------------------------------------------------------------------------------------------


def test_a_path_and_a_document_id_name_every_item_of_it(kb: cp.Collection, folder: Path) -> None:
    (document,) = (one for one in kb.documents() if one.path.endswith("pumps.md"))
    by_path = named(kb, "pumps.md", folder)
    assert len(by_path) == document.items >= 2
    assert {item.modality for item in by_path} == {"text", "image"}
    for label in (document.id, document.path, "./pictures/../pumps.md"):
        assert named(kb, label, folder) == by_path


def test_a_fragment_names_the_picture_or_the_passage(kb: cp.Collection, folder: Path) -> None:
    (picture,) = named(kb, "pumps.md#image", folder)
    assert picture.modality == "image" and picture.text == "A red ball on white"
    assert all(item.modality == "text" for item in named(kb, "pumps.md#text", folder))
    found = named(kb, "pumps.md#text=north  pump needs the\nblue seal", folder)
    assert found and all("blue seal" in (item.text or "") for item in found)
    assert named(kb, "pumps.md#image=red ball", folder) == [picture]
    assert named(kb, f"{picture.id}#image", folder) == named(kb, picture.id, folder) == [picture]


def test_words_without_a_vector_are_items_too(kb: cp.Collection, folder: Path) -> None:
    (passage,) = named(kb, "zh.txt", folder)
    assert "密封圈" in (passage.text or "")


def test_a_document_is_known_through_a_link_and_by_a_name_with_a_hash(kb: cp.Collection, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "odd#text=1.txt").write_text("A lighthouse keeper.", encoding="utf-8")
    (tmp_path / "link").symlink_to(tmp_path / "notes", target_is_directory=True)
    with cp.open(tmp_path / "kb") as other:
        other.add(tmp_path / "notes", workers=1, progress=False)
        for label in ("notes/odd#text=1.txt", "link/odd#text=1.txt", "link/odd#text=1.txt#text=keeper"):
            (bound,) = bind(other.store, [LabelledQuery("q", {label: 1.0}, "words", folder=tmp_path)])
            assert len(bound.grades) == 1


def test_items_are_found_where_others_were_removed(tmp_path: Path) -> None:
    for number in range(8):
        (tmp_path / f"{number}.txt").write_text(f"Note number {number}.", encoding="utf-8")
    with cp.open(tmp_path / "kb") as kb:
        kb.add(tmp_path, workers=1, progress=False)
        kb.remove(*(tmp_path / f"{number}.txt" for number in range(6)))
        (bound,) = bind(kb.store, [LabelledQuery("q", {"7.txt": 1.0}, "words", folder=tmp_path)])
        assert len(bound.grades) == 1


def test_labels_that_name_nothing_are_counted_and_listed(kb: cp.Collection, write: Write) -> None:
    labels = ["gone.txt", "pumps.md#video", "pumps.md#text=no such words", "pumps.md#text=", "", "a\x00b", "\ud800"]
    path = write(ASK, {"text": "x", "relevant": {"weather.txt": 1, **dict.fromkeys(labels, 1)}})
    with pytest.raises(QueryError) as caught:
        bind(kb.store, load_queries(path))
    message = str(caught.value)
    assert message.startswith("7 labels name nothing") and "'gone.txt' (line 2)" in message
    assert "and 2 more" in message and "weather.txt" not in message and "\n" not in message
    with pytest.raises(QueryError, match="1 label names nothing"):
        bind(kb.store, [LabelledQuery("q", {"gone.txt": 1.0}, "words")])


def test_the_highest_of_several_grades_counts(kb: cp.Collection, folder: Path) -> None:
    relevant = {"pumps.md": 1.0, "pumps.md#image": 3.0}
    (bound,) = bind(kb.store, [LabelledQuery("q", relevant, "words", folder=folder)])
    (picture,) = named(kb, "pumps.md#image", folder)
    assert bound.grades[picture.id] == 3.0
    assert {grade for id_, grade in bound.grades.items() if id_ != picture.id} == {1.0}
    assert bound.wanted == {"image"} and bound.direction == "mixed"


def test_the_direction_is_what_is_asked_and_what_is_relevant(kb: cp.Collection, write: Write) -> None:
    extra = {"id": "said", "text": "pumps", "relevant": {"pumps.md": 1}, "direction": "text->text"}
    found = bind(kb.store, load_queries(write(*QUESTIONS, extra)))
    assert {one.question.id: one.direction for one in found} == {
        "seal": "text->text",
        "snow": "text->text",
        "ball": "text->image",
        "box": "image->image",
        "what": "image->text",
        "both": "composed",
        "any": "mixed",
        "said": "text->text",
    }
