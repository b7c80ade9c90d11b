"""What fusion asks of the store beside lists: the scores of given items, their vectors, and what chance gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from commonplace.types import Filter

from .make import open_store, put, questions, rows


@pytest.mark.parametrize("snapshot", [False, True])
def test_items_score_as_in_a_search_wherever_their_rows_stand(tmp_path: Path, snapshot: bool) -> None:
    hubs = {"offset": lambda partition, vectors: np.abs(vectors[:, 0])}
    with_snapshot = 9_000 if snapshot else 300
    store = open_store(tmp_path, **hubs)
    gone = put(store, rows(with_snapshot))[3]
    if snapshot:
        store.maintenance.vacuum()
        assert store.maintenance.indexes()["text"]["snapshot_rows"] == with_snapshot
    put(store, rows(50, seed=5), name="b")
    store.remove([gone])
    query = questions(1)[0]
    keys = np.array([with_snapshot + 7, 35, 2, 1, with_snapshot - 1, 10**9])  # 35 is gone, the last was never there
    for offset in (False, True):
        listed = store.search("text", query, with_snapshot + 50, Filter(), offset=offset)
        expected = dict(zip(listed.keys.tolist(), listed.scores.tolist(), strict=True))
        found = store.score("text", query, np.sort(keys), offset=offset)
        for key, score in zip(np.sort(keys).tolist(), found.tolist(), strict=True):
            assert score == pytest.approx(expected[key], abs=1e-6) if key in expected else np.isnan(score)
        every = np.array(list(expected.values()))
        assert listed.count == len(every) == with_snapshot + 40
        assert listed.mean == pytest.approx(every.mean(), abs=0.02)
        assert listed.std == pytest.approx(every.std(), rel=0.1)
    vectors = store.gather("text", keys)
    plain = store.score("text", query, np.sort(keys))[np.argsort(np.argsort(keys))]
    assert vectors @ query == pytest.approx(np.nan_to_num(plain), abs=1e-5)
    assert not vectors[1].any() and not vectors[-1].any()
    assert store.size() == with_snapshot + 40
    store.close()


def test_an_empty_partition_has_no_chance(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    query = questions(1)[0]
    assert store.search("text", query, 5, Filter()).count == 0
    assert np.isnan(store.score("text", query, np.array([1, 2]))).all()
    assert store.gather("text", np.array([3, 1])).tolist() == np.zeros((2, len(query))).tolist()
    assert store.size() == 0
    store.close()
