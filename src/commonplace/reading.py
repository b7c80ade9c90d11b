"""What the readers make of files, without a collection."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from commonplace.encoders.runtime import threads
from commonplace.errors import QueryError, ReadError
from commonplace.i18n import _
from commonplace.indexer import OCR_SECONDS, check_encoding, display_path, speech_options
from commonplace.space import open_space
from commonplace.types import ParsedDocument

if TYPE_CHECKING:
    from commonplace.readers import ReadOptions

__all__ = ["read", "read_files"]


def read(
    path: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    ocr: bool | None = None,
    encoding: str = "",
    speech_model: str | os.PathLike[str] | None = None,
) -> ParsedDocument:
    """Read one file as ``commonplace.Collection.add()`` does, and return its document, items and pictures.

    The file is read in a worker process with limits on time and memory. Its text is cut into passages that fit
    ``model`` (default: the shipped one). ``ocr`` reads the words in pictures (default: where the extra ``ocr`` is
    installed and ``COMMONPLACE_OCR`` is not 0). ``encoding`` is that of a text (default: it is detected).
    ``speech_model`` is a Whisper model for speech: a folder, its name on the hub, or ``none`` (default: the one in
    ``COMMONPLACE_SPEECH_MODEL``; without one, it is noted where there is speech).

    Raises ReadError with the reason where the file cannot be read, ModelError where there is no such model, and
    QueryError where ``ocr`` is wanted and not installed, or no encoding has that name.
    """
    path = display_path(path, ReadError)
    ((_, result),) = read_files([path], model=model, ocr=ocr, encoding=encoding, speech_model=speech_model)
    if isinstance(result, ReadError):
        raise ReadError(f"{path}: {result}") from result
    return result


def read_files(
    paths: Iterable[str | os.PathLike[str]],
    *,
    model: str | os.PathLike[str] | None = None,
    ocr: bool | None = None,
    encoding: str = "",
    speech_model: str | os.PathLike[str] | None = None,
) -> Iterator[tuple[str, ParsedDocument | ReadError]]:
    """Yield the absolute path of each file with what was read, or with the error, in the given order.

    Several processes read ahead. Raises ReadError for a path that no file can have, and QueryError where ``ocr`` is
    wanted and not installed.
    """
    from commonplace.ingest import Source, reader_pool

    files = [Path(display_path(path, ReadError)) for path in paths]
    options = _read_options(model, ocr, encoding, speech_model)
    with reader_pool(options, max(1, min(threads(), len(files)))) as pool:
        results = pool.read([Source(file, file.parent) for file in files])
        for file, (_source, result) in zip(files, results, strict=True):
            is_folder = isinstance(result, ReadError) and file.is_dir()
            yield str(file), ReadError(_("it is a folder: give the files of the folder")) if is_folder else result


def _read_options(
    model: str | os.PathLike[str] | None,
    ocr: bool | None,
    encoding: str,
    speech_model: str | os.PathLike[str] | None,
) -> ReadOptions:
    from commonplace.readers import ReadOptions, are_readable

    if ocr and not are_readable():
        raise QueryError(_("the words in pictures cannot be read: run `pip install 'commonplace-rag[ocr]'`"))
    check_encoding(encoding)
    if ocr is None:
        ocr = are_readable() and os.environ.get("COMMONPLACE_OCR") != "0"
    space = open_space(model or "")
    return ReadOptions(
        *space.measure,
        ocr_seconds=OCR_SECONDS if ocr else 0.0,
        encoding=encoding,
        **speech_options(speech_model),
        **space.sound,
    )
