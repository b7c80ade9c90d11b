"""Mail (RFC 5322, Outlook's MSG) and pages saved as one file (MHTML): the letter, then what is attached to it."""

from __future__ import annotations

import codecs
import email
import email.policy
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any

from commonplace.errors import ReadError
from commonplace.readers.archive import read_inside
from commonplace.readers.blocks import Block, Words, lay_out
from commonplace.readers.formats import HEAD, utf16
from commonplace.readers.html import decode_html, embedded, html_blocks
from commonplace.readers.parts import File, Part
from commonplace.readers.text import decode

__all__ = ["read_mail", "read_msg"]

_HEADERS = ("From", "To", "Cc", "Date")
_PARTS = 500  # of one mail
_HEADER = 10_000  # characters of one header: the parser's time grows with the square of them
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_ENCRYPTED = {"application/pgp-encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime"}


class _Policy(email.policy.EmailPolicy):
    """The standard one, which reads the beginning of a header that is too long."""

    def header_fetch_parse(self, name: str, value: Any) -> Any:
        return super().header_fetch_parse(name, value if len(value) <= _HEADER else value[:_HEADER])


@dataclass(slots=True)
class _Letter:
    """A mail taken apart: who and when, its words in one form or both, its files, and those its page shows."""

    subject: str
    head: list[str]
    plain: str | None = None
    page: str | None = None
    files: list[tuple[str, bytes]] = field(default_factory=list)
    shown: dict[str, bytes] = field(default_factory=dict)  # Content-ID or Content-Location -> picture
    saved: bool = False  # a page that a browser saved, no mail
    sender: str = ""
    to: list[str] = field(default_factory=list)
    date: object = None


def read_mail(file: File) -> Iterator[Part]:
    """Yield the letter's parts under its subject, then those of its attachments."""
    try:
        # mail is bytes; a program that saved it as UTF-16 is forgiven
        data = decode(file.data)[0].encode() if utf16(file.data[:HEAD]) or file.data[:2] in _UTF16 else file.data
        message = email.message_from_bytes(data, policy=_Policy())
        letter = _opened(file, message)
    except (ValueError, LookupError, TypeError, AttributeError, IndexError, KeyError):
        raise ReadError("a damaged mail that cannot be taken apart; save it anew and add it again") from None
    yield from _parts(file, letter)


def _opened(file: File, message: Any) -> _Letter:
    head = [f"{name}: {value}" for name in _HEADERS if (value := _header(message, name))]
    letter = _Letter(_header(message, "Subject"), head, sender=_header(message, "From"), date=_header(message, "Date"))
    letter.to = [one for name in ("To", "Cc") for one in _addresses(message, name)]
    if _header(message, "Snapshot-Content-Location"):
        letter.saved, letter.head = True, []
    if not head and not letter.subject:
        raise ReadError("no mail under that name; rename the file after what it is")
    for number, part in enumerate(_leaves(message)):
        if number >= _PARTS:
            file.problems.append(f"only the first {_PARTS} parts of the mail are read")
            break
        kind = part.get_content_type()
        name = _filename(part)
        if kind in _ENCRYPTED:
            file.problems.append("encrypted: what it says cannot be read; save it decrypted and add it again")
            break
        if kind == "message/rfc822":
            inner = part.get_payload()
            if isinstance(inner, list) and inner:
                letter.files.append((name or f"forwarded {number}.eml", bytes(inner[0])))
            continue
        data = part.get_payload(decode=True) or b""
        if name is None and kind == "text/plain" and letter.plain is None:
            letter.plain = _text(part, data)
        elif name is None and kind == "text/html" and letter.page is None:
            letter.page = _text(part, data)
        elif data:
            for header in ("Content-ID", "Content-Location"):
                if key := _header(part, header).strip("<> "):
                    letter.shown[key] = data
            if part.get_content_maintype() != "image" or name:
                letter.files.append((name or f"part {number}.{part.get_content_subtype()}", data))
    return letter


