"""What the Milvus store does beyond the contract, over Milvus Lite."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pymilvus", reason="needs the extra milvus")

from commonplace.errors import CollectionError, ModelMismatch, VersionError
from commonplace.store import LocalStore, StoreSpace
from commonplace.store.milvus import sweeping, word_search
from commonplace.store.milvus.address import MilvusAddress
from commonplace.store.milvus.connection import features_of
from commonplace.store.milvus.store import MilvusStore
from commonplace.types import Filter, Original, stable_id

from ..contract import DIM, hubness, parsed, vector, vectors_of
from .test_contract import open_store

SPACE = StoreSpace("test", "f1", DIM, offset=hubness)
WORDS = (
    "pump",
    "pumps",
    "seal",
    "blue",
    "red",
    "valve",
    "C-3",
    "x²",
    "naïve",
    "the",
    "of",
    "密封圈",
    "蓝色",
    "圈",
    "泵",
)


@pytest.mark.parametrize("few", [10_000, 3])
def test_words_have_the_scores_of_the_local_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    """With a small sample, frequencies are listed, counted or estimated; here only listed and counted."""
    monkeypatch.setattr(word_search, "SAMPLE", few)
    monkeypatch.setattr(word_search, "COMMON", 2.0)
    monkeypatch.setattr(word_search, "MOST", 12)
    choice = random.Random(3)
    texts = [" ".join(choice.choices(WORDS, k=choice.randrange(1, 30))) for _ in range(60)]
    documents = [parsed(f"/{n % 4}/{n}.txt", text) for n, text in enumerate(texts)]
    local, milvus = LocalStore(tmp_path / "local", SPACE), open_store(tmp_path / "milvus")
    for store in (local, milvus):
        store.add(documents, vectors_of(documents))
    if few == 3:  # the mean length is that of a sample, so only the candidates and their frequencies are compared
        monkeypatch.setattr(word_search, "SAMPLE", 10_000)
        snapshot = milvus._snapshots.fresh()
        milvus._words._texts(snapshot)
        real = milvus._words._texts

        def few_in_sample(snapshot: object) -> word_search._Texts:
            return replace(real(snapshot), sample=real(snapshot).sample[:few])  # type: ignore[arg-type]

        monkeypatch.setattr(milvus._words, "_texts", few_in_sample)
    for query in (
        "blue seal",
        "pump pumps",
        "圈",
        "密封",
        "密封圈 of the red valve",
        "C-3 的圈在哪裡",
        "C-3",
        "x2 naive",
        "absent",
        "the of",
    ):
        for where in (Filter(), Filter(path="/2")):
            expected, ranked = (store.search_text(query, 8, where) for store in (local, milvus))
            assert ranked.full_match_score == pytest.approx(expected.full_match_score, rel=1e-5)
            assert ranked.scores == pytest.approx(expected.scores, rel=1e-4)
            clear = {
                id_ for id_, score in zip(expected.ids, expected.scores, strict=True) if score > expected.scores[-1]
            }
            assert clear <= set(ranked.ids)
    local.close()
    milvus.close()


def test_the_doctor_finds_and_deletes_what_was_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(tmp_path / "store")
    old, new = parsed("/a.txt", "old words", picture="p"), parsed("/a.txt", "new words", "more", picture="q")
    store.add([old], vectors_of([old]))
    for broken in ("_put_vectors", "_commit", "_finish"):
        again = open_store(tmp_path / "store")

        def cut(*_: object) -> None:
            raise SystemExit  # and what it left is not cleaned up, as if the process had been killed

        monkeypatch.setattr(again._sweeper, "clean_up", lambda _: 0)
        monkeypatch.setattr(again._writer, broken, cut)
        with pytest.raises(SystemExit):
            again.add([new], vectors_of([new]))
        (document,) = store.documents()
        texts = [item.text for item in store.items_of(document.id)]
        assert texts == (["new words", "more", None] if broken == "_finish" else ["old words", None])
        assert store.maintenance.doctor() == []  # its writer may be at work still
        monkeypatch.setattr(sweeping, "LEASE", -1.0)
        assert "cut off" in store.maintenance.doctor()[0].what
        store.maintenance.doctor(repair=True)
        monkeypatch.setattr(sweeping, "LEASE", 600.0)
        assert store.maintenance.doctor() == [] and store.count() == len(texts)
        assert (store.thumbnail("p") is None) == (broken == "_finish") == (store.thumbnail("q") is not None)
    store.close()


def test_the_doctor_compares_the_blobs_with_the_items(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    documents = [parsed("/a.txt", "words", picture="p")]
    store.add(documents, vectors_of(documents))
    blobs = store._sweeper.blobs
    assert blobs is not None
    blobs.delete("pictures", "p")
    blobs.put("pictures", "stray", b"jpeg")
    stray, lost = store.maintenance.doctor(repair=True)
    assert "no document shows" in stray.what and stray.repaired and "missing" in lost.what and not lost.repaired
    assert store.thumbnail("stray") is None and len(store.maintenance.doctor()) == 1
    store.close()


def test_the_doctor_finds_offsets_of_another_version_of_the_model(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    documents = [parsed("/a.txt", "words", picture="p")]
    store.add(documents, vectors_of(documents))
    assert store.maintenance.doctor() == []
    store._vectors._space = replace(SPACE, state="another")
    (outdated,) = store.maintenance.doctor(repair=True)
    assert "another version" in outdated.what and "copy" in outdated.remedy and not outdated.repaired
    store.close()


def test_an_add_that_fails_leaves_nothing(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    store._sweeper.blobs = None
    words, picture = parsed("/a.txt", "words"), parsed("/b.jpg", picture="p")
    record = replace(parsed("r", "words"), original=Original("text/plain", b"words"))
    store.add([words], vectors_of([words]))
    for refused in (picture, record):
        with pytest.raises(CollectionError, match="--blobs URL"):
            store.add([refused], vectors_of([refused]))
    assert store.count() == 1 and store.maintenance.doctor() == []
    store.close()


def test_early_fused_lists_equal_the_local_store(tmp_path: Path) -> None:
    means = {"text": vector("mean") * 0.3, "image": vector("other mean") * 0.6}
    space = replace(SPACE, means=means)
    documents = [parsed(f"/{n}.txt", f"words {n}", picture=f"p{n}") for n in range(80)]
    local = LocalStore(tmp_path / "local", space)
    milvus = MilvusStore(MilvusAddress.parse(f"milvus-lite://{tmp_path}/x.db"), space)
    for store in (local, milvus):
        store.add(documents, vectors_of(documents))
    for alpha in (0.0, 0.4, 1.0, None):
        expected, ranked = (store.search_fused(vector("query"), 12, Filter(), alpha) for store in (local, milvus))
        assert ranked.ids == expected.ids and ranked.scores == pytest.approx(expected.scores, abs=1e-3)
    local.close()
    milvus.close()


def test_a_collection_of_another_program_or_model_is_refused(tmp_path: Path) -> None:
    from pymilvus import MilvusClient

    client = MilvusClient(uri=str(tmp_path / "x.db"))
    client.create_collection("commonplace", dimension=8)
    address = MilvusAddress.parse(f"milvus-lite://{tmp_path}/x.db")
    with pytest.raises(VersionError, match="use another name"):
        MilvusStore(address, SPACE)
    client.close()
    open_store(tmp_path / "store").close()
    with pytest.raises(ModelMismatch, match="made with the model test"):
        MilvusStore(MilvusAddress.parse(f"milvus-lite://{tmp_path}/store/notes.db"), StoreSpace("o", "f2", DIM))


@pytest.mark.parametrize(
    ("version", "sparse", "lite", "rabitq"),
    [
        ("v2.3.5-lite", False, False, False),
        ("2.4.15", True, False, False),
        ("v2.6.1", True, False, True),
        ("3.0.1", True, False, True),
        ("milvus_lite-3.2.2", True, True, False),
        ("nightly", False, False, False),
    ],
)
def test_features_follow_from_the_version(version: str, sparse: bool, lite: bool, rabitq: bool) -> None:
    features = features_of(version)
    assert (features.sparse, features.lite, features.rabitq) == (sparse, lite, rabitq)


def test_a_stray_environment_file_is_not_read(tmp_path: Path) -> None:
    """pymilvus reads ``.env`` when it is imported."""
    import subprocess
    import sys

    (tmp_path / ".env").write_text("STRAY=read\nMILVUS_URI=http://elsewhere:1\n", encoding="utf-8")
    code = (
        "import os; from commonplace.store.milvus.connection import client_class; client_class(); "
        "raise SystemExit('STRAY' in os.environ or 'MILVUS_URI' in os.environ)"
    )
    path = os.pathsep.join(os.path.abspath(folder) for folder in sys.path if folder)
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, check=False
    )
    assert run.returncode == 0


def test_removed_and_replaced_documents_leave_no_rows(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    for version in range(3):
        documents = [parsed("/a.txt", *(f"text {version} {n}" for n in range(4 - version)), picture=f"p{version}")]
        store.add(documents, vectors_of(documents))
        assert store.count() == 5 - version == sum(store.counts("vectors")["vectors"].values())
    assert store.remove([stable_id("/a.txt")]) == 1
    assert store.count() == 0 and not any(store.counts().values()) and store.maintenance.doctor() == []
    names = store._layout.of_vectors()
    assert names and all(not store._connection.count(name, "", -1) for name in [*names, store._layout.items])
    assert np.isnan(store.score("text", vector("q"), [stable_id(stable_id("/a.txt"), 0)])).all()
    store.close()
