"""Kills -9 at every kind of system call that changes a file, and damage to every file: what was lost, what was silent.

``python benchmarks/kills.py [--kills 200] [--damage 10] [--state FILE]``: the workload of ``tests/kills`` is killed at so many
calls, of each step and kind at least one, half of the writes torn; and at 20 random moments. Every file of a collection and its
model is flipped, zeroed and cut so often, the database ten times as often. Interrupted, it goes on with what FILE holds;
``--report`` only makes the tables of that.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from common import ROOT, keep, table

sys.path.insert(0, str(ROOT))
from tests.kills.damage import Damage, name
from tests.kills.harness import Kills, choose

MOMENTS = 20
WHOLE, LOST = "whole", "lost or wrong"
OUTCOMES = ("refused with its reason", "named", "without effect", "WRONG IN SILENCE")


class State:
    """Outcomes by what was done, one JSON line each, in a file that another run goes on with."""

    def __init__(self, path: Path, closed: bool) -> None:
        self._path, self._closed = path, closed
        self.done: dict[str, str] = {}
        for line in path.read_text().splitlines() if path.exists() else []:
            self.done.update([json.loads(line)])

    def run(self, what: str, action: Callable[[], str], bad: str) -> None:
        """Do it where it has not been done; an AssertionError is a ``bad`` outcome."""
        if what in self.done or self._closed:
            return
        try:
            outcome = action()
        except AssertionError as problem:
            outcome = f"{bad}: {problem}"
        self.done[what] = outcome
        with self._path.open("a") as file:
            file.write(json.dumps([what, outcome]) + "\n")


def kills(base: Path, count: int, state: State) -> tuple[list[list[object]], int]:
    harness = Kills(base)
    points = harness.count()
    if not points:
        raise SystemExit("the write points are counted with a C compiler on Linux: install cc")
    draw = random.Random(1)
    for number, point in enumerate(tqdm(choose(points, count), unit="kill")):
        torn = point.call == "write" and number % 2 == 0
        state.run(f"kill/{point.step}/{number}", lambda p=point, t=torn: harness.kill_at(p, torn=t) and WHOLE, LOST)
    for number in range(MOMENTS):
        wait = draw.random() * 5
        state.run(f"kill/any step, random moment/{number}", lambda w=wait: harness.kill_after(w) and WHOLE, LOST)
    found: dict[str, Counter[str]] = {}
    for what, outcome in state.done.items():
        if what.startswith("kill/"):
            found.setdefault(what.split("/")[1], Counter())[outcome.split(":")[0]] += 1
    rows: list[list[object]] = []
    for step in dict.fromkeys([*(point.step for point in points), *found]):
        own = [point for point in points if point.step == step]
        kinds = len({(point.call, point.file) for point in own})
        counter = found.get(step, Counter())
        rows.append([step, len(own) or "", kinds or "", sum(counter.values()), counter[LOST]])
    return rows, len(points)


def damage(base: Path, count: int, state: State) -> list[list[object]]:
    subject = Damage(base)
    draw = random.Random(2)
    for file in tqdm(subject.files, unit="file"):
        for how in ("flip", "zeros", "cut", "taken away"):
            for number in range(1 if how == "taken away" else 10 * count if name(file) == "database" else count):
                what = f"damage/{name(file)}/{how}/{file.name}/{number}"
                state.run(what, lambda f=file, h=how: subject.inflict(f, h, draw), OUTCOMES[-1])
    found: dict[tuple[str, str], Counter[str]] = {}
    for what, outcome in state.done.items():
        if what.startswith("damage/"):
            _, file_name, how, *_ = what.split("/")
            found.setdefault((file_name, how), Counter())[outcome.split(":")[0]] += 1
    return [[*key, sum(one.values()), *(one[word] for word in OUTCOMES)] for key, one in sorted(found.items())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--damage", type=int, default=10)
    parser.add_argument("--state", type=Path)
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        state = State(options.state or Path(folder) / "state", options.report)
        damaged = damage(Path(folder) / "damage", options.damage, state)
        killed, points = kills(Path(folder) / "kills", options.kills, state)
    failures = [
        f"{what}: {outcome}" for what, outcome in state.done.items() if outcome.startswith((LOST, OUTCOMES[-1]))
    ]
    total = sum(int(str(row[3])) for row in killed)
    rounds = sum(int(str(row[2])) for row in damaged)
    lost, wrong = sum(int(str(row[-1])) for row in killed), sum(int(str(row[-1])) for row in damaged)
    text = f"""{total} kills -9 over the {points} system calls by which one run of everything that writes changes files (half of the writes were
half done): **{lost} lost or wrong**. After each, the collection must hold what was acknowledged, or that and the whole step in flight;
search as a scan of the database does; have nothing for `doctor` to name; leave no file behind; and go on.

{table(["step", "write points", "kinds", "kills", LOST], killed)}

{rounds} times one file of a collection, or of its model, was damaged: **{wrong} wrong in silence**, which is a score or a text that is
not true, or something lost that neither the opening, nor a search, nor `doctor` says. Without effect is what lies where nothing is
stored, and what is only a cache, made anew.

{table(["file", "damage", "rounds", *OUTCOMES], damaged)}"""
    keep("kills", text, {"points": points, "kills": killed, "damage": damaged, "failures": failures})


if __name__ == "__main__":
    main()
