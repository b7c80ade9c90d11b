"""Does a heat-map show where the words match? The pointing game on collages, and what hiding the box takes away.

    python benchmarks/heatmap.py [--collages N] [--photographs DIR]

A collage is made of test photographs and one caption (title) of one of them is the question: the map's peak should lie
in that one's tile (Zhang et al. 2016). ``--photographs`` names the folder of the demo's photographs
(``examples/library/photographs``): one example is then drawn.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common import RESULTS, data, flickr8k, interval, keep, machine, table
from commonplace.encoders import Bundle
from commonplace.retrieval import HeatMap, locate, occlusion
from commonplace.retrieval.heatmap import CELLS, GREY, _spread, _windows

SIDE = 320
Grid = Callable[[np.random.Generator], tuple[list[int], list[int]]]


def even(count: int) -> Grid:
    """Return collages of ``count`` x ``count`` equal tiles."""
    edges = [round(SIDE * i / count) for i in range(count + 1)]
    return lambda draw: (edges, edges)


def uneven(draw: np.random.Generator) -> tuple[list[int], list[int]]:
    """Return 2 x 2 tiles that meet anywhere between 35% and 65% of each side: no window fits a tile."""
    x, y = (int(SIDE * share) for share in draw.uniform(0.35, 0.65, 2))
    return [0, x, SIDE], [0, y, SIDE]


def fashion() -> list[tuple[Path, list[str]]]:
    """Return product photographs with their titles."""
    rows = [json.loads(line) for line in (data("fashion") / "products.jsonl").read_text().splitlines()]
    return [(data("fashion") / "images" / f"{one['id']}.jpg", [one["productDisplayName"]]) for one in rows]


def ways(encode: Any) -> dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]:
    """Return the maps that are compared; the first is the product's."""

    def hide(share: float) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        def values(pixels: np.ndarray, question: np.ndarray) -> np.ndarray:
            near_duplicates = [pixels]
            for window in _windows(pixels, 7, share):
                copy = pixels.copy()
                copy[window] = GREY
                near_duplicates.append(copy)
            cosines = encode(near_duplicates) @ question
            return _spread((cosines[0] - cosines[1:]).astype(np.float64), 7, share)

        return values

    def show(share: float) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        def values(pixels: np.ndarray, question: np.ndarray) -> np.ndarray:
            cosines = encode([pixels[window] for window in _windows(pixels, 7, share)]) @ question
            return _spread((cosines - cosines.mean()).astype(np.float64), 7, share)

        return values

    return {
        "parts hidden and parts alone (`heatmap`)": lambda pixels, question: occlusion(pixels, question, encode)[0],
        "parts hidden, 7 x 7 of 1/3": hide(1 / 3),
        "parts alone, 7 x 7 of 1/3": show(1 / 3),
    }


def hidden(pixels: np.ndarray, box: Sequence[float]) -> np.ndarray:
    """Return the picture with a box (fractions) in grey."""
    copy = pixels.copy()
    left, top, right, bottom = (round(SIDE * edge) for edge in box)
    copy[top:bottom, left:right] = GREY
    return copy


