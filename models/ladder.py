"""The ladder: what each step of the recipe is worth, with several seeds; writes ladder.json and LADDER.md.

    python models/ladder.py    # every rung that ladder.json lacks; delete a rung there to have it again

Choices are made on Flickr8k's dev split; the other columns are for report.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import classes
import data
import evaluate
from bundle import BANK, BUNDLE, HUBNESS, RESOLUTION, SHIPPED, TEXT_HUBNESS, caption_bank
from commonplace.training import heads
from data import Captioned
from features import VIEWS, Floats, lite_file, lites_file, picture_features, text_vectors, unit
from head import Head, HeadRecipe, Perceptron, train
from towers import Lite, Lites

HERE = Path(__file__).parent
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # Student's t, two-sided 95%, by seeds
COLUMNS = [
    "dev text->image", "test text->image", "test image->text",
    "fashion title->image", "grocery description->image", "objects by name",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Towers:
    """Whose features a rung reads: EfficientNet-Lites at a resolution, with means of earlier maps or without them."""

    lites: tuple[int, ...] = (0,)
    resolution: int = 224
    earlier: bool = False


ONE, PAIR, LARGER = Towers(), Towers(SHIPPED), Towers(SHIPPED, RESOLUTION)
ALL = replace(LARGER, earlier=True)

# From the barest to what is shipped; in brackets what was tried beside it.
start = HeadRecipe(hidden=0, input_dropout=0, dropout=0, blend=False, mixup=0.0, views=1, epochs=50, names=0.35)
perceptron = replace(start, hidden=2048, dropout=0.5)
thinned = replace(perceptron, input_dropout=0.5)
blended = replace(thinned, blend=True)
mixed = replace(blended, mixup=0.5)
viewed = replace(mixed, views=4, epochs=100)
narrowed = replace(viewed, hidden=1536)
shipped = replace(viewed, hidden=1280, views=3, known=2560, names=0.45)
# name: recipe, the towers whose features it reads, seeds
TRAINED = {
    "linear, InfoNCE": (start, ONE, 5),
    "perceptron of 2,048, dropout .5": (perceptron, ONE, 5),
    "+ dropout .5 of the features": (thinned, ONE, 3),
    "+ target between two captions": (blended, ONE, 5),
    "(+ mirrored and cropped views)": (replace(blended, views=4), ONE, 1),
    "(+ the same, twice as long)": (replace(blended, views=4, epochs=100), ONE, 1),
    "+ latent mixup": (mixed, ONE, 3),
    "+ mirrored and cropped views, twice as long": (viewed, ONE, 4),
    "(+ structure-preserving regulariser)": (replace(viewed, structure=20.0), ONE, 1),
    "(+ 200 class prototypes a step, as pictures)": (replace(viewed, prototypes=200), ONE, 1),
    "(Lite2 for Lite0)": (viewed, Towers((2,)), 1),
    "+ Lite2 beside Lite0, hidden layer of 1,536": (narrowed, PAIR, 2),
    "+ at 256 pixels": (replace(narrowed, views=3), LARGER, 2),
    "+ means of earlier maps, hidden layer of 1,280": (shipped, ALL, 5),
}
CURVE = {300: 1, 1000: 1, 3000: 1}


def tensor(rows: Floats) -> Tensor:
    return torch.from_numpy(np.array(rows))


class Material:
    """Everything the rungs train on and are judged by, as cached features and vectors.

    ``tower`` makes the features, of which ``columns`` count, and ``classifier`` names the classes by them.
    ``precision`` is what the tower runs at, ``views`` how many of VIEWS of the training pictures there are.
    """

    def __init__(
        self, tower: Path, classifier: nn.Linear, columns: slice = slice(None), precision: str = "f32", views: int = 4
    ) -> None:  # fmt: skip
        self.tower, self.columns, self.precision = tower, columns, precision
        self.train = data.flickr8k("train")
        self.splits = {split: data.flickr8k(split) for split in ("dev", "test")}
        self.fashion, self.grocery = data.fashion(), data.grocery()
        self.classifier = classifier.eval().requires_grad_(False)
        self.class_vectors = tensor(classes.class_vectors(self.texts, data.class_names()[0]))
        # After the train split, part of dev: only what is shipped trains on it, once every choice has been made.
        dev = self.splits["dev"]
        more = Captioned(dev.paths[: -data.HELD], dev.captions[: -5 * data.HELD], dev.owner[: -5 * data.HELD])
        seen = [[self.features(part.paths, view) for part in (self.train, more)] for view in VIEWS[:views]]
        self.views = torch.stack([tensor(np.concatenate(parts)) for parts in seen])  # (V, 6700, F)
        captions = [self.texts(part.captions) for part in (self.train, more)]
        self.captions = tensor(np.concatenate(captions)).view(-1, 5, 384)  # (6700, 5, D)
        known = self.classifier.weight.shape[1]  # features that the classifier reads; means of earlier maps follow
        self.prototypes = classes.prototypes(self.views[0, :6000, :known], self.classifier)
        self.objects = Objects(self)

    def features(self, paths: list[Path], view: str = "plain") -> Floats:
        return picture_features(self.tower, paths, view=view, precision=self.precision)[:, self.columns]

    def texts(self, texts: list[str]) -> Floats:
        return text_vectors(BUNDLE, texts)


@cache
def material(towers: Towers) -> Material:
    """Return the material of EfficientNet-Lite0 alone (float16, as in the first rungs), or of int8 towers."""
    if towers == ONE:
        return Material(lite_file(0), Lite(0).fc)
    file = lites_file(SHIPPED, towers.resolution)
    if towers.lites == SHIPPED:
        columns = slice(None if towers.earlier else 1280 * len(SHIPPED))
        return Material(file, Lites(SHIPPED).fc, columns, "bf16", 3 if towers.resolution == RESOLUTION else 4)
    at = SHIPPED.index(towers.lites[0])
    return Material(file, Lite(towers.lites[0]).fc, slice(1280 * at, 1280 * (at + 1)), "bf16")


class Objects:
    """A stand-in for 'find 1,000 objects by name': no ImageNet picture is at hand.

    Photographs of the development data that another classifier, EfficientNet-Lite1 (it is not shipped), is sure of
    (more than .5) are asked for by the name of that class, among 1,000 pictures; the others are of classes not asked
    for.
    """

    def __init__(self, material: Material) -> None:
        shops = material.grocery
        parts = [material.splits["dev"].paths, material.splits["test"].paths, material.fashion.paths]
        parts += [shops.studio, shops.shop]
        paths = [path for part in parts for path in part]
        judge = Lite(1).eval()
        with torch.no_grad():
            features = tensor(picture_features(lite_file(1), paths, precision="bf16"))
            scores = judge.fc(features).softmax(1)
        sure, named = (column.numpy() for column in scores.max(1))
        found: dict[int, int] = {}
        for row in np.argsort(-sure, kind="stable"):
            if sure[row] > 0.5:
                found.setdefault(int(named[row]), int(row))
        rest = [row for row in range(len(paths)) if int(named[row]) not in found]
        rest = np.random.default_rng(0).choice(rest, 1000 - len(found), replace=False).tolist()
        self.features = np.concatenate([material.features(part) for part in parts])[[*found.values(), *rest]]
        first = [names[0] for names in data.class_names()[0]]
        self.questions = [material.texts([form.format(first[c]) for c in found]) for form in ("a photo of a {}", "{}")]

    def recall(self, embed: Callable[[Floats], Floats], bias: Callable[[Floats], Floats] | None) -> list[float]:
        pictures = embed(self.features)
        less = bias(pictures) if bias else 0
        found = [evaluate.ranks(q @ pictures.T - less, np.arange(len(q))) for q in self.questions]
        return evaluate.recall(np.concatenate(found))


def judge(
    material: Material,
    embed: Callable[[Floats], Floats],
    bias: Callable[[Floats], Floats] | None = None,
    text_bias: Callable[[Floats], Floats] | None = None,
) -> dict[str, Any]:
    """Return every figure of a head; ``embed`` turns features (N, F) into unit rows (N, D), ``bias`` those into what
    is taken off the cosines of words with each picture (N,), ``text_bias`` the same for texts asked by a picture."""
    figures: dict[str, Any] = {}

    def cosines(texts: list[str], paths: list[Path]) -> Floats:
        pictures = embed(material.features(paths))
        return material.texts(texts) @ pictures.T - (bias(pictures) if bias else 0)

    for split, told in material.splits.items():
        scores = cosines(told.captions, told.paths)  # (5000, 1000)
        figures[f"{split} text->image"] = evaluate.text_to_image(scores, told.owner)
        less = text_bias(material.texts(told.captions))[:, None] if text_bias else 0
        figures[f"{split} image->text"] = evaluate.image_to_text(scores - less, told.owner)
    titles, shops = material.fashion, material.grocery
    scores = cosines(titles.captions, titles.paths)
    figures["fashion title->image"] = evaluate.text_to_image(scores, titles.owner)
    scores = cosines(shops.descriptions, shops.studio)
    figures["grocery description->image"] = evaluate.text_to_image(scores, range(len(shops.studio)))
    figures["objects by name"] = material.objects.recall(embed, bias)
    figures["grocery same product@1"] = evaluate.same(embed(material.features(shops.shop)), shops.shop_class)
    return figures


def embedder(head: torch.nn.Module) -> Callable[[Floats], Floats]:
    def embed(features: Floats) -> Floats:
        with torch.no_grad():
            return head(tensor(features)).numpy()

    return embed


# ---------------------------------------------------------------- rungs without training


def class_names_only(material: Material) -> Callable[[Floats], Floats]:
    """The names of the ten likeliest classes, weighted by their probabilities (Norouzi et al. 2014)."""

    def embed(features: Floats) -> Floats:
        likely, which = material.classifier(tensor(features)).softmax(1).topk(10)
        return unit(torch.einsum("bk,bkd->bd", likely, material.class_vectors[which]).numpy())

    return embed


def ridge(material: Material) -> Callable[[Floats], Floats]:
    """Least squares from features to the mean caption vector, with a penalty chosen on dev."""
    return linear(*heads.ridge(material.views[0, :6000], material.captions[:6000].mean(1)))


def canonical(material: Material) -> Callable[[Floats], Floats]:
    """Regularised canonical correlations, mapped back to the text space."""
    return linear(*heads.canonical(material.views[0, :6000], material.captions[:6000].mean(1)))


def linear(weights: Tensor, bias: Tensor) -> Callable[[Floats], Floats]:
    return lambda features: unit((tensor(features) @ weights + bias).numpy())


CLOSED = {"class names, no training": class_names_only, "ridge": ridge, "CCA": canonical}


# ---------------------------------------------------------------- the rungs and the table


def trained(recipe: HeadRecipe, towers: Towers, seed: int, pictures: int = 6000) -> Perceptron:
    """Return the perceptron that ``recipe`` and ``seed`` make of the first ``pictures``, trained once."""
    key = (replace(recipe, names=0.0), towers, seed, pictures)  # names come after training
    name = hashlib.blake2b(repr(key).encode(), digest_size=8).hexdigest()
    file = data.WORK / "perceptrons" / f"{name}.pt"
    m = material(towers)
    if file.exists():
        perceptron = Perceptron(recipe, m.views.shape[2], m.captions.shape[2])
        perceptron.load_state_dict(torch.load(file, weights_only=True))
        return perceptron.eval()
    views, captions = m.views[:, :pictures], m.captions[:pictures]
    perceptron = train(recipe, views, captions, m.class_vectors, m.prototypes, seed)
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(perceptron.state_dict(), file)
    return perceptron


def interval(values: list[float]) -> str:
    """Return the mean and, for several seeds, the half width of its 95% confidence interval (Student's t)."""
    if len(values) < 2:
        return f"{values[0]:.1f}"
    return f"{np.mean(values):.1f} ±{STUDENT[len(values)] * np.std(values, ddof=1) / len(values) ** 0.5:.1f}"


def table(rungs: dict[str, list[dict[str, Any]]]) -> list[str]:
    lines = ["| rung | seeds | " + " | ".join(COLUMNS) + " | same product@1 |", "|---" * (len(COLUMNS) + 3) + "|"]
    for name, seeds in rungs.items():
        cells = [" / ".join(interval([seed[column][i] for seed in seeds]) for i in range(3)) for column in COLUMNS]
        same = interval([seed["grocery same product@1"] for seed in seeds])
        lines.append(f"| {name} | {len(seeds)} | " + " | ".join(cells) + f" | {same} |")
    return lines


def write(found: dict[str, Any]) -> None:
    (HERE / "ladder.json").write_text(json.dumps(found, indent=1) + "\n")
    lines = ["# The ladder", "", *(HERE / "ladder-notes.md").read_text().splitlines(), "", "## Rungs", ""]
    lines += [*table(found["rungs"]), "", "## Pictures trained on", "", *table(found["pictures"])]
    (HERE / "LADDER.md").write_text("\n".join(lines) + "\n")


def main() -> None:
    torch.set_num_threads(1)  # the steps are small: on a shared machine a second thread waits more than it works
    file = HERE / "ladder.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    rungs, curve = found.setdefault("rungs", {}), found.setdefault("pictures", {})

    for name, make in CLOSED.items():
        if name not in rungs:
            rungs[name] = [judge(material(ONE), make(material(ONE)))]
            write(found)

    def climb(
        done: list[dict[str, Any]], recipe: HeadRecipe, towers: Towers, seeds: int, pictures: int = 6000
    ) -> None:  # fmt: skip
        for seed in range(len(done), seeds):
            m = material(towers)
            head = Head([trained(recipe, towers, seed, pictures)], m.classifier, m.class_vectors, names=0)
            done.append(judge(m, embedder(head)))
            print(seed, recipe, done[-1], flush=True)
            write(found)

    for name, (recipe, towers, seeds) in TRAINED.items():
        climb(rungs.setdefault(name, []), recipe, towers, seeds)

    # What follows needs no more training: perceptrons of the rungs above, joined and corrected.
    def joined(name: str, make: Callable[[], list[dict[str, Any]]]) -> None:
        if name not in rungs:
            rungs[name] = make()
            print(name, rungs[name], flush=True)
            write(found)

    def named(names: float, *seeds: int) -> dict[str, Any]:
        m = material(ALL)
        perceptrons = [trained(shipped, ALL, seed) for seed in seeds]
        return judge(m, embedder(Head(perceptrons, m.classifier, m.class_vectors, names)))

    joined("(Lite0 alone, four seeds averaged, class names, hubness)", lambda: [corrected(viewed, ONE, 4)])
    joined("(both at 224 pixels, two seeds averaged, class names, hubness)", lambda: [corrected(narrowed, PAIR, 2)])
    joined("+ class names", lambda: [named(shipped.names, seed) for seed in range(2)])
    joined("+ two seeds averaged", lambda: [named(shipped.names, 0, 1)])
    for names in (0.0, 0.25, 0.35, 0.5, 0.75, 1.0):
        joined(f"(two, class names x {names})", partial(lambda names: [named(names, 0, 1)], names))
    joined("+ hubness of pictures and of texts: as shipped", lambda: [corrected(shipped, ALL, 2)])

    for pictures, seeds in CURVE.items():
        # The same number of steps for every size: the curve is of data, not of training time.
        steps = blended.epochs * 6
        epochs = steps // max(1, math.ceil(pictures / blended.batch))
        climb(curve.setdefault(str(pictures), []), replace(blended, epochs=epochs), ONE, seeds, pictures)
    curve["6000"] = rungs["+ target between two captions"]
    write(found)


def corrected(recipe: HeadRecipe, towers: Towers, seeds: int) -> dict[str, Any]:
    """Return the figures of ``seeds`` perceptrons averaged, with class names and both hubness banks."""
    m = material(towers)
    perceptrons = [trained(recipe, towers, seed) for seed in range(seeds)]
    embed = embedder(Head(perceptrons, m.classifier, m.class_vectors, recipe.names))
    shown = embed(m.views[0, :6000].numpy())[np.linspace(0, 5999, BANK).astype(int)]
    less = partial(evaluate.hubness, bank=caption_bank(m.captions[:6000]), **HUBNESS)
    return judge(m, embed, less, partial(evaluate.hubness, bank=shown, **TEXT_HUBNESS))


if __name__ == "__main__":
    main()
