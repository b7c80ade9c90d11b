"""Stores hold documents, items, vectors and full text; they know nothing of encoders."""

from commonplace.store.base import Entry, Ranked, Store
from commonplace.store.local import LocalStore

__all__ = ["Entry", "LocalStore", "Ranked", "Store"]
