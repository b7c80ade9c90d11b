"""Opens the tables of a collection: creates them in a new folder, and rejects tables that cannot be used."""

from __future__ import annotations

import logging
import os
import secrets
import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from commonplace.errors import CollectionError, ModelMismatch, VersionError
from commonplace.i18n import _
from commonplace.store.database import COMMIT_MARKER, Database, read_commit_marker
from commonplace.store.rows import from_sql, to_sql
from commonplace.store.schema import LEXICON, PATHS, SCHEMA, SCHEMA_VERSION
from commonplace.store.vector_index import Settings, check_space, now

__all__ = ["check_schema", "model_of", "ready"]

log = logging.getLogger("commonplace")


def ready(settings: Settings, space: str, model: str) -> None:
    """Create the tables of a collection if there are none, and check existing tables.

    Raises CollectionError if another program made the database or it is damaged, VersionError if it has another schema,
    and ModelMismatch if the collection has another model.
    """
    file, folder, fingerprint = settings.database, settings.folder, settings.fingerprint
    version = _version(file)
    if version == 0 and read_commit_marker(folder) != ("", -1) and not (version := _version(file)):
        raise CollectionError(
            _(
                "{folder} contained a collection, but its {name} is missing or empty: put it back, or "
                "delete {marker} and restore a backup"
            ).format(folder=folder, name=file.path.name, marker=folder / COMMIT_MARKER)
        )
    if version == 0 and fingerprint is not None:
        _create_tables(file, {"space": space, "fingerprint": fingerprint, "model": to_sql(model)})
        version = _version(file)
    if version == 0:
        raise CollectionError(
            _("there is no collection in {folder}: create one with `commonplace add PATH`").format(folder=folder)
        )
    check_schema(_("the collection at {folder}").format(folder=folder), version)
    meta = dict(file.all("SELECT name, value FROM meta"))
    if "fingerprint" not in meta:
        raise CollectionError(
            _(
                "the settings of the collection at {folder} are damaged (the name of its model is missing): restore a "
                "backup to a new folder with `commonplace --collection NEW restore FILE`"
            ).format(folder=folder)
        )
    if fingerprint is not None and meta.get("fingerprint") != fingerprint:
        raise ModelMismatch(_mismatch(folder, meta, space, fingerprint, model))
    if fingerprint is not None and from_sql(meta.get("model", "")) != model and file.writable:
        with file.write() as database:  # the same model in another folder
            check_space(database, settings)
            database.execute("INSERT OR REPLACE INTO meta VALUES ('model', ?)", (to_sql(model),))
    _detect_lost_commits(settings)


def _mismatch(folder: Path, meta: Mapping[str, Any], space: str, fingerprint: str, model: str) -> str:
    """Return the message for a collection that was made with another model, or with another version of it."""
    name = meta.get("space")
    other = _("the model {name} ({fingerprint}), not {space} ({other_fingerprint})").format(
        name=name, fingerprint=meta.get("fingerprint"), space=space, other_fingerprint=fingerprint
    )
    python = from_sql(meta.get("model", "")).startswith("python:")
    if name == space:
        remedy = _("the model has changed: open it with the earlier version")
    else:
        remedy = _("open it with its Python encoders") if python else _("open it with --model {name}").format(name=name)
    change = "commonplace.migrate.migrate(folder, model)" if model.startswith("python:") else "commonplace migrate"
    return _("the collection at {folder} was made with {other}: {remedy}, or change its model with `{change}`").format(
        folder=folder, other=other, remedy=remedy, change=change
    )


def _create_tables(file: Database, values: Mapping[str, str | bytes]) -> None:
    """Create the tables, with these rows of ``meta``, unless another process has just created them."""
    with file.write() as database:
        if _version(file) == 0:
            for statement in SCHEMA.strip().split(";\n"):
                database.execute(statement)
            database.execute(LEXICON.format("lexicon"))
            database.execute(PATHS.format("paths"))
            rows = {**values, "generation": "0", "lineage": secrets.token_hex(10)}
            database.executemany("INSERT INTO meta VALUES (?, ?)", rows.items())
            database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def check_schema(what: str, version: int) -> None:
    """Raise VersionError if a database has another schema; ``what`` names the database in the message."""
    if version != SCHEMA_VERSION:
        raise VersionError(
            _(
                "{what} has schema {version}, and this Commonplace reads schema {schema_version} only: use the version "
                "that made it, or add your files to a new collection"
            ).format(what=what, version=version, schema_version=SCHEMA_VERSION)
        )


def _version(file: Database) -> int:
    ((version,),) = file.all("PRAGMA user_version")
    if version == 0 and file.all("SELECT 1 FROM sqlite_master LIMIT 1"):
        raise CollectionError(
            _("{path} is another program's database: choose another folder with --collection").format(path=file.path)
        )
    return int(version)


def _detect_lost_commits(settings: Settings) -> None:
    """Begin a new lineage if committed transactions are lost, because their keys may now be given to other items."""
    marked_lineage, committed = read_commit_marker(settings.folder)  # read it first: others may commit meanwhile
    with settings.database.snapshot() as database:
        lineage, generation = now(database)
        lost = committed - generation
        if lost <= 0 or lineage != marked_lineage:
            return
    log.warning("%s has lost %d committed changes: run `commonplace doctor`", settings.folder, lost)
    if settings.database.writable:
        with settings.database.write() as database:
            database.execute("UPDATE meta SET value = ? WHERE name = 'lineage'", (secrets.token_hex(10),))
            database.execute("INSERT OR REPLACE INTO meta VALUES ('lost', ?)", (str(lost),))


def model_of(place: Path) -> str:
    """Return the folder of the model that a collection or a backup file was last used with.

    Empty for the shipped model. Also empty if ``place`` contains no collection: ``ready`` then reports the problem.
    """
    if place.is_file():  # a backup must not change, so it is not opened as a collection
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
