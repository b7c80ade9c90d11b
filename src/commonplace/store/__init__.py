"""Stores hold documents, items, vectors and full text. They do not depend on encoders."""

from commonplace.store.base import (
    Capabilities,
    FileMaintenance,
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
from commonplace.store.migration import (
    Keyed,
    LocalModels,
    Migration,
    MigrationBatch,
    ModelMigration,
    Shadow,
    StoreModels,
    abort,
    other,
)
from commonplace.store.opening import model_of
from commonplace.store.options import StoreOptions
from commonplace.store.signatures import SIGNATURE_SIDE, array_of, signature_of
from commonplace.store.thumbnails import thumbnail_if_reached

__all__ = [
    "SIGNATURE_SIDE",
    "Capabilities",
    "FileMaintenance",
    "Finding",
    "Keyed",
    "LocalModels",
    "LocalStore",
    "MetadataTypeError",
    "Migration",
    "MigrationBatch",
    "ModelMigration",
    "RankedList",
    "Sample",
    "SearchStore",
    "Shadow",
    "Store",
    "StoreMaintenance",
    "StoreModels",
    "StoreOptions",
    "StoreSpace",
    "abandoned",
    "abort",
    "array_of",
    "model_of",
    "other",
    "signature_of",
    "thumbnail_if_reached",
]
