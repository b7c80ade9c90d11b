"""From paths to committed documents: what an ``add`` does."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np

from commonplace.crops import Crops
from commonplace.encoders.runtime import threads
from commonplace.errors import QueryError, ReadError
from commonplace.space import Space
from commonplace.store import Store
from commonplace.types import Document, ViewVectors, stable_id

if TYPE_CHECKING:
    from commonplace.ingest import Batch, Source

__all__ = ["Indexer", "Report", "canonical_path", "display_path", "document_id"]

log = logging.getLogger("commonplace")

OCR_SECONDS = 600.0  # for the words in the pictures of one file: some hundreds of pages
LOOKED_UP = 1000  # documents that are looked up at once
EVERY = 30.0  # seconds between two lines that say how far it is
NO_OCR = "words in pictures were not read: install commonplace with the extra ocr, then add the pictures with --force"


@dataclass(slots=True)
class Report:
    """What an ``add`` did: how many documents it added, changed, moved, left alone, and which failed and why."""

    added: int = 0
    changed: int = 0
    moved: int = 0
    unchanged: int = 0
    missing: int = 0
    """Documents of the folders that were added whose file is gone; ``remove(missing=True)`` removes them."""
    partial: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    """How many files of which ending are of no type that is read."""
    notes: list[str] = field(default_factory=list)
    """What was left out of all of them, and what would bring it in."""

    def __str__(self) -> str:
        counts = [(self.added, "added"), (self.changed, "changed"), (self.moved, "moved")]
        counts += [(self.unchanged, "unchanged"), (len(self.partial), "partly read"), (len(self.failed), "failed")]
        counts += [(self.missing, "missing")]
        parts = [f"{count} {name}" for count, name in counts if count]
        if self.skipped:
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.skipped.items()))
            parts.append(f"{sum(self.skipped.values())} of types that are not read ({kinds})")
        return ", ".join(parts) or "nothing to add"


class Indexer:
    """One ``add`` to the collection in ``folder``; see :meth:`commonplace.Collection.add` for what it promises.

    ``retry_failed`` reads files again that failed before, ``force`` all of them.
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
        self._store = store
        self._space = space
        self._folder = folder
        self._crops = crops
        self._retry_failed = retry_failed
        self._force = force
        self.report = Report()

    def run(
        self,
        paths: Iterable[str | os.PathLike[str]],
        *,
        workers: int | None = None,
        progress: bool | None = None,
        ocr: bool | None = None,
    ) -> Report:
        """Read, embed and commit what is new or changed; return what was done."""
        from commonplace.ingest import ATTEMPTS, Batch, InFlightJournal, Pool, ingest, walk
        from commonplace.readers import ReadOptions, are_readable

        if workers is not None and not 1 <= workers <= 256:
            raise QueryError(f"workers is {workers}: choose 1 to 256")
        if ocr and not are_readable():
            raise QueryError("the extra for words in pictures is not here: install commonplace with the extra ocr")
        if ocr is None:
            ocr = are_readable() and os.environ.get("COMMONPLACE_OCR") != "0"
        self._space.verify()
        report = self.report
        sources, problems, skipped = walk([Path(path) for path in paths], exclude=self._folder)
        report.skipped = dict(skipped)
        for path, reason in problems:
            report.failed.append((str(path), reason))
            log.warning("%s: %s", path, reason)
        waiting = sources if self._force else list(self._changed(sources))
        report.unchanged = len(sources) - len(waiting)
        options = ReadOptions(*self._space.measure, words=OCR_SECONDS if ocr else 0.0)
        bar = _Progress(len(sources), report.unchanged, progress)
        if waiting:
            pictures, count = 0, workers or min(threads(), len(waiting))
            memory = (5 if ocr else 2) * 1024**3
            journal = InFlightJournal(self._folder)
            if self._retry_failed:
                journal.end([*journal.counts])
            deaths = {source: journal.counts.get(document_id(source.path), 0) for source in waiting}
            fatal = [source for source, died in deaths.items() if died >= ATTEMPTS]
            with bar, Pool(options, count, timeout=60 + 1.5 * options.words, memory=memory) as pool:
                why = ReadError(
                    f"the program ended {ATTEMPTS} times while it was embedded; split it, or use --retry-failed"
                )
                self._put(Batch(failures=[(source, why) for source in fatal]))
                journal.end(document_id(source.path) for source in fatal)
                suspects = sorted((died, n) for n, died in enumerate(deaths.values()) if 0 < died < ATTEMPTS)
                alone = [[waiting[n]] for _, n in suspects]  # the likely ones last
                for some in ([source for source, died in deaths.items() if not died], *alone):
                    for batch in ingest(some, pool, bar.step):
                        pictures += sum(len(reading.pictures) for reading in batch.parsed)
                        ids = [reading.document.id for reading in batch.parsed]
                        journal.begin(ids)
                        self._put(batch)
                        journal.end(ids)
                journal.end(document_id(source.path) for (source,) in alone)
            if pictures and not are_readable():
                report.notes.append(NO_OCR)
        self._crops.prune()
        report.missing = self._missing(paths)
        return report

    def _missing(self, paths: Iterable[str | os.PathLike[str]]) -> int:
        """Return how many documents below these folders have lost their file."""
        missing = 0
        folder = ""
        for path in sorted(display_path(path).rstrip(os.sep) + os.sep for path in paths):
            if not folder or not path.startswith(folder):  # else it was counted with the folder above it
                folder = path
                below = self._store.documents(below=folder.rstrip(os.sep) or os.sep)
                missing += sum(
                    document.path.startswith(folder) and not os.path.lexists(document.path) for document in below
                )
        return missing

    def _known(self, ids: Iterable[str]) -> dict[str, Document]:
        """Return the documents with these ids that the collection holds."""
        return {document.id: document for document in self._store.documents(ids=list(ids))}

    def _put(self, batch: Batch) -> None:
        """Encode and commit one batch."""
        from commonplace.ingest import Source

        gone: list[str] = []
        # One document by two names (a link that appeared meanwhile) is one document.
        parsed = list({reading.document.id: reading for reading in batch.parsed}.values())
        vectors = self._space.encode(parsed, self._store.known) if parsed else []
        wrong = {rows.item_ids[n] for rows in vectors for n in np.flatnonzero(~np.isfinite(rows.vectors).all(axis=1))}
        if wrong:  # by a broken model: the other documents go in
            problem = ReadError("the model gave vectors that are not numbers for it: try another model")
            broken = [one for one in parsed if any(item.id in wrong for item in one.items)]
            parsed = [one for one in parsed if one not in broken]
            vectors = [_only(rows, {item.id for one in parsed for item in one.items}) for rows in vectors]
            paths = [Path(one.document.path) for one in broken]
            batch.failures += [(Source(path, path.parent), problem) for path in paths]
        known = self._known(reading.document.id for reading in parsed)
        for reading in parsed:
            document = reading.document
            if document.id in known:
                self.report.changed += 1
            elif moved := self._moved_from(document):
                gone += moved
                self.report.moved += 1
            else:
                self.report.added += 1
            if document.error:
                self.report.partial.append((document.path, document.error))
                log.warning("%s: partly read: %s", document.path, document.error)
        if parsed:
            self._crops.remove([*gone, *(reading.document.id for reading in parsed)])
            self._store.add(parsed, vectors, replaces=gone)
        failures = []
        known = self._known(document_id(source.path) for source, _ in batch.failures) if batch.failures else {}
        for source, problem in batch.failures:
            self.report.failed.append((str(source.path), str(problem)))
            log.warning("%s: %s", source.path, problem)
            failures.append(self._failed(source, str(problem), known.get(document_id(source.path))))
        if failures:
            self._store.update(failures)

    def _changed(self, sources: Sequence[Source]) -> Iterator[Source]:
        """Yield the sources that the collection does not hold as they are now."""
        for start in range(0, len(sources), LOOKED_UP):
            some = {document_id(source.path): source for source in sources[start : start + LOOKED_UP]}
            known = self._known(some)
            yield from (source for id_, source in some.items() if not self._unchanged(known.get(id_)))

    def _unchanged(self, known: Document | None) -> bool:
        from commonplace.readers import stamp, stamp_paths

        if known is None or (self._retry_failed and known.status == "failed"):
            return False
        try:
            return stamp(stamp_paths(known.stamp)) == known.stamp
        except (OSError, ValueError):
            return False

    def _moved_from(self, document: Document) -> list[str]:
        """Return the documents with the same bytes whose file is gone: this one is theirs under a new name."""
        same = self._store.documents(content_hash=document.content_hash)
        return [other.id for other in same if other.id != document.id and not os.path.lexists(other.path)]

    def _failed(self, source: Source, reason: str, known: Document | None) -> Document:
        """Return the row for a file that could not be read; an earlier good reading of it stays findable."""
        from commonplace.readers import media_type, stamp

        try:
            mark = stamp([source.path])
        except OSError:
            mark = ""
        if known is not None:
            if known.items:
                reason += "; what was read of it before is kept"
            return replace(known, status="failed", error=reason, stamp=mark)
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
    """How many files are done: a bar on a terminal, elsewhere a line in the log ``commonplace.progress`` now and then.

    ``shown`` is whether there is a bar (None: where standard error is a terminal).
    """

    def __init__(self, total: int, done: int, shown: bool | None) -> None:
        from tqdm import tqdm

        self._total, self._done, self._next = total, done, monotonic() + EVERY
        self._bar = tqdm(total=total, initial=done, unit="file", disable=None if shown is None else not shown)

    def step(self) -> None:
        """Count one file more."""
        self._bar.update()
        self._done += 1
        if self._bar.disable and monotonic() >= self._next and self._done < self._total:
            self._next = monotonic() + EVERY
            logging.getLogger("commonplace.progress").info("%s of %s files", f"{self._done:,}", f"{self._total:,}")

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()


def canonical_path(path: str | os.PathLike[str]) -> Path:
    """Return the path with every link resolved: what a document's id and URI are made from."""
    return Path(os.path.realpath(os.path.expanduser(path)))


def display_path(path: str | os.PathLike[str]) -> str:
    """Return the absolute path as the user knows it, links and all: what a document shows."""
    return os.path.abspath(os.path.expanduser(path))


def document_id(path: Path) -> str:
    """Return the id of the document that is made of the file at ``path``."""
    return stable_id(canonical_path(path).as_uri())


def _only(rows: ViewVectors, items: set[str]) -> ViewVectors:
    """Return the rows of these items."""
    kept = [n for n, item in enumerate(rows.item_ids) if item in items]
    items_of, views = (tuple(names[n] for n in kept) for names in (rows.item_ids, rows.views))
    return ViewVectors(rows.partition, items_of, views, rows.vectors[kept])
