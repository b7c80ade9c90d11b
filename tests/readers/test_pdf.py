"""PDF: text with page, offsets and boxes; figures with captions; what is damaged or locked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pypdfium2
import pypdfium2.raw as raw
import pytest
from PIL import Image

from commonplace.errors import ReadError
from commonplace.readers import Quota, ReadOptions, read
from commonplace.types import Item, ParsedDocument
from tests.conftest import data
from tests.readers.make import Page, pdf, photo


def reading_of(folder: Path, options: ReadOptions, *pages: Page, title: str | None = None) -> ParsedDocument:
    path = folder / "file.pdf"
    path.write_bytes(pdf(*pages, title=title))
    return read(path, options)


def images(reading: ParsedDocument) -> list[Item]:
    return [item for item in reading.items if item.modality == "image"]


def lines(
    first: float, count: int, words: str = "A line of plain words that goes on", x: float = 60
) -> list[tuple[float, float, float, str]]:
    return [(x, first - 14 * n, 12, f"{words} {n}.") for n in range(count)]


def test_pages_boxes_and_offsets(tmp_path: Path, options: ReadOptions, count: Callable[[str], int]) -> None:
    reading = reading_of(tmp_path, options, Page(lines(760, 50)), Page(lines(400, 2, "Second page")), title="A Manual")
    assert reading.document.title == "A Manual" and reading.document.media_type == "application/pdf"
    assert [item.span.page for item in reading.items][-1] == 2
    first = [item for item in reading.items if item.span.page == 1]
    assert len(first) > 1
    ends = 0
    for item in reading.items:
        assert item.modality == "text" and item.text and count(item.text_view or "") <= options.max_tokens
        assert (item.span.end or 0) - (item.span.start or 0) == len(item.text)
        ends = max(ends, item.span.end or 0)
    # the chunks of a page are slices of one text, in order: laid out again they do not clash
    page = [" "] * ends
    for item in first:
        page[item.span.start : item.span.end] = item.text or ""
    assert "".join(page).split() == " ".join(words for *_, words in lines(760, 50)).split()
    # "Second page 0." has its baseline at 400 of 800 points, "1." 14 below it; x begins at 60 of 600
    left, top, right, bottom = reading.items[-1].span.box or (0, 0, 0, 0)
    assert left == pytest.approx(0.1, abs=0.005) and 0.2 < right < 0.3
    assert top == pytest.approx(1 - 410 / 800, abs=0.006) and bottom == pytest.approx(1 - 386 / 800, abs=0.006)


def test_boxes_follow_a_turned_page(tmp_path: Path, options: ReadOptions) -> None:
    # top left of the page as written is top right of the page as shown when turned by 90 degrees
    reading = reading_of(tmp_path, options, Page([(60, 740, 12, "Turned words")], rotate=90))
    left, top, right, bottom = reading.items[0].span.box or (0, 0, 0, 0)
    assert 0.9 < left < right < 0.97 and top == pytest.approx(0.1, abs=0.01) and 0.15 < bottom < 0.3


def test_figures_have_place_pixels_and_caption(tmp_path: Path, options: ReadOptions) -> None:
    first_photo, second_photo = photo(300, 200, 1), photo(200, 200, 2)
    page = Page(
        [
            *lines(780, 3),
            (100, 480, 10, "Figure 1: A pump with a blue seal."),
            (100, 466, 10, "It leaks."),
            *lines(400, 2),
        ],
        [(100, 500, 300, 200, first_photo), (100, 100, 150, 150, second_photo)],
    )
    reading = reading_of(tmp_path, options, page)
    first, second = images(reading)
    assert first.span.page == 1 and first.span.box == pytest.approx((1 / 6, 0.125, 4 / 6, 0.375), abs=0.002)
    assert first.text == "Figure 1: A pump with a blue seal. It leaks."
    assert second.span.box == pytest.approx((1 / 6, 0.6875, 250 / 600, 0.875), abs=0.002)
    assert second.text is None
    picture = reading.pictures[first.picture or ""]
    assert (picture.width, picture.height) == (300, 200)
    shown = Image.fromarray(picture.pixels).resize((30, 20))
    assert np.abs(np.asarray(shown, int) - np.asarray(first_photo.resize((30, 20)), int)).mean() < 4


def test_strips_are_one_figure_and_rules_are_none(tmp_path: Path, options: ReadOptions) -> None:
    picture = photo(300, 200, 3)
    strips = [(100.0, 680.0 - 20 * n, 300.0, 20.0, picture.crop((0, 20 * n, 300, 20 * n + 20))) for n in range(10)]
    rule = (50.0, 300.0, 500.0, 4.0, photo(500, 4))
    bullet = (50.0, 200.0, 10.0, 10.0, photo(100, 100))
    (figure,) = images(reading_of(tmp_path, options, Page(lines(780, 2), [*strips, rule, bullet])))
    assert figure.span.box == pytest.approx((1 / 6, 0.125, 4 / 6, 0.375), abs=0.002)


def test_a_repeated_logo_is_one_item(tmp_path: Path, options: ReadOptions) -> None:
    logo = photo(200, 100, 4)
    pages = [Page(lines(700, 3, f"Page {n}"), [(400, 740, 100, 50, logo)]) for n in range(5)]
    assert [item.span.page for item in images(reading_of(tmp_path, options, *pages))] == [1]


def test_a_scan_is_its_page_and_a_scan_with_text_is_its_text(tmp_path: Path, options: ReadOptions) -> None:
    scan = photo(600, 800, 5)
    bare = Page(pictures=[(0, 0, 600, 800, scan)])
    stamped = Page([(10, 10, 8, "Received 3 May")], [(0, 0, 600, 800, photo(600, 800, 6))])
    ocr_start = Page(lines(760, 40), [(0, 0, 600, 800, photo(600, 800, 7))])
    reading = reading_of(tmp_path, options, bare, stamped, ocr_start)
    assert [(item.span.page, item.span.box) for item in images(reading)] == [(1, (0, 0, 1, 1)), (2, (0, 0, 1, 1))]
    assert {item.span.page for item in reading.items if item.modality == "text"} == {2, 3}


def test_a_drawing_without_text_is_a_picture_and_a_blank_page_is_nothing(tmp_path: Path, options: ReadOptions) -> None:
    drawing = Page(drawing="1 0 0 rg 100 100 300 300 re f 0 0 1 rg 300 500 100 200 re f")
    reading = reading_of(tmp_path, options, Page(), drawing)
    (item,) = reading.items
    assert item.span.page == 2 and item.span.box == (0, 0, 1, 1)
    pixels = reading.pictures[item.picture or ""].pixels
    assert pixels.shape == (640, 480, 3)
    assert pixels[int(640 * 0.7), int(480 * 0.4)].tolist() == [255, 0, 0]
    assert pixels[int(640 * 0.25), int(480 * 0.6)].tolist() == [0, 0, 255]


def test_a_bad_page_costs_only_itself(tmp_path: Path, options: ReadOptions) -> None:
    reading = reading_of(tmp_path, options, Page(lines(700, 2)), Page(broken=True), Page(lines(700, 2)))
    assert [item.span.page for item in reading.items] == [1, 3]
    assert reading.document.status == "partial"
    assert reading.document.error == "1 of 3 pages cannot be read (page 2); save or print a new copy"


def test_words_broken_at_a_line_end_are_joined(tmp_path: Path, options: ReadOptions) -> None:
    page = Page([(60, 700, 12, "This is a line about infor-"), (60, 686, 12, "mation and a well-known fact.")])
    (item,) = reading_of(tmp_path, options, page).items
    assert " ".join((item.text or "").split()) == "This is a line about information and a well-known fact."


def test_gaps_between_lines_separate_paragraphs(tmp_path: Path, options: ReadOptions) -> None:
    page = Page([*lines(700, 3), *lines(620, 2, "Another paragraph")])
    (item,) = reading_of(tmp_path, options, page).items
    text = item.text or ""
    assert text.count("\n\n") == 1 and text.split("\n\n")[1].startswith("Another")


def test_locked_damaged_and_empty_files_say_so(tmp_path: Path, options: ReadOptions) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf(Page(lines(700, 2)), locked=True))
    with pytest.raises(ReadError, match="protected by a password"):
        read(path, options)
    path.write_bytes(b"%PDF-1.7\n" + bytes(range(256)) * 20)
    with pytest.raises(ReadError, match="damaged PDF"):
        read(path, options)
    path.write_bytes(pdf(Page(broken=True)))
    with pytest.raises(ReadError, match="damaged PDF"):
        read(path, options)
    path.write_bytes(b"")
    with pytest.raises(ReadError, match="is empty"):
        read(path, options)


def test_an_error_does_not_repeat_the_reason_of_the_file_before(tmp_path: Path, options: ReadOptions) -> None:
    (tmp_path / "locked.pdf").write_bytes(pdf(Page(lines(700, 2)), locked=True))
    for path, why in (
        (tmp_path / "locked.pdf", "password"),
        (data("pdf") / "pdfjs" / "poppler-395-0-fuzzed.pdf", "damaged"),
    ):
        with pytest.raises(ReadError, match=why):
            read(path, options)


@pytest.mark.parametrize("title", ["untitled", "Untitled-1", "", "  ", "Document1", "---"])
def test_placeholder_titles_are_ignored(tmp_path: Path, options: ReadOptions, title: str) -> None:
    assert reading_of(tmp_path, options, Page(lines(700, 1)), title=title).document.title is None


def test_titles_lose_what_a_program_added(tmp_path: Path, options: ReadOptions) -> None:
    reading = reading_of(tmp_path, options, Page(lines(700, 1)), title="Microsoft Word - Pump manual.doc")
    assert reading.document.title == "Pump manual"


def test_figures_follow_a_turned_page(tmp_path: Path, options: ReadOptions) -> None:
    image = photo(300, 200, 8)
    reading = reading_of(tmp_path, options, Page(lines(700, 20), [(100, 100, 300, 200, image)], rotate=90))
    (figure,) = images(reading)
    # as shown the page is 800 x 600; what was 100 to 300 from below now lies 100 to 300 from the left
    assert figure.span.box == pytest.approx((0.125, 1 / 6, 0.375, 4 / 6), abs=0.002)
    shown = Image.fromarray(reading.pictures[figure.picture or ""].pixels).resize((20, 30))
    turned = image.transpose(Image.Transpose.ROTATE_270).resize((20, 30))
    assert np.abs(np.asarray(shown, int) - np.asarray(turned, int)).mean() < 4


def test_figures_inside_form_objects_have_the_right_box(tmp_path: Path, options: ReadOptions) -> None:
    page = Page(lines(700, 2), [(50, 100, 150, 100, photo(300, 200, 9))], framed=True)
    (figure,) = images(reading_of(tmp_path, options, page))
    assert figure.span.box == pytest.approx((150 / 600, 1 - 400 / 800, 450 / 600, 1 - 200 / 800), abs=0.002)


def test_headings_are_titles_and_running_lines_are_left_out(tmp_path: Path, options: ReadOptions) -> None:
    pages = [
        Page(
            [
                (60, 770, 9, f"The pump manual, page {n}"),
                *([(60, 700, 20, "1 Pumps")] if n == 1 else []),
                (60, 650, 14, f"1.{n} Part number {n}"),
                *lines(620, 4, f"Words of page {n}"),
                (300, 30, 9, str(n)),
            ]
        )
        for n in (1, 2, 3)
    ]
    reading = reading_of(tmp_path, options, *pages)
    titled = [item for item in reading.items if item.title]
    assert [item.title for item in titled] == [f"1 Pumps > 1.{n} Part number {n}" for n in (1, 2, 3)]
    text = " ".join(item.text or "" for item in reading.items)
    assert (
        text.count("The pump manual") == 1
        and text.count("Words of page 2") == 4
        and reading.document.title == "1 Pumps"
    )
    assert [item.text for item in reading.items if (item.text or "").strip().isdigit()] == []
    left, top, right, bottom = titled[1].span.box or (0, 0, 0, 0)  # offsets still lead to the right place
    assert top == pytest.approx(1 - 632 / 800, abs=0.01) and bottom == pytest.approx(1 - 576 / 800, abs=0.01)
    assert left == pytest.approx(0.1, abs=0.01) and right < 0.5


def test_a_heading_with_nothing_under_it_is_kept(tmp_path: Path, options: ReadOptions) -> None:
    page = Page([*lines(760, 5), (60, 600, 20, "Appendix of Seals")])
    assert [item.text for item in reading_of(tmp_path, options, page).items][-1] == "Appendix of Seals"


def test_drawings_are_figures_with_caption_and_tables_are_not(tmp_path: Path, options: ReadOptions) -> None:
    curve = "0 0 1 RG 100 500 m 150 650 200 520 300 640 c S 0 0 0 RG 100 500 m 100 660 l S 100 500 m 320 500 l S"
    curve += " 1 0 0 rg 150 520 m 170 560 l 190 520 l f"
    grid = " ".join(f"100 {300 - 20 * n} m 400 {300 - 20 * n} l S" for n in range(5))
    grid += " " + " ".join(f"{100 + 100 * n} 300 m {100 + 100 * n} 220 l S" for n in range(4))
    cells = [(105 + 100 * x, 285 - 20 * y, 10, f"cell {x}{y}") for y in range(4) for x in range(3)]
    page = Page([*lines(780, 3), (110, 470, 10, "Figure 2: Pressure over time."), *cells], drawing=curve + " " + grid)
    reading = reading_of(tmp_path, options, page)
    (figure,) = images(reading)
    assert figure.text == "Figure 2: Pressure over time."
    assert figure.span.box == pytest.approx((100 / 600, 1 - 660 / 800, 320 / 600, 1 - 500 / 800), abs=0.02)


def test_a_caption_below_labels_of_its_drawing_is_a_caption(tmp_path: Path, options: ReadOptions) -> None:
    curve = "0 0 1 RG 100 500 m 150 650 200 520 300 640 c S 0 0 0 RG 100 500 m 100 660 l S 100 500 m 320 500 l S"
    labels = [(120, 505, 10, "North"), (200, 505, 10, "South")]
    caption = "Figure 2: The pressure of the two pumps, from north to south."
    page = Page([*lines(780, 3), *labels, (100, 492, 10, caption)], drawing=curve)
    (figure,) = images(reading_of(tmp_path, options, page))
    assert figure.text == caption


def test_a_table_with_a_shaded_head_is_no_drawing(tmp_path: Path, options: ReadOptions) -> None:
    """Browsers shade each cell of the head alone: boxes of several widths, as the bars of a chart are."""
    edges = (100, 160, 240, 340, 460)
    drawing = ".9 g " + " ".join(f"{a} 280 {b - a} 20 re f" for a, b in pairwise(edges)) + " 0 g "
    drawing += " ".join(f"100 {300 - 20 * n} m 460 {300 - 20 * n} l S" for n in range(5))
    drawing += " " + " ".join(f"{edge} 300 m {edge} 220 l S" for edge in edges)
    cells = [(left + 5, 285 - 20 * y, 10, f"c{x}{y}") for y in range(4) for x, left in enumerate(edges[:-1])]
    items = reading_of(tmp_path, options, Page([*lines(780, 2), *cells], drawing=drawing)).items
    assert any("| c01 | c11 | c21 |" in (item.text or "") for item in items)
    assert [item.modality for item in items] == ["text"] * len(items)


def test_ruled_tables_are_markdown_with_their_box(tmp_path: Path, options: ReadOptions) -> None:
    rules = " ".join(f"100 {300 - 20 * n} m 400 {300 - 20 * n} l S" for n in range(5))
    rules += " " + " ".join(f"{100 + 100 * n} 300 m {100 + 100 * n} 220 l S" for n in range(4))
    cells = [(105 + 100 * x, 285 - 20 * y, 10, f"c{x}|{y}") for y in range(4) for x in range(3) if (x, y) != (1, 2)]
    page = Page([*lines(780, 2), *cells, (60, 150, 12, "After the table.")], drawing=rules)
    items = reading_of(tmp_path, options, page).items
    text = "\n".join(item.text or "" for item in items)
    table = "| c0\\|0 | c1\\|0 | c2\\|0 |\n|---|---|---|\n| c0\\|1 | c1\\|1 | c2\\|1 |\n| c0\\|2 |  | c2\\|2 |\n"
    assert table in text and text.index("After the table") > text.index("c2\\|3")
    assert [item.modality for item in items] == ["text"] * len(items)
    left, top, right, bottom = items[1].span.box or (0, 0, 0, 0)
    assert left < 0.18 and right > 0.5 and 1 - 300 / 800 < top < bottom < 1 - 220 / 800


@pytest.mark.data
def test_notes_and_form_values_are_read(options: ReadOptions) -> None:
    folder = data("pdf") / "samples"
    notes = read(folder / "annotated_pdf.pdf", options).items[-1]
    assert "Note: This is a text annotation." in (notes.text or "") and notes.span.box
    assert "First Name: Alice" in (read(folder / "libreoffice-form.pdf", options).items[-1].text or "")


@pytest.mark.data
def test_the_outline_names_headings(options: ReadOptions) -> None:
    titles = {item.title for item in read(data("pdf") / "samples" / "pdflatex-outline.pdf", options).items}
    assert "5 Bar" in titles


NORTH = """The north pump stands in the hall by the river and has been
there since the year of the flood. It needs the blue
seal, which is ordered in spring and put in by two people
in an hour, and a filter that is washed once a month
with clear water and never with soap, as soap would take
the grease from the bearings and stop the pump.""".splitlines()
SOUTH = """The south pump was built for the orchard and runs dry in
August, when the well is low and the trees are thirsty.
Its valve is made of brass and must be turned by hand, slowly
and to the left. The handle hangs on the wall behind the
door of the shed, next to the rake and under the picture
of the old owner with his dog and both of his sons.""".splitlines()


Line = tuple[float, float, float, str]


def in_columns(*columns: list[str], left: tuple[float, ...] = (50, 310), down: float = 700) -> list[list[Line]]:
    """Return the lines of each column."""
    return [
        [(x, down - 14 * n, 9, words) for n, words in enumerate(column)]
        for x, column in zip(left, columns, strict=True)
    ]


@pytest.mark.parametrize("across", [True, False])
def test_columns_are_read_one_after_the_other_also_where_the_file_stores_rows(
    tmp_path: Path, options: ReadOptions, across: bool
) -> None:
    north, south = in_columns(NORTH, SOUTH)
    head, foot = (
        (50, 760, 14, "On pumps and their seals, valves and filters in general"),
        (50, 100, 9, "Set in two columns, with a foot that goes across both of them and so comes last of all."),
    )
    lines = [line for row in zip(north, south, strict=True) for line in row] if across else north + south
    path = tmp_path / "columns.pdf"
    path.write_bytes(pdf(Page(lines=[head, *lines, foot])))
    items = [item for item in read(path, options).items if item.modality == "text"]
    text = " ".join(" ".join(item.text or "" for item in items).split())
    assert " ".join(NORTH) in text and " ".join(SOUTH) in text
    assert text.index("orchard") > text.index("bearings") and text.endswith("comes last of all.")
    by_words = {word: item.span.box for item in items for word in ("river", "orchard") if word in (item.text or "")}
    if by_words["river"] != by_words["orchard"]:  # two chunks: each box holds its own column alone
        assert by_words["river"][2] < 0.52 < by_words["orchard"][0] + 0.02  # type: ignore[index]


def test_the_box_of_a_column_leaves_the_other_out(tmp_path: Path, options: ReadOptions) -> None:
    north, south = in_columns(NORTH * 3, SOUTH * 3)
    path = tmp_path / "columns.pdf"
    path.write_bytes(pdf(Page(lines=[line for row in zip(north, south, strict=True) for line in row])))
    boxes = [item.span.box for item in read(path, options).items if item.modality == "text"]
    assert any(box[2] < 0.5 for box in boxes if box) and any(box[0] > 0.5 for box in boxes if box)


def test_rows_of_a_table_without_rules_stay_rows(tmp_path: Path, options: ReadOptions) -> None:
    cells = (
        [f"Pump number {n}" for n in range(12)],
        [f"Seal {n}, ordered {2000 + n} in the spring of the year" for n in range(12)],
    )
    north, south = in_columns(*map(list, cells))
    path = tmp_path / "table.pdf"
    path.write_bytes(pdf(Page(lines=[line for row in zip(north, south, strict=True) for line in row])))
    text = " ".join(" ".join(item.text or "" for item in read(path, options).items).split())
    assert "| Pump number 3 | Seal 3, ordered 2003" in text and "| Pump number 11 | Seal 11" in text


def test_a_slow_pdf_keeps_the_pages_that_were_read(tmp_path: Path, options: ReadOptions) -> None:
    path = tmp_path / "slow.pdf"
    path.write_bytes(pdf(*(Page([(50, 700, 12, f"Page {number} has words of its own.")]) for number in range(1, 7))))
    reading = read(path, replace(options, seconds=1e-9))
    assert reading.document.status == "partial" and [item.span.page for item in reading.items] == [1]
    assert (reading.document.error or "").startswith("1 of 6 pages were read: the time limit of 1e-09 s was reached")
    whole = read(path, options)
    assert whole.document.status == "ok" and len(whole.items) == 6


def test_a_pdf_is_read_up_to_the_page_that_failed(tmp_path: Path, options: ReadOptions) -> None:
    """The worker of the first attempt died: while it looked at all pages, between two pages, or within a page."""
    path = tmp_path / "deadly.pdf"
    path.write_bytes(pdf(*(Page([(50, 700, 12, f"Page {number} has words of its own.")]) for number in range(1, 7))))
    seen: list[tuple[int, int]] = []
    read(path, options, quota=Quota.of(options, lambda steps, looked_at: seen.append((steps, looked_at))))
    assert seen == [
        *((0, page) for page in range(1, 7)),
        *((step, 6) for step in range(1, 13)),
    ]  # a text, its page, ...
    for stop, kept, pages in (({"last_page": 2}, 2, 2), ({"last_step": 4}, 2, 2), ({"last_step": 5}, 3, 2)):
        reading = read(path, options, quota=Quota.of(options, failure="it hung", **stop))  # type: ignore[arg-type]
        assert [item.span.page for item in reading.items] == list(range(1, kept + 1)), stop
        assert reading.document.error == f"{pages} of 6 pages were read: it hung"


def text_of(reading: ParsedDocument) -> str:
    return "\n".join(item.text or "" for item in reading.items if item.modality == "text")


def rows_at(top: float, *rows: list[str], left: tuple[float, ...] = (60, 220, 320, 420)) -> list[Line]:
    return [
        (left[column], top - 16 * number, 10, cell)
        for number, row in enumerate(rows)
        for column, cell in enumerate(row)
        if cell
    ]


def test_columns_beside_a_partly_ruled_table_belong_to_it(tmp_path: Path, options: ReadOptions) -> None:
    """The labels at the left and the last numbers were lost where the rules surround the middle alone."""
    cells = rows_at(
        500, ["Valve", "2021", "2022", "2023"], ["north", "11", "12", "13"], ["south", "21", "22", "23"],
        ["east", "31", "32", "33"],
    )  # fmt: skip
    rules = " ".join(f"210 {512 - 16 * n} m 410 {512 - 16 * n} l S" for n in range(5))
    rules += " " + " ".join(f"{x} 512 m {x} 448 l S" for x in (210, 310, 410))
    text = text_of(reading_of(tmp_path, options, Page([*lines(700, 4), *cells], drawing=rules)))
    assert "| Valve | 2021 | 2022 | 2023 |" in text and "| south | 21 | 22 | 23 |" in text


def test_rows_between_two_rules_stay_rows(tmp_path: Path, options: ReadOptions) -> None:
    cells = rows_at(500, ["Valve", "2021", "2022"], *([f"valve {n}", f"{n}1", f"{n}2"] for n in range(2, 8)))
    rules = " ".join(f"50 {y} m 400 {y} l S" for y in (512, 496, 396))
    rules += " " + " ".join(f"{x} 512 m {x} 396 l S" for x in (50, 210, 310, 400))
    text = text_of(reading_of(tmp_path, options, Page([*lines(700, 2), *cells], drawing=rules)))
    assert "| valve 5 | 51 | 52 |\n| valve 6 | 61 | 62 |" in text


def test_a_long_table_without_rules_has_its_head_over_every_part(tmp_path: Path, options: ReadOptions) -> None:
    body = [[f"M{n}", f"{n}.5 Nm", "zinc", str(n * 7)] for n in range(10, 50)]
    reading = reading_of(tmp_path, options, Page(rows_at(760, ["Screw", "Torque", "Finish", "Code"], *body)))
    tables = [item.text or "" for item in reading.items]
    assert len(tables) > 1 and all(text.startswith("| Screw | Torque | Finish | Code |") for text in tables)
    assert sum("| M42 | 42.5 Nm | zinc | 294 |" in text for text in tables) == 1


def test_a_number_beside_the_middle_of_a_label_is_in_its_row(tmp_path: Path, options: ReadOptions) -> None:
    page: list[Line] = rows_at(560, ["Measure", "2021", "2022", "2023"])
    for number, name in enumerate(("Water that was lost", "Days without rain", "Nights below zero")):
        y = 530 - 40 * number
        page += [(60, y, 10, name), (60, y - 12, 10, "in the northern valley")]
        page += [(x, y - 6, 10, f"{number}{x:.0f}") for x in (220, 320, 420)]
    text = text_of(reading_of(tmp_path, options, Page(page)))
    assert "| Days without rain in the northern valley | 1220 | 1320 | 1420 |" in text


def test_raised_marks_stand_apart(tmp_path: Path, options: ReadOptions) -> None:
    page: list[Line] = [
        (60, 700, 12, "The pond holds 10"), (156, 705, 7, "6"), (164, 700, 12, "litres and costs 250"),
        (274, 705, 7, "3"), (280, 700, 12, "euros of"),
        (340, 700, 12, "H"), (348.7, 697, 7, "2"), (352.6, 700, 12, "O."),
        *lines(680, 3),
        (60, 60, 7, "3"), (65, 57, 8, "Without the tax on water."),
    ]  # fmt: skip
    text = " ".join(text_of(reading_of(tmp_path, options, Page(page))).split())
    assert "10^6 litres" in text and "250 [3] euros" in text and "H2O" in text and "[3] Without the tax" in text


def test_a_letter_over_several_lines_begins_its_word(tmp_path: Path, options: ReadOptions) -> None:
    page = [
        (60, 676, 42, "T"),
        (90, 700, 12, "he weir was built in spring and"),
        (90, 686, 12, "stands to this day, with"),
    ]
    text = text_of(reading_of(tmp_path, options, Page([*page, (60, 662, 12, "a gate of oak at its side.")])))
    assert text.startswith("The weir was built")


def test_numbers_of_invoices_are_no_running_lines_but_numbers_of_pages_are(
    tmp_path: Path, options: ReadOptions
) -> None:
    pages = [
        Page([
            (60, 770, 10, f"Invoice 2024011{n}"), (60, 750, 10, "Mill and Sons, Harbour Street"),
            *lines(650, 4, f"Words of invoice {n}"), (280, 30, 10, f"Page {n} of 4"),
        ])
        for n in range(1, 5)
    ]  # fmt: skip
    text = text_of(reading_of(tmp_path, options, *pages))
    assert all(f"Invoice 2024011{n}" in text for n in range(1, 5)) and "of 4" not in text
    assert text.count("Mill and Sons") == 1  # what runs through all pages is kept once


def test_a_watermark_is_no_title_and_is_kept_once(tmp_path: Path, options: ReadOptions) -> None:
    mark = "BT /F 70 Tf 0.7 0.7 -0.7 0.7 150 250 Tm (DRAFT) Tj ET"
    reading = reading_of(tmp_path, options, *(Page(lines(700, 6, f"Page {n} has"), drawing=mark) for n in range(3)))
    assert text_of(reading).count("DRAFT") == 1 and reading.document.title is None
    assert all("DRAFT" not in (item.title or "") for item in reading.items)


def test_a_heading_at_the_end_of_a_page_is_the_title_of_the_next(tmp_path: Path, options: ReadOptions) -> None:
    first, second = Page([*lines(760, 8), (60, 90, 20, "Seals of the Weir")]), Page(lines(700, 4, "Seals are"))
    assert reading_of(tmp_path, options, first, second).items[-1].title == "Seals of the Weir"


@pytest.mark.parametrize(
    "text", ["陈列室的水泵由值班员每天早晨巡视一次先看水", "锅炉房的日常检查由值班员每天早晨巡视一次看水"]
)
def test_no_space_stands_where_a_line_of_chinese_ends(text: str) -> None:
    from commonplace.readers.pdf_text import PlacedText, _between

    first, second = PlacedText(list(text), list(range(len(text)))), PlacedText(["泵"], [99])
    assert _between(first, second) == "" and _between(first, PlacedText(["A"], [99])) == " "


def test_links_form_fields_and_attachments_are_read(tmp_path: Path, options: ReadOptions) -> None:
    with_notes = pypdfium2.PdfDocument(pdf(Page([(60, 700, 12, "Our address"), *lines(600, 3)])))
    page = with_notes[0]
    annotation = raw.FPDFPage_CreateAnnot(page, raw.FPDF_ANNOT_LINK)
    raw.FPDFAnnot_SetRect(annotation, raw.FS_RECTF(58, 715, 140, 695))
    raw.FPDFAnnot_SetURI(annotation, b"https://example.org/weir")
    raw.FPDFPage_CloseAnnot(annotation)
    with_notes.new_attachment("minutes.txt").set_data(b"The weir was sold in spring.")
    with_notes.save(tmp_path / "notes.pdf")
    reading = read(tmp_path / "notes.pdf", options)
    text = text_of(reading)
    assert "Our address: https://example.org/weir" in text and "sold in spring" in text
    assert [item.span.member for item in reading.items if "sold" in (item.text or "")] == ["minutes.txt"]


def test_no_word_is_left_out_without_a_word(tmp_path: Path, options: ReadOptions, monkeypatch: Any) -> None:
    """Pages of many kinds keep all their words; a word that does not arrive is counted in the note."""
    grid = " ".join(f"100 {300 - 20 * n} m 400 {300 - 20 * n} l S" for n in range(4))
    grid += " " + " ".join(f"{100 + 100 * n} 300 m {100 + 100 * n} 240 l S" for n in range(3))
    north, south = in_columns(NORTH, SOUTH)
    pages = [
        Page([*lines(780, 6), *rows_at(290, ["a1", "b1", "c1"], ["a2", "b2"], left=(105, 205, 410))], drawing=grid),
        Page([*north, *south, (60, 90, 7, "2"), (65, 87, 8, "A note at the foot.")]),
        Page([(60, 400, 12, "Turned words")], rotate=90),
        Page([(60, 740, 24, "A Title"), (60, 700, 12, "x"), (67, 705, 7, "2"), (300, 40, 9, "7 of 9")]),
        Page(drawing="BT /F 12 Tf 0 1 -1 0 300 300 Tm (Upwards goes this line) Tj ET"),
    ]
    path = tmp_path / "kinds.pdf"
    path.write_bytes(pdf(*pages))
    reading = read(path, options)
    assert reading.document.status == "ok", reading.document.error
    written = " ".join([text_of(reading), *(item.title or "" for item in reading.items)])
    plain = " ".join(page.get_textpage().get_text_range() for page in pypdfium2.PdfDocument(path))
    letters = Counter(filter(str.isalnum, plain))
    letters.subtract(filter(str.isalnum, written))
    assert not +letters

    monkeypatch.setattr("commonplace.readers.pdf_text._notes_last", lambda paragraphs: paragraphs[:-1])
    lossy = read(path, options).document
    assert lossy.status == "partial" and "were left out" in (lossy.error or "")
