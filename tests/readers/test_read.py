"""What all readers share: ids, hashes, stamps, type detection, plug-ins, and errors."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from commonplace.errors import ReadError
from commonplace.readers import SUFFIXES, ReadOptions, formats, media_type, read, stamp, stamp_paths
from commonplace.types import stable_id
from tests.conftest import ROOT
from tests.readers.make import Page, encoded, pdf, photo


def test_document_is_filled(tmp_path: Path, options: ReadOptions) -> None:
    path = tmp_path / "odd näme\n🙂.txt"
    path.write_text("Some words.")
    document = read(path, options).document
    assert document.uri == path.resolve().as_uri() and document.id == stable_id(document.uri)
    assert document.path == str(path) and document.status == "ok" and document.error is None
    assert document.items == 1 and len(document.content_hash) == 64
    state = path.stat()
    assert document.stamp == stamp([path])
    assert str(state.st_mtime_ns) in document.stamp and stamp_paths(document.stamp) == [str(path)]
    assert stamp_paths("") == []


def test_reading_twice_is_the_same(tmp_path: Path, options: ReadOptions) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf(Page([(50, 700, 12, "Words")], [(100, 100, 300, 300, photo(90, 90))])))
    first, second = read(path, options), read(path, options)
    assert first.document == second.document and first.items == second.items
    assert all(np.array_equal(first.pictures[key].pixels, second.pictures[key].pixels) for key in first.pictures)


def test_an_edit_keeps_the_document_id_and_a_copy_the_hash(tmp_path: Path, options: ReadOptions) -> None:
    path, copy = tmp_path / "a.txt", tmp_path / "b.txt"
    path.write_text("One.")
    copy.write_text("One.")
    first, second = read(path, options), read(copy, options)
    assert first.document.content_hash == second.document.content_hash
    assert first.document.id != second.document.id and first.items[0].id != second.items[0].id
    path.write_text("Two.")
    assert read(path, options).document.id == first.document.id


def test_a_link_is_its_target(tmp_path: Path, options: ReadOptions) -> None:
    (tmp_path / "a.txt").write_text("One.")
    (tmp_path / "b.txt").symlink_to("a.txt")
    assert read(tmp_path / "a.txt", options).document.id == read(tmp_path / "b.txt", options).document.id


def test_a_file_that_changes_meanwhile_is_refused(
    tmp_path: Path, options: ReadOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("One.")
    from commonplace.readers import text

    def slow(data: bytes) -> tuple[str, None]:
        path.write_text("Two, longer.")
        return data.decode(), None

    monkeypatch.setattr(text, "decode", slow)
    with pytest.raises(ReadError, match="changed while it was read; add it again"):
        read(path, options)


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.jpg", pdf(Page()), "application/pdf"),
        ("a.pdf", encoded(photo()), "image/png"),
        ("a.txt", encoded(photo(), "JPEG"), "image/jpeg"),
        ("a.png", b"<html>404 not found</html>", "text/html"),
        ("a.pdf", b"not a pdf at all", "text/plain"),
        ("noname", b"#!/bin/sh\necho hello\n", "text/plain"),
        ("a.MD", b"# Title", "text/markdown"),
        ("a.py", b"print(1)", "text/x-python"),
        ("a.csv", "a;b\nä;ö\n".encode("utf-16"), "text/csv"),
        ("a.bmp", b"BMW is a car maker", "text/plain"),
        ("a.png", b"\0\1\2\3" * 50, "image/png"),
        ("a.pub", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(range(256)), None),
        ("a.mp4", b"\0\0\0\x20ftypisom" + bytes(60), "video/mp4"),
        ("a.txt", b"\0\1\2\3" * 50, None),
    ],
)
def test_types_are_detected_by_content(tmp_path: Path, name: str, content: bytes, kind: str | None) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert media_type(path) == kind


def test_suffixes_all_lead_to_a_format() -> None:
    assert {".md", ".pdf", ".jpg", ".txt", ".csv", ".py"} <= set(SUFFIXES)
    assert all(formats.format_of(kind) is not None for kind in SUFFIXES.values())
    for place in formats.FORMATS.values():
        module, _, name = place.partition(":")
        assert callable(getattr(importlib.import_module(module), name))


def test_errors_say_what_happened_and_what_to_do(tmp_path: Path, options: ReadOptions) -> None:
    small = ReadOptions(options.tokenizer, 256, max_bytes=300)
    (tmp_path / "big.txt").write_text("x" * 301)
    (tmp_path / "tool.exe").write_bytes(b"MZ\3\4" + bytes(range(256)))
    (tmp_path / "broken.png").write_bytes(b"\0\1\2\3" * 50)
    (tmp_path / "circle.txt").symlink_to("circle.txt")
    (tmp_path / "dir.txt").mkdir()
    os.mkfifo(tmp_path / "pipe.txt")
    for name, words in {
        "big.txt": "over the limit",
        "tool.exe": "file type is not supported",
        "broken.png": "not a picture",
        "circle.txt": "a circular link",
        "dir.txt": "not a regular file",
        "pipe.txt": "not a regular file",
        "missing.txt": "no such file",
    }.items():
        with pytest.raises(ReadError, match=words) as caught:
            read(tmp_path / name, small)
        assert ";" in str(caught.value) or ":" in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the superuser may read everything")
def test_unreadable_is_refused(tmp_path: Path, options: ReadOptions) -> None:
    path = tmp_path / "a.txt"
    path.write_text("x")
    path.chmod(0)
    with pytest.raises(ReadError, match="permission denied"):
        read(path, options)


def test_invalid_options_are_refused() -> None:
    for wrong in ({"max_tokens": 4}, {"max_tokens": 256, "picture_side": 0}):
        with pytest.raises(ValueError, match=r"max_tokens|picture_side"):
            ReadOptions("x", **wrong)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package that reads .wav, installed on the path as pip would."""
    info = tmp_path / "site" / "wavreader-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wavreader\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[commonplace.readers]\naudio/x-wav = wavreader:read_wav\n")
    (tmp_path / "site" / "wavreader.py").write_text(
        "from commonplace.readers import TextBlock\n"
        "def read_wav(file):\n"
        "    file.title = 'A sound'\n"
        "    yield TextBlock('heard: ' + str(len(file.data)))\n"
        "    if file.data.endswith(b'again'):\n"
        "        yield TextBlock('heard: two')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    formats._plugins.cache_clear()
    yield
    formats._plugins.cache_clear()
    sys.modules.pop("wavreader", None)


@pytest.mark.usefixtures("plugin")
def test_a_plug_in_is_one_function_and_an_entry_point(tmp_path: Path, options: ReadOptions) -> None:
    assert metadata.entry_points(group="commonplace.readers")
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF\0\0\0\0WAVE" + bytes(100))
    assert formats.is_offered(path)
    reading = read(path, options)
    assert reading.document.media_type == "audio/x-wav" and reading.document.title == "A sound"
    assert [item.text for item in reading.items] == ["heard: 112"]


def test_a_plug_in_may_be_named_after_a_suffix_that_has_no_media_type(
    tmp_path: Path, options: ReadOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "site" / "recipes-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: recipes\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[commonplace.readers]\n.recipe = recipes:read_recipe\n")
    (tmp_path / "site" / "recipes.py").write_text(
        "from commonplace.readers import TextBlock\n"
        "def read_recipe(file):\n"
        "    yield TextBlock('recipe: ' + str(len(file.data)))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    formats._plugins.cache_clear()
    try:
        for number, data in enumerate((b"Two eggs", bytes(range(8)) * 9, b"PK\x03\x04" + bytes(60))):
            path = tmp_path / f"{number}.Recipe"  # a text, something else, and a package
            path.write_bytes(data)
            assert formats.is_offered(path)
            parsed = read(path, options)
            assert parsed.document.media_type == "application/x-recipe"
            assert [item.text for item in parsed.items] == [f"recipe: {len(data)}"]
        (tmp_path / "site" / "recipes.py").write_text("import a_package_that_is_absent\n")
        sys.modules.pop("recipes")
        with pytest.raises(ReadError, match=r"plug-in \.recipe of commonplace\.readers .*a_package_that_is_absent"):
            read(path, options)
    finally:
        formats._plugins.cache_clear()
        sys.modules.pop("recipes", None)


def test_the_documented_format_is_read_by_what_the_document_says(
    tmp_path: Path, options: ReadOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "how-to" / "add-a-reader.md").read_text(encoding="utf-8")
    code, declared = (
        re.findall(rf"^```{kind}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[0] for kind in ("python", "toml")
    )
    kind, place = re.findall(r'^"(.+)" = "(.+)"$', declared, re.MULTILINE)[0]
    site = tmp_path / "site"
    info = site / "calendar_reader-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: calendar_reader\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[commonplace.readers]\n{kind} = {place}\n")
    (site / "calendar_reader.py").write_text(code)
    monkeypatch.syspath_prepend(str(site))
    formats._plugins.cache_clear()
    path = tmp_path / "a.ics"
    event = "BEGIN:VEVENT\r\nDTSTART;TZID=UTC:20261201\r\nSUMMARY:Pump\r\nDESCRIPTION:Change the\r\n  seal\r\n"
    event += "END:VEVENT\r\n"
    path.write_bytes(("BEGIN:VCALENDAR\r\n" + event + event.replace("Pump", "Valve") + "END:VCALENDAR\r\n").encode())
    try:
        assert formats.is_offered(path)
        reading = read(path, options)
    finally:
        formats._plugins.cache_clear()
        sys.modules.pop("calendar_reader", None)
    assert [item.title for item in reading.items] == ["Pump", "Valve"] and reading.document.title == "Calendar"
    assert "Change the seal" in (reading.items[0].text or "")


@pytest.mark.usefixtures("plugin")
def test_two_items_in_one_place_have_two_ids(tmp_path: Path, options: ReadOptions) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF\0\0\0\0WAVE" + bytes(95) + b"again")
    first, second = read(path, options).items
    assert first.span == second.span and first.id != second.id
    assert [item.id for item in read(path, options).items] == [first.id, second.id]
