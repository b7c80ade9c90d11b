"""A model bundle: a folder with ONNX towers and ``bundle.json``, which describes their inputs and outputs.

``bundle.json`` holds all settings of a tower (input and output names, pooling, prefixes, tokens, picture geometry,
normalisation). So the same code runs every model.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonplace.encoders.audio import AudioTower
from commonplace.encoders.base import (
    LARGEST_DIM,
    UNKNOWN_LIMIT,
    VISUAL,
    BaseModel,
    Encoder,
    Role,
    Tokens,
    digest,
    unit,
)
from commonplace.encoders.checks import FILES, damaged, missing, sha256
from commonplace.encoders.packaged import packaged
from commonplace.encoders.runtime import Graph, openvino
from commonplace.errors import ModelError
from commonplace.i18n import _
from commonplace.text.language import normalised_tag, script_of, scripts_of
from commonplace.types import AUDIO

__all__ = ["DEFAULT_BUNDLE", "FORMAT", "Bundle", "ImageTower", "TextTower", "padded", "sha256"]

DEFAULT_BUNDLE = Path(__file__).parent.parent / "bundles" / "minilm-lite0"
FORMAT = 1
BATCH_TOKENS = 8192  # padded tokens in a batch: enough to use all cores, few enough to limit memory
BATCH_PICTURES = 16
BATCH_ROWS = 4096  # rows of features in one run of a head
LONGEST_SIDE = 20_000  # largest side in pixels to which a picture is scaled before its centre is cropped
LENGTH_STEP = 16  # lengths are rounded up to a multiple of this, so that few shapes are compiled


def padded(
    rows: Sequence[Sequence[int]], pad: int, longest: int, *, least: int = 0, left: bool = False
) -> Iterator[tuple[list[int], NDArray[np.int64], NDArray[np.int64]]]:
    """Yield batches of rows of similar length: the rows' indices, then token ids and mask, both (rows, width).

    The shortest rows come first. A width is a multiple of LENGTH_STEP, from ``least`` to ``longest``; no row is longer
    than ``longest``. Padding with the id ``pad`` follows the tokens, or precedes them with ``left``.
    """
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    while order:
        width = 0
        size = 0
        while size < len(order):  # grow while the padded batch stays within BATCH_TOKENS
            longer = max(-(-len(rows[order[size]]) // LENGTH_STEP) * LENGTH_STEP, least)
            if size and longer * (size + 1) > BATCH_TOKENS:
                break
            width = longer
            size += 1
        group, order = order[:size], order[size:]
        width = min(width, longest)
        ids = np.full((size, width), pad, dtype=np.int64)
        mask = np.zeros((size, width), dtype=np.int64)
        for row, i in enumerate(group):
            place = slice(width - len(rows[i]), width) if left else slice(len(rows[i]))
            ids[row, place] = rows[i]
            mask[row, place] = 1
        yield group, ids, mask


def _scripts(languages: Sequence[str]) -> frozenset[str | None] | None:
    """Return the scripts of a model's languages, and those of all texts: Latin, and no letters at all.

    Return None if the model does not say which languages it knows ("multilingual" is no tag).
    """
    tags = [normalised_tag(language) for language in languages]
    if not tags or None in tags:
        return None
    return frozenset({"Latn", None}).union(*(scripts_of(tag) for tag in tags if tag))


class TextTower:
    """Encodes texts. A text over the model's limit is read in windows, whose vectors are averaged: nothing is cut off.

    ``spec`` is the tower's entry in ``bundle.json``, ``dim`` the length of its vectors, ``checksums`` those of the
    bundle's files, and ``languages`` the model's languages as BCP 47 tags (none: it does not say).
    """

    def __init__(
        self, folder: Path, spec: dict[str, Any], dim: int, checksums: Mapping[str, str], languages: Sequence[str] = ()
    ) -> None:
        self._folder = folder
        self._scripts = _scripts(languages)
        self._spec = spec
        self._checksums = checksums
        self.dim = dim
        self.max_tokens: int = spec["max_tokens"]
        if not isinstance(self.max_tokens, int) or self.max_tokens < 16:
            raise ValueError(
                _("its max_tokens ({max_tokens!r}; it must be an integer of at least 16)").format(
                    max_tokens=self.max_tokens
                )
            )
        self.tokenizer_path = folder / spec["tokenizer"]

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        try:
            tokenizer = Tokenizer.from_file(str(self.tokenizer_path))
        except Exception as problem:  # the library raises bare Exception
            raise ModelError(
                _("{tokenizer_path} is not a tokenizer ({problem}): install the model again").format(
                    tokenizer_path=self.tokenizer_path, problem=problem
                )
            ) from problem
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    @cached_property
    def _graph(self) -> Graph:
        return Graph(self._folder / self._spec["file"], self._spec["output"], inputs=self._spec["inputs"].values())

    @cached_property
    def _head(self) -> Graph | None:
        head = self._spec.get("head")
        return Graph(self._folder / head["file"], head["output"]) if head else None

    @property
    def fingerprint(self) -> str:
        """Hash of the tower's files and settings."""
        return _fingerprint(self._spec, self.dim, self._checksums)

    @property
    def room(self) -> int:
        """The most tokens, special tokens included, of a document's text that is encoded in one window."""
        prefix = self._spec["prefix"]["document"]
        return self.max_tokens - (len(self._tokenizer.encode(prefix, add_special_tokens=False).ids) if prefix else 0)

    def can_encode(self, text: str) -> bool:
        """Return whether ``text`` is in a script of the model's languages, with at most UNKNOWN_LIMIT unknown tokens.

        A vocabulary often has the letters of more scripts than the model has learned.
        """
        if self._scripts is not None and script_of(text) not in self._scripts:
            return False
        return self.unknown_share(text) <= UNKNOWN_LIMIT

    def unknown_share(self, text: str) -> float:
        """Return the share of tokens in ``text`` that the model does not know, in [0, 1]; 0 for an empty text."""
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids.count(self._spec["unknown_id"]) / len(ids) if ids else 0.0

    def length(self, text: str) -> int:
        """Return the number of tokens in ``text``, without special tokens."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def encode(self, texts: Sequence[str], role: Role = "document") -> NDArray[np.float32]:
        """Return one unit row for each text, shape (n, dim)."""
        if not len(texts):
            return np.empty((0, self.dim), np.float32)
        rows = self._encode(texts, role)
        if self._head is None:
            return rows
        return unit(self._head.map([{self._spec["head"]["input"]: rows}])[0])

    def _encode(self, texts: Sequence[str], role: Role) -> NDArray[np.float32]:
        prefix = self._spec["prefix"][role]
        windows: list[list[int]] = []
        owners: list[int] = []
        for owner, encoding in enumerate(self._tokenizer.encode_batch([prefix + text for text in texts])):
            ids = encoding.ids  # the library builds a new list at each access
            for window in self._windows(encoding):
                windows.append(_taken(ids, window))
                owners.append(owner)
        pooled = self._run(windows)
        if len(windows) == len(texts):
            return unit(pooled)
        total = np.zeros((len(texts), pooled.shape[1]), dtype=np.float32)
        lengths = np.array([len(window) for window in windows], dtype=np.float32)
        np.add.at(total, owners, unit(pooled) * lengths[:, None])
        return unit(total)

    def ids(self, texts: Sequence[str], role: Role = "document") -> list[list[int]]:
        """Return the token ids of each text's first window."""
        prefix = self._spec["prefix"][role]
        encodings = self._tokenizer.encode_batch([prefix + text for text in texts])
        return [_taken(encoding.ids, self._windows(encoding)[0]) for encoding in encodings]

    def tokens(self, texts: Sequence[str], role: Role = "document") -> list[Tokens]:
        """Return the vectors of each text's own tokens, before pooling: no special tokens, no prefix.

        The tokens of a text over the model's limit come from consecutive windows. Raises ModelError if the model has
        no token vectors.
        """
        prefix = self._spec["prefix"][role]
        windows: list[list[int]] = []
        is_own: list[NDArray[np.bool_]] = []  # which tokens of a window are the text's own
        counts: list[int] = []  # windows of each text
        spans: list[list[tuple[int, int]]] = []
        for encoding in self._tokenizer.encode_batch([prefix + text for text in texts]):
            is_word = np.array(encoding.special_tokens_mask, dtype=bool) == 0
            is_word &= np.array([start >= len(prefix) for start, _end in encoding.offsets], dtype=bool)
            numbers = self._windows(encoding)
            ids = encoding.ids
            windows += [_taken(ids, window) for window in numbers]
            is_own += [is_word[window] for window in numbers]
            counts.append(len(numbers))
            offsets = encoding.offsets
            own_offsets = (offsets[i] for window in numbers for i in window if is_word[i])
            spans.append([(start - len(prefix), end - len(prefix)) for start, end in own_offsets])
        rows: list[NDArray[np.float32]] = [np.empty((0, 0), np.float32)] * len(windows)
        for group, inputs, _mask in self._batches(windows):
            (output,) = self._graph.map([inputs])
            if output.ndim != 3:
                raise ModelError(
                    _("the text tower in {folder} has no token vectors: choose another reranker").format(
                        folder=self._folder
                    )
                )
            width = output.shape[1]
            for row, i in enumerate(group):
                first = width - len(windows[i]) if self._pads_left else 0
                rows[i] = output[row, first : first + len(windows[i])][is_own[i]]
        in_order = iter(rows)
        return [
            Tokens(np.concatenate([next(in_order) for _chunk in range(count)]), np.array(ends, np.int64).reshape(-1, 2))
            for count, ends in zip(counts, spans, strict=True)
        ]

    def _windows(self, encoding: Any) -> list[list[int]]:
        """Return the indices of the tokens in each window. The special tokens at both ends are in every window."""
        count = len(encoding.ids)
        if count <= self.max_tokens:
            return [list(range(count))]
        positions = [i for i, special in enumerate(encoding.special_tokens_mask) if not special]
        first, last = positions[0], positions[-1] + 1
        before, after = list(range(first)), list(range(last, count))
        room = self.max_tokens - first - len(after)
        return [[*before, *range(i, min(i + room, last)), *after] for i in range(first, last, room)]

    def _run(self, windows: list[list[int]]) -> NDArray[np.float32]:
        """Run the windows in batches of similar length; return the pooled rows in the order of ``windows``."""
        batches = list(self._batches(windows))
        masks = iter([mask for _, _, mask in batches])
        inputs = [batch_inputs for _, batch_inputs, _ in batches]
        outputs = self._graph.map(inputs, lambda output, _: self._pool(output, next(masks)))
        pooled = np.empty((len(windows), outputs[0].shape[1] if outputs else 0), dtype=np.float32)
        for (group, _inputs, _mask), rows in zip(batches, outputs, strict=True):
            pooled[group] = rows
        return pooled

    def _batches(
        self, windows: list[list[int]]
    ) -> Iterator[tuple[list[int], dict[str, NDArray[Any]], NDArray[np.int64]]]:
        """Yield batches of windows of similar length: their indices, the graph's inputs, and the mask."""
        names = self._spec["inputs"]
        least = self._spec.get("pad_to", 0)
        for group, ids, mask in padded(
            windows, self._spec["pad_id"], self.max_tokens, least=least, left=self._pads_left
        ):
            inputs = {names["ids"]: ids}
            if names.get("mask"):
                inputs[names["mask"]] = mask
            if names.get("types"):
                inputs[names["types"]] = np.zeros_like(ids)
            yield group, inputs, mask

    @property
    def _pads_left(self) -> bool:
        return self._spec.get("pad_side") == "left"

    def _pool(self, output: NDArray[np.float32], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        pooling = self._spec["pooling"]
        if pooling == "none":
            return np.array(output, dtype=np.float32)
        if pooling == "cls":
            return np.array(output[np.arange(len(output)), mask.argmax(axis=1)], dtype=np.float32)
        if pooling == "last":
            last = mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)
            return np.array(output[np.arange(len(output)), last], dtype=np.float32)
        if pooling == "max":
            return np.asarray(np.where(mask[:, :, None] > 0, output, -np.inf).max(axis=1), dtype=np.float32)
        if pooling == "mean":
            weights = (mask / mask.sum(axis=1, keepdims=True)).astype(np.float32)
            return np.asarray(np.einsum("btd,bt->bd", output, weights, optimize=True), dtype=np.float32)
        raise ModelError(
            _(
                "the bundle uses the pooling {pooling!r}, which this version does not support: upgrade commonplace"
            ).format(pooling=pooling)
        )


