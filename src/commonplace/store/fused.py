"""Early fusion: one vector an item from its text and image views."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from commonplace.store.index_view import IndexView
from commonplace.store.partitions import Partitions
from commonplace.store.vector_index import Settings, check_space, now

__all__ = ["MODALITIES", "FusedIndex", "fuse"]

MODALITIES = ("text", "image")
SHRINK = 50  # vectors that the model's own mean counts as, beside a collection's

Keys = NDArray[np.int64]
Rows = NDArray[np.float32]


class FusedIndex:
    """The index of early-fused views: in memory, for the last ``alpha`` alone, built anew after a change.

    ``means`` (dim,) by modality are the model's document means.
    """

    def __init__(self, settings: Settings, partitions: Partitions, means: Mapping[str, Rows]) -> None:
        self._settings, self._partitions, self._means = settings, partitions, means
        self._lock = threading.Lock()
        self._built: tuple[tuple[str, int, float | None], IndexView] | None = None

    def forget(self) -> None:
        """Let go of the index."""
        with self._lock:
            self._built = None

    def of(self, alpha: float | None) -> IndexView:
        """Return the index of views that are fused with this weight of the text; None: concatenated."""
        with self._lock, self._settings.database.snapshot() as database:
            check_space(database, self._settings)
            wanted = (*now(database), alpha)
            if self._built is None or self._built[0] != wanted:
                self._built = None  # before the next one is made: it is a copy of every vector
                views = {modality: self._partitions.stored(modality) for modality in MODALITIES}
                self._built = (wanted, IndexView(None, *fuse(views, self._means, alpha)))
            return self._built[1]


def fuse(views: Mapping[str, tuple[Keys, Rows]], means: Mapping[str, Rows], alpha: float | None) -> tuple[Keys, Rows]:
    """Return the item keys (n,) and one vector (n, dim) an item, to be compared with a query by inner product.

    ``views`` are the keys (m,), sorted, and vectors (m, dim) of each of MODALITIES; ``means`` (dim,) by modality are
    the model's document means. ``alpha`` in [0, 1] is the text's share, and the vectors are normalised. With None the
    views count as concatenated: as the query stands beside itself then, each item's vector is the mean of its views.
    """
    by_modality = {}
    for modality, (keys, vectors) in views.items():
        if modality in means:  # else the modality gap decides what is near
            vectors = vectors - _centre(vectors, means[modality])
        items, first = np.unique(keys, return_index=True)
        sums = np.add.reduceat(vectors, first) if len(items) else vectors
        by_modality[modality] = (items, sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12))
    keys = np.union1d(by_modality["text"][0], by_modality["image"][0])
    rows, present = {}, {}
    for modality, (items, vectors) in by_modality.items():
        at = np.searchsorted(keys, items)
        rows[modality] = np.zeros((len(keys), vectors.shape[1]), np.float32)
        rows[modality][at] = vectors
        present[modality] = np.zeros((len(keys), 1), bool)
        present[modality][at] = True
    # An absent view is no zero: the other stands in for it, so that an item is not punished for lacking one.
    text = np.where(present["text"], rows["text"], rows["image"])
    image = np.where(present["image"], rows["image"], rows["text"])
    if alpha is None:
        return keys, np.asarray(0.5 * (text + image), np.float32)
    both = alpha * text + (1 - alpha) * image
    return keys, np.asarray(both / np.maximum(np.linalg.norm(both, axis=1, keepdims=True), 1e-12), np.float32)


def _centre(vectors: Rows, model_mean: Rows) -> Rows:
    """Return the mean of vectors, shrunk by count toward the one that the model came with."""
    return np.asarray((vectors.sum(axis=0) + SHRINK * model_mean) / (len(vectors) + SHRINK), np.float32)
