"""A conversation: a follow-up question is made self-contained before it is searched for."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from commonplace.errors import GeneratorError
from commonplace.generation.intent import is_chinese, pieces
from commonplace.text import names, terms
from commonplace.types import Answer

__all__ = ["Conversation", "Rewriter", "Turn", "depends", "rewrite_by_rule"]

TURNS = 6  # that are remembered
CARRIED = 12  # words of an earlier question that a follow-up takes over at most


@runtime_checkable
class Rewriter(Protocol):
    """Puts a follow-up question into words that need no history."""

    def self_contained(self, question: str, history: Sequence[tuple[str, str]]) -> str:
        """Return the question in full; ``history`` holds (question, answer) pairs, oldest first.

        Raises GeneratorError where it cannot.
        """


@dataclass(frozen=True, slots=True)
class Turn:
    """A question as it was asked and as it was searched for, and its answer."""

    question: str
    searched: str
    answer: Answer


class Conversation:
    """Questions that build on each other; made by :meth:`commonplace.Collection.chat`.

    ``stream`` is the collection's. A follow-up is put in full by the ``rewriter``, where there is one, else by
    :func:`rewrite_by_rule`; it takes over the picture of the question before where it has none of its own. The last
    ``turns`` turns are remembered.
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
        """What was said, oldest first."""
        return tuple(self._turns)

    def ask(self, text: str, *, image: Any = None) -> Answer:
        """Answer a question with those before it in mind; arguments and errors as for :meth:`Collection.ask`."""
        for part in self.stream(text, image=image):
            if isinstance(part, Answer):
                return part
        raise AssertionError("a stream ends with its answer")

    def stream(self, text: str, *, image: Any = None) -> Iterator[Any]:
        """Yield what :meth:`Collection.stream` does; an unfinished answer is not remembered."""
        # With a picture of its own *this* is the picture, unless a model that reads the conversation knows better.
        follows = bool(self._turns) and depends(text) and (image is None or self._rewriter is not None)
        searched = self._in_full(text) if follows else text
        if follows and image is None:
            image = self._image
        for part in self._stream(text, image=image, searched=searched if searched != text else None):
            if isinstance(part, Answer):
                self._turns.append(Turn(text, searched, part))
                self._image = image
            yield part

    def _in_full(self, text: str) -> str:
        if self._rewriter is not None:
            history = [(turn.searched, _said(turn.answer)) for turn in self._turns]
            try:
                return self._rewriter.self_contained(text, history)
            except GeneratorError:
                pass  # the rule does; what is wrong with the model, its answer will say
        return rewrite_by_rule(text, self._turns[-1].searched)


def _said(answer: Answer) -> str:
    return answer.reason or "" if answer.abstained else " ".join(block.shown for block in answer.blocks)


_REFERS = re.compile(
    r"\b(?:it|its|they|them|their|he|him|his|she|her|hers|this|that|these|those|there|then|one|ones|same|such|former"
    r"|latter|other|others|another|else)\b"
    # Not the syllables of guitar, Turkey, Naples, "should", "therefore", "in fact".
    r"|它|她|(?<!吉)他|这|這|那(?!不勒斯)|(?<![应應活])[该該](?!死)|(?<!耳)其(?!实|實|妙)|(?<![因彼从如])此(?!外)"
    r"|前者|后者|後者|上述|刚才|剛才|同样|同樣|还有|還有|另一|另外",
    re.IGNORECASE,
)
_BEGINS = re.compile(
    r"^\W*(?:and|or|but|so|also|then|what about|how about|what else|how so|since when|really|more)\b"
    r"|^\W*(?:那么|那麼|还|還|另外|再|继续|繼續|具体|具體|详细|詳細|接着|换成|換成|如果是|要是)",
    re.IGNORECASE,
)
_AND_IT = re.compile(r"呢\W*$")  # "And ...?", where nothing else asks
_THEN = re.compile(r"^\W*那[么麼]?(?![里裡儿兒边邊个個些])")  # "and", not "that"
_ASKS = re.compile(r"什[么麼]|怎|如何|哪|[谁誰]|几|幾|多[少大长長高远遠久快]|[为為]何|何[时時处處]")
FEW = 2  # characters of Chinese that tell, up to which a question leans on the one before: 压力多少?


def depends(question: str) -> bool:
    """Return whether a question seems to need the one before it.

    It does where it says *it*, *they*, *there*, 它, 这个 and the like, begins with *and*, *what about*, 那么, ends as
    南边的呢? does, or has at most one telling word.
    """
    chinese = is_chinese(question)
    few = sum(map(len, pieces(question))) <= FEW if chinese else len(terms(question)) <= 1
    also = bool(_AND_IT.search(question)) and not _ASKS.search(question)
    return few or also or bool(_BEGINS.search(question)) or bool(_REFERS.search(question))


def rewrite_by_rule(question: str, before: str) -> str:
    """Return a follow-up with the telling words of the question before it that it lacks, at most twelve.

    *What about the south pump?* after *Which seal does the north pump need?* is searched for as *What about the south
    pump? (seal, need)*: where it begins with *what about* (or ends in 呢), its own subject takes the place of the old
    one, and of that the words go (*north*).
    """
    own = terms(question)
    words = _content_words(before)
    if re.match(r"\W*(?:and |or |but )?(?:what|how) about\b", question, re.IGNORECASE) or _AND_IT.search(question):
        # The words just before a shared one belong to the old subject: north in "the north pump".
        replaced = {words[i - 1] for i, word in enumerate(words) if i and terms(word) & own}
        if not any(terms(word) & own for word in words) and not _REFERS.search(_THEN.sub("", question)):
            replaced = _subject(before, words, bool(names(question)))
        words = [word for word in words if word not in replaced]
    carried = [word for word in dict.fromkeys(words) if not terms(word) & own][:CARRIED]
    return f"{question} ({', '.join(carried)})" if carried else question


_OF = re.compile(r"\b(?:of|for|in|at|from|by) (?:the |an? )?((?:[\w'’-]+ ){0,2}[\w'’-]+)\W*$", re.IGNORECASE)
_DOES = re.compile(
    r"\b(?:is|are|was|were|do|does|did|has|have|can|will) (?:the|an?|my|our|your) ((?:[\w'’-]+ ){1,3})\w+\W*$",
    re.IGNORECASE,
)


def _subject(question: str, words: Sequence[str], named: bool) -> set[str]:
    """Return those of a question's telling ``words`` that say what it is about, as far as its form shows that.

    Of two that name something it is the names; else what follows *of* or *does the*; in Chinese what stands first, or
    last where the question begins by asking: 氢气 in 氢气的原子序数是多少, 罗马 in 谁建造了罗马.
    """
    if is_chinese(question):
        return {words[-1 if _ASKS.match(question.lstrip()) else 0]} if len(words) > 1 else set()
    kept = names(question) if named else frozenset()
    if not kept and (found := _OF.search(question) or _DOES.search(question)):
        kept = terms(found[1])
    about = {word for word in words if terms(word) & kept}
    return about if len(about) < len(words) else set()


def _content_words(question: str) -> list[str]:
    """Return the words of a question that say something about its subject, in order."""
    everything = terms(question)
    words = [word for word in re.findall(r"\w+", question) if terms(word) & everything]
    found = [piece for word in words for piece in (pieces(word) if is_chinese(word) else [word])]
    return [word for word in found if word.casefold() not in _ASKING and not _REFERS.fullmatch(word)]


_ASKING = frozenset("what which who whom whose when where why how about tell me show and or but".split())  # noqa: SIM905
