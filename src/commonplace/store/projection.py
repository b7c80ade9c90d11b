"""Projected vectors: rows reduced to a quarter of the dimensions, for candidates where recall by codes is too low."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from commonplace.store.index_file import IndexFile

__all__ = ["projections"]

SAMPLE = 16_384
"""Number of rows that the projections are computed from."""

REDUCTION = 4
"""Projected vectors have a quarter of the dimensions. With an eighth, four times as many candidates are needed."""

RIDGE = 0.01
"""Ridge term: the share of the queries' second moments that is spread over all directions, as the queries are few."""


def projections(
    base: IndexFile, queries: NDArray[np.float32] | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return two projections (dim, short), of queries and of rows, that preserve their inner products best.

    Without ``queries`` the rows are used as queries, as in a search of pictures by a picture. Rows are more numerous
    than queries, so the projections do not overfit.

    Principal components keep the directions in which the rows vary. But only directions that matter *to the queries*
    are needed, and text queries lie in other directions than pictures. Let Q be the second moments of the queries and R
    the covariance of the rows. The projections with the smallest mean squared error of the inner products follow from
    the singular value decomposition of sqrt(Q) sqrt(R).
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
    """Return the square root of a symmetric positive matrix and the inverse of that root."""
    values, vectors = np.linalg.eigh(matrix)
    root = np.sqrt(np.maximum(values, 1e-12))
    return (vectors * root) @ vectors.T, (vectors / root) @ vectors.T
