"""Windows metafiles (EMF, WMF): the words that they write and the bitmap that they show; lines are not drawn.

Formats: MS-EMF 2.3 and MS-WMF 2.3.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Metafile", "as_bmp", "read_metafile"]

_MAX_BYTES = 64 * 1024 * 1024  # of a compressed metafile
_MAX_RECORDS = 200_000
_EMF_BITMAPS = {81: 48, 76: 84, 77: 92, 80: 48, 114: 84}  # type of record -> where the place of its bitmap stands
_WMF_BITMAPS = {0x0F43: 28, 0x0B41: 26, 0x0940: 22, 0x0D33: 24}


@dataclass(slots=True)
class Metafile:
    """What a metafile holds: its words in order, and its largest bitmap as a BMP file."""

    text: str = ""
    bitmap: bytes = b""


def read_metafile(data: bytes) -> Metafile | None:
    """Return what an EMF or WMF holds, packed by gzip or not; None where the bytes are neither."""
    if data.startswith(b"\x1f\x8b"):
        try:
            data = zlib.decompressobj(31).decompress(data, _MAX_BYTES)
        except zlib.error:
            return None
    try:
        if len(data) > 44 and data[40:44] == b" EMF":
            return _gather(_emf_records(data))
        if data.startswith(b"\xd7\xcd\xc6\x9a"):
            return _gather(_wmf_records(data, 22))
        if data.startswith((b"\x01\x00\x09\x00", b"\x02\x00\x09\x00")):
            return _gather(_wmf_records(data, 0))
    except struct.error:
        return Metafile()
    return None


def _gather(records: Iterator[str | bytes]) -> Metafile:
    words: list[str] = []
    bitmap = b""
    try:
        for record in records:
            if isinstance(record, str):
                words.append(record.replace("\0", ""))
            elif len(record) > len(bitmap):
                bitmap = record
    except struct.error:
        pass  # cut off: what came before it counts
    return Metafile(" ".join(" ".join(words).split()), bitmap)


def _emf_records(data: bytes) -> Iterator[str | bytes]:
    position = 0
    for _number in range(_MAX_RECORDS):
        if position + 8 > len(data):
            return
        kind, size = struct.unpack_from("<II", data, position)
        if size < 8:
            return
        record = data[position : position + size]
        position += size
        if kind in (83, 84):  # a line of text
            count, start = struct.unpack_from("<II", record, 44)
            text = record[start : start + min(count, 10_000) * (kind - 82)]
            yield text.decode("utf-16-le" if kind == 84 else "cp1252", "replace")
        elif kind == 108:  # a short line of text
            count, flags = struct.unpack_from("<II", record, 16)
            start = 36 if flags & 0x100 else 52
            text = record[start : start + min(count, 10_000) * (1 if flags & 0x200 else 2)]
            yield text.decode("cp1252" if flags & 0x200 else "utf-16-le", "replace")
        elif kind in _EMF_BITMAPS and len(record) >= _EMF_BITMAPS[kind] + 16:
            header_at, header_size, bits_at, bits_size = struct.unpack_from("<IIII", record, _EMF_BITMAPS[kind])
            if header_size >= 40 and bits_size:
                header = record[header_at : header_at + header_size]
                yield _bmp(header, record[bits_at : bits_at + bits_size])


def _wmf_records(data: bytes, start: int) -> Iterator[str | bytes]:
    position = start + 18
    for _number in range(_MAX_RECORDS):
        if position + 6 > len(data):
            return
        size, kind = struct.unpack_from("<IH", data, position)
        if size < 3:
            return
        record = data[position : position + 2 * size]
        position += 2 * size
        if kind == 0x0521:  # TextOut
            (count,) = struct.unpack_from("<H", record, 6)
            yield record[8 : 8 + count].decode("cp1252", "replace")
        elif kind == 0x0A32:  # ExtTextOut
            count, options = struct.unpack_from("<HH", record, 10)
            begin = 22 if options & 6 else 14
            yield record[begin : begin + count].decode("cp1252", "replace")
        elif kind in _WMF_BITMAPS and len(record) > _WMF_BITMAPS[kind] + 40:
            bitmap = record[_WMF_BITMAPS[kind] :]
            if struct.unpack_from("<I", bitmap)[0] >= 40:
                yield _bmp(bitmap, b"")


def _bmp(header: bytes, bits: bytes) -> bytes:
    """Return a bitmap as a BMP file; without ``bits`` they follow the header and its colours."""
    size, depth, used = struct.unpack_from("<I10xH16xI", header)
    colours = used or (1 << depth if depth <= 8 else 0)
    start = 14 + (len(header) if bits else size + 4 * colours)
    return b"BM" + struct.pack("<IHHI", 14 + len(header) + len(bits), 0, 0, start) + header + bits


def as_bmp(bitmap: bytes) -> bytes:
    """Return a bitmap in memory (a DIB) as a BMP file; as it is where it is none."""
    return _bmp(bitmap, b"") if len(bitmap) >= 40 else bitmap
