"""Which sentence answers, by kinds of questions: one collection of small files of a boat club, asked as people ask."""

from __future__ import annotations

from pathlib import Path

import pytest

import commonplace as cp
from commonplace.generation.answer_kinds import defines, subject_defined

FILES = {
    "berths.csv": "Berth,Boat,Owner,Assistant\nPier 1,Gannet,Ida Holm,Tove\nPier 2,Puffin,Rolf Berg,Lise\n"
    "Pier 3,Tern,Nils Dahl,none\n",
    "jobs.csv": "Job,Boat,What,State\nQ-4101,Gannet,mast: cracked,waiting\nQ-4102,Puffin,sail: torn,finished\n",
    "letter.txt": "Sehr geehrter Herr Dahl,\n\nDie Miete für den Liegeplatz beträgt 640 Euro im Jahr.\n"
    "Die Schlüssel liegen im Hafenbüro.\n",
    "history.txt": "CHRONICLE OF THE BOAT CLUB\n1921 The club is founded by nine fishermen of the bay\n"
    "1938 Slipway\n1957 A storm sinks eleven boats and tears off the roof of the shed\n1972 New pier\n",
    "minutes/2025-03-12.md": "# Meeting of the board\n\nThe crane was praised. It was agreed to buy a new winch.\n",
    "minutes/2025-10-08.md": "# Meeting of the board\n\nThe slipway is closed. It was agreed to paint the clubhouse.\n",
    "rules.md": "# Rules of the club\n\nA guest's ticket is issued by the harbour office on showing a passport.\n\n"
    "- No fires on the pier.\n- Dogs stay on a lead.\n- Quiet after ten.\n",
    "lift.md": "# Lifting a boat\n\nNobody stands below the boat. Ask the harbour master beforehand.\n\n"
    "# Lifting a boat: steps\n\n1. Take off the mast.\n2. Put the slings under the keel.\n3. Lift it slowly.\n",
    "guests.txt": "GUESTS OF THE REGATTA\n\nFamily Lund       with Berg        two cots\n"
    "Petra Lund        with Dahl        eats no fish\nOla Strand        with Holm        comes late\n",
    "mooring.txt": "A boat lies on two lines at least.  Nobody moors it at\n"
    "the slipway, which  belongs to the crane.  Whoever leaves\n"
    "for more  than three weeks tells the harbour office  where\n"
    "the key of the cabin is left.  The office keeps a list.\n",
    "terms.md": "# Terms\n\n2.1 VHS is a radio for short distances: every boat carries one.\n\n"
    "2.2 At 6 am the vh of the pier is read.\n",
    "会员.md": "# 会员须知\n\n会员每年交会费三百元。船库的电话是 0571-5550182。俱乐部由梁伯创办。\n",
}


@pytest.fixture(scope="module")
def club(tmp_path_factory: pytest.TempPathFactory) -> cp.Collection:
    folder = tmp_path_factory.mktemp("club")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    kb = cp.open(folder / "kb")
    kb.add(folder, progress=False)
    return kb


def answer(kb: cp.Collection, question: str) -> str:
    return "\n".join(block.text for block in kb.ask(question).blocks)


def test_a_column_named_assistant_is_no_instruction(club: cp.Collection) -> None:
    assert "Lise" in answer(club, "Who is Rolf Berg's assistant?")


def test_a_number_after_a_name_belongs_to_it(club: cp.Collection) -> None:
    third = answer(club, "Whose boat lies at pier 3?")
    assert "Nils Dahl" in third and "Ida Holm" not in third and "Rolf Berg" not in third
    assert not answer(club, "Whose boat lies at pier 7?")


def test_of_a_table_only_the_row_of_the_code_answers(club: cp.Collection) -> None:
    state = answer(club, "state of job Q-4102")
    assert "finished" in state and "waiting" not in state


def test_a_german_article_asks_for_no_death(club: cp.Collection) -> None:
    assert "640" in answer(club, "Was kostet die Miete für den Liegeplatz?")


def test_the_lines_of_a_chronicle_stand_each_for_itself(club: cp.Collection) -> None:
    storm = answer(club, "what happened in 1957")
    assert "eleven boats" in storm and "fishermen" not in storm and "Slipway" not in storm


def test_lines_in_columns_of_blanks_stand_each_for_itself(club: cp.Collection) -> None:
    host = answer(club, "Where does Petra Lund stay?")
    assert "Dahl" in host and "Berg" not in host and "Holm" not in host


def test_prose_with_wide_blanks_is_no_table(club: cp.Collection) -> None:
    assert "where the key of the cabin is left." in answer(
        club, "What does someone tell the office who leaves for weeks?"
    )


@pytest.mark.parametrize(
    ("question", "subject"),
    [
        ("meaning of VHS", "VHS"),
        ("what do we mean by VHS?", "VHS"),
        ("What is meant by a lead line?", "lead line"),
        ("what does the harbour office mean by a guest?", "guest"),
        ("explain to a newcomer what VHS is", "VHS"),
        ("VHS是什么病？", "VHS"),
        ("what does the owner mean to do?", None),
    ],
)
def test_what_is_to_be_defined(question: str, subject: str | None) -> None:
    assert subject_defined(question) == subject


