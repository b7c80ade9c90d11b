"""The methods of a Milvus store that read documents and items."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from commonplace.metadata import MetadataType
from commonplace.store.base import Capabilities, StoreSpace
from commonplace.store.milvus.models import Models
from commonplace.store.milvus.reading import Documents
from commonplace.store.milvus.searching import VectorSearch
from commonplace.store.milvus.snapshot import Snapshots
from commonplace.types import Document, Filter, Item, Status, ViewVectors

__all__ = ["MilvusReads"]


class MilvusReads:
    """Reads documents, items, views and counts; see ``commonplace.store.Store``. Thread-safe."""

    capabilities: Capabilities
    _documents: Documents
    _snapshots: Snapshots
    _vectors: VectorSearch
    _space: StoreSpace
    _tag: str
    models: Models

    def documents(
        self,
        *,
        ids: Sequence[str] | None = None,
        below: str | None = None,
        content_hash: str | None = None,
        status: Status | None = None,
        where: Filter | None = None,
    ) -> Iterator[Document]:
        """Yield the documents that meet all of the conditions, ordered by path; without conditions all documents."""
        return self._documents.find(ids, below, content_hash, status, where)

    def items(self, ids: Sequence[str]) -> dict[str, Item]:
        """Return the items with these ids, by id. Removed items are absent."""
        stored = self._documents.items(self._snapshots.recent(), ids)
        return {id_: stored[id_].item for id_ in ids if id_ in stored}

    def items_of(self, document: str) -> list[Item]:
        """Return the items of the document with this id, in reading order."""
        return [stored.item for stored in self._documents.items_of(self._snapshots.fresh(), document)]

    def pictures(self, ids: Iterable[str]) -> list[str]:
        """Return the content hashes of the pictures that occur in these documents and in no other document."""
        return self._documents.pictures(ids)

    def picture_sizes(self, pictures: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Return the original width and height in pixels of these pictures, by content hash."""
        items = self._documents.with_pictures(self._snapshots.fresh(), pictures)
        return {stored.item.picture: stored.size for stored in items if stored.item.picture and stored.size}

    def metadata_types(self, keys: Iterable[str], *, without: Iterable[str] = ()) -> dict[str, MetadataType]:
        """Return the type of each of these metadata keys that is in use, without counting the documents ``without``."""
        return self._documents.metadata_types(keys, without)

    def metadata_keys(self) -> dict[str, int]:
        """Return the number of documents that have each metadata key, ``title`` included; most frequent key first."""
        return self._documents.metadata_keys()

    def views(self, ids: Sequence[str]) -> dict[str, frozenset[str]]:
        """Return by item id the partitions in which the item has a view, and ``lexical`` if it has words."""
        snapshot = self._snapshots.recent()
        items = self._vectors.read_ahead(ids, snapshot, lambda: self._documents.items(snapshot, ids))
        words = {"lexical"} if self.capabilities.lexical else set[str]()
        if all(stored.tag == self._tag for stored in items.values()):
            partitions = set[str]()
        else:  # added with another model: an item may have a view in each partition
            partitions = snapshot.once("partitions", lambda: set(self.partitions()))
        return {
            id_: frozenset(
                {
                    *(stored.views if stored.tag == self._tag else partitions),
                    *(words if stored.item.text else ()),
                }
            )
            for id_, stored in items.items()
        }

    def views_of(self, ids: Sequence[str]) -> list[ViewVectors]:
        """Return all views of these items with their content hashes and vectors, one entry a partition."""
        snapshot = self._snapshots.fresh()
        by_partition = []
        for partition in self.partitions():
            rows = self._vectors.views_of(partition, ids, snapshot)
            if rows:
                vectors = np.array([vector for _, _, vector in rows], np.float32)
                items, views = tuple(row[0] for row in rows), tuple(row[1] for row in rows)
                by_partition.append(ViewVectors(partition, items, views, vectors))
        return by_partition

    def stored_vectors(self, partition: str, views: Sequence[str]) -> Mapping[str, NDArray[np.float32]]:
        """Return the vectors (dim,) that are already stored for these view hashes, by hash."""
        return self._documents.vectors_by_view(self._vectors.collection(partition), views)

    def count(self, where: Filter | None = None) -> int:
        """Return the number of items that ``where`` allows (default: all)."""
        return self._documents.count(self._snapshots.fresh(), where or Filter())

    def counts(self, *names: str) -> dict[str, dict[str, int]]:
        """Return the number of ``documents`` (by status), ``items`` (by modality) and ``vectors`` (by partition)."""
        return self._documents.counts(names, self.partitions())

    def partitions(self) -> dict[str, str]:
        """Return the Milvus collection of each partition that has vectors of this model, by partition."""
        return self.models.vectors(self._space.fingerprint or "")
