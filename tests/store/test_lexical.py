"""Full-text search skips items, but must return the same list as scoring all of them."""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from commonplace.store import LocalStore, StoreSpace, lexical
from commonplace.text import index_words, query_words
from commonplace.types import Document, Filter, Item, ParsedDocument, Span, stable_id
from tests.store.make import search_text

# Common words first; pairs of Chinese characters share characters, so that their postings overlap.
WORDS = ["red", "seal", "pump", "valve", "snow", "blue", "蓝色密封", "密封圈", "圈", "zebra"]
TEXT = st.lists(st.sampled_from([*WORDS[:3] * 4, *WORDS[3:6] * 2, *WORDS[6:]]), min_size=1, max_size=8).map(" ".join)


def put(store: LocalStore, texts: list[str]) -> list[str]:
    parsed = []
    for n, text in enumerate(texts):
        path = f"/{'ab'[n % 2]}/{n}.txt"
        document = Document(stable_id(path), f"file://{path}", path, "text/plain", "h", items=1)
        parsed.append(ParsedDocument(document, (Item(stable_id(path, 0), document, "text", Span(), text),)))
    store.add(parsed, [])
    return [reading.document.id for reading in parsed]


def expected(texts: dict[int, str], question: str, allowed: set[int]) -> list[tuple[int, float]]:
    """Compute BM25 by its formula for every item."""
    held = {key: Counter(index_words(text).split()) for key, text in texts.items()}
    mean = sum(entry.total() for entry in held.values()) / len(held)
    scores = dict.fromkeys(held, 0.0)
    for phrase in query_words(question):
        prefix = phrase.endswith("*")
        word = phrase.strip('"*')
        times = {
            key: sum(count for item, count in values.items() if (item.startswith(word) if prefix else item == word))
            for key, values in held.items()
        }
        having = sum(map(bool, times.values()))
        weight = max(math.log((len(held) - having + 0.5) / (having + 0.5)), 1e-6)
        for key, count in times.items():
            length = 0.25 + 0.75 * held[key].total() / mean
            scores[key] += weight * count * 2.2 / (count + 1.2 * length)
    result = [(key, score) for key, score in scores.items() if score and key in allowed]
    return sorted(result, key=lambda entry: (-entry[1], entry[0]))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(TEXT, min_size=1, max_size=40),
    question=st.lists(st.sampled_from(WORDS), min_size=1, max_size=5, unique=True).map(" ".join),
    gone=st.sets(st.integers(0, 39), max_size=8),
    k=st.integers(1, 12),
    first=st.sampled_from([1, 6]),
    where=st.sampled_from([Filter(), Filter(path="/a")]),
)
def test_the_list_equals_scoring_every_item(
    monkeypatch: pytest.MonkeyPatch, texts: list[str], question: str, gone: set[int], k: int, first: int, where: Filter
) -> None:
    monkeypatch.setattr(lexical, "FIRST", first)
    with tempfile.TemporaryDirectory() as folder:
        store = LocalStore(Path(folder), StoreSpace("test", "f1", 4))
        ids = put(store, texts)
        store.remove([ids[n] for n in gone if n < len(ids)])
        held = {n + 1: text for n, text in enumerate(texts) if n not in gone}
        ranked = search_text(store, question, k, where)
        allowed = {key for key in held if not where or key % 2}
        best = expected(held, question, allowed) if held else []
        assert ranked.scores.tolist() == pytest.approx([score for _, score in best[:k]], rel=1e-5)
        exact = dict(best)
        assert [exact[key] for key in ranked.keys.tolist()] == pytest.approx(ranked.scores.tolist(), rel=1e-5)
        for hit, other in zip(ranked.keys.tolist(), ranked.keys.tolist()[1:], strict=False):
            assert exact[hit] > exact[other] - 1e-9 and (hit < other or exact[hit] > exact[other] + 1e-12)
        if len(best) > k:  # of equals the lower key comes first, inside the list and at its end
            left_out = {key for key, score in best[:k] if math.isclose(score, best[k][1])} ^ {
                key for key in ranked.keys.tolist() if math.isclose(exact[key], best[k][1])
            }
            assert not left_out
        store.close()


def test_a_word_in_every_item_is_not_scored_for_each_item(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexical, "FIRST", 10)
    store = LocalStore(tmp_path, StoreSpace("test", "f1", 4))
    snow, red = [f"snow red seal {n}" for n in range(20)], [f"red {n}" for n in range(90)]
    put(store, [*snow, *red, *(f"{n}" for n in range(150))])
    with store._database.session() as database:
        asked: list[str] = []
        database.set_trace_callback(lambda text: asked.append(text) if "bm25" in text else None)
        ranked = search_text(store, "snow red", 10, Filter())
        database.set_trace_callback(None)
    assert ranked.keys.tolist() == list(range(1, 11))
    assert len(asked) == 2 and all('("snow")' in text.split("NOT")[0] for text in asked)
    store.close()


def test_a_checkpoint_merges_the_segments_of_the_word_indexes(tmp_path: Path) -> None:
    with closing(LocalStore(tmp_path, StoreSpace("test", "f", 8))) as store:
        for n in range(6):
            put(store, [f"red seal {n}", "blue pump"])
        store.remove([next(store.documents()).id])
        for n in range(6, 9):
            put(store, [f"snow valve {n}"] * (n + 3))
        found = store.search_text("valve", 9, Filter())

        def segments() -> list[int]:
            tables = ("lexicon", "paths")
            return [store._database.all(f"SELECT count(DISTINCT segid) FROM {name}_idx")[0][0] for name in tables]

        assert max(segments()) > 1
        store.maintenance.checkpoint()
        assert segments() == [1, 1]
        after = store.search_text("valve", 9, Filter())
        assert after.ids == found.ids and after.scores.tolist() == found.scores.tolist()
        assert store.maintenance.doctor() == []
