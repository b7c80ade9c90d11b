"""Ways to make vectors smaller: recall@10 and the candidates that rescoring needs, by bytes, on real embeddings.

    python benchmarks/compression.py [--cache DIR] [--crops N]

text->text: real sentences (see ``store.py``), asked with captions of test pictures and XQuAD's questions. text->image: crops
of Flickr8k's pictures through the bundled tower, asked with captions of test pictures, hubness taken off as in a
search. What is learned (components, codes, the autoencoder, the joint map) is learned from the stored rows and the bundle's
training captions, never from the questions asked.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import store
from common import flickr8k, keep, machine, table
from pictures import crops

SHORT = 96  # numbers: a quarter


Scores = Callable[[np.ndarray], np.ndarray]
"""Question (dim,) -> scores (n,) of all rows, without the offset."""


def autoencoder(rows: np.ndarray, short: int, seed: int = 0) -> Scores:
    """Train 384-256-short-256-384 with tanh on the rows (Adam, 12 epochs); a question meets what it gives back."""
    draw = np.random.default_rng(seed)
    mean = rows.mean(axis=0)
    sizes = [rows.shape[1], 256, short, 256, rows.shape[1]]
    weights = [draw.standard_normal((a, b)).astype(np.float32) / np.sqrt(a) for a, b in itertools.pairwise(sizes)]
    biases = [np.zeros(size, np.float32) for size in sizes[1:]]
    scale = np.float32(1 / (rows - mean).std())
    moments: list[Any] = [[np.zeros_like(one), np.zeros_like(one)] for one in (*weights, *biases)]

    def forward(x: np.ndarray) -> list[np.ndarray]:
        found = [x]
        for n, (w, b) in enumerate(zip(weights, biases, strict=True)):
            x = x @ w + b
            x = np.tanh(x) if n in (0, 2) else x
            found.append(x)
        return found

    step = 0
    for epoch in range(12):
        for at in np.array_split(draw.permutation(len(rows)), max(1, len(rows) // 512)):
            step += 1
            layers = forward((rows[at] - mean) * scale)
            back = (layers[-1] - layers[0]) * np.float32(2 / len(at))
            slopes: list[Any] = [None] * 8
            for n in reversed(range(4)):
                if n in (0, 2):
                    back = back * (1 - layers[n + 1] ** 2)
                slopes[n], slopes[4 + n] = layers[n].T @ back, back.sum(axis=0)
                back = back @ weights[n].T
            rate = 1e-3 * (1 - epoch / 12)
            for one, slope, (first, second) in zip([*weights, *biases], slopes, moments, strict=True):
                first += 0.1 * (slope - first)
                second += 0.001 * (slope**2 - second)
                one -= rate * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    given = np.concatenate([forward((rows[i : i + 4096] - mean) * scale)[-1] for i in range(0, len(rows), 4096)])
    given = np.asarray(given / scale + mean, np.float32)
    return lambda question: given @ question


def ways(rows: np.ndarray, asked: np.ndarray, offsets: np.ndarray | None) -> dict[str, tuple[float, Scores]]:
    """Return each way's bytes a row and how it scores; ``asked`` are training questions (n, dim)."""
    import faiss

    from commonplace.store.codes import code_bytes, encode
    from commonplace.store.index_file import rounded
    from commonplace.store.projection import projections

    dim, mean = rows.shape[1], rows.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov((rows - mean).T))
    components = np.asarray(vectors[:, ::-1], np.float32)
    spread = np.asarray(np.sqrt(np.maximum(values[::-1], 1e-12)), np.float32)

    def dense(small: np.ndarray, turn: np.ndarray | None = None) -> Scores:
        small = np.ascontiguousarray(small)
        return lambda question: small @ (question if turn is None else turn.T @ question)

    def coded(kind: str) -> Scores:
        index = faiss.index_factory(dim, kind, faiss.METRIC_INNER_PRODUCT)
        index.train(rows)
        index.add(rows)
        back = index.reconstruct_n(0, len(rows))
        return lambda question: back @ question

    def signs() -> Scores:
        codes = encode(rows, mean).view(np.uint64)
        return lambda question: (
            -np.bitwise_count(codes ^ encode(question[None], mean).view(np.uint64)).sum(1, dtype=np.int32)
        )

    class Base:  # what projections() takes from an index file
        def __len__(self) -> int:
            return len(rows)

        def take(self, at: np.ndarray) -> np.ndarray:
            return rows[at]

    aim, turn = projections(Base(), asked)  # type: ignore[arg-type]
    found: dict[str, tuple[float, Scores]] = {
        "float32": (4 * dim, dense(rows)),
        "float16": (2 * dim, dense(rounded(rows, "float16"))),
        "int8, a scale a row": (dim + 4, dense(rounded(rows, "int8"))),
        "the first 192 numbers (Matryoshka), float16": (
            384,
            dense(rounded(np.ascontiguousarray(rows[:, :192]), "float16"), np.eye(dim, 192, dtype=np.float32)),
        ),
        "the first 96 numbers, float32": (4 * SHORT, dense(rows[:, :SHORT], np.eye(dim, SHORT, dtype=np.float32))),
        "192 principal components, float16": (
            384,
            dense(rounded(rows @ components[:, :192], "float16"), components[:, :192]),
        ),
        "96 principal components, float32": (4 * SHORT, dense(rows @ components[:, :SHORT], components[:, :SHORT])),
        "the same, whitened": (
            4 * SHORT,
            dense((rows - mean) @ components[:, :SHORT] / spread[:SHORT], components[:, :SHORT] / spread[:SHORT]),
        ),
        "autoencoder, 96 numbers": (4 * SHORT, autoencoder(rows, SHORT)),
        "96 numbers by questions and rows (projected vectors)": (4 * SHORT, dense(rows @ turn, aim)),
        "product quantiser, 96 bytes": (96, coded("PQ96x8")),
        "RaBitQ, 1 bit": (0.0, coded("RaBitQ")),
        "product quantiser, 48 bytes": (48, coded("PQ48x8")),
        "signs, 512 bits (Hamming)": (code_bytes(dim), signs()),
    }
    # Of several bits FAISS gives the first alone back, so those are not compared.
    size = faiss.index_factory(dim, "RaBitQ", faiss.METRIC_INNER_PRODUCT).sa_code_size()
    found["RaBitQ, 1 bit"] = (size, found["RaBitQ, 1 bit"][1])
    return found


