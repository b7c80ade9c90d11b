"""Converts a folder with the layout of a hub repository to a bundle.

All settings of the towers are read from the repository's own files. So the runtime needs to read bundles only.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from commonplace.encoders.bundle import FORMAT, Bundle, sha256
from commonplace.encoders.default_calibration import write
from commonplace.encoders.runtime import openvino
from commonplace.errors import ModelError
from commonplace.i18n import _, system_reason

__all__ = ["PRECISIONS", "Choice", "convert", "graphs", "wanted"]

PRECISIONS = {"fp32": ("",), "fp16": ("_fp16",), "int8": ("_quantized", "_int8", "_uint8")}
"""By precision: the endings of a graph's file name in hub repositories."""
DATA = re.compile(r"(_data|\.data)(_\d{1,3})?")  # the ending, after the graph's name, of a file with its weights
SETTINGS = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "preprocessor_config.json",
    "processor_config.json",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
    "README.md",
)
"""The files that are read in addition to the graphs. Nothing else is read: no pickle, no code."""
MOST_TOKENS = 512  # in a window: the memory for attention is quadratic in it
LEAST_TOKENS = 16
LARGEST_SETTING = 64 << 20  # most bytes of a file in SETTINGS

TEXT = ("text_embeds", "text_embeddings", "l2norm_text_embeddings")
AUDIO = ("audio_embeds", "l2norm_audio_embeddings")
IMAGE = ("image_embeds", "image_embeddings", "l2norm_image_embeddings")
HIDDEN = ("last_hidden_state", "token_embeddings")
POOLED = ("sentence_embedding", "pooler_output")
JOINT = ("siglip", "siglip2", "siglip_text_model", "siglip_vision_model")
"""Model types whose pooled output is already in the joint space: no projection follows."""
FED = {"ids": "input_ids", "mask": "attention_mask", "types": "token_type_ids"}
RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}  # Pillow's numbers

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Choice:
    """Settings from the user or a preset: the ``precision`` of the graphs (``fp32``, ``fp16`` or ``int8``); the
    ``pooling`` if the repository names none; and the prefixes of a ``query`` and a ``document`` (None: the
    repository's). ``source`` says where the model comes from."""

    precision: str = "fp32"
    pooling: str | None = None
    query: str | None = None
    document: str | None = None
    source: Mapping[str, Any] = field(default_factory=dict)


def graphs(names: Iterable[str], precision: str) -> dict[str, str]:
    """Return the graph files among ``names`` by tower: ``text``, ``image``, ``audio``, or ``both`` in one file.

    ``precision`` is preferred; then float32, float16 and 8 bits.
    """
    files = set(names)
    order = [precision, *(other for other in PRECISIONS if other != precision)]
    chosen: dict[str, str] = {}
    for tower, stems in (
        ("text", ("text_model",)),
        ("image", ("vision_model", "image_model")),
        ("audio", ("audio_model",)),
        ("both", ("model",)),
    ):
        paths = (
            f"{folder}{stem}{ending}.onnx"
            for choice in order
            for ending in PRECISIONS[choice]
            for stem in stems
            for folder in ("onnx/", "")
        )
        name = next((path for path in paths if path in files), None)
        if name is not None:
            chosen[tower] = name
    if {"text", "image"} <= set(chosen) or {"text", "audio"} <= set(chosen) or (chosen and "both" not in chosen):
        chosen.pop("both", None)
        return chosen
    return {"both": chosen["both"]} if "both" in chosen else {}


def wanted(names: Iterable[str], precision: str) -> list[str]:
    """Return those of a repository's file names that a conversion reads. Raises ModelError if there is no graph."""
    files = set(names)
    chosen = graphs(files, precision)
    if not chosen:
        raise ModelError(
            _(
                "it has no ONNX towers (onnx/model.onnx, or onnx/text_model.onnx and onnx/vision_model.onnx): "
                "create them with `commonplace models export`, or choose another model"
            )
        )
    data = sorted(name for graph in chosen.values() for name in files if _holds(name, graph))
    return [*chosen.values(), *data, *(name for name in SETTINGS if name in files)]


