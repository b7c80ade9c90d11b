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


def page_text(folder: Path, options: ReadOptions, html: str) -> str:
    return "\n".join(text or "" for _, text in texts(page(folder, options, html)))


PROSE = "The ferry leaves the island at seven in the morning and comes back after the last train from the town. "


def test_what_stands_inside_the_main_content_is_kept_and_what_stands_around_is_not(
    tmp_path: Path, options: ReadOptions
) -> None:
    links = "".join(f"<li><a href='/{n}'>Another story about harbours {n}</a></li>" for n in range(6))
    html = f"""<body><header><a href=/>Harbour News</a></header><nav><ul>{links}</ul></nav>
      <div class="cookie-notice">We value your privacy.</div>
      <main><h1>Ferries</h1><p>{PROSE * 3}</p>
      <aside class="warning"><p>Bicycles travel on the lower deck.</p></aside>
      <div class="related-box"><p>The fare is nine crowns.</p></div>
      <details><summary>And in winter?</summary><p>There is one boat a day.</p></details>
      <ul><li><a href=a.pdf>Timetable</a></li><li><a href=b.pdf>Map</a></li><li><a href=c.pdf>Fares</a></li>
      <li><a href=d.pdf>Rules</a></li></ul>
      <h3>Read more</h3><ul>{links}</ul></main>
      <div class="sidebar"><ul>{links}</ul></div><footer>Imprint</footer></body>"""
    text = page_text(tmp_path, options, html)
    for kept in ("lower deck", "nine crowns", "one boat a day", "in winter", "Timetable"):
        assert kept in text
    for noise in ("privacy", "Another story", "Imprint", "Read more"):
        assert noise not in text


def test_comments_are_left_out_with_a_note_and_a_discussion_is_kept(tmp_path: Path, options: ReadOptions) -> None:
    comments = "".join(f"<li><p>{n}: {PROSE}</p></li>" for n in range(9))
    parsed = page(tmp_path, options, f"<div class=story><p>{PROSE * 6}</p></div><ol class=comment-list>{comments}</ol>")
    assert "8: The ferry" not in (parsed.items[-1].text or "") and "comments" in (parsed.document.error or "")
    parsed = page(tmp_path, options, f"<h1>Forum</h1><ol class=comment-list>{comments}</ol>")
    assert "8: The ferry" in (parsed.items[-1].text or "") and parsed.document.status == "ok"


def test_folded_panels_are_read_and_hidden_parts_are_not(tmp_path: Path, options: ReadOptions) -> None:
    html = (
        "<main><h1>Pool</h1><button aria-expanded=false aria-controls=a>When is it warm?</button>"
        "<div id=a hidden><p>On Fridays.</p></div>"
        "<h3><button>And the sauna?</button></h3><div style='display:none'><p>Daily from four.</p></div>"
        "<p>Open all year.</p><div style='display: none'>never</div><dialog>not open</dialog><p hidden>never</p>"
        "<button>Copy</button></main>"
    )
    parsed = texts(page(tmp_path, options, html))
    assert parsed == [
        ("Pool", "When is it warm?\n\nOn Fridays."),
        ("Pool > And the sauna?", "Daily from four.\n\nOpen all year."),
    ]


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("The lake holds 10<sup>7</sup> litres.", "The lake holds 10^7 litres."),
        ("It is 10<sup>-3</sup> or 2<sup>n+1</sup>.", "It is 10^-3 or 2^(n+1)."),
        ("In 2021<sup><a href='#n4'>4</a></sup> it rained.", "In 2021 [4] it rained."),
        ("On the 1<sup>st</sup> of May, CO<sub>2</sub> falls.", "On the 1st of May, CO2 falls."),
        ("Dampf&shy;schiff&#8203;fahrt", "Dampfschifffahrt"),
        ("电\n  梯的运行", "电梯的运行"),
        ("<ruby>北<rt>ほっ</rt>海<rt>かい</rt></ruby><ruby>道<rp>(</rp><rt>どう</rt><rp>)</rp></ruby>は広い。",
         "北海道は広い。\n北海道: ほっかいどう"),
        ("Turn <input value=30> degrees <input type=checkbox checked> slowly.", "Turn 30 degrees [x] slowly."),
        ("<img src=gone.png alt='Valve beside the pump'>", "[Valve beside the pump]"),
        (
            "Area <math><mi>A</mi><mo>=</mo><mi>π</mi><msup><mi>r</mi><mn>2</mn></msup></math>.",
            "Area A = πr^2 .",
        ),
        (
            "It is <span class=katex><math><mi>E</mi><annotation encoding='application/x-tex'>E = mc^2</annotation>"
            "</math><span class=katex-html aria-hidden=true>Emc2</span></span>!",
            "It is $E = mc^2$ !",
        ),
        ("It is <script type='math/tex'>\\frac{a}{b}</script>.", "It is $\\frac{a}{b}$."),
    ],
)  # fmt: skip
def test_inline_elements(tmp_path: Path, options: ReadOptions, html: str, text: str) -> None:
    assert page_text(tmp_path, options, f"<p>{html}</p>") == text


