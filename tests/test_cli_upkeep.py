"""doctor, backup, restore and vacuum as a user types them."""

from __future__ import annotations

import json
import platform
import sqlite3
from pathlib import Path

import pytest

import commonplace as cp
from commonplace.cli import main
from tests.test_cli import run
from tests.tiny import tiny_bundle


def test_the_maintenance_commands_work(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("The north pump needs the blue seal.")
    run("add", "notes.txt", cwd=tmp_path)
    assert run("doctor", cwd=tmp_path).stdout == "no problems found\n"
    assert run("backup", "kb.bak", cwd=tmp_path).stdout.startswith("wrote kb.bak")
    assert "exists already" in run("backup", "kb.bak", cwd=tmp_path, ok=False).stderr
    database = sqlite3.connect(tmp_path / ".commonplace" / "collection.db")
    with database:
        database.execute("UPDATE items SET text = 'a lie'")
    database.close()
    out = run("doctor", "--json", cwd=tmp_path, ok=False).stdout
    assert any("notes.txt" in finding["what"] and not finding["repaired"] for finding in json.loads(out)["findings"])
    assert "a lie" not in run("search", "seal", cwd=tmp_path).stdout
    assert "--replace" in run("restore", "kb.bak", cwd=tmp_path, ok=False).stderr
    assert run("restore", "kb.bak", "--replace", cwd=tmp_path).stdout == "restored 1 document\n"
    assert "blue seal" in run("search", "seal", cwd=tmp_path).stdout
    assert run("compress", cwd=tmp_path).stdout.startswith("nothing to compress")
    assert run("compress", "--off", cwd=tmp_path).stdout == "the stored vectors are searched\n"
    assert "choose .5 to 1" in run("compress", "--recall", "2", cwd=tmp_path, ok=False).stderr
    assert run("doctor", cwd=tmp_path).stdout == "no problems found\n"
    assert "blue seal" in run("search", "seal", cwd=tmp_path).stdout
    assert "gained" in run("vacuum", cwd=tmp_path).stdout
    assert "exact" in run("status", cwd=tmp_path).stdout
    assert run("--collection", "new", "restore", "kb.bak", cwd=tmp_path).stdout == "restored 1 document\n"
    assert "no backup" in run("restore", "absent", "--replace", cwd=tmp_path, ok=False).stderr


def test_a_non_text_title_stops_no_command(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.md").write_text(f"# Pump {name}\n\nThe {name} pump needs the blue seal.")
    run("add", "a.md", "b.md", cwd=tmp_path)
    database = sqlite3.connect(tmp_path / ".commonplace" / "collection.db")
    with database:
        database.execute("UPDATE documents SET title = x'ff41', error = 12.5, items = x'00' WHERE path LIKE '%a.md'")
    database.close()
    assert "b.md" in run("list", cwd=tmp_path).stdout
    assert {document["title"] for document in json.loads(run("list", "--json", cwd=tmp_path).stdout)["documents"]} == {
        "\ufffdA",
        "Pump b",
    }
    assert "\ufffdA" in run("show", "a.md", cwd=tmp_path).stdout and run("show", "b.md", cwd=tmp_path)
    ranked = run("search", "blue seal", cwd=tmp_path).stdout
    assert "b.md" in ranked and "a.md" not in ranked
    run("status", cwd=tmp_path)
    assert "documents whose row is damaged" in run("doctor", cwd=tmp_path, ok=False).stdout
    run("remove", "a.md", cwd=tmp_path)
    run("add", "a.md", cwd=tmp_path)
    assert run("doctor", cwd=tmp_path).stdout == "no problems found\n"


def test_a_backup_of_another_model_is_restored_into_a_new_collection(tmp_path: Path) -> None:
    tiny_bundle(tmp_path / "tiny")
    (tmp_path / "notes.txt").write_text("The north pump needs the blue seal.")
    run("--model", "tiny", "add", "notes.txt", cwd=tmp_path)
    run("backup", "kb.bak", cwd=tmp_path)
    before = (tmp_path / "kb.bak").read_bytes()
    assert run("--collection", "new", "restore", "kb.bak", cwd=tmp_path).stdout == "restored 1 document\n"
    assert "tiny" in run("--collection", "new", "status", cwd=tmp_path).stdout
    assert "blue seal" in run("--collection", "new", "search", "seal", cwd=tmp_path).stdout
    assert (tmp_path / "kb.bak").read_bytes() == before
    assert sorted(file.name for file in tmp_path.glob("kb.bak*")) == ["kb.bak"]
    (tmp_path / "tiny").rename(tmp_path / "moved")
    assert "--model" in run("--collection", "third", "restore", "kb.bak", cwd=tmp_path, ok=False).stderr
    assert not (tmp_path / "third").exists()


def test_a_report_holds_versions_and_sizes_but_no_content_and_no_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "zebrafolder"
    folder.mkdir()
    (folder / "giraffefile.txt").write_text("The ocelot sleeps in the north hall.", encoding="utf-8")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COMMONPLACE_HOME", str(tmp_path / "lynxhome"))
    monkeypatch.setenv("COMMONPLACE_LLM_API_KEY", "pumakey")
    assert main(["add", "giraffefile.txt"]) == 0
    capsys.readouterr()
    assert main(["doctor", "--report"]) == 0
    shown = capsys.readouterr().out
    report = json.loads(shown)
    assert report["commonplace"] == cp.__version__ and report["processors"] >= 1 and report["memory"] > 1e8
    assert report["collection"]["documents"] and report["collection"]["findings"] == 0
    assert report["collection"]["model"]["name"] == "minilm-lite0"
    assert report["settings"]["COMMONPLACE_LLM_API_KEY"] == "set"
    assert not [word for word in ("zebra", "giraffe", "ocelot", "lynx", "puma", "/", platform.node()) if word in shown]


def test_a_report_of_a_collection_that_does_not_open_names_the_kind_of_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--collection", str(tmp_path / "zebra"), "doctor", "--report"]) == 0
    shown = capsys.readouterr().out
    assert json.loads(shown)["collection"] == {"error": "CollectionError"} and "zebra" not in shown
    assert main(["--collection", str(tmp_path / "zebra"), "doctor", "--report", "--repair"]) == 1
    assert "run `commonplace doctor --repair` before it" in capsys.readouterr().err
