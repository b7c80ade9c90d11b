"""Stores hold documents, items, vectors and full text. They do not depend on encoders."""

from commonplace.store.base import (
    Capabilities,
    Finding,
    MetadataTypeError,
    RankedList,
    Sample,
    SearchStore,
    Store,
    StoreMaintenance,
    StoreSpace,
)
from commonplace.store.database import abandoned
from commonplace.store.local import LocalStore
from commonplace.store.migration import Migration, MigrationBatch, Shadow, abort, other
from commonplace.store.opening import model_of
from commonplace.store.options import StoreOptions

__all__ = [
    "Capabilities",
    "Finding",
    "LocalStore",
    "MetadataTypeError",
    "Migration",
    "MigrationBatch",
    "RankedList",
    "Sample",
    "SearchStore",
    "Shadow",
    "Store",
    "StoreMaintenance",
    "StoreOptions",
    "StoreSpace",
    "abandoned",
    "abort",
    "model_of",
    "other",
]
