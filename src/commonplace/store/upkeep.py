"""Care of a collection's files: what is wrong with them and what can be mended, one-file backups, restoring."""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import numpy as np

from commonplace.errors import CollectionError, ModelMismatch, VersionError
from commonplace.store.base import Finding
from commonplace.store.compression import STORED, compression_of
from commonplace.store.database import WAIT, Database, abandoned, full, marked
from commonplace.store.index_file import Damaged, IndexFile, sync
from commonplace.store.rows import DOCUMENT, from_sql, maybe
from commonplace.store.schema import LEXICON, SCHEMA_VERSION, checksum, fill, number, seal, sealed, unlike
from commonplace.store.vector_index import FOLDER, Settings
from commonplace.store.vectors import blobs_of, damaged, vectors_of
from commonplace.text import index_words
from commonplace.types import stable_id, text_view

__all__ = ["Doctor", "backup", "copy_into", "restored"]

log = logging.getLogger("commonplace")

ADD_AGAIN = "add the file again with `commonplace add`: what is whole is not embedded again"
FROM_BACKUP = "restore a backup with `commonplace restore FILE --replace`"
BATCH = 10_000
BUSY = (5, 6)  # SQLITE_BUSY and SQLITE_LOCKED, which the sqlite3 of Python 3.10 does not name
COLUMNS = DOCUMENT.replace("d.", "")


