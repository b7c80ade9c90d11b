"""The committer: embeds batches of documents, commits them to a store, and reports what came of each source."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from commonplace.crops import Crops
from commonplace.deletion import Mounts, is_gone
from commonplace.errors import ReadError
from commonplace.i18n import N_, _
from commonplace.metadata import FILE_KEYS, MetadataType, differing_types, explain_differing
from commonplace.paths import canonical_path, display_path, document_id
from commonplace.space import Space
from commonplace.store import MetadataTypeError, Store
from commonplace.types import TEXT, Document, ParsedDocument

if TYPE_CHECKING:  # a search needs no readers
    from collections.abc import Callable

    from commonplace.ingest import AnySource, Batch

__all__ = ["Committer", "Report", "documents_by_id", "embed"]

log = logging.getLogger("commonplace")

_KEPT = N_("; the earlier content is kept")


@dataclass(slots=True)
class Report:
    """The result of ``add``: numbers of added, changed, moved, deleted and unchanged documents, and the failures.

    ``partial`` and ``failed`` are pairs of name and reason. The name is the path of a file, its URL, or the URI of a
    record (or its position in the call if it has none).
    """

    added: int = 0
    changed: int = 0
    moved: int = 0
    deleted: int = 0
    unchanged: int = 0
    missing: int = 0
    """Number of documents in the added folders whose file no longer exists; ``remove(missing=True)`` removes them."""
    refused: list[tuple[str, str]] = field(default_factory=list)
    """Folders below which nothing was deleted although files are gone, each with the reason."""
    partial: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    """Number of skipped files of unsupported types, by file ending."""
    notes: list[str] = field(default_factory=list)
    """Content that was left out of all documents, each with the way to include it."""

    def __str__(self) -> str:
        counts = [
            (self.added, _("{count} added")),
            (self.changed, _("{count} changed")),
            (self.moved, _("{count} moved")),
            (self.deleted, _("{count} deleted")),
            (self.unchanged, _("{count} unchanged")),
            (len(self.partial), _("{count} partly read")),
            (len(self.failed), _("{count} failed")),
            (self.missing, _("{count} missing")),
        ]
        parts = [part.format(count=count) for count, part in counts if count]
        if self.skipped:
            kinds = _(", ").join(f"{count} {_(kind)}" for kind, count in sorted(self.skipped.items()))
            skipped = _("{count} of unsupported types ({kinds})")
            parts.append(skipped.format(count=sum(self.skipped.values()), kinds=kinds))
        return _(", ").join(parts) or _("nothing to add")


def embed(
    batch: Batch, space: Space, known_vectors: Callable[[str, Sequence[str]], Mapping[str, NDArray[np.float32]]]
) -> None:
    """Set the vectors of a batch. A document with non-finite vectors becomes a failure.

    ``known_vectors(partition, view hashes)`` returns stored vectors, which are not computed again.
    """
    from commonplace.ingest import source_of

    batch.vectors = space.encode(batch.parsed, known_vectors) if batch.parsed else []
    broken_items = {
        rows.item_ids[n] for rows in batch.vectors for n in np.flatnonzero(~np.isfinite(rows.vectors).all(axis=1))
    }
    if not broken_items:
        return
    problem = ReadError(_("the model returned vectors with values that are not numbers for it: try another model"))
    intact = []
    for parsed in batch.parsed:
        if any(item.id in broken_items for item in parsed.items):
            batch.failures.append((source_of(parsed.document), problem))
        else:
            intact.append(parsed)
    batch.parsed = intact
    kept = {item.id for parsed in intact for item in parsed.items}
    batch.vectors = [rows.only(kept) for rows in batch.vectors]


def documents_by_id(store: Store, ids: Iterable[str]) -> dict[str, Document]:
    """Return the documents of a store with these ids."""
    return {document.id: document for document in store.documents(ids=list(ids))}


class Committer:
    """Commits batches to a store, and adds to ``report`` what came of them.

    ``crops`` are the crops of the collection's folder, if it has one on this machine.
    """

    def __init__(self, store: Store, space: Space, crops: Crops | None = None) -> None:
        self._store = store
        self._space = space
        self._crops = crops
        self.report = Report()
        self.pictures = 0
        """Number of pictures in all documents so far."""
        self.recordings = 0
        """Number of videos and recordings of sound so far."""
        self.unknown = 0
        """Number of documents so far with texts that the model does not know, which have no vector."""

    def commit(self, batch: Batch) -> None:
        """Commit one batch, which is embedded first if it has no vectors yet."""
        self.pictures += sum(len(parsed.pictures) for parsed in batch.parsed)
        self.recordings += sum(parsed.document.media_type.startswith(("audio/", "video/")) for parsed in batch.parsed)
        batch.parsed = self._with_unique_ids(batch.parsed)
        self._refuse_types_of_others(batch)
        if batch.vectors is None:
            embed(batch, self._space, self._store.stored_vectors)
        self.unknown += self._unknown_documents(batch)
        while batch.parsed:
            self._refuse_types(batch)
            if self._add(batch):
                break
        self.put_failures(batch.failures)

    def put_failures(self, failures: Sequence[tuple[AnySource, ReadError]]) -> None:
        """Report sources that could not be read. Files are recorded as failed; their earlier content is kept."""
        from commonplace.ingest import RecordContent, id_of, name_of

        before = self._documents(id_of(source) for source, _ in failures)
        noted = []
        for source, problem in failures:
            document = before.get(id_of(source))
            reason = str(problem)
            if isinstance(source, RecordContent):
                self.fail(name_of(source), reason + (_KEPT if document is not None else ""))
            else:
                self.fail(name_of(source), reason)
                noted.append(_failed_document(source, reason, document))
        if noted:
            self._store.update(noted)

    def fail(self, name: str, reason: str) -> None:
        """Report that the source with this name failed."""
        self.report.failed.append((name, reason))
        log.warning("%s: %s", name, reason)

    def include(self, report: Report, pictures: int, unknown: int) -> None:
        """Add to this report what another process has committed to the same store."""
        self.report.added += report.added
        self.report.changed += report.changed
        self.report.moved += report.moved
        self.pictures += pictures
        self.unknown += unknown
        for name, reason in report.partial:
            self._partly_read(name, reason)
        for name, reason in report.failed:
            self.fail(name, reason)

    def _unknown_documents(self, batch: Batch) -> int:
        """Return the number of documents in an embedded batch with texts that have no vector."""
        if self._space.text is None:
            return 0
        embedded = {id_ for rows in batch.vectors or () if rows.partition == TEXT for id_ in rows.item_ids}
        return sum(any(item.id not in embedded and item.text_view for item in parsed.items) for parsed in batch.parsed)

    def _partly_read(self, name: str, reason: str) -> None:
        self.report.partial.append((name, reason))
        log.warning("%s: partly read: %s", name, reason)

    def _documents(self, ids: Iterable[str]) -> dict[str, Document]:
        return documents_by_id(self._store, ids)

    def _with_unique_ids(self, documents: list[ParsedDocument]) -> list[ParsedDocument]:
        """Return one document for each id: two paths of one file (through a new link) give one document.

        If a file and a record of one call have the same id, the later one is reported as failed.
        """
        before = self._documents(parsed.document.id for parsed in documents)
        unique: dict[str, ParsedDocument] = {}
        for parsed in documents:
            document = parsed.document
            earlier = unique[document.id].document if document.id in unique else before.get(document.id)
            if earlier is not None and earlier.is_record != document.is_record:
                if earlier.is_record:
                    reason = _("its id belongs to the record {path}: give the record another id")
                else:
                    reason = _("its id belongs to the file {path}: give the record another id")
                self.fail(document.path, reason.format(path=earlier.path))
            else:
                unique[document.id] = parsed
        return list(unique.values())

    def _add(self, batch: Batch) -> bool:
        """Commit the documents of a batch. Return False if one was refused instead, and nothing was committed."""
        before = self._documents(parsed.document.id for parsed in batch.parsed)
        new = [parsed.document for parsed in batch.parsed if parsed.document.id not in before]
        moved = {document.id: earlier for document in new if (earlier := self._moved_from(document))}
        gone = [id_ for earlier in moved.values() for id_ in earlier]
        items = {item.id for parsed in batch.parsed for item in parsed.items}
        if self._crops is not None:
            self._crops.remove([*gone, *(parsed.document.id for parsed in batch.parsed)])
        try:
            self._store.add(batch.parsed, [rows.only(items) for rows in batch.vectors or ()], replaces=gone)
        except MetadataTypeError as conflict:  # another call has just given the key a type
            self._refuse(batch, conflict.document, conflict.differing)
            return False
        self.report.changed += len(before)
        self.report.moved += len(moved)
        self.report.added += len(new) - len(moved)
        for parsed in batch.parsed:
            if parsed.document.error:
                self._partly_read(parsed.document.path, parsed.document.error)
        return True

    def _refuse_types_of_others(self, batch: Batch) -> None:
        """Refuse documents whose keys have another type in documents outside the batch, before they are encoded."""
        used = self._used_types(batch)
        for parsed in batch.parsed:
            document = parsed.document
            for id_, differing in differing_types([(document.id, document.metadata)], used):
                self._refuse(batch, id_, differing)

    def _refuse_types(self, batch: Batch) -> None:
        """Refuse documents whose keys have another type in the collection or in an earlier document of the batch."""
        is_checked = False
        while not is_checked:
            is_checked = True
            documents = {parsed.document.id: parsed.document for parsed in batch.parsed}
            metadata = [(id_, document.metadata) for id_, document in documents.items()]
            for id_, differing in differing_types(metadata, self._used_types(batch)):
                self._refuse(batch, id_, differing)
                if not documents[id_].is_record or self._documents([id_]):  # its other keys or earlier version stay
                    is_checked = False
                    break

    def _used_types(self, batch: Batch) -> dict[str, MetadataType]:
        """Return the types that the keys of a batch have in documents that the batch does not replace."""
        keys = {key for parsed in batch.parsed for key in parsed.document.metadata.types()} - FILE_KEYS.keys()
        ids = [parsed.document.id for parsed in batch.parsed]
        return self._store.metadata_types(sorted(keys), without=ids) if keys else {}

    def _refuse(self, batch: Batch, id_: str, differing: Mapping[str, MetadataType]) -> None:
        """Turn a record with keys of another type into a failure. A file loses these keys and is partly read."""
        from commonplace.ingest import source_of

        place, parsed = next((place, parsed) for place, parsed in enumerate(batch.parsed) if parsed.document.id == id_)
        document = parsed.document
        reason = explain_differing(document.metadata, differing)
        if document.is_record:
            batch.failures.append((source_of(document), ReadError(reason)))
            batch.parsed = [*batch.parsed[:place], *batch.parsed[place + 1 :]]
            return
        names = ", ".join(map(repr, sorted(differing)))
        error = document.error + _("; ") if document.error else ""
        error += _("the metadata under {names} is left out, because its type in the collection is another one").format(
            names=names
        )
        document = replace(document, status="partial", error=error, metadata=document.metadata.without(differing))
        batch.parsed = [*batch.parsed[:place], replace(parsed, document=document), *batch.parsed[place + 1 :]]

    def _moved_from(self, document: Document) -> list[str]:
        """Return the ids of missing files with the same bytes: this file is one of them, moved.

        A file on a disk that is not mounted is not known to be moved.
        In a shared store a file that is missing here may exist on another machine, so none is known to be moved.
        """
        if not document.is_file or self._store.capabilities.shared:
            return []
        mounts = Mounts(self._store)
        return [
            other.id
            for other in self._store.documents(content_hash=document.content_hash)
            if other.id != document.id and other.is_file and is_gone(other) and mounts.missing(other.path) is None
        ]


def _failed_document(source: AnySource, reason: str, before: Document | None) -> Document:
    """Return the document of a file that could not be read. Content that was read earlier stays searchable."""
    from commonplace.ingest import RemoteFile, Source

    assert isinstance(source, Source | RemoteFile)
    mark = source.stamp if isinstance(source, RemoteFile) else _stamp_of(source.path)
    if before is not None:
        return replace(before, status="failed", error=reason + (_(_KEPT) if before.items else ""), stamp=mark)
    if isinstance(source, RemoteFile):
        document = source.document
    else:
        path = source.path
        document = Document(document_id(path), canonical_path(path).as_uri(), display_path(path), _type_of(path))
    return replace(
        document,
        media_type=document.media_type or "application/octet-stream",
        status="failed",
        error=reason,
        stamp=mark,
    )


def _stamp_of(path: Path) -> str:
    from commonplace.readers import stamp

    try:
        return stamp([path])
    except OSError:
        return ""


def _type_of(path: Path) -> str:
    """Return the media type of a file; empty where it cannot be told."""
    from commonplace.readers import media_type

    try:
        return media_type(path) or ""
    except (OSError, ReadError):
        return ""
