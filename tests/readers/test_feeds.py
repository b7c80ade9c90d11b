"""News feeds and web archives."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from commonplace.errors import ReadError
from commonplace.readers import ReadOptions, read
from commonplace.types import ParsedDocument

RSS = """<?xml version="1.0" encoding="windows-1252"?>
<rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/"><channel><title>Harbour café</title>
<description>News of the quay</description>
<item><title>New crane</title><pubDate>Mon, 06 May 2024 09:00:00 GMT</pubDate>
<description>Short.</description><content:encoded><![CDATA[<p>The crane lifts <b>40</b> t.</p><ul><li>blue</li></ul>]]>
</content:encoded></item><item><title>Old &amp;amp; rusty</title><description>It was sold.</description></item>
</channel></rss>"""
ATOM = """<feed xmlns="http://www.w3.org/2005/Atom"><title>Quay</title><entry><title>Tide</title>
<author><name>Ada Moor</name></author><updated>2024-05-06T10:00:00Z</updated><content type="xhtml">
<div xmlns="http://www.w3.org/1999/xhtml"><p>High at <em>nine</em>.</p></div></content></entry></feed>"""


def texts(parsed: ParsedDocument) -> list[tuple[str | None, str | None]]:
    return [(item.title, item.text) for item in parsed.items]


def test_rss(tmp_path: Path, options: ReadOptions) -> None:
    path = tmp_path / "news.xml"
    path.write_bytes(RSS.encode("cp1252"))
    parsed = read(path, options)
    assert parsed.document.media_type == "application/rss+xml" and parsed.document.title == "Harbour café"
    assert texts(parsed) == [
        (None, "News of the quay"),
        ("New crane", "Mon, 06 May 2024 09:00:00 GMT\n\nThe crane lifts 40 t.\n\n- blue"),
        ("Old & rusty", "It was sold."),
    ]


def test_atom(tmp_path: Path, options: ReadOptions) -> None:
    path = tmp_path / "news.atom"
    path.write_text(ATOM)
    assert texts(read(path, options)) == [("Tide", "2024-05-06T10:00:00Z · Ada Moor\n\nHigh at nine.")]


def test_a_feed_cannot_expand_entities(tmp_path: Path, options: ReadOptions) -> None:
    path = tmp_path / "bomb.rss"
    path.write_text(
        '<!DOCTYPE rss [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><rss><channel><title>&b;</title></channel></rss>'
    )
    with pytest.raises(ReadError, match="feed"):
        read(path, options)


def record(kind: str, address: str, body: bytes) -> bytes:
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {address}\r\n"
    head += "WARC-Date: 2024-05-06T10:00:00Z\r\nWARC-Record-ID: <urn:uuid:1>\r\n"
    head += f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body + b"\r\n\r\n"


def response(kind: str, body: bytes, extra: str = "", status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{extra}\r\n".encode() + body


def test_warc(tmp_path: Path, options: ReadOptions) -> None:
    page = "<title>Kran</title><body><h1>Kran</h1><p>Trägt 40 t.</p>".encode("cp1252")
    packed = gzip.compress(b"<body><h1>Tide</h1><p>High at nine.</p>")
    path = tmp_path / "site.warc"
    path.write_bytes(
        record("response", "https://example.org/crane", response("text/html; charset=iso-8859-1", page))
        + record("response", "https://example.org/x.css", response("text/css", b"p { color: red }"))
        + record("response", "https://example.org/gone", response("text/html", b"<p>not found", status="404 Not Found"))
        + record("response", "https://example.org/tide", response("text/html", packed, "Content-Encoding: gzip\r\n"))
    )
    parsed = read(path, options)
    assert [(item.span.member, item.text) for item in parsed.items] == [
        ("https://example.org/crane", "Trägt 40 t."),
        ("https://example.org/tide", "High at nine."),
    ]
    complete = path.read_bytes()
    path.write_bytes(complete[:-150])
    assert "Trägt" in (read(path, options).items[0].text or "")
    path.write_bytes(b"WARC/1.0\r\nbroken" + complete[:9])
    with pytest.raises(ReadError):
        assert not read(path, options).items
        raise ReadError("nothing was read")
