"""Files that are added to a collection: new, changed, moved, damaged, unreadable."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import commonplace as cp
from commonplace.errors import ModelError
from tests.collection.common import draw, names
from tests.readers.make import Page, pdf
from tests.tiny import tiny_bundle


def test_adding_again_reads_only_new_files(kb: cp.Collection, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = kb.add(folder)
    assert (report.added, report.changed, report.unchanged) == (0, 0, 5)
    ids = {document.path: document.id for document in kb.documents()}
    (folder / "weather.txt").write_text("The sun shone on the beach all day. Everybody swam.", encoding="utf-8")
    report = kb.add(folder)
    assert (report.added, report.changed, report.unchanged) == (0, 1, 4)
    assert {document.path: document.id for document in kb.documents()} == ids
    assert names(kb.search("sunbathing", k=1)) == ["weather.txt"]
    assert "Snow" not in " ".join(hit.item.text or "" for hit in kb.search("snow on the mountains", k=20))


def test_a_changed_picture_changes_the_document_that_includes_it(kb: cp.Collection, folder: Path) -> None:
    draw(folder / "pictures" / "ball.png", "green", "rectangle")
    report = kb.add(folder)
    assert report.changed == 2  # the picture, and the Markdown page that includes it


def test_moved_and_copied_files_are_not_encoded_again(
    kb: cp.Collection, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    for tower in (kb.space.bundle.text, kb.space.bundle.image):
        original = tower.encode

        def counting(views, *rest, original=original):  # type: ignore[no-untyped-def]
            encoded.append(len(views))
            return original(views, *rest)

        monkeypatch.setattr(tower, "encode", counting)
    shutil.move(folder / "weather.txt", folder / "renamed.txt")
    shutil.copy(folder / "pictures" / "box.png", folder / "pictures" / "copy.png")
    report = kb.add(folder)
    assert (report.moved, report.added, report.failed) == (1, 1, [])
    assert encoded == []
    paths = {Path(document.path).name for document in kb.documents()}
    assert "renamed.txt" in paths and "weather.txt" not in paths and {"box.png", "copy.png"} <= paths
    assert names(kb.search("snow on the road", k=1)) == ["renamed.txt"]


def test_bad_files_are_listed_with_reasons_and_the_rest_is_added(tmp_path: Path, folder: Path) -> None:
    (folder / "empty.txt").write_bytes(b"")
    (folder / "truncated.jpg").write_bytes(_jpeg()[:400])
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7\nnothing here")
    (folder / "binary.txt").write_bytes(bytes(range(256)) * 40)
    os.symlink(folder / "loop", folder / "loop")
    with cp.open(tmp_path / "kb") as kb:
        report = kb.add(folder, tmp_path / "absent")
        assert report.added == 5
        reasons = {Path(path).name: reason for path, reason in report.failed}
        assert {"empty.txt", "truncated.jpg", "broken.pdf", "binary.txt", "absent"} <= set(reasons)
        assert all("\n" not in reason and reason for reason in reasons.values())
        failed = kb.documents(failed=True)
        assert {Path(document.path).name for document in failed} >= {
            "empty.txt",
            "truncated.jpg",
            "broken.pdf",
            "binary.txt",
        }
        assert all(document.error and document.items == 0 for document in failed)
        again = kb.add(folder)
        assert (again.added, again.changed) == (0, 0)
        (folder / "empty.txt").write_text("no longer empty: the gauge reads nine bar")
        assert kb.add(folder).changed == 1
        assert names(kb.search("gauge", k=1)) == ["empty.txt"]


def test_a_link_to_an_added_file_is_not_a_second_document(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import commonplace.ingest as ingest

    walk = ingest.walk

    def swap(*arguments: object, **options: object) -> object:
        result = walk(*arguments, **options)  # type: ignore[arg-type]
        (folder / "weather.txt").unlink()
        (folder / "weather.txt").symlink_to("pumps.md")
        return result

    monkeypatch.setattr(ingest, "walk", swap)
    with cp.open(tmp_path / "kb") as kb:
        kb.add(folder)
        assert len(kb.documents()) == 4


def test_files_of_unsupported_types_are_counted(tmp_path: Path, folder: Path) -> None:
    (folder / "a.exe").write_bytes(b"MZ")
    with cp.open(tmp_path / "kb") as kb:
        report = kb.add(folder)
    assert report.skipped == {".exe": 1} and "1 of unsupported types (1 .exe)" in str(report)


def test_a_file_that_becomes_unreadable_keeps_its_earlier_content(kb: cp.Collection, folder: Path) -> None:
    (folder / "weather.txt").write_bytes(b"")
    report = kb.add(folder)
    assert [Path(path).name for path, _ in report.failed] == ["weather.txt"]
    assert names(kb.search("snow on the road", k=1)) == ["weather.txt"]
    (row,) = kb.documents(failed=True)
    assert "kept" in (row.error or "") and row.items == 1


DIE = """
import os, signal, sys
import commonplace as cp
from commonplace.space import Space
encode = Space.encode
def deadly(self, parsed, known):
    if any(one.document.path.endswith("poison.txt") for one in parsed):
        os.kill(os.getpid(), signal.SIGKILL)  # as the system does for want of memory
    return encode(self, parsed, known)
Space.encode = deadly
with cp.open(sys.argv[1]) as kb:
    print(kb.add(sys.argv[2], progress=False, workers=1, retry_failed=len(sys.argv) > 3).failed)
