"""Documents of a collection by name: found and removed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from commonplace._session import Parts
from commonplace.errors import CollectionError, QueryError
from commonplace.indexer import display_path, document_id
from commonplace.types import Document, Item

__all__ = ["contains", "describe", "find", "remove"]


def find(parts: Parts, name: str | os.PathLike[str]) -> Item | Document:
    """Return an item or a document by name; see ``commonplace.Collection.find()``."""
    items = parts.store.items([str(name)])
    if items:
        return items[str(name)]
    documents = _named(parts, name)
    if len(documents) > 1:
        raise CollectionError(f"{len(documents)} documents of this collection are below {name}: name one of them")
    return documents[0]


def remove(parts: Parts, names: Sequence[str | os.PathLike[str]], missing: bool) -> int:
    """Remove documents by name; see ``commonplace.Collection.remove()``."""
    candidates = parts.store.documents() if missing else ()
    ids = [document.id for document in candidates if document.is_file and not os.path.lexists(document.path)]
    for name in names:
        if not str(name):
            raise QueryError("a name to remove is empty: say which document or folder")
        ids += [document.id for document in _named(parts, name)]
    parts.crops.remove(ids)
    count = parts.store.remove(dict.fromkeys(ids))
    parts.crops.prune()
    return count


def _named(parts: Parts, name: str | os.PathLike[str]) -> list[Document]:
    """Return the documents with this id, path or URI, or below this folder.

    Raises CollectionError where there are none.
    """
    matches = [*parts.store.documents(ids=[str(name)]), *parts.store.documents(below=display_path(name))]
    matches += [document for document in parts.store.documents(below=str(name)) if document.path == str(name)]
    if not matches:
        raise CollectionError(f"no document of this collection is {name}: see `commonplace list`")
    return list({document.id: document for document in matches}.values())


def contains(parts: Parts, name: object) -> bool:
    """Return whether there is a document with this id, path or URI."""
    if isinstance(name, Document):
        name = name.id
    if not isinstance(name, (str, os.PathLike)):
        return False
    by_id = parts.store.documents(ids=[str(name), document_id(Path(name))])
    if next(iter(by_id), None) is not None:
        return True
    paths = {str(name), display_path(name)}
    return any(document.path in paths for path in paths for document in parts.store.documents(below=path))


def describe(parts: Parts) -> str:
    """Return what ``repr`` shows of a collection."""
    start = f"<Collection {str(parts.folder)!r}, model {parts.space.name}"
    try:
        documents = sum(parts.store.counts("documents")["documents"].values())
        items = parts.store.count()
    except CollectionError:  # it was closed
        return f"{start}>"
    return f"{start}: {documents:,} documents, {items:,} items>"
