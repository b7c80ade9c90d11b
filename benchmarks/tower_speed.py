"""The speed of text towers by precision and instructions; the part *speed* of languages.py, which calls it.

python benchmarks/tower_speed.py BUNDLE   (one turn: prints JSON)
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from answers import xquad
from common import table
from commonplace.encoders import Bundle

CHUNK, CHUNKS, QUESTIONS, TURNS = 256, 32, 32, 3
AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
SETTINGS = {
    "as shipped": {},
    "bf16": {"COMMONPLACE_PRECISION": "bf16"},
    "f32": {"COMMONPLACE_PRECISION": "f32"},
    "f32 i8, AVX-512 VNNI at most": {"COMMONPLACE_PRECISION": "f32 i8", "OV_CPU_MAX_ISA": "AVX512_CORE_VNNI"},
    "f32, AVX2 at most": {"COMMONPLACE_PRECISION": "f32", **AVX2},
}
"""Environments that a tower is timed in: the precision, and the instructions that the runtime may use."""
PYTORCH = """
import time, torch
torch.set_grad_enabled(False)
layer = torch.nn.TransformerEncoderLayer(384, 12, 1536, activation="gelu", batch_first=True)
net = torch.nn.TransformerEncoder(layer, 6).eval()
rows = torch.randn({count}, {width}, 384)
net(rows)
start, used = time.perf_counter(), time.process_time()
net(rows)
print({count} / (time.perf_counter() - start), {count} / (time.process_time() - used))
"""
"""Chunks by PyTorch float32: MiniLM's layers with random weights, which cost the same time."""


def chunks(bundle: Bundle, code: str) -> list[str]:
    """Return texts of about CHUNK tokens of this model, special tokens and prefix included."""
    text = " ".join(p["context"] for p in xquad(code))
    room = CHUNK - 2 - (bundle.text.max_tokens - bundle.text.room)
    texts: list[str] = []
    start = 0
    while len(texts) < CHUNKS:
        low, high = 1, 4000
        while high - low > 1:  # the most characters whose tokens fit
            size = (low + high) // 2
            low, high = (size, high) if bundle.text.length(text[start : start + size]) <= room else (low, size)
        texts.append(text[start : start + low])
        start += low
    return texts


def time_tower(folder: str) -> None:
    """Print, as JSON, the precision, and chunks and questions a second of wall and of processor time."""
    bundle = Bundle(Path(folder))
    speeds: dict[str, list[float]] = {}
    for code in ("en", "zh"):
        texts = chunks(bundle, code)
        questions = [qa["question"] for paragraph in xquad(code) for qa in paragraph["qas"]][:QUESTIONS]
        works: dict[str, tuple[int, Callable[[], object]]] = {
            f"chunks, {code}": (len(texts), lambda texts=texts: bundle.text.encode(texts)),  # type: ignore[misc]
            # One at a time, as people ask.
            f"questions, {code}": (
                len(questions),
                lambda questions=questions: [bundle.text.encode([question], "query") for question in questions],  # type: ignore[misc]
            ),
        }
        for what, (count, run) in works.items():
            run()  # compiles all shapes
            start, used = time.perf_counter(), time.process_time()
            run()
            speeds[what] = [count / (time.perf_counter() - start), count / (time.process_time() - used)]
    print(json.dumps({"precision": bundle.text._graph.precision, "speeds": speeds}))


def output_of(command: Sequence[str], environment: Mapping[str, str], work: Path) -> str:
    """Return the last line that a program prints. Compiled models are kept below ``work``, apart by environment."""
    cache = work / "compiled" / hashlib.sha256(json.dumps(environment).encode()).hexdigest()[:8]
    cache.mkdir(parents=True, exist_ok=True)
    everything = {**os.environ, "COMMONPLACE_CACHE": str(cache), **environment}
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=everything).stdout.splitlines()[
        -1
    ]


def measure(folders: Mapping[str, Path], work: Path, baseline: str | None) -> tuple[str, dict[str, Any]]:
    """Measure the text towers of bundles (by label) by precision and instructions, in turns.

    Each turn is a process of its own. ``baseline`` is an interpreter with PyTorch.
    """
    turns: dict[tuple[str, str, str], list[list[float]]] = {}
    references: dict[bool, list[list[float]]] = {False: [], True: []}  # by whether it is held to AVX2
    for _ in range(TURNS):
        for label, folder in folders.items():
            for setting, environment in SETTINGS.items():
                command = [sys.executable, __file__, str(folder)]
                output = json.loads(output_of(command, environment, work))
                name = setting if environment else f"{setting} ({output['precision']})"
                for what, speed in output["speeds"].items():
                    turns.setdefault((label, name, what), []).append(speed)
        if baseline is not None:
            command = [baseline, "-c", PYTORCH.format(count=16, width=CHUNK)]
            for held, rows in references.items():
                rows.append([float(value) for value in output_of(command, AVX2 if held else {}, work).split()])
    pytorch = {
        held: [statistics.median(column) for column in zip(*rows, strict=True)] for held, rows in references.items()
    }
    lines, values = [], []
    for (label, setting, what), speeds in turns.items():
        wall, used = (statistics.median(column) for column in zip(*speeds, strict=True))
        others = pytorch["AVX2" in setting] if "chunks" in what else []
        ratios = [own / other for own, other in zip((wall, used), others, strict=False)]
        lines.append(
            [label, setting, what, f"{wall:.1f}", f"{used:.1f}", " / ".join(f"{ratio:.2f}x" for ratio in ratios)]
        )
        values.append(
            {"model": label, "setting": setting, "what": what, "wall": wall, "processor": used, "ratios": ratios}
        )
    head = ["model", "setting", "what", "a second", "a second of processor time", "against PyTorch, wall / processor"]
    text = (
        f"**Speed of the text towers**: chunks of {CHUNK} tokens, {CHUNKS} at once, and questions one at a time; medians "
        f"of {TURNS} processes in turns. On a busy machine read processor time."
    )
    if pytorch[False]:
        text += " PyTorch float32, MiniLM's layers alone: {:.1f} chunks a second, {:.1f} of processor time".format(
            *pytorch[False]
        )
        text += "; held to AVX2: {:.1f}, {:.1f}.".format(*pytorch[True])
    return f"{text}\n\n{table(head, lines)}", {"rows": values, "pytorch": pytorch[False], "avx2": pytorch[True]}


if __name__ == "__main__":
    time_tower(sys.argv[1])
