"""The one protocol behind which every store stands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from commonplace.types import Document, Filter, Item, ParsedDocument, ViewVectors

__all__ = ["Entry", "Finding", "Offset", "Prepare", "Questions", "RankedList", "Store"]

Offset = Callable[[str, NDArray[np.float32]], NDArray[np.float32] | None]
"""Maps a partition's name and vectors (n, dim) to what their inner products are too high by (n,), or to None."""

Prepare = Callable[[str, NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32] | None]]
"""Maps a partition's name and raw vectors (n, dim) to the rows (n, dim) that are searched and their offsets or None.
Each row depends on its own vector alone."""

Questions = Callable[[str, bool], NDArray[np.float32] | None]
"""Returns real question vectors (n, dim) as a search would ask them, to measure recall with, or None. The arguments are
the partition and whether they are of the other kind, those that a search asks with ``offset``."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be: what, how many, and what was done or can be done about it."""

    what: str
    count: int
    remedy: str
    repaired: bool = False


@dataclass(frozen=True, slots=True)
class RankedList:
    """A ranked list: item keys (the store's own integers) and raw scores, best first, no item twice.

    ``full`` is the raw score of a full match: 1 for a cosine; for words the BM25 score of an item of average length
    that holds every word of the question once. ``count`` is the number of rows in the partition; ``mean`` and ``std``
    are those of the question's scores over all of them (over an even sample where there are many): what chance gives.
    """

    keys: NDArray[np.int64]
    scores: NDArray[np.float32]
    full: float = 1.0
    count: int = 0
    mean: float = 0.0
    std: float = 0.0


@dataclass(frozen=True, slots=True)
class Entry:
    """An item and the partitions in which it has a view (``lexical`` where it has words)."""

    item: Item
    partitions: frozenset[str]


class Store(Protocol):
    """Documents, items, vectors and full text of one collection.

    Every writing method is one transaction: it happens whole or not at all.
    """

    def add(
        self, parsed: Sequence[ParsedDocument], vectors: Sequence[ViewVectors], instead: Sequence[str] = ()
    ) -> None:
        """Put whole documents with their items' vectors, replacing earlier versions of them and ``instead``."""

    def remove(self, ids: Iterable[str]) -> int:
        """Remove the documents with these ids and all that was theirs; return how many there were."""

    def known(self, partition: str, views: Sequence[str]) -> Mapping[str, NDArray[np.float32]]:
        """Return the vectors already held for these view hashes."""

    def documents(self) -> list[Document]:
        """Return all documents, by path."""

    def search(
        self, partition: str, query: NDArray[np.float32], k: int, where: Filter, *, offset: bool = False
    ) -> RankedList:
        """Return the ``k`` items of ``partition`` whose best view has the highest inner product with ``query``.

        ``offset`` takes off each vector's own offset, where the partition has one.
        """

    def search_fused(self, query: NDArray[np.float32], k: int, where: Filter, alpha: float | None) -> RankedList:
        """Like :meth:`search`, over one vector an item: its text and image views fused early.

        With ``alpha`` in [0, 1] the views are averaged (``alpha`` text + (1 - ``alpha``) image, normalised);
        with None they are concatenated. An item with one view counts as that view alone. The mean of its kind is
        taken off each view first, and should be off ``query``: else the gap between kinds decides.
        """

    def score(
        self, partition: str, query: NDArray[np.float32], keys: NDArray[np.int64], *, offset: bool = False
    ) -> NDArray[np.float64]:
        """Return the scores (n,) that :meth:`search` would give these items, NaN where one has no such view."""

    def score_fused(
        self, query: NDArray[np.float32], keys: NDArray[np.int64], *, alpha: float | None
    ) -> NDArray[np.float64]:
        """Return the scores (n,) that :meth:`search_fused` would give these items."""

    def gather(self, partition: str, keys: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return one vector (n, dim) for each item: its first view in the partition, zeros where it has none."""

    def size(self, where: Filter | None = None) -> int:
        """Return how many items ``where`` allows (default: all)."""

    def search_words(self, question: str, k: int, where: Filter) -> RankedList:
        """Return the ``k`` items with the highest BM25 score for any word of ``question``."""

    def views(self, keys: Sequence[int]) -> dict[int, tuple[str, frozenset[str]]]:
        """Return the ids of the items with these keys and the partitions in which each has a view (``lexical`` where
        it has words): what is needed of many items, of which few are shown. A key that is gone is absent."""

    def entries(self, keys: Sequence[int]) -> dict[int, Entry]:
        """Return the items with these keys; a key that is gone is absent."""

    def thumbnail(self, picture: str) -> bytes | None:
        """Return the JPEG of the picture with this content hash."""
