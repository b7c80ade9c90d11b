"""Which passages answer where words are all there is: questions in Chinese, in collections of 240 files and of one to five.

    python benchmarks/words.py

A passage counts by the log-odds of its confidence plus ``TERM_SHARE_WEIGHT`` times the share of the question's content words that it
holds. Even articles of XQuAD-zh are dev: for each factor the threshold is the lowest at which nine in ten questions
whose article was removed, and 95 in 100 of those about something else in a small collection, are left unanswered. The
odd articles are test.
"""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path

import numpy as np

import commonplace as cp
from common import ROOT, data, keep, machine, table
from commonplace.generation.extractive import PASSAGES
from commonplace.generation.intent import content_words
from commonplace.generation.relevance import MIN_LEXICAL_EVIDENCE, TERM_SHARE_WEIGHT, term_share
from commonplace.text import terms

SIZES = (240, 5, 2, 1)
FACTORS = (0.0, 4.0, 8.0, 12.0, 16.0, 20.0, math.inf)  # the last: the share alone


def lexical_evidence(kb: cp.Collection, question: str) -> list[tuple[float, float]]:
    """Return the log-odds of each passage that is read, and its share of the question's content words."""
    question_words = content_words(question)
    passages = []
    for hit in kb.search(question, k=PASSAGES):
        odds = min(max(hit.confidence, 1e-9), 1 - 1e-9)
        passages.append((math.log(odds / (1 - odds)), term_share(question_words, terms(hit.item.text_view or ""))))
    return passages


def best(passages: list[tuple[float, float]], factor: float) -> float:
    """Return the score of the best passage."""
    scores = (share if math.isinf(factor) else odds + factor * share for odds, share in passages)
    return max(scores, default=-99.0)


def main() -> None:
    """Measure, print and keep the table."""
    articles = json.loads((data("xquad") / "xquad.zh.json").read_text(encoding="utf-8"))["data"]
    everyday = (ROOT / "benchmarks" / "labels" / "everyday-zh.txt").read_text(encoding="utf-8").split("\n")[:-1]
    questions_of = [[qa["question"] for entry in article["paragraphs"] for qa in entry["qas"]] for article in articles]
    rows: list[tuple[int, bool, str, list[tuple[float, float]]]] = []  # size, test, kind, evidence

    with tempfile.TemporaryDirectory() as name:
        work = Path(name)

        def write(folder: Path, article: dict, most: int) -> list[Path]:
            folder.mkdir(parents=True)
            files = [folder / f"{n}.txt" for n in range(len(article["paragraphs"][:most]))]
            for file, entry in zip(files, article["paragraphs"], strict=False):
                file.write_text(entry["context"], encoding="utf-8")
            return files

        files = [write(work / "all" / str(n), article, 99) for n, article in enumerate(articles)]
        with cp.open(work / "all.kb") as kb:
            kb.add(work / "all", progress=False)
            for n, questions in enumerate(questions_of):
                rows += [(240, bool(n % 2), "answered", lexical_evidence(kb, entry)) for entry in questions]
                kb.remove(*files[n])
                rows += [(240, bool(n % 2), "removed", lexical_evidence(kb, entry)) for entry in questions]
                kb.add(*files[n], progress=False)
            rows += [(240, bool(n % 2), "elsewhere", lexical_evidence(kb, entry)) for n, entry in enumerate(everyday)]
        for n, article in enumerate(articles):
            for size in SIZES[1:]:
                write(work / f"{n}-{size}", article, size)
                with cp.open(work / f"{n}-{size}.kb") as kb:
                    kb.add(work / f"{n}-{size}", progress=False)
                    held = [qa["question"] for entry in article["paragraphs"][:size] for qa in entry["qas"]]
                    off = [*questions_of[(n + 2) % len(questions_of)][:10], *everyday[n % 2 :: 2][:8]]
                    rows += [(size, bool(n % 2), "answered", lexical_evidence(kb, entry)) for entry in held]
                    rows += [(size, bool(n % 2), "elsewhere", lexical_evidence(kb, entry)) for entry in off]

    lines = []
    for factor in FACTORS:
        scores = [(size, test, kind, best(passages, factor)) for size, test, kind, passages in rows]

        def values(kind: str, sizes: tuple[int, ...], test: bool, scores: list = scores) -> np.ndarray:
            return np.array([w for size, half, k, w in scores if k == kind and size in sizes and half is test])

        removed, small = values("removed", (240,), False), values("elsewhere", SIZES[1:], False)
        least = max(float(np.quantile(removed, 0.9)), float(np.quantile(small, 0.95)))
        if factor == TERM_SHARE_WEIGHT:
            least = MIN_LEXICAL_EVIDENCE  # what is shipped
        for test in (False, True):
            cells = [f"{100 * (values('answered', (size,), test) >= least).mean():.1f}" for size in SIZES]
            cells += [f"{100 * (values('removed', (240,), test) < least).mean():.1f}"]
            cells += [f"{100 * (values('elsewhere', (size,), test) < least).mean():.1f}" for size in SIZES]
            name = "confidence alone" if not factor else "share alone" if math.isinf(factor) else f"{factor:g}"
            lines.append([name, f"{least:.2f}", "test" if test else "dev", *cells])
    head = ["factor", "threshold", "half", *(f"answered, of {size}" for size in SIZES), "silent: article removed"]
    head += [f"silent: elsewhere, of {size}" for size in SIZES]
    text = (
        f"Measured on {machine()}; percent of questions in Chinese, in collections of 240 files, 5, 2 and 1. Factor {TERM_SHARE_WEIGHT:g} "
        f"with the threshold {MIN_LEXICAL_EVIDENCE:g} is shipped; *answered*: questions that have an answer, the others none."
    )
    keep("words", f"{text}\n\n{table(head, lines)}", {"head": head, "rows": lines})


if __name__ == "__main__":
    main()
