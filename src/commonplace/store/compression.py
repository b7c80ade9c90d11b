"""Smaller rows to search: which kind keeps the recall that is asked for, by measurement on the collection itself."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from commonplace.store.snapshot import KINDS, Block, rounded

__all__ = ["Compression", "chosen", "compression_of"]

SETTING = "setting:compression"  # a part of the ranking state: the caches follow it
QUESTIONS = 256  # of each direction


@dataclass(frozen=True, slots=True)
class Compression:
    """How a partition's rows are kept for searching: their ``kind``, the recall@10 of the exact best ten that each
    kind of question reached with it, and how many rows it was measured on."""

    kind: str
    recall: dict[str, float]
    rows: int


def compression_of(database: sqlite3.Connection) -> dict[str, Compression]:
    """Return what was chosen, by partition; empty where rows are kept as they are."""
    row = database.execute("SELECT value FROM meta WHERE name = ?", (SETTING,)).fetchone()
    return {} if row is None else {name: Compression(**values) for name, values in json.loads(row[0]).items()}


def keep(database: sqlite3.Connection, found: Mapping[str, Compression]) -> None:
    """Keep what was chosen; nothing to undo it."""
    database.execute("DELETE FROM meta WHERE name = ?", (SETTING,))
    if found:
        values = json.dumps({name: asdict(one) for name, one in found.items()})
        database.execute("INSERT INTO meta VALUES (?, ?)", (SETTING, values))


def chosen(blocks: Iterator[Block], questions: Mapping[bool, NDArray[np.float32]], target: float) -> Compression | None:
    """Return the smallest kind of row that reaches recall@10 of ``target`` for every kind of question (n, dim).

    ``questions`` by whether they are asked with the offset. None where there are none: what cannot be measured is not
    compressed.
    """
    asked = {offset: vectors[:: max(1, len(vectors) // QUESTIONS)][:QUESTIONS] for offset, vectors in questions.items()}
    best = {(kind, offset): _Best(len(vectors)) for kind in KINDS for offset, vectors in asked.items() if len(vectors)}
    if not best:
        return None
    count = 0
    for _, rows, offsets in blocks:
        for kind in KINDS:
            small = rounded(rows, kind)
            for offset, vectors in asked.items():
                scores = vectors @ small.T
                if offset and offsets is not None:
                    scores -= offsets
                best[kind, offset].add(scores, count)
        count += len(rows)
    for kind in KINDS:  # the smallest first
        recall = {"other" if offset else "same": best[kind, offset].shared(best["float32", offset]) for offset in asked}
        if min(recall.values()) >= target:
            return Compression(kind, recall, count)
    raise AssertionError("rows as they are have a recall of 1")


class _Best:
    """The best ten places of each question, over blocks."""

    def __init__(self, questions: int) -> None:
        self.places = np.empty((questions, 0), np.int64)
        self.scores = np.empty((questions, 0), np.float32)

    def add(self, scores: NDArray[np.float32], start: int) -> None:
        """Take in scores (questions, n) of rows from place ``start`` on; of equals the earlier row is better."""
        scores = np.where(np.isnan(scores), -np.inf, scores)
        own = np.argpartition(-scores, min(10, scores.shape[1]) - 1, axis=1)[:, :10]
        places = np.hstack([self.places, own + start])
        found = np.hstack([self.scores, np.take_along_axis(scores, own, axis=1)])
        order = np.lexsort((places, -found), axis=1)[:, :10]
        self.places = np.take_along_axis(places, order, axis=1)
        self.scores = np.take_along_axis(found, order, axis=1)

    def shared(self, exact: _Best) -> float:
        """Return the share of ``exact`` that is here too."""
        pairs = zip(self.places, exact.places, strict=True)
        return float(np.mean([len(np.intersect1d(own, other)) / max(len(other), 1) for own, other in pairs]))
