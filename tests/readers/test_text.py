"""Plain text: every encoding people use, binary data refused, offsets into the decoded text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from commonplace.errors import ReadError
from commonplace.readers import ReadOptions, read
from commonplace.readers.text import decode

GERMAN = "Die Dichtung der Pumpe ist undicht; ältere Geräte müssen überprüft werden. " * 6
JAPANESE = "青いシールが必要なポンプはどれですか。倉庫の棚にあります。" * 8
CHINESE = "需要蓝色密封圈的泵是哪一个?它在仓库的架子上。" * 8


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (GERMAN, "utf-8"),
        (GERMAN, "utf-8-sig"),
        (GERMAN, "utf-16"),
        (GERMAN, "utf-16-le"),
        (GERMAN, "utf-16-be"),
        (GERMAN, "utf-32"),
        (GERMAN, "cp1252"),
        ("Grüße aus München", "cp1252"),
        ("He said “yes” – it’s the naïve café approach… " * 9, "cp1252"),
        ("El niño comió una piña en España; ¿qué más? " * 9, "cp1252"),
        ("Zażółć gęślą jaźń; pompa wymaga niebieskiej uszczelki, która leży na półce. " * 9, "cp1250"),
        ("Насос требует синего уплотнения, которое лежит на складе. " * 9, "cp1251"),
        ("Насос требует синего уплотнения, которое лежит на складе. " * 9, "koi8_r"),
        ("Η αντλία χρειάζεται μπλε σφράγισμα που βρίσκεται στο ράφι. " * 9, "cp1253"),
        (JAPANESE, "shift_jis"),
        (JAPANESE, "euc_jp"),
        (JAPANESE, "iso2022_jp"),
        (CHINESE, "gb18030"),
        (CHINESE, "big5"),
        (CHINESE, "utf-16"),
    ],
)
def test_encodings_are_detected(text: str, encoding: str) -> None:
    if encoding == "big5":
        text = "需要藍色密封圈的泵是哪一個?它在倉庫的架子上。" * 8
    assert decode(text.encode(encoding)) == (text, None)


def test_a_broken_character_does_not_spoil_the_others() -> None:
    data = (GERMAN * 3).encode()[:-1] + b"\xff\xc3 ende"
    text, problem = decode(data)
    assert "ältere" in text and text.endswith("ende") and "\ufffd" in text
    assert problem is not None and "UTF-8" in problem


def test_reading_keeps_offsets_and_line_ends(tmp_path: Path, options: ReadOptions, count: Callable[[str], int]) -> None:
    path = tmp_path / "notes.txt"
    text = "\r\n\r\n".join(f"Absatz {n}: {GERMAN}" for n in range(12))
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    reading = read(path, options)
    assert reading.document.media_type == "text/plain"
    assert len(reading.items) > 3 and reading.document.items == len(reading.items)
    for item in reading.items:
        assert item.modality == "text" and item.picture is None and item.span.page is None
        assert item.text == text[item.span.start : item.span.end]
        assert count(item.text_view or "") <= options.max_tokens


def test_broken_text_is_partial_with_the_reason(tmp_path: Path, options: ReadOptions) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(GERMAN.encode() + b"\xff")
    document = read(path, options).document
    assert document.status == "partial" and document.error is not None and "UTF-8" in document.error


@pytest.mark.parametrize("name", ["a.txt", "b.md", "c.py", "d.csv"])
def test_binary_under_a_text_name_is_refused(tmp_path: Path, options: ReadOptions, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(bytes(range(256)) * 40)
    with pytest.raises(ReadError):
        read(path, options)


def test_text_that_turns_binary_is_refused(tmp_path: Path, options: ReadOptions) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"plain at first\n" * 400 + bytes(range(20)) * 2000)
    with pytest.raises(ReadError, match="binary"):
        read(path, options)


def test_nothing_but_white_space_has_no_items(tmp_path: Path, options: ReadOptions) -> None:
    path = tmp_path / "blank.txt"
    path.write_bytes(b" \n\t\r\n ")
    assert read(path, options).items == ()


def test_empty_is_refused(tmp_path: Path, options: ReadOptions) -> None:
    path = tmp_path / "empty.txt"
    path.touch()
    with pytest.raises(ReadError, match="is empty"):
        read(path, options)


def test_a_zero_character_keeps_its_place() -> None:
    text, problem = decode(b"\xef\xbb\xbfone\0two " + b"and more words " * 20)
    assert text.startswith("one\ufffdtwo ") and problem is None
