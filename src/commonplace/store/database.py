"""Thread-safe access to one SQLite file: read sessions, write transactions, and errors that a user understands."""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
import sqlite3
import sys
import threading
import uuid
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from commonplace.errors import CollectionError
from commonplace.i18n import _
from commonplace.store.schema import checksum, seal, sealed

try:
    import fcntl
except ImportError:  # Windows has no POSIX file locks and cannot pass open files to worker processes
    raise ImportError(
        _(
            "Commonplace runs on Linux and macOS, not on {platform}: it needs their file locks; on Windows use WSL"
        ).format(platform=sys.platform)
    ) from None

__all__ = [
    "COMMIT_MARKER",
    "WAIT",
    "Database",
    "abandoned",
    "full",
    "one_machine",
    "read_commit_marker",
    "write_commit_marker",
]


def abandoned(folder: Path) -> Iterator[Path]:
    """Yield the unfinished files in ``folder`` (``NAME.PROCESS.part``) whose process no longer runs."""
    for path in folder.glob("*.part*"):
        match = re.search(r"\.(\d+)\.part(-\w+)?$", path.name)
        if match is not None:
            try:
                os.kill(int(match[1]), 0)
            except (ProcessLookupError, OverflowError):
                yield path
            except PermissionError:
                pass


T = TypeVar("T")

WAIT = 30.0  # seconds to wait for another process's write transaction

SHARES = frozenset(
    """nfs nfs4 cifs smb3 smbfs ncpfs afs ceph lustre gpfs beegfs orangefs glusterfs davfs fuse.sshfs fuse.glusterfs
    fuse.ceph fuse.davfs fuse.davfs2 fuse.rclone fuse.s3fs fuse.gcsfuse fuse.juicefs""".split()  # noqa: SIM905
)
"""File systems that several machines may share. SQLite's write-ahead log works only for processes of one machine."""

MACHINE = "collection.machine"


def one_machine(folder: Path) -> None:
    """Let only one machine use a collection on a network share: the first that opened it.

    Local disks are not checked, because a disk may be moved to another machine. Raises CollectionError if another
    machine uses the collection, or if files on the share cannot be locked.
    """
    share = file_system(folder)
    if share not in SHARES:
        return
    if not locks_work(folder):
        raise CollectionError(
            _(
                "{folder} is on a network share ({share}) where files cannot be locked: keep the collection on a "
                "disk of "
                "this machine"
            ).format(folder=folder, share=share)
        )
    note, mine = folder / MACHINE, machine()
    try:
        with note.open("x", encoding="utf-8") as file:  # even on a share only one machine can create the file
            file.write(mine)
    except FileExistsError:
        other = note.read_text(encoding="utf-8", errors="replace")
        if other != mine:
            raise CollectionError(
                _(
                    "{folder} is on a network share ({share}) and in use by the machine {other}, and a second "
                    "machine would damage it: use it there or, if that machine no longer uses it, delete {note}"
                ).format(folder=folder, share=share, other=other[:100], note=note)
            ) from None
    except OSError:  # a read-only share: reading needs no lock
        return


def file_system(path: Path) -> str:
    """Return the type of the file system that contains a path; empty if the system does not provide it."""
    best: tuple[int, str] = (-1, "")
    with suppress(OSError):
        real = os.path.realpath(path)
        for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
            mounted, _, kind = line.partition(" - ")
            top = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), mounted.split()[4])
            if (real == top or real.startswith(top.rstrip("/") + "/")) and len(top) >= best[0]:
                best = (len(top), kind.split()[0])
    return best[1]


def machine() -> str:
    """Return this machine's name and an id that distinguishes it from other machines of that name."""
    try:
        machine_id = Path("/etc/machine-id").read_text().strip()
    except OSError:
        machine_id = f"{uuid.getnode():x}"
    return f"{socket.gethostname()} {machine_id[:12]}"


def full(folder: Path) -> bool:
    """Return whether the disk of a folder is full. SQLite sometimes reports a full disk as an I/O error."""
    with suppress(OSError):
        return shutil.disk_usage(folder).free < 1 << 16
    return False


