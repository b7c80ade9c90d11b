"""The lexical index's words: unsegmented scripts in pairs, questions as safe expressions."""

import json
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonplace.store.schema import LEXICON
from commonplace.text import index_words, names, query_words, terms
from tests.conftest import data


def _found(text: str, question: str) -> bool:
    database = sqlite3.connect(":memory:")
    database.execute(LEXICON.format("lexicon"))
    database.execute("INSERT INTO lexicon (rowid, words) VALUES (1, ?)", (index_words(text),))
    words = query_words(question)
    if not words:
        return False
    return bool(database.execute("SELECT 1 FROM lexicon WHERE lexicon MATCH ?", (" OR ".join(words),)).fetchall())


@pytest.mark.parametrize(
    ("text", "question", "expected"),
    [
        ("一只黑猫坐在红色的垫子上", "黑猫", True),
        ("一只黑猫坐在红色的垫子上", "垫子", True),
        ("黑猫", "猫", True),  # one character, also at the end of a run
        ("猫粮", "猫", True),
        ("一只黑猫坐在红色的垫子上", "白狗", False),
        ("東京タワーへ行く", "タワー", True),
        ("สวัสดีชาวโลก", "ชาวโลก", True),
        ("the Ångström unit", "angstrom", True),
        ("retrieving pictures", "retrieve", True),
        ("ＦＵＬＬ width", "full", True),
        ("a plain sentence", "quantum", False),
        ("what is this", "what is this", True),  # nothing but stop words: they count
        # traditional, simplified, Taiwanese, Hong Kong and Japanese forms of a character
        ("水泵的密封圈需要更换", "密封圈需要更換", True),
        ("軟體開發與資料庫", "数据与软体", True),
        ("圖書館在三樓", "图书馆", True),
        ("这里面有说明", "裡面", True),
        ("這裏的衞生間", "这里卫生", True),
        ("國際學會の會場", "国際学会", True),
        ("気象庁の発表", "氣象廳", True),
        ("⻓度单位", "长度", True),  # a radical, as in PDF files
        # width, kana, iteration marks, invisible characters
        ("ＡＢＣ股份有限公司", "abc股份", True),
        ("ｶﾞﾗｽの容器", "ガラス", True),
        ("佐々木さん", "佐佐木", True),
        ("いすゞ自動車", "いすず", True),
        ("密\u200b封\u200b圈", "密封", True),
        ("re\u00adtrieval", "retrieval", True),
        # line ends inside words, in texts and questions, but not at the end of a paragraph or between Latin words
        ("更换密\n封圈", "密封", True),
        ("更换密 \r\n　　封圈", "密封", True),
        ("更换密封圈", "密\n封", True),
        ("更换密\n\n封圈", "密封", False),
        ("the seal\nring", "sealring", False),
        ("目　录", "目录", True),
        ("姓  名：张三", "姓名", True),
        ("水 火", "水", True),
        # numerals
        ("会议在三月五日举行", "3月5日", True),
        ("会议在 3 月 5 日举行", "三月五日", True),
        ("一共一百二十台", "120", True),
        ("一共 120 台", "一百二十", True),
        ("壹佰贰拾元整", "120元", True),
        ("二〇二四年", "2024", True),
        ("一千九百四十九年", "1949", True),
        ("总价3.5万元", "35000", True),
        ("总价三万五千元", "35,000元", True),
        ("一亿二千万人", "120000000", True),
        ("第三章", "第3章", True),
        ("③号", "3", True),
        ("三明治", "3明", False),
        ("三四十个", "34", False),
        ("千千万万", "1000", False),
        # several scripts in one word
        ("透明的iPhone手机壳", "iPhone 手机壳", True),
        ("C語言教程", "C语言", True),
        ("用Python写的", "python", True),
        # Korean: particles, compounds
        ("서울에서 만났다", "서울", True),
        ("서울에서 만났다", "서울은", True),
        ("서울대학교 도서관", "대학교", True),
        ("도서관은 월요일에 쉽니다", "서울", False),
        ("물은 매일 갈아 주세요", "고양이의 물을", True),
        ("水は毎日取り替えます", "猫の水を", True),
        ("밀봉 링을 교\n체한다", "교체", True),
        # scripts whose words have vowel signs; others that no model knows; stacked marks; emoji
        ("यह हिन्दी में लिखा है", "हिन्दी", True),
        ("यह हिन्दी में लिखा है", "हिमालय", False),
        ("ክፍል ሁለት፡ሦስት", "ሦስት", True),
        ("བོད་སྐད་ཡིག", "སྐད", True),
        ("h̷̢e̸l̵l̶o̷ world", "hello", True),
        ("hello world", "h̷̢e̸l̵l̶o̷", True),
        ("שָׁלוֹם", "שלום", True),
        ("lunch 🍕 at noon", "🍕?", True),
        ("a slice of pizza", "🍕", True),
        ("lunch 🍕 at noon", "🍺", False),
        ("agreed 👍", "👍🏽", True),
        ("thumbs up", "👍🏽", True),
    ],
)
def test_words_are_found(text: str, question: str, expected: bool) -> None:
    assert _found(text, question) is expected


