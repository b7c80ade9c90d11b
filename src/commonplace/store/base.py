"""The store protocol: the methods that retrieval, collections and evaluation need of a store, and nothing else.

To add a store, implement ``Store`` and run ``tests/store/contract.py`` over it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from commonplace.errors import CollectionError
from commonplace.i18n import _
from commonplace.metadata import Metadata, MetadataType, explain_differing
from commonplace.types import Document, Filter, Item, ParsedDocument, Status, ViewVectors

__all__ = [
    "Capabilities",
    "FileMaintenance",
    "Finding",
    "MetadataTypeError",
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
"""Returns the hubness correction (n,) of the vectors (n, dim) of a partition; None if there is none. It is subtracted
from a vector's inner product with a query of another modality."""

Prepare = Callable[[str, NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32] | None]]
"""Prepares vectors for search. The arguments are a partition's name and its raw vectors (n, dim). Returns the rows
(n, dim) that are searched, and their hubness offsets (n,) or None. Each row depends only on its own vector."""

Questions = Callable[[str, bool], NDArray[np.float32] | None]
"""Returns real query vectors (n, dim) for measuring recall, or None. The arguments are the partition and
``cross_modal``: whether the queries are of another modality than the partition."""


def _no_offset(partition: str, vectors: NDArray[np.float32]) -> None:
    return None


def _no_questions(partition: str, cross_modal: bool) -> None:
    return None


@dataclass(frozen=True, slots=True)
class StoreSpace:
    """Describes the embedding space whose vectors a local store holds.

    ``name`` is the model's name. ``fingerprint`` is the hash of every processing step from a view to its vector. With
    None the store opens with any model, for work that needs no vectors. ``dim`` is the number of dimensions. ``model``
    is the folder of the model, kept for the next opening; empty for the shipped model.

    ``offset`` returns hubness offsets of raw vectors. ``prepare`` replaces it where the searched rows also differ from
    the raw vectors. ``state`` is the version of the ranking state that both use. ``means`` are the model's document
    means (dim,) by modality. ``questions`` returns real query vectors for measuring recall. Without them only exact
    indexes are used.
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
    """A problem that ``doctor`` found: what it is, how often it occurs, and its remedy.

    ``repaired`` tells whether the remedy was already applied.
    """

    what: str
    count: int
    remedy: str
    repaired: bool = False


class MetadataTypeError(CollectionError):
    """A document has metadata keys that have another type in the collection, so nothing was stored.

    ``document`` is the id of the document. ``differing`` are these keys with their type in the collection.
    """

    def __init__(self, document: str, metadata: Metadata, differing: dict[str, MetadataType]) -> None:
        super().__init__(
            _("{document}: {reason}; nothing was stored").format(
                document=document, reason=explain_differing(metadata, differing)
            )
        )
        self.document, self.differing = document, differing


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The optional features of a store.

    ``lexical``: the store has full-text search (``search_text``). ``paths``: it has
    ``search_paths``. ``spelling``: it has ``occurrences``. ``exact_scores``: scores are exact inner products
    with the stored vectors; otherwise they are approximate. ``early_fusion``: the store has ``search_fused``,
    ``score_fused`` and ``sample_fused``. ``maintenance``: ``store.maintenance`` is not None. ``files``: the store keeps
    all its data in the collection's folder, so that a backup and a compression can be made there.
    ``guards_model``: opening the store raises ModelMismatch for a model that did not make its vectors. ``shared``:
    several machines add their files to it at once, so that a file that is missing here may exist elsewhere; the store's
    attribute ``address`` has the ``url`` and ``token`` by which another machine opens it. ``snapshots``: the store has
    ``snapshot``.
    """

    lexical: bool = True
    exact_scores: bool = True
    paths: bool = True
    spelling: bool = True
    early_fusion: bool = True
    maintenance: bool = True
    files: bool = True
    guards_model: bool = True
    shared: bool = False
    snapshots: bool = False


@dataclass(frozen=True, slots=True)
class RankedList:
    """A ranked list: item ids and raw scores (n,), best first. Equal scores are ordered by id; no item occurs twice.

    ``full_match_score`` is the raw score of a full match. For cosines it is 1. For words it is the BM25 score of an
    item of average length that contains each word of the query once. ``idf`` is then the inverse document frequency of
    each phrase of ``commonplace.text.query_words``, in nats. Stores set it for words only.

    Stores leave the other fields unset, and retrieval fills them in from a ``Sample``. ``count`` is the number of rows
    in the partition. ``mean`` and ``std`` are the mean and standard deviation of the query's scores over the sample.
    """

    ids: tuple[str, ...] = ()
    scores: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    full_match_score: float = 1.0
    count: int = 0
    mean: float = 0.0
    std: float = 0.0
    idf: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sample:
    """Evenly spaced rows of a partition: ``vectors`` (n, dim), their hubness ``offsets`` (n,) or None, and ``total``,
    the number of rows in the whole partition."""

    vectors: NDArray[np.float32]
    offsets: NDArray[np.float32] | None = None
    total: int = 0


