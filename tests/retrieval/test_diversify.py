"""Near-duplicates are shown as one hit with a count, and hits are diversified on request."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

import commonplace as cp
from commonplace.retrieval.diversify import overlap
from commonplace.types import Document, Item, Span


def scene(path: Path, seed: int) -> Path:
    image = Image.new("RGB", (320, 240), ("skyblue", "khaki", "salmon")[seed % 3])
    draw = ImageDraw.Draw(image)
    for i in range(6):
        x, y = (seed * 97 + i * 53) % 260, (seed * 31 + i * 71) % 180
        draw.ellipse((x, y, x + 40 + 5 * i, y + 40), fill=("red", "navy", "green", "black", "white", "purple")[i])
    image.save(path)
    return path


@pytest.fixture(scope="module")
def kb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[cp.Collection]:
    root = tmp_path_factory.mktemp("variety") / "notes"
    root.mkdir()
    for seed in range(3):
        scene(root / f"scene{seed}.png", seed)
    shutil.copy(root / "scene0.png", root / "same.png")
    with Image.open(root / "scene0.png") as image:  # saved again, smaller and lossy
        image.convert("RGB").resize((280, 210)).save(root / "again.jpg", quality=80)
    (root / "a.txt").write_text("The gauge reads nine bar.", encoding="utf-8")
    (root / "b.txt").write_text("The  gauge reads\nnine bar.", encoding="utf-8")
    (root / "c.txt").write_text("The gauge reads eight bar.", encoding="utf-8")
    with cp.open(root.parent / "kb") as kb:
        kb.add(root, workers=1, progress=False)
        yield kb


def names(items: list[cp.Item]) -> set[str]:
    return {Path(item.document.path).name for item in items}


def test_a_picture_saved_again_is_shown_once(kb: cp.Collection) -> None:
    hits = kb.search(image=Path(next(d.path for d in kb.documents() if d.path.endswith("scene0.png"))), k=10)
    pictures = [hit for hit in hits if hit.item.modality == "image"]
    assert len(pictures) == 3
    (picture,) = (hit for hit in pictures if hit.near_duplicates)
    assert names([picture.item, *picture.near_duplicates]) == {"scene0.png", "same.png", "again.jpg"}


def test_no_stored_picture_is_decoded_for_a_search(kb: cp.Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*_: object, **__: object) -> None:
        raise AssertionError("a picture is decoded")

    pixels = np.asarray(Image.new("RGB", (64, 48), "skyblue"))
    monkeypatch.setattr(Image, "open", decode)
    hits = kb.search("a scene", image=pixels, k=10)
    assert any(hit.near_duplicates for hit in hits)


@pytest.mark.parametrize("name", ["scene0.png", "again.jpg"])
def test_a_stored_query_picture_is_found_with_high_confidence(kb: cp.Collection, name: str) -> None:
    picture = Path(next(d.path for d in kb.documents() if d.path.endswith(name)))
    first, second, *_ = kb.search(image=picture, k=10)
    assert names([first.item, *first.near_duplicates]) == {"scene0.png", "same.png", "again.jpg"}
    assert first.confidence > 0.99 > second.confidence
    assert any(line.channel == "near_duplicate" and line.contribution > 0 for line in first.breakdown)
    assert all(line.channel != "near_duplicate" for line in second.breakdown)
    changed = kb.search("but in purple", image=picture, k=10)  # words change it: the picture itself is not wanted
    (own,) = (hit for hit in changed if "scene0.png" in names([hit.item, *hit.near_duplicates]))
    assert own.confidence < 0.002
    assert any(line.channel == "near_duplicate" and line.contribution < 0 for line in own.breakdown)


def test_the_same_words_are_shown_once_and_other_words_are_not(kb: cp.Collection) -> None:
    hits = [hit for hit in kb.search("gauge nine bar", k=10) if hit.item.modality == "text"]
    assert names([hit.item for hit in hits]) >= {"c.txt"} and len(hits) == 2
    assert names([hits[0].item, *hits[0].near_duplicates]) == {"a.txt", "b.txt"}
    apart = kb.search("gauge nine bar", k=10, ranking=cp.Ranking(collapse=False))
    assert names([hit.item for hit in apart]) >= {"a.txt", "b.txt", "c.txt"} and not any(
        h.near_duplicates for h in apart
    )


def test_near_duplicates_take_no_place_and_the_order_is_kept(kb: cp.Collection) -> None:
    two = kb.search("gauge nine bar", k=2)
    assert len(two) == 2 and names([two[0].item]).isdisjoint(names([two[1].item, *two[1].near_duplicates]))
    scores = [hit.score for hit in kb.search("gauge", k=10)]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("collapse", [True, False])
def test_the_next_item_replaces_a_damaged_item(kb: cp.Collection, collapse: bool, tmp_path: Path) -> None:
    kb.maintenance.backup(tmp_path / "copy.maintenance.backup")
    with cp.open(tmp_path / "kb") as copy:
        copy.maintenance.restore(tmp_path / "copy.maintenance.backup")
        ranking = cp.Ranking(collapse=collapse)
        first, second = copy.search("gauge nine bar", k=2, ranking=ranking)
        with sqlite3.connect(tmp_path / "kb" / "collection.db") as database:
            database.execute("UPDATE items SET text = 'changed' WHERE id = ?", (first.item.id,))
        (only,) = copy.search("gauge nine bar", k=1, ranking=ranking)
        assert only.item.id in {second.item.id, *(item.id for item in first.near_duplicates)}


def test_diversity_ranks_different_items_higher(kb: cp.Collection) -> None:
    plain = kb.search("gauge nine bar", k=3, ranking=cp.Ranking(collapse=False))
    varied = kb.search("gauge nine bar", k=3, ranking=cp.Ranking(collapse=False, diversity=0.7))
    assert varied[0].item.id == plain[0].item.id
    assert {hit.item.modality for hit in plain} == {"text"} != {hit.item.modality for hit in varied}


spans = st.tuples(st.integers(0, 50), st.integers(0, 50)).map(sorted)


@given(spans, spans)
def test_overlap_is_symmetric_and_in_range(first: list[int], second: list[int]) -> None:
    document = Document("d", "file:///d", "/d", "text/plain")
    a, b = (Item(str(s), document, "text", Span(start=s[0], end=s[1]), "x") for s in (first, second))
    assert 0 <= overlap(a, b) == overlap(b, a) <= 1
    assert overlap(a, a) == (1 if first[1] > first[0] else 0)
    assert overlap(a, replace(b, span=replace(b.span, page=2))) == 0
