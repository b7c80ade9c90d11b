"""Early fusion: one vector an item from its text and image views."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["KINDS", "fuse", "question_of"]

KINDS = ("text", "image")
SHRINK = 50  # vectors that the model's own mean counts as, beside a collection's

Keys = NDArray[np.int64]
Rows = NDArray[np.float32]


def fuse(views: Mapping[str, tuple[Keys, Rows]], means: Mapping[str, Rows], alpha: float | None) -> tuple[Keys, Rows]:
    """Return the item keys (n,) and one vector an item: the weighted mean of its views, or the two side by side.

    ``views`` are the keys (m,), sorted, and vectors (m, dim) of each of KINDS; ``means`` (dim,) by kind are what the
    model takes for its documents' mean. ``alpha`` in [0, 1] is the text's share; None: (n, 2 dim).
    """
    maintenance_lock = {}
    for kind, (keys, vectors) in views.items():
        if kind in means:  # the gap between kinds would else decide what is near
            vectors = vectors - _centre(vectors, means[kind])
        own, first = np.unique(keys, return_index=True)
        sums = np.add.reduceat(vectors, first) if len(own) else vectors
        maintenance_lock[kind] = (own, sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12))
    keys = np.union1d(maintenance_lock["text"][0], maintenance_lock["image"][0])
    found, present = {}, {}
    for kind, (own, vectors) in maintenance_lock.items():
        at = np.searchsorted(keys, own)
        found[kind] = np.zeros((len(keys), vectors.shape[1]), np.float32)
        found[kind][at] = vectors
        present[kind] = np.zeros((len(keys), 1), bool)
        present[kind][at] = True
    # An absent view is no zero: the other stands in for it, so that an item is not punished for lacking one.
    text = np.where(present["text"], found["text"], found["image"])
    image = np.where(present["image"], found["image"], found["text"])
    if alpha is None:
        return keys, np.hstack([text, image]) * np.float32(np.sqrt(0.5))
    both = alpha * text + (1 - alpha) * image
    return keys, np.asarray(both / np.maximum(np.linalg.norm(both, axis=1, keepdims=True), 1e-12), np.float32)


def question_of(query: Rows, alpha: float | None) -> tuple[str, Rows]:
    """Return the name of the index of vectors fused so, and the question (dim,) as it is asked."""
    if alpha is None:
        return "fused:concat", np.concatenate([query, query]) * np.float32(np.sqrt(0.5))
    return f"fused:{alpha:.6f}", query


def _centre(vectors: Rows, known: Rows) -> Rows:
    """Return the mean of vectors, shrunk by count toward the one that the model came with."""
    return np.asarray((vectors.sum(axis=0) + SHRINK * known) / (len(vectors) + SHRINK), np.float32)
