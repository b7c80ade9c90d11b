"""Questions with the sentences that answer them, by people: what the readers are trained on.

Each set is a public repository, whose clone lies under its name in the folder ``COMMONPLACE_QUESTIONS``:

- ``squad``: the files ``src-test.txt`` and ``tgt-test.txt`` of xinyadu/nqg (Du et al. 2017): 11,877 questions of SQuAD
  1.1, 44 articles of its training part (CC BY-SA 4.0). XQuAD's articles are of the development part: none is here.
- ``selqa``: emorynlp/selqa (Jurczyk et al. 2016, Apache-2.0): questions on sections of Wikipedia, half of them written
  again in other words.
- ``fairytale``: uci-soe/FairytaleQAData (Xu et al. 2022, Apache-2.0): questions on tales; half of the words are shared.

``notes.jsonl`` is ours: questions as people type them on invented notes, tables and mails, two thirds in other words.

The wrong sentences are the others of the same section. Wrong ones that were chosen for their likeness to the question
teach that shared words are wrong.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

LEAST_SENTENCES = 3  # of a section
LEAST_SHARE = 0.8  # of an answer's words in the sentence that gives it
WITHOUT = 0.12  # of the questions, without their answer: no sentence is right
MOST_RIGHT = 2

_SENTENCE = re.compile(r"(?<=[.!?])['\"”’]?\s+(?=['\"“‘A-Z])")
_FILLERS = frozenset("the a an of to he she his her it they was".split())  # noqa: SIM905

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Question:
    """A question, the sentences of the section that it is about, and the numbers of those that answer it."""

    text: str
    sentences: Sequence[str]
    right: frozenset[int]
    section: str


def selqa(folder: Path) -> Iterator[Question]:
    """Yield the questions of SelQA's development and test parts."""
    for part in ("dev", "test"):
        for row in json.loads((folder / f"ass/selqa-ass-{part}.json").read_text(encoding="utf-8")):
            section = f"{row['article']}/{row['section']}"
            yield Question(row["question"].strip(), row["candidates"], frozenset(row["answers"]), section)


def fairytale(folder: Path) -> Iterator[Question]:
    """Yield FairytaleQA's questions about one section whose answer is a part of a sentence."""
    base = folder / "data-by-train-split"
    stories = {path.name.removesuffix("-story.csv"): path for path in base.glob("section-stories/**/*-story.csv")}
    for path in sorted(base.glob("questions/**/*-questions.csv")):
        name = path.name.removesuffix("-questions.csv")
        if name not in stories:
            continue
        sections = {row["section"].strip(): row["text"] for row in _rows(stories[name])}
        for row in _rows(path):
            number = row["cor_section"].strip()
            if row["local-or-sum"] != "local" or row["ex-or-im1"] != "explicit" or number not in sections:
                continue
            sentences = [part.strip() for part in _SENTENCE.split(" ".join(sections[number].split())) if part.strip()]
            question, answer = row["question"].strip(), set(_words(row["answer1"])) - _FILLERS
            if not answer or len(sentences) < LEAST_SENTENCES:
                continue
            shares = [len(answer & set(_words(sentence))) / len(answer) for sentence in sentences]
            asked = set(_words(question))
            best = max(range(len(sentences)), key=lambda i: (shares[i], len(asked & set(_words(sentences[i])))))
            if shares[best] >= LEAST_SHARE:  # others that hold the answer's words may be right as well: they go
                doubtful = {i for i, share in enumerate(shares) if share >= LEAST_SHARE and i != best}
                yield _without(question, sentences, best, doubtful, f"{name}/{number}")


def notes() -> Iterator[Question]:
    """Yield our own questions, each with the sentences of its group but for its near misses."""
    path = Path(__file__).with_name("notes.jsonl")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    pools: dict[str, dict[str, None]] = {}
    for row in rows:
        pools.setdefault(row["group"], {}).update(dict.fromkeys([*row["right"], *row["wrong"]]))
    for row in rows:
        others = [text for text in pools[row["group"]] if text not in row["right"] and text not in row["wrong"]]
        right = frozenset(range(len(row["right"])))
        yield Question(row["question"], [*row["right"], *others], right, row["group"])


def _without(question: str, sentences: Sequence[str], right: int, doubtful: set[int], section: str) -> Question:
    kept = [i for i in range(len(sentences)) if i not in doubtful]
    return Question(question, [sentences[i] for i in kept], frozenset({kept.index(right)}), section)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        return list(csv.DictReader(file))


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def apart(questions: Sequence[Question], count: int, draw: Random) -> tuple[list[Question], list[Question]]:
    """Return about ``count`` questions that are left out, and the others in a random order. They share no section."""
    sections = sorted({one.section for one in questions})
    draw.shuffle(sections)
    held: set[str] = set()
    while sum(one.section in held for one in questions) < count:
        held.add(sections.pop())
    others = [one for one in questions if one.section not in held]
    draw.shuffle(others)
    return [one for one in questions if one.section in held], others


def pairs(questions: Sequence[Question], wrong: int, draw: Random) -> list[tuple[Pair, float]]:
    """Return pairs of a question and a sentence, 1 if it answers, else 0; at most ``wrong`` wrong ones a question."""
    drawn: list[tuple[Pair, float]] = []
    for one in questions:
        others = [i for i in range(len(one.sentences)) if i not in one.right]
        chosen = draw.sample(others, min(wrong, len(others)))
        if draw.random() >= WITHOUT:
            drawn += [((one.text, one.sentences[i]), 1.0) for i in sorted(one.right)[:MOST_RIGHT]]
        drawn += [((one.text, one.sentences[i]), 0.0) for i in chosen]
    return drawn
