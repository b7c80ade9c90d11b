"""The index file: one partition's prepared rows in a memory-mapped file. It is a cache of the SQLite data.

::

    8 bytes magic, uint32 length and CRC of the description, the description (JSON), zeros to HEAD
    keys       int64   (n,)        the item of each row, ascending
    sums       uint32  (n,)        checksum of the row, its offset and its key
    code_sums  uint32  (n,)        checksum of each code; only with codes
    offsets    float32 (n,)        hubness offsets; only if the partition has them
    codes      uint8   (n, bytes)  signs of the row minus the centre; only with codes
    places     int32   (n,)        the row of each code, as codes are ordered by cell; only with IVF cells
    starts     int64   (cells + 1,)      where the codes of each cell begin
    centroids  float32 (cells, dim)      centroids of the cells
    scales     float32 (n,)        factor of each row; only with int8 rows
    rows       float32, float16 or int8 (n, dim)
    and for each direction of query whose recall by codes is too low:
    projection     float32 (short, dim)  the matrix that projects queries
    projected_sums uint32  (n,)          checksum of the projected vector
    projected      float32 (n, short)    projected vectors; see ``commonplace.store.projection``

A file is written under another name and then renamed, so that readers keep the file that they have mapped. The only
change in place is ``IndexFile.erase()``, which overwrites the rows of removed items with zeros.
"""

from __future__ import annotations

import base64
import json
import mmap
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonplace.i18n import _
from commonplace.store.codes import Cells, Codes, code_bytes, encode

__all__ = ["KINDS", "Damaged", "IndexFile", "Info", "Measured", "rounded", "sums", "sync", "write"]

MAGIC = b"CMNPLSN3"
HEAD = 32768  # bytes before the first section: room for the description and its centre (four bytes per dimension)
PAGE = 4096
BLOCK = 16384  # number of rows that are read, checked or written at once

KINDS = {"int8": "i1", "float16": "<f2", "float32": "<f4"}
"""The types that rows can be stored in, the smallest first."""

Block = tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32] | None]
"""Keys (n,), prepared rows (n, dim) and their offsets (n,) or None."""


class Damaged(Exception):
    """The content of an index file is damaged. Never leaves the store: the file is ignored and rebuilt."""


@dataclass(frozen=True, slots=True)
class Info:
    """The description of an index file.

    ``lineage``, ``generation``, ``last`` (highest item key) and ``removed`` (last line of the removal log) are its
    position in the collection's history. ``state`` is the ranking state that its rows were prepared under. ``several``
    is the largest number of rows of one item. ``kind`` is the type of the rows, one of ``KINDS``.

    The other fields are by direction of query, ``same`` modality or ``other``:

    - ``oversampling``: candidates per wanted hit; 0 if only a full scan reached the target recall.
    - ``recall``: the recall@10 (0 to 1) that was measured with it.
    - ``probe_radius``: for ten hits and for a hundred; only if a part of the IVF cells is read.
    - ``rescore_fraction``: the share of the candidates that is scored exactly.
    - ``projected``: the length of the projected vectors, if candidates come from those instead of codes.
    """

    partition: str
    state: str
    lineage: str
    generation: int
    last: int
    removed: int
    rows: int
    dim: int
    several: int = 1
    offsets: bool = False
    code_bytes: int = 0
    cells: int = 0
    oversampling: dict[str, float] = field(default_factory=dict)
    recall: dict[str, float] = field(default_factory=dict)
    probe_radius: dict[str, list[float]] = field(default_factory=dict)
    rescore_fraction: dict[str, float] = field(default_factory=dict)
    projected: dict[str, int] = field(default_factory=dict)
    kind: str = "float32"


@dataclass(frozen=True, slots=True)
class Measured:
    """The measured search parameters of a new index file; see ``Info`` for the fields that both have.

    ``projections`` has two matrices (dim, short), for queries and for rows, for each direction that should get
    projected vectors.
    """

    oversampling: dict[str, float]
    recall: dict[str, float]
    probe_radius: dict[str, list[float]] = field(default_factory=dict)
    rescore_fraction: dict[str, float] = field(default_factory=dict)
    projections: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]] = field(default_factory=dict)


