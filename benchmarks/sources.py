"""Does fair mixing hold for a source that calibration never saw? Each source is left out in turn.

    python benchmarks/sources.py

Six sources of things with words and a picture, each shown as a picture, as words or as both, 1 : 1 : 1 (see mixing.py).
Scores become evidence by the shipped curves, by local scaling (CSLS), or by a logistic model that is fitted on all other
sources and, for texts, on XQuAD. Only dev data: this is where a way is chosen. Vectors only, no words.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common import data, flickr8k, keep, machine, table
from commonplace.encoders import Bundle
from commonplace.retrieval import Calibration, z_score
from mixing import ndcg_of, shown
from worlds import HELD, PICTURE, WORDS, Rows, encode_pictures

Floats = NDArray[np.float64]
Source = tuple[Rows, Rows, Rows]  # of each thing: the question, its words, its picture
Evidence = Callable[[str, str, Floats, Floats], Floats]  # source, channel, z-scores, local background -> log-odds
SEEDS, BEST, PRODUCTS = 5, 10, 400
CHANNELS = ("text->text", "text->image")
LEAST_DENSITY = 0.01


def grocery(bundle: Bundle) -> dict[str, Source]:
    root = data("grocery")
    with (root / "classes.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    paths = [root / row["Iconic Image Path (str)"].lstrip("/") for row in rows]
    told = [(root / row["Product Description Path (str)"].lstrip("/")).read_text("utf-8").strip() for row in rows]
    abouts = [next(path.parent.glob("*Information.txt")).read_text("utf-8") for path in paths]
    titles = [re.search(r"Title:\s*(.+)", about)[1].strip() for about in abouts]  # type: ignore[index]
    names = [row["Class Name (str)"].replace("-", " ") for row in rows]
    pictures = encode_pictures(bundle, paths)["image"]
    return {
        "grocery, by description": (asked(bundle, told), bundle.text.encode(titles), pictures),
        "grocery, by name": (asked(bundle, names), bundle.text.encode(told), pictures),
    }


def fashion(bundle: Bundle) -> dict[str, Source]:
    rows = [json.loads(line) for line in (data("fashion") / "products.jsonl").read_text().splitlines()][::2][:PRODUCTS]
    titles = [row["productDisplayName"] for row in rows]
    about = [f"{row['gender']} {row['baseColour']} {row['articleType']} {row['usage']}" for row in rows]
    pictures = encode_pictures(bundle, [data("fashion") / "images" / f"{row['id']}.jpg" for row in rows])["image"]
    return {
        "fashion, by title": (asked(bundle, titles), bundle.text.encode(about), pictures),
        "fashion, by kind": (asked(bundle, about), bundle.text.encode(titles), pictures),
    }


def manual(bundle: Bundle) -> dict[str, Source]:
    """Return the figures of a manual: their alternative text asks, the paragraph before them tells."""
    figures: list[tuple[str, str, Path]] = []
    for page in sorted(data("docs_wsl").rglob("*.md")):
        text = page.read_text(errors="replace")
        for match in re.finditer(r"!\[([^\]]{12,})\]\(([^)\s]+)", text):
            path = (page.parent / match[2]).resolve()
            before = [part.strip() for part in text[: match.start()].split("\n\n") if len(part.strip()) > 40]
            if path.exists() and path.suffix in (".png", ".jpg") and before:
                figures.append((match[1], before[-1][:600], path))
    pictures = encode_pictures(bundle, [path for _, _, path in figures])["image"]
    told = bundle.text.encode([text for _, text, _ in figures])
    return {"manual, by alternative text": (asked(bundle, [text for text, _, _ in figures]), told, pictures)}


def photographs(bundle: Bundle) -> dict[str, Source]:
    captions = dict(list(flickr8k("dev").items())[HELD])
    pictures = encode_pictures(bundle, [data("flickr8k") / "images" / name for name in captions])["image"]
    queries = asked(bundle, [texts[0] for texts in captions.values()])
    return {"photographs, by caption": (queries, bundle.text.encode([t[1] for t in captions.values()]), pictures)}


def asked(bundle: Bundle, texts: list[str]) -> Rows:
    return bundle.without_shortness(bundle.text.encode(texts, "query"))[0]


class Mixed:
    """One source in a mixed collection: z-scores and local background of both channels (questions, things)."""

    def __init__(self, bundle: Bundle, calibration: Calibration, source: Source, seed: int) -> None:
        queries, texts, pictures = source
        self.kinds = shown("1:1:1", len(queries), seed)
        hubness = bundle.hubness("image", pictures)
        cosines = {
            "text->text": (queries @ texts.T - bundle.text_hubness(texts), self.kinds != PICTURE),
            "text->image": (queries @ pictures.T - hubness, self.kinds != WORDS),
        }
        self.z: dict[str, Floats] = {}
        self.local: dict[str, Floats] = {}
        for channel, (scores, has) in cosines.items():
            stats = calibration.score_stats[channel]
            z = np.full(scores.shape, np.nan)
            for row, found in zip(z, scores, strict=True):
                row[has] = z_score(found[has], int(has.sum()), float(found[has].mean()), float(found[has].std()), stats)
            best = np.sort(np.where(has, z, -np.inf), axis=1)[:, -BEST:]
            self.z[channel] = z
            self.local[channel] = np.broadcast_to(best.mean(1, keepdims=True), z.shape)

    def ndcg(self, evidence: Callable[[str, Floats, Floats], Floats]) -> dict[str, Floats]:
        """Return nDCG@10 of each question by its best view, and by either channel alone."""
        target = np.arange(len(self.kinds))
        scores = {
            channel: np.where(np.isnan(z), -np.inf, evidence(channel, z, self.local[channel]))
            for channel, z in self.z.items()
        }
        alone = {channel: ndcg_of(np.where(np.isnan(z), -np.inf, z), target) for channel, z in self.z.items()}
        return alone | {"mixed": ndcg_of(np.maximum(*scores.values()), target)}


def pairs_of_xquad(bundle: Bundle, calibration: Calibration) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    articles = json.loads((data("xquad") / "xquad.en.json").read_text(encoding="utf-8"))["data"]
    paragraphs = [p for article in articles for p in article["paragraphs"]]
    texts = bundle.text.encode([p["context"] for p in paragraphs])
    questions = [(qa["question"], i) for i, p in enumerate(paragraphs) if i % 2 == 0 for qa in p["qas"]]
    scores = asked(bundle, [words for words, _ in questions]) @ texts.T - bundle.text_hubness(texts)
    stats = calibration.score_stats["text->text"]
    z = np.array([z_score(row, len(row), float(row.mean()), float(row.std()), stats) for row in scores])
    local = np.broadcast_to(np.sort(z, axis=1)[:, -BEST:].mean(1, keepdims=True), z.shape)
    return z, local, np.equal.outer([i for _, i in questions], np.arange(len(paragraphs)))


FEATURES: dict[str, Callable[[Floats, Floats], list[Floats]]] = {
    "logistic, z": lambda z, local: [z],
    "logistic, z and local background": lambda z, local: [z, local],
    "logistic, z, local background and excess": lambda z, local: [z, local, np.maximum(z - local, 0)],
}


def logistic(pairs: list[tuple[Floats, Floats, NDArray[np.bool_]]], features: Callable) -> Floats:
    """Return the weights of a logistic regression; sources count equally, and related and unrelated pairs."""
    columns, labels, weights = [], [], []
    for z, local, related in pairs:
        for label, mask in ((1.0, related & ~np.isnan(z)), (0.0, ~related & ~np.isnan(z))):
            columns.append(np.stack([*features(z[mask], local[mask]), np.ones(mask.sum())], axis=1))
            labels.append(np.full(mask.sum(), label))
            weights.append(np.full(mask.sum(), 1 / mask.sum()))
    x, y, w = np.concatenate(columns), np.concatenate(labels), np.concatenate(weights)
    beta = np.zeros(x.shape[1])
    for _ in range(25):
        p = 1 / (1 + np.exp(-x @ beta))
        curvature = (x * (w * p * (1 - p))[:, None]).T @ x + 1e-6 * np.eye(len(beta))
        beta += np.linalg.solve(curvature, x.T @ (w * (y - p)))
    return beta


def family(name: str) -> str:
    return name.split(",")[0]


def with_density(log_odds: Floats) -> Floats:
    mean = np.nanmean(np.exp(np.minimum(log_odds, 50)), axis=1, keepdims=True)
    return np.asarray(log_odds - 0.5 * np.log(np.maximum(mean, LEAST_DENSITY)))


def main() -> None:
    """Measure, print and keep the table."""
    bundle = Bundle()
    calibration = Calibration.from_bundle(bundle.spec)
    sources = photographs(bundle) | fashion(bundle) | grocery(bundle) | manual(bundle)
    mixed = {
        name: [Mixed(bundle, calibration, source, seed) for seed in range(SEEDS)] for name, source in sources.items()
    }
    xquad = pairs_of_xquad(bundle, calibration)
    curves = calibration.curves
    ways: dict[str, Evidence] = {
        "curves with match density (default)": lambda _, channel, z, local: with_density(curves[channel](z)),
        "curves alone": lambda _, channel, z, local: curves[channel](z),
        "z-scores": lambda _, channel, z, local: z,
        "z-scores, local scaling (CSLS)": lambda _, channel, z, local: z - local,
        "curves, local scaling": lambda _, channel, z, local: curves[channel](z) - curves[channel](local),
    }
    for name, features in FEATURES.items():
        fitted: dict[tuple[str, str], Floats] = {}
        for left_out in {family(source) for source in sources}:
            for channel in CHANNELS:
                pairs = [
                    (one.z[channel], one.local[channel], np.eye(len(one.kinds), dtype=bool))
                    for source, worlds in mixed.items()
                    if family(source) != left_out
                    for one in worlds[:2]
                ]
                pairs += [xquad] * (2 if channel == "text->text" else 0)
                fitted[left_out, channel] = logistic(pairs, features)

        def apply(source: str, channel: str, z: Floats, local: Floats, fitted=fitted, features=features) -> Floats:
            *weights, base = fitted[family(source), channel]
            return np.asarray(sum(w * f for w, f in zip(weights, features(z, local), strict=True)) + base)

        ways[f"{name} (left out)"] = apply
    lines, values = [], {}
    for name, way in ways.items():
        cells, rows = [], []
        for source, worlds in mixed.items():
            found = []
            for one in worlds:
                ndcg = one.ndcg(lambda channel, z, local, source=source, way=way: way(source, channel, z, local))
                picture, words = one.kinds == PICTURE, one.kinds == WORDS
                found.append(
                    [
                        ndcg["mixed"].mean(),
                        100 * ndcg["mixed"][picture].mean() / max(ndcg["text->image"][picture].mean(), 1e-9) - 100,
                        100 * ndcg["mixed"][words].mean() / max(ndcg["text->text"][words].mean(), 1e-9) - 100,
                    ]
                )
            mean = np.mean(found, axis=0)
            rows.append(mean)
            cells.append(f"{mean[0]:.1f} ({mean[1]:+.0f}, {mean[2]:+.0f})")
        total = np.mean(rows, axis=0)
        values[name] = {source: [float(v) for v in row] for source, row in zip(mixed, rows, strict=True)}
        lines.append([name, *cells, f"{total[0]:.1f} ({total[1]:+.0f}, {total[2]:+.0f})"])
    counts = ", ".join(f"{len(queries)} {name}" for name, (queries, _, _) in sources.items())
    text = "\n\n".join(
        [
            f"Measured on {machine()}: {counts}; {SEEDS} seeds. nDCG@10 in percent at 1 : 1 : 1; in brackets what pictures "
            "and words lose, in percent, against their own channel alone. The default saw photographs, no other picture.",
            table(["evidence", *mixed, "mean"], lines),
        ]
    )
    keep("sources", text, values)


if __name__ == "__main__":
    main()