"""


def test_a_file_that_crashes_the_process_is_not_retried_forever(tmp_path: Path, tiny: Path, folder: Path) -> None:
    (folder / "poison.txt").write_text("The gauge reads nine bar.")
    with cp.open(tmp_path / "kb", model=tiny):
        pass

    def add(*more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", DIE, str(tmp_path / "kb"), str(folder), *more]
        return subprocess.run(command, capture_output=True, text=True)

    assert [add().returncode for _ in range(3)] == [-9] * 3  # in a batch with others; then twice alone, after them
    with cp.open(tmp_path / "kb") as kb:
        assert len(kb.documents()) == 5
    done = add()
    assert done.returncode == 0 and "crashed the process 3 times" in done.stdout and "poison.txt" in done.stdout
    with cp.open(tmp_path / "kb") as kb:
        assert [Path(document.path).name for document in kb.documents(failed=True)] == ["poison.txt"]
        again = kb.add(folder)
        assert again.unchanged == 5 and "crashed the process 3 times" in again.failed[0][1]
        assert not list(kb.folder.glob("*.flight"))
    assert add("retry").returncode == -9  # asked for
    with cp.open(tmp_path / "kb") as kb:
        assert kb.add(folder, retry_failed=True).changed == 1
        assert names(kb.search("The gauge reads nine bar", k=1)) == ["poison.txt"]


def test_a_failed_file_is_named_each_time_and_a_part_is_read_again(tmp_path: Path, tiny: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 and nothing else")
    (folder / "good.txt").write_text("The seal is blue.")
    (folder / "slow.pdf").write_bytes(pdf(*(Page([(50, 700, 12, f"Page {n} is read.")]) for n in range(1, 5))))
    with cp.open(tmp_path / "kb", model=tiny) as kb:
        first = kb.add(folder, time_limit=1e-6)
        assert (first.added, len(first.failed), len(first.partial)) == (2, 1, 1)
        assert first.partial[0][1].startswith("1 of 4 pages were read: the time limit of 1e-06 s was reached")
        second = kb.add(folder)
        assert (second.unchanged, second.failed) == (2, first.failed)
        assert "--retry-failed" in second.notes[-1]
        third = kb.add(folder, retry_failed=True)
        assert (third.changed, third.unchanged, third.failed, third.partial) == (1, 1, first.failed, [])
        assert [item.span.page for item in kb.items(kb.documents()[2])] == [1, 2, 3, 4]
        for limit in (0, -1, float("nan"), float("inf"), "a minute"):
            with pytest.raises(cp.QueryError, match="give seconds above 0"):
                kb.add(folder, time_limit=limit)  # type: ignore[arg-type]


def _jpeg() -> bytes:
    import io

    out = io.BytesIO()
    Image.effect_noise((200, 200), 50).convert("RGB").save(out, "JPEG")
    return out.getvalue()


def test_collections_may_be_searched_while_another_process_adds(
    kb: cp.Collection, folder: Path, tmp_path: Path
) -> None:
    other = cp.open(kb.folder)
    (folder / "late.txt").write_text("A zeppelin landed in the garden.", encoding="utf-8")
    other.add(folder)
    assert names(kb.search("zeppelin", k=1)) == ["late.txt"]


def test_vectors_that_are_not_numbers_are_refused_with_the_files_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    for name in ("fine", "cursed", "also"):
        (notes / f"{name}.txt").write_text(f"The {name} gauge reads nine bar.", encoding="utf-8")
    with cp.open(tmp_path / "kb") as kb:
        encode = kb.space.bundle.text.encode

        def broken(texts: Sequence[str], role: str = "document") -> np.ndarray:
            rows = encode(texts, role)  # type: ignore[arg-type]
            rows[["cursed" in text for text in texts]] = np.nan
            return rows

        monkeypatch.setattr(kb.space.bundle.text, "encode", broken)
        report = kb.add(notes, workers=1, progress=False)
        assert report.added == 2
        ((path, reason),) = report.failed
        assert path.endswith("cursed.txt") and "not numbers" in reason
        failed = {Path(document.path).name: document.status for document in kb.documents()}
        assert failed["cursed.txt"] == "failed" and not kb.store.counts()["documents"].keys() - {"ok", "failed"}
        assert {Path(hit.item.document.path).name for hit in kb.search("gauge")} == {"fine.txt", "also.txt"}
        with pytest.raises(ModelError, match="not numbers"):
            kb.search("a cursed question")


def test_unchanged_files_are_read_again_with_force(
    kb: cp.Collection, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forced reading adds content that an older version did not store; nothing is embedded again."""
    before = {item.id for document in kb.documents() for item in kb.items(document)}
    assert kb.space.text is not None and kb.space.image is not None

    def never(*_: object) -> np.ndarray:
        raise AssertionError("nothing needs embedding")

    with monkeypatch.context() as patch:
        patch.setattr(type(kb.space.text), "encode", never)
        patch.setattr(type(kb.space.image), "encode", never)
        report = kb.add(folder, force=True)
    assert report.changed == len(kb.documents()) and not report.unchanged
    assert {item.id for document in kb.documents() for item in kb.items(document)} == before
    assert kb.add(folder).unchanged == report.changed


def test_missing_files_are_counted_for_paths_in_a_list(folder: Path, tmp_path: Path) -> None:
    with cp.open(tmp_path / "kb", model=tiny_bundle(tmp_path / "tiny")) as kb:
        kb.add(folder)
        (folder / "zh.txt").unlink()
        assert kb.add(folder).missing == kb.add([folder]).missing == kb.add(iter([str(folder)])).missing == 1
        assert kb.add([folder / "pumps.md"]).missing == 0
