"""Words that ask about something are told from words that name it, or wish for it."""

from __future__ import annotations

import pytest

from commonplace.text import asks

QUESTIONS = (
    "What breed is this?",
    "what is it made of",
    "where was this taken",
    "can you tell me who that is",
    "is it edible?",
    "这是什么品种",
    "这能吃吗",
    "¿Dónde es?",
)
THINGS = (
    "but with a red sled",
    "in the snow",
    "when it rains",
    "a dog which is wet",
    "how about green",
    "do you have this in red?",
    "is there one with wheels?",
    "换成红色的",
    "有没有红色的",
)


@pytest.mark.parametrize("words", QUESTIONS)
def test_a_question_asks(words: str) -> None:
    assert asks(words)


@pytest.mark.parametrize("words", THINGS)
def test_a_thing_or_a_wish_for_one_does_not_ask(words: str) -> None:
    assert not asks(words)
