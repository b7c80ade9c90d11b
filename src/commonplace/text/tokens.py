"""The tokenizer. It splits scripts without spaces into overlapping pairs of characters (bigrams).

SQLite's own tokenizers treat a run of Chinese characters as one word. On XQuAD-zh, the right passage is among the first
ten for 99% of the questions with bigrams, for 93% with trigrams, and for 14% with SQLite's tokenizer. Korean words are
split, too: their first two characters find them with any particle, and so do the parts of a compound.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any

from commonplace.text.dates import dates, spellings
from commonplace.text.folding import EMOJI, RUN, UNSEGMENTED, emoji_word, fold, has_run, is_plain, without_accents
from commonplace.text.numerals import numbers_in_digits
from commonplace.text.patterns import pattern
from commonplace.text.stop_words import STOP_WORDS, without_question_words

__all__ = [
    "REQUESTS",
    "index_words",
    "is_unsegmented",
    "names",
    "path_words",
    "query_units",
    "query_words",
    "quotations",
    "terms",
    "tokens",
]

STEM = 6  # letters of a word that are compared
SHORTEST = 3  # letters of a word that has no stem: AMS is no plural of am

_PLAIN = pattern(r"[^\W_]+")
"""The words and the tokens of a text for which ``is_plain()``."""
REQUESTS = frozenset(
    """about abbreviation acronym anything called concerning define definition details document documents everything
    explain file files find folder get give info information look mention mentioned mentions named open page
    please regarding said say says search show something tell""".split()  # noqa: SIM905
)
"""Words with which people ask for something that is written somewhere. They need not stand beside it."""
_SPACED = pattern(r"\w(?= )(?<!\w\w)(?: {1,4}\w(?!\w))+")
"""Characters with spaces between all of them, as in headings and forms: 目　录."""
_LONE = pattern(
    "(?<![一-鿿])[一-鿿](?=[ぁ-ヿ])|(?<=[ぁ-ヿ])[一-鿿](?![一-鿿])"
    "|(?<![가-힣])[가-힣](?=[은는이가을를의에로와과도만](?![가-힣]))"
)
"""Words of one character beside kana or a Korean particle, with which their pairs change: 猫 in 猫の, 물 in 물을."""


_CODE = pattern(r"[^\W_](?:[\w'’]|[-./\\:@+#](?=\w))*[^\W_]")
"""A word with the signs inside it. It is a code if it has a digit and a sign, or a sign that words do not have."""
_SIGN = pattern(r"[./\\:@+#_]|\d.*-|-.*\d")
_QUOTED = pattern('["“”„«»「『]([^"“”„«»「」『』]{1,200})["“”«»」』]')
_POSSESSIVE = pattern(r"(?<=\w)['’]s\b")
_PARTS = pattern(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
"""The words of a name without spaces: Report and 2024 in Report2024."""


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return the patterns of a word, whose group 1 is a run without spaces, and of a token, in any text."""
    # Vowel signs, which belong to words but not to Python's \w: those of Hindi, Tibetan and other Indic scripts.
    signs = "".join(
        chr(point)
        for first, last in ((0x900, 0x1000), (0x1700, 0x1AB0), (0x1B00, 0x1D00), (0xA800, 0xAC00))
        for point in range(first, last)
        if unicodedata.category(chr(point)) in ("Mn", "Mc")
    )
    word = re.compile(f"([{UNSEGMENTED}]+)|(?:[^\\W_{UNSEGMENTED}]|[{signs}])+")
    return word, re.compile(f"(?:[^\\W_]|[{signs}])+")


def _pairs(run: str) -> list[str]:
    """Return the overlapping pairs of a run, and its last character, so that a single character also matches."""
    return [run[i : i + 2] for i in range(len(run))]


def _words_in(text: str) -> Iterator[re.Match[str]]:
    """Yield the matches of the runs without spaces and of the other words."""
    return (_PLAIN if is_plain(text) else _patterns()[0]).finditer(text)


def _split(text: str) -> tuple[list[str], list[str], list[str]]:
    """Return the runs without spaces, the other words, and their joints.

    A joint is a word with the first character of the run that follows it: 3月 in *3 月 5 日*, C语 in C语言.
    """
    if is_plain(text):
        return [], _PLAIN.findall(text), []
    runs: list[str] = []
    words: list[str] = []
    joints: list[str] = []
    end = -2  # of the last word
    for match in _words_in(text):
        if match[1] is None:
            words.append(match[0])
            end = match.end()
            continue
        runs.append(match[1])
        start = match.start()
        if start == end or (start == end + 1 and text[end] == " "):
            joints.append(words[-1] + match[1][0])
    return runs, words, joints


def index_words(text: str) -> str:
    """Return ``text`` as input of the lexical index: folded, with runs without spaces split into pairs."""
    text = fold(text).replace("\x00", " ")
    if not has_run(text):
        return text
    text = _SPACED.sub(_unspaced, text)
    runs, words, joints = _split(text)
    return " ".join([*words, *joints, *numbers_in_digits(text), *(" ".join(_pairs(run)) for run in runs)])


def _unspaced(match: re.Match[str]) -> str:
    joined = match.group().replace(" ", "")
    return joined if RUN.fullmatch(joined) else match.group()


def is_unsegmented(word: str) -> bool:
    """Return whether a word is a run, a pair or a character of a script without spaces."""
    return not is_plain(word) and RUN.fullmatch(word) is not None


