"""Files behind URLs: listed and fetched with fsspec, skipped while unchanged, and kept apart from records."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import commonplace as cp
from commonplace.ingest import RemoteFile, fetch, walk_urls
from commonplace.readers.parts import MAX_BYTES
from tests.encoders.toys import Colours, Words

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed (extra dev)")
MODEL = cp.Model(text=Words(), image=Colours(), name="toy")


@pytest.fixture
def memory() -> Iterator[Any]:
    """The file system ``memory://``, empty before and after."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    yield system
    system.store.clear()


@pytest.fixture
def kb(tmp_path: Path) -> Iterator[cp.Collection]:
    with cp.open(tmp_path / "kb", model=MODEL) as opened:
        yield opened


def picture() -> bytes:
    from io import BytesIO

    from PIL import Image

    buffer = BytesIO()
    Image.new("RGB", (80, 60), "red").save(buffer, "PNG")
    return buffer.getvalue()


def test_a_folder_behind_a_url_is_added_and_searched(memory: Any, kb: cp.Collection) -> None:
    memory.pipe("/reports/pumps.md", b"# Pumps\n\nThe north pump needs the blue seal.")
    memory.pipe("/reports/2024/dog.png", picture())
    memory.pipe("/reports/.hidden/secret.md", b"hidden")
    memory.pipe("/reports/node_modules/readme.md", b"vendored")
    memory.pipe("/reports/program.exe", b"MZ")
    memory.pipe("/reports/LICENSE", b"no ending")
    report = kb.add("memory://reports")
    assert (report.added, report.failed) == (2, []) and report.skipped == {".exe": 1, "no ending": 1}
    assert [document.path for document in kb.documents()] == [
        "memory://reports/2024/dog.png",
        "memory://reports/pumps.md",
    ]
    hit = kb.search("north pump seal", k=1)[0]
    document = hit.item.document
    assert document.path == "memory://reports/pumps.md" and document.uri == document.path
    assert document.is_remote and not document.is_file and not document.is_record
    assert document.media_type == "text/markdown" and document.metadata["dated"] == "file"
    assert kb.store.original(document.id) is None  # the content stays where it is
    assert "memory://reports/pumps.md" in kb and kb.find("memory://reports/pumps.md") == document


def test_only_what_changed_is_fetched_again(memory: Any, kb: cp.Collection) -> None:
    memory.pipe("/a.md", b"The first text.")
    memory.pipe("/b.md", b"The second text.")
    assert kb.add("memory://a.md", "memory://b.md").added == 2
    assert kb.add("memory://a.md", "memory://b.md").unchanged == 2
    memory.pipe("/b.md", b"The changed text of the same length"[:16])
    report = kb.add("memory://a.md", "memory://b.md")
    assert (report.unchanged, report.changed, report.added) == (1, 1, 0)
    assert kb.add("memory://a.md", force=True).changed == 1
    assert kb.maintenance.doctor() == []


def test_a_url_may_come_from_an_iterable(memory: Any, kb: cp.Collection) -> None:
    memory.pipe("/a.md", b"The first text.")
    assert kb.add(iter(["memory://a.md", cp.Record("A record.", id="r")])).added == 2


def test_a_file_url_is_the_path(tmp_path: Path, kb: cp.Collection) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "with space.md").write_text("The north pump.")
    assert kb.add((tmp_path / "docs").as_uri()).added == 1
    assert kb.add(tmp_path / "docs").unchanged == 1
    (document,) = kb.documents()
    assert document.is_file and document.path == str(tmp_path / "docs" / "with space.md")


def test_a_file_that_fails_is_kept_with_its_reason_and_tried_again(memory: Any, kb: cp.Collection) -> None:
    memory.pipe("/bad.pdf", b"%PDF-1.7 nothing")
    memory.pipe("/empty.md", b"")
    memory.pipe("/good.md", b"The north pump.")
    report = kb.add("memory://")
    assert report.added == 1
    assert sorted(name for name, _ in report.failed) == ["memory://bad.pdf", "memory://empty.md"]
    failed = kb.documents(failed=True)
    assert [document.path for document in failed] == ["memory://bad.pdf", "memory://empty.md"]
    assert all(document.is_remote and document.error for document in failed)
    again = kb.add("memory://")
    assert again.unchanged == 1 and again.failed == report.failed  # named each time
    memory.pipe("/empty.md", b"Now it has a text.")
    report = kb.add("memory://", retry_failed=True)
    assert report.changed == 1 and [name for name, _ in report.failed] == ["memory://bad.pdf"]