def play(bundle: Bundle, pictures: list[tuple[Path, list[str]]], grid: Grid, count: int) -> dict[str, list[float]]:
    """Return for each way whether the peak was right, in percent, and what hiding boxes takes away."""
    draw = np.random.default_rng(0)
    found: dict[str, list[float]] = {}
    for _ in range(count):
        columns, rows = grid(draw)
        size = len(columns) - 1
        chosen = [pictures[i] for i in draw.choice(len(pictures), size * size, replace=False)]
        target = int(draw.integers(size * size))
        captions = chosen[target][1]
        (question,) = bundle.text.encode([captions[int(draw.integers(len(captions)))]], "query")
        pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
        tiles = []
        for i, (path, _) in enumerate(chosen):
            top, bottom = rows[i // size], rows[i // size + 1]
            left, right = columns[i % size], columns[i % size + 1]
            photo = Image.open(path).convert("RGB")
            pixels[top:bottom, left:right] = np.asarray(photo.resize((right - left, bottom - top)))
            tiles.append(np.asarray(photo))
        alone = bundle.image.encode(tiles) @ question
        found.setdefault("the tiles as pictures of their own", []).append(100.0 * (int(alone.argmax()) == target))
        for name, way in ways(bundle.image.encode).items():
            values = way(pixels, question)
            y, x = (int((i + 0.5) / CELLS * SIDE) for i in np.unravel_index(int(values.argmax()), values.shape))
            tile = sum(y >= edge for edge in rows[1:-1]) * size + sum(x >= edge for edge in columns[1:-1])
            found.setdefault(name, []).append(100.0 * (tile == target))
            if "`heatmap`" in name and (located := locate(np.asarray(values, np.float32))):
                box = located[0]
                mirrored = (1 - box[2], 1 - box[3], 1 - box[0], 1 - box[1])
                cosines = bundle.image.encode([pixels, hidden(pixels, box), hidden(pixels, mirrored)]) @ question
                found.setdefault("fall, box", []).append(float(cosines[0] - cosines[1]))
                found.setdefault("fall, mirrored", []).append(float(cosines[0] - cosines[2]))
                found.setdefault("peak", []).append(float(values.max()))
                other = bundle.text.encode(["an invoice for office chairs"], "query")[0]
                found.setdefault("peak, other words", []).append(
                    float(occlusion(pixels, other, bundle.image.encode)[0].max())
                )
    return found


def main() -> None:
    """Measure, print and keep the tables and the example."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--collages", type=int, default=100, help="of each kind")
    parser.add_argument("--photographs", type=Path, help="folder of the demo's photographs")
    options = parser.parse_args()
    bundle = Bundle()
    if options.photographs:
        photo = np.asarray(Image.open(options.photographs / "astronaut.jpg").convert("RGB"))
        words = "a space shuttle"
        (question,) = bundle.text.encode([words], "query")
        HeatMap.of(photo, words, question, bundle.image.encode).save(RESULTS / "heatmap.jpg")
    test = [(data("flickr8k") / "images" / name, captions) for name, captions in flickr8k("test").items()]
    kinds: dict[str, tuple[list[tuple[Path, list[str]]], Grid, int]] = {
        "Flickr8k test, 2 x 2": (test, even(2), 4),
        "Flickr8k test, 2 x 2 uneven": (test, uneven, 4),
        "Flickr8k test, 3 x 3": (test, even(3), 9),
        "fashion, 2 x 2, by title": (fashion(), even(2), 4),
    }
    found = {}
    for name, (pictures, grid, _) in kinds.items():
        found[name] = play(bundle, pictures, grid, options.collages)
        print(name, {way: round(float(np.mean(values)), 3) for way, values in found[name].items()}, flush=True)
    rows = [["chance", *(f"{100 / tiles:.0f}" for _, _, tiles in kinds.values())]]
    for way in [*ways(None), "the tiles as pictures of their own"]:
        row = [way]
        for one in found.values():
            mean, low, high = interval(one[way])
            row.append(f"{mean:.0f} ({low:.0f} to {high:.0f})")
        rows.append(row)
    sides = []
    for way, what in (
        ("fall, box", "fall of the cosine, the box hidden"),
        ("fall, mirrored", "the same, its mirror image hidden"),
        ("peak", "the map's peak"),
        ("peak, other words", "the peak for words that match nothing"),
    ):
        means = (interval(one[way]) for one in found.values())
        sides.append([what, *(f"{mean:.3f} ({low:.3f} to {high:.3f})" for mean, low, high in means)])
    parts = [
        f"Measured on {machine()}. {options.collages} collages of each kind; 95% bootstrap intervals.",
        "**Pointing game**: the map's peak lies in the tile that the words belong to, percent",
        table(["map", *kinds], rows),
        "The last row is about the most that can be hoped for: how often the right tile, asked alone, is nearest to the "
        "words. Where the model cannot tell the pictures apart (products by title), nor can the map.",
        "**What the boxes are worth**, in units of the cosine",
        table(["", *kinds], sides),
        "![A heat-map of the words *a space shuttle* over a photograph of an astronaut (NASA, public domain)](heatmap.jpg)",
    ]
    values = {kind: {way: interval(v) for way, v in one.items()} for kind, one in found.items()}
    keep("heatmap", "\n\n".join(parts), {"collages": options.collages, **values})


if __name__ == "__main__":
    main()
