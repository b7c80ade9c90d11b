"""The examples of docs/how-to/evaluate.md work: its queries load, its Python runs, its names exist."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import commonplace as cp
from commonplace import evaluation
from commonplace.evaluation import Run, evaluate
from tests.conftest import ROOT

from .conftest import QUESTIONS

PAGE = (ROOT / "docs" / "how-to" / "evaluate.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    (code,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return str(code)


def test_the_documented_queries_and_python_run(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "notes")
    (tmp_path / "questions.jsonl").write_text(block("json"), encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", block("python")], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    run = Run.load(tmp_path / "fused.json")
    assert [result.direction for result in run.results] == ["text->text", "text->image", "image->image", "composed"]
    assert run.table() in done.stdout and "| change" in done.stdout


def test_every_row_of_the_table_and_every_direction_is_explained(kb: cp.Collection, write: object) -> None:
    run = evaluate(kb, write(*QUESTIONS), progress=False)  # type: ignore[operator]
    for name in run.measures:
        assert f"`{re.sub('@[0-9]+', '@k', name)}`" in PAGE, name
    for direction in evaluation.DIRECTIONS:
        assert f"`{direction}`" in PAGE


@pytest.mark.parametrize("name", evaluation.__all__)
def test_public_names_are_there_and_explained(name: str) -> None:
    value = getattr(evaluation, name)
    assert name == "DIRECTIONS" or (value.__doc__ or "").strip()