def test_an_earlier_content_is_kept_while_a_file_cannot_be_read(memory: Any, kb: cp.Collection) -> None:
    memory.pipe("/a.md", b"The north pump.")
    kb.add("memory://a.md")
    memory.pipe("/a.md", b"")
    kb.add("memory://a.md")
    document = kb.find("memory://a.md")
    assert isinstance(document, cp.Document) and document.status == "failed"
    assert (document.error or "").endswith("the earlier content is kept")
    assert kb.search("north pump", k=1)[0].item.document.id == document.id


def test_a_page_is_drawn_from_the_url(memory: Any, kb: cp.Collection) -> None:
    memory.pipe("/dog.png", picture())
    kb.add("memory://dog.png")
    item = kb.search("red", k=1)[0].item
    assert kb.page(item).note is None
    memory.rm("/dog.png")
    assert "drawn from the stored picture" in (kb.page(item).note or "")


def test_another_model_sees_the_picture_itself(memory: Any, kb: cp.Collection) -> None:
    memory.pipe("/dog.png", picture())
    memory.pipe("/cat.png", picture() + b"another file")
    kb.add("memory://")
    other = cp.Model(text=Words("2"), image=Colours(), name="other")
    migrated = kb.maintenance.migrate(other)
    assert (migrated.items, migrated.thumbnails, migrated.lost) == (2, 0, 0)


def test_a_folder_behind_a_url_is_removed(memory: Any, kb: cp.Collection) -> None:
    for name in ("/x/a.md", "/x/y/b.md", "/z.md"):
        memory.pipe(name, b"A text of its own: " + name.encode())
    kb.add("memory://", cp.Record("A record.", id="r", uri="memory://x/record"))
    assert kb.remove("memory://x") == 2  # a record is removed by its own name alone
    assert sorted(document.path for document in kb.documents()) == ["memory://x/record", "memory://z.md"]
    assert kb.search("text", path="memory://z.md")[0].item.document.path == "memory://z.md"


def test_bad_urls_fail_alone_in_one_line(memory: Any, kb: cp.Collection) -> None:
    memory.pipe("/a.md", b"The north pump.")
    urls = {
        "memory://absent.md": "no such file or folder; check the URL",
        "nothing://bucket/a.md": "Protocol not known: nothing",
        "zip://a.md::memory://b.zip": "chained URLs",
        "ftp://me:secret@127.0.0.1/a.md": "contains a password",
        "http://[::1/a.md": "chained URLs",
    }
    report = kb.add(*urls, "memory://a.md")
    assert report.added == 1 and len(report.failed) == len(urls)
    reasons = dict(report.failed)
    for url, reason in urls.items():
        name = url.replace("me:secret@", "…@")
        assert reason in reasons[name] and "\n" not in reasons[name], reasons
    assert "secret" not in str(report.failed)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)  # as where it is not installed
    ((url, reason),) = walk_urls(["s3://bucket/reports"]).problems
    assert url == "s3://bucket/reports" and "s3fs" in reason and "\n" not in reason
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    ((_, reason),) = walk_urls(["s3://bucket/reports"]).problems
    assert "run `pip install 'commonplace-rag[ray]'`" in reason


def test_a_size_over_the_limit_is_refused_before_it_is_fetched(memory: Any) -> None:
    memory.pipe("/a.md", b"0123456789")
    with pytest.raises(cp.ReadError, match="over the limit"):
        fetch(RemoteFile("memory://absent.md", MAX_BYTES + 1), MAX_BYTES)
    with pytest.raises(cp.ReadError, match="over the limit"):
        fetch(RemoteFile("memory://a.md"), 9)
    with pytest.raises(cp.ReadError, match="changed while it was read"):
        fetch(RemoteFile("memory://a.md", 9), 100)
    assert fetch(RemoteFile("memory://a.md"), 10) == b"0123456789"


def test_a_local_path_needs_no_fsspec(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("The north pump.")
    code = (
        "import sys; sys.modules['fsspec'] = None\nimport commonplace as cp\n"
        "with cp.open(sys.argv[1]) as kb: print(kb.add(sys.argv[2], sys.argv[3]))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "kb"), str(tmp_path / "a.md"), "s3://bucket/b.md"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "COMMONPLACE_OCR": "0"})
    assert done.stdout.strip() == "1 added, 1 failed", done.stderr
