"""Fine-tuning, from pairs to a search that works; and the errors for wrong input."""

from __future__ import annotations

import csv
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commonplace.encoders import Bundle
from commonplace.encoders.convert import Choice, convert
from commonplace.errors import ModelError, TrainingError
from commonplace.opening import open_collection

torch = pytest.importorskip("torch", reason="training needs the extra train")
pytest.importorskip("accelerate", reason="training needs the extra train")
from commonplace.training import joint  # noqa: E402
from commonplace.training.finetune import JointRecipe, finetune  # noqa: E402
from tests.training.make import scenes  # noqa: E402

TINY = Path(__file__).parents[1] / "encoders" / "tiny" / "models"
QUICK = JointRecipe(epochs=1, batch=16, chunk=16, text_layers=2, image_layers=2, views=1, width=32)
SCENES = 54


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return table(tmp_path / "pairs")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return convert(TINY / "clip", tmp_path / "clip", "clip", Choice()).folder


def table(folder: Path, **changed: Any) -> Path:
    """Write a table of all scenes; ``changed``: rows that replace the first ones."""
    rows = [(f"pictures/{name}", caption) for name, captions in scenes(folder / "pictures") for caption in captions]
    rows[: len(changed.get("first", ()))] = changed.get("first", ())
    with (folder / "pairs.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "caption"), *rows])
    return folder / "pairs.csv"


def test_from_pairs_to_a_search(pairs: Path, tmp_path: Path) -> None:
    """The bundled model, fine-tuned, finds held-out scenes by their captions."""
    lines: list[str] = []
    recipe = JointRecipe(epochs=8, batch=16, chunk=16, views=1, learning_rate=2e-4, width=64)
    made = finetune(pairs, tmp_path / "mine", recipe=recipe, log_line=lines.append, device="cpu")
    assert made.verdict.better
    assert made.verdict.rows["fine-tuned"].recall["text->image"][0] > 60
    assert any("| fine-tuned |" in line for line in lines)
    assert not (tmp_path / "mine.training").exists()
    bundle = Bundle(made.folder)
    bundle.verify()
    assert bundle.spec["training"]["recipe"]["generation"] == 0.5
    assert "both towers fine-tuned" in (made.folder / "README.md").read_text(encoding="utf-8")
    with open_collection(tmp_path / "collection", model=made.folder) as collection:
        collection.add(pairs.parent / "pictures")
        hits = collection.search("a purple triangle on grey ground", k=3)
        assert hits[0].image is not None and Path(hits[0].image).name == "purple-triangle-grey.png"


def test_two_models_are_joined(pairs: Path, tmp_path: Path) -> None:
    """A text tower and an image tower of different models: canonical correlations first, then training."""
    text = convert(TINY / "bert", tmp_path / "bert", "bert", Choice(pooling="mean")).folder
    image = convert(TINY / "resnet", tmp_path / "resnet", "resnet", Choice()).folder
    made = finetune(
        pairs, tmp_path / "mine", text_model=text, image_model=image, recipe=QUICK, force=True, device="cpu"
    )
    bundle = Bundle(made.folder)
    assert bundle.text is not None and bundle.image is not None
    assert bundle.text.encode(["a red square"]).shape == (1, 16)
    assert bundle.image.encode([np.zeros((40, 40, 3), np.uint8)]).shape == (1, 16)
    assert bundle.spec["training"]["from"]["name"] == "bert-resnet"


@pytest.mark.parametrize("kind", ["siglip", "chinese_clip", "one_file"])
def test_other_kinds_of_towers_train(kind: str, pairs: Path, tmp_path: Path) -> None:
    folder = convert(TINY / kind, tmp_path / kind, kind, Choice()).folder
    made = finetune(
        pairs,
        tmp_path / "mine",
        model=folder,
        recipe=replace(QUICK, rank=2, learning_rate=1e-2),
        force=True,
        device="cpu",
    )
    assert {losses["generation"] > 0 for losses in made.losses} == {True}


@pytest.mark.parametrize("kind", ["clip", "siglip", "one_file"])
def test_the_trained_weights_of_both_towers_are_written(kind: str, tmp_path: Path) -> None:
    bundle = convert(TINY / kind, tmp_path / kind, kind, Choice())
    model = joint.JointModel(bundle, replace(QUICK, generation=0.0), None).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.2)
    shutil.copytree(bundle.folder, tmp_path / "trained")
    model.save(tmp_path / "trained")
    trained = Bundle(tmp_path / "trained")
    assert (
        trained.text is not None and trained.image is not None and bundle.text is not None and bundle.image is not None
    )
    words, grey = ["a red square"], [np.full((32, 32, 3), 90, np.uint8)]
    captions = model.texts.freeze(words, tmp_path / "frozen")
    shown = model.pictures.freeze(["grey"], lambda _: grey, 1, tmp_path / "frozen")
    with torch.no_grad():
        text = model.texts(*model.caption_inputs(captions, [0], torch.device("cpu"))).numpy()
        image = model.pictures(shown.batch([0], [0]), False)[0].numpy()
    for new, ours, old in (
        (trained.text.encode(words, "query"), text, bundle.text.encode(words, "query")),
        (trained.image.encode(grey), image, bundle.image.encode(grey)),
    ):
        assert (new * ours).sum() > 0.999
        assert np.abs(new - old).max() > 0.01


