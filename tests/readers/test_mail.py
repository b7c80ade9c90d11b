"""Mail: the version that says more, every part, and whatever is wrong with its headers and encodings."""

from __future__ import annotations

import base64
from collections.abc import Callable
from email.message import EmailMessage

import pytest

from commonplace.types import ParsedDocument

Reader = Callable[[str, bytes], ParsedDocument]


def text_of(parsed: ParsedDocument) -> str:
    return "\n".join(item.text or "" for item in parsed.items)


def versions(plain: str, page: str) -> bytes:
    message = EmailMessage()
    message["Subject"], message["From"] = "Ferry", "a@example.org"
    message.set_content(plain)
    message.add_alternative(page, subtype="html")
    return bytes(message)


def test_the_version_that_says_more_is_read(reading: Reader) -> None:
    page = "<p>The ferry leaves from quay 7 at <b>6:40</b>.</p><style>p {color: red}</style>"
    parsed = reading("a.eml", versions("Your mail program cannot show this.", page))
    assert "quay 7 at 6:40" in text_of(parsed) and "cannot show" not in text_of(parsed)
    plain = "The ferry leaves from quay 7 at 6:40.\nhttps://example.org/a/long/address?with=many&parts=of-it"
    assert "https://example.org" in text_of(reading("b.eml", versions(plain, page)))
    parsed = reading("c.eml", versions("The ferry leaves from quay 7. Bring a coat.", "<p>View in your browser</p>"))
    assert "Bring a coat" in text_of(parsed)


def test_every_text_of_a_mixed_mail_is_read(reading: Reader) -> None:
    parts = ("First words.", "<p>Second words.</p>", "Third words.")
    data = "Subject: Three\nContent-Type: multipart/mixed; boundary=x\n\n"
    for part in parts:
        data += f"--x\nContent-Type: text/{'html' if '<' in part else 'plain'}\n\n{part}\n"
    parsed = reading("a.eml", (data + "--x--\n").encode())
    assert [word for word in ("First", "Second", "Third") if word in text_of(parsed)] == ["First", "Second", "Third"]
    assert all(item.span.member is None for item in parsed.items)


@pytest.mark.parametrize(
    ("label", "codec", "words"),
    [
        ("gb2312", "gb18030", "朱镕辉与陶喆"),  # characters that GB 2312 lacks
        ("shift_jis", "cp932", "髙橋様、①見積書"),
        ("iso-8859-1", "cp1252", "“5 €” – naïve"),
        ("us-ascii", "utf-8", "Größe und Gewicht der Maße"),
        ("x-unknown-8", "utf-8", "Größe und Gewicht der Maße"),
    ],
)
def test_a_label_means_what_mail_programs_take_it_to_mean(reading: Reader, label: str, codec: str, words: str) -> None:
    encoded = base64.b64encode(words.encode(codec)).decode()
    head = f"Subject: =?{label}?B?{encoded}?=\nContent-Type: text/plain; charset={label}\n\n"
    parsed = reading("a.eml", head.encode() + words.encode(codec))
    assert parsed.document.title == words and words in text_of(parsed) and parsed.document.status == "ok"


def test_headers_are_decoded_whatever_is_wrong_with_them(reading: Reader) -> None:
    word = "图书馆".encode()  # cut inside a character, as some programs do
    halves = [base64.b64encode(half).decode() for half in (word[:4], word[4:])]
    data = (
        f"Subject: =?utf-8?B?{halves[0]}?=\n =?utf-8?B?{halves[1]}?=\n"
        'From : =?utf-8?Q?M=C3=BCller=2C_Ann?= <ann@example.org>\nno header\nTo: "Doe, Jo" <jo@example.org>,'
        " Grün <g@example.org>\n\nWords."
    )
    parsed = reading("a.eml", data.encode())
    metadata = parsed.document.metadata
    assert parsed.document.title == "图书馆" and "Words." in text_of(parsed)
    assert "Müller, Ann <ann@example.org>" in str(metadata["from"])
    assert "Doe, Jo <jo@example.org>" in str(metadata["to"]) and "Grün <g@example.org>" in str(metadata["to"])


