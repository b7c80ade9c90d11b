"""The pipeline from files and records to batches of parsed documents: walk, read in workers, group."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from commonplace.errors import ReadError
from commonplace.ingest.journal import ATTEMPTS, InFlightJournal
from commonplace.ingest.walk import Source, walk
from commonplace.ingest.workers import Pool, draw_page
from commonplace.readers import RecordContent
from commonplace.types import Original, ParsedDocument

__all__ = ["ATTEMPTS", "Batch", "InFlightJournal", "Pool", "RecordContent", "Source", "draw_page", "ingest", "walk"]

BATCH_ITEMS = 256
BATCH_PICTURES = 64
BATCH_BYTES = 64 * 1024**2
"""Bytes of records' contents that are committed together."""


@dataclass(slots=True)
class Batch:
    """Whole documents to encode and commit together, and the files and records that could not be read."""

    parsed: list[ParsedDocument] = field(default_factory=list)
    failures: list[tuple[Source | RecordContent, ReadError]] = field(default_factory=list)

    @property
    def full(self) -> bool:
        """Whether the batch is large enough to keep the towers busy."""
        items = sum(len(parsed.items) for parsed in self.parsed)
        pictures = sum(len(parsed.pictures) for parsed in self.parsed)
        kept = sum(len(parsed.original.data) for parsed in self.parsed if parsed.original is not None)
        many = items >= BATCH_ITEMS or pictures >= BATCH_PICTURES or kept >= BATCH_BYTES
        return many or len(self.failures) >= BATCH_ITEMS


def ingest(
    sources: Iterable[Source | RecordContent], pool: Pool, step: Callable[[], object] = lambda: None
) -> Iterator[Batch]:
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


def _original(source: Source | RecordContent, parsed: ParsedDocument) -> Original | None:
    """Return what is kept of a record: its bytes, or its text in UTF-8."""
    if not isinstance(source, RecordContent):
        return None
    data = (source.text or "").encode("utf-8", "replace") if source.data is None else source.data
    return Original(parsed.document.media_type, data)
