"""CLIP ViT-B/32 through our bundle against the figures that others published for it, on Flickr30k or COCO.

    commonplace models pull clip-b32
    python benchmarks/clip_parity.py dataset_flickr30k.json flickr30k-images
    python benchmarks/clip_parity.py dataset_coco.json coco        # holds train2014/ and val2014/

For anyone who has the pictures and a way to a hub: neither is at hand where this project is tested, so no table of it is
kept here. The first argument is Karpathy's list of captions and splits; the test split's first five captions of each
picture ask, and its pictures are asked for. Cosines alone decide, as in the published figures: no hubness, no prompt.
Reference: the open_clip project's table of retrieval results (ViT-B-32, openai), read in 2026; tolerance: half a point.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from common import table
from commonplace.encoders import Bundle, find
from commonplace.evaluation import rounding
from commonplace.readers import load_picture

PUBLISHED = {  # text -> image, then image -> text: recall in percent at 1, 5 and 10
    "flickr30k": ((58.78, 83.56, 90.02), (78.90, 94.90, 98.20)),
    "coco": ((30.44, 55.94, 66.87), (50.12, 75.00, 83.52)),
}
TOLERANCE = 0.5
BATCH = 256


def ranks(asked: np.ndarray, rows: np.ndarray, right: list[np.ndarray]) -> np.ndarray:
    """Return the place (from 0) of the best right row for each question."""
    found = []
    for start in range(0, len(asked), 1000):
        scores = asked[start : start + 1000] @ rows.T
        for i, own in enumerate(right[start : start + 1000]):
            ahead = scores[i] >= scores[i, own].max() - rounding(rows.shape[1])  # a tie counts against
            ahead[own] = False
            found.append(int(ahead.sum()))
    return np.array(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captions", type=Path, help="Karpathy's JSON: pictures, captions, splits")
    parser.add_argument("pictures", type=Path, help="folder of the pictures")
    parser.add_argument("--model", default="clip-b32")
    parser.add_argument(
        "--published", choices=sorted(PUBLISHED), help="figures to compare with (default: by file name)"
    )
    options = parser.parse_args()
    entries = [one for one in json.loads(options.captions.read_text())["images"] if one["split"] == "test"]
    bundle = Bundle(find(options.model))
    if bundle.text is None or bundle.image is None or not entries:
        raise SystemExit("a model with both towers and a list with a test split are needed")
    files = [options.pictures / one.get("filepath", "") / one["filename"] for one in entries]
    shown = np.concatenate(
        [
            bundle.image.encode([load_picture(file).pixels for file in files[at : at + BATCH]])
            for at in range(0, len(files), BATCH)
        ]
    )
    told = [[sentence["raw"].strip() for sentence in one["sentences"][:5]] for one in entries]
    owner = np.repeat(np.arange(len(told)), [len(texts) for texts in told])
    asked = bundle.text.encode([text for texts in told for text in texts], "query")
    to_pictures = ranks(asked, shown, [np.array([i]) for i in owner])
    to_texts = ranks(shown, asked, [np.flatnonzero(owner == i) for i in range(len(told))])
    name = options.published or next((one for one in PUBLISHED if one in options.captions.name.casefold()), None)
    lines, worst = [], 0.0
    for at, (direction, places) in enumerate((("text -> image", to_pictures), ("image -> text", to_texts))):
        own = [100 * float((places < k).mean()) for k in (1, 5, 10)]
        said = PUBLISHED[name][at] if name else ()
        worst = max([worst, *(abs(a - b) for a, b in zip(own, said, strict=False))])
        lines.append(
            [direction, *(f"{value:.2f}" for value in own), " / ".join(f"{value:.2f}" for value in said) or "-"]
        )
    print(f"{len(files)} pictures, {len(asked)} captions, {bundle.name}\n")
    print(table(["direction", "R@1", "R@5", "R@10", "published"], lines))
    if name:
        print(f"\nfurthest from the published figures: {worst:.2f} points (tolerance {TOLERANCE})")
        sys.exit(worst > TOLERANCE)


if __name__ == "__main__":
    main()
