"""Stored vectors are float16: they are read back exactly, a flipped bit is detected, and recall is kept."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonplace.errors import CollectionError
from commonplace.store import Migration, MigrationBatch, Shadow
from commonplace.store.vectors import blobs_of, damaged, vectors_of
from commonplace.types import Filter, ViewVectors
from tests.store.make import DIM, open_store, put, questions, rows, search
from tests.store.test_upkeep import sql


def widths(folder: Path, table: str = "vectors") -> set[int]:
    """Return the number of bytes for each number of the stored vectors."""
    connection = sqlite3.connect(folder / "collection.db")
    result = {row[0] for row in connection.execute(f"SELECT length(vector) / {DIM} FROM {table}")}
    connection.close()
    return result


@given(st.lists(st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=3), max_size=8), st.data())
def test_vectors_come_back_as_float16_and_a_flipped_bit_is_damage(
    given: list[list[float]], data: st.DataObject
) -> None:
    values = np.array(given, np.float32).reshape(-1, 3)
    blobs, checksums = blobs_of(values)
    vectors, bad = vectors_of(blobs, checksums, 3)
    assert not len(bad) and damaged(blobs, checksums) == damaged(blobs, checksums, 3) == []
    assert vectors.tolist() == values.astype(np.float16).tolist()
    if given:
        row = data.draw(st.integers(0, len(given) - 1))
        bit = data.draw(st.integers(0, 8 * len(blobs[row]) - 1))
        blobs[row] = (int.from_bytes(blobs[row], "little") ^ 1 << bit).to_bytes(len(blobs[row]), "little")
        assert vectors_of(blobs, checksums, 3)[1].tolist() == damaged(blobs, checksums) == [row]


def test_another_dimension_is_damage_only_if_a_dimension_is_given() -> None:
    blobs, checksums = blobs_of(np.ones((2, 4), np.float32))
    assert damaged(blobs, checksums) == [] and damaged(blobs, checksums, 3) == [0, 1]


def test_stored_vectors_keep_the_recall_and_are_reused(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    values = rows(3000)
    put(store, values)
    assert widths(tmp_path) == {2}
    shared = []
    for query in questions(50, seed=3):
        keys = search(store, "text", query, 10, Filter()).keys  # keys count from 1 in the order of the rows
        shared.append(len({*(keys - 1).tolist()} & {*np.argsort(-(values @ query))[:10].tolist()}) / 10)
    assert np.mean(shared) >= 0.995
    views = [view for (view,) in store._database.all("SELECT view FROM vectors")]
    assert len(store.stored_vectors("text", views)) == 3000
    assert store.maintenance.doctor() == []
    store.close()


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e5])
def test_values_outside_float16_are_refused(tmp_path: Path, value: float) -> None:
    store = open_store(tmp_path)
    values = rows(30)
    values[17, 3] = value
    with pytest.raises(CollectionError, match=r"not numbers.*/a/0/10\.txt"):
        put(store, values)
    assert list(store.documents()) == []
    store.close()


def test_a_damaged_vector_is_replaced_when_its_file_is_read_again(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    put(store, rows(100))
    for harm in ("x'00'", "zeroblob(64)", "zeroblob(128)"):
        sql(tmp_path, f"UPDATE vectors SET vector = {harm} WHERE rowid = 10")
        (finding,) = store.maintenance.doctor(repair=True)
        assert not finding.repaired and "/a/0/0.txt" in finding.what and "add --force" in finding.remedy
        put(store, rows(100))
        assert widths(tmp_path) == {2} and store.maintenance.doctor() == []
    store.close()


def embed(dim: int) -> Callable[[list[tuple[int, object]]], Iterator[MigrationBatch]]:
    def batches(page: list[tuple[int, object]]) -> Iterator[MigrationBatch]:
        if not page:
            return
        keys = {item.id: key for key, item in page}  # type: ignore[attr-defined]
        values = np.random.default_rng(1).standard_normal((len(page), dim)).astype(np.float32)
        yield MigrationBatch(page[-1][0], keys, [ViewVectors("text", tuple(keys), tuple(keys), values)])

    return batches


def test_vectors_of_both_models_are_float16_and_damage_is_reported(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    put(store, rows(1000))
    with Migration.of(store, Shadow("two", "f2", ""), 8) as migration:
        for batch in embed(8)(migration.waiting(1000)):
            migration.put(batch)
        assert migration.finish(embed(8))
    store.close()
    store = open_store(tmp_path, fingerprint="f2", dim=8)
    assert store._database.all("SELECT DISTINCT length(vector) FROM vectors") == [(16,)]
    assert widths(tmp_path, "shadow_vectors") == {2} and store.maintenance.doctor() == []
    sql(tmp_path, "UPDATE shadow_vectors SET vector = zeroblob(64) WHERE rowid = 3")
    (finding,) = store.maintenance.doctor(repair=True)
    assert finding.count == 1 and "other model" in finding.what and "/a/0/0.txt" in finding.what
    store.maintenance.vacuum()
    assert store.maintenance.doctor() == [] and store.maintenance.shadow() is None
    store.close()