def locks_work(folder: Path) -> bool:
    """Return whether files in ``folder`` can be locked."""
    path = folder / f"lock.{os.getpid()}.part"
    try:
        with path.open("w") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError as problem:
        return problem.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EIO)
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


COMMIT_MARKER = "collection.commit"


def write_commit_marker(folder: Path, lineage: str, generation: int) -> None:
    """Write the last committed generation to the commit marker, a file next to the database.

    The marker reveals a write-ahead log that was damaged or deleted.
    """
    text = f"{lineage} {generation}"
    with suppress(OSError):
        handle = os.open(folder / COMMIT_MARKER, os.O_WRONLY | os.O_CREAT, 0o666)
        try:
            os.pwrite(handle, f"{text} {checksum(text)}".ljust(64).encode(), 0)
        finally:
            os.close(handle)


def read_commit_marker(folder: Path) -> tuple[str, int]:
    """Return the lineage and the last committed generation; an empty lineage and -1 if there is no valid marker."""
    with suppress(OSError, ValueError):
        lineage, generation, crc = (folder / COMMIT_MARKER).read_text(errors="replace").split()
        if crc == str(checksum(f"{lineage} {generation}")):
            return lineage, int(generation)
    return "", -1


class _Lent(threading.local):
    """What is lent to a thread now: a connection, and what was read in its read transaction, by key."""

    connection: sqlite3.Connection | None = None
    read: dict[Hashable, Any] | None = None


