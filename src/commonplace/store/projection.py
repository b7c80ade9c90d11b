"""Projected vectors: rows in a quarter of the numbers, to take candidates from where codes serve badly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from commonplace.store.index_file import IndexFile

__all__ = ["projections"]

SAMPLE = 16_384
"""Rows that the projections are made from."""

REDUCTION = 4
"""Projected vectors have a quarter of the numbers; an eighth would need four times as many candidates."""

RIDGE = 0.01
"""Share of the queries' second moments that is taken to point anywhere: what few queries do not tell."""


def projections(
    base: IndexFile, queries: NDArray[np.float32] | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return maps (dim, short) of queries and of rows whose products are nearest to the true inner products.

    Without ``queries`` the rows stand for them, as in a search of pictures by a picture: they are many more, so that
    nothing is fitted to few.

    Principal components keep what the rows differ in. What matters is what they differ in *for the queries*, and
    queries in words lie in other directions than pictures do. With the second moments Q of the queries and the
    covariance R of the rows, the best maps of a given length, in the mean square of the products, come from the
    singular values of sqrt(Q) sqrt(R).
    """
    at = np.linspace(0, len(base) - 1, min(len(base), SAMPLE)).astype(np.int64)
    rows = np.asarray(base.take(at), np.float64)
    rows = rows[np.isfinite(rows).all(axis=1)]
    samples = rows if queries is None else np.asarray(queries, np.float64)
    dim = rows.shape[1]
    moments = samples.T @ samples / len(samples)
    moments += np.eye(dim) * RIDGE * np.trace(moments) / dim
    covariance = np.cov(rows.T) + np.eye(dim) * 1e-9
    (of_queries, back), (of_rows, rows_back) = _root(moments), _root(covariance)
    left, weight, right = np.linalg.svd(of_queries @ of_rows)
    short = max(8, -(-dim // (8 * REDUCTION)) * 8)
    half = np.sqrt(weight[:short])
    return np.asarray(back @ left[:, :short] * half, np.float32), np.asarray(
        rows_back @ right[:short].T * half, np.float32
    )


def _root(matrix: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the square root of a symmetric positive matrix and that root's inverse."""
    values, vectors = np.linalg.eigh(matrix)
    root = np.sqrt(np.maximum(values, 1e-12))
    return (vectors * root) @ vectors.T, (vectors / root) @ vectors.T
