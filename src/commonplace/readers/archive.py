"""Files inside a file: members of a ZIP or TAR and attachments of a mail, each read by the reader of its format."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import IO, Any

from commonplace.errors import ReadError
from commonplace.i18n import _
from commonplace.readers.formats import HEAD, format_of, load_reader, sniff
from commonplace.readers.parts import File, Part, TextBlock
from commonplace.readers.zipxml import MAX_RATIO, Package, UnpackLimitError

__all__ = [
    "is_hidden",
    "note_unread",
    "read_7z",
    "read_compressed",
    "read_inside",
    "read_member",
    "read_members",
    "read_tar",
    "read_zip",
]

_MAX_DEPTH = 3  # levels of files inside files
_MAX_MAIL_DEPTH = 20  # levels of mails inside mails: each unpacks nothing
_MAX_MEMBERS = 2_000  # files read from one archive
_MAIL = "message/rfc822"
_PIECE = 1 << 20  # bytes that are unpacked at a time
_TAR_MARK = 257, b"ustar"  # where a TAR has its mark
_DAMAGE = (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError, ValueError)
_OPENERS: dict[str, Callable[[IO[bytes]], Any]] = {
    "application/gzip": gzip.open,
    "application/x-bzip2": bz2.open,
    "application/x-xz": lzma.open,
}


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
        except _DAMAGE:
            file.problems.append(_("{name}: damaged; save a new copy and add it again").format(name=name))
            break
        if data and not (yield from read_inside(file, name, data)):
            unread.append(name)
    note_unread(file, unread)


class _Unpacked(io.RawIOBase):
    """A stream that is unpacked as it is read, within the quota of its file and a ratio that only bombs exceed."""

    def __init__(self, file: File, stream: Any) -> None:
        self._file, self._stream = file, stream
        self._count = 0
        self._limit = min(file.quota.bytes, file.options.max_bytes)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._stream.read(min(len(buffer), _PIECE))
        self._count += len(data)
        self._file.quota.bytes -= len(data)
        if self._count > self._limit:
            raise UnpackLimitError(_("larger than the limit on unpacked data; unpack it and add the folder"))
        if self._count > _PIECE and self._count > MAX_RATIO * len(self._file.data):
            raise UnpackLimitError(
                _("it unpacks to over {max_ratio} times its size; unpack it yourself if you trust it").format(
                    max_ratio=MAX_RATIO
                )
            )
        buffer[: len(data)] = data
        return len(data)


def read_compressed(file: File) -> Iterator[Part]:
    """Yield the parts of the file that a GZ, BZ2 or XZ file holds: those of its members, where it is a TAR."""
    opener = _OPENERS[file.media_type]
    try:
        with opener(io.BytesIO(file.data)) as stream:
            head = stream.read(_TAR_MARK[0] + len(_TAR_MARK[1]))
    except _DAMAGE:
        raise ReadError(_("a damaged archive; save a new copy and add it again")) from None
    with opener(io.BytesIO(file.data)) as stream:
        unpacked = io.BufferedReader(_Unpacked(file, stream), _PIECE)
        if head[_TAR_MARK[0] :] == _TAR_MARK[1]:
            yield from _tar_parts(file, unpacked)
            return
        name = file.path.stem
        data = b""
        try:
            while piece := unpacked.read(_PIECE):
                data += piece
        except UnpackLimitError as error:
            raise ReadError(str(error)) from None
        except _DAMAGE:
            file.problems.append(_("damaged at its end: what comes before was read; save a new copy"))
        if data and not (yield from read_inside(file, name, data)):
            note_unread(file, [name])


def read_tar(file: File) -> Iterator[Part]:
    """Yield the parts of the members of a TAR, in their order. Links and hidden files are skipped."""
    yield from _tar_parts(file, io.BytesIO(file.data))


def read_7z(file: File) -> Iterator[Part]:
    """Yield the parts of the members of a 7z archive, sorted by name. It needs the extra ``7z``."""
    try:
        import py7zr
    except ImportError:
        raise ReadError(
            _("a 7z archive, which needs the extra 7z: run `pip install 'commonplace-rag[7z]'`, or unpack it")
        ) from None
    try:
        with py7zr.SevenZipFile(io.BytesIO(file.data)) as archive:
            if archive.needs_password():
                raise ReadError(_("protected by a password; remove the password and add it again"))
            sizes = {
                member.filename: member.uncompressed
                for member in archive.list()
                if member.is_file and not is_hidden(member.filename)
            }
            limit = min(file.quota.bytes, file.options.max_bytes)
            total = sum(sizes.values())
            if total > limit or len(sizes) > file.quota.files or total > max(_PIECE, MAX_RATIO * len(file.data)):
                raise ReadError(_("larger than the limit on unpacked data; unpack it and add the folder"))
            names = sorted(sizes)
            store = py7zr.io.BytesIOFactory(limit)
            archive.extract(targets=names, factory=store)
    except (MemoryError, ReadError):
        raise
    except Exception:  # py7zr raises many kinds of errors on damaged archives
        raise ReadError(_("a damaged archive; save a new copy and add it again")) from None
    file.quota.bytes -= total
    file.quota.files -= len(names)
    contents = dict(store.products)

    def unpack(name: str) -> bytes | None:
        content = contents.get(name)
        return None if content is None else bytes(content.read())

    yield from read_members(file, len(names), ((name, unpack) for name in names))


def _tar_parts(file: File, stream: IO[bytes]) -> Iterator[Part]:
    yield from read_members(file, None, _tar_members(file, stream))


def _tar_members(file: File, stream: IO[bytes]) -> Iterator[tuple[str, Callable[[str], bytes | None]]]:
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                if not member.isfile() or is_hidden(member.name):
                    continue
                if member.issparse():
                    file.problems.append(
                        _("{name}: a file with holes; unpack it and add the folder").format(name=member.name)
                    )
                    continue

                def unpack(_name: str, member: tarfile.TarInfo = member) -> bytes | None:
                    file.quota.files -= 1
                    if file.quota.files < 0 or member.size > min(file.quota.bytes, file.options.max_bytes):
                        raise UnpackLimitError(
                            _("larger than the limit on unpacked data; unpack it and add the folder")
                        )
                    content = archive.extractfile(member)
                    data = content.read(member.size) if content else None
                    if data is not None and len(data) < member.size:
                        raise EOFError
                    return data

                yield member.name, unpack
    except UnpackLimitError as error:
        file.problems.append(str(error))
    except _DAMAGE:
        file.problems.append(_("damaged: what comes before was read; save a new copy and add it again"))


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
        _("files inside it whose type is not read: {suffixes}").format(
            suffixes=listed + (", …" if len(suffixes) > 5 else "")
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
    base = name.replace("\\", "/").rpartition("/")[2]
    inner = File(
        Path(base.replace("\0", "") or "inside"),
        file.root,
        data,
        kind,
        file.options,
        depth=file.depth + 1,
        quota=file.quota,
    )
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