def tokens(text: str) -> list[str]:
    """Return the runs of letters and digits of ``text``, as the lexical index splits it."""
    return (_PLAIN if is_plain(text) else _patterns()[1]).findall(text)


def path_words(path: str) -> str:
    """Return a path as input of the lexical index: its words, then the parts of words such as *MyReport2024*."""
    parts = [part for word in _words_in(path) for part in _PARTS.findall(word[0]) if part != word[0]]
    return " ".join([index_words(path), *parts])


def quotations(query: str) -> list[str]:
    """Return what stands between quotation marks in ``query``."""
    return [quoted for quoted in _QUOTED.findall(fold(query)) if any(_words_in(quoted))]


def query_words(query: str) -> list[str]:
    """Return the FTS5 phrases of the content words of ``query``, each once. Joined by OR they match any of them.

    A code (*E-1042*, *2024-03-05*, *notes.txt*) and a quotation are phrases in addition to their words: an item that
    contains all of it has a higher score than one that contains a part.
    """
    return list(dict.fromkeys([*_single_words(query), *_phrases(query)]))


def query_units(query: str) -> list[str]:
    """Return the phrases of ``query_words()`` that an item contains if the query looks it up.

    These are all but the parts of longer ones, and words that only ask, such as *find*.
    """
    longer = _phrases(query)
    parts = {f'"{word}"' for phrase in longer for word in tokens(phrase)}
    units = [*(phrase for phrase in _single_words(query) if phrase not in parts), *longer]
    return [unit for unit in units if unit.strip('"').lower() not in REQUESTS] or units


def _phrases(query: str) -> list[str]:
    """Return the FTS5 phrases of several words in ``query``, in scripts with spaces: quotations, codes, and days.

    A day is a phrase in each of its spellings: 8 April 2026 finds 2026-04-08.
    """
    text = fold(query)
    texts = [*quotations(text), *(match[0] for match in _CODE.finditer(text) if _SIGN.search(match[0]))]
    texts += [spelling for day in sorted(dates(text), key=str) for spelling in spellings(day)]
    words = [tokens(text) for text in texts if not has_run(text)]
    return list(dict.fromkeys(f'"{" ".join(phrase)}"' for phrase in words if len(phrase) > 1))


def _single_words(query: str) -> list[str]:
    """Return the FTS5 phrases of the content words of ``query``."""
    text = _POSSESSIVE.sub("", fold(query))
    rest = without_question_words(text)
    text = rest if any(_words_in(rest)) else text
    runs, words, joints = _split(text)
    counted = {joint[-1] for joint in joints if joint[0].isdigit()}  # 月 of 3月 alone says nothing
    phrases = [f'"{pair}"' for run in runs for pair in _pairs(run)[:-1]]
    single = [run for run in runs if len(run) == 1 and run not in counted]
    phrases += [f'"{character}"*' for character in (*single, *(_LONE.findall(text) if runs else ()))]
    phrases += [f'"{word}"' for word in (*joints, *numbers_in_digits(text))]
    emoji = {} if query.isascii() else {emoji_word(sign): sign for sign in EMOJI.findall(query)}
    if not runs and emoji.keys() >= set(words):  # nothing else is asked: a pizza is "slice of pizza"
        words += [part for word in words for part in unicodedata.name(emoji[word], "").lower().split()]
    content = [word for word in words if word.lower() not in STOP_WORDS]
    phrases += [f'"{word}"' for word in (content if content or phrases else words)]
    return list(dict.fromkeys(phrases))


_STARTS = pattern(r"(?:^|[.!?:]\s+)[\"'(]*\Z")
"""Matches what stands before the first word of a sentence."""


def names(query: str) -> frozenset[str]:
    """Return the specific terms of a query: numbers, codes, and capitalised words inside a sentence."""
    text = fold(query)
    specific = [
        match[0]
        for match in _words_in(text)
        if not has_run(match[0])
        and (
            any(map(str.isdigit, match[0]))
            or ("A" <= match[0][0] <= "Z" and not _STARTS.search(text, 0, match.start()))
        )
    ]
    return terms(" ".join(specific)) if specific else frozenset()


def terms(text: str) -> frozenset[str]:
    """Return the content words of ``text`` for comparing texts: pairs in scripts without spaces, otherwise stems.

    A stem is that of the Snowball stemmer for English (Porter 2001), cut to six letters: equal for *invite* and
    *invitation*, *oil* and *oiled*, and in other languages for words with the same beginning.
    """
    text = _POSSESSIVE.sub("", without_accents(fold(text).lower()))
    runs, words, joints = _split(text)
    of_runs = {pair for run in runs for pair in _pairs(run)[:-1] or [run]}
    if runs:
        of_runs.update(joints, numbers_in_digits(text))
    plain = set(words)
    content = plain - STOP_WORDS
    return frozenset(of_runs | {_stem(word) for word in (content if content or of_runs else plain)})


@lru_cache(maxsize=65_536)
def _stem(word: str) -> str:
    if len(word) <= SHORTEST or not (word.isascii() and word.isalpha()):
        return word[:STEM]
    return str(_stemmer().stemWord(word))[:STEM]


@cache
def _stemmer() -> Any:
    import snowballstemmer

    return snowballstemmer.stemmer("english")
