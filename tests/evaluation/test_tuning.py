"""Tuning: a better ranking is found and stored, a ranking that is not significantly better is not stored."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import commonplace as cp
from commonplace.errors import QueryError
from commonplace.evaluation import LabelledQuery, evaluate, feedback_queries, tune
from commonplace.retrieval import Calibration
from commonplace.store.index_file import sums

WORDS = ("brass", "pump", "winter", "valve", "harbour", "copper", "lamp", "garden", "engine", "paper")


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[cp.Collection, list[LabelledQuery]]]:
    """Forty notes, each with three of ten words, and noise as vectors: only lexical search finds them."""
    root = tmp_path_factory.mktemp("tuning")
    (root / "notes").mkdir()
    triples = list(itertools.combinations(WORDS, 3))[::3][:40]
    for i, words in enumerate(triples):
        (root / "notes" / f"{i:02d}.txt").write_text(" ".join(words) + ".", encoding="utf-8")
    with cp.open(root / "kb") as kb:
        kb.add(root / "notes", workers=1, progress=False)
    random = np.random.default_rng(0)
    with sqlite3.connect(root / "kb" / "collection.db") as database:
        for (key,) in database.execute("SELECT rowid FROM vectors").fetchall():
            noise = random.normal(size=384).astype("<f4")
            noise /= np.linalg.norm(noise)
            # Far from every question and from each other; the best of it is still "significant" by chance.
            noise = noise.astype("<f2")  # as vectors are stored
            checksum = int(sums(noise.astype("<f4")[None])[0])
            database.execute(
                "UPDATE vectors SET vector = ?, checksum = ? WHERE rowid = ?", (noise.tobytes(), checksum, key)
            )
        database.execute("UPDATE meta SET value = value + 1 WHERE name = 'generation'")
    database.close()
    questions = [
        LabelledQuery(f"q{i}", {str(root / "notes" / f"{i:02d}.txt"): 1.0}, " ".join(words))
        for i, words in enumerate(triples)
    ]
    with cp.open(root / "kb") as kb:
        yield kb, questions


@pytest.fixture(autouse=True)
def no_lookups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Questions that stand in a note as written are looked up, whatever the weights: here the weights are tried."""
    monkeypatch.setattr(Calibration, "lookup_probability", lambda *_: 0.0)


def noisy(kb: cp.Collection) -> cp.Ranking:
    """Return a ranking in which the weight of the noise is far above that of the words."""
    return cp.Ranking(weights={"text->text": 50.0, "lexical": 0.05})


def test_a_broken_channel_is_found_out_from_twenty_labels(
    labelled: tuple[cp.Collection, list[LabelledQuery]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from commonplace.evaluation import tuning

    kb, questions = labelled
    # The default trusts meaning more than these noise vectors deserve; make it trust them far too much.
    monkeypatch.setattr(tuning, "Ranking", lambda: noisy(kb))
    tuning_result = tune(kb, questions[:20], progress=False)
    assert tuning_result.kept and tuning_result.after > tuning_result.before and tuning_result.p < 0.05
    assert tuning_result.broken == ("text->text",) and "no other channel agrees" in str(tuning_result)
    assert kb.ranking == tuning_result.ranking != cp.Ranking()
    held_out = questions[20:]
    words = cp.Ranking(weights={"text->text": 0.0, "text->image": 0.0})
    best = np.mean(evaluate(kb, held_out, ranking=words, progress=False).values("nDCG@10"))
    tuned = np.mean(evaluate(kb, held_out, progress=False).values("nDCG@10"))  # the stored ranking
    assert tuned >= best - 0.005
    kb.ranking = None
    assert kb.ranking == cp.Ranking()


def test_a_ranking_that_is_not_significantly_better_is_not_kept(
    labelled: tuple[cp.Collection, list[LabelledQuery]],
) -> None:
    kb, questions = labelled
    random = np.random.default_rng(1)
    documents = [document.path for document in kb.documents()]
    wrong = [
        LabelledQuery(query.id, {documents[random.integers(len(documents))]: 1.0}, query.text)
        for query in questions[:12]
    ]
    result = tune(kb, wrong, progress=False)
    assert not result.kept and "stays as it was" in str(result)
    assert kb.ranking == cp.Ranking()


def test_invalid_labels_are_refused(labelled: tuple[cp.Collection, list[LabelledQuery]]) -> None:
    kb, questions = labelled
    with pytest.raises(QueryError, match="9 labelled queries are too few"):
        tune(kb, questions[:9])
    with pytest.raises(QueryError, match="1 labelled query is too few"):
        tune(kb, questions[:1])
    with pytest.raises(QueryError, match="matches nothing"):
        tune(kb, [*questions[:11], LabelledQuery("x", {"nowhere.txt": 1.0}, "pump")], progress=False)
    with pytest.raises(QueryError, match="folds"):
        tune(kb, questions, folds=1)


def test_feedback_makes_queries(labelled: tuple[cp.Collection, list[LabelledQuery]], tmp_path: Path) -> None:
    kb, _ = labelled
    first, second = kb.search("brass pump winter", k=2)
    kb.label("brass  pump winter", first.item.id, True)
    kb.label("brass pump winter", second.item.id, True)
    kb.label("brass pump winter", second.item.id, False)  # the last word counts
    assert kb.labels()[-1] == ("brass pump winter", None, second.item.id, False)
    (query,) = feedback_queries(kb)
    assert query.text == "brass pump winter" and set(query.relevant) == {first.item.id}
    with pytest.raises(QueryError, match="no item"):
        kb.label("pump", "nonsense", True)
    with pytest.raises(QueryError, match="empty"):
        kb.label(" ", first.item.id, True)
