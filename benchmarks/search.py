"""What a user waits for: a whole search and a whole answer in process, beside what neither can do without.

    python benchmarks/search.py [--folder FOLDER] [--photographs N] [--items N] [--questions N]

A search cannot do without encoding its question and looking at the vectors and words of the collection once. Both are
measured beside it: the same towers, and a scan of the same rows in NumPy. An answer is compared with its search. Every
question is asked once. ``--items`` fills the collection up with copies of its items whose vectors are a little apart.
``--folder`` keeps the collection for another run.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import commonplace as cp
from common import data, flickr8k, keep, machine, table
from commonplace.readers import load_picture
from commonplace.types import Document, Filter, Item, ParsedDocument, Query, Span, ViewVectors

WARM = 5  # questions that are asked before, of each kind
PAUSE = 0.05  # seconds after each step: threads of BLAS and of the towers wait so long in a busy loop for more work
DEPTH = 100  # best rows of each channel
BATCH = 2000  # items added at once
GOALS = {"search": 2.0, "ask": 3.0}
Clock = tuple[float, float]


def paragraphs() -> list[tuple[str, list[str]]]:
    """Return the passages of XQuAD in English, each with its questions."""
    articles = json.loads((data("xquad") / "xquad.en.json").read_text(encoding="utf-8"))["data"]
    return [(p["context"], [qa["question"] for qa in p["qas"]]) for article in articles for p in article["paragraphs"]]


def fill(kb: cp.Collection, photographs: int, items: int) -> None:
    """Add photographs and passages, and what ``fill_up()`` adds."""
    names = list(flickr8k("test"))[:photographs]
    kb.add(*(data("flickr8k") / "images" / name for name in names), ocr=False)
    kb.add(*(cp.Record(text, id=f"passage {n}") for n, (text, _) in enumerate(paragraphs())))
    fill_up(kb, items)
    if kb.store.maintenance is not None:
        kb.store.maintenance.checkpoint()


def fill_up(kb: cp.Collection, items: int) -> None:
    """Add copies of the items until there are ``items``, with vectors that are a little apart."""
    draw = np.random.default_rng(0)
    stored = {rows.partition: rows.vectors for rows in kb.store.views_of(all_items(kb))}
    captions = [caption for many in flickr8k("train").values() for caption in many]
    while (present := kb.store.count()) < items:
        count = min(BATCH, items - present)
        numbers = range(present, present + count)
        parsed = [copy_of(n, captions[n % len(captions)] if n % 2 else None) for n in numbers]
        views = []
        for partition, rows in stored.items():
            is_text = partition.startswith("text")
            ids = [document.items[0].id for document, n in zip(parsed, numbers, strict=True) if bool(n % 2) == is_text]
            near = rows[draw.integers(0, len(rows), len(ids))] + 0.6 * unit(draw.normal(size=(len(ids), rows.shape[1])))
            views.append(ViewVectors(partition, tuple(ids), tuple(f"{partition} {id_}" for id_ in ids), unit(near)))
        kb.store.add(parsed, views)


def copy_of(number: int, text: str | None) -> ParsedDocument:
    """Return a document with one item: a text, or a picture without a file."""
    id_ = f"copy {number}"
    kind = "image/jpeg" if text is None else "text/plain"
    document = Document(id_, f"record:{id_}", id_, kind, f"h{number}", items=1)
    modality = "image" if text is None else "text"
    return ParsedDocument(document, (Item(id_, document, modality, Span(), text),), {})


def unit(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return rows in unit length."""
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def all_items(kb: cp.Collection) -> list[str]:
    """Return the ids of all items."""
    return [item.id for document in kb for item in kb.items(document)]


