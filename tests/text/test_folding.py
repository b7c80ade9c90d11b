"""The table of variants, and the folding by it."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

import commonplace.text.folding as folding
from commonplace.text.folding import fold

LINES = Path(folding.__file__).with_name("variants.txt").read_text(encoding="utf-8").splitlines()


def test_a_character_stands_in_one_class() -> None:
    characters = "".join(LINES)
    assert len(set(characters)) == len(characters) and all(len(line) > 1 for line in LINES)


def test_forms_of_different_meaning_are_kept_apart() -> None:
    for pair in ("予豫", "欠缺", "沪滤", "咲笑", "连联", "土士", "己已"):
        assert fold(pair[0]) != fold(pair[1]), pair


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_folding_twice_changes_nothing_more(text: str) -> None:
    assert fold(fold(text)) == fold(text)


def test_plain_text_stays() -> None:
    assert fold("A plain text\nof two lines.") == "A plain text\nof two lines."
    assert fold("« déjà vu »") == "« déjà vu »"
