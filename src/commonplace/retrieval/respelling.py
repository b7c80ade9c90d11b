"""The spelling of a query is mended where the collection writes it otherwise."""

from __future__ import annotations

import re

from commonplace.store import SearchStore
from commonplace.text.folding import fold
from commonplace.text.respelling import doubtful, likeliest, spellings_of

__all__ = ["respelled"]

MOST_PARTS = 12  # parts of a query that are looked up; a long text is no name


def respelled(store: SearchStore, query: str) -> str | None:
    """Return ``query`` with the spellings of the collection in place of parts that occur nowhere; None if none is.

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
        spelling = likeliest(part, counts)
        phrase = f'"{spelling}"' if " " in spelling else spelling
        mended = re.sub(rf"(?<![^\W_]){re.escape(part)}(?![^\W_])", phrase, mended)
    return mended if mended != query else None
