"""Follow-up questions are rewritten before the search: by the model, or else by a rule."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import commonplace as cp
from commonplace.generation.follow_ups import depends, rewrite_by_rule
from tests.generation.test_adversary import requests_to


@pytest.mark.parametrize(
    ("question", "before", "searched"),
    [
        ("What about the south pump?", "Which seal does the north pump need?", "Which seal does the south pump need?"),
        ("And the old one?", "How much does the new anvil weigh?", "How much does the old anvil weigh?"),
        ("And for a month?", "What does a locker cost for one week?", "What does a locker cost for a month?"),
        ("And in Bath?", "Who runs the bakery?", "Who runs the bakery in Bath?"),
        ("And Lisa?", "When is Tom's birthday?", "When is Lisa's birthday?"),
        ("And class 3?", "Who teaches class 2?", "Who teaches class 3?"),
        ("What about Tuesday?", "Who works on Monday morning?", "Who works on Tuesday morning?"),
        ("Und im Juli?", "Wie viele Gäste kamen im Juni?", "Wie viele Gäste kamen im Juli?"),
        ("Who built it?", "When was the mill at Lowe Farm sold?", "Who built it? (mill, Lowe, Farm, sold)"),
        ("Why?", "The garden has no trees", "Why? (garden, no, trees)"),
        ("它的压力是多少？", "北边的水泵", "它的压力是多少？ (北边, 水泵)"),
        ("那南边的水泵呢？", "北边的水泵需要什么密封圈？", "南边的水泵需要什么密封圈？"),
        ("压力多少？", "北边的水泵需要什么密封圈？", "压力多少？ (北边, 水泵, 密封圈)"),
        ("为什么？", "花园里没有苹果树", "为什么？ (花园里没, 苹果树)"),
        ("还有哪些？", "博物馆几点开门？", "还有哪些？ (博物馆, 开门)"),
        ("这个多少钱？", "红色的阀门多重？", "这个多少钱？ (红色, 阀门)"),
        ("谁建的？", "洛氏农场的磨坊是什么时候卖掉的？", "谁建的？ (洛氏农场, 磨坊, 卖掉)"),
        ("那氧气呢？", "氢气的原子序数是多少？", "氧气的原子序数是多少？"),
        ("那巴黎呢？", "谁建造了罗马？", "谁建造了巴黎？"),
        ("它的人口呢？", "弗雷斯诺位于哪里？", "它的人口呢？ (弗雷斯诺)"),
        ("那里的人口呢？", "弗雷斯诺位于哪个州？", "那里的人口呢？ (弗雷斯诺, 州)"),
        ("它在哪里？", "土耳其的首都有多大？", "它在哪里？ (土耳其, 首都)"),
        ("What about oxygen?", "What is the atomic number of hydrogen?", "What is the atomic number of oxygen?"),
        ("And what about Paris?", "Who founded Rome?", "Who founded Paris?"),
        ("What about the valve?", "Which seal does the north pump need?", "Which seal does the valve need?"),
        ("What about its age?", "Who sold the mill?", "What about its age? (sold, mill)"),
        ("Who sold it?", "1893年谁建了磨坊？", "Who sold it? (1893年, 建, 磨坊)"),
    ],
)
def test_a_follow_up_gets_the_missing_words(question: str, before: str, searched: str) -> None:
    assert depends(question) and rewrite_by_rule(question, before) == searched


@pytest.mark.parametrize(
    "question",
    [
        "Which seal does the north pump need?",
        "Who built the mill in 1893?",
        "Why does the north pump need a blue seal?",
        "水泵需要什么密封圈",
        "为什么天空是蓝色的？",
        "怎样做红烧肉呢？",
        "吉他有几根弦？",
        "土耳其的首都是哪里？",
        "应该多久换一次密封圈？",
    ],
)
def test_an_independent_question_is_not_rewritten(question: str) -> None:
    assert not depends(question)


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "north.txt").write_text("The north pump needs the blue seal.", encoding="utf-8")
    (folder / "south.txt").write_text("The south pump needs the brass seal.", encoding="utf-8")
    (folder / "mill.txt").write_text("Reuben Harrow built the mill in 1893.", encoding="utf-8")
    return folder


def test_a_conversation_by_rule(tmp_path: Path, docs: Path) -> None:
    with cp.open(tmp_path / "kb") as kb:
        kb.add(docs)
        talk = kb.chat(path=str(docs))
        assert "blue" in talk.ask("Which seal does the north pump need?").blocks[0].text
        answer = talk.ask("What about the south pump?")
        assert "brass" in answer.blocks[0].text and answer.question == "What about the south pump?"
        assert answer.searched_as and "seal" in answer.searched_as
        alone = talk.ask("Who built the mill in 1893?")
        assert alone.searched_as is None and "Reuben" in alone.blocks[0].text
        for n in range(10):
            talk.ask(f"Who built mill number {n} in 1893?")
        assert len(talk.turns) == 6


def test_a_conversation_in_chinese(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("北边的水泵需要蓝色的密封圈，压力是九巴。", encoding="utf-8")
    (tmp_path / "b.txt").write_text("南边的水泵需要黄铜的密封圈，压力是六巴。", encoding="utf-8")
    (tmp_path / "c.txt").write_text("罗本·哈罗于1893年建造了这座磨坊。", encoding="utf-8")
    with cp.open(tmp_path / "kb") as kb:
        kb.add(tmp_path, progress=False)
        talk = kb.chat()
        assert "蓝色" in talk.ask("北边的水泵需要什么密封圈？").blocks[0].text
        answer = talk.ask("那南边的呢？")
        assert answer.searched_as and "密封圈" in answer.searched_as and "黄铜" in answer.blocks[0].text
        assert talk.ask("磨坊是哪一年建造的？").searched_as is None
        answer = talk.ask("它是谁建造的？")
        assert answer.searched_as and "磨坊" in answer.searched_as and "罗本" in answer.blocks[0].text


def test_a_conversation_by_the_model(tmp_path: Path, docs: Path, liar: str) -> None:
    with cp.open(tmp_path / "kb", generator=cp.ChatGenerator("honest", base_url=liar)) as kb:
        kb.add(docs)
        talk = kb.chat()
        talk.ask("Which seal does the north pump need?")
        answer = talk.ask("And the other one?")
        assert answer.searched_as == "Which seal does the south pump need?" and "brass" in answer.blocks[0].text
        prompt = requests_to(liar)[-1]["messages"][1]["content"]
        assert prompt.endswith("Question: And the other one?\nIn full: Which seal does the south pump need?")
        assert (
            "<turn>\nQ: Which seal does the north pump need?\nA: The north pump needs the blue seal.\n</turn>" in prompt
        )
        kb.ask("Who built the mill in 1893?")
        assert "<turn>" not in requests_to(liar)[-1]["messages"][1]["content"]


def test_what_was_not_supported_is_not_built_on(tmp_path: Path, docs: Path, liar: str) -> None:
    with cp.open(tmp_path / "kb", generator=cp.ChatGenerator("invents", base_url=liar)) as kb:
        kb.add(docs)
        talk = kb.chat()
        assert talk.ask("Which seal does the north pump need?").unsupported
        talk.ask("Who built the mill in 1893?")
        prompt = requests_to(liar)[-1]["messages"][1]["content"]
        assert "A: The north pump needs the blue seal." in prompt and "Port Ellery" not in prompt


def test_a_model_that_cannot_rewrite_is_named(tmp_path: Path, docs: Path, liar: str) -> None:
    """The rule takes its place, and the answer says so, though the model wrote the answer itself."""
    with cp.open(tmp_path / "kb", generator=cp.ChatGenerator("honest-no-rewrite", base_url=liar)) as kb:
        kb.add(docs)
        talk = kb.chat()
        talk.ask("Which seal does the north pump need?")
        answer = talk.ask("What about the south pump?")
        assert answer.generator.startswith("honest") and answer.searched_as == "Which seal does the south pump need?"
        assert "by a rule instead of the model" in answer.notes[0] and "no question" in answer.notes[0]


def test_the_rule_replaces_a_model_that_fails(tmp_path: Path, docs: Path) -> None:
    dead = cp.ChatGenerator("x", base_url="http://127.0.0.1:9/v1", retries=0)
    with cp.open(tmp_path / "kb", generator=dead) as kb:
        kb.add(docs)
        talk = kb.chat()
        talk.ask("Which seal does the north pump need?")
        answer = talk.ask("What about the south pump?")
        assert "brass" in answer.blocks[0].text and any("no server" in note for note in answer.notes)


def test_a_picture_stays_in_the_conversation(tmp_path: Path, docs: Path) -> None:
    Image.new("RGB", (64, 64), "red").save(docs / "red.png")
    with cp.open(tmp_path / "kb") as kb:
        kb.add(docs)
        talk = kb.chat()
        talk.ask("Which picture shows this?", image=docs / "red.png")
        followed = talk.ask("and the same in blue?")
        assert any(channel.channel.startswith("image->") for hit in followed.hits for channel in hit.breakdown)
        alone = talk.ask("Who built the mill in 1893?")
        assert not any(channel.channel.startswith("image->") for hit in alone.hits for channel in hit.breakdown)


def test_a_question_with_a_picture_is_not_rewritten(tmp_path: Path, docs: Path) -> None:
    Image.new("RGB", (64, 64), "red").save(docs / "red.png")
    with cp.open(tmp_path / "kb") as kb:
        kb.add(docs, progress=False)
        talk = kb.chat()
        talk.ask("Which seal does the north pump need?")
        assert talk.ask("What is this?", image=docs / "red.png").searched_as is None


def test_an_unfinished_answer_is_not_remembered(tmp_path: Path, docs: Path) -> None:
    with cp.open(tmp_path / "kb") as kb:
        kb.add(docs)
        talk = kb.chat()
        for _ in talk.stream("Which seal does the north pump need?"):
            break
        assert talk.turns == ()
