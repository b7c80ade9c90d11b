"""Plain text in whatever encoding, source code and tables among it."""

from __future__ import annotations

import codecs
from collections.abc import Iterator

from commonplace.errors import ReadError
from commonplace.readers.formats import HEAD, utf16
from commonplace.readers.parts import File, Part, TextBlock

__all__ = ["decode", "read_text"]

_SAMPLE = 64 * 1024  # bytes by which an encoding is guessed: the guess costs about 1 s a MB
_BOMS = (  # the longer first: a UTF-32 mark begins with a UTF-16 one
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_NOT_TEXT = "binary data under the name of a text; rename the file after what it is"


def read_text(file: File) -> Iterator[Part]:
    """Yield the whole text as one passage."""
    text, problem = decode(file.data)
    if problem:
        file.problems.append(problem)
    yield TextBlock(text)


def decode(data: bytes) -> tuple[str, str | None]:
    """Return the text of ``data`` without its byte order mark, and what was lost on the way (None: nothing).

    Line ends stay as they are, so that offsets count in the decoded file; a zero character becomes U+FFFD.

    Raises:
        ReadError: it is not text in any encoding we know.
    """
    text, problem = _decode(data)
    sample = text[:_SAMPLE]
    odd = sum(character < " " and character not in "\t\n\r\f\v\b\x1b" for character in sample)
    if odd > 0.02 * len(sample):
        raise ReadError(_NOT_TEXT)
    return text.replace("\0", "\ufffd"), problem


def _decode(data: bytes) -> tuple[str, str | None]:
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return _lenient(data[len(mark) :], encoding)
    unmarked = utf16(data[:HEAD])
    if unmarked:
        return _lenient(data, unmarked)
    if b"\x1b$" in data[:_SAMPLE]:  # Japanese mail: pure ASCII to every other decoder
        try:
            return data.decode("iso2022_jp_2"), None
        except UnicodeDecodeError:
            pass
    try:
        return data.decode("utf-8"), None
    except UnicodeDecodeError:
        pass
    text = data.decode("utf-8", "replace")
    bad = text.count("\ufffd")
    # A log with a few torn characters is still UTF-8: another encoding would spoil all the whole ones.
    if len(text) - len(text.encode("ascii", "ignore")) > 10 * bad:
        return text, f"{bad} characters are not valid UTF-8 and show as U+FFFD"
    return _lenient(data, "cp1252" if _is_western(data[:_SAMPLE]) else _guess(data))


def _lenient(data: bytes, encoding: str) -> tuple[str, str | None]:
    try:
        return data.decode(encoding), None
    except UnicodeDecodeError:
        text = data.decode(encoding, "replace")
        return text, f"{text.count(chr(0xFFFD))} characters are not valid {encoding} and show as U+FFFD"


def _is_western(data: bytes) -> bool:
    """Return whether ``data`` reads well as Windows-1252, which statistics mistake for its many neighbours.

    Other scripts show as words full of accents, other Latin code pages as signs or capitals inside of words.
    """
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        return False
    foreign = [i for i, character in enumerate(text) if character > "\x7f"]
    letters = sum(map(str.isalpha, text))
    if len(foreign) > 0.3 * max(1, letters):
        return False
    odd = 0
    for i in foreign:
        before, after = text[i - 1 : i], text[i + 1 : i + 2]
        if text[i].isalpha() and text[i] not in "ªº":
            odd += text[i].isupper() and before.islower()
        else:
            odd += text[i] not in "’´·\xad" and before.isalpha() and after.isalpha()
    return odd <= 0.05 * len(foreign)


def _guess(data: bytes) -> str:
    from charset_normalizer import from_bytes

    sample = data[:_SAMPLE]
    if len(data) > _SAMPLE:  # not through the middle of a character
        sample = sample[: sample.rfind(b"\n") + 1] or sample
    best = from_bytes(sample).best()
    if best is None:
        raise ReadError("neither text in a known encoding nor a known format; save it as UTF-8")
    return best.encoding
