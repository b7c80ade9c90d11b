"""Extraction of words from texts in any script: for the lexical index, for queries, and for comparing texts."""

from commonplace.text.language import language_of, script_of
from commonplace.text.numbers import in_digits, measures
from commonplace.text.tokens import index_words, is_unsegmented, names, query_words, terms

__all__ = [
    "in_digits",
    "index_words",
    "is_unsegmented",
    "language_of",
    "measures",
    "names",
    "query_words",
    "script_of",
    "terms",
]
