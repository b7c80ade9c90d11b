"""Stores hold documents, items, vectors and full text; they know nothing of encoders."""

from commonplace.store.base import Entry, Finding, RankedList, Store
from commonplace.store.database import abandoned
from commonplace.store.local import LocalStore
from commonplace.store.migration import Batch, Migration, Shadow, abort, other
from commonplace.store.opening import model_of

__all__ = [
    "Batch",
    "Entry",
    "Finding",
    "LocalStore",
    "Migration",
    "RankedList",
    "Shadow",
    "Store",
    "abandoned",
    "abort",
    "model_of",
    "other",
]
