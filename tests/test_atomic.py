"""Output files are written atomically, and never replace anything other than a file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from commonplace.atomic import atomic_write
from commonplace.errors import CommonplaceError


def test_a_file_is_replaced_only_by_a_complete_file(tmp_path: Path) -> None:
    place = tmp_path / "a.png"
    place.write_text("old")
    with pytest.raises(KeyError), atomic_write(place, "the page") as file:
        file.write(b"half")
        raise KeyError
    assert place.read_text() == "old" and os.listdir(tmp_path) == ["a.png"]
    with atomic_write(place, "the page") as file:
        file.write(b"new")
    assert place.read_text() == "new" and os.listdir(tmp_path) == ["a.png"]


def test_other_things_than_files_are_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    long = "x" * 250
    for name in ("pipe", "folder", ".", "..", "", f"{long}{long}", "a\0b", "\ud800", "no/such/folder/a.png"):
        with (
            pytest.raises(CommonplaceError, match="the page cannot be written to"),
            atomic_write(name and os.path.join(tmp_path, name), "the page") as file,
        ):
            file.write(b"x")
    assert (tmp_path / "pipe").is_fifo() and not os.listdir(tmp_path / "folder")
    with atomic_write(tmp_path / "link", "the page") as file:
        file.write(b"new")
    assert (tmp_path / "mine").read_text() == "mine" and (tmp_path / "link").read_text() == "new"
    with atomic_write(tmp_path / f"{long[:240]}.png", "the page") as file:
        file.write(b"long")
    assert sorted(os.listdir(tmp_path)) == sorted(["pipe", "folder", "mine", "link", f"{long[:240]}.png"])
