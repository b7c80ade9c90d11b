"""The verb ``watch``: folders that stay in step with the collection."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from commonplace.cli.common import open_, place_of, reading_options
from commonplace.display import printable
from commonplace.i18n import _, ngettext

if TYPE_CHECKING:
    from commonplace.collection import Collection
    from commonplace.watching import WatchState

__all__ = ["keep_in_step", "verbs"]


def verbs(verb: Any) -> None:
    """Add the verb to the command."""
    verb(
        "watch",
        _watch,
        _("keep folders and the collection in step until Ctrl+C (needs the extra watch)"),
        "commonplace watch papers/ photos/",
        _options,
    )


def _options(watch: argparse.ArgumentParser) -> None:
    watch.add_argument("paths", metavar="DIR", nargs="+", help=_("a folder"))
    watch.add_argument(
        "--every",
        type=float,
        metavar="SECONDS",
        help=_(
            "compare everything after this time, too: other machines change a network folder unnoticed (default: 600)"
        ),
    )
    reading_options(watch)


def _watch(options: argparse.Namespace) -> int:
    if not place_of(options).exists():
        for path in options.paths:  # a mistyped name makes no collection
            if not os.path.isdir(path):
                from commonplace.errors import QueryError

                raise QueryError(_("{folder} is no folder: name one that exists").format(folder=path))
    with open_(options, make=True) as kb:
        return keep_in_step(kb, options)


def keep_in_step(kb: Collection, options: argparse.Namespace) -> int:
    """Keep the folders of the command line in step, and say what happens, until the command is interrupted."""
    from commonplace.watching import EVERY

    with suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # a service is stopped as by Ctrl+C
    shown = _Shown()
    with kb.watch(
        *options.paths,
        every=getattr(options, "every", None) or EVERY,
        workers=options.workers,
        ocr=options.ocr,
        time_limit=options.time_limit,
        encoding=options.encoding,
        speech_model=options.speech_model,
    ) as watcher:
        try:
            for state in watcher.states():
                shown.show(state)
        except KeyboardInterrupt:
            shown.end()
    return 0


class _Shown:
    """Writes what is new: on a terminal one line that is overwritten, else a line for each look that changed something.

    Problems have lines of their own on standard error, each once.
    """

    def __init__(self) -> None:
        self._is_terminal = sys.stdout.isatty()
        self._report: object = None
        self._last = ""
        self._failures: set[tuple[str, str]] = set()
        self._problems: set[tuple[str, str]] = set()

    def show(self, state: WatchState) -> None:
        """Write what is new in a state."""
        report = state.report
        problems = {*state.problems} - self._problems
        self._problems = {*state.problems}
        if report is not None and report is not self._report:
            places = dict(state.problems)
            failures = {failure for failure in (*report.failed, *report.partial) if failure[0] not in places}
            problems |= failures - self._failures
            self._failures |= failures
            if report.added or report.changed or report.moved or report.deleted:
                counts = (
                    (report.added, _("{count} added")),
                    (report.changed, _("{count} changed")),
                    (report.moved, _("{count} moved")),
                    (report.deleted, _("{count} deleted")),
                )
                what = _(", ").join(part.format(count=count) for count, part in counts if count)
                self._last = f"{time.strftime('%H:%M:%S')} {what}"
                if not self._is_terminal:
                    print(self._last, flush=True)
        self._report = report
        for path, reason in sorted(problems):
            self.end()
            print(f"{printable(path)}: {printable(reason)}", file=sys.stderr, flush=True)
        if self._is_terminal:
            print(f"\r\x1b[K{self._line(state)}", end="", flush=True)

    def end(self) -> None:
        """End the line that would be overwritten."""
        if self._is_terminal:
            print("\r\x1b[K", end="", flush=True)

    def _line(self, state: WatchState) -> str:
        if state.is_in_step:
            line = _("in step")
        elif state.waiting:
            line = ngettext("{count} change waits", "{count} changes wait", state.waiting).format(count=state.waiting)
        elif state.problems:
            line = _("not in step")
        else:
            line = _("reading")
        count = ngettext("{count:,} document", "{count:,} documents", state.documents).format(count=state.documents)
        return "  ".join(part for part in (line, count, self._last) if part)
