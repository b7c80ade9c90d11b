"""Every planted damage is reported, only derived data is rebuilt, and a backup equals the collection."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from commonplace.errors import CollectionError, ModelMismatch, VersionError
from commonplace.metadata import Metadata
from commonplace.store import MetadataTypeError, StoreOptions
from commonplace.store.schema import checksum
from commonplace.types import Document, Filter, ParsedDocument, stable_id
from tests.conftest import ROOT
from tests.store import make
from tests.store.make import DIM, items_at, put, rows, search, search_text, texts
from tests.store.test_index_files import agree, file_of, flipped, partition_offset_of

open_store = partial(make.open_store, options=StoreOptions(build_after=300))


def sql(folder: Path, *statements: str) -> None:
    """Change the database directly, without the store."""
    connection = sqlite3.connect(folder / "collection.db", isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def content(file: Path) -> list[object]:
    """Return every row of every table."""
    connection = sqlite3.connect(f"{file.as_uri()}?immutable=1", uri=True)
    connection.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")]
    result = [(name, connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall()) for name in names
             if name not in ("lexicon", "paths")]  # fmt: skip
    connection.close()
    return [*result]


def made(folder: Path, count: int = 500) -> list[str]:
    store = open_store(folder)
    ids = put(store, rows(count))
    store.maintenance.checkpoint()
    store.close()
    return ids


DAMAGE: dict[str, tuple[str, str, str]] = {
    # name: SQL statement, words of the finding, and the remedy (doctor, file or vacuum)
    "item text": ("UPDATE items SET text = 'a lie' WHERE key = 25", "damaged items in", "file"),
    "item owner": ("UPDATE items SET document = 1 WHERE key = 25", "damaged items in", "file"),
    "document": ("UPDATE documents SET path = '/lie' WHERE key = 3", "documents whose row", "file"),
    "vector": (
        "UPDATE vectors SET vector = zeroblob(64) WHERE rowid = 25",
        "damaged vectors (wrong length, checksum or values) of /a/0/20.txt",
        "file",
    ),
    "short vector": ("UPDATE vectors SET vector = x'00' WHERE rowid = 25", "damaged vectors", "file"),
    "lost vector": ("DELETE FROM vectors WHERE rowid = 25", "views without their vector, of /a/0/20.txt", "file"),
    "spare vector": (
        "INSERT INTO vectors SELECT 'text', 'x', vector, checksum FROM vectors LIMIT 1",
        "vectors that no item uses",
        "vacuum",
    ),
    "view of nobody": (
        f"INSERT INTO views VALUES (99999, 'text', 'x', {checksum(99999, 'text', 'x')})",
        "damaged views of",
        "vacuum",
    ),
    "view of another": (
        "UPDATE views SET item = 26 WHERE item = 25 AND partition = 'text'",
        "damaged views of /a/0/20.txt",
        "file",
    ),
    "lost owner": ("DELETE FROM documents WHERE key = 3", "items without their document", "file"),
    "thumbnail": ("UPDATE pictures SET thumbnail = x'01' WHERE rowid = 3", "damaged thumbnails of", "file"),
    "lost thumbnail": ("DELETE FROM pictures WHERE rowid = 3", "without their thumbnail, in /a/0/20.txt", "file"),
    "signature": ("UPDATE signatures SET pixels = x'01' WHERE picture = 'a20'", "signatures", "doctor"),
    "lost signature": ("DELETE FROM signatures WHERE picture = 'a20'", "signatures", "doctor"),
    "removal log": ("INSERT INTO removed (item) VALUES (25)", "the removal log", "doctor"),
    "model": ("UPDATE meta SET value = 'lie' WHERE name = 'space'", "the settings of the collection", "doctor"),
    "lost word": ("DELETE FROM lexicon_docsize WHERE id = 7", "word index", "doctor"),
    "other path": ("UPDATE paths SET words = 'lie' WHERE rowid = 3", "word index", "doctor"),
    "lost path": ("DELETE FROM paths_docsize WHERE id = 3", "word index", "doctor"),
    "other words": ("INSERT INTO lexicon (rowid, words) VALUES (7, 'lie')", "word index", "doctor"),
}
STORED = ("documents", "items", "views", "vectors", "pictures", "shadow_views", "shadow_vectors")


@pytest.mark.parametrize("name", DAMAGE)
def test_doctor_reports_damage_and_rebuilds_only_derived_data(tmp_path: Path, name: str) -> None:
    statement, words, remedy = DAMAGE[name]
    made(tmp_path)
    store = open_store(tmp_path)
    assert store.maintenance.doctor() == []
    sql(tmp_path, "PRAGMA foreign_keys = OFF", statement)
    findings = store.maintenance.doctor()
    assert any(words in finding.what for finding in findings) and not any(entry.repaired for entry in findings), (
        findings
    )
    before = {table: store._database.all(f"SELECT * FROM {table}") for table in STORED}
    repaired = store.maintenance.doctor(repair=True)
    assert [finding.what for finding in repaired] == [finding.what for finding in findings]
    assert before == {table: store._database.all(f"SELECT * FROM {table}") for table in STORED}
    if remedy == "file":
        assert store.maintenance.doctor() != [], "what is lost stays named"
        put(store, rows(500)[20:30], start=20)  # like `add --force` of the file in the finding
        store.maintenance.doctor(repair=True)  # damaged words are still in the word index
    elif remedy == "vacuum":
        assert any("vacuum" in finding.remedy for finding in findings)
    if remedy != "doctor":
        store.maintenance.vacuum()
    assert store.maintenance.doctor() == []
    assert len(list(store.documents())) == 50 and len(store.items_of(stable_id("/a/0/20.txt"))) == 10
    agree(store)
    store.close()


def test_a_collection_whose_last_document_was_removed_is_undamaged(tmp_path: Path) -> None:
    made(tmp_path)
    store = open_store(tmp_path)
    store.remove([document.id for document in store.documents()])
    assert store.count() == 0 and store.maintenance.doctor() == []
    store.close()


def test_damaged_items_are_left_out_until_their_file_is_read_again(tmp_path: Path) -> None:
    made(tmp_path)
    sql(tmp_path, "UPDATE items SET text = 'a lie' WHERE key = 25", "DELETE FROM vectors WHERE rowid = 9")
    file_of(tmp_path).unlink()
    store = open_store(tmp_path)
    for query in rows(500)[[24, 8]]:
        hits = search(store, "text", query, 5, Filter())
        assert "a lie" not in texts(store, hits.keys)
        assert len(texts(store, hits.keys)) >= 4
    put(store, rows(500))  # like `add --force`
    store.maintenance.doctor(repair=True)  # the word index contained the damaged text
    assert store.maintenance.doctor() == []
    agree(store)


def test_a_wrong_index_file_is_reported_and_rebuilt(tmp_path: Path) -> None:
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
        assert "index file" in finding.what or ("snapshot" in finding.what and not finding.repaired)
        (finding,) = store.maintenance.doctor(repair=True)
        assert finding.repaired
        assert store.maintenance.doctor() == [] and store.maintenance.indexes()["text"]["file_rows"] == 500
        agree(store)
        store.close()


def test_bit_flips_and_truncation_of_the_database_are_never_silent(tmp_path: Path) -> None:
    """After any bit flip, a search reports it, leaves the item out, or is correct. It never returns wrong words."""
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
                ranked = search(store, "text", vectors[n], 3, Filter())
                for key, score in zip(ranked.keys.tolist(), ranked.scores.tolist(), strict=True):
                    entry = items_at(store, [key]).get(key)
                    if entry is not None:
                        assert entry.text in truth, at
                        values = vectors[truth[entry.text]]
                        assert score == pytest.approx(float(values @ vectors[n]), abs=1e-5), at
        except CollectionError:
            pass
        try:
            findings = store.maintenance.doctor()
        except CollectionError as problem:
            findings = [problem]  # type: ignore[list-item]
        named += bool(findings)
        silent += not findings
        store.close()
        if not findings:  # the flip is in an unused place
            assert content(file) == before, at
    assert named >= 20 and silent, (named, silent)
    for size in (len(whole) // 2, 4096, 100):
        file.write_bytes(whole[:size])
        with pytest.raises(CollectionError):
            store = open_store(tmp_path / "kb")
            findings = store.maintenance.doctor()
            raise CollectionError(findings[0].what)


def test_a_restored_backup_equals_the_collection_for_every_process(tmp_path: Path) -> None:
    store, reader = open_store(tmp_path / "kb"), open_store(tmp_path / "kb")
    ids = put(store, rows(500))
    store.maintenance.checkpoint()
    size = store.maintenance.backup(tmp_path / "one.bak")
    assert size == (tmp_path / "one.bak").stat().st_size and len(list(tmp_path.glob("*.bak*"))) == 1
    store.remove(ids[:20])
    put(store, rows(400, seed=8), "later")  # uses keys that the backup will assign to other items
    assert any(
        "later" in (text or "") for text in texts(reader, search(reader, "text", rows(1, 8)[0], 3, Filter()).keys)
    )
    with pytest.raises(CollectionError, match="--replace"):
        store.maintenance.restore(tmp_path / "one.bak")
    with pytest.raises(CollectionError, match="exists already"):
        store.maintenance.backup(tmp_path / "one.bak")
    store.maintenance.restore(tmp_path / "one.bak", replace=True)
    for cell in (store, reader):
        assert len(list(cell.documents())) == 50
        assert texts(cell, search(cell, "text", rows(500)[7], 1, Filter()).keys) == ["a word7"]
        assert texts(cell, search_text(cell, "word7", 3, Filter()).keys) == ["a word7"]
        agree(cell)
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


def test_vacuum_frees_space_and_leaves_no_removed_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("commonplace.store.local.MERGED", 100)
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


@pytest.mark.parametrize(
    "harm", ["DELETE FROM metadata WHERE value = 'jane doe'", "UPDATE metadata SET value = 'jane dof'"]
)
def test_metadata_rows_that_differ_from_documents_are_rebuilt(tmp_path: Path, harm: str) -> None:
    store = open_store(tmp_path)
    metadata = Metadata({"author": "Jane Doe", "n": 2.5})
    store.update([Document("a", "file:///a", "/a", "text/plain", metadata=metadata)])
    before = store._database.all("SELECT * FROM metadata")
    sql(tmp_path, harm.replace("jane dof'", "jane dof' WHERE key = 'author'"))
    (finding,) = store.maintenance.doctor()
    assert "filters" in finding.what and not finding.repaired
    (finding,) = store.maintenance.doctor(repair=True)
    assert finding.repaired and store.maintenance.doctor() == []
    assert store._database.all("SELECT * FROM metadata") == before


def test_a_key_of_two_types_is_refused_and_reported(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    documents = [
        Document(str(value), f"record:{value}", f"record:{value}", "text/plain", metadata=Metadata({"w": value}))
        for value in (5, 6, "text")
    ]
    store.add([ParsedDocument(document) for document in documents[:2]], [])
    with pytest.raises(MetadataTypeError, match="text: its metadata has text under 'w'"):
        store.add([ParsedDocument(documents[2])], [])
    assert len(list(store.documents())) == 2 and store.maintenance.doctor() == []
    store.add([ParsedDocument(documents[2])], [], replaces=["5", "6"])
    store.update(documents[:1])  # without the check, as a store of an earlier version
    (finding,) = store.maintenance.doctor()
    assert finding.what.endswith("more than one type: w") and finding.count == 1 and "again" in finding.remedy


def test_bad_vectors_are_refused_with_the_path_of_their_document(tmp_path: Path) -> None:
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
from commonplace.store import StoreOptions
from tests.store.make import open_store, put, rows
store = open_store(Path(sys.argv[1]), options=StoreOptions(build_after=150))
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
    """Repeatedly kill a process that adds, removes and writes index files: all acknowledged changes are kept."""
    draw = random.Random(seed)
    added: set[int] = set()
    removed: set[int] = set()
    begun = 0
    for _ in range(rounds):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder), str(begun)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert process.stdout is not None
        output = [process.stdout.readline()]
        time.sleep(draw.random() * 0.6)
        os.kill(process.pid, signal.SIGKILL)
        output += process.stdout.read().splitlines(keepends=True)
        process.wait()
        for line in output:
            if line.endswith("\n"):
                what, number = line.split()
                (added if what == "added" else removed).add(int(number))
        store = open_store(folder)
        documents = {document.id for document in list(store.documents())}
        last = max(added)
        if last % 3 == 2 and stable_id(f"/w{last}/0/0.txt") not in documents:
            removed.add(last)  # done, but not acknowledged before the kill
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


def test_a_kill_at_any_moment_loses_no_acknowledged_change(tmp_path: Path) -> None:
    killed(tmp_path, int(os.environ.get("COMMONPLACE_KILLS", "4")), seed=0)


TEXTS = {
    "documents": "uri path media_type content_hash title status error stamp items metadata".split(),  # noqa: SIM905
    "items": ["id", "modality", "span", "text", "title", "picture"],
    "views": ["view", "partition"],
    "pictures": ["hash"],
    "metadata": ["key", "type", "value"],
}


@pytest.mark.parametrize("table", TEXTS)
@pytest.mark.parametrize("value", ["x'ff00fe'", "CAST(x'41ff' AS TEXT)", "12.5"])
def test_non_text_values_are_reported_and_stop_nothing_else(tmp_path: Path, table: str, value: str) -> None:
    for column in TEXTS[table]:
        folder = tmp_path / column
        made(folder, 30)
        row = (
            "(item, partition, view) = (15, 'text', (SELECT view FROM views WHERE item = 15))"
            if table == "views"
            else f"(document, key, value) = (SELECT document, key, value FROM {table} LIMIT 1)"
            if table == "metadata"
            else "rowid = 2"
        )
        if table == "metadata":
            sql(folder, "INSERT INTO metadata VALUES (1, 'a', 'text', 'b')")
        before = content(folder / "collection.db")
        sql(folder, "PRAGMA foreign_keys = OFF", f"UPDATE {table} SET {column} = {value} WHERE {row}")
        if content(folder / "collection.db") == before:
            continue  # a number in a column of texts becomes one
        store = open_store(folder)
        shown = list(store.documents())
        assert len(shown) == 3
        for document in shown:
            text = [document.id, document.uri, document.path, document.media_type, document.content_hash]
            text += [document.title or "", document.status, document.error or "", document.stamp]
            assert all(isinstance(part, str) for part in text) and isinstance(document.items, int)
            assert all("\ufffd" in item.id or item.text for item in store.items_of(document.id))
        assert all(isinstance(name, str) for names in store.counts().values() for name in names)
        assert len(texts(store, search(store, "text", rows(30)[25], 30, Filter()).keys)) >= 18, column
        assert search_text(store, "word25", 3, Filter()).keys.tolist() == [26]
        assert store.maintenance.doctor() != [], column
        put(store, rows(30))  # like `add --force` of the same files
        store.maintenance.doctor(repair=True)
        store.maintenance.vacuum()
        assert store.maintenance.doctor() == [] and len(list(store.documents())) == 3, column
        store.close()
