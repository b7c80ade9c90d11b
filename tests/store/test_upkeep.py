"""Every planted fault is named; what can be mended without embedding is; a backup is the collection."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from commonplace.errors import CollectionError, ModelMismatch, VersionError
from commonplace.store import vector_index
from commonplace.store.schema import checksum
from commonplace.types import Document, Filter, stable_id
from tests.conftest import ROOT
from tests.store.make import DIM, items_at, open_store, put, rows, search, search_text, texts
from tests.store.test_index_files import agree, file_of, flipped, partition_offset_of


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_index, "LEAST_WORTH", 300)


def sql(folder: Path, *statements: str) -> None:
    """Change the database behind the store's back."""
    connection = sqlite3.connect(folder / "collection.db", isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def content(file: Path) -> list[object]:
    """Return every row of every table."""
    connection = sqlite3.connect(f"{file.as_uri()}?immutable=1", uri=True)
    connection.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")]
    found = [(name, connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall()) for name in names
             if name != "lexicon"]  # fmt: skip
    connection.close()
    return [*found]


def made(folder: Path, count: int = 500) -> list[str]:
    store = open_store(folder)
    ids = put(store, rows(count))
    store.maintenance.checkpoint()
    store.close()
    return ids


FAULTS: dict[str, tuple[str, str, bool]] = {
    # what is done: statement, words of the report, whether it can be mended at once
    "item text": ("UPDATE items SET text = 'a lie' WHERE key = 25", "items that are not what was stored", False),
    "item owner": ("UPDATE items SET document = 1 WHERE key = 25", "items that are not what was stored", False),
    "document": ("UPDATE documents SET path = '/lie' WHERE key = 2", "documents whose row", False),
    "vector": ("UPDATE vectors SET vector = zeroblob(128) WHERE rowid = 9", "taken from the snapshot", True),
    "short vector": ("UPDATE vectors SET vector = x'00' WHERE rowid = 9", "taken from the snapshot", True),
    "lost vector": ("DELETE FROM vectors WHERE rowid = 9", "views without their vector", False),
    "spare vector": (
        "INSERT INTO vectors SELECT 'text', 'x', vector, checksum FROM vectors LIMIT 1",
        "vectors that no item has",
        True,
    ),
    "view of nobody": (
        f"INSERT INTO views VALUES (99999, 'text', 'x', {checksum(99999, 'text', 'x')})",
        "views of items that are gone",
        True,
    ),
    "view of another": (
        "UPDATE views SET item = 26 WHERE item = 25 AND partition = 'text'",
        "views that are not what was stored",
        False,
    ),
    "model": ("UPDATE meta SET value = 'lie' WHERE name = 'space'", "the notes on the collection's model", False),
    "removal log": (
        "INSERT INTO removed (item) VALUES (25)",
        "items that are noted as removed and are there, or are none",
        True,
    ),
    "thumbnail": ("UPDATE pictures SET thumbnail = x'01' WHERE rowid = 3", "thumbnails that are not", False),
    "lost word": ("DELETE FROM lexicon_docsize WHERE id = 7", "word index", True),
    "other words": ("INSERT INTO lexicon (rowid, words) VALUES (7, 'lie')", "word index", True),
}


@pytest.mark.parametrize("name", FAULTS)
def test_doctor_names_and_mends(tmp_path: Path, name: str) -> None:
    statement, words, mended = FAULTS[name]
    made(tmp_path)
    store = open_store(tmp_path)
    assert store.maintenance.doctor() == []
    sql(tmp_path, "PRAGMA foreign_keys = OFF", statement)
    found = store.maintenance.doctor()
    assert found and not any(finding.repaired for finding in found)
    repaired = store.maintenance.doctor(repair=True)
    assert any(words in f"{finding.what}: {finding.remedy}" and finding.repaired == mended for finding in repaired), (
        repaired
    )
    left = store.maintenance.doctor()
    assert (not left) == mended or name in ("lost vector", "view of another", "model", "thumbnail"), left
    store.close()


def test_what_doctor_cannot_mend_is_left_out_and_mended_by_adding_again(tmp_path: Path) -> None:
    ids = made(tmp_path)
    sql(tmp_path, "UPDATE items SET text = 'a lie' WHERE key = 25", "DELETE FROM vectors WHERE rowid = 9")
    file_of(tmp_path).unlink()
    store = open_store(tmp_path)
    for query in rows(500)[[24, 8]]:
        found = search(store, "text", query, 5, Filter())
        assert "a lie" not in texts(store, found.keys)
        assert len(texts(store, found.keys)) >= 4
    store.maintenance.doctor(repair=True)
    stamps = {one.id: one.stamp for one in list(store.documents())}
    assert all(stamps[id_] == "" for id_ in ids)
    put(store, rows(500))  # as the next add would
    assert store.maintenance.doctor() == []
    agree(store)


def test_a_snapshot_that_lies_is_named_and_made_anew(tmp_path: Path) -> None:
    made(tmp_path)
    file = file_of(tmp_path)
    whole = file.read_bytes()
    for damaged in (
        flipped(whole, 20),
        flipped(whole, partition_offset_of(tmp_path, "keys") + 4),
        flipped(whole, partition_offset_of(tmp_path, "rows") + 5000),
        whole[:-1],
        b"",
    ):
        file.write_bytes(damaged)
        store = open_store(tmp_path)
        (finding,) = store.maintenance.doctor()
        assert "snapshot" in finding.what and not finding.repaired
        (finding,) = store.maintenance.doctor(repair=True)
        assert finding.repaired
        assert store.maintenance.doctor() == [] and store.maintenance.indexes()["text"]["snapshot_rows"] == 500
        agree(store)
        store.close()


def test_flips_and_cuts_of_the_database_lose_nothing_silently(tmp_path: Path) -> None:
    """Wherever a bit flips, a search says so, leaves the item out, or answers right: never another item's words."""
    made(tmp_path / "kb")
    file = tmp_path / "kb" / "collection.db"
    whole = file.read_bytes()
    truth = {f"a word{n}": n for n in range(500)}
    vectors = rows(500)
    draw = random.Random(5)
    named = silent = 0
    before = content(file)
    for _ in range(60):
        at = draw.randrange(len(whole))
        file.write_bytes(flipped(whole, at))
        for left in ("collection.db-wal", "collection.db-shm"):
            (tmp_path / "kb" / left).unlink(missing_ok=True)
        for left in (tmp_path / "kb" / "index").glob("*"):
            left.unlink()
        try:
            store = open_store(tmp_path / "kb")
        except (CollectionError, VersionError):
            named += 1
            continue
        try:
            for n in range(0, 500, 50):
                found = search(store, "text", vectors[n], 3, Filter())
                for key, score in zip(found.keys.tolist(), found.scores.tolist(), strict=True):
                    entry = items_at(store, [key]).get(key)
                    if entry is not None:
                        assert entry.item.text in truth, at
                        own = vectors[truth[entry.item.text]]
                        assert score == pytest.approx(float(own @ vectors[n]), abs=1e-5), at
        except CollectionError:
            pass
        try:
            findings = store.maintenance.doctor()
        except CollectionError as problem:
            findings = [problem]  # type: ignore[list-item]
        named += bool(findings)
        silent += not findings
        store.close()
        if not findings:  # it lies where nothing is stored
            assert content(file) == before, at
    assert named >= 20 and silent, (named, silent)
    for size in (len(whole) // 2, 4096, 100):
        file.write_bytes(whole[:size])
        with pytest.raises(CollectionError):
            store = open_store(tmp_path / "kb")
            findings = store.maintenance.doctor()
            raise CollectionError(findings[0].what)


def test_a_backup_is_the_collection_and_restoring_replaces_it_everywhere(tmp_path: Path) -> None:
    store, reader = open_store(tmp_path / "kb"), open_store(tmp_path / "kb")
    ids = put(store, rows(500))
    store.maintenance.checkpoint()
    size = store.maintenance.backup(tmp_path / "one.bak")
    assert size == (tmp_path / "one.bak").stat().st_size and len(list(tmp_path.glob("*.bak*"))) == 1
    store.remove(ids[:20])
    put(store, rows(400, seed=8), "later")  # takes keys that the backup will give to others
    assert any(
        "later" in (text or "") for text in texts(reader, search(reader, "text", rows(1, 8)[0], 3, Filter()).keys)
    )
    with pytest.raises(CollectionError, match="--replace"):
        store.maintenance.restore(tmp_path / "one.bak")
    with pytest.raises(CollectionError, match="exists already"):
        store.maintenance.backup(tmp_path / "one.bak")
    store.maintenance.restore(tmp_path / "one.bak", replace=True)
    for one in (store, reader):
        assert len(list(one.documents())) == 50
        assert texts(one, search(one, "text", rows(500)[7], 1, Filter()).keys) == ["a word7"]
        assert texts(one, search_text(one, "word7", 3, Filter()).keys) == ["a word7"]
        agree(one)
    put(store, rows(30, seed=9), "new")
    agree(reader)
    assert store.maintenance.doctor() == []
    assert store._database.all("PRAGMA journal_mode")[0][0] == "wal"
    store.close()
    other = open_store(tmp_path / "other")
    other.maintenance.restore(tmp_path / "one.bak")
    agree(other)
    strange = open_store(tmp_path / "strange", fingerprint="f2")
    with pytest.raises(ModelMismatch):
        strange.maintenance.restore(tmp_path / "one.bak")
    (tmp_path / "no.bak").write_bytes(b"nothing" * 1000)
    (tmp_path / "cut.bak").write_bytes((tmp_path / "one.bak").read_bytes()[:20_000])
    for name in ("no.bak", "cut.bak", "absent.bak"):
        with pytest.raises(CollectionError):
            other.maintenance.restore(tmp_path / name, replace=True)
    agree(other)
    assert not list((tmp_path / "other").glob("*.part*"))


def test_compact_gives_back_room_and_leaves_no_word_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("commonplace.store.local.WORDS_MERGED", 100)
    store = open_store(tmp_path)
    ids = put(store, rows(2000), "zebra")
    put(store, rows(400, seed=4), "kept")
    store.maintenance.checkpoint()
    before = (tmp_path / "collection.db").stat().st_size
    store.remove(ids)
    store.maintenance.vacuum()
    assert (tmp_path / "collection.db").stat().st_size < before / 3
    agree(store)
    store.close()
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or b"zebra" not in file.read_bytes(), file


OLDER = ("DROP TABLE facts", "ALTER TABLE documents DROP COLUMN metadata")  # than the fourth schema


def test_a_collection_of_the_third_schema_knows_the_dates_of_its_files(tmp_path: Path) -> None:
    """Nothing is read again: titles and files' own dates are there; a row that was damaged stays damaged."""
    store, stamp = open_store(tmp_path), '[["/a/notes.txt", 10, 1700000000123456789, 0, 1]]'
    titles = ("Årsmelding", None, "Old")
    documents = [
        Document(
            str(n), f"file:///a/{n}", f"/a/{n}", "text/plain", title=title, stamp=stamp if n < 2 else "[" * 200_000
        )
        for n, title in enumerate(titles)
    ]
    store.update(documents)
    store.close()
    sql(tmp_path, *OLDER, "PRAGMA user_version = 3")
    database = sqlite3.connect(tmp_path / "collection.db")
    with database:
        for key, *values in database.execute(
            "SELECT key, id, uri, path, media_type, content_hash, title, status, error, stamp, items FROM documents"
        ).fetchall():
            damaged = key == 3
            database.execute("UPDATE documents SET checksum = ? WHERE key = ?", (checksum(*values) + damaged, key))
    database.close()
    store = open_store(tmp_path)
    expected = datetime.fromtimestamp(1700000000).isoformat()
    assert [one.stated() for one in list(store.documents())] == [*[{"date": [expected], "dated": ["file"]}] * 2, {}]
    facts = store._database.all("SELECT document, value FROM facts WHERE key IN ('title', 'date') ORDER BY 1, 2")
    assert facts == [(1, expected), (1, "årsmelding"), (2, expected), (3, "old")]
    (finding,) = store.maintenance.doctor()
    assert "documents whose row" in finding.what and finding.count == 1


@pytest.mark.parametrize("harm", ["DELETE FROM facts WHERE value = 'jane doe'", "UPDATE facts SET value = 'jane dof'"])
def test_facts_that_are_not_what_documents_say_are_made_anew(tmp_path: Path, harm: str) -> None:
    store = open_store(tmp_path)
    store.update([Document("a", "file:///a", "/a", "text/plain", metadata=(("author", "Jane Doe"), ("date", "2024")))])
    before = store._database.all("SELECT * FROM facts")
    sql(tmp_path, harm.replace("jane dof'", "jane dof' WHERE key = 'author'"))
    (finding,) = store.maintenance.doctor()
    assert "filters" in finding.what and not finding.repaired
    (finding,) = store.maintenance.doctor(repair=True)
    assert finding.repaired and store.maintenance.doctor() == []
    assert store._database.all("SELECT * FROM facts") == before


def test_a_collection_of_the_first_schema_is_brought_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path)
    file_of(tmp_path).unlink()
    sql(
        tmp_path,
        "DROP INDEX items_modality",
        *OLDER,
        "ALTER TABLE views DROP COLUMN checksum",
        *("DROP TABLE removed", "DROP TABLE beside_views", "DROP TABLE beside_vectors"),
        "DELETE FROM meta WHERE name = 'lineage'",
        *(f"ALTER TABLE {name} DROP COLUMN checksum" for name in ("documents", "items", "vectors", "pictures")),
        "PRAGMA user_version = 1",
    )
    with monkeypatch.context() as patch:
        patch.setattr("commonplace.store.database.os.access", lambda path, mode: False)
        with pytest.raises(VersionError, match="older"):
            open_store(tmp_path)
    store = open_store(tmp_path)
    assert store.maintenance.doctor() == []
    agree(store)


def test_bad_vectors_are_refused_by_the_name_of_their_document(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    values = rows(30)
    values[17, 3] = np.nan
    with pytest.raises(CollectionError, match=r"/a/0/10\.txt"):
        put(store, values)
    with pytest.raises(CollectionError, match=r"/a/0/0\.txt"):
        put(store, np.ones((5, DIM + 1), np.float32))
    assert list(store.documents()) == []


WRITER = """
import sys
from pathlib import Path
from commonplace.store import vector_index
from tests.conftest import ROOT
from tests.store.make import open_store, put, rows
partition.LEAST_WORTH = 150
store = open_store(Path(sys.argv[1]))
start = int(sys.argv[2])
for number in range(start, start + 1000):
    ids = put(store, rows(100, seed=number), f"w{number}")
    print("added", number, flush=True)
    if number % 3 == 2:
        store.remove(ids[:5])
        print("removed", number, flush=True)
    store.maintenance.checkpoint()
"""


def killed(folder: Path, rounds: int, seed: int) -> None:
    """Kill a process that adds, removes and writes snapshots, again and again: what it said it did is there."""
    draw = random.Random(seed)
    added: set[int] = set()
    removed: set[int] = set()
    begun = 0
    for _ in range(rounds):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder), str(begun)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert process.stdout is not None
        said = [process.stdout.readline()]
        time.sleep(draw.random() * 0.6)
        os.kill(process.pid, signal.SIGKILL)
        said += process.stdout.read().splitlines(keepends=True)
        process.wait()
        for line in said:
            if line.endswith("\n"):
                what, number = line.split()
                (added if what == "added" else removed).add(int(number))
        store = open_store(folder)
        documents = {one.id for one in list(store.documents())}
        last = max(added)
        if last % 3 == 2 and stable_id(f"/w{last}/0/0.txt") not in documents:
            removed.add(last)  # done, and not said before the end
        for number in added:
            ids = [stable_id(f"/w{number}/0/{at}.txt") for at in range(0, 100, 10)]
            gone = number in removed
            assert [id_ in documents for id_ in ids] == [not gone] * 5 + [True] * 5, number
        journal = [stable_id(f"/w{last + 1}/0/{at}.txt") in documents for at in range(0, 100, 10)]
        assert len(set(journal)) == 1, "a transaction is whole or absent"
        if journal[0]:
            added.add(last + 1)
            last += 1
        assert store.maintenance.doctor() == []
        agree(store, k=5)
        begun = last + 1
        store.close()


def test_kill_at_any_moment_loses_nothing_that_was_said(tmp_path: Path) -> None:
    killed(tmp_path, int(os.environ.get("COMMONPLACE_KILLS", "4")), seed=0)


TEXTS = {
    "documents": "uri path media_type content_hash title status error stamp items metadata".split(),  # noqa: SIM905
    "items": ["id", "modality", "span", "text", "title", "picture"],
    "views": ["view", "partition"],
    "pictures": ["hash"],
    "facts": ["key", "value"],
}


@pytest.mark.parametrize("table", TEXTS)
@pytest.mark.parametrize("value", ["x'ff00fe'", "CAST(x'41ff' AS TEXT)", "12.5"])
def test_what_is_no_text_is_named_and_stops_nothing_else(tmp_path: Path, table: str, value: str) -> None:
    for column in TEXTS[table]:
        folder = tmp_path / column
        made(folder, 30)
        row = (
            "(item, partition, view) = (15, 'text', (SELECT view FROM views WHERE item = 15))"
            if table == "views"
            else f"(document, key, value) = (SELECT document, key, value FROM {table} LIMIT 1)"
            if table == "facts"
            else "rowid = 2"
        )
        if table == "facts":
            sql(folder, "INSERT INTO facts VALUES (1, 'a', 'b')")
        before = content(folder / "collection.db")
        sql(folder, "PRAGMA foreign_keys = OFF", f"UPDATE {table} SET {column} = {value} WHERE {row}")
        if content(folder / "collection.db") == before:
            continue  # a number in a column of texts becomes one
        store = open_store(folder)
        shown = list(store.documents())
        assert len(shown) == 3
        for one in shown:
            text = (one.id, one.uri, one.path, one.media_type, one.content_hash, one.title or "", one.status,
                    one.error or "", one.stamp)  # fmt: skip
            assert all(isinstance(part, str) for part in text) and isinstance(one.items, int)
            assert all("\ufffd" in item.id or item.text for item in store.items_of(one.id))
        assert all(isinstance(name, str) for one in store.counts().values() for name in one)
        assert len(texts(store, search(store, "text", rows(30)[25], 30, Filter()).keys)) >= 18, column
        assert search_text(store, "word25", 3, Filter()).keys.tolist() == [26]
        assert store.maintenance.doctor() != [], column
        store.maintenance.doctor(repair=True)
        put(store, rows(30))  # as the next add would, of the same files
        store.maintenance.doctor(repair=True)
        left = [finding for finding in store.maintenance.doctor() if "documents whose row" not in finding.what]
        assert left == [], column
        for one in list(store.documents()):
            store.remove([one.id])
        assert (
            list(store.documents()) == []
            and store.maintenance.doctor(repair=True) is not None
            and store.maintenance.doctor() == []
        ), column
        store.close()


def test_a_title_that_is_no_text_is_taken_off_and_its_file_read_again(tmp_path: Path) -> None:
    ids = made(tmp_path, 30)
    sql(tmp_path, "UPDATE documents SET title = x'ff00fe' WHERE key = 2")
    store = open_store(tmp_path)
    assert any("title or notes are no text (/a/0/10.txt)" in finding.what for finding in store.maintenance.doctor())
    assert (
        any(finding.repaired for finding in store.maintenance.doctor(repair=True)) and store.maintenance.doctor() == []
    )
    document = next(store.documents(ids=[ids[1]]))
    assert document is not None and (document.title, document.stamp) == (None, "")
    assert len(store.items_of(ids[1])) == 10  # and its items are found again
    store.close()


@pytest.mark.parametrize("value", ["x'ff00fe'", "CAST(x'41ff' AS TEXT)", "'lie'"])
def test_a_documents_id_is_made_of_its_uri_again(tmp_path: Path, value: str) -> None:
    store = open_store(tmp_path)
    document = Document(stable_id("file:///a.txt"), "file:///a.txt", "/a.txt", "text/plain", "h", items=0)
    store.update([document])
    put(store, rows(30))
    sql(tmp_path, f"UPDATE documents SET id = {value} WHERE key = 1")
    assert list(store.documents())[1:] and any(
        "documents whose id" in finding.what for finding in store.maintenance.doctor()
    )
    assert all(
        finding.repaired for finding in store.maintenance.doctor(repair=True) if "documents whose id" in finding.what
    )
    assert store.maintenance.doctor() == [] and next(store.documents(ids=[document.id])) == document
    # One whose id is not of its URI is given one that it can be removed by.
    sql(tmp_path, "UPDATE documents SET id = x'ff' WHERE key = 2")
    store.maintenance.doctor(repair=True)
    (finding,) = store.maintenance.doctor()
    assert "damaged-2" in finding.what and store.remove(["damaged-2"]) == 1
    put(store, rows(10))
    assert store.maintenance.doctor() == []
    store.close()
