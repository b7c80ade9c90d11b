"""What a search is narrowed to, checked: filters as a user writes them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime

from commonplace.channels import known_modalities
from commonplace.errors import QueryError
from commonplace.indexer import display_path
from commonplace.types import Filter, Modality

__all__ = ["filter_of"]

MOST_KEYS, MOST_VALUES, LONGEST_VALUE = 20, 100, 4_000  # of a filter: its keys, the values of one, their characters
_DATE = re.compile(r"\d{4}(-\d\d(-\d\d(T\d\d:\d\d(:\d\d)?)?)?)?")


def filter_of(
    modality: Modality | None,
    path: str | None,
    media_type: str | None,
    after: str | date | None,
    before: str | date | None,
    where: Mapping[str, str | Sequence[str]] | None,
) -> Filter:
    """Return what a search is narrowed to. Raises QueryError for what no document could be compared with."""
    if modality is not None and modality not in (known := known_modalities()):
        raise QueryError(f"modality is {modality!r}: choose {', '.join(known[:-1])} or {known[-1]}")
    if path == "" or media_type == "":
        raise QueryError("a filter is empty: leave it out, or say what it allows")
    for name, given in (("path", path), ("media_type", media_type)):
        if given is not None:
            _check_text(name, given)
    if path and not any(mark in path for mark in "*?["):
        # A name that exists here is that file or folder; any other is looked for anywhere in a path.
        path = display_path(path) if os.path.lexists(os.path.expanduser(path)) else path.strip(os.sep)
    return Filter(modality, path, media_type, _day(after), _day(before), _stated(where))


def _stated(where: Mapping[str, str | Sequence[str]] | None) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return what a filter asks of what documents state: each key in small letters and the values it may have."""
    if where is not None and not isinstance(where, Mapping):
        raise QueryError(f"where is {where!r:.100}: give keys with their values, such as {{'author': '*hopper*'}}")
    found: dict[str, tuple[str, ...]] = {}
    for key, given in (where or {}).items():
        values = [given] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
        if not key or not values or not all(value != "" for value in values):
            raise QueryError(f"the filter on {key or 'nothing'!r} is empty: leave it out, or say what it allows")
        if len(values) > MOST_VALUES:
            raise QueryError(f"the filter on {key!r} names {len(values)} values: name {MOST_VALUES} at most")
        for text in (key, *values):
            _check_text(f"the filter on {key!r:.100}", text)
        found[key.casefold()] = (*found.get(key.casefold(), ()), *dict.fromkeys(values))
    if len(found) > MOST_KEYS:
        raise QueryError(f"the filter names {len(found)} keys: name {MOST_KEYS} at most")
    return tuple(sorted(found.items()))


def _check_text(what: str, given: object) -> None:
    """Raise QueryError where a part of a filter is no text that a document could be compared with."""
    if not isinstance(given, str):
        raise QueryError(f"{what} is {given!r:.100}, no text: write it in quotes")
    if len(given) > LONGEST_VALUE:
        raise QueryError(f"{what} has {len(given):,} characters: ask for {LONGEST_VALUE:,} at most")
    try:
        os.fsencode(given)
    except UnicodeError:
        raise QueryError(f"{what} holds what is no character: leave it out") from None


def _day(when: str | date | None) -> str | None:
    """Return a date of a filter in ISO 8601, as exact as given."""
    if when is None:
        return None
    text = when.isoformat()[:19] if isinstance(when, date) else " ".join(str(when).split()).replace(" ", "T")
    try:
        if not _DATE.fullmatch(text):
            raise ValueError
        datetime.fromisoformat(text + "0001-01-01"[len(text) :])
    except ValueError:
        raise QueryError(f"{text:.40} is no date: say a year (2024), a month (2024-05) or a day (2024-05-31)") from None
    return text
