"""Signatures of pictures: their pixels at 16 x 16, by which a search recognises that two pictures are the same."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

__all__ = ["SIGNATURE_SIDE", "array_of", "signature_of"]

SIGNATURE_SIDE = 16


def signature_of(thumbnail: bytes | None) -> bytes:
    """Return a thumbnail (JPEG) as RGB bytes at SIGNATURE_SIDE x SIGNATURE_SIDE; empty if it cannot be read."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(thumbnail or b"")) as image:
            image.draft("RGB", (8 * SIGNATURE_SIDE, 8 * SIGNATURE_SIDE))  # faster: decodes at reduced size
            small = image.convert("RGB").resize((SIGNATURE_SIDE, SIGNATURE_SIDE), Image.Resampling.BOX)
            return small.tobytes()
    except (OSError, ValueError):
        return b""


def array_of(signature: bytes) -> NDArray[np.int16] | None:
    """Return a signature as pixels (side, side, 3), which may be subtracted; None for one of another length."""
    if len(signature) != SIGNATURE_SIDE * SIGNATURE_SIDE * 3:
        return None
    return np.frombuffer(signature, np.uint8).reshape(SIGNATURE_SIDE, SIGNATURE_SIDE, 3).astype(np.int16)
