"""What fair ranking costs: milliseconds of a whole search over those of its channels alone, in a collection of 10,000 items.

    python benchmarks/overhead.py [--items N]

Half of the items are captions with their words, half pictures; vectors are random, questions are captions with
vectors near their own. The steps take turns, a question at a time; encoding the question is not counted.
"""

from __future__ import annotations

import argparse
import time
from itertools import islice, pairwise

import numpy as np

from common import flickr8k, keep, machine, table
from commonplace.encoders import Bundle
from commonplace.retrieval import Calibration, EncodedQuery, Ranking, candidates, fuse, search
from commonplace.space import Space
from commonplace.types import Filter
from worlds import Rows, world

QUESTIONS = 300
STEPS = ("the channels alone, one after the other", "candidates: the channels in threads, what each says of every item", "fusion",
         "a whole search, the best ten")  # fmt: skip


def main() -> None:
    """Measure, print and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=10_000)
    count = parser.parse_args().items
    draw = np.random.default_rng(0)
    space = Space(Bundle())
    calibration, where, ranking = Calibration.from_bundle(space.bundle.spec), Filter(), Ranking()

    def rows(n: int) -> Rows:
        found = draw.normal(size=(n, space.dim)).astype(np.float32)
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)

    words = list(islice((text for texts in flickr8k("train").values() for text in texts), count))
    texts, pictures, visual = rows(count), rows(count), rows(count)
    documents = [
        (f"{n:06d}", words[n], texts[n], None)
        if n % 2
        else (f"{n:06d}", None, None, {"image": pictures[n], "visual": visual[n]})
        for n in range(count)
    ]
    asked = [(words[n], texts[n] + 0.1 * rows(1)[0], None) for n in range(1, min(count, 2 * QUESTIONS), 2)]
    times = []
    with world(space, documents, asked, []) as here:

        def bare(q: EncodedQuery) -> None:
            here.store.search_text(q.words or "", 100, where)
            here.store.search("text", q.vectors.text, 100, where)
            here.store.search("image", q.vectors.text, 100, where, cross_modal=True)

        for q in here.questions:
            at = [time.perf_counter()]
            bare(q)
            at.append(time.perf_counter())
            _, channels = candidates(here.store, q, k=10, where=where, ranking=ranking)
            at.append(time.perf_counter())
            fuse(channels, ranking, calibration, count)
            at.append(time.perf_counter())
            search(here.store, q, calibration, k=10, where=where, ranking=ranking)
            at.append(time.perf_counter())
            times.append([1000 * (b - a) for a, b in pairwise(at)])
    found = np.quantile(np.array(times[len(asked) // 10 :]), [0.25, 0.5, 0.75], axis=0)  # the first warm up
    lines = [[step, *(f"{v:.1f}" for v in column)] for step, column in zip(STEPS, found.T, strict=True)]
    text = f"Measured on {machine()}; {count:,} items, {len(asked)} questions in words; milliseconds.\n\n" + table(
        ["step", "first quartile", "median", "third quartile"], lines
    )
    keep("overhead", text, {line[0]: line[1:] for line in lines})


if __name__ == "__main__":
    main()
