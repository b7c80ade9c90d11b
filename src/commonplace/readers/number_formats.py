"""Numbers and dates as the cells of a sheet show them: number formats of Office Open XML (ECMA-376 part 1, 18.8.31).

A format has up to four sections, for positive, negative, zero and text values. Fractions are shown as decimals.
"""

from __future__ import annotations

import datetime
import re
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from functools import lru_cache

__all__ = ["BUILT_IN", "formatted", "has_decimal_comma", "is_date_format"]

#: Formats that a file names by number alone. Dates in the order of the reader's country are shown as ISO dates.
BUILT_IN = {
    1: "0", 2: "0.00", 3: "#,##0", 4: "#,##0.00", 9: "0%", 10: "0.00%", 11: "0.00E+00", 14: "yyyy-mm-dd",
    15: "d-mmm-yy", 16: "d-mmm", 17: "mmm-yy", 18: "h:mm AM/PM", 19: "h:mm:ss AM/PM", 20: "hh:mm", 21: "hh:mm:ss",
    22: "yyyy-mm-dd hh:mm", 37: "#,##0;-#,##0", 38: "#,##0;-#,##0", 39: "#,##0.00;-#,##0.00",
    40: "#,##0.00;-#,##0.00", 45: "mm:ss", 46: "[h]:mm:ss", 47: "mm:ss.0", 48: "##0.0E+0", 49: "@",
    5: '"$"#,##0', 6: '"$"#,##0', 7: '"$"#,##0.00', 8: '"$"#,##0.00',
}  # fmt: skip
_MAX_FORMAT = 200  # characters
_MONTHS = (
    "January February March April May June July August September October November December".split()  # noqa: SIM905
)
_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()  # noqa: SIM905
_PIECE = re.compile(
    r'"(?P<quoted>[^"]*)"|\\(?P<escaped>.)|_(?P<space>.)|\*.|\[\$(?P<currency>[^\]\-]*)(?:-[^\]]*)?\]'
    r"|\[(?P<elapsed>h+|m+|s+)\]|\[[^\]]*\]"
    r"|(?P<ampm>AM/PM|A/P|上午/下午)|(?P<general>General)|(?P<exponent>E[+-](?=[0#?]))"
    r"|(?P<date>y+|m+|d+|h+|s+|b+|e+|g+)|(?P<digit>[0#?])|(?P<other>.)",
    re.IGNORECASE | re.DOTALL,
)
# Locales (the low bits of a Windows LCID) whose decimal sign is a comma.
_COMMA_LANGUAGES = frozenset(
    (0x02, 0x03, 0x05, 0x06, 0x07, 0x08, 0x0A, 0x0B, 0x0C, 0x0E, 0x10, 0x13, 0x14, 0x15, 0x16, 0x18, 0x19, 0x1A, 0x1B,
     0x1C, 0x1D, 0x1F, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x2A, 0x2F, 0x36)
)  # fmt: skip
_POINT_LOCALES = frozenset((0x0807, 0x0810, 0x080A, 0x100C))  # Switzerland, Mexico
_LOCALE = re.compile(r"\[\$[^\]\-]*-([0-9A-Fa-f]{3,8})\]")
_DOTTED_DATE = re.compile(r"d{1,2}\\?\.\s*m{1,4}\\?\.|d\\?\.m", re.IGNORECASE)

Value = float | int | datetime.datetime | datetime.date | datetime.time | datetime.timedelta


def has_decimal_comma(codes: list[str]) -> bool:
    """Return whether the formats of a workbook are those of a country that writes 1.234,50.

    A workbook does not say so; its currency's country does, or dates such as 24.12.2025.
    """
    locales = [int(match[1], 16) & 0xFFFF for code in codes for match in _LOCALE.finditer(code)]
    locales = [locale for locale in locales if locale & 0x3FF in _COMMA_LANGUAGES or locale & 0x3FF == 0x09]
    if locales:
        return all(locale & 0x3FF in _COMMA_LANGUAGES and locale not in _POINT_LOCALES for locale in locales)
    return any(_DOTTED_DATE.search(_without_literals(code)) for code in codes)


