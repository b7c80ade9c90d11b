"""What the benchmarks share: the development data, the machine in words, tables."""

from __future__ import annotations

import json
import math
import os
import platform
import random
import re
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"


def data(name: str) -> Path:
    """Return a folder of the development data (COMMONPLACE_DATA, default ../shared/data)."""
    folder = Path(os.environ.get("COMMONPLACE_DATA") or ROOT.parent / "shared" / "data") / name
    if not folder.exists():
        raise SystemExit(f"the development data {name} is not here: set COMMONPLACE_DATA")
    return folder


def machine() -> str:
    """Return the processor in words: cores and what it multiplies natively."""
    flags = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        found = set(re.search(r"flags\s*:(.*)", cpuinfo.read_text())[1].split())  # type: ignore[index]
        flags = ", ".join(
            name for name in ("amx_bf16", "avx512_bf16", "avx512_vnni", "avx512f", "avx2") if name in found
        )
    return f"{len(os.sched_getaffinity(0))} cores ({flags}), Python {platform.python_version()}"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table; floats with three digits."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        lines.append("| " + " | ".join(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row) + " |")
    return "\n".join(lines)


def keep(name: str, text: str, values: object) -> None:
    """Write a table and its figures below ``results/`` and print the table."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(text + "\n", encoding="utf-8")
    (RESULTS / f"{name}.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    print(text)


def interval(values: Sequence[float], seed: int = 0, rounds: int = 2000) -> tuple[float, float, float]:
    """Return the mean and its 95% bootstrap interval over questions."""
    draw = random.Random(seed)
    means = sorted(math.fsum(draw.choices(values, k=len(values))) / len(values) for _ in range(rounds))
    return math.fsum(values) / len(values), means[int(0.025 * rounds)], means[int(0.975 * rounds)]


def ndcg(found: Sequence[str], gains: dict[str, float], k: int = 10) -> float:
    """Return nDCG@k with linear gains (Järvelin and Kekäläinen 2002), in [0, 1]."""
    got = math.fsum(gains.get(id_, 0.0) / math.log2(rank + 2) for rank, id_ in enumerate(found[:k]))
    best = math.fsum(g / math.log2(rank + 2) for rank, g in enumerate(sorted(gains.values(), reverse=True)[:k]))
    return got / best if best else 0.0


def flickr8k(split: str) -> dict[str, list[str]]:
    """Return picture name -> its five captions, for the official split ``train``, ``dev`` or ``test``."""
    folder = data("flickr8k")
    captions: dict[str, list[str]] = {}
    for line in (folder / "Flickr8k.token.txt").read_text(encoding="utf-8").splitlines():
        name, caption = line.split("\t")
        captions.setdefault(name.split("#")[0], []).append(caption.removesuffix(".").strip())
    names = (folder / f"Flickr_8k.{split}Images.txt").read_text().split()
    return {name: captions[name] for name in names}
