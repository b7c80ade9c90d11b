"""Numbers that a program counts itself: of lists, headings, clauses and notes."""

from __future__ import annotations

__all__ = ["format_number"]

_ROMAN = (
    (1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"),
    (9, "ix"), (5, "v"), (4, "iv"), (1, "i"),
)  # fmt: skip
_HAN_DIGITS = "〇一二三四五六七八九"
_HAN_KINDS = {
    "chineseCounting", "chineseCountingThousand", "japaneseCounting", "taiwaneseCounting", "taiwaneseCountingThousand",
    "ideographTraditional", "koreanCounting", "一, 二, 三, ...",
}  # fmt: skip
_KINDS = {  # OpenDocument (style:num-format) and PowerPoint (a:buAutoNum) -> WordprocessingML (w:numFmt)
    "1": "decimal", "i": "lowerRoman", "I": "upperRoman", "a": "lowerLetter", "A": "upperLetter",
    "arabic": "decimal", "romanLc": "lowerRoman", "romanUc": "upperRoman", "alphaLc": "lowerLetter",
    "alphaUc": "upperLetter", "ea1ChsPlain": "chineseCounting", "ea1ChtPlain": "chineseCounting",
    "circleNumDbPlain": "decimalEnclosedCircle",
}  # fmt: skip


def format_number(number: int, kind: str) -> str:
    """Return ``number`` as ``kind`` writes it: the value of Word's ``w:numFmt``, or another format's name for it.

    A kind that is not known gives digits.
    """
    kind = _KINDS.get(kind, kind)
    if not 0 < number < 100_000:
        return str(number)
    if kind in ("lowerRoman", "upperRoman") and number < 4000:
        text = ""
        for value, letters in _ROMAN:
            text += letters * (number // value)
            number %= value
        return text if kind == "lowerRoman" else text.upper()
    if kind in ("lowerLetter", "upperLetter") and number <= 26 * 40:
        letter = chr(ord("a") + (number - 1) % 26) * ((number - 1) // 26 + 1)
        return letter if kind == "lowerLetter" else letter.upper()
    if kind == "decimalZero":
        return f"{number:02}"
    if kind == "ordinal":
        ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
        return f"{number}{ending}"
    if kind == "decimalEnclosedCircle" and number <= 20:
        return chr(0x2460 + number - 1)
    if kind == "ideographDigital":
        return "".join(_HAN_DIGITS[int(digit)] for digit in str(number))
    return _in_han(number) if kind in _HAN_KINDS else str(number)


def _in_han(number: int) -> str:
    text, zero = "", False
    for unit, name in ((10_000, "万"), (1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit, number = divmod(number, unit)
        if digit:
            text += ("〇" if zero else "") + _HAN_DIGITS[digit] + name
            zero = False
        elif text and number:
            zero = True
    return text[1:] if text.startswith("一十") else text
