"""Locks between processes: for writing an index file, and for maintenance of a whole collection."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from commonplace.errors import CollectionError
from commonplace.i18n import _

__all__ = ["holder", "lock", "maintenance_lock"]


@contextmanager
def lock(path: Path) -> Iterator[bool]:
    """Try to hold the lock of ``path``; yields False if another process or thread holds it.

    Raises OSError if files cannot be locked.
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
    """Hold the lock for changes to a whole collection that take several transactions, or that change its history.

    Migration, restore, repair and vacuum hold it. Raises CollectionError if another process holds it.
    """
    path = folder / "maintenance"
    with ExitStack() as stack:
        try:
            mine = stack.enter_context(lock(path))
        except OSError as problem:
            raise CollectionError(
                _(
                    "{folder} cannot be locked ({reason}): check its permissions, and that it is on a disk of "
                    "this machine"
                ).format(folder=folder, reason=problem.strerror)
            ) from problem
        if not mine:
            raise CollectionError(
                _(
                    "{holder} is migrating, restoring, vacuuming or repairing {folder}: wait until it has finished"
                ).format(holder=holder(path), folder=folder)
            )
        yield


def holder(path: Path) -> str:
    """Return a description of the process that holds, or last held, the lock of ``path``."""
    with suppress(OSError):
        return path.with_suffix(".lock").read_text(errors="replace")[:200] or _("another process")
    return _("another process")
