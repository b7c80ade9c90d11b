"""What all sources have: an id, a name and a size. Sources are files, files behind URLs, and records."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from commonplace.ingest.remote import RemoteFile
from commonplace.ingest.walk import Source
from commonplace.paths import document_id
from commonplace.readers import RecordContent
from commonplace.types import Document

__all__ = ["AnySource", "id_of", "name_of", "source_batches", "source_of"]

AnySource = Source | RemoteFile | RecordContent
"""A source: a file, a file behind a URL, or the content of a record."""

BATCH_SOURCES = 64
BATCH_SIZE = 32 * 1024**2
"""Bytes of files and records that are sent together to another process."""


def id_of(source: AnySource) -> str:
    """Return the id of the document of a source."""
    return document_id(source.path) if isinstance(source, Source) else source.document.id


def name_of(source: AnySource) -> str:
    """Return what a report calls a source: its path, its URL, or the URI of a record."""
    return str(source.path) if isinstance(source, Source) else source.document.path


def source_of(document: Document) -> AnySource:
    """Return the source that a document was read from. Of a record it has no content."""
    if document.is_file:
        path = Path(document.path)
        return Source(path, path.parent)
    return RemoteFile(document.path, None, document.stamp) if document.is_remote else RecordContent(document)


def source_batches(sources: Iterable[AnySource], most: int = BATCH_SOURCES) -> Iterator[list[AnySource]]:
    """Yield the sources in batches of at most ``most`` and of limited size, in which no id occurs twice."""
    most = min(most, BATCH_SOURCES)
    batch: dict[str, AnySource] = {}
    size = 0
    for source in sources:
        id_, more = id_of(source), _size_of(source)
        if batch and (id_ in batch or len(batch) >= most or size + more > BATCH_SIZE):
            yield list(batch.values())
            batch, size = {}, 0
        batch[id_] = source
        size += more
    if batch:
        yield list(batch.values())


def _size_of(source: AnySource) -> int:
    """Return the bytes of a source; 0 where they are not known."""
    if isinstance(source, RemoteFile):
        return source.size or 0
    if isinstance(source, RecordContent):
        return len(source.data or source.text or "")
    try:
        return os.stat(source.path).st_size
    except OSError:
        return 0
