"""How long one search takes as a whole process, on a collection of 1,000 items, beside what it cannot do without.

python benchmarks/start.py [--runs N]

A command cannot do without Python, and a search not without NumPy and OpenVINO: both are measured in the same rounds.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import commonplace as cp
from common import data, keep, machine, table

PYTHON, LIBRARIES = "python -c pass", "import numpy, openvino"
GOALS = {"--help": (PYTHON, 5.0), "search, words": (LIBRARIES, 1.3)}  # at most so many times the time of the other


def timed(command: list[str]) -> tuple[float, float]:
    """Run a command; return wall and processor seconds."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


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
            PYTHON: [sys.executable, "-c", "pass"],
            LIBRARIES: [sys.executable, "-c", "import numpy, openvino"],
            "--help": [*base, "--help"],
            "list": [*base, "list", *kb_flag],
            "search, words": [*base, "search", "how to mount a disk", *kb_flag],
            "search, picture": [*base, "search", "--image", str(photographs[0]), *kb_flag],
            "search, both": [*base, "search", "in snow", "--image", str(photographs[0]), *kb_flag],
            "ask": [*base, "ask", "How do I mount a disk?", *kb_flag],
        }
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for run in range(options.runs + 1):  # in turn, so that a drift of the machine hits all alike
            for name, command in commands.items():
                clocks = timed(command)
                if run:  # the first round fills the caches
                    seconds[name].append(clocks)
    medians = {name: [statistics.median(clock) for clock in zip(*v, strict=True)] for name, v in seconds.items()}
    rows = []
    for name, (wall, cpu) in medians.items():
        other, goal = GOALS.get(name, (None, None))
        ratios = (
            ["", "", ""]
            if other is None
            else [wall / medians[other][0], cpu / medians[other][1], f"{goal:g} x {other}"]
        )
        rows.append([name, min(clock for clock, _ in seconds[name]), wall, cpu, *ratios])
    text = f"Measured on {machine()}; {items} items, {options.runs} runs each, in turn, caches warm.\n\n"
    text += table(["command", "min s", "median s", "CPU", "wall ratio", "CPU ratio", "at most"], rows)
    keep("start", text, {name: wall for name, (wall, _cpu) in medians.items()})


if __name__ == "__main__":
    main()
