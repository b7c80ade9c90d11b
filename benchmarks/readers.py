"""What is read of a messy folder, what is not and why, and how fast.

python benchmarks/readers.py

All development data but the photo sets is read, as `add` would choose and read it, in one process (words in pictures off). Times are
CPU seconds, which other work on the machine changes little; words in pictures apart.
"""

from __future__ import annotations

import re
import statistics
import time
from collections import Counter, defaultdict
from dataclasses import replace

from common import data, keep, machine, table
from commonplace.encoders import Bundle
from commonplace.errors import ReadError
from commonplace.ingest import walk
from commonplace.readers import ReadOptions, are_readable, media_type, read
from commonplace.types import Document

FOLDERS = ("pdf", "odd_images", "office", "small_files", "exif_orientation", "docs_wsl", "blns", "video")
PAGES = 3  # scans, screenshots and photographs whose words are timed


def outcomes(documents: list[Document], left: Counter[str]) -> tuple[str, dict]:
    """Return the table of what became of the files, by type, and the reasons."""
    by_type: dict[str, Counter[str]] = defaultdict(Counter)
    reasons: dict[str, Counter[str]] = {"partial": Counter(), "failed": Counter()}
    for one in documents:
        by_type[one.media_type][one.status] += 1
        by_type[one.media_type]["items"] += one.items
        if one.status != "ok":
            reasons[one.status][re.sub(r"\d+", "N", _general(one.error or ""))] += 1
    rows = [
        [kind, counts["ok"], counts["partial"], counts["failed"], counts["items"]]
        for kind, counts in sorted(by_type.items())
    ]
    total = sum(by_type.values(), Counter())
    rows.append(["**all**", total["ok"], total["partial"], total["failed"], total["items"]])
    text = table(["type", "read", "partly", "failed", "items"], rows)
    for status, name in (("failed", "Failed"), ("partial", "Partly read")):
        text += f"\n\n{name}, by reason:\n\n"
        text += table(["files", "reason"], [[count, reason] for reason, count in reasons[status].most_common()])
    skipped = ", ".join(f"{count} {ending}" for ending, count in sorted(left.items()))
    text += f"\n\nOf no type that is read, and counted in the report: {skipped}."
    return text, {"types": {k: dict(v) for k, v in by_type.items()}, "skipped": dict(left)}


def _general(reason: str) -> str:
    """Return a reason without the names of files and what is particular to one."""
    reason = re.sub(r"picture [^:;]*: ", "a picture: ", reason)
    reason = re.sub(r"^[\w .()-]+\.\w{2,4}: ", "a file in it: ", reason)
    return re.sub(r"\([^)]*\)", "(…)", reason).replace("|", "/")


def everything(options: ReadOptions) -> tuple[list[Document], Counter[str], dict[str, list[float]]]:
    """Read what `add` would: documents (failed ones too), what is skipped by ending, CPU seconds by type."""
    sources, problems, skipped = walk([data(folder) for folder in FOLDERS])
    documents, taken = [], defaultdict(list)
    for source in sources:
        start = time.process_time()
        try:
            document = read(source.path, options, source.root).document
            taken[document.media_type].append(time.process_time() - start)
        except ReadError as error:
            kind = media_type(source.path) or "unknown"
            document = Document("", "", str(source.path), kind, status="failed", error=str(error))
        documents.append(document)
    for path, reason in problems:
        documents.append(Document("", "", str(path), "unknown", status="failed", error=reason))
    return documents, skipped, taken


def recognition(options: ReadOptions) -> tuple[str, dict[str, float]]:
    """Return seconds a page that the words in pictures take, beside reading alone."""
    sets = {
        "screenshots": sorted(data("docs_wsl").rglob("*.png"))[:PAGES],
        "pages of PDF without text": [
            data("pdf") / "pdfjs" / "issue4246.pdf", data("office") / "pdf" / "table-multi-row-column-cells.pdf",
            data("pdf") / "pdfjs" / "issue19634.pdf", data("pdf") / "pdfjs" / "issue20504.pdf",
        ],
        "photographs (the gate alone, mostly)": sorted(data("flickr8k").rglob("*.jpg"))[:8],
    }  # fmt: skip
    reading = replace(options, ocr_seconds=1e9)
    read(sets["screenshots"][0], reading)  # loads the models
    rows, values = [], {}
    for name, paths in sets.items():
        spent = []
        for one in (options, reading):
            start = time.process_time()
            found = [read(path, one) for path in paths]
            spent.append((time.process_time() - start) / len(paths))
        worded = sum(any(item.text for item in reading.items) for reading in found)
        rows.append([name, len(paths), f"{spent[0]:.3f}", f"{spent[1]:.2f}", worded])
        values[name] = spent[1] - spent[0]
    return table(["", "files", "CPU s a file without", "CPU s a file with", "with words in them"], rows), values


def main() -> None:
    """Read everything once, time the words in pictures, keep the table."""
    spec = Bundle().text
    options = ReadOptions(str(spec.tokenizer_path), spec.max_tokens)
    documents, skipped, taken = everything(options)
    outcome, values = outcomes(documents, skipped)
    rows = [
        [kind, len(times), f"{len(times) / sum(times):.0f}", f"{1000 * statistics.median(times):.1f}"]
        for kind, times in sorted(taken.items())
    ]
    text = f"{machine()}. {len(documents)} files of {', '.join(FOLDERS)}.\n\n{outcome}"
    text += "\n\n## Speed of one worker\n\n" + table(["type", "files", "files a CPU second", "median CPU ms"], rows)
    values["files_per_second"] = {kind: len(times) / sum(times) for kind, times in taken.items()}
    if are_readable():
        slow, values["ocr"] = recognition(options)
        text += f"\n\n## Words in pictures, one thread\n\n{slow}"
    keep("readers", text, values)


if __name__ == "__main__":
    main()
