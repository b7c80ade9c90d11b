"""A picture and words that change it: "the same, but in green", on 2,500 product pictures.

    python benchmarks/composed.py

A question is a product's picture and another of the common colours; relevant are products of the same kind, for the
same people, in that colour (at least two). Dev questions, by which the picture's share was chosen, are those about
half of the products; the others are reported. Store, channels and fusion are the product's own.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import numpy as np

from common import data, interval, keep, machine, table
from commonplace.channels import CHANGED_TO_IMAGE
from commonplace.encoders import Bundle
from commonplace.retrieval import Calibration, Ranking
from commonplace.space import Space
from fusion import Averaged
from worlds import Outcome, Rows, Views, encode_pictures, ndcgs, outcomes, picture, world

PHRASES = ("but in {}", "the same in {}", "{}", "a {} {kind}")
SHARES = (0.5, 0.6, 0.7, 0.8, 0.9)


def main() -> None:
    """Measure, print and keep the table."""
    space = Space(Bundle())
    rows = [json.loads(line) for line in (data("fashion") / "products.jsonl").read_text().splitlines()]
    pictures = encode_pictures(space.bundle, [data("fashion") / "images" / f"{row['id']}.jpg" for row in rows])
    kinds = [(row["articleType"], row["gender"]) for row in rows]
    colours = [row["baseColour"] for row in rows]
    common = [colour for colour, _ in Counter(colours).most_common(12)]
    having: dict[tuple[tuple[str, str], str], list[int]] = {}
    for i, at in enumerate(zip(kinds, colours, strict=True)):
        having.setdefault(at, []).append(i)
    draw = np.random.default_rng(0)
    products, words, gains = [], [], []
    for i in draw.permutation(len(rows)).tolist():
        other_colours = [c for c in common if c != colours[i] and len(having.get((kinds[i], c), ())) >= 2]
        if other_colours and len(products) < 800:
            colour = other_colours[draw.integers(len(other_colours))]
            phrase = PHRASES[len(products) % len(PHRASES)]
            products.append(i)
            words.append(phrase.format(colour.lower(), kind=rows[i]["articleType"].lower()))
            gains.append({f"{j:05d}": 1.0 for j in having[kinds[i], colour]})
    vectors = space.bundle.text.encode(words, "query")
    documents = [(f"{i:05d}", None, None, picture(pictures, i)) for i in range(len(rows))]
    rankings = {
        "picture alone": Ranking(picture_weight=1.0, weights={CHANGED_TO_IMAGE: 0}),
        "words alone": Ranking(picture_weight=0.0, weights={CHANGED_TO_IMAGE: 0}),
        "as the words change it (default)": Ranking(),
        **{f"apart, evidence, picture {s:g}": Ranking(picture_weight=s, weights={CHANGED_TO_IMAGE: 0}) for s in SHARES},
        "apart, reciprocal ranks": Ranking(method="rrf"),
        "apart, relative score": Averaged(scale="relative"),
        **{
            f"one vector, sum, centred, picture {s:g}": Ranking(question="sum", picture_weight=s)
            for s in (0.3, 0.4, 0.5)
        },
        **{
            f"one vector, slerp, centred, picture {s:g}": Ranking(question="slerp", picture_weight=s)
            for s in (0.3, 0.4, 0.5)
        },
    }
    questions = [(text, vector, picture(pictures, i)) for text, vector, i in zip(words, vectors, products, strict=True)]
    calibration = Calibration.from_bundle(space.bundle.spec)
    ndcg_of: dict[str, np.ndarray] = {}
    with world(space, documents, questions, gains) as indexed:
        ndcg_of |= {
            name: ndcg_without_query(o, products, gains)
            for name, o in outcomes(indexed, calibration, rankings, 11).items()
        }
        raw = replace(indexed, questions=[replace(q, means={}) for q in indexed.questions])
        plain = {f"{name}, not centred".replace(", centred", ""): r for name, r in rankings.items() if "0.4" in name}
        ndcg_of |= {
            name: ndcg_without_query(o, products, gains) for name, o in outcomes(raw, calibration, plain, 11).items()
        }
    ndcg_of |= {
        name: ndcg_without_query(o, products, gains)
        for name, o in concatenated(space, vectors, pictures, products).items()
    }
    dev = np.arange(len(products)) % 8 < 4
    lines = []
    for name, values in ndcg_of.items():
        mean, low, high = interval(values[~dev].tolist())
        lines.append([name, f"{values[dev].mean():.1f}", f"{mean:.1f} ({low:.1f} to {high:.1f})"])
    text = "\n\n".join(
        [
            f"Measured on {machine()}. nDCG@10 in percent (the question's own picture left out), "
            f"{dev.sum()} questions for choices, {(~dev).sum()} for report, with 95% bootstrap intervals.",
            table(["ranking", "dev", "test"], lines),
        ]
    )
    keep("composed", text, {name: [float(v[dev].mean()), float(v[~dev].mean())] for name, v in ndcg_of.items()})


def concatenated(space: Space, words: Rows, pictures: Views, products: list[int]) -> dict[str, list[Outcome]]:
    """Return outcomes of questions and documents in two halves: words with pictures, and looks with looks.

    Were both halves of the joint space, the document would stand in it twice, and the order be that of the sum.
    """
    outcomes_of = {}
    for centring in ("centred", "not centred"):
        halves = []
        mean = space.means("query")["text"]
        for asks, rows in ((words, pictures["image"]), (pictures["visual"][products], pictures["visual"])):
            if centring == "centred":
                less = rows.mean(0)
                asks, rows = unit(asks - (mean if asks is words else less)), unit(rows - less)
            halves.append(asks @ rows.T)
        for share in (0.3, 0.5, 0.7):
            scores = (1 - share) * halves[0] + share * halves[1]
            best = np.argsort(-scores, axis=1, kind="stable")[:, :11]
            outcomes_of[f"one vector, concatenation, {centring}, picture {share:g}"] = [
                Outcome([f"{i:05d}" for i in row], []) for row in best.tolist()
            ]
    return outcomes_of


def unit(rows: Rows) -> Rows:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9), np.float32)


def ndcg_without_query(results: list, products: list[int], gains: list[dict[str, float]]) -> np.ndarray:
    """Return nDCG@10 of each question without its own picture among the hits."""
    filtered = [
        replace(outcome, ids=[id_ for id_ in outcome.ids if id_ != f"{i:05d}"])
        for outcome, i in zip(results, products, strict=True)
    ]
    return ndcgs(filtered, gains)


if __name__ == "__main__":
    main()
