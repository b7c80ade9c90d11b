"""The encoder protocol, and the base class of models: encoders that share one space, with their score correction."""

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
from commonplace.i18n import _

__all__ = ["LARGEST_DIM", "UNKNOWN_LIMIT", "BaseModel", "Encoder", "Role", "TextEncoder", "Tokens", "digest", "unit"]

VISUAL = "visual"  # the name of the view, and of the bank, for visual similarity
LARGEST_DIM = 65_536
UNKNOWN_LIMIT = 0.2
"""The largest share of unknown tokens, in [0, 1], with which a text gets a vector; beyond it, the vector is noise."""

CAPTION_POWER = 0.6
"""The power of the variance of captions along a direction that weighs a picture which words change: 0 leaves it as it
is, 1 is the covariance. Less suits products, which differ in details; more suits scenes."""

Role = Literal["query", "document"]


def unit(vectors: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Return the rows scaled to unit length; a zero row stays zero."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)


def digest(value: Any) -> str:
    """Return the hash of a JSON value as 20 hexadecimal digits; it is the same in every process."""
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=10).hexdigest()


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of a text: a vector for each, and its position in the text."""

    vectors: NDArray[np.float32]  # (tokens, dim), not of unit length
    spans: NDArray[np.int64]  # (tokens, 2), start and end as character offsets in the text


@runtime_checkable
class Encoder(Protocol):
    """Encodes views of one kind: texts (``str``), pictures (RGB ``uint8``, (height, width, 3)), or another modality's.

    ``tests/encoders/contract.py`` checks an encoder: unit rows, float32, the same vector alone and in a batch.
    """

    @property
    def dim(self) -> int:
        """The length of a vector."""

    @property
    def fingerprint(self) -> str:
        """A printable text that changes whenever the vectors change. A collection accepts only its own fingerprint."""

    def encode(self, views: Sequence[Any], role: Role = "document") -> NDArray[np.float32]:
        """Return one unit row for each view, shape (n, dim), float32.

        ``role``: whether the views are queries or documents. Raises ModelError, with a message of one line, if they
        cannot be encoded.
        """


class TextEncoder(Encoder, Protocol):
    """An encoder of texts that also gives information about their tokens."""

    @property
    def tokenizer_path(self) -> Path:
        """The ``tokenizer.json`` (Hugging Face format) that measures texts when they are divided into chunks."""

    @property
    def room(self) -> int:
        """The most tokens, special tokens included, of a document's text that is encoded in one piece."""

    def can_encode(self, text: str) -> bool:
        """Return whether the encoder knows enough of the tokens in ``text`` to give it a meaningful vector."""

    def unknown_share(self, text: str) -> float:
        """Return the share of tokens in ``text`` that the encoder does not know, in [0, 1]."""

    def length(self, text: str) -> int:
        """Return the number of tokens in ``text``, without special tokens."""

    def tokens(self, texts: Sequence[str], role: Role = "document") -> list[Tokens]:
        """Return the token vectors of each text. Raises ModelError if the encoder has no token vectors."""


