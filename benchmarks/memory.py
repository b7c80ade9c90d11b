"""Memory of ``add`` over many pictures: does it grow with their number?

``python benchmarks/memory.py [--pictures 2000] [--workers 2]``
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import data, keep, machine, table

ADD = """
import sys
import commonplace as cp
with cp.open(sys.argv[1]) as kb:
    print(kb.add(sys.argv[2], workers=int(sys.argv[3]), progress=False))
"""


def own(pid: int) -> float:
    """Return a process's memory in MB, without what is mapped from files."""
    return int(Path(f"/proc/{pid}/status").read_text().split("RssAnon:")[1].split()[0]) / 1024


def children(pid: int) -> list[int]:
    return [int(n) for task in Path(f"/proc/{pid}/task").iterdir() for n in (task / "children").read_text().split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        files = Path(name) / "files"
        files.mkdir()
        for path in sorted((data("flickr8k") / "images").glob("*.jpg"))[: options.pictures]:
            (files / path.name).symlink_to(path)
        kb = Path(name) / "kb"
        process = subprocess.Popen([sys.executable, "-c", ADD, str(kb), str(files), str(options.workers)])
        import sqlite3

        samples: list[tuple[int, float, float]] = []
        while process.poll() is None:
            time.sleep(0.25)
            try:
                database = sqlite3.connect(f"{(kb / 'collection.db').as_uri()}?mode=ro", uri=True)
                ((done,),) = database.execute("SELECT count(*) FROM documents")
                database.close()
                samples.append((done, own(process.pid), sum(own(child) for child in children(process.pid))))
            except (OSError, IndexError, sqlite3.Error):
                continue
    step = options.pictures // 8
    rows = []
    for low in range(0, options.pictures, step):
        part = [one for one in samples if low < one[0] <= low + step]
        if part:
            rows.append([f"{low + 1} to {low + step}", *(f"{max(one[n] for one in part):.0f}" for n in (1, 2))])
    keep(
        "memory",
        f"""Measured on {machine()}: one `add` of {options.pictures} photographs with {options.workers} readers, the most memory of its own
(without mapped files) that each had while these were added.

{table(["pictures", "the process, MB", "its readers together, MB"], rows)}""",
        {"samples": samples},
    )


if __name__ == "__main__":
    main()
