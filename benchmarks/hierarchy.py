"""Does it pay to split one index into groups of documents that are searched side by side and merged?

    python benchmarks/hierarchy.py [--cache DIR] [--sizes 100000 1000000] [--groups 1 2 4 16]

The rows of ``store.py`` as one snapshot, and as so many snapshots of as many rows each, searched by a pool of two threads;
binary codes as for a recall of .99, 64 candidates a hit in each group, in IVF cells where an index file has them. Both give the
ten best by exact scores.
"""

from __future__ import annotations

import argparse
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import store
from common import keep, machine, table

RADII = [0.27, 0.35]  # as builds of these rows measure


def main() -> None:
    """Measure every size and number of groups and keep the table."""
    from commonplace.store.codes import ROWS_PER_CENTROID, cells_for, train
    from commonplace.store.index_file import IndexFile, Info, Measured, write
    from commonplace.store.index_view import IndexView
    from commonplace.store.options import DEFAULT

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "commonplace-store-benchmark")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--groups", type=int, nargs="+", default=[1, 2, 4, 16])
    options = parser.parse_args()
    rows = np.load(options.cache / "rows.npy", mmap_mode="r")
    asked = np.load(options.cache / "asked.npy")
    none = np.empty(0, np.int64), np.empty((0, store.DIM), np.float32)
    lines = []
    with ThreadPoolExecutor(2) as pool, tempfile.TemporaryDirectory(dir=options.cache) as work:
        for size in options.sizes:
            centre = np.asarray(rows[: size : max(1, size // 10_000)]).mean(axis=0)
            for groups in options.groups:
                indexes = []
                for group, own in enumerate(np.array_split(np.arange(size), groups)):
                    path = Path(work) / f"{size}.{groups}.{group}"
                    info = Info("text", "", "", 0, size, 0, len(own), store.DIM)
                    pieces = [own[i : i + 16_384] for i in range(0, len(own), 16_384)]
                    made = ((piece, np.ascontiguousarray(rows[piece[0] : piece[-1] + 1]), None) for piece in pieces)
                    cells = cells_for(len(own))
                    sample = rows[own[0] : own[-1] + 1 : max(1, len(own) // (ROWS_PER_CENTROID * max(cells, 1)))]
                    centroids = train(np.ascontiguousarray(sample), cells) if cells else None
                    radii = {"same": RADII} if cells else {}
                    measured = Measured({"same": 64.0}, {}, radii, {"same": DEFAULT.rescore_fraction})
                    write(path, info, made, centre, lambda base, known=measured: known, lambda: False, centroids)
                    indexes.append(IndexView(IndexFile(path), *none))

                def search(query: np.ndarray, indexes: list[IndexView] = indexes) -> np.ndarray:
                    lists = list(pool.map(lambda one: one.search(query, 10, None), indexes)) if len(indexes) > 1 else [
                        indexes[0].search(query, 10, None)
                    ]  # fmt: skip
                    keys, scores = (
                        np.concatenate([getattr(one, part) for one in lists]) for part in ("keys", "scores")
                    )
                    return keys[np.lexsort((keys, -scores))[:10]]

                spent, answers = store.timed(search, list(asked))
                if groups == options.groups[0]:
                    alone = answers
                same = float(np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(alone, answers, strict=True)]))
                lines.append([f"{size:,}", groups, spent["p50"], spent["p95"], spent["cpu"], same])
                for path in Path(work).iterdir():
                    path.unlink()
    head = ["rows", "groups", "p50, ms", "p95, ms", "CPU, ms", "share of the hits of one index"]
    text = f"Measured on {machine()}. {__doc__.splitlines()[0]}\n\n" + table(head, lines)
    keep("hierarchy", text, {"machine": machine(), "lines": lines})


if __name__ == "__main__":
    main()
