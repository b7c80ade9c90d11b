"""Plain text in any encoding."""

from __future__ import annotations

import codecs
from collections.abc import Iterator

from commonplace.errors import ReadError
from commonplace.i18n import N_, _
from commonplace.readers.encodings import decode_as
from commonplace.readers.formats import HEAD, utf16
from commonplace.readers.parts import File, Part, TextBlock

__all__ = ["decode", "read_text"]

_SAMPLE = 64 * 1024  # bytes in which signs of an encoding, and of binary data, are looked for
_BOMS = (  # longer marks first: a UTF-32 mark begins with a UTF-16 mark
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_NOT_TEXT = N_("binary data, in spite of its text file name; rename the file to match its content")


def read_text(file: File) -> Iterator[Part]:
    """Yield the text as one text block."""
    text, problem = decode(file.data)
    if problem:
        file.problems.append(problem)
    yield TextBlock(text, line=1)


def decode(data: bytes) -> tuple[str, str | None]:
    """Decode ``data``; return its text without the byte order mark, and a problem to report or None.

    Line ends are kept, so that offsets count in the decoded file. A zero character becomes U+FFFD.

    Raises:
        ReadError: the data is not text in a known encoding.
    """
    text, problem = _decode(data)
    sample = text[:_SAMPLE]
    odd = sum(character < " " and character not in "\t\n\r\f\v\b\x1b" for character in sample)
    if odd > 0.02 * len(sample):
        raise ReadError(_(_NOT_TEXT))
    return text.replace("\0", "\ufffd"), problem


def _decode(data: bytes) -> tuple[str, str | None]:
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            return _decode_leniently(data[len(bom) :], encoding)
    utf16_encoding = utf16(data[:HEAD])
    if utf16_encoding:
        return _decode_leniently(data, utf16_encoding)
    if b"\x1b$" in data[:_SAMPLE]:  # Japanese mail, which other decoders take for ASCII
        try:
            return data.decode("iso2022_jp_2"), None
        except UnicodeDecodeError:
            pass
    try:
        return data.decode("utf-8"), None
    except UnicodeDecodeError:
        pass
    text = data.decode("utf-8", "replace")
    invalid = text.count("\ufffd")
    # A log with a few broken characters is still UTF-8: another encoding would spoil all the valid ones.
    if len(text) - len(text.encode("ascii", "ignore")) > 10 * invalid:
        return text, _("{invalid} characters are not valid UTF-8 and were replaced by U+FFFD; save it as UTF-8").format(
            invalid=invalid
        )
    from commonplace.readers.detection import detect

    encoding, other = detect(data)
    text, problem = _decode_leniently(data, encoding)
    if other is not None and problem is None:
        problem = _(
            "its encoding is not certain: it was read as {encoding}, but may be {other}; say which with --encoding"
        ).format(encoding=encoding, other=other)
    return text, problem


def _decode_leniently(data: bytes, encoding: str) -> tuple[str, str | None]:
    try:
        return data.decode(encoding), None
    except UnicodeDecodeError:
        text, bad = decode_as(data, encoding) or ("", 0)
        if not bad:
            return text, None
        return text, _(
            "{bad} characters are not valid {encoding} and were replaced by U+FFFD; save it as UTF-8"
        ).format(bad=bad, encoding=encoding)
