"""Follow-up questions: whether a question depends on the one before it, and the same question in full, by rule."""

from __future__ import annotations

import re
from collections.abc import Sequence

from commonplace.generation.intent import chinese_content_words, is_chinese
from commonplace.text import language_of, names, terms

__all__ = ["depends", "rewrite_by_rule"]

CARRIED = 12  # the most words that a follow-up takes from the question before it
_TOKEN = re.compile(r"[\w'’-]+")
MOST_PHRASE = 6  # words of a follow-up that only names something else

_REFERS = re.compile(
    r"\b(?:it|its|they|them|their|he|him|his|she|her|hers|this|that|these|those|there|then|one|ones|same|such|former"
    r"|latter|other|others|another|else)\b"
    # Not as syllables of guitar, Turkey, Naples, "should", "therefore", "in fact".
    r"|它|她|(?<!吉)他|这|這|那(?!不勒斯)|(?<![应應活])[该該](?!死)|(?<!耳)其(?!实|實|妙)|(?<![因彼从如])此(?!外)"
    r"|前者|后者|後者|上述|刚才|剛才|同样|同樣|还有|還有|另一|另外",
    re.IGNORECASE,
)
_BEGINS = re.compile(
    r"^\W*(?:and|or|but|so|also|then|what about|how about|what else|how so|since when|really|more|und|oder|aber"
    r"|was ist mit|wie steht es mit)\b"
    r"|^\W*(?:那么|那麼|还|還|另外|再|继续|繼續|具体|具體|详细|詳細|接着|换成|換成|如果是|要是)",
    re.IGNORECASE,
)
_WHAT_ABOUT_ZH = re.compile(r"呢\W*$")  # "what about ...?", if nothing else asks
_ASKS = re.compile(r"什[么麼]|怎|如何|哪|[谁誰]|几|幾|多[少大长長高远遠久快]|[为為]何|何[时時处處]")
MAX_DEPENDENT_CHARS = 2  # content characters up to which a Chinese question depends on the one before: 压力多少?


def depends(question: str) -> bool:
    """Return whether a question seems to depend on the one before it.

    It does if it has a word such as *it*, *they*, *there*, 它 or 这个, begins with *and*, *what about* or 那么, ends
    like 南边的呢?, or has at most one content word.
    """
    if is_chinese(question):
        few_words = sum(map(len, chinese_content_words(question))) <= MAX_DEPENDENT_CHARS
    else:
        few_words = len(terms(question)) <= 1
    what_about = bool(_WHAT_ABOUT_ZH.search(question)) and not _ASKS.search(question)
    return few_words or what_about or bool(_BEGINS.search(question)) or bool(_REFERS.search(question))


def rewrite_by_rule(question: str, previous: str) -> str:
    """Return a follow-up in full, by the ``previous`` question.

    If it only names something else, that takes the place of the previous subject: *What about the south pump?* after
    *Which seal does the north pump need?* becomes *Which seal does the south pump need?*. Any other one gets the
    content words that it lacks, at most twelve: *Who built it? (mill)*.
    """
    if (phrase := _phrase(question)) and (replaced := _with_phrase(previous, phrase)):
        return replaced
    question_terms = terms(question)
    words = _ordered_content_words(previous)
    carried = [word for word in dict.fromkeys(words) if not terms(word) & question_terms][:CARRIED]
    return f"{question} ({', '.join(carried)})" if carried else question


