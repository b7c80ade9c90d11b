"""What a question asks for: the kind of its answer, its parts, and whether it wants steps, a list or a summary."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import commonplace as cp
from commonplace.generation.answer_kinds import answer_kind, contains, defines, is_yes_no, says_relation
from commonplace.generation.intent import wants_list, wants_steps, wants_summary
from commonplace.generation.question_parts import question_parts


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("When was the mill sold?", "date"),
        ("磨坊是什么时候卖的？", "date"),
        ("Wann ist der Termin?", "date"),
        ("who repaired the pump", "person"),
        ("泵是谁修的？", "person"),
        ("how much is the deposit", "amount"),
        ("押金是多少？", "amount"),
        ("how long does it bake", "duration"),
        ("where is the spare key", "place"),
        ("phone number of the vet", "code"),
        ("兽医的电话号码是多少？", "code"),
        ("Why did the pump fail?", None),
        ("How do I change the filter?", None),
    ],
)
def test_the_kind_of_answer(question: str, kind: str | None) -> None:
    assert answer_kind(question) == kind


def test_whether_a_text_contains_that_kind() -> None:
    assert contains("date", "It was sold in May 1921.") and not contains("date", "It was sold to a miller.")
    assert contains("amount", "Two pumps.") and not contains("amount", "The pumps.")
    assert contains("code", "Phone: 0555 0147") and not contains("code", "He was born in 1984.")
    assert contains("person", "It was sold by Harriet Lowe.") and not contains("person", "it was sold cheaply")


def test_definitions() -> None:
    assert defines("What is a spile?", "A spile is a peg for casks.")
    assert defines("What is a vault in Quillon?", "A vault is a folder whose files are encrypted.")
    assert defines("WSL是什么？", "WSL是Windows的一个功能。")
    for text in ("Drive the spile in.", "Get the spile-2.4 archive.", "The peg is called so."):
        assert not defines("What is a spile?", text)
    assert not defines("How is a spile made?", "A spile is a peg.")


def test_questions_of_yes_and_no_are_no_quotations() -> None:
    assert is_yes_no("Is there a pump?") and is_yes_no("有水泵吗？") and not is_yes_no("What is a pump?")
    assert not is_yes_no('"is not a backup"')


def test_a_relation_must_be_said() -> None:
    assert says_relation("When was Ada born?", "Ada Hall, born 4 May 1921") and says_relation(
        "阿达的生日？", "阿达出生于五月"
    )
    assert not says_relation("When was Ada born?", "Ada Hall joined in 1984.")
    assert says_relation("When did Ada join?", "Ada Hall came in 1984.")


def test_steps_lists_and_summaries() -> None:
    assert (
        wants_steps("How do I change the filter?")
        and wants_steps("红烧肉怎么做？")
        and wants_steps("reset, step by step")
    )
    assert not wants_steps("How many filters are there?") and not wants_steps("How long does it take?")
    assert wants_list("list all recipes") and wants_list("which plants need shade?") and wants_list("有哪些菜谱？")
    assert not wants_list("which plant needs shade?") and not wants_list("Who sold the mill?")
    assert (
        wants_summary("Summarise the meeting of 6 May")
        and wants_summary("总结一下五月的会议")
        and not wants_summary("When?")
    )


@pytest.mark.parametrize(
    ("question", "parts"),
    [
        ("Who is the contact at Glassworks and what's their minimum order?", 2),
        ("会议几点开始，在哪里开？", 2),
        ("did we spend more on food in january or in march?", 2),
        ("苹果和香蕉哪个贵？", 2),
        ("What is the difference between a pool and a vault?", 2),
        ("Who sold the mill to Harriet and Robin?", 1),
        ("When was the mill sold?", 1),
    ],
)
def test_the_parts_of_a_question(question: str, parts: int) -> None:
    assert len(question_parts(question)) == parts


def test_each_part_is_a_question_by_itself() -> None:
    second = question_parts("Who is the contact at Glassworks and what's their minimum order?")[1]
    assert "minimum order" in second and "Glassworks" in second
    assert question_parts("did we spend more on food in january or in march?") == [
        "did we spend more on food in january",
        "did we spend more on food in march",
    ]


def test_the_sides_of_a_comparison_name_what_one_stands_for() -> None:
    assert question_parts("Which is dearer, the oak table or the round one in pine?") == [
        "Which is dearer, the oak table",
        "Which is dearer, the round table in pine",
    ]
    assert question_parts("Compare the red one with the blue kayak") == ["the red kayak", "the blue kayak"]


def test_each_part_is_searched_for_and_one_without_an_answer_is_named(tmp_path: Path) -> None:
    for n in range(30):
        (tmp_path / f"fair {n}.txt").write_text(f"The spring fair number {n} opened with a parade and music.", "utf-8")
    (tmp_path / "oven.txt").write_text("The pizza oven is lent by the Harbour Bakery.", "utf-8")
    with cp.open(tmp_path / "kb") as kb:
        kb.add(tmp_path, progress=False)
        answer = kb.ask("What did the spring fair number 7 open with and who lends the pizza oven?")
        assert "parade" in answer.text and "Harbour Bakery" in answer.text and not answer.notes
        answer = kb.ask("Who lends the pizza oven and what is the password of the gate?")
        assert "Harbour Bakery" in answer.text
        assert any("password of the gate" in note for note in answer.notes), answer.notes


@pytest.fixture(scope="module")
def club(tmp_path_factory: pytest.TempPathFactory) -> Iterator[cp.Collection]:
    """A club's folder: a handbook, a crew list, a list of flags, a calendar, questions and answers, a receipt."""
    folder = tmp_path_factory.mktemp("club")
    (folder / "handbook.md").write_text(
        "# Handbook\n\n## Person overboard\n\n- Shout and point at the person.\n- Throw the ring.\n"
        "- Start the engine.\n\n"
        "## Lamps\n\nThe lamps are cleaned every May.\n",
        encoding="utf-8",
    )
    (folder / "crew.csv").write_text(
        "Name,Certificate,Telephone\nAda Hollis,skipper,0155 210\nBen Rowe,none,0155 211\nCleo Rowe,none,0155 212\n"
        "Dan Price,deck hand,0155 213\n",
        encoding="utf-8",
    )
    (folder / "flags.csv").write_text(
        "Flag,Waterproof,Keeper\nblue ensign,yes,Ada Hollis\ngreen pennant,no,Ada Hollis\nred burgee,yes,Ada Hollis\n",
        encoding="utf-8",
    )
    (folder / "guests.md").write_text(
        "# Guests\n\n**Is there a kettle on board?** No. At the pier there is a kiosk with tea.\n", encoding="utf-8"
    )
    (folder / "dates.ics").write_text(
        "BEGIN:VCALENDAR\nBEGIN:VEVENT\nSUMMARY:Relaunch\nDTSTART:20260328T110000\nLOCATION:North slip\nEND:VEVENT\n"
        "END:VCALENDAR\n",
        encoding="utf-8",
    )
    with cp.open(tmp_path_factory.mktemp("kb") / "kb") as kb:
        kb.add(folder, progress=False)
        yield kb


