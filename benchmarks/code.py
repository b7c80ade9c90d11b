"""Source code by its structure against the same as plain text: is the function found that a docstring describes?

python benchmarks/code.py [--every N]

Every (Nth) function and method of this repository's own sources whose docstring has five words or more is asked for by the first
sentence of that docstring; all docstrings are taken out of what is searched. A hit is right that covers half of the
function or lies with half of itself in it; the ranking is that of `search` (words and meaning).
"""

from __future__ import annotations

import argparse
import ast
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path

import commonplace
from common import ROOT, interval, keep, machine, table

SOURCES = ROOT / "src" / "commonplace"
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)

Place = tuple[str, int, int]  # file's stem, offsets


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield the functions and methods of a module."""
    yield from (node for node in ast.walk(tree) if isinstance(node, FUNCTION))


def stripped(text: str) -> str:
    """Return Python without its docstrings, an ellipsis in place of each."""
    lines = text.splitlines(keepends=True)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (*FUNCTION, ast.ClassDef, ast.Module)) and ast.get_docstring(node) is not None:
            first, last = node.body[0].lineno - 1, (node.body[0].end_lineno or 0) - 1
            lines[first] = " " * node.body[0].col_offset + "...\n"
            lines[first + 1 : last + 1] = ["\n"] * (last - first)
    return "".join(line for at, line in enumerate(lines) if line.strip() or not (at and not lines[at - 1].strip()))


def docstring_queries(text: str, bare: str, name: str) -> Iterator[tuple[str, Place]]:
    """Yield the first sentence of each docstring with where its function stands in the text without them."""
    places = [0]
    for line in bare.splitlines(keepends=True):
        places.append(places[-1] + len(line))
    bare_functions = list(functions(ast.parse(bare)))
    for node, bare_node in zip(functions(ast.parse(text)), bare_functions, strict=True):
        sentence = (ast.get_docstring(node) or "").partition("\n\n")[0].partition(". ")[0].replace("`", "")
        if len(sentence.split()) >= 5:
            yield " ".join(sentence.split()), (name, places[bare_node.lineno - 1], places[bare_node.end_lineno or 0])


def measured(folder: Path, questions: list[tuple[str, Place]]) -> tuple[list[float], list[float], float, int]:
    """Return nDCG@10 and whether the first hit is right by question, the share of functions that are whole, items."""
    scores, first = [], []
    with tempfile.TemporaryDirectory() as work, commonplace.open(Path(work) / "kb") as kb:
        kb.add(folder, progress=False)
        items = [item for document in kb.documents() for item in kb.items(document)]
        spans: dict[str, list[tuple[int, int]]] = {}
        for item in items:
            spans.setdefault(Path(item.document.path).stem, []).append((item.span.start or 0, item.span.end or 0))
        complete = [
            any(s <= start + 12 and e >= end - 2 for s, e in spans[name]) for _, (name, start, end) in questions
        ]
        for question, (name, start, end) in questions:
            rank = 0
            for place, hit in enumerate(kb.search(question, k=10), 1):
                span = hit.item.span
                same = Path(hit.item.document.path).stem == name
                shared = min(end, span.end or 0) - max(start, span.start or 0) if same else 0
                if shared >= 0.5 * min(end - start, (span.end or 0) - (span.start or 0)):
                    rank = place
                    break
            scores.append(1 / math.log2(rank + 1) if rank else 0.0)
            first.append(float(rank == 1))
    return scores, first, sum(complete) / len(complete), len(items)


def main() -> None:
    """Read the sources both ways, ask, keep the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=int, default=1)
    every = parser.parse_args().every
    texts = {
        "__".join(path.relative_to(SOURCES).with_suffix("").parts): path.read_text()
        for path in sorted(SOURCES.rglob("*.py"))
    }
    bare = {name: stripped(text) for name, text in texts.items()}
    questions = [query for name, text in texts.items() for query in docstring_queries(text, bare[name], name)][::every]
    rows, values = [], {}
    baseline: list[float] = []
    for kind, ending in (("plain text", ".txt"), ("by structure", ".py")):
        with tempfile.TemporaryDirectory() as work:
            for name, text in bare.items():
                (Path(work) / f"{name}{ending}").write_text(text)
            scores, first, complete, items = measured(Path(work), questions)
        baseline = baseline or scores
        change = interval([a - b for a, b in zip(scores, baseline, strict=True)])
        cells = [
            f"{100 * mean:.1f} ({100 * low:.1f} to {100 * high:.1f})"
            for mean, low, high in map(interval, (scores, first))
        ]
        rows.append(
            [
                kind,
                str(items),
                f"{100 * complete:.0f}%",
                *cells,
                "{:+.1f} ({:+.1f} to {:+.1f})".format(*(100 * c for c in change)),
            ]
        )
        values[kind] = {
            "items": items,
            "whole": complete,
            "ndcg": interval(scores),
            "first": interval(first),
            "change": change,
        }
    text = f"{len(texts)} files, {len(questions)} functions. {machine()}.\n\n"
    keep(
        "code",
        text + table(["", "items", "functions whole in one", "nDCG@10", "first hit right, %", "change"], rows),
        values,
    )


if __name__ == "__main__":
    main()
