"""Calibration: log-odds depend on the background of the model and of the collection."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonplace.channels import CHANGED_TO_IMAGE
from commonplace.encoders import Bundle
from commonplace.errors import ModelError
from commonplace.retrieval import LEXICAL, SEMANTIC, Calibration, Curve, ScoreStats, z_score
from commonplace.store import RankedList

STATS = ScoreStats(0.4, 0.6, 0.15, 0.03, 0.1)


def ranked(
    *scores: float, count: int = 1000, mean: float = 0.0, std: float = 0.1, full_match_score: float = 1.0
) -> RankedList:
    return RankedList(np.arange(len(scores)), np.array(scores, np.float32), full_match_score, count, mean, std)


def test_z_score_is_a_standard_score_in_a_large_collection() -> None:
    result = z_score(np.array([0.5, 0.8]), 10_000_000, 0.2, 0.3, STATS)
    assert result.tolist() == pytest.approx([1.0, 2.0], abs=1e-4)


def test_a_small_collection_uses_the_models_background() -> None:
    few = z_score(np.array([0.5]), 1, 0.5, 0.0, STATS)
    assert few[0] == pytest.approx((0.5 - 0.0347) / 0.1, rel=0.02)


def test_the_best_item_of_another_subject_scores_low() -> None:
    """Far from the query all items are alike, so the best one would be many standard deviations above the rest."""
    result = z_score(np.array([0.2]), 10_000, 0.0, 0.02, STATS)
    assert result[0] < 2


@given(st.lists(st.floats(-2, 12), min_size=2, max_size=20))
def test_a_curve_never_decreases_and_is_extrapolated(values: list[float]) -> None:
    curve = Curve((0.0, 1.0, 2.0), (-3.0, -1.0, 4.0))
    result = curve(np.sort(np.array(values)))
    assert (np.diff(result) >= -1e-9).all()
    assert curve(np.array([3.0]))[0] == pytest.approx(9.0)
    assert curve(np.array([-1.0]))[0] == pytest.approx(-5.0)


def test_bm25_scores_are_shares_of_a_full_match() -> None:
    calibration = Calibration({}, {LEXICAL: Curve((0.0, 1.0), (-2.0, 4.0))})
    assert calibration.log_odds(LEXICAL, ranked(8.0, 4.0, 0.0, full_match_score=8.0)).tolist() == pytest.approx(
        [4.0, 1.0, -2.0]
    )


def test_nearness_is_half_between_background_and_related_and_increases() -> None:
    calibration = Calibration({"text->text": STATS})
    assert calibration.nearness("text->text", np.array([0.5], np.float32))[0] == pytest.approx(0.5, abs=1e-6)
    values = calibration.nearness("text->text", np.array([0.9, 0.4, 0.1, -0.2], np.float32))
    assert (np.diff(values) < 0).all() and ((values >= 0) & (values <= 1)).all()


def test_the_shipped_bundle_has_curves_for_every_channel() -> None:
    calibration = Calibration.from_bundle(Bundle().spec)
    channels = {"text->text", "text->image", "image->text", "image->image", SEMANTIC, CHANGED_TO_IMAGE}
    assert set(calibration.curves) == {LEXICAL, *channels}
    for curve in calibration.curves.values():
        assert (np.diff(curve.at) > 0).all() and (np.diff(curve.log_odds) > 0).all()
        assert min(curve.log_odds) < 0 < max(curve.log_odds)


def test_a_short_query_is_generic() -> None:
    calibration = Calibration.from_bundle(Bundle().spec)
    low, high, share = calibration.short_query
    assert calibration.for_query(low, 1000) is calibration
    whole = calibration.for_query(high, 1000)
    assert whole.match_density == 0 and whole.expected_relevant == pytest.approx(1 + 1000 * share)
    half = calibration.for_query((low + high) / 2, 1000)
    assert (
        half.match_density == pytest.approx(calibration.match_density / 2)
        and 1 < half.expected_relevant < whole.expected_relevant
    )
    assert calibration.for_query(1.0, 0).expected_relevant == pytest.approx(1)


def test_a_channel_that_was_not_measured_is_estimated_from_the_collection() -> None:
    """No statistics, no curve: the background is that of the query's scores over the collection."""
    nothing = Calibration.from_bundle({"name": "x"})
    for channel in ("text->text", "image->semantic", "sound->sound", "not sound->sound", "both->sound"):
        low, high = nothing.log_odds(channel, ranked(0.2, 0.8, mean=0.2, std=0.1))
        assert (low, high) == pytest.approx((-4.0, 7.0), abs=0.1)  # at the mean, and six standard deviations above
        first, second = nothing.nearness(channel, np.array([0.1, 0.9], np.float32))
        assert 0 <= first < second <= 1
    single = nothing.log_odds("sound->sound", ranked(0.9, count=1, mean=0.9, std=0.0))
    assert np.isfinite(single).all()
    spec = Bundle().spec
    partly = Calibration.from_bundle(spec | {"score_stats": {"text->text": spec["score_stats"]["text->text"]}})
    assert set(partly.score_stats) == {"text->text"}


def test_a_bundle_without_curves_uses_default_curves() -> None:
    spec = {name: value for name, value in Bundle().spec.items() if name != "calibration"}
    calibration = Calibration.from_bundle(spec)
    for channel in ("text->text", "text->image", "both->item", "not image->image"):
        low, high = calibration.log_odds(channel, ranked(0.0, 1.0))
        assert low < 0 and high > low + 5
        assert high > 0 or channel == "not image->image"  # similar photographs: the default line gives small log-odds


def test_a_changed_picture_expects_a_share_of_all_items() -> None:
    calibration = Calibration.from_bundle({"calibration": {"changed": {"share": 0.1, "text": 0.5}}})
    assert calibration.changed == (0.1, 0.5)
    assert calibration.changed_prior(99) == pytest.approx(math.log(0.109 / 0.891))
    assert calibration.changed_prior(1) == 0  # one of two items at most
    assert calibration.changed_prior(10**6) == pytest.approx(math.log(0.1 / 0.9), abs=1e-3)
    with pytest.raises(ModelError, match="calibration"):
        Calibration.from_bundle({"calibration": {"changed": {"share": 0.1}}})


def test_an_unmeasured_model_judges_a_changed_picture_like_words() -> None:
    spec = {
        "score_stats": {"text->image": {"unrelated": {"mean": 0.1, "std": 0.2, "quantiles": {"0.99": 0.5}},
                                        "related": {"mean": 0.6, "std": 0.1}}},
        "calibration": {"curves": {"text->image": {"at": [0, 1], "log_odds": [-2, 2]}}},
    }  # fmt: skip
    calibration = Calibration.from_bundle(spec)
    assert calibration.curves[CHANGED_TO_IMAGE] == calibration.curves["text->image"]
    assert calibration.score_stats[CHANGED_TO_IMAGE] == calibration.score_stats["text->image"]
