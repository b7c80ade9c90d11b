"""Late fusion: the ledger adds up, an absent arm costs nothing, and RRF is what the paper says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonplace.errors import QuestionError
from commonplace.retrieval import Background, Cosines, Ranking, compose, fuse
from commonplace.store import Ranked
from commonplace.types import ArmScore

ARMS = ("lexical", "text->text", "text->image")
BACKGROUND = Background({"text->text": Cosines(0.4, 0.6, 0.15), "text->image": Cosines(0.15, 0.25, 0.06)})


def ranked(*keys: int, best: float = 0.9) -> Ranked:
    scores = np.linspace(best, best / 2, len(keys), dtype=np.float32)
    return Ranked(np.array(keys, np.int64), scores)


def score(ledger: tuple[ArmScore, ...]) -> float:
    return math.fsum(arm.contribution for arm in ledger)


def test_rrf_is_the_papers_formula() -> None:
    lists = {"a": ranked(1, 2, 3), "b": ranked(3, 1)}
    ledgers = fuse(lists, lambda key: {"a", "b"}, Ranking(method="rrf"), BACKGROUND.evidence)
    reference = {1: 1 / 61 + 1 / 62, 2: 1 / 62, 3: 1 / 63 + 1 / 61}  # Cormack et al. 2009, k = 60
    for key, expected in reference.items():
        assert score(ledgers[key]) == pytest.approx(expected / 2)  # divided by the sum of the weights


def test_an_arm_an_item_cannot_have_costs_nothing() -> None:
    lists = {"text->image": ranked(1, 2), "lexical": ranked(3)}
    without_caption = fuse(lists, lambda key: {"text->image"}, Ranking(method="rrf"), BACKGROUND.evidence)
    assert score(without_caption[1]) == pytest.approx(1 / 61)
    with_caption = fuse(lists, lambda key: {"text->image", "lexical"}, Ranking(method="rrf"), BACKGROUND.evidence)
    assert score(with_caption[1]) == pytest.approx(1 / 61)  # its caption did not match, its pixels did
    both = {"text->text": ranked(1, 2), "lexical": ranked(3)}
    passage = fuse(both, lambda key: {"text->text", "lexical"}, Ranking(method="rrf"), BACKGROUND.evidence)
    assert score(passage[1]) == pytest.approx(0.5 / 61)  # its words could have matched and did not


def test_a_captioned_picture_is_as_good_as_its_best_view() -> None:
    lists = {"image->image": ranked(1, 2, best=1.0), "image->text": ranked(3, 1)}
    ledgers = fuse(lists, lambda key: {"image->image", "image->text"}, Ranking(method="rrf"), BACKGROUND.evidence)
    by_arm = {arm.arm: arm for arm in ledgers[1]}
    assert by_arm["image->image"].weight == 1 and by_arm["image->text"].weight == 0
    assert score(ledgers[1]) == pytest.approx(1 / 61)


def test_weights_shift_the_order() -> None:
    lists = {"a": ranked(1, 2), "b": ranked(2, 1)}
    heavy = Ranking(method="rrf", weights={"b": 3.0})
    ledgers = fuse(lists, lambda key: {"a", "b"}, heavy, BACKGROUND.evidence)
    assert score(ledgers[2]) > score(ledgers[1])
    assert [arm.weight for arm in ledgers[1]] == [0.25, 0.75]


keys = st.lists(st.integers(0, 30), max_size=15, unique=True)


@given(
    st.dictionaries(st.sampled_from(ARMS), keys, min_size=1),
    st.dictionaries(st.sampled_from(ARMS), st.floats(0.01, 10), max_size=3),
    st.sampled_from(["rrf", "weighted"]),
    st.integers(0, 7),
)
def test_contributions_sum_to_a_score_that_the_ledger_recomputes(
    lists: dict[str, list[int]], weights: dict[str, float], method: str, mask: int
) -> None:
    own = {arm for bit, arm in enumerate(ARMS) if mask >> bit & 1}
    given_lists = {arm: ranked(*found) for arm, found in lists.items()}
    ranking = Ranking(method="rrf" if method == "rrf" else "weighted", weights=weights)
    for ledger in fuse(given_lists, lambda key: own, ranking, BACKGROUND.evidence).values():
        assert 0 <= score(ledger) <= 1 + 1e-9
        for arm in ledger:
            if method == "rrf":
                value = 1 / (60 + arm.rank)
            else:
                value = float(BACKGROUND.evidence(arm.arm, given_lists[arm.arm])[arm.rank - 1])
            assert arm.contribution == arm.weight * value


def test_evidence_is_half_between_chance_and_related_and_rises() -> None:
    middle = np.array([(0.4 + 0.6) / 2], np.float32)
    assert BACKGROUND.nearness("text->text", middle)[0] == pytest.approx(0.5, abs=1e-6)
    values = BACKGROUND.nearness("text->image", np.array([0.4, 0.2, 0.1, -0.2], np.float32))
    assert np.all(np.diff(values) < 0)
    assert np.all((values >= 0) & (values <= 1))


def test_words_count_by_their_share_of_a_full_match() -> None:
    found = Ranked(np.array([1, 2, 3]), np.array([9.0, 8.0, 4.0], np.float32), full=8.0)
    assert BACKGROUND.evidence("lexical", found).tolist() == [1.0, 1.0, 0.5]


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "sum"},
        {"question": "early"},
        {"views": "both"},
        {"alpha": 1.5},
        {"picture_weight": -0.1},
        {"depth": 0},
        {"weights": {"lexical": -1.0}},
        {"weights": {"lexical": math.nan}},
    ],
)
def test_a_ranking_out_of_range_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(QuestionError):
        Ranking(**wrong)  # type: ignore[arg-type]


def unit(*values: float) -> np.ndarray:
    vector = np.array(values, np.float32)
    return vector / np.linalg.norm(vector)


def test_slerp_goes_its_share_of_the_angle() -> None:
    words, picture = unit(1, 0, 0), unit(0, 1, 0)
    for share in (0.0, 0.25, 0.5, 1.0):
        both = compose(words, picture, share, "slerp")
        assert math.acos(min(1.0, float(both @ words))) == pytest.approx(share * math.pi / 2, abs=1e-4)
        assert np.linalg.norm(both) == pytest.approx(1, abs=1e-6)


def test_compose_survives_equal_and_opposite_vectors() -> None:
    words = unit(1, 2, 3)
    for how in ("sum", "slerp"):
        assert np.allclose(compose(words, words, 0.5, how), words, atol=1e-5)
        assert np.isfinite(compose(words, -words, 0.5, how)).all()
