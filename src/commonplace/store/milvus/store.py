"""The Milvus store: documents, items and vectors in a Milvus server, pictures and contents in a blob store."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from commonplace.errors import CollectionError
from commonplace.i18n import _
from commonplace.metadata import FILE_KEYS, differing_types
from commonplace.store.base import Capabilities, MetadataTypeError, StoreSpace
from commonplace.store.milvus.address import MilvusAddress
from commonplace.store.milvus.blobs import Blobs, is_blob_name
from commonplace.store.milvus.connection import Connection
from commonplace.store.milvus.fused_search import FusedSearch
from commonplace.store.milvus.layout import Layout
from commonplace.store.milvus.maintenance import MEASURED, MilvusMaintenance
from commonplace.store.milvus.models import SCHEMA, Models, ModelSettings, check_current, check_model, facts_of
from commonplace.store.milvus.read_methods import MilvusReads
from commonplace.store.milvus.reading import Documents
from commonplace.store.milvus.records import Records
from commonplace.store.milvus.rows import StoredDocument, key_of, tag_of
from commonplace.store.milvus.search_methods import MilvusSearch
from commonplace.store.milvus.searching import FilteredSearch, Samples, VectorSearch
from commonplace.store.milvus.snapshot import Snapshots
from commonplace.store.milvus.sweeping import ORIGINALS, PICTURES, Sweeper
from commonplace.store.milvus.word_search import WordSearch
from commonplace.store.milvus.writing import Writer
from commonplace.store.signatures import signature_of
from commonplace.store.thumbnails import thumbnail_if_reached
from commonplace.store.writing import check_vectors
from commonplace.types import Document, ParsedDocument, ViewVectors, stable_id

__all__ = ["MilvusStore"]

log = logging.getLogger("commonplace")


class MilvusStore(MilvusReads, MilvusSearch):
    """A store in a Milvus server, a cluster, or a Milvus Lite file; see ``commonplace.store.Store``. Thread-safe.

    Any number of processes on any number of machines may read and write at once. A write is visible to every read that
    begins after it. ``blobs`` hold pictures and contents of records; without them only texts of files can be added.
    With ``exact`` new partitions are searched without an approximate index.

    Raises ModelMismatch if the collection was made with another model, VersionError if it has another schema, and
    CollectionError if the server cannot be used.
    """

    def __init__(
        self, address: MilvusAddress, space: StoreSpace, *, blobs: Blobs | None = None, exact: bool = False
    ) -> None:
        self.address = address
        self._space = space
        self._connection = Connection(address)
        try:
            self._layout = Layout(self._connection, exact=exact)
            self._open(blobs)
            self.maintenance = MilvusMaintenance(
                self._connection, self._snapshots, self._sweeper, self._vectors, self.models, self._settings, space
            )
            self.maintenance.use_measured()
        except BaseException:
            self._connection.close()
            raise
        features = self._connection.features
        self.capabilities = Capabilities(
            paths=False,
            spelling=False,
            lexical=features.sparse,
            files=False,
            guards_model=True,
            shared=not address.is_lite,
        )

    def _open(self, blobs: Blobs | None) -> None:
        space = self._space
        model = {"schema": SCHEMA, "model": space.name, "place": space.model, "dim": str(space.dim)}
        if space.fingerprint is not None:
            model["fingerprint"] = space.fingerprint
        self._layout.create({**model, "tenants": "yes" if self.address.tenant else "no"})
        properties = self._layout.properties()
        if properties.get("tenants", "no") != ("yes" if self.address.tenant else "no"):
            raise CollectionError(
                _("{url} is divided among tenants: add ?tenant=NAME").format(url=self.address.url)
                if not self.address.tenant
                else _("{url} is not divided among tenants: leave out ?tenant, or use another name").format(
                    url=self.address.url
                )
            )
        check_model(self.address, space, properties)
        if blobs is not None:
            blobs.mark()
            if not properties.get("blobs"):  # the first URL is the one that all machines use
                self._layout.set_properties({"blobs": blobs.url})
        if blobs is None:
            blobs = _usual_blobs(self.address, properties)
        if blobs is not None and self.address.tenant:
            blobs = blobs.below(self.address.tenant)
        connection, layout = self._connection, self._layout
        self._records = Records(connection, layout)
        self._snapshots = Snapshots(connection, layout, self._records, partial(check_current, self.address, space))
        fingerprint = space.fingerprint or facts_of(properties, self.address.tenant)["fingerprint"]
        self._tag = tag_of(fingerprint)
        self._settings = ModelSettings(self._records, self._snapshots, fingerprint)
        self.models = Models(connection, layout, self._records)
        self._sweeper = Sweeper(connection, layout, self._records, self._snapshots, blobs)
        self._writer = Writer(connection, layout, self._records, self._snapshots, self._sweeper, space)
        self._documents = Documents(connection, layout, self._records, self._snapshots)
        filtered, samples = FilteredSearch(self._documents, self._snapshots), Samples(connection)
        self._vectors = VectorSearch(connection, layout, self._snapshots, filtered, samples, space)
        self._words = WordSearch(connection, layout, self._snapshots, filtered, samples)
        self._fused = FusedSearch(layout, self._snapshots, self._vectors, samples, space)

    @classmethod
    def exists(cls, address: MilvusAddress) -> bool:
        """Return whether there is a collection at this address. Raises CollectionError if no server answers."""
        with _connected(address) as layout:
            return layout.exists()

    @classmethod
    def model_of(cls, address: MilvusAddress) -> str:
        """Return the place of the collection's model; empty for the shipped model or if there is no collection."""
        with _connected(address) as layout:
            return facts_of(layout.properties(), address.tenant)["place"] if layout.exists() else ""

    def close(self) -> None:
        """Close the store; any use afterwards raises CollectionError."""
        self._snapshots.release()
        self._connection.close()

    # --- writing ---------------------------------------------------------------------------------------------

    def add(
        self, parsed: Sequence[ParsedDocument], vectors: Sequence[ViewVectors], replaces: Sequence[str] = ()
    ) -> None:
        """Add complete documents with the vectors of their items; see ``commonplace.store.Store.add()``.

        Each document is replaced as a whole. If the call is cut off, some of its documents may be added and others not.
        """
        for rows in vectors:
            check_vectors(rows, parsed, self._space.dim)
        self._check_types([document.document for document in parsed])
        self._writer.add(parsed, vectors, replaces)

    def _check_types(self, documents: Sequence[Document]) -> None:
        keys = {key for document in documents for key in document.metadata.types()} - FILE_KEYS.keys()
        if not keys:
            return
        used = self.metadata_types(sorted(keys), without=[document.id for document in documents])
        metadata = {document.id: document.metadata for document in documents}
        for id_, differing in differing_types(metadata.items(), used):
            raise MetadataTypeError(id_, metadata[id_], differing)

    def update(self, documents: Sequence[Document]) -> None:
        """Update status, error and stamp of documents and keep their items. New documents are added without items."""
        self._writer.update(documents)

    def remove(self, ids: Iterable[str]) -> int:
        """Remove the documents with these ids and everything that belongs to them; return the number removed."""
        return self._writer.remove(ids)

    def set_setting(self, name: str, value: str | None) -> None:
        """Store a text under a name. It is valid for as long as this model is in use; None deletes it."""
        self._settings.put(name, value)

    def label(self, text: str, image: str, item: str, good: bool) -> None:
        """Store a relevance label; see ``commonplace.store.Store.label()``."""
        body = {"text": text, "image": image, "item": item, "good": good}
        self._records.put("label", stable_id(text, image, item), body, self._snapshots.fresh().since)
        self._snapshots.publish()

    # --- reading ---------------------------------------------------------------------------------------------

    def setting(self, name: str) -> str | None:
        """Return the text that ``set_setting()`` stored under this name; None if there is none."""
        return self.settings().get(name)

    def settings(self) -> dict[str, str]:
        """Return all texts that ``set_setting()`` stored, by name."""
        return {name: value for name, value in self._settings.all().items() if name != MEASURED}

    def labels(self) -> list[tuple[str, str, str, bool]]:
        """Return the labels of items that still exist: words, path of the picture, item id, whether it is relevant."""
        since = self._snapshots.fresh().since
        rows = sorted(self._records.of_kind("label", since), key=lambda row: (row["text"], row["image"], row["item"]))
        existing = self.items([row["item"] for row in rows])
        return [(row["text"], row["image"], row["item"], bool(row["good"])) for row in rows if row["item"] in existing]

    def thumbnail(self, picture: str) -> bytes | None:
        """Return the JPEG of the picture with this content hash; None if there is none."""
        self._connection.check_open()
        blobs = self._sweeper.blobs
        return blobs.get(PICTURES, picture) if blobs is not None and is_blob_name(picture) else None

    def signatures(self, pictures: Sequence[str]) -> dict[str, bytes]:
        """Return the signatures of pictures, by content hash; they are kept with the items that show them."""
        items = self._documents.with_pictures(self._snapshots.recent(), pictures)
        kept = {stored.item.picture: stored.signature for stored in items if stored.item.picture and stored.signature}
        others = {stored.item.picture for stored in items if stored.item.picture} - kept.keys()
        # Items of earlier versions have none.
        return kept | {name: signature_of(thumbnail_if_reached(self, name)) for name in others}

    def original(self, document: str) -> bytes | None:
        """Return the original content of the record with this document id; None for files."""
        stored = self._document(document)
        blobs = self._sweeper.blobs
        if stored is None or stored.original is None or blobs is None:
            return None
        return blobs.get(ORIGINALS, stored.original)

    def _document(self, id_: str) -> StoredDocument | None:
        key = key_of(id_)
        return self._snapshots.fresh().documents([key]).get(key)


def _usual_blobs(address: MilvusAddress, properties: Mapping[str, str]) -> Blobs | None:
    """Return the blobs that a collection remembers; for a Milvus Lite file by default those beside it."""
    if properties.get("blobs"):
        blobs = Blobs.open(properties["blobs"])
        if blobs.is_trusted:
            return blobs
        log.warning(
            "%s keeps its pictures in %s, which is no folder of blobs on this machine: give it with --blobs URL",
            address.url,
            blobs.url,
        )
        return None
    return Blobs.open(f"{address.uri}.blobs").below(address.name) if address.is_lite else None


@contextmanager
def _connected(address: MilvusAddress) -> Iterator[Layout]:
    connection = Connection(address)
    try:
        yield Layout(connection, exact=False)
    finally:
        connection.close()
