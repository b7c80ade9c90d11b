"""A conversation: a follow-up question is rewritten so that it makes sense by itself, then searched for."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from commonplace.errors import GeneratorError
from commonplace.generation.follow_ups import depends, rewrite_by_rule
from commonplace.i18n import N_, _
from commonplace.text import language_of
from commonplace.types import Answer, Note

__all__ = ["Conversation", "Rewriter", "Turn"]

TURNS = 6  # turns that are remembered
REWRITTEN_BY_RULE = N_("the follow-up question was put in full by a rule instead of the model: {problem}")
log = logging.getLogger("commonplace")


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
