"""A server keeps watched folders in step with a collection, between the jobs of its queue."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

import commonplace as cp
from commonplace.cli import main
from commonplace.server import Library, ServerSettings, create_app
from commonplace.server.jobs import JobQueue
from tests.collection.test_delete import many
from tests.collection.test_watch import wait
from tests.server.conftest import serving, until
from tests.tiny import tiny_bundle


def test_a_watched_folder_is_in_step_and_its_state_is_shown(tmp_path: Path) -> None:
    notes = many(tmp_path / "notes", 2)
    library = Library({"notes": str(tmp_path / "kb")}, model=str(tiny_bundle(tmp_path / "tiny")))
    library.get("notes")
    app = create_app(library, settings=ServerSettings(watched=(("notes", str(notes)),)))
    with serving(app) as url, httpx.Client(base_url=f"{url}/v1/collections", timeout=60) as client:
        watcher = app.state.server.jobs("notes")._watcher

        def holds(count: int) -> bool:
            shown = client.get("/notes").json()
            return shown["watch"]["in_step"] and sum(shown["documents"].values()) == count

        wait(watcher, lambda: holds(2))
        job = client.post("/notes/records", json={"records": [{"text": "The pump needs a seal.", "id": "seal"}]})
        assert job.status_code == 202, job.text  # uploads are added beside the folder
        with client.stream("GET", f"/notes/jobs/{job.json()['id']}/events") as events:
            events.read()  # until it is done
        (notes / "note0.txt").unlink()
        (notes / "new.txt").write_text("A new note.", encoding="utf-8")
        (notes / "newer.txt").write_text("A newer note.", encoding="utf-8")
        wait(watcher, lambda: holds(4))
        shown = client.get("/notes").json()["watch"]
        assert shown == {"folders": [str(notes)], "in_step": True, "waiting": 0, "problems": []}


def test_a_process_that_does_not_work_shows_the_state_of_the_one_that_does(tmp_path: Path) -> None:
    notes = many(tmp_path / "notes", 2)
    bundle = str(tiny_bundle(tmp_path / "tiny"))
    with cp.open(tmp_path / "kb", model=bundle) as kb, cp.open(tmp_path / "kb", model=bundle) as other_kb:
        working = JobQueue(kb, [str(notes)])
        until(lambda: len(list(kb)) == 2 and working.watch_state.is_in_step)
        waiting = JobQueue(other_kb, [str(notes)])
        try:
            until(lambda: waiting.watch_state.is_in_step)
            assert waiting.watch_state.folders == (str(notes),)
            assert not waiting._watcher.state.is_in_step  # it looked at nothing itself
        finally:
            waiting.close()
            working.close()


def test_the_command_names_a_wrong_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--collection", str(tmp_path / "kb"), "serve", "--watch", str(tmp_path / "absent")]
    assert main(command) == 1
    assert "absent is no folder" in capsys.readouterr().err
