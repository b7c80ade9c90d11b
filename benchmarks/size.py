"""What an installation weighs: the base in a fresh environment, by package, in MB on disk.

python benchmarks/size.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from common import ROOT, keep, table

LIMIT = 500  # MB, without recognised text (OCR)


def weight(path: Path) -> float:
    """Return the size of a file or folder in MB (1,000,000 bytes), compiled Python included."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


def main() -> None:
    """Install into a fresh environment, weigh it, keep the table."""
    with tempfile.TemporaryDirectory() as work:
        place = Path(work) / "environment"
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        python = place / "bin" / "python"
        (site,) = place.glob("lib/python3.*/site-packages")
        own = {path.name for path in site.iterdir()}  # pip and what comes with it is not ours
        subprocess.run([python, "-m", "pip", "install", "--quiet", str(ROOT)], check=True)
        sizes = {path.name: weight(path) for path in site.iterdir() if path.name not in own}
    total = sum(sizes.values())
    largest = sorted(sizes.items(), key=lambda one: -one[1])[:12]
    rows: list[list[object]] = [[name, f"{size:.1f}"] for name, size in largest]
    rows += [["all others", f"{total - sum(size for _, size in largest):.1f}"], ["**all**", f"**{total:.0f}**"]]
    text = (
        f"A fresh environment after `pip install .` (no extras), pip itself not counted; the limit is {LIMIT} MB.\n\n"
    )
    keep("size", text + table(["folder", "MB"], rows), {"total": total, **sizes})
    if total > LIMIT:
        raise SystemExit(f"{total:.0f} MB is over the limit of {LIMIT} MB")


if __name__ == "__main__":
    main()
