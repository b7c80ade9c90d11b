"""Joint fine-tuning of the shipped towers' last layers: what the caption loss is worth; writes results/finetune.{json,md}.

    python benchmarks/finetune.py                 # all runs that results/finetune.json lacks, one after the other
    python benchmarks/finetune.py --weights 0 .5 --seeds 1     # some of them; several may run at once

Needs torch (extra ``train``) and the development data. 6,000 training pictures; the 300 pictures of dev that the shipped
head never saw choose the epoch and the weight; test is reported.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
import data
import evaluate

from commonplace.encoders import DEFAULT_BUNDLE, Bundle
from commonplace.readers import load_picture
from commonplace.training.joint import Material, Model, Recipe, Trainer
from commonplace.training.features import VIEWS, seen
from commonplace.training.towers import tally

RESULTS = Path(__file__).parent / "results" / "finetune.json"
WORK = data.WORK / "finetune"
RECIPE = Recipe(epochs=10, batch=300, chunk=300, text_layers=4, image_layers=2, views=2, width=128)
WEIGHTS = (0.0, 0.1, 0.5, 1.0, 2.0)
SEEDS = 3
BANK = 2000
HUBNESS = {"neighbours": 16, "weight": 0.5, "floor": 0.278}  # as the shipped bundle's
TEXT_HUBNESS = {"neighbours": 16, "weight": 0.75, "floor": 0.263}
Floats = NDArray[np.float32]


def material(model: Model, told: data.Captioned, views: int) -> Material:
    names = [path.name for path in told.paths]

    def load(row: int) -> list[NDArray[np.uint8]]:
        pixels = load_picture(told.paths[row]).pixels
        return [seen(pixels, view, names[row].encode().hex()) for view in VIEWS[:views]]

    shown = model.pictures.freeze(names, load, views, WORK / "frozen")
    return Material(shown, model.texts.freeze(told.captions, WORK / "frozen"), np.array(told.owner))


def held() -> data.Captioned:
    """Return the end of dev, of which nothing was trained on."""
    dev = data.flickr8k("dev")
    first = len(dev.paths) - data.HELD
    rows = [j for j, row in enumerate(dev.owner) if row >= first]
    return data.Captioned(dev.paths[first:], [dev.captions[j] for j in rows], [dev.owner[j] - first for j in rows])


def named(recipe: Recipe) -> str:
    return f"weight-{recipe.generation:g}-epochs-{recipe.epochs}-seed-{recipe.seed}"


class Splits:
    def __init__(self, model: Model, views: int) -> None:
        self.train = material(model, data.flickr8k("train"), views)
        self.dev = material(model, held(), 1)
        self.test = material(model, data.flickr8k("test"), 1)


def banked(trainer: Trainer, train: Material) -> tuple[Floats, Floats]:
    """Return the banks for pictures (captions) and for texts (pictures) of the training split."""
    rows = np.linspace(0, len(train.captions.ids) - 1, BANK).astype(int)
    shown = np.linspace(0, len(train.rows) - 1, BANK).astype(int)
    some = Material(train.pictures, train.captions, train.owner)
    with torch.no_grad():
        trainer.model.eval()
        texts = [trainer.model.texts(*trainer.model.told(some.captions, part, trainer.device))
                 for part in np.array_split(rows, 10)]  # fmt: skip
        pictures = [trainer.model.pictures(some.pictures.batch(part, [0] * len(part)), False)[0]
                    for part in np.array_split(shown, 20)]  # fmt: skip
    return torch.cat(texts).numpy(), torch.cat(pictures).numpy()


def judge(trainer: Trainer, split: Material, banks: tuple[Floats, Floats] | None) -> tuple[dict[str, Any], NDArray[Any]]:
    """Return recall both ways and the rank of each caption's picture."""
    texts, pictures = trainer.encode(split)
    scores = texts @ pictures.T
    less = evaluate.hubness(pictures, banks[0], **HUBNESS) if banks else 0
    more = evaluate.hubness(texts, banks[1], **TEXT_HUBNESS)[:, None] if banks else 0
    found = {
        "text->image": evaluate.text_to_image(scores - less, split.owner),
        "image->text": evaluate.image_to_text(scores - more, split.owner),
    }
    return found, evaluate.ranks(scores - less, split.owner)


