"""A few kills and a little damage; `make kills` does hundreds and writes the table."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.kills.damage import Damage
from tests.kills.harness import Kills, choose


@pytest.fixture(autouse=True)
def _many_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore the normal options afterwards."""
    from commonplace import migrate
    from commonplace.store import LocalStore

    monkeypatch.setattr(migrate, "PAGE", migrate.PAGE)
    defaults = LocalStore.__init__.__kwdefaults__
    monkeypatch.setitem(defaults, "options", defaults["options"])


def test_a_kill_at_a_write_loses_no_acknowledged_change(tmp_path: Path) -> None:
    kills = Kills(tmp_path / "kills")
    if kills.shim is None:
        pytest.skip("write points are counted with a C compiler on Linux")
    points = kills.count()
    assert {point.step for point in points} >= {"open", "add", "put", "remove", "migrate", "vacuum", "restore"}
    for number, point in enumerate(choose([point for point in points if point.step != "open"], 3, seed=7)):
        kills.kill_at(point, torn=number % 2 == 0)


def test_damage_to_any_file_is_never_silent(tmp_path: Path) -> None:
    damage = Damage(tmp_path / "damage")
    draw = random.Random(3)
    outcomes = {
        (str(file), how): damage.inflict(file, how, draw)
        for file in damage.files
        for how in ("flip", "cut", "taken away")
    }
    for name in ("collection.db", "collection.db-wal"):
        assert outcomes[f"kb/{name}", "cut"] != "without effect" != outcomes[f"kb/{name}", "taken away"]
    for name in ("text.onnx", "image.onnx", "tokenizer.json"):  # bundle.json has no checksum: a digit may be another
        assert outcomes[f"one/{name}", "flip"] != "without effect"
