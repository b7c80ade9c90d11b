"""Documents have a language, filters know it, and notes say where the model does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import commonplace as cp
from commonplace.encoders import DEFAULT_BUNDLE, Bundle
from tests.text.test_language import CHINESE, ENGLISH, GERMAN, SPANISH

BRITISH = "The pump behind the house at the canal runs dry in August, so the gardener painted its valve grey."
TAIWANESE = "北邊的水泵需要藍色的密封圈，南邊的水泵在八月會乾轉，閥門是黃銅做的。"
CHINESE_PAGE = "修理水泵以前，请先关掉电源，再打开外壳，检查里面的轴承。"
TIBETAN = "ཆུ་འཐེན་འཕྲུལ་འཁོར་ལ་ཁ་རྒྱག་གསར་པ་དགོས།"
ETHIOPIC = "ፓምፑ አዲስ ሰማያዊ ማኅተም ያስፈልገዋል"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("languages")
    (root / "en.txt").write_text(ENGLISH)
    (root / "gb.html").write_text(f'<html lang="en-gb"><p>{BRITISH}</p>')
    (root / "zh.txt").write_text(CHINESE * 3)
    (root / "tw.html").write_text(f'<html lang="zh_TW"><p>{TAIWANESE}</p>')
    (root / "template.html").write_text(f'<html lang="en"><p>{CHINESE_PAGE}</p>')  # as a template left it
    (root / "both.md").write_text(
        f"# Cellar\n\n{'The cellar is dry again. ' * 20}\n\n# 地下室\n\n{'地下室又干了。水泵' * 20}\n"
    )
    (root / "es.md").write_text(SPANISH)
    (root / "short.txt").write_text("pump 12")
    (root / "bo.txt").write_text(TIBETAN)
    (root / "am.txt").write_text(ETHIOPIC)
    return root


@pytest.fixture(scope="module")
def collection(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> cp.Collection:
    kb = cp.open(tmp_path_factory.mktemp("kb") / "kb")
    records = [
        cp.Record(GERMAN, id="de"),
        cp.Record(GERMAN, id="chosen", metadata={"Language": "Low German"}),
        cp.Record(image=np.zeros((64, 64, 3), np.uint8), id="picture"),
    ]
    report = kb.add(folder, records, progress=False)
    assert not report.failed and not report.partial
    (note,) = (note for note in report.notes if "does not know" in note)
    assert note.startswith("6 of the documents hold texts that the model minilm-lite0 does not know: ")
    return kb


def language(collection: cp.Collection, name: str) -> object:
    (document,) = (doc for doc in collection.documents() if name in (doc.id, Path(doc.path).name))
    return document.metadata.get("language")


def test_documents_have_a_language(collection: cp.Collection) -> None:
    expected = {
        "en.txt": "en", "gb.html": "en-GB", "zh.txt": "zh", "tw.html": "zh-TW", "template.html": "zh",
        "both.md": ["zh", "en"], "es.md": "es", "short.txt": None, "bo.txt": "bo", "am.txt": "am", "de": "de",
        "picture": None, "chosen": None,
    }  # fmt: skip
    assert {name: language(collection, name) for name in expected} == expected
    (chosen,) = (doc for doc in collection.documents() if doc.id == "chosen")
    assert chosen.metadata["Language"] == "Low German"


@pytest.mark.parametrize(
    ("allowed", "names"),
    [
        ("zh", {"zh.txt", "tw.html", "template.html", "both.md"}),
        ("ZH", {"zh.txt", "tw.html", "template.html", "both.md"}),
        ("chi", {"zh.txt", "tw.html", "template.html", "both.md"}),
        ("zh_tw", {"tw.html"}),
        ("en", {"en.txt", "gb.html", "both.md"}),
        ("en-*", {"gb.html"}),
        (["en-GB", "es"], {"gb.html", "es.md"}),
        ("low german", {"chosen"}),
        ("ja", set()),
    ],
)
def test_a_filter_by_language_allows_its_regions_and_scripts(
    collection: cp.Collection, allowed: object, names: set[str]
) -> None:
    hits = collection.search("pump 水泵 bomba Pumpe", where={"language": allowed}, k=50)
    documents = (hit.item.document for hit in hits)
    assert {document.id if document.is_record else Path(document.path).name for document in documents} == names


@pytest.mark.parametrize(("query", "name"), [(TIBETAN[:20], "bo.txt"), ("ሰማያዊ ማኅተም", "am.txt"), ("密封圈", "zh.txt")])
def test_words_of_a_script_that_the_model_does_not_know_are_found_and_a_note_says_so(
    collection: cp.Collection, query: str, name: str
) -> None:
    hits = collection.search(query)
    assert name in {Path(hit.item.document.path).name for hit in hits}
    (note,) = hits.notes
    assert "does not know most of these words: they were searched by full text only" in note


def test_a_note_names_a_language_that_the_model_was_not_made_for(collection: cp.Collection) -> None:
    (note,) = collection.search("Wie reinige ich die Pumpe im Keller?").notes
    assert note.startswith("the model minilm-lite0 was not made for this language (de)")
    assert collection.search("how do I clean the pump").notes == collection.search("pump").notes == ()


@pytest.mark.parametrize("query", ["where is the 😀 of the pump", "what does ሰላም mean in this book"])
def test_a_note_says_that_some_words_are_unknown(collection: cp.Collection, query: str) -> None:
    (note,) = collection.search(query).notes
    assert note.startswith("the model minilm-lite0 does not know some of these words")


def test_a_text_is_encoded_if_its_script_is_that_of_a_language_of_the_model() -> None:
    tower = Bundle(DEFAULT_BUNDLE).text
    assert tower is not None
    assert tower.can_encode(ENGLISH) and tower.can_encode(GERMAN) and tower.can_encode("12 + 5")
    assert tower.can_encode(f"{ENGLISH} Pumpe 水泵")
    # The vocabulary has the letters of these scripts, but the model has not learned them.
    for text in (TIBETAN, "насос в подвале", "מים", "ポンプ", "펌프"):
        assert tower.unknown_share(text) < 1 and not tower.can_encode(text)
