"""Simple encoders as plain Python objects: words and colours in one space."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

COLOURS = {"red": (1.0, 0.0, 0.0), "green": (0.0, 1.0, 0.0), "blue": (0.0, 0.0, 1.0)}
DIM = 64


def place(word: str) -> np.ndarray:
    """Return the vector (DIM,) of a word; the first three axes are the colours."""
    if word in COLOURS:
        return np.array([*COLOURS[word], *[0.0] * (DIM - 3)])
    vector = np.random.default_rng(sum(n * byte for n, byte in enumerate(word.encode(), 7))).standard_normal(DIM)
    vector[:3] = 0
    return vector / np.linalg.norm(vector)


class Words:
    """Encodes a text as the sum of its words' vectors; float64, not of unit length: the wrapper must correct both."""

    dim = DIM
    max_tokens = 64

    def __init__(self, version: str = "1") -> None:
        self.fingerprint = f"toy-words-{version}"

    def encode(self, texts: Sequence[str], role: str = "document") -> np.ndarray:
        words = [re.findall(r"\w+", text.lower()) or ["nothing"] for text in texts]
        return np.array([np.sum([place(word) for word in row], axis=0) for row in words])

    def can_encode(self, text: str) -> bool:
        return text.isascii()


class Colours:
    """Encodes a picture as its mean colour, on the axes of the colour words."""

    dim = DIM
    fingerprint = "toy-colours"

    def encode(self, pictures: Sequence[Any], role: str = "document") -> np.ndarray:
        means = np.array([picture.reshape(-1, 3).mean(axis=0) for picture in pictures]) / 255
        rest = np.zeros((len(means), DIM - 3))
        rest[:, 0] = 0.05  # so that a black picture is not the zero vector
        return np.hstack([means, rest])