def test_something_must_be_trained(pairs: Path, clip: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no layer of the towers is trained"):
        finetune(pairs, tmp_path / "mine", model=clip, recipe=replace(QUICK, text_layers=0, image_layers=0))


def test_a_model_that_is_not_better_is_not_written(pairs: Path, clip: Path, tmp_path: Path) -> None:
    still = replace(QUICK, learning_rate=1e-9)
    # Weights are stored as float16. With a random model and ten pictures that may change ranks: worse is possible.
    why = r"(not significantly better|worse) than clip on \d+ held-out pictures .* nothing was"
    with pytest.raises(TrainingError, match=why):
        finetune(pairs, tmp_path / "mine", model=clip, recipe=still, device="cpu")
    assert not (tmp_path / "mine").exists()
    assert (tmp_path / "mine.training" / "checkpoint.pt").exists()
    made = finetune(pairs, tmp_path / "mine", model=clip, recipe=still, resume=True, force=True, device="cpu")
    assert (made.folder / "bundle.json").is_file()
    before = json.loads((made.folder / "bundle.json").read_text(encoding="utf-8"))
    with pytest.raises(TrainingError, match="not significantly better than mine"):
        finetune(pairs, tmp_path / "mine", model=clip, recipe=still, device="cpu")
    assert json.loads((made.folder / "bundle.json").read_text(encoding="utf-8")) == before


def test_an_interrupted_training_continues(
    pairs: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(QUICK, epochs=4, learning_rate=3e-3)
    whole = finetune(pairs, tmp_path / "whole", model=clip, recipe=recipe, force=True, device="cpu")
    step = joint.Trainer.gradients
    count = iter(range(100))

    def stops(self: Any, *rows: Any) -> Any:
        if next(count) == 5:
            raise KeyboardInterrupt
        return step(self, *rows)

    with monkeypatch.context() as patch:
        patch.setattr(joint.Trainer, "gradients", stops)
        with pytest.raises(KeyboardInterrupt):
            finetune(pairs, tmp_path / "mine", model=clip, recipe=recipe, force=True, device="cpu")
    assert not (tmp_path / "mine").exists()
    rest = finetune(pairs, tmp_path / "mine", model=clip, recipe=recipe, force=True, resume=True, device="cpu")
    assert rest.losses == whole.losses
    facts = [json.loads((result.folder / "bundle.json").read_text(encoding="utf-8")) for result in (whole, rest)]
    assert facts[0]["training"]["dev"] == facts[1]["training"]["dev"]
    assert facts[0]["quality"] == facts[1]["quality"]


def test_pictures_that_cannot_be_decoded_are_skipped(tmp_path: Path, clip: Path) -> None:
    folder = tmp_path / "pairs"
    path = table(folder, first=[("pictures/broken.png", "a broken picture"), ("pictures/gone.png", "no picture")])
    whole = (folder / "pictures" / "red-square-white.png").read_bytes()
    (folder / "pictures" / "broken.png").write_bytes(whole[: len(whole) // 2])
    lines: list[str] = []
    made = finetune(path, tmp_path / "mine", model=clip, recipe=QUICK, force=True, log_line=lines.append, device="cpu")
    report = "\n".join(lines)
    assert "broken.png: " in report and "pairs.csv line 3: no such file" in report
    assert json.loads((made.folder / "bundle.json").read_text(encoding="utf-8"))["training"]["left_out"] == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "clip", "text_model": "a", "image_model": "b"}, "give one --model with both towers"),
        ({"text_model": "a"}, "give one --model with both towers"),
        ({"model": "nowhere-model"}, "there is no model"),
        ({"recipe": replace(QUICK, batch=1)}, "--batch is 1: it must be at least 2"),
        ({"recipe": replace(QUICK, learning_rate=0.0)}, "a learning rate must lie between 0 and 1"),
        ({"recipe": replace(QUICK, generation=-1.0)}, "--generation-weight and mixup must be at least 0"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str, pairs: Path, tmp_path: Path) -> None:
    with pytest.raises((TrainingError, ModelError), match=message):
        finetune(pairs, tmp_path / "mine", **options)
    assert sorted(os.listdir(tmp_path)) == ["pairs"]


def test_a_folder_without_a_model_is_not_overwritten(pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="exists and is not a model"):
        finetune(pairs, pairs.parent)
    assert pairs.is_file()


def test_a_work_folder_with_other_files_is_refused(pairs: Path, clip: Path, tmp_path: Path) -> None:
    work = tmp_path / "mine.training"
    work.mkdir()
    (work / "notes.txt").write_text("mine")
    with pytest.raises(TrainingError, match="is no training folder"):
        finetune(pairs, tmp_path / "mine", model=clip, recipe=QUICK, device="cpu")
    assert (work / "notes.txt").read_text() == "mine"
    (work / "notes.txt").unlink()
    finetune(pairs, tmp_path / "mine", model=clip, recipe=QUICK, force=True, device="cpu")
    assert not work.exists()


def test_a_training_on_other_pairs_is_not_resumed(
    pairs: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ends(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(joint.Trainer, "gradients", ends)
        with pytest.raises(KeyboardInterrupt):
            finetune(pairs, tmp_path / "mine", model=clip, recipe=QUICK, device="cpu")
    assert (tmp_path / "mine.training" / "best.pt").is_file()  # before any step
    text = pairs.read_text(encoding="utf-8")
    pairs.write_text(text.replace("red", "crimson"), encoding="utf-8")
    with pytest.raises(TrainingError, match="used other pairs or models"):
        finetune(pairs, tmp_path / "mine", model=clip, recipe=QUICK, resume=True, device="cpu")


def test_a_model_without_pictures_is_refused(pairs: Path, tmp_path: Path) -> None:
    text = convert(TINY / "bert", tmp_path / "bert", "bert", Choice()).folder
    with pytest.raises(TrainingError, match="bert has no image tower: give --text-model and --image-model"):
        finetune(pairs, tmp_path / "mine", model=text, recipe=QUICK)
