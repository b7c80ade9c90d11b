"""Files inside of a file: the members of a ZIP, and what is attached to a mail, each read by its own format."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath

from commonplace.errors import ReadError
from commonplace.readers.formats import HEAD, format_of, sniff
from commonplace.readers.parts import File, ImageBlock, Part
from commonplace.readers.zipxml import Package

__all__ = ["read_inside", "read_zip"]

_DEPTH = 3  # files around each other
_MEMBERS = 2_000  # of one archive


def read_zip(file: File) -> Iterator[Part]:
    """Yield the parts of the members in the order of their names; hidden ones, and types that are not read, are left.

    Names are only names: nothing is written anywhere. Members, bytes and depth are bounded.
    """
    package = Package(file)
    names = sorted(name for name in package.names if not _is_hidden(name))
    if len(names) > _MEMBERS:
        file.problems.append(f"only {_MEMBERS:,} of its {len(names):,} files are read; unpack it and add the folder")
    for number, name in enumerate(names[:_MEMBERS]):
        if file.quota.late:
            left = len(names[:_MEMBERS]) - number
            file.problems.append(f"{left} of its files were not reached in time; unpack it and add the folder")
            return
        try:
            data = package.read(name)
        except ReadError as error:
            file.problems.append(f"{name}: {error}")
            if "may be unpacked" in str(error):
                return
            continue
        yield from read_inside(file, name, data)


def _is_hidden(name: str) -> bool:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return any(part == "__MACOSX" or (part[:1] == "." and part not in (".", "..")) for part in parts)


def read_inside(file: File, name: str, data: bytes) -> Iterator[Part]:
    """Yield the parts of a file that ``file`` holds under ``name``; what is wrong with it is a problem of ``file``."""
    name = " ".join(name.split())[:200] or "unnamed"
    base = name.replace("\\", "/").rpartition("/")[2]
    kind = sniff(data[:HEAD], base)
    found = format_of(kind) if kind is not None else None
    if kind is None or found is None or not data:
        return
    if file.depth >= _DEPTH:
        file.problems.append(f"{name}: inside of {_DEPTH} other files; unpack it and add the folder")
        return
    inner = File(file.path / "inside", file.root, data, kind, file.options, depth=file.depth + 1, quota=file.quota)
    try:
        for part in found.load()(inner):
            member = part.span.member if isinstance(part, ImageBlock) else part.member
            whole = f"{name} > {member}" if member else name
            title = " > ".join(filter(None, (base, part.title)))
            if isinstance(part, ImageBlock):
                yield replace(part, span=replace(part.span, member=whole), title=title)
            else:
                yield replace(part, member=whole, title=title)
    except ReadError as error:
        file.problems.append(f"{name}: {error}")
    except RecursionError:
        file.problems.append(f"{name}: parts inside of parts past all sense; save it anew")
    file.problems += [f"{name}: {problem}" for problem in inner.problems]
