"""Unsuitable folders and files that are not collections: each gives one clear error, and nothing is lost."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from commonplace.errors import CollectionError, VersionError
from commonplace.store import StoreOptions, database
from commonplace.types import Filter
from tests.conftest import ROOT
from tests.kills.harness import build_shim
from tests.store.make import open_store, put, questions, rows, search, texts
from tests.store.test_index_files import agree


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(store: object, start: int = 0) -> int:
    """Add documents until the store refuses; return the number of acknowledged documents."""
    for number in range(start, start + 500):
        try:
            put(store, rows(50, seed=number), f"n{number}", each=50)  # type: ignore[arg-type]
        except CollectionError as problem:
            assert "full" in str(problem) and "free some space" in str(problem), problem
            return number
    raise AssertionError("it was never full")


def test_a_full_disk_loses_nothing_and_work_can_continue(small_disk: Path) -> None:
    store = open_store(small_disk / "kb")
    count = fill(store)
    assert count > 3 and len(list(store.documents())) == count
    assert texts(store, search(store, "text", rows(50, seed=1)[7], 1, Filter()).keys) == ["n1 word7"]
    with pytest.raises(CollectionError, match=r"full|written"):
        store.maintenance.backup(small_disk / "kb.bak")
    assert not list(small_disk.glob("kb.bak*"))
    store.close()
    store = open_store(small_disk / "kb")
    assert store.maintenance.doctor() == [] and len(list(store.documents())) == count
    agree(store)
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    put(store, rows(50, seed=9), "more", each=50)
    assert len(list(store.documents())) == count + 1 and store.maintenance.doctor() == []
    store.close()


def test_a_file_size_limit_is_reported_as_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = database.Database._connect

    def limited(self: database.Database) -> sqlite3.Connection:
        connection = connect(self)
        connection.execute("PRAGMA max_page_count = 200")
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(database.Database, "_connect", limited)
        store = open_store(tmp_path)
        count = fill(store)
        assert len(list(store.documents())) == count and store.maintenance.doctor() == []
        store.close()
    store = open_store(tmp_path)
    put(store, rows(50, seed=9), "more", each=50)
    assert len(list(store.documents())) == count + 1
    agree(store)


def test_a_read_only_disk_can_be_read(small_disk: Path) -> None:
    store = open_store(small_disk / "kb")
    ids = put(store, rows(60))
    store.maintenance.checkpoint()
    store.close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    store = open_store(small_disk / "kb")
    assert texts(store, search(store, "text", rows(60)[7], 1, Filter()).keys) == ["a word7"]
    for change in (
        lambda: put(store, rows(5), "b"),
        lambda: store.remove(ids[:1]),
        lambda: store.set_setting("a", "b"),
    ):
        with pytest.raises(CollectionError, match="cannot be written to"):
            change()
    assert len(list(store.documents())) == 6
    store.close()


def test_files_that_cannot_be_locked_are_refused(tmp_path: Path) -> None:
    shim = build_shim(tmp_path)
    if shim is None:
        pytest.skip("locks are refused by a shim that needs a C compiler on Linux")
    store = open_store(tmp_path / "kb")
    put(store, rows(60))
    store.close()
    code = (
        "import sys; from pathlib import Path; from tests.store.make import open_store, put, rows\n"
        "from commonplace.store import database; database.WAIT = 0.2\n"
        "from commonplace.errors import CollectionError\n"
        "try:\n    put(open_store(Path(sys.argv[1])), rows(5), 'b')\n"
        "except CollectionError as problem:\n    print(problem)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "kb")],
        env={**os.environ, "LD_PRELOAD": str(shim), "KILLS_NOLOCKS": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "disk of this machine" in done.stdout and len(done.stdout.splitlines()) == 1, done.stdout
    assert open_store(tmp_path / "kb").maintenance.doctor() == []


def test_two_machines_cannot_share_a_collection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "file_system", lambda path: "nfs4")
    monkeypatch.setattr(database, "machine", lambda: "one 1111")
    for _ in range(2):  # the same machine may open it any number of times
        store = open_store(tmp_path)
        put(store, rows(10))
        store.close()
    monkeypatch.setattr(database, "machine", lambda: "two 2222")
    with pytest.raises(CollectionError, match=r"nfs4.*the machine one 1111.*delete .*collection\.machine"):
        open_store(tmp_path)
    (tmp_path / "collection.machine").unlink()
    assert len(list(open_store(tmp_path).documents())) == 1
    monkeypatch.setattr(database, "machine", lambda: "one 1111")
    with pytest.raises(CollectionError, match="two 2222"):
        open_store(tmp_path)


def test_the_file_system_of_a_path_is_known(tmp_path: Path) -> None:
    if not Path("/proc/self/mountinfo").exists():
        pytest.skip("only Linux says")
    assert database.file_system(Path("/proc/self")) == "proc"
    assert database.file_system(tmp_path) and database.file_system(tmp_path) not in database.SHARES
    assert database.file_system(tmp_path / "absent" / "folder") == database.file_system(tmp_path)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (b"not a database at all, but long enough to be looked at " * 99, "damaged or not a collection"),
        (b"SQLite format 3\0" + b"\0" * 4096, "damaged|no collection|cannot be used"),
        ("foreign", "another program's database"),
        ("newer", "has schema 99, and this Commonplace reads schema 3 only"),
        ("folder", "cannot be used|cannot be written"),
    ],
)
def test_other_files_are_refused_and_not_changed(tmp_path: Path, what: bytes | str, words: str) -> None:
    file = tmp_path / "kb" / "collection.db"
    file.parent.mkdir()
    if isinstance(what, bytes):
        file.write_bytes(what)
    elif what == "folder":
        file.mkdir()
    else:
        if what == "newer":
            store = open_store(tmp_path / "kb")
            put(store, rows(10))
            store.maintenance.checkpoint()
            store.close()
        connection = sqlite3.connect(file)
        connection.execute("PRAGMA user_version = 99" if what == "newer" else "CREATE TABLE theirs (a)")
        connection.close()
    before = file.read_bytes() if file.is_file() else None
    with pytest.raises((CollectionError, VersionError), match=words) as caught:
        open_store(tmp_path / "kb")
    assert "\n" not in str(caught.value)
    assert before is None or file.read_bytes() == before


def test_an_empty_file_becomes_a_collection_unless_there_was_one(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "collection.db").touch()
    put(open_store(tmp_path / "new"), rows(10))
    store = open_store(tmp_path / "old")
    put(store, rows(10))
    store.close()
    (tmp_path / "old" / "collection.db").write_bytes(b"")
    with pytest.raises(CollectionError, match="missing or empty"):
        open_store(tmp_path / "old")


def test_a_deleted_log_is_detected_and_old_index_files_are_not_used(tmp_path: Path) -> None:
    store = open_store(tmp_path / "kb", options=StoreOptions(build_after=20))
    put(store, rows(100))
    store.maintenance.checkpoint()
    put(store, rows(60, seed=4), "gone")
    store._partitions["text"].build()  # of changes that are only in the log
    for name in ("collection.db", "collection.commit", "index/text.index"):
        (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "copy" / name).write_bytes((tmp_path / "kb" / name).read_bytes())
    store.close()
    store = open_store(tmp_path / "copy")
    (finding,) = store.maintenance.doctor()
    assert "committed changes are lost" in finding.what and finding.count == 1
    put(store, rows(60, seed=5), "other")  # reuses the keys of the lost items
    agree(store)
    assert not any(
        "gone" in (text or "") for text in texts(store, search(store, "text", rows(1)[0], 99, Filter()).keys)
    )
    assert store.maintenance.doctor(repair=True) == [finding] and store.maintenance.doctor() == []
    store.close()
    assert open_store(tmp_path / "copy").maintenance.doctor() == []


HOLD = """
import sys, time
from pathlib import Path
from tests.store.make import open_store
with open_store(Path(sys.argv[1]))._database.write():
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def hold(folder: Path, seconds: float) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), str(seconds)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_a_second_writer_waits_or_gets_the_name_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(tmp_path)
    put(store, rows(10))
    store.close()
    process = hold(tmp_path, 1)
    store = open_store(tmp_path)
    put(store, rows(10, seed=1), "waited")  # for the other to finish
    assert process.wait() == 0 and len(list(store.documents())) == 2
    store.close()
    monkeypatch.setattr(database, "WAIT", 0.2)
    process = hold(tmp_path, 60)
    try:
        store = open_store(tmp_path)
        assert len(search(store, "text", rows(1)[0], 5, Filter()).keys) == 5  # readers need not wait
        with pytest.raises(CollectionError, match=rf"^process {process.pid} on .* is writing .*try again"):
            put(store, rows(10, seed=2), "late")
    finally:
        process.kill()
        process.wait()
    put(store, rows(10, seed=2), "late")  # a lock dies with its process
    assert len(list(store.documents())) == 3


