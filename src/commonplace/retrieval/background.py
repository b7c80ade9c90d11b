"""What chance gives in this collection, for a model that was not measured on labelled data.

Such a bundle brings neutral texts, and estimates from drawn pictures. What unrelated words reach with *these* pictures,
and these pictures with texts and with each other, is measured here on an even sample of the rows that are stored, and
mixed by count with the bundle's word.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonplace.encoders.default_calibration import estimated
from commonplace.space import Space
from commonplace.store import LocalStore

__all__ = ["SETTING", "learn", "learned"]

SETTING = "score_stats"  # the setting that keeps what was measured
SAMPLE = 512  # rows of a partition
SHRINK = 8  # pictures that the estimate from drawn ones counts as, beside the collection's own


def learn(space: Space, store: LocalStore) -> None:
    """Measure what chance gives with the collection's pictures, and keep it; nothing for a measured model."""
    guessed = {channel: one for channel, one in space.spec["score_stats"].items() if one.get("estimated")}
    if not guessed or "image" not in space.partitions:
        return
    found: dict[str, Any] = {}
    pictures = store.sample("image", SAMPLE)
    if len(pictures):
        visual = store.sample("visual", SAMPLE) if "visual" in space.partitions else pictures
        default_calibration = _neutral(space)
        if len(visual) > 1:
            own = visual @ visual.T
            # A picture saved twice is no chance: what is nearly the same does not count.
            apart = own[~np.eye(len(own), dtype=bool)]
            found["image->image"] = apart[apart < 0.98]
        if default_calibration is not None:
            asked, texts = default_calibration
            found["text->image"] = asked @ pictures.T - _taken(space, "image", pictures)
            text_crossmodal = "text_crossmodal" if space.words is not None else "text"
            texts = np.concatenate([texts, store.sample(text_crossmodal, SAMPLE)])
            found["image->text"] = pictures @ texts.T - _taken(space, text_crossmodal, texts)
    mixed = {}
    for channel, cosines in found.items():
        if channel in guessed and cosines.size > 1:
            mixed[channel] = _mix(estimated(np.asarray(cosines).ravel()), guessed[channel], len(pictures))
    store.set_setting(SETTING, json.dumps(mixed) if mixed else None)


def learned(space: Space, store: LocalStore) -> dict[str, Any]:
    """Return the bundle's facts with what :func:`learn` kept in place of its estimates."""
    spec = space.spec
    kept = store.setting(SETTING)
    if kept is None or not any(one.get("estimated") for one in spec.get("score_stats", {}).values()):
        return spec
    return {**spec, "score_stats": {**spec["score_stats"], **json.loads(kept)}}


def _mix(own: dict[str, Any], guess: dict[str, Any], count: int) -> dict[str, Any]:
    """Return a background between the collection's own and the bundle's estimate, by the count of pictures."""
    share = count / (count + SHRINK)

    def between(kind: str, name: str) -> float:
        return round(share * float(own[kind][name]) + (1 - share) * float(guess[kind][name]), 4)

    unrelated = {name: between("unrelated", name) for name in ("mean", "std")}
    quantile = share * own["unrelated"]["quantiles"]["0.99"] + (1 - share) * guess["unrelated"]["quantiles"]["0.99"]
    related = {name: between("related", name) for name in ("mean", "std")}
    return {
        "unrelated": {**unrelated, "quantiles": {"0.99": round(quantile, 4)}},
        "related": related,
        "estimated": True,
    }


def _neutral(space: Space) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Return the vectors (n, dim) of neutral questions and texts as pictures are compared with them, None without."""
    rows = space.bundle.neutral()
    if rows is None:
        return None
    queries, texts = (np.pad(vectors, ((0, 0), (0, space.dim - vectors.shape[1]))) for vectors in rows)
    return queries, texts


def _taken(space: Space, partition: str, rows: NDArray[np.float32]) -> NDArray[np.float32] | float:
    found = space.offset(partition, rows)
    return 0.0 if found is None else found
