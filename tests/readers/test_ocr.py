"""OCR of screenshots, scans and pages without text, each line with its box; and the reading order."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

import commonplace as cp
from commonplace.ingest.workers import MEMORY_SETTINGS
from commonplace.readers import ReadOptions, ocr, read
from commonplace.readers.order import reading_order
from commonplace.types import captions
from tests.readers.make import Page, encoded, pdf, photo
from tests.readers.make_office import docx, drawing, paragraph

TEXT = (
    "The blue seal belongs to the inner pump.",
    "Change it every two years, or when it leaks.",
    "Order number 4711 in the spring catalogue.",
)


def printed_page(*lines: str, size: int = 28, width: int = 900, height: int = 600) -> Image.Image:
    """Return a page with lines of print, 60 pixels apart."""
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        draw.text((60, 60 + 60 * number), line, fill="black", font=ImageFont.load_default(size))
    return image


@pytest.fixture
def ocr_options(options: ReadOptions) -> ReadOptions:
    return replace(options, ocr_seconds=600.0)


def test_long_text_is_a_text_block_with_boxes(tmp_path: Path, ocr_options: ReadOptions, options: ReadOptions) -> None:
    path = tmp_path / "screen.png"
    printed_page(*TEXT).save(path)
    picture = next(item for item in read(path, ocr_options).items if item.modality == "image")
    (passage,) = (item for item in read(path, ocr_options).items if item.modality == "text")
    assert (
        "blue seal" in (passage.text or "") and "4711" in (passage.text or "") and "blue seal" in (picture.text or "")
    )
    left, top, right, bottom = passage.span.box or (0, 0, 0, 0)
    assert left == pytest.approx(60 / 900, abs=0.02) and top == pytest.approx(65 / 600, abs=0.03)
    assert right < 0.8 and bottom == pytest.approx(215 / 600, abs=0.04)
    assert [item.text for item in read(path, options).items] == [None]  # not asked for


def test_a_few_words_are_the_text_of_the_picture(tmp_path: Path, ocr_options: ReadOptions) -> None:
    path = tmp_path / "sign.png"
    printed_page("Way out", size=60, width=400, height=200).save(path)
    (item,) = read(path, ocr_options).items
    assert item.modality == "image" and item.text == "Way out" and item.span.ocr_start == 0


def test_a_picture_without_a_caption_is_shown_with_the_words_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COMMONPLACE_OCR")
    (tmp_path / "docs").mkdir()
    printed_page("Way out", size=60, width=400, height=200).save(tmp_path / "docs" / "sign.png")
    with cp.open(tmp_path / "kb") as kb:
        kb.add(tmp_path / "docs", progress=False)
        (block,) = kb.ask("show me the way out").blocks
    assert (block.kind, block.text, block.origin) == ("image", "Way out", "words")
    assert block.shown == "Way out (words read in the picture)"


def test_ocr_text_follows_the_caption_and_is_marked(tmp_path: Path, ocr_options: ReadOptions) -> None:
    printed_page("Way out", size=60, width=400, height=200).save(tmp_path / "sign.png")
    (tmp_path / "a.md").write_text("![A sign by the door](sign.png)\n", encoding="utf-8")
    picture = next(item for item in read(tmp_path / "a.md", ocr_options).items if item.modality == "image")
    assert picture.text == "A sign by the door. Way out"
    assert captions(picture) == ("A sign by the door", "Way out")


_GROWTH = """
import sys
from pathlib import Path
import numpy as np
from PIL import Image
from commonplace.readers import ocr
assert ocr._detect_lines(np.asarray(Image.open(sys.argv[1])))  # loads the models
recognise, sizes = ocr._engine().text_rec.session, []
for width in range(320, 640, 16):
    recognise(np.zeros((2, 3, 48, width), np.float32))
    sizes.append(int(Path("/proc/self/statm").read_text().split()[0]) * 4096 // 2**20)
print(sizes[-1] - sizes[1])
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_lines_of_every_width_leave_no_kernels_behind(tmp_path: Path) -> None:
    """Cached kernels of 20 line widths take half a gigabyte of address space, so 50 pictures filled a worker."""
    printed_page("Way out", size=60, width=400, height=200).save(tmp_path / "sign.png")
    command = [sys.executable, "-c", _GROWTH, str(tmp_path / "sign.png")]
    done = subprocess.run(command, env={**os.environ, **MEMORY_SETTINGS}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 200


def test_photographs_without_text_have_no_ocr_text(
    tmp_path: Path, ocr_options: ReadOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "photo.png"
    grain = np.random.default_rng(0).integers(0, 20, (300, 400, 3)).astype(np.uint8)
    Image.fromarray(np.asarray(photo(400, 300)) // 2 + grain).save(path)
    monkeypatch.setattr(ocr, "SIDE", None)  # the second look would fail
    assert [item.text for item in read(path, ocr_options).items] == [None]


def test_a_scanned_page_is_found_by_its_words(tmp_path: Path, ocr_options: ReadOptions) -> None:
    path = tmp_path / "scan.pdf"
    scan = printed_page(*TEXT, size=20, width=600, height=800)
    path.write_bytes(pdf(Page([(60, 700, 12, "A page with text.")]), Page(pictures=[(0, 0, 600, 800, scan)])))
    first, passage, picture = read(path, ocr_options).items
    assert first.span.page == 1 and passage.span.page == 2 and "Order number 4711" in (passage.text or "")
    assert passage.span.box is not None and passage.span.box[1] == pytest.approx(66 / 800, abs=0.02)
    assert picture.modality == "image" and picture.span.box == (0, 0, 1, 1)


LINES = (
    "and was recovered by Ward, who returned it five yards to the Panthers 4-yard line. Although",
    "several players dove into the pile to attempt to recover it, Newton did not and his lack of",
    "aggression later earned him heavy criticism. Meanwhile, Denver's offense was kept out of the",
    "end zone for three plays, but a holding penalty on cornerback Josh Norman gave the",
)


def test_long_lines_of_a_scan_are_read_also_upside_down(tmp_path: Path, ocr_options: ReadOptions) -> None:
    """A classifier of single lines turned some of them upside down, and they were read as a few random letters."""
    page = printed_page(*LINES, size=24, width=1240, height=500)
    for name, image in (("upright", page), ("turned", page.transpose(Image.Transpose.ROTATE_180))):
        image.save(tmp_path / f"{name}.png")
        (passage,) = (i for i in read(tmp_path / f"{name}.png", ocr_options).items if i.modality == "text")
        expected, words = " ".join(LINES).split(), set((passage.text or "").split())
        assert sum(word in words for word in expected) > 0.95 * len(expected), passage.text
        assert passage.span.box is not None and (passage.span.box[1] < 0.2) is (name == "upright")


def test_a_scan_on_its_side_is_read_in_order(tmp_path: Path, ocr_options: ReadOptions) -> None:
    """Each line was read, but the last one first; upside down the lines came backwards too."""
    page = printed_page(*LINES, size=24, width=1240, height=500)
    page.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "left.png")
    (passage,) = (i for i in read(tmp_path / "left.png", ocr_options).items if i.modality == "text")
    words, expected = (passage.text or "").split(), " ".join(LINES).split()
    assert words[:3] == expected[:3] and expected[-1] in words[-3:]
    assert passage.span.box is not None and passage.span.box[0] < 0.2  # the first line stands at the left


def test_ocr_text_of_an_embedded_picture_is_a_member(tmp_path: Path, ocr_options: ReadOptions) -> None:
    path = tmp_path / "a.docx"
    body = paragraph("Body.", inside=drawing("r1", "A note")) + paragraph("More.")
    path.write_bytes(docx(body, {"note.png": encoded(printed_page(*TEXT))}))
    items = read(path, ocr_options).items
    assert [item.span.member for item in items] == [None, None, "note.png 1"]
    assert (items[1].text or "").startswith("A note. The blue seal") and "4711" in (items[2].text or "")


def test_when_time_runs_out_it_is_reported(tmp_path: Path, ocr_options: ReadOptions) -> None:
    path = tmp_path / "scan.pdf"
    scan = printed_page(*TEXT, size=20, width=600, height=800)
    page = Page(pictures=[(0, 0, 600, 800, scan)])
    path.write_bytes(pdf(page, page))
    reading = read(path, replace(ocr_options, ocr_seconds=1e-6))
    assert {item.span.page for item in reading.items if item.modality == "text"} == {1}
    assert "time ran out" in (reading.document.error or "")


def column(left: float, right: float, top: float, count: int) -> list[tuple[float, float, float, float]]:
    return [(left, top + 0.03 * n, right, top + 0.03 * n + 0.02) for n in range(count)]


def test_columns_are_read_one_after_the_other() -> None:
    title, foot = [(0.1, 0.02, 0.9, 0.05)], [(0.1, 0.95, 0.9, 0.97)]
    left, right = column(0.1, 0.47, 0.1, 20), column(0.53, 0.9, 0.11, 20)
    boxes = title + left + right + foot
    shuffled = np.random.default_rng(0).permutation(len(boxes))
    assert [int(shuffled[at]) for at in reading_order([boxes[at] for at in shuffled])] == list(range(len(boxes)))


def test_lines_in_one_row_go_from_left_to_right() -> None:
    boxes = [(0.6, 0.101, 0.7, 0.12), (0.1, 0.1, 0.2, 0.121), (0.1, 0.2, 0.9, 0.22)]
    assert reading_order(boxes) == [1, 0, 2]


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)  # a busy machine
@given(st.lists(st.tuples(*[st.floats(0, 1)] * 4), max_size=40))
def test_each_line_is_read_once(corners: list[tuple[float, float, float, float]]) -> None:
    boxes = [(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in corners]
    assert sorted(reading_order(boxes)) == list(range(len(boxes)))
