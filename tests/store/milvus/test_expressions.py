"""Expressions select what a filter allows, on Milvus Lite and, with ``COMMONPLACE_MILVUS``, on a real server."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings

from commonplace.metadata import Metadata
from commonplace.store.milvus.expressions import (
    ANY_ROW,
    MAX_BYTES,
    MAX_VALUES,
    Compiled,
    Dialect,
    any_of,
    compile_filter,
    documents_expression,
    filter_fields,
    quoted,
    split_any_of,
    storable,
)
from commonplace.store.milvus.matching import allows
from commonplace.types import Condition, Document, Filter
from tests.store.milvus.examples import (
    HOSTILE,
    UNDECODABLE,
    document,
    documents,
    filters,
    hostile_documents,
    hostile_filters,
)

PREFIXES, INFIXES = Dialect(infix_like=False), Dialect(infix_like=True)
BIG = Metadata({f"key {n}": [f"{m} {'x' * 900}" for m in range(9)] for n in range(10)})
"""Metadata that does not fit into a row's field."""
NUMBERS = (
    2**53 - 1,
    2**53,
    2**53 + 1,
    2**63 - 1,
    -(2**53),
    -(2**53) - 1,
    -(2**63),
    5,
    5.0,
    0.5,
    2.0**53,
    2.0**63,
    1e308,
)


@dataclass
class Rows:
    """A collection with the fields that filters read. Each document has one row: a text or an image, by turns."""

    client: Any
    name: str
    dialects: Sequence[Dialect]
    rows: list[tuple[str, Document]]

    @classmethod
    def of(cls, uri: str, dialects: Sequence[Dialect], held: Sequence[Document]) -> Rows:
        from pymilvus import DataType, MilvusClient

        client, name = MilvusClient(uri, timeout=30), f"test_filters_{os.getpid()}"
        schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.VARCHAR, max_length=65_535, is_primary=True)
        for field in ("document", "modality", "path", "media_type", "content_hash", "status"):
            schema.add_field(field, DataType.VARCHAR, max_length=65_535)
        schema.add_field("filters", DataType.JSON)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
        indexes = client.prepare_index_params()
        indexes.add_index("vector", index_type="FLAT", metric_type="IP")
        client.create_collection(name, schema=schema, index_params=indexes, timeout=30)
        rows = [("image" if n % 2 else "text", row) for n, row in enumerate(held)]
        client.insert(name, [_row(str(n), *row) for n, row in enumerate(rows)], timeout=30)
        client.load_collection(name, timeout=30)
        client.query(name, filter='id != ""', limit=1, consistency_level="Strong", timeout=30)  # waits for the rows
        return cls(client, name, dialects, rows)

    def select(self, expression: str) -> set[int]:
        """Return the numbers of the rows that an expression selects."""
        if not expression:
            return set(range(len(self.rows)))
        answer = self.client.query(
            self.name,
            filter=expression,
            output_fields=["id"],
            limit=10_000,
            consistency_level="Eventually",
            timeout=30,
        )
        return {int(row["id"]) for row in answer}

    def check(self, where: Filter, *, dialects: Sequence[Dialect] = ()) -> bool:
        """Check what a filter selects in each dialect; return whether it is exact in the last of them."""
        allowed = {n for n, row in enumerate(self.rows) if allows(where, *row)}
        expressions = dict.fromkeys(compile_filter(where, dialect) for dialect in dialects or self.dialects)
        for compiled in expressions:
            assert len(compiled.expression.encode()) <= MAX_BYTES
            rows = self.select(compiled.expression)
            assert allowed <= rows, (where, compiled)
            if compiled.exact:
                assert rows == allowed, (where, compiled)
            elif rows != allowed and compiled.doubtful != ANY_ROW:
                both = f"({compiled.expression}) and ({compiled.doubtful})"
                assert rows - allowed <= self.select(both), (where, compiled)
        return list(expressions)[-1].exact


def _row(id_: str, modality: str, row: Document) -> dict[str, Any]:
    return {
        "id": id_,
        "document": storable(row.id),
        "modality": modality,
        "path": storable(row.path),
        "media_type": storable(row.media_type),
        "content_hash": row.content_hash,
        "status": row.status,
        "filters": filter_fields(row),
        "vector": [1.0, 0.0],
    }


def _made_up() -> list[Document]:
    """Return documents from the strategy of Hypothesis, always the same."""
    held: list[Document] = []

    @settings(max_examples=50, database=None, derandomize=True, deadline=None)
    @given(documents())
    def keep(row: Document) -> None:
        held.append(row)

    keep()
    return random.Random(1).sample(held, 30)


