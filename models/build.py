"""Makes the bundled model from the packages' weights and the data, start to end: `python models/build.py`.

towers -> ONNX    the two published towers, as they are; written once, skipped where they stand
features          each training picture through the shipped image tower, each caption through the text tower
head              four perceptrons trained on those, averaged, beside the classifier's class names
banks             captions and pictures that tell how near a picture, or a text, is to everything
figures           the shipped files, run as the product runs them, over every test set
bundle.json       how to feed the files, what cosines look like, the figures, checksums
"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import bundle
import evaluate
from bundle import BUNDLE, HUBNESS, RESOLUTION, SHIPPED, TEXT_HUBNESS, embed
from features import lites_file, picture_features, text_vectors
from head import Head, Shipped
from ladder import ALL, Material, judge, material, shipped, trained

SEEDS = (0, 1)
GEOMETRY = "squash"  # LADDER.md compares it with cropping and padding
HERE = Path(__file__).parent
NAMES = {"test text->image": "Flickr8k test, text -> image", "test image->text": "Flickr8k test, image -> text"}


def figures(m: Material, precision: str) -> dict[str, Any]:
    """Return the figures of the files that stand in BUNDLE, all run at ``precision``."""
    of_captions, of_pictures = bundle.banks(BUNDLE)
    less = partial(evaluate.hubness, bank=of_captions, **HUBNESS)
    text_less = partial(evaluate.hubness, bank=of_pictures, **TEXT_HUBNESS)
    return judge(ShippedMaterial(m, precision), partial(embed, BUNDLE, precision=precision), less, text_less)


class ShippedMaterial:
    """The test sets of ``m`` with features and vectors from the shipped files at another precision."""

    def __init__(self, m: Material, precision: str) -> None:
        self.splits = {"test": m.splits["test"]}  # part of dev was trained on
        self.fashion, self.grocery, self.objects = m.fashion, m.grocery, m.objects
        self.precision = precision

    def features(self, paths: list[Path]) -> bundle.Floats:
        return picture_features(BUNDLE / "image.onnx", paths, precision=self.precision)

    def texts(self, texts: list[str]) -> bundle.Floats:
        return text_vectors(BUNDLE, texts, self.precision)


def card(template: str, quality: dict[str, dict[str, Any]]) -> str:
    """Return the model card ``template`` with the table of figures in its place."""
    precisions = list(quality)
    lines = [f"| test set | {' | '.join(precisions)} |", "|---" * (len(precisions) + 1) + "|"]
    for name in quality[precisions[0]]:
        values = [quality[precision][name] for precision in precisions]
        cells = [" / ".join(f"{v:.1f}" for v in np.atleast_1d(value)) for value in values]
        lines.append(f"| {NAMES.get(name, name)} | {' | '.join(cells)} |")
    return (HERE / template).read_text(encoding="utf-8").replace("<!-- quality -->", "\n".join(lines))


def main() -> None:
    torch.set_num_threads(1)
    bundle.write_towers(BUNDLE, lites_file(SHIPPED, RESOLUTION))
    m = material(ALL)
    head = Head(
        [trained(shipped, ALL, seed, len(m.captions)) for seed in SEEDS], m.classifier, m.class_vectors,
        shipped.names,
    )  # fmt: skip
    bundle.write_head(BUNDLE, Shipped(head, m.views[0]), m.views.shape[2])
    bundle.write_banks(BUNDLE, bundle.caption_bank(m.captions), m.views[0].numpy())
    quality = {precision: figures(m, precision) for precision in ("bf16", "f32")}
    training = {
        "data": "Flickr8k train and 700 pictures of dev: 6,700 pictures, 33,500 captions; names of ImageNet's classes",
        "recipe": dataclasses.asdict(shipped),
        "seeds": list(SEEDS),
    }
    banks = {"image": HUBNESS, "text": TEXT_HUBNESS}
    (BUNDLE / "README.md").write_text(card("CARD.md", quality))

    def encode(texts: list[str], role: str) -> bundle.Floats:
        return text_vectors(BUNDLE, texts)

    bundle.write_json(BUNDLE, bundle.MINILM, encode, GEOMETRY, RESOLUTION, training, quality, banks)


if __name__ == "__main__":
    main()
