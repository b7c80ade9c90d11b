"""Dates in a text, in any usual spelling: 6 May 2026, May 6, 2026-05-06, 06.05.2026, 2026年5月6日."""

from __future__ import annotations

import re
from functools import lru_cache

from commonplace.text import in_digits

__all__ = ["Day", "agree", "dates", "without_dates"]

Day = tuple[int | None, int, int | None]
"""Year, month, day; the year or the day may be missing."""

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january jan januar janvier enero",
            "february feb februar février febrero",
            "march mar märz mars marzo",
            "april apr avril abril",
            "may mai mayo",
            "june jun juni juin junio",
            "july jul juli juillet julio",
            "august aug août agosto",
            "september sep sept septembre septiembre",
            "october oct oktober okt octobre octubre",
            "november nov novembre noviembre",
            "december dec dezember dez décembre diciembre",
        ),
        1,
    )
    for name in names.split()
}
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_DAY = r"(?P<day>[0-3]?\d)(?:st|nd|rd|th|\.)?"
_YEAR = r"(?P<year>(?:19|20)\d\d)"
_FORMS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?<!\d)(?P<year>(?:19|20)\d\d)[-/.](?P<month>[01]?\d)(?:[-/.](?P<day>[0-3]?\d))?(?!\d)",
        r"(?<!\d)(?P<day>[0-3]?\d)\.(?P<month>[01]?\d)\.(?P<year>(?:19|20)\d\d)(?!\d)",
        rf"(?<!\w){_DAY}(?: of)? ?(?P<name>{_MONTH})\b\.?(?:,? {_YEAR}\b)?",
        rf"(?<!\w)(?P<name>{_MONTH})\.? (?P<day>[0-3]?\d)(?:st|nd|rd|th)?(?!\d)(?:,? {_YEAR}\b)?",
        rf"(?<!\w)(?P<name>{_MONTH})\.?,? {_YEAR}\b",
        r"(?:(?P<year>(?:19|20)\d\d)年)?(?P<month>[01]?\d)月(?:(?P<day>[0-3]?\d)[日号號])?",
    )
]


@lru_cache(maxsize=4096)
def dates(text: str) -> frozenset[Day]:
    """Return the days and months that a text names. A month alone, without day and year, is none."""
    found: set[Day] = set()
    rest = in_digits(text) if not text.isascii() else text
    for form in _FORMS:
        for match in form.finditer(rest):
            parts = match.groupdict()
            month = _MONTHS[parts["name"].casefold()] if parts.get("name") else int(parts["month"])
            day = int(parts["day"]) if parts.get("day") else None
            year = int(parts["year"]) if parts.get("year") else None
            if 1 <= month <= 12 and (day is None or 1 <= day <= 31) and (year or day):
                found.add((year, month, day))
        rest = form.sub(lambda match: " " * len(match.group()), rest)
    return frozenset(found)


def without_dates(text: str) -> str:
    """Return a text without the dates that ``dates()`` finds in it."""
    for form in _FORMS:
        text = form.sub(lambda match: " " if dates(match.group()) else match.group(), text)
    return text


def agree(asked: Day, said: Day) -> bool:
    """Return whether a date in a text may be the date that is asked for: what both name is the same."""
    return all(one is None or other is None or one == other for one, other in zip(asked, said, strict=True))