def test_a_question_of_signs_only_has_no_words() -> None:
    assert query_words("?! -- …") == query_words("") == []


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("什么是密封圈？", "什么都没有"),
        ("請問密封圈在哪裡？", "请问在哪里"),
        ("密封圈怎么更换", "怎么办才好"),
        ("ガラスはどこですか", "それはどこですか"),
        ("회의는 언제입니까?", "그것은 언제입니까?"),
    ],
)
def test_question_words_find_nothing_beside_other_words(question: str, text: str) -> None:
    assert not _found(text, question)


@pytest.mark.parametrize("question", ["什么", "怎么办？", "どこですか", "언제?"])
def test_a_question_of_question_words_only_searches_them(question: str) -> None:
    assert _found(question, question)


@pytest.mark.parametrize("word", ["目的", "申请", "几何", "酒吧", "为人", "存在", "是非", "などの", "언제나"])
def test_words_with_characters_of_question_words_are_whole(word: str) -> None:
    assert query_words(word) == [f'"{word[i : i + 2]}"' for i in range(len(word) - 1)]


def test_the_name_of_an_emoji_counts_only_where_nothing_else_is_asked() -> None:
    assert _found("a person with folded hands", "🙏") and not _found("a person with folded hands", "reset the pump 🙏")


def test_stop_words_do_not_find_a_passage_by_themselves() -> None:
    assert not _found("this is about the sea", "where is the mountain")


@given(st.text(max_size=200), st.text(max_size=60))
def test_any_text_and_question_are_safe(text: str, question: str) -> None:
    clean = [part.encode("utf-8", "replace").decode() for part in (text, question)]
    _found(clean[0], clean[1])


def test_naughty_strings_are_safe() -> None:
    for string in json.loads((data("blns") / "blns.json").read_text(encoding="utf-8")):
        _found("some text", string)


def test_terms_meet_across_endings() -> None:
    assert terms("retrieval of pictures") & terms("to retrieve a picture") == {"retrie", "pictur"}
    assert terms("黑猫坐着") >= {"黑猫"}


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("軟體開發", "软体开发"),
        ("三月五日", "3月5日"),
        ("서울에서", "서울은"),
        ("密\n封圈", "密封圈"),
        ("ﾘﾝｺﾞ", "リンゴ"),
        ("C語言", "C 语言"),
        ("😀", "x 😀"),
    ],
)
def test_terms_meet_across_spellings(text: str, other: str) -> None:
    assert terms(text) & terms(other)


def test_an_abbreviation_is_no_plural() -> None:
    assert not terms("headache at AMS") & terms("at 6 am")
    assert terms("pumps") == terms("pump")


def test_different_emoji_are_different_terms() -> None:
    assert not terms("🍕") & terms("🍺")


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Who painted the Mona Lisa?", {"mona", "lisa"}),
        ("What does error 0x80370102 mean?", {"0x8037"}),
        ("what is a pump", set()),
        ("Which pump needs the blue seal?", set()),
        ("How much does a bolt M6 weigh?", {"m6"}),
        ("水泵什么时候干转？", set()),
        ("用 Python 怎么写？", {"python"}),
        ("水泵在2024年换过吗 🍕", {"2024"}),
    ],
)
def test_names_are_numbers_and_capitalised_words(question: str, expected: set[str]) -> None:
    assert names(question) == expected


def test_terms_have_no_accents() -> None:
    assert terms("Raphaël Þórsson, Saint-Exupéry") == terms("Raphael Thorsson, Saint Exupery")
    assert terms("Größe") == terms("Grösse") and terms("が") != terms("か")