class Doctor:
    """Compares everything that a collection holds twice, or has a checksum of; with ``repair`` mends what it can.

    Nothing is embedded here. What cannot be mended from the collection itself is left out of searches, and its
    document is marked so that the next ``add`` reads it again.
    """

    def __init__(self, settings: Settings, *, repair: bool) -> None:
        self._settings = settings
        self._database = settings.database
        self._repair = repair
        self.findings: list[Finding] = []

    def run(self) -> list[Finding]:
        """Return the faults, the gravest first. Raises CollectionError where the database cannot be read at all."""
        if not self._file():
            return self.findings
        with self._transaction() as database:
            self._notes(database)
            self._documents(database)
            self._items(database)
            self._vectors(database)
            self._views(database)
            self._shadow(database)
            self._pictures(database)
            self._words(database)
        self._snapshots()
        return self.findings

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        if not self._repair:
            with self._database.snapshot() as database:
                yield database
            return
        with self._database.write() as database:
            yield database
            database.execute("UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE name = 'generation'")

    def _found(self, what: str, count: int, remedy: str, *, repaired: bool = False) -> None:
        if count:
            self.findings.append(Finding(what, count, remedy, repaired and self._repair))

    def _then_add(self) -> str:
        """Return the remedy for what only a repair marks to be read again."""
        return ADD_AGAIN if self._repair else f"run `commonplace doctor --repair`, then {ADD_AGAIN}"

    # --- the database ----------------------------------------------------------------------------------------

    def _file(self) -> bool:
        """Ask SQLite whether its file is whole; False where looking further makes no sense."""

        def ask() -> list[str]:
            try:
                return [row[0] for row in self._database.all("PRAGMA integrity_check(20)") if row[0] != "ok"]
            except CollectionError as problem:
                return [str(problem)]

        found = ask()
        if not found:
            return True
        indexes_only = all(" index " in line for line in found)
        if indexes_only and self._repair:
            self._database.all("REINDEX")
            if not ask():
                self._found(f"the database's own indexes: {found[0]}", len(found), "made anew", repaired=True)
                return True
        remedy = "run `commonplace doctor --repair`" if indexes_only else FROM_BACKUP
        self._found(f"the database file {self._database.path}: {found[0]}", len(found), remedy)
        return indexes_only

    def _notes(self, database: sqlite3.Connection) -> None:
        """Check what is kept of the collection as a whole, and the log by which indexes follow removals."""
        if not sealed(database):
            remedy = f"compare `commonplace status`, tune again if you had tuned; or {FROM_BACKUP}"
            self._found("the notes on the collection's model and ranking are not what was stored", 1, remedy)
            if self._repair:
                seal(database)
        (generation,) = database.execute("SELECT value FROM meta WHERE name = 'generation'").fetchone()
        wrong = number(generation) is None
        remedy = "counted anew" if self._repair else "run `commonplace doctor --repair`: it is counted anew"
        self._found("the number of changes that the collection has seen is none", int(wrong), remedy, repaired=True)
        if wrong and self._repair:
            anew = {"generation": str(marked(self._settings.folder)[1] + 1), "lineage": secrets.token_hex(10)}
            database.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", anew.items())
        lost = database.execute("SELECT value FROM meta WHERE name = 'lost'").fetchone()
        what = "committed changes that are gone, because collection.db-wal was damaged or taken away"
        count = (number(lost[0]) or 1) if lost else 0  # damaged, it still says that something is gone
        self._found(what, count, f"add your files again with `commonplace add`; or {FROM_BACKUP}")
        if self._repair:
            database.execute("DELETE FROM meta WHERE name = 'lost'")
        alive = "FROM removed WHERE item IN (SELECT key FROM items) OR typeof(item) <> 'integer'"
        (count,) = database.execute(f"SELECT count(*) {alive}").fetchone()
        what = "items that are noted as removed and are there, or are none"
        self._found(what, count, "the note is removed", repaired=True)
        if self._repair and count:
            database.execute(f"DELETE {alive}")
            database.execute("UPDATE meta SET value = ? WHERE name = 'lineage'", (secrets.token_hex(10),))

    def _documents(self, database: sqlite3.Connection) -> None:
        self._ids(database)
        self._no_texts(database)
        bad = []
        for expected, *values in database.execute(f"SELECT checksum, {COLUMNS} FROM documents"):
            if checksum(*values) != expected:
                bad.append(values[0])
        names = ", ".join(str(id_) for id_ in bad[:3])
        self._found(
            f"documents whose row is not what was stored ({names})",
            len(bad),
            f"`commonplace remove` them by id and {ADD_AGAIN}; or {FROM_BACKUP}",
        )
        different = len(list(unlike(database)))
        remedy = "made anew" if self._repair else "run `commonplace doctor --repair`: they are made anew"
        self._found(
            "documents that filters do not find by what they say of themselves", different, remedy, repaired=True
        )
        if self._repair and different:
            fill(database)
            database.execute("UPDATE meta SET value = ? WHERE name = 'lineage'", (secrets.token_hex(10),))

    def _no_texts(self, database: sqlite3.Connection) -> None:
        """Empty what is no text in the columns of documents that may be empty, where the rest of the row is text; the
        next ``add`` reads them again. An id that is none becomes one, to be removed by."""
        empty = {"title": None, "error": None, "stamp": "", "metadata": "[]"}
        wrong = " OR ".join(f"typeof({name}) NOT IN ('text', 'null')" for name in empty)
        rest = ("id", "uri", "media_type", "content_hash", "status")
        right = " AND ".join([*(f"typeof({name}) = 'text'" for name in rest), "typeof(items) = 'integer'"])
        rows = database.execute(f"SELECT key, {COLUMNS} FROM documents WHERE ({wrong}) AND {right}").fetchall()
        what = ", ".join(from_sql(row[3]) for row in rows[:3])
        remedy = f"emptied; {ADD_AGAIN}" if self._repair else "run `commonplace doctor --repair`: it is emptied"
        self._found(f"documents whose title or notes are no text ({what})", len(rows), remedy, repaired=True)
        if not self._repair:
            return
        for key, *values in rows:
            new = dict(zip(COLUMNS.split(", "), values, strict=True))
            new |= {name: blank for name, blank in empty.items() if not isinstance(new[name], str)} | {"stamp": ""}
            row = (*(new[name] for name in empty), checksum(*new.values()), key)
            database.execute(
                f"UPDATE documents SET {', '.join(f'{name} = ?' for name in empty)}, checksum = ? WHERE key = ?", row
            )
        database.execute("UPDATE documents SET id = 'damaged-' || key WHERE typeof(id) <> 'text'")

    def _ids(self, database: sqlite3.Connection) -> None:
        """Give documents back the ids that were damaged, where by its checksum the rest of the row goes with them."""
        lost = []
        for key, expected, id_, uri, *rest in database.execute(f"SELECT key, checksum, {COLUMNS} FROM documents"):
            own = stable_id(uri) if isinstance(uri, str) else id_
            if id_ != own and checksum(own, uri, *rest) == expected != checksum(id_, uri, *rest):
                lost.append((own, key))
        remedy = "made of their URI" if self._repair else "run `commonplace doctor --repair`: it is made anew"
        self._found("documents whose id is not what was stored", len(lost), remedy, repaired=True)
        if self._repair:
            database.executemany("UPDATE OR IGNORE documents SET id = ? WHERE key = ?", lost)

    def _items(self, database: sqlite3.Connection) -> None:
        bad, owners = 0, set()
        question = "SELECT checksum, id, document, modality, span, text, title, picture FROM items"
        for expected, *values in database.execute(question):
            if checksum(*values) != expected:
                bad += 1
                owners |= {values[1]} if isinstance(values[1], int) else set()
        self._found(
            f"items that are not what was stored, in {self._paths(database, owners)}: searches leave them out",
            bad,
            ADD_AGAIN,
        )
        self._read_again(database, owners)

    def _vectors(self, database: sqlite3.Connection) -> None:
        bad: list[tuple[str, str, int]] = []
        cursor = database.execute("SELECT partition, view, checksum, vector FROM vectors")
        while rows := cursor.fetchmany(BATCH):
            values, wrong = vectors_of([row[3] for row in rows], [row[2] for row in rows], self._settings.dim)
            wrong = np.union1d(wrong, np.flatnonzero(~np.isfinite(values).all(axis=1)))
            bad += [(rows[n][0], rows[n][1], rows[n][2]) for n in wrong.tolist()]
        mended = self._mend_vectors(database, bad) if bad and self._repair else set()
        self._found("vectors that were damaged", len(mended), "taken from the snapshot", repaired=True)
        left = [one[:2] for one in bad if one[:2] not in mended]
        owners: set[int] = set()
        for partition, view in left:
            question = "SELECT i.document FROM views v JOIN items i ON i.key = v.item WHERE v.partition=? AND v.view=?"
            owners.update(row[0] for row in database.execute(question, (partition, view)))
        self._found(
            f"vectors of the wrong length, not numbers or not what was stored, of {self._paths(database, owners)}",
            len(left),
            self._then_add(),
        )
        if self._repair and left:
            database.executemany("DELETE FROM vectors WHERE partition = ? AND view = ?", left)
            self._read_again(database, owners)

    def _mend_vectors(self, database: sqlite3.Connection, bad: list[tuple[str, str, int]]) -> set[tuple[str, str]]:
        """Take vectors from snapshots whose rows are raw; their checksums say whether they are. Return which."""
        mended: set[tuple[str, str]] = set()
        held = compression_of(database, STORED)
        for path in (self._settings.folder / FOLDER).glob("*.snapshot"):
            try:
                base = IndexFile(path)
            except (Damaged, OSError, ValueError):
                continue
            for partition, view, expected in bad:
                if partition != base.info.partition:
                    continue
                question = "SELECT item FROM views WHERE partition = ? AND view = ?"
                for (item,) in database.execute(question, (partition, view)).fetchall():
                    at = np.flatnonzero(base.keys == item)
                    for row in base.take(at):
                        for kind in ("float16", "float32") if partition in held else ("float32",):
                            (blob,), (found,) = blobs_of(row[None], kind)
                            if found == expected:
                                database.execute(
                                    "UPDATE vectors SET vector = ? WHERE partition = ? AND view = ?",
                                    (blob, partition, view),
                                )
                                mended.add((partition, view))
                                break
        return mended

    def _views(self, database: sqlite3.Connection) -> None:
        lost = database.execute(
            "SELECT i.document FROM views v LEFT JOIN items i ON i.key = v.item WHERE NOT EXISTS "
            "(SELECT 1 FROM vectors w WHERE w.partition = v.partition AND w.view = v.view)"
        ).fetchall()
        owners = {row[0] for row in lost if row[0] is not None}
        self._found(f"views without their vector, of {self._paths(database, owners)}", len(lost), ADD_AGAIN)
        self._read_again(database, owners)
        strange = [
            row[1:]
            for row in database.execute("SELECT checksum, item, partition, view FROM views")
            if checksum(*row[1:]) != row[0]
        ]
        what = "views that are not what was stored: searches leave their items out"
        self._found(what, len(strange), self._then_add())
        if self._repair and strange:
            database.executemany("DELETE FROM views WHERE item = ? AND partition = ? AND view = ?", strange)
            # Whose a view was cannot be told: every document is read again of which a view may be missing.
            question = (
                "SELECT DISTINCT i.document FROM items i, (SELECT DISTINCT partition AS name FROM views) p WHERE "
                "CASE p.name WHEN 'text' THEN i.text ELSE i.picture END IS NOT NULL AND NOT EXISTS "
                "(SELECT 1 FROM views v WHERE v.item = i.key AND v.partition = p.name)"
            )
            self._read_again(database, {row[0] for row in database.execute(question).fetchall()})
        orphans = "FROM views WHERE item NOT IN (SELECT key FROM items)"
        (count,) = database.execute(f"SELECT count(*) {orphans}").fetchone()
        self._found("views of items that are gone", count, "removed", repaired=True)
        unused = "FROM vectors WHERE NOT EXISTS (SELECT 1 FROM views v WHERE v.partition = vectors.partition AND "
        unused += "v.view = vectors.view)"
        (spare,) = database.execute(f"SELECT count(*) {unused}").fetchone()
        self._found("vectors that no item has", spare, "removed", repaired=True)
        lonely = "FROM items WHERE document NOT IN (SELECT key FROM documents)"
        (items,) = database.execute(f"SELECT count(*) {lonely}").fetchone()
        self._found("items of documents that are gone", items, "removed", repaired=True)
        if self._repair:
            database.execute(f"DELETE {lonely}")
            database.execute(f"DELETE {orphans}")
            database.execute(f"DELETE {unused}")

    def _shadow(self, database: sqlite3.Connection) -> None:
        """Check the vectors of the other space; what is damaged is embedded again when it is gone on with."""
        bad: list[tuple[str, str]] = []
        cursor = database.execute("SELECT partition, view, checksum, vector FROM beside_vectors")
        while rows := cursor.fetchmany(BATCH):
            bad += [rows[n][:2] for n in damaged([row[3] for row in rows], [row[2] for row in rows])]
        question = (
            "SELECT v.partition, v.view FROM beside_views v WHERE NOT EXISTS "
            "(SELECT 1 FROM beside_vectors w WHERE w.partition = v.partition AND w.view = v.view)"
        )
        bad += database.execute(question).fetchall()
        views = database.execute("SELECT checksum, item, partition, view FROM beside_views")
        strange = [(row[2], row[3]) for row in views if checksum(*row[1:]) != row[0]]
        bad = list(dict.fromkeys([*bad, *strange]))
        remedy = "`commonplace migrate`, or its --undo, embeds these again"
        remedy = remedy if self._repair else f"run `commonplace doctor --repair`: then {remedy}"
        self._found("vectors of the other model that are damaged or lost", len(bad), remedy, repaired=True)
        if self._repair and bad:
            first = [
                database.execute(
                    "SELECT min(item) FROM beside_views WHERE partition = ? AND view = ?", where
                ).fetchone()[0]
                for where in bad
            ]
            for table in ("beside_views", "beside_vectors"):
                database.executemany(f"DELETE FROM {table} WHERE partition = ? AND view = ?", bad)
            last = min((key for key in first if key is not None), default=None)
            if strange:  # whose they were cannot be told: all are gone through, and what is whole is not embedded again
                last = 1
            if last is not None:
                database.execute(
                    "UPDATE meta SET value = min(CAST(value AS INTEGER), ?) WHERE name = 'beside:last'", (last - 1,)
                )

    def _pictures(self, database: sqlite3.Connection) -> None:
        question = "SELECT hash, checksum, thumbnail, width, height FROM pictures"
        bad = [hash_ for hash_, expected, *values in database.execute(question) if checksum(*values) != expected]
        lost = database.execute(
            "SELECT document FROM items WHERE picture IS NOT NULL AND picture NOT IN (SELECT hash FROM pictures)"
        ).fetchall()
        owners = {row[0] for row in lost}
        for hash_ in bad:
            found = database.execute("SELECT document FROM items WHERE picture = ?", (hash_,))
            owners.update(row[0] for row in found)
        where = self._paths(database, owners)
        self._found(f"thumbnails that are not what was stored, of {where}", len(bad), ADD_AGAIN)
        self._found(f"pictures without their thumbnail, in {where}", len(lost), ADD_AGAIN)
        unused = "FROM pictures WHERE NOT EXISTS (SELECT 1 FROM items WHERE picture = hash)"
        (spare,) = database.execute(f"SELECT count(*) {unused}").fetchone()
        self._found("thumbnails that no item has", spare, "removed", repaired=True)
        if self._repair:
            database.executemany("DELETE FROM pictures WHERE hash = ?", [(hash_,) for hash_ in bad])
            database.execute(f"DELETE {unused}")
            self._read_again(database, owners)

    def _words(self, database: sqlite3.Connection) -> None:
        """Index all words once more, beside, and compare: every word, place and length."""
        database.execute("DROP TABLE IF EXISTS temp.fresh")
        database.execute(LEXICON.format("temp.fresh"))
        try:
            _fill(database, "temp.fresh")
            different = False
            with suppress(sqlite3.DatabaseError):
                different = _fingerprint(database, "main", "lexicon") == _fingerprint(database, "temp", "fresh")
            if different:
                return
            if self._repair:
                database.execute("DROP TABLE lexicon")
                database.execute(LEXICON.format("lexicon"))
                _fill(database, "lexicon")
            remedy = "made anew" if self._repair else "run `commonplace doctor --repair`: it is made anew"
            self._found("the word index does not hold the words of the items", 1, remedy, repaired=True)
        finally:
            database.execute("DROP TABLE IF EXISTS temp.fresh")

    def _paths(self, database: sqlite3.Connection, documents: set[int]) -> str:
        """Return the paths of these documents in words, three of them at most."""
        found = []
        for key in sorted(documents)[:3]:
            row = database.execute("SELECT path FROM documents WHERE key = ?", (key,)).fetchone()
            if row is not None:
                found.append(from_sql(row[0]))
        more = f" and {len(documents) - 3} more" if len(documents) > 3 else ""
        return ", ".join(found) + more or "no document"

    def _read_again(self, database: sqlite3.Connection, documents: set[int]) -> None:
        """Take the stamps off documents, so that the next ``add`` reads them again."""
        if not self._repair:
            return
        for key in documents:
            row = database.execute(f"SELECT checksum, {COLUMNS} FROM documents WHERE key = ?", (key,)).fetchone()
            if row is None or checksum(*row[1:]) != row[0]:
                continue
            values = [*row[1:]]
            values[8] = ""
            database.execute("UPDATE documents SET stamp = '', checksum = ? WHERE key = ?", (checksum(*values), key))

    # --- the snapshots ---------------------------------------------------------------------------------------

    def _snapshots(self) -> None:
        folder = self._settings.folder / FOLDER
        for path in sorted(folder.glob("*.snapshot")):
            finding = ""
            count = 1
            try:
                base = IndexFile(path)
                wrong = base.bad()
                live = {
                    key
                    for (key,) in self._database.all(
                        "SELECT DISTINCT item FROM views WHERE partition = ? AND item <= ?",
                        (base.info.partition, base.info.last),
                    )
                }
                wrong = wrong[[int(key) in live for key in base.keys[wrong]]] if len(wrong) else wrong
                lineage = self._database.all("SELECT value FROM meta WHERE name = 'lineage'")[0][0]
                missing = live - set(base.keys.tolist())
                if len(wrong):
                    finding, count = "rows that are not what was written", len(wrong)
                elif lineage == base.info.lineage and missing:
                    finding, count = "rows are missing", len(missing)
            except (Damaged, OSError, ValueError) as problem:
                finding = str(problem)
            if finding and self._repair:
                path.unlink(missing_ok=True)
            remedy = "made anew" if self._repair else "run `commonplace doctor --repair`: it is made anew"
            self._found(f"the snapshot {path}: {finding}", count if finding else 0, remedy, repaired=True)


