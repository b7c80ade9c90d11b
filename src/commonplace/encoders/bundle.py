"""A model bundle: a folder with ONNX towers and ``bundle.json``, which says how to feed them.

Everything a tower needs to know stands in ``bundle.json`` (input and output names, pooling, prefixes, tokens,
picture geometry, normalisation), so one code path serves every model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from commonplace.encoders.runtime import Graph, openvino
from commonplace.errors import ModelError

__all__ = ["DEFAULT_BUNDLE", "Bundle", "ImageTower", "TextTower", "Tokens", "padded", "sha256"]

DEFAULT_BUNDLE = Path(__file__).parent.parent / "bundles" / "minilm-lite0"
FORMAT = 1
VISUAL = "visual"  # the partition, and the bank, of what pictures look like
BATCH_TOKENS = 8192  # padded tokens a batch: large enough to fill the cores, small enough to bound memory
BATCH_PICTURES = 16
BATCH_ROWS = 4096  # of features through a head
LARGEST_DIM = 65_536
LONGEST_SIDE = 20_000  # pixels of a picture before its centre is cut out
LENGTH_STEP = 16  # lengths are rounded up to this, so that few different shapes are compiled

Role = Literal["query", "document"]


def unit(vectors: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Return the rows scaled to unit length; a zero row stays zero."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)


def padded(
    rows: Sequence[Sequence[int]], pad: int, longest: int, *, least: int = 0, left: bool = False
) -> Iterator[tuple[list[int], NDArray[np.int64], NDArray[np.int64]]]:
    """Yield rows of token ids in batches of like length: the rows' numbers, ids and mask, both (rows, width).

    The shortest come first. A width is a multiple of LENGTH_STEP, at most ``longest`` where the rows are, at least
    ``least``. Padding stands after the tokens, or before them where ``left``.
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


