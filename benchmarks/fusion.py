"""Ways to fuse that other systems use, to compare with the product's own: scores averaged on a common scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from commonplace.channels import CHANGED_TO_IMAGE
from commonplace.retrieval import Calibration, ChannelScores, Ranking, fuse
from commonplace.retrieval.fusion import weighted_mean

Floats = NDArray[np.float64]


def relative(channel: ChannelScores) -> Floats:
    """Return each score's place in [0, 1] between the list's lowest and highest; 0 for what is not listed."""
    scores = channel.ranked.scores.astype(np.float64)
    return _between(channel, scores.min(), scores.max(), 1.0) if len(scores) else np.zeros(len(channel.scores))


def distribution(channel: ChannelScores) -> Floats:
    """Return each score's place in [0, 1] between three standard deviations below and above the list's mean."""
    scores = channel.ranked.scores.astype(np.float64)
    if not len(scores):
        return np.zeros(len(channel.scores))
    return _between(channel, scores.mean() - 3 * scores.std(), scores.mean() + 3 * scores.std(), 0.5)


def _between(channel: ChannelScores, low: float, high: float, equal: float) -> Floats:
    listed = channel.ranks > 0
    if high - low < 1e-12:  # all the same: nothing tells them apart
        return np.where(listed, equal, 0.0)
    return np.where(listed, np.clip((np.nan_to_num(channel.scores) - low) / (high - low), 0.0, 1.0), 0.0)


SCALES: Mapping[str, Callable[[ChannelScores], Floats]] = {"relative": relative, "distribution": distribution}


@dataclass(frozen=True)
class Averaged(Ranking):
    """A ranking whose order is the weighted mean of the channels' scores on a scale of ``SCALES``."""

    scale: str = "relative"


def fused_order(
    channels: Mapping[str, ChannelScores], ranking: Ranking, calibration: Calibration, items: int
) -> tuple[Floats, Floats]:
    """Return what to sort candidates by, and their confidences, (n,) each."""
    fused = fuse(channels, ranking, calibration, items)
    channels = {name: channel for name, channel in channels.items() if name != CHANGED_TO_IMAGE}
    if not isinstance(ranking, Averaged):
        return fused.order, fused.confidence
    values = {name: SCALES[ranking.scale](channel) for name, channel in channels.items()}
    return weighted_mean(channels, ranking, values).total, fused.confidence
