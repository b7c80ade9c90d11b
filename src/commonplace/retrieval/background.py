"""Estimates the background scores of a collection, for a model that was not measured on labelled data.

Background scores are the scores of unrelated items. The bundle of such a model contains neutral texts, and estimates
from drawn pictures. This module takes an even sample of the collection's pictures. It compares them with unrelated
words, with texts, and with each other. The result is averaged with the bundle's estimates, weighted by the number of
pictures.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonplace.encoders.default_calibration import estimated
from commonplace.space import Space
from commonplace.store import Store

__all__ = ["SETTING", "learn", "learned"]

SETTING = "score_stats"  # the setting that stores the measured statistics
SAMPLE = 512  # number of sampled rows of a partition
SHRINK = 8  # weight of the bundle's estimate against the collection's pictures, as a number of pictures


def learn(space: Space, store: Store) -> None:
    """Measure the background scores of this collection and store them. Does nothing for a measured model."""
    estimates = {channel: stats for channel, stats in space.spec["score_stats"].items() if stats.get("estimated")}
    if not estimates or "image" not in space.partitions:
        return
    cosines: dict[str, Any] = {}
    pictures = _sample(store, "image")
    if len(pictures):
        visual = _sample(store, "visual") if "visual" in space.partitions else pictures
        neutral = _neutral(space)
        if len(visual) > 1:
            between = visual @ visual.T
            # A picture that was saved twice is not unrelated to its copy, so near-duplicates are left out.
            apart = between[~np.eye(len(between), dtype=bool)]
            cosines["image->image"] = apart[apart < 0.98]
        if neutral is not None:
            queries, texts = neutral
            cosines["text->image"] = queries @ pictures.T - _hubness(space, "image", pictures)
            partition = "text_crossmodal" if space.words is not None else "text"
            texts = np.concatenate([texts, _sample(store, partition)])
            cosines["image->text"] = pictures @ texts.T - _hubness(space, partition, texts)
    mixed = {}
    for channel, values in cosines.items():
        if channel in estimates and values.size > 1:
            mixed[channel] = _mix(estimated(np.asarray(values).ravel()), estimates[channel], len(pictures))
    store.set_setting(SETTING, json.dumps(mixed) if mixed else None)


def learned(space: Space, store: Store) -> dict[str, Any]:
    """Return the bundle's description, with the statistics that ``learn`` stored instead of its estimates."""
    spec = space.spec
    kept = store.setting(SETTING)
    if kept is None or not any(stats.get("estimated") for stats in spec.get("score_stats", {}).values()):
        return spec
    return {**spec, "score_stats": {**spec["score_stats"], **json.loads(kept)}}


def _mix(measured: dict[str, Any], guess: dict[str, Any], count: int) -> dict[str, Any]:
    """Return the mean of the measured and the bundle's estimated statistics, weighted by the number of pictures."""
    share = count / (count + SHRINK)

    def between(kind: str, name: str) -> float:
        return round(share * float(measured[kind][name]) + (1 - share) * float(guess[kind][name]), 4)

    unrelated = {name: between("unrelated", name) for name in ("mean", "std")}
    quantile = (
        share * measured["unrelated"]["quantiles"]["0.99"] + (1 - share) * guess["unrelated"]["quantiles"]["0.99"]
    )
    related = {name: between("related", name) for name in ("mean", "std")}
    return {
        "unrelated": {**unrelated, "quantiles": {"0.99": round(quantile, 4)}},
        "related": related,
        "estimated": True,
    }


def _neutral(space: Space) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Return the vectors (n, dim) of neutral queries and of neutral texts in the joint space; None if absent."""
    rows = space.bundle.neutral()
    if rows is None:
        return None
    queries, texts = (np.pad(vectors, ((0, 0), (0, space.dim - vectors.shape[1]))) for vectors in rows)
    return queries, texts


def _hubness(space: Space, partition: str, rows: NDArray[np.float32]) -> NDArray[np.float32] | float:
    hubness = space.offset(partition, rows)
    return 0.0 if hubness is None else hubness


def _sample(store: Store, partition: str) -> NDArray[np.float32]:
    return store.sample(partition, SAMPLE).vectors
