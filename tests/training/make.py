"""Small drawn pictures with captions: a coloured shape on a ground."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 160, 40),
    "blue": (30, 60, 220),
    "yellow": (240, 220, 40),
    "black": (15, 15, 15),
    "purple": (140, 40, 160),
}
SHAPES = ("circle", "square", "triangle")
GROUNDS = {"white": (250, 250, 250), "grey": (150, 150, 150), "brown": (120, 80, 50)}


def scenes(folder: Path, count: int = 54) -> list[tuple[str, list[str]]]:
    """Draw up to 54 different pictures into ``folder``; return their file names and captions."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    named = []
    for colour, shape, ground in list(itertools.product(COLOURS, SHAPES, GROUNDS))[:count]:
        image = Image.new("RGB", (64, 64), GROUNDS[ground])
        low, high = int(draw.integers(4, 16)), int(draw.integers(46, 60))
        pen = ImageDraw.Draw(image)
        if shape == "circle":
            pen.ellipse((low, low, high, high), fill=COLOURS[colour])
        elif shape == "square":
            pen.rectangle((low, low, high, high), fill=COLOURS[colour])
        else:
            pen.polygon([(low, high), (high, high), ((low + high) // 2, low)], fill=COLOURS[colour])
        name = f"{colour}-{shape}-{ground}.png"
        image.save(folder / name)
        named.append(
            (name, [f"a {colour} {shape} on {ground} ground", f"{shape} painted {colour} with {ground} behind it"])
        )
    return named


def table(folder: Path, count: int = 54) -> Path:
    """Write ``pairs.csv`` beside the pictures, one row for each caption."""
    made = scenes(folder / "pictures", count)
    with (folder / "pairs.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "caption"])
        rows.writerows((f"pictures/{name}", caption) for name, captions in made for caption in captions)
    return folder / "pairs.csv"


def lines(folder: Path, count: int = 54) -> Path:
    """Write ``pairs.jsonl`` beside the pictures, one line for each picture."""
    made = scenes(folder / "pictures", count)
    rows = [json.dumps({"file_name": f"pictures/{name}", "text": captions}) for name, captions in made]
    (folder / "pairs.jsonl").write_text("\n".join(rows), encoding="utf-8")
    return folder / "pairs.jsonl"