def _fill(database: sqlite3.Connection, table: str) -> None:
    def words() -> Iterator[tuple[int, str]]:
        for key, text, title in database.execute("SELECT key, text, title FROM items ORDER BY key"):
            view = text_view(maybe(text), maybe(title))
            if view is not None:
                yield key, index_words(view)

    database.executemany(f"INSERT INTO {table} (rowid, words) VALUES (?, ?)", words())


def _fingerprint(database: sqlite3.Connection, schema: str, table: str) -> list[object]:
    """Return what two word indexes over the same words have in common, however their segments lie."""
    database.execute("DROP TABLE IF EXISTS temp.places")
    database.execute(f"CREATE VIRTUAL TABLE temp.places USING fts5vocab('{schema}', '{table}', 'instance')")
    try:
        places = database.execute(
            "SELECT count(*), total(doc), total(offset), "
            "sum((doc * 1000003 + offset * 7919 + unicode(term) * 31 + length(term)) % 1000000007) FROM temp.places"
        ).fetchall()
    finally:
        database.execute("DROP TABLE temp.places")
    lengths = database.execute(
        f"SELECT count(*), total(id), sum((id * 31 + unicode(hex(sz)) * 7919 + length(sz)) % 1000000007), "
        f"sum(id * (1 + instr('0123456789ABCDEF', substr(hex(sz), 2, 1)))) FROM {schema}.{table}_docsize"
    ).fetchall()
    averages = database.execute(f"SELECT block FROM {schema}.{table}_data WHERE id = 1").fetchall()
    return [places, lengths, averages]


