"""The verdict on held-out pairs and the calibration of scores, compared with brute force. No torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from commonplace.encoders import Bundle
from commonplace.encoders.base import unit
from commonplace.training.calibrate import bank, evidence, hubness
from commonplace.training.features import picture_features, text_vectors, tower_key, unreadable
from commonplace.training.judge import chance, compare, judge, judge_bundle
from commonplace.training.pairs import Pair, Pairs, read_pairs
from commonplace.training.product import components, head_graph


def world(seed: int, noise: float, pictures: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    shown = draw.normal(size=(pictures, 16))
    owner = np.sort(np.concatenate([np.arange(pictures), draw.integers(0, pictures, pictures)]))
    captions = shown[owner] + noise * np.random.default_rng(7).normal(size=(len(owner), 16))
    return unit(captions), unit(shown), owner


def test_recall_is_that_of_sorted_lists() -> None:
    texts, pictures, owner = world(0, 1.5)
    less, text_less = np.linspace(0, 0.2, 60, dtype=np.float32), np.linspace(0.1, 0, 120, dtype=np.float32)
    judged = judge(texts, pictures, owner, less, text_less)
    for row, picture in enumerate(owner):
        ranked = np.argsort(-(texts[row] @ pictures.T - less), kind="stable")
        assert judged.text_to_image[row].tolist() == [picture in ranked[:k] for k in (1, 5, 10)]
    for row in range(60):
        ranked = owner[np.argsort(-(texts @ pictures[row] - text_less), kind="stable")]
        assert judged.image_to_text[row].tolist() == [row in ranked[:k] for k in (1, 5, 10)]


def test_a_model_with_equal_vectors_finds_nothing() -> None:
    texts, pictures, owner = world(0, 0.0)
    assert judge(np.tile(texts[:1], (120, 1)), np.tile(pictures[:1], (60, 1)), owner).mean == 0
    assert judge(texts, pictures, owner).mean == 1


def test_scores_that_differ_by_rounding_alone_tie() -> None:
    """Processors round differently: a model with equal vectors must find nothing on any of them."""
    owner, draw = np.arange(60), np.random.default_rng(0)
    same = unit(draw.normal(size=(1, 384)))
    steps = np.arange(60, dtype=np.float32)[:, None] * np.float32(2**-24)  # no row is off by more than rounding
    texts, pictures = np.tile(same, (60, 1)) * (1 - steps), np.tile(same, (60, 1)) * (1 - steps[::-1])
    assert len(np.unique(texts @ pictures.T)) > 30  # the scores do differ
    assert judge(texts, pictures, owner).mean == 0
    apart = unit(pictures + 0.01 * unit(draw.normal(size=(60, 384))))  # less than a degree apart is enough
    assert judge(apart, apart, owner).mean == 1


def test_chance_is_what_random_rankings_reach() -> None:
    owner = np.repeat(np.arange(30), [1, 2, 5] * 10)
    draw = np.random.default_rng(0)
    rounds = [judge(unit(draw.normal(size=(80, 8))), unit(draw.normal(size=(30, 8))), owner) for _ in range(400)]
    for way in ("text_to_image", "image_to_text"):
        tried = np.mean([getattr(judged, way).mean(0) for judged in rounds], axis=0)
        assert getattr(chance(owner), way).mean(0) == pytest.approx(tried, abs=0.02)


def test_the_verdict_is_better_worse_or_not_significant() -> None:
    good, bad, owner = world(0, 0.5), world(0, 2.5), world(0, 0.5)[2]
    first, last = judge(*bad[:2], owner), judge(*good[:2], owner)
    better, worse, even = (
        compare({"a": first, "b": last}),
        compare({"a": last, "b": first}),
        compare({"a": last, "b": last}),
    )
    assert better.better and not better.worse and worse.worse and not worse.better
    assert not even.better and not even.worse and even.p == 1
    assert better.table()[-1].startswith(f"difference {100 * (last.mean - first.mean):+.1f} (95%: ")
    assert better.table()[2].startswith("| a | ")


def test_hubness_is_corrected_where_that_helps_and_curves_rise() -> None:
    texts, pictures, owner = world(1, 1.2, 300)
    common = unit(np.ones((1, 16)))
    queries = unit(texts + common)  # all texts share a component, and later pictures have more of it
    drawn = unit(pictures + np.linspace(0, 1.5, 300)[:, None] * common)
    chosen = hubness(queries, drawn, owner, bank(queries), bank(drawn))
    settings = chosen["banks"]["image"]
    assert settings["weight"] > 0 and settings["neighbours"] == 16
    background, chances, curves = evidence(texts, texts, pictures, owner, 0.0, 0.0)
    for channel in ("text->image", "image->text"):
        assert np.all(np.diff(curves[channel]["log_odds"]) > 0)
        assert background[channel]["related"]["mean"] > background[channel]["unrelated"]["quantiles"]["0.99"]
        assert chances[channel]["mean"] == pytest.approx(0, abs=0.03)
    unequal = (pictures @ pictures.T)[~np.eye(len(pictures), dtype=bool)]
    assert chances["image->semantic"]["std"] == pytest.approx(unequal.std(), abs=1e-4)
    few = evidence(texts[:20], texts[:20], pictures[: owner[19] + 1], owner[:20], 0.0, 0.0)[2]["text->image"]
    assert few["at"] == [0.0, 6.0] and few["log_odds"][1] > few["log_odds"][0]


def test_features_are_computed_once(csv_file: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs, bundle = read_pairs(csv_file), Bundle(tiny)
    first = picture_features(bundle, pairs, ("plain", "crop1"))
    words = text_vectors(bundle, pairs.captions)
    assert first.shape == (2, 54, 24) and words.shape == (108, 24)
    assert not np.allclose(first[0], first[1])
    again = Bundle(tiny)
    assert again.image is not None and again.text is not None

    def never(*_: object) -> np.ndarray:
        raise AssertionError("the tower ran again")

    monkeypatch.setattr(again.image, "features", never)
    monkeypatch.setattr(again.text, "encode", never)
    assert np.array_equal(picture_features(again, pairs, ("plain", "crop1")), first)
    assert np.array_equal(text_vectors(again, pairs.captions), words)
    direct = bundle.image.encode([np.full((40, 40, 3), 200, np.uint8)]) if bundle.image else None
    assert direct is not None and tower_key(bundle, "image") == tower_key(again, "image") != tower_key(bundle, "text")


def test_a_picture_that_cannot_be_decoded_is_listed_with_its_reason(csv_file: Path, tiny: Path, tmp_path: Path) -> None:
    pairs = read_pairs(csv_file)
    torn = tmp_path / "torn.png"
    torn.write_bytes(pairs.pictures[0].read_bytes()[:100])
    mixed = Pairs("mixed", (pairs.pairs[0], Pair(torn, ("torn",), "train", "ab" * 16), *pairs.pairs[1:]))
    features = picture_features(Bundle(tiny), mixed)
    reasons = unreadable(mixed, features)
    assert list(reasons) == [torn] and reasons[torn]
    assert np.isfinite(features[0, 0]).all() and np.isfinite(features[0, 2:]).all()


def test_a_bundle_is_judged_as_a_search_ranks(csv_file: Path, space) -> None:  # type: ignore[no-untyped-def]
    test = read_pairs(csv_file).part("test")
    judged = judge_bundle(space.bundle, test)
    from commonplace.readers import load_picture

    shown = space.image.encode([load_picture(path).pixels for path in test.pictures])
    queries, _ = space.bundle.without_shortness(space.text.encode(test.captions, "query"))
    by_hand = judge(queries, shown, test.owner, space.offset("image", shown))
    # features are cached in half precision: near ties may change order
    assert np.abs(judged.text_to_image - by_hand.text_to_image).mean() <= 0.1


def test_the_head_graph_equals_the_sum_of_its_members(tmp_path: Path) -> None:
    from commonplace.encoders.runtime import Graph

    draw = np.random.default_rng(0)

    def linear(a: int, b: int) -> tuple[np.ndarray, np.ndarray]:
        return draw.normal(size=(a, b)).astype(np.float32) / a**0.5, draw.normal(size=b).astype(np.float32)

    members = [
        {"wide": linear(12, 20), "narrow": linear(20, 8), "straight": linear(12, 8)},
        {"wide": linear(12, 8), "narrow": None, "straight": None},
    ]
    x = draw.normal(size=(5, 12)).astype(np.float32)
    visual = components(draw.normal(size=(50, 12)).astype(np.float32), 6)
    (tmp_path / "head.onnx").write_bytes(head_graph(members, 12, 8, visual=visual))

    def apply(layer: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        return x @ layer[0] + layer[1]

    hidden = np.maximum(apply(members[0]["wide"]), 0)  # type: ignore[arg-type]
    first = hidden @ members[0]["narrow"][0] + members[0]["narrow"][1] + apply(members[0]["straight"])  # type: ignore
    second = apply(members[1]["wide"])  # type: ignore[arg-type]
    graph = Graph(tmp_path / "head.onnx", "embedding")
    assert graph.map([{"features": x}])[0] == pytest.approx(unit(first) + unit(second), abs=2e-2)
    assert graph.map([{"features": x}], output="visual")[0] == pytest.approx(x @ visual[0] + visual[1], abs=5e-2)


def test_a_head_may_be_added_to_another(tmp_path: Path, space) -> None:  # type: ignore[no-untyped-def]
    head = space.bundle.spec["towers"]["image"]["head"]
    nothing = {"wide": (np.zeros((3192, 384), np.float32), np.zeros(384, np.float32)), "narrow": None, "straight": None}
    made = head_graph([nothing], 3192, 384, base=space.bundle.folder / head["file"], base_spec=head)
    (tmp_path / "head.onnx").write_bytes(made)
    from commonplace.encoders.runtime import Graph

    features = np.random.default_rng(0).random((4, 3192), np.float32)
    expected = space.image.project(features)
    graph = Graph(tmp_path / "head.onnx", "embedding")
    assert unit(graph.map([{"features": features}])[0]) == pytest.approx(expected["image"], abs=1e-2)
    assert unit(graph.map([{"features": features}], output="visual")[0]) == pytest.approx(expected["visual"], abs=1e-2)