def sums(*columns: NDArray[Any]) -> NDArray[np.uint32]:
    """Return a checksum (n,) for each row of ``columns``: arrays (n, ...) whose rows consist of 32-bit words.

    The checksum is the sum of the words times odd numbers, modulo 2**32. It detects every change within one word, and
    any other change with a probability of 1 - 2**-32. NumPy computes all rows at once; a CRC would need one call per
    row.
    """
    total: Any = np.uint32(0x9E3779B1)  # the checksum of zeros must not be zero
    width = 1
    for column in columns:
        each = int(np.prod(column.shape[1:])) * column.itemsize // 4
        words = np.ascontiguousarray(column).view(np.uint32).reshape(len(column), each)
        count = np.arange(width, width + words.shape[1], dtype=np.uint64)
        weights = ((count * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(32)) | np.uint64(1)).astype(np.uint32)
        total = total + words @ weights
        width += words.shape[1]
    return np.asarray(total, dtype=np.uint32)


def packed(rows: NDArray[np.float32], kind: str) -> tuple[NDArray[Any], NDArray[np.float32] | None]:
    """Return rows (n, dim) in the type ``kind``, as an index file stores them, and their scales (n,) or None."""
    if kind != "int8":
        return rows.astype(KINDS[kind]), None
    scales = np.asarray(np.abs(rows).max(axis=1, initial=0) / np.float32(127), np.float32)  # NaN for a row of NaN
    scaled = rows / np.where(scales > 0, scales, np.float32(1))[:, None]
    return np.rint(np.nan_to_num(scaled)).astype(np.int8), scales


