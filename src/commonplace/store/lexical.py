"""Full-text search by BM25. Items that contain only a common word are skipped where they cannot be in the list."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from commonplace.store.index_view import RankedKeys
from commonplace.text.folding import fold
from commonplace.text.tokens import tokens

__all__ = ["LexicalMatches", "count_occurrences", "merge_some_words", "merge_words", "search_lexical", "search_paths"]

CEILING = 2.2
"""A word adds less to an item's score than this constant (k1 + 1) times its inverse document frequency."""
MERGED_PAGES = 1000
"""Pages of a full-text index, of 4 KB, that one checkpoint merges."""
FIRST = 2048
"""Number of items that one step scores, rarest words first. Counting the phrases takes about as long as one step."""


class LexicalMatches(NamedTuple):
    """The best rows by BM25, and the inverse document frequency of each phrase."""

    ranked: RankedKeys
    idf: Mapping[str, float]


def search_lexical(
    database: sqlite3.Connection, phrases: Sequence[str], k: int, condition: str, values: tuple[Any, ...], total: int
) -> LexicalMatches:
    """Return the ``k`` best items by BM25 (k1 = 1.2, b = .75) for any of the FTS5 ``phrases``.

    ``condition`` with its ``values`` is an SQL filter over items ``i`` and documents ``d``, or empty. ``total`` is
    the number of items that have words. The list is exact, with ties ordered by key.

    Phrases are processed from the rarest to the most common. At some point the remaining phrases alone cannot lift an
    item into the list. Items without any of the earlier phrases are then skipped (MaxScore, Turtle and Flood 1995).
    """
    join = f"JOIN items i ON i.key = w.rowid JOIN documents d ON d.key = i.document WHERE {condition} AND"
    return _search(database, "lexicon", phrases, k, join if condition else "WHERE", values, total)


def search_paths(
    database: sqlite3.Connection, phrases: Sequence[str], k: int, condition: str, values: tuple[Any, ...], total: int
) -> LexicalMatches:
    """Return the ``k`` best documents by BM25 of their paths, as the first item of each that the filter allows.

    The arguments are those of ``search_lexical()``; ``total`` is the number of documents.
    """
    first = f"SELECT min(i.key) FROM items i WHERE i.document = d.key{condition and ' AND '}{condition}"
    join = f"JOIN documents d ON d.key = w.rowid WHERE ({first}) IS NOT NULL AND"
    (keys, scores), idf = _search(database, "paths", phrases, k, join, values, total)
    statement = f"SELECT d.key, ({first}) FROM documents d WHERE d.key IN (SELECT value FROM json_each(?))"
    items = dict(database.execute(statement, (*values, json.dumps(keys.tolist()))).fetchall())
    return LexicalMatches(RankedKeys(np.array([items[key] for key in keys.tolist()], dtype=np.int64), scores), idf)


def merge_words(database: sqlite3.Connection) -> None:
    """Merge the segments of the full-text indexes, which keep deleted words on disk until then."""
    for table in ("lexicon", "paths"):
        database.execute(f"INSERT INTO {table} ({table}) VALUES ('optimize')")


def merge_some_words(database: sqlite3.Connection) -> None:
    """Go on merging the segments of the full-text indexes, by work that does not grow with the collection.

    Each commit writes a segment, and a search looks for its words in each of them.
    """
    for table in ("lexicon", "paths"):  # a negative number of pages merges all segments into one, in several calls
        database.execute(f"INSERT INTO {table} ({table}, rank) VALUES ('merge', {-MERGED_PAGES})")


def _search(
    database: sqlite3.Connection,
    table: str,
    phrases: Sequence[str],
    k: int,
    join: str,
    values: tuple[Any, ...],
    total: int,
) -> LexicalMatches:
    """Return the best ``k`` rows of a full-text ``table``; ``join`` and ``values`` filter its rows ``w``."""
    # BM25 needs each phrase's number of items, so the database counts it in any case.
    counted = f"SELECT (SELECT count(*) FROM {table} WHERE {table} MATCH value) FROM json_each(?) ORDER BY key"
    counts = database.execute(counted, (json.dumps(list(phrases)),)).fetchall()
    frequency = {phrase: count for phrase, (count,) in zip(phrases, counts, strict=True)}
    weight = {phrase: max(math.log((total - count + 0.5) / (count + 0.5)), 1e-6) for phrase, count in frequency.items()}
    statement = (
        f"SELECT w.rowid, bm25({table}) AS score FROM {table} w {join} {table} MATCH ? ORDER BY score, w.rowid LIMIT ?"
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
    return LexicalMatches(RankedKeys(keys, scores), weight)


def count_occurrences(database: sqlite3.Connection, phrases: Iterable[str]) -> dict[str, int]:
    """Return how many texts and paths contain each phrase; see ``commonplace.store.SearchStore.occurrences()``."""
    # Most are spellings of one plain word.
    words = {p: p if p.isascii() and p.isalnum() else " ".join(tokens(fold(p))) for p in phrases}
    statement = """SELECT phrase, texts + paths FROM (
        SELECT value AS phrase, (SELECT count(*) FROM lexicon WHERE lexicon MATCH value) AS texts,
        (SELECT count(*) FROM paths WHERE paths MATCH value) AS paths FROM json_each(?)) WHERE texts + paths > 0"""
    quoted = json.dumps([f'"{phrase}"' for phrase in dict.fromkeys(words.values()) if phrase])
    counts = dict(database.execute(statement, (quoted,)).fetchall())
    return {phrase: counts[f'"{text}"'] for phrase, text in words.items() if f'"{text}"' in counts}


def _any(phrases: Sequence[str]) -> str:
    return f"({' OR '.join(phrases)})"


def _both(first: Sequence[str], second: Sequence[str]) -> str:
    return f"({_any(first)} AND {_any(second)})"


def _without(phrases: Sequence[str]) -> str:
    return f" NOT {_any(phrases)}" if phrases else ""
