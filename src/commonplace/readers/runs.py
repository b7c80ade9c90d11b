"""The text of a paragraph, put together run by run: raised and lowered marks and readings stay apart from it."""

from __future__ import annotations

import re

__all__ = ["RunText", "symbol"]

_INVISIBLE = str.maketrans(dict.fromkeys("\u00ad\u200b\u2060\ufeff"))
_TOKEN = re.compile(r"[^\W_]+$")
_UNITS = frozenset("mm cm dm km nm pm fm µm μm ft yd mi in ha s kg Hz Pa".split())  # noqa: SIM905
_NUMERIC = re.compile(r"[\d\s,;–-]+")
_SIGNED = re.compile(r"[-−–+]\s?\d+([.,]\d+)?|\d+[-−–+]|[-−–+]+")
_POWER_OF_TEN = re.compile(r"(?<![\d.,])10$")
_BRACKETS = re.compile(r"\(([^()]*)\)$|\[([^\[\]]*)\]$")

#: What symbol fonts draw for a character (the low byte of its code).
_WINGDINGS = {
    0x6E: "■", 0x6F: "[ ]", 0x71: "[ ]", 0x72: "[ ]", 0x78: "[x]", 0xA8: "[ ]", 0xFD: "[x]", 0xFE: "[x]", 0xFB: "✗",
    0xFC: "✓", 0xE0: "→", 0xDF: "←", 0xE1: "↑", 0xE2: "↓", 0xE8: "→", 0xF0: "→", 0x4A: "☺", 0x4C: "☹", 0xA7: "•",
    0x76: "•", 0xD8: "•", 0x6C: "•", 0x28: "☎", 0x2A: "✉",
}  # fmt: skip
_WINGDINGS_2 = {0x50: "✓", 0x4F: "✗", 0x51: "[x]", 0x52: "[x]", 0x53: "[x]", 0x54: "[x]", 0xA3: "[ ]", 0x30: "[ ]"}
_SYMBOL = dict(
    zip(
        map(ord, "ABGDEZHQIKLMNXOPRSTUFCYWabgdezhqiklmnxoprstufcyw"),
        "ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩαβγδεζηθικλμνξοπρστυφχψω",
        strict=True,
    )
) | {
    0xA3: "≤", 0xB3: "≥", 0xB0: "°", 0xB1: "±", 0xB4: "×", 0xB7: "•", 0xB8: "÷", 0xB9: "≠", 0xBB: "≈", 0xA5: "∞",
    0xAE: "→", 0xAC: "←", 0xDE: "⇒", 0xE5: "∑", 0xF2: "∫", 0xD6: "√", 0xB6: "∂", 0xD0: "∠", 0xCE: "∈", 0xC6: "∅",
}  # fmt: skip


def symbol(font: str, code: int) -> str:
    """Return the character that a symbol font draws: "[x]" and "[ ]" for boxes, "" where it is not known."""
    name, low = font.casefold(), code & 0xFF
    if name.startswith("wingdings 2"):
        return _WINGDINGS_2.get(low, "")
    if name.startswith("wingdings"):
        return _WINGDINGS.get(low, "")
    if name.startswith("symbol"):
        return _SYMBOL.get(low, "")
    return chr(code) if 0x20 <= code < 0xD800 or 0xF900 <= code < 0x110000 else ""


class RunText:
    """A paragraph's text. Runs of one kind that follow each other are one mark."""

    def __init__(self, begun: str = "") -> None:
        self._text = begun
        self._mark, self._position = "", ""
        self._reading = ""

    def add(self, text: str, position: str = "") -> None:
        """Add a run; ``position`` is "super", "sub", or "" for neither."""
        if not text:
            return
        self._end_reading()
        if position != self._position:
            self._end_mark()
            self._position = position
        if position:
            self._mark += text
        else:
            self._text += text

    def note(self, mark: str) -> None:
        """Add the mark of a note: " [1]"."""
        self._end_reading()
        self._end_mark()
        self._text += f" [{mark}]" if self._text and not self._text[-1].isspace() else f"[{mark}]"

    def ruby(self, base: str, reading: str) -> None:
        """Add characters with their reading; the readings of a word stand behind it: 図書館(としょかん)."""
        self._end_mark()
        self._text += base
        self._reading += reading

    @property
    def text(self) -> str:
        """The text, each line with single spaces."""
        lines = self.raw.translate(_INVISIBLE).split("\n")
        return "\n".join(" ".join(line.split()) for line in lines).strip()

    @property
    def raw(self) -> str:
        """The text with all its spaces, to be gone on with."""
        self._end_reading()
        self._end_mark()
        return self._text

    def _end_reading(self) -> None:
        if self._reading:
            self._text += f"({self._reading})"
            self._reading = ""

    def _end_mark(self) -> None:
        mark, position, self._mark, self._position = self._mark, self._position, "", ""
        if mark:
            self._text += (_raised if position == "super" else _lowered)(self._text, mark)


def _raised(before: str, mark: str) -> str:
    """Return a raised mark as it follows ``before``: a power as ``^6``, a note as ``[3]``, an ending as it is."""
    inner = mark.strip()
    if not inner or (not any(map(str.isalnum, inner)) and not _SIGNED.fullmatch(inner)):
        return mark
    if not before.strip() or before.endswith("\n"):
        return f"[{inner}] " if inner.isdecimal() else mark
    if before[-1].isspace() or mark[0].isspace():
        return f"^{inner}" if inner.isdecimal() else mark
    trailing = mark[len(mark.rstrip()) :]
    if _is_power(before, inner):
        return f"^{inner if len(inner) == 1 or re.fullmatch(r'[-−+]?[0-9]+', inner) else f'{{{inner}}}'}{trailing}"
    if _NUMERIC.fullmatch(inner) or len(inner) == 1:
        return f" [{inner}]{trailing}"
    return mark


def _is_power(before: str, mark: str) -> bool:
    match = _TOKEN.search(before)
    token = match[0] if match else ""
    if _SIGNED.fullmatch(mark) or _POWER_OF_TEN.search(before):
        return True
    if not _NUMERIC.fullmatch(mark) and len(mark) > 1:
        return len(token) == 1 and not mark.isalpha()  # x^{n+1}, but 5th and 1er
    if token.isdigit():
        return token == "2" and mark.isdecimal() and len(mark) > 1 and before[:-1][-1:] not in ",."
    if token:
        is_variable = (len(token) == 1 and token.isascii()) or "\u0370" <= token <= "\u03ff"
        return (is_variable and mark.isalnum()) or (token in _UNITS and mark in ("2", "3", "4"))
    brackets = _BRACKETS.search(before)
    return brackets is not None and not re.search(r"[^\W\d_]{4}", brackets[0]) and mark.isalnum()


def _lowered(before: str, mark: str) -> str:
    """Return a lowered mark: as it is written in a line of text (H2O, Vmax), but apart from a number."""
    return f"_{mark}" if before[-1:].isdecimal() and mark[:1].isalnum() else mark
