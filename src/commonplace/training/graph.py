"""An ONNX graph as a PyTorch module: the graph that the runtime searches with is trained and written back.

The towers of every bundle are ONNX graphs. So one interpreter trains BERT, ViT, ResNet, CLIP, SigLIP and the bundled
model, without the model's own code. An export is the old graph with new weights.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

from commonplace.errors import ModelError
from commonplace.i18n import _

__all__ = ["TrainableGraph"]

HEAVY = ("Conv", "Gemm", "MatMul")
TRAINED = {"Conv": (1, 2), "Gemm": (0, 1, 2), "MatMul": (0, 1), "LayerNormalization": (1, 2),
           "BatchNormalization": (1, 2), "Add": (0, 1), "Mul": (0, 1), "Gather": (0,), "PRelu": (1,)}  # fmt: skip
"""By operator: the positions of the inputs that are weights if they are constant."""
CHOICES = ("TopK", "ArgMax")  # no gradient passes through a discrete choice, so a classifier before it is not trained
MASKED = -1e4  # a constant with smaller values is an attention mask
LARGEST = 2**31 - 2**20  # bytes that one ONNX file can hold
LARGE = 4096  # a trained weight with at least this many values is stored in the file's own precision

Attributes = dict[str, Any]


class TrainableGraph(nn.Module):  # type: ignore[misc]
    """An ONNX file whose last ``layers`` are trainable. It can run from any of its values to any other.

    A layer is a matrix or a convolution. The depth of a weight is the number of layers on the longest path from it to
    ``output``, its own included: 1 for the last. A transformer block has four layers, an inverted residual three.
    ``layers`` = 0 freezes the graph. With ``rank`` > 0, large matrices stay frozen, and a product of two matrices of
    that rank is added to each (LoRA, Hu et al. 2021). ``dropout``: the share of a trained layer's inputs that is set
    to zero during training, in [0, 1).

    Raises ModelError if the file cannot be read or holds an operator that is not supported.
    """

    def __init__(self, path: Path, output: str, layers: int, rank: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        try:
            self._proto = onnx.load(str(path))
        except Exception as problem:  # protobuf's own exception classes
            raise ModelError(
                _("the model file {path} cannot be read ({problem}): install the model again").format(
                    path=path, problem=problem
                )
            ) from problem
        graph = self._proto.graph
        if strange := sorted({node.op_type for node in graph.node} - set(OPERATORS)):
            raise ModelError(
                _("{name} uses operators that cannot be trained ({names}): choose another").format(
                    name=path.name, names=", ".join(strange)
                )
            )
        self._nodes = list(graph.node)
        self._attributes = [{a.name: helper.get_attribute_value(a) for a in node.attribute} for node in self._nodes]
        self._maker = {name: i for i, node in enumerate(self._nodes) for name in node.output}
        self._constants: dict[str, Tensor] = {
            initializer.name: _tensor(initializer) for initializer in graph.initializer
        }
        self._fold()
        self._plans: dict[tuple[frozenset[str], tuple[str, ...]], list[int]] = {}
        self.inputs = [port.name for port in graph.input if port.name not in self._constants]
        if output not in self._maker:
            raise ModelError(
                _("{name} has no output {output}: install the model again").format(name=path.name, output=output)
            )
        self.output, self.dropout = output, dropout
        self.depth = self._depths(output)  # by node: layers on the longest path to the output, its own included
        self._half = any(initializer.data_type == TensorProto.FLOAT16 for initializer in graph.initializer)
        self.weights = nn.ParameterDict()
        self.thin = nn.ModuleDict()
        for i, name in self._weights(layers):
            value, key = self._constants[name].float(), _key(name)
            if key in self.weights or key in self.thin:
                continue
            matrix = value.ndim == 2 and min(value.shape) > rank and self._nodes[i].op_type in HEAVY
            if rank and matrix:
                self.thin[key] = Thin(value, rank)
            elif not rank:
                self.weights[key] = nn.Parameter(value)
        self._frozen = self._untrained()

    # --- reading -------------------------------------------------------------------------------------------------

    def _fold(self) -> None:
        """Compute all values that depend on constants alone. So weights stored in 8 or 16 bits become float weights."""
        self._folded: set[int] = set()
        for i, node in enumerate(self._nodes):
            if node.op_type in ("Shape", "Range") and not all(name in self._constants for name in node.input):
                continue
            if all(not name or name in self._constants for name in node.input):
                arguments = [self._constants[name] if name else None for name in node.input]
                for name, value in zip(node.output, self._run(i, arguments), strict=False):
                    self._constants[name] = value
                self._folded.add(i)

    def _depths(self, output: str) -> list[int]:
        """Return the depth of each node; -1 if the output does not depend on it, or only through a discrete choice."""
        depth = [-1] * len(self._nodes)
        reach = {output: 0}
        for i in reversed(range(len(self._nodes))):
            node = self._nodes[i]
            below = max((reach.get(name, -1) for name in node.output), default=-1)
            if below < 0 or i in self._folded:
                continue
            heavy = node.op_type in HEAVY and any(
                name in self._constants and self._constants[name].ndim >= 2 for name in node.input
            )
            depth[i] = below + heavy
            if node.op_type not in CHOICES:
                for name in node.input:
                    reach[name] = max(reach.get(name, -1), depth[i])
        return depth

    def _weights(self, layers: int) -> Iterable[tuple[int, str]]:
        """Yield the node index and the name of each constant that is trained."""
        for i, node in enumerate(self._nodes):
            if not 0 <= self.depth[i] <= layers or not layers:
                continue
            for at in TRAINED.get(node.op_type, ()):
                name = node.input[at] if at < len(node.input) else ""
                value = self._constants.get(name)
                if value is not None and value.is_floating_point() and value.numel() > 1 and value.min() > MASKED:
                    yield i, name

    def _untrained(self) -> list[bool]:
        """Return for each node whether its output is independent of all trained weights."""
        moved = {name for name in self._constants if self._trained(name)}
        trainable = []
        for node in self._nodes:
            touched = any(name in moved for name in node.input)
            moved |= set(node.output) if touched else set()
            trainable.append(not touched)
        return trainable

    def frontier(self, outputs: Sequence[str], deep: int = 0) -> list[str]:
        """Return the outputs of frozen layers that the trained layers, or ``outputs``, depend on.

        With these values and the shapes of the inputs, the frozen layers need not run again. Nodes of a depth below
        ``deep`` count as trained.
        """
        laden: set[str] = set()  # depends on a layer
        for node in self._nodes:
            heavy = node.op_type in HEAVY and any(name in self._constants for name in node.input)
            if heavy or any(name in laden for name in node.input):
                laden |= set(node.output)
        frontier: dict[str, None] = {}
        visited, waiting = set(), list(outputs)
        while waiting:
            name = waiting.pop()
            if name in visited or name in self._constants or name not in self._maker:
                continue
            visited.add(name)
            i = self._maker[name]
            ready = self._frozen[i] and self.depth[i] >= deep
            if ready and name in laden and self._nodes[i].op_type != "Shape":
                frontier[name] = None
            else:
                waiting += self._nodes[i].input
        return sorted(frontier, key=lambda name: self._maker[name])

    # --- running -------------------------------------------------------------------------------------------------

    def forward(self, feeds: Mapping[str, Tensor], outputs: Sequence[str]) -> list[Tensor]:
        """Return the values named in ``outputs``, computed from ``feeds``: inputs or intermediate values, by name."""
        values: dict[str, Tensor] = dict(feeds)
        for i in self._plan(frozenset(feeds), tuple(outputs)):
            node = self._nodes[i]
            ready = [self._value(name, values) if name else None for name in node.input]
            if self.dropout and self.training and node.op_type in HEAVY and self._trained(node.input[1]):
                ready[0] = F.dropout(ready[0], self.dropout)
            values.update(zip(node.output, self._run(i, ready), strict=False))
        return [values[name] for name in outputs]

    def _trained(self, name: str) -> bool:
        return _key(name) in self.weights or _key(name) in self.thin

    def _value(self, name: str, values: Mapping[str, Tensor]) -> Tensor:
        if name in values:
            return values[name]
        key = _key(name)
        if key in self.weights:
            return self.weights[key]
        return self.thin[key]() if key in self.thin else self._constants[name]

    def _plan(self, fed: frozenset[str], outputs: tuple[str, ...]) -> list[int]:
        """Return the nodes to run, in order."""
        if (fed, outputs) not in self._plans:
            needed: set[int] = set()
            waiting = list(outputs)
            while waiting:
                name = waiting.pop()
                if name in fed or name in self._constants or not name:
                    continue
                if name not in self._maker:
                    raise KeyError(f"{name} is neither an input nor computed by the graph")
                if self._maker[name] not in needed:
                    needed.add(self._maker[name])
                    waiting += self._nodes[self._maker[name]].input
            self._plans[fed, outputs] = sorted(needed)
        return self._plans[fed, outputs]

    def _run(self, i: int, arguments: list[Tensor | None]) -> Sequence[Tensor]:
        away = next((tensor.device for tensor in arguments if tensor is not None and tensor.device.type != "cpu"), None)
        if away is not None and self._nodes[i].op_type not in ("Reshape", "Expand", "Slice", "Tile"):
            # Shapes are computed on the CPU, so a node may have inputs on both devices.
            arguments = [None if tensor is None else tensor.to(away) for tensor in arguments]
        outputs = OPERATORS[self._nodes[i].op_type](self._attributes[i], *arguments)
        return outputs if isinstance(outputs, tuple) else (outputs,)

    def _apply(self, move: Callable[[Tensor], Tensor], recurse: bool = True) -> TrainableGraph:
        """Move the constants together with the weights (``to()``). Shapes stay on the CPU, where they are computed."""
        for name, value in self._constants.items():
            if value.is_floating_point() or value.numel() > LARGE:
                self._constants[name] = move(value)
        super()._apply(move, recurse)
        return self

    # --- writing -------------------------------------------------------------------------------------------------

    def trained(self) -> dict[str, Tensor]:
        """Return the current values of the trained weights, by their names in the file."""
        names = {_key(name): name for name in self._constants}
        values = {names[key]: weight.detach() for key, weight in self.weights.items()}
        return values | {names[key]: thin().detach() for key, thin in self.thin.items()}

    def save(self, path: Path, outputs: Sequence[str] | None = None, others: Sequence[TrainableGraph] = ()) -> None:
        """Write the file to ``path`` with the trained weights; everything else stays the same.

        ``outputs`` replaces the outputs of the file by these values. ``others`` are graphs of the same file, whose
        trained weights are written too. If the file has float16 weights, large trained weights become float16.
        """
        proto = onnx.ModelProto()
        proto.CopyFrom(self._proto)
        graph = proto.graph
        every = {name: value for part in (self, *others) for name, value in part.trained().items()}
        trained = {name: value.float().cpu().numpy() for name, value in every.items()}
        nodes = [node for node in graph.node if not set(node.output) & set(trained)]
        casts, initializers = [], [initializer for initializer in graph.initializer if initializer.name not in trained]
        taken = {initializer.name for initializer in graph.initializer}
        for name, value in trained.items():
            if self._half and value.size >= LARGE:
                small = next(
                    candidate
                    for candidate in (f"{name}.half{n or ''}" for n in itertools.count())
                    if candidate not in taken
                )
                initializers.append(numpy_helper.from_array(value.astype(np.float16), small))
                casts.append(helper.make_node("Cast", [small], [name], to=TensorProto.FLOAT))
            else:
                initializers.append(numpy_helper.from_array(value.astype(np.float32), name))
        if outputs is not None:
            del graph.output[:]
            graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs)
        used = {port.name for port in graph.output}
        alive = []
        for node in reversed([*casts, *nodes]):
            if used & set(node.output):
                alive.append(node)
                used |= set(node.input)
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(reversed(alive))
        graph.initializer.extend(initializer for initializer in initializers if initializer.name in used)
        for unused_port in [port for port in graph.input if outputs is not None and port.name not in used]:
            graph.input.remove(unused_port)
        if proto.ByteSize() < LARGEST:
            onnx.save(proto, str(path))
        else:
            onnx.save(proto, str(path), save_as_external_data=True, location=path.name + "_data")


class Thin(nn.Module):  # type: ignore[misc]
    """A frozen matrix (N, M) plus a trained product of (N, rank) and (rank, M), which is zero at the start (LoRA)."""

    def __init__(self, value: Tensor, rank: int) -> None:
        super().__init__()
        self.frozen = nn.Buffer(value)
        self.down = nn.Parameter(torch.randn(rank, value.shape[1]) * value.shape[1] ** -0.5)
        self.up = nn.Parameter(torch.zeros(value.shape[0], rank))

    def forward(self) -> Tensor:
        return self.frozen + self.up @ self.down  # (N, M)


def _key(name: str) -> str:
    return name.replace(".", "/")  # PyTorch allows no dots in parameter names


def _tensor(proto: Any) -> Tensor:
    return torch.from_numpy(np.array(numpy_helper.to_array(proto)))


# --- the operators: attributes, then inputs -----------------------------------------------------------------------


def _ints(value: Tensor | Sequence[int]) -> list[int]:
    numbers = value.reshape(-1).tolist() if isinstance(value, Tensor) else value
    return [int(number) for number in numbers]


def _axes(a: Attributes, axes: Tensor | None) -> list[int] | None:
    """Return the axes: an input in newer files, an attribute in older ones."""
    if axes is not None:
        return _ints(axes)
    return _ints(a["axes"]) if "axes" in a else None


def _reduce(how: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def operator(a: Attributes, x: Tensor, reduced_axes: Tensor | None = None) -> Tensor:
        axes = _axes(a, reduced_axes)
        if not axes and a.get("noop_with_empty_axes"):
            return x
        return how(x, dim=axes or list(range(x.ndim)), keepdim=bool(a.get("keepdims", 1)))

    return operator


def _padded(a: Attributes, x: Tensor, fill: float) -> tuple[Tensor, list[int] | int]:
    """Return ``x`` after any asymmetric padding, and the symmetric padding that the operator still has to apply."""
    if a.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise ModelError(
            _("its convolutions pad by themselves (auto_pad), which cannot be trained: choose another model")
        )
    pads = _ints(a.get("pads", [0] * (2 * (x.ndim - 2))))
    half = len(pads) // 2
    if pads[:half] == pads[half:]:
        return x, pads[:half]
    sides = [pads[at] for axis in reversed(range(half)) for at in (axis, axis + half)]
    return F.pad(x, sides, value=fill), 0


def _conv(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    x, padding = _padded(a, x, 0.0)
    run = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}[x.ndim]
    strides, dilations = a.get("strides", 1), a.get("dilations", 1)
    return run(x, weight, bias, strides, padding, dilations, a.get("group", 1))


def _max_pool(a: Attributes, x: Tensor) -> Tensor:
    x, padding = _padded(a, x, float("-inf"))
    return F.max_pool2d(x, a["kernel_shape"], a.get("strides", 1), padding, a.get("dilations", 1),
                        bool(a.get("ceil_mode", 0)))  # fmt: skip


def _average_pool(a: Attributes, x: Tensor) -> Tensor:
    x, padding = _padded(a, x, 0.0)
    return F.avg_pool2d(x, a["kernel_shape"], a.get("strides", 1), padding, bool(a.get("ceil_mode", 0)),
                        bool(a.get("count_include_pad", 0)))  # fmt: skip


def _batch_norm(a: Attributes, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    return F.batch_norm(x, mean, variance, scale, bias, False, 0.0, a.get("epsilon", 1e-5))


def _layer_norm(a: Attributes, x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
    axis = a.get("axis", -1) % x.ndim
    return F.layer_norm(x, x.shape[axis:], scale, bias, a.get("epsilon", 1e-5))


def _gemm(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    x = x.T if a.get("transA") else x
    weight = weight if a.get("transB") else weight.T
    product = F.linear(x * a["alpha"] if a.get("alpha", 1.0) != 1.0 else x, weight)
    return product if bias is None else product + bias * a.get("beta", 1.0)


def _cast(a: Attributes, x: Tensor) -> Tensor:
    return x.to(KINDS[a["to"]])


def _slice(a: Attributes, x: Tensor, *bounds: Tensor | None) -> Tensor:
    starts, ends = _ints(bounds[0] if bounds else a["starts"]), _ints(bounds[1] if bounds else a["ends"])
    third = bounds[2] if len(bounds) > 2 else None
    axes = _ints(third) if third is not None else _ints(a.get("axes", range(len(starts))))
    steps = _ints(bounds[3]) if len(bounds) > 3 and bounds[3] is not None else [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = x.shape[axis]
        first, last, stride = slice(start, end if end > -size - 1 or step > 0 else None, step).indices(size)
        if stride > 0:
            x = x.narrow(axis, first, max(last - first, 0))
            x = x[(slice(None),) * (axis % x.ndim) + (slice(None, None, stride),)] if stride > 1 else x
        else:
            x = x.index_select(axis, torch.arange(first, last, stride, device=x.device))
    return x


def _reshape(a: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    sizes = _ints(shape)
    if not a.get("allowzero"):
        sizes = [x.shape[at] if size == 0 else size for at, size in enumerate(sizes)]
    return x.reshape(sizes)


def _squeeze(a: Attributes, x: Tensor, removed_axes: Tensor | None = None) -> Tensor:
    axes = _axes(a, removed_axes)
    return x.squeeze() if axes is None else x.squeeze(axes)


def _unsqueeze(a: Attributes, x: Tensor, added_axes: Tensor | None = None) -> Tensor:
    axes = _axes(a, added_axes) or []
    rank = x.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _split(a: Attributes, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    axis = a.get("axis", 0)
    if sizes is not None or "split" in a:
        return tuple(x.split(_ints(sizes if sizes is not None else a["split"]), axis))
    return tuple(x.chunk(a["num_outputs"], axis))


def _gather(a: Attributes, x: Tensor, at: Tensor) -> Tensor:
    axis = a.get("axis", 0) % x.ndim
    at = torch.where(at < 0, at + x.shape[axis], at)
    if axis == 0 and at.ndim and x.is_floating_point() and x.ndim == 2:
        return F.embedding(at, x)
    rows = x.index_select(axis, at.reshape(-1))
    return rows.reshape(*x.shape[:axis], *at.shape, *x.shape[axis + 1 :])


def _gather_elements(a: Attributes, x: Tensor, at: Tensor) -> Tensor:
    axis = a.get("axis", 0)
    return x.gather(axis, torch.where(at < 0, at + x.shape[axis], at))


def _gather_nd(a: Attributes, x: Tensor, at: Tensor) -> Tensor:
    shared = a.get("batch_dims", 0)
    grid = [torch.arange(x.shape[d], device=x.device).view(*(-1 if d == e else 1 for e in range(at.ndim - 1)))
           for d in range(shared)]  # fmt: skip
    return x[(*grid, *at.unbind(-1))]


def _pad(a: Attributes, x: Tensor, *arguments: Tensor | None) -> Tensor:
    pads = _ints(arguments[0] if arguments and arguments[0] is not None else a["pads"])
    half = len(pads) // 2
    fill = float(arguments[1]) if len(arguments) > 1 and arguments[1] is not None else a.get("value", 0.0)
    mode = a.get("mode", b"constant").decode()
    sides = [pads[at] for axis in reversed(range(half)) for at in (axis, axis + half)]
    return (
        F.pad(x, sides, value=fill)
        if mode == "constant"
        else F.pad(x, sides, mode={"edge": "replicate"}.get(mode, mode))
    )


def _constant(a: Attributes) -> Tensor:
    if "value" in a:
        return _tensor(a["value"])
    return torch.tensor(next(iter(a.values())))


def _constant_of_shape(a: Attributes, shape: Tensor) -> Tensor:
    fill = _tensor(a["value"]) if "value" in a else torch.zeros(1)
    return fill.reshape(1).expand(_ints(shape)).clone()


def _shape(a: Attributes, x: Tensor) -> Tensor:
    return torch.tensor(list(x.shape)[a.get("start", 0) : a.get("end")], dtype=torch.int64)


def _top_k(a: Attributes, x: Tensor, k: Tensor) -> tuple[Tensor, ...]:
    best = x.detach().topk(int(k), a.get("axis", -1), bool(a.get("largest", 1)))
    return best.values, best.indices


def _dequantize(a: Attributes, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    shape = [-1 if axis == a.get("axis", 1) % max(x.ndim, 1) else 1 for axis in range(x.ndim)]
    moved = x.float() if zero is None else x.float() - zero.float().reshape(shape if zero.ndim else ())
    return moved * scale.reshape(shape if scale.ndim else ())


def _cumsum(a: Attributes, x: Tensor, axis: Tensor) -> Tensor:
    if a.get("exclusive") or a.get("reverse"):
        raise ModelError(_("its graph sums backwards (CumSum), which cannot be trained: choose another model"))
    return x.cumsum(int(axis))


def _expand(a: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    return x.expand(torch.broadcast_shapes(x.shape, _ints(shape)))


def _clip(a: Attributes, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    least = float(low) if low is not None else a.get("min")
    most = float(high) if high is not None else a.get("max")
    return x if least is None and most is None else x.clamp(least, most)


def _divide(a: Attributes, x: Tensor, y: Tensor) -> Tensor:
    return x / y if x.is_floating_point() else torch.div(x, y, rounding_mode="trunc")


def _binary(how: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda a, x, y: how(x, y)


def _unary(how: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda a, x: how(x)


def _many(how: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def operator(a: Attributes, x: Tensor, *more: Tensor) -> Tensor:
        for operand in more:
            x = how(x, operand)
        return x

    return operator


KINDS = {
    TensorProto.FLOAT: torch.float32, TensorProto.FLOAT16: torch.float16, TensorProto.DOUBLE: torch.float64,
    TensorProto.BFLOAT16: torch.bfloat16, TensorProto.INT8: torch.int8, TensorProto.UINT8: torch.uint8,
    TensorProto.INT32: torch.int32, TensorProto.INT64: torch.int64, TensorProto.BOOL: torch.bool,
}  # fmt: skip
OPERATORS: dict[str, Callable[..., Any]] = {
    "Abs": _unary(torch.abs),
    "Add": _binary(torch.add),
    "And": _binary(torch.logical_and),
    "ArgMax": lambda a, x: x.argmax(a.get("axis", 0), bool(a.get("keepdims", 1))),
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "CastLike": lambda a, x, y: x.to(y.dtype),
    "Clip": _clip,
    "Concat": lambda a, *x: torch.cat(x, a["axis"]),
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Conv": _conv,
    "Cos": _unary(torch.cos),
    "CumSum": _cumsum,
    "DequantizeLinear": _dequantize,
    "Div": _divide,
    "Dropout": lambda a, x, *more: x,
    "Einsum": lambda a, *x: torch.einsum(a["equation"].decode(), *x),
    "Equal": _binary(torch.eq),
    "Erf": _unary(torch.erf),
    "Exp": _unary(torch.exp),
    "Expand": _expand,
    "Flatten": lambda a, x: x.reshape(x.shape[: a.get("axis", 1)].numel(), -1),
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "Gelu": lambda a, x: F.gelu(x, approximate=a.get("approximate", b"none").decode()),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda a, x: x.mean(list(range(2, x.ndim)), keepdim=True),
    "Greater": _binary(torch.gt),
    "GreaterOrEqual": _binary(torch.ge),
    "HardSigmoid": lambda a, x: (a.get("alpha", 0.2) * x + a.get("beta", 0.5)).clamp(0, 1),
    "HardSwish": _unary(F.hardswish),
    "Identity": lambda a, x: x,
    "IsNaN": _unary(torch.isnan),
    "LayerNormalization": _layer_norm,
    "LeakyRelu": lambda a, x: F.leaky_relu(x, a.get("alpha", 0.01)),
    "Less": _binary(torch.lt),
    "LessOrEqual": _binary(torch.le),
    "Log": _unary(torch.log),
    "LpNormalization": lambda a, x: F.normalize(x, p=a.get("p", 2), dim=a.get("axis", -1)),
    "MatMul": _binary(torch.matmul),
    "Max": _many(torch.maximum),
    "MaxPool": _max_pool,
    "Mean": lambda a, *x: sum(x) / len(x),
    "Min": _many(torch.minimum),
    "Mod": lambda a, x, y: torch.fmod(x, y) if a.get("fmod") else torch.remainder(x, y),
    "Mul": _binary(torch.mul),
    "Neg": _unary(torch.neg),
    "Not": _unary(torch.logical_not),
    "Or": _binary(torch.logical_or),
    "PRelu": lambda a, x, slope: torch.where(x < 0, slope * x, x),
    "Pad": _pad,
    "Pow": lambda a, x, y: torch.pow(x, y.to(x.dtype)),
    "Range": lambda a, start, end, step: torch.arange(start.item(), end.item(), step.item(), dtype=start.dtype),
    "Reciprocal": _unary(torch.reciprocal),
    "ReduceL2": _reduce(torch.linalg.vector_norm),
    "ReduceMax": _reduce(torch.amax),
    "ReduceMean": _reduce(torch.mean),
    "ReduceMin": _reduce(torch.amin),
    "ReduceSum": _reduce(torch.sum),
    "Relu": _unary(F.relu),
    "Reshape": _reshape,
    "Shape": _shape,
    "Sigmoid": _unary(torch.sigmoid),
    "Sign": _unary(torch.sign),
    "Sin": _unary(torch.sin),
    "Slice": _slice,
    "Softmax": lambda a, x: x.softmax(a.get("axis", -1)),
    "Split": _split,
    "Sqrt": _unary(torch.sqrt),
    "Squeeze": _squeeze,
    "Sub": _binary(torch.sub),
    "Sum": _many(torch.add),
    "Tanh": _unary(torch.tanh),
    "Tile": lambda a, x, times: x.repeat(_ints(times)),
    "TopK": _top_k,
    "Transpose": lambda a, x: x.permute(a.get("perm", list(reversed(range(x.ndim))))),
    "Trilu": lambda a, x, k=None: (torch.triu if a.get("upper", 1) else torch.tril)(x, 0 if k is None else int(k)),
    "Unsqueeze": _unsqueeze,
    "Where": lambda a, condition, x, y: torch.where(condition, x, y),
}  # fmt: skip
"""The operators in tower graphs that transformers, optimum and `commonplace models export` write."""
