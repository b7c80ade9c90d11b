"""Mail (RFC 5322), mailboxes, and web pages saved as MHTML: the message, then its attachments."""

from __future__ import annotations

import codecs
import email
import email.message
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from commonplace.errors import ReadError
from commonplace.i18n import _
from commonplace.readers.archive import note_unread, read_inside, read_member
from commonplace.readers.blocks import LayoutBlock, Paragraph, lay_out
from commonplace.readers.formats import HEAD, suffix_of, utf16
from commonplace.readers.html import decode_data_url, html_blocks
from commonplace.readers.mail_headers import addresses, decoded_bytes, file_name, header, is_mail, repaired
from commonplace.readers.parts import File, Part
from commonplace.readers.rtf import read_rtf
from commonplace.readers.text import decode, read_text

__all__ = ["Mail", "mail_parts", "read_mail", "read_mailbox", "richer_texts"]

_HEADERS = ("From", "To", "Cc", "Date")
_MAX_PARTS = 500  # parts of one mail
_MAX_SUBJECT = 120  # characters; a title is cut, so a longer subject stands in the text too
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_ENCRYPTED = {"application/pgp-encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime"}
_SIGNATURES = {"application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature"}
_ADDRESS = re.compile(r"https?://\S+|\S+@\S+")
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w+")
_RICHER = 0.1  # share of a version's words that the other lacks, from which on it tells more
_SEPARATOR = re.compile(rb"^From [^\r\n]*\d{4}[^\r\n]*\r?\n", re.MULTILINE)
_QUOTED_SEPARATOR = re.compile(rb"^>(>*From )", re.MULTILINE)


Reader = Callable[[File], Iterator[Part]]


@dataclass(slots=True)
class _Leaf:
    """A MIME part that is not multipart: a text of the message, or a file with its name.

    ``content_ids`` are the names that a page shows a picture by.
    """

    kind: Literal["plain", "html", "file", "mail"]
    number: int
    text: str = ""
    name: str = ""
    data: bytes = b""
    content_ids: tuple[str, ...] = ()
    message: Any = None


@dataclass(slots=True)
class Mail:
    """A parsed mail: its headers, the parts of its text in order, its files, and mails inside it."""

    subject: str
    header_lines: list[str]
    texts: list[tuple[Literal["plain", "html"], str]] = field(default_factory=list)
    attachments: list[tuple[str, bytes | Reader]] = field(default_factory=list)  # a reader: of a mail inside it
    inline_pictures: dict[str, bytes] = field(default_factory=dict)  # Content-ID or Content-Location -> picture
    rich_text: bytes = b""  # RTF, where a message has no other text
    is_saved_page: bool = False  # a web page that a browser saved, not a mail
    sender: str = ""
    to: list[str] = field(default_factory=list)
    date: object = None


def read_mail(file: File) -> Iterator[Part]:
    """Yield the parts of the message, titled by its subject, then those of its attachments.

    A file without a header that mails have is read as the text that it is.
    """
    # mail is ASCII with encoded parts, but some programs save it as UTF-16
    data = decode(file.data)[0].encode() if utf16(file.data[:HEAD]) or file.data[:2] in _UTF16 else file.data
    data = repaired(data)
    if not is_mail(data):
        file.problems.append(_("no mail, in spite of its name: it was read as text; rename it to match its content"))
        yield from read_text(file)
        return
    try:
        message = email.message_from_bytes(data)
        mail = _parse_message(file, message)
        if not mail.attachments and not any(text.strip() for _kind, text in mail.texts) and not file.problems:
            body = data.partition(b"\r\n\r\n" if b"\r\n\r\n" in data else b"\n\n")[2]
            if body.strip() and message.is_multipart():
                file.problems.append(_("a damaged mail whose parts cannot be told apart; save a new copy"))
                mail.texts = [("plain", decoded_bytes(body, None))]
    except MemoryError:
        raise
    except Exception:  # a message is what anyone may have sent: the parser raises many kinds of errors, and recurses
        file.problems.append(_("a damaged mail: it was read as text; save a new copy and add it again"))
        yield from read_text(file)
        return
    yield from mail_parts(file, mail)


