"""Recordings: tags, chapters, lyrics and subtitles at their seconds, and covers; damage is said."""

from __future__ import annotations

import io
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from commonplace.errors import ReadError
from commonplace.ingest import walk
from commonplace.positions import file_link, place_of_item
from commonplace.readers import ReadOptions, RecordContent, read, read_content, stamp
from commonplace.readers.formats import sniff
from commonplace.readers.subtitles import cues_of
from commonplace.types import Document, ParsedDocument
from tests.readers.make import photo
from tests.readers.make_sound import CODECS, note, sound
from tests.readers.make_video import scene, video

pytest.importorskip("av", reason="needs the extra video")

Reader = Callable[[str, bytes], ParsedDocument]
TAGS = {"title": "Harbour at dawn", "artist": "Ann Lee", "album": "Field recordings", "genre": "Nature", "date": "2019"}


def texts(parsed: ParsedDocument) -> list[tuple[str | None, float | None, float | None]]:
    return [(item.text, item.span.begin, item.span.finish) for item in parsed.items if item.modality == "text"]


def cover(seed: int = 3) -> bytes:
    buffer = io.BytesIO()
    photo(64, 64, seed).convert("RGB").save(buffer, "jpeg")
    return buffer.getvalue()


@pytest.mark.parametrize("kind", [kind for kind in CODECS if kind != "aac"])
def test_tags_of_each_format(reading: Reader, kind: str) -> None:
    content = sound(note(440, 1), kind, tags=TAGS)
    parsed = reading(f"a.{kind}", content)
    document = parsed.document
    assert document.error is None and document.media_type.startswith("audio/") and document.title == "Harbour at dawn"
    (words, begin, _finish) = texts(parsed)[0]
    assert (words or "").startswith("Harbour at dawn") and begin is None
    if kind != "aiff":  # it has a title only
        assert document.metadata["author"] == ["Ann Lee"] and document.metadata["album"] == "Field recordings"
        assert "Field recordings" in (words or "") and document.metadata["subject"] == ["Nature"]
        assert str(document.metadata["date"]).startswith("2019")
    assert sniff(content[:4096], "noname") in (document.media_type, "video/mp4", "video/x-matroska", "video/x-ms-wmv")


def test_without_tags_the_name_of_the_file_is_its_text(reading: Reader) -> None:
    for kind in ("wav", "aac"):
        assert texts(reading(f"bells of 2019.{kind}", sound(note(880, 1), kind))) == [("bells of 2019", None, None)]


@pytest.mark.parametrize("kind", ["mp3", "m4a", "mka", "opus"])
def test_chapters_have_their_seconds(reading: Reader, kind: str) -> None:
    parsed = reading(f"a.{kind}", sound(note(440, 3), kind, chapters=[(0, 1, "The seals"), (1, 3, "The pump")]))
    (_name, first, second) = texts(parsed)
    assert first == ("The seals", 0, 1) and second[:2] == ("The pump", 1) and abs((second[2] or 0) - 3) < 0.1
    item = parsed.items[-1]
    assert place_of_item(item) == f"a.{kind}, 0:01 to 0:0{int(item.span.finish or 0)}"
    assert (file_link(item.document, item.span) or "").endswith(f"a.{kind}#t=1")


def test_lyrics_with_times_and_without(reading: Reader) -> None:
    plain = "Row, row, row your boat\nGently down the stream"
    parsed = reading("a.mp3", sound(note(440, 1), "mp3", tags={"title": "Boat", "lyrics": plain}))
    assert (plain, None, None) in texts(parsed) and parsed.items[-1].title == "Boat"
    timed = "[ar:Nobody]\n[offset:+500]\n[00:01.50]Row your boat\n[00:03.50][00:09.50]Gently <00:04.00>down\n[00:12.00]"
    parsed = reading("b.flac", sound(note(440, 1), "flac", tags={"LYRICS": timed}))
    assert texts(parsed)[1:] == [("[0:00:01] Row your boat\n[0:00:03] Gently down\n[0:00:09] Gently down", 1, 11.5)]


def test_a_line_of_lyrics_lasts_until_the_next() -> None:
    cues = cues_of("[00:10.5]one\n[01:00:25]two\n[00:12]one\n\n[1:30]")
    assert [tuple(cue)[:3] for cue in cues] == [(10.5, 12, "one"), (12, 22, "one"), (60.25, 70.25, "two")]
    assert not cues_of("[see 1:30] nothing\nrow")


