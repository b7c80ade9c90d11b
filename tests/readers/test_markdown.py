"""Markdown: headings as titles, exact offsets, and the local pictures a page shows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from commonplace.readers import ReadOptions, read, stamp, stamp_paths
from commonplace.types import Item, ParsedDocument
from tests.readers.make import photo


def write(folder: Path, text: str, name: str = "page.md") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def figures(reading: ParsedDocument) -> list[Item]:
    return [item for item in reading.items if item.modality == "image"]


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    (tmp_path / "media").mkdir()
    photo(seed=1).save(tmp_path / "media" / "dog.png")
    photo(seed=2).save(tmp_path / "media" / "red cat.jpg")
    return tmp_path


def test_sections_stand_under_their_headings(tmp_path: Path, options: ReadOptions) -> None:
    text = (
        "---\ntitle: 'The manual'\ntags: [a]\n---\r\nBefore all.\n\n# Pumps *and* `seals`\n\nText one.\r\n\r\n"
        "## Blue\n\nText two.\n\n### Empty\n\n## Red\nText three.\n\nSetext\n======\nText four.\n\n# Alone\n"
    )
    reading = read(write(tmp_path, text), options)
    assert [(item.title, item.text) for item in reading.items] == [
        ("The manual", "tags: [a]"),
        (None, "Before all."),
        ("Pumps and seals", "Text one."),
        ("Pumps and seals > Blue", "Text two."),
        ("Pumps and seals > Blue", "### Empty"),
        ("Pumps and seals > Red", "Text three."),
        ("Setext", "Text four."),
        (None, "# Alone"),
    ]
    assert reading.document.title == "Pumps and seals"
    for item in reading.items:
        assert text[item.span.start : item.span.end] == item.text


def test_front_matter_titles_a_page_without_headings(tmp_path: Path, options: ReadOptions) -> None:
    reading = read(write(tmp_path, '---\ntitle: "The manual"\n---\n\nWords.\n'), options)
    assert reading.document.title == "The manual"
    assert [item.text for item in reading.items] == ["Words."]


def test_a_rule_is_not_front_matter_and_code_has_no_headings(tmp_path: Path, options: ReadOptions) -> None:
    reading = read(write(tmp_path, "---\n\nText.\n\n```sh\n# not a heading\n![no](media/dog.png)\n```\n"), options)
    assert [item.title for item in reading.items] == [None]
    assert "# not a heading" in (reading.items[0].text or "")


def test_local_pictures_become_items_with_place_and_words(shelf: Path, options: ReadOptions) -> None:
    text = (
        "# Animals\n\nSome words, then ![A dog](media/dog.png) and more.\n\n"
        '## Cats\n\n[![A cat](./media/red%20cat.jpg "in the sun")](http://example.org)\n\n'
        '<p><img width="10" src="media/dog.png" alt="The dog &amp; again"></p>\n\n'
        "![by reference][d]\n\n[d]: <media/dog.png>\n"
    )
    reading = read(write(shelf, text), options)
    pictures = figures(reading)
    assert [item.text for item in pictures] == ["A dog", "A cat. in the sun", "The dog & again", "by reference"]
    assert [item.title for item in pictures] == ["Animals", *["Animals > Cats"] * 3]
    assert [text[item.span.start : item.span.end] for item in pictures] == [
        "![A dog](media/dog.png)",
        '![A cat](./media/red%20cat.jpg "in the sun")',
        '<img width="10" src="media/dog.png" alt="The dog &amp; again">',
        "![by reference][d]",
    ]
    assert len({item.id for item in reading.items}) == len(reading.items)
    assert len(reading.pictures) == 2  # the dog is stored once
    assert reading.document.status == "ok"
    assert all(item.picture in reading.pictures for item in pictures)


def test_captions_beside_pictures_are_taken(shelf: Path, options: ReadOptions) -> None:
    text = (
        "![](media/dog.png)\n\n*A dog in spring*\n\n"
        "![image](media/dog.png)\n\nFigure 2: the same dog\n\n"
        "![image](media/dog.png)\n\nJust the next paragraph.\n\n"
        "<figure><img src='media/dog.png'><figcaption>Under <b>it</b></figcaption></figure>\n\n"
        ':::image type="content" source="media/dog.png" alt-text="As DocFX writes":::\n'
    )
    pictures = figures(read(write(shelf, text), options))
    captions = ["A dog in spring", "Figure 2: the same dog", None, "Under it", "As DocFX writes"]
    assert [item.text for item in pictures] == captions


def test_items_come_in_reading_order(shelf: Path, options: ReadOptions) -> None:
    text = "\n\n".join(f"# H{n}\n\nWords {n}.\n\n![dog](media/dog.png)" for n in range(4))
    starts = [item.span.start or 0 for item in read(write(shelf, text), options).items]
    assert starts == sorted(starts) and len(starts) == 8


def test_nothing_outside_the_root_is_shown(
    shelf: Path, options: ReadOptions, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "secret.png"
    photo(seed=9).save(outside)
    (shelf / "link.png").symlink_to(outside)
    (shelf / "notes.png").write_text("not a picture at all")
    os.mkfifo(shelf / "pipe.png")
    (shelf / "docs").mkdir()
    targets = [
        str(outside), outside.as_uri(), os.path.relpath(outside, shelf / "docs"), "../link.png", "../pipe.png",
        "https://example.org/a.png", "//example.org/a.png", "data:image/png;base64,AAAA", "../gone.png", "",
        "a%00b.png", "../media", "C:\\\\dog.png", "x" * 5000 + ".png",
    ]  # fmt: skip
    page = write(shelf, "\n\n".join(f"![a](<{target}>)" for target in targets), "docs/page.md")
    reading = read(page, options, shelf)
    assert figures(reading) == []
    assert reading.document.status == "partial" and "outside the folder" in (reading.document.error or "")
    assert str(outside) not in stamp_paths(reading.document.stamp)


def test_the_root_opens_the_folders_beside(shelf: Path, options: ReadOptions) -> None:
    page = write(shelf, "![a dog](../media/dog.png) ![again](/media/dog.png)", "docs/page.md")
    assert len(figures(read(page, options, shelf))) == 2
    assert figures(read(page, options)) == []


def test_a_broken_picture_is_a_problem_not_a_failure(shelf: Path, options: ReadOptions) -> None:
    data = (shelf / "media" / "dog.png").read_bytes()
    (shelf / "media" / "dog.png").write_bytes(data[: len(data) // 2])
    reading = read(write(shelf, "Words.\n\n![A dog](media/dog.png)"), options)
    assert reading.document.status == "partial"
    assert "media/dog.png" in (reading.document.error or "")
    assert [item.modality for item in reading.items] == ["text"]


def test_the_stamp_knows_the_pictures_shown_and_missing(shelf: Path, options: ReadOptions) -> None:
    page = write(shelf, "![A dog](media/dog.png) ![soon](media/soon.png)")
    document = read(page, options).document
    paths = stamp_paths(document.stamp)
    assert paths == [str(page), str(shelf / "media" / "dog.png"), str(shelf / "media" / "soon.png")]
    assert stamp(paths) == document.stamp
    photo(seed=3).save(shelf / "media" / "soon.png")
    assert stamp(paths) != document.stamp
    appeared = read(page, options).document.stamp
    photo(seed=4).save(shelf / "media" / "dog.png")
    assert stamp(paths) != appeared


def test_icons_are_left_out(tmp_path: Path, options: ReadOptions) -> None:
    photo(16, 16).save(tmp_path / "icon.png")
    assert figures(read(write(tmp_path, "![ok](icon.png) text"), options)) == []


def test_what_front_matter_says_is_searched(tmp_path: Path, options: ReadOptions) -> None:
    text = (
        "---\ntitle: Trip\nlayout: page\naliases: [Ostwind tour]\nsummary: >\n  A walk from Emden\n  to Leer.\ntags:\n"
        "  - hiking\n---\n\nWords.\n"
    )
    reading = read(write(tmp_path, text), options)
    assert "layout" not in (reading.items[0].text or "") and "A walk from Emden" in (reading.items[0].text or "")
    metadata = reading.document.metadata
    assert metadata["summary"] == "A walk from Emden to Leer." and metadata["keyword"] == ["hiking"]
    assert "Ostwind tour" in metadata["alias"]
    for item in reading.items:
        assert text[item.span.start : item.span.end] == item.text


def test_pictures_that_are_only_named_are_found(shelf: Path, options: ReadOptions) -> None:
    text = "See [[Gear list]] and ![[dog.png|A dog|300]], ![[media/red cat.jpg]], ![[gone.png]], `![[dog.png]]`."
    reading = read(write(shelf, text, "notes/deep/page.md"), options, root=shelf)
    assert [item.text for item in figures(reading)] == ["A dog", None]
    assert reading.document.status == "ok"


def test_ordered_lists_show_their_numbers(tmp_path: Path, options: ReadOptions) -> None:
    text = "# Steps\n\n" + "1. step\n" * 11 + "\nText.\n\n3. third\n3. fourth\n   - 1. inner\n     1. inner\n"
    words = "\n".join(item.text or "" for item in read(write(tmp_path, text), options).items)
    assert "2. step\n" in words and "11. step" in words and "4. fourth" in words and "2. inner" in words


def test_every_part_of_a_long_table_has_its_head(tmp_path: Path, options: ReadOptions) -> None:
    rows = "".join(f"| M{n} | {n * 3} | {n * 7} | {'zinc' if n % 2 else 'steel'} |\n" for n in range(3, 90))
    text = f"# Bolts\n\nSizes of bolts.\n\n| Size | Torque | Length | Finish |\n|---|---|---|---|\n{rows}\nAfter it.\n"
    (tmp_path / "bolts.md").write_text(text, encoding="utf-8")
    parsed = read(tmp_path / "bolts.md", options)
    assert [item.text for item in parsed.items][:1] == ["Sizes of bolts."]
    assert parsed.items[-1].text == "After it."
    tables = parsed.items[1:-1]
    assert len(tables) > 2
    for item in tables:
        assert (item.text or "").startswith("| Size | Torque | Length | Finish |\n|---|---|---|---|\n| M")
        start, line = item.span.start, item.span.line
        assert start is not None and line is not None
        row = (item.text or "").splitlines()[2]
        offset = start + (item.text or "").index(row)
        assert text[offset:].startswith(row)  # what is quoted is found again
        assert text.splitlines()[line - 1 + 2] == row
    seen = [line for item in tables for line in (item.text or "").splitlines()[2:]]
    assert seen == rows.splitlines()


def test_the_mark_of_a_long_listing_is_no_passage_of_its_own(tmp_path: Path, options: ReadOptions) -> None:
    lines = "\n".join(f"int value_{n} = compute_the_thing({n}, other_{n});  // number {n}" for n in range(60))
    text = f"# Code\n\nBefore.\n\n```cpp\n{lines}\n```\n\nAfter.\n"
    texts = [item.text or "" for item in read(write(tmp_path, text), options).items]
    assert not [text for text in texts if text.strip("`~ \n") in ("", "cpp")] and texts[-1].endswith("After.")
    assert all(f"value_{n} =" in "\n".join(texts) for n in range(60)) and "Before." in texts
