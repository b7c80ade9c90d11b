"""Which documents were being embedded when a process died, so that one that kills it is not tried for ever."""

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
    """A file in ``folder`` that names the documents that this process is embedding.

    It takes over the counts of processes that died. It is not synced to disk: it is for a process that is killed, for
    example by the system when memory runs out, and not for a loss of power.
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
        """Note that these documents are done, whether they were added or failed."""
        for id_ in ids:
            self.counts.pop(id_, None)
        self._write(self.counts)

    def _write(self, counts: dict[str, int]) -> None:
        with suppress(OSError):  # a full disk stops the add itself
            if counts:
                part = self._path.with_suffix(".part")
                part.write_text(json.dumps(counts))
                part.replace(self._path)
            else:
                self._path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, int]:
    try:
        counts = json.loads(path.read_text())
        return {str(id_): int(count) for id_, count in counts.items()}
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
