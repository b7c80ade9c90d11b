"""An answer as a client of OpenAI gets it: its text piece by piece, its citations, and the rest as our extension."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from fastapi import Request
from fastapi.responses import StreamingResponse

from commonplace.collection import Collection
from commonplace.errors import CommonplaceError
from commonplace.i18n import _
from commonplace.positions import place_of_item
from commonplace.server.access import View, state_of, view_of
from commonplace.server.markdown import AnswerWriter, Mark
from commonplace.server.openai.messages import Message, question_of_chat
from commonplace.server.openai.schemas import FormatIn
from commonplace.server.openai.tasks import reply_to, task_of
from commonplace.server.problems import BadRequest
from commonplace.server.routes.questions import question_of
from commonplace.server.schemas import AskIn
from commonplace.server.streams import visitor_of
from commonplace.server.views import address_of, answer_json, hit_json
from commonplace.types import Answer, Block, Hit, Item, Note

__all__ = [
    "Evidence",
    "Piece",
    "Reply",
    "ReplyEvent",
    "check_format",
    "events",
    "link_of",
    "streamed",
    "title_of",
    "tokens_of",
]


@dataclass(frozen=True, slots=True)
class Evidence:
    """The hits that an answer is written from."""

    hits: Sequence[Hit]
    notes: tuple[str, ...]
    extension: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Piece:
    """The next characters of the text, and the citations in them."""

    text: str
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """The whole text with its citations, and the question.

    ``plain`` is the text without links. ``extension`` is the answer in full; None for a reply to a chat program.
    """

    text: str
    marks: tuple[Mark, ...]
    plain: str
    question: str
    extension: dict[str, Any] | None = None


ReplyEvent = Evidence | Piece | Reply


def events(
    request: Request, model: str, messages: Sequence[Message], options: AskIn | None, max_tokens: int | None
) -> tuple[View, Iterator[ReplyEvent]]:
    """Return the collection, and the events of the reply to a conversation; the last one is the Reply.

    The first event is made before this returns, so that most errors are raised here.
    """
    view = view_of(request, model)
    stream = visitor_of(request).stream(_events(request, view, messages, options, max_tokens))
    return view, chain([next(stream)], stream)


def _events(
    request: Request, view: View, messages: Sequence[Message], options: AskIn | None, max_tokens: int | None
) -> Generator[ReplyEvent, None, None]:
    if messages and (task := task_of(messages)) is not None:
        with state_of(request).gate.turn(visitor_of(request)):
            text = reply_to(task, messages, state_of(request).library.generator, max_tokens)
        yield Piece(text)
        yield Reply(text, (), text, messages[-1].text)
        return
    ask = question_of_chat(messages, options)
    text_, image, settings = question_of(view, ask)
    writer = AnswerWriter(link_of(request, view))
    with state_of(request).gate.turn(visitor_of(request)):
        for part in view.collection.stream(text_, image=image, **settings):
            if isinstance(part, Block):
                count = len(writer.marks)
                piece = writer.block(part)
                yield Piece(piece, tuple(writer.marks[count:]))
            elif isinstance(part, Note):
                if part.restart and writer.text:
                    yield Piece(writer.restart(part.text))
            elif isinstance(part, Answer):
                if piece := writer.end(part):
                    yield Piece(piece)
                extension = {"answer": answer_json(view, part)}
                yield Reply(writer.text, tuple(writer.marks), part.text, text_ or "", extension)
            else:
                hits = {"hits": [hit_json(view, hit) for hit in part], "notes": list(part.notes)}
                yield Evidence(part, part.notes, {"evidence": hits})


def link_of(request: Request, view: View) -> Callable[[Item], str]:
    """Return what makes the address of an item: absolute, and signed, because a chat program sends no key with it."""
    state, base = state_of(request), str(request.base_url).rstrip("/")
    return lambda item: base + state.signer.link(address_of(view, item), state.settings.link_seconds)


def title_of(mark: Mark) -> str:
    """Return the title of a citation."""
    return place_of_item(mark.hit.item)


def check_format(format_: FormatIn | None) -> None:
    """Raise BadRequest for a format that answers do not have."""
    if format_ is not None and format_.type != "text":
        raise BadRequest(_("the format {type!r:.80} is not offered: answers are text").format(type=format_.type))


def tokens_of(collection: Collection, text: str) -> int:
    """Return the number of tokens of a text, as the model of the collection splits it."""
    tower = collection.space.text
    return len(text.split()) if tower is None else tower.length(text)


def streamed(lines: Iterable[str], failed: Callable[[CommonplaceError], str]) -> StreamingResponse:
    """Return server-sent events; an error, which comes too late for a status, is one of them."""

    def body() -> Iterator[str]:
        try:
            yield from lines
        except CommonplaceError as problem:
            yield failed(problem)

    return StreamingResponse(body(), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
