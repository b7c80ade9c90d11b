"""Chinese numerals in digits, as further words of a text: 三月五日 is found by 3月5日, and 一百二十 by 120."""

from __future__ import annotations

import math

from commonplace.text.folding import RUN, is_plain
from commonplace.text.patterns import pattern

__all__ = ["DIGITS", "MYRIADS", "TIMES", "numbers_in_digits", "value_of"]

DIGITS = {digit: n for digits in ("〇一二三四五六七八九", "零壹贰叁肆伍陆柒捌玖") for n, digit in enumerate(digits)}
DIGITS["两"] = 2
TIMES = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1000, "仟": 1000}
MYRIADS = {"万": 10**4, "亿": 10**8, "兆": 10**12}
_UNITS = frozenset(
    "年月日号周天点时分秒岁代届个位名人次种项家座条张本台件层楼间室倍元块米斤吨升度级章节页卷期组队班只匹"
)
"""Characters after a numeral of one character that make it a number: 三月 is March, but 三明治 is a sandwich."""
_DATES = frozenset("月日号点时章节页卷期")  # 一月 is January, but 一个 is often only *a*
_NUMERAL = pattern(f"[{''.join([*DIGITS, *TIMES, *MYRIADS])}]+")
_ARABIC = pattern(r"(\d(?:\d{0,2}(?:,\d{3})+|\d*(?:\.\d+)?))([百千]?[万亿])?")


def numbers_in_digits(text: str) -> list[str]:
    """Return the numbers of a folded text that it does not write as plain digits: 120 for 一百二十, 35000 for 3.5万.

    A number is followed by the character after it, too: 3月 and 5日 for 三月五日. Numerals that may be no numbers are
    left out, such as those in 万一 and 三明治.
    """
    numbers = []
    for match in () if is_plain(text) else _NUMERAL.finditer(text):
        numeral, start, end = match.group(), match.start(), match.end()
        after = text[end : end + 1]
        if len(numeral) > 1:
            value = value_of(numeral, is_year=after == "年")
        else:
            value = _single(numeral, after, ordinal=text[start - 1 : start] == "第")
        if value:
            numbers += [value] * (len(numeral) > 1) + [value + after] * bool(RUN.match(after))
    for number, scale in _ARABIC.findall(text):
        if scale or "," in number:
            integer, _, decimals = number.replace(",", "").partition(".")
            factor = math.prod(TIMES.get(character) or MYRIADS[character] for character in scale)
            numbers.append(str(int(integer + decimals) * factor // 10 ** len(decimals)))
    return numbers


def _single(numeral: str, after: str, *, ordinal: bool) -> str | None:
    """Return the digits of a numeral of one character, None if it may be no number."""
    sure = ordinal or (after in (_DATES if numeral == "一" else _UNITS) and numeral + after != "十分")  # 十分 is *very*
    value = DIGITS.get(numeral, 10 if numeral == "十" else 0)
    return str(value) if sure and value else None


def value_of(numeral: str, *, is_year: bool = False) -> str | None:
    """Return the digits of a simplified Chinese numeral without a decimal point, None if it may be no number.

    Two digits side by side, such as 三四, are *three or four* unless they are a year or have a zero.
    """
    if DIGITS.keys() >= set(numeral):  # digit by digit
        sure = len(numeral) != 2 or is_year or bool({"〇", "零"} & set(numeral))
        return "".join(str(DIGITS[character]) for character in numeral) if sure else None
    total = section = digit = 0
    scale = 1  # of the character before
    for n, character in enumerate(numeral):
        before = scale
        if character in DIGITS:
            if n and before == 1 and digit:
                return None  # 三四十: thirty or forty
            scale = 1
            # 三千五 is 3500, 三千零五 is 3005
            digit = DIGITS[character] * (before // 10 if n == len(numeral) - 1 and before > 10 else 1)
        elif character in TIMES:
            if not digit and (n or character not in "十拾"):
                return None  # 千千
            scale = TIMES[character]
            section, digit = section + (digit or 1) * scale, 0
        elif total + section + digit:
            scale = MYRIADS[character]
            smaller = total % scale
            total += (smaller + section + digit) * scale - smaller
            section = digit = 0
        else:
            return None  # 万一
    return str(total + section + digit)
