"""Mail (RFC 5322, Outlook's MSG) and web pages saved as MHTML: the message, then its attachments."""

from __future__ import annotations

import codecs
import email
import email.policy
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any

from commonplace.errors import ReadError
from commonplace.i18n import _
from commonplace.readers.archive import read_inside
from commonplace.readers.blocks import LayoutBlock, Paragraph, lay_out
from commonplace.readers.formats import HEAD, utf16
from commonplace.readers.html import decode_data_url, decode_html, html_blocks
from commonplace.readers.parts import File, Part
from commonplace.readers.text import decode

__all__ = ["read_mail", "read_msg"]

_HEADERS = ("From", "To", "Cc", "Date")
_MAX_PARTS = 500  # parts of one mail
_MAX_HEADER = 10_000  # characters of one header; the parser takes quadratic time
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_ENCRYPTED = {"application/pgp-encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime"}


class _BoundedHeaderPolicy(email.policy.EmailPolicy):
    """The standard policy, but a header that is too long is cut before it is parsed."""

    def header_fetch_parse(self, name: str, value: Any) -> Any:
        return super().header_fetch_parse(name, value if len(value) <= _MAX_HEADER else value[:_MAX_HEADER])


@dataclass(slots=True)
class _ParsedMail:
    """A parsed mail: its headers, its body as text or HTML or both, its attachments, and its inline pictures."""

    subject: str
    header_lines: list[str]
    plain_text: str | None = None
    html_page: str | None = None
    attachments: list[tuple[str, bytes]] = field(default_factory=list)
    inline_pictures: dict[str, bytes] = field(default_factory=dict)  # Content-ID or Content-Location -> picture
    is_saved_page: bool = False  # a web page that a browser saved, not a mail
    sender: str = ""
    to: list[str] = field(default_factory=list)
    date: object = None


def read_mail(file: File) -> Iterator[Part]:
    """Yield the parts of the message, titled by its subject, then those of its attachments."""
    try:
        # mail is ASCII with encoded parts, but some programs save it as UTF-16
        data = decode(file.data)[0].encode() if utf16(file.data[:HEAD]) or file.data[:2] in _UTF16 else file.data
        message = email.message_from_bytes(data, policy=_BoundedHeaderPolicy())
        mail = _parse_message(file, message)
    except (ValueError, LookupError, TypeError, AttributeError, IndexError, KeyError):
        raise ReadError(_("a damaged mail that cannot be parsed; save a new copy and add it again")) from None
    yield from _parts(file, mail)


def _parse_message(file: File, message: Any) -> _ParsedMail:
    header_lines = [f"{name}: {value}" for name in _HEADERS if (value := _header(message, name))]
    mail = _ParsedMail(
        _header(message, "Subject"), header_lines, sender=_header(message, "From"), date=_header(message, "Date")
    )
    mail.to = [address for name in ("To", "Cc") for address in _addresses(message, name)]
    if _header(message, "Snapshot-Content-Location"):
        mail.is_saved_page, mail.header_lines = True, []
    if not header_lines and not mail.subject:
        raise ReadError(_("not a mail, in spite of its name; rename the file to match its content"))
    for number, mime_part in enumerate(_leaf_parts(message)):
        if number >= _MAX_PARTS:
            file.problems.append(
                _("only the first {max_parts} parts of the mail were read; save the rest as files").format(
                    max_parts=_MAX_PARTS
                )
            )
            break
        kind = mime_part.get_content_type()
        name = _filename(mime_part)
        if kind in _ENCRYPTED:
            file.problems.append(_("encrypted, so it cannot be read; save a decrypted copy and add it again"))
            break
        if kind == "message/rfc822":
            inner = mime_part.get_payload()
            if isinstance(inner, list) and inner:
                mail.attachments.append((name or f"forwarded {number}.eml", bytes(inner[0])))
            continue
        data = mime_part.get_payload(decode=True) or b""
        if name is None and kind == "text/plain" and mail.plain_text is None:
            mail.plain_text = _text(mime_part, data)
        elif name is None and kind == "text/html" and mail.html_page is None:
            mail.html_page = _text(mime_part, data)
        elif data:
            for header in ("Content-ID", "Content-Location"):
                if key := _header(mime_part, header).strip("<> "):
                    mail.inline_pictures[key] = data
            if mime_part.get_content_maintype() != "image" or name:
                mail.attachments.append((name or f"part {number}.{mime_part.get_content_subtype()}", data))
    return mail


