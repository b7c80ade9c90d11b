"""A collection's tables as they are opened: made, brought up to this version, or refused."""

from __future__ import annotations

import logging
import os
import secrets
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import numpy as np

from commonplace.errors import CollectionError, ModelMismatch, VersionError
from commonplace.store.database import MARK, Database, marked
from commonplace.store.index_file import sums
from commonplace.store.rows import from_sql, to_sql
from commonplace.store.schema import LEXICON, SCHEMA, SCHEMA_VERSION, UPGRADES, checksum, fill, metadata_of, seal
from commonplace.store.vector_index import Settings, check_space, now

__all__ = ["model_of", "ready"]

log = logging.getLogger("commonplace")


def ready(settings: Settings, space: str, model: str) -> None:
    """Make a collection's tables where there are none and bring older ones up.

    Raises CollectionError, VersionError or ModelMismatch where another program, version or model made them.
    """
    file, folder, fingerprint = settings.database, settings.folder, settings.fingerprint
    version = _version(file)
    if version == 0 and marked(folder) != ("", -1) and not (version := _version(file)):  # nobody made it just now
        raise CollectionError(
            f"{folder} held a collection, and its {file.path.name} is gone or empty: put it back, or "
            f"delete {folder / MARK} and restore a backup"
        )
    if version == 0 and fingerprint is not None:
        with file.write() as database:
            if _version(file) == 0:  # nobody else was faster
                for statement in SCHEMA.strip().split(";\n"):
                    database.execute(statement)
                database.execute(LEXICON.format("lexicon"))
                database.executemany(
                    "INSERT INTO meta VALUES (?, ?)",
                    [
                        ("space", space),
                        ("fingerprint", fingerprint),
                        ("model", to_sql(model)),
                        ("generation", "0"),
                        ("lineage", secrets.token_hex(10)),
                    ],
                )
                database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        version = _version(file)
    if version > SCHEMA_VERSION:
        raise VersionError(
            f"the collection at {folder} was made by a newer Commonplace (its schema is {version}, "
            f"this one reads {SCHEMA_VERSION}): upgrade with pip install --upgrade commonplace"
        )
    if version == 0:
        raise CollectionError(f"there is no collection in {folder}: make one with `commonplace add PATH`")
    made = dict(file.all("SELECT name, value FROM meta"))
    if "fingerprint" not in made:
        raise CollectionError(
            f"the notes of the collection at {folder} are damaged (which model it has is gone): restore a backup in a "
            "new folder with `commonplace --collection NEW restore FILE`"
        )
    if fingerprint is not None and made.get("fingerprint") != fingerprint:
        raise ModelMismatch(
            f"the collection at {folder} was made with the model {made.get('space')} "
            f"({made.get('fingerprint')}), not {space} ({fingerprint}): open it with --model {made.get('space')}, "
            "or change its model with `commonplace migrate`"
        )
    if version < SCHEMA_VERSION:
        _upgrade(file)
    if fingerprint is not None and from_sql(made.get("model", "")) != model and file.writable:
        with file.write() as database:  # the same model in another place
            check_space(database, settings)
            database.execute("INSERT OR REPLACE INTO meta VALUES ('model', ?)", (to_sql(model),))
    _catch_loss(settings)


def _upgrade(file: Database) -> None:
    """Bring the tables of an older version up to this one, in one transaction."""
    if not file.writable:
        raise VersionError(
            f"the collection at {file.path.parent} was made by an older Commonplace and cannot be written to: open it "
            "once from an account that may write there"
        )
    with file.write() as database:
        database.create_function("checksum_of", -1, checksum, deterministic=True)
        database.create_function("checksum_of_vector", 1, _checksum_of_vector, deterministic=True)
        database.create_function("metadata_of", 1, metadata_of, deterministic=True)
        for version in range(_version(file), SCHEMA_VERSION):
            for statement in UPGRADES[version].strip().split(";\n"):
                database.execute(statement.rstrip(";"))
        fill(database)
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        seal(database)


def _version(file: Database) -> int:
    ((version,),) = file.all("PRAGMA user_version")
    if version == 0 and file.all("SELECT 1 FROM sqlite_master LIMIT 1"):
        raise CollectionError(f"{file.path} is another program's database: choose another folder with --collection")
    return int(version)


def _catch_loss(settings: Settings) -> None:
    """Begin a new history where committed transactions are gone: their keys may be given to other items now."""
    noted, committed = marked(settings.folder)  # before the database is looked at, which others may add to
    with settings.database.snapshot() as database:
        lineage, generation = now(database)
        behind = committed - generation
        if behind <= 0 or lineage != noted:
            return
    log.warning("%s has lost %d committed changes: run `commonplace doctor`", settings.folder, behind)
    if settings.database.writable:
        with settings.database.write() as database:
            database.execute("UPDATE meta SET value = ? WHERE name = 'lineage'", (secrets.token_hex(10),))
            database.execute("INSERT OR REPLACE INTO meta VALUES ('lost', ?)", (str(behind),))


def model_of(place: Path) -> str:
    """Return the folder of the model that the collection in a folder, or in the file of a backup, was last used with;
    empty for the one that is shipped.

    Empty too where there is no collection yet, or something else, of which :func:`ready` says what it is.
    """
    if place.is_file():  # nothing may change a backup, and opening it as a collection would
        address = f"{Path(os.path.realpath(place)).as_uri()}?mode=ro&immutable=1"
        with suppress(sqlite3.Error), closing(sqlite3.connect(address, uri=True)) as connection:
            rows = connection.execute("SELECT value FROM meta WHERE name = 'model'").fetchall()
            return from_sql(rows[0][0]) if rows else ""
        return ""
    path = place / "collection.db"
    if not path.exists():
        return ""
    database = Database(path)
    try:
        if not database.all("SELECT 1 FROM sqlite_master WHERE name = 'meta'"):
            return ""
        rows = database.all("SELECT value FROM meta WHERE name = 'model'")
        return from_sql(rows[0][0]) if rows else ""
    finally:
        database.close()


def _checksum_of_vector(blob: bytes) -> int:
    whole = bytes(blob)[: len(blob) // 4 * 4]
    return int(sums(np.frombuffer(whole, "<f4")[None])[0])