_LEADS = re.compile(
    r"^\W*(?:and|or|but|so|also|then|und|oder|aber)?\s*(?:(?:what|how) about\b|was ist mit\b|wie steht es mit\b)?\s*",
    re.IGNORECASE,
)
_LEADS_ZH = re.compile(r"^\W*(?:那[么麼]?(?![里裡儿兒边邊个個些])|[还還]有|[换換]成|如果是|要是)?")
_WHEN = re.compile(
    r"\b(?:(?:mon|tues|wednes|thurs|fri|satur|sun)days?|today|tomorrow|yesterday|january|february|march|april|may|june"
    r"|july|august|september|october|november|december|(?:19|20)\d\d|montags?|dienstags?|mittwochs?|donnerstags?"
    r"|freitags?|samstags?|sonntags?|heute|morgen|gestern|januar|februar|märz|mai|juni|juli|oktober|dezember)\b"
    r"|(?:星期|周|週)[一二三四五六日天]|(?<!\d)(?:19|20)\d\d年|[一二三四五六七八九十\d]{1,2}月|今[天年]|明[天年]|昨天|去年",
    re.IGNORECASE,
)
_ASKS_OR_SAYS = re.compile(
    r"\b(?:what|which|who|whom|whose|when|where|why|how|is|are|was|were|do|does|did|has|have|had|can|could|will|would"
    r"|should|may|must|tell|show|wer|was|wann|wo|wie|warum|welche[rsnm]?|ist|sind|war|hat|haben|kann|darf|muss"
    r"|it|its|they|them|their|he|him|his|she|her|hers|this|that|these|those|there|else|more"
    r"|others?|another|sure|not|no|yes)\b",
    re.IGNORECASE,
)
_ONE = re.compile(r"^(?:the |that |those |die |der |das )?(?:ones?|those|that)\s+(?=\w)", re.IGNORECASE)
_ENDS_IN_ONE = re.compile(r"(?<=\w )ones?$", re.IGNORECASE)
_PREPOSITION = re.compile(
    r"^(?:in|on|at|for|with|without|from|to|by|of|during|after|before|under|over|im|am|auf|für|mit|ohne|bei|von|vom|zu"
    r"|zum|zur|nach|aus|seit|bis|um)$",
    re.IGNORECASE,
)
_DETERMINER = re.compile(
    r"^(?:an?|the|my|our|your|his|her|its|their|this|that|one|ein\w{0,2}|d(?:er|ie|as|en|em|es)|mein\w*|unser\w*)$",
    re.IGNORECASE,
)


def _phrase(question: str) -> str | None:
    """Return what a follow-up names, if it does nothing else: *the south pump* in *And what about the south pump?*."""
    if is_chinese(question):
        rest = re.sub(r"[呢吗嗎]?\W*$", "", _LEADS_ZH.sub("", question, count=1))
        is_phrase = bool(_WHAT_ABOUT_ZH.search(question)) and not _ASKS.search(rest) and not _REFERS.search(rest)
        return rest if is_phrase and rest else None
    leads = _LEADS.match(question)
    if leads is None or not leads[0].strip():
        return None
    rest = _ONE.sub("", question[leads.end() :]).strip(" ?!.,;")
    return rest if rest and not _ASKS_OR_SAYS.search(rest) and len(rest.split()) <= MOST_PHRASE else None


def _with_phrase(previous: str, phrase: str) -> str | None:
    """Return the previous question with a phrase in the place of its subject; None if the subject is not found."""
    if is_chinese(previous) is not is_chinese(phrase):
        return None
    if _WHEN.fullmatch(phrase):
        times = list(_WHEN.finditer(previous))
        return f"{previous[: times[-1].start()]}{phrase}{previous[times[-1].end() :]}" if times else None
    if is_chinese(phrase):
        return _with_phrase_zh(previous, phrase)
    tokens = list(_TOKEN.finditer(previous))
    of_phrase = [token[0] for token in _TOKEN.finditer(phrase)]
    if not of_phrase:
        return None
    if _PREPOSITION.match(of_phrase[0]):
        return _with_adjunct(previous, tokens, phrase, of_phrase[0])
    place = _likened(tokens, of_phrase) or _place_of_subject(previous, tokens, phrase)
    if place is None:
        return None
    first, last = place
    if first and _DETERMINER.match(tokens[first - 1][0]):
        first -= 1
    phrase = _ENDS_IN_ONE.sub(tokens[last][0], phrase)
    possessive = "'s" if re.search(r"['’]s$", tokens[last][0]) and not re.search(r"['’]s$", phrase) else ""
    return f"{previous[: tokens[first].start()]}{phrase}{possessive}{previous[tokens[last].end() :]}"


def _with_phrase_zh(previous: str, phrase: str) -> str | None:
    if phrase.endswith("的"):  # 北边的 gives way to 南边的
        before, of, rest = previous.partition("的")
        return f"{phrase}{rest}" if of and before and rest else None
    words = _ordered_content_words(previous)
    shared = next((n for n in range(len(phrase), 1, -1) if phrase[-n:] in previous and n < len(phrase)), 0)
    if shared:  # 北边 in 北边的水泵 gives way to 南边 in 南边的水泵
        end = previous.index(phrase[-shared:])
        before = re.split(r"[，,、。\s]", previous[:end])[-1]
        return f"{previous[: end - len(before)]}{phrase[:-shared]}{previous[end:]}" if before else None
    subject = next(iter(_subject(previous, words, bool(names(phrase)))), "")
    return previous.replace(subject, phrase, 1) if subject in words else None


