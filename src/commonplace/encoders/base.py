"""What an encoder is, and what a model of several encoders knows of its scores."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from commonplace.errors import ModelError

__all__ = ["LARGEST_DIM", "UNKNOWN_LIMIT", "BaseModel", "Encoder", "Role", "TextEncoder", "Tokens", "digest", "unit"]

VISUAL = "visual"  # the view, and the bank, of how pictures look
LARGEST_DIM = 65_536
UNKNOWN_LIMIT = 0.2
"""A text with a larger share of tokens that the encoder does not know has no vector: it would be noise."""

Role = Literal["query", "document"]


def unit(vectors: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Return the rows scaled to unit length; a zero row stays zero."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)


def digest(value: Any) -> str:
    """Return 20 hexadecimal digits that depend on a JSON value alone."""
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=10).hexdigest()


@dataclass(frozen=True, slots=True)
class Tokens:
    """A text as an encoder sees it: a vector for each token, and the characters that the token stands for."""

    vectors: NDArray[np.float32]  # (tokens, dim), not of unit length
    spans: NDArray[np.int64]  # (tokens, 2), start and end in the text


@runtime_checkable
class Encoder(Protocol):
    """Turns views of one kind into vectors: texts (``str``), pictures (RGB ``uint8``, (height, width, 3)), or whatever
    the reader of another modality gives.

    ``tests/encoders/contract.py`` checks an encoder: unit rows, float32, the same vector alone and in a batch.
    """

    @property
    def dim(self) -> int:
        """The length of a vector."""

    @property
    def fingerprint(self) -> str:
        """A text that changes whenever the vectors do. A collection refuses vectors of another fingerprint."""

    def encode(self, views: Sequence[Any], role: Role = "document") -> NDArray[np.float32]:
        """Return one unit row for each view, shape (n, dim), float32. Raises ModelError, in one line.

        ``role``: whether the views are parts of queries, or of documents.
        """


class TextEncoder(Encoder, Protocol):
    """An encoder of texts, with what it says of their tokens."""

    @property
    def tokenizer_path(self) -> Path:
        """The ``tokenizer.json`` (Hugging Face format) that texts are measured with before they are cut."""

    @property
    def room(self) -> int:
        """How many tokens a document's text may have, special tokens included, to be read in one piece."""

    def can_encode(self, text: str) -> bool:
        """Return whether the encoder knows enough of the words in ``text``."""

    def unknown_share(self, text: str) -> float:
        """Return the share of tokens in ``text`` that the encoder does not know, in [0, 1]."""

    def length(self, text: str) -> int:
        """Return how many tokens ``text`` has, without special tokens."""

    def tokens(self, texts: Sequence[str], role: Role = "document") -> list[Tokens]:
        """Return the vectors of each text's tokens. Raises ModelError where the encoder gives none."""