def _leaf_parts(message: Any) -> Iterator[Any]:
    """Yield the MIME parts that are not multipart; an attached mail counts as one part."""
    stack = [message]
    while stack:
        mime_part = stack.pop()
        if mime_part.is_multipart() and mime_part.get_content_type() != "message/rfc822":
            stack += reversed(mime_part.get_payload())
        else:
            yield mime_part


def _header(message: Any, name: str) -> str:
    try:
        return " ".join(str(message.get(name) or "").split())
    except Exception:  # the header parser raises many kinds of errors on invalid headers
        return ""


def _addresses(message: Any, name: str) -> list[str]:
    try:
        return [str(address) for address in message.get(name).addresses]
    except Exception:
        return []


def _filename(mime_part: Any) -> str | None:
    try:
        name = mime_part.get_filename()
    except Exception:
        return "attachment"
    return " ".join(str(name).split()) if name else None


def _text(mime_part: EmailMessage, data: bytes) -> str:
    charset = mime_part.get_content_charset()
    try:
        return data.decode(charset or "utf-8").replace("\0", "\ufffd")
    except (LookupError, UnicodeError, ValueError):
        pass
    try:
        return (decode_html(data) if mime_part.get_content_subtype() == "html" else decode(data))[0] if data else ""
    except ReadError:
        return data.decode("utf-8", "replace").replace("\0", "\ufffd")


def read_msg(file: File) -> Iterator[Part]:
    """Yield the parts of an Outlook mail, then those of its attachments."""
    from oxmsg import Message

    try:
        message: Any = Message.load(file.data)
        date = message.sent_date
        mail = _ParsedMail(message.subject, [], message.body, message.html_body)
        recipients = ", ".join(
            filter(None, (recipient.name or recipient.email_address for recipient in message.recipients))
        )
        headers = (("From", message.sender), ("To", recipients), ("Date", date and date.isoformat(" ", "minutes")))
        mail.header_lines = [f"{name}: {value}" for name, value in headers if value]
        mail.sender, mail.to, mail.date = (message.sender or "").replace('"', ""), recipients.split(", "), date
        for number, attachment in enumerate(message.attachments):
            if attachment.file_bytes and number < _MAX_PARTS:
                mail.attachments.append((attachment.file_name or f"attachment {number + 1}", attachment.file_bytes))
    except MemoryError:
        raise
    except Exception:  # oxmsg raises any kind of error on damaged files
        raise ReadError(_("a damaged or protected Outlook file; save a new copy and add it again")) from None
    if not (mail.header_lines or mail.subject or mail.plain_text):
        raise ReadError(_("protected or not a mail, so it cannot be read; save a copy as .eml and add it again"))
    yield from _parts(file, mail)


def _parts(file: File, mail: _ParsedMail) -> Iterator[Part]:
    subject = " ".join(mail.subject.replace("\0", " ").split())
    file.title = subject or None
    file.add_metadata("from", mail.sender)
    file.add_metadata("author", mail.sender)
    file.add_metadata("to", *mail.to)
    file.add_metadata("created", mail.date)
    used_pictures: set[bytes] = set()
    yield from lay_out(file, _blocks(file, mail, used_pictures), title=file.title)
    for name, data in mail.attachments:
        if data in used_pictures:
            continue  # the page shows it already
        if file.quota.is_used_up:
            file.problems.append(_("not all attachments were read: {reason}").format(reason=file.quota.reason))
            return
        file.quota.bytes -= len(data)
        yield from read_inside(file, name, data)


def _blocks(file: File, mail: _ParsedMail, used_pictures: set[bytes]) -> Iterator[LayoutBlock]:
    if mail.header_lines:
        yield Paragraph("\n".join(mail.header_lines))

    def fetch(target: str) -> bytes | None:
        if target[:5].lower() == "data:":
            return decode_data_url(target)
        data = mail.inline_pictures.get(target.removeprefix("cid:"))
        if data is not None:
            used_pictures.add(data)
        return data

    plain_text = (mail.plain_text or "").replace("\r\n", "\n").replace("\0", "\ufffd")
    if plain_text.strip() and not (mail.html_page and mail.inline_pictures):
        yield from (Paragraph(paragraph) for paragraph in plain_text.split("\n\n"))
    elif mail.html_page:
        yield from html_blocks(file, mail.html_page, fetch, full_page=not mail.is_saved_page)
