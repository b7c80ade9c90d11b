"""Watches folders: which paths below them may have changed, as the system reports it, and when to look at everything.

No report is relied on alone: reports get lost while a machine sleeps, when too many come at once, and in a folder that
has just been made. So everything is looked at after such moments, some time after each change, and now and then.
"""

from __future__ import annotations

import importlib.util
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

from commonplace.errors import CommonplaceError
from commonplace.i18n import _
from commonplace.ingest.walk import IGNORE_FILES, SKIP_MARKERS, is_vendored
from commonplace.paths import is_inside

__all__ = ["Changes", "FolderWatch"]

QUIET = 0.5  # seconds without a change after which a file is read: a program may still be writing it
LONGEST = 30.0  # seconds after which it is read even so
TICK = 0.5  # seconds between two looks at whether the folders themselves are still there
GAP = 5.0  # seconds between two such looks from which on the machine must have been asleep
CHECK = 5.0  # seconds from a change to a look at everything, at least
SHARE = 20  # the time between two looks at everything is this many times what one takes, at least
MOST = 1_000  # paths that are looked at one by one
RETRY = 10.0  # seconds until the next attempt after a failure
UNHEARD = 60.0  # seconds between two looks at everything where the system reports nothing


class Changes(NamedTuple):
    """The absolute paths at or below which something may have changed; None for everything."""

    paths: frozenset[str] | None


class _End:
    """What ends a round of listening: asked several times a second, from the moment on when reports are received.

    ``missed()`` is called then, and after a time in which it was not asked, because the machine slept.
    """

    def __init__(self, is_over: Callable[[], bool], missed: Callable[[], object]) -> None:
        self._is_over, self._missed = is_over, missed
        self._last_call = 0.0  # by the clock, which goes on while a machine sleeps
        self._looked = 0.0
        self.is_heard = False

    def is_set(self) -> bool:
        """Return whether the round is over."""
        now = time.time()
        if abs(now - self._last_call) > GAP:
            self._missed()
        self._last_call, self.is_heard = now, True
        if abs(now - self._looked) < TICK:
            return False
        self._looked = now
        return self._is_over()