class BaseModel:
    """Encoders that share one space, with what is known of their scores: what a bundle and Python encoders have in
    common.

    ``text`` and ``image`` are None where the model has no such encoder; ``spec`` is as in ``bundle.json``.
    """

    name: str
    dim: int
    spec: dict[str, Any]
    text: TextEncoder | None
    image: Encoder | None

    @property
    def encoders(self) -> dict[str, Encoder]:
        """The encoders by name: ``text``, ``image`` and, where the model compares how pictures look, ``visual``."""
        named: dict[str, Encoder | None] = {"text": self.text, "image": self.image}
        return {name: encoder for name, encoder in named.items() if encoder is not None}

    @property
    def fingerprint(self) -> str:
        """Hash of everything between a view and its stored vector."""
        raise NotImplementedError

    @property
    def place(self) -> str:
        """What a collection keeps to find the model again."""
        raise NotImplementedError

    def verify(self) -> None:
        """Compare the model's files, if any, with their checksums. Raises ModelError that names the damaged one."""

    def check(self, *, wait: bool = False) -> None:
        """Do as ``verify()`` in a thread, once a process. Raises ModelError for a file that is known to be
        damaged."""

    def neutral(self) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """Return the vectors (n, dim) of neutral queries and of neutral texts; None where the model has none."""
        return None

    @property
    def banks(self) -> Mapping[str, NDArray[np.float32]]:
        """Vectors (n, dim) of training data that hubness is measured against, by the view that they ask for."""
        return {}

    def hubness(self, view: str, vectors: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Return the hubness correction of each vector (n, dim), to be subtracted from its cosine with a query of
        another modality, shape (n,); None without a bank for the view, ``text`` or ``image``.

        A picture that is near many captions is near every query in words, and the other way round. The correction is
        the mean of the ``neighbours`` highest cosines with a bank of the other modality, times ``weight``
        (nearest-neighbour normalisation, Chowdhury et al. 2024). The mean counts as ``floor`` at least: otherwise what
        is unlike everything in the bank, such as a diagram, would be raised above what belongs there.
        """
        bank = self.banks.get(view)
        if bank is None or view == VISUAL:
            return None
        settings = self.spec["hubness"]["banks"][view]
        near = np.maximum(_mean_of_nearest(vectors, bank, settings["neighbours"]), settings["floor"])
        return np.asarray(settings["weight"] * near, dtype=np.float32)

    def text_hubness(self, texts: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Return the hubness correction of each text (n, dim) for a query in words, shape (n,), or None.

        "A man is standing" is near every caption, and near every query that reads like one. This is ``hubness()`` of
        texts among texts, but only what exceeds ``floor``: passages are unlike captions, and lose nothing. Its settings
        are ``text_hubness`` of ``calibration`` in ``bundle.json``; every ``step``-th row of the captions is used.
        """
        settings = (self.spec.get("calibration") or {}).get("text_hubness")
        bank = self.banks.get("image")
        if settings is None or bank is None:
            return None
        near = _mean_of_nearest(texts, bank[:: settings["step"]], settings["neighbours"])
        return np.asarray(settings["weight"] * np.maximum(near - settings["floor"], 0), dtype=np.float32)

    def without_shortness(self, queries: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return queries (n, dim) without the component that they owe to being short, as unit rows, and the length of
        that component (n,), in [0, 1].

        Short texts lie near each other whatever they say. In the shipped model single words and unrelated headings have
        a cosine of .22, single words and passages of 0. The component is that of the direction which single words
        share (``query_shortness`` of ``bundle.json``); it is removed as common components of word vectors are (Mu and
        Viswanath 2018). A sentence has next to none of it. Without such a direction, queries stay as they are.
        """
        if self._short_direction is None:
            return queries, np.zeros(len(queries), np.float32)
        shortness = np.clip(queries @ self._short_direction, 0, None)
        return unit(queries - shortness[:, None] * self._short_direction), shortness

    @cached_property
    def _short_direction(self) -> NDArray[np.float32] | None:
        values = self.spec.get("query_shortness")
        if values is None:
            return None
        try:
            row = np.asarray(values, np.float32)
        except (TypeError, ValueError):
            row = np.empty(0, np.float32)
        if row.shape != (self.dim,) or not np.isfinite(row).all() or not np.linalg.norm(row) > 0:
            raise ModelError(f"query_shortness of the model {self.name} is no vector: install the model again")
        return row / np.float32(np.linalg.norm(row))

    @property
    def state(self) -> str:
        """Hash of what ``hubness()`` depends on: indexes that hold its values are made anew when it changes."""
        return digest([None, None])

    def questions(self, view: str, cross_modal: bool) -> NDArray[np.float32] | None:
        """Return vectors (n, dim) of training data that may ask for vectors of a view, or None; they measure the recall
        of an index.

        For ``text`` they are of captions, for ``image`` and ``visual`` of pictures; with ``cross_modal`` the other way
        round.
        """
        if view == VISUAL:  # only how a picture looks asks for how pictures look
            return None if cross_modal else self.banks.get(VISUAL)
        return self.banks.get(view if cross_modal else {"text": "image", "image": "text"}.get(view, ""))


def _mean_of_nearest(rows: NDArray[np.float32], bank: NDArray[np.float32], neighbours: int) -> NDArray[np.float32]:
    """Return the mean of each row's (n, dim) highest inner products with a bank (m, dim), shape (n,)."""
    means = [
        np.partition(rows[i : i + 4096] @ bank.T, -neighbours, axis=1)[:, -neighbours:].mean(axis=1)
        for i in range(0, len(rows), 4096)
    ]
    return np.asarray(np.concatenate(means or [np.empty(0)]), np.float32)
