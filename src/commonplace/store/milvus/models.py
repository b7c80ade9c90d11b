"""The models of a collection in Milvus: the current one, and another one that a migration makes or has left."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager

from commonplace.errors import ModelMismatch, VersionError
from commonplace.i18n import _
from commonplace.store.base import StoreSpace
from commonplace.store.migration import Shadow
from commonplace.store.milvus.address import MilvusAddress
from commonplace.store.milvus.connection import Connection
from commonplace.store.milvus.layout import Layout
from commonplace.store.milvus.lease import Lease, leased
from commonplace.store.milvus.records import Records
from commonplace.store.milvus.rows import key_of, tag_of
from commonplace.store.milvus.snapshot import LEASE, Snapshots

__all__ = ["SCHEMA", "ModelSettings", "Models", "check_current", "check_model", "facts_of"]

SCHEMA = "1"
CURRENT = "current."
"""Beginning of the properties with the model of a tenant that has changed it, before the tenant and the name."""
NAMES = ("fingerprint", "model", "place", "dim")
"""The properties of a model: its fingerprint, name, folder and number of dimensions."""


def prefix_of(tenant: str | None) -> str:
    """Return the beginning of the properties that are a tenant's own."""
    return f"{CURRENT}{tenant or ''}."


def facts_of(properties: Mapping[str, str], tenant: str | None) -> dict[str, str]:
    """Return the properties of the model that a tenant uses, by name.

    A tenant that has not changed its model uses the one with which the collection was made.
    """
    prefix = prefix_of(tenant)
    return {name: properties.get(prefix + name, properties.get(name, "")) for name in NAMES}


def check_model(address: MilvusAddress, space: StoreSpace, properties: Mapping[str, str]) -> None:
    """Raise ModelMismatch or VersionError if a collection with these properties cannot be used with a space."""
    if properties.get("schema") != SCHEMA:
        raise VersionError(
            _("{url} is no Milvus collection of this version of commonplace: use another name, or update").format(
                url=address.url
            )
        )
    facts = facts_of(properties, address.tenant)
    if space.fingerprint is not None and facts["fingerprint"] != space.fingerprint:
        python = space.model.startswith("python:")
        change = "commonplace.migrate.migrate(URL, model)" if python else "commonplace migrate"
        raise ModelMismatch(
            _(
                "the collection {url} was made with the model {model} ({fingerprint}), not with "
                "{name} ({space_fingerprint}): open it with that model, or change its model with `{change}`"
            ).format(
                url=address.url,
                model=facts["model"],
                fingerprint=facts["fingerprint"],
                name=space.name,
                space_fingerprint=space.fingerprint,
                change=change,
            )
        )


def check_current(address: MilvusAddress, space: StoreSpace, properties: Mapping[str, str]) -> None:
    """Raise ModelMismatch if a collection was migrated to another model since it was opened with a space."""
    facts = facts_of(properties, address.tenant)
    if space.fingerprint is not None and facts["fingerprint"] != space.fingerprint:
        raise ModelMismatch(
            _("the collection {url} was migrated to the model {model} since it was opened: open it again").format(
                url=address.url, model=facts["model"]
            )
        )


