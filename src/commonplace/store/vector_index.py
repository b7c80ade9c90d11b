"""The vector index of one partition: follows the changes in the database, and rewrites its index file when needed."""

from __future__ import annotations

import logging
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from commonplace.errors import ModelMismatch
from commonplace.i18n import _
from commonplace.store.base import Prepare, Questions, Sample
from commonplace.store.codes import ROWS_PER_CENTROID, cells_for, train
from commonplace.store.compression import Compression, compression_of, measure
from commonplace.store.database import Database
from commonplace.store.index_file import BLOCK, Block, Damaged, IndexFile, Info, identity, rounded, write
from commonplace.store.index_view import IndexView, RankedKeys, Selection
from commonplace.store.locks import lock
from commonplace.store.measuring import Measure
from commonplace.store.memory_rows import MemoryRows
from commonplace.store.options import DEFAULT, StoreOptions
from commonplace.store.schema import number
from commonplace.store.vectors import vectors_of

__all__ = [
    "Settings",
    "VectorIndex",
    "blocks",
    "check_space",
    "followed_to",
    "generation_of",
    "now",
    "removed_since",
    "trimmed_to",
]

log = logging.getLogger("commonplace")

Result = TypeVar("Result")

FOLDER = "index"  # below the collection's folder


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings that all partitions of a store share; see ``commonplace.store.LocalStore``."""

    database: Database
    folder: Path
    dim: int
    prepare: Prepare
    state: str
    questions: Questions
    target: float
    fingerprint: str | None
    options: StoreOptions = DEFAULT


@dataclass(slots=True)
class _Position:
    """How far an index has followed the collection's history."""

    lineage: str
    generation: int
    last: int  # highest item key
    removed: int  # last line of the removal log


