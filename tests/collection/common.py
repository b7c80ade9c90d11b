"""A page about pumps, and pictures, for the tests of collections."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

import commonplace as cp

PUMP = """# Pumps

## The north pump

The north pump needs the blue seal. Change it every spring.

## The south pump

The south pump runs dry in August and has a brass valve.
"""


def draw(path: Path, colour: str, shape: str = "ellipse") -> Path:
    image = Image.new("RGB", (200, 160), "white")
    getattr(ImageDraw.Draw(image), shape)((40, 20, 160, 140), fill=colour)
    image.save(path)
    return path


def names(hits: list[cp.Hit]) -> list[str]:
    return [Path(hit.item.document.path).name for hit in hits]
