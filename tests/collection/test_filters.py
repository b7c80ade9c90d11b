"""Filters of a search, inside the search."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

import pytest

import commonplace as cp
from tests.collection.common import names


def test_filters_work_inside_the_search(kb: cp.Collection, folder: Path) -> None:
    assert {hit.item.modality for hit in kb.search("pump", k=20, modality="image")} == {"image"}
    assert set(names(kb.search("pump", k=20, path=str(folder / "pictures")))) == {"ball.png", "box.png"}
    assert set(names(kb.search("pump", k=20, path="*.txt"))) == {"weather.txt"}
    assert set(names(kb.search("水泵", k=20, path="*.txt"))) == {"zh.txt"}
    assert set(names(kb.search("pump", k=20, media_type="text/markdown"))) == {"pumps.md"}
    assert kb.search("pump", path="/nowhere") == []


def test_a_folder_reached_by_a_link_is_filtered_and_removed_by_its_name(tmp_path: Path, folder: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(folder, target_is_directory=True)
    with cp.open(tmp_path / "linked-kb") as kb:
        assert kb.add(link).added == 5
        assert kb.add(folder).unchanged == 5  # the same files
        assert kb.search("snow", path=str(link), k=1)
        assert kb.remove(link / "weather.txt") == 1
        assert kb.remove(link) == 4


def test_filters_by_metadata_of_documents(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, author, date, language in (
        ("a.html", "Ann Lee", "2023-12-31T23:59", "en"),
        ("b.html", "Bo Ek", "2024-01-01", "en-GB"),
        ("c.html", "ANN LEE", "2024-05", "de"),
    ):
        head = f'<html lang="{language}"><meta name="author" content="{author}"><meta name="date" content="{date}">'
        (folder / name).write_text(f"{head}<p>The pump of {name} needs a seal.</p>")
    (folder / "d.txt").write_text("A pump without a date of its own.")
    os.utime(folder / "d.txt", (0, 1_700_000_000))  # November 2023
    with cp.open(tmp_path / "kb") as kb:
        assert kb.add(folder).added == 4

        def found(**allowed: object) -> list[str]:
            return sorted(names(kb.search("pump", k=9, **allowed)))  # type: ignore[arg-type]

        assert found(after="2024") == ["b.html", "c.html"]
        assert found(before="2024") == ["a.html", "d.txt"]
        assert found(after="2023-12-31", before=datetime.date(2024, 2, 1)) == ["a.html", "b.html"]
        assert found(after=datetime.datetime(2023, 12, 31, 23, 59, 1)) == ["b.html", "c.html"]
        assert found(where={"author": "ann lee"}) == ["a.html", "c.html"]
        assert found(where={"author": ["bo*", "nobody"], "language": ["de", "en-*"]}) == ["b.html"]
        assert found(where={"dated": "file"}, path="*.txt") == ["d.txt"]
        assert found(where={"author": "*"}, after="2025") == []
        answer = kb.ask("Which pump needs a seal?", where={"author": "bo ek"})
        assert {Path(citation.hit.item.document.path).name for citation in answer.citations} == {"b.html"}
        (hit,) = kb.search("pump", where={"language": "DE"})
        assert hit.dict()["metadata"] == {
            "author": ["ANN LEE"], "created": "2024-05", "language": "de", "date": "2024-05", "dated": "created",
        }  # fmt: skip
        for wrong in ({"after": "soon"}, {"before": "2024-13"}, {"where": {"author": ""}}, {"where": {"": "x"}},
                      {"where": {"author": []}}, {"after": "24"}):  # fmt: skip
            with pytest.raises(cp.QueryError, match=r"date|empty"):
                kb.search("pump", **wrong)  # type: ignore[arg-type]
        assert found(after=2024) == ["b.html", "c.html"]
        # Values on which SQLite or Python would fail are refused first.
        for wrong, why in (({"where": {"author": 5}}, "no text"), ({"where": {"author": ["x", None]}}, "no text"),
                           ({"where": {"author": "x" * 60_000}}, "60,000 characters"), ({"where": ["author"]}, "keys"),
                           ({"where": {f"k{n}": "x" for n in range(1500)}}, "1500 keys"), ({"where": {5: ""}}, "empty"),
                           ({"where": {"author": "\ud800"}}, "no character"), ({"path": "*" * 60_000}, "characters"),
                           ({"media_type": folder}, "no text"), ({"after": "x" * 60_000}, "no date")):  # fmt: skip
            with pytest.raises(cp.QueryError, match=why) as error:
                kb.search("pump", **wrong)  # type: ignore[arg-type]
            assert len(str(error.value)) < 300
        hits = kb.search("pump", where={"writer": "ann lee", "author": "nobody"})
        key, value = hits.notes
        assert (
            not hits and key == "no document has the key 'writer'; the keys are: date, dated, language, author, created"
        )
        assert kb.ask("pump", where={"writer": "x"}).notes == (key,)
        assert kb.search("pump", where={"author": "nobody"}).notes == (value,) and "'author'" in value


def test_a_filter_by_modality_changes_no_confidence(kb: cp.Collection, folder: Path) -> None:
    for n in range(30):
        (folder / f"{n}.txt").write_text(f"Page {n} of the ledger lists prices of timber and nails.")
    kb.add(folder, workers=1, progress=False)
    every = {hit.item.id: hit.confidence for hit in kb.search("a red ball on white ground", k=50)}
    pictures = kb.search("a red ball on white ground", k=50, modality="image")
    assert {hit.item.id: hit.confidence for hit in pictures} == pytest.approx(
        {hit.item.id: every[hit.item.id] for hit in pictures}, abs=0.02
    )
    (citation, *_) = kb.ask("Show me a red ball on white ground").citations
    assert citation.hit.confidence == pytest.approx(every[citation.hit.item.id], abs=1e-6)
