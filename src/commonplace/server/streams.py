"""Answers that are sent in parts: each is closed at the end of its request, also when the client left in the middle."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

import anyio
import anyio.to_thread
from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Stream", "Streams", "Visitor", "visitor_of"]

T = TypeVar("T")
STATE = "visitor"


class Stream(Generic[T]):
    """The parts of an answer. It can be closed by any thread, before its first part and while one is made, too.

    A generator that nobody asks for its next part holds its search turn until it is collected, which may be never.
    """

    def __init__(self, parts: Generator[T, None, None]) -> None:
        self._parts = parts
        self._lock = threading.Lock()
        self._is_closed = False

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        """Return the next part, or end if the stream was closed."""
        with self._lock:
            if self._is_closed:
                raise StopIteration
            return next(self._parts)

    def close(self) -> None:
        """Give back what the stream holds. A part that is being made is finished first."""
        self._is_closed = True
        with self._lock:
            self._parts.close()


class Visitor:
    """Who sent a request: whether they left, and the streams that they get. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left = False
        self._calls: list[threading.Event] = []
        self._streams: list[Stream[object]] = []

    @property
    def has_streams(self) -> bool:
        """Whether a stream was begun."""
        return bool(self._streams)

    @contextmanager
    def called(self, call: threading.Event) -> Iterator[None]:
        """Return a context in which the event is set when the client leaves, or has left already."""
        with self._lock:
            self._calls.append(call)
            if self._left:
                call.set()
        try:
            yield
        finally:
            with self._lock:
                self._calls.remove(call)

    def stream(self, parts: Generator[T, None, None]) -> Stream[T]:
        """Return a stream of these parts that is closed at the end of the request."""
        stream = Stream(parts)
        with self._lock:
            self._streams.append(stream)  # type: ignore[arg-type]
            is_late = self._left
        if is_late:
            stream.close()
        return stream

    def leave(self) -> None:
        """Call off what waits for its turn."""
        with self._lock:
            self._left = True
            for call in self._calls:
                call.set()

    def close(self) -> None:
        """Close the streams."""
        self.leave()
        for stream in self._streams:
            stream.close()


def visitor_of(request: Request) -> Visitor:
    """Return who sent a request, with the streams that they get."""
    visitor: Visitor = request.scope["state"][STATE]
    return visitor


class Streams:
    """Closes the streams of a request when it ends, however it ends.

    Frameworks drop a generator whose client left, or never start it, and leave it to the garbage collector.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visitor = Visitor()
        scope.setdefault("state", {})[STATE] = visitor

        async def watched() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect":
                visitor.leave()
            return message

        try:
            await self._app(scope, watched, send)
        finally:
            if visitor.has_streams:
                with anyio.CancelScope(shield=True):
                    # A limiter of its own: all other threads may wait for the turn that this gives back.
                    await anyio.to_thread.run_sync(visitor.close, limiter=anyio.CapacityLimiter(1))
