"""Writes the result of training: a bundle with the towers, a new head, its banks and curves, and a model card."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonplace.encoders import Bundle
from commonplace.encoders.base import VISUAL
from commonplace.encoders.bundle import FORMAT, sha256
from commonplace.encoders.default_calibration import describe
from commonplace.encoders.hub import replaceable
from commonplace.errors import ModelError, TrainingError
from commonplace.i18n import _
from commonplace.training.calibrate import LOOKS, bank, evidence, hubness
from commonplace.training.features import text_vectors
from commonplace.training.pairs import Pairs

try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ImportError as problem:
    raise TrainingError(_("training needs the library onnx: run `pip install 'commonplace-rag[train]'`")) from problem

__all__ = [
    *("Held", "Maps", "card", "components", "copy_towers", "head_graph", "measured", "model_folder", "save", "seal"),
]

OPSET, IR = 17, 8
Floats = NDArray[np.float32]
Maps = Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32]] | None]
"""A head's linear maps by name (``wide``, ``narrow``, ``straight``): weights (in, out) and bias (out,), or None."""


class _Graph:
    """A graph under construction. Matrices are stored as float16 and converted to float32 when the graph is loaded."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.values: list[Any] = []

    def node(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        name = output or f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def value(self, array: NDArray[Any]) -> str:
        small = array.ndim > 1 and float(np.abs(array).max()) < 6e4
        name = f"value{len(self.values)}"
        stored = array.astype(np.float16 if small else np.float32)
        self.values.append(numpy_helper.from_array(stored, name))
        return self.node("Cast", name, to=TensorProto.FLOAT) if small else name

    def linear(self, x: str, layer: tuple[NDArray[np.float32], NDArray[np.float32]], output: str | None = None) -> str:
        return self.node("Gemm", x, self.value(layer[0]), self.value(layer[1]), output=output)

    def unit(self, x: str) -> str:
        return self.node("LpNormalization", x, axis=1, p=2)


def head_graph(
    members: Sequence[Maps],
    features: int,
    dim: int,
    *,
    base: Path | None = None,
    base_spec: Mapping[str, str] | None = None,
    on_features: bool = False,
    visual: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None,
) -> bytes:
    """Return an ONNX file that maps ``features`` (B, F) to ``embedding`` (B, D) and, with ``visual``, to ``visual``.

    The ``members`` are heads whose unit rows are averaged. The output of each can be added to the unit rows of an
    existing model: those of the head in the file ``base``, which ``base_spec`` describes as in ``bundle.json``, or,
    with ``on_features``, the features themselves. ``visual`` is the linear map to the second output.
    """
    graph = _Graph()
    imports, version = [helper.make_opsetid("", OPSET)], IR
    outputs = ["embedding"]
    start = graph.unit("features") if on_features else None
    if base is not None and base_spec is not None:
        model = onnx.load(str(base))
        imports, version = list(model.opset_import), model.ir_version
        model = onnx.compose.add_prefix(model, "base/")
        input_name = f"base/{base_spec['input']}"
        graph.nodes += [helper.make_node("Identity", ["features"], [input_name]), *model.graph.node]
        graph.values += list(model.graph.initializer)
        start = graph.unit(f"base/{base_spec['output']}")
        if base_spec.get("visual"):
            graph.node("Identity", f"base/{base_spec['visual']}", output="visual")
            outputs.append("visual")
    rows = []
    for maps in members:
        assert maps["wide"] is not None  # only the other two may be absent
        x = graph.linear("features", maps["wide"])
        if (narrow := maps["narrow"]) is not None:
            x = graph.linear(graph.node("Relu", x), narrow)
        if (straight := maps["straight"]) is not None:
            x = graph.node("Add", x, graph.linear("features", straight))
        rows.append(graph.unit(x if start is None else graph.node("Add", x, start)))
    graph.node("Sum", *rows, output="embedding")
    if visual is not None:
        graph.linear("features", visual, output="visual")
        outputs.append("visual")
    widths = {"embedding": dim, "visual": "visual"}
    graph_proto = helper.make_graph(
        graph.nodes,
        "head",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", features])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", widths[name]]) for name in outputs],
        graph.values,
    )
    model_proto = helper.make_model(graph_proto, opset_imports=imports, ir_version=version)
    onnx.checker.check_model(model_proto)
    return bytes(model_proto.SerializeToString(deterministic=True))


def components(features: NDArray[np.float32], dim: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the map to the first ``dim`` principal components of features (N, F): weights (F, dim) and bias (dim,).

    There are fewer components if N is small. No captions took part in the map, so pictures that look alike are near
    each other.
    """
    centre = features.mean(0)
    sample = features[:: max(len(features) // 4000, 1)] - centre
    _, _, axes = np.linalg.svd(sample, full_matrices=False)
    axes = axes[: min(dim, len(sample) - 1)]
    axes = axes * np.where(axes.sum(1, keepdims=True) < 0, -1, 1)  # the sign of an axis is arbitrary
    return axes.T.astype(np.float32), (-axes @ centre).astype(np.float32)


def model_folder(out: str | os.PathLike[str]) -> Path:
    """Return the absolute path of the output folder. Raises TrainingError if no model can be written there."""
    folder = Path(out).expanduser().absolute()
    try:
        replaceable(folder)
    except ModelError as problem:
        raise TrainingError(_("{problem} (--out)").format(problem=problem)) from problem
    if not folder.name or not folder.name.isprintable():
        raise TrainingError(
            _("{name!r} is not a valid model name: choose another folder with --out").format(name=folder.name)
        )
    if not os.access(next(parent for parent in folder.parents if parent.exists()), os.W_OK):
        raise TrainingError(
            _("{parent} is not writable: choose another folder with --out").format(parent=folder.parent)
        )
    return folder


def copy_towers(into: Path, text: Bundle, image: Bundle) -> dict[str, Any]:
    """Copy the files of a text and an image tower to ``into``; return the section ``towers`` of ``bundle.json``.

    The head of the image tower is left out. If two different files have the same name, those of the image tower get
    the prefix ``image-``.
    """
    towers = {"text": json.loads(json.dumps(text.spec["towers"]["text"]))}
    towers["image"] = {k: v for k, v in json.loads(json.dumps(image.spec["towers"]["image"])).items() if k != "head"}
    taken = {}
    for kind in ("file", "tokenizer"):
        for name in _with_data(text, towers["text"].get(kind)):
            taken[name] = text.spec["checksums"][name]
            shutil.copyfile(text.folder / name, into / name)
    if head := towers["text"].get("head"):
        shutil.copyfile(text.folder / head["file"], into / "text-head.onnx")
        head["file"] = "text-head.onnx"
    files = _with_data(image, towers["image"]["file"])
    clash = any(taken.get(name, image.spec["checksums"][name]) != image.spec["checksums"][name] for name in files)
    for name in files:
        shutil.copyfile(image.folder / name, into / (f"image-{name}" if clash else name))
    if clash:
        towers["image"]["file"] = f"image-{towers['image']['file']}"
        _rename_data(into / towers["image"]["file"])
    return towers


def _with_data(bundle: Bundle, file: str | None) -> list[str]:
    """Return the names of a bundle's file and of the files with its external weights."""
    if file is None:
        return []
    names = [name for name in bundle.spec["checksums"] if name == file or (".onnx" in file and name.startswith(file))]
    return sorted(names)


def _rename_data(file: Path) -> None:
    """Update a graph's references to its weight files, whose names now begin with ``image-``."""
    model = onnx.load(str(file), load_external_data=False)
    moved = [entry for value in model.graph.initializer for entry in value.external_data if entry.key == "location"]
    for entry in moved:
        entry.value = f"image-{entry.value}"
    if moved:
        file.write_bytes(model.SerializeToString())


def save(folder: Path, spec: Mapping[str, Any]) -> None:
    """Write ``spec`` to ``bundle.json`` in ``folder``."""
    text = json.dumps(spec, indent=1, ensure_ascii=False) + "\n"
    (folder / "bundle.json").write_text(text, encoding="utf-8")


def seal(folder: Path, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``spec`` with the format and the checksums of all files in ``folder``."""
    files = sorted(path.name for path in folder.iterdir() if path.name not in ("bundle.json", "README.md"))
    return {"format": FORMAT, **spec, "checksums": {name: sha256(folder / name) for name in files}}


@dataclass(frozen=True)
class Held:
    """The dev split, encoded: the pictures in rows ``at`` (N,) of ``pairs``.

    ``queries`` (C, D) are the unit rows of their captions as queries, ``shown`` (N, D) those of the pictures.
    """

    pairs: Pairs
    at: NDArray[np.int64]
    queries: Floats
    shown: Floats


def measured(
    draft: Path,
    spec: dict[str, Any],
    held: Held,
    queries: Floats,
    views: Mapping[str, Floats],
    stated_spec: dict[str, Any],
) -> dict[str, Any]:
    """Return ``spec`` with the calibration of the bundle in ``draft`` and its checksums; write the banks to ``draft``.

    ``queries`` (M, D) are unit rows of training captions, ``views`` those of training pictures (``image`` and
    optionally ``visual``). ``stated_spec`` is the spec whose calibration of text search still holds, or empty.
    """
    shown = views["image"]
    described, _report = describe(Bundle(draft))
    of_dev = np.isin(held.pairs.owner, held.at)
    owner = np.searchsorted(held.at, held.pairs.owner[of_dev])
    of_texts, of_pictures = bank(queries), bank(shown)
    banks: dict[str, Any] = {"image": of_texts, "text": of_pictures}
    if VISUAL in views:
        banks[VISUAL] = bank(views[VISUAL], LOOKS)
    np.savez(draft / "bank.npz", **{name: rows.astype(np.float16) for name, rows in banks.items()})
    spec |= {name: described[name] for name in ("query_shortness",) if name in described}
    save(draft, seal(draft, spec))
    questions, _corrected = Bundle(draft).without_shortness(held.queries)
    spec["hubness"] = hubness(questions, held.shown, owner, of_texts, of_pictures)
    save(draft, seal(draft, spec))
    bundle = Bundle(draft)
    captions = [caption for caption, selected in zip(held.pairs.captions, of_dev, strict=True) if selected]
    read = text_vectors(bundle, captions, "document")
    less, text_less = bundle.hubness("image", held.shown), bundle.hubness("text", read)
    assert less is not None and text_less is not None
    background, chances, curves = evidence(questions, read, held.shown, owner, less, text_less)
    learned = described["calibration"]
    spec["score_stats"] = described["score_stats"] | background
    spec["calibration"] = {**learned, "background": chances, "curves": learned["curves"] | curves}
    _keep_texts(spec, stated_spec)
    means = {"text": queries.mean(0).round(5).tolist(), "image": shown.mean(0).round(5).tolist()}
    spec["means"] = {"query": means, "document": means}
    note = _("scores between text and pictures were measured on {count} held-out pictures of {name}").format(
        count=len(held.at), name=held.pairs.name
    )
    spec["notes"] = [*spec["notes"], note]
    return seal(draft, spec)


def _keep_texts(spec: dict[str, Any], stated_spec: dict[str, Any]) -> None:
    channel = "text->text"
    if channel in stated_spec.get("score_stats", {}):
        spec["score_stats"][channel] = stated_spec["score_stats"][channel]
    learned = stated_spec.get("calibration") or {}
    for name in ("background", "curves"):
        if channel in learned.get(name, {}):
            spec["calibration"][name][channel] = learned[name][channel]
    spec["calibration"] |= {name: learned[name] for name in ("text_hubness",) if name in learned}


def card(spec: Mapping[str, Any], table: Sequence[str]) -> str:
    """Return the model card (Markdown) of a trained bundle, from its ``bundle.json`` and the table of test results."""
    training = spec["training"]
    shares = ", ".join(f"{count} {split}" for split, count in training["pictures"].items())
    recipe = ", ".join(f"{name} {value}" for name, value in training["recipe"].items())
    bad = f"; {training['left_out']} entries could not be used" if training["left_out"] else ""
    lines = [
        "---",
        f"license: {json.dumps(spec['licence'], ensure_ascii=False)}",
        f"language: {json.dumps(spec['languages'])}",
        "library_name: commonplace",
        "---",
        "",
        f"# {spec['name']}",
        "",
        f"{spec['description']} Use it with `commonplace add --model FOLDER`.",
        "",
        "## Licence",
        "",
        f"{spec['licence']}. The licences of the training pictures and captions may apply too; Commonplace does not "
        "know them.",
        "",
        "## Training data",
        "",
        f"`{training['data']}`: {shares} pictures, {training['captions']} captions{bad} (hash {training['digest']}, "
        f"seed {training['seed']}). The test pictures were used only for the table below. The dev split chose the "
        "best step, the hubness correction, and the curves that turn scores into probabilities.",
        "",
        "## Quality",
        "",
        *table[:-1],
        "",
        f"{table[-1].capitalize()}.",
        "",
        "Results are worse for pictures unlike the training pictures.",
        "",
        "## Recipe",
        "",
        f"{training['method']}: {recipe}. {training['seconds']} s on {training['device']}.",
        "",
    ]
    if spec.get("notes"):
        lines += ["## Notes", "", *(f"- {note}" for note in spec["notes"]), ""]
    return "\n".join(lines)
