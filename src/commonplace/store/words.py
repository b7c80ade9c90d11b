"""Full text by BM25: the best items, without scoring each of the many that hold nothing but a common word."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonplace.store.base import RankedList

__all__ = ["search_words"]

CEILING = 2.2
"""What a word adds to an item's score is below this (k1 + 1) times its inverse document frequency."""
FIRST = 2048
"""Items that are scored at once, rarest words first: a question costs as much as that again in counting."""


def search_words(
    database: sqlite3.Connection, words: Sequence[str], k: int, condition: str, values: tuple[Any, ...], total: int
) -> RankedList:
    """Return the ``k`` items with the highest BM25 score (k1 = 1.2, b = .75) for any of the FTS5 phrases ``words``.

    ``condition`` with its ``values`` is the SQL over items ``i`` and documents ``d`` that they must meet, or empty;
    ``total`` how many items have words. The list is exact, ties by key: words are taken from the rarest on, and once
    those that are left cannot lift an item that has none of the earlier ones into the list, such items are not
    looked at (MaxScore, Turtle and Flood 1995).
    """
    # Each word's number of items also stands in the scores, so that the database would count it in any case.
    having = {
        word: int(database.execute("SELECT count(*) FROM lexicon WHERE lexicon MATCH ?", (word,)).fetchone()[0])
        for word in words
    }
    weight = {word: max(math.log((total - count + 0.5) / (count + 0.5)), 1e-6) for word, count in having.items()}
    join = f"JOIN items i ON i.key = w.rowid JOIN documents d ON d.key = i.document WHERE {condition} AND"
    question = (
        f"SELECT w.rowid, bm25(lexicon) AS score FROM lexicon w {join if condition else 'WHERE'} lexicon MATCH ? "
        "ORDER BY score, w.rowid LIMIT ?"
    )
    best: list[tuple[float, int]] = []

    def ask(match: str) -> None:
        found = database.execute(question, (*values, match, k)).fetchall()
        best.extend((score, key) for key, score in found)
        best.sort()
        del best[k:]

    def hopeless(some: Sequence[str]) -> bool:
        """Return whether an item that holds of the question's words only these cannot be in the list."""
        most = CEILING * math.fsum(weight[word] for word in some) * (1 + 1e-9)
        return len(best) == k and most < -best[-1][0]

    ordered = sorted((word for word in words if having[word]), key=lambda word: having[word])
    begin = 0
    while begin < len(ordered) and not hopeless(ordered[begin:]):
        end, items = begin + 1, having[ordered[begin]]
        while end < len(ordered) and items + having[ordered[end]] <= FIRST:
            items += having[ordered[end]]
            end += 1
        before, now, rest = ordered[:begin], ordered[begin:end], ordered[end:]
        # No word twice in a question, or it would count twice: hence two, with and without the commoner words.
        if rest:
            ask(_both(now, rest) + _without(before))
        if not hopeless(now):
            ask(_any(now) + _without([*before, *rest]))
        begin = end
    keys = np.array([key for _, key in best], dtype=np.int64)
    scores: NDArray[np.float32] = np.array([-score for score, _ in best], dtype=np.float32)
    return RankedList(keys, scores, math.fsum(weight.values()))


def _any(words: Sequence[str]) -> str:
    return f"({' OR '.join(words)})"


def _both(one: Sequence[str], other: Sequence[str]) -> str:
    return f"({_any(one)} AND {_any(other)})"


def _without(words: Sequence[str]) -> str:
    return f" NOT {_any(words)}" if words else ""
