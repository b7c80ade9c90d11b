"""The contract of every encoder, as functions that a test calls with an encoder and some views."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from commonplace.encoders import Encoder
from commonplace.errors import ModelError


def check_encoder(make: Callable[[], Encoder], views: Sequence[Any], *, tolerance: float = 2e-2) -> None:
    """Check the contract of ``commonplace.encoders.Encoder`` on views that differ from each other.

    ``make`` returns a new encoder: a fingerprint must not depend on the object. ``tolerance``: how far the cosine of a
    view's vectors, alone and in a batch, may be below 1.
    """
    encoder = make()
    assert isinstance(encoder, Encoder)
    rows = encoder.encode(views)
    assert isinstance(rows, np.ndarray) and rows.dtype == np.float32 and rows.shape == (len(views), encoder.dim)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-3)
    assert len(np.unique(rows.round(5), axis=0)) == len(views), "different views have different vectors"
    for role in ("query", "document"):
        again = encoder.encode(views, role)
        assert again.shape == rows.shape and again.dtype == np.float32
        assert np.allclose(np.linalg.norm(again, axis=1), 1, atol=1e-3)
        empty = encoder.encode([], role)
        assert empty.shape == (0, encoder.dim) and empty.dtype == np.float32
    assert np.array_equal(encoder.encode(views), rows), "the same views give the same vectors"
    alone = np.concatenate([encoder.encode([view]) for view in views])
    assert ((alone * rows).sum(axis=1) >= 1 - tolerance).all(), "a vector does not depend on its batch"
    backwards = encoder.encode(list(views)[::-1])[::-1]
    assert ((backwards * rows).sum(axis=1) >= 1 - tolerance).all(), "a vector does not depend on its place"
    other = make()
    assert other.fingerprint == encoder.fingerprint and other.dim == encoder.dim
    assert encoder.fingerprint and encoder.fingerprint.isprintable()


def check_failure(encoder: Encoder, views: Sequence[Any]) -> str:
    """Check that an encoder that fails raises an error of one line; return the line."""
    with pytest.raises(ModelError) as problem:
        encoder.encode(views)
    text = str(problem.value)
    assert text and "\n" not in text and ": " in text, "one line that says what happened and what to do"
    return text
