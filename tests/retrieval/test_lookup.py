"""Lookups: a rare word in one passage is found first, with honest confidence; files are found by their names."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import commonplace as cp
from commonplace.retrieval import LEXICAL, Calibration, ChannelScores, Lookup, Ranking, fuse, lookup
from commonplace.store import RankedList
from commonplace.types import Document, Item, Span

NOTES = {
    "chemistry/history.txt": "Oxygen was isolated by Scheele in Uppsala before Priestley published his own experiment.",
    "chemistry/metals.txt": "Iron rusts in wet air. Copper turns green, and gold keeps its colour for ever.",
    "household/boiler.txt": "The boiler shows error E-1042 if the pressure falls below one bar. Refill it slowly.",
    "household/heating-plan_2024.txt": "Radiators are bled in October. The boiler is serviced on 2024-03-05 by a firm.",
    "household/shed.txt": "In shed E stand 1042 bricks. The firm painted it on 2024-05-03, when the roof was dry.",
    "sheets/one.txt": "Sheet1",
    "sheets/two.txt": "Cover",
    "work/network.md": "# Networking\n\nThe router assigns addresses. A bridge joins two segments of the network.",
    "work/minutes.txt": "The meeting agreed on a budget for the new roof. Nobody objected, and the chair closed it.",
    "work/contacts.txt": "Ask Fiona O'Hagan, +49 30 7734512, about order HK-5527. Groß pays. Zschokke has the key.",
    "work/agenda.txt": "The roof and its budget come first. A new chair is elected, then the meeting ends.",
}


@pytest.fixture(scope="module")
def kb(tmp_path_factory: pytest.TempPathFactory) -> cp.Collection:
    root = tmp_path_factory.mktemp("lookup")
    for name, text in NOTES.items():
        (root / "notes" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "notes" / name).write_text(text, encoding="utf-8")
    collection = cp.open(root / "kb")
    collection.add(root / "notes")
    return collection


def first(kb: cp.Collection, query: str) -> str:
    return "/".join(Path(kb.search(query)[0].item.document.path).parts[-2:])


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("Scheele", "chemistry/history.txt"),
        ("scheele", "chemistry/history.txt"),
        ("who is Scheele", "chemistry/history.txt"),
        ("where is Scheele mentioned?", "chemistry/history.txt"),
        ("E-1042", "household/boiler.txt"),  # the shed has both of its parts
        ("2024-03-05", "household/heating-plan_2024.txt"),
        ('"a new chair"', "work/agenda.txt"),
        ("heating-plan_2024.txt", "household/heating-plan_2024.txt"),
        ("heating plan 2024", "household/heating-plan_2024.txt"),
        ("open shed.txt", "household/shed.txt"),
        ("one.txt", "sheets/one.txt"),
        ("netwroking", "work/network.md"),
        ("chemi stry history.txt", "chemistry/history.txt"),
        ("histroy.txt", "chemistry/history.txt"),
        ("haeting-plan_2024.txt", "household/heating-plan_2024.txt"),
    ],
)
def test_what_stands_there_as_written_is_first(kb: cp.Collection, query: str, path: str) -> None:
    assert first(kb, query) == path


@pytest.mark.parametrize(
    ("query", "written"),
    [
        ("OHagan", '"o hagan"'),
        ("HK5527", '"hk 5527"'),
        ("hk 55-27", '"hk 5527"'),
        ("ＨＫ５５２７", '"hk 5527"'),
        ("+49307734512", '"49 30 7734512"'),
        ("030 7734512", '"30 7734512"'),
        ("Zschoke", "zschokke"),
        ("Gross", None),
    ],
)
def test_what_is_written_otherwise_is_found(kb: cp.Collection, query: str, written: str | None) -> None:
    hits = kb.search(query)
    assert Path(hits[0].item.document.path).name == "contacts.txt" and hits[0].confidence > 0.5
    assert hits.respelled == written


def test_a_folder_is_found_by_its_name(kb: cp.Collection) -> None:
    hits = kb.search("chemistry", k=2)
    assert {Path(hit.item.document.path).parent.name for hit in hits} == {"chemistry"}


def test_a_rare_name_alone_is_answered_and_explained(kb: cp.Collection) -> None:
    hit = kb.search("Scheele")[0]
    lines = {line.channel: line.contribution for line in hit.breakdown}
    assert hit.confidence > 0.5 and lines["as_written"] > 0.3
    assert math.isclose(1 / (1 + math.exp(-sum(lines.values()))), hit.score, abs_tol=1e-9)
    answer = kb.ask("Scheele")
    assert not answer.abstained and any("Scheele" in block.text for block in answer.blocks)


def test_mended_spelling_is_told_and_only_of_words_that_occur_nowhere(kb: cp.Collection) -> None:
    hits = kb.search("netwroking")
    assert hits.respelled == "networking" and any("networking" in note for note in hits.notes)
    assert kb.search("networking").respelled is None
    assert kb.search("quaternion").respelled is None  # resembles no word


def test_a_word_of_the_language_is_not_taken_for_another_one(tmp_path: Path) -> None:
    (tmp_path / "planets.txt").write_text("Eight planets travel around the Sun. Bring the lantern.\n")
    with cp.open(tmp_path / "kb") as kb:
        kb.add(tmp_path / "planets.txt", workers=1, progress=False)
        assert kb.search("the sky at night").respelled is None  # not "eight"
        assert kb.search("lanturn").respelled == "lantern"


def test_a_file_whose_name_is_the_query_comes_before_what_is_about_it(tmp_path: Path) -> None:
    for name, text in (
        ("apple-cake.txt", "Four of them, flour and cinnamon."),
        ("b.txt", "An apple cake is a cake with apples. Bake the apple cake."),
        ("c.txt", "Apple cake for ten people."),
    ):
        (tmp_path / name).write_text(text)
    with cp.open(tmp_path / "kb") as kb:
        kb.add(*sorted(tmp_path.glob("*.txt")), workers=1, progress=False)
        hits = kb.search("apple cake")
    assert Path(hits[0].item.document.path).name == "apple-cake.txt"
    assert hits[1].confidence > 0.5  # what is about it is relevant too


def listed(*texts: str, idf: dict[str, float], path: str = "/{}.txt") -> tuple[RankedList, list[str], dict[str, Item]]:
    ids = [f"i{n}" for n in range(len(texts))]
    documents = [Document(f"d{n}", "", path.format(n), "text/plain") for n in range(len(texts))]
    items = [
        Item(id_, document, "text", Span(), text) for id_, document, text in zip(ids, documents, texts, strict=True)
    ]
    ranked = RankedList(tuple(ids), np.ones(len(ids), np.float32), sum(idf.values()), idf=idf)
    return ranked, ids, {item.id: item for item in items}


def test_a_word_counts_by_its_rarity_and_less_in_another_form() -> None:
    idf = {'"roof"': 1.0, '"Norman"': 3.0}
    ranked, ids, items = listed("a roof", "Norman", "roof of Norman", "the Normans' roof", "no", idf=idf)
    finds = lookup("roof Norman", ranked, RankedList(), ids, items)
    assert finds.coverage[:3].tolist() == pytest.approx([0.25, 0.75, 1.0])
    assert 0.75 < finds.coverage[3] < 1 and finds.coverage[4] == 0
    assert finds.best().tolist() == [False, False, True, False, False]


def test_common_words_find_nothing() -> None:
    ranked, ids, items = listed("the roof", "a roof", idf={'"roof"': 0.1})
    assert not lookup("roof", ranked, RankedList(), ids, items).best().any()


CALIBRATION = Calibration({})


def fused_confidence(finds: Lookup | None, meaning: list[float]) -> np.ndarray:
    n = len(meaning)
    ranks = np.arange(1, n + 1)
    dense = RankedList(tuple(map(str, range(n))), np.array(meaning, np.float32), 1.0, 1000, 0.0, 0.1)
    words = RankedList(tuple(map(str, range(n))), np.zeros(n, np.float32), 5.0)
    channels = {
        LEXICAL: ChannelScores(words, np.zeros(n), ranks, finds),
        "text->text": ChannelScores(dense, np.array(meaning), ranks),
    }
    return fuse(channels, Ranking(), CALIBRATION, 1000).confidence


def test_an_exact_match_outweighs_an_ordinary_score_but_not_an_extraordinary_one() -> None:
    finds = Lookup(np.array([0.0, 1.0]), np.ones(2))
    ordinary, extraordinary = [0.25, -0.1], [0.9, -0.1]
    plain, with_match = fused_confidence(None, ordinary), fused_confidence(finds, ordinary)
    assert plain[0] > plain[1] and with_match[1] > 0.5 > with_match[0] and with_match[0] < plain[0]
    with_match = fused_confidence(finds, extraordinary)
    assert with_match[0] > with_match[1]
    literal = fused_confidence(replace(finds, literal=True), extraordinary)  # vectors know nothing of a code
    assert literal[1] > literal[0]


def test_confidence_is_shared_by_those_that_match_alike() -> None:
    alone = fused_confidence(Lookup(np.array([0.0, 1.0, 0.0]), np.ones(3)), [0.0, 0.0, 0.0])
    of_two = fused_confidence(Lookup(np.array([0.0, 1.0, 1.0]), np.array([1.0, 2.0, 2.0])), [0.0, 0.0, 0.0])
    assert alone[1] > 0.9 and 0.4 < of_two[1] == of_two[2] < 0.6


def test_partial_matches_are_weak_evidence() -> None:
    plain = fused_confidence(None, [0.0, 0.1])
    half = fused_confidence(Lookup(np.array([0.5, 0.0]), np.ones(2)), [0.0, 0.1])
    assert half[0] < 0.1 and half[1] == pytest.approx(plain[1], rel=0.1)
