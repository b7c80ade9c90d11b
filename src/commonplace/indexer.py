"""The indexer: reads, embeds and commits files and records for ``Collection.add()``."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np

from commonplace.crops import Crops
from commonplace.encoders.runtime import threads
from commonplace.errors import CommonplaceError, QueryError, ReadError, SourceError
from commonplace.metadata import FILE_KEYS, MetadataType, differing_types, explain_differing
from commonplace.paths import checked_path, expanded_path
from commonplace.records import Checker, elements, label
from commonplace.space import Space
from commonplace.store import MetadataTypeError, Store
from commonplace.types import Document, ParsedDocument, ViewVectors, stable_id

if TYPE_CHECKING:  # a search needs no readers
    from commonplace.ingest import Batch, RecordContent, Source
    from commonplace.readers import ReadOptions

__all__ = ["Indexer", "Report", "canonical_path", "display_path", "document_id"]

log = logging.getLogger("commonplace")

OCR_SECONDS = 600.0  # time limit for OCR of one file: enough for some hundreds of pages
LOOKED_UP = 500  # number of files or records whose documents are looked up at once
WINDOW_BYTES = 64 * 1024**2  # maximum size of the records that wait to be looked up
EVERY = 30.0  # seconds between two progress lines in the log
NO_OCR = "words in pictures were not read: install commonplace with the extra ocr, then add the pictures with --force"

_KEPT = "; the earlier content is kept"


@dataclass(slots=True)
class Report:
    """The result of ``add``: numbers of added, changed, moved and unchanged documents, and the failures with reasons.

    ``partial`` and ``failed`` are pairs of name and reason. The name is the path of a file, or the URI of a record (or
    its position in the call if it has none).
    """

    added: int = 0
    changed: int = 0
    moved: int = 0
    unchanged: int = 0
    missing: int = 0
    """Number of documents in the added folders whose file no longer exists; ``remove(missing=True)`` removes them."""
    partial: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    """Number of skipped files of unsupported types, by file ending."""
    notes: list[str] = field(default_factory=list)
    """Content that was left out of all documents, each with the way to include it."""

    def __str__(self) -> str:
        counts = [(self.added, "added"), (self.changed, "changed"), (self.moved, "moved")]
        counts += [(self.unchanged, "unchanged"), (len(self.partial), "partly read"), (len(self.failed), "failed")]
        counts += [(self.missing, "missing")]
        parts = [f"{count} {name}" for count, name in counts if count]
        if self.skipped:
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.skipped.items()))
            parts.append(f"{sum(self.skipped.values())} of unsupported types ({kinds})")
        return ", ".join(parts) or "nothing to add"


class Indexer:
    """Runs one ``add`` to the collection in ``folder``; see ``commonplace.Collection.add()`` for its guarantees.

    ``retry_failed`` also reads files that failed before. ``force`` reads all files and records again.
    """

    def __init__(
        self,
        store: Store,
        space: Space,
        folder: Path,
        crops: Crops,
        *,
        retry_failed: bool = False,
        force: bool = False,
    ) -> None:
        from commonplace.ingest import InFlightJournal

        self._store = store
        self._space = space
        self._folder = folder
        self._crops = crops
        self._retry_failed = retry_failed
        self._force = force
        self._journal = InFlightJournal(folder)
        self._checker = Checker()
        # Sources that were in flight when a process died, each with the number of such deaths.
        self._suspects: list[tuple[int, Source | RecordContent]] = []
        self._waiting = 0  # number of sources to read that are known so far
        self._pictures = 0
        self._error: Exception | None = None  # raised by an iterable of the caller
        self._folders: dict[str, None] = {}  # the added paths that are no files, whose documents may be missing
        self.report = Report()

    def run(
        self,
        sources: Iterable[Any],
        *,
        workers: int | None = None,
        progress: bool | None = None,
        ocr: bool | None = None,
    ) -> Report:
        """Read, embed and commit all new and changed sources; return the report.

        ``sources`` are paths, records, and iterables of them. ``workers`` is the number of reader processes, 1 to 256.
        Raises SourceError if an iterable raises an error. Raises QueryError for an invalid ``workers``, or for ``ocr``
        without the extra ocr.
        """
        from commonplace.readers import ReadOptions, are_readable

        if workers is not None and not 1 <= workers <= 256:
            raise QueryError(f"workers is {workers}: choose 1 to 256")
        if ocr and not are_readable():
            raise QueryError("reading words in pictures needs the extra ocr: install commonplace with the extra ocr")
        if ocr is None:
            ocr = are_readable() and os.environ.get("COMMONPLACE_OCR") != "0"
        self._space.check()  # runs while the first files are read
        options = ReadOptions(*self._space.measure, ocr_seconds=OCR_SECONDS if ocr else 0.0)
        listed = list(sources)
        paths = self._paths(source for source in listed if isinstance(source, (str, os.PathLike)))
        others = [source for source in listed if not isinstance(source, (str, os.PathLike))]
        self._waiting = len(others)
        if self._retry_failed:
            self._journal.end([*self._journal.counts])
        with _Progress(progress) as bar:
            self._read(self._changed(paths, others, bar), options, workers, bar)
        if self._pictures and not are_readable():
            self.report.notes.append(NO_OCR)
        self._crops.prune()
        self.report.missing = self._missing()
        if self._error is not None:
            raise SourceError(
                f"the sources raised {_one_line(self._error)}; everything before it was added: {self.report}",
                self.report,
            ) from self._error
        return self.report

    # --- selection of sources --------------------------------------------------------------------------------

    def _changed(self, paths: list[Path], others: list[Any], bar: _Progress) -> Iterator[Source | RecordContent]:
        """Yield new and changed sources. Sources that crashed a process before are put aside, or recorded as failed."""
        from commonplace.ingest import ATTEMPTS

        for source in chain(self._changed_files(paths, bar), self._changed_elements(others, bar)):
            died = self._journal.counts.get(_id_of(source), 0)
            if died >= ATTEMPTS:
                problem = f"indexing it crashed the process {ATTEMPTS} times; split it, or use --retry-failed"
                self._put_failures([(source, ReadError(problem))])
                self._journal.end([_id_of(source)])
            elif died:
                self._suspects.append((died, source))
            else:
                yield source

    def _paths(self, names: Iterable[str | os.PathLike[str]]) -> list[Path]:
        """Return the paths of the caller. Paths that no file can have are reported as failed."""
        paths = []
        for path in names:
            try:
                text = checked_path(path, ReadError)
                if not text:
                    raise ReadError("the path is empty: say which file or folder")
                paths.append(Path(text))
            except ReadError as problem:
                name = (
                    (path or "an empty path") if isinstance(path, str) else f"an object of type {type(path).__name__}"
                )
                self._fail(name, str(problem))
        return paths

    def _changed_files(self, paths: list[Path], bar: _Progress) -> Iterator[Source]:
        from commonplace.ingest import walk

        self._folders.update((display_path(path), None) for path in paths if not os.path.isfile(path))
        files, problems, skipped = walk(paths, exclude=self._folder)
        for ending, count in skipped.items():
            self.report.skipped[ending] = self.report.skipped.get(ending, 0) + count
        for path, reason in problems:
            self._fail(str(path), reason)
        bar.expect(len(files))
        changed: list[Source] = []
        for start in range(0, len(files), LOOKED_UP):
            window = files[start : start + LOOKED_UP]
            before = self._documents(document_id(file.path) for file in window)
            for file in window:
                document = before.get(document_id(file.path))
                if document is not None and not document.is_file:
                    reason = f"its id belongs to the record {document.path}: give the record another id"
                    self._fail(str(file.path), reason)
                elif self._force or not self._is_unchanged(file, document):
                    changed.append(file)
                else:
                    self.report.unchanged += 1
        bar.step(len(files) - len(changed))
        self._waiting += len(changed)
        yield from changed

    def _changed_elements(self, others: list[Any], bar: _Progress) -> Iterator[Source | RecordContent]:
        """Yield the changed files and records of the caller's iterables, in windows of limited size."""
        paths: list[Path] = []
        contents: list[RecordContent] = []
        size = 0
        for number, element in enumerate(self._elements(others), start=1):
            if isinstance(element, (str, os.PathLike)):
                paths += self._paths([element])
            else:
                bar.expect(1)
                try:
                    content = self._checker.content(element)
                except ReadError as problem:
                    self._fail(label(element, number), str(problem))
                    bar.step()
                    continue
                if content is None:
                    self.report.unchanged += 1
                    bar.step()
                    continue
                contents.append(content)
                size += len(content.data or content.text or "")
            if len(paths) + len(contents) >= LOOKED_UP or size >= WINDOW_BYTES:
                yield from self._changed_files(paths, bar)
                yield from self._changed_records(contents, bar)
                paths, contents, size = [], [], 0
        yield from self._changed_files(paths, bar)
        yield from self._changed_records(contents, bar)

    def _elements(self, others: list[Any]) -> Iterator[Any]:
        """Yield each element of the caller's sources. An error in an iterable ends the iteration and is stored."""
        try:
            for other in others:
                yield from elements(other)
        except Exception as error:
            self._error = error

    def _changed_records(self, contents: list[RecordContent], bar: _Progress) -> Iterator[RecordContent]:
        before = self._documents(content.document.id for content in contents)
        changed: list[RecordContent] = []
        for content in contents:
            document = before.get(content.document.id)
            if document is not None and document.is_file:
                self._fail(content.document.path, f"its id belongs to the file {document.path}: use another id")
            elif document is not None and document.stamp == content.document.stamp and not self._force:
                self.report.unchanged += 1
            else:
                changed.append(content)
        bar.step(len(contents) - len(changed))
        self._waiting += len(changed)
        yield from changed

    def _is_unchanged(self, source: Source, document: Document | None) -> bool:
        from commonplace.readers import stamp, stamp_paths

        if document is None or (self._retry_failed and document.status == "failed"):
            return False
        try:
            return stamp(stamp_paths(document.stamp)) == document.stamp
        except (OSError, ValueError):
            return False

    def _documents(self, ids: Iterable[str]) -> dict[str, Document]:
        """Return the documents of the collection with these ids."""
        return {document.id: document for document in self._store.documents(ids=list(ids))}

    def _missing(self) -> int:
        """Return the number of documents at or below the added paths whose file no longer exists."""
        documents = {document.id: document for path in self._folders for document in self._store.documents(below=path)}
        gone = (document.is_file and not os.path.lexists(document.path) for document in documents.values())
        return sum(gone)

    # --- reading and committing ------------------------------------------------------------------------------

    def _read(
        self, sources: Iterator[Source | RecordContent], options: ReadOptions, workers: int | None, bar: _Progress
    ) -> None:
        """Read the sources in worker processes and commit them. Sources that crashed before come last, one by one."""
        from commonplace.ingest import Pool, ingest

        first = next(sources, None)  # start workers only if there is something to read
        if first is None and not self._suspects:
            return
        count = workers or min(threads(), max(1, self._waiting))
        memory = (5 if options.ocr_seconds else 2) * 1024**3
        with Pool(options, count, timeout=60 + 1.5 * options.ocr_seconds, memory=memory) as pool:
            for batch in ingest(chain([first] if first is not None else [], sources), pool, bar.step):
                self._commit(batch)
            for _, source in sorted(self._suspects, key=lambda suspect: suspect[0]):  # the most likely culprits last
                for batch in ingest([source], pool, bar.step):
                    self._commit(batch)
                self._journal.end([_id_of(source)])

    def _commit(self, batch: Batch) -> None:
        self._pictures += sum(len(parsed.pictures) for parsed in batch.parsed)
        ids = [parsed.document.id for parsed in batch.parsed]
        if ids:
            self._space.check(wait=True)  # wait for the check, so that a damaged model stores no vectors
        self._journal.begin(ids)
        self._put(batch)
        self._journal.end(ids)

    def _put(self, batch: Batch) -> None:
        """Encode and commit one batch."""
        batch.parsed = self._with_unique_ids(batch.parsed)
        self._refuse_types_of_others(batch)
        vectors = self._encode(batch)
        while batch.parsed:
            self._refuse_types(batch)
            if self._add(batch, vectors):
                break
        self._put_failures(batch.failures)

    def _with_unique_ids(self, documents: list[ParsedDocument]) -> list[ParsedDocument]:
        """Return one document for each id: two paths of one file (through a new link) give one document.

        If a file and a record of one call have the same id, the later one is reported as failed.
        """
        before = self._documents(parsed.document.id for parsed in documents)
        unique: dict[str, ParsedDocument] = {}
        for parsed in documents:
            document = parsed.document
            earlier = unique[document.id].document if document.id in unique else before.get(document.id)
            if earlier is not None and earlier.is_file != document.is_file:
                kind = "file" if earlier.is_file else "record"
                self._fail(document.path, f"its id belongs to the {kind} {earlier.path}: give the record another id")
            else:
                unique[document.id] = parsed
        return list(unique.values())

    def _add(self, batch: Batch, vectors: list[ViewVectors]) -> bool:
        """Commit the documents of a batch. Return False if one was refused instead, and nothing was committed."""
        before = self._documents(parsed.document.id for parsed in batch.parsed)
        new = [parsed.document for parsed in batch.parsed if parsed.document.id not in before]
        moved = {document.id: earlier for document in new if (earlier := self._moved_from(document))}
        gone = [id_ for earlier in moved.values() for id_ in earlier]
        items = {item.id for parsed in batch.parsed for item in parsed.items}
        self._crops.remove([*gone, *(parsed.document.id for parsed in batch.parsed)])
        try:
            self._store.add(batch.parsed, [_only(rows, items) for rows in vectors], replaces=gone)
        except MetadataTypeError as conflict:  # another call has just given the key a type
            self._refuse(batch, conflict.document, conflict.differing)
            return False
        self.report.changed += len(before)
        self.report.moved += len(moved)
        self.report.added += len(new) - len(moved)
        for parsed in batch.parsed:
            if parsed.document.error:
                self.report.partial.append((parsed.document.path, parsed.document.error))
                log.warning("%s: partly read: %s", parsed.document.path, parsed.document.error)
        return True

    def _encode(self, batch: Batch) -> list[ViewVectors]:
        """Return the vectors of a batch. A document with non-finite vectors becomes a failure."""
        from commonplace.ingest import RecordContent, Source

        vectors = self._space.encode(batch.parsed, self._store.known) if batch.parsed else []
        broken_items = {
            rows.item_ids[n] for rows in vectors for n in np.flatnonzero(~np.isfinite(rows.vectors).all(axis=1))
        }
        if not broken_items:
            return vectors
        problem = ReadError("the model returned vectors with values that are not numbers for it: try another model")
        intact = []
        for parsed in batch.parsed:
            document, path = parsed.document, Path(parsed.document.path)
            if not any(item.id in broken_items for item in parsed.items):
                intact.append(parsed)
            else:
                source = Source(path, path.parent) if document.is_file else RecordContent(document)
                batch.failures.append((source, problem))
        batch.parsed = intact
        kept = {item.id for parsed in intact for item in parsed.items}
        return [_only(rows, kept) for rows in vectors]

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
                if documents[id_].is_file or self._documents([id_]):  # its other keys or its earlier version stay
                    is_checked = False
                    break

    def _used_types(self, batch: Batch) -> dict[str, MetadataType]:
        """Return the types that the keys of a batch have in documents that the batch does not replace."""
        keys = {key for parsed in batch.parsed for key in parsed.document.metadata.types()} - FILE_KEYS.keys()
        ids = [parsed.document.id for parsed in batch.parsed]
        return self._store.metadata_types(sorted(keys), without=ids) if keys else {}

    def _refuse(self, batch: Batch, id_: str, differing: Mapping[str, MetadataType]) -> None:
        """Turn a record with keys of another type into a failure. A file loses these keys and is partly read."""
        from commonplace.ingest import RecordContent

        place, parsed = next((place, parsed) for place, parsed in enumerate(batch.parsed) if parsed.document.id == id_)
        document = parsed.document
        reason = explain_differing(document.metadata, differing)
        if not document.is_file:
            batch.failures.append((RecordContent(document), ReadError(reason)))
            batch.parsed = [*batch.parsed[:place], *batch.parsed[place + 1 :]]
            return
        names = ", ".join(map(repr, sorted(differing)))
        error = f"{document.error}; " if document.error else ""
        error += f"the metadata under {names} is left out, because its type in the collection is another one"
        document = replace(document, status="partial", error=error, metadata=document.metadata.without(differing))
        batch.parsed = [*batch.parsed[:place], replace(parsed, document=document), *batch.parsed[place + 1 :]]

    def _moved_from(self, document: Document) -> list[str]:
        """Return the ids of missing files with the same bytes: this file is one of them, moved."""
        if not document.is_file:
            return []
        return [
            other.id
            for other in self._store.documents(content_hash=document.content_hash)
            if other.id != document.id and other.is_file and not os.path.lexists(other.path)
        ]

    def _put_failures(self, failures: list[tuple[Source | RecordContent, ReadError]]) -> None:
        """Report sources that could not be read. Files are recorded as failed; their earlier content is kept."""
        from commonplace.ingest import RecordContent

        before = self._documents(_id_of(source) for source, _ in failures)
        noted = []
        for source, problem in failures:
            document = before.get(_id_of(source))
            reason = str(problem)
            if isinstance(source, RecordContent):
                self._fail(source.document.path, reason + (_KEPT if document is not None else ""))
            else:
                self._fail(str(source.path), reason)
                noted.append(_failed_document(source, reason, document))
        if noted:
            self._store.update(noted)

    def _fail(self, name: str, reason: str) -> None:
        self.report.failed.append((name, reason))
        log.warning("%s: %s", name, reason)