def sha256(path: Path) -> str:
    """Return the checksum of a file, read in pieces."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            found.update(piece)
    return found.hexdigest()


@dataclass(frozen=True, slots=True)
class Tokens:
    """A text as the tower sees it: a vector a token and the characters that each token stands for."""

    vectors: NDArray[np.float32]  # (tokens, dim), not of unit length
    spans: NDArray[np.int64]  # (tokens, 2), start and end in the text


class TextTower:
    """Texts in, unit rows (n, dim) out. A text over the model's limit is read in windows and averaged: none is cut.

    ``room``: how many tokens a document's text may encode to, special tokens included, to be read in one window.
    """

    def __init__(self, folder: Path, spec: dict[str, Any]) -> None:
        self._folder = folder
        self._spec = spec
        self.max_tokens: int = spec["max_tokens"]
        if not isinstance(self.max_tokens, int) or self.max_tokens < 16:
            raise ValueError(f"its max_tokens ({self.max_tokens!r}, a whole number from 16)")
        self.tokenizer_path = folder / spec["tokenizer"]

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        try:
            tokenizer = Tokenizer.from_file(str(self.tokenizer_path))
        except Exception as problem:  # the library raises bare Exception
            raise ModelError(
                f"{self.tokenizer_path} is not a tokenizer ({problem}): install the model again"
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
    def room(self) -> int:
        prefix = self._spec["prefix"]["document"]
        return self.max_tokens - (len(self._tokenizer.encode(prefix, add_special_tokens=False).ids) if prefix else 0)

    def unknown_share(self, text: str) -> float:
        """Return the share of tokens in ``text`` that the model has no word for, in [0, 1]; 0 for an empty text."""
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids.count(self._spec["unknown_id"]) / len(ids) if ids else 0.0

    def length(self, text: str) -> int:
        """Return how many tokens ``text`` has, without those that the model puts around it."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def encode(self, texts: Sequence[str], role: Role = "document") -> NDArray[np.float32]:
        """Return one unit row for each text, shape (n, dim)."""
        rows = self._encode(texts, role)
        if self._head is None or not len(rows):
            return rows
        return unit(self._head.map([{self._spec["head"]["input"]: rows}])[0])

    def _encode(self, texts: Sequence[str], role: Role) -> NDArray[np.float32]:
        prefix = self._spec["prefix"][role]
        windows: list[list[int]] = []
        owners: list[int] = []
        for owner, encoding in enumerate(self._tokenizer.encode_batch([prefix + text for text in texts])):
            ids = encoding.ids  # the library makes a new list each time it is asked
            for place in self._windows(encoding):
                windows.append(_taken(ids, place))
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
        found = self._tokenizer.encode_batch([prefix + text for text in texts])
        return [_taken(one.ids, self._windows(one)[0]) for one in found]

    def tokens(self, texts: Sequence[str], role: Role = "document") -> list[Tokens]:
        """Return the vectors of each text's own tokens, before pooling: no special tokens, no prefix.

        A text over the model's limit is read in windows; their tokens follow each other. Raises ModelError where the
        model gives no vectors of tokens.
        """
        prefix = self._spec["prefix"][role]
        windows: list[list[int]] = []
        own: list[NDArray[np.bool_]] = []  # which tokens of a window are the text's own
        counts: list[int] = []  # windows of each text
        spans: list[list[tuple[int, int]]] = []
        for encoding in self._tokenizer.encode_batch([prefix + text for text in texts]):
            mine = np.array(encoding.special_tokens_mask, dtype=bool) == 0
            mine &= np.array([start >= len(prefix) for start, _ in encoding.offsets], dtype=bool)
            places = self._windows(encoding)
            ids = encoding.ids
            windows += [_taken(ids, place) for place in places]
            own += [mine[place] for place in places]
            counts.append(len(places))
            offsets = encoding.offsets
            ends = (offsets[i] for place in places for i in place if mine[i])
            spans.append([(start - len(prefix), end - len(prefix)) for start, end in ends])
        rows: list[NDArray[np.float32]] = [np.empty((0, 0), np.float32)] * len(windows)
        for group, inputs, _ in self._batches(windows):
            (output,) = self._graph.map([inputs])
            if output.ndim != 3:
                raise ModelError(
                    f"the text tower in {self._folder} gives no vectors of single tokens: choose another reranker"
                )
            width = output.shape[1]
            for row, i in enumerate(group):
                first = width - len(windows[i]) if self._left else 0
                rows[i] = output[row, first : first + len(windows[i])][own[i]]
        found = iter(rows)
        return [
            Tokens(np.concatenate([next(found) for _ in range(count)]), np.array(ends, np.int64).reshape(-1, 2))
            for count, ends in zip(counts, spans, strict=True)
        ]

    def _windows(self, encoding: Any) -> list[list[int]]:
        """Return which tokens (by number) stand in each window: the special ones at either end in all of them."""
        count = len(encoding.ids)
        if count <= self.max_tokens:
            return [list(range(count))]
        own = [i for i, special in enumerate(encoding.special_tokens_mask) if not special]
        first, last = own[0], own[-1] + 1
        ahead, behind = list(range(first)), list(range(last, count))
        room = self.max_tokens - first - len(behind)
        return [[*ahead, *range(i, min(i + room, last)), *behind] for i in range(first, last, room)]

    def _run(self, windows: list[list[int]]) -> NDArray[np.float32]:
        """Run the windows in batches of like length; return the pooled rows in the order given."""
        found = list(self._batches(windows))
        masks = iter([mask for _, _, mask in found])
        outputs = self._graph.map([inputs for _, inputs, _ in found], lambda output, _: self._pool(output, next(masks)))
        pooled = np.empty((len(windows), outputs[0].shape[1] if outputs else 0), dtype=np.float32)
        for (group, _, _), rows in zip(found, outputs, strict=True):
            pooled[group] = rows
        return pooled

    def _batches(
        self, windows: list[list[int]]
    ) -> Iterator[tuple[list[int], dict[str, NDArray[Any]], NDArray[np.int64]]]:
        """Yield the numbers of windows of like length, the graph's inputs for them, and their mask."""
        names = self._spec["inputs"]
        least = self._spec.get("pad_to", 0)
        for group, ids, mask in padded(windows, self._spec["pad_id"], self.max_tokens, least=least, left=self._left):
            inputs = {names["ids"]: ids}
            if names.get("mask"):
                inputs[names["mask"]] = mask
            if names.get("types"):
                inputs[names["types"]] = np.zeros_like(ids)
            yield group, inputs, mask

    @property
    def _left(self) -> bool:
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
            f"the bundle asks for pooling {pooling!r}, which this version does not know: upgrade commonplace"
        )


