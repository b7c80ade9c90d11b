"""Other spellings of names, codes and numbers."""

from __future__ import annotations

import pytest

from commonplace.text.respelling import LONGEST_PART, doubtful, likeliest, spellings_of


def test_parts_that_may_be_written_otherwise() -> None:
    assert list(doubtful("price of AB1234")) == ["AB1234", "price"]
    assert list(doubtful("ab 12-34")) == ["ab 12-34"]
    assert list(doubtful("in 2024")) == ["2024"]  # no code "in 2024"
    assert list(doubtful("on 2024-03-05")) == []  # a day has its own spellings
    assert list(doubtful("the data base")) == ["data base"]
    assert list(doubtful("密封圈 和 水泵")) == []
    assert list(doubtful("ghost_adapetr_3.png")) == ["3", "ghost", "adapetr"]
    assert list(doubtful("?!")) == []


@pytest.mark.parametrize("part", ["w" * 20_000, "a-" * 10_000, "1-" * 10_000, "9" * 20_000, f"{'w' * 10_000} x"])
def test_a_part_without_end_is_not_written_otherwise(part: str) -> None:
    """The spellings of one long word fill all memory."""
    assert [one for one in doubtful(part) if len(one) > LONGEST_PART] == []


def test_codes_are_written_in_groups_and_years_are_not() -> None:
    assert {"ab 1234", "ab 12 34"} <= spellings_of("AB1234")
    assert "ab1234" in spellings_of("ab 12-34")
    assert spellings_of("2024") == set()
    assert "de44 5001 0517 5407 3249 31" in spellings_of("DE44500105175407324931")
    assert not any(spelling.startswith("a ") for spelling in spellings_of("AB1234"))
    assert max(len(spellings_of(text)) for text in ("+49 (30) 1234567-89", "AB12CD34EF56GH78")) < 10_000


def test_a_telephone_number_is_looked_up_with_and_without_its_country() -> None:
    assert "030 1234567" in spellings_of("+49 30 1234567")
    assert "30 1234567" in spellings_of("030/1234567")


def test_names_are_written_in_one_word_or_two() -> None:
    assert "o brien" in spellings_of("OBrien") and spellings_of("O'Brien") == {"obrien"}
    assert "exupery" in spellings_of("Exupéri")
    assert likeliest("obrien", {"brien": 9, "o brien": 1}) == "o brien"
