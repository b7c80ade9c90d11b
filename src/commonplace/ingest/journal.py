"""Which documents were being embedded when a process died: what brings it down twice, alone, is not tried for ever."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

__all__ = ["ATTEMPTS", "InFlightJournal"]

ATTEMPTS = 3
"""Times that a document may be in flight when its process dies: first in a batch, then alone."""


class InFlightJournal:
    """A note in ``folder`` of the documents that this process is embedding, and of those that others died over.

    Not synced: it is for a process that is killed, by the system for want of memory say, not for a loss of power.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"add.{os.getpid()}.flight"
        self.counts: dict[str, int] = {}
        """How often each document was in flight when its process died."""
        for path in sorted(folder.glob("add.*.flight")):
            if _alive(path):
                continue
            for id_, count in _read(path).items():
                self.counts[id_] = max(self.counts.get(id_, 0), count)
            with suppress(OSError):
                path.unlink()
        self._write(self.counts)

    def begin(self, ids: Iterable[str]) -> None:
        """Note that these documents are being embedded."""
        self._write({**self.counts, **{id_: self.counts.get(id_, 0) + 1 for id_ in ids}})

    def end(self, ids: Iterable[str]) -> None:
        """Note that these documents are done with, whatever came of them."""
        for id_ in ids:
            self.counts.pop(id_, None)
        self._write(self.counts)

    def _write(self, counts: dict[str, int]) -> None:
        with suppress(OSError):  # a full disk stops the add itself
            if counts:
                beside = self._path.with_suffix(".part")
                beside.write_text(json.dumps(counts))
                beside.replace(self._path)
            else:
                self._path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, int]:
    try:
        found = json.loads(path.read_text())
        return {str(id_): int(count) for id_, count in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _alive(path: Path) -> bool:
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
