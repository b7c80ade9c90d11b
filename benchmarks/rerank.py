"""Does reading the best passages again pay? nDCG@10 and milliseconds of rerankers that need only the bundled model.

    python benchmarks/rerank.py

First stage: the default search, 30 hits. Ways were compared and the one that became ``rerank="maxsim"`` was chosen on
the development halves (Cranfield questions of even number, XQuAD-en paragraphs of even index); the other halves judge.
"""

from __future__ import annotations

import json
import math
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sentencex

import commonplace as cp
from common import data, interval, keep, machine, ndcg, table
from commonplace.encoders import Tokens
from commonplace.retrieval import LateInteraction, rerank
from commonplace.retrieval.rerank import _content_tokens

DEPTH = 30
TIMED = 40  # questions of each collection that are timed
Labelled = list[tuple[int, str, dict[str, float]]]  # what decides the half, the question, gains by file stem


def cranfield(folder: Path) -> Labelled:
    """Write the abstracts; return the questions. Gains: 4 for a complete answer to 1."""
    source = data("cranfield")
    for entry in re.split(r"^\.I ", (source / "cran.all.1400").read_text(), flags=re.M)[1:]:
        number, rest = entry.split("\n", 1)
        (folder / f"{int(number)}.txt").write_text(rest.split(".W\n", 1)[1])
    questions = [q.split(".W\n", 1)[1] for q in re.split(r"^\.I ", (source / "cran.qry").read_text(), flags=re.M)[1:]]
    gains: dict[int, dict[str, float]] = {}
    for line in (source / "cranqrel").read_text().splitlines():
        question, document, grade = (int(word) for word in line.split())
        if grade > 0:
            gains.setdefault(question, {})[str(document)] = 5.0 - grade
    return [(number, text, gains.get(number, {})) for number, text in enumerate(questions, start=1)]


def xquad(folder: Path) -> Labelled:
    """Write the English paragraphs; return the questions, each with its paragraph as the one right answer."""
    articles = json.loads((data("xquad") / "xquad.en.json").read_text(encoding="utf-8"))["data"]
    labelled: Labelled = []
    paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
    for number, paragraph in enumerate(paragraphs):
        (folder / f"{number}.txt").write_text(paragraph["context"], encoding="utf-8")
        labelled += [(number, qa["question"], {str(number): 1.0}) for qa in paragraph["qas"]]
    return labelled


class Memory:
    """The tower's tokens and sentences of every text, computed once: the ways share them."""

    def __init__(self, space: Any) -> None:
        self.space = space
        self._tokens: dict[tuple[str, str], Tokens] = {}
        self._sentences: dict[str, np.ndarray] = {}
        self.mean: np.ndarray = np.zeros(space.dim, np.float32)
        self.rarity: dict[bytes, float] = {}

    def tokens(self, texts: Sequence[str], role: str = "document") -> list[Tokens]:
        """Return the tokens of texts."""
        missing = [text for text in dict.fromkeys(texts) if (role, text) not in self._tokens]
        for text, encoded in zip(missing, self.space.bundle.text.tokens(missing, role), strict=True):
            self._tokens[role, text] = encoded
        return [self._tokens[role, text] for text in texts]

    def sentences(self, text: str) -> np.ndarray:
        """Return a vector of each sentence, read alone."""
        if text not in self._sentences:
            sentences = [sentence for sentence in sentencex.segment("en", text) if sentence.strip()]
            self._sentences[text] = self.space.embed(sentences or [text])
        return self._sentences[text]

    def learn(self, texts: Sequence[str]) -> None:
        """Take the mean token and the words' rarities from the collection's passages."""
        rows = self.tokens(texts)
        self.mean = np.concatenate([encoded.vectors for encoded in rows]).mean(axis=0)
        counts = Counter(w for text in texts for w in set(re.findall(r"\w+", text.lower())))
        self.rarity = {w: math.log(1 + (len(texts) - n + 0.5) / (n + 0.5)) for w, n in counts.items()}
        self.most = math.log(1 + (len(texts) + 0.5) / 0.5)


def unit(rows: np.ndarray) -> np.ndarray:
    """Return rows of unit length."""
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)


class Way:
    """A reranker for the comparison: how it scores, and its share."""

    depth = DEPTH

    def __init__(self, name: str, share: float, score: Callable[[str, Sequence[str]], np.ndarray]) -> None:
        self.name, self.share, self.scores = name, share, score

    def reads(self, text: str) -> bool:
        return True


