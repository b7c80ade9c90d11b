"""Memory of a worker that reads the words of one picture after the other: does it grow with their number?

``python benchmarks/words_memory.py [--pictures 100]``

Pages of print, each of its own size, so that no line has the width of another. *Kept*: OpenVINO and oneDNN keep the kernels that
they compile for each shape, as they do by themselves; *forgotten*: they do not, and large blocks are freed at once, as in
the workers of `add`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from common import ROOT, keep, machine, table
from commonplace.ingest.workers import MEMORY_SETTINGS
from commonplace.readers import ocr

AT = (1, 10, 25, 50, 75, 100)  # pictures, after which memory is looked at


def page(chance: random.Random, vocabulary: list[str]) -> Image.Image:
    """Return a page of print of any size, 400 to 1600 pixels a side."""
    image = Image.new("RGB", (chance.randint(600, 1600), chance.randint(400, 1600)), "white")
    pen, size = ImageDraw.Draw(image), chance.choice((18, 20, 24, 28, 32))
    font, top = ImageFont.load_default(size), 20.0
    while top < image.height - 60:
        wide, line = chance.uniform(0.2, 0.9) * image.width, ""
        while font.getlength(line) < wide - 60:
            line += chance.choice(vocabulary)[:20] + " "
        pen.text((chance.randint(10, 60), top), line, fill="black", font=font)
        top += size * chance.uniform(2, 5)
    return image


def reading(kept: bool, pictures: int) -> None:
    """Read pictures in this process; print a row of pictures, MB resident, MB of address space, CPU seconds a line."""
    import numpy as np
    from rapidocr.inference_engine.openvino import main as runtime

    ocr._engine()
    if kept:
        runtime.CPUConfig = runtime.CPUConfig.__base__  # as it was; the models load with the first picture
    chance, vocabulary = random.Random(0), (ROOT / "docs" / "how-to" / "search.md").read_text().split()
    start = 0.0
    for count in range(1, pictures + 1):
        pixels = np.asarray(page(chance, vocabulary))
        start -= time.process_time()
        ocr._detect_lines(pixels)
        start += time.process_time()
        if count in AT:
            state = Path("/proc/self/status").read_text()
            sizes = [int(state.split(f"{name}:")[1].split()[0]) // 1024 for name in ("VmRSS", "VmSize")]
            print(json.dumps([count, *sizes, start / count]), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--reads", choices=("kept", "forgotten"), help="used by the script itself")
    options = parser.parse_args()
    if options.reads:
        reading(options.reads == "kept", options.pictures)
        return
    running = {}
    for name in ("kept", "forgotten"):  # at the same time, so that neither has the machine to itself
        command = [sys.executable, __file__, "--pictures", str(options.pictures), "--reads", name]
        settings = {"OMP_NUM_THREADS": "1", **(MEMORY_SETTINGS if name == "forgotten" else {})}
        running[name] = subprocess.Popen(command, env={**os.environ, **settings}, stdout=subprocess.PIPE, text=True)
    found = {}
    for name, process in running.items():
        found[name] = [json.loads(line) for line in process.communicate()[0].splitlines()]
        if process.returncode:
            raise SystemExit(f"{name}: the reading process ended with {process.returncode}")
    rows = [
        [before[0], before[1], after[1], before[2], after[2], f"{before[3]:.2f}", f"{after[3]:.2f}"]
        for before, after in zip(found["kept"], found["forgotten"], strict=True)
    ]
    heads = [
        "pictures",
        *(f"{what}, {name}" for what in ("resident, MB", "address space, MB", "CPU s a picture") for name in found),
    ]
    keep(
        "words_memory",
        f"""{machine()}. One process reads the words of {options.pictures} pages of print, no two of a size. Kernels kept, as OpenVINO
does by itself, or forgotten but for the last 200 and freed at once, as in the workers of `add`.

{table(heads, rows)}""",
        found,
    )


if __name__ == "__main__":
    main()