def _failed_document(source: Source, reason: str, before: Document | None) -> Document:
    """Return the document of a file that could not be read. Content that was read earlier stays searchable."""
    from commonplace.readers import media_type, stamp

    try:
        mark = stamp([source.path])
    except OSError:
        mark = ""
    if before is not None:
        return replace(before, status="failed", error=reason + (_KEPT if before.items else ""), stamp=mark)
    try:
        kind = media_type(source.path)
    except (OSError, ReadError):
        kind = None
    return Document(
        document_id(source.path),
        canonical_path(source.path).as_uri(),
        display_path(source.path),
        kind or "application/octet-stream",
        status="failed",
        error=reason,
        stamp=mark,
    )


class _Progress:
    """Shows progress: as a bar on a terminal, otherwise as lines in the log ``commonplace.progress``.

    ``shown`` switches the bar on or off; None shows it if standard error is a terminal.
    """

    def __init__(self, shown: bool | None) -> None:
        from tqdm import tqdm

        self._total, self._done, self._next = 0, 0, monotonic() + EVERY
        self._bar = tqdm(total=0, unit="file", disable=None if shown is None else not shown)

    def expect(self, count: int) -> None:
        """Add a number of files and records to the total."""
        self._total += count
        if not self._bar.disable:
            self._bar.total = self._total
            self._bar.refresh()

    def step(self, count: int = 1) -> None:
        """Add a number of finished files and records."""
        self._bar.update(count)
        self._done += count
        if self._bar.disable and monotonic() >= self._next and self._done < self._total:
            self._next = monotonic() + EVERY
            logging.getLogger("commonplace.progress").info("%s of %s files", f"{self._done:,}", f"{self._total:,}")

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()


