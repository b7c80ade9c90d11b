"""Files inside a file: the members of a ZIP and the attachments of a mail, each read by the reader of its format."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath

from commonplace.errors import ReadError
from commonplace.i18n import _
from commonplace.readers.formats import HEAD, format_of, load_reader, sniff
from commonplace.readers.parts import File, ImageBlock, Part
from commonplace.readers.zipxml import Package, UnpackLimitError

__all__ = ["read_inside", "read_zip"]

_MAX_DEPTH = 3  # levels of files inside files
_MAX_MEMBERS = 2_000  # files read from one archive


def read_zip(file: File) -> Iterator[Part]:
    """Yield the parts of the members, sorted by name. Hidden files and unsupported types are skipped.

    Nothing is written to the disk, so a member's name cannot do harm. Members, bytes and depth are limited.
    """
    package = Package(file)
    names = sorted(name for name in package.names if not _is_hidden(name))
    if len(names) > _MAX_MEMBERS:
        file.problems.append(
            _("only {max_members:,} of its {count:,} files were read; unpack it and add the folder").format(
                max_members=_MAX_MEMBERS, count=len(names)
            )
        )
    for number, name in enumerate(names[:_MAX_MEMBERS]):
        if file.quota.is_used_up:
            file.problems.append(
                _("{unread} of its files were not read: {reason}").format(
                    unread=len(names[:_MAX_MEMBERS]) - number, reason=file.quota.reason
                )
            )
            return
        try:
            data = package.read(name)
        except UnpackLimitError as error:
            file.problems.append(f"{name}: {error}")
            return
        except ReadError as error:
            file.problems.append(f"{name}: {error}")
            continue
        yield from read_inside(file, name, data)


def _is_hidden(name: str) -> bool:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return any(part == "__MACOSX" or (part[:1] == "." and part not in (".", "..")) for part in parts)


def read_inside(file: File, name: str, data: bytes) -> Iterator[Part]:
    """Yield the parts of a file that ``file`` contains under ``name``; its errors become problems of ``file``."""
    name = " ".join(name.split())[:200] or "unnamed"
    base = name.replace("\\", "/").rpartition("/")[2]
    kind = sniff(data[:HEAD], base)
    reader = format_of(kind) if kind is not None else None
    if kind is None or reader is None or not data:
        return
    if file.depth >= _MAX_DEPTH:
        file.problems.append(
            _("{name}: nested inside {max_depth} other files; unpack it and add the folder").format(
                name=name, max_depth=_MAX_DEPTH
            )
        )
        return
    inner = File(file.path / "inside", file.root, data, kind, file.options, depth=file.depth + 1, quota=file.quota)
    try:
        for part in load_reader(reader)(inner):
            member = part.span.member if isinstance(part, ImageBlock) else part.member
            path_in_file = f"{name} > {member}" if member else name
            title = " > ".join(filter(None, (base, part.title)))
            if isinstance(part, ImageBlock):
                yield replace(part, span=replace(part.span, member=path_in_file), title=title)
            else:
                yield replace(part, member=path_in_file, title=title)
    except ReadError as error:
        file.problems.append(f"{name}: {error}")
    except RecursionError:
        file.problems.append(_("{name}: its parts are nested too deeply; save a simpler copy").format(name=name))
    file.problems += [f"{name}: {problem}" for problem in inner.problems]
