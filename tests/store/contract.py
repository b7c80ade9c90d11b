"""The contract of a store, as tests. Subclass ``StoreContract`` to test your own store.

No test assumes that a write is visible at once: each waits with ``StoreContract.settle()``. Tests of capabilities that
a store lacks are skipped with a reason.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commonplace.errors import CollectionError
from commonplace.filters import filter_of
from commonplace.metadata import Metadata
from commonplace.store import RankedList, Store, array_of, signature_of
from commonplace.types import Document, Filter, Item, Original, ParsedDocument, Picture, Span, ViewVectors, stable_id

__all__ = ["DIM", "StoreContract", "hubness"]

DIM = 8
FIELDS = ("modality", "path", "media_type", "after", "before", "where")
PICTURE = np.zeros((1, 1, 3), np.uint8)


def hubness(partition: str, vectors: np.ndarray) -> np.ndarray | None:
    """The hubness offsets of every store under test: for images, computed from the first number of the vector."""
    return np.abs(vectors[:, 0]).astype(np.float32) if partition == "image" else None


def vector(*parts: object) -> np.ndarray:
    """Return a unit vector (DIM,) that depends only on ``parts``."""
    values = np.random.default_rng(int(stable_id(*parts)[:8], 16)).standard_normal(DIM).astype(np.float32)
    return values / np.linalg.norm(values)


def parsed(path: str, *texts: str, picture: str | None = None, **fields: object) -> ParsedDocument:
    """Return a document with one passage for each text and, at the end, one picture."""
    id_ = stable_id(path)
    kind = "image/jpeg" if picture and not texts else "text/plain"
    document = Document(id_, f"file://{path}", path, kind, stable_id("bytes", path, *texts), items=len(texts))
    document = replace(document, **fields)  # type: ignore[arg-type]
    items = [Item(stable_id(id_, n), document, "text", Span(n, n + 1), text) for n, text in enumerate(texts)]
    pictures = {}
    if picture:
        items.append(Item(stable_id(id_, "picture"), document, "image", Span(), picture=picture))
        pictures[picture] = Picture(PICTURE, f"jpeg of {picture}".encode(), 1, 1)
    return ParsedDocument(document, tuple(items), pictures)


def vectors_of(documents: Sequence[ParsedDocument]) -> list[ViewVectors]:
    items = [item for document in documents for item in document.items]
    texts = [(item.id, item.text) for item in items if item.text]
    pictures = [(item.id, item.picture) for item in items if item.picture]
    result = []
    for partition, rows in (("text", texts), ("image", pictures)):
        if rows:
            views = tuple(stable_id(partition, view) for _, view in rows)
            values = np.array([vector(partition, view) for _, view in rows])
            result.append(ViewVectors(partition, tuple(item for item, _ in rows), views, values))
    return result


class StoreContract:
    """Override ``make()`` (and the attributes that differ) and let pytest collect the subclass."""

    persistent = True
    """Whether a new store in the same folder contains the earlier data."""
    tolerance = 1e-3
    """Maximum difference between scores and exact inner products, because stores may keep vectors as float16."""

    def make(self, folder: Path) -> Store:
        """Open the store in ``folder`` with vectors of DIM numbers and ``hubness`` as offsets."""
        raise NotImplementedError

    def settle(self, store: Store) -> None:
        """Wait until every write is visible to reads."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        store = self.make(tmp_path / "store")
        yield store
        if store.maintenance is not None:
            assert store.maintenance.doctor() == []  # no test leaves damage
        store.close()

    def put(self, store: Store, *documents: ParsedDocument, replaces: Sequence[str] = ()) -> None:
        store.add(documents, vectors_of(documents), replaces)
        self.settle(store)

    @staticmethod
    def texts(store: Store, ranked: RankedList) -> list[str | None]:
        items = store.items(ranked.ids)
        return [items[id_].text for id_ in ranked.ids]

    # --- writing ---------------------------------------------------------------------------------------------

    def test_added_documents_are_found(self, store: Store) -> None:
        self.put(store, parsed("/a.txt", "red seal", "blue pump"), parsed("/b.jpg", picture="cat"))
        ranked = store.search("text", vector("text", "blue pump"), 1, Filter())
        assert self.texts(store, ranked) == ["blue pump"] and ranked.full_match_score == 1
        assert ranked.scores.tolist() == pytest.approx([1], abs=self.tolerance)
        (cat,) = store.search("image", vector("image", "cat"), 5, Filter()).ids
        assert store.items([cat])[cat] == parsed("/b.jpg", picture="cat").items[0]
        assert store.views([cat, "gone"]) == {cat: {"image"}}
        (red, blue) = store.items_of(stable_id("/a.txt"))
        words = {"lexical"} if store.capabilities.lexical else set()
        assert (red.text, blue.text) == ("red seal", "blue pump")
        assert store.views([red.id])[red.id] == {"text"} | words
        assert store.items_of("gone") == [] and store.items(["gone"]) == {}
        assert store.search("none such", vector("q"), 5, Filter()).ids == ()

    def test_a_snapshot_reads_one_state(self, store: Store) -> None:
        if not store.capabilities.snapshots:
            pytest.skip("the store has no snapshots")
        self.put(store, parsed("/a.txt", "red seal"))
        with store.snapshot():
            assert store.count() == 1
            thread = threading.Thread(target=self.put, args=(store, parsed("/b.txt", "blue pump")))
            thread.start()
            thread.join()
            assert store.count() == 1 and len(list(store.documents())) == 1
        assert store.count() == 2

    def test_a_changed_document_replaces_its_items(self, store: Store) -> None:
        self.put(store, parsed("/a.txt", "old words", "kept words"))
        self.put(store, parsed("/a.txt", "kept words"))
        assert [document.path for document in store.documents()] == ["/a.txt"]
        assert self.texts(store, store.search("text", vector("text", "old words"), 5, Filter())) == ["kept words"]
        assert set(store.stored_vectors("text", [stable_id("text", text) for text in ("old words", "kept words")])) == {
            stable_id("text", "kept words")
        }
        assert store.count() == 1

    def test_the_transaction_that_adds_a_moved_document_removes_the_old_one(self, store: Store) -> None:
        self.put(store, parsed("/old.txt", "words", picture="p"))
        self.put(store, parsed("/new.txt", "words", picture="p"), replaces=[stable_id("/old.txt"), "gone"])
        assert [document.path for document in store.documents()] == ["/new.txt"]
        assert store.count() == 2 and store.thumbnail("p") == b"jpeg of p"
        assert len(store.search("text", vector("q"), 9, Filter()).ids) == 1

    @pytest.mark.parametrize("wrong", ["length", "not a number"])
    def test_invalid_vectors_are_refused_and_nothing_is_stored(self, store: Store, wrong: str) -> None:
        good, bad = parsed("/good.txt", "good words"), parsed("/bad.txt", "bad words")
        (rows,) = vectors_of([good, bad])
        values = rows.vectors[:, :-1] if wrong == "length" else np.where([[False], [True]], np.nan, rows.vectors)
        with pytest.raises(CollectionError, match="nothing was stored"):
            store.add([good, bad], [ViewVectors("text", rows.item_ids, rows.views, values.astype(np.float32))])
        self.settle(store)
        assert list(store.documents()) == [] and store.count() == 0

    def test_an_update_keeps_the_items(self, store: Store) -> None:
        good, new = parsed("/a.txt", "words").document, parsed("/new.txt").document
        self.put(store, parsed("/a.txt", "words"))
        failed = replace(good, status="failed", error="it is gone", stamp="[1]")
        store.update([failed, replace(new, status="failed", error="no type")])
        self.settle(store)
        assert list(store.documents()) == [failed, replace(new, status="failed", error="no type")]
        (item,) = store.items_of(good.id)
        assert item.document == failed and store.items_of(new.id) == []
        assert self.texts(store, store.search("text", vector("text", "words"), 3, Filter())) == ["words"]

    def test_remove_keeps_only_data_shared_with_other_documents(self, store: Store) -> None:
        self.put(store, parsed("/a.txt", "shared", "mine", picture="p"), parsed("/b.txt", "shared", picture="p"))
        self.put(store, parsed("/c.txt", "other", picture="c"))
        assert store.remove([stable_id("/a.txt"), stable_id("/c.txt"), "gone"]) == 2
        self.settle(store)
        assert store.remove([stable_id("/a.txt")]) == 0
        views = {text: stable_id("text", text) for text in ("shared", "mine", "other")}
        assert set(store.stored_vectors("text", list(views.values()))) == {views["shared"]}
        assert store.thumbnail("p") == b"jpeg of p" and store.thumbnail("c") is None
        assert store.count() == 2 and len(store.search("image", vector("q"), 9, Filter()).ids) == 1
        gone = [stable_id(stable_id("/a.txt"), 1)]
        assert store.items(gone) == {} and store.views(gone) == {} and np.isnan(store.score("text", vector("q"), gone))

    def test_an_empty_batch_changes_nothing(self, store: Store) -> None:
        store.add([], [])
        store.update([])
        assert store.remove([]) == 0 and store.count() == 0

    def test_the_views_of_items_are_returned_as_they_were_added(self, store: Store) -> None:
        document = parsed("/a.txt", "same words", picture="p").document
        ids = [f"item-{n}" for n in range(3)]
        items = tuple(Item(id_, document, "text", Span(n, n + 1), "same words") for n, id_ in enumerate(ids))
        rows = [("item-2", "v2"), ("item-0", "v1"), ("item-0", "v2"), ("item-1", "v1")]
        values = np.array([vector(view) for _, view in rows])
        text = ViewVectors("text", tuple(id_ for id_, _ in rows), tuple(view for _, view in rows), values)
        image = ViewVectors("image", ("item-1",), ("p",), vector("image", "p")[None])
        store.add([ParsedDocument(document, items)], [text, image])
        self.settle(store)
        assert store.views_of([]) == [] == store.views_of(["gone", "\ud800"])
        (first, second) = store.views_of(["item-1", "gone", "item-2", "item-0", "item-1"])
        assert (first.partition, first.item_ids, first.views) == ("image", ("item-1",), ("p",))
        assert (second.partition, second.item_ids) == ("text", ("item-0", "item-0", "item-1", "item-2"))
        assert second.views == ("v1", "v2", "v1", "v2") and second.vectors.dtype == np.float32
        assert second.vectors == pytest.approx(np.array([vector(view) for view in second.views]), abs=self.tolerance)
        assert first.vectors == pytest.approx(vector("image", "p")[None], abs=self.tolerance)
        (only,) = store.views_of(["item-2"])
        assert (only.partition, only.item_ids, only.views) == ("text", ("item-2",), ("v2",))
        store.remove([document.id])
        self.settle(store)
        assert store.views_of(ids) == []

    def test_many_views_are_returned(self, store: Store) -> None:
        self.put(store, *(parsed(f"/{n}.txt", f"words {n}") for n in range(1200)))
        ids = sorted(stable_id(stable_id(f"/{n}.txt"), 0) for n in range(1200))
        (rows,) = store.views_of(ids[::-1])
        assert rows.item_ids == tuple(ids) and rows.vectors.shape == (1200, DIM)

    def test_the_size_of_a_picture_is_kept_or_unknown(self, store: Store) -> None:
        document = parsed("/a.jpg", picture="p")
        self.put(store, replace(document, pictures={"p": Picture(PICTURE, b"jpeg of p", 640, 480)}))
        assert store.picture_sizes(["p", "gone", "\ud800"]) in ({"p": (640, 480)}, {})
        assert store.picture_sizes([]) == {}

    def test_signatures_are_made_of_the_thumbnails_that_are_added(self, store: Store) -> None:
        image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8))
        file = io.BytesIO()
        image.save(file, "JPEG")
        readable, other = parsed("/a.jpg", picture="p"), parsed("/b.jpg", picture="q")
        self.put(store, replace(readable, pictures={"p": Picture(PICTURE, file.getvalue(), 60, 40)}), other)
        signatures = store.signatures(["p", "q", "gone", "\ud800"])
        assert signatures["p"] == signature_of(file.getvalue()) and array_of(signatures["p"]) is not None
        assert not signatures.get("q") and signatures.keys() <= {"p", "q"}
        assert store.signatures([]) == {}
        store.remove([readable.document.id])
        self.settle(store)
        assert store.signatures(["p"]) == {}

    # --- documents -------------------------------------------------------------------------------------------

    def test_documents_are_selected_by_each_condition(self, store: Store) -> None:
        paths = ["/d/a.txt", "/d/b.txt", "/d/sub/c.txt", "/d-e/f.txt", "/d.txt", "/z/a.txt"]
        self.put(store, *(parsed(path, f"words of {path}") for path in paths))
        self.put(store, parsed("/z/copy.jpg", picture="p", content_hash=stable_id("same")))
        self.put(store, parsed("/z/again.jpg", picture="p", content_hash=stable_id("same"), status="partial"))

        def found(**conditions: object) -> list[str]:
            return [document.path for document in store.documents(**conditions)]  # type: ignore[arg-type]

        every = sorted([*paths, "/z/copy.jpg", "/z/again.jpg"])
        assert found() == every
        assert found(below="/d") == ["/d/a.txt", "/d/b.txt", "/d/sub/c.txt"] == found(below="/d/")
        assert found(below="/d/a.txt") == ["/d/a.txt"] and found(below="/") == every and found(below="/nowhere") == []
        assert found(below="/\ud800") == [] and store.items(["\ud800"]) == {} and store.items_of("\ud800") == []
        ids = [stable_id("/z/a.txt"), stable_id("/d.txt"), "gone", "\ud800"]
        assert found(ids=ids) == ["/d.txt", "/z/a.txt"] and found(ids=[]) == []
        assert found(content_hash=stable_id("same")) == ["/z/again.jpg", "/z/copy.jpg"]
        assert found(content_hash=stable_id("same"), status="partial") == ["/z/again.jpg"]
        assert found(status="failed") == [] and found(ids=ids, below="/z") == ["/z/a.txt"]
        assert found(where=Filter(modality="image")) == ["/z/again.jpg", "/z/copy.jpg"]
        assert found(where=Filter(path="sub")) == ["/d/sub/c.txt"]
        assert found(where=Filter(media_type="text/*"), below="/z") == ["/z/a.txt"]

    def test_many_documents_are_listed_once_ordered_by_path(self, store: Store) -> None:
        count = 2345
        self.put(store, *(parsed(f"/{n % 7}/{n}.txt") for n in range(count)))
        result = [document.path for document in store.documents()]
        assert result == sorted(f"/{n % 7}/{n}.txt" for n in range(count))
        assert len(list(store.documents(below="/3"))) == len(range(3, count, 7))
        assert len(list(store.documents(ids=[stable_id(f"/{n % 7}/{n}.txt") for n in range(1500)]))) == 1500

    def test_pictures_that_occur_only_in_these_documents(self, store: Store) -> None:
        self.put(store, parsed("/a.jpg", picture="mine"), parsed("/b.txt", picture="ours"))
        self.put(store, parsed("/c.txt", picture="ours"))
        assert store.pictures([stable_id("/a.jpg"), stable_id("/b.txt"), "gone"]) == ["mine"]
        assert store.pictures([stable_id("/b.txt"), stable_id("/c.txt")]) == ["ours"] and store.pictures([]) == []

    def test_counts(self, store: Store) -> None:
        self.put(store, parsed("/a.txt", "one", "two", picture="p", status="partial"), parsed("/b.txt", "three"))
        assert store.count() == 4 and store.count(Filter("image")) == 1 and store.count(Filter(path="/b.txt")) == 1
        counts = store.counts()
        assert counts["items"] == {"text": 3, "image": 1}
        assert counts.get("documents", {"ok": 1, "partial": 1}) == {"ok": 1, "partial": 1}
        assert counts.get("vectors", {"text": 3, "image": 1}) == {"text": 3, "image": 1}
        assert store.counts("items") == {"items": {"text": 3, "image": 1}}

    def test_metadata_keys_are_counted(self, store: Store) -> None:
        assert store.metadata_keys() == {}
        self.put(store, parsed("/a.txt", "x", title="A title"), parsed("/b.txt", "y", title="Another"))
        self.put(store, parsed("/c.txt", "z"))
        assert store.metadata_keys() == {"title": 2}

    def test_typed_metadata_is_filtered(self, store: Store) -> None:
        for number, year in enumerate((2019, 2021, 2023)):
            metadata = Metadata({"year": year, "plant": "North" if number else "South", "made": date(year, 5, 1)})
            self.put(store, parsed(f"/{year}.txt", f"report {year}", metadata=metadata))
        assert store.metadata_types(["year", "plant", "made", "absent"]) == {
            "year": "number",
            "plant": "text",
            "made": "date",
        }
        years = [stable_id(f"/{year}.txt") for year in (2019, 2021, 2023)]
        assert store.metadata_types(["year"], without=years[:2]) == {"year": "number"}
        assert store.metadata_types(["year"], without=[*years, "absent"]) == {}
        assert store.metadata_keys() == {"made": 3, "plant": 3, "year": 3}

        def paths(**filters: object) -> list[str]:
            where = filter_of(**{**dict.fromkeys(FIELDS), **filters}, types=store.metadata_types)  # type: ignore[arg-type]
            assert store.count(where) == len(list(store.documents(where=where)))
            ids = store.search("text", vector("q"), 9, where).ids
            assert {item.document.path for item in store.items(ids).values()} == {
                document.path for document in store.documents(where=where)
            }
            return [document.path for document in store.documents(where=where)]

        assert paths(where={"year": {">=": 2020, "<": 2023}}) == ["/2021.txt"]
        assert paths(where={"plant": "n*"}) == ["/2021.txt", "/2023.txt"]
        assert paths(where={"plant": ["south", "east"]}) == ["/2019.txt"]
        assert paths(where={"made": {">": date(2021, 6, 1)}, "plant": "north"}) == ["/2023.txt"]

    def test_the_content_of_a_record_is_stored(self, store: Store) -> None:
        record = replace(parsed("/a.txt", "one"), original=Original("text/plain", b"one"))
        self.put(store, record, parsed("/b.txt", "two"))
        assert store.original(stable_id("/a.txt")) == b"one" and store.original(stable_id("/b.txt")) is None
        store.remove([stable_id("/a.txt")])
        self.settle(store)
        assert store.original(stable_id("/a.txt")) is None

    # --- search ----------------------------------------------------------------------------------------------

    FILTERS = (
        *(Filter(), Filter("text"), Filter("image"), Filter(path="/d"), Filter(path="/d/*"), Filter(path="d")),
        *(Filter(path="*.jpg"), Filter(path="/d/1.txt"), Filter(media_type="image/*"), Filter("image", "/d")),
        Filter(path="/nowhere"),
    )

    @pytest.mark.parametrize("where", FILTERS, ids=str)
    def test_a_filter_is_applied_inside_the_search(self, store: Store, where: Filter) -> None:
        documents = [parsed(f"/d/{n}.txt", f"words {n}", picture=f"shown {n}") for n in range(6)]
        documents += [parsed(f"/e/d/{n}.jpg", picture=f"picture {n}") for n in range(6)]
        self.put(store, *documents[:5])
        store.search("text", vector("q"), 5, where)  # data derived from a filter must be updated
        self.put(store, *documents[5:])
        below = {"/d": "/d/", "/d/*": "/d/", "d": "/", "/d/1.txt": "/d/1.txt", "/nowhere": "/nowhere", None: "/"}
        allowed = {
            item.id: item
            for document in documents
            for item in document.items
            if where.modality in (None, item.modality)
            and (where.media_type is None or document.document.media_type == "image/jpeg")
            and document.document.path.startswith(below.get(where.path, "/"))
            and (where.path != "*.jpg" or document.document.path.endswith(".jpg"))
        }
        assert store.count(where) == len(allowed)
        query = vector("query")
        for partition in ("text", "image"):
            views = {id_: item.text if partition == "text" else item.picture for id_, item in allowed.items()}
            expected = sorted((-float(vector(partition, view) @ query), id_) for id_, view in views.items() if view)
            ranked = store.search(partition, query, 4, where)
            assert list(ranked.ids) == [id_ for _, id_ in expected[:4]]
            scores = [-score for score, _ in expected[:4]]
            assert ranked.scores.tolist() == pytest.approx(scores, abs=self.tolerance)

    def test_equal_scores_are_ordered_by_id(self, store: Store) -> None:
        for n in range(3):
            self.put(store, *(parsed(f"/{n}{m}.txt", "the same words") for m in range(4)))
        self.put(store, parsed("/other.txt", "other words"))
        query = vector("text", "the same words")
        ranked = store.search("text", query, 13, Filter())
        same = sorted(stable_id(stable_id(f"/{n}{m}.txt"), 0) for n in range(3) for m in range(4))
        assert ranked.ids == (*same, stable_id(stable_id("/other.txt"), 0))
        assert (np.diff(ranked.scores) <= 0).all() and all(type(id_) is str for id_ in ranked.ids)
        some = store.search("text", query, 5, Filter()).ids
        assert list(some) == sorted(some) and set(some) <= set(same) and len(some) == 5

    def test_an_item_with_several_views_has_the_score_of_its_best_view(self, store: Store) -> None:
        document = parsed("/a.txt", "long text")
        (item,) = document.items
        other = parsed("/b.txt", "other")
        views = np.array([vector("first"), vector("second"), vector("text", "other")])
        rows = ViewVectors("text", (item.id, item.id, other.items[0].id), ("v1", "v2", "v3"), views)
        store.add([document, other], [rows])
        self.settle(store)
        ranked = store.search("text", vector("second"), 2, Filter())
        assert ranked.ids[0] == item.id and ranked.scores[0] == pytest.approx(1, abs=self.tolerance)
        assert len(ranked.ids) == len(set(ranked.ids)) == 2
        assert store.score("text", vector("second"), [item.id])[0] == pytest.approx(1, abs=self.tolerance)
        (row,) = store.vectors("text", [item.id])
        assert np.abs(views[:2] - row).max(axis=1).min() <= self.tolerance

    @pytest.mark.parametrize("cross_modal", [False, True])
    def test_score_equals_the_scores_of_a_search(self, store: Store, cross_modal: bool) -> None:
        self.put(store, *(parsed(f"/{n}.txt", f"words {n}", picture=f"picture {n}") for n in range(20)))
        query = vector("query")
        for partition in ("text", "image"):
            ranked = store.search(partition, query, 40, Filter(), cross_modal=cross_modal)
            assert len(ranked.ids) == 20 and (np.diff(ranked.scores) <= 0).all()
            scores = store.score(partition, query, ranked.ids[::-1], cross_modal=cross_modal)
            exact = 1e-5 if store.capabilities.exact_scores else self.tolerance
            assert scores[::-1] == pytest.approx(ranked.scores, abs=exact)
            vectors = store.vectors(partition, ranked.ids)
            offsets = hubness(partition, vectors) if cross_modal else None
            expected = vectors @ query - (0 if offsets is None else offsets)
            assert expected == pytest.approx(ranked.scores, abs=exact)
            if cross_modal and partition == "image":
                assert scores[::-1] != pytest.approx(vectors @ query, abs=0.01)
        some = [ranked.ids[3], "gone", stable_id(stable_id("/4.txt"), 0), ranked.ids[0], ranked.ids[3]]
        scores = store.score("image", query, some)  # in any order, again, and without such a view
        assert np.isnan(scores).tolist() == [False, True, True, False, False] and scores[0] == scores[-1]
        vectors = store.vectors("image", some)
        assert not vectors[1:3].any() and vectors[0].tolist() == vectors[-1].tolist()
        assert vectors.shape == (5, DIM) and store.vectors("image", []).shape == (0, DIM)
        assert store.score("image", query, []).shape == (0,)

    def test_a_sample_is_evenly_spaced(self, store: Store) -> None:
        self.put(store, *(parsed(f"/{n}.txt", f"words {n}", picture=f"picture {n}") for n in range(300)))
        query = vector("query")
        for partition in ("text", "image"):
            whole, some = store.sample(partition, 1000), store.sample(partition, 100)
            assert whole.vectors.shape == (300, DIM) and 50 <= len(some.vectors) <= 150
            assert whole.total == some.total == 300
            ranked = store.search(partition, query, 300, Filter(), cross_modal=True)
            scores = whole.vectors @ query - (0 if whole.offsets is None else whole.offsets)
            assert np.sort(scores)[::-1] == pytest.approx(ranked.scores, abs=self.tolerance)
            assert (whole.offsets is None) == (hubness(partition, whole.vectors) is None)
            again = store.sample(partition, 100)
            assert again.vectors.tolist() == some.vectors.tolist()
            places = {row.tobytes(): n for n, row in enumerate(whole.vectors)}
            at = sorted(places[row.tobytes()] for row in some.vectors)
            assert max(np.diff([0, *at, 299])) <= 30  # evenly spaced: no range of rows is left out
        store.remove([stable_id(f"/{n}.txt") for n in range(300) if n])
        self.settle(store)
        assert store.sample("text", 100).total == 1 == len(store.sample("text", 100).vectors)
        assert store.sample("none such", 5).vectors.shape == (0, DIM) and store.sample("none such", 5).total == 0

    def test_searches_work_while_documents_are_added(self, store: Store) -> None:
        self.put(store, *(parsed(f"/{n}.txt", f"words {n}") for n in range(20)))
        done, problems = threading.Event(), []

        def ask() -> None:
            try:
                while not done.is_set():
                    ranked = store.search("text", vector("q"), 10, Filter())
                    assert len(ranked.ids) == 10 and len(store.views(ranked.ids)) == 10
                    store.sample("text", 50), store.score("text", vector("q"), ranked.ids)
            except Exception as problem:
                problems.append(problem)

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for n in range(20, 40):
            self.put(store, parsed(f"/{n}.txt", f"words {n}"))
        done.set()
        for thread in threads:
            thread.join()
        assert problems == [] and store.count() == 40

    # --- words -----------------------------------------------------------------------------------------------

    def test_words_are_searched(self, store: Store) -> None:
        if not store.capabilities.lexical:
            pytest.skip("this store cannot search words")
        texts = ["the pump needs a blue seal", "snow fell in the north", "the red seal", "蓝色密封圈"]
        self.put(store, *(parsed(f"/{n}/{n}.txt", text) for n, text in enumerate(texts)))
        ranked = store.search_text("blue seal", 5, Filter())
        assert self.texts(store, ranked) == [texts[0], texts[2]]
        assert ranked.scores[0] > ranked.scores[1] > 0 and ranked.full_match_score > 0
        assert self.texts(store, store.search_text("密封", 5, Filter())) == [texts[3]]
        assert self.texts(store, store.search_text("藍色的封\n圈在哪裡", 5, Filter())) == [texts[3]]
        assert self.texts(store, store.search_text("seal", 5, Filter(path="/2"))) == [texts[2]]
        assert store.search_text("zebra", 5, Filter()).ids == () == store.search_text("?!", 5, Filter()).ids
        assert len(store.search_text("seal", 1, Filter()).ids) == 1
        store.remove([stable_id("/2/2.txt")])
        self.settle(store)
        assert self.texts(store, store.search_text("seal", 5, Filter())) == [texts[0]]

    def test_phrases_have_their_rarity(self, store: Store) -> None:
        if not store.capabilities.lexical:
            pytest.skip("this store cannot search words")
        texts = ["valve E-1042 leaks", "valve E-7 and pump 1042", "the valve", "snow", "rain", "hail"]
        self.put(store, *(parsed(f"/{n}/{n}.txt", text) for n, text in enumerate(texts)))
        ranked = store.search_text("valve E-1042", 5, Filter())
        assert self.texts(store, ranked)[0] == texts[0]
        assert set(ranked.idf) == {'"valve"', '"E"', '"1042"', '"E 1042"'}
        assert 0 < ranked.idf['"valve"'] < ranked.idf['"1042"'] <= ranked.idf['"E 1042"']

    def test_documents_are_searched_by_their_path(self, store: Store) -> None:
        if not store.capabilities.paths:
            pytest.skip("this store cannot search paths")
        paths = ["/letters/landlord-2024.txt", "/letters/Bank_Statement7.pdf", "/notes/garden.md", "/notes/密封圈.txt"]
        self.put(store, *(parsed(path, f"text {n}") for n, path in enumerate(paths)))

        def paths_of(query: str, where: Filter = Filter()) -> list[str]:  # noqa: B008
            ranked = store.search_paths(query, 5, where)
            items = store.items(ranked.ids)
            return [items[id_].document.path for id_ in ranked.ids]

        assert paths_of("landlord-2024.txt")[0] == paths[0]
        assert paths_of("my bank statement 7") == [paths[1]]
        assert paths_of("密封圈") == [paths[3]]
        assert sorted(paths_of("letters")) == sorted(paths[:2])
        assert paths_of("letters", Filter(path="/notes")) == []
        assert paths_of("zebra") == [] == paths_of("?!")
        store.remove([stable_id(paths[0])])
        self.settle(store)
        assert paths_of("landlord") == []

    def test_occurrences_are_counted_in_texts_and_paths(self, store: Store) -> None:
        if not store.capabilities.spelling:
            pytest.skip("this store cannot mend the spelling of words")
        self.put(
            store, parsed("/O'Brien.txt", "Networking in Zürich, сеть и насос, AB-12/34"), parsed("/b.txt", "Zurich")
        )
        counts = store.occurrences(["networking", "netwroking", "zurich", "насос", "o brien", "ab 12 34", "12 ab", "?"])
        assert counts == {"networking": 1, "zurich": 2, "насос": 1, "o brien": 1, "ab 12 34": 1}

    # --- early fusion ----------------------------------------------------------------------------------------

    @pytest.mark.parametrize("alpha", [0.3, None])
    def test_views_are_fused_early(self, store: Store, alpha: float | None) -> None:
        if not store.capabilities.early_fusion:
            pytest.skip("this store cannot fuse the views of an item early")
        document = parsed("/both.txt")
        item = Item("both", document.document, "image", Span(), "caption", picture="p")
        both = ParsedDocument(document.document, (item,), {"p": Picture(PICTURE, b"x", 1, 1)})
        self.put(store, parsed("/t.txt", "words"), parsed("/i.jpg", picture="i"), both)
        query, text, image = vector("q"), vector("text", "caption"), vector("image", "p")
        fused = (text + image) / 2 if alpha is None else alpha * text + (1 - alpha) * image
        expected = float(query @ fused) / (1 if alpha is None else float(np.linalg.norm(fused)))
        ranked = store.search_fused(query, 5, Filter(), alpha)
        scores = dict(zip(ranked.ids, ranked.scores.tolist(), strict=True))
        assert scores["both"] == pytest.approx(expected, abs=self.tolerance)
        only = {
            stable_id(stable_id("/t.txt"), 0): ("text", "words"),
            stable_id(stable_id("/i.jpg"), "picture"): ("image", "i"),
        }
        for id_, view in only.items():  # an item with one view counts as that view alone
            assert scores[id_] == pytest.approx(float(query @ vector(*view)), abs=self.tolerance)
        assert store.score_fused(query, ranked.ids, alpha=alpha) == pytest.approx(ranked.scores, abs=self.tolerance)
        assert np.isnan(store.score_fused(query, ["gone"], alpha=alpha)).all()
        sample = store.sample_fused(100, alpha=alpha)
        assert np.sort(sample.vectors @ query)[::-1] == pytest.approx(ranked.scores, abs=self.tolerance)
        assert sample.total == 3

    # --- the rest --------------------------------------------------------------------------------------------

    def test_settings_and_labels_are_stored(self, store: Store, tmp_path: Path) -> None:
        self.put(store, parsed("/a.txt", "words"))
        item = stable_id(stable_id("/a.txt"), 0)
        store.set_setting("ranking", '{"k": 1}')
        store.set_setting("other", "x")
        store.set_setting("other", None)
        store.label("query", "", item, True)
        store.label("query", "", item, False)
        store.label("", "/p.jpg", "gone", True)
        self.settle(store)

        def kept(store: Store) -> None:
            assert store.setting("ranking") == '{"k": 1}' and store.setting("other") is None
            assert store.settings() == {"ranking": '{"k": 1}'}
            assert store.labels() == [("query", "", item, False)]
            assert [document.path for document in store.documents()] == ["/a.txt"]

        kept(store)
        if self.persistent:
            again = self.make(tmp_path / "store")
            kept(again)
            assert self.texts(again, again.search("text", vector("q"), 3, Filter())) == ["words"]
            again.close()

    def test_capabilities_match_the_methods(self, store: Store) -> None:
        assert store.capabilities.maintenance == (store.maintenance is not None)

    def test_a_closed_store_raises_an_error(self, tmp_path: Path) -> None:
        store = self.make(tmp_path / "closed")
        store.close()
        for use in (
            lambda: list(store.documents()),
            lambda: store.search("text", vector("q"), 3, Filter()),
            lambda: store.add([parsed("/a.txt")], []),
            lambda: store.items(["x"]),
        ):
            with pytest.raises(CollectionError):
                use()
