"""Places of collections: a folder of this machine, or a server. A place opens the store and knows its model."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from commonplace.encoders import DEFAULT_BUNDLE, PLACE, BaseModel, find
from commonplace.encoders.presets import is_name
from commonplace.encoders.runtime import cache_folder
from commonplace.errors import CollectionError, ModelError, ModelMismatch
from commonplace.i18n import _, system_reason
from commonplace.paths import checked_path, expanded_path
from commonplace.space import Space, name_of_model
from commonplace.store import LocalModels, LocalStore, Store, StoreModels, StoreSpace, model_of
from commonplace.store.milvus.address import MilvusAddress, is_address
from commonplace.store.milvus.settings import StoreSettings
from commonplace.types import stable_id

if TYPE_CHECKING:
    from commonplace.store.milvus.store import MilvusStore

__all__ = [
    "PLUGINS",
    "FolderPlace",
    "MilvusPlace",
    "Place",
    "is_address",
    "model_for",
    "models_of",
    "place_of",
    "space_of",
    "store_for",
]

S = TypeVar("S", bound=Store)
S_co = TypeVar("S_co", bound=Store, covariant=True)

PLUGINS = "plugin_fingerprints"  # the setting that stores the fingerprint of each plug-in view's encoder


class Place(Protocol[S_co]):
    """Where a collection is. ``name`` is its folder, or its URL without secrets. ``folder`` is its folder here."""

    @property
    def name(self) -> str:
        """What names the collection in messages."""

    @property
    def folder(self) -> Path:
        """The folder on this machine: of the collection itself, or of what this machine keeps for it."""

    def exists(self) -> bool:
        """Return whether there is a collection at this place."""

    def model(self) -> str:
        """Return the folder of the model that the collection was made with; empty for the shipped one, or for none."""

    def open(self, space: StoreSpace) -> S_co:
        """Open the store, which is created if it does not exist."""


@dataclass(frozen=True, slots=True)
class FolderPlace:
    """A folder of this machine."""

    folder: Path

    @property
    def name(self) -> str:
        """The path of the folder."""
        return str(self.folder)

    def exists(self) -> bool:
        """Return whether there is a collection in the folder."""
        return (self.folder / "collection.db").exists()

    def model(self) -> str:
        """Return the folder of the collection's model; see ``Place``. The folder may also be a backup file."""
        return model_of(self.folder)

    def open(self, space: StoreSpace) -> LocalStore:
        """Open the store in the folder."""
        return LocalStore(self.folder, space)


@dataclass(frozen=True, slots=True)
class MilvusPlace:
    """A collection in a Milvus server or a Milvus Lite file. ``blobs`` is the URL of its pictures and originals."""

    address: MilvusAddress
    blobs: str | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The URL of the collection, without secrets."""
        return self.address.url

    @property
    def folder(self) -> Path:
        """The folder of this machine for crops that were shown, and for the journal of an ``add``.

        Raises CollectionError if no cache folder can be used.
        """
        cache = cache_folder()
        if cache is None:
            raise CollectionError(_("the cache folder cannot be used: set COMMONPLACE_CACHE to a folder of your own"))
        return cache / "collections" / stable_id(self.address.url)

    def exists(self) -> bool:
        """Return whether there is a collection at this address. Raises CollectionError if no server answers."""
        if self.address.is_lite and not os.path.exists(self.address.uri):
            return False
        return _milvus_store().exists(self.address)

    def model(self) -> str:
        """Return the folder of the collection's model; see ``Place``."""
        if self.address.is_lite and not os.path.exists(self.address.uri):
            return ""
        return _milvus_store().model_of(self.address)

    def open(self, space: StoreSpace) -> MilvusStore:
        """Open the store, and make the folder of this machine."""
        folder = self.folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as problem:
            raise CollectionError(
                _("{folder} cannot be used ({reason}): set COMMONPLACE_CACHE to a folder of your own").format(
                    folder=folder, reason=system_reason(problem)
                )
            ) from problem
        from commonplace.store.milvus.blobs import Blobs

        blobs = Blobs.open(self.blobs).below(self.address.name) if self.blobs else None
        return _milvus_store()(self.address, space, blobs=blobs)


