"""The pipeline from paths to batches of readings: walk, skip what is unchanged, read in workers, group."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from commonplace.errors import ReadError
from commonplace.ingest.journal import ATTEMPTS, InFlightJournal
from commonplace.ingest.walk import Source, walk
from commonplace.ingest.workers import Pool, draw_page
from commonplace.types import ParsedDocument

__all__ = ["ATTEMPTS", "Batch", "InFlightJournal", "Pool", "Source", "draw_page", "ingest", "walk"]

BATCH_ITEMS = 256
BATCH_PICTURES = 64


@dataclass(slots=True)
class Batch:
    """Whole documents to encode and commit together, and the files that could not be read."""

    parsed: list[ParsedDocument] = field(default_factory=list)
    failures: list[tuple[Source, ReadError]] = field(default_factory=list)

    @property
    def full(self) -> bool:
        """Whether the batch is large enough to keep the towers busy."""
        items = sum(len(reading.items) for reading in self.parsed)
        pictures = sum(len(reading.pictures) + len(reading.contents) for reading in self.parsed)
        return items >= BATCH_ITEMS or pictures >= BATCH_PICTURES or len(self.failures) >= BATCH_ITEMS


def ingest(sources: Iterable[Source], pool: Pool, step: Callable[[], object] = lambda: None) -> Iterator[Batch]:
    """Yield batches across documents while the pool reads ahead; ``step`` is called once a file."""
    batch = Batch()
    for source, result in pool.read(sources):
        if isinstance(result, ReadError):
            batch.failures.append((source, result))
        else:
            batch.parsed.append(result)
        step()
        if batch.full:
            yield batch
            batch = Batch()
    if batch.parsed or batch.failures:
        yield batch
