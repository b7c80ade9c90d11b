"""Reading files without a collection: from Python, and on the command line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import commonplace as cp
from commonplace.cli import main
from tests.collection.common import draw

PAGE = """# Pumps

The north pump needs the blue seal.

## Valves

The valve is made of brass.

| part | count |
|---|---|
| seal | 2 |

## Hoses

![A red ball](ball.png)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "page.md").write_text(PAGE, encoding="utf-8")
    (tmp_path / "bad.pdf").write_bytes(b"%PDF-1.4 nothing")
    draw(tmp_path / "ball.png", "red")
    return tmp_path


def test_a_file_is_read_without_a_collection(folder: Path) -> None:
    parsed = cp.read(folder / "page.md")
    assert parsed.document.title == "Pumps" and parsed.document.status == "ok"
    assert [item.modality for item in parsed.items] == ["text", "text", "text", "image"]
    assert parsed.items[1].title == "Pumps > Valves" and parsed.items[-1].text == "A red ball"
    text = (folder / "page.md").read_text(encoding="utf-8")
    for item in parsed.items[:-1]:
        assert text[item.span.start : item.span.end] == item.text
    assert parsed.pictures[parsed.items[-1].picture or ""].pixels.shape == (160, 200, 3)
    with cp.open(folder / "kb") as kb:  # and as a collection reads it
        kb.add(folder / "page.md", workers=1, progress=False)
        assert tuple(kb.items(kb.documents()[0])) == parsed.items


@pytest.mark.parametrize("name", ["bad.pdf", "absent.txt", "."])
def test_a_bad_file_is_one_error_with_its_name(folder: Path, name: str) -> None:
    with pytest.raises(cp.ReadError) as error:
        cp.read(folder / name)
    assert str(folder / name) in str(error.value) and "\n" not in str(error.value)


def test_a_worker_reads_so_that_a_crash_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = os.getpid()
    monkeypatch.setattr("commonplace.readers.read", lambda *_: pytest.fail(f"read in process {here}"))
    assert cp.read(folder / "page.md").items


def test_json_is_one_object_a_file_in_order(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(folder / name) for name in ("ball.png", "bad.pdf", "page.md", "absent.txt")]
    assert main(["read", *files, "--json"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["path"] for line in lines] == files
    assert [line["status"] for line in lines] == ["ok", "failed", "ok", "failed"]
    assert lines[1]["items"] == [] and lines[1]["error"]
    assert lines[2]["items"][1]["title"] == "Pumps > Valves"
    assert lines[2]["items"][0]["span"] == {"start": 9, "end": 44, "line": 3}
    assert not (Path.cwd() / ".commonplace").exists()


def test_markdown_has_each_heading_once_and_the_text_in_order(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", str(folder / "page.md"), "--markdown"]) == 0
    shown = capsys.readouterr().out
    assert shown == PAGE + "\n[image: A red ball]\n"


def test_the_outline_is_readable_and_a_bad_file_ends_with_1(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "evil.txt").write_text("The gauge \x1b[31mreads nine bar.", encoding="utf-8")
    assert main(["read", *(str(folder / name) for name in ("page.md", "bad.pdf", "evil.txt"))]) == 1
    shown = capsys.readouterr()
    assert "text/markdown, 4 items" in shown.out and "Pumps > Valves" in shown.out and "nine bar" in shown.out
    assert "\x1b" not in shown.out and shown.err.count("\n") == 1 and "bad.pdf" in shown.err


def test_headings_of_other_formats(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "page.html").write_text("<h1>Pumps</h1><p>One.</p><h2>Seals</h2><p>Two.</p><h1>Mills</h1><p>Three.</p>")
    assert main(["read", str(folder / "page.html"), "--markdown"]) == 0
    assert capsys.readouterr().out == "# Pumps\n\nOne.\n\n## Seals\n\nTwo.\n\n# Mills\n\nThree.\n"


@pytest.mark.parametrize("name", ["~\0x", "a\0b", "\ud800"])
def test_a_path_that_no_file_can_have_is_not_read(name: str) -> None:
    with pytest.raises(cp.ReadError, match="is not valid") as error:
        cp.read(name)
    assert "reader failed" not in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(cp.ModelError, match="is not valid"):
        cp.read(__file__, model=name)


def test_a_folder_is_not_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", str(folder), str(folder / "page.md")]) == 1
    shown = capsys.readouterr()
    assert "give the files of the folder" in shown.err and "Valves" in shown.out
