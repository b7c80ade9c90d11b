"""Other spellings of what no text contains: a letter apart, in one word or in several, with other signs inside."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from functools import partial
from string import ascii_lowercase

from commonplace.text.dates import dates
from commonplace.text.folding import RUN, fold, without_accents
from commonplace.text.patterns import pattern
from commonplace.text.stop_words import STOP_WORDS
from commonplace.text.tokens import REQUESTS, tokens

__all__ = ["doubtful", "likeliest", "spellings_of"]

MIN_LETTERS = 5  # of a word; shorter ones resemble too many others
LONGEST_PART = 64
"""Characters of a part of a query that may be written otherwise: the spellings of a word grow with the square of its
length, and one of 20,000 letters would take all memory."""
MIN_DIGITS = 7  # of a number that may be written in groups; shorter ones occur in any table
MIN_CODE, MAX_CODE = 4, 18  # letters and digits of a code or number that may be cut anywhere
LONGEST = 40  # that is cut into equal groups only, such as the number of an account
EQUAL = (2, 3, 4, 5)  # letters and digits of equal groups
MAX_CUTS = 3  # groups of a code, less one
_WORD = pattern(rf"(?<![^\W_])[^\W\d_]{{{MIN_LETTERS},}}(?![^\W_])")
_JOINED = pattern(r"(?<![^\W_])[^\W\d_]+(?:[-'’][^\W\d_]+)+(?![^\W_])")
_PAIR = pattern(r"(?<![^\W_])(?=([^\W\d_]+ [^\W\d_]+)(?![^\W_]))")  # data base
_GROUP = r"(?=[^\W_]*\d)[^\W_]+"
_CODE = pattern(
    rf"(?:(?<![^\W_])[^\W\d_]{{1,4}}[-_./ ](?=\d)|\+|(?<![^\W_])){_GROUP}"
    rf"(?:[-_./ ()]{{1,3}}{_GROUP}|[-_/][^\W\d_]{{1,3}})*(?![^\W_])"
)
"""A code or a number with its signs: AB-12/34, +49 (30) 1234567, or a short word before a number: ab 12."""
_ONLY_ASKING = STOP_WORDS | REQUESTS


def doubtful(query: str) -> Iterator[str]:
    """Yield the parts of a query that may be written otherwise.

    These are codes and numbers, words with a sign inside, long words, and pairs of words, of LONGEST_PART characters at
    most.
    """
    for match in _CODE.finditer(query):
        first, _, number = match[0].partition(" ")
        code = number if first.lower() in _ONLY_ASKING else match[0]
        if len(code) <= LONGEST_PART and not dates(code):
            yield code
    rest = _CODE.sub(lambda match: " " * len(match[0]), query)
    for form in (_JOINED, _WORD, _PAIR):
        for part in form.findall(rest):
            if len(part) > LONGEST_PART:
                continue
            if not RUN.search(part) and not _ONLY_ASKING.intersection(part.lower().split()):
                yield part


def spellings_of(part: str) -> set[str]:
    """Return other spellings of a part of a query, as words with a space between them."""
    words = _words(part)
    joined = "".join(words)
    if any(map(str.isdigit, part)):
        return _code_spellings(part, joined) - {" ".join(words)}
    return {joined} if len(words) > 1 else _word_spellings(joined)


def likeliest(part: str, counts: Mapping[str, int]) -> str:
    """Return the likeliest of the spellings (with the number of texts that contain each) of a part of a query."""
    return max(counts, key=partial(_likelihood, "".join(_words(part)), counts))


def _likelihood(word: str, counts: Mapping[str, int], spelling: str) -> tuple[bool, bool, int, int, str]:
    """Return a sort key: first the same letters in another order, then the same first letter, then common words."""
    letters = spelling.replace(" ", "")
    return sorted(word) == sorted(letters), word[0] == spelling[0], len(letters), counts[spelling], spelling


def _words(part: str) -> list[str]:
    return tokens(without_accents(fold(part).lower()))


def _word_spellings(word: str) -> set[str]:
    """Return the words at a Damerau-Levenshtein distance of one: a letter added, left out, changed, or two swapped.

    A space is a letter that may be added: *obrien* is written *O'Brien*.
    """
    # The letters of other alphabets that fit in one byte with the word's own, such as the Cyrillic ones.
    letters = set(ascii_lowercase) if word.isascii() else set(word) | {chr(ord(max(word)) & ~63 | n) for n in range(64)}
    letters = {letter for letter in letters if letter.isalpha() and letter == letter.lower()}
    cuts = [(word[:n], word[n:]) for n in range(len(word) + 1)]
    swapped = {a + b[1] + b[0] + b[2:] for a, b in cuts if len(b) > 1}
    without = {a + b[1:] for a, b in cuts if b}
    changed = {a + letter + b[1:] for a, b in cuts if b for letter in letters}
    longer = {a + letter + b for a, b in cuts for letter in letters}
    apart = {f"{a} {b}" for a, b in cuts if a and b}
    return (swapped | without | changed | longer | apart) - {word}


def _code_spellings(part: str, joined: str) -> set[str]:
    """Return a code's letters and digits in up to four groups, or in equal ones.

    A number is also looked up without its leading zeros, and a telephone number with or without its country code.
    """
    if not MIN_CODE <= len(joined) <= LONGEST:
        return set()
    if not joined.isdigit():
        return set(_groups(joined))
    if len(joined) < MIN_DIGITS:
        return {joined}
    numbers = {joined, joined.lstrip("0")}
    if part.startswith("+") or joined.startswith("00"):
        national = [joined.lstrip("0")[n:].lstrip("0") for n in (1, 2, 3)]
        numbers |= {f"0{number}" for number in national} | {*national}
    return {spelling for number in numbers if len(number) >= MIN_DIGITS - 1 for spelling in _groups(number)}


def _groups(joined: str) -> Iterator[str]:
    """Yield a code in equal groups, and a short one in one to four groups. Letters are never cut apart."""
    for size in EQUAL:
        yield " ".join(joined[n : n + size] for n in range(0, len(joined), size))
    if len(joined) > MAX_CODE:
        yield joined
        return
    places = [n for n in range(1, len(joined)) if not (joined[n - 1].isalpha() and joined[n].isalpha())]
    for count in range(MAX_CUTS + 1):
        for cuts in itertools.combinations(places, count):
            edges = (0, *cuts, len(joined))
            yield " ".join(joined[a:b] for a, b in itertools.pairwise(edges))
