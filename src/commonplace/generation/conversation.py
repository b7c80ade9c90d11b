"""A conversation: a follow-up question is rewritten so that it makes sense by itself, then searched for."""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from commonplace.errors import GeneratorError
from commonplace.generation.intent import chinese_content_words, is_chinese
from commonplace.i18n import N_, _
from commonplace.text import language_of, names, terms
from commonplace.types import Answer, Note

__all__ = ["Conversation", "Rewriter", "Turn", "depends", "rewrite_by_rule"]

TURNS = 6  # turns that are remembered
REWRITTEN_BY_RULE = N_("the follow-up question was put in full by a rule instead of the model: {problem}")
log = logging.getLogger("commonplace")
CARRIED = 12  # the most words that a follow-up takes from the question before it


@runtime_checkable
class Rewriter(Protocol):
    """Rewrites a follow-up question so that it needs no history."""

    def self_contained(self, question: str, history: Sequence[tuple[str, str]]) -> str:
        """Return the rewritten question; ``history`` holds (question, answer) pairs, oldest first.

        Raises GeneratorError if it cannot.
        """


@dataclass(frozen=True, slots=True)
class Turn:
    """A question, the text that was searched for (``searched``), and the answer."""

    question: str
    searched: str
    answer: Answer


class Conversation:
    """Questions that build on each other; made by ``commonplace.Collection.chat()``.

    ``stream`` is the method of the collection. The ``rewriter`` rewrites a follow-up; without one,
    ``rewrite_by_rule`` does. A follow-up without a picture gets the picture of the question before it. The last
    ``turns`` turns are remembered, and go with each question to the language model that answers it.
    """

    def __init__(
        self, stream: Callable[..., Iterator[Any]], rewriter: Rewriter | None = None, *, turns: int = TURNS
    ) -> None:
        self._stream = stream
        self._rewriter = rewriter
        self._turns: deque[Turn] = deque(maxlen=turns)
        self._image: Any = None

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The remembered turns, oldest first."""
        return tuple(self._turns)

    def ask(self, text: str, *, image: Any = None) -> Answer:
        """Answer a question in the context of those before it; arguments and errors as for ``Collection.ask()``."""
        for part in self.stream(text, image=image):
            if isinstance(part, Answer):
                return part
        raise AssertionError("a stream ends with its answer")

    def stream(self, text: str, *, image: Any = None) -> Iterator[Any]:
        """Yield what ``Collection.stream()`` yields; an unfinished answer is not remembered."""
        # In a question with a picture, *this* is the picture. Only a model that reads the conversation knows better.
        is_follow_up = bool(self._turns) and depends(text) and (image is None or self._rewriter is not None)
        searched, problem = self._rewritten(text) if is_follow_up else (text, None)
        if is_follow_up and image is None:
            image = self._image
        note = None
        if problem is not None:
            note = Note(_(REWRITTEN_BY_RULE, language_of(text)).format(problem=problem))
            yield note
        searched_as = searched if searched != text else None
        for part in self._stream(text, image=image, searched_as=searched_as, history=self._history()):
            if isinstance(part, Answer):
                # The answer's own notes may name the same problem: a server that is gone.
                if note is not None and not any(str(problem) in other for other in part.notes):
                    part = replace(part, notes=(note.text, *part.notes))
                self._turns.append(Turn(text, searched, part))
                self._image = image
            yield part

    def _history(self) -> tuple[tuple[str, str], ...]:
        return tuple((turn.searched, _text_of(turn.answer)) for turn in self._turns)

    def _rewritten(self, text: str) -> tuple[str, GeneratorError | None]:
        """Return a follow-up in full, and the problem of the model if the rule had to rewrite it instead."""
        problem = None
        if self._rewriter is not None:
            try:
                return self._rewriter.self_contained(text, self._history()), None
            except GeneratorError as failure:
                log.warning("a follow-up question was rewritten by rule: %s", failure)
                problem = failure
        return rewrite_by_rule(text, self._turns[-1].searched), problem


def _text_of(answer: Answer) -> str:
    """Return an answer as text; what its sources do not support is left out, so that nothing is built on it."""
    if answer.abstained:
        return answer.reason or ""
    blocks = [block for block in answer.blocks if block.support != "unsupported"]
    return "".join(
        ("\n" if n and (block.starts_paragraph or block.kind != "text") else " " if n else "") + block.shown
        for n, block in enumerate(blocks)
    )


_REFERS = re.compile(
    r"\b(?:it|its|they|them|their|he|him|his|she|her|hers|this|that|these|those|there|then|one|ones|same|such|former"
    r"|latter|other|others|another|else)\b"
    # Not as syllables of guitar, Turkey, Naples, "should", "therefore", "in fact".
    r"|它|她|(?<!吉)他|这|這|那(?!不勒斯)|(?<![应應活])[该該](?!死)|(?<!耳)其(?!实|實|妙)|(?<![因彼从如])此(?!外)"
    r"|前者|后者|後者|上述|刚才|剛才|同样|同樣|还有|還有|另一|另外",
    re.IGNORECASE,
)
_BEGINS = re.compile(
    r"^\W*(?:and|or|but|so|also|then|what about|how about|what else|how so|since when|really|more)\b"
    r"|^\W*(?:那么|那麼|还|還|另外|再|继续|繼續|具体|具體|详细|詳細|接着|换成|換成|如果是|要是)",
    re.IGNORECASE,
)
_WHAT_ABOUT = re.compile(r"\W*(?:and |or |but )?(?:what|how) about\b", re.IGNORECASE)
_WHAT_ABOUT_ZH = re.compile(r"呢\W*$")  # "what about ...?", if nothing else asks
_THEN = re.compile(r"^\W*那[么麼]?(?![里裡儿兒边邊个個些])")  # "and", not "that"
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
    """Return a follow-up with the content words that it lacks, at most twelve, from the ``previous`` question.

    *What about the south pump?* after *Which seal does the north pump need?* becomes *What about the south pump?
    (seal, need)*. If it begins with *what about* (or ends in 呢), its subject replaces the previous one, whose words
    (*north*) are left out.
    """
    question_terms = terms(question)
    words = _ordered_content_words(previous)
    if _WHAT_ABOUT.match(question) or _WHAT_ABOUT_ZH.search(question):
        # The word just before a shared one belongs to the previous subject: north in "the north pump".
        replaced = {words[i - 1] for i, word in enumerate(words) if i and terms(word) & question_terms}
        if not any(terms(word) & question_terms for word in words) and not _REFERS.search(_THEN.sub("", question)):
            replaced = _subject(previous, words, bool(names(question)))
        words = [word for word in words if word not in replaced]
    carried = [word for word in dict.fromkeys(words) if not terms(word) & question_terms][:CARRIED]
    return f"{question} ({', '.join(carried)})" if carried else question


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
