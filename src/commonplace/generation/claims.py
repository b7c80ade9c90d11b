"""What a text claims: its words, its facts (numbers, dates and names), its negations and its clauses.

All of them are read from the text with its numbers and dates in one spelling (``commonplace.text.in_digits``), so that
三月五日, *5 March* and 2024-03-05 state the same facts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from commonplace.text import in_digits

__all__ = [
    "NUMBER_WORDS",
    "PRONOUNS",
    "REFERS_BACK",
    "as_written",
    "claim",
    "clauses",
    "content_words",
    "dates",
    "facts",
    "is_name",
    "negations",
    "spellings",
    "without_count",
    "words",
]

_TOKEN = re.compile(r"\d+(?:[.,:/]\d+)*|[^\W\d_]+(?:['’][^\W\d_]+)?|\w", re.UNICODE)


@lru_cache(maxsize=4096)
def words(text: str) -> tuple[str, ...]:
    """Return the words and numbers of a text in order, case-folded; each Han or kana character is a word."""
    text = in_digits(text).casefold()
    text = re.sub(r"([\u3040-\u30ff\u3400-\u9fff])", r" \1 ", text)
    return tuple(_without_separators(token) for token in _TOKEN.findall(text))


def _without_separators(word: str) -> str:
    """Return a number without its thousands separators: 1,000 and 1000 are the same number."""
    return word.replace(",", "") if re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?", word) else word


_MARKDOWN = re.compile(
    r"^\s*(?:#{1,6}\s+|[-*+•·●▪◦–]\s+|\d{1,3}[.)]\s+|[（(]\d{1,2}[）)]\s*|\d{1,3}[、．]\s*|>\s*)+"
    r"|\*{1,3}|(?<!\w)_{1,3}(?=\w)|(?<=\w)_{1,3}(?!\w)|`+"
)
_LINK = re.compile(r"!?\[([^\]\n]{0,200})\]\([^)\n]{0,500}\)")


def claim(text: str) -> str:
    """Return what a text claims, on one line, without Markdown: bullets, numbers of list items, emphasis, links."""
    return " ".join(_MARKDOWN.sub("", _LINK.sub(r"\1", text)).split())


_COUNT = re.compile(
    r"\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|both)\b"
    r"|\b(?:[2-9]|1\d|20)\b(?= (?:\w+ ){0,2}\w+s\b| (?:who|that|which|of|are|were)\b|:)"
    r"|[两兩二三四五六七八九十\d]{1,2}(?=[个個种種项項条條步位点點份类類])",
    re.IGNORECASE,
)


def without_count(lead: str) -> str:
    """Return the line before a list without how many entries the list has: it counts them, no source has to."""
    return " ".join(_COUNT.sub(" ", lead).split())


# --- facts -------------------------------------------------------------------------------------------------------

_UNITS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen""".split()  # noqa: SIM905
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()  # noqa: SIM905
_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth".split()  # noqa: SIM905
_TWO = frozenset("both pair couple twice double 双 雙 两 兩".split())  # noqa: SIM905
NUMBER_WORDS = {
    **{name: str(n) for n, name in enumerate(_UNITS)},
    **{name: str(10 * n) for n, name in enumerate(_TENS, 2)},
    **{name: str(n) for n, name in enumerate(_ORDINALS, 1)},
    "hundred": "100",
    "thousand": "1000",
    "million": "1000000",
    "billion": "1000000000",
    "dozen": "12",
    **dict.fromkeys(_TWO, "2"),
    **{name: str(n) for n, name in enumerate("一二三四五六七八九十", 1)},
}
_MONTH = """january february march april may june july august september october november
    december""".split()  # noqa: SIM905
