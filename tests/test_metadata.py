"""Typed metadata is stored without loss, and filters agree with a check of each document."""

from __future__ import annotations

import datetime as dt
import operator
import pickle
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from commonplace.errors import QueryError, ReadError
from commonplace.filters import filter_of, parse_where
from commonplace.metadata import Metadata, period
from commonplace.types import Filter
from tests.store.test_local import open_store, put, reading

keys = st.text(min_size=1, max_size=12).filter(
    lambda key: key == key.strip() and key.isprintable() and key.casefold() != "title"
)
zones = st.sampled_from([dt.timezone.utc, dt.timezone(dt.timedelta(hours=-7)), dt.timezone(dt.timedelta(minutes=345))])
texts = st.text(max_size=30).filter(lambda text: "\0" not in text)
numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
moments = st.datetimes() | st.datetimes(timezones=zones)
scalars = [texts, numbers, st.dates() | moments, st.booleans()]
values = st.one_of(*scalars, *(st.lists(scalar, max_size=4) for scalar in scalars))


@settings(deadline=None, max_examples=300)
@given(
    st.dictionaries(
        keys,
        values,
        max_size=6,
    )
)
def test_stored_metadata_is_returned_unchanged(given_: dict[str, Any]) -> None:
    if len({key.casefold() for key in given_}) < len(given_):
        with pytest.raises(ReadError, match="differ only in case"):
            Metadata(given_)
        return
    metadata = Metadata(given_)
    for again in (metadata, Metadata.from_json(metadata.to_json()), pickle.loads(pickle.dumps(metadata))):
        assert again == given_ and hash(again) == hash(metadata) and list(again) == list(given_)
        for key, value in given_.items():
            assert type(again[key]) is type(value)
            if isinstance(value, list):
                assert list(map(type, again[key])) == list(map(type, value))  # type: ignore[arg-type]
    assert metadata.merged(Metadata()) == metadata and Metadata().merged(metadata) == metadata
    assert not metadata.without(given_)


@settings(deadline=None, max_examples=100)
@given(values, values)
def test_equal_metadata_has_equal_hashes(first_value: Any, second_value: Any) -> None:
    first, second = Metadata({"key": first_value}), Metadata({"key": second_value})
    assert (first == second) == (first_value == second_value)
    assert first != second or hash(first) == hash(second)


@pytest.mark.parametrize(
    ("given_", "why"),
    [
        ({"n": float("nan")}, "number nan"),
        ({"n": [1.0, float("inf")]}, "number inf"),
        ({"n": 2**63}, "beyond 64 bits"),
        ({"n": None}, "type NoneType"),
        ({"n": {"deep": 1}}, "type dict"),
        ({"n": b"x"}, "type bytes"),
        ({"n": 1 + 2j}, "type complex"),
        ({"n": [1, "a"]}, "mixes number and text"),
        ({"n": [1, True]}, "mixes boolean and number"),
        ({"n": "x" * 4001}, "4,001 characters"),
        ({"n": ["x"] * 1001}, "1,001 values"),
        ({"n": "a\0"}, "no character"),
        ({"n": "\ud800"}, "no character"),
        ({"k" * 101: 1}, "key of 101 characters"),
        ({"": 1}, "empty"),
        ({" a": 1}, "begins or ends"),
        ({"a\nb": 1}, "control characters"),
        ({5: 1}, "no text"),
        ({"Title": "x"}, "give it as title"),
        ({"a": 1, "A": 2}, "differ only in case"),
        ({f"k{n}": n for n in range(201)}, "201 keys"),
        (["a"], "give a mapping"),
    ],
)
def test_invalid_metadata_is_refused_in_one_line(given_: Any, why: str) -> None:
    with pytest.raises(ReadError, match=why) as error:
        Metadata(given_)
    assert len(str(error.value)) < 300 and "\n" not in str(error.value)


def test_scalars_of_numpy_are_values() -> None:
    metadata = Metadata({"n": np.float32(0.5), "i": [np.int64(3)], "b": np.bool_(True)})
    assert metadata == {"n": 0.5, "i": [3], "b": True} and metadata["b"] is True and type(metadata["n"]) is float


def test_metadata_of_files_has_fixed_types() -> None:
    pairs = [("author", "Ann"), ("created", "2024-05"), ("language", "de"), ("date", "2024-05-31"), ("keyword", "2020")]
    metadata = Metadata.of_file(pairs)
    assert metadata == {
        "author": ["Ann"],
        "created": "2024-05",
        "language": "de",
        "date": dt.date(2024, 5, 31),
        "keyword": ["2020"],
    }
    assert metadata.types()["created"] == metadata.types()["date"] == "date"


