"""A second model for the tests: two small ONNX towers of their own dimension, in a bundle made on the spot."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from commonplace.encoders import DEFAULT_BUNDLE

AUDIO_TOWER = {
    "file": "audio_model.onnx",
    "input": "input_features",
    "output": "audio_embeds",
    "rate": 16_000,
    "seconds": 2.0,
    "features": {
        "window": 400, "fft": 512, "hop": 160, "mels": 32, "low": 50, "high": 8000, "scale": "htk", "log": "ln",
        "floor": 1e-6,
    },
}  # fmt: skip
WORDS = 997  # token ids are taken modulo this


def tiny_bundle(folder: Path, dim: int = 24, seed: int = 0) -> Path:
    """Make a bundle in ``folder``: a word is a random vector, a picture its colours in 16 fields."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(seed)
    words = draw.standard_normal((WORDS, dim)).astype(np.float32)
    colours = draw.standard_normal((48, dim)).astype(np.float32)
    save_graph(
        folder / "text.onnx",
        [
            helper.make_node("Mod", ["ids", "count"], ["rows"]),
            helper.make_node("Gather", ["words", "rows"], ["hidden"]),
        ],
        [("ids", TensorProto.INT64, ["batch", "length"]), ("mask", TensorProto.INT64, ["batch", "length"])],
        ("hidden", ["batch", "length", dim]),
        {"words": words, "count": np.array(WORDS, np.int64)},
    )
    save_graph(
        folder / "image.onnx",
        [
            helper.make_node("AveragePool", ["pixels"], ["fields"], kernel_shape=[8, 8], strides=[8, 8]),
            helper.make_node("Flatten", ["fields"], ["flat"]),
            helper.make_node("MatMul", ["flat", "colours"], ["vector"]),
        ],
        [("pixels", TensorProto.FLOAT, ["batch", 3, 32, 32])],
        ("vector", ["batch", dim]),
        {"colours": colours},
    )
    shutil.copy(DEFAULT_BUNDLE / "tokenizer.json", folder)
    shipped = json.loads((DEFAULT_BUNDLE / "bundle.json").read_text(encoding="utf-8"))
    text = {**shipped["towers"]["text"], "inputs": {"ids": "ids", "mask": "mask"}, "output": "hidden"}
    image = {
        "file": "image.onnx",
        "input": "pixels",
        "output": "vector",
        "size": [32, 32],
        "geometry": "squash",
        "interpolation": "bilinear",
        "scale": 255,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
    }
    files = ("text.onnx", "image.onnx", "tokenizer.json")
    spec = {
        "format": 1,
        "name": f"tiny-{seed}",
        "dim": dim,
        "towers": {"text": text, "image": image},
        "score_stats": shipped["score_stats"],
        "checksums": {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files},
    }
    (folder / "bundle.json").write_text(json.dumps(spec), encoding="utf-8")
    return folder


def with_audio(bundle: Path, sounds: np.ndarray, vectors: np.ndarray) -> Path:
    """Add an audio tower to a bundle, which gives sounds (n, mels) as mean log-mel spectra these vectors (n, dim)."""
    weights = (np.linalg.pinv(sounds) @ vectors).astype(np.float32)
    save_graph(
        bundle / "audio_model.onnx",
        [
            helper.make_node("ReduceMean", ["input_features"], ["mean"], axes=[1], keepdims=0),
            helper.make_node("MatMul", ["mean", "weights"], ["audio_embeds"]),
        ],
        [("input_features", TensorProto.FLOAT, ["batch", "frames", sounds.shape[1]])],
        ("audio_embeds", ["batch", weights.shape[1]]),
        {"weights": weights},
    )
    spec = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    spec["towers"]["audio"] = AUDIO_TOWER
    spec["checksums"]["audio_model.onnx"] = hashlib.sha256((bundle / "audio_model.onnx").read_bytes()).hexdigest()
    (bundle / "bundle.json").write_text(json.dumps(spec), encoding="utf-8")
    return bundle


def save_graph(path: Path, nodes: list, inputs: list, output: tuple, values: dict[str, np.ndarray]) -> None:
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info(*one) for one in inputs],
        [helper.make_tensor_value_info(output[0], TensorProto.FLOAT, output[1])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(made)
    onnx.save(made, str(path))