def scanner(kb: cp.Collection) -> Callable[[Query, object], None]:
    """Return a function that looks once at all rows and words that a query is compared with, and ranks them."""
    rows = {views.partition: np.ascontiguousarray(views.vectors) for views in kb.store.views_of(all_items(kb))}

    def scan(query: Query, encoded) -> None:
        for spec, vector in encoded.channels:
            if spec.view in rows:
                scores = rows[spec.view] @ vector
                best = np.argpartition(-scores, min(DEPTH, len(scores) - 1))[:DEPTH]
                best[np.argsort(-scores[best])]
        if query.text:
            kb.store.search_text(query.text, DEPTH, Filter())

    return scan


def questions(kind: str) -> Iterator[Query]:
    """Yield queries that the collection was never asked: captions of other photographs, and these photographs."""
    for name, captions in flickr8k("dev").items():
        picture = None if kind == "words" else load_picture(data("flickr8k") / "images" / name).pixels
        yield Query(None if kind == "picture" else captions[0], picture)


def timed(run: Callable[[], object], clocks: list[Clock]) -> None:
    """Run, and note wall and processor milliseconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    wall = time.perf_counter() - wall
    time.sleep(PAUSE)
    clocks.append((1000 * wall, 1000 * (time.process_time() - cpu)))


def medians(clocks: Sequence[Clock]) -> tuple[float, float]:
    """Return the median wall and processor milliseconds, without the first questions."""
    wall, cpu = np.median(np.array(clocks[WARM:]), axis=0)
    return float(wall), float(cpu)


def measure_search(kb: cp.Collection, kind: str, count: int) -> list[object]:
    """Return a row of the table of searches."""
    scan = scanner(kb)
    encoding: list[Clock] = []
    scanning: list[Clock] = []
    searching: list[Clock] = []
    for query in islice(questions(kind), WARM + count):
        timed(lambda query=query: kb.search(query, k=10), searching)
        timed(lambda query=query: kb.space.encode_queries([query]), encoding)
        (encoded,) = kb.space.encode_queries([query])
        timed(lambda query=query, encoded=encoded: scan(query, encoded), scanning)
    least, whole = np.add(medians(encoding), medians(scanning)), np.array(medians(searching))
    wall_ratio, cpu_ratio = whole / least
    return [kind, *medians(encoding), *medians(scanning), *whole.tolist(), wall_ratio, cpu_ratio, GOALS["search"]]


def measure_ask(kb: cp.Collection, count: int) -> list[object]:
    """Return a row of the table of answers."""
    searching: list[Clock] = []
    asking: list[Clock] = []
    asked = [question for _, of_passage in paragraphs() for question in of_passage[:1]]
    for question in asked[: WARM + count]:
        timed(lambda question=question: kb.search(question, k=12), searching)
        timed(lambda question=question: kb.ask(question), asking)
    ratios = np.array(medians(asking)) / medians(searching)
    return ["ask, extractive", *medians(searching), *medians(asking), *ratios.tolist(), GOALS["ask"]]


def main() -> None:
    """Measure, print and keep the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--photographs", type=int, default=500)
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--questions", type=int, default=40)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        folder = options.folder or Path(work)
        with cp.open(folder / f"kb-{options.photographs}-{options.items}") as kb:
            if not kb.store.count():
                fill(kb, options.photographs, options.items)
            count = kb.store.count()
            searches = [measure_search(kb, kind, options.questions) for kind in ("words", "picture", "both")]
            answers = [measure_ask(kb, options.questions)]
    head = ["k = 10", "encoding", "CPU", "scans", "CPU", "search", "CPU", "wall / (encoding + scans)", "CPU / the same",
            "at most"]  # fmt: skip
    text = "\n\n".join(
        [
            f"Measured on {machine()}; {count:,} items, {options.questions} questions a row, each asked once, in "
            "process; milliseconds, medians.",
            table(head, searches),
            table(["", "search", "CPU", "answer", "CPU", "wall ratio", "CPU ratio", "at most"], answers),
        ]
    )
    keep("search" if count < 10_000 else f"search-{count}", text, {"search": searches, "ask": answers})


if __name__ == "__main__":
    main()
