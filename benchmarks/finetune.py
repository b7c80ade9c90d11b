"""Joint fine-tuning of the shipped towers' last layers: what the caption loss is worth; writes results/finetune.{json,md}.

    python benchmarks/finetune.py            # all runs, one after the other; several processes share them
    python benchmarks/finetune.py --report   # the tables, of what was run so far

Needs torch (extra ``train``) and the development data. 6,000 training pictures; the 300 pictures of dev that the shipped
head never saw choose the epoch and the weight; test is reported.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
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
from commonplace.encoders.bundle import sha256
from commonplace.readers import load_picture
from commonplace.training.features import VIEWS, augmented
from commonplace.training.joint import JointModel, JointRecipe, Material, Trainer
from commonplace.training.towers import trainable_parameters

RESULTS = Path(__file__).parent / "results" / "finetune.json"
WORK = data.WORK / "finetune"
RECIPE = JointRecipe(
    epochs=10, batch=200, chunk=200, text_layers=4, image_layers=2, views=2, width=128, learning_rate=1e-4
)
WEIGHTS = (0.0, 0.5, 0.1, 1.0, 2.0)
SEEDS = 3
BANK = 2000
HUBNESS = {"neighbours": 16, "weight": 0.5, "floor": 0.278}  # as the shipped bundle's
TEXT_HUBNESS = {"neighbours": 16, "weight": 0.75, "floor": 0.263}
Floats = NDArray[np.float32]


def material(model: JointModel, told: data.Captioned, views: int) -> Material:
    names = [path.name for path in told.paths]

    def load(row: int) -> list[NDArray[np.uint8]]:
        pixels = load_picture(told.paths[row]).pixels
        return [augmented(pixels, view, names[row].encode().hex()) for view in VIEWS[:views]]

    shown = model.pictures.freeze(names, load, views, WORK / "frozen")
    return Material(shown, model.texts.freeze(told.captions, WORK / "frozen"), np.array(told.owner))


def held() -> data.Captioned:
    """Return the end of dev, of which nothing was trained on."""
    dev = data.flickr8k("dev")
    first = len(dev.paths) - data.HELD
    rows = [j for j, row in enumerate(dev.owner) if row >= first]
    return data.Captioned(dev.paths[first:], [dev.captions[j] for j in rows], [dev.owner[j] - first for j in rows])


def named(recipe: JointRecipe) -> str:
    return f"weight-{recipe.generation:g}-epochs-{recipe.epochs}-seed-{recipe.seed}"


class Splits:
    def __init__(self, model: JointModel, views: int) -> None:
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


def judge(
    trainer: Trainer, split: Material, banks: tuple[Floats, Floats] | None
) -> tuple[dict[str, Any], NDArray[Any]]:
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


def run(recipe: JointRecipe, splits: Splits) -> dict[str, Any]:
    """Train once; return losses, dev by epoch, and test of the epoch that dev chose."""
    model = JointModel(Bundle(DEFAULT_BUNDLE), recipe, splits.train.captions)
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
    found: dict[str, Any] = {"weight": recipe.generation, "seed": recipe.seed, "epoch": best["epoch"], "epochs": epochs}
    found["seconds"] = round(time.process_time() - start)
    found["trained"] = {"towers": trainable_parameters(model.texts) + trainable_parameters(model.pictures)}
    found["trained"]["decoder"] = trainable_parameters(model.decoder) if model.decoder is not None else 0
    return found | figures(trainer, splits)


def figures(trainer: Trainer, splits: Splits) -> dict[str, Any]:
    """Return recall on dev and test, as cosines say and with hubness taken off, and the test captions' ranks."""
    banks = banked(trainer, splits.train)
    found: dict[str, Any] = {}
    for split, given in (("dev", splits.dev), ("test", splits.test)):
        found[split], ranks = judge(trainer, given, None)
        found[f"{split}, hubness"], corrected = judge(trainer, given, banks)
        if split == "test":
            found["ranks"] = {"plain": ranks.tolist(), "hubness": corrected.tolist()}
    return found


