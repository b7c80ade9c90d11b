"""Export from PyTorch to a bundle: text, image and two-tower models that transformers or sentence-transformers loads.

This module needs torch (extra ``export``). Only ``commonplace models export`` and fine-tuning import it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonplace.encoders.bundle import Bundle
from commonplace.encoders.convert import Choice, convert
from commonplace.errors import ModelError
from commonplace.i18n import _

try:
    import onnx
    import torch
    import transformers
    from torch import Tensor, nn
except ImportError as problem:
    raise ModelError(
        _(
            "exporting needs PyTorch and transformers ({name} is not installed): run "
            "`pip install 'commonplace-rag[export]'`"
        ).format(name=problem.name)
    ) from problem

__all__ = ["Exported", "export", "write_graphs"]

JOINT = ("clip", "chinese_clip", "siglip", "siglip2")
TEXTS = ["a dog", "Which seal is blue?", "9 bar, two people", "雪地里的狗"]
"""Texts of the parity check. They are short: the library truncates long texts, while a bundle reads them in windows."""
ENOUGH = {"fp32": 0.9999, "fp16": 0.999, "int8": 0.97}
"""By precision: the least cosine with the library's own vectors. Below it, the export is refused."""


@dataclass(frozen=True, slots=True)
class Exported:
    """An exported bundle and, by tower, the lowest cosine of its vectors with the library's own."""

    bundle: Bundle
    parity: dict[str, float]


def export(model: str, target: Path, name: str, choice: Choice) -> Exported:
    """Export a model, given by name or folder, to the bundle ``target``, and compare its vectors with the library's.

    ``choice.precision`` is ``fp32``, ``fp16`` (weights only) or ``int8`` (weights of large matrices only). Weights are
    read from safetensors, never from a pickle, and no code of the repository is run. Raises ModelError if the model
    cannot be loaded or exported, or if the bundle's vectors differ too much from the library's.
    """
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        reference = write_graphs(model, folder, choice.precision)
        bundle = convert(folder, target, name, choice)
    parity = {}
    if "text" in reference and bundle.text is not None:
        parity["text"] = _parity(reference["text"], bundle.text.encode(TEXTS))
    if "image" in reference and bundle.image is not None:
        parity["image"] = _parity(reference["image"], bundle.image.encode(_pictures()))
    for tower, cosine in parity.items():
        if cosine < ENOUGH[choice.precision]:
            raise ModelError(
                _(
                    "the {tower} tower of {name} differs from the original (cosine {cosine:.4f}, {precision}): "
                    "export it with a higher --precision"
                ).format(tower=tower, name=name, cosine=cosine, precision=choice.precision)
            )
    return Exported(bundle, parity)


def _parity(reference: NDArray[np.float32], ours: NDArray[np.float32]) -> float:
    reference = reference / np.linalg.norm(reference, axis=1, keepdims=True)
    return float((reference * ours).sum(axis=1).min())


def _pictures() -> list[NDArray[np.uint8]]:
    """Return three pictures of different shapes, smooth and noisy."""
    draw = np.random.default_rng(0)
    ramp = np.linspace(0, 255, 320 * 240 * 3).astype(np.uint8).reshape(240, 320, 3)
    return [ramp, draw.integers(0, 255, (224, 224, 3), dtype=np.uint8), np.ascontiguousarray(ramp.transpose(1, 0, 2))]


# --- loading -------------------------------------------------------------------------------------------------


def write_graphs(model: str, folder: Path, precision: str = "fp32") -> dict[str, NDArray[np.float32]]:
    """Write a model in the layout of a hub repository with ONNX. Return the library's vectors (n, dim) by tower.

    Raises ModelError if the model cannot be loaded or exported.
    """
    try:
        if _is_sentence_transformer(model):
            return _sentences(model, folder, precision)
        config = transformers.AutoConfig.from_pretrained(model, trust_remote_code=False)
        net = transformers.AutoModel.from_pretrained(
            model, trust_remote_code=False, use_safetensors=True, attn_implementation="eager", dtype=torch.float32
        ).eval()
    except (OSError, ValueError, RuntimeError, KeyError) as problem:
        reason = str(problem).strip().splitlines()[0][:300]
        raise ModelError(
            _("the model {model} cannot be loaded ({reason}): check the name").format(model=model, reason=reason)
        ) from problem
    config.save_pretrained(folder)
    if config.model_type in JOINT:
        reference = _text(net, model, folder, precision, joint=True)
        return reference | _image(net, model, folder, precision, joint=True)
    if net.main_input_name == "pixel_values":
        return _image(net, model, folder, precision, joint=False)
    return _text(net, model, folder, precision, joint=False)


