"""What the tests share: the development data (skipped with a reason where absent) and small real files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from commonplace.encoders import Bundle
from commonplace.space import Space

ROOT = Path(__file__).parent.parent


def data(name: str) -> Path:
    """Return a folder of the development data, or skip the test that asks for it."""
    base = Path(os.environ.get("COMMONPLACE_DATA") or ROOT.parent / "shared" / "data")
    folder = base / name
    if not folder.exists():
        pytest.skip(f"the development data {name} is not here (COMMONPLACE_DATA)")
    return folder


@pytest.fixture(scope="session")
def space() -> Space:
    """The bundled model, loaded once."""
    return Space(Bundle())


@pytest.fixture(autouse=True)
def _quiet_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep the user's own settings out of the tests."""
    for name in ("COMMONPLACE_COLLECTION", "COMMONPLACE_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COMMONPLACE_OCR", "0")  # a second and more a worker; the tests that need it ask for it
    yield
