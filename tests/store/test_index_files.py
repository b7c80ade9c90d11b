"""Index files are caches: searches with them equal an exact scan of the database, whatever happens to the files."""

from __future__ import annotations

import logging
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commonplace.store import LocalStore, index_view, vector_index
from commonplace.store import codes as codes_
from commonplace.store.index_file import Damaged, IndexFile
from commonplace.store.transaction import transaction
from commonplace.store.writing import delete, sweep
from commonplace.types import Document, Filter, Item, ParsedDocument, Span, ViewVectors, stable_id
from tests.store import make
from tests.store.make import DIM, items_at, put, questions, rows, scores_of, search, stored, stored_rows

FILTERS = [Filter(), Filter("text"), Filter(path="/a/3"), Filter("image", "/a/*"), Filter(path="/b/0/10.txt")]


open_store = partial(make.open_store, options=replace(make.SMALL, code_margin=1, projected_margin=1))


def file_of(folder: Path) -> Path:
    return folder / "index" / "text.index"


def exact(
    store: LocalStore, query: np.ndarray, k: int, where: Filter, offset: bool = False, name: str = "text"
) -> list[tuple[int, float]]:
    """Score every row of the database, slowly: the store's ranked lists must be equal to these."""
    keys, values = stored_rows(store, name)
    allowed = None if not where else set(store._filters.of(where).keys.tolist())  # type: ignore[union-attr]
    scores = values @ query - (values[:, 0] if offset else 0)
    result = [(int(key), float(s)) for key, s in zip(keys, scores, strict=True) if allowed is None or key in allowed]
    return sorted(result, key=lambda entry: (-entry[1], entry[0]))[:k]


def agree(store: LocalStore, offset: bool = False, k: int = 10) -> None:
    for query in questions(6, seed=3):
        for where in FILTERS:
            ranked = search(store, "text", query, k, where, cross_modal=offset)
            expected = exact(store, query, k, where, offset)
            assert ranked.scores.tolist() == pytest.approx([score for _, score in expected], abs=1e-5), where
            assert set(ranked.keys.tolist()) == {key for key, _ in expected}


def take_first(name: str, vectors: np.ndarray) -> np.ndarray:
    return vectors[:, 0].copy()


def ask(name: str, offset: bool) -> np.ndarray:
    return questions(300)


@pytest.mark.parametrize("coded", [False, True])
def test_searches_over_file_memory_and_removed_rows_equal_an_exact_scan(tmp_path: Path, coded: bool) -> None:
    more: dict[str, Any] = {"offset": take_first, **({"questions": ask, "recall": 1.0} if coded else {})}
    store = open_store(tmp_path, **more)
    ids = put(store, rows(2000))
    store.maintenance.checkpoint()
    assert store.maintenance.indexes()["text"]["file_rows"] == 2000
    store.remove(ids[3:6])
    put(store, rows(150, seed=5), "b")
    status = store.maintenance.indexes()["text"]
    assert (status["file_rows"], status["not_in_file"], status["removed_since"]) == (2000, 150, 30)
    assert status["rows"] == 2120
    agree(store)
    agree(store, offset=True)
    best = {key for query in questions(6, seed=3) for key, _ in exact(store, query, 5, Filter())}
    entries = items_at(store, sorted(best)).values()
    with transaction(store._settings) as database:  # gone, and not erased from the file yet
        gone = delete(database, sorted({entry.document.id for entry in entries}))
        sweep(database, gone)
    agree(store)
    agree(store, offset=True)
    put(store, rows(2000))
    store.remove(ids[3:6])
    put(store, rows(150, seed=5), "b")
    store.maintenance.checkpoint()
    store.remove(ids[6:9])
    before = store.maintenance.indexes()["text"]
    assert before["file_rows"] > 1500 and before["not_in_file"] >= 150 and before["removed_since"] >= 30
    store.close()
    again = open_store(tmp_path, **more)  # mapped, and caught up
    assert again.maintenance.indexes()["text"] == {
        **before,
        "memory_bytes": again.maintenance.indexes()["text"]["memory_bytes"],
    }
    agree(again)
    agree(again, offset=True)
    again.maintenance.vacuum()
    assert again.maintenance.indexes()["text"]["file_rows"] == 2090
    agree(again)


