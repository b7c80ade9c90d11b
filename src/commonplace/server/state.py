"""What the requests of a server share."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from commonplace.server.guards import Gate, Metrics, RateLimit
from commonplace.server.jobs import JobQueue
from commonplace.server.keys import KeyFile
from commonplace.server.library import Library
from commonplace.server.links import Signer
from commonplace.server.settings import ServerSettings

__all__ = ["ServerState"]


@dataclass
class ServerState:
    """The library, the keys and the queues of a server."""

    settings: ServerSettings
    library: Library
    keys: KeyFile | None
    signer: Signer
    metrics: Metrics
    gate: Gate
    rate: RateLimit
    has_keys: bool
    """Whether requests need a key. It is decided when the server starts: removing the last key opens nothing."""
    _queues: dict[str, JobQueue] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def jobs(self, name: str) -> JobQueue:
        """Return the jobs of a collection. Raises NotFound if there is no such collection."""
        collection = self.library.get(name)
        if name in self._queues and not self._queues[name].serves(collection):
            self.forget(name)  # another process of the server removed it, and made a new one of this name
        with self._lock:
            if name not in self._queues:
                folders = [folder for watched, folder in self.settings.watched if watched == name]
                self._queues[name] = JobQueue(collection, folders)
            return self._queues[name]

    def forget(self, name: str) -> None:
        """Stop the jobs of a collection that is removed."""
        with self._lock:
            queue = self._queues.pop(name, None)
        if queue is not None:
            queue.close()

    def close(self) -> None:
        """Finish the steps of jobs that run, and close the collections."""
        for name in list(self._queues):
            self.forget(name)
        self.library.close()
