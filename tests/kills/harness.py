"""Kills the workload at chosen system calls or at random moments, and looks for lost data."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import commonplace as cp
from tests.conftest import ROOT
from tests.kills import workload
from tests.tiny import tiny_bundle

SHIM = Path(__file__).with_name("shim.c")


@dataclass(frozen=True)
class Point:
    """The ``at``-th call that changes a file: the step that made it, the call, the kind of file."""

    at: int
    step: str
    call: str
    file: str


def prepare(folder: Path) -> None:
    """Make the files and the models that the workload needs."""
    files = folder / "files"
    files.mkdir(parents=True)
    for number in range(12):
        (files / f"{number}.txt").write_text(f"Note {number} about the pump {number * 7}.")
    for name, colour in (("ball", "red"), ("box", "blue")):
        image = Image.new("RGB", (200, 160), "white")
        ImageDraw.Draw(image).ellipse((40, 20, 160, 140), fill=colour)
        image.save(files / f"{name}.png")
    (files / "page.md").write_text("# Ball\n\nThe ball.\n\n![A red ball](ball.png)\n")
    tiny_bundle(folder / "one", dim=24, seed=1)
    tiny_bundle(folder / "two", dim=40, seed=2)


def build_shim(folder: Path) -> Path | None:
    """Compile the shim that counts calls and kills; None without a compiler, or on another system than Linux."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        return None
    made = folder / "shim.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-w", "-o", str(made), str(SHIM), "-ldl"], check=True)
    return made


class Kills:
    """A folder in which the workload is run and killed; ``base`` contains the prepared files."""

    def __init__(self, base: Path) -> None:
        self.base = base
        prepare(base)
        self.shim = build_shim(base)
        self.states: list[str] = []
        """The digest of the collection after each step of an uninterrupted run."""

    def _start(self, folder: Path, **more: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **more}
        if self.shim is not None and more:
            environment |= {"LD_PRELOAD": str(self.shim), "KILLS_FOLDER": f"{folder / 'kb'}"}
        return subprocess.Popen(
            [sys.executable, "-m", "tests.kills.workload", str(folder)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment,
        )

    def _fresh(self) -> Path:
        folder = self.base / "run"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        shutil.copytree(self.base / "files", folder / "files")
        for model in ("one", "two"):  # outside: the collection remembers where they stand
            (folder / model).symlink_to(self.base / model)
        return folder

    def count(self) -> list[Point]:
        """Run without a kill; return every call that changes a file. Later runs must have the states of this run."""
        log = self.base / "log"
        log.unlink(missing_ok=True)
        process = self._start(self._fresh(), **({"KILLS_LOG": str(log)} if self.shim is not None else {}))
        assert process.stdout is not None
        output = process.stdout.read().splitlines()
        assert process.wait() == 0
        self.states = [line.split()[1] for line in output]
        points: list[Point] = []
        step = ""
        for line in log.read_text().splitlines() if log.exists() else []:
            call, _, rest = line.partition(" ")
            if call == "step":
                step = rest.split()[1]
            else:
                points.append(Point(len(points) + 1, step, call, kind(rest)))
        return points

    def kill_at(self, point: Point, *, torn: bool) -> str:
        """Kill at a call; return the outcome. Raises AssertionError for lost or wrong data."""
        folder = self._fresh()
        where = self.base / "where"
        where.unlink(missing_ok=True)
        process = self._start(
            folder, KILLS_AT=str(point.at), KILLS_LOG=str(where), **({"KILLS_TORN": "1"} if torn else {})
        )
        return self._judge(folder, process)

    def kill_after(self, seconds: float) -> str:
        """Kill a given time after the first step has finished."""
        folder = self._fresh()
        process = self._start(folder)
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        return self._judge(folder, process, first)

    def _judge(self, folder: Path, process: subprocess.Popen[str], first: str = "") -> str:
        assert process.stdout is not None
        output = (first + process.stdout.read()).splitlines(keepends=True)
        code = process.wait()
        assert code in (0, -signal.SIGKILL), code
        done = len([line for line in output if line.endswith("\n")])
        assert [line.split()[1] for line in output if line.endswith("\n")] == self.states[:done]
        allowed = self.states[max(done - 1, 0) : done + 1]
        try:
            outcome = check(folder, allowed, begun=done > 0)
        except Exception as problem:
            kept = self.base / f"failed-{time.time():.0f}"
            shutil.copytree(folder, kept, symlinks=True)
            raise AssertionError(f"{problem!r} (kept in {kept})") from problem
        return "not reached" if code == 0 else outcome


def kind(path: str) -> str:
    name = os.path.basename(path)
    if name.startswith("restore."):
        return "restore copy"
    if "kb.bak" in name:
        return "backup"
    for end in (".index", ".lock", "-wal", "-shm", "-journal", ".db", ".jpg"):
        if name.endswith(end):
            return {".db": "database", ".jpg": "crop"}.get(end, end.strip(".-"))
    if name.endswith(".part"):
        return "crop, unfinished" if "/crops/" in path else "snapshot, unfinished"
    return "folder"


def check(folder: Path, allowed: list[str], *, begun: bool = True) -> str:
    """Open the collection after a kill: acknowledged steps are complete, searches exact, no file is left over."""
    workload.small()
    with cp.open(folder / "kb", model=None if begun else folder / "one") as kb:
        result = workload.holds(kb)
        assert result in allowed, f"holds {result}, not {allowed}"
        findings = kb.maintenance.doctor()
        assert findings == [], findings
        exact(kb)
        for hit in kb.search("red ball", k=9):
            assert hit.image is None or Image.open(hit.image).size
        report = kb.add(folder / "files", workers=1, progress=False)  # goes on
        assert not report.failed, report.failed
        kb.store.maintenance.checkpoint()
        exact(kb)
        assert kb.maintenance.doctor() == []
    left = [str(path) for path in (folder / "kb").rglob("*.part*")]
    assert left == [], left
    backup = folder / "kb.bak"
    if backup.exists():
        connection = sqlite3.connect(backup)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()
    return "the step was done" if result == allowed[-1] and len(allowed) > 1 else "the step was undone"


def exact(kb: cp.Collection) -> None:
    """Check that every ranked list of a search equals a scan of the database."""
    draw = np.random.default_rng(0)
    for name in kb.space.partitions:
        _, vectors = kb.store._partitions.stored(name)
        query = draw.standard_normal(kb.space.dim).astype(np.float32)
        query /= np.linalg.norm(query)
        ranked = kb.store.search(name, query, 10, cp.Filter())
        assert np.allclose(ranked.scores, np.sort(vectors @ query)[::-1][:10], atol=1e-5), name
        assert len(kb.store.items(ranked.ids)) == len(ranked.ids), name


def choose(points: list[Point], count: int, seed: int = 0) -> list[Point]:
    """Return ``count`` points: of every kind of call in every step at least one where there is room, else evenly."""
    groups: dict[tuple[str, str, str], list[Point]] = {}
    for point in points:
        groups.setdefault((point.step, point.call, point.file), []).append(point)
    draw = random.Random(seed)
    chosen = [draw.choice(group) for group in groups.values()]
    draw.shuffle(chosen)
    chosen = chosen[:count]
    rest = sorted(set(points) - set(chosen), key=lambda point: point.at)
    wanted = count - len(chosen)
    if wanted > 0 and rest:
        chosen += [rest[int(i)] for i in np.linspace(0, len(rest) - 1, min(wanted, len(rest)))]
    return sorted(chosen, key=lambda point: point.at)


def summary(points: list[Point]) -> Counter[tuple[str, str]]:
    return Counter((point.call, point.file) for point in points)
