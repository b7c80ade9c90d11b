"""The store's methods for fusion besides ranked lists: scores of given items, their vectors, and samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from commonplace.types import Filter
from tests.store.make import open_store, put, questions, rows


@pytest.mark.parametrize("snapshot", [False, True])
def test_item_scores_equal_those_of_a_search_from_file_and_memory(tmp_path: Path, snapshot: bool) -> None:
    hubs = {"offset": lambda partition, vectors: np.abs(vectors[:, 0])}
    with_snapshot = 9_000 if snapshot else 300
    store = open_store(tmp_path, **hubs)
    gone = put(store, rows(with_snapshot))[3]
    if snapshot:
        store.maintenance.vacuum()
        assert store.maintenance.indexes()["text"]["file_rows"] == with_snapshot
    put(store, rows(50, seed=5), name="b")
    store.remove([gone])
    query = questions(1)[0]
    items = {item.text: item.id for document in store.documents() for item in store.items_of(document.id)}
    ids = [items["b word6"], "gone", items["a word1"], items["a word0"], items[f"a word{with_snapshot - 2}"], "never"]
    for cross_modal in (False, True):
        ranked = store.search("text", query, with_snapshot + 50, Filter(), cross_modal=cross_modal)
        expected = dict(zip(ranked.ids, ranked.scores.tolist(), strict=True))
        scores = store.score("text", query, ids, cross_modal=cross_modal)
        for id_, score in zip(ids, scores.tolist(), strict=True):
            assert score == pytest.approx(expected[id_], abs=1e-6) if id_ in expected else np.isnan(score)
        sample = store.sample("text", 2048)
        of_sample = sample.vectors @ query - (sample.offsets if cross_modal else 0)  # type: ignore[operator]
        every = np.array(list(expected.values()))
        assert sample.total == len(every) == with_snapshot + 40
        assert of_sample.mean() == pytest.approx(every.mean(), abs=0.02)
        assert of_sample.std() == pytest.approx(every.std(), rel=0.1)
        assert len(sample.vectors) <= 2048 and store.sample("text", 2048) is sample
    vectors = store.vectors("text", ids)
    plain = store.score("text", query, ids)
    assert vectors @ query == pytest.approx(np.nan_to_num(plain), abs=1e-5)
    assert not vectors[1].any() and not vectors[-1].any()
    assert store.count() == with_snapshot + 40
    store.close()


def test_an_empty_partition_has_no_rows(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    query = questions(1)[0]
    assert store.search("text", query, 5, Filter()).ids == ()
    sample = store.sample("text", 100)
    assert (sample.total, sample.vectors.shape) == (0, (0, len(query)))
    assert np.isnan(store.score("text", query, ["a", "b"])).all()
    assert store.vectors("text", ["b", "a"]).tolist() == np.zeros((2, len(query))).tolist()
    assert store.count() == 0
    store.close()
