"""IVF cells: searches must keep their recall although they skip cells, with any query, filter or removal."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonplace.store import LocalStore, codes
from commonplace.store.codes import Cells, Codes, encode
from commonplace.store.index_file import Damaged, IndexFile, _layout
from commonplace.store.transaction import transaction
from commonplace.store.writing import delete, sweep
from commonplace.types import Filter
from tests.store import make
from tests.store.make import DIM, items_at, put, search, stored_rows

TARGET = 0.95


OPTIONS = replace(make.SMALL, cells_from=1600, codes_per_candidate=1, code_margin=2)
open_store = partial(make.open_store, options=OPTIONS)


def rows(count: int, seed: int = 0) -> np.ndarray:
    """Return unit vectors around forty directions: cells help if rows form clusters."""
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((40, DIM))
    values = centres[generator.integers(0, 40, count)] + 0.35 * generator.standard_normal((count, DIM))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def questions(count: int, seed: int = 1) -> np.ndarray:
    return rows(count, seed)


def ask(name: str, offset: bool) -> np.ndarray | None:
    return None if offset else questions(300)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    made = open_store(tmp_path, questions=ask, recall=TARGET)
    put(made, rows(4000)[:2800], each=1)
    put(made, rows(4000)[2800:], "c", each=1)
    made.maintenance.checkpoint()
    return made


def base_of(store: LocalStore) -> IndexFile:
    result = store._partitions["text"].index_view().base
    assert result is not None
    return result


def best(store: LocalStore, query: np.ndarray, k: int, where: Filter) -> list[int]:
    keys, values = stored_rows(store, "text")
    if where:
        allowed = np.isin(keys, store._filters.of(where).keys)  # type: ignore[union-attr]
        keys, values = keys[allowed], values[allowed]
    return keys[np.argsort(-(values @ query), kind="stable")[:k]].tolist()


def recall(store: LocalStore, asked: np.ndarray, where: Filter, k: int = 10) -> float:
    ranked = [search(store, "text", query, k, where).keys.tolist() for query in asked]
    wanted = [best(store, query, k, where) for query in asked]
    assert all(len(hit) == len(other) for hit, other in zip(ranked, wanted, strict=True))
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(ranked, wanted, strict=True)]))


def test_probing_some_cells_reaches_the_recall(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    status = store.maintenance.indexes()["text"]
    assert status["type"] == "binary codes in IVF cells, rescored"
    assert TARGET <= status["recall"]["same"] <= 1
    read: list[int] = []
    whole = codes._nearest_in_one_thread
    monkeypatch.setattr(
        codes, "_nearest_in_one_thread", lambda bits, *more: read.append(len(bits)) or whole(bits, *more)
    )
    for where in (Filter(), Filter(path="/a/1?/*"), Filter("image"), Filter(path="/a/7")):
        assert recall(store, questions(100, seed=77), where) >= TARGET - 0.02, where
    assert recall(store, questions(50, seed=78), Filter(), k=100) >= TARGET - 0.02
    assert np.median(read[:100]) < 0.3 * 4000  # without a filter
    store.close()


def test_rows_in_memory_and_removed_rows_are_distinguished_from_rows_in_cells(store: LocalStore) -> None:
    put(store, rows(100, seed=5), "b")
    for query in questions(6, seed=3):
        near = best(store, query, 50, Filter())
        ids = [item.document.id for item in items_at(store, near).values()]
        with transaction(store._settings) as database:  # gone, and not erased from the file yet
            sweep(database, delete(database, ids))
    status = store.maintenance.indexes()["text"]
    assert status["not_in_file"] > 50 and status["removed_since"] > 200
    assert recall(store, questions(6, seed=3), Filter()) >= 0.9
    assert recall(store, questions(60, seed=4), Filter()) >= TARGET - 0.02
    store.close()


def test_more_cells_are_probed_if_the_nearest_rows_were_removed(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sought: list[float] = []
    probe = Cells.probe
    monkeypatch.setattr(
        Cells,
        "probe",
        lambda self, query, values, hits, *more: sought.append(hits) or probe(self, query, values, hits, *more),
    )
    query = questions(1, seed=3)[0]
    search(store, "text", query, 10, Filter())
    search(store, "text", query, 10, Filter(path="/a"))  # all allowed rows are scored
    near_ids = [item.document.id for item in items_at(store, best(store, query, 30, Filter())).values()]
    with transaction(store._settings) as database:  # gone, and not erased from the file yet
        sweep(database, delete(database, near_ids))
    search(store, "text", query, 10, Filter())
    assert sought[:2] == [10, 10] and 30 <= sought[2] <= 40  # thirty are gone
    assert len(sought) == 3
    store.close()


def test_removed_rows_are_erased_from_their_cell(store: LocalStore) -> None:
    before = base_of(store)
    assert before.codes is not None and before.codes.places is not None
    removed = list(store.documents())[5:8]
    (keys,) = zip(
        *store._database.all(
            "SELECT i.key FROM items i JOIN documents d ON d.key = i.document WHERE d.id IN (?, ?, ?) ORDER BY i.key",
            tuple(document.id for document in removed),
        ),
        strict=True,
    )
    at = np.searchsorted(before.keys, np.array(keys))
    spots = before.codes.where(at)
    assert before.codes.places[spots].tolist() == at.tolist() and before.codes.bits[spots].any(axis=1).all()
    store.remove([document.id for document in removed])
    after = IndexFile(before.path)  # intact: every code has the right checksum
    assert after.codes is not None
    assert not after.codes.bits[spots].any() and not after.take(at).any()
    assert after.codes.bits.any(axis=1).sum() == 4000 - 3
    assert store.maintenance.doctor() == []
    store.close()


@pytest.mark.parametrize("section", ["places", "starts", "centroids", "codes"])
def test_damaged_cells_are_not_used_and_rebuilt(store: LocalStore, section: str, tmp_path: Path) -> None:
    path = base_of(store).path
    at = _layout(IndexFile(path).info)[0][section][0] + 41
    store.close()
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)
    with pytest.raises(Damaged, match=section):
        IndexFile(path)
    again = open_store(tmp_path, questions=ask, recall=TARGET)
    query = questions(1, seed=3)[0]
    assert search(again, "text", query, 10, Filter()).keys.tolist() == best(again, query, 10, Filter())
    again.maintenance.checkpoint()
    assert again.maintenance.indexes()["text"]["type"] == "binary codes in IVF cells, rescored"
    assert again.maintenance.doctor() == []
    again.close()


def test_all_codes_are_read_if_cells_do_not_reach_the_recall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    far = lambda self, query, *more: np.array([int(np.argmax(self.distances(query[None])[0]))])  # noqa: E731
    monkeypatch.setattr(Cells, "probe", far)
    store = open_store(tmp_path, questions=ask, recall=TARGET)
    put(store, rows(4000))
    store.maintenance.checkpoint()
    status = store.maintenance.indexes()["text"]
    assert status["type"] == "binary codes, rescored" and status["recall"]["same"] >= TARGET
    assert recall(store, questions(60, seed=4), Filter()) >= TARGET - 0.02
    store.close()


def test_all_candidates_are_scored_if_rescoring_a_part_lacks_recall(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path, questions=ask, recall=TARGET, options=replace(OPTIONS, rescore_fraction=0.01))
    put(store, rows(4000))
    store.maintenance.checkpoint()
    assert base_of(store).info.rescore_fraction == {"same": 1.0}
    assert store.maintenance.indexes()["text"]["recall"]["same"] >= TARGET
    store.close()


def test_no_cells_if_all_rows_are_alike(tmp_path: Path) -> None:
    store = open_store(tmp_path, questions=ask, recall=TARGET)
    put(store, np.repeat(rows(2), 1000, axis=0))  # far fewer different rows than cells
    store.maintenance.checkpoint()
    ranked = search(store, "text", rows(1)[0], 10, Filter())
    assert len(ranked.keys) == 10 and ranked.scores.tolist() == pytest.approx([1.0] * 10, abs=1e-3)
    store.close()


def listed(count: int, lists: int, seed: int, values: np.ndarray | None = None) -> tuple[np.ndarray, Codes, np.ndarray]:
    """Return rows, their codes in cells, and the centre."""
    values = rows(count, seed) if values is None else values
    centroids = values[:lists].copy()
    owners = Cells(centroids, np.zeros(lists + 1, np.int64)).of(values)
    assert owners.tolist() == [int(np.argmin(((centroids - row) ** 2).sum(axis=1))) for row in values]
    places = np.argsort(owners, kind="stable").astype(np.int32)
    starts = np.searchsorted(owners[places], np.arange(lists + 1))
    centre = values.mean(axis=0)
    return values, Codes(encode(values, centre)[places], places, Cells(centroids, starts)), centre


@given(st.integers(0, 50), st.floats(0, 1.5), st.floats(0, 0.5), st.integers(10, 199), st.integers(1, 300))
def test_cells_within_the_probe_radius_and_enough_codes_are_probed(
    seed: int, ten: float, more: float, hits: int, least: int
) -> None:
    lists = listed(600, 24, seed % 7)[1].cells
    assert lists is not None
    sizes = np.diff(lists.starts)
    query = questions(1, seed)[0]
    apart = ((lists.centroids - query) ** 2).sum(axis=1) / 2
    if seed % 2:  # the nearest cells are empty
        sizes[np.argsort(apart)[:5]] = 0
        lists = Cells(lists.centroids, np.concatenate([[0], np.cumsum(sizes)]))
    apart[sizes == 0] = np.inf
    gap = codes.probe_radius_for([ten, ten + more], hits)
    within = set(np.flatnonzero(apart <= apart.min() + gap + 1e-5).tolist())
    surely = set(np.flatnonzero(apart <= apart.min() + gap - 1e-5).tolist())
    result = lists.probe(query, [ten, ten + more], hits, least)
    if result is None:
        wide = sizes[sorted(within)].sum(), least + sizes.max()
        assert max(wide) > OPTIONS.probe_share * lists.starts[-1]
        return
    assert sizes[result].sum() <= OPTIONS.probe_share * lists.starts[-1]
    assert sizes[result].sum() >= least and surely <= set(result.tolist())
    surplus = sorted(set(result.tolist()) - within, key=lambda entry: apart[entry])
    if surplus:  # no more cells than needed
        assert sizes[[entry for entry in result.tolist() if entry != surplus[-1]]].sum() < least
    assert lists.probe(query, [0.0, 0.0], 2 * codes.MANY + 1, 1) is None  # this was not measured


def test_codes_in_cells_belong_to_their_rows() -> None:
    values, made, centre = listed(4000, 60, 0)
    plain = Codes(encode(values, centre))
    for at in (np.arange(0, 4000, 2), np.arange(5), np.arange(4000)):
        some, other = made.among(at), plain.among(at)
        assert some.cells is None
        assert made.where(at).shape == at.shape and (made.rows(made.where(at)) == at).all()
        order = np.argsort(some.rows(np.arange(len(at))))
        assert some.rows(order).tolist() == other.rows(np.arange(len(at))).tolist() == at.tolist()
        assert (some.bits[order] == other.bits).all()
    for query in questions(20):
        near = made.nearest(query, centre, 40, [10.0, 10.0])  # all cells are within the radius: none is left out
        apart = np.unpackbits(made.bits ^ encode(query[None], centre), axis=1).sum(axis=1)
        assert apart[near].tolist() == sorted(apart.tolist())[:40]
        radii = [0.3, 0.3]
        always = replace(OPTIONS, probe_share=1.0)
        read = made.cells.probe(query, radii, 10, 40, always)  # type: ignore[union-attr]
        assert read is not None and made.cells is not None
        inside = np.concatenate([np.arange(made.cells.starts[cell], made.cells.starts[cell + 1]) for cell in read])
        some_near = made.nearest(query, centre, 40, radii, options=always)
        assert set(some_near.tolist()) <= set(inside.tolist())
        assert apart[some_near].tolist() == sorted(apart[inside].tolist())[:40]


def test_rescoring_agrees_with_the_formula_and_is_better_than_bits_alone() -> None:
    values, made, centre = listed(4000, 60, 0)
    kept, straight = [], []
    for query in questions(60):
        near = made.nearest(query, centre, 200)
        result = made.rescored(query, centre, near, 50)
        assert len(set(result.tolist())) == 50 and set(result.tolist()) <= set(near.tolist())
        signs = np.where(values[made.rows(near)] > centre, 1.0, -1.0)  # DIM is the code's length: no bits to spare
        scores = signs @ (query - centre)
        assert scores[np.isin(near, result)].min() >= np.sort(scores)[-50] - 1e-4
        exact = set(np.argsort(-(values @ query))[:10].tolist())
        kept.append(len(exact & set(made.rows(result).tolist())))
        straight.append(len(exact & set(made.rows(near[:50]).tolist())))
    assert np.mean(kept) > np.mean(straight) + 0.3
    assert made.rescored(query, centre, near, 300) is near


def test_signs_of_sums_have_a_third_of_the_weight() -> None:
    dim = 24  # eight bits to spare
    values = np.random.default_rng(0).standard_normal((50, dim)).astype(np.float32)
    centre = values.mean(axis=0)
    made = Codes(encode(values, centre))
    query = np.random.default_rng(1).standard_normal(dim).astype(np.float32)
    near = query - centre

    def bits(row: np.ndarray) -> np.ndarray:
        sums = [row[n] + row[(n + 8) % dim] - row[(n + 16) % dim] for n in range(8)]
        return np.array([*row, *sums])

    weights = bits(near) * np.array([1.0] * dim + [1 / 3] * 8)
    scores = [float((bits(row - centre) > 0) @ weights) for row in values]
    result = made.rescored(query, centre, np.arange(50), 12)
    assert set(result.tolist()) == set(np.argsort(scores)[-12:].tolist())


def test_the_probe_radius_grows_with_the_hits() -> None:
    gaps = [0.2, 0.3]
    result = [codes.probe_radius_for(gaps, hits) for hits in (1, 10, 31.6227766, 100, 1000)]
    assert result == pytest.approx([0.2, 0.2, 0.25, 0.3, 0.4])


@pytest.mark.parametrize(("count", "lists"), [(0, 0), (1599, 0), (1600, 32), (1_000_000, 1024), (10**9, 2048)])
def test_the_number_of_cells_is_about_the_square_root_of_the_rows(count: int, lists: int) -> None:
    assert codes.cells_for(count, OPTIONS) == lists


def test_centroids_are_deterministic(capfd: pytest.CaptureFixture[str]) -> None:
    first, again = (codes.train(rows(700), 32) for _ in range(2))
    assert first.shape[0] <= 32 and (first == again).all()
    owners = Cells(first, np.zeros(len(first) + 1, np.int64)).of(rows(700))
    assert np.bincount(owners).min() >= codes.LEAST_ROWS  # no centroid equals a row, because rows may be removed
    assert capfd.readouterr() == ("", "")  # FAISS would warn of few rows
    asked: list[bool] = []
    codes.train(rows(700), 32, lambda: asked.append(True) or len(asked) == 3)  # type: ignore[func-returns-value]
    assert len(asked) == 3

    def apart(centroids: np.ndarray) -> float:
        return float(((rows(700)[:, None] - centroids) ** 2).sum(axis=2).min(axis=1).mean())

    assert apart(first) < 0.9 * apart(rows(32))  # better than the same number of rows


def test_compressed_rows_have_cells_too(store: LocalStore) -> None:
    assert store.maintenance.compress(0.9)["text"].kind == "int8"
    assert store.maintenance.indexes()["text"]["type"] == "binary codes in IVF cells, rescored"
    assert recall(store, questions(60, seed=4), Filter()) >= 0.9
    store.close()


def test_temporary_codes_leave_no_trace_in_the_file(store: LocalStore, tmp_path: Path) -> None:
    path: Any = base_of(store).path
    assert path.stat().st_size == _layout(IndexFile(path).info)[1]
    assert sorted(file.name for file in (tmp_path / "index").iterdir()) == ["text.index", "text.lock"]
    store.close()
