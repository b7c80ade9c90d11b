"""Videos: shots at their exact times, their pictures, subtitles, chapters and metadata; damage is said."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from commonplace.errors import ReadError
from commonplace.ingest import walk
from commonplace.positions import file_link, place_of_item
from commonplace.readers import File, Quota, ReadOptions, RecordContent, read, read_content, stamp
from commonplace.readers.shots import SMALL, Frame, Shot, shots
from commonplace.types import Document, ParsedDocument
from tests.conftest import data
from tests.readers.make_video import Pixels, arrow, plain, scene, video

pytest.importorskip("av", reason="needs the extra video")

Reader = Callable[[str, bytes], ParsedDocument]


def times(parsed: ParsedDocument, modality: str = "image") -> list[tuple[float, float]]:
    """Return begin and finish of the items of a modality, each once."""
    spans = [(item.span.begin or 0.0, item.span.finish or 0.0) for item in parsed.items if item.modality == modality]
    return list(dict.fromkeys(spans))


def detected(film: list[Pixels], rate: int = 25) -> list[Shot]:
    from PIL import Image

    frames = (
        Frame(Fraction(n, rate), Fraction(n + 1, rate), np.asarray(Image.fromarray(pixels).resize(SMALL)),
              lambda _side, pixels=pixels: pixels)
        for n, pixels in enumerate(film)
    )  # fmt: skip
    return list(shots(frames, 320))


@pytest.mark.parametrize(
    ("name", "codec", "settings"),
    [
        ("a.mp4", "mpeg4", {}), ("a.mov", "mpeg4", {}), ("a.mkv", "libx264", {"bf": "3", "preset": "ultrafast"}),
        ("a.webm", "libvpx", {"cpu-used": "8", "deadline": "realtime"}), ("a.avi", "mpeg4", {"bf": "2"}),
        ("a.mpg", "mpeg2video", {"bf": "2"}), ("a.ts", "mpeg2video", {}), ("a.m4v", "mpeg4", {"bf": "2"}),
    ],
)  # fmt: skip
def test_shots_begin_with_their_first_frame(reading: Reader, name: str, codec: str, settings: dict[str, str]) -> None:
    kind = {"mpg": "mpeg", "ts": "mpegts", "m4v": "mp4"}.get(name[2:], name[2:])
    parsed = reading(name, video([*scene(1, 20), *scene(2, 31), *scene(3, 17)], kind, codec, options=settings))
    assert parsed.document.error is None and parsed.document.media_type.startswith("video/")
    begins = [begin for begin, _finish in times(parsed)]
    finishes = [finish for _begin, finish in times(parsed)]
    first = begins[0]  # a stream out of a broadcast may begin a little later than its clock
    assert [round(25 * (begin - first), 3) for begin in begins] == [0, 20, 51]
    assert finishes[:2] == begins[1:] and first < 0.2
    assert abs(finishes[-1] - first - 68 / 25) < 0.05
    assert all(item.picture in parsed.pictures for item in parsed.items)


def test_times_are_those_of_the_frames(reading: Reader) -> None:
    rng = random.Random(4)
    ticks = [500]  # the video begins later than its clock
    for _ in range(59):
        ticks.append(ticks[-1] + rng.choice((17, 33, 50, 120)))
    film = [*scene(4, 30), *scene(5, 30)]
    parsed = reading("a.mkv", video(film, "mkv", ticks=ticks, options={"bf": "2"}))
    assert times(parsed)[0][0] == 0.5 and times(parsed)[1][0] == ticks[30] / 1000
    (last,) = [item for item in parsed.items if item.span.begin == ticks[30] / 1000][-1:]
    assert place_of_item(last) == f"a.mkv, 0:0{ticks[30] // 1000} to 0:0{int(last.span.finish or 0)}"
    assert (file_link(last.document, last.span) or "").endswith(f"a.mkv#t={ticks[30] / 1000:g}")


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_pictures_are_upright(reading: Reader, rotation: int) -> None:
    shown = np.asarray(arrow()[0])
    stored = [np.ascontiguousarray(np.rot90(shown, -rotation // 90))] * 12
    parsed = reading("a.mp4", video(stored, rotation=rotation))
    (picture,) = parsed.pictures.values()
    assert picture.pixels.shape == shown.shape
    assert np.abs(picture.pixels.astype(int) - shown).mean() < 12


def test_a_clip_of_one_frame_and_one_under_a_second(reading: Reader) -> None:
    assert times(reading("a.mp4", video(scene(1, 1)))) == [(0, 0.04)]
    assert times(reading("b.mp4", video([*scene(1, 8), *scene(2, 8)]))) == [(0, 0.32), (0.32, 0.64)]


def test_black_blurred_and_alike_frames_are_no_pictures(reading: Reader) -> None:
    film = [*plain(0, 20), *scene(1, 1) * 40, *plain(0, 10), *scene(2, 1) * 30]
    parsed = reading("a.mp4", video(film))
    assert len(parsed.pictures) == len(parsed.items) == 2
    assert all(picture.pixels.mean() > 60 for picture in parsed.pictures.values())
    black = reading("b.mp4", video(plain(0, 30)))
    assert black.document.status == "partial" and not black.items


def test_a_fade_is_one_boundary_and_a_flash_none() -> None:
    def faded(film: list[Pixels], levels: list[float]) -> list[Pixels]:
        return [(pixels * level).astype(np.uint8) for pixels, level in zip(film, levels, strict=True)]

    down = [n / 15 for n in range(15, 0, -1)]
    film = [*scene(1, 40), *faded(scene(6, 15), down), *plain(0, 6), *faded(scene(2, 55)[:15], down[::-1])]
    film += scene(2, 55)[15:]
    begins = [float(shot.begin) * 25 for shot in detected(film) if shot.is_new]
    assert len(begins) == 3 and begins[0] == 0 and begins[1] == 40 and 55 <= begins[2] <= 62
    still = scene(3, 60)
    still[30:32] = plain(250, 2)
    assert len(detected(still)) == 1
    first, last = scene(7, 1)[0].astype(float), scene(8, 1)[0].astype(float)
    blend = [(first + (last - first) * n / 15).astype(np.uint8) for n in range(15)]
    dissolve = [first.astype(np.uint8)] * 40 + blend + [last.astype(np.uint8)] * 40
    (boundary,) = [float(shot.begin) * 25 for shot in detected(dissolve) if shot.is_new][1:]
    assert 40 <= boundary <= 55


def test_a_long_shot_is_cut_where_it_shows_something_else() -> None:
    begins = [float(shot.begin) for shot in detected(scene(1, 1) * 240, rate=4)]
    assert begins == [0]  # a minute of the same
    pieces = detected(scene(9, 400), rate=8)
    assert sum(shot.is_new for shot in pieces) == 1 and len(pieces) > 1
    assert all(1 <= len(shot.key_frames) <= 3 for shot in pieces)
    assert [shot.finish for shot in pieces[:-1]] == [shot.begin for shot in pieces[1:]]


@pytest.mark.parametrize("kind", ["mkv", "mp4"])
def test_subtitles_chapters_and_metadata(reading: Reader, kind: str) -> None:
    parsed = reading(
        f"a.{kind}",
        video(
            [*scene(1, 50), *scene(2, 50)],
            kind,
            subtitles=[(0.5, 1.4, "Open the valve"), (1.5, 1.9, "slowly."), (2.2, 3.5, "<i>Now the pump runs.</i>")],
            chapters=[(0, 2, "The valve"), (2, 4, "The pump")],
            metadata={"title": "Harbour", "artist": "Ann Li", "creation_time": "2024-05-31T09:30:00Z",
                      "location": "+48.1374+011.5755/"},
        ),
    )  # fmt: skip
    texts = {item.text: item for item in parsed.items if item.modality == "text"}
    assert list(texts) == ["The valve", "[0:00:00] Open the valve slowly.", "The pump", "[0:00:02] Now the pump runs."]
    assert times(parsed, "text") == [(0, 2), (0.5, 1.9), (2, 4), (2.2, 3.5)]
    assert texts["[0:00:02] Now the pump runs."].title == "The pump"
    assert parsed.items[-1].modality == "image" or parsed.items[-2].modality == "image"
    assert parsed.document.title == "Harbour"
    metadata = parsed.document.metadata.dict()
    assert metadata["author"] == ["Ann Li"]
    if kind == "mp4":
        assert metadata["place"] == "48.13740, 11.57550" and metadata["date"] == "2024-05-31T09:30:00"


def test_subtitles_beside_a_video_belong_to_it(tmp_path: Path, options: ReadOptions) -> None:
    words = "1\n00:00:00,200 --> 00:00:00,900\nThe tide is high.\n"
    for name in ("a.srt", "a.en.srt", "b.srt"):
        (tmp_path / name).write_text(words, encoding="utf-8")
    (tmp_path / "a.mp4").write_bytes(video(scene(1, 25)))
    assert [source.path.name for source in walk([tmp_path]).sources] == ["a.mp4", "b.srt"]
    assert [source.path.name for source in walk([tmp_path / "a.srt"]).sources] == ["a.srt"]
    parsed = read(tmp_path / "a.mp4", options)
    assert [item.text for item in parsed.items if item.text] == ["[0:00:00] The tide is high."]  # once
    assert times(parsed, "text") == [(0.2, 0.9)]
    for name in ("a.srt", "a.en.srt"):
        assert name in parsed.document.stamp  # the video is read again where they change
    assert times(read(tmp_path / "b.srt", options), "text") == [(0.2, 0.9)]


def test_what_has_no_pictures_is_said(reading: Reader) -> None:
    parsed = reading("a.mp4", video([], sound=True, metadata={"title": "Sea"}))
    assert "sound but no pictures" in (parsed.document.error or "") and parsed.document.title == "Sea"
    with pytest.raises(ReadError, match="damaged or truncated video"):
        reading("b.mp4", b"\0\0\0\x18ftypisom" + bytes(range(256)) * 40)
    with pytest.raises(ReadError, match="is empty"):
        reading("c.mkv", b"")
    playlist = b"#EXTM3U\n#EXTINF:1,\n/etc/hostname\n"
    assert reading("d.mp4", playlist).document.media_type == "text/plain"


@pytest.mark.parametrize("kind", ["mkv", "mp4", "mpegts"])
def test_of_a_truncated_video_the_beginning_is_read(reading: Reader, kind: str) -> None:
    film = [frame for seed in range(1, 9) for frame in scene(seed, 20)]
    content = video(film, kind, "mpeg2video" if kind == "mpegts" else "mpeg4")
    name = f"a.{kind.removeprefix('mpeg')}"
    if kind == "mp4":  # its index is at the end
        with pytest.raises(ReadError, match="damaged or truncated"):
            reading(name, content[: len(content) // 2])
        return
    parsed = reading(name, content[: len(content) // 2])
    assert parsed.items and times(parsed)[-1][1] < 5
    if kind == "mkv":
        assert parsed.document.status == "partial" and "cut off" in (parsed.document.error or "")


def test_no_damage_crashes_or_hangs_the_reader(reading: Reader) -> None:
    rng = random.Random(7)
    film = [*scene(1, 6, (64, 48)), *scene(2, 6, (64, 48))]
    films = [
        video(film, "mp4", chapters=[(0, 1, "A")], subtitles=[(0.1, 0.4, "Hello.")]),
        video(film, "mkv", chapters=[(0, 1, "A")], subtitles=[(0.1, 0.4, "Hello.")]),
        video(film, "mpegts", "mpeg2video"),
    ]
    outcomes = {"ok": 0, "partial": 0, "refused": 0}
    for n in range(100):
        content = bytearray(films[n % 3])
        for _ in range(rng.choice((1, 3, 30))):
            content[rng.randrange(len(content))] = rng.randrange(256)
        try:
            outcomes[reading(f"a.{('mp4', 'mkv', 'mts')[n % 3]}", bytes(content)).document.status] += 1
        except ReadError:
            outcomes["refused"] += 1
    assert sum(outcomes.values()) == 100 and outcomes["ok"] + outcomes["partial"] > 20


def test_a_video_from_memory_and_one_without_the_extra(
    monkeypatch: pytest.MonkeyPatch, reading: Reader, options: ReadOptions, tmp_path: Path
) -> None:
    content = video([*scene(1, 20), *scene(2, 20)])
    record = Document("film", "record:film", "film", "")
    parsed = read_content(RecordContent(record, content, name="film.mp4"), options)
    assert times(parsed) == [(0, 0.8), (0.8, 1.6)]
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ReadError, match="needs the extra video: run `pip install 'commonplace-rag"):
        reading("a.mp4", content)
    monkeypatch.setattr("commonplace.readers.formats.are_recordings_readable", lambda: False)
    (tmp_path / "a.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nHello.\n", encoding="utf-8")
    assert [source.path.name for source in walk([tmp_path]).sources] == ["a.mp4", "a.srt"]


def test_pictures_over_the_limit_are_left_out_evenly(tmp_path: Path, options: ReadOptions) -> None:
    (tmp_path / "a.mp4").write_bytes(video([frame for seed in range(1, 7) for frame in scene(seed, 10 + seed)]))
    parsed = read(tmp_path / "a.mp4", replace(options, max_pictures=4))
    assert len(parsed.pictures) == 4 and "2 pictures over the limit of 4" in (parsed.document.error or "")
    assert max(finish for _begin, finish in times(parsed)) == pytest.approx(81 / 25)


def written(*lines: tuple[str, int], ground: Pixels | None = None) -> Pixels:
    """Return a picture of 480 x 270 pixels with lines, each at a height."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (480, 270), (20, 30, 60)) if ground is None else Image.fromarray(ground)
    for text, top in lines:
        ImageDraw.Draw(image).text((30, top), text, (240, 240, 220), ImageFont.load_default(24), stroke_width=0)
    return np.asarray(image)


