"""SVG drawings: their words, their picture, and nothing outside them."""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commonplace.errors import ReadError
from commonplace.readers import ParsedDocument
from commonplace.readers.formats import sniff
from commonplace.readers.svg import draw_svg
from tests.readers.make import encoded

Reader = Callable[[str, "str | bytes"], ParsedDocument]

HEAD = '<?xml version="1.0"?>\n<!-- drawn by hand -->\n<svg xmlns="http://www.w3.org/2000/svg" '
CHART = (
    HEAD + 'xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 200 100"><title>Rainfall in Bergen</title>'
    '<style>.bar{fill:#c02020} @import url(http://example.org/a.css);</style><script>alert("never")</script>'
    '<rect class="bar" x="0" y="0" width="100" height="100"><title>January: 230 mm</title></rect>'
    '<text x="10" y="20">Millimetres <tspan>a month</tspan><tspan x="10" dy="12">since 1990</tspan></text></svg>'
)


def test_words_are_read_without_what_draws(monkeypatch: pytest.MonkeyPatch, reading: Reader) -> None:
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    parsed = reading("chart.svg", CHART)
    assert parsed.document.media_type == "image/svg+xml" and parsed.document.title == "Rainfall in Bergen"
    assert parsed.document.status == "partial" and "needs the extra svg" in (parsed.document.error or "")
    text = "\n".join(item.text or "" for item in parsed.items)
    assert text == "Rainfall in Bergen\n\nJanuary: 230 mm\nMillimetres a month\nsince 1990" and "never" not in text
    with pytest.raises(ReadError, match="needs the extra svg"):
        reading("bare.svg", HEAD + 'viewBox="0 0 9 9"><rect width="9" height="9"/></svg>')


@pytest.mark.parametrize("head", [HEAD, "\ufeff<!DOCTYPE svg PUBLIC 'a' 'b'><svg>", "<svg:svg xmlns:svg='a'>"])
def test_a_drawing_is_recognised_by_its_beginning(head: str) -> None:
    assert sniff(head.encode(), "") == sniff(head.encode(), "a.xml") == "image/svg+xml"
    assert sniff(b"<feed><svg>", "a.xml") == "application/xml" and sniff(b"I drew an <svg>", "a.txt") == "text/plain"


def test_entities_are_refused(reading: Reader) -> None:
    with pytest.raises(ReadError, match="declares XML entities"):
        reading(
            "a.svg", '<!DOCTYPE svg [<!ENTITY a "b">]><svg xmlns="http://www.w3.org/2000/svg"><text>&a;</text></svg>'
        )


class TestDrawn:
    @pytest.fixture(autouse=True)
    def resvg(self) -> None:
        pytest.importorskip("resvg_py", reason="needs the extra svg")

    def test_a_picture_with_its_title_and_words(self, reading: Reader) -> None:
        parsed = reading("chart.svg", CHART)
        (item,) = parsed.items
        assert item.modality == "image" and parsed.document.status == "ok"
        assert item.text == "Rainfall in Bergen. January: 230 mm Millimetres a month since 1990"
        (picture,) = parsed.pictures.values()
        assert picture.pixels.shape == (320, 640, 3) and picture.pixels[300, 20].tolist() == [192, 32, 32]
        assert picture.pixels[300, 600].tolist() == [255, 255, 255]

    def test_no_other_file_is_read(self, tmp_path: Path) -> None:
        red = tmp_path / "red.png"
        red.write_bytes(encoded(Image.new("RGB", (20, 20), (250, 0, 0))))
        inside = base64.b64encode(red.read_bytes()).decode()
        drawing = HEAD + 'viewBox="0 0 10 10"><image href="{}" width="10" height="10"/></svg>'
        for link in (
            str(red),
            red.as_uri(),
            "red.png",
            "data:image/svg+xml;base64,PHN2Zy8+",
            "http://127.0.0.1:9/a.png",
        ):
            assert np.asarray(draw_svg(drawing.format(link).encode(), 10))[..., 3].max() == 0
        shown = draw_svg(drawing.format(f"data:image/png;base64,{inside}").encode(), 10)
        assert np.asarray(shown)[5, 5].tolist() == [250, 0, 0, 255]

    @pytest.mark.parametrize("link", ['<use href="#{}"/>', '<rect width="1" height="1" fill="url(#{})"/>'])
    def test_endless_repetition_is_refused(self, link: str) -> None:
        kind = "g" if "use" in link else "pattern"
        parts = "".join(f'<{kind} id="p{n}">{link.format(f"p{n + 1}") * 10}</{kind}>' for n in range(9))
        with pytest.raises(ReadError, match="too many parts"):
            draw_svg(f'{HEAD}viewBox="0 0 9 9">{parts}{link.format("p0")}</svg>'.encode())
        circle = '<g id="a"><use href="#a"/><use href="#b"/></g><g id="b"><use href="#a"/></g>'
        assert draw_svg(f'{HEAD}viewBox="0 0 9 9">{circle}</svg>'.encode(), 9).size == (9, 9)

    def test_deep_and_many_layers_are_refused(self) -> None:
        with pytest.raises(ReadError, match="nested too deeply"):
            draw_svg(f"{HEAD}>{'<g>' * 900}{'</g>' * 900}</svg>".encode())
        with pytest.raises(ReadError, match="too many parts"):
            draw_svg((HEAD + ">" + '<rect opacity=".5"/>' * 1100 + "</svg>").encode())

    @pytest.mark.parametrize(
        ("size", "drawn"),
        [
            ('width="1e9" height="5e8"', (100, 50)), ('width="100%" height="100%" viewBox="0 0 1 4"', (25, 100)),
            ("", (100, 50)), ('width="-3" height="x"', (100, 50)),
            ('viewBox="0,0,0,0" width="3in" height="3in"', (100, 100)),
            ('width="1" height="1e7"', (1, 100)), ('viewBox="0 0 nan 1"', (100, 50)),
        ],
    )  # fmt: skip
    def test_the_size_of_a_drawing_is_bounded(self, size: str, drawn: tuple[int, int]) -> None:
        assert draw_svg(f'{HEAD}{size}><rect width="9" height="9"/></svg>'.encode(), 100).size == drawn

    def test_damage_is_named(self) -> None:
        for content in (CHART[:-9], HEAD, '<svg xmlns="http://other.example/">' + "</svg>"):
            with pytest.raises(ReadError):
                draw_svg(content.encode())
