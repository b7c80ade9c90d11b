"""Stores hold documents, items, vectors and full text; they know nothing of encoders."""

from commonplace.store.base import Entry, Fault, Ranked, Store
from commonplace.store.database import abandoned
from commonplace.store.local import LocalStore
from commonplace.store.migration import Batch, Beside, Migration, give_up, other
from commonplace.store.opening import model_of

__all__ = [
    "Batch",
    "Beside",
    "Entry",
    "Fault",
    "LocalStore",
    "Migration",
    "Ranked",
    "Store",
    "abandoned",
    "give_up",
    "model_of",
    "other",
]