def words_of(parsed: ParsedDocument) -> list[tuple[str, float, float]]:
    return [
        (" ".join((item.text or "").split()), round(item.span.begin or 0, 2), round(item.span.finish or 0, 2))
        for item in parsed.items
        if item.text
    ]


def test_words_in_frames_have_their_seconds_and_are_read_once_while_they_stay(
    tmp_path: Path, options: ReadOptions
) -> None:
    cards = [written(("North pump", 30))] * 20 + [written(("North pump", 30), ("Harbour 2031", 110))] * 20
    cards += (
        [written(("Irregular verbs", 60))] * 20 + [written(("Lesson 7", 60))] * 15 + [written(("Lesson 8", 60))] * 15
    )
    (tmp_path / "a.mp4").write_bytes(video(cards, codec="libx264", options={"preset": "veryfast"}))
    parsed = read(tmp_path / "a.mp4", replace(options, ocr_seconds=60))
    assert words_of(parsed) == [
        ("North pump", 0, 1.6), ("Harbour 2031", 0.8, 1.6), ("Irregular verbs", 1.6, 2.4),
        ("Lesson 7", 2.4, 3), ("Lesson 8", 3, 3.6),
    ]  # fmt: skip
    assert all(item.span.ocr_start == 0 for item in parsed.items if item.text)


