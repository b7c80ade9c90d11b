"""What changed of the public Python API since the last release: python scripts/api.py [REFERENCE]

REFERENCE is a tag or commit; the default is the last tag. Ends with 1 if something that worked no longer does.
Public is what `commonplace.__all__` names, and what docs/reference/python.md documents of the packages below it.
"""

from __future__ import annotations

import subprocess
import sys

from environments import ROOT, run


def main(reference: str | None) -> int:
    """Print the breaking changes that griffe finds."""
    if reference is None:
        reference = run("git", "describe", "--tags", "--abbrev=0", cwd=ROOT, check=False).strip()
        if not reference or " " in reference:
            print("there is no release yet: nothing to compare with")
            return 0
    command = [sys.executable, "-m", "griffe", "check", "commonplace", "--search", "src", "--against", reference]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else None))
