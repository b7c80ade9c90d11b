"""What the default search is worth with a model that nobody measured, as every pulled one is.

    python benchmarks/unmeasured.py [--dev] [--seeds N]

The shipped model stands in for one: all that its bundle knows of its scores (background, curves, hubness bank, means)
is taken away and estimated anew without labels, as `commonplace models pull` and `commonplace add` do. The same
collections of pictures, captions and both are then searched three ways.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np

from common import interval, keep, machine, table
from commonplace.encoders import DEFAULT_BUNDLE, Bundle
from commonplace.encoders.default_calibration import write
from commonplace.retrieval import Calibration, Ranking
from commonplace.retrieval.background import learn, learned
from commonplace.space import Space
from mixing import QUESTIONS, shown
from worlds import PICTURE, WORDS, calibration_error, flickr_pairs, ndcgs, outcomes, picture, world

TAKEN = ("means", "score_stats", "hubness", "calibration", "quality")
SHARES: tuple[float | str, ...] = (0.0, 0.25, 0.5, 0.75, 1.0, "1:1:1")


def unmeasured(folder: Path) -> Space:
    """Return the shipped towers in a bundle that was never measured."""
    shutil.copytree(DEFAULT_BUNDLE, folder)
    spec = {name: value for name, value in Bundle(folder).spec.items() if name not in TAKEN}
    (folder / "bundle.json").write_text(json.dumps(spec))
    return Space(write(Bundle(folder)))


def main() -> None:
    """Measure, print and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dev", action="store_true", help="on the dev split, for choices; writes nothing")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    measured = Space(Bundle())
    (pairs,) = flickr_pairs(measured.bundle, "dev" if options.dev else "test")
    found: dict[str, dict[str, list[float]]] = {}
    errors: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as work:
        bare = unmeasured(Path(work) / "bare")
        for share in SHARES:
            for seed in range(options.seeds):
                draw = np.random.default_rng([seed, 7])
                kinds = shown(share, len(pairs.asked), seed)
                rows = np.sort(draw.permutation(pairs.rows)[:QUESTIONS])
                documents = [
                    (
                        f"{i:05d}",
                        pairs.told[i] if kind != PICTURE else None,
                        pairs.told_rows[i] if kind != PICTURE else None,
                        picture(pairs.pictures, i) if kind != WORDS else None,
                    )
                    for i, kind in enumerate(kinds)
                ]
                questions = [(pairs.asked[i], pairs.asked_rows[i], None) for i in rows]
                gains = [{f"{i:05d}": 1.0} for i in rows]
                with world(measured, documents, questions, gains) as here:
                    results = {"measured": outcomes(here, Calibration.from_bundle(measured.spec), {"": Ranking()})[""]}
                with world(bare, documents, questions, gains) as here:
                    rankings = {"default": Ranking(), "reciprocal ranks": Ranking(method="rrf")}
                    pulled = outcomes(here, Calibration.from_bundle(bare.spec), rankings)
                    results["estimated when pulled, drawn pictures"] = pulled["default"]
                    results["reciprocal ranks"] = pulled["reciprocal ranks"]
                    learn(bare, here.store)
                    calibration = Calibration.from_bundle(learned(bare, here.store))
                    results["estimated with the collection's pictures"] = outcomes(here, calibration, {"": Ranking()})[
                        ""
                    ]
                for name, result in results.items():
                    found.setdefault(name, {}).setdefault(str(share), []).extend(ndcgs(result, gains).tolist())
                    errors.setdefault(name, []).append(calibration_error(result, gains))
    rows_ = []
    for name, by in found.items():
        spread = interval(by["1:1:1"])
        cells = [f"{np.mean(by[str(share)]):.1f}" for share in SHARES]
        rows_.append([name, *cells, f"{spread[1]:.1f} to {spread[2]:.1f}", f"{np.mean(errors[name]):.3f}"])
    head = ["what is known of the scores", *map(str, SHARES), "95% at 1:1:1", "calibration error"]
    text = (
        f"Measured on {machine()}: Flickr8k {'dev' if options.dev else 'test'}, {options.seeds} seeds, {QUESTIONS} "
        "captions asked; nDCG@10 in percent by the share of pictures, or picture : words : both.\n\n"
        + table(head, rows_)
    )
    if options.dev:
        print(text)
    else:
        keep("unmeasured", text, {name: {s: float(np.mean(v)) for s, v in by.items()} for name, by in found.items()})


if __name__ == "__main__":
    main()