def measure(
    rows: np.ndarray, questions: np.ndarray, asked: np.ndarray, offsets: np.ndarray | None
) -> list[list[object]]:
    """Return a line for each way: bytes, recall@10, candidates that reach .99 when they are scored exactly, ms."""
    take = 0 if offsets is None else offsets
    best = [np.argsort(-(rows @ question - take), kind="stable")[:10] for question in questions]
    lines: list[list[object]] = []
    for name, (size, scores) in ways(rows, asked, offsets).items():
        ranks, seconds = [], []
        for question, own in zip(questions, best, strict=True):
            begin = time.perf_counter()
            given = scores(question)
            seconds.append(time.perf_counter() - begin)
            given = given - take if not name.startswith("signs") else given
            ranks.append(np.searchsorted(np.sort(-given), -given[own], "right"))
        every = np.sort(np.concatenate(ranks))
        lines.append(
            [
                name,
                f"{size:.0f}",
                float(np.mean(every <= 10)),
                int(every[int(np.ceil(0.99 * len(every))) - 1]),
                statistics.median(seconds) * 1e3,
            ]
        )
    return lines


def main() -> None:
    """Measure both directions and keep the table."""
    from commonplace.encoders import Bundle

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "commonplace-store-benchmark")
    parser.add_argument("--crops", type=int, default=100_000)
    options = parser.parse_args()
    bundle = Bundle()
    if not (options.cache / "real.npy").exists():
        store.prepare(options.cache, 50_000, 0)
    sentences = np.load(options.cache / "real.npy")
    captions = [caption for many in flickr8k("test").values() for caption in many]
    in_words = bundle.text.encode(random.Random(5).sample(captions, 300), "query")
    pictures = crops(options.cache, options.crops)["image"]
    training = {kind: bundle.questions(kind, other) for kind, other in (("text", False), ("image", True))}
    assert training["text"] is not None and training["image"] is not None
    found = {
        "text->text": measure(sentences, np.load(options.cache / "asked.npy"), training["text"], None),
        "text->image": measure(pictures, in_words, training["image"], bundle.hubness("image", pictures)),
    }
    head = ["kept as", "bytes", "recall@10", "candidates for .99", "ms"]
    text = f"Measured on {machine()}. {len(sentences):,} sentences, {len(pictures):,} crops. *Candidates for .99*: so many of the best, scored exactly, hold .99 of the exact best ten. Milliseconds: the median of scoring all rows on a busy machine, after they were unpacked to float32 (codes would be scored faster packed): compare within a column only."
    for name, lines in found.items():
        text += f"\n\n{name}:\n\n" + table(head, lines)
    keep(
        "compression", text, {"machine": machine(), "sentences": len(sentences), "crops": len(pictures), "lines": found}
    )


if __name__ == "__main__":
    main()
