"""A model with an audio tower: recordings are found by their sound, in words or by a clip, beside what is written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

import commonplace as cp
from commonplace.encoders import Bundle
from commonplace.encoders.audio import AudioTower, log_mel
from commonplace.encoders.convert import Choice, convert, graphs
from commonplace.errors import ModelError
from tests.readers.make_sound import note, sound
from tests.readers.make_video import scene, video
from tests.tiny import AUDIO_TOWER, save_graph, tiny_bundle, with_audio

RATE = 16_000
NOTES = {"siren": 1200, "drone": 150}
"""Hertz of the sounds that the model knows, by the word for them."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny_bundle(tmp_path_factory.mktemp("audio") / "model")
    means = [log_mel(note(hertz, 2, RATE), RATE, AUDIO_TOWER["features"]).mean(axis=0) for hertz in NOTES.values()]
    text = Bundle(folder).text
    assert text is not None
    return with_audio(folder, np.array(means), text.encode(list(NOTES), "query"))


def test_a_tower_gives_unit_rows_whatever_is_beside_them(model: Path) -> None:
    tower = Bundle(model).audio
    assert tower is not None and (tower.rate, tower.seconds) == (RATE, 2.0)
    tone = note(1200, 3, RATE)
    short = (tone[:8_000] * 32_767).astype(np.int16)
    rows = tower.encode([tone, short, tone[: 2 * RATE]])
    assert rows.dtype == np.float32 and np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert np.allclose(rows[0], rows[2], atol=1e-6)  # what is longer is cut off
    assert np.allclose(rows[1], tower.encode([tone[:8_000]])[0], atol=1e-3)
    assert tower.encode([]).shape == (0, tower.dim) and np.isfinite(tower.encode([np.zeros(0)])).all()


@pytest.mark.parametrize("scale", ["htk", "slaney"])
def test_a_note_is_in_the_band_of_its_pitch(scale: str) -> None:
    settings = {**AUDIO_TOWER["features"], "scale": scale, "mels": 64, "centred": True}
    spectra = [log_mel(note(hertz, 1, RATE), RATE, settings) for hertz in (300, 600, 1200, 4000)]
    bands = [int(spectrum.mean(axis=0).argmax()) for spectrum in spectra]
    assert bands == sorted(set(bands))
    assert log_mel(note(600, 1, RATE), RATE, {**settings, "layout": "1,mels,frames"}).shape == (1, 64, 101)


def test_words_and_clips_find_recordings_by_their_sound(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="needs the extra video")
    files = tmp_path / "files"
    files.mkdir()
    for name, hertz in (("a", 1200), ("b", 150)):
        silence = np.zeros(4 * RATE, np.float32)
        (files / f"{name}.wav").write_bytes(sound(np.concatenate([silence, note(hertz, 2, RATE)]), rate=RATE))
    film = video(scene(1, 75), "mkv", sound=np.concatenate([note(1200, 2, 48_000), np.zeros(48_000, np.float32)]))
    (files / "film.mkv").write_bytes(film)
    with cp.open(tmp_path / "kb", model=str(model)) as kb:
        report = kb.add(files, workers=1, progress=False, ocr=False, speech_model="none")
        assert (report.added, report.failed) == (3, [])
        assert kb.status()["items"]["audio"] == 3  # silence is no item
        for word, name in (("siren", "a.wav"), ("drone", "b.wav")):
            hits = kb.search(word, modality="audio")
            assert Path(hits[0].item.document.path).name in (name, "film.mkv")
            assert [line.channel for line in hits[0].breakdown if line.channel == "text->audio"]
            (recording,) = [hit.item for hit in hits if Path(hit.item.document.path).name == name]
            assert (recording.span.begin, recording.span.finish) == (4, 6)
        clip = cp.Query(others={"audio": note(150, 2, RATE)})
        assert Path(kb.search(clip)[0].item.document.path).name == "b.wav"