class VectorIndex:
    """The index of one partition: a mapped index file, the rows added since, and the keys of items removed since.

    At most ``StoreOptions.memory_rows`` rows are in memory. Keys, codes and rows of the file are mapped. Thread-safe.
    """

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self._settings = settings
        self.path = file_of(settings.folder, name)
        self._lock = threading.Lock()
        self._index: IndexView | None = None
        self._position = _Position("", -1, 0, 0)
        self._memory = MemoryRows(settings.dim, settings.options.memory_rows)
        self._kind = "float32"  # the type of the rows
        self._more = False  # whether the database has further rows that do not fit into memory
        self._builder: threading.Thread | None = None
        self._stopping = False
        self._refused: tuple[int, int, int] | None = None  # identity of an unusable file, which is not tried again
        self.problem = ""
        """The reason why an existing index file is not used; otherwise empty."""

    # --- searching -------------------------------------------------------------------------------------------

    def search(
        self, query: NDArray[np.float32], k: int, allowed: Selection | None, *, cross_modal: bool = False
    ) -> RankedKeys:
        """Return the best ``k`` items; see ``IndexView.search()``."""
        return self._read(lambda index: index.search(query, k, allowed, cross_modal=cross_modal))

    def score(
        self, query: NDArray[np.float32], keys: NDArray[np.int64], *, cross_modal: bool = False
    ) -> NDArray[np.float64]:
        """Return the scores (n,) of these items; see ``IndexView.score()``."""
        return self._read(lambda index: index.score(query, keys, cross_modal=cross_modal))

    def gather(self, keys: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return one row for each of these items (n, dim); see ``IndexView.gather()``."""
        return self._read(lambda index: index.gather(keys, self._settings.dim))

    def sample(self, n: int) -> Sample:
        """Return evenly spaced rows; see ``IndexView.sample()``."""
        return self._read(lambda index: index.sample(n))

    def _read(self, read: Callable[[IndexView], Result]) -> Result:
        """Return the result of ``read`` on the index. After two failures the damaged file is not used any more."""
        for last in (False, True):
            index = self.index_view()
            try:
                return read(index)
            except Damaged as problem:
                # Rows that another process erased are not damage: the second attempt knows that they were removed.
                if last:
                    self._refuse(str(problem))
                else:
                    self.forget()
        return read(self.index_view())

    def index_view(self) -> IndexView:
        """Return the index for the collection's current generation; within a snapshot always the same one."""
        index = self._settings.database.once(self, self._current)
        if self._due(index):
            self._build_in_background()
        return index

    def _current(self) -> IndexView:
        with self._lock:
            reached = self._position.lineage, self._position.generation
            if self._index is not None and not self._more and _state(self._settings) == reached:
                return self._index
        # Not in the snapshot of a search: it may be older than this index, which other threads use, or its file.
        with self._lock, self._settings.database.newest() as database:
            now = _now(database, self._settings)
            current = self._index is not None and now == (self._position.lineage, self._position.generation)
            if not current or (self._more and identity(self.path) not in (None, self._refused)):
                try:
                    self._follow(database, *now)
                except BaseException:
                    self._index = None  # the update is incomplete
                    raise
            assert self._index is not None
            return self._index

    def _follow(self, database: sqlite3.Connection, lineage: str, generation: int) -> None:
        """Update the index to the state that this read transaction sees."""
        base = None if self._index is None else self._index.base
        trimmed = trimmed_to(database)
        kind = _kind(database, self.name)
        usable = self._index is not None and (lineage, kind) == (self._position.lineage, self._kind)
        usable = usable and self._position.removed >= trimmed
        self._kind = kind
        behind = not usable or self._more or len(self._memory) > self._settings.options.build_after
        present = identity(self.path) if behind else None
        other = present not in (None, self._refused) and (base is None or present != base.identity)
        if not usable or other:
            base = self._map(lineage, generation, trimmed)
            if base is not None or not usable:
                self._memory = MemoryRows(self._settings.dim, self._settings.options.memory_rows)
                start = base.info if base is not None else None
                self._position = _Position(lineage, -1, start.last if start else 0, start.removed if start else 0)
                gone = np.empty(0, np.int64)
            else:
                base, gone = (self._index.base, self._index.gone) if self._index else (None, np.empty(0, np.int64))
        else:
            gone = self._index.gone if self._index is not None else np.empty(0, np.int64)
        position = self._position
        if base is None and not position.last:  # an empty index has no rows to remove
            position.removed = followed_to(database)
        lines = removed_since(database, position.removed)
        if len(lines):
            position.removed = int(lines[-1, 0])
            gone = np.union1d(gone, lines[:, 1])
        self._more = False
        for block in blocks(database, self.name, position.last, self._settings, kind=kind):
            if len(self._memory) + len(block[0]) > self._settings.options.memory_rows:
                self._more = True
                break
            self._memory.add(block)
            position.last = int(block[0][-1])
        position.lineage, position.generation = lineage, generation
        keys, rows, offsets = self._memory.block()
        overflow = (lambda last=position.last: self._overflow(last)) if self._more else None
        several, options = self._memory.several, self._settings.options
        self._index = IndexView(
            base, keys, rows, offsets, gone=gone, several=several, overflow=overflow, options=options
        )

    def _overflow(self, last: int) -> Iterator[Block]:
        with self._settings.database.snapshot() as database:
            yield from blocks(database, self.name, last, self._settings, kind=self._kind)

    def _map(self, lineage: str, generation: int, trimmed: int) -> IndexFile | None:
        """Return the index file if it is intact and matches the collection, ranking state and history; else None."""
        present = identity(self.path)
        if present is None:
            self.problem = ""
        if present is None or present == self._refused:
            return None
        try:
            base = IndexFile(self.path)
            info = base.info
            if (info.partition, info.dim) != (self.name, self._settings.dim):
                raise Damaged(_("it belongs to another partition"))
            if (info.state, info.kind) != (self._settings.state, self._kind):
                raise Damaged(_("it was made for another ranking state"))
            if info.lineage != lineage or info.generation > generation or info.removed < trimmed:
                raise Damaged(_("it belongs to another history of the collection"))
            self.problem = ""
            return base
        except (Damaged, OSError, ValueError) as problem:
            self._refused, self.problem = present, str(problem)
            return None

    def _refuse(self, why: str) -> None:
        """Stop using the present file."""
        self._settings.database.again(self)
        with self._lock:
            log.warning("the index file %s is damaged (%s): it is not used and will be rebuilt", self.path, why)
            self._refused, self.problem, self._index = identity(self.path), why, None

    # --- the index file --------------------------------------------------------------------------------------

    def _due(self, index: IndexView) -> bool:
        """Return whether enough has changed since the index file was written to write a new one."""
        options = self._settings.options
        behind = len(index.keys) + len(index.deleted)
        size = 0 if index.base is None else len(index.base)
        return index.overflow is not None or behind > max(options.build_after, min(size // 8, options.memory_rows // 2))

    def _build_in_background(self) -> None:
        """Write an index file in a thread, unless one is running or the database is read-only."""
        with self._lock:
            busy = self._builder is not None and self._builder.is_alive()
            if busy or self._stopping or not self._settings.database.writable:
                return
            self._builder = threading.Thread(target=self._build_quietly, name=f"index {self.name}", daemon=True)
            self._builder.start()

    def _build_quietly(self) -> None:
        try:
            self.build()
        except Exception as problem:
            if not self._stopping:
                log.warning(
                    "the index file %s could not be written (%s): searches continue without it", self.path, problem
                )

    def build(self) -> bool:
        """Write an index file of the partition's current rows.

        Returns False if another process is writing it, or if this index is being closed.
        """
        settings = self._settings
        with lock(self.path) as mine:
            if not mine:
                return False
            for left in self.path.parent.glob(f"{self.path.name}.*.part"):  # from a process that was killed
                left.unlink(missing_ok=True)
            with settings.database.snapshot() as database:
                lineage, generation = _now(database, settings)
                rows = _number(database, "SELECT count(*) FROM views WHERE partition = ?", self.name)
                kind = _kind(database, self.name)
                source = _Source(database, self.name, settings, kind)
                info = Info(
                    self.name,
                    settings.state,
                    lineage,
                    generation,
                    last=_number(database, "SELECT coalesce(max(key), 0) FROM items"),
                    removed=followed_to(database),
                    rows=rows,
                    dim=settings.dim,
                    offsets=source.offsets,
                    kind=kind,
                )
                centre = source.centre() if rows >= settings.options.codes_from else None
                centroids = (
                    source.centroids(cells_for(rows, settings.options), lambda: self._stopping)
                    if centre is not None
                    else None
                )
                measure = Measure(self._ask, settings.target, lambda: self._stopping, settings.options)
                done = write(self.path, info, source.blocks(), centre, measure, lambda: self._stopping, centroids)
        if done:
            self.forget()
        return done

    def _ask(self, cross_modal: bool) -> NDArray[np.float32] | None:
        return self._settings.questions(self.name, cross_modal)

    def flush(self, *, always: bool = False) -> None:
        """Update the file to the database: erase removed rows, or rewrite the file after many changes.

        ``always`` rewrites it unless the partition is too small for an index file.
        """
        builder = self._builder
        if builder is not None:
            builder.join()
        index = self._current()
        if self._due(index) or (always and len(index) > self._settings.options.build_after):
            self._build_quietly()  # a failure is harmless: the database has all committed data
        elif index.base is not None and len(index.deleted):
            try:
                with lock(self.path) as mine:
                    if mine:
                        index.base.erase(index.deleted)
            except OSError as problem:
                log.warning("removed rows could not be erased from %s (%s)", self.path, problem.strerror)
        elif self.problem:
            with suppress(OSError), lock(self.path) as mine:
                if mine and identity(self.path) == self._refused:
                    self.path.unlink(missing_ok=True)

    def measure(self) -> dict[str, Compression]:
        """Return the recall of each row type, the smallest type first.

        Empty if there are no queries to measure with, or too few rows to gain from compression.
        """
        queries_by_kind = {cross_modal: self._ask(cross_modal) for cross_modal in (False, True)}
        queries = {cross_modal: vectors for cross_modal, vectors in queries_by_kind.items() if vectors is not None}
        with self._settings.database.snapshot() as database:
            if (
                _number(database, "SELECT count(*) FROM views WHERE partition = ?", self.name)
                < self._settings.options.codes_from
            ):
                return {}
            return measure(blocks(database, self.name, 0, self._settings), queries)

    def followed(self) -> int | None:
        """Return the last line of the removal log that the index file includes; None without a file."""
        base = self._current().base
        return None if base is None else base.info.removed

    def forget(self) -> None:
        """Drop the index from memory. The next search maps the file again."""
        self._settings.database.again(self)
        with self._lock:
            self._index = None

    def status(self) -> dict[str, Any]:
        """Return the index's type, rows, recall, bytes on disk and in memory, and the rows not yet in the file."""
        index = self._current()
        base = index.base
        ways = [] if base is None else [way for way, factor in base.info.oversampling.items() if factor]
        coded = bool(ways)
        kinds = [] if base is None else sorted({_type(base.info, way) for way in ways})
        status: dict[str, Any] = {
            "type": f"{' and '.join(kinds)}, rescored" if coded else "exact",
            "rows": len(index),
            "recall": (base.info.recall if base is not None and base.info.recall else {"same": 1.0, "other": 1.0}),
            "oversampling": base.info.oversampling if coded and base is not None else {},
            "bytes": 0 if base is None else base.size,
            "memory_bytes": index.rows.nbytes,
            "file_rows": 0 if base is None else len(base),
            "not_in_file": len(index.keys),
            "removed_since": len(index.deleted),
        }
        with self._settings.database.snapshot() as database:
            compression = compression_of(database).get(self.name)
        if compression is not None:
            status["compression"] = {
                "type": compression.kind,
                "recall": compression.recall,
                "measured_rows": compression.rows,
                "rows_since": len(index) - compression.rows,
            }
        if self._more:
            status["not_in_memory"] = _("more rows are streamed from the database: run `commonplace vacuum`")
        if self.problem:
            status["problem"] = self.problem
        return status

    def close(self) -> None:
        """Stop the thread that writes, if any, and close the file."""
        self._stopping = True
        builder = self._builder
        if builder is not None and builder is not threading.current_thread():
            builder.join()
        self.forget()


def _type(info: Info, way: str) -> str:
    """Return a description of the source of a direction's candidates."""
    if way in info.projected:
        return "projected vectors"
    return "binary codes in IVF cells" if way in info.probe_radius else "binary codes"


def file_of(folder: Path, name: str) -> Path:
    """Return the path of a partition's index file."""
    return folder / FOLDER / f"{quote(name, safe='')}.index"


def stray(folder: Path, names: Iterable[str]) -> list[Path]:
    """Return the index files of partitions that no longer exist."""
    mine = {file_of(folder, name) for name in names}
    return [path for path in (folder / FOLDER).glob("*.index") if path not in mine]


class _Source:
    """Reads all rows of a partition from the database, in blocks."""

    def __init__(self, database: sqlite3.Connection, name: str, settings: Settings, kind: str) -> None:
        self._database, self._name, self._settings, self._kind = database, name, settings, kind
        first = next(blocks(database, name, 0, settings, size=64), None)
        self.offsets = first is not None and first[2] is not None

    def blocks(self) -> Iterator[Block]:
        return blocks(self._database, self._name, 0, self._settings, kind=self._kind)

    def centre(self) -> NDArray[np.float32]:
        """Return the mean (dim,) of rows sampled at eight places of the partition."""
        sample = _sample(self._database, self._name, self._settings, 8, 2048)
        return np.asarray(np.mean(sample, axis=0, dtype=np.float64), dtype=np.float32)

    def centroids(self, cells: int, stop: Callable[[], bool]) -> NDArray[np.float32] | None:
        """Return centroids (cells, dim) of rows sampled all over the partition; None if there are too few rows."""
        if not cells:
            return None
        sample = _sample(self._database, self._name, self._settings, cells, ROWS_PER_CENTROID, stop)
        return train(sample, cells, stop) if len(sample) >= 4 * cells else None


def _sample(
    database: sqlite3.Connection,
    name: str,
    settings: Settings,
    parts: int,
    each: int,
    stop: Callable[[], bool] = lambda: False,
) -> NDArray[np.float32]:
    """Return a sample of rows (n, dim): about ``each`` rows at each of ``parts`` places, without damaged rows.

    Sampling ends early if ``stop`` returns True.
    """
    first, last = database.execute(
        "SELECT coalesce(min(item), 0), coalesce(max(item), 0) FROM views WHERE +partition = ?", (name,)
    ).fetchone()
    rows: list[NDArray[np.float32]] = [np.empty((0, settings.dim), np.float32)]
    done = -1
    for place in np.linspace(first - 1, last, parts, endpoint=False).astype(np.int64).tolist():
        if place < done:  # the previous block already reached beyond this place
            continue
        block = next(blocks(database, name, place, settings, size=each), None)
        if block is None or stop():
            break
        rows.append(block[1])
        done = int(block[0][-1])
    sample: NDArray[np.float32] = np.concatenate(rows)
    return sample[np.isfinite(sample).all(axis=1)]


def blocks(
    database: sqlite3.Connection, name: str, after: int, settings: Settings, size: int = BLOCK, kind: str = "float32"
) -> Iterator[Block]:
    """Yield the prepared rows of items with keys above ``after``, ordered by key, in blocks of about ``size`` rows.

    All rows of an item are in the same block. They are rounded to the precision of the type ``kind``. A missing or
    damaged vector is logged and becomes a row of NaN, which no search returns.
    """
    # The plus keeps SQLite from using an index that would require sorting.
    cursor = database.execute(
        "SELECT v.item, w.vector, w.checksum FROM views v "
        "LEFT JOIN vectors w ON w.partition = v.partition AND w.view = v.view "
        "WHERE v.item > ? AND +v.partition = ? ORDER BY v.item",
        (after, name),
    )
    kept: list[tuple[int, bytes | None, int | None]] = []
    while True:
        batch = cursor.fetchmany(size)
        kept += batch
        if not kept:
            return
        end = len(kept)
        if len(batch) == size:  # the last item may continue in the next batch
            while end and kept[end - 1][0] == kept[-1][0]:
                end -= 1
            if not end:
                continue
        piece, kept = kept[:end], kept[end:]
        keys, rows, offsets = _block(piece, name, settings)
        yield keys, rounded(rows, kind), offsets


def _block(piece: list[tuple[int, bytes | None, int | None]], name: str, settings: Settings) -> Block:
    keys = np.fromiter((row[0] for row in piece), np.int64, len(piece))
    raw, bad = vectors_of([row[1] for row in piece], [row[2] for row in piece], settings.dim)
    if len(bad):
        log.warning("%d vectors of %s are damaged and left out: run `commonplace doctor`", len(bad), name)
    rows, offsets = settings.prepare(name, raw)
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    if len(bad):
        rows[bad] = np.nan
    return keys, rows, None if offsets is None else np.asarray(offsets, dtype=np.float32)


def _now(database: sqlite3.Connection, settings: Settings) -> tuple[str, int]:
    check_space(database, settings)
    return now(database)


def _state(settings: Settings) -> tuple[str, int]:
    """Return lineage and generation as ``_now()`` does; a snapshot is asked once."""

    def read() -> tuple[str, int]:
        with settings.database.snapshot() as database:
            check_space(database, settings)
            return generation_of(settings.database)

    return settings.database.once(_state, read)


def generation_of(database: Database) -> tuple[str, int]:
    """Return lineage and generation as ``now()`` does; a snapshot is asked once."""

    def read() -> tuple[str, int]:
        with database.snapshot() as connection:
            return now(connection)

    return database.once(generation_of, read)


def now(database: sqlite3.Connection) -> tuple[str, int]:
    """Return lineage and generation: the id of the collection's history, and the number of changes in it."""
    values = dict(database.execute("SELECT name, value FROM meta WHERE name IN ('lineage', 'generation')").fetchall())
    try:
        return str(values["lineage"]), int(values["generation"])
    except (KeyError, ValueError):
        raise sqlite3.DatabaseError("its settings are malformed") from None


def trimmed_to(database: sqlite3.Connection, damaged: int = sys.maxsize) -> int:
    """Return the last deleted line of the removal log. An index that is further behind must be rebuilt.

    Returns ``damaged`` if that number is damaged, so that every index is rebuilt.
    """
    trimmed = number(_meta(database, "trimmed") or "0")
    return damaged if trimmed is None else trimmed


def followed_to(database: sqlite3.Connection) -> int:
    """Return the number of the last line of the removal log, whether it was deleted or not."""
    return max(_number(database, "SELECT coalesce(max(key), 0) FROM removed"), trimmed_to(database, damaged=0))


def removed_since(database: sqlite3.Connection, line: int) -> NDArray[np.int64]:
    """Return the lines of the removal log after ``line`` as (n, 2): line number and item key, without damaged lines."""
    rows = database.execute(
        "SELECT key, item FROM removed WHERE key > ? AND typeof(item) = 'integer' ORDER BY key", (line,)
    )
    return np.array(rows.fetchall(), dtype=np.int64).reshape(-1, 2)


def check_space(database: sqlite3.Connection, settings: Settings) -> None:
    """Raise ModelMismatch if the collection was migrated to another model since it was opened."""
    if settings.fingerprint is not None and _meta(database, "fingerprint") != settings.fingerprint:
        raise ModelMismatch(
            _("the collection at {folder} was migrated to the model {model} since it was opened: open it again").format(
                folder=settings.folder, model=_meta(database, "space")
            )
        )


def _meta(database: sqlite3.Connection, name: str) -> str | None:
    row = database.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def _kind(database: sqlite3.Connection, name: str) -> str:
    compression = compression_of(database).get(name)
    return "float32" if compression is None else compression.kind


def _number(database: sqlite3.Connection, question: str, *values: Any) -> int:
    return int(database.execute(question, values).fetchone()[0])
