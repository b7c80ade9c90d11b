"""Many processes on one collection: writers of the same documents, writers that are killed, and readers."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("pymilvus", reason="needs the extra milvus")

from commonplace.store.milvus import sweeping
from commonplace.store.milvus.store import MilvusStore
from commonplace.types import Filter, ParsedDocument, stable_id

from ..store.contract import parsed, vector, vectors_of
from .common import collection_name, open_store

LONG = os.environ.get("COMMONPLACE_LONG") == "1"
KILLS = 50 if LONG else 5


def document(number: int, version: str) -> ParsedDocument:
    texts = (f"text {number} {version} {part}" for part in range(3))
    return parsed(f"/{number}.txt", *texts, picture=f"pic{number % 5}")


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def work(uri: str, name: str, folder: Path, seed: int, calls: int) -> None:
    """Add and remove documents at random, and print each call before and after it."""
    choice = random.Random(seed)
    store = open_store(uri, name, folder)
    tell("ready")
    for call in range(calls):
        numbers = choice.sample(range(10), 3)
        removes = choice.random() < 0.25
        version = f"{seed}.{call}"
        tell(json.dumps([numbers[:1] if removes else numbers, None if removes else version]))
        if removes:
            store.remove([stable_id(f"/{numbers[0]}.txt")])
        else:
            documents = [document(number, version) for number in numbers]
            store.add(documents, vectors_of(documents))
        tell("done")
    store.close()


def writer(uri: str, name: str, folder: Path, seed: int, calls: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.milvus.test_together", uri, name, str(folder), str(seed), str(calls)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def check_whole(store: MilvusStore) -> dict[int, str]:
    """Return the version of each document, after a check that every document is complete and can be found."""
    versions = {}
    for stored in store.documents():
        number = int(Path(stored.path).stem)
        items = store.items_of(stored.id)
        texts = [item.text for item in items if item.text]
        (version,) = {text.split()[2] for text in texts}
        assert texts == [f"text {number} {version} {part}" for part in range(3)] and len(items) == 4
        ranked = store.search("text", vector("text", texts[1]), 1, Filter())
        assert ranked.ids == (items[1].id,) and ranked.scores[0] == pytest.approx(1, abs=1e-3)
        assert store.thumbnail(items[3].picture or "") == f"jpeg of {items[3].picture}".encode()
        versions[number] = version
    return versions


def check_clean(store: MilvusStore) -> None:
    """Check that nothing is left of documents that were replaced, removed or cut off."""
    assert store.maintenance.doctor() == []
    items = sum(len(store.items_of(stored.id)) for stored in store.documents())
    assert store.count() == items == sum(store.counts("vectors")["vectors"].values())


def test_writers_of_the_same_documents_leave_one_of_each(milvus_uri: str, tmp_path: Path) -> None:
    with collection_name(milvus_uri) as name:
        store = open_store(milvus_uri, name, tmp_path)
        writers = [writer(milvus_uri, name, tmp_path, seed, calls=8) for seed in range(3)]
        assert [process.wait(120) for process in writers] == [0, 0, 0]
        assert check_whole(store)
        check_clean(store)
        store.close()


def test_a_killed_writer_loses_nothing_that_was_acknowledged(
    milvus_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice = random.Random(7)
    allowed: dict[int, set[str | None]] = {}
    with collection_name(milvus_uri) as name:
        store = open_store(milvus_uri, name, tmp_path)
        for kill in range(KILLS):
            process = writer(milvus_uri, name, tmp_path, kill, calls=1000)
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            time.sleep(choice.uniform(0.05, 2))
            process.kill()
            begun: list[tuple[list[int], str | None]] = []
            for line in process.stdout.read().splitlines():
                if line == "done":
                    numbers, version = begun.pop()
                    allowed.update({number: {version} for number in numbers})
                elif line.endswith("]"):
                    begun.append(json.loads(line))
            for numbers, version in begun:  # cut off: the old or the new document
                allowed.update({number: {*allowed.get(number, {None}), version} for number in numbers})
            versions = check_whole(store)
            for number, expected in allowed.items():
                assert versions.get(number) in expected
                allowed[number] = {versions.get(number)}
        monkeypatch.setattr(sweeping, "LEASE", -1.0)  # the killed writers will not come back
        store.maintenance.doctor(repair=True)
        check_clean(store)
        assert check_whole(store) == versions
        store.close()


def test_a_search_sees_what_another_store_had_committed(milvus_uri: str, tmp_path: Path) -> None:
    with collection_name(milvus_uri) as name:
        one, two = (open_store(milvus_uri, name, tmp_path) for _ in range(2))
        for number in range(8):
            texts = parsed(f"/{number}.txt", f"words {number}")
            one.add([texts], vectors_of([texts]))
            ranked = two.search("text", vector("text", f"words {number}"), 1, Filter())
            assert two.items(ranked.ids)[ranked.ids[0]].text == f"words {number}" and two.count() == number + 1
            assert two.documents(below="/") and len(list(two.documents())) == number + 1
        two.set_setting("ranking", "x")
        assert one.setting("ranking") == "x"
        two.remove([stable_id("/3.txt")])
        assert one.count() == 7 and one.search("text", vector("text", "words 3"), 1, Filter()).scores[0] < 0.99
        one.close()
        two.close()


def test_channels_are_asked_in_parallel(milvus_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The timeline of a search: while one channel waits for the server, the others ask it, too."""
    from commonplace.collection import Collection
    from commonplace.space import open_space
    from commonplace.store import StoreSpace
    from commonplace.store.milvus.connection import Connection

    space = open_space("")
    store_space = StoreSpace(space.name, space.fingerprint, space.dim, offset=space.offset)
    with collection_name(milvus_uri) as name:
        store = open_store(milvus_uri, name, tmp_path, space=store_space)
        (tmp_path / "notes").mkdir()
        (tmp_path / "notes" / "pump.txt").write_text("The south pump runs dry.", encoding="utf-8")
        from PIL import Image

        Image.new("RGB", (64, 64), "red").save(tmp_path / "notes" / "red.png")
        with Collection(store, space, tmp_path / "kb") as collection:
            (tmp_path / "kb").mkdir()
            collection.add(tmp_path / "notes", workers=1, progress=False)
            meeting = threading.Barrier(2, timeout=20)
            search = Connection.search

            def together(self: Connection, *values: object, **options: object) -> object:
                meeting.wait()  # raises an error unless two channels are here at once
                return search(self, *values, **options)  # type: ignore[arg-type]

            monkeypatch.setattr(Connection, "search", together)
            hits = collection.search("which pump has no water?")
            assert Path(hits[0].item.document.path).name == "pump.txt"


if __name__ == "__main__":
    uri, name, folder, seed, calls = sys.argv[1:]
    work(uri, name, Path(folder), int(seed), int(calls))