@pytest.fixture(scope="module", params=["lite", "server"])
def collection(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rows]:
    uri, dialects = str(tmp_path_factory.mktemp("lite") / "rows.db"), [PREFIXES, INFIXES]
    if request.param == "server":
        if not (server := os.environ.get("COMMONPLACE_MILVUS")):
            pytest.skip("no Milvus server: COMMONPLACE_MILVUS names none, such as http://localhost:19530")
        uri, dialects = server, [PREFIXES]
    big = Document("big", "file:/big", "/big", "text/plain", "hash", title="Big", status="failed", metadata=BIG)
    numbers = [
        Document(f"{value!r}", "file:/n", f"/n/{number}", "text/plain", metadata=Metadata({"n": value}))
        for number in NUMBERS
        for value in (number, [number, 0.25])
    ]
    rows = Rows.of(uri, dialects, [big, *numbers, *hostile_documents([*HOSTILE, *UNDECODABLE]), *_made_up()])
    yield rows
    rows.client.drop_collection(rows.name, timeout=30)
    rows.client.close()


def test_a_hostile_text_is_only_a_value(collection: Rows) -> None:
    for text in (*HOSTILE, *UNDECODABLE):
        for where in hostile_filters(text):
            collection.check(where, dialects=collection.dialects[-1:])
        equal = {n for n, (_, row) in enumerate(collection.rows) if row.path == text}
        assert equal and collection.select(any_of("path", [text, "absent"])) == equal, text


@settings(max_examples=50, deadline=None)
@given(filters())
def test_an_expression_selects_what_the_filter_allows(collection: Rows, where: Filter) -> None:
    collection.check(where)


def equal(key: str, *values: Any, type_: Any = "number") -> Filter:
    return Filter(metadata=(Condition(key, type_, tuple((("=", value),) for value in values)),))


def test_usual_filters_are_exact(collection: Rows) -> None:
    exact = [
        Filter(),
        Filter(modality="text"),
        Filter(path="/d"),
        Filter(path="/"),
        Filter(path="/d/*"),
        Filter(path="*"),
        Filter(path="*.txt"),
        Filter(path="/d/*.txt"),
        Filter(path="d/*.txt"),
        Filter(path="*plain*"),
        Filter(path="d"),
        Filter(path="d/plain"),
        Filter(path="b:/dplain"),
        Filter(path="b:/dp*"),
        Filter(path="/d/[a]*"),
        Filter(path="/d/[a"),
        Filter(path="/d/漢*"),
        Filter(media_type="text/*"),
        Filter(media_type="*/p*"),
    ]
    inexact = [
        Filter(path="*漢*"),
        Filter(path="/d/?*"),
        Filter(path="*under_score*"),
        Filter(path="*a*b*c*"),
        Filter(after="2024"),
        equal("year", 1),
    ]
    for where in exact:
        assert collection.check(where) or INFIXES not in collection.dialects, where
    for where in inexact:
        assert not collection.check(where), where


def test_numbers_are_compared_by_value(collection: Rows) -> None:
    for number in NUMBERS:
        for sign in ("=", "<", "<=", ">", ">="):
            collection.check(Filter(metadata=(Condition("n", "number", (((sign, number),),)),)))
        collection.check(equal("n", number, -1))
    beyond = Filter(metadata=(Condition("n", "number", (((">", 10**400),), (("<", -(10**400)),))),))
    assert collection.check(beyond) is False


def test_a_key_with_any_value(collection: Rows) -> None:
    for pattern in ("*", "?*", "[^x]*"):
        collection.check(Filter(metadata=(Condition("author", "text", ((("glob", pattern),),)),)))


def test_a_newline_at_the_end_is_no_end(collection: Rows) -> None:
    collection.check(replace(equal("author", "b", type_="text"), path="*end"))
    assert any(path == "end\n" for path in (row.path for _, row in collection.rows))


def test_doubtful_rows_are_those_with_lists_or_incomplete_fields(collection: Rows) -> None:
    lists = {n for n, (_, row) in enumerate(collection.rows) if "[]" in "".join(filter_fields(row))}
    incomplete = {n for n, (_, row) in enumerate(collection.rows) if row.id == "big"}
    by_range = compile_filter(Filter(after="2024"), PREFIXES)
    assert incomplete < collection.select(by_range.doubtful) < lists
    by_value = compile_filter(equal("author", "b", type_="text"), PREFIXES)
    assert collection.select(by_value.doubtful) == incomplete
    equal_to_b = {n for n, row in enumerate(collection.rows) if allows(equal("author", "b", type_="text"), *row)}
    assert collection.select(by_value.expression) == incomplete | equal_to_b > incomplete


def test_conditions_find_documents_with_incomplete_fields(collection: Rows) -> None:
    where = equal("key 3", f"4 {'x' * 900}", "absent", type_="text")
    assert collection.check(where) is False
    assert [row[1].id for row in collection.rows if allows(where, *row)] == ["big"]


