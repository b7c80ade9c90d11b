"""Answers that a language model writes from evidence, read sentence by sentence while it writes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import Any

from commonplace.errors import GeneratorError
from commonplace.generation.extractive import NOTHING_FOUND
from commonplace.generation.intent import wants_pictures
from commonplace.generation.model_output import SentenceParser, is_looping, without_thoughts
from commonplace.generation.parts import Abstention, Part, Request, ShownImage, Statement
from commonplace.generation.prompt import build_prompt, build_rewrite_prompt, neutralize
from commonplace.i18n import _
from commonplace.types import Note

__all__ = ["ContextTooSmall", "ModelGenerator", "NoPictures"]

LONGEST_REWRITE = 500  # characters of a rewritten question
REWRITE_TOKENS = 120
REPEATS = 3  # repeated sentences after which the model counts as looping
CHARS_PER_TOKEN = 8  # characters per token after which a model has written more than max_tokens
LOOP_STEP, LOOP_TAIL = 200, 1600  # characters between two checks for a loop, and those that are checked


class NoPictures(GeneratorError):
    """The model or its server accepts no pictures."""


class ContextTooSmall(GeneratorError):
    """The server says that the prompt is longer than the model's context."""


class ModelGenerator(ABC):
    """The base class of all language models; a subclass implements ``write()``.

    ``context`` is the size of the model's context in tokens, of which ``max_tokens`` are reserved for the answer.
    ``pictures`` is the largest number of pictures in a prompt. ``vision``: whether the model accepts pictures; with
    None the first prompt tries it. ``fallback``: whether the extractive answer may replace one that fails. Raises
    GeneratorError if ``max_tokens`` leaves no room for evidence.
    """

    def __init__(
        self,
        name: str,
        *,
        context: int = 8192,
        max_tokens: int = 700,
        pictures: int = 4,
        vision: bool | None = None,
        fallback: bool = True,
    ) -> None:
        if not 0 < max_tokens < context:
            raise GeneratorError(
                _(
                    "max_tokens is {max_tokens} and context is {context}: choose max_tokens above 0 and below context, "
                    "so that there is room for evidence"
                ).format(max_tokens=max_tokens, context=context)
            )
        self.name = name
        self.fallback = fallback
        self.context = context
        self.max_tokens = max_tokens
        self.pictures = max(pictures, 0)
        self.vision = vision

    @abstractmethod
    def write(self, messages: Sequence[dict[str, Any]], max_tokens: int) -> Generator[str | Note, None, None]:
        """Yield what the model writes, piece by piece; closing the iterator stops the model.

        Raises NoPictures, ContextTooSmall, or GeneratorError for everything else.
        """

    def generate(self, request: Request) -> Iterator[Part]:
        """Yield the parts of the answer while the model writes it, each sentence once it is complete.

        If the model accepts no pictures, a second prompt has none. If its context is too small, the next prompt has
        half the evidence, down to one piece. Raises GeneratorError if there is no answer.
        """
        if not request.hits:
            yield Abstention(_(NOTHING_FOUND, request.language))
            return
        shown = set(request.relevant_images) if wants_pictures(request.full_question) else set()
        yield from (ShownImage(n) for n in request.relevant_images if n in shown)
        most_hits: int | None = None
        while True:
            pictures = 0 if self.vision is False else self.pictures
            prompt = build_prompt(
                request, budget=self.context - self.max_tokens, most_pictures=pictures, most_hits=most_hits
            )
            try:
                if prompt.dropped:
                    sent = len(prompt.hits)
                    yield Note(
                        _("{hits} of {count} pieces of evidence were read: the context of {name} holds no more").format(
                            hits=sent, count=sent + prompt.dropped, name=self.name
                        )
                    )
                with closing(self._parts(prompt.messages, prompt.hits, request)) as parts:
                    yield from parts
                return
            except NoPictures:
                if not prompt.pictures:
                    raise
                self.vision = False
                yield Note(
                    _("{name} accepts no pictures: it read their captions instead").format(name=self.name),
                    restart=False,
                )
            except ContextTooSmall as problem:
                if len(prompt.hits) == 1:
                    raise GeneratorError(
                        _(
                            "the context of {name} is too small for one piece of evidence: give the model a larger "
                            "context, or choose another model"
                        ).format(name=self.name)
                    ) from problem
                most_hits = len(prompt.hits) // 2

    def self_contained(self, question: str, history: Sequence[tuple[str, str]]) -> str:
        """Return a follow-up question that needs no history; raises GeneratorError if the model writes none."""
        text = ""
        with closing(self.write(build_rewrite_prompt(question, history), REWRITE_TOKENS)) as pieces:
            for piece in pieces:
                text = (text + piece if isinstance(piece, str) else text)[: 4 * LONGEST_REWRITE + 1]
                if len(text) > 4 * LONGEST_REWRITE:
                    break
        lines = [line.strip(" \"'“”") for line in neutralize(without_thoughts(text)).splitlines() if line.strip()]
        if not lines or len(lines[0]) > LONGEST_REWRITE:
            raise GeneratorError(
                _("{name} wrote no question to search for: ask without it, or choose another model").format(
                    name=self.name
                )
            )
        return lines[0]

    def _parts(
        self, messages: Sequence[dict[str, Any]], sent: Sequence[int], request: Request
    ) -> Generator[Part, None, None]:
        parser = SentenceParser(sent, request.language)
        sentences: set[str] = set()
        shown: set[str | None] = set()
        if wants_pictures(request.full_question):
            shown = {request.hits[n].item.picture for n in request.relevant_images}
        repeats = written = checked = 0
        tail = ""
        stopped = None
        limit = CHARS_PER_TOKEN * self.max_tokens
        with closing(self.write(messages, self.max_tokens)) as pieces:
            for piece in pieces:
                if isinstance(piece, Note):
                    yield piece
                    continue
                # A server may send at once a text that would take hours to parse.
                piece = piece[: limit + 1 - written]
                written += len(piece)
                tail = (tail + piece)[-LOOP_TAIL:]
                for part in parser.feed(piece):
                    repeats += isinstance(part, Statement) and part.text in sentences
                    yield from self._with_pictures(part, request, sentences, shown)
                if written > limit:
                    stopped = _("{name} wrote more than {max_tokens} tokens and was stopped").format(
                        name=self.name, max_tokens=self.max_tokens
                    )
                elif repeats >= REPEATS or (written - checked > LOOP_STEP and is_looping(tail)):
                    stopped = _("{name} repeated itself and was stopped").format(name=self.name)
                if written - checked > LOOP_STEP:
                    checked = written
                if stopped:
                    break
        # If the text was cut short, its last words may be no whole sentence.
        for part in parser.end(complete=stopped is None):
            yield from self._with_pictures(part, request, sentences, shown)
        if stopped:
            yield Note(stopped)
        if not written or (not sentences and not parser.abstained and not stopped):
            raise GeneratorError(_("{name} wrote nothing: ask again, or choose another model").format(name=self.name))

    @staticmethod
    def _with_pictures(
        part: Statement | ShownImage | Abstention, request: Request, sentences: set[str], shown: set[str | None]
    ) -> Iterator[Part]:
        """Yield a new sentence, then its pictures: those that it cites, and those near the passages that it cites."""
        if isinstance(part, ShownImage):
            if request.hits[part.hit].item.picture is not None:
                sentences.add(part.text or "")
                shown.add(request.hits[part.hit].item.picture)
                yield part
            return
        if isinstance(part, Abstention):
            yield part
            return
        # Items and rows may rightly be alike.
        if part.text in sentences and part.layout == "sentence" and not part.code:
            return
        sentences.add(part.text)
        yield part
        nearby = [n for n in request.relevant_images for passage in part.hits if _is_near(request, n, passage)]
        for n in (*part.hits, *nearby):
            picture = request.hits[n].item.picture
            if picture is not None and picture not in shown:
                shown.add(picture)
                yield ShownImage(n)


def _is_near(request: Request, picture: int, passage: int) -> bool:
    """Return whether a picture and a passage have the same document, heading and page."""
    picture_item, passage_item = request.hits[picture].item, request.hits[passage].item
    same_document = picture_item.document.id == passage_item.document.id
    same_page = picture_item.span.page == passage_item.span.page
    return same_document and same_page and picture_item.title == passage_item.title
