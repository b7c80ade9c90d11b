"""Searches of one call share what they read, and keep nothing after it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import commonplace as cp
from commonplace.retrieval import shared as module
from commonplace.retrieval import shared_reads
from commonplace.store import database
from commonplace.types import Filter, Item

TEXTS = {
    "seal": "The blue seal is at pump 3.",
    "cart": "A red cart stands in the yard.",
    "boat": "A boat with a blue sail.",
    "dog": "The dog sleeps beside the pump.",
}


@pytest.fixture
def kb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(database, "WAIT", 0.1)  # a checkpoint waits for the snapshot that a test holds
    with cp.open(tmp_path / "kb") as kb:
        kb.add(*(cp.Record(text, id=name) for name, text in TEXTS.items()))
        yield kb


def ids(kb: cp.Collection) -> list[str]:
    return [item.id for document in kb for item in kb.items(document)]


def test_what_was_read_of_an_item_is_not_read_again(kb: cp.Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    read = kb.store.items

    def items(wanted: Sequence[str]) -> dict[str, Item]:
        asked.extend(wanted)
        return read(wanted)

    monkeypatch.setattr(kb.store, "items", items)
    kb.search(["blue seal", "blue sail", "the pump", "red cart"])
    assert asked and len(asked) == len(set(asked)) <= len(TEXTS)


def statements_of(kb: cp.Collection, query: str) -> list[str]:
    """Return the SQL statements of a search, without those that SQLite runs itself."""
    kb.search(query)
    statements: list[str] = []
    for connection in kb.store._database._idle:
        connection.set_trace_callback(statements.append)
    kb.search(query)
    return [text for text in statements if not text.startswith("--")]


def test_a_search_reads_in_one_snapshot(kb: cp.Collection) -> None:
    statements = statements_of(kb, "the blue seal at pump 3")
    assert [text for text in statements if text in ("BEGIN", "COMMIT")] == ["BEGIN", "COMMIT"]
    assert len(statements) < 25
    mended = statements_of(kb, "the blue saels")  # searched in two spellings, and encoded in between
    assert mended.count("BEGIN") == mended.count("COMMIT") == 2


def test_the_number_of_statements_does_not_grow_with_the_collection(kb: cp.Collection) -> None:
    few = len(statements_of(kb, "blue pump"))
    kb.add(*(cp.Record(f"The blue pump {n} is here.", id=f"blue pump {n}") for n in range(60)))
    assert len(statements_of(kb, "blue pump")) <= few + 4


@pytest.mark.parametrize("options", [{}, {"modality": "text"}, {"where": {"kind": "tool"}}])
def test_a_search_is_of_one_state_while_others_write(
    kb: cp.Collection, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    kb.add(*(cp.Record(text, id=name, metadata={"kind": "tool"}) for name, text in TEXTS.items()))
    before, search_text = kb.search("the blue seal", **options), kb.store.search_text
    assert before

    def change() -> None:
        with cp.open(kb.folder) as other:  # another connection, as of another process
            other.add(cp.Record("The seal is green now.", id="seal", metadata={"kind": "tool"}))
        kb.remove("boat")
        kb.add(cp.Record("Another blue seal.", id="new", metadata={"kind": "tool"}))
        kb.search("the blue seal", **options)

    def search_then_change(*arguments: Any) -> Any:
        monkeypatch.setattr(kb.store, "search_text", search_text)  # once, and not for the search in the other thread
        ranked = search_text(*arguments)
        thread = threading.Thread(target=change)
        thread.start()
        thread.join()
        return ranked

    monkeypatch.setattr(kb.store, "search_text", search_then_change)
    assert list(kb.search("the blue seal", **options)) == list(before)
    after = kb.search("the blue seal", **options)
    assert {hit.item.document.id for hit in after} >= {"new"} and "boat" not in {h.item.document.id for h in after}


def test_a_search_that_fails_keeps_no_snapshot(kb: cp.Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(ids: Sequence[str]) -> dict[str, frozenset[str]]:
        kb.store._database.all("SELECT * FROM nowhere")
        raise AssertionError

    monkeypatch.setattr(kb.store, "views", fail)
    with pytest.raises(cp.CommonplaceError, match="no such table"):
        kb.search("blue seal")
    monkeypatch.undo()
    assert not any(connection.in_transaction for connection in kb.store._database._idle)
    kb.add(cp.Record("A thread in a snapshot could not write this.", id="later"))
    assert kb.search("written later")


def test_each_spelling_of_a_question_is_encoded_once(kb: cp.Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    encode, encoded = kb.space.encode_queries, []

    def encode_queries(queries: Sequence[cp.Query], **options: Any) -> Any:
        encoded.extend(query.text for query in queries if query.text)
        return encode(queries, **options)

    monkeypatch.setattr(kb.space, "encode_queries", encode_queries)
    hits, *_rest = kb.stream("the dgo sleesp")
    assert isinstance(hits, cp.Hits) and hits.respelled == "the dgo sleeps"
    assert encoded == ["the dgo sleesp", "the dgo sleeps"]


def test_shared_reads_give_what_the_store_gives(kb: cp.Collection) -> None:
    store, every = kb.store, ids(kb)
    shared = shared_reads(store)
    for wanted in (every[:2], every[1:], ["none", *every], [], every):
        assert shared.items(wanted) == store.items(wanted)
        assert shared.views(wanted) == store.views(wanted)
        for partition in ("text", "image"):
            assert np.array_equal(shared.vectors(partition, wanted), store.vectors(partition, wanted))
    assert shared.count() == len(every) and shared.count(Filter(modality="image")) == 0
    assert shared_reads(shared) is shared


def test_more_than_is_kept_is_read_again(kb: cp.Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 1)
    every = ids(kb)
    shared = shared_reads(kb.store)
    for wanted in (every[:1], every, every[2:]):
        assert shared.items(wanted) == kb.store.items(wanted)
    kept = vars(shared)["_items"]
    assert list(kept) == every[:1]


def test_a_search_after_a_change_by_this_process_is_not_of_the_old_state(kb: cp.Collection) -> None:
    kb.search(["blue seal", "red cart"])
    kb.add(cp.Record("The green seal is at pump 4.", id="seal"))
    (first, second) = kb.search(["green seal", "red cart"])
    assert first[0].item.text == "The green seal is at pump 4." and second[0].item.document.id == "cart"


def test_a_list_of_words_finds_what_each_finds_alone(kb: cp.Collection) -> None:
    queries = ["blue seal", "boat", "the dog and the pump", "cart"]
    for query, hits in zip(queries, kb.search(queries), strict=True):
        alone = kb.search(query)
        assert [hit.item.id for hit in hits] == [hit.item.id for hit in alone]
        assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in alone], abs=1e-4)


def test_a_reranker_may_write_to_the_collection(kb: cp.Collection) -> None:
    class Noting:
        name, depth, share = "noting", 5, 0.5

        def reads(self, query: str) -> bool:
            return True

        def scores(self, query: str, texts: Sequence[str]) -> np.ndarray:
            kb.add(cp.Record(f"Read for {query}.", id="note"))  # not within a read transaction of this thread
            return np.arange(len(texts), dtype=np.float32)

    assert kb.search("blue seal", rerank=Noting()) and kb.get("note") is not None
