"""Headers of mail: repaired where they are damaged, and decoded whatever their character set.

The standard library's header parser takes quadratic time, and loses a header whose bytes do not fit its label. So the
message is parsed without it, and this module decodes the raw values.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import quopri
import re
from email.message import Message
from typing import Any

from commonplace.errors import ReadError
from commonplace.readers.encodings import codec_of, decode_as
from commonplace.readers.text import decode

__all__ = ["addresses", "decoded_bytes", "decoded_header", "file_name", "header", "is_mail", "repaired"]

_MAX_HEADER = 20_000  # characters of one header
_MAX_HEAD = 256 * 1024  # bytes of all headers
_HEAD_END = re.compile(rb"\r?\n\r?\n|\r\r")
_HEADER_LINE = re.compile(rb"([!-9;-~]+)([ \t]*):")
_KNOWN = re.compile(
    rb"(from|to|cc|bcc|subject|date|sender|reply-to|message-id|mime-version|received|return-path|in-reply-to"
    rb"|references|content-[a-z-]+|x-[a-z0-9-]+|delivered-to|dkim-signature|snapshot-content-location)[ \t]*:",
    re.IGNORECASE,
)
_ENCODED_WORD = re.compile(r"=\?([^?\s]+?)(?:\*[^?\s]*)?\?([bq])\?([^?]*)\?=", re.IGNORECASE)
_BETWEEN_WORDS = re.compile(r"(?<=\?=)\s+(?==\?[^?\s]+\?[bq]\?)", re.IGNORECASE)
_ENTRY = re.compile(r'(?:"(?:\\.|[^"\\])*"|<[^<>]*>|\((?:\\.|[^()\\])*\)|[^,;"<(]|["<(])+')
_DEFAULT = {"windows-1252", "cp1252", "ascii", "us-ascii", "utf-8"}
_QUOTED = re.compile(r'"((?:\\.|[^"\\])*)"')


def is_mail(head: bytes) -> bool:
    """Return whether a file begins with a header that mails have."""
    end = _HEAD_END.search(head)
    lines = head[: end.start() if end else len(head)].splitlines()
    return any(_KNOWN.match(line) for line in lines)


def repaired(data: bytes) -> bytes:
    """Return a message whose headers the parser will not give up on.

    A line that is no header continues the header before it, where other headers follow. The parser takes such a line as
    the begin of the text, and the headers below it are lost.
    """
    data = data.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    end = _HEAD_END.search(data, 0, _MAX_HEAD)
    lines = data[: end.start() if end else 0].splitlines(keepends=True)
    recognised = [number for number, line in enumerate(lines) if _KNOWN.match(line)]
    if not recognised:
        return data
    head = []
    for number, line in enumerate(lines):
        match = _HEADER_LINE.match(line)
        if match:
            line = match[1] + line[match.end(2) :]  # no space before the colon
        elif line[:1] not in b" \t" and not (number == 0 and line.startswith(b"From ")):
            if number > recognised[-1]:
                head.append(b"\n")  # the empty line before the text is missing
                return b"".join(head + lines[number:]) + data[sum(map(len, lines)) :]
            line = (b" " if head else b"X-Unknown: ") + line
        head.append(line)
    return b"".join(head) + data[sum(map(len, lines)) :]


def header(message: Any, name: str) -> str:
    """Return the first header called ``name``, decoded and on one line; empty where there is none."""
    return " ".join(decoded_header(_raw(message, name)).split())


def addresses(message: Any, name: str) -> list[str]:
    """Return the addresses in a header, with their names."""
    entries = [" ".join(decoded_header(entry.strip()).split()) for entry in _ENTRY.findall(_raw(message, name))]
    return [_QUOTED.sub(lambda match: re.sub(r"\\(.)", r"\1", match[1]), entry) for entry in entries if entry]


def file_name(part: Message) -> str | None:
    """Return the name of an attachment; None where it has none."""
    try:
        value: Any = part.get_param("filename", None, "content-disposition") or part.get_param("name")
        if isinstance(value, tuple):  # RFC 2231: character set, language, and one character for each byte
            raw = value[2].encode("latin-1", "replace")
            name = decoded_bytes(raw, value[0])
        else:
            name = decoded_header(str(value or ""))
    except (ValueError, LookupError, TypeError, AttributeError):
        return "attachment"
    return " ".join(name.split()) or None


def decoded_bytes(data: bytes, label: str | None) -> str:
    """Decode bytes by the label of their character set, or by what they look like where the label is wrong."""
    codec = codec_of(label) if label else None
    if codec in _DEFAULT:  # what programs also write that know no other; UTF-8 is hardly ever valid by chance
        with contextlib.suppress(UnicodeError):
            return data.decode("utf-8").replace("\0", "\ufffd")
    labelled = decode_as(data, label) if label else None
    if labelled is not None and 10 * labelled[1] <= sum(byte > 0x7F for byte in data):  # a few damaged characters
        return labelled[0].replace("\0", "\ufffd")
    try:
        return decode(data)[0]
    except ReadError:
        return data.decode("utf-8", "replace").replace("\0", "\ufffd")


def _raw(message: Any, name: str) -> str:
    """Return a header as the message has it, with undecoded bytes as lone surrogates."""
    for key, value in message.raw_items():
        if key.lower() == name.lower():
            return str(value)[:_MAX_HEADER].replace("\r", "").replace("\n", "")
    return ""


def decoded_header(value: str) -> str:
    """Return a header with its encoded words (RFC 2047) and its raw bytes decoded.

    Words of one character set are joined before they are decoded: programs cut them inside characters.
    """
    if any("\ud800" <= character <= "\udfff" for character in value):
        value = decoded_bytes(value.encode("utf-8", "surrogateescape"), None)
    value = _BETWEEN_WORDS.sub("", value)
    text, end = "", 0
    pending, pending_label = b"", ""
    for match in _ENCODED_WORD.finditer(value):
        label, kind, payload = match[1].lower(), match[2].lower(), match[3]
        if pending and (match.start() > end or label != pending_label):
            text += decoded_bytes(pending, pending_label)
            pending = b""
        text += value[end : match.start()]
        pending, pending_label, end = pending + _payload(kind, payload), label, match.end()
    return text + (decoded_bytes(pending, pending_label) if pending else "") + value[end:]


def _payload(kind: str, payload: str) -> bytes:
    data = payload.encode("utf-8", "replace")
    if kind == "q":
        return quopri.decodestring(data.replace(b"_", b" "))
    try:
        return base64.b64decode(data + b"=" * (-len(data.rstrip(b"=")) % 4))
    except (binascii.Error, ValueError):
        return data
