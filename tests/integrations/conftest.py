"""A small real collection: texts, a picture, a page of a PDF."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import commonplace as cp


def pytest_configure(config: pytest.Config) -> None:
    """Let pytest-asyncio, where it is installed, run the asynchronous tests of the frameworks, which have no mark."""
    config.option.asyncio_mode = "auto"
    os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"  # read when Haystack is imported


def colour(red: int, green: int, blue: int) -> NDArray[np.uint8]:
    """Return a picture in one colour."""
    return np.full((48, 64, 3), (red, green, blue), np.uint8)


def library() -> list[cp.Record]:
    """Return four texts and two pictures."""
    return [
        cp.Record("The north pump needs the blue seal.", id="pump", metadata={"team": "water", "year": 2024}),
        cp.Record("Salaries are paid on the last day of the month.", id="pay", metadata={"team": "office"}),
        cp.Record("The boiler is descaled every spring.", id="boiler", metadata={"team": "water", "year": 2019}),
        cp.Record("Bicycles are kept in the yard.", id="yard", metadata={"team": "office", "year": 2021}),
        cp.Record(image=colour(200, 30, 30), text="a red square", id="red", metadata={"team": "paint"}),
        cp.Record(image=colour(30, 30, 200), text="a blue square", id="blue", metadata={"team": "paint"}),
    ]


@pytest.fixture
def kb(tmp_path: Path) -> Iterator[cp.Collection]:
    """An empty collection."""
    with cp.open(tmp_path / "kb") as collection:
        yield collection


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[cp.Collection]:
    """The collection of ``library()``; tests leave it as it is."""
    with cp.open(tmp_path_factory.mktemp("library") / "kb") as collection:
        collection.add(*library(), workers=1, progress=False)
        yield collection
