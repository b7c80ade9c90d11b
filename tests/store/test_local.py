"""The local store: atomic transactions, complete removal, exact search with any filter."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rank_bm25 import BM25Okapi

from commonplace.errors import CollectionError, ModelMismatch, VersionError
from commonplace.filters import filter_of
from commonplace.metadata import Metadata
from commonplace.store import LocalStore, StoreSpace
from commonplace.types import Document, Filter, Item, ParsedDocument, Picture, Span, ViewVectors, stable_id
from tests.store.make import stored

DIM = 8


def open_store(folder: Path, fingerprint: str = "f1") -> LocalStore:
    return LocalStore(folder, StoreSpace("test", fingerprint, DIM))


def vector(*parts: object) -> np.ndarray:
    seed = int(stable_id(*parts)[:8], 16)
    values = np.random.default_rng(seed).standard_normal(DIM).astype(np.float32)
    return stored(values / np.linalg.norm(values))


def reading(path: str, *texts: str, picture: str | None = None, media_type: str = "text/plain") -> ParsedDocument:
    id_ = stable_id(path)
    document = Document(id_, f"file://{path}", path, media_type, stable_id("bytes", *texts), items=len(texts))
    items = [
        Item(stable_id(id_, n), document, "text", Span(start=n, end=n + 1), text=text) for n, text in enumerate(texts)
    ]
    pictures = {}
    if picture:
        items.append(Item(stable_id(id_, "p"), document, "image", Span(), text=None, picture=picture))
        pictures[picture] = Picture(np.zeros((2, 2, 3), np.uint8), b"jpeg of " + picture.encode(), 2, 2)
    return ParsedDocument(document, tuple(items), pictures)


def vectors(*parsed: ParsedDocument) -> list[ViewVectors]:
    texts = [(i.id, i.text) for document in parsed for i in document.items if i.text]
    pictures = [(i.id, i.picture) for document in parsed for i in document.items if i.picture]
    result = []
    for partition, rows in (("text", texts), ("image", pictures)):
        if rows:
            values = np.array([vector(partition, view) for _, view in rows])
            views = tuple(stable_id(partition, view) for _, view in rows)
            result.append(ViewVectors(partition, tuple(item for item, _ in rows), views, values))
    return result


def put(store: LocalStore, *parsed: ParsedDocument) -> None:
    store.add(parsed, vectors(*parsed))


def texts_of(store: LocalStore, ids: Sequence[str]) -> list[str | None]:
    items = store.items(ids)
    return [items[id_].text for id_ in ids]


def test_added_items_are_found_by_vector_and_by_word(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    put(store, reading("/a.txt", "red seal", "blue pump"), reading("/b.jpg", picture="cat", media_type="image/jpeg"))
    assert texts_of(store, store.search("text", vector("text", "blue pump"), 1, Filter()).ids) == ["blue pump"]
    assert texts_of(store, store.search_text("seal", 5, Filter()).ids) == ["red seal"]
    (id_,) = store.search("image", vector("image", "cat"), 5, Filter()).ids
    assert store.items([id_])[id_].modality == "image" and store.views([id_]) == {id_: {"image"}}
    assert store.thumbnail("cat") == b"jpeg of cat"
    store.close()
    again = open_store(tmp_path)  # from the disk
    assert texts_of(again, again.search("text", vector("text", "red seal"), 1, Filter()).ids) == ["red seal"]


def test_a_changed_document_replaces_its_items(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    put(store, reading("/a.txt", "old words", "kept words"))
    put(store, reading("/a.txt", "kept words"))
    assert len(list(store.documents())) == 1
    assert not len(store.search_text("old", 5, Filter()).ids)
    assert store.counts()["vectors"] == {"text": 1}
    assert not store.stored_vectors("text", [stable_id("text", "old words")])


def test_remove_leaves_nothing_behind(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    secret = "xylophonist"
    put(store, reading("/a.txt", f"the {secret} plays", picture="catpicture"), reading("/b.txt", "other words"))
    assert store.remove([stable_id("/a.txt")]) == 1
    assert store.remove([stable_id("/a.txt")]) == 0
    for table in ("items", "views", "vectors", "documents"):
        assert store._database.all(f"SELECT count(*) FROM {table}")[0][0] == 1, table
    assert store._database.all("SELECT count(*) FROM pictures")[0][0] == 0
    assert not len(store.search_text(secret, 5, Filter()).ids)
    store.close()
    for file in tmp_path.iterdir():  # not in the free pages and not in the word index either
        for trace in (secret, "catpicture", "/a.txt"):
            assert trace.encode() not in file.read_bytes(), (file, trace)


def test_shared_vectors_and_pictures_stay_while_an_item_uses_them(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    put(store, reading("/a.txt", "same", picture="p"), reading("/copy.txt", "same", picture="p"))
    assert store._database.all("SELECT count(*) FROM vectors")[0][0] == 2  # one text, one picture
    store.remove([stable_id("/a.txt")])
    assert store.thumbnail("p") and store.stored_vectors("text", [stable_id("text", "same")])
    store.remove([stable_id("/copy.txt")])
    assert store.thumbnail("p") is None and not store.stored_vectors("text", [stable_id("text", "same")])


def test_a_failing_add_changes_nothing(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    put(store, reading("/a.txt", "before"))
    changed = reading("/a.txt", "after")
    broken = ViewVectors("text", (changed.items[0].id,), ("v",), np.full((1, DIM), np.nan, np.float32))
    with pytest.raises(CollectionError, match="not numbers"):
        store.add([changed], [broken])
    short = ViewVectors("text", (changed.items[0].id,), ("v",), np.zeros((1, DIM - 1), np.float32))
    with pytest.raises(CollectionError, match="dimensions"):
        store.add([changed], [short])
    assert texts_of(store, store.search_text("before", 5, Filter()).ids) == ["before"]
    assert not len(store.search_text("after", 5, Filter()).ids)


names = st.sampled_from(["Ann Lee", "ann lee", "Åsa [x] Öst", "*", "a?b", "axb", "", "日本", "ANN"])
stated = st.lists(st.tuples(st.sampled_from(["author", "language"]), names), max_size=4)
dates = st.sampled_from(["1999", "2024", "2024-05", "2024-05-31", "2024-05-31T09:30:00", "2024-06-01", "2025", None])
asked = st.lists(
    st.tuples(
        st.sampled_from(["author", "language", "title", "nothing"]),
        st.lists(
            names.filter(bool) | st.sampled_from(["ann*", "*", "a?b", "*[x]*", "日?", "[a]*", "2*"]),
            min_size=1,
            max_size=3,
        ),
    ),
    max_size=2,
)


def first_second(date: str) -> str:
    return date + "0001-01-01T00:00:00"[len(date) :]


def matches(wanted: str, value: str) -> bool:
    """Return whether a value meets a filter, by a regular expression instead of SQLite's GLOB."""
    parts = {"*": ".*", "?": "."}
    pattern = "".join(parts.get(mark, re.escape(mark)) for mark in wanted.casefold())
    return re.fullmatch(pattern, value.casefold(), re.DOTALL) is not None


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(stated, dates, names), min_size=1, max_size=8), asked, dates, dates, st.booleans())
def test_metadata_filters_equal_a_check_of_each_document(
    tmp_path_factory: pytest.TempPathFactory,
    corpus: list[tuple[list[tuple[str, str]], str | None, str]],
    wanted: list[tuple[str, list[str]]],
    after: str | None,
    before: str | None,
    known: bool,
) -> None:
    store = open_store(tmp_path_factory.mktemp("store"))
    conditions: dict[str, list[str]] = {}
    for key, values in wanted:
        conditions.setdefault(key, []).extend(values)
    where = filter_of(None, None, None, after, before, conditions)
    expected = set()
    for number, (pairs, date, title) in enumerate(corpus):
        cell = reading(f"/{number}.txt", "pump")
        metadata = Metadata.of_file([*pairs, *([("date", date)] if date else [])])
        put(store, replace(cell, document=replace(cell.document, metadata=metadata, title=title)))
        if known:  # a match in the middle must be correct, too
            store.search_text("pump", 50, where)
            store.search("text", vector("q"), 50, where)
        second = first_second(date) if date else None
        in_time = (after is None or (second is not None and second >= first_second(after))) and (
            before is None or (second is not None and second < first_second(before))
        )
        values = [*pairs, *([("title", title)] if title else [])]
        if in_time and all(
            any(key == name and any(matches(cell, value) for cell in some) for name, value in values)
            for key, some in conditions.items()
        ):
            expected.add(cell.document.path)
    for ids in (store.search("text", vector("q"), 50, where).ids, store.search_text("pump", 50, where).ids):
        assert {item.document.path for item in store.items(ids).values()} == expected
    assert {document.path for document in store.documents(where=where)} == expected
    assert store.count(where) == len(expected)
    assert [document.metadata for document in store.documents()] == [
        Metadata.of_file([*pairs, *([("date", date)] if date else [])]) for pairs, date, _ in corpus
    ]