def _without_literals(code: str) -> str:
    return re.sub(r'"([^"]*)"', lambda match: match[1] if match[1] == "." else "", code)


def is_date_format(code: str) -> bool:
    """Return whether a format shows a date, a time or a duration."""
    return any(piece for section in _sections(code)[:1] for piece in section if piece[0] in ("date", "elapsed"))


def formatted(value: Value, code: str, *, comma: bool = False) -> str | None:
    """Return ``value`` as the format shows it; None where the format is General or not understood.

    ``comma``: the decimal sign is a comma, and the sign between thousands a point.
    """
    sections = _sections(code)
    if not sections or any(kind == "general" for kind, _ in sections[0]):
        return None
    try:
        if isinstance(value, (datetime.datetime, datetime.date, datetime.time, datetime.timedelta)):
            return _date(value, sections[0]) if is_date_format(code) else None
        if any(kind in ("date", "elapsed") for kind, _ in sections[0]):
            return _date(datetime.datetime(1899, 12, 30) + datetime.timedelta(days=value), sections[0])
        number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
        if number < 0 and len(sections) > 1:
            section, number = sections[1], -number
        else:
            section = sections[2] if number == 0 and len(sections) > 2 else sections[0]
        return _number(number, section, comma)
    except (InvalidOperation, OverflowError, ValueError):
        return None


_Pieces = tuple[tuple[str, str], ...]


@lru_cache(maxsize=1024)
def _sections(code: str) -> tuple[_Pieces, ...]:
    if len(code) > _MAX_FORMAT:
        return ()
    sections: list[list[tuple[str, str]]] = [[]]
    for match in _PIECE.finditer(code):
        kind = match.lastgroup or "skip"
        text = match[kind] if kind != "skip" else ""
        if kind == "other" and text == ";":
            sections.append([])
        elif kind == "space":
            sections[-1].append(("literal", " "))
        elif kind in ("quoted", "escaped", "currency"):
            sections[-1].append(("literal", text))
        elif kind != "skip":
            sections[-1].append((kind, text))
    return tuple(map(tuple, sections))


def _number(number: Decimal, section: _Pieces, comma: bool) -> str | None:
    kinds = [kind for kind, _ in section]
    if "digit" not in kinds:
        text = "".join(text for kind, text in section if kind in ("literal", "other")).strip()
        if "@" in text:
            return None
        return ("-" if number < 0 and text else "") + text
    first, last = kinds.index("digit"), len(kinds) - 1 - kinds[::-1].index("digit")
    core = "".join(text for kind, text in section[first : last + 1] if kind in ("digit", "other", "exponent"))
    if "/" in core:
        return None
    before = "".join(text for kind, text in section[:first] if kind in ("literal", "other"))
    after = "".join(text for kind, text in section[last + 1 :] if kind in ("literal", "other"))
    scale = len(after) - len(after.lstrip(","))
    after = after[scale:]
    inner = "".join(text for kind, text in section[first:last] if kind == "literal" or text in "-()+")
    percent = (before + core + after).count("%")
    number = number.scaleb(2 * percent - 3 * scale)
    if "exponent" in kinds:
        return before + _scientific(number, core) + after
    if inner.strip(" .,'’"):
        return before + _patterned(number, section[first : last + 1]) + after
    whole_pattern, point, decimals = core.replace("%", "").partition(".")
    fewest = sum(sign == "0" for sign in decimals)
    most = sum(sign in "0#?" for sign in decimals)
    rounded = number.quantize(Decimal(1).scaleb(-most), ROUND_HALF_UP)
    digits = f"{abs(rounded):f}"
    integer, _, fraction = digits.partition(".")
    while len(fraction) > fewest and fraction.endswith("0"):
        fraction = fraction[:-1]
    width = sum(sign == "0" for sign in whole_pattern)
    integer = integer.lstrip("0").rjust(width, "0")
    if "," in whole_pattern or (inner and inner.strip() == ""):
        integer = re.sub(r"(?<=\d)(?=(\d{3})+$)", "." if comma else ",", integer)
    sign = "-" if rounded < 0 else ""
    text = integer + (("," if comma else ".") + fraction if fraction or (point and fewest) else "")
    percent_sign = "%" * core.count("%")
    return " ".join(f"{before}{sign}{text or '0'}{percent_sign}{after}".split())


