"""Extraction of words from texts in any script: for the lexical index, for queries, and for comparing texts."""

from commonplace.text.asking import asks
from commonplace.text.language import language_of, script_of
from commonplace.text.numbers import in_digits, measures
from commonplace.text.tokens import (
    REQUESTS,
    index_words,
    is_unsegmented,
    names,
    path_words,
    query_units,
    query_words,
    quotations,
    terms,
)
from commonplace.text.written import WrittenWords, written_words

__all__ = [
    "REQUESTS",
    "WrittenWords",
    "asks",
    "in_digits",
    "index_words",
    "is_unsegmented",
    "language_of",
    "measures",
    "names",
    "path_words",
    "query_units",
    "query_words",
    "quotations",
    "script_of",
    "terms",
    "written_words",
]
