"""Ordinary folders asked as people ask: found, answered rightly, nothing of another row, silent where nothing answers.

    python benchmarks/ordinary.py [--dev | --test | --fresh] [--folder NAME] [--model NAME] [--failures]

Seventeen folders (ordinary/*.txt, see ordinary_files.py), thirteen for choices and four for report, with questions
(ordinary/questions.jsonl). All texts are ours; the photographs are Flickr8k's, and what needs them is left out without
the development data. The product is used as it comes: each folder is added to a collection, searched and asked.

A question has ``files`` (any of which answers; with ``every`` all must be cited), groups of words of which one each
``must`` stand in the answer, words that must ``not`` (of a neighbouring row, of another fact), and the ``most``
sentences that it takes; or it is ``absent``, and silence is right, or a sentence with the words that ``may`` be said. It
may have an ``image``, and a question ``before`` it. ``date:2026-05-04`` stands for all ways to write that day.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import commonplace as cp
from common import data, interval, keep, machine, table
from ordinary_files import FOLDERS, make

FRESH = ("parish", "guesthouse", "observatory")
"""Folders for choices, whose questions mostly use other words than the texts."""
DEV = ("firm", "household", "manual", "album", "school", "vet", "shop", "archive", "landlord", "teahouse", *FRESH)
TEST = ("club", "lectures", "clinic", "research")
FIRST = 3  # hits in which a file counts as found

Question = dict[str, Any]
Outcome = dict[str, Any]

_MONTHS = {
    "en": [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ],
    "de": [
        "Januar",
        "Februar",
        "März",
        "April",
        "Mai",
        "Juni",
        "Juli",
        "August",
        "September",
        "Oktober",
        "November",
        "Dezember",
    ],
}


def questions(folders: Iterable[str]) -> list[Question]:
    """Return the questions about these folders."""
    lines = (FOLDERS / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    return [row for row in map(json.loads, lines) if row["folder"] in folders]


def spellings(word: str) -> list[str]:
    """Return the ways to write a word: of ``date:2026-05-04`` those of the day, with and without the year."""
    if not word.startswith("date:"):
        return [normalized(word)]
    year, month, day = map(int, word.removeprefix("date:").split("-"))
    english, german = (_MONTHS[code][month - 1] for code in ("en", "de"))
    ways = [f"{year}-{month:02}-{day:02}", f"{day}.{month}.{year}", f"{day:02}.{month:02}.{year}"]
    ways += [f"{day:02}/{month:02}/{year}", f"{day}/{month}/{year}", f"{month}/{day}/{year}"]
    ways += [f"{month}月{day}日", f"{day}. {german}", f"{english} {day}", f"{english[:3]} {day}"]
    ways += [f"{number} {name}" for number in (f"{day}", f"{day:02}") for name in (english, english[:3])]
    return [normalized(way) for way in ways]


def normalized(text: str) -> str:
    """Return a text for comparison: one case and width, no marks of Markdown, no commas in numbers."""
    text = unicodedata.normalize("NFKC", text.replace("，", " ， ")).casefold().replace("’", "'").replace("–", "-")
    text = re.sub(r"[*`\\]", "", text)
    return re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", " ".join(text.split()))


def has(text: str, word: str) -> bool:
    """Return whether a normalized text has a word: from its beginning; a number or a short word whole."""
    letter = "[a-zß-ÿ]"
    for way in spellings(word):
        left = r"(?<!\d)(?<!\d[.,])" if way[0].isdigit() else rf"(?<!{letter})" if re.match(letter, way) else ""
        zeros = "0*" if re.search(r"\.\d+$", way) else r"(?:[.,]0+)?"  # 12.5 and 12.50, 31 and 31.00
        right = (
            rf"{zeros}(?![.,]?\d)" if way[-1].isdigit() else rf"(?!{letter})" if len(way) <= 3 and way.isascii() else ""
        )
        if re.search(left + re.escape(way) + right, text):
            return True
    return False


def sentences(answer: cp.Answer) -> int:
    """Return the number of sentences, rows and items of an answer; code and pictures do not count."""
    lines = [line for block in answer.blocks if block.kind == "text" for line in block.text.split("\n") if line.strip()]
    end = r"(?<!\bMr\.)(?<!\bMrs\.)(?<!\bDr\.)(?<!\bNr\.)(?<=[.!?])\s+(?=[A-ZÄÖÜ\"“])|(?<=[。！？])(?=.)"
    return sum(len(re.split(end, re.sub(r"^(?:\d{1,2}\.|-) ", "", line.strip()))) for line in lines)


def _answer_and_hits(
    kb: cp.Collection, words: str | None, image: Path | None, before: Sequence[str]
) -> tuple[cp.Answer, Sequence[cp.Hit]]:
    """Return the answer and what the search shows; of a follow-up what its answer was written from."""
    if before:
        talk = kb.chat()
        for earlier in before:
            talk.ask(earlier)
        answer = talk.ask(words or "")
        return answer, answer.hits
    return kb.ask(words, image=image), kb.search(words, image=image, k=10)


def asked(kb: cp.Collection, home: Path, row: Question) -> Outcome:
    """Ask one question and return what happened; outcomes that do not apply to it are absent."""
    words, image = row["question"] or None, home / row["image"] if "image" in row else None
    name: Callable[[cp.Document], str] = lambda document: Path(document.path).relative_to(home).as_posix()  # noqa: E731
    try:
        answer, hits = _answer_and_hits(kb, words, image, row.get("before", ()))
    except cp.CommonplaceError as error:  # what cannot be asked is a failure like any other
        answer, hits = cp.Answer(words or "", (), (), (), abstained=True, reason=str(error)), ()
    silent = answer.abstained or not answer.blocks
    said = normalized(" ".join(block.text for block in answer.blocks))
    cited = {name(item.document) for c in answer.citations for item in (c.hit.item, *c.hit.near_duplicates)}
    wrong = not silent and any(has(said, word) for word in row.get("not", ()))
    outcome: Outcome = {"row": row, "said": "" if silent else " ¶ ".join(block.text for block in answer.blocks)}
    outcome["cited"] = sorted(cited)
    if row.get("absent"):
        outcome["abstained"] = silent or (not wrong and any(has(said, word) for word in row.get("may", ())))
        return outcome
    query_image = row.get("image")  # no hit, where it is not what is asked for
    hit_paths = [{name(item.document) for item in (hit.item, *hit.near_duplicates)} for hit in hits]
    hit_paths = [paths for paths in hit_paths if query_image in row["files"] or paths != {query_image}][:FIRST]
    outcome["found"] = bool(set(row["files"]) & set().union(*hit_paths))
    of_file = set(row["files"]) <= cited if row.get("every") else bool(set(row["files"]) & cited)
    outcome["right"] = not silent and of_file and all(any(has(said, w) for w in g) for g in row.get("must", ()))
    outcome["silent"] = silent
    if "not" in row and not silent:
        outcome["clean"] = not wrong
    if "most" in row and not silent:
        outcome["long"] = sentences(answer) > row["most"]
    outcome["accepted"] = outcome["right"] and not wrong and not outcome.get("long", False)
    return outcome


def outcomes_of(folder: str, photographs: Path | None, model: str | None = None) -> list[Outcome]:
    """Make a folder and a collection of it, and ask its questions. ``model``: a name or a folder; else as shipped."""
    with tempfile.TemporaryDirectory() as work:
        home = Path(work).resolve() / folder
        missing = set(make(folder, home, photographs))
        with cp.open(Path(work) / "collection", model=model) as kb:
            report = kb.add(home, progress=False)
            if report.failed:
                raise SystemExit(f"{folder}: files could not be read: {report.failed}")
            rows = [row for row in questions([folder]) if not missing & {*row.get("files", ()), row.get("image")}]
            return [asked(kb, home, row) for row in rows]


MEASURES = {
    "found": "found in the first three",
    "right": "answered rightly",
    "clean": "nothing of another row",
    "long": "sentences too many",
    "accepted": "right, clean and short",
    "silent": "wrongly abstained",
    "abstained": "rightly abstained",
}


def figures(outcomes: Sequence[Outcome]) -> dict[str, tuple[int, float, float, float]]:
    """Return for each measure the number of questions, the share and its 95% interval, in per cent."""
    shares = {}
    for measure in MEASURES:
        values = [100.0 * outcome[measure] for outcome in outcomes if measure in outcome]
        if values:
            shares[measure] = (len(values), *interval(values))
    return shares


def table_row(name: str, group: Sequence[Outcome], whole: bool) -> list[object]:
    """Return a line of the table; with intervals where it is ``whole``."""
    line: list[object] = [name, len(group)]
    shares = figures(group)
    for measure in MEASURES:
        if measure not in shares:
            line.append("")
            continue
        _, mean, low, high = shares[measure]
        line.append(f"{mean:.0f} ({low:.0f} to {high:.0f})" if whole else f"{mean:.0f}")
    return line


def grouped(outcomes: Sequence[Outcome], key: str) -> dict[str, list[Outcome]]:
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(outcome["row"][key], []).append(outcome)
    return groups


def report_of(outcomes: Sequence[Outcome], seconds: float) -> str:
    """Return the tables."""
    head = ["", "questions", *(f"{title}, %" for title in MEASURES.values())]
    lines = [table_row("all", outcomes, True)]
    lines += [table_row(name, group, True) for name, group in grouped(outcomes, "folder").items()]
    languages = [table_row(name, group, True) for name, group in grouped(outcomes, "language").items()]
    kinds = [table_row(name, group, False) for name, group in sorted(grouped(outcomes, "kind").items())]
    return f"Measured on {machine()}, {seconds:.0f} s. Intervals are 95% bootstrap over questions.\n\n" + "\n\n".join(
        table(head, rows) for rows in (lines, languages, kinds)
    )


def failures(outcomes: Sequence[Outcome]) -> None:
    """Print each question that went wrong, what was expected and what was said."""
    for outcome in outcomes:
        row: Mapping[str, Any] = outcome["row"]
        bad = [m for m in ("found", "right", "clean", "abstained") if not outcome.get(m, True)]
        bad += ["long"] if outcome.get("long") else []
        if bad:
            print(f"{row['id']} [{row['kind']}] {row['question'] or row.get('image')}  -> {', '.join(bad)}")
            print(f"   wanted {row.get('must', '')} {row.get('files', 'silence')}; not {row.get('not', [])}")
            print(f"   said   {outcome['said'] or '(abstained)'} {outcome['cited']}")


def in_other_words(photographs: Path | None) -> None:
    """Ask the folders whose questions use other words than the texts, with each model that comes as a package."""
    lines, values = [], {}
    for model in ("minilm-lite0", "multilingual"):
        outcomes = [outcome for folder in FRESH for outcome in outcomes_of(folder, photographs, model)]
        groups = {"all": outcomes, **grouped(outcomes, "folder"), **grouped(outcomes, "language")}
        lines += [table_row(f"{model}: {name}", group, True) for name, group in groups.items()]
        values[model] = {name: figures(group) for name, group in groups.items()}
    head = ["", "questions", *(f"{title}, %" for title in MEASURES.values())]
    text = f"Measured on {machine()}. Intervals are 95% bootstrap over questions.\n\n{table(head, lines)}"
    keep("ordinary_words", text, values)


def main() -> None:
    """Ask, print, and keep the table of the test half."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    half = parser.add_mutually_exclusive_group()
    half.add_argument("--dev", action="store_true", help="the half for choices only; writes nothing")
    half.add_argument("--test", action="store_true", help="the half for report only")
    half.add_argument("--fresh", action="store_true", help="questions in other words, with both models; writes a table")
    parser.add_argument("--folder", choices=[*DEV, *TEST], help="one folder only; writes nothing")
    parser.add_argument("--failures", action="store_true", help="print what went wrong (dev only)")
    parser.add_argument("--model", help="another model than the shipped one; writes nothing")
    options = parser.parse_args()
    halves = [DEV] if options.dev else [TEST] if options.test else [DEV, TEST]
    try:
        photographs: Path | None = data("flickr8k") / "images"
    except SystemExit as reason:
        photographs = None
        print(f"without photographs: {reason}")
    if options.fresh:
        in_other_words(photographs)
        return
    for folders in halves:
        chosen = [name for name in folders if options.folder in (None, name)]
        begin = time.perf_counter()
        outcomes = [outcome for folder in chosen for outcome in outcomes_of(folder, photographs, options.model)]
        if not outcomes:
            continue
        text = report_of(outcomes, time.perf_counter() - begin)
        if options.failures and folders is DEV:  # whoever reads the failures of test tunes to them
            failures(outcomes)
        if folders is DEV or options.folder or options.model or photographs is None:
            print(f"{'dev' if folders is DEV else 'test'}\n\n{text}\n")
            continue
        values = {
            "all": figures(outcomes),
            **{
                key: {n: figures(g) for n, g in grouped(outcomes, key).items()}
                for key in ("folder", "language", "kind")
            },
        }
        keep("ordinary", text, values)


if __name__ == "__main__":
    main()
