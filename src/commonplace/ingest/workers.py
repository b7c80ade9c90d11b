"""Reading files in worker processes: one that crashes, hangs or eats all memory loses its own file and no other.

Workers are started as ``python -c``, not through :mod:`multiprocessing`: a user's script then needs no
``if __name__ == "__main__"``, and nothing of the main process (threads, models) is copied into them.
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
from commonplace.ingest.walk import Source
from commonplace.readers import ReadOptions, RecordContent, read_content
from commonplace.readers.worker import READY, Request
from commonplace.types import ParsedDocument

__all__ = ["Pool", "draw_page"]

_log = logging.getLogger(__name__)

# Finished readings wait at most this large (bytes): a folder of scans must not fill the memory.
_WAITING = 256 * 1024 * 1024

# The package is entered without running its __init__ (and ingest's), which may import far more than reading needs.
_START = """
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
serve(parent, {memory}, {timeout})
"""
# OpenVINO compiles its kernels for each shape, and each line of words has its own: kept, they take gigabytes; the last
# 200 serve the layers of one network that are alike. What is freed of 4 MB and more goes back to the system, instead of
# leaving holes that the next picture does not fit (glibc).
MEMORY_SETTINGS = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "200", "MALLOC_MMAP_THRESHOLD_": str(4 * 1024**2)}
SHORT = 64 * 1024
"""Characters of text up to which it is not worth a worker: starting one takes half a second."""
_START_TIME = 60.0  # seconds; a cold disk may need some, and only a broken installation needs more


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The result of a request and its ``size`` in bytes.

    ``fit`` tells whether the worker can take more requests, ``again`` whether a new worker should try this one.
    """

    result: Any  # what was asked for, or a ReadError
    size: int = 0
    fit: bool = True
    again: bool = False


class _Worker:
    """One worker process, used by one thread; only :meth:`kill` may be called from another."""

    def __init__(self, options: ReadOptions, timeout: float, memory: int) -> None:
        self._timeout = timeout
        self._memory = memory
        self._served = 0
        ours, theirs = socket.socketpair()
        with theirs:
            # Neither half an answer nor a worker that does not listen may hold the parent.
            limit = struct.pack("ll", int(timeout) + 1, 0)
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                with contextlib.suppress(OSError):
                    ours.setsockopt(socket.SOL_SOCKET, option, limit)
            code = _START.format(
                path=[folder for folder in sys.path if folder],
                package=str(Path(__file__).resolve().parent.parent),
                handle=theirs.fileno(),
                memory=memory,
                timeout=timeout,
            )
            threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1")
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-X", f"utf8={sys.flags.utf8_mode}", "-c", code],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # Ctrl-C in the terminal is for the parent alone
                env={**os.environ, **threads, **MEMORY_SETTINGS, "TOKENIZERS_PARALLELISM": "false"},
            )
        self._connection = Connection(ours.detach())
        try:
            first_message = (
                self._connection.recv_bytes() if self._connection.poll(_START_TIME) else b"it did not answer"
            )
            if first_message != READY:
                raise RuntimeError(f"a worker process could not start: {first_message.decode(errors='replace')}")
            self._connection.send_bytes(pickle.dumps(options))
        except BaseException:
            self.close()
            raise

    def ask(self, request: Request) -> _Outcome:
        """Return what came of ``request``; never raises for what the worker does."""
        first = self._served == 0
        self._served += 1
        try:
            self._connection.send_bytes(pickle.dumps(request, protocol=5))
            if not self._connection.poll(self._timeout):
                return self._late()
            answer = self._connection.recv_bytes()
        except BlockingIOError:
            return self._late()
        except (EOFError, OSError):
            code = self._process.wait()
            if code == -signal.SIGALRM:
                return self._late()
            how = f"signal {-code}" if code < 0 else f"exit {code}"
            why = f"the reader crashed on it ({how}); the file may be damaged: save it anew"
            return _Outcome(ReadError(why), fit=False, again=not first)
        kind, result = pickle.loads(answer)
        if kind == "done":
            return _Outcome(result, len(answer))
        if kind == "refused":
            return _Outcome(ReadError(result))
        if kind == "memory":
            why = f"needed more than {self._memory / 2**30:.3g} GB of memory; split the file"
            return _Outcome(ReadError(why), fit=False, again=not first)
        _log.error("a reader failed on %s: %s", _name(request), result)
        why = f"the reader failed on it ({result.splitlines()[0][:200]}); please report it"
        # Where memory runs out, libraries raise whatever they like: what another file left behind must not count.
        return _Outcome(ReadError(why), fit=False, again=not first)

    def _late(self) -> _Outcome:
        why = f"took longer than {self._timeout:g} s; split the file"
        return _Outcome(ReadError(why), fit=False)

    def kill(self) -> None:
        """End the process at once; the thread that waits for its answer is woken."""
        self._process.kill()

    def close(self) -> None:
        """End the process and leave nothing of it behind."""
        self._process.kill()
        self._process.wait()
        self._connection.close()


