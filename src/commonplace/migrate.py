"""Changes the model of a collection: embeds everything again, and then switches all searches to the new model."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from commonplace.encoders import DEFAULT_BUNDLE, BaseModel
from commonplace.encoders.runtime import threads
from commonplace.errors import CollectionError, ModelMismatch, QueryError, ReadError
from commonplace.i18n import N_, _
from commonplace.places import Place, models_of, place_of, space_of, store_for
from commonplace.retrieval import Calibration
from commonplace.retrieval.background import learn
from commonplace.space import Space, open_space
from commonplace.store import Keyed, MigrationBatch, ModelMigration, Shadow, Store, StoreSpace
from commonplace.types import IMAGE, TEXT, Document, Item, ParsedDocument, Picture

if TYPE_CHECKING:  # a search needs no readers
    from commonplace.ingest import AnySource, Pool

__all__ = ["NO_FILES", "Migrated", "migrate"]

log = logging.getLogger("commonplace")

NO_FILES = N_(
    "{name} is not kept in files here, so it is looked after where it runs: to change its model, add the documents to "
    "another collection with --model"
)
"""The error for a collection, named by its URL, that cannot be migrated."""
PAGE = 2048
"""Number of items that are read from the store at once. Within them, files are read while earlier ones are embedded."""


@dataclass(slots=True)
class Migrated:
    """The result of a migration: the collection's new model, and the number of embedded items.

    ``thumbnails`` counts pictures that were embedded from their stored thumbnail, because their file is missing or has
    changed. ``lost`` counts pictures without a thumbnail, and contents of other modalities whose file is missing or has
    changed. Searches find these items only by their words.
    """

    model: str
    items: int = 0
    thumbnails: int = 0
    lost: int = 0

    def __str__(self) -> str:
        parts = [_("{items} items embedded").format(items=self.items)]
        if self.thumbnails:
            parts.append(
                _("{thumbnails} pictures from their thumbnails (files missing or changed)").format(
                    thumbnails=self.thumbnails
                )
            )
        if self.lost:
            parts.append(_("{lost} pictures left out (neither file nor thumbnail)").format(lost=self.lost))
        return _("migrated to {model}: ").format(model=self.model) + _(", ").join(parts)


def migrate(
    collection: str | os.PathLike[str] | Place[Store],
    model: str | os.PathLike[str] | BaseModel | None = None,
    *,
    undo: bool = False,
    workers: int | None = None,
    progress: bool | None = None,
) -> Migrated:
    """Migrate a collection (its folder or URL) to another model (see ``open_space``; default: the shipped one).

    All texts and pictures are embedded again: pictures from their file if it is unchanged, otherwise from the stored
    thumbnail. Until the migration is complete, searches use the old vectors. It includes items that other processes add
    meanwhile. After an interruption the next call resumes. A tuned ranking stays with the model that it was tuned for.
    The old model itself is not needed.

    Whoever has the collection open with the old model gets ModelMismatch afterwards, and opens it again.

    The old vectors are kept until the next migration or ``vacuum``. ``undo`` returns to them, and embeds items that
    were added since. ``undo`` of an unfinished migration discards it.

    Raises CollectionError if there is no collection, nothing to undo, or another process is migrating. Raises
    ModelError if the bundle cannot be used, and ModelMismatch if the model given for ``undo`` is not the earlier one.
    Raises QueryError if ``workers`` is not 1 to 256.
    """
    if workers is not None and not 1 <= workers <= 256:
        raise QueryError(_("workers is {workers}: choose 1 to 256").format(workers=workers))
    place = place_of(collection) if isinstance(collection, str | os.PathLike) else collection
    if not place.exists():
        raise CollectionError(
            _("there is no collection in {name}: create one with `commonplace add PATH`").format(name=place.name)
        )
    store = place.open(StoreSpace("", None, 0))
    try:
        models = models_of(store)
        earlier = models.other() if undo else None
        if undo:
            if earlier is None:
                raise CollectionError(
                    _("the collection at {name} has no earlier vectors: there is nothing to undo").format(
                        name=place.name
                    )
                )
            if not earlier.served:
                models.abort()
                return Migrated(models.made_with())
            if model is None and earlier.model:
                model = earlier.model
        space = open_space("" if model is None else model)
        space.check(wait=True)
        Calibration.from_bundle(space.spec)  # rejects a model with an invalid calibration
        if earlier is not None and space.fingerprint != earlier.fingerprint:
            raise ModelMismatch(
                _(
                    "undo needs the earlier model {name} ({fingerprint}), but "
                    "{place} contains {space_name} ({space_fingerprint}): give the folder of the "
                    "earlier model with --model"
                ).format(
                    name=earlier.name,
                    fingerprint=earlier.fingerprint,
                    place=space.place or DEFAULT_BUNDLE,
                    space_name=space.name,
                    space_fingerprint=space.fingerprint,
                )
            )
        report = Migrated(space.name)
        goal = Shadow(space.name, space.fingerprint, space.place)
        with models.migration(goal, space_of(space), space.partitions_of) as migration:
            if not migration.done:
                _run(migration, _Embedder(store, migration, space, report), workers, progress)
    finally:
        store.close()
    store = store_for(place, space)
    try:
        learn(space, store)
        if store.maintenance is not None:
            store.maintenance.checkpoint()  # write the index files now, before the next search
    finally:
        store.close()
    return report


def _run(migration: ModelMigration, embedder: _Embedder, workers: int | None, progress: bool | None) -> None:
    from tqdm import tqdm

    from commonplace.ingest import Pool
    from commonplace.readers import ReadOptions

    options = ReadOptions(*embedder.space.measure, **embedder.space.sound)
    done, total = migration.progress()
    bar = tqdm(total=total, initial=done, unit=_("item"), disable=None if progress is None else not progress)
    with bar, Pool(options, workers or threads()) as pool:
        embedder.pool = pool
        while True:
            page = migration.waiting(PAGE)
            bar.n, bar.total = migration.progress()  # others may have added items, and some may have vectors already
            for batch in embedder.batches(page):
                migration.put(batch)
                bar.update(len(batch.keys))
            if len(page) < PAGE and migration.finish(embedder.batches):
                return


class _Embedder:
    """Embeds stored items in the new space."""

    pool: Pool

    def __init__(self, store: Store, migration: ModelMigration, space: Space, report: Migrated) -> None:
        self._store, self._migration, self.space, self._report = store, migration, space, report
        self._small: set[str] = set()
        self._lost: set[str] = set()

    def batches(self, page: Keyed) -> Iterator[MigrationBatch]:
        """Yield the vectors of a page of items in batches that never split a document."""
        from commonplace.ingest import BATCH_ITEMS, BATCH_PICTURES

        documents = [(list(rows), document) for document, rows in groupby(page, _document)]
        missing = [self._missing(rows) for rows, _ in documents]
        read_again = [
            document is not None and bool(names or any(_is_content(item) for _, item in rows))
            for (rows, document), names in zip(documents, missing, strict=True)
        ]
        sources = (  # a generator, because the contents of records take memory
            self._source(document)
            for (_, document), again in zip(documents, read_again, strict=True)
            if document is not None and again
        )
        parsed = self.pool.read(sources)
        keys: dict[str, int] = {}
        batch: list[ParsedDocument] = []
        pictures = until = 0
        for (rows, document), names, again in zip(documents, missing, read_again, strict=True):
            until = rows[-1][0]
            if document is not None:
                result = next(parsed)[1] if again else None
                read_pictures = self._pictures(result, names) if names else {}
                contents = result.contents if isinstance(result, ParsedDocument) else {}
                items = tuple(self._without(item, names, read_pictures) for _, item in rows if item is not None)
                self._lost |= {item.id for item in items if _is_content(item) and item.id not in contents}
                self._report.lost = len(self._lost)
                batch.append(ParsedDocument(document, items, read_pictures, contents))
                keys.update((item.id, key) for key, item in rows if item is not None)
                pictures += len(read_pictures)
            if len(keys) >= BATCH_ITEMS or pictures >= BATCH_PICTURES:
                yield self._embed(until, keys, batch)
                keys, batch, pictures = {}, [], 0
        if until and (keys or documents[-1][1] is None):
            yield self._embed(until, keys, batch)

    def _source(self, document: Document) -> AnySource:
        """Return the source of a document's pictures: its file, or the stored content of a record."""
        from commonplace.ingest import RecordContent, Source, source_of

        if document.is_file:
            return Source(Path(document.path), _root(document))
        if document.is_remote:
            return source_of(document)
        return RecordContent(document, self._store.original(document.id) or b"")

    def _embed(self, until: int, keys: dict[str, int], batch: list[ParsedDocument]) -> MigrationBatch:
        self._report.items += len(keys)
        return MigrationBatch(until, keys, self.space.encode(batch, self._migration.stored_vectors))

    def _missing(self, rows: Keyed) -> set[str]:
        """Return the pictures of these items that have no vectors in the new space yet."""
        names = {item.picture for _, item in rows if item is not None and item.picture is not None}
        held = [self._migration.stored_vectors(partition, sorted(names)).keys() for partition in self.space.pictures]
        return {name for name in names if any(name not in vectors for vectors in held)}

    def _pictures(self, result: ParsedDocument | ReadError | None, names: set[str]) -> dict[str, Picture]:
        """Return the pictures by name: from the file if they are unchanged, otherwise from the thumbnails."""
        from commonplace.readers import load_picture

        read = result.pictures if isinstance(result, ParsedDocument) else {}
        pictures = {name: read[name] for name in names if name in read}
        for name in sorted(names - pictures.keys()):
            thumbnail = self._store.thumbnail(name)
            try:
                if thumbnail is not None:
                    pictures[name] = load_picture(thumbnail)
                    self._small.add(name)
            except ReadError as problem:
                log.warning("the thumbnail of picture %s cannot be read: %s", name, problem)
        self._lost |= names - pictures.keys()
        self._report.thumbnails, self._report.lost = len(self._small), len(self._lost)
        return pictures

    @staticmethod
    def _without(item: Item, names: set[str], pictures: dict[str, Picture]) -> Item:
        """Return the item, without its picture if neither file nor thumbnail has it."""
        return replace(item, picture=None) if item.picture in names - pictures.keys() else item


def _is_content(item: Item | None) -> bool:
    """Return whether an item is neither text nor picture. Its content is not stored, but only in its file."""
    return item is not None and item.modality not in (TEXT, IMAGE)


def _document(row: tuple[int, Item | None]) -> Document | None:
    return None if row[1] is None else row[1].document


def _root(document: Document) -> Path:
    """Return the common folder of the document and of all files that it included when it was read."""
    from commonplace.readers import stamp_paths

    try:
        paths = [path for path in stamp_paths(document.stamp) if os.path.isabs(path)]
    except ValueError:
        paths = []
    return Path(os.path.commonpath([os.path.dirname(path) for path in [document.path, *paths]]))
