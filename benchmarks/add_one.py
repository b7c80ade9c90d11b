"""What adding one file costs in a collection of ten thousand, a hundred thousand or a million documents.

    python benchmarks/add_one.py [--sizes 10 10000 100000] [--rounds 15]

The documents are put straight through the store, in bulk, with small random vectors. Then one new file a round is added
through a collection, with a small model made on the spot, as `commonplace add FILE` does it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from common import ROOT, keep, machine, table

sys.path.insert(0, str(ROOT))  # for the tests' small model


BATCH = 20_000  # documents in one transaction
DIM = 24
WORDS = tuple("pump seal valve snow dog cat mat north red blue green press bolt hinge lever gear shaft motor".split())  # noqa: SIM905


def fill(store: Any, size: int) -> None:
    """Put ``size`` documents with one passage each: three words, and a random vector."""
    from commonplace.types import Document, Item, ParsedDocument, Span, ViewVectors, stable_id

    draw = np.random.default_rng(0)
    for start in range(0, size, BATCH):
        count = min(BATCH, size - start)
        rows = draw.standard_normal((count, DIM)).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        words = draw.integers(0, len(WORDS), (count, 3))
        parsed, ids = [], []
        for n in range(start, start + count):
            path = f"/{n // 1000}/{n}.txt"
            text = " ".join(WORDS[word] for word in words[n - start])
            document = Document(stable_id(path), f"file://{path}", path, "text/plain", stable_id("of", path), items=1)
            item = Item(stable_id(path, 0), document, "text", Span(0, len(text)), text)
            parsed.append(ParsedDocument(document, (item,)))
            ids.append(item.id)
        store.add(parsed, [ViewVectors("text", tuple(ids), tuple(f"v{id_}" for id_ in ids), rows)])
    store.maintenance.vacuum()


def spent(collection: Any, folder: Path, rounds: int) -> Iterator[tuple[float, float]]:
    """Yield wall and CPU seconds of adding one new file, for each round."""
    for n in range(rounds):
        file = folder / f"new{n}.txt"
        file.write_text(f"A new note of number {n} on the {WORDS[n % len(WORDS)]}.")
        wall, cpu = time.perf_counter(), time.process_time()
        report = collection.add(file, workers=1, progress=False, ocr=False)
        yield time.perf_counter() - wall, time.process_time() - cpu
        assert report.added == 1, str(report)


def measured(size: int, rounds: int) -> dict[str, float]:
    """Return the medians in milliseconds for a collection of ``size`` documents."""
    from tests.tiny import tiny_bundle

    import commonplace as cp

    with tempfile.TemporaryDirectory() as work:
        model = tiny_bundle(Path(work) / "model", dim=DIM)
        with cp.open(Path(work) / "kb", model=model) as collection:
            fill(collection.store, size)
            times = list(spent(collection, Path(work), rounds + 2))[2:]  # the first load the model
            assert collection.store.count() == size + rounds + 2
        walls, cpus = zip(*times, strict=True)
        return {"wall_ms": 1e3 * statistics.median(walls), "cpu_ms": 1e3 * statistics.median(cpus)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    figures = {size: measured(size, options.rounds) for size in options.sizes}
    least = figures[min(figures)]
    for values in figures.values():
        values |= {f"{name[:-3]}_ratio": values[name] / least[name] for name in ("wall_ms", "cpu_ms")}
    lines = [
        [f"{size:,}", *(f"{values[name]:.1f}" for name in ("wall_ms", "cpu_ms", "wall_ratio", "cpu_ratio"))]
        for size, values in figures.items()
    ]
    head = ["documents", "wall, ms", "CPU, ms", "wall, times the least", "CPU, times the least"]
    text = f"Measured on {machine()}; medians of {options.rounds} files, added one at a time. {__doc__.splitlines()[0]}"
    keep("add_one", f"{text}\n\n{table(head, lines)}", {str(size): values for size, values in figures.items()})


if __name__ == "__main__":
    main()
