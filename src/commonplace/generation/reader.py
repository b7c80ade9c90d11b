"""The reader: a small model that reads a question and a sentence together, and tells whether the sentence answers it.

It comes with the package, for English only; models/reader.py made it. Similarity alone calls another fact about the
same thing as near as the one that is asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from commonplace.encoders import DEFAULT_BUNDLE, CrossEncoder
from commonplace.text import language_of, script_of

__all__ = ["can_read", "reading"]

FOLDER = DEFAULT_BUNDLE.parent / "reader"
LANGUAGE = "en"
MOST = 6.0
"""Logits are cut off at plus and minus this: beyond, the reader is as sure of what is wrong."""
_lock = threading.Lock()


def _model() -> CrossEncoder:
    with _lock:  # several threads may ask their first question at once
        return _loaded()


@cache
def _loaded() -> CrossEncoder:
    model = CrossEncoder(FOLDER)
    model.scores("?", ["."])  # reads its files
    return model


def can_read(question: str, sentences: Sequence[str]) -> bool:
    """Return whether the question is in English, judged with the sentences where it is too short to tell."""
    if script_of(question) != "Latn":
        return False
    language = language_of(question) or language_of("\n".join([question, *sentences]))
    return language in (None, LANGUAGE)


def reading(question: str, sentences: Sequence[str]) -> NDArray[np.float64]:
    """Return a logit (n,) for each sentence, in [-MOST, MOST]: more the surer it answers the question.

    Raises ModelError if the reader's files are missing or damaged.
    """
    return np.clip(_model().scores(question, sentences).astype(np.float64), -MOST, MOST)
