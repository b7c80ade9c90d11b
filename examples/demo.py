"""The first minute: eight questions to a small library of real photographs and documents, printed and as one page.

    make demo                       the library in examples/library
    make demo OPEN=1                the same, then the page and the program in the browser (`commonplace serve`)
    make demo DOCS=~/some/folder    any folder of yours

Everything is found by the same code as `commonplace search` and `commonplace ask`. Where the photographs and documents
come from, and under which licences, is in examples/README.md.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import commonplace as cp
from commonplace.cli.answers import render
from commonplace.cli.printing import confidence, short
from commonplace.cli.printing import place as place_of
from commonplace.types import printable
from demo_page import POLICY, Entry, page

if TYPE_CHECKING:
    from fastapi import FastAPI

EXAMPLES = Path(__file__).resolve().parent
LIBRARY = EXAMPLES / "library"
MIN_CONFIDENCE = 0.5  # hits that are more likely wrong than right are left out
PORT = 8421


@dataclass(frozen=True)
class Question:
    """A question of the demo: ``title`` says what kind it is; ``ask`` wants an answer rather than a list of hits."""

    title: str
    text: str | None = None
    image: Path | None = None
    ask: bool = False
    modality: str | None = None


# What each finds first was looked at by eye; tests/test_demo.py holds it.
QUESTIONS = (
    Question("Words find a photograph", "a cat looking at the camera"),
    Question("A picture finds a picture", image=EXAMPLES / "queries" / "detail.jpg"),
    Question("A picture and words together", "a person with a camera", image=EXAMPLES / "queries" / "portrait.jpg"),
    Question("A cell of a table in a PDF", "How long is a day on Mars?", ask=True),
    Question("A figure in a PDF, among pictures only", "the sizes of the planets compared", modality="image"),
    Question("How to do something", "How do I make filter coffee?", ask=True),
    Question("In Chinese", "陶渊明喜欢什么花？", ask=True),
    Question("Something that is not there", "What is the Wi-Fi password?", ask=True),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the demo on the folder named on the command line, else on the library in this repository."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="a folder of yours (default: examples/library)")
    parser.add_argument("--work", type=Path, default=EXAMPLES.parent / ".demo", help="where the demo keeps its files")
    parser.add_argument("--open", action="store_true", help="show the page in the browser and go on from there")
    parser.add_argument("--port", type=int, default=PORT, help=f"port of --open (default: {PORT})")
    options = parser.parse_args(arguments)
    own: Path | None = options.folder and options.folder.expanduser()
    if own is not None and not own.exists():
        parser.error(f"there is no folder {own}")
    if options.open:
        check_server(parser)
    folder = own or LIBRARY
    collection = options.work / ("collection-own" if own else "collection")
    shutil.rmtree(collection, ignore_errors=True)
    entries = []
    with cp.open(collection) as kb:
        print(f"add {folder}\n  {kb.add(folder)}")
        counts = kb.status()
        items = ", ".join(f"{count} {kind}" for kind, count in counts["items"].items())
        print(f"  {sum(counts['documents'].values())} documents; items: {items or 'none'}\n")
        for number, question in enumerate(own_questions(kb) if own else QUESTIONS, 1):
            entry = run(kb, question)
            print_entry(number, entry)
            entries.append(entry)
        result = options.work / "result.html"
        result.write_text(page(kb, entries, folder, None), encoding="utf-8", errors="replace")
        live = page(kb, entries, folder, "/") if options.open else ""
    print(f"The same to look at: {result}")
    if options.open:
        serve(live, collection, options.port)
    else:
        print(f'Go on: .venv/bin/commonplace --collection "{collection}" "your words"')


def run(kb: cp.Collection, question: Question) -> Entry:
    """Return a question with its answer or its hits. Unlikely hits are left out, except the best of your own folder."""
    if question.ask:
        answer = kb.ask(question.text, image=question.image)
        return Entry(question.title, question.text, question.image, answer=answer)
    hits = kb.search(
        question.text, image=question.image, k=3, modality=question.modality, min_confidence=MIN_CONFIDENCE
    )
    return Entry(question.title, question.text, question.image, hits=tuple(hits))


def own_questions(kb: cp.Collection) -> Iterator[Question]:
    """Return questions to a folder of yours: by words, by a picture, by both, and one that you type (if you can)."""
    documents = [document for document in kb.documents() if document.items]
    titles = [re.sub(r"^[\d.]+\s+", "", document.title) for document in documents if document.title]
    subject = (titles or [Path(document.path).stem.replace("_", " ") for document in documents] or ["anything"])[0]
    yield Question("Words", subject)
    picture = next((Path(item.path) for item in documents if item.media_type.startswith("image/")), None)
    if picture is not None:
        yield Question("A picture", image=picture, modality="image")
        yield Question("A picture and words", subject, image=picture, modality="image")
    typed = input("Your question: ").strip() if sys.stdin.isatty() else ""
    yield Question("A question", typed or subject, ask=True)


def print_entry(number: int, entry: Entry) -> None:
    """Print a question, and below it the answer or the hits with their places and pictures."""
    print(printable(f"{number}. {entry.title}"))
    words = [f'"{entry.text}"'] if entry.text else []
    print(printable(f"   {' + '.join([*words, *([short(str(entry.image))] if entry.image else [])])}\n"))
    if entry.answer is not None:
        lines = render(entry.answer).splitlines()
    else:
        lines = []
        for marker, hit in enumerate(entry.hits, 1):
            lines.append(f"[{marker}]  {confidence(hit)}  {place(hit)}")
            if hit.item.text and hit.item.modality == "text":
                lines.append(f"     {' '.join(hit.item.text.split())[:90]} …")
            if hit.image and hit.image != hit.item.document.path:  # a picture inside a document
                lines.append(f"     picture: {short(hit.image)}")
        lines = lines or ["Nothing that is likely to be it."]
    print("\n".join("   " + printable(line) if line else "" for line in lines) + "\n")


def place(hit: cp.Hit) -> str:
    """Return where a hit stands: its path, and its place in the document."""
    return ", ".join(filter(None, [short(hit.item.document.path), place_of(hit.item)]))


def check_server(parser: argparse.ArgumentParser) -> None:
    """End with a line that says what to do, if the server's packages are not installed."""
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        parser.error("--open needs the server: run `make demo OPEN=1`, or install the extra serve")


def server_app(text: str, collection: Path, port: int) -> FastAPI:
    """Return what `commonplace serve` serves of the collection, and the demo's page at /demo."""
    from fastapi.responses import HTMLResponse

    from commonplace.server import Library, ServerSettings, create_app

    app = create_app(Library({"demo": str(collection)}), settings=ServerSettings(port=port))
    headers = {"Content-Security-Policy": POLICY}  # the server forbids styles and pictures where nothing is said
    app.add_api_route("/demo", lambda: HTMLResponse(text, headers=headers), include_in_schema=False)
    return app


def serve(text: str, collection: Path, port: int) -> None:
    """Serve the collection and the page until Ctrl+C, and open the page in the browser."""
    import socket
    import webbrowser

    import uvicorn

    try:
        listener = socket.create_server(("127.0.0.1", port))
    except OSError as problem:
        sys.exit(f"demo: port {port} cannot be opened ({problem.strerror}): choose another with --port")
    port = listener.getsockname()[1]
    app = server_app(text, collection, port)
    address = f"http://127.0.0.1:{port}/demo"
    print(f"serving at {address} (stop with Ctrl+C)", flush=True)
    webbrowser.open(address)
    uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[listener])


if __name__ == "__main__":
    main()
