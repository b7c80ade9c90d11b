"""The packaged multilingual model: meaning across languages, in text and in pictures, and what it does not know."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import commonplace as cp
from commonplace.encoders import Bundle, find
from commonplace.encoders.packaged import packaged
from tests.conftest import data

pytestmark = pytest.mark.skipif("multilingual" not in packaged(), reason="needs packages/multilingual")
NOTES = {
    "garden.md": "# Garden\n\nWater the tomatoes every evening in July, but never in the midday sun.\n",
    "rent.md": "# Flat\n\nThe tenant may end the lease with three months' notice, in writing.\n",
    "pump.md": "# 维修\n\n北侧水泵漏水时，应更换蓝色的橡胶密封圈，然后重新启动。\n",
    "library.md": "# 图书馆\n\n借书证丢失后，请带身份证到一楼服务台补办，费用为二十元。\n",
    "bahn.md": "# Reise\n\nDer letzte Zug nach Hamburg fährt um dreiundzwanzig Uhr von Gleis sieben ab.\n",
}
QUESTIONS = [
    ("番茄什么时候浇水？", "garden.md"),
    ("租约提前多久可以终止？", "rent.md"),
    ("What must be replaced when the pump leaks?", "pump.md"),
    ("I lost my library card, what do I do?", "library.md"),
    ("水泵漏水怎么办？", "pump.md"),
    ("How often should I water tomatoes?", "garden.md"),
    ("最后一班去汉堡的火车几点开？", "bahn.md"),
    ("Когда уходит последний поезд в Гамбург?", "bahn.md"),
]


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[cp.Collection]:
    folder = tmp_path_factory.mktemp("notes")
    for name, text in NOTES.items():
        (folder / name).write_text(text, encoding="utf-8")
    with cp.open(folder / "kb", model="multilingual") as kb:
        kb.add(*(folder / name for name in NOTES), progress=False)
        yield kb


def test_the_bundle_is_whole_and_small() -> None:
    folder = find("multilingual")
    Bundle(folder).verify()
    assert sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) < 75e6


@pytest.mark.parametrize(("question", "file"), QUESTIONS)
def test_a_question_finds_its_passage_in_any_language(notes: cp.Collection, question: str, file: str) -> None:
    best, *others = notes.search(question)
    assert Path(best.item.document.path).name == file
    assert all(best.score > 2 * hit.score for hit in others)


def test_languages_are_filtered(notes: cp.Collection) -> None:
    hits = notes.search("水泵", where={"language": "zh"})
    assert {Path(hit.item.document.path).name for hit in hits} == {"pump.md", "library.md"}


def test_an_answer_quotes_the_passage_as_it_stands_and_names_its_language(notes: cp.Collection) -> None:
    answer = notes.ask("租约提前多久可以终止？")
    assert not answer.abstained and "three months' notice" in answer.markdown() and "英" in answer.markdown()
    assert notes.ask("董事会主席是谁？").abstained and notes.ask("Who chairs the board?").abstained


def test_a_script_that_the_model_does_not_know_is_found_by_words(notes: cp.Collection, tmp_path: Path) -> None:
    with cp.open(tmp_path / "kb", model="multilingual") as kb:
        kb.add(cp.Record("ሰላም ለዓለም ይሁን።", id="peace"), cp.Record("Peace on earth.", id="other"), progress=False)
        hits = kb.search("ሰላም")
        assert hits[0].item.document.uri.endswith("peace") and any("full text only" in note for note in hits.notes)


def test_pictures_are_found_by_words_in_both_languages(tmp_path: Path) -> None:
    root = data("flickr8k")
    captions: dict[str, list[str]] = {}
    for line in (root / "Flickr8k.token.txt").read_text(encoding="utf-8").splitlines():
        captions.setdefault(line.partition("#")[0], []).append(line.partition("\t")[2].lower())
    split = (root / "Flickr_8k.devImages.txt").read_text(encoding="utf-8").split()
    dogs = [name for name in split if sum("dog" in text for text in captions[name]) == 5][:8]
    others = [name for name in split if not any("dog" in text for text in captions[name])][:40]
    with cp.open(tmp_path / "kb", model="multilingual") as kb:
        kb.add(*(root / "images" / name for name in dogs + others), progress=False)
        for words in ("一只狗", "a dog", "ein Hund"):
            found = [Path(hit.item.document.path).name for hit in kb.search(words, k=8)]
            assert len(set(found) & set(dogs)) >= 6, words
