"""A model that comes as a Python package is found by its name, without a hub, and collections remember the name."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import commonplace as cp
from commonplace.encoders import find
from commonplace.encoders.hub import pull
from commonplace.encoders.packaged import packaged
from commonplace.errors import ModelError
from tests.tiny import tiny_bundle


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages that holds the model ``small``."""
    folder = tmp_path / "site"
    tiny_bundle(folder / "small_model")
    (folder / "small_model" / "__init__.py").write_text("raise RuntimeError('the code of the package was run')")
    information = folder / "small_model-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: small-model\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(
        "[commonplace.models]\nsmall = small_model\nlost = no_such_module\nempty = json\n"
    )
    monkeypatch.syspath_prepend(folder)
    importlib.invalidate_caches()
    packaged.cache_clear()
    yield folder
    packaged.cache_clear()


def test_a_packaged_model_is_found_by_name_and_remembered(site: Path, tmp_path: Path) -> None:
    assert packaged()["small"] == find("small") == site / "small_model"
    assert not {"lost", "empty"} & set(packaged())
    (tmp_path / "a.txt").write_text("The north pump needs the blue seal.")
    with cp.open(tmp_path / "kb", model="small") as kb:
        kb.add(tmp_path / "a.txt", progress=False)
        assert kb.space.place == "small"  # not a path: the environment may be made again elsewhere
    with cp.open(tmp_path / "kb") as kb:
        assert kb.space.bundle.name == json.loads((find("small") / "bundle.json").read_text())["name"]
        assert kb.search("blue seal")
    shutil.rmtree(site / "small_model")
    packaged.cache_clear()
    with pytest.raises(ModelError, match="no model 'small'"):
        cp.open(tmp_path / "kb")


def test_its_name_is_taken(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMMONPLACE_HOME", str(tmp_path / "home"))
    with pytest.raises(ModelError, match="another one with --name"):
        pull(str(site / "small_model"), name="small")


def test_the_list_names_it(site: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(site)!r}); from commonplace.cli import main; main(sys.argv[1:])"
    run = [sys.executable, "-c", code, "models"]
    listed = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert [line.split(maxsplit=1) for line in listed.splitlines()][-1] == ["small", "installed as a package"]
    listed = subprocess.run([*run, "--json"], capture_output=True, text=True, check=True).stdout
    assert "small" in json.loads(listed)["packaged"]
