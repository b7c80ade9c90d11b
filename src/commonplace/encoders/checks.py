"""Compares a model's files with their checksums, in the background, once for each state of a file.

States that were right are kept in the cache folder, so that a later process does not read the files again.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from commonplace.encoders.runtime import cache_folder
from commonplace.errors import ModelError
from commonplace.i18n import _

__all__ = ["FILES", "FileChecks", "damaged", "missing", "sha256"]


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    checksum = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            checksum.update(piece)
    return checksum.hexdigest()


def missing(path: Path) -> ModelError:
    """Return the error for a file that is missing."""
    return ModelError(_("{path} is missing: install the model again").format(path=path))


def damaged(path: Path) -> ModelError:
    """Return the error for a file that does not match its checksum."""
    return ModelError(_("{path} is damaged (its checksum differs): install the model again").format(path=path))


class _State(NamedTuple):
    """The state of a file at one moment. Writing or replacing the file changes at least one of these fields."""

    path: str
    expected: str
    size: int
    changed: int  # nanoseconds
    inode: int
    process: int  # after a fork, the child does not have the checking thread

    @property
    def fields(self) -> list[str | int]:
        """The fields that are the same in every process, without the path."""
        return [self.expected, self.size, self.changed, self.inode]


class FileChecks:
    """Compares files with their checksums in a thread, and keeps the result for each state of a file. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._right: dict[_State, Future[bool]] = {}

    def check(self, files: Mapping[Path, str], *, wait: bool = False) -> None:
        """Raise ModelError if one of the files is missing or already known to be damaged.

        ``files``: the SHA-256 in hexadecimal by path. New states of files are checked in a thread; with ``wait``, this
        method waits for the result.
        """
        states = {path: _state(path, expected) for path, expected in files.items()}
        with self._lock:
            new = [state for state in states.values() if state not in self._right]
            if new:
                right_states = _remembered()
                paths = {state.path for state in new}
                self._right = {s: right for s, right in self._right.items() if s.path not in paths or not right.done()}
                self._right |= {state: Future() for state in new}
                for state in new:
                    if right_states.get(state.path) == state.fields:
                        self._right[state].set_result(True)
                work = [(state, right) for state in new if not (right := self._right[state]).done()]
                if work:
                    threading.Thread(target=_compare, args=(work,), name="checksums", daemon=True).start()
            checks = {path: self._right[state] for path, state in states.items()}
        for path, right in checks.items():
            if (wait or right.done()) and not right.result():
                raise damaged(path)


FILES = FileChecks()
"""The checks of this process, shared by all collections."""


def _state(path: Path, expected: str) -> _State:
    try:
        status = path.stat()
    except OSError:
        raise missing(path) from None
    if not stat.S_ISREG(status.st_mode):
        raise missing(path)
    return _State(os.path.abspath(path), expected, status.st_size, status.st_mtime_ns, status.st_ino, os.getpid())


def _compare(work: list[tuple[_State, Future[bool]]]) -> None:
    """Compare the files, with the results in the futures, and remember the states of those that are right."""
    right_states = []
    for state, right in work:
        try:
            is_right = sha256(Path(state.path)) == state.expected
        except OSError:
            is_right = False
        if is_right:
            right_states.append(state)
        if state is work[-1][0]:  # a process may end as soon as the last result is there
            _remember(right_states)
        right.set_result(is_right)


MOST = 500
"""Number of files whose states are remembered."""


def _remembered() -> dict[str, list[str | int]]:
    """Return the fields of the states that were right, by path; empty if nothing is remembered, or cannot be read."""
    folder = cache_folder()
    if folder is None:
        return {}
    try:
        states = json.loads((folder / "checksums.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return states if isinstance(states, dict) else {}


def _remember(right_states: list[_State]) -> None:
    """Remember that these states are right. A state that is lost in a race is compared once more."""
    folder = cache_folder()
    if folder is None or not right_states:
        return
    by_path = _remembered()
    for state in right_states:
        by_path.pop(state.path, None)
        by_path[state.path] = state.fields
    part = folder / f"checksums.{os.getpid()}.part"
    with suppress(OSError):
        part.write_text(json.dumps(dict([*by_path.items()][-MOST:])), encoding="ascii")
        part.replace(folder / "checksums.json")