class ImageTower:
    """Encodes pictures: RGB uint8 arrays (height, width, 3) of any size.

    ``visual``: whether the head has a second output, for visual similarity (see ``views()``). ``spec`` is the tower's
    entry in ``bundle.json``, ``dim`` the length of its vectors, and ``checksums`` those of the bundle's files.
    """

    def __init__(self, folder: Path, spec: dict[str, Any], dim: int, checksums: Mapping[str, str]) -> None:
        self._folder = folder
        self._spec = spec
        self._checksums = checksums
        self.dim = dim
        self._size: tuple[int, int] = (spec["size"][0], spec["size"][1])  # height, width
        self.visual = bool((spec.get("head") or {}).get("visual"))

    @cached_property
    def _graph(self) -> Graph:
        path = self._folder / self._spec["file"]
        return Graph(path, self._spec["output"], inputs=[self._spec["input"]], prepare=self.normalise_inside)

    @cached_property
    def _head(self) -> Graph | None:
        head = self._spec.get("head")
        return Graph(self._folder / head["file"], head["output"]) if head else None

    @property
    def fingerprint(self) -> str:
        """Hash of the tower's files and settings."""
        return _fingerprint(self._spec, self.dim, self._checksums)

    def normalise_inside(self, model: Any) -> Any:
        """Return the graph with an input uint8 (batch, height, width, 3): it normalises faster than NumPy."""
        ov = openvino()
        steps = ov.preprocess.PrePostProcessor(model)
        steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
        steps.input().model().set_layout(ov.Layout("NCHW"))
        scale = self._spec["scale"]
        (
            steps.input()
            .preprocess()
            .convert_element_type(ov.Type.f32)
            .mean([value / scale for value in self._spec["mean"]])
            .scale([value / scale for value in self._spec["std"]])
        )
        return steps.build()

    def encode(self, pictures: Sequence[NDArray[np.uint8]], role: Role = "document") -> NDArray[np.float32]:
        """Return one unit row for each picture, shape (n, dim), whatever its role."""
        return self.views(pictures)["image"]

    def views(self, pictures: Sequence[NDArray[np.uint8]]) -> dict[str, NDArray[np.float32]]:
        """Return the unit rows (n, dim) of the pictures by view.

        ``image`` is the vector in the joint space with texts. ``visual``, if the bundle has it, is the vector for
        visual similarity: it compares how pictures look, not what they show.
        """
        if not len(pictures):
            names = ("image", VISUAL) if self.visual else ("image",)
            return {name: np.empty((0, self.dim), np.float32) for name in names}
        return self.project(self.features(pictures))

    def project(self, features: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Return the unit rows (n, dim) by view, as ``views()`` does, from the tower's features (n, features)."""
        if self._head is None:
            return {"image": unit(features)}
        head = self._spec["head"]
        inputs = [{head["input"]: features[i : i + BATCH_ROWS]} for i in range(0, len(features), BATCH_ROWS)]
        rows = {"image": unit(np.concatenate(self._head.map(inputs)))}
        if self.visual:
            rows[VISUAL] = unit(np.concatenate(self._head.map(inputs, output=head["visual"])))
        return rows

    def features(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return the tower's features before the projection head, shape (n, features), float32."""
        name = self._spec["input"]
        batches = [
            {name: np.stack([self.fit(picture) for picture in pictures[i : i + BATCH_PICTURES]])}
            for i in range(0, len(pictures), BATCH_PICTURES)
        ]
        return np.concatenate(self._graph.map(batches, lambda output, _: self._pool(output)))

    def _pool(self, output: NDArray[np.float32]) -> NDArray[np.float32]:
        pooling = self._spec.get("pooling", "none")
        if pooling == "none":
            return np.array(output, dtype=np.float32).reshape(len(output), -1)
        if pooling == "cls":  # (batch, tokens, dim): the first stands for the picture
            return np.array(output[:, 0], dtype=np.float32)
        if pooling == "mean":
            return np.asarray(output.mean(axis=1), dtype=np.float32)
        raise ModelError(
            _(
                "the bundle uses the pooling {pooling!r}, which this version does not support: upgrade commonplace"
            ).format(pooling=pooling)
        )

    def fit(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the picture in the tower's size (height, width, 3).

        The setting ``geometry`` says how: ``squash``, ``crop`` or ``pad``, the last two around the centre; or
        ``shortest``, which scales the shorter side to ``edge`` pixels and crops the centre, as for most towers.
        """
        height, width = self._size
        edge = self._spec.get("edge")
        if picture.shape[:2] == (height, width) and edge in (None, min(height, width)):
            return picture
        from PIL import Image, ImageOps

        image = Image.fromarray(picture)
        method = getattr(Image.Resampling, self._spec["interpolation"].upper())
        geometry = self._spec["geometry"]
        if geometry == "squash":
            image = image.resize((width, height), method)
        elif geometry == "shortest":
            image = _shortest(image, int(edge or min(height, width)), (width, height), method)
        elif geometry == "crop":
            image = ImageOps.fit(image, (width, height), method)
        elif geometry == "pad":
            image = ImageOps.pad(image, (width, height), method, color=(127, 127, 127))
        else:
            raise ModelError(
                _(
                    "the bundle uses the geometry {geometry!r}, which this version does not support: upgrade "
                    "commonplace"
                ).format(geometry=geometry)
            )
        return np.asarray(image)


class VisualEncoder:
    """The second output of an image tower as an encoder, for visual similarity.

    To get both outputs, call ``ImageTower.views()`` of ``tower`` once.
    """

    def __init__(self, tower: ImageTower) -> None:
        self.tower = tower
        self.dim = tower.dim
        self.fingerprint = digest([tower.fingerprint, VISUAL])

    def encode(self, pictures: Sequence[NDArray[np.uint8]], role: Role = "document") -> NDArray[np.float32]:
        """Return one unit row for each picture, shape (n, dim), whatever its role."""
        return self.tower.views(pictures)[VISUAL]


def _fingerprint(spec: dict[str, Any], dim: int, checksums: Mapping[str, str]) -> str:
    """Return the hash of everything that determines a vector: files, preprocessing, pooling, dimension."""
    names = [spec.get("file"), spec.get("tokenizer"), (spec.get("head") or {}).get("file")]
    return digest([spec, dim, [checksums.get(name) for name in names if name]])


def _taken(ids: list[int], numbers: list[int]) -> list[int]:
    return [ids[i] for i in numbers]


def _shortest(image: Any, edge: int, size: tuple[int, int], method: Any) -> Any:
    """Scale a picture to ``edge`` pixels on its shorter side and return its centre, of ``size`` (width, height).

    The area outside the picture is black. Sizes are rounded as in the transformers library, so that the vectors equal
    those of the published model.
    """
    long = int(edge * max(image.size) / min(image.size))
    if long > LONGEST_SIDE:  # a very long strip: do not enlarge what will be cropped
        from PIL import ImageOps

        return ImageOps.fit(image, size, method)
    image = image.resize((edge, long) if image.width <= image.height else (long, edge), method)
    left, top = (image.width - size[0]) // 2, (image.height - size[1]) // 2
    return image.crop((left, top, left + size[0], top + size[1]))


class Bundle(BaseModel):
    """A folder of towers with their description, ``bundle.json``; ``text``, ``image`` or ``audio`` is None if absent.

    Raises ModelError if the folder or ``bundle.json`` is missing, damaged, or of a newer format.
    """

    text: TextTower | None
    image: ImageTower | None
    audio: AudioTower | None

    def __init__(self, folder: str | Path = DEFAULT_BUNDLE) -> None:
        self.folder = Path(folder)
        path = self.folder / "bundle.json"
        try:
            self.spec = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ModelError(
                _("there is no model bundle at {folder} (no bundle.json): check the name").format(folder=self.folder)
            ) from None
        except (OSError, ValueError, RecursionError) as problem:
            raise ModelError(
                _("{path} cannot be read ({problem}): install the model again").format(path=path, problem=problem)
            ) from problem
        if not isinstance(self.spec, dict):
            raise ModelError(_("{path} is not a bundle description: install the model again").format(path=path))
        if self.spec.get("format") != FORMAT:
            raise ModelError(
                _("{path} has format {format}; this version reads {known}: upgrade commonplace").format(
                    path=path, format=self.spec.get("format"), known=FORMAT
                )
            )
        try:
            self._describe()
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as problem:
            raise ModelError(
                _("{path} has a missing or wrong entry, {problem}: install the model again").format(
                    path=path, problem=problem
                )
            ) from problem

    def _describe(self) -> None:
        self.name = str(self.spec["name"])
        self.dim = int(self.spec["dim"])
        if not self.name.isprintable() or not 1 <= self.dim <= LARGEST_DIM:
            raise ValueError(_("its name or dimension ({name!r}, {dim})").format(name=self.name, dim=self.dim))
        towers = self.spec["towers"]
        if not towers:
            raise ValueError(_("its towers"))
        files = list(self.spec["checksums"])
        for tower in towers.values():
            files += [tower[kind] for kind in ("file", "tokenizer") if kind in tower]
            files += [tower["head"]["file"]] if tower.get("head") else []
        files += [self.spec["hubness"]["file"]] if self.spec.get("hubness") else []
        if unsealed := sorted(set(files) - set(self.spec["checksums"])):
            raise ValueError(_("the checksum of {names}").format(names=", ".join(unsealed)))
        for name in files:
            if Path(name).name != name:
                raise ValueError(
                    _("the file name {name!r} (a bundle's files are beside its bundle.json)").format(name=name)
                )
        checksums = self.spec["checksums"]
        self.text = self._text(towers["text"]) if "text" in towers else None
        self.image = ImageTower(self.folder, towers["image"], self.dim, checksums) if "image" in towers else None
        self.audio = AudioTower(self.folder, towers["audio"], self.dim, checksums) if "audio" in towers else None

    def _text(self, spec: dict[str, Any]) -> TextTower:
        if "remote" not in spec:
            return TextTower(self.folder, spec, self.dim, self.spec["checksums"], self.spec.get("languages", ()))
        from commonplace.encoders.remote import RemoteText

        return RemoteText(self.folder, spec, self.dim, self.spec["checksums"])

    @property
    def encoders(self) -> dict[str, Encoder]:
        """The encoders by name: ``text``, ``image``, for visual similarity of pictures ``visual``, and ``audio``."""
        encoders = super().encoders
        if self.image is not None and self.image.visual:
            encoders[VISUAL] = VisualEncoder(self.image)
        if self.audio is not None:
            encoders[AUDIO] = self.audio
        return encoders

    @property
    def place(self) -> str:
        """The bundle's absolute path; its name if a Python package holds it; empty for the shipped bundle.

        The paths of the last two depend on the installation.
        """
        if self.folder == DEFAULT_BUNDLE:
            return ""
        names = (name for name, folder in packaged().items() if folder == self.folder)
        return next(names, os.path.abspath(self.folder))

    @cached_property
    def banks(self) -> dict[str, NDArray[np.float32]]:
        """Vectors (n, dim) of training data to measure hubness with, by the view that they are compared with.

        Raises ModelError if the file cannot be read.
        """
        hubness = self.spec.get("hubness")
        if not hubness:
            return {}
        path = self.folder / hubness["file"]
        try:
            with np.load(path, allow_pickle=False) as file:
                names = [name for name in (*hubness["banks"], VISUAL) if name != VISUAL or name in file]
                return {name: np.asarray(file[name], dtype=np.float32) for name in names}
        except (OSError, ValueError, KeyError) as problem:
            raise ModelError(
                _("{path} cannot be read ({problem}): install the model again").format(path=path, problem=problem)
            ) from problem

    def neutral(self) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """Return the vectors (n, dim) of neutral queries and of neutral texts; None if the bundle has none."""
        name = self.spec.get("neutral")
        if self.text is None or not name:
            return None
        with np.load(self.folder / name, allow_pickle=False) as file:
            queries = np.concatenate([file["image"], file["questions"]])
            return queries.astype(np.float32), file["texts"].astype(np.float32)

    @cached_property
    def state(self) -> str:
        """Hash of what ``hubness()`` depends on: indexes that store its values are rebuilt when it changes."""
        hubness = self.spec.get("hubness")
        return digest([hubness, self.spec["checksums"].get(hubness["file"]) if hubness else None])

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything that determines a stored vector: files, preprocessing, pooling, dimension."""
        checksums = self.spec["checksums"]
        used = {name: checksums[name] for name in checksums if ".onnx" in name or name == "tokenizer.json"}
        return digest([used, self.spec["towers"], self.dim])

    def verify(self) -> None:
        """Compare every file with its checksum. Raises ModelError with the name of a damaged or missing file."""
        for name, expected in self.spec["checksums"].items():
            path = self.folder / name
            if not path.is_file():
                raise missing(path)
            if sha256(path) != expected:
                raise damaged(path)

    def check(self, *, wait: bool = False) -> None:
        """Compare the files with their checksums in a thread, once for each state of a file.

        Raises ModelError if a file is missing or already known to be damaged; with ``wait``, for any damaged file.
        """
        FILES.check({self.folder / name: expected for name, expected in self.spec["checksums"].items()}, wait=wait)