def test_metadata_of_a_file_can_be_given_to_a_record() -> None:
    of_file = Metadata.of_file([("author", "Ann"), ("created", "2024-05"), ("date", "2024-05-31")])
    for again in (Metadata(of_file), Metadata(dict(of_file))):
        assert again == of_file and again.types() == of_file.types() and again.rows() == of_file.rows()
    assert Metadata({"created": "May 2024"}).types() == {"created": "text"}
    assert Metadata({"created": "2024-13"}).types() == {"created": "text"}


@pytest.mark.parametrize(
    "damaged", ["", "{", "[1]", '[["a"]]', '[["a", "number", "x"]]', '[["a", "number", NaN]]', '[["a", "boolean", 1]]',
                '[["a", "odd", 1]]', f'[["a", "number", {2**70}]]', '[["a", "text", [[1]]]]', '[["a", null, [1]]]'],
)  # fmt: skip
def test_damaged_storage_reads_as_empty(damaged: str) -> None:
    assert Metadata.from_json(damaged) == {} and Metadata.from_json(damaged).rows() == set()


@given(st.sampled_from(["%Y", "%Y-%m", "%Y-%m-%d", "%Y-%m-%dT%H:%M"]), st.datetimes(min_value=dt.datetime(1000, 1, 1)))
def test_a_period_holds_the_dates_that_begin_with_it(form: str, moment: dt.datetime) -> None:
    text = moment.strftime(form)
    start, end = period(text)
    assert end is not None and start <= moment.isoformat() < end
    before, after = (moment - dt.timedelta(days=400)) if moment.year > 1002 else moment, moment
    assert before.isoformat().startswith(text) == (start <= before.isoformat() < end)
    assert after.isoformat().startswith(text)


# --- filters against a check of each document ---------------------------------------------------------------------

KEYS = {"plant": "text", "year": "number", "seen": "date", "active": "boolean", "tags": "text", "nobody": "text"}
some = {
    "text": st.sampled_from(["north", "North", "south", "no", "a[b]c", "日本", "straße", "STRASSE", "x*y"]),
    "number": st.sampled_from([2019, 2020, 2020.5, 2021, -1, 0, 1e300, 2**60, 2**60 + 1]),
    "date": st.sampled_from([dt.date(2024, 5, 31), dt.date(2024, 6, 1), dt.datetime(2024, 5, 31, 9, 30),
                             dt.datetime(2024, 5, 31, 9, 30, 0, 5), dt.date(9999, 12, 31), dt.date(1, 1, 1),
                             dt.datetime(2024, 6, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=2)))]),
    "boolean": st.booleans(),
}  # fmt: skip
globs = st.sampled_from(["no*", "*", "N?rth", "*[b]*", "str*e", "?", "日?"])
written_dates = st.sampled_from(["2024", "2024-05", "2024-05-31", "2024-05-31T09:30", "9999"])
ORDERS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


@st.composite
def documents_(draw: st.DrawFn) -> dict[str, Any]:
    chosen = draw(st.sets(st.sampled_from([key for key in KEYS if key != "nobody"])))
    return {
        key: draw(some[KEYS[key]] if draw(st.booleans()) else st.lists(some[KEYS[key]], max_size=3)) for key in chosen
    }


@st.composite
def wheres(draw: st.DrawFn) -> dict[str, Any]:
    where: dict[str, Any] = {}
    for key in draw(st.sets(st.sampled_from(sorted(KEYS)), min_size=1, max_size=3)):
        kind = KEYS[key]
        value = some[kind] | (globs if kind == "text" else written_dates if kind == "date" else some[kind])
        if kind != "boolean" and draw(st.booleans()):
            value = some[kind] if kind == "text" else value
            where[key] = draw(st.dictionaries(st.sampled_from(sorted(ORDERS)), value, min_size=1, max_size=2))
        else:
            where[key] = draw(value | st.lists(value, min_size=1, max_size=3))
    return where


def instant(value: Any) -> dt.datetime:
    """Return the first moment of a date, in UTC if it has a time zone."""
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.timezone.utc).replace(tzinfo=None) if value.tzinfo else value
    if isinstance(value, dt.date):
        return dt.datetime(value.year, value.month, value.day)
    return dt.datetime.fromisoformat(value + "0001-01-01"[len(value) :] if len(value) < 10 else value)


