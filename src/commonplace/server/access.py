"""Who asks, and what they may do: the key of a request, and a collection through the eyes of that key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request

from commonplace.collection import Collection
from commonplace.errors import CollectionError
from commonplace.filters import parse_where
from commonplace.i18n import _
from commonplace.server.keys import VERBS, Key, Verb
from commonplace.server.problems import Forbidden, NotFound, Unauthorized
from commonplace.server.state import ServerState
from commonplace.types import Document, Item

__all__ = ["OWNER", "View", "key_of", "needs", "state_of", "view_of"]

OWNER = Key("owner", frozenset(VERBS))
"""Who asks a server without keys, which listens on loopback only."""


def state_of(request: Request) -> ServerState:
    """Return what the server's requests share."""
    state: ServerState = request.app.state.server
    return state


def key_of(request: Request) -> Key:
    """Return the key of a request. Raises Unauthorized if there is none, Throttled if it asks too often."""
    state = state_of(request)
    if not state.has_keys:
        return OWNER
    scheme, _space, secret = request.headers.get("authorization", "").partition(" ")
    key = state.keys.match(secret.strip()) if state.keys is not None and scheme.casefold() == "bearer" else None
    if key is None:
        raise Unauthorized(_("no valid key: send one as `Authorization: Bearer KEY`"))
    state.rate.check(key.name)
    request.state.key = key.name
    return key


@dataclass(frozen=True, slots=True)
class View:
    """A collection as a key may see it: documents outside the filter of the key do not exist."""

    name: str
    collection: Collection
    key: Key

    @property
    def shows_paths(self) -> bool:
        """Whether paths of this machine may be shown."""
        return "admin" in self.key.verbs

    def where(self, conditions: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
        """Return the metadata filter of a request together with that of the key; documents must pass both."""
        return [mapping for mapping in (parse_where(self.key.where), conditions) if mapping]

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata that a new document must get so that the key sees it itself.

        Raises Forbidden if its conditions do not tell (``year>=2020``).
        """
        pairs = [condition.partition("=") for condition in self.key.where]
        if any(not value or key[-1:] in "<>" or set(value) & set("*?[") for key, _equals, value in pairs):
            raise Forbidden(
                _("the key {key} sees a part of the documents only, and cannot add any").format(key=self.key.name)
            )
        types = self.collection.store.metadata_types(key.strip().casefold() for key, _equals, _value in pairs)
        return {key.strip(): _typed(value.strip(), types.get(key.strip().casefold())) for key, _e, value in pairs}

    def documents(self, names: Sequence[str] = (), where: Mapping[str, Any] | None = None) -> list[Document]:
        """Return the documents that the key may see: all, or those that names stand for.

        Raises NotFound if a name stands for none, or all of them are hidden from the key: both look alike.
        """
        try:
            documents = self.collection.documents(*names, where=self.where(where) or None)
        except CollectionError:
            if not names:
                raise
            documents = []
        if names and not documents:
            raise NotFound(_("there is no document {id!r:.80}").format(id=names[0]))
        return documents

    def document(self, id_: str) -> Document:
        """Return the document with this id. Raises NotFound if there is none that the key may see."""
        document = self.collection.get(id_)
        if document is None or not self.allows([document]):
            raise NotFound(_("there is no document {id!r:.80}").format(id=id_))
        return document

    def item(self, id_: str) -> Item:
        """Return the item with this id. Raises NotFound if there is none that the key may see."""
        item = self.collection.store.items([id_]).get(id_)
        if item is None or not self.allows([item.document]):
            raise NotFound(_("there is no item {id!r:.80}").format(id=id_))
        return item

    def allows(self, documents: Sequence[Document]) -> bool:
        """Return whether the key may see all of these documents."""
        if not self.key.where:
            return True
        wanted = {document.id for document in documents}
        return wanted <= {document.id for document in self.collection.documents(*wanted, where=self.where(None))}


def _typed(text: str, type_: str | None) -> str | float:
    return float(text) if type_ == "number" else text


def view_of(request: Request, name: str, verb: Verb = "read") -> View:
    """Return a collection for the key of a request.

    Raises Forbidden if the key does not allow the verb there, and NotFound if it may not even read it: others need not
    learn which collections exist.
    """
    key = key_of(request)
    if not key.allows("read", name) and not key.allows(verb, name):
        raise NotFound(_("there is no collection {name!r:.80}").format(name=name))
    if not key.allows(verb, name):
        raise Forbidden(_("the key {key} does not allow to {verb} here").format(key=key.name, verb=verb))
    return View(name, state_of(request).library.get(name), key)


def needs(verb: Verb) -> Callable[[Request, str], Iterator[View]]:
    """Return a dependency that gives the collection ``{collection}`` of the path, if the key allows the verb there."""

    def dependency(request: Request, collection: str) -> Iterator[View]:
        yield view_of(request, collection, verb)

    return dependency
