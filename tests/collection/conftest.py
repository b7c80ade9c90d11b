"""A folder of real files, and its collection."""

from __future__ import annotations

from pathlib import Path

import pytest

import commonplace as cp
from tests.collection.common import PUMP, draw
from tests.tiny import tiny_bundle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "notes"
    (root / "pictures").mkdir(parents=True)
    (root / "pumps.md").write_text(PUMP + "\n![A red ball on white](pictures/ball.png)\n", encoding="utf-8")
    (root / "weather.txt").write_text(
        "Snow fell on the mountains all night long. The road was closed.", encoding="utf-8"
    )
    (root / "zh.txt").write_text("北边的水泵需要蓝色的密封圈。南边的水泵八月会干转。", encoding="utf-8")
    draw(root / "pictures" / "ball.png", "red")
    draw(root / "pictures" / "box.png", "blue", "rectangle")
    return root


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def kb(tmp_path: Path, folder: Path) -> cp.Collection:
    collection = cp.open(tmp_path / "kb")
    report = collection.add(folder)
    assert not report.failed, report.failed
    return collection
