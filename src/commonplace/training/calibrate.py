"""Calibration of a model's raw scores on held-out pairs: hubness correction, background scores, calibration curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonplace.encoders.default_calibration import line, moments, spread
from commonplace.retrieval.calibration import SEMANTIC, Curve, ScoreStats, z_score
from commonplace.training.judge import judge

__all__ = ["Pairing", "bank", "curve", "evidence", "hubness", "isotonic", "z_scores"]

Floats = NDArray[np.float64]
Rows = NDArray[np.float32]
Mask = NDArray[np.bool_]
Pairing = list[tuple[Floats, Mask]]
"""For each source: values (queries, items) and a mask of the related pairs. All sources have equal weight."""

STEP = 0.25  # width of a histogram bin, in standard deviations
EDGES = np.arange(-3, 12 + STEP, STEP)
KNOTS = 12
RAREST = 3e-6  # lower limit of a bin's share of unrelated pairs: a finite sample cannot show that there are none
FEW = 500  # with fewer related pairs, a straight line with a prior is fitted instead of a curve
NEIGHBOURS = 16
BANK = 2000
LOOKS = 256  # rows of the visual bank: the number of queries that an index's recall is measured with
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)


def histograms(pairs: Pairing, edges: Floats) -> tuple[Floats, Floats]:
    """Return the share of the related pairs and of the unrelated pairs in each bin, both of shape (bins,)."""
    related, unrelated = np.zeros(len(edges) - 1), np.zeros(len(edges) - 1)
    for values, belongs in pairs:
        inside = np.clip(values, edges[0] + 1e-9, edges[-1] - 1e-9)
        yes, no = np.histogram(inside[belongs], edges)[0], np.histogram(inside[~belongs], edges)[0]
        related += yes / yes.sum() / len(pairs)
        unrelated += no / no.sum() / len(pairs)
    return related, unrelated


def isotonic(values: Floats, weights: Floats) -> Floats:
    """Return the non-decreasing sequence with the least weighted squared error to ``values`` (n,).

    The method is pool adjacent violators.
    """
    pools: list[tuple[float, float, int]] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        pools.append((value, weight, 1))
        while len(pools) > 1 and pools[-2][0] >= pools[-1][0]:
            (a, wa, na), (b, wb, nb) = pools[-2], pools[-1]
            pools[-2:] = [((a * wa + b * wb) / (wa + wb), wa + wb, na + nb)]
    return np.concatenate([np.full(n, value) for value, _, n in pools])


def curve(pairs: Pairing, edges: Floats = EDGES) -> Curve:
    """Return the log-likelihood ratio of "related" as a function of the value: increasing, with at most KNOTS knots.

    The ratio is the logit of an isotonic regression of "related" on the value. Both classes have equal weight.
    """
    related, unrelated = histograms(pairs, edges)
    unrelated = np.maximum(unrelated, RAREST * (related > 0))
    weight = related + unrelated
    populated = weight > 0
    share = isotonic((related / np.maximum(weight, 1e-12))[populated], weight[populated])
    middle = ((edges[1:] + edges[:-1]) / 2)[populated]
    fine = (share > 1e-3) & (share < 1 - 1e-9) & (related[populated] > 2e-4)
    x, y = middle[fine], np.log(share[fine] / (1 - share[fine]))
    first = np.flatnonzero(np.diff(y, prepend=-np.inf) > 1e-9)  # keep the first bin of each flat run
    x, y = x[first], y[first]
    keep = np.unique(np.linspace(0, len(x) - 1, min(KNOTS, len(x))).round().astype(int))
    return Curve(tuple(x[keep].round(3).tolist()), tuple(y[keep].round(3).tolist()))


def z_scores(scores: Floats, chance: Mapping[str, float]) -> Floats:
    """Return the z-scores of scores (queries, items), as the search computes them.

    See ``commonplace.retrieval.calibration.z_score``. ``chance`` holds the mean and std of unrelated pairs.
    """
    stats = ScoreStats(0, 0, 1, chance["mean"], chance["std"])
    rows = [z_score(row, len(row), float(row.mean()), float(row.std()), stats) for row in scores]
    return np.array(rows)


def hubness(texts: Rows, pictures: Rows, owner: NDArray[np.int64], of_texts: Rows, of_pictures: Rows) -> dict[str, Any]:
    """Return the section ``hubness`` of ``bundle.json``: the settings of the hubness correction, chosen by dev recall.

    ``texts`` (C, D), ``pictures`` (N, D) and ``owner`` (C,) are the dev split. ``of_texts`` and ``of_pictures`` (M, D)
    are the banks: vectors of training captions and pictures. 97.5% of the dev vectors exceed the floor. Without it, an
    item that is unlike everything in the bank would be ranked above relevant items.
    """
    banks = {}
    for kind, rows, bank in (("image", pictures, of_texts), ("text", texts, of_pictures)):
        count = min(NEIGHBOURS, len(bank))
        near = np.partition(rows @ bank.T, -count, axis=1)[:, -count:].mean(1)
        floor = round(float(np.quantile(near, 0.025)), 4)
        near = np.maximum(near, floor)

        def rank_score(weight: float, kind: str = kind, near: Rows = near) -> float:
            if kind == "image":
                return float(judge(texts, pictures, owner, weight * near).text_to_image.mean())
            return float(judge(texts, pictures, owner, 0.0, weight * near).image_to_text.mean())

        banks[kind] = {"neighbours": count, "weight": max(WEIGHTS, key=rank_score), "floor": floor}
    return {"file": "bank.npz", "banks": banks}


def bank(rows: Rows, most: int = BANK) -> Rows:
    """Return at most ``most`` of the rows (n, D), evenly spaced."""
    return np.asarray(rows[np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int))])


def evidence(
    caption_queries: Rows,
    read: Rows,
    pictures: Rows,
    owner: NDArray[np.int64],
    less: Rows | float,
    text_less: Rows | float,
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return the score statistics, the background moments and the curves of the text-image channels.

    They go into ``bundle.json`` as ``score_stats``, ``calibration.background`` and ``calibration.curves``.
    ``caption_queries`` and ``read`` (C, D) are the dev captions, encoded as queries and as documents. ``pictures``
    (N, D) are the dev pictures, and ``owner`` (C,) is the row of each caption's picture. ``less`` (N,) and
    ``text_less`` (C,) are the hubness corrections of the pictures and of the texts.
    """
    is_owner = owner[:, None] == np.arange(len(pictures))  # (C, N)
    channels = {
        "text->image": (np.asarray(caption_queries @ pictures.T - less, np.float64), is_owner),
        "image->text": (np.asarray(pictures @ read.T - text_less, np.float64), is_owner.T),
    }
    background, chances, curves = {}, {}, {}
    for channel, (scores, belongs) in channels.items():
        background[channel] = spread(scores[~belongs]) | {"related": moments(scores[belongs])}
        chances[channel] = moments(scores[~belongs])
        z = z_scores(scores, chances[channel])
        if belongs.sum() < FEW:
            low, per = line(z[belongs], z[~belongs])
            fallback = Curve((0.0, 6.0), (round(low, 3), round(low + 6 * per, 3)))
        else:
            fallback = curve([(z, belongs)])
        curves[channel] = {"at": list(fallback.at), "log_odds": list(fallback.log_odds)}
    apart = ~np.eye(len(pictures), dtype=bool)
    # Pictures of different scenes. The dev split has no related pairs of pictures, so it gives no curve.
    chances[SEMANTIC] = moments((pictures @ pictures.T)[apart])
    return background, chances, curves