_MONTHS = {name: full for full in _MONTH for name in (full, full[:3])}
_WEEKDAYS = frozenset("monday tuesday wednesday thursday friday saturday sunday".split())  # noqa: SIM905
_HAN = r"\u3005\u3007\u3040-\u30ff\u3400-\u9fff"
_MAY = re.compile(
    rf"\d\s*May\b|\bMay\s*\d|[{_HAN}]\s*May\b|\bMay\s*[{_HAN}]|\b(?:in|of|since|until|by|last|next|this) May\b"
)
_TIME = re.compile(r"(?<![\d:])(2[0-4]|1\d|0?\d):([0-5]\d)(?![\d:])")
_OCLOCK = re.compile(r"(?<![\d.:])(1[01]|[1-9])\s*(?:o['’]clock|[点點時时])")
_DAY = re.compile(rf"(?<!\d)\d{{1,2}} ({'|'.join(_MONTH)})", re.IGNORECASE)
_ANY_MONTH = rf"(?:{'|'.join(sorted(_MONTHS, key=len, reverse=True))})\b\.?"
_DATE_WRITTEN = re.compile(
    rf"(?<!\d)\d{{1,2}}(?:st|nd|rd|th)?(?: of)? {_ANY_MONTH}(?:,? \d{{4}}\b)?"
    rf"|\b{_ANY_MONTH} \d{{1,2}}(?:st|nd|rd|th)?\b(?:,? \d{{4}}\b)?|\b{_ANY_MONTH},? \d{{4}}\b",
    re.IGNORECASE,
)
_SLASHED = re.compile(r"(?<![\d/])(\d{1,2})/(\d{1,2})/(?:\d{4}|\d\d)(?![\d/])")
_TRANSLITERATED = re.compile(rf"[{_HAN}]{{1,8}}(?:[·•‧・][{_HAN}]{{1,8}})+")
_NOT_COUNTED = _TWO | {"one", "second", "first", "一"}
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_ORDINAL = re.compile(r"(\d+)(?:st|nd|rd|th)\b", re.IGNORECASE)
_NAME = re.compile(r"(?<![\w'’])[A-Z][\w'’.&-]*[\w]|(?<![\w'’])[A-Z](?![\w'’])")
_CODE = re.compile(r"(?=\w*\d)(?=\w*[^\W\d])\w+")
_STARTERS = frozenset(
    """a about after all also although among an and another any around as at because before being both but by can
    despite do does during each either every few finally first for from further given he her here hers his how however
    i if in indeed instead into is it its just later like many more most much my neither next no none nor not now of
    on once one only or other our out over overall perhaps several she should since so some such than that the their
    then there therefore these they this those though through thus to today together two under unlike until up upon
    we what when where whereas whether which while who whose why with within without would yes yet you your""".split()  # noqa: SIM905
)


@lru_cache(maxsize=4096)
def facts(text: str) -> frozenset[str]:
    """Return the numbers, dates and names in a text, each in one spelling.

    Numbers lose their thousands separators, and number words (one, third, dozen, 十四) become digits. Months get their
    full names. A date such as 2020-03-01 becomes its year, month and day, a time of day its hour and minute. Names are
    capitalised words, except the common words that begin sentences. The first word of a sentence is a name only if its
    spelling is unusual: all capitals, a capital inside, or digits. Codes (M6, 0x8037) are facts. In Chinese, only names
    with a middle dot (罗本·哈罗) show that they are names.
    """
    text = in_digits(text)
    values: set[str] = set(_TRANSLITERATED.findall(text))
    for match in _TIME.finditer(text):
        values.update(str(int(part)) for part in match.groups() if part != "00")
    text = _TIME.sub(" ", text)
    text = _ORDINAL.sub(r"\1", text)
    for code in _CODE.findall(text):
        values.add(code.casefold())
    text = _CODE.sub(lambda match: " " if not match.group().isalpha() else match.group(), text)
    for number in _NUMBER.findall(text):
        values.add(_plain_number(number))
    for match in _NAME.finditer(text):
        values.update(_name_facts(text, match))
    for word in re.findall(r"[^\W\d_]+", text):
        if word.casefold() in NUMBER_WORDS and word.casefold() not in _NOT_COUNTED:
            values.add(NUMBER_WORDS[word.casefold()])
    return frozenset(values)


def _name_facts(text: str, match: re.Match[str]) -> set[str]:
    """Return the facts in one capitalised word of a text: a month, a number word, or the parts of a name."""
    word = match.group().rstrip(".'’")
    word = re.sub(r"['’]s$", "", word)
    lower = word.casefold()
    if lower in _MONTHS and (lower != "may" or _MAY.search(text)):
        return {_MONTHS[lower]}
    if lower in NUMBER_WORDS:
        return set() if lower in _TWO else {NUMBER_WORDS[lower]}
    if lower in _STARTERS or _may_only_open(text, match.start(), word):
        return set()
    # The name in "Chinese-style" is Chinese.
    parts = [part for part in re.split(r"[-&.]", word) if part and not part[0].islower()]
    return {_stem(part.casefold()) for part in parts}


def is_name(fact: str) -> bool:
    """Return whether a fact is a name: no number, code, month or weekday."""
    return not any(map(str.isdigit, fact)) and fact not in _MONTH and fact not in _WEEKDAYS


def as_written(fact: str, text: str) -> str:
    """Return a fact of a text as the text writes it: of ``huguenot`` *Huguenots*, of ``12`` *dozen*."""
    text = in_digits(text)
    for token in (*_TRANSLITERATED.findall(text), *re.findall(r"\w(?:[\w'’.,:/&-]*\w)?", text)):
        # A word before it, so that its capital is not that of a sentence.
        if fact in facts(f"of {token}"):
            return re.sub(r"['’]s$", "", token)
    return fact


def dates(text: str) -> list[str]:
    """Return the dates in a text, at least a month and its day or year, in one spelling: *4 May 1921*."""
    return [" ".join(match.group().split()) for match in _DATE_WRITTEN.finditer(in_digits(text))]


