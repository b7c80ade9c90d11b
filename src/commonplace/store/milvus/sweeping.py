"""Deletes rows, pictures and contents that no document uses: after a write, and where a writer was cut off."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import time
from typing import Any, Final

from commonplace.errors import CollectionError
from commonplace.store.milvus.blobs import Blobs
from commonplace.store.milvus.connection import Connection
from commonplace.store.milvus.expressions import any_of, split_any_of
from commonplace.store.milvus.layout import Layout
from commonplace.store.milvus.records import Intent, Records, is_current
from commonplace.store.milvus.rows import StoredDocument, key_of
from commonplace.store.milvus.snapshot import Snapshots

__all__ = ["LEASE", "ORIGINALS", "PICTURES", "Sweeper"]

LEASE = 600.0
"""Seconds after which the rows of a writer that has not finished may be deleted."""
ORIGINALS: Final = "originals"
PICTURES: Final = "pictures"


class Sweeper:
    """Deletes what no document uses. Other processes may write meanwhile."""

    def __init__(
        self, connection: Connection, layout: Layout, records: Records, snapshots: Snapshots, blobs: Blobs | None
    ) -> None:
        self._connection, self._layout, self._records, self._snapshots = connection, layout, records, snapshots
        self.blobs = blobs

    # --- rows ------------------------------------------------------------------------------------------------

    def delete_generations(self, documents: Sequence[str], generations: Iterable[str]) -> None:
        """Delete the rows of these generations of documents, which no document names any more."""
        since = self._snapshots.fresh().since
        self._delete(self._rows_of(documents, sorted(set(generations)), since))

    def sweep(self, documents: Sequence[str], generations: Sequence[str] = ()) -> int:
        """Delete the rows of these documents that are not of their current generation; return the number of items.

        Rows of writers that have not committed yet are left, except those of ``generations``.
        """
        # The order matters: a writer notes its intent before its rows, and a commit that an intent shows is older than
        # the timestamp with which the documents are read.
        rows = self._rows_of(documents, None, self._connection.now())
        since = self._connection.now()
        working = {intent.generation for intent in self._records.intents(since) if not intent.committed}
        working -= set(generations)
        current = self._records.documents(documents, since)
        old = {
            name: [row for row in of_collection if row["generation"] not in working and not is_current(row, current)]
            for name, of_collection in rows.items()
        }
        return self._delete(old)

    def _rows_of(self, documents: Sequence[str], generations: Sequence[str] | None, since: int) -> dict[str, list[Any]]:
        """Return the rows of these documents by Milvus collection: those of these generations (None: of all)."""
        since = self._snapshots.newest().since
        only = "" if generations is None else f" and {any_of('generation', generations)}"
        rows: dict[str, list[Any]] = {}
        for name in [*self._layout.of_vectors(), self._layout.items, self._layout.name]:
            kinds = ' and kind == "piece"' if name == self._layout.name else ""
            fields = ["id", "document", "generation", *(["picture"] if name == self._layout.items else [])]
            rows[name] = []
            with self._unless_dropped(name):
                for expression in split_any_of("document", documents):
                    rows[name] += self._connection.all(name, f"{expression}{only}{kinds}", fields, since)
        return rows

    def _delete(self, rows: Mapping[str, Sequence[Any]]) -> int:
        """Delete rows and the pictures that only they show; return the number of items."""
        for name, of_collection in rows.items():
            with self._unless_dropped(name):
                self._connection.delete(name, [row["id"] for row in of_collection])
        items = rows[self._layout.items]
        gone = {(row["document"], row["generation"]) for row in items}
        self.delete_pictures(list(dict.fromkeys(row["picture"] for row in items if row["picture"])), gone)
        return len(items)

    @contextmanager
    def _unless_dropped(self, name: str) -> Iterator[None]:
        """Ignore an error if it is because another process has just dropped the vectors of another model."""
        try:
            yield
        except CollectionError:
            if self._layout.exists(name):
                raise

    # --- pictures and contents -------------------------------------------------------------------------------

    def delete_pictures(self, names: Sequence[str], gone: set[tuple[str, str]] | None = None) -> None:
        """Delete pictures that no item uses, except items of the documents and generations ``gone``.

        An item of another process may begin to use a picture meanwhile. Therefore the items are asked again after the
        deletion, and a picture that is used is written again.
        """
        if self.blobs is None or not names:
            return
        deleted: dict[str, bytes] = {}
        for name in set(names) - self._used_pictures(names, gone or set()):
            content = self.blobs.get(PICTURES, name)
            if content is not None:
                deleted[name] = content
                self.blobs.delete(PICTURES, name)
        for name in self._used_pictures(list(deleted), gone or set()):
            self.blobs.put(PICTURES, name, deleted[name])

    def _used_pictures(self, names: Sequence[str], gone: set[tuple[str, str]]) -> set[str]:
        since = self._snapshots.newest().since
        used: set[str] = set()
        for expression in split_any_of("picture", names):
            rows = self._connection.all(self._layout.items, expression, ["picture", "document", "generation"], since)
            used |= {row["picture"] for row in rows if (row["document"], row["generation"]) not in gone}
        return used

    def delete_originals(self, before: Iterable[StoredDocument]) -> None:
        """Delete the contents of replaced and removed records, unless the current record has the same content."""
        old = {key_of(document.document.id): document.original for document in before if document.original}
        if self.blobs is None or not old:
            return
        current = self._snapshots.newest().documents(old)
        for key, name in old.items():
            if name is not None and (key not in current or current[key].original != name):
                content = self.blobs.get(ORIGINALS, name)
                self.blobs.delete(ORIGINALS, name)
                latest = self._snapshots.fresh(within=0).documents([key]).get(key)
                if content is not None and latest is not None and latest.original == name:  # it was added again
                    self.blobs.put(ORIGINALS, name, content)

    # --- writers that were cut off ---------------------------------------------------------------------------

    def cut_off(self) -> list[Intent]:
        """Return the intents of writers that were cut off: they are older than the lease of a writer."""
        intents = self._records.intents(self._snapshots.fresh().since)
        return [intent for intent in intents if time() - intent.at > LEASE]

    def clean_up(self, intents: Sequence[Intent]) -> int:
        """Delete what writers left that were cut off; return the number of items deleted."""
        count = 0
        for intent in intents:
            if intent.committed:
                self._records.delete("document", intent.removes)
            count += self.sweep(intent.touched, [intent.generation])
            self._records.delete("intent", [intent.generation], self._snapshots.newest().since)
            self._snapshots.publish()
        return count

    def unused(self) -> dict[str, int]:
        """Return the number of item rows that no document uses, by the key of their document.

        Documents that are being written are left out.
        """
        fields = ["id", "document", "generation"]
        rows = self._connection.all(self._layout.items, "place >= 0", fields, self._snapshots.fresh().since)
        since = self._connection.now()
        busy = {document for intent in self._records.intents(since) for document in intent.touched}
        current = self._records.documents(dict.fromkeys(row["document"] for row in rows), since)
        unused: dict[str, int] = {}
        for row in rows:
            if row["document"] not in busy and not is_current(row, current):
                unused[row["document"]] = unused.get(row["document"], 0) + 1
        return unused

    def pictures(self) -> tuple[list[str], list[str]]:
        """Return the pictures of items that are not in the blob store, and those in it that no item shows."""
        since = self._snapshots.fresh().since
        rows = self._connection.all(self._layout.items, 'picture != ""', ["id", "picture"], since)
        shown = {row["picture"] for row in rows}
        stored = set(self.blobs.list(PICTURES)) if self.blobs is not None else set()
        return sorted(shown - stored), sorted(stored - shown)
