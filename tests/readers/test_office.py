"""Office files, books, notebooks, mail and archives: text in order, under its headings, with the pictures in it."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

import pytest

from commonplace.errors import ReadError
from commonplace.readers import ReadOptions, media_type, read
from commonplace.types import Item, ParsedDocument
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

Reader = Callable[[str, bytes], ParsedDocument]


def texts(reading: ParsedDocument) -> list[tuple[str | None, str | None]]:
    return [(item.title, item.text) for item in reading.items if item.modality == "text"]


def figures(reading: ParsedDocument) -> list[Item]:
    return [item for item in reading.items if item.modality == "image"]


def test_word_files_in_reading_order(reading: Reader) -> None:
    body = (
        paragraph("Before all.")
        + paragraph("Pumps", "H1")
        + paragraph("The seal is blue.", inside=drawing("r1", "A drawing of the pump"))
        + paragraph("Figure 1: the pump in section", "Cap")
        + paragraph("Seals", "Mine")  # based on a heading of level 2
        + table("Name|Colour", "Inner|blue", "Outer|red")
        + "<w:p><w:del><w:r><w:delText>never said</w:delText></w:r></w:del>"
        + "<w:ins><w:r><w:t>Said.</w:t></w:r></w:ins></w:p>"
        + paragraph("x", inside=drawing("out", "from elsewhere"))
    )
    parsed = reading("a.docx", docx(body, {"p.png": encoded(photo())}))
    assert texts(parsed) == [
        (None, "Before all."),
        ("Pumps", "The seal is blue.\n\nFigure 1: the pump in section"),
        ("Pumps > Seals", "| Name | Colour |\n|---|---|\n| Inner | blue |\n| Outer | red |"),
        ("Pumps > Seals", "Said.\n\nx\n\n[from elsewhere]"),
    ]
    (figure,) = figures(parsed)
    assert figure.text == "A drawing of the pump. Figure 1: the pump in section" and figure.title == "Pumps"
    starts = [item.span.start or 0 for item in parsed.items]
    assert starts == sorted(starts) and parsed.document.title == "Pumps" and parsed.document.status == "ok"


def test_word_files_show_text_boxes_notes_and_tables_in_tables(reading: Reader) -> None:
    box = f"<w:drawing><w:txbxContent>{paragraph('In the box.')}</w:txbxContent></w:drawing>"
    nested = f"<w:tbl><w:tr><w:tc>{paragraph('Around')}{table('a|b', 'c|d')}</w:tc></w:tr></w:tbl>"
    parsed = reading("a.docx", docx(paragraph("Body.", inside=box) + nested))
    assert texts(parsed) == [(None, "Body.\n\nIn the box.\n\nAround"), (None, "| a | b |\n|---|---|\n| c | d |")]


def test_long_tables_keep_their_head_and_fit(
    reading: Reader, options: ReadOptions, count: Callable[[str], int]
) -> None:
    rows = ["Part|Colour|Maker"] + [f"seal number {n}|blue and green|maker {n % 7}" for n in range(200)]
    parsed = reading("a.docx", docx(paragraph("Parts", "H1") + table(*rows)))
    assert len(parsed.items) > 5
    for item in parsed.items:
        assert item.text is not None and item.text.startswith("| Part | Colour | Maker |\n|---|---|---|\n| seal number")
        assert count(item.text_view or "") <= options.max_tokens
    assert sum((item.text or "").count("| seal number") for item in parsed.items) == 200


def test_slides_are_pages_with_places_and_notes(reading: Reader) -> None:
    first = (
        shape("The pump", "title")
        + shape("It pumps.\nBlue seal.", place=(100, 100, 500, 200))
        + picture_shape("pic", "A red pump", (500, 250, 500, 250))
        + shape("12", "sldNum")
    )
    deck = pptx((first, "Say it slowly."), (shape("Only a title", "title"), ""), picture=encoded(photo()))
    parsed = reading("a.pptx", deck)
    assert texts(parsed) == [
        ("The pump", "It pumps.\nBlue seal.\n\nNotes: Say it slowly."),
        (None, "Only a title"),
    ]
    assert [item.span.page for item in parsed.items] == [1, 1, 2] and parsed.items[0].span.box == (
        0.1,
        0.2,
        0.6,
        0.6,
    )
    (figure,) = figures(parsed)
    assert figure.text == "A red pump" and figure.span.box == (0.5, 0.5, 1.0, 1.0) and figure.title == "The pump"


def test_sheets_split_where_people_leave_a_row_empty(reading: Reader) -> None:
    rows: list[list[str | float]] = [["Sales"], ["Year", "Sum"], [2024, 1.5], [2025, 3], [], ["A note"]]
    parsed = reading("a.xlsx", xlsx(North=rows, South=[["Year", "Sum"], [2024, 7]]))
    assert texts(parsed) == [
        ("North > Sales", "| Year | Sum |\n|---|---|\n| 2024 | 1.5 |\n| 2025 | 3 |"),
        ("North", "A note"),
        ("South", "| Year | Sum |\n|---|---|\n| 2024 | 7 |"),
    ]
    starts = [item.span.start or 0 for item in parsed.items]
    assert starts == sorted(set(starts))  # two sheets do not lie in one place


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_tables_of_any_dialect(reading: Reader, delimiter: str) -> None:
    rows = [["Name", "Colour"], ["seal, inner; old", "blue"], ["seal", "red"]]
    text = "\n".join(delimiter.join(f'"{cell}"' for cell in row) for row in rows)
    parsed = reading("a.csv", text.encode("utf-16"))
    assert [item.text for item in parsed.items] == [
        "| Name | Colour |\n|---|---|\n| seal, inner; old | blue |\n| seal | red |"
    ]


def test_wide_rows_become_records(reading: Reader, count: Callable[[str], int]) -> None:
    head = ",".join(f"column number {n}" for n in range(50))
    parsed = reading("a.csv", (head + "\n" + ",".join(f"value {n}" for n in range(50)) + "\n").encode())
    text = " ".join(item.text or "" for item in parsed.items)
    assert all(f"column number {n}: value {n}" in text for n in range(50))


def test_books_chapter_by_chapter(reading: Reader) -> None:
    chapters = [
        "<?xml version='1.0'?><html><head><title/></head><body><h1>One</h1><p>First.</p></body></html>",
        "<html><body><h1>Two</h1><figure><img src='../text/p.png' alt=''/><figcaption>A lake</figcaption></figure>"
        "<img src='http://x/a.png'/><p>Second.</p></body></html>",
    ]
    parsed = reading("a.epub", epub(*chapters, pictures={"p.png": encoded(photo())}))
    assert texts(parsed) == [("One", "First."), ("Two", "A lake\n\nSecond.")]
    assert [item.text for item in figures(parsed)] == ["A lake"] and parsed.document.title == "The book"
    with pytest.raises(ReadError, match="DRM"):
        reading("b.epub", epub(*chapters, locked=True))


def test_open_documents(reading: Reader) -> None:
    body = (
        '<text:h text:outline-level="1">Pumps</text:h><text:p>The seal<text:s/>is<text:line-break/>blue.</text:p>'
        '<text:p><draw:frame><draw:image xlink:href="Pictures/p.png"/><svg:desc>A pump</svg:desc></draw:frame></text:p>'
        "<text:list><text:list-item><text:p>one</text:p></text:list-item></text:list>"
        "<table:table><table:table-row><table:table-cell><text:p>a</text:p></table:table-cell>"
        '<table:table-cell table:number-columns-repeated="2"><text:p>b</text:p></table:table-cell></table:table-row>'
        "<table:table-row><table:table-cell><text:p>c</text:p></table:table-cell></table:table-row></table:table>"
    )
    parsed = reading("a.odt", odt(body, {"p.png": encoded(photo())}))
    assert texts(parsed) == [
        ("Pumps", "The seal is\nblue.\n\n- one"),
        ("Pumps", "| a | b | b |\n|---|---|---|\n| c |  |  |"),
    ]
    assert [item.text for item in figures(parsed)] == ["A pump"] and parsed.document.title == "The text"


def test_rich_text(reading: Reader) -> None:
    digits = encoded(photo(40, 30)).hex()
    text = (
        r"{\rtf1\ansi{\info{\title The letter}}Hello \b world\b0 .\par {\pict\pngblip\picw40 " + digits + r"}\par Bye.}"
    )
    parsed = reading("a.rtf", text.encode())
    assert "Hello world" in (parsed.items[0].text or "") and "Bye." in (parsed.items[0].text or "")
    assert len(figures(parsed)) == 1 and parsed.document.title == "The letter"


def test_notebooks_with_outputs(reading: Reader) -> None:
    picture = base64.b64encode(encoded(photo())).decode()
    cells = [
        {"cell_type": "markdown", "source": ["# Loss\n", "![a curve](attachment:c.png)"],
         "attachments": {"c.png": {"image/png": base64.b64encode(encoded(photo(seed=1))).decode()}}},
        {"cell_type": "code", "source": "plot(loss)", "outputs": [
            {"output_type": "stream", "text": ["falling\n"]},
            {"output_type": "display_data", "data": {"image/png": picture, "text/plain": "<Figure>"}},
            {"output_type": "error", "ename": "ValueError", "evalue": "no more"}]},
    ]  # fmt: skip
    parsed = reading("a.ipynb", json.dumps({"cells": cells, "nbformat": 4}).encode())
    text = " ".join(item.text or "" for item in parsed.items)
    assert "plot(loss)" in text and "falling" in text and "ValueError: no more" in text and "<Figure>" not in text
    assert [item.text for item in figures(parsed)] == ["a curve", "output of cell 2"]
    assert {item.title for item in parsed.items} == {"Loss"}
    with pytest.raises(ReadError, match="damaged notebook"):
        reading("b.ipynb", b'{"cells": 3}')


def letter(**more: str) -> EmailMessage:
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = "The blue seal", "ann@example.org", "bob@example.org"
    message.set_content(more.get("plain", "It is in the box."))
    return message


def test_mail_with_attachments(reading: Reader) -> None:
    message = letter()
    message.add_attachment(
        pdf(Page([(50, 700, 12, "The manual says so.")])), "application", "pdf", filename="manual.pdf"
    )
    inner = letter(plain="A forwarded word.")
    message.add_attachment(inner)
    message.add_attachment(packed({"notes/a.txt": "In the archive."}), "application", "zip", filename="all.zip")
    parsed = reading("a.eml", bytes(message))
    assert parsed.document.title == "The blue seal"
    assert [(item.span.member, item.span.page) for item in parsed.items] == [
        (None, None), ("manual.pdf", 1), ("forwarded 2.eml", None), ("all.zip > notes/a.txt", None),
    ]  # fmt: skip
    assert "From: ann@example.org" in (parsed.items[0].text or "") and "in the box" in (parsed.items[0].text or "")
    assert parsed.items[1].title == "manual.pdf" and parsed.items[3].title == "all.zip > a.txt"
    assert len({item.id for item in parsed.items}) == 4


def test_pages_in_mail_show_their_own_pictures_only(reading: Reader) -> None:
    message = letter()
    page = "<p>Look:</p><img src='cid:pump' alt='The pump'><img src='https://example.org/spy.png'>"
    message.add_alternative(page, subtype="html")
    message.get_payload()[1].add_related(encoded(photo()), "image", "png", cid="<pump>")
    parsed = reading("a.eml", bytes(message))
    assert [item.text for item in figures(parsed)] == ["The pump"]
    assert parsed.document.status == "ok"


@pytest.mark.data
def test_outlook_mail(options: ReadOptions) -> None:
    parsed = read(data("office") / "fake-email-attachment.msg", options)
    assert parsed.document.title == "Fake email with attachment"
    assert parsed.items[1].span.member == "fake-attachment.txt" and "fake attachment" in (parsed.items[1].text or "")


def test_archives_are_read_within_bounds(reading: Reader) -> None:
    inside = {
        "b/page.html": "<h1>Page</h1><p>Words.</p><img src='../../secret.png'>",
        "../../evil.txt": "Names are only names.",
        ".hidden.txt": "no", "__MACOSX/a.txt": "no", "tool.exe": b"MZ\0\0\1\2", "empty.txt": "",
        "p.png": encoded(photo()),
    }  # fmt: skip
    parsed = reading("a.zip", packed(inside))
    assert [item.span.member for item in parsed.items] == ["../../evil.txt", "b/page.html", "p.png"]
    assert parsed.items[1].title == "page.html > Page"
    assert parsed.document.error == "files inside it whose type is not read: .exe"
    deep: bytes = b"The end."
    name = "a.txt"
    for level in range(5):
        deep, name = packed({name: deep}), f"{level}.zip"
    parsed = reading("deep.zip", deep)
    assert parsed.items == () and "nested inside 3 other files" in (parsed.document.error or "")


def test_bombs_are_refused(tmp_path: Path, options: ReadOptions) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("zeros.txt", b"0" * 50_000_000)
        package.writestr("good.txt", "Words.")
    (tmp_path / "a.zip").write_bytes(out.getvalue())
    parsed = read(tmp_path / "a.zip", options)
    assert [item.text for item in parsed.items] == ["Words."] and "400 times its size" in (parsed.document.error or "")
    small = ReadOptions(options.tokenizer, 256, max_bytes=100_000)
    (tmp_path / "b.zip").write_bytes(packed({f"{n:03}.txt": bytes([65 + n % 26] * 3000) for n in range(100)}))
    parsed = read(tmp_path / "b.zip", small)
    assert 20 < len({item.span.member for item in parsed.items}) < 40
    assert "larger than the limit on unpacked data" in (parsed.document.error or "")


def test_entities_are_not_resolved(tmp_path: Path, options: ReadOptions) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret")
    for number, entity in enumerate((f'SYSTEM "{secret.as_uri()}"', f'"{"ha" * 100}"')):
        path = tmp_path / f"{number}.docx"
        body = f"<!DOCTYPE d [<!ENTITY e {entity}>]><document><body><p><r><t>&e;</t></r></p></body></document>"
        path.write_bytes(packed({"word/document.xml": body}))
        with pytest.raises(ReadError, match="declares XML entities"):
            read(path, options)


def test_broken_office_files_say_why(reading: Reader) -> None:
    intact = docx(paragraph("Words."))
    for name, content, words in (
        ("a.docx", intact[: len(intact) // 2], "parts cannot be listed"),
        ("b.docx", packed({"a.txt": "x"}), "without its part word/document.xml"),
        ("c.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "password"),
        ("d.xlsx", packed({"a.txt": "x"}), "workbook that cannot be opened"),
        ("e.epub", packed({"a.txt": "x"}), "META-INF/container.xml"),
        ("f.odt", packed({"content.xml": "<a>"}), "not well-formed XML"),
        ("g.msg", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "Outlook"),
    ):
        with pytest.raises(ReadError, match=words) as caught:
            reading(name, content)
        assert "\n" not in str(caught.value) and ";" in str(caught.value)


def test_packages_are_detected_by_content(tmp_path: Path) -> None:
    for name, content, kind in (
        ("a", docx(paragraph("x")), "wordprocessingml.document"),
        ("b", pptx((shape("x"), "")), "presentationml.presentation"),
        ("c", xlsx(A=[["x"]]), "spreadsheetml.sheet"),
        ("d", epub("x"), "application/epub+zip"),
        ("e.bin", packed({"a.txt": "x"}), "application/zip"),
        ("f.txt", rb"{\rtf1 x}", "text/rtf"),
        ("g.txt", b"<!DOCTYPE html><p>x", "text/html"),
    ):
        (tmp_path / name).write_bytes(content)
        assert (media_type(tmp_path / name) or "").endswith(kind)


def test_deeply_nested_parts_are_refused(reading: Reader) -> None:
    deep = docx("<w:smartTag>" * 5000 + paragraph("x") + "</w:smartTag>" * 5000)
    with pytest.raises(ReadError, match="nested too deeply"):
        reading("a.docx", deep)
    parsed = reading("a.zip", packed({"deep.docx": deep, "good.txt": "Words."}))
    assert [item.text for item in parsed.items] == ["Words."] and "nested too deeply" in (parsed.document.error or "")


def test_a_page_saved_as_one_file(reading: Reader) -> None:
    page = (
        "<html><body><nav>Menu</nav><main><h1>Pumps</h1><p>Blue.</p><img src='https://x.org/p.png' alt='A pump'></main>"
    )
    message = EmailMessage()
    message["From"], message["Subject"] = "<Saved by a browser>", "Pumps and seals"
    message["Snapshot-Content-Location"] = "https://x.org/"
    message.set_content(page, subtype="html")
    message.add_related(encoded(photo()), "image", "png", headers=["Content-Location: https://x.org/p.png"])
    parsed = reading("a.mhtml", bytes(message))
    assert texts(parsed) == [("Pumps and seals > Pumps", "Blue.")]
    assert [item.text for item in figures(parsed)] == ["A pump"] and parsed.document.title == "Pumps and seals"
