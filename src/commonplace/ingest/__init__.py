"""The pipeline from files and records to batches of parsed documents: walk, read in workers, group."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from commonplace.errors import ReadError
from commonplace.ingest.journal import ATTEMPTS, InFlightJournal
from commonplace.ingest.remote import RemoteFile, fetch, is_url, local_path, walk_urls
from commonplace.ingest.sources import AnySource, id_of, name_of, source_batches, source_of
from commonplace.ingest.walk import Source, walk
from commonplace.ingest.workers import Pool, draw_page, reader_pool
from commonplace.readers import RecordContent
from commonplace.types import Original, ParsedDocument, ViewVectors

__all__ = [
    "ATTEMPTS",
    "AnySource",
    "Batch",
    "InFlightJournal",
    "Pool",
    "RecordContent",
    "RemoteFile",
    "Source",
    "draw_page",
    "fetch",
    "id_of",
    "ingest",
    "is_url",
    "local_path",
    "name_of",
    "reader_pool",
    "source_batches",
    "source_of",
    "walk",
    "walk_urls",
]

BATCH_ITEMS = 256
BATCH_PICTURES = 64
BATCH_BYTES = 64 * 1024**2
"""Bytes of records' contents that are committed together."""


@dataclass(slots=True)
class Batch:
    """Whole documents to encode and commit together, and the files and records that could not be read.

    ``vectors`` are the vectors of the documents' items; None before they are computed.
    """

    parsed: list[ParsedDocument] = field(default_factory=list)
    failures: list[tuple[AnySource, ReadError]] = field(default_factory=list)
    vectors: list[ViewVectors] | None = None

    @property
    def full(self) -> bool:
        """Whether the batch is large enough to keep the towers busy."""
        items = sum(len(parsed.items) for parsed in self.parsed)
        pictures = sum(len(parsed.pictures) + len(parsed.contents) for parsed in self.parsed)
        size = sum(len(parsed.original.data) for parsed in self.parsed if parsed.original is not None)
        is_full = items >= BATCH_ITEMS or pictures >= BATCH_PICTURES or size >= BATCH_BYTES
        return is_full or len(self.failures) >= BATCH_ITEMS


def ingest(sources: Iterable[AnySource], pool: Pool, step: Callable[[], object] = lambda: None) -> Iterator[Batch]:
    """Yield batches across documents while the pool reads ahead; ``step`` is called once a file or record."""
    batch = Batch()
    for source, result in pool.read(sources):
        if isinstance(result, ReadError):
            batch.failures.append((source, result))
        else:
            batch.parsed.append(replace(result, original=_original(source, result)))
        step()
        if batch.full:
            yield batch
            batch = Batch()
    if batch.parsed or batch.failures:
        yield batch


def _original(source: AnySource, parsed: ParsedDocument) -> Original | None:
    """Return what is kept of a record: its bytes, or its text in UTF-8."""
    if not isinstance(source, RecordContent):
        return None
    data = (source.text or "").encode("utf-8", "replace") if source.data is None else source.data
    return Original(parsed.document.media_type, data)
