"""Files that a user asks for: written whole or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from commonplace.errors import CommonplaceError
from commonplace.i18n import _

__all__ = ["atomic_write"]


@contextmanager
def atomic_write(path: str | os.PathLike[str], what: str) -> Iterator[BinaryIO]:
    """Lend a file that takes the name ``path`` when the block ends well; else nothing is changed.

    A file of that name is replaced; so is a link, and not what it points to. Raises CommonplaceError, which begins with
    ``what``, where it cannot be written, or where something stands there that is no file: a folder, a device.
    """
    place = Path(path)
    beside: Path | None = None
    try:
        with suppress(FileNotFoundError):
            mode = place.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
                raise ValueError(_("what stands there is no file"))
        part = place.with_name(f".{os.getpid()}.{place.name[-40:]}")
        with part.open("xb") as file:
            beside = part
            yield file
        part.replace(place)
    except BaseException as problem:
        if beside is not None:
            beside.unlink(missing_ok=True)
        if not isinstance(problem, (OSError, ValueError)):
            raise
        shown = os.fspath(path).encode("utf-8", "replace").decode()[-200:]
        why = getattr(problem, "strerror", None) or problem
        raise CommonplaceError(
            _("{what} cannot be written to {shown} ({why}): choose another place").format(
                what=what, shown=shown, why=why
            )
        ) from None
