"""Jobs: uploads that wait to be read, in a queue that survives a crash.

What was acknowledged is on the disk: the file, and a row that says what is to be done with it. A restarted server goes
on where the last one stopped. A job is done in small steps, so that its progress is seen and it can be cancelled.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal

from commonplace.collection import Collection
from commonplace.errors import CommonplaceError
from commonplace.i18n import _
from commonplace.records import Record, label
from commonplace.server.problems import Conflict, NotFound
from commonplace.watching import WatchState

__all__ = ["Job", "JobQueue", "Upload", "UploadState"]

JobState = Literal["waiting", "running", "done", "cancelled"]
UploadState = Literal["waiting", "ok", "partial", "failed", "unchanged", "cancelled"]
STEP_FILES, STEP_BYTES = 16, 32 * 1024**2  # what is read and committed before progress is noted
KEPT_JOBS = 1_000  # finished jobs that are remembered
BLOCK = 1024**2
POLL = 2.0  # seconds between two looks for jobs of other processes
STRAY = 3600.0  # seconds after which a content that nothing needs is removed
log = logging.getLogger("commonplace.server")

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, created REAL NOT NULL, finished REAL, state TEXT NOT NULL, key TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS watched (id INTEGER PRIMARY KEY CHECK (id = 1), state TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS uploads (
    job TEXT NOT NULL REFERENCES jobs(id) ON DELETE CASCADE, number INTEGER NOT NULL, name TEXT NOT NULL,
    document TEXT NOT NULL, record TEXT NOT NULL, state TEXT NOT NULL, reason TEXT, bytes INTEGER NOT NULL,
    PRIMARY KEY (job, number)
) STRICT;
"""
SELECT = """
SELECT *, (SELECT count(*) FROM uploads WHERE job = jobs.id) AS total,
    (SELECT count(*) FROM uploads WHERE job = jobs.id AND state != 'waiting') AS done
FROM jobs
"""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file or record to add: its name, the id that its document gets, and what ``Record`` takes besides the bytes."""

    name: str
    document: str
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Job:
    """A job and its uploads, of which ``total`` are there and ``done`` finished. Times are seconds since 1970."""

    id: str
    created: float
    finished: float | None
    state: JobState
    key: str
    total: int
    done: int
    uploads: tuple[dict[str, Any], ...] = ()


class JobQueue:
    """The jobs of one collection, below its folder. One thread does them in order; safe for several threads.

    Between them it keeps the folders ``watched`` in step with the collection. A job comes first.
    Several processes may serve the same collection: the one that holds the lock works, and the others wait for it.
    """

    def __init__(self, collection: Collection, watched: Sequence[str] = ()) -> None:
        self._collection = collection
        self._watcher = collection.watch(*watched) if watched else None
        self._noted: WatchState | None = None  # for the processes that do not work
        self._is_working = False
        self._has_new_job = False
        self._folder = collection.folder / "uploads"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._changed = threading.Condition()
        self._ending = False
        with self._database() as database:
            database.executescript(SCHEMA)
        self._thread = threading.Thread(target=self._work, name="commonplace-jobs", daemon=True)
        self._thread.start()

    @property
    def watch_state(self) -> WatchState | None:
        """What is known of the watched folders, by the process that works; None if there are none."""
        if self._watcher is None or self._is_working:
            return None if self._watcher is None else self._watcher.state
        with self._database() as database:
            row = database.execute("SELECT state FROM watched").fetchone()
        if row is None:
            return self._watcher.state
        is_in_step, waiting, problems = json.loads(row["state"])
        return replace(
            self._watcher.state,
            is_in_step=is_in_step,
            waiting=waiting,
            problems=tuple((path, reason) for path, reason in problems),
        )

    def serves(self, collection: Collection) -> bool:
        """Return whether these are the jobs of this open collection."""
        return self._collection is collection

    def submit(self, uploads: Sequence[tuple[Upload, BinaryIO | None]], key: str) -> Job:
        """Store uploads with their contents, and return the job that adds them. It is on the disk afterwards."""
        job = uuid.uuid4().hex
        rows = []
        for number, (upload, content) in enumerate(uploads):
            size = 0 if content is None else self._store(job, number, content)
            values = json.dumps({**upload.fields, "data": content is not None})
            rows.append((job, number, upload.name, upload.document, values, "waiting", size))
        self._sync()
        with self._database() as database:
            database.execute("INSERT INTO jobs VALUES (?, ?, NULL, 'waiting', ?)", (job, time.time(), key))
            database.executemany(
                "INSERT INTO uploads (job, number, name, document, record, state, bytes) VALUES (?, ?, ?, ?, ?, ?, ?)",
                rows,
            )
        self._has_new_job = True
        self._notify()
        return self.get(job)

    def get(self, job: str) -> Job:
        """Return a job with its uploads. Raises NotFound if there is none."""
        with self._database() as database:
            row = database.execute(f"{SELECT} WHERE id = ?", (job,)).fetchone()
            if row is None:
                raise NotFound(_("there is no job {job!r:.80}").format(job=job))
            uploads = database.execute(
                "SELECT name, document, state, reason, bytes FROM uploads WHERE job = ? ORDER BY number", (job,)
            )
            return Job(**dict(row), uploads=tuple(map(dict, uploads)))

    def jobs(self) -> list[Job]:
        """Return all jobs without their uploads, the newest first."""
        with self._database() as database:
            return [Job(**dict(row)) for row in database.execute(f"{SELECT} ORDER BY created DESC, id")]

    def cancel(self, job: str) -> Job:
        """Cancel what a job has not done yet. Raises NotFound, or Conflict if it is finished."""
        with self._database() as database:
            changed = database.execute(
                "UPDATE jobs SET state = 'cancelled', finished = ? WHERE id = ? AND state IN ('waiting', 'running')",
                (time.time(), job),
            ).rowcount
            database.execute("UPDATE uploads SET state = 'cancelled' WHERE job = ? AND state = 'waiting'", (job,))
        state = self.get(job)
        if not changed:
            raise Conflict(_("the job {job} is finished: nothing is left to cancel").format(job=job))
        self._notify()
        return state

    def watch(self, job: str, seconds: float = 1.0) -> Iterator[Job]:
        """Yield a job whenever it changed, or after so many seconds, until it is finished."""
        before = None
        while True:
            state = self.get(job)
            if state != before:
                yield state
            if state.finished is not None or self._ending:
                return
            before = state
            with self._changed:
                self._changed.wait(seconds)

    def close(self) -> None:
        """Finish the step that runs, and stop. What waits goes on after the next start."""
        self._ending = True
        self._notify()
        self._thread.join()
        if self._watcher is not None:
            self._watcher.close()

    # --- the worker ---------------------------------------------------------------------------------------------

    def _work(self) -> None:
        with open(self._folder / "lock", "wb") as lock:
            while not self._ending:
                with suppress(BlockingIOError):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                with self._changed:
                    self._changed.wait(POLL)
            else:
                return
            if not self._folder.is_dir():
                return  # another process removed the collection
            self._is_working = True
            with self._database() as database:  # what a process left that ended in the middle of a job
                database.execute("UPDATE jobs SET state = 'waiting' WHERE state = 'running'")
            self._remove_stray_files()
            self._do_jobs()

    def _do_jobs(self) -> None:
        while not self._ending and self._folder.is_dir():  # another process may remove the collection
            wait = POLL
            try:
                self._has_new_job = False
                job = self._next_job()
                if job is not None:
                    self._do(job)
                    continue
                if self._watcher is not None:
                    self._note(self._watcher.state)
                    if self._watcher.step(lambda: self._ending or self._has_new_job):
                        continue
                    wait = min(POLL, self._watcher.seconds())
            except Exception:  # a bug in one job must not stop the others
                log.exception("a job failed")
            with self._changed:
                if not (self._ending or self._has_new_job):
                    self._changed.wait(wait)  # another process may have put a job there

    def _note(self, state: WatchState) -> None:
        """Keep the state of the watched folders for other processes."""
        if state is self._noted:
            return
        text = json.dumps([state.is_in_step, state.waiting, state.problems])
        with self._database() as database:
            database.execute("INSERT OR REPLACE INTO watched VALUES (1, ?)", (text,))
        self._noted = state

    def _next_job(self) -> str | None:
        """Return the oldest waiting job, which becomes a running one; None if there is none."""
        with self._database() as database:
            database.execute("BEGIN IMMEDIATE")
            row = database.execute("SELECT id FROM jobs WHERE state = 'waiting' ORDER BY created, id").fetchone()
            if row is not None:
                database.execute("UPDATE jobs SET state = 'running' WHERE id = ?", (row["id"],))
            return None if row is None else str(row["id"])

    def _do(self, job: str) -> None:
        while not self._ending:
            step = self._next_step(job)
            if not step:
                break
            self._add(job, step)
            self._notify()
        else:
            with self._database() as database:
                database.execute("UPDATE jobs SET state = 'waiting' WHERE id = ? AND state = 'running'", (job,))
            return
        with self._database() as database:
            database.execute(
                "UPDATE jobs SET state = 'done', finished = ? WHERE id = ? AND state = 'running'", (time.time(), job)
            )
            database.execute(
                "DELETE FROM jobs WHERE finished IS NOT NULL AND id NOT IN "
                "(SELECT id FROM jobs WHERE finished IS NOT NULL ORDER BY finished DESC LIMIT ?)",
                (KEPT_JOBS,),
            )
        self._remove_stray_files()
        self._notify()

    def _next_step(self, job: str) -> list[sqlite3.Row]:
        """Return the next uploads of a job: at most ``STEP_FILES``, and about ``STEP_BYTES``."""
        with self._database() as database:
            rows = database.execute(
                "SELECT * FROM uploads WHERE job = ? AND state = 'waiting' ORDER BY number LIMIT ?", (job, STEP_FILES)
            ).fetchall()
        step: list[sqlite3.Row] = []
        size = 0
        for row in rows:
            size += row["bytes"]
            if step and size > STEP_BYTES:
                break
            step.append(row)
        return step

    def _add(self, job: str, step: Sequence[sqlite3.Row]) -> None:
        """Add uploads to the collection and note what became of each."""
        records: list[Record] = []
        names: dict[int, tuple[str, str]] = {}  # under which a report names the record of an upload
        results: dict[int, tuple[UploadState, str | None]] = {}
        first: dict[tuple[str, int], int] = {}  # records without an id that are the same are one document
        for row in step:
            values = json.loads(row["record"])
            number = first.setdefault((row["record"], row["bytes"]), row["number"])
            if number != row["number"] and number in names:
                names[row["number"]] = names[number]
                continue
            try:
                if values.pop("data"):
                    values["data"] = self._path(job, row["number"]).read_bytes()
                records.append(record := Record(values.pop("text", None), **values))
                names[row["number"]] = label(record, len(records)), record.uri or f"record:{record.id}"
            except OSError as problem:
                results[row["number"]] = (
                    "failed",
                    _("its content is gone ({problem}): send it again").format(problem=problem.strerror),
                )
        before = {row["document"]: self._collection.get(row["document"]) for row in step}
        failure: str | None = None
        failures: dict[str, str] = {}
        try:
            failures = dict(self._collection.add(records, progress=False, workers=1).failed)
        except CommonplaceError as error:
            failure = str(error)
        for row in step:
            if row["number"] in results:
                continue
            document = self._collection.get(row["document"])
            reason = failure or next((failures[name] for name in names[row["number"]] if name in failures), None)
            if reason is not None:
                results[row["number"]] = "failed", reason
            elif document is None or document.status == "failed":
                results[row["number"]] = "failed", document.error if document is not None else None
            elif document == before[row["document"]]:
                results[row["number"]] = "unchanged", None
            else:
                results[row["number"]] = document.status, document.error
        with self._database() as database:
            database.executemany(
                "UPDATE uploads SET state = ?, reason = ? WHERE job = ? AND number = ?",
                [(*result, job, number) for number, result in results.items()],
            )
        for row in step:
            with suppress(FileNotFoundError):
                self._path(job, row["number"]).unlink()

    # --- files --------------------------------------------------------------------------------------------------

    def _store(self, job: str, number: int, content: BinaryIO) -> int:
        size = 0
        with open(self._path(job, number), "xb") as file:
            while block := content.read(BLOCK):
                size += file.write(block)
            file.flush()
            os.fsync(file.fileno())
        return size

    def _path(self, job: str, number: int) -> Path:
        return self._folder / f"{job}-{number}"

    def _sync(self) -> None:
        """Make the names of new files durable, too."""
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _remove_stray_files(self) -> None:
        """Remove contents that no waiting upload needs, and that are too old to belong to a request that runs."""
        with self._database() as database:
            needed = {
                f"{row['job']}-{row['number']}"
                for row in database.execute("SELECT job, number FROM uploads WHERE state = 'waiting'")
            }
        for path in self._folder.iterdir():
            with suppress(FileNotFoundError):
                is_content = not path.name.startswith(("jobs.db", "lock"))
                if is_content and path.name not in needed and path.stat().st_mtime < time.time() - STRAY:
                    path.unlink()

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection; what was done on it is committed at the end, or nothing of it."""
        with closing(sqlite3.connect(self._folder / "jobs.db", timeout=30)) as database:
            database.row_factory = sqlite3.Row
            database.execute("PRAGMA foreign_keys = ON")
            database.execute("PRAGMA journal_mode = WAL")
            with database:
                yield database

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()
