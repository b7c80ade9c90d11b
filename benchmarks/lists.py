"""What IVF cells leave unread, and what rescoring leaves unscored, by kind of query.

    python benchmarks/lists.py [--cache DIR] [--size 1000000]

The rows of ``store.py`` as one snapshot with the index that a build chooses for a recall of .99, measured with the
bundle's own questions. Asked: those (they chose), captions of test photographs, XQuAD's questions, and words alone.

First table: the codes that must be read so that .99 of the exact best ten are in the cells read, by a fixed number of
cells and by a radius beyond the nearest one; and the radius that this takes: one that is alike for all kinds can be measured
with one of them. Second: the candidates a hit needed for .99 by the codes' bits alone, and as they are rescored by the
query's numbers. Third: searches with all codes and with cells, ten hits and a hundred.
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
    from commonplace.store.codes import ROWS_PER_CENTROID, cells_for, train
    from commonplace.store.index_file import IndexFile, Info, write
    from commonplace.store.index_view import IndexView
    from commonplace.store.measuring import Measure
    from commonplace.store.options import DEFAULT

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
    cells = cells_for(size)
    centre = rows[:: max(1, size // 16_384)].mean(axis=0)
    with tempfile.TemporaryDirectory(dir=options.cache) as work:
        path = Path(work) / "text.index"
        started = time.perf_counter()
        centroids = train(np.ascontiguousarray(rows[:: size // (ROWS_PER_CENTROID * cells)]), cells)
        trained = time.perf_counter() - started
        cells = len(centroids)
        blocks = ((np.arange(i, min(i + 16_384, size)), rows[i : i + 16_384], None) for i in range(0, size, 16_384))
        measure = Measure(lambda offset: None if offset else own, RECALL, lambda: False, DEFAULT)
        write(
            path, Info("text", "", "", 0, size, 0, size, store.DIM), blocks, centre, measure, lambda: False, centroids
        )
        base = IndexFile(path)
        index = IndexView(base, np.empty(0, np.int64), np.empty((0, store.DIM), np.float32))
        codes = base.codes
        assert codes is not None and codes.cells is not None
        sizes = np.diff(codes.cells.starts)
        owners = np.empty(size, np.int64)
        owners[codes.rows(np.arange(size))] = np.repeat(np.arange(cells), sizes)
        reading, rescoring, searching = [], [], []
        radii = dict(base.info.probe_radius)
        for name, questions in kinds.items():
            _, exact = faiss.knn(questions, rows, 100, metric=faiss.METRIC_INNER_PRODUCT)
            ten = exact[:, :10]
            distances = codes.cells.distances(questions)
            further = distances - distances.min(axis=1, keepdims=True)
            order = np.argsort(distances, axis=1)
            rank = np.argsort(order, axis=1)
            number = needed(np.take_along_axis(rank, owners[ten], axis=1))
            radius = needed(np.take_along_axis(further, owners[ten], axis=1))
            by_number = float(np.mean([sizes[row[: int(number) + 1]].sum() for row in order])) / size
            by_radius = float((sizes * (further <= radius)).sum(axis=1).mean()) / size
            reading.append([name, len(questions), int(number) + 1, by_number, radius, by_radius])
            deep = codes.ranked(questions, centre, 20_000)
            bits, numbers = [], []
            for query, best, found in zip(questions, ten, deep, strict=True):
                places = codes.rows(found)
                bits += [int(np.flatnonzero(places == one)[0]) if one in places else len(places) for one in best]
                kept = found[: 10 * int(base.info.oversampling["same"])]
                score = np.unpackbits(codes.bits[kept], axis=1)
                score = np.argsort(np.argsort(-(score @ _weights(query, centre)), kind="stable"))
                at = {int(place): int(score[n]) for n, place in enumerate(codes.rows(kept).tolist())}
                numbers += [at.get(int(one), 20_000) for one in best]
            rescoring.append([name, (needed(np.array(bits)) + 1) / 10, (needed(np.array(numbers)) + 1) / 10])
            for hits in (10, 100):
                line: list[object] = [name, hits]
                for chosen in ({}, radii):
                    base.info.probe_radius.clear()
                    base.info.probe_radius.update(chosen)

                    def search(query: np.ndarray, hits: int = hits) -> list[int]:
                        found: list[int] = index.search(query, hits, None).keys.tolist()
                        return found

                    spent, found = store.timed(search, list(questions))
                    same = [len(set(a) & set(b.tolist())) / hits for a, b in zip(found, exact[:, :hits], strict=True)]
                    line += [spent["p50"], spent["p95"], float(np.mean(same))]
                searching.append(line)
        info = base.info
    text = (
        f"Measured on {machine()}. {size:,} rows in {cells} IVF cells of {sizes.min()} to {sizes.max():,}; centroids trained in "
        f"{trained:.1f} s. Chosen for .99: {info.oversampling['same']:.0f} candidates a hit, {info.rescore_fraction['same']:.2f} of them "
        f"scored, probe radii {radii['same'][0]:.3f} and {radii['same'][1]:.3f}.\n\n"
        + table(["questions", "n", "cells for .99", "codes read", "probe radius for .99", "codes read"], reading)
        + "\n\n"
        + table(["questions", "candidates a hit for .99, by bits", "rescored by numbers"], rescoring)
        + "\n\n"
        + table(
            ["questions", "hits", "all codes: p50, ms", "p95", "recall", "IVF cells: p50, ms", "p95", "recall"],
            searching,
        )
    )
    keep("lists", text, {"reading": reading, "rescoring": rescoring, "searching": searching})


def _weights(query: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Return what each bit counts, as ``commonplace.store.codes.Codes.rescored()`` weighs them."""
    from commonplace.store.codes import _sums_of_three

    near = (query - centre)[None]
    return np.asarray(np.hstack([near, _sums_of_three(near) / 3])[0], np.float32)


if __name__ == "__main__":
    main()