def _scientific(number: Decimal, core: str) -> str:
    mantissa, _, exponent = re.split(r"(?i)E([+-])", core, maxsplit=1)
    places = len(mantissa.partition(".")[2])
    text = f"{number:.{places}E}"
    base, _, power = text.partition("E")
    return f"{base}E{power[0]}{power[1:].rjust(len(exponent), '0')}"


def _patterned(number: Decimal, section: _Pieces) -> str:
    """Return a whole number spread over its pattern, as phone numbers are: 000-0000."""
    places = sum(kind == "digit" for kind, _ in section)
    digits = f"{abs(number).quantize(Decimal(1), ROUND_HALF_UP):f}".rjust(places, "0")
    text, rest = digits[: len(digits) - places], iter(digits[len(digits) - places :])
    for kind, sign in section:
        text += next(rest) if kind == "digit" else sign if kind in ("literal", "other") else ""
    return ("-" if number < 0 else "") + text


def _date(value: Value, section: _Pieces) -> str:
    days, moment = 0, datetime.datetime(1899, 12, 30)
    if isinstance(value, datetime.timedelta):
        days, moment = value.days, moment + datetime.timedelta(seconds=value.seconds)
    elif isinstance(value, datetime.datetime):
        moment = value
        days = (value.replace(tzinfo=None) - datetime.datetime(1899, 12, 30)).days
    elif isinstance(value, datetime.date):
        moment = datetime.datetime(value.year, value.month, value.day)
    elif isinstance(value, datetime.time):
        moment = moment.replace(hour=value.hour, minute=value.minute, second=value.second)
    half = any(kind == "ampm" for kind, _ in section)
    text = ""
    clock = ""  # what stood before a run of m: minutes follow hours and come before seconds
    for number, (kind, piece) in enumerate(section):
        following = next((later for later in section[number + 1 :] if later[0] in ("date", "elapsed")), ("", ""))
        if kind == "elapsed":
            unit = piece[0].lower()
            seconds = days * 86_400 + moment.hour * 3600 + moment.minute * 60 + moment.second
            text += str(seconds // {"h": 3600, "m": 60, "s": 1}[unit]).rjust(len(piece), "0")
            clock = unit
        elif kind == "date":
            unit = piece[0].lower()
            is_minute = unit == "m" and (clock == "h" or following[1][:1].lower() == "s") and len(piece) < 3
            text += _minute(moment, piece) if is_minute else _date_piece(moment, unit, len(piece), half)
            clock = unit
        elif kind == "ampm":
            text += "AM" if moment.hour < 12 else "PM"
        elif kind == "digit":
            text += "0"
        elif kind in ("literal", "other") and piece != "@":
            text += piece
    return " ".join(text.split())


def _minute(moment: datetime.datetime, piece: str) -> str:
    return f"{moment.minute:02}" if len(piece) > 1 else str(moment.minute)


def _date_piece(moment: datetime.datetime, unit: str, length: int, half: bool) -> str:
    if unit in "ye":
        return f"{moment.year % 100:02}" if unit == "y" and length < 3 else f"{moment.year:04}"
    if unit == "m" and length > 2:
        name = _MONTHS[moment.month - 1]
        return name[:1] if length == 5 else name if length == 4 else name[:3]
    if unit == "d" and length > 2:
        name = _DAYS[moment.weekday()]
        return name if length > 3 else name[:3]
    if unit in "bg":
        return ""
    hour = (moment.hour % 12 or 12) if half else moment.hour
    number = {"m": moment.month, "d": moment.day, "h": hour, "s": moment.second}[unit]
    return f"{number:02}" if length > 1 else str(number)
