"""Messages of a chat client as a question: its words, its picture, and the turns before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from commonplace.generation.follow_ups import depends
from commonplace.i18n import _
from commonplace.server.markdown import without_links
from commonplace.server.openai.schemas import MessageIn, PartIn
from commonplace.server.openai.tasks import question_in
from commonplace.server.problems import BadRequest
from commonplace.server.schemas import AskIn

__all__ = ["Message", "messages_of", "question_of_chat"]

MAX_TURNS = 20  # of the conversation before the question
MAX_ANSWER = 20_000  # characters of an answer that are read again
_WORDS = ("text", "input_text", "output_text")
_PICTURES = ("image_url", "input_image")


@dataclass(frozen=True, slots=True)
class Message:
    """A message: its text, and its pictures as data URLs."""

    role: str
    text: str
    images: tuple[str, ...] = ()


def messages_of(messages: Sequence[MessageIn]) -> list[Message]:
    """Return the messages. Raises BadRequest for a part that is neither words nor a picture."""
    return [Message(message.role, *_content(message)) for message in messages]


def question_of_chat(messages: Sequence[Message], options: AskIn | None) -> AskIn:
    """Return the question that a conversation ends with. Raises BadRequest if there is none."""
    last = max((n for n, message in enumerate(messages) if message.role == "user"), default=None)
    if last is None:
        raise BadRequest(_("no message has the role user: the last one is the question"))
    message = messages[last]
    if len(message.images) > 1:
        raise BadRequest(_("the question has {count} pictures: send one").format(count=len(message.images)))
    text = question_in(message.text).strip()
    history = [turn for turn in _turns(messages[:last]) if turn["question"]][-MAX_TURNS:]
    extra = {} if options is None else options.model_dump(exclude_unset=True)
    fields = {"query": text or None, "image": _picture(messages[: last + 1]), "history": history, **extra}
    try:
        return AskIn.model_validate(fields)
    except ValidationError as problem:
        first = problem.errors()[0]
        raise BadRequest(f"{'/'.join(map(str, first['loc']))}: {first['msg']}") from None


def _content(message: MessageIn) -> tuple[str, tuple[str, ...]]:
    if message.content is None or isinstance(message.content, str):
        return message.content or "", ()
    texts = [part.text or "" for part in message.content if part.type in _WORDS]
    images = [_address(part) for part in message.content if part.type in _PICTURES]
    unknown = next((part.type for part in message.content if part.type not in (*_WORDS, *_PICTURES)), None)
    if unknown is not None and message.role == "user":
        raise BadRequest(_("a message has a part {type!r:.80}: send words and pictures").format(type=unknown))
    return "\n".join(texts), tuple(images)


def _address(part: PartIn) -> str:
    address = part.image_url if part.image_url is None or isinstance(part.image_url, str) else part.image_url.url
    if not address or not address.casefold().startswith("data:"):
        raise BadRequest(_("a picture is no data URL: send its bytes, because this server fetches no addresses"))
    return address


def _picture(messages: Sequence[Message]) -> str | None:
    """Return the picture of the question; of a follow-up without one that of the question before it."""
    for message in reversed(messages):
        if message.role == "user":
            if message.images:
                return message.images[-1]
            if not depends(message.text):
                return None
    return None


def _turns(messages: Sequence[Message]) -> Iterator[dict[str, str]]:
    """Yield each question with its answer."""
    question = ""
    for message in messages:
        if message.role == "user":
            if question:
                yield {"question": question, "answer": ""}
            question = question_in(message.text).strip()[:MAX_ANSWER]
        elif message.role == "assistant" and question:
            yield {"question": question, "answer": without_links(message.text)[:MAX_ANSWER]}
            question = ""
    if question:
        yield {"question": question, "answer": ""}
