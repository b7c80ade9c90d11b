"""How long one search takes as a whole process, on a collection of 1,000 items (wall seconds).

python benchmarks/start.py [--runs N]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import commonplace as cp
from common import data, keep, machine, table


def main() -> None:
    """Build the collection, time the commands in turn, keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        photographs = sorted((data("flickr8k") / "images").iterdir())[:700]
        with cp.open(folder / "kb") as kb:
            kb.add(*photographs, data("docs_wsl"), data("cranfield"))
            items = sum(kb.status()["items"].values())
        base = [sys.executable, "-m", "commonplace"]
        kb_flag = ["--collection", str(folder / "kb")]
        commands = {
            "--help": [*base, "--help"],
            "list": [*base, "list", *kb_flag],
            "search, words": [*base, "search", "how to mount a disk", *kb_flag],
            "search, picture": [*base, "search", "--image", str(photographs[0]), *kb_flag],
            "search, both": [*base, "search", "in snow", "--image", str(photographs[0]), *kb_flag],
            "ask": [*base, "ask", "How do I mount a disk?", *kb_flag],
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for run in range(options.runs + 1):  # in turn, so that a drift of the machine hits all alike
            for name, command in commands.items():
                begin = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True)
                if run:  # the first round fills the caches
                    seconds[name].append(time.perf_counter() - begin)
    rows = [[name, min(v), statistics.median(v), max(v)] for name, v in seconds.items()]
    text = f"Measured on {machine()}; {items} items, {options.runs} runs each, in turn, caches warm.\n\n"
    text += table(["command", "min s", "median s", "max s"], rows)
    keep("start", text, {name: statistics.median(v) for name, v in seconds.items()})


if __name__ == "__main__":
    main()
