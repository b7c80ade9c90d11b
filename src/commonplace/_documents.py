"""Documents of a collection by name: found and removed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from commonplace._session import Parts
from commonplace.errors import CollectionError, QueryError
from commonplace.indexer import display_path
from commonplace.types import Document, Item

__all__ = ["contains", "describe", "find", "remove"]


def find(parts: Parts, name: str | os.PathLike[str]) -> Item | Document:
    """Return an item or a document by name; see :meth:`commonplace.Collection.find`."""
    item = parts.store.item(str(name))
    if item is not None:
        return item
    documents = _named(name, parts.store.documents())
    if len(documents) > 1:
        raise CollectionError(f"{len(documents)} documents of this collection are below {name}: name one of them")
    return documents[0]


def remove(parts: Parts, names: Sequence[str | os.PathLike[str]], missing: bool) -> int:
    """Remove documents by name; see :meth:`commonplace.Collection.remove`."""
    documents = parts.store.documents()
    ids = [document.id for document in documents if missing and document.is_file and not os.path.lexists(document.path)]
    for name in names:
        if not str(name):
            raise QueryError("a name to remove is empty: say which document or folder")
        ids += [document.id for document in _named(name, documents)]
    parts.crops.remove(ids)
    count = parts.store.remove(dict.fromkeys(ids))
    parts.crops.prune()
    return count


def _named(name: str | os.PathLike[str], documents: Iterable[Document]) -> list[Document]:
    """Return the documents with this path or id, or below this folder. Raises CollectionError where there are none."""
    path = display_path(name)
    below = path.rstrip(os.sep) + os.sep
    matches = [
        document
        for document in documents
        if str(name) in (document.id, document.path) or document.path == path or document.path.startswith(below)
    ]
    if not matches:
        raise CollectionError(f"no document of this collection is {name}: see `commonplace list`")
    return matches


def contains(parts: Parts, name: object) -> bool:
    """Return whether there is a document with this id, path or URI."""
    if isinstance(name, Document):
        name = name.id
    if not isinstance(name, (str, os.PathLike)):
        return False
    if parts.store.document(str(name)) is not None:
        return True
    paths = {str(name), display_path(name)}
    return any(document.path in paths for path in paths for document in parts.store.documents(below=path))


def describe(parts: Parts) -> str:
    """Return what ``repr`` shows of a collection."""
    start = f"<Collection {str(parts.folder)!r}, model {parts.space.name}"
    try:
        counts = parts.store.counts()
    except CollectionError:  # it was closed
        return f"{start}>"
    documents, items = (sum(counts[name].values()) for name in ("documents", "items"))
    return f"{start}: {documents:,} documents, {items:,} items>"