def test_codes_are_used_only_if_they_reach_the_recall(tmp_path: Path) -> None:
    values = rows(4000)
    store = open_store(tmp_path / "good", questions=ask, recall=0.95)
    put(store, values)
    store.maintenance.checkpoint()
    status = store.maintenance.indexes()["text"]
    assert status["type"] == "binary codes, rescored"
    assert 0.95 <= status["recall"]["same"] <= 1
    # Queries that were not measured reach it too, within the accuracy of 200 queries.
    keys, stored = stored_rows(store, "text")
    reached = []
    for query in questions(200, seed=77):
        best = set(keys[np.argsort(-(stored @ query))[:10]].tolist())
        reached.append(len(best & set(search(store, "text", query, 10, Filter()).keys.tolist())) / 10)
    assert np.mean(reached) >= 0.93
    store.close()

    noise = np.random.default_rng(0).standard_normal((4000, DIM)).astype(np.float32)
    noise[:, 0] *= 40  # one dominant direction: signs carry almost no information

    def along(name: str, offset: bool) -> np.ndarray:
        return np.random.default_rng(1).standard_normal((200, DIM)).astype(np.float32)

    hard = open_store(tmp_path / "hard", questions=along, recall=0.99)
    put(hard, noise)
    hard.maintenance.checkpoint()
    status = hard.maintenance.indexes()["text"]
    assert (status["type"], status["recall"]["same"]) == ("exact", 1.0)
    assert IndexFile(file_of(tmp_path / "hard")).info.projected == {}  # they do not help, and are not kept
    agree(hard)
    hard.close()

    unasked = open_store(tmp_path / "good", recall=0.95)  # codes stay usable with the recall that was measured
    assert unasked.maintenance.indexes()["text"]["type"] == "binary codes, rescored"
    none = open_store(tmp_path / "none")
    put(none, values)
    none.maintenance.checkpoint()
    assert none.maintenance.indexes()["text"]["type"] == "exact"


@pytest.fixture
def wide(tmp_path: Path) -> tuple[LocalStore, np.ndarray]:
    """Rows that vary most in directions that no query uses, like pictures searched with words: codes do not help."""
    values = np.random.default_rng(0).standard_normal((4000, DIM)).astype(np.float32)
    values[:, 6:] *= 4

    def ask(name: str, offset: bool) -> np.ndarray:
        return narrow(250, 1)

    store = open_store(tmp_path, questions=ask, recall=0.95, offset=take_first)
    put(store, values)
    store.maintenance.checkpoint()
    return store, narrow(60, 2)


