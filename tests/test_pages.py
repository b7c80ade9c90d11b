"""The cited box is drawn around the words: on the page of the file, or on the stored picture if the file is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

import commonplace as cp
from commonplace.readers import are_readable
from tests.readers.make import Page, encoded, pdf, photo
from tests.readers.make_office import packed

INK = np.array((214, 39, 40))
WORDS = "The north pump needs the blue seal every spring."


def framed(view: cp.PageView) -> tuple[float, float, float, float]:
    """Return the box around the pixels that have the line's colour."""
    down, across = np.nonzero(np.abs(view.pixels.astype(int) - INK).max(axis=2) < 60)
    height, width = view.pixels.shape[:2]
    return across.min() / width, down.min() / height, (across.max() + 1) / width, (down.max() + 1) / height


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    top = Page(lines=[(60, 700, 14, WORDS)])
    low = Page(lines=[(60, 120, 14, "The south pump has a brass valve.")], pictures=[(200, 300, 200, 150, photo())])
    (tmp_path / "in" / "pumps.pdf").write_bytes(pdf(top, low))
    return tmp_path


@pytest.fixture
def kb(place: Path) -> cp.Collection:
    collection = cp.open(place / "kb")
    assert not collection.add(place / "in", ocr=False).failed
    return collection


def test_the_box_of_a_passage_is_drawn_on_its_page(kb: cp.Collection) -> None:
    for words, page in (("north pump blue seal", 1), ("south pump brass valve", 2)):
        hit = kb.search(words, modality="text", k=1)[0]
        view = kb.page(hit)
        assert hit.item.span.page == page and view.box == hit.item.span.box and view.note is None
        assert max(view.pixels.shape) == pytest.approx(1600, abs=2)
        assert framed(view) == pytest.approx(view.box, abs=0.012)
        inside = slice(*(round(edge * view.pixels.shape[0]) for edge in (view.box[1], view.box[3])))  # type: ignore[index]
        assert view.pixels[inside].min() < 60  # the box contains the words
    answer = kb.ask("Which seal does the north pump need?")
    assert framed(kb.page(answer.citations[0], side=400))


def test_a_moved_file_is_found_by_its_bytes_and_a_changed_one_is_not_drawn(kb: cp.Collection, place: Path) -> None:
    hit = kb.search("north pump blue seal", modality="text", k=1)[0]
    figure = next(item for item in kb.items(hit.item.document) if item.picture)
    file = place / "in" / "pumps.pdf"
    copy = place / "copy.pdf"
    copy.write_bytes(file.read_bytes())
    kb.add(copy, ocr=False)
    file.unlink()
    assert kb.page(hit).note is None  # the copy is the same page
    copy.unlink()
    with pytest.raises(cp.ReadError, match="missing, and the collection has no stored picture"):
        kb.page(hit)
    view = kb.page(figure)
    assert view.note and "missing" in view.note and max(view.pixels.shape) <= 320 and view.box is None
    file.write_bytes(pdf(Page(lines=[(60, 700, 14, "Another page.")])))
    with pytest.raises(cp.ReadError, match="changed since: add it again"):
        kb.page(hit)
    file.write_bytes(b"%PDF-1.4 damaged")
    with pytest.raises(cp.ReadError, match="cannot be drawn: a damaged PDF"):
        kb.page(hit)


@pytest.mark.skipif(not are_readable(), reason="needs the extra ocr")
def test_words_of_a_scan_are_framed_in_the_stored_page_without_the_file(tmp_path: Path) -> None:
    scan = Image.new("RGB", (1200, 1600), "white")
    pen = ImageDraw.Draw(scan)
    for number in range(4):
        pen.text((100, 1000 + 60 * number), "The north pump needs the blue seal in spring", fill="black", font_size=40)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "scan.pdf").write_bytes(pdf(Page(pictures=[(0, 0, 600, 800, scan)])))
    scan.save(tmp_path / "in" / "scan.png")
    with cp.open(tmp_path / "kb") as kb:
        kb.add(tmp_path / "in", ocr=True)
        for name in ("scan.pdf", "scan.png"):
            hit = kb.search("north pump", modality="text", path=name, k=1)[0]
            view = kb.page(hit)
            assert view.note is None and framed(view) == pytest.approx(hit.item.span.box, abs=0.012)
            assert view.box is not None and view.box[1] > 0.6
            (tmp_path / "in" / name).unlink()
            view = kb.page(hit)
            assert view.note and max(view.pixels.shape) <= 320
            assert framed(view) == pytest.approx(hit.item.span.box, abs=0.03)