def _plain_number(number: str) -> str:
    number = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", number).rstrip(".,")
    return number.lstrip("0") or "0" if number.isdigit() else number


def _stem(word: str) -> str:
    """Return a name without a plural or possessive ending: Huguenots', Huguenots and Huguenot are the same."""
    word = word.removesuffix("'").removesuffix("’")
    plural = len(word) >= 5 and word.isalpha() and word[-1] == "s" and word[-2] not in "siu"
    return word[:-1] if plural else word


def _may_only_open(text: str, at: int, word: str) -> bool:
    """Return whether a word may be capitalised only because it begins a sentence."""
    before = text[:at].rstrip(" \"'“‘(")
    if before and before[-1] not in ".!?:;。！？\n":
        return False
    return not (word.isupper() and len(word) > 1) and not any(c.isupper() for c in word[1:])


@lru_cache(maxsize=4096)
def spellings(text: str, *, months: bool = True) -> frozenset[str]:
    """Return every word of a text in each spelling that ``facts`` could give it.

    An hour of the afternoon has both numbers, 15 and 3. With ``months``, a month has its number, too.
    """
    tokens = words(text)
    plain = in_digits(text)
    variants = set(tokens) | set(_TRANSLITERATED.findall(plain))
    for hour, _minute in _TIME.findall(plain):
        variants |= {str(int(hour)), str(int(hour) % 12 or 12)}
    variants |= {str(int(hour) + 12) for hour in _OCLOCK.findall(plain)}
    if months:
        variants |= {str(_MONTH.index(month.casefold()) + 1) for month in _DAY.findall(plain)}
    variants |= {_MONTH[int(n) - 1] for match in _SLASHED.findall(plain) for n in match if 1 <= int(n) <= 12}
    variants |= {NUMBER_WORDS[token] for token in tokens if token in NUMBER_WORDS}
    variants |= {_MONTHS[token] for token in tokens if token in _MONTHS}
    variants |= {_plain_number(token) for token in tokens if token[0].isdigit()}
    variants |= {part for token in tokens for part in re.split(r"[.:/,'’]", token) if part}
    variants |= {token.removesuffix("'s").removesuffix("’s") for token in tokens}
    return frozenset(variants | {_stem(variant) for variant in variants})


# --- negations, clauses, content words ---------------------------------------------------------------------------

_NEGATION = re.compile(
    r"\b(?:not|no|never|none|nobody|nothing|nowhere|neither|nor|without|cannot|hardly|barely|scarcely|lacks?|lacked"
    r"|fails? to|failed to|unable|refus(?:e|es|ed) to|rather than|instead of|except|unless|deny|denies|denied|false)\b"
    r"|n['’]t\b|(?:^|(?<=[^\w]))non-|[不没沒无無非未勿莫别別]",
    re.IGNORECASE,
)


_NO_NEGATION = re.compile(
    "不[锈鏽]|不[同过過仅僅但断斷少久管论論]|不得不|非[常洲]|除非|莫[非斯]|[无無][线線数數论論疑]|未[来來]|[别別][的人墅]"
    "|[特分区區级級性个個类類告识識鉴派国國差道][别別]"
)
"""Chinese words with a character of a negation that negate nothing."""


def negations(text: str) -> list[str]:
    """Return the words that negate something in a text: *not*, *never*, *without*, 不, 没 and similar words."""
    text = _NO_NEGATION.sub(" ", text.replace("no longer", "not"))
    return [match.group().casefold() for match in _NEGATION.finditer(text)]


_CLAUSE = re.compile(r"[,;:—–，；：、]|\b(?:and|but|while|whereas|although|though|because|which|who)\b", re.IGNORECASE)


def clauses(text: str) -> list[str]:
    """Return the clauses of a sentence, split at commas and conjunctions; the whole text if none has words."""
    return [clause for clause in _CLAUSE.split(text) if clause and any(c.isalnum() for c in clause)] or [text]


PRONOUNS = frozenset("he she it they his her its their him them this that these those who which there".split())  # noqa: SIM905
REFERS_BACK = re.compile(
    r"(?:[\w,]+ ){0,3}?(?:he|she|it|they|his|her|its|their|this|that|these|those|there|such|both|the latter)\b"
    r"|[它他她这那其该此]",
    re.IGNORECASE,
)
"""Matches the beginning of a sentence that refers to the sentence before it."""

_FILLER = re.compile(
    r"an?|the|and|or|but|of|to|in|on|at|by|for|from|with|as|is|are|was|were|be|been|being|has|had|have|do|does|did|will"
    r"|would|also|then|so|than|into|that|which|s|t|的|了|是|在|和|与|也|就|都|而|及"
)


def content_words(tokens: Sequence[str]) -> list[str]:
    """Return the words without pronouns, articles, auxiliaries and other function words."""
    return [
        token
        for token in tokens
        if token not in PRONOUNS and not _FILLER.fullmatch(token) and any(map(str.isalnum, token))
    ]
