"""Places of items and citations: page, headings, line, sheet and row, and links to files; answers as plain text."""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest

import commonplace as cp
from commonplace.cli import main
from commonplace.positions import file_link, part_of_span, position
from commonplace.readers import ReadOptions, read
from commonplace.types import Answer, Block, Document, Span
from tests.readers.make import Page, pdf
from tests.readers.make_office import xlsx

PACKAGE = Path(cp.__file__).parent
OPTIONS = ReadOptions(str(PACKAGE / "bundles" / "minilm-lite0" / "tokenizer.json"), 256)


def lines_of(path: Path) -> list[tuple[str, str]]:
    """Return the first line of each item, and what stands at its line in the file."""
    lines = path.read_text(encoding="utf-8").split("\n")
    found = []
    for item in read(path, OPTIONS).items:
        assert item.text is not None and item.span.line is not None
        found.append((item.text.split("\n")[0].strip(), lines[item.span.line - 1].strip()))
    return found


def test_lines_are_those_of_the_file(tmp_path: Path) -> None:
    contents = {
        "long.txt": "\n".join(f"Entry {number} is about valve {7 * number}." for number in range(900)),
        "windows.txt": "".join(f"Entry {number} is about valve {7 * number}.\r\n\r\n" for number in range(200)),
        "notes.md": "---\ntitle: Notes\n---\n\n# Pumps\n\nThe pump is old.\n\n## Seals\n\n\n"
        + "\n\n".join(f"Seal {number} is red and fits pump {number} of the harbour." for number in range(90))
        + "\n\n## Empty\n",
        "tide.py": '"""Tides."""\n\nimport os\n\n\ndef high():\n    """Return it."""\n    return 1\n\n\nclass Low:\n'
        + "".join(f"    def at_{n}(self):\n        return {n}\n\n" for n in range(90)),
        "tide.c": "".join(f"int tide_{n}(void)\n{{\n    return {n};\n}}\n\n" for n in range(90)),
    }
    for name, text in contents.items():
        path = tmp_path / name
        path.write_bytes(text.encode())
        pairs = lines_of(path)
        assert len(pairs) > 2, name
        for of_item, of_file in pairs:
            assert of_file.removeprefix("#").lstrip("# ").startswith(of_item.lstrip("# ")[:40]), (
                name,
                of_item,
                of_file,
            )


