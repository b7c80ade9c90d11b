"""Are exact, rare matches found? Names, numbers and codes that stand in one passage, and files asked for by name.

    python benchmarks/names.py [--dev] [--folder FOLDER]

One mixed folder: paragraphs of XQuAD-en and abstracts of Cranfield as text files, a manual in Markdown, office files
and photographs. Words are drawn by a rule: capitalised inside a sentence, or with a digit, and in one passage only.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import commonplace as cp
from common import data, flickr8k, keep, machine, table
from commonplace.types import Hit

PER_HALF = 150  # words
FILES_PER_HALF = 40
ABSTRACTS, PHOTOGRAPHS = 400, 150
WORD = re.compile(r"\w+(?:[-._/:@]\w+)*")
FRAMES = ("{}", "what about {}", "who is {}", "tell me about {}", "where is {} mentioned?")
LIKE_A_NAME = re.compile(r"(?<=[a-z,;] )[A-Z][a-z]{3,}|[A-Za-z]*(?:[-._/]?\d)+[\w./-]*\w")


def build(folder: Path) -> None:
    """Write the mixed folder."""
    for at, article in enumerate(json.loads((data("xquad") / "xquad.en.json").read_text("utf-8"))["data"]):
        for n, paragraph in enumerate(article["paragraphs"]):
            file = folder / "articles" / f"{at:02}-{n}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(paragraph["context"], "utf-8")
    abstracts = re.split(r"^\.I ", (data("cranfield") / "cran.all.1400").read_text(), flags=re.M)[1:]
    (folder / "abstracts").mkdir()
    for n, entry in enumerate(abstracts[:ABSTRACTS]):
        (folder / "abstracts" / f"{n:04}.txt").write_text(" ".join(entry.split(".W\n", 1)[1].split()), "utf-8")
    shutil.copytree(data("docs_wsl"), folder / "manual")
    shutil.copytree(data("office"), folder / "office", ignore=shutil.ignore_patterns("README.md"))
    (folder / "photographs").mkdir()
    for name in list(flickr8k("dev"))[:PHOTOGRAPHS]:
        shutil.copy(data("flickr8k") / "images" / name, folder / "photographs" / name)


def words_of(items: Sequence[cp.Item], seed: int) -> list[tuple[str, str]]:
    """Return rare words with the item that holds each, at most one of an item, in random order."""
    holding: dict[str, set[str]] = defaultdict(set)
    likely: dict[str, set[str]] = defaultdict(set)
    paths = " ".join(item.document.path for item in items).lower()
    for item in items:
        text = item.text_view or ""
        for word in WORD.findall(text):
            for part in {word, *re.split(r"[-._/:@]", word)}:
                holding[part.lower()].add(item.id)
        for match in LIKE_A_NAME.finditer(text):
            if len(match.group()) >= 4 and WORD.fullmatch(match.group()):
                likely[item.id].add(match.group())
    draw = random.Random(seed)
    chosen = []
    for item_id in sorted(likely):
        rare = sorted(w for w in likely[item_id] if len(holding[w.lower()]) == 1 and w.lower() not in paths)
        if rare:
            chosen.append((draw.choice(rare), item_id))
    draw.shuffle(chosen)
    return chosen


def rank(hits: Sequence[Hit], right: Callable[[Hit], bool]) -> int:
    """Return the place of the first right hit, from 1; 0 if there is none."""
    return next((n for n, hit in enumerate(hits, start=1) if right(hit)), 0)


def main() -> None:
    """Measure, print and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dev", action="store_true", help="the dev half, for choosing; nothing is kept")
    parser.add_argument("--folder", type=Path, help="where the collection is made, or lies already")
    parser.add_argument("--words", type=int, default=PER_HALF, help="number of words (for a quick look)")
    parser.add_argument("--verbose", action="store_true", help="print what was not found first")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        base = options.folder or Path(temporary)
        if not (base / "folder").exists():
            build(base / "folder")
        with cp.open(base / "kb") as kb:
            print("add:", kb.add(base / "folder"))
            measure(kb, options)


def measure(kb: cp.Collection, options: argparse.Namespace) -> None:
    documents = list(kb.documents())
    items = [item for document in documents for item in kb.items(document) if item.text]
    half = 0 if options.dev else 1
    words = words_of(items, 0)[half::2][: options.words]
    draw = random.Random(1)
    stems = defaultdict(int)
    for document in documents:
        stems[Path(document.path).stem.lower()] += 1
    named = [d for d in sorted(documents, key=lambda d: d.path) if d.items and stems[Path(d.path).stem.lower()] == 1
             and not re.fullmatch(r"[\d_-]+", Path(d.path).stem)]  # fmt: skip
    photographs = [d for d in named if "/photographs/" in d.path]
    others = [d for d in named if "/photographs/" not in d.path]
    draw.shuffle(others), draw.shuffle(photographs)
    files = [*others[half::2][:FILES_PER_HALF], *photographs[half::2][: FILES_PER_HALF // 4]]
    lines, values = [], []

    def line(what: str, ask: Sequence[tuple[str, Callable[[Hit], bool]]], abstain: bool = False) -> None:
        if not ask:
            return
        places = []
        for question, right in ask:
            hits = kb.search(question, k=10)
            place = rank(hits, right)
            places.append(place)
            if options.verbose and place != 1:
                top = hits[0].item
                print(f"  {place:>3} {question!r}: {hits[0].confidence:.2f} {top.document.path[-40:]} "
                      f"{(top.text_view or '')[:50]!r}")  # fmt: skip
        abstained = [kb.ask(question).abstained for question, _ in ask] if abstain else []
        n = len(places)
        first, ten = sum(p == 1 for p in places) / n, sum(p > 0 for p in places) / n
        value = {"asked": what, "number": n, "first": first, "ten": ten}
        lines.append([what, n, f"{100 * first:.1f}%", f"{100 * ten:.1f}%",
                      f"{100 * sum(abstained) / n:.1f}%" if abstained else "-"])  # fmt: skip
        values.append(value | ({"abstained": sum(abstained) / n} if abstained else {}))
        print(lines[-1], flush=True)

    def holds(id_: str) -> Callable[[Hit], bool]:
        return lambda hit: hit.item.id == id_ or any(item.id == id_ for item in hit.near_duplicates)

    def of(id_: str) -> Callable[[Hit], bool]:
        return lambda hit: hit.item.document.id == id_

    for frame in FRAMES:
        line(frame.format("NAME"), [(frame.format(w), holds(id_)) for w, id_ in words], frame == FRAMES[0])
    line("name", [(w.lower(), holds(id_)) for w, id_ in words])
    line("FILE.EXTENSION", [(Path(d.path).name, of(d.id)) for d in files])
    line("FILE", [(Path(d.path).stem, of(d.id)) for d in files])
    line("FILE in words", [(" ".join(re.findall(r"[^\W_]+", Path(d.path).stem.lower())), of(d.id)) for d in files])
    line("open FILE.EXTENSION", [(f"open {Path(d.path).name}", of(d.id)) for d in files])
    head = ["asked", "number", "first", "first ten", "`ask` abstains"]
    text = "\n\n".join(
        [
            f"Measured on {machine()}: {kb.status()['items']} items, of which {len(items)} have words.",
            table(head, lines),
        ]
    )
    if options.dev:
        print(text)
    else:
        keep("names", text, values)


if __name__ == "__main__":
    main()
