"""Smaller rows to search: chooses the smallest kind that keeps the recall, measured on the collection itself."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from commonplace.store.index_file import KINDS, Block, rounded

__all__ = ["Compression", "choose", "compression_of", "measure", "set_compression"]

SETTING = "setting:compression"  # a part of the ranking state: the caches follow it
QUERIES = 256
"""Queries of each direction that recall is measured with."""


@dataclass(frozen=True, slots=True)
class Compression:
    """How the rows of a partition are kept to be searched.

    ``kind`` is one of ``KINDS``. ``recall`` is the share (0 to 1) of the exact ten best that each direction of
    query reached with it; ``rows`` is the number of rows it was measured on.
    """

    kind: str
    recall: dict[str, float]
    rows: int


def compression_of(database: sqlite3.Connection) -> dict[str, Compression]:
    """Return what was chosen, by partition; empty where rows are not compressed."""
    row = database.execute("SELECT value FROM meta WHERE name = ?", (SETTING,)).fetchone()
    try:
        choices = {} if row is None else {name: Compression(**values) for name, values in json.loads(row[0]).items()}
        if all(
            choice.kind in KINDS and choice.rows >= 0 and all(0 <= recall <= 1 for recall in choice.recall.values())
            for choice in choices.values()
        ):
            return choices
    except (AttributeError, TypeError, ValueError):
        pass
    raise sqlite3.DatabaseError("its settings are malformed")


def set_compression(database: sqlite3.Connection, choices: Mapping[str, Compression]) -> None:
    """Store what was chosen, by partition; an empty mapping undoes it."""
    database.execute("DELETE FROM meta WHERE name = ?", (SETTING,))
    if choices:
        values = json.dumps({name: asdict(choice) for name, choice in choices.items()})
        database.execute("INSERT INTO meta VALUES (?, ?)", (SETTING, values))


def measure(blocks: Iterator[Block], queries: Mapping[bool, NDArray[np.float32]]) -> dict[str, Compression]:
    """Return the recall@10 of each kind of row against the rows as they are, the smallest kind first.

    ``queries`` (n, dim) by whether they are cross-modal. Empty where there are none: what cannot be measured is not
    compressed.
    """
    drawn = {cross: vectors[:: max(1, len(vectors) // QUERIES)][:QUERIES] for cross, vectors in queries.items()}
    drawn = {cross: vectors for cross, vectors in drawn.items() if len(vectors)}
    if not drawn:
        return {}
    exact = {cross: _Best(len(vectors)) for cross, vectors in drawn.items()}
    best = {kind: {cross: _Best(len(vectors)) for cross, vectors in drawn.items()} for kind in KINDS}
    count = 0
    for _, rows, offsets in blocks:
        for cross, vectors in drawn.items():
            exact[cross].add(_scores(vectors, rows, offsets if cross else None), count)
        for kind, reached in best.items():
            small = rounded(rows, kind)
            for cross, vectors in drawn.items():
                reached[cross].add(_scores(vectors, small, offsets if cross else None), count)
        count += len(rows)
    names = {cross: "other" if cross else "same" for cross in drawn}
    return {
        kind: Compression(kind, {names[cross]: reached[cross].shared(exact[cross]) for cross in drawn}, count)
        for kind, reached in best.items()
    }


def choose(measured: Mapping[str, Compression], target: float) -> Compression | None:
    """Return the first, the smallest, of the measured kinds that reaches recall@10 of ``target``; None for none."""
    return next((choice for choice in measured.values() if min(choice.recall.values()) >= target), None)


def _scores(
    queries: NDArray[np.float32], rows: NDArray[np.float32], offsets: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    scores = queries @ rows.T
    return scores if offsets is None else scores - offsets


class _Best:
    """The places of the ten best rows of each query, over blocks."""

    def __init__(self, queries: int) -> None:
        self.places = np.empty((queries, 0), np.int64)
        self.scores = np.empty((queries, 0), np.float32)

    def add(self, scores: NDArray[np.float32], start: int) -> None:
        """Take in scores (queries, n) of the rows from place ``start`` on; of equal scores the first is better."""
        scores = np.where(np.isnan(scores), -np.inf, scores)
        best = np.argpartition(-scores, min(10, scores.shape[1]) - 1, axis=1)[:, :10]
        all_places = np.hstack([self.places, best + start])
        all_scores = np.hstack([self.scores, np.take_along_axis(scores, best, axis=1)])
        order = np.lexsort((all_places, -all_scores), axis=1)[:, :10]
        self.places = np.take_along_axis(all_places, order, axis=1)
        self.scores = np.take_along_axis(all_scores, order, axis=1)

    def shared(self, exact: _Best) -> float:
        """Return the share of the places of ``exact`` that are here too."""
        pairs = zip(self.places, exact.places, strict=True)
        return float(np.mean([len(np.intersect1d(mine, theirs)) / max(len(theirs), 1) for mine, theirs in pairs]))
