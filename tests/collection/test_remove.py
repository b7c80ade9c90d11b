"""Documents that are removed from a collection, with their pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

import commonplace as cp
from commonplace.errors import CommonplaceError
from tests.collection.common import PUMP, names


def test_remove_by_path_folder_and_id(kb: cp.Collection, folder: Path) -> None:
    assert kb.remove(folder / "weather.txt") == 1
    assert kb.remove(folder / "pictures") == 2
    page = next(document for document in kb.documents() if document.path.endswith("pumps.md"))
    assert kb.remove(page.id) == 1
    assert kb.search("snow pump ball", k=20) == []
    assert names(kb.search("水泵", k=20)) == ["zh.txt"]
    with pytest.raises(cp.CollectionError, match="no document"):
        kb.remove(folder / "weather.txt")
    (folder / "zh.txt").unlink()
    assert kb.remove(missing=True) == 1
    counts = kb.status()
    assert (counts["documents"], counts["items"], counts["vectors"]) == ({}, {}, {})
    assert not (kb.folder / "crops").exists()


def test_only_our_own_crops_are_removed(tmp_path: Path, folder: Path) -> None:
    """A collection may be in a folder with other files, which are not removed."""
    home = tmp_path / "home"
    for name in ("pictures", "crops"):
        (home / name).mkdir(parents=True)
        (home / name / "holiday.jpg").write_bytes(b"mine")
    with cp.open(home) as kb:
        kb.add(folder)
        (crop,) = {hit.image for hit in kb.search("red ball", k=20) if hit.image and "/crops/" in hit.image}
        (folder / "pumps.md").write_text(PUMP, encoding="utf-8")  # no longer includes a picture
        (folder / "pictures" / "ball.png").unlink()
        assert kb.add(folder).missing == 1
        assert Path(crop).exists()  # the missing picture file is still in the collection
        kb.remove(missing=True)
        assert not Path(crop).exists()
        kb.remove(folder)
    assert (home / "pictures" / "holiday.jpg").exists() and (home / "crops" / "holiday.jpg").exists()


def test_the_crop_of_a_picture_is_removed_before_its_document(
    kb: cp.Collection, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is killed after the commit of a removal must not leave the picture behind."""
    (shown,) = {hit.image for hit in kb.search("red ball", k=20) if hit.image and "/crops/" in hit.image}
    monkeypatch.setattr(kb._session.parts.crops, "prune", lambda: None)
    kb.remove(folder / "pumps.md")
    assert Path(shown).exists()  # the picture is a document of its own too
    kb.remove(folder)
    assert not Path(shown).exists()


def test_a_crop_that_cannot_be_removed_keeps_its_document(tmp_path: Path, folder: Path, tiny: Path) -> None:
    with cp.open(tmp_path / "kb", model=tiny) as kb:
        kb.add(folder, workers=1, progress=False)
        (picture,) = kb.store.pictures(
            document.id for document in kb.store.documents() if document.path.endswith("box.png")
        )
        (tmp_path / "kb" / "crops" / f"{picture}.jpg").mkdir(parents=True)
        with pytest.raises(CommonplaceError, match="check its permissions"):
            kb.remove(folder)
        assert len(list(kb.store.documents())) == 5
        (tmp_path / "kb" / "gone").symlink_to(tmp_path / "nowhere")  # like a file that another process removes
        assert kb.status()["bytes"] > 0
