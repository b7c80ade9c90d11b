"""The multilingual bundle as shipped: languages meet in one space, and what it cannot read is reported."""

from __future__ import annotations

import numpy as np
import pytest

from commonplace.encoders import Bundle, find
from commonplace.encoders.packaged import packaged

pytestmark = pytest.mark.skipif("multilingual" not in packaged(), reason="needs packages/multilingual")

ABOUT = {  # the same three facts, and a question about each, in languages of several scripts
    "en": (
        "The bridge was closed for repairs in March.",
        "Bees dance to show each other flowers.",
        "Rice needs water.",
    ),
    "zh": ("大桥三月份因维修而关闭。", "蜜蜂用舞蹈告诉同伴花在哪里。", "水稻需要水。"),
    "ru": ("Мост закрыли на ремонт в марте.", "Пчёлы танцуют, показывая цветы.", "Рису нужна вода."),
    "ar": ("أغلق الجسر للصيانة في مارس.", "يرقص النحل ليدل على الزهور.", "يحتاج الأرز إلى الماء."),
}
ASKED = {
    "en": ("When was the bridge closed?", "How do bees tell where flowers are?", "What does rice need?"),
    "zh": ("大桥什么时候关闭的？", "蜜蜂怎样指出花的位置？", "水稻需要什么？"),
    "ru": ("Когда закрыли мост?", "Как пчёлы сообщают о цветах?", "Что нужно рису?"),
    "ar": ("متى أغلق الجسر؟", "كيف يدل النحل على الزهور؟", "ماذا يحتاج الأرز؟"),
}


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle(find("multilingual"))


def test_files_are_whole(bundle: Bundle) -> None:
    bundle.verify()


def test_questions_find_passages_across_languages(bundle: Bundle) -> None:
    asked = bundle.text.encode([question for rows in ASKED.values() for question in rows], "query")
    read = bundle.text.encode([passage for rows in ABOUT.values() for passage in rows])
    cosines = (asked @ read.T).reshape(len(ASKED), 3, len(ABOUT), 3)
    nearest = cosines.argmax(-1)  # of the three passages of each language
    assert (nearest == np.arange(3)[None, :, None]).all()


@pytest.mark.parametrize("text", ["ሰላም ለዓለም ይሁን", "བོད་སྐད་སྦྱོང་བ་", "வணக்கம் உலகம்"])
def test_unknown_scripts_are_reported(bundle: Bundle, text: str) -> None:
    assert not bundle.text.can_encode(text)


@pytest.mark.parametrize(
    "text", ["漢字與汉字", "かなとカナ", "한국어", "кириллица", "ελληνικά", "العربية", "עברית", "ภาษาไทย", "हिन्दी"]
)
def test_known_scripts_have_no_unknown_tokens(bundle: Bundle, text: str) -> None:
    assert bundle.text.unknown_share(text) == 0
