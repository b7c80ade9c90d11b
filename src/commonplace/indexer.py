"""The indexer: reads, embeds and commits files and records for ``Collection.add()``."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, TypedDict

from commonplace.committing import Committer, Report, documents_by_id
from commonplace.crops import Crops
from commonplace.deletion import is_gone
from commonplace.encoders.runtime import threads
from commonplace.errors import QueryError, ReadError, SourceError
from commonplace.i18n import N_, _, ngettext
from commonplace.metadata import UNREAD_SPEECH
from commonplace.paths import canonical_path, checked_path, display_path, document_id
from commonplace.records import Checker, elements, label
from commonplace.space import Space
from commonplace.store import Store
from commonplace.types import Document

if TYPE_CHECKING:  # a search needs no readers
    from commonplace.ingest import AnySource, Batch, RecordContent, RemoteFile, Source
    from commonplace.readers import ReadOptions

__all__ = [
    "Indexer",
    "Report",
    "Scope",
    "canonical_path",
    "check_encoding",
    "display_path",
    "document_id",
    "own_paths",
    "report_of_absent",
    "speech_options",
]

log = logging.getLogger("commonplace")

OCR_SECONDS = 600.0  # time limit for OCR of one file: enough for some hundreds of pages
SPEECH_SECONDS = 6 * 3600.0  # time limit for the speech of one file: some hours of it, with a small model
LOOKED_UP = 500  # number of files or records whose documents are looked up at once
WINDOW_BYTES = 64 * 1024**2  # maximum size of the records that wait to be looked up
PIECES = 4  # number of batches for each machine of a cluster, if there are few sources
EVERY = 30.0  # seconds between two progress lines in the log
NO_OCR = N_(
    "words in pictures were not read: run `pip install 'commonplace-rag[ocr]'`, then add the pictures with --force"
)
NO_SPEECH = N_("speech was not read: run `pip install 'commonplace-rag[speech]'`, then add the recordings with --force")


@dataclass(frozen=True, slots=True)
class Scope:
    """What of the added folders is looked at: all of it, or what lies at or below the absolute paths ``only``.

    A file is read again if it was changed after ``since`` (seconds since 1970), even where its stamp is the known one:
    a change in the same moment as the last reading leaves no trace there. ``stopped()`` ends the call early.
    """

    only: frozenset[str] | None = None
    since: float | None = None
    stopped: Callable[[], bool] = lambda: False


class Indexer:
    """Runs one ``add`` to the collection in ``folder``; see ``commonplace.Collection.add()`` for its guarantees.

    ``retry_failed`` also reads files that failed before, or were read in part. ``force`` reads all files and records
    again. ``scope`` limits what is looked at.
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
        scope: Scope | None = None,
    ) -> None:
        from commonplace.ingest import InFlightJournal

        self._store = store
        self._space = space
        self._folder = folder
        self._crops = crops
        self._retry_failed = retry_failed
        self._force = force
        self._scope = scope or Scope()
        self._journal = InFlightJournal(folder)
        self._checker = Checker()
        self._committer = Committer(store, space, crops)
        # Sources that were in flight when a process died, each with the number of such deaths.
        self._suspects: list[tuple[int, AnySource]] = []
        self._waiting = 0  # number of sources to read that are known so far
        self._failed_before = 0  # number of files that failed in an earlier call and were not read again
        self._reads_speech = False  # whether documents whose speech was not read are read again
        self.is_stopped = False
        """Whether the scope ended the call early."""
        self._error: Exception | None = None  # raised by an iterable of the caller
        self._folders: dict[str, None] = {}  # the added paths that are no files, whose documents may be missing

    @property
    def report(self) -> Report:
        """What came of the sources so far."""
        return self._committer.report

    @property
    def folders(self) -> list[str]:
        """The added paths that are no files, absolute."""
        return [*self._folders]

    def run(
        self,
        sources: Iterable[Any],
        *,
        workers: int | None = None,
        progress: bool | None = None,
        ocr: bool | None = None,
        ray: str | None = None,
        time_limit: float | None = None,
        encoding: str = "",
        speech_model: str | os.PathLike[str] | None = None,
    ) -> Report:
        """Read, embed and commit all new and changed sources; return the report.

        ``sources`` are paths, records, and iterables of them. ``workers`` is the number of reader processes, 1 to 256.
        ``ray`` is the address of a Ray cluster, whose machines read and embed; ``workers`` is then for each of them.
        ``time_limit`` is ``seconds`` of ``ReadOptions``, ``encoding`` that of text files. ``speech_model``:
        see ``speech_options()``. Raises SourceError if an iterable raises an error. Raises QueryError for an invalid
        ``workers``, ``time_limit`` or ``encoding``, or for ``ocr`` or ``ray`` without their extra. Raises ModelError
        for an unusable speech model. Raises ClusterError if the cluster cannot be used.
        """
        from commonplace.readers import SECONDS, ReadOptions, are_readable, is_speech_readable

        if workers is not None and not 1 <= workers <= 256:
            raise QueryError(_("workers is {workers}: choose 1 to 256").format(workers=workers))
        if time_limit is not None and not (isinstance(time_limit, (int, float)) and 0 < time_limit < float("inf")):
            raise QueryError(_("the time limit is {seconds!r:.100}: give seconds above 0").format(seconds=time_limit))
        check_encoding(encoding)
        if ray is not None:
            from commonplace.distributed import check_address

            check_address(ray)
        if ocr and not are_readable():
            raise QueryError(_("the words in pictures cannot be read: run `pip install 'commonplace-rag[ocr]'`"))
        if ocr is None:
            ocr = are_readable() and os.environ.get("COMMONPLACE_OCR") != "0"
        self._space.check()  # runs while the first files are read
        ocr_seconds = OCR_SECONDS if ocr else 0.0
        options = ReadOptions(
            *self._space.measure,
            ocr_seconds=ocr_seconds,
            seconds=time_limit or SECONDS,
            encoding=encoding,
            **speech_options(speech_model),
            **self._space.sound,
        )
        self._reads_speech = bool(options.speech_model)
        listed = list(sources)
        paths = self._paths(source for source in listed if isinstance(source, (str, os.PathLike)))
        others = [source for source in listed if not isinstance(source, (str, os.PathLike))]
        self._waiting = len(others)
        if self._retry_failed:
            self._journal.end([*self._journal.counts])
        with _Progress(progress) as bar:
            changed = self._changed(paths, others, bar)
            first = next(changed, None)  # start workers only if there is something to read
            if first is not None or self._suspects:
                waiting = chain([first] if first is not None else [], changed)
                if ray is None:
                    self._read(waiting, options, workers, bar)
                else:
                    self._read_with_ray(waiting, ray, options, workers, bar)
        if self._committer.pictures and not are_readable():
            self.report.notes.append(_(NO_OCR))
        if self._committer.recordings and not is_speech_readable():
            self.report.notes.append(_(NO_SPEECH))
        if self._committer.unknown:
            self.report.notes.append(
                _(
                    "{count} of the documents hold texts that the model {model} does not know: these are found by full "
                    "text only (for models for other languages, see `commonplace models`)"
                ).format(count=self._committer.unknown, model=self._space.name)
            )
        if self._failed_before:
            self.report.notes.append(
                ngettext(
                    "{count} of the failed files failed in an earlier call and was not read again: use --retry-failed",
                    "{count} of the failed files failed in an earlier call and were not read again: use --retry-failed",
                    self._failed_before,
                ).format(count=self._failed_before)
            )
        self._crops.prune()
        self.report.missing = self._missing()
        if self._error is not None:
            raise SourceError(
                _("the sources raised {error}; everything before it was added: {report}").format(
                    error=_one_line(self._error), report=self.report
                ),
                self.report,
            ) from self._error
        return self.report

    # --- selection of sources --------------------------------------------------------------------------------

    def _changed(self, paths: list[Path | str], others: list[Any], bar: _Progress) -> Iterator[AnySource]:
        """Yield new and changed sources. Sources that crashed a process before are put aside, or recorded as failed."""
        from commonplace.ingest import ATTEMPTS, id_of

        for source in chain(self._changed_files(paths, bar), self._changed_elements(others, bar)):
            if self._scope.stopped():
                self.is_stopped = True
                return
            died = self._journal.counts.get(id_of(source), 0)
            if died >= ATTEMPTS:
                problem = _("indexing it crashed the process {attempts} times; split it, or use --retry-failed").format(
                    attempts=ATTEMPTS
                )
                self._committer.put_failures([(source, ReadError(problem))])
                self._journal.end([id_of(source)])
            elif died:
                self._suspects.append((died, source))
            else:
                yield source

    def _paths(self, names: Iterable[str | os.PathLike[str]]) -> list[Path | str]:
        """Return the paths and URLs of the caller. Paths that no file can have are reported as failed."""
        from commonplace.ingest import is_url, local_path

        paths: list[Path | str] = []
        for path in names:
            try:
                text = checked_path(path, ReadError)
                if not text:
                    raise ReadError(_("the path is empty: say which file or folder"))
                if isinstance(path, str) and is_url(text):
                    local = local_path(text)
                    paths.append(text if local is None else Path(local))
                else:
                    paths.append(Path(text))
            except ReadError as problem:
                name = (
                    (path or _("an empty path"))
                    if isinstance(path, str)
                    else _("an object of type {type}").format(type=type(path).__name__)
                )
                self._fail(name, str(problem))
        return paths

    def _walk(self, places: list[Path | str]) -> list[Source | RemoteFile]:
        """Return the files at or below paths and URLs. What is left out is added to the report."""
        from commonplace.ingest import walk, walk_urls

        paths = [place for place in places if isinstance(place, Path)]
        self._folders.update((display_path(path), None) for path in paths if not os.path.isfile(path))
        local = walk(paths, exclude=own_paths(self._store, self._folder), only=self._scope.only)
        remote = walk_urls(place for place in places if isinstance(place, str))
        for skipped in (local.skipped, remote.skipped):
            for ending, count in skipped.items():
                self.report.skipped[ending] = self.report.skipped.get(ending, 0) + count
        for place, reason in (*local.problems, *remote.problems):
            self._fail(str(place), reason)
        return [*local.sources, *remote.files]

    def _changed_files(self, places: list[Path | str], bar: _Progress) -> Iterator[Source | RemoteFile]:
        from commonplace.ingest import id_of, name_of

        files = self._walk(places)
        bar.expect(len(files))
        changed: list[Source | RemoteFile] = []
        for start in range(0, len(files), LOOKED_UP):
            window = files[start : start + LOOKED_UP]
            before = self._documents(id_of(file) for file in window)
            for file in window:
                document = before.get(id_of(file))
                if document is not None and document.is_record:
                    reason = _("its id belongs to the record {path}: give the record another id").format(
                        path=document.path
                    )
                    self._fail(name_of(file), reason)
                elif document is None or self._force or not self._is_unchanged(file, document):
                    changed.append(file)
                elif document.status == "failed":
                    self._failed_before += 1
                    self._fail(name_of(file), document.error or "")
                else:
                    self.report.unchanged += 1
        bar.step(len(files) - len(changed))
        self._waiting += len(changed)
        yield from changed

    def _changed_elements(self, others: list[Any], bar: _Progress) -> Iterator[AnySource]:
        """Yield the changed files and records of the caller's iterables, in windows of limited size."""
        paths: list[Path | str] = []
        contents: list[RecordContent] = []
        size = 0
        for number, element in enumerate(self._elements(others), start=1):
            if isinstance(element, (str, os.PathLike)):
                paths += self._paths([element])
            else:
                bar.expect(1)
                try:
                    content = self._checker.content(element)
                except ReadError as problem:
                    self._fail(label(element, number), str(problem))
                    bar.step()
                    continue
                if content is None:
                    self.report.unchanged += 1
                    bar.step()
                    continue
                contents.append(content)
                size += len(content.data or content.text or "")
            if len(paths) + len(contents) >= LOOKED_UP or size >= WINDOW_BYTES:
                yield from self._changed_files(paths, bar)
                yield from self._changed_records(contents, bar)
                paths, contents, size = [], [], 0
        yield from self._changed_files(paths, bar)
        yield from self._changed_records(contents, bar)

    def _elements(self, others: list[Any]) -> Iterator[Any]:
        """Yield each element of the caller's sources. An error in an iterable ends the iteration and is stored."""
        try:
            for other in others:
                yield from elements(other)
        except Exception as error:
            self._error = error

    def _changed_records(self, contents: list[RecordContent], bar: _Progress) -> Iterator[RecordContent]:
        before = self._documents(content.document.id for content in contents)
        changed: list[RecordContent] = []
        for content in contents:
            document = before.get(content.document.id)
            if document is not None and not document.is_record:
                self._fail(
                    content.document.path,
                    _("its id belongs to the file {path}: use another id").format(path=document.path),
                )
            elif document is not None and document.stamp == content.document.stamp and not self._force:
                self.report.unchanged += 1
            else:
                changed.append(content)
        bar.step(len(contents) - len(changed))
        self._waiting += len(changed)
        yield from changed

    def _is_unchanged(self, source: Source | RemoteFile, document: Document) -> bool:
        from commonplace.ingest import RemoteFile
        from commonplace.readers import stamp, stamp_paths

        if self._retry_failed and document.status != "ok":
            return False
        if self._reads_speech and UNREAD_SPEECH in document.metadata:
            return False
        if isinstance(source, RemoteFile):
            return source.is_unchanged(document)
        try:
            if self._scope.since is not None:
                state = os.stat(source.path)
                if max(state.st_mtime, state.st_ctime) >= self._scope.since:
                    return False
            return stamp(stamp_paths(document.stamp)) == document.stamp
        except (OSError, ValueError):
            return False

    def _documents(self, ids: Iterable[str]) -> dict[str, Document]:
        """Return the documents of the collection with these ids."""
        return documents_by_id(self._store, ids)

    def _fail(self, name: str, reason: str) -> None:
        self._committer.fail(name, reason)

    def _missing(self) -> int:
        """Return the number of documents at or below the added paths whose file no longer exists.

        In a shared store such a file may exist on another machine, so none counts as missing. Nor are they counted
        where only a part of the folders is looked at.
        """
        if self._store.capabilities.shared or self._scope.only is not None:
            return 0
        documents = {document.id: document for path in self._folders for document in self._store.documents(below=path)}
        return sum(document.is_file and is_gone(document) for document in documents.values())

    # --- reading and committing ------------------------------------------------------------------------------

    def _read(self, sources: Iterator[AnySource], options: ReadOptions, workers: int | None, bar: _Progress) -> None:
        """Read the sources in worker processes and commit them. Sources that crashed before come last, one by one."""
        from commonplace.ingest import id_of, ingest, reader_pool

        count = workers or min(threads(), max(1, self._waiting))
        with reader_pool(options, count) as pool:
            for batch in ingest(sources, pool, bar.step):
                self._commit(batch)
            for _, source in sorted(self._suspects, key=lambda suspect: suspect[0]):  # the most likely culprits last
                for batch in ingest([source], pool, bar.step):
                    self._commit(batch)
                self._journal.end([id_of(source)])

    def _read_with_ray(
        self, sources: Iterator[AnySource], address: str, options: ReadOptions, workers: int | None, bar: _Progress
    ) -> None:
        """Read and embed the sources on the machines of a Ray cluster, and commit what these have not committed."""
        from commonplace.distributed import ActorPool, ActorSpec, Written, model_to_send
        from commonplace.ingest import id_of, source_batches

        shared = getattr(self._store, "address", None) if self._store.capabilities.shared else None
        url, token = (None, None) if shared is None else (shared.url, shared.token)
        limits = options.ocr_seconds, options.seconds
        speech = options.speech_seconds, options.speech_model
        spec = ActorSpec(model_to_send(self._space), *limits, workers, url, token, options.encoding, *speech)
        with ActorPool(address, spec, self._space) as pool:
            share = max(1, self._waiting // (PIECES * max(1, len(pool))))  # so that every machine gets some
            suspects = ([source] for _, source in self._suspects)
            for batch, answer in pool.run(chain(source_batches(sources, share), suspects)):
                if isinstance(answer, ReadError):
                    self._committer.put_failures([(source, answer) for source in batch])
                elif isinstance(answer, Written):
                    self._committer.include(answer.report, answer.pictures, answer.unknown)
                else:
                    self._committer.commit(answer)
                bar.step(len(batch))
        self._journal.end([id_of(source) for _, source in self._suspects])

    def _commit(self, batch: Batch) -> None:
        ids = [parsed.document.id for parsed in batch.parsed]
        if ids:
            self._space.check(wait=True)  # wait for the check, so that a damaged model stores no vectors
        self._journal.begin(ids)
        self._committer.commit(batch)
        self._journal.end(ids)


def own_paths(store: Store, folder: Path) -> list[Path]:
    """Return the folders and files of a collection itself, which are never added to it."""
    return [folder, *(store.maintenance.paths() if store.maintenance else ())]


def check_encoding(name: str) -> None:
    """Raise QueryError where no encoding has this name; an empty one stands for detection."""
    from commonplace.readers.encodings import codec_of

    if name and codec_of(name) is None:
        raise QueryError(
            _("no encoding has the name {name!r:.100}: give one such as utf-8, gbk, shift_jis or windows-1251").format(
                name=name
            )
        )


class SpeechOptions(TypedDict):
    """The fields of ``ReadOptions`` about speech."""

    speech_seconds: float
    speech_model: str


def speech_options(model: str | os.PathLike[str] | None) -> SpeechOptions:
    """Return how to read speech with a Whisper model: a folder, its name on the hub, or ``none`` to ignore speech.

    The default is that in ``COMMONPLACE_SPEECH_MODEL``; without one, it is only noted where there is speech, if the
    extra ``speech`` is installed. Raises ModelError for an unusable model.
    """
    from commonplace.readers import is_speech_readable, speech_folder

    model = model or os.environ.get("COMMONPLACE_SPEECH_MODEL") or ""
    if model == "none" or not (model or is_speech_readable()):
        return {"speech_seconds": 0.0, "speech_model": ""}
    return {"speech_seconds": SPEECH_SECONDS, "speech_model": speech_folder(model) if model else ""}


def report_of_absent(paths: Sequence[str]) -> Report | None:
    """Return the report of adding paths none of which exists; None if one does, or is a URL."""
    from commonplace.ingest import is_url, walk

    if any(is_url(path) or os.path.lexists(path) for path in paths):
        return None
    report = Report()
    for path in paths:
        if path:
            report.failed += [(str(place), reason) for place, reason in walk([path]).problems]
        else:
            report.failed.append((_("an empty path"), _("the path is empty: say which file or folder")))
    return report


class _Progress:
    """Shows progress: as a bar on a terminal, otherwise as lines in the log ``commonplace.progress``.

    ``shown`` switches the bar on or off; None shows it if standard error is a terminal.
    """

    def __init__(self, shown: bool | None) -> None:
        from tqdm import tqdm

        self._total, self._done, self._next = 0, 0, monotonic() + EVERY
        self._bar = tqdm(total=0, unit=_("file"), disable=None if shown is None else not shown)

    def expect(self, count: int) -> None:
        """Add a number of files and records to the total."""
        self._total += count
        if not self._bar.disable:
            self._bar.total = self._total
            self._bar.refresh()

    def step(self, count: int = 1) -> None:
        """Add a number of finished files and records."""
        self._bar.update(count)
        self._done += count
        if self._bar.disable and monotonic() >= self._next and self._done < self._total:
            self._next = monotonic() + EVERY
            logging.getLogger("commonplace.progress").info(
                _("{done:,} of {total:,} files").format(done=self._done, total=self._total)
            )

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()


def _one_line(error: Exception) -> str:
    """Return the type and the message of an error of the caller's code."""
    try:
        message = " ".join(str(error).split())
    except Exception:  # __str__ is code of the caller
        message = ""
    return f"{type(error).__name__} ({message:.500})"
