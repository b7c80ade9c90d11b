"""Late fusion: breakdowns add up to scores, absent channels have no penalty, and formulas follow their papers."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonplace.channels import CHANGED_TO_IMAGE
from commonplace.errors import QueryError
from commonplace.retrieval import (
    LEXICAL,
    SEMANTIC,
    Calibration,
    ChannelScores,
    Fused,
    Ranking,
    ScoreStats,
    compose,
    fuse,
)
from commonplace.retrieval.fusion import METHODS
from commonplace.store import RankedList
from commonplace.types import ScoreComponent

CHANNELS = (LEXICAL, "text->text", "text->image")
CALIBRATION = Calibration(
    {
        "text->text": ScoreStats(0.4, 0.6, 0.15, 0.03, 0.09),
        "text->image": ScoreStats(0.15, 0.25, 0.06, -0.15, 0.1),
        "image->text": ScoreStats(0.05, 0.1, 0.06, -0.2, 0.1),
        "image->image": ScoreStats(0.5, 0.8, 0.1, 0.0, 0.16),
    }
)
WITH_SEMANTIC = replace(
    CALIBRATION, score_stats={**CALIBRATION.score_stats, SEMANTIC: ScoreStats(0.5, 0.8, 0.1, 0.02, 0.16)}
)
nan = math.nan


def scored(*scores: float) -> ChannelScores:
    """Return a channel that lists all candidates whose score is not NaN, the highest first."""
    values = np.array(scores, np.float64)
    keys = [i for i in np.argsort(-np.nan_to_num(values, nan=-9), kind="stable") if not math.isnan(values[i])]
    ranks = np.zeros(len(values), np.int64)
    ranks[keys] = np.arange(1, len(keys) + 1)
    ranked = RankedList(np.array(keys, np.int64), values[keys].astype(np.float32), 1.0, 1000, 0.0, 0.1)
    return ChannelScores(ranked, values, ranks)


def score(fused: Fused, i: int) -> float:
    return fused.score(fused.breakdown(i))


def test_rrf_follows_the_formula_of_the_paper() -> None:
    a, b = scored(0.9, 0.8, 0.7), scored(0.5, nan, 0.6)
    fused = fuse({"text->text": a, LEXICAL: b}, Ranking(method="rrf"), CALIBRATION, 3)
    # Cormack et al. 2009, k = 60, divided by the sum of the weights; the second cannot have words.
    for i, expected in enumerate(((1 / 61 + 1 / 62) / 2, 1 / 62, (1 / 63 + 1 / 61) / 2)):
        assert score(fused, i) == pytest.approx(expected)


@pytest.mark.parametrize("method", METHODS)
def test_equal_scores_are_accepted(method: str) -> None:
    fused = fuse({"text->text": scored(0.3, 0.3, 0.3)}, Ranking(method=method), CALIBRATION, 3)  # type: ignore[arg-type]
    values = [score(fused, i) for i in range(3)]
    assert 0 <= min(values) <= max(values) <= 1
    if method != "rrf":  # rrf uses ranks, and must break the tie
        assert values[0] == values[1] == values[2]


@pytest.mark.parametrize("method", METHODS)
def test_a_missing_view_has_no_penalty(method: str) -> None:
    """A picture without a caption has the same score as one with an unrelated caption."""
    lists = {"text->image": scored(0.3, 0.3, nan), "text->text": scored(nan, -0.2, 0.7)}
    fused = fuse(lists, Ranking(method=method), CALIBRATION, 3)  # type: ignore[arg-type]
    assert score(fused, 0) >= score(fused, 1) * 0.98
    by_channel = {line.channel: line for line in fused.breakdown(1)}
    assert by_channel["text->text"].contribution == 0 and by_channel["text->image"].contribution != 0


def test_words_and_meaning_of_a_text_both_count_once() -> None:
    alone = fuse({"text->text": scored(0.5, 0.5)}, Ranking(), CALIBRATION, 2)
    both = fuse({"text->text": scored(0.5, 0.5), LEXICAL: scored(0.9, 0.0)}, Ranking(), CALIBRATION, 2)
    assert score(both, 0) > score(alone, 0) > score(both, 1)
    lines = {line.channel: line for line in both.breakdown(0)}
    words, near, base = CALIBRATION.joint
    assert (lines[LEXICAL].weight, lines["text->text"].weight) == (0.9 * words, near)
    lines = {
        line.channel: line for line in both.breakdown(1)
    }  # no common word: no penalty, because the meaning matches
    assert (lines[LEXICAL].weight, lines[LEXICAL].contribution) == (0, base)


def test_a_negative_query_lowers_only_matching_items() -> None:
    lists = {"text->image": scored(0.3, 0.3, 0.2), "not text->image": scored(0.4, -0.3, -0.3)}
    fused = fuse(lists, Ranking(), CALIBRATION, 3)
    plain = fuse({"text->image": lists["text->image"]}, Ranking(), CALIBRATION, 3)
    assert score(fused, 0) < score(fused, 2) < score(fused, 1)
    assert score(fused, 1) == score(plain, 1)


def test_words_and_picture_must_both_match() -> None:
    """The score is the product of the two probabilities, each with the prior of one part."""
    words, visual = scored(0.3, 0.0, 0.2), scored(0.1, 0.9, 0.6)
    both = fuse({"text->image": words, "image->image": visual}, Ranking(), CALIBRATION, 3)

    def part(name: str, channel: ChannelScores) -> list[float]:
        alone = fuse({name: channel}, Ranking(), CALIBRATION, 3)
        prior = next(line.contribution for line in alone.breakdown(0) if line.channel == "prior")
        odds = alone.order - prior + math.log(CALIBRATION.part_prior)
        return (1 / (1 + np.exp(-odds))).tolist()

    expected = [a * b for a, b in zip(part("text->image", words), part("image->image", visual), strict=True)]
    assert [score(both, i) for i in range(3)] == pytest.approx(expected, rel=1e-9)
    assert np.argmax(both.order) == 2  # neither the picture itself, nor the best match of the words alone


def test_a_picture_matches_by_appearance_or_content() -> None:
    words, visual = scored(0.2, 0.2), scored(0.1, 0.1)
    plain = fuse({"text->image": words, "image->image": visual}, Ranking(), WITH_SEMANTIC, 2)
    shown = {"text->image": words, "image->image": visual, SEMANTIC: scored(0.8, 0.0)}
    fused = fuse(shown, Ranking(), WITH_SEMANTIC, 2)
    assert (
        score(fused, 0) > score(plain, 0)
        and {line.channel: line.contribution for line in fused.breakdown(0)}[SEMANTIC] > 0
    )
    assert {line.channel: line.contribution for line in fused.breakdown(1)}[
        SEMANTIC
    ] == 0  # only the better of the two counts
    biased = fuse(shown, Ranking(modality_bias={"image": 2.0}), WITH_SEMANTIC, 2)
    assert {line.channel: line.contribution for line in biased.breakdown(0)}["modality_bias"] == 4  # for each part


def test_query_parts_of_all_modalities_have_equal_weight() -> None:
    """A picture and a sound (a modality without measurements) are combined like words and a picture."""
    words, picture, sound = scored(0.3, 0.1), scored(0.1, 0.9), scored(0.4, 0.2)
    two = fuse({"text->image": words, "image->image": picture}, Ranking(), CALIBRATION, 2)
    lines = {line.channel: line for line in two.breakdown(0)}
    assert lines["text->image"].weight == lines["image->image"].weight == 1
    three = {"text->image": words, "image->image": picture, "sound->sound": sound}
    lines = {line.channel: line for line in fuse(three, Ranking(picture_weight=0.75), CALIBRATION, 2).breakdown(0)}
    assert lines["sound->sound"].weight == lines["image->image"].weight == pytest.approx(3 * 0.75 / 1.75)
    assert lines["text->image"].weight == pytest.approx(3 * 0.25 / 1.75)


CHANGE = {
    "text->text": scored(nan, nan, 0.9, nan),
    "text->image": scored(0.3, 0.1, nan, 0.0),
    "image->text": scored(nan, nan, 0.9, nan),
    "image->image": scored(0.2, 0.9, nan, 0.95),
    CHANGED_TO_IMAGE: scored(0.4, 0.2, nan, 0.5),
}


def test_a_picture_that_words_change_asks_for_pictures() -> None:
    """Pictures are judged by the changed picture alone; a text needs evidence of its own, and more of it."""
    fused = fuse(CHANGE, Ranking(), CALIBRATION, 1000)
    late = fuse({name: c for name, c in CHANGE.items() if name != CHANGED_TO_IMAGE}, Ranking(), CALIBRATION, 1000)
    assert fused.order[3] > fused.order[0] > fused.order[1]
    assert fused.order[2] == pytest.approx(late.order[2] + math.log(CALIBRATION.changed[1]))
    lines = {line.channel: line.contribution for line in fused.breakdown(0) if line.contribution}
    assert set(lines) == {CHANGED_TO_IMAGE, "prior"} and lines["prior"] == CALIBRATION.changed_prior(1000)
    for i in range(4):
        assert math.fsum(line.contribution for line in fused.breakdown(i)) == pytest.approx(fused.order[i])


def test_a_picture_that_was_not_changed_is_no_answer() -> None:
    own = np.array([False, False, False, True])
    changed = fuse(CHANGE, Ranking(), CALIBRATION, 1000, own, own_picture_fits=False)
    assert np.argmin(changed.order) == 3 and score(changed, 3) < 1e-3
    asked_about = {name: c for name, c in CHANGE.items() if name != CHANGED_TO_IMAGE}
    assert score(fuse(asked_about, Ranking(), CALIBRATION, 1000, own), 3) > 0.99


def test_the_query_picture_itself_has_high_confidence() -> None:
    lists = {"image->image": scored(0.6, 0.7, 0.99)}
    fused = fuse(lists, Ranking(), CALIBRATION, 100_000, np.array([True, False, False]))
    assert score(fused, 0) > 0.99 and np.argmax(fused.order) == 0
    assert math.fsum(line.contribution for line in fused.breakdown(0)) == pytest.approx(fused.order[0])
    plain = fuse(lists, Ranking(), CALIBRATION, 100_000)
    assert score(fused, 1) == score(plain, 1) and "near_duplicate" not in {line.channel for line in fused.breakdown(1)}


def test_the_prior_depends_on_the_size_of_the_collection() -> None:
    small, large = (fuse({"text->text": scored(0.6)}, Ranking(), CALIBRATION, n) for n in (10, 100_000))
    assert small.confidence[0] > large.confidence[0]
    assert small.order[0] - large.order[0] == pytest.approx(math.log(100_001 / 11))


def test_a_warmer_temperature_is_more_cautious_and_keeps_the_order() -> None:
    lists = {"text->text": scored(0.9, 0.5, 0.1)}
    cold, warm = (fuse(lists, Ranking(temperature=t), CALIBRATION, 5) for t in (1.0, 3.0))
    assert np.argsort(cold.order).tolist() == np.argsort(warm.order).tolist()
    assert (np.abs(warm.confidence - 0.5) <= np.abs(cold.confidence - 0.5)).all()


def test_weights_and_modality_bias_change_the_order() -> None:
    lists = {"text->text": scored(0.6, nan), "text->image": scored(nan, 0.1)}
    assert np.argmax(fuse(lists, Ranking(), CALIBRATION, 2).order) == 0
    assert np.argmax(fuse(lists, Ranking(modality_bias={"image": 20.0}), CALIBRATION, 2).order) == 1
    biased = fuse(lists, Ranking(modality_bias={"image": 20.0}), CALIBRATION, 2)
    assert {line.channel: line.contribution for line in biased.breakdown(1)}["modality_bias"] == 20
    tie = {"text->text": scored(0.7, 0.4), LEXICAL: scored(0.1, 0.9)}
    assert np.argmax(fuse(tie, Ranking(weights={LEXICAL: 3.0}), CALIBRATION, 2).order) == 1
    assert np.argmax(fuse(tie, Ranking(weights={LEXICAL: 0.01}), CALIBRATION, 2).order) == 0


values = st.lists(st.one_of(st.just(nan), st.floats(-1, 1, width=32)), min_size=6, max_size=6)


@given(
    st.dictionaries(
        st.sampled_from([*CHANNELS, "image->image", SEMANTIC, "not text->text", "not lexical"]), values, min_size=1
    ),
    st.dictionaries(st.sampled_from(CHANNELS), st.floats(0.01, 10), max_size=3),
    st.sampled_from(METHODS),
    st.floats(0, 1),
)
def test_every_score_is_recomputed_from_its_breakdown(
    lists: dict[str, list[float]], weights: dict[str, float], method: str, share: float
) -> None:
    if all(channel.startswith("not ") for channel in lists):
        lists["text->text"] = [0.5] * 6
    ranking = Ranking(method=method, weights=weights, picture_weight=share)  # type: ignore[arg-type]
    fused = fuse({channel: scored(*raw) for channel, raw in lists.items()}, ranking, WITH_SEMANTIC, 50)
    for i in range(6):
        breakdown = fused.breakdown(i)
        total = math.fsum(line.contribution for line in breakdown)
        if method == "calibrated":
            assert fused.score(breakdown) == pytest.approx(1 / (1 + math.exp(-total)), abs=1e-9)
            assert fused.score(breakdown) == pytest.approx(fused.confidence[i], abs=1e-9)
        else:
            assert fused.score(breakdown) == pytest.approx(total)
            assert total <= 1 + 1e-9
        assert fused.order[i] == pytest.approx(total, abs=1e-6)
        listed = {channel for channel, raw in lists.items() if not math.isnan(raw[i])}
        assert listed <= {line.channel for line in breakdown}


@given(st.lists(st.floats(-1, 1, width=32), min_size=2, max_size=8, unique=True))
def test_a_higher_score_in_one_channel_never_lowers_the_fused_score(raw: list[float]) -> None:
    for method in METHODS:
        fused = fuse({"text->text": scored(*raw)}, Ranking(method=method), CALIBRATION, 10)  # type: ignore[arg-type]
        ordered = [fused.order[i] for i in np.argsort(raw)]
        assert all(a <= b + 1e-9 for a, b in itertools.pairwise(ordered))


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "sum"},
        {"method": "relative"},
        {"question": "early"},
        {"views": "both"},
        {"alpha": 1.5},
        {"picture_weight": -0.1},
        {"depth": 0},
        {"temperature": 0},
        {"diversity": 1},
        {"negative_weight": -1},
        {"modality_bias": {"sound": 1.0}},
        {"modality_bias": {"image": math.nan}},
        {"weights": {LEXICAL: -1.0}},
        {"weights": {LEXICAL: math.nan}},
    ],
)
def test_a_ranking_out_of_range_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(QueryError):
        Ranking(**wrong)  # type: ignore[arg-type]


def test_a_ranking_survives_its_json() -> None:
    ranking = Ranking(method="rrf", weights={LEXICAL: 0.5}, modality_bias={"image": 1.0}, diversity=0.25)
    assert Ranking.from_json(ranking.json()) == ranking
    assert Ranking.from_json(None) == Ranking()
    for broken in ("{", '{"method": "sum"}', '{"speed": 1}', "[1]"):
        with pytest.raises(QueryError):
            Ranking.from_json(broken)


def unit(*numbers: float) -> np.ndarray:
    vector = np.array(numbers, np.float32)
    return vector / np.linalg.norm(vector)


def test_slerp_interpolates_the_angle() -> None:
    words, picture = unit(1, 0, 0), unit(0, 1, 0)
    for share in (0.0, 0.25, 0.5, 1.0):
        both = compose(words, picture, share, "slerp")
        assert math.acos(min(1.0, float(both @ words))) == pytest.approx(share * math.pi / 2, abs=1e-4)
        assert np.linalg.norm(both) == pytest.approx(1, abs=1e-6)


def test_compose_accepts_equal_and_opposite_vectors() -> None:
    words = unit(1, 2, 3)
    for how in ("sum", "slerp"):
        assert np.allclose(compose(words, words, 0.5, how), words, atol=1e-5)
        assert np.isfinite(compose(words, -words, 0.5, how)).all()


def test_an_empty_breakdown_line_is_left_out() -> None:
    fused = fuse({"text->text": scored(0.6)}, Ranking(), CALIBRATION, 0)
    assert all(isinstance(line, ScoreComponent) for line in fused.breakdown(0))
    assert "modality_bias" not in {line.channel for line in fused.breakdown(0)}
