"""Watching: folders and a collection that stay in step."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

from commonplace._documents import refuse_for_shared, update
from commonplace._session import Session
from commonplace.errors import CommonplaceError, ModelMismatch, QueryError
from commonplace.i18n import _
from commonplace.paths import display_path

if TYPE_CHECKING:  # a search needs no readers
    from commonplace.indexer import Report
    from commonplace.ingest.watch import Changes

__all__ = ["WatchState", "Watcher"]

EVERY = 600.0
"""Seconds after which everything is looked at, even if no change was reported."""
_MARGIN = 2.0  # seconds; file systems keep times to two seconds, and clocks of other machines differ


@dataclass(frozen=True, slots=True)
class WatchState:
    """What a watcher knows of its folders.

    ``is_in_step``: all changes that were reported are in the collection. ``waiting``: how many changed paths are not.
    ``documents``: number of documents of the collection. ``report``: what the last look changed. ``problems``: places
    with the reason why they are not in step, such as a folder that is gone or a mass deletion.
    """

    folders: tuple[str, ...]
    is_in_step: bool = False
    waiting: int = 0
    documents: int = 0
    report: Report | None = None
    problems: tuple[tuple[str, str], ...] = ()

    def dict(self) -> dict[str, Any]:
        """Return the state as plain JSON values."""
        return {
            "folders": [*self.folders],
            "in_step": self.is_in_step,
            "waiting": self.waiting,
            "problems": [{"path": path, "reason": reason} for path, reason in self.problems],
        }


class Watcher:
    """Keeps folders and a collection in step: made by ``commonplace.Collection.watch()``.

    As a context manager it works in a thread of its own, until the block ends. Without, each ``step()`` does what is
    due. Files are read when they have been at rest for half a second. A search sees the old document until the new one
    is whole.
    """

    def __init__(
        self, session: Session, folders: Sequence[str | os.PathLike[str]], options: Mapping[str, Any], every: float
    ) -> None:
        from commonplace.indexer import own_paths
        from commonplace.ingest.watch import FolderWatch

        if not folders:
            raise QueryError(_("nothing to watch: name a folder"))
        if not every > 0:
            raise QueryError(_("every is {every}: give seconds above 0").format(every=every))
        refuse_for_shared(session.parts)
        self._session = session
        self._folders = [_checked(session, folder) for folder in folders]
        self._options = {"progress": False, **options, "delete": True}
        self._changed = threading.Condition()
        self._is_working, self._is_closing = False, False
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._began = 0.0  # when the last step began
        self._problems: dict[str, str] = {}
        self._state = WatchState(tuple(self._folders))
        excluded = [os.path.realpath(path) for path in own_paths(session.parts.store, session.folder)]
        self._watch = FolderWatch(self._folders, excluded, every, self._update_state)

    @property
    def state(self) -> WatchState:
        """What the watcher knows now."""
        return self._state

    def states(self) -> Iterator[WatchState]:
        """Yield the state whenever it changes, until the watcher is closed. Raises the error that ended its work."""
        before: WatchState | None = None
        while True:
            with self._changed:
                while self._state is before and self._error is None and not self._is_closing:
                    self._changed.wait()
                state = self._state
            if state is not before:
                yield state
            if self._error is not None:
                raise self._error
            if self._is_closing:
                return
            before = state

    def look_at_everything(self) -> None:
        """Compare the folders with the collection at the next step, whether or not changes were reported."""
        self._watch.look_at_everything()

    def seconds(self) -> float:
        """Return the seconds until something is due, if nothing more changes."""
        return self._watch.seconds()

    def step(self, stopped: Callable[[], bool] = lambda: False) -> bool:
        """Bring what is due into step; return whether anything was. ``stopped()`` ends it early, between two files.

        A problem is in the state, and is tried again. Raises ModelMismatch where another process has changed the model
        of the collection.
        """
        self._watch.start()
        changes = self._watch.take()
        if changes is None:
            return False
        self._is_working = True
        try:
            self._update_state()
            self._look(changes, stopped)
        finally:
            self._is_working = False
            self._update_state()
        return True

    def _look(self, changes: Changes, stopped: Callable[[], bool]) -> None:
        from commonplace.indexer import Scope

        since, self._began = self._began - _MARGIN, time.time()
        is_whole = changes.paths is None
        scope = Scope(changes.paths, None if is_whole else since, lambda: self._is_closing or stopped())
        try:
            report, is_finished = update(self._session, self._folders, self._options, scope=scope)
        except ModelMismatch:
            raise
        except CommonplaceError as problem:  # such as a full disk, or another process that writes for long
            self._watch.failed(changes)
            self._problems[self._session.parts.name] = str(problem)
            return
        self._watch.done(changes, time.time() - self._began)
        if not is_finished:
            self._watch.look_at_everything()
        self._problems.pop(self._session.parts.name, None)
        self._problems = {**({} if is_whole else self._problems), **dict(report.refused)}
        counts = self._session.parts.store.counts("documents")["documents"]
        self._state = replace(self._state, report=report, documents=sum(counts.values()))

    def close(self) -> None:
        """Stop after the file that is being read, and stop watching."""
        self._is_closing = True
        with self._changed:
            self._changed.notify_all()
        self._watch.close()
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> Watcher:
        self._thread = threading.Thread(target=self._run, name="commonplace-watcher", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        try:
            while not self._is_closing:
                if not self.step():
                    with self._changed:
                        if not self._is_closing:
                            self._changed.wait(max(0.01, min(self.seconds(), 60.0)))
        except BaseException as error:
            self._error = error
        with self._changed:
            self._changed.notify_all()

    def _update_state(self) -> None:
        """Renew what follows from the watch and the last step, and tell those who wait for a change."""
        with self._changed:
            waiting, unheard = len(self._watch), self._watch.problem
            problems = dict(self._problems)
            if unheard is not None:
                problems[", ".join(self._folders)] = unheard
            is_busy = waiting > 0 or self._is_working or self._state.report is None
            is_in_step = not is_busy and not self._problems
            self._state = replace(self._state, is_in_step=is_in_step, waiting=waiting, problems=tuple(problems.items()))
            self._changed.notify_all()


def _checked(session: Session, folder: str | os.PathLike[str]) -> str:
    """Return the absolute path of a folder to watch. One that is gone now may come back, if it had documents."""
    from commonplace.ingest import is_url

    if isinstance(folder, str) and is_url(folder):
        raise QueryError(_("{folder} is a URL: only folders of this machine can be watched").format(folder=folder))
    path = display_path(folder)
    if not os.path.isdir(path) and next(iter(session.parts.store.documents(below=path)), None) is None:
        raise QueryError(_("{folder} is no folder: name one that exists").format(folder=path))
    return path
