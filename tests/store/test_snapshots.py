"""A snapshot of the local store reads one state, whatever other threads, stores and processes write meanwhile."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from commonplace.errors import CollectionError
from commonplace.store import LocalStore, StoreOptions, database
from commonplace.types import Filter
from tests.store.make import open_store, put, questions, rows

FILTERS = (Filter(), Filter(modality="text"), Filter(path="/a/*"))


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint waits for the snapshots that these tests hold: not for half a minute."""
    monkeypatch.setattr(database, "WAIT", 0.1)


def in_thread(work: Callable[[], object]) -> None:
    """Run ``work`` in another thread, as a writer or another search does."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def everything(store: LocalStore) -> list[object]:
    """Return what searches of all kinds read."""
    query = questions(1)[0]
    read: list[object] = []
    for where in FILTERS:
        for ranked in (
            store.search("text", query, 20, where),
            store.search_text("word3 word12 word25", 20, where),
            store.search_paths("a b c", 20, where),
        ):
            read.append((ranked.ids, ranked.scores.tolist(), dict(ranked.idf)))
            read.append((store.items(ranked.ids), store.views(ranked.ids)))
            read.append(np.nan_to_num(store.score("text", query, ranked.ids), nan=-9).tolist())
        read.append(store.count(where))
    return read


def in_transaction(store: LocalStore) -> bool:
    return any(connection.in_transaction for connection in store._database._idle)


def test_a_snapshot_reads_one_state_while_others_write_and_search(tmp_path: Path) -> None:
    store, other = open_store(tmp_path), open_store(tmp_path)
    ids = put(store, rows(200))
    before = everything(store)

    def change() -> None:
        for writer in (store, other):
            put(writer, rows(50, seed=4), "b" if writer is store else "c")
            put(writer, rows(40, seed=5))  # the first documents again, with other vectors
            writer.remove(ids[6:9])
            everything(store)  # another search brings indexes and filters to the new state

    with store.snapshot():
        store.count()
        in_thread(change)
        assert everything(store) == before
        with store.snapshot():  # nested
            assert everything(store) == before
    after = everything(store)
    assert after != before and after == everything(other) == everything(open_store(tmp_path))
    assert not in_transaction(store)


@pytest.mark.parametrize("fused", [None, 0.5])
def test_an_index_in_memory_is_never_led_back(tmp_path: Path, fused: float | None) -> None:
    """A snapshot that is older than an index uses it, and leaves it as it is for others."""
    store = open_store(tmp_path, means={})
    put(store, rows(100))
    query = questions(1)[0]
    with store.snapshot():
        store.count()

        def change() -> None:
            put(store, rows(30, seed=4), "b")
            store.search("text", query, 5, Filter())
            store.search_fused(query, 5, Filter(), fused)

        in_thread(change)
        view, built = store._partitions["text"]._index, store._fused._built
        store.search("text", query, 5, Filter())
        store.search_fused(query, 5, Filter(), fused)
        assert store._partitions["text"]._index is view and store._fused._built is built
    assert len(store.search("text", query, 200, Filter()).ids) == 130


def test_rows_that_were_erased_during_a_snapshot_are_no_damage(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = StoreOptions(build_after=100, memory_rows=1000, codes_from=10_000)
    store = open_store(tmp_path, options=options)
    values = rows(400)
    ids = put(store, values)
    store.maintenance.checkpoint()
    assert store.maintenance.indexes()["text"]["file_rows"] == 400
    with caplog.at_level(logging.WARNING), store.snapshot():
        assert len(store.search("text", values[35], 10, Filter()).ids) == 10

        def remove() -> None:
            other = open_store(tmp_path, options=options)
            other.remove(ids[3:5])  # erases their rows in the file that both have mapped
            other.close()

        in_thread(remove)
        assert len(store.search("text", values[35], 10, Filter()).ids) > 0
    assert not caplog.records
    status = store.maintenance.indexes()["text"]
    assert "problem" not in status and status["file_rows"] == 400


def test_an_index_file_that_is_newer_than_a_snapshot_is_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = StoreOptions(build_after=100, memory_rows=1000, codes_from=10_000)
    store = open_store(tmp_path, options=options)
    put(store, rows(50))
    with caplog.at_level(logging.WARNING), store.snapshot():
        store.count()

        def build() -> None:
            other = open_store(tmp_path, options=options)
            put(other, rows(400), "b")
            other.maintenance.checkpoint()
            other.close()

        in_thread(build)
        ranked = store.search("text", questions(1)[0], 500, Filter())
        assert 0 < len(store.items(ranked.ids)) <= 50
    assert not caplog.records
    status = store.maintenance.indexes()["text"]
    assert "problem" not in status and status["file_rows"] == 450


def test_a_snapshot_ends_with_an_error(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    put(store, rows(20))
    with pytest.raises(CollectionError, match="no such table"), store.snapshot():
        try:
            store._database.all("SELECT * FROM nowhere")
        except CollectionError:  # explained where it happens, not only at the end of the snapshot
            raise
    with pytest.raises(ZeroDivisionError), store.snapshot():
        store.count()
        raise ZeroDivisionError
    assert store._database._idle and not in_transaction(store)
    store.set_setting("note", "written")  # a thread in a snapshot could not
    store.maintenance.checkpoint()
    assert (tmp_path / "collection.db-wal").stat().st_size == 0  # nobody reads of it any more


def test_what_a_snapshot_was_asked_it_is_not_asked_again(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    put(store, rows(20))
    everything(store)
    statements: list[str] = []
    for connection in store._database._idle:
        connection.set_trace_callback(statements.append)
    with store.snapshot():
        everything(store)
    assert [text for text in statements if text in ("BEGIN", "COMMIT")] == ["BEGIN", "COMMIT"]
    assert sum("FROM meta" in text for text in statements) == 2  # the model, and the state
