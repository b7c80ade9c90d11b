"""Numbers, dates, times and measures have one spelling in Chinese and English; other words keep theirs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonplace.text import in_digits, measures

NUMBERS = ["一百二十", "１２０", "壹佰贰拾", "一二〇", "a hundred and twenty", "one hundred twenty", "120"]
DATES = [
    "2024年3月5日",
    "二〇二四年三月五日",
    "二零二四年三月五号",
    "2024-03-05",
    "2024/3/5",
    "2024年03月05日",
    "2024년 3월 5일",
    "5 March 2024",
]


@pytest.mark.parametrize("text", NUMBERS)
def test_a_number_has_one_spelling(text: str) -> None:
    assert in_digits(f"{text} 个").replace(" 个", "") == "120"


@pytest.mark.parametrize("text", DATES)
def test_a_date_has_one_spelling(text: str) -> None:
    assert in_digits(text).strip() == "5 March 2024"


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("3.5万元", "35000 元"),
        ("35 thousand", "35000"),
        ("1.2亿", "120000000"),
        ("120 million", "120000000"),
        ("1万2千", "12000"),
        ("两万五千", "25000"),
        ("三千五", "3500"),
        ("一千零五十", "1050"),
        ("12,000", "12000"),
        ("百分之五", "5%"),
        ("百分之十二点五", "12.5%"),
        ("twenty-five", "25"),
        ("3.5 million", "3500000"),
        ("星期一", "Monday"),
        ("下午三点半", "下午 15:30"),
        ("3:30 pm", "15:30"),
        ("上午九点", "上午 9:00"),
        ("20世纪90年代", "1990s"),
        ("第五十届", "第 50 届"),
        ("十四棵树", "14 棵树"),
    ],
)
def test_numbers_become_digits(text: str, plain: str) -> None:
    assert in_digits(text).strip() == plain


@pytest.mark.parametrize(
    "text",
    [
        "三明治",
        "万一下雨",
        "一起去",
        "四川",
        "二手车",
        "十分重要",
        "百姓",
        "三四天",
        "几十个",
        "千方百计",
        "第一次",
        "one or two",
    ],
)
def test_words_with_numerals_stay_words(text: str) -> None:
    assert in_digits(text) == text


@pytest.mark.parametrize(
    ("chinese", "english", "measure"),
    [
        ("5公斤", "5 kg", ("5", "kg")),
        ("五千克", "five kilograms", ("5", "kg")),
        ("三小时", "3 hours", ("3", "hour")),
        ("1200英镑", "1,200 pounds", ("1200", "pound")),
        ("九巴", "9 bar", ("9", "bar")),
        ("百分之五", "5 percent", ("5", "%")),
        ("二十米", "twenty metres", ("20", "m")),
        ("3千米", "3 km", ("3", "km")),
    ],
)
def test_a_measure_has_one_unit(chinese: str, english: str, measure: tuple[str, str]) -> None:
    assert measures(chinese) == measures(english) == {measure}


def test_a_school_year_is_no_measure() -> None:
    assert measures("五年级有三个班") == frozenset()


@settings(deadline=None, max_examples=200)
@given(
    st.text(
        alphabet=st.sampled_from("一二三十百千万亿〇两点分之年月日号时半第几个星期 0123456789,.:/-apm世纪"), max_size=24
    )
)
def test_any_text_can_be_read(text: str) -> None:
    assert in_digits(in_digits(text)) is not None
    assert isinstance(measures(text), frozenset)
