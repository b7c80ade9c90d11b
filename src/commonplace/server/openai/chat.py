"""Chat completions: a conversation with a collection."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from commonplace.errors import CommonplaceError
from commonplace.server.access import View
from commonplace.server.markdown import Mark
from commonplace.server.openai.answers import (
    Evidence,
    Piece,
    Reply,
    ReplyEvent,
    check_format,
    events,
    streamed,
    title_of,
    tokens_of,
)
from commonplace.server.openai.messages import messages_of
from commonplace.server.openai.schemas import ChatIn, ChatOut
from commonplace.server.problems import openai_error, problem_of

__all__ = ["router"]

router = APIRouter()


@router.post(
    "/chat/completions",
    response_model=ChatOut,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
def create_chat_completion(request: Request, body: ChatIn) -> Response:
    """Answer the last message of a conversation with a collection, as OpenAI's chat completions.

    The text links to its sources; ``annotations`` are the same links; ``commonplace`` is the answer in full.
    """
    check_format(body.response_format)
    max_tokens = body.max_completion_tokens or body.max_tokens
    view, stream = events(request, body.model, messages_of(body.messages), body.commonplace, max_tokens)
    head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": body.model}
    if body.stream:
        with_usage = body.stream_options is not None and body.stream_options.include_usage
        return streamed(_chunks(view, stream, head, with_usage), _failed)
    reply = next(event for event in stream if isinstance(event, Reply))
    message = {
        "role": "assistant",
        "content": reply.text,
        "refusal": None,
        "annotations": _annotations(reply.marks),
    }
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    completion = {**head, "object": "chat.completion", "choices": [choice], "usage": _usage(view, reply)}
    if reply.extension is not None:
        completion["commonplace"] = reply.extension
    return JSONResponse(completion)


def _chunks(view: View, stream: Iterator[ReplyEvent], head: dict[str, Any], with_usage: bool) -> Iterator[str]:
    def chunk(delta: dict[str, Any], finish: str | None = None, extension: dict[str, Any] | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _line({**common, "choices": [choice], **({"commonplace": extension} if extension else {})})

    common = {**head, "object": "chat.completion.chunk"}
    if with_usage:
        common["usage"] = None
    first: dict[str, Any] = {"role": "assistant", "content": ""}
    for event in stream:
        if isinstance(event, Evidence):
            yield chunk(first, extension=event.extension)
            first = {}
        elif isinstance(event, Piece):
            yield chunk({**first, "content": event.text})
            first = {}
        else:
            annotations = {"annotations": _annotations(event.marks)} if event.marks else {}
            yield chunk(annotations, "stop", event.extension)
            if with_usage:
                yield _line({**common, "choices": [], "usage": _usage(view, event)})
    yield "data: [DONE]\n\n"


def _line(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def _failed(problem: CommonplaceError) -> str:
    return _line(openai_error(problem_of(problem)))


def _annotations(marks: Sequence[Mark]) -> list[dict[str, Any]]:
    return [
        {
            "type": "url_citation",
            "url_citation": {
                "url": mark.url,
                "title": title_of(mark),
                "start_index": mark.start,
                "end_index": mark.end,
            },
        }
        for mark in marks
    ]


def _usage(view: View, reply: Reply) -> dict[str, int]:
    prompt, completion = tokens_of(view.collection, reply.question), tokens_of(view.collection, reply.plain)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