def test_files_beside_a_recording_belong_to_it(tmp_path: Path, options: ReadOptions) -> None:
    (tmp_path / "song.mp3").write_bytes(sound(note(440, 2), "mp3"))
    (tmp_path / "song.lrc").write_text("[00:01.00]Row your boat\n", encoding="utf-8")
    (tmp_path / "song.en.srt").write_text("1\n00:00:00,500 --> 00:00:01,000\nHello there.\n", encoding="utf-8")
    (tmp_path / "other.lrc").write_text("[00:01.00]Alone\n", encoding="utf-8")
    assert [source.path.name for source in walk([tmp_path]).sources] == ["other.lrc", "song.mp3"]
    parsed = read(tmp_path / "song.mp3", options)
    assert texts(parsed)[1:] == [("[0:00:00] Hello there.", 0.5, 1), ("[0:00:01] Row your boat", 1, 11)]
    (tmp_path / "song.lrc").write_text("[00:01.00]Row the boat\n", encoding="utf-8")
    assert stamp([tmp_path / "song.mp3", tmp_path / "song.lrc"]) not in parsed.document.stamp
    assert read(tmp_path / "song.mp3", options).document.stamp != parsed.document.stamp
    assert texts(read(tmp_path / "other.lrc", options)) == [("[0:00:01] Alone", 1, 11)]


def test_the_cover_is_a_picture(reading: Reader) -> None:
    parsed = reading("a.mp3", sound(note(440, 1), "mp3", tags=TAGS, cover=cover()))
    (item,) = [item for item in parsed.items if item.modality == "image"]
    assert item.text == "Field recordings" and parsed.pictures[item.picture or ""].pixels.shape == (64, 64, 3)
    damaged = reading("b.mp3", sound(note(440, 1), "mp3", tags=TAGS, cover=b"\xff\xd8\xff" + b"x" * 99))
    assert not damaged.pictures and "its cover: " in (damaged.document.error or "") and len(damaged.items) == 1


def test_sound_and_pictures_share_containers(reading: Reader) -> None:
    film = video(scene(1, 10), "mp4", sound=True)
    assert reading("a.mp4", film).document.media_type == "video/mp4"
    with pytest.raises(ReadError, match="there is no sound in it"):
        reading("a.m4a", video(scene(1, 10)))
    assert reading("b.m4a", film).document.media_type == "audio/mp4"


def test_of_a_truncated_recording_the_beginning_is_read(reading: Reader) -> None:
    for kind in ("flac", "mka"):
        content = sound(note(440, 12), kind, tags=TAGS)
        parsed = reading(f"a.{kind}", content[: len(content) // 2])
        assert parsed.document.status == "partial" and parsed.document.title == "Harbour at dawn", kind
        assert "it is cut off: it ends at 0:00:" in (parsed.document.error or ""), kind


def test_no_damage_crashes_or_hangs_the_reader(reading: Reader) -> None:
    rng = random.Random(7)
    whole = {kind: sound(note(300, 2), kind, tags=TAGS, cover=cover() if kind == "mp3" else b"") for kind in CODECS}
    outcomes = {"read": 0, "refused": 0}
    for number in range(80):
        kind = rng.choice([*whole])
        content = bytearray(whole[kind])
        for _ in range(rng.choice((1, 8, 64))):
            content[rng.randrange(min(len(content), rng.choice((200, len(content)))))] = rng.randrange(256)
        try:
            reading(f"{number}.{kind}", bytes(content[: rng.randrange(len(content)) + 1] if number % 3 else content))
            outcomes["read"] += 1
        except ReadError as problem:
            assert "\n" not in str(problem)
            outcomes["refused"] += 1
    assert outcomes["read"] > 40


def test_a_recording_from_memory_and_one_without_the_extra(
    monkeypatch: pytest.MonkeyPatch, reading: Reader, options: ReadOptions
) -> None:
    content = sound(note(440, 1), "opus", tags=TAGS)
    parsed = read_content(RecordContent(Document("x", "record:x", "x", ""), content, name="a.opus"), options)
    assert parsed.document.title == "Harbour at dawn" and parsed.document.media_type == "audio/ogg"
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ReadError, match="needs the extra video: run `pip install 'commonplace-rag"):
        reading("a.opus", content)
