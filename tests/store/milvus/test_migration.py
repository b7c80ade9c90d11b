"""Migration of a collection in Milvus: searches change to the new model at once, and no document is forgotten."""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("pymilvus", reason="needs the extra milvus")

import commonplace as cp
from commonplace import migrate as module
from commonplace.cli import main
from commonplace.errors import CollectionError, ModelMismatch
from commonplace.migrate import migrate
from commonplace.store import StoreSpace
from commonplace.store.milvus import lease, migration
from commonplace.store.milvus.address import MilvusAddress
from commonplace.store.milvus.migration import MilvusMigration
from commonplace.store.milvus.models import Models
from commonplace.store.milvus.store import MilvusStore
from commonplace.store.milvus.writing import Writer
from tests.encoders.toys import Colours, Words

WIDTH = 40


class Letters:
    """Encodes a text as the counts of its letters; the first three axes are the colours that it names."""

    dim = WIDTH
    fingerprint = "letters"

    def encode(self, texts: Sequence[str], role: str = "document") -> np.ndarray:
        rows = np.zeros((len(texts), WIDTH))
        for row, text in zip(rows, texts, strict=True):
            row[:3] = [5 * text.lower().count(colour) for colour in ("red", "green", "blue")]
            row[3:29] = [text.lower().count(chr(97 + n)) + 0.01 for n in range(26)]
        return rows

    def can_encode(self, text: str) -> bool:
        return "?!" not in text


class Shades(Colours):
    """The colours of pictures in the space of the letters."""

    dim = WIDTH
    fingerprint = "shades"

    def encode(self, pictures: Sequence[Any], role: str = "document") -> np.ndarray:
        return super().encode(pictures, role)[:, :WIDTH]


def old() -> cp.Model:
    return cp.Model(text=Words(), name="old")


def new() -> cp.Model:
    return cp.Model(text=Letters(), image=Shades(), name="new")


def third() -> cp.Model:
    return cp.Model(text=Words("3"), image=Colours(), name="third")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMMONPLACE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"milvus-lite://{tmp_path}/kb.db"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    notes = tmp_path / "notes"
    notes.mkdir()
    for number, text in enumerate(
        ("Yeast makes the dough rise.", "The blue seal of the pump.", "Snow fell all night.")
    ):
        write(notes, f"{number}", text)
    for name, colour in (("fire", (240, 10, 10)), ("sea", (10, 10, 240)), ("meadow", (10, 240, 10))):
        Image.new("RGB", (64, 48), colour).save(notes / f"{name}.png")
    return notes


def write(folder: Path, name: str, text: str) -> None:
    (folder / f"{name}.txt").write_text(text, encoding="utf-8")


def add(kb: cp.Collection, *sources: Any) -> cp.Report:
    return kb.add(*sources, workers=1, progress=False)


def change(kb: cp.Collection, model: cp.Model | None = None, **options: Any) -> module.Migrated:
    return kb.maintenance.migrate(model, workers=1, progress=False, **options)


def names(kb: cp.Collection) -> list[str]:
    return [Path(document.path).stem for document in kb.documents()]


def complete(kb: cp.Collection) -> None:
    """Check that each item has the vectors of the collection's own model, and that there are no other vectors."""
    items = [item for document in kb.documents() for item in kb.items(document)]
    views = {rows.partition: rows for rows in kb.store.views_of([item.id for item in items])}
    expected = {name: sorted(i.id for i in items if name in kb.space.partitions_of(i)) for name in kb.space.partitions}
    assert {name: sorted(rows.item_ids) for name, rows in views.items()} == {k: v for k, v in expected.items() if v}
    assert kb.store.counts("vectors")["vectors"] == {name: len(ids) for name, ids in expected.items() if ids}
    texts = {item.id: item.text_view for item in items}
    rows = views["text"]
    fresh = kb.space.embed([texts[id_] or "" for id_ in rows.item_ids])
    assert fresh is not None and np.abs(fresh - rows.vectors).max() < 1e-3
    assert kb.maintenance.doctor() == []


def found(kb: cp.Collection, folder: Path) -> list[Any]:
    queries = [{"text": "blue"}, {"text": "dough rises"}, {"image": folder / "sea.png"}]
    return [
        (hit.item.id, round(hit.score, 4), sorted(line.channel for line in hit.breakdown))
        for query in queries
        for hit in kb.search(**query)  # type: ignore[arg-type]
    ]


