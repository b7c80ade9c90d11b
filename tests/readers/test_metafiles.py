"""Windows metafiles in office files: their words and bitmaps are read, and what is not is said."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

from commonplace.readers import ReadOptions, read
from commonplace.readers.metafiles import read_metafile
from commonplace.readers.pictures import load_picture
from tests.readers.make_office import docx, drawing, paragraph

DIB = struct.pack("<IiiHHIIiiII", 40, 32, 30, 1, 24, 0, 0, 0, 0, 0, 0)
BITS = bytes(range(256)) * 12


def record(kind: int, body: bytes) -> bytes:
    body += b"\0" * (-len(body) % 4)
    return struct.pack("<II", kind, 8 + len(body)) + body


def emf(*words: str, bitmap: bool = False) -> bytes:
    records = record(1, b"\0" * 32 + b" EMF" + b"\0" * 56)
    for line in words:
        text = line.encode("utf-16-le")
        records += record(84, b"\0" * 36 + struct.pack("<II", len(line), 76) + b"\0" * 24 + text)
    if bitmap:
        places = struct.pack("<IIII", 80, len(DIB), 80 + len(DIB), len(BITS))
        records += record(81, b"\0" * 40 + places + b"\0" * 16 + DIB + BITS)
    return records + record(14, b"\0" * 12)


def test_words_and_bitmaps_of_metafiles() -> None:
    metafile = read_metafile(gzip.compress(emf("Valve", "open", bitmap=True)))
    assert metafile is not None and metafile.text == "Valve open"
    assert (load_picture(metafile.bitmap).width, load_picture(metafile.bitmap).height) == (32, 30)
    text = b"Old words"
    body = struct.pack("<H", len(text)) + text + b"\0"
    records = struct.pack("<IH", 3 + len(body) // 2, 0x0521) + body
    wmf = read_metafile(struct.pack("<HHHIHIH", 1, 9, 0x300, 50, 0, 9, 0) + records)
    assert wmf is not None and wmf.text == "Old words" and not wmf.bitmap
    assert read_metafile(b"\x89PNG") is None


def test_cut_off_metafiles_keep_what_came_before() -> None:
    whole = emf("Valve", bitmap=True)
    for end in range(48, len(whole), 7):
        assert read_metafile(whole[:end]) is not None


def test_a_drawing_of_which_only_the_words_are_read_makes_the_document_partial(
    tmp_path: Path, options: ReadOptions
) -> None:
    path = tmp_path / "a.docx"
    path.write_bytes(docx(paragraph("Body.", inside=drawing("r1", "A valve")), {"v.emf": emf("Valve open")}))
    parsed = read(path, options)
    assert [item.text for item in parsed.items] == ["Body.\n\n[A valve]\n\nValve open"]
    assert parsed.document.status == "partial" and "v.emf: a drawing (EMF or WMF)" in (parsed.document.error or "")
