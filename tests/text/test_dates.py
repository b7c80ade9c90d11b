"""Dates in any usual spelling, and which of them agree."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonplace.text.dates import agree, dates, without_dates

DAY = (2026, 5, 6)


@pytest.mark.parametrize(
    "text",
    [
        "6 May 2026",
        "May 6, 2026",
        "the 6th of May 2026",
        "2026-05-06",
        "06.05.2026",
        "6. Mai 2026",
        "2026年5月6日",
        "二〇二六年五月六日",
    ],
)
def test_a_day_in_any_spelling_is_the_same_day(text: str) -> None:
    assert dates(f"On {text} it was decided.") == {DAY}


def test_what_is_left_out_agrees_with_everything() -> None:
    assert dates("in May 2026") == {(2026, 5, None)} and dates("on 6 May") == {(None, 5, 6)}
    assert agree((2026, 5, None), DAY) and agree((None, 5, 6), DAY) and not agree((None, 5, 7), DAY)
    assert dates("in May") == dates("3.2 came in the spring of 2026") == dates("you may try 13 times") == frozenset()


def test_dates_are_taken_out_of_a_question() -> None:
    assert without_dates("What was decided on 4 March 2026?").split() == ["What", "was", "decided", "on", "?"]
    assert without_dates("What is new in 3.1?") == "What is new in 3.1?"


@given(st.dates(min_value=datetime.date(1900, 1, 1), max_value=datetime.date(2099, 12, 31)))
def test_every_day_is_read_in_each_form(day: datetime.date) -> None:
    expected = {(day.year, day.month, day.day)}
    assert (
        dates(day.isoformat()) == dates(f"{day:%d %B %Y}") == dates(f"{day.year}年{day.month}月{day.day}日") == expected
    )
