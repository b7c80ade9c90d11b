"""Runs over a real collection: measures, files, comparisons and errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import commonplace as cp
from commonplace.errors import CommonplaceError, QueryError, ReadError
from commonplace.evaluation import LabelledQuery, Run, compare, evaluate, load_queries

from .conftest import QUESTIONS

Write = Callable[..., Path]
WORDS = cp.Ranking(weights={"text->text": 0, "text->image": 0, "image->text": 0})


@pytest.fixture
def run(kb: cp.Collection, write: Write) -> Run:
    return evaluate(kb, write(*QUESTIONS), k=3, progress=False)


def test_every_query_is_searched_as_by_search(run: Run, kb: cp.Collection, folder: Path) -> None:
    assert [result.id for result in run.results] == [query["id"] for query in QUESTIONS]
    for result, query in zip(run.results, QUESTIONS, strict=True):
        image = folder / query["image"] if "image" in query else None
        hits = kb.search(query.get("text"), image=image, k=3, ranking=cp.Ranking(collapse=False))
        assert [(hit.id, hit.score, hit.breakdown) for hit in result.hits] == [
            (hit.item.id, hit.score, hit.breakdown) for hit in hits
        ]
        assert [hit.modality for hit in result.hits] == [hit.item.modality for hit in hits]
        assert all(hit.grade == result.relevant.get(hit.id, 0) for hit in result.hits)


def test_measures_follow_from_the_hits(run: Run) -> None:
    measures_of = {result.id: result.measures for result in run.results}
    assert set(measures_of["box"]) == {
        "recall@1", "recall@3", "nDCG@3", "MRR@3", "right modality", "share of text@3", "share of image@3",
    }  # fmt: skip
    assert (
        measures_of["box"]["recall@1"] == measures_of["box"]["MRR@3"] == measures_of["box"]["right modality"] == 1
    )  # finds itself
    assert measures_of["snow"]["nDCG@3"] == measures_of["seal"]["recall@1"] == 1
    assert measures_of["what"]["right modality"] == 0  # a picture finds pictures first
    assert measures_of["any"]["right modality"] is None  # passages and picture are equally relevant
    for measures in measures_of.values():
        assert (measures["share of text@3"] or 0) + (measures["share of image@3"] or 0) == pytest.approx(1)
    assert run.values("recall@1", "text->text") == [1.0, 1.0]
    assert len(run.values("right modality")) == 6 and run.values("right modality", "mixed") == []


def test_what_cannot_be_told_apart_was_not_found(tmp_path: Path) -> None:
    """Of two files that are the same the search shows one first, by its id: that is no merit."""
    draw = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray(draw).save(tmp_path / name / "same.png")
    Image.new("RGB", (64, 64), "red").save(tmp_path / "red.png")
    asked = [
        LabelledQuery(name, {f"{name}/same.png": 1.0}, image=tmp_path / "a" / "same.png", folder=tmp_path)
        for name in ("a", "b")
    ]
    with cp.open(tmp_path / "kb") as kb:
        kb.add(tmp_path / "a", tmp_path / "b", tmp_path / "red.png", workers=1, progress=False)
        run = evaluate(kb, asked, k=2, progress=False)
        assert run.values("recall@1") == [0.0, 0.0] and run.values("MRR@2") == [0.5, 0.5]
        assert evaluate(kb, asked, k=1, progress=False).values("recall@1") == [0.0, 0.0]
        assert [len(one.hits) for one in run.results] == [2, 2]


def test_the_summary_has_means_and_intervals_by_direction(run: Run) -> None:
    summary = run.summary(seed=1)
    assert tuple(summary) == ("all", *run.directions)
    assert run.directions == ("text->text", "text->image", "image->text", "image->image", "composed", "mixed")
    interval = summary["all"]["nDCG@3"]
    assert interval.count == 7 and interval.mean == pytest.approx(np.mean(run.values("nDCG@3")))
    assert interval.low is not None and interval.high is not None and interval.low < interval.mean < interval.high
    assert summary["composed"]["nDCG@3"].low is None
    assert "right modality" not in summary["mixed"]


def test_the_table_is_markdown_whose_columns_line_up(run: Run) -> None:
    lines = run.table().splitlines()
    assert len({len(line) for line in lines}) == 1 and len({line.count("|") for line in lines}) == 1
    assert lines[0].split("|")[2].strip() == "all" and "text->image" in lines[0]
    assert [cell.strip() for cell in lines[2].split("|")[1:-1]] == ["queries", "7", "2", "1", "1", "1", "1", "1"]
    rows = {line.split("|")[1].strip(): line for line in lines[3:]}
    assert tuple(rows) == run.measures
    mean = run.summary()["all"]["MRR@3"]
    assert f"{mean.mean:.3f} [{mean.low:.3f}, {mean.high:.3f}]" in rows["MRR@3"]
    assert rows["right modality"].rstrip("| ").endswith("-")  # the mixed question tells none


def test_one_direction_needs_no_column_for_all(kb: cp.Collection, write: Write) -> None:
    run = evaluate(kb, write(*QUESTIONS[:2]), k=1, progress=False)
    assert tuple(run.summary()) == ("text->text",)
    assert run.measures[0] == "recall@1" and "recall@5" not in run.measures


def test_a_saved_run_is_equal_and_describes_itself(run: Run, kb: cp.Collection, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text("old", encoding="utf-8")
    run.save(path)
    again = Run.load(path)
    assert again == run and again.table() == run.table()
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]
    values = json.loads(path.read_text(encoding="utf-8"))
    assert values["model"]["fingerprint"] == kb.space.fingerprint
    assert values["collection"]["documents"] == {"ok": 5} and values["ranking"]["method"] == "calibrated"
    assert values["summary"]["all"]["recall@1"] == run.summary()["all"]["recall@1"].dict()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"results": [], "k": 1}', '{"results": 3}', "\ufffe", '{"a": 1e'])
def test_a_file_that_is_no_run_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ReadError, match="is no run"):
        Run.load(path)


def test_an_absent_and_a_newer_run_are_refused_and_a_bad_place_to_save(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="cannot be read"):
        Run.load(tmp_path / "gone.json")
    (tmp_path / "new.json").write_text('{"format": 99}', encoding="utf-8")
    with pytest.raises(ReadError, match="newer version"):
        Run.load(tmp_path / "new.json")
    with pytest.raises(CommonplaceError, match="cannot be written"):
        run.save(tmp_path / "no" / "such" / "folder.json")


def test_a_damaged_part_of_a_run_is_refused(run: Run, tmp_path: Path) -> None:
    values = run.dict()
    del values["results"][0]["hits"][0]["score"]
    (tmp_path / "run.json").write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(ReadError, match="is no run"):
        Run.load(tmp_path / "run.json")


def test_invalid_queries_are_refused(kb: cp.Collection, write: Write, folder: Path) -> None:
    path = write(*QUESTIONS)
    with pytest.raises(QueryError, match="k is 0"):
        evaluate(kb, path, k=0)
    with pytest.raises(QueryError, match="no queries"):
        evaluate(kb, [])
    query = LabelledQuery("a", {"weather.txt": 1}, "snow", folder=folder)
    with pytest.raises(QueryError, match="1 of the queries"):
        evaluate(kb, [query, query])
    with pytest.raises(ReadError, match=r"line 1: .*weather\.txt"):  # no picture at all
        evaluate(kb, write({"image": "weather.txt", "relevant": {"weather.txt": 1}}), progress=False)


def test_queries_in_the_collection_itself_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "q.txt"
    path.write_text('{"text": "lighthouse", "relevant": {"a.txt": 1}}', encoding="utf-8")
    (tmp_path / "a.txt").write_text("A lighthouse keeper.", encoding="utf-8")
    with cp.open(tmp_path / "kb") as kb:
        kb.add(tmp_path, workers=1, progress=False)
        with pytest.raises(QueryError, match="is itself in the collection"):
            evaluate(kb, path, progress=False)
        kb.remove(path)
        assert evaluate(kb, path, progress=False).values("recall@1") == [1.0]


def test_a_query_without_hits_scores_zero(kb: cp.Collection, folder: Path) -> None:
    query = LabelledQuery("a", {"weather.txt": 1}, "zyxwv", folder=folder)
    run = evaluate(kb, [query], ranking=WORDS, progress=False)
    assert run.results[0].hits == ()
    measures = run.results[0].measures
    assert measures["recall@10"] == measures["nDCG@10"] == measures["MRR@10"] == measures["right modality"] == 0
    assert measures["share of text@10"] is None
    assert "| share of text@10  | -  " in run.table()


def test_a_collection_of_one_picture(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "green").save(tmp_path / "green.png")
    with cp.open(tmp_path / "kb") as kb:
        kb.add(tmp_path / "green.png", workers=1, progress=False)
        run = evaluate(kb, [LabelledQuery("a", {"green.png": 1}, "green", folder=tmp_path)], progress=False)
    assert run.results[0].measures == {
        "recall@1": 1, "recall@5": 1, "recall@10": 1, "nDCG@10": 1, "MRR@10": 1, "right modality": 1,
        "share of text@10": 0, "share of image@10": 1,
    }  # fmt: skip


def test_the_bar_counts_queries(kb: cp.Collection, write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(kb, write(*QUESTIONS[:2]), progress=True)
    assert "2/2" in capsys.readouterr().err


# --- two runs ------------------------------------------------------------------------------------------------


def test_a_run_compared_with_itself_has_not_changed(run: Run) -> None:
    comparison = compare(run, run)
    assert comparison.shared == 7 and comparison.notes == ()
    assert {row[0] for row in comparison.rows} == {"all", *run.directions}
    for difference in comparison.rows.values():
        assert difference.before == difference.after and difference.change.mean == 0 and difference.p == 1


def test_a_worse_ranking_shows_as_a_loss(run: Run, kb: cp.Collection, write: Write, folder: Path) -> None:
    worse = evaluate(kb, load_queries(write(*QUESTIONS)), k=3, ranking=WORDS, progress=False)
    loss = compare(run, worse).rows["all", "nDCG@3"]
    differences = np.subtract(worse.values("nDCG@3"), run.values("nDCG@3"))
    assert loss.change.mean == pytest.approx(differences.mean()) and loss.change.mean < 0
    assert loss.after - loss.before == pytest.approx(loss.change.mean)
    assert loss.change.low is not None and loss.change.low < loss.change.mean
    gain = compare(worse, run).rows["all", "nDCG@3"]
    assert gain.change.mean == pytest.approx(-loss.change.mean)
    assert gain.p == loss.p and loss.p is not None and 0 < loss.p <= 1


def test_the_comparison_prints_and_is_plain_data(run: Run) -> None:
    comparison = compare(run, run)
    lines = comparison.table().splitlines()
    assert len(lines) == 2 + len(comparison.rows) and "+0.000 [+0.000, +0.000]" in comparison.table()
    row = json.loads(json.dumps(comparison.dict()))["rows"][0]
    assert row["direction"] == "all" and row["measure"] == "recall@1" and row["p"] == 1


def test_only_shared_queries_are_compared_and_the_others_noted(run: Run) -> None:
    few = replace(run, results=run.results[:2])
    changed = replace(few.results[0], relevant={"another": 1.0})
    comparison = compare(run, replace(few, k=5, results=(changed, few.results[1])))
    assert comparison.shared == 2 and comparison.rows["text->text", "recall@1"].change.count == 2
    assert len(comparison.notes) == 3
    text = comparison.table()
    assert "5 queries are in the earlier run only" in text and "k = 3" in text and "1 queries have different" in text


def test_runs_over_other_queries_are_not_compared(run: Run) -> None:
    renamed = replace(run, results=tuple(replace(result, id=f"other {result.id}") for result in run.results))
    with pytest.raises(QueryError, match="share no query"):
        compare(run, renamed)
    swapped = replace(run, results=(replace(run.results[0], text="something else"),))
    with pytest.raises(QueryError, match="'seal' is a different query"):
        compare(run, swapped)
