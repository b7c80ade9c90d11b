"""Do words and pictures compete fairly? MixFlickr8k, the same with fashion and groceries, and the right modality.

    python benchmarks/mixing.py [--dev] [--seeds N]

One caption of a photograph is the question. Its document is shown as the picture, as another caption, or as both, at
random; one document answers each question. Store, channels and fusion are the product's own (see worlds.py). Single
vectors of several kinds in one list, which peers use, are computed beside it with NumPy.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from common import RESULTS, data, interval, keep, machine, table
from commonplace.encoders import Bundle
from commonplace.evaluation import rounding
from commonplace.retrieval import Calibration, Ranking
from commonplace.space import Space
from fusion import Averaged
from worlds import (
    BOTH,
    PICTURE,
    WORDS,
    Pairs,
    Rows,
    calibration_error,
    encode_pictures,
    flickr_pairs,
    ndcgs,
    outcomes,
    picture,
    world,
)

Floats = NDArray[np.float64]
QUESTIONS = 250  # of a collection, drawn anew for each seed
TIE = rounding(384)  # scores that are no further apart are equal
NEIGHBOURS = 10  # of local scaling, as in its paper (Conneau et al. 2018)
SHARES: tuple[float | str, ...] = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0, "1:1:1", "70:20:10")
FEWER: tuple[float | str, ...] = (0.0, 0.5, 1.0, "1:1:1")
WORDS_ARMS = {"text->image": 0.0, "image->image": 0.0, "image->semantic": 0.0}
PICTURE_ARMS = {"lexical": 0.0, "text->text": 0.0, "image->text": 0.0}
RANKINGS = {
    "evidence (default)": Ranking(),
    "reciprocal ranks": Ranking(method="rrf"),
    "relative score": Averaged(scale="relative"),
    "distribution": Averaged(scale="distribution"),
    "texts alone": Ranking(weights=WORDS_ARMS),
    "pictures alone": Ranking(weights=PICTURE_ARMS),
}


def shown(share: float | str, count: int, seed: int) -> NDArray[np.int64]:
    """Return how each document is shown: a share of pictures, or picture : words : both."""
    draw = np.random.default_rng(seed)
    if isinstance(share, str):
        parts = [int(part) for part in share.split(":")]
        kinds = np.repeat([PICTURE, WORDS, BOTH], [round(count * part / sum(parts)) for part in parts])
        kinds = np.resize(kinds, count)
    else:
        kinds = np.repeat([PICTURE, WORDS], [round(share * count), count - round(share * count)])
    return draw.permutation(kinds)


# --- one list of single vectors, as peers keep it ------------------------------------------------------------


def unit(rows: Rows) -> Rows:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9), np.float32)


def whitening(rows: Rows) -> NDArray[np.float64]:
    """Return the map (dim, dim) that gives centred ``rows`` the same spread along every axis (shrunk by a tenth)."""
    cov = rows.T @ rows / max(len(rows), 1)
    values, axes = np.linalg.eigh(0.9 * cov + 0.1 * np.trace(cov) / len(cov) * np.eye(len(cov)))
    return np.asarray((axes / np.sqrt(np.maximum(values, 1e-9))) @ axes.T)


def peers(bundle: Bundle, pairs: Pairs, kinds: NDArray[np.int64], queries: Rows, role: str) -> dict[str, Floats]:
    """Return scores (questions, documents) of the best view by single-list methods. ``role``: what asks."""
    has = {"text": kinds != PICTURE, "image": kinds != WORDS}
    rows = {"text": pairs.told_rows, "image": pairs.pictures["image"]}
    means = {kind: np.array(mean, np.float32) for kind, mean in bundle.spec["means"]["query"].items()}
    scores_of: dict[str, Floats] = {}

    def best(name: str, score: Callable[[str], Floats]) -> None:
        scores = [np.where(has[kind], score(kind), -np.inf) for kind in rows if has[kind].any()]
        scores_of[name] = np.max(scores, axis=0)

    def hub(kind: str) -> Rows | float:
        taken = bundle.hubness(kind, rows[kind]) if kind != role else None
        return 0.0 if taken is None else taken

    centred = unit(queries - means[role])
    best("raw cosine", lambda kind: queries @ rows[kind].T)
    best("centred", lambda kind: centred @ unit(rows[kind] - rows[kind][has[kind]].mean(0)).T)
    middle = {kind: rows[kind][has[kind]].mean(0) for kind in rows if has[kind].any()}
    alike = whitening(np.concatenate([rows[kind][has[kind]] - mean for kind, mean in middle.items()]))
    best("whitened", lambda kind: unit(centred @ alike) @ unit((rows[kind] - middle[kind]) @ alike).T)
    best("hubness alone (NNN)", lambda kind: queries @ rows[kind].T - hub(kind))

    def local(kind: str) -> Floats:  # 2 cos - mean of the question's nearest - mean of the item's nearest questions
        cosines = queries @ rows[kind].T
        own_scores = np.sort(cosines[:, has[kind]], axis=1)[:, -NEIGHBOURS:].mean(1, keepdims=True)
        bank = bundle.questions(role, cross_modal=False)
        near = np.sort(rows[kind] @ bank.T, axis=1)[:, -NEIGHBOURS:].mean(1) if bank is not None else 0
        return np.asarray(2 * cosines - own_scores - near)

    best("local scaling (CSLS)", local)

    def z(kind: str) -> Floats:
        scores = queries @ rows[kind].T - hub(kind)
        own_scores = scores[:, has[kind]]
        return np.asarray(
            (scores - own_scores.mean(1, keepdims=True)) / np.maximum(own_scores.std(1, keepdims=True), 1e-6)
        )

    best("z-score by list", z)
    both = (kinds == BOTH)[:, None]
    single = np.where(has["text"][:, None], rows["text"], rows["image"])
    fused = unit(np.where(both, rows["text"] + rows["image"], single))
    scores_of["fused early, raw"] = np.asarray(queries @ fused.T, np.float64)
    less = {kind: unit(rows[kind] - mean) for kind, mean in middle.items()}
    single = np.where(has["text"][:, None], less.get("text", rows["text"]), less.get("image", rows["image"]))
    fused = np.where(both, unit(less["text"] + less["image"]), single) if len(less) > 1 else single
    scores_of["fused early, centred"] = np.asarray(centred @ fused.T, np.float64)
    return scores_of


def ndcg_of(scores: Floats, target: NDArray[np.int64]) -> Floats:
    """Return nDCG@10 in percent, where one document answers: 1 / log2(place + 1)."""
    target_scores = scores[np.arange(len(target)), target]
    # Documents with the same words tie: what cannot be told apart was not found.
    place = (scores >= target_scores[:, None] - TIE).sum(1)
    return np.where((place <= 10) & np.isfinite(target_scores), 100 / np.log2(place + 1), 0.0)


# --- one mixed collection ------------------------------------------------------------------------------------


def measure(space: Space, pairs: Pairs, kinds: NDArray[np.int64], by: str) -> tuple[dict[str, Floats], float]:
    """Return nDCG@10 of every question by method, and the calibration error of the default's first ten.

    ``by``: asked with ``text``, or with an ``image``, the picture cropped and mirrored.
    """
    names = [f"{i:05d}" for i in range(len(kinds))]
    documents = [
        (
            name,
            pairs.told[i] if kinds[i] != PICTURE else None,
            pairs.told_rows[i] if kinds[i] != PICTURE else None,
            picture(pairs.pictures, i) if kinds[i] != WORDS else None,
        )
        for i, name in enumerate(names)
    ]
    query_rows = pairs.asked_rows if by == "text" else pairs.cut["image"]
    questions = [
        (pairs.asked[i], query_rows[i], None) if by == "text" else (None, None, picture(pairs.cut, i))
        for i in pairs.rows
    ]
    gains = [{names[i]: 1.0} for i in pairs.rows]
    calibration = Calibration.from_bundle(space.bundle.spec)
    with world(space, documents, questions, gains) as indexed:
        results = outcomes(indexed, calibration, RANKINGS)
    ndcg = {name: ndcgs(result, gains) for name, result in results.items()}
    ndcg |= {
        name: ndcg_of(s, pairs.rows)
        for name, s in peers(space.bundle, pairs, kinds, query_rows[pairs.rows], by).items()
    }
    ndcg["oracle: the better list"] = np.maximum(ndcg["texts alone"], ndcg["pictures alone"])
    return ndcg, calibration_error(results["evidence (default)"], gains)


def sweep(
    space: Space, sources: Sequence[Pairs], shares: Sequence[float | str], seeds: int, by: str
) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Return nDCG@10 by share, method and group (all, or how the answer is shown), one mean a seed."""
    cells: dict[str, dict[str, dict[str, list[float]]]] = {}
    for share in shares:
        cell = cells.setdefault(str(share), {})
        gains: dict[int, list[float]] = {}
        for seed in range(seeds):
            pairs = sources[seed % len(sources)]
            sampled = np.random.default_rng(seed).permutation(pairs.rows)[:QUESTIONS]
            pairs = replace(pairs, rows=np.sort(sampled))
            kinds = shown(share, len(pairs.told), seed)
            scores, error = measure(space, pairs, kinds, by)
            own_kinds = kinds[pairs.rows]
            for name, values in scores.items():
                groups = cell.setdefault(name, {})
                for group, mask in (
                    ("all", own_kinds >= 0),
                    ("picture", own_kinds == 0),
                    ("words", own_kinds == 1),
                    ("both", own_kinds == 2),
                ):
                    if mask.any():
                        groups.setdefault(group, []).append(float(values[mask].mean()))
            cell.setdefault("calibration error", {}).setdefault("all", []).append(error)
            for row, gain in zip(pairs.rows.tolist(), scores["evidence (default)"] - scores["raw cosine"], strict=True):
                gains.setdefault(row, []).append(float(gain))
        cell["gain by document"] = {"all": [float(np.mean(values)) for values in gains.values()]}
        print(by, share, {name: round(float(np.mean(g["all"])), 1) for name, g in cell.items()}, flush=True)
    return cells