def test_an_item_without_a_page_raises_an_error(kb: cp.Collection, place: Path) -> None:
    (place / "in" / "notes.txt").write_text("Notes on the east pump.")
    (place / "in" / "all.zip").write_bytes(packed({"east.pdf": pdf(Page(lines=[(60, 700, 14, "East valve, iron.")]))}))
    (place / "in" / "photo.jpg").write_bytes(encoded(photo(), "JPEG"))
    kb.add(place / "in", ocr=False)
    for name, why in (("notes.txt", "only pages of PDF"), ("all.zip", r"item is in east\.pdf")):
        with pytest.raises(cp.ReadError, match=why):
            kb.page(kb.search("east", path=name, k=1)[0])
    photograph = kb.page(kb.search("a photo", path="photo.jpg", k=1)[0])
    assert photograph.note is None and photograph.box is None and photograph.pixels.shape == (90, 120, 3)
    with pytest.raises(cp.QueryError, match="side"):
        kb.page("x", side=9)
    for wrong in ("no-such-id", str(place / "in" / "notes.txt")):
        with pytest.raises(cp.CollectionError):
            kb.page(wrong)
    with pytest.raises(cp.CommonplaceError, match="cannot be written"):
        photograph.save(place / "nowhere" / "a.png")
    (place / "mine.xbm").write_text("mine")
    for name in ("a.xyz", "mine.xbm", "a.pdf"):
        with pytest.raises(cp.CommonplaceError, match=r"use \.png"):
            photograph.save(place / name)
    assert (place / "mine.xbm").read_text() == "mine" and not (place / "a.pdf").exists()


def test_show_prints_items_and_writes_the_page(kb: cp.Collection, place: Path) -> None:
    import json

    kb.close()

    def run(*words: object, ok: bool = True) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "commonplace", "--collection", "kb", "show", *map(str, words)],
            cwd=place, capture_output=True, text=True,
        )  # fmt: skip
        assert (done.returncode == 0) is ok, done.stderr
        return done.stdout + done.stderr

    shown = json.loads(run("in/pumps.pdf", "--json"))
    assert shown["document"]["metadata"]["dated"] == "file" and len(shown["items"]) == 3
    id_ = next(item["id"] for item in shown["items"] if WORDS in (item["text"] or ""))
    assert id_ in run("in/pumps.pdf") and "dated       file" in run("in")  # the one document below it
    out = run(id_, "--page", "out.png")
    assert WORDS in out.replace("\n            ", " ") and "no box" not in out
    assert max(Image.open(place / "out.png").size) == pytest.approx(1600, abs=2)
    assert "name an item of" in run("in/pumps.pdf", "--page", "b.png", ok=False)
    values = place / "in" / "pumps.pdf"
    before = values.read_bytes()
    assert "is a document of the collection" in run(id_, "--page", values, ok=False) and values.read_bytes() == before
    assert "see `commonplace list`" in run("nothing", ok=False)
    figure = next(item["id"] for item in shown["items"] if item["modality"] == "image")
    assert "no box" not in run(figure, "--page", "figure.png")
    (place / "in" / "photo.jpg").write_bytes(encoded(photo(), "JPEG"))
    with cp.open(place / "kb") as kb:
        kb.add(place / "in" / "photo.jpg", ocr=False)
    (picture,) = json.loads(run("in/photo.jpg", "--json"))["items"]
    assert "no box is drawn" in run(picture["id"], "--page", "photo.png") and (place / "photo.png").is_file()
