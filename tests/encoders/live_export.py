"""Export of PyTorch models: the vectors of the bundles equal the library's. `make test-models` runs these tests.

Last run on 29 November 2026 with torch 2.13, transformers 5.24 and sentence-transformers 6.2.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from commonplace.encoders.convert import Choice
from commonplace.errors import ModelError
from commonplace.export import export
from tests.encoders.test_convert import CLOSE, KINDS, TINY, library_vectors
from tests.encoders.tiny.inputs import TEXTS, pictures


@pytest.fixture(autouse=True)
def _full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMMONPLACE_PRECISION", "f32")
    assert os.environ.get("COMMONPLACE_TINY"), "run by `make test-models`"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "one_file"])
def test_an_exported_model_equals_the_original(kind: str, tmp_path: Path) -> None:
    made = export(str(TINY / kind), tmp_path / kind, kind, Choice())
    assert made.parity and min(made.parity.values()) > 1 - 1e-6
    expected = library_vectors(kind)
    if "document" in expected:
        assert made.bundle.text is not None
        assert np.abs(made.bundle.text.encode(TEXTS) - expected["document"]).max() < CLOSE
    if "image" in expected:
        assert made.bundle.image is not None
        assert np.abs(made.bundle.image.encode(pictures()) - expected["image"]).max() < CLOSE


@pytest.mark.parametrize(("precision", "least"), [("fp16", 0.9999), ("int8", 0.98)])
def test_smaller_weights_are_close_enough(precision: str, least: float, tmp_path: Path) -> None:
    full = export(str(TINY / "clip"), tmp_path / "full", "full", Choice())
    small = export(str(TINY / "clip"), tmp_path / "small", "small", Choice(precision))
    assert least < min(small.parity.values()) <= min(full.parity.values()) + 1e-6
    graphs = [sum(path.stat().st_size for path in made.bundle.folder.glob("*.onnx")) for made in (small, full)]
    assert graphs[0] < graphs[1]


def test_a_folder_without_a_model_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        export(str(tmp_path / "empty"), tmp_path / "made", "made", Choice())
    assert "\n" not in str(caught.value) and not (tmp_path / "made").exists()