@pytest.mark.parametrize(
    ("question", "said", "unsaid"),
    [
        ("What do we do when a person falls overboard?", ["Throw the ring", "Start the engine"], []),
        ("Which crew members have no certificate?", ["Ben Rowe", "Cleo Rowe"], ["Ada", "Dan"]),
        ("Which flags are waterproof?", ["blue ensign", "red burgee"], ["green"]),
        ("What is Ada Hollis's telephone number?", ["0155 210"], ["0155 211"]),
        ("Is there a kettle on board?", ["No. At the pier"], []),
        ("When is the relaunch?", ["Relaunch: 2026-03-28 11:00, at North slip"], []),
        ("Which file says how often the lamps are cleaned?", ["handbook.md"], ["crew.csv"]),
        ("What is in handbook.md?", ["Throw the ring", "The lamps are cleaned every May."], []),
    ],
)
def test_what_people_ask_of_a_folder(club: cp.Collection, question: str, said: list[str], unsaid: list[str]) -> None:
    answer = club.ask(question)
    assert all(words in answer.text for words in said), answer.text
    assert not any(words in answer.text for words in unsaid), answer.text


@pytest.mark.parametrize("question", ["What is Eve Hollis's telephone number?", "What is the code of the safe?"])
def test_another_persons_fact_is_no_answer(club: cp.Collection, question: str) -> None:
    assert club.ask(question).abstained
