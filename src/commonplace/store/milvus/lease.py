"""The lease of a change that takes several steps: one process at a time migrates or vacuums a collection."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import sleep, time

from commonplace.errors import CollectionError
from commonplace.i18n import _
from commonplace.store.milvus.connection import Connection
from commonplace.store.milvus.layout import Layout

__all__ = ["Lease", "leased"]

LASTS = 30.0
"""Seconds after which the lease of a process that no longer renews it may be taken."""
EVERY = 5.0  # seconds between two renewals
SETTLE = 0.3  # seconds in which a process that took the lease at the same time would overwrite it
PROCESS = f"process {os.getpid()} on {socket.gethostname()}, {os.urandom(4).hex()}"


class Lease:
    """The right to change a collection, kept in a property that a thread renews; ``leased()`` takes it."""

    def __init__(self, connection: Connection, layout: Layout, name: str) -> None:
        self._connection, self._layout, self._name = connection, layout, name
        self._owner = f"{PROCESS}, {os.urandom(4).hex()}"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True)

    def take(self) -> None:
        """Take the lease. Raises CollectionError if another process, or another call of this one, holds it."""
        owner, at = self._holder()
        # A Lite file is open in one process at a time, so another process that held its lease has ended.
        is_over = self._clock() - at > LASTS or (self._connection.features.lite and not owner.startswith(PROCESS))
        if owner and not is_over:
            raise self._refusal(owner)
        self._write(self._owner)
        if not self._connection.features.lite:
            sleep(SETTLE)
        self.check()
        self._thread.start()

    def check(self) -> None:
        """Raise CollectionError if another process has taken the lease."""
        owner, _ = self._holder()
        if owner != self._owner:
            raise self._refusal(owner)

    def end(self) -> None:
        """Give the lease back."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        with suppress(CollectionError):  # then it ends by itself
            if self._holder()[0] == self._owner:
                self._write("")

    def _renew(self) -> None:
        while not self._ended.wait(EVERY):
            with suppress(CollectionError):  # the server may answer the next time
                if self._holder()[0] != self._owner:
                    return  # it is lost
                self._write(self._owner)

    def _holder(self) -> tuple[str, float]:
        """Return who holds the lease, and when it was renewed in seconds; empty if nobody does."""
        at, _, owner = self._layout.properties().get(self._name, "").partition(" ")
        return owner, float(at or 0)

    def _write(self, owner: str) -> None:
        self._layout.set_properties({self._name: f"{self._clock():.3f} {owner}" if owner else ""})

    def _clock(self) -> float:
        """Return the seconds of the server's clock: those of several machines may differ."""
        return (self._connection.now() >> 18) / 1000 or time()

    def _refusal(self, owner: str) -> CollectionError:
        holder = owner.partition(",")[0] or _("another process")
        return CollectionError(
            _(
                "{holder} is migrating or vacuuming {url}: wait until it has finished; if it "
                "was killed, wait {lasts:g} s"
            ).format(holder=holder, url=self._connection.address.url, lasts=LASTS)
        )


@contextmanager
def leased(connection: Connection, layout: Layout, name: str) -> Iterator[Lease]:
    """Hold the lease whose property has this name. Raises CollectionError if another process holds it."""
    lease = Lease(connection, layout, name)
    try:
        lease.take()
        yield lease
    finally:
        lease.end()