def ways(memory: Memory) -> list[Way]:
    """Return the ways that are compared; the first is the product's own code."""
    product = LateInteraction(_Remembering(memory))

    def late(weigh: str, centred: bool) -> Callable[[str, Sequence[str]], np.ndarray]:
        def score(question: str, texts: Sequence[str]) -> np.ndarray:
            off = memory.mean if centred else 0.0
            (query_tokens,) = memory.tokens([question], "query")
            if weigh == "telling":
                weight = _content_tokens(question, query_tokens.spans).astype(np.float64)
            elif weigh == "rarity":
                words = list(re.finditer(r"\w+", question))
                rare = [
                    next((m.group().lower() for m in words if m.start() <= a and b <= m.end()), "")
                    for a, b in query_tokens.spans
                ]
                weight = np.array([memory.rarity.get(w, memory.most if w else 0.0) for w in rare])
            else:
                weight = np.ones(len(query_tokens.spans))
            query = unit(query_tokens.vectors - off)
            best = [(query @ unit(encoded.vectors - off).T).max(axis=1) for encoded in memory.tokens(texts)]
            return np.array(best) @ weight / max(weight.sum(), 1e-9)

        return score

    def sentence(question: str, texts: Sequence[str]) -> np.ndarray:
        query = memory.space.bundle.text.encode([question], "query")[0]
        return np.array([float((memory.sentences(text) @ query).max()) for text in texts])

    compared_ways = [Way("MaxSim, telling words: `maxsim`", 0.5, product.scores), Way("the same", 1.0, product.scores)]
    for name, weigh, centred in (
        ("MaxSim, all words", "all", False),
        ("MaxSim, words by rarity", "rarity", False),
        ("MaxSim, telling words, mean token off", "telling", True),
        ("MaxSim, words by rarity, mean token off", "rarity", True),
    ):
        compared_ways.append(Way(name, 0.5, late(weigh, centred)))
    compared_ways += [Way("best sentence", 0.5, sentence), Way("best sentence", 1.0, sentence)]
    return compared_ways


class _Remembering:
    """A space whose text tower remembers what it has read."""

    def __init__(self, memory: Memory) -> None:
        self.bundle = self
        self.text = memory


def measure(name: str, make: Callable[[Path], Labelled], work: Path) -> tuple[dict[str, Any], list[float], list[float]]:
    """Return nDCG@10 in percent by way and half, and the milliseconds of searches without and with ``maxsim``."""
    folder = work / name
    folder.mkdir()
    labelled = make(folder)
    with cp.open(work / f"kb-{name}") as kb:
        kb.add(folder, progress=False)
        memory = Memory(kb.space)
        hits = [kb.search(text, k=DEPTH) for _, text, _ in labelled]
        memory.learn(sorted({hit.item.text_view or "" for first_hits in hits for hit in first_hits}))
        compared = ways(memory)
        scores: dict[str, Any] = {"development": {}, "test": {}}
        for (number, text, gains), first_hits in zip(labelled, hits, strict=True):
            half = scores["test" if number % 2 else "development"]
            orders = {"first search": first_hits} | {
                f"{w.name} | {w.share:g}": rerank(w, text, first_hits) for w in compared
            }
            for way, order in orders.items():
                documents = list(dict.fromkeys(Path(hit.item.document.path).stem for hit in order))
                half.setdefault(way, []).append(100 * ndcg(documents, gains))
        spent: tuple[list[float], list[float]] = ([], [])
        for _, text, _ in [query for query in labelled if query[0] % 2][:TIMED]:
            for times, reranker in zip(spent, (None, "maxsim"), strict=True):
                begin = time.perf_counter()
                kb.search(text, rerank=reranker)
                times.append(1000 * (time.perf_counter() - begin))
    return scores, *spent


def main() -> None:
    """Measure, print and keep the tables."""
    names = {"cranfield": cranfield, "xquad-en": xquad}
    with tempfile.TemporaryDirectory() as work:
        measured = {name: measure(name, make, Path(work)) for name, make in names.items()}
    parts = [
        f"Measured on {machine()}. nDCG@10 in percent; differences are paired, with 95% bootstrap intervals. The share is "
        f"the reranker's part in the order of the first {DEPTH} hits, the rest is the first search's."
    ]
    values: dict[str, Any] = {}
    for half in ("test", "development"):
        rows = []
        for way in measured["cranfield"][0][half]:
            row = [*(way.split(" | ") if " | " in way else (way, "0"))]
            for name, (scores, *_) in measured.items():
                reranked, base = np.array(scores[half][way]), np.array(scores[half]["first search"])
                mean, low, high = interval((reranked - base).tolist())
                values[f"{half}, {name}, {way}"] = {"nDCG@10": reranked.mean(), "difference": (mean, low, high)}
                row += [
                    f"{reranked.mean():.1f}",
                    "" if way == "first search" else f"{mean:+.2f} ({low:+.2f} to {high:+.2f})",
                ]
            rows.append(row)
        counts = ", ".join(f"{name} {len(f[0][half]['first search'])} questions" for name, f in measured.items())
        head = ["way", "share"] + [column for name in measured for column in (name, "difference")]
        parts += [f"**{half.capitalize()} half**: {counts}", table(head, rows)]
    rows = []
    for name, (_, plain, slow) in measured.items():
        rows.append([name, f"{np.median(plain):.0f}", f"{np.median(slow):.0f}"])
        values[f"milliseconds, {name}"] = {"search": float(np.median(plain)), "maxsim": float(np.median(slow))}
    parts += [
        f"**Milliseconds a question**, median of {TIMED}, in turns",
        table(["", "search", 'rerank="maxsim"'], rows),
    ]
    keep("rerank", "\n\n".join(parts), values)


if __name__ == "__main__":
    main()
