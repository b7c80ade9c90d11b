"""The parts of a question that asks for several things, or compares two: each part is a question by itself."""

from __future__ import annotations

import re

from commonplace.text import names, terms

__all__ = ["question_parts"]

_ASKS = (
    r"(?:what|who|whom|whose|when|where|which|how|why|is|are|was|were|does|do|did|can|"
    r"wann|wer|wo|wie|was|warum|welche[rsnm]?)\b"
)
_SEVERAL = re.compile(
    rf"\s*(?:[?？;；]\s*(?=\S)|,?\s+(?:and|und)\s+(?={_ASKS})|[，,]?\s*(?:以及|还有|另外|并且|和|，|,)(?=[^，,？?]*(?:什么|谁|哪|几|多少|怎)))",
    re.IGNORECASE,
)
_ASKS_ZH = re.compile(r"什[么麼]|[谁誰]|哪|[几幾]|多少|怎|是否|[吗嗎]")
_REFERS = re.compile(
    r"\b(?:it|its|it['’]s|their|they|them|he|him|his|she|her|that|that['’]s|this|these|those|er|sie|es|ihr\w*|sein\w*)\b|[它他她]|其",
    re.IGNORECASE,
)
_OR = re.compile(
    r"^(?P<first>.*?)\s*(?:,?\s+(?:or|versus|vs\.?|oder|compared (?:with|to)|in comparison (?:with"
    r"|to)|rather than)\s+|还是|還是)"
    r"(?P<second>[^,?？]{1,80}?)\W*$",
    re.IGNORECASE,
)
_BETWEEN = re.compile(
    r"(?P<before>.*?)\b(?:between|zwischen)\s+(?P<first>.+?)\s+(?:and|und)\s+(?P<second>[^?？]+?)\W*$", re.IGNORECASE
)
_COMPARE = re.compile(
    r"^\W*(?:please )?compare\s+(?P<first>.+?)\s+(?:and|with|to)\s+(?P<second>[^?？]+?)\W*$", re.IGNORECASE
)
_CHANGE = re.compile(
    r"^(?P<before>.*?\b(?:chang|ris|rose|fall|fell|grow|grew|increas|decreas|develop|differ)\w*\b.*?)"
    r"\s+(?:from|between)\s+(?P<first>\S+)\s+(?:to|and)\s+(?P<second>\S+?)\W*$",
    re.IGNORECASE,
)
_DIFFERENCE = re.compile(r"\b(?:the )?differences? (?:in|of) (?:the )?", re.IGNORECASE)
_BOTH_ZH = re.compile(
    r"^\W*(?:比[较較]一?下?)?(?P<first>.{1,20}?)(?:和|与|與|跟|比)(?P<second>.{1,20}?)的?(?P<what>(?:哪|[谁誰]|有什[么麼]|的?[区區][别別]|相比|差).*)$"
)
_ONE = re.compile(r"\bones?\b", re.IGNORECASE)
_TAIL = re.compile(r"\s(?:in|of|for|with|without|from|at|on|by|to)\s.*$", re.IGNORECASE)
MOST = 3  # parts of a question


def question_parts(question: str) -> list[str]:
    """Return the questions that a question consists of, at most MOST; only itself if it is one.

    A later part that refers back gets the names of the first. Of a comparison, each part asks for one side:
    *did we spend more in January or in March* becomes the question about January and the one about March.
    """
    compared = _sides(question)
    if compared:
        return compared
    parts = [part.strip(" ,，") for part in _SEVERAL.split(question) if part and part.strip(" ,，")]
    if len(parts) < 2 or not all(_is_question(part) for part in parts):
        return [question]
    first, *later = parts[:MOST]
    about = _about(first)
    if len(terms(first)) < 2:  # "Which room and what time was agreed for the lesson?"
        first = f"{first} {_about(later[0])}"
    return [first, *(f"{part.rstrip('?？ ')} {about}" if _REFERS.search(part) else part for part in later)]


def _about(question: str) -> str:
    """Return the words of a question to which another part of it may refer: its names, else its content words."""
    wanted = names(question) or terms(question)
    return " ".join(word for word in re.findall(r"[\w'’-]+", question) if terms(word) & wanted)


def _is_question(part: str) -> bool:
    return re.match(rf"\W*(?:and |und )?{_ASKS}", part, re.IGNORECASE) is not None or _ASKS_ZH.search(part) is not None


def _sides(question: str) -> list[str]:
    """Return the two questions of a comparison; none if the question compares nothing."""
    first, second = _compared(question) or ("", "")
    return [_with_noun(first, second), _with_noun(second, first)] if first else []


def _with_noun(side: str, other: str) -> str:
    """Return a side of a comparison with the noun of the other for *one*: the oak stair or the straight *stair*."""
    noun = re.findall(r"[\w'’-]+", _TAIL.sub("", other))[-1:]
    return _ONE.sub(noun[0], side) if noun else side


def _compared(question: str) -> tuple[str, str] | None:
    if match := _CHANGE.match(question):
        return f"{match['before']} in {match['first']}", f"{match['before']} in {match['second']}"
    if match := _BETWEEN.match(question) or _COMPARE.match(question):
        before = _DIFFERENCE.sub("the ", match.groupdict().get("before") or "")
        return f"{before}{match['first']}", f"{before}{match['second']}"
    if match := _BOTH_ZH.match(question):
        return f"{match['first']}{match['what']}", f"{match['second']}{match['what']}"
    match = _OR.match(question)
    if match is None or not re.search(r"\S\s+\S|[\u4e00-\u9fff]{3}", match["first"]):
        return None
    first, second = match["first"], match["second"]
    before, comma, last = first.rpartition(",")
    if comma:
        return f"{before}, {last.strip()}", f"{before}, {second}"
    words = first.split(" ")
    count = len(second.split(" "))
    return first, " ".join([*words[: max(len(words) - count, 1)], second])
