"""The rows of a passage's tables, with the names of their columns."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from commonplace.generation.tables import rows_of

TABLE = """Prices of 2026

| Code | Article | Price |
|---|---|---|
| ST-1 | Stair, oak | 310 |
| ST-2 | Stair \\| ladder |  |
| --- | --- | --- |

Text between.

| just | cells |
| of | words |
"""


def test_rows_have_the_names_of_their_columns() -> None:
    rows = list(rows_of(TABLE))
    assert [row.text for row in rows] == [
        "Code: ST-1; Article: Stair, oak; Price: 310",
        "Code: ST-2; Article: Stair | ladder",  # an empty cell is left out
        "just; cells",  # without a rule below it, the first row is no row of names
        "of; words",
    ]
    assert [row.first for row in rows] == [0, 1, 0, 1] and len({row.table for row in rows}) == 2
    assert TABLE[rows[0].start : rows[0].end] == "| ST-1 | Stair, oak | 310 |"


def test_content_is_no_name_of_a_column() -> None:
    long = "a sentence that is much longer than any name of a column would be, ever"
    assert [row.text for row in rows_of(f"| {long} | b |\n|---|---|\n| 1 | 2 |")] == ["1; 2"]
    assert [row.text for row in rows_of("| a | a |\n|---|---|\n| 1 | 2 |")] == ["1; 2"]


@given(st.text(alphabet="|-:ab \n\\", max_size=80))
def test_any_text_has_rows_that_stand_in_it(text: str) -> None:
    for row in rows_of(text):
        assert text[row.start] == "|" and "\n" not in text[row.start : row.end]
        assert len(row.cells) == len(row.columns)
