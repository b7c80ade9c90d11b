"""What a file says of itself: authors, dates, language, place. Nothing of it is trusted.

The keys that formats state: ``author``, ``created``, ``modified``, ``language`` (a tag of BCP 47), ``keyword``,
``subject``, ``publisher``, ``from``, ``to``, ``camera``, ``place`` (latitude, longitude in degrees). Common to all
documents are ``date``, the first there is of ``created``, ``modified`` and the file's own time of change, and
``dated``, which of these it is. Dates are ISO 8601 by the clock of who wrote them, as exact as stated: ``2024``,
``2024-05-31``, ``2024-05-31T09:30:00``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import date, datetime
from typing import Any

from commonplace.types import printable

__all__ = ["date_of", "described", "names_in", "place_of"]

_KEY = 40  # characters
_VALUE = 200
_OF_KEY = 20  # values
_ALL = 60

_YEARS = range(1000, 2200)  # no file is older; a later year is a mistake or a joke
_DATE = re.compile(
    r"(?:D:)?(\d{4})(?:([-:/.]?)(\d\d?)(?:\2(\d\d?)(?:[T\s]*(\d\d?):?(\d\d)(?::?(\d\d))?)?)?)?"
    r"(?:\.\d+)?\s*(?:Z|UTC|[-+]\d\d.*)?", re.IGNORECASE
)  # fmt: skip
_SLASHED = re.compile(r"(\d\d?)/(\d\d?)/(\d{4})\b(.*)")
_UNSET = {f"{day}T00:00:00" for day in ("1601-01-01", "1899-12-30", "1904-01-01", "1970-01-01", "1980-01-01")}
"""Where clocks begin that nobody has set."""
_NOTHING = {"anonymous", "unknown", "unspecified", "none", "null"}
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8})*")


def described(stated: Mapping[str, Iterable[object]], changed: float | None) -> tuple[tuple[str, str], ...]:
    """Return what a file states, by key, as it may be stored: bounded, printable, dates and tags checked, none twice.

    ``changed`` is the file's own time of change (seconds since 1970), its date where it states none.
    """
    found: list[tuple[str, str]] = []
    for key, values in sorted(stated.items()):
        name = re.sub(r"[^a-z0-9]+", "-", key.casefold())[:_KEY].strip("-")
        make = _MAKERS.get(name, _words)
        made = list(dict.fromkeys(filter(None, map(make, _first(values)))))
        made = made[:1] if make is date_of else made
        found += [(name, value) for value in made if name and name not in ("title", "date", "dated")]
    found = found[:_ALL]
    dates = [(dict(found).get(key), key) for key in ("created", "modified")]
    with suppress(OverflowError, OSError, ValueError):
        dates.append((date_of(datetime.fromtimestamp(changed).replace(microsecond=0)) if changed else None, "file"))
    for value, source in dates:
        if value:
            return (*found, ("date", value), ("dated", source))
    return tuple(found)


def _first(values: Iterable[object]) -> Iterable[object]:
    """Yield so many values as are kept of a key, each cut to what could be."""
    for _, value in zip(range(_OF_KEY), values, strict=False):
        yield value[: 4 * _VALUE] if isinstance(value, str) else value


def _words(value: object) -> str | None:
    """Return a value on one line, cut to what is kept; None where nothing can be seen of it."""
    words = " ".join(printable(str(value)).split())
    if words.casefold() in _NOTHING:
        return None
    return (words if len(words) <= _VALUE else words[: _VALUE - 1] + "…") or None


def _language(value: object) -> str | None:
    tag = str(value).strip()
    if not _LANGUAGE.fullmatch(tag) or len(tag) > _KEY or tag.lower()[:3] in ("und", "zxx", "mul", "x-n"):
        return None
    first, *rest = tag.replace("_", "-").split("-")
    return "-".join([first.lower(), *(one.upper() if len(one) == 2 else one for one in rest)])


def date_of(value: object) -> str | None:
    """Return a date (of ISO 8601, EXIF, PDF, mail, or a ``datetime``) in ISO 8601 by its own clock, as exact as stated.

    None where it is none, or of no year that could be meant. Of ``08/15/2024`` and ``15/08/2024`` the number above 12
    is the day; ``05/08/2024`` is none, as nobody can tell.
    """
    if isinstance(value, date):
        made = value.isoformat()[:19]
        return made if value.year in _YEARS and made not in _UNSET else None
    text = " ".join(str(value).split())[:100]
    if slashed := _SLASHED.fullmatch(text):
        month, day = sorted(slashed.group(1, 2), key=int)
        if int(month) != int(day) <= 12:
            return None
        text = f"{slashed[3]}-{month}-{day}{slashed[4]}"
    found = _DATE.fullmatch(text)
    with suppress(ValueError, TypeError, IndexError, OverflowError):
        if found is None:
            from email.utils import parsedate_to_datetime

            return date_of(parsedate_to_datetime(text).replace(tzinfo=None))
        year, _, month, day, hour, minute, second = found.groups()
        parts = [int(part) for part in (year, month, day) if part]
        first, then, last = [*parts, 1, 1][:3]
        exact = datetime(first, then, last, int(hour or 0), int(minute or 0), min(59, int(second or 0)))
        if exact.year not in _YEARS or (hour and exact.isoformat() in _UNSET):
            return None
        return exact.isoformat() if hour else exact.date().isoformat()[: (4, 7, 10)[len(parts) - 1]]
    return None


def names_in(text: str | None, marks: str = ";") -> list[str]:
    """Return the names in a text that parts them by any of ``marks``."""
    return [one.strip() for one in re.split(f"[{re.escape(marks)}]", (text or "")[:10_000]) if one.strip()]


def place_of(latitude: Any, north: Any, longitude: Any, east: Any) -> str | None:
    """Return ``latitude, longitude`` in degrees from EXIF's degrees, minutes and seconds; None where they are none."""
    degrees = []
    for value, side, most in ((latitude, north, 90), (longitude, east, 180)):
        try:
            parts = [float(part) for part in value][:3]
            whole = sum(part / 60**at for at, part in enumerate(parts))
        except (TypeError, ValueError, ZeroDivisionError, OverflowError):
            return None
        if not parts or not math.isfinite(whole) or min(parts) < 0 or whole > most:
            return None
        side = side.decode("ascii", "ignore") if isinstance(side, bytes) else str(side)
        if side.strip("\0 ").upper() not in ("N", "S", "E", "W"):
            return None
        degrees.append(-whole if side.strip("\0 ").upper() in ("S", "W") else whole)
    if degrees == [0.0, 0.0]:  # what a receiver without a view of the sky writes
        return None
    return f"{degrees[0]:.5f}, {degrees[1]:.5f}"


_MAKERS: dict[str, Callable[[object], str | None]] = {"created": date_of, "modified": date_of, "language": _language}
