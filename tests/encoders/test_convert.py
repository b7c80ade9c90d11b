"""Conversion: the bundle follows the settings of the hub repository, and its vectors equal the library's.

``tiny/make.py`` made the repositories in ``tiny/models`` from transformers' own classes, with random weights, exported
in the hub's layouts. ``reference.npz`` holds the library's vectors of the same texts and pictures.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commonplace.encoders import Bundle
from commonplace.encoders.convert import Choice, convert, graphs, wanted
from commonplace.errors import ModelError
from tests.encoders.tiny.inputs import TEXTS, pictures

TINY = Path(os.environ.get("COMMONPLACE_TINY") or Path(__file__).parent / "tiny" / "models")
KINDS = ["bert", "chinese_clip", "clip", "efficientnet", "one_file", "resnet", "roberta", "siglip", "vit"]
CLOSE = 1e-4


def library_vectors(kind: str) -> dict[str, np.ndarray]:
    """Return the library's own vectors of a tiny model, unit rows, by role."""
    name = "clip" if kind == "one_file" else kind
    with np.load(TINY / "reference.npz") as file:
        vectors = {key.split(".")[1]: file[key] for key in file.files if key.split(".")[0] == name}
    return {role: rows / np.linalg.norm(rows, axis=1, keepdims=True) for role, rows in vectors.items()}


@pytest.fixture
def full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMMONPLACE_PRECISION", "f32")


@pytest.fixture
def repository(tmp_path: Path) -> Any:
    """Return a function that copies a tiny repository, so that a test can change it."""

    def copy(kind: str) -> Path:
        shutil.copytree(TINY / kind, tmp_path / "repository" / kind)
        return tmp_path / "repository" / kind

    return copy


def change(folder: Path, file: str, **values: Any) -> None:
    path = folder / file
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings = {key: value for key, value in {**settings, **values}.items() if value is not None}
    path.write_text(json.dumps(settings), encoding="utf-8")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("full_precision")
def test_vectors_equal_the_librarys(kind: str, tmp_path: Path) -> None:
    bundle = convert(TINY / kind, tmp_path / kind, kind, Choice())
    expected = library_vectors(kind)
    assert set(expected) <= {"query", "document", "image"} and expected
    for rows in expected.values():  # the inputs have distinct vectors: only the right one is close
        assert min(np.abs(rows[i] - rows[j]).max() for i in range(4) for j in range(i)) > 100 * CLOSE
    for role in {"query", "document"} & set(expected):
        assert bundle.text is not None
        assert np.abs(bundle.text.encode(TEXTS, role) - expected[role]).max() < CLOSE, role  # type: ignore[arg-type]
    if "image" in expected:
        assert bundle.image is not None
        assert np.abs(bundle.image.encode(pictures()) - expected["image"]).max() < CLOSE
    assert (bundle.text is None) == ("document" not in expected)
    assert (bundle.image is None) == ("image" not in expected)
    bundle.verify()
    assert bundle.dim == next(iter(expected.values())).shape[1]
    assert [path.name for path in tmp_path.iterdir()] == [kind]  # no temporary folder is left


def test_settings_of_the_repository_are_taken_over(repository: Any, tmp_path: Path) -> None:
    folder = repository("roberta")
    text = convert(folder, tmp_path / "a", "a", Choice()).spec["towers"]["text"]
    assert (text["pooling"], text["max_tokens"], text["pad_id"]) == ("cls", 64, 1)
    assert text["prefix"] == {"query": "query: ", "document": ""}
    for mode in ("mean", "max"):
        change(folder, "1_Pooling/config.json", pooling_mode=mode)
        assert convert(folder, tmp_path / "a", "a", Choice()).spec["towers"]["text"]["pooling"] == mode
    # The format of older versions of the library.
    change(
        folder, "1_Pooling/config.json", pooling_mode=None, pooling_mode_lasttoken=True, pooling_mode_cls_token=False
    )
    assert convert(folder, tmp_path / "a", "a", Choice()).spec["towers"]["text"]["pooling"] == "last"
    change(folder, "sentence_bert_config.json", max_seq_length=20)
    made = convert(folder, tmp_path / "a", "a", Choice(query="ask: ", document="read: "))
    assert made.spec["towers"]["text"]["max_tokens"] == 20
    assert made.spec["towers"]["text"]["prefix"] == {"query": "ask: ", "document": "read: "}
    assert made.text is not None and made.text.room < 20  # the prefix takes some of the room
    siglip = convert(TINY / "siglip", tmp_path / "s", "s", Choice()).spec
    assert (siglip["towers"]["text"]["pad_to"], siglip["towers"]["text"]["inputs"]) == (64, {"ids": "input_ids"})
    assert (siglip["licence"], siglip["languages"]) == ("apache-2.0", ["multilingual"])


def test_without_a_pooling_setting_the_choice_decides_and_a_default_is_noted(tmp_path: Path) -> None:
    assert "mean" in convert(TINY / "bert", tmp_path / "a", "a", Choice()).spec["notes"][0]
    chosen = convert(TINY / "bert", tmp_path / "a", "a", Choice(pooling="cls")).spec
    assert chosen["towers"]["text"]["pooling"] == "cls" and not any("pooling" in note for note in chosen["notes"])


