"""Comparison of two models on held-out pairs: recall in both directions, and a paired significance test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from commonplace.encoders import Bundle
from commonplace.evaluation import Interval, bootstrap, randomisation_test, rounding
from commonplace.i18n import _
from commonplace.training.features import Tick, picture_features, text_vectors
from commonplace.training.pairs import Pairs

__all__ = ["KS", "Judged", "Verdict", "chance", "compare", "judge", "judge_bundle"]

KS = (1, 5, 10)
SURE = 0.05  # a difference with a smaller p-value is significant

Floats = NDArray[np.float32]
Rows = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Judged:
    """The retrieval results of a model on held-out pairs.

    - ``text_to_image`` (captions, 3): recall of each caption's picture among the first 1, 5 and 10, in [0, 1].
    - ``image_to_text`` (pictures, 3): whether one of the picture's captions is among the first 1, 5 and 10.
    - ``owner`` (captions,): the row of each caption's picture.
    """

    text_to_image: Rows
    image_to_text: Rows
    owner: NDArray[np.int64]

    @property
    def recall(self) -> dict[str, list[float]]:
        """R@1, R@5 and R@10 in percent, by direction."""
        ways = {"text->image": self.text_to_image, "image->text": self.image_to_text}
        return {way: [round(100 * float(value), 1) for value in ranks.mean(0)] for way, ranks in ways.items()}

    @property
    def pictures(self) -> Rows:
        """The mean recall of each picture, shape (pictures,): over 1, 5 and 10, and over both directions.

        The results of one picture's captions are correlated. So the picture is the unit of the paired test.
        """
        totals = np.zeros(len(self.image_to_text))
        np.add.at(totals, self.owner, self.text_to_image.mean(1))
        return np.asarray((totals / np.bincount(self.owner) + self.image_to_text.mean(1)) / 2)

    @property
    def mean(self) -> float:
        """The mean recall of all pictures, in [0, 1]: optimised on dev, reported on test."""
        return float(self.pictures.mean())


def judge(
    texts: Floats,
    pictures: Floats,
    owner: NDArray[np.int64],
    less: Floats | float = 0.0,
    text_less: Floats | float = 0.0,
) -> Judged:
    """Return the retrieval results of captions ``texts`` (C, D) and ``pictures`` (N, D), unit rows.

    ``owner`` (C,) is the row of each caption's picture. ``less`` (N,) is subtracted from the scores of the pictures
    for a query in words, ``text_less`` (C,) from the scores of the texts for a picture. A tie counts as a miss, and
    scores tie if they differ by no more than float32 rounding.
    """
    limit = rounding(texts.shape[1])
    scores = texts @ pictures.T  # (C, N)
    corrected = scores - less
    positives = corrected[np.arange(len(corrected)), owner]
    before = (corrected >= positives[:, None] - limit).sum(1) - 1  # pictures ranked before the caption's own picture
    by_picture = scores - (text_less[:, None] if isinstance(text_less, np.ndarray) else text_less)
    best = np.full(len(pictures), -np.inf, np.float32)
    np.maximum.at(best, owner, by_picture[np.arange(len(by_picture)), owner])
    mine = owner[:, None] == np.arange(len(pictures))
    ahead = ((by_picture >= best - limit) & ~mine).sum(0)  # other captions ranked before a picture's own best
    return Judged(_within(before), _within(ahead), owner)


def chance(owner: NDArray[np.int64]) -> Judged:
    """Return the expected results of a random ranking, for the captions of ``owner`` (C,)."""
    count = np.bincount(owner)
    pictures, captions = len(count), len(owner)
    chance_at_k = [min(k / pictures, 1.0) for k in KS]

    # 1 - P(none of a picture's captions is among the first k), drawn without replacement.
    def hit_rate(caption_count: int, k: int) -> float:
        return 1 - float(
            np.prod([max(captions - caption_count - i, 0) / (captions - i) for i in range(min(k, captions))])
        )

    other = [[hit_rate(captions, k) for k in KS] for captions in count.tolist()]
    return Judged(np.tile(chance_at_k, (captions, 1)), np.array(other), owner)


def judge_bundle(bundle: Bundle, pairs: Pairs, tick: Tick = lambda _: None) -> Judged:
    """Return a model's retrieval results on ``pairs``, as a search ranks: with prefixes and hubness correction."""
    image = bundle.image
    features = picture_features(bundle, pairs, tick=tick)[0]
    assert image is not None  # picture_features checks this
    pictures = image.project(features)["image"]
    queries, read = (text_vectors(bundle, pairs.captions, role) for role in ("query", "document"))
    less, text_less = bundle.hubness("image", pictures), bundle.hubness("text", read)
    by_words = judge(bundle.without_shortness(queries)[0], pictures, pairs.owner, 0.0 if less is None else less)
    by_pictures = judge(read, pictures, pairs.owner, 0.0, 0.0 if text_less is None else text_less)
    return Judged(by_words.text_to_image, by_pictures.image_to_text, pairs.owner)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The comparison of a model with the one before it, on the same held-out pairs.

    ``difference`` is the mean difference in recall, in [-1, 1], with its interval; ``p`` is in [0, 1]. ``rows`` are
    the results of all models, by name.
    """

    difference: Interval
    p: float
    rows: Mapping[str, Judged]

    @property
    def better(self) -> bool:
        return self.difference.mean > 0 and self.p < SURE

    @property
    def worse(self) -> bool:
        return self.difference.mean < 0 and self.p < SURE

    def table(self, language: str | None = None) -> list[str]:
        """Return the lines of a Markdown table of all rows, and a line with the difference of the last and first.

        It is in the language of messages, or in ``language``.
        """
        mean = _("mean", language)
        head = _("held-out recall @1 / 5 / 10", language)
        lines = [f"| {head} | text->image | image->text | {mean} |", "|---|---|---|---|"]
        for name, judged in self.rows.items():
            cells = [" / ".join(f"{value:.1f}" for value in values) for values in judged.recall.values()]
            lines.append(f"| {name} | {' | '.join(cells)} | {100 * judged.mean:.1f} |")
        limits = (self.difference.low, self.difference.high)
        low, high = ("?" if limit is None else f"{100 * limit:+.1f}" for limit in limits)
        lines.append(
            _("difference {mean:+.1f} (95%: {low} to {high}), p = {p:.4f}, {count} pictures", language).format(
                mean=100 * self.difference.mean, low=low, high=high, p=self.p, count=self.difference.count
            )
        )
        return lines

    def dict(self) -> dict[str, object]:
        """Return the verdict as plain JSON values."""
        rows = {name: {**judged.recall, "mean": round(100 * judged.mean, 2)} for name, judged in self.rows.items()}
        return {"rows": rows, "difference": self.difference.dict(), "p": self.p}


def compare(rows: Mapping[str, Judged], seed: int = 0) -> Verdict:
    """Return the verdict that compares the last of ``rows`` with the first, both on the same pairs.

    The test is a paired randomisation test over pictures (Smucker, Allan and Carterette 2007).
    """
    first, *_, last = rows.values()
    changes = last.pictures - first.pictures
    return Verdict(bootstrap(changes, seed=seed), randomisation_test(changes, seed=seed), dict(rows))


def _within(ranks: NDArray[np.int64]) -> Rows:
    return np.asarray(ranks[:, None] < np.asarray(KS), np.float64)
