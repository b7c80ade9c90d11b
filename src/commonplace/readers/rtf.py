"""Rich text (RTF): its words, and the PNG and JPEG pictures in it."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator

from commonplace.errors import ReadError
from commonplace.readers.flow import Block, Shown, Table, Words, lay_out
from commonplace.readers.parts import File, Part

__all__ = ["read_rtf"]

_PICTURE = re.compile(rb"\\(?:pngblip|jpegblip)(?:\\[a-z]+-?\d*|\{[^{}]*\}|\s)*([0-9a-fA-F\s]{200,})")
_TITLE = re.compile(rb"\{\\title ([^{}\\]{1,300})\}")


def read_rtf(file: File) -> Iterator[Part]:
    """Yield the words, tables by their rows, then the pictures (RTF says of them only that they are there)."""
    from striprtf.striprtf import rtf_to_text

    stated = _TITLE.search(file.data)
    file.title = " ".join(stated[1].decode("cp1252", "replace").split()) if stated else None
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