def backup(database: Database, file: Path) -> int:
    """Write the whole collection as it stands into one new file, while others read and write; return its bytes.

    Raises CollectionError where the file exists or cannot be written.
    """
    if os.path.lexists(file):
        raise CollectionError(f"{file} exists already: name a new file for the backup")
    if not file.parent.is_dir():
        raise CollectionError(f"there is no folder {file.parent}: make it first")
    for left in abandoned(file.parent):
        if re.fullmatch(rf"{re.escape(file.name)}\.[0-9a-f]{{16}}\.\d+\.part(-journal)?", left.name):
            left.unlink(missing_ok=True)
    shadow = file.with_name(f"{file.name}.{secrets.token_hex(8)}.{os.getpid()}.part")
    try:
        with database.session() as connection:
            try:
                connection.execute("VACUUM INTO ?", (str(shadow),))
            except UnicodeEncodeError:
                raise CollectionError(f"{file} is no name in UTF-8: choose another for the backup") from None
            except sqlite3.OperationalError as problem:
                if not any(word in str(problem) for word in ("full", "unable to open", "I/O", "readonly")):
                    raise
                why = "the disk is full" if full(file.parent) or "full" in str(problem) else str(problem)
                raise CollectionError(f"the backup {file} cannot be written ({why}): choose another place") from None
        with shadow.open("rb+") as written:
            os.fsync(written.fileno())
            size = os.fstat(written.fileno()).st_size
        _name(shadow, file)
        return size
    except FileExistsError:
        raise CollectionError(f"{file} was made by another process meanwhile: name a new file for the backup") from None
    except OSError as problem:
        raise CollectionError(
            f"the backup {file} cannot be written ({problem.strerror}): choose another place"
        ) from None
    finally:
        for left in (shadow, shadow.with_name(f"{shadow.name}-journal")):
            with suppress(OSError):
                left.unlink(missing_ok=True)


