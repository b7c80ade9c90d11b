"""Figures of merit: recall at k both ways, nDCG, and the test sets of the ladder and the card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
KS = (1, 5, 10)


def ranks(scores: Floats, target: Sequence[int] | NDArray[np.integer]) -> NDArray[np.int64]:
    """Return for each row of ``scores`` (Q, N) how many columns beat or tie with its target column."""
    at = np.asarray(target)
    own = scores[np.arange(len(scores)), at]
    return (scores >= own[:, None]).sum(1) - 1


def recall(found: NDArray[np.int64], ks: Sequence[int] = KS) -> list[float]:
    """Return the percentage of ranks below each k."""
    return [round(100 * float((found < k).mean()), 2) for k in ks]


def text_to_image(scores: Floats, owner: Sequence[int]) -> list[float]:
    """Return R@1/5/10 of captions (rows) finding the picture (column) they describe."""
    return recall(ranks(scores, owner))


def image_to_text(scores: Floats, owner: Sequence[int]) -> list[float]:
    """Return R@1/5/10 of pictures (columns) finding any caption (row) of theirs."""
    own = np.full(scores.shape[1], -np.inf, np.float32)
    np.maximum.at(own, np.asarray(owner), scores[np.arange(len(scores)), owner])
    return recall((own[:, None] < scores.T).sum(1))


def ndcg(scores: Floats, judgments: Mapping[int, Mapping[int, int]], k: int = 10) -> float:
    """Return mean nDCG@k in percent (Järvelin and Kekäläinen 2002: linear gain, log2 discount)."""
    discount = 1 / np.log2(np.arange(2, k + 2))
    found = []
    for question, gains in judgments.items():
        best = np.argsort(-scores[question], kind="stable")[:k]
        ideal = np.sort(list(gains.values()))[::-1][:k]
        got = sum(gains.get(int(i), 0) * d for i, d in zip(best, discount, strict=True))
        found.append(got / float((ideal * discount[: len(ideal)]).sum()))
    return round(100 * float(np.mean(found)), 2)


def same(rows: Floats, label: Sequence[int]) -> float:
    """Return how often, in percent, the nearest other row (by cosine) has the same label."""
    scores = rows @ rows.T
    np.fill_diagonal(scores, -np.inf)
    labels = np.asarray(label)
    return round(100 * float((labels[scores.argmax(1)] == labels).mean()), 2)


def hubness(rows: Floats, bank: Floats, neighbours: int, weight: float, floor: float) -> Floats:
    """Return what to take off the cosine of words with each picture (N,): a picture near many captions is near all.

    It is ``weight`` times the mean of the ``neighbours`` highest cosines with ``bank`` (M, D), captions of other
    pictures (nearest-neighbour normalisation, Chowdhury et al. 2024). The same for texts and a bank of pictures.
    The mean counts as ``floor`` at least, or what is unlike all in the bank would be raised above what belongs there.
    """
    nearest = np.partition(rows @ bank.T, -neighbours, axis=1)[:, -neighbours:]
    return weight * np.maximum(nearest.mean(1), floor)
