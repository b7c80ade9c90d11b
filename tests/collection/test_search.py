"""Searches of a collection of real files: by words, by pictures, by both."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

import commonplace as cp
from commonplace.types import Query
from tests.collection.common import names
from tests.conftest import data


def test_words_find_a_passage_with_the_same_meaning(kb: cp.Collection) -> None:
    assert names(kb.search("which gasket colour does the northern water pump take", k=1)) == ["pumps.md"]
    assert names(kb.search("winter storm blocks street", k=1)) == ["weather.txt"]


def test_chinese_is_found_by_full_text_with_a_note(kb: cp.Collection) -> None:
    hits = kb.search("蓝色密封圈", k=3)
    assert names(hits)[0] == "zh.txt"
    assert hits.notes and "full text only" in hits.notes[0]
    assert {channel.channel for hit in hits for channel in hit.breakdown if channel.rank} == {"lexical"}
    answer = kb.ask("北边的水泵需要什么")
    assert not answer.abstained and "密封圈" in answer.blocks[0].text


def test_the_hubness_of_a_text_is_subtracted_from_its_cosine(tmp_path: Path) -> None:
    captions = ["A man is standing in front of a building.", "A llama in a tuxedo signs the surrender.", "Some people."]
    for n, caption in enumerate(captions):
        (tmp_path / f"{n}.txt").write_text(caption)
    with cp.open(tmp_path / "kb") as kb:
        kb.add(*sorted(tmp_path.glob("*.txt")))
        asked = kb.space.encode_query(Query("a man in a suit before a house")).text
        hits = kb.search("a man in a suit before a house", k=3)
        output = {hit.item.text: line for hit in hits for line in hit.breakdown if line.channel == "text->text"}
        rows = kb.space.embed(captions)
    taken = kb.space.text_hubness(rows)
    scores = rows @ asked - taken
    assert taken.max() > 0.02
    assert np.allclose([output[caption].score for caption in captions], scores, atol=2e-3)  # rows are kept as float16
    assert [output[caption].rank for caption in captions] == (np.argsort(np.argsort(-scores)) + 1).tolist()


def test_a_picture_finds_itself_and_scores_stay_in_range(kb: cp.Collection, folder: Path) -> None:
    hits = kb.search(image=folder / "pictures" / "box.png", k=5)
    assert names(hits)[0] == "box.png"
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert all(0 <= hit.score <= 1 for hit in hits)


def test_every_kind_of_query_has_breakdowns_that_add_up(kb: cp.Collection, folder: Path) -> None:
    picture = folder / "pictures" / "ball.png"
    for method in ("calibrated", "rrf"):
        for question in ("late", "sum", "slerp"):
            for views in ("separate", "fused", "concat"):
                ranking = cp.Ranking(method=method, question=question, views=views)  # type: ignore[arg-type]
                hits = kb.search("a red ball", image=picture, k=20, ranking=ranking)
                assert hits, ranking
                for hit in hits:
                    total = math.fsum(channel.contribution for channel in hit.breakdown)
                    score = 1 / (1 + math.exp(-total)) if method == "calibrated" else total
                    assert hit.score == pytest.approx(score, abs=1e-12)
                    assert 0 <= hit.confidence <= 1 and (method != "calibrated" or hit.confidence == hit.score)
                channels = {channel.channel for hit in hits for channel in hit.breakdown}
                assert ("changed->image" in channels) == ranking.fuses_late
                channels -= {"lexical", "match_density", "prior", "together", "image->semantic"}
                channels -= {"changed->image", "near_duplicate"}
                asked = {"text", "image"} if question == "late" else {"both"}
                result = {"text", "image"} if views == "separate" else {"item"}
                assert channels == {f"{a}->{f}" for a in asked for f in result}


def test_results_are_the_same_every_time(kb: cp.Collection) -> None:
    first = [hit.dict() for hit in kb.search("a ball on the road", k=20)]
    assert first == [hit.dict() for hit in kb.search("a ball on the road", k=20)]
    json.dumps(first)


def test_invalid_queries_are_refused_with_advice(kb: cp.Collection, folder: Path, tmp_path: Path) -> None:
    wrong_values: list[dict[str, object]] = [
        {"text": " "}, {"text": None}, {"text": "x" * 30_000}, {"text": "x", "modality": "sound"},
        {"text": "x", "path": ""}, {"text": "x", "media_type": ""},
        *({"text": "x", "k": k} for k in (0, -1, 10**9, 2.5, float("nan"), "3", None)),
    ]  # fmt: skip
    for wrong in wrong_values:
        with pytest.raises(cp.QueryError):
            kb.search(**wrong)  # type: ignore[arg-type]
    with pytest.raises(cp.QueryError, match="empty"):
        kb.remove("")
    with pytest.raises(cp.QueryError, match="workers"):
        kb.add(folder, workers=-1)
    with pytest.raises(cp.ReadError, match="no picture"):
        kb.search(image=tmp_path / "absent.png")
    with pytest.raises(cp.ReadError):
        kb.search(image=folder / "pumps.md")
    with pytest.raises(cp.QueryError, match="RGB uint8"):
        kb.search(image=np.zeros((4, 4), np.uint8))


def test_hostile_queries_break_nothing(kb: cp.Collection) -> None:
    for text in json.loads((data("blns") / "blns.json").read_text(encoding="utf-8"))[::2]:
        if text.replace("\x00", " ").strip():
            kb.search(text, k=3)
    kb.search("lone surrogate \ud800", k=3)
    kb.search("word " * 3000, k=3)


def test_real_photographs_are_found_by_caption(tmp_path: Path) -> None:
    """A sanity check on real pictures; the figures are measured in benchmarks/quality.py."""
    folder = data("flickr8k")
    captions: dict[str, list[str]] = {}
    for line in (folder / "Flickr8k.token.txt").read_text(encoding="utf-8").splitlines():
        name, caption = line.split("\t")
        captions.setdefault(name.split("#")[0], []).append(caption)
    chosen = (folder / "Flickr_8k.devImages.txt").read_text().split()[:40]
    with cp.open(tmp_path / "kb") as kb:
        assert kb.add(*(folder / "images" / name for name in chosen)).added == 40
        right = sum(names(kb.search(captions[name][0], k=5)).count(name) for name in chosen)
    assert right >= 24  # of 40; by chance 5


def test_negative_queries_lower_matching_hits(kb: cp.Collection, folder: Path) -> None:
    plain = {hit.item.id: hit for hit in kb.search("pump", k=20)}
    less = {hit.item.id: hit for hit in kb.search("pump", negative="dry in August", k=20)}
    assert set(plain) == set(less)
    (south,) = (id_ for id_, hit in plain.items() if "runs dry" in (hit.item.text or ""))
    assert less[south].score < plain[south].score
    assert any(channel.channel.startswith("not ") and channel.contribution < 0 for channel in less[south].breakdown)
    assert all(less[id_].score <= plain[id_].score for id_ in plain)
    ball = folder / "pictures" / "ball.png"
    hits = kb.search("a ball or a box", negative_image=ball, modality="image", k=5)  # two copies of the ball are one
    negative_weight = {
        names([hit])[0]: math.fsum(
            channel.contribution for channel in hit.breakdown if channel.channel.startswith("not ")
        )
        for hit in hits
    }
    near_duplicates = {names([hit])[0]: len(hit.near_duplicates) for hit in hits}
    (values,) = set(negative_weight) - {"box.png"}  # either of the two
    assert negative_weight[values] < 2 * negative_weight["box.png"] < 0 and near_duplicates == {values: 1, "box.png": 0}


def test_a_minimum_confidence_leaves_out_unlikely_hits(kb: cp.Collection) -> None:
    every = kb.search("Which seal does the north pump need?", k=20)
    assert 0 < every[-1].confidence < 0.1 < every[0].confidence
    some = kb.search("Which seal does the north pump need?", k=20, min_confidence=0.1)
    assert [hit.item.id for hit in some] == [hit.item.id for hit in every if hit.confidence >= 0.1]
    answer = kb.ask("quarterly revenue of the shipping division", min_confidence=0.5)
    assert answer.abstained and not answer.hits
    for wrong in (-0.1, 1.5, math.nan):
        with pytest.raises(cp.QueryError, match="min_confidence"):
            kb.search("pump", min_confidence=wrong)


def test_one_item_and_one_modality_work(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("The gauge reads nine bar.", encoding="utf-8")
    with cp.open(tmp_path / "kb") as kb:
        kb.add(tmp_path / "one.txt")
        for method in ("calibrated", "rrf"):
            (hit,) = kb.search("gauge", ranking=cp.Ranking(method=method))  # type: ignore[arg-type]
            assert 0 <= hit.score <= 1 and math.isfinite(hit.confidence)
        assert kb.search("gauge")[0].confidence > kb.search("a herd of elephants")[0].confidence


@pytest.mark.parametrize("method", ["calibrated", "rrf"])
def test_identical_items_and_filters_that_allow_nothing(tmp_path: Path, method: str) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    for n in range(12):  # the same words and the same vector, twelve times: every score is equal
        (notes / f"{n:02d}.txt").write_text("The gauge reads nine bar.", encoding="utf-8")
    with cp.open(tmp_path / "kb") as kb:
        kb.add(notes, workers=1, progress=False)
        ranking = cp.Ranking(method=method, collapse=False)  # type: ignore[arg-type]
        hits = kb.search("gauge", k=20, ranking=ranking)
        assert len(hits) == 12 and len({hit.score for hit in hits}) == (12 if method == "rrf" else 1)
        assert all(0 <= hit.score <= 1 and math.isfinite(hit.confidence) for hit in hits)
        (hit,) = kb.search("gauge", k=20, ranking=cp.Ranking(method=method))  # type: ignore[arg-type]
        assert len(hit.near_duplicates) == 11
        for nothing in ({"modality": "image"}, {"path": "nowhere/*"}, {"media_type": "image/*"}):
            assert kb.search("gauge", ranking=ranking, **nothing) == []  # type: ignore[arg-type]
            assert kb.ask("gauge", ranking=ranking, **nothing).abstained  # type: ignore[arg-type]
