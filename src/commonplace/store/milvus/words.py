"""Words as sparse vectors, and their BM25 scores.

Words are split and stemmed by SQLite's FTS5 with the tokenizer of the local store, so both stores index the same words.
"""

from __future__ import annotations

import hashlib
import math
import sqlite3
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from commonplace.store.milvus.layout import WORDS_AT_MOST
from commonplace.store.schema import LEXICON
from commonplace.text import index_words, is_unsegmented, query_words

__all__ = ["IndexedWords", "QueryTerm", "Weighted", "WordSplitter", "bm25_weight", "query_vector", "score"]

K1, B = 1.2, 0.75  # as in SQLite's bm25()
USUAL_LENGTH = 120.0
"""Length in words for which stored weights are exact. They only select candidates, whose scores are computed."""
EMPTY = 0  # dimension of the entry of items without words, since servers refuse empty vectors


@dataclass(frozen=True, slots=True)
class IndexedWords:
    """The words of an item: how often each term occurs, and the number of all words."""

    counts: Mapping[int, int]
    length: int

    def vector(self) -> dict[int, float]:
        """Return the sparse vector: terms with their BM25 weights for texts of usual length."""
        if not self.counts:
            return {EMPTY: 1e-6}
        return {term: weight(count, self.length, USUAL_LENGTH) for term, count in self.counts.items()}


@dataclass(frozen=True, slots=True)
class QueryTerm:
    """A phrase of a query: an item matches it if it contains all of these terms, usually one."""

    terms: tuple[int, ...]


Weighted = tuple[QueryTerm, float]
"""A phrase of a query with its BM25 weight."""


class WordSplitter:
    """Splits texts into terms with an FTS5 table in memory. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        self._database.execute(LEXICON.format("lexicon"))
        self._database.execute("CREATE VIRTUAL TABLE instances USING fts5vocab (lexicon, instance)")

    def of(self, views: Sequence[str | None]) -> list[IndexedWords]:
        """Return the words of each text; empty for None."""
        texts: list[IndexedWords] = []
        for tokens in self._tokens([index_words(view) if view else "" for view in views]):
            counts: Counter[int] = Counter()
            for token, count in tokens.items():
                counts[term_of(token)] += count
                if is_unsegmented(token):  # a query of one character finds every pair that begins with it
                    counts[term_of(token[0], prefix=True)] += count
            kept = dict(counts.most_common(WORDS_AT_MOST))
            texts.append(IndexedWords(kept, sum(tokens.values())))
        return texts

    def query(self, text: str) -> dict[str, QueryTerm]:
        """Return the phrases of a query, by FTS5 phrase. Two words with one stem are equal phrases, as in SQLite."""
        phrases = query_words(text)
        texts = [phrase.rstrip("*").strip('"') for phrase in phrases]
        split = {
            phrase: QueryTerm(tuple(term_of(token, prefix=phrase.endswith("*")) for token in tokens))
            for phrase, tokens in zip(phrases, self._tokens(texts), strict=True)
        }
        return {phrase: term for phrase, term in split.items() if term.terms}

    def _tokens(self, texts: Sequence[str]) -> list[Counter[str]]:
        """Return the tokens of each text, with the number of times that each occurs."""
        tokens: list[Counter[str]] = [Counter() for _ in texts]
        with self._lock:
            self._database.executemany("INSERT INTO lexicon (rowid, words) VALUES (?, ?)", enumerate(texts))
            for term, row in self._database.execute("SELECT term, doc FROM instances ORDER BY doc, offset"):
                tokens[row][term] += 1
            self._database.execute("INSERT INTO lexicon (lexicon) VALUES ('delete-all')")
        return tokens


def term_of(token: str, *, prefix: bool = False) -> int:
    """Return the dimension of a token, 1 to 2**32 - 2; with ``prefix`` of all tokens that begin with it."""
    digest = hashlib.blake2b(token.encode("utf-8", "surrogatepass"), digest_size=4, person=b"prefix" * prefix).digest()
    return int.from_bytes(digest, "big") % (2**32 - 2) + 1


def weight(count: int, length: int, mean_length: float) -> float:
    """Return the BM25 weight of a term that occurs ``count`` times in a text of ``length`` words."""
    return count * (K1 + 1) / (count + K1 * (1 - B + B * length / max(mean_length, 1e-9)))


def count_of(stored: float, length: int) -> int:
    """Return how often a term occurs, from its weight for texts of usual length."""
    return max(1, round(stored * K1 * (1 - B + B * length / USUAL_LENGTH) / max(K1 + 1 - stored, 1e-6)))


def bm25_weight(total: int, matching: int) -> float:
    """Return the weight of a phrase that ``matching`` of ``total`` items contain, as SQLite's bm25() has it."""
    return max(math.log((total - matching + 0.5) / (matching + 0.5)), 1e-6) if total >= matching else 1e-6


def score(vector: Mapping[int, float], length: int, weights: Sequence[Weighted], mean_length: float) -> float:
    """Return the BM25 score of an item with this stored vector and length; 0 if it matches no phrase."""
    return math.fsum(
        phrase_weight * weight(min(count_of(vector[term], length) for term in phrase.terms), length, mean_length)
        for phrase, phrase_weight in weights
        if all(term in vector for term in phrase.terms)
    )


def query_vector(weights: Sequence[Weighted]) -> dict[int, float]:
    """Return the sparse vector of a query: its terms with the weights of their phrases."""
    vector: dict[int, float] = {}
    for phrase, phrase_weight in weights:
        for term in phrase.terms:
            vector[term] = vector.get(term, 0.0) + phrase_weight
    return vector
