"""What the recipe reads: captioned photographs, products, groceries, passages with questions, ImageNet's class names.

Pictures and captions come from the folder in ``COMMONPLACE_DATA`` (see its README for sources and terms); class
names from the word lists that the package ``timm`` carries. Nothing of it is copied into the repository.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

DATA = Path(os.environ.get("COMMONPLACE_DATA", Path(__file__).parents[2] / "shared" / "data"))
WORK = Path(os.environ.get("COMMONPLACE_WORK", Path(tempfile.gettempdir()) / "commonplace-models"))
"""Caches (decoded features, text vectors); safe to delete, rebuilt on demand."""


HELD = 300
"""Pictures at the end of the dev split that nothing is ever trained on: the bundle's statistics come from them."""


@dataclass(frozen=True, slots=True)
class Captioned:
    """Pictures and their captions; ``owner[j]`` is the row in ``paths`` that ``captions[j]`` describes."""

    paths: list[Path]
    captions: list[str]
    owner: list[int]


def flickr8k(split: str) -> Captioned:
    """Return the official split ``train`` (6,000 pictures), ``dev`` (1,000) or ``test`` (1,000), 5 captions each."""
    root = DATA / "flickr8k"
    names = (root / f"Flickr_8k.{split}Images.txt").read_text().split()
    told: dict[str, list[str]] = {name: [] for name in names}
    for line in (root / "Flickr8k.token.txt").read_text().splitlines():
        key, caption = line.split("\t")
        name = key.rsplit("#", 1)[0]
        if name in told:  # the token file also holds a picture that no split has
            told[name].append(caption.removesuffix(" .").strip())
    captions = [caption for name in names for caption in told[name]]
    owner = [row for row, name in enumerate(names) for _ in told[name]]
    return Captioned([root / "images" / name for name in names], captions, owner)


def flickr8k_cn(split: str, kind: str = "zhc") -> Captioned:
    """Return the same pictures with Chinese sentences, five each: written by people (``zhc``), or machine translations
    of the English ones by two services (``zhg``, ``zhb``: not of the split ``test``)."""
    paths = flickr8k(split).paths
    sentences: dict[str, list[str]] = {path.name: [] for path in paths}
    for line in (DATA / "flickr8k_cn" / f"flickr8k{kind}.caption.txt").read_text(encoding="utf-8").splitlines():
        key, sentence = line.split(" ", 1)
        name = key.split("#", 1)[0]
        if name in sentences:
            sentences[name].append(sentence.strip())
    captions = [sentence for path in paths for sentence in sentences[path.name]]
    return Captioned(paths, captions, [row for row, path in enumerate(paths) for _ in sentences[path.name]])


def fashion() -> Captioned:
    """Return 2,500 product pictures with their titles."""
    rows = [json.loads(line) for line in (DATA / "fashion" / "products.jsonl").read_text().splitlines()]
    paths = [DATA / "fashion" / "images" / f"{row['id']}.jpg" for row in rows]
    return Captioned(paths, [row["productDisplayName"] for row in rows], list(range(len(rows))))


@dataclass(frozen=True, slots=True)
class Grocery:
    """81 products: studio photo, description and name each; shop photos with their fine class as a row of these,
    and their coarse class (all apples are one kind)."""

    studio: list[Path]
    descriptions: list[str]
    names: list[str]
    shop: list[Path]
    shop_class: list[int]
    shop_kind: list[int]


def grocery() -> Grocery:
    root = DATA / "grocery"
    studio, descriptions, names = [], [], []
    with (root / "classes.csv").open(newline="") as lines:
        for row in csv.DictReader(lines):
            studio.append(root / row["Iconic Image Path (str)"].lstrip("/"))
            text = (root / row["Product Description Path (str)"].lstrip("/")).read_text(errors="replace")
            descriptions.append(" ".join(text.split("\nTitle:")[0].split()))
            names.append(row["Class Name (str)"].replace("-", " "))
    photos = [line.split(", ") for line in (root / "photos.txt").read_text().splitlines()]
    product, kind = ([int(photo[i]) for photo in photos] for i in (1, 2))
    return Grocery(studio, descriptions, names, [root / photo[0] for photo in photos], product, kind)


def cranfield() -> tuple[list[str], list[str], dict[int, dict[int, int]]]:
    """Return abstracts, questions and judgments: question row -> {abstract row: gain}, gain 1 (least) to 4 (best)."""
    root = DATA / "cranfield"

    def records(name: str) -> list[str]:
        return re.split(r"^\.I .*$", (root / name).read_text(errors="replace"), flags=re.M)[1:]

    def field(record: str, tag: str) -> str:
        found = re.search(rf"^\.{tag}\s*$(.*?)(?=^\.[A-Z]\s*$|\Z)", record, flags=re.M | re.S)
        return " ".join(found.group(1).split()) if found else ""

    abstracts = [field(record, "W") for record in records("cran.all.1400")]  # the abstract opens with its title
    questions = [field(record, "W") for record in records("cran.qry")]
    judgments: dict[int, dict[int, int]] = {}
    for line in (root / "cranqrel").read_text().splitlines():
        question, abstract, grade = (int(word) for word in line.split())
        if grade > 0:
            judgments.setdefault(question - 1, {})[abstract - 1] = 5 - grade
    return abstracts, questions, judgments


def xquad(language: str) -> tuple[list[str], list[str], list[int]]:
    """Return passages, questions and, for each question, the row of its passage."""
    passages, questions, owner = [], [], []
    for article in json.loads((DATA / "xquad" / f"xquad.{language}.json").read_text())["data"]:
        for paragraph in article["paragraphs"]:
            for qa in paragraph["qas"]:
                questions.append(qa["question"])
                owner.append(len(passages))
            passages.append(paragraph["context"])
    return passages, questions, owner


def wsl_paragraphs() -> list[str]:
    """Return the prose paragraphs (120 characters or more) of a real documentation tree."""
    found = []
    for page in sorted((DATA / "docs_wsl").rglob("*.md")):
        for block in page.read_text(errors="replace").split("\n\n"):
            text = " ".join(block.split())
            if len(text) >= 120 and text[0].isalpha():
                found.append(text)
    return found


def class_names() -> tuple[list[list[str]], list[str]]:
    """Return ImageNet's 1,000 classes in the classifier's order: the names of each, and its one-line definition."""
    spec = importlib.util.find_spec("timm")  # found, not imported: importing it would want torchvision
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("The package timm carries the class names: pip install --no-deps timm")
    info = Path(spec.origin).parent / "data" / "_info"

    def table(name: str) -> dict[str, str]:
        return dict(line.split("\t", 1) for line in (info / name).read_text().splitlines())

    lemmas, definitions = table("imagenet_synset_to_lemma.txt"), table("imagenet_synset_to_definition.txt")
    synsets = (info / "imagenet_synsets.txt").read_text().split()
    names = [[name.strip().replace("_", " ") for name in lemmas[s].split(",")] for s in synsets]
    return names, [definitions[s] for s in synsets]


def chinese_class_names() -> list[list[str]]:
    """Return one or two Chinese names of each of the 1,000 classes, in the same order."""
    lines = (Path(__file__).parent / "classes.zh.txt").read_text(encoding="utf-8").splitlines()
    return [line.split("/") for line in lines]
