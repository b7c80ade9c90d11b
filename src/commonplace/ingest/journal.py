"""Records which documents a process was embedding when it crashed, so that a bad document is not retried for ever."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

__all__ = ["ATTEMPTS", "InFlightJournal"]

ATTEMPTS = 3
"""How often a document may be in flight during a crash before it is given up: first in a batch, then alone."""


class InFlightJournal:
    """A file in ``folder`` with the documents that this process is embedding, and crash counts of earlier processes.

    It is not synced to the disk: it covers a killed process (for instance out of memory), not a power failure.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"add.{os.getpid()}.flight"
        self.counts: dict[str, int] = {}
        """How often each document was in flight when its process crashed."""
        for path in sorted(folder.glob("add.*.flight")):
            if _is_running(path):
                continue
            for id_, count in _read(path).items():
                self.counts[id_] = max(self.counts.get(id_, 0), count)
            with suppress(OSError):
                path.unlink()
        self._write(self.counts)

    def begin(self, ids: Iterable[str]) -> None:
        """Record that these documents are being embedded."""
        self._write({**self.counts, **{id_: self.counts.get(id_, 0) + 1 for id_ in ids}})

    def end(self, ids: Iterable[str]) -> None:
        """Record that these documents are finished, with or without success."""
        for id_ in ids:
            self.counts.pop(id_, None)
        self._write(self.counts)

    def _write(self, counts: dict[str, int]) -> None:
        with suppress(OSError):  # on a full disk the add itself reports the error
            if counts:
                partial = self._path.with_suffix(".part")
                partial.write_text(json.dumps(counts))
                partial.replace(self._path)
            else:
                self._path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, int]:
    try:
        counts = json.loads(path.read_text())
        return {str(id_): int(count) for id_, count in counts.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _is_running(path: Path) -> bool:
    number = path.name.split(".")[1]
    if not number.isdigit() or int(number) == os.getpid():
        return False
    try:
        os.kill(int(number), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
