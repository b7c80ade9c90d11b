"""The worker process of ``commonplace.ingest.workers``: reads one file after the other.

It imports only the readers, so that it starts quickly and loads no model.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from commonplace.errors import ReadError
from commonplace.readers import ReadOptions, RecordContent, page_of, read, read_content
from commonplace.types import ParsedDocument

__all__ = ["READY", "Request", "serve"]

FULL_SHARE = 0.8  # share of a worker's memory limit; above it the worker is replaced

#: The first message of a worker that has started. Any other first message is the traceback of a failed start.
READY = b"ready"

#: A request to a worker: to read a file or a record, or to render a page (see ``page_of``).
Request = (
    tuple[Literal["read"], Path, Path]
    | tuple[Literal["content"], RecordContent]
    | tuple[Literal["page"], Path | bytes, int | None, int]
)

#: An answer of a worker: ("done", result), ("refused", reason), ("memory", "") or ("bug", traceback).
Answer = tuple[str, ParsedDocument | tuple[NDArray[np.uint8], str] | str]


def serve(parent: Connection, memory: int, timeout: float) -> None:
    """Send ``READY``, then answer requests from ``parent`` until it closes the connection.

    ``memory`` limits the address space in bytes. The process ends itself some seconds after ``timeout`` if a file
    takes longer, in case the parent no longer exists.
    """
    _limit_process(memory)
    try:
        parent.send_bytes(READY)
        options: ReadOptions = pickle.loads(parent.recv_bytes())
        while True:
            request = pickle.loads(parent.recv_bytes())
            _alarm(timeout + 5)
            answer = _serialise(_answer(request, options))
            _alarm(0)
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


def _alarm(seconds: float) -> None:
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _answer(request: Request, options: ReadOptions) -> Answer:
    try:
        if request[0] == "read":
            return "done", read(request[1], options, request[2])
        if request[0] == "content":
            return "done", read_content(request[1], options)
        return "done", page_of(*request[1:], options)
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
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # a parent may ignore this signal, and children inherit that
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
