"""Drafts become answers whose markers point to their sources, and sentences keep their offsets in the source."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import commonplace as cp
from commonplace.cli.answers import render
from commonplace.generation import Abstention, GroundingChecker, Part, Request, ShownImage, Statement, cite
from commonplace.generation.intent import subject, wants_pictures
from commonplace.generation.prompt import fenced_evidence
from commonplace.generation.sentences import split
from commonplace.retrieval import Calibration
from commonplace.space import QueryVectors, Space
from commonplace.types import Answer, Document, Hit, Item, Note, ScoreComponent, Span, escape_markdown


def hit(number: int, text: str | None, *, media_type: str = "text/plain", image: str | None = None) -> Hit:
    document = Document(f"d{number}", f"file:///{number}", f"/{number}.md", media_type)
    span = Span(start=100 * number, end=100 * number + len(text or ""))
    picture = f"p{number}" if image else None
    item = Item(f"i{number}", document, "image" if image else "text", span, text, picture=picture)
    return Hit(item, 0.5, (ScoreComponent("lexical", 1.0, 1, 1.0, 0.5),), image, confidence=0.5)


@pytest.fixture
def make_answer(space: Space, calibration: Calibration) -> Any:
    """Return a function that makes an answer from parts."""

    def one(parts: list[Part], hits: list[Hit]) -> tuple[list[Any], Answer]:
        request = Request("q", QueryVectors(), hits, crop=lambda name: name.encode())
        *before, answer = cite(iter(parts), request, GroundingChecker(space, calibration, hits))
        assert isinstance(answer, Answer)
        return before, answer

    return one


def test_citations_are_numbered_in_order_with_the_span_of_the_sentence(make_answer: Any) -> None:
    hits = [hit(0, "First. Second."), hit(1, "a caption", image="/tmp/a (1).png"), hit(2, "Third.")]
    parts = [Statement("Third.", (2,), 0, 6), ShownImage(1), Statement("Second.", (0,), 7, 14), ShownImage(1)]
    blocks, answer = make_answer(parts, hits)
    assert tuple(blocks) == answer.blocks
    assert [block.citations for block in answer.blocks] == [(1,), (2,), (3,)]  # a picture is shown once
    assert [citation.number for citation in answer.citations] == [1, 2, 3]
    assert answer.citation(3).span == Span(start=7, end=14) and answer.citation(3).quote == "Second."
    assert answer.citation(1).span.start == 200 and answer.citation(2).crop == b"p1"
    markdown = answer.markdown()
    assert "![a caption](</tmp/a%20%281%29.png>) [2]" in markdown
    assert "Third. [1]" in markdown and "[3] [/0.md](<file:///0>)" in markdown.replace("\\", "")


def test_a_hit_has_one_number_and_its_quote_covers_all_cited_sentences(make_answer: Any) -> None:
    text = "The north pump needs the blue seal. It is old. The south pump has a brass valve."
    sentences = [
        Statement("The north pump needs the blue seal.", (0,)),
        Statement("The south pump has a brass valve.", (0,)),
    ]
    _, answer = make_answer(sentences, [hit(0, text)])
    (citation,) = answer.citations
    assert citation.quote == text and citation.span == Span(start=0, end=len(text))
    assert [block.support for block in answer.blocks] == ["supported", "supported"]


def test_a_passage_cited_twice_has_one_number(make_answer: Any) -> None:
    text = "The north pump needs the blue seal. It is old. The south pump has a brass valve."
    first, last = "The north pump needs the blue seal.", "The south pump has a brass valve."
    parts = [Statement(first, (0, 0), 0, 35), Statement(last, (0,), 47, len(text))]
    blocks, answer = make_answer(parts, [hit(0, text)])
    assert [block.citations for block in blocks] == [(1,), (1,)]
    (citation,) = answer.citations
    assert citation.quote == text and citation.span == Span(start=0, end=len(text))


def test_nothing_is_an_abstention(make_answer: Any) -> None:
    _, answer = make_answer([Abstention("nothing near")], [hit(0, "x")])
    assert answer.abstained and answer.reason == "nothing near" and not answer.blocks and len(answer.hits) == 1
    assert answer.markdown() == "nothing near" and "nothing near" in answer.html() and answer.confidence == 0
    assert make_answer([], [hit(0, "x")])[1].abstained


def test_a_restart_discards_earlier_blocks(make_answer: Any) -> None:
    hits = [hit(0, "First things are first."), hit(1, "Second things are second.")]
    parts = [Statement("Second", (1,), invalid_citations=2), Note("broke off", restart=True), Statement("First", (0,))]
    yielded, answer = make_answer(parts, hits)
    assert len(yielded) == 3 and [block.text for block in answer.blocks] == ["First"]
    assert len(answer.citations) == 1 and answer.invalid_citations == 0 and answer.notes == ("broke off",)


def test_a_picture_is_described_by_caption_machine_or_name(make_answer: Any) -> None:
    hits = [hit(0, "a caption", image="/0.png"), hit(1, None, image="/1.png"), hit(2, None, image="/2.png")]
    _, answer = make_answer([ShownImage(0, "by a machine"), ShownImage(1, "a ball"), ShownImage(2)], hits)
    assert [(block.text, block.origin) for block in answer.blocks] == [
        ("a caption", "caption"),
        ("a ball", "machine"),
        ("2.md", "name"),
    ]
    assert "a ball (described by a machine)" in answer.html()
    assert "described by a machine" in answer.markdown() and answer.confidence == 0.5


def test_words_read_in_a_picture_describe_it_and_are_marked(make_answer: Any) -> None:
    both, alone = hit(0, "A sign. WAY OUT", image="/0.png"), hit(1, "WAY OUT", image="/1.png")
    both = replace(both, item=replace(both.item, span=Span(ocr_start=8)))
    alone = replace(alone, item=replace(alone.item, span=Span(ocr_start=0)))
    _, answer = make_answer([ShownImage(0, "by a machine"), ShownImage(1, "by a machine")], [both, alone])
    assert [(block.text, block.origin) for block in answer.blocks] == [("A sign", "caption"), ("WAY OUT", "words")]
    assert "WAY OUT (words read in the picture)" in answer.html() and "read in the picture" in answer.markdown()
    assert "No caption. Words in it: WAY OUT" in fenced_evidence(1, alone, picture_follows=False)
    assert "Caption: A sign Words in it: WAY OUT" in fenced_evidence(1, both, picture_follows=False)
    long = "WAYS OUT " * 40 + "end"
    alone = replace(alone, item=replace(alone.item, text=long))
    _, answer = make_answer([ShownImage(0)], [alone])
    (block,) = answer.blocks
    shown = block.shown.removesuffix(" (words read in the picture)")
    assert block.text == long == answer.dict()["blocks"][0]["text"]
    assert len(shown) <= 202 and shown.endswith(" OUT …") and long not in answer.markdown() + render(answer)
    assert Span.from_dict(both.item.span.dict()) == both.item.span


EVIL = st.text(alphabet=st.sampled_from("ab<>\"'&[]()!\n\x1b\u202e{}`=:/."), max_size=60)


@settings(deadline=None, max_examples=100)
@given(EVIL, EVIL, EVIL)
def test_the_html_page_is_safe_for_any_text(question: str, text: str, path: str) -> None:
    document = Document("d", f"file:///d{path}", path, "text/plain")
    hit = Hit(Item("i", document, "image", Span(), text, picture="p"), 0.5, (), "x", confidence=0.5)
    citation = cp.Citation(1, hit, text, Span(), b"jpeg")
    blocks = (
        cp.Block("text", text, (1,), "weak", question),
        cp.Block("image", text, (1,), origin="caption", image="x"),
    )
    page = Answer(question, blocks, (citation,), (hit,), notes=(text,)).html()
    tags = {tag.lower() for tag in re.findall(r"<\s*/?\s*([a-zA-Z!][a-zA-Z0-9]*)", page)}
    ours = "!doctype html head meta title style body h1 h2 p span a em figure img figcaption ol li blockquote"
    assert tags <= set(ours.split())
    targets = {"#source-1", "data:image/jpeg;base64,anBlZw==", html.escape(citation.link or "")}
    assert set(re.findall(r'(?:href|src)="([^"]*)"', page)) == targets
    assert not re.search(r"<[^>]*\son\w+\s*=", page) and "\x1b" not in page and "\u202e" not in page


def test_citations_outlive_their_files(tmp_path: Path) -> None:
    """The collection stores text and crop, so citations stay valid when the files are gone."""
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "pumps.md").write_text("The north pump needs the blue seal.\n\n![A red ball](ball.png)\n", encoding="utf-8")
    Image.new("RGB", (64, 64), "red").save(docs / "ball.png")
    with cp.open(tmp_path / "kb") as kb:
        kb.add(docs)
        docs.rename(tmp_path / "elsewhere")
        answer = kb.ask("Which seal does the north pump need?")
        assert answer.citations[0].quote == "The north pump needs the blue seal."
        shown = kb.ask("show me a red ball")
        (picture,) = [block for block in shown.blocks if block.kind == "image"]
        citation = shown.citation(picture.citations[0])
        assert citation.crop and citation.crop.startswith(b"\xff\xd8")
        assert citation.hit.image and Path(citation.hit.image).exists()
        assert "data:image/jpeg;base64," in shown.html()


@pytest.mark.parametrize(
    ("question", "wanted"),
    [
        ("show me a dog on the beach", "a dog on the beach"),
        ("Please show me a photo of the north pump", "the north pump"),
        ("can you show us pictures with snow?", "snow"),
        ("Can you show me a dog?", "a dog"),
        ("I'd like to see a dog.", "a dog"),
        ("a photo of a dog", "a dog"),
        ("给我看一只狗", "狗"),
        ("找几张猫的照片", "猫"),
        ("个人简历的截图", "个人简历"),
        ("What does the valve look like?", "What does the valve look like?"),
        ("给我看看水泵的图片", "水泵"),
        ("狗的照片", "狗"),
        ("有没有雪山的照片？", "雪山"),
    ],
)
def test_questions_for_pictures(question: str, wanted: str) -> None:
    assert wants_pictures(question) and subject(question) == wanted


@pytest.mark.parametrize(
    "question", ["Which pump needs the seal?", "How is the imaging done?", "Who painted the showroom?"]
)
def test_questions_for_text(question: str) -> None:
    assert not wants_pictures(question)


MARKDOWN = """## Heading words

