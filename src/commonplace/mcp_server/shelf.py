"""What a caller may see: collections by name, each with the documents that are shown to the caller."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from commonplace.collection import Collection
from commonplace.errors import CollectionError, QueryError
from commonplace.i18n import _
from commonplace.mcp_server.arguments import AddArguments, AddFileArguments
from commonplace.records import Record
from commonplace.types import Document, Item

__all__ = ["CollectionView", "LocalShelf", "Shelf", "bytes_of"]


class CollectionView(Protocol):
    """A collection as a caller may see it."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def collection(self) -> Collection:
        """The collection."""

    @property
    def shows_paths(self) -> bool:
        """Whether paths of this machine may be shown."""

    def where(self, conditions: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
        """Return the conditions of a query together with those of the caller."""

    def documents(self, names: Sequence[str] = (), where: Mapping[str, Any] | None = None) -> list[Document]:
        """Return the documents that the caller may see: all, or those that names stand for."""

    def document(self, id_: str) -> Document:
        """Return the document with this id. Raises CommonplaceError if there is none for the caller."""

    def item(self, id_: str) -> Item:
        """Return the item with this id. Raises CommonplaceError if there is none for the caller."""


class Shelf(Protocol):
    """The collections of a caller."""

    @property
    def add_arguments(self) -> type[AddArguments] | None:
        """The arguments of the tool that adds documents; None if the caller may not add any."""

    def names(self) -> list[str]:
        """Return the names of the collections that the caller may read."""

    def view(self, name: str) -> CollectionView:
        """Return a collection. Raises CommonplaceError if there is none for the caller."""

    def turn(self) -> AbstractContextManager[None]:
        """Return a context in which one search or answer runs."""

    def add(self, name: str, arguments: AddArguments) -> str:
        """Add to a collection, and return what became of it. Raises CommonplaceError if that is not possible."""


@dataclass(frozen=True, slots=True)
class LocalView:
    """A collection of this machine, for its owner."""

    name: str
    collection: Collection
    shows_paths: bool = True

    def where(self, conditions: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
        """Return the conditions of a query."""
        return [conditions] if conditions else []

    def documents(self, names: Sequence[str] = (), where: Mapping[str, Any] | None = None) -> list[Document]:
        """Return the documents: all, or those that names stand for."""
        return self.collection.documents(*names, where=where)

    def document(self, id_: str) -> Document:
        """Return the document with this id. Raises CollectionError if there is none."""
        document = self.collection.get(id_)
        if document is None:
            raise CollectionError(_("there is no document {id!r:.80}").format(id=id_))
        return document

    def item(self, id_: str) -> Item:
        """Return the item with this id. Raises CollectionError if there is none."""
        item = self.collection.store.items([id_]).get(id_)
        if item is None:
            raise CollectionError(_("there is no item {id!r:.80}").format(id=id_))
        return item


@dataclass(frozen=True, slots=True)
class LocalShelf:
    """One collection of this machine; ``may_add`` allows to add documents and files."""

    collection: Collection
    may_add: bool = False
    name: str = "default"

    @property
    def add_arguments(self) -> type[AddArguments] | None:
        """The arguments of the tool that adds documents."""
        return AddFileArguments if self.may_add else None

    def names(self) -> list[str]:
        """Return the name of the collection."""
        return [self.name]

    def view(self, name: str) -> CollectionView:
        """Return the collection."""
        if name != self.name:
            raise CollectionError(_("there is no collection {name!r:.80}").format(name=name))
        return LocalView(self.name, self.collection)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Return a context in which one search or answer runs."""
        yield

    def add(self, name: str, arguments: AddArguments) -> str:
        """Add a file, a folder, a text or the bytes of a file."""
        collection = self.view(name).collection
        source = getattr(arguments, "source", None)
        fields = arguments.model_dump(exclude_none=True, exclude={"collection", "source"})
        if source is not None and fields:
            raise QueryError(_("give a source, or a text or data, and not both"))
        if arguments.data is not None:
            fields["data"] = bytes_of(arguments.data, "data")
        record = source if source is not None else Record(fields.pop("text", None), **fields)
        report = collection.add(record, workers=1, progress=False)
        failed = [f"{document}: {reason}" for document, reason in report.failed]
        if failed:
            raise CollectionError("; ".join(failed))
        return str(report)


def bytes_of(text: str, name: str) -> bytes:
    """Return the bytes of a text in base64, or of a data URL. Raises QueryError for anything else."""
    encoded = text.partition(",")[2] if text[:5].casefold() == "data:" else text
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise QueryError(_("{name} is no base64").format(name=name)) from None
