"""Labels of encodings mean what browsers take them to mean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from commonplace.readers import ReadOptions, read
from commonplace.readers.encodings import codec_of, decode_as
from commonplace.readers.text import decode


@pytest.mark.parametrize(
    ("label", "codec"),
    [
        ("gb2312", "gb18030"),
        ("GBK", "gb18030"),
        (" x-sjis ", "cp932"),
        ("ks_c_5601-1987", "cp949"),
        ("ISO-8859-9", "windows-1254"),
        ("latin1", "windows-1252"),
        ("us-ascii", "windows-1252"),
        ("hz-gb-2312", "hz"),
        ("cp437", "cp437"),
        ("rot13", None),
        ("no-such-code", None),
        ("a\0b", None),
    ],
)
def test_labels(label: str, codec: str | None) -> None:
    assert codec_of(label) == codec


@pytest.mark.parametrize(
    ("label", "text", "encoding"),
    [
        ("gb2312", "朱镕基与囍", "gb18030"),
        ("shift_jis", "髙橋様 ①", "cp932"),
        ("euc-kr", "똠방각하", "cp949"),
        ("iso-8859-9", "“ışık” – 5 €", "cp1254"),
        ("iso-8859-1", "“Möwe” – 50 €", "cp1252"),
        ("big5", "價格 5 €", "cp950"),
        ("euc-jp", "①番", "euc_jis_2004"),
    ],
)
def test_texts_with_characters_outside_the_labelled_encoding(label: str, text: str, encoding: str) -> None:
    assert decode_as(text.encode(encoding), label) == (text, 0)


def test_japanese_mail_with_circled_digits() -> None:
    assert decode_as(b"\x1b$B-!%]%s%W\x1b(B No. 7", "iso-2022-jp") == ("①ポンプ No. 7", 0)


def test_what_is_not_valid_is_counted_and_a_mark_goes_before_the_label() -> None:
    assert decode_as(b"ab\xff", "utf-8") == ("ab\ufffd", 1)
    assert decode_as(b"\xef\xbb\xbf\xc3\xa4", "gbk") == ("ä", 0)
    assert decode_as(b"\x81x", "latin1") == ("\x81x", 0)
    assert decode_as(b"abc", "no-such-code") is None


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("id,part,note\n" + "".join(f"{n},BOLT-{n},ok\n" for n in range(60)) + "61,BOLT-61,库存\n", "gbk"),
        ("2024-05-06 ERROR 打印机脱机 retry\n", "gbk"),
        ("明天下午开会。", "gbk"),
        ("本週五停電，請先存檔。", "big5"),
        ("倉庫の鍵は受付にあります。", "cp932"),
        ("회의는 오후 세 시에 시작합니다.", "cp949"),
        ("Фильтр меняют раз в месяц.", "koi8_r"),
        ("Фильтр меняют раз в месяц.", "cp1251"),
        ("Filtr čerpadla se mění každý měsíc, říká dílna.", "cp1250"),
        ("Żółty zawór jest zamknięty.", "cp1250"),
        ("Die Tür schließt nicht; bitte prüfen.", "cp1252"),
        ("Le réservoir est plein à côté de l’entrée.", "cp1252"),
        ("Η αντλία είναι στον δεύτερο όροφο.", "cp1253"),
        ("İşçi yağ değiştirdi, ışık söndü.", "cp1254"),
        ("水泵在三楼，请检查。", "utf-16-le"),
        ("水泵在三楼，请检查。", "utf-16-be"),
    ],
)
def test_short_texts_are_detected(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)) == (text, None)


def test_two_readings_that_are_as_likely_are_both_named() -> None:
    _text, problem = decode("id;jméno\n1;Kovář\n".encode("cp1250"))
    assert problem is not None and "windows-1252" in problem and "--encoding" in problem


def test_the_user_says_the_encoding(tmp_path: Path, options: ReadOptions) -> None:
    said = replace(options, encoding="windows-1250")
    text, page, table = tmp_path / "a.txt", tmp_path / "b.html", tmp_path / "c.csv"
    text.write_bytes("Kovář".encode("cp1250"))
    page.write_bytes("<meta charset=utf-8><p>Kovář".encode("cp1250"))
    table.write_bytes("id;jméno\n1;Kovář\n".encode("cp1250"))
    for path in (text, page, table):
        parsed = read(path, said)
        assert "Kovář" in (parsed.items[0].text or "") and parsed.document.status == "ok"
    with pytest.raises(ValueError, match="no encoding"):
        replace(options, encoding="klingon")
