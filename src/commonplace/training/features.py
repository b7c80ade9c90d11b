"""Features of pictures and captions from frozen towers, cached on disk: a tower runs only once over each input."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from commonplace.encoders import Bundle
from commonplace.encoders.base import Role
from commonplace.encoders.runtime import cache_folder, threads
from commonplace.errors import ModelError, ReadError
from commonplace.i18n import _
from commonplace.readers import load_picture
from commonplace.training.pairs import Pairs

__all__ = ["VIEWS", "Tick", "augmented", "picture_features", "text_vectors", "tower_key", "unreadable"]

VIEWS = ("plain", "crop1", "crop0", "mirror")
"""The whole picture; random crops of at least half of its area, ``crop1`` also mirrored; the whole picture mirrored."""
PICTURES, TEXTS = 128, 2048  # inputs in one cache file: an interrupted run loses at most these

Floats = NDArray[np.float32]
Tick = Callable[[int], object]
"""Called with the number of inputs finished since the last call."""


def picture_features(
    bundle: Bundle, pairs: Pairs, views: Sequence[str] = VIEWS[:1], tick: Tick = lambda _: None
) -> Floats:
    """Return the image tower's features before its head, shape (views, pictures, features), float32.

    The features of a picture that cannot be decoded are NaN. Raises ModelError if the model has no image tower.
    """
    tower = _has(bundle, "image").image
    assert tower is not None
    key = tower_key(bundle, "image")
    rows: list[list[Floats]] = [[] for _ in views]
    with ThreadPoolExecutor(threads()) as pool:
        for start in range(0, len(pairs), PICTURES):
            part = pairs.pairs[start : start + PICTURES]
            digests = [pair.digest for pair in part]
            pixels: list[NDArray[np.uint8] | None] = []

            def make(view: str, part=part, pixels=pixels) -> Floats:  # type: ignore[no-untyped-def]
                if not pixels:  # decoded once for all views
                    pixels += pool.map(_load, [pair.picture for pair in part])
                shown = [
                    augmented(picture, view, pair.digest)
                    for picture, pair in zip(pixels, part, strict=True)
                    if picture is not None
                ]
                if not shown:
                    return np.full((len(part), 1), np.nan, np.float32)
                view_features = tower.features(shown)
                rows_of_part = np.full((len(part), view_features.shape[1]), np.nan, np.float32)
                rows_of_part[[picture is not None for picture in pixels]] = view_features
                return rows_of_part

            for of, view in zip(rows, views, strict=True):
                of.append(_kept([key, view, *digests], lambda view=view, make=make: make(view)))  # type: ignore[misc]
            tick(len(part))
    width = max(block.shape[1] for block in rows[0])
    return np.stack(
        [
            np.concatenate(
                [block if block.shape[1] == width else np.full((len(block), width), np.nan, np.float32) for block in of]
            )
            for of in rows
        ]
    )


def text_vectors(bundle: Bundle, texts: Sequence[str], role: Role = "query", tick: Tick = lambda _: None) -> Floats:
    """Return the text tower's unit rows (texts, dim), float32. Raises ModelError if the model has no text tower."""
    tower = _has(bundle, "text").text
    assert tower is not None
    different = list(dict.fromkeys(texts))
    key = tower_key(bundle, "text")
    rows = []
    for start in range(0, len(different), TEXTS):
        part = different[start : start + TEXTS]
        rows.append(_kept([key, role, *part], lambda part=part: tower.encode(part, role)))  # type: ignore[misc]
        tick(len(part))
    at = {text: row for row, text in enumerate(different)}
    return np.concatenate(rows)[[at[text] for text in texts]]


def unreadable(pairs: Pairs, features: Floats) -> dict[Path, str]:
    """Return the pictures whose ``features`` (views, pictures, features) are not all finite, with the reason."""
    reasons = {}
    bad = np.flatnonzero(~np.isfinite(features).all(axis=2).all(axis=0))
    for pair in (pairs.pairs[i] for i in bad):
        try:
            load_picture(pair.picture)
            reasons[pair.picture] = _("the image tower gives values that are not finite")
        except ReadError as problem:
            reasons[pair.picture] = str(problem)
    return reasons


def _has(bundle: Bundle, kind: str) -> Bundle:
    if getattr(bundle, kind) is None:
        raise ModelError(
            _("the model {name} has no {kind} tower: choose another for --{kind}-model").format(
                name=bundle.name, kind=kind
            )
        )
    return bundle


def _load(path: Path) -> NDArray[np.uint8] | None:
    try:
        return load_picture(path).pixels
    except ReadError:
        return None


def augmented(pixels: NDArray[np.uint8], view: str, digest: str) -> NDArray[np.uint8]:
    """Return the picture (height, width, 3) in one of VIEWS. ``digest`` (hexadecimal) seeds the crop."""
    if view.startswith("crop"):
        draw = np.random.default_rng([int(view[4:]), *bytes.fromhex(digest)])
        area, aspect = draw.uniform(0.5, 1.0), np.exp(draw.uniform(np.log(3 / 4), np.log(4 / 3)))
        height, width = pixels.shape[:2]
        w, h = (
            max(1, round(min(1.0, side) * of))
            for side, of in (((area * aspect) ** 0.5, width), ((area / aspect) ** 0.5, height))
        )
        left, top = draw.integers(width - w + 1), draw.integers(height - h + 1)
        pixels = pixels[top : top + h, left : left + w]
    return np.ascontiguousarray(pixels[:, ::-1]) if view in ("mirror", "crop1") else np.ascontiguousarray(pixels)


def tower_key(bundle: Bundle, kind: str) -> str:
    """Return a cache key of a tower: its files, its preprocessing and ``COMMONPLACE_PRECISION``."""
    spec = dict(bundle.spec["towers"][kind])
    head = spec.pop("head", None)
    names = [spec.pop(name) for name in ("file", "tokenizer") if name in spec]
    if kind == "text" and head:  # features of pictures are taken before the head, rows of texts after it
        names.append(head["file"])
    sums = [digest for name, digest in bundle.spec["checksums"].items() if name.startswith(tuple(names))]
    return json.dumps([spec, sorted(sums), os.environ.get("COMMONPLACE_PRECISION")], sort_keys=True)


def _kept(parts: Sequence[str], make: Callable[[], Floats]) -> Floats:
    """Return ``make()``, or the cached result of an earlier call with the same ``parts``."""
    folder = cache_folder()
    if folder is None:
        return make()
    digest = hashlib.blake2b("\x1f".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    file = folder / "features" / digest[:2] / f"{digest}.npy"
    try:
        return np.asarray(np.load(file, allow_pickle=False), np.float32)
    except (OSError, ValueError, EOFError):
        pass
    rows = make()
    small = rows.astype(np.float16) if np.nanmax(np.abs(rows), initial=0) < 6e4 else rows
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_name(f".{digest}.{os.getpid()}.npy")
        np.save(beside, small)
        beside.replace(file)
    except OSError:
        return rows  # the disk is full: the next run computes it again
    return small.astype(np.float32)
