"""Linear maps in 8-bit integers: the weights that a file packs, and what the vectors lose."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from commonplace.encoders import Bundle
from commonplace.encoders.integers import BLOCK, with_integer_weights
from commonplace.encoders.packaged import packaged
from commonplace.encoders.runtime import PRECISIONS, openvino

ROWS, COLUMNS = 96, 64


def packed(draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return weights (ROWS, COLUMNS) of 4 bits, their bytes and their scales, written by loops."""
    bits = draw.integers(0, 16, (ROWS, COLUMNS))
    scales = draw.uniform(0.01, 0.1, (ROWS, COLUMNS // BLOCK)).astype(np.float16)
    weights = np.empty((ROWS, COLUMNS), np.float32)
    content = np.empty((ROWS, COLUMNS // 2), np.uint8)
    for row in range(ROWS):
        for column in range(COLUMNS):
            block, place = divmod(column, BLOCK)
            weights[row, column] = (bits[row, column] - 8) * np.float32(scales[row, block])
            half = BLOCK // 2
            if place < half:
                content[row, block * half + place] = bits[row, column] | bits[row, column + half] << 4
    return weights, content, scales


def model(content: np.ndarray, scales: np.ndarray, zero: float = 8) -> object:
    ops = importlib.import_module("openvino.opset13")

    def number(value: float) -> object:
        return ops.constant(np.array(value, np.float32))

    rows = ops.parameter([-1, COLUMNS], np.float32)
    shape = np.array([ROWS, COLUMNS // BLOCK, BLOCK // 2])
    x = ops.reshape(ops.convert(ops.constant(content), np.float32), ops.constant(shape), False)
    high = ops.floor(ops.multiply(x, number(1 / 16)))
    low = ops.subtract(x, ops.multiply(high, number(16)))
    bits = ops.subtract(ops.concat([low, high], -1), number(zero))
    wide = ops.unsqueeze(ops.convert(ops.constant(scales), np.float32), ops.constant(np.array([-1])))
    weights = ops.reshape(ops.multiply(bits, wide), ops.constant(np.array([ROWS, COLUMNS])), False)
    product = ops.matmul(rows, ops.transpose(weights, ops.constant(np.array([1, 0]))), False, False)
    return openvino().Model([product], [rows])


def computed(graph: object, rows: np.ndarray) -> np.ndarray:
    settings = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
    return np.array(openvino().Core().compile_model(graph, "CPU", settings)([rows])[0])


def test_packed_weights_become_integers_of_the_same_value() -> None:
    draw = np.random.default_rng(0)
    weights, content, scales = packed(draw)
    rows = draw.normal(size=(5, COLUMNS)).astype(np.float32)
    changed = with_integer_weights(model(content, scales))
    kinds = [
        node.get_element_type().get_type_name() for node in changed.get_ops() if node.get_type_name() == "Constant"
    ]
    assert "i8" in kinds and "u8" not in kinds
    step = np.abs(weights).max(axis=1) / 127
    assert np.abs(computed(model(content, scales), rows) - rows @ weights.T).max() < 1e-4  # the graph unpacks them so
    bound = np.abs(rows).sum(axis=1)[:, None] * step / 2 + 1e-4
    assert (np.abs(computed(changed, rows) - rows @ weights.T) <= bound).all()


def test_weights_in_another_layout_stay_as_they_are() -> None:
    _, content, scales = packed(np.random.default_rng(0))
    changed = with_integer_weights(model(content, scales, zero=7))  # another zero: not this layout
    kinds = [
        node.get_element_type().get_type_name() for node in changed.get_ops() if node.get_type_name() == "Constant"
    ]
    assert "u8" in kinds and "i8" not in kinds


@pytest.mark.parametrize("precision", [p for p in PRECISIONS if p != "f32"])
def test_faster_precisions_of_the_multilingual_model_keep_its_vectors(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    capable = openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if "bf16" in precision and "BF16" not in capable:
        pytest.skip("this processor has no bfloat16")
    texts = [
        "The pump in the cellar is serviced in May; its seal is blue.",
        "花园水泵的蓝色密封圈每年五月更换一次。",
        "Насос в подвале обслуживают в мае.",
        "when is the pump serviced?",
        "水泵",
        "A long passage about bread, flour, water and salt, and how long the dough must rest. " * 12,
    ]
    vectors = {}
    for one in ("f32", precision):
        monkeypatch.setenv("COMMONPLACE_PRECISION", one)
        try:
            vectors[one] = Bundle(packaged()["multilingual"]).text.encode(texts)
        except RuntimeError as problem:  # such a precision is never chosen
            pytest.skip(f"OpenVINO has no such code for this processor: {str(problem).splitlines()[-1]}")
    assert (vectors["f32"] * vectors[precision]).sum(axis=1).min() >= 0.995
