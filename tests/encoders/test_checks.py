"""A model's files are compared with their checksums once for each state of a file."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import commonplace as cp
from commonplace.encoders import checks
from commonplace.errors import ModelError
from tests.tiny import tiny_bundle


class Gate:
    """Computes real checksums, but waits until it is opened; counts them."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.made: Counter[str] = Counter()
        self.real = checks.sha256

    def __call__(self, path: Path) -> str:
        self.made[path.name] += 1
        assert self.opened.wait(60)
        return self.real(path)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    counted = Gate()
    monkeypatch.setattr(checks, "sha256", counted)
    yield counted
    counted.opened.set()


def flip(path: Path) -> None:
    """Change one weight in place: the file can still be run."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "snow.txt").write_text("Snow fell on the mountains all night.")
    (tmp_path / "pump.txt").write_text("The north pump needs the blue seal.")
    return tiny_bundle(tmp_path / "model")


def test_all_collections_share_the_results(tmp_path: Path, model: Path, gate: Gate) -> None:
    gate.opened.set()
    with cp.open(tmp_path / "one", model=model) as first, cp.open(tmp_path / "two", model=model) as second:
        for kb in (first, second, first):
            assert kb.search("snow") == []
        for kb in (first, second):
            assert kb.add(tmp_path / "snow.txt", workers=1, progress=False).added == 1
            assert kb.search("snow")
        first.add(tmp_path / "pump.txt", workers=1, progress=False)
        assert first.search("pump")
    assert gate.made == dict.fromkeys(("text.onnx", "image.onnx", "tokenizer.json"), 1)


def test_the_first_search_and_every_add_name_the_damaged_file(tmp_path: Path, model: Path, gate: Gate) -> None:
    gate.opened.set()
    flip(model / "text.onnx")
    with cp.open(tmp_path / "kb", model=model) as kb:
        for _ in range(2):
            with pytest.raises(ModelError, match=r"text\.onnx is damaged .*: install the model again"):
                kb.search("snow")
        with pytest.raises(ModelError, match=r"text\.onnx is damaged"):
            kb.add(tmp_path / "snow.txt", workers=1, progress=False)
        flip(model / "text.onnx")  # repaired: a new state of the file
        assert kb.add(tmp_path / "snow.txt", workers=1, progress=False).added == 1
        assert kb.search("snow")
        (model / "text.onnx").rename(model / "away")
        with pytest.raises(ModelError, match=r"text\.onnx is missing"):
            kb.search("snow")


def test_right_states_are_remembered_for_later_processes(
    tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMMONPLACE_CACHE", str(tmp_path / "cache"))
    gate.opened.set()
    file = tmp_path / "model.onnx"
    file.write_bytes(b"one")
    right = gate.real(file)
    for _ in range(2):
        checks.FileChecks().check({file: right}, wait=True)
    assert gate.made[file.name] == 1
    file.write_bytes(b"two")
    for n in (2, 3):  # what is damaged is not remembered
        with pytest.raises(ModelError, match="damaged"):
            checks.FileChecks().check({file: right}, wait=True)
        assert gate.made[file.name] == n
    file.write_bytes(b"one")
    (tmp_path / "cache" / "commonplace" / "checksums.json").write_text("[")
    checks.FileChecks().check({file: right}, wait=True)


def test_an_add_waits_and_commits_nothing_with_a_damaged_model(tmp_path: Path, model: Path, gate: Gate) -> None:
    flip(model / "text.onnx")
    threading.Timer(0.3, gate.opened.set).start()
    with cp.open(tmp_path / "kb", model=model) as kb:
        for _ in range(4):  # the document is not counted as failed, however often it is tried
            with pytest.raises(ModelError, match="damaged"):
                kb.add(tmp_path / "snow.txt", workers=1, progress=False)
        assert kb.documents() == []
        flip(model / "text.onnx")
        assert kb.add(tmp_path / "snow.txt", workers=1, progress=False).added == 1


def test_a_change_of_contents_or_of_the_checksum_is_checked_again(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"one")
    results = checks.FileChecks()
    right = checks.sha256(file)
    results.check({file: right}, wait=True)
    with pytest.raises(ModelError, match="damaged"):
        results.check({file: "0" * 64}, wait=True)
    results.check({file: right}, wait=True)
    other = tmp_path / "b"
    other.write_bytes(b"two")
    os.utime(other, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    other.replace(file)  # same size and date
    with pytest.raises(ModelError, match="damaged"):
        results.check({file: right}, wait=True)
    file.unlink()
    file.mkdir()
    with pytest.raises(ModelError, match="missing"):
        results.check({file: right})
