"""A small training, here or in a process that a test kills: ``python -m tests.training.small FOLDER EPOCHS``."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from commonplace.encoders import Bundle
from commonplace.encoders.convert import Choice, convert
from commonplace.readers import load_picture
from commonplace.training.features import VIEWS, augmented
from commonplace.training.joint import JointModel, JointRecipe, Material, Trainer
from tests.training.make import scenes

TINY = Path(__file__).parents[1] / "encoders" / "tiny" / "models"
RECIPE = JointRecipe(
    epochs=4, batch=16, chunk=16, text_layers=4, image_layers=4, views=2, learning_rate=3e-3, width=32, generation=0.5
)


def material(model: JointModel, folder: Path, views: int = 2) -> Material:
    made = scenes(folder / "pictures")
    pixels = [load_picture(folder / "pictures" / name).pixels for name, _ in made]
    names = [f"{row:04x}" for row in range(len(made))]
    shown = model.pictures.freeze(
        names,
        lambda row: [augmented(pixels[row], view, names[row]) for view in VIEWS[:views]],
        views,
        folder / "frozen",
    )
    captions = [caption for _, captions in made for caption in captions]
    return Material(shown, model.texts.freeze(captions, folder / "frozen"), np.repeat(np.arange(len(made)), 2))


def small(folder: Path, recipe: JointRecipe = RECIPE, run: str = "run") -> Trainer:
    """Return a trainer of a tiny CLIP with random weights on 54 drawn pictures; its checkpoints go to ``run``."""
    torch.set_num_threads(1)  # with another number of threads, sums differ in their last digit
    bundle = folder / "clip"
    if not bundle.exists():
        convert(TINY / "clip", bundle, "clip", Choice())
    towers = JointModel(Bundle(bundle), replace(recipe, generation=0.0), None)
    train = material(towers, folder)
    return Trainer(JointModel(Bundle(bundle), recipe, train.captions), recipe, train, folder / run, "cpu")


if __name__ == "__main__":
    trainer = small(Path(sys.argv[1]), replace(RECIPE, epochs=int(sys.argv[2])), "killed")
    trainer.resume()
    trainer.run(each=lambda epoch: print(epoch, flush=True) is not None)  # noqa: T201
