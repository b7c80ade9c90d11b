"""Matching decides as the local store's SQL does."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonplace.store.milvus.globs import compiled_glob
from commonplace.store.milvus.matching import allows
from commonplace.store.rows import condition_of, row_of_document
from commonplace.store.schema import SCHEMA, fill
from commonplace.types import Document, Filter
from tests.store.milvus.examples import (
    HOSTILE,
    UNDECODABLE,
    document,
    documents,
    filters,
    globs,
    hostile_documents,
    hostile_filters,
    short_texts,
)

MODALITIES = ("text", "image")


def database_of(rows: Sequence[Document]) -> sqlite3.Connection:
    """Return the tables of a local store with these documents, each with an item of each modality."""
    database = sqlite3.connect(":memory:")
    database.executescript(SCHEMA)
    for key, row in enumerate(rows):
        values = (key, str(key), *row_of_document(row)[1:], 0)
        database.execute(f"INSERT INTO documents VALUES ({', '.join('?' * len(values))})", values)
        for modality in MODALITIES:
            item = (f"{key}{modality}", key, modality, "", 0)
            database.execute("INSERT INTO items (id, document, modality, span, checksum) VALUES (?, ?, ?, ?, ?)", item)
    fill(database)
    return database


def selected(database: sqlite3.Connection, where: Filter, *, by_value: bool) -> set[tuple[int, str]]:
    condition, values = condition_of(where, by_value=by_value)
    statement = "SELECT d.key, i.modality FROM items i JOIN documents d ON d.key = i.document"
    return set(database.execute(f"{statement} WHERE {condition or 'true'}", values))


def allowed(rows: Sequence[Document], where: Filter) -> set[tuple[int, str]]:
    return {(key, name) for key, row in enumerate(rows) for name in MODALITIES if allows(where, name, row)}


@settings(max_examples=60, deadline=None)
@given(st.lists(documents(), min_size=1, max_size=6), st.lists(filters(), min_size=1, max_size=8), st.booleans())
def test_matching_equals_the_local_store(rows: list[Document], wheres: list[Filter], by_value: bool) -> None:
    database = database_of(rows)
    for where in wheres:
        assert allowed(rows, where) == selected(database, where, by_value=by_value), where


def test_hostile_texts_match_as_in_the_local_store() -> None:
    texts = [text for text in HOSTILE if "\0" not in text]  # SQLite's operators on text do not define it
    rows = hostile_documents(texts)
    database = database_of(rows)
    matches = 0
    for where in (where for text in texts for where in hostile_filters(text)):
        expected = selected(database, where, by_value=True)
        assert allowed(rows, where) == expected, where
        matches += len(expected)
    assert len(rows) > 100 and matches > 500


@settings(max_examples=200, deadline=None)
@given(globs, short_texts)
def test_globs_equal_those_of_sqlite(pattern: str, text: str) -> None:
    ((expected,),) = sqlite3.connect(":memory:").execute("SELECT ? GLOB ?", (text, pattern))
    assert compiled_glob(pattern).matches(text) == bool(expected)


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("[]a]", "]a", "b["),
        ("[^]a]", "b^", "]a"),
        ("[]-a]", "]-a", "^_"),
        ("[a-]", "a-", "b"),
        ("[--0]", "-./0", "1,"),
        ("[c-a]", "c", "ab-"),
        ("[a-c-e]", "abc-e", "df"),
        ("[[]", "[", "]"),
        ("[^^]", "a", "^"),
        ("[a", "", "a["),
        ("[!a]", "!a", "b"),
        ("[漢-漣]", "漢漣", "a"),
        ("[\\d]", "\\d", "1"),
        ("?", "a\n😀", ""),
    ],
)
def test_classes_are_those_of_sqlite(pattern: str, matching: str, others: str) -> None:
    database = sqlite3.connect(":memory:")
    for character in matching + others:
        ((expected,),) = database.execute("SELECT ? GLOB ?", (character, pattern))
        assert compiled_glob(pattern).matches(character) == bool(expected) == (character in matching)


@pytest.mark.parametrize("text", ["aba", "abba", "ab ba", "ab", "xabba", "abbax"])
def test_beginning_and_end_do_not_overlap(text: str) -> None:
    ((expected,),) = sqlite3.connect(":memory:").execute("SELECT ? GLOB 'ab*ba'", (text,))
    assert compiled_glob("ab*ba").matches(text) == bool(expected)


@pytest.mark.parametrize("pattern", ["*a" * 1_000 + "b", "*?" * 1_500 + "b", "*[ab]" * 800 + "c", "*" * 4_000 + "b"])
def test_no_glob_takes_exponential_time(pattern: str) -> None:
    assert not compiled_glob(pattern).matches("a" * 4_000)


@pytest.mark.parametrize("name", UNDECODABLE)
def test_undecodable_paths_match(name: str) -> None:
    row = document(f"/d/{name}/a.txt")
    for path in (f"/d/{name}", name, f"*{name}/*", "/d", "/d/*", "*.txt", f"/d/{name}/a.txt", f"{name}/?.txt"):
        assert allows(Filter(path=path), "text", row), path
    for path in (f"/d/{name}x", f"/{name}", "\udcfe", "/d/\udce9*"):
        assert not allows(Filter(path=path), "text", row), path