def last(value: Any) -> dt.datetime:
    """Return the last moment of the year, month, day or minute of a filter's date."""
    first = instant(value)
    if isinstance(value, dt.datetime):
        return first
    form = len(value) if isinstance(value, str) else 10
    step = dt.timedelta(microseconds=1)
    if form == 16:
        return first + dt.timedelta(minutes=1) - step
    month, day = (12, 31) if form == 4 else (first.month, 31)
    while form < 10:
        try:
            return dt.datetime(first.year, month, day, 23, 59, 59, 999999)
        except ValueError:
            day -= 1
    return first.replace(hour=23, minute=59, second=59, microsecond=999999)


def equal(wanted: Any, held: Any) -> bool:
    if isinstance(held, dt.date):
        return instant(wanted) <= instant(held) <= last(wanted)
    if isinstance(held, str):
        parts = {"*": ".*", "?": "."}
        pattern = "".join(parts.get(mark, re.escape(mark)) for mark in wanted.casefold())
        return re.fullmatch(pattern, held.casefold(), re.DOTALL) is not None
    return bool(wanted == held)


def ordered(sign: str, held: Any, wanted: Any) -> bool:
    if isinstance(held, dt.date):
        return bool(ORDERS[sign](instant(held), last(wanted) if sign in (">", "<=") else instant(wanted)))
    if isinstance(held, str):
        return bool(ORDERS[sign](held.casefold(), wanted.casefold()))
    return bool(ORDERS[sign](held, wanted))


def meets(metadata: Mapping[str, Any], where: Mapping[str, Any]) -> bool:
    for key, wanted in where.items():
        held = metadata.get(key, [])
        held = held if isinstance(held, list) else [held]
        if isinstance(wanted, dict):
            if not any(all(ordered(sign, value, than) for sign, than in wanted.items()) for value in held):
                return False
        elif not any(
            equal(entry, value) for entry in (wanted if isinstance(wanted, list) else [wanted]) for value in held
        ):
            return False
    return True


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(documents_(), min_size=1, max_size=6), st.lists(wheres(), min_size=1, max_size=4))
def test_filters_equal_a_check_of_each_document(
    tmp_path_factory: pytest.TempPathFactory, corpus: list[dict[str, Any]], filters: list[dict[str, Any]]
) -> None:
    store = open_store(tmp_path_factory.mktemp("store"))
    parsed = [reading(f"/{number}.txt", "pump") for number in range(len(corpus))]
    for entry, metadata in zip(parsed, corpus, strict=True):
        put(store, replace(entry, document=replace(entry.document, metadata=Metadata(metadata))))
    for given_ in filters:
        types = store.metadata_types(given_)
        where = filter_of(None, None, None, None, None, given_, store.metadata_types)
        expected = [
            entry.document.path for entry, metadata in zip(parsed, corpus, strict=True) if meets(metadata, given_)
        ]
        assert [document.path for document in store.documents(where=where)] == expected, types
        assert store.count(where) == len(expected)  # by the index of values
        ranked = store.items(store.search_text("pump", 50, where).ids)  # by the documents that hold the word
        assert sorted(item.document.path for item in ranked.values()) == expected
    held = {key for metadata in corpus for key, value in metadata.items() if value != []}
    assert set(store.metadata_keys()) == held
    assert store.metadata_types(KEYS) == {key: KEYS[key] for key in held}
    store.close()