def _is_sentence_transformer(model: str) -> bool:
    if os.path.isdir(model):
        return os.path.isfile(os.path.join(model, "modules.json"))
    from huggingface_hub import file_exists

    return bool(file_exists(model, "modules.json"))


class _Tower(nn.Module):  # type: ignore[misc]
    """One tower of a model as a module with one output tensor, for the ONNX exporter."""

    def __init__(self, net: Any, kind: str, joint: bool) -> None:
        super().__init__()
        self.net = net
        self.kind = kind
        self.joint = joint

    def forward(self, first: Tensor, mask: Tensor | None = None) -> Any:
        if self.kind == "image":
            output = self.net.get_image_features(first) if self.joint else self.net(first)
        else:
            feeds = {"input_ids": first} | ({} if mask is None else {"attention_mask": mask})
            output = self.net.get_text_features(**feeds) if self.joint else self.net(**feeds)
        if self.joint:
            return output if isinstance(output, Tensor) else output.pooler_output
        states = output.last_hidden_state
        if states.ndim == 4:  # a convolutional network: return the mean over the picture
            pooled = getattr(output, "pooler_output", None)
            # EfficientNet pools with a window of 1,280 pixels, which runtimes refuse.
            if pooled is None or self.net.config.model_type == "efficientnet":
                return states.mean((2, 3))
            return pooled.flatten(1)
        return states  # of a transformer: the pooler is often untrained, so tokens are returned


def _text(net: Any, model: str, folder: Path, precision: str, joint: bool) -> dict[str, NDArray[np.float32]]:
    tokenizer = transformers.AutoTokenizer.from_pretrained(model, trust_remote_code=False)
    tokenizer.save_pretrained(folder)
    fixed = net.config.model_type.startswith("siglip")
    length = net.config.text_config.max_position_embeddings if fixed else 16
    ids = torch.ones(2, length, dtype=torch.int64)
    ids[:, -1] = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else 1
    names = ["input_ids"] if fixed else ["input_ids", "attention_mask"]
    axes = {0: "batch"} if fixed else {0: "batch", 1: "tokens"}
    tower = _Tower(net, "text", joint)
    file = folder / "onnx" / ("text_model.onnx" if joint else "model.onnx")
    output = "text_embeds" if joint else "last_hidden_state"
    _write(tower, (ids,) if fixed else (ids, torch.ones_like(ids)), names, output, [axes] * len(names), file, precision)
    reference = []
    for text in TEXTS:
        padding = {"padding": "max_length", "max_length": length} if fixed else {}
        tokens = tokenizer(text, return_tensors="pt", truncation=True, **padding)
        with torch.inference_mode():
            vectors = tower(*(tokens[name] for name in names))
            if not joint:  # a plain model has no pooling setting: the mean, as in the conversion
                vectors = vectors.mean(dim=1)
        reference.append(vectors[0].numpy())
    return {"text": np.array(reference, np.float32)}


def _image(net: Any, model: str, folder: Path, precision: str, joint: bool) -> dict[str, NDArray[np.float32]]:
    # Use Pillow's resampling, as the bundle does.
    processor = transformers.AutoImageProcessor.from_pretrained(model, trust_remote_code=False, backend="pil")
    processor.save_pretrained(folder)
    tower = _Tower(net, "image", joint)
    pixels = [processor(images=picture, return_tensors="pt")["pixel_values"] for picture in _pictures()]
    with torch.inference_mode():
        reference = np.concatenate(
            [
                tower(picture_input).flatten(1).numpy() if joint else _pooled(tower(picture_input))
                for picture_input in pixels
            ]
        )
        tokens = not joint and tower(pixels[0]).ndim == 3
    file = folder / "onnx" / ("vision_model.onnx" if joint else "model.onnx")
    output = "image_embeds" if joint else "last_hidden_state" if tokens else "pooler_output"
    _write(tower, (torch.cat(pixels[:2]),), ["pixel_values"], output, [{0: "batch"}], file, precision)
    return {"image": reference.astype(np.float32)}


def _pooled(output: Tensor) -> NDArray[np.float32]:
    return np.asarray((output[:, 0] if output.ndim == 3 else output).numpy(), np.float32)


