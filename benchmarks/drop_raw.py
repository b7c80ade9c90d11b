"""What ``compress --drop-raw`` saves and costs: bytes, the recall that it measures itself, and that of other questions.

    python benchmarks/drop_raw.py [--pictures N]

The collection: pictures of Flickr8k's test split and the documentation pages. The other questions: captions of the dev
split's pictures ask texts and pictures, pictures of that split ask pictures, each by their exact best ten before and after.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

import commonplace as cp
from common import data, flickr8k, interval, keep, table
from commonplace.types import Filter, Query

ASKED = 300  # of each direction


def best(kb: cp.Collection, questions: dict[str, list[np.ndarray]]) -> dict[str, list[set[str]]]:
    """Return the ids of the best ten of each question, by direction."""
    parts = {direction: direction.split("->")[1] for direction in questions}
    return {
        direction: [
            set(kb.store.search(parts[direction], one, 10, Filter(), cross_modal=direction in ("words->image",)).ids)
            for one in vectors
        ]
        for direction, vectors in questions.items()
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=1000)
    options = parser.parse_args()
    folder = next(path.parent for path in data("flickr8k").rglob("*.jpg"))
    dev = flickr8k("dev")
    with tempfile.TemporaryDirectory() as place, cp.open(Path(place) / "kb") as kb:
        pictures = [folder / name for name in sorted(flickr8k("test"))[: options.pictures]]
        kb.add(*pictures, data("docs_wsl"), ocr=False)
        words = [kb.space.ask(Query(dev[name][0])).text for name in sorted(dev)[:ASKED]]
        shown = [kb._ask(None, folder / name, None, None).vectors for name in sorted(dev)[:ASKED]]
        questions = {
            "words->text": words,
            "words->image": words,
            "picture->image": [one.image for one in shown],
            "picture->look": [one.visual for one in shown],
        }
        questions = {name: [one for one in found if one is not None] for name, found in questions.items()}
        before, vectors = best(kb, questions), kb.status()["vectors"]
        kb.vacuum()
        size, database = kb.status()["bytes"], (kb.folder / "collection.db").stat().st_size
        made = kb.compress(0.99, drop_raw=True)
        after = best(kb, questions)
        sizes = {
            "all": (size, kb.status()["bytes"]),
            "database": (database, (kb.folder / "collection.db").stat().st_size),
        }
        assert kb.doctor() == []
    same = {
        name: interval([len(a & b) / len(a) for a, b in zip(before[name], after[name], strict=True)])
        for name in questions
    }
    text = "\n\n".join(
        [
            f"`compress --drop-raw`: {vectors} vectors of 384 dimensions.",
            table(
                ["bytes", "before, MB", "after, MB"], [[name, a / 1e6, b / 1e6] for name, (a, b) in sizes.items()]
            ),
            table(
                ["partition", "recall@10 that it measured"],
                [[name, ", ".join(f"{k} {v:.4f}" for k, v in one["recall"].items())] for name, one in made.items()],
            ),
            table(
                ["other questions", "n", "recall@10", "95% interval"],
                [[name, len(questions[name]), f"{m:.4f}", f"{low:.4f} to {high:.4f}"] for name, (m, low, high) in same.items()],
            ),
        ]
    )  # fmt: skip
    keep("drop_raw", text, {"vectors": vectors, "bytes": sizes, "measured": made, "other questions": same})


if __name__ == "__main__":
    main()
