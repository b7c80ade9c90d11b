"""Dates in a text, in any usual spelling: 6 May 2026, May 6, 2026-05-06, 06.05.2026, 2026年5月6日."""

from __future__ import annotations

import re
from functools import lru_cache

from commonplace.text.numbers import in_digits
from commonplace.text.patterns import pattern

__all__ = ["Day", "agree", "dates", "months", "spellings", "without_dates"]

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
    pattern(form, re.IGNORECASE)
    for form in (
        r"(?<!\d)(?P<year>(?:19|20)\d\d)[-/.](?P<month>[01]?\d)(?:[-/.](?P<day>[0-3]?\d))?(?!\d)",
        r"(?<!\d)(?P<day>[0-3]?\d)\.(?P<month>[01]?\d)\.(?P<year>(?:19|20)\d\d)(?!\d)",
        rf"(?<!\w){_DAY}(?: of)? ?(?P<name>{_MONTH})\b\.?(?:,? {_YEAR}\b)?",
        rf"(?<!\w)(?P<name>{_MONTH})\.? (?P<day>[0-3]?\d)(?:st|nd|rd|th)?(?!\d)(?:,? {_YEAR}\b)?",
        rf"(?<!\w)(?P<name>{_MONTH})\.?,? {_YEAR}\b",
        r"(?:(?P<year>(?:19|20)\d\d)年)?(?P<month>[01]?\d)月(?:(?P<day>[0-3]?\d)[日号號])?",
    )
]


_DIGIT = pattern(r"\d")  # every form has one


@lru_cache(maxsize=4096)
def dates(text: str) -> frozenset[Day]:
    """Return the days and months that a text names. A month alone, without day and year, is none."""
    days: set[Day] = set()
    rest = in_digits(text) if not text.isascii() else text
    for form in _FORMS if _DIGIT.search(rest) else ():
        for match in form.finditer(rest):
            parts = match.groupdict()
            month = _MONTHS[parts["name"].casefold()] if parts.get("name") else int(parts["month"])
            day = int(parts["day"]) if parts.get("day") else None
            year = int(parts["year"]) if parts.get("year") else None
            if 1 <= month <= 12 and (day is None or 1 <= day <= 31) and (year or day):
                days.add((year, month, day))
        rest = form.sub(lambda match: " " * len(match.group()), rest)
    return frozenset(days)


_SHORT = ("may", "mai", "mayo", "march", "mars", "marzo")  # words of other meanings, too
_MONTH_ALONE = pattern(
    rf"\b(?P<name>{'|'.join(name for name in _MONTHS if len(name) > 3 and name not in _SHORT)})\b"
    rf"|\b(?:in|of|by|since|until|till|from|during|for|last|this|next|early|mid|late|im|bis|seit|ab|vom)[ -]"
    rf"(?P<short>{'|'.join(_SHORT)})\b|(?<!\d)(?P<month>1[0-2]|[1-9])月",
    re.IGNORECASE,
)


@lru_cache(maxsize=4096)
def months(text: str) -> frozenset[int]:
    """Return the numbers of the months that a text names, in dates or alone. *May* alone is one after *in* or *of*."""
    named = {month for _, month, _ in dates(text)}
    for match in _MONTH_ALONE.finditer(text if text.isascii() else in_digits(text)):
        name = match["name"] or match["short"]
        named.add(_MONTHS[name.casefold()] if name else int(match["month"]))
    return frozenset(named)


def without_dates(text: str) -> str:
    """Return a text without the dates that ``dates()`` finds in it."""
    for form in _FORMS:
        text = form.sub(lambda match: " " if dates(match.group()) else match.group(), text)
    return text


def spellings(day: Day) -> list[str]:
    """Return how a day with its year is written in names of files and in texts, as words without signs."""
    year, month, number = day
    if year is None or number is None:
        return []
    name = next(name for name, value in _MONTHS.items() if value == month)
    plain = [f"{year} {month:02} {number:02}", f"{number:02} {month:02} {year}"]
    return [*plain, f"{number} {name} {year}", f"{name} {number} {year}"]


def agree(day: Day, other: Day) -> bool:
    """Return whether a date in a text may be the date that is asked for: what both name is the same."""
    return all(a is None or b is None or a == b for a, b in zip(day, other, strict=True))
