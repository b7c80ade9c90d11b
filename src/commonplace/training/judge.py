"""Whether a model finds held-out pictures by their captions better than another: recall both ways, a paired test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from commonplace.encoders import Bundle
from commonplace.evaluation import Interval, bootstrap, randomisation_test, rounding
from commonplace.training.features import Tick, picture_features, text_vectors
from commonplace.training.pairs import Pairs

__all__ = ["KS", "Judged", "Verdict", "chance", "compare", "judge", "judge_bundle"]

KS = (1, 5, 10)
SURE = 0.05  # p-value from which a difference counts

Floats = NDArray[np.float32]
Rows = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Judged:
    """How a model ranks held-out pairs.

    ``text_to_image`` (captions, 3) says whether a caption finds its picture among the first 1, 5, 10, in [0, 1];
    ``image_to_text`` (pictures, 3) whether a picture finds one of its captions; ``owner`` whose captions they are.
    """

    text_to_image: Rows
    image_to_text: Rows
    owner: NDArray[np.int64]

    @property
    def recall(self) -> dict[str, list[float]]:
        """R@1, R@5 and R@10 in percent, both ways."""
        ways = {"text->image": self.text_to_image, "image->text": self.image_to_text}
        return {way: [round(100 * float(value), 1) for value in ranks.mean(0)] for way, ranks in ways.items()}

    @property
    def pictures(self) -> Rows:
        """One number a picture (pictures,): recall at 1, 5 and 10 averaged, of its captions and of itself, averaged.

        Captions of one picture are found or missed together, so the picture is what a paired test may count.
        """
        totals = np.zeros(len(self.image_to_text))
        np.add.at(totals, self.owner, self.text_to_image.mean(1))
        return np.asarray((totals / np.bincount(self.owner) + self.image_to_text.mean(1)) / 2)

    @property
    def mean(self) -> float:
        """The mean recall in [0, 1]: what is optimised on dev and tested on test."""
        return float(self.pictures.mean())


def judge(
    texts: Floats,
    pictures: Floats,
    owner: NDArray[np.int64],
    less: Floats | float = 0.0,
    text_less: Floats | float = 0.0,
) -> Judged:
    """Return how captions (C, D) and pictures (N, D), unit rows, find each other; ``owner`` (C,): a caption's picture.

    ``less`` (N,) is taken off what words reach with each picture, ``text_less`` (C,) off what a picture reaches with
    each text. A tie counts against: what cannot be told apart was not found. Scores tie within their rounding.
    """
    limit = rounding(texts.shape[1])
    scores = texts @ pictures.T  # (C, N)
    corrected = scores - less
    positives = corrected[np.arange(len(corrected)), owner]
    before = (corrected >= positives[:, None] - limit).sum(1) - 1  # pictures before a caption's own
    by_picture = scores - (text_less[:, None] if isinstance(text_less, np.ndarray) else text_less)
    best = np.full(len(pictures), -np.inf, np.float32)
    np.maximum.at(best, owner, by_picture[np.arange(len(by_picture)), owner])
    mine = owner[:, None] == np.arange(len(pictures))
    ahead = ((by_picture >= best - limit) & ~mine).sum(0)  # others' captions before a picture's best own
    return Judged(_within(before), _within(ahead), owner)


def chance(owner: NDArray[np.int64]) -> Judged:
    """Return what a model that knows nothing reaches on average: the share of the list that is looked at."""
    count = np.bincount(owner)
    pictures, captions = len(count), len(owner)
    chance_at_k = [min(k / pictures, 1.0) for k in KS]

    # One less the chance that none of its own captions is among the k first, drawn without replacement.
    def hit_rate(caption_count: int, k: int) -> float:
        return 1 - float(
            np.prod([max(captions - caption_count - i, 0) / (captions - i) for i in range(min(k, captions))])
        )

    other = [[hit_rate(captions, k) for k in KS] for captions in count.tolist()]
    return Judged(np.tile(chance_at_k, (captions, 1)), np.array(other), owner)


def judge_bundle(bundle: Bundle, pairs: Pairs, tick: Tick = lambda _: None) -> Judged:
    """Return how a model ranks ``pairs`` as a search does: with its prefixes and what it takes off for hubness."""
    image = bundle.image
    features = picture_features(bundle, pairs, tick=tick)[0]
    assert image is not None  # picture_features asked
    pictures = image.project(features)["image"]
    queries, read = (text_vectors(bundle, pairs.captions, role) for role in ("query", "document"))
    less, text_less = bundle.hubness("image", pictures), bundle.hubness("text", read)
    by_words = judge(bundle.without_shortness(queries)[0], pictures, pairs.owner, 0.0 if less is None else less)
    by_pictures = judge(read, pictures, pairs.owner, 0.0, 0.0 if text_less is None else text_less)
    return Judged(by_words.text_to_image, by_pictures.image_to_text, pairs.owner)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A model against the one before it, on the same held-out pairs: the mean difference in recall, its interval, p."""

    difference: Interval
    p: float
    rows: Mapping[str, Judged]

    @property
    def better(self) -> bool:
        return self.difference.mean > 0 and self.p < SURE

    @property
    def worse(self) -> bool:
        return self.difference.mean < 0 and self.p < SURE

    def table(self) -> list[str]:
        """Return a Markdown table of all rows, and a line on the difference of the first and the last."""
        lines = ["| held-out recall @1 / 5 / 10 | text->image | image->text | mean |", "|---|---|---|---|"]
        for name, judged in self.rows.items():
            cells = [" / ".join(f"{value:.1f}" for value in values) for values in judged.recall.values()]
            lines.append(f"| {name} | {' | '.join(cells)} | {100 * judged.mean:.1f} |")
        limits = (self.difference.low, self.difference.high)
        low, high = ("?" if limit is None else f"{100 * limit:+.1f}" for limit in limits)
        lines.append(
            f"difference {100 * self.difference.mean:+.1f} (95%: {low} to {high}), p = {self.p:.4f}, "
            f"{self.difference.count} pictures"
        )
        return lines

    def dict(self) -> dict[str, object]:
        """Return the verdict as plain JSON values."""
        rows = {name: {**judged.recall, "mean": round(100 * judged.mean, 2)} for name, judged in self.rows.items()}
        return {"rows": rows, "difference": self.difference.dict(), "p": self.p}


def compare(rows: Mapping[str, Judged], seed: int = 0) -> Verdict:
    """Return the verdict on the last of ``rows`` against the first, both judged on the same pairs.

    The test is a paired randomisation test over pictures (Smucker, Allan and Carterette 2007).
    """
    first, *_, last = rows.values()
    changes = last.pictures - first.pictures
    return Verdict(bootstrap(changes, seed=seed), randomisation_test(changes, seed=seed), dict(rows))


def _within(ranks: NDArray[np.int64]) -> Rows:
    return np.asarray(ranks[:, None] < np.asarray(KS), np.float64)