def test_what_has_no_lines_of_its_own_names_none(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("<h1>Pumps</h1><p>The pump is old.</p><p>The seal is red.</p>")
    (tmp_path / "b.ipynb").write_text(
        json.dumps({"cells": [{"cell_type": "markdown", "source": "The pump is old."}], "nbformat": 4, "metadata": {}})
    )
    for name in ("a.html", "b.ipynb"):
        assert all(item.span.line is None for item in read(tmp_path / name, OPTIONS).items)
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("inner.txt", "The pump is old.")
    (item,) = read(tmp_path / "c.zip", OPTIONS).items
    assert position(item.span, item.title) == "inner.txt, inner.txt, line 1"


def test_rows_are_those_of_the_sheet(tmp_path: Path) -> None:
    table = [["code", "part"], *([f"K-{row}", f"bolt of length {row}"] for row in range(2, 200))]
    path = tmp_path / "parts.csv"
    path.write_text("\n".join(",".join(row) for row in table))
    sheet = tmp_path / "parts.xlsx"
    sheet.write_bytes(xlsx(Parts=[[], ["Stock of bolts"], [], *table]))
    for file, above, sheets in ((path, 0, ""), (sheet, 3, "sheet Parts > Stock of bolts, ")):
        items = [item for item in read(file, OPTIONS).items if "K-" in (item.text or "")]
        assert len(items) > 3
        for item in items:
            text = item.text or ""
            first = re.search(r"K-(\d+)", text)
            assert first is not None and item.span.row == int(first[1]) + above
            assert position(item.span, item.title) == f"{sheets}row {item.span.row}"
            for match in re.finditer(r"\| K-(\d+)[^\n]*", text):  # each row of the passage
                assert part_of_span(item, *match.span()).row == int(match[1]) + above


def test_an_item_keeps_its_id(tmp_path: Path) -> None:
    """Lines and rows are no part of the identity: labels and citations of earlier collections stay valid."""
    (tmp_path / "a.txt").write_text("The pump is old.")
    (item,) = read(tmp_path / "a.txt", OPTIONS).items
    old = Span.from_dict({"start": 0, "end": 16})  # as stored before there were lines
    assert (old.line, item.span) == (None, replace(old, line=1))
    assert position(old, None) == ""


def test_places_are_in_the_language_of_the_question() -> None:
    span = Span(3, 9, page=2, box=(0.1, 0.1, 0.2, 0.2), line=7)
    assert position(span, "Pumps > Seals") == "page 2, Pumps > Seals, line 7"
    assert position(span, None, "zh") == "第 2 页，第 7 行"
    assert position(Span(row=4), "Parts", "zh") == "工作表 Parts，第 4 行"
    assert len(position(Span(), "word " * 100)) < 100


def test_links_lead_to_files_only(tmp_path: Path) -> None:
    odd = tmp_path / 'odd )>[x](y) "name".pdf'
    document = Document("1", odd.as_uri(), str(odd), "application/pdf")
    link = file_link(document, Span(page=3))
    assert link is not None and link.endswith(".pdf#page=3") and not set(link) & set('<>" []')
    assert unquote(link) == f"file://{odd}#page=3"
    evil = "file:///x>)[y](javascript:alert(1))\n\x1b]8;;"
    assert not set(file_link(Document("2", evil, "p", "text/plain"), Span()) or "") & set("<>\n\x1b[]")
    for uri in ("javascript:alert(1)", "https://host/x", "record:7"):
        assert file_link(Document("3", uri, uri, "text/plain"), Span()) is None


def test_an_answer_as_plain_text() -> None:
    blocks = (
        Block("text", "The seal\x1b is red.", (1,), "supported"),
        Block("text", "It fits.", (1, 2), "weak", reason="one word differs"),
        Block("code", "one\n\ttwo", (2,), "supported"),
        Block("text", "Then wait.", (), "supported"),
        Block("text", "And rest.", (3,), "supported", starts_paragraph=True),
        Block("image", "A dog", (4,), origin="machine"),
    )
    answer = Answer("?", blocks, (), ())
    assert answer.text.split("\n\n") == [
        "The seal  is red. [1] It fits. [1] [2] (weakly supported: one word differs)",
        "one\n    two [2]",
        "Then wait.",
        "And rest. [3]",
        "[picture] A dog (described by a machine) [4]",
    ]
    assert answer.dict()["text"] == answer.text
    assert Answer("?", (), (), (), abstained=True, reason="Nothing.").text == "Nothing."


def test_search_and_ask_show_one_confidence_and_one_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.md").write_text("# Pumps\n\n## Seals\n\nThe pump is old.\n\nThe red seal fits the south pump.\n")
    Path("guide.pdf").write_bytes(pdf(Page([(50, 700, 12, "A page.")]), Page([(50, 700, 12, "The tide is at noon.")])))

    def shown(*arguments: str) -> str:
        assert main(arguments) == 0
        return capsys.readouterr().out

    shown("add", ".")
    question = "Which seal fits the south pump?"
    first = shown("search", question).splitlines()[0]
    number = re.fullmatch(r" 1  ([01]\.\d{3})  text   notes\.md  \(Pumps > Seals, line 5\)", first)
    assert number is not None, first
    assert shown("ask", question).endswith(f"[1]  {number[1]}  notes.md, Pumps > Seals, line 7\n")
    assert number[1] in shown("search", question, "--fusion", "rrf").splitlines()[0]
    with cp.open(".commonplace") as kb:
        answer = kb.ask(question).dict()
        (citation,) = answer["citations"]
        assert f"{citation['confidence']:.3f}" == number[1] and citation["span"]["line"] == 7
        assert answer["text"] == "The red seal fits the south pump. [1]"
        cited = kb.ask("When is the tide?")
        link = f"{Path('guide.pdf').absolute().as_uri()}#page=2"
        assert cited.citations[0].link == link and f"(<{link}>)" in cited.markdown()
        assert f'<a href="{link}">' in cited.html()
