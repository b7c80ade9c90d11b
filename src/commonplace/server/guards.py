"""What guards the server: host and origin, size of bodies, headers, request ids in the log, and a bounded queue."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import threading
import time
import uuid
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from urllib.parse import urlsplit

from fastapi import HTTPException
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from commonplace.i18n import _
from commonplace.server.problems import Busy, Throttled, TooLarge, error_response, problem_of
from commonplace.server.settings import ServerSettings
from commonplace.server.streams import Visitor

__all__ = ["BodyLimit", "EntityTags", "Gate", "HostGuard", "Metrics", "RateLimit", "RequestLog"]

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; sandbox")
log = logging.getLogger("commonplace.server")


class HostGuard:
    """Refuses requests with a foreign ``Host``, and changes that a foreign web page sends.

    Without it, a page on the web could reach a server on loopback by a DNS name that it controls.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app = app
        self._names = settings.host_names
        self._origins = frozenset(settings.origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        if _host_name(host) not in self._names:
            detail = _("this server is not called {host!r:.80}").format(host=host)
            await _refuse(scope, 421, "misdirected", detail)(scope, receive, send)
            return
        origin = headers.get(b"origin", b"").decode("latin-1")
        if origin and scope["method"] not in SAFE and origin not in self._origins and _host_of(origin) != host:
            detail = _("a page of {origin!r:.80} may not call this server").format(origin=origin)
            await _refuse(scope, 403, "foreign-origin", detail)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _host_of(origin: str) -> str | None:
    """Return the host and port of an origin; None for what is no address, which is no page of this server."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _host_name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").casefold()
    except ValueError:
        return ""


def _refuse(scope: Scope, status: int, slug: str, detail: str) -> JSONResponse:
    details = {"type": f"urn:commonplace:problem:{slug}", "title": detail, "status": status, "detail": detail}
    return error_response(scope["path"], details)


class BodyLimit:
    """Counts the bytes of a body while they come in; a body without a stated length is no way around the limit."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        is_form = headers.get(b"content-type", b"").startswith(b"multipart/form-data")
        files = is_form and scope["path"].endswith("/documents")  # the picture of a search is no document
        limit = self._settings.max_upload if files else self._settings.max_body
        problem = TooLarge(_("the body has more than {limit:,} bytes: send less at once").format(limit=limit))
        stated = headers.get(b"content-length", b"0")
        # Python converts no number of thousands of digits.
        if not stated.isdigit() or len(stated) > 18 or int(stated) > limit:
            await error_response(scope["path"], problem_of(problem))(scope, receive, send)
            return
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > limit:
                # FastAPI passes on its own exceptions alone while it reads a body.
                raise HTTPException(413, str(problem))
            return message

        await self._app(scope, counted, send)


class EntityTags:
    """Gives JSON that was asked for with GET an entity tag, and answers 304 where the client has that JSON already.

    The tag is weak: the same JSON may be compressed or not.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        client_tags = dict(scope["headers"]).get(b"if-none-match", b"")
        start: Message | None = None
        body = b""

        async def tagged(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start" and _is_plain_json(message):
                start = message
                return
            if start is None:
                await send(message)
                return
            body += message.get("body", b"")
            if message.get("more_body"):
                return
            tag = b'W/"' + hashlib.blake2b(body, digest_size=10).hexdigest().encode() + b'"'
            headers = [*start["headers"], (b"etag", tag), (b"cache-control", b"private, no-cache")]
            if tag in client_tags:
                start["status"], body = 304, b""
                headers = [pair for pair in headers if pair[0] not in (b"content-length", b"content-type")]
            await send({**start, "headers": headers})
            await send({"type": "http.response.body", "body": body})

        await self._app(scope, receive, tagged)


def _is_plain_json(start: Message) -> bool:
    headers = dict(start["headers"])
    is_json = headers.get(b"content-type", b"").startswith(b"application/json")
    return start["status"] == 200 and is_json and b"etag" not in headers and b"cache-control" not in headers


class RequestLog:
    """Gives each request an id and security headers, writes one line to the log, and counts it.

    The line holds no text of queries or documents, and no keys.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        stated = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        request_id = stated if REQUEST_ID.fullmatch(stated) else uuid.uuid4().hex
        start, status = time.perf_counter(), 500

        async def stamped(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                present = {name for name, _value in message["headers"]}
                policy = () if POLICY[0] in present else (POLICY,)
                message["headers"] = [
                    *message["headers"],
                    *HEADERS,
                    *policy,
                    (b"x-request-id", request_id.encode()),
                ]
            await send(message)

        try:
            await self._app(scope, receive, stamped)
        finally:
            seconds = time.perf_counter() - start
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(scope["method"], route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(seconds)
            line = {
                "request": request_id,
                "method": scope["method"],
                "route": route,
                "status": status,
                "ms": round(seconds * 1000, 1),
                "key": scope.get("state", {}).get("key"),
            }
            log.info("%s", json.dumps(line))


class Metrics:
    """What ``/metrics`` shows, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "commonplace_requests",
            "Requests by route and status",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "commonplace_request_seconds", "Seconds from request to last byte", ("route",), registry=self.registry
        )
        # Of several processes of a server that count in one folder, those that live are added up.
        gauge = partial(Gauge, registry=self.registry, multiprocess_mode="livesum")
        self.running = gauge("commonplace_running", "Searches and answers that run now")
        self.waiting = gauge("commonplace_waiting", "Searches and answers that wait")
        self.refused = Counter("commonplace_refused", "Requests refused because too many wait", registry=self.registry)

    def text(self) -> bytes:
        """Return the metrics of all processes of the server, in the format of Prometheus."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self.registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


class Gate:
    """Lets a bounded number of searches run at once, and a bounded number wait for their turn, in order.

    A turn is handed to whoever waits longest. A semaphore would give it to whoever comes first after it is free, and
    put the one that it woke at the end of the queue again.
    """

    def __init__(self, running: int, waiting: int, metrics: Metrics) -> None:
        self._free = running
        self._most = waiting
        self._queue: deque[threading.Event] = deque()
        self._lock = threading.Lock()
        self._metrics = metrics

    @contextmanager
    def turn(self, visitor: Visitor | None = None) -> Iterator[None]:
        """Wait for a turn. Raises Busy if too many wait already, or if the client leaves while it waits."""
        called = None
        with self._lock:
            if self._free:
                self._free -= 1
            elif len(self._queue) < self._most:
                called = threading.Event()
                self._queue.append(called)
            else:
                self._metrics.refused.inc()
                raise Busy(_("too many requests wait: try again in a second"))
        if called is not None:
            with self._metrics.waiting.track_inprogress(), visitor.called(called) if visitor else nullcontext():
                called.wait()
            with self._lock:
                if called in self._queue:  # not by the one before it, but because the client left
                    self._queue.remove(called)
                    raise Busy(_("the client left before its turn came"))
        try:
            with self._metrics.running.track_inprogress():
                yield
        finally:
            with self._lock:
                if self._queue:
                    self._queue.popleft().set()
                else:
                    self._free += 1


class RateLimit:
    """Counts the requests of each key in the last minute."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._times: dict[str, deque[float]] = defaultdict(deque)
        self._lock = threading.Lock()

    def check(self, key: str) -> None:
        """Raise Throttled if the key had more than its requests in the last minute."""
        if not self._rate:
            return
        now = time.monotonic()
        with self._lock:
            times = self._times[key]
            while times and times[0] <= now - 60:
                times.popleft()
            if len(times) >= self._rate:
                raise Throttled(
                    _("the key {key} sent {rate} requests in a minute: wait a little").format(key=key, rate=self._rate)
                )
            times.append(now)
