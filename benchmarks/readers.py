"""What is read of a messy folder, what is not and why, and how fast.

python benchmarks/readers.py

All development data but the photo sets goes through one `add` (words in pictures off). Speed is that of one worker, over
the files of each type that could be read; words in pictures apart.
"""

from __future__ import annotations

import re
import statistics
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import commonplace
from common import data, keep, machine, table
from commonplace.encoders import Bundle
from commonplace.errors import ReadError
from commonplace.readers import ReadOptions, are_readable, media_type, read

FOLDERS = ("pdf", "odd_images", "office", "small_files", "exif_orientation", "docs_wsl", "blns", "video")
PAGES = 6  # scans, screenshots and photographs whose words are timed


def outcomes(report: commonplace.Report, documents: list) -> tuple[str, dict]:
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
    skipped = ", ".join(f"{count} {ending}" for ending, count in sorted(report.skipped.items()))
    text += f"\n\nOf no type that is read, and counted in the report: {skipped}."
    return text, {"types": {k: dict(v) for k, v in by_type.items()}, "skipped": report.skipped}


def _general(reason: str) -> str:
    """Return a reason without the names of files and what is particular to one."""
    reason = re.sub(r"picture [^:;]*: ", "a picture: ", reason)
    reason = re.sub(r"^[\w .()-]+\.\w{2,4}: ", "a file in it: ", reason)
    return re.sub(r"\([^)]*\)", "(…)", reason).replace("|", "/")


def speed(options: ReadOptions) -> tuple[str, dict[str, float]]:
    """Return files a second by type, of one worker."""
    taken: dict[str, list[float]] = defaultdict(list)
    for folder in FOLDERS[:-1]:
        for path in sorted(data(folder).rglob("*")):
            if not path.is_file():
                continue
            try:
                kind = media_type(path)
                start = time.perf_counter()
                read(path, options)
            except ReadError:
                continue
            if kind:
                taken[kind].append(time.perf_counter() - start)
    rows = [
        [kind, len(times), f"{len(times) / sum(times):.0f}", f"{1000 * statistics.median(times):.1f}"]
        for kind, times in sorted(taken.items())
    ]
    return table(["type", "files", "files a second", "median ms"], rows), {
        kind: len(times) / sum(times) for kind, times in taken.items()
    }


def recognition(options: ReadOptions) -> tuple[str, dict[str, float]]:
    """Return seconds a page that the words in pictures take, beside reading alone."""
    sets = {
        "screenshots": sorted(data("docs_wsl").rglob("*.png"))[:PAGES],
        "pages of PDF without text": [
            data("pdf") / "pdfjs" / "issue4246.pdf", data("office") / "pdf" / "table-multi-row-column-cells.pdf",
            data("pdf") / "pdfjs" / "issue19634.pdf", data("pdf") / "pdfjs" / "issue20504.pdf",
        ],
        "photographs (the gate alone, mostly)": sorted(data("flickr8k").rglob("*.jpg"))[:20],
    }  # fmt: skip
    reading = replace(options, words=True, seconds=1e9)
    read(sets["screenshots"][0], reading)  # loads the models
    rows, values = [], {}
    for name, paths in sets.items():
        spent = []
        for one in (options, reading):
            start = time.perf_counter()
            found = [read(path, one) for path in paths]
            spent.append((time.perf_counter() - start) / len(paths))
        worded = sum(any(item.text for item in reading.items) for reading in found)
        rows.append([name, len(paths), f"{spent[0]:.3f}", f"{spent[1]:.2f}", worded])
        values[name] = spent[1] - spent[0]
    return table(["", "files", "s a file without", "s a file with", "with words in them"], rows), values


def main() -> None:
    """Add everything once, read it again by type, keep the table."""
    spec = Bundle().text
    options = ReadOptions(str(spec.tokenizer_path), spec.max_tokens)
    with tempfile.TemporaryDirectory() as work, commonplace.open(Path(work) / "kb") as kb:
        start = time.perf_counter()
        report = kb.add(*(data(folder) for folder in FOLDERS), ocr=False, progress=False)
        spent = time.perf_counter() - start
        documents = kb.store.documents()
    outcome, values = outcomes(report, documents)
    quick, by_type = speed(options)
    text = f"{machine()}.\n\nOne `add` of {', '.join(FOLDERS)}: {len(documents)} files in {spent:.0f} s.\n\n{outcome}"
    text += f"\n\n## Speed of one worker\n\n{quick}"
    ocr: dict[str, float] = {}
    if are_readable():
        slow, ocr = recognition(options)
        text += f"\n\n## Words in pictures, one worker with one thread\n\n{slow}"
    keep("readers", text, {"seconds": spent, **values, "files_per_second": by_type, "ocr": ocr})


if __name__ == "__main__":
    main()