class SearchStore(Protocol):
    """The part of a store that a search calls from parallel threads."""

    def snapshot(self) -> AbstractContextManager[None]:
        """Return a context manager in which this thread reads one state of the store, whatever is written meanwhile.

        It may be nested. Nothing is written within it, and no model is run: writers may have to wait for its end.
        Requires ``capabilities.snapshots``.
        """

    def search(
        self, partition: str, query: NDArray[np.float32], k: int, where: Filter, *, cross_modal: bool = False
    ) -> RankedList:
        """Return the ``k`` items of ``partition`` whose best view has the highest inner product with ``query`` (dim,).

        ``cross_modal`` subtracts each vector's hubness offset, where the partition has offsets. Equal scores are
        ordered by id. If several items tie for the last place, the store chooses which of them to list.
        """

    def search_text(self, text: str, k: int, where: Filter) -> RankedList:
        """Return the ``k`` items with the highest BM25 score for any word of ``text``.

        Requires ``capabilities.lexical``.
        """

    def search_paths(self, text: str, k: int, where: Filter) -> RankedList:
        """Return the ``k`` documents whose path has the highest BM25 score for any word of ``text``.

        Each is represented by the first of its items that ``where`` allows. Requires ``capabilities.paths``.
        """

    def occurrences(self, phrases: Sequence[str]) -> dict[str, int]:
        """Return how many texts and paths contain each of these words or phrases, without those that occur nowhere.

        Signs between the words do not count: *o brien* occurs in *O'Brien*. Requires ``capabilities.spelling``.
        """

    def search_fused(self, query: NDArray[np.float32], k: int, where: Filter, alpha: float | None) -> RankedList:
        """Return the ``k`` best items by early fusion: each item has one vector, made of its text and image views.

        With ``alpha`` in [0, 1] the vector is ``alpha`` text + (1 - ``alpha``) image, normalised. With None the views
        are concatenated. An item with one view is represented by that view alone.

        The mean of its modality is subtracted from each view first. The caller should do the same with ``query``:
        otherwise the modality gap decides the ranking. This method, ``score_fused()`` and ``sample_fused()`` require
        ``capabilities.early_fusion``.
        """

    def score(
        self, partition: str, query: NDArray[np.float32], ids: Sequence[str], *, cross_modal: bool = False
    ) -> NDArray[np.float64]:
        """Return the scores (n,) that ``search()`` would give these items; NaN if an item has no view there."""

    def score_fused(
        self, query: NDArray[np.float32], ids: Sequence[str], *, alpha: float | None
    ) -> NDArray[np.float64]:
        """Return the scores (n,) that ``search_fused()`` would give these items."""

    def vectors(self, partition: str, ids: Sequence[str]) -> NDArray[np.float32]:
        """Return one vector for each item, as an array (n, dim).

        It is the vector of one of the item's views in the partition, always of the same view. An item without a view
        there has zeros.
        """

    def signatures(self, pictures: Sequence[str]) -> dict[str, bytes]:
        """Return the signatures of pictures by content hash: ``signature_of`` their thumbnails, made when added.

        Pictures without a readable thumbnail are absent or have an empty signature. A search reads those of all its
        candidates in one call.
        """

    def sample(self, partition: str, n: int) -> Sample:
        """Return about ``n`` evenly spaced rows of a partition, the same ones until the collection changes.

        Every search needs the sample, so the store reads about ``n`` rows once and keeps them.
        """

    def sample_fused(self, n: int, *, alpha: float | None) -> Sample:
        """Return a sample like ``sample()``, of the early-fused rows that ``search_fused()`` scores."""