class FolderWatch:
    """Collects what may have changed below folders, in a thread of its own. Safe for several threads.

    ``folders`` are absolute paths. Changes at or below ``excluded`` (real paths) are left out. ``notify()`` is called
    when something new is known. ``every`` is the time in seconds after which everything is looked at in any case.
    """

    def __init__(
        self, folders: Sequence[str], excluded: Iterable[str], every: float, notify: Callable[[], object]
    ) -> None:
        if importlib.util.find_spec("watchfiles") is None:
            raise CommonplaceError(
                _("watching folders needs the extra watch: run `pip install 'commonplace-rag[watch]'`")
            )
        self._folders = list(folders)
        self._excluded = [*excluded]
        self._every, self._notify = every, notify
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._touched: dict[str, tuple[float, float]] = {}  # path: when it was first and last reported
        self._look_at = float("inf")  # when to look at everything; at first, once the system reports changes
        self._duration = 0.0  # of the last look at everything
        self._pause = 0.0  # nothing is taken before this time
        self.problem: str | None = None
        """Why the system does not report changes; None where it does."""
        self._thread = threading.Thread(target=self._listen, name="commonplace-watch", daemon=True)

    def start(self) -> None:
        """Begin to watch, unless it has begun."""
        if self._thread.ident is None:
            self._thread.start()

    def __len__(self) -> int:
        """Return how many changed paths wait; everything counts as one."""
        with self._lock:
            return len(self._touched) + (self._look_at <= time.monotonic())

    def seconds(self) -> float:
        """Return the seconds until ``take()`` may return something, if no more changes come."""
        with self._lock:
            now = time.monotonic()
            moments = [min(last + QUIET, first + LONGEST) for first, last in self._touched.values()]
            return max(0.0, self._pause - now, min([self._look_at, *moments]) - now)

    def take(self) -> Changes | None:
        """Return the changes to look at now, which are then no longer kept; None if there are none."""
        with self._lock:
            now = time.monotonic()
            if now < self._pause:
                return None
            ready = {
                path for path, (first, last) in self._touched.items() if last + QUIET <= now or first + LONGEST <= now
            }
            is_settled = len(ready) == len(self._touched) or self._look_at + LONGEST <= now
            is_whole = (self._look_at <= now and is_settled) or len(ready) > MOST
            if not ready and not is_whole:
                return None
            for path in ready:
                del self._touched[path]
            if is_whole:
                self._look_at = float("inf")
                return Changes(None)
            return Changes(frozenset(ready))

    def done(self, changes: Changes, seconds: float) -> None:
        """Note that changes were looked at, and how long it took."""
        with self._lock:
            now = time.monotonic()
            if changes.paths is None:
                self._duration = seconds
                self._look_at = min(self._look_at, now + max(self._every, SHARE * seconds))
            else:
                self._look_at = min(self._look_at, now + max(CHECK, SHARE * self._duration))

    def failed(self, changes: Changes) -> None:
        """Note that changes could not be looked at: they are returned again after a pause."""
        with self._lock:
            now = time.monotonic()
            self._pause = now + RETRY
            if changes.paths is None:
                self._look_at = now
            for path in changes.paths or ():
                self._touched.setdefault(path, (now, now))

    def look_at_everything(self) -> None:
        """Let ``take()`` return everything next."""
        with self._lock:
            self._look_at = min(self._look_at, time.monotonic())
        self._notify()

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    # --- the thread -----------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        from watchfiles import watch

        while not self._stop.is_set():
            states = self._states()
            present = [folder for folder, state in zip(self._folders, states, strict=True) if state is not None]
            excluded = self._names_of_collection(present)
            end = _End(partial(self._is_over, states), self._start_over)
            wait = TICK
            try:
                while not present and not end.is_set():
                    self._stop.wait(TICK)
                # Without a time limit, because what comes while one ends would be lost.
                changes = watch(
                    *present,
                    watch_filter=None,
                    debounce=400,
                    step=100,
                    stop_event=end,
                    rust_timeout=0,
                    raise_interrupt=False,
                    ignore_permission_denied=True,
                )
                for events in changes if present else ():
                    self._note([path for _change, path in events], present, excluded)
            except Exception as problem:  # the library names some errors only by their text
                if not end.is_heard:
                    reason = " ".join(str(problem).split())[:200]
                    self.problem = _(
                        "the system reports no changes ({reason}): the folders are looked at every {seconds:.0f} s"
                    ).format(reason=reason, seconds=UNHEARD)
                    wait = UNHEARD
            if not self._stop.is_set():
                self.look_at_everything()
                self._stop.wait(wait)

    def _is_over(self, states: list[tuple[int, int] | None]) -> bool:
        return self._stop.is_set() or self._states() != states

    def _start_over(self) -> None:
        """Look at everything, because what came before now was not reported."""
        self.problem = None
        self.look_at_everything()

    def _states(self) -> list[tuple[int, int] | None]:
        """Return what identifies each folder; None for one that is not there."""
        states: list[tuple[int, int] | None] = []
        for folder in self._folders:
            try:
                state = os.stat(folder)
                states.append((state.st_dev, state.st_ino))
            except OSError:
                states.append(None)
        return states

    def _names_of_collection(self, folders: Sequence[str]) -> list[str]:
        """Return the paths of the collection itself, as they are written below the folders."""
        real = {folder: os.path.realpath(folder) for folder in folders}
        below = [
            folder + path[len(real[folder]) :]
            for folder in folders
            for path in self._excluded
            if is_inside(path, real[folder])
        ]
        return [*self._excluded, *below]

    def _note(self, paths: Sequence[str], folders: Sequence[str], excluded: Sequence[str]) -> None:
        """Keep the paths that a walk might look at."""
        now = time.monotonic()
        touched = set()
        for path in paths:
            if any(is_inside(path, place) for place in excluded):
                continue
            for folder in folders:
                real = os.path.realpath(folder)  # which macOS reports
                root = folder if is_inside(path, folder) else real
                if not is_inside(path, root):
                    continue
                parts = os.path.relpath(path, root).split(os.sep)
                if parts == ["."]:
                    continue  # its state tells whether it is still there
                if parts[-1] in IGNORE_FILES or parts[-1] in SKIP_MARKERS:  # these say what is read beside them
                    parts = parts[:-1]
                if not is_vendored(parts):
                    touched.add(os.path.join(folder, *parts))
        if not touched:
            return
        with self._lock:
            for path in touched:
                first, _last = self._touched.get(path, (now, now))
                self._touched[path] = (first, now)
        self._notify()
