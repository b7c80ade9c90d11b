"""Locks between processes: who writes an index file, who changes a collection as a whole."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from commonplace.errors import CollectionError

__all__ = ["holder", "lock", "maintenance_lock"]


@contextmanager
def lock(path: Path) -> Iterator[bool]:
    """Hold the right to do what ``path`` stands for; yields False where another process or thread has it.

    Raises OSError where files cannot be locked.
    """
    import fcntl

    path.parent.mkdir(exist_ok=True)
    handle = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        yield True
    finally:
        os.close(handle)


@contextmanager
def maintenance_lock(folder: Path) -> Iterator[None]:
    """Hold the right to change a whole collection in several transactions, or its history.

    Migration, restore, repair and vacuum hold it. Raises CollectionError where another process has it.
    """
    path = folder / "maintenance"
    with ExitStack() as stack:
        try:
            mine = stack.enter_context(lock(path))
        except OSError as problem:
            raise CollectionError(
                f"{folder} cannot be locked ({problem.strerror}): check its permissions, and that it is on a disk of "
                "this machine"
            ) from problem
        if not mine:
            raise CollectionError(
                f"{holder(path)} is migrating, restoring, vacuuming or repairing {folder}: wait until it has finished"
            )
        yield


def holder(path: Path) -> str:
    """Return in words who holds, or held last, the lock of ``path``."""
    with suppress(OSError):
        return path.with_suffix(".lock").read_text(errors="replace")[:200] or "another process"
    return "another process"