def starting(splits: Splits) -> dict[str, Any]:
    """Return the figures of the shipped weights, the same way."""
    recipe = replace(RECIPE, generation=0.0)
    trainer = Trainer(
        JointModel(Bundle(DEFAULT_BUNDLE), recipe, splits.train.captions), recipe, splits.train, WORK, "cpu"
    )
    return figures(trainer, splits)


# --- the queue ------------------------------------------------------------------------------------------------------


def claim(file: Path) -> bool:
    """Return whether this process may do what ``file`` will say: another may be at it."""
    lock = file.with_suffix(".lock")
    if file.exists():
        return False
    try:
        owner = int(lock.read_text() or 0)
        os.kill(owner, 0)
    except (OSError, ValueError):
        lock.write_text(str(os.getpid()))
        time.sleep(0.5)
        return lock.read_text() == str(os.getpid())
    return owner == os.getpid()


def waiting(place: Path) -> list[tuple[float, int]]:
    """Return weight and seed of the runs that are to be done, in order: every weight once, then more of two of them."""
    first = [(weight, 0) for weight in WEIGHTS]
    done = {key: one for key in first if (one := loaded(place, *key)) is not None}
    # The comparison that decides comes first: no caption loss against the weight in the middle, by seed.
    found = [*first[:2], *((weight, seed) for seed in range(1, SEEDS) for weight in (0.0, 0.5)), *first[2:]]
    if len(done) == len(first):
        found += [(best_weight(done), seed) for seed in range(1, SEEDS)]
    return found


def loaded(place: Path, weight: float, seed: int) -> dict[str, Any] | None:
    file = place / f"{named(replace(RECIPE, generation=weight, seed=seed))}.json"
    return json.loads(file.read_text()) if file.exists() else None


def best_weight(done: Mapping[tuple[float, int], dict[str, Any]]) -> float:
    """Return the weight above 0 that finds most of dev, both ways."""
    return max((key[0] for key in done if key[0]), key=lambda weight: dev_score(done[weight, 0]))


def dev_score(one: Mapping[str, Any]) -> float:
    return sum(one["dev"]["text->image"]) + sum(one["dev"]["image->text"])


# --- the table ------------------------------------------------------------------------------------------------------


