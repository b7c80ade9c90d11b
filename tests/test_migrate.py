"""Migration: the new model is used only after all items are embedded, vectors never mix, and undo works."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import commonplace as cp
from commonplace import migrate as module
from commonplace.encoders import Bundle
from commonplace.migrate import migrate
from commonplace.space import Space
from commonplace.store import LocalStore, Migration, StoreOptions, StoreSpace
from commonplace.store.vectors import clear_shadow
from tests.collection import conftest
from tests.collection.common import draw, names
from tests.conftest import ROOT
from tests.test_cli import run
from tests.tiny import tiny_bundle

folder = conftest.folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("models") / "plain", dim=32, seed=2)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("models") / "other", dim=40, seed=1)


def whole(kb: cp.Collection) -> None:
    """Check that every view has a vector, and that it is the vector of the collection's own model."""
    assert kb.maintenance.doctor() == []
    texts = {item: (text, title) for item, text, title in kb.store._database.all("SELECT key, text, title FROM items")}
    keys, vectors = kb.store._partitions.stored("text")
    views = [f"{title}\n{text}" if title else text for text, title in (texts[key] for key in keys.tolist())]
    fresh = kb.space.embed(views)
    assert (np.einsum("ij,ij->i", fresh, vectors) > 0.999).all()
    expected = {
        key for key, (text, title) in texts.items() if text and kb.space.reads(f"{title}\n{text}" if title else text)
    }
    assert set(keys.tolist()) == expected
    pictures = {key for (key,) in kb.store._database.all("SELECT key FROM items WHERE picture IS NOT NULL")}
    for partition in kb.space.partitions[1:]:
        assert set(kb.store._partitions.stored(partition)[0].tolist()) == pictures
    assert set(kb.status()["vectors"]) <= set(kb.space.partitions)


def test_migrate_and_undo(tmp_path: Path, folder: Path, tiny: Path) -> None:
    with cp.open(tmp_path / "kb") as kb:
        kb.add(folder)
        old = {name: kb.store._partitions.stored(name) for name in kb.space.partitions}
        first = kb.space.fingerprint
        kb.ranking = cp.Ranking(method="rrf")
        kb.label("pump", kb.search("pump", k=1)[0].item.id, True)
        report = kb.maintenance.migrate(tiny)
        assert (report.model, report.thumbnails, report.lost) == ("tiny-0", 0, 0)
        assert report.items == sum(kb.status()["items"].values())
        assert (kb.space.name, kb.space.dim) == ("tiny-0", 24)
        assert kb.ranking == cp.Ranking() and len(kb.labels()) == 1  # a tuned ranking belongs to its model
        whole(kb)
        assert names(kb.search("The south pump runs dry", k=1)) == ["pumps.md"]
        assert names(kb.search(image=folder / "pictures" / "box.png", k=1)) == ["box.png"]
        assert kb.status()["shadow"]["unfinished"] is False and kb.status()["shadow"]["bytes"] > 0
        (folder / "late.txt").write_text("A zeppelin landed in the garden.", encoding="utf-8")
        (folder / "weather.txt").unlink()
        kb.add(folder)
        kb.remove(missing=True)
        whole(kb)
        assert kb.maintenance.migrate(tiny).items == 0  # it is there
        with cp.open(tmp_path / "kb") as again:  # remembers its model
            assert again.space.name == "tiny-0"
        back = kb.maintenance.migrate(undo=True)
        assert kb.space.fingerprint == first and back.items == 1  # only what was added since
        assert kb.ranking.method == "rrf"
        whole(kb)
        assert names(kb.search("a zeppelin landed", k=1, modality="text")) == ["late.txt"]
        for name, (keys, vectors) in old.items():
            now = dict(zip(*(opened.tolist() for opened in kb.store._partitions.stored(name)), strict=True))
            for key, vector in zip(keys.tolist(), vectors.tolist(), strict=True):
                assert key not in now or now[key] == vector
        assert kb.maintenance.migrate(undo=True).model == "tiny-0"  # and forth again
        whole(kb)
        size = kb.status()["shadow"]["bytes"]
        assert size and kb.maintenance.vacuum() >= 0 and "shadow" not in kb.status()
        with pytest.raises(cp.CollectionError, match="nothing to undo"):
            kb.maintenance.migrate(undo=True)
        assert kb.maintenance.migrate().model == "minilm-lite0"
        whole(kb)