class BaseModel:
    """Encoders that share one space, with the correction of their scores. ``Bundle`` and ``Model`` derive from it.

    ``text`` and ``image`` are None if the model has no such encoder. ``spec`` has the form of ``bundle.json``.
    """

    name: str
    dim: int
    spec: dict[str, Any]
    text: TextEncoder | None
    image: Encoder | None

    @property
    def encoders(self) -> dict[str, Encoder]:
        """The encoders by name: ``text``, ``image`` and, for visual similarity of pictures, ``visual``."""
        named: dict[str, Encoder | None] = {"text": self.text, "image": self.image}
        return {name: encoder for name, encoder in named.items() if encoder is not None}

    @property
    def fingerprint(self) -> str:
        """Hash of everything that determines the stored vector of a view."""
        raise NotImplementedError

    @property
    def place(self) -> str:
        """The text that a collection stores to find the model again."""
        raise NotImplementedError

    def verify(self) -> None:
        """Compare the model's files, if any, with their checksums. Raises ModelError that names a damaged file."""

    def check(self, *, wait: bool = False) -> None:
        """Run ``verify()`` in a thread, once in a process. Raises ModelError if a damaged file is already known.

        ``wait``: wait for the result, so that every damaged file is found.
        """

    def neutral(self) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """Return the vectors (n, dim) of neutral queries and of neutral texts; None if the model has none."""
        return None

    @property
    def banks(self) -> Mapping[str, NDArray[np.float32]]:
        """Vectors (n, dim) of training data to measure hubness with, by the view that they are compared with."""
        return {}

    def hubness(self, view: str, vectors: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Return the hubness correction of each vector (n, dim), shape (n,).

        It is to be subtracted from the vector's cosine with a query of the other modality. Return None if there is no
        bank for ``view`` (``text`` or ``image``).

        A picture that is near many captions is near every text query, and the same holds for texts. The correction is
        the mean of the ``neighbours`` highest cosines with a bank of the other modality, times ``weight``
        (nearest-neighbour normalisation, Chowdhury et al. 2024). The mean is at least ``floor``. Without that limit,
        an item unlike everything in the bank, such as a diagram, would be ranked above relevant items.
        """
        bank = self.banks.get(view)
        if bank is None or view == VISUAL:
            return None
        settings = self.spec["hubness"]["banks"][view]
        near = np.maximum(_mean_of_nearest(vectors, bank, settings["neighbours"]), settings["floor"])
        return np.asarray(settings["weight"] * near, dtype=np.float32)

    def text_hubness(self, texts: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Return the hubness correction of each text (n, dim) for a text query, shape (n,); None without settings.

        "A man is standing" is near every caption, and near every query that is like a caption. The correction is that
        of ``hubness()``, with texts on both sides, but only the part above ``floor`` counts. Passages are unlike
        captions, so their correction is 0. The settings are ``text_hubness`` of ``calibration`` in ``bundle.json``;
        every ``step``-th row of the bank is used.
        """
        settings = (self.spec.get("calibration") or {}).get("text_hubness")
        if settings is None or self.banks.get("image") is None:
            return None
        products, floor = small_products(texts, self._text_bank), settings["floor"]
        above = np.flatnonzero(products.max(axis=1, initial=-1) > floor)  # few; a mean is no higher than the highest
        correction = np.zeros(len(texts), np.float32)
        near = _mean_of_highest(products[above], settings["neighbours"])
        correction[above] = settings["weight"] * np.maximum(near - floor, 0)
        return correction

    @cached_property
    def _text_bank(self) -> NDArray[np.float32]:
        """The rows of the bank that texts are compared with, by ``text_hubness()``."""
        return np.ascontiguousarray(self.banks["image"][:: self.spec["calibration"]["text_hubness"]["step"]])

    def without_shortness(self, queries: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return queries (n, dim) without their shortness component, as unit rows, and its length (n,), in [0, 1].

        Short texts are near each other, whatever their meaning. In the shipped model, single words and unrelated
        headings have a cosine of .22, single words and passages of 0. The component lies along the common
        direction of single words (``query_shortness`` of ``bundle.json``). It is removed like the common components of
        word vectors (Mu and Viswanath 2018). In a sentence it is nearly 0. Without such a direction, the queries are
        returned unchanged. Raises ModelError if the direction in ``bundle.json`` is not valid.
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
            raise ModelError(
                _("query_shortness of the model {name} is not a valid vector: install the model again").format(
                    name=self.name
                )
            )
        return row / np.float32(np.linalg.norm(row))

    def change(
        self, words: NDArray[np.float32], picture: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the directions of words and of a picture that are added if the words change the picture: (dim,) each.

        Both lose the mean of their modality. The picture is then weighted along the principal directions of captions:
        what captions tell apart (*a dog, a child, a car*) is kept, and what they hardly mention, such as the colour
        of the ground, counts less. Otherwise the picture's details would contradict the words. Without banks nothing
        is weighted.
        """
        means = (self.spec.get("means") or {}).get("query") or {}
        words, picture = (
            row - np.asarray(means[kind], np.float32) if kind in means else row
            for kind, row in (("text", words), ("image", picture))
        )
        if self._caption_directions is not None:
            axes, weights = self._caption_directions
            picture = axes @ (weights * (axes.T @ picture))
        return unit(words), unit(picture)

    @cached_property
    def _caption_directions(self) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """The principal directions (dim, n) of captions, and the weight (n,) of each."""
        bank = self.banks.get("image")
        if bank is None or len(bank) < self.dim:
            return None
        mean = ((self.spec.get("means") or {}).get("query") or {}).get("text")
        rows = bank - (bank.mean(axis=0) if mean is None else np.asarray(mean, np.float32))
        variance, axes = np.linalg.eigh(rows.T @ rows / len(rows))
        return axes.astype(np.float32), np.asarray(np.maximum(variance, 0) ** CAPTION_POWER, np.float32)

    @property
    def state(self) -> str:
        """Hash of what ``hubness()`` depends on: indexes that store its values are rebuilt when it changes."""
        return digest([None, None])

    def questions(self, view: str, cross_modal: bool) -> NDArray[np.float32] | None:
        """Return vectors (n, dim) of training data to use as queries when an index's recall is measured, or None.

        They have the modality of the view: captions for ``text``, pictures for ``image`` and ``visual``. With
        ``cross_modal`` they have the other modality.
        """
        if view == VISUAL:  # visual vectors are queried only with visual vectors
            return None if cross_modal else self.banks.get(VISUAL)
        return self.banks.get(view if cross_modal else {"text": "image", "image": "text"}.get(view, ""))


def small_products(rows: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the inner products (n, m) of a few hundred rows (n, dim) with others (m, dim), in this thread.

    They are multiplied in small blocks, for which BLAS starts no threads. Its threads wait for more work in a busy
    loop, and so take the processors from the other channels and from the encoders.
    """
    (n, dim), m = rows.shape, len(others)
    left, right = (-(-count // size) * size for count, size in ((n, _BLOCK[0]), (m, _BLOCK[1])))
    rows, others = np.pad(rows, ((0, left - n), (0, 0))), np.pad(others, ((0, right - m), (0, 0)))
    blocks = np.matmul(rows.reshape(-1, 1, _BLOCK[0], dim), others.reshape(-1, _BLOCK[1], dim).transpose(0, 2, 1)[None])
    return np.asarray(blocks.transpose(0, 2, 1, 3).reshape(left, right)[:n, :m])


_BLOCK = (32, 20)
"""Rows and columns of a block of products. OpenBLAS starts threads from some 260,000 multiplications on."""


def _mean_of_nearest(rows: NDArray[np.float32], bank: NDArray[np.float32], neighbours: int) -> NDArray[np.float32]:
    """Return the mean of the ``neighbours`` highest inner products of each row (n, dim) with a bank (m, dim): (n,)."""
    means = [_mean_of_highest(rows[i : i + 4096] @ bank.T, neighbours) for i in range(0, len(rows), 4096)]
    return np.concatenate(means) if means else np.empty(0, np.float32)


def _mean_of_highest(products: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Return the mean of the ``count`` highest values of each row (n, m): (n,)."""
    return np.asarray(np.partition(products, -count, axis=1)[:, -count:].mean(axis=1), np.float32)