def canonical_path(path: str | os.PathLike[str], error: type[CommonplaceError] = QueryError) -> Path:
    """Return the path with all links resolved. A document's id and URI are derived from it.

    Raises ``error`` for a path that no file can have.
    """
    return Path(os.path.realpath(expanded_path(path, error)))


def display_path(path: str | os.PathLike[str], error: type[CommonplaceError] = QueryError) -> str:
    """Return the absolute path as the user wrote it, with unresolved links. It is the path that a document shows.

    Raises ``error`` for a path that no file can have.
    """
    return os.path.abspath(expanded_path(path, error))


def document_id(path: Path) -> str:
    """Return the id of the document of the file at ``path``."""
    return stable_id(canonical_path(path).as_uri())


def _id_of(source: Source | RecordContent) -> str:
    """Return the id of the document of a source."""
    from commonplace.ingest import RecordContent

    return source.document.id if isinstance(source, RecordContent) else document_id(source.path)


def _one_line(error: Exception) -> str:
    """Return the type and the message of an error of the caller's code."""
    try:
        message = " ".join(str(error).split())
    except Exception:  # __str__ is code of the caller
        message = ""
    return f"{type(error).__name__} ({message:.500})"


def _only(rows: ViewVectors, items: set[str]) -> ViewVectors:
    """Return the rows of these items."""
    kept = [n for n, item in enumerate(rows.item_ids) if item in items]
    items_of, views = (tuple(names[n] for n in kept) for names in (rows.item_ids, rows.views))
    return ViewVectors(rows.partition, items_of, views, rows.vectors[kept])
