"""What the scripts of a release share: environments of their own, made by uv, and a collection that is tried in one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UV = (sys.executable, "-m", "uv")

#: Nothing of the caller's shell leads into an environment: only the folder's own packages are tried.
LEFT_OUT = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


def run(*command: str | Path, cwd: Path | None = None, check: bool = True) -> str:
    """Return what a command prints. Raises SystemExit with its last lines if it fails and ``check`` is true."""
    environment = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
    environment |= {"UV_PYTHON_DOWNLOADS": "never", "COMMONPLACE_LANG": "en"}
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if check and done.returncode:
        output = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise SystemExit(f"{' '.join(str(word) for word in command)}\nended with {done.returncode}:\n{output}")
    return done.stdout + done.stderr


def environment(folder: Path, *requirements: str, python: str = sys.executable, options: tuple[str, ...] = ()) -> Path:
    """Make a fresh environment with ``requirements`` and return its Python."""
    run(*UV, "venv", "--quiet", "--clear", "--python", python, folder)
    inside = folder / "bin" / "python"
    run(*UV, "pip", "install", "--quiet", "--python", inside, *options, *requirements)
    return inside


def size(python: Path) -> float:
    """Return the size of an environment's packages in MB (1,000,000 bytes)."""
    (site,) = python.parent.parent.glob("lib/python3.*/site-packages")
    return sum(path.stat().st_size for path in site.rglob("*") if path.is_file() and not path.is_symlink()) / 1e6


def packages(python: Path) -> dict[str, str]:
    """Return the version of each package of an environment, by name."""
    lines = run(*UV, "pip", "freeze", "--quiet", "--python", python).splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def try_out(python: Path, folder: Path) -> None:
    """Add a document and a picture, search and ask, with the command of an environment, in ``folder``.

    Raises SystemExit if a command fails or does not find what it must.
    """
    command = python.parent / "commonplace"
    (folder / "papers").mkdir(parents=True)
    (folder / "papers" / "pumps.md").write_text("# Pumps\n\nThe north pump needs the blue seal.\n", encoding="utf-8")
    draw = "from PIL import Image; Image.new('RGB', (90, 60), 'red').save('papers/red.png')"
    run(python, "-c", draw, cwd=folder)
    for words, expected in (
        (["add", "papers"], "2 added"),
        (["search", "blue seal"], "pumps.md"),
        (["ask", "Which seal does the north pump need?"], "The north pump needs the blue seal."),
        (["doctor"], ""),
    ):
        shown = run(command, *words, cwd=folder)
        if expected not in shown:
            raise SystemExit(f"commonplace {' '.join(words)} in {folder} does not show {expected!r}:\n{shown}")
