"""Heat-maps: which parts of a picture match a text, by occlusion and by encoding each part alone."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from commonplace.atomic import atomic_write
from commonplace.errors import CommonplaceError
from commonplace.i18n import _, system_reason
from commonplace.types import Box, printable

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["HeatMap", "locate", "occlusion"]

Encode = Callable[[Sequence[NDArray[np.uint8]]], NDArray[np.float32]]
"""Encodes RGB uint8 pictures (height, width, 3) as unit vectors (n, dim) in the space of the query."""

SHOWN = (6, 1 / 3)  # windows shown alone: steps along each side, and the window's side as a share of the picture's
HIDDEN = (3, 1 / 2)  # hidden windows, likewise: with the full picture 6 * 6 + 3 * 3 + 1 = 46 forward passes
GREY = 127  # fill value of a hidden window: close to the mean that a tower subtracts
SIDE = 320  # longer side in pixels of the reduced picture: a little more than the tower's input
CELLS = 56  # number of cells along each side of the map
HALF = 0.5  # cells belong to the region from this share of the peak on
FAINT = 0.1  # a peak below this is not stretched to full colour: unrelated words reach .07


def occlusion(
    pixels: NDArray[np.uint8], question: NDArray[np.float32], encode: Encode
) -> tuple[NDArray[np.float32], float]:
    """Return a heat-map of a query (dim,) over a picture, and the cosine of the full picture with the query.

    The map, (56, 56) float32 in units of the cosine, is the mean of two maps. The *occlusion* map is the decrease of
    the cosine when a grey window hides a cell (Zeiler and Fergus 2014). The *part* map is the cosine of a window of the
    picture, enlarged to the tower's input size, minus the mean over all windows. Both are averages over the windows
    near the cell.

    Occlusion alone locates wrongly several times as often: with two dogs, either can be hidden without loss. Parts
    alone locate as well as both together, but do not show what the full picture's cosine depends on
    (benchmarks/results/heatmap.md). Values are positive where the words match, and negative where they match better
    without the cell. A map takes 46 forward passes.
    """
    small = _reduced(pixels)
    hidden = []
    for window in _windows(small, *HIDDEN):
        copy = small.copy()
        copy[window] = GREY
        hidden.append(copy)
    parts = [small[window] for window in _windows(small, *SHOWN)]
    cosines = np.asarray(encode([small, *hidden, *parts]) @ question, dtype=np.float64)
    full, without, alone = cosines[0], cosines[1 : 1 + len(hidden)], cosines[1 + len(hidden) :]
    both = _spread(full - without, *HIDDEN) + _spread(alone - alone.mean(), *SHOWN)
    return np.asarray(both / 2, dtype=np.float32), float(full)


def _windows(pixels: NDArray[np.uint8], steps: int, share: float) -> list[tuple[slice, slice]]:
    """Return ``steps`` x ``steps`` evenly spaced windows of a picture, by rows from the top.

    ``share`` (0 to 1) is the side of a window as a share of the picture's side.
    """
    sides = []
    for length in pixels.shape[:2]:
        size = max(1, round(share * length))
        sides.append([slice(start, start + size) for start in np.linspace(0, length - size, steps).round().astype(int)])
    return [(rows, columns) for rows in sides[0] for columns in sides[1]]


def _spread(values: NDArray[np.float64], steps: int, share: float) -> NDArray[np.float64]:
    """Return for each cell of the map the weighted mean of the windows' values (steps * steps,).

    The weight of a window is a Gaussian around its centre; its standard deviation is a third of the window's side. A
    plain mean over the windows that cover a cell would show their edges, and each corner would depend on one window.
    """
    middles = np.linspace(share / 2, 1.0 - share / 2, steps)[:, None]
    centres = (np.arange(CELLS) + 0.5) / CELLS
    near = np.exp(-0.5 * ((centres - middles) / (share / 3)) ** 2)  # (steps, cells)
    near /= near.sum(axis=0)
    return np.asarray(near.T @ values.reshape(steps, steps) @ near)


def _reduced(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the picture with at most ``SIDE`` pixels per side: larger copies would only take more time."""
    height, width = pixels.shape[:2]
    if max(height, width) <= SIDE:
        return pixels
    from PIL import Image

    ratio = SIDE / max(height, width)
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def locate(values: NDArray[np.float32]) -> tuple[Box, float] | None:
    """Return the box of the region around a map's peak, and the region's share of the sum of positive values.

    The region consists of the cells connected to the peak whose value is at least half the peak's. None if no value is
    positive.
    """
    peak = float(values.max())
    if peak <= 0:
        return None
    high = values >= HALF * peak
    region = np.zeros_like(high)
    region[np.unravel_index(int(values.argmax()), values.shape)] = True
    while True:
        grown = region.copy()
        grown[1:] |= region[:-1]
        grown[:-1] |= region[1:]
        grown[:, 1:] |= region[:, :-1]
        grown[:, :-1] |= region[:, 1:]
        grown &= high
        if (grown == region).all():
            break
        region = grown
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    height, width = values.shape
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    positive = np.maximum(values, 0.0)
    share = float(positive[top:bottom, left:right].sum() / positive.sum())
    return (left / width, top / height, right / width, bottom / height), share


