"""Searches, answers and feedback."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request, Response, UploadFile
from fastapi.sse import EventSourceResponse, ServerSentEvent

from commonplace.errors import CommonplaceError
from commonplace.filters import parse_where
from commonplace.generation import Rewriter
from commonplace.generation.follow_ups import depends, rewrite_by_rule
from commonplace.server.access import View, needs, state_of
from commonplace.server.pictures import item_picture, picture_of
from commonplace.server.problems import problem_of
from commonplace.server.schemas import AnswerOut, AskIn, HitOut, LabelIn, SearchForm, SearchIn, SearchOut
from commonplace.server.streams import visitor_of
from commonplace.server.views import answer_json, block_json, hit_json
from commonplace.types import Answer, Block, Note

__all__ = ["ask_events", "question_of", "router"]

router = APIRouter(prefix="/v1/collections/{collection}")
Reader = Annotated[View, Depends(needs("read"))]
Question = tuple[str | None, bytes | None, dict[str, Any]]
"""Words, a picture and options, as ``Collection.search()`` takes them."""
FILTERS = ("modality", "path", "media_type", "after", "before")


@router.post("/search", tags=["search"])
def search(request: Request, view: Reader, body: SearchIn) -> SearchOut:
    """Search by words, by a picture, by what is like an item, or by several of these."""
    pictures = picture_of(body.image, "image"), picture_of(body.negative_image, "negative_image")
    return _searched(request, view, body, *pictures)


@router.post("/search/upload", tags=["search"])
def search_upload(
    request: Request, view: Reader, form: Annotated[SearchForm, Form(media_type="multipart/form-data")]
) -> SearchOut:
    """Search with pictures that are uploaded as files of a form, beside the other fields of a search."""
    fields = form.model_dump(exclude={"image", "negative_image", "where"})
    body = SearchIn(**fields, where=parse_where(form.where))
    return _searched(request, view, body, _uploaded(form.image), _uploaded(form.negative_image))


@router.get("/search", tags=["search"])
def search_words(
    request: Request,
    view: Reader,
    query: Annotated[str, Query(min_length=1, max_length=20_000)],
    k: Annotated[int, Query(ge=1, le=200)] = 10,
    modality: Annotated[str | None, Query(max_length=50)] = None,
) -> SearchOut:
    """Search by words, with an address that can be kept."""
    return search(request, view, SearchIn.model_validate({"query": query, "k": k, "modality": modality}))


def _searched(
    request: Request, view: View, body: SearchIn, image: bytes | None, negative_image: bytes | None
) -> SearchOut:
    text, image, options = _question(view, body, image, negative_image)
    with state_of(request).gate.turn():
        hits = view.collection.search(text, image=image, **options)
    return SearchOut(hits=[HitOut(**hit_json(view, hit)) for hit in hits], notes=list(hits.notes))


def _uploaded(file: UploadFile | None) -> bytes | None:
    """Return the bytes of a file of a form. An empty one is a field that a browser sends unfilled."""
    return None if file is None else file.file.read() or None


@router.post("/ask", tags=["answers"])
def ask(request: Request, view: Reader, body: AskIn) -> AnswerOut:
    """Answer a question with cited and checked sentences and pictures, or abstain."""
    text, image, options = question_of(view, body)
    with state_of(request).gate.turn():
        answer = view.collection.ask(text, image=image, **options)
    return AnswerOut(**answer_json(view, answer))


def checked_question(view: Reader, body: AskIn) -> Question:
    """Return a question, checked before the first event of its stream is made: then the status 200 was sent."""
    return question_of(view, body)


@router.post("/ask/stream", tags=["answers"], response_class=EventSourceResponse)
def ask_stream(
    request: Request, view: Reader, question: Annotated[Question, Depends(checked_question)]
) -> Iterator[ServerSentEvent]:
    """Answer a question as events: ``evidence`` (the hits) first, then ``block`` by ``block``, last ``answer``.

    ``restart`` takes back the blocks before it; ``note`` is for the reader; ``error`` holds problem details.
    """
    yield from visitor_of(request).stream(ask_events(request, view, *question))


def ask_events(
    request: Request, view: View, text: str | None, image: bytes | None, options: dict[str, Any]
) -> Generator[ServerSentEvent, None, None]:
    """Yield an answer as server-sent events, while it is written."""
    try:
        with state_of(request).gate.turn(visitor_of(request)):
            for part in view.collection.stream(text, image=image, **options):
                yield _event(view, part)
    except CommonplaceError as problem:  # the status was sent already
        yield ServerSentEvent(event="error", data=problem_of(problem))


def _event(view: View, part: Any) -> ServerSentEvent:
    if isinstance(part, Answer):
        return ServerSentEvent(event="answer", data=answer_json(view, part))
    if isinstance(part, Block):
        return ServerSentEvent(event="block", data=block_json(part))
    if isinstance(part, Note):
        return ServerSentEvent(event="restart" if part.restart else "note", data={"text": part.text})
    hits = {"hits": [hit_json(view, hit) for hit in part], "notes": list(part.notes)}
    return ServerSentEvent(event="evidence", data=hits)


@router.post("/labels", tags=["search"], status_code=204)
def label(view: Annotated[View, Depends(needs("write"))], body: LabelIn) -> Response:
    """Say whether an item answers a query. ``commonplace tune`` learns from these."""
    view.item(body.item)
    view.collection.label(body.query, body.item, body.good)
    return Response(status_code=204)


def question_of(view: View, body: SearchIn) -> Question:
    """Return the words, the picture and the options of a request, as ``Collection.search()`` takes them."""
    return _question(view, body, picture_of(body.image, "image"), picture_of(body.negative_image, "negative_image"))


def _question(view: View, body: SearchIn, image: bytes | None, negative_image: bytes | None) -> Question:
    text, negative = body.query, body.negative
    if body.like is not None:
        item = view.item(body.like)
        image = image or item_picture(view, item)
        text = text or (item.text if image is None else None)
    if body.unlike is not None:
        item = view.item(body.unlike)
        negative_image = negative_image or item_picture(view, item)
        negative = negative or (item.text if negative_image is None else None)
    options: dict[str, Any] = {name: value for name in FILTERS if (value := getattr(body, name)) is not None}
    options |= {"k": body.k, "min_confidence": body.min_confidence, "where": view.where(body.where) or None}
    options |= {"negative": negative, "negative_image": negative_image, "rerank": body.rerank}
    if isinstance(body, AskIn) and body.history:
        options["history"] = history = [(turn.question, turn.answer) for turn in body.history]
        # In a question with a picture, *this* is the picture. Only a model that reads the history knows better.
        is_clear = image is not None and not isinstance(view.collection.generator, Rewriter)
        if text is not None and depends(text) and not is_clear:
            options["searched_as"] = _rewritten(view, text, history)
    return text, image, options


def _rewritten(view: View, text: str, history: list[tuple[str, str]]) -> str:
    """Return a follow-up question in full: by the language model if there is one, else by a rule."""
    generator = view.collection.generator
    if isinstance(generator, Rewriter):
        try:
            return generator.self_contained(text, history)
        except CommonplaceError:
            pass
    return rewrite_by_rule(text, history[-1][0])
