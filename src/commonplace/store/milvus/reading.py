"""Reads documents, items, settings and counts from Milvus."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from commonplace.metadata import TYPES, MetadataType
from commonplace.store.milvus.connection import Connection
from commonplace.store.milvus.expressions import (
    ANY_ROW,
    MAX_VALUES,
    Compiled,
    Dialect,
    any_of,
    compile_filter,
    documents_expression,
    metadata_path,
    quoted,
    split_any_of,
)
from commonplace.store.milvus.layout import Layout
from commonplace.store.milvus.matching import allows
from commonplace.store.milvus.records import Records, in_latest_state, is_current, keys_of
from commonplace.store.milvus.rows import StoredDocument, StoredItem, key_of
from commonplace.store.milvus.snapshot import Snapshot, Snapshots
from commonplace.types import MODALITIES, Document, Filter, Status

__all__ = ["TRIES", "Documents"]

DOCUMENT = 'kind == "document"'
UNSETTLED = 50  # writers that counts take into account at once
TRIES = 3
"""How often rows are read again if their documents are replaced meanwhile."""


class Documents:
    """Reads of the collections of documents and items. Thread-safe."""

    def __init__(
        self,
        connection: Connection,
        layout: Layout,
        records: Records,
        snapshots: Snapshots,
    ) -> None:
        self._connection, self._layout, self._records, self._snapshots = connection, layout, records, snapshots
        self._users: dict[tuple[str, str], str] = {}  # a document by metadata key and type
        self._dialect = Dialect(infix_like=connection.features.infix_like)

    # --- documents -------------------------------------------------------------------------------------------

    def find(
        self,
        ids: Sequence[str] | None,
        below: str | None,
        content_hash: str | None,
        status: Status | None,
        where: Filter | None,
    ) -> Iterator[Document]:
        """Yield the documents that meet all conditions, ordered by path; see ``commonplace.store.Store.documents``."""
        if below is not None and not _is_path(below):
            return
        snapshot = self._snapshots.fresh()
        if ids is not None:
            documents: Iterable[StoredDocument] = snapshot.documents(key_of(id_) for id_ in ids).values()
        else:
            documents = self._selected(snapshot, below, content_hash, where)
        allowed_ids = set(ids) if ids is not None else None
        matching = [
            stored.document
            for stored in documents
            if (allowed_ids is None or stored.document.id in allowed_ids)
            and (below is None or _is_below(stored.document.path, below))
            and content_hash in (None, stored.document.content_hash)
            and status in (None, stored.document.status)
            and (where is None or _contains(stored, where))
        ]
        yield from sorted(matching, key=lambda document: (document.path, document.id))

    def _selected(
        self, snapshot: Snapshot, below: str | None, content_hash: str | None, where: Filter | None
    ) -> list[StoredDocument]:
        """Return documents that include all those that meet the conditions."""
        parts = [DOCUMENT]
        if selected := documents_expression(below=below, content_hash=content_hash):
            parts.append(f"({selected})")
        if where is not None and (filtered := self.compiled(_of_document(where)).expression):
            parts.append(f"({filtered})")
        rows = self._connection.all(self._layout.name, " and ".join(parts), ["id", "body"], snapshot.since)
        bodies = self._records.bodies(rows, snapshot.since)
        stored = {key_of(body["id"]): StoredDocument.of(body) for body in bodies if isinstance(body.get("id"), str)}
        states = snapshot.once("states", lambda: self._records.states(snapshot.since))
        latest = (in_latest_state(document, states.get(key)) for key, document in stored.items())
        updated = snapshot.documents(states.keys() - stored.keys())
        return [document for document in (*latest, *updated.values()) if document is not None]

    def compiled(self, where: Filter) -> Compiled:
        """Return a filter as an expression over rows of items or vectors."""
        return compile_filter(where, self._dialect)

    def resolved(self, snapshot: Snapshot, where: Filter) -> list[str]:
        """Return the keys of the documents that a filter allows, whatever its modality."""

        def keys() -> list[str]:
            selected = self._selected(snapshot, None, None, where)
            matching = [stored for stored in selected if allows(_of_document(where), "", stored.document)]
            return sorted(key_of(stored.document.id) for stored in matching)

        return snapshot.once(("resolved", _of_document(where)), keys)

    # --- items -----------------------------------------------------------------------------------------------

    def current_items(self, snapshot: Snapshot, expressions: Iterable[str]) -> list[StoredItem]:
        """Return the items of current documents that any of the expressions selects.

        Rows of other generations are left out. If a document was replaced in between, the rows are read again.
        """
        selections = list(expressions)
        fields = ["id", "document", "generation", "body"]
        for _ in range(TRIES):
            rows = [
                row
                for expression in selections
                for row in self._connection.all(self._layout.items, expression, fields, snapshot.since)
            ]
            documents = snapshot.documents(row["document"] for row in rows)
            current = [row for row in rows if is_current(row, documents)]
            newer = snapshot if len(current) == len(rows) else self._snapshots.fresh(within=0)
            if newer is snapshot:
                break
            snapshot = newer
        bodies = self._records.aligned_bodies(current, snapshot.since)
        return [
            StoredItem.of(body, documents[row["document"]].document)
            for row, body in zip(current, bodies, strict=True)
            if body is not None
        ]

    def items(self, snapshot: Snapshot, ids: Sequence[str]) -> dict[str, StoredItem]:
        """Return the items with these ids, by id."""

        def read(missing: list[str]) -> dict[str, StoredItem]:
            return {stored.item.id: stored for stored in self.current_items(snapshot, split_any_of("item", missing))}

        return snapshot.looked_up("items", ids, read)

    def items_of(self, snapshot: Snapshot, document: str) -> list[StoredItem]:
        """Return the items of a document, in reading order."""
        items = self.current_items(snapshot, split_any_of("document", [key_of(document)]))
        return sorted(items, key=lambda stored: stored.number)

    def with_pictures(self, snapshot: Snapshot, pictures: Sequence[str]) -> list[StoredItem]:
        """Return the items that show any of these pictures."""
        return self.current_items(snapshot, split_any_of("picture", list(dict.fromkeys(pictures))))

    def pictures(self, ids: Iterable[str]) -> list[str]:
        """Return the pictures that occur in these documents and in no other one."""
        snapshot = self._snapshots.fresh()
        keys = {key_of(id_) for id_ in ids}
        mine = self._pictures_of(snapshot, split_any_of("document", sorted(keys)))
        names = sorted({name for name, _ in mine if name})
        shared = {
            name
            for name, document in self._pictures_of(snapshot, split_any_of("picture", names))
            if document not in keys
        }
        return sorted(set(names) - shared)

    def _pictures_of(self, snapshot: Snapshot, expressions: Iterable[str]) -> set[tuple[str, str]]:
        """Return pictures and the keys of the current documents that contain them."""
        fields = ["id", "picture", "document", "generation"]
        rows = [
            row
            for expression in expressions
            for row in self._connection.all(self._layout.items, expression, fields, snapshot.since)
        ]
        current = snapshot.documents(row["document"] for row in rows)
        return {
            (row["picture"], row["document"])
            for row in rows
            if row["document"] in current and current[row["document"]].generation == row["generation"]
        }

    # --- counts ----------------------------------------------------------------------------------------------

    def count(self, snapshot: Snapshot, where: Filter) -> int:
        """Return the number of items that a filter allows."""
        return snapshot.once(("count", where), lambda: self._count(snapshot, where))

    def _count(self, snapshot: Snapshot, where: Filter) -> int:
        compiled = self.compiled(where)

        def counted(expression: str) -> int:
            return self._connection.count(self._layout.items, self._settled(snapshot, expression), snapshot.since)

        if compiled.exact:
            return counted(compiled.expression)
        if compiled.doubtful != ANY_ROW:
            selected = f"({compiled.expression}) and " if compiled.expression else ""
            if not counted(f"{selected}({compiled.doubtful})"):
                return counted(compiled.expression)
        modality = f" and modality == {quoted(where.modality)}" if where.modality else ""
        return sum(
            counted(f"{expression}{modality}")
            for expression in split_any_of("document", self.resolved(snapshot, where))
        )

    def _settled(self, snapshot: Snapshot, expression: str) -> str:
        """Return an expression without the rows that writers have just begun to write, or to delete."""

        def unsettled() -> str:
            parts = []
            for intent in self._records.intents(snapshot.since):
                if not intent.committed:
                    parts.append(f"generation != {quoted(intent.generation)}")
                elif len(intent.touched) <= MAX_VALUES:
                    others = f"generation != {quoted(intent.generation)}"
                    parts.append(f"not ({any_of('document', intent.touched)} and {others})")
            return " and ".join(parts[:UNSETTLED])

        clause = snapshot.once("unsettled", unsettled)
        return " and ".join(f"({part})" for part in (expression, clause) if part)

    def counts(self, names: Sequence[str], partitions: Mapping[str, str]) -> dict[str, dict[str, int]]:
        """Return the number of documents by status, items by modality and vectors by partition.

        ``partitions`` are the names of the collections with their vectors.
        """
        snapshot = self._snapshots.fresh()

        def counted(collection: str, expression: str) -> int:
            settled = expression if collection == self._layout.name else self._settled(snapshot, expression)
            return self._connection.count(collection, settled, snapshot.since)

        counts: dict[str, dict[str, int]] = {}
        if not names or "documents" in names:
            of_status = {
                status: counted(self._layout.name, f'{DOCUMENT} and status == "{status}"')
                for status in ("ok", "partial", "failed")
            }
            states = snapshot.once("states", lambda: self._records.states(snapshot.since))
            for status in self._records.stored_statuses(states, snapshot.since):
                of_status[status] = of_status.get(status, 0) - 1
            for updated in snapshot.documents(states).values():
                of_status[updated.document.status] += 1
            counts["documents"] = {status: count for status, count in of_status.items() if count}
        if not names or "items" in names:
            of_modality = {
                name: counted(self._layout.items, f"modality == {quoted(name)}") for name in self._modalities(snapshot)
            }
            counts["items"] = {name: count for name, count in of_modality.items() if count}
        if not names or "vectors" in names:
            of_partition = {name: counted(collection, "") for name, collection in partitions.items()}
            counts["vectors"] = {name: count for name, count in of_partition.items() if count}
        return counts

    def _modalities(self, snapshot: Snapshot) -> list[str]:
        """Return the modalities of items: the usual ones, and those that packages have added."""
        names = list(MODALITIES)
        while True:
            others = f"not ({any_of('modality', names)})"
            rows = self._connection.query(self._layout.items, others, ["modality"], snapshot.since, limit=1)
            if not rows:
                return names
            names.append(rows[0]["modality"])

    # --- metadata --------------------------------------------------------------------------------------------

    def metadata_types(self, keys: Iterable[str], without: Iterable[str]) -> dict[str, MetadataType]:
        """Return the type of each of these keys that is in use, without counting the documents ``without``."""
        snapshot = self._snapshots.fresh()
        left_out = {key_of(id_) for id_ in without}
        types: dict[str, MetadataType] = {}
        for key in keys:
            for type_ in self._records.registered(key, TYPES, snapshot.since):
                if self._is_used(snapshot, type_, key, left_out):  # type: ignore[arg-type]  # it is one of TYPES
                    types[key] = type_  # type: ignore[assignment]
                    break
        return types

    def _is_used(self, snapshot: Snapshot, type_: MetadataType, key: str, left_out: set[str]) -> bool:
        """Return whether a document uses a key with this type. The one that was found last is looked at first."""
        last = self._users.get((key, type_), "")
        if last and last not in left_out:
            stored = snapshot.documents([last]).get(last)
            if stored is not None and (key, type_) in keys_of(stored.document):
                return True
        single, several = (metadata_path(type_, key, is_list=is_list) for is_list in (False, True))
        expression = f"{DOCUMENT} and ((exists {single}) or (exists {several}))"
        rows = self._connection.query(
            self._layout.name, expression, ["id", "document"], snapshot.since, limit=len(left_out) + 1
        )
        user = next((row["document"] for row in rows if row["document"] not in left_out), None)
        if user is not None:
            self._users[key, type_] = user
        return user is not None

    def metadata_keys(self) -> dict[str, int]:
        """Return the number of documents that have each metadata key, the most frequent key first."""
        snapshot = self._snapshots.fresh()

        def counted() -> dict[str, int]:
            keys: Counter[str] = Counter()
            for stored in self._selected(snapshot, None, None, None):
                keys.update({key for key, _ in keys_of(stored.document)})
            return dict(sorted(keys.items(), key=lambda pair: (-pair[1], pair[0])))

        return snapshot.once("metadata_keys", counted)

    # --- vectors ---------------------------------------------------------------------------------------------

    def vectors_by_view(self, collection: str, views: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Return the vectors (dim,) of these view hashes, by hash."""
        if not views or not self._layout.is_there(collection):
            return {}
        since = self._snapshots.fresh().since
        vectors: dict[str, NDArray[np.float32]] = {}
        for expression in split_any_of("view", list(views)):
            for row in self._connection.all(collection, expression, ["id", "view", "vector"], since):
                vectors[row["view"]] = np.asarray(row["vector"][:-1], np.float32)
        return vectors


def _of_document(where: Filter) -> Filter:
    """Return the part of a filter that concerns documents."""
    return Filter(None, where.path, where.media_type, where.after, where.before, where.metadata)


def _contains(stored: StoredDocument, where: Filter) -> bool:
    """Return whether a document meets a filter; its modality asks for an item of that modality."""
    if where.modality is not None and not stored.modalities.get(where.modality):
        return False
    return allows(_of_document(where), "", stored.document)


def _is_path(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:  # no file can have such a name
        return False
    return True


def _is_below(path: str, below: str) -> bool:
    folder = below.rstrip(os.sep)
    return path == (folder or os.sep) or path.startswith(folder + os.sep)
