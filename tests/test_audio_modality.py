"""The worked example of a modality of one's own: recordings are found by a clip of them, whatever was done to it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import commonplace as cp
from commonplace.channels import forget_plugins
from commonplace.readers import formats
from tests.conftest import ROOT
from tests.readers.make_sound import melody, sound

pytest.importorskip("av", reason="needs the extra video")

EXAMPLE = ROOT / "examples" / "audio_modality"
RATE = 16_000


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the package where Python finds it, as an installer does."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    points = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    info = tmp_path / "site" / "commonplace_sounds-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: commonplace-sounds\nVersion: 0.1.0\n")
    lines = [f"[{group}]\n" + "\n".join(f"{a} = {b}" for a, b in named.items()) for group, named in points.items()]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.syspath_prepend(str(EXAMPLE))
    forget_plugins()
    formats._plugins.cache_clear()
    yield
    monkeypatch.undo()
    sys.modules.pop("commonplace_sounds", None)
    forget_plugins()
    formats._plugins.cache_clear()


def test_a_recording_is_found_by_a_clip_of_it(installed: None, tmp_path: Path) -> None:
    from commonplace_sounds import RATE as SAME_RATE
    from commonplace_sounds import listen

    assert SAME_RATE == RATE
    files = tmp_path / "files"
    files.mkdir()
    for seed in range(8):
        (files / f"{seed}.opus").write_bytes(sound(melody(seed), "opus", rate=RATE, tags={"title": f"Melody {seed}"}))
    (files / "pump.txt").write_text("The north pump needs the blue seal.")
    with cp.open(tmp_path / "kb") as kb:
        report = kb.add(files, workers=1, progress=False)
        assert (report.added, report.failed, report.partial) == (9, [], [])
        assert kb.status()["items"] == {"text": 9, "sound": 24}
        part = slice(int(3.3 * RATE), int(8.3 * RATE))
        noise = 0.05 * np.random.default_rng(1).standard_normal(5 * RATE).astype(np.float32)
        clips = {
            "clip": sound(melody(3)[part], rate=RATE),
            "quiet": sound(0.05 * melody(3)[part], rate=RATE),
            "noisy": sound(melody(3)[part] + noise, rate=RATE),
            "re-encoded": sound(melody(3)[part], "mp3", rate=RATE, bit_rate=24_000),
            "shifted": sound(melody(3, 0.5)[part], rate=RATE),
        }
        for name, content in clips.items():
            (tmp_path / name).write_bytes(content)
            hits = kb.search(cp.Query(others={"sound": listen(tmp_path / name)}), k=2)
            assert Path(hits[0].item.document.path).name == "3.opus", name
            assert hits[0].item.modality == "sound" and hits[0].breakdown[0].channel == "sound->sound"
            begins = {hit.item.span.begin for hit in hits}
            assert begins <= {2.5, 5.0}, name  # the clip began at 3.3
        by_words = kb.search("melody 5")  # what else is read of a recording stays
        assert Path(by_words[0].item.document.path).name == "5.opus" and by_words[0].item.modality == "text"


def test_the_example_touches_nothing_of_the_library() -> None:
    tree = ast.parse((EXAMPLE / "commonplace_sounds.py").read_text(encoding="utf-8"))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name for name in modules if (name or "").startswith("commonplace")} == {
        "commonplace.channels", "commonplace.readers", "commonplace.readers.sound", "commonplace.types"
    }  # fmt: skip
    assert not any(isinstance(node, ast.Attribute) and node.attr.startswith("_") for node in ast.walk(tree))
