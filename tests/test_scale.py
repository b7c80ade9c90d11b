"""The page on scale says what its scripts computed, and their arithmetic is that of the sources that it names."""

from __future__ import annotations

import importlib
import json
import math
from types import ModuleType

import numpy as np
import pytest

from tests.conftest import ROOT

RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "scale.md"


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> tuple[ModuleType, ModuleType]:
    """The modules ``scale`` and ``fanout``."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("scale"), importlib.import_module("fanout")


def test_the_page_shows_the_tables_of_its_script() -> None:
    page = PAGE.read_text(encoding="utf-8")
    lines = (RESULTS / "scale.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) > 20
    assert all(line in page for line in lines if line.startswith("|"))


def test_the_page_shows_the_summary_of_the_simulation() -> None:
    page = PAGE.read_text(encoding="utf-8")
    summary = (RESULTS / "fanout.md").read_text(encoding="utf-8").split("**As measured**")[0].splitlines()
    lines = [line for line in summary if line.startswith("|")]
    assert len(lines) == 7
    assert all(line in page for line in lines)


def test_the_page_names_its_sources(scripts: tuple[ModuleType, ModuleType]) -> None:
    scale, _ = scripts
    page = PAGE.read_text(encoding="utf-8")
    assert all(address in page for address in scale.SOURCES.values())


def test_the_tables_are_computed_from_what_is_kept(scripts: tuple[ModuleType, ModuleType]) -> None:
    scale, _ = scripts
    kept = json.loads((RESULTS / "scale.json").read_text(encoding="utf-8"))
    weights = scale.Weights(**kept["measured"]["weights"])
    for index, plans in kept["plans"].items():
        for name, values in plans.items():
            assert scale.plan(weights, scale.SIZES[name], index) == pytest.approx(values)


@pytest.mark.parametrize(
    ("gib", "nodes"),
    [(4, (1, 2, 8)), (12, (1, 4, 16)), (40, (3, 4, 16)), (100, (4, 8, 32)), (600, (10, 16, 64)), (3000, (24, 32, 128))],
)
def test_query_nodes_follow_the_sizing_tool(
    scripts: tuple[ModuleType, ModuleType], gib: int, nodes: tuple[int, int, int]
) -> None:
    scale, _ = scripts
    assert scale.query_nodes(gib * 1024**3) == nodes


def test_a_query_waits_for_the_slowest_node(scripts: tuple[ModuleType, ModuleType]) -> None:
    _, fanout = scripts

    def node(draw: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
        return draw.random(shape)

    for nodes in (1, 4, 32):
        slowest = fanout.fan_out(node, nodes, np.random.default_rng(0), queries=20_000)
        assert slowest.mean() == pytest.approx(nodes / (nodes + 1), abs=0.01)  # the largest of n uniform numbers


def test_a_hedged_query_is_never_slower_than_its_limit_and_an_answer(scripts: tuple[ModuleType, ModuleType]) -> None:
    _, fanout = scripts

    def node(draw: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
        return np.where(draw.random(shape) < 0.02, 100.0, 1.0)

    plain = fanout.fan_out(node, 50, np.random.default_rng(0), queries=5_000)
    hedged = fanout.fan_out(node, 50, np.random.default_rng(0), hedge_after=2.0, queries=5_000)
    assert np.mean(plain == 100.0) == pytest.approx(1 - 0.98**50, abs=0.03)
    assert np.mean(hedged == 100.0) == pytest.approx(1 - (1 - 0.02**2) ** 50, abs=0.01)
    assert set(np.unique(hedged)) == {1.0, 3.0, 100.0}


def test_the_models_have_the_quantiles_of_the_node(scripts: tuple[ModuleType, ModuleType]) -> None:
    _, fanout = scripts
    latencies = np.exp(np.random.default_rng(0).normal(1.0, 0.5, 20_000))
    draw = np.random.default_rng(1)
    for name in ("as measured", "lognormal"):
        answers = fanout.models(latencies)[name](draw, (1, 100_000))
        assert np.median(answers) == pytest.approx(1.0, abs=0.02)
        assert np.quantile(answers, 0.95) == pytest.approx(math.exp(0.5 * 1.6449), rel=0.03)
