"""Speech: where it is, its words at their seconds, and what is said where they await a model."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import commonplace as cp
from commonplace.cli import main
from commonplace.errors import ModelError
from commonplace.indexer import speech_options
from commonplace.metadata import UNREAD_SPEECH
from commonplace.readers import ReadOptions, read, speech_folder
from commonplace.readers.speech import _joined, _model, _stretches
from commonplace.types import ParsedDocument
from tests.encoders.server import hub
from tests.readers.make_sound import RATE, Samples, melody, noise, note, sound
from tests.readers.make_speech import spoken
from tests.readers.make_video import scene, video
from tests.readers.make_whisper import whisper

pytest.importorskip("faster_whisper", reason="needs the extra speech")

Reader = Callable[..., ParsedDocument]
WORDS = [(" Der", 0.4), (" Kran", 0.7), (" ist", 1.0), (" blau", 1.3), (".", 1.7),
         (" Die", 2.2), (" Pumpe", 2.6), (" steht", 2.9), (".", 3.2)]  # fmt: skip


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return whisper(tmp_path_factory.mktemp("speech") / "whisper", WORDS, 3.4, "de")


@pytest.fixture
def reading(tmp_path: Path, options: ReadOptions, model: Path) -> Reader:
    def read_file(name: str, content: bytes, *, seconds: float = 600.0, with_model: bool = True) -> ParsedDocument:
        (tmp_path / name).write_bytes(content)
        speech_model = str(model) if with_model else ""
        return read(tmp_path / name, replace(options, speech_seconds=seconds, speech_model=speech_model))

    return read_file


def silence(seconds: float, rate: int = RATE) -> Samples:
    return np.zeros(round(seconds * rate), np.float32)


def said(rate: int = RATE) -> Samples:
    """Return three seconds of speech."""
    return spoken("The north pump needs the blue seal. It was repaired in March.", rate=rate)


def passages(parsed: ParsedDocument) -> list[tuple[str, float, float]]:
    return [(item.text or "", item.span.begin, item.span.finish or 0) for item in parsed.items
            if item.modality == "text" and item.span.begin is not None]  # fmt: skip


def test_speech_is_found_at_its_seconds_and_music_is_none() -> None:
    whole = np.concatenate([silence(3, 16_000), said(16_000), note(440, 4, 16_000), silence(3, 16_000),
                            said(16_000), noise(1, 3, 16_000)])  # fmt: skip
    length = len(said(16_000)) / 16_000
    pieces = ((n / 16_000, whole[n : n + 1000]) for n in range(0, len(whole), 1000))
    found = [(stretch.begin, stretch.finish) for stretch in _stretches(pieces)]
    assert found == [(stretch.begin, stretch.finish) for stretch in _stretches(iter([(0.0, whole)]))]
    begins = [3.0, 3 + length + 7]
    assert len(found) == 2
    for (begin, finish), expected in zip(found, begins, strict=True):
        assert expected - 0.6 < begin < expected + 0.2 and expected + length - 0.6 < finish < expected + length + 0.6


def test_long_speech_is_cut_and_where_sound_is_missing_times_stay() -> None:
    long = list(_stretches(iter([(5.0, np.concatenate([said(16_000)] * 16))])))
    assert len(long) > 1 and all(14 <= stretch.finish - stretch.begin <= 28.1 for stretch in long[:-1])
    assert [stretch.begin for stretch in long[1:]] == pytest.approx([stretch.finish for stretch in long[:-1]])
    first, second = _stretches(iter([(1.0, said(16_000)), (100.0, said(16_000))]))
    assert first.begin == pytest.approx(1, abs=0.3) and second.begin == pytest.approx(100, abs=0.3)


def test_memory_does_not_grow_with_the_length() -> None:
    piece = np.concatenate([said(16_000), silence(0.5, 16_000)])

    def long(count: int) -> Iterator[tuple[float, Samples]]:
        for n in range(count):
            yield n * len(piece) / 16_000, piece.copy()

    list(_stretches(long(2)))  # the model is loaded
    tracemalloc.start()
    finish = max(stretch.finish for stretch in _stretches(long(60)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert finish > 200 and peak < 8 * 2**20  # the samples alone are 14 MB


@pytest.mark.parametrize("kind", ["mp3", "opus"])
def test_words_have_their_seconds(reading: Reader, kind: str) -> None:
    parsed = reading(f"a.{kind}", sound(np.concatenate([silence(5), said(), silence(40), said()]), kind))
    length = len(said()) / RATE
    assert parsed.document.status == "ok" and parsed.document.metadata["language"] == "de"
    (first, begin, finish), (second, later, _finish) = passages(parsed)
    assert first == "[0:00:04] Der Kran ist blau.\n[0:00:06] Die Pumpe steht." and "Der Kran ist blau." in second
    assert begin == pytest.approx(4.6, abs=0.3) and finish == pytest.approx(7.7, abs=0.4)  # a margin stands before it
    assert later == pytest.approx(begin + length + 40, abs=0.2)


def test_the_sound_of_a_video_is_read_but_not_what_subtitles_say(reading: Reader) -> None:
    track = np.concatenate([silence(2), said(), silence(7), said()])
    film = scene(1, 1) * 32
    parsed = reading("a.mkv", video(film, "mkv", rate=2, sound=track))
    assert len(passages(parsed)) == 2 and passages(parsed)[0][1] == pytest.approx(1.7, abs=0.4)
    assert any(item.modality == "image" for item in parsed.items)
    subtitles = [(2.0, 5.5, "The north pump needs the blue seal.")]
    (shown, heard) = passages(reading("b.mkv", video(film, "mkv", rate=2, sound=track, subtitles=subtitles)))
    assert "north pump" in shown[0] and "Der Kran" in heard[0] and heard[1] > 10


def test_without_a_model_it_is_said_where_speech_is(reading: Reader) -> None:
    content = sound(np.concatenate([silence(5), said(), silence(5), said()]), "opus")
    parsed = reading("a.opus", content, with_model=False)
    marks = parsed.document.metadata[UNREAD_SPEECH]
    assert parsed.document.status == "partial" and marks in (
        ["0:00:04-0:00:08", "0:00:13-0:00:17"], ["0:00:04-0:00:08", "0:00:13-0:00:16"]
    )  # fmt: skip
    problem = parsed.document.error or ""
    assert "(0:00:04 to 0:00:08, " in problem and "await a model: add it again with --speech-model" in problem
    assert not passages(parsed)
    for seed in (1, 5):  # melodies that Silero VAD is not sure about
        music = reading(f"{seed}.opus", sound(melody(seed), "opus", rate=16_000), with_model=False)
        assert music.document.status == "ok" and UNREAD_SPEECH not in music.document.metadata


def test_marks_are_few() -> None:
    times = [(10.0 * n, 10.0 * n + (9.5 if n % 7 else 5)) for n in range(100)]
    joined = _joined(times, 10)
    assert len(joined) == 10 and joined[0][0] == 0 and joined[-1][1] == times[-1][1]
    assert all(later[0] - earlier[1] == 5 for earlier, later in pairwise(joined))


def test_where_time_runs_out_what_was_read_is_kept(reading: Reader) -> None:
    content = sound(np.concatenate([silence(2), said()]), "opus")
    parsed = reading("a.opus", content, seconds=0.001)
    assert parsed.document.status == "partial" and not passages(parsed) and parsed.items[0].text == "a"
    assert "its speech was read up to 0:00:00 only: time ran out; use a smaller model" in (parsed.document.error or "")


def test_a_model_that_is_none(tmp_path: Path, model: Path, reading: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="there is no folder /nowhere: give the folder of a speech model"):
        speech_folder("/nowhere")
    with pytest.raises(ModelError, match=r"has no model\.bin: give the folder of a Whisper model"):
        speech_folder(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="the speech model gigantic is no folder, and could not be fetched"):
        speech_folder("gigantic")
    monkeypatch.setenv("COMMONPLACE_SPEECH_MODEL", str(model))
    assert speech_options(None)["speech_model"] == str(model)
    assert speech_options("none") == {"speech_seconds": 0.0, "speech_model": ""}
    broken = tmp_path / "broken"
    broken.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (broken / name).write_bytes((model / name).read_bytes())
    (broken / "model.bin").write_bytes(b"\0" * 100)
    options = replace(ReadOptions("x", 256), speech_seconds=60.0, speech_model=str(broken))
    with pytest.raises(ModelError, match="the speech model broken cannot be loaded"):
        _model(options.speech_model)


def test_a_collection_reads_the_words_when_a_model_is_named(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "talks"
    folder.mkdir()
    (folder / "talk.opus").write_bytes(sound(np.concatenate([silence(3), said()]), "opus"))
    (folder / "song.opus").write_bytes(sound(note(440, 3), "opus"))
    collection = ["--collection", str(tmp_path / "kb")]
    assert main(["add", str(folder), *collection]) == 0
    assert "talk.opus: the words of its speech (0:00:02 to 0:00:0" in capsys.readouterr().err
    assert main(["status", *collection]) == 0
    assert "1 document with speech awaits a model for its words: add it again with --speech-model" in (
        capsys.readouterr().out
    )
    with cp.open(tmp_path / "kb") as kb:
        assert kb.add(folder).unchanged == 2 and kb.status()["unread_speech"] == 1
        report = kb.add(folder, speech_model=model)
        assert (report.changed, report.unchanged, report.partial, report.failed) == (1, 1, [], [])
        assert "unread_speech" not in kb.status()
        hit = kb.search("Die Pumpe steht", k=1)[0]
        assert "Die Pumpe steht." in (hit.item.text or "") and hit.item.span.begin == pytest.approx(2.6, abs=0.3)
        assert kb.add(folder, speech_model=model).unchanged == 2


def test_a_model_on_the_hub_is_fetched_once(tmp_path: Path) -> None:
    folder = tmp_path / "served" / "some" / "whisper"
    folder.mkdir(parents=True)
    for name in ("model.bin", "config.json", "tokenizer.json", "vocabulary.json", "README.md"):
        (folder / name).write_text("{}")
    code = "from commonplace.readers import speech_folder; print(speech_folder('some/whisper'))"
    with hub(tmp_path / "served") as served:
        environment = {**os.environ, "HF_ENDPOINT": served.url, "HF_HOME": str(tmp_path / "home")}
        first = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    again = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert first.returncode == again.returncode == 0, first.stderr + again.stderr
    assert first.stdout == again.stdout and first.stdout.startswith(str(tmp_path / "home"))
    assert {path.name for path in Path(first.stdout.strip()).iterdir()} == {path.name for path in folder.iterdir()} - {
        "README.md"
    }
