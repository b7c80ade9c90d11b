"""The language of a text, by its script."""

from __future__ import annotations

import re

__all__ = ["language_of", "script_of"]

_SCRIPTS = {
    "Jpan": re.compile("[\u3040-\u30ff]"),
    "Kore": re.compile("[\u1100-\u11ff\uac00-\ud7af]"),
    "Hani": re.compile("[\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff]"),
    "Cyrl": re.compile("[\u0400-\u04ff]"),
    "Arab": re.compile("[\u0600-\u06ff]"),
    "Latn": re.compile("[A-Za-z\u00c0-\u024f]"),
}
_LANGUAGES = {"Jpan": "ja", "Kore": "ko", "Hani": "zh"}
_ENGLISH = re.compile(r"\b(?:the|of|and|is|was|are|were|what|who|how|when|where|which|do|does|did|has|have)\b", re.I)
LETTERS_PER_CHARACTER = 3  # letters that say as much as one Chinese character


def script_of(text: str) -> str | None:
    """Return the script of most of a text (ISO 15924); None where it has no letters."""
    counts = {script: len(pattern.findall(text)) for script, pattern in _SCRIPTS.items()}
    if counts["Jpan"] and counts["Jpan"] >= 0.1 * counts["Hani"]:
        counts["Jpan"] += counts.pop("Hani")
    weights = {
        script: count * (LETTERS_PER_CHARACTER if script in _LANGUAGES else 1) for script, count in counts.items()
    }
    script = max(weights, key=lambda name: weights[name])
    return script if weights[script] else None


def language_of(text: str) -> str | None:
    """Return the language of most of a text as a BCP 47 primary tag; None where the text does not tell."""
    script = script_of(text)
    if script == "Latn":
        return "en" if _ENGLISH.search(text) else None
    return _LANGUAGES.get(script or "")