def test_pictures_without_their_file_are_embedded_from_thumbnails(
    tmp_path: Path, folder: Path, tiny: Path, plain: Path, other: Path
) -> None:
    with cp.open(tmp_path / "kb", model=plain) as kb:
        kb.add(folder)
        (folder / "pictures" / "box.png").unlink()
        draw(folder / "pictures" / "ball.png", "green")  # changed: what the collection holds is the red one
        report = kb.maintenance.migrate(tiny)
        assert (report.thumbnails, report.lost) == (2, 0) and "2 pictures from their thumbnails" in str(report)
        assert names(kb.search(image=folder / "pictures" / "ball.png", k=1)) != []
        whole(kb)
        kb.store._database.all("UPDATE pictures SET thumbnail = x'00'")
        report = kb.maintenance.migrate(other)
        assert report.lost >= 2 and "left out" in str(report)
        assert kb.search("north pump", k=1)


def test_documents_added_and_removed_during_a_migration_are_correct(
    tmp_path: Path,
    folder: Path,
    tiny: Path,
    plain: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(30):
        (folder / f"{number:02}.txt").write_text(f"Note {number} about pump {number * 7}.", encoding="utf-8")
    monkeypatch.setattr(module, "PAGE", 10)
    monkeypatch.setitem(LocalStore.__init__.__kwdefaults__, "options", StoreOptions(migration_tail=3))
    writer = cp.open(tmp_path / "kb", model=plain)
    writer.add(folder)
    serving = cp.open(tmp_path / "kb")
    expected = [hit.item.id for hit in serving.search("pump 49", k=5)]
    put, steps = Migration.put, iter(range(100))

    def meanwhile(self: Migration, batch: object) -> None:
        step = next(steps)
        put(self, batch)  # type: ignore[arg-type]
        if step == 0:
            assert [hit.item.id for hit in serving.search("pump 49", k=5)] == expected  # searches use the old vectors
        if step in (0, 1, 2):
            (folder / f"late{step}.txt").write_text(f"A zeppelin {step} landed in the garden.", encoding="utf-8")
            (folder / "00.txt").write_text(f"Changed {step} times.", encoding="utf-8")
            writer.add(folder)
            writer.remove(folder / f"{step + 10}.txt")

    monkeypatch.setattr(Migration, "put", meanwhile)
    migrate(tmp_path / "kb", tiny)
    with pytest.raises(cp.ModelMismatch, match="open it again"):
        serving.search("pump 49", k=5)
    (folder / "last.txt").write_text("Too late for the old model.", encoding="utf-8")
    with pytest.raises(cp.ModelMismatch, match="open it again"):
        writer.add(folder)
    for refused in (
        lambda: writer.store.stored_vectors("text", ["x"]),
        lambda: writer.store._partitions.stored("text"),
    ):
        with pytest.raises(cp.ModelMismatch):
            refused()
    with pytest.raises(cp.ModelMismatch):
        writer.ranking = cp.Ranking(method="rrf")
    with cp.open(tmp_path / "kb") as kb:
        whole(kb)
        assert len([document for document in kb.documents() if "late" in document.path]) == 3
        assert not kb.store._database.all(
            "SELECT 1 FROM shadow_vectors v WHERE NOT EXISTS "
            "(SELECT 1 FROM shadow_views w WHERE w.partition = v.partition AND w.view = v.view)"
        )


def test_removed_items_leave_no_vector_of_either_model(
    tmp_path: Path, folder: Path, tiny: Path, plain: Path, other: Path
) -> None:
    with cp.open(tmp_path / "kb", model=plain) as kb:
        kb.add(folder)
        kb.maintenance.migrate(tiny)
        kb.remove(folder)
        for table in ("views", "vectors", "shadow_views", "shadow_vectors"):
            assert kb.store._database.all(f"SELECT count(*) FROM {table}")[0][0] == 0, table


def test_an_unfinished_migration_is_resumed_discarded_or_replaced(
    tmp_path: Path,
    folder: Path,
    tiny: Path,
    plain: Path,
    other: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(20):
        (folder / f"{number}.txt").write_text(f"Note {number} about pump {number * 7}.", encoding="utf-8")
    monkeypatch.setattr(module, "PAGE", 5)
    monkeypatch.setitem(LocalStore.__init__.__kwdefaults__, "options", StoreOptions(migration_tail=3))
    with cp.open(tmp_path / "kb", model=plain) as kb:
        kb.add(folder)
        total = sum(kb.status()["items"].values())
        put = Migration.put
        left = [2]

        def interrupted(self: Migration, batch: object) -> None:
            put(self, batch)  # type: ignore[arg-type]
            left[0] -= 1
            if not left[0]:
                raise KeyboardInterrupt

        def begin(model: Path) -> None:
            left[0] = 2
            with pytest.raises(KeyboardInterrupt):
                kb.maintenance.migrate(model)

        monkeypatch.setattr(Migration, "put", interrupted)
        begin(tiny)
        assert kb.status()["shadow"]["unfinished"] and names(kb.search("Snow fell on the mountains", k=1)) == [
            "weather.txt"
        ]
        kb.maintenance.vacuum()  # keeps the unfinished migration
        left[0] = 99
        report = kb.maintenance.migrate(tiny)
        assert 0 < report.items < total
        whole(kb)
        begin(other)
        assert kb.maintenance.migrate(undo=True).model == "tiny-0" and "shadow" not in kb.status()
        begin(other)
        left[0] = 99
        assert kb.maintenance.migrate(plain).items == total  # to a third model instead
        whole(kb)


def test_only_one_process_migrates_and_wrong_models_are_refused(
    tmp_path: Path, folder: Path, tiny: Path, plain: Path, other: Path
) -> None:
    with cp.open(tmp_path / "kb", model=plain) as kb:
        kb.add(folder)
        store = LocalStore(tmp_path / "kb", StoreSpace("", None, 0))
        goal = module.Shadow("tiny-0", Bundle(tiny).fingerprint, str(tiny))
        with (
            Migration.of(store, goal, 24),
            pytest.raises(cp.CollectionError, match=rf"process {os.getpid()} on .*wait"),
        ):
            kb.maintenance.migrate(tiny)
        with pytest.raises(cp.ModelMismatch, match="commonplace migrate"):
            cp.open(tmp_path / "kb", model=tiny)
        with pytest.raises(cp.ModelError, match="no model bundle"):
            kb.maintenance.migrate(tmp_path / "absent")
        with pytest.raises(cp.CollectionError, match="no collection"):
            migrate(tmp_path / "absent", tiny)
        with pytest.raises(cp.QueryError, match="workers"):
            kb.maintenance.migrate(tiny, workers=0)
        damaged = tmp_path / "damaged"
        shutil.copytree(tiny, damaged)
        (damaged / "text.onnx").write_bytes(b"no model")
        with pytest.raises(cp.ModelError, match="damaged"):
            kb.maintenance.migrate(damaged)
        unusable = tmp_path / "unusable"
        shutil.copytree(tiny, unusable)
        spec = json.loads((unusable / "bundle.json").read_text())
        for statistics in ({"text->text": {}}, {"text->text": None}, ["text->text"]):
            (unusable / "bundle.json").write_text(json.dumps({**spec, "score_stats": statistics}))
            with pytest.raises(cp.ModelError, match=r"the calibration in bundle.json .* is damaged"):
                kb.maintenance.migrate(unusable)
        assert names(kb.search("Snow fell on the mountains", k=1)) == ["weather.txt"]
        kb.maintenance.migrate(tiny)
        with pytest.raises(cp.ModelMismatch, match="--model"):
            kb.maintenance.migrate(other, undo=True)


def test_other_maintenance_waits_during_a_migration(
    tmp_path: Path, folder: Path, tiny: Path, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cp.open(tmp_path / "kb", model=plain) as kb:
        kb.add(folder)
        kb.maintenance.backup(tmp_path / "kb.bak")
        waiting, refused = Migration.waiting, []

        def meanwhile(self: Migration, count: int) -> object:
            with cp.open(tmp_path / "kb") as another:
                for task in (
                    another.maintenance.vacuum,
                    lambda: another.maintenance.restore(tmp_path / "kb.bak", replace=True),
                ):
                    with pytest.raises(cp.CollectionError, match="wait"):
                        task()
                    refused.append(task)
            return waiting(self, count)

        kb.maintenance.migrate(tiny)
        monkeypatch.setattr(Migration, "waiting", meanwhile)
        kb.maintenance.migrate(undo=True)
        assert refused
        whole(kb)


def test_a_program_that_ignores_the_lock_breaks_nothing(
    tmp_path: Path, folder: Path, tiny: Path, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cp.open(tmp_path / "kb", model=plain) as kb:
        kb.add(folder)
        kb.maintenance.migrate(tiny)
        waiting = Migration.waiting

        def meanwhile(self: Migration, count: int) -> object:
            with self._database.write() as database:
                clear_shadow(database)
            return waiting(self, count)

        monkeypatch.setattr(Migration, "waiting", meanwhile)
        with pytest.raises(cp.CollectionError, match="migrate` again"):
            kb.maintenance.migrate(undo=True)
        assert kb.maintenance.doctor() == []
    with cp.open(tmp_path / "kb") as kb:
        assert kb.space.name == "tiny-0"
        whole(kb)


@pytest.mark.parametrize("where", ["key <= 3", "key >= 3", "key % 2", "TRUE"])
def test_damaged_items_do_not_stop_a_migration(
    tmp_path: Path, folder: Path, tiny: Path, plain: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next page begins after the last one, however many of its items are damaged."""
    monkeypatch.setattr(module, "PAGE", 2)
    monkeypatch.setitem(LocalStore.__init__.__kwdefaults__, "options", StoreOptions(migration_tail=1))
    with cp.open(tmp_path / "kb", model=plain) as kb:
        kb.add(folder)
        with kb.store._database.write() as database:
            damaged = database.execute(f"UPDATE items SET text = 'a lie' WHERE {where}").rowcount
            (total,) = database.execute("SELECT count(*) FROM items").fetchone()
        assert damaged and kb.maintenance.migrate(tiny).items == total - damaged
        assert kb.space.name == "tiny-0"


def test_settings_without_a_model_are_damage_without_a_traceback(tmp_path: Path, folder: Path, plain: Path) -> None:
    with cp.open(tmp_path / "kb", model=plain) as kb:
        kb.add(folder)
    connection = sqlite3.connect(tmp_path / "kb" / "collection.db", isolation_level=None)
    connection.execute("DELETE FROM meta WHERE name = 'fingerprint'")
    connection.close()
    for attempt in (
        lambda: cp.open(tmp_path / "kb"),
        lambda: migrate(tmp_path / "kb", plain),
        lambda: migrate(tmp_path / "kb", undo=True),
    ):
        with pytest.raises(cp.CollectionError, match=r"damaged.*restore a backup"):
            attempt()


def test_the_new_folder_of_a_moved_model_is_stored(tmp_path: Path, folder: Path, tiny: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    shutil.copytree(tiny, here)
    with cp.open(tmp_path / "kb", model=here) as kb:
        kb.add(folder)
    here.rename(there)
    with pytest.raises(cp.ModelError, match=r"--model.*migrate"):
        cp.open(tmp_path / "kb")
    with cp.open(tmp_path / "kb", model=there):
        pass
    with cp.open(tmp_path / "kb") as kb:
        assert kb.space.bundle.folder == there
    shutil.rmtree(there)
    assert migrate(tmp_path / "kb").model == "minilm-lite0"  # the old model is not needed
    with cp.open(tmp_path / "kb") as kb:
        whole(kb)
    with pytest.raises(cp.ModelError, match="no model bundle"):
        migrate(tmp_path / "kb", undo=True)
    assert migrate(tmp_path / "kb", tiny, undo=True).model == "tiny-0"


def test_non_finite_vectors_change_nothing(
    tmp_path: Path,
    folder: Path,
    tiny: Path,
    plain: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with cp.open(tmp_path / "kb", model=plain) as kb:
        kb.add(folder)
        with monkeypatch.context() as patch:
            patch.setattr("commonplace.encoders.TextTower.encode", lambda *_: np.full((len(_[1]), 24), np.nan, "f4"))
            with pytest.raises(cp.CollectionError, match="not finite numbers"):
                kb.maintenance.migrate(tiny)
        assert names(kb.search("Snow fell on the mountains", k=1)) == ["weather.txt"]
        kb.maintenance.migrate(tiny)
        whole(kb)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE shadow_views SET checksum = checksum + 1 WHERE item = 2",
        "UPDATE shadow_vectors SET vector = zeroblob(64) WHERE rowid = 3",
        "DELETE FROM shadow_vectors WHERE rowid = 2",
    ],
)
def test_damage_of_the_other_model_is_reported_and_repaired_by_add(
    tmp_path: Path, folder: Path, tiny: Path, plain: Path, damage: str
) -> None:
    with cp.open(tmp_path / "kb", model=plain) as kb:
        kb.add(folder)
        views = kb.status()["vectors"]
        kb.maintenance.migrate(tiny)
        kb.store._database.all(damage)
        (finding,) = kb.maintenance.doctor(repair=True)
        assert "other model" in finding.what and finding.count == 1 and not finding.repaired
        assert "add --force" in finding.remedy and str(folder) in finding.what
        kb.add(folder, force=True)
        assert kb.maintenance.doctor() == []
        kb.maintenance.migrate(undo=True)
        assert kb.status()["vectors"] == views
        whole(kb)


CHILD = """
import sys
from pathlib import Path
from commonplace import migrate as module
module.PAGE = 10
module.BATCH = 5
from commonplace.store import LocalStore, StoreOptions, StoreSpace
LocalStore.__init__.__kwdefaults__["options"] = StoreOptions(migration_tail=3)
print("ready", flush=True)
print(module.migrate(Path(sys.argv[1]), sys.argv[2], workers=1, progress=False).model, flush=True)
"""


def test_a_killed_migration_resumes(tmp_path: Path, folder: Path, tiny: Path, other: Path) -> None:
    """After ``kill -9`` at any moment of a migration, the collection has all vectors of exactly one model."""
    for number in range(60):
        (folder / f"{number}.txt").write_text(f"Note {number} about pump {number * 7}.", encoding="utf-8")
    with cp.open(tmp_path / "kb", model=other) as kb:
        kb.add(folder)
        fingerprints = {kb.space.fingerprint: other, Bundle(tiny).fingerprint: tiny}
        goal = tiny
        for wait in (0.0, 0.02, 0.05, 0.08, 0.12, 0.2, 0.4):
            process = subprocess.Popen(
                [sys.executable, "-c", CHILD, str(tmp_path / "kb"), str(goal)],
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            time.sleep(wait * 3)
            os.kill(process.pid, signal.SIGKILL)
            output = process.stdout.read()
            process.wait()
            with cp.open(tmp_path / "kb") as seen:
                model = fingerprints[seen.space.fingerprint]
                assert model == goal or not output
                whole(seen)
                if model == goal:
                    goal = next(model for model in (tiny, other) if model != goal)
        migrate(tmp_path / "kb", goal)
        with cp.open(tmp_path / "kb") as seen:
            assert seen.space.bundle.folder == goal
            whole(seen)


def test_searches_during_a_migration_never_mix_models(
    tmp_path: Path,
    folder: Path,
    tiny: Path,
    plain: Path,
) -> None:
    with cp.open(tmp_path / "kb", model=plain) as kb:
        kb.add(folder)
    stop = threading.Event()
    wrong: list[object] = []
    seen: set[str] = set()

    def search() -> None:
        reader = cp.open(tmp_path / "kb")
        while not stop.is_set():
            try:
                query = reader.space.embed(["The south pump runs dry"])[0]
                ranked = reader.store.search("text", query, 3, cp.Filter())
                seen.add(reader.space.name)
                if len(ranked.ids) != 3 or (np.abs(ranked.scores) > 1.001).any():
                    wrong.append(ranked)
            except cp.ModelMismatch:
                reader = cp.open(tmp_path / "kb")

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    migrate(tmp_path / "kb", tiny)
    time.sleep(0.3)
    migrate(tmp_path / "kb", undo=True)
    time.sleep(0.3)
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong and seen == {"tiny-0", "tiny-2"}


def test_on_the_command_line(tmp_path: Path, folder: Path, tiny: Path) -> None:
    run("add", str(folder), cwd=tmp_path)
    out = run("migrate", "--model", str(tiny), cwd=tmp_path).stdout
    assert out.startswith("migrated to tiny-0: ") and "items embedded" in out
    assert "kept for `migrate --undo`" in run("status", cwd=tmp_path).stdout
    assert "pumps.md" in run("search", "south pump", cwd=tmp_path).stdout
    assert "minilm-lite0" in run("migrate", "--undo", cwd=tmp_path).stdout
    assert "nothing to undo" not in run("status", cwd=tmp_path).stdout
    assert Space(Bundle()).name in run("status", cwd=tmp_path).stdout