def draw_page(
    source: Path | bytes,
    number: int | None,
    side: int,
    options: ReadOptions,
    *,
    timeout: float = 60.0,
    memory: int = 2 * 1024**3,
) -> tuple[NDArray[np.uint8], str]:
    """Return a page's pixels and its file's content hash by a worker of its own; ``source`` is a path or bytes.

    See :func:`~commonplace.readers.page_of`. Raises ReadError, also where the worker crashes or takes too long.
    """
    worker = _Worker(options, timeout, memory)
    try:
        result = worker.ask(("page", source, number, side)).result
    finally:
        worker.close()
    if isinstance(result, ReadError):
        raise result
    pixels, content = result
    return pixels, content


@dataclass(slots=True, eq=False)
class _Task:
    """A file or record to read and, once ``done``, what came of it."""

    source: Source | RecordContent
    done: threading.Event = field(default_factory=threading.Event)
    outcome: _Outcome | None = None
    worker: _Worker | None = None
    abandoned: bool = False


class Pool:
    """``workers`` processes that read files and records, each with ``timeout`` seconds a file and ``memory`` bytes.

    They start with the first source that needs one; a short text is read in this process.

    At most ``ahead`` files are read before the caller asks for them. A worker that crashes, hangs or runs out of
    memory is replaced; a file that did so to a worker which had read others is tried once more in a new one.
    """

    def __init__(
        self,
        options: ReadOptions,
        workers: int,
        *,
        timeout: float = 60.0,
        memory: int = 2 * 1024**3,
        ahead: int = 32,
    ) -> None:
        if workers < 1 or ahead < 1 or timeout <= 0:
            raise ValueError("workers and ahead must be at least 1, timeout above 0")
        self._options, self._timeout, self._memory = options, timeout, memory
        self._ahead = ahead
        self._changed = threading.Condition()
        self._queue: deque[_Task] = deque()
        self._running: set[_Task] = set()
        self._closed = False
        self._failure: BaseException | None = None
        self._workers = workers
        self._threads: list[threading.Thread] = []  # started with the first source that is for them

    def read(
        self, sources: Iterable[Source | RecordContent]
    ) -> Iterator[tuple[Source | RecordContent, ParsedDocument | ReadError]]:
        """Yield each source with its reading, or with the error that says why there is none, in the given order."""
        pending: deque[_Task] = deque()
        remaining = iter(sources)
        try:
            while True:
                while len(pending) < self._ahead and sum(_size(task) for task in pending) < _WAITING:
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
        """End all workers; what they were reading is dropped."""
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

    def _submit(self, source: Source | RecordContent) -> _Task:
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
        """Take ``tasks`` off the queue; a worker that is busy with one is ended, not waited for."""
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
            return _Worker(self._options, self._timeout, self._memory)
        except (EOFError, OSError, RuntimeError) as error:  # out of memory or processes for a moment, perhaps
            _log.warning("a worker process could not start and is tried once more: %s", error)
            return _Worker(self._options, self._timeout, self._memory)

    def _run(self) -> None:
        """Hand queued tasks to a worker, replaced when it is no longer fit, until the pool closes."""
        worker: _Worker | None = None
        try:
            worker = self._start()  # before there is work, so that it is ready when there is
            while (task := self._take()) is not None:
                while True:
                    with self._changed:
                        task.worker = worker
                        abandoned = task.abandoned
                    outcome = None if abandoned else worker.ask(_request(task.source))
                    if outcome is not None and not outcome.fit:
                        worker.close()
                        worker = self._start()
                    if outcome is None or not outcome.again or task.abandoned:
                        break
                with self._changed:
                    self._running.discard(task)
                    task.outcome = None if task.abandoned else outcome
                    task.done.set()
        except BaseException as error:  # no worker can be started: whoever waits must hear of it
            with self._changed:
                self._failure, self._closed = error, True
                self._changed.notify_all()
                for waiting in (*self._queue, *self._running):
                    waiting.done.set()
        finally:
            if worker is not None:
                worker.close()

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
        return request[1].document.path
    return "the content of a record" if isinstance(request[1], bytes) else str(request[1])


def _request(source: Source | RecordContent) -> Request:
    return ("content", source) if isinstance(source, RecordContent) else ("read", source.path, source.root)


def _size(task: _Task) -> int:
    """Return the bytes that a task keeps in memory: those of a record, and what was read."""
    given = task.source.data if isinstance(task.source, RecordContent) else None
    return len(given or b"") + (task.outcome.size if task.outcome is not None else 0)
