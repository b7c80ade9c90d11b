"""Paths as a caller gives them, checked before they reach the file system."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

from commonplace.errors import CommonplaceError, QueryError
from commonplace.i18n import _
from commonplace.types import stable_id

__all__ = [
    "canonical_path",
    "checked_path",
    "display_path",
    "document_id",
    "expanded_path",
    "is_inside",
    "path_problem",
    "spellings",
]


def checked_path(path: object, error: type[CommonplaceError]) -> str:
    """Return a path as text. Raises ``error`` for an object that is no path, and for a path that no file can have."""
    try:
        text = os.fspath(path)  # type: ignore[call-overload]
    except Exception as problem:  # __fspath__ is code of the caller
        kind, name = type(path).__name__, type(problem).__name__
        raise error(
            _("its path cannot be read ({kind} raised {name}): give a str or a pathlib.Path").format(
                kind=kind, name=name
            )
        ) from problem
    if not isinstance(text, str):
        raise error(_("its path is of type {type}: give a str or a pathlib.Path").format(type=type(text).__name__))
    if problem_with_text := path_problem(text):
        raise error(
            _("the path {text!r:.200} is not valid ({problem}): check the path").format(
                text=text, problem=problem_with_text
            )
        )
    return text


def expanded_path(path: object, error: type[CommonplaceError]) -> str:
    """Return a path as text, with ``~`` replaced by the home folder. Raises what ``checked_path`` raises.

    A file is also found by the other Unicode form of its name: macOS and some archives write ü as u and two dots.
    """
    return _as_on_disk(os.path.expanduser(checked_path(path, error)))


def spellings(path: str) -> list[str]:
    """Return a path as it is, and its composed (NFC) and decomposed (NFD) form, each once."""
    if path.isascii():
        return [path]
    return list(dict.fromkeys([path, unicodedata.normalize("NFC", path), unicodedata.normalize("NFD", path)]))


def _as_on_disk(path: str) -> str:
    """Return ``path`` with each name as the file system spells it, where only the other Unicode form exists."""
    if path.isascii() or os.path.lexists(path):
        return path
    place = ""
    for name in path.split(os.sep):
        forms = [os.path.join(place, form) if place else form for form in spellings(name)] if name else [f"{os.sep}"]
        existing = next((form for form in forms if os.path.lexists(form)), None)
        if existing is None:
            return path
        place = existing if name else (place or os.sep)
    return place


def path_problem(path: str) -> str | None:
    """Return why no file can have this path; None for a valid path."""
    if "\0" in path:
        return _("it contains a zero character")
    try:
        os.fsencode(path)
    except UnicodeError:
        return _("it contains half of a surrogate pair, which is no character")
    return None


def canonical_path(path: str | os.PathLike[str], error: type[CommonplaceError] = QueryError) -> Path:
    """Return the path with all links resolved. A document's id and URI are derived from it.

    Raises ``error`` for a path that no file can have.
    """
    return Path(os.path.realpath(expanded_path(path, error)))


def display_path(path: str | os.PathLike[str], error: type[CommonplaceError] = QueryError) -> str:
    """Return the absolute path as the user wrote it, with unresolved links. It is the path that a document shows.

    Raises ``error`` for a path that no file can have.
    """
    return os.path.abspath(expanded_path(path, error))


def document_id(path: Path) -> str:
    """Return the id of the document of the file at ``path``."""
    return stable_id(canonical_path(path).as_uri())


def is_inside(path: str, folder: str) -> bool:
    """Return whether a path is a folder or lies below it; both are written in the same way."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
