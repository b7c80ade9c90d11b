"""Figures on PDF pages: are they found where a person sees them, and with their captions?

python benchmarks/figures.py

The labels (labels/figures.json) were drawn by hand on rendered pages: file, page, box as fractions of the page, the
beginning of the caption. Half of the files (dev) may be looked at while the detector is changed; test is reported. A
page's own picture, which stands for pages without text, is no claim of a figure.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from pathlib import Path

from common import data, keep, table
from commonplace.encoders import Bundle
from commonplace.readers import ReadOptions, read
from commonplace.types import Box

LABELS = Path(__file__).parent / "labels" / "figures.json"
WHOLE = (0.0, 0.0, 1.0, 1.0)


def overlap(one: Box, other: Box) -> float:
    """Return the intersection of two boxes over their union, in [0, 1]."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    both = max(0.0, across) * max(0.0, down)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return both / max(1e-9, sum(areas) - both)


def matched(gold: list[dict], found: list[tuple[Box, str | None]]) -> tuple[list[tuple[dict, str | None]], int]:
    """Return gold labels with the captions of what was found there at IoU .5, and how many were found for nothing."""
    pairs = sorted(
        ((overlap(tuple(label["box"]), box), i, j) for i, label in enumerate(gold) for j, (box, _) in enumerate(found)),
        reverse=True,
    )
    left, right = set(range(len(gold))), set(range(len(found)))
    hits = []
    for share, i, j in pairs:
        if share >= 0.5 and i in left and j in right:
            left.remove(i)
            right.remove(j)
            hits.append((gold[i], found[j][1]))
    return hits, len(right)


def main() -> None:
    """Read the labelled files, compare, keep the table."""
    text = Bundle().text
    options = ReadOptions(str(text.tokenizer_path), text.max_tokens)
    labels = defaultdict(list)
    for label in json.loads(LABELS.read_text()):
        labels[label["split"], label["file"]].append(label)
    rows, values = [], {}
    for split in ("dev", "test"):
        counts = []  # by file: right, found, labelled, captions right, captions labelled
        for (part, name), gold in sorted(labels.items()):
            if part != split:
                continue
            folder, _, rest = name.partition("/")
            items = [one for one in read(data(folder) / rest, options).items if one.modality == "image"]
            right = spare = captions = 0
            pages = {label["page"] for label in gold} | {item.span.page for item in items}
            for page in pages:
                here = [label for label in gold if label["page"] == page]
                found = [(i.span.box, i.text) for i in items if i.span.page == page and i.span.box != WHOLE]
                hits, more = matched(here, found)
                right, spare = right + len(hits), spare + more
                captions += sum((caption or "").startswith(label["caption"] or "\0") for label, caption in hits)
                if split == "dev" and (more or len(hits) < len(here)):
                    print(f"  {split} {name} page {page}: {len(hits)} of {len(here)} found, {more} for nothing")
            counts.append(
                (right, right + spare, len(gold), captions, sum(label["caption"] is not None for label in gold))
            )
        score = f1(counts)
        draw = random.Random(0)
        spread = sorted(f1(draw.choices(counts, k=len(counts))) for _ in range(2000))
        low, high = spread[50], spread[1949]
        right, found, gold_count, captions, stated = (sum(column) for column in zip(*counts, strict=True))
        cells = [f"{right / max(1, found):.2f}", f"{right / gold_count:.2f}", f"{score:.2f} ({low:.2f} to {high:.2f})"]
        rows.append([split, len(counts), gold_count, *cells, f"{captions} of {stated}"])
        values[split] = {"files": len(counts), "labels": gold_count, "f1": score, "low": low, "high": high}
    text = "Figures on PDF pages at IoU .5, against labels drawn by hand; intervals over files. Goal: F1 .85.\n\n"
    keep("figures", text + table(["", "files", "figures", "precision", "recall", "F1", "captions"], rows), values)


def f1(counts: list[tuple[int, int, int, int, int]]) -> float:
    """Return the F1 of right boxes among those found and those labelled."""
    right, found, gold = (sum(count[at] for count in counts) for at in range(3))
    return 2 * right / max(1, found + gold)


if __name__ == "__main__":
    main()
