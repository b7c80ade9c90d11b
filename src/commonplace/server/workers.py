"""Several processes that serve the same collections at one address.

uvicorn's own supervisor kills a process that does not answer it within seconds, as on a busy machine. This one
replaces only processes that ended.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

import uvicorn

from commonplace.errors import CommonplaceError
from commonplace.i18n import _

__all__ = ["START_FAILED", "end_processes", "run_workers"]

START_FAILED = 3
"""The exit status of a process that could not begin to serve; uvicorn uses the same."""
PAUSE = 1.0  # seconds before a process is replaced, so that one that always ends does not fill the machine
GRACE = 60.0  # seconds for a process to end in order: 20 for its requests, the rest for the step of a job
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


def run_workers(make_server: Callable[[], uvicorn.Server], listener: socket.socket, count: int) -> int:
    """Serve with so many processes until SIGINT or SIGTERM; return 0, or 1 if a process could not begin to serve.

    ``make_server`` is called in each process, and must be picklable. All accept connections of ``listener``. A process
    that ends is replaced. At the end each one finishes its requests and the step of its job, or is killed after
    ``GRACE`` seconds: what was acknowledged is on the disk.
    """
    from prometheus_client.multiprocess import mark_process_dead

    spawn = multiprocessing.get_context("spawn")
    ending = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: ending.set())

    def started() -> BaseProcess:
        process = spawn.Process(target=_work, args=(make_server, listener))
        process.start()
        return process

    status = 0
    with tempfile.TemporaryDirectory(prefix="commonplace-metrics-") as folder:
        os.environ[METRICS_FOLDER] = folder  # read by the processes: they add up their counts there
        processes = [started() for _number in range(count)]
        while not ending.is_set():
            wait([process.sentinel for process in processes], timeout=0.5)
            for index, process in enumerate(processes):
                if process.exitcode is None or ending.is_set():
                    continue
                mark_process_dead(process.pid, folder)  # type: ignore[no-untyped-call]
                if process.exitcode == START_FAILED:
                    status = 1
                    ending.set()
                    break
                _say(_("a worker ended ({code}) and is replaced").format(code=process.exitcode))
                ending.wait(PAUSE)
                processes[index] = started()
        end_processes(processes, GRACE)
    return status


def end_processes(processes: Sequence[BaseProcess], seconds: float) -> None:
    """End processes by SIGTERM, and by SIGKILL those that are still there after so many seconds."""
    for process in processes:
        process.terminate()
    end = time.monotonic() + seconds
    for process in processes:
        process.join(max(0.0, end - time.monotonic()))
        if process.exitcode is None:
            _say(_("a worker did not end within {seconds:.0f} s and is killed").format(seconds=seconds))
            process.kill()
    for process in processes:
        process.join()


def _work(make_server: Callable[[], uvicorn.Server], listener: socket.socket) -> None:
    """Serve, in a process of its own."""
    threading.Thread(target=_end_with_parent, name="commonplace-parent", daemon=True).start()
    try:
        server = make_server()
    except CommonplaceError as problem:
        _say(problem)
        sys.exit(START_FAILED)
    server.run(sockets=[listener])
    if not server.started:
        sys.exit(START_FAILED)


def _say(text: object) -> None:
    sys.stderr.write(f"commonplace: {text}\n")


def _end_with_parent() -> None:
    """End this process as SIGTERM does when its parent is gone, so that a killed server leaves none behind."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
