"""List items, cells and listings of a model's answer are checked, each against what it cites."""

from __future__ import annotations

import pytest

from commonplace.generation import GroundingChecker, Request, Statement, cite
from commonplace.generation.lists_and_tables import StatementChecker
from commonplace.generation.model_output import SentenceParser
from commonplace.retrieval import Calibration
from commonplace.space import QueryVectors, Space
from commonplace.types import Answer, Support
from tests.generation.conftest import PASSAGES, hit

PARTS = "| Part | Weight (g) | Length |\n|---|---|---|\n| M6 | 12 | 30 mm |\n| M8 | 20 | 40 mm |"
CODE = "Run this:\n\n```sh\nwsl --update\nwsl --shutdown\n```\n"
HITS = [*(hit(n, text) for n, text in enumerate(PASSAGES)), hit(3, PARTS), hit(4, CODE)]


@pytest.fixture(scope="module")
def checker(space: Space) -> StatementChecker:
    calibration = Calibration.from_bundle(space.bundle.spec)
    return StatementChecker(GroundingChecker(space, calibration, HITS), HITS)


def levels(checker: StatementChecker, written: str) -> dict[str, Support | None]:
    """Return the support of each statement of what a model wrote."""
    parser = SentenceParser(range(len(HITS)))
    statements = [part for part in (*parser.feed(written), *parser.end()) if isinstance(part, Statement)]
    verdicts = [(statement, checker.check(statement)[1]) for statement in statements]
    return {statement.text: verdict.level if verdict else None for statement, verdict in verdicts}


def test_items_are_read_with_the_line_before_them(checker: StatementChecker) -> None:
    north = levels(checker, "The north pump needs: [1]\n- the blue seal\n- 9 bar\n- 6 bar\n- a red seal\n")
    assert list(north.values()) == [None, "supported", "supported", "weak", "weak"]
    south = levels(checker, "The south pump needs:\n- the blue seal [1]\n- 6 bar [1]\n")
    assert list(south.values()) == [None, "weak", "supported"]
    assert list(levels(checker, "The pump needs:\n\n1. the moon [1]\n").values())[-1] != "supported"


def test_a_count_before_a_list_is_no_claim_but_a_number_is(checker: StatementChecker) -> None:
    counted = levels(checker, "Here are the two people who had the mill:\n- Reuben Harrow [2]\n- Harriet Lowe [2]\n")
    assert list(counted.values()) == [None, "supported", "supported"]
    dated = levels(checker, "The mill burned in 1999:\n- Reuben Harrow built it [2]\n")
    assert "supported" not in dated.values() and None not in dated.values()
    assert levels(checker, "## Bought in 1850\n\nThe mill stands.")["## Bought in 1850"] is None  # it cites nothing


@pytest.mark.parametrize(
    ("row", "level"),
    [
        ("| M6 | 12 [4] | 30 mm |", "supported"),
        ("| M8 | 20 | 40 mm | [4]", "supported"),
        ("| M6 | 12 | 30 mm |", "supported"),  # traced without a marker
        ("| M6 | 20 | 30 mm | [4]", "weak"),  # of another row
        ("| M8 | 40 mm | 20 | [4]", "weak"),  # of another column
        ("| M10 | 12 | 30 mm | [4]", "weak"),  # of no row
        ("| M6 | 12 | not stated | [4]", "supported"),
    ],
)
def test_each_cell_is_checked_with_its_row_and_column(checker: StatementChecker, row: str, level: Support) -> None:
    table = levels(checker, f"| Part | Weight | Length |\n|---|---|---|\n{row}\n")
    assert list(table.values()) == [None, level]


def test_a_comparison_is_checked_by_its_columns(checker: StatementChecker) -> None:
    rows = "| Pressure | 9 bar [1] | 6 bar [1] |\n| Pressure | 6 bar [1] | 9 bar [1] |\n"
    table = levels(checker, f"| | North pump | South pump |\n|---|---|---|\n{rows}")
    assert list(table.values()) == [None, "supported", "weak"]


def test_a_listing_is_checked_line_by_line(checker: StatementChecker) -> None:
    """A program of the model's own is not a quotation, whatever it cites."""
    for lines, level in (
        ("wsl --update\n  wsl --shutdown", "supported"),
        ("wsl --update\nwsl --install", "weak"),
        ("rm -rf /\nwsl --install", "unsupported"),
    ):
        assert levels(checker, f"```\n{lines}\n```\n[5]\n") == {lines: level}
    assert levels(checker, "```\nwsl --update\n```\n") == {"wsl --update": "supported"}  # traced


def test_a_table_is_shown_as_a_table(space: Space) -> None:
    """In Markdown and on a page; its cells are untrusted, and stand where they stood."""
    calibration = Calibration.from_bundle(space.bundle.spec)
    rows = "| Part | Weight |\n|---|---:|\n| M6 | 12 |\n| <b>x</b> | a\\|b [1](http://x) |"
    written = f"The parts: [4]\n\n{rows}\n\nIt is so. [1]"
    parser = SentenceParser(range(len(HITS)))
    request = Request("q", QueryVectors(), HITS)
    parts = iter([*parser.feed(written), *parser.end()])
    *_, answer = cite(parts, request, GroundingChecker(space, calibration, HITS))
    assert isinstance(answer, Answer)
    assert [block.kind for block in answer.blocks] == ["text", "row", "row", "row", "text"]
    lines = answer.markdown().split("\n")
    at = lines.index("| Part | Weight |")
    assert lines[at - 1] == "" and lines[at + 1] == "|---|---:|" and lines[at + 2] == "| M6 | 12 [1] |"
    assert lines[at + 3].startswith("| \\<b\\>x\\</b\\> | a\\|b \\(http://x\\) [2]") and lines[at + 4] == ""
    page = answer.html()
    assert page.count("<table>") == page.count("</table>") == 1 and "<th>Part</th><th>Weight</th>" in page
    assert "<b>" not in page and page.count("<tr") == 3
    assert [block["kind"] for block in answer.dict()["blocks"]] == [block.kind for block in answer.blocks]