class Models:
    """The models of one tenant of a collection: names in its properties, vectors in collections of their own.

    The current model is a property of the collection, so one call changes it for all partitions and processes. The
    other one is the goal of an unfinished migration, or the model before a migration, which is kept for an undo.
    """

    def __init__(self, connection: Connection, layout: Layout, records: Records) -> None:
        self._connection, self._layout, self._records = connection, layout, records
        self._tenant = connection.address.tenant or ""
        self._prefix = prefix_of(self._tenant)

    def current(self) -> Shadow:
        """Return the current model."""
        facts = facts_of(self._layout.properties(), self._tenant)
        return Shadow(facts["model"], facts["fingerprint"], facts["place"], served=True)

    def other(self) -> Shadow | None:
        """Return the other model; None if there is none."""
        text = self._layout.properties().get(f"{self._prefix}other", "")
        return Shadow(**json.loads(text)) if text else None

    def set_other(self, model: Shadow | None) -> None:
        """Remember the other model."""
        self._layout.set_properties({f"{self._prefix}other": _text(model)})

    def switch(self, model: Shadow, dim: int) -> None:
        """Make ``model`` the current one, and the current one the other, for every process at once."""
        facts = {"fingerprint": model.fingerprint, "model": model.name, "place": model.model, "dim": str(dim)}
        properties = {**facts, "other": _text(self.current())}
        self._layout.set_properties({self._prefix + name: value for name, value in properties.items()})

    def leased(self) -> AbstractContextManager[Lease]:
        """Hold the lease of changes to the models. Raises CollectionError if another process holds it."""
        return leased(self._connection, self._layout, self._prefix.removesuffix(".") + LEASE)

    def vectors(self, fingerprint: str) -> dict[str, str]:
        """Return the Milvus collections with the vectors of a model, by partition."""
        names = [name for name in self._layout.of_vectors() if self._layout.model(name) == fingerprint]
        return dict(sorted((self._layout.partition(name), name) for name in names))

    def size(self, fingerprint: str) -> tuple[int, int]:
        """Return the number of this tenant's vectors of a model, and about how many bytes they take."""
        count = size = 0
        for name in self.vectors(fingerprint).values():
            rows = self._connection.count(name, "", -1)
            count, size = count + rows, size + rows * (self._layout.dim(name) + 1) * 4
        return count, size

    def drop_except(self, keep: Collection[str]) -> None:
        """Drop the vectors and settings of all models but those with the fingerprints ``keep``."""
        for name in self._layout.of_vectors():
            if self._layout.model(name) not in keep:
                self._drop(name)
        tags = {tag_of(fingerprint) for fingerprint in keep}
        for row in self._connection.all(self._layout.name, 'kind == "setting"', ["id"], -1):
            key = row["id"].partition("setting:")[2]
            if key.partition("/")[0] not in tags:
                self._records.delete("setting", [key], -1)

    def _drop(self, name: str) -> None:
        """Drop a collection of vectors. If other tenants have rows there, only those of this tenant are deleted."""
        if self._connection.has_other_tenants(name):
            rows = self._connection.all(name, f'tenant == "{self._tenant}"', ["id"], -1)
            self._connection.delete(name, [row["id"] for row in rows])
        else:
            self._layout.drop(name)


class ModelSettings:
    """The settings of a model. They stay with it: after a migration the new model has none, after an undo its own."""

    def __init__(self, records: Records, snapshots: Snapshots, fingerprint: str) -> None:
        self._records, self._snapshots = records, snapshots
        self._tag = tag_of(fingerprint)

    def put(self, name: str, value: str | None) -> None:
        """Store a text under a name; None deletes it."""
        since = self._snapshots.fresh().since
        if value is None:
            self._records.delete("setting", [self._key(name)], since)
        else:
            self._records.put("setting", self._key(name), {"name": name, "value": value, "tag": self._tag}, since)
        self._snapshots.publish()

    def get(self, name: str) -> str | None:
        """Return one text, without reading the others."""
        body = self._records.body("setting", self._key(name), self._snapshots.fresh().since)
        return None if body is None else str(body["value"])

    def all(self) -> dict[str, str]:
        """Return all texts by name. They are read once for each commit."""
        snapshot = self._snapshots.fresh()

        def read() -> dict[str, str]:
            rows = self._records.of_kind("setting", snapshot.since)
            return {row["name"]: row["value"] for row in rows if row["tag"] == self._tag}

        return snapshot.once("settings", read)

    def _key(self, name: str) -> str:
        return f"{self._tag}/{key_of(name)}"


def _text(model: Shadow | None) -> str:
    if model is None:
        return ""
    return json.dumps(
        {"name": model.name, "fingerprint": model.fingerprint, "model": model.model, "served": model.served}
    )
