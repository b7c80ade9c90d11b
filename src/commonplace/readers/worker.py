"""The worker's side of :mod:`commonplace.ingest.workers`: reads one file after the other, far from the main process.

It imports the readers and nothing else of ours, so that it starts quickly and holds no model.
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

FULL = 0.8  # of the memory a worker may have

#: The first message of a worker that could start; any other is the traceback of one that could not.
READY = b"ready"

#: What a worker is asked: to read a file or a record, or for a page's pixels: see
#: :func:`~commonplace.readers.page_of`.
Request = (
    tuple[Literal["read"], Path, Path]
    | tuple[Literal["content"], RecordContent]
    | tuple[Literal["page"], Path | bytes, int | None, int]
)

#: What a worker answers: ("done", it), ("refused", why), ("memory", "") or ("bug", traceback).
Answer = tuple[str, ParsedDocument | tuple[NDArray[np.uint8], str] | str]


def serve(parent: Connection, memory: int, timeout: float) -> None:
    """Say that the worker is ready, then answer requests from ``parent`` until it closes.

    ``memory`` limits the address space (bytes). A file that takes longer than ``timeout`` seconds and a little more
    ends the process by itself: should the parent be gone, nobody else would.
    """
    _confine(memory)
    try:
        parent.send_bytes(READY)
        options: ReadOptions = pickle.loads(parent.recv_bytes())
        while True:
            request = pickle.loads(parent.recv_bytes())
            _alarm(timeout + 5)
            answer = _pack(_answer(request, options))
            _alarm(0)
            parent.send_bytes(answer)
            if _size() > FULL * memory:  # what is left would not do for another large file; a new worker has it all
                return
    except (EOFError, OSError):  # the parent has gone, or wants no more
        return


def _size() -> int:
    """Return the bytes of this process's address space, 0 where the system does not say."""
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

        return "bug", f"{type(error).__name__}: {error}\n{traceback.format_exc()}"


def _pack(answer: Answer) -> bytes:
    try:
        return pickle.dumps(answer, protocol=5)
    except MemoryError:
        return pickle.dumps(("memory", ""), protocol=5)


def _confine(memory: int) -> None:
    """Limit this process and tie its life to its parent's, as far as the system can."""
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # a parent may have it ignored, and that is inherited
    try:
        import resource
    except ImportError:  # Windows
        pass
    else:
        for limit, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CORE, 0)):
            try:
                hard = resource.getrlimit(limit)[1]
                resource.setrlimit(limit, (most if hard < 0 else min(most, hard), hard))
            except (OSError, ValueError):  # macOS refuses some
                continue
    if sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)
