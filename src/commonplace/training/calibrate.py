"""What a model's raw scores are worth, learned from held-out pairs: hubness, what chance gives, curves of evidence."""

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
"""Values (questions, items) and which pairs belong together, by source; every source counts the same."""

STEP = 0.25  # of the histogram's bins, in standard deviations
EDGES = np.arange(-3, 12 + STEP, STEP)
KNOTS = 12
RAREST = 3e-6  # a bin's share of unrelated pairs counts as this at least: no finite sample shows that there are none
FEW = 500  # related pairs below which a straight line is drawn, with a prior, not a curve
NEIGHBOURS = 16
BANK = 2000
LOOKS = 256  # rows of looks: as many questions as an index's recall is measured with
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)


def histograms(pairs: Pairing, edges: Floats) -> tuple[Floats, Floats]:
    """Return the share of related and of unrelated pairs in each bin."""
    related, unrelated = np.zeros(len(edges) - 1), np.zeros(len(edges) - 1)
    for values, belongs in pairs:
        inside = np.clip(values, edges[0] + 1e-9, edges[-1] - 1e-9)
        yes, no = np.histogram(inside[belongs], edges)[0], np.histogram(inside[~belongs], edges)[0]
        related += yes / yes.sum() / len(pairs)
        unrelated += no / no.sum() / len(pairs)
    return related, unrelated


def isotonic(values: Floats, weights: Floats) -> Floats:
    """Return the rising sequence nearest to ``values`` in weighted squares (pool adjacent violators)."""
    pools: list[tuple[float, float, int]] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        pools.append((value, weight, 1))
        while len(pools) > 1 and pools[-2][0] >= pools[-1][0]:
            (a, wa, na), (b, wb, nb) = pools[-2], pools[-1]
            pools[-2:] = [((a * wa + b * wb) / (wa + wb), wa + wb, na + nb)]
    return np.concatenate([np.full(n, value) for value, _, n in pools])


def curve(pairs: Pairing, edges: Floats = EDGES) -> Curve:
    """Return the log-likelihood ratio of a value, rising, through at most KNOTS knots.

    Isotonic regression of "related" on the value, both kinds of pairs with equal weight: its logit is the ratio.
    """
    related, unrelated = histograms(pairs, edges)
    unrelated = np.maximum(unrelated, RAREST * (related > 0))
    weight = related + unrelated
    populated = weight > 0
    share = isotonic((related / np.maximum(weight, 1e-12))[populated], weight[populated])
    middle = ((edges[1:] + edges[:-1]) / 2)[populated]
    fine = (share > 1e-3) & (share < 1 - 1e-9) & (related[populated] > 2e-4)
    x, y = middle[fine], np.log(share[fine] / (1 - share[fine]))
    first = np.flatnonzero(np.diff(y, prepend=-np.inf) > 1e-9)  # flat runs by their first bin
    x, y = x[first], y[first]
    keep = np.unique(np.linspace(0, len(x) - 1, min(KNOTS, len(x))).round().astype(int))
    return Curve(tuple(x[keep].round(3).tolist()), tuple(y[keep].round(3).tolist()))


def z_scores(scores: Floats, chance: Mapping[str, float]) -> Floats:
    """Return what the search makes of scores (questions, items): see ``commonplace.retrieval.z_score``."""
    stats = ScoreStats(0, 0, 1, chance["mean"], chance["std"])
    rows = [z_score(row, len(row), float(row.mean()), float(row.std()), stats) for row in scores]
    return np.array(rows)


def hubness(texts: Rows, pictures: Rows, owner: NDArray[np.int64], of_texts: Rows, of_pictures: Rows) -> dict[str, Any]:
    """Return the section ``bias`` of ``bundle.json``: how much to take off for likeness to all, by recall on dev.

    ``texts`` (C, D) and ``pictures`` (N, D) with ``owner`` (C,) are dev; the banks are training texts (M, D) and
    pictures. The floor is what 97.5% of dev exceed: what is unlike all in a bank is not raised above what belongs.
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
    """Return up to ``most`` rows, evenly."""
    return np.asarray(rows[np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int))])


def evidence(
    caption_queries: Rows,
    read: Rows,
    pictures: Rows,
    owner: NDArray[np.int64],
    less: Rows | float,
    text_less: Rows | float,
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return ``background``, ``chance`` and ``curves`` (see ``bundle.json``) of the channels between words and
    pictures.

    ``asked`` and ``read`` (C, D) are dev's captions as questions and as documents, ``pictures`` (N, D) its pictures,
    ``owner`` (C,) whose captions they are, ``less`` (N,) and ``text_less`` (C,) what is taken off for hubness.
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
    chances[SEMANTIC] = moments(
        (pictures @ pictures.T)[apart]
    )  # of other scenes; how much alike tells is not known here
    return background, chances, curves