def _holds(name: str, graph: str) -> bool:
    """Return whether a file of this name holds the weights of a graph."""
    return name.startswith(graph) and DATA.fullmatch(name[len(graph) :]) is not None


def convert(folder: Path, target: Path, name: str, choice: Choice) -> Bundle:
    """Write the bundle ``target`` from a repository's ``folder`` and return it.

    An older bundle at ``target`` is replaced, only when the new one is complete. Raises ModelError if the repository
    lacks something or uses an unsupported setting, with a message of one line.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{name}.", suffix=".part", dir=target.parent))
    try:
        _Conversion(folder, beside, name, choice).run()
        write(Bundle(beside))
        if target.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{name}.", suffix=".old", dir=target.parent))
            target.rename(old / "bundle")
            beside.rename(target)
            shutil.rmtree(old, ignore_errors=True)
        else:
            beside.rename(target)
    except OSError as problem:
        raise ModelError(
            _("the model cannot be written to {target} ({reason}): free some space, then run it again").format(
                target=target, reason=system_reason(problem)
            )
        ) from (problem)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return Bundle(target)


class _Conversion:
    """One conversion: reads the repository ``folder``, writes the bundle to ``into``."""

    def __init__(self, folder: Path, into: Path, name: str, choice: Choice) -> None:
        self.folder = folder
        self.into = into
        self.name = name
        self.choice = choice
        self.notes: list[str] = []
        self.config = self._settings("config.json")
        self.type = str(self.config.get("model_type", ""))

    def run(self) -> None:
        names = [path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()]
        chosen = graphs(names, self.choice.precision)
        if not chosen:
            wanted(names, self.choice.precision)  # raises the error that says what is missing
        towers: Json = {}
        for tower, file in chosen.items():
            inputs, outputs = self._ports(self.folder / file)
            for kind in ("text", "image") if tower == "both" else (tower,):
                needed = {"image": "pixel_values", "audio": "input_features"}.get(kind, "input_ids")
                if needed not in inputs and tower != "both":
                    raise ModelError(
                        _("{file} takes {inputs}, not {needed}: choose another model").format(
                            file=file, inputs=", ".join(sorted(inputs)), needed=needed
                        )
                    )
                if needed in inputs:
                    make = {"image": self._image, "audio": self._audio}.get(kind, self._text)
                    towers[kind] = make(file, inputs, outputs)
        if not towers:
            raise ModelError(
                _("{chosen} take neither input_ids nor pixel_values: choose another model").format(
                    chosen=", ".join(chosen.values())
                )
            )
        self._write(towers, chosen)

    # --- reading -----------------------------------------------------------------------------------------------

    def _settings(self, name: str) -> Json:
        """Return the JSON object in a file of the repository; an empty one if there is no such file."""
        path = self.folder / name
        try:
            if not path.is_file():
                return {}
            if path.stat().st_size > LARGEST_SETTING:
                raise ModelError(
                    _("{path} is larger than {size} MB: choose another model").format(
                        path=path, size=LARGEST_SETTING >> 20
                    )
                )
            settings = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as problem:
            raise ModelError(
                _("{path} cannot be read ({problem}): fetch the model again").format(path=path, problem=problem)
            ) from problem
        if not isinstance(settings, dict):
            raise ModelError(_("{path} is not a JSON object: fetch the model again").format(path=path))
        return settings

    def _ports(self, path: Path) -> tuple[set[str], dict[str, int]]:
        """Return the names of a graph's inputs, and those of its outputs with their rank (0: not known)."""
        with path.open("rb") as file:
            if (
                file.read(1) != b"\x08"
            ):  # an ONNX file begins with its version; without this check, the runtime tries other formats
                raise ModelError(
                    _("the model file {path} cannot be read (it is not an ONNX file): fetch it again").format(path=path)
                )
        try:
            model = openvino().Core().read_model(str(path))
        except RuntimeError as problem:
            reason = str(problem).strip().splitlines()[-1]
            raise ModelError(
                _("the model file {path} cannot be read ({reason}): fetch it again").format(path=path, reason=reason)
            ) from problem
        inputs = {name for port in model.inputs for name in port.names}
        ranks = {
            name: port.get_partial_shape().rank.get_length() if port.get_partial_shape().rank.is_static else 0
            for port in model.outputs
            for name in port.names
        }
        return inputs, ranks

    def _text(self, file: str, inputs: set[str], outputs: Mapping[str, int]) -> Json:
        alone = "pixel_values" not in inputs
        if strange := sorted(inputs - set(FED.values()) - {"pixel_values"}):
            raise ModelError(
                _("{file} needs the inputs {names}, which are not supported: choose another model").format(
                    file=file, names=", ".join(strange)
                )
            )
        tokenizer, pad, unknown = self._tokenizer()
        output, pooling = self._text_output(file, outputs, alone)
        most = self._max_tokens(pad)
        siglip = self.type.startswith("siglip")
        return {
            "file": _flat(file),
            "inputs": {kind: name for kind, name in FED.items() if name in inputs},
            "output": output,
            "pooling": pooling,
            "max_tokens": most,
            "tokenizer": tokenizer,
            "pad_id": pad,
            "unknown_id": unknown,
            "prefix": self._prefix(),
            # SigLIP has no mask: it reads the last of a fixed number of tokens, padding included.
            **({"pad_to": most, "pad_side": self._pad_side()} if siglip else {}),
        }

    def _pad_side(self) -> str:
        return str(self._settings("tokenizer_config.json").get("padding_side", "right"))

    def _text_output(self, file: str, outputs: Mapping[str, int], alone: bool) -> tuple[str, str]:
        for name in TEXT:
            if name in outputs:
                return name, "none"
        joint = self.type in JOINT or (self.type.startswith("siglip") and "pooler_output" in outputs)
        if joint and "pooler_output" in outputs:
            return "pooler_output", "none"
        if not alone or (self.folder / file).name.startswith("text_model"):
            raise ModelError(
                _(
                    "{file} gives {outputs}, none of them in the joint space (text_embeds): it was "
                    "exported without its projection, so choose another model"
                ).format(file=file, outputs=", ".join(sorted(outputs)))
            )
        modules = [str(module.get("type", "")).rsplit(".", 1)[-1] for module in self._modules()]
        more = [module for module in modules if module not in ("Transformer", "Pooling", "Normalize")]
        hidden = next((name for name in HIDDEN if name in outputs), None)
        if hidden is not None and not more:
            return hidden, self._pooling()
        if "sentence_embedding" in outputs:
            return "sentence_embedding", "none"
        if more:
            raise ModelError(
                _("its ONNX graph lacks the layers after pooling ({more}): export the model").format(
                    more=", ".join(more)
                )
            )
        first = next(iter(outputs), "")
        if outputs.get(first) == 3:
            return first, self._pooling()
        raise ModelError(
            _("{file} gives {outputs}, not last_hidden_state: choose another model").format(
                file=file, outputs=", ".join(sorted(outputs))
            )
        )

    def _modules(self) -> list[Json]:
        path = self.folder / "modules.json"
        try:
            modules = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
        except (OSError, ValueError, RecursionError) as problem:
            raise ModelError(
                _("{path} cannot be read ({problem}): fetch the model again").format(path=path, problem=problem)
            ) from problem
        return [module for module in modules if isinstance(module, dict)] if isinstance(modules, list) else []

    def _pooling(self) -> str:
        pooling = self._settings("1_Pooling/config.json")
        names = {"cls": "cls", "mean": "mean", "max": "max", "lasttoken": "last"}
        flags = {key.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token"): value
                 for key, value in pooling.items() if key.startswith("pooling_mode_")}  # fmt: skip
        chosen = [mode for mode, on in flags.items() if on is True]
        if isinstance(pooling.get("pooling_mode"), str):  # the format of newer versions of the library
            chosen = [pooling["pooling_mode"]]
        if chosen:
            if len(chosen) > 1 or chosen[0] not in names:
                raise ModelError(
                    _("its pooling is {chosen}, which is not supported: choose another model").format(
                        chosen=_(" and ").join(chosen)
                    )
                )
            return names[chosen[0]]
        if self.choice.pooling is not None:
            return self.choice.pooling
        self.notes.append(_("the repository does not name a pooling: the mean of the tokens is used (see --pooling)"))
        return "mean"

    def _max_tokens(self, pad: int) -> int:
        inner = self.config.get("text_config")
        config = inner if isinstance(inner, dict) else self.config
        positions = config.get("max_position_embeddings")
        if isinstance(positions, int) and any(
            kin in str(config.get("model_type", self.type)) for kin in ("roberta", "camembert", "mpnet")
        ):
            positions -= pad + 1  # they number positions from the padding id + 1 on
        defaults = {"clip": 77, "siglip": 64, "siglip2": 64}  # the library does not write default values
        if positions is None:
            positions = defaults.get(self.type)
        stated = [
            positions,
            self._settings("sentence_bert_config.json").get("max_seq_length"),
            self._settings("tokenizer_config.json").get("model_max_length"),
        ]
        most = min(
            [MOST_TOKENS, *(int(limit) for limit in stated if isinstance(limit, (int, float)) and 0 < limit < 1e6)]
        )
        if most < LEAST_TOKENS:
            raise ModelError(
                _("its text tower reads at most {most} tokens, {least_tokens} are needed: choose another model").format(
                    most=most, least_tokens=LEAST_TOKENS
                )
            )
        return most

    def _prefix(self) -> Json:
        prompts = self._settings("config_sentence_transformers.json").get("prompts")
        templates = prompts if isinstance(prompts, dict) else {}
        chosen = {"query": self.choice.query, "document": self.choice.document}
        names = {
            "query": ("query", "retrieval.query", "s2p_query"),
            "document": ("document", "passage", "retrieval.passage"),
        }
        return {
            role: prompt
            if prompt is not None
            else next((str(templates[name]) for name in names[role] if templates.get(name)), "")
            for role, prompt in chosen.items()
        }

    def _tokenizer(self) -> tuple[str, int, int | None]:
        """Write ``tokenizer.json`` without truncation and padding.

        Return its file name, the id of padding, and the id of unknown tokens (None: the tokenizer has no unknown
        tokens).
        """
        from tokenizers import Tokenizer, normalizers

        path = self.folder / "tokenizer.json"
        if not path.is_file():
            raise ModelError(
                _("there is no tokenizer.json in {folder}: choose a repository that has one").format(folder=self.folder)
            )
        raw = self._settings("tokenizer.json")
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as problem:  # the library raises bare Exception
            raise ModelError(
                _("{path} is not a tokenizer ({problem}): fetch the model again").format(path=path, problem=problem)
            ) from problem
        tokenizer_config = self._settings("tokenizer_config.json")
        pad = _token(tokenizer, tokenizer_config.get("pad_token"))
        if pad is None and isinstance(raw.get("padding"), dict):
            pad = raw["padding"].get("pad_id")
        inner = self.config.get("text_config")
        for config in (inner if isinstance(inner, dict) else {}, self.config):
            if pad is None:
                pad = config.get("pad_token_id")
        if not isinstance(pad, int) or pad < 0:
            pad = 0
        model_spec = raw.get("model")
        model: Json = model_spec if isinstance(model_spec, dict) else {}
        unknown = None
        if model.get("type") == "Unigram" and isinstance(model.get("unk_id"), int) and not model.get("byte_fallback"):
            unknown = model["unk_id"]
        elif model.get("type") in ("WordPiece", "WordLevel"):
            unknown = _token(tokenizer, model.get("unk_token"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        if self.type.startswith("siglip") or tokenizer_config.get("do_lower_case") is True:
            small = [normalizers.Lowercase(), *([tokenizer.normalizer] if tokenizer.normalizer is not None else [])]
            tokenizer.normalizer = normalizers.Sequence(small)
        tokenizer.save(str(self.into / "tokenizer.json"))
        return "tokenizer.json", pad, unknown

    def _image(self, file: str, inputs: set[str], outputs: Mapping[str, int]) -> Json:
        if strange := sorted(inputs - set(FED.values()) - {"pixel_values"}):
            raise ModelError(
                _("{file} needs the inputs {names}, which are not supported: choose another model").format(
                    file=file, names=", ".join(strange)
                )
            )
        output, pooling = self._image_output(file, outputs, joint="input_ids" in inputs)
        return {
            "file": _flat(file),
            "input": "pixel_values",
            "output": output,
            "pooling": pooling,
            **self._geometry(),
        }

    def _audio(self, file: str, inputs: set[str], outputs: Mapping[str, int]) -> Json:
        output = next((name for name in AUDIO if name in outputs), None)
        if output is None or inputs != {"input_features"}:
            raise ModelError(
                _(
                    "{file} takes {inputs} and gives {outputs}, not input_features and audio_embeds: choose another"
                ).format(file=file, inputs=", ".join(sorted(inputs)), outputs=", ".join(sorted(outputs)))
            )
        config = self._settings("preprocessor_config.json")
        kind = config.get("feature_extractor_type")
        if kind != "ClapFeatureExtractor" or config.get("truncation") == "fusion":
            raise ModelError(
                _("its sound is prepared by {kind}, which is not supported: choose another model").format(
                    kind=f"{kind} ({config.get('truncation')})"
                )
            )
        padding = {"repeatpad": "repeat", "repeat": "repeat", "pad": "silence"}
        try:
            return {
                "file": _flat(file),
                "input": "input_features",
                "output": output,
                "rate": int(config["sampling_rate"]),
                "seconds": float(config["max_length_s"]),
                "padding": padding[config.get("padding", "repeatpad")],
                "features": {
                    "window": int(config["fft_window_size"]),
                    "fft": int(config["fft_window_size"]),
                    "hop": int(config["hop_length"]),
                    "mels": int(config["feature_size"]),
                    "low": float(config["frequency_min"]),
                    "high": float(config["frequency_max"]),
                    "scale": "slaney",
                    "log": "db",
                    "centred": True,
                    "layout": "1,frames,mels",
                },
            }
        except (KeyError, TypeError, ValueError) as problem:
            raise ModelError(
                _("its preprocessor_config.json has a missing or wrong entry, {problem}: choose another model").format(
                    problem=problem
                )
            ) from problem

    def _image_output(self, file: str, outputs: Mapping[str, int], joint: bool) -> tuple[str, str]:
        for name in IMAGE:
            if name in outputs:
                return name, "none"
        clip = self.type in ("clip", "chinese_clip", "clip_vision_model", "jina_clip")
        hidden = next((name for name in HIDDEN if name in outputs), None)
        if self.type in ("vit", "deit") and hidden is not None:
            return hidden, "cls"  # their pooler is often untrained
        if "pooler_output" in outputs and not joint and not clip:
            return "pooler_output", "none"  # the joint space of SigLIP; the features of a convolutional network
        if hidden is not None and not joint and not clip and outputs[hidden] == 3:
            return hidden, "cls"
        raise ModelError(
            _("{file} gives {outputs}, not image_embeds, pooler_output or tokens: choose another").format(
                file=file, outputs=", ".join(sorted(outputs))
            )
        )

    def _geometry(self) -> Json:
        """Return size, geometry, interpolation and normalisation, from ``preprocessor_config.json``."""
        config = self._settings("preprocessor_config.json")
        if not config:
            processor = self._settings("processor_config.json")
            inner = processor.get("image_processor")
            config = inner if isinstance(inner, dict) else processor
        if not config:
            raise ModelError(
                _("there is no preprocessor_config.json in {folder}: choose a repository that has one").format(
                    folder=self.folder
                )
            )
        shape = config.get("size", self.config.get("image_size"))
        crop = config.get("crop_size")
        kind = str(config.get("image_processor_type", config.get("feature_extractor_type", "")))
        resample = config.get("resample", config.get("interpolation", 2 if "ViT" in kind else 3))
        interpolation = RESAMPLE.get(resample) if isinstance(resample, int) else str(resample).lower()
        if interpolation not in RESAMPLE.values():
            raise ModelError(
                _("its pictures are resized with {resample!r}, which is not supported: choose another model").format(
                    resample=resample
                )
            )
        edge: int | None = None
        geometry = "squash"
        mode = config.get("resize_mode")  # jina-clip
        if isinstance(shape, dict) and "shortest_edge" in shape:
            edge = _pixels(shape["shortest_edge"])
            size = _square(crop if crop is not None else edge)
            geometry = "shortest"
            if "ConvNext" in kind or "crop_pct" in config:
                # Below 384 pixels the shorter side is scaled to more than the size, then cropped; else squashed.
                size = (edge, edge)
                if edge < 384:
                    edge = int(edge / float(config.get("crop_pct") or 224 / 256))
                else:
                    geometry, edge = "squash", None
            elif config.get("do_center_crop", True) is False:
                raise ModelError(
                    _("its pictures are not scaled to one size, which is not supported: choose another model")
                )
        elif mode == "longest":
            size, geometry = _square(shape), "pad"
        elif mode == "shortest":
            size = _square(shape)
            edge, geometry = min(size), "shortest"
        else:
            size = _square(shape)
            if crop is not None and config.get("do_center_crop") and _square(crop) != size:
                inner_size = _square(crop)
                if size[0] != size[1]:
                    raise ModelError(
                        _("its pictures are squashed and then cropped, which is not supported: choose another model")
                    )
                raise ModelError(
                    _(
                        "its pictures are squashed to {size} and cropped to {inner_size}, which is not "
                        "supported: choose "
                        "another model"
                    ).format(size=size, inner_size=inner_size)
                )
        mean = config.get("image_mean", config.get("mean"))
        std = config.get("image_std", config.get("std"))
        means, stds = (
            ([0.0] * 3, [1.0] * 3) if config.get("do_normalize", True) is False else (_three(mean), _three(std))
        )
        scale = float(config.get("rescale_factor", 1 / 255)) if config.get("do_rescale", True) is not False else 1.0
        if "EfficientNet" in kind:
            if config.get("rescale_offset", False):  # the scaled pixels start at -1 instead of 0
                means = [mean + 1 for mean in means]
            if config.get("include_top", True):  # the library divides by the standard deviations a second time
                stds = [std * again for std, again in zip(stds, _three(std), strict=True)]
        return {
            "size": list(size),
            "geometry": geometry,
            **({"edge": edge} if edge is not None else {}),
            "interpolation": interpolation,
            "scale": scale,
            "mean": means,
            "std": stds,
        }

    # --- writing -----------------------------------------------------------------------------------------------

    def _write(self, towers: Json, graph_files: Mapping[str, str]) -> None:
        for graph in graph_files.values():
            shutil.copyfile(self.folder / graph, self.into / _flat(graph))
            for path in (self.folder / graph).parent.iterdir():
                if _holds(path.name, _flat(graph)):
                    shutil.copyfile(path, self.into / path.name)
        files = sorted(path.name for path in self.into.iterdir())
        card = _card(self.folder / "README.md")
        spec = {
            "format": FORMAT,
            "name": self.name,
            "dim": 1,
            "description": f"converted from {self.choice.source.get('repo') or self.folder.name}",
            "licence": card.get("license", "not stated: see the repository"),
            "languages": card.get("language", []),
            "towers": towers,
            "notes": self.notes,
            "source": dict(self.choice.source),
            "checksums": {name: sha256(self.into / name) for name in files},
        }
        self._save(spec)
        dims = _probe(Bundle(self.into))
        if len(set(dims.values())) > 1:
            lengths = _(" and ").join(f"{dim} ({kind})" for kind, dim in dims.items())
            raise ModelError(
                _(
                    "its towers give vectors of different lengths, {lengths}, so there is no joint space: choose "
                    "another"
                ).format(lengths=lengths)
            )
        self._save({**spec, "dim": next(iter(dims.values()))})

    def _save(self, spec: Json) -> None:
        text = json.dumps(spec, indent=1, ensure_ascii=False) + "\n"
        (self.into / "bundle.json").write_text(text, encoding="utf-8")


def _probe(bundle: Bundle) -> dict[str, int]:
    """Run each tower once and return the lengths of their vectors. Raises ModelError if an output is not valid."""
    rows = {}
    if bundle.text is not None:
        rows["text"] = bundle.text.encode(["a probe", "a longer probe of the same tower"])
    if bundle.image is not None:
        ramp = np.linspace(0, 255, 64 * 48 * 3).astype(np.uint8).reshape(48, 64, 3)
        rows["image"] = bundle.image.encode([ramp])
    if bundle.audio is not None:
        rows["audio"] = bundle.audio.encode([np.sin(np.arange(bundle.audio.rate) / 20)])
    for kind, vectors in rows.items():
        if vectors.ndim != 2 or not vectors.size or not np.isfinite(vectors).all() or not np.any(vectors, axis=1).all():
            raise ModelError(
                _("its {kind} tower gives no valid vectors (shape {shape}): choose another model").format(
                    kind=kind, shape=vectors.shape
                )
            )
    return {kind: vectors.shape[1] for kind, vectors in rows.items()}


def _flat(name: str) -> str:
    """Return a graph file's name in the bundle, which has no subfolders."""
    return name.rsplit("/", 1)[-1]


def _token(tokenizer: Any, setting: Any) -> int | None:
    """Return the id of a special token, which settings name by a string or an object."""
    text = setting.get("content") if isinstance(setting, dict) else setting
    token_id = tokenizer.token_to_id(text) if isinstance(text, str) else None
    return token_id if isinstance(token_id, int) else None


def _pixels(value: Any) -> int:
    if not isinstance(value, int) or not 8 <= value <= 4096:
        raise ModelError(
            _("its picture size is {value!r}, not an integer from 8 to 4096: choose another model").format(value=value)
        )
    return value


def _square(value: Any) -> tuple[int, int]:
    """Return (height, width) of a size in any form that the settings use. Raises ModelError for other values."""
    if isinstance(value, dict):
        return _pixels(value.get("height")), _pixels(value.get("width"))
    if isinstance(value, list) and len(value) == 2:
        return _pixels(value[0]), _pixels(value[1])
    return _pixels(value), _pixels(value)


def _three(values: Any) -> list[float]:
    if not isinstance(values, list) or len(values) != 3 or not all(isinstance(value, (int, float)) for value in values):
        raise ModelError(
            _("its pictures are normalised with {values!r}, not three numbers: choose another model").format(
                values=values
            )
        )
    return [float(value) for value in values]


def _card(path: Path) -> Json:
    """Return ``license`` and ``language`` from the YAML header of a model card."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")[:20_000] if path.is_file() else ""
    except OSError:
        return {}
    head = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    lines = head.group(1).splitlines() if head else []
    card: Json = {}
    for i, line in enumerate(lines):
        key, _, value = line.partition(":")
        if key in ("license", "license_name") and value.strip():
            card.setdefault("license", value.strip().strip("'\""))
        if key == "language":
            listed = [value.strip()] if value.strip() else []
            for following in lines[i + 1 :]:
                if not re.match(r"\s*-\s", following):
                    break
                listed.append(following.strip(" -'\""))
            card["language"] = listed
    return card
