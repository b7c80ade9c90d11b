"""Reads files in worker processes, so that a crash, a hang or a lack of memory costs only the file that caused it.

Workers are started with ``python -c``, not with ``multiprocessing``. A user's script then needs no
``if __name__ == "__main__"``, and no threads or models of the main process are copied.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonplace.errors import ReadError
from commonplace.i18n import _
from commonplace.ingest.remote import RemoteFile
from commonplace.ingest.sources import AnySource
from commonplace.readers import ReadOptions, RecordContent, read_content
from commonplace.readers.worker import READY, WALL_SHARE, ReadUpTo, Request
from commonplace.types import ParsedDocument

__all__ = ["Pool", "draw_page", "reader_pool"]

_log = logging.getLogger(__name__)

# Limit on finished documents that wait for the caller, in bytes: a folder of scans must not fill the memory.
_MAX_WAITING = 256 * 1024 * 1024

# The worker does not run commonplace/__init__.py, which may import much more than the readers need.
_START_CODE = """
import sys
sys.path[:] = {path!r}
from multiprocessing.connection import Connection
from types import ModuleType
parent = Connection({handle})
try:
    package = sys.modules["commonplace"] = ModuleType("commonplace")
    package.__path__ = [{package!r}]
    from commonplace.readers.worker import serve
except BaseException:
    import traceback
    parent.send_bytes(traceback.format_exc().encode())
    raise SystemExit(1)
serve(parent, {memory})
"""
# OpenVINO compiles and caches kernels for each shape, and each line of text has its own width: this takes gigabytes.
# The last 200 kernels suffice for the similar layers of one network. Freed blocks of 4 MB and more are returned to the
# system (glibc), because the next picture may not fit into the gaps that they leave.
MEMORY_SETTINGS = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "200", "MALLOC_MMAP_THRESHOLD_": str(4 * 1024**2)}
SHORT = 64 * 1024
"""Characters of text up to which it is not worth a worker: starting one takes half a second."""
_GRACE = 5.0  # seconds by the clock after which a worker is ended that should have ended itself
_START_SECONDS = 60.0  # seconds; a start from a cold disk is slow, and only a broken installation takes longer


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The outcome of a request: its result and size in bytes, whether the worker is ``reusable``, and whether the
    request should be sent once more to a new worker (``retry``), or so that it ends before what failed (``before``).
    """

    result: Any  # the result of the request, or a ReadError
    size: int = 0
    reusable: bool = True
    retry: bool = False
    before: ReadUpTo | None = None


class _Worker:
    """One worker process. It is used by one thread; only ``kill()`` may be called from another thread."""

    def __init__(self, options: ReadOptions, memory: int) -> None:
        self._step_seconds = options.step_seconds
        self._wait = WALL_SHARE * options.step_seconds + _GRACE  # by then the worker has ended itself
        self._memory = memory
        self._served = 0
        parent_socket, worker_socket = socket.socketpair()
        with worker_socket:
            # Neither an incomplete answer nor a worker that does not listen may block the parent.
            limit = struct.pack("ll", int(self._wait) + 1, 0)
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                with contextlib.suppress(OSError):
                    parent_socket.setsockopt(socket.SOL_SOCKET, option, limit)
            code = _START_CODE.format(
                path=[folder for folder in sys.path if folder],
                package=str(Path(__file__).resolve().parent.parent),
                handle=worker_socket.fileno(),
                memory=memory,
            )
            threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1")
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-X", f"utf8={sys.flags.utf8_mode}", "-c", code],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(worker_socket.fileno(),),
                start_new_session=True,  # Ctrl-C in the terminal must reach only the parent
                env={**os.environ, **threads, **MEMORY_SETTINGS, "TOKENIZERS_PARALLELISM": "false"},
            )
        self._connection = Connection(parent_socket.detach())
        try:
            message = self._connection.recv_bytes() if self._connection.poll(_START_SECONDS) else b"it did not answer"
            if message != READY:
                raise RuntimeError(f"a worker process could not start: {message.decode(errors='replace')}")
            self._connection.send_bytes(pickle.dumps(options))
        except BaseException:
            self.close()
            raise

    def request(self, request: Request) -> _Outcome:
        """Return what came of ``request``; never raises for what the worker does."""
        is_first = self._served == 0
        self._served += 1
        progress = (0, 0)
        try:
            self._connection.send_bytes(pickle.dumps(request, protocol=5))
            while True:
                if not self._connection.poll(self._wait):
                    return self._late(self._wait, progress)
                answer = self._connection.recv_bytes()
                kind, payload = pickle.loads(answer)
                if kind != "progress":
                    break
                progress = payload
        except BlockingIOError:
            return self._late(self._wait, progress)
        except (EOFError, OSError):
            code = self._process.wait()
            if code in (-signal.SIGPROF, -signal.SIGALRM):
                return self._late(self._step_seconds, progress)
            cause = _("signal {code}").format(code=-code) if code < 0 else _("exit {code}").format(code=code)
            return _failed(
                _("the reader crashed on it ({cause}); it may be damaged: save a new copy").format(cause=cause),
                _("the reader crashed on the next part ({cause}); save a new copy").format(cause=cause),
                progress,
                retry=not is_first,
            )
        if kind == "done":
            return _Outcome(payload, len(answer))
        if kind == "refused":
            return _Outcome(ReadError(payload))
        # An earlier file may have used up the memory, so this one is retried.
        if kind == "memory":
            size = self._memory / 2**30
            return _failed(
                _("needed more than {memory:.3g} GB of memory; split the file").format(memory=size),
                _("the next part needed more than {memory:.3g} GB of memory; split the file").format(memory=size),
                progress,
                retry=not is_first,
            )
        _log.error("a reader failed on %s: %s", _name(request), payload)
        cause = payload.splitlines()[0][:300]
        return _failed(  # retried, too: out of memory, libraries raise any error
            _("the reader failed on it ({payload}); report it to the reader's author").format(payload=cause),
            _("the reader failed on the next part ({payload}); report it to the reader's author").format(payload=cause),
            progress,
            retry=not is_first,
        )

    def _late(self, seconds: float, progress: tuple[int, int]) -> _Outcome:
        return _failed(
            _(
                "took longer than {seconds:g} s; split it, or add it with --retry-failed and a larger --time-limit"
            ).format(seconds=seconds),
            _(
                "the next part took longer than {seconds:g} s; split it, or add it with --retry-failed and a larger "
                "--time-limit"
            ).format(seconds=seconds),
            progress,
            retry=False,
        )

    def kill(self) -> None:
        """End the process at once; this wakes the thread that waits for its answer."""
        self._process.kill()

    def close(self) -> None:
        """End the process and release its resources."""
        self._process.kill()
        self._process.wait()
        self._connection.close()


