"""What is stored with a collection, and names that none can have."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

import commonplace as cp
from commonplace.errors import CommonplaceError
from tests.tiny import tiny_bundle


def test_a_ranking_is_stored_with_the_collection(kb: cp.Collection) -> None:
    kb.ranking = cp.Ranking(method="rrf")
    with cp.open(kb.folder) as again:
        assert again.ranking.method == "rrf"
        assert again.search("pump")[0].score < 0.05  # reciprocal ranks, not probabilities
        again.ranking = None
    assert kb.ranking == cp.Ranking()


def test_damaged_settings_are_reported_without_a_traceback(tmp_path: Path, tiny: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.txt").write_text("The pump is in room 7.")
    with cp.open(tmp_path / "kb", model=tiny) as kb:
        kb.add(tmp_path / "files", workers=1, progress=False)
        kb.ranking = cp.Ranking(method="rrf")
    connection = sqlite3.connect(tmp_path / "kb" / "collection.db")
    notes = [name for (name,) in connection.execute("SELECT name FROM meta")]
    connection.close()
    assert {"generation", "setting:ranking"} <= set(notes)
    for note in [*notes, "setting:compression", "lost", "trimmed", "shadow:last", "shadow:space"]:
        kind = '{"text": {"kind": "float17", "recall": {"same": 1.0}, "rows": 9}}'
        for harm in (kind, "garbage", "\u00b2", "9" * 400, "[1", '{"text": 3}', b"\xff\x00"):
            shutil.rmtree(tmp_path / "near_duplicate", ignore_errors=True)
            shutil.copytree(tmp_path / "kb", tmp_path / "near_duplicate")
            connection = sqlite3.connect(tmp_path / "near_duplicate" / "collection.db", isolation_level=None)
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (note, harm))
            connection.close()
            named = True
            with suppress(CommonplaceError), cp.open(tmp_path / "near_duplicate") as kb:
                for call in (kb.status, partial(kb.search, "pump")):
                    with suppress(CommonplaceError):
                        call()
                named = bool(kb.maintenance.doctor())
                kb.maintenance.doctor(repair=True)
            assert named, (note, harm)


@pytest.mark.parametrize("name", ["~\0x", "a\0b", "\ud800"])
def test_a_path_that_no_file_can_have_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny = tiny_bundle(tmp_path / "tiny")
    (tmp_path / "a").write_text("The gauge reads nine bar.", encoding="utf-8")

    async def enter() -> None:
        async with cp.AsyncCollection(name, model=tiny):
            pass

    with cp.open(tmp_path / "kb", model=tiny) as kb:
        kb.add(cp.Record("The pump needs the blue seal.", id="pump"), "a")
        assert name not in kb and kb.get(name) is None
        calls = [
            (cp.CollectionError, lambda: kb.find(name)),
            (cp.CollectionError, lambda: kb.remove(name)),
            (cp.CollectionError, lambda: kb.page(name)),
            (cp.QueryError, lambda: kb.search("pump", path=name)),
            (cp.ModelError, lambda: kb.search("pump", rerank=name)),
            (cp.ReadError, lambda: kb.search(image=name)),
            (cp.CollectionError, lambda: kb.maintenance.backup(name)),
            (cp.CollectionError, lambda: kb.maintenance.restore(name, replace=True)),
            (cp.CollectionError, lambda: cp.open(name, model=tiny)),
            (cp.CollectionError, lambda: asyncio.run(enter())),
            (cp.ModelError, lambda: cp.open(tmp_path / "other", model=name)),
        ]
        for expected, call in calls:
            with pytest.raises(expected) as error:
                call()
            assert "\n" not in str(error.value) and "\0" not in str(error.value)
        assert len(kb) == 2
