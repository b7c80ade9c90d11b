"""What an installation consists of: python scripts/bill.py sbom | licences (run `make dist` first).

The wheel is installed without extras into a fresh environment. `sbom` writes dist/sbom.json (CycloneDX);
`licences` writes docs/reference/licences.md.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from environments import ROOT, environment, run

PAGE = ROOT / "docs" / "reference" / "licences.md"
HEAD = """# Licences

Commonplace is under the Apache License 2.0; its models, fonts and tables are named in `NOTICE`. Without extras an
installation consists of these packages. The licences are those that each package states (made by `make licences`).

| package | version | licence |
|---|---|---|
"""


def licences(python: Path) -> str:
    """Return the table of the licences of an environment's packages."""
    command = [sys.executable, "-m", "piplicenses", "--python", str(python), "--from", "mixed", "--format", "json"]
    rows = json.loads(run(*command, "--ignore-packages", "commonplace-rag", "--with-license-file"))
    lines = []
    for row in sorted(rows, key=lambda row: row["Name"].lower()):
        licence = " ".join(row["License"].split())[:80]
        if licence == "UNKNOWN":  # the metadata state none
            licence = f"{row['LicenseText'].strip().splitlines()[0]} (its licence file)"
        lines.append(f"| {row['Name']} | {row['Version']} | {licence} |")
    return HEAD + "\n".join(lines) + "\n"


def main(what: str) -> None:
    """Write the bill of materials, or the table of licences."""
    (wheel,) = (ROOT / "dist").glob("commonplace_rag-0*.whl")
    with tempfile.TemporaryDirectory() as work:
        python = environment(Path(work) / "environment", str(wheel))
        if what == "licences":
            PAGE.write_text(licences(python), encoding="utf-8")
            return
        target = ROOT / "dist" / "sbom.json"
        run(sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible", "-o", target, python)
        parts = json.loads(target.read_text(encoding="utf-8"))["components"]
        print(f"{target.relative_to(ROOT)}: {len(parts)} packages")


if __name__ == "__main__":
    if sys.argv[1:] not in (["sbom"], ["licences"]):
        raise SystemExit(__doc__)
    main(sys.argv[1])
