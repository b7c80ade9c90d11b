"""A cross-encoder with known logits, built here and read through the real tokenizer and runtime."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from commonplace.encoders import CrossEncoder
from commonplace.errors import ModelError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "seal", "pump", "the", "blue"]


def tokenizer(folder: Path) -> None:
    made = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made.enable_padding(length=100)  # hub files often have this setting; the cross-encoder pads by itself
    made.save(str(folder / "tokenizer.json"))


def model(file: Path, *, types: bool = True, logits: int = 1, mask: str = "attention_mask") -> None:
    """Write a model that counts the word *seal* in the second text (without ``types``: in both)."""
    names = ["input_ids", mask, *(["token_type_ids"] if types else [])]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "t"]) for name in names]
    nodes = [
        helper.make_node("Equal", ["input_ids", "seal"], ["is_seal"]),
        helper.make_node("Cast", ["is_seal"], ["a"], to=TensorProto.FLOAT),
        helper.make_node("Cast", [mask], ["b"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["a", "b"], ["c" if types else "d"]),
    ]
    if types:
        nodes.append(helper.make_node("Cast", ["token_type_ids"], ["e"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Mul", ["c", "e"], ["d"]))
    nodes.append(helper.make_node("ReduceSum", ["d", "axis"], ["one"], keepdims=1))
    nodes.append(helper.make_node("Concat", ["one"] * logits, ["logits"], axis=1))
    constants = [
        helper.make_tensor("seal", TensorProto.INT64, [], [WORDS.index("seal")]),
        helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
    ]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", logits])
    graph = helper.make_graph(nodes, "counts", inputs, [output], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    file.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(made, str(file))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tokenizer(tmp_path)
    model(tmp_path / "model.onnx")
    return tmp_path


TEXTS = ["the seal", "seal " * 40, "pump", "the blue seal the seal", ""]


def test_each_text_gets_the_logit_of_its_pair(folder: Path) -> None:
    encoder = CrossEncoder(folder)
    scores = encoder.scores("seal pump", TEXTS)  # the word in the question, the first text, does not count
    assert scores.dtype == np.float32 and scores.tolist() == [1, 40, 0, 2, 0]
    assert encoder.scores("pump", TEXTS[::-1]).tolist() == [0, 2, 0, 40, 1]
    assert encoder.scores("pump", []).shape == (0,)


def test_a_model_without_token_types_and_in_the_hubs_folder(tmp_path: Path) -> None:
    tokenizer(tmp_path)
    model(tmp_path / "onnx" / "model.onnx", types=False)
    assert CrossEncoder(tmp_path).scores("seal", ["seal", "pump"]).tolist() == [2, 1]


def test_a_pair_over_the_limit_loses_the_end_of_its_longer_text(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 16}))
    encoder = CrossEncoder(folder)
    assert encoder.scores("pump pump", ["seal " * 40, "blue " * 40 + "seal"]).tolist() == [11, 0]  # 16 - 2 - 3


def test_errors_name_what_is_wrong_with_a_cross_encoder(folder: Path) -> None:
    model(folder / "model.onnx", logits=3)
    with pytest.raises(ModelError, match="values for each pair"):
        CrossEncoder(folder).scores("seal", ["pump"])
    model(folder / "model.onnx", mask="positions")
    with pytest.raises(ModelError, match="positions"):
        CrossEncoder(folder).scores("seal", ["pump"])
    (folder / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"model\.onnx"):
        CrossEncoder(folder).scores("seal", ["pump"])
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config\.json"):
        CrossEncoder(folder).scores("seal", ["pump"])
    (folder / "config.json").unlink()
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        CrossEncoder(folder).scores("seal", ["pump"])
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"no tokenizer\.json"):
        CrossEncoder(folder)
