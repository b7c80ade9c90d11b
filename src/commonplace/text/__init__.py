"""Extraction of words from texts in any script: for the lexical index, for queries, and for comparing texts."""

from commonplace.text.tokens import index_words, is_unsegmented, names, query_words, terms

__all__ = ["index_words", "is_unsegmented", "names", "query_words", "terms"]