def narrow(count: int, seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    values[:, 6:] *= 0.01
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def test_projected_vectors_are_used_where_codes_lack_recall(wide: tuple[LocalStore, np.ndarray]) -> None:
    store, asked = wide
    status = store.maintenance.indexes()["text"]
    assert status["type"] == "projected vectors, rescored"
    assert min(status["recall"].values()) >= 0.95 and set(status["oversampling"]) == {"same", "other"}
    for where in (Filter(), Filter("text"), Filter(path="/a/3")):
        for offset in (False, True):
            reached = []
            for query in asked:
                best = exact(store, query, 10, where, offset)
                ranked = search(store, "text", query, 10, where, cross_modal=offset)
                reached.append(len({key for key, _ in best} & set(ranked.keys.tolist())) / 10)
                scores = dict(exact(store, query, 4000, where, offset))
                assert [scores[key] for key in ranked.keys.tolist()] == pytest.approx(ranked.scores.tolist(), abs=1e-5)
            assert np.mean(reached) >= 0.93
    store.close()


@pytest.mark.parametrize(("partition_", "kind"), [("visual", "projected vectors, rescored"), ("text", "exact")])
def test_projections_for_queries_of_the_same_modality_are_computed_from_rows(
    tmp_path: Path, partition_: str, kind: str
) -> None:
    few = narrow(40, 1)  # too few to be fitted to: the rows are used as queries
    store = open_store(tmp_path, questions=lambda name, offset: None if offset else few, recall=0.95)
    put(store, narrow(4000, 5), partition=partition_)
    store.maintenance.checkpoint()
    status = store.maintenance.indexes()[partition_]
    assert status["type"] == kind
    reached = []
    for query in narrow(60, 2):
        best = exact(store, query, 10, Filter(), False, partition_)
        ranked = search(store, partition_, query, 10, Filter()).keys.tolist()
        reached.append(len({key for key, _ in best} & set(ranked)) / 10)
    assert np.mean(reached) >= 0.95
    store.close()


def test_projected_vectors_of_removed_items_are_erased_and_damage_is_detected(
    wide: tuple[LocalStore, np.ndarray],
) -> None:
    store, asked = wide
    path, (document, *_) = file_of(store._folder), list(store.documents())
    (key,) = store._database.all("SELECT min(i.key) FROM items i JOIN documents d ON d.key = i.document WHERE d.id = ?",
                                 (document.id,))[0]  # fmt: skip
    before = IndexFile(path).projected("other")[1]
    assert before[key - 1].any()
    store.remove([document.id])
    after = IndexFile(path)
    assert not after.projected("other")[1][key - 1].any() and not after.take(np.array([key - 1])).any()
    assert store.maintenance.doctor() == []
    with path.open("r+b") as file:  # among the last projected vectors, before what fills the page
        file.seek(-4000, os.SEEK_END)
        byte = file.read(1)
        file.seek(-4000, os.SEEK_END)
        file.write(bytes([byte[0] ^ 1]))
    assert any("projected vectors" in finding.what for finding in store.maintenance.doctor())
    again = open_store(store._folder, offset=take_first)
    for query in asked[:5]:
        ranked = search(again, "text", query, 10, Filter(), cross_modal=True)
        assert ranked.keys.tolist() == [key for key, _ in exact(again, query, 10, Filter(), True)]
    again.close()
    store.close()


@pytest.mark.parametrize(("target", "kind"), [(0.98, "int8"), (1.0, "float16")])
def test_rows_are_stored_in_the_smallest_type_that_keeps_the_recall(tmp_path: Path, target: float, kind: str) -> None:
    values = rows(4000)
    store = open_store(tmp_path, questions=ask, recall=1.0, offset=take_first)
    put(store, values)
    store.maintenance.checkpoint()
    other = open_store(tmp_path, questions=ask, recall=1.0, offset=take_first)
    query = questions(1, seed=3)[0]
    before = search(other, "text", query, 10, Filter()).scores
    size = file_of(tmp_path).stat().st_size
    made = store.maintenance.compress(target)["text"]
    assert made.kind == kind and made.rows == 4000
    assert made.recall["same"] >= target and made.recall["other"] >= target
    status = store.maintenance.indexes()["text"]
    assert (status["compression"]["type"], status["file_rows"]) == (kind, 4000)
    rough = {"int8": 0.02, "float16": 1e-6}[kind]  # stored vectors are float16 already
    for opened in (store, other, open_store(tmp_path, questions=ask, recall=1.0, offset=take_first)):  # all follow
        ranked = search(opened, "text", query, 10, Filter())
        assert ranked.scores == pytest.approx(before, abs=rough)
        assert opened.maintenance.indexes()["text"]["compression"]["type"] == kind
        # Rows in memory equal those of the file: an item's score does not depend on where its row is stored.
        assert scores_of(opened, "text", query, np.sort(ranked.keys)) == pytest.approx(
            ranked.scores[np.argsort(ranked.keys)], abs=1e-6
        )
    assert file_of(tmp_path).stat().st_size < 0.8 * size
    put(store, rows(200, seed=9), "b")
    ids = [document.id for document in list(store.documents())]
    store.remove(ids[5:7])
    assert store.maintenance.indexes()["text"]["compression"]["rows_since"] == 180
    assert store.maintenance.doctor() == []
    assert store.maintenance.compress(None) == {}
    agree(store)
    assert "compression" not in other.maintenance.indexes()["text"]
    agree(other)
    for opened in (store, other):
        opened.close()


def test_damage_of_compressed_rows_is_detected(tmp_path: Path) -> None:
    store = open_store(tmp_path, questions=ask, recall=0.95)
    put(store, rows(2000))
    store.maintenance.checkpoint()
    assert store.maintenance.compress(0.9)["text"].kind == "int8"
    with file_of(tmp_path).open("r+b") as file:
        file.seek(-vector_index.BLOCK, os.SEEK_END)  # among the rows
        byte = file.read(1)
        file.seek(-vector_index.BLOCK, os.SEEK_END)
        file.write(bytes([byte[0] ^ 64]))
    assert [finding.count for finding in store.maintenance.doctor() if "rows are damaged" in finding.what] == [1]
    store.close()


def test_filters_keep_recall_with_codes_at_any_selectivity(tmp_path: Path) -> None:
    store = open_store(tmp_path, questions=ask, recall=0.95)
    put(store, rows(4000))
    store.maintenance.checkpoint()
    assert store.maintenance.indexes()["text"]["type"] != "exact"
    for where in (Filter(path="/a/7/700.txt"), Filter(path="/a/7"), Filter(path="/a/3?/*"), Filter("text")):
        reached = []
        for query in questions(40, seed=8):
            best = {key for key, _ in exact(store, query, 10, where)}
            ranked = search(store, "text", query, 10, where).keys.tolist()
            assert len(ranked) == len(best)
            reached.append(len(best & set(ranked)) / 10)
        assert np.mean(reached) >= 0.93, where


def test_a_cached_filter_includes_later_items_and_its_cache_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, writer = open_store(tmp_path), open_store(tmp_path)
    ids = put(writer, rows(100))
    assert len(search(store, "text", rows(1)[0], 500, Filter("text")).keys) == 50
    put(writer, rows(100, seed=2), "b")
    writer.remove(ids[:5])
    assert len(search(store, "text", rows(1)[0], 500, Filter("text")).keys) == 75
    monkeypatch.setattr("commonplace.store.filter_cache.KEPT", 2000)
    for number in range(50):
        search(store, "text", rows(1)[0], 5, Filter(path=f"/b/{number}*"))
        search(store, "text", rows(1)[0], 5, Filter("text", path=f"*{number}*"))
    held = [entry.selection.bytes for entry in store._filters._entries.values()]
    assert sum(held[:-1]) <= 2000


def test_an_item_with_several_views_is_listed_once_from_file_and_memory(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    put(store, rows(800))
    document = Document("long", "file:///long", "/long", "image/png", "h", items=1)
    item = Item("long1", document, "image", Span(), "recognised")
    many = stored(np.tile(rows(1, seed=9), (7, 1)) + np.arange(7, dtype=np.float32)[:, None] / 1000)
    views = ViewVectors("text", ("long1",) * 7, tuple(stable_id("v", n) for n in range(7)), many)
    store.add([ParsedDocument(document, (item,))], [views])
    for _ in range(2):  # in memory, then mapped
        ranked = search(store, "text", many[0], 5, Filter())
        assert len(set(ranked.keys.tolist())) == 5
        assert ranked.scores[0] == pytest.approx(float((many @ many[0]).max()), abs=1e-6)
        store.maintenance.vacuum()
        assert store.maintenance.indexes()["text"]["file_rows"] == 807


def test_an_item_with_several_views_is_listed_once_when_streamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_index.VectorIndex, "_build_in_background", lambda self: None)
    store = open_store(tmp_path)
    put(store, rows(1000))
    document = Document("long", "file:///long", "/long", "image/png", "h", items=1)
    item = Item("long1", document, "image", Span(), "recognised")
    many = stored(np.tile(rows(1, seed=9), (7, 1)) + np.arange(7, dtype=np.float32)[:, None] / 1000)
    views = ViewVectors("text", ("long1",) * 7, tuple(stable_id("v", n) for n in range(7)), many)
    store.add([ParsedDocument(document, (item,))], [views])
    put(store, rows(50, seed=9), "near")
    ranked = search(store, "text", many[0], 5, Filter())
    assert store._partitions["text"].index_view().overflow is not None
    keys, values = stored_rows(store, "text")
    best = {int(key): max(float(v @ many[0]) for k, v in zip(keys, values, strict=True) if k == key) for key in keys}
    assert ranked.scores.tolist() == pytest.approx(sorted(best.values(), reverse=True)[:5], abs=1e-6)


def test_many_removed_rows_near_a_query_do_not_displace_hits(tmp_path: Path) -> None:
    store = open_store(tmp_path, questions=ask, recall=0.95)
    put(store, rows(4000), each=1)
    store.maintenance.checkpoint()
    query = questions(1)[0]
    near = [key for key, _ in exact(store, query, 700, Filter())]
    ids = [item.document.id for item in items_at(store, near).values()]
    with transaction(store._settings) as database:  # gone, and not erased from the file yet
        sweep(database, delete(database, ids))
    assert store.maintenance.indexes()["text"]["removed_since"] == 700
    ranked = search(store, "text", query, 10, Filter()).keys.tolist()
    assert len(set(ranked) & {key for key, _ in exact(store, query, 10, Filter())}) >= 9


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda data: data[: len(data) // 2], "length"),
        (lambda data: b"", "description"),
        (lambda data: flipped(data, 3), "description"),
        (lambda data: flipped(data, 40), "description"),
        (lambda data: flipped(data, partition_offset("keys") + 11), "keys"),
        (lambda data: flipped(data, partition_offset("codes", coded=True) + 11), "codes"),
    ],
)
def test_a_damaged_index_file_is_not_used_and_rebuilt(tmp_path: Path, damage: Any, why: str) -> None:
    store = open_store(tmp_path, questions=ask, recall=1.0)
    put(store, rows(2000))
    store.maintenance.checkpoint()
    store.close()
    file = file_of(tmp_path)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(Damaged, match=why):
        IndexFile(file)
    store = open_store(tmp_path, questions=ask, recall=1.0)
    agree(store)  # from the database, while another is written
    store.maintenance.checkpoint()
    assert store.maintenance.indexes()["text"]["file_rows"] == 2000
    agree(store)


