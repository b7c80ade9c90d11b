"""Drafts become answers whose markers lead home, and sentences keep their place in the source."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonplace.generation import Draft, Shown, Statement, cite
from commonplace.generation.extractive import _split
from commonplace.types import ArmScore, Document, Hit, Item, Span, escape_markdown


def hit(number: int, text: str | None, *, media_type: str = "text/plain", image: str | None = None) -> Hit:
    document = Document(f"d{number}", f"file:///{number}", f"/{number}.md", media_type)
    span = Span(start=100 * number, end=100 * number + len(text or ""))
    item = Item(f"i{number}", document, "image" if image else "text", span, text=text)
    return Hit(item, 0.5, (ArmScore("lexical", 1.0, 1, 1.0, 0.5),), image)


def test_markers_are_numbered_in_order_and_spans_are_of_the_sentence() -> None:
    hits = [hit(0, "First. Second."), hit(1, "a caption", image="/tmp/a (1).png"), hit(2, "Third.")]
    draft = Draft("q", (Statement("Third.", 2, 0, 6), Shown(1), Statement("Second.", 0, 7, 14), Shown(1)))
    answer = cite(draft, hits)
    assert [block.citations for block in answer.blocks] == [(1,), (2,), (3,), (2,)]
    assert [one.number for one in answer.citations] == [1, 2, 3]
    assert answer.citation(3).span == Span(start=7, end=14) and answer.citation(3).quote == "Second."
    assert answer.citation(1).span.start == 200
    markdown = answer.markdown()
    assert "![a caption](</tmp/a%20%281%29.png>) [2]" in markdown
    assert "Third. [1]" in markdown and "[3] /0.md, characters 7 to 14" in markdown.replace("\\", "")


def test_a_draft_with_a_reason_is_an_abstention() -> None:
    answer = cite(Draft("q", reason="nothing near"), [hit(0, "x")])
    assert answer.abstained and answer.reason == "nothing near" and not answer.blocks and len(answer.hits) == 1
    assert answer.markdown() == "nothing near"


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


def test_markdown_sentences_are_plain_words_with_true_offsets() -> None:
    found = _split(0, hit(0, MARKDOWN, media_type="text/markdown").item)
    texts = [one.text for one in found]
    assert texts[:4] == [
        "Heading words",
        "Some bold words and a link label here.",
        "Another code sentence!",
        "first item is short",
    ]
    assert texts[4] == "a; table"
    assert not any("listing" in text or "alt" in text or "NOTE" in text for text in texts)
    assert texts[-3:] == ["Quoted words stand here.", "第一句话。", "第二句话。"]
    for one in found:
        for word in one.text.split():
            assert word.strip(".!;") in MARKDOWN[one.start : one.end]


def test_code_keeps_every_character_and_markup_goes() -> None:
    text = (
        "Use `git checkout -b <branch>` first. The template is `Vec<String>` and x < y.\n\n"
        "<b>Bold</b> <!-- hidden --> end.\n\n> [!VIDEO https://example.com/x]\n\n"
        "| part | weight |\n|:---|---:|\n| bolt M6 | 12 g |\n\nIs this an answer?\n"
    )
    found = [one.text for one in _split(0, hit(0, text, media_type="text/markdown").item)]
    assert found == [
        "Use git checkout -b <branch> first.",
        "The template is Vec<String> and x < y.",
        "Bold end.",
        "part; weight",
        "bolt M6; 12 g",
    ]


@given(st.text(alphabet=st.sampled_from("ab. \n\t*_`#>|-[]()!\u2060中。"), max_size=120), st.booleans())
def test_offsets_lie_inside_the_text_in_order(text: str, markdown: bool) -> None:
    item = hit(0, text, media_type="text/markdown" if markdown else "text/plain").item
    last = 0
    for one in _split(0, item):
        assert last <= one.start < one.end <= len(text)
        last = one.start
        if not markdown:
            assert "".join(one.text.split()) == "".join(text[one.start : one.end].replace("\u2060", "").split())


@pytest.mark.parametrize("evil", ["![x](y)", "<b>", "[a](b)", "a\nb\n# c", "`x`", "*a* _b_", "&lt;"])
def test_markdown_in_words_is_shown_not_obeyed(evil: str) -> None:
    shown = escape_markdown(evil)
    assert "\n" not in shown
    for mark in "[]()<>*_`#!&":
        assert shown.count(mark) == shown.count("\\" + mark)