words = st.sampled_from(["pump", "seal", "cat", "dog", "red", "blue", "valve", "north", "south", "snow"])
documents = st.lists(st.lists(words, min_size=1, max_size=6), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(
    documents, st.integers(1, 12), st.sampled_from([None, "text", "image"]), st.sampled_from([None, "/d/*", "/d/1.txt"])
)
def test_search_equals_a_full_scan_under_any_filter(
    tmp_path_factory: pytest.TempPathFactory, corpus: list[list[str]], k: int, modality: str | None, path: str | None
) -> None:
    store = open_store(tmp_path_factory.mktemp("store"))
    parsed = [
        reading(f"/{'d' if n % 2 else 'e'}/{n}.txt", *dict.fromkeys(parts), picture=f"p{n}")
        for n, parts in enumerate(corpus)
    ]
    put(store, *parsed)
    where = Filter(modality, path)  # type: ignore[arg-type]
    query = vector("query", k)
    for partition in ("text", "image"):
        expected = []
        for document in parsed:
            for item in document.items:
                view = item.text if partition == "text" else item.picture
                below = (
                    path is None
                    or document.document.path == path
                    or (path == "/d/*" and document.document.path[:3] == "/d/")
                )
                if view and below and modality in (None, item.modality):
                    expected.append((round(-float(vector(partition, view) @ query), 5), item.id))
        ranked = store.search(partition, query, k, where)
        scores = [round(-float(score), 5) for score in ranked.scores]
        assert scores == pytest.approx(sorted(score for score, _ in expected)[:k], abs=2e-5)
        assert set(ranked.ids) <= {id_ for _, id_ in expected}
    store.close()


def test_bm25_agrees_with_a_reference(tmp_path: Path) -> None:
    corpus = [
        "the pump needs a blue seal and a red valve",
        "a cat sat on the red mat near the pump pump pump",
        "snow fell in the north while the dog slept",
        "valves and seals are kept in the north store",
        "nothing to see here",
    ]
    store = open_store(tmp_path)
    put(store, *(reading(f"/{n}.txt", text) for n, text in enumerate(corpus)))
    reference = BM25Okapi([text.split() for text in corpus], k1=1.2, b=0.75)
    for question in ("pump", "blue dog", "north"):
        ranked = store.search_text(question, 5, Filter())
        expected = reference.get_scores(question.split())
        assert ranked.full_match_score == pytest.approx(sum(reference.idf[word] for word in question.split()), rel=1e-4)
        items = store.items(ranked.ids)
        for id_, score in zip(ranked.ids, ranked.scores.tolist(), strict=True):
            assert score == pytest.approx(expected[corpus.index(items[id_].text or "")], rel=1e-4)


def test_fused_views_equal_their_definition(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    only_text, only_image = reading("/t.txt", "words"), reading("/i.jpg", picture="pic")
    document = Document(stable_id("/both"), "file:///both", "/both", "text/markdown", "h", items=1)
    item = Item(stable_id("/both", 1), document, "image", Span(), text="caption", picture="pic2")
    both = ParsedDocument(document, (item,), {"pic2": Picture(np.zeros((1, 1, 3), np.uint8), b"x", 1, 1)})
    put(store, only_text, only_image, both)
    query, alpha = vector("q"), 0.3
    text, image = vector("text", "caption"), vector("image", "pic2")
    fused = alpha * text + (1 - alpha) * image
    expected = {
        "mean": (alpha, float(query @ fused / np.linalg.norm(fused))),
        "concat": (None, float(query @ (text + image) / 2)),
    }
    for share, value in expected.values():
        ranked = store.search_fused(query, 3, Filter(), share)
        scores = dict(zip(ranked.ids, ranked.scores.tolist(), strict=True))
        assert store.score_fused(query, ranked.ids, alpha=share) == pytest.approx(ranked.scores, abs=1e-6)
        assert (store.sample_fused(9, alpha=share).vectors @ query).max() == pytest.approx(ranked.scores[0], abs=1e-6)
        assert scores[item.id] == pytest.approx(value, abs=1e-4)
        assert scores[only_text.items[0].id] == pytest.approx(float(query @ vector("text", "words")), abs=1e-4)
        assert scores[only_image.items[0].id] == pytest.approx(float(query @ vector("image", "pic")), abs=1e-4)


def test_another_version_model_or_program_is_refused(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    with pytest.raises(ModelMismatch, match="was made with the model test"):
        open_store(tmp_path, "f2")
    with sqlite3.connect(tmp_path / "collection.db") as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(VersionError, match="has schema 99"):
        open_store(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    with sqlite3.connect(other / "collection.db") as database:
        database.execute("CREATE TABLE mine (x)")
    database.close()
    with pytest.raises(CollectionError, match="another program"):
        open_store(other)
    (other / "collection.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(CollectionError, match="damaged or not a collection"):
        open_store(other)
    blocked = tmp_path / "file"
    blocked.write_text("x")
    with pytest.raises(CollectionError, match="cannot be used"):
        open_store(blocked / "below")


def test_changes_of_another_writer_are_visible_and_threads_may_search(tmp_path: Path) -> None:
    reader, writer = open_store(tmp_path), open_store(tmp_path)
    put(writer, reading("/a.txt", "first"))
    query = vector("text", "second")
    assert texts_of(reader, reader.search("text", query, 1, Filter()).ids) == ["first"]
    put(writer, reading("/b.txt", "second"))
    assert texts_of(reader, reader.search("text", query, 1, Filter()).ids) == ["second"]
    wrong: list[object] = []

    def ask() -> None:
        for _ in range(50):
            if texts_of(reader, reader.search("text", query, 1, Filter()).ids) != ["second"]:
                wrong.append(1)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for n in range(20):
        put(writer, reading(f"/more{n}.txt", f"other {n}"))
    for thread in threads:
        thread.join()
    assert not wrong


def test_file_names_that_are_not_text_are_kept(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    path = b"/odd-\xff\xfe-name\n.txt".decode("utf-8", "surrogateescape")
    document = Document(stable_id(path), "file:///odd", path, "text/plain", "h")
    store.add([ParsedDocument(document)], [])
    assert next(store.documents()).path == path


def test_an_offset_is_subtracted_only_in_cross_modal_searches(tmp_path: Path) -> None:
    def offset(partition: str, vectors: np.ndarray) -> np.ndarray | None:
        return np.linspace(0, 1, len(vectors), dtype=np.float32) if partition == "image" else None

    store = LocalStore(tmp_path, StoreSpace("test", "f1", DIM, offset=offset))
    put(store, *(reading(f"/{n}.jpg", picture=f"p{n}") for n in range(5)))
    query = vector("q")
    plain = store.search("image", query, 5, Filter())
    less = store.search("image", query, 5, Filter(), cross_modal=True)
    offsets = {stable_id(stable_id(f"/{n}.jpg"), "p"): n / 4 for n in range(5)}
    before = dict(zip(plain.ids, plain.scores.tolist(), strict=True))
    for id_, score in zip(less.ids, less.scores.tolist(), strict=True):
        assert score == pytest.approx(before[id_] - offsets[id_], abs=1e-6)
    some = store.search("image", query, 5, Filter(path="/3.jpg"), cross_modal=True)
    assert some.scores[0] == pytest.approx(before[some.ids[0]] - offsets[some.ids[0]], abs=1e-6)


def test_hits_show_the_current_item_or_are_left_out(tmp_path: Path) -> None:
    """The key of a document that is replaced or removed during a search must not be used for another document."""
    store = open_store(tmp_path)
    put(store, reading("/a.txt", "xylophone concert"))
    ranked = store.search_text("xylophone", 5, Filter())
    put(store, reading("/a.txt", "submarine periscope"))
    assert texts_of(store, ranked.ids) == ["submarine periscope"]
    store.remove([stable_id("/a.txt")])
    put(store, reading("/b.txt", "another thing"))
    assert store.items(ranked.ids) == {}


def test_many_threads_use_few_connections(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    put(store, reading("/a.txt", "blue seal"))
    for _ in range(60):
        thread = threading.Thread(target=store.search_text, args=("seal", 3, Filter()))
        thread.start()
        thread.join()
    assert len(store._database._idle) == 1


def test_a_closed_store_raises_an_error(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.close()
    with pytest.raises(CollectionError, match="was closed"):
        list(store.documents())


def test_a_read_only_collection_can_be_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(tmp_path)
    put(store, reading("/a.txt", "blue seal"))
    store.maintenance.checkpoint()
    store.close()
    monkeypatch.setattr("commonplace.store.database.os.access", lambda path, mode: False)  # root may write anywhere
    store = open_store(tmp_path)
    assert texts_of(store, store.search_text("seal", 3, Filter()).ids) == ["blue seal"]
    with pytest.raises(CollectionError, match="cannot be written"):
        store.remove([stable_id("/a.txt")])


def test_damage_found_while_reading_raises_a_collection_error(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    put(store, *(reading(f"/{n}.txt", f"words of number {n} " * 40) for n in range(60)))
    store.maintenance.checkpoint()
    store.close()
    file = tmp_path / "collection.db"
    pages = bytearray(file.read_bytes())
    pages[4096:] = bytes(len(pages) - 4096)
    file.write_bytes(pages)
    with pytest.raises(CollectionError, match="damaged"):
        list(open_store(tmp_path).documents())


def test_damaged_views_vectors_and_pictures_are_not_handed_out(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    put = [reading(f"/{n}.txt", f"words {n}", picture=f"picture {n}") for n in range(3)]
    store.add(put, vectors(*put))
    ids = [item.id for document in put for item in document.items]
    broken = stable_id("text", "words 1")
    with sqlite3.connect(tmp_path / "collection.db") as database:
        database.execute("UPDATE vectors SET vector = zeroblob(16) WHERE view = ?", (broken,))
        database.execute("UPDATE views SET view = 'x' WHERE view = ?", (stable_id("image", "picture 2"),))
        database.execute("UPDATE pictures SET width = 3 WHERE hash = 'picture 0'")
    views = {rows.partition: set(rows.views) for rows in store.views_of(ids)}
    assert views == {
        "text": {stable_id("text", f"words {n}") for n in (0, 2)},
        "image": {stable_id("image", f"picture {n}") for n in (0, 1)},
    }
    assert store.picture_sizes([f"picture {n}" for n in range(3)]) == {"picture 1": (2, 2), "picture 2": (2, 2)}
    store.close()


def test_views_are_not_handed_out_after_a_migration(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    document = reading("/a.txt", "words")
    store.add([document], vectors(document))
    with sqlite3.connect(tmp_path / "collection.db") as database:
        database.execute("UPDATE meta SET value = 'f2' WHERE name = 'fingerprint'")
    with pytest.raises(ModelMismatch):
        store.views_of([document.items[0].id])
    store.close()