def _name(shadow: Path, file: Path) -> None:
    """Give a file its name for good, unless there is one of that name. Raises OSError, FileExistsError among them."""
    try:
        os.link(shadow, file)  # unlike a renaming it replaces nothing
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(file):
            raise FileExistsError from None
        shadow.rename(file)
    sync(file.parent)


def copy_into(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Put one database in another's place, at once. Raises sqlite3.OperationalError where another process writes to it
    for longer than a writer waits."""
    until = time.monotonic() + WAIT

    def wait(status: int, left: int, total: int) -> None:
        if status in BUSY and time.monotonic() > until:
            raise sqlite3.OperationalError("database is locked")  # sqlite3 itself would wait for ever

    source.backup(target, progress=wait)


@contextmanager
def restored(file: Path, folder: Path, space: str, fingerprint: str) -> Iterator[sqlite3.Connection]:
    """Lend a checked copy of a backup that is ready to take a collection's place, with a history of its own.

    Raises CollectionError where the file is no whole backup, ModelMismatch and VersionError as opening would.
    """
    if not file.is_file():
        raise CollectionError(f"there is no backup {file}: check the name")
    if Path(f"{file}-wal").exists():
        raise CollectionError(f"{file} is a collection in use, not a backup: make one with `commonplace backup FILE`")
    copy = folder / f"restore.{os.getpid()}.part"
    try:
        shutil.copyfile(file, copy)
        with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
            try:
                (version,) = connection.execute("PRAGMA user_version").fetchone()
                made = dict(connection.execute("SELECT name, value FROM meta"))
                whole = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            except sqlite3.DatabaseError as problem:
                raise CollectionError(f"{file} is no backup of a collection, or damaged ({problem})") from problem
            if version > SCHEMA_VERSION:
                raise VersionError(
                    f"{file} was made by a newer Commonplace (its schema is {version}, this one reads "
                    f"{SCHEMA_VERSION}): upgrade with pip install --upgrade commonplace"
                )
            if whole != "ok":
                raise CollectionError(f"{file} is damaged ({whole}): take an older backup")
            if made.get("fingerprint") != fingerprint:
                raise ModelMismatch(
                    f"{file} was made with the model {made.get('space')} ({made.get('fingerprint')}), not {space} "
                    f"({fingerprint}): restore it with that model"
                )
            # Item keys come up again after this: nothing that was derived from the old history may be used.
            whole = sealed(connection)
            try:
                connection.execute("INSERT OR REPLACE INTO meta VALUES ('lineage', ?)", (secrets.token_hex(10),))
                if whole:
                    seal(connection)
            except sqlite3.Error as problem:
                raise CollectionError(f"{folder} cannot take the backup ({problem}): make room and try again") from None
            yield connection
    except OSError as problem:
        raise CollectionError(
            f"{folder} cannot take the backup ({problem.strerror}): make room and try again"
        ) from None
    finally:
        for left in (copy, copy.with_name(f"{copy.name}-journal")):
            left.unlink(missing_ok=True)