@pytest.mark.parametrize(
    "data",
    [
        b"Content-Type: text/plain\n\nThe seal is blue.",  # no sender, no subject
        b"Content-Type: multipart/mixed; boundary=never\n\nThe seal is blue.",
        b'Content-Type: multipart/mixed; boundary="a--"\n\n--a--\nThe seal is blue.',
        b"The seal is blue.\nIt is no mail at all.",
        b"Subject: x\nThe seal is blue.\nThe empty line is missing.",
        b"Subject: x\nContent-Type: text/plain; charset=utf-16le\n\n" + "The seal is blue.".encode("utf-16-le"),
        b"Subject: x\nContent-Transfer-Encoding: base64\n\nVGhlIHNlYWwgaXMgYmx1ZS4= garbage",
        b"\xef\xbb\xbf\n\nSubject: x\n\nThe seal is blue.",
        b"Subject: x\nContent-Type: text/html\n\n" + b"<div>" * 3000 + b"The seal is blue.",
    ],
)
def test_no_mail_is_lost(reading: Reader, data: bytes) -> None:
    assert "The seal is blue." in text_of(reading("a.eml", data))


def test_mails_inside_mails_are_members(reading: Reader) -> None:
    message = EmailMessage()
    message["Subject"] = "mail 0"
    message.set_content("Words of mail 0.")
    for number in range(1, 7):
        outer = EmailMessage()
        outer["Subject"] = f"mail {number}"
        outer.set_content(f"Words of mail {number}.")
        outer.add_attachment(message)
        message = outer
    parsed = reading("a.eml", bytes(message))
    assert parsed.document.status == "ok"
    assert all(f"Words of mail {number}." in text_of(parsed) for number in range(7))
    encoded = base64.encodebytes(b"Subject: inner\n\nThe inner words.").decode()
    data = f"Subject: o\nContent-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n{encoded}"
    assert "The inner words." in text_of(reading("b.eml", data.encode()))


def test_what_is_not_read_of_a_mail_is_noted(reading: Reader) -> None:
    message = EmailMessage()
    message["Subject"] = "Files"
    message.set_content("See there.")
    message.add_attachment(b"MZ\0\1\2", "application", "octet-stream", filename="tool.exe")
    message.add_attachment(b"-----BEGIN PGP MESSAGE-----\nabc", "application", "octet-stream", filename="secret.asc")
    error = reading("a.eml", bytes(message)).document.error or ""
    assert ".exe" in error and "secret.asc: encrypted" in error


def test_soft_line_ends_are_joined(reading: Reader) -> None:
    data = b"Subject: x\nContent-Type: text/plain; format=flowed\n\nThe pump in the \ncellar is old.\nA new line."
    assert "The pump in the cellar is old.\nA new line." in text_of(reading("a.eml", data))


def test_each_message_of_a_mailbox_is_a_member(reading: Reader) -> None:
    mailbox = b"".join(
        b"From a@example.org Mon May  6 10:00:00 2024\nSubject: Letter %d\nFrom: a@example.org\n\n"
        b"The number is %d.\n>From here on it is quoted.\nFrom here on it is not.\n\n" % (number, number * 111)
        for number in (1, 2, 3)
    )
    for name in ("a.mbox", "Inbox"):
        parsed = reading(name, mailbox)
        assert parsed.document.media_type == "application/mbox" and parsed.document.status == "ok"
        assert [(item.span.member, item.title) for item in parsed.items] == [
            (f"message {number}", f"message {number} > Letter {number}") for number in (1, 2, 3)
        ]
        assert "222" in (parsed.items[1].text or "") and "\nFrom here on it is quoted." in (parsed.items[1].text or "")
