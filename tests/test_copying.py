"""Copies between stores: everything arrives, nothing is embedded again, and an interrupted copy continues."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import commonplace as cp
from commonplace.cli import main
from commonplace.copying import copy
from commonplace.errors import CollectionError, ModelMismatch
from commonplace.metadata import Metadata
from commonplace.places import PLUGINS
from commonplace.retrieval.background import SETTING
from commonplace.space import Space
from commonplace.store import LocalStore, Store, StoreSpace
from commonplace.types import Document, Filter, ParsedDocument, ViewVectors, stable_id
from tests.store.contract import parsed, vectors_of
from tests.store.memory_store import MemoryStore
from tests.tiny import tiny_bundle

DIM = 8


def local(folder: Path) -> LocalStore:
    return LocalStore(folder, StoreSpace("test", "f1", DIM))


def put(store: Store, *documents: ParsedDocument) -> None:
    store.add(documents, vectors_of(documents))


def settle(store: Store) -> None:
    if isinstance(store, MemoryStore):
        store.settle()


def contents(store: Store) -> dict[str, Any]:
    """Return everything that a store holds, in a form that can be compared."""
    documents = list(store.documents())
    items = {document.id: store.items_of(document.id) for document in documents}
    ids = [item.id for each in items.values() for item in each]
    pictures = {item.picture for each in items.values() for item in each if item.picture}
    return {
        "documents": documents,
        "items": items,
        "vectors": [(rows.partition, rows.item_ids, rows.views, rows.vectors.tolist()) for rows in store.views_of(ids)],
        "pictures": {name: store.thumbnail(name) for name in pictures},
        "sizes": store.picture_sizes(sorted(pictures)),
        "originals": {document.id: store.original(document.id) for document in documents},
        "labels": sorted(store.labels()),
        "settings": store.settings(),
        "counts": store.counts(),
    }


def filled(store: Store) -> Store:
    """Put one of everything into a store."""
    shared = [parsed(f"/{n}.txt", f"words {n}", "the same words", picture="shared", items=3) for n in range(3)]
    record = parsed("/record", "a record", title="A title", metadata=Metadata({"year": 2024, "plant": ["N", "S"]}))
    record = replace(
        record,
        document=replace(record.document, uri="cp:record"),
        original=cp.types.Original("text/plain", b"a record"),
    )
    put(store, *shared, record, parsed("/p.jpg", picture="alone"), parsed("/empty.txt", status="partial", error="x"))
    failed = Document(
        stable_id("/f.pdf"), "file:///f.pdf", "/f.pdf", "application/pdf", status="failed", error="broken"
    )
    store.update([failed])
    store.label("which words", "", stable_id(stable_id("/1.txt"), 0), True)
    store.label("", "/q.jpg", stable_id(stable_id("/1.txt"), 1), False)
    store.set_setting("ranking", '{"k": 1}')
    store.set_setting("other", "x")
    settle(store)
    return store


def test_a_copy_holds_the_same_and_so_does_its_copy(tmp_path: Path, space: Space) -> None:
    """Local to memory to local: the last one equals the first, down to the rounding of the vectors."""
    first, middle, last = filled(local(tmp_path / "a")), MemoryStore(DIM), local(tmp_path / "b")
    report = copy(first, middle, space, progress=False)
    assert str(report) == "7 copied" and report.incomplete == []
    settle(middle)
    assert contents(middle)["vectors"] == contents(first)["vectors"]
    assert str(copy(middle, last, space, progress=False)) == "7 copied"
    assert contents(last) == contents(first)
    ranked = [store.search_text("same words", 9, Filter()) for store in (first, last)]
    assert ranked[0].ids == ranked[1].ids and ranked[0].scores.tolist() == ranked[1].scores.tolist()
    assert last.maintenance.doctor() == []
    assert copy(first, last, space, progress=False).documents == 0
    assert str(copy(first, last, space, progress=False)) == "7 unchanged"
    first.close(), last.close()


def test_an_empty_collection_is_copied(tmp_path: Path, space: Space) -> None:
    assert str(copy(local(tmp_path / "a"), local(tmp_path / "b"), space, progress=False)) == "nothing to copy"


def test_what_changed_since_is_copied_and_other_documents_are_kept(tmp_path: Path, space: Space) -> None:
    source, target = filled(local(tmp_path / "a")), local(tmp_path / "b")
    put(target, parsed("/mine.txt", "words of the target"))
    target.set_setting("mine", "kept")
    copy(source, target, space, progress=False)
    put(source, parsed("/1.txt", "changed words"))
    source.update([replace(parsed("/2.txt").document, status="failed", error="gone", stamp="[2]")])
    source.remove([stable_id("/0.txt")])
    report = copy(source, target, space, progress=False)
    assert (report.documents, report.unchanged) == (2, 4)
    assert [item.text for item in target.items_of(stable_id("/1.txt"))] == ["changed words"]
    (second,) = target.documents(ids=[stable_id("/2.txt")])
    assert (second.status, second.error, len(target.items_of(second.id))) == ("failed", "gone", 3)
    assert {"/mine.txt", "/0.txt"} < {document.path for document in target.documents()}
    assert target.setting("mine") == "kept" and target.setting("ranking") == '{"k": 1}'


class Full(LocalStore):
    """A local store whose disk is full after some transactions."""

    left = 2

    def add(
        self, parsed: Sequence[ParsedDocument], vectors: Sequence[ViewVectors], replaces: Sequence[str] = ()
    ) -> None:
        if not self.left:
            raise CollectionError("the disk is full")
        self.left -= 1
        super().add(parsed, vectors, replaces)


def test_an_interrupted_copy_continues(tmp_path: Path, space: Space) -> None:
    source, target = local(tmp_path / "a"), Full(tmp_path / "b", StoreSpace("test", "f1", DIM))
    put(source, *(parsed(f"/{n}.txt", f"words {n}") for n in range(450)))
    with pytest.raises(CollectionError, match="disk is full"):
        copy(source, target, space, progress=False)
    assert sum(target.counts("documents")["documents"].values()) == 200
    target.left = 9
    report = copy(source, target, space, progress=False)
    assert (report.documents, report.unchanged) == (250, 200) and target.left == 6
    assert contents(target) == contents(source)


COPY = """
import sys
from pathlib import Path
from commonplace.copying import copy
from commonplace.encoders import Bundle
from commonplace.space import Space
from commonplace.store import LocalStore, StoreSpace
source, target = (LocalStore(Path(path), StoreSpace("test", "f1", 8)) for path in sys.argv[1:])
copy(source, target, Space(Bundle()), progress=False)
"""


def test_a_killed_copy_continues(tmp_path: Path, space: Space) -> None:
    source = filled(local(tmp_path / "a"))
    put(source, *(parsed(f"/many/{n}.txt", f"passage {n}", f"other {n}") for n in range(700)))
    held = [0]
    for turn in range(2):
        command = [sys.executable, "-c", COPY, tmp_path / "a", tmp_path / "b"]
        with subprocess.Popen(command, stderr=subprocess.PIPE) as run, closing(local(tmp_path / "b")) as target:
            while len(list(target.documents())) <= held[-1] and run.poll() is None:
                pass
            threading.Event().wait(0.01 * turn)
            run.send_signal(signal.SIGKILL)
        with closing(local(tmp_path / "b")) as target:
            held.append(len(list(target.documents())))
            assert target.maintenance.doctor() == []
    assert held == sorted(held) and 0 < held[1] < held[2] < 707  # killed in the middle, and continued
    with closing(local(tmp_path / "b")) as target:
        report = copy(source, target, space, progress=False)
        assert report.unchanged == held[2] and report.documents == 707 - held[2]
        assert contents(target) == contents(source)


class Changing(LocalStore):
    """A local store in which another process changes a document each time that views are read."""

    turns = 0
    limit = 1

    def views_of(self, ids: Sequence[str]) -> list[ViewVectors]:
        rows = super().views_of(ids)
        if self.turns < self.limit:
            self.turns += 1
            put(self, parsed("/1.txt", f"version {self.turns}", stamp=str(self.turns)))
            self.remove([stable_id("/2.txt")])
        return rows


def test_documents_that_change_meanwhile_are_copied_again(tmp_path: Path, space: Space) -> None:
    source, target = Changing(tmp_path / "a", StoreSpace("test", "f1", DIM)), local(tmp_path / "b")
    filled(source)
    report = copy(source, target, space, progress=False)
    assert report.failed == [] and report.documents == 6
    assert contents(target) == contents(source)
    assert [item.text for item in target.items_of(stable_id("/1.txt"))] == ["version 1"]
    source.limit = 99
    put(source, parsed("/1.txt", "again", stamp="again"))
    report = copy(source, target, space, progress=False)
    assert report.failed == [("/1.txt", "it changed while it was copied: copy again")]
    assert [item.text for item in target.items_of(stable_id("/1.txt"))] == ["version 1"]  # complete, and older


def test_damage_of_the_source_is_named(tmp_path: Path, space: Space) -> None:
    filled(local(tmp_path / "a")).close()
    with sqlite3.connect(tmp_path / "a" / "collection.db") as database:
        database.execute("UPDATE items SET text = 'x' WHERE id = ?", (stable_id(stable_id("/1.txt"), 0),))
        database.execute("UPDATE pictures SET width = 9 WHERE hash = 'alone'")
        database.execute("UPDATE vectors SET vector = zeroblob(16) WHERE view = ?", (stable_id("text", "words 2"),))
    target = local(tmp_path / "b")
    report = copy(local(tmp_path / "a"), target, space, progress=False)
    assert sorted(report.incomplete) == [
        ("/1.txt", "1 items damaged in the source: add the document again"),
        ("/2.txt", "1 vectors of items damaged in the source: add the document again"),
        ("/p.jpg", "1 pictures damaged in the source: add the document again"),
    ]
    assert report.documents == 7 and report.failed == []


def test_a_document_whose_metadata_does_not_fit_is_named_and_the_others_are_copied(
    tmp_path: Path, space: Space
) -> None:
    source, target = local(tmp_path / "a"), local(tmp_path / "b")
    put(source, parsed("/a.txt", "a", metadata=Metadata({"year": "late"})), parsed("/b.txt", "b"))
    put(target, parsed("/c.txt", "c", metadata=Metadata({"year": 2024})))
    report = copy(source, target, space, progress=False)
    ((path, reason),) = report.failed
    assert path == "/a.txt" and "year" in reason and report.documents == 1
    assert [document.path for document in target.documents()] == ["/b.txt", "/c.txt"]


def test_views_of_installed_packages_are_copied_with_their_encoders(tmp_path: Path, space: Space) -> None:
    source, target = local(tmp_path / "a"), local(tmp_path / "b")
    source.set_setting(PLUGINS, '{"sound": "v1"}')
    source.set_setting(SETTING, "{}")
    source.set_setting("fingerprint", "f1")
    target.set_setting(PLUGINS, '{"depth": "d1"}')
    copy(source, target, space, progress=False)
    assert target.settings() == {PLUGINS: '{"depth": "d1", "sound": "v1"}'}
    target.set_setting(PLUGINS, '{"sound": "v2"}')
    with pytest.raises(ModelMismatch, match="sound vectors were made by the encoder v1"):
        copy(source, target, space, progress=False)


def test_many_items_are_copied_in_batches(tmp_path: Path, space: Space) -> None:
    source, target = local(tmp_path / "a"), local(tmp_path / "b")
    put(source, parsed("/long.txt", *(f"passage {n}" for n in range(2300))), *(parsed(f"/{n}.txt") for n in range(600)))
    assert copy(source, target, space, progress=False).documents == 601
    assert contents(target) == contents(source)


# --- collections ----------------------------------------------------------------------------------------------------


@pytest.fixture
def kb(tmp_path: Path) -> Path:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "pump.txt").write_text("The south pump needs a blue seal.", encoding="utf-8")
    Image.fromarray(np.arange(64 * 48 * 3, dtype=np.uint8).reshape(48, 64, 3)).save(tmp_path / "files" / "p.png")
    with cp.open(tmp_path / "kb", model=tiny_bundle(tmp_path / "tiny")) as collection:
        collection.add(tmp_path / "files", cp.Record("Snow in the north.", id="snow"), workers=1, progress=False)
        collection.ranking = cp.Ranking(method="rrf")
    return tmp_path / "kb"


def test_a_collection_is_copied_with_its_model(kb: Path, tmp_path: Path) -> None:
    with cp.open(kb) as source:
        assert str(source.maintenance.copy_to(tmp_path / "copy", progress=False)) == "3 copied"
        expected = source.search("blue seal", image=tmp_path / "files" / "p.png", k=5)
        with pytest.raises(CollectionError, match="onto itself"):
            source.maintenance.copy_to(kb)
        cp.open(tmp_path / "other", model="minilm-lite0").close()
        with pytest.raises(ModelMismatch, match="was made with the model minilm-lite0"):
            source.maintenance.copy_to(tmp_path / "other")
    with cp.open(tmp_path / "copy") as target:
        assert target.space.name == "tiny-0" and target.ranking.method == "rrf"
        hits = target.search("blue seal", image=tmp_path / "files" / "p.png", k=5)
        assert [(hit.item, hit.score) for hit in hits] == [(hit.item, hit.score) for hit in expected]
        assert target.add(tmp_path / "files", workers=1, progress=False).unchanged == 2


def test_the_command_copies_and_continues(kb: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["copy", str(kb), str(tmp_path / "copy")]) == 0
    assert capsys.readouterr().out == "3 copied\n"
    assert main(["copy", str(kb), str(tmp_path / "copy")]) == 0
    assert capsys.readouterr().out == "3 unchanged\n"
    assert main(["copy", str(tmp_path / "none"), str(tmp_path / "x")]) == 1
    assert "there is no collection in" in capsys.readouterr().err and not (tmp_path / "x").exists()
    assert main(["copy", str(kb), str(kb)]) == 1
    assert "onto itself" in capsys.readouterr().err
    assert main(["copy", str(kb), str(tmp_path / "x"), "--blobs", "s3://b"]) == 1
    assert "takes neither blobs nor token" in capsys.readouterr().err