def gain(ones: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]], kind: str, k: int = 1) -> list[float]:
    """Return the mean gain in recall at ``k`` of ``ones`` over ``others``, in points, and its 95% interval: pictures
    drawn again with their captions, means over seeds."""
    owner = np.array(data.flickr8k("test").owner)

    def hits(runs: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
        each = np.mean([np.array(one["ranks"][kind]) < k for one in runs], 0)
        return np.bincount(owner, each) / np.bincount(owner)  # (pictures,)

    changes = hits(ones) - hits(others)
    draw = np.random.default_rng(0)
    means = [changes[draw.integers(len(changes), size=len(changes))].mean() for _ in range(5000)]
    return [round(100 * float(value), 2) for value in (changes.mean(), *np.quantile(means, (0.025, 0.975)))]


def row(name: str, ones: Sequence[Mapping[str, Any]]) -> str:
    def mean(part: str, way: str) -> str:
        return " / ".join(f"{np.mean([one[part][way][i] for one in ones]):.1f}" for i in range(3))

    cells = [mean("dev", "text->image"), mean("test", "text->image"), mean("test", "image->text"),
             mean("test, hubness", "text->image"), mean("test, hubness", "image->text")]  # fmt: skip
    return f"| {name} | {len(ones)} | " + " | ".join(cells) + " |"


def report(place: Path) -> None:
    """Write the tables of what was run so far."""
    start = json.loads((place / "start.json").read_text())
    runs: dict[float, list[dict[str, Any]]] = {}
    for weight in sorted(WEIGHTS):
        found = [one for seed in range(SEEDS) if (one := loaded(place, weight, seed)) is not None]
        if found:
            runs[weight] = found
    gains: dict[str, Any] = {}
    for weight, ones in runs.items():
        gains[f"{weight:g} over the start"] = {kind: gain(ones, [start], kind) for kind in ("plain", "hubness")}
        if weight and 0.0 in runs:
            seeds = [one["seed"] for one in ones]
            others = [one for one in runs[0.0] if one["seed"] in seeds]
            if len(others) == len(ones):
                gains[f"{weight:g} over 0"] = {kind: gain(ones, others, kind) for kind in ("plain", "hubness")}
    bare = {
        f"{weight:g}": [{k: v for k, v in one.items() if k != "ranks"} for one in ones] for weight, ones in runs.items()
    }
    elsewhere = json.loads((place / "elsewhere.json").read_text()) if (place / "elsewhere.json").exists() else {}
    found = {"recipe": asdict(RECIPE), "start": {k: v for k, v in start.items() if k != "ranks"}, "runs": bare,
             "gains in R@1": gains, "elsewhere": elsewhere}  # fmt: skip
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    lines = [
        "# Fine-tuning of both towers", "",
        "`benchmarks/finetune.py`. The shipped towers and their head; of the text tower the last block is trained "
        "(1.8M numbers), of both image towers the last block's narrowing and the last convolution (1.7M), the head "
        f"(9.2M). 6,000 training pictures of Flickr8k, {RECIPE.epochs} epochs, batches of {RECIPE.batch}, two views. Dev "
        "is its last 300 pictures, which the shipped head never saw; they choose the epoch and the weight. Recall in "
        "percent at 1 / 5 / 10, means over seeds.", "",
        "| weight of the caption loss | seeds | dev text->image | test text->image | test image->text | with hubness: "
        "text->image | image->text |", "|---|---|---|---|---|---|---|",
        row("(as shipped)", [start]), *(row(f"{weight:g}", ones) for weight, ones in runs.items()), "",
        f"{sum(map(len, runs.values()))} of {len(WEIGHTS) + 2 * (SEEDS - 1)} runs are in.", "",
        "## Gain in R@1, test text->image", "",
        "Points, with the 95% interval (pictures drawn again with their captions; means over seeds).", "",
        "| | plain | with hubness |", "|---|---|---|",
    ]  # fmt: skip
    for name, kinds in gains.items():
        cells = [f"{mean:+.2f} ({low:+.2f} to {high:+.2f})" for mean, low, high in kinds.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += [
        "",
        "## Losses",
        "",
        "Training, by epoch (seed 0).",
        "",
        "| weight | contrast | caption |",
        "|---|---|---|",
    ]
    for weight, ones in runs.items():
        each = [" ".join(f"{one[kind]:.2f}" for one in ones[0]["epochs"]) for kind in ("contrast", "generation")]
        lines.append(f"| {weight:g} | {each[0]} | {each[1] if weight else ''} |")
    if elsewhere:
        lines += ["", "## Elsewhere", "", f"The bundle of weight {elsewhere['weight']:g}, seed 0, as served, beside the shipped "
                  "one.", "", "| | as shipped | fine-tuned |", "|---|---|---|"]  # fmt: skip
        for name, (old, new) in elsewhere["figures"].items():
            both = [
                " / ".join(f"{value:.1f}" for value in one) if isinstance(one, list) else f"{one:.1f}"
                for one in (old, new)
            ]
            lines.append(f"| {name} | {both[0]} | {both[1]} |")
    RESULTS.with_suffix(".md").write_text("\n".join(lines) + "\n")


# --- other data -----------------------------------------------------------------------------------------------------


def elsewhere(place: Path, splits: Splits) -> None:
    """Compare the best weight's bundle with the shipped one, as served, on data that nothing was tuned on."""
    done = {(weight, 0): one for weight in WEIGHTS if (one := loaded(place, weight, 0)) is not None}
    weight = max((key[0] for key in done), key=lambda key: dev_score(done[key, 0]))
    recipe = replace(RECIPE, generation=weight)
    trainer = Trainer(
        JointModel(Bundle(DEFAULT_BUNDLE), recipe, splits.train.captions), recipe, splits.train, WORK, "cpu"
    )
    trainer.load_weights(torch.load(WORK / named(recipe) / "best.pt", weights_only=False)["best"]["weights"])
    folder = WORK / "bundle"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(DEFAULT_BUNDLE, folder)
    trainer.model.save(folder)
    spec = json.loads((folder / "bundle.json").read_text())
    spec["checksums"] = {file: sha256(folder / file) for file in spec["checksums"]}
    texts, pictures = banked(trainer, splits.train)
    np.savez(folder / "bank.npz", image=texts.astype(np.float16), text=pictures.astype(np.float16))
    spec["checksums"]["bank.npz"] = sha256(folder / "bank.npz")
    (folder / "bundle.json").write_text(json.dumps(spec))
    old, new = served(Bundle(DEFAULT_BUNDLE)), served(Bundle(folder))
    found = {"weight": weight, "figures": {name: [old[name], new[name]] for name in old}}
    (place / "elsewhere.json").write_text(json.dumps(found))


def served(bundle: Bundle) -> dict[str, Any]:
    """Return the figures of a bundle, run as a search runs it."""
    text, image = bundle.text, bundle.image
    assert text is not None and image is not None

    def shown(paths: list[Path]) -> dict[str, Floats]:
        parts = [
            image.views([load_picture(path).pixels for path in paths[i : i + 64]]) for i in range(0, len(paths), 64)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def asked(texts: list[str], pictures: Floats) -> Floats:
        return text.encode(texts, "query") @ pictures.T - bundle.hubness("image", pictures)

    found: dict[str, Any] = {}
    told, titles, shops = data.flickr8k("test"), data.fashion(), data.grocery()
    pictures = shown(told.paths)["image"]
    found["Flickr8k test text->image"] = evaluate.text_to_image(asked(told.captions, pictures), told.owner)
    rows = text.encode(told.captions)
    scores = rows @ pictures.T - bundle.hubness("text", rows)[:, None]
    found["Flickr8k test image->text"] = evaluate.image_to_text(scores, told.owner)
    fashion = shown(titles.paths)["image"]
    found["fashion title->image"] = evaluate.text_to_image(asked(titles.captions, fashion), titles.owner)
    studio = shown(shops.studio)["image"]
    found["grocery description->image"] = evaluate.text_to_image(
        asked(shops.descriptions, studio), range(len(shops.studio))
    )
    found["grocery name->image"] = evaluate.text_to_image(asked(shops.names, studio), range(len(shops.studio)))
    shop = shown(shops.shop)
    for name, rows in shop.items():
        found[f"grocery same product@1 ({name})"] = evaluate.same(rows, shops.shop_class)
    abstracts, questions, judgments = data.cranfield()
    scores = text.encode(questions, "query") @ text.encode(abstracts).T
    found["Cranfield nDCG@10 (text)"] = evaluate.ndcg(scores, judgments)
    passages, questions, owner = data.xquad("en")
    found["XQuAD en recall (text)"] = evaluate.recall(
        evaluate.ranks(text.encode(questions, "query") @ text.encode(passages).T, owner)
    )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--freeze", action="store_true", help="only what the frozen layers make of everything")
    parser.add_argument("--report", action="store_true", help="only the tables, of what was run so far")
    parser.add_argument("--elsewhere", action="store_true", help="only the other data, with the best run so far")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    place = WORK / "runs"
    place.mkdir(parents=True, exist_ok=True)
    if options.report:
        return report(place)
    splits = Splits(JointModel(Bundle(DEFAULT_BUNDLE), replace(RECIPE, generation=0.0), None), RECIPE.views)
    if claim(place / "start.json"):
        (place / "start.json").write_text(json.dumps(starting(splits)))
    if options.freeze:
        return None
    if options.elsewhere:
        elsewhere(place, splits)
        return report(place)
    while True:
        for weight, seed in waiting(place):
            recipe = replace(RECIPE, generation=weight, seed=seed)
            file = place / f"{named(recipe)}.json"
            if claim(file):
                file.write_text(json.dumps(run(recipe, splits)))
                report(place)
                break
        else:
            break
    if claim(place / "elsewhere.json"):
        elsewhere(place, splits)
    return report(place)


if __name__ == "__main__":
    main()
