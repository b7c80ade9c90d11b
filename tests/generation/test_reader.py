"""The reader, which tells whether a sentence answers a question."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

import commonplace as cp
from commonplace.errors import ModelError
from commonplace.generation import extractive, reader
from commonplace.generation.reader import MOST, can_read, reading

BRIDGE = (
    "The bridge was built in 1932 by Dorman Long.",
    "The bridge is painted grey once in ten years.",
    "The bridge carries eight lanes of traffic to the north of the city.",
)


@pytest.mark.parametrize(
    ("question", "right"),
    [("When was the bridge built?", 0), ("What colour is the bridge?", 1), ("How many lanes does it carry?", 2)],
)
def test_the_sentence_that_answers_is_before_others_about_the_same_thing(question: str, right: int) -> None:
    logits = reading(question, BRIDGE)
    assert logits.shape == (3,) and int(logits.argmax()) == right
    assert np.abs(logits).max() <= MOST


def test_a_sentence_is_read_alike_alone_and_among_others() -> None:
    question = "When was the bridge built?"
    alone = np.concatenate([reading(question, [sentence]) for sentence in BRIDGE])
    np.testing.assert_allclose(reading(question, BRIDGE), alone, atol=0.15)


def test_texts_of_any_length_are_read() -> None:
    assert np.isfinite(reading("Why? " * 300, ["", "word " * 2000])).all()
    assert reading("Why?", []).shape == (0,)


@pytest.mark.parametrize(
    ("question", "sentences", "expected"),
    [
        ("When was the bridge built?", [], True),
        ("boiler pressure", ["The boiler holds a pressure of 2 bar when it is cold."], True),
        ("Wann wurde die Brücke gebaut?", [], False),
        ("Kesseldruck", ["Der Kessel hat kalt einen Druck von 2 bar, sagt der Monteur."], False),
        ("桥是什么时候建的？", ["The bridge was built in 1932."], False),
        ("", [], False),
    ],
)
def test_it_reads_english(question: str, sentences: list[str], expected: bool) -> None:
    assert can_read(question, sentences) is expected


def test_a_missing_file_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "FOLDER", tmp_path)
    reader._loaded.cache_clear()
    try:
        with pytest.raises(ModelError, match=r"model\.onnx"):
            reading("Why?", ["Because."])
    finally:
        reader._loaded.cache_clear()


def test_threads_that_ask_first_load_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    model = reader.CrossEncoder
    monkeypatch.setattr(reader, "CrossEncoder", lambda folder: made.append(folder) or model(folder))
    reader._loaded.cache_clear()
    threads = [threading.Thread(target=reading, args=("When was the bridge built?", BRIDGE)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [reader.FOLDER]


def test_an_answer_follows_the_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def of_last(question: str, sentences: list[str]) -> np.ndarray:
        read.extend(sentences)
        return np.array([MOST if "lanes" in sentence else -MOST for sentence in sentences])

    with cp.open(tmp_path / "kb") as kb:
        kb.add(cp.Record(" ".join(BRIDGE), id="bridge"), progress=False)
        before = kb.ask("When was the bridge built?").text
        monkeypatch.setattr(extractive, "reading", of_last)
        answer = kb.ask("When was the bridge built?").text
    assert set(read) <= set(BRIDGE) and len(read) == len(set(read)) <= extractive.READ_TOGETHER
    assert "1932" in before and "lanes" not in before and "lanes" in answer