def read_mailbox(file: File) -> Iterator[Part]:
    """Yield the parts of each message of a mailbox (RFC 4155), a member each. One message is unpacked at a time."""
    data = file.data
    lines = (match.span() for match in _SEPARATOR.finditer(data))
    separators = [(start, end) for start, end in lines if is_mail(data[end : end + HEAD])]
    if not separators:
        yield from read_mail(file)
        return
    ends = [start for start, _end in separators[1:]] + [len(data)]
    for number, ((_start, begin), end) in enumerate(zip(separators, ends, strict=True)):
        if file.quota.is_used_up:
            file.problems.append(
                _("{unread} of its messages were not read: {reason}").format(
                    unread=len(separators) - number, reason=file.quota.reason
                )
            )
            return
        content = _QUOTED_SEPARATOR.sub(rb"\1", data[begin:end])
        yield from read_member(file, f"message {number + 1}", content, "message/rfc822", read_mail)


def _parse_message(file: File, message: Any) -> Mail:
    header_lines = [f"{name}: {value}" for name in _HEADERS if (value := header(message, name))]
    mail = Mail(header(message, "Subject"), header_lines, sender=header(message, "From"), date=header(message, "Date"))
    mail.to = [address for name in ("To", "Cc") for address in addresses(message, name)]
    if header(message, "Snapshot-Content-Location"):
        mail.is_saved_page, mail.header_lines = True, []
    leaves = _Leaves(file).of(message)
    for leaf in leaves:
        if leaf.kind in ("plain", "html"):
            mail.texts.append((leaf.kind, leaf.text))
        elif leaf.kind == "mail":
            mail.attachments.append((leaf.name, _reader_of(leaf.message)))
        else:
            mail.inline_pictures.update(dict.fromkeys(leaf.content_ids, leaf.data))
            mail.attachments.append((leaf.name, leaf.data))
    return mail


def _reader_of(message: Any) -> Reader:
    def read(inner: File) -> Iterator[Part]:
        yield from mail_parts(inner, _parse_message(inner, message))

    return read


