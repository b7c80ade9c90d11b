"""A bundle's towers in PyTorch with trainable last layers, and the cached outputs of their frozen layers.

The frozen layers run once over every picture and caption, on the runtime that serves the model. Their outputs are
stored on disk. So each training step runs the trained layers only, which is fast enough on a CPU.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from commonplace.encoders.bundle import Bundle, TextTower
from commonplace.encoders.runtime import Graph as Runtime
from commonplace.errors import ReadError, TrainingError
from commonplace.i18n import _
from commonplace.training.graph import TrainableGraph

__all__ = ["ALL", "Captions", "Pictures", "Rows", "Shown", "Texts", "trainable_parameters"]

ALL = 1 << 16
"""More layers than any tower has: all layers."""
BATCH_TEXTS, BATCH_PICTURES = 64, 16
HALF = 65504.0  # the largest float16 number
GRID = 4  # the decoder sees a map as GRID x GRID parts: more cost time and gained nothing

Tick = Callable[[int], object]
Rows = Sequence[int] | NDArray[np.int64]


# --- texts ----------------------------------------------------------------------------------------------------------


@dataclass
class Captions:
    """Captions as token ids, and the frozen layers' outputs for each token.

    ``ids``: an array (tokens,) for each caption. ``starts`` (captions + 1,): the first row of each caption in
    ``values``, which holds float16 arrays (all tokens, ...) by name.
    """

    ids: list[NDArray[np.int64]]
    starts: NDArray[np.int64]
    values: dict[str, NDArray[np.float16]]

    def batch(self, rows: Rows, pad: int, least: int, left: bool) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return ids and mask (rows, tokens), and the frozen layers' outputs (rows, tokens, ...) by name, padded."""
        width = max(least, max(len(self.ids[row]) for row in rows))
        ids = np.full((len(rows), width), pad, np.int64)
        mask = np.zeros((len(rows), width), np.int64)
        values = {
            name: np.zeros((len(rows), width, *sample.shape[1:]), np.float32) for name, sample in self.values.items()
        }
        for at, row in enumerate(rows):
            size, start = len(self.ids[row]), int(self.starts[row])
            place = slice(width - size, width) if left else slice(size)
            ids[at, place], mask[at, place] = self.ids[row], 1
            for name, array in self.values.items():
                values[name][at, place] = array[start : start + size]
        return torch.from_numpy(ids), torch.from_numpy(mask), {k: torch.from_numpy(v) for k, v in values.items()}


