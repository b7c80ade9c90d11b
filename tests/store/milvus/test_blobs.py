"""Blobs in folders and behind protocols of fsspec: complete or absent, with any number of writers."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from commonplace.errors import CollectionError
from commonplace.store.milvus.blobs import Blobs
from commonplace.types import stable_id

PASSWORD = "hunter2-9f3a"


class NoOverwrite(MemoryFileSystem):
    """A file system in memory that behaves like an SFTP server: it renames to a free name only."""

    protocol = "freename"
    store: dict[str, Any] = {}  # noqa: RUF012  # fsspec keeps the files of a memory file system there
    pseudo_dirs = [""]  # noqa: RUF012

    def mv(self, path1: str, path2: str, **options: Any) -> None:
        if self.exists(path2):
            raise FileExistsError(path2)
        super().mv(path1, path2, **options)


fsspec.register_implementation("freename", NoOverwrite, clobber=True)


@pytest.fixture(params=["file", "memory", "freename"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "file":
        yield f"file://{tmp_path}/blobs"
    else:
        yield f"{request.param}://{uuid.uuid4().hex}/blobs"


def names(blobs: Blobs) -> dict[str, list[str]]:
    return {kind: sorted(blobs.list(kind)) for kind in ("pictures", "originals")}  # type: ignore[arg-type]


def test_blobs_are_stored_by_kind_and_name(url: str) -> None:
    blobs = Blobs.open(url)
    assert blobs.url == url and names(blobs) == {"pictures": [], "originals": []}
    picture, record = stable_id("picture"), stable_id("record")
    assert blobs.get("pictures", picture) is None and not blobs.has("pictures", picture)
    blobs.put("pictures", picture, b"jpeg")
    blobs.put("pictures", picture, b"jpeg")
    blobs.put("originals", record, b"")
    blobs.put("originals", "a", b"x" * 3_000_000)
    again = Blobs.open(url)  # another process sees the same
    assert again.get("pictures", picture) == b"jpeg" and again.has("pictures", picture)
    assert again.get("originals", picture) is None and again.get("originals", record) == b""
    assert names(again) == {"pictures": [picture], "originals": sorted(["a", record])}
    again.put("pictures", picture, b"the damaged one is replaced")
    assert blobs.get("pictures", picture) == b"the damaged one is replaced"
    blobs.delete("pictures", picture)
    blobs.delete("pictures", picture)
    assert not blobs.has("pictures", picture) and names(blobs)["pictures"] == []
    assert not again.has("pictures", picture) and blobs.sweep() == 0


def test_collections_that_share_a_place_do_not_share_blobs(url: str) -> None:
    blobs, first = Blobs.open(f"{url}/"), Blobs.open(url).below("first")
    first.put("pictures", "aa", b"1")
    blobs.below("second").put("pictures", "aa", b"2")
    assert first.url == f"{url}/first" and Blobs.open(first.url).get("pictures", "aa") == b"1"
    assert blobs.url == url and not blobs.has("pictures", "aa")
    assert blobs.folder == (Path(url.removeprefix("file://")) if url.startswith("file") else None)
    for folder in ("..", "a/b", "", "."):
        with pytest.raises(CollectionError, match="is no name of a folder"):
            blobs.below(folder)


def test_the_layout_is_that_of_the_documentation(tmp_path: Path) -> None:
    blobs = Blobs.open(str(tmp_path / "b"))
    assert not (tmp_path / "b").exists()  # nothing is made before the first blob
    blobs.put("pictures", "abcdef0123", b"jpeg")
    blobs.put("originals", "beef", b"text")
    files = sorted(str(path.relative_to(tmp_path / "b")) for path in (tmp_path / "b").rglob("*") if path.is_file())
    assert files == ["originals/be/beef", "pictures/ab/abcdef0123.jpg"]
    assert blobs.url == f"file://{tmp_path}/b"


def test_places_with_odd_names_and_relative_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    odd = tmp_path / "ü ?#%41"
    Blobs.open(str(odd)).put("pictures", "aa", b"1")
    assert Blobs.open(Blobs.open(str(odd)).url).get("pictures", "aa") == b"1" and (odd / "pictures").is_dir()
    Blobs.open("here").put("pictures", "aa", b"2")
    assert Blobs.open(f"file://localhost{tmp_path}/here").get("pictures", "aa") == b"2"
    assert Blobs.open("~/b").url == f"file://{tmp_path}/home/b"


@pytest.mark.parametrize(
    "name", ["", "..", "../x", "a/b", "/etc/passwd", "a\\b", ".hidden", "a\nb", "ü", "a" * 129, "a.jpg", " a", "a\0"]
)
def test_a_name_never_leaves_its_folder(tmp_path: Path, name: str) -> None:
    blobs = Blobs.open(str(tmp_path / "b"))
    for use in (blobs.get, blobs.has, blobs.delete):
        with pytest.raises(CollectionError, match="is no name of a blob"):
            use("pictures", name)
    with pytest.raises(CollectionError, match="is no name of a blob"):
        blobs.put("pictures", name, b"x")
    for kind in ("..", "other", ""):
        with pytest.raises(CollectionError, match="is no kind of blob"):
            blobs.put(kind, "aa", b"x")  # type: ignore[arg-type]
        with pytest.raises(CollectionError, match="is no kind of blob"):
            list(blobs.list(kind))  # type: ignore[arg-type]
    assert not (tmp_path / "b").exists()


def test_other_files_are_no_blobs(tmp_path: Path) -> None:
    blobs = Blobs.open(str(tmp_path))
    blobs.put("pictures", "abcd", b"jpeg")
    for name in ("notes.txt", ".abcd.jpg.part", "..jpg"):
        (tmp_path / "pictures" / "ab" / name).write_bytes(b"x")
    assert list(blobs.list("pictures")) == ["abcd"]


# --- writers ------------------------------------------------------------------------------------------------------


def test_many_writers_of_the_same_blobs(url: str) -> None:
    contents = {stable_id(n): os.urandom(20_000 + n) for n in range(12)}
    problems: list[Exception] = []
    torn: list[str] = []

    def write(seed: int) -> None:
        blobs = Blobs.open(url)
        order = list(contents)
        random.Random(seed).shuffle(order)
        try:
            for name in order:
                blobs.put("pictures", name, contents[name])
                if blobs.get("pictures", name) != contents[name]:
                    torn.append(name)
        except Exception as problem:
            problems.append(problem)

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    blobs = Blobs.open(url)
    assert problems == [] and torn == []
    assert {name: blobs.get("pictures", name) for name in blobs.list("pictures")} == contents


WRITER = """
import random, sys
from commonplace.store.milvus.blobs import Blobs
blobs = Blobs.open(sys.argv[1])
print("ready", flush=True)
for n in range(10**6):
    blobs.put("pictures", f"blob{n % 7}", bytes([n % 251]) * (3_000_000 + n))
