"""Folding: one spelling for what is written in several ways, so that words match however they are written.

The index and every question are folded alike. The text that is stored and shown stays as it is.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from pathlib import Path

from commonplace.text.patterns import pattern

__all__ = ["EMOJI", "RUN", "UNSEGMENTED", "emoji_word", "fold", "has_run", "is_plain", "without_accents"]

UNSEGMENTED = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u3007\u3040-\u312f\u31a0-\u31bf\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff"
)
"""The scripts whose words are not separated by spaces, as a character class: Han (with extensions and compatibility
forms), kana, Bopomofo, Thai, Lao, Myanmar and Khmer. Hangul is one of them, because its particles follow a word
without a space: 서울에서 is *in Seoul*."""

# Deleted: accents that no composed letter holds, vowel points of Hebrew and Arabic, invisible characters, skin colours.
_DELETED = (
    *((0x0300, 0x036F), (0x0483, 0x0489), (0x0591, 0x05BD), (0x05BF, 0x05BF), (0x05C1, 0x05C2), (0x05C4, 0x05C5)),
    *((0x0610, 0x061A), (0x0640, 0x0640), (0x064B, 0x065F), (0x0670, 0x0670), (0x06D6, 0x06DC), (0x135D, 0x135F)),
    *((0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x180B, 0x180E), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF)),
    *((0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x2064), (0x20D0, 0x20F0), (0xFE00, 0xFE0F), (0xFE20, 0xFE2F)),
    *((0xFEFF, 0xFEFF), (0x1F3FB, 0x1F3FF), (0xE0020, 0xE007F), (0xE0100, 0xE01EF)),
)


_LETTERS = {"ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L"}
_LETTERS |= {"đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "TH", "ı": "i", "ħ": "h", "Ħ": "H"}
"""Letters that are typed otherwise where a keyboard lacks them, and that no decomposition holds."""


@cache
def _table() -> tuple[re.Pattern[str], dict[int, str | None]]:
    """Return what each character is replaced with, and a pattern of these; read when the first such text comes.

    A search for the few characters that change is faster than a look at each character.
    """
    table: dict[int, str | None] = {}
    for line in Path(__file__).with_name("variants.txt").read_text(encoding="utf-8").splitlines():
        table.update((ord(variant), line[0]) for variant in line[1:])
    table.update((ord(letter), word) for letter, word in _LETTERS.items())
    table.update((point, None) for first, last in _DELETED for point in range(first, last + 1))
    changed = "".join(chr(point) for point in table if point < 0x20000)
    return pattern(f"[{changed}\U00020000-\U0010ffff]+"), table


RUN = pattern(f"[{UNSEGMENTED}]+")
"""Characters of scripts without spaces, as many as stand together."""
EMOJI = pattern("[\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff]")
"""A character that is an emoji, or drawn like one."""
_NOT_PLAIN = pattern("[^\x00-\u08ff\u1d00-\u2fff]")

_REPEATS = pattern("[々〻ゝヽゞヾ]")
_SPACE = pattern(r"\s+")
_ACCENTS = pattern("[\u0300-\u036f]+")


def fold(text: str) -> str:
    """Return ``text`` in the spelling in which words are compared.

    - Full-width Latin letters, half-width kana and other compatibility forms become the usual ones (NFKC).
    - Latin letters that no decomposition holds become others: Strauß becomes Strauss, Łukasz Lukasz.
    - Han characters become one form of their class: simplified, traditional and Japanese forms are equal.
    - Combining marks that no composed letter has, points of Hebrew and Arabic letters, and invisible characters such as
      soft hyphens are deleted. An accent of a composed letter stays; the lexical index removes it.
    - An emoji becomes a word of its own.
    - Iteration marks become what they repeat: 人々 becomes 人人.
    - A line break between two characters of scripts without spaces is deleted, because lines end inside words there.
    """
    if text.isascii():
        return text
    text = unicodedata.normalize("NFKC", text)
    changed, table = _table()
    text = changed.sub(lambda match: match.group().translate(table), text)
    text = EMOJI.sub(lambda match: f" {emoji_word(match.group())} ", text)
    return _SPACE.sub(_join, _REPEATS.sub(_repeat, text)) if has_run(text) else text


def is_plain(text: str) -> bool:
    """Return whether a text has only characters of scripts that ``[^\\W_]`` splits into words, and signs.

    False for scripts without spaces, and for scripts with vowel signs that are no letters to Python.
    """
    return text.isascii() or not _NOT_PLAIN.search(text)


def has_run(text: str) -> bool:
    """Return whether a text has characters of scripts without spaces."""
    return not is_plain(text) and RUN.search(text) is not None


def without_accents(text: str) -> str:
    """Return a text without the accents of its letters, which the lexical index does not have either."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFD", text)))


def emoji_word(emoji: str) -> str:
    """Return the word in the place of an emoji: six letters, because the index takes signs for spaces."""
    return "zq" + "".join(chr(ord("a") + ord(emoji) // 26**n % 26) for n in range(4))


def _repeat(mark: re.Match[str]) -> str:
    before = mark.string[mark.start() - 1 : mark.start()]
    return unicodedata.normalize("NFC", before + "\u3099")[:1] if mark.group() in "ゞヾ" else before


def _join(space: re.Match[str]) -> str:
    """Return nothing in place of a single line break between two characters of scripts without spaces."""
    text, start, end = space.string, space.start(), space.end()
    inside = start > 0 and RUN.match(text, start - 1) and RUN.match(text, end)
    return "" if inside and len(f"{space.group()}.".splitlines()) == 2 else space.group()
