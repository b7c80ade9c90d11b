"""What a document says by its name and dates: an answer may tell it, though no passage of the document does."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import PurePath

from commonplace.generation.claims import facts, is_name
from commonplace.text import terms
from commonplace.types import Document

__all__ = ["documented_facts", "named_in"]

_SEPARATORS = re.compile(r"(?<=[^\W\d])[_.-]+|[_.-]+(?=[^\W\d])|_+")
NAMES = 2  # names of a path that count: the file and its folder


def documented_facts(sentence: str, documents: Sequence[Document]) -> frozenset[str]:
    """Return the facts of a sentence that the names and dates of its documents have.

    These are names, numbers of four digits or more, and of a date all parts if the sentence has its year or month: a
    lone 5 in a file's date is no evidence for five of anything.
    """
    stated = facts(sentence)
    documented: set[str] = set()
    for document in documents:
        for text in _descriptions(document):
            of_document = facts(text)
            documented |= {fact for fact in of_document if is_name(fact) or (fact.isdigit() and len(fact) >= 4)}
            if any(not fact[0].isdigit() and not is_name(fact) and fact in stated for fact in of_document):
                documented |= of_document
    return stated & documented


def named_in(documents: Iterable[Document]) -> frozenset[str]:
    """Return the terms in the names and dates of documents."""
    return frozenset().union(*(terms(text) for document in documents for text in _descriptions(document)))


@lru_cache(maxsize=256)
def _descriptions(document: Document) -> tuple[str, ...]:
    """Return the title, the last names of the path as words, and the dates that the document declares."""
    path = PurePath(document.path)
    names = [*path.parts[-NAMES:-1], path.stem] if path.parts else []
    dates = [str(document.metadata[key])[:10] for key in ("created", "modified") if key in document.metadata]
    if document.metadata.get("dated") not in (None, "file") or "dated" not in document.metadata:
        dates += [str(document.metadata["date"])[:10]] if "date" in document.metadata else []
    words = [" ".join(_SEPARATORS.sub(" ", name).split()) for name in names]
    return tuple(text for text in (document.title or "", *words, *dates) if text)