def test_zones_brackets_and_case(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Cases that random examples may miss."""
    store = open_store(tmp_path_factory.mktemp("store"))
    late = dt.datetime(2024, 6, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=2)))  # in UTC still the 31st of May
    for number, metadata in enumerate(
        ({"seen": late, "plant": "a[b]c"}, {"seen": dt.date(2024, 6, 1), "plant": "abc"})
    ):
        cell = reading(f"/{number}.txt", "pump")
        put(store, replace(cell, document=replace(cell.document, metadata=Metadata(metadata))))

    def found(**where: Any) -> list[str]:
        allowed = filter_of(None, None, None, None, None, where, store.metadata_types)
        return [document.path for document in store.documents(where=allowed)]

    assert found(seen="2024-05") == found(seen={"<": "2024-06"}) == found(seen=late) == ["/0.txt"]
    assert found(seen={">": "2024-05"}) == found(seen={">=": "2024-06"}) == ["/1.txt"]
    assert (
        found(plant="*[B]*") == ["/0.txt"] and found(plant="A[B]C") == ["/0.txt"] and found(plant="a?c") == ["/1.txt"]
    )
    store.close()


def test_equality_and_ranges_are_served_by_the_index(tmp_path_factory: pytest.TempPathFactory) -> None:
    from commonplace.store.rows import condition_of

    store = open_store(tmp_path_factory.mktemp("store"))
    for where in ({"year": {">=": 2020, "<": 2025}}, {"plant": "north"}, {"seen": dt.date(2024, 5, 31)}):
        condition, compared = condition_of(filter_of(None, None, None, None, None, where), by_value=True)
        plan = store._database.all(f"EXPLAIN QUERY PLAN SELECT d.key FROM documents d WHERE {condition}", compared)
        steps = " | ".join(row[3] for row in plan)
        bounds = "=? AND type=? AND value" + ("=?" if where == {"plant": "north"} else ">? AND value<?")
        assert "SEARCH m USING COVERING INDEX metadata_value (key" + bounds in steps, steps
        assert "SCAN d" not in steps
    store.close()


TYPES = {"plant": "text", "year": "number", "seen": "date", "active": "boolean"}


def known(keys_: Any) -> dict[str, Any]:
    return {key: TYPES[key] for key in keys_ if key in TYPES}


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ({"year": "2020"}, "'year' holds numbers"),
        ({"YEAR": "2020"}, "'year' holds numbers"),
        ({"year": True}, "'year' holds numbers"),
        ({"year": [2020, "x"]}, "'year' holds numbers"),
        ({"plant": 5}, "'plant' holds text"),
        ({"plant": {"<": 5}}, "'plant' holds text"),
        ({"active": 1}, "'active' holds booleans"),
        ({"active": {">": False}}, "with true or false"),
        ({"seen": 2024}, "'seen' holds dates"),
        ({"seen": "soon"}, "'seen' holds dates"),
        ({"year": float("nan")}, "give a number"),
        ({"year": {"!": 1}}, "operator"),
        ({"year": {"<": [1, 2]}}, "give one value"),
        ({"year": {}}, "empty"),
        ({"year": {"<": []}}, "empty"),
        ({"year": {">": 1, "=": []}}, "empty list"),
        ({"new": [1, "x"]}, "all of one type"),
        ({"new": None}, "all of one type"),
        ({"a": 1, "A": 1}, "twice"),
    ],
)
def test_filters_with_incomparable_values_are_refused(where: Any, why: str) -> None:
    with pytest.raises(QueryError, match=why) as error:
        filter_of(None, None, None, None, None, where, known)
    assert len(str(error.value)) < 300


def test_conditions_of_the_command_line_take_the_type_of_their_key() -> None:
    def filter_(*written: str) -> Filter:
        return filter_of(None, None, None, None, None, parse_where(written), known)

    def same(*written: str, **where: Any) -> bool:
        return filter_(*written) == filter_of(None, None, None, None, None, where, known)

    assert same("year>=2020", "Year < 2025.5", year={">=": 2020, "<": 2025.5})
    assert same("year=2020", "year=2021", year=[2020, 2021])
    assert same("active=yes", active=True) and same("active=FALSE", active=False)
    assert same("seen>2024", seen={">": "2024"}) and same("seen=2024-05", seen="2024-05")
    assert same("plant=a=b", plant="a=b") and same("plant=no*", plant="no*") and same("new=5", new="5")
    assert parse_where([]) is None and not filter_()
    for wrong, why in (("year", "KEY=VALUE"), ("year=x", "holds numbers"), ("year=nan", "holds numbers"),
                       ("active=maybe", "true or false"), ("seen=x", "no date"), ("=x", "empty"), ("year=", "empty"),
                       ("year>=", "empty")):  # fmt: skip
        with pytest.raises(QueryError, match=why):
            filter_(wrong)
    with pytest.raises(QueryError, match="twice"):
        filter_("year>1", "year>2")


@pytest.mark.parametrize(
    "value",
    [10**400, {">": 10**400}, {"<": -(10**6000)}, [1, 10**400], np.array(5), {">": np.array(5)}],
    ids=["large", "above", "below", "list", "array", "above-array"],
)
def test_a_filter_with_a_value_that_cannot_be_compared_is_a_query_error(value: Any) -> None:
    for types in ({"n": "number"}, {"n": "text"}, {}):
        with pytest.raises(QueryError) as error:
            filter_of(None, None, None, None, None, {"n": value}, lambda keys, types=types: types)  # type: ignore[misc]
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("path", ["~\0x", "a\0b"])
def test_a_filter_on_a_path_that_no_file_can_have_is_a_query_error(path: str) -> None:
    with pytest.raises(QueryError, match="zero character"):
        filter_of(None, path, None, None, None, None)