"""


def test_a_killed_writer_leaves_no_half_blob(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/blobs"
    blobs = Blobs.open(url)
    for turn in range(8):
        with subprocess.Popen([sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
            while not names(blobs)["pictures"]:
                pass
            threading.Event().wait(0.02 + 0.013 * turn)  # another moment each time
            writer.send_signal(signal.SIGKILL)
        for name in blobs.list("pictures"):
            data = blobs.get("pictures", name)
            assert data is not None and len(data) >= 3_000_000 and len(set(data[::4096]) | set(data[-9:])) == 1
            assert len(data) % 251 == (3_000_000 + data[0]) % 251  # the length belongs to the content
    parts = list((tmp_path / "blobs").rglob("*.part"))
    assert blobs.sweep() == 0 and list((tmp_path / "blobs").rglob("*.part")) == parts  # they may be still written
    for part in parts:
        os.utime(part, (0, 0))
    assert blobs.sweep() == len(parts) and not list((tmp_path / "blobs").rglob("*.part"))


# --- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "is empty"),
        ("nosuch://bucket/x", "the protocol nosuch:// of the blobs is not known"),
        ("file://host/x", "names a host"),
        ("s3://bucket/x?key=1", "is not valid"),
        ("s3://[bucket", "is not valid"),
        ("simplecache::s3://bucket", "is not valid"),
        ("file:///a%00b", "zero character"),
    ],
)
def test_a_wrong_url_is_one_clear_line(url: str, why: str) -> None:
    with pytest.raises(CollectionError, match=why) as error:
        Blobs.open(url)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("protocol", "package"), [("oss", "ossfs"), ("tos", "tosfs"), ("oci", "ocifs")])
def test_a_missing_package_is_named(protocol: str, package: str) -> None:
    with pytest.raises(CollectionError, match=f"need the package {package}: run `pip install {package}`"):
        Blobs.open(f"{protocol}://bucket/x")


def test_a_missing_fsspec_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "fsspec"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(CollectionError, match=r"run `pip install 'commonplace-rag\[milvus\]'`"):
        Blobs.open("s3://bucket")
    Blobs.open(str(tmp_path)).put("pictures", "aa", b"x")  # a folder needs nothing


def test_a_password_is_never_shown() -> None:
    with socket.socket() as closed:  # nobody listens there
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        blobs = Blobs.open(f"ftp://reader:{PASSWORD}@127.0.0.1:{port}/x/")
        assert blobs.url == f"ftp://127.0.0.1:{port}/x"
        with pytest.raises(
            CollectionError, match=rf"the blobs at ftp://127\.0\.0\.1:{port}/x/y cannot be read"
        ) as error:
            blobs.below("y").get("pictures", "aa")
    assert "9f3a" not in str(error.value) + repr(error.value) and error.value.__cause__ is None
    shown = Blobs.open(f"memory://reader:{PASSWORD}@host/x")
    assert shown.url == "memory://host/x"
    with pytest.raises(CollectionError) as error:
        Blobs.open(f"nosuch://reader:{PASSWORD}@host/x?y=1")
    assert "9f3a" not in str(error.value)


def test_a_server_that_does_not_answer_costs_the_time_limit() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        blobs = Blobs.open(f"ftp://127.0.0.1:{silent.getsockname()[1]}/x", timeout=1)
        for _ in range(2):  # the second call does not wait for the server again
            with pytest.raises(CollectionError, match=r"did not answer within 1 seconds"):
                blobs.put("pictures", "aa", b"x")
        silent.settimeout(0.1)
        silent.accept()[0].close()
        with pytest.raises(TimeoutError):
            silent.accept()


def test_a_folder_that_cannot_be_used_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    blobs = Blobs.open(str(tmp_path / "file" / "below"))
    with pytest.raises(CollectionError, match="cannot be written to \\(Not a directory\\)"):
        blobs.put("pictures", "aa", b"x")
    assert blobs.get("pictures", "aa") is None and not blobs.has("pictures", "aa")
    full = Blobs.open("/proc/self/nowhere")
    with pytest.raises(CollectionError, match="cannot be written to"):
        full.put("pictures", "aa", b"x")


@pytest.mark.skipif(os.getuid() == 0, reason="root may read and write everything")
def test_a_folder_without_permission_is_one_clear_line(tmp_path: Path) -> None:
    blobs = Blobs.open(str(tmp_path / "b"))
    blobs.put("pictures", "aabb", b"x")
    folder = tmp_path / "b" / "pictures" / "aa"
    folder.chmod(0)
    try:
        for use in (lambda: blobs.get("pictures", "aabb"), lambda: list(blobs.list("pictures"))):
            with pytest.raises(CollectionError, match="Permission denied"):
                use()
        with pytest.raises(CollectionError, match="Permission denied"):
            blobs.put("pictures", "aabb", b"y")
    finally:
        folder.chmod(0o700)
