"""The commands of docs/how-to/train.md run one after the other, at small size."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.training.make import scenes, table

torch = pytest.importorskip("torch", reason="the extra train is not installed (make test-train)")

HEADS = ["--steps", "150", "--hidden", "64", "--views", "1", "--heads", "1"]
TOWERS = ["--batch", "32", "--views", "1", "--generation-weight", ".1"]
TINY = ["--model", "resnet", "--epochs", "40", "--learning-rate", ".03"]
TWO = ["--epochs", "3", "--force"]  # too small to be significantly better


def quick(words: list[str]) -> list[str]:
    """Return options that make a documented training small."""
    if words[:2] == ["train", "project"]:
        return HEADS
    if words[:2] == ["train", "finetune"]:
        return [*TOWERS, *(TWO if "--text-model" in words else TINY)]
    return []


@pytest.mark.timeout(900)  # a minute alone, but five trainings on a crowded machine
def test_documented_commands_run(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from commonplace.cli import main

    table(tmp_path)
    for name, captions in scenes(tmp_path / "pictures"):
        (tmp_path / "pictures" / name).with_suffix(".txt").write_text("\n".join(captions))
    shutil.copytree(tiny, tmp_path / "resnet")  # a tower from the hub, in small
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    text = (ROOT / "docs" / "how-to" / "train.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    commands = [shlex.split(line, comments=True)[1:] for line in "".join(blocks).splitlines()]
    ran = 0
    for words in commands:
        if words[:2] == ["models", "export"]:  # needs the hub; tests/encoders/live_export.py exports
            continue
        assert main([*words, *quick(words)]) == 0, words
        ran += 1
    assert ran >= 8 and "red-circle-white.png" in capsys.readouterr().out
    assert (tmp_path / "my-model" / "README.md").is_file()
