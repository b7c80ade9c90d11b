"""Collections in a Milvus Lite file, opened and used as a folder is: in Python and on the command line."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import commonplace as cp
from commonplace.cli import main
from commonplace.errors import CollectionError, ModelMismatch
from commonplace.places import MilvusPlace, place_of
from tests.test_copying import contents
from tests.tiny import tiny_bundle


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMMONPLACE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "pump.txt").write_text("The south pump needs a blue seal.", encoding="utf-8")
    Image.new("RGB", (64, 64), "red").save(folder / "red.png")
    return folder


def run(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    status = main(list(arguments))
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_a_lite_file_is_used_like_a_folder(notes: Path, tmp_path: Path) -> None:
    url = f"milvus-lite://{notes}/kb.db"  # inside the folder that is added, with its blobs
    with cp.open(url) as kb:
        assert kb.add(notes, cp.Record("Snow fell in the north.", id="snow"), workers=1, progress=False).added == 3
        assert kb.add(notes, workers=1, progress=False).unchanged == 2
        assert repr(kb).startswith(f"<Collection '{url}', model")
        status = kb.status()
        assert status["collection"] == url and status["items"] == {"text": 2, "image": 1}
        cache = tmp_path / "cache" / "commonplace" / "collections"
        assert kb.folder.parent == cache and kb.folder.stat().st_mode & 0o077 == 0
    with cp.open(url) as kb:
        assert [hit.item.document.id for hit in kb.search("snow in the north", k=1)] == ["snow"]
        (hit,) = kb.search(image=notes / "red.png", k=1)
        assert hit.item.modality == "image" and kb.ask("Which pump needs a blue seal?").citations
        assert (notes / "kb.db.blobs" / "commonplace" / "pictures").is_dir()
        with cp.open(f"{url}?name=other") as other:
            assert len(other) == 0 and other.folder != kb.folder
            assert other.add(notes, workers=1, progress=False).added == 2  # none of the blobs
        assert kb.remove("snow") == 1 and len(kb) == 2


def test_another_model_is_refused_and_the_own_one_is_remembered(notes: Path, tmp_path: Path) -> None:
    url, bundle = f"milvus-lite://{tmp_path}/kb.db", tiny_bundle(tmp_path / "tiny")
    with cp.open(url, model=bundle) as kb:
        kb.add(notes, workers=1, progress=False)
    with cp.open(url) as kb:
        assert kb.space.name == "tiny-0" and len(kb) == 2
    with pytest.raises(ModelMismatch, match="was made with the model tiny-0"):
        cp.open(url, model="minilm-lite0")


def test_blobs_are_where_the_caller_says_and_remembered(notes: Path, tmp_path: Path) -> None:
    url = f"milvus-lite://{tmp_path}/kb.db"
    with cp.open(url, blobs=str(tmp_path / "elsewhere")) as kb:
        kb.add(notes, workers=1, progress=False)
    with cp.open(url) as kb:
        (picture,) = (item.picture for item in kb.items(kb.find(notes / "red.png")) if item.picture)  # type: ignore[arg-type]
        assert kb.store.thumbnail(picture) is not None and kb.maintenance.doctor() == []
    assert list((tmp_path / "elsewhere").rglob("*.jpg")) and not (tmp_path / "kb.db.blobs").exists()
    with cp.open(url, blobs=str(tmp_path / "mistaken")) as kb:
        assert kb.store.thumbnail(picture) is None
    with cp.open(url) as kb:  # the mistake was that of one opening
        assert kb.store.thumbnail(picture) is not None
    with pytest.raises(CollectionError, match="the protocol nosuch:// of the blobs is not known"):
        cp.open(url, blobs="nosuch://x")


def test_maintenance_of_a_server(notes: Path, tmp_path: Path) -> None:
    with cp.open(f"milvus-lite://{tmp_path}/kb.db") as kb:
        kb.add(notes, workers=1, progress=False)
        assert kb.maintenance.doctor() == []
        for use in (
            lambda: kb.maintenance.backup(tmp_path / "backup"),
            lambda: kb.maintenance.restore(tmp_path / "backup"),
        ):
            with pytest.raises(CollectionError) as error:
                use()
            assert "\n" not in str(error.value) and "kb.db" in str(error.value)
        assert kb.maintenance.compress() == {}  # a Lite file is searched exactly
        assert len(kb) == 2


def test_the_command_line(notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:  # type: ignore[no-untyped-def]
    url = f"milvus-lite://{tmp_path}/kb.db"
    assert run("--collection", url, "search", "pump", capsys=capsys) == (
        1, "", f"commonplace: there is no collection in {url}: create one with `commonplace add PATH`\n"
    )  # fmt: skip
    assert not (tmp_path / "kb.db").exists()
    blobs = tmp_path / "blobs"
    status, _, errors = run("--blobs", str(blobs), "add", "--collection", url, str(notes), capsys=capsys)
    assert status == 0, errors
    assert list(blobs.rglob("*.jpg"))
    monkeypatch.setenv("COMMONPLACE_COLLECTION", url)
    status, printed, _ = run("which pump needs a blue seal", capsys=capsys)
    assert status == 0 and "pump.txt" in printed
    status, printed, _ = run("status", capsys=capsys)
    assert status == 0 and printed.startswith("collection  ") and "kb.db" in printed.splitlines()[0]
    for verb in (["backup", "b"], ["restore", "b"]):
        status, _, errors = run(*verb, capsys=capsys)
        assert status == 1 and errors.count("\n") == 1 and url in errors, verb
    assert run("doctor", capsys=capsys)[:2] == (0, "no problems found\n")
    picture = next(blobs.rglob("*.jpg"))
    with cp.open(url) as kb:
        (item,) = kb.items(kb.find(notes / "red.png"))  # type: ignore[arg-type]
    status, _, errors = run("show", item.id, "--page", str(picture), capsys=capsys)
    assert status == 1 and "belongs to the collection itself" in errors


def test_a_collection_is_copied_to_a_server_and_back(notes: Path, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    url = f"milvus-lite://{tmp_path}/kb.db"
    with cp.open(tmp_path / "first", model=tiny_bundle(tmp_path / "tiny")) as kb:
        kb.add(
            notes, cp.Record("Snow fell in the north.", id="snow", metadata={"year": 2024}), workers=1, progress=False
        )
        kb.label("snow", kb.search("snow", k=1)[0].item.id, True)
        kb.ranking = cp.Ranking(method="rrf")
        expected = contents(kb.store)
    blobs = tmp_path / "blobs"
    for source, target, options in ((tmp_path / "first", url, ["--blobs", str(blobs)]), (url, tmp_path / "last", [])):
        for printed in ("3 copied\n", "3 unchanged\n"):
            assert run("copy", str(source), str(target), *options, capsys=capsys)[:2] == (0, printed)
    assert list(blobs.rglob("*.jpg")) and not (tmp_path / "kb.db.blobs").exists()
    with cp.open(tmp_path / "last") as kb:
        assert contents(kb.store) == expected and kb.ranking.method == "rrf"


def test_options_of_a_server_do_not_fit_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for option in ({"blobs": "s3://b"}, {"token": "secret-9f3a"}):
        with pytest.raises(CollectionError, match="takes neither blobs nor token") as error:
            cp.open(tmp_path / "kb", **option)  # type: ignore[arg-type]
        assert "9f3a" not in str(error.value)

        async def use(option: dict[str, Any] = option) -> None:
            async with cp.AsyncCollection(tmp_path / "kb", **option):
                pass

        with pytest.raises(CollectionError, match="takes neither blobs nor token"):
            asyncio.run(use())
    status, _, errors = run("--token", "secret-9f3a", "status", capsys=capsys)
    assert status == 1 and "takes neither" in errors and "9f3a" not in errors


def test_a_token_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("COMMONPLACE_MILVUS_TOKEN", "root:secret-9f3a")
    monkeypatch.setenv("COMMONPLACE_MILVUS_TIMEOUT", "1")
    place = place_of("milvus://127.0.0.1:9/papers", blobs="ftp://me:secret-9f3a@host/x")
    assert isinstance(place, MilvusPlace) and place.address.token == "root:secret-9f3a"
    with caplog.at_level(1), pytest.raises(CollectionError, match=r"milvus://127\.0\.0\.1:9/papers") as error:
        place.exists()
    status, printed, errors = run("--collection", "milvus://127.0.0.1:9/papers", "status", capsys=capsys)
    assert status == 1 and errors.count("\n") == 1
    assert "9f3a" not in caplog.text + str(error.value) + repr(place) + printed + errors


def test_the_folder_of_this_machine_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("COMMONPLACE_CACHE", str(tmp_path / "file"))
    with pytest.raises(CollectionError, match="set COMMONPLACE_CACHE"):
        cp.open(f"milvus-lite://{tmp_path}/kb.db")


def test_a_path_object_that_lost_its_slashes_makes_no_folder(tmp_path: Path) -> None:
    with pytest.raises(CollectionError, match="write milvus://HOST"):
        cp.open(Path("milvus://host/papers"))
    assert os.listdir() == []
