"""A messy folder asked with pictures, and with a picture and words: photographs, captions, passages, products, shelves.

    python benchmarks/folder.py [--dev]

Some 3,000 documents of five sources in one collection; half of each source for choices (--dev), half for report. Store,
channels, fusion and evidence are the product's own (see worlds.py).
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from common import data, flickr8k, interval, keep, machine, table
from commonplace.encoders import Bundle
from commonplace.retrieval import Calibration, Ranking
from commonplace.space import Space
from fusion import Averaged
from worlds import (
    HELD,
    Outcome,
    Rows,
    View,
    calibration_error,
    encode_pictures,
    mirrored_crop,
    ndcgs,
    outcomes,
    picture,
    world,
)

KINDS = (
    ("dog", "dogs", "puppy"),
    ("child", "children", "boy", "girl", "kid", "toddler", "baby"),
    ("man", "men", "guy"),
    ("woman", "women", "lady"),
)
PLACES = {
    "in the snow": ("snow", "snowy"),
    "in the water": ("water", "pool", "ocean", "lake", "river", "swimming", "sea"),
    "on the grass": ("grass", "grassy", "lawn"),
    "on the beach": ("beach", "sand", "sandy", "shore"),
    "on a bike": ("bike", "bicycle", "bikes", "motorcycle", "biker"),
    "on the street": ("street", "sidewalk", "road", "city"),
    "with a ball": ("ball", "soccer", "tennis", "football", "basketball"),
}
COLOURS = ("but in {}", "the same in {}", "{}", "a {} {kind}")


@dataclass
class Folder:
    """Documents as ``worlds.world`` takes them, and sets of questions: (words, text vector, picture), gains."""

    documents: list[tuple[str, str | None, Rows | None, View | None]] = field(default_factory=list)
    sets: dict[str, list[tuple[tuple[str | None, Rows | None, View | None], dict[str, float], str]]] = field(
        default_factory=dict
    )

    def add(self, name: str, words: str | None, text: Rows | None, view: View | None) -> None:
        self.documents.append((name, words, text, view))

    def ask(
        self,
        name: str,
        words: str | None,
        text: Rows | None,
        view: View | None,
        gains: Mapping[str, float],
        own_picture: str = "",
    ) -> None:
        """Add a question; ``own_picture`` is its picture's document, which is no answer to a question that changes it."""
        self.sets.setdefault(name, []).append(((words, text, view), dict(gains), own_picture))


def captions_with(captions: Sequence[str], words: Sequence[str]) -> int:
    """Return how many of a picture's captions say one of the words."""
    return sum(bool(set(re.findall(r"[a-z]+", caption.lower())) & set(words)) for caption in captions)


def caption_similarity(bundle: Bundle, captions: Sequence[Sequence[str]]) -> Rows:
    """Return how alike the captions of two pictures are, all of each together: cosines (n, n), 0 with itself."""
    rows = bundle.text.encode([text for texts in captions for text in texts]).reshape(len(captions), 5, -1).mean(1)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    alike = rows @ rows.T
    np.fill_diagonal(alike, 0)
    return np.asarray(alike, np.float32)


