"""A model without measurements: its background scores are estimated without labels, close to the labelled values."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import commonplace as cp
from commonplace.encoders import DEFAULT_BUNDLE, Bundle
from commonplace.encoders.default_calibration import PAIRS, drawn, estimated, line, write
from commonplace.retrieval import Calibration
from commonplace.retrieval.background import SETTING
from tests.conftest import data

LEARNED = ("means", "score_stats", "hubness", "calibration", "quality")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle of the shipped towers without measurements, but with estimates."""
    folder = tmp_path_factory.mktemp("models") / "bare"
    shutil.copytree(DEFAULT_BUNDLE, folder)
    spec = {name: value for name, value in Bundle(folder).spec.items() if name not in LEARNED}
    (folder / "bundle.json").write_text(json.dumps(spec))
    return write(Bundle(folder)).folder


def test_estimates_are_close_to_labelled_statistics(bare: Path) -> None:
    bundle, measured = Bundle(bare), Bundle().spec
    bundle.verify()
    result = bundle.spec["score_stats"]["text->text"]
    known = measured["score_stats"]["text->text"]
    assert result["unrelated"]["mean"] == pytest.approx(known["unrelated"]["mean"], abs=0.05)
    assert result["unrelated"]["std"] == pytest.approx(known["unrelated"]["std"], abs=0.04)
    assert result["related"]["mean"] == pytest.approx(known["related"]["mean"], abs=0.15)
    assert "estimated" not in result and bundle.spec["score_stats"]["text->image"]["estimated"]
    assert "not measured" in " ".join(bundle.spec["notes"])
    curve, true = Calibration.from_bundle(bundle.spec).curves["text->text"], Calibration.from_bundle(measured)
    at = np.array([0.0, 2.0, 4.0])
    assert np.abs(curve(at) - true.curves["text->text"](at)).max() < 3


def test_only_languages_that_the_model_reads_are_counted(bare: Path) -> None:
    with np.load(bare / "neutral.npz") as file:
        assert len(file["questions"]) == len(file["texts"]) == len(PAIRS["en"])  # it reads no Chinese


def test_the_curve_follows_the_pairs_and_falls_back_to_the_prior() -> None:
    draw = np.random.default_rng(0)
    chance = draw.normal(0, 1, 900)
    low, per = line(draw.normal(5, 1, 40), chance)
    assert 1.5 < -low / per < 3.5 and per > 1  # the log-odds change sign between the two
    _, flat = line(draw.normal(0, 1, 40), chance)
    assert 0.05 <= flat < 0.6 * per  # a model that does not separate the pairs gets small log-odds
    assert estimated(chance)["related"]["mean"] == pytest.approx(3.3, abs=0.3)


def test_drawn_pictures_are_pictures_and_always_the_same() -> None:
    first, second = drawn(), drawn()
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(p.dtype == np.uint8 and p.shape == (64, 64, 3) and p.std() > 5 for p in first)


def test_a_collections_pictures_replace_drawn_pictures(bare: Path, tmp_path: Path) -> None:
    photos = sorted((data("flickr8k") / "images").iterdir())[:24]
    with cp.open(tmp_path / "kb", model=bare) as kb:
        before = kb.calibration.score_stats["text->image"]
        kb.add(*photos, progress=False)
        after = kb.calibration.score_stats["text->image"]
        assert before != after and kb.store.setting(SETTING)
        _, rows = kb.store._partitions.stored("image")
        with np.load(bare / "neutral.npz") as file:
            asked = np.concatenate([file["image"], file["questions"]]).astype(np.float32)
        values = asked @ rows.T
        assert min(before.background_mean, float(values.mean())) - 1e-3 <= after.background_mean
        assert after.background_mean <= max(before.background_mean, float(values.mean())) + 1e-3
        assert abs(after.background_mean - values.mean()) < abs(before.background_mean - values.mean()) + 1e-3
    with cp.open(tmp_path / "kb", model=bare) as kb:  # and stay
        assert kb.calibration.score_stats["text->image"] == after


def test_words_and_pictures_are_comparable_and_unrelated_queries_score_low(bare: Path, tmp_path: Path) -> None:
    (tmp_path / "pump.txt").write_text("The north pump needs the blue seal and runs at nine bar.")
    (tmp_path / "bread.txt").write_text("Yeast makes the dough rise before it is baked.")
    names = (data("flickr8k") / "Flickr_8k.testImages.txt").read_text().split()[:20]
    with cp.open(tmp_path / "kb", model=bare) as kb:
        pictures = [data("flickr8k") / "images" / name for name in names]
        kb.add(tmp_path / "pump.txt", tmp_path / "bread.txt", *pictures, progress=False)
        assert kb.search("which seal does the pump need")[0].confidence > 0.5
        assert kb.search("children playing outside")[0].item.modality == "image"
        assert kb.search("the lagrangian of quantum chromodynamics")[0].confidence < 0.5


def test_a_measured_model_keeps_its_statistics(tmp_path: Path) -> None:
    Image.new("RGB", (64, 48), "red").save(tmp_path / "a.png")
    with cp.open(tmp_path / "kb") as kb:
        before = kb.calibration
        kb.add(tmp_path / "a.png", progress=False)
        assert kb.store.setting(SETTING) is None and kb.calibration == before
