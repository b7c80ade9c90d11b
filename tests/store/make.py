"""Parsed documents and vectors for the tests of the store."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from commonplace.store import LocalStore, StoreOptions, StoreSpace
from commonplace.store.index_view import RankedKeys
from commonplace.store.reading import items_by_key
from commonplace.types import Document, Filter, Item, ParsedDocument, Picture, Span, ViewVectors, stable_id

DIM = 32


SMALL = StoreOptions(build_after=300, memory_rows=1000, codes_from=1500, gather_rows=40, hits=10)
"""Options with which a few thousand rows behave like many."""


def open_store(folder: Path, **more: Any) -> LocalStore:
    options = {name: more.pop(name) for name in ("recall", "options") if name in more}
    return LocalStore(folder, StoreSpace(**{"name": "test", "fingerprint": "f1", "dim": DIM, **more}), **options)


def questions(count: int = 200, seed: int = 1) -> np.ndarray:
    """Return unit vectors around the same three directions as the stored ones; none of them is stored."""
    return rows(count, seed)


def rows(count: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((40, DIM))
    values = centres[generator.integers(0, 40, count)] + 0.7 * generator.standard_normal((count, DIM))
    return stored(values / np.linalg.norm(values, axis=1, keepdims=True))


def stored(values: np.ndarray) -> np.ndarray:
    """Return vectors as the store returns them, rounded to float16."""
    return values.astype(np.float16).astype(np.float32)


def put(
    store: LocalStore, values: np.ndarray, name: str = "a", each: int = 10, partition: str = "text", start: int = 0
) -> list[str]:
    """Add one item for each vector, ``each`` a document, from number ``start`` on; return the documents' ids."""
    parsed, items, views = [], [], []
    for first in range(start, start + len(values), each):
        path = f"/{name}/{first // 100}/{first}.txt"
        document = Document(stable_id(path), f"file://{path}", path, "text/plain", "h", items=each)
        shown = f"{name}{first}"
        document_items = tuple(
            Item(
                stable_id(path, n),
                document,
                "text" if n % 2 else "image",
                Span(n, n + 1),
                f"{name} word{first + n}",
                picture=None if n else shown,
            )
            for n in range(min(each, start + len(values) - first))
        )
        pictures = {shown: Picture(np.zeros((1, 1, 3), np.uint8), b"jpeg of " + path.encode(), 1, 1)}
        parsed.append(ParsedDocument(document, document_items, pictures))
        items += [item.id for item in document_items]
        views += [stable_id(item.id) for item in document_items]
    store.add(parsed, [ViewVectors(partition, tuple(items), tuple(views), values)])
    return [reading.document.id for reading in parsed]


# Internal functions of the store that use keys instead of ids, for the tests of the indexes.


def search(
    store: LocalStore, partition: str, query: np.ndarray, k: int, where: Filter, *, cross_modal: bool = False
) -> RankedKeys:
    return store._partitions[partition].search(query, k, store._filters.of(where), cross_modal=cross_modal)


def search_text(store: LocalStore, text: str, k: int, where: Filter) -> RankedKeys:
    ranked = store.search_text(text, k, where)
    keys = store._ids.keys(ranked.ids)
    order = np.lexsort((keys, -ranked.scores))
    return RankedKeys(keys[order], ranked.scores[order])


def scores_of(
    store: LocalStore, partition: str, query: np.ndarray, keys: np.ndarray, *, cross_modal: bool = False
) -> np.ndarray:
    return store._partitions[partition].score(query, keys, cross_modal=cross_modal)


def stored_rows(store: LocalStore, partition: str) -> tuple[np.ndarray, np.ndarray]:
    return store._partitions.stored(partition)


def items_at(store: LocalStore, keys: Iterable[int]) -> dict[int, Item]:
    return items_by_key(store._database, [int(key) for key in keys])


def texts(store: LocalStore, keys: np.ndarray) -> list[str | None]:
    items = items_at(store, keys)
    return [items[int(key)].text for key in keys if int(key) in items]
