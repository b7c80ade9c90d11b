"""A large index of pictures, asked in words and with pictures: recall@10 and milliseconds of a scan and of codes.

    python benchmarks/pictures.py [--cache DIR] [--crops N]

Crops of Flickr8k's photographs without the test ones, the whole picture first, in a store as a collection has it: the
joint space (``image``, less its hubness, asked with captions) and what they look like (``visual``, asked with pictures).
Questions: captions of test photographs and these themselves; neither they nor their like choose the index, which the model's
own questions do.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import store
from common import data, flickr8k, keep, machine, table

ASKED = 200
STEP = 400  # pictures whose crops are encoded at once


def crops(cache: Path, most: int) -> dict[str, np.ndarray]:
    """Return the views (n, dim) of so many crops by partition; goes on where it was interrupted."""
    from commonplace.encoders import Bundle

    test = set(flickr8k("test"))
    files = [file for file in sorted(data("flickr8k").rglob("*.jpg")) if file.name not in test]
    each = -(-most // len(files))
    paths = {name: cache / f"crops-{name}.npy" for name in ("image", "visual")}
    rows = {
        name: np.load(path) if path.exists() else np.empty((0, store.DIM), np.float32) for name, path in paths.items()
    }
    done = min(map(len, rows.values())) // each
    tower = Bundle().image
    rows = {name: found[: done * each] for name, found in rows.items()}
    while len(rows["image"]) < most:
        pictures = [one for n in range(done, min(done + STEP, len(files))) for one in _crops(files[n], n, each)]
        done = min(done + STEP, len(files))
        for name, found in tower.views(pictures).items():
            rows[name] = np.concatenate([rows[name], found])
            np.save(paths[name], rows[name])
    return {name: found[:most] for name, found in rows.items()}


def _crops(file: Path, seed: int, each: int) -> Iterator[np.ndarray]:
    """Yield the whole picture and parts of it."""
    draw = np.random.default_rng(seed)
    image = Image.open(file).convert("RGB")
    for n in range(each):
        share = 1.0 if n == 0 else draw.uniform(0.35, 0.9)
        size = [max(1, int(side * share)) for side in image.size]
        left, top = (int(draw.integers(0, whole - own + 1)) for whole, own in zip(image.size, size, strict=True))
        yield np.asarray(image.crop((left, top, left + size[0], top + size[1])))


def open_store(folder: Path, space: Any, recall: float | None) -> Any:
    """Open a store as a collection does, for this recall of its indexes; None: scanned, because nothing asks."""
    from commonplace.store import LocalStore, StoreSpace

    asks = {} if recall is None else {"questions": space.questions}
    facts = StoreSpace(
        space.name, space.fingerprint, space.dim, offset=space.offset, state=f"{space.state} {recall}", **asks
    )
    return LocalStore(folder, facts, **({} if recall is None else {"recall": recall}))


def fill(folder: Path, rows: dict[str, np.ndarray], space: Any) -> None:
    """Fill a collection's store with pictures that have these views."""
    from commonplace.types import Document, Item, ParsedDocument, Span, ViewVectors

    filled = open_store(folder, space, None)
    for start in range(0, len(rows["image"]), store.COMMIT):
        parsed = []
        numbers = range(start, min(start + store.COMMIT, len(rows["image"])))
        for n in numbers:
            document = Document(f"d{n}", f"file:///{n}.jpg", f"/{n}.jpg", "image/jpeg", f"h{n}", items=1)
            parsed.append(ParsedDocument(document, (Item(f"i{n}", document, "image", Span(0, 1)),)))
        ids, views = tuple(f"i{n}" for n in numbers), tuple(f"v{n}" for n in numbers)
        vectors = [ViewVectors(name, ids, views, found[numbers.start : numbers.stop]) for name, found in rows.items()]
        filled.add(parsed, vectors)
    filled.close()


def main() -> None:
    """Measure every partition as it would be searched, for two recalls and by a scan, and keep the table."""
    from commonplace.encoders import Bundle
    from commonplace.space import Space
    from commonplace.types import Filter

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "commonplace-store-benchmark")
    parser.add_argument("--crops", type=int, default=100_000)
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    rows = crops(options.cache, options.crops)
    bundle = Bundle()
    space = Space(bundle)
    held = flickr8k("test")
    files = {file.name: file for file in data("flickr8k").rglob("*.jpg")}
    names = list(held)[:: max(1, len(held) // ASKED)][:ASKED]
    shown = bundle.image.views([np.asarray(Image.open(files[name]).convert("RGB")) for name in names])
    told = bundle.text.encode([held[name][0] for name in names], "query")
    asked = {"image": (bundle.without_shortness(told)[0], True), "visual": (shown["visual"], False)}
    exact: dict[str, list[Any]] = {}
    lines: list[list[Any]] = []
    with tempfile.TemporaryDirectory(dir=options.cache) as work:
        fill(Path(work), rows, space)
        for recall in (None, 0.99, 0.999):
            opened = open_store(Path(work), space, recall)
            opened.maintenance.checkpoint()  # writes the snapshot anew: its state is another
            for name, (questions, other) in asked.items():

                def search(one: np.ndarray, name: str = name, other: bool = other) -> tuple[str, ...]:
                    return opened.search(name, one, 10, Filter(), cross_modal=other).ids  # noqa: B023 - called at once

                spent, answers = store.timed(search, list(questions))
                truth = exact.setdefault(name, answers)
                same = np.mean([len(np.intersect1d(*pair)) / 10 for pair in zip(answers, truth, strict=True)])
                index = opened.maintenance.indexes()[name]
                kind = [index["type"], index["oversampling"].get("other" if other else "same", "")]
                lines.append([name, recall or "a scan", *kind, *spent.values(), f"{same:.4f}"])
            opened.close()
    lines.sort(key=lambda one: one[0])
    head = ["partition", "recall asked for", "index", "candidates a hit", "p50, ms", "p95, ms", "CPU, ms", "recall@10"]
    text = f"Measured on {machine()}. {len(rows['image']):,} crops, {len(names)} questions of each kind. {__doc__.splitlines()[0]}"
    keep(
        "pictures",
        f"{text}\n\n{table(head, lines)}",
        {"machine": machine(), "crops": len(rows["image"]), "lines": lines},
    )


if __name__ == "__main__":
    main()
