"""Figures of merit: recall at k both ways, nDCG, and the test sets of the ladder and the card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from commonplace.evaluation import rounding

Floats = NDArray[np.float32]
KS = (1, 5, 10)
TIE = rounding(384)  # scores of unit rows of the shipped towers' dimension that are no further apart are equal


def ranks(scores: Floats, target: Sequence[int] | NDArray[np.integer]) -> NDArray[np.int64]:
    """Return for each row of ``scores`` (Q, N) how many columns beat or tie with its target column.

    Scores tie within the rounding of float32 products.
    """
    at = np.asarray(target)
    own = scores[np.arange(len(scores)), at]
    return (scores >= own[:, None] - TIE).sum(1) - 1


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
    others = np.asarray(owner)[None] != np.arange(scores.shape[1])[:, None]
    return recall(((own[:, None] - TIE <= scores.T) & others).sum(1))


def ndcg(scores: Floats, judgments: Mapping[int, Mapping[int, int]], k: int = 10) -> float:
    """Return mean nDCG@k in percent (Järvelin and Kekäläinen 2002: linear gain, log2 discount).

    Of scores that tie the least relevant comes first.
    """
    discount = 1 / np.log2(np.arange(2, k + 2))
    found = []
    for question, gains in judgments.items():
        row = scores[question]
        worth = np.zeros(len(row))
        worth[list(gains)] = list(gains.values())
        # A relevant item stands behind all that its score does not exceed by more than rounding.
        best = np.lexsort((worth, -(row - TIE * (worth > 0))))[:k]
        ideal = np.sort(list(gains.values()))[::-1][:k]
        got = sum(gains.get(int(i), 0) * d for i, d in zip(best, discount, strict=True))
        found.append(got / float((ideal * discount[: len(ideal)]).sum()))
    return round(100 * float(np.mean(found)), 2)


def same(rows: Floats, label: Sequence[int]) -> float:
    """Return how often, in percent, the nearest other row (by cosine) has the same label.

    A row with another label that is as near counts against.
    """
    scores = rows @ rows.T
    np.fill_diagonal(scores, -np.inf)
    labels = np.asarray(label)
    alike = labels[:, None] == labels
    mine, others = (np.where(among, scores, -np.inf).max(1) for among in (alike, ~alike))
    return round(100 * float((mine > others + TIE).mean()), 2)


def hubness(rows: Floats, bank: Floats, neighbours: int, weight: float, floor: float) -> Floats:
    """Return what to take off the cosine of words with each picture (N,): a picture near many captions is near all.

    It is ``weight`` times the mean of the ``neighbours`` highest cosines with ``bank`` (M, D), captions of other
    pictures (nearest-neighbour normalisation, Chowdhury et al. 2024). The same for texts and a bank of pictures.
    The mean counts as ``floor`` at least, or what is unlike all in the bank would be raised above what belongs there.
    """
    nearest = np.partition(rows @ bank.T, -neighbours, axis=1)[:, -neighbours:]
    return weight * np.maximum(nearest.mean(1), floor)
