"""Whole answers of a real folder: steps, lists, rows, documents, summaries; and what stands nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

import commonplace as cp

FILES = {
    "garden/plants.csv": (
        "Plant,Place,Light\nFern,bathroom,shade\nAloe,window,sun\nOrchid,study,half shade\nIvy,stairs,shade\n"
    ),
    "garden/compressor.md": (
        "# Compressor\n\n## How to change the oil\n\nDo it when the oil is warm.\n\n"
        "1. Switch the compressor off.\n2. Open the drain plug.\n3. Let the oil run out,\n   all of it.\n"
        "4. Fill in half a litre of new oil.\n5. Close the plug.\n6. Run it for a minute.\n\n"
        "## Service\n\nThe compressor is serviced by Ada Hall every May. Her phone number is 0555 0147.\n"
    ),
    "minutes/2026-03-04 meeting.md": (
        "# Meeting\n\n## Prices\n\nThe hourly rate rises to 58 pounds. This holds from April.\n\n"
        "## Staff\n\nNo second clerk will be hired.\n\n## Next meeting\n\n8 April 2026.\n"
    ),
    "minutes/2026-04-08 meeting.md": (
        "# Meeting\n\n## Van\n\nThe van gets winter tyres. It was decided to sell the trailer.\n"
    ),
    "recipes/soup.md": "# Leek soup\n\nWash the leeks. Simmer them for 20 minutes.\n",
    "recipes/cake.txt": "Apple cake\n\nBake it for 50 minutes.\n",
    "old/prices 2024.csv": "Code,Article,Price\nDO-050,Panel door,910\nDO-055,Fire door,1010\nWI-020,Window,290\n",
    "accounts.csv": "Year,Turnover\n2023,118400\n2024,130275\n",
    "prices 2026.csv": "Code,Article,Price\nDO-050,Panel door,940\nDO-055,Fire door,1175\nWI-020,Window,310\n",
}


@pytest.fixture(scope="module")
def kb(tmp_path_factory: pytest.TempPathFactory) -> cp.Collection:
    home = tmp_path_factory.mktemp("home")
    for name, text in FILES.items():
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_text(text, encoding="utf-8")
    collection = cp.open(home / "kb")
    collection.add(home, progress=False)
    return collection


def said(kb: cp.Collection, question: str) -> list[str]:
    answer = kb.ask(question)
    assert all(block.citations for block in answer.blocks)
    return [block.text for block in answer.blocks]


def test_steps_are_whole_and_in_order(kb: cp.Collection) -> None:
    assert said(kb, "How do I change the oil of the compressor?") == [
        "1. Switch the compressor off.",
        "2. Open the drain plug.",
        "3. Let the oil run out, all of it.",
        "4. Fill in half a litre of new oil.",
        "5. Close the plug.",
        "6. Run it for a minute.",
    ]
    assert all(block.support == "supported" for block in kb.ask("How do I change the oil of the compressor?").blocks)


def test_a_list_has_all_rows_that_fit_and_no_others(kb: cp.Collection) -> None:
    rows = said(kb, "which plants need shade?")
    assert [row.split(";")[0] for row in rows] == ["- Plant: Fern", "- Plant: Ivy"]


def test_the_documents_of_a_folder_are_listed(kb: cp.Collection) -> None:
    answer = kb.ask("list all recipes")
    assert {Path(c.hit.item.document.path).name for c in answer.citations} == {"soup.md", "cake.txt"}


def test_a_row_comes_with_its_columns_and_without_its_neighbours(kb: cp.Collection) -> None:
    assert said(kb, "what do we charge for DO-055 now?") == ["Code: DO-055; Article: Fire door; Price: 1175"]
    assert kb.ask("what do we charge for DO-999 now?").abstained


def test_another_year_is_another_fact(kb: cp.Collection) -> None:
    assert said(kb, "What was the turnover in 2024?") == ["Year: 2024; Turnover: 130275"]
    assert kb.ask("What was the turnover in 2019?").abstained


def test_a_summary_is_that_of_the_document_of_that_day(kb: cp.Collection) -> None:
    text = " ".join(said(kb, "Summarise the meeting of 4 March 2026"))
    assert "58 pounds" in text and "clerk" in text and "tyres" not in text


def test_another_day_is_another_fact(kb: cp.Collection) -> None:
    assert "trailer" in " ".join(said(kb, "What was decided on 8 April 2026?"))
    assert kb.ask("What was decided on 3 June 2026?").abstained


@pytest.mark.parametrize(
    "question", ["When was Ada Hall born?", "What is the password of the compressor?", "phone number of the bank"]
)
def test_a_fact_that_stands_nowhere_is_not_answered_with_another(kb: cp.Collection, question: str) -> None:
    assert kb.ask(question).abstained


def test_both_sides_of_a_comparison_are_answered(kb: cp.Collection) -> None:
    text = " ".join(said(kb, "Which is dearer, the panel door or the fire door?"))
    assert "940" in text and "1175" in text  # of this year's list, not of the old one
    assert not any(price in text for price in ("310", "910", "1010"))
