"""The inference runtime uses no network and writes only to its cache folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from commonplace.encoders.convert import Choice, convert
from commonplace.encoders.runtime import PRECISIONS, _measured_precision

CODE = """
import sys
reached = []
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "os.fork", "subprocess.Popen"):
        reached.append((event, str(arguments)))
sys.addaudithook(watch)
from commonplace.encoders import Bundle
bundle = Bundle()
import numpy as np
bundle.text.encode(["a dog"])
bundle.image.encode([np.zeros((8, 8, 3), np.uint8)])
print(reached, [name for name in sys.modules if name.startswith("openvino_telemetry")])
"""


def run(home: Path, **environment: str) -> str:
    clean = {
        name: value for name, value in os.environ.items() if name not in ("COMMONPLACE_CACHE", "XDG_CACHE_HOME", "CI")
    }
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env={**clean, "HOME": str(home), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_encoding_uses_no_network_and_writes_only_its_cache(tmp_path: Path) -> None:
    assert run(tmp_path) == "[] []"
    assert {path.name for path in tmp_path.iterdir()} == {".cache"}
    assert list((tmp_path / ".cache" / "commonplace" / "compiled").iterdir())


def test_encoding_works_without_a_writable_home(tmp_path: Path) -> None:
    assert run(tmp_path, COMMONPLACE_CACHE="/proc/none") == "[] []"
    assert list(tmp_path.iterdir()) == []


def test_a_compiled_model_of_one_precision_is_not_used_for_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenVINO's cache does not tell them apart: on a processor with AMX the second one gave NaN or an error."""
    monkeypatch.setenv("COMMONPLACE_CACHE", str(tmp_path))
    folder = Path(__file__).parent / "tiny" / "models" / "roberta"
    texts = ["a", "a b c d e f g h i", "long " * 30]
    vectors = []
    for number, precision in enumerate(("f32", "", "f32")):
        monkeypatch.setenv("COMMONPLACE_PRECISION", precision)
        tower = convert(folder, tmp_path / f"bundle{number}", "roberta", Choice()).text
        vectors.append(tower.encode(texts))
    assert np.array_equal(vectors[0], vectors[2])
    assert np.allclose(vectors[0], vectors[1], atol=0.05)
    compiled = {folder.name for folder in (tmp_path / "commonplace" / "compiled").iterdir()}
    assert compiled == {"f32", _measured_precision().replace(" ", "-")}


PRECISION = "from commonplace.encoders import runtime; print(runtime._precision())"


def test_the_faster_precision_is_measured_once_and_kept(tmp_path: Path) -> None:
    """A stored precision is used without measuring; an unknown one is measured again."""

    def precision(**environment: str) -> str:
        clean = {name: value for name, value in os.environ.items() if name != "COMMONPLACE_PRECISION"}
        variables = {**clean, "COMMONPLACE_CACHE": str(tmp_path), **environment}
        done = subprocess.run(
            [sys.executable, "-c", PRECISION], env=variables, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    first = precision()
    (kept,) = (tmp_path / "commonplace").glob("precision-*")
    assert kept.read_text() == first and first in PRECISIONS
    kept.write_text("bf16")
    assert precision() == "bf16" and precision(COMMONPLACE_PRECISION="f32") == "f32"
    kept.write_text("fp8")
    assert precision() in PRECISIONS and kept.read_text() != "fp8"
