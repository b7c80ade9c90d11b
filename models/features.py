"""Runs the towers over pictures and texts, once: results are cached in data.WORK under a hash of what went in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import openvino as ov
from numpy.typing import NDArray
from PIL import Image, ImageOps
from tokenizers import Tokenizer

from data import WORK
from towers import PIXEL_MEAN, PIXEL_STD, Lite, Lites, export_image, shrink_convolutions

Floats = NDArray[np.float32]
MAX_TOKENS = 256
VIEWS = ["plain", "crop1", "crop0", "flip"]  # every second crop is mirrored too


def unit(rows: Floats) -> Floats:
    """Return rows of length 1."""
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)


def compiled(file: Path, precision: str = "f32", threads: int = 0) -> ov.CompiledModel:
    """Compile an ONNX file for this processor; ``precision`` is ``f32`` or ``bf16``; ``threads`` 0 means all."""
    return ov.Core().compile_model(
        file, "CPU", {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads}
    )


def cached(name: str, parts: Sequence[object], make: Callable[[], Floats]) -> Floats:
    """Return ``make()``, or what it returned when last called with the same ``name`` and ``parts``."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).hexdigest()
    file = WORK / "cache" / f"{name}-{digest}.npy"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_suffix(".part.npy")
        np.save(beside, make())
        beside.rename(file)
    return np.load(file, mmap_mode="r")


# ---------------------------------------------------------------- text


def tokenizer(file: Path) -> Tokenizer:
    """Return the tokenizer without the truncation and padding that its file asks for."""
    found = Tokenizer.from_file(str(file))
    found.no_truncation()
    found.no_padding()
    return found