@dataclass(frozen=True, slots=True)
class HeatMap:
    """A heat-map of a text over a picture.

    ``values`` (rows, columns) are evenly spaced over the full picture, in units of the cosine: see ``occlusion``.
    ``cosine`` is that of the full picture. ``box`` bounds the region around the peak, and ``share`` (0 to 1) is that
    region's share of the sum of positive values. The box is None if no value is positive.

    The map shows what the *model* responds to, in windows of a third of the picture's side. It does not show the
    outline of an object, nor that the words are correct. Unrelated words have a peak too: .06 to .07 on average,
    against .12 to .16 for captions of photographs (benchmarks/results/heatmap.md). The map cannot locate a thing that
    the model does not know.
    """

    text: str
    pixels: NDArray[np.uint8]  # (height, width, 3)
    values: NDArray[np.float32]
    cosine: float
    box: Box | None
    share: float

    @classmethod
    def of(cls, pixels: NDArray[np.uint8], text: str, question: NDArray[np.float32], encode: Encode) -> HeatMap:
        """Return the map of ``question``, the vector (dim,) of ``text``, over a picture; see ``occlusion``."""
        values, cosine = occlusion(pixels, question, encode)
        box, share = locate(values) or (None, 0.0)
        return cls(text, pixels, values, cosine, box, share)

    @property
    def peak(self) -> float:
        """The highest value of the map."""
        return float(self.values.max())

    def dict(self) -> dict[str, Any]:
        """Return the map as plain JSON values: ``values`` by rows, from the top."""
        return {
            "text": self.text,
            "cosine": self.cosine,
            "peak": self.peak,
            "box": None if self.box is None else list(self.box),
            "share": self.share,
            "values": [[round(float(value), 5) for value in row] for row in self.values],
        }

    def draw(self, side: int = 640) -> Image:
        """Return the picture in grey with the coloured map, the box, and a legend below; at most ``side`` pixels wide.

        The colours are viridis, whose lightness increases evenly with the value (van der Walt and Smith 2015). Negative
        values are drawn as zero. Full colour is the peak, or 0.1 if the peak is lower.
        """
        from PIL import Image, ImageDraw

        height, width = self.pixels.shape[:2]
        ratio = side / max(height, width)
        size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
        top = max(self.peak, FAINT)
        smooth = Image.fromarray(np.maximum(self.values, 0.0)).resize(size, Image.Resampling.BICUBIC)
        level = np.clip(np.asarray(smooth) / top, 0.0, 1.0)
        photo = np.asarray(Image.fromarray(self.pixels).convert("L").resize(size, Image.Resampling.BICUBIC))
        cover = (0.25 + 0.4 * level)[..., None]
        mixed = (1 - cover) * photo[..., None].astype(np.float32) + cover * _viridis(level)
        page = Image.new("RGB", (max(size[0], 260), size[1] + LEGEND), "white")
        left = (page.width - size[0]) // 2
        page.paste(Image.fromarray(mixed.round().astype(np.uint8)), (left, 0))
        draw = ImageDraw.Draw(page)
        if self.box is not None:
            (x0, y0, x1, y1), (w, h) = self.box, (size[0] - 1, size[1] - 1)
            edges = (left + round(x0 * w), round(y0 * h), left + round(x1 * w), round(y1 * h))
            draw.rectangle(edges, outline="black", width=4)
            draw.rectangle(edges, outline="white", width=2)
        _legend(page, size[1], self.text, self.cosine, top)
        return page

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the drawn map to a PNG file (or JPEG, by the file's ending), atomically; return its path.

        A link of that name is replaced, not followed. Raises CommonplaceError if the file cannot be written.
        """
        file = Path(path)
        kind = "JPEG" if file.suffix.lower() in (".jpg", ".jpeg") else "PNG"
        with atomic_write(file, _("the heat-map")) as stream:
            self.draw().save(stream, kind)
        return file

    def save_in(self, folder: str | os.PathLike[str], number: int, name: str) -> Path:
        """Save the map as ``number-name.png`` in ``folder``, which is created if absent; return its path.

        Only letters, digits, ``-`` and ``_`` of ``name`` are kept, so that it cannot point outside the folder. Raises
        CommonplaceError if the folder cannot be created.
        """
        safe = re.sub(r"[^\w-]+", "_", Path(name).stem, flags=re.ASCII).strip("_")[:80] or "picture"
        place = Path(folder)
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise CommonplaceError(
                _("the folder {place} cannot be created ({reason}): choose another for the heat-maps").format(
                    place=place, reason=system_reason(problem)
                )
            ) from problem
        return self.save(place / f"{number:02d}-{safe}.png")


LEGEND = 74  # pixels below the picture
# Viridis (van der Walt and Smith 2015, CC0) at nine even steps; colours in between are interpolated.
_COLOURS = np.array(
    [
        (68, 1, 84),
        (71, 44, 122),
        (59, 81, 139),
        (44, 113, 142),
        (33, 144, 141),
        (39, 173, 129),
        (92, 200, 99),
        (170, 220, 50),
        (253, 231, 37),
    ],
    dtype=np.float32,
)


def _viridis(level: NDArray[Any]) -> NDArray[np.float32]:
    """Return RGB colours (..., 3) in 0..255 for levels in [0, 1]."""
    steps = np.linspace(0.0, 1.0, len(_COLOURS))
    return np.stack([np.interp(level, steps, _COLOURS[:, c]) for c in range(3)], axis=-1).astype(np.float32)


LEGEND_CHARS = 500  # characters of the words of which as many are drawn as fit


def _legend(page: Image, top: int, text: str, cosine: float, most: float) -> None:
    """Draw the legend below the picture: the words, a colour bar, and its range of values."""
    from PIL import Image, ImageDraw, ImageFont

    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(15)
    small = ImageFont.load_default(12)
    words = printable(text[:LEGEND_CHARS])
    while draw.textlength(words, font=font) > page.width - 16:
        words = words[:-2].rstrip("… ") + "…"
    draw.text((8, top + 6), words, fill="black", font=font)
    bar = np.broadcast_to(_viridis(np.linspace(0, 1, page.width - 16)), (10, page.width - 16, 3))
    page.paste(Image.fromarray(bar.round().astype(np.uint8)), (8, top + 30))
    draw.text((8, top + 43), "0", fill="black", font=small)
    draw.text((page.width - 8, top + 43), f"{most:.3f}", fill="black", font=small, anchor="ra")
    what = f"likeness gained here (cosine of the whole: {cosine:.3f})"
    draw.text((page.width / 2, top + 57), what, fill="black", font=small, anchor="ma")