def _likened(tokens: Sequence[re.Match[str]], of_phrase: Sequence[str]) -> tuple[int, int] | None:
    """Return the first and the last token of what a phrase is like: *north pump* for *the south pump*.

    They have a word in common; what stands beside it in the phrase takes the place of what stands beside it there.
    """
    words = [word for word in of_phrase if not _DETERMINER.match(word)]
    for at, word in enumerate(words):
        for n, token in enumerate(tokens):
            if terms(word) and terms(word) == terms(token[0]) and len(words) > 1:
                return max(n - at, 0), min(n + len(words) - 1 - at, len(tokens) - 1)
    return None


def _place_of_subject(previous: str, tokens: Sequence[re.Match[str]], phrase: str) -> tuple[int, int] | None:
    """Return the first and the last token of the previous question's subject; None if it is not found.

    German writes all nouns like names: the last one that follows no preposition is the subject.
    """
    words = _ordered_content_words(previous)
    subject = terms(" ".join(_subject(previous, words, bool(names(f"about {phrase}")))))
    runs: list[list[int]] = []
    for n, token in enumerate(tokens):
        stem = terms(re.sub(r"['’]s$", "", token[0]))
        if stem and stem <= subject:
            if runs and runs[-1][-1] == n - 1:
                runs[-1].append(n)
            else:
                runs.append([n])
    if language_of(previous) == "de":
        runs = [run for run in runs if not any(_PREPOSITION.match(t[0]) for t in tokens[max(run[0] - 2, 0) : run[0]])]
        runs.reverse()
    return (runs[0][0], runs[0][-1]) if runs else None


def _with_adjunct(previous: str, tokens: Sequence[re.Match[str]], phrase: str, preposition: str) -> str:
    """Return the previous question with *for a week* for its *for one day*; at its end if it has no such part."""
    same = [n for n, token in enumerate(tokens) if token[0].casefold() == preposition.casefold()]
    if not same:
        return f"{previous.rstrip(' ?')} {phrase}?"
    after = [token.start() for token in tokens[same[-1] + 1 :] if _PREPOSITION.match(token[0])]
    rest = previous[after[0] :] if after else "?" if previous.rstrip().endswith("?") else ""
    return f"{previous[: tokens[same[-1]].start()]}{phrase}{' ' if after else ''}{rest}"


_OF = re.compile(r"\b(?:of|for|in|at|from|by) (?:the |an? )?((?:[\w'’-]+ ){0,2}[\w'’-]+)\W*$", re.IGNORECASE)
_DOES = re.compile(
    r"\b(?:is|are|was|were|do|does|did|has|have|can|will) (?:the|an?|my|our|your) ((?:[\w'’-]+ ){1,3})\w+\W*$",
    re.IGNORECASE,
)


def _subject(question: str, words: Sequence[str], has_names: bool) -> set[str]:
    """Return those of a question's content ``words`` that are its subject, as far as its form shows that.

    If it has names and the follow-up has, too (``has_names``), the subject is its names; otherwise it is what follows
    *of* or *does the*. In Chinese it is the first word (氢气 in 氢气的原子序数是多少), or the last if the question
    begins with a question word (罗马 in 谁建造了罗马).
    """
    if is_chinese(question):
        return {words[-1 if _ASKS.match(question.lstrip()) else 0]} if len(words) > 1 else set()
    subject_terms = names(question) if has_names else frozenset()
    if not subject_terms and (match := _OF.search(question) or _DOES.search(question)):
        subject_terms = terms(match[1])
    subject_words = {word for word in words if terms(word) & subject_terms}
    return subject_words if len(subject_words) < len(words) else set()


def _ordered_content_words(question: str) -> list[str]:
    """Return the content words of a question in order, without question words and pronouns."""
    question_terms = terms(question)
    words = [word for word in re.findall(r"\w+", question) if terms(word) & question_terms]
    content = [part for word in words for part in (chinese_content_words(word) if is_chinese(word) else [word])]
    return [word for word in content if word.casefold() not in _QUESTION_WORDS and not _REFERS.fullmatch(word)]


_QUESTION_WORDS = frozenset("what which who whom whose when where why how about tell me show and or but".split())  # noqa: SIM905
