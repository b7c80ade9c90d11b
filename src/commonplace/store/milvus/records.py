"""Rows of the Milvus collection of documents: documents, settings, labels, intents, and pieces of long texts."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from commonplace.store.milvus.connection import Connection
from commonplace.store.milvus.expressions import any_of, split_any_of
from commonplace.store.milvus.layout import Layout
from commonplace.store.milvus.rows import FilterFields, StoredDocument, body_of, key_of, pieces_of
from commonplace.store.schema import metadata_rows
from commonplace.types import Document, stable_id

__all__ = ["ANCHOR", "Intent", "Records", "in_latest_state", "is_current", "keys_of", "row_size"]

log = logging.getLogger("commonplace")

ANCHOR = [0.0, 0.0]
FIELDS = {
    "intent": frozenset(("generation", "documents", "removes", "at")),
    "label": frozenset(("text", "image", "item", "good")),
    "setting": frozenset(("name", "value", "tag")),
}
"""The fields that a row of a kind has."""


@dataclass(frozen=True, slots=True)
class Intent:
    """What a writer is about to do: its generation, and the documents that it writes and removes.

    ``at`` is when it began, in seconds. ``committed`` tells whether its documents are valid, so that only the old rows
    remain to be deleted.
    """

    generation: str
    documents: Sequence[str]
    removes: Sequence[str]
    at: float
    committed: bool = False

    @property
    def touched(self) -> list[str]:
        """The keys of all documents that it writes or removes."""
        return list(dict.fromkeys([*self.documents, *self.removes]))

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Intent:
        """Return the intent of ``body()``."""
        documents, removes = list(map(str, body["documents"])), list(map(str, body["removes"]))
        return cls(str(body["generation"]), documents, removes, float(body["at"]), bool(body.get("committed")))

    def body(self) -> dict[str, Any]:
        """Return the intent as JSON values."""
        return {
            "generation": self.generation,
            "documents": list(self.documents),
            "removes": list(self.removes),
            "at": self.at,
            "committed": self.committed,
        }


class Records:
    """Reads and writes rows of the collection of documents, each with a JSON text (its body)."""

    def __init__(self, connection: Connection, layout: Layout) -> None:
        self._connection, self._layout = connection, layout
        self.tenant = connection.address.tenant or ""
        self._registered: set[tuple[str, str]] = set()

    def key(self, kind: str, name: str) -> str:
        """Return the primary key of a row: of a document, setting, label, intent or piece."""
        return f"{self.tenant}/{kind}:{name}" if self.tenant else f"{kind}:{name}"

    # --- reading ---------------------------------------------------------------------------------------------

    def documents(self, keys: Iterable[str], since: int) -> dict[str, StoredDocument]:
        """Return the documents with these keys, by key, each in its latest state."""
        unique = list(dict.fromkeys(keys))
        rows = {key: StoredDocument.of(body) for key, body in self._by_key("document", unique, since).items()}
        states = {key: StoredDocument.of(body) for key, body in self._by_key("state", unique, since).items()}
        latest = {key: in_latest_state(rows.get(key), states.get(key)) for key in unique}
        return {key: document for key, document in latest.items() if document is not None}

    def _by_key(self, kind: str, keys: Iterable[str], since: int) -> dict[str, dict[str, Any]]:
        """Return the bodies of documents or their states, by the key of the document."""
        bodies: dict[str, dict[str, Any]] = {}
        for expression in split_any_of("id", (self.key(kind, key) for key in keys)):
            rows = self._connection.query(self._layout.name, expression, ["id", "body"], since)
            bodies.update({key_of(body["id"]): body for body in self.bodies(rows, since) if _is_document(body)})
        return bodies

    def stored_statuses(self, keys: Iterable[str], since: int) -> list[str]:
        """Return the statuses in the rows of documents, without what was updated since."""
        return [str(body.get("status", "")) for body in self._by_key("document", list(keys), since).values()]

    def states(self, since: int) -> dict[str, StoredDocument]:
        """Return what was updated of documents, by key: those that failed, and few others."""
        bodies = (body for body in self.of_kind("state", since) if _is_document(body))
        return {key_of(body["id"]): StoredDocument.of(body) for body in bodies}

    def of_kind(self, kind: str, since: int) -> list[dict[str, Any]]:
        """Return the bodies of all rows of a kind, without those that lack a field."""
        rows = self._connection.all(self._layout.name, f'kind == "{kind}"', ["id", "body"], since)
        fields = FIELDS.get(kind, frozenset())
        return [body for body in self.bodies(rows, since) if body.keys() >= fields]

    def intents(self, since: int) -> list[Intent]:
        """Return the intents of all writers that have not finished."""
        return [Intent.of(body) for body in self.of_kind("intent", since)]

    def body(self, kind: str, name: str, since: int) -> dict[str, Any] | None:
        """Return the body of one row; None if there is none."""
        expression = any_of("id", [self.key(kind, name)])
        rows = self._connection.query(self._layout.name, expression, ["body"], since)
        return next(iter(self.bodies(rows, since)), None)

    def bodies(self, rows: Iterable[Mapping[str, Any]], since: int) -> list[dict[str, Any]]:
        """Return the parsed texts of rows, without those that another program wrote."""
        return [body for body in self.aligned_bodies(list(rows), since) if body is not None]

    def aligned_bodies(self, rows: Sequence[Mapping[str, Any]], since: int) -> list[dict[str, Any] | None]:
        """Return the parsed text of each row, joined from its pieces where it is long; None if it cannot be read."""
        parsed = [_parsed(row["body"]) for row in rows]
        names = [self.key("piece", name) for body in parsed if body is not None for name in pieces_of(body)]
        pieces: dict[str, str] = {}
        for start in range(0, len(names), 100):  # of up to 64 KB each
            for expression in split_any_of("id", names[start : start + 100]):
                for row in self._connection.query(self._layout.name, expression, ["id", "body"], since):
                    pieces[row["id"]] = row["body"]
        return [None if body is None else self._joined(body, pieces) for body in parsed]

    def _joined(self, body: dict[str, Any], pieces: Mapping[str, str]) -> dict[str, Any] | None:
        names = [self.key("piece", name) for name in pieces_of(body)]
        if not names:
            return body
        if not all(name in pieces for name in names):  # it has just been replaced
            return None
        return _parsed("".join(pieces[name] for name in names))

    # --- writing ---------------------------------------------------------------------------------------------

    def put_documents(self, documents: Iterable[StoredDocument], intent: Intent | None) -> None:
        """Write documents, which makes the rows of their generations valid, and last the intent of their writer."""
        documents = list(documents)
        self._register(documents)
        rows: list[dict[str, Any]] = []
        pieces: list[dict[str, Any]] = []
        for document in documents:
            row, of_row = self._row("document", key_of(document.document.id), document.body())
            row.update(FilterFields.of(document.document, document.generation, self.tenant).fields)
            counts = {f"items:{name}": count for name, count in document.modalities.items()}
            row["filters"] = {**row["filters"], **counts}
            row["content_hash"], row["status"] = document.document.content_hash[:128], document.document.status
            rows.append(row)
            pieces += of_row
        if intent is not None:
            row, of_row = self._row("intent", intent.generation, intent.body())
            rows.append(row)
            pieces += of_row
        self._put(pieces)
        self._put(rows)

    def _register(self, documents: Iterable[StoredDocument]) -> None:
        """Write down the metadata keys and types that documents bring, so that others can be told without a search."""
        pairs = {pair for stored in documents for pair in keys_of(stored.document)} - self._registered
        names = {registered_name(key, type_): {"key": key, "type": type_} for key, type_ in sorted(pairs)}
        if names:
            self._put([self._row("key", name, body)[0] for name, body in names.items()])
            self._registered |= pairs

    def registered(self, key: str, types: Iterable[str], since: int) -> list[str]:
        """Return those of the types that a document has ever had under a metadata key."""
        of_type = {self.key("key", registered_name(key, type_)): type_ for type_ in types}
        rows = self._connection.query(self._layout.name, any_of("id", list(of_type)), ["id"], since)
        ids = {row["id"] for row in rows}
        return [type_ for id_, type_ in of_type.items() if id_ in ids]

    def put(self, kind: str, name: str, body: Mapping[str, Any], since: int) -> None:
        """Write one row, such as a setting."""
        self.put_all(kind, {name: body}, since)

    def put_all(self, kind: str, bodies: Mapping[str, Mapping[str, Any]], since: int) -> None:
        """Write rows of a kind, by name."""
        rows: list[dict[str, Any]] = []
        pieces: list[dict[str, Any]] = []
        for name, body in bodies.items():
            row, of_row = self._row(kind, name, body)
            rows.append(row)
            pieces += of_row
        old = self._pieces([row["id"] for row in rows], since)
        self._put(pieces)
        self._put(rows)
        self._connection.delete(self._layout.name, old)

    def put_pieces(self, pieces: Mapping[str, str], document: str, generation: str) -> None:
        """Write pieces of long texts; they are deleted with the rows of this document and generation."""
        self._put(self._piece_rows(pieces, document, generation))

    def delete(self, kind: str, names: Iterable[str], since: int | None = None) -> None:
        """Delete rows, with their pieces if ``since`` is given."""
        keys = [self.key(kind, name) for name in names]
        pieces = [] if since is None else self._pieces(keys, since)
        self._connection.delete(self._layout.name, [*pieces, *keys])

    def _pieces(self, keys: Iterable[str], since: int) -> list[str]:
        """Return the primary keys of the pieces of rows."""
        rows = [
            row
            for expression in split_any_of("id", keys)
            for row in self._connection.query(self._layout.name, expression, ["body"], since)
        ]
        return [self.key("piece", name) for row in rows for name in pieces_of(_parsed(row["body"]) or {})]

    def _put(self, rows: Sequence[dict[str, Any]]) -> None:
        self._connection.upsert(self._layout.name, rows, row_size)

    def _row(self, kind: str, name: str, values: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Return a row and those of its pieces."""
        body = body_of(values, f"{kind}-{stable_id(name)}", os.urandom(6).hex())
        owner = name if kind == "document" else ""
        pieces = self._piece_rows(body.pieces, owner, values.get("generation", ""))
        return self._plain_row(kind, name, body.text), pieces

    def _piece_rows(self, pieces: Mapping[str, str], document: str, generation: str) -> list[dict[str, Any]]:
        rows = [self._plain_row("piece", name, text) for name, text in pieces.items()]
        return [{**row, "document": document, "generation": generation} for row in rows]

    def _plain_row(self, kind: str, name: str, text: str) -> dict[str, Any]:
        empty = dict.fromkeys(("document", "generation", "media_type", "path", "content_hash", "status"), "")
        named = {"id": self.key(kind, name), "tenant": self.tenant, "kind": kind, "body": text}
        return {**empty, **named, "filters": {}, "anchor": ANCHOR}