def report(cells: dict[str, dict[str, dict[str, list[float]]]], title: str) -> str:
    """Return the table of a sweep, with the lowest share of the oracle, and the tax of mixing at 1:1:1."""
    shares = list(cells)
    methods = [name for name in cells[shares[0]] if name not in ("calibration error", "gain by document")]
    rows = []
    mean = {s: {n: float(np.mean(cells[s][n]["all"])) for n in cells[s]} for s in shares}
    oracle = "oracle: the better list"
    for name in sorted(methods, key=lambda n: -np.mean([mean[s][n] for s in shares])):
        lowest = min(mean[s][name] / mean[s][oracle] for s in shares)
        rows.append([name, *(f"{mean[s][name]:.1f}" for s in shares), f"{lowest:.2f}"])
    parts = [f"**{title}**", table(["ranking", *shares, "lowest / oracle"], rows)]
    if "1:1:1" in cells and len(cells["1:1:1"]["raw cosine"]["all"]) > 1:
        even = cells["1:1:1"]

        def tax(name: str, alone: str, group: str) -> str:
            change = 100 * np.array(even[name][group]) / np.array(even[alone][group]) - 100
            return f"{change.mean():+.0f}% (±{1.96 * change.std(ddof=1) / len(change) ** 0.5:.0f})"

        names = ("evidence (default)", "raw cosine", "centred", "local scaling (CSLS)", "z-score by list",
                 "reciprocal ranks", "relative score")  # fmt: skip
        taxes = [
            [
                name,
                f"{np.mean(even[name]['all']):.1f}",
                tax(name, "pictures alone", "picture"),
                tax(name, "texts alone", "words"),
            ]
            for name in names
        ]
        parts.append(
            table(["at 1:1:1", "nDCG@10", "pictures, against pictures alone", "texts, against texts alone"], taxes)
        )
        gain, low, high = interval(even["gain by document"]["all"])
        error = float(np.mean(even["calibration error"]["all"]))
        parts.append(
            f"Default over raw cosine at 1:1:1: {gain:+.1f} nDCG@10 ({low:+.1f} to {high:+.1f}, 95% bootstrap interval over "
            f"the {len(even['gain by document']['all'])} things asked for). "
            f"Expected calibration error of the first ten: {error:.3f}."
        )
    return "\n\n".join(parts)


