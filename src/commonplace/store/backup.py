"""Backups of a collection. A backup is one file: written while the collection is in use, checked before a restore."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from commonplace.errors import CollectionError, ModelMismatch
from commonplace.i18n import _
from commonplace.store.database import WAIT, Database, abandoned, full
from commonplace.store.index_file import sync
from commonplace.store.opening import check_schema
from commonplace.store.schema import seal, sealed

__all__ = ["backup", "copy_into", "restored"]

BUSY = (5, 6)  # SQLITE_BUSY and SQLITE_LOCKED, which the sqlite3 of Python 3.10 does not name


def backup(database: Database, file: Path) -> int:
    """Write a consistent copy of the collection into one new file and return the file's size in bytes.

    Other processes may read and write meanwhile. Raises CollectionError if the file exists or cannot be written.
    """
    if os.path.lexists(file):
        raise CollectionError(_("{file} exists already: name a new file for the backup").format(file=file))
    if not file.parent.is_dir():
        raise CollectionError(_("there is no folder {parent}: create it first").format(parent=file.parent))
    for left in abandoned(file.parent):
        if re.fullmatch(rf"{re.escape(file.name)}\.[0-9a-f]{{16}}\.\d+\.part(-journal)?", left.name):
            left.unlink(missing_ok=True)
    unfinished = file.with_name(f"{file.name}.{secrets.token_hex(8)}.{os.getpid()}.part")
    try:
        with database.session() as connection:
            try:
                connection.execute("VACUUM INTO ?", (str(unfinished),))
            except UnicodeEncodeError:
                raise CollectionError(
                    _("{file} is not valid UTF-8: choose another name for the backup").format(file=file)
                ) from None
            except sqlite3.OperationalError as problem:
                if not any(word in str(problem) for word in ("full", "unable to open", "I/O", "readonly")):
                    raise
                why = _("the disk is full") if full(file.parent) or "full" in str(problem) else str(problem)
                raise CollectionError(
                    _("the backup {file} cannot be written ({why}): choose another place").format(file=file, why=why)
                ) from None
        with unfinished.open("rb+") as written:
            os.fsync(written.fileno())
            size = os.fstat(written.fileno()).st_size
        _rename(unfinished, file)
        return size
    except FileExistsError:
        raise CollectionError(
            _("another process has just created {file}: name a new file for the backup").format(file=file)
        ) from None
    except OSError as problem:
        raise CollectionError(
            _("the backup {file} cannot be written ({reason}): choose another place").format(
                file=file, reason=problem.strerror
            )
        ) from None
    finally:
        for left in (unfinished, unfinished.with_name(f"{unfinished.name}-journal")):
            with suppress(OSError):
                left.unlink(missing_ok=True)


def _rename(unfinished: Path, file: Path) -> None:
    """Give a file its final name. Raises FileExistsError if that name is taken, OSError for any other problem."""
    try:
        os.link(unfinished, file)  # unlike a rename, a link never replaces a file
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(file):
            raise FileExistsError from None
        unfinished.rename(file)
    sync(file.parent)


def copy_into(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Replace the content of ``target`` with that of ``source`` in one step.

    Raises sqlite3.OperationalError if another process writes to the target for more than ``WAIT`` seconds.
    """
    until = time.monotonic() + WAIT

    def wait(status: int, left: int, total: int) -> None:
        if status in BUSY and time.monotonic() > until:
            raise sqlite3.OperationalError("database is locked")  # sqlite3 itself would wait forever

    source.backup(target, progress=wait)


@contextmanager
def restored(file: Path, folder: Path, space: str, fingerprint: str) -> Iterator[sqlite3.Connection]:
    """Yield a checked copy of a backup that can replace a collection. The copy gets a new lineage.

    Raises CollectionError if the file is not a complete backup. Raises ModelMismatch if the backup was made with
    another model, and VersionError if it has another schema.
    """
    if not file.is_file():
        raise CollectionError(_("there is no backup {file}: check the name").format(file=file))
    if Path(f"{file}-wal").exists():
        raise CollectionError(
            _("{file} is a collection in use, not a backup: make one with `commonplace backup FILE`").format(file=file)
        )
    copy = folder / f"restore.{os.getpid()}.part"
    try:
        shutil.copyfile(file, copy)
        with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
            try:
                (version,) = connection.execute("PRAGMA user_version").fetchone()
                meta = dict(connection.execute("SELECT name, value FROM meta"))
                integrity = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            except sqlite3.DatabaseError as problem:
                raise CollectionError(
                    _("{file} is not a backup of a collection, or it is damaged ({problem}): use another file").format(
                        file=file, problem=problem
                    )
                ) from problem
            check_schema(str(file), version)
            if integrity != "ok":
                raise CollectionError(
                    _("{file} is damaged ({integrity}): use an older backup").format(file=file, integrity=integrity)
                )
            if meta.get("fingerprint") != fingerprint:
                raise ModelMismatch(
                    _(
                        "{file} was made with the model {space} ({fingerprint}), not {other} "
                        "({other_fingerprint}): restore it with that model"
                    ).format(
                        file=file,
                        space=meta.get("space"),
                        fingerprint=meta.get("fingerprint"),
                        other=space,
                        other_fingerprint=fingerprint,
                    )
                )
            # Item keys are assigned again after a restore, so data derived from the old history must not be used.
            was_sealed = sealed(connection)
            try:
                connection.execute("INSERT OR REPLACE INTO meta VALUES ('lineage', ?)", (secrets.token_hex(10),))
                if was_sealed:
                    seal(connection)
            except sqlite3.Error as problem:
                raise CollectionError(
                    _("the backup cannot be copied to {folder} ({problem}): free some disk space and try again").format(
                        folder=folder, problem=problem
                    )
                ) from None
            yield connection
    except OSError as problem:
        raise CollectionError(
            _("the backup cannot be copied to {folder} ({reason}): free some disk space and try again").format(
                folder=folder, reason=problem.strerror
            )
        ) from None
    finally:
        for left in (copy, copy.with_name(f"{copy.name}-journal")):
            left.unlink(missing_ok=True)