def photographs(folder: Folder, bundle: Bundle, split: str, draw: np.random.Generator) -> None:
    """Add photographs: of five, three as the picture, one as a caption, one as both; every tenth is kept out."""
    captions_of = flickr8k(split)
    paths = [data("flickr8k") / "images" / name for name in captions_of]
    captions = list(captions_of.values())
    views, cut = encode_pictures(bundle, paths), encode_pictures(bundle, paths, mirrored_crop)
    caption_rows = bundle.text.encode([texts[0] for texts in captions])
    query_ids = np.arange(len(paths))[HELD] if split == "dev" else np.arange(len(paths))
    shown = draw.choice(["picture", "picture", "picture", "words", "both"], len(paths))
    out = set(draw.permutation(query_ids)[: len(query_ids) // 10].tolist())
    for i in range(len(paths)):
        name, view = f"flickr{i:05d}", picture(views, i)
        if i in out:
            folder.ask("nothing like it is there", None, None, picture(cut, i), {})
            continue
        words = captions[i][0] if shown[i] != "picture" else None
        folder.add(name, words, caption_rows[i] if words else None, view if shown[i] != "words" else None)
        if i not in query_ids:
            continue
        if shown[i] == "words":
            folder.ask("its caption alone", None, None, view, {name: 1.0})
        else:
            folder.ask("another shot", None, None, picture(cut, i), {name: 1.0})
    alike = caption_similarity(bundle, captions)
    for i in draw.permutation(query_ids)[:150].tolist():
        near = {
            f"flickr{j:05d}": float((alike[i, j] - 0.5) / 0.3) for j in np.flatnonzero(alike[i] >= 0.6) if j not in out
        }
        if near and i not in out:
            folder.ask("the same kind of scene", None, None, picture(views, i), near, f"flickr{i:05d}")
    in_it = [i for i in range(len(paths)) if i not in out and shown[i] != "words"]
    asking = sorted(set(query_ids.tolist()))
    for nouns in KINDS:
        of = [i for i in range(len(paths)) if captions_with(captions[i], nouns) >= 3]
        for place, marks in PLACES.items():
            right = {f"flickr{i:05d}": 1.0 for i in of if i in in_it and captions_with(captions[i], marks) >= 2}
            start = [i for i in of if i in asking and not captions_with(captions[i], marks)]
            if len(right) < 3:
                continue
            for i in draw.permutation(start)[:12].tolist():
                text = bundle.text.encode([place], "query")[0]
                folder.ask("a photograph, elsewhere", place, text, picture(views, i), right, f"flickr{i:05d}")


def products(folder: Folder, bundle: Bundle, half: int, draw: np.random.Generator) -> None:
    """Add product pictures; ask for the same thing in another colour."""
    rows = [json.loads(line) for line in (data("fashion") / "products.jsonl").read_text().splitlines()][half::2]
    views = encode_pictures(bundle, [data("fashion") / "images" / f"{row['id']}.jpg" for row in rows])
    having: dict[tuple[str, str, str], list[int]] = {}
    for i, row in enumerate(rows):
        folder.add(f"product{i:05d}", None, None, picture(views, i))
        having.setdefault((row["articleType"], row["gender"], row["baseColour"]), []).append(i)
    common = [colour for colour, _ in Counter(row["baseColour"] for row in rows).most_common(12)]
    for n, i in enumerate(draw.permutation(len(rows))[:400].tolist()):
        kind, gender = rows[i]["articleType"], rows[i]["gender"]
        others = [c for c in common if c != rows[i]["baseColour"] and len(having.get((kind, gender, c), ())) >= 2]
        if others:
            colour = others[draw.integers(len(others))]
            words = COLOURS[n % len(COLOURS)].format(colour.lower(), kind=kind.lower())
            gains = {f"product{j:05d}": 1.0 for j in having[kind, gender, colour]}
            text = bundle.text.encode([words], "query")[0]
            folder.ask("a product, in another colour", words, text, picture(views, i), gains, f"product{i:05d}")


def shelves(folder: Folder, bundle: Bundle, half: int, draw: np.random.Generator) -> None:
    """Add photographs of groceries on shelves, ten of a product at most, and their descriptions; ask with another."""
    root = data("grocery")
    with (root / "classes.csv").open(newline="", encoding="utf-8") as file:
        about = {int(row["Class ID (int)"]): row for row in csv.DictReader(file)}
    by: dict[int, list[str]] = {}
    for line in (root / "photos.txt").read_text().splitlines():
        path, product, _ = line.split(", ")
        if int(product) % 2 == half:
            by.setdefault(int(product), []).append(path)
    for product, paths in sorted(by.items()):
        sampled = draw.permutation(sorted(paths))[:13].tolist()
        views = encode_pictures(bundle, [root / path for path in sampled])
        gains = {f"shelf{product:02d}{n}": 1.0 for n in range(len(sampled[:10]))}
        for n, name in enumerate(list(gains)):
            folder.add(name, None, None, picture(views, n))
        text = (root / about[product]["Product Description Path (str)"].lstrip("/")).read_text("utf-8").strip()
        gains[f"label{product:02d}"] = 1.0
        folder.add(f"label{product:02d}", text, bundle.text.encode([text])[0], None)
        for n in range(10, len(sampled)):
            folder.ask("more of the product", None, None, picture(views, n), gains)


def passages(folder: Folder, bundle: Bundle, half: int) -> None:
    """Add encyclopedia passages and abstracts."""
    articles = json.loads((data("xquad") / "xquad.en.json").read_text(encoding="utf-8"))["data"]
    texts = [p["context"] for article in articles for p in article["paragraphs"]][half::2]
    records = re.split(r"^\.I .*$", (data("cranfield") / "cran.all.1400").read_text(errors="replace"), flags=re.M)[1:]
    abstracts = [" ".join(r.partition("\n.W\n")[2].split()) for r in records][half::2]
    texts += [text for text in abstracts if text]
    for i, (text, row) in enumerate(zip(texts, bundle.text.encode(texts), strict=True)):
        folder.add(f"passage{i:05d}", text, row, None)


def folder_of(bundle: Bundle, dev: bool) -> Folder:
    folder, draw, half = Folder(), np.random.default_rng(0), 0 if dev else 1
    photographs(folder, bundle, "dev" if dev else "test", draw)
    products(folder, bundle, half, draw)
    shelves(folder, bundle, half, draw)
    passages(folder, bundle, half)
    return folder


RANKINGS = {
    "default": Ranking(),
    "reciprocal ranks": Ranking(method="rrf"),
    "relative score": Averaged(scale="relative"),
}


def without_own_picture(outcome: Outcome, own_picture: str) -> Outcome:
    """Return the first ten hits that are not the question's own picture."""
    positions = [at for at, id_ in enumerate(outcome.ids) if id_ != own_picture][:10]
    return Outcome([outcome.ids[at] for at in positions], [outcome.confidences[at] for at in positions])


def line(name: str, results: Sequence[Outcome], gains: Sequence[Mapping[str, float]]) -> list[object]:
    mean, low, high = interval(ndcgs(results, gains).tolist())
    first = [outcome.confidences[0] for outcome in results if outcome.confidences]
    right = [
        c
        for outcome, relevant in zip(results, gains, strict=True)
        for i, c in zip(outcome.ids, outcome.confidences, strict=True)
        if i in relevant
    ]
    texts = np.mean([i.startswith("passage") for outcome in results for i in outcome.ids])
    return [
        name,
        len(results),
        f"{mean:.1f} ({low:.1f} to {high:.1f})",
        f"{100 * np.mean([outcome.ids[0] in relevant for outcome, relevant in zip(results, gains, strict=True)]):.1f}",
        f"{np.median(right) if right else float('nan'):.2f}",
        f"{np.median(first):.2f}",
        f"{100 * texts:.0f}",
        f"{calibration_error(results, gains):.3f}",
    ]


HEAD = ["asked with", "questions", "nDCG@10", "first is right, %", "confidence of what is right", "of the first hit",
        "passages among ten, %", "calibration error"]  # fmt: skip


def measure(space: Space, folder: Folder, rankings: Mapping[str, Ranking]) -> dict[str, dict[str, list[object]]]:
    """Return a line of figures by ranking and set of questions."""
    calibration = Calibration.from_bundle(space.bundle.spec)
    rows: dict[str, dict[str, list[object]]] = {name: {} for name in rankings}
    with world(space, folder.documents, [], []) as indexed:
        for name, queries in folder.sets.items():
            indexed = indexed.asked(space, [question for question, _, _ in queries])
            gains = [right for _, right, _ in queries]
            for ranking, results in outcomes(indexed, calibration, rankings, 11).items():
                shown = [
                    without_own_picture(outcome, own_picture)
                    for outcome, (_, _, own_picture) in zip(results, queries, strict=True)
                ]
                rows[ranking][name] = line(name, shown, gains)
    return rows


def near_duplicates(dev: bool, count: int = 300) -> list[list[object]]:
    """Return a line for each way to save a picture again: the first hit, asked with it, and its confidence.

    Through the product whole: what is asked for is compared with thumbnails.
    """
    import commonplace

    names = list(flickr8k("dev" if dev else "test"))[-count:]
    ways: dict[str, Callable[[Image.Image, Path], None]] = {
        "the same file": lambda image, to: image.save(to, "PNG"),
        "at half the size": lambda image, to: image.resize((image.width // 2, image.height // 2)).save(to, "PNG"),
        "as JPEG of quality 50": lambda image, to: image.save(to, "JPEG", quality=50),
        "cropped and mirrored": lambda image, to: Image.fromarray(mirrored_crop(np.asarray(image))).save(to, "PNG"),
    }
    lines: list[list[object]] = []
    with tempfile.TemporaryDirectory() as work:
        originals = Path(work) / "photographs"
        originals.mkdir()
        for name in names:
            shutil.copyfile(data("flickr8k") / "images" / name, originals / name)
        with commonplace.open(Path(work) / "collection") as collection:
            collection.add(originals)
            for way, save in ways.items():
                right, sure = [], []
                for name in names[::2]:
                    save(Image.open(originals / name).convert("RGB"), Path(work) / "asked")
                    hit = collection.search(image=Path(work) / "asked", k=1)[0]
                    right.append(Path(hit.item.document.path).name == name)
                    sure.append(hit.confidence)
                lines.append(
                    [way, len(right), f"{100 * np.mean(right):.1f}", f"{np.median(sure):.3f}", f"{np.min(sure):.3f}"]
                )
    return lines


def main() -> None:
    """Measure, print and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dev", action="store_true", help="the half for choices; writes nothing")
    options = parser.parse_args()
    space = Space(Bundle())
    folder = folder_of(space.bundle, options.dev)
    rows = measure(space, folder, RANKINGS)
    again = near_duplicates(options.dev)
    text = (
        f"Measured on {machine()}. {len(folder.documents):,} documents in one collection. Medians of confidences; intervals are "
        "95% bootstrap over questions.\n\n"
        + "\n\n".join(f"**{name}**\n\n{table(HEAD, list(lines.values()))}" for name, lines in rows.items())
        + "\n\n**A picture saved again, among 300 photographs**\n\n"
        + table(["asked with", "questions", "first is right, %", "its confidence", "least"], again)
    )
    print(text) if options.dev else keep("folder", text, {"mixed": rows, "copies": again})


if __name__ == "__main__":
    main()
