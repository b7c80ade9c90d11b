"""Stores hold documents, items, vectors and full text; they know nothing of encoders."""

from commonplace.store.base import Entry, Finding, RankedList, Store
from commonplace.store.database import abandoned
from commonplace.store.local import LocalStore
from commonplace.store.migration import Batch, Migration, Shadow, abort, other
from commonplace.store.opening import model_of
from commonplace.store.options import StoreOptions

__all__ = [
    "Batch",
    "Entry",
    "Finding",
    "LocalStore",
    "Migration",
    "RankedList",
    "Shadow",
    "Store",
    "StoreOptions",
    "abandoned",
    "abort",
    "model_of",
    "other",
]
