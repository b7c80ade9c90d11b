"""A store in use for a long time: adds, updates and deletes of items with given vectors, mixed with searches.

``python benchmarks/soak.py [--operations 1000000] [--minutes 60] [--rows FILE]``: an operation is one item put, replaced or
removed, or one search. Twice: vectors at random in so small a store that all are scanned; and, with ``rows.npy`` of
``store.py``, sentences in one so large that it searches codes. Memory and disk are noted all along; searches are
compared with a scan of the database, all the way and at the end.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from common import keep, machine, table
from commonplace.encoders import Bundle
from commonplace.store import LocalStore, StoreSpace
from commonplace.types import Document, Filter, Item, ParsedDocument, Span, ViewVectors, stable_id

LIVE = 40_000  # items, once there are so many as many go as come
LIVE_OF_CODES = 80_000  # enough to be searched by codes at any time
EACH = 10  # items a document
DIM = 32  # of vectors at random
WORDS = [f"{a}{b}" for a in ("pump", "seal", "valve", "gauge", "motor", "drain") for b in range(400)]


Rows = NDArray[np.float32]


class Model:
    """What the store should hold: document number -> version. Vectors are drawn from ``rows`` (n, dim)."""

    def __init__(self, store: LocalStore, seed: int, rows: Rows | None) -> None:
        self.store = store
        self.draw = random.Random(seed)
        self.numbers = np.random.default_rng(seed)
        self.rows = rows
        self.live: dict[int, int] = {}
        self.next = 0

    def put(self, documents: dict[int, int]) -> int:
        parsed, items, views = [], [], []
        for number, version in documents.items():
            path = f"/{number % 50}/{number}.txt"
            document = Document(stable_id(path), f"file://{path}", path, "text/plain", stable_id(number, version))
            own = tuple(
                Item(stable_id(path, n), document, "text", Span(n, n + 1), self.text(number, version, n))
                for n in range(EACH)
            )
            parsed.append(ParsedDocument(document, own))
            items += [item.id for item in own]
            views += [stable_id(number, version, n) for n in range(EACH)]
        values = self.vectors(len(items))
        self.store.add(parsed, [ViewVectors("text", tuple(items), tuple(views), values)])
        self.live.update(documents)
        return len(items)

    def vectors(self, count: int) -> Rows:
        """Return so many unit rows: of those given, each a little moved, so that none comes twice."""
        noise = self.numbers.standard_normal((count, DIM if self.rows is None else self.rows.shape[1]))
        if self.rows is not None:
            noise = self.rows[np.sort(self.numbers.integers(0, len(self.rows), count))] + 0.01 * noise
        return np.asarray(noise / np.linalg.norm(noise, axis=1, keepdims=True), np.float32)

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
        query = self.vectors(1)[0]
        where = self.draw.choice([Filter(), Filter(path=f"/{self.draw.randrange(50)}/*"), Filter("text")])
        found = self.store.search("text", query, 10, where)
        by_words = self.store.search_text(" ".join(self.draw.choices(WORDS, k=3)), 10, where)
        for ranked in (found, by_words):
            for item in self.store.items(ranked.ids).values():
                self.true(item)
        return 2

    def true(self, item: Item) -> None:
        """Check that a hit is of a document that is there, in its present version."""
        number, version = map(int, (item.text or "").split()[-1][1:].split("v"))
        assert self.live[number] == version, f"document {number} is at {self.live.get(number)}, the hit at {version}"

    def exact(self, asked: Rows) -> list[float]:
        """Return for each question the share of the exact best ten that a search finds; 0 where a score is not true."""
        keys, vectors = self.store._partitions.stored("text")
        ids = self.store._ids.ids(keys.tolist())
        place = {id_: n for n, id_ in enumerate(ids)}
        shares = []
        for query in asked:
            found = self.store.search("text", query, 10, Filter())
            scores = vectors @ query
            best = {ids[n] for n in np.lexsort((keys, -scores))[:10]}
            true = np.allclose(found.scores, scores[[place[id_] for id_ in found.ids]], atol=1e-4)
            shares.append(len(best.intersection(found.ids)) / 10 if true else 0.0)
        return shares


def memory() -> float:
    """Return the process's own memory in MB, without what is mapped from files."""
    text = Path("/proc/self/status").read_text()
    return int(text.split("RssAnon:")[1].split()[0]) / 1024


