"""Kills -9 at every kind of system call that changes a file, and damage to every file: what was lost, what was silent.

``python benchmarks/kills.py [--kills 200] [--damage 40]``: the workload of ``tests/kills`` is killed at so many calls, of each
step and kind at least one, half of the writes torn; and at 20 random moments. Every file of a collection and its model is
flipped, zeroed and cut so often.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tqdm import tqdm

from common import ROOT, keep, table

sys.path.insert(0, str(ROOT))
from tests.kills.damage import Damage, name
from tests.kills.harness import Kills, choose

MOMENTS = 20


def kills(base: Path, count: int) -> tuple[list[list[object]], list[str], int]:
    harness = Kills(base)
    points = harness.count()
    if not points:
        raise SystemExit("the write points are counted with a C compiler on Linux: install cc")
    chosen = choose(points, count)
    draw = random.Random(1)
    outcomes: dict[str, Counter[str]] = {}
    failures: list[str] = []

    def note(step: str, run: object) -> None:
        try:
            outcome = run()  # type: ignore[operator]
        except AssertionError as problem:
            outcome = "LOST OR WRONG"
            failures.append(f"{step}: {problem}")
        outcomes.setdefault(step, Counter())[outcome] += 1

    for number, point in enumerate(tqdm(chosen, unit="kill")):
        torn = point.call == "write" and number % 2 == 0
        note(point.step, lambda point=point, torn=torn: harness.kill_at(point, torn=torn))
    for _ in range(MOMENTS):
        note("any (random moment)", lambda: harness.kill_after(draw.random() * 5))
    rows = []
    for step, found in outcomes.items():
        own = [point for point in points if point.step == step]
        kinds = len({(point.call, point.file) for point in own})
        wrong = found["LOST OR WRONG"]
        rows.append([step, len(own) or "", kinds or "", sum(found.values()), *(found[w] for w in WORDS), wrong])
    return rows, failures, len(points)


WORDS = ("the step was done", "the step was undone", "not reached")
OUTCOMES = ("refused with its reason", "named", "without effect", "WRONG IN SILENCE")


def damage(base: Path, count: int) -> tuple[list[list[object]], list[str]]:
    subject = Damage(base)
    draw = random.Random(2)
    found: dict[tuple[str, str], Counter[str]] = {}
    failures = []
    for file in tqdm(subject.files, unit="file"):
        for how in ("flip", "zeros", "cut", "taken away"):
            for _ in range(1 if how == "taken away" else 10 * count if name(file) == "database" else count):
                try:
                    outcome = subject.inflict(file, how, draw)
                except AssertionError as problem:
                    outcome = "WRONG IN SILENCE"
                    failures.append(str(problem))
                found.setdefault((name(file), how), Counter())[outcome] += 1
    return [
        [*key, sum(one.values()), *(one[word] for word in OUTCOMES)] for key, one in sorted(found.items())
    ], failures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--damage", type=int, default=40)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        killed, lost, points = kills(Path(folder) / "kills", options.kills)
        damaged, wrong = damage(Path(folder) / "damage", options.damage)
    total = sum(int(str(row[3])) for row in killed)
    rounds = sum(int(str(row[2])) for row in damaged)
    text = f"""{total} kills -9 over the {points} system calls by which one run of everything that writes changes files (writes of every kind
half done, too): {len(lost)} lost or wrong. After each, the collection must hold what was acknowledged, or that and the whole step in
flight; search as an exact scan of the database does; have nothing for `doctor` to name; leave no file behind; and go on.

{table(["step", "write points", "kinds", "kills", *WORDS, "lost or wrong"], killed)}

{rounds} times one file of a collection, or of its model, was damaged: {len(wrong)} wrong in silence, which is a score or a text that is
not true, or something lost that neither the opening, nor a search, nor `doctor` says. Without effect is what lies where nothing is
stored, and what is only a cache, made anew.

{table(["file", "damage", "rounds", *OUTCOMES], damaged)}"""
    keep("kills", text, {"points": points, "kills": killed, "damage": damaged, "failures": [*lost, *wrong]})


if __name__ == "__main__":
    main()
