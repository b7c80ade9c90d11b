"""The demo: what each of its questions finds first is what was looked at by eye, and the page shows it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import commonplace as cp

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "examples"))

import demo  # noqa: E402
import demo_page  # noqa: E402


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "collection"


@pytest.fixture(scope="module")
def kb(place: Path) -> Iterator[cp.Collection]:
    with cp.open(place) as kb:
        report = kb.add(demo.LIBRARY, ocr=False, workers=1, progress=False)
        assert not report.failed
        yield kb


@pytest.fixture(scope="module")
def entries(kb: cp.Collection) -> list[Any]:
    return [demo.run(kb, question) for question in demo.QUESTIONS]


def first(entry: Any) -> cp.Hit:
    """Return the first hit of a search, the first cited one of an answer."""
    return entry.hits[0] if entry.answer is None else entry.answer.citations[0].hit


def test_the_first_hits_are_those_that_were_looked_at(entries: list[Any]) -> None:
    found = [Path(first(entry).item.document.path).name for entry in entries[:7]]
    assert found == [
        "chelsea.jpg",
        "china.jpg",
        "camera.jpg",
        "planets.pdf",
        "planets.pdf",
        "coffee.md",
        "爱莲说.md",
    ]


def test_no_hit_of_the_demo_is_a_stranger(entries: list[Any]) -> None:
    """What is shown below the first hit is right, too."""
    others = [[Path(hit.item.document.path).name for hit in entry.hits[1:]] for entry in entries]
    assert others == [[]] * 8


def test_the_answers_say_what_the_sources_say(entries: list[Any]) -> None:
    day, coffee, flower, nothing = (entries[number].answer for number in (3, 5, 6, 7))
    assert "24.7" in day.text and "[1]" in day.text and "4,222" not in day.text
    assert all(word in coffee.text for word in ("Bring fresh water", "Fold the seam", "Take the filter away"))
    assert "vinegar" not in coffee.text  # the steps of another section
    assert "菊" in flower.text
    assert nothing.abstained


def test_the_figure_is_a_picture_on_a_page(entries: list[Any]) -> None:
    hit = first(entries[4])
    assert hit.item.span.page == 1 and hit.image is not None and Path(hit.image).is_file()
    assert hit.item.text is not None and hit.item.text.startswith("Figure 1: The sizes of the planets")


def test_the_page_shows_everything_and_loads_nothing(kb: cp.Collection, entries: list[Any]) -> None:
    text = demo_page.page(kb, entries, demo.LIBRARY, "/")
    assert text.count("<article>") == 8
    assert not re.search(r"""(?:src|href)=["'](?!data:|/")""", text)
    assert "[1]" in text and "24.7" in text and str(ROOT) not in text


def test_words_of_documents_do_not_become_html(tmp_path: Path) -> None:
    (tmp_path / "note.md").write_text("# <b>Boats</b>\n\nThe red boat <script>alert(1)</script> lies in the harbour.\n")
    with cp.open(tmp_path / "kb") as kb:
        kb.add(tmp_path / "note.md", workers=1, progress=False)
        shown = [
            demo.run(kb, demo.Question("words", "red boat")),
            demo.run(kb, demo.Question("ask", "Where does the red boat lie?", ask=True)),
        ]
        text = demo_page.page(kb, shown, tmp_path, None)
    assert "harbour" in text and "<script" not in text and "<b>Boats" not in text


def test_the_page_stands_beside_the_program_in_the_browser(kb: cp.Collection, place: Path) -> None:
    pytest.importorskip("fastapi", reason="the server's packages (extra serve)")
    import httpx

    from tests.server.conftest import serving

    app = demo.server_app("<p>the page</p>", place, 0)
    with serving(app) as address, httpx.Client(base_url=address) as client:
        page = client.get("/demo")
        assert page.text == "<p>the page</p>"
        assert page.headers["content-security-policy"] == demo_page.POLICY  # the server's own would show no picture
        assert "text/html" in client.get("/").headers["content-type"]
        found = client.post("/v1/collections/demo/search", json={"query": "a cat looking at the camera", "k": 1})
        assert found.status_code == 200 and "chelsea.jpg" in found.text
