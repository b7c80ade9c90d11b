"""Which sentence answers? Learns the weights of ``commonplace.generation.selection``, and measures them.

    python benchmarks/selection.py [--model NAME] [--questions 600]

Every question has its candidates: the sentences of the passages that a search finds. One that says what is asked for is
right. The questions are those of the ordinary folders for choices (benchmarks/ordinary), and of XQuAD's even paragraphs
in English and in Chinese; for every second one of XQuAD the paragraph with the answer is taken out of the hits. Weights
are those of a logistic regression with a ridge. Those of the sentences that the reader has read come second, from its choice by the weights in the
code: copy the first ones, run it again. What it prints of a folder is measured with the weights of the others.
Writes nothing: the weights are copied into selection.py by hand.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import commonplace as cp
from answers import flat, xquad
from common import data
from commonplace.generation.extractive import MIN_PROBABILITY, MIN_PROBABILITY_READ
from commonplace.generation.selection import FEATURES, probabilities
from commonplace.options import AskRequest
from commonplace.types import Hit, Query
from ordinary import DEV, has, normalized, questions
from ordinary_files import make

Floats = NDArray[np.float64]
RIDGE = 1.0
SILENCE = (0.8, 0.85, 0.9, 0.95)
"""Shares of the questions without an answer for which the threshold is set, to compare weights alike."""
NOT_BY_WORDS = ("words in it below the best", "confidence of the passage", "reading")
"""Features that only cost where candidates have no similarity: Chinese questions of the shipped model."""
NOT_SENTENCES = {"how-to", "summary", "list", "file", "comparison", "several"}
"""Kinds of questions whose answer is more than a sentence."""


@dataclass(frozen=True)
class Asked:
    """A question with its candidates: what describes them (n, d), which are right (n,), which the reader read (n,)."""

    source: str
    absent: bool
    features: Floats
    right: NDArray[np.bool_]
    read: NDArray[np.bool_]
    has_vectors: bool

    @property
    def before_reading(self) -> Asked:
        """The same without the reader."""
        features = self.features.copy()
        features[:, FEATURES.index("reading")] = 0
        return replace(self, features=features, read=np.zeros_like(self.read))

    @property
    def of_reader(self) -> Asked:
        """The same with the candidates alone that the reader has read."""
        return replace(self, features=self.features[self.read], right=self.right[self.read], read=self.read[self.read])


def asked(
    kb: cp.Collection, source: str, question: str, absent: bool, is_right: Callable[[Hit, str], bool], without: str = ""
) -> Asked | None:
    """Return a question's candidates; None if no sentence of a hit can be quoted. The file ``without`` is no hit."""
    hits = [hit for hit in kb.search(question, k=10) if Path(hit.item.document.path).name != without]
    with kb._session.use() as parts:
        (encoded,) = kb._searcher.encode(parts, [Query(question)], AskRequest())
        described = parts.extractive.describe(question, encoded.vectors, hits)
    if described is None:
        return None
    right = [is_right(hits[one.sentence.hit], one.sentence.text) for one in described.candidates]
    has_vectors = encoded.vectors.text is not None
    if not has_vectors:
        described.features[:, [FEATURES.index(name) for name in NOT_BY_WORDS]] = 0
    return Asked(source, absent, described.features, np.array(right, bool), described.read, has_vectors)


def of_folders(model: str | None) -> Iterator[Asked]:
    """Yield the questions of the ordinary folders that a sentence answers, and those that nothing answers."""
    for folder in DEV:
        with tempfile.TemporaryDirectory() as work:
            home = Path(work).resolve() / folder
            make(folder, home, data("flickr8k") / "images")
            with cp.open(Path(work) / "collection", model=model) as kb:
                kb.add(home, progress=False)
                for row in questions([folder]):
                    plain = row["question"] and "image" not in row and "before" not in row
                    if not plain or row["kind"].startswith("picture") or row["kind"] in NOT_SENTENCES:
                        continue
                    one = asked(kb, folder, row["question"], bool(row.get("absent")), _right_in(home, row))
                    if one is not None:
                        yield one


def _right_in(home: Path, row: dict[str, Any]) -> Callable[[Hit, str], bool]:
    def is_right(hit: Hit, sentence: str) -> bool:
        said = normalized(sentence)
        if row.get("absent"):
            return any(has(said, word) for word in row.get("may", ()))
        in_file = Path(hit.item.document.path).relative_to(home).as_posix() in row["files"]
        complete = all(any(has(said, word) for word in group) for group in row.get("must", ()))
        return in_file and complete and not any(has(said, word) for word in row.get("not", ()))

    return is_right


