"""Metadata is read from each format, and invalid dates, places and texts are left out."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from datetime import datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from commonplace.readers import ReadOptions, read
from commonplace.readers.metadata import normalise_metadata, parse_coordinates, parse_date
from tests.readers.make import Page, encoded, pdf, photo
from tests.readers.make_office import docx, epub, odt, packed, paragraph, pptx, shape, xlsx

CHANGED = 1_600_000_000
FILE = {"date": [datetime.fromtimestamp(CHANGED).isoformat()], "dated": ["file"]}
MetadataOf = Callable[[str, bytes | str], dict[str, list[str]]]


@pytest.fixture
def metadata_of(tmp_path: Path, options: ReadOptions) -> MetadataOf:
    def read_metadata(name: str, content: bytes | str) -> dict[str, list[str]]:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        os.utime(path, (CHANGED, CHANGED))
        document = read(path, options).document
        metadata = {
            key: values if isinstance(values, list) else [values] for key, values in document.metadata.dict().items()
        }
        if metadata.get("language") == ["en"]:  # no file here declares it: the text tells it
            del metadata["language"]
        return {**metadata, **({"title": [document.title]} if document.title else {})}

    return read_metadata


def expected_metadata(date: object, key: str, language: str) -> dict[str, list[str]]:
    """Return the metadata that the examples have in common."""
    return {"author": ["Ann Lee", "Bo Ek"], "language": [language], key: [str(date)], "date": [str(date)],
            "dated": [key]}  # fmt: skip


def test_pdf(metadata_of: MetadataOf) -> None:
    page = Page(lines=[(50, 700, 12, "The seal of the pump is blue.")])
    info = "/Author (Ann Lee; Bo Ek) /Keywords (seal, pump) /CreationDate (D:20240531093000+02'00') /ModDate (D:2025)"
    metadata = metadata_of("a.pdf", pdf(page, title="Pumps", info=info, catalog="/Lang (de-at)"))
    assert metadata == {
        **expected_metadata("2024-05-31T09:30:00", "created", "de-AT"),
        "keyword": ["seal", "pump"],
        "modified": ["2025"],
        "title": ["Pumps"],
    }
    assert metadata_of("b.pdf", pdf(page)) == FILE


def parts_of(content: bytes) -> dict[str, str | bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        return {name: package.read(name) for name in package.namelist()}


CORE = """<cp><title>Pumps</title><creator>Ann Lee; Bo Ek</creator><language>en-us</language>
<keywords>seal, pump</keywords><created>2024-05-31T09:30:00Z</created>
<modified>2024-06-01T00:00:00.123Z</modified></cp>"""


@pytest.mark.parametrize("kind", ["docx", "pptx", "xlsx"])
def test_office_files(metadata_of: MetadataOf, kind: str) -> None:
    files = {
        "docx": docx(paragraph("Words.")),
        "pptx": pptx((shape("Words"), "")),
        "xlsx": xlsx(One=[["a", "b"], [1, 2]]),
    }
    parts = parts_of(files[kind])
    assert metadata_of(f"a.{kind}", packed({**parts, "docProps/core.xml": CORE})) == {
        **expected_metadata("2024-05-31T09:30:00", "created", "en-US"),
        "keyword": ["seal", "pump"],
        "modified": ["2024-06-01T00:00:00"],
        "title": ["Pumps"],
    }


def test_open_documents_and_books(metadata_of: MetadataOf) -> None:
    meta = "<m><title>Pumps</title><initial-creator>Ann Lee; Bo Ek</initial-creator><creation-date>2024-05-31T09:30:00"
    meta += "</creation-date><date>2025-01-01</date><language>de</language><keyword>seal</keyword></m>"
    text = odt("<text:p>Words.</text:p>")
    parts = parts_of(text)
    assert metadata_of("a.odt", packed({**parts, "meta.xml": meta})) == {
        **expected_metadata("2024-05-31T09:30:00", "created", "de"),
        "modified": ["2025-01-01"],
        "keyword": ["seal"],
        "title": ["Pumps"],
    }
    parts = parts_of(epub("<html><body><p>Words of a chapter.</p></body></html>"))
    book = str(parts["OPS/book.opf"], "utf-8").replace(  # type: ignore[arg-type]
        "</metadata>",
        "<creator>Ann Lee</creator><creator>Bo Ek</creator><language>fr</language><date>1865</date>"
        '<subject>seals</subject><meta property="dcterms:modified">2024-05-31T00:00:00Z</meta></metadata>',
    )
    assert metadata_of("a.epub", packed({**parts, "OPS/book.opf": book})) == {
        **expected_metadata("1865", "created", "fr"),
        "modified": ["2024-05-31T00:00:00"],
        "keyword": ["seals"],
        "title": ["The book"],
    }


def test_web_pages_and_markdown(metadata_of: MetadataOf) -> None:
    page = """<html lang="en-gb"><head><title>Pumps</title><meta name="author" content="Ann Lee">
    <meta property="article:author" content="Bo Ek"><meta property="article:author" content="https://x/bo">
    <meta name="Keywords" content="seal, pump">
    <meta property="article:published_time" content="2024-05-31T09:30:00+02:00">
    </head><body><p>The seal of the pump is blue.</p></body></html>"""
    expected = {
        **expected_metadata("2024-05-31T09:30:00", "created", "en-GB"),
        "keyword": ["seal", "pump"],
        "title": ["Pumps"],
    }
    assert metadata_of("a.html", page) == expected
    front = """---
