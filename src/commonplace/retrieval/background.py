"""How high unrelated items score in this collection, for a model that was not measured on labelled data.

Such a bundle brings neutral texts, and estimates from drawn pictures. Here unrelated words are compared with *these*
pictures, and these pictures with texts and with each other, on an even sample of the stored rows. The result is mixed
with the bundle's estimates by count.
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

SETTING = "score_stats"  # the setting that keeps what was measured
SAMPLE = 512  # rows of a partition
SHRINK = 8  # pictures that the estimate from drawn ones counts as, beside the collection's own


def learn(space: Space, store: Store) -> None:
    """Measure how high unrelated items score in this collection, and keep it; nothing for a measured model."""
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
            # A picture that was saved twice is not unrelated: nearly the same pictures do not count.
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
    """Return the bundle's facts with what ``learn`` kept in place of its estimates."""
    spec = space.spec
    kept = store.setting(SETTING)
    if kept is None or not any(stats.get("estimated") for stats in spec.get("score_stats", {}).values()):
        return spec
    return {**spec, "score_stats": {**spec["score_stats"], **json.loads(kept)}}


def _mix(measured: dict[str, Any], guess: dict[str, Any], count: int) -> dict[str, Any]:
    """Return a background between the collection's own and the bundle's estimate, by the count of pictures."""
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
    """Return the vectors (n, dim) of neutral queries and texts as pictures are compared with them, None without."""
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