def _failed(reason: str, next_reason: str, progress: tuple[int, int], *, retry: bool) -> _Outcome:
    """Return the outcome of a request whose worker has ended.

    ``reason`` is for the whole document. ``next_reason`` tells why reading stops after what was read by then.
    """
    steps, looked_at = progress
    before = None
    if steps or looked_at:
        before = ReadUpTo(steps or None, None if steps else looked_at, next_reason)
    return _Outcome(ReadError(reason), reusable=False, retry=retry, before=before)


def draw_page(
    source: Path | bytes, number: int | None, side: int, options: ReadOptions, *, memory: int = 2 * 1024**3
) -> tuple[NDArray[np.uint8], str]:
    """Return the pixels of a page and the content hash of its file, rendered by a separate worker.

    ``source`` is a path, or the bytes of a file. See ``page_of``. Raises ReadError, also where the worker crashes or
    takes too long.
    """
    worker = _Worker(options, memory)
    try:
        result = worker.request(("page", ReadUpTo(), source, number, side)).result
    finally:
        worker.close()
    if isinstance(result, ReadError):
        raise result
    pixels, content = result
    return pixels, content


@dataclass(slots=True, eq=False)
class _Task:
    """A file or record to read and, once ``done`` is set, its outcome."""

    source: AnySource
    done: threading.Event = field(default_factory=threading.Event)
    outcome: _Outcome | None = None
    worker: _Worker | None = None
    abandoned: bool = False


def reader_pool(options: ReadOptions, workers: int) -> Pool:
    """Return a pool with the memory that reading needs: more with OCR, and for a speech model."""
    memory = (5 if options.ocr_seconds else 2) * 1024**3
    if options.speech_model:  # a model is converted to integers while it is loaded
        memory += 2 * 1024**3 + 3 * os.path.getsize(os.path.join(options.speech_model, "model.bin"))
    return Pool(options, workers, memory=memory)


