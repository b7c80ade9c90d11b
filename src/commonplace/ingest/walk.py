"""From the paths a user names to the files worth reading, in one order on every machine."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pathspec import GitIgnoreSpec

from commonplace.readers.formats import is_offered, reason_of

__all__ = ["Source", "Walk", "walk"]

_IGNORE_FILES = (".gitignore", ".commonplaceignore")  # the later has the last word
# Other people's files, fetched by a tool. A virtual environment is known by its pyvenv.cfg, a cache by its
# CACHEDIR.TAG (https://bford.info/cachedir/), whatever they are called.
_VENDORED = {"node_modules", "bower_components", "jspm_packages", "__pycache__", "__pypackages__", "__MACOSX", "Pods"}
_VENDORED |= {"site-packages", "dist-packages", "venv", "virtualenv"}
_RULES_SIZE = 1_000_000  # characters of one ignore file
_STARS = 3  # in one part of a pattern: matching takes time that grows with the length of a name to this power
_MARKS = {"pyvenv.cfg", "CACHEDIR.TAG"}


@dataclass(frozen=True, slots=True)
class Source:
    """A file to read, and the folder it was added with: what it shows is taken from inside that folder only."""

    path: Path
    root: Path


@dataclass(frozen=True, slots=True)
class _Rules:
    """The ignore rules of one folder and, by ``above``, of those that hold it."""

    folder: str
    spec: GitIgnoreSpec
    above: _Rules | None

    def ignore(self, path: str) -> bool:
        """Return whether ``path`` (a folder ends in "/") is ignored; as in git the innermost rule decides."""
        rules: _Rules | None = self
        while rules is not None:
            verdict = rules.spec.check_file(path[len(rules.folder) :].lstrip(os.sep).replace(os.sep, "/")).include
            if verdict is not None:
                return verdict
            rules = rules.above
        return False


_Taken = tuple[bool, bytes, Source]
"""Of a file that is taken: whether its path is a link, the path to sort by, and the source."""


class Walk(NamedTuple):
    """The files to read, the paths that failed with the reason, and the count of unread files by ending."""

    sources: list[Source]
    problems: list[tuple[Path, str]]
    skipped: Counter[str]


def walk(paths: Iterable[str | Path], *, exclude: Path | None = None) -> Walk:
    """Return the files under ``paths``, sorted, each once, and what was left out.

    A folder is searched without its hidden and vendored parts, without what belongs to a saved web page, without what
    ``.gitignore`` and ``.commonplaceignore`` inside it exclude, and without ``exclude`` (the collection's own folder);
    links to folders are not followed, links to files are. A path given by name is taken whatever it is called. Pipes,
    devices and sockets are never opened.
    """
    taken: dict[str, _Taken] = {}
    problems: dict[Path, str] = {}
    skipped: Counter[str] = Counter()
    excluded = os.path.realpath(exclude) if exclude is not None else None
    for given in paths:
        name = os.path.abspath(given) if "\0" not in str(given) else str(given)
        try:
            state = os.stat(name)
        except (OSError, ValueError) as error:
            problems[Path(name)] = _reason(name, error)
            continue
        if excluded is not None and _inside(os.path.realpath(name), excluded):
            problems[Path(name)] = "belongs to the collection itself; give other files"
        elif stat.S_ISDIR(state.st_mode):
            for path, real in _files(name, excluded, problems, skipped):
                _take(taken, path, real, name)
        elif stat.S_ISREG(state.st_mode):
            _take(taken, name, os.path.realpath(name), os.path.dirname(name))
        else:
            problems[Path(name)] = "not a regular file or folder; give one of those"
    order = sorted(taken.values(), key=lambda file: file[1])
    reasons = sorted(problems.items(), key=lambda problem: os.fsencode(problem[0]))
    return Walk([source for _, _, source in order], reasons, skipped)


def _take(taken: dict[str, _Taken], path: str, real: str, root: str) -> None:
    """Note a file under its real path. Of several names, one that is no link goes first, then alphabetical order."""
    file = (os.path.islink(path), os.fsencode(path), Source(Path(path), Path(root)))
    if real not in taken or file[:2] < taken[real][:2]:
        taken[real] = file


def _files(
    top: str, excluded: str | None, problems: dict[Path, str], skipped: Counter[str]
) -> Iterator[tuple[str, str]]:
    """Yield path and real path of each file below ``top``; a stack, not recursion: trees may be deep."""
    stack: list[tuple[str, str, _Rules | None]] = [(top, os.path.realpath(top), None)]
    while stack:
        folder, real, rules = stack.pop()
        try:
            with os.scandir(folder) as listing:
                entries = list(listing)
        except OSError as error:
            problems[Path(folder)] = _reason(folder, error)
            continue
        names = {entry.name for entry in entries}
        if folder != top and not _MARKS.isdisjoint(names):
            continue
        rules = _rules(folder, names, rules)
        for entry in entries:
            if entry.name.startswith("."):
                continue
            here = os.path.join(real, entry.name)
            try:
                if entry.is_dir(follow_symlinks=False):
                    if entry.name in _VENDORED or _is_saved_with_a_page(entry.name, names):
                        continue
                    if rules is not None and rules.ignore(entry.path + "/"):
                        continue
                    if here != excluded:
                        stack.append((entry.path, here, rules))
                    continue
                if rules is not None and rules.ignore(entry.path):
                    continue
                if entry.is_symlink():
                    os.stat(entry.path)  # says why it leads nowhere; is_file() would only say no
                    here = os.path.realpath(entry.path)
                    if excluded is not None and _inside(here, excluded):
                        continue
                if entry.is_file():
                    if is_offered(Path(entry.path)):
                        yield entry.path, here
                    else:
                        skipped[Path(entry.name).suffix.lower() or "no ending"] += 1
            except OSError as error:
                problems[Path(entry.path)] = _reason(entry.path, error)


def _is_saved_with_a_page(name: str, beside: set[str]) -> bool:
    """Return whether a browser saved this folder with a page, which shows what of it is worth seeing."""
    stem, ending, _ = name.rpartition("_files")
    return bool(ending) and not beside.isdisjoint((f"{stem}.html", f"{stem}.htm"))


def _rules(folder: str, names: set[str], above: _Rules | None) -> _Rules | None:
    lines: list[str] = []
    for name in _IGNORE_FILES:
        path = os.path.join(folder, name)
        if name in names and os.path.isfile(path):
            try:
                with open(path, encoding="utf-8", errors="surrogateescape") as file:
                    lines += file.read(_RULES_SIZE).splitlines()
            except OSError:
                continue  # rules that cannot be read exclude nothing
    return _Rules(folder, _spec(lines), above) if lines else above


def _spec(lines: list[str]) -> GitIgnoreSpec:
    """Return the rules; a line that is no pattern is passed over, as in git, and so is one made to take for ever."""
    good = []
    for line in lines:
        if any(part.replace("**", "").count("*") > _STARS for part in line.split("/")):
            continue
        try:
            GitIgnoreSpec.from_lines([line])
        except ValueError:
            continue
        good.append(line)
    return GitIgnoreSpec.from_lines(good)


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _reason(path: str, error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError) and os.path.islink(path):
        return "a link that leads nowhere; remove or mend the link"
    return reason_of(error)
