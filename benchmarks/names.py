"""Are exact, rare matches found? Names, numbers and codes that stand in one passage, and files asked for by name.

    python benchmarks/names.py [--dev] [--folder FOLDER]

    python benchmarks/names.py --written

One mixed folder: paragraphs of XQuAD-en and abstracts of Cranfield as text files, a manual in Markdown, office files
and photographs. Words are drawn by a rule: capitalised inside a sentence, or with a digit, and in one passage only. Beside them lie short notes with names and codes of many kinds (``WRITTEN``), which are
asked for in another spelling. With ``--written``, only these notes are added and asked for.
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

WRITTEN: dict[str, list[tuple[str, tuple[str, ...]]]] = {
    "Chinese name": [(n, (n, f"{n}是谁", f"关于{n}")) for n in ("王小明", "欧阳修文", "赵丽华", "司马云", "周杰")],
    "name with an apostrophe": [
        ("O'Brien", ("O'Brien", "OBrien", "o brien", "O’Brien")),
        ("D’Angelo", ("D'Angelo", "dangelo", "who is DAngelo?")),
        ("N'Golo", ("ngolo", "N Golo")),
        ("McCarthy", ("mccarthy", "Mc Carthy")),
    ],
    "name with other letters": [
        ("Müller", ("Müller", "Mueller", "muller")),
        ("Gödel", ("Goedel", "Godel")),
        ("Strauß", ("Strauss", "STRAUSS")),
        ("Ødegård", ("Odegard", "ødegård")),
        ("Łukasz", ("Lukasz", "who is łukasz?")),
        ("Škvorecký", ("Skvorecky", "škvorecký")),
        ("Peñaranda", ("Penaranda", "peñaranda")),
    ],
    "name with a hyphen": [
        ("Saint-Exupéry", ("Saint Exupery", "saint-exupery", "SaintExupery")),
        ("Lévi-Bruhl", ("Levi Bruhl", "levi-bruhl", "what about Levi-Bruhl?")),
        ("Anne-Sophie Perrault", ("anne sophie perrault", "Perrault")),
    ],
    "code": [
        ("QX-4471", ("QX-4471", "qx4471", "QX 4471", "qx_4471", "what is the price of QX4471?")),
        ("vb 12-38", ("VB1238", "vb-12-38", "vb 12 38")),
        ("KTR9902", ("ktr-9902", "KTR 9902", "ktr 99-02")),
        ("H.77/405-B", ("H77/405-B", "h 77 405 b", "H.77/405")),
        ("ＺＲ－３１０５", ("ZR-3105", "zr3105")),
        ("WF-6120", ("ＷＦ－６１２０", "ＷＦ６１２０")),
    ],
    "telephone number": [
        ("+49 30 5567812", ("+49 30 5567812", "+49305567812", "030 5567812", "030/5567812")),
        ("(0041) 44 668 18 00", ("0041446681800", "044 668 18 00", "+41 44 668 18 00")),
        ("0221-9876541", ("02219876541", "0221 9876541", "+49 221 9876541")),
    ],
    "e-mail address": [
        ("anna.kurz@example.org", ("anna.kurz@example.org", "ANNA.KURZ@EXAMPLE.ORG", "anna.kurz", "mail of anna.kurz")),
        ("b_lindqvist@mail.example", ("b_lindqvist@mail.example", "lindqvist")),
    ],
    "quotation": [
        ("a blue heron at dawn", ('"blue heron at dawn"', "who wrote “blue heron at dawn”?")),
        ("dawn over a blue heron", ('"dawn over a blue heron"',)),
        ("绿灯亮时方可进入", ("“绿灯亮时”", "「绿灯亮时方可进入」")),
    ],
    "two names": [
        ("Kowalczyk met Brandvold", ("Kowalczyk Brandvold", "what did Brandvold say to Kowalczyk?")),
        ("Kowalczyk was late", ()),
        ("Brandvold was early", ()),
    ],
    "name with one letter wrong": [
        ("Wisniewska", ("Wisnewska", "wisniewski", "Wisniewksa")),
        ("Thorvaldsen", ("Thorvaldson", "Torvaldsen")),
        ("Amarasinghe", ("Amarasinge", "Amarasignhe")),
    ],
}
"""By kind: what a note says, and the queries of which that note is the only right hit."""
NOTES = (
    "The meeting was moved to the small room because of the noise. {} is written on the door. Coffee is ready at ten.",
    "On Tuesday the parcel came. The label says {}, and nobody knows more about it.",
    "The old list in the drawer mentions {} beside the garden tools and the winter tyres.",
    "Please keep this page. It concerns {} and the repair of the fence behind the house.",
)
NOTE_ZH = "会议改到三楼的小房间。门上写着{}。十点有咖啡。"


def build_notes(folder: Path) -> None:
    """Write one note for each name and code of ``WRITTEN``, in files whose names say nothing."""
    folder.mkdir(parents=True)
    texts = [text for kind in WRITTEN.values() for text, _ in kind]
    for n, text in enumerate(texts):
        note = NOTE_ZH if re.search("[一-鿿]", text) else NOTES[n % len(NOTES)]
        (folder / f"{n:03}.txt").write_text(note.format(text), "utf-8")


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
    build_notes(folder / "notes")
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


def mistyped(name: str, draw: random.Random) -> str:
    """Return the name of a file with two letters swapped in its longest word, if that has five letters."""
    word = max(re.findall(r"[^\W\d_]+", name), key=len)
    places = [n for n in range(1, len(word) - 1) if word[n] != word[n + 1]]
    if len(word) < 5 or not places:
        return name
    n = draw.choice(places)
    return name.replace(word, word[:n] + word[n + 1] + word[n] + word[n + 2 :], 1)


def rank(hits: Sequence[Hit], right: Callable[[Hit], bool]) -> int:
    """Return the place of the first right hit, from 1; 0 if there is none."""
    return next((n for n, hit in enumerate(hits, start=1) if right(hit)), 0)


def main() -> None:
    """Measure, print and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dev", action="store_true", help="the dev half, for choosing; nothing is kept")
    parser.add_argument("--folder", type=Path, help="where the collection is made, or lies already")
    parser.add_argument("--written", action="store_true", help="only the notes, for choosing; nothing is kept")
    parser.add_argument("--words", type=int, default=PER_HALF, help="number of words (for a quick look)")
    parser.add_argument("--verbose", action="store_true", help="print what was not found first")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        base = options.folder or Path(temporary)
        if not (base / "folder").exists():
            (build_notes if options.written else build)(base / "folder")
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
    folders = sorted({name for d in documents if "/folder/" in d.path
                      for name in Path(d.path.split("/folder/")[1]).parts[:-1] if len(name) > 3})  # fmt: skip
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

    def lines_of_notes() -> None:
        for kind, texts in WRITTEN.items():
            line(kind, [(query, says(text)) for text, queries in texts for query in queries])

    def says(text: str) -> Callable[[Hit], bool]:
        return lambda hit: text in (hit.item.text or "")

    def in_folder(name: str) -> Callable[[Hit], bool]:
        return lambda hit: name in Path(hit.item.document.path).parts

    def of(id_: str) -> Callable[[Hit], bool]:
        return lambda hit: hit.item.document.id == id_

    if options.written:
        lines_of_notes()
        return
    for frame in FRAMES:
        line(frame.format("NAME"), [(frame.format(w), holds(id_)) for w, id_ in words], frame == FRAMES[0])
    line("name", [(w.lower(), holds(id_)) for w, id_ in words])
    line("FILE.EXTENSION", [(Path(d.path).name, of(d.id)) for d in files])
    line("FILE", [(Path(d.path).stem, of(d.id)) for d in files])
    line("FILE in words", [(" ".join(re.findall(r"[^\W_]+", Path(d.path).stem.lower())), of(d.id)) for d in files])
    line("FILE.EXTENSION with one letter wrong", [(mistyped(Path(d.path).name, draw), of(d.id)) for d in files])
    line("FOLDER", [(name, in_folder(name)) for name in folders])
    line("open FILE.EXTENSION", [(f"open {Path(d.path).name}", of(d.id)) for d in files])
    lines_of_notes()
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
