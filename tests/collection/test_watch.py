"""``Collection.watch()``: whatever happens in a folder, the collection equals it in the end."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import commonplace as cp
from commonplace.cli import main
from tests.collection.test_delete import many, paths

LIMIT = 240.0  # seconds; a generous limit for a busy machine


@pytest.fixture
def shelf(tmp_path: Path, tiny: Path) -> Iterator[cp.Collection]:
    """A collection that embeds quickly. It lies in the watched folder, as ``.commonplace`` does."""
    with cp.open(tmp_path / "notes" / ".commonplace", model=tiny) as collection:
        yield collection


def wait(watcher: cp.Watcher, condition: Callable[[], object]) -> None:
    """Wait until a condition holds; it is looked at whenever the watcher's state changes."""
    late = threading.Timer(LIMIT, watcher.close)
    late.start()
    try:
        assert any(condition() for _state in watcher.states()), watcher.state
    finally:
        late.cancel()


def texts(kb: cp.Collection) -> dict[str, str]:
    """Return what the collection holds: the text of each document, by path."""
    return {document.path: " ".join(item.text or "" for item in kb.items(document)) for document in kb}


def texts_of(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*.txt") if ".commonplace" not in path.parts)
    return {str(path): path.read_text(encoding="utf-8") for path in files}


def test_each_kind_of_change_arrives(shelf: cp.Collection, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    many(notes, 3)
    with shelf.watch(notes, workers=1) as watcher:
        wait(watcher, lambda: watcher.state.is_in_step and texts(shelf) == texts_of(notes))
        temporary = notes / ".note0.txt.swp"  # as editors save: a new file takes the name
        temporary.write_text("The first note was rewritten.", encoding="utf-8")
        temporary.replace(notes / "note0.txt")
        with (notes / "note1.txt").open("w", encoding="utf-8") as file:  # as others do: emptied and written
            file.flush()
            file.write("The second note was rewritten.")
        (notes / "note2.txt").rename(notes / "moved.txt")
        (notes / "deep" / "er").mkdir(parents=True)
        (notes / "deep" / "er" / "new.txt").write_text("A note far below.", encoding="utf-8")
        wait(watcher, lambda: texts(shelf) == texts_of(notes))
        shutil.rmtree(notes / "deep")
        (notes / "note0.txt").unlink()
        (notes / ".gitignore").write_text("moved.txt\n", encoding="utf-8")
        wait(watcher, lambda: texts(shelf) == texts_of(notes))
        assert len(shelf) == 2 and watcher.state.problems == ()


def test_a_folder_that_vanishes_loses_nothing_and_is_found_again(shelf: cp.Collection, tmp_path: Path) -> None:
    disk = many(tmp_path / "disk", 2)
    with shelf.watch(disk, workers=1) as watcher:
        wait(watcher, lambda: len(shelf) == 2)
        disk.rename(tmp_path / "away")
        wait(watcher, lambda: dict(watcher.state.problems).get(str(disk)))
        assert "the folder is gone" in dict(watcher.state.problems)[str(disk)]
        assert len(shelf) == 2 and not watcher.state.is_in_step
        (tmp_path / "away" / "note2.txt").write_text("Written elsewhere.", encoding="utf-8")
        (tmp_path / "away").rename(disk)
        wait(watcher, lambda: watcher.state.is_in_step and texts(shelf) == texts_of(disk))


def test_a_mass_deletion_waits_for_a_word(shelf: cp.Collection, tmp_path: Path) -> None:
    folder = many(tmp_path / "notes", 30)
    with shelf.watch(folder, workers=1) as watcher:
        wait(watcher, lambda: len(shelf) == 30)
        for number in range(25):
            (folder / f"note{number}.txt").unlink()
        (folder / "new.txt").write_text("A new note.", encoding="utf-8")
        wait(watcher, lambda: str(folder / "new.txt") in paths(shelf) and watcher.state.problems)
        assert "--delete-many" in watcher.state.problems[0][1] and len(shelf) == 31
        assert shelf.add(folder, delete_many=True).deleted == 25  # the word
        watcher.look_at_everything()
        wait(watcher, lambda: watcher.state.is_in_step)
        assert texts(shelf) == texts_of(folder)


@contextmanager
def running(*words: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """Run the command, which is ended with the block."""
    command = [sys.executable, "-m", "commonplace", *words]
    with subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        late = threading.Timer(LIMIT, process.kill)
        late.start()
        try:
            yield process
        finally:
            late.cancel()
            process.kill()


def test_the_command_watches_until_it_is_told_to_end(tmp_path: Path, tiny: Path) -> None:
    """Each line of standard output names what one look changed. A service is ended by SIGTERM."""
    notes = many(tmp_path / "notes", 2)
    with running("--model", str(tiny), "watch", "notes", "--workers", "1", cwd=tmp_path) as process:
        assert process.stdout is not None and process.stderr is not None
        assert "2 added" in process.stdout.readline()
        (notes / "note1.txt").unlink()
        assert "1 deleted" in process.stdout.readline()
        notes.rename(tmp_path / "away")
        assert process.stderr.readline().startswith(f"{notes}: the folder is gone")
        process.terminate()
        assert process.wait() == 0 and process.stderr.read() == ""


def test_add_watches_after_adding(tmp_path: Path, tiny: Path) -> None:
    notes = many(tmp_path / "notes", 1)
    with running("--model", str(tiny), "add", "notes", "--watch", cwd=tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1 added\n"
        (notes / "more.txt").write_text("Another note.", encoding="utf-8")
        assert "1 added" in process.stdout.readline()
        process.terminate()
        assert process.wait() == 0


def test_a_mistyped_name_makes_no_collection(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["watch", "absent"]) == 1
    assert "absent is no folder" in capsys.readouterr().err and not (tmp_path / ".commonplace").exists()


@pytest.mark.parametrize("folders", [(), ("absent",), ("s3://bucket/notes",)])
def test_what_cannot_be_watched_is_named(shelf: cp.Collection, folders: tuple[str, ...]) -> None:
    with pytest.raises(cp.QueryError, match=r"name a folder|name one that exists|only folders of this machine"):
        shelf.watch(*folders)


def operate(root: Path, chance: random.Random, number: int) -> None:
    """Do something in a folder, as people and programs do."""
    files = sorted(path for path in root.rglob("*.txt") if ".commonplace" not in path.parts)
    folders = sorted(path for path in root.rglob("*") if path.is_dir() and ".commonplace" not in path.parts)
    folder = chance.choice([root, *folders])
    text = f"Note {number} tells of {chance.choice(['pumps', 'seals', 'valves', 'boats'])} {chance.random()}."
    kind = chance.choice(["create", "create", "edit", "save", "rename", "move", "delete", "folder", "replace", "swap"])
    if kind == "create" or not files:
        (folder / f"note{number}.txt").write_text(text, encoding="utf-8")
    elif kind == "edit":
        chance.choice(files).write_text(text, encoding="utf-8")
    elif kind == "save":
        temporary = folder / f".{number}.tmp"
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(chance.choice(files))
    elif kind == "rename":
        path = chance.choice(files)
        path.rename(path.with_name(f"renamed{number}.txt"))
    elif kind == "move":
        path = chance.choice(files)
        path.rename(folder / f"moved{number}.txt")
    elif kind == "delete":
        chance.choice(files).unlink()
    elif kind == "swap" and len(files) > 1:
        first, second = chance.sample(files, 2)
        first.rename(root / ".swap")
        second.rename(first)
        (root / ".swap").rename(second)
    elif kind == "replace" and folders:
        before, new = chance.choice(folders), root / f".new{number}"
        new.mkdir()
        (new / f"note{number}.txt").write_text(text, encoding="utf-8")
        shutil.rmtree(before)
        new.rename(before)
    elif len(folders) < 8:
        below = folder / f"folder{number}"
        below.mkdir()
        (below / f"note{number}.txt").write_text(text, encoding="utf-8")
    else:
        shutil.rmtree(chance.choice(folders))


def test_in_the_end_the_collection_equals_the_folder(shelf: cp.Collection, tmp_path: Path) -> None:
    """Random operations, searched meanwhile. `benchmarks/watch.py` does a thousand."""
    root, chance = many(tmp_path / "notes", 4), random.Random(1)
    is_over = threading.Event()
    problems: list[BaseException] = []

    def search() -> None:
        try:
            while not is_over.is_set():
                shelf.search("a note about pumps and valves", k=5)
        except BaseException as problem:
            problems.append(problem)

    searching = threading.Thread(target=search)
    searching.start()
    try:
        with shelf.watch(root, workers=1) as watcher:
            for number in range(40):
                operate(root, chance, number)
                if number % 10 == 9:
                    wait(watcher, lambda: watcher.state.is_in_step)
            wait(watcher, lambda: watcher.state.is_in_step and texts(shelf) == texts_of(root))
    finally:
        is_over.set()
        searching.join()
    assert not problems and watcher.state.problems == ()
    assert os.path.commonpath([*texts(shelf)]) == str(root)
