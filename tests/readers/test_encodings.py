"""Labels of encodings mean what browsers take them to mean."""

from __future__ import annotations

import pytest

from commonplace.readers.encodings import codec_of, decode_as


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
