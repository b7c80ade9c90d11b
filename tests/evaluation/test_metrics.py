"""Measures compared with trec_eval, statistics compared with SciPy, and properties of any ranked list."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonplace.errors import QueryError
from commonplace.evaluation import (
    bootstrap,
    modality_share,
    ndcg,
    randomisation_test,
    recall,
    reciprocal_rank,
    right_modality,
    rounding,
    ties_last,
)

NAMES = [f"d{number}" for number in range(30)]
cases = st.tuples(
    st.permutations(NAMES).flatmap(lambda names: st.integers(0, 30).map(lambda length: names[:length])),
    st.dictionaries(st.sampled_from([*NAMES, "unseen"]), st.integers(1, 5), min_size=1),
    st.integers(1, 40),
)


def test_measures_are_those_of_trec_eval() -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval", reason="the reference: pip install -e '.[dev]'")
    chance = random.Random(7)
    for k in (1, 3, 5, 10, 20):
        ranked, grades = {}, {}
        for question in range(60):
            ranked[f"q{question}"] = chance.sample(NAMES, chance.randint(1, 30))
            relevant = chance.sample([*NAMES, "unseen 1", "unseen 2"], chance.randint(1, 12))
            grades[f"q{question}"] = {name: chance.randint(1, 5) for name in relevant}
        # trec_eval sorts by score; it knows no cut for recip_rank, so it gets the list already cut.
        scores = {q: {name: 1.0 / rank for rank, name in enumerate(names[:k], 1)} for q, names in ranked.items()}
        names = {f"recall_{k}", f"ndcg_cut_{k}", "recip_rank"}
        reference = pytrec_eval.RelevanceEvaluator(grades, names, relevance_level=1).evaluate(scores)
        assert len(reference) == 60
        for q, expected in reference.items():
            assert recall(ranked[q], grades[q], k) == pytest.approx(expected[f"recall_{k}"], abs=1e-9)
            assert ndcg(ranked[q], grades[q], k) == pytest.approx(expected[f"ndcg_cut_{k}"], abs=1e-9)
            assert reciprocal_rank(ranked[q], grades[q], k) == pytest.approx(expected["recip_rank"], abs=1e-9)


def test_exponential_gains_are_linear_ones_of_two_to_the_grade_less_one() -> None:
    ranked, grades = ["a", "x", "b", "c"], {"a": 1.0, "b": 3.0, "c": 2.0}
    powers = {name: 2**grade - 1 for name, grade in grades.items()}
    assert ndcg(ranked, grades, 4, gains="exponential") == pytest.approx(ndcg(ranked, powers, 4))
    assert ndcg(ranked, grades, 4, gains="exponential") != pytest.approx(ndcg(ranked, grades, 4))


def test_of_ids_that_tie_the_least_relevant_comes_first() -> None:
    limit = rounding(384)
    grades = {"a": 2.0, "b": 1.0}

    def seen(scores: list[dict[str, float]], k: int) -> list[str]:
        return ties_last(["a", "b", "x", "y"], scores, grades, k, 384)

    apart = [{"text": 0.5}, {"text": 0.4}, {"text": 0.3}, {"text": 0.2}]
    assert seen(apart, 4) == ["a", "b", "x", "y"] and seen(apart, 1) == ["a"]
    near = [{"text": 0.5}, {"text": 0.5 - limit / 2}, {"text": 0.5}, {"text": 0.4}]
    assert seen(near, 4) == ["x", "b", "a", "y"]
    assert seen(near, 2) == ["x"]  # the tie goes on: which of it belong to the first two cannot be told
    same: list[dict[str, float]] = [{"text": 0.5, "words": 3.0}] * 4
    assert recall(seen(same, 3), grades, 3) == 0
    other = [{"text": 0.5}, {"words": 0.5}, {"text": 0.5, "words": 0.1}, {"text": 0.5, "words": 0.2}]
    assert seen(other, 4) == ["a", "b", "x", "y"]  # one channel tells them apart, or they have not the same


def test_a_small_case_by_hand() -> None:
    ranked, grades = ["x", "b", "a"], {"a": 2.0, "b": 1.0, "c": 1.0}
    assert recall(ranked, grades, 2) == pytest.approx(1 / 3)
    assert reciprocal_rank(ranked, grades, 3) == 0.5
    ideal = 2 / math.log2(2) + 1 / math.log2(3) + 1 / math.log2(4)
    assert ndcg(ranked, grades, 3) == pytest.approx((1 / math.log2(3) + 2 / math.log2(4)) / ideal)


@given(cases)
def test_measures_stay_in_range_and_recall_never_falls(case: tuple[list[str], dict[str, int], int]) -> None:
    ranked, grades, k = case
    for measure in (recall, ndcg, reciprocal_rank):
        assert 0 <= measure(ranked, grades, k) <= 1
    assert recall(ranked, grades, k) <= recall(ranked, grades, k + 1)
    assert reciprocal_rank(ranked, grades, k) <= reciprocal_rank(ranked, grades, k + 1)


@given(cases)
def test_the_best_order_is_perfect_and_nothing_relevant_is_zero(case: tuple[list[str], dict[str, int], int]) -> None:
    ranked, grades, k = case
    best = sorted(grades, key=lambda name: -grades[name])
    for gains in ("linear", "exponential"):
        assert ndcg(best, grades, k, gains=gains) == pytest.approx(1)  # type: ignore[arg-type]
    assert reciprocal_rank(best, grades, k) == 1 and recall(best, grades, len(best)) == 1
    others = [name for name in ranked if name not in grades]
    assert recall(others, grades, k) == ndcg(others, grades, k) == reciprocal_rank(others, grades, k) == 0


@given(cases, st.integers(0, 28))
def test_moving_a_better_item_up_never_hurts(case: tuple[list[str], dict[str, int], int], at: int) -> None:
    ranked, grades, k = case
    if at + 1 < len(ranked) and grades.get(ranked[at], 0) < grades.get(ranked[at + 1], 0):
        better = [*ranked[:at], ranked[at + 1], ranked[at], *ranked[at + 2 :]]
        for measure in (recall, ndcg, reciprocal_rank):
            assert measure(better, grades, k) >= measure(ranked, grades, k) - 1e-12


@given(cases, st.randoms())
def test_measures_depend_on_ranks_and_grades_only(
    case: tuple[list[str], dict[str, int], int], chance: random.Random
) -> None:
    ranked, grades, k = case
    new = dict(zip([*NAMES, "unseen"], chance.sample([*NAMES, "unseen"], 31), strict=True))
    renamed = [new[name] for name in ranked]
    regraded = {new[name]: grade for name, grade in grades.items()}
    swapped = [name if name in grades else f"other {name}" for name in ranked]
    for measure in (recall, ndcg, reciprocal_rank):
        assert measure(renamed, regraded, k) == pytest.approx(measure(ranked, grades, k))
        assert measure(swapped, grades, k) == measure(ranked, grades, k)


@given(st.floats(1e-300, 1e9), st.floats(1e-300, 1e9))
def test_grades_of_any_size_neither_overflow_nor_vanish(high: float, low: float) -> None:
    for gains in ("linear", "exponential"):
        value = ndcg(["b", "a"], {"a": high, "b": low}, 2, gains=gains)  # type: ignore[arg-type]
        assert 0 < value <= 1


def test_modality_measures() -> None:
    assert right_modality(["image", "text"], {"image"}) == 1
    assert right_modality(["text", "image"], {"image"}) == 0
    assert right_modality([], {"image"}) == 0
    assert right_modality(["text"], {"image", "text"}) is None
    assert modality_share(["image", "text", "text"], "image", 2) == 0.5
    assert modality_share(["image"], "text", 10) == 0
    assert modality_share([], "text", 10) is None


@pytest.mark.parametrize(
    ("ranked", "grades", "k"),
    [
        (["a"], {"a": 1}, 0),
        (["a", "a"], {"a": 1}, 2),
        (["a"], {}, 1),
        (["a"], {"a": 0}, 1),
        (["a"], {"a": math.nan}, 1),
    ],
)
def test_invalid_lists_and_grades_are_refused(ranked: list[str], grades: dict[str, float], k: int) -> None:
    for measure in (recall, ndcg, reciprocal_rank):
        with pytest.raises(QueryError):
            measure(ranked, grades, k)


# --- uncertainty ------------------------------------------------------------------------------------------------


def test_the_interval_is_that_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats", reason="the reference: pip install -e '.[dev]'")
    values = np.random.default_rng(3).beta(2, 3, 200)
    ours = bootstrap(values, rounds=20_000, seed=1)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=2).confidence_interval
    assert ours.mean == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.002)
    assert ours.low is not None and ours.high is not None and ours.low < ours.mean < ours.high
    narrow = bootstrap(values, confidence=0.5)
    assert narrow.low is not None and narrow.high is not None
    assert narrow.high - narrow.low < ours.high - ours.low


def test_the_interval_holds_the_true_mean_as_often_as_it_says() -> None:
    chance = np.random.default_rng(11)
    held = 0
    for trial in range(200):
        interval = bootstrap(chance.random(50), confidence=0.9, seed=trial)
        assert interval.low is not None and interval.high is not None
        held += interval.low <= 0.5 <= interval.high
    assert 165 <= held <= 195  # 180 expected, standard deviation 4.2


def test_the_interval_depends_on_the_seed_and_not_on_the_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random(40)
    assert bootstrap(values, seed=5) == bootstrap(values, seed=5) != bootstrap(values, seed=6)
    unblocked = bootstrap(values), randomisation_test(values - 0.45)
    monkeypatch.setattr("commonplace.evaluation.metrics.BLOCK", 1000)
    assert (bootstrap(values), randomisation_test(values - 0.45)) == unblocked


def test_one_query_has_no_interval_and_equal_values_an_empty_one() -> None:
    assert bootstrap([0.5]).dict() == {"mean": 0.5, "low": None, "high": None, "count": 1}
    same = bootstrap([0.25] * 9)
    assert (same.low, same.high) == (0.25, 0.25)


def test_the_p_value_of_few_queries_is_that_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats", reason="the reference: pip install -e '.[dev]'")
    chance = np.random.default_rng(4)
    for count in (2, 8, 10):
        for shift in (0.0, 0.1, 0.3):
            differences = np.round(chance.normal(shift, 0.4, count), 1)  # rounded: ties, as nDCG has
            theirs = stats.permutation_test(
                (differences, np.zeros(count)), lambda a, b: np.mean(a - b), permutation_type="samples"
            ).pvalue
            assert randomisation_test(differences) == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize("seed", [5, 6])
def test_the_p_value_of_many_queries_is_near_the_exact_one(seed: int) -> None:
    tenths = np.random.default_rng(seed).integers(-5, 7, 60)
    sums = {0: 1.0}  # the chance of every sum, one sign after the other
    for number in tenths.tolist():
        after: dict[int, float] = {}
        for total, share in sums.items():
            for new_total in (total + number, total - number):
                after[new_total] = after.get(new_total, 0.0) + share / 2
        sums = after
    exact = math.fsum(share for total, share in sums.items() if abs(total) >= abs(tenths.sum()))
    assert 0.01 < exact < 0.95
    p_values = [randomisation_test(tenths / 10, rounds=5000, seed=seed) for seed in range(10)]
    assert np.mean(p_values) == pytest.approx(exact, abs=0.007)  # its standard error is at most .0023


def test_equal_runs_have_p_one_and_a_clear_gain_a_small_p() -> None:
    assert randomisation_test([0.0] * 5) == 1
    assert randomisation_test([0.0] * 500) == 1
    assert randomisation_test([0.1] * 500) == pytest.approx(1 / 2001)
    assert randomisation_test([0.1]) == 1  # one question tells nothing


@pytest.mark.parametrize("values", [[], [0.1, math.nan], [math.inf]])
def test_values_that_are_no_numbers_are_refused(values: list[float]) -> None:
    for function in (bootstrap, randomisation_test):
        with pytest.raises(QueryError):
            function(values)


def test_too_few_rounds_and_an_impossible_confidence_are_refused() -> None:
    with pytest.raises(QueryError, match="rounds"):
        bootstrap([1, 2], rounds=10)
    with pytest.raises(QueryError, match="rounds"):
        randomisation_test([1, 2], rounds=10)
    with pytest.raises(QueryError, match="confidence"):
        bootstrap([1, 2], confidence=1)
