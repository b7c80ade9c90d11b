"""What a language model gets to read: how much of what was found, and whether what answers is among it.

    python benchmarks/prompts.py [--dev]

The ordinary folders (ordinary.py) are asked as they are, by a generator that only looks at its request. A piece of
evidence answers if it is of a right file and has one of the right words; of a picture its file is enough. The rule
(commonplace.generation.prompt.evidence) leaves out what has almost no probability; the question is what is lost by it.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import commonplace as cp
from common import data, keep, machine, table
from commonplace.generation import Abstention, Part, Request
from commonplace.generation.prompt import (
    LEAST_PASSAGES,
    MIN_CONFIDENCE,
    MIN_CONFIDENCE_PICTURE,
    estimated_tokens,
    evidence,
    fenced_evidence,
)
from ordinary import DEV, TEST, Question, has, normalized, questions
from ordinary_files import make


class Reader:
    """A generator that keeps the last request, and writes nothing."""

    name = "reader"
    fallback = False

    def __init__(self) -> None:
        self.request: Request | None = None

    def generate(self, request: Request) -> Iterator[Part]:
        """Keep the request."""
        self.request = request
        yield Abstention("nothing is written")


def answers(hit: cp.Hit, row: Question, home: Path) -> bool:
    """Return whether a hit has what a question asks for."""
    names = {Path(item.document.path).relative_to(home).as_posix() for item in (hit.item, *hit.near_duplicates)}
    if not names & set(row["files"]):
        return False
    words = [word for group in row.get("must", ()) for word in group]
    text = normalized(hit.item.text_view or "")
    return hit.item.picture is not None or not words or any(has(text, word) for word in words)


def counts(request: Request, row: Question, home: Path) -> dict[str, Any]:
    """Return what the prompt would have without the rule and with it."""
    kept = set(evidence(request))
    pictures = {n for n, hit in enumerate(request.hits) if hit.item.picture is not None}
    right = {n for n, hit in enumerate(request.hits) if not row.get("absent") and answers(hit, row, home)}
    tokens = [estimated_tokens(fenced_evidence(1, hit, picture_follows=False)) for hit in request.hits]
    return {
        "pieces": len(request.hits),
        "kept": len(kept),
        "pictures": len(pictures),
        "kept pictures": len(pictures & kept),
        "right": len(right),
        "right kept": len(right & kept),
        "lost": [request.hits[n].confidence for n in sorted(right - kept)],
        "answerable": bool(right),
        "answerable kept": bool(right & kept),
        "tokens": sum(tokens),
        "kept tokens": sum(tokens[n] for n in kept),
    }


def of_folder(folder: str, photographs: Path | None) -> list[dict[str, Any]]:
    """Make a folder and a collection, ask its questions, and return the counts of each."""
    reader = Reader()
    with tempfile.TemporaryDirectory() as work:
        home = Path(work).resolve() / folder
        missing = set(make(folder, home, photographs))
        with cp.open(Path(work) / "collection", generator=reader) as kb:
            kb.add(home, progress=False)
            rows = []
            for row in questions([folder]):
                if row.get("image") or row.get("before") or missing & set(row.get("files", ())):
                    continue
                kb.ask(row["question"])
                assert reader.request is not None
                rows.append(counts(reader.request, row, home))
    return rows


def line(name: str, rows: list[dict[str, Any]]) -> list[object]:
    """Return a line of the table."""
    mean = lambda key: f"{sum(row[key] for row in rows) / len(rows):.1f}"  # noqa: E731
    total = lambda key: sum(row[key] for row in rows)  # noqa: E731
    return [
        name,
        len(rows),
        f"{mean('pieces')} / {mean('kept')}",
        f"{mean('pictures')} / {mean('kept pictures')}",
        f"{mean('tokens')} / {mean('kept tokens')}",
        f"{total('right')} / {total('right kept')}",
        f"{total('answerable')} / {total('answerable kept')}",
    ]


def main() -> None:
    """Ask, print and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dev", action="store_true", help="the half for choices only; writes nothing")
    options = parser.parse_args()
    photographs = data("flickr8k") / "images"
    groups = {name: of_folder(name, photographs) for name in (DEV if options.dev else (*DEV, *TEST))}
    head = ["", "questions", "pieces", "pictures", "tokens", "pieces that answer", "questions with one that answers"]
    lines = [line(name, rows) for name, rows in groups.items()]
    lines.append(line("all", [row for rows in groups.values() for row in rows]))
    text = (
        f"Measured on {machine()}; all found (12 hits) / in the prompt, per question, the last two columns in all.\n"
        f"The rule: a confidence of {MIN_CONFIDENCE} (pictures: {MIN_CONFIDENCE_PICTURE}, or relevant by their own score), "
        f"but at least {LEAST_PASSAGES} passages.\n\n{table(head, lines)}"
    )
    print(text, "\nlost:", [round(c, 4) for rows in groups.values() for row in rows for c in row["lost"]])
    if not options.dev:
        keep("prompts", text, {name: line(name, rows)[1:] for name, rows in groups.items()})


if __name__ == "__main__":
    main()
