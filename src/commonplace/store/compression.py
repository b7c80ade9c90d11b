"""Compression of the searched rows: measures recall on the collection and chooses the smallest sufficient row type."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from commonplace.store.index_file import KINDS, Block, rounded

__all__ = ["Compression", "choose", "compression_of", "measure", "set_compression"]

SETTING = "setting:compression"  # part of the ranking state, so a change invalidates the index files
QUERIES = 256
"""Number of queries of each direction that recall is measured with."""


@dataclass(frozen=True, slots=True)
class Compression:
    """The type in which the searched rows of a partition are stored.

    ``kind`` is one of ``KINDS``. ``recall`` is the measured recall@10 (0 to 1) for each direction of query. ``rows`` is
    the number of rows that recall was measured on.
    """

    kind: str
    recall: dict[str, float]
    rows: int


def compression_of(database: sqlite3.Connection) -> dict[str, Compression]:
    """Return the chosen compression by partition; empty if rows are not compressed."""
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
    """Store the chosen compression by partition. An empty mapping turns compression off."""
    database.execute("DELETE FROM meta WHERE name = ?", (SETTING,))
    if choices:
        values = json.dumps({name: asdict(choice) for name, choice in choices.items()})
        database.execute("INSERT INTO meta VALUES (?, ?)", (SETTING, values))


def measure(blocks: Iterator[Block], queries: Mapping[bool, NDArray[np.float32]]) -> dict[str, Compression]:
    """Return the recall@10 of each row type against uncompressed rows, the smallest type first.

    ``queries`` maps whether they are cross-modal to query vectors (n, dim). Without queries the result is empty:
    rows are compressed only if recall was measured.
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
    """Return the smallest of the measured types that reaches a recall@10 of ``target``; None if none does."""
    return next((choice for choice in measured.values() if min(choice.recall.values()) >= target), None)


def _scores(
    queries: NDArray[np.float32], rows: NDArray[np.float32], offsets: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    scores = queries @ rows.T
    return scores if offsets is None else scores - offsets


class _Best:
    """Collects the places of the ten best rows of each query, block by block."""

    def __init__(self, queries: int) -> None:
        self.places = np.empty((queries, 0), np.int64)
        self.scores = np.empty((queries, 0), np.float32)

    def add(self, scores: NDArray[np.float32], start: int) -> None:
        """Add the scores (queries, n) of the rows from place ``start`` on. Of equal scores the first row is better."""
        scores = np.where(np.isnan(scores), -np.inf, scores)
        best = np.argpartition(-scores, min(10, scores.shape[1]) - 1, axis=1)[:, :10]
        all_places = np.hstack([self.places, best + start])
        all_scores = np.hstack([self.scores, np.take_along_axis(scores, best, axis=1)])
        order = np.lexsort((all_places, -all_scores), axis=1)[:, :10]
        self.places = np.take_along_axis(all_places, order, axis=1)
        self.scores = np.take_along_axis(all_scores, order, axis=1)

    def shared(self, exact: _Best) -> float:
        """Return the share (0 to 1) of the places of ``exact`` that are also in this object."""
        pairs = zip(self.places, exact.places, strict=True)
        return float(np.mean([len(np.intersect1d(mine, theirs)) / max(len(theirs), 1) for mine, theirs in pairs]))
