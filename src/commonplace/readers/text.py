"""Plain text in any encoding."""

from __future__ import annotations

import codecs
from collections.abc import Iterator

from commonplace.errors import ReadError
from commonplace.i18n import N_, _
from commonplace.readers.formats import HEAD, utf16
from commonplace.readers.parts import File, Part, TextBlock

__all__ = ["decode", "read_text"]

_SAMPLE = 64 * 1024  # bytes used to guess an encoding; guessing takes about 1 s per MB
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
    return _decode_leniently(data, "cp1252" if _is_western(data[:_SAMPLE]) else _guess_encoding(data))


def _decode_leniently(data: bytes, encoding: str) -> tuple[str, str | None]:
    try:
        return data.decode(encoding), None
    except UnicodeDecodeError:
        text = data.decode(encoding, "replace")
        bad = text.count(chr(0xFFFD))
        return text, _(
            "{bad} characters are not valid {encoding} and were replaced by U+FFFD; save it as UTF-8"
        ).format(bad=bad, encoding=encoding)


def _is_western(data: bytes) -> bool:
    """Return whether ``data`` is plausible as Windows-1252, which statistics confuse with similar code pages.

    Decoded wrongly, other scripts give words full of accents, and other Latin code pages give signs or capitals
    inside words.
    """
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        return False
    non_ascii = [index for index, character in enumerate(text) if character > "\x7f"]
    letters = sum(map(str.isalpha, text))
    if len(non_ascii) > 0.3 * max(1, letters):
        return False
    unlikely = 0
    for index in non_ascii:
        before, after = text[index - 1 : index], text[index + 1 : index + 2]
        if text[index].isalpha() and text[index] not in "ªº":
            unlikely += text[index].isupper() and before.islower()
        else:
            unlikely += text[index] not in "’´·\xad" and before.isalpha() and after.isalpha()
    return unlikely <= 0.05 * len(non_ascii)


def _guess_encoding(data: bytes) -> str:
    from charset_normalizer import from_bytes

    sample = data[:_SAMPLE]
    if len(data) > _SAMPLE:  # do not cut inside a character
        sample = sample[: sample.rfind(b"\n") + 1] or sample
    best = from_bytes(sample).best()
    if best is None:
        raise ReadError(_("neither text in a known encoding nor a supported format; save it as UTF-8"))
    return best.encoding
