"""The inputs of the tiny models, for the script that makes them and for the tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TEXTS = [
    "a dog",
    "The north pump needs the blue seal.",
    "A BIG Dog, catching a frisbee in the snow; then it runs home.",
    "snow",
]


def pictures() -> list[NDArray[np.uint8]]:
    """Return pictures of several shapes, smooth and noisy; one has the towers' size."""
    draw = np.random.default_rng(7)
    ramp = np.linspace(0, 255, 61 * 83 * 3).astype(np.uint8).reshape(61, 83, 3)
    noise = draw.integers(0, 255, (32, 32, 3), dtype=np.uint8)
    tall = np.ascontiguousarray(np.repeat(ramp.transpose(1, 0, 2), 2, axis=0))
    return [ramp, noise, tall, draw.integers(0, 255, (40, 97, 3), dtype=np.uint8)]
