"""Finds the files to read under the paths that a user gives, in the same order on every machine."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pathspec import GitIgnoreSpec

from commonplace.i18n import N_, _
from commonplace.paths import is_inside, path_problem
from commonplace.readers.formats import belongs_to_picture, belongs_to_recording, is_offered, os_error_reason

__all__ = ["NO_ENDING", "Source", "Walk", "is_vendored", "walk"]

NO_ENDING = N_("no ending")
"""The name of the files without an ending, among those that are skipped."""


IGNORE_FILES = (".gitignore", ".commonplaceignore")  # rules of the later file win
# Folders of third-party files that a tool installed. A virtual environment of any name is recognised by its
# pyvenv.cfg, a cache by its CACHEDIR.TAG (https://bford.info/cachedir/).
_VENDORED = {"node_modules", "bower_components", "jspm_packages", "__pycache__", "__pypackages__", "__MACOSX", "Pods"}
_VENDORED |= {"site-packages", "dist-packages", "venv", "virtualenv"}
_RULES_SIZE = 1_000_000  # characters of one ignore file
_MAX_STARS = 3  # stars in one part of a pattern; matching time is polynomial of this degree in the name's length
SKIP_MARKERS = {"pyvenv.cfg", "CACHEDIR.TAG"}


@dataclass(frozen=True, slots=True)
class Source:
    """A file to read, and the folder it was added with; pictures that it shows are read only from that folder."""

    path: Path
    root: Path


@dataclass(frozen=True, slots=True)
class _Rules:
    """The ignore rules of one folder; ``above`` has those of the folders that contain it."""

    folder: str
    spec: GitIgnoreSpec
    above: _Rules | None

    def ignore(self, path: str) -> bool:
        """Return whether ``path`` (a folder ends with "/") is ignored. As in git, the innermost rule decides."""
        rules: _Rules | None = self
        while rules is not None:
            verdict = rules.spec.check_file(path[len(rules.folder) :].lstrip(os.sep).replace(os.sep, "/")).include
            if verdict is not None:
                return verdict
            rules = rules.above
        return False


class _Wanted:
    """Paths to which a walk is limited."""

    def __init__(self, paths: Collection[str]) -> None:
        self._paths = frozenset(paths)
        self._above = {str(folder) for path in self._paths for folder in Path(path).parents}

    def holds(self, folder: str) -> bool:
        """Return whether a folder is one of the paths or below one, so that all of it is wanted."""
        return folder in self._paths or any(str(parent) in self._paths for parent in Path(folder).parents)

    def leads_to(self, path: str) -> bool:
        """Return whether a path is one of them or above one."""
        return path in self._paths or path in self._above


_Taken = tuple[bool, bytes, Source]
"""Of a file that is taken: whether its path is a link, the path to sort by, and the source."""


class Walk(NamedTuple):
    """The files to read, paths that failed with the reason, and the number of unsupported files by suffix."""

    sources: list[Source]
    problems: list[tuple[Path, str]]
    skipped: Counter[str]


def walk(paths: Iterable[str | Path], *, exclude: Iterable[Path] = (), only: Collection[str] | None = None) -> Walk:
    """Return the files under ``paths``, sorted and each once, and what was left out.

    In a folder these are skipped: hidden and vendored files, the files of a saved web page, the subtitles of a video
    and the XMP sidecar of a picture, which are read with it, files excluded by a
    ``.gitignore`` or ``.commonplaceignore`` inside it, and ``exclude`` (the collection's own files and folders). Links
    to files are followed, links to folders are not. A file that is given directly is never skipped by its name. Pipes,
    devices and sockets are never opened. ``only`` limits the walk to what lies at or below these absolute paths.
    """
    wanted = None if only is None else _Wanted(only)
    files: dict[str, tuple[bool, bytes, Source]] = {}
    problems: dict[Path, str] = {}
    skipped: Counter[str] = Counter()
    excluded = frozenset(os.path.realpath(path) for path in exclude)
    for path in paths:
        absolute = os.path.abspath(path) if path_problem(str(path)) is None else str(path)
        try:
            state = os.stat(absolute)
        except (OSError, ValueError) as error:
            problems[Path(absolute)] = _reason(absolute, error)
            continue
        if any(is_inside(os.path.realpath(absolute), folder) for folder in excluded):
            problems[Path(absolute)] = _("belongs to the collection itself; add other files")
        elif stat.S_ISDIR(state.st_mode):
            for file_path, real in _walk_folder(absolute, excluded, problems, skipped, wanted):
                _add_file(files, file_path, real, absolute)
        elif stat.S_ISREG(state.st_mode):
            _add_file(files, absolute, os.path.realpath(absolute), os.path.dirname(absolute))
        else:
            problems[Path(absolute)] = _("not a regular file or folder; add a file or a folder")
    order = sorted(files.values(), key=lambda entry: entry[1])
    reasons = sorted(problems.items(), key=lambda problem: _order(str(problem[0])))
    return Walk([source for _key, _place, source in order], reasons, skipped)


def _add_file(files: dict[str, tuple[bool, bytes, Source]], path: str, real: str, root: str) -> None:
    """Add a file under its real path. Of several names the real one wins over links, then the alphabet decides."""
    candidate = (os.path.islink(path), os.fsencode(path), Source(Path(path), Path(root)))
    if real not in files or candidate[:2] < files[real][:2]:
        files[real] = candidate


def _walk_folder(
    top: str,
    excluded: frozenset[str],
    problems: dict[Path, str],
    skipped: Counter[str],
    wanted: _Wanted | None,
) -> Iterator[tuple[str, str]]:
    """Yield path and real path of each file below ``top``. It uses a stack, not recursion: trees may be deep."""
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
        if folder != top and not SKIP_MARKERS.isdisjoint(names):
            continue
        rules = _rules(folder, names, rules)
        is_wanted = None if wanted is None or wanted.holds(folder) else wanted.leads_to
        for entry in entries:
            if entry.name.startswith(".") or (is_wanted is not None and not is_wanted(entry.path)):
                continue
            real_path = os.path.join(real, entry.name)
            try:
                if entry.is_dir(follow_symlinks=False):
                    if entry.name in _VENDORED or _is_saved_with_a_page(entry.name, names):
                        continue
                    if rules is not None and rules.ignore(entry.path + "/"):
                        continue
                    if real_path not in excluded:
                        stack.append((entry.path, real_path, rules))
                    continue
                if rules is not None and rules.ignore(entry.path):
                    continue
                if belongs_to_recording(entry.name, names) or belongs_to_picture(entry.name, names):
                    continue
                if entry.is_symlink():
                    os.stat(entry.path)  # raises the reason for a broken link; is_file() would only return False
                    real_path = os.path.realpath(entry.path)
                    if any(is_inside(real_path, folder) for folder in excluded):
                        continue
                if real_path in excluded:  # a collection that is one file
                    continue
                if entry.is_file():
                    if is_offered(Path(entry.path)):
                        yield entry.path, real_path
                    else:
                        skipped[Path(entry.name).suffix.lower() or NO_ENDING] += 1
            except OSError as error:
                problems[Path(entry.path)] = _reason(entry.path, error)


def is_vendored(parts: Sequence[str]) -> bool:
    """Return whether a file is hidden, or in a hidden or vendored folder. ``parts`` are the names of its path."""
    return any(part.startswith(".") for part in parts) or not _VENDORED.isdisjoint(parts[:-1])


def _is_saved_with_a_page(name: str, siblings: set[str]) -> bool:
    """Return whether a browser saved this folder with a page. The page itself shows its pictures."""
    stem, suffix, _ = name.rpartition("_files")
    return bool(suffix) and not siblings.isdisjoint((f"{stem}.html", f"{stem}.htm"))


def _rules(folder: str, names: set[str], above: _Rules | None) -> _Rules | None:
    lines: list[str] = []
    for name in IGNORE_FILES:
        path = os.path.join(folder, name)
        if name in names and os.path.isfile(path):
            try:
                with open(path, encoding="utf-8", errors="surrogateescape") as file:
                    lines += file.read(_RULES_SIZE).splitlines()
            except OSError:
                continue  # rules that cannot be read exclude nothing
    return _Rules(folder, _spec(lines), above) if lines else above


def _spec(lines: list[str]) -> GitIgnoreSpec:
    """Return the rules. As in git, an invalid pattern is skipped; so is a pattern that would take too long to match."""
    good = []
    for line in lines:
        if any(part.replace("**", "").count("*") > _MAX_STARS for part in line.split("/")):
            continue
        try:
            GitIgnoreSpec.from_lines([line])
        except ValueError:
            continue
        good.append(line)
    return GitIgnoreSpec.from_lines(good)


def _order(path: str) -> bytes:
    """Return what to sort a path by, also a path that no file can have."""
    return os.fsencode(path) if path_problem(path) is None else path.encode("utf-8", "surrogatepass")


def _reason(path: str, error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError) and os.path.islink(path):
        return _("a broken link; remove or repair it")
    return os_error_reason(error)
