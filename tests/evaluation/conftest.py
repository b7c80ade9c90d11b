"""A small collection of real files, and a file of labelled queries about them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

import commonplace as cp

PUMP = """# Pumps

## The north pump

The north pump needs the blue seal. Change it every spring.

## The south pump

The south pump runs dry in August and has a brass valve.

![A red ball on white](pictures/ball.png)
"""

QUESTIONS: list[dict[str, Any]] = [
    {"id": "seal", "text": "Which seal does the north pump need?", "relevant": {"pumps.md#text=blue seal": 2}},
    {"id": "snow", "text": "winter storm blocks the road", "relevant": {"weather.txt": 1}},
    {"id": "ball", "text": "a red ball", "relevant": {"pumps.md#image": 1, "pictures/ball.png": 1}},
    {"id": "box", "image": "pictures/box.png", "relevant": {"pictures/box.png": 1}},
    {"id": "what", "image": "pictures/box.png", "relevant": {"weather.txt": 1}},
    {"id": "both", "text": "but red", "image": "pictures/box.png", "relevant": {"pictures/ball.png": 3}},
    {"id": "any", "text": "pumps and balls", "relevant": {"pumps.md": 1}},
]


def draw(path: Path, colour: str, shape: str = "ellipse") -> Path:
    image = Image.new("RGB", (200, 160), "white")
    getattr(ImageDraw.Draw(image), shape)((40, 20, 160, 140), fill=colour)
    image.save(path)
    return path


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("evaluation") / "notes"
    (root / "pictures").mkdir(parents=True)
    (root / "pumps.md").write_text(PUMP, encoding="utf-8")
    (root / "weather.txt").write_text("Snow fell on the mountains all night. The road was closed.", encoding="utf-8")
    (root / "zh.txt").write_text("北边的水泵需要蓝色的密封圈。南边的水泵八月会干转。", encoding="utf-8")
    draw(root / "pictures" / "ball.png", "red")
    draw(root / "pictures" / "box.png", "blue", "rectangle")
    return root


@pytest.fixture(scope="session")
def kb(folder: Path) -> Iterator[cp.Collection]:
    """A collection of five documents, which no test changes."""
    with cp.open(folder.parent / "kb") as collection:
        report = collection.add(folder, workers=1, progress=False)
        assert report.added == 5 and not report.failed
        yield collection


@pytest.fixture
def write(folder: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Path]]:
    """Write lines (objects or raw strings) to a file next to the documents, so that paths are relative to it."""
    path = folder / f"{abs(hash(request.node.nodeid))}.jsonl"

    def lines(*values: Any) -> Path:
        text = "\n".join(value if isinstance(value, str) else json.dumps(value) for value in values)
        path.write_text(text + "\n", encoding="utf-8")
        return path

    yield lines
    path.unlink(missing_ok=True)
