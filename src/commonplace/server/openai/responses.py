"""Responses: the newer of OpenAI's two APIs for answers. Nothing is kept: each request holds its conversation."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from commonplace.errors import CommonplaceError
from commonplace.i18n import _
from commonplace.positions import shown_name
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
    tokens_of,
)
from commonplace.server.openai.messages import messages_of
from commonplace.server.openai.schemas import MessageIn, ResponseIn, ResponseOut
from commonplace.server.problems import BadRequest, problem_of
from commonplace.types import Hit

__all__ = ["router"]

router = APIRouter()
RESULTS = "file_search_call.results"


@router.post(
    "/responses",
    response_model=ResponseOut,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
def create_response(request: Request, body: ResponseIn) -> Response:
    """Answer a question, or the last message of a conversation, as OpenAI's responses.

    The output is a ``file_search_call`` with the search, and a message whose annotations are ``file_citation``.
    """
    if body.previous_response_id is not None or body.conversation is not None:
        raise BadRequest(_("this server keeps no conversations: send the messages before the question as input"))
    if body.background:
        raise BadRequest(_("this server has no background responses: leave out background"))
    check_format(body.text.format if body.text else None)
    messages = [MessageIn(role="user", content=body.input)] if isinstance(body.input, str) else _messages(body)
    if body.instructions:
        messages.insert(0, MessageIn(role="system", content=body.instructions))
    view, stream = events(request, body.model, messages_of(messages), body.commonplace, body.max_output_tokens)
    writer = _ResponseWriter(view, body)
    lines = writer.lines(stream)
    if body.stream:
        return streamed(lines, writer.failed)
    for _line in lines:
        pass
    return JSONResponse(writer.response("completed"))


def _messages(body: ResponseIn) -> list[MessageIn]:
    assert not isinstance(body.input, str)
    return [
        MessageIn(role=item.role, content=item.content)
        for item in body.input
        if item.role is not None and item.type in (None, "message")
    ]


class _ResponseWriter:
    """Writes the events of one response, and holds its state."""

    def __init__(self, view: View, body: ResponseIn) -> None:
        self._view = view
        self._body = body
        self._id, self._message, self._search = (f"{kind}_{uuid.uuid4().hex}" for kind in ("resp", "msg", "fs"))
        self._created = int(time.time())
        self._number = 0
        self._output: list[dict[str, Any]] = []
        self._reply: Reply | None = None

    def lines(self, stream: Iterator[ReplyEvent]) -> Iterator[str]:
        """Yield the server-sent events."""
        yield self._event("response.created", response=self.response("in_progress"))
        yield self._event("response.in_progress", response=self.response("in_progress"))
        annotations: list[dict[str, Any]] = []
        is_open = False
        for event in stream:
            if isinstance(event, Evidence):
                yield from self._searched(event)
                continue
            if not is_open:
                yield from self._opened()
                is_open = True
            if isinstance(event, Piece):
                yield self._event("response.output_text.delta", **self._part, delta=event.text, logprobs=[])
                for mark in event.marks:
                    annotations.append(_annotation(mark))
                    yield self._event(
                        "response.output_text.annotation.added",
                        **self._part,
                        annotation_index=len(annotations) - 1,
                        annotation=annotations[-1],
                    )
            else:
                yield from self._closed(event)
        yield self._event("response.completed", response=self.response("completed"))

    def failed(self, problem: CommonplaceError) -> str:
        """Return the event for an error."""
        response = self.response("failed")
        code = "server_error" if problem_of(problem)["status"] >= 500 else "invalid_prompt"
        response["error"] = {"code": code, "message": str(problem)}
        return self._event("response.failed", response=response)

    def response(self, status: str) -> dict[str, Any]:
        """Return the response as it is now."""
        usage = None
        if self._reply is not None:
            read, written = (
                tokens_of(self._view.collection, text) for text in (self._reply.question, self._reply.plain)
            )
            usage = {
                "input_tokens": read,
                "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                "output_tokens": written,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": read + written,
            }
        response = {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": self._body.instructions,
            "max_output_tokens": self._body.max_output_tokens,
            "metadata": self._body.metadata or {},
            "model": self._body.model,
            "output": list(self._output),
            "parallel_tool_calls": False,
            "previous_response_id": None,
            "store": False,
            "temperature": None,
            "text": {"format": {"type": "text"}},
            "tool_choice": "auto",
            "tools": [],
            "top_p": None,
            "truncation": "disabled",
            "usage": usage,
        }
        if self._reply is not None and self._reply.extension is not None:
            response["commonplace"] = self._reply.extension
        return response

    @property
    def _part(self) -> dict[str, Any]:
        return {"item_id": self._message, "output_index": len(self._output), "content_index": 0}

    def _event(self, type_: str, **fields: Any) -> str:
        data = json.dumps({"type": type_, "sequence_number": self._number, **fields}, ensure_ascii=False)
        self._number += 1
        return f"event: {type_}\ndata: {data}\n\n"

    def _searched(self, evidence: Evidence) -> Iterator[str]:
        place = {"output_index": len(self._output), "item_id": self._search}
        call: dict[str, Any] = {
            "id": self._search,
            "type": "file_search_call",
            "status": "in_progress",
            "queries": [],
            "results": None,
        }
        yield self._event("response.output_item.added", output_index=len(self._output), item=call)
        for state in ("in_progress", "searching", "completed"):
            yield self._event(f"response.file_search_call.{state}", **place)
        results = [_result(hit) for hit in evidence.hits] if RESULTS in (self._body.include or ()) else None
        call = {**call, "status": "completed", "results": results}
        yield self._event("response.output_item.done", output_index=len(self._output), item=call)
        self._output.append(call)

    def _opened(self) -> Iterator[str]:
        item = {"id": self._message, "type": "message", "status": "in_progress", "role": "assistant", "content": []}
        yield self._event("response.output_item.added", output_index=len(self._output), item=item)
        yield self._event("response.content_part.added", **self._part, part=_text("", []))

    def _closed(self, reply: Reply) -> Iterator[str]:
        part = _text(reply.text, [_annotation(mark) for mark in reply.marks])
        item = {
            "id": self._message,
            "type": "message",
            "status": "completed",
            "role": "assistant",
            "content": [part],
        }
        yield self._event("response.output_text.done", **self._part, text=reply.text, logprobs=[])
        yield self._event("response.content_part.done", **self._part, part=part)
        yield self._event("response.output_item.done", output_index=len(self._output), item=item)
        self._output.append(item)
        self._reply = reply


def _text(text: str, annotations: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": annotations, "logprobs": []}


def _annotation(mark: Mark) -> dict[str, Any]:
    document = mark.hit.item.document
    return {"type": "file_citation", "file_id": document.id, "filename": shown_name(document), "index": mark.start}


def _result(hit: Hit) -> dict[str, Any]:
    document = hit.item.document
    return {
        "file_id": document.id,
        "filename": shown_name(document),
        "score": hit.score,
        "attributes": {},
        "text": hit.item.text or "",
    }
