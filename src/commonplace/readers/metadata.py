"""Metadata that a file declares: authors, dates, language, place. None of it is trusted.

Readers add these keys: ``author``, ``created``, ``modified``, ``language`` (BCP 47 tags), ``keyword``, ``subject``,
``publisher``, ``summary``, ``alias``, ``from``, ``to``, ``camera``, ``url``, ``place`` (latitude, longitude in
degrees). Every document with a text has ``language``, if it is declared or the text tells it.

Every document has ``date`` and ``dated``. ``date`` is the first available of ``created``, ``modified`` and the time
at which the file was modified; ``dated`` says which of these it is. Dates are ISO 8601 in the author's local time, as
precise as declared: ``2024``, ``2024-05-31``, ``2024-05-31T09:30:00``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from typing import Any

from commonplace.text.language import document_languages, normalised_tag
from commonplace.types import printable

__all__ = ["normalise_metadata", "parse_coordinates", "parse_date", "split_names"]

_MAX_KEY = 40  # characters
_MAX_VALUE = 200
_MAX_VALUES_PER_KEY = 20  # values
_MAX_PAIRS = 60

_YEARS = range(1000, 2200)  # years outside are mistakes
_DATE = re.compile(
    r"(?:D:)?(\d{4})(?:([-:/.]?)(\d\d?)(?:\2(\d\d?)(?:[T\s]*(\d\d?):?(\d\d)(?::?(\d\d))?)?)?)?"
    r"(?:\.\d+)?\s*(?:Z|UTC|[-+]\d\d.*)?", re.IGNORECASE
)  # fmt: skip
_SLASHED = re.compile(r"(\d\d?)/(\d\d?)/(\d{4})\b(.*)")
_UNSET_CLOCKS = {f"{day}T00:00:00" for day in ("1601-01-01", "1899-12-30", "1904-01-01", "1970-01-01", "1980-01-01")}
"""Start dates of clocks that were never set."""
_PLACEHOLDERS = {"anonymous", "unknown", "unspecified", "none", "null"}


def normalise_metadata(
    raw: Mapping[str, Iterable[object]], modified_at: float | None, texts: Sequence[str] = ()
) -> tuple[tuple[str, str], ...]:
    """Return declared metadata as sorted (key, value) pairs that can be stored.

    Keys, values and their numbers are limited. Values are printable and unique; dates and language tags are checked.
    ``modified_at`` (seconds since 1970) is when the file was modified; it is the date where the file declares none.
    ``texts`` are the texts of the document: they tell the language where the file declares none that fits them.
    """
    by_name: dict[str, list[str]] = {}
    for key, values in sorted(raw.items()):
        name = re.sub(r"[^a-z0-9]+", "-", key.casefold())[:_MAX_KEY].strip("-")
        normalise = _NORMALISERS.get(name, _clean_value)
        normalised = list(dict.fromkeys(filter(None, map(normalise, _bounded_values(values)))))
        if name and name not in ("title", "date", "dated"):
            by_name.setdefault(name, []).extend(normalised[:1] if normalise is parse_date else normalised)
    by_name["language"] = list(document_languages(by_name.get("language", ()), texts))
    pairs = [(name, value) for name in sorted(by_name) for value in by_name[name]][:_MAX_PAIRS]
    dates = [(dict(pairs).get(key), key) for key in ("created", "modified")]
    with suppress(OverflowError, OSError, ValueError):
        dates.append(
            (parse_date(datetime.fromtimestamp(modified_at).replace(microsecond=0)) if modified_at else None, "file")
        )
    for value, source in dates:
        if value:
            return (*pairs, ("date", value), ("dated", source))
    return tuple(pairs)


def _bounded_values(values: Iterable[object]) -> Iterable[object]:
    """Yield at most as many values as are kept for a key, each cut before it is processed."""
    for _, value in zip(range(_MAX_VALUES_PER_KEY), values, strict=False):
        yield value[: 4 * _MAX_VALUE] if isinstance(value, str) else value


def _clean_value(value: object) -> str | None:
    """Return a value on one line, cut to the length limit; None where it is empty or a placeholder."""
    text = " ".join(printable(str(value)).split())
    if text.casefold() in _PLACEHOLDERS:
        return None
    return (text if len(text) <= _MAX_VALUE else text[: _MAX_VALUE - 1] + "…") or None


def _language_tag(value: object) -> str | None:
    tag = str(value).strip()
    return normalised_tag(tag) if len(tag) <= _MAX_KEY else None


def parse_date(value: object) -> str | None:
    """Parse a date and return it in ISO 8601, in its own time zone and as precise as declared.

    Accepts ISO 8601, EXIF, PDF and mail dates, and ``datetime``. Returns None for anything else, and for years that
    cannot be right. In ``08/15/2024`` and ``15/08/2024`` the number above 12 is the day; ``05/08/2024`` is ambiguous
    and gives None.
    """
    if isinstance(value, date):
        iso = value.isoformat()[:19]
        return iso if value.year in _YEARS and iso not in _UNSET_CLOCKS else None
    text = " ".join(str(value).split())[:100]
    if slashed := _SLASHED.fullmatch(text):
        month, day = sorted(slashed.group(1, 2), key=int)
        if int(month) != int(day) <= 12:
            return None
        text = f"{slashed[3]}-{month}-{day}{slashed[4]}"
    match = _DATE.fullmatch(text)
    with suppress(ValueError, TypeError, IndexError, OverflowError):
        if match is None:
            from email.utils import parsedate_to_datetime

            return parse_date(parsedate_to_datetime(text).replace(tzinfo=None))
        year, _, month, day, hour, minute, second = match.groups()
        parts = [int(part) for part in (year, month, day) if part]
        first, then, last = [*parts, 1, 1][:3]
        exact = datetime(first, then, last, int(hour or 0), int(minute or 0), min(59, int(second or 0)))
        if exact.year not in _YEARS or (hour and exact.isoformat() in _UNSET_CLOCKS):
            return None
        return exact.isoformat() if hour else exact.date().isoformat()[: (4, 7, 10)[len(parts) - 1]]
    return None


def split_names(text: str | None, separators: str = ";") -> list[str]:
    """Return the names in ``text``, split at any of ``separators``."""
    return [name.strip() for name in re.split(f"[{re.escape(separators)}]", (text or "")[:10_000]) if name.strip()]


def parse_coordinates(latitude: Any, latitude_ref: Any, longitude: Any, longitude_ref: Any) -> str | None:
    """Return "latitude, longitude" in degrees from EXIF degrees, minutes and seconds; None where they are invalid."""
    degrees = []
    for value, hemisphere, limit in ((latitude, latitude_ref, 90), (longitude, longitude_ref, 180)):
        try:
            parts = [float(part) for part in value][:3]
            angle = sum(part / 60**power for power, part in enumerate(parts))
        except (TypeError, ValueError, ZeroDivisionError, OverflowError):
            return None
        if not parts or not math.isfinite(angle) or min(parts) < 0 or angle > limit:
            return None
        hemisphere = hemisphere.decode("ascii", "ignore") if isinstance(hemisphere, bytes) else str(hemisphere)
        if hemisphere.strip("\0 ").upper() not in ("N", "S", "E", "W"):
            return None
        degrees.append(-angle if hemisphere.strip("\0 ").upper() in ("S", "W") else angle)
    if degrees == [0.0, 0.0]:  # written by a GPS receiver without a fix
        return None
    return f"{degrees[0]:.5f}, {degrees[1]:.5f}"


_NORMALISERS: dict[str, Callable[[object], str | None]] = {
    "created": parse_date,
    "modified": parse_date,
    "language": _language_tag,
}
