"""Draws models/plots from ladder.json and from the speeds in sides.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

HERE = Path(__file__).parent
TEST = "test text->image"
INK, ACCENT = "#334155", "#0f766e"


def save(figure: Any, name: str) -> None:
    folder = HERE / "plots"
    folder.mkdir(exist_ok=True)
    figure.tight_layout()
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)


def by_rung(rungs: dict[str, list[dict[str, Any]]]) -> None:
    shown = {name: [seed[TEST] for seed in seeds] for name, seeds in rungs.items() if not name.startswith("(")}
    figure, axes = plt.subplots(figsize=(8, 0.45 * len(shown) + 1.2))
    at = np.arange(len(shown))[::-1]
    for i, (k, colour) in enumerate(zip((1, 5, 10), (INK, ACCENT, "#94a3b8"), strict=True)):
        means = [np.mean([row[i] for row in rows]) for rows in shown.values()]
        axes.plot(means, at, "o", color=colour, label=f"R@{k}")
        for rows, y in zip(shown.values(), at, strict=True):
            values = [row[i] for row in rows]
            axes.plot([min(values), max(values)], [y, y], color=colour, linewidth=2)
    axes.set_yticks(at, list(shown))
    axes.set_xlabel("Flickr8k test, text to image, recall % (line: all seeds)")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="lower left")
    save(figure, "recall_by_rung")


def by_pictures(curve: dict[str, list[dict[str, Any]]]) -> None:
    figure, axes = plt.subplots(figsize=(5, 3.5))
    sizes = sorted(map(int, curve))
    for i, (k, colour) in enumerate(zip((1, 5, 10), (INK, ACCENT, "#94a3b8"), strict=True)):
        means = [np.mean([seed[TEST][i] for seed in curve[str(n)]]) for n in sizes]
        axes.plot(sizes, means, "o-", color=colour, label=f"R@{k}")
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{n:,}" for n in sizes])
    axes.minorticks_off()
    axes.set_xlabel("pictures trained on")
    axes.set_ylabel("Flickr8k test, text to image, recall %")
    axes.grid(alpha=0.3)
    axes.legend()
    save(figure, "recall_by_pictures")


def by_milliseconds(speeds: dict[str, dict[str, float]], rungs: dict[str, list[dict[str, Any]]]) -> None:
    """The same weights on several runtimes and processors: recall stays, milliseconds do not."""
    recall = rungs["+ hubness of pictures and of texts: as shipped"][0][TEST][2]
    figure, axes = plt.subplots(figsize=(6, 3.5))
    for (name, row), marker in zip(speeds.items(), "os^", strict=True):
        for runtime, colour in (("PyTorch float32", "#94a3b8"), ("shipped f32", INK), ("shipped bf16", ACCENT)):
            if f"pictures, {runtime}" not in row:
                continue
            axes.plot(1000 / row[f"pictures, {runtime}"], recall, marker, color=colour, label=f"{runtime}, {name}")
    axes.set_xscale("log")
    axes.set_xticks([2, 5, 10, 20, 50], ["2", "5", "10", "20", "50"])
    axes.minorticks_off()
    axes.set_xlabel("milliseconds a picture (2 cores, model only)")
    axes.set_ylabel("Flickr8k test R@10, %")
    axes.set_ylim(recall - 5, recall + 5)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=6)
    save(figure, "recall_by_milliseconds")


def main() -> None:
    found = json.loads((HERE / "ladder.json").read_text())
    by_rung(found["rungs"])
    by_pictures(found["pictures"])
    by_milliseconds(json.loads((HERE / "sides.json").read_text())["speed"], found["rungs"])


if __name__ == "__main__":
    main()
