"""The lexical index's words: unsegmented scripts in pairs, questions as safe expressions."""

import json
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonplace.text import index_words, names, query_words, terms
from tests.conftest import data


def _found(text: str, question: str) -> bool:
    database = sqlite3.connect(":memory:")
    database.execute(
        "CREATE VIRTUAL TABLE lexicon USING fts5 (words, content='', "
        "tokenize=\"porter unicode61 remove_diacritics 2 categories 'L* N* Co Mn Mc'\")"
    )
    database.execute("INSERT INTO lexicon (rowid, words) VALUES (1, ?)", (index_words(text),))
    words = query_words(question)
    if not words:
        return False
    return bool(database.execute("SELECT 1 FROM lexicon WHERE lexicon MATCH ?", (" OR ".join(words),)).fetchall())


@pytest.mark.parametrize(
    ("text", "question", "expected"),
    [
        ("一只黑猫坐在红色的垫子上", "黑猫", True),
        ("一只黑猫坐在红色的垫子上", "垫子", True),
        ("黑猫", "猫", True),  # one character, also at the end of a run
        ("猫粮", "猫", True),
        ("一只黑猫坐在红色的垫子上", "白狗", False),
        ("東京タワーへ行く", "タワー", True),
        ("สวัสดีชาวโลก", "ชาวโลก", True),
        ("the Ångström unit", "angstrom", True),
        ("retrieving pictures", "retrieve", True),
        ("ＦＵＬＬ width", "full", True),
        ("a plain sentence", "quantum", False),
        ("what is this", "what is this", True),  # nothing but stop words: they count
    ],
)
def test_words_are_found(text: str, question: str, expected: bool) -> None:
    assert _found(text, question) is expected


def test_a_question_of_signs_only_has_no_words() -> None:
    assert query_words("?! -- …") == query_words("") == []


def test_stop_words_do_not_find_a_passage_by_themselves() -> None:
    assert not _found("this is about the sea", "where is the mountain")


@given(st.text(max_size=200), st.text(max_size=60))
def test_any_text_and_question_are_safe(text: str, question: str) -> None:
    clean = [part.encode("utf-8", "replace").decode() for part in (text, question)]
    _found(clean[0], clean[1])


def test_naughty_strings_are_safe() -> None:
    for string in json.loads((data("blns") / "blns.json").read_text(encoding="utf-8")):
        _found("some text", string)


def test_terms_meet_across_endings() -> None:
    assert terms("retrieval of pictures") & terms("to retrieve a picture") == {"retrie", "pictur"}
    assert terms("黑猫坐着") >= {"黑猫"}


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Who painted the Mona Lisa?", {"mona", "lisa"}),
        ("What does error 0x80370102 mean?", {"0x8037"}),
        ("what is a pump", set()),
        ("Which pump needs the blue seal?", set()),
        ("How much does a bolt M6 weigh?", {"m6"}),
        ("水泵什么时候干转？", set()),
    ],
)
def test_names_are_numbers_and_capitalised_words(question: str, expected: set[str]) -> None:
    assert names(question) == expected