def row_size(row: Mapping[str, Any]) -> int:
    """Return about how many bytes a row takes in a call."""
    size = 4 * len(row["vector"]) if "vector" in row else 0
    size += len(row.get("body", "")) * 3 + 24 * len(row.get("terms", ()))
    return size + 600 + 3 * len(row["path"]) + (len(json.dumps(row["filters"])) if row["filters"] else 0)


def in_latest_state(row: StoredDocument | None, state: StoredDocument | None) -> StoredDocument | None:
    """Return a document with what was updated of it. A state of another generation is out of date.

    A document that was never added, because it failed, has a state without a generation only.
    """
    if row is None:
        return state if state is not None and not state.generation else None
    if state is None or state.generation != row.generation:
        return row
    changed = state.document
    document = replace(row.document, status=changed.status, error=changed.error, stamp=changed.stamp)
    return replace(row, document=document)


def _parsed(text: object) -> dict[str, Any] | None:
    """Return a JSON object; None for what is none, because another program wrote it."""
    try:
        body = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        log.warning("a row in Milvus is no row of Commonplace and is left out")
        return None
    return body


def _is_document(body: Mapping[str, Any]) -> bool:
    return isinstance(body.get("id"), str) and isinstance(body.get("generation", ""), str)


def is_current(row: Mapping[str, Any], documents: Mapping[str, StoredDocument]) -> bool:
    """Return whether a row belongs to the current generation of its document."""
    document = documents.get(row["document"])
    return document is not None and document.generation == row["generation"]


def keys_of(document: Document) -> set[tuple[str, str]]:
    """Return the metadata keys of a document in folded case, ``title`` included, each with its type."""
    return {(row[0], row[1]) for row in metadata_rows(document.title, document.metadata.to_json())}


def registered_name(key: str, type_: str) -> str:
    """Return the name of the row by which a metadata key and its type are remembered."""
    return key_of(f"{type_}:{key}")
