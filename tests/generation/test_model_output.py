"""What a model wrote is read as sentences, lists, tables and listings, and is never changed."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonplace.generation import Abstention, ShownImage, Statement
from commonplace.generation.model_output import SentenceParser

ENGLISH = [
    "Edit .wslconfig first.",
    "It runs at 9.5 bar, e.g. in May.",
    'He said "no".',
    "Use `a[1]` or **bold**  text!",
]
CHINESE = ["北边的水泵需要蓝色的密封圈。", "压力为9巴，温度（最高）60℃。", "他说：“不行！”"]
CODE = ["wsl --set-version Ubuntu 2", "x = list[1]  # [2] stays", "    indented\n\n\tby a tab", "| no | table |"]
MARKERS = ["", " [1]", "[2]", " [1][3]", " [1, 2]", "【3】", " [1], [2]", " [9]"]


def read(text: str, sizes: Sequence[int] = (7,), evidence: Sequence[int] = range(3)) -> list[object]:
    """Return what is read of a text that comes in pieces of these sizes, in turn."""
    parser, at, parts = SentenceParser(evidence), 0, []
    for n in range(len(text)):
        if at >= len(text):
            break
        parts += parser.feed(text[at : at + sizes[n % len(sizes)]])
        at += sizes[n % len(sizes)]
    return [*parts, *parser.end()]


def statements(text: str, sizes: Sequence[int] = (7,)) -> list[Statement]:
    return [part for part in read(text, sizes) if isinstance(part, Statement)]


SENTENCES = st.lists(st.tuples(st.sampled_from([*ENGLISH, *CHINESE]), st.sampled_from(MARKERS)), min_size=1, max_size=3)


CELLS = st.sampled_from(["M6", "12 g", "蓝色", "`a[1]`", "9.5 bar"])


@st.composite
def answers(draw: st.DrawFn) -> tuple[str, str]:
    """Return what a model wrote, and the same without markers and fences."""
    written, plain = [], []
    for _ in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(["prose", "list", "numbers", "table", "code"]))
        if kind == "code":
            code = draw(st.sampled_from(CODE))
            written.append(f"```sh\n{code}\n```")
            plain.append(code)
        elif kind == "table":
            cells = draw(st.tuples(CELLS, CELLS))
            marker = draw(st.sampled_from(MARKERS))
            written.append(f"| Part | 重量 |\n|---|:-:|\n| {cells[0]} | {cells[1]}{marker} |")
            plain.append(f"| Part | 重量 |\n|---|:-:|\n| {cells[0]} | {cells[1]} |")
        else:
            sentences = draw(SENTENCES)
            bullet = {"prose": "", "list": "- ", "numbers": "3. "}[kind]
            written.append(bullet + " ".join(text + marker for text, marker in sentences))
            plain.append(bullet + " ".join(text for text, _marker in sentences))
    return "\n\n".join(written), "\n\n".join(plain)


@settings(deadline=None, max_examples=120)
@given(answers(), st.lists(st.integers(1, 40), min_size=1, max_size=4))
def test_what_the_model_wrote_stays_byte_for_byte(answer: tuple[str, str], sizes: list[int]) -> None:
    """In any pieces: the texts stand in the answer in order, and only white space lies between them."""
    written, plain = answer
    at = 0
    for statement in statements(written, sizes):
        start = plain.find(statement.text, at)
        assert start >= 0, (statement.text, plain[at:])
        assert not plain[at:start].strip(), plain[at:start]
        at = start + len(statement.text)
    assert not plain[at:].strip(), plain[at:]


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=200), st.lists(st.integers(1, 30), min_size=1, max_size=3))
def test_any_text_without_markers_stays(text: str, sizes: list[int]) -> None:
    """Only lines without a letter or digit, and the marks of fences, are left out."""
    text = re.sub(r"[\[【`~]|<think>|NO ANSWER|[Pp]icture", "", text)
    if text.lstrip().startswith("<"):
        return
    kept = "".join(statement.text for statement in statements(text, sizes))
    words = [line for line in text.split("\n") if any(map(str.isalnum, line))]
    assert [c for c in kept if c.isalnum()] == [c for line in words for c in line if c.isalnum()]
    for statement in statements(text, sizes):
        assert all(line in text for line in statement.text.split("\n"))


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("Edit [1] .wslconfig first.", "Edit .wslconfig first."),
        ("Edit [1].wslconfig first.", "Edit .wslconfig first."),
        ("The seal is blue [1].", "The seal is blue."),
        ("The seal is blue. [1]", "The seal is blue."),
        ("[1] The seal is blue.", "The seal is blue."),
        ("The seal [1][2] is  blue.", "The seal is  blue."),
        ("密封圈[1]是蓝色的【2】。", "密封圈是蓝色的。"),
        ("Set `a[1]` to 2 [1].", "Set `a[1]` to 2."),
        ("See __init__.py and *args [2].", "See __init__.py and *args."),
        ("5 < 6 && x ; y [1] !", "5 < 6 && x ; y !"),
    ],
)
def test_only_markers_go(written: str, text: str) -> None:
    for size in (1, 5, 100):
        (statement,) = statements(written, [size])
        assert statement.text == text and len(statement.hits) >= 1


def test_markers_belong_to_their_sentences_and_evidence_has_numbers_of_its_own() -> None:
    text = "One is here. [1] Two is [2] there. Three is nowhere. [3][7]"
    parts = read(text, evidence=(4, 9, 11))
    assert [part.hits for part in parts if isinstance(part, Statement)] == [(4,), (9,), (11,)]
    assert sum(part.invalid_citations for part in parts if isinstance(part, Statement)) == 1


LIST = """The north pump needs: [1]
- the blue seal
- a valve:
  - of brass [2]. It is old.

