"""A small collection of pumps, with documents of two teams."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, ImageDraw

import commonplace as cp

__all__ = ["picture", "pumps"]


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
