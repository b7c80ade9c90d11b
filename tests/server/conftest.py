"""A real server on a free port of 127.0.0.1, with a small real collection."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from PIL import Image

import commonplace
from commonplace import Record
from commonplace.server import KeyFile, Library, create_app
from tests.server.pumps import pumps

Client = httpx.Client


def picture(seed: int, size: int = 64) -> bytes:
    """Return a JPEG of coloured noise, the same for each seed."""
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC).save(buffer, "JPEG")
    return buffer.getvalue()


def records() -> list[Record]:
    """Return the documents of the collection."""
    return [
        Record(
            "The north pump needs the seal 4711. It was changed on 5 March 2024.", id="pump", metadata={"team": "water"}
        ),
        Record("Salaries are paid on the last day of the month.", id="pay", metadata={"team": "office"}),
        Record("水泵每年春天更换密封圈。", id="水泵/1", metadata={"team": "water"}),
        Record(image=picture(1), text="a red boat on a lake", id="boat", metadata={"team": "water"}),
    ]


def until(is_so: Callable[[], bool]) -> None:
    """Wait for something that takes a moment."""
    end = time.monotonic() + 240
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """Serve an app by uvicorn in a thread; yield its address."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a collection that tests read."""
    folder = tmp_path_factory.mktemp("served") / "collection"
    with commonplace.open(folder) as collection:
        collection.add(records(), progress=False, workers=1)
    return folder


@pytest.fixture(scope="session")
def pump_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a collection of pumps, that clients of other protocols read."""
    return pumps(tmp_path_factory.mktemp("pumps") / "collection")


@pytest.fixture(scope="session")
def client(place: Path) -> Iterator[Client]:
    """A client of a server without keys."""
    app = create_app(Library({"plant": str(place)}))
    with serving(app) as address, Client(base_url=address, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The secrets of keys by name; ``path`` is their file."""
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    file = KeyFile(path)
    return {
        "path": str(path),
        "reader": file.add("reader", ["read"]),
        "water": file.add("water", ["read", "write"], ["plant"], ["team=water"]),
        "elsewhere": file.add("elsewhere", ["read"], ["other"]),
        "boss": file.add("boss", ["read", "write", "admin"]),
    }


@pytest.fixture(scope="session")
def locked(place: Path, keys: dict[str, str]) -> Iterator[Callable[[str | None], Client]]:
    """Return a client of a server with keys, for the key of a name, or without one."""
    app = create_app(Library({"plant": str(place)}), keys=KeyFile(Path(keys["path"])))
    with serving(app) as address:
        clients: list[Client] = []

        def client_of(name: str | None) -> Client:
            headers = {"Authorization": f"Bearer {keys[name]}"} if name is not None else {}
            clients.append(Client(base_url=address, timeout=60, headers=headers))
            return clients[-1]

        yield client_of
        for client in clients:
            client.close()
