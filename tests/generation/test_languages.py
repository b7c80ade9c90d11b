"""Questions in Chinese get what questions in English get, and a citation is checked across languages.

What needs meaning across languages runs with the multilingual bundle, where it is installed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

import commonplace as cp
from commonplace.cli.answers import render
from commonplace.encoders.packaged import packaged
from commonplace.generation import GroundingChecker, subject, wants_pictures
from commonplace.generation.claims import facts, negations, spellings
from commonplace.generation.contradictions import opposite_meaning, opposite_words
from commonplace.generation.follow_ups import depends, rewrite_by_rule
from commonplace.generation.intent import attribute, wants_listing
from commonplace.generation.relevance import same_language
from commonplace.generation.sentences import segment, split
from commonplace.retrieval import Calibration
from commonplace.space import Space, open_space
from commonplace.text import language_of
from tests.generation.conftest import hit

MULTILINGUAL = "multilingual"
multilingual = pytest.mark.skipif(MULTILINGUAL not in packaged(), reason="needs packages/multilingual")

# --- what a question asks for -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "wanted"),
    [
        ("给我看狗在沙滩上的照片", "狗在沙滩上"),
        ("有没有雪山的图片？", "雪山"),
        ("有什么海边的照片？", "海边"),
        ("来一张日落的照片", "日落"),
        ("发我一张红色汽车的图", "红色汽车"),
        ("请给我看一张两个人骑马的照片", "两个人骑马"),
        ("请展示水泵的结构图", "水泵"),
        ("这个阀门是什么样子的", "这个阀门"),
        ("显示一只在草地上奔跑的狗", "在草地上奔跑的狗"),
        ("讓我看看貓的圖片", "貓"),
    ],
)
def test_pictures_are_asked_for_in_chinese(question: str, wanted: str) -> None:
    assert wants_pictures(question) and subject(question) == wanted


@pytest.mark.parametrize(
    "question",
    [
        "帮我看看会议是哪天",
        "看看合同什么时候到期",
        "地图软件怎么用",
        "给我看看发票金额是多少",
        "展示会在哪里举行",
        "照明怎么安装",
    ],
)
def test_other_chinese_questions_ask_for_words(question: str) -> None:
    assert not wants_pictures(question)


def test_how_to_questions_and_attributes_in_chinese() -> None:
    assert wants_listing("怎么安装水泵？") and wants_listing("启动服务的命令是什么")
    assert not wants_listing("水泵怎么样？") and not wants_listing("水泵的压力是多少？")
    assert attribute("弗雷斯诺的GDP是多少？") == {"gdp"} and attribute("弗雷斯诺有多少家医院？") == {"医院"}
    assert not attribute("磨坊的名字叫什么？") and not attribute("北边的水泵需要什么密封圈？")


@pytest.mark.parametrize(
    ("question", "before", "carried"),
    [
        ("它多重？", "红色的阀门在哪里？", "阀门"),
        ("那个呢？", "北边的水泵需要什么密封圈？", "密封圈"),
        ("那南边的呢？", "北边的水泵压力是多少？", "压力"),
        ("还有别的吗？", "博物馆几点开门？", "博物馆"),
        ("为什么？", "水泵为什么不能空转？", "空转"),
    ],
)
def test_follow_ups_in_chinese_take_what_they_lack(question: str, before: str, carried: str) -> None:
    assert depends(question) and carried in rewrite_by_rule(question, before)


# --- what a text claims -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chinese", "english"),
    [
        ("博物馆于2024年3月5日开放。", "The museum opened on 5 March 2024."),
        ("花园里有一百二十棵树。", "The garden has a hundred and twenty trees."),
        ("全城有3.5万人。", "The whole town has 35,000 people."),
        ("价格上涨了百分之五。", "The price rose by 5%."),
        ("会议在星期三下午三点开始。", "The meeting begins on Wednesday at 3 pm."),
        ("他买了Thinkpad X1。", "He bought a Thinkpad X1."),
        ("公司成立于二〇〇八年。", "The company was founded in 2008."),
    ],
)
def test_facts_are_equal_in_both_languages(chinese: str, english: str) -> None:
    assert facts(chinese) and facts(chinese) <= spellings(english) | facts(english)
    assert facts(english) <= spellings(chinese) | facts(chinese)


def test_another_date_is_another_fact() -> None:
    assert not facts("博物馆于三月六日开放。") <= spellings("The museum opened on 5 March.")
    assert not facts("博物馆于五月五日开放。") <= spellings("The museum opened on 5 March.")
    assert not facts("花园里有一百二十一棵树。") <= spellings("The garden has 120 trees.")


def test_opposites_and_negations_in_chinese() -> None:
    assert opposite_words("产量增加了。", "产量减少了。") and not opposite_words("产量增加了。", "产量增加很快。")
    assert opposite_meaning("产量增加了。", "Production decreased.")
    assert opposite_meaning("The pump on the north side leaks.", "南边的水泵漏水。")
    assert not opposite_meaning("产量减少了。", "Production decreased.")
    assert negations("水泵不能空转。") and negations("没有人来。")
    assert not negations("不锈钢非常特别，未来不仅便宜。")


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("第一句。第二句！第三句？", ["第一句。", "第二句！", "第三句？"]),
        ("「はい。」と言った。次です。", ["「はい。」と言った。", "次です。"]),
        ("U.S.的标准是3.5。完了。", ["U.S.的标准是3.5。", "完了。"]),
        ("真好……走吧。It works. 好的。", ["真好……走吧。", "It works.", "好的。"]),
    ],
)
def test_sentences_of_east_asian_text(text: str, sentences: list[str]) -> None:
    assert [sentence.strip() for sentence in segment(text)] == sentences


def test_chinese_lines_lists_and_headings() -> None:
    def sentences(text: str) -> list[str]:
        return [sentence.text for sentence in split(0, hit(0, text).item)]

    wrapped = "北边的水泵需要蓝色的密\n封圈，压力为九巴，每年\n检查一次。"
    assert sentences(wrapped) == ["北边的水泵需要蓝色的密封圈，压力为九巴，每年检查一次。"]
    assert sentences("一、打开包装\n二、连接电源\n（三）按下开关") == ["一、打开包装", "二、连接电源", "（三）按下开关"]
    headed = "水泵说明\n北边的水泵需要蓝色的密封圈，压力为九巴。\n它不能空转。"
    assert sentences(headed) == ["水泵说明", "北边的水泵需要蓝色的密封圈，压力为九巴。", "它不能空转。"]


def test_the_language_of_a_text() -> None:
    assert language_of("北边的水泵") == "zh" and language_of("南のポンプ") == "ja" and language_of("남쪽 펌프") == "ko"
    assert same_language("水泵A在哪里", "北边的水泵") and not same_language("水泵在哪里", "The pump is in the shed.")
    assert same_language("M6", "M6 bolt")


# --- answers in the question's language ---------------------------------------------------------------------------

DOCUMENTS = {
    "泵.txt": "北边的水泵需要蓝色的密封圈，工作压力为9巴。南边的水泵工作压力为6巴，需要黄铜的密封圈。水泵不能空转。",
    "磨坊.txt": "罗本·哈罗于1893年建造了这座磨坊。哈丽特·洛于1921年5月4日以1200英镑将其卖出。",
    "安装.md": "# 安装\n\n用下面的命令安装磨坊控制器：\n\n```sh\nmiller install\n```\n",
    "shop.txt": "The shop opens at nine in the morning and closes on Mondays. Bread costs four euros.",
    "library.txt": "Readers may borrow up to five books for thirty days. Late returns cost a fine.",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two-languages")
    for name, text in DOCUMENTS.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def kb(folder: Path) -> Iterator[cp.Collection]:
    with cp.open(folder / "kb") as kb:
        kb.add(folder, progress=False)
        yield kb


def said(answer: cp.Answer) -> str:
    return "".join(block.text for block in answer.blocks)


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("磨坊是谁建造的？", ["罗本"]),
        ("磨坊是什么时候卖掉的？", ["1921年5月4日"]),
        ("怎么安装磨坊控制器？", ["miller install"]),
        ("北边的水泵和南边的水泵有什么区别？", ["9巴", "6巴"]),
        ("水泵能空转吗？", ["不能空转"]),
    ],
)
def test_questions_of_every_kind_in_chinese(kb: cp.Collection, question: str, words: list[str]) -> None:
    answer = kb.ask(question)
    assert all(word in said(answer) for word in words) and answer.language == "zh"
    assert not any(citation.language for citation in answer.citations)
    assert re.search(r"，第 \d+ 行$", answer.citations[0].place)


def test_an_abstention_and_a_page_are_in_the_questions_language(kb: cp.Collection) -> None:
    absent = kb.ask("红烧肉怎么做才不腻？")
    assert absent.abstained and "没有" in (absent.reason or "") and "collection" not in (absent.reason or "")
    english = kb.ask("How do I bake a chocolate cake?")
    assert english.abstained and "collection" in (english.reason or "")
    page = kb.ask("磨坊是谁建造的？").html()
    assert 'lang="zh"' in page and "出处" in page and "Sources" not in page


def test_the_reason_of_a_weak_sentence_is_in_the_questions_language(space: Space, calibration: Calibration) -> None:
    source = [hit(0, "北边的水泵需要蓝色的密封圈，压力为9巴。")]
    checker = GroundingChecker(space, calibration, source, language="zh")
    for lie in ("北边的水泵需要红色的密封圈，压力为9巴。", "北边的水泵需要蓝色的密封圈，压力为12巴。"):
        reason = checker.check(lie, [0]).reason
        assert reason and "出处" in reason
    block = cp.Block("text", "x", (1,), "weak", "出处没有这样说", question_language="zh")
    assert block.support_note == "（依据较弱：出处没有这样说）"


def test_a_numeral_is_checked_in_any_spelling(space: Space, calibration: Calibration) -> None:
    checker = GroundingChecker(space, calibration, [hit(0, "花园里有一百二十棵苹果树，2024年3月5日开放。")])
    assert checker.check("花园里有120棵苹果树，二〇二四年三月五日开放。", [0]).level == "supported"
    for lie in ("花园里有130棵苹果树。", "花园里有一百二十棵苹果树，三月六日开放。", "花园2023年3月5日开放。"):
        assert checker.check(lie, [0]).level != "supported", lie


# --- across languages ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wide(folder: Path) -> Iterator[cp.Collection]:
    with cp.open(folder / "wide", model=MULTILINGUAL) as kb:
        kb.add([folder / name for name in DOCUMENTS], progress=False)
        yield kb


@multilingual
@pytest.mark.parametrize(
    ("question", "words", "language"),
    [
        ("商店几点开门？", "nine", "en"),
        ("读者最多可以借几本书？", "five books", "en"),
        ("At what pressure does the north pump run?", "9巴", "zh"),
        ("What seal does the north pump need?", "蓝色", "zh"),
        ("磨坊是谁建造的？", "罗本", None),
        ("How much does bread cost?", "four euros", None),
    ],
)
def test_a_question_is_answered_from_documents_in_any_language(
    wide: cp.Collection, question: str, words: str, language: str | None
) -> None:
    answer = wide.ask(question)
    assert words in said(answer)
    (citation,) = [citation for citation in answer.citations if words in (citation.quote or "")]
    assert citation.language == language
    note = {"en": "原文为英文", "zh": "in Chinese"}.get(language or "")
    assert note is None or note in render(answer)


ENGLISH = (
    "The north pump needs the blue seal and runs at 9 bar. The south pump runs at 6 bar. It was built on 4 May 1921."
)
CHINESE = "北边的水泵需要蓝色的密封圈，工作压力为9巴。南边的水泵工作压力为6巴。它不是1921年5月4日建造的。"


@multilingual
@pytest.mark.parametrize(
    ("sentence", "source", "is_true"),
    [
        ("北边的水泵需要蓝色的密封圈。", ENGLISH, True),
        ("南边的水泵压力为六巴。", ENGLISH, True),
        ("它建于1921年5月4日。", ENGLISH, True),
        ("The north pump needs the blue seal.", CHINESE, True),
        ("北边的水泵压力为6巴。", ENGLISH, False),
        ("北边的水泵压力为12巴。", ENGLISH, False),
        ("它建于1921年3月4日。", ENGLISH, False),
        ("北边的水泵不需要蓝色的密封圈。", ENGLISH, False),
        ("月亮是绿色的奶酪做的。", ENGLISH, False),
        ("The south pump runs at 9 bar.", CHINESE, False),
        ("The north pump runs at 9 kg.", CHINESE, False),
        ("It was built on 4 May 1921.", CHINESE, False),
    ],
)
def test_a_sentence_is_checked_by_a_source_in_another_language(sentence: str, source: str, is_true: bool) -> None:
    space = open_space(MULTILINGUAL)
    checker = GroundingChecker(space, Calibration.from_bundle(space.bundle.spec), [hit(0, source)], language="zh")
    verdict = checker.check(sentence, [0])
    assert (verdict.level == "supported") is is_true, verdict


@multilingual
def test_a_name_in_another_script_is_weak_not_wrong() -> None:
    space = open_space(MULTILINGUAL)
    source = [hit(0, "罗本·哈罗于1893年建造了这座磨坊。")]
    checker = GroundingChecker(space, Calibration.from_bundle(space.bundle.spec), source, language="en")
    verdict = checker.check("Reuben Harrow built the mill in 1893.", [0])
    assert verdict.level == "weak" and "another script" in (verdict.reason or "")
    verdict = checker.check("Reuben Harrow built the mill in 1894.", [0])
    assert verdict.level != "supported" and "1894" in (verdict.reason or "")


@multilingual
def test_pictures_are_shown_for_a_chinese_question(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "red").save(tmp_path / "red.png")
    (tmp_path / "a.md").write_text("![一只红色的皮球](red.png)\n\n园子里有树。", encoding="utf-8")
    with cp.open(tmp_path / "kb", model=MULTILINGUAL) as kb:
        kb.add(tmp_path / "a.md", progress=False)
        answer = kb.ask("给我看红色皮球的照片")
        assert answer.blocks and answer.blocks[0].kind == "image"
