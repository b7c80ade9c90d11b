"""Rich text (RTF): its words, and the PNG and JPEG pictures in it."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator

from commonplace.errors import ReadError
from commonplace.readers.blocks import Block, Shown, Table, Words, lay_out
from commonplace.readers.metadata import names_in
from commonplace.readers.parts import File, Part

__all__ = ["read_rtf"]

_PICTURE = re.compile(rb"\\(?:pngblip|jpegblip)(?:\\[a-z]+-?\d*|\{[^{}]*\}|\s)*([0-9a-fA-F\s]{200,})")
_STATED = re.compile(rb"\{\\(title|author|subject|keywords) ([^{}\\]{1,300})\}")
_TIME = re.compile(rb"\{\\(creatim|revtim)\\yr(\d{4})\\mo(\d\d?)\\dy(\d\d?)(?:\\hr(\d\d?)\\min(\d\d?))?")
_KEYS = {
    b"author": "author",
    b"subject": "subject",
    b"keywords": "keyword",
    b"creatim": "created",
    b"revtim": "modified",
}


def read_rtf(file: File) -> Iterator[Part]:
    """Yield the words, tables by their rows, then the pictures (RTF says of them only that they are there)."""
    from striprtf.striprtf import rtf_to_text

    for found in _STATED.finditer(file.data):
        words = " ".join(found[2].decode("cp1252", "replace").split())
        if found[1] == b"title":
            file.title = file.title or words
        else:
            file.state(_KEYS[found[1]], *names_in(words, ",;" if found[1] == b"keywords" else ";"))
    for found in _TIME.finditer(file.data):
        year, month, day, hour, minute = (int(part or 0) for part in found.groups()[1:])
        file.state(_KEYS[found[1]], f"{year}-{month:02}-{day:02}T{hour:02}:{minute:02}")
    try:
        text = rtf_to_text(file.data.decode("cp1252", "replace"), encoding="cp1252", errors="replace")  # type: ignore[no-untyped-call]
    except (ValueError, LookupError, TypeError, IndexError, KeyError, OverflowError):
        raise ReadError("a damaged RTF file; save it anew and add it again") from None
    yield from lay_out(file, _blocks(file, text))


def _blocks(file: File, text: str) -> Iterator[Block]:
    rows: list[list[str]] = []
    for line in [*text.replace("\0", "\ufffd").split("\n"), ""]:
        if line.count("|") >= 2 and line.endswith("|"):  # a row, as striprtf writes it
            rows.append(line[:-1].split("|"))
            continue
        if rows:
            yield Table(rows)
            rows = []
        yield Words(line.strip())
    for found in _PICTURE.finditer(file.data):
        digits = b"".join(found[1].split())
        yield Shown(binascii.unhexlify(digits[: len(digits) // 2 * 2]))
