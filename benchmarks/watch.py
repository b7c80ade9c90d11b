"""A watched folder in which random things happen, while another thread searches.

    python benchmarks/watch.py [--operations 1000] [--seeds 3]

Every hundred operations the collection has to equal the folder. At the end the process that watches is stopped for some
seconds while more changes than the system's queue holds are made, as a sleeping machine loses reports. Kept: how long a
change takes to arrive, how long a burst takes, and whether anything differs.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from common import ROOT, keep, machine, table

sys.path.insert(0, str(ROOT))  # for the tests' operations and small model

BURST = 100
PROBES = 8
SEARCH = "a note about pumps and valves"
LIMIT = 900.0  # seconds


def differences(kb: Any, folder: Path) -> int:
    """Return how many documents or files are without their like."""
    from tests.collection.test_watch import texts, texts_of

    return len({*texts(kb).items()} ^ {*texts_of(folder).items()})


def waited(watcher: Any, condition: Any) -> float:
    """Return the seconds until a condition holds; it is looked at whenever the watcher's state changes."""
    start = time.perf_counter()
    for _state in watcher.states():
        if condition():
            return time.perf_counter() - start
        if time.perf_counter() - start > LIMIT:
            raise SystemExit(f"not in step after {LIMIT:.0f} s: {watcher.state}")
    raise SystemExit("the watcher ended")


def operated(work: Path, model: Path, operations: int, seed: int) -> dict[str, Any]:
    """Return the figures of random operations on a folder of twenty notes."""
    from tests.collection.test_delete import many
    from tests.collection.test_watch import operate

    import commonplace as cp

    folder, chance = many(work / f"notes{seed}", 20), random.Random(seed)
    searches, is_over, failed = 0, threading.Event(), []

    with cp.open(folder / ".commonplace", model=model) as kb:

        def search() -> None:
            nonlocal searches
            try:
                while not is_over.is_set():
                    kb.search(SEARCH, k=5)
                    searches += 1
            except BaseException as problem:
                failed.append(problem)

        thread = threading.Thread(target=search)
        bursts, probes, confirmed = [], [], 0

        def is_equal() -> bool:
            """Return whether all is in step; a burst that is a mass deletion is confirmed, as its message says."""
            nonlocal confirmed
            if any("--delete-many" in reason for _path, reason in watcher.state.problems):
                confirmed += 1
                kb.add(folder, workers=1, progress=False, delete_many=True)
                watcher.look_at_everything()
            return watcher.state.is_in_step and not differences(kb, folder)

        with kb.watch(folder, workers=1) as watcher:
            waited(watcher, lambda: watcher.state.is_in_step)
            thread.start()
            for number in range(operations):
                operate(folder, chance, number)
                if number % BURST == BURST - 1:
                    bursts.append(waited(watcher, is_equal))
            is_over.set()
            thread.join()
            differing = differences(kb, folder)
            for number in range(PROBES):
                path = folder / f"probe{number}.txt"
                path.write_text(f"Probe {number} of {seed}.", encoding="utf-8")
                probes.append(waited(watcher, lambda path=path: path in kb))
    assert not failed, failed
    return {
        "operations": operations,
        "searches": searches,
        "confirmed": confirmed,
        "bursts": bursts,
        "probes": probes,
        "differing": differing,
    }


def overflowed(work: Path, model: Path) -> dict[str, Any]:
    """Return how long a process needs that was stopped while more changes were made than the queue holds."""
    import commonplace as cp

    folder = work / "sleeper"
    folder.mkdir()
    command = [sys.executable, "-m", "commonplace", "--model", str(model), "watch", str(folder)]
    with subprocess.Popen(command, cwd=work, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdout is not None
        (folder / "first.txt").write_text("The first note.", encoding="utf-8")
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        queue = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
        scratch = [folder / ".a", folder / ".b"]
        for number in range(queue):
            scratch[number % 2].write_text(str(number))
        (folder / "last.txt").write_text("The note whose report is lost.", encoding="utf-8")
        time.sleep(6.0)  # what is measured is a process that sleeps
        start = time.perf_counter()
        process.send_signal(signal.SIGCONT)
        line = process.stdout.readline()
        seconds = time.perf_counter() - start
        process.terminate()
        process.wait()
    with cp.open(work / ".commonplace") as kb:
        return {"queue": queue, "seconds": seconds, "line": line.strip(), "found": folder / "last.txt" in kb}


def main() -> None:
    """Measure and keep the tables."""
    from tests.tiny import tiny_bundle

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--operations", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    os.environ["COMMONPLACE_OCR"] = "0"
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        model = tiny_bundle(work / "model")
        runs = [operated(work, model, options.operations, seed) for seed in range(options.seeds)]
        sleeper = overflowed(work, model)
    rows = [
        [
            seed,
            f"{run['operations']:,}",
            f"{run['searches']:,}",
            run["confirmed"],
            run["differing"],
            f"{statistics.median(run['probes']):.1f}",
            f"{max(run['probes']):.1f}",
            f"{statistics.median(run['bursts']):.1f}",
            f"{max(run['bursts']):.1f}",
        ]
        for seed, run in enumerate(runs)
    ]
    head = ["seed", "operations", "searches meanwhile", "mass deletions confirmed", "differences at the end"]
    head += ["one new file, s", "at most", f"{BURST} operations, s", "at most"]
    text = f"Measured on {machine()}, with a small model. {(__doc__ or '').splitlines()[0]}\n\n{table(head, rows)}\n\n"
    text += (
        f"A process that was stopped for six seconds while {sleeper['queue']:,} changes filled the system's queue: "
        f"the file whose report was lost was {'found' if sleeper['found'] else 'NOT found'} "
        f"after {sleeper['seconds']:.1f} s."
    )
    keep("watch", text, {"runs": runs, "sleeper": sleeper})
    if any(run["differing"] for run in runs) or not sleeper["found"]:
        raise SystemExit("the collection does not equal the folder")


if __name__ == "__main__":
    main()
