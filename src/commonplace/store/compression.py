"""Smaller rows: which kind keeps the recall that is asked for, by measurement on the collection itself."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from commonplace.store.index_file import KINDS, Block, rounded

__all__ = ["DROPPING", "SEARCHED", "STORED", "Compression", "chosen", "compression_of", "keep", "measured"]

SEARCHED = "setting:compression"  # a part of the ranking state: the caches follow it
STORED = "setting:vectors"  # where the raw vectors were dropped
DROPPING = "setting:dropping"  # while they are being dropped
QUESTIONS = 256  # of each direction


@dataclass(frozen=True, slots=True)
class Compression:
    """How a partition's rows are kept, to be searched or in the database: their ``kind``, the recall@10 of the exact
    best ten that each kind of question reached with it, and how many rows it was measured on."""

    kind: str
    recall: dict[str, float]
    rows: int


def compression_of(database: sqlite3.Connection, name: str = SEARCHED) -> dict[str, Compression]:
    """Return what was chosen, by partition; empty where rows are kept as they are."""
    row = database.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    try:
        found = {} if row is None else {name: Compression(**values) for name, values in json.loads(row[0]).items()}
        if all(
            one.kind in KINDS and one.rows >= 0 and all(0 <= r <= 1 for r in one.recall.values())
            for one in found.values()
        ):
            return found
    except (AttributeError, TypeError, ValueError):
        pass
    raise sqlite3.DatabaseError("its notes are malformed")


def keep(database: sqlite3.Connection, found: Mapping[str, Compression], name: str = SEARCHED) -> None:
    """Keep what was chosen; nothing to undo it."""
    database.execute("DELETE FROM meta WHERE name = ?", (name,))
    if found:
        values = json.dumps({name: asdict(one) for name, one in found.items()})
        database.execute("INSERT INTO meta VALUES (?, ?)", (name, values))


def measured(
    exact: Iterator[Block],
    questions: Mapping[bool, NDArray[np.float32]],
    kinds: Iterable[str] = KINDS,
    stored: Iterator[Block] | None = None,
) -> dict[str, Compression]:
    """Return the recall@10 of each of these kinds of row, for every kind of question (n, dim), against ``exact``.

    ``questions`` by whether they are asked with the offset. ``stored`` are the same rows, made of vectors that were
    stored smaller. Empty where there are no questions: what cannot be measured is not compressed.
    """
    asked = {offset: vectors[:: max(1, len(vectors) // QUESTIONS)][:QUESTIONS] for offset, vectors in questions.items()}
    asked = {offset: vectors for offset, vectors in asked.items() if len(vectors)}
    if not asked:
        return {}
    truth = {offset: _Best(len(vectors)) for offset, vectors in asked.items()}
    best = {kind: {offset: _Best(len(vectors)) for offset, vectors in asked.items()} for kind in kinds}
    count = 0
    for block, other in zip(exact, repeat(None) if stored is None else stored, strict=False):
        for offset, vectors in asked.items():
            truth[offset].add(_scores(vectors, block[1], block[2] if offset else None), count)
        _, rows, offsets = other or block
        for kind, own in best.items():
            small = rounded(rows, kind)
            for offset, vectors in asked.items():
                own[offset].add(_scores(vectors, small, offsets if offset else None), count)
        count += len(rows)
    names = {offset: "other" if offset else "same" for offset in asked}
    return {
        kind: Compression(kind, {names[offset]: own[offset].shared(truth[offset]) for offset in asked}, count)
        for kind, own in best.items()
    }


def chosen(found: Mapping[str, Compression], target: float) -> Compression | None:
    """Return the first, the smallest, of what was measured that reaches recall@10 of ``target``; None for none."""
    return next((one for one in found.values() if min(one.recall.values()) >= target), None)


def _scores(
    questions: NDArray[np.float32], rows: NDArray[np.float32], offsets: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    scores = questions @ rows.T
    return scores if offsets is None else scores - offsets


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
