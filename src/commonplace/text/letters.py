"""Languages that share a script, told apart by how often pairs and triples of letters occur in them.

The likelihood of a text in each language is that of its pairs and triples of letters (naive Bayes). ``languages.npz``
holds their log-probabilities; ``scripts/languages.py`` makes it.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from commonplace.text.patterns import pattern

__all__ = ["WORDS", "language_in", "languages"]

STEP = 20  # log-probabilities are stored in steps of 1 / STEP
FLOOR = float(np.log(1e-5))  # the log-probability of what the table does not have
MOST_LETTERS = 600
LEAST_WORDS = 3
LEAST_LEAD, LEAST_LEAD_OF_SHORT = 8.0, 12.0
"""By how much the likeliest language must lead, in log-odds of the text: with the second divided by its words."""
LEAST_LEAD_PER_GRAM = 0.05
SURPRISE, SURPRISE_OF_SHORT = 1.3, 4.0
"""How much less likely than usual a text may be in its language, for each pair or triple. A text that is less likely is
in a language that the table does not have. Short texts vary more: with the second divided by the square root of n."""
PRIOR = {"en": 2.5, **dict.fromkeys("de fr es it pt nl pl tr vi id ro cs sv hu ru uk ar fa hi".split(), 1.5)}  # noqa: SIM905

_BEFORE, _AFTER = r"(?<![^\s(\[\"'«»„“”‘’¿¡—–-])", r"(?=[\s.,;:!?…)\]\"'«»“”‘’—–،؛؟।-]|$)"


def _words(letters: str) -> re.Pattern[str]:
    """Return the pattern of a word of prose; what stands in paths and code is none: ``f(x)``, ``a_b``, ``a.b``."""
    return pattern(rf"{_BEFORE}[{letters}]+(?:['’-][{letters}]+)*{_AFTER}")


WORDS = {
    "Latn": _words("A-Za-zÀ-ÖØ-öø-ɏ\u0307Ḁ-ỿ"),
    "Cyrl": _words("Ѐ-ԯ"),
    "Arab": _words("ء-ٟٮ-ۓەۮۯۺ-ۿ\u200c"),
    "Deva": _words("ऀ-ॣॱ-ॿ"),
}
"""The words of each script that several languages share."""

# As the counted texts were: Romanian comma letters with a cedilla, Persian yeh as Arabic, Vietnamese marks as one.
_FOLDED = str.maketrans(
    {"ș": "ş", "ț": "ţ", "ی": "ي", "\u0307": None, **dict.fromkeys("\u200c’'-", " ")}
    | dict.fromkeys(map(chr, range(0x1EA0, 0x1F00)), "ể")
)


class _Table:
    """The log-probability of each pair and triple of letters (rows) in each language (columns)."""

    def __init__(self) -> None:
        with np.load(Path(__file__).with_name("languages.npz")) as stored:
            self.languages: list[str] = stored["languages"].tolist()
            grams = stored["grams"].astype(np.uint64)
            table = stored["table"].astype(np.float32) / -STEP
            self.typical: NDArray[np.float32] = stored["typical"]
        codes = _codes(grams[:, 0], grams[:, 1], grams[:, 2])
        order = np.argsort(codes)
        self.codes = np.append(codes[order], np.iinfo(np.uint64).max)
        self.rows = np.vstack([table[order], np.full((1, len(self.languages)), FLOOR, np.float32)])
        self.prior = np.array([PRIOR.get(language, 0.0) for language in self.languages], np.float32)

    def row_numbers(self, text: str) -> NDArray[np.intp]:
        """Return the row of each pair and triple in ``text``; that of an unknown one is the last."""
        letters = np.frombuffer(text.encode("utf-32-le"), np.uint32).astype(np.uint64)
        pairs = _codes(letters[:-1], letters[1:], np.uint64(0))
        codes = np.concatenate([pairs, _codes(letters[:-2], letters[1:-1], letters[2:])])
        numbers = np.searchsorted(self.codes, codes)
        return np.where(self.codes[numbers] == codes, numbers, len(self.rows) - 1)


def _codes(
    first: NDArray[np.uint64], second: NDArray[np.uint64], third: NDArray[np.uint64] | np.uint64
) -> NDArray[np.uint64]:
    return first << np.uint64(42) | second << np.uint64(21) | third


@cache
def _table() -> _Table:
    return _Table()


def languages() -> list[str]:
    """Return the languages that the table has."""
    return _table().languages


def language_in(script: str, text: str) -> str | None:
    """Return the language of the words of ``text`` in ``script`` (a key of WORDS); None where it cannot be told."""
    words = WORDS[script].findall(text)
    if len(words) < LEAST_WORDS:
        return None
    padded = f" {' '.join(words).lower()[:MOST_LETTERS].translate(_FOLDED)} "
    table = _table()
    numbers = table.row_numbers(padded)
    likelihood = table.rows.take(numbers, axis=0).sum(axis=0)
    second, best = np.argsort(likelihood + table.prior)[-2:].tolist()
    lead = likelihood[best] + table.prior[best] - likelihood[second] - table.prior[second]
    if lead < max(LEAST_LEAD + LEAST_LEAD_OF_SHORT / len(words), LEAST_LEAD_PER_GRAM * len(numbers)):
        return None
    allowed = SURPRISE + SURPRISE_OF_SHORT / np.sqrt(len(numbers))
    return table.languages[best] if likelihood[best] / len(numbers) >= table.typical[best] - allowed else None


def plausibility(text: str, positions: list[int]) -> float:
    """Return the mean log-probability of the letters at ``positions``, each after the two before it.

    It is that of the language in which they are likeliest. ``text`` is in a script that the table has.
    """
    table = _table()
    lowered = "  " + "".join(letter.lower() if len(letter.lower()) == 1 else letter for letter in text)
    codes = np.frombuffer(lowered.translate(_KEPT_LENGTH).encode("utf-32-le"), np.uint32).astype(np.uint64)
    at = np.array(positions, np.intp) + 2

    def rows(wanted: NDArray[np.uint64]) -> NDArray[np.float32]:
        numbers = np.searchsorted(table.codes, wanted)
        return table.rows[np.where(table.codes[numbers] == wanted, numbers, len(table.rows) - 1)]

    triples = rows(_codes(codes[at - 2], codes[at - 1], codes[at]))
    pairs = rows(_codes(codes[at - 2], codes[at - 1], np.uint64(0)))
    last_pairs = rows(_codes(codes[at - 1], codes[at], np.uint64(0)))
    conditional = np.where(triples > FLOOR, np.minimum(triples - pairs, -0.5), np.maximum(last_pairs, FLOOR) - 1.5)
    return float(conditional.mean(axis=0).max())


_KEPT_LENGTH = {code: replacement for code, replacement in _FOLDED.items() if replacement is not None}
