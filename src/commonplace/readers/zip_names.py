"""Names of files in a ZIP that does not say how they are written.

The format knows UTF-8 and the character set of the first IBM PC (cp437). Programs of other countries write their own
character set and mark nothing.
"""

from __future__ import annotations

import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Sequence

__all__ = ["member_names"]

_IS_UTF8 = 0x800
_UNICODE_PATH = 0x7075  # the extra field of Info-ZIP

_Ranges = tuple[tuple[int, int], ...]
# Of each character set of two bytes: the first bytes of its frequent characters, and the second bytes that follow them.
_DOUBLE: tuple[tuple[str, _Ranges, _Ranges], ...] = (
    ("gb18030", ((0xA3, 0xA3), (0xB0, 0xD7)), ((0xA1, 0xFE),)),
    ("big5hkscs", ((0xA1, 0xA1), (0xA4, 0xC6)), ((0x40, 0x7E), (0xA1, 0xFE))),
    ("cp932", ((0x81, 0x83), (0x88, 0x97)), ((0x40, 0x7E), (0x80, 0xFC))),
    ("cp949", ((0xB0, 0xC8),), ((0xA1, 0xFE),)),
)
# Of each character set of one byte: its letters.
_SINGLE: tuple[tuple[str, frozenset[int]], ...] = (
    ("cp437", frozenset([*range(0x80, 0x9B), *range(0xA0, 0xA6), 0xE1])),
    ("cp1252", frozenset([*range(0xC0, 0x100), 0x8A, 0x8C, 0x8E, 0x9A, 0x9C, 0x9E, 0x9F]) - {0xD7, 0xF7}),
)
_HANGUL = frozenset(
    "가각간감강개거건검견결경계고공과관교구국규그금급기김나날내년네노능다단달당대도독동드등라력로록료류르리마만매면명모목무문물미민"
    "박반발방배번법변보복본부분비사산상새생서석선설성세소송수순스시식신실심아안앙약양어업여연열영예오와외요용우운원월위유육은을음"
    "의이익인일임입자작장재적전절점정제조종주준중지직진질차참창책처천철첨청체초총최추출층치카코크타터통투트파판팀편평포표품프하학한함"
    "합해행향현형호홍화확환활황회획효후"
)
"""The syllables of most Korean words. Bytes of Chinese, read as Korean, are rarely among them."""
_CYRILLIC = frozenset([*range(0x80, 0xB0), *range(0xE0, 0xF0), 0xF0, 0xF1])


def member_names(members: Iterable[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """Return the members that are files by their names, decoded and composed (NFC).

    All names without a mark are taken to be in one character set: the first in which all of them can be read, and in
    which most of their characters are frequent.
    """
    files = [member for member in members if member.filename and not member.is_dir()]
    unmarked = [_raw_name(member) for member in files]
    encoding = _encoding([name for name in unmarked if name is not None])
    names: dict[str, zipfile.ZipInfo] = {}
    for member, raw in zip(files, unmarked, strict=True):
        name = _extra_name(member) or (member.filename if raw is None else raw.decode(encoding, "replace"))
        name = unicodedata.normalize("NFC", name)
        names.setdefault(name if name not in names else member.filename, member)
    return names


def _raw_name(member: zipfile.ZipInfo) -> bytes | None:
    """Return the bytes of a name that is not marked; None where it is marked or plain ASCII."""
    if member.flag_bits & _IS_UTF8 or member.filename.isascii():
        return None
    try:
        return member.filename.encode("cp437")
    except UnicodeError:
        return None


def _extra_name(member: zipfile.ZipInfo) -> str | None:
    """Return the name in an extra field, where it belongs to the name that the member has now."""
    extra, place = member.extra, 0
    while place + 4 <= len(extra):
        kind, size = (int.from_bytes(extra[place + n : place + n + 2], "little") for n in (0, 2))
        content = extra[place + 4 : place + 4 + size]
        place += 4 + size
        raw = _raw_name(member)
        if kind == _UNICODE_PATH and raw is not None and int.from_bytes(content[1:5], "little") == zlib.crc32(raw):
            return content[5:].decode("utf-8", "replace")
    return None


def _encoding(names: Sequence[bytes]) -> str:
    """Return the character set of names: UTF-8 where they are valid, else that whose frequent characters they have."""
    text = b"\n".join(names)
    if _can_decode(text, "utf-8"):
        return "utf-8"
    if all(_is_western(name) for name in names):
        scores = [(sum(byte in letters for byte in text if byte > 0x7F), name) for name, letters in _SINGLE]
        return max(scores, key=lambda score: score[0])[1]
    shares = [
        (_frequent_share(text, leads, trails), name) for name, leads, trails in _DOUBLE if _can_decode(text, name)
    ]
    high = {byte for byte in text if byte > 0x7F}
    if high <= _CYRILLIC:
        shares.append((0.95, "cp866"))
    if _can_decode(text, "cp949"):
        characters = [character for character in text.decode("cp949") if character > "\x7f"]
        shares.append((2 * sum(character in _HANGUL for character in characters) / len(characters), "cp949"))
    share, name = max(shares, key=lambda share: share[0], default=(0.0, "cp437"))
    return name if share >= 0.5 else "cp437"


def _can_decode(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _is_western(name: bytes) -> bool:
    """Return whether each byte outside ASCII is alone in a word of ASCII letters, as accents are."""
    runs, length = [], 0
    for byte in name + b" ":
        if byte > 0x7F:
            length += 1
        elif length:
            runs.append(length)
            length = 0
    letters = sum(byte < 0x80 and chr(byte).isalpha() for byte in name.rpartition(b".")[0] or name)
    return max(runs, default=0) <= 2 and letters >= sum(runs)


def _frequent_share(text: bytes, leads: _Ranges, trails: _Ranges) -> float:
    """Return the share of the characters outside ASCII that are frequent in a character set of two bytes."""
    count = frequent = place = 0
    while place < len(text):
        lead = text[place]
        place += 1
        if lead < 0x80:
            continue
        count += 1
        if place < len(text) and text[place] >= 0x40:
            trail = text[place]
            place += 1
            frequent += any(a <= lead <= b for a, b in leads) and any(a <= trail <= b for a, b in trails)
    return frequent / max(1, count)
