"""Web pages: the main content without boilerplate, tables, and pictures only from inside the root."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from commonplace.readers import ReadOptions, read
from commonplace.types import ParsedDocument
from tests.readers.make import encoded, photo


def page(folder: Path, options: ReadOptions, html: str | bytes, root: Path | None = None) -> ParsedDocument:
    path = folder / "page.html"
    path.write_bytes(html if isinstance(html, bytes) else html.encode())
    return read(path, options, root)


def texts(reading: ParsedDocument) -> list[tuple[str | None, str | None]]:
    return [(item.title, item.text) for item in reading.items if item.modality == "text"]


def captions(reading: ParsedDocument) -> list[str | None]:
    return [item.text for item in reading.items if item.modality == "image"]


def test_main_content_under_its_headings(tmp_path: Path, options: ReadOptions) -> None:
    html = """<!doctype html><html><head><title>The manual</title><style>p{}</style></head><body>
      <nav><a href=1>Home</a> <a href=2>Shop</a></nav><div class="cookie-banner">We use cookies.</div>
      <main><h1>Pumps</h1><p>The <b>seal</b> is&nbsp;blue.<br>Always.</p>
      <h2>Parts</h2><ul><li>inner <ul><li>deep</li></ul></li><li>outer</li></ul>
      <pre>  code
    kept</pre><script>alert(1)</script><p hidden>never</p><p style="display: none">never</p></main>
      <footer>All rights reserved.</footer></body></html>"""
    parsed = page(tmp_path, options, html)
    assert parsed.document.title == "The manual"
    assert texts(parsed) == [
        ("Pumps", "The seal is blue.\nAlways."),
        ("Pumps > Parts", "- inner\n- deep\n- outer\n\n```\n  code\n    kept\n```"),
    ]


def test_a_page_that_is_only_a_menu_is_read(tmp_path: Path, options: ReadOptions) -> None:
    html = "<nav><ul>" + "".join(f"<li><a href='{n}'>Chapter {n}</a></li>" for n in range(9)) + "</ul></nav><p>Toc</p>"
    assert "Chapter 8" in (page(tmp_path, options, html).items[0].text or "")


def test_tables_keep_rows_and_layout_tables_do_not_count(tmp_path: Path, options: ReadOptions) -> None:
    html = (
        "<table><caption>Seals</caption><tr><th>Name<th>Size<th>Colour</tr>"
        "<tr><td rowspan=2>inner<td colspan=2>any|thing</tr><tr><td>2<td>red</tr></table>"
        "<table><tr><td><h2>Beside</h2><p>Words.</p></td><td><p>More.</p></td></tr></table>"
    )
    assert texts(page(tmp_path, options, html)) == [
        ("Seals", "| Name | Size | Colour |\n|---|---|---|\n| inner | any\\|thing |  |\n| inner | 2 | red |"),
        ("Beside", "Words.\n\nMore."),
    ]


def test_pictures_with_their_descriptions(tmp_path: Path, options: ReadOptions) -> None:
    (tmp_path / "page_files").mkdir()
    photo(seed=1).save(tmp_path / "page_files" / "dog.png")
    inline = base64.b64encode(encoded(photo(seed=2))).decode()
    html = (
        "<h1>Animals</h1><figure><img src='page_files/dog.png' alt='A dog'>"
        "<figcaption>Rex in spring</figcaption></figure>"
        f"<p>Text <img src='data:image/png;base64,{inline}' alt='image1.png'> goes on.</p>"
        "<img src='page_files/gone.png' alt='gone'><img src='https://example.org/spy.png'><img>"
    )
    parsed = page(tmp_path, options, html)
    assert captions(parsed) == ["A dog. Rex in spring", None]
    assert {item.title for item in parsed.items} == {"Animals"} and parsed.document.status == "ok"


def test_pictures_from_outside_the_root_are_not_shown(
    tmp_path: Path, options: ReadOptions, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "secret.png"
    photo().save(outside)
    html = f"<p>x</p><img src='{outside.as_uri()}'><img src='../{outside.parent.name}/secret.png'><img src='{outside}'>"
    parsed = page(tmp_path, options, html)
    assert captions(parsed) == [] and "outside the folder" in (parsed.document.error or "")


@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        ('<meta charset="gbk">', "gbk"),
        ('<meta http-equiv=Content-Type content="text/html; charset=iso-8859-1">', "cp1252"),
        ('<?xml version="1.0" encoding="shift_jis"?>', "shift_jis"),
        ("", "utf-16"),
        ('<meta charset="no-such-code">', "utf-8"),
    ],
)
def test_declared_encodings(tmp_path: Path, options: ReadOptions, head: str, encoding: str) -> None:
    words = "“Möwe” – 50 €" if encoding == "cp1252" else "日本語の文章です" if encoding != "gbk" else "中文的句子"
    parsed = page(tmp_path, options, f"{head}<html><body><p>{words}</p></body></html>".encode(encoding))
    assert parsed.items[0].text == words


def test_a_deeply_nested_page(tmp_path: Path, options: ReadOptions) -> None:
    parsed = page(tmp_path, options, "<div>" * 20_000 + "<p>deep words" + "<table><tr><td>" * 500 + "inner")
    assert "deep words" in (parsed.items[0].text or "")
