"""Install the wheel on fresh Pythons, with the lowest and the highest allowed version of every dependency, and try it.

python scripts/fresh.py [PYTHON ...]     default: 3.10 3.11 3.12 3.13, as far as this machine has them

Run `make dist` first. With the lowest versions the tests of `make test-fast` that need no extra run too (--tests).
Versions that have no wheel for a Python are passed over: nothing is compiled. The table is benchmarks/results/fresh.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import tempfile
from pathlib import Path

from environments import ROOT, UV, environment, packages, run, try_out

RESULTS = ROOT / "benchmarks" / "results"
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
RESOLUTIONS = {"highest": "highest", "lowest": "lowest-direct"}
TOOLS = ("pytest>=8.3,<10", "pytest-timeout>=2.3,<3", "hypothesis>=6.120,<7", "rank-bm25>=0.2.2,<1", "onnx>=1.17,<2")
QUICK = ("tests/text", "tests/retrieval", "tests/store")
"""The tests that run on the lowest versions: what computes, stores and embeds."""


def interpreter(version: str) -> str:
    """Return the path of a Python of this machine, or an empty text if it has none of this version."""
    found = run(*UV, "python", "find", "--no-project", "--system", version, check=False).strip().splitlines()
    return found[-1] if found and Path(found[-1]).exists() else ""


def attempt(python: str, resolution: str, with_tests: bool) -> dict[str, object]:
    """Install, try out and perhaps test; return the row of the table."""
    (wheel,) = (ROOT / "dist").glob("commonplace_rag-0*.whl")
    row: dict[str, object] = {"date": datetime.date.today().isoformat(), "system": system()}
    with tempfile.TemporaryDirectory() as work:
        chosen = Path(work) / "requirements.txt"
        options = ("--only-binary", ":all:")
        try:
            # From pyproject.toml: of a wheel, only the wheel itself would be a direct dependency.
            lowest = (*options, "--resolution", RESOLUTIONS[resolution], "--python", python)
            run(*UV, "pip", "compile", "--quiet", *lowest, "--output-file", chosen, ROOT / "pyproject.toml")
            options = (*options, "--constraints", str(chosen))
            inside = environment(Path(work) / "environment", str(wheel), python=python, options=options)
            row["packages"] = packages(inside)
            try_out(inside, Path(work) / "elsewhere")
            row["result"] = "add, search, ask, doctor: passed"
            if with_tests:
                run(*UV, "pip", "install", "--quiet", "--python", inside, "--constraints", chosen, *TOOLS)
                words = ("-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider", *QUICK)
                last = run(inside, *words, cwd=ROOT).strip().splitlines()[-1]
                row["result"] = f"{row['result']}; tests: {last}"
        except SystemExit as problem:
            row["result"] = f"failed: {problem}"
    return row


def system() -> str:
    """Return the system in words, without the name of the machine."""
    pretty = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux") if platform.system() == "Linux" else ""
    return f"{pretty or platform.system()}, {platform.machine()}"


def main() -> None:
    """Try each Python and renew its rows of the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pythons", nargs="*", default=PYTHONS)
    parser.add_argument("--resolution", choices=RESOLUTIONS, action="append")
    parser.add_argument("--tests", action="store_true", help="run the quick tests on the lowest versions too")
    options = parser.parse_args()
    kept = RESULTS / "fresh.json"
    rows: dict[str, dict[str, object]] = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    for version in options.pythons:
        for resolution in options.resolution or RESOLUTIONS:
            python = interpreter(version)
            if not python:
                print(f"{version}: this machine has no such Python")
                continue
            row = attempt(python, resolution, options.tests and resolution == "lowest")
            rows[f"{version} {resolution}"] = row
            print(version, resolution, row["result"], flush=True)
            kept.write_text(json.dumps(rows, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    lines = [
        "The wheel in fresh environments, with the highest and the lowest allowed versions of its dependencies.",
        "",
        "| Python | versions | system | result | on |",
        "|---|---|---|---|---|",
    ]
    for name, row in sorted(rows.items()):
        version, resolution = name.split()
        result = str(row["result"]).splitlines()[0]
        lines.append(f"| {version} | {resolution} | {row['system']} | {result} | {row['date']} |")
    (RESULTS / "fresh.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if any(str(row["result"]).startswith("failed") for row in rows.values()):
        raise SystemExit("a fresh installation fails")


if __name__ == "__main__":
    main()
