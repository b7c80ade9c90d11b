"""Reranking: passages change places among themselves, the score breakdown still adds up, the bundled model does what
it says."""

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
    """A reranker that gives the scores that a test wants."""

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
    return "".join(one.item.id for one in hits)


def test_passages_change_places_and_pictures_keep_theirs() -> None:
    hits = [hit("a", [0.9]), hit("P", [0.8], "image"), hit("b", [0.6]), hit("c", [0.5]), hit("Q", [0.4], "video")]
    reranker = Given([1, 3, 2])
    found = rerank(reranker, "question", hits)
    assert ids(found) == "bPcaQ"
    assert reranker.read == ["Title\nwords of a", "Title\nwords of b", "Title\nwords of c"]
    assert [one.score for one in found] == pytest.approx([0.9, 0.8, 0.6, 0.5, 0.4])
    assert found[1] is hits[1] and found[4] is hits[4]
    line = found[0].breakdown[-1]
    assert (line.channel, line.score, line.rank, line.weight) == ("rerank:given", 3, 1, 1)
    assert line.contribution == pytest.approx(0.3) and found[0].breakdown[:-1] == hits[2].breakdown


def test_only_so_deep_and_never_with_nothing_to_compare() -> None:
    hits = [hit(name, [score]) for name, score in zip("abcd", (0.9, 0.8, 0.7, 0.6), strict=True)]
    assert ids(rerank(Given([1, 2, 3, 4], depth=3), "q", hits)) == "cbad"
    assert rerank(Given([1], depth=1), "q", hits) == hits
    assert rerank(Given([1, 2, 3, 4]), "", hits) == hits
    assert rerank(Given([]), "q", []) == []


def test_the_share_is_the_rerankers_part() -> None:
    hits = [hit("a", [0.9]), hit("b", [0.5]), hit("c", [0.45])]
    scores = [1.0, 1.1, 3.0]  # says c, b, a; the first search says a and then long nothing
    assert ids(rerank(Given(scores), "q", hits)) == "cba"
    assert ids(rerank(Given(scores, share=0.3), "q", hits)) == "acb"
    assert ids(rerank(Given(scores, share=1e-9), "q", hits)) == "abc"
    assert ids(rerank(Given([2, 2, 2]), "q", hits)) == "abc"  # ties keep their order


@pytest.mark.parametrize("scores", [[1.0, math.nan], [1.0, math.inf], [1.0]])
def test_a_broken_reranker_is_named(scores: list[float]) -> None:
    with pytest.raises(ModelError, match="given"):
        rerank(Given(scores), "q", [hit("a", [0.9]), hit("b", [0.8])])


parts = st.lists(st.floats(0, 1), min_size=1, max_size=4)
kinds = st.sampled_from(["text", "text", "image"])


@given(st.lists(st.tuples(parts, kinds, st.floats(-10, 10)), max_size=20), st.floats(0.01, 1), st.integers(1, 25))
def test_every_score_is_the_sum_of_its_ledger_and_falls_with_rank(
    rows: list[tuple[list[float], Modality, float]], share: float, depth: int
) -> None:
    hits = [hit(str(n), [part / len(own) for part in own], kind) for n, (own, kind, _) in enumerate(rows)]
    hits.sort(key=lambda one: -one.score)
    found = rerank(Given([score for _, _, score in rows], depth=depth, share=share), "q", hits)
    assert sorted(one.item.id for one in found) == sorted(one.item.id for one in hits)
    assert all(
        one.score == pytest.approx(math.fsum(channel.contribution for channel in one.breakdown)) for one in found
    )
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert [one.score for one in found] == pytest.approx([one.score for one in hits], abs=1e-12)
    assert all(one in hits for one in found if one.item.modality == "image")


def test_maxsim_is_the_papers_sum(space: Space) -> None:
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


def test_words_that_say_nothing_are_left_out_unless_there_are_no_others() -> None:
    spans = np.array([(0, 3), (4, 8), (8, 9), (10, 11), (0, 0)])
    assert _content_tokens("how seal1 x", np.array([(0, 3), (4, 8), (8, 9), (10, 11)])).tolist() == [
        False,
        True,
        True,
        True,
    ]
    assert _content_tokens("how does it", spans[:2]).tolist() == [True, True]


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


def test_a_search_reads_its_best_passages_again(kb: cp.Collection) -> None:
    question = "which seal does the north pump need"
    plain, again = kb.search(question, k=10), kb.search(question, k=10, rerank="maxsim")
    assert {one.item.id for one in plain} == {one.item.id for one in again}
    for one in again:
        lines = [channel for channel in one.breakdown if channel.channel == "rerank:maxsim"]
        assert len(lines) == (one.item.modality == "text")
        odds = math.fsum(channel.contribution for channel in one.breakdown)
        assert one.score == pytest.approx(1 / (1 + math.exp(-odds))) == one.confidence
    assert Path(again[0].item.document.path).name == "pump.txt"
    place = [one.item.modality for one in plain].index("image")
    assert again[place].item.modality == "image" and again[place].breakdown == plain[place].breakdown
    assert not kb.ask(question, rerank="maxsim").abstained


def test_what_is_below_the_cut_can_rise_above_it(kb: cp.Collection) -> None:
    question = "the blue seal of the north pump"
    last = [one for one in kb.search(question, k=10) if one.item.modality == "text"][-1]
    (found,) = kb.search(question, k=1, modality="text", rerank=_Last(last.item.text_view or ""))
    assert found.item.id == last.item.id


class _Last:
    name, depth, share = "last", 30, 1.0

    def __init__(self, text: str) -> None:
        self._text = text

    def reads(self, text: str) -> bool:
        return True

    def scores(self, question: str, texts: Sequence[str]) -> np.ndarray:
        return np.array([text == self._text for text in texts], dtype=np.float32)


def test_a_question_that_the_reranker_cannot_read_is_noted(kb: cp.Collection, tmp_path: Path) -> None:
    found = kb.search("蓝色密封圈", rerank="maxsim")
    assert found == kb.search("蓝色密封圈") and any("not reranked" in note for note in found.notes)
    by_picture = kb.search(image=tmp_path / "notes" / "blue.png", rerank="maxsim")
    assert by_picture and any("not reranked" in note for note in by_picture.notes)


def test_an_unknown_reranker_is_an_error_in_one_line(kb: cp.Collection, tmp_path: Path) -> None:
    for name in ("maxsum", "", tmp_path / "nothing"):
        with pytest.raises(ModelError, match="no reranker"):
            kb.search("pump", rerank=name)
    with pytest.raises(ModelError, match="no cross-encoder"):
        kb.search("pump", rerank=tmp_path / "notes")