def partition_offset(name: str, coded: bool = False) -> int:
    from commonplace.store.index_file import Info, _layout

    info = Info("text", "", "", 0, 0, 0, rows=2000, dim=DIM, code_bytes=4)
    return _layout(info)[0][name][0]


def flipped(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 0x10
    return bytes(changed)


def test_a_row_changed_on_disk_is_never_a_hit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = open_store(tmp_path)
    put(store, rows(2000))
    store.maintenance.checkpoint()
    store.close()
    query = questions(1)[0]
    store = open_store(tmp_path)
    expected = exact(store, query, 5, Filter())
    store.close()
    place = partition_offset_of(tmp_path, "rows") + 1234 * DIM * 4
    with file_of(tmp_path).open("r+b") as file:
        file.seek(place)
        file.write((query * 3).tobytes())  # the best score, but a wrong one
    store = open_store(tmp_path)
    with caplog.at_level(logging.WARNING):
        ranked = search(store, "text", query, 5, Filter())
    assert ranked.keys.tolist() == [key for key, _ in expected]
    assert "damaged" in caplog.text


def partition_offset_of(folder: Path, name: str) -> int:
    from commonplace.store.index_file import _layout

    return _layout(IndexFile(file_of(folder)).info)[0][name][0]


def test_an_index_file_of_another_ranking_state_is_stale(tmp_path: Path) -> None:
    store = open_store(tmp_path, state="one")
    put(store, rows(2000))
    store.maintenance.checkpoint()
    store.close()
    half = open_store(tmp_path, state="two", prepare=lambda name, vectors: (vectors / 2, None))
    query = questions(1)[0]
    assert search(half, "text", query, 1, Filter()).scores[0] == pytest.approx(
        exact(half, query, 1, Filter())[0][1] / 2, abs=1e-6
    )
    half.maintenance.checkpoint()
    half.close()
    again = open_store(tmp_path, state="two", prepare=lambda name, vectors: (vectors / 2, None))
    assert again.maintenance.indexes()["text"]["file_rows"] == 2000
    assert search(again, "text", query, 1, Filter()).scores[0] == pytest.approx(
        exact(again, query, 1, Filter())[0][1] / 2, abs=1e-6
    )


def test_removed_rows_are_erased_from_the_index_file(tmp_path: Path) -> None:
    values = rows(2000)
    store = open_store(tmp_path, questions=ask, recall=1.0)
    reader = open_store(tmp_path)
    ids = put(store, values)
    store.maintenance.checkpoint()
    agree(reader)
    assert values[25].tobytes() in file_of(tmp_path).read_bytes()
    store.remove([ids[2]])  # rows 20 to 29
    assert values[25].tobytes() not in file_of(tmp_path).read_bytes()
    assert values[35].tobytes() in file_of(tmp_path).read_bytes()
    agree(store)
    agree(reader)
    store.close()
    agree(open_store(tmp_path))  # and the file is still intact


def test_searches_are_exact_without_an_index_file_and_in_a_read_only_collection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path)
    put(store, rows(2500))  # more rows than memory allows: the rest is streamed
    store._database.all("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
    monkeypatch.setattr("commonplace.store.database.os.access", lambda path, mode: False)  # root may write anywhere
    reader = open_store(tmp_path)
    assert len(reader._partitions["text"].index_view().keys) <= 1000
    agree(reader)
    assert not (tmp_path / "index").exists()


def test_a_search_starts_to_build_an_index_file_and_uses_it(tmp_path: Path) -> None:
    store = open_store(tmp_path, questions=ask)
    put(store, rows(2500))
    agree(store)
    until(lambda: store.maintenance.indexes()["text"]["file_rows"] == 2500)
    assert not list((tmp_path / "index").glob("*.part"))
    agree(store, k=3)


def test_a_full_disk_prevents_only_the_index_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(tmp_path)
    put(store, rows(2000))

    def full(*arguments: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr("commonplace.store.index_file.os.pwrite", full)
        store.maintenance.checkpoint()
    assert "No space left" in caplog.text
    assert [file.name for file in (tmp_path / "index").iterdir()] == ["text.lock"]
    agree(store)
    store.maintenance.checkpoint()
    assert store.maintenance.indexes()["text"]["file_rows"] == 2000


def until(what: Any, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_only_one_process_writes_an_index_file(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    put(store, rows(2000))
    with vector_index.lock(file_of(tmp_path)) as mine:
        assert mine
        with vector_index.lock(file_of(tmp_path)) as second:
            assert not second
        assert not store._partitions["text"].build()
        agree(store)
        assert not file_of(tmp_path).exists()
    assert store._partitions["text"].build()


def test_the_removal_log_stays_short_and_indexes_behind_it_are_rebuilt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("commonplace.store.partitions.REMOVED_KEPT", 50)
    store, reader = open_store(tmp_path), open_store(tmp_path)
    ids = put(store, rows(2000))
    store.maintenance.checkpoint()
    agree(reader)
    for start in range(0, 100, 10):
        store.remove(ids[start : start + 10])
    assert store._database.all("SELECT count(*) FROM removed")[0][0] <= 500
    agree(reader)
    agree(store)


def _write(folder: str, rounds: int) -> None:
    store = open_store(Path(folder))
    for number in range(rounds):
        ids = put(store, rows(200, seed=number + 10), f"w{number}")
        if number % 3 == 2:
            store.remove(ids[:10])
        store.maintenance.checkpoint()
    store.close()


def test_a_reader_follows_another_process_that_writes_index_files(tmp_path: Path) -> None:
    reader = open_store(tmp_path)
    put(reader, rows(400))
    writer = multiprocessing.get_context("spawn").Process(target=_write, args=(str(tmp_path), 6))
    writer.start()
    wrong: list[object] = []

    def ask_often() -> None:
        while writer.is_alive():
            ranked = search(reader, "text", questions(1)[0], 10, Filter())
            if len(ranked.keys) != 10 or (np.diff(ranked.scores) > 0).any():
                wrong.append(ranked)

    threads = [threading.Thread(target=ask_often) for _ in range(2)]
    for thread in threads:
        thread.start()
    writer.join()
    for thread in threads:
        thread.join()
    assert writer.exitcode == 0 and not wrong
    agree(reader)
    assert sum(reader.counts()["vectors"].values()) == 400 + 6 * 200 - 2 * 100


def test_closing_stops_the_build_of_an_index_file(tmp_path: Path) -> None:
    started = threading.Event()

    def slow(name: str, vectors: np.ndarray) -> tuple[np.ndarray, None]:
        started.set()
        return vectors, None

    store = open_store(tmp_path, prepare=slow)
    put(store, rows(2500))
    search(store, "text", questions(1)[0], 1, Filter())
    started.wait(10)
    store.close()
    assert not list((tmp_path / "index").glob("*.part")) if (tmp_path / "index").exists() else True
    assert os.path.exists(tmp_path / "collection.db")


def test_a_search_of_codes_in_two_halves_equals_a_search_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = np.random.default_rng(0).integers(0, 256, (5001, 64), dtype=np.uint8)
    whole = codes_.nearest(codes, codes[17:18], 40)
    parts = codes_.nearest(codes, codes[17:18], 40, split_from=10)
    assert whole[0, 0] == parts[0, 0] == 17
    far = [np.unpackbits(codes[row] ^ codes[17], axis=1).sum(axis=1).tolist() for row in (whole[0], parts[0])]
    assert far[0] == far[1] == sorted(far[0])


def test_an_unfinished_index_file_of_a_killed_process_is_deleted(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    store = open_store(tmp_path)
    put(store, np.random.default_rng(0).standard_normal((50, DIM)).astype(np.float32))
    store.maintenance.checkpoint()
    left, alive = (file_of(tmp_path).with_name(f"text.index.{pid}.part") for pid in (ended.pid, os.getpid()))
    for path in (left, alive):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half")
    store.maintenance.checkpoint()
    assert alive.exists() and not left.exists()  # the other is being written
    store.close()


def test_a_damaged_projection_is_detected(wide: tuple[LocalStore, np.ndarray]) -> None:
    store, _ = wide
    path = file_of(store._folder)
    at = partition_offset_of(store._folder, "projection other") + 40
    store.close()
    path.write_bytes(flipped(path.read_bytes(), at))
    with pytest.raises(Damaged, match="projection"):
        IndexFile(path)


def test_a_selection_extended_by_keys_of_the_index_file_is_derived_again(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    put(store, rows(400))
    store.maintenance.checkpoint()
    base = IndexFile(file_of(tmp_path))
    some = index_view.Selection(np.array([1, 2, 3]))
    assert some.within(base)[0].tolist() == [0, 1, 2]
    assert some.more(np.array([9, 10])).within(base)[0].tolist() == [0, 1, 2, 8, 9]  # by another process, and mapped
    later = some.more(np.array([401]))
    assert later._derived is some._derived and later.within(base)[0].tolist() == [0, 1, 2]
    store.close()