| Part | Weight |
|---|---|
| M6 | 12 g [1] |
| M8 [2] | 14 g | [3]

Run this:

```sh
wsl --update
```
[2]
"""


def test_lists_tables_and_listings() -> None:
    seen = {part.text: part for part in statements(LIST)}
    lead, blue, valve = seen["The north pump needs:"], seen["- the blue seal"], seen["- a valve:"]
    assert lead.leads and lead.hits == (0,) and valve.leads and not blue.leads and blue.layout == "item"
    assert blue.context == "The north pump needs:" and blue.hits == (0,)  # it has no marker of its own
    brass = seen["  - of brass."]
    assert brass.context == "The north pump needs: a valve:" and brass.hits == (1,)
    names, light, heavy = (seen[text] for text in seen if text.startswith("|"))
    assert names.leads and names.text == "| Part | Weight |\n|---|---|" and names.context == ""
    assert [(cell.column, cell.text, cell.hits) for cell in light.cells] == [
        ("Part", "M6", ()),
        ("Weight", "12 g", (0,)),
    ]
    assert heavy.hits == (1, 2) and [cell.text for cell in heavy.cells] == ["M8", "14 g"]
    code = seen["wsl --update"]
    assert code.code and code.hits == (1,) and seen["Run this:"].leads


def test_a_line_with_a_colon_before_a_paragraph_is_a_sentence() -> None:
    first, second = statements("The pump is like this: [1]\n\nIt is blue. [2]\n")
    assert not first.leads and not second.context and first.hits == (0,)


@pytest.mark.parametrize("size", [1, 4, 1000])
def test_pictures_abstentions_and_thoughts(size: int) -> None:
    text = "<think>Hm. [1]\n- a</think>It is blue. [1]\nPicture [2]: a red   ball\nNO ANSWER"
    sentence, picture, abstention = read(text, [size])
    assert isinstance(sentence, Statement) and sentence.text == "It is blue."
    assert picture == ShownImage(1, "a red   ball") and isinstance(abstention, Abstention)


def test_an_unfinished_end_is_left_out() -> None:
    for text, texts in (
        ("One is here. [1] Two is th", ["One is here."]),
        ("| a | b |\n|---|---|\n| 1 | 2 |\n| 3 |", ["| a | b |\n|---|---|", "| 1 | 2 |"]),
        ("```\nx = 1\ny = ", ["x = 1"]),
    ):
        parser = SentenceParser(range(3))
        parts = [*parser.feed(text), *parser.end(complete=False)]
        assert [part.text for part in parts if isinstance(part, Statement)] == texts
