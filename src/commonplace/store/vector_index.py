"""Keeps the index of one partition abreast of the database, and its snapshot on disk worth mapping."""

from __future__ import annotations

import logging
import os
import socket
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from commonplace.errors import CollectionError, ModelMismatch
from commonplace.store.base import Prepare, Questions, Sample
from commonplace.store.codes import EACH, lists_for, train
from commonplace.store.compression import DROPPING, STORED, Compression, compression_of, measured
from commonplace.store.database import Database
from commonplace.store.index_file import BLOCK, KINDS, Block, Damaged, IndexFile, Info, identity, rounded, write
from commonplace.store.index_view import CODES_FROM, IndexView, Measure, RankedKeys, Selection
from commonplace.store.schema import number
from commonplace.store.vectors import vectors_of

__all__ = [
    "Settings",
    "VectorIndex",
    "blocks",
    "check_space",
    "followed_to",
    "lock",
    "maintenance_lock",
    "now",
    "removed_since",
    "trimmed_to",
]

log = logging.getLogger("commonplace")

Found = TypeVar("Found")

FOLDER = "index"  # below the collection's folder
MOST_IN_MEMORY = 65_536
"""Rows that are held in memory beside the snapshot; what is more is streamed from the database at every search."""
LEAST_WORTH = 8_192
"""Changes since the snapshot that are not worth another one."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What every partition of a store shares; see :class:`commonplace.store.LocalStore`."""

    database: Database
    folder: Path
    dim: int
    prepare: Prepare
    state: str
    questions: Questions
    target: float
    fingerprint: str | None


@dataclass(slots=True)
class _Place:
    """How far an index has followed the collection's history."""

    lineage: str
    generation: int
    last: int  # highest item key
    removed: int  # last line of the removal log