def run(recipe: Recipe, splits: Splits) -> dict[str, Any]:
    """Train once; return losses, dev by epoch, and test of the epoch that dev chose."""
    model = Model(Bundle(DEFAULT_BUNDLE), recipe, splits.train.captions)
    folder = WORK / named(recipe)
    trainer = Trainer(model, recipe, splits.train, folder, "cpu")
    epochs: list[dict[str, Any]] = []
    best: dict[str, Any] = {"score": -1.0}
    if trainer.resume():
        kept = torch.load(folder / "best.pt", weights_only=False)
        epochs, best = kept["epochs"], kept["best"]
    start = time.process_time()

    def each(epoch: int) -> bool:
        found, _ = judge(trainer, splits.dev, None)
        losses = trainer.losses[-trainer.steps_an_epoch :]
        mean = {name: round(float(np.mean([one[name] for one in losses])), 4) for name in ("contrast", "generation")}
        epochs.append({"epoch": epoch, **mean, "dev": found})
        score = sum(found["text->image"]) + sum(found["image->text"])
        if score > best["score"]:
            best.update(score=score, epoch=epoch, weights=trainer.weights())
        torch.save({"epochs": epochs, "best": best}, folder / "best.pt")
        print(recipe.generation, recipe.seed, epochs[-1], f"{time.process_time() - start:.0f} s", flush=True)
        return False

    trainer.run(each=each)
    trainer.load_weights(best["weights"])
    banks = banked(trainer, splits.train)
    found: dict[str, Any] = {"weight": recipe.generation, "seed": recipe.seed, "epoch": best["epoch"], "epochs": epochs}
    found["seconds"] = round(time.process_time() - start)
    found["trained"] = {"towers": tally(model.texts) + tally(model.pictures)}
    found["trained"]["decoder"] = tally(model.decoder) if model.decoder is not None else 0
    for split, given in (("dev", splits.dev), ("test", splits.test)):
        found[split], ranks = judge(trainer, given, None)
        found[f"{split}, hubness"], corrected = judge(trainer, given, banks)
        if split == "test":
            found["ranks"] = {"plain": ranks.tolist(), "hubness": corrected.tolist()}
    return found


def starting(splits: Splits) -> dict[str, Any]:
    """Return the figures of the shipped weights, the same way."""
    recipe = replace(RECIPE, generation=0.0)
    trainer = Trainer(Model(Bundle(DEFAULT_BUNDLE), recipe, splits.train.captions), recipe, splits.train, WORK, "cpu")
    banks = banked(trainer, splits.train)
    found: dict[str, Any] = {}
    for split, given in (("dev", splits.dev), ("test", splits.test)):
        found[split], ranks = judge(trainer, given, None)
        found[f"{split}, hubness"], corrected = judge(trainer, given, banks)
        if split == "test":
            found["ranks"] = {"plain": ranks.tolist(), "hubness": corrected.tolist()}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=float, nargs="*", default=WEIGHTS)
    parser.add_argument("--seeds", type=int, nargs="*")
    parser.add_argument("--freeze", action="store_true", help="only make what the frozen layers give")
    parser.add_argument("--epochs", type=int, default=RECIPE.epochs)
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    recipe = replace(RECIPE, epochs=options.epochs)
    splits = Splits(Model(Bundle(DEFAULT_BUNDLE), replace(recipe, generation=0.0), None), recipe.views)  # type: ignore[arg-type]
    place = WORK / "runs"
    place.mkdir(parents=True, exist_ok=True)
    if not (place / "start.json").exists():
        (place / "start.json").write_text(json.dumps(starting(splits)))
    found = json.loads((place / "start.json").read_text())
    print({name: value for name, value in found.items() if name != "ranks"}, flush=True)
    if options.freeze:
        return
    for weight in options.weights:
        for seed in options.seeds if options.seeds is not None else (0,):
            one = replace(recipe, generation=weight, seed=seed)
            file = place / f"{named(one)}.json"
            if not file.exists():
                file.write_text(json.dumps(run(one, splits)))


if __name__ == "__main__":
    main()
