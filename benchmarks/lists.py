"""What lists of codes leave unread, and what sifting leaves unscored, by kind of question.

    python benchmarks/lists.py [--cache DIR] [--size 1000000]

The rows of ``store.py`` as one snapshot with the index that a build chooses for a recall of .99, measured with the
bundle's own questions. Asked: those (they chose), captions of test photographs, XQuAD's questions, and words alone.

First table: the codes that must be read so that .99 of the exact best ten are in the lists read, by a fixed number of
lists and by a gap beyond the nearest one; and the gap that this takes: one that is alike for all kinds can be measured
with one of them. Second: the candidates a hit needed for .99 by the codes' bits alone, and as they are sifted by the
question's numbers. Third: searches with all codes and with lists, ten hits and a hundred.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

import store
from common import keep, machine, table

WORDS = [
    "cat",
    "engine",
    "tax law",
    "blue shirt",
    "python import error",
    "wing flutter at supersonic speed",
    "who won",
    "heat transfer",
    "children playing",
    "install package",
    "river",
    "battle",
    "football",
    "dog beach",
    "how to mount a disk",
    "WSL network",
    "boundary layer",
    "church history",
    "dance",
    "snow mountain",
    "pancakes",
    "stock market",
    "violin",
    "airport",
    "green bicycle",
    "winter coat",
    "old castle",
    "software licence",
    "market in the rain",
    "two brothers",
]
RECALL = 0.99


def needed(values: np.ndarray, share: float = RECALL) -> float:
    """Return the least that reaches ``share`` of the hits."""
    return float(np.quantile(values, share, method="higher"))


def main() -> None:
    """Build the snapshot, ask it, and keep the tables."""
    import faiss

    from commonplace.encoders import Bundle
    from commonplace.store.codes import EACH, lists_for, train
    from commonplace.store.index_file import IndexFile, Info, write
    from commonplace.store.index_view import IndexView, Measure

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "commonplace-store-benchmark")
    parser.add_argument("--size", type=int, default=1_000_000)
    options = parser.parse_args()
    size = options.size
    rows = np.load(options.cache / "rows.npy")[:size]
    asked, bundle = np.load(options.cache / "asked.npy"), Bundle()
    own = bundle.questions("text", False)
    assert own is not None
    kinds = {
        "the bundle's": own[:: max(1, len(own) // 256)][:256],
        "captions": asked[:100],
        "XQuAD": asked[100:],
        "words": bundle.text.encode(WORDS),
    }
    lists = lists_for(size)
    centre = rows[:: max(1, size // 16_384)].mean(axis=0)
    with tempfile.TemporaryDirectory(dir=options.cache) as work:
        path = Path(work) / "text.snapshot"
        started = time.perf_counter()
        centroids = train(np.ascontiguousarray(rows[:: size // (EACH * lists)]), lists)
        trained = time.perf_counter() - started
        lists = len(centroids)
        blocks = ((np.arange(i, min(i + 16_384, size)), rows[i : i + 16_384], None) for i in range(0, size, 16_384))
        measure = Measure(lambda offset: None if offset else own, RECALL, lambda: False)
        write(
            path, Info("text", "", "", 0, size, 0, size, store.DIM), blocks, centre, measure, lambda: False, centroids
        )
        base = IndexFile(path)
        index = IndexView(base, np.empty(0, np.int64), np.empty((0, store.DIM), np.float32))
        codes = base.codes
        assert codes is not None and codes.lists is not None
        sizes = np.diff(codes.lists.starts)
        owners = np.empty(size, np.int64)
        owners[codes.rows(np.arange(size))] = np.repeat(np.arange(lists), sizes)
        reading, sifting, searching = [], [], []
        gaps = dict(base.info.gaps)
        for name, questions in kinds.items():
            _, exact = faiss.knn(questions, rows, 100, metric=faiss.METRIC_INNER_PRODUCT)
            ten = exact[:, :10]
            distances = codes.lists.distances(questions)
            further = distances - distances.min(axis=1, keepdims=True)
            order = np.argsort(distances, axis=1)
            rank = np.argsort(order, axis=1)
            number = needed(np.take_along_axis(rank, owners[ten], axis=1))
            gap = needed(np.take_along_axis(further, owners[ten], axis=1))
            by_number = float(np.mean([sizes[row[: int(number) + 1]].sum() for row in order])) / size
            by_gap = float((sizes * (further <= gap)).sum(axis=1).mean()) / size
            reading.append([name, len(questions), int(number) + 1, by_number, gap, by_gap])
            deep = codes.ranked(questions, centre, 20_000)
            bits, numbers = [], []
            for query, best, found in zip(questions, ten, deep, strict=True):
                places = codes.rows(found)
                bits += [int(np.flatnonzero(places == one)[0]) if one in places else len(places) for one in best]
                kept = found[: 10 * int(base.info.depths["same"])]
                score = np.unpackbits(codes.bits[kept], axis=1)
                score = np.argsort(np.argsort(-(score @ _weights(query, centre)), kind="stable"))
                at = {int(place): int(score[n]) for n, place in enumerate(codes.rows(kept).tolist())}
                numbers += [at.get(int(one), 20_000) for one in best]
            sifting.append([name, (needed(np.array(bits)) + 1) / 10, (needed(np.array(numbers)) + 1) / 10])
            for hits in (10, 100):
                line: list[object] = [name, hits]
                for chosen in ({}, gaps):
                    base.info.gaps.clear()
                    base.info.gaps.update(chosen)

                    def search(query: np.ndarray, hits: int = hits) -> list[int]:
                        found: list[int] = index.search(query, hits, None).keys.tolist()
                        return found

                    spent, found = store.timed(search, list(questions))
                    same = [len(set(a) & set(b.tolist())) / hits for a, b in zip(found, exact[:, :hits], strict=True)]
                    line += [spent["p50"], spent["p95"], float(np.mean(same))]
                searching.append(line)
        info = base.info
    text = (
        f"Measured on {machine()}. {size:,} rows in {lists} lists of {sizes.min()} to {sizes.max():,}; centroids trained in "
        f"{trained:.1f} s. Chosen for .99: {info.depths['same']:.0f} candidates a hit, {info.shares['same']:.2f} of them "
        f"scored, gaps {gaps['same'][0]:.3f} and {gaps['same'][1]:.3f}.\n\n"
        + table(["questions", "n", "lists for .99", "codes read", "gap for .99", "codes read"], reading)
        + "\n\n"
        + table(["questions", "candidates a hit for .99, by bits", "sifted by numbers"], sifting)
        + "\n\n"
        + table(
            ["questions", "hits", "all codes: p50, ms", "p95", "recall", "lists: p50, ms", "p95", "recall"], searching
        )
    )
    keep("lists", text, {"reading": reading, "sifting": sifting, "searching": searching})


def _weights(query: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Return what each bit counts, as :meth:`commonplace.store.codes.Codes.sifted` weighs them."""
    from commonplace.store.codes import _threes

    near = (query - centre)[None]
    return np.asarray(np.hstack([near, _threes(near) / 3])[0], np.float32)


if __name__ == "__main__":
    main()
