"""The Milvus collections of a Commonplace collection: their names, fields, indexes and properties."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from time import monotonic
from typing import Any, TypeVar

from commonplace.errors import CollectionError
from commonplace.store.milvus.connection import Connection, client_class
from commonplace.store.milvus.indexes import KINDS, IndexKind, kind_for
from commonplace.types import stable_id

__all__ = ["BODY", "WORDS_AT_MOST", "Layout"]

T = TypeVar("T")

Fields = Callable[[Any, Any], None]
"""Adds fields to a schema and their indexes to index parameters."""
BODY = 60_000
"""Maximum bytes of one text field. Servers allow 65,535 bytes, not characters."""
FRESH = 10.0  # seconds for which the properties of a collection of vectors are kept
INDEX_SECONDS = 600.0  # time limit for building an index of up to 60,000 rows; more rows have more
WORDS_AT_MOST = 4096  # of one item: number of different words that are indexed
NO_INDEX = re.compile("index not found|no vector index")
"""What a server says where a collection without its indexes is loaded."""
PREFIX = "commonplace."
"""What the names of our properties begin with."""
_lite_lock = threading.Lock()  # Milvus Lite fails where two threads change properties at once
_ID, _NAME, _PATH = 1024, 512, 65_535


class Layout:
    """Creates and names the Milvus collections of one Commonplace collection.

    ``NAME`` holds documents, settings, labels, and the intents of writers. ``NAME__items`` holds the items with their
    words. Each partition of vectors has one collection for each model, named by a hash of the model's fingerprint.
    """

    def __init__(self, connection: Connection, *, exact: bool) -> None:
        self._connection = connection
        self._new_kind = kind_for(0, connection.features, exact=exact)
        self.name = connection.address.name
        self.items = f"{self.name}__items"
        self._ready: set[str] = set()
        self.new_rows: dict[str, int] = {}
        """Numbers of rows that this process has written to collections of vectors, since they were sealed."""
        self._of_vectors: dict[str, tuple[float, dict[str, str]]] = {}

    def vectors(self, partition: str, fingerprint: str, dim: int) -> str:
        """Return the name of the collection with a partition's vectors. The collection may not exist yet."""
        safe = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in partition)
        return f"{self.name}__{safe[:40]}__{stable_id(partition, fingerprint, str(dim))[:12]}"

    def of_vectors(self) -> list[str]:
        """Return the names of all collections with vectors, of every model."""
        names = self._connection.call("list_collections")
        ours = sorted(name for name in names if name.startswith(f"{self.name}__") and name != self.items)
        return [name for name in ours if self._is_usable(name) and self.partition(name)]

    def _is_usable(self, name: str) -> bool:
        """Return whether a Milvus collection can be read. One that is just being created holds no rows yet."""
        try:
            return self.is_there(name)
        except CollectionError as problem:
            if NO_INDEX.search(str(problem)):
                return False
            raise

    def partition(self, name: str) -> str:
        """Return the partition whose vectors a collection holds; empty if another program made the collection."""
        return self._kept_properties(name).get("partition", "")

    def model(self, name: str) -> str:
        """Return the fingerprint of the model that made the vectors of a collection."""
        return self._kept_properties(name).get("fingerprint", "")

    def computed_with(self, name: str) -> tuple[int, str]:
        """Return the dimensions of a collection's vectors, and the ranking state that their hubness offsets are of."""
        properties = self._kept_properties(name)
        return int(properties.get("dim", "0")), properties.get("state", "")

    def index_kind(self, name: str) -> IndexKind:
        """Return the kind of the index of a collection's vectors."""
        return KINDS.get(self._kept_properties(name).get("index", ""), KINDS["FLAT"])

    def _kept_properties(self, name: str) -> dict[str, str]:
        read_at, properties = self._of_vectors.get(name, (0.0, {}))
        if monotonic() - read_at > FRESH:  # another process may have changed the index
            properties = self.properties(name)
            self._of_vectors[name] = (monotonic(), properties)
        return properties

    def change_index(self, name: str, kind: IndexKind, rows: int) -> None:
        """Build another kind of index for a collection's vectors. Until it is built, no process can search them."""
        limit = max(INDEX_SECONDS, rows / 100)
        self._connection.call("release_collection", name, timeout=limit)
        self._connection.call("drop_index", name, "vector")
        indexes = client_class().prepare_index_params()
        indexes.add_index(
            "vector", index_type=kind.name, metric_type="IP", params=kind.build_parameters(rows), index_name="vector"
        )
        self._connection.call("create_index", name, indexes, timeout=limit)
        self._connection.call("alter_collection_properties", name, {f"{PREFIX}index": kind.name})
        self._of_vectors.pop(name, None)
        self._connection.call("load_collection", name, timeout=limit)

    # --- properties ------------------------------------------------------------------------------------------

    def properties(self, name: str | None = None) -> dict[str, str]:
        """Return our properties of a Milvus collection, without the prefix of their names."""
        described = self._connection.call("describe_collection", name or self.name)
        properties = described.get("properties") or {}
        return {key.removeprefix(PREFIX): str(value) for key, value in properties.items() if key.startswith(PREFIX)}

    def set_properties(self, values: Mapping[str, str]) -> None:
        """Change some of our properties; the others stay."""
        properties = {PREFIX + key: value for key, value in values.items()}
        with _lite_lock if self._connection.features.lite else nullcontext():
            self._connection.call("alter_collection_properties", self.name, properties)

    # --- collections -----------------------------------------------------------------------------------------

    def exists(self, name: str | None = None) -> bool:
        """Return whether the Commonplace collection, or the Milvus collection with this name, exists."""
        return bool(self._connection.call("has_collection", name or self.name))

    def create(self, properties: Mapping[str, str]) -> None:
        """Create what does not exist yet, and load it. Processes that do this at the same time do no harm."""
        kinds: list[tuple[str, Fields, Mapping[str, str]]] = [
            (self.name, self._document_fields, properties),
            (self.items, self._item_fields, {}),
        ]
        _in_parallel(lambda kind: self._ensure(*kind), kinds)

    def create_vectors(self, partitions: Iterable[str], fingerprint: str, state: str, dim: int) -> None:
        """Create and load the collections of these partitions' vectors, where they do not exist."""

        def ensure(partition: str) -> None:
            properties = {"partition": partition, "fingerprint": fingerprint, "state": state, "dim": str(dim)}
            properties["index"] = self._new_kind.name
            name = self.vectors(partition, fingerprint, dim)
            self._ensure(name, lambda schema, indexes: self._vector_fields(schema, indexes, dim), properties)

        _in_parallel(ensure, partitions)

    def _ensure(self, name: str, fields: Fields, properties: Mapping[str, str]) -> None:
        if name in self._ready:
            return
        if not self._connection.call("has_collection", name):
            self._create(name, fields, properties)
        try:
            self.load(name)
        except CollectionError as problem:
            if not NO_INDEX.search(str(problem)):
                raise
            self._create_indexes(name, fields)  # the process that created it was killed, or is slower
            self.load(name)

    def is_there(self, name: str) -> bool:
        """Return whether a Milvus collection exists; it is loaded then."""
        if name not in self._ready and self._connection.call("has_collection", name):
            self.load(name)
        return name in self._ready

    def drop(self, name: str) -> None:
        """Drop a Milvus collection, with its rows."""
        self._connection.call("drop_collection", name)
        self._ready.discard(name)

    def load(self, name: str) -> None:
        """Load a Milvus collection, so that it can be read."""
        if name not in self._ready:
            self._connection.call("load_collection", name, timeout=10 * self._connection.address.timeout)
            self._ready.add(name)

    def _create(self, name: str, fields: Fields, properties: Mapping[str, str]) -> None:
        schema = client_class().create_schema(auto_id=False, enable_dynamic_field=False)
        fields(schema, client_class().prepare_index_params())
        options: dict[str, Any] = {"properties": {PREFIX + key: value for key, value in properties.items()}}
        if self._connection.address.tenant:
            options["num_partitions"] = 16
        try:
            self._connection.call("create_collection", name, schema=schema, consistency_level="Bounded", **options)
        except Exception:
            if not self._connection.call("has_collection", name):  # another process may have been faster
                raise
        self._create_indexes(name, fields)

    def _create_indexes(self, name: str, fields: Fields) -> None:
        """Create the indexes of an empty collection."""
        indexes = client_class().prepare_index_params()
        fields(client_class().create_schema(auto_id=False, enable_dynamic_field=False), indexes)
        self._connection.call("create_index", name, indexes, sync=False)

    def _document_fields(self, schema: Any, indexes: Any) -> None:
        from pymilvus import DataType

        self._common_fields(schema, indexes)
        for name, length in (("kind", 16), ("content_hash", 128), ("status", 16)):
            schema.add_field(name, DataType.VARCHAR, max_length=length)
        for name in ("kind", "content_hash"):
            self._index(indexes, name)
        schema.add_field("body", DataType.VARCHAR, max_length=_PATH)
        # Servers want a vector in each collection.
        schema.add_field("anchor", DataType.FLOAT_VECTOR, dim=2)
        indexes.add_index("anchor", index_type="FLAT", metric_type="L2")

    def _item_fields(self, schema: Any, indexes: Any) -> None:
        from pymilvus import DataType

        self._common_fields(schema, indexes)
        for name, length in (("item", _NAME), ("modality", 64), ("picture", 128)):
            schema.add_field(name, DataType.VARCHAR, max_length=length)
            self._index(indexes, name)
        schema.add_field("place", DataType.INT64)
        schema.add_field("length", DataType.INT64)
        schema.add_field("body", DataType.VARCHAR, max_length=_PATH)
        if self._connection.features.sparse:
            schema.add_field("terms", DataType.ARRAY, element_type=DataType.INT64, max_capacity=WORDS_AT_MOST)
            schema.add_field("words", DataType.SPARSE_FLOAT_VECTOR)
            indexes.add_index("words", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
            if not self._connection.features.lite:
                indexes.add_index("terms", index_type="INVERTED")
        else:
            schema.add_field("anchor", DataType.FLOAT_VECTOR, dim=2)
            indexes.add_index("anchor", index_type="FLAT", metric_type="L2")

    def _vector_fields(self, schema: Any, indexes: Any, dim: int) -> None:
        from pymilvus import DataType

        self._common_fields(schema, indexes)
        for name, length in (("item", _NAME), ("modality", 64), ("view", 128)):
            schema.add_field(name, DataType.VARCHAR, max_length=length)
            self._index(indexes, name)
        schema.add_field("place", DataType.INT64)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim + 1)
        parameters = self._new_kind.build_parameters(0)
        indexes.add_index(
            "vector", index_name="vector", index_type=self._new_kind.name, metric_type="IP", params=parameters
        )

    def _common_fields(self, schema: Any, indexes: Any) -> None:
        """Add the primary key, what a row belongs to, and the fields that filters use."""
        from pymilvus import DataType

        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=_ID)
        is_shared = bool(self._connection.address.tenant)
        schema.add_field("tenant", DataType.VARCHAR, max_length=64, is_partition_key=is_shared)
        for name, length in (("document", _NAME), ("generation", 64), ("media_type", 1024), ("path", _PATH)):
            schema.add_field(name, DataType.VARCHAR, max_length=length)
        self._index(indexes, "document")
        schema.add_field("filters", DataType.JSON)

    def _index(self, indexes: Any, field: str) -> None:
        kind = "INVERTED" if self._connection.features.inverted else "Trie"
        indexes.add_index(field, index_type=kind)


def _in_parallel(function: Callable[[T], None], values: Iterable[T]) -> None:
    """Call a function for each value at once: loading a collection takes a server seconds."""
    values = list(values)
    with ThreadPoolExecutor(max_workers=max(len(values), 1)) as pool:
        list(pool.map(function, values))