def test_a_definition_may_have_a_number(club: cp.Collection) -> None:
    assert defines("what is VHS", "2.1 VHS is a radio for short distances.")
    assert answer(club, "meaning of VHS") == "2.1 VHS is a radio for short distances: every boat carries one."


def test_a_month_in_the_name_of_a_file_tells_its_meetings_apart(club: cp.Collection) -> None:
    decided = answer(club, "What did the board agree in October?")
    assert "paint the clubhouse" in decided and "winch" not in decided
    assert "winch" not in answer(club, "What did the board agree in June?")


def test_a_list_under_other_words_is_not_the_list_asked_for(club: cp.Collection) -> None:
    needed = answer(club, "what do I need to get a guest's ticket?")
    assert "passport" in needed and "Dogs" not in needed


def test_numbered_steps_come_before_remarks(club: cp.Collection) -> None:
    steps = answer(club, "How do I go about lifting a boat?")
    assert "Take off the mast." in steps and "Lift it slowly." in steps


def test_how_to_do_something_is_answered_by_the_section_that_has_the_command(tmp_path: Path) -> None:
    manual = """# Orrery

## Move an orrery

### Write the catalogue of the tin to a file

1. Open the tin with the catalogue.
2. Export what you need of it to a file.
3. Close the tin.

## Export a catalogue

The whole catalogue is written to one file.

```
orrery dump NAME PLACE
```

## Dim the lamps

A dim lamp lasts longer. Lamps are dimmed one by one, and the lamps of the sun come last.

### Lamps one by one

```
orrery lamp 3 --dim
```
"""
    (tmp_path / "manual.md").write_text(manual, encoding="utf-8")
    kb = cp.open(tmp_path / "kb")
    kb.add(tmp_path / "manual.md", progress=False)
    assert "orrery dump NAME PLACE" in answer(kb, "how do I export a catalogue to a file?")
    assert "orrery lamp 3 --dim" in answer(kb, "how do I dim the lamps?")


def test_a_heading_that_is_what_was_asked_for_goes_before_a_chapter_that_has_more_of_the_words(tmp_path: Path) -> None:
    manual = """# Racks

## Write exported bottles to a file

### The rest of a rack

1. Empty the rack.
2. Write the bottles that are exported to the file of the rack.
3. Close the rack.

## Export bottles

All bottles go to one file.

```
rack dump
```
"""
    (tmp_path / "manual.md").write_text(manual, encoding="utf-8")
    kb = cp.open(tmp_path / "kb")
    kb.add(tmp_path / "manual.md", progress=False)
    assert "rack dump" in answer(kb, "how do I export bottles to a file?")


def test_an_amount_is_no_thing_with_a_number(tmp_path: Path) -> None:
    kb = cp.open(tmp_path / "kb")
    kb.add(cp.Record("The lake of Holmvik was made by a meteor about 40 million years ago."), progress=False)
    assert "meteor" in answer(kb, "What event happened 40 million years ago at Holmvik?")


def test_a_quoted_phrase_of_common_words_is_quoted(club: cp.Collection) -> None:
    assert "Nobody stands below the boat." in answer(club, '"below the boat"')


def test_what_is_asked_of_a_thing_stands_there_in_chinese_too(club: cp.Collection) -> None:
    assert "0571-5550182" in answer(club, "船库的电话是多少？")
    assert not answer(club, "梁伯的妻子是谁？")


def test_it_and_they_stand_for_what_the_sentence_before_names(tmp_path: Path) -> None:
    kb = cp.open(tmp_path / "kb")
    kb.add(
        cp.Record("The north pump needs the seal 4711. It was changed on 5 March 2024."),
        cp.Record("The tenants of the garden are on holiday. Their cats are fed by Mrs Olsen."),
        progress=False,
    )
    assert "5 March 2024" in answer(kb, "When was the seal of the north pump changed?")
    assert "Mrs Olsen" in answer(kb, "Who feeds the cats of the tenants?")


def test_an_address_a_clause_and_the_end_of_a_day_are_not_another(tmp_path: Path) -> None:
    kb = cp.open(tmp_path / "kb")
    kb.add(
        cp.Record("The printer answers at 10.1.2.30.\n\nThe door answers at 10.30.1.2.\n\nThe scale at 10.1.30.2."),
        cp.Record("Clause 2 Use\n2.1 The cellar may not be heated.\n2.2 Bicycles are kept in the yard."),
        cp.Record("The hostel opens at seven in the morning. Towels cost three euros."),
        cp.Record("The museum is open from nine until five."),
        progress=False,
    )
    door = answer(kb, "What answers at 10.30.1.2?")
    assert "door" in door and "scale" not in door and "printer" not in door
    assert not answer(kb, "What answers at 10.30.1.3?")
    clause = answer(kb, "What does clause 2.1 say?")
    assert "heated" in clause and "Bicycles" not in clause
    assert "seven" not in answer(kb, "When does the hostel close?")
    assert "seven" in answer(kb, "When does the hostel open?")
    assert "five" in answer(kb, "When does the museum close?")
