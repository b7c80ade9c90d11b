"""Reranking: passages change places among themselves, breakdowns still add up, and the bundled model works."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import commonplace as cp
from commonplace.errors import ModelError
from commonplace.retrieval import LateInteraction, rerank
from commonplace.retrieval.rerank import _content_tokens
from commonplace.space import Space
from commonplace.types import Document, Hit, Item, Modality, ScoreComponent, Span

DOCUMENT = Document("d", "file:///d", "/d", "text/plain")


class Given:
    """A reranker that returns the scores of a test."""

    def __init__(self, scores: Sequence[float], *, depth: int = 30, share: float = 1.0) -> None:
        self.name, self.depth, self.share, self._scores = "given", depth, share, scores
        self.read: list[str] = []

    def reads(self, text: str) -> bool:
        return True

    def scores(self, question: str, texts: Sequence[str]) -> np.ndarray:
        self.read = list(texts)
        return np.array(self._scores[: len(texts)], dtype=np.float32)


def hit(name: str, parts: Sequence[float], modality: Modality = "text") -> Hit:
    channels = tuple(ScoreComponent(f"channel{n}", part, 1, 1.0, part) for n, part in enumerate(parts))
    item = Item(name, DOCUMENT, modality, Span(), f"words of {name}", "Title")
    return Hit(item, math.fsum(parts), channels)


def ids(hits: Sequence[Hit]) -> str:
    return "".join(hit.item.id for hit in hits)


def test_passages_change_places_and_pictures_keep_theirs() -> None:
    hits = [hit("a", [0.9]), hit("P", [0.8], "image"), hit("b", [0.6]), hit("c", [0.5]), hit("Q", [0.4], "video")]
    reranker = Given([1, 3, 2])
    result = rerank(reranker, "question", hits)
    assert ids(result) == "bPcaQ"
    assert reranker.read == ["Title\nwords of a", "Title\nwords of b", "Title\nwords of c"]
    assert [ranked_hit.score for ranked_hit in result] == pytest.approx([0.9, 0.8, 0.6, 0.5, 0.4])
    assert result[1] is hits[1] and result[4] is hits[4]
    line = result[0].breakdown[-1]
    assert (line.channel, line.score, line.rank, line.weight) == ("rerank:given", 3, 1, 1)
    assert line.contribution == pytest.approx(0.3) and result[0].breakdown[:-1] == hits[2].breakdown


def test_only_hits_within_the_depth_are_reranked() -> None:
    hits = [hit(name, [score]) for name, score in zip("abcd", (0.9, 0.8, 0.7, 0.6), strict=True)]
    assert ids(rerank(Given([1, 2, 3, 4], depth=3), "q", hits)) == "cbad"
    assert rerank(Given([1], depth=1), "q", hits) == hits
    assert rerank(Given([1, 2, 3, 4]), "", hits) == hits
    assert rerank(Given([]), "q", []) == []


def test_the_share_is_the_weight_of_the_reranker() -> None:
    hits = [hit("a", [0.9]), hit("b", [0.5]), hit("c", [0.45])]
    scores = [1.0, 1.1, 3.0]  # the reranker's order is c, b, a; in the first search a leads by far
    assert ids(rerank(Given(scores), "q", hits)) == "cba"
    assert ids(rerank(Given(scores, share=0.3), "q", hits)) == "acb"
    assert ids(rerank(Given(scores, share=1e-9), "q", hits)) == "abc"
    assert ids(rerank(Given([2, 2, 2]), "q", hits)) == "abc"  # ties keep their order


@pytest.mark.parametrize("scores", [[1.0, math.nan], [1.0, math.inf], [1.0]])
def test_a_broken_reranker_is_reported_by_name(scores: list[float]) -> None:
    with pytest.raises(ModelError, match="given"):
        rerank(Given(scores), "q", [hit("a", [0.9]), hit("b", [0.8])])


parts = st.lists(st.floats(0, 1), min_size=1, max_size=4)
kinds = st.sampled_from(["text", "text", "image"])


@given(st.lists(st.tuples(parts, kinds, st.floats(-10, 10)), max_size=20), st.floats(0.01, 1), st.integers(1, 25))
def test_every_score_is_the_sum_of_its_breakdown_and_decreases_with_rank(
    rows: list[tuple[list[float], Modality, float]], share: float, depth: int
) -> None:
    hits = [hit(str(n), [part / len(values) for part in values], kind) for n, (values, kind, _) in enumerate(rows)]
    hits.sort(key=lambda ranked_hit: -ranked_hit.score)
    result = rerank(Given([score for _, _, score in rows], depth=depth, share=share), "q", hits)
    assert sorted(ranked_hit.item.id for ranked_hit in result) == sorted(hit.item.id for hit in hits)
    assert all(
        ranked_hit.score == pytest.approx(math.fsum(channel.contribution for channel in ranked_hit.breakdown))
        for ranked_hit in result
    )
    assert [ranked_hit.score for ranked_hit in result] == sorted(
        (ranked_hit.score for ranked_hit in result), reverse=True
    )
    assert [ranked_hit.score for ranked_hit in result] == pytest.approx([hit.score for hit in hits], abs=1e-12)
    assert all(ranked_hit in hits for ranked_hit in result if ranked_hit.item.modality == "image")


def test_maxsim_follows_the_formula_of_the_paper(space: Space) -> None:
    question, texts = "Which seal fits the north pump?", ["The blue seal fits the north pump.", "Snow fell."]
    asked = space.bundle.text.tokens([question], "query")[0]
    words = [question[a:b].lower() for a, b in asked.spans]
    assert words == ["which", "seal", "fits", "the", "north", "pump", "?"]
    expected = []
    for passage in space.bundle.text.tokens(texts):
        best = []
        for word, vector in zip(words, asked.vectors, strict=True):
            if word in ("seal", "fits", "north", "pump"):
                cosines = passage.vectors @ vector / np.linalg.norm(passage.vectors, axis=1) / np.linalg.norm(vector)
                best.append(cosines.max())
        expected.append(sum(best) / len(best))
    scores = LateInteraction(space).scores(question, texts)
    assert scores == pytest.approx(expected, abs=0.01)  # bf16 rounds a little differently in another batch
    assert scores[0] > scores[1] + 0.3


def test_stop_words_are_left_out_unless_there_are_no_others() -> None:
    spans = np.array([(0, 3), (4, 8), (8, 9), (10, 11), (0, 0)])
    assert _content_tokens("how seal1 x", np.array([(0, 3), (4, 8), (8, 9), (10, 11)])).tolist() == [
        False,
        True,
        True,
        True,
    ]
    assert _content_tokens("how does it", spans[:2]).tolist() == [True, True]
    assert _content_tokens("the Ångström 單位", np.array([(0, 3), (4, 12), (13, 15)])).tolist() == [False, True, True]


def test_texts_without_words_are_no_match(space: Space) -> None:
    scores = LateInteraction(space).scores("north pump", ["", "the north pump"])
    assert scores[0] == -1 and scores[1] > 0.5


@pytest.fixture
def kb(tmp_path: Path) -> cp.Collection:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "pump.txt").write_text("The north pump needs the blue seal. Change it every spring.")
    (notes / "seal.txt").write_text("Seals on the beach: the blue sea and the north wind. A pump was heard.")
    (notes / "snow.txt").write_text("Snow fell on the mountains all night long. The road was closed.")
    (notes / "zh.txt").write_text("北边的水泵需要蓝色的密封圈。")
    Image.new("RGB", (64, 64), "blue").save(notes / "blue.png")
    collection = cp.open(tmp_path / "kb")
    assert not collection.add(notes, workers=1).failed
    return collection


def test_a_search_can_rerank_its_best_passages(kb: cp.Collection) -> None:
    question = "which seal does the north pump need"
    plain, again = kb.search(question, k=10), kb.search(question, k=10, rerank="maxsim")
    assert {ranked_hit.item.id for ranked_hit in plain} == {ranked_hit.item.id for ranked_hit in again}
    for ranked_hit in again:
        lines = [channel for channel in ranked_hit.breakdown if channel.channel == "rerank:maxsim"]
        assert len(lines) == (ranked_hit.item.modality == "text")
        odds = math.fsum(channel.contribution for channel in ranked_hit.breakdown)
        assert ranked_hit.score == pytest.approx(1 / (1 + math.exp(-odds))) == ranked_hit.confidence
    assert Path(again[0].item.document.path).name == "pump.txt"
    place = [ranked_hit.item.modality for ranked_hit in plain].index("image")
    assert again[place].item.modality == "image" and again[place].breakdown == plain[place].breakdown
    assert not kb.ask(question, rerank="maxsim").abstained


def test_reranking_can_lift_a_passage_above_k(kb: cp.Collection) -> None:
    question = "the blue seal of the north pump"
    last = [hit for hit in kb.search(question, k=10) if hit.item.modality == "text"][-1]
    (best,) = kb.search(question, k=1, modality="text", rerank=_Last(last.item.text_view or ""))
    assert best.item.id == last.item.id


class _Last:
    name, depth, share = "last", 30, 1.0

    def __init__(self, text: str) -> None:
        self._text = text

    def reads(self, text: str) -> bool:
        return True

    def scores(self, question: str, texts: Sequence[str]) -> np.ndarray:
        return np.array([text == self._text for text in texts], dtype=np.float32)


def test_a_question_that_the_reranker_cannot_read_is_noted(kb: cp.Collection, tmp_path: Path) -> None:
    hits = kb.search("蓝色密封圈", rerank="maxsim")
    assert hits == kb.search("蓝色密封圈") and any("not reranked" in note for note in hits.notes)
    by_picture = kb.search(image=tmp_path / "notes" / "blue.png", rerank="maxsim")
    assert by_picture and any("not reranked" in note for note in by_picture.notes)


def test_an_unknown_reranker_is_an_error_in_one_line(kb: cp.Collection, tmp_path: Path) -> None:
    for name in ("maxsum", "", tmp_path / "nothing"):
        with pytest.raises(ModelError, match="no reranker"):
            kb.search("pump", rerank=name)
    with pytest.raises(ModelError, match="no cross-encoder"):
        kb.search("pump", rerank=tmp_path / "notes")