class ImageTower:
    """Pictures (RGB uint8 arrays of any size) in, unit rows (n, dim) out.

    ``visual``: whether the head tells, beside what a picture shows, what it looks like (:meth:`views`).
    """

    def __init__(self, folder: Path, spec: dict[str, Any]) -> None:
        self._folder = folder
        self._spec = spec
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

    def normalise_inside(self, model: Any) -> Any:
        """Let the graph take uint8 (batch, height, width, 3): scaling and layout cost less there than in NumPy."""
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

    def encode(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return one unit row for each picture, shape (n, dim)."""
        return self.views(pictures)["image"]

    def views(self, pictures: Sequence[NDArray[np.uint8]]) -> dict[str, NDArray[np.float32]]:
        """Return the unit rows (n, dim) of each picture: ``image`` in the joint space and, where the bundle has it,
        ``visual``, in which pictures are near that look alike, not those that words would call the same."""
        return self.project(self.features(pictures))

    def project(self, features: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Return what :meth:`views` makes of the tower's own features (n, features)."""
        if self._head is None:
            return {"image": unit(features)}
        head = self._spec["head"]
        given = [{head["input"]: features[i : i + BATCH_ROWS]} for i in range(0, len(features), BATCH_ROWS)]
        found = {"image": unit(np.concatenate(self._head.map(given)))}
        if self.visual:
            found[VISUAL] = unit(np.concatenate(self._head.map(given, output=head["visual"])))
        return found

    def features(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return the tower's own features before the projection head, shape (n, features)."""
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
            f"the bundle asks for pooling {pooling!r}, which this version does not know: upgrade commonplace"
        )

    def fit(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the picture in the tower's size: squashed, or cropped or padded about its centre; ``shortest``:
        the shorter side brought to ``edge`` pixels and the centre cut out, as most towers were trained."""
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
                f"the bundle asks for geometry {geometry!r}, which this version does not know: upgrade commonplace"
            )
        return np.asarray(image)


def _taken(ids: list[int], place: list[int]) -> list[int]:
    return [ids[i] for i in place]


def _shortest(image: Any, edge: int, size: tuple[int, int], method: Any) -> Any:
    """Return the centre (width, height) of a picture whose shorter side was brought to ``edge``; black beyond it.

    Rounded as the transformers library does, so that vectors are those that the model was published with.
    """
    long = int(edge * max(image.size) / min(image.size))
    if long > LONGEST_SIDE:  # a strip of pixels: what will be cut off need not be made
        from PIL import ImageOps

        return ImageOps.fit(image, size, method)
    image = image.resize((edge, long) if image.width <= image.height else (long, edge), method)
    left, top = (image.width - size[0]) // 2, (image.height - size[1]) // 2
    return image.crop((left, top, left + size[0], top + size[1]))


class Bundle:
    """A folder of towers described by ``bundle.json``; ``text`` or ``image`` is None where it has no such tower.

    Raises ModelError where it is missing, damaged or too new.
    """

    def __init__(self, folder: str | Path = DEFAULT_BUNDLE) -> None:
        self.folder = Path(folder)
        path = self.folder / "bundle.json"
        try:
            self.spec: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ModelError(f"there is no model bundle at {self.folder} (no bundle.json): check the name") from None
        except (OSError, ValueError, RecursionError) as problem:
            raise ModelError(f"{path} cannot be read ({problem}): install the model again") from problem
        if not isinstance(self.spec, dict):
            raise ModelError(f"{path} describes no bundle: install the model again")
        if self.spec.get("format") != FORMAT:
            raise ModelError(
                f"{path} has format {self.spec.get('format')}; this version reads {FORMAT}: upgrade commonplace"
            )
        try:
            self._describe()
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as problem:
            raise ModelError(f"{path} lacks or misspells {problem}: install the model again") from problem

    def _describe(self) -> None:
        self.name: str = str(self.spec["name"])
        self.dim: int = int(self.spec["dim"])
        if not self.name.isprintable() or not 1 <= self.dim <= LARGEST_DIM:
            raise ValueError(f"its name or dimension ({self.name!r}, {self.dim})")
        towers = self.spec["towers"]
        if not towers:
            raise ValueError("its towers")
        files = list(self.spec["checksums"])
        for tower in towers.values():
            files += [tower[kind] for kind in ("file", "tokenizer") if kind in tower]
            files += [tower["head"]["file"]] if tower.get("head") else []
        files += [self.spec["hubness"]["file"]] if self.spec.get("hubness") else []
        if unsealed := sorted(set(files) - set(self.spec["checksums"])):
            raise ValueError(f"the checksum of {', '.join(unsealed)}")
        for name in files:
            if Path(name).name != name:
                raise ValueError(f"the file name {name!r} (a bundle's files stand beside its bundle.json)")
        self.text = self._text(towers["text"]) if "text" in towers else None
        self.image = ImageTower(self.folder, towers["image"]) if "image" in towers else None

    def _text(self, spec: dict[str, Any]) -> TextTower:
        if "remote" not in spec:
            return TextTower(self.folder, spec)
        from commonplace.encoders.remote import RemoteText

        return RemoteText(self.folder, spec, self.dim)

    @cached_property
    def _banks(self) -> dict[str, NDArray[np.float32]]:
        bias = self.spec.get("hubness")
        if not bias:
            return {}
        path = self.folder / bias["file"]
        try:
            with np.load(path, allow_pickle=False) as file:
                names = [name for name in (*bias["banks"], VISUAL) if name != VISUAL or name in file]
                return {name: np.asarray(file[name], dtype=np.float32) for name in names}
        except (OSError, ValueError, KeyError) as problem:
            raise ModelError(f"{path} cannot be read ({problem}): install the model again") from problem

    def hubness(self, kind: str, vectors: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Return what to take off the cosine of each vector (n, dim) with a question of the other kind, shape (n,).

        ``kind`` is what the vectors are of, ``text`` or ``image``; None without a bank for it. A picture that is near
        to many captions is near to every question in words, and the other way round: taken off is the mean of the
        ``neighbours`` highest cosines with a bank of the other kind, times ``weight`` (nearest-neighbour normalisation,
        Chowdhury et al. 2024). The mean counts as ``floor`` at least: what is unlike everything in the bank, a diagram
        say, would else be raised above what belongs there.
        """
        bank = self._banks.get(kind)
        if bank is None or kind == VISUAL:
            return None
        settings = self.spec["hubness"]["banks"][kind]
        near = np.maximum(_nearness(vectors, bank, settings["neighbours"]), settings["floor"])
        return np.asarray(settings["weight"] * near, dtype=np.float32)

    def text_hubness(self, texts: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Return what to take off the cosine of each text (n, dim) with a question in words, shape (n,), or None.

        "A man is standing" is near to every caption, and to every question that reads like one. As in :meth:`hubness`,
        but of texts among texts, and only what exceeds the ``floor``: passages are nothing like captions, and lose
        nothing. ``common`` of ``evidence`` in ``bundle.json``; of the bank of captions every ``step``-th row is used.
        """
        settings = (self.spec.get("calibration") or {}).get("text_hubness")
        bank = self._banks.get("image")
        if settings is None or bank is None:
            return None
        near = _nearness(texts, bank[:: settings["step"]], settings["neighbours"])
        return np.asarray(settings["weight"] * np.maximum(near - settings["floor"], 0), dtype=np.float32)

    def without_shortness(self, questions: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return questions (n, dim) without what they owe to being short, unit rows, and how short each reads (n,).

        Short texts lie near each other whatever they say: single words and unrelated headings have a cosine of .22 in
        the shipped model, single words and passages of 0. What a question has of the direction that single words have
        in common (``query_shortness`` of ``bundle.json``) is taken off, as common components of word vectors are (Mu
        and Viswanath 2018); a sentence has next to none of it. Without such a direction questions stay as they are.
        """
        if self._shortness is None:
            return questions, np.zeros(len(questions), np.float32)
        short = np.clip(questions @ self._shortness, 0, None)
        return unit(questions - short[:, None] * self._shortness), short

    @cached_property
    def _shortness(self) -> NDArray[np.float32] | None:
        found = self.spec.get("query_shortness")
        if found is None:
            return None
        try:
            row = np.asarray(found, np.float32)
        except (TypeError, ValueError):
            row = np.empty(0, np.float32)
        if row.shape != (self.dim,) or not np.isfinite(row).all() or not np.linalg.norm(row) > 0:
            raise ModelError(f"query_shortness in {self.folder / 'bundle.json'} is no vector: install the model again")
        return row / np.float32(np.linalg.norm(row))

    @cached_property
    def state(self) -> str:
        """Hash of what :meth:`hubness` depends on: indexes that hold its values are made anew when it changes."""
        bias = self.spec.get("hubness")
        digest = self.spec["checksums"].get(bias["file"]) if bias else None
        return hashlib.blake2b(json.dumps([bias, digest], sort_keys=True).encode(), digest_size=10).hexdigest()

    def questions(self, kind: str, other: bool) -> NDArray[np.float32] | None:
        """Return vectors (n, dim) of training data that may ask for vectors of ``kind``, or None: of captions for
        ``text``, of pictures for ``image`` and ``visual``; with ``other`` the other way round. They measure an index's
        recall."""
        if kind == VISUAL:  # only looks ask for looks
            return None if other else self._banks.get(VISUAL)
        return self._banks.get(kind if other else {"text": "image", "image": "text"}.get(kind, ""))

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything between a view and its stored vector: files, preprocessing, pooling, dimension."""
        own = {n: digest for n, digest in self.spec["checksums"].items() if ".onnx" in n or n == "tokenizer.json"}
        text = json.dumps([own, self.spec["towers"], self.dim], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()

    def verify(self) -> None:
        """Compare every file with its checksum. Raises ModelError that names the damaged one."""
        for name, expected in self.spec["checksums"].items():
            path = self.folder / name
            if not path.is_file():
                raise ModelError(f"{path} is missing: install the model again")
            if sha256(path) != expected:
                raise ModelError(f"{path} is damaged (its checksum differs): install the model again")


def _nearness(rows: NDArray[np.float32], bank: NDArray[np.float32], neighbours: int) -> NDArray[np.float32]:
    """Return the mean of each row's (n, dim) highest inner products with a bank (m, dim), shape (n,)."""
    found = [
        np.partition(rows[i : i + 4096] @ bank.T, -neighbours, axis=1)[:, -neighbours:].mean(axis=1)
        for i in range(0, len(rows), 4096)
    ]
    return np.asarray(np.concatenate(found or [np.empty(0)]), np.float32)
