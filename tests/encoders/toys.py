"""Encoders that are plain Python objects, small enough to be understood: words and colours in one space."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

COLOURS = {"red": (1.0, 0.0, 0.0), "green": (0.0, 1.0, 0.0), "blue": (0.0, 0.0, 1.0)}
DIM = 64


def place(word: str) -> np.ndarray:
    """Return the vector of a word; the colours come first, each on an axis of its own."""
    if word in COLOURS:
        return np.array([*COLOURS[word], *[0.0] * (DIM - 3)])
    vector = np.random.default_rng(sum(n * byte for n, byte in enumerate(word.encode(), 7))).standard_normal(DIM)
    vector[:3] = 0
    return vector / np.linalg.norm(vector)


class Words:
    """A text is the sum of its words, by their spelling; no unit length, and doubles: both are put right."""

    dim = DIM
    max_tokens = 64

    def __init__(self, version: str = "1") -> None:
        self.fingerprint = f"toy-words-{version}"

    def encode(self, texts: Sequence[str], role: str = "document") -> np.ndarray:
        words = [re.findall(r"\w+", text.lower()) or ["nothing"] for text in texts]
        return np.array([np.sum([place(word) for word in some], axis=0) for some in words])

    def can_encode(self, text: str) -> bool:
        return text.isascii()


class Colours:
    """A picture is its mean colour, on the axes where the words for colours lie."""

    dim = DIM
    fingerprint = "toy-colours"

    def encode(self, pictures: Sequence[Any], role: str = "document") -> np.ndarray:
        means = np.array([picture.reshape(-1, 3).mean(axis=0) for picture in pictures]) / 255
        rest = np.zeros((len(means), DIM - 3))
        rest[:, 0] = 0.05  # a black picture has a vector, too
        return np.hstack([means, rest])
