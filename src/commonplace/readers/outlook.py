"""Mail that Outlook saved (MSG): the message, its attachments, and the messages attached to it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

from commonplace.errors import ReadError
from commonplace.i18n import _
from commonplace.readers.mail import Mail, Reader, mail_parts, richer_texts
from commonplace.readers.mail_headers import decoded_bytes, decoded_header
from commonplace.readers.parts import File, Part

__all__ = ["read_msg"]

_MAX_PARTS = 500  # attachments of one message
_EMBEDDED_HEADER = 24  # bytes before the properties of a message inside another; 32 in the outer one
_BCC = 3
# Property ids (MS-OXPROPS): of a message, a recipient and an attachment.
_HTML, _RTF, _RECIPIENT_TYPE, _ATTACHED_OBJECT, _SHORT_NAME, _DISPLAY_NAME = (
    0x1013, 0x1009, 0x0C15, "__substg1.0_3701000D", 0x3704, 0x3001,
)  # fmt: skip
_MAX_RICH_TEXT = 64 * 1024 * 1024  # bytes
_RTF_DICTIONARY = (  # what every stream begins with (MS-OXRTFCP 2.1.2.1)
    rb"{\rtf1\ansi\mac\deff0\deftab720{\fonttbl;}{\f0\fnil \froman \fswiss \fmodern \fscript \fdecor MS Sans Serif"
    rb"SymbolArialTimes New RomanCourier{\colortbl\red0\green0\blue0" + b"\r\n"
    rb"\par \pard\plain\f0\fs20\b\i\u\tab\tx"
)


def read_msg(file: File) -> Iterator[Part]:
    """Yield the parts of an Outlook mail, then those of its attachments."""
    from oxmsg import Message

    try:
        message: Any = Message.load(file.data)
        mail = _parsed(message)
    except MemoryError:
        raise
    except Exception:  # oxmsg raises any kind of error on damaged files
        raise ReadError(_("a damaged or protected Outlook file; save a new copy and add it again")) from None
    if not (mail.header_lines or mail.subject or mail.texts):
        raise ReadError(_("protected or not a mail, so it cannot be read; save a copy as .eml and add it again"))
    yield from mail_parts(file, mail)


def _parsed(message: Any) -> Mail:
    sender = decoded_header(_or_none(lambda: message.sender) or "").replace('"', "")
    recipients = list(filter(None, map(_recipient, message.recipients)))
    if not recipients:
        recipients = [decoded_header(message.message_headers.get("To", ""))]
    date = _or_none(lambda: message.sent_date)
    to = list(filter(None, dict.fromkeys(recipients)))
    headers = (("From", sender), ("To", ", ".join(to)), ("Date", date and date.isoformat(" ", "minutes")))
    mail = Mail(message.subject, [f"{name}: {value}" for name, value in headers if value], sender=sender)
    mail.to, mail.date = to, date
    mail.texts = richer_texts(_or_none(lambda: message.body) or "", _page(message))
    if not mail.texts:
        mail.rich_text = _rich_text(_or_none(lambda: message.properties.binary_prop_value(_RTF)) or b"")
    for number, attachment in enumerate(message.attachments):
        if number < _MAX_PARTS:
            _add_attachment(mail, number + 1, attachment)
    return mail


def _recipient(recipient: Any) -> str:
    """Return the name and address of a recipient; empty for one whom the others do not see."""
    if _or_none(lambda: recipient.properties.int_prop_value(_RECIPIENT_TYPE)) == _BCC:
        return ""
    name, address = decoded_header(_or_none(lambda: recipient.name) or ""), _or_none(lambda: recipient.email_address)
    return f"{name} <{address}>" if name and address and address != name else name or address or ""


def _add_attachment(mail: Mail, number: int, attachment: Any) -> None:
    properties = attachment.properties
    name = attachment.file_name or properties.str_prop_value(_SHORT_NAME) or properties.str_prop_value(_DISPLAY_NAME)
    name = name or f"attachment {number}"
    for storage in attachment._storage.storages:  # there is no public way to a message inside
        if storage.name == _ATTACHED_OBJECT:
            mail.attachments.append((f"{name}.msg" if not name.lower().endswith(".msg") else name, _reader_of(storage)))
            return
    data = _or_none(lambda: attachment.file_bytes)
    if data:
        mail.attachments.append((name, data))
        content_id = properties.str_prop_value(0x3712)
        if content_id:
            mail.inline_pictures[content_id.strip("<>")] = data


def _reader_of(storage: Any) -> Reader:
    def read(inner: File) -> Iterator[Part]:
        from oxmsg import Message
        from oxmsg.properties import Properties

        try:
            message: Any = Message(storage)
            message._properties = Properties(storage, _EMBEDDED_HEADER)
            mail = _parsed(message)
        except MemoryError:
            raise
        except Exception:
            raise ReadError(_("a damaged or protected Outlook file; save a new copy and add it again")) from None
        yield from mail_parts(inner, mail)

    return read


def _page(message: Any) -> str:
    """Return the web page that is the text of a message, decoded by its code page or by what it looks like."""
    data = _or_none(lambda: message.properties.binary_prop_value(_HTML))
    if data:
        return decoded_bytes(data, _or_none(lambda: message.properties.body_encoding))
    return _or_none(lambda: message.html_body) or ""


def _or_none(take: Callable[[], Any]) -> Any:
    """Return what ``take`` returns; None where the property is damaged. The rest of the mail is still read."""
    try:
        return take()
    except MemoryError:
        raise
    except Exception:
        return None


def _rich_text(data: bytes) -> bytes:
    """Return the RTF in a compressed stream (MS-OXRTFCP); empty where it is damaged."""
    if len(data) < 16:
        return b""
    _size, raw_size, kind = struct.unpack("<II4s", data[:12])
    if kind == b"MELA":
        return data[16 : 16 + raw_size]
    if kind != b"LZFu" or raw_size > _MAX_RICH_TEXT:
        return b""
    window = bytearray(_RTF_DICTIONARY.ljust(4096, b"\0"))
    write, read, out = len(_RTF_DICTIONARY), 16, bytearray()
    while read < len(data) and len(out) < raw_size:
        flags = data[read]
        read += 1
        for bit in range(8):
            if read >= len(data) or len(out) >= raw_size:
                break
            if not flags >> bit & 1:
                run = data[read : read + 1]
                read += 1
            else:
                reference = int.from_bytes(data[read : read + 2], "big")
                read += 2
                offset, length = reference >> 4, (reference & 15) + 2
                if offset == write:
                    return bytes(out)
                run = b""
                for step in range(length):  # it may overlap what it writes
                    byte = window[(offset + step) % 4096]
                    window[(write + step) % 4096] = byte
                    run += bytes([byte])
            for byte in run:
                window[write] = byte
                write = (write + 1) % 4096
            out += run
    return bytes(out)
