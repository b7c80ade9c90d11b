"""A model's files compared with their checksums: once for each state of a file, beside other work."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple

from commonplace.errors import ModelError

__all__ = ["FILES", "FileChecks", "damaged", "missing", "sha256"]


def sha256(path: Path) -> str:
    """Return the checksum of a file, read in pieces."""
    checksum = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            checksum.update(piece)
    return checksum.hexdigest()


def missing(path: Path) -> ModelError:
    """Return the error that says that a file is not there."""
    return ModelError(f"{path} is missing: install the model again")


def damaged(path: Path) -> ModelError:
    """Return the error that says that a file is not what its checksum says."""
    return ModelError(f"{path} is damaged (its checksum differs): install the model again")


class _State(NamedTuple):
    """A file at one moment. Whoever writes to it, or puts another in its place, changes one of these."""

    path: str
    expected: str
    size: int
    changed: int  # nanoseconds
    inode: int
    process: int  # after a fork the thread that was at work is not there


class FileChecks:
    """Compares files with their checksums in a thread. Safe for threads; kept by the state of each file."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._right: dict[_State, Future[bool]] = {}

    def check(self, files: Mapping[Path, str], *, wait: bool = False) -> None:
        """Raise ModelError where one of the files (with its SHA-256, hexadecimal) is missing or known to be damaged.

        What is not known yet is looked at beside; ``wait`` waits for that.
        """
        states = {path: _state(path, expected) for path, expected in files.items()}
        with self._lock:
            new = [state for state in states.values() if state not in self._right]
            if new:
                paths = {state.path for state in new}
                self._right = {s: right for s, right in self._right.items() if s.path not in paths or not right.done()}
                self._right |= {state: Future() for state in new}
                work = [(state, self._right[state]) for state in new]
                threading.Thread(target=_compare, args=(work,), name="checksums", daemon=True).start()
            checks = {path: self._right[state] for path, state in states.items()}
        for path, right in checks.items():
            if (wait or right.done()) and not right.result():
                raise damaged(path)


FILES = FileChecks()
"""The checks of this process: all collections share them."""


def _state(path: Path, expected: str) -> _State:
    try:
        status = path.stat()
    except OSError:
        raise missing(path) from None
    if not stat.S_ISREG(status.st_mode):
        raise missing(path)
    return _State(os.path.abspath(path), expected, status.st_size, status.st_mtime_ns, status.st_ino, os.getpid())


def _compare(work: list[tuple[_State, Future[bool]]]) -> None:
    for state, right in work:
        try:
            right.set_result(sha256(Path(state.path)) == state.expected)
        except OSError:
            right.set_result(False)