def _leaves(message: Any) -> Iterator[Any]:
    """Yield the parts that hold something; a mail inside of the mail is one of them."""
    stack = [message]
    while stack:
        part = stack.pop()
        if part.is_multipart() and part.get_content_type() != "message/rfc822":
            stack += reversed(part.get_payload())
        else:
            yield part


def _header(message: Any, name: str) -> str:
    try:
        return " ".join(str(message.get(name) or "").split())
    except Exception:  # the parser of headers gives up in many ways on what nobody should have sent
        return ""


def _addresses(message: Any, name: str) -> list[str]:
    try:
        return [str(one) for one in message.get(name).addresses]
    except Exception:
        return []


def _filename(part: Any) -> str | None:
    try:
        name = part.get_filename()
    except Exception:
        return "attachment"
    return " ".join(str(name).split()) if name else None


def _text(part: EmailMessage, data: bytes) -> str:
    name = part.get_content_charset()
    try:
        return data.decode(name or "utf-8").replace("\0", "\ufffd")
    except (LookupError, UnicodeError, ValueError):
        pass
    try:
        return (decode_html(data) if part.get_content_subtype() == "html" else decode(data))[0] if data else ""
    except ReadError:
        return data.decode("utf-8", "replace").replace("\0", "\ufffd")


def read_msg(file: File) -> Iterator[Part]:
    """Yield the parts of an Outlook mail, then those of its attachments."""
    from oxmsg import Message

    try:
        message: Any = Message.load(file.data)
        date = message.sent_date
        letter = _Letter(message.subject, [], message.body, message.html_body)
        to = ", ".join(filter(None, (one.name or one.email_address for one in message.recipients)))
        known = (("From", message.sender), ("To", to), ("Date", date and date.isoformat(" ", "minutes")))
        letter.head = [f"{name}: {value}" for name, value in known if value]
        letter.sender, letter.to, letter.date = (message.sender or "").replace('"', ""), to.split(", "), date
        for number, one in enumerate(message.attachments):
            if one.file_bytes and number < _PARTS:
                letter.files.append((one.file_name or f"attachment {number + 1}", one.file_bytes))
    except MemoryError:
        raise
    except Exception:  # its parser has no errors of its own
        raise ReadError("a damaged or protected Outlook file; save it anew and add it again") from None
    if not (letter.head or letter.subject or letter.plain):
        raise ReadError("protected, or no mail: nothing in it can be read; save it anew as .eml")
    yield from _parts(file, letter)


def _parts(file: File, letter: _Letter) -> Iterator[Part]:
    subject = " ".join(letter.subject.replace("\0", " ").split())
    file.title = subject or None
    file.state("from", letter.sender)
    file.state("author", letter.sender)
    file.state("to", *letter.to)
    file.state("created", letter.date)
    used: set[bytes] = set()
    yield from lay_out(file, _blocks(file, letter, used), title=file.title)
    for name, data in letter.files:
        if data in used:
            continue  # it stands in the page already
        if file.quota.late:
            file.problems.append("not all attachments were reached in time; save them as files and add those")
            return
        file.quota.bytes -= len(data)
        yield from read_inside(file, name, data)


def _blocks(file: File, letter: _Letter, used: set[bytes]) -> Iterator[Block]:
    if letter.head:
        yield Words("\n".join(letter.head))

    def fetch(target: str) -> bytes | None:
        if target[:5].lower() == "data:":
            return embedded(target)
        data = letter.shown.get(target.removeprefix("cid:"))
        if data is not None:
            used.add(data)
        return data

    plain = (letter.plain or "").replace("\r\n", "\n").replace("\0", "\ufffd")
    if plain.strip() and not (letter.page and letter.shown):
        yield from (Words(paragraph) for paragraph in plain.split("\n\n"))
    elif letter.page:
        yield from html_blocks(file, letter.page, fetch, whole=not letter.saved)
