"""Plots: the files, the numbers in them, and the errors."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import commonplace as cp
from commonplace.errors import CommonplaceError, QueryError, ReadError
from commonplace.evaluation import Run, evaluate, plot
from commonplace.evaluation.plots import channel_scores, modality_gap, principal_plane, recall_curves, sample_vectors

from .conftest import QUESTIONS

EXTRA = "the extra: pip install -e '.[eval]'"


@pytest.fixture
def run(kb: cp.Collection, write: Callable[..., Path]) -> Run:
    return evaluate(kb, write(*QUESTIONS), k=3, progress=False)


def test_plots_are_reproducible(run: Run, kb: cp.Collection, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason=EXTRA)
    first = plot(run, tmp_path / "deep" / "a", collection=kb)
    assert [path.name for path in first] == ["recall.svg", "scores.svg", "evidence.svg", "space.svg"]
    second = plot(run, tmp_path / "b", collection=kb)
    for path, again in zip(first, second, strict=True):
        assert path.read_bytes() == again.read_bytes() and path.read_text(encoding="utf-8").startswith("<?xml")


def test_png_pictures_show_something(run: Run, kb: cp.Collection, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason=EXTRA)
    for path in plot(run, tmp_path, collection=kb, format="png"):
        with Image.open(path) as image:
            assert len(image.convert("RGB").getcolors(1 << 20) or ()) > 20, path


def test_plots_without_data_are_left_out(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason=EXTRA)
    assert len(plot(run, tmp_path)) == 3
    bare = replace(run, results=tuple(replace(result, hits=()) for result in run.results))
    assert [path.name for path in plot(bare, tmp_path)] == ["recall.svg"]
    result = replace(run, results=run.results[3:4])
    with cp.open(tmp_path / "empty") as empty:
        assert len(plot(result, tmp_path, collection=empty)) == 3


def test_a_single_item_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason=EXTRA)
    (tmp_path / "a.txt").write_text("A lighthouse keeper.", encoding="utf-8")
    (tmp_path / "q.jsonl").write_text('{"text": "lighthouse", "relevant": {"a.txt": 1}}', encoding="utf-8")
    with cp.open(tmp_path / "kb") as kb:
        kb.add(tmp_path / "a.txt", workers=1, progress=False)
        run = evaluate(kb, tmp_path / "q.jsonl", k=1, progress=False)
        assert len(plot(run, tmp_path / "plots", collection=kb)) == 3  # two vectors span no plane


def test_invalid_plot_options_are_refused(
    run: Run, kb: cp.Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(QueryError, match="format is 'gif'"):
        plot(run, tmp_path, format="gif")  # type: ignore[arg-type]
    with pytest.raises(QueryError, match="sample is 0"):
        plot(run, tmp_path, sample=0)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(CommonplaceError, match=r"commonplace-rag\[eval\]"):
        plot(run, tmp_path)


def test_another_model_a_missing_picture_and_a_bad_folder_are_refused(
    run: Run, kb: cp.Collection, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib", reason=EXTRA)
    with pytest.raises(QueryError, match="the run was made with the model"):
        plot(replace(run, model={**run.model, "fingerprint": "0"}), tmp_path, collection=kb)
    lost = replace(run, results=(replace(run.results[3], image=str(tmp_path / "gone.png")),))
    with pytest.raises(ReadError, match=r"gone\.png, is gone"):
        plot(lost, tmp_path, collection=kb)
    (tmp_path / "file").touch()
    with pytest.raises(CommonplaceError, match="cannot be written"):
        plot(run, tmp_path / "file")


# --- the numbers behind them ---------------------------------------------------------------------------------


def test_curves_end_at_the_measured_recall(run: Run) -> None:
    for direction in run.directions:
        curves = recall_curves(run, direction)
        assert curves.shape == (len(run.values("recall@3", direction)), 3)
        assert curves[:, 0] == pytest.approx(run.values("recall@1", direction))
        assert curves[:, 2] == pytest.approx(run.values("recall@3", direction))


def test_channel_scores_are_those_of_the_breakdown(run: Run) -> None:
    channels = channel_scores(run)
    sure = {"lexical", "text->text", "text->image", "image->image"}
    # Whether a text is among a picture's three is up to the model. Words beside a picture may change it.
    assert sure <= set(channels) <= sure | {"image->text", "changed->image"}
    lines = [
        line
        for result in run.results
        for hit in result.hits
        for line in hit.breakdown
        if line.weight > 0 and line.rank > 0
    ]
    assert sum(map(len, channels.values())) == len(lines)
    assert all(np.isfinite(value) for rows in channels.values() for _, value, _ in rows)
    best = max((hit for result in run.results if result.id == "box" for hit in result.hits), key=lambda hit: hit.grade)
    (line,) = (line for line in best.breakdown if line.channel == "image->image")
    assert (line.score, line.contribution / line.weight, True) in channels["image->image"]
    assert line.contribution > 0  # log-odds: for


def test_vectors_come_by_role_and_modality(run: Run, kb: cp.Collection) -> None:
    groups = sample_vectors(run, kb, 1000, 0)
    counts = kb.status()["vectors"]
    assert {name: len(rows) for name, rows in groups.items()} == {
        "stored text": counts["text"], "stored image": counts["image"], "query text": 5, "query image": 3,
    }  # fmt: skip
    for rows in groups.values():
        assert np.linalg.norm(rows, axis=1) == pytest.approx(1, abs=1e-3)
    few = sample_vectors(run, kb, 2, 0)
    assert len(few["stored text"]) == len(few["stored image"]) == 2
    assert all(np.array_equal(few[name], rows) for name, rows in sample_vectors(run, kb, 2, 0).items())


def test_the_plane_keeps_the_largest_variance() -> None:
    random = np.random.default_rng(0)
    flat = random.normal(size=(50, 2)) * (3, 1)
    turn, _ = np.linalg.qr(random.normal(size=(8, 8)))
    vectors = (flat @ turn[:2] + 5).astype(np.float32)  # a plane, somewhere in eight dimensions
    points, shares = principal_plane(vectors)
    assert shares[0] > shares[1] and sum(shares) == pytest.approx(1, abs=1e-5)
    apart = np.linalg.norm(flat[:, None] - flat[None], axis=2)
    assert np.linalg.norm(points[:, None] - points[None], axis=2) == pytest.approx(apart, abs=1e-4)


def test_the_gap_is_the_distance_of_the_means() -> None:
    vectors = np.array([[1, 0], [0, 1]], np.float32)
    assert modality_gap(vectors, -vectors) == pytest.approx(np.sqrt(2))
    assert modality_gap(vectors, vectors[::-1]) == 0
