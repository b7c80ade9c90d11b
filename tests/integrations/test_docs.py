"""The guide to the frameworks is right: its code runs, and each example prints what it finds."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

import commonplace as cp
from tests.conftest import ROOT
from tests.integrations.conftest import colour

GUIDE = ROOT / "docs" / "how-to" / "frameworks.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    ("framework", "expected"),
    [
        ("langchain_core", ["north pump needs", "dog.jpg", "Pump 3", "The yard is closed."]),
        ("llama_index", ["TextNode", "pumps.md", "ImageNode", "dog.jpg"]),
        ("haystack", ["Pump 3 needs the blue seal. record:"]),
    ],
)
def test_documented_python_runs(framework: str, expected: list[str], tmp_path: Path) -> None:
    if find_spec(framework) is None:
        pytest.skip(f"{framework} is not installed (make test-frameworks)")
    (code,) = (code for code in EXAMPLES if f"{framework.removesuffix('_core')}" in code)
    for name in ("papers", "photos"):
        (tmp_path / name).mkdir()
    (tmp_path / "papers" / "pumps.md").write_text("The north pump needs the blue seal.", encoding="utf-8")
    Image.fromarray(colour(120, 60, 20)).save(tmp_path / "photos" / "dog.jpg")
    with cp.open(tmp_path / ".commonplace") as kb:
        kb.add(tmp_path / "papers", tmp_path / "photos", workers=1, progress=False)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for part in expected:
        assert part in done.stdout