def test_documents_are_selected_by_folder_content_and_status(collection: Rows) -> None:
    paths = [row.path for _, row in collection.rows]
    for below in ("/d", "/d/", "/", "/d/caf\udce9", "/e/d", "/d/%", '/d/" or path >= "', "/nowhere"):
        expected = {n for n, path in enumerate(paths) if path and f"{path}/".startswith(below.rstrip("/") + "/")}
        assert collection.select(documents_expression(below=below)) == expected, below
    assert documents_expression() == ""
    big = {n for n, (_, row) in enumerate(collection.rows) if row.id == "big"}
    assert collection.select(documents_expression(content_hash="hash")) == big
    assert collection.select(documents_expression(status="failed", below="/", content_hash="hash")) == big
    assert collection.select(documents_expression(status="ok", content_hash="hash")) == set()


def test_long_filters_stay_within_the_limit(collection: Rows) -> None:
    conditions = [
        Condition(f"key {n}", "text", tuple((("=", f"{m}{quote * 700}"),) for m in range(100)))
        for n, quote in enumerate('"\\漢😀' * 5)
    ]
    where = Filter(path="/d/" + "😀" * 4_000, media_type='"' * 4_000 + "*", metadata=tuple(conditions))
    assert collection.check(where) is False
    for path in ("/b" + '"' * 3_900, "a:" + "\\" * 3_900, "*" + "ab\\" * 1_300, "*?" + "ab" * 1_900):
        collection.check(Filter(path=path))
        assert compile_filter(Filter(path=path), INFIXES).expression.count("ab") <= 100
    assert collection.check(Filter(path="/big", metadata=tuple(conditions[:1]))) is False


# --- without a collection ----------------------------------------------------------------------------------------


def test_many_values_are_split() -> None:
    values = [f"{n} " + '"' * (n % 90) for n in range(2_500)]
    expressions = list(split_any_of("id", values))
    assert all(len(expression.encode()) <= MAX_BYTES for expression in expressions)
    assert all(expression.count(", ") < MAX_VALUES for expression in expressions)
    assert len(expressions) < 8
    listed = ", ".join(expression.removeprefix("id in [").removesuffix("]") for expression in expressions)
    assert listed == ", ".join(map(quoted, values))
    assert list(split_any_of("id", ["x" * MAX_BYTES, "y"])) == [any_of("id", ["x" * MAX_BYTES]), 'id in ["y"]']
    assert list(split_any_of("id", [])) == []
    assert [text.count(", ") for text in split_any_of("id", ["a"] * 1_001)] == [999, 0]


def test_a_prefix_is_a_range() -> None:
    assert compile_filter(Filter(path="/a*"), PREFIXES) == Compiled('(path >= "/a" and path < "/b")')
    assert compile_filter(Filter(path="/\ud7ff*"), PREFIXES) == Compiled('(path >= "/\ud7ff" and path < "/\ue000")')
    assert compile_filter(Filter(media_type="\U0010ffff*"), PREFIXES) == Compiled('media_type >= "\U0010ffff"')


def test_stored_text_is_valid_and_differs_where_file_names_do() -> None:
    names = [*HOSTILE, *UNDECODABLE, "\udc80", "\udcff", "\ud800", "\udfff"]
    assert len({storable(name).encode() for name in names}) == len(set(names))
    assert all(storable(name) == name for name in HOSTILE)
    assert storable("a\udc80" + "b\udcff") == storable("a\udc80") + storable("b\udcff")


def test_fields_hold_a_value_or_a_list_for_each_key() -> None:
    metadata = Metadata(
        {"Year": 2020, "tags": ["B", "a", "A"], "漢 1": True, "empty": [], "on": "2024-05", "n": [2, 1.5]}
    )
    row = Document("1", "file:/a", "/a", "text/plain", title="The Title", metadata=metadata)
    hashed = "boolean:H2d96b25359414a4a8badb205f4491a7d"
    assert filter_fields(row) == {
        "number:year": 2020,
        "text:tags[]": ["a", "b"],
        hashed: 1,
        "text:on": "2024-05",
        "number:n[]": [1.5, 2],
        "text:title": "the title",
    }
    assert filter_fields(document("/a", date="2024-05", keyword=["k"])) == {
        "date:date": "2024-05-01T00:00:00",
        "text:keyword": "k",
    }


def test_fields_that_are_too_large_are_incomplete() -> None:
    fields = filter_fields(Document("1", "file:/a", "/a", "text/plain", title="t", metadata=BIG))
    assert fields.pop("*") is True
    assert len(fields) == 11 and all(name.endswith("[]") and values == [] for name, values in fields.items())
