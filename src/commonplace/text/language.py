"""The language of a text, by its script."""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["language_of", "same_language"]

_SCRIPTS = (
    ("ja", re.compile("[\u3040-\u30ff]")),
    ("ko", re.compile("[\u1100-\u11ff\uac00-\ud7af]")),
    ("zh", re.compile("[\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff]")),
    ("ru", re.compile("[\u0400-\u04ff]")),
    ("el", re.compile("[\u0370-\u03ff]")),
    ("ar", re.compile("[\u0600-\u06ff]")),
    ("he", re.compile("[\u0590-\u05ff]")),
    ("th", re.compile("[\u0e00-\u0e7f]")),
    ("hi", re.compile("[\u0900-\u097f]")),
)
_LATIN = re.compile("[A-Za-z\u00c0-\u024f]+")
_ENGLISH = frozenset(
    """the of and to in is was are were a an that it on for with as by at from this which who what how when where why do
    does did have has can many much not be there""".split()  # noqa: SIM905
)
LETTERS_PER_CHARACTER = 3  # letters that say as much as one Chinese character


@lru_cache(maxsize=4096)
def language_of(text: str) -> str | None:
    """Return the language of most of a text as a BCP 47 primary tag; None where the text does not tell."""
    counts = {tag: len(pattern.findall(text)) for tag, pattern in _SCRIPTS}
    if counts["ja"] >= 0.1 * counts["zh"]:
        counts["ja"] += counts.pop("zh") if counts["ja"] else 0
    tag = max(counts, key=lambda name: counts[name])
    words = _LATIN.findall(text)
    letters = sum(map(len, words))
    if counts[tag] * LETTERS_PER_CHARACTER > letters:
        return tag
    common = sum(word.lower() in _ENGLISH for word in words)
    return "en" if common >= 2 or (common and len(words) <= 8) else None


def same_language(text: str, other: str) -> bool:
    """Return whether two texts may have words in common: not if their scripts or their languages differ."""
    languages = {language_of(text), language_of(other)}
    if None not in languages:
        return len(languages) == 1
    return len(languages) == 1 or not languages & {tag for tag, _ in _SCRIPTS}
