"""Archives: each member in its own format, within bounds, whatever its name is written in."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable

import pytest

from commonplace.errors import ReadError
from commonplace.types import ParsedDocument

Reader = Callable[[str, bytes], ParsedDocument]


def tar(*members: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        link = tarfile.TarInfo("link.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return out.getvalue()


def members(parsed: ParsedDocument) -> list[tuple[str | None, str | None]]:
    return [(item.span.member, item.text) for item in parsed.items]


def test_tars_are_read_however_they_are_packed(reading: Reader) -> None:
    data = tar(("../a.txt", b"Words."), ("b/c.md", b"# Head\n\nMore."), (".x/d.txt", b"hidden"), ("e.exe", b"MZ\0\1"))
    for name, packed in (
        ("a.tar", data), ("a.tgz", gzip.compress(data)), ("a.tbz2", bz2.compress(data)), ("a.txz", lzma.compress(data)),
    ):  # fmt: skip
        parsed = reading(name, packed)
        assert members(parsed) == [("../a.txt", "Words."), ("b/c.md", "More.")]
        assert parsed.document.error == "files inside it whose type is not read: .exe"


def test_a_single_packed_file_is_read_by_its_name(reading: Reader) -> None:
    parsed = reading("prices.csv.gz", gzip.compress(b"name,price\npump,12\nvalve,3\n"))
    assert members(parsed) == [("prices.csv", "| name | price |\n|---|---|\n| pump | 12 |\n| valve | 3 |")]


def test_packed_bombs_are_refused_and_damage_is_noted(reading: Reader) -> None:
    with pytest.raises(ReadError, match="over 400 times its size"):
        reading("bomb.txt.gz", gzip.compress(bytes(30_000_000)))
    big = tar(("a.txt", b"Words."), ("zeros.txt", b"0" * 30_000_000))
    parsed = reading("bomb.tar.gz", gzip.compress(big))
    assert members(parsed) == [("a.txt", "Words.")] and "over 400 times" in (parsed.document.error or "")
    parsed = reading("cut.tar", tar(("a.txt", b"Words."), ("b.txt", b"x" * 5000))[:3000])
    assert members(parsed) == [("a.txt", "Words.")] and "damaged" in (parsed.document.error or "")


def test_7z(reading: Reader) -> None:
    py7zr = pytest.importorskip("py7zr")
    out = io.BytesIO()
    with py7zr.SevenZipFile(out, "w") as archive:
        archive.writestr("Words.", "b/a.txt")
        archive.writestr("hidden", ".b.txt")
    assert members(reading("a.7z", out.getvalue())) == [("b/a.txt", "Words.")]
    with pytest.raises(ReadError, match="damaged archive"):
        reading("b.7z", out.getvalue()[:50])


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        ("gb18030", ["报告/2024年三月发票.txt", "合同.txt"]),
        ("big5", ["報告書/會議記錄.txt", "發票.txt"]),
        ("cp932", ["見積書/メモ.txt", "写真.txt"]),
        ("cp949", ["보고서/회의록.txt", "사진.txt"]),
        ("cp437", ["Prüfung/Größe.txt", "señal.txt"]),
        ("cp1252", ["Prüfung/Größe.txt"]),
        ("cp866", ["Отчёт/Договор.txt"]),
        ("utf-8", ["Zürich/图.txt"]),
    ],
)
def test_names_without_a_mark_are_decoded(reading: Reader, encoding: str, names: list[str]) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number in range(len(names)):
            archive.writestr(f"{number}.txt".rjust(len(names[number].encode(encoding)), "_"), "Words.")
    data = out.getvalue()
    for number, name in enumerate(names):  # zipfile itself writes no such names
        raw = name.encode(encoding)
        data = data.replace(f"{number}.txt".rjust(len(raw), "_").encode(), raw)
    assert sorted(member or "" for member, _text in members(reading("a.zip", data))) == sorted(names)
