"""Full text by BM25: the best items, without scoring each of the many that hold nothing but a common word."""

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
"""What a word adds to an item's score is below this (k1 + 1) times its inverse document frequency."""
FIRST = 2048
"""Items that are scored at once, rarest words first: a query costs as much as that again in counting."""


def search_lexical(
    database: sqlite3.Connection, phrases: Sequence[str], k: int, condition: str, values: tuple[Any, ...], total: int
) -> tuple[RankedKeys, float]:
    """Return the ``k`` items with the highest BM25 score (k1 = 1.2, b = .75) for any of the FTS5 ``phrases``, and the
    score of an item of average length that holds each of them once.

    ``condition`` with its ``values`` is the SQL over items ``i`` and documents ``d`` that they must meet, or empty;
    ``total`` is the number of items that have words. The list is exact, ties by key. Phrases are taken from the rarest
    on. Once those that are left cannot lift an item without any of the earlier ones into the list, such items are
    skipped (MaxScore, Turtle and Flood 1995).
    """
    # Each phrase's number of items also stands in the scores, so that the database would count it in any case.
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

    def hopeless(some: Sequence[str]) -> bool:
        """Return whether an item that holds only these phrases of the query cannot be in the list."""
        most = CEILING * math.fsum(weight[phrase] for phrase in some) * (1 + 1e-9)
        return len(best) == k and most < -best[-1][0]

    ordered = sorted((phrase for phrase in phrases if frequency[phrase]), key=lambda phrase: frequency[phrase])
    begin = 0
    while begin < len(ordered) and not hopeless(ordered[begin:]):
        end, items = begin + 1, frequency[ordered[begin]]
        while end < len(ordered) and items + frequency[ordered[end]] <= FIRST:
            items += frequency[ordered[end]]
            end += 1
        before, current, rest = ordered[:begin], ordered[begin:end], ordered[end:]
        # A phrase that stands twice in an expression counts twice: hence two, with and without the commoner phrases.
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
