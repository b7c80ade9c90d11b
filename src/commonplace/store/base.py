"""What retrieval, collections and evaluation need of a store, and nothing else.

Whoever writes another store implements ``Store`` and runs ``tests/store/contract.py`` over it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from commonplace.metadata import MetadataType
from commonplace.types import Document, Filter, Item, ParsedDocument, Status, ViewVectors

__all__ = [
    "Capabilities",
    "Finding",
    "Offset",
    "Prepare",
    "Questions",
    "RankedList",
    "Sample",
    "SearchStore",
    "Store",
    "StoreMaintenance",
    "StoreSpace",
]

Offset = Callable[[str, NDArray[np.float32]], NDArray[np.float32] | None]
"""Returns the hubness correction (n,) of each vector (n, dim) of a partition, to be subtracted from its inner product
with a query of another modality; None if there is none."""

Prepare = Callable[[str, NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32] | None]]
"""Maps a partition's name and raw vectors (n, dim) to the rows (n, dim) that are searched, and their offsets or None.
Each row depends on its own vector alone."""

Questions = Callable[[str, bool], NDArray[np.float32] | None]
"""Returns real query vectors (n, dim) to measure recall with, or None. The arguments are the partition and whether the
queries are of another modality, those that a search asks with ``cross_modal``."""


def _no_offset(partition: str, vectors: NDArray[np.float32]) -> None:
    return None


def _no_questions(partition: str, cross_modal: bool) -> None:
    return None


@dataclass(frozen=True, slots=True)
class StoreSpace:
    """What a local store knows of the space whose vectors it holds.

    ``name`` is the model's name and ``fingerprint`` the hash of everything between a view and its vector; None for
    whichever the store was made with, for what needs no vectors. ``dim`` is the number of dimensions. ``model`` is the
    folder of the model, kept for the next opening; empty for the shipped one. ``offset`` gives hubness offsets of raw
    rows; ``prepare`` is its longer form, which makes the rows that are searched from raw vectors. ``state`` names the
    version of the ranking state that they stand for. ``means`` are the model's document means (dim,) by modality.
    ``questions`` gives real query vectors to measure recall with: without them only exact indexes are used.
    """

    name: str
    fingerprint: str | None
    dim: int
    model: str = ""
    offset: Offset = _no_offset
    prepare: Prepare | None = None
    state: str = ""
    means: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    questions: Questions = _no_questions


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be: what, how many, and what was done or can be done about it."""

    what: str
    count: int
    remedy: str
    repaired: bool = False


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a store can do beyond what every store can.

    ``lexical``: it searches words (``search_text``). ``exact_scores``: scores are exact inner products with the vectors
    that are stored; else they are approximate. ``early_fusion``: it has ``search_fused``, ``score_fused`` and
    ``sample_fused``. ``maintenance``: ``store.maintenance`` is not None.
    """

    lexical: bool = True
    exact_scores: bool = True
    early_fusion: bool = True
    maintenance: bool = True


@dataclass(frozen=True, slots=True)
class RankedList:
    """A ranked list: item ids and raw scores (n,), best first, equal scores by id, no item twice.

    ``full`` is the raw score of a full match: 1 for a cosine; for words the BM25 score of an item of average length
    that holds every word of the query once. Stores leave the rest alone, and retrieval fills it in from a
    ``Sample``: ``count`` is the number of rows in the partition, ``mean`` and ``std`` are the mean and standard
    deviation of the query's scores over the sample.
    """

    ids: tuple[str, ...] = ()
    scores: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    full: float = 1.0
    count: int = 0
    mean: float = 0.0
    std: float = 0.0


@dataclass(frozen=True, slots=True)
class Sample:
    """Evenly spaced rows of a partition: ``vectors`` (n, dim), their hubness ``offsets`` (n,) or None, and ``total``,
    the number of rows in the whole partition."""

    vectors: NDArray[np.float32]
    offsets: NDArray[np.float32] | None = None
    total: int = 0


class SearchStore(Protocol):
    """The part of a store that a search asks in parallel threads."""

    def search(
        self, partition: str, query: NDArray[np.float32], k: int, where: Filter, *, cross_modal: bool = False
    ) -> RankedList:
        """Return the ``k`` items of ``partition`` whose best view has the highest inner product with ``query`` (dim,).

        ``cross_modal`` subtracts each vector's hubness offset, where the partition has offsets. Equal scores are in
        the order of their ids; which of several items that tie for the last place are listed is the store's choice.
        """

    def search_text(self, text: str, k: int, where: Filter) -> RankedList:
        """Return the ``k`` items with the highest BM25 score for any word of ``text``.

        Only where ``capabilities.lexical``.
        """

    def search_fused(self, query: NDArray[np.float32], k: int, where: Filter, alpha: float | None) -> RankedList:
        """Like ``search()``, over one vector an item: its text and image views fused early.

        With ``alpha`` in [0, 1] the views are averaged (``alpha`` text + (1 - ``alpha``) image, normalised); with None
        they are concatenated. An item with one view counts as that view alone. The mean of its modality is subtracted
        from each view first, and should be from ``query``: else the modality gap decides. Only where
        ``capabilities.early_fusion``, as ``score_fused()`` and ``sample_fused()``.
        """

    def score(
        self, partition: str, query: NDArray[np.float32], ids: Sequence[str], *, cross_modal: bool = False
    ) -> NDArray[np.float64]:
        """Return the scores (n,) that ``search()`` would give these items; NaN where an item has no such view."""

    def score_fused(
        self, query: NDArray[np.float32], ids: Sequence[str], *, alpha: float | None
    ) -> NDArray[np.float64]:
        """Return the scores (n,) that ``search_fused()`` would give these items."""

    def vectors(self, partition: str, ids: Sequence[str]) -> NDArray[np.float32]:
        """Return one vector (n, dim) for each item: of one of its views in the partition, always the same one; zeros
        where it has none."""

    def sample(self, partition: str, n: int) -> Sample:
        """Return about ``n`` evenly spaced rows of a partition, the same ones until the collection changes.

        A store reads about ``n`` rows for it and keeps them, as every search asks for them.
        """

    def sample_fused(self, n: int, *, alpha: float | None) -> Sample:
        """Return a sample as ``sample()`` does, of rows whose inner products are what ``search_fused()`` gives."""


class Store(SearchStore, Protocol):
    """Documents, items, vectors and full text of one collection. Ids are strings.

    Every writing method is one transaction: it happens whole or not at all. What was written is seen by reads that
    begin afterwards, or, in a store that is eventually consistent, some time later. Methods raise CollectionError
    where the store cannot be read or written, and after ``close()``.
    """

    @property
    def capabilities(self) -> Capabilities:
        """What this store can do."""

    @property
    def maintenance(self) -> StoreMaintenance | None:
        """Upkeep of the store's files; None where a server looks after them."""

    def close(self) -> None:
        """Close the store; any use afterwards raises CollectionError."""

    # --- writing ---------------------------------------------------------------------------------------------

    def add(
        self, parsed: Sequence[ParsedDocument], vectors: Sequence[ViewVectors], replaces: Sequence[str] = ()
    ) -> None:
        """Put whole documents with their items' vectors.

        Earlier versions of the documents and the documents ``replaces`` (ids) are removed in the same transaction.
        Raises CollectionError, and stores nothing, where a vector has the wrong length or is not numbers.
        """

    def update(self, documents: Sequence[Document]) -> None:
        """Update status, error and stamp of documents and keep their items; new documents are put without items."""

    def remove(self, ids: Iterable[str]) -> int:
        """Remove the documents with these ids and all that was theirs; return how many there were."""

    def set_setting(self, name: str, value: str | None) -> None:
        """Keep a text with the collection, for as long as it is searched with this model; None forgets it."""

    def label(self, text: str, image: str, item: str, good: bool) -> None:
        """Keep whether an item answers a query (words, path of a picture; empty where absent). The last word on a
        query and an item counts."""

    # --- reading ---------------------------------------------------------------------------------------------

    def setting(self, name: str) -> str | None:
        """Return what ``set_setting()`` kept under this name."""

    def labels(self) -> list[tuple[str, str, str, bool]]:
        """Return what ``label()`` kept of items that are still there: words, path of the picture, item id, good."""

    def documents(
        self,
        *,
        ids: Sequence[str] | None = None,
        below: str | None = None,
        content_hash: str | None = None,
        status: Status | None = None,
        where: Filter | None = None,
    ) -> Iterator[Document]:
        """Yield documents by path: those with these ids, at or below this path, with this content, of this status,
        allowed by this filter (its ``modality``: that hold such an item).

        Conditions add up; without any, all documents. The cost is that of the documents that are found.
        """

    def items(self, ids: Sequence[str]) -> dict[str, Item]:
        """Return the items with these ids, by id; those that are gone or damaged are absent."""

    def items_of(self, document: str) -> list[Item]:
        """Return the items of the document with this id, in reading order."""

    def pictures(self, ids: Iterable[str]) -> list[str]:
        """Return the content hashes of the pictures that these documents show and no other document does."""

    def thumbnail(self, picture: str) -> bytes | None:
        """Return the JPEG of the picture with this content hash; None where there is none."""

    def original(self, document: str) -> bytes | None:
        """Return the content of the record with this document id as it was given; None for files."""

    def metadata_types(self, keys: Iterable[str], *, without: str | None = None) -> dict[str, MetadataType]:
        """Return the type of each of these keys that a document has, not counting the document ``without``."""

    def metadata_keys(self) -> dict[str, int]:
        """Return how many documents state each key of metadata, ``title`` among them; the most frequent key first."""

    def views(self, ids: Sequence[str]) -> dict[str, frozenset[str]]:
        """Return the partitions in which each of these items has a view (``lexical`` where it has words), by id; items
        that are gone are absent."""

    def known(self, partition: str, views: Sequence[str]) -> Mapping[str, NDArray[np.float32]]:
        """Return the vectors already held for these view hashes."""

    def count(self, where: Filter | None = None) -> int:
        """Return how many items ``where`` allows (default: all)."""

    def counts(self, *names: str) -> dict[str, dict[str, int]]:
        """Return how many ``documents`` (by status), ``items`` (by modality) and ``vectors`` (by partition) there are.

        ``names`` are those that are wanted (default: all).
        """


class StoreMaintenance(Protocol):
    """Upkeep of a store whose files are on this machine."""

    def checkpoint(self) -> None:
        """Bring the files on disk in line with what was committed, so that the next opening is fast."""

    def doctor(self, *, repair: bool = False) -> list[Finding]:
        """Return what is wrong with the files, the gravest first; ``repair`` mends what needs no embedding."""

    def vacuum(self) -> None:
        """Give back the room of what was removed."""

    def compress(self, recall: float | None) -> dict[str, Any]:
        """Search smaller rows that keep ``recall``; None: rows as they are. Returns the choice by partition."""

    def backup(self, file: Path) -> int:
        """Write the collection into one new file while it is used; return its bytes."""

    def restore(self, file: Path, *, replace: bool = False) -> None:
        """Put the collection of a backup in this one's place; ``replace`` is needed where this one holds documents."""

    def status(self) -> dict[str, Any]:
        """Return what each partition is searched with (``indexes``), and the other model (``shadow``)."""
