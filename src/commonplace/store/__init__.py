"""Stores hold documents, items, vectors and full text; they know nothing of encoders."""

from commonplace.store.base import Entry, Fault, Ranked, Store
from commonplace.store.local import LocalStore

__all__ = ["Entry", "Fault", "LocalStore", "Ranked", "Store"]
