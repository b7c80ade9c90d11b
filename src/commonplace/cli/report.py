"""What a report of a problem needs, without contents: ``commonplace doctor --report``."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING, Any

from commonplace import __version__

if TYPE_CHECKING:
    from commonplace.collection import Collection

__all__ = ["about_collection", "about_machine"]

#: The only settings whose values are shown: they hold no path, address or secret. Of the others only the name is.
_SHOWN = ("COMMONPLACE_LANG", "COMMONPLACE_OCR", "COMMONPLACE_PRECISION")
_COUNTS = ("bytes", "documents", "items", "vectors", "indexes")


def about_machine() -> dict[str, Any]:
    """Return versions, system and settings as plain JSON values: no path, address, name of a user or of a machine."""
    names = sorted(name for name in os.environ if name.startswith("COMMONPLACE_"))
    return {
        "commonplace": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "libc": " ".join(platform.libc_ver()),
        "processors": os.cpu_count(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "sqlite": sqlite3.sqlite_version,
        "packages": _packages(),
        "settings": {name: os.environ[name] if name in _SHOWN else "set" for name in names},
    }


def about_collection(kb: Collection) -> dict[str, Any]:
    """Return sizes and states of a collection, and how many findings ``doctor`` has: no content and no name.

    The name of a model is shown only if everyone can get it.
    """
    from commonplace.encoders.presets import PRESETS

    status = kb.status()
    model = status["model"]
    findings = kb.maintenance.doctor()
    return {
        "model": {**model, "name": model["name"] if model["name"] in PRESETS else "another"},
        **{name: status[name] for name in _COUNTS if name in status},
        "migration": "shadow" in status,
        "server": status["server"]["version"] if "server" in status else None,
        "findings": sum(finding.count for finding in findings),
    }


def _packages() -> dict[str, str]:
    """Return the version of each package that Commonplace can use and that is installed."""
    versions = {}
    for name in ("commonplace-rag", "commonplace-rag-multilingual", *_requirements()):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def _requirements() -> list[str]:
    """Return the names of all dependencies, those of the extras included."""
    try:
        lines = requires("commonplace-rag") or []
    except PackageNotFoundError:  # run from its sources without an installation
        return []
    return sorted({match[0] for line in lines if (match := re.match(r"[\w.-]+", line))})
