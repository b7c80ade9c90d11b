"""A folder of real photographs and prose, asked with a picture: alone, changed by words, and asked about."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import commonplace as cp
from commonplace.cli import main
from tests.conftest import data

Album = tuple[cp.Collection, dict[str, list[Path]], Path]


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Album:
    """Return a collection of photographs and prose, photographs by what they show, and its folder."""
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
    others = [name for name in test if "dog" not in told[name]][:12]
    for name in (*dogs["snow"], *dogs["grass"], *others):
        shutil.copy(source / "images" / name, root / name)
    (root / "tale.txt").write_text("In the snow the dog pulled a sled. " * 3 + "They rode through the snow all night.")
    (root / "trip.md").write_text(
        f"# Trip\n\nWe left at six. The driver sang all day.\n\n![The best hour of our trip]({others[0]})\n\n"
        "Emil took it with an old camera. Then it rained.\n\n## Food\n\nThe soup was cold.\n"
    )
    kb = cp.open(root / "kb")
    kb.add(*sorted(root.iterdir()))
    photographs = {place: [root / name for name in names_] for place, names_ in dogs.items()}
    return kb, photographs | {"trip": [root / others[0]]}, root


def test_words_change_a_picture(album: Album) -> None:
    kb, dogs, _root = album
    for own in dogs["grass"]:
        hits = kb.search("but in the snow", image=own, k=40)
        found = [hit.item.document.path for hit in hits]
        assert found[0] in map(str, dogs["snow"]), own
        assert found.index(str(own)) > 3 and hits[found.index(str(own))].confidence < 0.01
        assert found.index(str(_root / "tale.txt")) > 2  # prose gives way to pictures


def test_a_question_about_a_picture_finds_the_picture(album: Album) -> None:
    kb, dogs, _root = album
    hits = kb.search("What is this?", image=dogs["grass"][0], k=3)
    assert hits[0].item.document.path == str(dogs["grass"][0]) and hits[0].confidence > 0.9


def test_a_picture_alone_is_answered_by_itself_and_by_what_stands_beside_it(album: Album) -> None:
    kb, photographs, _root = album
    answer = kb.ask(image=photographs["trip"][0])
    first, *others = answer.blocks
    assert (first.kind, first.text) == ("image", "The best hour of our trip")
    quoted = [block.text for block in others if block.kind == "text"]
    assert quoted == ["The driver sang all day.", "Emil took it with an old camera."]
    assert answer.confidence > 0.9 and all(block.support == "supported" for block in others if block.kind == "text")
    assert "trip.md" in answer.citation(first.citations[0]).place


def test_a_picture_alone_quotes_nothing_without_evidence(album: Album) -> None:
    kb, photographs, _root = album
    answer = kb.ask(image=photographs["snow"][0])
    assert answer.blocks[0].image == str(photographs["snow"][0])
    assert [block.text for block in answer.blocks if block.kind == "text"] == []
    answer = kb.ask(image=np.tile(np.arange(240, dtype=np.uint8)[:, None, None], (1, 240, 3)))  # like nothing there
    assert answer.abstained and "like this picture" in (answer.reason or "") and answer.related
    only = kb.ask(image=photographs["trip"][0], modality="image")
    assert {block.kind for block in only.blocks} == {"image"}


def test_a_changed_picture_is_answered_with_pictures(album: Album) -> None:
    kb, photographs, _root = album
    answer = kb.ask("but in the snow", image=photographs["grass"][0])
    assert {block.kind for block in answer.blocks} == {"image"}
    assert answer.blocks[0].image in map(str, photographs["snow"])
    assert str(photographs["grass"][0]) not in [block.image for block in answer.blocks]


def test_words_that_the_model_cannot_read_leave_the_picture(album: Album) -> None:
    kb, photographs, _root = album
    answer = kb.ask("但是在雪地里", image=photographs["grass"][1])
    assert answer.notes and "full text only" in answer.notes[0]
    assert [block.text for block in answer.blocks if block.kind == "text"] == []
    assert answer.blocks[0].image == str(photographs["grass"][1])


def test_the_command_asks_with_a_picture_alone(album: Album, capsys: pytest.CaptureFixture[str]) -> None:
    kb, photographs, _root = album
    assert main(["--collection", str(kb.folder), "ask", "--image", str(photographs["trip"][0])]) == 0
    output = capsys.readouterr().out
    assert "The best hour of our trip" in output and "The driver sang all day. [2]" in output
    assert main(["--collection", str(kb.folder), "ask"]) != 0
    assert "the query is empty" in capsys.readouterr().err
