"""The actor: it holds readers and the model's towers on one machine, and turns batches of sources into vectors."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from commonplace import __version__
from commonplace.committing import Committer, Report, embed
from commonplace.encoders import PLACE, BaseModel
from commonplace.errors import CommonplaceError, ModelError, QueryError, ReadError
from commonplace.i18n import _
from commonplace.ingest import AnySource, Batch, Pool, Source, ingest, reader_pool
from commonplace.readers import SECONDS, ReadOptions, are_readable, is_speech_readable, speech_folder
from commonplace.space import Space, open_space
from commonplace.store import Store
from commonplace.types import ParsedDocument, ViewVectors

__all__ = ["ActorSpec", "IngestActor", "Started", "Written", "model_to_send"]

_NO_PIXELS = np.empty((0, 0, 3), np.uint8)


@dataclass(frozen=True, slots=True)
class ActorSpec:
    """What an actor needs to start.

    ``model`` is the place of a model, or Python encoders. ``ocr_seconds``, ``seconds``, ``encoding``,
    ``speech_seconds`` and ``speech_model`` are as in ``ReadOptions``.
    ``workers`` is the maximum number of reader processes; None means one for each processor. ``address`` and ``token``
    open the collection on another machine, if many machines can write it; the actor then commits what it has embedded.
    """

    model: str | BaseModel
    ocr_seconds: float = 0.0
    seconds: float = SECONDS
    workers: int | None = None
    address: str | None = None
    token: str | None = field(default=None, repr=False)
    encoding: str = ""
    speech_seconds: float = 0.0
    speech_model: str = ""


@dataclass(frozen=True, slots=True)
class Started:
    """What an actor has: the name of its machine, the version of Commonplace, and the fingerprints of its encoders."""

    host: str
    version: str
    fingerprint: str
    plugins: dict[str, str]


@dataclass(frozen=True, slots=True)
class Written:
    """What an actor has committed itself: the report, the number of pictures, and that of documents with texts that the
    model does not know."""

    report: Report
    pictures: int
    unknown: int


def model_to_send(space: Space) -> str | BaseModel:
    """Return what opens the same model in another process: its place, or the Python encoders themselves."""
    return space.bundle if space.place.startswith(PLACE) else space.place


class IngestActor:
    """Reads and embeds batches of sources. Call ``start()`` first."""

    _pool: Pool
    _space: Space

    def __init__(self) -> None:
        self._store: Store | None = None
        self._host = socket.gethostname()

    def start(self, spec: ActorSpec, workers: int) -> Started | CommonplaceError:
        """Open the model and, if it can be written from here, the collection. Errors are returned with the host."""
        try:
            self._open(spec)
            self._space.check(wait=True)
        except CommonplaceError as error:
            return type(error)(f"{self._host}: {error}")
        if spec.ocr_seconds and not are_readable():
            return QueryError(
                _("{host} lacks the extra ocr: install it on every machine, or use --no-ocr").format(host=self._host)
            )
        try:
            if spec.speech_model:
                speech_folder(spec.speech_model)
        except ModelError as error:
            return ModelError(f"{self._host}: {error}")
        options = ReadOptions(
            *self._space.measure,
            ocr_seconds=spec.ocr_seconds,
            seconds=spec.seconds,
            encoding=spec.encoding,
            speech_seconds=spec.speech_seconds if is_speech_readable() else 0.0,
            speech_model=spec.speech_model,
            **self._space.sound,
        )
        self._pool = reader_pool(options, workers)
        return Started(self._host, __version__, self._space.fingerprint, self._space.plugin_fingerprints)

    def _open(self, spec: ActorSpec) -> None:
        if spec.address is None:
            self._space = open_space(spec.model)
            return
        from commonplace.opening import open_collection

        collection = open_collection(spec.address, model=spec.model, token=spec.token)  # type: ignore[arg-type]
        self._space, self._store = collection.space, collection.store

    def ingest(self, sources: Sequence[AnySource]) -> Batch | Written | CommonplaceError:
        """Read and embed sources. Return the documents and their vectors, or what was committed from here."""
        absent = [source for source in sources if isinstance(source, Source) and not os.path.lexists(source.path)]
        reason = _("is not on the machine {host}: keep it where every machine sees it, or give a URL").format(
            host=self._host
        )
        failures: list[tuple[AnySource, ReadError]] = [(source, ReadError(reason)) for source in absent]
        present = [source for source in sources if source not in absent]
        try:
            if self._store is None:
                return self._embedded(present, failures)
            committer = Committer(self._store, self._space)
            for batch in ingest(present, self._pool):
                committer.commit(batch)
            committer.put_failures(failures)
            return Written(committer.report, committer.pictures, committer.unknown)
        except CommonplaceError as error:
            return type(error)(f"{self._host}: {error}")

    def _embedded(self, sources: Sequence[AnySource], failures: list[tuple[AnySource, ReadError]]) -> Batch:
        """Return the documents of the sources with vectors, and without what the store does not keep."""
        parsed: list[ParsedDocument] = []
        vectors: list[ViewVectors] = []
        for batch in ingest(sources, self._pool):
            embed(batch, self._space, lambda partition, views: {})
            parsed += [_without_pixels(document) for document in batch.parsed]
            vectors += batch.vectors or []
            failures += batch.failures
        return Batch(parsed, failures, _joined(vectors))


def _without_pixels(parsed: ParsedDocument) -> ParsedDocument:
    """Return a document without what is only embedded: the pixels of its pictures, and other contents."""
    pictures = {name: replace(picture, pixels=_NO_PIXELS) for name, picture in parsed.pictures.items()}
    return replace(parsed, pictures=pictures, contents={})


def _joined(vectors: Sequence[ViewVectors]) -> list[ViewVectors]:
    """Return the rows of each partition in one piece."""
    partitions: dict[str, list[ViewVectors]] = {}
    for rows in vectors:
        partitions.setdefault(rows.partition, []).append(rows)
    return [
        ViewVectors(
            partition,
            tuple(item for rows in pieces for item in rows.item_ids),
            tuple(view for rows in pieces for view in rows.views),
            np.concatenate([rows.vectors for rows in pieces]),
        )
        for partition, pieces in partitions.items()
    ]
