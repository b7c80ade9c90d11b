"""A folder of real photographs and prose, asked with a picture: alone, changed by words, and asked about."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import commonplace as cp
from tests.conftest import data


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> tuple[cp.Collection, dict[str, list[Path]], Path]:
    """Return a collection of photographs and prose, the photographs of dogs by place, and its folder."""
    source, root = data("flickr8k"), tmp_path_factory.mktemp("album")
    told: dict[str, str] = {}
    for line in (source / "Flickr8k.token.txt").read_text(encoding="utf-8").splitlines():
        name, caption = line.split("\t")
        told[name.split("#")[0]] = told.get(name.split("#")[0], "") + " " + caption.lower()
    test = (source / "Flickr_8k.testImages.txt").read_text().split()
    dogs = {
        place: [name for name in test if told[name].count("dog") >= 4 and told[name].count(place) >= 3][:3]
        for place in ("snow", "grass")
    }
    others = [name for name in test if "dog" not in told[name]][:20]
    for name in (*dogs["snow"], *dogs["grass"], *others):
        shutil.copy(source / "images" / name, root / name)
    (root / "tale.txt").write_text("In the snow the dog pulled a sled. " * 3 + "They rode through the snow all night.")
    kb = cp.open(root / "kb")
    kb.add(*sorted(root.iterdir()))
    return kb, {place: [root / name for name in names_] for place, names_ in dogs.items()}, root


def test_words_change_a_picture(album: tuple[cp.Collection, dict[str, list[Path]], Path]) -> None:
    kb, dogs, _root = album
    for own in dogs["grass"]:
        hits = kb.search("but in the snow", image=own, k=40)
        found = [hit.item.document.path for hit in hits]
        assert found[0] in map(str, dogs["snow"]), own
        assert found.index(str(own)) > 3 and hits[found.index(str(own))].confidence < 0.01
        assert found.index(str(_root / "tale.txt")) > 2  # prose gives way to pictures


def test_a_question_about_a_picture_finds_the_picture(
    album: tuple[cp.Collection, dict[str, list[Path]], Path],
) -> None:
    kb, dogs, _root = album
    hits = kb.search("What is this?", image=dogs["grass"][0], k=3)
    assert hits[0].item.document.path == str(dogs["grass"][0]) and hits[0].confidence > 0.9
