"""Early fusion: one vector for each item, made of its text and image views."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from commonplace.store.index_view import IndexView
from commonplace.store.partitions import Partitions
from commonplace.store.vector_index import Settings, check_space, now

__all__ = ["MODALITIES", "FusedIndex", "centre", "fuse"]

MODALITIES = ("text", "image")
SHRINK = 50  # weight of the model's mean against the collection's vectors, as a number of vectors

Keys = NDArray[np.int64]
Rows = NDArray[np.float32]


class FusedIndex:
    """The index of early-fused views. It is in memory, for the last ``alpha`` only, and rebuilt after a change.

    ``means`` are the model's document means (dim,) by modality.
    """

    def __init__(self, settings: Settings, partitions: Partitions, means: Mapping[str, Rows]) -> None:
        self._settings, self._partitions, self._means = settings, partitions, means
        self._lock = threading.Lock()
        self._built: tuple[tuple[str, int, float | None], IndexView] | None = None

    def forget(self) -> None:
        """Drop the index."""
        with self._lock:
            self._built = None

    def of(self, alpha: float | None) -> IndexView:
        """Return the index for this text weight ``alpha`` (0 to 1); None for concatenated views.

        Within a snapshot it is always the same one.
        """
        return self._settings.database.once((self, alpha), lambda: self._of(alpha))

    def _of(self, alpha: float | None) -> IndexView:
        with self._lock, self._settings.database.newest() as database:  # an index is never built of an older state
            check_space(database, self._settings)
            wanted = (*now(database), alpha)
            if self._built is None or self._built[0] != wanted:
                self._built = None  # free the memory first: an index is a copy of every vector
                views = {modality: self._partitions.stored(modality) for modality in MODALITIES}
                centres = {
                    modality: centre(vectors, self._means[modality])
                    for modality, (_, vectors) in views.items()
                    if modality in self._means
                }
                self._built = (wanted, IndexView(None, *fuse(views, centres, alpha)))
            return self._built[1]


def fuse(views: Mapping[str, tuple[Keys, Rows]], centres: Mapping[str, Rows], alpha: float | None) -> tuple[Keys, Rows]:
    """Return item keys (n,) and one vector for each item (n, dim), for inner products with a query.

    ``views`` are the sorted keys (m,) and the vectors (m, dim) of each of MODALITIES. ``centres`` (dim,) by modality
    are subtracted from the vectors; see ``centre()``. ``alpha`` in [0, 1] is the weight of the text, and the
    vectors are normalised.

    With None the views are concatenated. The query would then be concatenated with itself, which equals an inner
    product with the mean of the item's views. So that mean is the item's vector.
    """
    by_modality = {}
    for modality, (keys, vectors) in views.items():
        if modality in centres:  # otherwise the modality gap decides the ranking
            vectors = vectors - centres[modality]
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
    # The other view replaces an absent one, so that an item with one view is not penalised.
    text = np.where(present["text"], rows["text"], rows["image"])
    image = np.where(present["image"], rows["image"], rows["text"])
    if alpha is None:
        return keys, np.asarray(0.5 * (text + image), np.float32)
    both = alpha * text + (1 - alpha) * image
    return keys, np.asarray(both / np.maximum(np.linalg.norm(both, axis=1, keepdims=True), 1e-12), np.float32)


def centre(vectors: Rows, model_mean: Rows, total: int | None = None) -> Rows:
    """Return the mean of the vectors (n, dim), shrunk toward the model's mean; the more vectors, the less shrinkage.

    ``total`` is the number of all vectors, where ``vectors`` are a sample of them.
    """
    count = len(vectors) if total is None else total
    summed = vectors.sum(axis=0) * (count / max(len(vectors), 1))
    return np.asarray((summed + SHRINK * model_mean) / (count + SHRINK), np.float32)