class VectorIndex:
    """The index of one partition: a mapped snapshot, what was added since in memory, what was removed since by key.

    Memory: at most ``MOST_IN_MEMORY`` rows; keys, codes and rows of the snapshot are mapped. Safe for threads.
    """

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self._settings = settings
        self.path = file_of(settings.folder, name)
        self._lock = threading.Lock()
        self._index: IndexView | None = None
        self._place = _Place("", -1, 0, 0)
        self._memory = _Memory(settings.dim)
        self._kind = "float32"  # what the rows are kept as, of all that this holds
        self._more = False  # rows stand in the database that are too many for memory
        self._builder: threading.Thread | None = None
        self._stopping = False
        self._refused: tuple[int, int, int] | None = None  # a file that cannot be used: not to be tried again
        self.problem = ""
        """Why there is no snapshot although there was a file, in words."""

    # --- searching -------------------------------------------------------------------------------------------

    def search(
        self, query: NDArray[np.float32], k: int, allowed: Selection | None, *, offset: bool = False
    ) -> RankedKeys:
        """Return the best ``k`` items; see :meth:`IndexView.search`."""
        return self._look(lambda index: index.search(query, k, allowed, offset=offset))

    def score(
        self, query: NDArray[np.float32], keys: NDArray[np.int64], *, offset: bool = False
    ) -> NDArray[np.float64]:
        """Return the scores (n,) of these items; see :meth:`IndexView.score`."""
        return self._look(lambda index: index.score(query, keys, offset=offset))

    def gather(self, keys: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return a row (n, dim) of each of these items; see :meth:`IndexView.gather`."""
        return self._look(lambda index: index.gather(keys, self._settings.dim))

    def sample(self, n: int) -> Sample:
        """Return evenly spaced rows; see :meth:`IndexView.sample`."""
        return self._look(lambda index: index.sample(n))

    def _look(self, look: Callable[[IndexView], Found]) -> Found:
        """Return what a look at the index finds; a damaged snapshot is looked at twice and then no more."""
        for last in (False, True):
            index = self.index()
            try:
                return look(index)
            except Damaged as problem:
                # Rows that were erased while we looked are no damage: the second look knows that they are gone.
                if last:
                    self._refuse(str(problem))
                else:
                    self.forget()
        return look(self.index())

    def index(self) -> IndexView:
        """Return the index as the collection stands now."""
        index = self._current()
        if self._due(index):
            self._build_beside()
        return index

    def _current(self) -> IndexView:
        with self._lock, self._settings.database.snapshot() as database:
            now = _now(database, self._settings)
            known = self._index is not None and now == (self._place.lineage, self._place.generation)
            if not known or (self._more and identity(self.path) not in (None, self._refused)):
                try:
                    self._follow(database, *now)
                except BaseException:
                    self._index = None  # half a step is none
                    raise
            assert self._index is not None
            return self._index

    def _follow(self, database: sqlite3.Connection, lineage: str, generation: int) -> None:
        """Bring the index up to what this reading transaction sees."""
        base = None if self._index is None else self._index.base
        trimmed = trimmed_to(database)
        kind = _kind(database, self.name)
        known = self._index is not None and (lineage, kind) == (self._place.lineage, self._kind)
        known = known and self._place.removed >= trimmed
        self._kind = kind
        behind = not known or self._more or len(self._memory) > LEAST_WORTH
        found = identity(self.path) if behind else None
        if not known or (found is not None and found != self._refused and (base is None or found != base.identity)):
            base = self._map(lineage, generation, trimmed)
            if base is not None or not known:
                self._memory = _Memory(self._settings.dim)
                start = base.info if base is not None else None
                self._place = _Place(lineage, -1, start.last if start else 0, start.removed if start else 0)
                gone = np.empty(0, np.int64)
            else:
                base, gone = (self._index.base, self._index.gone) if self._index else (None, np.empty(0, np.int64))
        else:
            gone = self._index.gone if self._index is not None else np.empty(0, np.int64)
        place = self._place
        if base is None and not place.last:  # an index that begins with nothing has nothing to lose
            place.removed = followed_to(database)
        lines = removed_since(database, place.removed)
        if len(lines):
            place.removed = int(lines[-1, 0])
            gone = np.union1d(gone, lines[:, 1])
        self._more = False
        for block in blocks(database, self.name, place.last, self._settings, kind=kind):
            if len(self._memory) + len(block[0]) > MOST_IN_MEMORY:
                self._more = True
                break
            self._memory.add(block)
            place.last = int(block[0][-1])
        place.lineage, place.generation = lineage, generation
        keys, rows, offsets = self._memory.block()
        rest = (lambda last=place.last: self._rest(last)) if self._more else None
        several = self._memory.several
        self._index = IndexView(base, keys, rows, offsets, gone=gone, several=several, rest=rest)

    def _rest(self, last: int) -> Iterator[Block]:
        with self._settings.database.snapshot() as database:
            yield from blocks(database, self.name, last, self._settings, kind=self._kind)

    def _map(self, lineage: str, generation: int, trimmed: int) -> IndexFile | None:
        """Return the snapshot on disk where it is whole and of this collection, ranking state and time."""
        found = identity(self.path)
        if found is None:
            self.problem = ""
        if found is None or found == self._refused:
            return None
        try:
            base = IndexFile(self.path)
            info = base.info
            if (info.partition, info.dim) != (self.name, self._settings.dim):
                raise Damaged("it is another partition's")
            if (info.state, info.kind) != (self._settings.state, self._kind):
                raise Damaged("it was made for another ranking state")
            if info.lineage != lineage or info.generation > generation or info.removed < trimmed:
                raise Damaged("it stands for another history of the collection")
            self.problem = ""
            return base
        except (Damaged, OSError, ValueError) as problem:
            self._refused, self.problem = found, str(problem)
            return None

    def _refuse(self, why: str) -> None:
        """Use the present file no more."""
        with self._lock:
            log.warning("the snapshot %s is damaged (%s): it is not used and will be made again", self.path, why)
            self._refused, self.problem, self._index = identity(self.path), why, None

    # --- the snapshot ----------------------------------------------------------------------------------------

    def _due(self, index: IndexView) -> bool:
        """Return whether so much has changed since the snapshot that another is worth its making."""
        behind = len(index.keys) + len(index.dead)
        size = 0 if index.base is None else len(index.base)
        return index.rest is not None or behind > max(LEAST_WORTH, min(size // 8, MOST_IN_MEMORY // 2))

    def _build_beside(self) -> None:
        """Start to write a snapshot in a thread, where this process may and none does."""
        with self._lock:
            busy = self._builder is not None and self._builder.is_alive()
            if busy or self._stopping or not self._settings.database.writable:
                return
            self._builder = threading.Thread(target=self._build_quietly, name=f"snapshot {self.name}", daemon=True)
            self._builder.start()

    def _build_quietly(self) -> None:
        try:
            self.build()
        except Exception as problem:
            if not self._stopping:
                log.warning("the snapshot %s could not be written (%s): searches go on without it", self.path, problem)

    def build(self) -> bool:
        """Write a snapshot of the partition as it stands; False where another writer is at it, or this one closes."""
        settings = self._settings
        with lock(self.path) as mine:
            if not mine:
                return False
            for left in self.path.parent.glob(f"{self.path.name}.*.part"):  # by a process that was killed
                left.unlink(missing_ok=True)
            with settings.database.snapshot() as database:
                lineage, generation = _now(database, settings)
                rows = _one(database, "SELECT count(*) FROM views WHERE partition = ?", self.name)
                kind = _kind(database, self.name)
                source = _Source(database, self.name, settings, kind)
                info = Info(
                    self.name,
                    settings.state,
                    lineage,
                    generation,
                    last=_one(database, "SELECT coalesce(max(key), 0) FROM items"),
                    removed=followed_to(database),
                    rows=rows,
                    dim=settings.dim,
                    offsets=source.offsets,
                    kind=kind,
                )
                centre = source.centre() if rows >= CODES_FROM else None
                centroids = source.centroids(lists_for(rows), lambda: self._stopping) if centre is not None else None
                measure = Measure(self._ask, settings.target, lambda: self._stopping)
                done = write(self.path, info, source.blocks(), centre, measure, lambda: self._stopping, centroids)
        if done:
            self.forget()
        return done

    def _ask(self, offset: bool) -> NDArray[np.float32] | None:
        return self._settings.questions(self.name, offset)

    def flush(self, *, always: bool = False) -> None:
        """Bring the file in line with the database: erase what was removed, write it anew where that is worth it.

        ``always`` writes it anew unless the partition is too small for one.
        """
        builder = self._builder
        if builder is not None:
            builder.join()
        index = self._current()
        if self._due(index) or (always and len(index) > LEAST_WORTH):
            self._build_quietly()  # what was committed is safe in any case
        elif index.base is not None and len(index.dead):
            try:
                with lock(self.path) as mine:
                    if mine:
                        index.base.erase(index.dead)
            except OSError as problem:
                log.warning("removed rows could not be erased from %s (%s)", self.path, problem.strerror)
        elif self.problem:
            with suppress(OSError), lock(self.path) as mine:
                if mine and identity(self.path) == self._refused:
                    self.path.unlink(missing_ok=True)

    def measure(self, *, halved: bool = False) -> dict[str, Compression]:
        """Return the recall of each kind of row, the smallest first; empty where it cannot be measured, and of rows as
        they are alone where others would not pay.

        ``halved``: of rows made of vectors that are stored as float16, against those of the vectors as they are. Where
        the model brings no questions, those are an even sample of the rows themselves.
        """
        asked = {offset: self._ask(offset) for offset in (False, True)}
        questions = {offset: vectors for offset, vectors in asked.items() if vectors is not None and len(vectors)}
        settings = self._settings
        half = replace(settings, prepare=lambda name, raw: settings.prepare(name, rounded(raw, "float16")))
        with settings.database.snapshot() as database:
            few = _one(database, "SELECT count(*) FROM views WHERE partition = ?", self.name) < CODES_FROM
            if halved and not questions:
                questions = {False: _sample(database, self.name, settings, 8, 2048)}
            exact = blocks(database, self.name, 0, settings)
            stored = blocks(database, self.name, 0, half) if halved else None
            return measured(exact, questions, ["float32"] if few else KINDS, stored) if halved or not few else {}

    def followed(self) -> int | None:
        """Return the line of the removal log up to which the snapshot on disk has followed it, None without one."""
        base = self._current().base
        return None if base is None else base.info.removed

    def forget(self) -> None:
        """Let go of the index: the next search maps the file again."""
        with self._lock:
            self._index = None

    def status(self) -> dict[str, Any]:
        """Return type, rows, recall, bytes on disk and in memory, and what is not in the snapshot yet."""
        index = self._current()
        base = index.base
        ways = {} if base is None else {way: depth for way, depth in base.info.depths.items() if depth}
        coded = bool(ways)
        kinds = [] if base is None else sorted({_type(base.info, way) for way in ways})
        found: dict[str, Any] = {
            "type": f"{' and '.join(kinds)}, rescored" if coded else "exact",
            "rows": len(index),
            "recall": (base.info.recall if base is not None and base.info.recall else {"same": 1.0, "other": 1.0}),
            "depth": base.info.depths if coded and base is not None else {},
            "bytes": 0 if base is None else base.size,
            "memory_bytes": index.rows.nbytes,
            "snapshot_rows": 0 if base is None else len(base),
            "not_in_snapshot": len(index.keys),
            "removed_since": len(index.dead),
        }
        with self._settings.database.snapshot() as database:
            made = compression_of(database).get(self.name)
            held = compression_of(database, STORED).get(self.name)
            begun = _meta(database, DROPPING) is not None
        if made is not None:
            found["compression"] = {
                "type": made.kind,
                "recall": made.recall,
                "measured_rows": made.rows,
                "rows_since": len(index) - made.rows,
            }
        if held is not None:
            found["stored"] = {"type": held.kind, "recall": held.recall, "measured_rows": held.rows}
            found["stored"] |= {"unfinished": True} if begun else {}
        if self._more:
            found["not_in_memory"] = "more rows are streamed from the database: run `commonplace vacuum`"
        if self.problem:
            found["problem"] = self.problem
        return found

    def close(self) -> None:
        """Stop a thread that writes, and let go of the file."""
        self._stopping = True
        builder = self._builder
        if builder is not None and builder is not threading.current_thread():
            builder.join()
        self.forget()


def _type(info: Info, way: str) -> str:
    """Return in words where a direction's candidates come from."""
    if way in info.short:
        return "short vectors"
    return "binary codes in lists" if way in info.gaps else "binary codes"


def file_of(folder: Path, name: str) -> Path:
    """Return where a partition's snapshot stands."""
    return folder / FOLDER / f"{quote(name, safe='')}.snapshot"


def stray(folder: Path, names: Iterable[str]) -> list[Path]:
    """Return the snapshots of no partition that there is."""
    mine = {file_of(folder, name) for name in names}
    return [path for path in (folder / FOLDER).glob("*.snapshot") if path not in mine]


class _Memory:
    """Rows in memory, growing; what was handed out stays as it was."""

    def __init__(self, dim: int) -> None:
        self._count = 0
        self._keys = np.empty(0, np.int64)
        self._rows = np.empty((0, dim), np.float32)
        self._offsets: NDArray[np.float32] | None = None
        self.several = 1

    def __len__(self) -> int:
        return self._count

    def add(self, block: Block) -> None:
        keys, rows, offsets = block
        end = self._count + len(keys)
        if end > len(self._keys):
            size = min(max(2 * end, 64), max(end, MOST_IN_MEMORY))
            self._keys = _grown(self._keys, size)
            self._rows = _grown(self._rows, size)
            if self._offsets is not None:
                self._offsets = _grown(self._offsets, size)
        if offsets is not None and self._offsets is None:
            self._offsets = np.zeros(len(self._keys), np.float32)
        self._keys[self._count : end] = keys
        self._rows[self._count : end] = rows
        if offsets is not None and self._offsets is not None:
            self._offsets[self._count : end] = offsets
        near = keys if not self._count else np.concatenate([self._keys[max(0, self._count - 64) : self._count], keys])
        self.several = max(self.several, int(np.unique(near, return_counts=True)[1].max()))
        self._count = end

    def block(self) -> Block:
        offsets = None if self._offsets is None else self._offsets[: self._count]
        return self._keys[: self._count], self._rows[: self._count], offsets


def _grown(values: NDArray[Any], size: int) -> NDArray[Any]:
    found = np.empty((size, *values.shape[1:]), values.dtype)
    found[: len(values)] = values
    return found


class _Source:
    """All rows of a partition from the database, in blocks of a known total."""

    def __init__(self, database: sqlite3.Connection, name: str, settings: Settings, kind: str) -> None:
        self._database, self._name, self._settings, self._kind = database, name, settings, kind
        first = next(blocks(database, name, 0, settings, size=64), None)
        self.offsets = first is not None and first[2] is not None

    def blocks(self) -> Iterator[Block]:
        return blocks(self._database, self._name, 0, self._settings, kind=self._kind)

    def centre(self) -> NDArray[np.float32]:
        """Return the mean (dim,) of rows from eight places of the partition."""
        sample = _sample(self._database, self._name, self._settings, 8, 2048)
        return np.asarray(np.mean(sample, axis=0, dtype=np.float64), dtype=np.float32)

    def centroids(self, lists: int, stop: Callable[[], bool]) -> NDArray[np.float32] | None:
        """Return centroids (lists, dim) of rows from all over the partition, or None where there are too few."""
        if not lists:
            return None
        sample = _sample(self._database, self._name, self._settings, lists, EACH, stop)
        return train(sample, lists, stop) if len(sample) >= 4 * lists else None


def _sample(
    database: sqlite3.Connection,
    name: str,
    settings: Settings,
    parts: int,
    each: int,
    stop: Callable[[], bool] = lambda: False,
) -> NDArray[np.float32]:
    """Return about ``each`` rows (n, dim) from each of so many places of a partition, without damaged ones; of no more
    places than begun where ``stop`` says so."""
    first, last = database.execute(
        "SELECT coalesce(min(item), 0), coalesce(max(item), 0) FROM views WHERE +partition = ?", (name,)
    ).fetchone()
    rows: list[NDArray[np.float32]] = [np.empty((0, settings.dim), np.float32)]
    done = -1
    for place in np.linspace(first - 1, last, parts, endpoint=False).astype(np.int64).tolist():
        if place < done:  # a place among other partitions' items led further
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
    """Yield the prepared rows of items with keys over ``after``, by key, whole items together, about ``size`` at once,
    as they are after they were kept as ``kind``.

    A vector that is missing or is not what was stored becomes a row of NaN, which no search finds, and is logged.
    """
    # The plus keeps SQLite from an index by which it would have to sort.
    cursor = database.execute(
        "SELECT v.item, w.vector, w.checksum FROM views v "
        "LEFT JOIN vectors w ON w.partition = v.partition AND w.view = v.view "
        "WHERE v.item > ? AND +v.partition = ? ORDER BY v.item",
        (after, name),
    )
    kept: list[tuple[int, bytes | None, int | None]] = []
    while True:
        found = cursor.fetchmany(size)
        kept += found
        if not kept:
            return
        end = len(kept)
        if len(found) == size:  # the last item may go on in the next piece
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


def now(database: sqlite3.Connection) -> tuple[str, int]:
    """Return lineage and generation: which history of the collection this is, and how many changes it has seen."""
    found = dict(database.execute("SELECT name, value FROM meta WHERE name IN ('lineage', 'generation')").fetchall())
    try:
        return str(found["lineage"]), int(found["generation"])
    except (KeyError, ValueError):
        raise sqlite3.DatabaseError("its notes are malformed") from None


def trimmed_to(database: sqlite3.Connection, damaged: int = sys.maxsize) -> int:
    """Return the last line that was cut off the removal log: who has not followed so far begins anew. Where the note
    is ``damaged`` that is everybody."""
    found = number(_meta(database, "trimmed") or "0")
    return damaged if found is None else found


def followed_to(database: sqlite3.Connection) -> int:
    """Return the last line that the removal log has had, cut off or not."""
    return max(_one(database, "SELECT coalesce(max(key), 0) FROM removed"), trimmed_to(database, damaged=0))


def removed_since(database: sqlite3.Connection, line: int) -> NDArray[np.int64]:
    """Return the lines (n, 2) of the removal log after ``line`` and the items that they name, without damaged ones."""
    found = database.execute(
        "SELECT key, item FROM removed WHERE key > ? AND typeof(item) = 'integer' ORDER BY key", (line,)
    )
    return np.array(found.fetchall(), dtype=np.int64).reshape(-1, 2)


def check_space(database: sqlite3.Connection, settings: Settings) -> None:
    """Raise ModelMismatch where the collection was migrated to another model since it was opened."""
    if settings.fingerprint is not None and _meta(database, "fingerprint") != settings.fingerprint:
        raise ModelMismatch(
            f"the collection at {settings.folder} was migrated to the model {_meta(database, 'space')} since it was "
            "opened: open it again"
        )


def _meta(database: sqlite3.Connection, name: str) -> str | None:
    row = database.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def _kind(database: sqlite3.Connection, name: str) -> str:
    made = compression_of(database).get(name)
    return "float32" if made is None else made.kind


def _one(database: sqlite3.Connection, question: str, *values: Any) -> int:
    return int(database.execute(question, values).fetchone()[0])


@contextmanager
def lock(path: Path) -> Iterator[bool]:
    """Hold the right to do what ``path`` stands for; yields False where another process or thread has it.

    Raises OSError where files cannot be locked.
    """
    import fcntl

    path.parent.mkdir(exist_ok=True)
    handle = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        yield True
    finally:
        os.close(handle)


@contextmanager
def maintenance_lock(folder: Path) -> Iterator[None]:
    """Keep every other process from what changes a whole collection in several transactions, or its history: another
    model, a restore, dropping raw vectors, a repair, `compact`. Raises CollectionError where one is at it."""
    path = folder / "upkeep"
    with ExitStack() as stack:
        try:
            mine = stack.enter_context(lock(path))
        except OSError as problem:
            raise CollectionError(
                f"{folder} cannot be locked ({problem.strerror}): check its permissions, and that it is on a disk of "
                "this machine"
            ) from problem
        if not mine:
            raise CollectionError(
                f"{holder(path)} is migrating, restoring, compacting, compressing or repairing {folder}: wait until it "
                "has finished"
            )
        yield


def holder(path: Path) -> str:
    """Return in words who holds, or held last, the lock of ``path``."""
    with suppress(OSError):
        return path.with_suffix(".lock").read_text(errors="replace")[:200] or "another process"
    return "another process"
