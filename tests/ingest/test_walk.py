"""The walk: a fixed order, each file once, no hidden, vendored or ignored files, and no blocking."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from commonplace.ingest.walk import Source, walk


def plant(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("words")


def names(root: Path, **options: Path) -> list[str]:
    files, problems, _ = walk([root], **options)
    assert problems == []
    return [str(source.path.relative_to(root)) for source in files]


def test_sorted_and_rooted(tmp_path: Path) -> None:
    plant(tmp_path, "b.txt", "a/z.md", "a/b/c.txt", "a.txt", "ä.txt")
    assert names(tmp_path) == ["a.txt", "a/b/c.txt", "a/z.md", "b.txt", "ä.txt"]
    files, *_ = walk([tmp_path / "b.txt", tmp_path / "a"])
    assert files == [
        Source(tmp_path / "a/b/c.txt", tmp_path / "a"),
        Source(tmp_path / "a/z.md", tmp_path / "a"),
        Source(tmp_path / "b.txt", tmp_path),
    ]


def test_each_file_once_however_often_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(tmp_path, "a.txt", "sub/b.txt")
    (tmp_path / "link.txt").symlink_to("a.txt")
    monkeypatch.chdir(tmp_path)
    files, problems, _ = walk([".", "a.txt", "sub/../sub", tmp_path / "sub" / "b.txt", "link.txt"])
    assert problems == []
    assert [source.path for source in files] == [tmp_path / "a.txt", tmp_path / "sub/b.txt"]


def test_hidden_and_vendored_are_skipped_below_but_not_by_name(tmp_path: Path) -> None:
    plant(
        tmp_path, "a.txt", ".hidden.txt", ".git/x.txt", "node_modules/x.txt", "src/__pycache__/x.txt", "venv/x.txt",
        "my-env/pyvenv.cfg", "my-env/x.txt", "lib/site-packages/x.txt", "target/CACHEDIR.TAG", "target/x.txt",
    )  # fmt: skip
    assert names(tmp_path) == ["a.txt"]
    assert names(tmp_path / ".git") == ["x.txt"]
    assert names(tmp_path / "my-env") == ["pyvenv.cfg", "x.txt"]
    assert names(tmp_path / "node_modules") == ["x.txt"]
    files, *_ = walk([tmp_path / ".hidden.txt"])
    assert len(files) == 1


def test_unknown_binaries_are_skipped_unless_named(tmp_path: Path) -> None:
    plant(tmp_path, "README", "program.exe", "a.o", "x.pub")
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    assert names(tmp_path) == ["README"]
    files, problems, _ = walk([tmp_path / "program.exe", tmp_path / "binary"])
    assert [source.path.name for source in files] == ["binary", "program.exe"] and problems == []


def test_ignore_rules_agree_with_git(tmp_path: Path) -> None:
    plant(
        tmp_path, "a.txt", "b.log", "keep.log", "build/x.txt", "sub/build/x.txt", "docs/draft.txt", "docs/final.txt",
        "docs/deep/draft.txt", "sub/b.log", "sub/top.txt", "top.txt", "sub/deep/b.log", "gone/keep.txt", "tmp/a.txt",
        "tmp/keep/a.txt", "sp ace.txt", "#hash.txt", "x1.txt", "x2.txt", "foo/bar/baz.txt", "foo/a/bar/baz.txt",
    )  # fmt: skip
    (tmp_path / ".gitignore").write_text(
        "# a comment\n*.log\n!keep.log\nbuild/\n/top.txt\ngone/\n!gone/keep.txt\ntmp/*\n!tmp/keep/\n"
        "sp\\ ace.txt\n\\#hash.txt\nx[1].txt\nfoo/**/bar/\n\n"
    )
    (tmp_path / "docs" / ".gitignore").write_text("draft.txt\n")
    (tmp_path / "docs" / "deep" / ".gitignore").write_text("!draft.txt\n")
    (tmp_path / "sub" / ".gitignore").write_text("!b.log\n/deep/*\n")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    listed = subprocess.run(
        ["git", "-C", str(tmp_path), "ls-files", "-z", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
    ).stdout
    expected = [name for name in listed.decode().split("\0") if name and not name.endswith(".gitignore")]
    # git lists keep.log; a log is a text that we offer as well
    assert names(tmp_path) == sorted(expected, key=os.fsencode)
    assert "sub/b.log" in expected and "docs/deep/draft.txt" in expected and "gone/keep.txt" not in expected


def test_own_ignore_file_has_the_last_word(tmp_path: Path) -> None:
    plant(tmp_path, "a.txt", "b.txt", "c.txt", "sub/a.txt")
    (tmp_path / ".gitignore").write_text("b.txt\n")
    (tmp_path / ".commonplaceignore").write_text("a.txt\n!b.txt\n")
    assert names(tmp_path) == ["b.txt", "c.txt"]


def test_a_broken_rule_costs_only_itself(tmp_path: Path) -> None:
    plant(tmp_path, "a.txt", "b.txt")
    (tmp_path / ".gitignore").write_bytes(b"!\n***/**a/***\n[\nb.txt\n\xff\xfe\n")
    assert names(tmp_path) == ["a.txt"]


def test_the_collection_is_left_out(tmp_path: Path) -> None:
    plant(tmp_path, "a.txt", "notes/store.txt", "notes/sub/x.txt", "notes2/y.txt")
    (tmp_path / "link.txt").symlink_to("notes/store.txt")
    assert names(tmp_path, exclude=[tmp_path / "notes"]) == ["a.txt", "notes2/y.txt"]
    files, problems, _ = walk([tmp_path / "notes" / "store.txt"], exclude=[tmp_path / "notes"])
    assert files == [] and "the collection itself" in problems[0][1]
    own = [tmp_path / "notes" / "sub", tmp_path / "notes2" / "y.txt", tmp_path / "a.txt"]  # files and folders
    assert names(tmp_path, exclude=own) == ["notes/store.txt"]


def test_links(tmp_path: Path) -> None:
    plant(tmp_path, "in/a.txt", "out/b.txt")
    (tmp_path / "in/loop").symlink_to(".")
    (tmp_path / "in/up").symlink_to("..")
    (tmp_path / "in/other").symlink_to("../out")
    (tmp_path / "in/file.txt").symlink_to("../out/b.txt")
    assert names(tmp_path / "in") == ["a.txt", "file.txt"]
    (tmp_path / "in/circle.txt").symlink_to("circle.txt")
    (tmp_path / "in/nowhere.txt").symlink_to("missing.txt")
    files, problems, _ = walk([tmp_path / "in"])
    assert len(files) == 2
    assert [(path.name, why.split(";")[0]) for path, why in problems] == [
        ("circle.txt", "a circular link"),
        ("nowhere.txt", "a broken link"),
    ]
    (tmp_path / "way").symlink_to("in")  # a folder given by a link is walked
    assert len(walk([tmp_path / "way"])[0]) == 2


def test_special_files_are_never_opened(tmp_path: Path) -> None:
    plant(tmp_path, "a.txt")
    os.mkfifo(tmp_path / "pipe.txt")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.txt"))
        assert names(tmp_path) == ["a.txt"]
    files, problems, _ = walk([tmp_path / "pipe.txt", "/dev/null"])
    assert files == [] and len(problems) == 2
    assert all("not a regular file" in why for _, why in problems)


def test_missing_paths_are_problems(tmp_path: Path) -> None:
    plant(tmp_path, "a.txt")
    files, problems, _ = walk([tmp_path, tmp_path / "gone", "x" * 5000, "a\0b"])
    assert len(files) == 1 and len(problems) == 3
    reasons = dict(problems)
    assert reasons[tmp_path / "gone"].startswith("no such file")
    assert all("\n" not in why for why in reasons.values())


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_an_unreadable_folder_is_a_problem(tmp_path: Path) -> None:
    plant(tmp_path, "a.txt", "shut/b.txt")
    (tmp_path / "shut").chmod(0)
    try:
        files, problems, _ = walk([tmp_path])
    finally:
        (tmp_path / "shut").chmod(0o700)
    assert len(files) == 1 and "permission denied" in problems[0][1]


def test_a_folder_that_cannot_be_listed_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(tmp_path, "a.txt", "shut/b.txt")
    real = os.scandir

    def scandir(path: str):  # type: ignore[no-untyped-def]
        if path.endswith("shut"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    files, problems, _ = walk([tmp_path])
    assert [source.path.name for source in files] == ["a.txt"]
    assert problems == [(tmp_path / "shut", "permission denied; make it readable and add it again")]


def test_odd_names(tmp_path: Path) -> None:
    odd = ["new\nline.txt", "🙂.md", " space .txt", "-rf.txt", "q'uote\".txt", "*.txt", os.fsdecode(b"bad\xff.txt")]
    for name in odd:
        (tmp_path / name).write_text("words")
    (tmp_path / ".gitignore").write_text("nothing\n")
    files, problems, _ = walk([tmp_path])
    assert {source.path.name for source in files} == set(odd) and problems == []


def test_deep_trees(tmp_path: Path) -> None:
    path = tmp_path
    for _ in range(400):
        path = path / "d"
    path.mkdir(parents=True)
    (path / "a.txt").write_text("words")
    assert len(names(tmp_path)) == 1


def test_what_is_not_read_is_counted_by_its_ending(tmp_path: Path) -> None:
    for name in ("a.pub", "b.PUB", "c.exe", "page.mid", "d.txt"):
        (tmp_path / name).write_bytes(b"words")
    result = walk([tmp_path])
    assert [source.path.name for source in result.sources] == ["d.txt"]
    assert result.skipped == {".pub": 2, ".exe": 1, ".mid": 1}


def test_what_a_browser_saved_beside_a_page_is_the_pages(tmp_path: Path) -> None:
    plant(tmp_path, "a.html", "a_files/spy.js", "a_files/dog.png", "b_files/x.txt")
    assert names(tmp_path) == ["a.html", "b_files/x.txt"]


def test_paths_that_no_file_can_have_are_problems(tmp_path: Path) -> None:
    plant(tmp_path, "a.txt")
    files, problems, _ = walk(["\ud800", tmp_path, "a\0b", "absent"])
    assert [source.path for source in files] == [tmp_path / "a.txt"]
    reasons = " ".join(reason for _, reason in problems)
    assert len(problems) == 3 and "surrogate" in reasons and "zero character" in reasons and "no such file" in reasons
