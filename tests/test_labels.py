"""The labelled questions of the benchmarks agree with their texts."""

from __future__ import annotations

import importlib
import re
from types import ModuleType

import pytest

import commonplace as cp
from tests.conftest import ROOT


@pytest.fixture
def household(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module ``household``."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("household")


def answer_of(text: str) -> cp.Answer:
    return cp.Answer("?", (cp.Block("text", text, ()),), (), ())


def test_each_document_of_two_languages_holds_the_answers_to_its_questions(household: ModuleType) -> None:
    rows = [*household.questions(dev=True), *household.questions(dev=False)]
    answered = [row for row in rows if "document" in row]
    assert len(answered) == 96 and {row["document"] for row in answered} == set(household.texts("en"))
    assert list(household.texts("en")) == list(household.texts("zh"))
    for row in answered:
        assert re.search("[\u4e00-\u9fff]", row["zh"]) and row["en"].isascii()
        for code in household.LANGUAGES:
            assert household.says(answer_of(household.texts(code)[row["document"]]), row["answer"]), (code, row["en"])


def test_each_document_stands_once_in_each_language(household: ModuleType) -> None:
    first, second = household.languages_of(0), household.languages_of(1)
    assert all({first[name], second[name]} == {"zh", "en"} for name in first)
    for dev in (True, False):  # neither half has more of one language
        names = {row["document"] for row in household.questions(dev) if "document" in row}
        assert sum(first[name] == "zh" for name in names) == len(names) / 2


def test_numbers_of_an_answer_stand_as_a_whole(household: ModuleType) -> None:
    assert household.says(answer_of("It holds 1,000 litres."), [["1000"]])
    assert not household.says(answer_of("It holds 21,000 litres."), [["1000"]])
    assert household.says(answer_of("租金是890欧元。"), [["890"], ["eur", "欧元"]])
