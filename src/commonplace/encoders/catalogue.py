"""Models by name: the presets, where pulled ones are kept, and what a name stands for."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commonplace.encoders.bundle import DEFAULT_BUNDLE
from commonplace.errors import ModelError

__all__ = ["PRESETS", "Preset", "find", "home", "installed", "is_name"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")


@dataclass(frozen=True, slots=True)
class Preset:
    """A model worth knowing, by a short name.

    ``repo`` is the hub repository it is pulled from, None for the one that is shipped. ``size`` is what is downloaded,
    in MB, about; ``dim`` the length of its vectors. ``figures`` are published ones, of the model as its makers trained
    it. The rest is what the repository's own files do not say: ``pooling``, and what stands before a ``query`` and a
    ``document``.
    """

    repo: str | None
    what: str  # "text and pictures" or "text"
    size: int
    dim: int
    languages: str
    licence: str
    figures: str
    good_for: str
    pooling: str | None = None
    query: str | None = None
    document: str | None = None
    precision: str = "fp32"


PRESETS: dict[str, Preset] = {}


def home() -> Path:
    """Return the folder that pulled models are kept in: ``COMMONPLACE_HOME``, else the user's cache folder."""
    base = os.environ.get("COMMONPLACE_HOME")
    if base:
        return Path(base).expanduser() / "models"
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "commonplace" / "models"


def is_name(text: str) -> bool:
    """Return whether ``text`` may name a pulled model: letters, digits, dots, dashes and underscores."""
    return bool(_NAME.fullmatch(text))


def find(model: str | os.PathLike[str]) -> Path:
    """Return the folder of the bundle that ``model`` names: a folder, the shipped bundle's name, a pulled model's
    name, or the hub repository that one was pulled from.

    Raises ModelError where there is none, with what to do.
    """
    name = os.fspath(model)
    if not name:
        raise ModelError("the model's name is empty: see `commonplace models`")
    folder = Path(name).expanduser()
    if (folder / "bundle.json").is_file():
        return folder
    if name == DEFAULT_BUNDLE.name:
        return DEFAULT_BUNDLE
    last = name.rsplit("/", 1)[-1]
    for known in dict.fromkeys([*(preset for preset, one in PRESETS.items() if one.repo == name), last]):
        here = is_name(known) and (home() / known / "bundle.json").is_file()
        if here and ("/" not in name or source(home() / known).get("repo") == name):
            return home() / known
    if name in PRESETS or any(one.repo == name for one in PRESETS.values()):
        raise ModelError(f"the model {name} is not here yet: fetch it with `commonplace models pull {name}`")
    if folder.is_dir():
        raise ModelError(
            f"the folder {folder} holds no bundle.json: make one of it with `commonplace models pull {name}`"
        )
    raise ModelError(
        f"there is no model {name!r} here: `commonplace models` lists names; a repository or folder is pulled first"
    )


def source(folder: Path) -> dict[str, Any]:
    """Return what a bundle says of where it was pulled from; empty where it says nothing readable."""
    try:
        spec = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    found = spec.get("source") if isinstance(spec, dict) else None
    return found if isinstance(found, dict) else {}


def installed() -> list[str]:
    """Return the names of the models that were pulled, in order."""
    try:
        return sorted(one.name for one in home().iterdir() if is_name(one.name) and (one / "bundle.json").is_file())
    except OSError:
        return []
