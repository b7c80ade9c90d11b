"""Clients that leave in the middle: no search turn is lost, wherever the answer was."""

from __future__ import annotations

import gc
import json
import socket
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from commonplace.errors import ReadError
from commonplace.server import Library, ServerSettings, create_app
from commonplace.server.guards import Gate, Metrics
from commonplace.server.problems import Busy
from commonplace.server.streams import Stream, Visitor
from tests.server.conftest import Client, serving, until

PLANT = "/v1/collections/plant"
QUESTION = "Which seal does the north pump need?"
CHAT = {"model": "plant", "messages": [{"role": "user", "content": QUESTION}], "stream": True}
STREAMS: list[tuple[str, dict[str, Any]]] = [
    (f"{PLANT}/ask/stream", {"query": QUESTION}),
    ("/v1/chat/completions", CHAT),
    ("/v1/responses", {"model": "plant", "input": QUESTION, "stream": True}),
]


@contextmanager
def sent(address: str, path: str, body: dict[str, Any]) -> Iterator[socket.socket]:
    """Yield the connection of a request that was sent; it is closed at the end."""
    place = urlsplit(address)
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: application/json\r\n"
    with socket.create_connection((place.hostname, place.port), timeout=120) as connection:
        connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        yield connection


def leave(address: str, path: str, body: dict[str, Any], after_bytes: int = 0) -> None:
    """Send a request and close the connection, at once or after so many bytes of the answer."""
    with sent(address, path, body) as connection:
        if after_bytes:
            connection.recv(after_bytes)


def ended(app: Any, path: str) -> float:
    """Return how many requests to this path ended."""
    samples = [sample for metric in app.state.server.metrics.requests.collect() for sample in metric.samples]
    end = path.rpartition("/")[2]
    return sum(
        sample.value
        for sample in samples
        if sample.name.endswith("_total") and sample.labels["route"].endswith(f"/{end}")
    )


def counts(app: Any) -> tuple[float | None, float | None]:
    """Return how many searches run and how many wait."""
    registry = app.state.server.metrics.registry
    return registry.get_sample_value("commonplace_running"), registry.get_sample_value("commonplace_waiting")


@pytest.mark.parametrize(("path", "body"), STREAMS)
def test_clients_that_leave_take_no_turn_with_them(
    place: Path, path: str, body: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    app = create_app(Library({"plant": str(place)}), settings=ServerSettings(concurrency=2, waiting=200))
    gc.disable()  # what it collects late or never is what this is about
    request.addfinalizer(gc.enable)
    with serving(app) as address, Client(base_url=address, timeout=60) as client:
        count = 100 if path == STREAMS[0][0] else 30
        for _number in range(count):
            leave(address, path, body)
        for _number in range(8):
            leave(address, path, body, after_bytes=1)
        until(lambda: ended(app, path) == count + 8)
        assert counts(app) == (0, 0)
        assert client.post(f"{PLANT}/search", json={"query": "seal"}).status_code == 200


def test_clients_that_leave_the_queue_leave_their_place(place: Path) -> None:
    app = create_app(Library({"plant": str(place)}), settings=ServerSettings(concurrency=1, waiting=3))
    path, body = STREAMS[0]
    with serving(app) as address, Client(base_url=address, timeout=60) as client:
        with app.state.server.gate.turn():
            for _number in range(9):  # more than may wait: each is gone before the next one comes
                with sent(address, path, body):
                    until(lambda: counts(app) == (1, 1))
                until(lambda: counts(app) == (1, 0))
        assert client.post(f"{PLANT}/search", json={"query": "seal"}).status_code == 200


def answer(gate: Gate, client: Visitor, begun: threading.Event, go_on: threading.Event) -> Generator[int, None, None]:
    with gate.turn(client):
        begun.set()
        go_on.wait()
        yield 1
        raise ReadError("an error in the middle")


def test_a_stream_gives_its_turn_back_however_it_ends() -> None:
    metrics = Metrics()
    gate = Gate(1, 1, metrics)

    def is_free() -> bool:
        with gate.turn():  # with nobody in front, this never waits
            return metrics.registry.get_sample_value("commonplace_waiting") == 0

    def stream(visitor: Visitor, *, goes_on: bool = True) -> tuple[Stream[int], threading.Event, threading.Event]:
        begun, go_on = threading.Event(), threading.Event()
        if goes_on:
            go_on.set()
        return visitor.stream(answer(gate, visitor, begun, go_on)), begun, go_on

    visitor = Visitor()
    parts, _begun, _go_on = stream(visitor)
    visitor.close()  # it never began
    assert list(parts) == [] and is_free()

    visitor = Visitor()
    parts, _begun, _go_on = stream(visitor)
    assert next(parts) == 1
    visitor.close()  # it began, and nobody takes the rest
    assert list(parts) == [] and is_free()

    parts, _begun, _go_on = stream(Visitor())
    assert next(parts) == 1
    with pytest.raises(ReadError):
        next(parts)
    assert is_free()

    visitor = Visitor()
    visitor.close()
    parts, _begun, _go_on = stream(visitor)  # it begins when the client is gone
    assert list(parts) == [] and is_free()

    with ThreadPoolExecutor(2) as pool:
        visitor = Visitor()
        parts, begun, go_on = stream(visitor, goes_on=False)
        part = pool.submit(next, parts)
        begun.wait()
        closing = pool.submit(visitor.close)  # while a part is made
        go_on.set()
        closing.result()
        assert part.result() == 1 and list(parts) == [] and is_free()

        visitor = Visitor()
        parts, _begun, _go_on = stream(visitor)
        with gate.turn():
            part = pool.submit(next, parts)
            until(lambda: metrics.registry.get_sample_value("commonplace_waiting") == 1)
            visitor.close()  # while it waits
            with pytest.raises(Busy, match="left"):
                part.result()
        assert is_free()
