"""Languages of texts: by script, by letters, and None rather than a guess."""

from __future__ import annotations

import pytest

from commonplace.text.language import (
    document_languages,
    language_of,
    languages_of,
    normalised_tag,
    script_of,
    script_shares,
)

ENGLISH = "The pump in the cellar was cleaned last week, and its seal was replaced because water had leaked out of it. "
GERMAN = (
    "Die Pumpe im Keller wurde letzte Woche gereinigt, und die Dichtung wurde ersetzt, weil Wasser ausgetreten war. "
)
SPANISH = "La bomba del sótano se limpió la semana pasada y se cambió la junta porque perdía mucha agua por debajo. "
CHINESE = "上周清洗了地下室的水泵，因为漏水，所以更换了密封圈。"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (ENGLISH, "en"),
        (GERMAN, "de"),
        (SPANISH, "es"),
        ("Qui a réparé la pompe de la cave pendant les vacances ?", "fr"),
        ("Come si pulisce il filtro della lavatrice senza smontarla?", "it"),
        ("Hoe maak ik de pomp in de kelder weer schoon?", "nl"),
        ("Jak wyczyścić pompę w piwnicy i wymienić uszczelkę?", "pl"),
        ("Làm thế nào để vệ sinh máy bơm trong tầng hầm?", "vi"),
        ("Bodrumdaki pompayı nasıl temizleyebilirim ve contayı değiştirebilirim?", "tr"),
        ("how do I reset the wifi password", "en"),
        ("HOW DO I CLEAN THE FILTER OF THE PUMP", "en"),
        ("Как почистить насос в подвале и заменить прокладку?", "ru"),
        ("Як почистити насос у підвалі та замінити прокладку?", "uk"),
        ("Како да исчистим пумпу у подруму и заменим заптивку на њој? Ђорђе ће помоћи.", "sr"),
        ("كيف يمكنني تنظيف المضخة في القبو؟", "ar"),
        ("چگونه می‌توانم پمپ زیرزمین را تمیز کنم؟", "fa"),
        ("तहखाने में लगे पंप को कैसे साफ किया जाए और उसे बदला जाए?", "hi"),
        (CHINESE, "zh"),
        ("密封圈", "zh"),
        ("請問哪裡可以買到密封圈", "zh"),
        ("iPhone手机壳多少钱", "zh"),
        ("地下室のポンプを掃除しました", "ja"),
        ("東京駅前広場の歴史", "ja"),
        ("ﾎﾟﾝﾌﾟの掃除", "ja"),
        ("지하실의 펌프를 청소했습니다", "ko"),
        ("Πώς καθαρίζω την αντλία;", "el"),
        ("איך מנקים את המשאבה במרתף", "he"),
        ("ฉันจะทำความสะอาดปั๊มได้อย่างไร", "th"),
        ("ፓምፑን እንዴት ማጽዳት እችላለሁ", "am"),
        ("The word 猫 means cat in the language of this book", "en"),
        ("The pump of the cafe\u0301 needs a new seal, and it needs it today", "en"),
    ],
)
def test_the_language_of_a_text(text: str, language: str) -> None:
    assert language_of(text) == language
    assert languages_of([text]) == (language,)


@pytest.mark.parametrize(
    "text",
    ["", "2024-05-31 12:00", "😀🎉", "wifi password", "Dubai", "π", "ACME X-200", "f(x, y) = g[x].h(y)",
     "$HOME/.config/user_name.json", "<div class='a b'></div>", "\ud800 \x00", "a b c d", "♔♕♖",
     "Pumpan í kjallaranum var þrifin í síðustu viku og þéttingunni var skipt út"],
)  # fmt: skip
def test_no_language_is_better_than_a_guess(text: str) -> None:
    assert language_of(text) is None and languages_of([text]) == ()


def test_scripts() -> None:
    assert script_of("iPhone手机壳") == "Hani" and script_of("C語言のプログラム") == "Jpan"
    assert script_of("123 😀") is None and script_of("") is None
    assert script_of("ⴰⴱⴳ") == "Zzzz" and script_of("བོད་ཡིག") == "Tibt" and script_of("ሰላም") == "Ethi"
    assert script_of("漢字 한국어를") == "Kore"
    assert script_of("h̷e̸l̵l̶o̷") == "Latn"
    shares = script_shares("ab文")
    assert list(shares) == ["Hani", "Latn"] and sum(shares.values()) == pytest.approx(1)
    long = CHINESE * 400 + ENGLISH
    assert script_of(long) == "Hani"


def test_a_document_in_several_languages_has_each_with_a_fifth_of_it_the_main_one_first() -> None:
    assert languages_of([ENGLISH * 10, CHINESE * 10]) == ("en", "zh")
    assert languages_of([CHINESE * 30, ENGLISH * 10]) == ("zh", "en")
    assert languages_of([GERMAN * 20, SPANISH * 10]) == ("de", "es")
    assert languages_of([ENGLISH * 20, CHINESE]) == ("en",)
    assert languages_of([f"{ENGLISH}\n{CHINESE}\n" * 10]) == ("en", "zh")
    assert languages_of(GERMAN.split()) == ("de",)  # cells of a table
    assert languages_of([]) == languages_of([""]) == ()


@pytest.mark.parametrize(
    ("declared", "text", "languages"),
    [
        (["en-GB"], ENGLISH, ("en-GB",)),
        (["de"], ENGLISH, ("de",)),  # too short to say otherwise
        (["de"], ENGLISH * 10, ("en",)),
        (["nn"], GERMAN * 10, ("nn",)),  # a language that cannot be told is believed
        (["en"], CHINESE, ("zh",)),
        (["zh-TW"], CHINESE, ("zh-TW",)),
        (["ja"], CHINESE, ("ja",)),
        (["ja"], CHINESE * 10, ("zh",)),
        (["sr-Latn"], ENGLISH, ("sr-Latn",)),
        (["en"], ENGLISH * 10 + CHINESE * 30, ("zh", "en")),
        (["fr", "zh"], CHINESE, ("zh",)),
        (["fr"], "", ("fr",)),
        (["fr"], "12 + 5", ("fr",)),
    ],
)
def test_declared_languages_are_believed_where_the_text_allows_it(
    declared: list[str], text: str, languages: tuple[str, ...]
) -> None:
    assert document_languages(declared, [text]) == languages


@pytest.mark.parametrize(
    ("tag", "normalised"),
    [("zh_cn", "zh-CN"), ("ZH-hans-cn", "zh-Hans-CN"), ("chi", "zh"), ("zho", "zh"), ("deu-at", "de-AT"), ("iw", "he"),
     ("en", "en"), ("yue", "yue"), ("und", None), ("mul", None), ("multilingual", None), ("", None), ("e", None),
     ("en US", None)],
)  # fmt: skip
def test_tags(tag: str, normalised: str | None) -> None:
    assert normalised_tag(tag) == normalised
