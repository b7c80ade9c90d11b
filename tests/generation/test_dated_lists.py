"""Of two lists with the same row, the one of the later date answers: by its name, or by the date that it states."""

from __future__ import annotations

from pathlib import Path

import commonplace as cp

LIST = "---\ndate: {date}\n---\n\n| Article | Price |\n|---|---|\n| Fire door | {price} |\n| Window | 290 |\n"


def prices(tmp_path: Path, *lists: tuple[str, str, int]) -> str:
    folder = tmp_path / "lists"
    folder.mkdir()
    for name, date, price in lists:
        (folder / name).write_text(LIST.format(date=date, price=price))
    with cp.open(tmp_path / "kb") as kb:
        kb.add(folder, workers=1, progress=False)
        return kb.ask("What is the price of a fire door?").text


def test_the_date_that_a_list_states_counts(tmp_path: Path) -> None:
    text = prices(tmp_path, ("a.md", "2023-02-01", 1010), ("b.md", "2021-05-01", 875), ("c.md", "2022-11-09", 930))
    assert "1010" in text and "875" not in text and "930" not in text


def test_a_month_in_the_name_counts_more(tmp_path: Path) -> None:
    text = prices(tmp_path, ("prices-2024-03.md", "2024-09-01", 1010), ("prices-2024-08.md", "2024-08-01", 1175))
    assert "1175" in text and "1010" not in text