def place_of(collection: str | os.PathLike[str], *, blobs: str | None = None, token: str | None = None) -> Place[Store]:
    """Return the place of a collection from its folder or its URL.

    ``blobs`` and ``token`` are for a server, before environment and file (see ``StoreSettings``). Raises
    CollectionError for a URL that is not valid, a path that no folder can have, and for ``blobs`` or ``token`` of a
    folder.
    """
    text = checked_path(collection, CollectionError)
    if is_address(text):
        settings = StoreSettings.read({"blobs": blobs, "token": token})
        return MilvusPlace(MilvusAddress.parse(text, settings), settings.blobs)
    if "://" in text:
        raise CollectionError(
            _("{text!r:.200} is no URL of a collection: write milvus://HOST:19530/NAME, or a folder").format(text=text)
        )
    if blobs is not None or token is not None:
        raise CollectionError(_("a collection in a folder takes neither blobs nor token: give the URL of a server"))
    return FolderPlace(Path(os.path.realpath(expanded_path(text, CollectionError))))


def model_for(place: Place[Store], model: str | os.PathLike[str] | BaseModel | None) -> str | BaseModel:
    """Return the model for opening a collection or a backup file.

    It is ``model`` if given, otherwise the model that the collection was last used with (empty: the shipped one).
    Raises ModelError if that model no longer exists, or consists of Python encoders.
    """
    if isinstance(model, BaseModel):
        return model
    if model is not None:
        return name_of_model(model) or DEFAULT_BUNDLE.name
    last = place.model()
    if last.startswith(PLACE):
        raise ModelError(
            _(
                "the collection at {name} was made with the Python encoders {place}: open it "
                "with model=commonplace.Model(...)"
            ).format(name=place.name, place=last.removeprefix(PLACE))
        )
    single = last and not last.startswith("text=")
    if single and is_name(last):
        find(last)  # the name of a model that a Python package holds: says which package is missing
    elif single and not os.path.isfile(os.path.join(last, "bundle.json")):  # also False for an invalid path
        raise ModelError(
            _(
                "the model of the collection at {name} is no longer in {place}: give its folder with --model, or "
                "change to another model with `commonplace migrate`"
            ).format(name=place.name, place=last)
        )
    return last


def space_of(space: Space) -> StoreSpace:
    """Return what a store needs to know of a space."""
    return StoreSpace(
        space.name,
        space.fingerprint,
        space.dim,
        space.place,
        offset=space.offset,
        state=space.state,
        means=space.means("document"),
        questions=space.questions,
    )


def models_of(store: Store) -> StoreModels:
    """Return the models of a store of this package, for changing its model."""
    if isinstance(store, LocalStore):
        return LocalModels(store)
    from commonplace.store.milvus.migration import MilvusModels

    if not isinstance(store, _milvus_store()):
        raise TypeError(f"the model of a {type(store).__name__} cannot be changed")
    return MilvusModels(store)


def store_for(place: Place[S], space: Space) -> S:
    """Open the store of a collection with a space. Raises CollectionError and its subclasses."""
    store = place.open(space_of(space))
    try:
        _check_plugins(store, space, place.name)
    except BaseException:
        store.close()
        raise
    return store


def _check_plugins(store: Store, space: Space, name: str) -> None:
    """Store the fingerprints of the encoders of installed packages.

    Raises ModelMismatch if a stored view was made by another encoder.
    """
    kept = json.loads(store.setting(PLUGINS) or "{}")
    for view, fingerprint in space.plugin_fingerprints.items():
        if kept.get(view, fingerprint) != fingerprint:
            raise ModelMismatch(
                _(
                    "the {view} vectors of the collection at {name} were made by the encoder {other}, but "
                    "{fingerprint} is installed: install the former, or create a new collection"
                ).format(view=view, name=name, other=kept[view], fingerprint=fingerprint)
            )
    if new := space.plugin_fingerprints.items() - kept.items():
        with suppress(CollectionError):  # a read-only collection gets no vectors of these encoders either
            store.set_setting(PLUGINS, json.dumps(kept | dict(new)))


def _milvus_store() -> type[MilvusStore]:
    from commonplace.store.milvus.store import MilvusStore

    return MilvusStore