@pytest.mark.parametrize("kind", ["clip", "siglip", "roberta"])
@pytest.mark.usefixtures("full_precision")
def test_a_text_over_the_limit_is_read_in_windows_to_its_end(kind: str, tmp_path: Path) -> None:
    """CLIP reads 77 tokens, SigLIP 64: longer texts neither fail nor are cut."""
    tower = convert(TINY / kind, tmp_path / kind, kind, Choice()).text
    assert tower is not None
    filler = "the blue pump of the north " * 60
    first, other, short = tower.encode([filler, filler + "abcdefgh snow dog", "the blue pump"])
    assert np.isfinite([first, other, short]).all()
    assert np.abs(first - other).max() > 1e-4  # the end was read
    assert np.abs(tower.encode(["the blue pump"])[0] - short).max() < 1e-5  # whatever else is in the batch


def test_chunks_fit_the_tower(tmp_path: Path) -> None:
    from commonplace.readers.chunks import Chunker

    tower = convert(TINY / "clip", tmp_path / "clip", "clip", Choice()).text
    assert tower is not None and tower.room == 77
    text = "The north pump needs the blue seal, and it runs at nine bar. " * 40
    spans = list(Chunker(str(tower.tokenizer_path), tower.room).chunks(text))
    assert len(spans) > 3
    for start, end in spans:
        assert len(tower._windows(tower._tokenizer.encode(text[start:end]))) == 1


def test_only_graphs_and_settings_are_chosen() -> None:
    names = ["onnx/text_model.onnx", "onnx/text_model_fp16.onnx", "onnx/vision_model.onnx", "onnx/model.onnx", "a.py",
             "onnx/vision_model.onnx_data", "onnx/vision_model_quantized.onnx", "config.json", "tokenizer.json",
             "pytorch_model.bin", "model.safetensors", "args.pickle", "README.md"]  # fmt: skip
    assert graphs(names, "fp32") == {"text": "onnx/text_model.onnx", "image": "onnx/vision_model.onnx"}
    assert graphs(names, "fp16")["text"] == "onnx/text_model_fp16.onnx"
    assert graphs(names, "int8")["image"] == "onnx/vision_model_quantized.onnx"
    assert graphs(["model.onnx", "onnx/model_quantized.onnx"], "int8") == {"both": "onnx/model_quantized.onnx"}
    assert set(wanted(names, "fp32")) == {
        "onnx/text_model.onnx", "onnx/vision_model.onnx", "onnx/vision_model.onnx_data", "config.json",
        "tokenizer.json", "README.md",
    }  # fmt: skip
    with pytest.raises(ModelError, match="models export"):
        wanted(["pytorch_model.bin", "config.json"], "fp32")


@pytest.mark.parametrize(
    ("kind", "file", "values", "words"),
    [
        ("clip", "preprocessor_config.json", {"image_mean": [0.5]}, "not three numbers"),
        ("clip", "preprocessor_config.json", {"size": {"shortest_edge": -3}}, "picture size is -3"),
        ("clip", "preprocessor_config.json", {"resample": 17}, "resized with 17"),
        ("roberta", "1_Pooling/config.json", {"pooling_mode": "weightedmean"}, "weightedmean"),
        ("roberta", "sentence_bert_config.json", {"max_seq_length": 4}, "4 tokens"),
    ],
)
def test_unsupported_settings_are_refused(
    kind: str, file: str, values: dict[str, Any], words: str, repository: Any, tmp_path: Path
) -> None:
    folder = repository(kind)
    change(folder, file, **values)
    with pytest.raises(ModelError, match=words) as caught:
        convert(folder, tmp_path / "made" / kind, kind, Choice())
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "made").iterdir()) == []  # no incomplete bundle is left


def test_damaged_and_missing_files_are_refused_by_name(repository: Any, tmp_path: Path) -> None:
    folder = repository("clip")
    target = tmp_path / "made"
    (folder / "tokenizer.json").rename(folder / "kept")
    with pytest.raises(ModelError, match=r"no tokenizer\.json"):
        convert(folder, target, "clip", Choice())
    (folder / "tokenizer.json").write_text("[]")
    with pytest.raises(ModelError, match="is not a JSON object"):
        convert(folder, target, "clip", Choice())
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="is not a tokenizer"):
        convert(folder, target, "clip", Choice())
    (folder / "kept").replace(folder / "tokenizer.json")
    (folder / "config.json").write_text("{" * 99_999)
    with pytest.raises(ModelError, match=r"config\.json cannot be read"):
        convert(folder, target, "clip", Choice())
    shutil.copy(TINY / "clip" / "config.json", folder)
    (folder / "onnx" / "text_model.onnx").write_bytes(b"no graph")
    with pytest.raises(ModelError, match=r"text_model\.onnx cannot be read"):
        convert(folder, target, "clip", Choice())
    shutil.copy(TINY / "siglip" / "onnx" / "vision_model.onnx", folder / "onnx" / "text_model.onnx")
    with pytest.raises(ModelError, match="not input_ids"):
        convert(folder, target, "clip", Choice())
    assert [path.name for path in tmp_path.iterdir()] == ["repository"]


def test_towers_with_different_dimensions_are_refused(repository: Any, tmp_path: Path) -> None:
    folder = repository("clip")
    shutil.copy(TINY / "resnet" / "onnx" / "model.onnx", folder / "onnx" / "vision_model.onnx")
    change(folder, "config.json", model_type="resnet")
    with pytest.raises(ModelError, match=r"12 \(text\) and 16 \(image\)"):
        convert(folder, tmp_path / "made", "clip", Choice())


def test_converting_again_replaces_the_bundle_and_keeps_the_fingerprint(tmp_path: Path) -> None:
    first = convert(TINY / "clip", tmp_path / "clip", "clip", Choice()).fingerprint
    again = convert(TINY / "clip", tmp_path / "clip", "clip", Choice())
    assert again.fingerprint == first == Bundle(tmp_path / "clip").fingerprint
    assert [path.name for path in tmp_path.iterdir()] == ["clip"]
