"""Rich text (RTF): its text, and the PNG and JPEG pictures in it."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator

from commonplace.errors import ReadError
from commonplace.i18n import _
from commonplace.readers.blocks import EncodedPicture, LayoutBlock, Paragraph, Table, lay_out
from commonplace.readers.metadata import split_names
from commonplace.readers.parts import File, Part

__all__ = ["read_rtf"]

_PICTURE = re.compile(rb"\\(?:pngblip|jpegblip)(?:\\[a-z]+-?\d*|\{[^{}]*\}|\s)*([0-9a-fA-F\s]{200,})")
_INFO = re.compile(rb"\{\\(title|author|subject|keywords) ([^{}\\]{1,300})\}")
_INFO_TIME = re.compile(rb"\{\\(creatim|revtim)\\yr(\d{4})\\mo(\d\d?)\\dy(\d\d?)(?:\\hr(\d\d?)\\min(\d\d?))?")
_KEYS = {
    b"author": "author",
    b"subject": "subject",
    b"keywords": "keyword",
    b"creatim": "created",
    b"revtim": "modified",
}


def read_rtf(file: File) -> Iterator[Part]:
    """Yield the text and tables, then the pictures; their positions in the text are not available."""
    from striprtf.striprtf import rtf_to_text

    for match in _INFO.finditer(file.data):
        value = " ".join(match[2].decode("cp1252", "replace").split())
        if match[1] == b"title":
            file.title = file.title or value
        else:
            file.add_metadata(_KEYS[match[1]], *split_names(value, ",;" if match[1] == b"keywords" else ";"))
    for match in _INFO_TIME.finditer(file.data):
        year, month, day, hour, minute = (int(part or 0) for part in match.groups()[1:])
        file.add_metadata(_KEYS[match[1]], f"{year}-{month:02}-{day:02}T{hour:02}:{minute:02}")
    try:
        text = rtf_to_text(file.data.decode("cp1252", "replace"), encoding="cp1252", errors="replace")  # type: ignore[no-untyped-call]
    except (ValueError, LookupError, TypeError, IndexError, KeyError, OverflowError):
        raise ReadError(_("a damaged RTF file; save a new copy and add it again")) from None
    yield from lay_out(file, _blocks(file, text))


def _blocks(file: File, text: str) -> Iterator[LayoutBlock]:
    rows: list[list[str]] = []
    for line in [*text.replace("\0", "\ufffd").split("\n"), ""]:
        if line.count("|") >= 2 and line.endswith("|"):  # a table row, as striprtf writes it
            rows.append(line[:-1].split("|"))
            continue
        if rows:
            yield Table(rows)
            rows = []
        yield Paragraph(line.strip())
    for match in _PICTURE.finditer(file.data):
        digits = b"".join(match[1].split())
        yield EncodedPicture(binascii.unhexlify(digits[: len(digits) // 2 * 2]))