def unpacked(rows: NDArray[Any], scales: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """Return the rows (n, dim) that ``packed`` converted, as float32."""
    array = np.asarray(rows, np.float32)
    return array if scales is None else array * scales[:, None]


def rounded(rows: NDArray[np.float32], kind: str) -> NDArray[np.float32]:
    """Return rows (n, dim) as float32, rounded to the precision of the type ``kind``."""
    return rows if kind == "float32" else unpacked(*packed(rows, kind))


def _layout(info: Info) -> tuple[dict[str, tuple[int, Any, tuple[int, ...]]], int]:
    """Return the position, type and shape of each section, and the length of the file in bytes."""
    parts: list[tuple[str, Any, tuple[int, ...]]] = [("keys", "<i8", (info.rows,)), ("sums", "<u4", (info.rows,))]
    if info.code_bytes:
        parts.append(("code_sums", "<u4", (info.rows,)))
    if info.offsets:
        parts.append(("offsets", "<f4", (info.rows,)))
    if info.code_bytes:
        parts.append(("codes", "u1", (info.rows, info.code_bytes)))
    if info.cells:
        parts.append(("places", "<i4", (info.rows,)))
        parts.append(("starts", "<i8", (info.cells + 1,)))
        parts.append(("centroids", "<f4", (info.cells, info.dim)))
    if info.kind == "int8":
        parts.append(("scales", "<f4", (info.rows,)))
    parts.append(("rows", KINDS[info.kind], (info.rows, info.dim)))
    for way, short in info.projected.items():
        parts.append((f"projection {way}", "<f4", (short, info.dim)))
        parts.append((f"projected_sums {way}", "<u4", (info.rows,)))
        parts.append((f"projected {way}", "<f4", (info.rows, short)))
    blocks, at = {}, HEAD
    for name, kind, shape in parts:
        blocks[name] = (at, np.dtype(kind), shape)
        at += -(-int(np.prod(shape)) * np.dtype(kind).itemsize // PAGE) * PAGE
    return blocks, at


class IndexFile:
    """A memory-mapped index file. Raises Damaged if the file is damaged.

    ``keys``, ``offsets`` and ``codes`` are views of the file. Opening checks codes, cells and keys. A row is checked
    when it is used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            self.identity = _identity(os.fstat(file.fileno()))
            self.info, self.centre, whole_sums = _read_head(file.read(HEAD))
            layout, size = _layout(self.info)
            if os.fstat(file.fileno()).st_size != size:
                raise Damaged(_("its length is wrong"))
            self._map = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
            self._file = os.dup(file.fileno())
        self._place = layout["rows"][0]
        self._checked: set[str] = set()
        self._sections = sections = {
            name: np.frombuffer(self._map, kind, int(np.prod(shape)), at).reshape(shape)
            for name, (at, kind, shape) in layout.items()
        }
        self.keys: NDArray[np.int64] = sections["keys"]
        self._rows: NDArray[Any] = sections["rows"]
        self._scales: NDArray[np.float32] | None = sections.get("scales")
        self.offsets: NDArray[np.float32] | None = sections.get("offsets")
        self._sums: NDArray[np.uint32] = sections["sums"]
        for name in sections:
            if _summed_whole(name) and _crc(sections[name]) != whole_sums.get(name):
                raise Damaged(_("the checksum of its {name} is wrong").format(name=name))
        self.codes: Codes | None = None
        if self.info.code_bytes:
            if (sums(sections["codes"]) != sections["code_sums"]).any():
                raise Damaged(_("the checksum of its codes is wrong"))
            cells = Cells(sections["centroids"], sections["starts"]) if self.info.cells else None
            self.codes = Codes(sections["codes"], sections.get("places"), cells)

    def __len__(self) -> int:
        return self.info.rows

    @property
    def size(self) -> int:
        """Length of the file in bytes."""
        return len(self._map)

    def good(self, at: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return for each of these rows (n,) whether its checksum is correct."""
        more = [] if self.offsets is None else [self.offsets[at]]
        return np.equal(sums(self.take(at), *more, self.keys[at]), self._sums[at])

    def bad(self) -> NDArray[np.int64]:
        """Return the places of all damaged rows; reads the whole file. Raises Damaged."""
        sums = []
        for way in self.info.projected:
            self.projected(way)
        for i in range(0, len(self), BLOCK):
            at = np.arange(i, min(i + BLOCK, len(self)))
            sums.append(at[~self.good(at)])
        return np.concatenate(sums) if sums else np.empty(0, np.int64)

    def projected(self, way: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the projection (short, dim) of queries and the projected vectors (n, short) of a direction.

        The first call checks them. Raises Damaged.
        """
        rows = self._sections[f"projected {way}"]
        if way not in self._checked:
            expected = self._sections[f"projected_sums {way}"]
            for i in range(0, len(self), BLOCK):
                if (sums(rows[i : i + BLOCK]) != expected[i : i + BLOCK]).any():
                    raise Damaged(_("the checksum of its projected vectors is wrong"))
            self._checked.add(way)
        return self._sections[f"projection {way}"], rows

    def take(self, at: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return a copy of these rows (n, dim) as float32, without keeping pages of the file in memory."""
        if len(at) > READ_ROWS:
            rows = self._rows[at]
            self.release()
            return unpacked(rows, None if self._scales is None else self._scales[at])
        rows = np.empty((len(at), self.info.dim), self._rows.dtype)
        width = self.info.dim * rows.itemsize
        room = rows.data.cast("B") if len(at) else memoryview(b"")
        starts = np.flatnonzero(np.diff(at, prepend=-2) != 1)  # of runs of consecutive rows
        ends = np.flatnonzero(np.diff(at, append=-2) != 1) + 1
        for i, j, row in zip(starts.tolist(), ends.tolist(), at[starts].tolist(), strict=True):
            wanted = (j - i) * width
            if os.preadv(self._file, (room[i * width : j * width],), self._place + row * width) != wanted:
                raise Damaged(_("it was truncated while it was read"))
        return unpacked(rows, None if self._scales is None else self._scales[at])

    def part(self, start: int) -> NDArray[np.float32]:
        """Return up to ``BLOCK`` rows (n, dim) from place ``start`` on; a view of the file if they are float32."""
        end = start + BLOCK
        return unpacked(self._rows[start:end], None if self._scales is None else self._scales[start:end])

    @property
    def float32_rows(self) -> NDArray[np.float32] | None:
        """All rows (n, dim) as a view of the file, if they are stored as float32; else None."""
        return self._rows if self.info.kind == "float32" else None

    def release(self) -> None:
        """Release the pages of the mapped rows: they stay in the system's file cache, but not in this process."""
        start = self._place // mmap.PAGESIZE * mmap.PAGESIZE
        if hasattr(self._map, "madvise"):
            self._map.madvise(mmap.MADV_DONTNEED, start, len(self._map) - start)

    def __del__(self) -> None:
        with suppress(AttributeError, OSError):  # never opened
            os.close(self._file)

    def erase(self, at: NDArray[np.int64]) -> None:
        """Overwrite these rows, of removed items, with zeros and the checksums of zeros."""
        layout, _ = _layout(self.info)
        zero = np.zeros((1, self.info.dim), np.float32)
        coded = at if self.codes is None else self.codes.where(at)
        with self.path.open("r+b") as file:
            if _identity(os.fstat(file.fileno())) != self.identity:
                return  # another file has replaced this one

            def put(name: str, row: int, value: NDArray[Any]) -> None:
                os.pwrite(file.fileno(), value.tobytes(), layout[name][0] + row * value.nbytes)

            for row, spot in zip(at.tolist(), coded.tolist(), strict=True):
                if not self._rows[row].any():
                    continue
                none = np.zeros(1, np.float32)
                more = [] if self.offsets is None else [none]
                put("rows", row, np.zeros((1, self.info.dim), self._rows.dtype))
                if self._scales is not None:
                    put("scales", row, none)
                if self.offsets is not None:
                    put("offsets", row, none)
                put("sums", row, sums(zero, *more, self.keys[row : row + 1]))
                if self.codes is not None:
                    code = np.zeros((1, self.info.code_bytes), np.uint8)
                    put("codes", spot, code)
                    put("code_sums", spot, sums(code))
                for way, short in self.info.projected.items():
                    nothing = np.zeros((1, short), np.float32)
                    put(f"projected {way}", row, nothing)
                    put(f"projected_sums {way}", row, sums(nothing))
            os.fsync(file.fileno())


READ_ROWS = 4096
"""Up to this number of rows are read instead of mapped: access to one mapped row may map two megabytes around it."""


def _identity(stat: os.stat_result) -> tuple[int, int, int]:
    return (stat.st_dev, stat.st_ino, stat.st_size)


def identity(path: Path) -> tuple[int, int, int] | None:
    """Return an identity that differs from that of a later file of this name; None if there is no file."""
    with suppress(OSError):
        return _identity(path.stat())
    return None


def _summed_whole(name: str) -> bool:
    """Return whether a section has a single checksum in the description, instead of one for each row."""
    return name in ("keys", "places", "starts", "centroids") or name.startswith("projection ")


def _crc(values: NDArray[Any], before: int = 0) -> int:
    return zlib.crc32(np.ascontiguousarray(values).data.cast("B"), before) if values.size else before


def _read_head(head: bytes) -> tuple[Info, NDArray[np.float32], dict[str, int]]:
    try:
        magic, length, crc = struct.unpack_from("<8sII", head)
        text = head[16 : 16 + length]
        if magic != MAGIC or len(text) != length or zlib.crc32(text) != crc:
            raise Damaged(_("the checksum of its description is wrong"))
        values = json.loads(text)
        whole_sums = values.pop("whole_sums")
        centre = np.frombuffer(base64.b64decode(values.pop("centre")), dtype="<f4")
        return Info(**values), centre, dict(whole_sums)
    except (struct.error, ValueError, TypeError, KeyError) as problem:
        raise Damaged(_("its description cannot be read")) from problem


def write(
    path: Path,
    info: Info,
    blocks: Iterator[Block],
    centre: NDArray[np.float32] | None,
    measure: Callable[[IndexFile], Measured],
    stop: Callable[[], bool],
    centroids: NDArray[np.float32] | None = None,
) -> bool:
    """Write ``blocks`` (``info.rows`` rows, ascending keys) to a new file, measure it, and rename it.

    With a ``centre`` (dim,) each row gets a binary code; with ``centroids`` (cells, dim) the codes are ordered by cell.
    ``measure`` is called with the file before the rename. If it returns projections, projected vectors are added and
    ``measure`` is called again. Returns False if ``stop`` ended the work.
    """
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    info = replace(
        info,
        code_bytes=0 if centre is None else code_bytes(info.dim),
        cells=0 if centre is None or centroids is None else len(centroids),
    )
    cells = Cells(centroids, np.zeros(info.cells + 1, np.int64)) if centroids is not None and info.cells else None
    layout, size = _layout(info)
    try:
        with unfinished.open("w+b") as file:
            file.truncate(size)
            # Codes with cells are first stored behind the end of the file: their order by cell is known later.
            layout["waiting"] = (size, np.dtype("u1"), (info.rows, info.code_bytes))
            owners = np.empty(info.rows if cells else 0, np.uint16)

            def put(name: str, row: int, values: NDArray[Any]) -> None:
                at, kind, shape = layout[name]
                width = kind.itemsize * int(np.prod(shape[1:]))
                data = np.ascontiguousarray(values, dtype=kind).data.cast("B")
                done = 0
                while done < len(data):
                    done += os.pwrite(file.fileno(), data[done:], at + row * width + done)

            whole_sums: dict[str, int] = {}

            def put_whole(name: str, row: int, values: NDArray[Any]) -> None:
                put(name, row, values)
                whole_sums[name] = _crc(np.asarray(values, layout[name][1]), whole_sums.get(name, 0))

            row, several, last, run = 0, 1, -1, 0
            for keys, rows, offsets in blocks:
                if stop():
                    return False
                kept, scales = packed(rows, info.kind)
                rows = unpacked(kept, scales)
                put_whole("keys", row, keys)
                put("rows", row, kept)
                if scales is not None:
                    put("scales", row, scales)
                if offsets is not None:
                    put("offsets", row, offsets)
                put("sums", row, sums(rows, *([] if offsets is None else [offsets]), keys))
                if centre is not None:
                    codes = encode(rows, centre)
                    if cells is None:
                        put("codes", row, codes)
                        put("code_sums", row, sums(codes))
                    else:
                        put("waiting", row, codes)
                        owners[row : row + len(keys)] = cells.of(rows)
                for key, count in zip(*np.unique(keys, return_counts=True), strict=True):
                    run = run + int(count) if key == last else int(count)
                    several, last = max(several, run), int(key)
                row += len(keys)
            if row != info.rows:
                raise Damaged(_("there are {row} rows where {rows} were counted").format(row=row, rows=info.rows))

            if cells is not None:
                places = np.argsort(owners, kind="stable").astype(np.int32)
                cells = Cells(cells.centroids, np.searchsorted(owners[places], np.arange(info.cells + 1)))
                waiting = np.memmap(unfinished, np.uint8, "r", size, (info.rows, info.code_bytes))
                for i in range(0, info.rows, BLOCK):
                    if stop():
                        return False
                    codes = waiting[places[i : i + BLOCK]]
                    put("codes", i, codes)
                    put("code_sums", i, sums(codes))
                del waiting
                put_whole("places", 0, places)
                put_whole("starts", 0, cells.starts)
                put_whole("centroids", 0, cells.centroids)
                file.truncate(size)

            def describe(info: Info) -> None:
                where = b"" if centre is None else centre.astype("<f4").tobytes()
                header = {"centre": base64.b64encode(where).decode(), "whole_sums": whole_sums}
                values = {**asdict(info), **header}
                text = json.dumps(values).encode()
                if len(text) > HEAD - 16:
                    raise Damaged(_("its description is too long"))
                head = struct.pack("<8sII", MAGIC, len(text), zlib.crc32(text)) + text
                os.pwrite(file.fileno(), head.ljust(HEAD, b"\0"), 0)

            info = replace(info, several=several)
            describe(info)
            written = IndexFile(unfinished)
            measured = measure(written)
            if measured.projections and not stop():
                info = replace(info, projected={way: maps[0].shape[1] for way, maps in measured.projections.items()})
                layout, size = _layout(info)
                file.truncate(size)
                for way, (of_queries, of_rows) in measured.projections.items():
                    put_whole(f"projection {way}", 0, of_queries.T)
                    for i in range(0, len(written), BLOCK):
                        projected = written.part(i) @ of_rows
                        put(f"projected {way}", i, projected)
                        put(f"projected_sums {way}", i, sums(projected))
                    written.release()
                describe(info)
                measured = measure(IndexFile(unfinished))
                if not any(measured.oversampling.get(way) for way in info.projected):  # they did not help
                    info = replace(info, projected={})
                    file.truncate(_layout(info)[1])
            info = replace(
                info,
                oversampling=measured.oversampling,
                recall=measured.recall,
                probe_radius=measured.probe_radius,
                rescore_fraction=measured.rescore_fraction,
            )
            describe(info)
            os.fsync(file.fileno())
        if stop():
            return False
        unfinished.replace(path)
        sync(path.parent)
        return True
    finally:
        unfinished.unlink(missing_ok=True)


def sync(folder: Path) -> None:
    """Flush a folder to disk, so that the names of its files survive a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