def draw(cells: dict[str, dict[str, dict[str, list[float]]]]) -> None:
    """Draw nDCG@10 over the share of pictures, a line a ranking, into results/mixing.svg."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "mixing"
    from matplotlib import pyplot

    shares = [share for share in cells if ":" not in share]
    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    styles = {
        "oracle: the better list": ("black", ":"),
        "evidence (default)": ("#0072b2", "-"),
        "z-score by list": ("#56b4e9", "--"),
        "centred": ("#e69f00", "--"),
        "raw cosine": ("#d55e00", "-"),
        "reciprocal ranks": ("#009e73", "-"),
    }
    for name, (colour, style) in styles.items():
        values = [float(np.mean(cells[share][name]["all"])) for share in shares]
        axes.plot([float(s) for s in shares], values, style, color=colour, label=name, marker="o", markersize=3)
    axes.set(xlabel="share of documents shown as pictures, the rest as captions", ylabel="nDCG@10", ylim=(0, None))
    axes.legend(fontsize=8)
    figure.savefig(RESULTS / "mixing.svg", metadata={"Date": None})
    pyplot.close(figure)


# --- other sources, and the right modality -------------------------------------------------------------------


def fashion(bundle: Bundle, count: int) -> Pairs:
    """Return product pictures with their titles as documents; the question is title, colour and use in words."""
    rows = [json.loads(line) for line in (data("fashion") / "products.jsonl").read_text().splitlines()][:count]
    paths = [data("fashion") / "images" / f"{row['id']}.jpg" for row in rows]
    titles = [row["productDisplayName"] for row in rows]
    descriptions = [f"{row['gender']} {row['baseColour']} {row['articleType']} {row['usage']}" for row in rows]
    pictures = encode_pictures(bundle, paths)
    return Pairs(
        titles,
        bundle.text.encode(titles),
        descriptions,
        bundle.text.encode(descriptions),
        pictures,
        {},
        np.arange(len(rows)),
    )


def grocery(bundle: Bundle) -> Pairs:
    """Return the studio photographs of groceries with their titles in the shop; the question is the description."""
    with (data("grocery") / "classes.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    paths = [data("grocery") / row["Iconic Image Path (str)"].lstrip("/") for row in rows]
    descriptions, titles = [], []
    for row, path in zip(rows, paths, strict=True):
        descriptions.append(
            (data("grocery") / row["Product Description Path (str)"].lstrip("/")).read_text("utf-8").strip()
        )
        (about,) = path.parent.glob("*Information.txt")
        titles.append(re.search(r"Title:\s*(.+)", about.read_text("utf-8"))[1].strip())  # type: ignore[index]
    pictures = encode_pictures(bundle, paths)
    return Pairs(
        descriptions,
        bundle.text.encode(descriptions, "query"),
        titles,
        bundle.text.encode(titles),
        pictures,
        {},
        np.arange(len(rows)),
    )


def routed(space: Space, photographs: Pairs) -> list[list[str]]:
    """Return how often the first hit has the right modality: captions among passages, questions among pictures."""
    articles = json.loads((data("xquad") / "xquad.en.json").read_text(encoding="utf-8"))["data"]
    paragraphs = [p for article in articles for p in article["paragraphs"]]
    passages = [p["context"] for p in paragraphs]
    questions_of_passages = [qa["question"] for p in paragraphs for qa in p["qas"]][::2]
    cranfield = data("cranfield")
    abstracts = _records((cranfield / "cran.all.1400").read_text())
    aero = _records((cranfield / "cran.qry").read_text())
    bundle = space.bundle
    texts = [text for text in (*passages, *abstracts) if text.strip()]
    rows = bundle.text.encode(texts)
    documents = [(f"t{i:05d}", text, rows[i], None) for i, text in enumerate(texts)]
    documents += [(f"p{i:05d}", None, None, picture(photographs.pictures, i)) for i in range(len(photographs.asked))]
    sets = {
        "Flickr8k captions, meant for pictures": ("p", list(photographs.asked)),
        "XQuAD-en questions, meant for passages": ("t", questions_of_passages),
        "Cranfield questions, meant for abstracts": ("t", aero),
    }
    rows_of = []
    for name, (wanted, questions) in sets.items():
        vectors = bundle.text.encode(questions, "query")
        with world(space, documents, [(q, v, None) for q, v in zip(questions, vectors, strict=True)], []) as indexed:
            calibration = Calibration.from_bundle(bundle.spec)
            results = outcomes(
                indexed, calibration, {n: RANKINGS[n] for n in ("evidence (default)", "reciprocal ranks")}, 1
            )
        raw = vectors @ rows.T, vectors @ photographs.pictures["image"].T
        of_raw = (raw[1].max(1) > raw[0].max(1)) == (wanted == "p")
        cells = [100 * np.mean([o.ids[0][0] == wanted for o in result if o.ids]) for result in results.values()]
        rows_of.append([name, str(len(questions)), *(f"{c:.1f}" for c in cells), f"{100 * of_raw.mean():.1f}"])
    return rows_of


def _records(text: str) -> list[str]:
    return [" ".join(entry.split(".W\n", 1)[1].split()) for entry in text.split(".I ") if ".W\n" in entry]


def main() -> None:
    """Measure, print and keep the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dev", action="store_true", help="on the dev split, for choices; writes nothing")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    space = Space(Bundle())
    split = "dev" if options.dev else "test"
    sources = flickr_pairs(space.bundle, split, range(5), cut=True)
    mixed = sweep(space, sources, SHARES, options.seeds, "text")
    pictures = sweep(space, sources, FEWER, options.seeds, "image")
    parts = [
        f"Measured on {machine()}: {options.seeds} seeds (which document is shown how, which captions ask, which {QUESTIONS} of the documents are asked for). nDCG@10 in "
        f"percent; columns: the share of pictures, or picture : words : both.",
        "![nDCG@10 over the share of pictures](mixing.svg)",
        report(mixed, f"MixFlickr8k, {split} split, asked with a caption"),
        report(pictures, "The same asked with the picture, cropped and mirrored"),
    ]
    values = {"text": mixed, "image": pictures}
    if options.dev:
        print("\n\n".join(parts))
        return
    goods = sweep(space, [fashion(space.bundle, 1000)], FEWER, options.seeds, "text")
    parts.append(report(goods, "Fashion: 1,000 products, asked by title; words are kind, colour and use"))
    shelf = sweep(space, [grocery(space.bundle)], FEWER, options.seeds, "text")
    parts.append(report(shelf, "Grocery: 81 products, asked by description; words are the shop's title"))
    head = ["questions", "number", "default: right first", "reciprocal ranks", "raw cosine"]
    parts += [
        "**The right modality without a router**: 1,640 passages and 1,000 photographs in one collection; how often, in "
        "percent, is the first hit of the modality that the question is meant for?",
        table(head, routed(space, sources[0])),
    ]
    draw(mixed)
    values |= {"fashion": goods, "grocery": shelf}
    for cell in (cell for cells in values.values() for cell in cells.values()):
        del cell["gain by document"]
    keep("mixing", "\n\n".join(parts), values)


if __name__ == "__main__":
    main()
