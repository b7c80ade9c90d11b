"""A real server for the tests: uvicorn on a free port of 127.0.0.1, with a small collection."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from PIL import Image, ImageDraw

import commonplace as cp
from commonplace.server import Library, create_app

__all__ = ["picture", "pumps", "serving"]


def picture(colour: str = "red") -> bytes:
    """Return a picture of a disc as a PNG file."""
    image = Image.new("RGB", (640, 480), "white")
    ImageDraw.Draw(image).ellipse((160, 80, 480, 400), fill=colour)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def pumps(folder: Path) -> Path:
    """Make a collection with two manuals, of two teams, and a picture; return its folder."""
    north = "The north pump needs seal 4711. It was built in 1998 by Borchert.\n\nThe seal is changed every spring."
    south = "The south pump needs seal 815. Its motor is painted green."
    records = [
        cp.Record(id="north", title="North pump", text=north, metadata={"team": "north", "year": 1998}),
        cp.Record(id="south", title="South pump", text=south, metadata={"team": "south", "year": 2004}),
        cp.Record(
            id="disc", title="Red disc", data=picture(), name="disc.png", metadata={"team": "north", "year": 2010}
        ),
    ]
    with cp.open(folder) as kb:
        report = kb.add(records, workers=1, progress=False)
        assert not report.failed, report
    return folder


@contextmanager
def serving(library: Library, **options: Any) -> Iterator[str]:
    """Serve a library until the block ends; yields the address."""
    place = socket.socket()
    place.bind(("127.0.0.1", 0))
    app = create_app(library, **options)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [place]})
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            threading.Event().wait(0.01)
        yield f"http://127.0.0.1:{place.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        place.close()
