"""A store in use for a long time: adds, updates and deletes of items with given vectors, mixed with searches.

``python benchmarks/soak.py [--operations 1000000] [--minutes 60]``: an operation is one item put, replaced or removed, or
one search. Memory and disk are noted all along; searches are compared with a scan of the database, all the way and at the end.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from common import keep, machine, table
from commonplace.store import LocalStore
from commonplace.types import Document, Filter, Item, Reading, Span, ViewVectors, stable_id

DIM = 32
LIVE = 40_000  # items, once there are so many as many go as come
EACH = 10  # items a document
WORDS = [f"{a}{b}" for a in ("pump", "seal", "valve", "gauge", "motor", "drain") for b in range(400)]


class Model:
    """What the store should hold: document number -> version."""

    def __init__(self, store: LocalStore, seed: int) -> None:
        self.store = store
        self.draw = random.Random(seed)
        self.numbers = np.random.default_rng(seed)
        self.live: dict[int, int] = {}
        self.next = 0

    def put(self, documents: dict[int, int]) -> int:
        readings, items, views = [], [], []
        for number, version in documents.items():
            path = f"/{number % 50}/{number}.txt"
            document = Document(stable_id(path), f"file://{path}", path, "text/plain", stable_id(number, version))
            own = tuple(
                Item(stable_id(path, n), document, "text", Span(n, n + 1), self.text(number, version, n))
                for n in range(EACH)
            )
            readings.append(Reading(document, own))
            items += [item.id for item in own]
            views += [stable_id(number, version, n) for n in range(EACH)]
        values = self.numbers.standard_normal((len(items), DIM)).astype(np.float32)
        values /= np.linalg.norm(values, axis=1, keepdims=True)
        self.store.add(readings, [ViewVectors("text", tuple(items), tuple(views), values)])
        self.live.update(documents)
        return len(items)

    @staticmethod
    def text(number: int, version: int, n: int) -> str:
        draw = random.Random(f"{number} {version} {n}")
        return " ".join(draw.choices(WORDS, k=8)) + f" d{number}v{version}"

    def add(self, count: int) -> int:
        first, self.next = self.next, self.next + count
        return self.put(dict.fromkeys(range(first, first + count), 0))

    def update(self, count: int) -> int:
        chosen = self.draw.sample(sorted(self.live), min(count, len(self.live)))
        return self.put({number: self.live[number] + 1 for number in chosen})

    def remove(self, count: int) -> int:
        chosen = self.draw.sample(sorted(self.live), min(count, len(self.live)))
        self.store.remove([stable_id(f"/{number % 50}/{number}.txt") for number in chosen])
        for number in chosen:
            del self.live[number]
        return len(chosen) * EACH

    def search(self) -> int:
        query = self.numbers.standard_normal(DIM).astype(np.float32)
        where = self.draw.choice([Filter(), Filter(path=f"/{self.draw.randrange(50)}/*"), Filter("text")])
        found = self.store.search("text", query, 10, where)
        for entry in self.store.entries(found.keys.tolist()).values():
            self.true(entry.item)
        for entry in self.store.entries(
            self.store.search_words(" ".join(self.draw.choices(WORDS, k=3)), 10, where).keys.tolist()
        ).values():
            self.true(entry.item)
        return 2

    def true(self, item: Item) -> None:
        """Check that a hit is of a document that is there, in its present version."""
        number, version = map(int, (item.text or "").split()[-1][1:].split("v"))
        assert self.live[number] == version, f"document {number} is at {self.live.get(number)}, the hit at {version}"

    def exact(self, rounds: int) -> int:
        """Return how many of so many searches differ from a scan of every vector."""
        keys, vectors = self.store.vectors("text")
        different = 0
        for _ in range(rounds):
            query = self.numbers.standard_normal(DIM).astype(np.float32)
            found = self.store.search("text", query, 10, Filter())
            scores = vectors @ query
            best = np.lexsort((keys, -scores))[:10]
            different += not (
                set(found.keys.tolist()) == set(keys[best].tolist())
                and np.allclose(found.scores, scores[best], atol=1e-4)
            )
        return different


def memory() -> float:
    """Return the process's own memory in MB, without what is mapped from files."""
    text = Path("/proc/self/status").read_text()
    return int(text.split("RssAnon:")[1].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operations", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = LocalStore(folder, space="soak", fingerprint="soak", dim=DIM)
        model = Model(store, options.seed)
        counts = dict.fromkeys(("added", "updated", "removed", "searches"), 0)
        notes: list[list[object]] = []
        wrong = checked = 0
        start = time.monotonic()
        bar = tqdm(total=options.operations, unit="op")
        while (done := sum(counts.values())) < options.operations and time.monotonic() - start < options.minutes * 60:
            for _ in range(model.draw.randrange(1, 6)):
                counts["searches"] += model.search()
            size = model.draw.randrange(1, 200)
            what = model.draw.random()
            if what < 1 / 3 and len(model.live) * EACH >= LIVE:
                counts["removed"] += model.remove(size)
            elif what < 2 / 3 and model.live:
                counts["updated"] += model.update(size)
            elif len(model.live) * EACH < LIVE * 1.1:
                counts["added"] += model.add(size)
                store.checkpoint()
            bar.update(sum(counts.values()) - done)
            if sum(counts.values()) * 10 // options.operations > done * 10 // options.operations:
                wrong, checked = wrong + model.exact(20), checked + 20
                status = store.indexes()["text"]
                assert status["rows"] == len(model.live) * EACH
                disk = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
                log = store._database.all("SELECT count(*) FROM removed")[0][0]
                notes.append(
                    [
                        sum(counts.values()),
                        len(model.live) * EACH,
                        status["rows"],
                        f"{memory():.0f}",
                        f"{disk:.0f}",
                        log,
                    ]
                )
        bar.close()
        minutes = (time.monotonic() - start) / 60
        store.checkpoint()
        wrong, checked = wrong + model.exact(200), checked + 200
        keys = {one.id for one in store.documents()}
        assert keys == {stable_id(f"/{number % 50}/{number}.txt") for number in model.live}
        faults = store.check()
        store.close()
    head = [
        "operations",
        "live items",
        "rows of the index",
        "own memory, MB",
        "on disk, MB",
        "lines of the removal log",
    ]
    said = ", ".join(f"{count:,} {what}" for what, count in counts.items())
    keep(
        "soak",
        f"""Measured on {machine()}, in {minutes:.0f} minutes at low priority beside other work.

{sum(counts.values()):,} operations on items of {DIM} dimensions: {said}. Every hit was of a document that was there, in its present version.
{checked} searches were compared with a scan of every vector: {wrong} differed. `doctor` at the end: {len(faults)} faults.

{table(head, notes)}""",
        {"counts": counts, "notes": notes, "compared": checked, "differed": wrong, "faults": len(faults)},
    )


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
