"""Chinese numerals in digits, as further words of a text: 三月五日 is found by 3月5日, and 一百二十 by 120."""

from __future__ import annotations

import math
import re

from commonplace.text.folding import RUN

__all__ = ["numbers_in_digits"]

_DIGITS = {digit: n for digits in ("〇一二三四五六七八九", "零壹贰叁肆伍陆柒捌玖") for n, digit in enumerate(digits)}
_DIGITS["两"] = 2
_TIMES = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1000, "仟": 1000}
_MYRIADS = {"万": 10**4, "亿": 10**8}
_UNITS = frozenset(
    "年月日号周天点时分秒岁代届个位名人次种项家座条张本台件层楼间室倍元块米斤吨升度级章节页卷期组队班只匹"
)
"""Characters after a numeral of one character that make it a number: 三月 is March, but 三明治 is a sandwich."""
_DATES = frozenset("月日号点时章节页卷期")  # 一月 is January, but 一个 is often only *a*
_NUMERAL = re.compile(f"[{''.join([*_DIGITS, *_TIMES, *_MYRIADS])}]+")
_ARABIC = re.compile(r"(\d(?:\d{0,2}(?:,\d{3})+|\d*(?:\.\d+)?))([百千]?[万亿])?")


def numbers_in_digits(text: str) -> list[str]:
    """Return the numbers of a folded text that it does not write as plain digits: 120 for 一百二十, 35000 for 3.5万.

    A number is followed by the character after it, too: 3月 and 5日 for 三月五日. Numerals that may be no numbers are
    left out, such as those in 万一 and 三明治.
    """
    numbers = []
    for match in _NUMERAL.finditer(text):
        numeral, start, end = match.group(), match.start(), match.end()
        after = text[end : end + 1]
        if len(numeral) > 1:
            value = _value(numeral, before_year=after == "年")
        else:
            value = _single(numeral, after, ordinal=text[start - 1 : start] == "第")
        if value:
            numbers += [value] * (len(numeral) > 1) + [value + after] * bool(RUN.match(after))
    for number, scale in _ARABIC.findall(text):
        if scale or "," in number:
            integer, _, decimals = number.replace(",", "").partition(".")
            factor = math.prod(_TIMES.get(character) or _MYRIADS[character] for character in scale)
            numbers.append(str(int(integer + decimals) * factor // 10 ** len(decimals)))
    return numbers


def _single(numeral: str, after: str, *, ordinal: bool) -> str | None:
    """Return the digits of a numeral of one character, None if it may be no number."""
    sure = ordinal or (after in (_DATES if numeral == "一" else _UNITS) and numeral + after != "十分")  # 十分 is *very*
    value = _DIGITS.get(numeral, 10 if numeral == "十" else 0)
    return str(value) if sure and value else None


def _value(numeral: str, *, before_year: bool) -> str | None:
    """Return the digits of a longer numeral, None if it may be no number."""
    if _DIGITS.keys() >= set(numeral):  # digit by digit
        sure = len(numeral) > 2 or before_year or numeral[1] in "〇零"
        return "".join(str(_DIGITS[character]) for character in numeral) if sure else None
    total = section = digit = 0
    scale = 1  # of the character before
    for n, character in enumerate(numeral):
        before = scale
        if character in _DIGITS:
            if n and before == 1 and digit:
                return None  # 三四十: thirty or forty
            scale = 1
            # 三千五 is 3500, 三千零五 is 3005
            digit = _DIGITS[character] * (before // 10 if n == len(numeral) - 1 and before > 10 else 1)
        elif character in _TIMES:
            if not digit and (n or character not in "十拾"):
                return None  # 千千
            scale = _TIMES[character]
            section, digit = section + (digit or 1) * scale, 0
        elif total + section + digit:
            scale = _MYRIADS[character]
            upper = total if character == "亿" else 0
            total = total - upper + (upper + section + digit) * scale
            section = digit = 0
        else:
            return None  # 万一
    return str(total + section + digit)
