"""Files inside a file: the members of a ZIP and the attachments of a mail, each read by the reader of its format."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from commonplace.errors import ReadError
from commonplace.i18n import _
from commonplace.readers.formats import HEAD, format_of, load_reader, sniff
from commonplace.readers.parts import File, Part, TextBlock
from commonplace.readers.zipxml import Package, UnpackLimitError

__all__ = ["is_hidden", "note_unread", "read_inside", "read_member", "read_members", "read_zip"]

_MAX_DEPTH = 3  # levels of files inside files
_MAX_MAIL_DEPTH = 20  # levels of mails inside mails: each unpacks nothing
_MAX_MEMBERS = 2_000  # files read from one archive
_MAIL = "message/rfc822"


def read_zip(file: File) -> Iterator[Part]:
    """Yield the parts of the members, sorted by name. Hidden files are skipped.

    Nothing is written to the disk, so a member's name cannot do harm. Members, bytes and depth are limited.
    """
    package = Package(file)
    names = sorted(name for name in package.names if not is_hidden(name))
    yield from read_members(file, len(names), ((name, package.read) for name in names))


def read_members(
    file: File, count: int | None, members: Iterable[tuple[str, Callable[[str], bytes | None]]]
) -> Iterator[Part]:
    """Yield the parts of each member, a pair of its name and a function that unpacks it (None: it is no file).

    ``count`` is the number of members, where it is known before they are read. What is not read is noted.
    """
    unread: list[str] = []
    number = 0
    for number, (name, unpack) in enumerate(members):
        if number >= _MAX_MEMBERS or file.quota.is_used_up:
            _note_rest(file, number, count)
            break
        try:
            data = unpack(name)
        except UnpackLimitError as error:
            file.problems.append(f"{name}: {error}")
            break
        except ReadError as error:
            file.problems.append(f"{name}: {error}")
            continue
        if data and not (yield from read_inside(file, name, data)):
            unread.append(name)
    note_unread(file, unread)


def _note_rest(file: File, number: int, count: int | None) -> None:
    if file.quota.is_used_up:
        unread = _("the rest") if count is None else str(min(count, _MAX_MEMBERS) - number)
        file.problems.append(
            _("{unread} of its files were not read: {reason}").format(unread=unread, reason=file.quota.reason)
        )
    elif count is None:
        file.problems.append(
            _("only the first {max_members:,} of its files were read; unpack it and add the folder").format(
                max_members=_MAX_MEMBERS
            )
        )
    else:
        file.problems.append(
            _("only {max_members:,} of its {count:,} files were read; unpack it and add the folder").format(
                max_members=_MAX_MEMBERS, count=count
            )
        )


def is_hidden(name: str) -> bool:
    """Return whether a member is hidden, or a file that macOS adds to archives."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return any(part == "__MACOSX" or (part[:1] == "." and part not in (".", "..")) for part in parts)


def note_unread(file: File, names: Sequence[str]) -> None:
    """Note the files inside ``file`` whose type is not read: one note that counts them by suffix."""
    if not names:
        return
    suffixes = Counter(os.path.splitext(name)[1].lower()[:20] or name[:40] for name in names)
    listed = ", ".join(f"{suffix} ({count})" if count > 1 else suffix for suffix, count in suffixes.most_common(5))
    file.problems.append(
        _("{count} files inside were left out, because their type is not read: {suffixes}").format(
            count=len(names), suffixes=listed + (", …" if len(suffixes) > 5 else "")
        )
    )


def read_inside(file: File, name: str, data: bytes, kind: str | None = None) -> Generator[Part, None, bool]:
    """Yield the parts of a file that ``file`` contains under ``name``; its errors become problems of ``file``.

    ``kind`` is its media type, where it is not told by its name and its first bytes. Returns False where this type of
    file is not read.
    """
    name = " ".join(name.split())[:200] or "unnamed"
    base = name.replace("\\", "/").rpartition("/")[2]
    kind = kind or sniff(data[:HEAD], base)
    reader = format_of(kind) if kind is not None else None
    if kind is None or reader is None:
        return False
    if data:
        yield from read_member(file, name, data, kind, lambda inner: load_reader(reader)(inner))
    return True


def read_member(
    file: File, name: str, data: bytes, kind: str, reader: Callable[[File], Iterable[Part]]
) -> Iterator[Part]:
    """Yield what ``reader`` reads of a file inside ``file``; its errors become problems of ``file``."""
    max_depth = _MAX_MAIL_DEPTH if kind == _MAIL else _MAX_DEPTH
    if file.depth >= max_depth:
        file.problems.append(
            _("{name}: nested inside {max_depth} other files; unpack it and add the folder").format(
                name=name, max_depth=max_depth
            )
        )
        return
    # Its name, without a folder, is what a reader that has no other name for it shows.
    base = name.replace("\\", "/").rpartition("/")[2]
    inner = File(file.path / "inside", file.root, data, kind, file.options, depth=file.depth + 1, quota=file.quota)
    try:
        for part in reader(inner):
            member = part.member if isinstance(part, TextBlock) else part.span.member
            path_in_file = f"{name} > {member}" if member else name
            title = " > ".join(filter(None, (base, part.title)))
            if isinstance(part, TextBlock):
                yield replace(part, member=path_in_file, title=title)
            else:
                yield replace(part, span=replace(part.span, member=path_in_file), title=title)
    except ReadError as error:
        file.problems.append(f"{name}: {error}")
    except RecursionError:
        file.problems.append(_("{name}: its parts are nested too deeply; save a simpler copy").format(name=name))
    file.problems += [f"{name}: {problem}" for problem in inner.problems]
