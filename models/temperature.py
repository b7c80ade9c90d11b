"""The temperature of the contrastive loss, against the gap between pictures and texts; writes TEMPERATURE.md.

    python models/temperature.py [--seeds N]

A perceptron is trained on the shipped image tower's features at each temperature, fixed, and at one that is learned, as
the recipe has it. Each is judged on Flickr8k's test split: how far the centroids of captions and pictures lie apart,
how well captions find pictures, and nDCG@10 where a third of the photographs is shown as a picture, a third as a
caption, a third as both. Nothing here chooses anything; class names and hubness are left out.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import data
import evaluate
from bundle import BUNDLE
from features import Floats, picture_features, text_vectors, unit
from head import HeadRecipe, Perceptron, train

HERE = Path(__file__).parent
TEMPERATURES = (0.01, 0.03, 0.07, 0.1)
RECIPE = HeadRecipe(hidden=1024, epochs=50, views=1)
FEATURES = 2560  # means of the two towers' last maps
HEAD = ["temperature", "at the end", "distance of centroids", "cosine of pairs", "R@10 among pictures",
        "mixed: raw cosine", "centred", "z-score by list", "pictures among first tens: raw", "z-score"]  # fmt: skip


def mixed(asked: Floats, told: Floats, pictures: Floats, seed: int) -> dict[str, float]:
    """Return nDCG@10 in percent over all questions, and the share of pictures in the first tens, by ranking."""
    draw = np.random.default_rng(seed)
    kinds = draw.permutation(np.resize([0, 1, 2], len(asked)))  # picture, words, both
    rows = {"text": told, "image": pictures}
    has = {"text": kinds != 0, "image": kinds != 1}
    centred = unit(asked - asked.mean(0))
    scores: dict[str, dict[str, Floats]] = {"raw": {}, "centred": {}, "z": {}}
    for kind, own in rows.items():
        raw = asked @ own.T
        scores["raw"][kind] = raw
        scores["centred"][kind] = centred @ unit(own - own[has[kind]].mean(0)).T
        seen = raw[:, has[kind]]
        scores["z"][kind] = (raw - seen.mean(1, keepdims=True)) / seen.std(1, keepdims=True)
    found = {}
    for name, by in scores.items():
        text, image = (np.where(has[kind], by[kind], -np.inf) for kind in rows)
        best = np.maximum(text, image)
        place = evaluate.ranks(best, np.arange(len(best))) + 1
        found[name] = float(100 * np.where(place <= 10, 1 / np.log2(place + 1), 0).mean())
        first = np.argpartition(-best, 10, axis=1)[:, :10]
        found[f"{name} pictures"] = float(100 * np.take_along_axis(image >= text, first, 1).mean())
    return found


def judge(perceptron: Perceptron, features: Floats, captions: NDArray[np.float32]) -> list[float]:
    """Return one row of the table for features (N, F) and captions (N, 5, D)."""
    with torch.no_grad():
        pictures = perceptron(torch.from_numpy(np.array(features))).numpy()
    gap = float(np.linalg.norm(captions.mean((0, 1)) - pictures.mean(0)))
    pairs = float(np.einsum("ncd,nd->nc", captions, pictures).mean())
    scores = captions.reshape(-1, captions.shape[2]) @ pictures.T
    own = np.take_along_axis(scores, np.repeat(np.arange(len(pictures)), 5)[:, None], 1)
    recall = float(100 * ((scores >= own - evaluate.TIE).sum(1) - 1 < 10).mean())
    runs = [mixed(captions[:, c], captions[:, (c + 1) % 5], pictures, c) for c in range(5)]
    mean = {name: float(np.mean([run[name] for run in runs])) for name in runs[0]}
    return [perceptron.temperature, gap, pairs, recall, mean["raw"], mean["centred"], mean["z"],
            mean["raw pictures"], mean["z pictures"]]  # fmt: skip


def main() -> None:
    """Train, judge, and write the table and its figures; again after each seed, so that a run may be cut short."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    seeds = parser.parse_args().seeds
    torch.set_num_threads(1)
    train_set, test = data.flickr8k("train"), data.flickr8k("test")
    file = BUNDLE / "image.onnx"
    features = torch.from_numpy(np.array(picture_features(file, train_set.paths, precision="bf16")[:, :FEATURES]))[None]
    captions = torch.from_numpy(np.array(text_vectors(BUNDLE, train_set.captions))).view(-1, 5, 384)
    judged = picture_features(file, test.paths, precision="bf16")[:, :FEATURES]
    asked = np.array(text_vectors(BUNDLE, test.captions)).reshape(-1, 5, 384)
    none = torch.zeros(0)
    found: dict[str, list[list[float]]] = {}
    for seed in range(seeds):
        for temperature in (*TEMPERATURES, None):
            recipe = RECIPE if temperature is None else replace(RECIPE, temperature=temperature)
            perceptron = train(recipe, features, captions, none, none, seed, learn_temperature=temperature is None)
            name = f"{temperature:g}" if temperature else f"learned, from {RECIPE.temperature:g}"
            found.setdefault(name, []).append(judge(perceptron, judged, asked))
            print(seed, name, found[name][-1], flush=True)
        write(found, features.shape[2])


def write(found: dict[str, list[list[float]]], width: int) -> None:
    """Write TEMPERATURE.md and temperature.json."""
    lines = ["| " + " | ".join(HEAD) + " |", "|---" * len(HEAD) + "|"]
    for name, rows in found.items():
        mean, spread = np.mean(rows, 0), np.std(rows, 0)
        digits = [3, 2, 2, 1, 1, 1, 1, 0, 0]
        cells = [
            f"{m:.{d}f}" + (f" ±{s:.{d}f}" if d == 1 else "") for m, s, d in zip(mean, spread, digits, strict=True)
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    seeds = len(next(iter(found.values())))
    text = (
        "Written by `python models/temperature.py`. Flickr8k test, 1,000 photographs and 5,000 captions; perceptrons "
        f"of {RECIPE.hidden:,} on {width:,} features, {RECIPE.epochs} epochs, {seeds} seeds (mean and standard "
        "deviation). Recall, nDCG@10 and shares in percent; mixed: 1:1:1.\n\n"
    )
    (HERE / "TEMPERATURE.md").write_text(text + "\n".join(lines) + "\n")
    (HERE / "temperature.json").write_text(json.dumps({"columns": HEAD[1:], "rows": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