def of_xquad(language: str, model: str | None, count: int) -> Iterator[Asked]:
    """Yield questions of XQuAD's even paragraphs; every second one without the paragraph that answers it."""
    paragraphs = xquad(language)
    with tempfile.TemporaryDirectory() as work:
        home = Path(work) / "in"
        home.mkdir()
        for number, paragraph in enumerate(paragraphs):
            (home / f"{number}.txt").write_text(paragraph["context"], encoding="utf-8")
        rows = [(number, qa) for number in range(0, len(paragraphs), 2) for qa in paragraphs[number]["qas"]]
        with cp.open(Path(work) / "kb", model=model) as kb:
            kb.add(home, progress=False)
            for turn, place in enumerate(np.random.default_rng(0).permutation(len(rows))[:count]):
                number, qa = rows[place]
                name = f"{number}.txt"
                spans = [flat(answer["text"]) for answer in qa["answers"]]

                def is_right(hit: Hit, sentence: str, name: str = name, spans: list[str] = spans) -> bool:
                    in_file = Path(hit.item.document.path).name == name
                    return in_file and any(span in flat(sentence) for span in spans)

                absent = turn % 2 == 1
                one = asked(kb, f"xquad-{language}", qa["question"], absent, is_right, without=name if absent else "")
                if one is not None:
                    yield one


def fitted(rows: list[Asked]) -> Floats:
    """Return the weights (d,) of a logistic regression, by Newton's method; the bias has no ridge."""
    matrix, right = np.concatenate([row.features for row in rows]), np.concatenate([row.right for row in rows])
    ridge = RIDGE * np.eye(len(FEATURES)) * (np.arange(len(FEATURES)) > 0) + 1e-6 * np.eye(len(FEATURES))
    weights = np.zeros(len(FEATURES))
    for _ in range(50):
        likely = probabilities(matrix, weights)
        slope = matrix.T @ (likely - right) + ridge @ weights
        step = np.linalg.solve((matrix * (likely * (1 - likely))[:, None]).T @ matrix + ridge, slope)
        weights -= step
        if np.abs(step).max() < 1e-7:
            break
    return weights


def report(rows: list[Asked]) -> None:
    """Print, for each source, how the weights of the others choose; then the same for given shares of silence.

    The rules that come after the weights are not applied.
    """
    chosen: list[tuple[Asked, bool, float]] = []
    for source in dict.fromkeys(row.source for row in rows):
        others = [row for row in rows if row.source != source]
        weights = fitted(others or rows)
        best = [(row, int(probabilities(row.features, weights).argmax())) for row in rows if row.source == source]
        chosen += [(row, bool(row.right[i]), float(probabilities(row.features, weights)[i])) for row, i in best]
        least = MIN_PROBABILITY_READ if all(row.read.all() for row, _ in best) else MIN_PROBABILITY
        sure = {id(row): probabilities(row.features, weights)[i] >= least for row, i in best}
        present = [(row, i) for row, i in best if not row.absent]
        absent = [(row, i) for row, i in best if row.absent]
        first = np.mean([row.right[i] for row, i in present])
        said = np.mean([row.right[i] and sure[id(row)] for row, i in present])
        silent = np.mean([not sure[id(row)] or row.right[i] for row, i in absent]) if absent else float("nan")
        print(
            f"  {source}: {len(present)} questions, the likeliest is right {first:.0%}, and sure {said:.0%}; "
            f"{len(absent)} absent, rightly silent {silent:.0%}"
        )
    for name, is_xquad in (("folders", False), ("XQuAD", True)):
        group = [one for one in chosen if one[0].source.startswith("xquad") is is_xquad]
        lies = [0.0 if right else likely for row, right, likely in group if row.absent]
        answerable = [(right, likely) for row, right, likely in group if not row.absent]
        if not lies or not answerable:
            continue
        for share in SILENCE:
            least = float(np.quantile(lies, share))
            answered = np.mean([right and likely > least for right, likely in answerable])
            print(f"  {name}: silence right in {share:.0%}, answered rightly {answered:.0%}")


def main() -> None:
    """Collect, fit and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="name or folder of a bundle")
    parser.add_argument("--questions", type=int, default=600, help="of XQuAD in each language")
    options = parser.parse_args()
    rows = list(of_folders(options.model))
    for language in ("en", "zh"):
        rows += of_xquad(language, options.model, options.questions)
    of_each = {
        "WEIGHTS": [row.before_reading for row in rows if row.has_vectors],
        "WEIGHTS_READ": [row.of_reader for row in rows if row.read.any()],
        "WEIGHTS_WORDS": [row for row in rows if not row.has_vectors],
    }
    for name, chosen in of_each.items():
        if not chosen:
            continue
        print(f"{name}, of {len(chosen)} questions")
        report(chosen)
        for title, weight in zip(FEATURES, fitted(chosen), strict=True):
            print(f"    {weight:6.2f},  # {title}")


if __name__ == "__main__":
    main()
