"""Pictures as a caller gives them: a path, the bytes of a picture file, a PIL image or an RGB array."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonplace.errors import QueryError, ReadError
from commonplace.i18n import _
from commonplace.paths import checked_path

__all__ = ["rgb_pixels"]

MAX_PIXELS = 64_000_000  # the picture is decoded in this process


def rgb_pixels(image: Any) -> NDArray[np.uint8]:
    """Return a picture as RGB pixels (height, width, 3), at the size that stored pictures have.

    Raises QueryError for an object that is no picture, ReadError for a file that is missing or cannot be read.
    """
    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise QueryError(
                _(
                    "the picture is an array of shape {shape} and type {dtype}: give RGB uint8, (height, width, 3)"
                ).format(shape=image.shape, dtype=image.dtype)
            )
        return image
    from commonplace.readers import load_picture

    if isinstance(image, (str, os.PathLike)):
        path = Path(checked_path(image, ReadError))
        if not path.is_file():
            raise ReadError(_("there is no picture {path}: check the name").format(path=path))
        try:
            return load_picture(path, max_pixels=MAX_PIXELS).pixels
        except ReadError as problem:
            raise ReadError(f"{path}: {problem}") from problem
    if isinstance(image, (bytearray, memoryview)):
        image = bytes(image)
    if not isinstance(image, bytes) and not hasattr(image, "getexif"):
        raise QueryError(
            _("{type} is no picture: give a path, bytes, a PIL image or an RGB array").format(type=type(image).__name__)
        )
    return load_picture(image, max_pixels=MAX_PIXELS).pixels
