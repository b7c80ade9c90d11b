"""Build what is published, check it, and try it out: python scripts/dist.py (or make dist).

Every package is built twice from the last commit, in two folders, time zones and umasks; the bytes must be the same.
The wheels are then installed alone into a fresh environment, and used from another folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from environments import ROOT, UV, environment, run, try_out

DIST = ROOT / "dist"
PACKAGES = (".", "packages/multilingual")
LIMIT = 100  # MB; PyPI takes no larger file

BUILDS = ({"TZ": "UTC", "umask": "022"}, {"TZ": "Asia/Tokyo", "umask": "077"})


def build(work: Path, out: Path, time_zone: str, umask: str) -> None:
    """Build source archives and wheels of the last commit into ``out``."""
    work.mkdir(parents=True)
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x"], cwd=work, input=archive, check=True, umask=int(umask, 8))
    stamp = run("git", "log", "-1", "--format=%ct", cwd=ROOT).strip()
    variables = {**os.environ, "SOURCE_DATE_EPOCH": stamp, "TZ": time_zone}
    for package in PACKAGES:
        command = [*UV, "build", "--quiet", "--out-dir", str(out), str(work / package)]
        subprocess.run(command, check=True, env=variables, umask=int(umask, 8))


def hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each archive in a folder, by name."""
    archives = (*folder.glob("*.whl"), *folder.glob("*.tar.gz"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(archives)}


def main() -> None:
    """Build twice, compare, check, install, try out."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for number, settings in enumerate(BUILDS):
            build(work / f"source-{number}", work / f"dist-{number}", settings["TZ"], settings["umask"])
        first, second = hashes(work / "dist-0"), hashes(work / "dist-1")
        if first != second:
            raise SystemExit(f"two builds of one commit differ: {sorted(set(first.items()) ^ set(second.items()))}")
        shutil.rmtree(DIST, ignore_errors=True)
        DIST.mkdir()
        for name in first:
            shutil.copy(work / "dist-0" / name, DIST)
        wheels = sorted(DIST.glob("*.whl"))
        run(sys.executable, "-m", "twine", "check", "--strict", *(DIST / name for name in first))
        run(sys.executable, "-m", "check_wheel_contents", *wheels)
        python = environment(work / "environment", *(str(wheel) for wheel in wheels))
        try_out(python, work / "elsewhere")
        shown = run(*UV, "tool", "run", "--from", wheels[0], "commonplace", "--version", cwd=work)
        if f"commonplace {wheels[0].name.split('-')[1]}\n" not in shown:
            raise SystemExit(f"uvx runs another version: {shown}")
        listed = run(python.parent / "commonplace", "models", cwd=work)
        if "multilingual" not in listed:
            raise SystemExit(f"the second package brings no model:\n{listed}")
    for name, digest in first.items():
        megabytes = (DIST / name).stat().st_size / 1e6
        print(f"{digest}  {name}  {megabytes:.1f} MB")
        if megabytes > LIMIT:
            raise SystemExit(f"{name} is larger than {LIMIT} MB")


if __name__ == "__main__":
    main()
