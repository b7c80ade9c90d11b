"""Finds damage in a collection's files, and rebuilds derived data."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from commonplace.errors import CollectionError
from commonplace.i18n import N_, _
from commonplace.store.base import Finding
from commonplace.store.database import read_commit_marker
from commonplace.store.index_file import Damaged, IndexFile
from commonplace.store.rows import DOCUMENT, from_sql, maybe, printable, text_of
from commonplace.store.schema import LEXICON, PATHS, checksum, fill, number, original_checksum, seal, sealed, unlike
from commonplace.store.signatures import signature_of
from commonplace.store.vector_index import FOLDER, Settings
from commonplace.store.vectors import damaged
from commonplace.text import index_words, path_words
from commonplace.types import text_view

__all__ = ["Doctor"]

RESTORE = N_("restore a backup with `commonplace restore FILE --replace`")
READ_AGAIN = N_(
    "restore a backup with `commonplace restore FILE --replace`, or read the files again with `commonplace add --force "
    "FILE`"
)
SWEEP = N_("`commonplace vacuum` removes them")
BATCH = 10_000  # number of vectors that are checked at once


class Doctor:
    """Checks all data of a collection that has a checksum or is stored twice.

    With ``repair`` derived data is rebuilt: the index files, the word index, the metadata table, SQLite's own indexes
    and the removal log. Documents, items, views, vectors and thumbnails are never changed. Searches leave damaged ones
    out, and the finding says how to restore them.
    """

    def __init__(self, settings: Settings, *, repair: bool) -> None:
        self._settings = settings
        self._database = settings.database
        self._repair = repair
        self.findings: list[Finding] = []

    def run(self) -> list[Finding]:
        """Return all problems, the most serious first. Raises CollectionError if the database cannot be read."""
        if not self._file():
            return self.findings
        with self._transaction() as database:
            self._collection(database)
            self._removal_log(database)
            self._documents(database)
            self._items(database)
            self._views(database)
            self._vectors(database)
            self._shadow(database)
            self._thumbnails(database)
            self._signatures(database)
            self._originals(database)
            self._orphans(database)
            self._metadata(database)
            self._words(database)
        self._index_files()
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

    def _lost(self, what: str, count: int, remedy: str = READ_AGAIN) -> None:
        """Report damage that cannot be repaired from the collection itself."""
        if count:
            self.findings.append(Finding(what, count, _(remedy)))

    def _derived(self, what: str, count: int) -> None:
        """Report damage of derived data, which ``repair`` rebuilds."""
        if count:
            remedy = _("rebuilt") if self._repair else _("rebuild it with `commonplace doctor --repair`")
            self.findings.append(Finding(what, count, remedy, self._repair))

    # --- the database ----------------------------------------------------------------------------------------

    def _file(self) -> bool:
        """Let SQLite check its file. Returns False if the damage makes the other checks pointless."""

        def problems() -> list[str]:
            try:
                return [row[0] for row in self._database.all("PRAGMA integrity_check(20)") if row[0] != "ok"]
            except CollectionError as problem:
                return [str(problem)]

        lines = problems()
        if not lines:
            return True
        if all(" index " in line for line in lines):
            if self._repair:
                self._database.all("REINDEX")
            if not self._repair or not problems():
                self._derived(_("the database's own indexes: {problem}").format(problem=lines[0]), len(lines))
                return True
        self._lost(
            _("the database file {path}: {problem}").format(path=self._database.path, problem=lines[0]),
            len(lines),
            RESTORE,
        )
        return False

    def _collection(self, database: sqlite3.Connection) -> None:
        """Check the data of the collection as a whole: model, ranking, generation, lost commits."""
        if not sealed(database):
            remedy = _("check them with `commonplace status`, and repeat `tune` if you used it; or {restore}").format(
                restore=_(RESTORE)
            )
            self._lost(_("the settings of the collection (model, ranking) are damaged"), 1, remedy)
            if self._repair:  # accept the present values from now on
                seal(database)
        (generation,) = database.execute("SELECT value FROM meta WHERE name = 'generation'").fetchone()
        if number(generation) is None:
            self._derived(_("the generation number of the collection is damaged"), 1)
            if self._repair:
                generation = read_commit_marker(self._settings.folder)[1] + 1
                database.execute("UPDATE meta SET value = ? WHERE name = 'generation'", (str(generation),))
                self._new_lineage(database)
        lost = database.execute("SELECT value FROM meta WHERE name = 'lost'").fetchone()
        if lost:
            what = _("committed changes are lost, because collection.db-wal was damaged or deleted")
            self._lost(
                what,
                number(lost[0]) or 1,
                _("add your files again with `commonplace add`; or {restore}").format(restore=_(RESTORE)),
            )
            if self._repair:  # report the loss only once
                database.execute("DELETE FROM meta WHERE name = 'lost'")

    def _removal_log(self, database: sqlite3.Connection) -> None:
        wrong = "FROM removed WHERE item IN (SELECT key FROM items) OR typeof(item) <> 'integer'"
        count = _count(database, wrong)
        self._derived(_("the removal log contains existing items or invalid keys"), count)
        if self._repair and count:
            database.execute(f"DELETE {wrong}")
            self._new_lineage(database)

    @staticmethod
    def _new_lineage(database: sqlite3.Connection) -> None:
        """Begin a new lineage, so that every index is rebuilt."""
        database.execute("INSERT OR REPLACE INTO meta VALUES ('lineage', ?)", (secrets.token_hex(10),))

    def _documents(self, database: sqlite3.Connection) -> None:
        columns = DOCUMENT.replace("d.", "")
        rows = database.execute(f"SELECT key, checksum, {columns} FROM documents")
        bad = [key for key, expected, *values in rows if checksum(*values) != expected]
        self._lost(_("documents whose row is damaged: {paths}").format(paths=self._paths(database, bad)), len(bad))

    def _items(self, database: sqlite3.Connection) -> None:
        rows = database.execute("SELECT checksum, id, document, modality, span, text, title, picture FROM items")
        owners = [values[1] for expected, *values in rows if checksum(*values) != expected]
        what = _("damaged items in {paths}: searches leave them out").format(paths=self._paths(database, owners))
        self._lost(what, len(owners))

    def _views(self, database: sqlite3.Connection) -> None:
        rows = database.execute(
            "SELECT v.checksum, i.document, v.item, v.partition, v.view FROM views v "
            "LEFT JOIN items i ON i.key = v.item"
        )
        owners = [owner for expected, owner, *view in rows if owner is None or checksum(*view) != expected]
        if owners:  # a damaged view may not name its item, so documents that lack a view are listed too
            lacking = database.execute(
                "SELECT DISTINCT i.document FROM items i, (SELECT DISTINCT partition AS name FROM views) p WHERE "
                "CASE WHEN p.name IN ('text', 'text_crossmodal') THEN i.text ELSE i.picture END IS NOT NULL AND "
                "NOT EXISTS (SELECT 1 FROM views v WHERE v.item = i.key AND v.partition = p.name)"
            ).fetchall()
            where = self._paths(database, [*owners, *(document for (document,) in lacking)])
            what = _("damaged views of {where}: searches leave their items out").format(where=where)
            self._lost(
                what, len(owners), _("{read_again}; then run `commonplace vacuum`").format(read_again=_(READ_AGAIN))
            )

    def _vectors(self, database: sqlite3.Connection) -> None:
        bad = self._bad_vectors(database, "", self._settings.dim)
        owners = [owner for view in bad for owner in _owners(database, "", view)]
        what = _("damaged vectors (wrong length, checksum or values) of {paths}").format(
            paths=self._paths(database, owners)
        )
        self._lost(what, len(bad))
        owners = [owner for view in _without_vector(database, "") for owner in _owners(database, "", view)]
        self._lost(_("views without their vector, of {paths}").format(paths=self._paths(database, owners)), len(owners))

    def _bad_vectors(self, database: sqlite3.Connection, shadow: str, dim: int) -> list[tuple[str, str]]:
        """Return partition and view hash of the damaged vectors. With ``dim`` 0 the vectors may have any dimension."""
        bad: list[tuple[str, str]] = []
        cursor = database.execute(f"SELECT partition, view, checksum, vector FROM {shadow}vectors")
        while rows := cursor.fetchmany(BATCH):
            bad += [rows[n][:2] for n in damaged([row[3] for row in rows], [row[2] for row in rows], dim)]
        return bad

    def _shadow(self, database: sqlite3.Connection) -> None:
        """Check the vectors of the other model."""
        rows = database.execute("SELECT checksum, item, partition, view FROM shadow_views").fetchall()
        strange = [view[1:] for expected, *view in rows if checksum(*view) != expected]
        bad = {*self._bad_vectors(database, "shadow_", 0), *_without_vector(database, "shadow_"), *map(tuple, strange)}
        owners = [owner for view in bad for owner in _owners(database, "shadow_", view)]
        what = _("damaged or missing vectors of the other model, of {paths}").format(
            paths=self._paths(database, owners)
        )
        self._lost(
            what,
            len(bad),
            _("{read_again}; `commonplace vacuum` deletes an earlier model's vectors").format(read_again=_(READ_AGAIN)),
        )

    def _thumbnails(self, database: sqlite3.Connection) -> None:
        rows = database.execute("SELECT hash, checksum, thumbnail, width, height FROM pictures")
        bad = [hash_ for hash_, expected, *values in rows if checksum(*values) != expected]
        owners = [row[0] for hash_ in bad for row in database.execute(_SHOWING, (hash_,))]
        self._lost(_("damaged thumbnails of {paths}").format(paths=self._paths(database, owners)), len(bad))
        rows = database.execute(
            "SELECT document FROM items WHERE picture IS NOT NULL AND picture NOT IN (SELECT hash FROM pictures)"
        )
        owners = [document for (document,) in rows]
        self._lost(
            _("pictures without their thumbnail, in {paths}").format(paths=self._paths(database, owners)), len(owners)
        )

    def _signatures(self, database: sqlite3.Connection) -> None:
        rows = database.execute(
            "SELECT p.hash, s.picture, s.pixels, s.checksum FROM pictures p "
            "LEFT JOIN signatures s ON s.picture = p.hash"
        )
        bad = [name for name, *values, expected in rows if checksum(*values) != expected]
        statement = "SELECT hash, thumbnail FROM pictures WHERE hash = ?"
        pictures = [row for name in bad for row in database.execute(statement, (name,))]  # without damaged names
        for name, thumbnail in pictures if self._repair else ():
            pixels = signature_of(thumbnail if isinstance(thumbnail, bytes) else None)
            row = (name, pixels, checksum(name, pixels))
            database.execute("INSERT OR REPLACE INTO signatures VALUES (?, ?, ?)", row)
        self._derived(_("signatures by which near-duplicates of pictures are found"), len(pictures))

    def _orphans(self, database: sqlite3.Connection) -> None:
        """Report orphaned rows: they take up disk space, and no search returns them."""
        self._lost(_("items without their document"), _count(database, "FROM items i WHERE " + _NO_DOCUMENT), SWEEP)
        self._lost(_("vectors that no item uses"), _count(database, "FROM vectors w WHERE " + _NO_VIEW), SWEEP)
        self._lost(_("thumbnails that no item uses"), _count(database, "FROM pictures p WHERE " + _NO_ITEM), SWEEP)

    def _metadata(self, database: sqlite3.Connection) -> None:
        different = len(list(unlike(database)))
        self._derived(_("documents that filters do not match by their metadata"), different)
        if self._repair and different:
            fill(database)
            self._new_lineage(database)
        if self._repair or not different:  # rows that differ from their documents would be reported twice
            keys = "SELECT key FROM metadata GROUP BY key HAVING count(DISTINCT type) > 1 ORDER BY key"
            mixed = [text_of(key) for (key,) in database.execute(keys)]
            what = _("metadata keys whose values have more than one type: {mixed}").format(mixed=", ".join(mixed[:3]))
            self._lost(what, len(mixed), _("add the records with these keys again, with values of one type"))

    def _originals(self, database: sqlite3.Connection) -> None:
        rows = database.execute("SELECT document, media_type, data, checksum FROM originals")
        bad = [key for key, media_type, data, expected in rows if original_checksum(media_type, data) != expected]
        what = _("damaged contents of the records {paths}").format(paths=self._paths(database, bad))
        self._lost(
            what, len(bad), _("{restore}, or add the records again with `force=True`").format(restore=_(RESTORE))
        )

    def _words(self, database: sqlite3.Connection) -> None:
        self._full_text(
            database, "lexicon", LEXICON, _words_of_items, _("the word index differs from the words of the items")
        )
        self._full_text(
            database, "paths", PATHS, _words_of_paths, _("the word index differs from the paths of the documents")
        )

    def _full_text(
        self,
        database: sqlite3.Connection,
        table: str,
        definition: str,
        words_of: Callable[[sqlite3.Connection], Iterator[tuple[int, str]]],
        what: str,
    ) -> None:
        """Index all words again in a temporary table, and compare every word, position and length."""

        def fill_words(name: str) -> None:
            database.executemany(f"INSERT INTO {name} (rowid, words) VALUES (?, ?)", words_of(database))

        database.execute("DROP TABLE IF EXISTS temp.fresh")
        database.execute(definition.format("temp.fresh"))
        try:
            fill_words("temp.fresh")
            with suppress(sqlite3.DatabaseError):
                if _fingerprint(database, "main", table) == _fingerprint(database, "temp", "fresh"):
                    return
            if self._repair:
                database.execute(f"DROP TABLE {table}")
                database.execute(definition.format(table))
                fill_words(table)
            self._derived(what, 1)
        finally:
            database.execute("DROP TABLE IF EXISTS temp.fresh")

    def _paths(self, database: sqlite3.Connection, documents: Iterable[object]) -> str:
        """Return at most three paths of the documents with these keys, and the number of further ones."""
        keys = sorted({key for key in documents if isinstance(key, int)})
        paths = []
        for key in keys[:3]:
            row = database.execute("SELECT path FROM documents WHERE key = ?", (key,)).fetchone()
            if row is not None:
                paths.append(from_sql(row[0]))
        more = _(" and {count} more").format(count=len(keys) - 3) if len(keys) > 3 else ""
        return ", ".join(paths) + more or _("no document")

    # --- the index files -------------------------------------------------------------------------------------

    def _index_files(self) -> None:
        for path in sorted((self._settings.folder / FOLDER).glob("*.index")):
            problem, count = self._problem_of(path)
            if problem and self._repair:
                path.unlink(missing_ok=True)
            self._derived(
                _("the index file {path}: {problem}").format(path=path, problem=problem), count if problem else 0
            )

    def _problem_of(self, path: Path) -> tuple[str, int]:
        """Return the problem of an index file (empty if there is none), and how often it occurs."""
        try:
            file = IndexFile(path)
            bad = file.bad()
        except (Damaged, OSError, ValueError) as problem:
            return str(problem), 1
        question = "SELECT DISTINCT item FROM views WHERE partition = ? AND item <= ?"
        live = {key for (key,) in self._database.all(question, (file.info.partition, file.info.last))}
        wrong = sum(key in live for key in file.keys[bad].tolist())
        if wrong:
            return _("rows are damaged"), wrong
        lineage = self._database.all("SELECT value FROM meta WHERE name = 'lineage'")[0][0]
        missing = len(live - set(file.keys.tolist())) if lineage == file.info.lineage else 0
        return (_("rows are missing"), missing) if missing else ("", 0)


_NO_DOCUMENT = "NOT EXISTS (SELECT 1 FROM documents d WHERE d.key = i.document)"
_NO_VIEW = "NOT EXISTS (SELECT 1 FROM views v WHERE v.partition = w.partition AND v.view = w.view)"
_NO_ITEM = "NOT EXISTS (SELECT 1 FROM items i WHERE i.picture = p.hash)"
_SHOWING = "SELECT document FROM items WHERE picture = ?"


def _count(database: sqlite3.Connection, condition: str) -> int:
    return int(database.execute(f"SELECT count(*) {condition}").fetchone()[0])


def _without_vector(database: sqlite3.Connection, shadow: str) -> list[tuple[str, str]]:
    """Return partition and view hash of the views whose vector is missing."""
    return database.execute(
        f"SELECT DISTINCT v.partition, v.view FROM {shadow}views v WHERE NOT EXISTS (SELECT 1 FROM {shadow}vectors w "
        "WHERE w.partition = v.partition AND w.view = v.view)"
    ).fetchall()


def _owners(database: sqlite3.Connection, shadow: str, view: tuple[str, str]) -> list[int]:
    """Return the keys of the documents that have this view (partition, view hash), one key for each item."""
    question = (
        f"SELECT i.document FROM {shadow}views v JOIN items i ON i.key = v.item WHERE v.partition = ? AND v.view = ?"
    )
    return [document for (document,) in database.execute(question, view)]


def _words_of_items(database: sqlite3.Connection) -> Iterator[tuple[int, str]]:
    for key, text, title in database.execute("SELECT key, text, title FROM items ORDER BY key"):
        view = text_view(maybe(text), maybe(title))
        if view is not None:
            yield key, index_words(view)


def _words_of_paths(database: sqlite3.Connection) -> Iterator[tuple[int, str]]:
    for key, path in database.execute("SELECT key, path FROM documents ORDER BY key"):
        yield key, path_words(printable(from_sql(path)) or "")


def _fingerprint(database: sqlite3.Connection, schema: str, table: str) -> list[object]:
    """Return numbers that are equal for two word indexes with the same words, whatever their segments are."""
    for name in ("places", "terms"):
        database.execute(f"DROP TABLE IF EXISTS temp.{name}")
    database.execute(f"CREATE VIRTUAL TABLE temp.places USING fts5vocab('{schema}', '{table}', 'instance')")
    try:
        places = database.execute(
            "SELECT count(*), total(doc), total(offset), "
            "sum((doc * 1000003 + offset * 7919 + unicode(term) * 31 + length(term)) % 1000000007) FROM temp.places"
        ).fetchall()
    finally:
        database.execute("DROP TABLE temp.places")
    database.execute(f"CREATE VIRTUAL TABLE temp.terms USING fts5vocab('{schema}', '{table}', 'row')")
    try:  # a search looks words up, by parts of the index that a scan does not read
        looked_up = database.execute(
            "SELECT count(*) FROM temp.terms a WHERE EXISTS (SELECT 1 FROM temp.terms b WHERE b.term = a.term)"
        ).fetchall()
    finally:
        database.execute("DROP TABLE temp.terms")
    lengths = database.execute(
        f"SELECT count(*), total(id), sum((id * 31 + unicode(hex(sz)) * 7919 + length(sz)) % 1000000007), "
        f"sum(id * (1 + instr('0123456789ABCDEF', substr(hex(sz), 2, 1)))) FROM {schema}.{table}_docsize"
    ).fetchall()
    averages = database.execute(f"SELECT block FROM {schema}.{table}_data WHERE id = 1").fetchall()
    # Its totals are all zero after the last document is removed, and absent before the first one.
    return [places, looked_up, lengths, [block for (block,) in averages if any(block)]]