def check_migration(url: str, other_url: str, folder: Path, blobs: str | None) -> None:
    with cp.open(other_url, model=new(), blobs=blobs) as kb:
        add(kb, folder)
        expected = found(kb, folder)
    with cp.open(url, model=old(), blobs=blobs) as kb:
        add(kb, folder)
        before = found(kb, folder)
        kb.ranking = cp.Ranking(method="rrf")
        kb.label("blue seal", kb.search("blue seal", k=1)[0].item.id, True)
        with cp.open(url, model=old()) as serving:
            report = change(kb, new())
            assert (report.model, report.items, report.thumbnails, report.lost) == ("new", 6, 0, 0)
            for use in (
                lambda: serving.search("blue"),
                lambda: add(serving, cp.Record("Late.", id="late")),
                lambda: serving.remove(folder / "0.txt"),
                lambda: setattr(serving, "ranking", None),
                lambda: serving.store.stored_vectors("text", ["x"]),
            ):
                with pytest.raises(ModelMismatch, match=r"was migrated to the model new .*open it again$"):
                    use()
        assert len(kb) == 6 and kb.space.name == "new" and found(kb, folder) == expected != before
        assert kb.ranking == cp.Ranking() and len(kb.labels()) == 1  # a tuned ranking belongs to its model
        complete(kb)
        shadow = kb.status()["shadow"]
        assert (shadow["model"], shadow["unfinished"], shadow["vectors"]) == ("old", False, 3) and shadow["bytes"] > 0
        pictures = [item.id for document in kb.documents() for item in kb.items(document) if item.picture]
        assert {"image"} <= set.union(*map(set, kb.store.views(pictures).values()))  # the old model saw no pictures
        with pytest.raises(ModelMismatch, match=r"made with the model new .*commonplace\.migrate"):
            cp.open(url, model=old())
        add(kb, cp.Record("A zeppelin landed.", id="zeppelin"))
        kb.remove(folder / "0.txt")
        assert change(kb, new()).items == 0  # it is there
        with pytest.raises(ModelMismatch, match="undo needs the earlier model old"):
            change(kb, third(), undo=True)
        report = change(kb, old(), undo=True)
        assert (report.model, report.items, kb.ranking.method) == ("old", 1, "rrf")  # only what was added since
        complete(kb)
        assert kb.search("a zeppelin", k=1)[0].item.document.id == "zeppelin"
        assert change(kb, new(), undo=True).items == 0 and kb.ranking == cp.Ranking()  # and forth again
        complete(kb)


def test_migrate_and_undo(url: str, tmp_path: Path, folder: Path) -> None:
    check_migration(url, f"milvus-lite://{tmp_path}/other.db", folder, None)


def test_an_interrupted_migration_resumes_or_is_discarded(
    url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10, 20):
        write(folder, str(number), f"Note {number} about pump {number * 7}.")
    monkeypatch.setattr(module, "PAGE", 4)
    monkeypatch.setattr(migration, "AT_ONCE", 2)
    put, left = Writer._put_partition, [0]

    def interrupted(self: Writer, *arguments: Any) -> None:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        put(self, *arguments)

    monkeypatch.setattr(Writer, "_put_partition", interrupted)

    def begin(kb: cp.Collection, model: cp.Model) -> None:
        left[0] = 4
        with pytest.raises(KeyboardInterrupt):
            change(kb, model)
        left[0] = 0

    with cp.open(url, model=old()) as kb:
        add(kb, folder)
        before = found(kb, folder)
        begin(kb, new())
        assert kb.status()["shadow"]["unfinished"] and found(kb, folder) == before
        kb.maintenance.vacuum()  # keeps the unfinished migration
    with cp.open(url, model=old()) as kb:
        assert kb.status()["shadow"]["vectors"] > 0
        assert 0 < change(kb, new()).items < 16
        complete(kb)
        begin(kb, third())  # instead of the old model, which is dropped
        assert (kb.status()["shadow"]["model"], kb.status()["shadow"]["unfinished"]) == ("third", True)
        assert change(kb, new(), undo=True).model == "new" and "shadow" not in kb.status()
        begin(kb, third())
        assert change(kb, old()).items == 13  # to another model instead, which needs no pictures
        complete(kb)
        assert kb.status()["shadow"]["model"] == "new"
        assert set(kb.store.models.vectors(third().fingerprint)) == set()


