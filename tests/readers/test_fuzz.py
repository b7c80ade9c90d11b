"""Damaged files of every format, made by mutation: each is read or refused with a reason, without a crash.

`make fuzz` makes 10,000 of them, `make test` a few hundred. A mutant is told by its number alone: the same one comes
back with the same number.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import resource
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from commonplace.errors import ReadError
from commonplace.ingest import Pool, Source
from commonplace.readers import ReadOptions
from tests.conftest import data
from tests.readers.make import Page, encoded, pdf, photo
from tests.readers.make_office import (
    docx,
    drawing,
    epub,
    odt,
    packed,
    paragraph,
    picture_shape,
    pptx,
    shape,
    table,
    xlsx,
)

MUTANTS = int(os.environ.get("COMMONPLACE_FUZZ") or 240)
_ODD = (
    b"\0",
    b"\xff",
    b"\x7f",
    b"<",
    b">",
    b"&",
    b'"',
    b"{",
    b"\\",
    b"%",
    b"\xff\xff\xff\x7f",
    b"\0\0\0\0",
    b"]]>",
    b"\n",
)


def seeds() -> dict[str, bytes]:
    """Return a whole file of each format, by the name that it is read under."""
    picture = encoded(photo(60, 40))
    html = (
        b"<!doctype html><html><head><title>T</title></head><body><h1>A</h1><p>Words <b>here</b>.</p><table><tr><th>a"
    )
    html += b"<th>b<tr><td rowspan=2>1<td>2</table><img src='data:image/png;base64,iVBORw0KGgo='></body></html>"
    mail = b"From: a@example.org\nSubject: =?utf-8?q?Hi?=\nMIME-Version: 1.0\n"
    mail += b"Content-Type: multipart/mixed; boundary=x\n\n"
    mail += b"--x\nContent-Type: text/plain; charset=utf-8\n\nWords.\n--x\nContent-Type: text/html\n"
    mail += b"Content-Disposition: attachment; filename=a.html\nContent-Transfer-Encoding: quoted-printable\n\n"
    mail += b"<p>=41</p>\n--x--\n"
    cells = [{"cell_type": "code", "source": "x", "outputs": [{"output_type": "stream", "text": "y"}]}]
    page = Page([(50, 700, 12, "Words on a page."), (50, 400, 20, "Heading")], [(50, 450, 200, 150, photo(80, 60))])
    page.drawing = "0 0 1 RG 300 500 m 350 650 400 520 500 640 c S 300 500 m 300 660 l S 300 500 m 500 500 l S"
    return {
        "a.txt": "Plain words, ünïcode.\n".encode() * 20,
        "a.md": b"---\ntitle: T\n---\n# A\n\nWords ![x](y.png) | a |\n\n| a | b |\n|---|---|\n| 1 | 2 |\n",
        "a.html": html,
        "a.csv": b"a;b;c\n1;2;3\n4;5;\"6;7\"\n" * 10,
        "a.rtf": rb"{\rtf1\ansi{\fonttbl{\f0 A;}}Hello \b world\b0 .\par \u8364? {\pict\pngblip " + b"00" * 200 + b"}}",
        "a.ipynb": json.dumps({"cells": cells, "nbformat": 4, "metadata": {}}).encode(),
        "a.eml": mail,
        "a.pdf": pdf(page, page, title="T"),
        "a.docx": docx(
            paragraph("H", "H1") + paragraph("W", inside=drawing("r1", "x")) + table("a|b", "c|d"), {"p.png": picture}
        ),
        "a.pptx": pptx((shape("T", "title") + picture_shape("pic", "x", (1, 1, 90, 90)), "N"), picture=picture),
        "a.xlsx": xlsx(A=[["a", "b"], [1, 2.5]], B=[["c"]]),
        "a.odt": odt('<text:h text:outline-level="1">A</text:h><text:p>W<text:tab/></text:p>', {"p.png": picture}),
        "a.epub": epub("<html><body><h1>A</h1><p>W</p></body></html>"),
        "a.zip": packed({"a/b.txt": "Words.", "c.html": html, "d.zip": packed({"e.md": "# E\n\nW"})}),
        "a.jpg": encoded(photo(), "JPEG"),
        "a.png": picture,
        "a.gif": encoded(photo(), "GIF"),
        "a.webp": encoded(photo(), "WEBP"),
        "a.bmp": encoded(photo(), "BMP"),
        "a.tiff": encoded(photo(), "TIFF"),
    }  # fmt: skip


def mutant(intact: bytes, chance: random.Random) -> bytes:
    """Return ``intact`` with a few bytes changed; in a package, mostly in one of its members."""
    if intact.startswith(b"PK") and chance.random() < 0.7:
        out = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(intact)) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
            names = source.namelist()
            hurt = chance.choice(names)
            for name in names:
                body = source.read(name)
                target.writestr(name, broken(body, chance) if name == hurt else body)
        return out.getvalue()
    return broken(intact, chance)


def broken(intact: bytes, chance: random.Random) -> bytes:
    """Return bytes with one to six mutations."""
    body = bytearray(intact)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(body)) if body else 0
        length = min(len(body) - at, int(chance.paretovariate(0.6)))
        kind = chance.randrange(6)
        if kind == 0 and body:
            body[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            body[at:at] = chance.choice(_ODD) * chance.choice((1, 1, 2, 50))
        elif kind == 2:
            del body[at : at + length]
        elif kind == 3:
            body[at:at] = body[at : at + length] * chance.choice((1, 2, 20))
        elif kind == 4 and chance.random() < 0.3:
            del body[at:]
        elif body:
            body[at : at + 4] = chance.choice(_ODD)
    return bytes(body[:2_000_000])


def test_broken_files_are_read_or_refused(tmp_path: Path, options: ReadOptions) -> None:
    intact = seeds()
    with contextlib.suppress(pytest.skip.Exception):  # the only format that nothing here can write
        intact["a.msg"] = (data("office") / "fake-email.msg").read_bytes()
    names = sorted(intact)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    worst = []
    with Pool(replace(options, seconds=20), 2) as pool:
        for first in range(0, MUTANTS, 100):
            paths = []
            for number in range(first, min(first + 100, MUTANTS)):
                name = names[number % len(names)]
                path = tmp_path / f"{number}{Path(name).suffix}"
                path.write_bytes(mutant(intact[name], random.Random(number)))
                paths.append(path)
            for source, result in pool.read([Source(path, tmp_path) for path in paths]):
                error = str(result) if isinstance(result, ReadError) else ""
                if any(words in error for words in ("please report", "crashed", "took longer", "of memory")):
                    worst.append(f"{source.path.name}: {error}")
                source.path.unlink()
    assert not worst, "\n".join(worst[:20])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB, in this process