Some **bold words** and a [link label](http://example.com/x_y) here. Another `code` sentence!

- first item is short
- ![alt text](picture.png)

| a | table |
|---|---|

```sh
commonplace search "a listing holds no sentence"
```

> [!NOTE]
> Quoted words stand here. 第一句话。第二句话。
"""


def test_markdown_sentences_are_plain_text_with_exact_offsets() -> None:
    sentences = split(0, hit(0, MARKDOWN, media_type="text/markdown").item)
    texts = [sentence.text for sentence in sentences]
    assert texts[:4] == [
        "Heading words",
        "Some bold words and a link label here.",
        "Another code sentence!",
        "first item is short",
    ]
    assert texts[4] == "a; table"
    assert not any("listing" in text or "alt" in text or "NOTE" in text for text in texts)
    assert texts[-3:] == ["Quoted words stand here.", "第一句话。", "第二句话。"]
    for sentence in sentences:
        for word in sentence.text.split():
            assert word.strip(".!;") in MARKDOWN[sentence.start : sentence.end]


def test_inline_code_stays_and_markup_is_removed() -> None:
    text = (
        "Use `git checkout -b <branch>` first. The template is `Vec<String>` and x < y.\n\n"
        "<b>Bold</b> <!-- hidden --> end.\n\n> [!VIDEO https://example.com/x]\n\n"
        "| part | weight |\n|:---|---:|\n| bolt M6 | 12 g |\n\nIs this an answer?\n"
    )
    sentences = [sentence.text for sentence in split(0, hit(0, text, media_type="text/markdown").item)]
    assert sentences == [
        "Use git checkout -b <branch> first.",
        "The template is Vec<String> and x < y.",
        "Bold end.",
        "part; weight",
        "part: bolt M6; weight: 12 g",
    ]


@settings(deadline=None, max_examples=100)
@given(st.text(alphabet=st.sampled_from("ab. \n\t*_`#>|-[]()!\u2060中。"), max_size=120), st.booleans())
def test_offsets_lie_inside_the_text_in_order(text: str, markdown: bool) -> None:
    item = hit(0, text, media_type="text/markdown" if markdown else "text/plain").item
    last = 0
    for sentence in split(0, item):
        assert last <= sentence.start < sentence.end <= len(text)
        last = sentence.start
        if not markdown:
            assert "".join(sentence.text.split()) == "".join(
                text[sentence.start : sentence.end].replace("\u2060", "").split()
            )


@pytest.mark.parametrize("evil", ["![x](y)", "<b>", "[a](b)", "a\nb\n# c", "`x`", "*a* _b_", "&lt;"])
def test_markdown_in_text_is_escaped(evil: str) -> None:
    shown = escape_markdown(evil)
    assert "\n" not in shown
    for mark in "[]()<>*_`#!&":
        assert shown.count(mark) == shown.count("\\" + mark)
