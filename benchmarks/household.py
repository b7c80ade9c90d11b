"""A folder of documents in Chinese and English with photographs, asked in both languages: found, answered, abstained.

The documents (labels/two-languages) stand in both languages. Two folders hold each of them in one language only, in turn:
so every question is asked in each language of each document. Even documents, and questions and pictures marked so, are
dev. The texts are ours; the photographs are Flickr8k's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np

import commonplace as cp
from common import ROOT, data, flickr8k

FOLDER = ROOT / "benchmarks" / "labels" / "two-languages"
LANGUAGES = ("zh", "en")
PHOTOGRAPHS = 40
SHOW = {"en": "Show me {}", "zh": "给我看{}的照片"}
FIRST = 3

Question = dict[str, Any]


@cache
def texts(code: str) -> dict[str, str]:
    """Return the documents in a language, by name."""
    parts = re.split(r"^%%% (\S+)\n", (FOLDER / f"{code}.txt").read_text(encoding="utf-8"), flags=re.M)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def languages_of(turn: int) -> dict[str, str]:
    """Return the language in which a folder (``turn`` 0 or 1) holds each document; dev and test are alike in it."""
    return {name: LANGUAGES[(n // 2 + turn) % 2] for n, name in enumerate(texts("en"))}


def questions(dev: bool) -> list[Question]:
    """Return the questions of a half: each has ``zh`` and ``en``, and a ``document`` with the ``answer``, or a
    ``picture``, or neither, where nothing answers."""
    rows = [json.loads(line) for line in (FOLDER / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if (row["split"] == "dev") == dev]


def records(turn: int, dev: bool) -> Iterable[cp.Record]:
    """Yield the documents of a folder, and its photographs: those asked for, and others of the same split."""
    for name, code in languages_of(turn).items():
        yield cp.Record(data=texts(code)[name].encode(), name=f"{name}.md", id=name)
    wanted = [row["picture"] for row in questions(dev) if "picture" in row]
    others = [name for name in list(flickr8k("dev" if dev else "test"))[-300:] if name not in wanted]
    drawn = np.random.default_rng(0).permutation(others)[: PHOTOGRAPHS - len(wanted)].tolist()
    for name in sorted([*wanted, *drawn]):
        yield cp.Record(image=data("flickr8k") / "images" / name, id=name)


def says(answer: cp.Answer, groups: Sequence[Sequence[str]]) -> bool:
    """Return whether an answer has one word of each group; numbers must stand as a whole."""
    text = re.sub(r"\s+", "", " ".join(block.text for block in answer.blocks).casefold())
    text = re.sub(r"(?<=\d),(?=\d{3})", "", text)

    def has(word: str) -> bool:
        before, after = (r"(?<!\d)" if word[0].isdigit() else ""), (r"(?!\d)" if word[-1].isdigit() else "")
        return re.search(before + re.escape(word) + after, text) is not None

    return all(any(has(word) for word in group) for group in groups)


def outcomes_of(kb: cp.Collection, turn: int, dev: bool) -> list[dict[str, Any]]:
    """Return, for each question in each language, what happened: ``asked``, ``held`` (the document's language, or the
    kind) and outcomes by name."""
    outcomes = []
    held = languages_of(turn)
    for row in questions(dev):
        for code in LANGUAGES:
            one: dict[str, Any] = {"asked": code, "question": row[code], "turn": turn}
            if "document" in row or "picture" in row:
                wanted = row.get("document") or row["picture"]
                ids = list(dict.fromkeys(hit.item.document.id for hit in kb.search(row[code], k=12)))
                one["found"] = wanted in ids[:FIRST]
                one["first"] = wanted in ids[:1]
            if "document" in row:
                answer = kb.ask(row[code])
                one |= {"held": held[row["document"]], "silent": answer.abstained, "wanted": row["answer"]}
                one["answered"] = not answer.abstained and says(answer, row["answer"])
            elif "picture" in row:
                answer = kb.ask(SHOW[code].format(row[code]))
                shown = [
                    answer.citation(block.citations[0]).hit.item.document.id
                    for block in answer.blocks
                    if block.kind == "image"
                ]
                one |= {"held": "photographs", "silent": answer.abstained, "answered": row["picture"] in shown}
            else:
                answer = kb.ask(row[code])
                one |= {"held": "nothing", "answered": answer.abstained}
            one["text"] = " ".join(block.text for block in answer.blocks)
            outcomes.append(one)
    return outcomes
