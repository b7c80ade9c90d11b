"""Web pages that a browser saved as one file (MHTML, RFC 2557): the page, its frames, and its pictures."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Iterator
from email.header import decode_header
from email.message import Message
from urllib.parse import urljoin

from commonplace.errors import ReadError
from commonplace.i18n import _
from commonplace.readers.blocks import LayoutBlock, lay_out
from commonplace.readers.encodings import decode_as
from commonplace.readers.html import decode_data_url, decode_html, html_blocks
from commonplace.readers.parts import File, Part

__all__ = ["read_mhtml"]

_MAX_PARTS = 5000
_MAX_FRAMES = 50
_MAX_SUBJECT = 2000  # characters


def read_mhtml(file: File) -> Iterator[Part]:
    """Yield the main content of the page, then that of its frames."""
    # This policy leaves headers as they are: to parse long ones takes quadratic time.
    message = email.message_from_bytes(file.data, policy=email.policy.compat32)
    leaves = [part for part in message.walk() if not part.is_multipart()]
    pages = [part for part in leaves[:_MAX_PARTS] if part.get_content_type() in ("text/html", "application/xhtml+xml")]
    if not pages:
        raise ReadError(_("a saved web page without a page inside; save it again in the browser"))
    if len(leaves) > _MAX_PARTS or len(pages) > _MAX_FRAMES:
        file.problems.append(
            _("only the first {parts} parts and {frames} frames of the page were read").format(
                parts=_MAX_PARTS, frames=_MAX_FRAMES
            )
        )
    others: dict[str, Message] = {}
    for part in leaves[:_MAX_PARTS]:
        for name in ("Content-Location", "Content-ID"):
            others.setdefault(_header(part, name).strip("<>"), part)
    file.title = _subject(message) or None
    yield from lay_out(file, _blocks(file, message, pages[:_MAX_FRAMES], others), title=file.title)


def _blocks(file: File, message: Message, pages: list[Message], others: dict[str, Message]) -> Iterator[LayoutBlock]:
    base = _header(message, "Snapshot-Content-Location") or _header(pages[0], "Content-Location")
    if base.startswith(("http://", "https://")):
        file.add_metadata("url", base)

    def fetch(target: str) -> bytes | None:
        if target[:5].lower() == "data:":
            return decode_data_url(target)
        part = others.get(target.removeprefix("cid:")) or others.get(_joined(base, target))
        is_picture = part is not None and part.get_content_maintype() == "image"
        return _data(part) if part is not None and is_picture else None

    for page in pages:
        yield from html_blocks(file, _text(file, page), fetch)


def _subject(message: Message) -> str:
    """Return the title of the page, which browsers write as the subject."""
    subject = str(message.get("Subject") or "")[:_MAX_SUBJECT]
    try:
        pieces = decode_header(subject)
    except (ValueError, LookupError):  # an encoded word that is none
        return " ".join(subject.split())
    texts = [
        piece if isinstance(piece, str) else (decode_as(piece, charset or "utf-8") or (subject, 0))[0]
        for piece, charset in pieces
    ]
    return " ".join("".join(texts).split())


def _text(file: File, page: Message) -> str:
    data = _data(page)
    charset = page.get_param("charset")
    decoded = decode_as(data, charset) if isinstance(charset, str) else None
    if decoded is not None and not decoded[1]:
        return decoded[0].replace("\0", "\ufffd")
    text, problem = decode_html(data)
    if problem:
        file.problems.append(problem)
    return text


def _data(part: Message) -> bytes:
    data = part.get_payload(decode=True)
    return data if isinstance(data, bytes) else b""


def _header(part: Message, name: str) -> str:
    return "".join(str(part.get(name) or "").split())


def _joined(base: str, target: str) -> str:
    try:
        return urljoin(base, target)
    except ValueError:
        return target