def test_words_over_a_moving_picture_and_those_of_a_whole_shot(tmp_path: Path, options: ReadOptions) -> None:
    moving = [pixels // 2 for pixels in scene(3, 300, (480, 270))[::3]]
    film = [written(("Ingrid Solberg", 200), ground=pixels) if n >= 40 else pixels for n, pixels in enumerate(moving)]
    film += [written(("EXIT", 100))] * 25
    (tmp_path / "a.mp4").write_bytes(video(film, codec="libx264", options={"preset": "veryfast"}))
    parsed = read(tmp_path / "a.mp4", replace(options, ocr_seconds=60))
    ((text, begin, finish), shot) = sorted(words_of(parsed), key=lambda words: words[1])
    assert text == "Ingrid Solberg" and 1.6 <= begin <= 2.7 and 3 < finish <= 4.05
    assert shot == ("EXIT", 4, 5)
    assert [item.modality for item in parsed.items if item.text == "EXIT"] == ["image"]


def test_subtitles_that_are_pictures_are_read(tmp_path: Path, options: ReadOptions) -> None:
    spoken = [(0.4, 1.2, "The pump was repaired."), (1.6, 2.4, "Nobody knew why.")]
    (tmp_path / "a.mkv").write_bytes(video(scene(1, 80), "mkv", subtitles=spoken, are_pictures=True))
    parsed = read(tmp_path / "a.mkv", replace(options, ocr_seconds=60))
    (passage,) = [item for item in parsed.items if item.modality == "text"]
    assert passage.text == "[0:00:00] The pump was repaired.\n[0:00:01] Nobody knew why."
    assert (passage.span.begin, passage.span.finish) == pytest.approx((0.4, 2.4), abs=0.01)
    unread = read(tmp_path / "a.mkv", options).document
    assert unread.status == "partial" and "its subtitles are pictures" in (unread.error or "")


def test_where_reading_must_stop_the_beginning_is_kept(tmp_path: Path, options: ReadOptions) -> None:
    (tmp_path / "a.mkv").write_bytes(video(scene(1, 70), "mkv", ticks=[n * 500 for n in range(70)]))
    looked: list[int] = []
    quota = Quota.of(options, lambda _steps, pages: looked.append(pages), last_page=2, failure="it crashed")
    parsed = read(tmp_path / "a.mkv", options, quota=quota)
    assert looked[:2] == [1, 2] and 19 < times(parsed)[-1][1] < 21  # slices of ten seconds
    assert "up to 0:00:19: it crashed" in (parsed.document.error or "")


def test_a_real_clip(options: ReadOptions) -> None:
    path = data("video") / "intel" / "bottle-detection.mp4"
    parsed = read(path, options)
    assert parsed.document.error is None and len(parsed.pictures) >= 3
    assert times(parsed)[0][0] == 0 and times(parsed)[-1][1] == pytest.approx(39.85, abs=0.05)
    assert stamp([path]) in parsed.document.stamp or str(path) in parsed.document.stamp
    assert File(path, path.parent, b"", "video/mp4", options).open().read(8)[4:] == b"ftyp"