def test_documents_that_change_during_a_migration_are_embedded(
    url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    monkeypatch.setattr(migration, "AT_ONCE", 2)
    monkeypatch.setattr(migration, "TAIL", 1)
    switch, put = Models.switch, MilvusMigration.put
    steps = iter(range(100))
    shutil.copy(folder / "sea.png", query := folder.parent / "query.png")
    with cp.open(url, model=old()) as writer, cp.open(url, model=old()) as kb:
        add(kb, folder)

        def discard(path: Path) -> None:
            if path.exists():
                writer.remove(path)
                path.unlink()

        def meanwhile(self: MilvusMigration, batch: Any) -> None:
            step = next(steps)
            if step < 2:  # its documents are replaced and removed before their vectors are written
                for item in writer.store.items(list(batch.keys)).values():
                    path = Path(item.document.path)
                    discard(path) if path.suffix == ".png" else write(folder, path.stem, f"Changed {step} times.")
                add(writer, folder)
            put(self, batch)
            if step < 3:
                assert writer.search("a zeppelin landed", image=query)[0].score > 0  # searches use the old vectors
                write(folder, f"late{step}", f"A zeppelin {step} landed.")
                discard(folder / ("1.txt", "fire.png", "2.txt")[step])
                add(writer, folder)

        def last(self: Models, *arguments: Any) -> None:
            write(folder, "last", "Committed right before the change.")
            add(writer, folder / "last.txt")
            switch(self, *arguments)

        with monkeypatch.context() as patch:
            patch.setattr(MilvusMigration, "put", meanwhile)
            patch.setattr(Models, "switch", last)
            change(kb, new())
        assert next(steps) > 3 and sorted(names(kb)) == sorted(path.stem for path in folder.iterdir())
        complete(kb)
        change(kb, old(), undo=True)
        complete(kb)


def test_a_writer_that_has_seen_the_old_model_is_waited_for(
    url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    switch, commit = Models.switch, Writer._commit
    has_checked, may_commit = threading.Event(), threading.Event()

    def delayed(self: Writer, *arguments: Any) -> None:
        if threading.current_thread() is late:
            has_checked.set()
            assert may_commit.wait(20)
        commit(self, *arguments)

    def while_writing(self: Models, *arguments: Any) -> None:
        late.start()
        assert has_checked.wait(20)
        switch(self, *arguments)

    def waits(seconds: float) -> None:
        may_commit.set()
        sleep(seconds)

    with cp.open(url, model=old()) as writer, cp.open(url, model=old()) as kb:
        add(kb, folder)
        errors: list[Exception] = []

        def write_late() -> None:
            try:
                add(writer, cp.Record("A zeppelin landed.", id="late"))
            except ModelMismatch as error:  # what the collection does after the commit
                errors.append(error)

        late = threading.Thread(target=write_late)
        monkeypatch.setattr(Writer, "_commit", delayed)
        monkeypatch.setattr(Models, "switch", while_writing)
        monkeypatch.setattr(migration, "sleep", waits)
        try:
            change(kb, new())
        finally:
            may_commit.set()
            late.join()
        assert "late" in kb and len(kb) == 7
        complete(kb)


def test_a_writer_with_the_old_model_stores_nothing_after_the_change(
    url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = Writer._put_items
    with cp.open(url, model=old()) as writer, cp.open(url, model=old()) as kb:
        add(kb, folder / "0.txt")

        def migrated_meanwhile(self: Writer, *arguments: Any) -> None:
            monkeypatch.setattr(Writer, "_put_items", put)
            monkeypatch.setattr(migration, "GRACE", 0.0)  # this writer does not go on before the migration ends
            put(self, *arguments)
            change(kb, new())

        monkeypatch.setattr(Writer, "_put_items", migrated_meanwhile)
        with pytest.raises(ModelMismatch, match="open it again"):
            add(writer, cp.Record("Too late.", id="late"))
        assert "late" not in kb and len(kb) == 1
        assert kb.store._records.intents(-1) == []  # type: ignore[attr-defined]


def test_one_process_at_a_time_migrates(url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with cp.open(url, model=old()) as kb, cp.open(url, model=old()) as another:
        add(kb, folder / "0.txt")
        store = another.store
        assert isinstance(store, MilvusStore)
        name = "current..lease"
        with store.models.leased():
            for use in (lambda: change(kb, new()), lambda: kb.maintenance.vacuum()):
                with pytest.raises(CollectionError, match=rf"process {os.getpid()} on .* is migrating .*wait"):
                    use()
            store._layout.set_properties({name: re.sub("process ", "process 9", store._layout.properties()[name])})
            with store.models.leased() as mine:  # a Lite file is open in one process, so that one has ended
                mine.check()
                store._layout.set_properties({name: f"{lease.time() - 31:.3f} {mine._owner}"})
                with store.models.leased(), pytest.raises(CollectionError, match="is migrating"):  # not renewed
                    mine.check()
        monkeypatch.setattr(lease, "EVERY", 0.01)
        with store.models.leased():
            values = {store._layout.properties()[name]}
            tries = iter(range(1000))
            while len(values) < 3 and next(tries, None) is not None:
                values.add(store._layout.properties()[name])
                sleep(0.005)
            assert len(values) == 3  # it is renewed
        assert store._layout.properties()[name] == ""
        put = MilvusMigration.put

        def taken(self: MilvusMigration, batch: Any) -> None:
            store._layout.set_properties({name: f"{lease.time():.3f} process 1 on elsewhere, 2"})
            put(self, batch)

        with monkeypatch.context() as patch:
            patch.setattr(MilvusMigration, "put", taken)
            with pytest.raises(CollectionError, match="process 1 on elsewhere is migrating"):
                change(kb, new())
        assert kb.space.name == "old" and change(kb, new()).items == 1


def test_vacuum_drops_the_vectors_that_were_kept(url: str, folder: Path) -> None:
    with cp.open(url, model=old()) as kb:
        add(kb, folder)
        kb.ranking = cp.Ranking(method="rrf")
        change(kb, new())
        store = kb.store
        assert isinstance(store, MilvusStore)
        assert len(store._layout.of_vectors()) == 3 and kb.maintenance.vacuum() >= 0
        assert len(store._layout.of_vectors()) == 2 and "shadow" not in kb.status()
        complete(kb)
        with pytest.raises(CollectionError, match="nothing to undo"):
            change(kb, old(), undo=True)
        change(kb, old())
        assert kb.ranking == cp.Ranking()
        complete(kb)


def test_pictures_without_their_file_are_embedded_from_thumbnails(url: str, folder: Path) -> None:
    with cp.open(url, model=old()) as kb:
        add(kb, folder, cp.Record(image=np.full((40, 40, 3), (9, 9, 250), np.uint8), id="record"))
        (folder / "sea.png").unlink()
        Image.new("RGB", (64, 48), "white").save(folder / "meadow.png")  # the collection holds the green one
        report = change(kb, new())
        assert (report.items, report.thumbnails, report.lost) == (7, 2, 0)
        complete(kb)
        assert "meadow" in kb.search("green", k=1, modality="image")[0].item.document.path
        store = kb.store
        assert isinstance(store, MilvusStore) and store._sweeper.blobs is not None
        for name in list(store._sweeper.blobs.list("pictures")):
            store._sweeper.blobs.delete("pictures", name)
        assert change(kb, third()).lost == 2 and len(kb) == 7


def test_unusable_vectors_change_nothing(url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with cp.open(url, model=old()) as kb:
        add(kb, folder)
        before = found(kb, folder)
        with monkeypatch.context() as patch:
            patch.setattr(
                "commonplace.encoders.PythonEncoder.encode", lambda *_: np.full((len(_[1]), WIDTH), np.nan, "f4")
            )
            with pytest.raises(CollectionError, match="not finite"):
                migrate(url, new(), workers=1, progress=False)
        assert found(kb, folder) == before


def test_the_command_line(url: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.tiny import tiny_bundle

    first, second = (tiny_bundle(tmp_path / name, dim=dim) for name, dim in (("first", 24), ("second", 32)))
    assert main(["--collection", url, "migrate", "--model", str(second)]) == 1
    assert "there is no collection in milvus-lite://" in capsys.readouterr().err
    with cp.open(url, model=first) as kb:
        add(kb, folder)
    assert main(["--collection", url, "migrate", "--model", str(second), "--workers", "1"]) == 0
    assert capsys.readouterr().out == "migrated to tiny-0: 6 items embedded\n"
    assert main(["--collection", url, "status"]) == 0
    assert re.search(r"^shadow .* vectors of tiny-0, .*kept for `migrate --undo`$", capsys.readouterr().out, re.M)
    assert main(["--collection", url, "migrate", "--undo", "--workers", "1"]) == 0
    with cp.open(url) as kb:
        assert kb.space.bundle.folder == first
        complete(kb)
    assert main(["--collection", url, "vacuum"]) == 0 and "gained" in capsys.readouterr().out


def test_tenants_change_their_models_independently(tmp_path: Path) -> None:
    def opened(tenant: str, model: str) -> MilvusStore:
        address = MilvusAddress(f"{tmp_path}/kb.db", "kb", tenant)
        return MilvusStore(address, StoreSpace(model, f"f-{model}", 4))

    first, second = opened("a", "old"), opened("b", "old")
    assert first.models.current().name == second.models.current().name == "old"
    first.models.switch(first.models.current().__class__("new", "f-new", ""), 4)
    with pytest.raises(ModelMismatch, match="was migrated to the model new"):
        first.settings()
    assert second.settings() == {} and second.models.other() is None
    second.close()
    first.close()
    assert MilvusStore.model_of(MilvusAddress(f"{tmp_path}/kb.db", "kb", "a")) == ""
    opened("a", "new").close()
    opened("b", "old").close()
