"""Raw vectors that were dropped: half the bytes, and everything that stood on them goes on working."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonplace.errors import CollectionError
from commonplace.store import Batch, LocalStore, Migration, Shadow, vector_index, vectors
from commonplace.store.vectors import blobs_of, damaged, vectors_of
from commonplace.types import Filter, ViewVectors
from tests.conftest import ROOT
from tests.store.make import DIM, open_store, put, questions, rows, search, stored_rows
from tests.store.test_index_files import agree, ask, file_of, take_first
from tests.store.test_upkeep import sql


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_index, "LEAST_WORTH", 300)
    monkeypatch.setattr(vectors, "BATCH", 100)


def kinds(folder: Path, table: str = "vectors") -> dict[int, int]:
    """Return how many stored vectors have how many bytes a number."""
    connection = sqlite3.connect(folder / "collection.db")
    found = dict(connection.execute(f"SELECT length(vector) / {DIM}, count(*) FROM {table} GROUP BY 1").fetchall())
    connection.close()
    return found


def made(folder: Path, count: int = 1000, **more: object) -> LocalStore:
    store = open_store(folder, questions=ask, recall=1.0, **more)
    put(store, rows(count))
    store.maintenance.checkpoint()
    return store


@given(
    st.lists(st.tuples(st.sampled_from(["float16", "float32"]), st.lists(st.floats(-1, 1, width=32), min_size=3,
                                                                        max_size=3)), max_size=8),
    st.data(),
)  # fmt: skip
def test_vectors_of_both_kinds_come_back_and_a_flipped_bit_is_damage(
    given: list[tuple[str, list[float]]], data: st.DataObject
) -> None:
    values = np.array([value for _, value in given], np.float32).reshape(-1, 3)
    stored = [blobs_of(value[None], kind) for value, (kind, _) in zip(values, given, strict=True)]
    blobs, checksums = [one[0][0] for one in stored], [one[1][0] for one in stored]
    found, bad = vectors_of(blobs, checksums, 3)
    assert not len(bad) and damaged(blobs, checksums) == []
    for value, own, (kind, _) in zip(values, found, given, strict=True):
        assert own.tolist() == value.astype(kind).tolist()
    if given:
        at = data.draw(st.integers(0, len(given) - 1))
        bit = data.draw(st.integers(0, 8 * len(blobs[at]) - 1))
        blobs[at] = (int.from_bytes(blobs[at], "little") ^ 1 << bit).to_bytes(len(blobs[at]), "little")
        assert vectors_of(blobs, checksums, 3)[1].tolist() == damaged(blobs, checksums) == [at]


def test_half_the_bytes_and_everything_goes_on(tmp_path: Path) -> None:
    store = made(tmp_path / "kb", 3000, offset=take_first)
    other = open_store(tmp_path / "kb", offset=take_first)
    _, raw = stored_rows(store, "text")
    asked = questions(20, seed=3)
    before = [search(other, "text", one, 10, Filter()) for one in asked]
    size = (tmp_path / "kb" / "collection.db").stat().st_size
    (done,) = store.maintenance.drop_raw(0.98).values()
    assert done.kind == "float16" and done.rows == 3000 and set(done.recall) == {"same", "other"}
    assert min(done.recall.values()) >= 0.98
    assert kinds(tmp_path / "kb") == {2: 3000}
    assert size - (tmp_path / "kb" / "collection.db").stat().st_size > 3000 * DIM * 2 * 0.9
    for one in (store, other):  # what another process had open follows
        assert stored_rows(one, "text")[1].tolist() == raw.astype(np.float16).tolist()
        for query, old in zip(asked, before, strict=True):
            assert search(one, "text", query, 10, Filter()).scores == pytest.approx(old.scores, abs=1e-3)
        agree(one, offset=True)
        assert one.maintenance.indexes()["text"]["stored"] == {
            "type": "float16",
            "recall": done.recall,
            "measured_rows": 3000,
        }
    assert store.maintenance.doctor() == []
    assert store.maintenance.drop_raw(0.98) == {"text": done}  # measured against what is gone: not to be measured again
    # What comes later is as precise, and what is there is known.
    ids = put(store, rows(500, seed=5), "b")
    put(store, rows(3000))
    assert kinds(tmp_path / "kb") == {2: 3500}
    views = [view for (view,) in store._database.all("SELECT view FROM vectors")]
    assert len(store.known("text", views)) == 3500
    store.maintenance.compress(0.9)
    agree(store, offset=True)
    store.maintenance.compress(None)
    store.remove(ids[:10])
    agree(store, offset=True)
    store.maintenance.backup(tmp_path / "kb.bak")
    fresh = open_store(tmp_path / "new", offset=take_first)
    fresh.maintenance.restore(tmp_path / "kb.bak")
    put(fresh, rows(10, seed=6), "c")
    assert (
        kinds(tmp_path / "new") == {2: 3410} and fresh.maintenance.doctor() == [] and store.maintenance.doctor() == []
    )
    agree(fresh, offset=True)
    for one in (store, other, fresh):
        one.close()


def test_raw_vectors_stay_where_the_recall_would_fall(tmp_path: Path) -> None:
    store = open_store(tmp_path, questions=ask, recall=1.0)
    near = np.tile(rows(1), (400, 1)) + 1e-5 * rows(400, seed=2)  # alike up to what float16 drops
    put(store, near.astype(np.float32))
    generation = store._database.all("SELECT * FROM meta")
    with pytest.raises(CollectionError, match=r"text would keep a recall of 0\.\d+, and 0\.9 is asked for"):
        store.maintenance.drop_raw(0.9)
    assert kinds(tmp_path) == {4: 400} and store._database.all("SELECT * FROM meta") == generation
    assert "stored" not in store.maintenance.indexes()["text"]
    store.close()


def test_without_questions_the_rows_ask(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    put(store, rows(300))
    (done,) = store.maintenance.drop_raw(0.98).values()
    assert set(done.recall) == {"same"} and kinds(tmp_path) == {2: 300}
    store.close()


def test_a_partition_all_of_whose_vectors_are_damaged_stays(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    put(store, rows(50))
    put(store, rows(50, seed=2), "b", vector_index="image")
    sql(tmp_path, "UPDATE vectors SET checksum = 1 WHERE partition = 'image'")
    assert set(store.maintenance.drop_raw(0.9)) == {"text"} and kinds(tmp_path) == {2: 50, 4: 50}
    assert open_store(tmp_path / "empty").drop_raw(0.9) == {}
    store.close()


KILLED = """
import os, signal, sys
from pathlib import Path
from commonplace.store import vectors
from tests.store.make import open_store
from tests.store.test_index_files import ask
vectors.BATCH = 100
store = open_store(Path(sys.argv[1]), questions=ask)
whole, batches = vectors.blobs_of, []
def dying(values, kind):
    batches.append(kind)
    if len(batches) == int(sys.argv[2]):  # inside of a transaction
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(values, kind)
vectors.blobs_of = dying
store.maintenance.drop_raw(.9)
"""


@pytest.mark.parametrize("batch", [1, 4])
def test_a_kill_in_the_middle_leaves_both_kinds_and_the_next_call_goes_on(tmp_path: Path, batch: int) -> None:
    store = made(tmp_path)
    _, raw = stored_rows(store, "text")
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(batch)], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    half = 100 * (batch - 1)
    assert kinds(tmp_path) == ({4: 1000} if batch == 1 else {4: 1000 - half, 2: half})
    for one in (store, open_store(tmp_path, questions=ask)):
        assert one.maintenance.doctor() == []
        assert np.abs(stored_rows(one, "text")[1] - raw).max() < 1e-3
        for query in questions(10, seed=3):
            best = np.sort(raw @ query)[::-1][:10]
            assert search(one, "text", query, 10, Filter()).scores == pytest.approx(best, abs=1e-3)
        assert one.maintenance.indexes()["text"]["stored"]["unfinished"]
    put(store, rows(20, seed=8), "b")
    assert kinds(tmp_path)[2] == half + 20
    store.maintenance.drop_raw(0.9)
    assert kinds(tmp_path) == {2: 1020} and store.maintenance.doctor() == []
    assert "unfinished" not in store.maintenance.indexes()["text"]["stored"]
    agree(store)
    store.close()


def test_row_ids_that_another_process_changes_meanwhile_leave_no_raw_vector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = made(tmp_path)
    store.remove([one.id for one in list(store.documents()) if int(one.path.split("/")[2]) < 4])
    batches = 0
    whole = vectors.blobs_of

    def slow(values: np.ndarray, kind: str) -> tuple[list[bytes], list[int]]:
        nonlocal batches
        batches += 1
        return whole(values, kind)

    write = store._write

    def between() -> object:
        if batches == 2:
            sql(tmp_path, "UPDATE vectors SET rowid = rowid - 400")  # as a VACUUM may, says SQLite
        return write()

    monkeypatch.setattr(vectors, "blobs_of", slow)
    monkeypatch.setattr(store, "_write", between)
    store.maintenance.drop_raw(0.9)
    assert kinds(tmp_path) == {2: 600} and store.maintenance.doctor() == []
    store.close()


def test_damage_is_named_and_mended_from_the_snapshot(tmp_path: Path) -> None:
    store = made(tmp_path)
    sql(tmp_path, "UPDATE vectors SET vector = zeroblob(128) WHERE rowid = 9")
    store.maintenance.drop_raw(0.9)  # what is damaged stays what it is
    assert kinds(tmp_path) == {4: 1, 2: 999}
    assert [finding.count for finding in store.maintenance.doctor() if "vectors" in finding.what] == [1]
    store.maintenance.doctor(repair=True)
    put(store, rows(1000))
    assert kinds(tmp_path) == {2: 1000} and store.maintenance.doctor() == []
    store.maintenance.checkpoint()
    assert file_of(tmp_path).exists()
    for harm in ("x'00'", "zeroblob(64)", "zeroblob(128)"):
        sql(tmp_path, f"UPDATE vectors SET vector = {harm} WHERE rowid = 10")
        assert any("taken from the snapshot" in finding.remedy for finding in store.maintenance.doctor(repair=True)), (
            harm
        )
        assert kinds(tmp_path) == {2: 1000} and store.maintenance.doctor() == []
    store.close()


def test_another_model_is_stored_raw_and_going_back_finds_half_vectors(tmp_path: Path) -> None:
    store = made(tmp_path)
    store.maintenance.drop_raw(0.9)
    put(store, rows(30, seed=4), "b")

    def embed(dim: int) -> Callable[[list[tuple[int, object]]], Iterator[Batch]]:
        def batches(page: list[tuple[int, object]]) -> Iterator[Batch]:
            if not page:
                return
            keys = {item.id: key for key, item in page}  # type: ignore[attr-defined]
            values = np.random.default_rng(1).standard_normal((len(page), dim)).astype(np.float32)
            yield Batch(page[-1][0], keys, [ViewVectors("text", tuple(keys), tuple(keys), values)])

        return batches

    with Migration.of(store, Shadow("two", "f2", ""), 8) as migration:
        for batch in embed(8)(migration.waiting(1000)):
            migration.put(batch)
        assert migration.finish(embed(8))
    store.close()
    store = open_store(tmp_path, fingerprint="f2", dim=8)
    assert "stored" not in store.maintenance.indexes()["text"] and store.maintenance.doctor() == []
    assert dict(store._database.all("SELECT length(vector), count(*) FROM vectors GROUP BY 1")) == {32: 1030}
    assert kinds(tmp_path, "beside_vectors") == {2: 1030}
    sql(tmp_path, "UPDATE beside_vectors SET vector = zeroblob(64) WHERE rowid = 3")
    assert [finding.count for finding in store.maintenance.doctor()] == [1]
    store.maintenance.doctor(repair=True)
    with Migration.of(store, Shadow("test", "f1", ""), DIM) as migration:
        rest = migration.waiting(2000)
        assert rest
        for batch in embed(DIM)(rest):
            migration.put(batch)
        assert migration.finish(embed(DIM))
    store.close()
    store = open_store(tmp_path, questions=ask)
    assert set(kinds(tmp_path)) == {2} and store.maintenance.doctor() == []
    assert store.maintenance.indexes()["text"]["stored"]["type"] == "float16"
    store.close()
