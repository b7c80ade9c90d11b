"""Chunks: exact offsets, never over the token limit, nothing lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from commonplace.readers.chunks import Chunker, _text_windows
from tests.readers.conftest import TOKENIZER

LIMIT = 64
_cutter = Chunker(str(TOKENIZER), LIMIT)

words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)
texts = st.lists(
    st.one_of(
        words,
        st.sampled_from(
            ["\n\n", "\r\n", " ", "\n# Head\n", "```\ncode\n", "- item\n", "汉字没有空格", "🙂", "a" * 400]
        ),
        st.integers(1, 40).map(lambda n: "A sentence of some length stands here. " * n),
    ),
    max_size=20,
).map("".join)
titles = st.one_of(st.none(), words, st.integers(1, 40).map(lambda n: " > ".join(["A heading"] * n)))


@given(texts, titles, st.booleans())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_chunks_are_exact_within_the_limit_and_complete(text: str, title: str | None, markdown: bool) -> None:
    title = _cutter.title(title)
    assert title is None or _cutter.count(title) <= LIMIT // 4
    before = 0
    dropped = []
    for start, end in _cutter.chunks(text, title, markdown=markdown):
        assert before <= start < end <= len(text)
        dropped.append(text[before:start])
        before = end
        view = f"{title}\n{text[start:end]}" if title else text[start:end]
        assert text[start:end].strip()
        assert 0 < _cutter.count(view) <= LIMIT - 2
    dropped.append(text[before:])
    for gap in dropped:  # only white space and characters that the tokenizer does not see
        assert _cutter.count(gap) == 0


def test_limit_counts_special_tokens(count: Callable[[str], int]) -> None:
    text = "word " * 2000
    sizes = [count(text[start:end]) for start, end in _cutter.chunks(text)]
    assert max(sizes) <= LIMIT
    assert sum(sizes) > 2000  # and none was cut by the tokenizer's own truncation


def test_an_endless_run_of_letters_ends_in_chunks() -> None:
    spans = list(_cutter.chunks("a" * 100_000))
    assert spans[0][0] == 0 and spans[-1][1] == 100_000
    assert max(end - start for start, end in spans) <= 8 * LIMIT


def test_boundaries_are_paragraphs_where_they_fit() -> None:
    paragraphs = [f"Paragraph {n} says this. " + "It goes on for a while with plain words. " * 4 for n in range(6)]
    text = "\n\n".join(paragraph.strip() for paragraph in paragraphs)
    assert [text[start:end] for start, end in _cutter.chunks(text)] == text.split("\n\n")


def test_sentences_are_kept_whole_under_the_limit() -> None:
    text = " ".join(f"Sentence number {n} is about the topic of numbers." for n in range(40))
    for start, end in _cutter.chunks(text):
        assert text[start:end].startswith("Sentence") and text[start:end].endswith(".")


def test_split_as_decides_where_but_not_what() -> None:
    text = "\n".join(f"line {n} ends here" for n in range(60)) + "\n\nSecond paragraph."
    flow = text.replace("here\nline", "here line")
    pieces = [text[start:end] for start, end in _cutter.chunks(text, split_as=flow)]
    assert pieces[-1] == "Second paragraph." or pieces[-1].endswith("\n\nSecond paragraph.")
    assert all(piece in text for piece in pieces) and "\n" in pieces[0]


@pytest.mark.parametrize(
    ("title", "kept"),
    [
        ("Guide > Pumps > Seals", "Guide > Pumps > Seals"),
        ("Chapter one is long > " * 6 + "Seals", "Chapter one is long > Chapter one is long > Seals"),
        ("  white \n space ", "white space"),
        ("", None),
    ],
)
def test_titles_are_cut_from_the_left(title: str, kept: str | None) -> None:
    assert _cutter.title(title) == kept


def test_long_captions_are_cut_visibly() -> None:
    caption = _cutter.caption("a caption that never ends " * 30, "Title")
    assert caption is not None and caption.endswith(" …")
    assert LIMIT - 8 <= _cutter.count(f"Title\n{caption}") <= LIMIT - 2
    assert _cutter.caption(" short  one ", None) == "short one"
    assert _cutter.caption("  ", None) is None


@pytest.mark.timeout(100)  # in proportion it takes two seconds, and squared an hour
@pytest.mark.parametrize(
    "text", ["需要蓝色密封圈的泵是哪一个" * 6000, "QWxhZGRpbjpvcGVuIHNlc2FtZQ+/" * 6000, "x\n" * 60_000]
)
def test_long_texts_take_time_in_proportion(text: str) -> None:
    spans = list(_cutter.chunks(text))
    assert "".join(text[start:end] for start, end in spans).split() == text.split() or "\n" in text
    assert spans[-1][1] >= len(text) - 1


def test_windows_meet_and_end_where_a_thought_does() -> None:
    text = "A sentence of some length stands here. " * 3000
    spans = list(_text_windows(text))
    assert [start for start, _ in spans[1:]] == [end for _, end in spans[:-1]]
    assert spans[0][0] == 0 and spans[-1][1] == len(text)
    assert all(text[:end].endswith(". ") and end - start <= 16_000 for start, end in spans)


def test_a_tokenizer_that_cuts_and_pads_does_not_cut_or_pad_here(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    tokenizer.enable_truncation(16)
    tokenizer.enable_padding(length=16)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    cutter = Chunker(str(tmp_path / "tokenizer.json"), LIMIT)
    assert cutter.count("one") == 1 and cutter.count("word " * 100) == 100
    text = "word " * 2000
    assert list(cutter.chunks(text)) == list(_cutter.chunks(text))


def test_what_a_splitter_makes_too_large_is_cut_again() -> None:
    text = "A sentence of some length stands here. " * 200
    spans = list(_cutter._split(text, text, 0, None, 0, 3 * LIMIT, False))
    assert max(_cutter.count(text[start:end]) for start, end in spans) <= LIMIT - 2
    assert sum(_cutter.count(text[start:end]) for start, end in spans) == _cutter.count(text)