def used(operations: int, minutes: float, seed: int, rows: Rows | None, live: int) -> tuple[str, dict[str, Any]]:
    """Use a store so long; return the text with its table, and the figures. ``rows`` (n, dim): real ones."""
    questions = Bundle().questions
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dim = DIM if rows is None else rows.shape[1]
        given = {} if rows is None else {"questions": questions}
        store = LocalStore(folder, StoreSpace("soak", "soak", dim, **given))
        model = Model(store, seed, rows)
        counts = dict.fromkeys(("added", "updated", "removed", "searches"), 0)
        notes: list[list[object]] = []
        shares: list[float] = []
        start = time.monotonic()
        bar = tqdm(total=operations, unit="op")
        asked = None if rows is None else questions("text", False)

        def ask(count: int) -> Rows:
            return model.vectors(count) if asked is None else asked[model.numbers.integers(0, len(asked), count)]

        while (done := sum(counts.values())) < operations and time.monotonic() - start < minutes * 60:
            for _ in range(model.draw.randrange(1, 6)):
                counts["searches"] += model.search()
            size = model.draw.randrange(1, 200)
            what = model.draw.random()
            if what < 1 / 3 and len(model.live) * EACH >= live:
                counts["removed"] += model.remove(size)
            elif what < 2 / 3 and model.live:
                counts["updated"] += model.update(size)
            elif len(model.live) * EACH < live * 1.1:
                counts["added"] += model.add(size)
                store.maintenance.checkpoint()
            bar.update(sum(counts.values()) - done)
            if sum(counts.values()) * 10 // operations > done * 10 // operations:
                shares += model.exact(ask(20))
                status = store.maintenance.indexes()["text"]
                assert status["rows"] == len(model.live) * EACH
                disk = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
                log = store._database.all("SELECT count(*) FROM removed")[0][0]
                now = [sum(counts.values()), len(model.live) * EACH, status["rows"], status["type"]]
                notes.append([*now, f"{memory():.0f}", f"{disk:.0f}", log])
        bar.close()
        minutes = (time.monotonic() - start) / 60
        store.maintenance.checkpoint()
        shares += model.exact(ask(200))
        keys = {one.id for one in store.documents()}
        assert keys == {stable_id(f"/{number % 50}/{number}.txt") for number in model.live}
        findings = store.maintenance.doctor()
        store.close()
    head = ["operations", "live items", "rows of the index", "searched", "own memory, MB", "on disk, MB"]
    said = ", ".join(f"{count:,} {what}" for what, count in counts.items())
    vectors = f"sentences, {dim} dimensions" if rows is not None else f"random vectors of {dim} dimensions"
    text = (
        f"{sum(counts.values()):,} operations in {minutes:.0f} minutes on items with {vectors}: {said}. Every hit was of a "
        f"document that was there, in its present version. {len(shares)} searches were compared with a scan of every "
        f"vector: they found {np.mean(shares):.4f} of the best ten, {sum(share < 1 for share in shares)} not all. `doctor` "
        f"at the end: {len(findings)} faults.\n\n{table([*head, 'lines of the removal log'], notes)}"
    )
    return text, {"counts": counts, "notes": notes, "shares": shares, "faults": len(findings)}


def main() -> None:
    """Use a store that scans and one that searches codes, and keep the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=60, help="the most that each of the two may take")
    parser.add_argument("--seed", type=int, default=0)
    cache = Path(tempfile.gettempdir()) / "commonplace-store-benchmark"
    parser.add_argument("--rows", type=Path, default=cache / "rows.npy")
    options = parser.parse_args()
    kinds: list[tuple[Rows | None, int]] = [(None, LIVE)]
    if options.rows.exists():
        kinds.append((np.load(options.rows, mmap_mode="r"), LIVE_OF_CODES))
    found = [used(options.operations, options.minutes, options.seed, *kind) for kind in kinds]
    text = f"Measured on {machine()}, at low priority beside other work.\n\n" + "\n\n".join(said for said, _ in found)
    keep("soak", text, {"runs": [figures for _, figures in found]})


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
