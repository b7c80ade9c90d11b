"""Encodings by their labels: a label means what browsers take it to mean, by the WHATWG Encoding Standard.

Files often name a smaller encoding than the one that they are in: "gb2312" stands for GB 18030, "shift_jis" for
Windows-31J, "iso-8859-9" for Windows-1254.
"""

from __future__ import annotations

import codecs
import re

__all__ = ["codec_of", "decode_as"]

# Python's codecs that stand for the encodings of the standard, where its package names narrower ones.
_WIDER = {
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc-kr": "cp949",
    "big5": "big5hkscs",
    "iso-8859-8-i": "iso8859-8",
    "x-mac-cyrillic": "mac-cyrillic",
    "macintosh": "mac-roman",
    "windows-874": "cp874",
}
_NOT_IN_STANDARD = {"replacement", "x-user-defined"}  # labels that browsers refuse: "hz-gb-2312", "iso-2022-kr"
_WINDOWS_1252 = {byte: bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in range(0x80, 0xA0)}
# Codecs that hold characters which others of the same family lack: tried in turn where the first one fails.
_RELATED = {
    "big5hkscs": ("cp950",),
    "euc-jp": ("euc_jis_2004",),
    "iso-2022-jp": ("iso2022_jp_2", "iso2022_jp_ext"),
}
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_JIS_RUN = re.compile(rb"\x1b\$(?:[@B]|\(B)((?:[!-~]{2})*)(?:\x1b\([BJ])?")


def codec_of(label: str) -> str | None:
    """Return the name of the Python codec for an encoding's label, in any spelling; None where there is none.

    A label that the standard does not know, such as "cp437" or "utf-7", means what Python takes it to mean.
    """
    import webencodings

    try:
        encoding = webencodings.lookup(label)
        if encoding is not None and encoding.name not in _NOT_IN_STANDARD:
            return _WIDER.get(str(encoding.name), str(encoding.name))
        codec = codecs.lookup(label.strip().replace("_", "-").lower())
        return _WIDER.get(codec.name, codec.name) if isinstance("a".encode(codec.name), bytes) else None
    except (LookupError, UnicodeError, ValueError, TypeError):  # also what is no text: "rot13", "a\0b"
        return None


def decode_as(data: bytes, label: str) -> tuple[str, int] | None:
    """Decode ``data`` by an encoding's label; return its text, and how many characters were replaced by U+FFFD.

    None where the label names no encoding. A byte order mark goes before the label, and is left out of the text.
    """
    codec = codec_of(label)
    if codec is None:
        return None
    for mark, name in _MARKS:
        if data.startswith(mark):
            data, codec = data[len(mark) :], name
            break
    for name in (codec, *_RELATED.get(codec, ())):
        try:
            return data.decode(name), 0
        except (UnicodeError, ValueError):
            continue
    if codec == "iso-2022-jp":
        text = _iso2022_jp(data)
    elif codec == "windows-1252":
        text = data.decode("latin-1").translate(_WINDOWS_1252)
    else:
        text = data.decode(codec, "replace")
    return text, text.count("\ufffd")


def _iso2022_jp(data: bytes) -> str:
    """Decode Japanese mail with the characters of NEC and IBM, such as circled digits, which Python's codecs lack."""

    def shift(run: re.Match[bytes]) -> bytes:
        pairs = bytearray()
        for row, cell in zip(run[1][::2], run[1][1::2], strict=True):  # from JIS to Shift_JIS
            pairs.append((row + 1) // 2 + (0x70 if row < 0x5F else 0xB0))
            pairs.append(cell + (0x7E if row % 2 == 0 else 0x1F if cell < 0x60 else 0x20))
        return bytes(pairs)

    return _JIS_RUN.sub(shift, data).decode("cp932", "replace")