class Database:
    """A SQLite file in WAL mode. Thread-safe; many processes may read while one writes.

    A session borrows a connection and returns it for the next session. So there are never more connections than
    concurrent threads, apart from those of ``newest()``. A file that is not writable is opened read-only.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writable = os.access(path if path.exists() else path.parent, os.W_OK) and os.access(path.parent, os.W_OK)
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._mine = _Lent()
        self._closed = False
        self._process = os.getpid()

    @contextmanager
    def session(self) -> Iterator[sqlite3.Connection]:
        """Lend this thread a connection. A nested session gets the same one. Raises CollectionError."""
        try:
            if self._mine.connection is not None:
                yield self._mine.connection
                return
            self._mine.connection = connection = self._take()
            try:
                yield connection
            finally:
                self._mine.connection = None
                self._give(connection)
        except sqlite3.Error as problem:
            raise self.explain(problem) from problem
        except UnicodeDecodeError as problem:  # the sqlite3 module fails on a message that quotes a damaged name
            raise self.explain(sqlite3.DatabaseError("malformed")) from problem

    def all(self, question: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of the SQL query ``question``."""
        with self.session() as connection:
            return connection.execute(question, values).fetchall()

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection in one read transaction, for a consistent view. A nested call gets the outer transaction.

        Hold it only while reading: as long as it lasts, no checkpoint empties the write-ahead log. Raises
        CollectionError.
        """
        with self.session() as connection:
            if connection.in_transaction:
                yield connection
                return
            connection.execute("BEGIN")
            self._mine.read = {}
            try:
                yield connection
            finally:
                self._mine.read = None
                if connection.in_transaction:  # some errors end it
                    connection.execute("COMMIT")

    @contextmanager
    def newest(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection in a read transaction that begins now, even within a snapshot. Raises CollectionError."""
        outer = self._mine.connection, self._mine.read
        self._mine.connection = self._mine.read = None
        try:
            with self.snapshot() as connection:
                yield connection
        finally:
            self._mine.connection, self._mine.read = outer

    def once(self, key: Hashable, read: Callable[[], T]) -> T:
        """Return what ``read`` returns. Within a snapshot it is called once for each key."""
        kept = self._mine.read
        if kept is None:
            return read()
        if key not in kept:
            kept[key] = read()
        return kept[key]  # type: ignore[no-any-return]

    def again(self, key: Hashable) -> None:
        """Let ``once()`` read what has this key again."""
        if self._mine.read is not None:
            self._mine.read.pop(key, None)

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection in one atomic write transaction. Raises CollectionError if the file is not writable."""
        if not self.writable:
            raise CollectionError(
                _("{parent} cannot be written to: check its permissions").format(parent=self.path.parent)
            )
        with self.session() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                new = not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone()
                intact = new or sealed(connection)
                yield connection
                if intact:  # earlier damage must stay detectable
                    seal(connection)
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # on a full disk SQLite has already rolled back: keep the first error
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close every connection; any use afterwards raises CollectionError."""
        with self._lock:
            self._closed = True
            for connection in self._idle:
                connection.close()
            self._idle.clear()

    def check_open(self) -> None:
        """Raise CollectionError after ``close()``."""
        if self._closed:
            raise CollectionError(
                _("the collection at {parent} was closed: open it again").format(parent=self.path.parent)
            )

    def _take(self) -> sqlite3.Connection:
        with self._lock:
            self.check_open()
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
        connection = self._opened()
        connection.text_factory = partial(str, encoding="utf-8", errors="replace")  # a damaged text stops no read
        return connection

    def _opened(self) -> sqlite3.Connection:
        if self.writable:
            connection = sqlite3.connect(self.path, timeout=WAIT, isolation_level=None, check_same_thread=False)
            ((version,),) = connection.execute("PRAGMA user_version")
            if version or not connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
                connection.execute("PRAGMA journal_mode = WAL")  # never changes another program's database
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("PRAGMA cache_size = -16384")  # KiB: fits the upper index pages of a million rows
            connection.execute(
                "PRAGMA wal_autocheckpoint = 16384"
            )  # pages: a page that changes often is copied once, not at each commit
            return connection
        for mode in ("mode=ro", "mode=ro&immutable=1"):  # if the WAL files cannot be created, only the second works
            connection = sqlite3.connect(
                f"{self.path.as_uri()}?{mode}",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
            )
            try:
                connection.execute("SELECT count(*) FROM sqlite_master")
                return connection
            except sqlite3.OperationalError as problem:
                connection.close()
                last = problem
        raise last

    def explain(self, problem: sqlite3.Error) -> CollectionError:
        """Return a CollectionError that explains an SQLite error to the user."""
        text, folder = str(problem), self.path.parent
        if "locking protocol" in text or ("locked" in text and not locks_work(folder)):
            return CollectionError(
                _("files in {folder} cannot be locked: keep the collection on a disk of this machine").format(
                    folder=folder
                )
            )
        if "locked" in text:
            return CollectionError(
                _("{writer} is writing to {folder}: try again when it has finished").format(
                    writer=self._writer(), folder=folder
                )
            )
        if "readonly" in text or "read-only" in text:
            return CollectionError(_("{folder} cannot be written to: check its permissions").format(folder=folder))
        if "disk is full" in text or ("I/O error" in text and full(folder)):
            return CollectionError(
                _("the disk of {folder} is full: free some space and try again; nothing was lost").format(folder=folder)
            )
        if "not a database" in text or "malformed" in text:
            return CollectionError(
                _(
                    "{path} is damaged or not a collection ({text}): run `commonplace doctor --repair`, or restore "
                    "a backup"
                ).format(path=self.path, text=text)
            )
        if "I/O error" in text:
            return CollectionError(
                _(
                    "{path} cannot be read or written ({text}): check the disk; if it is a network share, keep "
                    "the collection on a disk of this machine. Committed changes are kept"
                ).format(path=self.path, text=text)
            )
        return CollectionError(_("{path} cannot be used ({text})").format(path=self.path, text=text))

    def _writer(self) -> str:
        """Return a description of the process that holds SQLite's write lock, at byte 120 of the ``-shm`` file.

        This method does not open that file: closing it again would release this process's own locks.
        """
        with suppress(OSError, ValueError):
            state = os.stat(f"{self.path}-shm")
            place = f"{os.major(state.st_dev):02x}:{os.minor(state.st_dev):02x}:{state.st_ino}"
            for line in Path("/proc/locks").read_text().splitlines():
                words = line.replace("->", "").split()
                if words[3:4] == ["WRITE"] and words[5] == place and int(words[6]) <= 120 <= int(words[7]):
                    return _("process {pid} on {host}").format(pid=words[4], host=socket.gethostname())
        return _("another process")
