"""The spelling of a query is mended where the collection writes it otherwise."""

from __future__ import annotations

import re
from collections.abc import Callable

from commonplace.store import SearchStore
from commonplace.text.folding import fold
from commonplace.text.respelling import doubtful, likeliest, spellings_of

__all__ = ["respelled"]

MOST_PARTS = 12  # parts of a query that are looked up; a long text is no name


def respelled(store: SearchStore, query: str, is_word: Callable[[str], bool]) -> str | None:
    """Return ``query`` with the spellings of the collection in place of parts that occur nowhere; None if none is.

    ``is_word`` tells words of the language from others: *night* is no misspelt *eight*.

    Several words in place of one are a phrase in quotation marks. Every likely spelling is looked up, some hundreds for
    a word, so a large vocabulary costs no more.
    """
    query = fold(query)
    parts = list(dict.fromkeys(doubtful(query)))[:MOST_PARTS]
    occurring = store.occurrences(parts)
    mended = query
    for part in parts:
        if part in occurring or not (counts := store.occurrences(sorted(spellings_of(part)))):
            continue
        if is_word(part) and not (counts := {word: count for word, count in counts.items() if not is_word(word)}):
            continue
        spelling = likeliest(part, counts)
        phrase = f'"{spelling}"' if " " in spelling else spelling
        mended = re.sub(rf"(?<![^\W_]){re.escape(part)}(?![^\W_])", phrase, mended)
    return mended if mended != query else None