def test_a_wrong_description_is_named(model: Path, tmp_path: Path) -> None:
    spec = json.loads((model / "bundle.json").read_text(encoding="utf-8"))
    spec["towers"]["audio"]["seconds"] = 1e9
    (tmp_path / "bundle.json").write_text(json.dumps(spec), encoding="utf-8")
    with pytest.raises(ModelError, match="rate or seconds of sound"):
        Bundle(tmp_path)
    assert AudioTower(model, AUDIO_TOWER, 24, {"audio_model.onnx": "1"}).fingerprint != AudioTower(
        model, AUDIO_TOWER, 24, {"audio_model.onnx": "2"}
    ).fingerprint  # fmt: skip


def clap(folder: Path, model: Path, **settings: object) -> Path:
    """Make a repository with the layout of CLAP on the hub: a text tower, an audio tower and their settings."""
    (folder / "onnx").mkdir(parents=True)
    shutil.copy(model / "tokenizer.json", folder)
    draw = np.random.default_rng(1)
    words, weights = (draw.standard_normal((rows, 24)).astype(np.float32) for rows in (997, 32))
    save_graph(
        folder / "onnx" / "text_model.onnx",
        [
            helper.make_node("Mod", ["input_ids", "count"], ["rows"]),
            helper.make_node("Gather", ["words", "rows"], ["hidden"]),
            helper.make_node("ReduceMean", ["hidden"], ["text_embeds"], axes=[1], keepdims=0),
        ],
        [(name, TensorProto.INT64, ["batch", "length"]) for name in ("input_ids", "attention_mask")],
        ("text_embeds", ["batch", 24]),
        {"words": words, "count": np.array(997, np.int64)},
    )
    save_graph(
        folder / "onnx" / "audio_model.onnx",
        [
            helper.make_node("ReduceMean", ["input_features"], ["mean"], axes=[1, 2], keepdims=0),
            helper.make_node("MatMul", ["mean", "weights"], ["audio_embeds"]),
        ],
        [("input_features", TensorProto.FLOAT, ["batch", 1, "frames", 32])],
        ("audio_embeds", ["batch", 24]),
        {"weights": weights},
    )
    (folder / "config.json").write_text(
        json.dumps({"model_type": "clap", "text_config": {"model_type": "clap_text_model"}})
    )
    extractor = {
        "feature_extractor_type": "ClapFeatureExtractor", "feature_size": 32, "fft_window_size": 1024,
        "frequency_max": 14000, "frequency_min": 50, "hop_length": 480, "max_length_s": 10, "padding": "repeatpad",
        "sampling_rate": 48000, "truncation": "rand_trunc", **settings,
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(extractor))
    return folder


def test_a_repository_of_text_and_sound_becomes_a_bundle(model: Path, tmp_path: Path) -> None:
    names = ["onnx/text_model.onnx", "onnx/audio_model.onnx", "onnx/model.onnx"]
    assert graphs(names, "fp32") == {"text": names[0], "audio": names[1]}
    bundle = convert(clap(tmp_path / "a", model), tmp_path / "bundle", "clap", Choice())
    assert bundle.audio is not None and (bundle.audio.rate, bundle.audio.seconds, bundle.dim) == (48_000, 10.0, 24)
    assert bundle.spec["towers"]["audio"]["features"]["scale"] == "slaney" and bundle.image is None
    rows = bundle.audio.encode([note(600, 1), note(600, 10)])  # a second is repeated ten times
    assert rows[0] @ rows[1] > 0.999
    for wrong in (
        {"feature_extractor_type": "Gemma4AudioFeatureExtractor"},
        {"truncation": "fusion"},
        {"hop_length": None},
    ):
        folder = clap(tmp_path / str(len(list(tmp_path.iterdir()))), model, **wrong)
        with pytest.raises(ModelError, match=r"not supported|missing or wrong entry"):
            convert(folder, tmp_path / "other", "other", Choice())