class _Leaves:
    """Takes a message apart. Of versions of one text, the one that says more is taken."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._number = 0
        self._problems: set[str] = set()

    def of(self, part: Any) -> list[_Leaf]:
        """Return the texts and files of a part, in order."""
        maintype, subtype = part.get_content_maintype(), part.get_content_subtype()
        if part.is_multipart() and maintype != "message":
            children = [self.of(child) for child in part.get_payload()]
            return _richest(children) if subtype == "alternative" else [leaf for child in children for leaf in child]
        number, self._number = self._number, self._number + 1
        if number >= _MAX_PARTS:
            note = _("only the first {max_parts} parts of the mail were read; save the rest as files")
            self._note(note.format(max_parts=_MAX_PARTS))
            return []
        if part.is_multipart():
            return self._message(part, number, subtype)
        return self._leaf(part, number, maintype, subtype)

    def _note(self, problem: str) -> None:
        if problem not in self._problems:
            self._problems.add(problem)
            self._file.problems.append(problem)

    def _message(self, part: Any, number: int, subtype: str) -> list[_Leaf]:
        """Return a mail inside the mail, or the fields of a delivery report as a text."""
        payload = part.get_payload()
        if subtype in ("rfc822", "global", "news"):
            name = file_name(part) or f"forwarded {number}.eml"
            encoding = header(part, "Content-Transfer-Encoding").lower()
            if encoding in ("base64", "quoted-printable"):  # against the standard, but some programs do
                return [_Leaf("file", number, name=_with_suffix(name), data=_unpacked(payload[0], encoding))]
            return [_Leaf("mail", number, name=name, message=inner) for inner in payload]
        fields = ["\n".join(f"{key}: {header(inner, key)}" for key in inner) for inner in payload]
        texts = [inner.get_payload() for inner in payload if not inner.is_multipart()]
        return [_Leaf("plain", number, "\n\n".join(filter(None, [*fields, *texts])))]

    def _leaf(self, part: Any, number: int, maintype: str, subtype: str) -> list[_Leaf]:
        kind = f"{maintype}/{subtype}"
        if kind in _ENCRYPTED:
            self._note(_("encrypted, so it cannot be read; save a decrypted copy and add it again"))
        if kind in _SIGNATURES or kind in _ENCRYPTED:
            return []
        name = file_name(part)
        data = part.get_payload(decode=True) or b""
        is_attached = part.get_content_disposition() == "attachment"
        # A multipart whose parts the parser did not find is its text.
        if name is None and not is_attached and (maintype in ("text", "multipart", "message")):
            label = _charset(part)
            if subtype == "html":
                return [_Leaf("html", number, decoded_bytes(data, label or _meta_charset(data)))]
            if subtype in ("plain", "enriched", "richtext") or maintype != "text":
                text = decoded_bytes(data, label)
                if subtype in ("enriched", "richtext"):
                    text = _visible(text)
                return [_Leaf("plain", number, _unfolded(part, text))]
        if not data:
            return []
        content_ids = [header(part, key).strip("<> ") for key in ("Content-ID", "Content-Location")]
        name = name or f"part {number}{suffix_of(kind) or '.' + subtype}"
        return [_Leaf("file", number, name=name, data=data, content_ids=tuple(filter(None, content_ids)))]


def _with_suffix(name: str) -> str:
    return name if name.lower().endswith(".eml") else f"{name}.eml"


def _unpacked(message: Any, encoding: str) -> bytes:
    """Return the bytes of a mail that was encoded as a whole, so that the parser took it for the text of another."""
    wrapper = email.message.Message()
    wrapper["Content-Transfer-Encoding"] = encoding
    wrapper.set_payload(message.as_string())
    unpacked: bytes = wrapper.get_payload(decode=True)  # type: ignore[assignment]
    return unpacked.lstrip(b"\r\n")


def _charset(part: Any) -> str | None:
    try:
        charset: str | None = part.get_content_charset()
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    return charset


def _meta_charset(data: bytes) -> str | None:
    match = re.search(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?([\w.:-]{2,40})", data[:HEAD], re.IGNORECASE)
    return match[1].decode("ascii", "ignore") if match else None


def _unfolded(part: Any, text: str) -> str:
    """Return a text with its paragraphs as they were written, where a program has broken their lines (RFC 3676)."""
    if str(part.get_param("format") or "").lower() != "flowed":
        return text
    is_cut = str(part.get_param("delsp") or "").lower() == "yes"
    lines = [line.removeprefix(" ") for line in text.replace("\r\n", "\n").split("\n")]
    paragraphs: list[str] = []
    is_open = False
    for line in lines:
        is_open = is_open and not line.startswith(">")
        if is_open:
            paragraphs[-1] += line
        else:
            paragraphs.append(line)
        is_open = line.endswith(" ") and line != "-- " and not line.startswith(">")
        if is_open and is_cut:
            paragraphs[-1] = paragraphs[-1][:-1]
    return "\n".join(paragraphs)


def _richest(versions: list[list[_Leaf]]) -> list[_Leaf]:
    """Return the text of the version that says more, and the files of all versions.

    Plain text wins unless the web page has words that it lacks: it may be a stub ("use another mail program").
    """
    plain = [leaf for leaves in versions if not any(leaf.kind == "html" for leaf in leaves) for leaf in leaves]
    rich = [leaf for leaves in versions if any(leaf.kind == "html" for leaf in leaves) for leaf in leaves]
    rich_words, plain_words = _words(rich), _words(plain)
    if _is_richer(rich_words, plain_words) or (not plain_words and rich):
        winner, loser = rich, plain
    elif not _shows_pictures(rich):
        winner, loser = plain, rich
    elif _is_richer(plain_words, rich_words):
        winner, loser = plain + rich, []  # a page of pictures, and what there is to say
    else:
        winner, loser = rich, plain
    kept = winner + [leaf for leaf in loser if leaf.kind in ("file", "mail")]
    return sorted(kept, key=lambda leaf: leaf.number)


def richer_texts(plain: str, page: str) -> list[tuple[Literal["plain", "html"], str]]:
    """Return the version of a text that says more, as the text of a mail; an empty list where both are empty."""
    versions = [[_Leaf("plain", 0, plain)], [_Leaf("html", 1, page)]]
    taken = _richest([version for version in versions if version[0].text.strip()])
    return [("html" if leaf.kind == "html" else "plain", leaf.text) for leaf in taken]


def _words(leaves: list[_Leaf]) -> set[str]:
    texts = (_visible(leaf.text) if leaf.kind == "html" else leaf.text for leaf in leaves)
    return {word for text in texts for word in _WORD.findall(_ADDRESS.sub(" ", text).casefold())}


def _is_richer(words: set[str], others: set[str]) -> bool:
    extra = len(words - others)
    return extra > _RICHER * len(words) and extra > len(others - words)


def _shows_pictures(leaves: list[_Leaf]) -> bool:
    pages = " ".join(leaf.text for leaf in leaves if leaf.kind == "html")
    return any(name in pages for leaf in leaves for name in leaf.content_ids)


def _visible(page: str) -> str:
    """Return the words of a web page, without its structure."""
    from selectolax.lexbor import LexborHTMLParser

    parser = LexborHTMLParser(page)
    parser.strip_tags(["script", "style", "head", "title"])
    return parser.body.text(separator=" ") if parser.body is not None else ""


def mail_parts(file: File, mail: Mail) -> Iterator[Part]:
    """Yield the parts of a parsed mail: its headers, its text, then its attachments and the mails inside it."""
    subject = " ".join(mail.subject.replace("\0", " ").split())
    file.title = subject or None
    file.add_metadata("from", mail.sender)
    file.add_metadata("author", mail.sender)
    file.add_metadata("to", *mail.to)
    file.add_metadata("created", mail.date)
    used_pictures: set[bytes] = set()
    yield from lay_out(file, _blocks(file, mail, used_pictures), title=file.title)
    if mail.rich_text:
        document = replace(file, data=mail.rich_text, media_type="text/rtf", problems=file.problems, metadata={})
        yield from read_rtf(document)
    unread: list[str] = []
    for name, data in mail.attachments:
        if isinstance(data, bytes) and data in used_pictures:
            continue  # the page shows it already
        if file.quota.is_used_up:
            file.problems.append(_("not all attachments were read: {reason}").format(reason=file.quota.reason))
            break
        if not isinstance(data, bytes):
            yield from read_member(file, name, b"", "message/rfc822", data)
            continue
        if data.lstrip().startswith(b"-----BEGIN PGP MESSAGE-----"):
            file.problems.append(_("{name}: encrypted; save a decrypted copy and add it again").format(name=name))
            continue
        file.quota.bytes -= len(data)
        if not (yield from read_inside(file, name, data)):
            unread.append(name)
    note_unread(file, unread)


def _blocks(file: File, mail: Mail, used_pictures: set[bytes]) -> Iterator[LayoutBlock]:
    lines = list(mail.header_lines)
    if len(mail.subject) > _MAX_SUBJECT:
        lines.append(f"Subject: {mail.subject}")
    if lines:
        yield Paragraph("\n".join(lines))

    def fetch(target: str) -> bytes | None:
        if target[:5].lower() == "data:":
            return decode_data_url(target)
        data = mail.inline_pictures.get(target.removeprefix("cid:"))
        if data is not None:
            used_pictures.add(data)
        return data

    for kind, text in mail.texts:
        if kind == "html":
            try:
                yield from html_blocks(file, text, fetch, full_page=not mail.is_saved_page)
            except ReadError as error:
                file.problems.append(str(error))
                yield Paragraph(_visible(text))
        else:
            paragraphs = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd").split("\n\n")
            yield from (Paragraph(paragraph) for paragraph in paragraphs)
