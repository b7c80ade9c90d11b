"""Changes the model of a collection: embeds everything again, and then switches all searches to the new model."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from commonplace.encoders import DEFAULT_BUNDLE, PLACE, BaseModel
from commonplace.encoders.runtime import threads
from commonplace.errors import CollectionError, ModelError, ModelMismatch, QueryError, ReadError
from commonplace.retrieval import Calibration
from commonplace.retrieval.background import learn
from commonplace.space import Space, name_of_model, open_space
from commonplace.store import LocalStore, Migration, MigrationBatch, Shadow, StoreSpace, abort, model_of, other
from commonplace.types import MODALITIES, Document, Item, ParsedDocument, Picture

if TYPE_CHECKING:  # a search needs no readers
    from commonplace.ingest import Pool, RecordContent, Source

__all__ = ["Migrated", "migrate", "model_for", "store_for"]

log = logging.getLogger("commonplace")

PLUGINS = "plugin_fingerprints"  # the setting that stores the fingerprint of each plug-in view's encoder
PAGE = 2048
"""Number of items that are read from the store at once. Within them, files are read while earlier ones are embedded."""

Keyed = list[tuple[int, Item | None]]
"""Items with their keys; None for a damaged item, which searches leave out, too."""


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
        parts = [f"{self.items} items embedded"]
        if self.thumbnails:
            parts.append(f"{self.thumbnails} pictures from their thumbnails (files missing or changed)")
        if self.lost:
            parts.append(f"{self.lost} pictures left out (neither file nor thumbnail)")
        return f"migrated to {self.model}: " + ", ".join(parts)


def model_for(folder: Path, model: str | os.PathLike[str] | BaseModel | None) -> str | BaseModel:
    """Return the model for opening a collection or a backup file.

    It is ``model`` if given, otherwise the model that the collection was last used with (empty: the shipped one).
    Raises ModelError if that model no longer exists, or consists of Python encoders.
    """
    if isinstance(model, BaseModel):
        return model
    if model is not None:
        return name_of_model(model) or DEFAULT_BUNDLE.name
    last = model_of(folder)
    if last.startswith(PLACE):
        raise ModelError(
            f"the collection at {folder} was made with the Python encoders {last.removeprefix(PLACE)}: open it with "
            "model=commonplace.Model(...)"
        )
    single = last and not last.startswith("text=")
    if single and not os.path.isfile(os.path.join(last, "bundle.json")):  # also False for an invalid path
        raise ModelError(
            f"the model of the collection at {folder} is no longer in {last}: give its folder with --model, or "
            "change to another model with `commonplace migrate`"
        )
    return last


def store_for(folder: Path, space: Space) -> LocalStore:
    """Open the store of a collection with a space. Raises CollectionError and its subclasses."""
    store = LocalStore(
        folder,
        StoreSpace(
            space.name,
            space.fingerprint,
            space.dim,
            space.place,
            offset=space.offset,
            state=space.state,
            means=space.means("document"),
            questions=space.questions,
        ),
    )
    try:
        _check_plugins(store, space, folder)
    except BaseException:
        store.close()
        raise
    return store


def _check_plugins(store: LocalStore, space: Space, folder: Path) -> None:
    """Store the fingerprints of the encoders of installed packages.

    Raises ModelMismatch if a stored view was made by another encoder.
    """
    kept = json.loads(store.setting(PLUGINS) or "{}")
    for view, fingerprint in space.plugin_fingerprints.items():
        if kept.get(view, fingerprint) != fingerprint:
            raise ModelMismatch(
                f"the {view} vectors of the collection at {folder} were made by the encoder {kept[view]}, but "
                f"{fingerprint} is installed: install the former, or create a new collection"
            )
    if new := space.plugin_fingerprints.items() - kept.items():
        with suppress(CollectionError):  # a read-only collection gets no vectors of these encoders either
            store.set_setting(PLUGINS, json.dumps(kept | dict(new)))


def migrate(
    folder: Path,
    model: str | os.PathLike[str] | BaseModel | None = None,
    *,
    undo: bool = False,
    workers: int | None = None,
    progress: bool | None = None,
) -> Migrated:
    """Migrate the collection in ``folder`` to another model (see ``open_space``; default: the shipped one).

    All texts and pictures are embedded again: pictures from their file if it is unchanged, otherwise from the stored
    thumbnail. Until the migration is complete, searches use the old vectors. It includes items that other processes add
    meanwhile. After an interruption the next call resumes. A tuned ranking stays with the model that it was tuned for.
    The old model itself is not needed.

    The old vectors are kept until the next migration or ``vacuum``. ``undo`` returns to them, and embeds items that
    were added since. ``undo`` of an unfinished migration discards it.

    Raises CollectionError if there is no collection, nothing to undo, or another process is migrating. Raises
    ModelError if the bundle cannot be used, and ModelMismatch if the model given for ``undo`` is not the earlier one.
    Raises QueryError if ``workers`` is not 1 to 256.
    """
    if workers is not None and not 1 <= workers <= 256:
        raise QueryError(f"workers is {workers}: choose 1 to 256")
    if not (folder / "collection.db").exists():
        raise CollectionError(f"there is no collection in {folder}: create one with `commonplace add PATH`")
    store = LocalStore(folder, StoreSpace("", None, 0))
    try:
        earlier = other(store) if undo else None
        if undo:
            if earlier is None:
                raise CollectionError(f"the collection at {folder} has no earlier vectors: there is nothing to undo")
            if not earlier.served:
                abort(store)
                return Migrated(store.made_with())
            if model is None and earlier.model:
                model = earlier.model
        space = open_space("" if model is None else model)
        space.check(wait=True)
        Calibration.from_bundle(space.spec)  # rejects a model with an invalid calibration
        if earlier is not None and space.fingerprint != earlier.fingerprint:
            raise ModelMismatch(
                f"undo needs the earlier model {earlier.name} ({earlier.fingerprint}), but "
                f"{space.place or DEFAULT_BUNDLE} contains {space.name} ({space.fingerprint}): give the folder of the "
                "earlier model with --model"
            )
        report = Migrated(space.name)
        goal = Shadow(space.name, space.fingerprint, space.place)
        with Migration.of(store, goal, space.dim) as migration:
            if not migration.done:
                _run(migration, _Embedder(store, migration, space, report), workers, progress)
    finally:
        store.close()
    store = store_for(folder, space)
    try:
        learn(space, store)
        store.maintenance.checkpoint()  # write the index files now, before the next search
    finally:
        store.close()
    return report


def _run(migration: Migration, embedder: _Embedder, workers: int | None, progress: bool | None) -> None:
    from tqdm import tqdm

    from commonplace.ingest import Pool
    from commonplace.readers import ReadOptions

    options = ReadOptions(*embedder.space.measure)
    done, total = migration.progress()
    bar = tqdm(total=total, initial=done, unit="item", disable=None if progress is None else not progress)
    with bar, Pool(options, workers or threads()) as pool:
        embedder.pool = pool
        while True:
            page = migration.waiting(PAGE)
            for batch in embedder.batches(page):
                migration.put(batch)
                bar.update(len(batch.keys))
            if len(page) < PAGE and migration.finish(embedder.batches):
                return


class _Embedder:
    """Embeds stored items in the new space."""

    pool: Pool

    def __init__(self, store: LocalStore, migration: Migration, space: Space, report: Migrated) -> None:
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

    def _source(self, document: Document) -> Source | RecordContent:
        """Return the source of a document's pictures: its file, or the stored content of a record."""
        from commonplace.ingest import RecordContent, Source

        if document.is_file:
            return Source(Path(document.path), _root(document))
        return RecordContent(document, self._store.original(document.id) or b"")

    def _embed(self, until: int, keys: dict[str, int], batch: list[ParsedDocument]) -> MigrationBatch:
        self._report.items += len(keys)
        return MigrationBatch(until, keys, self.space.encode(batch, self._migration.known))

    def _missing(self, rows: Keyed) -> set[str]:
        """Return the pictures of these items that have no vectors in the new space yet."""
        names = {item.picture for _, item in rows if item is not None and item.picture is not None}
        held = [self._migration.known(partition, sorted(names)).keys() for partition in self.space.pictures]
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
    return item is not None and item.modality not in MODALITIES


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
