"""What is read of 310 files of other projects' test suites, against the text, headings and tables that those give.

python benchmarks/readers_gold.py [--peers PYTHON] [--set NAME] [--format NAME] [--worst N]

``--peers`` is an interpreter with markitdown, PyMuPDF, pymupdf4llm, pypdfium2 and trafilatura; each reads what it can of
the same files in the same run. With ``--set`` or ``--format`` nothing is kept.

Measures, means over files, in percent: recall and precision of words (as multisets); order (the longest increasing run
of three-word runs that stand once in both); headings found, and headings that are one (precision); cell (a gold cell
stands whole in one line); row (all cells of a gold row in one line); row apart (all its cells as cells of one row). A
gold text has quirks that cost every reader points: compare, read no absolutes.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
import unicodedata
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from common import data, keep, machine, table

MEASURES = ("recall", "precision", "order", "headings", "headings precision", "cell", "row", "row apart")
PEERS = ("markitdown", "pymupdf", "pymupdf4llm", "pdfium", "trafilatura")
SUFFIXES = {
    "markitdown": {".pdf", ".docx", ".pptx", ".xlsx", ".html", ".htm", ".msg", ".eml", ".csv"},
    "pymupdf": {".pdf"},
    "pymupdf4llm": {".pdf"},
    "pdfium": {".pdf"},
    "trafilatura": {".html", ".htm"},
}
SECONDS = 120
CJK = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
WORD = re.compile(rf"[{CJK}]|[^\W_{CJK}]+")
RULE = re.compile(r"\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$")

Items = list[dict]


def words(text: str) -> list[str]:
    """Return the words of a text: runs of letters and digits; of Chinese and Japanese each character."""
    return WORD.findall(_folded(text))


def key(text: str) -> str:
    """Return the letters and digits of a text, for comparison."""
    return "".join(character for character in _folded(text) if character.isalnum())


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text or "").lower().replace("\u00ad", "").replace("\u200b", "")


class Reading:
    """One flat view of what was read: lines, headings, rows of tables, texts of pictures."""

    def __init__(self, items: Items) -> None:
        lines: list[str] = []
        self.headings: list[str] = []
        captions: list[str] = []
        before: list[str] = []
        head: tuple[str, ...] | None = None
        for item in items:
            if item.get("modality") != "text":
                captions.append(item.get("text") or "")
                continue
            parts = item["title"].split(" > ") if item.get("title") else []
            lines += [part for part in parts if part not in before]
            self.headings += [part for part in parts if part not in self.headings]
            before = parts
            body = (item.get("text") or "").split("\n")
            if len(body) > 2 and body[0].startswith("|") and RULE.match(body[1]):
                if tuple(body[:2]) == head:  # it stands again over every part of a long table, and counts once
                    body = body[2:]
                else:
                    head = tuple(body[:2])
            else:
                head = None
            lines += [*body, ""]
        self.lines = [line for line in lines if "-" not in line or not RULE.match(line)]
        self.captions = " ".join(captions)
        self.rows = [row for line in lines if (row := _row(line.strip()))]


def _row(line: str) -> list[str]:
    """Return the cells of a line: a row of Markdown, or fields with their names."""
    if line.startswith("|") and line.count("|") >= 2 and not RULE.match(line):
        return [key(cell.replace("\\|", "|")) for cell in re.split(r"(?<!\\)\|", line.strip("|"))]
    if "; " in line and ": " in line:
        return [key(re.sub(r"^[^:]{1,60}: ", "", field)) for field in line.split("; ")]
    return []


def increasing(values: list[int]) -> int:
    """Return the length of the longest increasing subsequence."""
    tails: list[int] = []
    for value in values:
        at = bisect_left(tails, value)
        tails[at : at + 1] = [value]
    return len(tails)


def score(gold: dict, items: Items, *, precision: bool) -> dict[str, float]:
    """Return the measures of one file that apply to it, as shares."""
    reading, out = Reading(items), {}
    wanted, got = words(gold["text"]), words("\n".join(reading.lines))
    wanted_counts, got_counts = Counter(wanted), Counter(got)
    for word, count in Counter(words(reading.captions)).items():  # what a picture says is read, but adds no noise
        got_counts[word] = max(got_counts[word], min(wanted_counts[word], got_counts[word] + count))
    common = sum((wanted_counts & got_counts).values())
    if wanted:
        out["recall"] = common / len(wanted)
    if got and precision:
        out["precision"] = common / max(1, sum(got_counts.values()))
    out |= _order(wanted, got)
    out |= _headings([key(h) for h in gold["heads"] if key(h)], {key(h) for h in reading.headings})
    return out | _tables(gold["tables"], reading)


def _order(wanted: list[str], got: list[str]) -> dict[str, float]:
    first, second = (list(zip(w, w[1:], w[2:], strict=False)) for w in (wanted, got))
    once, again = Counter(first), Counter(second)
    places = {run: at for at, run in enumerate(first) if once[run] == 1}
    shared = [places[run] for run in second if again[run] == 1 and run in places]
    return {"order": increasing(shared) / len(shared)} if len(shared) >= 5 else {}


def _headings(wanted: list[str], got: set[str]) -> dict[str, float]:
    if not wanted:
        return {}
    out = {"headings": sum(_near(heading, got) for heading in wanted) / len(wanted)}
    if got:
        out["headings precision"] = sum(_near(heading, set(wanted)) for heading in got) / len(got)
    return out


def _near(heading: str, others: set[str]) -> bool:
    """Return whether a heading is among others, or a quarter longer or shorter than one (a number before it)."""
    return heading in others or any(
        len(heading) > 8
        and (heading in other or other in heading)
        and min(len(heading), len(other)) > 0.75 * max(len(heading), len(other))
        for other in others
    )


def _tables(tables: list[list[list[str]]], reading: Reading) -> dict[str, float]:
    lines = [f" {' '.join(words(line))} " for line in reading.lines]
    rows = [Counter(cell for cell in row if cell) for row in reading.rows]
    cells: list[bool] = []
    together: list[bool] = []
    apart: list[bool] = []
    for row in (row for table_ in tables for row in table_):
        named = [cell for cell in row if words(cell)]
        parts = [f" {' '.join(words(cell))} " for cell in named]
        cells += [any(part in line for line in lines) for part in parts]
        if len(named) >= 2:
            together.append(any(all(part in line for part in parts) for line in lines))
            needed = Counter(key(cell) for cell in named)
            apart.append(any(not needed - found for found in rows))
    found = {"cell": cells, "row": together, "row apart": apart}
    return {name: sum(values) / len(values) for name, values in found.items() if values}


def ours(paths: list[Path]) -> Iterator[Items | None]:
    """Yield the items of each file, as `commonplace read --json` prints them; None: it was not read."""
    for start in range(0, len(paths), 20):
        batch = [str(path) for path in paths[start : start + 20]]
        command = [sys.executable, "-m", "commonplace", "read", "--json", *batch]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = {one["path"]: one for one in map(json.loads, done.stdout.splitlines())}
        for path in batch:
            one = found.get(path)
            yield one["items"] if one and one.get("items") else None


def peer(name: str, paths: list[Path], python: str) -> Iterator[Items | None]:
    """Yield the items of each file as a peer reads it, each in a process of its own that may take two minutes."""
    for path in paths:
        if path.suffix.lower() not in SUFFIXES[name]:
            yield None
            continue
        try:
            done = subprocess.run(
                [python, __file__, "--read-with", name, str(path)], capture_output=True, text=True, timeout=SECONDS
            )
            yield _sections(json.loads(done.stdout.splitlines()[-1])) if done.returncode == 0 else None
        except (subprocess.TimeoutExpired, ValueError, IndexError):
            yield None


def _sections(markdown: str) -> Items:
    """Return the sections of a Markdown text as items under their headings."""
    items: Items = [{"modality": "text", "title": "", "text": ""}]
    for line in markdown.splitlines():
        heading = re.match(r"#{1,6} (.*)", line)
        if heading:
            items.append({"modality": "text", "title": heading[1].strip("*_ "), "text": ""})
        else:
            items[-1]["text"] += line + "\n"
    return items


def read_with(name: str, path: str) -> str:
    """Return what one of the peers reads of a file, in its interpreter."""
    if name == "markitdown":
        from markitdown import MarkItDown

        return MarkItDown().convert(path).text_content
    if name == "pymupdf":
        import pymupdf

        return "\n".join(page.get_text() for page in pymupdf.open(path))
    if name == "pymupdf4llm":
        import pymupdf4llm

        return pymupdf4llm.to_markdown(path)
    if name == "pdfium":
        import pypdfium2

        return "\n".join(page.get_textpage().get_text_bounded() for page in pypdfium2.PdfDocument(path))
    import trafilatura

    found = trafilatura.extract(Path(path).read_bytes(), output_format="markdown", include_tables=True)
    return found or ""


def measured(files: list[dict], items: Iterator[Items | None]) -> list[dict]:
    """Return one row of measures a file."""
    return [
        {
            "id": one["id"],
            "set": one["set"],
            "format": one["fmt"],
            "read": found is not None,
            **(score(one["gold"], found, precision=one["fmt"] != "pdf-tables") if found is not None else {}),
        }
        for one, found in zip(files, items, strict=True)
    ]


def lines(results: list[dict], reader: str) -> list[list[object]]:
    """Return the rows of the table of one reader, a row for each set and format that it read a file of."""
    groups: dict[tuple[str, str], list[dict]] = defaultdict(list)
    for one in results:
        groups[one["set"], one["format"]].append(one)
    return [
        [*group, reader, f"{sum(one['read'] for one in rows)} of {len(rows)}", *(_mean(rows, m) for m in MEASURES)]
        for group, rows in sorted(groups.items())
        if any(one["read"] for one in rows)
    ]


def _mean(rows: list[dict], measure: str) -> str:
    values = [row[measure] for row in rows if measure in row]
    return f"{100 * statistics.mean(values):.1f}" if values else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", help="an interpreter that has the peers")
    parser.add_argument("--set", help="one set alone; keeps nothing")
    parser.add_argument("--format", help="one format alone; keeps nothing")
    parser.add_argument("--worst", type=int, default=0, help="print so many files with the lowest recall")
    parser.add_argument("--read-with", nargs=2, metavar=("PEER", "PATH"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read_with:
        print(json.dumps(read_with(*arguments.read_with)))
        return
    folder = data("gold")
    files = [
        one
        for one in json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if arguments.set in (None, one["set"]) and arguments.format in (None, one["fmt"])
    ]
    paths = [folder / one["file"] for one in files]
    readers: dict[str, Callable[[], Iterator[Items | None]]] = {"commonplace": lambda: ours(paths)}
    if arguments.peers:
        readers |= {name: lambda name=name: peer(name, paths, arguments.peers) for name in PEERS}
    results, seconds = {}, {}
    for name, items in readers.items():
        start = time.perf_counter()
        results[name] = measured(files, items())
        seconds[name] = time.perf_counter() - start
    rows = sorted(row for name, found in results.items() for row in lines(found, name))
    text = f"Measured on {machine()}; percent, means over files.\n\n"
    text += table(["set", "format", "reader", "read", *MEASURES], rows)
    if arguments.set or arguments.format:
        print(text)
    else:
        keep("readers_gold", text, {"files": results, "seconds": seconds})
    for one in sorted(results["commonplace"], key=lambda one: one.get("recall", 0.0))[: arguments.worst]:
        print(f"{one.get('recall', 0.0):.3f} {one['id']}")


if __name__ == "__main__":
    main()
