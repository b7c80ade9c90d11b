"""``add(delete=True)``: documents whose file is gone are removed, and no folder that cannot be reached loses any."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

import commonplace as cp
from commonplace.cli import main
from tests.collection.common import names


def paths(kb: cp.Collection) -> set[str]:
    return {document.path for document in kb}


def many(folder: Path, count: int) -> Path:
    folder.mkdir(exist_ok=True)
    for number in range(count):
        (folder / f"note{number}.txt").write_text(f"Note {number} is about pump {number}.", encoding="utf-8")
    return folder


@pytest.fixture
def shelf(tmp_path: Path, tiny: Path) -> cp.Collection:
    """A collection that embeds quickly."""
    return cp.open(tmp_path / "shelf", model=tiny)


def test_what_is_gone_below_the_folder_is_removed(kb: cp.Collection, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("The lighthouse is white.", encoding="utf-8")
    kb.add(other)
    for path in (folder / "weather.txt", other):
        path.unlink()
    (folder / "pictures").rename(folder / "images")
    (folder / "zh.txt").unlink()
    (folder / "zh.txt").mkdir()  # a folder took the name of the file
    report = kb.add(folder, delete=True)
    assert (report.deleted, report.moved, report.missing, report.refused) == (2, 2, 0, []), str(report)
    assert {os.path.relpath(path, tmp_path) for path in paths(kb)} == {
        *("notes/pumps.md", "notes/images/ball.png", "notes/images/box.png", "other.txt"),
    }
    assert names(kb.search("snow fell on the mountains", k=20)).count("weather.txt") == 0
    assert kb.add(tmp_path, delete=False).missing == 1  # without it nothing is removed


def test_nothing_is_removed_below_a_folder_that_is_gone_or_unreadable(shelf: cp.Collection, tmp_path: Path) -> None:
    notes = many(tmp_path / "notes", 2)
    shelf.add(notes)
    notes.rename(tmp_path / "elsewhere")
    report = shelf.add(notes, delete=True, delete_many=True)
    assert report.deleted == 0 and len(shelf) == 2
    ((place, reason),) = report.refused
    assert place == str(notes) and "the folder is gone" in reason and "commonplace remove" in reason
    assert not shelf.add(tmp_path / "never", delete=True).refused  # the collection has nothing of it


def test_a_mass_deletion_stops_and_asks(shelf: cp.Collection, tmp_path: Path) -> None:
    notes = many(tmp_path / "notes", 30)
    few = many(tmp_path / "few", 3)
    shelf.add(notes, few)
    for number in range(24):
        (notes / f"note{number}.txt").unlink()
    (few / "note0.txt").unlink()
    report = shelf.add(notes, few, delete=True)
    assert report.deleted == 1 and len(shelf) == 32  # the other folder is kept in step
    ((place, reason),) = report.refused
    assert place == str(notes) and "24 of its 30 documents" in reason and "--delete-many" in reason
    assert shelf.add(notes, delete_many=True).deleted == 24 and len(shelf) == 8


def test_an_emptied_folder_may_be_a_disk_that_is_missing(shelf: cp.Collection, tmp_path: Path) -> None:
    notes = many(tmp_path / "notes", 45)
    many(notes / "disk", 20)
    shelf.add(notes)
    for path in (notes / "disk").iterdir():
        path.unlink()
    assert len(shelf.add(notes, delete=True).refused) == 1 and len(shelf) == 65
    (notes / "disk").rmdir()  # a disk that is missing leaves its folder
    assert shelf.add(notes, delete=True).deleted == 20


def test_what_was_on_a_disk_that_is_not_mounted_is_kept(shelf: cp.Collection, tmp_path: Path) -> None:
    """The collection remembers mount points; here it remembers one where nothing is mounted any more."""
    notes = many(tmp_path / "notes", 4)
    disk = many(notes / "disk", 2)
    shelf.add(notes)
    shelf.store.set_setting("mounts", json.dumps([str(disk)]))
    contents = (disk / "note0.txt").read_bytes()
    for path in (*disk.iterdir(), notes / "note3.txt"):
        path.unlink()
    (notes / "copy.txt").write_bytes(contents)  # the same file elsewhere: not moved, the disk has it still
    report = shelf.add(notes, delete=True, delete_many=True)
    assert (report.added, report.moved, report.deleted, len(shelf)) == (1, 0, 1, 6)
    assert report.refused == [(str(disk), "nothing is mounted there; the 2 documents of that disk are kept")]
    many(disk, 2)  # files without a mount: it is an ordinary folder now
    assert not shelf.add(notes, delete=True).refused
    shutil.rmtree(disk)
    assert shelf.add(notes, delete=True).deleted == 2


def test_links_keep_the_document_that_they_lead_to(shelf: cp.Collection, tmp_path: Path) -> None:
    notes = many(tmp_path / "notes", 1)
    target = tmp_path / "target.txt"
    target.write_text("The target of two links.", encoding="utf-8")
    for name in ("a.txt", "b.txt"):
        (notes / name).symlink_to(target)
    shelf.add(notes)
    (notes / "a.txt").unlink()
    assert shelf.add(notes, delete=True).deleted == 0
    assert str(notes / "b.txt") in paths(shelf)
    target.rename(tmp_path / "away.txt")  # the link is broken: its file may be on a disk that is missing
    assert shelf.add(notes, delete=True).deleted == 0
    (notes / "b.txt").unlink()
    assert shelf.add(notes, delete=True).deleted == 1


def test_the_command_says_what_it_refuses(
    tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COMMONPLACE_MODEL", str(tiny))
    notes = many(tmp_path / "notes", 25)
    assert main(["add", "notes"]) == 0
    for path in notes.iterdir():
        path.unlink()
    capsys.readouterr()
    assert main(["add", "notes", "--delete"]) == 1
    written = capsys.readouterr()
    assert "25 missing" in written.out and f"not deleted: {notes}: the files of 25 of its 25 documents" in written.err
    assert main(["add", "notes", "--delete", "--delete-many", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["deleted"] == 25
