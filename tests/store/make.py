"""Readings and vectors for the store's tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from commonplace.store import LocalStore, StoreOptions
from commonplace.types import Document, Item, ParsedDocument, Picture, Span, ViewVectors, stable_id

DIM = 32


SMALL = StoreOptions(build_after=300, memory_rows=1000, codes_from=1500, gather_rows=40, hits=10)
"""Options by which a few thousand rows are many."""


def open_store(folder: Path, **more: Any) -> LocalStore:
    return LocalStore(folder, **{"space": "test", "fingerprint": "f1", "dim": DIM, **more})


def questions(count: int = 200, seed: int = 1) -> np.ndarray:
    """Unit vectors from the same three directions as the stored ones, none of them stored."""
    return rows(count, seed)


def rows(count: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((40, DIM))
    values = centres[generator.integers(0, 40, count)] + 0.7 * generator.standard_normal((count, DIM))
    return stored(values / np.linalg.norm(values, axis=1, keepdims=True))


def stored(values: np.ndarray) -> np.ndarray:
    """Return vectors as they are after they were stored."""
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
        own = tuple(
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
        parsed.append(ParsedDocument(document, own, pictures))
        items += [item.id for item in own]
        views += [stable_id(item.id) for item in own]
    store.add(parsed, [ViewVectors(partition, tuple(items), tuple(views), values)])
    return [reading.document.id for reading in parsed]


def texts(store: LocalStore, keys: np.ndarray) -> list[str | None]:
    entries = store.entries(keys.tolist())
    return [entries[int(key)].item.text for key in keys if int(key) in entries]
