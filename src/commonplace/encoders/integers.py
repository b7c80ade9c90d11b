"""Linear maps in 8-bit integers: faster where a processor has instructions for them (VNNI).

A file may store weights in 4 bits, in the layout Q4_0 of ggml: blocks of 32 weights in 16 bytes with one float16 scale.
Byte j holds weight j in its low four bits and weight j + 16 in its high ones, and a weight is (four bits - 8) * scale.
OpenVINO would unpack them to floats when it compiles the graph. Here they become 8-bit integers with one scale for each
output, and OpenVINO rounds the inputs while it computes, ``GROUP`` of them with one scale.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["GROUP", "linear", "with_integer_weights"]

GROUP = 64
"""Inputs of a linear map that are rounded with one scale: half of it is 20% slower, twice as many are hardly faster."""
BLOCK = 32
STEPS = {"Constant", "Convert", "Reshape", "Multiply", "Floor", "Subtract", "Concat", "Unsqueeze", "Transpose"}
"""The operations that unpack a matrix in this layout."""


def linear(inputs: Any, weights: NDArray[np.float32]) -> Any:
    """Return OpenVINO's product of ``inputs`` (..., columns) and float weights (rows, columns), kept in 8 bits."""
    ops = importlib.import_module("openvino.opset13")
    scales = np.maximum(np.abs(weights).max(axis=1, keepdims=True) / 127, np.finfo(np.float32).tiny)
    bits = np.rint(weights / scales).astype(np.int8)
    kept = ops.multiply(ops.convert(ops.constant(bits), np.float32), ops.constant(scales.astype(np.float32)))
    return ops.matmul(inputs, kept, False, True)


def with_integer_weights(model: Any) -> Any:
    """Change an OpenVINO model: linear maps whose weights the file stores in 4 bits compute in 8-bit integers.

    Other operations stay as they are, so a model whose weights are floats does not change.
    """
    for node in model.get_ordered_ops():
        if node.get_type_name() != "MatMul" or any(node.get_attributes()[f"transpose_{side}"] for side in "ab"):
            continue
        weights = _unpacked(node.input_value(1).get_node())
        if weights is None:
            continue
        product = linear(node.input_value(0), weights)
        product.set_friendly_name(node.get_friendly_name())
        for target in node.output(0).get_target_inputs():
            target.replace_source_output(product.output(0))
    model.validate_nodes_and_infer_types()
    return model


def _unpacked(end: Any) -> NDArray[np.float32] | None:
    """Return the weights (rows, columns) that the nodes up to ``end`` unpack and transpose; None if they do not."""
    leaves: list[NDArray[Any]] = []
    to_visit, kinds = [end], []
    while to_visit:
        node = to_visit.pop()
        kinds.append(node.get_type_name())
        if kinds[-1] not in STEPS:
            return None  # a product of two values that depend on the inputs
        if kinds[-1] == "Constant":
            leaves.append(node.data)
        to_visit += [value.get_node() for value in node.input_values()]
    packed = [leaf for leaf in leaves if leaf.dtype == np.uint8 and leaf.ndim == 2]
    scales = [leaf for leaf in leaves if leaf.dtype == np.float16 and leaf.ndim == 2]
    numbers = {float(leaf.flat[0]) for leaf in leaves if leaf.dtype == np.float32 and leaf.size == 1}
    if kinds[0] != "Transpose" or not packed or not scales or numbers != {1 / 16, 16.0, 8.0}:
        return None
    rows, columns = packed[0].shape[0], packed[0].shape[1] * 2
    if scales[0].shape != (rows, columns // BLOCK):
        return None
    blocks = packed[0].reshape(rows, -1, BLOCK // 2)
    bits = np.concatenate([blocks & 15, blocks >> 4], axis=2).astype(np.float32) - 8
    return (bits * scales[0].astype(np.float32)[:, :, None]).reshape(rows, columns)
