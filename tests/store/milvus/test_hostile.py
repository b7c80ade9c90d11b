"""Hostile ids, rows of other programs, and processes that write at the same time, over Milvus Lite."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("pymilvus", reason="needs the extra milvus")

from commonplace.errors import CollectionError
from commonplace.store import StoreSpace
from commonplace.store.milvus.address import MilvusAddress
from commonplace.store.milvus.blobs import Blobs
from commonplace.store.milvus.store import MilvusStore
from commonplace.types import Document, Filter, Item, Original, ParsedDocument, Span, stable_id

from ..contract import DIM, hubness, parsed, vectors_of
from .test_contract import open_store

HOSTILE = (
    *("x'] or id != '' or id in ['", 'x"] or id != "" or id in ["', "o'neil", "b\\", "b\\'", "%_", "a/b", "..", "~x"),
    *("名前", "\u202eright to left", "x" * 200, "tab\there", "é" * 100, "document:x", "t2/document:x"),
)


FOREIGN = ("{nope", "{}", "[1]", '{"a": 1}', '{"id": 3}', "null", '"x"', '{"pieces": ["gone"]}')


def record(id_: str, text: str) -> ParsedDocument:
    document = Document(id_, f"record:{id_}", id_, "text/plain", stable_id(text), items=1)
    item = Item(stable_id(id_, "item"), document, "text", Span(0, 1), text)
    return ParsedDocument(document, (item,), original=Original("text/plain", text.encode()))


def put(store: MilvusStore, *documents: ParsedDocument) -> None:
    store.add(documents, vectors_of(documents))


def test_ids_of_users_select_only_their_own_document(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    put(store, *(record(id_, f"words of {n}") for n, id_ in enumerate(HOSTILE)))
    left = set(HOSTILE)
    for n, id_ in enumerate(HOSTILE):
        assert store.original(id_) == f"words of {n}".encode()
        put(store, record(id_, "replaced"))
        store.update([replace(record(id_, "").document, status="partial", error="why")])
        store.set_setting(id_, "value")
        store.set_setting(id_, None)
        store.label(id_, id_, stable_id(id_, "item"), True)
        assert store.setting(id_) is None and store.remove([id_]) == 1
        left.remove(id_)
        assert {document.id for document in store.documents()} == left and store.count() == len(left)
    assert store.maintenance.doctor() == []
    store.close()


def test_an_update_does_not_undo_what_another_process_adds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = open_store(tmp_path / "store"), open_store(tmp_path / "store")
    old, new = parsed("/a.txt", "old"), parsed("/a.txt", "new", "more")
    put(one, old)
    put_all = type(one._records).put_all

    def late(self: object, *values: object) -> None:
        monkeypatch.setattr(type(one._records), "put_all", put_all)
        put(two, new)  # between the reading and the writing of the update
        put_all(self, *values)  # type: ignore[arg-type]

    monkeypatch.setattr(type(one._records), "put_all", late)
    one.update([replace(old.document, status="failed", error="it is gone")])
    (document,) = two.documents()
    assert document.status == "ok" and [item.text for item in two.items_of(document.id)] == ["new", "more"]
    two.remove([document.id])
    assert list(one.documents()) == [] and one.counts("documents") == {"documents": {}}
    one.close()
    two.close()


def test_a_search_that_meets_a_replacement_finds_the_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = open_store(tmp_path / "store"), open_store(tmp_path / "store")
    put(one, parsed("/a.txt", "words", "more"))
    item = stable_id(stable_id("/a.txt"), 0)
    for use in (
        lambda: one.search("text", vectors_of([parsed("/q", "words")])[0].vectors[0], 2, Filter()).ids,
        lambda: tuple(one.items([item, stable_id(stable_id("/a.txt"), 1)])),
        lambda: [each.id for each in one.items_of(stable_id("/a.txt"))],
    ):
        documents = type(one._records).documents

        def late(self: object, *values: object, documents: object = documents) -> object:
            monkeypatch.setattr(type(one._records), "documents", documents)
            put(two, parsed("/a.txt", "words", "more"))  # after the rows were read, before their documents are
            return documents(self, *values)  # type: ignore[operator]

        one._snapshots._current = None
        monkeypatch.setattr(type(one._records), "documents", late)
        assert len(use()) == 2
    one.close()
    two.close()


def test_counts_leave_out_what_is_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = open_store(tmp_path / "store"), open_store(tmp_path / "store")
    put(one, parsed("/a.txt", "old", picture="p"))
    for step in ("_commit", "_finish"):
        original = getattr(one._writer, step)
        expected = 2 if step == "_commit" else 4

        def looked(*values: object, original: object = original, expected: int = expected) -> None:
            assert two.count() == expected == sum(two.counts("vectors")["vectors"].values())
            assert sum(two.counts("items")["items"].values()) == expected
            original(*values)  # type: ignore[operator]

        monkeypatch.setattr(one._writer, step, looked)
    put(one, parsed("/a.txt", "new", "more", "and more", picture="p"))
    assert two.count() == 4
    one.close()
    two.close()


def test_contents_that_are_used_again_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = open_store(tmp_path / "store"), open_store(tmp_path / "store")
    put(one, record("r", "first"))
    commit = two._writer._commit

    def late(*values: object) -> None:
        put(one, record("r", "second"))  # removes the first content, which is about to be used again
        commit(*values)  # type: ignore[arg-type]

    monkeypatch.setattr(two._writer, "_commit", late)
    put(two, record("r", "first"))
    assert one.original("r") == b"first" and one.maintenance.doctor() == []
    one.close()
    two.close()


def test_rows_of_other_programs_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = open_store(tmp_path / "store")
    put(store, parsed("/a.txt", "words"))
    records, name = store._records, store._layout.name
    for kind in ("document", "state", "intent", "setting", "label"):
        for n, body in enumerate(
            ("{nope", "{}", "[1]", '{"a": 1}', '{"id": 3}', "null", '"x"', '{"pieces": ["gone"]}')
        ):
            store._connection.upsert(name, [records._plain_row(kind, f"x{n}", body)], lambda _: 100)
    store._layout.set_properties({"commit.x": "9" * 30, "commit.y": "1 x abc", "commit.z": ""})
    store._snapshots.publish()
    again = open_store(tmp_path / "store")
    assert [document.path for document in again.documents()] == ["/a.txt"] and again.count() == 1
    assert again.settings() == {} and again.labels() == [] and again.maintenance.doctor() == []
    assert len(again.search_text("words", 3, Filter()).ids) == 1
    put(again, parsed("/b.txt", "more"))
    assert again.remove([stable_id("/a.txt")]) == 1 and again.maintenance.status()["indexes"]
    assert any("no row of Commonplace" in record.message for record in caplog.records)
    store.close()
    again.close()


def test_a_foreign_collection_with_a_similar_name_is_left_alone(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    store._connection.call("create_collection", f"{store._layout.name}__notes", dimension=8)
    put(store, parsed("/a.txt", "words", picture="p"))
    put(store, parsed("/a.txt", "other words", picture="q"))
    assert store.count() == 2 and store.remove([stable_id("/a.txt")]) == 1 and store.maintenance.doctor() == []
    assert store._connection.call("has_collection", f"{store._layout.name}__notes")
    store.close()


def test_a_server_cannot_name_any_folder_for_blobs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    home = tmp_path / "home"
    (home / "pictures" / "ho").mkdir(parents=True)
    (home / "pictures" / "ho" / "holiday.jpg").write_bytes(b"mine")
    store = open_store(tmp_path / "store")
    for url in (f"file://{home}", "file:///etc", "http://127.0.0.1:9/x", "ftp://127.0.0.1:9/x"):
        store._layout.set_properties({"blobs": url})
        victim = open_store(tmp_path / "store")
        assert victim._sweeper.blobs is None and victim.maintenance.doctor(repair=True) == []
        assert victim.thumbnail("holiday") is None and victim.maintenance.paths()
        with pytest.raises(CollectionError, match="--blobs URL"):
            put(victim, parsed("/p.jpg", picture="p"))
        victim.close()
    assert (home / "pictures" / "ho" / "holiday.jpg").read_bytes() == b"mine"
    assert "give it with --blobs" in caplog.text
    address = MilvusAddress.parse(f"milvus-lite://{tmp_path}/store/notes.db")
    given = MilvusStore(address, StoreSpace("test", "f1", DIM, offset=hubness), blobs=Blobs.open(str(tmp_path / "own")))
    put(given, parsed("/p.jpg", picture="p"))
    given.close()
    store._layout.set_properties({"blobs": f"file://{tmp_path}/own"})
    trusting = open_store(tmp_path / "store")
    assert trusting.thumbnail("p") == b"jpeg of p"
    trusting.close()
    store.close()


def test_tenants_and_none_do_not_mix(tmp_path: Path) -> None:
    open_store(tmp_path / "plain").close()
    open_store(tmp_path / "shared", "one").close()
    with pytest.raises(CollectionError, match=r"leave out [?]tenant"):
        open_store(tmp_path / "plain", "one")
    with pytest.raises(CollectionError, match=r"add [?]tenant=NAME"):
        open_store(tmp_path / "shared")
