"""Full-text search by BM25. Items that contain only a common word are skipped where they cannot be in the list."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonplace.store.index_view import RankedKeys

__all__ = ["search_lexical"]

CEILING = 2.2
"""A word adds less to an item's score than this constant (k1 + 1) times its inverse document frequency."""
FIRST = 2048
"""Number of items that one step scores, rarest words first. Counting the phrases takes about as long as one step."""


def search_lexical(
    database: sqlite3.Connection, phrases: Sequence[str], k: int, condition: str, values: tuple[Any, ...], total: int
) -> tuple[RankedKeys, float]:
    """Return the ``k`` best items by BM25 (k1 = 1.2, b = .75) for any of the FTS5 ``phrases``.

    Also returns the score of a full match: that of an item of average length that contains each phrase once.
    ``condition`` with its ``values`` is an SQL filter over items ``i`` and documents ``d``, or empty. ``total`` is
    the number of items that have words. The list is exact, with ties ordered by key.

    Phrases are processed from the rarest to the most common. At some point the remaining phrases alone cannot lift an
    item into the list. Items without any of the earlier phrases are then skipped (MaxScore, Turtle and Flood 1995).
    """
    # BM25 needs each phrase's number of items, so the database counts it in any case.
    frequency = {
        phrase: int(database.execute("SELECT count(*) FROM lexicon WHERE lexicon MATCH ?", (phrase,)).fetchone()[0])
        for phrase in phrases
    }
    weight = {phrase: max(math.log((total - count + 0.5) / (count + 0.5)), 1e-6) for phrase, count in frequency.items()}
    join = f"JOIN items i ON i.key = w.rowid JOIN documents d ON d.key = i.document WHERE {condition} AND"
    statement = (
        f"SELECT w.rowid, bm25(lexicon) AS score FROM lexicon w {join if condition else 'WHERE'} lexicon MATCH ? "
        "ORDER BY score, w.rowid LIMIT ?"
    )
    best: list[tuple[float, int]] = []

    def match(expression: str) -> None:
        rows = database.execute(statement, (*values, expression, k)).fetchall()
        best.extend((score, key) for key, score in rows)
        best.sort()
        del best[k:]

    def hopeless(matched: Sequence[str]) -> bool:
        """Return whether an item that contains only these phrases of the query cannot be in the list."""
        most = CEILING * math.fsum(weight[phrase] for phrase in matched) * (1 + 1e-9)
        return len(best) == k and most < -best[-1][0]

    ordered = sorted((phrase for phrase in phrases if frequency[phrase]), key=lambda phrase: frequency[phrase])
    begin = 0
    while begin < len(ordered) and not hopeless(ordered[begin:]):
        end, items = begin + 1, frequency[ordered[begin]]
        while end < len(ordered) and items + frequency[ordered[end]] <= FIRST:
            items += frequency[ordered[end]]
            end += 1
        before, current, rest = ordered[:begin], ordered[begin:end], ordered[end:]
        # FTS5 counts a phrase twice if it occurs twice in an expression. Hence two expressions: with and without the
        # more common phrases.
        if rest:
            match(_both(current, rest) + _without(before))
        if not hopeless(current):
            match(_any(current) + _without([*before, *rest]))
        begin = end
    keys = np.array([key for _, key in best], dtype=np.int64)
    scores: NDArray[np.float32] = np.array([-score for score, _ in best], dtype=np.float32)
    return RankedKeys(keys, scores), math.fsum(weight.values())


def _any(phrases: Sequence[str]) -> str:
    return f"({' OR '.join(phrases)})"


def _both(first: Sequence[str], second: Sequence[str]) -> str:
    return f"({_any(first)} AND {_any(second)})"


def _without(phrases: Sequence[str]) -> str:
    return f" NOT {_any(phrases)}" if phrases else ""
