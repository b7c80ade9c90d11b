"""The worker process of ``commonplace.ingest.workers``: reads one file after the other.

It imports only the readers, so that it starts quickly and loads no model.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from commonplace.errors import ReadError
from commonplace.readers import Quota, ReadOptions, RecordContent, page_of, read, read_content
from commonplace.types import ParsedDocument

__all__ = ["READY", "WALL_SHARE", "ReadUpTo", "Request", "serve"]

FULL_SHARE = 0.8  # share of a worker's memory limit; above it the worker is replaced

#: The first message of a worker that has started. Any other first message is the traceback of a failed start.
READY = b"ready"

IDLE_SHARE = 0.02  # of the clock: a reader that used less of the processor waits for something, and is not only slow

#: By the clock a step may take this many times its limit of processor time, on a machine with much other work.
WALL_SHARE = 20.0


class ReadUpTo(NamedTuple):
    """Where reading must end, because what comes next failed before: after steps or before a page (see ``Quota``)."""

    last_step: int | None = None
    last_page: int | None = None
    failure: str = ""


#: A request to a worker: to read a file or a record, or to render a page (see ``page_of``).
Request = (
    tuple[Literal["read"], ReadUpTo, Path, Path]
    | tuple[Literal["content"], ReadUpTo, RecordContent]
    | tuple[Literal["page"], ReadUpTo, Path | bytes, int | None, int]
)

#: An answer of a worker: ("done", result), ("refused", reason), ("memory", "") or ("bug", traceback). Before it come
#: ("progress", (steps, pages looked at)).
Answer = tuple[str, ParsedDocument | tuple[NDArray[np.uint8], str] | tuple[int, int] | str]


def serve(parent: Connection, memory: int) -> None:
    """Send ``READY``, then answer requests from ``parent`` until it closes the connection.

    ``memory`` limits the address space in bytes. The process ends where a page or part takes longer than the options
    allow: by SIGPROF after that much processor time, also in code that never returns to Python; by SIGALRM after that
    much time by the clock in which it only waited.
    """
    _limit_process(memory)
    try:
        parent.send_bytes(READY)
        options: ReadOptions = pickle.loads(parent.recv_bytes())

        def on_progress(steps: int, looked_at: int) -> None:
            _limit_step(options.step_seconds)
            parent.send_bytes(pickle.dumps(("progress", (steps, looked_at)), protocol=5))

        while True:
            request = pickle.loads(parent.recv_bytes())
            _limit_step(options.step_seconds)
            answer = _serialise(_answer(request, options, on_progress))
            _limit_step(0)
            parent.send_bytes(answer)
            if _address_space() > FULL_SHARE * memory:  # a new worker has all its memory for the next file
                return
    except (EOFError, OSError):  # the parent has closed the connection
        return


def _address_space() -> int:
    """Return the size of this process's address space in bytes; 0 where the system does not report it."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0


def _limit_step(seconds: float) -> None:
    """End this process if the next page or part takes longer; 0 for no limit."""
    if not hasattr(signal, "setitimer"):
        return
    began, used = time.monotonic(), time.process_time()

    def end_if_idle(*_: object) -> None:
        if time.process_time() - used < IDLE_SHARE * (time.monotonic() - began):
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGALRM)

    if seconds:
        signal.signal(signal.SIGALRM, end_if_idle)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)


def _answer(request: Request, options: ReadOptions, on_progress: Callable[[int, int], None]) -> Answer:
    try:
        if request[0] == "page":
            return "done", page_of(*request[2:], options)
        stop = request[1]
        quota = Quota.of(options, on_progress, **stop._asdict())
        if request[0] == "content":
            return "done", read_content(request[2], options, quota)
        return "done", read(request[2], options, request[3], quota)
    except ReadError as error:
        return "refused", " ".join(str(error).split())
    except MemoryError:
        return "memory", ""
    except BaseException as error:
        import traceback

        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{os.path.basename(last.filename)}, line {last.lineno}"
        return "bug", f"{type(error).__name__}: {' '.join(str(error).split())[:200]}; {place}\n{traceback.format_exc()}"


def _serialise(answer: Answer) -> bytes:
    try:
        return pickle.dumps(answer, protocol=5)
    except MemoryError:
        return pickle.dumps(("memory", ""), protocol=5)


def _limit_process(memory: int) -> None:
    """Limit the memory of this process, and end it with its parent, as far as the system supports it."""
    if hasattr(signal, "SIGPROF"):
        signal.signal(signal.SIGPROF, signal.SIG_DFL)  # a parent may ignore this signal, and children inherit that
    try:
        import resource
    except ImportError:  # Windows
        pass
    else:
        for limit, limit_value in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CORE, 0)):
            try:
                hard = resource.getrlimit(limit)[1]
                resource.setrlimit(limit, (limit_value if hard < 0 else min(limit_value, hard), hard))
            except (OSError, ValueError):  # macOS refuses some
                continue
    if sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)
