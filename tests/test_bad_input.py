"""Bad input through the public methods of a collection: one clear error, and nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import commonplace as cp
from commonplace.filters import parse_where
from commonplace.metadata import Metadata

PIXELS = np.random.default_rng(0).integers(0, 255, (48, 48, 3), np.uint8)


@pytest.fixture
def kb(tmp_path: Path) -> Iterator[cp.Collection]:
    with cp.open(tmp_path / "kb") as collection:
        report = collection.add(
            cp.Record("The north pump needs the blue seal.", id="p1"),
            cp.Record(image=PIXELS, id="noise"),
            progress=False,
        )
        assert report.added == 2
        yield collection


def test_a_zero_character_does_not_cut_an_id(kb: cp.Collection) -> None:
    assert kb.get("p1\0zzz") is None
    with pytest.raises(cp.CollectionError, match="no document"):
        kb.remove("p1\0zzz")
    assert kb.get("p1") is not None


def test_an_id_is_looked_up_before_a_folder_of_that_name(
    kb: cp.Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p1").mkdir()
    (tmp_path / "p1" / "a.txt").write_text("A file in a folder.")
    kb.add("p1", progress=False)
    assert len(kb) == 3 and kb.remove("p1") == 1
    assert kb.get("p1") is None and (tmp_path / "p1" / "a.txt") in kb


@pytest.mark.parametrize("name", [None, 5, b"p1"])
def test_what_is_no_name_is_refused(kb: cp.Collection, name: Any) -> None:
    for method in (kb.remove, kb.find):
        with pytest.raises(cp.QueryError, match="no name of a document"):
            method(name)


def test_a_refused_restore_keeps_the_crops(kb: cp.Collection, tmp_path: Path) -> None:
    (hit,) = kb.search("noise", modality="image")
    with pytest.raises(cp.CollectionError):
        kb.maintenance.restore(tmp_path / "absent.backup", replace=True)
    assert hit.image and Path(hit.image).exists()


def test_a_closed_collection_is_not_called_damaged(kb: cp.Collection) -> None:
    kb.close()
    with pytest.raises(cp.CollectionError, match="was closed: open it again"):
        kb.maintenance.doctor()


def test_times_of_numpy_are_dates_and_durations_are_refused() -> None:
    times = {"ns": np.datetime64("2024-01-02T03:04:05", "ns"), "D": np.datetime64("2024-01-02")}
    assert dict(Metadata(times)) == {"ns": datetime(2024, 1, 2, 3, 4, 5), "D": date(2024, 1, 2)}
    for value in (np.timedelta64(5, "ns"), np.timedelta64(5, "D"), np.datetime64("NaT"), np.datetime64(10**18, "s")):
        with pytest.raises(cp.ReadError, match="its metadata"):
            Metadata({"when": value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vector": np.ones(384), "channel": "text", "negative_image": PIXELS}, "leave out the other options"),
        ({"vector": np.ones(384), "channel": "text", "min_confidence": 0.5}, "leave out the other options"),
        ({"vector": [10**400] * 384, "channel": "text"}, "give 384 numbers"),
        ({"channel": "text"}, "give vector, or leave out channel"),
        ({"text": cp.Query("x", others=5)}, "give a mapping"),  # type: ignore[arg-type]
        ({"text": "x", "modality": np.array(["text", "image"])}, "choose"),
    ],
)
def test_a_wrong_search_says_what_to_give(kb: cp.Collection, options: dict[str, Any], message: str) -> None:
    with pytest.raises(cp.QueryError, match=message) as problem:
        kb.search(**options)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize("condition", ["n!=5", "n==5", "n=>5", "n<>5", "n=<5"])
def test_an_unknown_operator_is_refused(condition: str) -> None:
    with pytest.raises(cp.QueryError, match="use =, <, <=, > or >="):
        parse_where([condition])


def test_what_cannot_be_embedded_is_refused(kb: cp.Collection) -> None:
    for wrong in (None, 5, "text", ["text", 5]):
        with pytest.raises(cp.QueryError, match="give a list of strings"):
            kb.embed_texts(wrong)  # type: ignore[arg-type]
    for wrong in (None, 5, "picture.png"):
        with pytest.raises(cp.QueryError, match="give a list of pictures"):
            kb.embed_images(wrong)  # type: ignore[arg-type]
    rows = kb.embed_texts(text for text in ("blue seal", "\ud800"))  # type: ignore[arg-type]
    assert rows.shape == (2, 384) and np.isfinite(rows).all()