class Pool:
    """A pool of ``workers`` processes that read files and records, with ``memory`` bytes each. The time that a file
    and each of its pages may take is in ``options``.

    They start with the first source that needs one; a short text is read in this process.

    At most ``ahead`` files are read before the caller requests them. A worker that crashes, hangs or runs out of
    memory is replaced. If it had read other files before, the file is retried once in a new worker. If it had read a
    part of this file, it is read again up to there, and that is the result.
    """

    def __init__(
        self,
        options: ReadOptions,
        workers: int,
        *,
        memory: int = 2 * 1024**3,
        ahead: int = 32,
    ) -> None:
        if workers < 1 or ahead < 1:
            raise ValueError("workers and ahead must be at least 1")
        self._options, self._memory = options, memory
        self._ahead = ahead
        self._changed = threading.Condition()
        self._queue: deque[_Task] = deque()
        self._running: set[_Task] = set()
        self._closed = False
        self._failure: BaseException | None = None
        self._workers = workers
        # Started with the first source that needs one. They live as long as the pool: on Linux a worker ends with the
        # thread that started it.
        self._threads: list[threading.Thread] = []

    def read(self, sources: Iterable[AnySource]) -> Iterator[tuple[AnySource, ParsedDocument | ReadError]]:
        """Yield each source with its parsed document, or with the error, in the order of ``sources``."""
        pending: deque[_Task] = deque()
        remaining = iter(sources)
        try:
            while True:
                while len(pending) < self._ahead and sum(_result_size(task) for task in pending) < _MAX_WAITING:
                    source = next(remaining, None)
                    if source is None:
                        break
                    pending.append(self._submit(source))
                if not pending:
                    return
                task = pending[0]
                task.done.wait()
                pending.popleft()
                if task.outcome is None:
                    raise RuntimeError("the pool was closed while it was reading") from self._failure
                yield task.source, task.outcome.result
        finally:
            self._abandon(pending)

    def close(self) -> None:
        """End all workers and drop the files that they are reading."""
        with self._changed:
            self._closed = True
            unfinished = [*self._queue, *self._running]
            self._changed.notify_all()
            threads = list(self._threads)
        self._abandon(unfinished)
        for thread in threads:
            thread.join()

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _submit(self, source: AnySource) -> _Task:
        task = _Task(source)
        if isinstance(source, RecordContent) and source.data is None and len(source.text or "") <= SHORT:
            task.outcome = _read_here(source, self._options)
            task.done.set()
            return task
        with self._changed:
            if self._closed:
                raise RuntimeError("the pool is closed") from self._failure
            self._queue.append(task)
            if not self._threads:
                self._start_threads()
            self._changed.notify()
        return task

    def _start_threads(self) -> None:
        # The threads live as long as the pool: on Linux a worker dies with the thread that started it.
        self._threads = [
            threading.Thread(target=self._run, name=f"commonplace-reader-{number}", daemon=True)
            for number in range(self._workers)
        ]
        for thread in self._threads:
            thread.start()

    def _abandon(self, tasks: Iterable[_Task]) -> None:
        """Remove ``tasks`` from the queue, and end workers that are busy with them without waiting."""
        with self._changed:
            for task in tasks:
                if task in self._queue:
                    self._queue.remove(task)
                task.abandoned = True
                task.done.set()
                if task in self._running and task.worker is not None:
                    task.worker.kill()

    def _start(self) -> _Worker:
        try:
            return _Worker(self._options, self._memory)
        except (EOFError, OSError, RuntimeError) as error:  # perhaps a short lack of memory or processes
            _log.warning("a worker process could not start and is tried once more: %s", error)
            return _Worker(self._options, self._memory)

    def _run(self) -> None:
        """Send queued tasks to a worker until the pool closes; replace a worker that is not reusable."""
        worker: _Worker | None = None
        try:
            worker = self._start()  # started before there is work, so that it is ready
            while (task := self._take()) is not None:
                stop = ReadUpTo()
                while True:
                    with self._changed:
                        task.worker = worker
                        abandoned = task.abandoned
                    outcome = None if abandoned else self._ask(worker, task.source, stop)
                    if outcome is not None and not outcome.reusable:
                        worker.close()
                        worker = self._start()
                    if outcome is None or task.abandoned:
                        break
                    if outcome.before is not None and not outcome.retry and not stop.failure:
                        stop = outcome.before
                    elif not outcome.retry:
                        break
                with self._changed:
                    self._running.discard(task)
                    task.outcome = None if task.abandoned else outcome
                    task.done.set()
        except BaseException as error:  # no worker can be started: all who wait must be told
            with self._changed:
                self._failure, self._closed = error, True
                self._changed.notify_all()
                for waiting in (*self._queue, *self._running):
                    waiting.done.set()
        finally:
            if worker is not None:
                worker.close()

    def _ask(self, worker: _Worker, source: AnySource, stop: ReadUpTo) -> _Outcome:
        """Return what came of reading a source. A remote file is fetched here, in the thread of the worker."""
        if isinstance(source, RemoteFile):
            try:
                source = source.content(self._options.max_bytes)
            except ReadError as problem:
                return _Outcome(problem)
        if isinstance(source, RecordContent):
            return worker.request(("content", stop, source))
        return worker.request(("read", stop, source.path, source.root))

    def _take(self) -> _Task | None:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed)
            if self._closed:
                return None
            task = self._queue.popleft()
            self._running.add(task)
            return task


def _read_here(content: RecordContent, options: ReadOptions) -> _Outcome:
    """Read a short text in this process: it is of no format that a reader could fail on."""
    try:
        return _Outcome(read_content(content, options))
    except ReadError as problem:
        return _Outcome(problem)


def _name(request: Request) -> str:
    """Return what a request is about, for the log."""
    if request[0] == "content":
        return request[2].document.path
    return _("the content of a record") if isinstance(request[2], bytes) else str(request[2])


def _result_size(task: _Task) -> int:
    """Return the bytes that a task keeps in memory: those of a record, and what was read."""
    data = task.source.data if isinstance(task.source, RecordContent) else None
    return len(data or b"") + (task.outcome.size if task.outcome is not None else 0)