def _sentences(model: str, folder: Path, precision: str) -> dict[str, NDArray[np.float32]]:
    """Write a sentence-transformers model with its pooling and all later layers."""
    import sentence_transformers

    loading = {"attn_implementation": "eager", "dtype": torch.float32, "use_safetensors": True}
    transformer = sentence_transformers.SentenceTransformer(
        model, device="cpu", trust_remote_code=False, model_kwargs=loading
    ).eval()
    with tempfile.TemporaryDirectory() as saved:
        transformer.save(saved, create_model_card=False)
        for path in Path(saved).rglob("*.json"):
            target = folder / path.relative_to(saved)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    more = [
        type(module).__name__
        for module in transformer
        if type(module).__name__ not in ("Transformer", "Pooling", "Normalize")
    ]

    class Sentences(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layers = transformer

        def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
            features = {"input_ids": ids, "attention_mask": mask}
            for module in self.layers:
                features = module(features)
            return features["sentence_embedding" if more else "token_embeddings"]

    ids = torch.ones(2, 16, dtype=torch.int64)
    output = "sentence_embedding" if more else "last_hidden_state"
    axes = {0: "batch", 1: "tokens"}
    names = ["input_ids", "attention_mask"]
    _write(
        Sentences(), (ids, torch.ones_like(ids)), names, output, [axes] * 2, folder / "onnx" / "model.onnx", precision
    )
    reference = transformer.encode(TEXTS, prompt="", convert_to_numpy=True, normalize_embeddings=True)
    return {"text": np.asarray(reference, np.float32)}


# --- writing -------------------------------------------------------------------------------------------------


def _write(
    tower: nn.Module,
    example: tuple[Tensor, ...],
    inputs: Sequence[str],
    output: str,
    axes: Sequence[dict[int, str]],
    file: Path,
    precision: str,
) -> None:
    """Write a tower as ONNX, with weights stored in ``precision`` and float32 arithmetic."""
    file.parent.mkdir(parents=True, exist_ok=True)
    tower.eval()
    shapes = tuple({axis: torch.export.Dim(name) for axis, name in axis_names.items()} for axis_names in axes)
    try:
        program = torch.onnx.export(
            tower, example, input_names=list(inputs), output_names=[output], dynamo=True, verbose=False,
            dynamic_shapes=shapes,
        )  # fmt: skip
    except Exception as problem:  # the model's own code may raise anything
        reason = str(problem).strip().splitlines()[0][:200]
        raise ModelError(
            _("{stem} cannot be exported ({type}: {reason}): choose another model").format(
                stem=file.stem, type=type(problem).__name__, reason=reason
            )
        ) from (problem)
    proto = program.model_proto
    del proto.graph.value_info[:]
    proto.doc_string, proto.producer_version = "", ""
    for node in proto.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]  # the exporter writes stack traces with local paths here
    if precision != "fp32":
        _shrink(proto, precision)
    if proto.ByteSize() < 2**31 - 2**20:
        onnx.save(proto, str(file))
    else:  # too large for one ONNX file
        onnx.save(proto, str(file), save_as_external_data=True, location=file.name + "_data")


def _shrink(proto: Any, precision: str, least: int = 4096) -> None:
    """Store each float32 weight with at least ``least`` values as float16, or as int8 with a scale for each row.

    The runtime converts them to float32 once, when it loads the graph.
    """
    from onnx import TensorProto, helper, numpy_helper

    widened = []
    for weight in list(proto.graph.initializer):
        if weight.data_type != TensorProto.FLOAT or int(np.prod(weight.dims)) < least:
            continue
        values = numpy_helper.to_array(weight)
        small = f"{weight.name}_{precision}"
        if precision == "fp16" or values.ndim < 2:
            stored = numpy_helper.from_array(values.astype(np.float16), small)
            node = helper.make_node("Cast", [small], [weight.name], to=TensorProto.FLOAT)
        else:
            rows = np.abs(values).max(axis=tuple(range(1, values.ndim)))
            scale = np.maximum(rows, 1e-12).astype(np.float32) / 127
            shape = (-1, *(1,) * (values.ndim - 1))
            stored = numpy_helper.from_array(np.rint(values / scale.reshape(shape)).astype(np.int8), small)
            proto.graph.initializer.append(numpy_helper.from_array(scale, f"{small}_scale"))
            node = helper.make_node("DequantizeLinear", [small, f"{small}_scale"], [weight.name], axis=0)
        proto.graph.initializer.remove(weight)
        proto.graph.initializer.append(stored)
        widened.append(node)
    for node in reversed(widened):
        proto.graph.node.insert(0, node)
