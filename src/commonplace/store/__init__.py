"""Stores hold documents, items, vectors and full text; they know nothing of encoders."""

from commonplace.store.base import Capabilities, Finding, Maintenance, RankedList, Sample, SearchStore, Store
from commonplace.store.database import abandoned
from commonplace.store.local import LocalStore
from commonplace.store.migration import Batch, Migration, Shadow, abort, other
from commonplace.store.opening import model_of
from commonplace.store.options import StoreOptions

__all__ = [
    "Batch",
    "Capabilities",
    "Finding",
    "LocalStore",
    "Maintenance",
    "Migration",
    "RankedList",
    "Sample",
    "SearchStore",
    "Shadow",
    "Store",
    "StoreOptions",
    "abandoned",
    "abort",
    "model_of",
    "other",
]