class Texts(nn.Module):  # type: ignore[misc]
    """The text tower with its last ``layers`` trainable: maps captions to unit rows (B, D).

    Raises TrainingError if the bundle has no text tower, or one on a server.
    """

    def __init__(self, bundle: Bundle, layers: int, rank: int = 0) -> None:
        super().__init__()
        if not isinstance(bundle.text, TextTower):
            raise TrainingError(
                _("the model {name} has no text tower that can be trained: choose another").format(name=bundle.name)
            )
        self.tower, self.spec = bundle.text, bundle.spec["towers"]["text"]
        self.file = bundle.folder / self.spec["file"]
        self.digest = bundle.spec["checksums"][self.spec["file"]]
        self.graph = TrainableGraph(self.file, self.spec["output"], layers, rank)
        self.layers = min(layers, max(self.graph.depth))
        head = self.spec.get("head")
        self.head = TrainableGraph(bundle.folder / head["file"], head["output"], ALL if layers else 0) if head else None
        self.left = self.spec.get("pad_side") == "left"
        self.least = int(
            self.spec.get("pad_to", 0)
        )  # > 0: a fixed number of tokens, padding included; nothing is cached
        self.frontier = [] if self.least else _handed_on(self.graph, [self.graph.output], self._probe, 2)

    def _probe(self, batch: int) -> dict[str, Tensor]:
        ids = torch.ones(batch, 8 + batch, dtype=torch.int64)
        return self._inputs(ids, ids)

    def _inputs(self, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        names, feeds = self.spec["inputs"], {}
        for kind, value in (("ids", ids), ("mask", mask), ("types", torch.zeros_like(ids))):
            if names.get(kind):
                feeds[names[kind]] = value
        return feeds

    def forward(self, ids: Tensor, mask: Tensor, values: Mapping[str, Tensor]) -> Tensor:
        (states,) = self.graph({**self._inputs(ids, mask), **values}, [self.graph.output])  # (B, T, D), or (B, D)
        x = F.normalize(pooled(states.float(), mask, self.spec["pooling"]), dim=-1)  # (B, D)
        if self.head is not None:
            (x,) = self.head({self.spec["head"]["input"]: x}, [self.head.output])
        return F.normalize(x.float(), dim=-1)

    def freeze(self, captions: Sequence[str], folder: Path, tick: Tick = lambda _: None) -> Captions:
        """Return the captions with the frozen layers' outputs, which are cached in ``folder``."""
        ids = [np.asarray(ids_, np.int64) for ids_ in self.tower.ids(captions, "query")]
        starts = np.cumsum([0, *map(len, ids)])
        if not self.frontier:
            tick(len(ids))
            return Captions(ids, starts, {})

        def make(part: Path, prefix: Runtime) -> None:
            arrays: dict[int, Any] = {}
            order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
            for first in range(0, len(ids), BATCH_TEXTS):
                rows = order[first : first + BATCH_TEXTS]
                tokens, mask, _ = Captions(ids, starts, {}).batch(rows, self.spec["pad_id"], self.least, self.left)
                feeds = {k: v.numpy() for k, v in self._inputs(tokens, mask).items() if k in prefix.inputs}
                for at, output in enumerate(prefix.several(feeds, self.frontier)):
                    if at not in arrays:
                        shape = (int(starts[-1]), *output.shape[2:])
                        arrays[at] = np.lib.format.open_memmap(part / f"{at}.npy", "w+", np.float16, shape)
                    for values, row in zip(output, rows, strict=True):
                        size = len(ids[row])
                        arrays[at][starts[row] : starts[row] + size] = values[-size:] if self.left else values[:size]
                tick(len(rows))

        place = _kept(folder, "texts", [self.digest, *captions], self.graph, self.frontier, make)
        return Captions(ids, starts, _arrays(place, self.frontier))


def pooled(states: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """Return the pooled row of each text (B, D), from its tokens' states (B, T, D), as the runtime pools."""
    if pooling == "none":
        return states
    every = torch.arange(len(states), device=states.device)
    if pooling == "cls":
        return states[every, mask.argmax(1)]
    if pooling == "last":
        return states[every, mask.shape[1] - 1 - mask.flip(1).argmax(1)]
    if pooling == "max":
        return states.masked_fill(mask[..., None] == 0, float("-inf")).amax(1)
    weights = mask[..., None].to(states.dtype)  # (B, T, 1)
    return (states * weights).sum(1) / weights.sum(1)


# --- pictures -------------------------------------------------------------------------------------------------------


@dataclass
class Shown:
    """The frozen layers' outputs for pictures: float16 arrays (views, pictures, ...) by name.

    Without frozen layers these are the pixels, uint8. ``bad``: the rows of pictures that could not be decoded, with
    the reason.
    """

    values: dict[str, NDArray[Any]]
    bad: dict[int, str]

    def batch(self, rows: Rows, views: Rows) -> dict[str, Tensor]:
        """Return the outputs (rows, ...) by name, of each row in the view of ``views``."""
        batch = {}
        for name, values in self.values.items():
            value = torch.from_numpy(np.stack([values[v, r] for v, r in zip(views, rows, strict=True)]))
            batch[name] = value if value.dtype == torch.uint8 else value.float()
        return batch


class Pictures(nn.Module):  # type: ignore[misc]
    """The image tower with its last ``layers`` trainable, and its head.

    It maps the cached outputs of the frozen layers to unit rows (B, D) and to the picture's tokens (B, P, C). The head
    is trained with ``dropout``. In ``forward``, ``mix`` (other pictures, shares) interpolates each picture's features
    with those of another (latent mixup). Raises TrainingError if the bundle has no image tower.
    """

    def __init__(self, bundle: Bundle, layers: int, rank: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        if bundle.image is None:
            raise TrainingError(_("the model {name} has no image tower: choose another").format(name=bundle.name))
        self.tower, self.spec = bundle.image, bundle.spec["towers"]["image"]
        self.file = bundle.folder / self.spec["file"]
        self.digest = bundle.spec["checksums"][self.spec["file"]]
        self.graph = TrainableGraph(self.file, self.spec["output"], layers, rank)
        self.layers = min(layers, max(self.graph.depth))
        head = self.spec.get("head")
        self.head = TrainableGraph(bundle.folder / head["file"], head["output"], ALL, dropout=dropout) if head else None
        height, width = self.spec["size"]
        self.shape = (3, height, width)
        self.token_values = self._tokens()
        self.frontier = _handed_on(
            self.graph,
            [self.graph.output, *self.token_values],
            lambda B: {self.spec["input"]: torch.zeros(B, *self.shape)},
            1,
        )

    def _tokens(self) -> list[str]:
        """Return the names of the values that describe parts of the picture: the last tokens, or the last maps."""
        with torch.no_grad():
            names = list(dict.fromkeys(name for node in self.graph._nodes for name in node.output))
            plan = [n for n in names if n not in self.graph._constants and self.graph.depth[self.graph._maker[n]] >= 0]
            feeds = {self.spec["input"]: torch.zeros(2, *self.shape)}
            shapes = {n: v.shape for n, v in zip(plan, self.graph(feeds, plan), strict=True) if v.is_floating_point()}
        rows = [n for n, shape in shapes.items() if len(shape) == 3 and shape[0] == 2 and shape[1] > 1]
        if rows:
            return rows[-1:]
        maps = [n for n, shape in shapes.items() if len(shape) == 4 and shape[2] * shape[3] > 1]
        last = [n for n in maps if self.graph.depth[self.graph._maker[n]] == 0 and not self._feeds(n, set(maps))]
        if not (last or maps):
            raise TrainingError(
                _("the image tower has no tokens or feature maps for the caption decoder: choose another")
            )
        return last or maps[-1:]

    def _feeds(self, name: str, others: set[str]) -> bool:
        return any(name in node.input and set(node.output) & others for node in self.graph._nodes)

    def forward(
        self, values: Mapping[str, Tensor], tokens: bool = True, mix: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        B = len(next(iter(values.values())))
        feeds = dict(values)
        pixels = feeds.get(self.spec["input"])
        if pixels is None:  # only its shape is used
            feeds[self.spec["input"]] = next(iter(values.values())).new_empty(1).expand(B, *self.shape)
        else:
            mean, std = (pixels.new_tensor(self.spec[name], dtype=torch.float32) for name in ("mean", "std"))
            feeds[self.spec["input"]] = ((pixels.float() * self.spec["scale"] - mean) / std).permute(0, 3, 1, 2)
        x, *stages = self.graph(feeds, [self.graph.output, *(self.token_values if tokens else ())])
        pooling = self.spec.get("pooling", "none")
        x = x.mean(1) if pooling == "mean" else x[:, 0] if pooling == "cls" else x.flatten(1)
        if mix is not None:
            x = torch.lerp(x.float()[mix[0]], x.float(), mix[1])  # (B, F)
        if self.head is not None:
            (x,) = self.head({self.spec["head"]["input"]: x}, [self.head.output])
        stages = [_parts(stage) for stage in stages]  # (B, P, C)
        return F.normalize(x.float(), dim=-1), stages  # (B, D)

    def freeze(
        self,
        names: Sequence[str],
        load: Callable[[int], Sequence[NDArray[np.uint8]]],
        views: int,
        folder: Path,
        tick: Tick = lambda _: None,
    ) -> Shown:
        """Return the frozen layers' outputs for pictures, which are cached in ``folder`` under ``names`` (digests).

        ``load(row)`` returns a picture's views (height, width, 3), or raises ReadError.
        """
        frontier = self.frontier or [self.spec["input"]]
        nothing = [np.zeros((self.shape[1], self.shape[2], 3), np.uint8)] * views

        def make(part: Path, prefix: Runtime | None) -> None:
            arrays: dict[int, Any] = {}
            bad: dict[int, str] = {}

            def loaded_or_nothing(row: int) -> Sequence[NDArray[np.uint8]]:
                try:
                    return load(row)
                except ReadError as problem:
                    bad[row] = str(problem)
                    return nothing

            for first in range(0, len(names), BATCH_PICTURES):
                rows = range(first, min(first + BATCH_PICTURES, len(names)))
                loaded = [loaded_or_nothing(row) for row in rows]
                for view in range(views):
                    pixels = np.stack([self.tower.fit(picture[view]) for picture in loaded])
                    feeds = {self.spec["input"]: pixels}
                    outputs: list[NDArray[Any]] = [*prefix.several(feeds, frontier)] if prefix else [pixels]
                    for at, value in enumerate(outputs):
                        if at not in arrays:
                            kind = np.float16 if prefix else np.uint8
                            shape = (views, len(names), *value.shape[1:])
                            arrays[at] = np.lib.format.open_memmap(part / f"{at}.npy", "w+", kind, shape)
                        arrays[at][view, rows.start : rows.stop] = np.clip(value, -HALF, HALF) if prefix else value
                tick(len(rows))
            (part / "bad.json").write_text(json.dumps(bad), encoding="utf-8")

        key = [self.digest, str(views), *names]
        place = _kept(folder, "pictures", key, self.graph, self.frontier, make, self.tower.normalise_inside)
        bad = json.loads((place / "bad.json").read_text(encoding="utf-8"))
        return Shown(_arrays(place, frontier), {int(row): reason for row, reason in bad.items()})


def _parts(value: Tensor) -> Tensor:
    """Return tokens (B, P, C) unchanged, or a map (B, C, H, W) as tokens: the means of at most GRID x GRID parts."""
    if value.ndim == 3:
        return value
    height, width = (min(GRID, side) for side in value.shape[2:])
    return F.adaptive_avg_pool2d(value, (height, width)).flatten(2).transpose(1, 2)


def _handed_on(
    graph: TrainableGraph, outputs: Sequence[str], probe: Callable[[int], dict[str, Tensor]], free: int
) -> list[str]:
    """Return the names of the values nearest to the trained layers that can be cached; empty if there are none.

    A value can be cached for each picture (B, ...) or token (B, T, ...) if only the first ``free`` dimensions of its
    shape vary.
    """
    for deep in range(max(graph.depth) + 1):
        names = graph.frontier(outputs, deep)
        shapes = []
        for batch in (2, 3):
            feeds = probe(batch)
            with torch.no_grad():
                probed = graph(feeds, names)
            sides = next(iter(feeds.values())).shape[:free]
            shapes.append([output.shape[free:] if output.shape[:free] == sides else None for output in probed])
        if None not in shapes[0] and shapes[0] == shapes[1]:
            return names
    return []


def _kept(
    folder: Path, kind: str, key: Sequence[str], graph: TrainableGraph, frontier: Sequence[str],
    make: Callable[[Path, Any], None], prepare: Callable[[Any], Any] | None = None,
) -> Path:  # fmt: skip
    """Return the folder that ``make`` fills, once, with outputs of the frozen layers. It is renamed when complete."""
    digest = hashlib.blake2b(json.dumps([list(key), list(frontier)]).encode(), digest_size=8).hexdigest()
    place = folder / f"{kind}-{digest}"
    if place.exists():
        return place
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{kind}.", dir=folder, ignore_cleanup_errors=True) as lent:
            part, prefix = Path(lent) / "part", None
            part.mkdir()
            if frontier:
                graph.save(Path(lent) / "prefix.onnx", frontier)
                prefix = Runtime(Path(lent) / "prefix.onnx", frontier[0], prepare=prepare)
            make(part, prefix)
            if not place.exists():  # another process may have been faster
                part.rename(place)
    except OSError as problem:
        raise TrainingError(
            _("{folder} cannot be written ({reason}): free some space, then run it again").format(
                folder=folder, reason=problem.strerror
            )
        ) from problem
    return place


def _arrays(place: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    return {name: np.load(place / f"{at}.npy", mmap_mode="r") for at, name in enumerate(names)}


def trainable_parameters(module: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