class Store(SearchStore, Protocol):
    """Documents, items, vectors and full text of one collection. Ids are strings.

    Every writing method is one atomic transaction. Reads that begin afterwards see its result; in an eventually
    consistent store they see it some time later. Methods raise CollectionError if the store cannot be read or written,
    and after ``close()``.
    """

    @property
    def capabilities(self) -> Capabilities:
        """The optional features of this store."""

    @property
    def maintenance(self) -> StoreMaintenance | None:
        """Maintenance of the store; None if it is looked after elsewhere. A ``FileMaintenance`` if it has files."""

    def close(self) -> None:
        """Close the store; any use afterwards raises CollectionError."""

    # --- writing ---------------------------------------------------------------------------------------------

    def add(
        self, parsed: Sequence[ParsedDocument], vectors: Sequence[ViewVectors], replaces: Sequence[str] = ()
    ) -> None:
        """Add complete documents with the vectors of their items.

        The same transaction removes earlier versions of the documents, and the documents with the ids ``replaces``.
        Raises CollectionError, and stores nothing, if a vector has the wrong length or contains a value that is not a
        finite number. Raises MetadataTypeError, and stores nothing, if a key would get a second type. A store that is
        eventually consistent may leave out this check: then concurrent calls can give a key two types.
        """

    def update(self, documents: Sequence[Document]) -> None:
        """Update status, error and stamp of documents and keep their items. New documents are added without items."""

    def remove(self, ids: Iterable[str]) -> int:
        """Remove the documents with these ids and everything that belongs to them; return the number removed."""

    def set_setting(self, name: str, value: str | None) -> None:
        """Store a text under a name. It is valid for as long as this model is in use; None deletes it."""

    def label(self, text: str, image: str, item: str, good: bool) -> None:
        """Store a relevance label: whether an item answers a query.

        The query is its words and the path of its picture; either may be empty. A newer label for the same query and
        item replaces the older one.
        """

    # --- reading ---------------------------------------------------------------------------------------------

    def setting(self, name: str) -> str | None:
        """Return the text that ``set_setting()`` stored under this name; None if there is none."""

    def settings(self) -> dict[str, str]:
        """Return all texts that ``set_setting()`` stored, by name."""

    def labels(self) -> list[tuple[str, str, str, bool]]:
        """Return the labels of items that still exist: words, path of the picture, item id, whether it is relevant."""

    def documents(
        self,
        *,
        ids: Sequence[str] | None = None,
        below: str | None = None,
        content_hash: str | None = None,
        status: Status | None = None,
        where: Filter | None = None,
    ) -> Iterator[Document]:
        """Yield the documents that meet all of the conditions, ordered by path; without conditions all documents.

        The conditions are ids, a path at or ``below`` which documents lie, content hash, status and a filter. The
        filter's ``modality`` selects documents that contain such an item. The cost grows with the number of documents
        that match, not with the size of the collection.
        """

    def items(self, ids: Sequence[str]) -> dict[str, Item]:
        """Return the items with these ids, by id. Removed and damaged items are absent."""

    def items_of(self, document: str) -> list[Item]:
        """Return the items of the document with this id, in reading order."""

    def pictures(self, ids: Iterable[str]) -> list[str]:
        """Return the content hashes of the pictures that occur in these documents and in no other document."""

    def thumbnail(self, picture: str) -> bytes | None:
        """Return the JPEG of the picture with this content hash; None if there is none."""

    def picture_sizes(self, pictures: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Return the original width and height of pictures in pixels, by content hash.

        Removed pictures are absent, and those whose size the store does not keep.
        """

    def original(self, document: str) -> bytes | None:
        """Return the original content of the record with this document id; None for files."""

    def metadata_types(self, keys: Iterable[str], *, without: Iterable[str] = ()) -> dict[str, MetadataType]:
        """Return the type of each of these metadata keys that is in use, without counting the documents ``without``."""

    def metadata_keys(self) -> dict[str, int]:
        """Return the number of documents that have each metadata key, ``title`` included; most frequent key first."""

    def views(self, ids: Sequence[str]) -> dict[str, frozenset[str]]:
        """Return by item id the partitions in which the item has a view, and ``lexical`` if it has words.

        Removed items are absent.
        """

    def views_of(self, ids: Sequence[str]) -> list[ViewVectors]:
        """Return all views of the items with these ids: one entry for each partition that has a row, ordered by name.

        Its vectors (rows, dim) are the ones that were added. Its rows are ordered by item id and view. Removed items
        are absent, and views whose vector is damaged.
        """

    def stored_vectors(self, partition: str, views: Sequence[str]) -> Mapping[str, NDArray[np.float32]]:
        """Return the vectors (dim,) that are already stored for these view hashes, by hash."""

    def count(self, where: Filter | None = None) -> int:
        """Return the number of items that ``where`` allows (default: all)."""

    def counts(self, *names: str) -> dict[str, dict[str, int]]:
        """Return the number of ``documents`` (by status), ``items`` (by modality) and ``vectors`` (by partition).

        ``names`` selects among these three (default: all).
        """


class StoreMaintenance(Protocol):
    """Maintenance of what can be looked after from this machine."""

    def paths(self) -> Sequence[Path]:
        """Return the files and folders of this machine that belong to the store; nothing else is written there."""

    def checkpoint(self) -> None:
        """Finish what commits left to do later, so that the next opening and the next search are fast."""

    def doctor(self, *, repair: bool = False) -> list[Finding]:
        """Return the problems of the store, the most serious first. ``repair`` rebuilds what needs no embedding."""

    def vacuum(self) -> None:
        """Free the space of removed data, and of the vectors that a migration kept for an undo."""

    def status(self) -> dict[str, Any]:
        """Return the state of each partition's index (``indexes``), and the other model if any (``shadow``)."""

    def compress(self, recall: float | None) -> dict[str, Any]:
        """Search with the smallest kind of row or index that reaches ``recall`` (0 to 1); None turns compression off.

        Returns the chosen kind by partition.
        """


class FileMaintenance(StoreMaintenance, Protocol):
    """Maintenance of a store with ``capabilities.files``: all its data is in a folder of this machine."""

    def backup(self, file: Path) -> int:
        """Write the collection into one new file while it is in use; return the file's size in bytes."""

    def restore(self, file: Path, *, replace: bool = False) -> None:
        """Replace this collection with a backup. ``replace`` is required if this collection contains documents."""
