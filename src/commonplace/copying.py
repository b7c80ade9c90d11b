"""Copies a collection from one store to another without embedding anything again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from commonplace._session import FINGERPRINT
from commonplace.errors import ModelMismatch
from commonplace.i18n import _
from commonplace.places import PLUGINS
from commonplace.retrieval.background import SETTING, learn
from commonplace.space import Space
from commonplace.store import MetadataTypeError, Store
from commonplace.types import Document, Original, ParsedDocument, Picture, ViewVectors

__all__ = ["Copied", "copy"]


LOOKED_UP = 500  # number of documents that are compared with the target at once
BATCH_DOCUMENTS, BATCH_ITEMS, BATCH_BYTES = 100, 1000, 32 * 1024**2  # what one transaction of the target holds
PASSES = 5  # over the source, while other processes change it
READERS = 8  # pictures that are read at once: a bucket answers each after some milliseconds
DERIVED = {FINGERPRINT, SETTING, PLUGINS}  # settings that the target gets in another way
LEXICAL = "lexical"  # the name under which ``Store.views()`` lists words, which have no vector
_NO_PIXELS = np.zeros((0, 0, 3), np.uint8)


@dataclass(slots=True)
class Copied:
    """The result of a copy: numbers of copied documents, and of those that the target had already.

    ``incomplete`` and ``failed`` are pairs of a document's path and a reason. Incomplete documents have damaged items
    or pictures in the source, which were left out.
    """

    documents: int = 0
    unchanged: int = 0
    incomplete: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)

    def __str__(self) -> str:
        counts = [
            (self.documents, _("{count} copied")),
            (self.unchanged, _("{count} unchanged")),
            (len(self.incomplete), _("{count} incomplete")),
            (len(self.failed), _("{count} failed")),
        ]
        parts = [part.format(count=count) for count, part in counts if count]
        return ", ".join(parts) or _("nothing to copy")


def copy(source: Store, target: Store, space: Space, *, progress: bool | None = None) -> Copied:
    """Copy all documents, labels and settings of a store into another store of the same model.

    Documents that the target has already are left alone, so an interrupted copy resumes. Other documents of the target
    are kept. Documents that change in the source meanwhile are copied again. ``progress`` shows a bar (default: where
    standard error is a terminal).

    Raises CollectionError if one of the stores cannot be read or written, and ModelMismatch if views of the source
    were made by another version of an installed package.
    """
    _copy_plugins(source, target)
    report = _Copier(source, target).run(progress)
    held = set(target.labels())
    for label in source.labels():
        if label not in held:
            target.label(*label)
    for name, value in source.settings().items():
        if name not in DERIVED:
            target.set_setting(name, value)
    if report.documents:
        learn(space, target)
        if target.maintenance is not None:
            target.maintenance.checkpoint()
    return report


def _copy_plugins(source: Store, target: Store) -> None:
    """Merge the fingerprints of the encoders of installed packages, which made some of the views."""
    made_by, wanted = (json.loads(store.setting(PLUGINS) or "{}") for store in (target, source))
    for view, fingerprint in wanted.items():
        if made_by.get(view, fingerprint) != fingerprint:
            raise ModelMismatch(
                _(
                    "the {view} vectors were made by the encoder {fingerprint}, and those of the target by "
                    "{other}: copy into a new collection"
                ).format(view=view, fingerprint=fingerprint, other=made_by[view])
            )
    if wanted.items() - made_by.items():
        target.set_setting(PLUGINS, json.dumps(made_by | wanted))


@dataclass(slots=True)
class _Batch:
    """Documents that have been read, with their items; ``size`` is their number of bytes."""

    parsed: list[ParsedDocument] = field(default_factory=list)
    items: int = 0
    size: int = 0

    @property
    def is_full(self) -> bool:
        return len(self.parsed) >= BATCH_DOCUMENTS or self.items >= BATCH_ITEMS or self.size >= BATCH_BYTES


class _Copier:
    def __init__(self, source: Store, target: Store) -> None:
        self._source, self._target = source, target
        self._report = Copied()
        self._step: Callable[[int], object] = int

    def run(self, progress: bool | None) -> Copied:
        from tqdm import tqdm

        total = sum(self._source.counts("documents")["documents"].values())
        bar = tqdm(total=total, unit=_("document"), disable=None if progress is None else not progress)
        documents, changed = self._source.documents(), list[str]()
        with bar, ThreadPoolExecutor(READERS, "commonplace-copy") as self._readers:
            self._step = bar.update
            for _pass in range(PASSES):
                changed = self._copy(documents)
                documents = self._source.documents(ids=changed)
                if not changed:
                    break
        for document in documents:
            self._report.failed.append((document.path, _("it changed while it was copied: copy again")))
        return self._report

    def _copy(self, documents: Iterator[Document]) -> list[str]:
        """Copy the documents that the target lacks. Return the ids of those that changed while they were read."""
        changed: list[str] = []
        batch = _Batch()
        while window := list(islice(documents, LOOKED_UP)):
            held = {document.id: document for document in self._target.documents(ids=[each.id for each in window])}
            for document in window:
                if document.id in held and _state(held[document.id]) == _state(document):
                    self._report.unchanged += 1
                    self._step(1)
                    continue
                self._read(document, batch)
                if batch.is_full:
                    changed += self._write(batch)
                    batch = _Batch()
        return changed + self._write(batch)

    def _read(self, document: Document, batch: _Batch) -> None:
        """Add a document with its items, pictures and original to a batch."""
        items = self._source.items_of(document.id)
        names = list(dict.fromkeys(item.picture for item in items if item.picture is not None))
        sizes = self._source.picture_sizes(names)
        thumbnails = zip(names, self._readers.map(self._source.thumbnail, names), strict=True)
        pictures = {
            name: Picture(_NO_PIXELS, thumbnail, *sizes.get(name, (0, 0)))
            for name, thumbnail in thumbnails
            if thumbnail is not None
        }
        content = None if document.is_file else self._source.original(document.id)
        original = None if content is None else Original(document.media_type, content)
        batch.parsed.append(ParsedDocument(document, tuple(items), pictures, original=original))
        batch.items += len(items)
        batch.size += len(content or b"") + sum(len(picture.thumbnail) for picture in pictures.values())
        batch.size += sum(len(item.text or "") for item in items)

    def _write(self, batch: _Batch) -> list[str]:
        """Add a batch to the target. Return the ids of its documents that have changed since they were read."""
        ids = [item.id for parsed in batch.parsed for item in parsed.items]
        existing, vectors = self._source.views(ids), self._source.views_of(ids)
        now = {each.id: each for each in self._source.documents(ids=[each.document.id for each in batch.parsed])}
        steady = [parsed for parsed in batch.parsed if now.get(parsed.document.id) == parsed.document]
        lost = _lost_views(existing, vectors)
        self._step(len(steady))
        while steady:
            items = {item.id for parsed in steady for item in parsed.items}
            try:
                self._target.add(steady, [rows for rows in (rows.only(items) for rows in vectors) if rows.item_ids])
                break
            except MetadataTypeError as conflict:
                (refused,) = (parsed for parsed in steady if parsed.document.id == conflict.document)
                steady.remove(refused)
                self._report.failed.append((refused.document.path, str(conflict)))
        self._report.documents += len(steady)
        for parsed in steady:
            if reason := _missing_parts(parsed, lost):
                self._report.incomplete.append((parsed.document.path, reason))
        return [
            parsed.document.id for parsed in batch.parsed if now.get(parsed.document.id) not in (None, parsed.document)
        ]


def _state(document: Document) -> tuple[object, ...]:
    """Return what differs between two versions of a document."""
    return document.content_hash, document.stamp, document.status, document.error, document.items, document.path


def _lost_views(existing: Mapping[str, frozenset[str]], vectors: Sequence[ViewVectors]) -> set[str]:
    """Return the ids of the items with a view whose vector is damaged."""
    intact = {(rows.partition, item) for rows in vectors for item in rows.item_ids}
    return {
        item
        for item, partitions in existing.items()
        if any((partition, item) not in intact for partition in partitions - {LEXICAL})
    }


def _missing_parts(parsed: ParsedDocument, lost: set[str]) -> str:
    """Return in words what of a document is damaged in the source; empty if it is complete."""
    items = max(parsed.document.items - len(parsed.items), 0)
    pictures = len({item.picture for item in parsed.items} - {None} - parsed.pictures.keys())
    vectors = sum(item.id in lost for item in parsed.items)
    counts = (
        (items, _("{count} items")),
        (pictures, _("{count} pictures")),
        (vectors, _("{count} vectors of items")),
    )
    parts = ", ".join(part.format(count=count) for count, part in counts if count)
    return _("{parts} damaged in the source: add the document again").format(parts=parts) if parts else ""
