"""Maintenance runs in one process at a time, and keeps its guarantees while other processes write."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from commonplace.errors import CollectionError
from commonplace.store import StoreOptions, backup, database, partitions
from commonplace.store.locks import maintenance_lock
from commonplace.types import Filter
from tests.store.make import items_at, open_store, put, questions, rows, search
from tests.store.test_upkeep import sql


def test_maintenance_runs_in_one_process_at_a_time(tmp_path: Path) -> None:
    store = open_store(tmp_path / "kb")
    put(store, rows(30))
    store.maintenance.backup(tmp_path / "kb.bak")
    with maintenance_lock(tmp_path / "kb"):
        for task in (
            store.maintenance.vacuum,
            lambda: store.maintenance.doctor(repair=True),
            lambda: store.maintenance.restore(tmp_path / "kb.bak", replace=True),
        ):
            with pytest.raises(CollectionError, match=rf"process {os.getpid()} on .*wait until it has finished"):
                task()
        assert store.maintenance.doctor() == []  # a check without repair needs no lock
    store.maintenance.vacuum()


def test_a_filter_allows_only_remaining_items(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, where = open_store(tmp_path), Filter(path="/a/*")
    ids = put(store, rows(200), "a") + put(store, rows(50, 1), "b")
    assert store.count(where) == 200
    store.remove(ids[:5])
    assert store.count(where) == 150 == open_store(tmp_path).count(where)
    put(store, rows(20, 2), "a")  # the first two documents again
    assert store.count(where) == 170
    monkeypatch.setattr(
        partitions, "REMOVED_KEPT", 10
    )  # so that the log is cut, and what was followed is known no more
    store.remove(ids[5:15])
    store.remove(ids[15:16])
    assert store.count(where) == 60 == open_store(tmp_path).count(where)
    query = questions(1)[0]
    assert np.array_equal(
        search(store, "text", query, 99, where).keys, search(open_store(tmp_path), "text", query, 99, where).keys
    )


def test_a_trimmed_removal_log_invalidates_no_current_index_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "REMOVED_KEPT", 100)
    options = StoreOptions(build_after=300)
    store = open_store(tmp_path, options=options)
    store.remove(put(store, rows(400))[:30])
    assert store._database.all("SELECT count(*) FROM removed") == [(0,)]
    put(store, rows(900, 3), "b")
    store.maintenance.checkpoint()
    status = store.maintenance.indexes()["text"]
    assert "problem" not in status and status["file_rows"] == status["rows"] == 1000
    made = (tmp_path / "index" / "text.index").stat().st_ino
    for opened in (store, open_store(tmp_path, options=options)):
        for query in questions(3):
            search(opened, "text", query, 5, Filter())
    time.sleep(0.2)
    assert (tmp_path / "index" / "text.index").stat().st_ino == made


def test_a_restore_waits_for_a_writer_only_for_a_limited_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (backup, database):
        monkeypatch.setattr(module, "WAIT", 0.5)
    store = open_store(tmp_path / "kb")
    put(store, rows(30))
    store.maintenance.backup(tmp_path / "kb.bak")
    writer = sqlite3.connect(tmp_path / "kb" / "collection.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    with pytest.raises(CollectionError, match="is writing to"):
        store.maintenance.restore(tmp_path / "kb.bak", replace=True)
    writer.execute("ROLLBACK")
    writer.close()
    store.maintenance.restore(tmp_path / "kb.bak", replace=True)
    assert len(list(store.documents())) == 3 and not list((tmp_path / "kb").glob("*.part*"))


def test_a_collection_in_use_is_not_accepted_as_a_backup(tmp_path: Path) -> None:
    opened, other = open_store(tmp_path / "one"), open_store(tmp_path / "other")
    put(opened, rows(30))
    with pytest.raises(CollectionError, match="make one with `commonplace backup"):
        other.maintenance.restore(tmp_path / "one" / "collection.db")


def test_a_backup_changes_no_other_file_and_two_backups_do_not_mix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path / "kb")
    put(store, rows(2000))
    (tmp_path / "kb.bak.part").write_text("precious")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / f"kb.bak.0123456789abcdef.{dead.pid}.part").write_text("of one that was killed")
    output: list[object] = []

    def write() -> None:
        opened = open_store(tmp_path / "kb")
        try:
            output.append(opened.maintenance.backup(tmp_path / "kb.bak"))
        except CollectionError as problem:
            output.append(str(problem))
        opened.close()

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sizes = [size for size in output if isinstance(size, int)]
    assert sizes == [(tmp_path / "kb.bak").stat().st_size]  # one process was first, and the others got an error
    assert all("name a new file" in str(message) for message in output if not isinstance(message, int))
    assert (tmp_path / "kb.bak.part").read_text() == "precious"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["kb", "kb.bak", "kb.bak.part"]
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("no links here")))
    assert store.maintenance.backup(tmp_path / "unlinked.bak") == sizes[0]
    with pytest.raises(CollectionError, match="name a new file"):
        store.maintenance.backup(tmp_path / "unlinked.bak")
    with pytest.raises(CollectionError, match="create it first"):
        store.maintenance.backup(tmp_path / "nowhere" / "kb.bak")
    with pytest.raises(CollectionError, match="choose another"):
        store.maintenance.backup(tmp_path / os.fsdecode(b"kb\xff.bak"))


@pytest.mark.parametrize(
    "change", [*(f"checksum = {value}" for value in ("x'ff'", "'x'", "1e300", "-1")), "vector = x'00'"]
)
def test_an_invalid_vector_or_checksum_is_reported(tmp_path: Path, change: str) -> None:
    store = open_store(tmp_path)
    put(store, rows(30))
    store.close()
    sql(tmp_path, f"UPDATE vectors SET {change} WHERE rowid = 7")
    store = open_store(tmp_path)
    assert len(search(store, "text", rows(30)[0], 30, Filter()).keys) == 29
    (finding,) = store.maintenance.doctor()
    assert "vectors" in finding.what and "commonplace add --force" in finding.remedy
    put(store, rows(30))  # embedded again: the damaged vector is replaced
    assert store.maintenance.doctor() == [] and len(search(store, "text", rows(30)[0], 30, Filter()).keys) == 30


def test_an_invalid_generation_number_is_repaired(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    put(store, rows(30))
    store.close()
    sql(tmp_path, f"UPDATE meta SET value = '{'9' * 30}' WHERE name = 'generation'")
    store = open_store(tmp_path)
    assert "generation number" in store.maintenance.doctor()[0].what
    store.maintenance.doctor(repair=True)
    assert store.maintenance.doctor() == [] and len(list(store.documents())) == 3
    assert open_store(tmp_path).maintenance.doctor() == []


def test_a_full_disk_is_reported_as_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(tmp_path)
    monkeypatch.setattr(database, "full", lambda folder: True)
    assert "is full" in str(store._database.explain(sqlite3.OperationalError("disk I/O error")))
    monkeypatch.setattr(database, "full", lambda folder: False)
    assert "check the disk" in str(store._database.explain(sqlite3.OperationalError("disk I/O error")))


@pytest.mark.parametrize("value", ["'x'", "x'ff'", "1e300"])
def test_a_damaged_removal_log_stops_nothing(tmp_path: Path, value: str) -> None:
    store, where = open_store(tmp_path), Filter(path="/a/*")
    ids = put(store, rows(100))
    reader = open_store(tmp_path)
    assert reader.count(where) == 100
    store.remove(ids[:2])
    sql(tmp_path, f"UPDATE removed SET item = {value} WHERE key = 5")
    for opened in (reader, open_store(tmp_path)):
        assert opened.count(where) in (80, 81)
        ranked = search(opened, "text", questions(1)[0], 99, Filter()).keys
        assert len(items_at(opened, ranked.tolist())) == 80  # removed items stay removed
    assert "removal log" in store.maintenance.doctor()[0].what
    store.maintenance.doctor(repair=True)
    assert store.maintenance.doctor() == [] and reader.count(where) == 80