def _read(folder: str, channels: Any, result: Any) -> None:
    """Search all the time. Each announced commit must be visible at once."""
    store = open_store(Path(folder))
    last = searches = 0
    result.put("ready")
    while True:
        expected = channels.get() if not channels.empty() else last
        count = len(search(store, "text", questions(1)[0], 1000, Filter()).keys)
        searches += 1
        if count < expected or count < last or count % 20:
            result.put(f"saw {count} after {last}, told of {expected}: late, or half a transaction")
            return
        last = max(count, last)
        if count == 220:
            result.put(searches)
            return


def test_many_readers_see_each_commit_of_a_writer_without_reopening(tmp_path: Path) -> None:
    writer = open_store(tmp_path)
    put(writer, rows(20), each=20)
    context = multiprocessing.get_context("spawn")
    result = context.Queue()
    channels = [context.SimpleQueue() for _ in range(3)]
    readers = [context.Process(target=_read, args=(str(tmp_path), channel, result)) for channel in channels]
    for reader in readers:
        reader.start()
    assert [result.get(timeout=60) for _ in readers] == ["ready"] * 3
    for number in range(10):
        put(writer, rows(20, seed=number + 5), f"n{number}", each=20)
        for channel in channels:
            channel.put((number + 2) * 20)
    seen = [result.get(timeout=60) for _ in readers]
    assert all(isinstance(count, int) and count >= 1 for count in seen), seen
    for reader in readers:
        reader.join()


def test_two_threads_that_add_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    stores = [open_store(tmp_path) for _ in range(2)]

    def add(which: int) -> None:
        for number in range(15):
            put(stores[which], rows(10, seed=which * 100 + number), f"t{which}-{number}")

    threads = [threading.Thread(target=add, args=(which,)) for which in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(stores[0].documents())) == 30
    for store in stores:
        agree(store)
        assert store.maintenance.doctor() == []