def encode_texts(
    model: Callable[[list[NDArray[np.int64]]], Floats], tokens: Tokenizer, texts: Sequence[str],
    max_tokens: int = MAX_TOKENS, batch: int = 64,
) -> Floats:  # fmt: skip
    """Return the means over the tokens (N, 384); ``model`` turns [ids, mask], both (B, T), into states (B, T, 384)."""
    end = tokens.encode("").ids[-1]
    encoded = [
        e.ids if len(e.ids) <= max_tokens else [*e.ids[: max_tokens - 1], end] for e in tokens.encode_batch(texts)
    ]
    rows = np.zeros((len(texts), 384), np.float32)
    order = np.argsort([len(ids) for ids in encoded], kind="stable")  # like lengths together: less padding
    for start in range(0, len(order), batch):
        at = order[start : start + batch]
        ids = np.zeros((len(at), max(len(encoded[i]) for i in at)), np.int64)
        mask = np.zeros_like(ids)
        for row, i in enumerate(at):
            ids[row, : len(encoded[i])] = encoded[i]
            mask[row, : len(encoded[i])] = 1
        states = model([ids, mask])  # (B, T, 384)
        rows[at] = (states * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
    return rows


def text_means(
    folder: Path, texts: Sequence[str], precision: str = "f32", max_tokens: int = MAX_TOKENS, prefix: str = ""
) -> Floats:  # fmt: skip
    """Return rows (N, 384), not of unit length, from the text tower in ``folder``; ``prefix`` goes before each text."""

    def make() -> Floats:
        model = compiled(folder / "text.onnx", precision)
        tokens = tokenizer(folder / "tokenizer.json")
        return encode_texts(lambda x: model(x)[0], tokens, [prefix + text for text in texts], max_tokens)

    return cached("means", [folder.name, precision, max_tokens, prefix, *texts], make)


def text_vectors(bundle: Path, texts: Sequence[str], precision: str = "f32", max_tokens: int = MAX_TOKENS) -> Floats:
    """Return unit rows (N, 384) from the bundle's text tower."""
    return unit(text_means(bundle, texts, precision, max_tokens))


# ---------------------------------------------------------------- pictures


def lite_file(size: int) -> Path:
    """Return EfficientNet-Lite ``size`` by itself as an ONNX file, float16, written once."""
    file = WORK / f"lite{size}.onnx"
    if not file.exists():
        tower = Lite(size).eval()
        WORK.mkdir(parents=True, exist_ok=True)
        export_image(tower, tower.resolution, file)
    return file


def lites_file(sizes: tuple[int, ...], resolution: int) -> Path:
    """Return towers side by side as an ONNX file, as the bundle's but at any resolution, written once."""
    file = WORK / f"lites{''.join(map(str, sizes))}-{resolution}.onnx"
    if not file.exists():
        WORK.mkdir(parents=True, exist_ok=True)
        export_image(shrink_convolutions(Lites(sizes, resolution).eval()), resolution, file)
    return file


def pixels(path: Path, size: int, geometry: str = "squash", view: str = "plain") -> Floats:
    """Return normalised pixels (3, size, size).

    ``geometry`` says how a picture that is not square becomes square: ``squash`` it, ``crop`` its middle, or
    ``pad`` it with grey. ``view`` is ``plain``, ``flip``, or ``cropN``: the Nth random crop (.5 to 1 of the area,
    aspect 3/4 to 4/3, every second one mirrored), the same for a path in every run.
    """
    with Image.open(path) as opened:
        opened.draft("RGB", (2 * size, 2 * size))
        picture = ImageOps.exif_transpose(opened).convert("RGB")
    if view == "flip":
        picture = ImageOps.mirror(picture)
    elif view.startswith("crop"):
        draw = np.random.default_rng([int(view[4:]), *path.name.encode()])
        area, aspect = draw.uniform(0.5, 1.0), np.exp(draw.uniform(np.log(3 / 4), np.log(4 / 3)))
        width, height = picture.size
        w, h = min(1.0, (area * aspect) ** 0.5) * width, min(1.0, (area / aspect) ** 0.5) * height
        left, top = draw.uniform(0, width - w), draw.uniform(0, height - h)
        if int(view[4:]) % 2:
            picture = ImageOps.mirror(picture)
        picture = picture.resize((size, size), Image.Resampling.BICUBIC, (left, top, left + w, top + h))
    if geometry == "crop":
        picture = ImageOps.fit(picture, (size, size), Image.Resampling.BICUBIC)
    elif geometry == "pad":
        picture = ImageOps.pad(picture, (size, size), Image.Resampling.BICUBIC, color=(127, 127, 127))
    picture = picture.resize((size, size), Image.Resampling.BICUBIC)
    return (np.asarray(picture, np.float32).transpose(2, 0, 1) - PIXEL_MEAN) / PIXEL_STD


def encode_pictures(
    model: Callable[[Floats], Floats], paths: Sequence[Path], size: int, geometry: str = "squash", view: str = "plain",
    batch: int = 32,
) -> Floats:  # fmt: skip
    """Return the rows that ``model`` makes of normalised pixels (B, 3, size, size); decoding runs beside it."""
    rows = []
    with ThreadPoolExecutor(2) as pool:
        batches = [paths[i : i + batch] for i in range(0, len(paths), batch)]

        def load(some: Sequence[Path]) -> Floats:
            return np.stack([pixels(path, size, geometry, view) for path in some])

        waiting = pool.submit(load, batches[0])
        for following in [*batches[1:], None]:
            ready = waiting.result()
            if following is not None:
                waiting = pool.submit(load, following)
            rows.append(model(ready).astype(np.float32))
    return np.concatenate(rows)


def picture_features(
    file: Path, paths: Sequence[Path], geometry: str = "squash", view: str = "plain", precision: str = "f32"
) -> Floats:  # fmt: skip
    """Return what the image tower ``file`` (ONNX) makes of each picture, at the size it was made for: (N, features)."""
    weights = file.read_bytes()
    size = next(v.type.tensor_type.shape.dim[2].dim_value for v in onnx.load_from_string(weights).graph.input)
    digest = hashlib.blake2b(weights, digest_size=8).hexdigest()

    def make() -> Floats:
        model = compiled(file, precision)
        return encode_pictures(lambda x: model([x])[0], paths, size, geometry, view)

    return cached("picture", [digest, size, geometry, view, precision, *(p.name for p in paths)], make)