def test_numbered_lists_definitions_and_code(tmp_path: Path, options: ReadOptions) -> None:
    html = (
        "<ol start=3><li>Open it<ol type=a><li>left</li><li>right</li></ol></li><li value=7>Close it</li></ol>"
        "<dl><dt>Stoker</dt><dd>tends the boiler</dd></dl>"
        "<table><tr><td class=linenos><pre>1\n2</pre></td><td><pre>a = 1\nb = 2</pre></td></tr></table>"
        "<pre>one = 1<br>two = 2<span class=line-number>9</span><div>three = 3</div></pre>"
    )
    assert page_text(tmp_path, options, html) == (
        "3. Open it\na. left\nb. right\n7. Close it\nStoker\n- tends the boiler\n\n"
        "```\na = 1\nb = 2\n```\n\n```\none = 1\ntwo = 2\nthree = 3\n```"
    )


def test_cells_with_blocks_and_tables_inside(tmp_path: Path, options: ReadOptions) -> None:
    html = (
        "<table><tr><th>Part<th>Notes</tr><tr><td><p>Valve</p><p>V-9</p></td><td><ul><li>brass</li><li>old</li></ul>"
        "</td></tr><tr><td>Tank</td><td><table><tr><td>top</td><td>2 m</td></tr><tr><td>base</td><td>3 m</td></tr>"
        "</table></td></tr></table>"
    )
    assert page_text(tmp_path, options, html) == (
        "| Part | Notes |\n|---|---|\n| Valve V-9 | - brass - old |\n| Tank | top, 2 m; base, 3 m |"
    )


def test_what_a_page_says_of_itself(tmp_path: Path, options: ReadOptions) -> None:
    html = (
        "<head><link rel=canonical href='https://example.org/ferry'><script type='application/ld+json'>"
        '{"@graph": [{"@type": "NewsArticle", "headline": "x", "datePublished": "2024-05-06T10:00:00Z",'
        ' "author": [{"name": "Ada Moor"}]}]}</script><script type="application/ld+json">{broken</script>'
        "</head><p>Text.</p>"
    )
    metadata = page(tmp_path, options, html).document.metadata
    assert metadata["url"] == "https://example.org/ferry" and metadata["author"] == ["Ada Moor"]
    assert str(metadata["created"]).startswith("2024-05-06")


def test_a_saved_page_with_its_frame_and_picture(tmp_path: Path, options: ReadOptions) -> None:
    picture = base64.b64encode(encoded(photo(seed=3))).decode()
    path = tmp_path / "page.mhtml"
    path.write_text(f"""From: <Saved by Blink>
Snapshot-Content-Location: https://example.org/crane/
Subject: Crane
MIME-Version: 1.0
Content-Type: multipart/related; type="text/html"; boundary="B"

--B
Content-Type: text/html; charset=iso-8859-9
Content-Transfer-Encoding: quoted-printable
Content-Location: https://example.org/crane/

<title>Crane</title><nav><a href=3D/>Home</a></nav>
<main><h1>Crane</h1><p>=DE=FDk 40 t</p><img src=3D"a.png" alt=3D"A crane">=
<iframe
 src=3D"cid:f@x"></iframe></main>
--B
Content-Type: text/html
Content-ID: <f@x>

<p>Call 771.</p>
--B
Content-Type: image/png
Content-Transfer-Encoding: base64
Content-Location: https://example.org/crane/a.png

{picture}
--B--
""")
    parsed = read(path, options)
    assert [text for _, text in texts(parsed)] == ["Şık 40 t\n\nCall 771."] and captions(parsed) == ["A crane"]
    assert parsed.document.metadata["url"] == "https://example.org/crane/" and parsed.document.title == "Crane"