title: "Pumps"
authors:
  - Ann Lee
  - 'Bo Ek'
date: 2024-05-31 09:30
tags: [seal, "pump"]
lang: en-GB
draft: true
---
The seal of the pump is blue.
"""
    assert metadata_of("a.md", front) == expected
    notebook = {
        "metadata": {"authors": [{"name": "Ann Lee"}]},
        "cells": [{"cell_type": "markdown", "source": "# Pumps"}],
    }
    assert metadata_of("a.ipynb", json.dumps(notebook)) == {"author": ["Ann Lee"], "title": ["Pumps"], **FILE}


@pytest.mark.parametrize(
    ("line", "key", "date"),
    [
        ("ms.date: 05/04/2024", "modified", "2024-05-04"),  # Microsoft's is the month first, always
        ("date: 08/15/2024", "created", "2024-08-15"),
        ("date: 15/08/2024 # the feast", "created", "2024-08-15"),
        ("pubDate: '2024-08-15'", "created", "2024-08-15"),
        ("last_modified_at: 2024-08-15 10:30:00 +0200", "modified", "2024-08-15T10:30:00"),
        ("last_update:\r\n  author: Ann Lee\r\n  date: 8/15/2024", "modified", "2024-08-15"),
        ("last_update: 2024-08", "modified", "2024-08"),
        ("date modified: 2024-08-15", "modified", "2024-08-15"),
    ],
)
def test_dates_of_front_matter(metadata_of: MetadataOf, line: str, key: str, date: str) -> None:
    metadata = metadata_of("a.md", f"---\ntopic: pumps\n{line}\ndraft: true\n---\nThe seal is blue.\n")
    assert metadata == {key: [date], "date": [date], "dated": [key]}


@pytest.mark.parametrize("date", ["05/08/2024", "13/13/2024", "02/30/2024", "January 5, 2024", "{2024}"])
def test_an_ambiguous_date_is_left_out(metadata_of: MetadataOf, date: str) -> None:
    assert metadata_of("a.md", f"---\ndate: {date}\n---\nThe seal is blue.\n") == FILE


def test_rich_text(metadata_of: MetadataOf) -> None:
    text = r"{\rtf1{\info{\title Pumps}{\author Ann Lee}{\creatim\yr2024\mo5\dy31\hr9\min30}}The seal is blue.\par}"
    metadata = {"author": ["Ann Lee"], "created": ["2024-05-31T09:30:00"], "title": ["Pumps"]}
    assert metadata_of("a.rtf", text) == {**metadata, "date": ["2024-05-31T09:30:00"], "dated": ["created"]}


def test_mail_is_dated_by_the_clock_of_its_sender(metadata_of: MetadataOf) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Cc"] = "Ann Lee <ann@x.org>", "Bo Ek <bo@x.org>, c@x.org", "d@x.org"
    mail["Subject"], mail["Date"] = "Pumps", "Fri, 31 May 2024 23:30:00 -0700"
    mail.set_content("The seal is blue.")
    when = "2024-05-31T23:30:00"
    assert metadata_of("a.eml", mail.as_bytes()) == {
        "author": ["Ann Lee <ann@x.org>"],
        "from": ["Ann Lee <ann@x.org>"],
        "to": ["Bo Ek <bo@x.org>", "c@x.org", "d@x.org"],
        "created": [when],
        "date": [when],
        "dated": ["created"],
        "title": ["Pumps"],
    }


def exif(**tags: Any) -> bytes:
    """Return a JPEG with EXIF: when (of taking), changed, make, model, artist, gps (a directory)."""
    notes = Image.Exif()
    for name, tag in (("changed", 0x0132), ("make", 0x010F), ("model", 0x0110), ("artist", 0x013B)):
        if name in tags:
            notes[tag] = tags[name]
    if "when" in tags:
        notes.get_ifd(0x8769)[0x9003] = tags["when"]
    notes.get_ifd(0x8825).update(tags.get("gps", {}))
    return encoded(photo(), "JPEG", exif=notes)


def test_photographs_have_date_place_and_camera(metadata_of: MetadataOf) -> None:
    south = {1: "S", 2: (33.0, 51.0, 24.48), 3: "E", 4: (151.0, 12.0, 54.0)}
    tags = {"make": "Canon", "model": "Canon EOS 5D", "artist": "Ann Lee\0", "changed": "2025:01:02 03:04:05"}
    assert metadata_of("a.jpg", exif(when="2024:05:31 09:30:00", gps=south, **tags)) == {
        "author": ["Ann Lee"],
        "camera": ["Canon EOS 5D"],
        "created": ["2024-05-31T09:30:00"],
        "modified": ["2025-01-02T03:04:05"],
        "place": ["-33.85680, 151.21500"],
        "date": ["2024-05-31T09:30:00"],
        "dated": ["created"],
    }


@pytest.mark.parametrize(
    "when", ["0000:00:00 00:00:00", "9999:12:31 23:59:59", "    :  :     :  :  ", "2024:13:45", "x" * 9999]
)
@pytest.mark.parametrize(
    "gps",
    [
        {1: "N", 2: (IFDRational(1, 0), 0.0, 0.0), 3: "E", 4: (1.0, 0.0, 0.0)},
        {1: "N", 2: (91.0, 0.0, 0.0), 3: "E", 4: (1.0, 0.0, 0.0)},
        {1: "X", 2: (1.0, 0.0, 0.0), 3: "E", 4: (1.0, 0.0, 0.0)},
        {1: "N", 2: (0.0, 0.0, 0.0), 3: "E", 4: (0.0, 0.0, 0.0)},
        {2: (1.0, 0.0, 0.0)},
    ],
)
def test_impossible_dates_and_places_are_left_out(metadata_of: MetadataOf, when: str, gps: dict[int, Any]) -> None:
    assert metadata_of("a.jpg", exif(when=when, gps=gps, make="Acme")) == {"camera": ["Acme"], **FILE}


def test_metadata_is_bounded_and_printable(metadata_of: MetadataOf) -> None:
    names = "; ".join(f"Name {n} \u202e\x1b[31m\u200b" + "long " * 90 for n in range(90))
    page = f'<html lang="und"><meta name="author" content="unknown"><meta name="keywords" content="{names}">'
    page += "".join(f'<meta name="author" content="{n}{"x" * 5000}">' for n in range(3000)) + "<p>The seal is blue.</p>"
    metadata = metadata_of("a.html", page)
    assert metadata["dated"] == ["file"] and "language" not in metadata
    assert sum(map(len, metadata.values())) <= 62 and max(len(v) for values in metadata.values() for v in values) <= 200
    assert all(value.isprintable() and value.strip() for values in metadata.values() for value in values)
    assert len(metadata["author"]) == len(set(metadata["author"]))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(st.text(max_size=60), st.lists(st.text() | st.integers() | st.floats() | st.binary(), max_size=30))
)
def test_any_metadata_of_a_plug_in_can_be_stored(values: dict[str, list[object]]) -> None:
    for key, value in normalise_metadata(values, CHANGED):
        assert 0 < len(key) <= 40 and 0 < len(value) <= 200 and value.isprintable() and key == key.casefold()
    assert normalise_metadata(values, CHANGED)[-1][0] == "dated"


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.text(max_size=40)
    | st.from_regex(r"[12]\d{3}[-:/]?\d\d?[-:/]?\d\d?([ T]\d\d:\d\d(:\d\d)?)?(Z|\+02:00)?", fullmatch=True)
)
def test_parsed_dates_are_valid(text: str) -> None:
    parsed = parse_date(text)
    if parsed is not None:
        padded = parsed + "0001-01-01T00:00:00"[len(parsed) :]
        assert datetime.fromisoformat(padded).isoformat() == padded and "1000" <= parsed[:4] <= "2199"


@pytest.mark.parametrize(
    ("declared", "meant"),
    [
        ("2024", "2024"),
        ("2024-5", "2024-05"),
        ("D:20240531093000Z", "2024-05-31T09:30:00"),
        ("2024:05:31 09:30:00", "2024-05-31T09:30:00"),
        ("Fri, 31 May 2024 09:30:00 GMT", "2024-05-31T09:30:00"),
        ("2024-05-31T09:30", "2024-05-31T09:30:00"),
        ("1904-01-01T00:00:00Z", None),
        ("1904-01-01", "1904-01-01"),
        ("2024-02-30", None),
        ("yesterday", None),
        (datetime(2024, 5, 31, 9, 30), "2024-05-31T09:30:00"),
    ],
)
def test_dates(declared: object, meant: str | None) -> None:
    assert parse_date(declared) == meant


def test_invalid_coordinates_give_no_place() -> None:
    nan, infinite = float("nan"), float("inf")
    for broken in ((nan, 0, 0), (infinite, 0, 0), (-1, 0, 0), (), None, "x", (1, 2, "y")):
        assert parse_coordinates(broken, "N", (1, 0, 0), "E") is None
        assert parse_coordinates((1, 0, 0), "N", broken, b"W") is None
    assert parse_coordinates((1, 30, 0), b"n\0", (2, 0, 36), "W") == "1.50000, -2.01000"
