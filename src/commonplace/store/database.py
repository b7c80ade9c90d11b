"""One SQLite file, lent to threads: sessions for reading, transactions for writing, errors in the user's words."""

from __future__ import annotations

import os
import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from commonplace.errors import CollectionError
from commonplace.store.schema import checksum, seal, sealed

__all__ = ["MARK", "Database", "abandoned", "mark", "marked"]


def abandoned(folder: Path) -> Iterator[Path]:
    """Yield the files in ``folder`` (``NAME.PROCESS.part``) that a process was writing beside when it was killed."""
    for path in folder.glob("*.part*"):
        found = re.search(r"\.(\d+)\.part(-\w+)?$", path.name)
        if found is not None:
            try:
                os.kill(int(found[1]), 0)
            except (ProcessLookupError, OverflowError):
                yield path
            except PermissionError:
                pass


MARK = "collection.mark"


def mark(folder: Path, lineage: str, generation: int) -> None:
    """Note beside the database how far it was committed, so that a log that was damaged or taken away is noticed."""
    text = f"{lineage} {generation}"
    with suppress(OSError):
        handle = os.open(folder / MARK, os.O_WRONLY | os.O_CREAT, 0o666)
        try:
            os.pwrite(handle, f"{text} {checksum(text)}".ljust(64).encode(), 0)
        finally:
            os.close(handle)


def marked(folder: Path) -> tuple[str, int]:
    """Return the lineage and the generation up to which it was committed; nobody's and -1 where that was not noted."""
    with suppress(OSError, ValueError):
        lineage, generation, crc = (folder / MARK).read_text(errors="replace").split()
        if crc == str(checksum(f"{lineage} {generation}")):
            return lineage, int(generation)
    return "", -1


class Database:
    """A SQLite file in WAL mode. Safe for threads, and many processes may read beside one writer.

    A connection is lent for the length of a session and then kept for the next, so there are never more than threads
    that search at once. A file that cannot be written to is opened for reading only.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writable = os.access(path if path.exists() else path.parent, os.W_OK) and os.access(path.parent, os.W_OK)
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._mine = threading.local()  # the connection lent to this thread now
        self._closed = False
        self._process = os.getpid()

    @contextmanager
    def session(self) -> Iterator[sqlite3.Connection]:
        """Lend this thread a connection; a session inside a session is the same one. Raises CollectionError."""
        current: sqlite3.Connection | None = getattr(self._mine, "connection", None)
        if current is not None:
            yield current
            return
        try:
            self._mine.connection = connection = self._take()
            try:
                yield connection
            finally:
                self._mine.connection = None
                self._give(connection)
        except sqlite3.Error as problem:
            raise self.explain(problem) from problem
        except UnicodeDecodeError as problem:  # by the sqlite3 module, of a message that quotes a damaged name
            raise self.explain(sqlite3.DatabaseError("malformed")) from problem

    def all(self, question: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Return every row that ``question`` finds."""
        with self.session() as connection:
            return connection.execute(question, values).fetchall()

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection in one reading transaction: what is read inside belongs together; inside another, that."""
        with self.session() as connection:
            if connection.in_transaction:
                yield connection
                return
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("COMMIT")

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection in one writing transaction: whole or not at all."""
        if not self.writable:
            raise CollectionError(f"{self.path.parent} cannot be written to: check its permissions")
        with self.session() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                new = not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone()
                whole = new or sealed(connection)
                yield connection
                if whole:  # what was damaged before stays recognisable
                    seal(connection)
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # on a full disk SQLite has rolled back already: keep the first error
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close every connection; any use afterwards raises CollectionError."""
        with self._lock:
            self._closed = True
            for connection in self._idle:
                connection.close()
            self._idle.clear()

    def _take(self) -> sqlite3.Connection:
        with self._lock:
            if self._closed:
                raise CollectionError(f"the collection at {self.path.parent} was closed: open it again")
            if self._process != os.getpid():  # a fork: a connection must not be used on both sides
                self._process, self._idle = os.getpid(), []
            if self._idle:
                return self._idle.pop()
        return self._connect()

    def _give(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def _connect(self) -> sqlite3.Connection:
        if self.writable:
            connection = sqlite3.connect(self.path, timeout=30, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("PRAGMA cache_size = -16384")  # KiB: the upper pages of a million rows' indexes
            connection.execute(
                "PRAGMA wal_autocheckpoint = 16384"
            )  # pages: hot ones are moved once, not at each commit
            return connection
        for mode in ("mode=ro", "mode=ro&immutable=1"):  # without a place for WAL's own files only the second works
            connection = sqlite3.connect(
                f"{self.path.as_uri()}?{mode}", uri=True, isolation_level=None, check_same_thread=False
            )
            try:
                connection.execute("SELECT count(*) FROM sqlite_master")
                return connection
            except sqlite3.OperationalError as problem:
                connection.close()
                last = problem
        raise last

    def explain(self, problem: sqlite3.Error) -> CollectionError:
        """Return the error that says in the user's words why SQLite refused."""
        text, folder = str(problem), self.path.parent
        if "locked" in text:
            return CollectionError(f"another process is writing to {folder}: try again when it has finished")
        if "readonly" in text or "read-only" in text:
            return CollectionError(f"{folder} cannot be written to: check its permissions")
        if "disk is full" in text:
            return CollectionError(f"the disk that holds {folder} is full: make room and try again; nothing was lost")
        if "not a database" in text or "malformed" in text:
            return CollectionError(
                f"{self.path} is damaged or no collection ({text}): restore a copy or make a new collection"
            )
        return CollectionError(f"{self.path} cannot be used ({text})")
