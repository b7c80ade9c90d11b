"""Models that come as Python packages, for machines that reach a package index but no model hub.

Such a package has an entry point in the group ``commonplace.models``. The entry point's name is the model's name, and
its object is the Python package whose folder holds ``bundle.json``.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

__all__ = ["packaged"]


@cache
def packaged() -> dict[str, Path]:
    """Return the folders of the installed packages' bundles, by model name. Nothing is imported."""
    folders = {entry.name: _folder(entry) for entry in entry_points(group="commonplace.models")}
    return {name: folder for name, folder in sorted(folders.items()) if folder is not None}


def _folder(entry: EntryPoint) -> Path | None:
    try:
        spec = find_spec(entry.module)
    except (ImportError, ValueError):  # half-removed: the model is treated as not installed
        return None
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent
    return folder if (folder / "bundle.json").is_file() else None
